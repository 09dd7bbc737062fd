"""`pool_positions`: what we hold in each pool at the end of a day, to the base unit.

Lives here: the replay of deposits, withdrawals and daily growth since the first deposit. Not here: growth itself
(rates.py), cost basis (booking.py) or which APYs were known when (store/reads.py).
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from math import isfinite

import pandas as pd

from defiyield_assets.domain.ledger.accounts import (
    MIGRATION,
    POOL_PREFIX,
    WALLET_TRANSFER,
    YIELD_PREFIX,
    AddressBook,
)
from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.domain.ledger.tables import POOL_POSITIONS, make_frame
from defiyield_assets.domain.ledger.valuation import RATIO, Prices, tidy
from defiyield_assets.domain.policy import Policy

_MOVES = frozenset({WALLET_TRANSFER, MIGRATION})
_COLUMNS = (
    "date",
    "block_number",
    "chain_id",
    "tx_hash",
    "wallet",
    "pool_id",
    "account",
    "token_address",
    "amount",
    "decimals",
    "classification",
)


@dataclass(frozen=True, slots=True)
class _PoolLeg:
    """A leg on a pool's account or its yield account."""

    day: date
    block: int
    holding: Holding
    tx_hash: str
    token: str
    amount: int
    decimals: int
    is_share: bool
    is_move: bool


@dataclass(slots=True)
class _Position:
    """Shares, their token, the day of the last mint or burn, and underlying by token."""

    shares: int = 0
    share_token: str = ""
    seen_on: date | None = None
    underlying: dict[str, int] = field(default_factory=dict)


class _Apys:
    """Last known APY of a pool on or before a day."""

    def __init__(self, apys: pd.DataFrame) -> None:
        self._known: dict[str, tuple[list[date], list[float]]] = {}
        for pool_id, day, apy in sorted(zip(apys["pool_id"], apys["date"], apys["apy"], strict=True)):
            if pd.notna(apy) and isfinite(apy):
                days, values = self._known.setdefault(pool_id, ([], []))
                days.append(day)
                values.append(float(apy))

    def of(self, pool_id: str, day: date) -> float:
        """APY as a fraction; 0 before the first known day."""
        days, values = self._known.get(pool_id, ([], []))
        found = bisect_right(days, day)
        return values[found - 1] if found else 0.0


def pool_positions(
    postings: pd.DataFrame,
    *,
    policy: Policy,
    contracts: pd.DataFrame,
    apys: pd.DataFrame,
    prices: Prices,
    day: date,
) -> pd.DataFrame:
    """`pool_positions` of one day from all postings up to it: one row per wallet, pool and underlying token.

    Replayed from the first deposit: a deposit adds and a withdrawal subtracts the chain's integers, the last share
    takes everything along, and at the end of each UTC day the rest grows by `accrue` at that day's APY. `apys` has
    columns pool_id, date, apy (fraction): for each day the value that was known at the end of that day; a day without
    one grows at the last known before it, and not at all when there is none. Shares that move between wallets or pools
    take their part of the grown underlying along. `exchange_rate` is underlying per share base unit to 60 digits;
    `rate_source` is mint_ratio on the day of a mint or burn and apy_growth after it. A held trusted token without a
    close: SuspiciousDataError.
    """
    legs = _pool_legs(postings, AddressBook.of(policy, contracts), day)
    known, positions = _Apys(apys), dict[Holding, _Position]()
    decimals = {(leg.holding.chain_id, leg.token): leg.decimals for leg in legs}
    by_day = {date_: list(group) for date_, group in groupby(legs, key=lambda leg: leg.day)}
    today = legs[0].day if legs else day
    while today <= day:
        for _, group in groupby(by_day.get(today, ()), key=lambda leg: (leg.block, leg.tx_hash)):
            _apply(list(group), positions)
        for holding, position in positions.items():
            apy = known.of(holding.pool_id, today)
            position.underlying = {token: accrue(amount, apy) for token, amount in position.underlying.items()}
        today += timedelta(days=1)
    return make_frame(POOL_POSITIONS, _rows(positions, decimals, prices, day))


def _pool_legs(postings: pd.DataFrame, book: AddressBook, day: date) -> list[_PoolLeg]:
    """Legs of pools up to the day in booking order: within a block, transactions that burn shares come last."""
    legs: list[_PoolLeg] = []
    burns: set[str] = set()
    mints: set[str] = set()
    for posted, block, chain_id, tx_hash, wallet, pool_id, account, token, amount, decimals, classification in zip(
        *(postings[name] for name in _COLUMNS), strict=True
    ):
        if posted > day or not isinstance(pool_id, str) or not account.startswith((POOL_PREFIX, YIELD_PREFIX)):
            continue
        holding, is_share = Holding(chain_id, wallet, pool_id), book.pool_of_share(chain_id, token) is not None
        is_move = classification in _MOVES
        legs.append(_PoolLeg(posted, block, holding, tx_hash, token, amount, decimals, is_share, is_move))
        if is_share:
            (burns if amount < 0 else mints).add(tx_hash)
    last = burns - mints
    return sorted(legs, key=lambda leg: (leg.day, leg.block, leg.tx_hash in last, leg.tx_hash))


def _apply(legs: list[_PoolLeg], positions: dict[Holding, _Position]) -> None:
    """One transaction's effect on the positions: moves of shares first, then what was paid in and out."""
    _move([leg for leg in legs if leg.is_move], positions)
    for leg in legs:
        if leg.is_move:
            continue
        position = positions.setdefault(leg.holding, _Position())
        if leg.is_share:
            position.shares += leg.amount
            position.share_token = leg.token
            position.seen_on = leg.day
        else:
            position.underlying[leg.token] = position.underlying.get(leg.token, 0) + leg.amount
    for holding in {leg.holding for leg in legs}:
        position = positions[holding]
        if position.shares <= 0:
            del positions[holding]
        else:
            # A chain that paid out more than we thought was there leaves nothing, not a debt.
            position.underlying = {token: max(amount, 0) for token, amount in position.underlying.items()}


def _move(legs: Iterable[_PoolLeg], positions: dict[Holding, _Position]) -> None:
    """Shares that changed wallet or pool: the givers' part of the underlying, rounded down, goes to the takers."""
    moved: dict[Holding, int] = {}
    tokens: dict[Holding, str] = {}
    for leg in legs:
        if leg.is_share:
            moved[leg.holding] = moved.get(leg.holding, 0) + leg.amount
            tokens[leg.holding] = leg.token
    taken: dict[str, int] = {}
    seen_on: date | None = None
    for holding, amount in moved.items():
        giver = positions.get(holding)
        if amount < 0 and giver is not None:
            for token, held in giver.underlying.items():
                part = held if -amount >= giver.shares else held * -amount // giver.shares
                giver.underlying[token] = held - part
                taken[token] = taken.get(token, 0) + part
            seen_on = giver.seen_on
    total = sum(amount for amount in moved.values() if amount > 0)
    for holding, amount in sorted(moved.items()):
        position = positions.setdefault(holding, _Position())
        position.shares += amount
        position.share_token = tokens[holding]
        position.seen_on = position.seen_on or seen_on
        if amount > 0:
            for token, rest in taken.items():
                part = rest * amount // total
                position.underlying[token] = position.underlying.get(token, 0) + part
                taken[token] = rest - part
            total -= amount


def _rows(
    positions: dict[Holding, _Position], decimals: dict[tuple[int, str], int], prices: Prices, day: date
) -> Iterable[tuple[object, ...]]:
    for holding, position in sorted(positions.items(), key=lambda item: item[0]):
        seen_on = position.seen_on or day
        for token, amount in sorted(position.underlying.items()):
            yield (
                day,
                holding.chain_id,
                holding.wallet,
                holding.pool_id,
                token,
                position.share_token,
                position.shares,
                tidy(RATIO.divide(Decimal(amount), Decimal(position.shares))),
                "mint_ratio" if seen_on == day else "apy_growth",
                (day - seen_on).days,
                amount,
                decimals[holding.chain_id, token],
                prices.close(holding.chain_id, token, day) if amount else None,
                prices.value(holding.chain_id, token, amount, day),
            )
