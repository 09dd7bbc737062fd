"""The weekly evaluation of the costly candidates: on which days, on which pools, at which origins.

Lives here: the calendar of these evaluations and the way from histories to their rows. Not here: the models and their
budget (costly.py), what comes of the rows (candidates.py, evaluation.py).
"""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.forecasting.backtests import ORIGIN_EVERY_DAYS, weekly_origins
from defiyield_assets.domain.forecasting.cache import ForecastCache
from defiyield_assets.domain.forecasting.costly import COSTLY_TARGETS, Progress, fit_candidates
from defiyield_assets.domain.forecasting.models import carried
from defiyield_assets.domain.forecasting.panel import day_number
from defiyield_assets.domain.forecasting.pools import HORIZONS, forecastable, values_for_fitting
from defiyield_assets.domain.policy import Parameters


def last_evaluation(day: date) -> date:
    """The newest day, not after `day`, on which costly candidates are evaluated: an origin of the calendar."""
    return day - timedelta(days=day_number(day) % ORIGIN_EVERY_DAYS)


def next_evaluation(day: date) -> date:
    """The first such day after `day`."""
    return last_evaluation(day) + timedelta(days=ORIGIN_EVERY_DAYS)


def evaluate_costly(
    histories: pd.DataFrame,
    as_of: date,
    parameters: Parameters,
    *,
    cache: ForecastCache,
    budget_seconds: float,
    horizons: Sequence[int] = HORIZONS,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Rows of `costly_candidates` of an evaluation day: its own forecasts and those of the weekly origins before it.

    `histories` as for `forecast_pools`, of which the same pools count and the same values are seen; the budget is that
    of one model (costly.py).
    """
    panel, _ = forecastable(histories, as_of, parameters)
    fitted = values_for_fitting(panel, parameters)
    n_days = panel.n_days
    rows = fit_candidates(
        {target: fitted[target] for target in COSTLY_TARGETS},
        panel.pool_ids,
        carried(fitted["tvl_usd"])[:, -1],
        as_of,
        np.append(weekly_origins(day_number(as_of), n_days), n_days - 1),
        horizons=horizons,
        cache=cache,
        budget_seconds=budget_seconds,
        on_progress=on_progress,
    )
    return rows.assign(as_of=as_of)
