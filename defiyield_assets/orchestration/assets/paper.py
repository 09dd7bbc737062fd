"""Assets of paper trading: orders, round trips and portfolios, by day, each from where the day before left it.

Lives here: wiring of domain/paper. Not here: which portfolios (paper/wishes.py), what they read (paper/inputs.py),
stored books (paper/books.py), when it runs (paper/sensor.py).

One step writes the three tables; a replayed past and the newest day are the same step. It is no part of the treasury's
day: nothing of the plan rests on it.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.config.reading import listed
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.paper.portfolios import Portfolio, in_todays_prices, scales_of, trade_day
from defiyield_assets.errors import DefiYieldError, PermanentError
from defiyield_assets.orchestration.declarations import tell_progress
from defiyield_assets.orchestration.paper.books import (
    TABLES,
    StoredBook,
    day_frames,
    how_to_make,
    keep_day,
    stored_book,
)
from defiyield_assets.orchestration.paper.inputs import Inputs, first_bar, instruments_at, read_inputs
from defiyield_assets.orchestration.paper.wishes import PaperTrading, Wish, wishes
from defiyield_assets.orchestration.partitions import DAILY, FIRST_DAY, YESTERDAY, day_before, day_range
from defiyield_assets.orchestration.policies import ONE_RUN
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.orchestration.steps import own_spec, own_step
from defiyield_assets.store import reads, schema, writes

STEP, GROUP, SPEC = "paper_books", "paper", "market.md#simulated-exchange"
DEPS = ("daily_bars", "daily_features", "macro_series", "strategies", "trading_signals")
TOLD_EVERY = 20
"""Days between two words about how far it is."""
WORDS = {
    schema.paper_portfolio: (
        "Each paper portfolio at the end of the day: exact balances, equity, what waits for the next open, and the "
        "state that the next day goes on from."
    ),
    schema.paper_orders: "Orders as the simulated exchange recorded them, each with the decision that it carries out.",
    schema.paper_trades: "Round trips, the same as those of a backtest of the strategy over the same bars.",
}
SHOWN = ["portfolio_id", "date", "bar_date", "cash", "equity", "n_positions", "n_trades", "pending_json"]
ThreeResults = tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]


def _spec(table: sa.Table) -> dg.AssetSpec:
    own_past = [dg.AssetDep(table.name, partition_mapping=YESTERDAY)] if table is schema.paper_portfolio else []
    deps = [*DEPS, *own_past]
    return own_spec(table, WORDS[table], group=GROUP, deps=deps, kinds=("numpy", "sql"), spec=SPEC)


@dataclass
class Kept:
    """What a run wrote: receipts by table, the portfolios' last rows, and why some have none."""

    receipts: dict[str, list[writes.WriteReceipt]] = field(default_factory=lambda: {one.name: [] for one in TABLES})
    last: list[pd.DataFrame] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)


@dg.multi_asset(name=STEP, specs=[_spec(table) for table in TABLES], partitions_def=DAILY, backfill_policy=ONE_RUN)
@own_step(STEP)
def paper_books(
    context: dg.AssetExecutionContext, config: PaperTrading, warehouse: WarehouseResource, policy: PolicyResource
) -> ThreeResults:
    """Each portfolio day by day in order, a day in one transaction; what was written stays when a later day fails. A
    portfolio that cannot be traded stops no other: the run fails with all that failed when the others are done.
    """
    days, engine = day_range(context), warehouse.engine
    wanted = wishes(policy, config)
    kept, failed = Kept(), list[DefiYieldError]()
    for wish in wanted:
        try:
            trade_days(engine, wish, days, kept, config)
        except DefiYieldError as error:
            context.log.warning("%s is not traded: %s", wish.portfolio_id, error)
            failed.append(error)
    for name, reason in kept.waiting.items():
        context.log.warning("%s is not traded yet: %s", name, reason)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise PermanentError(
            f"{len(failed)} of {len(wanted)} portfolios failed:\n{listed([str(one) for one in failed])}"
        )
    shown = pd.concat(kept.last, ignore_index=True)[SHOWN] if kept.last else None
    facts: dict[str, Any] = {"portfolios": len(wanted), "not_begun": kept.waiting or None}
    book, orders, trades = (
        report(
            writes.day_by_day(table, kept.receipts[table.name]),
            shown if table is schema.paper_portfolio else None,
            asset=table.name,
            **facts,
        )
        for table in TABLES
    )
    return book, orders, trades


def trade_days(engine: sa.Engine, wish: Wish, days: DayRange, kept: Kept, config: PaperTrading) -> None:
    """Trade a portfolio over some days and store each."""
    own = _own_days(engine, wish, days, kept, goes_on=config.goes_on)
    stored = None if own is None else stored_book(engine, wish, day_before(own.start))
    if own is not None and stored is None:
        own = _from_the_first_bar(engine, wish, own, kept)
    if own is None:
        return
    portfolio = stored.portfolio if stored is not None else _opened(engine, wish, own.start)
    inputs = read_inputs(engine, portfolio, own.end)
    frames: dict[sa.Table, pd.DataFrame] = {}
    for number, day in enumerate(own, start=1):
        stored, frames = _traded(portfolio, stored, inputs, day)
        for receipt in keep_day(engine, portfolio.portfolio_id, day, frames, is_restating=config.restate):
            kept.receipts[receipt.table].append(receipt)
        if number % TOLD_EVERY == 0 or number == len(own):
            tell_progress(STEP, f"{number} of {len(own)} days of {portfolio.portfolio_id}")
    if frames:
        kept.last.append(frames[schema.paper_portfolio])


def _own_days(engine: sa.Engine, wish: Wish, days: DayRange, kept: Kept, *, goes_on: bool) -> DayRange | None:
    """Those of a run's days that a portfolio is traded on, None: none of them.

    A run holds days of many portfolios. One that has rows begins at its first of them, and where it `goes_on` at its
    newest; one without any at its `starts_on`. PermanentError where that is before the days.
    """
    there = reads.days_with_rows(engine, schema.paper_portfolio, {"portfolio_id": wish.portfolio_id})
    if there is not None:
        first = there.end if goes_on else there.start
        if first <= days.end:
            return DayRange(max(first, days.start), days.end)
        return None if goes_on else days
    if wish.starts_on is None:
        return days
    if wish.starts_on < FIRST_DAY:
        raise PermanentError(
            f"{wish.portfolio_id} starts on {wish.starts_on}; the first day that there is, is {FIRST_DAY} "
            "(DEFIYIELD_FIRST_DAY)"
        )
    if wish.starts_on > days.end:
        kept.waiting[wish.portfolio_id] = f"it starts on {wish.starts_on}"
        return None
    if wish.starts_on < days.start:
        raise PermanentError(
            f"{wish.portfolio_id} starts on {wish.starts_on} and has no row yet. {how_to_make(wish.starts_on)}"
        )
    return DayRange(wish.starts_on, days.end)


def _from_the_first_bar(engine: sa.Engine, wish: Wish, days: DayRange, kept: Kept) -> DayRange | None:
    """The days from the first on which the portfolio's universe has a bar; None where it has none yet."""
    first = first_bar(engine, wish.universe, days.end)
    if first is None:
        kept.waiting[wish.portfolio_id] = f"no instrument of {wish.universe} has a bar up to {days.end}"
        return None
    return DayRange(max(first, days.start), days.end)


def _opened(engine: sa.Engine, wish: Wish, day: date) -> Portfolio:
    """A portfolio on its first day."""
    names, start = instruments_at(engine, wish.universe, day), wish.starts_on or day
    return Portfolio(wish.portfolio_id, wish.strategy, wish.universe, start, names, wish.costs, wish.account)


def _traded(
    portfolio: Portfolio, stored: StoredBook | None, inputs: Inputs, day: date
) -> tuple[StoredBook, dict[sa.Table, pd.DataFrame]]:
    """A day: the book behind it, and its rows."""
    history, signals = inputs.known_on(day)
    restatements = () if stored is None else inputs.restatements(stored.scales)
    ratios = {one.instrument_id: one.ratio for one in restatements}
    book = None if stored is None else in_todays_prices(stored.book, portfolio, ratios)
    made = trade_day(book, portfolio, history, signals)
    scales = scales_of(portfolio.instruments, inputs.history.dates, inputs.factors, made.bar_day)
    now = StoredBook(portfolio, made.book, scales, day)
    return now, day_frames(now, made, restatements)
