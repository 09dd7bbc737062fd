"""The matrix of scenarios and strategies: one figure of every run.

Lives here: which figure, which scenarios, how a cell is shaded. Not here: which runs count (lab_tables.py), the words
of figures (store/schema/lab.py), the table's looks (templates/scenarios.html.j2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.console.layout import Page, Panel, address
from defiyield_assets.console.pages.lab import scope_words, strategy_link
from defiyield_assets.console.pages.lab_tables import (
    NOT_KEPT,
    AssessmentRuns,
    AssessmentTables,
    empty_lab,
    read_assessment,
)
from defiyield_assets.console.paging import turn
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import clean, is_missing, number
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.domain.strategies.cells import written

MOST = 60
"""Scenarios of a page."""
FIGURES = {
    "total_return": ("Total return", "signed"),
    "excess_return": ("Excess over buy and hold", "signed"),
    "sharpe": ("Sharpe ratio a year", "ratio"),
    "sortino": ("Sortino ratio a year", "ratio"),
    "max_drawdown": ("Maximum drawdown", "signed"),
    "volatility": ("Volatility a year", "percent"),
    "n_trades": ("Round trips", "count"),
    "win_rate": ("Share of round trips that gained", "percent"),
    "time_in_market": ("Time in market", "percent"),
}
"""Figure of a run -> its name and how it is written."""
SHADED = frozenset({"total_return", "excess_return", "sharpe", "sortino", "max_drawdown"})
"""Figures of which more is better."""
SHADES = 3


@dataclass(frozen=True)
class MatrixCell:
    """A figure as text and the class of its shade, "" without one."""

    words: str
    shade: str


@dataclass(frozen=True)
class MatrixRow:
    """A scenario: its family where it is the first of it on the page, name, days, bars, and a cell a strategy."""

    family: str
    name: str
    days: str
    bars: str
    cells: tuple[MatrixCell, ...]


def scenarios(view: View, question: Question) -> Page:
    """The page."""
    told = read_assessment(view, question)
    if told is None:
        return empty_lab(view, "Scenarios")
    if told.kept is None:
        return _gone(view, told)
    figure = question.choice("figure", FIGURES, "total_return")
    runs = _runs_of_scope(told.kept, told)
    listed = told.kept.scenarios.sort_values(["family", "name", "scenario_id"], ignore_index=True)
    listed = listed[listed["scenario_id"].isin(set(runs["scenario_id"]))].reset_index(drop=True)
    n_ranked = told.kept.ranked[told.scope]["scenario_id"].nunique()
    pager = turn(
        question, len(listed), MOST, *("lab", "scenarios"), date=question.day(), scope=told.scope, figure=figure
    )
    rows = _rows(told, runs, records(listed.iloc[pager.first : pager.first + MOST]), figure)
    name = FIGURES[figure][0]
    words = f"{name} of every run, all costs paid. Empty: the strategy takes no part in the scenario."
    if n_ranked < len(listed):
        words += " A full history is evidence only: no rank and no count of scenarios rests on it."
    if figure in SHADED:
        words += " The darker a cell, the further from zero among those of its scenario: green up, red down."
    section = Section("matrix", "Scenarios and strategies", (words,))
    return Page(
        title="Scenarios",
        here="lab",
        headline=f"{name}: {_counted(n_ranked, 'scenario')}, {_counted(len(told.ranking), 'strategy')}",
        day=view.day,
        paragraphs=(f"Assessment as of {told.as_of}, {scope_words(told.scope)}.",),
        panels=(Panel(section, ("backtest_results", "scenarios"), told.as_of),),
        template="scenarios.html.j2",
        extra={
            "pager": pager,
            "rows": rows,
            "strategies": [strategy_link(name, question, is_wrapped=True) for name in told.ranking["strategy_id"]],
            "figure": figure,
            "figures": [(key, words) for key, (words, _) in FIGURES.items()],
            "scopes": [(scope, scope_words(scope)) for scope in told.scopes],
            "scope": told.scope,
        },
    )


def _gone(view: View, told: AssessmentTables) -> Page:
    """The page of an assessment whose runs are no longer kept."""
    words = f"{NOT_KEPT} The assessment's page as a file has its matrix of scenarios and strategies."
    return Page(
        title="Scenarios",
        here="lab",
        headline=f"The scenarios of {told.as_of} are no longer kept",
        day=view.day,
        panels=(Panel(Section("matrix", "Scenarios and strategies", (words,)), ("scenarios",), told.as_of),),
        downloads=(
            ("The assessment's page as a file", address("lab", "assessment.html", date=view.day, scope=told.scope)),
        ),
    )


def _runs_of_scope(kept: AssessmentRuns, told: AssessmentTables) -> pd.DataFrame:
    """The runs that are ranked together, and beside them those of their strategies over full histories."""
    is_evidence = ~kept.runs["is_ranked"].astype(bool)
    evidence = kept.runs[is_evidence & kept.runs["strategy_hash"].isin(set(told.ranking["strategy_hash"]))]
    return pd.concat([kept.ranked[told.scope], evidence], ignore_index=True)


def _rows(told: AssessmentTables, runs: pd.DataFrame, shown: list[dict[str, Any]], figure: str) -> list[MatrixRow]:
    hashes = told.ranking["strategy_hash"].tolist()
    own = runs[runs["scenario_id"].isin([row["scenario_id"] for row in shown])]
    keys = zip(own["scenario_id"], own["strategy_hash"], strict=True)
    values = dict(zip(keys, own[figure].astype(float).tolist(), strict=True))
    rows, family = [], ""
    for row in shown:
        cells = _cells([values.get((row["scenario_id"], one)) for one in hashes], figure)
        days = "" if is_missing(row["starts_on"]) else f"{row['starts_on']} to {row['ends_on']}"
        is_first = row["family"] != family
        family = row["family"]
        told_family = clean(family, 40).replace("_", " ") if is_first else ""
        name = clean(row["name"], 60) + ("" if row["is_ranked"] else ", evidence only")
        rows.append(MatrixRow(told_family, name, days, number(row["n_steps"]), cells))
    return rows


def _cells(values: list[float | None], figure: str) -> tuple[MatrixCell, ...]:
    """The cells of a scenario; None: the strategy takes no part in it."""
    largest = max((abs(value) for value in values if value is not None and np.isfinite(value)), default=0.0)
    return tuple(
        MatrixCell("", "")
        if value is None
        else MatrixCell(written(value, FIGURES[figure][1]), _shade(value, largest) if figure in SHADED else "")
        for value in values
    )


def _shade(value: float, largest: float) -> str:
    """The class of a cell's colour: up-1 to up-3, down-1 to down-3; none for zero and the unknown."""
    if not np.isfinite(value) or not value or not largest:
        return ""
    step = min(SHADES, 1 + int(SHADES * abs(value) / largest))
    return f"{'up' if value > 0 else 'down'}-{step}"


def _counted(n: int, noun: str) -> str:
    """The number with its noun."""
    many = f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number(n)} {noun if n == 1 else many}"
