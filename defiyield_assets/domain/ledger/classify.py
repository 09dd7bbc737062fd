"""What a transaction was, told from addresses and from its shape, never from symbols or function names.

Lives here: the shape of a transaction (what went out, came in, was minted and burnt) and plain classifications. Not
here: the legs that follow from it (booking.py).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from defiyield_assets.domain.ledger.accounts import (
    APPROVE,
    CLASSIFICATIONS,
    FAILED,
    NATIVE,
    SWAP,
    UNEXPLAINED,
    UNTRUSTED_TOKEN,
    WALLET_TRANSFER,
    AddressBook,
)
from defiyield_assets.domain.ledger.transactions import Movement, Transaction

_GAS_PRIORITY = [*(name for name in CLASSIFICATIONS if name not in {UNTRUSTED_TOKEN, WALLET_TRANSFER}), WALLET_TRANSFER]


class Holding(NamedTuple):
    """Shares of one pool in one wallet."""

    chain_id: int
    wallet: str
    pool_id: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A transaction seen from our wallets. `minted` and `burnt` are net shares by holding, both positive."""

    is_sent: bool
    own: tuple[Movement, ...]
    outs: tuple[Movement, ...]
    ins: tuple[Movement, ...]
    shares: tuple[Movement, ...]
    minted: dict[Holding, int]
    burnt: dict[Holding, int]

    @property
    def is_migration(self) -> bool:
        """Shares of one pool became shares of another without the underlying passing through a wallet."""
        return len(self.minted) == 1 and len(self.burnt) == 1 and not (self.ins and self.outs)

    def net(self) -> dict[str, int]:
        """What our wallets together gained (+) or gave (-) of each token that is no share token."""
        totals: dict[str, int] = {}
        for move in self.ins:
            totals[move.token] = totals.get(move.token, 0) + move.value
        for move in self.outs:
            totals[move.token] = totals.get(move.token, 0) - move.value
        return totals

    def is_native_fee(self) -> bool:
        """ETH that left beside tokens pays the route (bridges, keepers): ETH is never invested."""
        return self.net().get(NATIVE, 0) < 0 and any(move.token != NATIVE for move in self.outs)


def read_shape(transaction: Transaction, movements: Iterable[Movement], book: AddressBook) -> Shape:
    """Shape of a transaction; movements that touch none of our wallets do not appear in it."""
    chain_id = transaction.chain_id
    own: list[Movement] = []
    outs: list[Movement] = []
    ins: list[Movement] = []
    shares: list[Movement] = []
    net: dict[Holding, int] = {}
    for move in movements:
        from_us, to_us = book.owns(chain_id, move.sender), book.owns(chain_id, move.receiver)
        if from_us and to_us:
            own.append(move)
            continue
        if not (from_us or to_us):
            continue
        pool_id = book.pool_of_share(chain_id, move.token)
        if pool_id is None:
            (outs if from_us else ins).append(move)
            continue
        shares.append(move)
        holding = Holding(chain_id, move.sender if from_us else move.receiver, pool_id)
        net[holding] = net.get(holding, 0) + (-move.value if from_us else move.value)
    return Shape(
        is_sent=any(book.owns(chain_id, gas.sender) for gas in transaction.gas),
        own=tuple(own),
        outs=tuple(outs),
        ins=tuple(ins),
        shares=tuple(shares),
        minted={holding: value for holding, value in net.items() if value > 0},
        burnt={holding: -value for holding, value in net.items() if value < 0},
    )


def attribute(address: str, candidates: Iterable[Holding], book: AddressBook) -> Holding | None:
    """Which of the holdings a transfer from or to this address belongs to; None when it cannot be told.

    One candidate takes everything, whatever router stood between; several are told apart by the pool's contract.
    """
    holdings = list(candidates)
    if len(holdings) == 1:
        return holdings[0]
    named = [holding for holding in holdings if holding.pool_id in book.pools_at(holding.chain_id, address)]
    return named[0] if len(named) == 1 else None


def classify_exchange(shape: Shape, chain_id: int, is_trusted: Callable[[int, str], bool]) -> str | None:
    """SWAP or UNEXPLAINED for a transaction without shares that gave one token and gained another, else None.

    Trusted tokens for only untrusted ones (or back) is no swap that we can value: it may be a deposit into a pool that
    we do not know. It stays unexplained, so that its value is not absorbed as a cost or a gain.
    """
    net = shape.net()
    given = [token for token, value in net.items() if value < 0]
    gained = [token for token, value in net.items() if value > 0]
    if not (given and gained):
        return None
    valued = [any(is_trusted(chain_id, token) for token in side) for side in (given, gained)]
    return SWAP if valued[0] == valued[1] else UNEXPLAINED


def classify_gas(transaction: Transaction, booked: Iterable[str]) -> str:
    """Classification of the gas legs: what the transaction was as a whole, failed or an approval when nothing moved."""
    if transaction.is_failed:
        return FAILED
    present = set(booked)
    return next((name for name in _GAS_PRIORITY if name in present), APPROVE)
