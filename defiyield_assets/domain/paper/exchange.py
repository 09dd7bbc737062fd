"""The simulated exchange: balances of each asset in Decimal, market and limit orders, fees, rejections with a reason.

Lives here: an account and what orders do to it. Not here: which orders are placed and at which prices the market is
(trading.py, domain/strategies/engine.py), where accounts are kept (account_codec.py, store).

Quantities and prices are taken as they are told. What a fill is worth is rounded to 12 places of the currency against
whoever trades (up for a buyer, down for a seller: no unit is ever had for nothing), fees are rounded half-even.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Literal

Side = Literal["buy", "sell"]
Kind = Literal["market", "limit"]
Status = Literal["filled", "rejected", "open", "cancelled"]
LEAST_QUANTITY = Decimal("1e-9")
"""A quantity not above this is refused."""
ROUNDING = Decimal("1e-9")
"""Share of an order that may be missing without its being refused: the engine reckons in binary floats, whose errors
are ten million times smaller. What was missing is booked (`Account.rounding`), never hidden.
"""
MONEY = Decimal("1e-12")
MOST = Decimal("1e40")
"""Quantities, prices and values above this are refused: EXACT holds no more of them to a MONEY."""
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
NOTHING = Decimal(0)
UNKNOWN_PAIR, NO_FUNDS, TOO_SMALL, NO_PRICE = "unknown pair", "insufficient funds", "quantity", "price"
TOO_LARGE = "value"


@dataclass(frozen=True)
class Pair:
    """What a symbol trades: units of `base` for units of `quote`."""

    base: str
    quote: str


@dataclass(frozen=True)
class Fees:
    """A fraction of each side's value, at least `least` (currency)."""

    share: Decimal
    least: Decimal = NOTHING

    def of(self, value: Decimal) -> Decimal:
        """Fee of a fill of that value."""
        return max(self.least, (self.share * value).quantize(MONEY, context=EXACT))


@dataclass(frozen=True)
class OrderRecord:
    """What became of an order. `total`: currency paid with the fee, or got without it; null where nothing was filled.

    `price`: of a resting or cancelled order its limit.
    """

    order_id: str
    number: int
    ts: datetime
    symbol: str
    side: Side
    kind: Kind
    status: Status
    price: Decimal | None = None
    quantity: Decimal | None = None
    fee: Decimal | None = None
    total: Decimal | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Account:
    """Everything an exchange remembers of an account.

    `balances`: units by asset, a negative one is owed (shorts). `resting`: limit orders that wait, by id. `rounding`:
    what was missing by rounding and let pass, by asset; `written_off`: what the account could not pay. `traded`: units
    or currency that moved, by asset. `financing`: interest got less borrowing paid.
    """

    name: str
    balances: Mapping[str, Decimal]
    n_orders: int = 0
    resting: Mapping[str, OrderRecord] = field(default_factory=dict)
    rounding: Mapping[str, Decimal] = field(default_factory=dict)
    traded: Mapping[str, Decimal] = field(default_factory=dict)
    financing: Decimal = NOTHING
    written_off: Decimal = NOTHING


def decimal_of(value: float) -> Decimal:
    """The shortest decimal that reads back as the same float; ValueError for what is not finite."""
    found = Decimal(repr(float(value)))
    if not found.is_finite():
        raise ValueError(f"{value!r} is no amount")
    return found


class Exchange:
    """An account opened for orders. Every order is recorded, refused ones too; a refused one changes no balance."""

    def __init__(self, account: Account, pairs: Mapping[str, Pair], fees: Fees) -> None:
        self._before = account
        self._pairs, self._fees = pairs, fees
        self._balances = dict(account.balances)
        self._rounding, self._traded = dict(account.rounding), dict(account.traded)
        self._resting = dict(account.resting)
        self._n_orders = account.n_orders
        self._financing, self._written_off = account.financing, account.written_off

    def account(self) -> Account:
        """The account as it is now."""
        return Account(
            self._before.name,
            dict(sorted(self._balances.items())),
            self._n_orders,
            dict(self._resting),
            dict(sorted(self._rounding.items())),
            dict(sorted(self._traded.items())),
            self._financing,
            self._written_off,
        )

    def balance(self, asset: str) -> Decimal:
        """Units of an asset, those reserved for resting orders among them."""
        return self._balances.get(asset, NOTHING)

    def available(self, asset: str) -> Decimal:
        """Units that no resting order has reserved."""
        return self.balance(asset) - sum((self._reserved(one, asset) for one in self._resting.values()), NOTHING)

    # --- orders ----------------------------------------------------------------------------------------------------
    def market_order(
        self,
        ts: datetime,
        symbol: str,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        may_owe: bool = False,
        pays_what_there_is: bool = False,
    ) -> OrderRecord:
        """Fill at the price at which the market is for it.

        `may_owe`: a sale of units that are not there borrows them. `pays_what_there_is`: a purchase that ends a short,
        or a sale whose fee is beyond what it brings, is filled although the account cannot pay it all; the rest is
        written off.
        """
        told = self._told(ts, symbol, side, "market", quantity, price)
        reason = self._invalid(symbol, quantity, price)
        if reason is not None:
            return replace(told, status="rejected", reason=reason)
        return self._settled(told, may_owe=may_owe, is_forgiven=pays_what_there_is)

    def limit_order(self, ts: datetime, symbol: str, side: Side, quantity: Decimal, limit: Decimal) -> OrderRecord:
        """Rest until a bar touches the limit (`touch`) or it is cancelled; what it needs is reserved meanwhile."""
        told = replace(self._told(ts, symbol, side, "limit", quantity, limit), status="open")
        reason = self._invalid(symbol, quantity, limit)
        if reason is None:
            pair = self._pairs[symbol]
            asset = pair.quote if side == "buy" else pair.base
            needed = self._reserved(told, asset)
            missing = needed - self.available(asset)
            reason = self._short_of(asset, missing) if missing > ROUNDING * needed else None
        if reason is not None:
            return replace(told, status="rejected", reason=reason)
        self._resting[told.order_id] = told
        return told

    def touch(
        self,
        ts: datetime,
        symbol: str,
        low: Decimal,
        high: Decimal,
        opened: Decimal | None = None,
        *,
        is_never_better: bool = False,
    ) -> list[OrderRecord]:
        """Fill the resting orders of a symbol whose limit a bar reaches, in the order in which they were placed.

        At the limit where the bar traded there. A bar that lies wholly beyond the limit fills at its open (None: at its
        price that is the worst for the order): nobody traded at the limit. `is_never_better`: at the limit even so, as
        targets are filled (market.md).
        """
        found = []
        for one in list(self._resting.values()):
            if one.symbol != symbol or one.price is None:
                continue
            is_buy = one.side == "buy"
            if low <= one.price if is_buy else high >= one.price:
                price = one.price
                if not is_never_better and not low <= price <= high:
                    worst = high if is_buy else low
                    price = worst if opened is None else min(max(opened, low), high)
                del self._resting[one.order_id]
                found.append(self._settled(replace(one, ts=ts, price=price), may_owe=False, is_forgiven=False))
        return found

    def cancel(self, ts: datetime, order_id: str) -> OrderRecord:
        """Take a resting order back. KeyError for an order that does not rest."""
        if order_id not in self._resting:
            raise KeyError(f"{order_id} is no resting order")
        return replace(self._resting.pop(order_id), ts=ts, status="cancelled")

    def refuse(self, ts: datetime, symbol: str, side: Side, reason: str) -> OrderRecord:
        """Record an order that never got a size."""
        told = self._told(ts, symbol, side, "market", NOTHING, NOTHING)
        return replace(told, status="rejected", reason=reason, price=None, quantity=None)

    # --- what is no order ------------------------------------------------------------------------------------------
    def finance(self, asset: str, amount: Decimal) -> None:
        """Interest that is got (above 0) or borrowing that is paid; never more than there is, nor what is reserved."""
        told = max(amount.quantize(MONEY, context=EXACT), -max(self.available(asset), NOTHING))
        self._add(asset, told)
        self._financing += told

    def restate(self, asset: str, factor: Decimal) -> None:
        """Multiply the units of an asset: a split, or a dividend that was paid in units. Resting orders for it are
        restated too: as many times the units, at the price divided by it.
        """
        if factor <= 0 or not factor.is_finite():
            raise ValueError(f"units are not multiplied by {factor}")
        for held in (self._balances, self._rounding, self._traded):
            if asset in held:
                held[asset] = EXACT.multiply(held[asset], factor).normalize(EXACT)
        for name, one in self._resting.items():
            if self._pairs[one.symbol].base == asset and one.quantity is not None and one.price is not None:
                units = EXACT.multiply(one.quantity, factor).normalize(EXACT)
                price = EXACT.divide(one.price, factor).normalize(EXACT)
                self._resting[name] = replace(one, quantity=units, price=price)

    # --- inside ----------------------------------------------------------------------------------------------------
    def _told(  # noqa: PLR0917 - what an order is
        self, ts: datetime, symbol: str, side: Side, kind: Kind, quantity: Decimal, price: Decimal
    ) -> OrderRecord:
        self._n_orders += 1
        name = f"{self._before.name}-{self._n_orders:06d}"
        is_told = quantity.is_finite() and price.is_finite()
        shown = (price, quantity) if is_told else (None, None)
        return OrderRecord(name, self._n_orders, ts, symbol, side, kind, "filled", *shown)

    def _invalid(self, symbol: str, quantity: Decimal, price: Decimal) -> str | None:
        """Why an order cannot be, whatever is on the account."""
        if symbol not in self._pairs:
            return f"{UNKNOWN_PAIR}: {symbol}"
        if not quantity.is_finite() or quantity <= LEAST_QUANTITY:
            return f"{TOO_SMALL} {quantity} is not above {LEAST_QUANTITY}"
        if not price.is_finite() or price <= 0:
            return f"{NO_PRICE} {price} is not positive and finite"
        if max(quantity, price, EXACT.multiply(quantity, price)) > MOST:
            return f"{TOO_LARGE} of {quantity} at {price} is beyond {MOST}"
        return None

    def _settled(self, told: OrderRecord, *, may_owe: bool, is_forgiven: bool) -> OrderRecord:
        """Filled, or rejected where the account cannot pay."""
        with localcontext(EXACT):
            reason = self._lacking(told, may_owe=may_owe, is_forgiven=is_forgiven)
            return replace(told, status="rejected", reason=reason) if reason else self._filled(told)

    def _lacking(self, told: OrderRecord, *, may_owe: bool, is_forgiven: bool) -> str | None:
        """Why the account cannot pay for an order; what rounding explains, or is forgiven, is put there instead, once
        it is known that the order is filled.
        """
        pair, value, fee = self._parts(told)
        units = told.quantity or NOTHING
        rounded: list[tuple[str, Decimal]] = []
        if told.side == "sell":
            missing = units - self.available(pair.base)
            if missing > 0 and not may_owe:
                if missing > ROUNDING * units:
                    return self._short_of(pair.base, missing)
                rounded.append((pair.base, missing))
            missing = fee - value - self.available(pair.quote)
        else:
            missing = value + fee - self.available(pair.quote)
        if 0 < missing <= ROUNDING * (value + fee):
            rounded.append((pair.quote, missing))
        elif missing > 0:
            if not is_forgiven:
                return self._short_of(pair.quote, missing)
            self._written_off += missing
            self._add(pair.quote, missing)
        for asset, amount in rounded:
            self._round(asset, amount)
        return None

    def _short_of(self, asset: str, missing: Decimal) -> str:
        return f"{NO_FUNDS}: {missing.normalize(EXACT):f} {asset} are missing"

    def _round(self, asset: str, amount: Decimal) -> None:
        self._add(asset, amount)
        self._rounding[asset] = self._rounding.get(asset, NOTHING) + amount

    def _parts(self, told: OrderRecord) -> tuple[Pair, Decimal, Decimal]:
        """Pair, value and fee of an order, both in whole MONEY; the value is rounded against whoever trades."""
        quantity, price = told.quantity or NOTHING, told.price or NOTHING
        against = ROUND_CEILING if told.side == "buy" else ROUND_FLOOR
        value = EXACT.multiply(quantity, price).quantize(MONEY, rounding=against, context=EXACT)
        return self._pairs[told.symbol], value, self._fees.of(value)

    def _reserved(self, told: OrderRecord, asset: str) -> Decimal:
        """What a resting order keeps of an asset."""
        pair, value, fee = self._parts(told)
        if told.side == "buy":
            return EXACT.add(value, fee) if asset == pair.quote else NOTHING
        return (told.quantity or NOTHING) if asset == pair.base else NOTHING

    def _filled(self, told: OrderRecord) -> OrderRecord:
        pair, value, fee = self._parts(told)
        units = told.quantity or NOTHING
        if told.side == "buy":
            total = EXACT.add(value, fee)
            self._add(pair.base, units)
            self._add(pair.quote, -total)
        else:
            total = EXACT.subtract(value, fee)
            self._add(pair.base, -units)
            self._add(pair.quote, total)
        for asset, moved in ((pair.base, units), (pair.quote, value)):
            self._traded[asset] = EXACT.add(self._traded.get(asset, NOTHING), moved)
        return replace(told, status="filled", fee=fee, total=total)

    def _add(self, asset: str, amount: Decimal) -> None:
        with localcontext(EXACT):
            self._balances[asset] = self.balance(asset) + amount
