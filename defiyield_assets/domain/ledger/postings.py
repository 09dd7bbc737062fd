"""`ledger_postings`: the double-entry book of all chain transfers, a pure function of chain facts.

Lives here: legs as rows with their values, day after day in chunks. Not here: the legs (booking.py), what differs from
what was booked before (corrections.py), growth of positions between transactions (positions.py).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.booking import Bookkeeper, Leg
from defiyield_assets.domain.ledger.opening import join_openings, read_openings
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.transactions import Transaction, read_transactions
from defiyield_assets.domain.ledger.trial_balance import TrialBalance, account_of, adopt, sorted_rows
from defiyield_assets.domain.ledger.valuation import ZERO, Prices
from defiyield_assets.domain.policy import Policy
from defiyield_assets.errors import SuspiciousDataError

POSTING_KEY = ["chain_id", "tx_hash", "kind", "ordinal", "leg"]
CHUNK_ROWS = 50_000
"""Postings that are handed over at once: a history of any length takes the memory of so many."""
PostingRow = tuple[Any, ...]
"""One row of `ledger_postings`, LEDGER_POSTINGS."""

Kept = Mapping[tuple[int, str], Sequence[PostingRow]]
"""Stored postings by (chain_id, transaction), those that correct it included."""


class Chunk(NamedTuple):
    """Rows of `ledger_postings` and of `trial_balance` that belong together."""

    postings: pd.DataFrame
    trial_balance: pd.DataFrame


class PostingWriter:
    """Legs as rows of `ledger_postings`: numbered, with our decimals, and with a value on days that have one."""

    def __init__(self, book: AddressBook, prices: Prices, valued: DayRange | None = None) -> None:
        self._book = book
        self._prices = prices
        self._valued = valued
        self._decimals: dict[tuple[int, str, int], int] = {}

    def rows(self, transaction: Transaction, legs: Iterable[Leg]) -> Iterator[PostingRow]:
        """Rows of a transaction's legs, booked under the day of its block. Legs of one movement are numbered from 0."""
        chain_id, day = transaction.chain_id, transaction.day
        is_valued = self._valued is None or day in self._valued
        numbers: dict[tuple[str, int], int] = {}
        for leg in legs:
            number = numbers.get((leg.kind, leg.ordinal), 0)
            numbers[leg.kind, leg.ordinal] = number + 1
            yield (
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
                leg.counterparty,
                leg.token,
                leg.amount,
                self.decimals(chain_id, leg.token, leg.decimals),
                self.value(chain_id, leg.token, leg.amount, day) if is_valued else None,
                leg.classification,
                leg.pool_id,
                transaction.is_pending,
                None,
            )

    def decimals(self, chain_id: int, token: str, claimed: int) -> int:
        """Decimals as our list says, as claimed for tokens that are not on it."""
        known = self._decimals.get((chain_id, token, claimed))
        if known is None:
            known = self._decimals[chain_id, token, claimed] = self._prices.decimals(chain_id, token, claimed)
        return known

    def end_day(self, written: TrialBalance, day: date) -> Iterator[tuple[Any, ...]]:
        """Rows of `trial_balance` of the accounts that moved on the day, with our decimals."""
        for *key, moved_on, amount, was_debited, claimed, pool_id in written.end_day(day):
            yield (*key, moved_on, amount, was_debited, self.decimals(key[0], key[4], claimed), pool_id)

    def value(self, chain_id: int, token: str, amount: int, day: date) -> Decimal | None:
        """Dollars at the day's close, None where it is not known: units are booked whether they have a price or not.

        Shares are never valued beside their underlying, even when approved.
        """
        if self._book.pool_of_share(chain_id, token) is not None:
            return ZERO
        return self._prices.known_value(chain_id, token, amount, day)


def build_postings(
    transactions: pd.DataFrame,
    *,
    policy: Policy,
    contracts: pd.DataFrame,
    prices: Prices,
    days: DayRange | None = None,
    valued: DayRange | None = None,
) -> pd.DataFrame:
    """Postings of the days (None: all) from scratch: from the complete history of `account_transactions`, in key order.

    `transactions` must reach back to the first transaction of every wallet, in any row order: the basis of a withdrawal
    and the meaning of a receipt depend on what was before. `contracts` is `pool_contracts`. `valued`: days whose
    postings get a value (None: all of `days`); the others have `valued_usd` null, so that history before the first
    known close can be booked. `valued_usd` is exact; untrusted tokens and shares are worth 0 here, and a trusted token
    without a close has null.
    """
    book = AddressBook.of(policy, contracts)
    keeper, writer = Bookkeeper(book, prices.is_trusted), PostingWriter(book, prices, valued)
    rows: list[PostingRow] = []
    openings = read_openings(policy, contracts)
    for transaction in join_openings(read_transactions(transactions, book), openings):
        legs = keeper.book(transaction)
        if days is None or transaction.day in days:
            rows.extend(writer.rows(transaction, legs))
    return _in_key_order(rows)


def book_days(
    transactions: Iterable[Transaction],
    *,
    keeper: Bookkeeper,
    writer: PostingWriter,
    written: TrialBalance,
    last: date,
    kept: Kept | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[Chunk]:
    """Postings and trial balance of day after day, in chunks of whole transactions.

    `transactions` come in booking order, day by day; `keeper` knows what was before them. What becomes a posting is
    posted into `written`, which may be the keeper's own trial balance, as it is when nothing is to be corrected. The
    rows of the trial balance of the `last` day are not given: more is booked on it (`close_day`). Transactions in
    `kept` stay as they were booked: a later day has corrected them.
    """
    rows: list[PostingRow] = []
    moved: list[tuple[Any, ...]] = []
    today: date | None = None
    for transaction in transactions:
        if today is not None and transaction.day != today:
            moved += writer.end_day(written, today)
        today = transaction.day
        own = kept.get((transaction.chain_id, transaction.tx_hash)) if kept else None
        if own is None:
            own = list(writer.rows(transaction, keeper.book(transaction)))
        else:
            own = [row for row in own if row[18] is None]
            post(keeper.balances, own)
        if written is not keeper.balances:
            post(written, own)
        rows += own
        if len(rows) >= chunk_rows:
            yield Chunk(_in_key_order(rows), sorted_rows(moved))
            rows, moved = [], []
    if today is not None and today != last:
        moved += writer.end_day(written, today)
    if rows or moved:
        yield Chunk(_in_key_order(rows), sorted_rows(moved))


def close_day(
    day: date,
    rows: Iterable[PostingRow],
    *,
    writer: PostingWriter,
    written: TrialBalance,
    right: TrialBalance | None = None,
) -> Chunk:
    """What else is booked on the day after its transactions, and the trial balance of the day.

    `right`: what a pass over the whole history came to, where there was one; SuspiciousDataError when the books, with
    their corrections, come to anything else.
    """
    listed = list(rows)
    post(written, listed)
    if right is not None:
        broken = adopt(written, right)
        if broken:
            (chain_id, account, _, _, token), held, known = broken[0]
            raise SuspiciousDataError(
                f"{len(broken)} accounts cannot be corrected on {day}: {account} on chain {chain_id} holds {held} of "
                f"{token} by its postings and corrections, but {known} by the whole history"
            )
    return Chunk(_in_key_order(listed), sorted_rows(writer.end_day(written, day)))


def post(written: TrialBalance, rows: Iterable[PostingRow]) -> None:
    """Post rows of `ledger_postings` into a trial balance; those of one transaction come together."""
    last = None
    for row in rows:
        root = row[18] or row[1]
        if root != last:
            written.end_transaction()
            last = root
        written.post(account_of(row[0], row[8], row[9], row[10], row[11]), row[12], row[13], row[16])
    written.end_transaction()


def _in_key_order(rows: Iterable[PostingRow]) -> pd.DataFrame:
    return make_frame(LEDGER_POSTINGS, sorted(rows, key=lambda row: row[:5]))
