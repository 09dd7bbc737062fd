"""What forecasts were worth once their horizon is over, as rows of `forecast_scores`.

Lives here: the join of every candidate's vintages with what happened. Not here: making forecasts (pools.py, gas.py),
the evidence before them (evaluation.py), what the scores add up to (scoreboard.py) or lead to (demotion.py).
"""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.gas import gas_series
from defiyield_assets.domain.forecasting.intervals import QUANTILES
from defiyield_assets.domain.forecasting.models import Matrix
from defiyield_assets.domain.forecasting.panel import build_panel, day_number, day_numbers, last_observed

NAIVE_LOOKBACK_DAYS = 30
"""How far before a vintage its last known value is looked for."""
MASE_DAYS = 90
"""Days before a vintage whose one-day changes say how much the series usually moves."""
LOOKBACK_DAYS = MASE_DAYS + 1
"""Days that a vintage needs up to and including its own for the naive value and the usual change."""
GAS_POOL_ID = "GAS"
"""What stands in the column pool_id for gas."""

SCORE_COLUMNS = (
    "date",
    "pool_id",
    "horizon_days",
    "target",
    "model",
    "as_of",
    "is_champion",
    "forecast",
    "actual",
    "naive",
    "absolute_error",
    "naive_absolute_error",
    "error",
    "is_covered",
    "has_band",
    "pinball_loss",
    "mase_scale",
)


def score_forecasts(candidates_due: pd.DataFrame, histories: pd.DataFrame, day: date) -> pd.DataFrame:
    """Scores of the pool forecasts whose horizon ends on `day` (as_of + horizon_days = day); others are left out.

    `candidates_due` are rows of `forecast_candidates`: every model's forecast, the champion's marked by is_champion.
    `histories` are the raw values (never winsorised) in the shape of `pool_histories` with is_hindsight, from
    LOOKBACK_DAYS before the oldest vintage. The actual value is the mean of the observed values of as_of+1 … day; the
    naive one is the last value observed by as_of. Without either there is no row.
    """
    due = _due(candidates_due, day)
    if due.empty:
        return _empty()
    longest = int(due["horizon_days"].max())
    panel = build_panel(histories, day, longest + LOOKBACK_DAYS)
    places = pd.Index(panel.pool_ids).get_indexer(pd.Index(due["pool_id"]))
    due = due.assign(series=places).loc[places >= 0]
    parts = [_score(rows, panel.values[target], horizon, day) for target, horizon, rows in _by_series(due, "target")]
    return _collect(parts)


def score_gas_forecasts(candidates_due: pd.DataFrame, gas_daily: pd.DataFrame, day: date) -> pd.DataFrame:
    """Scores of the gas forecasts whose horizon ends on `day`, in the shape of `forecast_scores`.

    `candidates_due` has as_of, kind, horizon_days, model, mean, p10, p50, p90 and is_champion, `gas_daily` are rows of
    `gas_fees_daily`. The pool id is GAS, the target the kind with its unit: base_fee_gwei or gas_price_gwei.
    """
    due = _due(candidates_due, day)
    if due.empty:
        return _empty()
    longest = int(due["horizon_days"].max())
    values = gas_series(gas_daily, day, longest + LOOKBACK_DAYS)
    due = due.assign(pool_id=GAS_POOL_ID, target=due["kind"].astype(str) + "_gwei", series=0)
    parts = [
        _score(rows, values[kind], horizon, day) for kind, horizon, rows in _by_series(due, "kind") if kind in values
    ]
    return _collect(parts)


def pinball_losses(actual: NDArray[np.float64], forecast: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """Pinball (quantile) loss of each forecast: q·(a-f) above, (1-q)·(f-a) below (Koenker & Bassett 1978)."""
    gap = actual - forecast
    return np.maximum(quantile * gap, (quantile - 1.0) * gap)


def one_day_changes(values: Matrix) -> NDArray[np.float64]:
    """Mean absolute change from one day to the next over the last MASE_DAYS changes of each row; NaN without any.

    What the mean absolute scaled error divides by (Hyndman & Koehler 2006). Only pairs of observed neighbours count.
    """
    changes = np.abs(np.diff(values[:, -MASE_DAYS - 1 :], axis=1))
    is_known = ~np.isnan(changes)
    counts = is_known.sum(axis=1)
    sums = np.where(is_known, changes, 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
    return means


def _due(forecasts: pd.DataFrame, day: date) -> pd.DataFrame:
    last_days = day_numbers(forecasts["as_of"]) + forecasts["horizon_days"].to_numpy(dtype=np.int64)
    is_due: NDArray[np.bool_] = last_days == day_number(day)
    return forecasts.loc[is_due]


def _by_series(due: pd.DataFrame, name: str) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """Rows by the column `name` and horizon, in order."""
    for value, of_value in due.groupby(name, sort=True):
        for horizon in sorted(set(of_value["horizon_days"])):
            yield str(value), int(horizon), of_value.loc[of_value["horizon_days"] == horizon]


def _score(rows: pd.DataFrame, values: Matrix, horizon: int, day: date) -> pd.DataFrame:
    """Scores of forecasts of one target and horizon; `rows` name their row of `values`, whose last column is `day`."""
    series = rows["series"].to_numpy(dtype=np.int64)
    before, after = values[:, :-horizon], values[:, -horizon:]
    is_observed = ~np.isnan(after)
    counts = is_observed.sum(axis=1)
    actual = (np.where(is_observed, after, 0.0).sum(axis=1) / np.maximum(counts, 1))[series]
    last = last_observed(before[:, -NAIVE_LOOKBACK_DAYS:])
    naive = before[:, -NAIVE_LOOKBACK_DAYS:][np.arange(len(before)), last][series]
    forecast, *quantiles = (rows[name].to_numpy(dtype=np.float64) for name in ("mean", "p10", "p50", "p90"))
    losses = [pinball_losses(actual, value, share) for value, share in zip(quantiles, QUANTILES, strict=True)]
    scored = pd.DataFrame(
        {
            "date": day,
            "pool_id": rows["pool_id"].to_numpy(dtype=object),
            "horizon_days": horizon,
            "target": rows["target"].to_numpy(dtype=object),
            "model": rows["model"].to_numpy(dtype=object),
            "as_of": rows["as_of"].to_numpy(dtype=object),
            "is_champion": rows["is_champion"].to_numpy(dtype=np.bool_),
            "forecast": forecast,
            "actual": actual,
            "naive": naive,
            "absolute_error": np.abs(forecast - actual),
            "naive_absolute_error": np.abs(naive - actual),
            "error": forecast - actual,
            "is_covered": (quantiles[0] <= actual) & (actual <= quantiles[-1]),
            "has_band": (actual > 0.0) & (quantiles[0] < quantiles[-1]),
            "pinball_loss": np.mean(losses, axis=0),
            "mase_scale": one_day_changes(before)[series],
        }
    )
    is_scored: NDArray[np.bool_] = ((counts > 0) & (last >= 0))[series]
    return scored.loc[is_scored]


def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=list(SCORE_COLUMNS), dtype=object)


def _collect(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not any(len(part) for part in parts):
        return _empty()
    scores = pd.concat([part for part in parts if len(part)])
    return scores.sort_values(["date", "pool_id", "horizon_days", "target", "model"], ignore_index=True)
