"""The one execution engine: a state and a bar in, a state and fills out. Backtests and paper trading both step by it.

Lives here: the order of things within a bar. Not here: what is decided (plans.py), how much (amounts.py), where stops
lie (levels.py), what a run amounts to (metrics.py).

Within a bar: 1. cash earns, shorts pay; 2. orders decided on bars before are filled at the open (closings first, then
rebalancing, then entries); 3. stops and targets; 4. one mark at the close; 5. the decision on the completed bar becomes
orders for the next. Nothing that is filled in a bar was decided in it, stops and targets excepted, and what is sold
because an account owes more than its cash.

What a short costs is paid whole. Where cash does not suffice, longs are sold at the market (`exit_reason` margin), each
by the same part; what is owed beyond that is the lenders' loss (`Step.unpaid`) and the account's ruin. An account with
shorts that is worth nothing at a mark is ruined as well: it is closed there and then, since nobody lends it another
night. After ruin equity is 0 and nothing is traded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isnan, nan

from defiyield_assets.domain.strategies.amounts import affordable, quantity
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.language import Sizing
from defiyield_assets.domain.strategies.levels import stop_fill, stop_level, target_fill, target_level
from defiyield_assets.domain.strategies.state import (
    MAX_ROUNDING,
    Bar,
    Decision,
    Entry,
    Exit,
    ExitReason,
    Fill,
    Position,
    Purchases,
    Record,
    Refusal,
    State,
    Step,
    Trade,
    Weights,
)

ENGINE_VERSION = "2"
"""Part of every run's key: raise it with any change of a rule that may change a fill."""
DAYS_PER_YEAR = 365.0


@dataclass(frozen=True)
class Terms:
    """What a strategy and an account ask of the engine, the same at every bar."""

    costs: CostModel
    account: Account
    sizing: Sizing | None = None
    n_places: int = 1
    max_positions: int | None = None
    band: float = 0.0


def step(state: State, bar: Bar, decision: Decision, terms: Terms) -> Step:
    """One bar: fill what was decided before, mark, and take the decision on the completed bar as orders."""
    desk = _through_the_close(state, bar, terms)
    desk.decide(decision)
    return desk.done()


def settle(state: State, bar: Bar, terms: Terms) -> Step:
    """One bar up to its mark, without the decision on it: `decide` makes the rest of `step`."""
    return _through_the_close(state, bar, terms).done()


def decide(settled: State, bar: Bar, decision: Decision, terms: Terms) -> State:
    """A settled state with the decision on its completed bar as orders. Paper trading keeps both: what is learned
    before the next open, on a day without a bar, is decided on the same completed bar again.
    """
    desk = _Desk(settled, bar, terms)
    desk.decide(decision)
    return desk.done().state


def _through_the_close(state: State, bar: Bar, terms: Terms) -> _Desk:
    desk = _Desk(state, bar, terms)
    desk.accrue()
    desk.fill_exits()
    desk.fill_weights()
    desk.fill_purchases()
    desk.fill_entries()
    desk.fill_stops_and_targets()
    desk.mark()
    return desk


def close_out(state: State, terms: Terms) -> Step:
    """What is open at the end is closed at the final marks, with a fee and without a spread (`exit_reason` end)."""
    nothing = (nan,) * len(state.marks)
    bar = Bar(state.day or 0, nothing, nothing, nothing, nothing, nothing)
    desk = _Desk(replace(state, exits=(), entries=(), weights=None, purchases=None), bar, terms)
    for position in desk.longs_first():
        desk.close(position, state.marks[position.instrument], "end")
    return desk.done()


class _Desk:
    """A bar's work: a state opened for changes."""

    def __init__(self, state: State, bar: Bar, terms: Terms) -> None:
        self.before, self.bar, self.terms, self.costs = state, bar, terms, terms.costs.widened(bar.spread)
        self.cash = state.cash
        self.positions = {(one.rule, one.instrument): one for one in state.positions}
        self.marks, self.n_bars = state.marks, state.n_bars
        self.exits, self.entries = state.exits, state.entries
        self.weights, self.purchases = state.weights, state.purchases
        self.record = state.record
        self.volumes, self.sigmas = state.volumes, state.sigmas
        self.fills: list[Fill] = []
        self.trades: list[Trade] = []
        self.refusals: list[Refusal] = []
        self.unpaid = 0.0

    def done(self) -> Step:
        """The state behind the bar, and what happened."""
        state = State(
            self.cash,
            self.marks,
            self.n_bars,
            tuple(self.positions.values()),
            self.exits,
            self.entries,
            self.weights,
            self.purchases,
            self.record,
            self.bar.day,
            self.volumes,
            self.sigmas,
        )
        return Step(state, tuple(self.fills), tuple(self.trades), tuple(self.refusals), self.unpaid)

    # --- before the open -------------------------------------------------------------------------------------------
    def accrue(self) -> None:
        """Cash earns what it is paid; shorts pay for what they borrow, by calendar days."""
        if self.costs.cash_earns and self.bar.cash_return:
            self.cash *= 1.0 + self.costs.cash_earns * self.bar.cash_return
        if not self.positions or self.before.day is None:
            return
        years = (self.bar.day - self.before.day) / DAYS_PER_YEAR
        for key, one in [*self.positions.items()]:
            if one.side < 0:
                due = one.quantity * self.marks[one.instrument] * self.costs.borrow * years
                self._pay(due)
                self.positions[key] = replace(one, borrowed=one.borrowed + due)

    def bars_held(self, one: Position) -> int:
        """Completed bars since a position's entry, its own counted."""
        return self.n_bars[one.instrument] - one.bars_before

    # --- prices ----------------------------------------------------------------------------------------------------
    def is_open(self, instrument: int) -> bool:
        """Whether the instrument has this bar."""
        return not isnan(self.bar.close[instrument])

    def market(self, instrument: int, *, is_buy: bool) -> float:
        """Where the market fills an order at the open, before costs.

        The open; the close of a bar that has no other price; on a masked gap, whose open is false, the bar's extreme
        against us.
        """
        bar = self.bar
        if bar.gap[instrument] == 1.0:
            extreme = bar.high[instrument] if is_buy else bar.low[instrument]
            if not isnan(extreme):
                return extreme
        opened = bar.open[instrument]
        return bar.close[instrument] if isnan(opened) else opened

    def impact(self, instrument: int, units: float) -> float:
        """Share of the price that an order moves it, by the last known volume and volatility; NaN without any."""
        if self.costs.impact == 0.0:
            return 0.0
        if not self.volumes:
            return nan
        return self.costs.impact_of(units, self.volumes[instrument], self.sigmas[instrument])

    def price_of(self, instrument: int, units: float, *, is_buy: bool) -> float:
        """What a market order that closes or rebalances is filled at; unknown impact is none (entries are refused)."""
        impact = self.impact(instrument, units)
        raw = self.market(instrument, is_buy=is_buy)
        return self.charged(instrument, raw, is_buy=is_buy, impact=0.0 if isnan(impact) else impact)

    def charged(self, instrument: int, raw: float, *, is_buy: bool, impact: float = 0.0) -> float:
        """A market price with spread and impact against us; a masked gap's extreme is left as it is: nobody traded
        beyond it.
        """
        is_extreme = self.bar.gap[instrument] == 1.0 and not isnan(self.bar.high[instrument])
        return raw if is_extreme else self.costs.price(raw, is_buy=is_buy, impact=impact)

    def worth(self, instrument: int) -> float:
        """Price at the open by which equity is measured: the open, else the last mark."""
        opened = self.bar.open[instrument]
        return self.marks[instrument] if isnan(opened) or isnan(self.bar.close[instrument]) else opened

    def equity(self) -> float:
        """Cash and positions at the open."""
        held = self.positions.values()
        return self.cash + sum(one.side * one.quantity * self.worth(one.instrument) for one in held)

    def buying_power(self) -> float:
        """Cash that is free: what shorts brought in, and as much again, stays as their collateral."""
        shorts = sum(one.quantity * self.worth(one.instrument) for one in self.positions.values() if one.side < 0)
        return self.cash - 2.0 * shorts

    # --- closing ---------------------------------------------------------------------------------------------------
    def close(self, one: Position, price: float, reason: ExitReason, part: float = 1.0, bars: int = 0) -> None:
        """Close a position, or a part of it, at a price that holds its costs.

        `bars`: 1 inside a bar that is not counted yet.
        """
        units = one.quantity * part
        value = units * price
        fee = self.costs.fee_of(value)
        if one.side > 0:
            fee = min(fee, self.cash + value)
            self.cash += value - fee
            paid = value - fee
            pnl = paid - units * one.entry_price
        else:
            self._pay(value + fee, bars)
            pnl = units * one.entry_price - value - fee
        pnl -= (one.entry_fee + one.borrowed) * part
        key = (one.rule, one.instrument)
        trade = Trade(
            *(one.rule, one.instrument, one.side, units, one.entry_day, one.entry_price, self.bar.day, price),
            *(one.entry_fee * part, fee, one.borrowed * part, self.bars_held(one) + bars, reason, pnl),
        )
        self.trades.append(trade)
        self.fills.append(Fill(self.bar.day, one.instrument, one.side < 0, units, price, fee, reason, one.rule))
        self._remember(trade)
        if part >= 1.0:
            del self.positions[key]
            return
        left = 1.0 - part
        self.positions[key] = replace(
            one, quantity=one.quantity - units, entry_fee=one.entry_fee * left, borrowed=one.borrowed * left
        )

    def longs_first(self) -> list[Position]:
        """Positions in the order in which they are closed together: what longs bring in pays for shorts."""
        held = self.positions.values()
        return [one for one in held if one.side > 0] + [one for one in held if one.side < 0]

    def _pay(self, due: float, bars: int = 0) -> None:
        """Pay out of cash; where it does not suffice, out of longs; what is owed then stays unpaid."""
        if due > self.cash:
            if due - self.cash > MAX_ROUNDING * due:
                self._raise(due - self.cash, bars)
            short = due - self.cash
            self.unpaid += short if short > MAX_ROUNDING * due else 0.0
        self.cash = max(0.0, self.cash - due)

    def _raise(self, wanted: float, bars: int) -> None:
        """Sell the same part of every long at the market, so much that `wanted` is left after fees, at most all."""
        longs = [one for one in self.positions.values() if one.side > 0]
        priced = [(one, self._forced_price(one, bars)) for one in longs]
        net = sum(one.quantity * price for one, price in priced) * (1.0 - self.costs.fee)
        if net <= 0.0:
            return
        part = min(1.0, (wanted + len(longs) * self.costs.min_fee) / net)
        for one, price in priced:
            units = part * one.quantity
            units = min(float(ceil(units)), one.quantity) if self.terms.account.whole_units else units
            self.close(one, price, "margin", units / one.quantity, bars)

    def _forced_price(self, one: Position, bars: int) -> float:
        """What closing at once is filled at, costs in it.

        At the open (`bars` 0) as any order; inside the bar (1), where nobody knows what another instrument stood at
        just then, at its close. An instrument that rests is taken over at its last mark.
        """
        j, is_buy = one.instrument, one.side < 0
        raw = self.market(j, is_buy=is_buy) if self.is_open(j) else self.marks[j]
        if bars and self.is_open(j) and self.bar.gap[j] != 1.0:
            raw = self.bar.close[j]
        return self._charged_with_impact(one, raw)

    def _charged_with_impact(self, one: Position, raw: float) -> float:
        impact = self.impact(one.instrument, one.quantity)
        return self.charged(one.instrument, raw, is_buy=one.side < 0, impact=0.0 if isnan(impact) else impact)

    def _remember(self, trade: Trade) -> None:
        told, gain = self.record, trade.return_
        self.record = Record(
            told.trades + 1,
            told.wins + (1 if gain > 0 else 0),
            told.won + max(gain, 0.0),
            told.lost + max(-gain, 0.0),
        )

    def close_at_market(self, one: Position, reason: ExitReason) -> None:
        """Close a position at this bar's open."""
        self.close(one, self.price_of(one.instrument, one.quantity, is_buy=one.side < 0), reason)

    def fill_exits(self) -> None:
        """Orders to close, and positions against which an entry of the other side is to be filled now."""
        waiting = []
        for order in self.exits:
            one = self.positions.get((order.rule, order.instrument))
            if one is None:
                continue
            if self.is_open(order.instrument):
                self.close_at_market(one, order.reason)
            else:
                waiting.append(order)
        self.exits = tuple(waiting)
        if not self.entries or not self.positions:
            return
        for entry in self.entries:
            if self.is_open(entry.instrument):
                for one in [*self.positions.values()]:
                    if one.instrument == entry.instrument and one.side == -entry.side:
                        self.close_at_market(one, "reverse")

    # --- opening ---------------------------------------------------------------------------------------------------
    def fill_entries(self) -> None:
        """Entries, greatest rank first, each with the cash that those before it left."""
        if not self.entries:
            return
        waiting = []
        for order in sorted(self.entries, key=_by_rank):
            if self.is_open(order.instrument):
                refusal = self._enter(order)
                if refusal:
                    self.refusals.append(Refusal(self.bar.day, order.instrument, refusal, order.rule, order.side))
            else:
                waiting.append(order)
        self.entries = tuple(waiting)

    def _enter(self, order: Entry) -> str:
        """Fill an entry; the reason where it is not filled, else nothing."""
        terms, costs = self.terms, self.costs
        if self.before.is_ruined:
            return "ruined"
        if terms.sizing is None or (order.rule, order.instrument) in self.positions:
            return "held already"
        if order.side < 0 and not terms.account.allow_short:
            return ""
        if terms.max_positions is not None and len(self.positions) >= terms.max_positions:
            return "max_positions"
        is_buy = order.side > 0
        raw = self.market(order.instrument, is_buy=is_buy)
        power = self.buying_power()
        price = self.charged(order.instrument, raw, is_buy=is_buy)
        units, stop = self._sized(order, price, power)
        if costs.impact and units > 0:
            impact = self.impact(order.instrument, units)
            if isnan(impact):
                return "impact unknown"
            price = self.charged(order.instrument, raw, is_buy=is_buy, impact=impact)
            again, stop = self._sized(order, price, power)
            units = min(units, again)
        if order.stop is not None and isnan(stop):
            return "stop unknown or beyond the entry"
        if units <= MAX_ROUNDING:
            return "no cash or no size"
        target = nan if order.target is None else target_level(order.target, price, order.side, stop)
        self._open(order, units, price, stop, target)
        return ""

    def _sized(self, order: Entry, price: float, power: float) -> tuple[float, float]:
        """Units of an entry and its stop."""
        terms = self.terms
        stop = nan if order.stop is None else stop_level(order.stop, price, order.side)
        if terms.sizing is None:
            return 0.0, stop
        units = quantity(
            terms.sizing,
            price=price,
            stop=stop,
            volatility=order.volatility,
            equity=self.equity(),
            buying_power=power,
            n_places=terms.n_places,
            record=self.record,
            costs=self.costs,
            whole_units=terms.account.whole_units,
            held=self._held(order),
        )
        return units, stop

    def _held(self, order: Entry) -> float:
        """Value at the open of what other rules hold of an entry's instrument on its side."""
        own = [one for one in self.positions.values() if (one.instrument, one.side) == (order.instrument, order.side)]
        return sum(one.quantity * self.worth(one.instrument) for one in own)

    def _open(self, order: Entry, units: float, price: float, stop: float, target: float) -> None:
        value = units * price
        fee = self.costs.fee_of(value)
        self.cash += -order.side * value - fee
        self.cash = max(self.cash, 0.0) if self.cash > -MAX_ROUNDING * max(1.0, value) else self.cash
        is_blind = self.bar.gap[order.instrument] == 1.0 or isnan(self.bar.open[order.instrument])
        self.positions[order.rule, order.instrument] = Position(
            *(order.rule, order.instrument, order.side, units, price, self.bar.day, fee, stop, target),
            bars_before=self.n_bars[order.instrument],
            is_blind=is_blind,
        )
        is_buy = order.side > 0
        self.fills.append(Fill(self.bar.day, order.instrument, is_buy, units, price, fee, "entry", order.rule))

    # --- allocation ------------------------------------------------------------------------------------------------
    def fill_weights(self) -> None:
        """Sell what is beyond its share of equity, then buy what is below, all by the same part where cash is short."""
        if self.weights is None:
            return
        order, equity = self.weights, self.equity()
        least = order.band * equity
        waiting, short = [], []
        for instrument, share in order.shares:
            if not self.is_open(instrument):
                if share > 0 or (0, instrument) in self.positions:
                    waiting.append((instrument, share))
                continue
            one = self.positions.get((0, instrument))
            now = 0.0 if one is None else one.quantity * self.worth(instrument)
            is_small = share > 0.0 and abs(share * equity - now) <= max(least, MAX_ROUNDING * equity)
            if isnan(now) or is_small:
                continue
            if share * equity < now and one is not None:
                self._reduce(one, 1.0 if share == 0.0 else 1.0 - share * equity / now)
            elif share * equity > now:
                short.append((instrument, share * equity - now))
        self.weights = Weights(tuple(waiting), order.band) if waiting else None
        self._buy(short)

    def _reduce(self, one: Position, part: float) -> None:
        if part < 1.0 and self.terms.account.whole_units:
            part = floor(part * one.quantity) / one.quantity
        if part * one.quantity > MAX_ROUNDING:
            price = self.price_of(one.instrument, part * one.quantity, is_buy=False)
            self.close(one, price, "rebalance", part)

    def fill_purchases(self) -> None:
        """Buy for amounts, all by the same part where cash is short."""
        if self.purchases is None:
            return
        told = self.purchases.amounts
        waiting = tuple(one for one in told if not self.is_open(one[0]))
        self._buy([one for one in told if self.is_open(one[0])])
        self.purchases = Purchases(waiting) if waiting else None

    def _buy(self, amounts: Sequence[tuple[int, float]]) -> None:
        """Add to positions for amounts of currency, the fee out of the amount."""
        total = sum(amount for _, amount in amounts)
        if total <= 0.0:
            return
        part = min(1.0, max(self.cash, 0.0) / total)
        for instrument, amount in amounts:
            raw = self.market(instrument, is_buy=True)
            price = self.price_of(instrument, amount * part / raw, is_buy=True)
            units = affordable(min(amount * part, self.cash), price, self.costs)
            units = float(floor(units)) if self.terms.account.whole_units else units
            if units > MAX_ROUNDING:
                self._add(instrument, units, price)

    def _add(self, instrument: int, units: float, price: float) -> None:
        one = self.positions.get((0, instrument))
        if one is None:
            self._open(Entry(0, instrument, 1), units, price, nan, nan)
            return
        value = units * price
        fee = self.costs.fee_of(value)
        self.cash = max(0.0, self.cash - value - fee)
        total = one.quantity + units
        mean = (one.quantity * one.entry_price + value) / total
        self.positions[0, instrument] = replace(one, quantity=total, entry_price=mean, entry_fee=one.entry_fee + fee)
        self.fills.append(Fill(self.bar.day, instrument, True, units, price, fee, "rebalance"))

    # --- inside the bar --------------------------------------------------------------------------------------------
    def fill_stops_and_targets(self) -> None:
        """Stops first: where a bar reaches both, nobody knows which came first."""
        bar = self.bar
        for one in self.longs_first():
            j = one.instrument
            if isnan(bar.close[j]) or (isnan(one.stop) and isnan(one.target)):
                continue
            if one.is_blind and one.entry_day == bar.day:
                continue
            prices = (bar.open[j], bar.high[j], bar.low[j], bar.close[j])
            raw = stop_fill(one.side, one.stop, prices, is_gap=bar.gap[j] == 1.0)
            if not isnan(raw):
                self.close(one, self._charged_with_impact(one, raw), "stop", bars=1)
                continue
            limit = target_fill(one.side, one.target, *prices[1:])
            if not isnan(limit):
                self.close(one, limit, "target", bars=1)

    def mark(self) -> None:
        """Last closes, and one bar more for every instrument that had one; ruin where shorts leave nothing."""
        closes = self.bar.close
        self.marks = tuple([mark if isnan(close) else close for mark, close in zip(self.marks, closes, strict=True)])
        self.n_bars = tuple([n + (0 if isnan(close) else 1) for n, close in zip(self.n_bars, closes, strict=True)])
        for one in self.positions.values():
            if one.side < 0:
                self._liquidate_unless_worth_something()
                return

    def _liquidate_unless_worth_something(self) -> None:
        """Close everything at the marks where it does not pay for more than what the shorts cost."""
        held = self.positions.values()
        if self.cash + sum(one.side * one.quantity * self.marks[one.instrument] for one in held) > 0.0:
            return
        for one in self.longs_first():
            self.close(one, self._charged_with_impact(one, self.marks[one.instrument]), "margin")
        self.cash = 0.0  # rounding of equal sums may leave some

    # --- after the close -------------------------------------------------------------------------------------------
    def decide(self, decision: Decision) -> None:
        """Orders for the next bar."""
        self._decide_exits(decision)
        if self.costs.impact and decision.volumes:
            self.volumes = _last_known(self.volumes, decision.volumes)
            self.sigmas = _last_known(self.sigmas, decision.sigmas)
        if decision.entries:
            waiting = {(one.rule, one.instrument) for one in self.entries}
            fresh = [
                one
                for one in decision.entries
                if (one.rule, one.instrument) not in self.positions and (one.rule, one.instrument) not in waiting
            ]
            self.entries = (*self.entries, *fresh)
        if decision.shares is not None:
            self.weights = Weights(tuple(decision.shares), self.terms.band)
        if decision.purchases is not None:
            capital = self.terms.account.capital
            self.purchases = Purchases(tuple((j, share * capital) for j, share in decision.purchases))

    def _decide_exits(self, decision: Decision) -> None:
        waiting = {(one.rule, one.instrument) for one in self.exits}
        fresh = []
        shorts = 0.0
        for key, one in self.positions.items():
            if one.side < 0:
                shorts += one.quantity * self.marks[one.instrument]
            if key in waiting or one.rule >= len(decision.exits) or isnan(self.bar.close[one.instrument]):
                continue
            if decision.exits[one.rule].leaves(one.instrument, self.bars_held(one)):
                fresh.append(Exit(one.rule, one.instrument, "signal"))
        if shorts > 0.0 and self.cash < self.terms.account.maintenance * shorts:
            told = waiting | {(one.rule, one.instrument) for one in fresh}
            fresh += [
                Exit(one.rule, one.instrument, "margin")
                for key, one in self.positions.items()
                if one.side < 0 and key not in told
            ]
        self.exits = (*self.exits, *fresh)


def _by_rank(order: Entry) -> tuple[float, int, int]:
    """Greatest rank first, unknown last, then rules and instruments in their order."""
    return (float("inf") if isnan(order.rank) else -order.rank, order.rule, order.instrument)


def _last_known(before: Sequence[float], now: Sequence[float]) -> tuple[float, ...]:
    """Today's values, and where one is unknown the last that was known."""
    if not before:
        return tuple(now)
    return tuple([old if isnan(new) else new for old, new in zip(before, now, strict=True)])
