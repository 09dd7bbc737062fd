"""The books of a day as sums: net asset value and its identity, the judged rules, the trial balance, lots and gains.

Lives here: these panels. Not here: what is held and what the chain says (ledger_holdings.py), single postings
(ledger_postings.py), the rules (domain/ledger/checks.py).
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from defiyield_assets.console.layout import Inner, Panel
from defiyield_assets.console.pages.day_content import DayContent
from defiyield_assets.console.views import View
from defiyield_assets.domain.ledger.valuation import exact_sum
from defiyield_assets.domain.reporting.formats import UNKNOWN, about_amount, clean, is_missing, number, signed_usd, usd
from defiyield_assets.domain.reporting.health_sections import checks_table
from defiyield_assets.domain.reporting.inputs import Names
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.ledger_sections import FIRST_DAY
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import reads, schema

MOVES = (
    ("Capital in and out", "flows_usd", 1),
    ("Income: yield and rewards", "income_usd", 1),
    ("Expenses: gas and conversion", "expenses_usd", -1),
    ("Price changes on what was held", "price_change_usd", 1),
    ("Unexplained", "unexplained_usd", 1),
)
"""What leads from one day's net asset value to the next: words, column, sign."""
PARTS = (
    ("Tokens in wallets", "wallets_usd"),
    ("Positions in pools", "pools_usd"),
    ("ETH in wallets", "eth_usd"),
)
TRIAL_COLUMNS = (*text("Account", "Token"), *numbers("Balance"), *text("Base units", "Last moved"))
SUM_COLUMNS = (*text("Token"), *numbers("Accounts", "Sum of all balances, base units"))
LOT_COLUMNS = (*text("Token"), *numbers("Lots", "Amount", "Cost"), *text("Oldest"))
GAIN_COLUMNS = (*text("Token", "Given away by"), *numbers("Lots", "Amount", "Proceeds", "Cost", "Gain"))


def nav_panel(view: View) -> Panel:
    """Yesterday's net asset value, what moved it, today's, and whether that adds up to the last digit."""
    assets, title = ("nav_daily",), "Net asset value, added up"
    nav = {row["date"]: row for row in records(view.read(schema.nav_daily, back=1))}
    row, before = nav.get(view.day), nav.get(view.day - timedelta(days=1))
    if row is None:
        return Panel(
            Section("nav-identity", title, (f"The ledger has no net asset value for {view.day}.",)), assets, view.day
        )
    opening = Decimal(0) if before is None else before["nav_usd"]
    moves = [(words, exact_sum([row[name] if sign > 0 else row[name].copy_negate()])) for words, name, sign in MOVES]
    explained = exact_sum([opening, *(value for _, value in moves)])
    parts = [(words, row[name]) for words, name in PARTS]
    held = exact_sum(value for _, value in parts)
    day_before = view.day - timedelta(days=1)
    rows = (
        (f"Net asset value of {day_before}" if before else f"Nothing was valued on {day_before}", *_money(opening)),
        *((words, *_money(value, is_move=True)) for words, value in moves),
        (f"Net asset value of {view.day}", *_money(row["nav_usd"])),
        ("Not explained by the lines above", *_money(exact_sum([row["nav_usd"], explained.copy_negate()]))),
    )
    made_of = (
        *((words, *_money(value)) for words, value in parts),
        (f"Net asset value of {view.day}", *_money(row["nav_usd"])),
        ("In none of the parts", *_money(exact_sum([row["nav_usd"], held.copy_negate()]))),
    )
    columns = (*text("What"), *numbers("USD"), *text("Every digit"))
    is_whole = explained == row["nav_usd"] == held
    words = (
        "Both ways add up exactly: what moved it since the day before, and what it is made of."
        if is_whole
        else "It does not add up: the last line of a table says by how much."
    )
    tables = (
        Table(columns, rows, caption="From the day before to this one", fold="never"),
        Table(columns, made_of, caption="What it is made of", fold="never"),
    )
    told = (words,) if before else (words, FIRST_DAY.format(view.day))
    return Panel(Section("nav-identity", title, told, tables=tables), assets, view.day)


def _money(value: Decimal, *, is_move: bool = False) -> tuple[str, str]:
    return (signed_usd(value) if is_move else usd(value), f"{value:f}")


def checks_panel(view: View, day: DayContent) -> Panel:
    """The rules that the day's ledger was held against, as the report judged them."""
    table = checks_table(day.inputs)
    broken = sum(bool(check.violations) for check in day.inputs.checks)
    words = f"{number(broken)} of {number(len(day.inputs.checks))} rules are broken." if broken else "All rules hold."
    if table is None:
        words = f"No rule was judged: the ledger of {view.day} is not complete, or nobody told what wallets did."
    section = Section("checks", "Rules that the books must keep", (words,), tables=() if table is None else (table,))
    return Panel(section, ("ledger_postings", "daily_balances", "pool_positions", "nav_daily"), view.day)


def trial_panel(view: View, names: Names) -> Panel:
    """Every account's balance at the end of the day, and that all of them sum to zero."""
    rows = [row for row in records(reads.trial_balance(view.connection, view.day)) if row["balance"] != 0]
    rows.sort(key=lambda row: (row["account"], row["chain_id"], str(row["token_address"]), str(row["wallet"])))
    sums: dict[tuple[int, str], list[int]] = {}
    for row in rows:
        sums.setdefault((row["chain_id"], row["token_address"]), []).append(row["balance"])
    wrong = sum(sum(balances) != 0 for balances in sums.values())
    words = (
        f"{number(wrong)} of {number(len(sums))} tokens do not sum to zero over all accounts."
        if wrong
        else f"Over all accounts every one of {number(len(sums))} tokens sums to zero."
    )
    listed = tuple(
        (
            account_link(view, row["account"]),
            names.token(row["token_address"]),
            about_amount(row["balance"], int(row["decimals"])),
            str(row["balance"]),
            str(row["date"]),
        )
        for row in rows
    )
    total = tuple(
        (names.token(token), number(len(balances)), str(sum(balances)))
        for (_, token), balances in sorted(sums.items(), key=lambda item: (names.token(item[0][1]), item[0]))
    )
    tables = (
        Table(TRIAL_COLUMNS, listed, caption="Balance of every account that is not zero", fold="always"),
        Table(SUM_COLUMNS, total, caption="All accounts together, token by token", fold="always"),
    )
    section = Section("trial", "Trial balance", (words,), tables=tables if rows else ())
    return Panel(section, ("trial_balance",), view.day)


def account_link(view: View, account: Any) -> str:
    """The account as a cell that leads to its postings."""
    return Inner(clean(account, 90), "ledger", "postings", date=view.day, span="all", account=str(account))


def lots_panel(view: View, names: Names) -> Panel:
    """What is held by token at its cost, and what was given away on the day at which gain."""
    lots = _grouped(records(view.read(schema.open_lots)), "token_address")
    held = tuple(
        (
            names.token(token),
            number(len(own)),
            about_amount(sum(row["amount"] for row in own), int(own[0]["decimals"])),
            _sum_usd(row["cost_usd"] for row in own),
            str(min(row["acquired_on"] for row in own)),
        )
        for (token,), own in lots
    )
    gains = _grouped(records(view.read(schema.realised_gains)), "token_address", "disposed_by")
    given = tuple(
        (
            names.token(token),
            clean(how, 40).replace("_", " "),
            number(len(own)),
            about_amount(sum(row["amount"] for row in own), int(own[0]["decimals"])),
            *(_sum_usd(row[name] for row in own) for name in ("proceeds_usd", "cost_usd", "gain_usd")),
        )
        for (token, how), own in gains
    )
    gain = _sum_usd((row["gain_usd"] for _, own in gains for row in own), is_move=True)
    words = f"Realised on {view.day}: {gain}." if given else f"Nothing was given away on {view.day}."
    tables = []
    if held:
        tables.append(Table(LOT_COLUMNS, held, caption="Open lots by token", fold="always"))
    if given:
        tables.append(Table(GAIN_COLUMNS, given, caption="Given away on the day", fold="always"))
    section = Section("lots", "Lots and realised gains", (words,), tables=tuple(tables))
    return Panel(section, ("open_lots", "realised_gains"), view.day)


def _grouped(rows: list[dict[str, Any]], *by: str) -> list[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    """Rows by the values of some columns and by chain and decimals, in order; keys are the values."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (*(row[name] for name in by), row["chain_id"], row["decimals"])
        found.setdefault(key, []).append(row)
    return [(key[: len(by)], found[key]) for key in sorted(found)]


def _sum_usd(values: Iterable[Any], *, is_move: bool = False) -> str:
    """The exact sum, unknown where a part of it is."""
    told = list(values)
    if any(map(is_missing, told)):
        return UNKNOWN
    return signed_usd(exact_sum(told)) if is_move else usd(exact_sum(told))
