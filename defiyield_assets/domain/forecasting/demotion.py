"""Champions that go on losing to the last value while they stand may not stand for a while.

Lives here: when live scores demote and for how long. Not here: making the scores (scores.py, live.py) or whose model
stands instead (evaluation.py).
"""

from datetime import date

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.models import LAST_VALUE
from defiyield_assets.domain.forecasting.panel import day_number, day_numbers

SKILL_DAYS = 30
"""Due days over which live skill is measured."""
MIN_SCORES = 20
"""Scores that this takes; windows that overlap count each."""
RUN_DAYS = 30
"""Days in a row on which live skill has to be negative. That of one day says little: on recorded lending pools a third
of all forecasts were by models that it had just found losing, and barring them cost two points of error at 30 days."""
DEMOTION_DAYS = 30
LOOKBACK_DAYS = SKILL_DAYS + (RUN_DAYS - 1) + DEMOTION_DAYS
"""Due days up to and including the day itself that decide who is demoted on it: whether the run was complete on it and
on the DEMOTION_DAYS before it. Nothing older is read."""
ROUNDING = 1e-9
"""Share of the last value's error within which two sums of errors are equal."""

KEYS = ["pool_id", "target", "horizon_days", "model"]


def demoted_models(scores: pd.DataFrame, day: date) -> set[tuple[str, str, int, str]]:
    """(pool_id, target, horizon_days, model) that may not be champion on `day`.

    `scores` are rows of `forecast_scores` (or of live.py) with date, pool_id, target, horizon_days, model,
    absolute_error and naive_absolute_error; where there is a column is_champion, other rows are left out: a model
    answers for what it said as champion. Days after `day` and before its LOOKBACK_DAYS are not read.

    On a day a model loses when, of the scores that fell due in the SKILL_DAYS up to it, there are MIN_SCORES and their
    errors sum to more than those of the last value; with fewer scores it does not. The day that makes RUN_DAYS of
    losing in a row demotes: it and the DEMOTION_DAYS - 1 days after it, and for as long as the row goes on. So a model
    whose live skill is negative for RUN_DAYS is not champion, no state is kept, and it comes back when its time is
    over. The last value cannot lose to itself. Vintages made afterwards for a past day (backfills) count like others:
    no forecast sees beyond its day.
    """
    rows = scores.loc[scores["model"] != LAST_VALUE.name]
    if "is_champion" in rows:
        rows = rows.loc[rows["is_champion"].astype(bool)]
    ages = day_number(day) - day_numbers(rows["date"])
    rows = rows.loc[(ages >= 0) & (ages < LOOKBACK_DAYS)]
    if rows.empty:
        return set()
    codes, keys = pd.factorize(pd.MultiIndex.from_frame(rows[KEYS]))
    cells = codes * LOOKBACK_DAYS + LOOKBACK_DAYS - 1 - (day_number(day) - day_numbers(rows["date"]))
    shape = (len(keys), LOOKBACK_DAYS)
    naive = rows["naive_absolute_error"].to_numpy(dtype=np.float64)
    excess = rows["absolute_error"].to_numpy(dtype=np.float64) - naive
    is_losing = _is_losing(*(_by_day(cells, shape, values) for values in (np.ones_like(naive), excess, naive)))
    is_run: NDArray[np.bool_] = np.asarray(sliding_window_view(is_losing, RUN_DAYS, axis=1).all(axis=2))
    is_first = is_run[:, 1:] & ~is_run[:, :-1]
    is_demoted = is_run[:, -1] | is_first.any(axis=1)
    return {(str(pool), str(target), int(horizon), str(model)) for pool, target, horizon, model in keys[is_demoted]}


def _by_day(cells: NDArray[np.int64], shape: tuple[int, int], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the values of each key and day."""
    sums = np.bincount(cells, weights=values, minlength=shape[0] * shape[1])
    return sums.astype(np.float64).reshape(shape)


def _is_losing(
    counts: NDArray[np.float64], excess: NDArray[np.float64], naive: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether each key loses on each day that has its SKILL_DAYS, shape (keys, RUN_DAYS + DEMOTION_DAYS)."""
    n, over, errors = (
        sliding_window_view(values, SKILL_DAYS, axis=1).sum(axis=2) for values in (counts, excess, naive)
    )
    is_losing: NDArray[np.bool_] = (n >= MIN_SCORES) & (over > ROUNDING * errors)
    return is_losing
