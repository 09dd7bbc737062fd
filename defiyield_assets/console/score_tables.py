"""What forecasts were worth, as rows of a table: one shape for all pools together and for a single one.

Lives here: the columns and their words. Not here: the scores (domain/forecasting), which of them a page shows
(pages/forecasts.py, pool_outlook.py).
"""

from collections.abc import Mapping
from typing import Any

from defiyield_assets.domain.reporting.forecast_sections import SCORE_TARGETS, TARGETS, error_words
from defiyield_assets.domain.reporting.formats import is_missing, number, percent, signed_percent
from defiyield_assets.domain.reporting.layout import numbers, text

SCORE_COLUMNS = (
    *text("Target"),
    *numbers("Days ahead", "Forecasts", "Mean error", "Error of the last value", "Ratio", "Bias", "Within p10 to p90"),
)
SCORE_WORDS = (
    "The error is the mean absolute difference between forecast and what came, in percentage points (pp) for APYs; the "
    "ratio holds it against the error of repeating the last value (below 100% the forecast was better); bias is the "
    "mean of forecast minus what came; within p10 to p90 should be 80% of what came."
)


def score_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of `forecast_scoreboard` as cells."""
    target = str(row["target"])
    return (
        TARGETS.get(target, target),
        number(row["horizon_days"]),
        number(row["n_forecasts"]),
        error_words(target, row["mae"]),
        error_words(target, row["mae_last_value"]),
        ratio_words(row),
        error_words(target, row["bias"], "+"),
        "" if is_missing(row["coverage"]) else percent(row["coverage"], 0),
    )


def ratio_of(row: Mapping[str, Any]) -> float | None:
    """Error over that of the last value; None where the last value made none."""
    naive = row["mae_last_value"]
    return None if is_missing(naive) or float(naive) == 0 else float(row["mae"]) / float(naive)


def ratio_words(row: Mapping[str, Any]) -> str:
    """The ratio as percent, "" where there is none."""
    ratio = ratio_of(row)
    return "" if ratio is None else percent(ratio, 0)


def skill_words(row: Mapping[str, Any], name: str) -> str:
    """A part by which the error is smaller than the last value's, "" where there is none."""
    return "" if is_missing(row[name]) else signed_percent(row[name], 0)


def target_order(row: Mapping[str, Any]) -> tuple[int, int]:
    """Rows stand by target and horizon."""
    target = str(row["target"])
    place = SCORE_TARGETS.index(target) if target in SCORE_TARGETS else len(SCORE_TARGETS)
    return place, int(row["horizon_days"])
