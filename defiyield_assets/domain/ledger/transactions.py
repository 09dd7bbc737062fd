"""Chain facts as transactions: the rows of `account_transactions` that share a hash, in booking order.

Lives here: grouping, ordering and what moved at all. Not here: what a transaction means (classify.py, booking.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

import pandas as pd

from defiyield_assets.domain.ledger.accounts import AddressBook

GAS_KIND = "gas"
_COLUMNS = (
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
    "date",
    "block_time",
)


@dataclass(frozen=True, slots=True)
class Movement:
    """Base units of one token that really went from one address to another; one row of `account_transactions`."""

    kind: str
    ordinal: int
    token: str
    sender: str
    receiver: str
    value: int
    decimals: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction: what moved (nothing when it failed) and the gas that our wallets paid for it."""

    chain_id: int
    tx_hash: str
    block_number: int
    block_time: datetime
    day: date
    is_failed: bool
    movements: tuple[Movement, ...]
    gas: tuple[Movement, ...]


def _fee(value: int, gas_used: int | None, gas_price_wei: int | None) -> int:
    """gasUsed x gasPrice in wei; the vendor's product where it tells only that."""
    if gas_used is None or gas_price_wei is None or pd.isna(gas_used) or pd.isna(gas_price_wei):
        return int(value)
    return int(gas_used) * int(gas_price_wei)


def _transaction(rows: list[tuple]) -> Transaction:  # type: ignore[type-arg]
    chain_id, block_number, tx_hash, *_ = rows[0]
    day, block_time = rows[0][-2:]
    movements, gas, is_failed = [], [], False
    for _, _, _, kind, ordinal, token, sender, receiver, value, decimals, success, used, price, _, _ in rows:
        if kind == GAS_KIND:
            gas.append(Movement(kind, int(ordinal), token, sender, "", _fee(value, used, price), int(decimals)))
            is_failed |= not success
        elif success and value:
            movements.append(Movement(kind, int(ordinal), token, sender, receiver, int(value), int(decimals)))
    return Transaction(
        int(chain_id), tx_hash, int(block_number), block_time, day, is_failed, tuple(movements), tuple(gas)
    )


def read_transactions(frame: pd.DataFrame, book: AddressBook) -> Iterator[Transaction]:
    """Transactions of an `account_transactions` frame in booking order, whatever the order of its rows.

    Booking order is (chain, block, burns shares, hash): the vendors give no index within a block, and what is not
    there yet cannot be burnt, so transactions that only burn shares come last in their block. Rows that moved nothing
    (failed, or of value 0) and rows that touch none of our wallets yield no movement; gas counts when one of our
    wallets sent the transaction.
    """
    rows = sorted(zip(*(frame[name] for name in _COLUMNS), strict=True), key=lambda row: row[:5])
    for _, block in groupby(rows, key=lambda row: row[:2]):
        transactions = [_transaction(list(group)) for _, group in groupby(block, key=lambda row: row[2])]
        yield from sorted(transactions, key=lambda transaction: _is_burn(transaction, book))


def _is_burn(transaction: Transaction, book: AddressBook) -> bool:
    chain_id = transaction.chain_id
    shares = [move for move in transaction.movements if book.pool_of_share(chain_id, move.token) is not None]
    burns = any(book.owns(chain_id, move.sender) for move in shares)
    return burns and not any(book.owns(chain_id, move.receiver) for move in shares)
