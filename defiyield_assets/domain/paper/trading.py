"""One bar of a paper portfolio: the shared engine fills, each fill is an order at the simulated exchange.

Lives here: a portfolio's book from bar to bar, orders with their decisions, reconciliation of exchange and engine. Not
here: the engine (domain/strategies/engine.py), the exchange (exchange.py), days and history (portfolios.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from math import isnan, nan

from defiyield_assets.domain.paper.decisions import (
    EXIT,
    Decided,
    after_decision,
    after_fills,
    cause_of,
    day_of,
    entry_day,
)
from defiyield_assets.domain.paper.exchange import (
    NOTHING,
    ROUNDING,
    Account,
    Exchange,
    Fees,
    OrderRecord,
    Pair,
    Side,
    decimal_of,
)
from defiyield_assets.domain.strategies.engine import DAYS_PER_YEAR, Terms, decide, settle
from defiyield_assets.domain.strategies.levels import stop_level, target_level
from defiyield_assets.domain.strategies.state import Bar, Decision, Fill, Refusal, State, Step, Trade, opening_state
from defiyield_assets.errors import SuspiciousDataError

CURRENCY = "USD"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNEXPLAINED = ROUNDING
"""Share of the capital and of all that moved by which exchange and engine may differ: rounding of binary floats makes
less than a millionth of it.
"""


@dataclass(frozen=True)
class Desk:
    """What a portfolio trades by, the same at every bar. `signal`: what its decisions follow, in a word."""

    portfolio_id: str
    instruments: tuple[str, ...]
    terms: Terms
    signal: str

    @cached_property
    def pairs(self) -> Mapping[str, Pair]:
        """The exchange's symbols."""
        return {symbol_of(name): Pair(name, CURRENCY) for name in self.instruments}

    @cached_property
    def fees(self) -> Fees:
        """The exchange's fees: those of the cost model."""
        return Fees(decimal_of(self.terms.costs.fee), decimal_of(self.terms.costs.min_fee))


@dataclass(frozen=True)
class Book:
    """A portfolio between two bars.

    `settled`: the engine's state at the last close; `decided`: with the decision on it as orders, what the next bar
    begins with. `account`: at the exchange. `known`: when what waits and what is held was decided.
    """

    settled: State
    decided: State
    account: Account
    known: Decided = field(default_factory=Decided)
    n_trades: int = 0


@dataclass(frozen=True)
class Order:
    """An order at the exchange and the decision that it carries out; `decided_on`: days since 1970."""

    record: OrderRecord
    instrument: int
    decision: str
    rule: int
    decided_on: int
    stop: float = nan
    target: float = nan


@dataclass(frozen=True)
class RoundTrip:
    """A closed trade, its number in the portfolio and the order that closed it."""

    number: int
    trade: Trade
    order_id: str


@dataclass(frozen=True)
class Traded:
    """What a bar made of a book."""

    book: Book
    orders: tuple[Order, ...] = ()
    trades: tuple[RoundTrip, ...] = ()


def symbol_of(instrument: str) -> str:
    """The exchange's symbol of an instrument."""
    return f"{instrument}/{CURRENCY}"


def opening_book(desk: Desk) -> Book:
    """A portfolio before its first bar."""
    state = opening_state(desk.terms.account.capital, len(desk.instruments))
    return Book(state, state, Account(desk.portfolio_id, {CURRENCY: decimal_of(desk.terms.account.capital)}))


def trade_bar(book: Book, bar: Bar, decision: Decision, desk: Desk) -> Traded:
    """One bar: what was decided is filled at the engine's prices and booked at the exchange, then the decision on the
    completed bar waits for the next.

    SuspiciousDataError where the exchange refuses what the engine filled, where an order has no decision, or where the
    two accounts differ by more than rounding.
    """
    before = book.decided
    step = settle(before, bar, desk.terms)
    exchange = Exchange(book.account, desk.pairs, desk.fees)
    for amount in financing(before, bar, desk.terms):
        exchange.finance(CURRENCY, decimal_of(amount))
    orders, trades = _booked(step, book, bar, desk, exchange)
    known = after_fills(book.known, before, step.state)
    settled = Book(step.state, step.state, exchange.account(), known, book.n_trades + len(trades))
    require_reconciled(settled, desk)
    return Traded(decide_again(settled, bar, decision, desk), orders, trades)


def decide_again(book: Book, bar: Bar, decision: Decision, desk: Desk) -> Book:
    """The book with the decision on its last bar as orders, in place of those decided on it before."""
    decided = decide(book.settled, bar, decision, desk.terms)
    known = after_decision(book.known, book.settled, decided, decision, bar.day)
    return Book(book.settled, decided, book.account, known, book.n_trades)


def financing(before: State, bar: Bar, terms: Terms) -> list[float]:
    """What cash earns over a bar, and what each short pays (below 0), in the order in which they are booked."""
    costs, cash, found = terms.costs, before.cash, []
    if costs.cash_earns and bar.cash_return:
        found.append(cash * costs.cash_earns * bar.cash_return)
        cash += found[-1]
    if before.day is None:
        return found
    years = (bar.day - before.day) / DAYS_PER_YEAR
    for one in before.positions:
        if one.side < 0:
            due = min(cash, one.quantity * before.marks[one.instrument] * costs.borrow * years)
            cash -= due
            found.append(-due)
    return found


# --- orders --------------------------------------------------------------------------------------------------------
def _booked(
    step: Step, book: Book, bar: Bar, desk: Desk, exchange: Exchange
) -> tuple[tuple[Order, ...], tuple[RoundTrip, ...]]:
    """Orders of all fills in their order, then the refused entries; trades with the orders that closed them."""
    closed = iter(step.trades)
    orders: list[Order] = []
    trades: list[RoundTrip] = []
    for fill in step.fills:
        trade = next(closed) if _closes(fill) else None
        orders += _order(fill, trade, book, bar, desk, exchange)
        if trade is not None:
            trades.append(RoundTrip(book.n_trades + len(trades) + 1, trade, orders[-1].record.order_id))
    for refusal in step.refusals:
        orders.append(_refused(refusal, book, bar, desk, exchange))
    return tuple(orders), tuple(trades)


def _closes(fill: Fill) -> bool:
    """Whether a fill ends a position or a part of it; an allocation is only ever long, so that its sales do."""
    return fill.reason != "entry" and not (fill.reason == "rebalance" and fill.is_buy)


def _order(  # noqa: PLR0917 - what a fill is made an order of
    fill: Fill, trade: Trade | None, book: Book, bar: Bar, desk: Desk, exchange: Exchange
) -> list[Order]:
    """What a fill is at the exchange: one order, or a limit order that cannot be paid and what is done instead."""
    name = desk.instruments[fill.instrument]
    decided_on = _decided_on(fill, trade, book, name)
    records = _placed(fill, trade, bar, symbol_of(name), exchange)
    if records[-1].status != "filled":
        reason = records[-1].reason
        raise SuspiciousDataError(f"{desk.portfolio_id}: the exchange refused what the engine filled, {name}: {reason}")
    stop, target = _levels(fill, book.decided)
    cause = cause_of(fill, book.decided)
    return [Order(one, fill.instrument, cause, fill.rule, decided_on, stop, target) for one in records]


def _decided_on(fill: Fill, trade: Trade | None, book: Book, name: str) -> int:
    try:
        return day_of(fill, trade, book.known, book.decided)
    except (KeyError, StopIteration) as error:
        day = (EPOCH + timedelta(days=fill.day)).date()
        raise SuspiciousDataError(f"{name} was traded on {day} ({fill.reason}) without a decision: {error}") from error


def _placed(fill: Fill, trade: Trade | None, bar: Bar, symbol: str, exchange: Exchange) -> list[OrderRecord]:
    """The order of a fill: targets are limit orders that the bar touches, everything else is a market order."""
    ts, side = EPOCH + timedelta(days=fill.day), _side(is_buy=fill.is_buy)
    quantity, price = decimal_of(fill.quantity), decimal_of(fill.price)
    records = []
    if fill.reason == "target":
        placed = exchange.limit_order(ts, symbol, side, quantity, price)
        if placed.status == "open":
            low, high = _range(bar, fill.instrument)
            filled = exchange.touch(ts, symbol, low, high, is_never_better=True)
            return filled or [exchange.cancel(ts, placed.order_id)]
        records.append(placed)
    is_short_entry = trade is None and not fill.is_buy
    is_closing = trade is not None
    order = exchange.market_order(
        ts, symbol, side, quantity, price, may_owe=is_short_entry, pays_what_there_is=is_closing
    )
    return [*records, order]


def _range(bar: Bar, instrument: int) -> tuple[Decimal, Decimal]:
    """Low and high of a bar; its close where it has no other price."""
    close = bar.close[instrument]
    low, high = (close if isnan(side[instrument]) else side[instrument] for side in (bar.low, bar.high))
    return decimal_of(low), decimal_of(high)


def _levels(fill: Fill, before: State) -> tuple[float, float]:
    """Stop and target of an entry at the price at which it was filled."""
    if fill.reason != "entry":
        return nan, nan
    wanted = 1 if fill.is_buy else -1
    for one in before.entries:
        if (one.rule, one.instrument, one.side) == (fill.rule, fill.instrument, wanted):
            stop = nan if one.stop is None else stop_level(one.stop, fill.price, one.side)
            return stop, nan if one.target is None else target_level(one.target, fill.price, one.side, stop)
    return nan, nan


def _refused(refusal: Refusal, book: Book, bar: Bar, desk: Desk, exchange: Exchange) -> Order:
    """An entry that the engine gave no size."""
    name = desk.instruments[refusal.instrument]
    side = _side(is_buy=refusal.side > 0)
    record = exchange.refuse(EPOCH + timedelta(days=bar.day), symbol_of(name), side, refusal.reason)
    decided_on = entry_day(book.known, refusal.rule, refusal.instrument)
    return Order(record, refusal.instrument, "entry", refusal.rule, decided_on)


def _side(*, is_buy: bool) -> Side:
    return "buy" if is_buy else "sell"


# --- reconciliation ------------------------------------------------------------------------------------------------
def units_held(state: State, instrument: int) -> Decimal:
    """Units of an instrument as the engine reckons them, those of shorts negative."""
    own = (one.side * decimal_of(one.quantity) for one in state.positions if one.instrument == instrument)
    return sum(own, NOTHING)


def positions_value(account: Account, state: State, instruments: tuple[str, ...]) -> Decimal:
    """Units at the exchange at the last closes."""
    found = NOTHING
    for name, mark in zip(instruments, state.marks, strict=True):
        units = account.balances.get(name, NOTHING)
        if units and not isnan(mark):
            found += units * decimal_of(mark)
    return found


def require_reconciled(book: Book, desk: Desk) -> None:
    """SuspiciousDataError where a balance at the exchange is not the engine's but for rounding, or cash is below 0."""
    account, state = book.account, book.settled
    cash = account.balances.get(CURRENCY, NOTHING)
    scale = decimal_of(desk.terms.account.capital) + account.traded.get(CURRENCY, NOTHING)
    _require_same(desk, CURRENCY, cash, decimal_of(state.cash), scale)
    if cash < 0:
        raise SuspiciousDataError(f"{desk.portfolio_id}: the exchange owes {cash} {CURRENCY}")
    for number, name in enumerate(desk.instruments):
        units, traded = account.balances.get(name, NOTHING), account.traded.get(name, NOTHING)
        _require_same(desk, name, units, units_held(state, number), traded)


def _require_same(desk: Desk, asset: str, told: Decimal, reckoned: Decimal, scale: Decimal) -> None:
    if abs(told - reckoned) > UNEXPLAINED * scale:
        raise SuspiciousDataError(
            f"{desk.portfolio_id}: the exchange holds {told} {asset}, the engine reckons {reckoned}; they may differ "
            f"by {UNEXPLAINED * scale}"
        )


def pending_orders(book: Book, instruments: tuple[str, ...]) -> list[dict[str, object]]:
    """What waits for the next open: decision, rule, instrument, side, day of its decision (days since 1970), and share
    of equity or amount of currency where it is one.
    """
    state, found = book.decided, []

    def told(kind: str, rule: int, instrument: int, **more: object) -> dict[str, object]:
        day = book.known.waiting[kind, rule, instrument]
        return {"kind": kind, "rule": rule, "instrument_id": instruments[instrument], "decided_on": day, **more}

    sides = {(one.rule, one.instrument): one.side for one in state.positions}
    for leaving in state.exits:
        is_buy = sides.get((leaving.rule, leaving.instrument), 1) < 0
        more = {"side": _side(is_buy=is_buy), "reason": leaving.reason}
        found.append(told(EXIT, leaving.rule, leaving.instrument, **more))
    found += [told("entry", one.rule, one.instrument, side=_side(is_buy=one.side > 0)) for one in state.entries]
    if state.weights is not None:
        found += [told("weights", 0, instrument, share=share) for instrument, share in state.weights.shares]
    if state.purchases is not None:
        bought = state.purchases.amounts
        found += [told("purchase", 0, instrument, side="buy", amount=amount) for instrument, amount in bought]
    return found
