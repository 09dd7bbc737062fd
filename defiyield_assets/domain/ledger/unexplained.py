"""`unexplained_transactions`: what is on equity:unexplained, transaction by transaction, until a posting takes it away.

Lives here: netting what is left, and the hint what would explain it. Not here: what goes there (classify.py,
booking.py) or how it is shown (domain/reporting, cli).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pandas as pd

from defiyield_assets.domain.ledger.accounts import (
    BORROW,
    DEPOSIT,
    REPAY,
    UNEXPLAINED_ACCOUNT,
    UNLISTED_DEPOSIT,
    UNLISTED_WITHDRAWAL,
    UNTRUSTED_SWAP,
    UNWRAP,
    WITHDRAWAL,
    WRAP,
    ZERO_ADDRESS,
    AddressBook,
)
from defiyield_assets.domain.ledger.tables import UNEXPLAINED_TRANSACTIONS, make_frame
from defiyield_assets.domain.ledger.valuation import EXACT, Prices, exact_sum
from defiyield_assets.domain.policy import Policy


@dataclass
class _Open:
    """What is left of one token of one transaction; `amount` as on the account: what we gave is positive there."""

    booked_on: date
    decimals: int
    amount: int = 0
    values: list[Decimal | None] = field(default_factory=list)
    counterparties: set[str] = field(default_factory=set)
    classification: str = ""


def unexplained_transactions(
    day: date, *, postings: pd.DataFrame, policy: Policy, contracts: pd.DataFrame
) -> pd.DataFrame:
    """The `unexplained_transactions` of a day: one row per transaction and token that still is on equity:unexplained.

    `postings` holds at least all of that account up to the day, in any order. A correction counts for the transaction
    that it corrects, so what a correction explained is gone. `amount` is what our wallets gained (+) or gave (-);
    `valued_usd` is null where a posting was booked without a close.
    """
    book, prices = AddressBook.of(policy, contracts), Prices(policy.token_by_address(), {}, {})
    found = _left(day, postings)
    tokens: dict[tuple[int, str], set[str]] = {}
    for chain_id, tx_hash, token in found:
        tokens.setdefault((chain_id, tx_hash), set()).add(token)
    rows = []
    for (chain_id, tx_hash, token), left in sorted(found.items()):
        beside = sorted(
            other for other in tokens[chain_id, tx_hash] - {token} if not prices.is_trusted(chain_id, other)
        )
        counterparty = next(iter(left.counterparties)) if len(left.counterparties) == 1 else None
        known = [value for value in left.values if value is not None]
        is_share = book.pool_of_share(chain_id, token) is not None
        hint = SHARE_HINT if is_share else hint_for(left.classification, -left.amount, counterparty, beside)
        rows.append(
            (
                day,
                chain_id,
                tx_hash,
                token,
                left.booked_on,
                -left.amount,
                prices.decimals(chain_id, token, left.decimals),
                prices.symbol(chain_id, token),
                counterparty,
                EXACT.minus(exact_sum(known)) if len(known) == len(left.values) else None,
                left.classification,
                hint,
            )
        )
    return make_frame(UNEXPLAINED_TRANSACTIONS, rows)


def _left(day: date, postings: pd.DataFrame) -> dict[tuple[int, str, str], _Open]:
    """What did not net to zero, by (chain, transaction, token)."""
    found: dict[tuple[int, str, str], _Open] = {}
    names = (
        "date",
        "account",
        "corrects",
        "tx_hash",
        "chain_id",
        "token_address",
        "amount",
        "decimals",
        "valued_usd",
        "counterparty",
        "classification",
    )
    rows = zip(*(postings[name] for name in names), strict=True)
    mine = [row for row in rows if row[1] == UNEXPLAINED_ACCOUNT and row[0] <= day]
    for posted, _, corrects, tx_hash, chain_id, token, amount, decimals, value, outside, classification in sorted(
        mine, key=lambda row: row[0]
    ):
        original = corrects if isinstance(corrects, str) and corrects else tx_hash
        left = found.setdefault((chain_id, original, token), _Open(posted, decimals))
        left.amount += amount
        left.values.append(value if isinstance(value, Decimal) else None)
        left.classification = classification
        if isinstance(outside, str) and outside:
            left.counterparties.add(outside)
    return {at: left for at, left in found.items() if left.amount}


SHARE_HINT = "shares of a listed pool moved, but not what they stand for: give the position as an opening"
_LIST = "list the pool in pool_contracts of policy.yaml"


def _enter(_: int, outside: str, beside: str) -> str:
    return f"money went to {outside} for new tokens {beside}: {_LIST} (share token {beside})"


def _leave(_: int, outside: str, beside: str) -> str:
    return f"tokens {beside} were given back and {outside} paid: {_LIST} (share token {beside})"


def _trade(_: int, outside: str, beside: str) -> str:
    return f"exchanged with {outside} for token {beside}: approve it in tokens.yaml, or if it is a share {_LIST}"


def _lend(_: int, outside: str, beside: str) -> str:
    return f"looks like a loan of {outside} (debt token {beside}): the ledger keeps no debts, so they stay here"


def _wrap(_: int, outside: str, beside: str) -> str:
    return f"wrapped coin of {outside}: approve token {beside} in tokens.yaml"


def _reach(_: int, outside: str, __: str) -> str:
    return f"a listed pool moved more than the ledger saw paid in ({outside}): give the position as an opening"


def _plain(gained: int, outside: str, _: str) -> str:
    if gained > 0:
        return (
            f"came from {outside}, which we had called or paid before: a claim, a loan or a stake that comes back; "
            f"if a pool is behind it, {_LIST}"
        )
    return (
        f"went to {outside}, and more happened than a payment, or none of our wallets sent it: {_LIST}, or add the "
        "wallet that sent it to accounts.yaml"
    )


_HINTS: dict[str, Callable[[int, str, str], str]] = {
    UNLISTED_DEPOSIT: _enter,
    UNLISTED_WITHDRAWAL: _leave,
    UNTRUSTED_SWAP: _trade,
    BORROW: _lend,
    REPAY: _lend,
    WRAP: _wrap,
    UNWRAP: _wrap,
    DEPOSIT: _reach,
    WITHDRAWAL: _reach,
}


def hint_for(classification: str, gained: int, counterparty: str | None, beside: Iterable[str]) -> str:
    """What would explain a transaction of this shape; `beside`: tokens nobody trusts that moved in it too."""
    outside = {None: "several addresses", ZERO_ADDRESS: "nobody (minted or burnt)"}.get(counterparty, counterparty)
    return _HINTS.get(classification, _plain)(gained, str(outside), ", ".join(beside) or "that nobody trusts")
