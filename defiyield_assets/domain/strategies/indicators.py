"""Columns of a strategy's own: means, extremes, changes and deviations over the last bars of another column.

Lives here: their arithmetic, over packed bars. Not here: how they are declared (language.py), the registry's features
(domain/market/features).
"""

import numpy as np

from defiyield_assets.domain.strategies.bars import Matrix
from defiyield_assets.domain.strategies.language import Indicator


def shifted(x: Matrix, k: int) -> Matrix:
    """The values k rows before; NaN above the first."""
    if k == 0:
        return x
    result = np.full_like(x, np.nan)
    result[k:] = x[:-k]
    return result


def calculated(one: Indicator, x: Matrix) -> Matrix:
    """The indicator of a column (n, k) of consecutive bars; a window that holds a NaN is NaN."""
    if one.method == "change":
        with np.errstate(divide="ignore", invalid="ignore"):
            before = shifted(x, one.bars)
            result = np.where(before > 0, x / before - 1.0, np.nan)
    elif one.method == "ema":
        result = _ema(x, one.bars)
    else:
        result = _windowed(x, one.bars, one.method)
    return shifted(result, 1) if one.before_today else result


def _windowed(x: Matrix, bars: int, method: str) -> Matrix:
    """A statistic of the last `bars` rows, by the kernels of the registry's features: the same bits as theirs."""
    from defiyield_assets.domain.market.features.windows import rolling_max, rolling_mean, rolling_min, rolling_std

    result = np.full(x.shape, np.nan)
    out = len(x) - bars + 1
    if out < 1 or (method == "deviation" and bars < 2):
        return result
    kernels = {"sma": rolling_mean, "highest": rolling_max, "lowest": rolling_min, "deviation": rolling_std}
    result[bars - 1 :] = kernels[method](np.ascontiguousarray(x), bars, out)
    return result


def _ema(x: Matrix, bars: int) -> Matrix:
    """Exponential mean with α = 2 / (bars + 1), seeded by the mean of the first `bars` known values; a NaN after the
    seed leaves the value unknown and the memory as it was.
    """
    result = np.full(x.shape, np.nan)
    alpha = 2.0 / (bars + 1.0)
    for column in range(x.shape[1]):
        known = np.flatnonzero(np.isfinite(x[:, column]))
        if len(known) < bars:
            continue
        value = float(x[known[:bars], column].mean())
        result[known[bars - 1], column] = value
        for row in known[bars:]:
            value += alpha * (float(x[row, column]) - value)
            result[row, column] = value
    return result
