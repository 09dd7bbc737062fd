"""What a frame must be: each rule refuses, names table, column, rule and keys, and nothing is written."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.validation import column_schema, column_type, frame_schema
from defiyield_assets_tests.store.frames import DAYS, WRITABLE, example_frame, pools_frame


def _with(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        cells = frame[column].astype(object).tolist()
        cells[5] = value
        return frame.assign(**{column: pd.Series(cells, dtype=object)})

    return change


BREAKAGES: list[tuple[sa.Table, Callable[[pd.DataFrame], pd.DataFrame], str, str]] = [
    (schema.pools, _with("chain", None), "chain", "must not be null"),
    (schema.pools, _with("chain", float("nan")), "chain", "must not be null"),
    (schema.pools, _with("chain", 5), "chain", "must be text"),
    (schema.pools, _with("pool_meta", 0.5), "pool_meta", "must be text"),
    (schema.pools, _with("tvl_usd", -0.01), "tvl_usd", "must be >= 0.0"),
    (schema.pools, _with("apy", "0.05"), "apy", "must be a finite number"),
    (schema.pools, _with("apy", float("inf")), "apy", "must be a finite number"),
    (schema.pools, _with("apy", True), "apy", "must be a finite number"),
    (schema.pools, _with("apy", Decimal("0.05")), "apy", "must be a finite number"),
    (schema.pools, _with("is_stale", 1), "is_stale", "must be True or False"),
    (schema.pools, _with("is_stale", "True"), "is_stale", "must be True or False"),
    (schema.pools, _with("snapshot_date", "2026-03-01"), "snapshot_date", "must be a datetime.date"),
    (
        schema.pools,
        _with("snapshot_date", datetime(2026, 3, 1, tzinfo=UTC)),
        "snapshot_date",
        "must be a datetime.date",
    ),
    (schema.pools, _with("observed_at", datetime(2026, 3, 1)), "observed_at", "must be a timestamp with time zone"),
    (schema.pools, _with("observed_at", datetime(1, 1, 1, tzinfo=UTC)), "observed_at", "must be a timestamp"),
    (schema.pools, lambda frame: frame.assign(observed_at=pd.Timestamp("2026-03-01")), "observed_at", "time zone"),
    (schema.pools, _with("pool_id", "nan"), "pool_id", "must not be empty or a spelled null"),
    (schema.pools, _with("pool_id", ""), "pool_id", "must not be empty or a spelled null"),
    (schema.pools, lambda frame: frame.drop(columns="apy"), "apy", "is missing"),
    (schema.pools, lambda frame: frame.drop(columns="pool_id"), "pool_id", "is missing"),
    (schema.pools, lambda frame: frame.assign(aypee=1.0), "aypee", "columns that the table does not have"),
    (schema.pool_groups, _with("pool_group", 5), "pool_group", "must be one of [1, 2, 3, 4]"),
    (schema.pool_groups, _with("pool_group", 1.5), "pool_group", "must be a whole number"),
    (schema.pool_groups, _with("pool_group", np.inf), "pool_group", "must be a whole number"),
    (schema.pool_metrics, _with("observed_days", 31), "observed_days", "must be <= 30"),
    (schema.pool_metrics, _with("age_days", 2**31), "age_days", "must be a whole number of at most 31 bits"),
    (schema.pool_metrics, _with("reward_share", 1.01), "reward_share", "must be <= 1.0"),
    (schema.chain_balances, _with("balance", 2**256), "balance", "must be an int of at most 256 bits"),
    (schema.chain_balances, _with("balance", 1.0), "balance", "must be an int of at most 256 bits"),
    (schema.chain_balances, _with("balance", Decimal(1)), "balance", "must be an int of at most 256 bits"),
    (schema.chain_balances, _with("balance", True), "balance", "must be an int of at most 256 bits"),
    (schema.nav_daily, _with("nav_usd", 1.5), "nav_usd", "must be a finite Decimal"),
    (schema.nav_daily, _with("nav_usd", Decimal("Infinity")), "nav_usd", "must be a finite Decimal"),
    (schema.nav_daily, _with("nav_usd", Decimal("NaN")), "nav_usd", "must not be null"),
]


def _name(value: object) -> str | None:
    return value.name if isinstance(value, sa.Table) else value if isinstance(value, str) else ""


@pytest.mark.parametrize(("table", "breaking", "column", "rule"), BREAKAGES, ids=_name)
def test_a_broken_rule_is_named_and_nothing_is_written(
    sqlite_warehouse: sa.Engine,
    table: sa.Table,
    breaking: Callable[[pd.DataFrame], pd.DataFrame],
    column: str,
    rule: str,
) -> None:
    frame = example_frame(table)
    with pytest.raises(SuspiciousDataError) as caught:
        writes.upsert(sqlite_warehouse, table, breaking(frame))
    message = str(caught.value)
    assert f"table {table.name}" in message
    assert column in message
    assert rule in message
    assert "nothing was written" in message
    assert reads.read_all(sqlite_warehouse, table).empty
    writes.upsert(sqlite_warehouse, table, frame)  # the frame was fine before it was broken


def test_the_offending_key_and_value_are_named(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame()
    frame.loc[5, "tvl_usd"] = -3.0
    with pytest.raises(SuspiciousDataError, match=r"snapshot_date=2026-03-02, pool_id=pool-1\) has -3\.0"):
        writes.upsert(sqlite_warehouse, schema.pools, frame.sample(frac=1, random_state=2))


def test_at_most_five_keys_are_named(sqlite_warehouse: sa.Engine) -> None:
    with pytest.raises(SuspiciousDataError, match=r"broken by 12 rows: .* and 7 more") as caught:
        writes.upsert(sqlite_warehouse, schema.pools, pools_frame().assign(tvl_usd=-1.0))
    assert str(caught.value).count("snapshot_date=") == 5


def test_all_broken_rules_are_told_at_once(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame().assign(tvl_usd=-1.0, chain=None).drop(columns="apy")
    with pytest.raises(SuspiciousDataError, match=r"apy is missing.*chain must not be null.*tvl_usd must be >= 0"):
        writes.upsert(sqlite_warehouse, schema.pools, frame)


def test_hostile_values_are_shortened_and_escaped_in_messages(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame().assign(tvl_usd=-1.0)
    frame.loc[0, "pool_id"] = "evil\x1b[2J\n" + "x" * 10_000_000
    with pytest.raises(SuspiciousDataError) as caught:
        writes.upsert(sqlite_warehouse, schema.pools, frame)
    assert len(str(caught.value)) < 2000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("write", ["replace_slice", "upsert", "insert_missing"])
def test_duplicate_keys_are_refused(warehouse: sa.Engine, write: str) -> None:
    frame = pd.concat([pools_frame(), pools_frame().iloc[[2]].assign(apy=0.7)])
    arguments = (frame, DAYS) if write == "replace_slice" else (frame,)
    with pytest.raises(SuspiciousDataError, match=r"key must be unique, broken by 1 row: .*pool_id=pool-2"):
        getattr(writes, write)(warehouse, schema.pools, *arguments)
    assert reads.read_all(warehouse, schema.pools).empty


def test_keys_that_become_equal_when_cleaned_are_duplicates(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame(DayRange.of(DAYS.start), pools=2).assign(pool_id=["a\x00", "a\ufffd"])
    with pytest.raises(SuspiciousDataError, match="key must be unique"):
        writes.upsert(sqlite_warehouse, schema.pools, frame)


def test_a_column_that_appears_twice_is_refused(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame()
    with pytest.raises(SuspiciousDataError, match="apy"):
        writes.upsert(sqlite_warehouse, schema.pools, pd.concat([frame, frame[["apy"]]], axis=1))


def test_a_list_in_a_key_is_refused(sqlite_warehouse: sa.Engine) -> None:
    frame = _with("pool_id", ["p"])(pools_frame())
    with pytest.raises(SuspiciousDataError, match="table pools"):
        writes.upsert(sqlite_warehouse, schema.pools, frame)


def test_rows_outside_the_days_are_refused(warehouse: sa.Engine) -> None:
    before = writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS)
    with pytest.raises(SuspiciousDataError, match=r"snapshot_date must lie between 2026-03-01 and 2026-03-01.*8 rows"):
        writes.replace_slice(warehouse, schema.pools, pools_frame(), DayRange.of(DAYS.start))
    assert len(reads.read_all(warehouse, schema.pools)) == before.rows


def test_rows_outside_the_condition_are_refused(warehouse: sa.Engine) -> None:
    with pytest.raises(SuspiciousDataError, match=r"column chain must be 'Base' as the slice says, broken by 6 rows"):
        writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS, where={"chain": "Base"})
    assert reads.read_all(warehouse, schema.pools).empty


def test_a_table_without_partitions_has_no_slices(sqlite_warehouse: sa.Engine) -> None:
    frame = example_frame(schema.instruments)
    with pytest.raises(ValueError, match="instruments has no partition date"):
        writes.replace_slice(sqlite_warehouse, schema.instruments, frame, DAYS)


@pytest.mark.parametrize("table", WRITABLE, ids=lambda table: table.name)
def test_every_table_has_a_schema_that_accepts_its_rows_and_refuses_a_null_key(table: sa.Table) -> None:
    frame = example_frame(table)
    frame_schema(table).validate(frame)
    frame_schema(table).validate(frame.head(0))
    key = next(iter(table.primary_key.columns)).name
    with pytest.raises(Exception, match=key):
        frame_schema(table).validate(frame.assign(**{key: None}))


def test_frames_read_back_pass_their_own_schema(warehouse: sa.Engine) -> None:
    for table in WRITABLE:
        writes.upsert(warehouse, table, example_frame(table))
        frame_schema(table).validate(reads.read_all(warehouse, table))


def test_every_column_is_documented() -> None:
    for table in schema.metadata.sorted_tables:
        columns = column_schema(table)
        assert [column["name"] for column in columns] == [column.name for column in table.columns]
        assert all(column["description"] and column["type"] for column in columns), table.name


def test_units_follow_from_names_and_types() -> None:
    units = {column["name"]: column.get("unit") for column in column_schema(schema.daily_balances)}
    assert units["value_usd"] == "USD"
    assert units["balance"] == "base units"
    assert units["wallet"] is None
    by_name = {column["name"]: column for column in column_schema(schema.pools)}
    assert by_name["apy"] | {"description": ""} == {
        "name": "apy",
        "type": "float",
        "description": "",
        "nullable": True,
        "is_key": False,
        "unit": "fraction a year",
    }


def test_every_bound_lies_on_a_number_and_every_choice_on_its_type() -> None:
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            if {"ge", "le"} & set(column.info):
                assert column_type(column) in ("int", "long", "float"), column
            assert set(column.info) <= {"ge", "le", "isin", "is_blank"}, column


def test_a_date_column_of_timestamps_is_refused(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame().assign(snapshot_date=pd.Timestamp(date(2026, 3, 1)))
    with pytest.raises(SuspiciousDataError, match=r"snapshot_date must be a datetime\.date"):
        writes.upsert(sqlite_warehouse, schema.pools, frame)
