"""Long histories: chunks written by a second thread are what one write would have stored, or nothing is."""

import hashlib
import json
from datetime import date
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import columnar_copy, columnar_frames, inserts, reads, rows, schema, validation, writes
from defiyield_assets.store.rows import rows_hash, to_rows
from defiyield_assets.store.validation import column_type, frame_schema
from defiyield_assets_tests.store.frames import WRITABLE, example_frame

LEDGER = (schema.account_transactions, schema.ledger_postings, schema.trial_balance)
HOSTILE = ('a"\\\n\u2028\U0001f600é\x07', "[1,2]", "null", "", '{"a":1}', "1e5", "a\x00b\ud800")
ALL_DAYS = DayRange(date(2000, 1, 1), date(2100, 1, 1))


def hostile_frame(table: sa.Table) -> pd.DataFrame:
    """Example rows with texts that mean something in JSON or SQL, or that no database holds, in a free text column."""
    frame = example_frame(table)
    free = next(column.name for column in table.columns if column_type(column) == "text" and not column.primary_key)
    return frame.assign(**{free: [HOSTILE[place % len(HOSTILE)] for place in range(len(frame))]})


def stored(engine: sa.Engine, table: sa.Table) -> list[tuple[Any, ...]]:
    """Every cell as the database holds it; on SQLite with the type that it is stored as."""
    names = ", ".join(column.name for column in table.columns)
    if engine.dialect.name == "sqlite":
        names += ", " + ", ".join(f"typeof({column.name})" for column in table.columns)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"SELECT {names} FROM {table.name}").all()
    return sorted((tuple(row) for row in found), key=repr)


def empty(engine: sa.Engine, table: sa.Table) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(table))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks, pieces and answers of a few rows."""
    monkeypatch.setattr(writes, "CHUNK_ROWS", 3)
    monkeypatch.setattr(rows, "PIECE", 2)
    monkeypatch.setattr(columnar_frames, "PIECE", 2)
    monkeypatch.setattr(columnar_copy, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(reads, "STREAMED", 2)


@pytest.mark.parametrize("table", LEDGER, ids=lambda table: table.name)
def test_chunks_of_a_second_thread_are_stored_as_one_write_stores_them(warehouse: sa.Engine, table: sa.Table) -> None:
    frame = hostile_frame(table)
    assert len(frame) > writes.CHUNK_ROWS
    writes.insert_missing(warehouse, table, frame)
    at_once = stored(warehouse, table)
    empty(warehouse, table)
    assert writes.add_history(warehouse, table, frame) == len(frame)
    assert stored(warehouse, table) == at_once
    empty(warehouse, table)
    with writes.replacing(warehouse, [table], ALL_DAYS) as slices:
        for start in range(0, len(frame), 2):
            slices.add(table, frame.iloc[start : start + 2])
    assert stored(warehouse, table) == at_once


def test_the_ledger_is_written_without_the_interpreter(sqlite_warehouse: sa.Engine) -> None:
    with sqlite_warehouse.connect() as connection:
        taken = {
            table.name: inserts.json_of(connection, table, to_rows(table, example_frame(table))) is not None
            for table in (*LEDGER, schema.pools)
        }
    assert taken == {**{table.name: True for table in LEDGER}, "pools": False}, "floats may lose a bit in JSON"


def test_a_history_never_touches_rows_that_are_there(warehouse: sa.Engine) -> None:
    table = schema.account_transactions
    frame = example_frame(table)
    writes.upsert(warehouse, table, frame.iloc[:2].assign(source="first"))
    writes.add_history(warehouse, table, frame.assign(source="second"))
    assert reads.read_all(warehouse, table)["source"].value_counts().to_dict() == {"first": 2, "second": len(frame) - 2}


def test_a_bad_row_of_the_last_chunk_leaves_nothing_of_the_others(warehouse: sa.Engine) -> None:
    table = schema.account_transactions
    frame = example_frame(table)
    bad = frame.assign(value=[*frame["value"][:-1], "many"])
    with pytest.raises(SuspiciousDataError, match="value must be an int"):
        writes.add_history(warehouse, table, bad)
    assert reads.read_all(warehouse, table).empty


def test_a_key_that_comes_again_in_another_chunk_is_refused(warehouse: sa.Engine) -> None:
    table = schema.account_transactions
    frame = example_frame(table)
    with pytest.raises(SuspiciousDataError, match="key must be unique"):
        writes.add_history(warehouse, table, pd.concat([frame, frame.iloc[:1]], ignore_index=True))
    assert reads.read_all(warehouse, table).empty


def test_a_key_that_comes_again_once_its_text_is_storable_is_refused(warehouse: sa.Engine) -> None:
    table = schema.account_transactions
    key = next(column.name for column in table.primary_key.columns if column_type(column) == "text")
    frame = example_frame(table)
    twice = pd.concat([frame, frame.iloc[:1]], ignore_index=True)
    twice[key] = [f"{twice[key][0]}\x00", *twice[key][1:-1], f"{twice[key][0]}\ufffd"]
    with pytest.raises(SuspiciousDataError, match="key must be unique"):
        writes.add_history(warehouse, table, twice)
    assert reads.read_all(warehouse, table).empty


def test_slices_of_several_tables_are_replaced_together_or_not_at_all(warehouse: sa.Engine) -> None:
    table, other = schema.ledger_postings, schema.trial_balance
    frame, balances = example_frame(table), example_frame(other)
    with writes.replacing(warehouse, [table, other], ALL_DAYS) as slices:
        slices.add(table, frame)
        slices.add(other, balances)
    before = stored(warehouse, table), stored(warehouse, other)

    def stop(slices: writes.SliceWriter) -> None:
        slices.add(table, frame.iloc[:1])
        raise RuntimeError("the caller gives up")

    def repeat(slices: writes.SliceWriter) -> None:
        slices.add(table, frame.iloc[:2])
        slices.add(table, frame.iloc[1:3])

    for attempt, error in ((stop, RuntimeError), (repeat, SuspiciousDataError)):
        with pytest.raises(error), writes.replacing(warehouse, [table, other], ALL_DAYS) as slices:
            attempt(slices)
        assert (stored(warehouse, table), stored(warehouse, other)) == before, attempt.__name__


def test_one_frame_of_a_slice_has_the_receipt_of_replacing_it_at_once(warehouse: sa.Engine) -> None:
    table = schema.ledger_postings
    frame = example_frame(table)
    whole = writes.replace_slice(warehouse, table, frame, ALL_DAYS)
    with writes.replacing(warehouse, [table], ALL_DAYS) as slices:
        slices.add(table, frame)
    assert slices.receipt(table) == whole
    with writes.replacing(warehouse, [table], ALL_DAYS) as slices:
        slices.add(table, frame.iloc[:2], is_counted=False)
        slices.add(table, frame.iloc[2:])
    assert slices.receipt(table).rows == len(frame) - 2


def test_a_fingerprint_made_in_pieces_is_that_of_the_whole() -> None:
    for table in WRITABLE:
        content = to_rows(table, example_frame(table))
        columns = list(rows._spelled_columns(table, content))
        whole = json.dumps(columns, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        assert rows_hash(table, content) == hashlib.sha256(whole.encode()).hexdigest(), table.name


def test_rows_that_stream_are_those_that_are_read_at_once(warehouse: sa.Engine) -> None:
    for table in LEDGER:
        writes.insert_missing(warehouse, table, hostile_frame(table))
        names, keys = [column.name for column in table.columns], [column.name for column in table.primary_key.columns]
        streamed = list(reads.stream_days(warehouse, table, ALL_DAYS, columns=names, order=keys))
        assert len(streamed) > reads.STREAMED
        assert sorted(streamed, key=repr) == sorted(to_rows(table, reads.read_all(warehouse, table)), key=repr)


BAD_CELLS: tuple[Any, ...] = (None, float("nan"), "", "nan", -1, 2**31, 2**256, 10**80, True, 1.5, "0x", date.max, b"x")


@pytest.mark.parametrize("table", WRITABLE, ids=lambda table: table.name)
def test_what_is_plainly_valid_is_valid_by_every_rule(table: sa.Table) -> None:
    frame = example_frame(table).reset_index(drop=True)
    for changed in (frame, pd.concat([frame, frame.iloc[:1]], ignore_index=True), frame.iloc[:, 1:]):
        if validation._is_plainly_valid(table, changed):
            frame_schema(table).validate(changed, lazy=True)
    for column in table.columns:
        cells = list(frame[column.name].astype(object))
        for bad in BAD_CELLS:
            changed = pd.DataFrame({column.name: pd.Series([bad, *cells[1:]], dtype=object)})
            if validation.is_plain_column(column, changed[column.name]):
                frame_schema(table).columns[column.name].validate(changed, lazy=True)


def test_the_frames_of_the_ledger_are_plainly_valid(sqlite_warehouse: sa.Engine) -> None:
    for table in LEDGER:
        writes.insert_missing(sqlite_warehouse, table, example_frame(table))
        assert validation._is_plainly_valid(table, reads.read_all(sqlite_warehouse, table)), table.name
