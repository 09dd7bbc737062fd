"""Volatility: Bollinger and Keltner bands, the squeeze between them, realised and range-based estimates.

Lives here: windowed metrics of the group. Not here: ATR and EWMA (recursions.py), losses and risk ratios (risk.py).
Estimates are standard deviations of log returns per year: × √(bars of a year), 365 (24x7) or 252 days.
"""

from functools import partial

import numpy as np

from defiyield_assets.domain.market.features.metric import CLOSE, OHLC, POSITIVE, SHARE, UNBOUNDED, Bounds, Metric
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import NOISE, log_return, sma, yearly
from defiyield_assets.domain.market.features.windows import (
    flag,
    last,
    log,
    ratio,
    rolling_mean,
    rolling_rank,
    rolling_std,
    rolling_var,
    shift,
)

BAND_PERIOD, BAND_SIGMAS, RANK_PERIOD = 20, 2.0, 252
PERCENT_B: Bounds = (-0.6, 1.6)
"""No close of 20 is further than √19 population σ from their mean: (2 ± √19) / 4, rounded outward."""
NARROW, WIDE = 1.5, 2.0
"""Keltner channels in ATR on either side of EMA 20; the squeeze is measured by the narrow one (Carter 2005)."""
REALISED_PERIODS = (10, 20, 60, 252)
RANGE_PERIOD = 20
"""Bars of the range-based estimates."""
VOL_OF_VOL_PERIOD = 60
"""Bars that the volatility of 20-bar volatility is taken over."""


# --- Bollinger ------------------------------------------------------------------------------------------------------
def _band_reach(bars: Bars, out: int) -> Matrix:
    """2 σ of the last 20 closes (population), at each of the last `out` rows (at most 251 more than the new ones)."""

    def calculate() -> Matrix:
        return BAND_SIGMAS * rolling_std(bars.close, BAND_PERIOD, bars.n_new + RANK_PERIOD - 1, ddof=0)

    return last(bars.cached("band_reach", calculate), out)


def _bands(bars: Bars, out: int) -> tuple[Matrix, Matrix]:
    """Lower and upper band at each of the last `out` rows."""
    middle, reach = sma(bars, BAND_PERIOD, out), _band_reach(bars, out)
    return middle - reach, middle + reach


def _band(bars: Bars, *, side: int) -> Matrix:
    return _bands(bars, bars.n_new)[side]


def _band_middle(bars: Bars) -> Matrix:
    return sma(bars, BAND_PERIOD, bars.n_new)


def _band_widths(bars: Bars) -> Matrix:
    """(upper − lower) / middle of the new rows and 251 more."""

    def calculate() -> Matrix:
        rows = bars.n_new + RANK_PERIOD - 1
        return ratio(2.0 * _band_reach(bars, rows), rolling_mean(bars.close, BAND_PERIOD, rows))

    return bars.cached("band_widths", calculate)


def _width(bars: Bars) -> Matrix:
    return last(_band_widths(bars), bars.n_new)


def _width_rank(bars: Bars) -> Matrix:
    return rolling_rank(_band_widths(bars), RANK_PERIOD, bars.n_new)


def _percent_b(bars: Bars) -> Matrix:
    lower, upper = _bands(bars, bars.n_new)
    spread = np.where(_width(bars) > NOISE, upper - lower, np.nan)
    return (last(bars.close, bars.n_new) - lower) / spread


# --- Keltner and squeeze --------------------------------------------------------------------------------------------
def _channel(bars: Bars, *, reach: float) -> Matrix:
    return bars.recursive("ema_20") + reach * bars.recursive("atr_14")


def _squeeze(bars: Bars) -> Matrix:
    """1.0 where the Bollinger bands lie inside the narrow Keltner channel."""
    return bars.cached(
        "squeeze", lambda: _is_inside(bars.recursive("ema_20"), bars.recursive("atr_14"), _bands(bars, bars.n_new))
    )


def _is_inside(average: Matrix, true_range: Matrix, bands: tuple[Matrix, Matrix]) -> Matrix:
    lower, upper = bands
    condition = (lower > average - NARROW * true_range) & (upper < average + NARROW * true_range)
    return flag(condition, average, true_range, lower)


def _release(bars: Bars) -> Matrix:
    lower, upper = _bands(bars, bars.n_new + 1)
    bands = (lower[:-1], upper[:-1])
    before = _is_inside(bars.recursive_before("ema_20"), bars.recursive_before("atr_14"), bands)
    now = _squeeze(bars)
    return flag((before == 1.0) & (now == 0.0), before, now)


# --- estimates ------------------------------------------------------------------------------------------------------
def _realised(bars: Bars, *, n: int) -> Matrix:
    return yearly(rolling_std(log_return(bars), n, bars.n_new), bars)


def _vol_of_vol(bars: Bars) -> Matrix:
    per_bar = rolling_std(log_return(bars), BAND_PERIOD, bars.n_new + VOL_OF_VOL_PERIOD - 1)
    return rolling_std(yearly(per_bar, bars), VOL_OF_VOL_PERIOD, bars.n_new)


def _log_range(bars: Bars) -> Matrix:
    """ln(H / L) squared of the last rows that the estimates read."""

    def calculate() -> Matrix:
        reach = log(ratio(_estimated(bars, bars.high), _estimated(bars, bars.low)))
        return reach * reach

    return bars.cached("log_range_squared", calculate)


def _open_to_close(bars: Bars) -> Matrix:
    """ln(C / O) of the last rows that the estimates read."""
    return bars.cached("open_to_close", lambda: log(ratio(_estimated(bars, bars.close), _estimated(bars, bars.open))))


def _estimated(bars: Bars, prices: Matrix) -> Matrix:
    """The rows of the new bars' 20-bar windows."""
    return last(prices, bars.n_new + RANGE_PERIOD - 1)


def _deviation(variance: Matrix) -> Matrix:
    """Its root; NaN for a sum that inconsistent bars (a close outside low .. high) made negative."""
    return np.sqrt(np.where(variance >= 0.0, variance, np.nan))


def _parkinson(bars: Bars) -> Matrix:
    """Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, 1980."""
    variance = rolling_mean(_log_range(bars), RANGE_PERIOD, bars.n_new) / (4.0 * np.log(2.0))
    return yearly(_deviation(variance), bars)


def _garman_klass(bars: Bars) -> Matrix:
    """Garman and Klass, On the Estimation of Security Price Volatilities from Historical Data, 1980."""
    body = _open_to_close(bars)
    variance = rolling_mean(
        0.5 * _log_range(bars) - (2.0 * np.log(2.0) - 1.0) * (body * body), RANGE_PERIOD, bars.n_new
    )
    return yearly(_deviation(variance), bars)


def _yang_zhang(bars: Bars) -> Matrix:
    """Yang and Zhang, Drift-Independent Volatility Estimation Based on High, Low, Open, and Close Prices, 2000."""
    n, rows = RANGE_PERIOD, bars.n_new + RANGE_PERIOD - 1
    weight = 0.34 / (1.34 + (n + 1) / (n - 1))
    opened = _estimated(bars, bars.open)
    overnight = log(ratio(opened, shift(bars.close, 1, rows)))
    body = _open_to_close(bars)
    up, down = log(ratio(_estimated(bars, bars.high), opened)), log(ratio(_estimated(bars, bars.low), opened))
    rogers_satchell = rolling_mean(up * (up - body) + down * (down - body), n, bars.n_new)
    variance = (
        rolling_var(overnight, n, bars.n_new)
        + weight * rolling_var(body, n, bars.n_new)
        + (1.0 - weight) * rogers_satchell
    )
    return yearly(_deviation(variance), bars)


_metric = partial(Metric, group="volatility")
METRICS: tuple[Metric, ...] = (
    _metric(
        name="bollinger_lower_20",
        unit="price",
        warm_up=BAND_PERIOD,
        formula="sma_20 − 2 σ, population σ of the last 20 C",
        needs=CLOSE,
        bounds=UNBOUNDED,
        calculate=partial(_band, side=0),
    ),
    _metric(
        name="bollinger_middle_20",
        unit="price",
        warm_up=BAND_PERIOD,
        formula="sma_20",
        needs=CLOSE,
        bounds=POSITIVE,
        calculate=_band_middle,
    ),
    _metric(
        name="bollinger_upper_20",
        unit="price",
        warm_up=BAND_PERIOD,
        formula="sma_20 + 2 σ, population σ of the last 20 C",
        needs=CLOSE,
        bounds=POSITIVE,
        calculate=partial(_band, side=1),
    ),
    _metric(
        name="bollinger_width_20",
        unit="fraction",
        warm_up=BAND_PERIOD,
        formula="4 σ / sma_20",
        needs=CLOSE,
        bounds=POSITIVE,
        calculate=_width,
    ),
    _metric(
        name="bollinger_percent_b_20",
        unit="ratio",
        warm_up=BAND_PERIOD,
        formula="(C − bollinger_lower_20) / (4 σ); null where all C are equal (to 1e-12)",
        needs=CLOSE,
        bounds=PERCENT_B,
        calculate=_percent_b,
    ),
    _metric(
        name="bollinger_width_rank_252",
        unit="fraction",
        warm_up=BAND_PERIOD + RANK_PERIOD - 1,
        formula="share of the last 252 bollinger_width_20 that are not greater than this one (itself among them)",
        needs=CLOSE,
        bounds=SHARE,
        calculate=_width_rank,
    ),
    *[
        _metric(
            name=f"keltner_{side}_20_{name}",
            unit="price",
            warm_up=BAND_PERIOD,
            formula=f"ema_20 {'−' if sign < 0 else '+'} {reach:g} atr_14",
            needs=CLOSE | OHLC,
            bounds=UNBOUNDED if sign < 0 else POSITIVE,
            calculate=partial(_channel, reach=sign * reach),
        )
        for reach, name in ((NARROW, "1_5"), (WIDE, "2"))
        for side, sign in (("lower", -1.0), ("upper", 1.0))
    ],
    _metric(
        name="is_squeeze_on",
        unit="flag",
        warm_up=BAND_PERIOD,
        formula="bollinger_lower_20 > keltner_lower_20_1_5 and bollinger_upper_20 < keltner_upper_20_1_5",
        needs=CLOSE | OHLC,
        bounds=SHARE,
        calculate=_squeeze,
    ),
    _metric(
        name="is_squeeze_released",
        unit="flag",
        warm_up=BAND_PERIOD + 1,
        formula="is_squeeze_on at the bar before and not now",
        needs=CLOSE | OHLC,
        bounds=SHARE,
        calculate=_release,
    ),
    *[
        _metric(
            name=f"realised_vol_{n}",
            unit="fraction",
            warm_up=n + 1,
            formula=f"sample σ of the last {n} r × √(periods a year), r = ln(C / C₋₁)",
            needs=CLOSE,
            bounds=POSITIVE,
            calculate=partial(_realised, n=n),
        )
        for n in REALISED_PERIODS
    ],
    _metric(
        name="parkinson_20",
        unit="fraction",
        warm_up=RANGE_PERIOD,
        formula="√(mean₂₀ ln(H / L)² / (4 ln 2) × periods a year)",
        needs=OHLC,
        bounds=POSITIVE,
        calculate=_parkinson,
    ),
    _metric(
        name="garman_klass_20",
        unit="fraction",
        warm_up=RANGE_PERIOD,
        formula="√(mean₂₀(½ ln(H / L)² − (2 ln 2 − 1) ln(C / O)²) × periods a year)",
        needs=CLOSE | OHLC,
        bounds=POSITIVE,
        calculate=_garman_klass,
    ),
    _metric(
        name="yang_zhang_20",
        unit="fraction",
        warm_up=RANGE_PERIOD + 1,
        formula=(
            "√((σ² of ln(O / C₋₁) + k σ² of ln(C / O) + (1 − k) mean₂₀(u (u − c) + d (d − c))) × periods a year), "
            "sample σ² of 20, u = ln(H / O), d = ln(L / O), c = ln(C / O), k = 0.34 / (1.34 + 21 / 19)"
        ),
        needs=CLOSE | OHLC,
        bounds=POSITIVE,
        calculate=_yang_zhang,
    ),
    _metric(
        name="vol_of_vol_60",
        unit="fraction",
        warm_up=BAND_PERIOD + VOL_OF_VOL_PERIOD,
        formula="sample σ of the last 60 realised_vol_20",
        needs=CLOSE,
        bounds=POSITIVE,
        calculate=_vol_of_vol,
    ),
)
