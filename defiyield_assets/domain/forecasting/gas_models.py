"""Forecasting models of one gas series, each a causal rule that speaks on every day.

Lives here: the weekly rhythm, smoothing that spikes cannot drag along, mean reversion, and the list of candidates.
Not here: models that pools use too (models.py), who is champion and the rows (gas.py), bands (gas_bands.py).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.models import EWMA_03, LAST_VALUE, MEDIAN_7, SES, Matrix, Model

Days = NDArray[np.float64]
"""Logarithms of a daily price in gwei over consecutive days, NaN where unknown."""

FAST_ALPHAS = (0.3, 1.0)
"""Two speeds at which the level of the day is followed; their mean is the level."""
SLOW_ALPHA = 0.01
"""Smoothing of the level that prices return to: half of it is younger than 69 days."""
REVERSION_DAYS = 70.0
"""Time in which a distance to the slow level shrinks to 1/e.

Both lie where 2016-2018 and 2019-2025 of the recorded gas price have a flat optimum: with SLOW_ALPHA of 0.0075 to 0.02
and 50 to 100 days the errors at 7 and 30 days differ by at most 0.02 of the last value's, in either period.
"""
SPIKE_LIMIT = 2.0
"""A day moves the level by at most this multiple of the usual move."""
MOVE_ALPHA = 0.05
"""Smoothing of the usual move; a single day counts with at most MOVE_CAP times of it."""
MOVE_CAP = 4.0
FIRST_MOVE = 0.1
LEAST_MOVE = 0.02
WEEKDAY_ALPHA = 0.05
"""Weight of the newest week in a weekday's factor, once twenty weeks are known."""
WEEKDAY_LIMIT = 0.3
"""Largest distance of a day to its week that counts as rhythm; more is a spike."""
WEEK = 7
LEAST_WEEK_DAYS = 5
"""Observed days without which a week says nothing about its middle day."""


@dataclass(frozen=True)
class GasSeries:
    """One kind of gas price: logs and weekday (0-6) of each day, weekday factors known on each day, shape (days, 7),
    and two levels of the logs without them: the fast one (spike-robust) and the slow one."""

    logs: Days
    weekdays: NDArray[np.int64]
    factors: NDArray[np.float64]
    fast: Days
    slow: Days


@dataclass(frozen=True)
class GasModel:
    """A candidate: `forecast(series, horizons)` is, for each horizon and every day, shape (horizons, days), the log of
    the mean price expected over that many next days, made from that day and earlier ones only; NaN before the first
    observed day."""

    name: str
    version: str
    forecast: Callable[[GasSeries, Sequence[int]], Matrix]


def gas_series_of(logs: Days, last_day_number: int) -> GasSeries:
    """The series with its weekly rhythm; the last of `logs` is day `last_day_number` since 1970-01-01."""
    n_days = len(logs)
    weekdays = (last_day_number - n_days + 1 + np.arange(n_days)) % WEEK
    factors = weekday_factors(logs, weekdays)
    adjusted = logs - factors[np.arange(n_days), weekdays]
    fast = np.mean([spike_robust_level(adjusted, alpha) for alpha in FAST_ALPHAS], axis=0)
    return GasSeries(logs, weekdays, factors, fast, slow_level(adjusted))


def weekday_factors(logs: Days, weekdays: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log distance of each weekday to its week, as known on each day, shape (days, 7); the seven always sum to 0.

    The factor of a weekday is the exponentially weighted mean of its distances to the centred mean of seven days
    (seasonal part of a classical decomposition by moving averages), which is known three days later.
    """
    means, counts = _centred_weeks(logs)
    distances = np.clip(logs - means, -WEEKDAY_LIMIT, WEEKDAY_LIMIT)
    is_whole = (counts >= LEAST_WEEK_DAYS) & ~np.isnan(distances)
    factors = np.zeros((len(logs), WEEK))
    half = WEEK // 2
    for weekday in range(WEEK):
        factor = 0.0
        middles = np.flatnonzero(is_whole & (weekdays == weekday))
        for n_known, middle in enumerate(middles.tolist(), start=1):
            # The first weeks count as if a few weeks without rhythm had gone before.
            factor += max(WEEKDAY_ALPHA, 1.0 / (n_known + 4.0)) * (distances[middle] - factor)
            factors[middle + half :, weekday] = factor
    balanced: NDArray[np.float64] = factors - factors.mean(axis=1, keepdims=True)
    return balanced


def rhythm_ahead(series: GasSeries, horizon_days: int) -> Days:
    """Mean weekday factor of the coming `horizon_days` days, as known on each day."""
    ahead = (series.weekdays[:, None] + 1 + np.arange(horizon_days)) % WEEK
    known: Days = np.take_along_axis(series.factors, ahead, axis=1).mean(axis=1)
    return known


def spike_robust_level(logs: Days, alpha: float) -> Days:
    """Exponential smoothing whose innovations are cut at SPIKE_LIMIT times the usual one, on every day.

    Robust exponential smoothing after Gelper, Fried & Croux (2010), with an absolute in place of a tau scale.
    Unobserved days are skipped.
    """
    levels: list[float] = []
    level, move = math.nan, FIRST_MOVE
    for today in logs.tolist():
        if not math.isnan(today):
            if math.isnan(level):
                level = today
            innovation = today - level
            limit = SPIKE_LIMIT * move
            move = max(move + MOVE_ALPHA * (min(abs(innovation), MOVE_CAP * move) - move), LEAST_MOVE)
            level += alpha * min(max(innovation, -limit), limit)
        levels.append(level)
    return np.array(levels, dtype=np.float64)


def slow_level(logs: Days) -> Days:
    """Mean of all observed days until their number reaches 1 / SLOW_ALPHA, exponentially weighted mean from there."""
    levels: list[float] = []
    level, n_observed = math.nan, 0
    for today in logs.tolist():
        if not math.isnan(today):
            n_observed += 1
            level = today if n_observed == 1 else level + max(SLOW_ALPHA, 1.0 / n_observed) * (today - level)
        levels.append(level)
    return np.array(levels, dtype=np.float64)


def share_kept(horizon_days: int) -> float:
    """Part of today's distance to the slow level that is left, on average over the coming `horizon_days` days.

    The mean of an Ornstein-Uhlenbeck process with time constant REVERSION_DAYS (Vasicek 1977).
    """
    return float(np.mean(np.exp(-np.arange(1, horizon_days + 1) / REVERSION_DAYS)))


def _spike_robust(series: GasSeries, horizons: Sequence[int]) -> Matrix:
    return np.stack([series.fast + rhythm_ahead(series, horizon) for horizon in horizons])


def _reverting(series: GasSeries, horizons: Sequence[int]) -> Matrix:
    """Spike-robust level drawn towards the slow one, with the rhythm of the coming days."""
    distance = series.fast - series.slow
    return np.stack(
        [series.slow + share_kept(horizon) * distance + rhythm_ahead(series, horizon) for horizon in horizons]
    )


def _plain(model: Model, series: GasSeries, horizons: Sequence[int]) -> Matrix:
    """A model that pools use too, flat over horizons, on the logs as they are."""
    origins = np.arange(len(series.logs), dtype=np.int64)
    return np.repeat(model.forecast(series.logs[None, :], origins), len(horizons), axis=0)


def _centred_weeks(logs: Days) -> tuple[Days, NDArray[np.int64]]:
    """Mean and number of the observed days among the seven around each day; NaN and 0 at both ends."""
    is_known = ~np.isnan(logs)
    means, counts = np.full(len(logs), np.nan), np.zeros(len(logs), dtype=np.int64)
    if len(logs) < WEEK:
        return means, counts
    inside = slice(WEEK // 2, len(logs) - WEEK // 2)
    counts[inside] = np.lib.stride_tricks.sliding_window_view(is_known, WEEK).sum(axis=1)
    sums = np.lib.stride_tricks.sliding_window_view(np.where(is_known, logs, 0.0), WEEK).sum(axis=1)
    means[inside] = np.divide(sums, counts[inside], out=np.full_like(sums, np.nan), where=counts[inside] > 0)
    return means, counts


REVERTING = GasModel("reverting", "1", _reverting)
GAS_BASELINE = REVERTING
"""Stands where nothing else has shown to be better."""
GAS_MODELS: Mapping[str, GasModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            *(GasModel(plain.name, plain.version, partial(_plain, plain)) for plain in (LAST_VALUE, EWMA_03, SES)),
            GasModel(MEDIAN_7.name, MEDIAN_7.version, partial(_plain, MEDIAN_7)),
            GasModel("spike_robust", "1", _spike_robust),
            REVERTING,
        )
    }
)
"""Every candidate by name. A further model is one more entry."""
