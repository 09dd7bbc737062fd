"""What shares are worth that came or went without an explanation: no income of the pool, but unexplained.

Lives here: their dollars on the day on which their worth becomes known. Not here: the postings (booking.py, where a
share is worth 0), what a position is worth with them (replay.py, positions.py), the sums they are part of (nav.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pandas as pd

from defiyield_assets.domain.ledger.accounts import POOL_PREFIX, UNEXPLAINED, UNEXPLAINED_ACCOUNT, AddressBook
from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.valuation import Prices, exact_sum


@dataclass
class _Moved:
    """What a transaction moved of a pool: shares that nobody explains, their cost, and the wallets whose shares moved.

    `countered` is what of the shares went to equity:unexplained, the other way round: a correction may move only that,
    when shares are explained later, or only the shares, when their pool is listed later. `booked`: dollars that stand
    on equity:unexplained for these shares already, because their cost went there.
    """

    legs: int = 0
    countered: int = 0
    booked: list[Decimal] = field(default_factory=list)
    wallets: set[str] = field(default_factory=set)

    @property
    def shares(self) -> int:
        """Unexplained shares that came (+) or went (-)."""
        return self.legs or self.countered


def worth_of_unexplained_shares(
    postings: pd.DataFrame,
    *,
    positions: pd.DataFrame,
    previous_positions: pd.DataFrame,
    book: AddressBook,
    prices: Prices,
    day: date,
) -> dict[str, Decimal]:
    """Dollars by pool that unexplained shares brought (+) or took (-) beyond what the day's postings say of them.

    `postings` are the day's, `positions` its `pool_positions`, `previous_positions` yesterday's. Shares that came are
    worth the day's rate, those that went yesterday's, both at the day's close. Shares that were held without a row,
    because nobody knew what they stand for, count on the first day with one; of a pool with several tokens they do not,
    because no payment tells their worth.
    """
    now, before = _rates(positions), _rates(previous_positions)
    (came, went), found = _turnover(postings, book), dict[str, list[Decimal]]()
    unexplained, booked = dict[Holding, int](), dict[Holding, list[Decimal]]()
    for (chain_id, pool_id), moved in _moved(postings, book):
        held = [at for at in (*now, *before) if (at.chain_id, at.pool_id) == (chain_id, pool_id)]
        holding = next(iter([Holding(chain_id, wallet, pool_id) for wallet in sorted(moved.wallets)] or held), None)
        if moved.shares and holding is not None:
            unexplained[holding] = unexplained.get(holding, 0) + moved.shares
            booked.setdefault(holding, []).extend(moved.booked)
    for holding in sorted({*unexplained, *now} - {at for at in before if at not in unexplained}):
        shares, is_new, out = unexplained.get(holding, 0), holding not in before, went.get(holding, 0)
        left = came.get(holding, 0) - out + (0 if is_new else before[holding][0])
        if shares > 0 and holding not in now and left > 0:
            continue  # they came when the others had gone: nobody knows yet what they are worth
        rate = (now.get(holding) or before.get(holding)) if shares > 0 else (before.get(holding) or now.get(holding))
        if rate is None:
            continue
        if is_new:
            older = rate[0] - left
            if older > 0:  # what went today went of the older ones, and is not counted again
                shares = (max(shares, 0) if out else shares) + max(0, older - out)
        if shares and not (is_new and shares > 0 and len(rate[1]) > 1):
            worth = _worth(holding, rate, shares, prices, day)
            found.setdefault(holding.pool_id, []).extend([worth, *booked.get(holding, ())])
    return {pool_id: exact_sum(values) for pool_id, values in found.items()}


_Rate = tuple[int, dict[str, int]]
"""Shares, and the underlying that they stand for by token."""


def _rates(positions: pd.DataFrame) -> dict[Holding, _Rate]:
    names = ("chain_id", "wallet", "pool_id", "token_address", "shares", "underlying_amount")
    found: dict[Holding, _Rate] = {}
    for chain_id, wallet, pool_id, token, shares, amount in zip(*(positions[name] for name in names), strict=True):
        found.setdefault(Holding(chain_id, wallet, pool_id), (shares, {}))[1][token] = amount
    return found


def _worth(holding: Holding, rate: _Rate, shares: int, prices: Prices, day: date) -> Decimal:
    """Dollars of so many shares (negative: that went) at the day's close."""
    held, underlying = rate
    return exact_sum(
        prices.value(holding.chain_id, token, (amount * abs(shares) // held) * (1 if shares > 0 else -1), day)
        for token, amount in underlying.items()
    )


def _moved(postings: pd.DataFrame, book: AddressBook) -> Iterable[tuple[tuple[int, str], _Moved]]:
    """What each transaction moved of a pool's shares against equity:unexplained, with the chain and pool."""
    found: dict[tuple[str, int, str], _Moved] = {}
    names = ("tx_hash", "chain_id", "pool_id", "account", "wallet", "token_address", "amount", "valued_usd")
    rows = zip(*(postings[name] for name in (*names, "classification")), strict=True)
    for tx_hash, chain_id, pool_id, account, wallet, token, amount, value, what in rows:
        if not isinstance(pool_id, str):
            continue
        moved = found.setdefault((tx_hash, chain_id, pool_id), _Moved())
        is_share = book.pool_of_share(chain_id, token) is not None
        if account == UNEXPLAINED_ACCOUNT and is_share:
            moved.countered -= amount
        elif account == UNEXPLAINED_ACCOUNT:
            moved.booked.append(value)
        elif is_share and account.startswith(POOL_PREFIX) and isinstance(wallet, str):
            moved.wallets.add(wallet)
            moved.legs += amount if what == UNEXPLAINED else 0
    return (((chain_id, pool_id), moved) for (_, chain_id, pool_id), moved in found.items())


def _turnover(postings: pd.DataFrame, book: AddressBook) -> tuple[dict[Holding, int], dict[Holding, int]]:
    """Shares that the day's postings brought to each holding, and those that they took, whatever for."""
    came, went = dict[Holding, int](), dict[Holding, int]()
    names = ("chain_id", "wallet", "pool_id", "account", "token_address", "amount")
    for chain_id, wallet, pool_id, account, token, amount in zip(*(postings[name] for name in names), strict=True):
        if account.startswith(POOL_PREFIX) and isinstance(wallet, str) and book.pool_of_share(chain_id, token):
            at, side = Holding(chain_id, wallet, pool_id), came if amount > 0 else went
            side[at] = side.get(at, 0) + abs(amount)
    return came, went
