"""One plan: what it promises, how sure the solver is, what it rests on, what it does, what became of it.

Lives here: the page of a run. Not here: its policy (runs_policy.py), its files (runs_files.py), what was sent for it
(runs_sent.py), the words of steps, holdings and limits (domain/reporting), all runs (runs.py).
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from defiyield_assets.console.layout import Inner, Page, Panel, address
from defiyield_assets.console.pages.day_content import content_of
from defiyield_assets.console.pages.runs import BECAME, became
from defiyield_assets.console.pages.runs_policy import policy_panels
from defiyield_assets.console.pages.runs_sent import sent_words
from defiyield_assets.console.pages.runs_tables import RunTables, read_run, read_run_before
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.content import plan_of_day
from defiyield_assets.domain.reporting.formats import (
    UNKNOWN,
    about_amount,
    clean,
    is_missing,
    number,
    percent,
    signed_usd,
    usd,
)
from defiyield_assets.domain.reporting.layout import Fact, Section, Table, numbers, text
from defiyield_assets.store import schema

FIGURE_COLUMNS = (*text("Figure"), *numbers("Value"), *text("Unit", "Meaning"))
UNITS = (
    ("_usd", "USD"),
    ("_wei", "wei"),
    ("_days", "days"),
    ("_seconds", "seconds"),
    ("_apy", "fraction a year"),
    ("apy_net", "fraction a year"),
    ("turnover", "fraction"),
    ("n_pools", "pools"),
    ("n_steps", "transactions"),
    ("_objective", "USD"),
    ("_bound", "USD"),
    ("_gap", "USD"),
)
"""End of a column's name -> unit of its values."""


def run(view: View, question: Question) -> Page:
    """The page."""
    found = read_run(view, question)
    facts = found.facts
    run_id = str(facts["run_id"])
    before = read_run_before(view, found.day)
    return Page(
        title=f"Run {run_id}",
        here="runs",
        headline=clean(facts["message"]),
        day=found.day,
        tone="good" if facts["status"] in ("optimal", "hold") else "warn",
        paragraphs=(
            Inner(f"The plan of {found.day} with all its reasons", "plan", date=found.day),
            f"Status: {str(facts['status']).replace('_', ' ')}.",
            f"{BECAME}: {became(found.execution) or UNKNOWN}. {sent_words(view, found)}".strip(),
        ),
        facts=_promises(facts),
        facts_assets=("allocation_runs",),
        panels=(
            _identity(found),
            _solvers(found),
            *_advice(view, found),
            *policy_panels(view, found, before),
            _row(found),
        ),
        is_dated=False,
        downloads=(
            ("Steps and holdings as CSV", address("runs", run_id, "plan.csv")),
            ("Everything as JSON", address("runs", run_id, "plan.json")),
        ),
    )


def _promises(facts: dict[str, Any]) -> tuple[Fact, ...]:
    return (
        Fact("Projected APY", percent(facts["projected_apy"]), f"{percent(facts['projected_apy_net'])} after costs"),
        Fact("Doing nothing", percent(facts["hold_apy"]), "APY on all assets; idle cash counts as 0"),
        Fact(
            "Gain against doing nothing",
            signed_usd(facts["gain_usd"] - facts["hold_gain_usd"]),
            f"over {number(facts['horizon_days'])} days, after costs; the plan alone: {usd(facts['gain_usd'])}",
        ),
        Fact("Costs", usd(facts["gas_usd"] + facts["conversion_usd"]), "gas and conversion"),
        Fact("Assets under management", usd(facts["aum_usd"])),
        Fact("ETH for gas", about_amount(facts["eth_balance_wei"], 18), "ETH"),
    )


def _identity(found: RunTables) -> Panel:
    """The hashes by which the run can be made again."""
    facts = found.facts
    told = (
        Fact("Run", clean(facts["run_id"], 80)),
        Fact("Policy hash", clean(facts["policy_hash"], 80), "SHA-256 of the policy's canonical JSON"),
        Fact("Input hash", clean(facts["input_hash"], 80), "SHA-256 of all other inputs"),
        Fact("Asked for", f"{facts['objective']}, {facts['method']}", f"horizon {number(facts['horizon_days'])} days"),
    )
    table = Table(
        text("What", "Value", "Meaning"), tuple((fact.name, fact.value, fact.remark) for fact in told), fold="never"
    )
    return Panel(Section("identity", "What it rests on", tables=(table,)), ("allocation_runs",), found.day)


def _solvers(found: RunTables) -> Panel:
    """Both solvers, and how far the plan may be from the best one."""
    facts = found.facts
    if is_missing(facts["solver"]):
        words = "No solver was asked: the day was settled before one was needed."
        return Panel(Section("solvers", "Solvers", (words,)), ("allocation_runs",), found.day)
    rows = (
        (
            clean(facts["solver"], 60),
            clean(facts["solver_status"], 40),
            *(_float_usd(facts[f"solver_{name}"]) for name in ("objective", "bound", "gap")),
            "" if is_missing(facts["solver_seconds"]) else f"{number(facts['solver_seconds'], 3)} s",
        ),
        (
            "none" if is_missing(facts["second_solver"]) else clean(facts["second_solver"], 60),
            "",
            *(_float_usd(facts[f"second_{name}"]) for name in ("objective", "bound")),
            "",
            "",
        ),
    )
    columns = (*text("Solver", "Status"), *numbers("Objective", "Bound", "Gap", "Time"))
    by = facts["verified_by"]
    verified = (
        "No second solver confirmed it."
        if is_missing(by)
        else f"A second solver confirms it by its {clean(by, 40).replace('_', ' ')}."
    )
    limit = _float_usd(facts["lp_bound_usd"])
    words = (
        "The objective is the gain against doing nothing over the horizon, in USD, as solvers count it: by straight "
        "lines, which stay a little below the exact figures above. By the same count no plan can be better than the "
        f"bound. {verified} Without fixed costs and minima no plan would gain more than {limit} against doing nothing."
    )
    section = Section("solvers", "Solvers", (words,), tables=(Table(columns, rows, fold="never"),))
    return Panel(section, ("allocation_runs",), found.day)


def _float_usd(value: Any) -> str:
    """A solver's figure: a float, to a hundredth of a cent."""
    if is_missing(value):
        return UNKNOWN
    rounded = round(float(value), 4) + 0.0
    return f"-${-rounded:,.4f}" if rounded < 0 else f"${rounded:,.4f}"


def _advice(view: View, found: RunTables) -> tuple[Panel, ...]:
    """Steps, holdings and limits as the report of the day words them."""
    day = content_of(replace(view, day=found.day))
    plan = plan_of_day(day.inputs)
    if plan is None or plan["run_id"] != found.facts["run_id"]:
        words = [
            f"Another run is the plan of {found.day}, so the steps of this one are not shown: they are not to be sent. "
            "Its files have them, with its holdings."
        ]
        if plan is not None:
            words.append(Inner("The run that is the plan", "runs", str(plan["run_id"])))
        return (Panel(Section("steps", "Steps", tuple(words)), ("allocation_runs",), found.day),)
    return day.panels("steps", "plan", "why", "limits")


def _row(found: RunTables) -> Panel:
    """The run as it is stored, every digit."""
    rows = tuple(
        (column.name, _exact(found.facts[column.name]), _unit(column), clean(column.comment))
        for column in schema.allocation_runs.columns
    )
    table = Table(FIGURE_COLUMNS, rows, caption="allocation_runs", fold="always")
    words = "Fractions are not percent: 0.05 is 5%."
    return Panel(
        Section("stored", "The run as it is stored", (words,), tables=(table,)), ("allocation_runs",), found.day
    )


def _exact(value: Any) -> str:
    if is_missing(value):
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else clean(value, 600)


def _unit(column: sa.Column[Any]) -> str:
    return next((unit for end, unit in UNITS if column.name.endswith(end)), "")
