"""Chain facts as transactions: the rows of `account_transactions` that share a hash, in booking order.

Lives here: grouping, ordering and what moved at all. Not here: what a transaction means (classify.py, booking.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pandas as pd

from defiyield_assets.domain.ledger.accounts import AddressBook

GAS_KIND = "gas"
TRANSACTION_COLUMNS = (
    "date",
    "chain_id",
    "block_number",
    "tx_hash",
    "kind",
    "ordinal",
    "token_address",
    "from_address",
    "to_address",
    "value",
    "decimals",
    "is_success",
    "gas_used",
    "gas_price_wei",
    "block_time",
    "is_pending",
)
"""The columns of `account_transactions` that booking needs, in the order that `group_transactions` reads."""
_BLOCK = itemgetter(0, 1, 2)
_HASH = itemgetter(3)
_WITHIN_BLOCK = itemgetter(3, 4, 5)


class Movement(NamedTuple):
    """Base units of one token that really went from one address to another; one row of `account_transactions`."""

    kind: str
    ordinal: int
    token: str
    sender: str
    receiver: str
    value: int
    decimals: int


class Transaction(NamedTuple):
    """One transaction: what moved (nothing when it failed) and the gas that our wallets paid for it.

    `is_pending`: its block was not deep enough when it was read. `gas_used`: units of gas, None when nobody told.
    """

    chain_id: int
    tx_hash: str
    block_number: int
    block_time: datetime
    day: date
    is_failed: bool
    movements: tuple[Movement, ...]
    gas: tuple[Movement, ...]
    is_pending: bool = False
    gas_used: int | None = None


def _fee(value: int, gas_used: int | None, gas_price_wei: int | None) -> int:
    """gasUsed x gasPrice in wei; what the vendor adds it up to where it tells only that or more (fees of a rollup)."""
    if type(gas_used) is int and type(gas_price_wei) is int:
        return max(int(value), gas_used * gas_price_wei)
    if pd.isna(gas_used) or pd.isna(gas_price_wei):
        return int(value)
    return max(int(value), int(gas_used) * int(gas_price_wei))


def _transaction(rows: Sequence[Sequence[Any]]) -> Transaction:
    movements, gas, is_failed, is_pending = [], [], False, False
    gas_used: int | None = None
    for _, _, _, _, kind, ordinal, token, sender, receiver, value, decimals, success, used, price, _, pending in rows:
        if kind == GAS_KIND:
            gas.append(Movement(kind, int(ordinal), token, sender, "", _fee(value, used, price), int(decimals)))
            is_failed |= not success
            gas_used = used if type(used) is int else None if pd.isna(used) else int(used)
        elif success and value:
            movements.append(Movement(kind, int(ordinal), token, sender, receiver, int(value), int(decimals)))
        is_pending |= bool(pending)
    first = rows[0]
    return Transaction(
        int(first[1]),
        first[3],
        int(first[2]),
        first[14],
        first[0],
        is_failed,
        tuple(movements),
        tuple(gas),
        is_pending,
        gas_used,
    )


def read_transactions(frame: pd.DataFrame, book: AddressBook) -> Iterator[Transaction]:
    """Transactions of an `account_transactions` frame in booking order, whatever the order of its rows."""
    rows = sorted(zip(*(frame[name] for name in TRANSACTION_COLUMNS), strict=True), key=_BLOCK)
    return group_transactions(rows, book)


def group_transactions(rows: Iterable[Sequence[Any]], book: AddressBook) -> Iterator[Transaction]:
    """Transactions in booking order from rows of TRANSACTION_COLUMNS that come by day, chain and block.

    Only one block is held at a time. Booking order is (chain, block, burns shares, hash): the vendors give no index
    within a block, and what is not there yet cannot be burnt, so transactions that only burn shares come last in their
    block. Rows that moved nothing (failed, or of value 0) and rows that touch none of our wallets yield no movement;
    gas counts when one of our wallets sent the transaction.
    """
    for _, block in groupby(rows, key=_BLOCK):
        ordered = sorted(block, key=_WITHIN_BLOCK)
        if ordered[0][3] == ordered[-1][3]:
            yield _transaction(ordered)
            continue
        transactions = [_transaction(list(group)) for _, group in groupby(ordered, key=_HASH)]
        yield from sorted(transactions, key=lambda transaction: _is_burn(transaction, book))


def _is_burn(transaction: Transaction, book: AddressBook) -> bool:
    chain_id = transaction.chain_id
    shares = [move for move in transaction.movements if book.pool_of_share(chain_id, move.token) is not None]
    burns = any(book.owns(chain_id, move.sender) for move in shares)
    return burns and not any(book.owns(chain_id, move.receiver) for move in shares)
