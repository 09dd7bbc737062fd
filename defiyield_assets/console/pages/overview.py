"""The first page: what the treasury is worth, what to do today, how sound the data are, what ran last.

Lives here: choosing parts of the day's report, and the last days in a table. Not here: what the report says
(domain/reporting), the whole plan (plan.py).
"""

from typing import Any

from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.console.pages.day_content import DayContent, content_of
from defiyield_assets.console.pages.overview_costs import with_costs
from defiyield_assets.console.pages.plan_outcome import told_of_plan
from defiyield_assets.console.pages.runs import BECAME, became
from defiyield_assets.console.pages.runs_sent import sent_briefly
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import is_missing, number, percent, usd
from defiyield_assets.domain.reporting.layout import Fact, Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import schema

LAST_DAYS = 14
RETURN = "Time-weighted return"
"""The figure of the report's section about net asset value that stands on top of this page, too."""
RUN_COLUMNS = (
    *text("Day", "Plan"),
    *numbers("Transactions", "Projected APY", "Doing nothing", "Costs", "Net asset value"),
    *text(BECAME),
)


def overview(view: View, _question: Question) -> Page:
    """The page."""
    day = content_of(view)
    told = told_of_plan(view, day)
    return Page(
        title="Overview",
        here="overview",
        headline=day.content.headline,
        tone=day.content.tone,
        day=view.day,
        paragraphs=(*told, Inner("The plan with all its reasons", "plan", date=view.day)),
        facts=(*_worth(day), *day.content.facts),
        facts_assets=("allocation_runs", "nav_daily"),
        panels=(
            *day.panels("steps", "nav"),
            *(with_costs(view, day, panel) for panel in day.panels("earned")),
            *day.panels("unexplained", "health"),
            _last_runs(view),
        ),
    )


def _worth(day: DayContent) -> tuple[Fact, ...]:
    """Net asset value and time-weighted return; nothing where the ledger does not have the day."""
    nav = day.inputs.nav_daily
    today = records(nav[nav["date"] == day.inputs.day]) if len(nav) else []
    if not today:
        return ()
    value = Fact(
        "Net asset value", usd(today[0]["nav_usd"]), f"all wallets and positions at the close of {day.inputs.day}"
    )
    section = day.content.section("nav")
    returns = () if section is None else tuple(fact for fact in section.facts if fact.name == RETURN)
    return (value, *returns)


def _last_runs(view: View) -> Panel:
    """The plans of the last days, newest first, and what became of them."""
    runs = view.read(schema.allocation_runs, back=LAST_DAYS - 1)
    executions = {row["run_id"]: row for row in records(view.read(schema.plan_executions, back=LAST_DAYS - 1))}
    nav = {row["date"]: row["nav_usd"] for row in records(view.read(schema.nav_daily, back=LAST_DAYS - 1))}
    sent = sent_briefly(view, executions.values())
    rows = [
        _row(run, became(executions.get(run["run_id"]), sent), nav.get(run["date"]))
        for run in sorted(records(runs), key=lambda row: row["date"], reverse=True)
    ]
    words = f"The plans of the last {LAST_DAYS} days up to {view.day}, newest first."
    section = Section("runs", "Last plans", (words,), tables=(Table(RUN_COLUMNS, tuple(rows), fold="never"),))
    return Panel(section, ("allocation_runs", "plan_executions", "nav_daily"), view.day)


def _row(run: dict[str, Any], what_became: str, nav_usd: Any) -> tuple[str, ...]:
    return (
        Inner(str(run["date"]), "runs", str(run["run_id"])),
        str(run["status"]).replace("_", " "),
        number(run["n_steps"]),
        percent(run["projected_apy"]),
        percent(run["hold_apy"]),
        usd(run["gas_usd"] + run["conversion_usd"]),
        "" if is_missing(nav_usd) else usd(nav_usd),
        what_became,
    )
