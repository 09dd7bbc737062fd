"""The sections that explain the plan: why each pool is in or out in numbers, which limits bind and what they cost.

Lives here: tables made from allocations, allocation_limits and risk_gain_frontier. Not here: what to hold and how to
get there (plan_sections.py), the rates of the pools (pool_sections.py); the figures themselves
(domain/allocation/reasons.py, worth.py, frontier.py).
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from defiyield_assets.domain.reporting.formats import clean, is_missing, number, percent, usd, worth_words
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import ACTIONS, IDLE, records, refusals_of_held, why_words

MOST_POOLS = 100
"""Pools explained; the table allocations holds the others."""
POOL_LIMITS = ("max_pool_share", "max_pool_tvl_share", "exit_share")
"""Limits whose subject is a pool."""
LIMITS = {
    "max_pool_share": "share of AUM in one pool",
    "max_pool_tvl_share": "our part of a pool's size",
    "exit_share": "our part of what can be withdrawn",
    "max_protocol_share": "share of AUM in one protocol",
    "max_token_share": "share of AUM in tokens of one issuer",
    "max_chain_share": "share of AUM on one chain",
    "max_illiquid_share": "share of AUM that takes days to leave",
    "max_group_share": "share of AUM in one risk group",
    "idle_buffer_share": "cash to keep",
    "min_pools": "number of pools",
    "break_even_days": "days to earn costs back",
    "eth_balance": "ETH for gas",
}
"""What the names of limits mean."""
WHY_COLUMNS = (
    *text("Pool", "Action"),
    *numbers("Earns", "Next dollar", "A dollar in the plan", "Costs", "Earned back in days"),
    *text("Limit", "Why", "Pool id"),
)
LIMIT_COLUMNS = (*text("Limit", "Of"), *numbers("Limit in USD", "Used"), *text("Relaxed by"), *numbers("Worth"))
FRONTIER_COLUMNS = (
    *numbers("Cap on a pool", "Cap on a protocol", "Gain", "Gain at p10", "Largest loss"),
    *text("By protocol", ""),
)


def why_section(
    inputs: ReportInputs, names: Names, run: dict[str, Any] | None, *, is_published: bool
) -> Section | None:
    """Every pool of the final list: held and planned ones first, then those left out, the best of them first."""
    rows = inputs.allocations
    if run is None or not is_published or rows.empty or "gain_usd" not in rows:
        return None
    pools = records(rows[rows["pool_id"] != IDLE].drop_duplicates("pool_id"))
    if not pools:
        return None
    pools.sort(key=_best_first)
    words = [
        f"Earns is what the whole position earns over {number(run['horizon_days'])} days before costs. The next two "
        "are APYs of one dollar more, not of the whole position. Next dollar: what it would earn in this pool. A "
        "dollar in the plan: what a dollar of the tokens that the pool takes would earn where the plan would put it, "
        "after its conversion and before gas; where the best places are full it is less than the APY of the "
        "plan, and it is unknown where the plan has no cash to place.",
        "A pool that is out can pay only where the first is higher, and then only if a whole position pays for its "
        "costs and for the room that it takes from others: the rate in its reason is that of the size that suits it "
        "best, in which its own deposit dilutes it, so it is no higher than that of its next dollar. A pool that was "
        "filled to a limit has the higher first figure: more of it would earn more. A pool that takes what the better "
        "ones leave is filled until both are about the same: one dollar more dilutes it further, and the plan reckons "
        "in straight lines, so the first may be a little lower. It is lower, too, in a pool that is there only "
        "because the plan needs so many, and in one that makes room. One that is kept or must be left says why.",
        "Costs are those of the pool's own steps, of pools left out those of entering them. Beside a limit stands what "
        "relaxing it is worth, as the limits below have it.",
    ]
    if len(pools) > MOST_POOLS:
        words[-1] += f" The table allocations explains {len(pools) - MOST_POOLS} more."
    worths = {f"{row['limit_name']} {row['subject']}": row for row in records(inputs.allocation_limits)}
    refusals = refusals_of_held(inputs)
    table = Table(WHY_COLUMNS, tuple(_why_row(row, names, worths, refusals) for row in pools[:MOST_POOLS]))
    return Section("why", "Why, pool by pool", tuple(words), tables=(table,))


def _best_first(row: dict[str, Any]) -> tuple[bool, float, float, str]:
    rate = row["marginal_apy"]
    gain = 0.0 if is_missing(row["gain_usd"]) else float(row["gain_usd"])
    return row["action"] == "left_out", -gain, 0.0 if is_missing(rate) else -float(rate), str(row["pool_id"])


def _why_row(
    row: dict[str, Any], names: Names, worths: Mapping[str, dict[str, Any]], refusals: Mapping[str, str]
) -> tuple[str, ...]:
    binding = row["binding_limit"]
    limit = None if is_missing(binding) else worths.get(str(binding))
    told = "" if limit is None or is_missing(limit["worth_usd"]) else worth_words(limit["worth_usd"], limit["worth_by"])
    return (
        names.pool_link(row["pool_id"]),
        "out" if row["action"] == "left_out" else ACTIONS.get(str(row["action"]), clean(row["action"], 20)),
        usd(row["gain_usd"]),
        percent(row["marginal_apy"]),
        percent(row["dollar_apy"]),
        usd(row["cost_usd"]),
        "" if is_missing(row["break_even_days"]) else number(row["break_even_days"], 1),
        f"{limit_words(binding)}; {clean(limit['relaxation'], 60)}: {told}" if limit and told else limit_words(binding),
        why_words(row, refusals),
        clean(row["pool_id"], 80),
    )


def limit_words(binding: Any) -> str:
    """The limit of `binding_limit` in words, with its subject where that is not the pool itself."""
    if is_missing(binding):
        return ""
    name, _, subject = str(binding).partition(" ")
    words = LIMITS.get(name, clean(name, 40))
    return words if name in POOL_LIMITS or subject in ("plan", "illiquid") else f"{words}: {clean(subject, 40)}"


def limits_section(inputs: ReportInputs, names: Names, run: dict[str, Any] | None, *, is_published: bool) -> Section:
    """Every limit that binds with what relaxing it is worth, the dearest first."""
    title = "What holds the plan back"
    if run is None or not is_published:
        return Section("limits", title, ("No plan is published for this day, so no limit is judged.",))
    rows = [row for row in records(inputs.allocation_limits) if bool(row["is_binding"])]
    rows.sort(key=lambda row: (-_worth(row), str(row["limit_name"]), str(row["subject"])))
    words: list[str] = []
    if not len(inputs.allocation_limits):
        return Section("limits", title, (*words, "No limit was judged for this plan."))
    if not rows:
        return Section("limits", title, (*words, "None of the limits that the plan uses binds."))
    words.append(
        f"Worth is what relaxing the limit alone gains over {number(run['horizon_days'])} days after costs: the day "
        "was solved again with it. What is marked with ~ was not: it is the limit's shadow price times the room, about "
        "what the room is worth while the plan keeps its decisions; others may make more of it. Of two limits that "
        "bind together neither may be worth anything alone."
    )
    table = Table(LIMIT_COLUMNS, tuple(_limit_row(row, names) for row in rows))
    return Section("limits", title, tuple(words), tables=(table,))


def _worth(row: dict[str, Any]) -> float:
    return 0.0 if is_missing(row["worth_usd"]) else float(row["worth_usd"])


def _limit_row(row: dict[str, Any], names: Names) -> tuple[str, ...]:
    name, subject = str(row["limit_name"]), str(row["subject"])
    of = (
        names.pool_link(subject)
        if name in POOL_LIMITS
        else ""
        if subject in ("plan", "illiquid")
        else clean(subject, 40)
    )
    return (
        LIMITS.get(name, clean(name, 40)),
        of,
        # Limits on numbers of pools or days have no dollars.
        "" if is_missing(row["limit_usd"]) else usd(row["limit_usd"]),
        "" if is_missing(row["used_usd"]) else usd(row["used_usd"]),
        clean(row["relaxation"], 60),
        worth_words(row["worth_usd"], row["worth_by"]),
    )


def frontier_table(points: pd.DataFrame) -> Table | None:
    """What other caps would gain and risk: rows of `risk_gain_frontier`, None without any."""
    rows = records(points)
    if not rows:
        return None
    rows.sort(key=lambda row: int(row["point"]))
    return Table(FRONTIER_COLUMNS, tuple(map(_frontier_row, rows)))


def _frontier_row(row: dict[str, Any]) -> tuple[str, ...]:
    remark = "the policy" if bool(row["is_chosen"]) else ""
    if is_missing(row["gain_usd"]):
        remark = f"{remark} no plan: {clean(row['message'])}".strip()
    return (
        percent(row["max_pool_share"], 0),
        percent(row["max_protocol_share"], 0),
        "" if is_missing(row["gain_usd"]) else usd(row["gain_usd"]),
        "" if is_missing(row["gain_usd"]) else usd(row["low_gain_usd"]),
        "" if is_missing(row["worst_loss_usd"]) else usd(row["worst_loss_usd"]),
        "" if is_missing(row["worst_protocol"]) else clean(row["worst_protocol"], 40),
        remark,
    )
