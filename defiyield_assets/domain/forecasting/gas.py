"""Forecasts of the daily mean gas price and base fee: rows of `gas_forecasts` and `gas_candidates`.

Lives here: daily series, the choice of the champion, rows. Not here: models (gas_models.py), bands (gas_bands.py), the
hours of a day (gas_hours.py), hourly and daily fees (domain/gas/fees.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.diebold_mariano import p_values
from defiyield_assets.domain.forecasting.gas_bands import (
    ERROR_DAYS,
    bounds_of_every_day,
    has_own_errors,
    log_gwei,
    past_errors,
)
from defiyield_assets.domain.forecasting.gas_models import GAS_BASELINE, GAS_MODELS, gas_series_of
from defiyield_assets.domain.forecasting.models import Matrix
from defiyield_assets.domain.forecasting.panel import day_number, day_numbers, first_observed, last_observed
from defiyield_assets.domain.gas.sources import prevailing_fees

GAS_HORIZONS = (1, 7, 30)
GAS_TRAINING_DAYS = 800
"""Older days are ignored: gas of another year is another market."""
GAP_DAYS = 3
"""A series silent for longer gets no forecast."""
MARGIN = 0.05
"""A challenger must be better than the baseline by this share of its error."""
SIGNIFICANCE = 0.05
MIN_WINDOWS = 8
"""Windows without a common day that the past must hold before a challenger may win."""

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
GAS_CANDIDATE_COLUMNS = (
    "as_of",
    "kind",
    "horizon_days",
    "model",
    "model_version",
    "mean",
    "p10",
    "p50",
    "p90",
    "is_champion",
)


@dataclass(frozen=True)
class _Past:
    """What all candidates said of one kind and horizon on every day; `forecasts` are logs, rows as GAS_MODELS."""

    kind: str
    horizon: int
    values: Matrix
    forecasts: Matrix
    champion: int


def forecast_gas(gas_daily: pd.DataFrame, as_of: date, horizons: Sequence[int] = GAS_HORIZONS) -> pd.DataFrame:
    """Forecast the daily mean in gwei over each horizon, for each kind (base_fee, gas_price) that has a recent day.

    `gas_daily` are rows of `gas_fees_daily`; rows after `as_of` are never read; one day of history is enough. A kind
    silent for more than GAP_DAYS has no rows. `mean` is the level that an absolute error is smallest around, so that
    it is the median as well. `fallback_reason` is SHORT_HISTORY while the band rests on the errors usual for gas.
    Returns the rows of `gas_forecasts`.
    """
    rows = []
    for past in _pasts(gas_daily, as_of, horizons):
        mean, p10, p90 = _figures(past, [past.champion])[:, 0]
        model = list(GAS_MODELS.values())[past.champion]
        errors = past_errors(past.forecasts[[past.champion]], past.values, past.horizon)
        first, last = first_observed(past.values)[0], last_observed(past.values)[0]
        row = (as_of, past.kind, past.horizon, mean, p10, mean, p90, model.name, model.version)
        trained = [as_of - timedelta(days=int(past.values.shape[1] - 1 - column)) for column in (first, last)]
        n_obs = int(np.sum(~np.isnan(past.values)))
        rows.append((*row, *trained, n_obs, None if has_own_errors(errors)[0] else "SHORT_HISTORY"))
    return pd.DataFrame(rows, columns=list(GAS_FORECAST_COLUMNS))


def gas_candidates(gas_daily: pd.DataFrame, as_of: date, horizons: Sequence[int] = GAS_HORIZONS) -> pd.DataFrame:
    """What every model says where `forecast_gas` says something, with bands from its own errors.

    The champion's row has the figures of `forecast_gas` to the bit. Returns the rows of `gas_candidates`.
    """
    rows = []
    for past in _pasts(gas_daily, as_of, horizons):
        figures = _figures(past, list(range(len(GAS_MODELS))))
        for place, model in enumerate(GAS_MODELS.values()):
            mean, p10, p90 = figures[:, place]
            named = (as_of, past.kind, past.horizon, model.name, model.version)
            rows.append((*named, mean, p10, mean, p90, place == past.champion))
    return pd.DataFrame(rows, columns=list(GAS_CANDIDATE_COLUMNS))


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


def champion_of(forecasts: Matrix, values: Matrix, horizon_days: int) -> int:
    """Row of the model to use: the baseline, or the most accurate challenger that beats it with margin and test.

    `forecasts` are logs of every day by model in the order of GAS_MODELS, `values` gwei, shape (1, days). Judged are
    the absolute log errors of the last ERROR_DAYS origins whose horizon is over: in gwei a year of falling prices
    would be judged by its first months. A challenger needs MIN_WINDOWS windows without a common day, an error lower
    by MARGIN and a Diebold-Mariano p-value below SIGNIFICANCE, all on the days that both have.
    """
    baseline = list(GAS_MODELS).index(GAS_BASELINE.name)
    due = slice(max(0, values.shape[1] - horizon_days - ERROR_DAYS), values.shape[1] - horizon_days)
    losses = np.abs(past_errors(forecasts, values, horizon_days)[:, due])
    gains = losses[baseline] - losses
    is_known = ~np.isnan(gains)
    counts = is_known.sum(axis=1)
    if not counts.any():
        return baseline
    theirs = np.where(is_known, losses, 0.0).sum(axis=1)
    ours = np.where(is_known, losses[baseline], 0.0).sum(axis=1)
    may_win = (counts >= MIN_WINDOWS * horizon_days) & (theirs < (1.0 - MARGIN) * ours)
    may_win &= np.nan_to_num(p_values(gains, horizon_days), nan=1.0) < SIGNIFICANCE
    if not may_win.any():
        return baseline
    return int(np.argmin(np.where(may_win, theirs / np.maximum(counts, 1), np.inf)))


def _pasts(gas_daily: pd.DataFrame, as_of: date, horizons: Sequence[int]) -> list[_Past]:
    """What the candidates said so far, by kind and horizon; kinds that went silent are left out."""
    pasts = []
    for kind, values in gas_series(gas_daily, as_of, GAS_TRAINING_DAYS).items():
        if values.shape[1] - 1 - last_observed(values)[0] > GAP_DAYS:
            continue
        # Days before the first one known add nothing but work.
        known = values[:, first_observed(values)[0] :]
        series = gas_series_of(log_gwei(known)[0], day_number(as_of))
        asked = sorted(set(horizons))
        told = np.stack([model.forecast(series, asked) for model in GAS_MODELS.values()], axis=1)
        for horizon, forecasts in zip(asked, told, strict=True):
            pasts.append(_Past(kind, horizon, known, forecasts, champion_of(forecasts, known, horizon)))
    return pasts


def _figures(past: _Past, models: list[int]) -> NDArray[np.float64]:
    """Mean, p10 and p90 in gwei on the last day, shape (3, models)."""
    chosen = past.forecasts[models]
    bounds = bounds_of_every_day(chosen, past.values, past.horizon)[:, :, -1]
    figures: NDArray[np.float64] = np.exp(np.concatenate([chosen[None, :, -1], bounds]))
    return figures
