"""What the command line says about the ledger: `defiyield ledger …`.

Lives here: reading what is shown, drawing with rich. Not here: the arguments (ledger_arguments.py), the rules of the
ledger (domain/ledger), running days (run.py).
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli import ledger_export, ledger_tables
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.config.loader import load_policy
from defiyield_assets.definitions import build_resources
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.explanation import explain_alone
from defiyield_assets.domain.ledger.valuation import EXACT, Prices, tidy
from defiyield_assets.domain.policy import Policy, Wallet
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.settings import KEY_VARIABLES, load_settings
from defiyield_assets.sources.receipts import Receipts
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import reads, schema


def show(arguments: argparse.Namespace, console: Console) -> int:
    """Run a command of the group; returns the exit code."""
    is_json: bool = arguments.json
    if arguments.action == "explain":
        return explain(arguments.chain, arguments.tx, arguments.wallet, console, is_json=is_json)
    warehouse = _resources()[0]
    if arguments.action == "export":
        return ledger_export.export_ledger(
            warehouse,
            load_settings().state_path,
            first=arguments.first,
            last=arguments.last,
            output=arguments.output,
            console=console,
            is_json=is_json,
        )
    if arguments.action == "balances":
        return ledger_tables.show_balances(warehouse, arguments.date, console, is_json=is_json)
    if arguments.action == "lots":
        return ledger_tables.show_lots(warehouse, arguments.date, arguments.token, console, is_json=is_json)
    if arguments.action == "gains":
        return ledger_tables.show_gains(
            warehouse, arguments.first, arguments.last, arguments.token, console, is_json=is_json
        )
    return show_unexplained(arguments.date, console, is_json=is_json)


# --- what all of them need -----------------------------------------------------------------------------------------
def _resources() -> tuple[WarehouseResource, MarketResource]:
    resources = build_resources(load_settings())
    warehouse, market = resources["warehouse"], resources["market"]
    if not (isinstance(warehouse, WarehouseResource) and isinstance(market, MarketResource)):
        raise ConfigurationError("the warehouse and market resources were replaced; the ledger cannot be read")
    return warehouse, market


def _whole(amount: int, decimals: int) -> str:
    """Base units as whole tokens, every digit of them."""
    return f"{tidy(EXACT.scaleb(EXACT.create_decimal(int(amount)), -int(decimals))):,f}"


def draw(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> Table:
    """A table of plain texts; nothing that a chain or vendor wrote is read as markup."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


# --- explain ---------------------------------------------------------------------------------------------------------
def explain(chain_id: int, tx_hash: str, wallet: str | None, console: Console, *, is_json: bool = False) -> int:
    """Rows, classification and legs of one transaction: as booked when the warehouse has it, else asked for."""
    warehouse, market = _resources()
    settings = load_settings()
    policy = load_policy(datetime.now(UTC).date(), settings.config_path).policy
    if wallet is not None:
        policy = replace(policy, wallets=(Wallet("asked", chain_id, wallet),))
    at = {"chain_id": chain_id, "tx_hash": tx_hash}
    rows = reads.read_all(warehouse.engine, schema.account_transactions, where=at)
    if rows.empty or wallet is not None:
        rows = _ask(warehouse, market, policy, chain_id, tx_hash)
        legs = _book_alone(rows, policy)
        console.print("not in the warehouse: asked of Etherscan, and booked as if it were the first transaction")
    else:
        booked = reads.read_all(warehouse.engine, schema.ledger_postings, where=at)
        corrected = reads.read_all(
            warehouse.engine, schema.ledger_postings, where={"chain_id": chain_id, "corrects": tx_hash}
        )
        legs = [tuple(row) for frame in (booked, corrected) for row in frame[_LEG].itertuples(index=False)]
    if is_json:
        values = [str(one) for one in rows["value"]]  # base units, though no name says so
        write_json({"rows": rows.assign(value=values), "booked": [dict(zip(_LEG, leg, strict=True)) for leg in legs]})
        return 0
    names = Prices(policy.token_by_address(), {}, {})
    print_table(_rows_table(rows, names), console)
    if not legs:
        console.print("nothing is booked: the day is not closed yet, or nothing moved that our wallets believe in")
        return 0
    print_table(_legs_table(chain_id, legs, names), console)
    return 0


_LEG = ["account", "token_address", "amount", "decimals", "classification", "counterparty", "pool_id"]


def _ask(
    warehouse: WarehouseResource, market: MarketResource, policy: Policy, chain_id: int, tx_hash: str
) -> pd.DataFrame:
    """The transaction's rows from the vendor; ConfigurationError when it cannot be asked or none of it is ours."""
    if market.market != "live":
        raise ConfigurationError(
            f"the warehouse holds no transaction {tx_hash} on chain {chain_id}; the {market.market} market tells only "
            "what `defiyield run` read: check hash and --chain"
        )
    if not market.has_key("etherscan"):
        raise ConfigurationError(
            f"the warehouse holds no transaction {tx_hash} on chain {chain_id}; set {KEY_VARIABLES['etherscan'][0]} "
            "to ask Etherscan for it (what is in the warehouse is explained without a key)"
        )
    wallets = [wallet.address.lower() for wallet in policy.wallets if wallet.chain_id == chain_id]

    async def question(gateway: Gateway) -> pd.DataFrame:
        return (await Receipts(gateway).transaction(chain_id, tx_hash, wallets)).rows

    rows = market.ask(warehouse.engine, market.wall_clock().date() - timedelta(days=1), question)
    if rows.empty:
        raise ConfigurationError(
            f"transaction {tx_hash} on chain {chain_id} moves nothing of "
            f"{'the wallets of accounts.yaml' if wallets else 'any wallet: accounts.yaml has none on this chain'}; "
            "look at it from another address with --wallet"
        )
    return rows


def _book_alone(rows: pd.DataFrame, policy: Policy) -> list[tuple[object, ...]]:
    columns = [column.name for column in schema.pool_contracts.columns]
    contracts = pd.DataFrame([asdict(contract) for contract in policy.pool_contracts], columns=columns)
    names = Prices(policy.token_by_address(), {}, {})
    explained = explain_alone(rows, AddressBook.of(policy, contracts), names.is_trusted)
    return [
        (leg.account, leg.token, leg.amount, leg.decimals, leg.classification, leg.counterparty, leg.pool_id)
        for _, legs in explained
        for leg in legs
    ]


def _rows_table(rows: pd.DataFrame, names: Prices) -> Table:
    first = rows.iloc[0]
    where = f"block {first['block_number']}, {first['block_time']:%Y-%m-%d %H:%M:%S} UTC"
    columns = ("kind", "chain_id", "token_address", "from_address", "to_address", "value", "decimals", "is_success")
    shown = [
        (
            str(kind) if is_success else f"{kind}, reverted",
            names.symbol(chain_id, token) or token,
            sender,
            receiver,
            _whole(value, names.decimals(chain_id, token, decimals)),
        )
        for kind, chain_id, token, sender, receiver, value, decimals, is_success in zip(
            *(rows[name] for name in columns), strict=True
        )
    ]
    return draw(f"{first['tx_hash']}, {where}", ("kind", "token", "from", "to", "amount"), shown, numbers=("amount",))


def _legs_table(chain_id: int, legs: Sequence[tuple[object, ...]], names: Prices) -> Table:
    kinds = ", ".join(dict.fromkeys(str(leg[4]) for leg in legs))
    shown = [
        (
            str(account),
            names.symbol(chain_id, str(token)) or str(token),
            _whole(int(str(amount)), names.decimals(chain_id, str(token), int(str(decimals)))),
            str(classification),
            counterparty if isinstance(counterparty, str) else "",
        )
        for account, token, amount, decimals, classification, counterparty, _ in legs
    ]
    return draw(f"booked as: {kinds}", ("account", "token", "amount", "as", "with"), shown, numbers=("amount",))


# --- unexplained -----------------------------------------------------------------------------------------------------
def show_unexplained(day: date | None, console: Console, *, is_json: bool = False) -> int:
    """What is on equity:unexplained at the end of the day, money first, with what would explain it."""
    warehouse, _ = _resources()
    newest = reads.newest_day(warehouse.engine, schema.ledger_closings)
    if newest is None:
        raise NotFound("the warehouse holds no ledger yet: run `defiyield run --date D`")
    chosen = day or newest
    if reads.read_days(warehouse.engine, schema.ledger_closings, DayRange.of(chosen)).empty:
        raise NotFound(f"the warehouse holds no ledger of {chosen}; the newest day is {newest}")
    rows = reads.read_days(warehouse.engine, schema.unexplained_transactions, DayRange.of(chosen))
    if is_json:
        write_json({"date": chosen, "unexplained": rows})
        return 0
    if rows.empty:
        console.print(f"{chosen}: everything is explained")
        return 0
    ordered = sorted(rows.to_dict("records"), key=lambda row: (row["symbol"] is None, row["booked_on"], row["tx_hash"]))
    print_table(
        draw(
            f"Unexplained on {chosen}: {rows['tx_hash'].nunique()} transactions",
            (
                "booked on",
                "chain",
                "transaction",
                "amount",
                "token",
                "worth USD",
                "looks like",
                "what would explain it",
            ),
            [
                (
                    str(row["booked_on"]),
                    str(row["chain_id"]),
                    row["tx_hash"],
                    _whole(row["amount"], row["decimals"]),
                    row["symbol"] or row["token_address"],
                    "not known" if row["valued_usd"] is None else f"{row['valued_usd']:,.2f}",
                    row["classification"],
                    row["hint"],
                )
                for row in ordered
            ],
            numbers=("amount", "worth USD"),
        ),
        console,
    )
    return 0
