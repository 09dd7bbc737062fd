"""What is held at the end of a day by the ledger and by the chain: wallets, positions in pools.

Lives here: these panels. Not here: sums and rules (ledger_books.py), single postings (ledger_postings.py).
"""

from decimal import Decimal
from typing import Any

from defiyield_assets.console.layout import Inner, Panel
from defiyield_assets.console.views import View
from defiyield_assets.domain.ledger.valuation import exact_sum
from defiyield_assets.domain.reporting.formats import UNKNOWN, about_amount, clean, is_missing, number, usd
from defiyield_assets.domain.reporting.inputs import ETHEREUM, Names
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import schema

BALANCE_COLUMNS = (
    *text("Wallet", "Token"),
    *numbers("Amount", "Price", "Value"),
    *text("Base units", "Trusted", "Address"),
)
POSITION_COLUMNS = (
    *text("Pool", "Wallet", "Token"),
    *numbers("Amount", "Price", "Value"),
    *text("Base units", "Shares, base units"),
    *numbers("Rate"),
    *text("Rate from"),
    *numbers("Rate seen, days ago"),
    *text("Pool id"),
)
CHAIN_COLUMNS = (
    *text("Wallet", "Token"),
    *text("Ledger, base units", "Chain, base units", "Difference", "Result", "Address"),
)
RATES = {"mint_ratio": "deposits", "apy_growth": "grown by APY", "chain": "chain", "rebasing": "rebasing"}


def balances_panel(view: View, names: Names) -> Panel:
    """Every wallet's tokens, the most valuable first."""
    rows = records(view.read(schema.daily_balances))
    rows.sort(key=lambda row: (-row["value_usd"], str(row["wallet"]), str(row["token_address"])))
    total = exact_sum(row["value_usd"] for row in rows)
    words = (
        f"{number(len(rows))} balances worth {usd(total)} at the closes of {view.day}; tokens that nobody listed count "
        "as nothing."
        if rows
        else f"The ledger has no balance for {view.day}."
    )
    listed = tuple(_balance_row(row, names) for row in rows)
    tables = (Table(BALANCE_COLUMNS, listed, caption="Wallets and tokens", fold="never"),) if rows else ()
    return Panel(Section("balances", "Balances", (words,), tables=tables), ("daily_balances",), view.day)


def _balance_row(row: dict[str, Any], names: Names) -> tuple[str, ...]:
    return (
        names.wallet_link(row["wallet"]),
        _token(row, names),
        about_amount(row["balance"], int(row["decimals"])),
        _price(row["price_usd"]),
        usd(row["value_usd"]),
        str(row["balance"]),
        "yes" if bool(row["is_trusted"]) else "no",
        _address(row, names),
    )


def positions_panel(view: View, names: Names) -> Panel:
    """Every position in a pool, the most valuable first."""
    rows = records(view.read(schema.pool_positions))
    rows.sort(key=lambda row: (-row["value_usd"], str(row["pool_id"]), str(row["token_address"])))
    total = exact_sum(row["value_usd"] for row in rows)
    words = (
        f"{number(len(rows))} positions worth {usd(total)}." if rows else f"No pool is held at the end of {view.day}."
    )
    listed = tuple(_position_row(view, row, names) for row in rows)
    tables = (Table(POSITION_COLUMNS, listed, caption="Pools", fold="never"),) if rows else ()
    return Panel(Section("positions", "Positions in pools", (words,), tables=tables), ("pool_positions",), view.day)


def _position_row(view: View, row: dict[str, Any], names: Names) -> tuple[str, ...]:
    return (
        Inner(names.pool(row["pool_id"]), "pools", str(row["pool_id"]), date=view.day),
        names.wallet_link(row["wallet"]),
        names.token(row["token_address"]),
        about_amount(row["underlying_amount"], int(row["decimals"])),
        _price(row["price_usd"]),
        usd(row["value_usd"]),
        str(row["underlying_amount"]),
        str(row["shares"]),
        f"{row['exchange_rate']:.8g}",
        RATES.get(str(row["rate_source"]), clean(row["rate_source"], 20)),
        number(row["rate_age_days"]),
        clean(row["pool_id"], 80),
    )


def chain_panel(view: View, names: Names) -> Panel:
    """The ledger's balances beside those that the chain told, to the base unit; what only one of them has counts as 0
    in the other."""
    ours, theirs = (
        {_key(row): row for row in records(view.read(table))}
        for table in (schema.daily_balances, schema.chain_balances)
    )
    rows = []
    for key in sorted({*ours, *theirs}):
        row = ours.get(key) or theirs[key]
        booked, told = (table[key]["balance"] if key in table else 0 for table in (ours, theirs))
        rows.append((row, booked, told))
    rows.sort(key=lambda item: item[1] == item[2])
    apart = sum(booked != told for _, booked, told in rows)
    words = (
        f"{number(apart)} of {number(len(rows))} balances differ from the chain: they stand first."
        if apart
        else f"All {number(len(rows))} balances agree with the chain to the base unit."
    )
    if not theirs:
        words = f"The chain told no balance for {view.day}."
    listed = tuple(_chain_row(*item, names) for item in rows)
    tables = (Table(CHAIN_COLUMNS, listed, caption="Ledger and chain", fold="always"),) if theirs else ()
    section = Section("chain", "Reconciliation with the chain", (words,), tables=tables)
    return Panel(section, ("daily_balances", "chain_balances"), view.day)


def _chain_row(row: dict[str, Any], booked: int, told: int, names: Names) -> tuple[str, ...]:
    return (
        names.wallet_link(row["wallet"]),
        _token(row, names),
        str(booked),
        str(told),
        str(booked - told),
        "agrees" if booked == told else "differs",
        _address(row, names),
    )


def _key(row: dict[str, Any]) -> tuple[int, str, str]:
    return (row["chain_id"], row["wallet"], row["token_address"])


def _token(row: dict[str, Any], names: Names) -> str:
    """Our symbol; the shortened address of a token that we do not know, whatever it calls itself."""
    known = row.get("symbol")
    return names.token(row["token_address"]) if is_missing(known) else clean(known, 24)


def _address(row: dict[str, Any], names: Names) -> str:
    address = row["token_address"]
    return names.token_link(address, clean(address, 60), ETHEREUM if row["chain_id"] == 1 else "")


def _price(value: Any) -> str:
    return UNKNOWN if is_missing(value) else f"${Decimal(value):,.6f}"
