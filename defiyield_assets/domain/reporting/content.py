"""What the report says, once, for every form in which it is shown: page, Markdown, terminal and Slack.

Lives here: the headline of each kind of day and the order of the sections. Not here: the sections' tables
(plan_sections.py, ledger_sections.py, outcome_sections.py) or escaping for a medium (report.py, slack.py).
"""

from typing import Any

from defiyield_assets.domain.days import cutoff
from defiyield_assets.domain.outcomes import STAYING, group_by_roots
from defiyield_assets.domain.reporting.explained_sections import limits_section, why_section
from defiyield_assets.domain.reporting.formats import (
    clean,
    is_missing,
    number,
    percent,
    signed_percent,
    signed_usd,
    token_amount,
    usd,
)
from defiyield_assets.domain.reporting.inputs import ReportInputs, collect_names
from defiyield_assets.domain.reporting.layout import Content, Fact, Section
from defiyield_assets.domain.reporting.ledger_sections import earned_section, unexplained_section, unexplained_words
from defiyield_assets.domain.reporting.outcome_sections import (
    failures_section,
    icebox_section,
    scores_section,
)
from defiyield_assets.domain.reporting.plan_sections import (
    assumed_section,
    holdings_section,
    left_out_section,
    steps_section,
)

NO_PLAN = "no_plan"
"""Status when the day has no row in allocation_runs."""

VERDICTS = {
    "optimal": ("Rebalance", "good", "A plan was found that earns more than doing nothing, costs included."),
    "hold": ("Hold", "calm", "Nothing to do: no plan beats keeping what is held by more than it costs."),
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
        "No plan was made for this day. The list of failed assets says why; nothing here is an instruction.",
    ),
}
"""Headline, tone (good, calm, warn, bad) and meaning of each status."""
PUBLISHED = ("optimal", "hold")
"""Statuses whose figures and steps may be shown as advice."""


def build_content(inputs: ReportInputs) -> Content:
    """Everything that the report of the day says, as plain text, in the order in which an analyst asks."""
    run = plan_of_day(inputs)
    status = _status(run)
    headline, tone, meaning = VERDICTS[status]
    if run is not None and status == "optimal":
        steps = "1 transaction" if run["n_steps"] == 1 else f"{run['n_steps']} transactions"
        headline = f"{headline} to {percent(run['projected_apy'])} in {steps}"
    names = collect_names(inputs)
    is_published = status in PUBLISHED
    sections = [
        holdings_section(inputs, names, is_published=is_published),
        steps_section(inputs, names, is_published=is_published),
        why_section(inputs, names, is_published=is_published),
        limits_section(inputs, names, run, is_published=is_published),
        left_out_section(inputs, names),
        earned_section(inputs, names),
        unexplained_section(inputs, names),
        scores_section(inputs),
        icebox_section(inputs),
        assumed_section(inputs, names, run),
        failures_section(inputs),
        _next_section(inputs, status),
    ]
    paragraphs = [meaning]
    if run is not None and clean(run["message"]) != meaning:
        paragraphs.append(clean(run["message"], 1_000))
    if status == "optimal" and run is not None and is_missing(run["verified_by"]):
        paragraphs.append("No second solver has confirmed this plan.")
    for care in (_care(inputs), unexplained_words(inputs)):
        if care is not None:
            tone = "warn" if tone in {"good", "calm"} else tone
            paragraphs.append(care)
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
    """The figures of the headline; those of a plan only where there is one to follow."""
    funds = [
        Fact(
            "Assets under management",
            usd(run["aum_usd"]),
            f"and {token_amount(run['eth_balance_wei'], 18)} ETH for gas",
        ),
    ]
    holding = Fact(
        "Doing nothing", percent(run["hold_apy"]), f"{usd(run['hold_gain_usd'])} in {run['horizon_days']} days"
    )
    if status not in PUBLISHED:
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
            f"over {run['horizon_days']} days, after costs; {signed_percent(more_apy)} APY before them",
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
            f"moving {percent(run['turnover'], 1)} of assets; {run['n_pools']} pools at the end",
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


def _care(inputs: ReportInputs) -> str | None:
    """The assets in trouble by name, and how many rest on them; None without any.

    What is only not configured or not confirmed is listed below, but is no reason to read otherwise.
    """
    outcomes = inputs.outcomes[~inputs.outcomes["error_class"].isin(STAYING)]
    if outcomes.empty:
        return None
    own, resting = group_by_roots(dict(zip(outcomes["asset"], outcomes["reason"], strict=True)))
    named = sorted(own) or sorted(resting)
    words = f"Read with care: degraded or failed today: {', '.join(clean(name, 60) for name in named[:8])}"
    words += f" and {len(named) - 8} more" if len(named) > 8 else ""
    n_resting = sum(map(len, resting.values())) if own else 0
    return words + (f"; {n_resting} assets rest on them." if n_resting else ".")


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
