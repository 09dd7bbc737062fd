"""Returns: log and simple ones over several horizons, the gap at the open, drawdowns, distance to the 52-week extremes.

Lives here: windowed metrics of the group. Not here: rates of change as an oscillator and z-scores (momentum.py), risk
ratios (risk.py), relative strength (cross_section.py).
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from defiyield_assets.domain.market.features.metric import (
    CLOSE,
    OHLC,
    POSITIVE,
    RETURN,
    UNBOUNDED,
    Metric,
    lagged,
)
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import log_return, simple_return
from defiyield_assets.domain.market.features.windows import last, ratio, rolling_max, rolling_min, shift

RETURN_PERIODS = (1, 5, 20, 21, 60, 63, 252)
DRAWDOWN_PERIODS = (20, 63, 252)
YEAR_OF_DAYS, YEAR_OF_SESSIONS = 364, 252
"""Bars of 52 weeks: of a 24x7 market, and of an exchange."""


def _log(bars: Bars, *, n: int) -> Matrix:
    return last(log_return(bars, n), bars.n_new)


def _simple(bars: Bars, *, n: int) -> Matrix:
    return last(simple_return(bars, n), bars.n_new)


def _gap(bars: Bars) -> Matrix:
    return ratio(last(bars.open, bars.n_new), shift(bars.close, 1, bars.n_new)) - 1.0


def _drawdown(bars: Bars, *, n: int) -> Matrix:
    return ratio(last(bars.close, bars.n_new), rolling_max(bars.close, n, bars.n_new)) - 1.0


def _from_high(bars: Bars) -> Matrix:
    return ratio(last(bars.close, bars.n_new), _of_52_weeks(rolling_max, bars.high, bars)) - 1.0


def _from_low(bars: Bars) -> Matrix:
    return ratio(last(bars.close, bars.n_new), _of_52_weeks(rolling_min, bars.low, bars)) - 1.0


def _of_52_weeks(extreme: Callable[[Matrix, int, int], Matrix], prices: Matrix, bars: Bars) -> Matrix:
    """The extreme of the bars that 52 weeks have on the instrument's calendar."""
    is_always_open = bars.periods_per_year > YEAR_OF_DAYS
    found = extreme(prices, YEAR_OF_SESSIONS, bars.n_new)
    if is_always_open.any():
        found = np.where(is_always_open, extreme(prices, YEAR_OF_DAYS, bars.n_new), found)
    return found


_metric = partial(Metric, group="returns")
METRICS: tuple[Metric, ...] = (
    *[
        _metric(
            name=f"log_return_{n}",
            unit="fraction",
            warm_up=n + 1,
            formula=f"ln(C / {lagged('C', n)})",
            needs=CLOSE,
            bounds=UNBOUNDED,
            calculate=partial(_log, n=n),
        )
        for n in RETURN_PERIODS
    ],
    *[
        _metric(
            name=f"return_{n}",
            unit="fraction",
            warm_up=n + 1,
            formula=f"C / {lagged('C', n)} − 1",
            needs=CLOSE,
            bounds=RETURN,
            calculate=partial(_simple, n=n),
        )
        for n in RETURN_PERIODS
    ],
    _metric(
        name="gap",
        unit="fraction",
        warm_up=2,
        formula="O / C₋₁ − 1",
        needs=CLOSE | OHLC,
        bounds=RETURN,
        calculate=_gap,
    ),
    *[
        _metric(
            name=f"drawdown_{n}",
            unit="fraction",
            warm_up=n,
            formula=f"C / greatest C of the last {n} bars − 1",
            needs=CLOSE,
            bounds=(-1.0, 0.0),
            calculate=partial(_drawdown, n=n),
        )
        for n in DRAWDOWN_PERIODS
    ],
    _metric(
        name="distance_52w_high",
        unit="fraction",
        warm_up=YEAR_OF_DAYS,
        formula="C / greatest H of 52 weeks − 1: 364 bars of a 24x7 market, 252 bars (its warm-up) of an exchange",
        needs=CLOSE | OHLC,
        bounds=(-1.0, 0.0),
        calculate=_from_high,
        is_intraday=False,
    ),
    _metric(
        name="distance_52w_low",
        unit="fraction",
        warm_up=YEAR_OF_DAYS,
        formula="C / least L of 52 weeks − 1: 364 bars of a 24x7 market, 252 bars (its warm-up) of an exchange",
        needs=CLOSE | OHLC,
        bounds=POSITIVE,
        calculate=_from_low,
        is_intraday=False,
    ),
)
