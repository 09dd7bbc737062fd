"""`ledger_postings`: the double-entry book of all chain transfers, a pure function of chain facts.

Lives here: building the frame of postings with its values. Not here: the legs (booking.py), the growth of positions
between transactions (positions.py) or balances (balances.py).
"""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.booking import Bookkeeper, Leg
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.transactions import Transaction, read_transactions
from defiyield_assets.domain.ledger.valuation import ZERO, Prices
from defiyield_assets.domain.policy import Policy

_KEY = ["chain_id", "tx_hash", "kind", "ordinal", "leg"]


def build_postings(
    transactions: pd.DataFrame,
    *,
    policy: Policy,
    contracts: pd.DataFrame,
    prices: Prices,
    days: DayRange | None = None,
    confirmed_blocks: Mapping[int, int] | None = None,
    valued: DayRange | None = None,
) -> pd.DataFrame:
    """Postings of the days (None: all) from the complete history of `account_transactions`, in key order.

    `transactions` must reach back to the first transaction of every wallet, in any row order: the basis of a withdrawal
    and the meaning of a receipt depend on what was before. Only postings of `days` are valued, so a day's slice costs
    one pass over the history and needs prices of its own days only. `contracts` is `pool_contracts`;
    `confirmed_blocks` maps a chain id to its highest block that is deep enough, postings above it are pending (None or
    a chain that is not named: all are final). `valued`: days whose postings get a value (None: all of `days`); the
    others
    have `valued_usd` null, so that history before the first known close can be booked. `valued_usd` is exact;
    untrusted tokens and shares are worth 0 here.
    A trusted token without a close: SuspiciousDataError with token and day.
    """
    book = AddressBook.of(policy, contracts)
    keeper = Bookkeeper(book, prices.is_trusted)
    final = dict(confirmed_blocks or {})
    rows = []
    for transaction in read_transactions(transactions, book):
        legs = keeper.book(transaction)
        if days is None or transaction.day in days:
            is_valued = valued is None or transaction.day in valued
            is_pending = transaction.block_number > final.get(transaction.chain_id, transaction.block_number)
            rows.extend(_posting_rows(transaction, legs, book, prices, is_pending=is_pending, is_valued=is_valued))
    return make_frame(LEDGER_POSTINGS, rows).sort_values(_KEY, kind="stable", ignore_index=True)


def _posting_rows(
    transaction: Transaction,
    legs: list[Leg],
    book: AddressBook,
    prices: Prices,
    *,
    is_pending: bool,
    is_valued: bool,
) -> list[tuple[object, ...]]:
    chain_id, day = transaction.chain_id, transaction.day
    numbers: Counter[tuple[str, int]] = Counter()
    rows: list[tuple[object, ...]] = []
    for leg in legs:
        number = numbers[leg.kind, leg.ordinal]
        numbers[leg.kind, leg.ordinal] += 1
        rows.append(
            (
                chain_id,
                transaction.tx_hash,
                leg.kind,
                leg.ordinal,
                number,
                day,
                transaction.block_number,
                transaction.block_time,
                leg.account,
                leg.wallet,
                leg.token,
                leg.amount,
                prices.decimals(chain_id, leg.token, leg.decimals),
                _leg_value(transaction, leg, book, prices) if is_valued else None,
                leg.classification,
                leg.pool_id,
                is_pending,
                None,
            )
        )
    return rows


def _leg_value(transaction: Transaction, leg: Leg, book: AddressBook, prices: Prices) -> Decimal:
    """Dollars of a leg at the day's close. Shares are never valued beside their underlying, even when approved."""
    if book.pool_of_share(transaction.chain_id, leg.token) is not None:
        return ZERO
    return prices.value(transaction.chain_id, leg.token, leg.amount, transaction.day)
