"""Columns of rows as arrays: a million rows without a million Python tuples.

Lives here: what a column of cells is as an array, the order of rows by key, and the way to frames. Not here:
PostgreSQL's binary rows (columnar_copy.py), frames that are to be written and their fingerprint (columnar_frames.py),
rows (rows.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.store.rows import cells_from_stored
from defiyield_assets.store.validation import column_type

Array = npt.NDArray[Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = EPOCH.toordinal()
LARGEST_CODE = 2**62
"""Keys are put into one integer while it stays below."""


@dataclass(frozen=True)
class Cells:
    """One column, never null in rows where `is_null` is not set (None: nowhere).

    `values` by kind: float64 (null is NaN, and `is_null` unused), int64 (int, long), bool, int64 days and microseconds
    since 1970 (date, timestamp); every other kind: int64 places in `distinct`, -1 for null.
    """

    kind: str
    values: Array
    is_null: npt.NDArray[np.bool_] | None = None
    distinct: Sequence[Any] = ()

    def taken(self, rows: Array | slice) -> "Cells":
        """The cells of those rows, by place."""
        return replace(self, values=self.values[rows], is_null=None if self.is_null is None else self.is_null[rows])

    def objects(self) -> npt.NDArray[np.object_]:
        """Every cell as a Python value, null as None; equal dates, timestamps and texts are one object."""
        if self.kind == "float":
            found = self.values.astype(object)
            found[np.isnan(self.values)] = None
            return found
        if self.kind in ("int", "long", "bool"):
            found = self.values.astype(object)
        elif self.kind in ("date", "timestamp"):
            codes, distinct = pd.factorize(self.values)
            found = _as_objects(python_times(self.kind, distinct))[codes]
        else:
            return _as_objects([*self.distinct, None])[self.values]
        if self.is_null is not None:
            found[self.is_null] = None
        return found

    def ranks(self) -> tuple[Array, int]:
        """Numbers from 0 on in the order of the cells, texts by code point, and how many there may be; no nulls."""
        if not len(self.values):
            return self.values.astype(np.int64), 1
        if self.kind == "bool":
            return self.values.astype(np.int64), 2
        if self.kind in ("int", "long", "date", "timestamp"):
            least, most = int(self.values.min()), int(self.values.max())
            if most - least < LARGEST_CODE:
                return self.values - least, most - least + 1
        if self.kind in _ARRAYS:
            distinct, found = np.unique(self.values, return_inverse=True)
            return found, len(distinct)
        rank = {cell: place for place, cell in enumerate(sorted(set(self.distinct)))}
        of_code = np.fromiter(map(rank.__getitem__, self.distinct), np.int64, len(self.distinct))
        return of_code[self.values], max(1, len(rank))


def _as_objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


_PYTHON: dict[str, Callable[[int], Any]] = {
    "date": lambda days: date.fromordinal(EPOCH_ORDINAL + days),
    "timestamp": lambda microseconds: EPOCH + timedelta(microseconds=microseconds),
}


def python_times(kind: str, numbers: Array) -> list[Any]:
    """Dates of days, timestamps of microseconds."""
    return list(map(_PYTHON[kind], numbers.tolist()))


# --- order ---------------------------------------------------------------------------------------------------------
def order_of(keys: Sequence[Cells]) -> Array | None:
    """Places of the rows in the order of their keys; None when they are in order and no key comes twice."""
    together, room = keys[0].ranks()
    others: list[Array] = []
    for key in keys[1:]:
        ranks, n_ranks = key.ranks()
        if room * n_ranks < LARGEST_CODE:
            together, room = together * n_ranks + ranks, room * n_ranks
        else:
            others, together, room = [*others, together], ranks, n_ranks
    if others:
        return np.lexsort([together, *reversed(others)])
    return None if bool((together[1:] > together[:-1]).all()) else np.argsort(together, kind="stable")


# --- from the driver -----------------------------------------------------------------------------------------------
class Lexicon(dict[Any, int]):
    """Gives every different cell the next number."""

    def __missing__(self, cell: Any) -> int:
        number = self[cell] = len(self)
        return number


class Collector:
    """A column that grows piece by piece. `is_encoded`: cells of coded kinds come as bytes, their text in UTF-8."""

    def __init__(self, kind: str, *, is_encoded: bool = False) -> None:
        self.kind = kind
        self._is_encoded = is_encoded
        self.lexicon = Lexicon()
        self._values: list[Array] = []
        self._nulls: list[npt.NDArray[np.bool_] | None] = []

    def add(self, values: Array, is_null: npt.NDArray[np.bool_] | None) -> None:
        """Cells as `Cells` has them; of coded kinds, numbers of the lexicon."""
        self._values.append(values)
        self._nulls.append(is_null)

    def add_stored(self, cells: Sequence[Any]) -> None:
        """Cells as a driver returns them."""
        if self.kind == "float":
            self.add(np.array(cells, dtype=np.float64), None)
            return
        is_null = np.fromiter((cell is None for cell in cells), np.bool_, len(cells)) if None in cells else None
        if self.kind in ("int", "long", "bool"):
            known = cells if is_null is None else [0 if cell is None else cell for cell in cells]
            self.add(np.array(known, dtype=np.bool_ if self.kind == "bool" else np.int64), is_null)
            return
        codes = self._codes(set(cells))
        self.add(np.fromiter(map(codes.__getitem__, cells), np.int64, len(cells)), is_null)

    def _codes(self, distinct: set[Any]) -> dict[Any, int]:
        """What stands for each different stored cell."""
        known = [cell for cell in distinct if cell is not None]
        if self.kind == "date":
            days = cells_from_stored("date", known)
            codes = {cell: day.toordinal() - EPOCH_ORDINAL for cell, day in zip(known, days, strict=True)}
        elif self.kind == "timestamp":
            stamps = cells_from_stored("timestamp", known)
            codes = {cell: microseconds(stamp) for cell, stamp in zip(known, stamps, strict=True)}
        else:
            codes = {cell: self.lexicon[cell] for cell in known}
        return {**codes, None: 0 if self.kind in ("date", "timestamp") else -1}

    def cells(self) -> Cells:
        """The whole column."""
        is_coded = self.kind not in _ARRAYS
        values = np.concatenate([np.empty(0, _ARRAYS.get(self.kind, np.int64)), *self._values])
        distinct = list(self.lexicon) if is_coded else []
        if self._is_encoded and self.kind != "bytes":
            distinct = [cell.decode() for cell in distinct]
        is_null = None
        if not is_coded and any(null is not None for null in self._nulls):
            parts = zip(self._nulls, self._values, strict=True)
            is_null = np.concatenate([np.zeros(len(of), np.bool_) if null is None else null for null, of in parts])
        return Cells(self.kind, values, is_null, cells_from_stored(self.kind, distinct) if is_coded else ())


_ARRAYS: dict[str, type[np.generic]] = {
    "float": np.float64,
    "int": np.int64,
    "long": np.int64,
    "bool": np.bool_,
    "date": np.int64,
    "timestamp": np.int64,
}
"""Kinds whose cells stand in `Cells.values` themselves."""


def microseconds(stamp: datetime) -> int:
    """Microseconds from 1970 to the instant."""
    return (stamp - EPOCH) // timedelta(microseconds=1)


# --- to frames -----------------------------------------------------------------------------------------------------
def cells_to_frame(columns: Sequence[sa.Column[Any]], found: Sequence[Cells]) -> pd.DataFrame:
    """The frame of `rows.to_frame` made of whole columns."""
    index = pd.RangeIndex(len(found[0].values) if found else 0)  # one for all: pandas aligns what has its own
    series = {column.name: _series(column, cells, index) for column, cells in zip(columns, found, strict=True)}
    return pd.DataFrame(series, index=index)


def _series(column: sa.Column[Any], cells: Cells, index: pd.RangeIndex) -> "pd.Series[Any]":
    if cells.kind == "timestamp":
        instants = cells.values.view("datetime64[us]")
        if cells.is_null is not None:
            instants = np.where(cells.is_null, np.datetime64("NaT", "us"), instants)
        return pd.Series(pd.DatetimeIndex(instants).as_unit("ns").tz_localize("UTC"), index=index)
    if cells.kind == "float" or (cells.kind in ("int", "bool") and not column.nullable):
        return pd.Series(cells.values, index=index)
    return pd.Series(cells.objects(), index=index, dtype=object)


def cells_to_array(column: sa.Column[Any], cells: Cells) -> Array:
    """float64 (null NaN), datetime64[D] and int64 where never null; everything else object (null None)."""
    if cells.kind == "float" or (cells.kind == "int" and not column.nullable):
        return cells.values
    if cells.kind == "date" and not column.nullable:
        return cells.values.view("datetime64[D]")
    return cells.objects()


def kinds_of(columns: Sequence[sa.Column[Any]]) -> list[str]:
    """What the cells of each column are."""
    return [column_type(column) for column in columns]
