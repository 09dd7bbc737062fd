"""What every candidate says now and would have said at past origins.

Lives here: running all models over one panel into backtests. Not here: the models themselves (models.py, pooled.py,
costly.py), the shape of the evidence (backtests.py), its judgement (evaluation.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting import pooled
from defiyield_assets.domain.forecasting.backtests import Backtest, weekly_origins
from defiyield_assets.domain.forecasting.cache import ForecastCache
from defiyield_assets.domain.forecasting.costly import COSTLY_MODELS, forecast_now
from defiyield_assets.domain.forecasting.intervals import horizon_means
from defiyield_assets.domain.forecasting.models import (
    CHEAP_MODELS,
    COMBINATION,
    Matrix,
    Origins,
    carried,
    from_scale,
    smoothed,
    to_scale,
)
from defiyield_assets.domain.forecasting.panel import TARGETS, day_number

POOLED_TARGETS = ("apy", "apy_base")
"""What the pooled model forecasts, trained on the first; rewards move in steps and size is close to a random walk."""
SCALE_ALPHA = 0.1
SCALE_FLOOR = 1e-6
"""Least local volatility on the model scale, so that dividing by it is defined for constant series."""
LEAST_SIZE_USD = 1.0
COSTLY_NAMES = frozenset(model.name for model in COSTLY_MODELS)


@dataclass(frozen=True)
class CandidateInputs:
    """One panel as the candidates see it: `fitted` values by target as models may see them, `actual` ones as scored.

    Matrices (pools, days), rows in the order of `pool_ids`, the last column is `as_of`; fractions and USD.
    """

    pool_ids: Sequence[str]
    as_of: date
    fitted: Mapping[str, Matrix]
    actual: Mapping[str, Matrix]
    apy_max: float
    horizons: tuple[int, ...]

    @property
    def versions(self) -> dict[str, str]:
        """Version by model."""
        cheap = {model.name: model.version for model in CHEAP_MODELS}
        costly = {model.name: model.version for model in COSTLY_MODELS}
        return cheap | costly | {pooled.POOLED: pooled.version(), pooled.BLEND: pooled.version()}


def backtests_of(inputs: CandidateInputs, costly: pd.DataFrame | None, cache: ForecastCache) -> Iterator[Backtest]:
    """The evidence of every target and horizon, target by target.

    `costly` are rows of `costly_candidates`; those made at one of the origins or at the as-of day count.
    """
    n_days = inputs.fitted["apy"].shape[1]
    last_day = day_number(inputs.as_of)
    origins = weekly_origins(last_day, n_days)
    columns = np.append(origins, n_days - 1)
    scaled_values = {target: to_scale(target, inputs.fitted[target]) for target in TARGETS}
    boosted = _pooled(inputs, scaled_values, columns, last_day, cache)
    for target, scaled in scaled_values.items():
        change = np.abs(np.diff(carried(scaled), prepend=np.nan, axis=1))
        scales = np.maximum(np.nan_to_num(smoothed(change, SCALE_ALPHA)[:, columns]), SCALE_FLOOR)
        never_paid = (np.fmax.accumulate(scaled, axis=1) <= 0.0)[:, columns]
        flat = {model.name: model.forecast(scaled, columns) for model in CHEAP_MODELS}
        for horizon in inputs.horizons:
            models = dict(flat)
            if target in boosted:
                models |= _with_blend(flat[COMBINATION.name], boosted[target][horizon])
            # Peers must not lend their level to a series that was never above zero.
            values = {
                name: _bounded(target, np.where(never_paid & ~np.isnan(forecast), 0.0, forecast), inputs.apy_max)
                for name, forecast in models.items()
            }
            values |= _costly_forecasts(inputs, costly, target, horizon, columns)
            yield Backtest(
                target=target,
                horizon_days=horizon,
                origins=origins,
                forecasts={name: forecast[:, :-1] for name, forecast in values.items()},
                actual=horizon_means(inputs.actual[target], horizon)[:, origins],
                scales=scales[:, :-1],
                now={name: forecast[:, -1] for name, forecast in values.items() if _is_asked(name, forecast)},
                scale_now=scales[:, -1],
            )


def fit_costly_champions(
    backtest: Backtest,
    champions: NDArray[np.object_],
    inputs: CandidateInputs,
    cache: ForecastCache,
) -> Backtest:
    """The same evidence with the forecasts of today of those costly models that are champions but have none yet.

    They are evaluated once a week; in between only champions are fitted. Returns `backtest` itself when nothing is
    missing. A champion whose fit fails has no value, so that the next choice passes it over.
    """
    now = dict(backtest.now)
    for name in sorted({str(model) for model in champions} - set(now)):
        rows = np.flatnonzero(champions == name)
        values = inputs.fitted[backtest.target][rows]
        means, _ = forecast_now(values, backtest.target, name, inputs.horizons, cache)
        now[name] = np.full(len(champions), np.nan)
        now[name][rows] = np.minimum(means[:, inputs.horizons.index(backtest.horizon_days)], inputs.apy_max)
    return backtest if len(now) == len(backtest.now) else replace(backtest, now=now)


def _pooled(
    inputs: CandidateInputs, scaled: Mapping[str, Matrix], columns: Origins, last_day: int, cache: ForecastCache
) -> dict[str, dict[int, Matrix]]:
    """Pooled forecasts by target and horizon on the model scale."""
    total, reward = inputs.fitted["apy"], inputs.fitted["apy_reward"]
    share = np.divide(reward, total, out=np.zeros_like(total), where=total > 0.0)
    seen = pooled.Inputs(
        targets={target: scaled[target] for target in POOLED_TARGETS},
        reward_share=np.where(np.isnan(total), np.nan, share),
        log_size=np.log(np.maximum(inputs.fitted["tvl_usd"], LEAST_SIZE_USD)),
    )
    return pooled.pooled_forecasts(seen, columns, inputs.horizons, last_day, cache)


def _is_asked(model: str, forecast: Matrix) -> bool:
    """Whether the model was asked about the as-of day: a costly one is asked about all its pools only once a week."""
    return model not in COSTLY_NAMES or not np.isnan(forecast[:, -1]).all()


def _with_blend(combination: Matrix, boosted: Matrix) -> dict[str, Matrix]:
    return {pooled.POOLED: boosted, pooled.BLEND: (combination + boosted) / 2.0}


def _bounded(target: str, scaled: Matrix, apy_max: float) -> Matrix:
    return np.clip(from_scale(target, scaled), 0.0, np.inf if target == "tvl_usd" else apy_max)


def _costly_forecasts(
    inputs: CandidateInputs, costly: pd.DataFrame | None, target: str, horizon: int, columns: Origins
) -> dict[str, Matrix]:
    """Rows of `costly_candidates` as matrices (pools, columns) by model."""
    if costly is None or costly.empty:
        return {}
    rows = costly.loc[(costly["target"] == target) & (costly["horizon_days"] == horizon) & costly["mean"].notna()]
    row_of = {pool_id: row for row, pool_id in enumerate(inputs.pool_ids)}
    newest = inputs.fitted[target].shape[1] - 1
    position_of = {inputs.as_of - timedelta(days=int(newest - column)): at for at, column in enumerate(columns)}
    upper = np.inf if target == "tvl_usd" else inputs.apy_max
    matrices: dict[str, Matrix] = {}
    for model, of_model in rows.groupby("model", sort=True):
        known = of_model.loc[of_model["pool_id"].isin(row_of) & of_model["origin"].isin(position_of)]
        matrix = np.full((len(row_of), len(columns)), np.nan)
        at = (known["pool_id"].map(row_of).to_numpy(np.int64), known["origin"].map(position_of).to_numpy(np.int64))
        matrix[at] = np.clip(known["mean"].to_numpy(np.float64), 0.0, upper)
        matrices[str(model)] = matrix
    return matrices
