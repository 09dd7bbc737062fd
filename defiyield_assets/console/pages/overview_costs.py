"""What a day's expenses were made of, and what the plan of the day before had reckoned with.

Lives here: the table that splits them, exactly, by the ledger's postings. Not here: the expenses themselves
(domain/ledger/nav.py), what each position cost (domain/reporting/ledger_sections.py).
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from defiyield_assets.console.layout import Panel
from defiyield_assets.console.pages.day_content import DayContent
from defiyield_assets.console.views import View
from defiyield_assets.domain.ledger.accounts import CONVERSION_COST, CONVERSIONS, GAS
from defiyield_assets.domain.ledger.valuation import exact_sum
from defiyield_assets.domain.reporting.formats import is_missing, usd
from defiyield_assets.domain.reporting.layout import Table, numbers, text
from defiyield_assets.domain.reporting.ledger_sections import POOL_COSTS
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import schema

KINDS = (
    ("Gas", (GAS,), "gas_usd"),
    ("Conversion: fees and slippage of swaps", (CONVERSIONS,), "conversion_usd"),
    ("Fees of routes and keepers, in ETH", (CONVERSION_COST,), None),
)
"""Words, accounts, and what a plan calls the same."""
ACCOUNTS = [account for _, accounts, _ in KINDS for account in accounts]
CAPTION = "What the expenses of the day were, and what the plan of the day before reckoned with"


def with_costs(view: View, day: DayContent, panel: Panel) -> Panel:
    """The panel about the day's earnings with the split of its expenses; as it is where there is nothing to split."""
    nav = {row["date"]: row for row in records(day.inputs.nav_daily)}
    today, before = nav.get(view.day), view.day - timedelta(days=1)
    if today is None or before not in nav:
        return panel
    plan = next(iter(records(day.inputs.decided_runs)), None)
    columns = ["account", "classification", "pool_id", "valued_usd"]
    rows = records(view.read(schema.ledger_postings, {"account": ACCOUNTS}, columns))
    planned = Decimal(0) if plan is None else plan["gas_usd"] + plan["conversion_usd"]
    if not rows and not planned:
        return panel
    if any(is_missing(row["valued_usd"]) for row in rows) or _paid(rows) != today["expenses_usd"]:
        words = "The expenses cannot be split: the day's postings do not add up to them."
        return _added(panel, words)
    return _added(panel, _told(rows), _table(rows, plan, str(before)))


def _added(panel: Panel, words: str, *tables: Table) -> Panel:
    """The panel with more words and tables, the tables before its own."""
    section = panel.section
    more = replace(section, paragraphs=(*section.paragraphs, words), tables=(*tables, *section.tables))
    return replace(panel, section=more, assets=(*panel.assets, "ledger_postings", "allocation_runs"))


def _paid(rows: list[dict[str, Any]]) -> Decimal:
    return exact_sum(row["valued_usd"] for row in rows)


def _of_pools(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of transactions that go into or out of one pool."""
    return [row for row in rows if not is_missing(row["pool_id"])]


def _told(rows: list[dict[str, Any]]) -> str:
    """How much of the expenses the positions' column of costs takes in, and what the rest is."""
    paid, own = _paid(rows), _paid(_of_pools(rows))
    rest = exact_sum([paid, own.copy_negate()])
    gas: dict[str, list[Decimal]] = {}
    for row in rows:
        if row["account"] == GAS:
            gas.setdefault(str(row["classification"]).replace("_", " "), []).append(row["valued_usd"])
    parts = ", ".join(f"{kind} {usd(exact_sum(values))}" for kind, values in sorted(gas.items()))
    told = (
        f"Of the day's expenses of {usd(paid)} the column “{POOL_COSTS}” takes in {usd(own)}: what the transactions "
        f"into and out of each pool cost themselves. The other {usd(rest)} belong to no single pool: they are what "
        "moving between pools costs besides, such as swaps, approvals and transactions that failed."
    )
    return f"{told} Gas by kind of transaction: {parts}." if parts else told


def _table(rows: list[dict[str, Any]], plan: dict[str, Any] | None, before: str) -> Table:
    """Each kind of expense: what was paid, how much of it for single pools, and what the plan reckoned with."""
    listed = []
    for words, accounts, figure in KINDS:
        own = [row for row in rows if row["account"] in accounts]
        if own or figure is not None:
            listed.append((words, own, None if plan is None or figure is None else plan[figure]))
    planned = None if plan is None else exact_sum([plan["gas_usd"], plan["conversion_usd"]])
    listed.append(("Expenses", rows, planned))
    columns = (*text("What"), *numbers("Paid", "Of it for single pools"))
    columns += numbers(f"Plan of {before}") if plan is not None else ()
    told = tuple(
        (
            words,
            usd(_paid(own)),
            usd(_paid(_of_pools(own))),
            *(() if plan is None else ("" if one is None else usd(one),)),
        )
        for words, own, one in listed
    )
    caption = CAPTION if plan is not None else "What the expenses of the day were"
    return Table(columns, told, caption=caption, fold="never")
