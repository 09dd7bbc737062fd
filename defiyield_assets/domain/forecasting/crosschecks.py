"""What must be true of forecasts that were made, and what their scores should look like.

Lives here: pure rules over stored rows. Not here: the checks that apply them (orchestration/checks/forecasting.py).
"""

from collections.abc import Collection
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.demotion import ROUNDING
from defiyield_assets.domain.forecasting.pools import SKIPPED_COLUMNS, forecastable
from defiyield_assets.domain.forecasting.scoreboard import CHAMPION
from defiyield_assets.domain.policy import Parameters

LEAST_SCORES = 200
"""With fewer forecasts scored, coverage and skill say little."""
COVERAGE_LIMITS = (0.70, 0.90)
"""What an 80 % band may really hold."""


def crossing_quantiles(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Rows whose figures are not finite, below zero or out of order: p10 <= p50 <= p90 must hold.

    `forecasts` has mean, p10, p50 and p90.
    """
    figures = forecasts[["mean", "p10", "p50", "p90"]].to_numpy(dtype=np.float64)
    is_sound = np.isfinite(figures).all(axis=1) & (figures >= 0.0).all(axis=1)
    is_ordered = (figures[:, 1] <= figures[:, 2]) & (figures[:, 2] <= figures[:, 3])
    is_broken: NDArray[np.bool_] = ~(is_sound & is_ordered)
    return forecasts.loc[is_broken]


def missing_forecasts(
    absent: Collection[str], histories: pd.DataFrame, day: date, parameters: Parameters
) -> tuple[list[str], pd.DataFrame]:
    """Of the followed pools that have no forecast: those that should have one, and the others with their reason.

    `histories` are those of the absent pools as for `forecast_pools`; a pool without any point is NO_DATA.
    """
    panel, skipped = forecastable(histories[histories["pool_id"].isin(set(absent))], day, parameters)
    known = {*panel.pool_ids, *skipped["pool_id"]}
    silent = [(pool_id, "NO_DATA", "no point at all is known") for pool_id in sorted(set(absent) - known)]
    unknown = pd.DataFrame(silent, columns=list(SKIPPED_COLUMNS), dtype=object)
    reasons = [frame for frame in (skipped, unknown) if len(frame)] or [unknown]
    return sorted(panel.pool_ids), pd.concat(reasons).sort_values("pool_id", ignore_index=True)


def doubtful_coverage(scoreboard: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Champions' rows of the scoreboard whose 80 % bands hold too little or too much, and how many were judged.

    Rows with fewer than LEAST_SCORES forecasts or without a coverage are not judged.
    """
    judged = _judged(scoreboard, "coverage")
    low, high = COVERAGE_LIMITS
    return judged.loc[~judged["coverage"].astype(float).between(low, high)], len(judged)


def losing_champions(scoreboard: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Champions' rows of the scoreboard that are worse than the last value, and how many were judged."""
    judged = _judged(scoreboard, "skill")
    return judged.loc[judged["skill"].astype(float) < -ROUNDING], len(judged)


def _judged(scoreboard: pd.DataFrame, figure: str) -> pd.DataFrame:
    is_champion = scoreboard["model"] == CHAMPION
    return scoreboard.loc[is_champion & (scoreboard["n_forecasts"] >= LEAST_SCORES) & scoreboard[figure].notna()]
