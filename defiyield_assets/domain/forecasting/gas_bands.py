"""Conformal bands of gas forecasts that widen and narrow with what they missed.

Lives here: the quantiles of a model's own past errors and the feedback from misses. Not here: models (gas_models.py),
rows and the choice of the model (gas.py), bands of pools (intervals.py).
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.intervals import horizon_means
from defiyield_assets.domain.forecasting.models import Matrix

FLOOR_GWEI = 1e-6
"""Smallest price that the logarithm is taken of."""
MISS_SHARE = 0.10
"""Share of the actual values that may lie above p90, and below p10."""
BURN_IN_DAYS = 14
"""Errors of forecasts made from fewer observed days say little about a settled model and are left out."""
MIN_ERRORS = 90
"""With fewer errors of its own a series takes USUAL_LOG_ERRORS."""
ERROR_DAYS = 365
"""Errors older than this are forgotten."""
GAIN = 0.05
"""Log width that a bound moves by for each miss too many.

Measured on each day of 2019-2025 of the recorded gas price: with PROVISIONAL_WEIGHT 0.5 to 0.7 the share of actual
values up to the 30-day p90 is within 88 and 93 % in each year (0.04: 87 to 92 %; 0.06: 84 to 92 %; without feedback
75 to 98 % at 0.7 of the width).
"""
PROVISIONAL_WEIGHT = 0.6
"""Weight of a miss that is foreseeable but not yet certain."""
ADJUSTMENT_RANGE = (-1.0, 2.0)
"""Furthest that feedback may move a bound, log width."""
TOLERANCE = 1e-9
"""Log distance below which a value lies on the bound."""

USUAL_LOG_ERRORS: Mapping[int, tuple[float, float]] = MappingProxyType(
    {1: (-0.31, 0.35), 7: (-0.30, 0.43), 30: (-0.40, 0.58)}
)
"""10 % and 90 % quantile of the logarithmic error by horizon, used while history is too short for its own.

Measured: the baseline with nothing but the last 1, 2, 3, 5, 7, 10, 14, 21, 28, 45, 60 or 90 days before each second day
of 2019-2025 of the recorded gas price. With a single day the 30-day quantiles are -0.47 and 0.63, with 90 days -0.37
and 0.55.
"""


def log_gwei(values: Matrix) -> Matrix:
    """Logarithm of prices in gwei, at least FLOOR_GWEI."""
    scaled: Matrix = np.log(np.maximum(values, FLOOR_GWEI))
    return scaled


def past_errors(forecasts: Matrix, values: Matrix, horizon_days: int) -> Matrix:
    """Log of what came minus log of what was forecast, by origin; NaN where it is not over, or made in the burn-in.

    `forecasts` are logs, shape (models, days), `values` gwei, shape (1, days) or one row for each of the forecasts.
    """
    errors = log_gwei(horizon_means(values, horizon_days)) - forecasts
    return np.where(_is_settled(values), errors, np.nan)


def bounds_of_every_day(forecasts: Matrix, values: Matrix, horizon_days: int) -> Matrix:
    """Logs of p10 and p90 for the forecast of every day, shape (2, models, days), each from that day and earlier ones.

    `forecasts` are logs, shape (models, days), `values` gwei, shape (1, days) or one row for each of the forecasts.

    The bound is the forecast plus the quantile of the model's own errors that were known by then (split conformal,
    Vovk et al. 2005), moved by GAIN for each miss beyond MISS_SHARE so far, so that misses cannot pile up whatever
    the prices do: the integral term of conformal PID control (Angelopoulos, Candès & Tibshirani 2023; adaptive
    conformal inference, Gibbs & Candès 2021). As a 30-day forecast is judged a month late, those still running count
    by what they are heading for (what was seen, completed by the newest forecast), with PROVISIONAL_WEIGHT. p10 never
    lies above the forecast, nor p90 below it.
    """
    errors = past_errors(forecasts, values, horizon_days)
    sign = np.array([-1.0, 1.0])[:, None]
    base = sign[:, :, None] * _base_quantiles(errors, horizon_days)
    is_settled = np.broadcast_to(_is_settled(values), forecasts.shape)
    sums, counts = _running(np.nan_to_num(values, nan=0.0)), _running(~np.isnan(values))
    bounds = np.full((2, *forecasts.shape), np.nan)
    surplus = np.zeros((2, forecasts.shape[0]))
    for day in range(forecasts.shape[1]):
        due = day - horizon_days
        if due >= 0:
            surplus += _surplus(sign * (errors[:, due] + forecasts[:, due] - bounds[:, :, due]))
        # Feedback that could only narrow a band of no width is forgotten, or it would delay the next widening.
        surplus = np.maximum(surplus, -base[:, :, day] / GAIN)
        adjustment = GAIN * surplus
        running = np.arange(max(0, due + 1), day)
        if len(running):
            left = horizon_days - (day - running)
            seen = sums[:, day + 1, None] - sums[:, running + 1]
            n_seen = counts[:, day + 1, None] - counts[:, running + 1]
            heading = log_gwei((seen + left * np.exp(forecasts[:, day, None])) / (n_seen + left))
            excess = sign[:, :, None] * (heading - bounds[:, :, running])
            excess[:, ~is_settled[:, running]] = np.nan
            adjustment += GAIN * PROVISIONAL_WEIGHT * _surplus(excess).sum(axis=2)
        width = np.maximum(base[:, :, day] + np.clip(adjustment, *ADJUSTMENT_RANGE), 0.0)
        bounds[:, :, day] = forecasts[:, day] + sign * width
    return bounds


def has_own_errors(errors: Matrix) -> NDArray[np.bool_]:
    """Which models are judged by their own errors on the last day."""
    enough: NDArray[np.bool_] = (~np.isnan(errors[:, -ERROR_DAYS:])).sum(axis=1) >= MIN_ERRORS
    return enough


def _base_quantiles(errors: Matrix, horizon_days: int) -> Matrix:
    """Quantiles MISS_SHARE and 1 - MISS_SHARE of the errors known on each day, shape (2, models, days)."""
    unknown = np.full((errors.shape[0], min(horizon_days, errors.shape[1])), np.nan)
    known = np.concatenate([unknown, errors[:, : errors.shape[1] - unknown.shape[1]]], axis=1)
    rolling = pd.DataFrame(known.T).rolling(ERROR_DAYS, min_periods=MIN_ERRORS)
    own = np.stack([rolling.quantile(share).to_numpy().T for share in (MISS_SHARE, 1.0 - MISS_SHARE)])
    nearest = max((days for days in USUAL_LOG_ERRORS if days <= horizon_days), default=min(USUAL_LOG_ERRORS))
    usual = np.array(USUAL_LOG_ERRORS[nearest])[:, None, None]
    return np.where(np.isnan(own), usual, own)


def _surplus(excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - MISS_SHARE for a value beyond its bound, -MISS_SHARE for one within, 0 where unknown."""
    return np.where(np.isnan(excess), 0.0, (excess > TOLERANCE) - MISS_SHARE)


def _is_settled(values: Matrix) -> NDArray[np.bool_]:
    """Days by which enough was observed for a forecast to be judged."""
    settled: NDArray[np.bool_] = np.cumsum(~np.isnan(values), axis=1) >= BURN_IN_DAYS
    return settled


def _running(values: Matrix | NDArray[np.bool_]) -> Matrix:
    """Sums of the columns before each, one column longer than `values`."""
    return np.concatenate([np.zeros((values.shape[0], 1)), np.cumsum(values, axis=1, dtype=np.float64)], axis=1)
