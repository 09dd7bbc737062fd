"""What forecasts were worth once their horizon is over, as rows of `forecast_scores`.

Lives here: the join of forecast vintages with what happened. Not here: making forecasts (pools.py, gas.py) or
choosing models by their scores (models.py).
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.gas import gas_series
from defiyield_assets.domain.forecasting.intervals import QUANTILES
from defiyield_assets.domain.forecasting.models import Matrix
from defiyield_assets.domain.forecasting.panel import build_panel, last_observed

NAIVE_LOOKBACK_DAYS = 30
"""How far before a vintage its last known value is looked for."""
GAS_POOL_ID = "GAS"
"""What stands in the column pool_id for gas."""

SCORE_COLUMNS = (
    "date",
    "pool_id",
    "horizon_days",
    "target",
    "as_of",
    "model",
    "forecast",
    "actual",
    "naive",
    "absolute_error",
    "naive_absolute_error",
    "error",
    "is_covered",
    "pinball_loss",
)


def score_forecasts(forecasts_due: pd.DataFrame, histories: pd.DataFrame, day: date) -> pd.DataFrame:
    """Scores of the pool forecasts whose horizon ends on `day` (as_of + horizon_days = day); others are left out.

    `forecasts_due` are rows of `pool_forecasts`, `histories` the raw values (never winsorised) in the shape of
    `pool_histories` with is_hindsight, at least 30 days before the oldest vintage. The actual value is the mean of
    the observed values of as_of+1 … day; the naive one is the last value observed by as_of. Without either there is
    no row.
    """
    due = _due(forecasts_due, day)
    if due.empty:
        return _empty()
    longest = int(due["horizon_days"].max())
    panel = build_panel(histories, day, longest + NAIVE_LOOKBACK_DAYS)
    row_of = {pool_id: row for row, pool_id in enumerate(panel.pool_ids)}
    due = due.loc[due["pool_id"].isin(row_of)]
    parts = []
    for target, horizon, rows in _by_series(due, "target"):
        series = rows["pool_id"].map(row_of).to_numpy(dtype=np.int64)
        parts.append(_score(rows, panel.values[target][series], horizon, day))
    return _collect(parts)


def score_gas_forecasts(forecasts_due: pd.DataFrame, gas_daily: pd.DataFrame, day: date) -> pd.DataFrame:
    """Scores of the gas forecasts whose horizon ends on `day`, in the shape of `forecast_scores`.

    `forecasts_due` are rows of `gas_forecasts`, `gas_daily` of `gas_fees_daily`. The pool id is GAS, the target the
    kind with its unit: base_fee_gwei or gas_price_gwei.
    """
    due = _due(forecasts_due, day)
    if due.empty:
        return _empty()
    longest = int(due["horizon_days"].max())
    series: Mapping[str, Matrix] = gas_series(gas_daily, day, longest + NAIVE_LOOKBACK_DAYS)
    parts = []
    for kind, horizon, rows in _by_series(due, "kind"):
        if kind in series:
            named = rows.assign(pool_id=GAS_POOL_ID, target=f"{kind}_gwei")
            parts.append(_score(named, np.repeat(series[kind], len(named), axis=0), horizon, day))
    return _collect(parts)


def pinball_losses(actual: NDArray[np.float64], forecast: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """Pinball (quantile) loss of each forecast: q·(a-f) above, (1-q)·(f-a) below (Koenker & Bassett 1978)."""
    gap = actual - forecast
    return np.maximum(quantile * gap, (quantile - 1.0) * gap)


def _due(forecasts: pd.DataFrame, day: date) -> pd.DataFrame:
    is_due: list[bool] = [
        as_of + timedelta(days=int(horizon)) == day
        for as_of, horizon in zip(forecasts["as_of"], forecasts["horizon_days"], strict=True)
    ]
    return forecasts.loc[is_due]


def _by_series(due: pd.DataFrame, name: str) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """Rows by the column `name` and horizon, in order."""
    for value, of_value in due.groupby(name, sort=True):
        for horizon in sorted(set(of_value["horizon_days"])):
            yield str(value), int(horizon), of_value.loc[of_value["horizon_days"] == horizon]


def _score(rows: pd.DataFrame, values: Matrix, horizon: int, day: date) -> pd.DataFrame:
    """Scores of forecasts of one target and horizon; `values` has one row per forecast and ends on `day`."""
    before, after = values[:, :-horizon], values[:, -horizon:]
    is_observed = ~np.isnan(after)
    counts = is_observed.sum(axis=1)
    actual = np.where(is_observed, after, 0.0).sum(axis=1) / np.maximum(counts, 1)
    last = last_observed(before)
    naive = before[np.arange(len(before)), last]
    forecast, *quantiles = (rows[name].to_numpy(dtype=np.float64) for name in ("mean", "p10", "p50", "p90"))
    losses = [pinball_losses(actual, value, share) for value, share in zip(quantiles, QUANTILES, strict=True)]
    scored = pd.DataFrame(
        {
            "date": day,
            "pool_id": rows["pool_id"].to_numpy(dtype=object),
            "horizon_days": horizon,
            "target": rows["target"].to_numpy(dtype=object),
            "as_of": rows["as_of"].to_numpy(dtype=object),
            "model": rows["model"].to_numpy(dtype=object),
            "forecast": forecast,
            "actual": actual,
            "naive": naive,
            "absolute_error": np.abs(forecast - actual),
            "naive_absolute_error": np.abs(naive - actual),
            "error": forecast - actual,
            "is_covered": (quantiles[0] <= actual) & (actual <= quantiles[-1]),
            "pinball_loss": np.mean(losses, axis=0),
        }
    )
    is_scored: NDArray[np.bool_] = (counts > 0) & (last >= 0)
    return scored.loc[is_scored]


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=list(SCORE_COLUMNS), dtype=object)


def _collect(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not any(len(part) for part in parts):
        return _empty()
    scores = pd.concat([part for part in parts if len(part)])
    return scores.sort_values(["date", "pool_id", "horizon_days", "target"], ignore_index=True)
