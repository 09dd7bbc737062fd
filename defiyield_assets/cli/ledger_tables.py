"""`defiyield ledger balances`, `lots` and `gains`: what is held, what it cost, what was gained.

Lives here: reading the tables and drawing them with rich. Not here: what they hold (domain/ledger).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.lot_legs import minus, transaction_of
from defiyield_assets.domain.ledger.valuation import Prices, exact_sum, exact_value
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.reporting.formats import clean, short_id, signed_usd, token_amount, usd
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.orchestration.assets.ledger import prices_of
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema


def _table(title: str, words: Sequence[str], numbers: Sequence[str]) -> Table:
    drawn = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in words:
        drawn.add_column(name, overflow="fold")
    for name in numbers:
        drawn.add_column(name, justify="right", no_wrap=True)
    return drawn


def _add(table: Table, cells: Iterable[str]) -> None:
    """A row of cells that are shown as they are, whatever markup they seem to hold."""
    table.add_row(*(Text(cell) for cell in cells))


def require_day(engine: sa.Engine, day: date | None) -> date:
    """The day that was asked for, or the newest that the ledger has; NotFound when it has none."""
    newest = reads.newest_day(engine, schema.ledger_closings)
    if newest is None:
        raise NotFound("the warehouse holds no ledger yet: run `defiyield run --date D`")
    chosen = day or newest
    if reads.read_days(engine, schema.ledger_closings, DayRange.of(chosen)).empty:
        raise NotFound(f"the warehouse holds no ledger of {chosen}; the newest one is of {newest}")
    return chosen


def show_balances(warehouse: WarehouseResource, day: date | None, console: Console, *, is_json: bool = False) -> int:
    """Wallets and pools at the end of the day, token by token; tokens that nobody approved are counted."""
    engine = warehouse.engine
    chosen = require_day(engine, day)
    only = DayRange.of(chosen)
    held = reads.read_days(engine, schema.daily_balances, only)
    names = {(wallet.chain_id, wallet.address): wallet.name for wallet in warehouse.policy(chosen).wallets}
    if is_json:
        positions = reads.read_days(engine, schema.pool_positions, only)
        trusted = held[held["is_trusted"].astype(bool)]
        total = exact_sum([*trusted["value_usd"], *positions["value_usd"]])
        write_json({"date": chosen, "wallets": held, "pools": positions, "total_usd": total})
        return 0
    wallets = _table(f"Wallets on {chosen}", ("wallet", "token"), ("balance", "close", "value"))
    trusted = held[held["is_trusted"].astype(bool)]
    for row in trusted.to_dict("records"):
        wallet = names.get((row["chain_id"], row["wallet"]), short_id(row["wallet"]))
        amount = token_amount(row["balance"], row["decimals"])
        price = f"{row['price_usd']:f}"
        _add(wallets, (clean(wallet), clean(row["symbol"]), amount, price, usd(row["value_usd"])))
    print_table(wallets, console)
    positions = reads.read_days(engine, schema.pool_positions, only)
    policy = warehouse.policy(chosen)
    pools = _table(f"Pools on {chosen}", ("pool", "token", "rate from"), ("underlying", "value"))
    for row in positions.to_dict("records"):
        token = _symbol(policy, row["chain_id"], row["token_address"])
        amount = token_amount(row["underlying_amount"], row["decimals"])
        _add(pools, (clean(row["pool_id"]), token, clean(row["rate_source"]), amount, usd(row["value_usd"])))
    print_table(pools, console)
    console.print(Text(f"together {usd(exact_sum([*trusted['value_usd'], *positions['value_usd']]))}"))
    others = len(held) - len(trusted)
    if others:
        console.print(
            Text(f"and {others} balances of tokens that are shares of pools or not approved, worth nothing here")
        )
    return 0


def _symbol(policy: Policy, chain_id: int, token: str) -> str:
    """Our symbol of a token, its address when it is not on the list."""
    return clean(Prices(policy.token_by_address(), {}, {}).symbol(chain_id, token) or short_id(token))


def _chosen(frame: pd.DataFrame, policy: Policy, token: str | None) -> pd.DataFrame:
    """Rows of one token, named by symbol or address; ConfigurationError when there are none of it."""
    if token is None or frame.empty:
        return frame
    pairs = list(zip(frame["chain_id"], frame["token_address"], strict=True))
    known = {pair: _symbol(policy, *pair) for pair in set(pairs)}
    wanted = {pair for pair, symbol in known.items() if token.lower() in {pair[1], symbol.lower()}}
    if not wanted:
        raise ConfigurationError(f"--token {token}: there is none of it; there are {', '.join(sorted(known.values()))}")
    return frame[[pair in wanted for pair in pairs]]


def show_lots(
    warehouse: WarehouseResource, day: date | None, token: str | None, console: Console, *, is_json: bool = False
) -> int:
    """Open lots at the end of the day: when they came, what they cost, what they are worth now."""
    engine = warehouse.engine
    chosen = require_day(engine, day)
    policy, prices = warehouse.policy(chosen), prices_of(warehouse, DayRange.of(chosen))
    lots = _chosen(reads.read_days(engine, schema.open_lots, DayRange.of(chosen)), policy, token)
    if is_json:
        worth = [_value(prices, row, chosen) for row in lots.to_dict("records")]
        gains = [minus(value, cost) for value, cost in zip(worth, lots["cost_usd"], strict=True)]
        symbols = [_symbol(policy, *pair) for pair in zip(lots["chain_id"], lots["token_address"], strict=True)]
        more = pd.DataFrame({"symbol": symbols, "value_usd": worth, "gain_usd": gains}, index=lots.index, dtype=object)
        told = pd.concat([lots, more], axis=1)
        write_json({"date": chosen, "method": policy.parameters.lot_method, "lots": told})
        return 0
    table = _table(f"Open lots on {chosen}", ("acquired", "by", "token", "lot"), ("amount", "cost", "value", "gain"))
    for row in lots.sort_values(["token_address", "acquired_on", "lot_id"]).to_dict("records"):
        value = _value(prices, row, chosen)
        _add(
            table,
            (
                f"{row['acquired_on']}",
                clean(row["acquired_by"]),
                _symbol(policy, row["chain_id"], row["token_address"]),
                clean(row["lot_id"]),
                token_amount(row["amount"], row["decimals"]),
                usd(row["cost_usd"]),
                usd(value),
                signed_usd(minus(value, row["cost_usd"])),
            ),
        )
    print_table(table, console)
    console.print(Text(f"{len(lots)} lots, taken {_words(policy)}"))
    return 0


def _words(policy: Policy) -> str:
    if policy.parameters.lot_method == "fifo":
        return "first in, first out"
    return f"as accounts.yaml says ({len(policy.lot_choices)} lot_choices), otherwise first in, first out"


def _value(prices: Prices, row: Mapping[Hashable, Any], day: date) -> Decimal | None:
    """Value of a lot at the day's close; None without a close."""
    close = prices.known_close(row["chain_id"], row["token_address"], day)
    return None if close is None else exact_value(row["amount"], row["decimals"], close)


def show_gains(
    warehouse: WarehouseResource,
    first: date | None,
    last: date | None,
    token: str | None,
    console: Console,
    *,
    is_json: bool = False,
) -> int:
    """What was given away on the days (default: all), lot by lot, and the gain in sum by token."""
    engine = warehouse.engine
    end = require_day(engine, last)
    known = reads.days_with_rows(engine, schema.realised_gains)
    start = first or (known.start if known is not None and known.start <= end else end)
    if start > end:
        raise ConfigurationError(f"--from {start} is after --to {end}")
    policy = warehouse.policy(end)
    gains = _chosen(reads.read_days(engine, schema.realised_gains, DayRange(start, end)), policy, token)
    total = exact_sum(gain for gain in gains["gain_usd"] if gain is not None)
    unknown = int(gains["gain_usd"].isna().sum())
    if is_json:
        symbols = [_symbol(policy, *pair) for pair in zip(gains["chain_id"], gains["token_address"], strict=True)]
        told = {"first": start, "last": end, "gains": gains.assign(symbol=symbols)}
        write_json({**told, "total_usd": total, "n_unknown": unknown})
        return 0
    words = ("day", "by", "token", "acquired", "method", "disposal", "lot")
    table = _table(f"Realised gains {start} to {end}", words, ("amount", "proceeds", "cost", "gain"))
    for row in gains.to_dict("records"):
        _add(
            table,
            (
                f"{row['date']}",
                clean(row["disposed_by"]),
                _symbol(policy, row["chain_id"], row["token_address"]),
                f"{row['acquired_on']}",
                clean(row["method"]),
                short_id(transaction_of(row["disposal_id"])),
                short_id(row["lot_id"]),
                token_amount(row["amount"], row["decimals"]),
                usd(row["proceeds_usd"]),
                usd(row["cost_usd"]),
                signed_usd(row["gain_usd"]),
            ),
        )
    print_table(table, console)
    console.print(
        Text(
            f"gain in sum {signed_usd(total)}"
            + (f", and {unknown} disposals whose gain is not known" if unknown else "")
        )
    )
    return 0
