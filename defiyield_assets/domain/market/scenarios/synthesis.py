"""Bars made of log returns: the new close, and around it the shape of a real bar of the same instrument.

Lives here: o/h/l by the donor's own ratios, volume, dates. Not here: where returns come from (stochastic.py,
stress.py).
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.scenarios.histories import Rows, rows_of, with_later
from defiyield_assets.domain.market.scenarios.source import Source, next_dates
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory
from defiyield_assets.errors import SuspiciousDataError

DIGITS = 10
"""Significant digits of generated numbers: the last bits differ between machines, and with them every hash."""
NEAR = 5
"""Source bars among which a donor is drawn: those whose return is nearest."""
VOLUME_BARS = 20
"""Bars whose mean volume a bar's volume is measured against."""


def bars_of_returns(source: Source, log_returns: Matrix, donors: Rows) -> PriceHistory:
    """The source's warm-up and then bars with these log returns (steps, instruments).

    `donors` (steps, instruments): row of `source.bars` whose ratios of open, high and low to its close the new bar
    takes, and its gap flag. A donor without open, high or low gives none. Volume is the donor's in proportion to the
    VOLUME_BARS before it, at the level of the last ones. SuspiciousDataError where a price leaves the numbers.
    """
    columns = np.arange(source.n_instruments)
    last = source.bars.close[-1]  # a participant has a bar there
    with np.errstate(over="ignore"):
        close = significant(np.exp(np.log(last) + np.cumsum(log_returns, axis=0)))
    if not np.isfinite(close).all() or not (close > 0.0).all():
        raise SuspiciousDataError("a generated price is no positive finite number; take milder parameters")
    shapes = {
        name: close * (source.bars.column(name)[donors, columns] / source.bars.close[donors, columns])
        for name in ("open", "high", "low")
    }
    opened = significant(shapes["open"])
    level, relative = _relative_volume(source.bars.volume)
    later = {
        "open": opened,
        "high": _outermost(np.fmax, significant(shapes["high"]), opened, close),
        "low": _outermost(np.fmin, significant(shapes["low"]), opened, close),
        "close": close,
        "volume": significant(level * relative[donors, columns]),
        "gap_flag": source.bars.gap_flag[donors, columns],
    }
    warm_up = rows_of(source.bars, slice(source.bars.n_bars - source.n_warm_up, None))
    dates = next_dates(source.bars.dates[-1], len(close), source.is_always_open)
    whole = with_later(warm_up, dates, later)
    return replace(whole, first_scored=source.n_warm_up, periods_per_year=source.periods_per_year)


def nearest_donors(source: Source, log_returns: Matrix, random: np.random.Generator) -> Rows:
    """For returns that no bar had: one of the NEAR bars of the same instrument with the nearest returns, drawn.

    So the gap from close to open and the range of the day belong to a move of that size, (steps, instruments).
    """
    n_rows, n_instruments = source.returns.shape
    near = min(NEAR, n_rows)
    offset = random.integers(0, near, size=log_returns.shape)
    donors = np.empty(log_returns.shape, dtype=np.intp)
    for column in range(n_instruments):
        order = np.argsort(source.returns[:, column], kind="stable")
        place = np.searchsorted(source.returns[order, column], log_returns[:, column])
        first = np.clip(place - near // 2, 0, n_rows - near)
        donors[:, column] = source.sampled[order[first + offset[:, column]]]
    return donors


def significant(values: Matrix) -> Matrix:
    """Values rounded to DIGITS significant digits; zero, NaN and infinity stay."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where(np.isfinite(values) & (values != 0.0), np.floor(np.log10(np.abs(values))), 0.0)
    scale = 10.0 ** (DIGITS - 1 - magnitude)
    rounded: Matrix = np.where(np.isfinite(values), np.round(values * scale) / scale, values)
    return rounded


def _outermost(choose: np.ufunc, extreme: Matrix, opened: Matrix, close: Matrix) -> Matrix:
    """An extreme that rounding did not push inside open and close; NaN stays NaN."""
    outer: Matrix = np.where(np.isnan(extreme), np.nan, choose(choose(extreme, opened), close))
    return outer


def _relative_volume(volume: Matrix) -> tuple[Matrix, Matrix]:
    """Mean volume of the last bars (instruments,) and every bar's volume over the mean of those before it."""
    frame = pd.DataFrame(volume)
    means = frame.rolling(VOLUME_BARS, min_periods=VOLUME_BARS // 2).mean()
    before = means.shift(1).bfill().to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(before > 0.0, volume / before, np.nan)
    return means.to_numpy()[-1], relative
