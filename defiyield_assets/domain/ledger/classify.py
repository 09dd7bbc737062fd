"""What a transaction was, told from addresses and from its shape, never from symbols or function names.

Lives here: the shape of a transaction (what went out, came in, was minted and burnt) and plain classifications. Not
here: the legs that follow from it (booking.py).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from defiyield_assets.domain.ledger.accounts import (
    APPROVE,
    BORROW,
    CALL,
    CLASSIFICATIONS,
    FAILED,
    NATIVE,
    NATIVE_DECIMALS,
    REPAY,
    SWAP,
    UNEXPLAINED,
    UNLISTED_DEPOSIT,
    UNLISTED_WITHDRAWAL,
    UNTRUSTED_SWAP,
    UNTRUSTED_TOKEN,
    UNWRAP,
    WALLET_TRANSFER,
    WRAP,
    ZERO_ADDRESS,
    AddressBook,
)
from defiyield_assets.domain.ledger.transactions import Movement, Transaction
from defiyield_assets.domain.ledger.wrapping import WRAPPED

PLAIN_GAS = 80_000
"""More gas than the transfer or the approval of any ordinary token uses: a transaction above it did something else."""
LARGEST_FEE_WEI = 10**17
"""ETH beside tokens is the fee of a route or a keeper up to a tenth of a coin; more than that was not a fee."""
FAIR = Fraction(1, 2)
"""Of two sides of an exchange of dollar tokens the smaller is at least this part of the larger, or it was none: also a
token that lost its peg is sold for more."""
WRAPPINGS = frozenset({WRAP, UNWRAP})
LEAST_COIN, MOST_COIN = 50, 100_000
"""Between these many dollars a coin of ETH is sold or bought; beyond them what came was change, not the other side."""
EXCHANGES = WRAPPINGS | {SWAP, UNTRUSTED_SWAP, UNLISTED_DEPOSIT, UNLISTED_WITHDRAWAL}
"""Kinds of transactions in which one thing was given for another."""
_DEBT = 2
"""Debt tokens are minted for the loan and for interest due: at most this many times the loan."""

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
    gas_used: int | None = None

    @property
    def is_migration(self) -> bool:
        """Shares of one pool became shares of another without the underlying passing through a wallet."""
        return len(self.minted) == 1 and len(self.burnt) == 1 and not (self.ins and self.outs)

    @property
    def is_heavy(self) -> bool:
        """We sent it, and it used more gas than a transfer or an approval can."""
        return self.is_sent and self.gas_used is not None and self.gas_used > PLAIN_GAS

    def net(self) -> dict[str, int]:
        """What our wallets together gained (+) or gave (-) of each token that is no share token."""
        totals: dict[str, int] = {}
        for move in self.ins:
            totals[move.token] = totals.get(move.token, 0) + move.value
        for move in self.outs:
            totals[move.token] = totals.get(move.token, 0) - move.value
        return totals

    def is_native_fee(self) -> bool:
        """A little ETH that left beside tokens or shares pays the route (bridges, keepers): ETH is never invested."""
        is_beside = bool(self.burnt) or any(move.token != NATIVE for move in self.outs)
        return is_beside and -LARGEST_FEE_WEI <= self.net().get(NATIVE, 0) < 0

    def created(self) -> set[str]:
        """Tokens that were minted for us, or handed out by their own contract."""
        return {move.token for move in self.ins if move.sender in (ZERO_ADDRESS, move.token)}

    def destroyed(self) -> set[str]:
        """Tokens of ours that were burnt, or given back to their own contract."""
        return {move.token for move in self.outs if move.receiver in (ZERO_ADDRESS, move.token)}


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
        gas_used=transaction.gas_used,
    )


def attribute(address: str, candidates: Iterable[Holding], book: AddressBook) -> Holding | None:
    """Which of the holdings a transfer from or to this address belongs to; None when it cannot be told.

    One candidate takes everything, whatever router stood between; several are told apart by contract and share token.
    """
    holdings = list(candidates)
    if len(holdings) == 1:
        return holdings[0]
    named = [holding for holding in holdings if book.is_of_pool(holding.chain_id, address, holding.pool_id)]
    return named[0] if len(named) == 1 else None


def classify_plain(
    shape: Shape, chain_id: int, book: AddressBook, is_trusted: Callable[[int, str], bool]
) -> str | None:
    """What a transaction without shares was as a whole; None when each of its movements is to be told on its own.

    Only SWAP moves dollars without a question: trusted tokens on both sides, of one order where both are dollars.
    Whatever else money was exchanged for (a share nobody listed, a token nobody trusts, a debt) is named here, and
    booking.py leaves the money itself unexplained, so that it is neither absorbed as a cost nor counted as a gain.
    """
    net = shape.net()
    given = {token: -value for token, value in net.items() if value < 0}
    gained = {token: value for token, value in net.items() if value > 0}
    if given and gained:
        trusted = {token for token in (*given, *gained) if is_trusted(chain_id, token)}
        is_fair = _is_fair(shape, chain_id, given, gained, book)
        return _classify_exchange(shape, chain_id, given, gained, trusted, is_fair=is_fair)
    if gained:
        return _classify_receipt(shape, gained) if shape.is_sent else None
    if not given:
        return None
    if _is_repayment(shape, given):
        return REPAY
    is_pulled = not shape.is_sent and any(is_trusted(chain_id, token) for token in given)
    is_burnt = any(move.receiver == ZERO_ADDRESS for move in shape.outs)
    return UNEXPLAINED if is_pulled or is_burnt or shape.is_heavy else None


def _classify_exchange(
    shape: Shape, chain_id: int, given: dict[str, int], gained: dict[str, int], trusted: set[str], *, is_fair: bool
) -> str:
    """Trusted for trusted is a swap when it is fair, worthless for worthless costs nothing, the rest is named."""
    wrapped = WRAPPED.get(chain_id, "")
    if {*given, *gained} == {NATIVE, wrapped} and wrapped in shape.created() | shape.destroyed():
        return WRAP if NATIVE in given else UNWRAP
    if trusted == {*given, *gained}:
        return SWAP if is_fair else UNEXPLAINED
    if trusted and not shape.is_sent:
        return UNEXPLAINED
    if (shape.created() & gained.keys()) - trusted:
        return UNLISTED_DEPOSIT
    if (shape.destroyed() & given.keys()) - trusted:
        return UNLISTED_WITHDRAWAL
    return UNEXPLAINED if trusted & given.keys() and trusted & gained.keys() else UNTRUSTED_SWAP


def _is_fair(
    shape: Shape, chain_id: int, given: Mapping[str, int], gained: Mapping[str, int], book: AddressBook
) -> bool:
    """Whether both sides were of one order of worth; where that cannot be told, whether it was at least our own doing.

    A position that comes as an NFT, or an allowance that somebody drained for a speck of change, looks like a swap.
    """
    is_fee = shape.is_native_fee() and len(given) > 1
    given = {token: value for token, value in given.items() if not (is_fee and token == NATIVE)}
    unknown = {token for token in (*given, *gained) if (chain_id, token) not in book.pegged}
    paid, got = (
        sum(
            (Fraction(side[token], 10 ** book.pegged[chain_id, token]) for token in side if token not in unknown),
            Fraction(0),
        )
        for side in (given, gained)
    )
    is_even = min(paid, got) >= FAIR * max(paid, got) > 0
    if not unknown:
        return is_even
    if not shape.is_sent or (NATIVE in given and len(given) > 1):
        return False
    if unknown != {NATIVE} or (is_even and NATIVE in gained):
        return True
    coin = Fraction(given.get(NATIVE, 0) + gained.get(NATIVE, 0), 10**NATIVE_DECIMALS)
    return LEAST_COIN * coin <= abs(paid - got) <= MOST_COIN * coin


def _classify_receipt(shape: Shape, gained: Mapping[str, int]) -> str | None:
    """A loan, or a withdrawal whose interest outgrew it: another token came beside one that was minted for us."""
    for debt in sorted(shape.created() & gained.keys()):
        others = [move for move in shape.ins if move.token != debt and move.token in gained]
        if others and all(move.sender == debt for move in others):
            return UNLISTED_WITHDRAWAL
        if any(gained[move.token] <= gained[debt] <= _DEBT * gained[move.token] for move in others):
            return BORROW
    return None


def _is_repayment(shape: Shape, given: Mapping[str, int]) -> bool:
    """Whether a debt token was burnt for about as much of another token, and nothing came."""
    return any(
        given[debt] <= given[token] <= _DEBT * given[debt]
        for debt in shape.destroyed() & given.keys()
        for token in given
        if token != debt
    )


def classify_gas(transaction: Transaction, booked: Iterable[str]) -> str:
    """Classification of the gas legs: what the transaction was as a whole.

    When nothing moved it failed, was an approval, or used more gas than one needs: a call for somebody else's sake.
    """
    if transaction.is_failed:
        return FAILED
    present = set(booked)
    idle = CALL if (transaction.gas_used or 0) > PLAIN_GAS else APPROVE
    return next((name for name in _GAS_PRIORITY if name in present), idle)
