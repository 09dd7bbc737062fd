"""Bars of many instruments side by side, as matrices with time going down.

Lives here: the panel that every metric reads, and how rows of a table are packed into it. Not here: arithmetic over
windows (windows.py), state (recursions.py), where the rows come from (store, orchestration).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Rows are time, columns are instruments; C-contiguous."""
Vector = NDArray[np.float64]
HISTORY = 364
"""Bars before the new ones that windows may reach back to: the longest is 52 weeks of a 24x7 market."""
SESSION_HISTORY = 300
"""What windows of instruments of an exchange reach back to: 252 bars of the result of a window of 20, and some more."""
FIELDS = ("open", "high", "low", "close", "volume", "dollar_volume", "benchmark_close")
"""Matrices of a panel, in the order in which they are packed."""


@dataclass(frozen=True)
class Bars:
    """HISTORY rows of what came before and `n_new` new rows, each instrument packed to the end of its column.

    An instrument's bars follow each other without holes (its own bars, no calendar is filled in): the last row is its
    newest bar and NaN stands above its first. `open, high, low, close`: adjusted prices; `volume`: units adjusted for
    splits; `dollar_volume`: USD; `benchmark_close`: the adjusted close of the instrument's benchmark of the same date,
    NaN where unknown; `dates`: datetime64[D], NaT where there is no bar;
    `is_bar`: where there is one; `is_new` (n_new, columns): which of the new rows are to be calculated, all others are
    history; `periods_per_year` (columns,): 365 or 252.
    """

    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    volume: Matrix
    dollar_volume: Matrix
    benchmark_close: Matrix
    dates: NDArray[np.datetime64]
    is_bar: NDArray[np.bool_]
    is_new: NDArray[np.bool_]
    periods_per_year: Vector
    n_new: int
    recursions: Mapping[str, Matrix] = field(default_factory=dict)
    before: Mapping[str, Matrix] = field(default_factory=dict)
    _kept: dict[str, Matrix] = field(default_factory=dict, repr=False)

    @property
    def n_rows(self) -> int:
        """Rows with history."""
        return int(self.close.shape[0])

    @property
    def n_columns(self) -> int:
        """Instruments."""
        return int(self.close.shape[1])

    def cached(self, key: str, calculate: Callable[[], Matrix]) -> Matrix:
        """The intermediate result `key`, calculated once for all metrics that share it; it must not be changed."""
        if key not in self._kept:
            self._kept[key] = calculate()
        return self._kept[key]

    def recursive(self, name: str) -> Matrix:
        """A recursive metric (n_new, columns), NaN where the row is not new; KeyError without one of that name."""
        return self.recursions[name]

    def recursive_before(self, name: str) -> Matrix:
        """What `recursive(name)` was at the bar before each new row; only of the names in recursions.REMEMBERED."""
        return self.before[name]

    def columns(self, start: int, stop: int) -> Bars:
        """The panel of instruments start .. stop - 1, with matrices and a cache of its own."""

        def cut(matrix: Matrix) -> Matrix:
            return np.ascontiguousarray(matrix[:, start:stop])

        return Bars(
            open=cut(self.open),
            high=cut(self.high),
            low=cut(self.low),
            close=cut(self.close),
            volume=cut(self.volume),
            dollar_volume=cut(self.dollar_volume),
            benchmark_close=cut(self.benchmark_close),
            dates=np.ascontiguousarray(self.dates[:, start:stop]),
            is_bar=np.ascontiguousarray(self.is_bar[:, start:stop]),
            is_new=np.ascontiguousarray(self.is_new[:, start:stop]),
            periods_per_year=self.periods_per_year[start:stop].copy(),
            n_new=self.n_new,
            recursions={name: cut(matrix) for name, matrix in self.recursions.items()},
            before={name: cut(matrix) for name, matrix in self.before.items()},
        )


def pack(
    column: NDArray[np.intp],
    dates: NDArray[np.datetime64],
    values: Mapping[str, Vector],
    is_new: NDArray[np.bool_],
    periods_per_year: Vector,
    *,
    history: int = HISTORY,
) -> Bars:
    """The panel of bars given as a long table: row i is a bar of instrument `column[i]` (0 .. columns - 1).

    Rows are ordered by instrument and date; the new ones of an instrument are its last. `values` has one vector per
    name of FIELDS, a name left out is unknown. Older bars than `history` before the first new row are left out.
    """
    n_columns = len(periods_per_year)
    counts = np.bincount(column, minlength=n_columns)
    new_counts = np.bincount(column[is_new], minlength=n_columns)
    n_new = int(new_counts.max(initial=0))
    n_rows = history + n_new
    ends = np.cumsum(counts)
    row = n_rows - (ends[column] - np.arange(len(column)))
    kept = row >= 0
    at = (row[kept], column[kept])

    def matrix(name: str) -> Matrix:
        found = np.full((n_rows, n_columns), np.nan)
        if name in values:
            found[at] = values[name][kept]
        return found

    day = np.full((n_rows, n_columns), np.datetime64("NaT"), dtype="datetime64[D]")
    day[at] = dates[kept]
    is_bar = np.zeros((n_rows, n_columns), dtype=bool)
    is_bar[at] = True
    fresh = np.arange(n_new)[:, None] >= n_new - new_counts[None, :]
    return Bars(
        open=matrix("open"),
        high=matrix("high"),
        low=matrix("low"),
        close=matrix("close"),
        volume=matrix("volume"),
        dollar_volume=matrix("dollar_volume"),
        benchmark_close=matrix("benchmark_close"),
        dates=day,
        is_bar=is_bar,
        is_new=fresh,
        periods_per_year=periods_per_year.astype(np.float64),
        n_new=n_new,
    )


@dataclass(frozen=True)
class BarTable:
    """Bars of many instruments as a long table ordered by instrument and date.

    `starts` (instruments + 1,): row of each instrument's first bar, and the number of rows; `dates` (rows,);
    `values`: names of FIELDS -> (rows,); `is_new` (rows,): the bars to calculate, the last ones of an instrument, with
    at most HISTORY others that matter before them; `periods_per_year` (instruments,).
    """

    starts: NDArray[np.intp]
    dates: NDArray[np.datetime64]
    values: Mapping[str, Vector]
    is_new: NDArray[np.bool_]
    periods_per_year: Vector

    @property
    def n_instruments(self) -> int:
        """Instruments."""
        return len(self.periods_per_year)

    def panel(self, first: int, stop: int) -> Bars:
        """Instruments first .. stop - 1 side by side."""
        rows = slice(int(self.starts[first]), int(self.starts[stop]))
        column = np.repeat(np.arange(stop - first), np.diff(self.starts[first : stop + 1]))
        return pack(
            column,
            self.dates[rows],
            {name: vector[rows] for name, vector in self.values.items()},
            self.is_new[rows],
            self.periods_per_year[first:stop],
        )
