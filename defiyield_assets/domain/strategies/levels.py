"""Stops and targets: the prices at which a position is left inside a bar.

Lives here: where a level lies for an entry, and whether and at which price a bar fills it. Not here: how levels are
written (language.py), orders at the open (engine.py).
"""

from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

Kind = Literal["pct", "distance", "price", "reward"]
Prices = tuple[float, float, float, float]
"""Open, high, low and close of a bar; NaN unknown."""


@dataclass(frozen=True, slots=True)
class Level:
    """How far a stop or target is from the entry.

    pct: a fraction of the entry price; distance: currency; price: itself; reward: times the way to the stop.
    """

    kind: Kind
    value: float


def stop_level(level: Level, entry: float, side: int) -> float:
    """Price of a stop for an entry (side 1 long, -1 short); NaN where it is unknown or not on the losing side."""
    price = level.value if level.kind == "price" else entry - side * _away(level, entry)
    return price if (entry - price) * side > 0 and price > 0 else nan


def target_level(level: Level, entry: float, side: int, stop: float) -> float:
    """Price of a target for an entry; NaN where it is unknown or not on the winning side."""
    if level.kind == "reward":
        price = entry + side * level.value * abs(entry - stop)
    else:
        price = level.value if level.kind == "price" else entry + side * _away(level, entry)
    return price if (price - entry) * side > 0 and price > 0 else nan


def _away(level: Level, entry: float) -> float:
    return entry * level.value if level.kind == "pct" else level.value


def stop_fill(side: int, stop: float, prices: Prices, *, is_gap: bool) -> float:
    """Where the market is when the bar fills a stop, before costs; NaN where it does not.

    An open beyond the stop fills at the open, else at the stop. A masked gap's open is false: it fills at the bar's
    adverse extreme. A bar of a close alone fills at the close.
    """
    if isnan(stop):
        return nan
    opened, high, low, close = prices
    adverse = low if side > 0 else high
    if isnan(adverse):
        return close if (close - stop) * side <= 0 else nan
    if (adverse - stop) * side > 0:
        return nan
    if is_gap:
        return adverse
    return opened if (opened - stop) * side <= 0 else stop


def target_fill(side: int, target: float, high: float, low: float, close: float) -> float:
    """The limit where the bar reaches it, never better; NaN where it does not."""
    if isnan(target):
        return nan
    best = high if side > 0 else low
    if isnan(best):
        best = close
    return target if (best - target) * side >= 0 else nan
