"""What the champions of the last weeks were off by, over many due days at once.

Lives here: errors of stored vintages against what is known by a day, all that demotion needs. Not here: the scores that
are kept (scores.py), what the errors lead to (demotion.py).
"""

from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.intervals import horizon_means
from defiyield_assets.domain.forecasting.models import carried
from defiyield_assets.domain.forecasting.panel import build_panel, day_number, day_numbers
from defiyield_assets.domain.forecasting.scores import NAIVE_LOOKBACK_DAYS

VINTAGE_COLUMNS = ("pool_id", "as_of", "horizon_days", "target", "model", "mean")
"""What of a forecast is needed to say what it was off by."""
LIVE_ERROR_COLUMNS = (
    "date",
    "pool_id",
    "horizon_days",
    "target",
    "model",
    "absolute_error",
    "naive_absolute_error",
)


def live_errors(vintages: pd.DataFrame, histories: pd.DataFrame, day: date, n_days: int) -> pd.DataFrame:
    """Errors of the vintages whose horizon ended on one of the `n_days` up to and including `day`.

    `vintages` has VINTAGE_COLUMNS, one row per forecast; `histories` the raw values (never winsorised) known by `day`
    in the shape of `pool_histories` with is_hindsight, from n_days + 30 days before the longest horizon on. `date` is
    the last day of the horizon; actual and naive value are those of scores.py, in natural units. Forecasts without
    either, and pools without history, have no row.
    """
    ends = day_numbers(vintages["as_of"]) + vintages["horizon_days"].to_numpy(dtype=np.int64)
    is_due = (ends <= day_number(day)) & (ends > day_number(day) - n_days)
    due = vintages.loc[is_due].assign(age=day_number(day) - ends[is_due])
    if due.empty:
        return pd.DataFrame(columns=list(LIVE_ERROR_COLUMNS), dtype=object)
    panel = build_panel(histories, day, n_days + int(due["horizon_days"].max()) + NAIVE_LOOKBACK_DAYS)
    due = due.assign(row=pd.Index(panel.pool_ids).get_indexer(due["pool_id"]))
    due = due.loc[due["row"] >= 0]
    parts: list[pd.DataFrame] = []
    for (target, horizon), rows in due.groupby(["target", "horizon_days"], sort=True):
        values = panel.values[str(target)]
        at = (rows["row"].to_numpy(), values.shape[1] - 1 - rows["age"].to_numpy() - int(horizon))
        actual = horizon_means(values, int(horizon))[at]
        naive = carried(values, NAIVE_LOOKBACK_DAYS - 1)[at]
        scored = rows.assign(
            date=[day - timedelta(days=int(age)) for age in rows["age"]],
            absolute_error=np.abs(rows["mean"].to_numpy(dtype=np.float64) - actual),
            naive_absolute_error=np.abs(naive - actual),
        )
        is_scored: NDArray[np.bool_] = ~np.isnan(actual) & ~np.isnan(naive)
        parts.append(scored.loc[is_scored, list(LIVE_ERROR_COLUMNS)])
    return pd.concat(parts).sort_values(["date", "pool_id", "horizon_days", "target"], ignore_index=True)
