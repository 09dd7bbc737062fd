"""What every model's forecasts were worth over the last months, as rows of `forecast_scoreboard`.

Lives here: sums of scores by day and what they come to. Not here: scores of single forecasts (scores.py), who is
chosen (evaluation.py), pictures (plots.py).
"""

from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.forecasting.panel import day_number, day_numbers

CHAMPION = "champion"
"""Stands for whatever was champion of its pool when the forecast was made."""
WINDOW_DAYS = 90
RECENT_DAYS = 30

SUM_KEYS = ["date", "target", "horizon_days", "model"]
SUM_COLUMNS = (
    *SUM_KEYS,
    "n_forecasts",
    "absolute_error",
    "naive_absolute_error",
    "error",
    "pinball_loss",
    "n_bands",
    "n_covered",
    "scaled_error",
    "mase_scale",
)
SCOREBOARD_COLUMNS = (
    *SUM_KEYS,
    "n_forecasts",
    "n_pools",
    "mae",
    "mae_last_value",
    "skill",
    "mase",
    "bias",
    "coverage",
    "pinball_loss",
    "skill_30d",
    "n_bands",
)


def build_scoreboard(scores: pd.DataFrame, day: date, window_days: int = WINDOW_DAYS) -> pd.DataFrame:
    """Rows of `forecast_scoreboard` of `day` from the rows of `forecast_scores` that fell due in the window up to it.

    Whoever has the sums already (a window of all candidates is millions of scores) calls scoreboard_from_sums.
    """
    ages = day_number(day) - day_numbers(scores["date"])
    return scoreboard_from_sums(sum_scores(scores.loc[(ages >= 0) & (ages < window_days)]), day, window_days)


def sum_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Sums of `forecast_scores` by due day, target, horizon and model, with the champions' once more as CHAMPION.

    Sums can be added: those of two sets of days, or of pools, make those of both. `n_bands` counts the forecasts that
    count for coverage (has_band), `n_covered` those of them that held; `scaled_error` and `mase_scale` are the sums
    of absolute errors and of scales over the forecasts with a scale. Every order of rows gives the same bits.
    """
    figures = scores[[*SUM_KEYS, "pool_id"]].copy()
    for name in ("absolute_error", "naive_absolute_error", "error", "pinball_loss"):
        figures[name] = scores[name].astype(float)
    has_band = scores["has_band"].astype(bool)
    scale = scores["mase_scale"].astype(float)
    figures["n_forecasts"] = 1
    figures["n_bands"] = has_band.astype(int)
    figures["n_covered"] = (has_band & scores["is_covered"].astype(bool)).astype(int)
    figures["scaled_error"] = figures["absolute_error"].where(scale.notna(), 0.0)
    figures["mase_scale"] = scale.fillna(0.0)
    champions = figures.loc[scores["is_champion"].astype(bool)].assign(model=CHAMPION)
    both = pd.concat([figures, champions]).sort_values([*SUM_KEYS, "pool_id"], kind="stable")
    sums = both.groupby(SUM_KEYS, sort=True, observed=True)[list(SUM_COLUMNS[len(SUM_KEYS) :])].sum()
    return sums.reset_index()


def scoreboard_from_sums(sums: pd.DataFrame, day: date, window_days: int = WINDOW_DAYS) -> pd.DataFrame:
    """Rows of `forecast_scoreboard` of `day` from the rows of `sum_scores`; days outside the window are not read.

    Errors, bias and pinball loss are in the target's unit (fractions, USD, gwei). `skill` is 1 - MAE over that of the
    last value on the same forecasts, `skill_30d` the same over the last RECENT_DAYS. `mase` is the mean absolute
    scaled error (Hyndman & Koehler 2006) with the scales pooled: the sum of errors over the sum of scales, because in
    a mean of ratios one pool that had hardly ever moved would be all there is. `coverage` is the share of actual
    values within p10 and p90, of those above 0 with p10 < p90. `n_pools` is the number of pools on the fullest day.
    Missing where a divisor is 0.
    """
    ages = day_number(day) - day_numbers(sums["date"])
    window = sums.loc[(ages >= 0) & (ages < window_days)]
    recent = sums.loc[(ages >= 0) & (ages < min(RECENT_DAYS, window_days))]
    figures = list(SUM_COLUMNS[len(SUM_KEYS) :])
    keys = SUM_KEYS[1:]
    ordered = window.sort_values(SUM_KEYS, kind="stable")
    total = ordered.groupby(keys, sort=True, observed=True)[figures].sum().astype(float)
    lately = recent.sort_values(SUM_KEYS, kind="stable").groupby(keys, observed=True)[figures].sum().astype(float)
    lately = lately.reindex(total.index)
    rows = pd.DataFrame(
        {
            "n_forecasts": total["n_forecasts"].astype(int),
            "n_pools": window.groupby(keys, observed=True)["n_forecasts"].max().astype(int),
            "mae": total["absolute_error"] / total["n_forecasts"],
            "mae_last_value": total["naive_absolute_error"] / total["n_forecasts"],
            "skill": 1.0 - _ratio(total, "absolute_error", "naive_absolute_error"),
            "mase": _ratio(total, "scaled_error", "mase_scale"),
            "bias": total["error"] / total["n_forecasts"],
            "coverage": _ratio(total, "n_covered", "n_bands"),
            "pinball_loss": total["pinball_loss"] / total["n_forecasts"],
            "skill_30d": 1.0 - _ratio(lately, "absolute_error", "naive_absolute_error"),
            "n_bands": total["n_bands"].astype(int),
        },
        index=total.index,
    )
    return rows.reset_index().assign(date=day)[list(SCOREBOARD_COLUMNS)]


def _ratio(sums: pd.DataFrame, part: str, whole: str) -> "pd.Series[float]":
    """One column over another, NaN where the latter is 0."""
    return sums[part] / sums[whole].where(sums[whole] > 0.0, np.nan)
