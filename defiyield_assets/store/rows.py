"""Frames to rows and back: exact Python values, one order, one fingerprint on every database.

Lives here: conversion of cells and the hash of rows. Not here: which frames are acceptable (validation.py), SQL
(writes.py, reads.py).
"""

import gc
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.store.validation import column_type

Row = tuple[Any, ...]
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: PostgreSQL cannot hold them in text. A token's name may contain them on purpose."""
REPLACEMENT = "\ufffd"


@contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection meanwhile: rows are tuples without cycles, and looking through them takes a third more."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def storable(text: str) -> str:
    """The text with the characters that a database cannot hold replaced by U+FFFD."""
    return UNSTORABLE.sub(REPLACEMENT, text)


def storable_text(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with a fresh RangeIndex in which characters that a database cannot hold are replaced by U+FFFD.

    Otherwise anybody could stop the ledger by sending us a token with such a name.
    """
    cleaned = frame.reset_index(drop=True)
    for name in cleaned.select_dtypes(object).columns:
        cells = cleaned[name].tolist()
        text = _joined(cells)
        if "\x00" in text if text.isascii() else UNSTORABLE.search(text):
            cleaned[name] = [storable(cell) if isinstance(cell, str) else cell for cell in cells]
    return cleaned


def _joined(cells: Sequence[Any]) -> str:
    """All texts among the cells in one."""
    types = set(map(type, cells))
    if types <= {str, type(None)}:
        return "".join(filter(None, cells))
    if not any(issubclass(kind, str) for kind in types):
        return ""
    return "".join([cell for cell in cells if isinstance(cell, str)])


def to_rows(table: sa.Table, frame: pd.DataFrame) -> list[Row]:
    """The rows of a valid frame as Python values in schema order, sorted by primary key; null is None."""
    names = [column.name for column in table.columns]
    columns = [_python_cells(column, frame[column.name]) for column in table.columns]
    keys = [names.index(column.name) for column in table.primary_key.columns]
    return sorted(zip(*columns, strict=True), key=itemgetter(*keys))


def _python_cells(column: sa.Column[Any], cells: "pd.Series[Any]") -> list[Any]:
    kind = column_type(column)
    if kind == "timestamp":
        return _utc_cells(cells)
    if kind == "float" and cells.dtype == np.float64:
        numbers = cells.to_numpy() + 0.0  # -0.0 becomes 0.0, as SQLite stores it
        cells_or_none = numbers.astype(object)
        cells_or_none[np.isnan(numbers)] = None
        return list(cells_or_none)
    if kind in ("int", "bool") and isinstance(cells.dtype, np.dtype) and cells.dtype.kind == kind[0]:
        return list(cells.to_numpy().tolist())
    # astype(object) turns numpy scalars into Python ones, which psycopg insists on; object columns may still hold some.
    values = cells.astype(object).tolist()
    if kind in _PLAIN and set(map(type, values)) <= {_PLAIN[kind], type(None)}:
        return list(values)
    is_null = cells.isna().tolist()
    convert = _TO_PYTHON.get(kind, _unchanged)
    return [None if null else convert(value) for value, null in zip(values, is_null, strict=True)]


def _utc_cells(cells: "pd.Series[Any]") -> list[datetime | None]:
    """Python datetimes in UTC, to the microsecond (what both databases hold; pandas' nanoseconds are cut off)."""
    known = cells if isinstance(cells.dtype, pd.DatetimeTZDtype) else pd.to_datetime(cells, utc=True)
    codes, distinct = pd.factorize(pd.DatetimeIndex(known).floor("us"))
    stamps = [stamp.astimezone(UTC) for stamp in pd.DatetimeIndex(distinct).to_pydatetime()]
    return [None if code < 0 else stamps[code] for code in codes.tolist()]


def each_once(convert: Callable[[Any], Any], cells: Sequence[Any]) -> list[Any]:
    """`convert` of every cell (None stays), called once per distinct value: columns of dates and stamps hold few."""
    known = {cell: None if cell is None else convert(cell) for cell in set(cells)}
    return [known[cell] for cell in cells]


def converted(convert: Callable[[Any], Any], cells: Sequence[Any]) -> list[Any]:
    """`convert` of every cell (None stays): at once where that is as quick as looking up what it gave before."""
    if convert is str:
        return [None if cell is None else str(cell) for cell in cells]
    return each_once(convert, cells)


def _unchanged(value: Any) -> Any:
    return value


_PLAIN: dict[str, type[Any]] = {
    "text": str,
    "date": date,
    "int": int,
    "long": int,
    "base units": int,
    "decimal": Decimal,
}
"""Kinds whose cells are taken as they are when they have exactly this type (or are None), as they usually do."""
_TO_PYTHON: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "long": int,
    "base units": int,
    "float": lambda value: float(value) + 0.0,  # -0.0 becomes 0.0, as SQLite stores it
    "bool": bool,
}


# --- fingerprint ---------------------------------------------------------------------------------------------------
PIECE = 100_000
"""Cells that are made JSON at a time: the text of a million rows is a gigabyte."""


def rows_hash(table: sa.Table, rows: Sequence[Row]) -> str:
    """SHA-256 (hex) over rows in key order, each cell in one spelling: equal content, equal hash, on every database.

    What is hashed is the JSON of the list of columns, made piece by piece.
    """
    digest = hashlib.sha256(b"[")
    for number, cells in enumerate(_spelled_columns(table, rows)):
        digest.update(b",[" if number else b"[")
        for start in range(0, len(cells), PIECE):
            text = _json(cells[start : start + PIECE])[1:-1]
            digest.update((f",{text}" if start else text).encode())
        digest.update(b"]")
    digest.update(b"]")
    return digest.hexdigest()


def row_digests(table: sa.Table, rows: Sequence[Row]) -> list[str]:
    """A fingerprint (32 hexadecimal digits) of each row, with the same property."""
    spelled = zip(*_spelled_columns(table, rows), strict=True)
    return [hashlib.blake2b(_json(row).encode(), digest_size=16).hexdigest() for row in spelled]


def _spelled_columns(table: sa.Table, rows: Sequence[Row]) -> Iterator[Sequence[Any]]:
    """The cells column by column, in the one spelling that JSON can hold."""
    spellings = [SPELLING.get(column_type(column)) for column in table.columns]
    for cells, spell in zip(zip(*rows, strict=True), spellings, strict=False):
        yield cells if spell is None else converted(spell, cells)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _plain_decimal(value: Decimal) -> str:
    """1.10 and 1.1 are the same amount of money: no exponent, no trailing zeros, no negative zero."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


SPELLING: dict[str, Callable[[Any], str]] = {
    "base units": str,
    "decimal": _plain_decimal,
    "date": lambda value: value.isoformat(),
    "timestamp": lambda value: value.isoformat(),
    "bytes": lambda value: hashlib.sha256(value).hexdigest(),
}
"""How a cell of each kind stands in the fingerprint; other kinds are JSON's own."""


# --- back ----------------------------------------------------------------------------------------------------------
def from_stored(columns: Sequence[sa.Column[Any]], rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Column by column, the Python values of rows as the driver returned them: much faster than cell by cell."""
    by_column = list(zip(*rows, strict=True)) or [()] * len(columns)
    return [cells_from_stored(column_type(column), cells) for column, cells in zip(columns, by_column, strict=True)]


def cells_from_stored(kind: str, cells: Sequence[Any]) -> Sequence[Any]:
    """The Python values of one column's cells as the driver returned them."""
    convert = _FROM_STORED.get(kind)
    if convert is None:
        return cells
    if kind in ("date", "timestamp"):
        return each_once(convert, cells)
    return [None if cell is None else convert(cell) for cell in cells]


def _to_date(stored: Any) -> date:
    return date.fromisoformat(stored) if isinstance(stored, str) else stored


def _to_stamp(stored: Any) -> datetime:
    """SQLite keeps UTC without a zone."""
    if isinstance(stored, str):
        return datetime.fromisoformat(stored + "+00:00")
    return stored.astimezone(UTC)  # type: ignore[no-any-return]


_FROM_STORED: dict[str, Callable[[Any], Any]] = {
    "bool": bool,
    "base units": int,
    "decimal": Decimal,
    "date": _to_date,
    "timestamp": _to_stamp,
}


def to_frame(columns: Sequence[sa.Column[Any]], rows: Iterable[Row]) -> pd.DataFrame:
    """A frame of rows as a database returned them, with one dtype per column whether there are rows and nulls or not.

    float64 (null NaN), int64 and bool where never null, datetime64[ns, UTC] (null NaT); everything else object (null
    None): nullable int and bool, text, date, Decimal, base units, bytes.
    """
    return columns_to_frame(columns, list(zip(*rows, strict=True)) or [()] * len(columns))


def columns_to_frame(columns: Sequence[sa.Column[Any]], by_column: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """`to_frame` of cells column by column."""
    return pd.DataFrame(
        {column.name: _series(column, values) for column, values in zip(columns, by_column, strict=True)},
        columns=[column.name for column in columns],
    )


def _series(column: sa.Column[Any], values: Sequence[Any]) -> "pd.Series[Any]":
    kind = column_type(column)
    if kind == "float":
        return pd.Series(np.array(values, dtype="float64"))
    if kind == "timestamp":
        return pd.Series(pd.to_datetime(list(values), utc=True).astype("datetime64[ns, UTC]"))
    if kind in ("int", "bool") and not column.nullable:
        return pd.Series(np.array(values, dtype="int64" if kind == "int" else "bool"))
    return pd.Series(list(values), dtype=object)
