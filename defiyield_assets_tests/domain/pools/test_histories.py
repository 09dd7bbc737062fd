"""Tests of domain/pools/histories.py."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, cutoff, market_stamp
from defiyield_assets.domain.pools.histories import (
    HISTORY_COLUMNS,
    VIEW_COLUMNS,
    histories_from_charts,
    history_from_chart,
    history_from_snapshot,
    known_view,
    merge_points,
    new_revisions,
    pools_to_request,
    tracked_pools,
)
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.pools.cases import DAY, revisions

NONE = pd.DataFrame(columns=list(HISTORY_COLUMNS))
YESTERDAY = DAY - timedelta(days=1)


def chart(*points: tuple[datetime, float | None]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ts": [stamp for stamp, _ in points],
            "date": [stamp.date() for stamp, _ in points],
            "tvl_usd": [1e6] * len(points),
            "apy": [np.nan if apy is None else apy for _, apy in points],
            "apy_base": [np.nan] * len(points),
            "apy_reward": [np.nan] * len(points),
            "il_7d": [np.nan] * len(points),
        }
    )


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def stored(existing: pd.DataFrame, upsert: pd.DataFrame) -> pd.DataFrame:
    """The table after an upsert by key."""
    both = pd.concat([frame for frame in (existing, upsert) if len(frame)], ignore_index=True)
    return both.drop_duplicates(["pool_id", "date", "revision"], keep="last").reset_index(drop=True)


def test_columns_are_those_of_the_table() -> None:
    assert list(HISTORY_COLUMNS) == [column.name for column in schema.pool_histories.columns]


def test_the_last_of_two_points_on_one_day_stays_and_points_after_the_day_do_not_exist() -> None:
    points = chart(
        (at(DAY, 20), 0.02), (at(DAY, 5), 0.01), (at(YESTERDAY, 23), None), (at(DAY + timedelta(days=1), 0), 9.0)
    )
    history = history_from_chart(points, "p", DAY, market_stamp(DAY))
    assert list(history["date"]) == [YESTERDAY, DAY]
    assert np.isnan(history["apy"].iloc[0])
    assert history["apy"].iloc[1] == 0.02


def test_absurd_values_are_kept_raw() -> None:
    points = chart((at(DAY, 1), 3500.0), (at(DAY - timedelta(days=3), 1), -0.5), (at(DAY, 2), None))
    history = history_from_chart(points.iloc[:2], "p", DAY, market_stamp(DAY))
    assert list(history["apy"]) == [-0.5, 3500.0]
    assert history_from_chart(points.iloc[0:0], "p", DAY, market_stamp(DAY)).empty


def test_a_point_of_a_running_day_is_provisional_until_the_day_is_over() -> None:
    running = history_from_chart(chart((at(DAY, 5), 0.01)), "p", DAY, at(DAY, 6))
    assert list(running["is_provisional"]) == [True]
    over = history_from_chart(chart((at(DAY, 5), 0.01)), "p", DAY, market_stamp(DAY))
    assert list(over["is_provisional"]) == [False]


def test_a_provisional_value_is_replaced_in_place_and_never_comes_back() -> None:
    provisional = history_from_chart(chart((at(DAY, 5), 0.01)), "p", DAY, at(DAY, 6))
    table = stored(NONE, new_revisions(NONE, provisional))
    final = history_from_chart(chart((at(DAY, 23), 0.02)), "p", DAY, market_stamp(DAY))
    table = stored(table, new_revisions(table, final))
    assert table[["revision", "apy", "is_provisional"]].to_numpy().tolist() == [[0, 0.02, False]]
    assert new_revisions(table, provisional).empty


def test_an_equal_final_value_confirms_a_provisional_one() -> None:
    provisional = history_from_chart(chart((at(DAY, 5), 0.01)), "p", DAY, at(DAY, 6))
    table = stored(NONE, new_revisions(NONE, provisional))
    final = history_from_chart(chart((at(DAY, 5), 0.01)), "p", DAY, market_stamp(DAY))
    table = stored(table, new_revisions(table, final))
    assert table[["revision", "is_provisional"]].to_numpy().tolist() == [[0, False]]


def test_equal_values_write_nothing_and_different_ones_make_a_revision() -> None:
    first = history_from_chart(chart((at(DAY, 5), 0.01), (at(YESTERDAY, 5), None)), "p", DAY, market_stamp(DAY))
    table = stored(NONE, new_revisions(NONE, first))
    require_valid(schema.pool_histories, table)
    assert new_revisions(table, first).empty
    edited = first.assign(apy=[np.nan, 0.03], seen_at=market_stamp(DAY + timedelta(days=1)))
    upsert = new_revisions(table, edited)
    assert upsert[["date", "revision", "apy"]].to_numpy().tolist() == [[DAY, 1, 0.03]]


def test_the_unknown_il_of_a_snapshot_contradicts_nothing() -> None:
    known = history_from_chart(chart((at(DAY, 5), 0.01)).assign(il_7d=0.001), "p", DAY, market_stamp(DAY))
    table = stored(NONE, new_revisions(NONE, known))
    assert new_revisions(table, known.assign(il_7d=np.nan, source="snapshot")).empty
    assert len(new_revisions(table, known.assign(il_7d=0.002))) == 1


def test_two_points_for_one_day_in_one_batch_are_refused() -> None:
    first = history_from_chart(chart((at(DAY, 5), 0.01)), "p", DAY, market_stamp(DAY))
    with pytest.raises(ValueError, match="more than one row"):
        new_revisions(NONE, pd.concat([first, first]))


def test_the_view_takes_the_highest_revision_known_and_else_the_lowest_as_hindsight() -> None:
    late = market_stamp(DAY + timedelta(days=5))
    later = market_stamp(DAY + timedelta(days=9))
    table = pd.concat(
        [
            revisions({"p": [0.01]}),
            revisions({"p": [0.02]}, seen_at=late, revision=1),
            revisions({"q": [0.03]}, seen_at=late),
            revisions({"q": [0.04]}, seen_at=later, revision=1),
        ],
        ignore_index=True,
    )
    early = known_view(table, cutoff(DAY))
    assert early[["pool_id", "apy", "is_hindsight"]].to_numpy().tolist() == [["p", 0.01, False], ["q", 0.03, True]]
    assert known_view(table, late)["apy"].tolist() == [0.02, 0.03]
    assert known_view(table, later)["apy"].tolist() == [0.02, 0.04]
    assert not known_view(table, later)["is_hindsight"].any()
    assert list(early.columns) == list(VIEW_COLUMNS)
    assert known_view(NONE, late).empty


days_back = st.integers(min_value=0, max_value=3)
batches = st.lists(
    st.tuples(days_back, st.integers(min_value=0, max_value=6), st.sampled_from([None, 0.01, 0.02, 0.03])), max_size=8
)


@settings(deadline=None, max_examples=20)
@given(batches, st.booleans())
def test_repeating_sights_writes_nothing_new(
    sights: list[tuple[int, int, float | None]], is_ordinary_life: bool
) -> None:
    """In the order of time any earlier sight may be repeated; in any other order at least the last one."""
    answers: dict[tuple[int, int], float | None] = {}
    for back, seen, apy in sights:
        answers.setdefault((back, seen), apy)  # one stamp, one answer
    keys = sorted(answers, key=lambda key: key[1]) if is_ordinary_life else list(answers)
    batches_seen = [
        revisions(
            {"p": [answers[key]]}, last=DAY - timedelta(days=key[0]), seen_at=market_stamp(DAY + timedelta(days=key[1]))
        )
        for key in keys
    ]
    table = NONE
    for batch in batches_seen:
        table = stored(table, new_revisions(table, batch.drop(columns="revision")))
    for batch in batches_seen if is_ordinary_life else batches_seen[-1:]:
        assert new_revisions(table, batch.drop(columns="revision")).empty
    if len(table):
        numbers = table.groupby(["pool_id", "date"])["revision"]
        assert (numbers.max() + 1 == numbers.nunique()).all()


def test_a_range_and_then_one_of_its_days_changes_nothing_more() -> None:
    """The chart of the range differs from the snapshot of the day: one revision each, and no third."""
    ranged = revisions({"p": [0.01]}, seen_at=market_stamp(DAY + timedelta(days=30))).drop(columns="revision")
    daily = revisions({"p": [0.02]}, seen_at=market_stamp(DAY)).drop(columns="revision")
    table = stored(NONE, new_revisions(NONE, ranged))
    table = stored(table, new_revisions(table, daily))
    assert len(table) == 2
    assert new_revisions(table, ranged).empty
    assert new_revisions(table, daily).empty


def test_the_snapshots_point_beats_the_charts_point_of_the_same_day() -> None:
    pools = pd.DataFrame(
        {
            "snapshot_date": [DAY, DAY],
            "pool_id": ["p", "q"],
            "apy": [0.05, 0.06],
            "apy_base": [0.05, 0.06],
            "apy_reward": [np.nan, np.nan],
            "tvl_usd": [1.0, 2.0],
            "is_stale": [False, True],
        }
    )
    assert history_from_snapshot(pools, {"q"}, market_stamp(DAY)).empty, "an old observation is no point of the day"
    snapshot = history_from_snapshot(pools, {"p"}, market_stamp(DAY))
    assert snapshot[["pool_id", "date", "source"]].to_numpy().tolist() == [["p", DAY, "snapshot"]]
    charted = history_from_chart(chart((at(DAY, 5), 0.01), (at(YESTERDAY, 5), 0.02)), "p", DAY, market_stamp(DAY))
    merged = merge_points(charted, snapshot)
    assert merged[["date", "apy"]].to_numpy().tolist() == [[YESTERDAY, 0.02], [DAY, 0.05]]
    assert history_from_snapshot(pools, {"x"}, market_stamp(DAY)).empty
    assert merge_points(NONE, NONE).empty


def snapshots(*pool_ids: str, days: DayRange = DayRange.of(DAY)) -> pd.DataFrame:  # noqa: B008 - immutable
    rows = [(name, day) for name in pool_ids for day in days]
    return pd.DataFrame(rows, columns=["pool_id", "snapshot_date"])


def test_new_silent_and_held_pools_are_asked_for_and_no_others() -> None:
    one, full = DayRange.of(DAY), [0.01] * 31
    silent = [0.01] * 20 + [...] * 4 + [0.01] * 7
    brief = [0.01] * 20 + [...] * 3 + [0.01] * 8
    young = [...] * 25 + [0.01] * 6
    table = revisions({"full": full, "silent": silent, "brief": brief, "young": young, "held": full}, last=YESTERDAY)
    listed = snapshots("new", "silent", "full", "brief", "young", "held")
    wanted = ["new", "silent", "full", "brief", "young"]
    assert pools_to_request(wanted, table, one, 3, held=["held"], snapshots=listed) == ["held", "new", "silent"]
    only_today = revisions({"x": [0.01]}, last=DAY)
    assert pools_to_request(["x"], only_today, one, 3, snapshots=snapshots("x")) == ["x"]
    five, four = (revisions({"x": [0.01] * 20}, last=DAY - timedelta(days=back)) for back in (5, 4))
    assert pools_to_request(["x"], five, one, 3, snapshots=snapshots("x")) == ["x"]
    assert pools_to_request(["x"], four, one, 3, snapshots=snapshots("x")) == []
    assert pools_to_request(["x"], four, one, 3) == ["x"]
    assert pools_to_request([], NONE, one, 3) == []


def test_a_range_is_asked_for_once_and_only_where_snapshots_leave_holes() -> None:
    ranged = DayRange(DAY - timedelta(days=9), DAY)
    table = revisions({"a": [0.01] * 30, "b": [0.01] * 30}, last=ranged.start - timedelta(days=1))
    assert pools_to_request(["a", "b"], table, ranged, 3, snapshots=snapshots("a", days=ranged)) == ["b"]


def test_tracked_are_the_prefiltered_and_what_is_held_on_the_day() -> None:
    prefiltered = pd.DataFrame(
        {"date": [YESTERDAY, DAY, DAY], "pool_id": ["a", "a", "b"], "is_passed": [True, True, False]}
    )
    held = pd.DataFrame({"date": [DAY, DAY + timedelta(days=1)], "pool_id": ["h", "later"]})
    found = tracked_pools(prefiltered, held, DayRange(YESTERDAY, DAY), followed=["never, these days are judged"])
    assert found.to_numpy().tolist() == [[YESTERDAY, "a"], [DAY, "a"], [DAY, "h"]]


def test_days_before_the_first_verdict_follow_what_is_followed_now() -> None:
    prefiltered = pd.DataFrame({"date": [DAY], "pool_id": ["a"], "is_passed": [True]})
    held = pd.DataFrame(columns=["date", "pool_id"])
    found = tracked_pools(prefiltered, held, DayRange(YESTERDAY, DAY), followed=["a", "b"])
    assert found.to_numpy().tolist() == [[YESTERDAY, "a"], [YESTERDAY, "b"], [DAY, "a"]]
    nothing = tracked_pools(prefiltered.iloc[0:0], held, DayRange.of(DAY))
    assert nothing.empty
    assert list(nothing.columns) == ["date", "pool_id"]


def test_a_range_whose_rows_were_lost_asks_what_it_asked_before() -> None:
    """A pool that was new on the day has rows before it now; if the day's own is gone, its chart is needed again."""
    only, before = DayRange.of(DAY), cutoff(YESTERDAY)
    history = revisions({"p": [0.01, 0.02]}, seen_at=market_stamp(DAY))
    assert pools_to_request(["p"], history, only, 3, known_by=before) == [], "all is there"
    lost = history[history["date"] != DAY]
    assert pools_to_request(["p"], lost, only, 3) == []
    assert pools_to_request(["p"], lost, only, 3, known_by=before) == ["p"]
    snapshot = pd.DataFrame({"pool_id": ["p"], "snapshot_date": [DAY]})
    assert pools_to_request(["p"], lost, only, 3, known_by=before, snapshots=snapshot) == [], "the snapshot has the day"
    followed = lost.assign(seen_at=market_stamp(YESTERDAY))
    assert pools_to_request(["p"], followed, only, 3, known_by=before) == [], "one silent day is no reason to ask"


def test_charts_of_many_pools_are_each_read_as_if_alone() -> None:
    seen = (market_stamp(DAY), at(DAY, 6))
    first = chart((at(DAY, 20), 0.02), (at(DAY, 5), 0.01), (at(YESTERDAY, 23), None))
    second = chart((at(DAY, 5), 0.03))
    together = histories_from_charts(
        [("p", first, seen[0]), ("none", first.iloc[:0], seen[0]), ("q", second, seen[1])], DAY
    )
    alone = [history_from_chart(first, "p", DAY, seen[0]), history_from_chart(second, "q", DAY, seen[1])]
    pd.testing.assert_frame_equal(together, pd.concat(alone, ignore_index=True))
    assert together["is_provisional"].tolist() == [False, False, True]
