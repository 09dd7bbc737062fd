"""Forecasts of the daily mean gas price and base fee, as rows of `gas_forecasts`.

Lives here: the gas rows and what is said when history is short. Not here: models (models.py), hourly and daily fees
(domain/gas/fees.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
import pandas as pd

from defiyield_assets.domain.forecasting.intervals import (
    BURN_IN_DAYS,
    MIN_ERRORS,
    forecast_with_quantiles,
    horizon_means,
)
from defiyield_assets.domain.forecasting.models import Matrix, choose_model
from defiyield_assets.domain.forecasting.panel import day_number, day_numbers, first_observed, last_observed
from defiyield_assets.domain.gas.sources import prevailing_fees

GAS_HORIZONS = (1, 7, 30)
GAS_TRAINING_DAYS = 365
"""Older days are ignored: gas of another year is another market."""
FLOOR_GWEI = 1e-6
"""Smallest price that the logarithm is taken of."""
GAP_DAYS = 3
"""A series silent for longer gets no forecast."""
USUAL_LOG_ERRORS: Mapping[int, tuple[float, float, float]] = MappingProxyType(
    {1: (-0.37, -0.02, 0.39), 7: (-0.34, 0.01, 0.42), 30: (-0.42, 0.03, 0.48)}
)
"""10 %, 50 % and 90 % quantile of the logarithmic error by horizon, used while history is too short for its own.

Source: measured with the models of GAS_CHOICE on the recorded daily gas price, 2021-08-05 to 2025-10-24 (the 1-day
figures are those of the last value).
"""

GAS_FORECAST_COLUMNS = (
    "as_of",
    "kind",
    "horizon_days",
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
)


def forecast_gas(gas_daily: pd.DataFrame, as_of: date, horizons: Sequence[int] = GAS_HORIZONS) -> pd.DataFrame:
    """Forecast the daily mean in gwei over each horizon, for each kind (base_fee, gas_price) that has a recent day.

    `gas_daily` are rows of `gas_fees_daily`; rows after `as_of` are never read; one day of history is enough. A kind
    silent for more than GAP_DAYS has no rows. Returns the rows of `gas_forecasts`.
    """
    rows = [
        _forecast_kind(values, kind, horizon, as_of)
        for kind, values in gas_series(gas_daily, as_of, GAS_TRAINING_DAYS).items()
        if GAS_TRAINING_DAYS - 1 - last_observed(values)[0] <= GAP_DAYS
        for horizon in sorted(set(horizons))
    ]
    return pd.DataFrame(rows, columns=list(GAS_FORECAST_COLUMNS))


def gas_series(gas_daily: pd.DataFrame, last_day: date, n_days: int) -> dict[str, Matrix]:
    """Daily mean in gwei of each kind by name, shape (1, n_days), the last column being `last_day`; NaN where unknown.

    On a day of which two sources tell, the prevailing one counts (domain/gas/sources.py).
    """
    gas_daily = prevailing_fees(gas_daily)
    position = day_numbers(gas_daily["date"]) - day_number(last_day) + n_days - 1
    rows = gas_daily.assign(position=position)
    rows = rows.loc[(position >= 0) & (position < n_days) & gas_daily["mean_gwei"].notna()]
    rows = rows.sort_values(["kind", "position"])
    series: dict[str, Matrix] = {}
    for kind, days in rows.groupby("kind", sort=True):
        values = np.full((1, n_days), np.nan)
        values[0, days["position"].to_numpy(dtype=np.int64)] = days["mean_gwei"].to_numpy(dtype=np.float64)
        series[str(kind)] = values
    return series


def _forecast_kind(values: Matrix, kind: str, horizon: int, as_of: date) -> dict[str, object]:
    """One row; `values` in gwei, shape (1, days)."""
    model = choose_model("gas_gwei", horizon)
    scaled = np.log(np.maximum(values, FLOOR_GWEI))
    actual = np.log(np.maximum(horizon_means(values, horizon), FLOOR_GWEI))
    level, quantiles = forecast_with_quantiles(model, scaled, actual, horizon)
    n_obs = int(np.sum(~np.isnan(values)))
    is_short = n_obs < BURN_IN_DAYS + MIN_ERRORS + horizon
    if is_short:
        nearest = max((known for known in USUAL_LOG_ERRORS if known <= horizon), default=min(USUAL_LOG_ERRORS))
        quantiles = level + np.array(USUAL_LOG_ERRORS[nearest])[:, None]
    first, last = first_observed(values)[0], last_observed(values)[0]
    p10, p50, p90 = (float(value) for value in np.exp(quantiles[:, 0]))
    return {
        "as_of": as_of,
        "kind": kind,
        "horizon_days": horizon,
        "mean": float(np.exp(level[0])),
        "p10": p10,
        "p50": p50,
        "p90": p90,
        "model": model.name,
        "model_version": model.version,
        "trained_from": as_of - timedelta(days=int(values.shape[1] - 1 - first)),
        "trained_to": as_of - timedelta(days=int(values.shape[1] - 1 - last)),
        "n_obs": n_obs,
        "fallback_reason": "SHORT_HISTORY" if is_short else None,
    }
