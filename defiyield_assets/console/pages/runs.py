"""All plans, newest first, and what became of them.

Lives here: the list, a page at a time. Not here: one plan with everything behind it (runs_detail.py).
"""

from collections.abc import Mapping
from typing import Any

from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.console.pages.runs_sent import sent_briefly
from defiyield_assets.console.paging import turn
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import clean, number, percent, signed_usd, usd
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import reads, schema
from defiyield_assets.store.row_pages import Wanted, count_rows, read_page

BECAME = "What became of it the day after, as known by now"
"""A plan is sent on the day after its own: this may be later than every other figure of a page."""
MOST = 50
"""Plans of a page."""
SHOWN_DIGITS = 8
"""Of a hash, as many as the run's id has of it."""
RUN_COLUMNS = (
    *text("Day", "Plan"),
    *numbers("Assets", "Projected APY", "Doing nothing", "Gain against it", "Costs", "Transactions"),
    *text("Solver", "Policy", "Inputs", BECAME),
)


def runs(view: View, question: Question) -> Page:
    """The page."""
    wanted = Wanted(schema.allocation_runs, through=view.day, newest_by=("date",))
    pager = turn(question, count_rows(view.connection, wanted), MOST, "runs", date=question.day())
    # One more than is shown: whether the policy changed is told against the plan before.
    found = records(read_page(view.connection, wanted, pager.first, MOST + 1))
    shown = found[:MOST]
    executions = _executions(view, shown)
    sent = sent_briefly(view, executions.values())
    before = [*found[1:], None]
    rows = tuple(
        _row(run, old, became(executions.get(run["run_id"]), sent)) for run, old in zip(shown, before, strict=False)
    )
    words = (
        "Gain is what the plan expects over its horizon, after costs, beyond what doing nothing would earn; costs are "
        "gas and conversion of all its steps. Transactions are its steps; more are sent where these need approvals, or "
        "fail and are sent again: the page of a plan tells which. "
        "Policy and inputs are the beginnings of their hashes; the page of a plan has them in full."
    )
    section = Section("runs", "Plans", (words,), tables=(Table(RUN_COLUMNS, rows, fold="never"),))
    return Page(
        title="Runs",
        here="runs",
        headline=_headline(pager.total, view),
        day=view.day,
        panels=(Panel(section, ("allocation_runs", "plan_executions"), view.day),),
        template="paged.html.j2",
        extra={"pager": pager},
    )


def _headline(total: int, view: View) -> str:
    if not total:
        return f"No plan was made up to {view.day}"
    return f"{number(total)} {'plan' if total == 1 else 'plans'} up to {view.day}"


def _executions(view: View, shown: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What became of these plans, by run id."""
    asked = {"run_id": [run["run_id"] for run in shown]}
    return {row["run_id"]: row for row in records(reads.read_all(view.connection, schema.plan_executions, asked))}


def _row(run: dict[str, Any], before: dict[str, Any] | None, what_became: str) -> tuple[str, ...]:
    is_other = before is not None and before["policy_hash"] != run["policy_hash"]
    return (
        Inner(str(run["date"]), "runs", str(run["run_id"])),
        str(run["status"]).replace("_", " "),
        usd(run["aum_usd"]),
        percent(run["projected_apy"]),
        percent(run["hold_apy"]),
        signed_usd(run["gain_usd"] - run["hold_gain_usd"]),
        usd(run["gas_usd"] + run["conversion_usd"]),
        number(run["n_steps"]),
        "" if run["solver"] is None else clean(run["solver"], 40),
        clean(run["policy_hash"])[:SHOWN_DIGITS] + (", changed" if is_other else ""),
        clean(run["input_hash"])[:SHOWN_DIGITS],
        what_became,
    )


def became(execution: dict[str, Any] | None, sent: Mapping[str, str] | None = None) -> str:
    """What became of a plan in words, empty where nothing is known; `sent` says what was sent for it, by run id."""
    if execution is None:
        return ""
    beside = ", approvals included" if int(execution["n_transactions"]) else ""
    if sent and execution["run_id"] in sent:
        beside = f" ({sent[execution['run_id']]})"
    return f"{str(execution['status']).replace('_', ' ')}: {clean(execution['message'])}{beside}"
