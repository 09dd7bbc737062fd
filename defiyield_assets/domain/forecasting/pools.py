"""Forecasts of every pool's APY, its parts and its size, with intervals, as rows of `pool_forecasts`.

Lives here: which pools get a forecast and how its row is made. Not here: the models (models.py), intervals
(intervals.py) or what the forecasts were worth (scores.py).
"""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.intervals import forecast_with_quantiles, horizon_means
from defiyield_assets.domain.forecasting.models import LAST_VALUE, Matrix, Model, choose_model
from defiyield_assets.domain.forecasting.panel import (
    Panel,
    bound_for_fitting,
    build_panel,
    first_observed,
    last_observed,
)
from defiyield_assets.domain.policy import Parameters

HORIZONS = (1, 7, 30)
TRAINING_DAYS = 365
"""Older points are ignored, so that a forecast does not depend on how much more history the caller happened to read."""
MIN_OBSERVATIONS = 2
"""With fewer observed days the last value stands (SHORT_HISTORY)."""

POOL_FORECAST_COLUMNS = (
    "pool_id",
    "as_of",
    "horizon_days",
    "target",
    "mean",
    "p10",
    "p50",
    "p90",
    "model",
    "model_version",
    "trained_from",
    "trained_to",
    "n_obs",
    "fallback_reason",
    "is_hindsight",
)
SKIPPED_COLUMNS = ("pool_id", "reason_code", "reason")


def forecast_pools(
    histories: pd.DataFrame, as_of: date, parameters: Parameters, horizons: Sequence[int] = HORIZONS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecast the mean of apy, apy_base, apy_reward and tvl_usd over each horizon, for every pool of `histories`.

    `histories` has pool_id, date, apy (winsorised), apy_base, apy_reward (fractions), tvl_usd and is_hindsight, one
    row per pool and day in any order. Rows after `as_of` are never read. Returns the rows of `pool_forecasts` and the
    skipped pools with pool_id, reason_code, reason: STALE (silent for more than `gap_days`) and NO_DATA (no APY at
    all in the training window). A pool without any size on record has no tvl_usd rows. Raises SuspiciousDataError for
    two rows of one pool and day.
    """
    horizons = sorted(set(horizons))
    panel = build_panel(histories, as_of, TRAINING_DAYS)
    skipped, is_kept = _skip_silent(panel, parameters.gap_days)
    apy_max = parameters.apy_plausible_max
    fitted = {target: values[is_kept] for target, values in bound_for_fitting(panel, apy_max).items()}
    pool_ids = np.array(panel.pool_ids, dtype=object)[is_kept]
    hindsight = panel.is_hindsight[is_kept]
    parts = [
        _forecast_target(values, target, horizon, as_of, apy_max).assign(pool_id=pool_ids, is_hindsight=hindsight)
        for target, values in fitted.items()
        for horizon in horizons
    ]
    forecasts = pd.concat(parts)
    forecasts = forecasts.loc[forecasts["n_obs"] > 0, list(POOL_FORECAST_COLUMNS)]
    keys = ["pool_id", "as_of", "horizon_days", "target"]
    return forecasts.sort_values(keys, ignore_index=True), skipped


def _skip_silent(panel: Panel, gap_days: int) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Pools that get no forecast with the reason, and which rows of the panel go on."""
    last = last_observed(panel.values["apy"])
    silent = panel.n_days - 1 - last
    is_kept = (last >= 0) & (silent <= gap_days)
    rows = []
    for row in np.flatnonzero(~is_kept):
        if last[row] < 0:
            rows.append(
                (panel.pool_ids[row], "NO_DATA", f"no APY observed in the {panel.n_days} days to {panel.last_day}")
            )
        else:
            seen = panel.last_day - timedelta(days=int(silent[row]))
            rows.append(
                (panel.pool_ids[row], "STALE", f"last observed {seen}, {silent[row]} days ago; the limit is {gap_days}")
            )
    return pd.DataFrame(rows, columns=list(SKIPPED_COLUMNS), dtype=object), is_kept


def _forecast_target(values: Matrix, target: str, horizon: int, as_of: date, apy_max: float) -> pd.DataFrame:
    """Rows of one target and horizon, one per series; those that never showed the target have n_obs 0."""
    model = choose_model(target, horizon)
    upper = np.inf if target == "tvl_usd" else apy_max
    level, quantiles = _fit(model, values, horizon)
    mean, p10, p50, p90 = (np.clip(np.expm1(row), 0.0, upper) for row in (level, *quantiles))
    n_obs = np.sum(~np.isnan(values), axis=1)
    is_short = n_obs < MIN_OBSERVATIONS
    return pd.DataFrame(
        {
            "as_of": as_of,
            "horizon_days": horizon,
            "target": target,
            "mean": mean,
            "p10": p10,
            "p50": p50,
            "p90": p90,
            "model": np.where(is_short, LAST_VALUE.name, model.name),
            "model_version": np.where(is_short, LAST_VALUE.version, model.version),
            "trained_from": _days(first_observed(values), values.shape[1], as_of),
            "trained_to": _days(last_observed(values), values.shape[1], as_of),
            "n_obs": n_obs,
            "fallback_reason": ["SHORT_HISTORY" if short else None for short in is_short],
        }
    )


def _fit(model: Model, values: Matrix, horizon: int) -> tuple[Matrix, Matrix]:
    """Forecast and its three quantiles on the log1p scale. One observation is its own forecast in every model."""
    return forecast_with_quantiles(model, np.log1p(values), np.log1p(horizon_means(values, horizon)), horizon)


def _days(columns: NDArray[np.int64], n_days: int, as_of: date) -> list[date]:
    return [as_of - timedelta(days=int(n_days - 1 - column)) for column in columns]
