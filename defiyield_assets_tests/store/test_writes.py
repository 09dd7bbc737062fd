"""Slices, upserts and additions: receipts, atomicity, idempotence, exactness on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.rows import rows_hash, to_rows
from defiyield_assets.store.validation import MAX_BASE_UNITS
from defiyield_assets_tests.store.crashes import die, replace_after_delete
from defiyield_assets_tests.store.frames import DAYS, FIRST, WRITABLE, example_frame, pools_frame

SLOWLY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NEXT_DAY = DayRange.of(DAYS.end + timedelta(days=1))


def _stored_hash(engine: sa.Engine, table: sa.Table) -> str:
    return rows_hash(table, to_rows(table, reads.read_all(engine, table)))


def test_every_table_keeps_what_it_is_given(warehouse: sa.Engine) -> None:
    for table in WRITABLE:
        frame = example_frame(table)
        receipt = writes.upsert(warehouse, table, frame.sample(frac=1, random_state=7))
        assert (receipt.table, receipt.rows) == (table.name, len(frame))
        back = reads.read_all(warehouse, table)
        assert back.columns.tolist() == [column.name for column in table.columns], table.name
        assert to_rows(table, back) == to_rows(table, frame), table.name
        assert _stored_hash(warehouse, table) == receipt.sha256, table.name
        keys = [column.name for column in table.primary_key.columns]
        in_order = sorted(zip(*[frame[key] for key in keys], strict=True))
        assert list(zip(*[back[key] for key in keys], strict=True)) == in_order, table.name


@pytest.mark.postgres
def test_receipts_are_equal_on_both_databases_whatever_the_order_of_rows(
    sqlite_warehouse: sa.Engine, postgres_warehouse: sa.Engine
) -> None:
    for table in WRITABLE:
        frame = example_frame(table)
        shuffled = frame.sample(frac=1, random_state=3)[list(reversed(frame.columns))]
        here = writes.upsert(sqlite_warehouse, table, frame)
        assert writes.upsert(postgres_warehouse, table, shuffled) == here
        assert _stored_hash(sqlite_warehouse, table) == _stored_hash(postgres_warehouse, table) == here.sha256


def test_a_receipt_changes_with_any_cell(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame()
    before = writes.upsert(sqlite_warehouse, schema.pools, frame)
    frame.loc[3, "apy"] = np.nextafter(frame.loc[3, "apy"], 1.0)
    assert writes.upsert(sqlite_warehouse, schema.pools, frame).sha256 != before.sha256


def test_receipts_count_rows_and_days(warehouse: sa.Engine) -> None:
    receipt = writes.replace_slice(warehouse, schema.pools, pools_frame(pools=5), DAYS)
    assert (receipt.rows, receipt.days) == (15, 3)
    receipt = writes.upsert(warehouse, schema.instruments, example_frame(schema.instruments, 2))
    assert (receipt.rows, receipt.days) == (2, 0)


def test_replace_slice_replaces_those_days_and_no_others(warehouse: sa.Engine) -> None:
    writes.replace_slice(warehouse, schema.pools, pools_frame(apy=0.1), DAYS)
    middle = DayRange.of(FIRST + timedelta(days=1))
    writes.replace_slice(warehouse, schema.pools, pools_frame(middle, pools=1, apy=0.2), middle)
    kept = reads.read_all(warehouse, schema.pools)
    assert kept.groupby("snapshot_date")["apy"].agg(list).tolist() == [[0.1] * 4, [0.2], [0.1] * 4]


def test_replace_slice_with_a_condition_leaves_the_rest_of_the_day(warehouse: sa.Engine) -> None:
    frame = pools_frame(apy=0.1)
    writes.replace_slice(warehouse, schema.pools, frame, DAYS)
    base = frame[frame["chain"] == "Base"].assign(apy=0.2)
    writes.replace_slice(warehouse, schema.pools, base, DAYS, where={"chain": "Base"})
    kept = reads.read_all(warehouse, schema.pools)
    assert kept.groupby("chain")["apy"].agg(set).to_dict() == {"Base": {0.2}, "Ethereum": {0.1}}
    writes.replace_slice(warehouse, schema.pools, frame.head(0), DAYS, where={"chain": ["Base", "Gnosis"]})
    assert set(reads.read_all(warehouse, schema.pools)["chain"]) == {"Ethereum"}


def test_replace_slice_is_idempotent(warehouse: sa.Engine) -> None:
    first = writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS)
    before = reads.read_all(warehouse, schema.pools)
    assert writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS) == first
    pd.testing.assert_frame_equal(reads.read_all(warehouse, schema.pools), before)


def test_an_empty_frame_empties_the_slice(warehouse: sa.Engine) -> None:
    writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS)
    receipt = writes.replace_slice(warehouse, schema.pools, pools_frame().head(0), DAYS)
    assert (receipt.rows, receipt.days) == (0, 0)
    assert reads.read_all(warehouse, schema.pools).empty


def test_a_failure_in_the_middle_leaves_the_old_rows(warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = writes.replace_slice(warehouse, schema.pools, pools_frame(apy=0.1), DAYS)
    insert = writes.insert

    def insert_half(connection: sa.Connection, table: sa.Table, rows: Any) -> None:
        insert(connection, table, rows[:6])
        raise RuntimeError("power cut")

    monkeypatch.setattr(writes, "insert", insert_half)
    with pytest.raises(RuntimeError, match="power cut"):
        writes.replace_slice(warehouse, schema.pools, pools_frame(apy=0.9), DAYS)
    assert _stored_hash(warehouse, schema.pools) == before.sha256


def test_a_process_killed_in_the_middle_leaves_the_old_rows(warehouse: sa.Engine) -> None:
    before = writes.replace_slice(warehouse, schema.pools, pools_frame(apy=0.1), DAYS)
    die(replace_after_delete, warehouse.url.render_as_string(hide_password=False))
    assert _stored_hash(warehouse, schema.pools) == before.sha256
    writes.replace_slice(warehouse, schema.pools, pools_frame(apy=0.9), DAYS)
    assert set(reads.read_all(warehouse, schema.pools)["apy"]) == {0.9}


def test_a_key_that_exists_outside_the_slice_is_refused_and_nothing_changes(warehouse: sa.Engine) -> None:
    table = schema.account_transactions
    frame = example_frame(table, 2).assign(date=FIRST)
    before = writes.replace_slice(warehouse, table, frame, DayRange.of(FIRST))
    with pytest.raises(SuspiciousDataError, match="nothing was written"):
        writes.replace_slice(warehouse, table, frame.assign(date=NEXT_DAY.end), NEXT_DAY)
    assert _stored_hash(warehouse, table) == before.sha256


def test_two_runs_at_once_leave_one_of_the_two_results_whole(warehouse: sa.Engine) -> None:
    frames = [pools_frame(pools=number, apy=number / 100) for number in range(1, 9)]
    with ThreadPoolExecutor(4) as threads:
        receipts = list(
            threads.map(lambda frame: writes.replace_slice(warehouse, schema.pools, frame, DAYS), frames * 2)
        )
    assert _stored_hash(warehouse, schema.pools) in {receipt.sha256 for receipt in receipts}


def test_upsert_replaces_rows_with_the_same_key_and_keeps_the_others(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame(apy=0.1))
    changed = pools_frame(apy=0.2)
    changed = changed[changed["pool_id"] == "pool-1"]
    writes.upsert(warehouse, schema.pools, changed)
    kept = reads.read_all(warehouse, schema.pools)
    assert len(kept) == 12
    assert set(kept.loc[kept["pool_id"] == "pool-1", "apy"]) == {0.2}
    assert set(kept.loc[kept["pool_id"] != "pool-1", "apy"]) == {0.1}


def test_upsert_writes_nulls_over_values(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame().head(1))
    writes.upsert(warehouse, schema.pools, pools_frame().head(1).assign(exposure=None, apy=np.nan))
    kept = reads.read_all(warehouse, schema.pools)
    assert kept["exposure"].tolist() == [None]
    assert kept["apy"].isna().all()


def test_insert_missing_never_touches_a_row_that_is_there(warehouse: sa.Engine) -> None:
    writes.insert_missing(warehouse, schema.pools, pools_frame(pools=2, apy=0.1))
    writes.insert_missing(warehouse, schema.pools, pools_frame(pools=3, apy=0.2))
    kept = reads.read_all(warehouse, schema.pools)
    assert kept.groupby("pool_id")["apy"].agg(set).to_dict() == {"pool-0": {0.1}, "pool-1": {0.1}, "pool-2": {0.2}}


@pytest.mark.parametrize("write", [writes.upsert, writes.insert_missing])
def test_a_table_of_keys_only_can_be_written_twice(warehouse: sa.Engine, write: Any) -> None:
    frame = pd.DataFrame({"market": ["simulated"]})
    assert write(warehouse, schema.warehouse_identity, frame) == write(warehouse, schema.warehouse_identity, frame)


@pytest.mark.parametrize("write", [writes.upsert, writes.insert_missing])
def test_empty_frames_write_nothing(warehouse: sa.Engine, write: Any) -> None:
    assert write(warehouse, schema.pools, pools_frame().head(0)).rows == 0
    assert reads.read_all(warehouse, schema.pools).empty


def test_delete_where_deletes_what_matches_and_says_how_many(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    assert writes.delete_where(warehouse, schema.pools, {"pool_id": ["pool-1", "pool-2"], "chain": "Base"}) == 3
    assert set(reads.read_all(warehouse, schema.pools)["pool_id"]) == {"pool-0", "pool-1", "pool-3"}
    assert writes.delete_where(warehouse, schema.pools, {"pool_meta": None}) == 9


def test_delete_where_never_empties_a_table_by_accident(sqlite_warehouse: sa.Engine) -> None:
    with pytest.raises(ValueError, match="would empty the table"):
        writes.delete_where(sqlite_warehouse, schema.pools, {})


def test_a_hostile_value_in_a_condition_is_only_a_value(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    assert writes.delete_where(warehouse, schema.pools, {"pool_id": "x' OR '1'='1"}) == 0
    with pytest.raises(ValueError, match="no column"):
        writes.delete_where(warehouse, schema.pools, {"pool_id = '' OR 1=1 --": "x"})


# --- exactness -----------------------------------------------------------------------------------------------------
@SLOWLY
@given(amounts=st.lists(st.integers(-MAX_BASE_UNITS, MAX_BASE_UNITS), min_size=1, max_size=20))
def test_base_units_survive_to_the_last_digit(warehouse: sa.Engine, amounts: list[int]) -> None:
    table = schema.ledger_postings
    frame = example_frame(table, len(amounts)).assign(
        tx_hash=[f"{row:04}" for row in range(len(amounts))], date=FIRST, amount=pd.Series(amounts, dtype=object)
    )
    writes.replace_slice(warehouse, table, frame, DayRange.of(FIRST))
    back = reads.read_all(warehouse, table)["amount"].tolist()
    assert back == amounts
    assert {type(amount) for amount in back} == {int}


@SLOWLY
@given(
    money=st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=30)
        | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6),
        min_size=1,
        max_size=20,
    )
)
def test_exact_money_survives_to_the_last_digit(warehouse: sa.Engine, money: list[Decimal]) -> None:
    table = schema.daily_balances
    frame = example_frame(table, len(money)).assign(
        date=FIRST, token_address=[f"{row:04}" for row in range(len(money))], value_usd=money
    )
    frame = frame.assign(chain_id=1, wallet="w")
    receipt = writes.replace_slice(warehouse, table, frame, DayRange.of(FIRST))
    back = reads.read_all(warehouse, table)["value_usd"].tolist()
    assert back == money
    assert {type(amount) for amount in back} == {Decimal}
    assert _stored_hash(warehouse, table) == receipt.sha256


@SLOWLY
@given(
    floats=st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=20),
    text=st.text(max_size=20),
    stamp=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.timezones()),
)
def test_floats_text_and_timestamps_survive(
    warehouse: sa.Engine, floats: list[float], text: str, stamp: datetime
) -> None:
    frame = pools_frame(DayRange.of(FIRST), pools=len(floats)).assign(apy=floats, symbol=text, observed_at=stamp)
    receipt = writes.replace_slice(warehouse, schema.pools, frame, DayRange.of(FIRST))
    back = reads.read_all(warehouse, schema.pools)
    by_pool = dict(zip(back["pool_id"], back["apy"], strict=True))
    assert [by_pool[f"pool-{row}"] for row in range(len(floats))] == pytest.approx(floats, rel=0, abs=0, nan_ok=True)
    assert set(back["symbol"]) == {text.replace("\x00", "\ufffd")}
    assert set(back["observed_at"]) == {pd.Timestamp(stamp).tz_convert("UTC")}
    assert _stored_hash(warehouse, schema.pools) == receipt.sha256


def test_timestamps_come_back_in_utc(warehouse: sa.Engine) -> None:
    tokyo = datetime(2026, 3, 4, 9, 30, tzinfo=timezone(timedelta(hours=9)))
    writes.upsert(warehouse, schema.pools, pools_frame().assign(observed_at=tokyo))
    back = reads.read_all(warehouse, schema.pools)["observed_at"]
    assert back.dtype == "datetime64[ns, UTC]"
    assert back.iloc[0].to_pydatetime() == datetime(2026, 3, 4, 0, 30, tzinfo=UTC)


def test_numpy_and_pandas_scalars_are_written_as_python_ones(warehouse: sa.Engine) -> None:
    frame = example_frame(schema.pool_metrics, 3).assign(
        apy=pd.Series([np.float64(0.1), np.float32(0.5), np.int64(2)], dtype=object),
        observed_days=pd.Series([np.int64(1), np.int32(2), 3.0], dtype=object),
        age_days=np.array([1, 2, 3], dtype="int16"),
        is_hindsight=pd.Series([np.True_, np.False_, True], dtype=object),
    )
    writes.upsert(warehouse, schema.pool_metrics, frame)
    back = reads.read_all(warehouse, schema.pool_metrics)
    assert back["apy"].tolist() == [0.1, 0.5, 2.0]
    assert back["observed_days"].tolist() == [1, 2, 3]
    assert back["age_days"].tolist() == [1, 2, 3]
    assert back["is_hindsight"].tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [object, "boolean"])
def test_booleans_are_real_booleans_and_nulls_are_null(warehouse: sa.Engine, dtype: Any) -> None:
    frame = pools_frame(DayRange.of(FIRST), pools=3)
    frame["is_stablecoin"] = pd.Series([True, False, None], dtype=dtype)
    frame["is_stale"] = [True, False, True]
    writes.upsert(warehouse, schema.pools, frame)
    back = reads.read_all(warehouse, schema.pools)
    assert back["is_stale"].dtype == bool
    flags = back["is_stablecoin"].tolist()
    assert flags[0] is True
    assert flags[1] is False
    assert flags[2] is None


@pytest.mark.parametrize("dtype", [float, "Int64"])
def test_whole_floats_and_nullable_integers_become_integers(warehouse: sa.Engine, dtype: Any) -> None:
    frame = example_frame(schema.instruments, 2).assign(cmc_id=pd.array([3408, None], dtype=dtype))
    writes.upsert(warehouse, schema.instruments, frame)
    assert reads.read_all(warehouse, schema.instruments)["cmc_id"].tolist() == [3408, None]


def test_text_that_no_database_can_hold_does_not_stop_the_ledger(warehouse: sa.Engine) -> None:
    frame = example_frame(schema.account_transactions, 2).assign(symbol_claimed=["US\x00DC", "US\ud800DC"])
    writes.upsert(warehouse, schema.account_transactions, frame)
    kept = reads.read_all(warehouse, schema.account_transactions)["symbol_claimed"].tolist()
    assert kept == ["US\ufffdDC", "US\ufffdDC"]


def test_money_of_equal_worth_has_an_equal_fingerprint() -> None:
    frame = example_frame(schema.nav_daily, 1)
    hashes = {
        rows_hash(schema.nav_daily, to_rows(schema.nav_daily, frame.assign(nav_usd=Decimal(text))))
        for text in ("1.10", "1.1", "0.11E1")
    }
    assert len(hashes) == 1


def test_negative_zero_is_zero(sqlite_warehouse: sa.Engine) -> None:
    receipts = {
        writes.replace_slice(sqlite_warehouse, schema.pools, pools_frame().assign(apy=zero), DAYS).sha256
        for zero in (0.0, -0.0, 0)
    }
    assert len(receipts) == 1


def test_a_frame_is_not_changed_by_writing_it(sqlite_warehouse: sa.Engine) -> None:
    frame = pools_frame().assign(symbol="a\x00b").sample(frac=1, random_state=1)
    before = frame.copy(deep=True)
    writes.upsert(sqlite_warehouse, schema.pools, frame)
    pd.testing.assert_frame_equal(frame, before)


def test_days_are_dates_when_they_come_back(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame())
    assert {type(day) for day in reads.read_all(warehouse, schema.pools)["snapshot_date"]} == {date}


def test_a_receipt_for_batches_counts_them_together_and_depends_on_each(sqlite_warehouse: sa.Engine) -> None:
    parts = [pools_frame(DayRange.of(DAYS.start), pools=2), pools_frame(DayRange.of(DAYS.end), pools=3)]
    receipts = [writes.upsert(sqlite_warehouse, schema.pools, part) for part in parts]
    empty = writes.upsert(sqlite_warehouse, schema.pools, parts[0].iloc[:0])
    whole = writes.together(schema.pools, receipts)
    assert (whole.table, whole.rows, whole.days) == ("pools", 5, 1)
    assert writes.together(schema.pools, [*receipts, empty]) == whole, "a batch without rows says nothing"
    assert writes.together(schema.pools, receipts[:1]).sha256 != whole.sha256
    assert writes.together(schema.pools, []).rows == 0
    days = writes.day_by_day(schema.pools, receipts)
    assert (days.rows, days.days, days.sha256) == (5, 2, whole.sha256)
