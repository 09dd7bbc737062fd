"""Tests of domain/pools/metrics.py and windows.py against a naive second implementation."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, cutoff, market_stamp
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools.histories import known_view
from defiyield_assets.domain.pools.metrics import METRIC_COLUMNS, rolling_metrics
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.pools.cases import DAY, NO_LEGS, revisions, together, tracked

PARAMETERS = Parameters()
ONE = DayRange.of(DAY)


def measure(table: pd.DataFrame, days: DayRange = ONE, pools: pd.DataFrame = NO_LEGS, **more: object) -> pd.DataFrame:
    names = sorted(set(table["pool_id"])) or ["p"]
    frame = rolling_metrics(table, tracked(names, days), pools, days, PARAMETERS, **more)  # type: ignore[arg-type]
    require_valid(schema.pool_metrics, frame)
    return frame


def naive(table: pd.DataFrame, pool_id: str, day: date) -> dict[str, float]:
    """The metrics of one pool and day, one calendar day after the other, with pandas; shares nothing with the code."""
    view = known_view(table[table["date"] <= day], cutoff(day))
    mine = view[view["pool_id"] == pool_id].set_index("date")
    calendar = [day - timedelta(days=offset) for offset in range(60, -1, -1)]
    raw = mine["apy"].astype(float).reindex(calendar)
    apy = raw.copy()
    for index, stamp in enumerate(calendar):
        past = raw.iloc[max(0, index - 30) : index].dropna()
        value = raw[stamp]
        if len(past) >= 7 and past.median() > 0:
            mad = (past - past.median()).abs().median()
            limit = max(5 * past.median(), past.median() + 3 * 1.4826 * mad)
            value = min(value, limit) if value == value else value
        apy[stamp] = min(value, 10.0) if value == value else value
    tvl = mine["tvl_usd"].astype(float).reindex(calendar)

    def level(back: int, width: int) -> tuple[float, float]:
        window = apy.iloc[len(apy) - back - width : len(apy) - back].dropna()
        return (window.mean() if len(window) else np.nan, window.std() if len(window) >= 3 else np.nan)

    mean7, std7 = level(0, 7)
    mean30, std30 = level(0, 30)
    before7, before_std7 = level(1, 7)
    before30, before_std30 = level(1, 30)
    last30 = apy.iloc[-30:].reset_index(drop=True)
    seen = last30.dropna()
    weights = 0.5 ** ((29 - seen.index.to_numpy()) / 7)
    return {
        "apy": apy.iloc[-1],
        "tvl_usd": tvl.iloc[-1],
        "apy_mean_7d": mean7,
        "apy_mean_30d": mean30,
        "apy_std_7d": std7,
        "apy_std_30d": std30,
        "apy_change_1d": apy.iloc[-1] - apy.iloc[-2],
        "apy_mean_7d_change_1d": mean7 - before7,
        "apy_mean_30d_change_1d": mean30 - before30,
        "apy_std_7d_change_1d": std7 - before_std7,
        "apy_std_30d_change_1d": std30 - before_std30,
        "apy_ewma_7d": float(np.average(seen, weights=weights)) if len(seen) else np.nan,
        "tvl_change_1d": tvl.iloc[-1] / tvl.iloc[-2] - 1 if tvl.iloc[-2] > 0 else np.nan,
        "tvl_change_7d": tvl.iloc[-1] / tvl.iloc[-8] - 1 if tvl.iloc[-8] > 0 else np.nan,
        "observed_days": len(seen),
        "age_days": (day - min(d for d in mine.index if d in calendar)).days if len(mine) else 0,
    }


odd = st.sampled_from([0.0, 0.05, 3.0, 3500.0, -0.1])
points = st.one_of(st.just(...), st.none(), st.floats(0.0, 0.2), odd)
series = st.lists(points, min_size=1, max_size=75)


@settings(deadline=None, max_examples=25)
@given(series, series, st.integers(min_value=0, max_value=4))
def test_metrics_equal_the_naive_loop(first: list, second: list, edits: int) -> None:
    table = together(
        revisions({"a": first, "b": second}),
        revisions({"a": [0.01 * edits] * edits}, seen_at=market_stamp(DAY - timedelta(days=1)), revision=1),
    )
    table = table.drop_duplicates(["pool_id", "date", "revision"])
    days = DayRange(DAY - timedelta(days=3), DAY)
    frame = rolling_metrics(table, tracked(["a", "b"], days), NO_LEGS, days, PARAMETERS).set_index(["date", "pool_id"])
    for day in days:
        for pool_id in ("a", "b"):
            expected = naive(table, pool_id, day)
            found = frame.loc[(day, pool_id), list(expected)].to_dict()
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), (day, pool_id)


@settings(deadline=None, max_examples=10)
@given(series, series)
def test_a_range_a_single_day_and_any_order_give_the_same_bits(first: list, second: list) -> None:
    table = together(
        revisions({"a": first, "b": second}), revisions({"b": [0.07] * 5}, seen_at=market_stamp(DAY), revision=1)
    )
    days = DayRange(DAY - timedelta(days=4), DAY)
    ranged = rolling_metrics(table, tracked(["a", "b"], days), NO_LEGS, days, PARAMETERS)
    shuffled = rolling_metrics(
        table.sample(frac=1, random_state=1), tracked(["b", "a"], days), NO_LEGS, days, PARAMETERS
    )
    singles = [
        rolling_metrics(table, tracked(["a", "b"], DayRange.of(day)), NO_LEGS, DayRange.of(day), PARAMETERS)
        for day in days
    ]
    pd.testing.assert_frame_equal(ranged, shuffled, check_exact=True)
    pd.testing.assert_frame_equal(ranged, pd.concat(singles, ignore_index=True), check_exact=True)


@settings(deadline=None, max_examples=10)
@given(series, st.integers(min_value=1, max_value=20), st.floats(min_value=-5, max_value=5))
def test_nothing_after_the_day_is_read(values: list, after: int, noise: float) -> None:
    table = revisions({"a": values}, last=DAY + timedelta(days=after))
    changed = table.assign(
        apy=[noise if day > DAY else apy for day, apy in zip(table["date"], table["apy"], strict=True)],
        tvl_usd=[1.0 if day > DAY else tvl for day, tvl in zip(table["date"], table["tvl_usd"], strict=True)],
    )
    pd.testing.assert_frame_equal(
        rolling_metrics(table, tracked(["a"], ONE), NO_LEGS, ONE, PARAMETERS),
        rolling_metrics(changed, tracked(["a"], ONE), NO_LEGS, ONE, PARAMETERS),
        check_exact=True,
    )


def test_a_window_is_days_not_rows() -> None:
    frame = measure(revisions({"p": [0.9, 0.9, 0.9, ..., ..., ..., ..., ..., 0.01, 0.02, 0.03]}))
    assert frame.loc[0, "apy_mean_7d"] == pytest.approx(0.02)
    assert frame.loc[0, "apy_std_7d"] == pytest.approx(0.01)
    assert frame.loc[0, "observed_days"] == 6


def test_deviation_is_null_below_three_points_and_never_after() -> None:
    assert np.isnan(measure(revisions({"p": [0.01, 0.02]})).loc[0, "apy_std_7d"])
    assert measure(revisions({"p": [0.01, 0.02, 0.03]})).loc[0, "apy_std_7d"] == pytest.approx(0.01)


def test_changes_need_both_days() -> None:
    frame = measure(revisions({"p": [0.05, ..., 0.07]}))
    assert np.isnan(frame.loc[0, "apy_change_1d"])
    assert measure(revisions({"p": [0.05, 0.07]})).loc[0, "apy_change_1d"] == pytest.approx(0.02)


def test_a_value_edited_later_counts_only_from_its_sight_on() -> None:
    late = market_stamp(DAY + timedelta(days=2))
    table = pd.concat([revisions({"p": [0.01] * 5}), revisions({"p": [0.09] * 5}, seen_at=late, revision=1)])
    assert measure(table).loc[0, "apy"] == 0.01
    assert not measure(table).loc[0, "is_hindsight"]
    after = DAY + timedelta(days=2)
    assert measure(table, DayRange.of(after)).loc[0, "apy_mean_7d"] == pytest.approx(0.09)


def test_values_seen_only_later_are_used_and_flagged() -> None:
    table = revisions({"p": [0.01] * 5}, seen_at=market_stamp(DAY + timedelta(days=9)))
    frame = measure(table)
    assert frame.loc[0, "apy"] == 0.01
    assert frame.loc[0, "is_hindsight"]
    old = pd.concat(
        [
            revisions({"p": [0.01]}, last=DAY - timedelta(days=61), seen_at=market_stamp(DAY + timedelta(days=9))),
            revisions({"p": [0.01]}),
        ]
    )
    assert not measure(old).loc[0, "is_hindsight"]


def test_age_reward_share_and_utilisation() -> None:
    table = revisions({"p": [0.05], "q": [0.04], "r": [0.0], "s": [0.1]})
    table["apy_reward"] = [0.02, np.nan, 0.0, 0.5]
    table["apy_base"] = [0.03, 0.03, 0.0, 0.1]
    pools = pd.DataFrame(
        {
            "snapshot_date": [DAY] * 3,
            "pool_id": ["p", "q", "r"],
            "total_supply_usd": [100.0, 0.0, np.nan],
            "total_borrow_usd": [80.0, 0.0, 5.0],
        }
    )
    frame = measure(table, pools=pools, first_days={"p": DAY - timedelta(days=400)}).set_index("pool_id")
    assert frame["age_days"].to_dict() == {"p": 400, "q": 0, "r": 0, "s": 0}
    assert frame.loc["p", "reward_share"] == pytest.approx(0.4)
    assert frame.loc["q", "reward_share"] == pytest.approx(0.25)
    assert np.isnan(frame.loc["r", "reward_share"])
    assert frame.loc["s", "reward_share"] == 1.0
    assert frame.loc["p", "utilisation"] == 0.8
    assert frame[["utilisation"]].loc[["q", "r", "s"]].isna().all(axis=None)


def test_a_tracked_pool_without_a_point_has_a_row() -> None:
    frame = rolling_metrics(revisions({"x": [0.1]}), tracked(["p"], ONE), NO_LEGS, ONE, PARAMETERS)
    require_valid(schema.pool_metrics, frame)
    assert frame["observed_days"].tolist() == [0]
    empty = rolling_metrics(revisions({}), tracked(["p"], ONE), NO_LEGS, ONE, PARAMETERS)
    assert empty["pool_id"].tolist() == ["p"]
    nothing = rolling_metrics(revisions({}), tracked([], ONE), NO_LEGS, ONE, PARAMETERS)
    assert list(nothing.columns) == list(METRIC_COLUMNS)


def test_spikes_and_absurd_values_do_not_move_the_mean_but_the_raw_value_stays() -> None:
    frame = measure(revisions({"p": [0.05] * 20 + [3500.0]}))
    assert frame.loc[0, "apy"] == pytest.approx(0.25)
    assert frame.loc[0, "apy_mean_7d"] < 0.1
