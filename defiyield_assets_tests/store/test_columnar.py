"""The columnar path: what it stores, hashes and reads is what rows one by one give, on both databases; its failures."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError, TransientError
from defiyield_assets.store import columnar_copy, columnar_frames, reads, schema, writes
from defiyield_assets.store.columnar import Cells, Collector, order_of
from defiyield_assets.store.columnar_frames import columns_of
from defiyield_assets.store.rows import rows_hash, storable, storable_text, to_frame, to_rows
from defiyield_assets.store.types import BaseUnits, ExactDecimal, UtcDateTime
from defiyield_assets.store.validation import MAX_BASE_UNITS, MAX_INTEGER, MAX_LONG, frame_schema, is_plain_column
from defiyield_assets_tests.store import crashes
from defiyield_assets_tests.store.frames import DAYS, FIRST, WRITABLE, example_frame, history_frame, pools_frame

SLOWLY = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
KINDS: dict[str, Any] = {
    "words": sa.Text(),
    "number": sa.Integer(),
    "large": sa.BigInteger(),
    "share": sa.Float(),
    "is_so": sa.Boolean(),
    "other_day": sa.Date(),
    "seen_at": UtcDateTime(),
    "money": ExactDecimal(),
    "amount": BaseUnits(),
    "body": sa.LargeBinary(),
}
EVERY_KIND = sa.Table(
    "every_kind",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    *(sa.Column(name, kind, nullable=False) for name, kind in KINDS.items()),
    *(sa.Column(f"{name}_or_null", kind, nullable=True) for name, kind in KINDS.items()),
    info={"day": "date"},
)
HOSTILE = [
    "",
    "\\.",
    "\\N",
    "NULL",
    '"',
    "a,b\r\nc\t\\",
    "'; DROP TABLE pools; --",
    "%s %(x)s %%",
    "a\x00b",
    "\ud800",
    "é😀",
]
TEXT = st.sampled_from(HOSTILE) | st.text(max_size=20)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "words": TEXT,
    "number": st.integers(-MAX_INTEGER, MAX_INTEGER),
    "large": st.integers(-MAX_LONG, MAX_LONG),
    "share": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([-0.0, 5e-324, 1e308, 1e-5, 1e16, 0.1]),
    "is_so": st.booleans(),
    "other_day": st.dates(),
    "seen_at": st.datetimes(datetime(1700, 1, 2), datetime(2249, 12, 30), timezones=st.just(UTC)),
    "money": st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.sampled_from([Decimal("1.10"), Decimal(0)]),
    "amount": st.integers(-MAX_BASE_UNITS, MAX_BASE_UNITS),
    "body": st.binary(max_size=20),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["b", "B", "ä", "a", "\U0001f600", "\uffee", "a\x00"]),
            "date": st.dates(FIRST, DAYS.end),
            "place": st.integers(-3, 3),
            **CELLS,
            **{f"{name}_or_null": st.none() | cells for name, cells in CELLS.items()},
        }
    ),
    max_size=8,
    unique_by=lambda row: (storable(row["name"]), row["date"], row["place"]),
)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces, parts and answers of a few rows."""
    monkeypatch.setattr(columnar_frames, "PIECE", 3)
    monkeypatch.setattr(columnar_copy, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(reads, "STREAMED", 3)


@pytest.fixture
def with_every_kind(warehouse: sa.Engine) -> sa.Engine:
    EVERY_KIND.create(warehouse)
    return warehouse


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the dtypes that a read gives."""
    return to_frame(list(EVERY_KIND.columns), list(frame.itertuples(index=False, name=None)))


def by_rows(engine: sa.Engine, frame: pd.DataFrame) -> writes.WriteReceipt:
    """`replace_slice` by rows one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writes, "columns_of", lambda *_arguments: None)
        return writes.replace_slice(engine, EVERY_KIND, frame, DAYS)


# --- equality ------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_parts")
@SLOWLY
@given(rows=ROWS)
def test_columns_and_rows_store_hash_and_read_the_same(with_every_kind: sa.Engine, rows: list[dict[str, Any]]) -> None:
    frame = typed(pd.DataFrame(rows, columns=EVERY_KIND.columns.keys(), dtype=object))
    assert columns_of(EVERY_KIND, frame, DAYS, None) is not None
    expected = to_rows(EVERY_KIND, storable_text(frame))
    one_by_one, stored = by_rows(with_every_kind, frame), reads.read_all(with_every_kind, EVERY_KIND)
    assert writes.replace_slice(with_every_kind, EVERY_KIND, frame, DAYS) == one_by_one
    found = reads.read_days(with_every_kind, EVERY_KIND, DAYS)
    pd.testing.assert_frame_equal(found, stored, check_exact=True)
    pd.testing.assert_frame_equal(found, to_frame(list(EVERY_KIND.columns), expected), check_exact=True)
    assert to_rows(EVERY_KIND, found) == expected


@pytest.mark.parametrize("table", WRITABLE, ids=lambda table: table.name)
def test_the_rows_and_the_fingerprint_of_columns_are_those_of_rows(table: sa.Table) -> None:
    objects = example_frame(table).sample(frac=1, random_state=7).reset_index(drop=True)
    rows = to_rows(table, objects)
    frame = to_frame(list(table.columns), rows).sample(frac=1, random_state=7)
    columns = columns_of(table, frame, None, None)
    assert columns is not None
    assert columns.rows() == rows
    assert columns.sha256() == rows_hash(table, rows)


@pytest.mark.parametrize("table", WRITABLE, ids=lambda table: table.name)
def test_what_goes_in_columns_is_valid_by_every_rule(table: sa.Table) -> None:
    frame = example_frame(table).reset_index(drop=True)
    for changed in (pd.concat([frame, frame.iloc[:1]], ignore_index=True), frame.iloc[:, 1:], frame.assign(other=1)):
        assert columns_of(table, changed, None, None) is None
    for column in table.columns:
        cells = list(frame[column.name].astype(object))
        for bad in (None, -1, 0.5, True, 2**31, "nan", pd.NaT):
            changed = pd.DataFrame({column.name: pd.Series([bad, *cells[1:]])})
            if is_plain_column(column, changed[column.name]):
                frame_schema(table).columns[column.name].validate(changed, lazy=True)


def test_floats_are_spelled_as_python_spells_them() -> None:
    rng = np.random.default_rng(3)
    bits = (np.repeat(np.arange(2047, dtype=np.uint64), 20) << 52) | rng.integers(0, 2**52, 2047 * 20, dtype=np.uint64)
    powers = np.concatenate([10.0 ** np.arange(-30, 30), 2.0 ** np.arange(-1074, 1024), [0.0, 5e-324]])
    short = np.array([float(f"{digits}e{power}") for digits in (1, 9, 1.5, 12.25) for power in range(-20, 20)])
    usual = rng.random(20_000) * 10.0 ** rng.integers(-8, 13, 20_000)
    cents = rng.integers(-(10**12), 10**12, 5_000) / 100
    beside = [np.nextafter(powers, 0), np.nextafter(powers, np.inf)]
    numbers = np.concatenate([bits.view(np.float64), powers, *beside, short, usual, cents])
    numbers = numbers[np.isfinite(numbers)]
    numbers = np.concatenate([numbers, -numbers]) + 0.0
    assert columnar_frames._spelled_floats(numbers).to_pylist() == [repr(number) for number in numbers.tolist()]


@pytest.mark.usefixtures("small_parts")
def test_very_long_texts_come_back(warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar_copy, "MOST_BYTES", 2**16)
    texts = ["é" * 10**6, "", "x", '"' * 10**5] * 3
    frame = pools_frame().assign(pool_meta=texts)
    receipt = writes.replace_slice(warehouse, schema.pools, frame, DAYS)
    found = reads.read_days(warehouse, schema.pools, DAYS)
    assert found["pool_meta"].tolist() == texts
    assert receipt.sha256 == rows_hash(schema.pools, to_rows(schema.pools, frame))


def test_a_slice_is_kept_by_columns_too(sqlite_warehouse: sa.Engine) -> None:
    frame, day = pools_frame(), DayRange.of(FIRST)
    assert columns_of(schema.pools, frame, DAYS, {"is_stale": False, "pool_meta": None}) is not None
    strays: list[tuple[DayRange, dict[str, Any] | None]] = [
        (day, None),
        (DAYS, {"chain": "Base"}),
        (DAYS, {"chain": None}),
        (DAYS, {"chain": ["Base"], "is_stale": False}),
        (DAYS, {"is_stale": True}),
        (DAYS, {"pool_meta": ""}),
    ]
    for days, where in strays:
        with pytest.raises(SuspiciousDataError, match="nothing was written"):
            writes.replace_slice(sqlite_warehouse, schema.pools, frame, days, where)


# --- the known point of a day --------------------------------------------------------------------------------------
SEEN = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)


@SLOWLY
@given(
    points=st.lists(
        st.tuples(st.sampled_from("pq"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 4)),
        unique_by=lambda point: point[:3],
        max_size=12,
    ),
    hours=st.integers(-1, 5),
)
@example(points=[], hours=0)
def test_the_point_known_at_a_moment(
    sqlite_warehouse: sa.Engine, points: list[tuple[str, int, int, int]], hours: int
) -> None:
    told = [
        (pool, FIRST + timedelta(days=day), revision, SEEN + timedelta(hours=at), 0.5)
        for pool, day, revision, at in points
    ]
    writes.replace_slice(sqlite_warehouse, schema.pool_histories, history_frame(told), DAYS)
    known_at = SEEN + timedelta(hours=hours)
    expected = []
    for key in sorted({point[:2] for point in told}):
        of_key = sorted(point for point in told if point[:2] == key)
        in_time = [point for point in of_key if point[3] <= known_at]
        expected.append((*(in_time[-1] if in_time else of_key[0])[:4], not in_time))
    found = reads.pool_histories(sqlite_warehouse, DAYS, known_at)
    columns = ["pool_id", "date", "revision", "seen_at", "is_hindsight"]
    assert list(found[columns].itertuples(index=False, name=None)) == expected


# --- parameters ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", [text for text in HOSTILE if storable(text) == text])
def test_hostile_texts_are_values_never_sql(warehouse: sa.Engine, text: str) -> None:
    frame = pools_frame().assign(symbol=[text, *["USDC"] * 11])
    writes.replace_slice(warehouse, schema.pools, frame, DAYS)
    assert len(reads.read_days(warehouse, schema.pools, DAYS, {"symbol": text})) == 1
    assert len(reads.read_days(warehouse, schema.pools, DAYS, {"symbol": [text, "') OR (1=1"]})) == 1
    assert reads.read_days(warehouse, schema.pools, DAYS, {"symbol": f"{text}'"}).empty
    assert len(reads.read_columns(warehouse, schema.pools, DAYS, {"symbol": text}, ["pool_id"])["pool_id"]) == 1
    assert reads.pool_histories(warehouse, DAYS, SEEN, [text], {text: f"{text}%s'"}).empty


def test_an_account_prefix_is_no_pattern(warehouse: sa.Engine) -> None:
    rows = example_frame(schema.trial_balance, 3).assign(account=["a%b:c", "axb:c", "a\\b:c"])
    writes.insert_missing(warehouse, schema.trial_balance, rows)
    for prefix in ("a%", "a\\"):
        found = reads.trial_balance(warehouse, DAYS.end, prefix)
        assert found["account"].str.startswith(prefix).tolist() == [True]


def test_a_condition_without_time_zone_is_refused(warehouse: sa.Engine) -> None:
    with pytest.raises(Exception, match="timestamp without time zone"):
        reads.read_all(warehouse, schema.pools, {"observed_at": datetime(2026, 3, 1)})


def test_a_table_without_conditions_is_read_whole(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, pools_frame().assign(symbol="100 %"))
    assert reads.read_all(warehouse, schema.pools)["symbol"].tolist() == ["100 %"] * 12


# --- failures ------------------------------------------------------------------------------------------------------
def cut(engine: sa.Engine) -> None:
    """End every connection to the database but our own, as a restart of the server does."""
    with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.exec_driver_sql(f"{others} AND pid <> pg_backend_pid()")


@pytest.mark.postgres
@pytest.mark.usefixtures("small_parts")
def test_a_write_whose_connection_is_cut_leaves_the_old_rows(
    postgres_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = writes.replace_slice(postgres_warehouse, schema.pools, pools_frame(), DAYS)
    admin, encoded = sa.create_engine(postgres_warehouse.url, poolclass=sa.NullPool), columnar_copy._encoded

    def cut_after_some(fields: Any, start: int, end: int) -> Iterator[bytes]:
        yield from encoded(fields, start, end)
        if start:
            cut(admin)

    monkeypatch.setattr(columnar_copy, "_encoded", cut_after_some)
    with pytest.raises(TransientError, match="cannot write pools"):
        writes.replace_slice(postgres_warehouse, schema.pools, pools_frame(apy=0.9), DAYS)
    after = reads.read_days(postgres_warehouse, schema.pools, DAYS)
    assert rows_hash(schema.pools, to_rows(schema.pools, after)) == before.sha256


@pytest.mark.postgres
def test_a_read_whose_connection_is_cut_is_an_error_not_fewer_rows(
    postgres_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes.replace_slice(postgres_warehouse, schema.pools, pools_frame().assign(pool_meta="x" * 10**6), DAYS)
    admin, collect = sa.create_engine(postgres_warehouse.url, poolclass=sa.NullPool), columnar_copy._collect
    monkeypatch.setattr(columnar_copy, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(columnar_copy, "_collect", lambda *given: (collect(*given), cut(admin)))
    with pytest.raises(TransientError, match="cannot read pools"):
        reads.read_days(postgres_warehouse, schema.pools, DAYS)


@pytest.mark.postgres
@pytest.mark.parametrize("row", [1, 2, 40_000])
def test_an_error_in_the_middle_of_an_answer_is_told_in_the_servers_words(
    postgres_warehouse: sa.Engine, row: int
) -> None:
    number = sa.func.generate_series(1, 50_000).column_valued("number")
    columns = [sa.Column("answer", sa.Integer)]
    failing = sa.select(sa.literal(1) // (sa.literal(row) - number))
    with postgres_warehouse.connect() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"), connection.begin():
            columnar_copy.copied_out(connection, columns, failing)
        (cells,) = columnar_copy.copied_out(connection, columns, sa.select(number))
        assert len(cells.values) == 50_000, "the connection is as good as before"


@pytest.mark.postgres
def test_bad_data_in_a_copy_changes_nothing(postgres_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = writes.replace_slice(postgres_warehouse, schema.pools, pools_frame(), DAYS)
    monkeypatch.setitem(columnar_copy._DUMPED, "text", lambda text: text.encode("utf-16"))
    with pytest.raises(SuspiciousDataError, match="invalid byte sequence"):
        writes.replace_slice(postgres_warehouse, schema.pools, pools_frame(apy=0.9), DAYS)
    after = reads.read_days(postgres_warehouse, schema.pools, DAYS)
    assert rows_hash(schema.pools, to_rows(schema.pools, after)) == before.sha256


GARBLED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a field more": ("rows of 2 fields", lambda row: b"\x00\x03" + row[2:]),
    "cut in a text": ("rows that end behind their fields", lambda row: row[:8]),
    "cut in a size": ("rows that end behind their fields", lambda row: row[:4]),
    "bytes behind the last field": ("rows that end with their last field", lambda row: row + b"\x00"),
    "a size beyond the row": ("rows that end behind their fields", lambda row: row[:2] + b"\x7f" * 4 + row[6:]),
    "half a number": ("a float of {8} bytes", lambda row: row[:-12] + b"\x00\x00\x00\x04" + row[-4:]),
}


@pytest.mark.parametrize("name", GARBLED)
def test_rows_of_another_shape_are_an_error_never_numbers(name: str) -> None:
    row = b"\x00\x02" + b"\x00\x00\x00\x04pool" + b"\x00\x00\x00\x08" + np.array(0.05, ">f8").tobytes()
    message, garble = GARBLED[name]
    collectors = [Collector("text", is_encoded=True), Collector("float")]
    columnar_copy._collect([row, row], collectors)
    assert [collector.cells().objects().tolist() for collector in collectors] == [["pool"] * 2, [0.05] * 2]
    for rows in ([row, garble(row)], [garble(row), row], [garble(row)]):
        with pytest.raises(SuspiciousDataError, match=re.escape(f"expected {message}; nothing of the answer")):
            columnar_copy._collect(rows, [Collector("text", is_encoded=True), Collector("float")])


def test_keys_as_far_apart_as_64_bits_allow_are_in_order() -> None:
    keys = np.array([2**53 + 1, -MAX_LONG, MAX_LONG, 0, -1])
    order = order_of([Cells("long", keys), Cells("int", np.zeros(5, np.int64))])
    assert order is not None
    assert keys[order].tolist() == sorted(keys.tolist())


def test_a_key_of_another_slice_is_refused_and_changes_nothing(warehouse: sa.Engine) -> None:
    before = writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS)
    moved = pools_frame().assign(chain="Base")
    with pytest.raises(SuspiciousDataError, match="cannot write pools"):
        writes.replace_slice(warehouse, schema.pools, moved, DAYS, {"chain": "Base"})
    after = reads.read_days(warehouse, schema.pools, DAYS)
    assert rows_hash(schema.pools, to_rows(schema.pools, after)) == before.sha256


@pytest.mark.parametrize("killed", [crashes.history_between_chunks, crashes.slice_between_chunks])
def test_a_kill_between_chunks_leaves_nothing(warehouse: sa.Engine, killed: Any) -> None:
    crashes.die(killed, warehouse.url.render_as_string(hide_password=False))
    assert reads.read_all(warehouse, schema.pools).empty
    assert writes.replace_slice(warehouse, schema.pools, pools_frame(), DAYS).rows == 12
