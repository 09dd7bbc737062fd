"""Trend: moving averages, distances from them and their slopes, Aroon, Donchian channels, highs and lows before today.

Lives here: windowed metrics of the group. Not here: EMA, MACD, ADX and PSAR (recursions.py), crossings and breakouts
(structure.py).
"""

from functools import partial

from defiyield_assets.domain.market.features.metric import CLOSE, INDEX, OHLC, POSITIVE, RETURN, UNBOUNDED, Metric
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import (
    AVERAGES_BEFORE,
    highest,
    highest_before,
    lowest,
    lowest_before,
    sma,
)
from defiyield_assets.domain.market.features.windows import argmax_age, argmin_age, last, ratio, rolling_slope

SMA_PERIODS = (5, 10, 20, 50, 100, 200)
SLOPE_BARS = AVERAGES_BEFORE + 1
AROON_PERIOD = 25
HIGH_PERIODS, LOW_PERIODS = (20, 55), (10, 20)
"""The channels 20/10 and 55/20: a long position is entered at the high and left at the low."""


def _average(bars: Bars, *, n: int) -> Matrix:
    return sma(bars, n, bars.n_new)


def _distance(bars: Bars, *, n: int) -> Matrix:
    return ratio(last(bars.close, bars.n_new), sma(bars, n, bars.n_new)) - 1.0


def _slope(bars: Bars, *, n: int) -> Matrix:
    average = sma(bars, n, bars.n_new + SLOPE_BARS - 1)
    return ratio(rolling_slope(average, SLOPE_BARS, bars.n_new), last(average, bars.n_new))


def _aroon_up(bars: Bars) -> Matrix:
    return bars.cached("aroon_up", lambda: _index_of_age(argmax_age(bars.high, AROON_PERIOD + 1, bars.n_new)))


def _aroon_down(bars: Bars) -> Matrix:
    return bars.cached("aroon_down", lambda: _index_of_age(argmin_age(bars.low, AROON_PERIOD + 1, bars.n_new)))


def _index_of_age(age: Matrix) -> Matrix:
    """Bars since an extreme as 0 (AROON_PERIOD ago) .. 100 (now)."""
    return 100.0 * (AROON_PERIOD - age) / AROON_PERIOD


def _aroon_oscillator(bars: Bars) -> Matrix:
    return _aroon_up(bars) - _aroon_down(bars)


def _channel_high(bars: Bars, *, n: int) -> Matrix:
    return highest(bars, n, bars.n_new)


def _channel_low(bars: Bars, *, n: int) -> Matrix:
    return lowest(bars, n, bars.n_new)


_metric = partial(Metric, group="trend")
METRICS: tuple[Metric, ...] = (
    *[
        _metric(
            name=f"sma_{n}",
            unit="price",
            warm_up=n,
            formula=f"mean of the last {n} C",
            needs=CLOSE,
            bounds=POSITIVE,
            calculate=partial(_average, n=n),
        )
        for n in SMA_PERIODS
    ],
    *[
        _metric(
            name=f"ma_distance_{n}",
            unit="fraction",
            warm_up=n,
            formula=f"C / sma_{n} − 1",
            needs=CLOSE,
            bounds=RETURN,
            calculate=partial(_distance, n=n),
        )
        for n in SMA_PERIODS
    ],
    *[
        _metric(
            name=f"sma_{n}_slope_{SLOPE_BARS}",
            unit="fraction",
            warm_up=n + SLOPE_BARS - 1,
            formula=f"least-squares slope of the last {SLOPE_BARS} sma_{n} on the bar's number, per bar, / sma_{n}",
            needs=CLOSE,
            bounds=UNBOUNDED,
            calculate=partial(_slope, n=n),
        )
        for n in SMA_PERIODS
    ],
    _metric(
        name="aroon_up_25",
        unit="index",
        warm_up=AROON_PERIOD + 1,
        formula="100 (25 − bars since the greatest H of the last 26, the newest of equals) / 25",
        needs=OHLC,
        bounds=INDEX,
        calculate=_aroon_up,
    ),
    _metric(
        name="aroon_down_25",
        unit="index",
        warm_up=AROON_PERIOD + 1,
        formula="100 (25 − bars since the least L of the last 26, the newest of equals) / 25",
        needs=OHLC,
        bounds=INDEX,
        calculate=_aroon_down,
    ),
    _metric(
        name="aroon_oscillator_25",
        unit="index",
        warm_up=AROON_PERIOD + 1,
        formula="aroon_up_25 − aroon_down_25",
        needs=OHLC,
        bounds=(-100.0, 100.0),
        calculate=_aroon_oscillator,
    ),
    *[
        _metric(
            name=f"donchian_high_{n}",
            unit="price",
            warm_up=n,
            formula=f"greatest H of the last {n} bars",
            needs=OHLC,
            bounds=POSITIVE,
            calculate=partial(_channel_high, n=n),
        )
        for n in HIGH_PERIODS
    ],
    *[
        _metric(
            name=f"donchian_low_{n}",
            unit="price",
            warm_up=n,
            formula=f"least L of the last {n} bars",
            needs=OHLC,
            bounds=POSITIVE,
            calculate=partial(_channel_low, n=n),
        )
        for n in LOW_PERIODS
    ],
    *[
        _metric(
            name=f"high_{n}",
            unit="price",
            warm_up=n + 1,
            formula=f"greatest H of the {n} bars before this one",
            needs=OHLC,
            bounds=POSITIVE,
            calculate=partial(highest_before, n=n),
        )
        for n in HIGH_PERIODS
    ],
    *[
        _metric(
            name=f"low_{n}",
            unit="price",
            warm_up=n + 1,
            formula=f"least L of the {n} bars before this one",
            needs=OHLC,
            bounds=POSITIVE,
            calculate=partial(lowest_before, n=n),
        )
        for n in LOW_PERIODS
    ],
)
