"""Volume: OBV's slope, money flow, rolling VWAP, averages and z-score of volume, dollar volume, illiquidity.

Lives here: windowed metrics of the group. Not here: OBV and accumulation/distribution (recursions.py), MFI
(momentum.py). Volume is in units adjusted for splits; unknown volume makes all of these null.
"""

from functools import partial

import numpy as np

from defiyield_assets.domain.market.features.metric import CLOSE, OHLC, POSITIVE, UNBOUNDED, VOLUME, Metric
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import NOISE, simple_return, typical_price
from defiyield_assets.domain.market.features.windows import (
    last,
    ratio,
    rolling_mean,
    rolling_sum,
    rolling_weighted_sum,
    rolling_zscore,
    shift,
)

PERIOD = 20
AVERAGE_PERIODS = (20, 50)
Z_PERIOD = 60
AMIHUD_USD = 1e6
"""Amihud's measure is told per million USD, as in his paper."""


def _slope_weights(n: int) -> tuple[float, ...]:
    """Weights of the last n − 1 changes of a series in the least-squares slope of its last n values, oldest first.

    The slope is Σ (i − middle) y(i) / Σ (i − middle)²; a change is part of every value from its own bar on, so that
    it weighs as they do together and the level at which the series starts drops out.
    """
    middle, squares = (n - 1) / 2.0, n * (n * n - 1) / 12.0
    return tuple(sum(i - middle for i in range(changed, n)) / squares for changed in range(1, n))


def _obv_slope(bars: Bars) -> Matrix:
    rows = bars.n_new + PERIOD - 2
    signed = np.sign(last(bars.close, rows) - shift(bars.close, 1, rows)) * last(bars.volume, rows)
    return rolling_weighted_sum(signed, _slope_weights(PERIOD), bars.n_new)


def _volume_sum(bars: Bars) -> Matrix:
    return bars.cached("volume_sum", lambda: rolling_sum(bars.volume, PERIOD, bars.n_new))


def _money_flow(bars: Bars) -> Matrix:
    """Chaikin: volume counts by where the close lies between low (−1) and high (+1), a bar without range by 0."""
    rows = bars.n_new + PERIOD - 1
    high, low, close = last(bars.high, rows), last(bars.low, rows), last(bars.close, rows)
    spread = high - low
    place = np.where(spread == 0.0, 0.0 * close, ((close - low) - (high - close)) / np.where(spread == 0, 1.0, spread))
    return ratio(rolling_sum(place * last(bars.volume, rows), PERIOD, bars.n_new), _volume_sum(bars))


def _vwap(bars: Bars) -> Matrix:
    rows = bars.n_new + PERIOD - 1
    traded = last(typical_price(bars), rows) * last(bars.volume, rows)
    return ratio(rolling_sum(traded, PERIOD, bars.n_new), _volume_sum(bars))


def _average(bars: Bars, *, n: int) -> Matrix:
    return bars.cached(f"volume_sma_{n}", lambda: rolling_mean(bars.volume, n, bars.n_new))


def _relative(bars: Bars) -> Matrix:
    return ratio(last(bars.volume, bars.n_new), _average(bars, n=PERIOD))


def _z_score(bars: Bars) -> Matrix:
    return rolling_zscore(bars.volume, Z_PERIOD, bars.n_new, least=NOISE * last(bars.volume, bars.n_new))


def _dollar_volume(bars: Bars) -> Matrix:
    return last(bars.dollar_volume, bars.n_new).copy()


def _amihud(bars: Bars) -> Matrix:
    """Amihud, Illiquidity and stock returns, Journal of Financial Markets 5 (2002)."""
    rows = bars.n_new + PERIOD - 1
    impact = ratio(np.abs(last(simple_return(bars), rows)), last(bars.dollar_volume, rows))
    return AMIHUD_USD * rolling_mean(impact, PERIOD, bars.n_new)


_metric = partial(Metric, group="volume")
METRICS: tuple[Metric, ...] = (
    _metric(
        name="obv_slope_20",
        unit="units",
        warm_up=PERIOD,
        formula="least-squares slope of the last 20 OBV on the bar's number: units per bar",
        needs=CLOSE | VOLUME,
        bounds=UNBOUNDED,
        calculate=_obv_slope,
    ),
    _metric(
        name="cmf_20",
        unit="ratio",
        warm_up=PERIOD,
        formula="Σ₂₀(V ((C − L) − (H − C)) / (H − L)) / Σ₂₀ V; a bar with H = L counts 0, null where Σ V = 0",
        needs=CLOSE | OHLC | VOLUME,
        bounds=(-1.0, 1.0),
        calculate=_money_flow,
    ),
    _metric(
        name="vwap_20",
        unit="price",
        warm_up=PERIOD,
        formula="Σ₂₀ P V / Σ₂₀ V, P = (H + L + C) / 3; null where Σ V = 0",
        needs=CLOSE | OHLC | VOLUME,
        bounds=POSITIVE,
        calculate=_vwap,
    ),
    *[
        _metric(
            name=f"volume_sma_{n}",
            unit="units",
            warm_up=n,
            formula=f"mean of the last {n} V",
            needs=VOLUME,
            bounds=POSITIVE,
            calculate=partial(_average, n=n),
        )
        for n in AVERAGE_PERIODS
    ],
    _metric(
        name="relative_volume_20",
        unit="ratio",
        warm_up=PERIOD,
        formula="V / volume_sma_20; null where that is 0",
        needs=VOLUME,
        bounds=POSITIVE,
        calculate=_relative,
    ),
    _metric(
        name="volume_z_60",
        unit="sigma",
        warm_up=Z_PERIOD,
        formula="(V − mean of 60 V) / sample σ of them; null where all are equal (to 1e-12)",
        needs=VOLUME,
        bounds=(-7.62, 7.62),
        calculate=_z_score,
    ),
    _metric(
        name="dollar_volume",
        unit="usd",
        warm_up=1,
        formula="volume of the bar in USD, as the source says or V × C",
        needs=VOLUME,
        bounds=POSITIVE,
        calculate=_dollar_volume,
    ),
    _metric(
        name="amihud_20",
        unit="fraction per million USD",
        warm_up=PERIOD + 1,
        formula="10⁶ × mean₂₀(|C / C₋₁ − 1| / dollar_volume); null with a bar of no volume",
        needs=CLOSE | VOLUME,
        bounds=POSITIVE,
        calculate=_amihud,
    ),
)
