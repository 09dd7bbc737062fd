"""Momentum: stochastic, Williams %R, CCI, rates of change, money flow index, z-scores.

Lives here: windowed metrics of the group. Not here: RSI (recursions.py), plain returns (returns.py). Oscillators keep
their customary scale of 0 to 100 (-100 to 0 for %R); where the range or flow that they divide by is 0 they are null.
"""

from functools import partial

import numpy as np

from defiyield_assets.domain.market.features.metric import (
    CLOSE,
    INDEX,
    OHLC,
    RETURN,
    UNBOUNDED,
    VOLUME,
    Bounds,
    Metric,
    lagged,
)
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import (
    NOISE,
    highest,
    log_return,
    lowest,
    simple_return,
    typical_price,
)
from defiyield_assets.domain.market.features.windows import (
    last,
    ratio,
    rolling_mean,
    rolling_mean_deviation,
    rolling_sum,
    rolling_zscore,
    shift,
)

RANGE_PERIOD, SMOOTHING = 14, 3
CCI_PERIOD, CCI_SCALE = 20, 0.015
"""Lambert's constant, which puts about three quarters of the values within -100 and 100."""
ROC_PERIODS = (5, 10, 20, 63)
MFI_PERIOD = 14
Z_PERIOD, Z_ROC = 63, 20
Z_BOUNDS: Bounds = (-7.82, 7.82)
"""No value of n is further than (n − 1) / √n sample σ from their mean (Shiffler 1988), rounded outward."""


def _fast_k(bars: Bars) -> Matrix:
    """100 (C − least L) / (greatest H − least L) over 14 bars, of the new rows and two more."""

    def calculate() -> Matrix:
        rows = bars.n_new + SMOOTHING - 1
        low = lowest(bars, RANGE_PERIOD, rows)
        return 100.0 * ratio(last(bars.close, rows) - low, highest(bars, RANGE_PERIOD, rows) - low)

    return bars.cached("fast_k", calculate)


def _stochastic_k(bars: Bars) -> Matrix:
    return last(_fast_k(bars), bars.n_new)


def _stochastic_d(bars: Bars) -> Matrix:
    return rolling_mean(_fast_k(bars), SMOOTHING, bars.n_new)


def _williams_r(bars: Bars) -> Matrix:
    high = highest(bars, RANGE_PERIOD, bars.n_new)
    return -100.0 * ratio(high - last(bars.close, bars.n_new), high - lowest(bars, RANGE_PERIOD, bars.n_new))


def _cci(bars: Bars) -> Matrix:
    price = typical_price(bars)
    mean, deviation = rolling_mean_deviation(price, CCI_PERIOD, bars.n_new)
    return (last(price, bars.n_new) - mean) / (CCI_SCALE * np.where(deviation > NOISE * mean, deviation, np.nan))


def _roc(bars: Bars, *, n: int) -> Matrix:
    return last(simple_return(bars, n), bars.n_new)


def _roc_change(bars: Bars, *, n: int) -> Matrix:
    roc = simple_return(bars, n)
    return last(roc, bars.n_new) - shift(roc, 1, bars.n_new)


def _mfi(bars: Bars) -> Matrix:
    price, rows = typical_price(bars), bars.n_new + MFI_PERIOD - 1
    now = last(price, rows)
    flow = np.sign(now - shift(price, 1, rows)) * now * last(bars.volume, rows)
    rises = rolling_sum(np.maximum(flow, 0.0), MFI_PERIOD, bars.n_new)
    return 100.0 * ratio(rises, rolling_sum(np.abs(flow), MFI_PERIOD, bars.n_new))


def _return_z(bars: Bars) -> Matrix:
    return rolling_zscore(log_return(bars), Z_PERIOD, bars.n_new, least=NOISE)


def _roc_z(bars: Bars) -> Matrix:
    return rolling_zscore(simple_return(bars, Z_ROC), Z_PERIOD, bars.n_new, least=NOISE)


_metric = partial(Metric, group="momentum")
METRICS: tuple[Metric, ...] = (
    _metric(
        name="stochastic_k_14",
        unit="index",
        warm_up=RANGE_PERIOD,
        formula="100 (C − l) / (h − l), h greatest H and l least L of 14 bars; null where h = l",
        needs=CLOSE | OHLC,
        bounds=INDEX,
        calculate=_stochastic_k,
    ),
    _metric(
        name="stochastic_d_14_3",
        unit="index",
        warm_up=RANGE_PERIOD + SMOOTHING - 1,
        formula="mean of the last 3 stochastic_k_14",
        needs=CLOSE | OHLC,
        bounds=INDEX,
        calculate=_stochastic_d,
    ),
    _metric(
        name="williams_r_14",
        unit="index",
        warm_up=RANGE_PERIOD,
        formula="−100 (h − C) / (h − l), h greatest H and l least L of 14 bars; null where h = l",
        needs=CLOSE | OHLC,
        bounds=(-100.0, 0.0),
        calculate=_williams_r,
    ),
    _metric(
        name="cci_20",
        unit="index",
        warm_up=CCI_PERIOD,
        formula="(P − m) / (0.015 × mean |Pᵢ − m|), P = (H + L + C) / 3, m mean of 20 P; null for equal P (to 1e-12)",
        needs=CLOSE | OHLC,
        bounds=UNBOUNDED,
        calculate=_cci,
    ),
    *[
        _metric(
            name=f"roc_{n}",
            unit="fraction",
            warm_up=n + 1,
            formula=f"C / {lagged('C', n)} − 1",
            needs=CLOSE,
            bounds=RETURN,
            calculate=partial(_roc, n=n),
        )
        for n in ROC_PERIODS
    ],
    *[
        _metric(
            name=f"roc_{n}_change",
            unit="fraction",
            warm_up=n + 2,
            formula=f"roc_{n} − roc_{n} of the bar before",
            needs=CLOSE,
            bounds=UNBOUNDED,
            calculate=partial(_roc_change, n=n),
        )
        for n in ROC_PERIODS
    ],
    _metric(
        name="mfi_14",
        unit="index",
        warm_up=MFI_PERIOD + 1,
        formula="100 Σ₁₄ rising P V / Σ₁₄ rising or falling P V, P = (H + L + C) / 3; null where P never changed",
        needs=CLOSE | OHLC | VOLUME,
        bounds=INDEX,
        calculate=_mfi,
    ),
    _metric(
        name="return_z_63",
        unit="sigma",
        warm_up=Z_PERIOD + 1,
        formula="(r − mean of 63 r) / sample σ of them, r = ln(C / C₋₁); null where σ ≤ 1e-12",
        needs=CLOSE,
        bounds=Z_BOUNDS,
        calculate=_return_z,
    ),
    _metric(
        name="roc_z_63",
        unit="sigma",
        warm_up=Z_ROC + Z_PERIOD,
        formula="(roc_20 − mean of 63 roc_20) / sample σ of them; null where σ ≤ 1e-12",
        needs=CLOSE,
        bounds=Z_BOUNDS,
        calculate=_roc_z,
    ),
)
