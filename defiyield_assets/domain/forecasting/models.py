"""Cheap forecasting models: each is one causal rule over a whole matrix of series.

Lives here: the scale that models work on and every model that costs next to nothing. Not here: the pooled model
(pooled.py), models fitted series by series (costly.py), who is used where (evaluation.py), bands (intervals.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Series in rows, consecutive days in columns, NaN where nothing was observed."""
Origins = NDArray[np.int64]
"""Column numbers of the days on which a forecast is made."""

SES_ALPHAS = np.append(np.arange(1, 20) * 0.05, 0.99)
"""Grid over which simple exponential smoothing chooses its smoothing factor."""
PERCENT = 100.0
FACTOR_ALPHA = 0.5
"""Smoothing of the level that all series have in common."""
SILENT_DAYS = 3
"""A series counts for the common level up to this many days after its last value."""


@dataclass(frozen=True)
class Model:
    """One way to forecast: a name, a version that changes with every change of its figures, and the rule itself.

    `forecast(values, origins)` takes values on the model scale (`to_scale`), shape (series, days), and returns shape
    (series, len(origins)): for each origin the forecast of the mean of the days after it, over any horizon, made from
    the columns up to and including the origin only; NaN where nothing was observed yet.
    """

    name: str
    version: str
    forecast: Callable[[Matrix, Origins], Matrix]


def to_scale(target: str, values: Matrix) -> Matrix:
    """Natural units on the scale of the models: log1p of percentage points for rates (fractions), of USD for sizes.

    Source of the percentage points: on the recorded lending panel simple exponential smoothing has 0.94, 0.89, 0.91
    of the last value's error at 1, 7, 30 days on them and 0.97, 0.90, 0.92 on log1p of fractions, which is next to
    linear.
    """
    scaled: Matrix = np.log1p(values if target == "tvl_usd" else PERCENT * values)
    return scaled


def from_scale(target: str, scaled: Matrix) -> Matrix:
    """The inverse of `to_scale`."""
    values: Matrix = np.expm1(scaled) / (1.0 if target == "tvl_usd" else PERCENT)
    return values


def smoothed(values: Matrix, alpha: float) -> Matrix:
    """Exponentially weighted mean of every day, from the first observed value on; unobserved days are skipped."""
    frame = pd.DataFrame(values.T).ewm(alpha=alpha, adjust=False, ignore_na=True).mean()
    levels: Matrix = frame.to_numpy(dtype=np.float64).T
    return levels


def carried(values: Matrix, n_days: int | None = None) -> Matrix:
    """The last value known on every day, at most `n_days` old when that is given."""
    n_columns = values.shape[1]
    columns = np.where(np.isnan(values), -1, np.arange(n_columns))
    newest = np.maximum.accumulate(columns, axis=1)
    known = np.take_along_axis(values, np.maximum(newest, 0), axis=1)
    is_known = newest >= 0
    if n_days is not None:
        is_known &= np.arange(n_columns) - newest <= n_days
    return np.where(is_known, known, np.nan)


def common_level(values: Matrix) -> Matrix:
    """What all series have in common, shape (1, days): their mean change from day to day, added up from 0 on.

    Only series heard of on both days count, each with its last value, so that nobody who comes or goes moves the
    others. NaN before the first day on which anybody was observed; a day without a pair changes nothing.
    """
    recent = carried(values, SILENT_DAYS)
    changes = np.diff(recent, axis=1)
    counts = np.sum(~np.isnan(changes), axis=0, keepdims=True)
    means = np.divide(np.nansum(changes, axis=0, keepdims=True), counts, out=np.zeros(counts.shape), where=counts > 0)
    levels = np.cumsum(np.concatenate([np.zeros((1, 1)), means], axis=1), axis=1)
    has_begun = np.logical_or.accumulate(~np.isnan(recent).all(axis=0))
    return np.where(has_begun, levels, np.nan)


def relative_to_common(values: Matrix, alpha: float) -> Matrix:
    """Smoothed distance of each series to the common level, plus the common level smoothed faster, every day.

    A one-factor model with exponential smoothing in place of a Kalman filter (compare Harvey 1989, common levels):
    what moves all series together is believed sooner than what moves one.
    """
    common = common_level(values)
    return smoothed(values - common, alpha) + smoothed(common, FACTOR_ALPHA)


def peer_level(values: Matrix) -> Matrix:
    """Median of all series of each day, smoothed, the same for every series that was ever observed."""
    recent = carried(values, SILENT_DAYS)
    median = np.full((1, values.shape[1]), np.nan)
    has_any = ~np.isnan(recent).all(axis=0)
    median[0, has_any] = np.nanmedian(recent[:, has_any], axis=0)
    level = smoothed(median, 0.3)
    return np.where(np.isnan(carried(values)), np.nan, level)


def combined(values: Matrix) -> Matrix:
    """Mean of EWMAs of 0.2, 0.3, 0.5 and of the two factor models, every day (Bates & Granger 1969; equal weights)."""
    parts = [smoothed(values, alpha) for alpha in (0.2, 0.3, 0.5)]
    parts += [relative_to_common(values, alpha) for alpha in (0.1, 0.2)]
    total: Matrix = np.sum(parts, axis=0) / len(parts)
    return total


def combined_with_peers(values: Matrix) -> Matrix:
    """`combined` with the level of the peers as a sixth part: every series is drawn towards it."""
    total: Matrix = (5.0 * combined(values) + peer_level(values)) / 6.0
    return total


def _at(levels: Callable[[Matrix], Matrix], values: Matrix, origins: Origins) -> Matrix:
    """Levels of every day read at the origins."""
    return levels(values)[:, origins]


def _median(values: Matrix, origins: Origins, *, n_days: int) -> Matrix:
    """Median of the observed values of the last `n_days` days, the last value where these hold none."""
    padded = np.concatenate([np.full((values.shape[0], n_days - 1), np.nan), values], axis=1)
    windows = sliding_window_view(padded, n_days, axis=1)[:, origins]
    medians = carried(values)[:, origins]
    has_any = ~np.isnan(windows).all(axis=2)
    medians[has_any] = np.nanmedian(windows[has_any], axis=1)
    return medians


def _smooth_optimised(values: Matrix) -> Matrix:
    """Simple exponential smoothing whose factor minimises, per series and origin, the squared one-step errors so far.

    The factor of an origin is chosen from errors up to that origin, so that rolling-origin forecasts are free of
    leakage. Equal errors choose the smaller factor.
    """
    n_series, n_days = values.shape
    alphas = SES_ALPHAS[:, None]
    series = np.arange(n_series)
    levels = np.full_like(values, np.nan)
    candidates = np.full((len(alphas), n_series), np.nan)
    squared = np.zeros((len(alphas), n_series))
    for day in range(n_days):
        today = values[:, day][None, :]
        error = today - candidates
        squared += np.where(np.isnan(error), 0.0, error) ** 2
        updated = np.where(np.isnan(candidates), today, candidates + alphas * error)
        candidates = np.where(np.isnan(today), candidates, updated)
        levels[:, day] = candidates[np.argmin(squared, axis=0), series]
    return levels


def _model(name: str, levels: Callable[[Matrix], Matrix]) -> Model:
    return Model(name, "2", partial(_at, levels))


LAST_VALUE = _model("last_value", carried)
EWMA_02 = _model("ewma_02", partial(smoothed, alpha=0.2))
EWMA_03 = _model("ewma_03", partial(smoothed, alpha=0.3))
EWMA_05 = _model("ewma_05", partial(smoothed, alpha=0.5))
SES = _model("ses", _smooth_optimised)
MEDIAN_7 = Model("median_7", "1", partial(_median, n_days=7))
MEDIAN_30 = Model("median_30", "1", partial(_median, n_days=30))
FACTOR_01 = _model("factor_01", partial(relative_to_common, alpha=0.1))
FACTOR_02 = _model("factor_02", partial(relative_to_common, alpha=0.2))
COMBINATION = _model("combination", combined)
PEER_COMBINATION = _model("peer_combination", combined_with_peers)

CHEAP_MODELS: Sequence[Model] = (
    LAST_VALUE,
    EWMA_02,
    EWMA_03,
    EWMA_05,
    SES,
    MEDIAN_7,
    MEDIAN_30,
    FACTOR_01,
    FACTOR_02,
    COMBINATION,
    PEER_COMBINATION,
)
MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in CHEAP_MODELS})
"""Every cheap model by name. A further model is one more entry."""
