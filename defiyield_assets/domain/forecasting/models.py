"""Forecasting models and the table that says which one is used where.

Lives here: each model as a function over a whole matrix of series, and the choice by target and horizon. Not here:
prediction intervals (intervals.py), turning histories into matrices (panel.py) or into forecast rows (pools.py,
gas.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Series in rows, consecutive days in columns, NaN where nothing was observed."""
Origins = NDArray[np.int64]
"""Column numbers of the days on which a forecast is made."""

SES_ALPHAS = np.append(np.arange(1, 20) * 0.05, 0.99)
"""Grid over which simple exponential smoothing chooses its smoothing factor."""


@dataclass(frozen=True)
class Model:
    """One way to forecast: a name, a version that changes with every change of its figures, and the rule itself.

    `forecast(values, origins, horizon_days)` takes values on a log scale (log1p for pools, log for gas), shape
    (series, days), and returns shape (series, len(origins)): for each origin the forecast of the mean over the next
    `horizon_days` days, made from the columns up to and including the origin only; NaN where nothing was observed
    yet.
    """

    name: str
    version: str
    forecast: Callable[[Matrix, Origins, int], Matrix]


def _smooth(values: Matrix, origins: Origins, horizon_days: int, *, alpha: float) -> Matrix:
    """Exponentially weighted mean from the first observed value on; unobserved days are skipped; flat over horizons."""
    del horizon_days
    levels = np.full_like(values, np.nan)
    level = np.full(values.shape[0], np.nan)
    for day in range(values.shape[1]):
        today = values[:, day]
        updated = np.where(np.isnan(level), today, level + alpha * (today - level))
        level = np.where(np.isnan(today), level, updated)
        levels[:, day] = level
    return levels[:, origins]


def _smooth_optimised(values: Matrix, origins: Origins, horizon_days: int) -> Matrix:
    """Simple exponential smoothing whose factor minimises, per series and origin, the squared one-step errors so far.

    The factor of an origin is chosen from errors up to that origin, so that rolling-origin forecasts are free of
    leakage. Equal errors choose the smaller factor.
    """
    del horizon_days
    n_series, n_days = values.shape
    alphas = SES_ALPHAS[:, None]
    series = np.arange(n_series)
    levels = np.full_like(values, np.nan)
    candidates = np.full((len(alphas), n_series), np.nan)
    squared = np.zeros((len(alphas), n_series))
    for day in range(n_days):
        today = values[:, day][None, :]
        error = today - candidates
        known = ~np.isnan(error)
        squared[known] += error[known] ** 2
        updated = np.where(np.isnan(candidates), today, candidates + alphas * error)
        candidates = np.where(np.isnan(today), candidates, updated)
        levels[:, day] = candidates[np.argmin(squared, axis=0), series]
    return levels[:, origins]


LAST_VALUE = Model("last_value", "1", partial(_smooth, alpha=1.0))
EWMA_03 = Model("ewma_03", "1", partial(_smooth, alpha=0.3))
EWMA_05 = Model("ewma_05", "1", partial(_smooth, alpha=0.5))
SES = Model("ses", "1", _smooth_optimised)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in (LAST_VALUE, EWMA_03, EWMA_05, SES)})
"""Every model by name. A further model is one more entry."""

APY_CHOICE: Sequence[tuple[int, Model]] = ((1, SES), (7, EWMA_03), (30, EWMA_03))
"""Model of total and base APY from this horizon on, in days.

Source: the table measured on the recorded lending panel (forecasting.md), MAE relative to the last value at 1, 7 and
30 days: simple exponential smoothing 0.92, 0.87, 0.91; EWMA 0.3 0.98, 0.86, 0.83; EWMA 0.5 0.94, 0.88, 0.87.
"""
GAS_CHOICE: Sequence[tuple[int, Model]] = ((1, LAST_VALUE), (7, EWMA_03))
"""Model of gas from this horizon on, in days.

Source: measured on the recorded daily gas price since the London fork (2021-08-05 to 2025-10-24), mean absolute error
of the logarithm at 1, 7 and 30 days: last value 0.246, 0.289, 0.355; EWMA 0.3 0.268, 0.242, 0.301; simple exponential
smoothing 0.250, 0.271, 0.338.
"""
TARGET_CHOICE: Mapping[str, Sequence[tuple[int, Model]]] = MappingProxyType(
    {
        "apy": APY_CHOICE,
        "apy_base": APY_CHOICE,
        "apy_reward": ((1, LAST_VALUE),),
        "tvl_usd": ((1, LAST_VALUE),),
        "gas_gwei": GAS_CHOICE,
    }
)
"""Model by target.

The last value stands for size, which is close to a random walk, and for rewards, which move in steps: on the same
panel and origins the APY choice has an error of 1.03, 1.16 and 1.05 times that of the last value for apy_reward
(0.95, 0.88, 0.83 for apy_base).
"""


def choose_model(target: str, horizon_days: int) -> Model:
    """The model used for a target at a horizon: the entry with the longest horizon that is not above the one asked for.

    Raises KeyError for an unknown target and ValueError for a horizon below one day.
    """
    if horizon_days < 1:
        raise ValueError(f"a horizon is at least 1 day, not {horizon_days}")
    return [model for first_horizon, model in TARGET_CHOICE[target] if first_horizon <= horizon_days][-1]
