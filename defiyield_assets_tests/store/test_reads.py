"""Reading: types, order, slices, and the histories as they were known at a moment."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.pools.histories import known_view, new_revisions
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.archive import WarehouseArchive
from defiyield_assets.store.validation import column_type
from defiyield_assets_tests.store.crashes import fetch_of
from defiyield_assets_tests.store.frames import DAYS, FIRST, WRITABLE, history_frame, pools_frame

SLOWLY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEN = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)


def test_empty_tables_give_empty_frames_with_their_columns_and_types(warehouse: sa.Engine) -> None:
    dtypes = {"float": "float64", "timestamp": "datetime64[ns, UTC]"}
    for table in WRITABLE:
        frame = reads.read_all(warehouse, table)
        assert frame.empty
        assert frame.columns.tolist() == [column.name for column in table.columns]
        for column in table.columns:
            kind = column_type(column)
            fixed = {"int": "int64", "bool": "bool"} if not column.nullable else {}
            assert frame[column.name].dtype == (dtypes | fixed).get(kind, "object"), column


def test_read_days_reads_those_days_that_match(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    middle = DayRange.of(FIRST + timedelta(days=1))
    assert set(reads.read_days(warehouse, schema.pools, middle)["snapshot_date"]) == {middle.start}
    assert len(reads.read_days(warehouse, schema.pools, DAYS, {"chain": "Base", "pool_id": ["pool-0", "pool-1"]})) == 3
    assert reads.read_days(warehouse, schema.pools, DAYS, {"pool_id": []}).empty
    assert len(reads.read_days(warehouse, schema.pools, DAYS, {"pool_meta": None})) == 12


def test_named_columns_are_read_alone_and_in_that_order(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    found = reads.read_days(warehouse, schema.pools, DAYS, columns=["tvl_usd", "pool_id"])
    assert list(found) == ["tvl_usd", "pool_id"]
    assert len(found) == 12


def test_rows_say_what_the_frame_of_the_same_days_says(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    where = {"chain": "Base", "pool_id": ["pool-0", "pool-1"]}
    rows, frame = (read(warehouse, schema.pools, DAYS, where) for read in (reads.read_rows, reads.read_days))
    told = [{name: None if pd.isna(cell) else cell for name, cell in row.items()} for row in frame.to_dict("records")]
    assert rows == told
    assert len(rows) == 3
    assert reads.read_rows(warehouse, schema.pools, DAYS, {"pool_id": []}) == []
    assert reads.read_rows(warehouse, schema.pools, DAYS, where, by_day=True) == rows
    named = ["tvl_usd", "pool_id"]
    assert reads.read_rows(warehouse, schema.pools, DAYS, where, named) == [
        {name: row[name] for name in named} for row in sorted(rows, key=lambda row: row["pool_id"])
    ]


@pytest.mark.parametrize(("back", "ahead"), [(0, 0), (1, 0), (0, 1), (400, 400)])
def test_rows_that_are_looked_up_day_by_day_are_those_of_the_range(warehouse: sa.Engine, back: int, ahead: int) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    days = DayRange(FIRST - timedelta(days=back), FIRST + timedelta(days=ahead))
    for where in ({"pool_id": "pool-1"}, {"chain": "Base"}, {"pool_meta": None}, {"pool_id": "none"}):
        found = reads.read_rows(warehouse, schema.pools, days, where, by_day=True)
        assert found == reads.read_rows(warehouse, schema.pools, days, where)
    assert {row["snapshot_date"] for row in reads.read_rows(warehouse, schema.pools, days, by_day=True)} == {
        day for day in days if day in DAYS
    }


@pytest.mark.parametrize("zone", ["UTC", "Africa/Cairo", "Atlantic/Azores", "America/Santiago", "Pacific/Apia"])
@pytest.mark.postgres
def test_days_are_days_in_every_time_zone(postgres_warehouse: sa.Engine, zone: str) -> None:
    """Where summer time begins at midnight, a day has none."""
    table, days = schema.history_revisions, DayRange(date(2025, 1, 1), date(2025, 12, 31))
    row = {"pool_id": "p", "revision": 1, "age_days": 0, "source": "chart", "seen_at": SEEN}
    rows = [{**row, "date": day, "point_date": day} for day in days]
    with postgres_warehouse.begin() as connection:
        connection.execute(sa.insert(table), rows)
        connection.execute(sa.text(f"SET LOCAL TIME ZONE '{zone}'"))
        for first in range(0, 300, 7):
            some = DayRange(days.start + timedelta(days=first), days.start + timedelta(days=first + 30))
            found = reads.read_rows(connection, table, some, {"pool_id": "p"}, ["date"], by_day=True)
            assert [row["date"] for row in found] == list(some)


def test_a_pool_is_looked_up_day_by_day_with_its_key(sqlite_warehouse: sa.Engine) -> None:
    table = schema.prefiltered_pools
    statements: list[tuple[str, Any]] = []
    event = (sqlite_warehouse, "before_cursor_execute")

    def heard(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        statements.append((statement, values))

    sa.event.listen(*event, heard)  # the engine is the test's own
    reads.read_rows(sqlite_warehouse, table, DAYS, {"pool_id": "pool-0"}, by_day=True)
    (statement, values) = statements[-1]
    with sqlite_warehouse.connect() as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all())
    assert "prefiltered_pools USING" in plan
    assert "date=? AND pool_id=?" in plan


def test_a_single_day_is_looked_up_with_the_rest_of_the_key(sqlite_warehouse: sa.Engine) -> None:
    # Between a day and itself SQLite reads all rows of the day, whatever else of the key is known. PostgreSQL plans by
    # its statistics.
    table, of_pool = schema.prefiltered_pools, schema.prefiltered_pools.c.pool_id == "pool-0"
    query = sa.select(table).where(reads.within(table, DayRange.of(FIRST)), of_pool)
    text = str(query.compile(sqlite_warehouse, compile_kwargs={"literal_binds": True}))
    with sqlite_warehouse.connect() as connection:
        plan = str(connection.execute(sa.text(f"EXPLAIN QUERY PLAN {text}")).all())
    assert "date=? AND pool_id=?" in plan


def test_forecasts_are_due_when_their_horizon_ends(warehouse: sa.Engine) -> None:
    table = schema.gas_candidates
    vintages = pd.DataFrame(
        [
            {"as_of": FIRST + timedelta(days=day), "horizon_days": horizon, "mean": 100.0 * day + horizon}
            for day in range(40)
            for horizon in (1, 7, 30)
        ]
    ).assign(kind="base_fee", model="ses", model_version="1", p10=1.0, p50=1.0, p90=1.0, is_champion=False)
    writes.upsert(warehouse, table, vintages)
    day = FIRST + timedelta(days=35)
    found = reads.read_due(warehouse, table, DayRange.of(day), (1, 7, 30), ["mean"])
    assert found["mean"].tolist() == [530.0, 2807.0, 3401.0]
    assert len(reads.read_due(warehouse, table, DayRange(day, day + timedelta(days=1)), (7, 1))) == 4
    assert reads.read_due(warehouse, table, DayRange.of(day), ()).empty


def test_read_latest_reads_the_newest_slice_not_after_the_day(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame(DayRange.of(FIRST), pools=2))
    writes.upsert(warehouse, schema.pools, pools_frame(DayRange.of(DAYS.end), pools=1))
    assert len(reads.read_latest(warehouse, schema.pools, DAYS.end - timedelta(days=1))) == 2
    assert len(reads.read_latest(warehouse, schema.pools, DAYS.end + timedelta(days=9))) == 1
    assert reads.read_latest(warehouse, schema.pools, FIRST - timedelta(days=1)).empty
    older = reads.read_latest(warehouse, schema.pools, DAYS.end, {"pool_id": "pool-1"})
    assert older["snapshot_date"].tolist() == [FIRST]


def test_newest_day(warehouse: sa.Engine) -> None:
    assert reads.newest_day(warehouse, schema.pools) is None
    writes.upsert(warehouse, schema.pools, pools_frame())
    assert reads.newest_day(warehouse, schema.pools) == DAYS.end
    assert reads.newest_day(warehouse, schema.pools, FIRST + timedelta(days=1)) == FIRST + timedelta(days=1)
    assert reads.newest_day(warehouse, schema.pools, FIRST - timedelta(days=1)) is None
    assert type(reads.newest_day(warehouse, schema.pools)) is date


def test_text_keys_are_ordered_by_code_point(warehouse: sa.Engine) -> None:
    names = ["b", "B", "a", "Z", "ä", "_", "1", "aB", "ab", "\U0001f600", "\uffee"]
    frame = pools_frame(DayRange.of(FIRST), pools=len(names)).assign(pool_id=names)
    writes.upsert(warehouse, schema.pools, frame)
    assert reads.read_all(warehouse, schema.pools)["pool_id"].tolist() == sorted(names)


def test_unknown_columns_in_a_condition_are_refused(sqlite_warehouse: sa.Engine) -> None:
    with pytest.raises(ValueError, match="pools has no column colour"):
        reads.read_all(sqlite_warehouse, schema.pools, {"colour": "red"})


def test_timestamps_may_be_conditions_in_any_zone(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    tokyo = datetime(2026, 3, 4, 9, 30, tzinfo=timezone(timedelta(hours=9)))
    assert len(reads.read_all(warehouse, schema.pools, {"observed_at": tokyo})) == 12


# --- pool histories ------------------------------------------------------------------------------------------------
def _write_history(engine: sa.Engine) -> None:
    writes.upsert(
        engine,
        schema.pool_histories,
        history_frame(
            [
                ("p", FIRST, 0, SEEN, 0.10),
                ("p", FIRST, 1, SEEN + timedelta(days=1), 0.11),
                ("p", FIRST, 2, SEEN + timedelta(days=5), 0.12),
                ("q", FIRST, 0, SEEN + timedelta(days=3), 0.20),
                ("q", FIRST, 1, SEEN + timedelta(days=4), 0.21),
                ("q", DAYS.end, 0, SEEN, 0.22),
            ]
        ),
    )


def test_named_columns_of_histories_are_those_of_the_whole_points(warehouse: sa.Engine) -> None:
    _write_history(warehouse)
    names = ["date", "apy"]
    for known_at in (SEEN, SEEN + timedelta(days=9)):
        whole = reads.pool_histories(warehouse, DAYS, known_at)
        told = reads.pool_histories(warehouse, DAYS, known_at, columns=names)
        assert len(whole) == 3
        pd.testing.assert_frame_equal(told, whole[[*names, "is_hindsight"]])


def _view(engine: sa.Engine, known_at: datetime) -> list[tuple[str, date, int, float, bool]]:
    frame = reads.pool_histories(engine, DAYS, known_at)
    columns = ["pool_id", "date", "revision", "apy", "is_hindsight"]
    return list(frame[columns].itertuples(index=False, name=None))


def test_the_view_takes_the_highest_revision_known_at_the_time(warehouse: sa.Engine) -> None:
    _write_history(warehouse)
    newest = SEEN + timedelta(days=9)
    assert _view(warehouse, newest) == [
        ("p", FIRST, 2, 0.12, False),
        ("q", FIRST, 1, 0.21, False),
        ("q", DAYS.end, 0, 0.22, False),
    ]


def test_a_moment_on_the_dot_counts_as_known(warehouse: sa.Engine) -> None:
    _write_history(warehouse)
    moment = SEEN + timedelta(days=1)
    assert _view(warehouse, moment)[0] == ("p", FIRST, 1, 0.11, False)
    assert _view(warehouse, moment - timedelta(microseconds=1))[0] == ("p", FIRST, 0, 0.10, False)
    elsewhere = moment.astimezone(timezone(timedelta(hours=-8)))
    assert _view(warehouse, elsewhere) == _view(warehouse, moment)


def test_without_a_known_revision_the_lowest_one_is_taken_and_flagged(warehouse: sa.Engine) -> None:
    _write_history(warehouse)
    assert _view(warehouse, SEEN) == [
        ("p", FIRST, 0, 0.10, False),
        ("q", FIRST, 0, 0.20, True),
        ("q", DAYS.end, 0, 0.22, False),
    ]


def test_a_later_backfill_does_not_change_what_was_known(warehouse: sa.Engine) -> None:
    _write_history(warehouse)
    known_at = cutoff(FIRST)
    before = reads.pool_histories(warehouse, DAYS, known_at)
    later = history_frame(
        [("p", FIRST, 3, SEEN + timedelta(days=30), 9.9), ("q", FIRST, 2, SEEN + timedelta(days=30), 9.9)]
    )
    writes.upsert(warehouse, schema.pool_histories, later)
    pd.testing.assert_frame_equal(reads.pool_histories(warehouse, DAYS, known_at), before)


def test_the_view_has_the_columns_of_the_table_and_the_flag(warehouse: sa.Engine) -> None:
    columns = [column.name for column in schema.pool_histories.columns]
    assert reads.pool_histories(warehouse, DAYS, SEEN).columns.tolist() == [*columns, "is_hindsight"]
    _write_history(warehouse)
    frame = reads.pool_histories(warehouse, DAYS, SEEN)
    assert frame.columns.tolist() == [*columns, "is_hindsight"]
    assert frame["is_hindsight"].dtype == bool
    assert frame["seen_at"].dtype == "datetime64[ns, UTC]"


def test_pools_and_days_limit_the_view_and_the_revisions(warehouse: sa.Engine) -> None:
    _write_history(warehouse)
    first = DayRange.of(FIRST)
    assert set(reads.pool_histories(warehouse, DAYS, SEEN, ["q"])["pool_id"]) == {"q"}
    assert reads.pool_histories(warehouse, DAYS, SEEN, []).empty
    assert len(reads.pool_histories(warehouse, first, SEEN)) == 2
    assert reads.pool_history_revisions(warehouse, first)["revision"].tolist() == [0, 1, 2, 0, 1]
    assert reads.pool_history_revisions(warehouse, DAYS, ["q"])["revision"].tolist() == [0, 1, 0]


revisions = st.lists(st.integers(0, 6), min_size=1, max_size=4)


@SLOWLY
@given(seen=st.dictionaries(st.tuples(st.sampled_from("pqr"), st.integers(0, 2)), revisions), known=st.integers(-1, 7))
def test_the_view_agrees_with_its_definition(
    warehouse: sa.Engine, seen: dict[tuple[str, int], list[int]], known: int
) -> None:
    points = [
        (pool, FIRST + timedelta(days=offset), revision, SEEN + timedelta(hours=hour), revision / 8)
        for (pool, offset), hours in seen.items()
        for revision, hour in enumerate(hours)
    ]
    writes.replace_slice(warehouse, schema.pool_histories, history_frame(points), DAYS)
    expected = []
    for (pool, offset), hours in sorted(seen.items()):
        known_revisions = [revision for revision, hour in enumerate(hours) if hour <= known]
        chosen = max(known_revisions) if known_revisions else 0
        expected.append((pool, FIRST + timedelta(days=offset), chosen, chosen / 8, not known_revisions))
    assert _view(warehouse, SEEN + timedelta(hours=known)) == expected
    for pool in "pqr":
        assert _history(warehouse, [pool], SEEN + timedelta(hours=known)) == [row for row in expected if row[0] == pool]


def _history(
    engine: sa.Engine,
    pools: list[str],
    known_at: datetime,
    aliases: dict[str, str] | None = None,
    days: DayRange = DAYS,
) -> list[tuple[str, date, int, float, bool]]:
    """What `_view` tells, of the arrays of a few pools."""
    names = ["pool_id", "date", "revision", "apy"]
    told = reads.pool_history_columns(engine, days, known_at, pools, aliases, columns=names)
    assert list(told) == [*names, "is_hindsight"]
    return list(zip(*(column.tolist() for column in told.values()), strict=True))


def test_arrays_of_a_pool_are_the_columns_of_its_points(warehouse: sa.Engine) -> None:
    _write_renamed(warehouse)
    days, known_at = DayRange(FIRST, FIRST + timedelta(days=3)), SEEN + timedelta(days=2)
    names = ["date", "apy", "il_7d", "seen_at", "source", "is_provisional"]
    for pools in (["other"], ["old"], ["new"], ["never seen"], ["old", "other"], []):
        for aliases in (None, {}, RENAMED):
            frame = reads.pool_histories(warehouse, days, known_at, pools, aliases)
            told = reads.pool_history_columns(warehouse, days, known_at, pools, aliases, columns=names)
            assert told["date"].tolist() == frame["date"].tolist()
            assert told["seen_at"].tolist() == [stamp.to_pydatetime() for stamp in frame["seen_at"]]
            for name in ("apy", "il_7d"):
                np.testing.assert_array_equal(told[name], frame[name].to_numpy(np.float64))
            for name in ("source", "is_provisional", "is_hindsight"):
                assert told[name].tolist() == frame[name].tolist(), name


# --- aliases join histories ----------------------------------------------------------------------------------------
RENAMED = {"old": "new", "older": "new"}


def _write_renamed(engine: sa.Engine) -> None:
    day = [FIRST + timedelta(days=offset) for offset in range(4)]
    rows = [
        ("older", day[0], 0, SEEN, 0.01),
        ("old", day[1], 0, SEEN + timedelta(days=1), 0.02),
        ("old", day[2], 0, SEEN + timedelta(days=2), 0.03),
        ("new", day[2], 0, SEEN + timedelta(days=3), 0.04),  # both were followed on that day
        ("new", day[1], 1, SEEN + timedelta(days=3), 0.05),  # a change seen under the new id
        ("new", day[3], 0, SEEN + timedelta(days=3), 0.06),
        ("other", day[3], 0, SEEN + timedelta(days=3), 0.07),
    ]
    writes.upsert(engine, schema.pool_histories, history_frame(rows))


def test_aliases_join_histories_and_count_revisions_through(warehouse: sa.Engine) -> None:
    _write_renamed(warehouse)
    days = DayRange(FIRST, FIRST + timedelta(days=3))
    joined = reads.pool_history_revisions(warehouse, days, ["new"], RENAMED)
    assert set(joined["pool_id"]) == {"new"}
    found = list(zip(joined["date"], joined["revision"], joined["apy"], strict=True))
    day = list(days)
    expected = [(day[0], 0, 0.01), (day[1], 0, 0.02), (day[1], 1, 0.05), (day[2], 0, 0.03), (day[2], 1, 0.04)]
    assert found == [*expected, (day[3], 0, 0.06)]
    everything = reads.pool_history_revisions(warehouse, days, aliases=RENAMED)
    assert set(everything["pool_id"]) == {"new", "other"}
    assert reads.pool_history_revisions(warehouse, days, ["old"], RENAMED)["apy"].tolist() == [0.02, 0.03], "as stored"


def test_of_two_joined_ids_the_newest_seen_counts_whatever_the_numbers(warehouse: sa.Engine) -> None:
    seen = [SEEN + timedelta(days=offset) for offset in range(21)]
    told = [("old", FIRST, 0, seen[0], 0.05), ("old", FIRST, 1, seen[1], 0.06), ("new", FIRST, 0, seen[9], 0.09)]
    writes.upsert(warehouse, schema.pool_histories, history_frame(told))
    day = DayRange.of(FIRST)

    def view(at: datetime) -> list[float]:
        shown: list[float] = reads.pool_histories(warehouse, day, at, aliases=RENAMED)["apy"].tolist()
        joined = reads.pool_history_revisions(warehouse, day, aliases=RENAMED)
        assert known_view(joined, at)["apy"].tolist() == shown
        return shown

    assert (view(seen[20]), view(seen[5]), view(seen[0])) == ([0.09], [0.06], [0.05])
    joined = reads.pool_history_revisions(warehouse, day, aliases=RENAMED)
    assert new_revisions(joined, _point(joined, 0.09, seen[12])).empty, "what is seen again is nothing new"
    following = new_revisions(joined, _point(joined, 0.12, seen[12]))
    assert following["revision"].tolist() == [3]
    writes.upsert(warehouse, schema.pool_histories, following)
    assert reads.pool_history_revisions(warehouse, day, aliases=RENAMED)["apy"].tolist() == [0.05, 0.06, 0.09, 0.12]
    assert (view(seen[20]), view(seen[10]), view(seen[5])) == ([0.12], [0.09], [0.06])


def test_an_old_id_seen_after_todays_own_counts_until_that_is_seen_again(warehouse: sa.Engine) -> None:
    seen = [SEEN + timedelta(days=offset) for offset in range(10)]
    told = [("new", FIRST, 0, seen[1], 0.05), ("old", FIRST, 0, seen[2], 0.06), ("older", FIRST, 0, seen[3], 0.07)]
    writes.upsert(warehouse, schema.pool_histories, history_frame(told))
    day = DayRange.of(FIRST)
    joined = reads.pool_history_revisions(warehouse, day, aliases=RENAMED)
    assert joined["apy"].tolist() == [0.05, 0.06, 0.07]
    writes.upsert(warehouse, schema.pool_histories, new_revisions(joined, _point(joined, 0.05, seen[9])))
    assert reads.pool_histories(warehouse, day, seen[9], aliases=RENAMED)["apy"].tolist() == [0.05]
    assert reads.pool_histories(warehouse, day, seen[8], aliases=RENAMED)["apy"].tolist() == [0.07]


def _point(joined: pd.DataFrame, apy: float, seen_at: datetime) -> pd.DataFrame:
    """The newest of some revisions seen once more, with another APY."""
    return joined.tail(1).drop(columns="revision").assign(apy=apy, seen_at=pd.Timestamp(seen_at), is_provisional=False)


def test_without_an_alias_in_force_histories_are_as_they_are_stored(warehouse: sa.Engine) -> None:
    _write_renamed(warehouse)
    days = DayRange(FIRST, FIRST + timedelta(days=3))
    stored = reads.read_all(warehouse, schema.pool_histories)
    for aliases in (None, {}, {"unknown": "never seen"}):
        assert reads.pool_history_revisions(warehouse, days, aliases=aliases).equals(stored)
    assert set(stored["pool_id"]) == {"old", "older", "new", "other"}, "nothing is rewritten"


def test_a_joined_view_shows_what_was_known_and_no_more(warehouse: sa.Engine) -> None:
    _write_renamed(warehouse)
    days = DayRange(FIRST, FIRST + timedelta(days=3))
    then = reads.pool_histories(warehouse, days, SEEN + timedelta(days=2), ["new"], RENAMED)
    assert then["apy"].tolist() == [0.01, 0.02, 0.03, 0.06]
    assert then["is_hindsight"].tolist() == [False, False, False, True]
    now = reads.pool_histories(warehouse, days, SEEN + timedelta(days=3), ["new"], RENAMED)
    assert now["apy"].tolist() == [0.01, 0.05, 0.04, 0.06]


def test_the_first_point_of_a_renamed_pool_is_that_of_its_oldest_id(warehouse: sa.Engine) -> None:
    _write_renamed(warehouse)
    last = FIRST + timedelta(days=3)
    asked = ("new", "old", "other", "never seen", "; DROP TABLE pools")
    assert reads.first_points(warehouse, last, asked, RENAMED) == {"new": FIRST, "other": last}
    assert reads.first_points(warehouse, last, ["new"])["new"] == FIRST + timedelta(days=1)
    assert reads.first_points(warehouse, last, ["old"], RENAMED) == {}, "it is another's now"
    assert reads.first_points(warehouse, FIRST - timedelta(days=1), asked, RENAMED) == {}
    assert reads.first_points(warehouse, last, []) == {}


def test_first_points_are_asked_in_parts(warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_renamed(warehouse)
    last, asked = FIRST + timedelta(days=3), ("new", "older", "other")
    whole = reads.first_points(warehouse, last, asked)
    monkeypatch.setattr(reads, "POOLS_AT_ONCE", 2)
    assert reads.first_points(warehouse, last, asked) == whole
    assert set(whole) == set(asked)


def test_revised_histories_are_whole_histories_of_what_was_revised_in_time(warehouse: sa.Engine) -> None:
    _write_renamed(warehouse)
    since, through = SEEN + timedelta(days=2), SEEN + timedelta(days=3)
    assert set(reads.revised_histories(warehouse, since, through)["pool_id"]) == {"new"}
    joined = reads.revised_histories(warehouse, since, through, RENAMED)
    assert joined.query("revision == 0")["apy"].tolist() == [0.02, 0.03, 0.06], "with what was told under the old id"
    assert reads.revised_histories(warehouse, through, through + timedelta(days=1), RENAMED).empty


def test_answered_questions_are_those_with_an_answer_from_inside_the_window(warehouse: sa.Engine) -> None:
    archive, hours = WarehouseArchive(warehouse), [SEEN + timedelta(hours=hour) for hour in range(4)]
    for name, stamp, changes in (
        ("a", hours[1], {}),
        ("b", hours[0], {}),
        ("c", hours[1], {"error_class": "VendorMalformed"}),
        ("d", hours[1], {"status": 404}),
        ("e", hours[3], {}),
    ):
        archive.record(fetch_of(name.encode(), params_hash=name, fetched_at=stamp, **changes), name.encode())
    found = reads.answered(warehouse, "defillama_yields", "/chart/{pool}", hours[1], hours[2])
    assert found == {"a"}
    assert reads.answered(warehouse, "defillama_yields", "/pools", hours[0], hours[3]) == set()
