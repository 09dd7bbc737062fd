"""What acquires and what gives away: legs on accounts that are no asset, netted, with their value and reason.

Lives here: reading postings for lots, and exact parts of a value. Not here: the lots themselves (lots.py) or the
postings (booking.py).
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pandas as pd

from defiyield_assets.domain.ledger.accounts import (
    ACCRUAL,
    ASSETS_PREFIX,
    CONVERSION_COST,
    CONVERSIONS,
    EXTERNAL_IN,
    EXTERNAL_OUT,
    EXTERNAL_PREFIX,
    GAS,
    OPENING_ACCOUNT,
    REWARD,
    REWARDS,
    SWAP,
    UNEXPLAINED,
    UNEXPLAINED_ACCOUNT,
    YIELD_PREFIX,
)
from defiyield_assets.domain.ledger.valuation import EXACT, ZERO, tidy

COST_DECIMALS = 18
"""Where a value is split, the part is rounded down to so many decimals of a dollar, and the rest keeps the rest."""
_CORRECTION = "correction:"
YIELD, OPENING, GAS_SPENT, COST_OF_CONVERSION, UNKNOWN = "yield", "opening", "gas", "conversion_cost", "unknown"
_REASONS = {
    CONVERSIONS: SWAP,
    REWARDS: REWARD,
    GAS: GAS_SPENT,
    CONVERSION_COST: COST_OF_CONVERSION,
    OPENING_ACCOUNT: OPENING,
    UNEXPLAINED_ACCOUNT: UNEXPLAINED,
}
_COLUMNS = (
    "block_number",
    "chain_id",
    "tx_hash",
    "kind",
    "ordinal",
    "leg",
    "account",
    "counterparty",
    "token_address",
    "amount",
    "decimals",
    "valued_usd",
    "classification",
    "corrects",
)


class TokenKey(NamedTuple):
    """A token of a chain; lower case, 'native' for the chain's own coin."""

    chain_id: int
    token: str


class LotLeg(NamedTuple):
    """A posting on an account that is no asset.

    `units` > 0: so much more is held; < 0: so much less. `value` in dollars at the day's close, >= 0; None: unknown.
    """

    block: int
    key: TokenKey
    tx_hash: str
    posting_id: str
    account: str
    counterparty: str
    units: int
    decimals: int
    value: Decimal | None
    reason: str
    corrects: str | None


def split(value: Decimal | None, part: int, whole: int) -> tuple[Decimal | None, Decimal | None]:
    """Value of `part` of `whole` units, rounded down to 18 decimals, and the exact rest; the two add up to `value`."""
    if value is None:
        return None, None
    if part == whole:
        return value, ZERO
    numerator, denominator = value.as_integer_ratio()
    scaled = numerator * part * 10**COST_DECIMALS // (denominator * whole)
    taken = tidy(EXACT.scaleb(Decimal(scaled), -COST_DECIMALS))
    return taken, tidy(EXACT.subtract(value, taken))


def minus(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    """Exact difference; None where one side is not known."""
    return None if left is None or right is None else tidy(EXACT.subtract(left, right))


def plus(left: Decimal | None, right: Decimal | None) -> Decimal | None:
    """Exact sum; None where one side is not known."""
    return None if left is None or right is None else tidy(EXACT.add(left, right))


def known(value: object) -> Decimal | None:
    """A cell of a decimal column: null is None, however pandas spells it."""
    return value if isinstance(value, Decimal) else None


def _reason(account: str, classification: str, units: int) -> str:
    """Why units came or went, told from the account: it stays the same when a correction finds another word."""
    if account.startswith(YIELD_PREFIX):
        return ACCRUAL if classification == ACCRUAL else YIELD
    if account.startswith(EXTERNAL_PREFIX):
        return EXTERNAL_IN if units > 0 else EXTERNAL_OUT
    return _REASONS.get(account, classification)


def by_transaction(leg: LotLeg) -> tuple[TokenKey, str, str]:
    """Order that brings the legs of a transaction on one token together."""
    return leg.key, leg.tx_hash, leg.posting_id


def by_account(leg: LotLeg) -> tuple[str, str]:
    """Order that brings the legs on one account with one counterparty together."""
    return leg.account, leg.counterparty


def value_of(legs: Iterable[LotLeg]) -> Decimal | None:
    """Dollars of what came minus what went, without its sign; None where one is not known."""
    total: Decimal | None = ZERO
    for leg in legs:
        total = plus(total, leg.value) if leg.units > 0 else minus(total, leg.value)
    return None if total is None else abs(total)


def net(group: Iterable[LotLeg]) -> Iterator[LotLeg]:
    """The legs of a transaction on one account as one: change that comes back was not given away."""
    legs = list(group)
    units = sum(leg.units for leg in legs)
    if units:
        first = next(leg for leg in legs if (leg.units > 0) == (units > 0))
        yield first._replace(units=units, value=value_of(legs))


def transaction_of(posting_id: str) -> str:
    """Hash of the transaction that a posting belongs to; for a correction, of the one that it corrects."""
    tx_hash = posting_id.rsplit(":", 3)[0]
    return tx_hash.split(":", 2)[2] if tx_hash.startswith(_CORRECTION) else tx_hash


def read_legs(postings: pd.DataFrame, day: date, is_tracked: Callable[[TokenKey], bool]) -> Iterator[LotLeg]:
    """Legs of a day (other rows are not looked at) of tracked tokens, on accounts that are no asset."""
    own = postings[postings["date"] == day] if len(postings) else postings
    for row in zip(*(own[name] for name in _COLUMNS), strict=True):
        block, chain_id, tx_hash, kind, ordinal, leg, account, other, token, amount, decimals, value, what, old = row
        key = TokenKey(int(chain_id), token)
        if account.startswith(ASSETS_PREFIX) or not is_tracked(key):
            continue
        # A trusted token never closes at 0; 0 is what untrusted ones are valued at, so what it is worth is unknown.
        worth = known(value)
        yield LotLeg(
            int(block),
            key,
            tx_hash,
            f"{tx_hash}:{kind}:{ordinal}:{leg}",
            account,
            other if isinstance(other, str) else "",
            -amount,
            int(decimals),
            abs(worth) if worth else None,
            _reason(account, what, -amount),
            old if isinstance(old, str) else None,
        )
