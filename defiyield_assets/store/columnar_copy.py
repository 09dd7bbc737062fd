"""PostgreSQL's binary COPY, column by column: rows out of the server as arrays, and arrays into it as rows.

Lives here: the binary format of COPY (file signature, then per row a count of fields and per field a length and its
bytes, everything big-endian, https://www.postgresql.org/docs/current/sql-copy.html) and how a query becomes a COPY.
Not here: which rows (reads.py, writes.py), what arrays of cells are (columnar.py).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import psycopg
import sqlalchemy as sa
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn
from psycopg.types.numeric import DecimalBinaryDumper

from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store.columnar import EPOCH_ORDINAL, Array, Cells, Collector, kinds_of

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""The signature, no flags, no extension."""
TAIL = b"\xff\xff"
LAST_MESSAGES = (TAIL, HEAD + TAIL)
"""How an answer ends, and the whole of one without rows."""
ROWS_AT_ONCE = 5_000
"""Rows that are taken apart at a time: their bytes stay in the processor's cache."""
MOST_BYTES = 2**24
"""Room that rows may take while they are made ready."""
POSTGRES_DAY = 730_120 - EPOCH_ORDINAL
"""Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts."""
POSTGRES_MICROSECONDS = POSTGRES_DAY * 86_400_000_000
_SINCE_1970 = {"date": POSTGRES_DAY, "timestamp": POSTGRES_MICROSECONDS}
_RECEIVED = {"float": {8}, "int": {4, 8}, "long": {4, 8}, "bool": {1}, "date": {4}, "timestamp": {8}}
"""Bytes of a number; a count that SQL made has eight where the column has four."""
_AS_TEXT = frozenset({"base units", "decimal"})
_SPARE = bytes(8)
"""Behind the last field, so that reading a number where a null stands stays inside the buffer."""


# --- in ------------------------------------------------------------------------------------------------------------
def copied_in(connection: sa.Connection, name: str, columns: Sequence[sa.Column[Any]], found: Sequence[Cells]) -> None:
    """Put rows into the table of that name (of our metadata), inside the open transaction."""
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(column.name) for column in columns)
    driver_connection = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    fields, n_rows = [_Field(cells) for cells in found], len(found[0].values)
    statement = f"COPY {quote(name)} ({names}) FROM STDIN (FORMAT binary)"
    with driver_connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEAD)
        for start in range(0, n_rows, ROWS_AT_ONCE):
            for part in _encoded(fields, start, min(start + ROWS_AT_ONCE, n_rows)):
                copy.write(part)
        copy.write(TAIL)


class _Field:
    """One column on its way into the server: fixed numbers, or texts of which each is encoded once."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._dtype = _SENT.get(cells.kind)
        self._encoded: list[bytes] = []
        self._sizes = np.zeros(1, np.int64)
        if self._dtype is None:
            self._encoded = [*map(_DUMPED[cells.kind], cells.distinct), b""]  # the last one stands for null
            self._sizes = np.fromiter(map(len, self._encoded), np.int64, len(self._encoded))

    def dtype(self, start: int, end: int) -> str:
        """Of the cells of some rows, texts as wide as the longest of them."""
        return self._dtype or f"S{max(1, int(self._sizes[self._cells.values[start:end]].max()))}"

    def put(self, into: Array, sizes: Array, is_sent: npt.NDArray[np.bool_], start: int, end: int) -> None:
        """Lay the cells of some rows, their sizes (null: -1) and which of their bytes are sent."""
        values, kind = self._cells.values[start:end], self._cells.kind
        if self._dtype is None:
            codes, rows = np.unique(values, return_inverse=True)
            into[:] = np.array([self._encoded[code] for code in codes.tolist()], into.dtype)[rows]
            lengths = self._sizes[values]
            is_sent &= np.arange(into.itemsize) < lengths[:, None]
            sizes[:] = np.where(values < 0, -1, lengths)
        else:
            into[:] = values - _SINCE_1970[kind] if kind in _SINCE_1970 else values
            is_null = self._is_null(values, start, end)
            is_sent &= ~is_null[:, None]
            sizes[:] = np.where(is_null, -1, into.itemsize)

    def _is_null(self, values: Array, start: int, end: int) -> npt.NDArray[np.bool_]:
        if self._cells.kind == "float":
            return np.isnan(values)
        is_null = self._cells.is_null
        return np.zeros(len(values), np.bool_) if is_null is None else is_null[start:end]


def _encoded(fields: Sequence[_Field], start: int, end: int) -> Iterator[bytes]:
    """The bytes of some rows: laid as a table in which every cell has the same room, of which the used bytes are taken;
    fewer rows at a time where one text would make all of them wide."""
    dtypes = [field.dtype(start, end) for field in fields]
    laid = [(f"{part}{n}", of) for n, dtype in enumerate(dtypes) for part, of in (("size", ">i4"), ("cell", dtype))]
    row = np.dtype([("fields", ">i2"), *laid])
    if end - start > 1 and (end - start) * row.itemsize > MOST_BYTES:
        middle = (start + end) // 2
        yield from _encoded(fields, start, middle)
        yield from _encoded(fields, middle, end)
        return
    table = np.zeros(end - start, row)
    table["fields"] = len(fields)
    is_sent = np.ones((len(table), row.itemsize), np.bool_)
    for n, field in enumerate(fields):
        cell = table[f"cell{n}"]
        first = row.fields[f"cell{n}"][1] if row.fields is not None else 0
        field.put(cell, table[f"size{n}"], is_sent[:, first : first + cell.itemsize], start, end)
    yield table.view(np.uint8).reshape(is_sent.shape)[is_sent].tobytes()


_SENT = {"float": ">f8", "int": ">i4", "long": ">i8", "bool": "?", "date": ">i4", "timestamp": ">i8"}
_DUMPED: dict[str, Callable[[Any], bytes]] = {
    "text": str.encode,
    "bytes": bytes,
    "base units": lambda amount: bytes(DecimalBinaryDumper(Decimal).dump(Decimal(amount)) or b""),
    "decimal": lambda amount: bytes(DecimalBinaryDumper(Decimal).dump(amount) or b""),
}


# --- out -----------------------------------------------------------------------------------------------------------
def copied_out(connection: sa.Connection, columns: Sequence[sa.Column[Any]], query: sa.Select[Any]) -> list[Cells]:
    """The answer to a query whose columns are of these kinds, inside the open transaction, in no order."""
    kinds = kinds_of(columns)
    collectors = [Collector(kind, is_encoded=True) for kind in kinds]
    driver_connection = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    statement = _as_copy(driver_connection, connection.dialect, kinds, query)
    with driver_connection.cursor() as cursor, cursor.copy(statement) as copy:
        for rows in _in_parts(copy):
            _collect(rows, collectors)
    return [collector.cells() for collector in collectors]


def _as_copy(
    driver_connection: "psycopg.Connection[Any]", dialect: sa.Dialect, kinds: Sequence[str], query: sa.Select[Any]
) -> bytes:
    """The query as COPY … TO STDOUT. COPY takes no parameters: psycopg quotes them into the statement."""
    answer = query.subquery()
    wanted = [sa.cast(cell, sa.Text) if kind in _AS_TEXT else cell for cell, kind in zip(answer.c, kinds, strict=True)]
    compiled = sa.select(*wanted).compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    for name, value in compiled.params.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            raise TypeError(f"timestamp without time zone in {name}: {value!r}")
    with psycopg.ClientCursor(driver_connection) as quoting:
        return f"COPY ({quoting.mogrify(str(compiled), compiled.params)}) TO STDOUT (FORMAT binary)".encode()


def _in_parts(copy: psycopg.Copy) -> Iterator[list[bytes]]:
    """The rows as bytes, so many at a time: the server sends each in a message of its own."""
    rows: list[bytes] = []
    for message in _messages(copy):
        row = message.removeprefix(HEAD)  # the first message begins with it
        if row in (b"", TAIL):
            continue
        rows.append(row)
        if len(rows) == ROWS_AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


def _messages(copy: psycopg.Copy) -> Iterator[bytes]:
    """Every message of the server. psycopg waits for them, and ends the copy; what has arrived meanwhile is taken from
    its connection to libpq at once, which takes half the time of asking psycopg for each.
    """
    libpq = copy.connection.pgconn
    while first := copy.read():
        message = bytes(first)
        yield message
        while message not in LAST_MESSAGES:
            size, following = libpq.get_copy_data(1)
            if size == 0:
                break  # nothing more has arrived
            if size < 0:
                raise _failure(libpq)
            message = bytes(following)
            yield message


def _failure(libpq: PGconn) -> psycopg.Error:
    """What the server said instead of the next message; the connection may be given its next statement then."""
    result = libpq.get_result()
    error = psycopg.OperationalError("the answer ended early") if result is None else error_from_result(result)
    while result is not None:
        result = libpq.get_result()
    return error


def _collect(rows: Sequence[bytes], collectors: Sequence[Collector]) -> None:
    """Walk through the fields of all rows at once, column by column. SuspiciousDataError where a row is no such row."""
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    buffer, ends = b"".join([*rows, _SPARE]), np.cumsum(sizes)
    places = ends - sizes
    _require((_view(buffer, ">i2")[places] == len(collectors)).all(), f"rows of {len(collectors)} fields")
    places = places + 2
    for collector in collectors:
        sizes = _numbers(buffer, 4, places).astype(np.int64)
        places = places + 4
        is_null = sizes < 0
        if is_null.any():
            sizes[is_null] = 0
        _require((places + sizes <= ends).all(), "rows that end behind their fields")
        collector.add(*_cells(collector, buffer, places, sizes, is_null))
        places = places + sizes
    _require((places == ends).all(), "rows that end with their last field")


def _require(is_so: Any, what: str) -> None:
    """Numbers read from a wrong place would look like numbers."""
    if not is_so:
        raise SuspiciousDataError(f"the binary COPY of PostgreSQL: expected {what}; nothing of the answer is used")


def _cells(
    collector: Collector, buffer: bytes, places: Array, sizes: Array, is_null: npt.NDArray[np.bool_]
) -> tuple[Array, npt.NDArray[np.bool_] | None]:
    """The cells of one column in some rows, of which each begins at its place and has its size."""
    kind, nulls = collector.kind, is_null if is_null.any() else None
    if kind in _RECEIVED:
        known = sizes if nulls is None else sizes[~is_null]
        width = int(known[0]) if len(known) else min(_RECEIVED[kind])
        _require(width in _RECEIVED[kind] and (known == width).all(), f"a {kind} of {_RECEIVED[kind]} bytes")
    if kind == "float":
        numbers = _view(buffer, ">f8")[places].astype(np.float64)
        numbers[is_null] = np.nan
        return numbers, None
    if kind == "bool":
        return np.frombuffer(buffer, np.bool_)[places], nulls
    if kind in ("int", "long", "date", "timestamp"):
        return _numbers(buffer, width, places).astype(np.int64) + _SINCE_1970.get(kind, 0), nulls
    codes = np.full(len(places), -1, np.int64)
    begins, ends = places[~is_null], (places + sizes)[~is_null]
    lexicon = collector.lexicon
    found = [lexicon[buffer[begin:end]] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    codes[~is_null] = found
    return codes, None


def _numbers(buffer: bytes, width: int, places: Array) -> Array:
    return _view(buffer, f">i{width}")[places]


def _view(buffer: bytes, dtype: str) -> Array:
    """Every place of the buffer as the beginning of a number."""
    width = np.dtype(dtype).itemsize
    return np.ndarray(len(buffer) - width + 1, dtype, buffer, strides=(1,))
