"""Series that several groups of metrics read: returns, typical price, moving averages, rolling extremes.

Lives here: intermediate results, each calculated once per panel. Not here: kernels (windows.py), metrics (one file per
group), values with memory (recursions.py). Every function returns a cached matrix or a view of one: never change it.
"""

import numpy as np

from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.windows import (
    last,
    log,
    ratio,
    rolling_max,
    rolling_mean,
    rolling_min,
    shift,
)

AVERAGES_BEFORE = 4
"""Rows before the new ones that moving averages are known for: slopes over 5 bars and crossings read them."""
EXTREMES_BEFORE = 2
"""Rows before the new ones that highs and lows are known for: %D averages three, breakouts leave today out."""
NOISE = 1e-12
"""Deviations below this are the rounding of numbers that should be equal: of returns as such, of prices and volumes as
a share of them. Nothing is divided by them, or the quotient would be noise that looks like a value.
"""


def simple_return(bars: Bars, n: int = 1) -> Matrix:
    """C / C₋ₙ − 1 as a fraction, of every row but the first n; NaN after a close of 0."""

    def calculate() -> Matrix:
        rows = bars.n_rows - n
        return ratio(last(bars.close, rows), shift(bars.close, n, rows)) - 1.0

    return bars.cached(f"simple_return_{n}", calculate)


def log_return(bars: Bars, n: int = 1) -> Matrix:
    """ln(C / C₋ₙ), of every row but the first n; NaN with a close of 0."""

    def calculate() -> Matrix:
        rows = bars.n_rows - n
        return log(ratio(last(bars.close, rows), shift(bars.close, n, rows)))

    return bars.cached(f"log_return_{n}", calculate)


def typical_price(bars: Bars) -> Matrix:
    """(H + L + C) / 3 of every row."""
    return bars.cached("typical_price", lambda: (bars.high + bars.low + bars.close) / 3.0)


def sma(bars: Bars, n: int, out: int) -> Matrix:
    """Mean of the last n closes, at each of the last `out` rows (at most AVERAGES_BEFORE more than the new ones)."""
    return last(bars.cached(f"sma_{n}", lambda: rolling_mean(bars.close, n, bars.n_new + AVERAGES_BEFORE)), out)


def highest(bars: Bars, n: int, out: int) -> Matrix:
    """Greatest high of the last n bars, at each of the last `out` rows (at most EXTREMES_BEFORE more than the new)."""
    return last(bars.cached(f"highest_{n}", lambda: rolling_max(bars.high, n, bars.n_new + EXTREMES_BEFORE)), out)


def lowest(bars: Bars, n: int, out: int) -> Matrix:
    """Least low of the last n bars, at each of the last `out` rows (at most EXTREMES_BEFORE more than the new ones)."""
    return last(bars.cached(f"lowest_{n}", lambda: rolling_min(bars.low, n, bars.n_new + EXTREMES_BEFORE)), out)


def highest_before(bars: Bars, n: int) -> Matrix:
    """Greatest high of the n bars before each new row, the row itself left out."""
    return highest(bars, n, bars.n_new + 1)[:-1]


def lowest_before(bars: Bars, n: int) -> Matrix:
    """Least low of the n bars before each new row, the row itself left out."""
    return lowest(bars, n, bars.n_new + 1)[:-1]


def yearly(per_bar: Matrix, bars: Bars) -> Matrix:
    """A standard deviation per bar as one per year: × √(bars of a year), 365 or 252 days by the calendar."""
    return per_bar * np.sqrt(bars.periods_per_year)


def above_noise(deviation: Matrix) -> Matrix:
    """A standard deviation of returns or a fall, NaN where it is rounding only: nothing can be divided by it."""
    return np.where(deviation < NOISE, np.nan, deviation)
