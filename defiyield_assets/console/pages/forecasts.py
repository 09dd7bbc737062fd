"""The scoreboard: who forecasts what, how good that was against the last value, who stands behind; gas as well.

Lives here: champions and challengers of the day, errors over time, what is expected of gas. Not here: how scores and
champions come about (domain/forecasting), the columns of scores (score_tables.py), one pool (pool.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.console.layout import Page, Panel
from defiyield_assets.console.questions import Question
from defiyield_assets.console.score_tables import (
    SCORE_COLUMNS,
    SCORE_WORDS,
    ratio_of,
    ratio_words,
    score_row,
    skill_words,
    target_order,
)
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.forecasting.pools import HORIZONS
from defiyield_assets.domain.forecasting.scoreboard import CHAMPION, WINDOW_DAYS
from defiyield_assets.domain.gas.sources import prevailing_fees
from defiyield_assets.domain.reporting.forecast_sections import (
    HISTORY_DAYS,
    TARGETS,
    band_remark,
    error_words,
    gas_chart,
)
from defiyield_assets.domain.reporting.formats import clean, number
from defiyield_assets.domain.reporting.layout import Chart, Fact, Point, Section, Series, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import GROUPS, records
from defiyield_assets.store import schema

POOL_TARGETS = ("apy", "apy_base", "apy_reward", "tvl_usd")
GAS_TARGETS = ("base_fee_gwei", "gas_price_gwei")
BEFORE_DAYS = 30
"""Days in which another champion is looked for; their evidence is thousands of rows a day."""
BOARD_COLUMNS = (*SCORE_COLUMNS, *numbers("Better by, last 30 days", "MASE"))
CHAMPION_COLUMNS = (
    *numbers("Days ahead"),
    *text("For", "Champion"),
    *numbers("Forecasts", "Mean error", "Ratio", "Bias"),
    *text("Before", "Why"),
)
CHALLENGER_COLUMNS = (*text("Model"), *SCORE_COLUMNS)
GAS_COLUMNS = (
    *text("Price"),
    *numbers("Days ahead", "Mean", "p10", "Median", "p90"),
    *text("Model", "Remark"),
    *numbers("Days used"),
)
Key = tuple[str, int, str, str]


def forecasts(view: View, _question: Question) -> Page:
    """The page."""
    board = records(view.read(schema.forecast_scoreboard))
    champions = sorted((row for row in board if row["model"] == CHAMPION), key=target_order)
    panels = (
        _board_panel(view, champions),
        _over_time_panel(view),
        _champions_panel(view),
        _challengers_panel(view, board, champions),
        _gas_panel(view, is_scored=any(str(row["target"]) in GAS_TARGETS for row in champions)),
    )
    return Page(
        title="Forecasts",
        here="forecasts",
        headline=_headline(view, champions),
        day=view.day,
        facts=tuple(_fact(row) for row in champions if row["target"] == "apy"),
        facts_assets=("forecast_scoreboard",),
        panels=tuple(panel for panel in panels if panel is not None),
    )


def _headline(view: View, champions: Sequence[Mapping[str, Any]]) -> str:
    """How many of the targets and horizons beat the last value."""
    ratios = [ratio for row in champions if (ratio := ratio_of(row)) is not None]
    if not ratios:
        return f"No forecast had fallen due by {view.day}"
    better = sum(ratio < 1 for ratio in ratios)
    return f"Forecasts beat the last value on {better} of {len(ratios)} targets and horizons"


def _fact(row: Mapping[str, Any]) -> Fact:
    days = int(row["horizon_days"])
    covered = score_row(row)[-1] or "none"
    return Fact(
        f"APY, {days} day{'' if days == 1 else 's'} ahead",
        f"{ratio_words(row) or 'no'} of the last value's error",
        f"{number(row['n_forecasts'])} forecasts of at most {number(row['n_pools'])} pools, {covered} in their bands",
    )


def _board_panel(view: View, champions: Sequence[Mapping[str, Any]]) -> Panel:
    title = "How good forecasts were"
    if not champions:
        words = (
            f"No forecast fell due in the {WINDOW_DAYS} days up to {view.day}: each waits for the end of its horizon."
        )
        return Panel(Section("board", title, (words,)), ("forecast_scoreboard",), view.day)
    words = (
        f"Forecasts that fell due in the {WINDOW_DAYS} days up to {view.day}, whichever model was champion when they "
        f"were made. {SCORE_WORDS}"
    )
    rows = tuple(
        (*score_row(row), skill_words(row, "skill_30d"), "" if pd.isna(row["mase"]) else number(row["mase"], 2))
        for row in champions
    )
    table = Table(BOARD_COLUMNS, rows, caption="Champions by target and horizon", fold="never")
    section = Section("board", title, (words,), charts=_ratio_charts(champions), tables=(table,))
    return Panel(section, ("forecast_scoreboard",), view.day)


def _ratio_charts(champions: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Error against the last value's, by target and horizon."""
    points = tuple(Point(_of_words(row), ratio_of(row)) for row in champions if ratio_of(row) is not None)
    if not points:
        return ()
    summary = "Mean error of the champions as a part of the last value's: below 100% the forecast was better."
    series = (Series("Error against the last value", points),)
    return (Chart("bars", "Error against the last value", "percent", series, summary, is_tabled=True),)


def _of_words(row: Mapping[str, Any]) -> str:
    days = int(row["horizon_days"])
    return f"{TARGETS.get(str(row['target']), str(row['target']))}, {days} day{'' if days == 1 else 's'}"


def _over_time_panel(view: View) -> Panel | None:
    """Errors by the day on which forecasts of the APY fell due; nothing before there are two such days."""
    sums = view.read(schema.forecast_score_sums, {"target": "apy", "model": CHAMPION}, back=WINDOW_DAYS - 1)
    charts = []
    for horizon in sorted(set(map(int, sums["horizon_days"]))):
        rows = records(sums[sums["horizon_days"] == horizon])
        if len(rows) > 1:
            charts.append(_over_time_chart(horizon, rows))
    if not charts:
        return None
    words = (
        f"Mean error of the champions on each of the {WINDOW_DAYS} days up to {view.day}, in percentage points of APY, "
        "beside repeating the last value."
    )
    section = Section("over-time", "Errors of APY forecasts by day", (words,), charts=tuple(charts))
    return Panel(section, ("forecast_score_sums",), view.day)


def _over_time_chart(horizon: int, rows: Sequence[Mapping[str, Any]]) -> Chart:
    def points(name: str) -> tuple[Point, ...]:
        return tuple(Point(str(row["date"]), float(row[name]) / int(row["n_forecasts"])) for row in rows)

    days = f"{horizon} day{'' if horizon == 1 else 's'}"
    forecast, naive = points("absolute_error"), points("naive_absolute_error")
    better = sum((one.value or 0.0) < (other.value or 0.0) for one, other in zip(forecast, naive, strict=True))
    summary = f"{days} ahead the forecasts were better than the last value on {better} of {len(rows)} days."
    series = (Series("Forecast", forecast), Series("Last value", naive, "other"))
    return Chart("lines", f"Mean error, {days} ahead", "percent", series, summary)


def _champions_panel(view: View) -> Panel:
    """Who is champion of all pools and of each risk group, and who was before."""
    days = DayRange.of(view.day).back(BEFORE_DAYS)
    where: dict[str, Any] = {
        "as_of": list(days),
        "target": list(POOL_TARGETS),
        "horizon_days": list(HORIZONS),
        "scope": ["panel", "group"],
        "is_champion": True,
    }
    chosen: dict[Key, dict[date, dict[str, Any]]] = {}
    for row in records(view.read(schema.forecast_evaluations, where, back=BEFORE_DAYS)):
        key = (str(row["target"]), int(row["horizon_days"]), str(row["scope"]), str(row["scope_id"]))
        chosen.setdefault(key, {})[row["as_of"]] = row
    title, assets = "Champions", ("forecast_evaluations",)
    of_day = [key for key in chosen if view.day in chosen[key]]
    if not of_day:
        words = (f"No model was chosen on {view.day}.",)
        return Panel(Section("champions", title, words), assets, view.day)
    of_day.sort(key=lambda key: (key[1], key[2] != "panel", key[3]))
    words = (
        f"The model chosen on {view.day} for all pools and for each risk group; a pool whose own history says "
        "otherwise has another one, which its page names. The evidence is of past origins, outliers cut. Before is the "
        f"last other champion of the {BEFORE_DAYS} days before.",
    )
    tables: list[Table] = []
    for target in POOL_TARGETS:
        rows = tuple(_champion_row(key, view.day, chosen[key]) for key in of_day if key[0] == target)
        caption = f"Champions of {TARGETS[target]}"
        tables += [Table(CHAMPION_COLUMNS, rows, caption, fold="always" if tables else "never")] if rows else []
    return Panel(Section("champions", title, words, tables=tuple(tables)), assets, view.day)


def _champion_row(key: Key, day: date, chosen: Mapping[date, Mapping[str, Any]]) -> tuple[str, ...]:
    target, horizon, scope, scope_id = key
    row = chosen[day]
    return (
        number(horizon),
        "all pools" if scope == "panel" else f"group {_group_words(scope_id)}",
        clean(row["model"], 40),
        number(row["n_forecasts"]),
        error_words(target, row["mae"]),
        ratio_words(row),
        error_words(target, row["bias"], "+"),
        _before_words(day, chosen),
        clean(row["reason"]),
    )


def _group_words(scope_id: str) -> str:
    return GROUPS[int(scope_id)] if scope_id.isdigit() and int(scope_id) in GROUPS else clean(scope_id, 40)


def _before_words(day: date, chosen: Mapping[date, Mapping[str, Any]]) -> str:
    """The last other champion and its last day, "" where there was none."""
    other = [past for past in chosen if past < day and chosen[past]["model"] != chosen[day]["model"]]
    return f"{clean(chosen[max(other)]['model'], 40)}, until {max(other)}" if other else ""


def _challengers_panel(
    view: View, board: Sequence[Mapping[str, Any]], champions: Sequence[Mapping[str, Any]]
) -> Panel | None:
    """Every model, the best first, one table per target and horizon."""
    tables = []
    for champion in champions:
        rows = [row for row in board if target_order(row) == target_order(champion)]
        rows.sort(key=lambda row: (row["model"] != CHAMPION, row["mae"], row["model"]))
        cells = tuple((clean(row["model"], 40), *score_row(row)) for row in rows)
        tables.append(Table(CHALLENGER_COLUMNS, cells, caption=_of_words(champion), fold="always"))
    if not tables:
        return None
    words = (
        "Every model by itself, the smallest error first, below whatever was champion. Models are not all judged on "
        "the same forecasts: the costly ones speak of few pools."
    )
    section = Section("challengers", "Challengers", (words,), tables=tuple(tables))
    return Panel(section, ("forecast_scoreboard",), view.day)


def _gas_panel(view: View, *, is_scored: bool) -> Panel:
    """What is expected of gas; `is_scored`: the board above has forecasts of it that fell due."""
    made = view.read(schema.gas_forecasts)
    title = "What is expected of gas"
    if made.empty:
        words = (f"No forecast of gas was made on {view.day}.",)
        return Panel(Section("gas", title, words), ("gas_forecasts",), view.day)
    fees = prevailing_fees(view.read(schema.gas_fees_daily, back=HISTORY_DAYS - 1))
    chart = gas_chart(made, fees, view.day)
    rows = tuple(_gas_row(row) for row in records(made))
    earlier = (
        "How good earlier ones were stands above, as base fee and gas price."
        if is_scored
        else f"No earlier one fell due in the {WINDOW_DAYS} days up to {view.day}."
    )
    words = (
        f"Forecasts made at the end of {view.day}: the mean price of a unit of gas over the days ahead, in gwei. "
        f"{earlier}",
    )
    table = Table(GAS_COLUMNS, rows, caption="Forecasts of gas", fold="never")
    section = Section("gas", title, words, charts=() if chart is None else (chart,), tables=(table,))
    return Panel(section, ("gas_forecasts", "gas_fees_daily"), view.day)


def _gas_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["kind"]).replace("_", " "),
        number(row["horizon_days"]),
        *(f"{number(row[name], 3)} gwei" for name in ("mean", "p10", "p50", "p90")),
        clean(row["model"], 40),
        band_remark([{**row, "is_hindsight": False}]),
        number(row["n_obs"]),
    )
