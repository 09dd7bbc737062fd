"""What the command line shows of a plan: headline, holdings, steps, what was left out, where to look next.

Lives here: drawing with rich. Not here: what is said (domain/reporting) or reading the day's tables (orchestration).
"""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.tables import print_table
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting import layout
from defiyield_assets.domain.reporting.explained_sections import frontier_table
from defiyield_assets.domain.reporting.formats import UNKNOWN
from defiyield_assets.domain.reporting.plan_text import build_plan_summary
from defiyield_assets.orchestration.report_inputs import read_report_inputs
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import Settings
from defiyield_assets.store import reads, schema

REASON_FIGURES = ("Earns", "Next dollar", "A dollar in the plan", "Costs", "Earned back in days")
"""Columns of the reasons that are told in front of the sentence."""
TONES = {"good": "green", "calm": "cyan", "warn": "yellow", "bad": "red"}


def plain(text: str) -> str:
    """A string that is shown as it is, whatever markup it seems to hold."""
    return escape(text)


def _draw(table: layout.Table, title: str, rows: int | None = None) -> Table:
    drawn = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        drawn.add_column(Text(column.name), justify="right" if column.is_number else "left", overflow="fold")
    for row in table.rows[:rows]:
        drawn.add_row(*(Text(cell) for cell in row))
    if rows is not None and len(table.rows) > rows:
        drawn.caption = f"and {len(table.rows) - rows} more"
    return drawn


def print_plan(warehouse: WarehouseResource, day: date, console: Console) -> None:
    """The plan of the day: headline figures, holdings, steps, and what was left out and why."""
    summary = build_plan_summary(read_report_inputs(warehouse, day))
    tone = TONES.get(summary.tone, "white")
    console.print()
    console.print(Text(summary.title, style=f"bold {tone}"))
    for message in summary.messages:
        console.print(Text(message))
    facts = Table(box=None, show_header=False, pad_edge=False)
    for fact in summary.headline:
        facts.add_row(Text(fact.name, style="dim"), Text(fact.value, style="bold"), Text(fact.remark, style="dim"))
    console.print(facts)
    if summary.holdings is not None:
        shown = summary.holdings if summary.why is None else _without(summary.holdings, "Why", "Pool id")
        print_table(_draw(shown, "Holdings after the plan"), console)
    if summary.steps is not None:
        print_table(_draw(summary.steps, "Steps, in order"), console)
    if summary.steps_message:
        console.print(Text(summary.steps_message))
    if summary.why is not None:
        _print_reasons(summary.why, console)
    for message in summary.limits_messages:
        console.print(Text(message))
    if summary.limits is not None:
        print_table(_draw(summary.limits, "Limits that bind"), console)
    points = frontier_table(reads.read_days(warehouse.engine, schema.risk_gain_frontier, DayRange.of(day)))
    if points is not None:
        print_table(_draw(points, "Gain and risk under other caps"), console)
    for message in summary.left_out_messages:
        console.print(Text(message))
    for table in summary.left_out_reasons:
        print_table(_draw(table, table.caption or "Left out, by reason", rows=12), console)
    if summary.left_out is not None:
        print_table(_draw(summary.left_out, "Best pools left out", rows=10), console)


def plan_facts(warehouse: WarehouseResource, day: date) -> dict[str, Any]:
    """The plan of the day as JSON takes it: its run, holdings, steps, limits that bind, points of the frontier.

    Figures are those of the tables: amounts in base units, rates as fractions, money in dollars.
    """
    own = DayRange.of(day)
    (run,) = _rows(reads.read_days(warehouse.engine, schema.allocation_runs, own))
    tables = {
        "holdings": schema.allocations,
        "steps": schema.allocation_steps,
        "limits": schema.allocation_limits,
        "frontier": schema.risk_gain_frontier,
    }
    return {**run, **{name: _rows(reads.read_days(warehouse.engine, one, own)) for name, one in tables.items()}}


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def _without(table: layout.Table, *names: str) -> layout.Table:
    """The table without some columns."""
    kept = [place for place, column in enumerate(table.columns) if column.name not in names]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows)


def _print_reasons(table: layout.Table, console: Console) -> None:
    """Why each pool is in, in a few lines a pool: sentences do not fit into columns. Those left out follow below."""
    names = [column.name for column in table.columns]
    console.print(Text("Why, pool by pool", style="bold"))
    for row in table.rows:
        told = dict(zip(names, row, strict=True))
        if told["Action"] == "out":
            continue
        console.print(Text(f"{told['Pool']}  ", style="bold").append(told["Action"], style="cyan"))
        figures = (f"{name.lower()} {told[name]}" for name in REASON_FIGURES if told[name] not in ("", UNKNOWN))
        console.print(Text(f"  {'; '.join(figures)}", style="dim"))
        console.print(Text(f"  {told['Why']}"))
    console.print()


def print_next(settings: Settings, day: date, console: Console) -> None:
    """Where the report lies and how to look further."""
    market = settings.market
    console.print()
    console.print("[bold]Where to look next[/]")
    console.print(Text(f"  the whole report   {settings.reports_path / f'{day}.html'}"))
    console.print(Text(f"  the message        {settings.reports_path / f'{day}.slack.txt'}"))
    console.print(Text(f"  the asset graph    make ui MARKET={market} STATE={settings.state_path.resolve()}"))
    where = "" if settings.state_dir is None else f" --state-dir {settings.state_dir}"
    following = f"defiyield run --date {day + timedelta(days=1)} --market {market}{where}"
    console.print(Text(f"  the next day       {following}: its ledger sees what this plan did"))
