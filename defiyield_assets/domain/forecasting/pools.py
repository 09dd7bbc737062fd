"""Forecasts of every pool's APY, its parts and its size: all candidates, the champions, the evidence.

Lives here: which pools get a forecast, the way from histories to rows. Not here: the models (models.py, pooled.py,
costly.py), their evidence (candidates.py), who wins (evaluation.py), bands (intervals.py), what forecasts were worth
(scores.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.backtests import Backtest
from defiyield_assets.domain.forecasting.cache import ForecastCache, MemoryCache
from defiyield_assets.domain.forecasting.candidates import (
    COSTLY_NAMES,
    CandidateInputs,
    backtests_of,
    fit_costly_champions,
)
from defiyield_assets.domain.forecasting.evaluation import (
    EVIDENCE_COLUMNS,
    POOL_BELOW_DAYS,
    Champions,
    choose_champions,
)
from defiyield_assets.domain.forecasting.intervals import bands
from defiyield_assets.domain.forecasting.models import COMBINATION, LAST_VALUE, Matrix
from defiyield_assets.domain.forecasting.panel import (
    Panel,
    bound_for_fitting,
    build_panel,
    first_observed,
    last_observed,
)
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools.windows import winsorised

HORIZONS = (1, 7, 30)
TRAINING_DAYS = 490
"""Older points are ignored, so that a forecast does not depend on how much more history the caller happened to read.

26 weekly origins, the 28 days between two trainings of the pooled model, the 240 days that one training reads, and the
30 days before these that the spike threshold rests on; rounded up.
"""
MIN_OBSERVATIONS = 7
"""With fewer observed days the last value stands (SHORT_HISTORY)."""
SHORT_HISTORY = "SHORT_HISTORY"
NOT_TRAINED = "NOT_TRAINED"
"""The baseline is a pooled model that has too little to be trained on, or failed: the first resort stands."""
UNRATED = 4
"""Risk group of a pool that has none."""
APY_BASELINES = ((1, "pooled"), (7, "blend"), (30, "combination"))
"""Who stands for total and base APY from this horizon on, in days, until somebody else has earned the place.

Source: ratio to the last value's error at 1, 7, 30 days in rolling origins over the recorded panels of lending, Aave v2
and stable DEX pools: pooled 0.90, 0.86, 0.95; 0.75, 0.62, 0.68; 0.36, 0.39, 0.46. Blend 0.94, 0.86, 0.88; 0.79, 0.57,
0.61; 0.36, 0.40, 0.45. Combination 1.02, 0.87, 0.84; 0.85, 0.56, 0.56; 0.37, 0.40, 0.47.
"""
BASELINES: Mapping[str, Sequence[tuple[int, str]]] = {
    "apy": APY_BASELINES,
    "apy_base": APY_BASELINES,
    "apy_reward": ((1, LAST_VALUE.name),),
    "tvl_usd": ((1, LAST_VALUE.name),),
}
"""By target. Rewards move in steps and size is close to a random walk: the last value stands."""
FIRST_RESORT = COMBINATION.name
"""Who stands where the baseline has nothing to say yet: the pooled model needs some weeks of several pools."""

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
    "tier",
    "trained_from",
    "trained_to",
    "n_obs",
    "fallback_reason",
    "is_hindsight",
)
CANDIDATE_COLUMNS = (
    "pool_id",
    "as_of",
    "horizon_days",
    "target",
    "model",
    "model_version",
    "mean",
    "p10",
    "p50",
    "p90",
    "is_champion",
)
SKIPPED_COLUMNS = ("pool_id", "reason_code", "reason")


@dataclass(frozen=True)
class PoolForecasts:
    """What one as-of day yields.

    `forecasts` are rows of `pool_forecasts` (one per pool, target and horizon), `candidates` of `forecast_candidates`
    (every model that has a value), `evidence` of `forecast_evaluations`; `skipped` has pool_id, reason_code, reason.
    """

    forecasts: pd.DataFrame
    candidates: pd.DataFrame
    evidence: pd.DataFrame
    skipped: pd.DataFrame


def forecast_pools(
    histories: pd.DataFrame,
    as_of: date,
    parameters: Parameters,
    groups: Mapping[str, int],
    *,
    costly: pd.DataFrame | None = None,
    demoted: Collection[tuple[str, str, int, str]] = (),
    cache: ForecastCache | None = None,
    horizons: Sequence[int] = HORIZONS,
) -> PoolForecasts:
    """Forecast the mean of apy, apy_base, apy_reward and tvl_usd over each horizon, for every pool of `histories`.

    `histories` has pool_id, date, apy, apy_base, apy_reward (fractions, as the vendor told them), tvl_usd and
    is_hindsight, one row per pool and day in any order; rows after `as_of` are never read. Models see the values
    winsorised, the evidence is scored on the raw ones up to the plausible maximum. `groups` is the risk group by
    pool, `costly` rows of `costly_candidates`, `demoted` (pool, target, horizon, model) that may not be champion.
    Skipped are STALE (silent for more than `gap_days`) and NO_DATA (no APY at all in the training window). A
    target that is itself silent for so long has no rows. Raises SuspiciousDataError for two rows of one pool and day.
    """
    panel, skipped = forecastable(histories, as_of, parameters)
    inputs = CandidateInputs(
        pool_ids=panel.pool_ids,
        as_of=as_of,
        fitted=values_for_fitting(panel, parameters),
        actual=_plausible(panel, parameters.apy_plausible_max),
        apy_max=parameters.apy_plausible_max,
        horizons=tuple(sorted(set(horizons))),
    )
    circumstances = _Circumstances(
        is_hindsight=panel.is_hindsight,
        risk_groups=np.array([groups.get(pool_id, UNRATED) for pool_id in panel.pool_ids], dtype=np.int64),
        gap_days=parameters.gap_days,
        demoted=frozenset(demoted),
        cache=MemoryCache() if cache is None else cache,
    )
    backtests = backtests_of(inputs, costly, circumstances.cache) if panel.pool_ids else ()
    parts = [_forecast_target(backtest, inputs, circumstances) for backtest in backtests]
    keys = ["pool_id", "as_of", "horizon_days", "target"]
    return PoolForecasts(
        _collect([part[0] for part in parts], POOL_FORECAST_COLUMNS, keys),
        _collect([part[1] for part in parts], CANDIDATE_COLUMNS, [*keys, "model"]),
        _collect(
            [part[2] for part in parts],
            ("as_of", *EVIDENCE_COLUMNS),
            ["target", "horizon_days", "scope", "scope_id", "model"],
        ),
        skipped,
    )


def forecastable(histories: pd.DataFrame, as_of: date, parameters: Parameters) -> tuple[Panel, pd.DataFrame]:
    """The panel of the pools that get a forecast, and the others with pool_id, reason_code and reason."""
    panel = build_panel(histories, as_of, TRAINING_DAYS)
    skipped, is_kept = _skip_silent(panel, parameters.gap_days)
    return panel.only(is_kept), skipped


def values_for_fitting(panel: Panel, parameters: Parameters) -> dict[str, Matrix]:
    """What models may see of the panel by target: without spikes, within bounds."""
    return bound_for_fitting(_without_spikes(panel, parameters), parameters.apy_plausible_max)


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


def _without_spikes(panel: Panel, parameters: Parameters) -> Panel:
    """The panel with total APYs cut at the spike threshold of the 30 days before each."""
    apy = winsorised(
        panel.values["apy"],
        parameters.spike_median_multiple,
        parameters.spike_robust_z,
        parameters.apy_plausible_max,
    )
    return panel.replace(apy=apy)


def _plausible(panel: Panel, apy_max: float) -> dict[str, Matrix]:
    """Raw values between zero and what is believed at all."""
    return {
        target: np.clip(values, 0.0, np.inf if target == "tvl_usd" else apy_max)
        for target, values in panel.values.items()
    }


@dataclass(frozen=True)
class _Circumstances:
    """What is known of the pools beside their values, row by row, and where fits are kept."""

    is_hindsight: NDArray[np.bool_]
    risk_groups: NDArray[np.int64]
    gap_days: int
    demoted: frozenset[tuple[str, str, int, str]]
    cache: ForecastCache


def _forecast_target(
    backtest: Backtest, inputs: CandidateInputs, known: _Circumstances
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Forecasts, candidates and evidence of one target and horizon."""
    target, horizon = backtest.target, backtest.horizon_days
    barred = {(pool, model) for pool, what, days, model in known.demoted if (what, days) == (target, horizon)}

    baseline = _baseline(backtest)

    def choose(evidence: Backtest) -> Champions:
        groups = known.risk_groups.tolist()
        return choose_champions(evidence, inputs.pool_ids, groups, baseline, barred=barred, pool_only=COSTLY_NAMES)

    champions = choose(backtest)
    completed = fit_costly_champions(backtest, champions.models, inputs, known.cache)
    if completed is not backtest:
        backtest, champions = completed, choose(completed)
    values = inputs.fitted[target]
    n_obs, newest = np.sum(~np.isnan(values), axis=1), values.shape[1] - 1
    first, last = first_observed(values), last_observed(values)
    models = np.where(n_obs < MIN_OBSERVATIONS, LAST_VALUE.name, champions.models).astype(object)
    rows = _rows_of_models(backtest, inputs, known.risk_groups, newest - last <= known.gap_days)
    is_champion = rows["model"].to_numpy() == models[rows["row"].to_numpy()]
    candidates = rows.assign(as_of=inputs.as_of, horizon_days=horizon, target=target, is_champion=is_champion)
    chosen = candidates.loc[is_champion]
    row = chosen["row"].to_numpy()
    is_short = n_obs[row] < MIN_OBSERVATIONS
    stands_in = (champions.tiers[row] == "baseline") & (models[row] == baseline) & (baseline != _named(backtest))
    fallbacks = champions.fallbacks[row]
    reasons = np.where(pd.isna(fallbacks) & stands_in, NOT_TRAINED, fallbacks)
    forecasts = chosen.assign(
        tier=np.where(is_short, "baseline", champions.tiers[row]),
        trained_from=[inputs.as_of - timedelta(days=int(newest - column)) for column in first[row]],
        trained_to=[inputs.as_of - timedelta(days=int(newest - column)) for column in last[row]],
        n_obs=n_obs[row],
        fallback_reason=np.where(is_short, SHORT_HISTORY, reasons),
        is_hindsight=known.is_hindsight[row],
    )
    evidence = champions.evidence.assign(as_of=inputs.as_of, target=target, horizon_days=horizon)
    if horizon >= POOL_BELOW_DAYS:  # pools do not choose there, and their rows would say so every day
        evidence = evidence.loc[evidence["scope"] != "pool"]
    return forecasts[list(POOL_FORECAST_COLUMNS)], candidates[list(CANDIDATE_COLUMNS)], evidence


def _named(backtest: Backtest) -> str:
    """The baseline of the target with the longest horizon that is not above the one asked for."""
    choice = BASELINES[backtest.target]
    return [model for first, model in choice if first <= max(backtest.horizon_days, choice[0][0])][-1]


def _baseline(backtest: Backtest) -> str:
    """The named baseline, or the first resort where it has no value for anybody."""
    name = _named(backtest)
    return FIRST_RESORT if np.isnan(backtest.now[name]).all() else name


def _rows_of_models(
    backtest: Backtest, inputs: CandidateInputs, risk: NDArray[np.int64], is_fresh: NDArray[np.bool_]
) -> pd.DataFrame:
    """One row per model and fresh series with a value now: row, pool_id, model, model_version, mean, p10, p50, p90.

    A band reaches at least to the mean: a model that is usually off to one side may have all its quantiles there.
    """
    upper = np.inf if backtest.target == "tvl_usd" else inputs.apy_max
    parts = []
    for model, forecast in backtest.now.items():
        quantiles = bands(backtest, [model] * len(risk), risk, upper=upper)
        row = np.flatnonzero(~np.isnan(forecast) & is_fresh)
        mean, (p10, p50, p90) = np.clip(forecast[row], 0.0, upper), quantiles[:, row]
        parts.append(
            pd.DataFrame(
                {
                    "row": row,
                    "pool_id": np.array(inputs.pool_ids, dtype=object)[row],
                    "model": model,
                    "model_version": inputs.versions[model],
                    "mean": mean,
                    "p10": np.minimum(p10, mean),
                    "p50": p50,
                    "p90": np.maximum(p90, mean),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _collect(parts: Sequence[pd.DataFrame], columns: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame(columns=list(columns), dtype=object)
    return pd.concat(parts)[list(columns)].sort_values(list(keys), ignore_index=True)
