"""Conformal prediction intervals from a model's own rolling-origin errors.

Lives here: past errors, their quantiles and the widening for overlapping windows. Not here: the models (models.py) or
bounds that depend on what is forecast (pools.py, gas.py).
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.models import Matrix, Model

QUANTILES = (0.10, 0.50, 0.90)
BURN_IN_DAYS = 7
"""Errors of forecasts made from fewer observed days say little about a settled model and are left out."""
MIN_ERRORS = 30
"""With fewer errors of its own a series takes the errors of all series."""
OVERLAP_FACTOR = 2.0
"""Windows of h days that overlap by all but one day count as this many independent ones per h days.

Measured on the recorded lending panel (48 series, 16 origins, nominal coverage 0.80): 0.77, 0.81, 0.81 at 1, 7, 30
days; without any widening 0.77, 0.79, 0.68, with strictly independent windows (factor 1) 0.77, 0.84, 0.86 at twice
the width.
"""


def horizon_means(values: Matrix, horizon_days: int) -> Matrix:
    """Mean of the observed values of the next `horizon_days` days, for each day.

    Shape as `values`; NaN where the window reaches beyond the last column or holds no observed day.
    """
    means = np.full_like(values, np.nan)
    if values.shape[1] <= horizon_days:
        return means
    windows = sliding_window_view(values, horizon_days, axis=1)[:, 1:]
    observed = ~np.isnan(windows)
    counts = observed.sum(axis=2)
    sums = np.where(observed, windows, 0.0).sum(axis=2)
    means[:, : values.shape[1] - horizon_days] = np.divide(
        sums, counts, out=np.full_like(sums, np.nan), where=counts > 0
    )
    return means


def forecast_with_quantiles(
    model: Model, scaled: Matrix, actual_scaled: Matrix, horizon_days: int
) -> tuple[Matrix, Matrix]:
    """Forecast made on the last day, shape (series,), and its three quantiles, shape (3, series), on the model's scale.

    `scaled` are the observed values, `actual_scaled` the means over the horizon that followed each day, same shape
    and scale. The quantiles are the forecast plus those of what the same model would have got wrong on every day
    before.
    """
    origins = np.arange(scaled.shape[1], dtype=np.int64)
    forecasts = model.forecast(scaled, origins, horizon_days)
    errors = actual_scaled - forecasts
    errors[np.cumsum(~np.isnan(scaled), axis=1) < BURN_IN_DAYS] = np.nan
    return forecasts[:, -1], forecasts[:, -1] + error_quantiles(errors, horizon_days)


def widened_ranks(counts: NDArray[np.int64], horizon_days: int) -> Matrix:
    """Probabilities, shape (3, series), at which to read the empirical quantiles so that their band holds what
    QUANTILES say.

    Split-conformal correction, the rank p (n + 1) of n sorted errors (Vovk et al. 2005; Angelopoulos & Bates 2021),
    with n replaced by the number of effectively independent windows, because windows of several days share most of
    theirs.
    """
    effective = np.minimum(counts, 1.0 + OVERLAP_FACTOR * (counts - 1.0) / horizon_days)
    steps = np.maximum(effective - 1.0, 1.0)
    lower = np.clip((QUANTILES[0] * (effective + 1.0) - 1.0) / steps, 0.0, QUANTILES[0])
    return np.stack([lower, np.full_like(lower, QUANTILES[1]), 1.0 - lower])


def error_quantiles(errors: Matrix, horizon_days: int) -> Matrix:
    """The 10 %, 50 % and 90 % error of each series, shape (3, series), never decreasing from one quantile to the next.

    A series with fewer than MIN_ERRORS errors takes those of all series together; zeros when there is no error at all.
    """
    ordered = np.sort(errors, axis=1)  # NaN goes last
    counts = np.sum(~np.isnan(errors), axis=1)
    own = _read_sorted(ordered, counts, widened_ranks(counts, horizon_days))
    pool = np.sort(errors[~np.isnan(errors)])
    if not len(pool):
        return np.zeros((len(QUANTILES), errors.shape[0]))
    # Series of one day move together, so the pool is as wide as its longest series allows.
    longest = np.array([counts.max()])
    pooled = _read_sorted(pool[None, :], np.array([len(pool)]), widened_ranks(longest, horizon_days))
    return np.where(counts >= MIN_ERRORS, own, pooled)


def _read_sorted(ordered: Matrix, counts: NDArray[np.int64], ranks: Matrix) -> Matrix:
    """Linear interpolation between the order statistics of each row's first `counts` values."""
    position = ranks * np.maximum(counts - 1, 0)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0))
    rows = np.arange(ordered.shape[0])
    low, high = ordered[rows, below], ordered[rows, above]
    # The minimum keeps the result between its neighbours whatever the rounding.
    result: Matrix = np.minimum(low + (position - below) * (high - low), high)
    return result
