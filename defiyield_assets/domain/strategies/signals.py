"""Conditions over bars: where each is true, for every bar and instrument at once.

Lives here: packing of instruments to their own bars, columns with indicators, operators, lookbacks and the ages of
positions. Not here: what may be written (conditions.py), what follows from a true condition (plans.py).
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory
from defiyield_assets.domain.strategies.conditions import (
    CROSSINGS,
    AllOf,
    AnyCondition,
    AnyOf,
    BarsHeld,
    Comparison,
    leaves,
)
from defiyield_assets.domain.strategies.indicators import calculated
from defiyield_assets.domain.strategies.language import Indicator

Flags = NDArray[np.bool_]


@dataclass
class Columns:
    """A history's columns with each instrument's own bars one after another, and a strategy's indicators.

    Row i of a packed matrix is an instrument's i-th bar, so that "the bar before" is never a day without a session.
    """

    history: PriceHistory
    indicators: Mapping[str, Indicator]
    _kept: dict[str | tuple[str, int, bool, int], Matrix] = field(default_factory=dict)
    """Packed columns of the history by name, indicators by what they say and the column that they read."""

    def __post_init__(self) -> None:
        """Work out where each instrument's bars are."""
        is_bar = self.history.is_bar
        first = np.where(is_bar.any(axis=0), is_bar.argmax(axis=0), 0)
        end = np.where(is_bar.any(axis=0), len(is_bar) - is_bar[::-1].argmax(axis=0), 0)
        self._is_whole = bool(np.all(is_bar.sum(axis=0) == end - first))
        """No instrument has a hole between its bars: the matrices are taken as they are."""
        self._is_bar = is_bar
        self._is_full = bool(is_bar.all())
        self._order = np.argsort(~is_bar, axis=0, kind="stable")

    def packed(self, matrix: Matrix) -> Matrix:
        """A matrix of the history with every instrument's bars on top, NaN below them."""
        if self._is_whole:
            return matrix
        result = np.take_along_axis(matrix, self._order, axis=0)
        result[np.arange(len(matrix))[:, None] >= self._is_bar.sum(axis=0)] = np.nan
        return result

    def unpacked(self, flags: Flags) -> Flags:
        """Flags of packed rows at their bars; false where there is none."""
        if self._is_full:
            return flags
        if self._is_whole:
            return flags & self._is_bar
        result = np.zeros_like(flags)
        np.put_along_axis(result, self._order, flags, axis=0)
        return result & self._is_bar

    def unpacked_values(self, values: Matrix) -> Matrix:
        """Values of packed rows at their bars; NaN where there is none."""
        if self._is_whole:
            return np.where(self._is_bar, values, np.nan)
        result = np.full_like(values, np.nan)
        np.put_along_axis(result, self._order, values, axis=0)
        return np.where(self._is_bar, result, np.nan)

    def get(self, name: str) -> Matrix:
        """A column or indicator, packed; KeyError without one of that name."""
        one = self.indicators.get(name)
        if one is None:
            if name not in self._kept:
                self._kept[name] = self.packed(self.history.column(name))
            return self._kept[name]
        read = self.get(one.col)
        key = (one.method, one.bars, one.before_today, id(read))
        if key not in self._kept:
            self._kept[key] = calculated(one, read)
        return self._kept[key]

    def beside(self, indicators: Mapping[str, Indicator]) -> "Columns":
        """The same history with other indicators; what has been calculated is shared."""
        result = copy(self)
        result.indicators = indicators
        return result

    def values(self, name: str) -> Matrix:
        """A column or indicator at the bars of the history."""
        return self.unpacked_values(self.get(name))


@dataclass(frozen=True)
class Exits:
    """Where a position is to be left, by its age: `flags[i]` counts for those held at least `ages[i - 1]` bars."""

    ages: tuple[int, ...]
    flags: tuple[Flags, ...]


def holds(condition: AnyCondition, columns: Columns, bars_held: int = 0) -> Flags:
    """Where a condition is true, (n, k), for a position of that age; never where an operand is unknown."""
    return columns.unpacked(_packed(condition, columns, bars_held))


def exits(condition: AnyCondition | None, columns: Columns) -> Exits:
    """Where a condition is true, for every age of a position that makes a difference; None is never true."""
    if condition is None:
        return Exits((), (np.zeros(columns.history.close.shape, dtype=bool),))
    ages = sorted({leaf.bars_held for _, leaf in leaves(condition) if isinstance(leaf, BarsHeld)})
    return Exits(tuple(ages), tuple(holds(condition, columns, age) for age in (0, *ages)))


def _packed(condition: AnyCondition, columns: Columns, bars_held: int) -> Flags:
    if isinstance(condition, AllOf):
        every = [_packed(one, columns, bars_held) for one in condition.all]
        return np.asarray(np.logical_and.reduce(every), dtype=bool)
    if isinstance(condition, AnyOf):
        some = [_packed(one, columns, bars_held) for one in condition.any]
        return np.asarray(np.logical_or.reduce(some), dtype=bool)
    if isinstance(condition, BarsHeld):
        return np.full(columns.history.close.shape, bars_held >= condition.bars_held)
    return _looked_back(_compared(condition, columns), condition.lookback)


def _compared(condition: Comparison, columns: Columns) -> Flags:
    left = columns.get(condition.col)
    if isinstance(condition.value, tuple):
        low, high = condition.value
        is_inside = (left >= low) & (left <= high)
        return is_inside if condition.op == "between" else ~is_inside & np.isfinite(left)
    right = (
        columns.get(condition.ref) * condition.times
        if condition.ref is not None
        else np.float64(condition.value if condition.value is not None else np.nan)
    )
    if condition.op in CROSSINGS:
        is_beyond, was_not = (left > right, left <= right)
        if condition.op == "crosses_below":
            is_beyond, was_not = (left < right, left >= right)
        result = np.zeros(left.shape, dtype=bool)
        np.logical_and(is_beyond[1:], was_not[:-1], out=result[1:])
        return result
    compare = {
        "lt": np.less,
        "le": np.less_equal,
        "gt": np.greater,
        "ge": np.greater_equal,
        "eq": np.equal,
        "ne": np.not_equal,
    }[condition.op]
    return np.asarray(compare(left, right) & np.isfinite(left) & np.isfinite(right), dtype=bool)


def _looked_back(flags: Flags, bars: int) -> Flags:
    """Where any of the last `bars` rows is true."""
    result = flags
    for k in range(1, min(bars, len(flags))):
        result = result | np.concatenate([np.zeros((k, flags.shape[1]), dtype=bool), flags[:-k]])
    return result
