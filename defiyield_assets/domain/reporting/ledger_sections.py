"""The sections that come from the ledger: what was really earned, and what nobody can explain.

Lives here: the day's net asset value, returns, positions and open questions as text. Not here: their figures
(domain/ledger), net asset value over time (nav_sections.py), the plan (plan_sections.py).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from defiyield_assets.domain.ledger.attribution import annualise
from defiyield_assets.domain.ledger.valuation import RATIO, exact_sum
from defiyield_assets.domain.reporting.formats import (
    UNKNOWN,
    clean,
    is_missing,
    number,
    percent,
    points,
    short_id,
    signed_percent,
    signed_usd,
    token_amount,
    usd,
)
from defiyield_assets.domain.reporting.inputs import ETHEREUM, Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Fact, Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import DUST_USD, records

POOL_COSTS = "Costs, paid beside it"
"""The column of what the transactions of a pool cost."""
ATTRIBUTION_COLUMNS = (
    *text("Pool"),
    *numbers("At the start", "Earned", "Advertised the day before", "Forecast", "Realised"),
    *numbers("Gap: rate", "Gap: dilution", "Gap: price", "Gap: cost"),
)
POSITION_COLUMNS = (
    *text("Pool"),
    *numbers("At the start", "In and out", "Earned", "Price change", "At the end", POOL_COSTS),
)
UNEXPLAINED_COLUMNS = (
    *text("Since", "Token"),
    *numbers("Amount", "Value then"),
    *text("Whom with", "Looks like", "What would explain it", "Transaction"),
)
LARGEST_APY = 10.0
"""A day's move beyond this, annualised, is only called larger: its digits say nothing."""
FIRST_DAY = (
    "{} is the first day that the ledger values: nothing is measured on it, all that is held counts as capital that "
    "came in, whatever was earned and paid before."
)
"""Why a ledger whose bookings go further back has no income and no return on a day."""
LISTED = 50
"""Unexplained rows shown; the rest is counted."""


def earned_section(inputs: ReportInputs, names: Names, run: Mapping[str, Any] | None) -> Section:
    """Return, income and expenses of the day, what yesterday's plan promised, and what each position earned.

    `run` is today's plan: it manages a part of the net asset value.
    """
    title = f"What was really earned on {inputs.day}"
    nav = inputs.nav_daily
    days = records(nav.loc[nav["date"] <= inputs.day].sort_values("date")) if len(nav) else []
    if not days or days[-1]["date"] != inputs.day:
        return Section("earned", title, (f"The ledger has no net asset value for {inputs.day}.",))
    today, before = days[-1], days[-2] if len(days) > 1 else None
    facts = tuple(_facts(today, before))
    words = [line for line in (_not_managed(today, run), _promised(inputs, today)) if line]
    rows = records(inputs.yield_attribution)
    if not rows:
        return Section("earned", title, (*words, "No pool was held on the day."), facts=facts)
    rows.sort(key=lambda row: (-row["opening_usd"], str(row["pool_id"])))
    return Section(
        "earned", title, tuple(words), facts=facts, tables=(_attribution(rows, names), _positions(rows, names))
    )


def unexplained_words(inputs: ReportInputs) -> str | None:
    """A warning when the ledger cannot explain something that is worth money; None otherwise."""
    rows = [row for row in records(inputs.unexplained_transactions) if _is_worth_something(row)]
    if not rows:
        return None
    n_transactions = len({(row["chain_id"], row["tx_hash"]) for row in rows})
    noun = "transaction" if n_transactions == 1 else "transactions"
    moved = exact_sum(row["valued_usd"].copy_abs() for row in rows if not is_missing(row["valued_usd"]))
    return f"The ledger cannot explain {n_transactions} {noun} that moved {usd(moved)}: listed below until resolved."


def unexplained_section(inputs: ReportInputs, names: Names) -> Section | None:
    """Every transaction that waits for an explanation, the most valuable first; nothing when all are explained."""
    rows = records(inputs.unexplained_transactions)
    if not rows:
        return None
    rows.sort(key=lambda row: (-_size(row), row["booked_on"], str(row["tx_hash"]), str(row["token_address"])))
    words = "Booked on equity:unexplained and never absorbed: it stays here until an address or a pool is listed."
    if len(rows) > LISTED:
        words += f" {len(rows) - LISTED} more are in unexplained_transactions."
    listed = tuple(
        (
            str(row["booked_on"]),
            names.token_link(row["token_address"], chain=ETHEREUM if row["chain_id"] == 1 else ""),
            token_amount(row["amount"], int(row["decimals"])),
            usd(row["valued_usd"]),
            UNKNOWN if is_missing(row["counterparty"]) else short_id(row["counterparty"]),
            clean(row["classification"], 40),
            clean(row["hint"]),
            names.transaction_link(row["tx_hash"], row["chain_id"]),
        )
        for row in rows[:LISTED]
    )
    table = Table(UNEXPLAINED_COLUMNS, listed)
    return Section("unexplained", "What the ledger cannot explain", (words,), tables=(table,))


def _facts(today: dict[str, Any], before: dict[str, Any] | None) -> list[Fact]:
    unmeasured = "not measured on the first day" if before is None else ""
    change = "" if before is None else f"{signed_usd(today['nav_usd'] - before['nav_usd'])} since {before['date']}"
    return [
        Fact("Net asset value", usd(today["nav_usd"]), change),
        _rate_fact("Return of the day", today, "return"),
        _rate_fact("Realised yield of the day", today, "realised_yield"),
        Fact("Income", signed_usd(today["income_usd"]), unmeasured or "yield and rewards"),
        Fact("Expenses", usd(today["expenses_usd"]), unmeasured or "gas and conversion"),
        Fact("Price changes", signed_usd(today["price_change_usd"]), ""),
        Fact("Capital in and out", signed_usd(today["flows_usd"]), ""),
        Fact("Unexplained", usd(today["unexplained_usd"]), "moves that nobody explained; should be 0"),
        Fact("Idle", percent(today["idle_share"]), "of net asset value in no pool"),
    ]


def _rate_fact(name: str, today: dict[str, Any], rate: str) -> Fact:
    """A rate of the day with that of month and year so far; on the ledger's first day there is none."""
    if is_missing(today[f"{rate}_1d"]):
        return Fact(name, UNKNOWN, "there is no day before it to measure from")
    so_far = f"month {signed_percent(today[f'{rate}_mtd'])}, year {signed_percent(today[f'{rate}_ytd'])}"
    return Fact(name, signed_percent(today[f"{rate}_1d"], 4), so_far)


def _promised(inputs: ReportInputs, today: dict[str, Any]) -> str:
    """What yesterday's plan promised on the assets that it had beside what the day brought; empty without a plan."""
    runs = records(inputs.decided_runs)
    if not runs or runs[-1]["aum_usd"] <= 0:
        return ""
    run = runs[-1]
    # Not the treasury's whole income: what wallets earn that the plan may not touch is nothing that it promised.
    income = exact_sum(row["income_usd"] for row in records(inputs.yield_attribution))
    net = exact_sum([income, today["expenses_usd"].copy_negate()])
    earned, after_costs = (_annual(amount, run["aum_usd"]) for amount in (income, net))
    return (
        f"The plan of {run['date']} promised {percent(run['projected_apy'])} a year on {usd(run['aum_usd'])}, "
        f"{percent(run['projected_apy_net'])} after costs. The income of its pools on the day is {earned} a year of "
        f"that, {after_costs} after the day's costs; price changes are not in it."
    )


def _not_managed(today: Mapping[str, Any], run: Mapping[str, Any] | None) -> str:
    """Why net asset value and assets under management differ, with the figure; empty where they do not."""
    if run is None or is_missing(run["aum_usd"]):
        return ""
    beside = exact_sum([today["nav_usd"], run["aum_usd"].copy_negate()])
    told = f"The net asset value is {usd(beside.copy_abs())} {'more' if beside > 0 else 'less'} than the assets under"
    told += f" management of {usd(run['aum_usd'])}"
    others = exact_sum([beside, today["eth_usd"].copy_negate()])
    parts = (
        (today["eth_usd"], "is ETH, kept for gas"),
        (others, "is in wallets, tokens or pools that the plan may not touch"),
    )
    if beside >= DUST_USD and others >= 0:
        return f"{told}: {', '.join(f'{usd(worth)} {where}' for worth, where in parts if worth >= DUST_USD)}."
    if abs(beside) >= DUST_USD:
        return f"{told}: ledger and plan do not count the same holdings, or not at the same prices."
    return ""


def _annual(amount: Decimal, at_work: Decimal) -> str:
    return _apy(annualise(float(RATIO.divide(amount, at_work))))


def _apy(fraction: Any, *, is_gap: bool = False) -> str:
    """An APY, or a part of the gap between two of them, which is in points."""
    if not is_missing(fraction) and abs(float(fraction)) > LARGEST_APY:
        told = f"{'above ' if float(fraction) > 0 else 'below -'}{number(LARGEST_APY * 100)}"
        return told + (" points" if is_gap else "%")
    return points(fraction) if is_gap else percent(fraction)


def _attribution(rows: list[dict[str, Any]], names: Names) -> Table:
    return Table(
        ATTRIBUTION_COLUMNS,
        tuple(
            (
                names.pool_link(row["pool_id"]),
                usd(row["opening_usd"]),
                signed_usd(row["income_usd"]),
                *(_apy(row[name]) for name in ("advertised_apy", "forecast_apy", "realised_apy")),
                *(_apy(row[f"gap_{name}"], is_gap=True) for name in ("rate", "dilution", "price", "cost")),
            )
            for row in rows
        ),
        caption="Each position: APY advertised the day before, expected when we decided and realised on the day, and "
        "where the gap comes from",
    )


def _positions(rows: list[dict[str, Any]], names: Names) -> Table:
    columns = ("opening_usd", "flows_usd", "income_usd", "price_change_usd", "closing_usd", "cost_usd")
    listed = [(names.pool_link(row["pool_id"]), *_dollars([row[name] for name in columns])) for row in rows]
    known = [row for row in rows if not any(is_missing(row[name]) for name in columns)]
    if len(known) == len(rows) > 1:
        listed.append(("All pools", *_dollars([exact_sum(row[name] for row in rows) for name in columns])))
    caption = (
        "Each position in dollars: start, in and out, earned and price change add up to its end; costs are those of "
        "its own transactions alone, without swaps and approvals"
    )
    return Table(POSITION_COLUMNS, tuple(listed), caption=caption)


def _dollars(values: list[Any]) -> tuple[str, ...]:
    """Start, flows, income, price change, end, cost: what moves has its sign."""
    is_move = (False, True, True, True, False, False)
    return tuple(signed_usd(value) if moves else usd(value) for value, moves in zip(values, is_move, strict=True))


def _is_worth_something(row: dict[str, Any]) -> bool:
    """Whether it is in dollars; a trusted token whose value was not known when it was booked counts."""
    return not is_missing(row["symbol"]) if is_missing(row["valued_usd"]) else row["valued_usd"] != 0


def _size(row: dict[str, Any]) -> Decimal:
    return Decimal(0) if is_missing(row["valued_usd"]) else row["valued_usd"].copy_abs()
