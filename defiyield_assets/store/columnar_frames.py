"""Frames that are to be written as columns: checked, in order of their keys, with their fingerprint.

Lives here: the way from a frame to arrays and the hash of `rows.rows_hash` made of them. Not here: the rules of a
column (validation.py), frames that break one or need a closer look (rows.py has their rows), SQL (inserts.py).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store.columnar import EPOCH_ORDINAL, Array, Cells, order_of, python_times
from defiyield_assets.store.rows import PIECE, SPELLING, UNSTORABLE, Row, storable
from defiyield_assets.store.validation import column_type, day_column, is_plain_column, matches

LONG_TEXT = 1_000
"""Characters of a cell from which on a piece of a column is spelled cell by cell: a column of them is gigabytes."""
_MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000}
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True)
class Columns:
    """Rows of a table in key order, column by column."""

    table: sa.Table
    cells: Sequence[Cells]

    def __len__(self) -> int:
        return len(self.cells[0].values)

    def __getitem__(self, rows: slice) -> "Columns":
        return Columns(self.table, [cells.taken(rows) for cells in self.cells])

    def by_column(self) -> list[list[Any]]:
        """The cells of each column as Python values."""
        return [cells.objects().tolist() for cells in self.cells]

    def rows(self) -> list[Row]:
        """What `rows.to_rows` makes of the same frame."""
        return list(zip(*self.by_column(), strict=True))

    def n_days(self) -> int:
        """Different partition days."""
        day = self.cells[self.table.columns.keys().index(day_column(self.table).name)]
        return len(np.unique(day.values if day.is_null is None else day.values[~day.is_null]))

    def sha256(self) -> str:
        """`rows.rows_hash` of the rows."""
        digest = hashlib.sha256(b"[")
        if len(self):
            for number, cells in enumerate(self.cells):
                digest.update(b",[" if number else b"[")
                for place, text in enumerate(_json_pieces(cells)):
                    digest.update(b"," * bool(place))
                    digest.update(text)
                digest.update(b"]")
        digest.update(b"]")
        return digest.hexdigest()


def columns_of(
    table: sa.Table, frame: pd.DataFrame, days: DayRange | None, where: Mapping[str, Any] | None
) -> Columns | None:
    """The rows of a frame that keeps every rule of `validation.require_valid` beyond doubt; None where that must look.

    Characters that a database cannot hold are replaced as `rows.storable_text` does.
    """
    names = [column.name for column in table.columns]
    if len(frame.columns) != len(names) or set(frame.columns) != set(names):
        return None
    if not all(is_plain_column(column, frame[column.name]) for column in table.columns):
        return None
    cells = {column.name: _cells(column_type(column), frame[column.name]) for column in table.columns}
    if not len(frame):
        return Columns(table, list(cells.values()))
    keys = [cells[key.name] for key in table.primary_key.columns]
    order = order_of(keys)
    if not _is_inside(table, frame, cells, days, where) or (order is not None and _has_repeats(keys, order)):
        return None
    return Columns(table, [one if order is None else one.taken(order) for one in cells.values()])


def _has_repeats(keys: Sequence[Cells], order: Array) -> bool:
    """Whether two rows have the same key."""
    is_same = np.ones(len(order) - 1, np.bool_)
    for key in keys:
        ranks = key.ranks()[0][order]
        is_same &= ranks[1:] == ranks[:-1]
    return bool(is_same.any())


def _is_inside(
    table: sa.Table,
    frame: pd.DataFrame,
    cells: Mapping[str, Cells],
    days: DayRange | None,
    where: Mapping[str, Any] | None,
) -> bool:
    """Whether every row lies in the slice."""
    if days is not None:
        day = cells[day_column(table).name]
        if day.is_null is not None:
            return False
        first, last = (limit.toordinal() - EPOCH_ORDINAL for limit in (days.start, days.end))
        if day.values.min() < first or day.values.max() > last:
            return False
    for name, wanted in (where or {}).items():
        if name not in cells:
            return False
        found = cells[name]
        is_text = found.kind == "text"
        asked = pd.Series(found.distinct, dtype=object) if is_text and wanted is not None else frame[name]
        if not matches(asked, wanted).all() or (is_text and wanted is not None and (found.values < 0).any()):
            return False
    return True


# --- cells ---------------------------------------------------------------------------------------------------------
def _cells(kind: str, series: "pd.Series[Any]") -> Cells:
    """A plain column as an array."""
    if kind == "float":
        return Cells(kind, series.to_numpy(np.float64) + 0.0)  # -0.0 becomes 0.0, as SQLite stores it
    if kind == "timestamp":
        return _instants(series)
    if kind in _ARROW:
        if series.dtype != object:
            return Cells(kind, series.to_numpy(np.bool_ if kind == "bool" else np.int64))
        known = pa.array(series.tolist(), _ARROW[kind][0])
        is_null = known.is_null().to_numpy(zero_copy_only=False) if known.null_count else None
        filled = known.cast(pa.int32()) if kind == "date" else known
        return Cells(kind, _filled(filled).astype(_ARROW[kind][1]), is_null)
    if kind == "text":
        codes, distinct = _factorized(series.tolist())
        return Cells(kind, *_storable(codes, distinct))
    cells = series.tolist()  # amounts are hardly ever the same, and 1.0 and 1.00 are equal but two spellings
    is_known = np.fromiter((cell is not None for cell in cells), np.bool_, len(cells))
    return Cells(kind, np.where(is_known, np.cumsum(is_known) - 1, -1), None, [x for x in cells if x is not None])


_ARROW: dict[str, tuple[Any, type[np.generic]]] = {
    "int": (pa.int64(), np.int64),
    "long": (pa.int64(), np.int64),
    "bool": (pa.bool_(), np.bool_),
    "date": (pa.date32(), np.int64),
}


def _filled(known: Any) -> Array:
    filled: Array = pc.fill_null(known, pa.scalar(0, pa.int64()).cast(known.type)).to_numpy(zero_copy_only=False)
    return filled


def _instants(series: "pd.Series[Any]") -> Cells:
    """Microseconds; what pandas holds beyond them is cut off."""
    instants = pd.DatetimeIndex(series)
    is_null = np.asarray(instants.isna())
    ticks = instants.tz_convert("UTC").tz_localize(None).to_numpy().view(np.int64)
    microseconds = ticks // 1_000 if instants.unit == "ns" else ticks * _MICROSECONDS[instants.unit]
    if not is_null.any():
        return Cells("timestamp", microseconds)
    return Cells("timestamp", np.where(is_null, 0, microseconds), is_null)


def _factorized(texts: Sequence[str | None]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Numbers of the different texts, -1 for None. (pandas.factorize takes texts as equal that are so up to a NUL.)"""
    distinct = [text for text in dict.fromkeys(texts) if text is not None]
    numbers: dict[str | None, int] = {text: number for number, text in enumerate(distinct)}
    numbers[None] = -1
    return np.fromiter(map(numbers.__getitem__, texts), np.int64, len(texts)), distinct


def _storable(codes: npt.NDArray[np.int64], distinct: list[str]) -> tuple[Array, None, list[str]]:
    """Codes and texts after `rows.storable_text`; texts may have become the same."""
    text = "".join(distinct)
    if not ("\x00" in text if text.isascii() else UNSTORABLE.search(text)):
        return codes, None, distinct
    again, cleaned = _factorized(list(map(storable, distinct)))
    return np.append(again, -1)[codes], None, cleaned


# --- fingerprint ---------------------------------------------------------------------------------------------------
def _json_pieces(cells: Cells) -> Iterator[Any]:
    """The JSON of a column without its brackets, so many cells at a time."""
    spell = _speller(cells)
    for start in range(0, len(cells.values), PIECE):
        spelled = spell(slice(start, start + PIECE))
        if isinstance(spelled, bytes):
            yield spelled
            continue
        whole = pa.ListArray.from_arrays(pa.array([0, len(spelled)], pa.int32()), spelled)
        yield pc.binary_join(whole, ",")[0].as_buffer()


def _speller(cells: Cells) -> Callable[[slice], Any]:
    """A function that spells a part of the column as JSON: an Arrow array of texts, or the whole in bytes."""
    if cells.kind == "float":
        return lambda part: _spelled_floats(cells.values[part])
    if cells.kind in ("int", "long"):
        return lambda part: _spelled_numbers(cells, part)
    if cells.kind == "bool":
        words = pa.array(["false", "true", "null"])
        return lambda part: words.take(pa.array(_coded(cells, part, cells.values[part].astype(np.int64), 2)))
    if cells.kind in ("date", "timestamp"):
        return lambda part: _spelled_times(cells, part)
    spelling = SPELLING.get(cells.kind)
    plain = cells.distinct if spelling is None else [spelling(cell) for cell in cells.distinct]
    if max(map(len, plain), default=0) > LONG_TEXT:
        of_codes = [*plain, None]
        return lambda part: _ENCODER.encode([of_codes[code] for code in cells.values[part]])[1:-1].encode()
    texts = pa.array([*map(_ENCODER.encode, plain), "null"], pa.string())
    return lambda part: texts.take(pa.array(cells.values[part] % len(texts)))


def _coded(cells: Cells, part: slice, codes: Array, of_null: int) -> Array:
    return codes if cells.is_null is None else np.where(cells.is_null[part], of_null, codes)


def _spelled_numbers(cells: Cells, part: slice) -> Any:
    is_null = None if cells.is_null is None else cells.is_null[part]
    return pc.fill_null(pa.array(cells.values[part], mask=is_null).cast(pa.string()), "null")


def _spelled_times(cells: Cells, part: slice) -> Any:
    codes, distinct = pd.factorize(cells.values[part])
    spelling = SPELLING[cells.kind]
    texts = [f'"{spelling(one)}"' for one in python_times(cells.kind, distinct)]
    return pa.array([*texts, "null"], pa.string()).take(pa.array(_coded(cells, part, codes, len(texts))))


def _spelled_floats(numbers: npt.NDArray[np.float64]) -> Any:
    """As Python's repr: the shortest digits that come back as the same number, with a point or an exponent of two
    digits. Arrow finds the same digits six times as fast and differs only where it puts point and exponent."""
    size, is_null = np.abs(numbers), np.isnan(numbers)
    texts = pa.array(numbers, mask=is_null).cast(pa.string())
    is_middling = size < 1e10
    is_whole = is_middling & (numbers == np.floor(numbers))
    is_rare = ~(is_null | is_whole | (is_middling & (size >= 1e-6)))
    spellings: list[tuple[npt.NDArray[np.bool_], _Spelling]] = [(is_whole, _whole), (is_rare, _rare)]
    spellings += [
        ((size >= 10.0**-power) & (size < 10.0 ** (1 - power)), partial(_small, power=power)) for power in _SMALL
    ]
    for is_meant, spell in spellings:
        if is_meant.any():
            texts = pc.replace_with_mask(texts, pa.array(is_meant), spell(numbers[is_meant]))
    return pc.fill_null(texts, "null") if is_null.any() else texts


_Spelling = Callable[[npt.NDArray[np.float64]], Any]
_SMALL = (5, 6)
"""Powers of ten below 1 that have an exponent in Python and none in Arrow."""


def _whole(numbers: npt.NDArray[np.float64]) -> Any:
    return pc.binary_join_element_wise(pa.array(numbers.astype(np.int64)).cast(pa.string()), ".0", "")


def _small(numbers: npt.NDArray[np.float64], power: int) -> Any:
    """0.0000123 as 1.23e-05."""
    texts = pa.array(np.abs(numbers)).cast(pa.string())
    sign = pa.array(["", "-"]).take(pa.array((numbers < 0).astype(np.int8)))
    first, others = (pc.utf8_slice_codeunits(texts, power + 1 + n, end) for n, end in ((0, power + 2), (1, None)))
    point = pc.if_else(pc.equal(others, ""), "", ".")
    return pc.binary_join_element_wise(sign, first, point, others, f"e-{power:02}", "")


def _rare(numbers: npt.NDArray[np.float64]) -> Any:
    return pa.array(map(repr, numbers.tolist()), pa.string())
