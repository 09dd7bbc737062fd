"""`defiyield paper run|show`: a strategy traded on paper over stored bars, and what became of it.

Lives here: which days are asked for, following, the printed tables. Not here: one run with its progress (lab_runs.py),
the assets (orchestration/assets/paper.py), arguments (paper_arguments.py), whole workflows (desk.py).
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from time import sleep
from typing import Any

import dagster as dg
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from defiyield_assets.cli import show
from defiyield_assets.cli.assess import Bench
from defiyield_assets.cli.lab_runs import Stage, tell_failed
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.strategy_backtest import IN_SAMPLE, NO_MODEL
from defiyield_assets.cli.tables import print_table
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.paper.equality import Comparison
from defiyield_assets.domain.paper.exchange import decimal_of
from defiyield_assets.domain.reporting.formats import is_missing, number, signed_percent, usd
from defiyield_assets.domain.signals.types import STUB_TYPE
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.paper.statements import (
    Statement,
    beside_backtest,
    day_after,
    newest_bar,
    newest_day,
    newest_rows,
    statement,
)
from defiyield_assets.orchestration.paper.wishes import Terms, Wish, wish_of
from defiyield_assets.orchestration.partitions import FIRST_DAY
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema

JOB, STEP = "paper_trade", "paper_books"
TABLES = ("paper_portfolio", "paper_orders", "paper_trades")
TRADES_SHOWN = 40
"""Round trips that are printed; `--json` tells all."""
FIGURE_DIGITS, BALANCE_DIGITS = 6, 10
"""Significant digits that are printed."""
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Wanted:
    """What is traded and until when; `last` None: the newest stored bar. `poll`: seconds, None: no following."""

    strategy: str
    first: date
    last: date | None
    capital: float
    universe: str = ""
    poll: float | None = None

    @property
    def terms(self) -> dict[str, Any]:
        """As the asset's configuration takes it."""
        told = {"strategy": self.strategy, "starts_on": self.first.isoformat(), "capital": self.capital}
        return {**told, "universe": self.universe}


@dataclass(frozen=True)
class Chosen:
    """What is shown: a portfolio or all, of a day or the newest."""

    portfolio: str | None
    day: date | None = None
    is_against_backtest: bool = False


def wanted_of(arguments: argparse.Namespace) -> Wanted:
    """What the arguments ask for."""
    poll = arguments.poll if getattr(arguments, "follow", False) else None
    return Wanted(arguments.strategy, arguments.first, arguments.last, arguments.capital, arguments.universe, poll)


class PaperDesk:
    """A portfolio and the runs that trade it."""

    def __init__(self, bench: Bench, wanted: Wanted) -> None:
        self.bench, self.wanted = bench, wanted
        self.wish = checked(wanted)

    @property
    def name(self) -> str:
        """The portfolio's id."""
        return self.wish.portfolio_id

    def done(self) -> date | None:
        """The newest day that was traded."""
        return newest_day(self.bench.engine, self.name)

    def ready(self) -> date | None:
        """The newest day that can be traded: that of the newest bar, not after the last one asked for."""
        through = self.wanted.last or datetime.now(UTC).date() - timedelta(days=1)
        return newest_bar(self.bench.engine, self.wish.universe, through)

    def trade(self, last: date) -> bool:
        """Trade up to a day, from the newest one that is stored (its bars may have come in parts); whether it went
        well.
        """
        done = self.done()
        if done is not None and done > last:
            return True
        first = done or self.wanted.first
        config = {STEP: {"others": [self.wanted.terms]}}
        return self.bench.run(Stage("paper", JOB, TABLES, (first.isoformat(), last.isoformat()), config))


def checked(wanted: Wanted) -> Wish:
    """The portfolio that is meant; ConfigurationError for a strategy or days that there are not."""
    newest = datetime.now(UTC).date() - timedelta(days=1)
    if wanted.first < FIRST_DAY or max(wanted.first, wanted.last or wanted.first) > newest:
        raise ConfigurationError(f"days run from {FIRST_DAY} (DEFIYIELD_FIRST_DAY) to {newest}, the last complete one")
    return wish_of(Terms(**wanted.terms), strategies())


def require_universe(engine: Engine, name: str) -> None:
    """ConfigurationError for a universe that nobody belongs to or will: no bar of it could ever be waited for."""
    stored = reads.distinct_values(engine, schema.instruments, ["universe"])
    configured = load_instruments(load_settings().config_path).instruments
    known = {str(one) for (one,) in stored} | {one.universe for one in configured}
    if name not in known:
        raise ConfigurationError(f"no instrument belongs to the universe {name!r}; {nearest(name, known)}")


def strategies() -> dict[str, Strategy]:
    """Every strategy by id."""
    return load_strategies(load_settings().config_path)


def run_paper(wanted: Wanted, console: Console, *, is_json: bool, wait: Wait | None = None) -> int:
    """Trade what is stored and not traded yet, print it, and with `poll` go on with every new bar until Ctrl-C."""
    checked(wanted)
    with dg.DagsterInstance.get() as instance:
        desk = PaperDesk(Bench(instance, console), wanted)
        engine = desk.bench.engine
        require_universe(engine, desk.wish.universe)
        last = desk.ready()
        if last is None or last < wanted.first:
            if wanted.poll is None:
                raise ConfigurationError(
                    f"{desk.wish.universe} has no bar from {wanted.first} on, the newest is of {last or 'no day'}: "
                    "bring bars with `defiyield data`"
                )
        elif not desk.trade(last):
            return tell_failed(desk.bench.ran, is_json=is_json, is_line=wanted.poll is not None)
        done = desk.done()
        if done is not None:
            now = statement(engine, desk.name, min(done, wanted.last or done))
            if wanted.poll is not None and is_json:
                write_json(facts_of(now), is_line=True)
            else:
                tell(now, console, is_json=is_json)
        elif wanted.poll is None:
            raise ConfigurationError(nothing_traded(desk))
        return 0 if wanted.poll is None else _follow(desk, wanted.poll, console, wait, is_json=is_json)


def _follow(desk: PaperDesk, poll: float, console: Console, wait: Wait | None, *, is_json: bool) -> int:
    """Trade every new bar as it is stored. A failed run ends it: what follows would rest on nothing."""
    engine = desk.bench.engine
    done = desk.done()
    console.print(
        show.plain(f"following {desk.name}: a look every {poll:g} s, Ctrl-C ends it"), soft_wrap=True, emoji=False
    )
    try:
        while True:
            last = desk.ready()
            if last is not None and last >= desk.wanted.first and (done is None or last > done):
                before = 0 if done is None else int(statement(engine, desk.name).row["n_orders"])
                if not desk.trade(last):
                    return tell_failed(desk.bench.ran, is_json=is_json, is_line=True)
                done = desk.done()
                if done is not None and is_json:
                    write_json(facts_of(statement(engine, desk.name)), is_line=True)
                elif done is not None:
                    print_step(statement(engine, desk.name), before, console)
            if desk.wanted.last is not None and done is not None and done >= desk.wanted.last:
                return 0
            (wait or sleep)(poll)
    except KeyboardInterrupt:
        console.print(show.plain(f"stopped behind {done}: the same command goes on there"), soft_wrap=True, emoji=False)
        return 0


def nothing_traded(desk: PaperDesk) -> str:
    """Why a portfolio has no row although its days were run."""
    return (
        f"nothing is traded yet: no instrument of {desk.wish.universe} has a bar on the days from {desk.wanted.first} "
        f"to {desk.wanted.last or 'now'}. Bring bars with `defiyield data`"
    )


def show_portfolios(chosen: Chosen, console: Console, *, is_json: bool) -> int:
    """A line for each portfolio, or one in full."""
    settings = load_settings()
    engine = WarehouseResource(market=settings.warehouse_market).engine
    if chosen.portfolio is not None:
        told = statement(engine, chosen.portfolio, chosen.day)
        beside = beside_backtest(engine, told, strategies().values()) if chosen.is_against_backtest else None
        more = {} if beside is None else {"backtest": {**asdict(beside), "is_equal": beside.is_equal}}
        tell(told, console, is_json=is_json, **more)
        if beside is not None and not is_json:
            console.print(show.plain(f"backtest over the same bars: {verdict(beside)}"), soft_wrap=True, emoji=False)
        return 0 if beside is None or beside.is_equal else 1
    return _show_all(engine, chosen, console, is_json=is_json)


def _show_all(engine: Engine, chosen: Chosen, console: Console, *, is_json: bool) -> int:
    """A line for each portfolio, each beside its backtest where that is asked for: then 1 where one differs."""
    rows = newest_rows(engine, chosen.day)
    names = zip(rows["portfolio_id"], rows["date"], strict=True)
    told = {str(name): statement(engine, str(name), day) for name, day in names}
    known = strategies().values() if chosen.is_against_backtest else ()
    beside = {name: beside_backtest(engine, one, known) for name, one in told.items() if chosen.is_against_backtest}
    code = 0 if all(one.is_equal for one in beside.values()) else 1
    if is_json:
        more = {name: {"backtest": {**asdict(one), "is_equal": one.is_equal}} for name, one in beside.items()}
        write_json([{**facts_of(one), **more.get(name, {})} for name, one in told.items()])
        return code
    if rows.empty:
        console.print("no portfolio is traded yet: run `defiyield paper run`")
        return code
    table = _table(
        *("portfolio", "strategy", "since", "day"),
        **dict.fromkeys(("equity", "cash", "orders", "round trips"), "right"),
    )
    for row in rows.to_dict("records"):
        words = (row["portfolio_id"], row["strategy_id"], row["starts_on"], row["date"])
        figures = (usd(row["equity"]), usd(row["cash"]), number(row["n_orders"]), number(row["n_trades"]))
        table.add_row(*(show.plain(str(word)) for word in words), *figures)
    print_table(table, console)
    for name, portfolio in told.items():
        print_followed(portfolio, console, f"{name}, ")
    for name, one in beside.items():
        line = f"{name}, backtest over the same bars: {verdict(one)}"
        console.print(show.plain(line), soft_wrap=True, emoji=False)
    return code


def verdict(beside: Comparison) -> str:
    """A comparison in words."""
    if not beside.is_equal:
        told = beside.first_difference or "the same trades"
        return f"{told}; equity apart by {beside.equity_apart:.6g}"
    if beside.tolerance:
        return f"the same trades and equity, but for the rounding of splits and dividends (below {beside.tolerance:g})"
    return "the same trades and equity, to the bit"


# --- printing ------------------------------------------------------------------------------------------------------
def tell(told: Statement, console: Console, *, is_json: bool, **more: Any) -> None:
    """A statement in full."""
    if is_json:
        write_json({**facts_of(told), **more})
        return
    row = told.row
    title = f"{row['portfolio_id']}: {row['strategy_id']} over {row['universe']}, {row['starts_on']} to {row['date']}"
    console.print(show.plain(title), style="bold", soft_wrap=True, emoji=False)
    print_followed(told, console)
    print_balances(told, console)
    print_pending(told, console)
    print_trades(told, console)


def print_followed(told: Statement, console: Console, whose: str = "") -> None:
    """Which signals a portfolio follows; that nobody was asked, or that a model knew that time, in red."""
    if told.signal_types:
        is_stub = STUB_TYPE in told.signal_types
        words = f"{whose}signals: {', '.join(told.signal_types)}{f' ({NO_MODEL})' if is_stub else ''}"
        console.print(show.plain(words), style="red" if is_stub else None, soft_wrap=True, emoji=False)
    if told.row["is_in_sample"]:
        console.print(show.plain(f"{whose}in_sample: {IN_SAMPLE}"), style="bold red", soft_wrap=True, emoji=False)


def print_step(told: Statement, n_before: int, console: Console) -> None:
    """What a new bar changed."""
    row = told.row
    earned = f"equity {usd(row['equity'])} ({signed_percent(told.total_return)})"
    line = f"{row['date']}: {earned}, {row['n_trades']} round trips"
    console.print(show.plain(line), style="bold", soft_wrap=True, emoji=False)
    print_followed(told, console)
    fresh = told.orders[told.orders["number"] > n_before]
    for one in fresh.to_dict("records"):
        console.print(show.plain(f"  {order_words(one)}"), soft_wrap=True, emoji=False)
    print_pending(told, console)


def order_words(order: Mapping[Any, Any]) -> str:
    """An order in a line."""
    if order["status"] == "rejected":
        return f"{order['ts']:%Y-%m-%d} {order['side']} {order['instrument_id']} rejected: {order['reason']}"
    what = f"{order['side']} {_plain(order['quantity'])} {order['instrument_id']} at {_plain(order['price'])}"
    return f"{order['ts']:%Y-%m-%d} {what}, {order['decision']} decided on {order['decided_on']}"


def print_balances(told: Statement, console: Console) -> None:
    """Units of each asset, and equity."""
    row = told.row
    table = _table("asset", units="right")
    for name, units in told.balances.items():
        table.add_row(show.plain(name), _plain(Decimal(units), BALANCE_DIGITS))
    print_table(table, console)
    for day, one in told.restated:
        what = f"a split or dividend behind {one.bar}, units times {_plain(one.units_times)}"
        console.print(show.plain(f"  {day} {one.instrument_id}: {what}"), soft_wrap=True, emoji=False)
    equity = f"equity {usd(row['equity'])}, {signed_percent(told.total_return)} of {usd(row['capital'])}"
    n_rejected = int((told.orders["status"] == "rejected").sum())
    counts = f"{row['n_orders']} orders, {n_rejected} of them rejected; {row['n_trades']} round trips"
    console.print(show.plain(f"{equity}; {counts}"), soft_wrap=True, emoji=False)


def print_pending(told: Statement, console: Console) -> None:
    """What waits for the next open."""
    for one in told.pending:
        size = one.get("share", one.get("amount"))
        what = f"{one['kind']} {one.get('side', '')} {one['instrument_id']}".replace("  ", " ")
        more = "" if size is None else f" {size:,.4g}"
        console.print(
            show.plain(f"  next open: {what}{more}, decided on {one['decided_on']}"), soft_wrap=True, emoji=False
        )


def print_trades(told: Statement, console: Console) -> None:
    """The trade table, newest last."""
    words, figures = (
        ("instrument", "side", "entry", "exit", "reason"),
        ("units", "entry price", "exit price", "profit", "return"),
    )
    table = _table(*words, **dict.fromkeys(figures, "right"))
    for row in told.trades.tail(TRADES_SHOWN).to_dict("records"):
        words = (row["instrument_id"], row["side"], row["entry_date"], row["exit_date"], row["exit_reason"])
        told_figures = [_plain(decimal_of(row[name])) for name in ("quantity", "entry_price", "exit_price")]
        told_figures.append(f"{row['pnl']:,.2f}")
        table.add_row(*(show.plain(str(word)) for word in words), *told_figures, signed_percent(row["return"]))
    print_table(table, console)
    if len(told.trades) > TRADES_SHOWN:
        console.print(f"and {len(told.trades) - TRADES_SHOWN} before them")


def facts_of(told: Statement) -> dict[str, Any]:
    """A statement as JSON takes it."""
    row = told.row
    kept = ("portfolio_id", "date", "bar_date", "strategy_id", "strategy_hash", "universe", "starts_on")
    figures = ("capital", "cash", "positions_value", "equity", "n_orders", "n_trades")
    return {
        **{name: row[name] for name in kept},
        **{name: str(row[name]) if isinstance(row[name], Decimal) else int(row[name]) for name in figures},
        "signal_types": list(told.signal_types),
        "is_stub": STUB_TYPE in told.signal_types,
        "is_in_sample": bool(row["is_in_sample"]),
        "total_return": told.total_return,
        "balances": told.balances,
        "positions": told.positions,
        "pending": told.pending,
        "orders": _records(told.orders),
        "trades": _records(told.trades),
        "restated": [
            {**asdict(one), "day": day, "bar": one.bar, "units_times": str(one.units_times)}
            for day, one in told.restated
        ],
        "next_day": day_after(row["date"]),
    }


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): None if is_missing(value) else _json(value) for name, value in row.items()}
        for row in rows.astype(object).to_dict("records")
    ]


def _json(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _plain(value: Decimal, digits: int = FIGURE_DIGITS) -> str:
    """A decimal to some significant digits, all those before the point, and never with an exponent."""
    if not value:
        return "0"
    rounded = Context(prec=max(digits, value.adjusted() + 1)).create_decimal(value)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _table(*words: str, **figures: Any) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in words:
        table.add_column(name, no_wrap=True)
    for name, justify in figures.items():
        table.add_column(name, justify=justify, no_wrap=True)
    return table
