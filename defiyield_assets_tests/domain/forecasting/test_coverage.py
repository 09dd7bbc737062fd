"""Bands of the baseline models on recorded panels: every week a band from the past alone, scored by what came.

Lives here: coverage overall, by risk group, target and horizon. Not here: the rules of a band (test_intervals.py) or
the whole procedure with its champions (benchmarks/forecasting.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.forecasting_panels import Panel as RecordedPanel
from benchmarks.forecasting_panels import aave_panel, dex_panel, lending_panel
from defiyield_assets.domain.forecasting.backtests import Backtest, weekly_origins
from defiyield_assets.domain.forecasting.intervals import bands_of_models, horizon_means
from defiyield_assets.domain.forecasting.models import MODELS, Matrix, carried, from_scale, smoothed, to_scale
from defiyield_assets.domain.forecasting.panel import (
    TARGETS,
    bound_for_fitting,
    build_panel,
    day_number,
    last_observed,
)
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools import windows
from defiyield_assets.domain.pools.groups import assign_groups

HORIZONS = (1, 7, 30)
BASELINES = {"apy": "combination", "apy_base": "combination", "apy_reward": "last_value", "tvl_usd": "last_value"}
TRAINING_DAYS = 365
GAP_DAYS = 3
PARAMETERS = Parameters()

pytestmark = pytest.mark.recorded


@dataclass(frozen=True)
class Prepared:
    """A panel over all its days: what is scored, what is forecast from it, and the risk groups of every day."""

    origins: list[int]
    last_day: int
    actual: dict[str, Matrix]
    forecasts: dict[str, Matrix]
    scales: dict[str, Matrix]
    groups: np.ndarray
    silent_days: np.ndarray


def prepare(recorded: RecordedPanel) -> Prepared:
    """Every model here is causal (test_models.py), so that one pass over all days gives the forecast of each."""
    days = recorded.histories["date"]
    last_day = max(days)
    panel = build_panel(recorded.histories, last_day, (last_day - min(days)).days + 1)
    raw = panel.values["apy"]
    apy = windows.winsorised(
        raw, PARAMETERS.spike_median_multiple, PARAMETERS.spike_robust_z, PARAMETERS.apy_plausible_max
    )
    fitted = bound_for_fitting(panel.replace(apy=apy), PARAMETERS.apy_plausible_max)
    columns = np.arange(panel.n_days)
    forecasts, scales = {}, {}
    for target, values in fitted.items():
        scaled = to_scale(target, values)
        forecasts[target] = np.maximum(from_scale(target, MODELS[BASELINES[target]].forecast(scaled, columns)), 0.0)
        change = np.abs(np.diff(carried(scaled), prepend=np.nan, axis=1))
        scales[target] = np.maximum(np.nan_to_num(smoothed(change, 0.1)), 1e-6)
    newest = np.stack([last_observed(raw[:, : day + 1]) for day in range(panel.n_days)], axis=1)
    return Prepared(
        origins=[panel.n_days - 1 - (last_day - day).days for day in recorded.origins],
        last_day=day_number(last_day),
        actual={target: np.clip(panel.values[target], 0.0, None) for target in TARGETS},
        forecasts=forecasts,
        scales=scales,
        groups=_groups(apy),
        silent_days=np.where(newest >= 0, columns - newest, GAP_DAYS + 1),
    )


def _groups(apy: Matrix) -> np.ndarray:
    metrics = pd.DataFrame(
        {
            "date": np.tile(np.arange(apy.shape[1]), len(apy)),
            "pool_id": np.repeat(np.arange(len(apy)), apy.shape[1]),
            "apy_change_1d": (apy - windows.before(apy)).ravel(),
            "apy_std_7d": windows.deviation(apy, 7).ravel(),
            "apy_std_30d": windows.deviation(apy, 30).ravel(),
            "observed_days": windows.counted(np.isfinite(apy), 30).ravel(),
            "is_hindsight": False,
        }
    )
    return assign_groups(metrics).pivot_table(index="pool_id", columns="date", values="pool_group").to_numpy(dtype=int)


def scored_bands(panel: Prepared) -> Iterator[pd.DataFrame]:
    """p10, p90 and actual of every series, target and horizon that was forecast, origin by origin."""
    n_days = panel.silent_days.shape[1]
    for target in TARGETS:
        means = {horizon: horizon_means(panel.actual[target], horizon) for horizon in HORIZONS}
        for horizon in HORIZONS:
            for day in panel.origins:
                rows = panel.silent_days[:, day] <= GAP_DAYS
                columns = weekly_origins(panel.last_day - (n_days - 1 - day), day + 1)
                columns = columns[columns > day - TRAINING_DAYS]
                past = means[horizon][rows][:, columns]
                past[:, columns + horizon > day] = np.nan
                backtest = Backtest(
                    target,
                    horizon,
                    columns,
                    {"model": panel.forecasts[target][rows][:, columns]},
                    past,
                    panel.scales[target][rows][:, columns],
                    {"model": panel.forecasts[target][rows, day]},
                    panel.scales[target][rows, day],
                )
                groups = panel.groups[rows, day]
                upper = np.inf if target == "tvl_usd" else PARAMETERS.apy_plausible_max
                p10, p50, p90 = bands_of_models(backtest, groups, ["model"], upper=upper)["model"]
                yield pd.DataFrame(
                    {
                        "target": target,
                        "horizon_days": horizon,
                        "pool_group": groups,
                        "p10": p10,
                        "p50": p50,
                        "p90": p90,
                        "actual": means[horizon][rows, day],
                    }
                )


def coverage(recorded: RecordedPanel) -> pd.DataFrame:
    """The forecasts that count: the actual value above 0 and the band of some width; `is_covered` of each."""
    rows = pd.concat(scored_bands(prepare(recorded)), ignore_index=True).dropna()
    assert ((rows["p10"] <= rows["p50"]) & (rows["p50"] <= rows["p90"])).all()
    rows = rows.loc[(rows["actual"] > 0) & (rows["p10"] < rows["p90"])]
    return rows.assign(is_covered=(rows["p10"] <= rows["actual"]) & (rows["actual"] <= rows["p90"]))


@pytest.fixture(scope="module")
def lending_coverage(recorded_data: Path) -> pd.DataFrame:
    return coverage(lending_panel(recorded_data))


@pytest.fixture(scope="module")
def dex_coverage(recorded_data: Path) -> pd.DataFrame:
    return coverage(dex_panel(recorded_data))


def test_lending_bands_cover_four_fifths(lending_coverage: pd.DataFrame) -> None:
    assert len(lending_coverage) > 13_000
    assert 0.78 <= lending_coverage["is_covered"].mean() <= 0.82


def test_stable_dex_bands_cover_four_fifths(dex_coverage: pd.DataFrame) -> None:
    assert len(dex_coverage) > 7_000
    assert 0.78 <= dex_coverage["is_covered"].mean() <= 0.82


@pytest.mark.parametrize("by", ["pool_group", "target", "horizon_days"])
def test_no_risk_group_target_or_horizon_is_left_out(
    by: str, lending_coverage: pd.DataFrame, dex_coverage: pd.DataFrame
) -> None:
    for rows in (lending_coverage, dex_coverage):
        shares = rows.groupby(by)["is_covered"].mean()
        assert shares.between(0.70, 0.90).all(), shares


def test_five_reserves_that_move_together_are_covered_within_what_so_few_can_tell(recorded_data: Path) -> None:
    rows = coverage(aave_panel(recorded_data))
    rates = rows.loc[rows["target"] == "apy", "is_covered"]
    assert 0.72 <= rates.mean() <= 0.88
