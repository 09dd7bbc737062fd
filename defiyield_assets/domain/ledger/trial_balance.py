"""`trial_balance`: what every account holds after each day on which it moved; all that booking remembers.

Lives here: accounts and their balances, posting into them, frames of them and back. Not here: which legs a transaction
has (booking.py), how a newest row is found in the warehouse (store/reads.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.domain.ledger.accounts import EXTERNAL_PREFIX, POOL_PREFIX, SHARES_PREFIX, YIELD_PREFIX
from defiyield_assets.domain.ledger.tables import TRIAL_BALANCE, make_frame

Account = tuple[int, str, str, str, str]
"""chain_id, account, wallet ('' none), counterparty ('' none), token: the key of a balance."""
_POOL_ACCOUNTS = (POOL_PREFIX, SHARES_PREFIX, YIELD_PREFIX)
_KEY = ("chain_id", "account", "wallet", "counterparty", "token_address")


@dataclass(slots=True)
class Balance:
    """Signed base units of one account.

    `was_debited`: some transaction, as corrected, left more in it than it took. `decimals`: the most that were ever
    claimed, so that the order of postings does not matter.
    """

    amount: int = 0
    was_debited: bool = False
    decimals: int = 0
    pool_id: str | None = None


def account_of(chain_id: int, account: str, wallet: str | None, counterparty: str | None, token: str) -> Account:
    """The key of a posting's account. External capital names its counterparty in its name, so it always has one."""
    outside = counterparty if isinstance(counterparty, str) else ""
    if not outside and account.startswith(EXTERNAL_PREFIX):
        outside = account[len(EXTERNAL_PREFIX) :]
    return chain_id, account, wallet if isinstance(wallet, str) else "", outside, token


class TrialBalance:
    """Balances of all accounts, posted into leg by leg. What lies in pools and who got money are found by look-up."""

    def __init__(self) -> None:
        self._balances: dict[Account, Balance] = {}
        self._in_pools: dict[tuple[int, str, str], dict[str, Balance]] = {}
        self._taken: dict[tuple[int, str], set[str]] = {}
        self._held: dict[tuple[int, str], int] = {}
        self._debited: dict[tuple[int, str, str], set[str]] = {}
        self._open: dict[Account, int] = {}
        self._moved: dict[Account, None] = {}

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "TrialBalance":
        """From rows of `trial_balance`, the newest of each account."""
        found = cls()
        columns = (*_KEY, "balance", "was_debited", "decimals", "pool_id")
        for *key, amount, was_debited, decimals, pool_id in zip(*(rows[name] for name in columns), strict=True):
            account: Account = (int(key[0]), key[1], key[2], key[3], key[4])
            found.set(
                account,
                Balance(int(amount), bool(was_debited), int(decimals), pool_id if isinstance(pool_id, str) else None),
            )
        return found

    # --- writing -------------------------------------------------------------------------------------------------
    def set(self, account: Account, balance: Balance) -> None:
        """Make the account's balance this one."""
        token_at, known = (account[0], account[4]), self._balances.get(account)
        if known is None:
            known = self._add(account, balance.pool_id)
        self._held[token_at] = self._held.get(token_at, 0) + max(balance.amount, 0) - max(known.amount, 0)
        known.amount, known.was_debited, known.decimals = balance.amount, balance.was_debited, balance.decimals
        if account[3]:
            tokens = self._debited.setdefault((account[0], account[1], account[3]), set())
            (tokens.add if balance.was_debited else tokens.discard)(account[4])

    def post(self, account: Account, amount: int, decimals: int, pool_id: str | None) -> None:
        """Add signed base units to an account, which counts as moved even when they are 0 in sum."""
        balance = self._balances.get(account)
        if balance is None:
            balance = self._add(account, pool_id)
        before = balance.amount
        after = balance.amount = before + amount
        grown = (after if after > 0 else 0) - (before if before > 0 else 0)
        if grown:
            token_at = (account[0], account[4])
            self._held[token_at] = self._held.get(token_at, 0) + grown
        balance.decimals = max(balance.decimals, decimals)
        if not balance.was_debited:
            self._open[account] = self._open.get(account, 0) + amount
        self._moved[account] = None

    def touch(self, account: Account) -> None:
        """Give the account a row on the day although nothing was posted into it."""
        self._moved[account] = None

    def end_transaction(self) -> None:
        """All legs of a transaction are posted: accounts that gained by it were debited."""
        for account, gained in self._open.items():
            if gained > 0:
                self._balances[account].was_debited = True
                if account[3]:
                    self._debited.setdefault((account[0], account[1], account[3]), set()).add(account[4])
        self._open.clear()

    def end_day(self, day: date) -> list[tuple[Any, ...]]:
        """Rows of `trial_balance` for the accounts that moved since the last call."""
        rows = [self._row(account, day) for account in self._moved]
        self._moved.clear()
        return rows

    def _add(self, account: Account, pool_id: str | None) -> Balance:
        chain_id, name, wallet, _, token = account
        balance = Balance(pool_id=pool_id if name.startswith(_POOL_ACCOUNTS) else None)
        self._balances[account] = balance
        if name.startswith(POOL_PREFIX):
            self._in_pools.setdefault((chain_id, wallet, name), {})[token] = balance
            self._taken.setdefault((chain_id, name), set()).add(token)
        return balance

    # --- reading -------------------------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Account]:
        return iter(self._balances)

    def get(self, account: Account) -> Balance | None:
        """The account's balance, None when it never moved."""
        return self._balances.get(account)

    def amount(self, account: Account) -> int:
        """Signed base units of the account; 0 when it never moved."""
        balance = self._balances.get(account)
        return 0 if balance is None else balance.amount

    def in_pool(self, chain_id: int, wallet: str, pool_id: str) -> Mapping[str, Balance]:
        """What a wallet has in a pool by token, shares included."""
        return self._in_pools.get((chain_id, wallet, POOL_PREFIX + pool_id), {})

    def taken_by_pool(self, chain_id: int, pool_id: str) -> Iterable[str]:
        """Every token that was ever booked into a pool, from any wallet."""
        return self._taken.get((chain_id, POOL_PREFIX + pool_id), ())

    def held(self, chain_id: int, token: str) -> int:
        """Base units of a token over all accounts that hold some: no account can be further from 0 than that."""
        return self._held.get((chain_id, token), 0)

    def was_debited(self, chain_id: int, account: str, counterparty: str) -> bool:
        """Whether the account got something for this counterparty, in any token."""
        return bool(self._debited.get((chain_id, account, counterparty)))

    def frame(self, day: date, prefix: str = "") -> pd.DataFrame:
        """All balances of accounts whose name begins with `prefix` as rows of `trial_balance` of the day."""
        chosen = [self._row(account, day) for account in self._balances if account[1].startswith(prefix)]
        return make_frame(TRIAL_BALANCE, chosen)

    def _row(self, account: Account, day: date) -> tuple[Any, ...]:
        balance = self._balances[account]
        return (*account, day, balance.amount, balance.was_debited, balance.decimals, balance.pool_id)


def advance(previous: TrialBalance, postings: pd.DataFrame, day: date) -> pd.DataFrame:
    """Rows of `trial_balance` of a day from `previous`, which they are posted into, and the day's postings.

    The order of postings does not matter. A correction counts with the transaction that it corrects only when that is
    of the same day; corrections of earlier days come from a pass over the history (corrections.py).
    """
    names = (*_KEY, "tx_hash", "corrects", "amount", "decimals", "pool_id")
    rows = sorted(zip(*(postings[name] for name in names), strict=True), key=_root)
    last = None
    for chain_id, account, wallet, counterparty, token, tx_hash, corrects, amount, decimals, pool_id in rows:
        root = corrects if isinstance(corrects, str) else tx_hash
        if root != last:
            previous.end_transaction()
            last = root
        key = account_of(int(chain_id), account, wallet, counterparty, token)
        previous.post(key, amount, int(decimals), pool_id if isinstance(pool_id, str) else None)
    previous.end_transaction()
    return sorted_rows(previous.end_day(day))


def _root(row: tuple[Any, ...]) -> str:
    """The transaction that a posting stands for, by its tx_hash and what it corrects."""
    tx_hash, corrects = row[5], row[6]
    return str(corrects if isinstance(corrects, str) else tx_hash)


def adopt(written: TrialBalance, right: TrialBalance) -> list[tuple[Account, int, int]]:
    """Make `written`, with all corrections posted, remember what `right` does.

    Returns the accounts whose amounts differ, with both. After a pass over the whole history both hold the same, or
    something was booked that neither transactions nor corrections explain. Who was paid what may have changed without
    any amount: that is taken over.
    """
    broken = []
    for account in {**dict.fromkeys(written), **dict.fromkeys(right)}:
        held, known = written.get(account) or Balance(), right.get(account) or Balance()
        if held.amount != known.amount:
            broken.append((account, held.amount, known.amount))
        elif held.was_debited != known.was_debited:
            written.set(account, Balance(held.amount, known.was_debited, held.decimals, held.pool_id))
            written.touch(account)
    return broken


def sorted_rows(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of `trial_balance` as a frame in key order."""
    return make_frame(TRIAL_BALANCE, sorted(rows, key=lambda row: row[:6]))


def as_of(rows: pd.DataFrame, day: date) -> pd.DataFrame:
    """The newest row of each account up to the day, in key order."""
    known = rows[rows["date"] <= day].sort_values([*_KEY, "date"], kind="stable")
    return known.drop_duplicates(list(_KEY), keep="last").reset_index(drop=True)
