"""Corrections: what was booked on closed days and would be booked otherwise by what is known today.

Lives here: when booked days still stand, and the postings that make up for what differs. Not here: booking itself
(booking.py, postings.py). A posting is never edited; a correction is a new one that names what it corrects.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from heapq import merge
from itertools import groupby
from typing import Any, NamedTuple

from defiyield_assets.domain.ledger.accounts import ACCRUAL, CORRECTION, AddressBook
from defiyield_assets.domain.ledger.booking import Bookkeeper, Leg
from defiyield_assets.domain.ledger.postings import Kept, PostingRow, PostingWriter, post
from defiyield_assets.domain.ledger.transactions import GAS_KIND, Transaction
from defiyield_assets.domain.ledger.trial_balance import Account, account_of

Block = tuple[date, int, int]
"""Day, chain_id, block_number."""


# --- what booked days rest on --------------------------------------------------------------------------------------
def facts_of(book: AddressBook, tokens: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Everything outside the chain that decides how a transaction is booked, fact by fact as JSON.

    `tokens`: the approved ones as (chain, address).
    """
    found = [["token", *token] for token in tokens]
    for field in fields(book):
        entries = getattr(book, field.name)
        if isinstance(entries, Mapping):
            found += [[field.name, *_plain(key), *_plain(value)] for key, value in entries.items()]
        else:
            found += [[field.name, *_plain(entry)] for entry in entries]
    return frozenset(json.dumps(fact, separators=(",", ":"), default=str) for fact in found)


def _plain(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def fingerprint(facts: Iterable[str]) -> str:
    """One spelling of the facts: SHA-256, hex."""
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()


def has_other_wallets(before: frozenset[str], after: frozenset[str]) -> bool:
    """Whether wallets or their openings differ: that matters even where the chain told nothing of them yet."""
    return any(json.loads(fact)[0] in ("wallets", "openings") for fact in before ^ after)


def changed_addresses(before: frozenset[str], after: frozenset[str]) -> set[str]:
    """Every address that a fact names which is only on one side."""
    parts = (part for fact in before ^ after for part in json.loads(fact))
    return {part for part in parts if isinstance(part, str) and part.startswith("0x")}


# --- what differs --------------------------------------------------------------------------------------------------
class _Net(NamedTuple):
    """What one transaction did to one account."""

    amount: int
    decimals: int
    pool_id: str | None
    classification: str


class _Origin(NamedTuple):
    """Where the transaction stands in the chain that a correction names."""

    chain_id: int
    tx_hash: str
    block_number: int
    block_time: datetime
    is_pending: bool


class _Side(NamedTuple):
    at: Block
    is_stored: bool
    items: list[Any]


def find_corrections(
    transactions: Iterable[Transaction],
    stored: Iterable[PostingRow],
    corrected: Iterable[PostingRow],
    *,
    keeper: Bookkeeper,
    writer: PostingWriter,
    day: date,
    kept: Kept | None = None,
) -> list[PostingRow]:
    """Correction postings of `day` over closed days, and `keeper` brought to where it would be had it known all along.

    `transactions` are those of the closed days as they are known now, `stored` their postings (LEDGER_POSTINGS), both
    by day, chain and block: one block of each is held at a time. `corrected`: corrections of earlier days. What differs
    per (transaction, account, wallet, counterparty, token) is booked on `day` under `correction:<day>:<transaction>`
    with the block of the original, valued at the day's close. Transactions in `kept` stay as they are.
    """
    earlier: dict[tuple[int, str], list[PostingRow]] = {}
    for row in corrected:
        earlier.setdefault((row[0], row[18]), []).append(row)
    found: list[PostingRow] = []
    accrued: list[PostingRow] = []
    sides = merge(
        _blocks(transactions, lambda one: (one.day, one.chain_id, one.block_number), is_stored=False),
        _blocks(stored, lambda row: (row[5], row[0], row[6]), is_stored=True),
        key=lambda side: (side.at, side.is_stored),
    )
    for (today, _, _), group in groupby(sides, key=lambda side: side.at):
        by_kind = {side.is_stored: side.items for side in group}
        booked = _by_transaction(by_kind.get(True, ()))
        if accrued and accrued[0][5] < today:
            post(keeper.balances, accrued)
            accrued = []
        accrued += [row for rows in booked.values() for row in rows if row[2] == ACCRUAL]
        for transaction in by_kind.get(False, ()):
            at = (transaction.chain_id, transaction.tx_hash)
            rows = [*booked.pop(at, ()), *earlier.pop(at, ())]
            if kept and at in kept:
                post(keeper.balances, [row for row in kept[at] if row[5] < day])
                continue
            origin = _Origin(*at, transaction.block_number, transaction.block_time, transaction.is_pending)
            found += _difference(origin, keeper.book(transaction), rows, writer, day)
        for at, rows in booked.items():
            found += _gone(at, [*rows, *earlier.pop(at, ())], writer, day, kept)
    post(keeper.balances, accrued)
    for at, rows in earlier.items():
        found += _gone(at, rows, writer, day, kept)
    return found


def _blocks(items: Iterable[Any], at: Callable[[Any], Block], *, is_stored: bool) -> Iterator[_Side]:
    for block, group in groupby(items, key=at):
        yield _Side(block, is_stored, list(group))


def _by_transaction(rows: Sequence[PostingRow]) -> dict[tuple[int, str], list[PostingRow]]:
    """Postings of a block by transaction, without corrections, which stand with the transaction that they correct."""
    found: dict[tuple[int, str], list[PostingRow]] = {}
    for row in rows:
        if row[2] != CORRECTION:
            found.setdefault((row[0], row[1]), []).append(row)
    return found


def _gone(
    at: tuple[int, str], rows: list[PostingRow], writer: PostingWriter, day: date, kept: Kept | None
) -> list[PostingRow]:
    """Corrections of a transaction that none of our wallets has a part in any more."""
    if rows[0][2] == ACCRUAL or (kept and at in kept):
        return []
    origin = _Origin(*at, rows[0][6], rows[0][7], is_pending=False)
    return _difference(origin, (), rows, writer, day)


def _difference(
    origin: _Origin, legs: Iterable[Leg], rows: Iterable[PostingRow], writer: PostingWriter, day: date
) -> list[PostingRow]:
    """What the legs of a transaction are beyond what is booked for it."""
    right, booked = _net_of_legs(origin.chain_id, legs), _net_of_rows(rows)
    missing = {
        account: (right[account].amount if account in right else 0)
        - (booked[account].amount if account in booked else 0)
        for account in (*right, *(other for other in booked if other not in right))
    }
    changed = sorted(account for account, amount in missing.items() if amount)
    if not changed:
        return []
    told = [leg.classification for leg in legs if leg.kind != GAS_KIND] or [leg.classification for leg in legs]
    found = []
    for number, account in enumerate(changed):
        net = right.get(account) or booked[account]
        classification = net.classification if account in right or not told else told[0]
        chain_id, name, wallet, counterparty, token = account
        amount = missing[account]
        found.append(
            (
                chain_id,
                f"{CORRECTION}:{day.isoformat()}:{origin.tx_hash}",
                CORRECTION,
                0,
                number,
                day,
                origin.block_number,
                origin.block_time,
                name,
                wallet or None,
                counterparty or None,
                token,
                amount,
                writer.decimals(chain_id, token, net.decimals),
                writer.value(chain_id, token, amount, day),
                classification,
                net.pool_id,
                origin.is_pending,
                origin.tx_hash,
            )
        )
    return found


def _net_of_legs(chain_id: int, legs: Iterable[Leg]) -> dict[Account, _Net]:
    return _net(
        (
            account_of(chain_id, leg.account, leg.wallet, leg.counterparty, leg.token),
            _Net(leg.amount, leg.decimals, leg.pool_id, leg.classification),
        )
        for leg in legs
    )


def _net_of_rows(rows: Iterable[PostingRow]) -> dict[Account, _Net]:
    return _net(
        (account_of(row[0], row[8], row[9], row[10], row[11]), _Net(row[12], row[13], row[16], row[15])) for row in rows
    )


def _net(parts: Iterable[tuple[Account, _Net]]) -> dict[Account, _Net]:
    """Sums by account; the first leg says what it was."""
    found: dict[Account, _Net] = {}
    for account, part in parts:
        known = found.get(account)
        found[account] = part if known is None else known._replace(amount=known.amount + part.amount)
    return found
