"""What transactions do to positions in pools: deposits, withdrawals, shares that move, corrections of earlier days.

Lives here: legs on a pool's accounts and their effect on shares and underlying, to the base unit. Not here: growth
(rates.py), where a day starts and which rate it ends with (positions.py), the legs themselves (booking.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta
from itertools import groupby

import pandas as pd

from defiyield_assets.domain.ledger.accounts import (
    CONVERSIONS,
    CORRECTION,
    MIGRATION,
    POOL_PREFIX,
    UNEXPLAINED,
    WALLET_TRANSFER,
    YIELD_PREFIX,
    AddressBook,
)
from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.rates import KnownApys, accrue

ROUNDING = 2
"""Base units, of the underlying or of shares, by which a mint or burn at the known rate may differ from it."""
MOST_RISE = (3, 2)
"""A payment that would raise a rate beyond this ratio held something else (a reward, another pool's money); a mint that
would lower it as much was paid for with something else too (ETH in a zap). A burn may: a pool can lose."""
_MOVES = frozenset({WALLET_TRANSFER, MIGRATION})
_COLUMNS = (
    "date",
    "block_number",
    "block_time",
    "chain_id",
    "tx_hash",
    "kind",
    "wallet",
    "pool_id",
    "account",
    "token_address",
    "amount",
    "decimals",
    "classification",
)


@dataclass(frozen=True, slots=True)
class PoolLeg:
    """A leg on a pool's account or its yield account, of one wallet.

    `since` is the day of the block, earlier than the day on which a correction is booked. `is_in_kind`: the pool paid
    in another token, so legs of the underlying tell the cost and not the worth of what left.
    """

    since: date
    block: int
    holding: Holding
    tx_hash: str
    token: str
    amount: int
    decimals: int
    is_share: bool
    is_move: bool
    is_unexplained: bool
    is_in_kind: bool
    is_correction: bool


@dataclass(slots=True)
class Position:
    """Shares, their token, underlying by token, and when and how the rate between them was last seen on chain."""

    shares: int = 0
    share_token: str = ""
    seen_on: date | None = None
    is_seen_by_call: bool = False
    underlying: dict[str, int] = field(default_factory=dict)

    def see(self, day: date, *, is_by_call: bool = False) -> None:
        """The rate was seen on chain on this day."""
        self.seen_on, self.is_seen_by_call = day, is_by_call

    def settle(self) -> None:
        """Nothing is owed: no underlying without shares, and none below zero.

        A chain that paid out more than we thought was there leaves nothing, not a debt.
        """
        if self.shares <= 0:
            self.underlying, self.seen_on, self.is_seen_by_call = {}, None, False
        else:
            self.underlying = {token: max(amount, 0) for token, amount in self.underlying.items()}

    def part(self, shares: int) -> dict[str, int]:
        """The underlying that goes with so many of the shares: proportional, rounded down, all with the last one."""
        if shares >= self.shares:
            return dict(self.underlying)
        return {token: held * shares // self.shares for token, held in self.underlying.items()}

    def join(self, shares: int) -> None:
        """So many shares came and nobody knows for what: they are worth what the others are, rounded down."""
        if self.shares > 0:
            self.underlying = {token: held + held * shares // self.shares for token, held in self.underlying.items()}
        self.shares += shares


Positions = dict[Holding, Position]


def pool_legs(postings: pd.DataFrame, book: AddressBook) -> dict[date, list[PoolLeg]]:
    """Legs of pools by the day on which they are booked, each day in booking order.

    `postings` are rows of `ledger_postings`. Within a block, transactions that only burn shares come last.
    """
    named = postings.loc[[isinstance(pool_id, str) for pool_id in postings["pool_id"]]]
    in_kind = {
        (tx_hash, pool_id)
        for tx_hash, pool_id, account in zip(named["tx_hash"], named["pool_id"], named["account"], strict=True)
        if account == CONVERSIONS
    }
    days: dict[date, list[PoolLeg]] = {}
    burns: set[str] = set()
    mints: set[str] = set()
    rows = zip(*(named[name] for name in _COLUMNS), strict=True)
    for day, block, at, chain_id, tx_hash, kind, wallet, pool_id, account, token, amount, decimals, what in rows:
        is_share = book.pool_of_share(chain_id, token) is not None
        is_counted = account.startswith(POOL_PREFIX) or (account.startswith(YIELD_PREFIX) and not is_share)
        if not is_counted or not isinstance(wallet, str):
            continue
        is_correction = kind == CORRECTION
        leg = PoolLeg(
            min(day, at.astimezone(UTC).date()) if is_correction else day,
            block,
            Holding(chain_id, wallet, pool_id),
            tx_hash,
            token,
            amount,
            decimals,
            is_share=is_share,
            is_move=what in _MOVES and not is_correction,
            is_unexplained=what == UNEXPLAINED,
            is_in_kind=(tx_hash, pool_id) in in_kind,
            is_correction=is_correction,
        )
        days.setdefault(day, []).append(leg)
        if is_share:
            (burns if amount < 0 else mints).add(tx_hash)
    last = burns - mints
    for legs in days.values():
        legs.sort(key=lambda leg: (leg.holding.chain_id, leg.block, leg.tx_hash in last, leg.tx_hash))
    return days


def apply_day(legs: Sequence[PoolLeg], positions: Positions, apys: KnownApys, day: date) -> None:
    """Everything that is booked on a day: corrections of earlier days first, then its transactions in their order."""
    corrections = [leg for leg in legs if leg.is_correction]
    _correct(corrections, positions, apys, day)
    own = (leg for leg in legs if not leg.is_correction)
    for _, group in groupby(own, key=lambda leg: (leg.holding.chain_id, leg.block, leg.tx_hash)):
        _apply(list(group), positions, day)


def _apply(legs: Sequence[PoolLeg], positions: Positions, day: date) -> None:
    """One transaction: moves of shares first, then what each holding was paid in and out."""
    _move([leg for leg in legs if leg.is_move], positions)
    for holding, own in _by_holding(leg for leg in legs if not leg.is_move).items():
        _exchange(positions.setdefault(holding, Position()), own, day)
    for holding in {leg.holding for leg in legs}:
        positions[holding].settle()


def _by_holding(legs: Iterable[PoolLeg]) -> dict[Holding, list[PoolLeg]]:
    found: dict[Holding, list[PoolLeg]] = {}
    for leg in legs:
        found.setdefault(leg.holding, []).append(leg)
    return found


def _exchange(position: Position, legs: Sequence[PoolLeg], day: date) -> None:
    """Underlying against shares of one holding.

    Shares that left without a price (unexplained, paid in another token, or for nothing) take their part along, and
    those that came unexplained bring theirs: a position is its shares times the known rate.
    """
    before, moved = position.shares, 0
    paid: dict[str, int] = {}
    for leg in legs:
        if leg.is_share:
            moved += leg.amount
            position.share_token = leg.token
        elif not leg.is_unexplained:
            paid[leg.token] = paid.get(leg.token, 0) + leg.amount
    is_priced = any(paid.values()) and not any(leg.is_in_kind or (leg.is_share and leg.is_unexplained) for leg in legs)
    if moved < 0 and not is_priced:
        taken = position.part(-moved)
        position.underlying = {token: held - taken[token] for token, held in position.underlying.items()}
        position.shares += moved
        return
    if moved > 0 and not any(paid.values()) and any(leg.is_share and leg.is_unexplained for leg in legs):
        position.join(moved)
        return
    position.shares += moved
    for token, amount in paid.items():
        position.underlying[token] = position.underlying.get(token, 0) + amount
    if moved and is_priced:
        position.see(day)
        _anchor(position, before, moved, paid)


def _anchor(position: Position, before: int, moved: int, paid: dict[str, int]) -> None:
    """A mint or burn shows the rate of a single-token pool: where it is another than we thought, all shares have it.

    Within `ROUNDING` base units of what was paid or of the shares that moved, the exact replay stays. The composition
    of pools with several tokens is not told by one payment.
    """
    if before <= 0 or len(position.underlying) != 1:
        return
    ((token, after),) = position.underlying.items()
    amount = paid.get(token, 0)
    held, given, price = after - amount, abs(moved), abs(amount)
    if (amount > 0) != (moved > 0) or not amount:
        return
    is_rounding = abs(price * before - held * given) <= ROUNDING * (before + held)
    is_rise = held > 0 and price * before * MOST_RISE[1] > held * given * MOST_RISE[0]
    is_partly_paid = moved > 0 and held * given * MOST_RISE[1] > price * before * MOST_RISE[0]
    is_absurd = is_rise or is_partly_paid
    if not is_rounding and not is_absurd:
        position.underlying[token] = max(position.shares, 0) * price // given


def _move(legs: Sequence[PoolLeg], positions: Positions) -> None:
    """Shares that changed wallet or pool: the givers' part of the underlying, rounded down, goes to the takers."""
    moved: dict[Holding, int] = {}
    tokens: dict[Holding, str] = {}
    for leg in legs:
        if leg.is_share:
            moved[leg.holding] = moved.get(leg.holding, 0) + leg.amount
            tokens[leg.holding] = leg.token
    taken: dict[str, int] = {}
    giver: Position | None = None
    for holding, amount in moved.items():
        if amount < 0 and holding in positions:
            giver = positions[holding]
            for token, part in giver.part(-amount).items():
                giver.underlying[token] -= part
                taken[token] = taken.get(token, 0) + part
    total = sum(amount for amount in moved.values() if amount > 0)
    for holding, amount in sorted(moved.items()):
        position = positions.setdefault(holding, Position())
        has_unknown = position.shares > 0 and not position.underlying
        position.shares += amount
        position.share_token = tokens[holding]
        if position.seen_on is None and giver is not None and giver.seen_on is not None:
            position.see(giver.seen_on, is_by_call=giver.is_seen_by_call)
        if amount > 0:
            for token, rest in taken.items():
                part = rest * amount // total
                position.underlying[token] = position.underlying.get(token, 0) + part
                taken[token] = rest - part
            if has_unknown:  # the shares that were there are worth what those that came are
                position.underlying = {
                    token: held * position.shares // amount for token, held in position.underlying.items()
                }
            total -= amount


def _correct(legs: Sequence[PoolLeg], positions: Positions, apys: KnownApys, day: date) -> None:
    """What should have been booked on earlier days: it has grown since, at the APYs that were known meanwhile."""
    for holding, own in _by_holding(legs).items():
        position = positions.setdefault(holding, Position())
        for token in sorted({leg.token for leg in own if not leg.is_share}):
            grown = _grown_since([leg for leg in own if leg.token == token], apys, day)
            position.underlying[token] = position.underlying.get(token, 0) + grown
        shares = [leg for leg in own if leg.is_share]
        moved = sum(leg.amount for leg in shares)
        if moved > 0 and all(leg.is_share and leg.is_unexplained for leg in own):
            position.join(moved)
        else:
            position.shares += moved
        if shares:
            position.share_token = shares[-1].token
            if position.seen_on is None:
                position.see(max(leg.since for leg in shares))
        position.settle()


def _grown_since(legs: Sequence[PoolLeg], apys: KnownApys, day: date) -> int:
    """Signed amounts of one token from the days of their blocks to the start of `day`, growing at the end of each."""
    pool_id, today, grown = legs[0].holding.pool_id, min(leg.since for leg in legs), 0
    while today < day:
        grown += sum(leg.amount for leg in legs if leg.since == today)
        size = accrue(abs(grown), apys.of(pool_id, today))
        grown, today = (size if grown >= 0 else -size), today + timedelta(days=1)
    return grown + sum(leg.amount for leg in legs if leg.since >= day)
