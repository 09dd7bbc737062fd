"""What scored forecasts say: errors relative to the last value, their uncertainty by weeks, coverage of bands.

Lives here: the arithmetic over scored cells, one row per (origin, pool_id, target, horizon_days, model) with forecast,
p10, p50, p90, actual and naive (the last raw value). Not here: making them (forecasting_replay.py) or printing
(forecasting_tables.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FROZEN = "frozen procedure"
"""Name under which the champions' forecasts stand beside the candidates."""
NAIVE = "naive"
"""The last raw value, to which every error is compared; the candidate last_value reads winsorised values instead."""
CELL = ["origin", "pool_id"]
RESAMPLES = 4_000
INTERVAL = (0.025, 0.975)
SEED = 20241001


@dataclass(frozen=True)
class Accuracy:
    """A model against the last value on the cells that both have; errors in the unit of the target."""

    model: str
    n_forecasts: int
    mae: float
    ratio: float
    low: float
    high: float
    median_ratio: float
    share_beaten: float


@dataclass(frozen=True)
class Difference:
    """Ratio of one model minus that of another, both to the last value on identical cells, with its 95 % interval."""

    reference: str
    difference: float
    low: float
    high: float


def accuracy(cells: pd.DataFrame, model: str, horizon_days: int) -> Accuracy:
    """Of one target and horizon; the interval of the ratio is bootstrapped by weeks.

    `median_ratio` is the median over series of each series' own ratio, `share_beaten` the share of series whose error
    is below that of the last value; series on which the last value never errs count in neither.
    """
    errors = paired_errors(cells, (model, NAIVE))
    totals = _weekly_totals(errors, (model, NAIVE))
    draws = block_bootstrap(totals, block_weeks(horizon_days))
    low, high = np.quantile(draws[:, 0] / draws[:, 1], INTERVAL)
    by_series = errors.groupby("pool_id")[sorted({model, NAIVE})].sum()
    by_series = by_series[by_series[NAIVE] > 0]
    ratios = by_series[model] / by_series[NAIVE]
    return Accuracy(
        model=model,
        n_forecasts=len(errors),
        mae=float(errors[model].mean()),
        ratio=float(totals[:, 0].sum() / totals[:, 1].sum()),
        low=float(low),
        high=float(high),
        median_ratio=float(ratios.median()),
        share_beaten=float((ratios < 1.0).mean()),
    )


def difference(cells: pd.DataFrame, model: str, reference: str, horizon_days: int) -> Difference:
    """How much lower the ratio of `model` is than that of `reference`, paired by origin and series."""
    names = (model, reference, NAIVE)
    totals = _weekly_totals(paired_errors(cells, names), names)
    draws = block_bootstrap(totals, block_weeks(horizon_days))
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / draws[:, 2], INTERVAL)
    total = totals.sum(axis=0)
    return Difference(reference, float((total[0] - total[1]) / total[2]), float(low), float(high))


def best_of(cells: pd.DataFrame, models: Sequence[str]) -> str:
    """The model with the lowest ratio to the last value, chosen with hindsight, which favours it."""
    ratios = {}
    for model in models:
        errors = paired_errors(cells, (model, NAIVE))
        ratios[model] = errors[model].sum() / errors[NAIVE].sum()
    return min(ratios, key=lambda name: ratios[name])


def paired_errors(cells: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Absolute errors on the cells where every one of the models has a forecast: origin, pool_id and a column each."""
    known = cells[cells["actual"].notna() & cells["naive"].notna()]
    first = known[[*CELL, "actual", "naive"]].drop_duplicates(CELL)
    errors = first[CELL].assign(**{NAIVE: (first["naive"] - first["actual"]).abs()})
    for model in models:
        if model != NAIVE:
            own = known[(known["model"] == model) & known["forecast"].notna()]
            own = own[CELL].assign(**{model: (own["forecast"] - own["actual"]).abs()})
            errors = errors.merge(own, on=CELL, validate="one_to_one")
    return errors


def block_weeks(horizon_days: int) -> int:
    """Weeks that are drawn together: enough that windows of different blocks do not overlap."""
    return -(-horizon_days // 7)


def block_bootstrap(
    totals: NDArray[np.float64], block: int, resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """Totals over resampled weeks: `totals` has a row per week, the result one per resample, columns stay together.

    Circular block bootstrap (Politis & Romano 1992): blocks of consecutive weeks from random starts, the last one cut,
    so that each resample has as many weeks as there were.
    """
    n_weeks = len(totals)
    starts = np.random.default_rng(seed).integers(0, n_weeks, (resamples, -(-n_weeks // block)))
    weeks = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :n_weeks] % n_weeks
    drawn: NDArray[np.float64] = totals[weeks].sum(axis=1)
    return drawn


@dataclass(frozen=True)
class Coverage:
    """Share of actual values inside their 80 % band, of those above 0 whose band is not a point."""

    n_forecasts: int
    share: float
    mean_width: float


def coverage(rows: pd.DataFrame) -> Coverage:
    """Of forecasts whose horizon is over; an empty selection has share NaN."""
    counted = rows[(rows["actual"] > 0) & (rows["p10"] < rows["p90"])]
    is_inside = (counted["p10"] <= counted["actual"]) & (counted["actual"] <= counted["p90"])
    return Coverage(len(counted), float(is_inside.mean()), float((counted["p90"] - counted["p10"]).mean()))


def crossings(rows: pd.DataFrame) -> int:
    """Forecasts whose quantiles are not in order."""
    return int((~((rows["p10"] <= rows["p50"]) & (rows["p50"] <= rows["p90"]))).sum())


def _weekly_totals(errors: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Sums of the named error columns by origin, one row per week in order of time."""
    by_week = errors.groupby("origin")
    return np.stack([by_week[name].sum().to_numpy(dtype=np.float64) for name in names], axis=1)
