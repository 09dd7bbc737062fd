"""What is expected of a pool, and what earlier forecasts of it were worth.

Lives here: bands of the day, forecasts that fell due, the evidence by which models were chosen. Not here: history
(pool_rates.py), forecasts of all pools together (pages/forecasts.py), the models (domain/forecasting).
"""

from collections.abc import Sequence
from itertools import groupby
from math import fsum, isnan, nan
from typing import Any

from defiyield_assets.console.layout import Panel
from defiyield_assets.console.pool_rates import History
from defiyield_assets.console.pool_rows import rows_of
from defiyield_assets.console.score_tables import SCORE_COLUMNS, SCORE_WORDS, score_row, target_order
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.forecasting.pools import HORIZONS
from defiyield_assets.domain.forecasting.scoreboard import WINDOW_DAYS
from defiyield_assets.domain.reporting.forecast_sections import (
    HISTORY_DAYS,
    TARGETS,
    band_chart,
    band_remark,
    error_words,
)
from defiyield_assets.domain.reporting.formats import about_usd, clean, is_missing, number, percent, signed_percent
from defiyield_assets.domain.reporting.layout import Chart, Point, Section, Series, Table, numbers, text
from defiyield_assets.domain.selection.explanation import Row, Rows
from defiyield_assets.store import schema

BAND_COLUMNS = (
    *text("Target"),
    *numbers("Days ahead", "Mean", "p10", "Median", "p90"),
    *text("Model", "Chosen by the evidence of", "Remark"),
    *numbers("Observed days used"),
)
EVIDENCE_COLUMNS = (
    *numbers("Days ahead"),
    *text("Model"),
    *numbers("Forecasts", "Mean error", "Better than the last value by", "Bias"),
    *text("Chosen", "Why"),
)


def outlook_panel(view: View, name: str, history: History, forecasts: Rows) -> Panel:
    """Bands of every horizon (the pool's rows of `pool_forecasts`), going on from what happened."""
    rows = sorted(forecasts, key=target_order)
    if not rows:
        none = Section("expected", "What is expected", (f"No forecast of it was made on {view.day}.",))
        return Panel(none, ("pool_forecasts",), view.day)
    apys = [row for row in rows if row["target"] == "apy"]
    shown = DayRange.of(view.day).back(HISTORY_DAYS - 1)
    pairs = zip(history.days, history.values["apy"].tolist(), strict=True)
    past = {day: apy for day, apy in pairs if day in shown and not isnan(apy)}
    charts = (band_chart(f"APY of {name}", "percent", past, apys, view.day),) if apys else ()
    words = (
        f"Forecasts made at the end of {view.day}. Each is the mean over the days ahead; the band from p10 to p90 "
        "should hold four times in five."
    )
    table = Table(BAND_COLUMNS, tuple(map(_band_row, rows)), caption="Forecasts of the day", fold="never")
    section = Section("expected", "What is expected", (words,), charts=charts, tables=(table,))
    return Panel(section, ("pool_forecasts", "pool_histories"), view.day)


def worth_panel(view: View, pool_id: str) -> Panel:
    """How forecasts did that fell due lately, beside the last value, and the evidence by which models are chosen."""
    of_pool = {"pool_id": pool_id, "is_champion": True}
    scores = rows_of(view, schema.forecast_scores, of_pool, back=WINDOW_DAYS - 1, by_day=True)
    scores.sort(key=lambda row: (*target_order(row), row["date"]))
    title = "What earlier forecasts were worth"
    evidence = _evidence_table(view, pool_id)
    tables = [] if evidence is None else [evidence]
    if not scores:
        words = (f"No forecast of it fell due in the {WINDOW_DAYS} days up to {view.day}.",)
        section = Section("worth", title, words, tables=tuple(tables))
        return Panel(section, ("forecast_scores", "forecast_evaluations"), view.day)
    rows = tuple(score_row(worth_of(list(rows))) for _, rows in groupby(scores, target_order))
    words = (f"Forecasts that fell due in the {WINDOW_DAYS} days up to {view.day}. {SCORE_WORDS}",)
    tables.insert(0, Table(SCORE_COLUMNS, rows, caption="Worth by target and horizon", fold="never"))
    apys = [list(rows) for _, rows in groupby((row for row in scores if row["target"] == "apy"), target_order)]
    charts = tuple(_past_chart(rows) for rows in apys if len(rows) > 1)
    section = Section("worth", title, words, charts=charts, tables=tuple(tables))
    return Panel(section, ("forecast_scores", "forecast_evaluations"), view.day)


def _band_row(row: Row) -> tuple[str, ...]:
    target = str(row["target"])
    told = about_usd if target == "tvl_usd" else percent
    return (
        TARGETS.get(target, target),
        number(row["horizon_days"]),
        *(told(row[name]) for name in ("mean", "p10", "p50", "p90")),
        clean(row["model"], 40),
        clean(row["tier"], 40),
        band_remark([row]),
        number(row["n_obs"]),
    )


def worth_of(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores of one target and horizon in the figures of `forecast_scoreboard`; coverage is NaN where none counts."""
    n = len(scores)
    banded = [bool(row["is_covered"]) for row in scores if row["has_band"]]
    return {
        "target": scores[0]["target"],
        "horizon_days": scores[0]["horizon_days"],
        "n_forecasts": n,
        "mae": fsum(row["absolute_error"] for row in scores) / n,
        "mae_last_value": fsum(row["naive_absolute_error"] for row in scores) / n,
        "bias": fsum(row["error"] for row in scores) / n,
        "coverage": sum(banded) / len(banded) if banded else nan,
    }


def _past_chart(scores: Sequence[dict[str, Any]]) -> Chart:
    """Past forecasts over one horizon and what came, by the day on which they fell due."""
    horizon_days = scores[0]["horizon_days"]

    def points(name: str) -> tuple[Point, ...]:
        return tuple(Point(str(row["date"]), float(row[name])) for row in scores)

    days = "1 day" if horizon_days == 1 else f"{horizon_days} days"
    return Chart(
        "lines",
        f"Forecast for {days} and what came",
        "percent",
        (Series("What came", points("actual")), Series("Forecast", points("forecast"), "other")),
        f"{len(scores)} forecasts of the mean APY over {days}, beside what came, by the day on which they fell due.",
    )


def _evidence_table(view: View, pool_id: str) -> Table | None:
    """What every model was worth at past origins of this pool, where the pool alone was looked at."""
    where: dict[str, Any] = {"target": "apy", "horizon_days": list(HORIZONS), "scope": "pool", "scope_id": pool_id}
    rows = rows_of(view, schema.forecast_evaluations, where)
    if not rows:
        return None
    rows.sort(key=lambda row: (row["horizon_days"], not row["is_champion"], row["mae"], row["model"]))
    return Table(EVIDENCE_COLUMNS, tuple(_evidence_row(row) for row in rows), f"Evidence of {view.day}", fold="always")


def _evidence_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        number(row["horizon_days"]),
        clean(row["model"], 40),
        number(row["n_forecasts"]),
        error_words("apy", row["mae"]),
        "" if is_missing(row["skill"]) else signed_percent(row["skill"], 0),
        error_words("apy", row["bias"], "+"),
        "chosen" if row["is_champion"] else "",
        clean(row["reason"]),
    )
