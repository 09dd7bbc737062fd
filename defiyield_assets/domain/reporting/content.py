"""What the report says, once, for every form in which it is shown: page, Markdown, terminal and Slack.

Lives here: the headline of each kind of day, its tone and the order of the sections. Not here: the sections
(*_sections.py) or escaping for a medium (report.py, slack.py).
"""

from dataclasses import fields, replace
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.domain.days import cutoff
from defiyield_assets.domain.reporting.explained_sections import limits_section, why_section
from defiyield_assets.domain.reporting.forecast_sections import forecasts_section
from defiyield_assets.domain.reporting.formats import (
    clean,
    is_missing,
    number,
    percent,
    points,
    signed_usd,
    token_amount,
    usd,
)
from defiyield_assets.domain.reporting.health_sections import broken_words, care_words, health_section
from defiyield_assets.domain.reporting.icebox_sections import icebox_section
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs, collect_names
from defiyield_assets.domain.reporting.layout import Content, Fact, Section
from defiyield_assets.domain.reporting.ledger_sections import earned_section, unexplained_section, unexplained_words
from defiyield_assets.domain.reporting.nav_sections import nav_section
from defiyield_assets.domain.reporting.plan_sections import (
    assumed_section,
    holdings_section,
    left_out_section,
    steps_section,
)
from defiyield_assets.domain.reporting.pool_sections import pools_section

NO_PLAN = "no_plan"
"""Status when the day has no row in allocation_runs."""

VERDICTS = {
    "optimal": ("Rebalance", "good", "A plan was found: send the steps below in their order."),
    "hold": ("Hold", "calm", "Nothing to do: send no transaction today."),
    "infeasible": (
        "Hold: no plan keeps every limit",
        "bad",
        "No plan keeps every limit of the policy, so none is given. Hold until a limit or the holdings change.",
    ),
    "no_capital": ("Nothing to invest", "calm", "The treasury has no investable capital today."),
    "no_pools": (
        "Hold: no eligible pool",
        "warn",
        "No pool passed the filters today, so there is nothing to plan with.",
    ),
    "unverified": (
        "Do not act: the plan could not be verified",
        "bad",
        "The two solvers disagree, so no plan is published. Hold; nothing on this page is an instruction.",
    ),
    "screened": (
        "Do not act: the day was only screened",
        "warn",
        "Method lp weighs no fixed costs and no minimum sizes: its steps are no advice. Set method milp for a plan.",
    ),
    NO_PLAN: (
        "Do not act: there is no plan for this day",
        "bad",
        "No plan was made for this day. Data health says why; nothing here is an instruction.",
    ),
}
"""Headline, tone (good, calm, warn, bad) and meaning of each status."""
PUBLISHED = ("optimal", "hold")
"""Statuses whose figures and steps may be shown as advice."""


def build_content(inputs: ReportInputs, names: Names | None = None) -> Content:
    """Everything that the report of the day says, as plain text, in the order in which an analyst asks.

    `names` are those that collect_names gives of the same inputs, for whoever needs them too.

    The tone is that of the plan; it becomes `warn` only by what changes how one should act: broken rules, a source of
    the plan that failed, money that the ledger cannot explain.
    """
    inputs = _known_then(inputs)
    run = plan_of_day(inputs)
    status = _status(run)
    headline, tone, meaning = VERDICTS[status]
    if run is not None and status == "optimal":
        steps = "1 transaction" if run["n_steps"] == 1 else f"{run['n_steps']} transactions"
        headline = f"{headline} to {percent(run['projected_apy'])} APY in {steps}"
    names = collect_names(inputs) if names is None else names
    is_published = status in PUBLISHED
    sections = [
        steps_section(inputs, names, is_published=is_published),
        holdings_section(inputs, names, run, is_published=is_published),
        why_section(inputs, names, run, is_published=is_published),
        pools_section(inputs, names, run, is_published=is_published),
        limits_section(inputs, names, run, is_published=is_published),
        left_out_section(inputs, names, run, is_published=is_published),
        earned_section(inputs, names, run),
        nav_section(inputs),
        unexplained_section(inputs, names),
        forecasts_section(inputs, names, is_published=is_published),
        icebox_section(inputs, names),
        health_section(inputs),
        assumed_section(inputs, names, run, is_published=is_published),
        _next_section(inputs, status),
    ]
    paragraphs = [meaning]
    if run is not None and clean(run["message"]) != meaning:
        paragraphs.append(clean(run["message"], 1_000))
    if status == "optimal" and run is not None and is_missing(run["verified_by"]):
        paragraphs.append("No second solver has confirmed this plan.")
    care, is_grave = care_words(inputs)
    for words, changes_acting in ((broken_words(inputs), True), (care, is_grave), (unexplained_words(inputs), True)):
        if words is not None:
            tone = "warn" if changes_acting and tone in {"good", "calm"} else tone
            paragraphs.append(words)
    return Content(
        day=inputs.day,
        run_id="" if run is None else str(run["run_id"]),
        title=f"{inputs.day}: {headline}",
        headline=headline,
        tone=tone,
        status=status,
        paragraphs=tuple(paragraphs),
        facts=() if run is None else tuple(_facts(run, status)),
        sections=tuple(section for section in sections if section is not None),
        provenance=tuple(_provenance(inputs, run)),
    )


def _known_then(inputs: ReportInputs) -> ReportInputs:
    """The inputs without rows that are dated later than the day: a report tells nothing later than its as-of."""
    kept: dict[str, Any] = {
        item.name: _up_to(value, inputs.day)
        for item in fields(inputs)
        if isinstance(value := getattr(inputs, item.name), pd.DataFrame)
    }
    newest = {name: None if day is None or day > inputs.day else day for name, day in inputs.newest_days.items()}
    return replace(inputs, **kept, newest_days=newest)


def _up_to(frame: pd.DataFrame, day: date) -> pd.DataFrame:
    """Rows whose date, and whose vintage, is not after the day."""
    for column in ("date", "as_of"):
        if len(frame) and column in frame:
            frame = frame.loc[[known <= day for known in frame[column]]]
    return frame


def plan_of_day(inputs: ReportInputs) -> dict[str, Any] | None:
    """The row of `allocation_runs` of the day, the last one by run id, or None."""
    rows = inputs.allocation_runs
    rows = rows.loc[rows["date"] == inputs.day] if len(rows) else rows
    records: list[dict[str, Any]] = rows.sort_values("run_id").to_dict("records") if len(rows) else []  # type: ignore[assignment]
    return records[-1] if records else None


def _status(run: dict[str, Any] | None) -> str:
    """Status in the reader's words: an optimal plan that moves nothing is a day to hold."""
    if run is None:
        return NO_PLAN
    return "hold" if run["status"] == "optimal" and run["n_steps"] == 0 else str(run["status"])


def _facts(run: dict[str, Any], status: str) -> list[Fact]:
    """The figures of the headline; those of a plan only where there is one to follow, and no figure twice."""
    funds = [
        Fact(
            "Assets under management",
            usd(run["aum_usd"]),
            f"at the close of {run['date']}, and {token_amount(run['eth_balance_wei'], 18)} ETH for gas",
        ),
    ]
    holding = Fact(
        "Doing nothing",
        f"{percent(run['hold_apy'])} APY",
        f"{usd(run['hold_gain_usd'])} in {run['horizon_days']} days; idle cash counts as 0",
    )
    if status != "optimal":
        return [holding, *funds]
    advantage = run["gain_usd"] - run["hold_gain_usd"]
    more_apy = run["projected_apy"] - run["hold_apy"]
    costs = run["gas_usd"] + run["conversion_usd"]
    earned_back = (
        "" if is_missing(run["break_even_days"]) else f", earned back in {number(run['break_even_days'], 1)} days"
    )
    return [
        Fact(
            "Projected APY on all assets",
            percent(run["projected_apy"]),
            f"{percent(run['projected_apy_net'])} after costs; idle cash counts as 0",
        ),
        Fact(
            "Gain against doing nothing",
            signed_usd(advantage),
            f"over {run['horizon_days']} days, after costs; {points(more_apy)} of APY before them",
        ),
        holding,
        Fact(
            "Costs",
            usd(costs),
            f"gas {usd(run['gas_usd'])}, conversion {usd(run['conversion_usd'])}{earned_back}",
        ),
        Fact(
            "Transactions",
            number(run["n_steps"]),
            f"moving {percent(run['turnover'])} of assets; {run['n_pools']} pools at the end",
        ),
        *funds,
    ]


def _provenance(inputs: ReportInputs, run: dict[str, Any] | None) -> list[Fact]:
    facts = [
        Fact("Day", f"{inputs.day} (UTC)", ""),
        Fact("Facts known by", f"{cutoff(inputs.day):%Y-%m-%d %H:%M} UTC", ""),
    ]
    if inputs.market:
        facts.append(Fact("Market", clean(inputs.market, 40), ""))
    if run is None:
        return facts
    facts += [
        Fact("Run", clean(run["run_id"], 120), ""),
        Fact("Policy", clean(run["policy_hash"], 80), ""),
        Fact("Inputs", clean(run["input_hash"], 80), ""),
        Fact("Objective", f"{clean(run['objective'], 20)}, {clean(run['method'], 20)}, {run['horizon_days']} days", ""),
    ]
    if not is_missing(run["solver"]):
        facts.append(Fact("Solver", _solver_words(run), ""))
    return facts


def _solver_words(run: dict[str, Any]) -> str:
    words = f"{clean(run['solver'], 60)}: {clean(run['solver_status'], 40)}"
    words += f", objective {number(run['solver_objective'], 2)} USD"
    if not is_missing(run["solver_gap"]):
        words += f", gap {number(run['solver_gap'], 4)} USD"
    if not is_missing(run["second_solver"]):
        words += f"; second solver {clean(run['second_solver'], 60)}"
    if not is_missing(run["verified_by"]):
        words += f"; verified by {clean(run['verified_by'], 20)}"
    return words


def _next_section(inputs: ReportInputs, status: str) -> Section:
    """Pointers that depend on what happened."""
    where = []
    if len(inputs.outcomes):
        where.append(
            "Repair first: run the failed assets of this day again; those marked not recoverable stay degraded."
        )
    if status == "optimal":
        where.append("Send the steps in their order; the check plan_replay has replayed them to the last base unit.")
    if status == "infeasible":
        where.append(
            "The message above names the smallest relaxation: change that limit in the policy or accept holding."
        )
    where += [
        "Why a pool is in or out: tables prefiltered_pools and eligible_pools of this day.",
        "What the forecasts rest on: pool_forecasts, forecast_evaluations, forecast_scores and forecast_scoreboard.",
        "What was really earned: nav_daily, yield_attribution and ledger_postings; the books: defiyield ledger --help.",
        "Every vendor answer behind this page: raw_fetches.",
    ]
    return Section("next", "Where to look next", bullets=tuple(where))
