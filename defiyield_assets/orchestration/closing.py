"""Which days of the books are open when a day is booked, and whether what is booked before them still stands.

Lives here: reading what booking goes on from. Not here: booking (domain/ledger/postings.py), what differs from what was
booked before (domain/ledger/corrections.py), the asset (assets/ledger.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import CORRECTION, AddressBook
from defiyield_assets.domain.ledger.corrections import changed_addresses, facts_of, fingerprint, has_other_wallets
from defiyield_assets.domain.ledger.opening import join_openings, read_openings
from defiyield_assets.domain.ledger.postings import Kept, PostingRow
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, TRIAL_BALANCE, make_frame
from defiyield_assets.domain.ledger.transactions import TRANSACTION_COLUMNS, Transaction, group_transactions
from defiyield_assets.domain.ledger.trial_balance import Balance, TrialBalance, account_of, advance, sorted_rows
from defiyield_assets.domain.policy import Policy
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import Readable

BEGINNING = date(2015, 7, 30)
"""Ethereum's first day: nothing is older."""
END = date(9998, 12, 31)
_BOOKING_ORDER = ("date", "chain_id", "block_number")
_ASKED_AT_ONCE = 300
"""Transactions that one query looks for."""


@dataclass(frozen=True)
class Basis:
    """What the postings of a day go on from.

    `open`: the days that are booked under their own date, of which the day is the last. `closed`: those before, None on
    the first day ever. `doubt`: why closed days have to be gone through again, None when they stand as they are.
    """

    open: DayRange
    closed: DayRange | None
    doubt: str | None


def facts_on(warehouse: WarehouseResource, day: date) -> frozenset[str]:
    """By what the transactions of a day are booked, besides the chain."""
    policy = warehouse.policy(day)
    return facts_of(AddressBook.of(policy, warehouse.contracts(day)), policy.token_by_address())


def basis_of(warehouse: WarehouseResource, day: date) -> Basis:
    """The open days that end with `day`, and whether the closed ones before them stand."""
    closed = reads.newest_day(warehouse.engine, schema.ledger_closings, day - timedelta(days=1))
    if closed is None:
        return Basis(DayRange(BEGINNING, day), None, None)
    open_days = DayRange(closed + timedelta(days=1), day)
    return Basis(open_days, DayRange(BEGINNING, closed), _doubt(warehouse, closed, day))


def booked_with(engine: Readable, day: date) -> DayRange:
    """The days whose postings were written with those of the day: it, and those before it that were never booked."""
    closed = reads.newest_day(engine, schema.ledger_closings, day - timedelta(days=1))
    return DayRange(BEGINNING if closed is None else closed + timedelta(days=1), day)


def _doubt(warehouse: WarehouseResource, closed: date, day: date) -> str | None:
    engine = warehouse.engine
    closing = reads.read_days(engine, schema.ledger_closings, DayRange.of(closed)).iloc[0]
    told = reads.count_through(engine, schema.account_transactions, closed)
    if closing["is_overtaken"]:
        return f"a day before {closed} was booked otherwise since"
    if told != closing["transactions"]:
        return f"the chain told {told} rows up to {closed}, {closing['transactions']} when that day was booked"
    open_days = DayRange(closed + timedelta(days=1), day)
    if not reads.read_days(engine, schema.ledger_postings, open_days, {"kind": CORRECTION}, ["tx_hash"]).empty:
        # What they rest on may not show any more: a closed day that ran again was closed with what is known today.
        return f"{open_days.end} has corrected days up to {closed} before"
    try:
        then = facts_on(warehouse, closed)
    except SuspiciousDataError:
        return f"the policy of {closed} is not known any more"
    now = facts_on(warehouse, day)
    if fingerprint(then) != closing["address_book"] or has_other_wallets(then, now):
        return f"other wallets, pools or approved tokens than when {closed} was booked"
    changed = changed_addresses(then, now)
    if changed and reads.moved_with(engine, closed, changed):
        return f"{len(changed)} addresses mean something else than on {closed}, and some of them occur before"
    return None


# --- reading -------------------------------------------------------------------------------------------------------
def transactions_of(
    engine: Engine, book: AddressBook, days: DayRange, policy: Policy, contracts: pd.DataFrame
) -> Iterator[Transaction]:
    """Transactions of the days in booking order, openings included; one block is held at a time."""
    rows = reads.stream_days(
        engine, schema.account_transactions, days, columns=TRANSACTION_COLUMNS, order=_BOOKING_ORDER
    )
    return join_openings(group_transactions(rows, book), read_openings(policy, contracts, days))


def postings_of(engine: Engine, days: DayRange, where: Mapping[str, Any] | None = None) -> Iterator[PostingRow]:
    """Stored postings of the days by day, chain and block; those that match `where`, or all."""
    return reads.stream_days(
        engine, schema.ledger_postings, days, columns=LEDGER_POSTINGS, order=_BOOKING_ORDER, where=where
    )


def corrections_of(engine: Engine, days: DayRange) -> Iterator[PostingRow]:
    """The corrections that were booked on the days."""
    return postings_of(engine, days, {"kind": CORRECTION})


def corrected_later(engine: Engine, day: date) -> Kept:
    """Postings up to the day of every transaction that a later day corrects: they stay, also when the day runs again.

    With none up to the day where it was told too late altogether.
    """
    later = corrections_of(engine, DayRange(day + timedelta(days=1), END))
    kept: dict[tuple[int, str], list[PostingRow]] = {(row[0], row[18]): [] for row in later}
    hashes = sorted({tx_hash for _, tx_hash in kept})
    through = DayRange(BEGINNING, day)
    for first in range(0, len(hashes), _ASKED_AT_ONCE):
        some = hashes[first : first + _ASKED_AT_ONCE]
        for column in ("tx_hash", "corrects"):
            for row in postings_of(engine, through, {column: some}):
                kept.setdefault((row[0], row[18] or row[1]), []).append(row)
    return kept


def balances_before_a_rerun(engine: Engine, day: date) -> pd.DataFrame | None:
    """The newest row of each account up to the day; None when nothing later goes on from it."""
    newest = reads.newest_day(engine, schema.trial_balance)
    return None if newest is None or newest <= day else reads.trial_balance(engine, day)


# --- other days ------------------------------------------------------------------------------------------------------
def adopt_postings(engine: Engine, day: date) -> None:
    """Give books from before there was a trial balance one, and closings that make the next day go through them.

    Days without a value in dollars get no closing: they were booked with a later day, and are open again without it.
    """
    if reads.days_with_rows(engine, schema.ledger_closings) is not None:
        return
    days = reads.days_with_rows(engine, schema.ledger_postings)
    if days is None or days.start >= day:
        return
    written, past = TrialBalance(), DayRange(days.start, min(days.end, day - timedelta(days=1)))
    with writes.replacing(engine, (schema.trial_balance, schema.ledger_closings), past) as slices:
        for booked in past:
            postings = reads.read_days(engine, schema.ledger_postings, DayRange.of(booked))
            slices.add(schema.trial_balance, advance(written, postings, booked))
            if postings["valued_usd"].notna().any():
                slices.add(schema.ledger_closings, _closing(engine, booked, ""))


def later_balances(engine: Engine, day: date, before: pd.DataFrame, after: TrialBalance) -> pd.DataFrame:
    """Rows of `trial_balance` of later days that the day's new balances change; none when it was booked as it had been.

    `before`: the newest row of each account up to the day as it was stored.
    """
    old, wanted = TrialBalance.of(before), TrialBalance()
    for account in {**dict.fromkeys(old), **dict.fromkeys(after)}:
        balance = after.get(account) or Balance()
        if balance != (old.get(account) or Balance()):
            wanted.set(account, balance)
    keys, posted, stored = set(wanted), dict[date, list[PostingRow]](), dict[date, list[tuple[Any, ...]]]()
    for table, columns in ((schema.trial_balance, TRIAL_BALANCE), (schema.ledger_postings, LEDGER_POSTINGS)):
        for row in _of_accounts(engine, table, columns, {account[1] for account in keys}, day):
            if table is schema.trial_balance and row[:5] in keys:
                stored.setdefault(row[5], []).append(row)
            elif table is schema.ledger_postings and account_of(row[0], row[8], row[9], row[10], row[11]) in keys:
                posted.setdefault(row[5], []).append(row)
    rows = []
    for moved_on in sorted({*posted, *stored}):
        advance(wanted, make_frame(LEDGER_POSTINGS, posted.get(moved_on, [])), moved_on)
        for row in stored.get(moved_on, ()):
            held = wanted.get(row[:5]) or Balance()
            if held.amount != row[6]:
                rows.append((*row[:6], held.amount, held.was_debited or row[7], *row[8:]))
    return sorted_rows(rows)


def _of_accounts(
    engine: Engine, table: Table, columns: Sequence[str], accounts: Collection[str], day: date
) -> Iterator[tuple[Any, ...]]:
    """Rows of the accounts that are dated after the day, in order of their days."""
    named, later = sorted(accounts), DayRange(day + timedelta(days=1), END)
    for first in range(0, len(named), _ASKED_AT_ONCE):
        where = {"account": named[first : first + _ASKED_AT_ONCE]}
        yield from reads.stream_days(engine, table, later, columns=columns, order=("date",), where=where)


def overtaken(engine: Engine, day: date) -> pd.DataFrame:
    """Closings of later days, marked: what was booked on them rested on something else."""
    later = reads.read_days(engine, schema.ledger_closings, DayRange(day + timedelta(days=1), END))
    return later.assign(is_overtaken=True)


def closing_of(warehouse: WarehouseResource, day: date) -> pd.DataFrame:
    """The row of `ledger_closings` of a day that is booked."""
    return _closing(warehouse.engine, day, fingerprint(facts_on(warehouse, day)))


def _closing(engine: Engine, day: date, address_book: str) -> pd.DataFrame:
    told = reads.count_through(engine, schema.account_transactions, day)
    columns = [column.name for column in schema.ledger_closings.columns]
    return pd.DataFrame([(day, told, address_book, False)], columns=columns)


def settled(engine: Engine, past: DayRange) -> pd.DataFrame:
    """Postings of past days that were pending and whose transactions are final now."""
    pending = reads.read_days(engine, schema.ledger_postings, past, {"is_pending": True})
    if pending.empty:
        return pending
    still = reads.read_days(engine, schema.account_transactions, past, {"is_pending": True}, ["chain_id", "tx_hash"])
    open_now = set(zip(still["chain_id"], still["tx_hash"], strict=True))
    origin = pending["corrects"].fillna(pending["tx_hash"])
    is_final = [at not in open_now for at in zip(pending["chain_id"], origin, strict=True)]
    return pending[is_final].assign(is_pending=False).reset_index(drop=True)
