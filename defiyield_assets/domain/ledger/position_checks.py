"""What must hold of positions before a plan rests on them: pure predicates, each a list of violations (empty: holds).

Lives here: agreement of shares with the chain, jumps of rates. Not here: postings, balances and the NAV (checks.py).
"""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import pandas as pd

from defiyield_assets.domain.ledger.accounts import UNEXPLAINED_ACCOUNT, AddressBook
from defiyield_assets.domain.ledger.checks import Violation
from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.rates import KnownApys, daily_factor
from defiyield_assets.domain.ledger.share_rates import REBASING
from defiyield_assets.domain.ledger.valuation import RATIO

MOST_JUMP = Decimal("0.01")
"""Fraction by which a rate may differ from yesterday's grown by a day before somebody should look."""


def find_rate_jumps(positions: pd.DataFrame, previous: pd.DataFrame, apys: pd.DataFrame, day: date) -> list[Violation]:
    """`rate_jumped` for each position whose rate differs by more than `MOST_JUMP` from yesterday's grown by a day.

    `positions` and `previous` are `pool_positions` of the day and of the day before, `apys` as in `pool_positions`.
    Underlying per share is compared, for rebasing shares too: theirs is 1 on both days, so they never jump.
    """
    known = KnownApys(apys)
    before = {at: rate for at, rate, _ in _rates(previous)}
    found = []
    for at, rate, source in _rates(positions):
        chain_id, wallet, pool_id, token = at
        expected = before.get(at, Decimal(0))
        if source != REBASING:
            expected = RATIO.multiply(expected, daily_factor(known.of(pool_id, day)))
        if expected > 0 and abs(RATIO.subtract(RATIO.divide(rate, expected), Decimal(1))) > MOST_JUMP:
            subject = f"pool {pool_id} of wallet {wallet} on chain {chain_id}, token {token}"
            change = RATIO.multiply(RATIO.subtract(RATIO.divide(rate, expected), Decimal(1)), Decimal(100))
            found.append(Violation("rate_jumped", subject, f"{change:+.2f} % against its growth, by {source}"))
    return found


def _rates(positions: pd.DataFrame) -> Iterable[tuple[tuple[int, str, str, str], Decimal, str]]:
    """(chain, wallet, pool, token), rate and its source of each row."""
    names = ("chain_id", "wallet", "pool_id", "token_address", "exchange_rate", "rate_source")
    for chain_id, wallet, pool_id, token, rate, source in zip(*(positions[name] for name in names), strict=True):
        yield (chain_id, wallet, pool_id, token), rate, source


def find_positions_beside_the_chain(
    positions: pd.DataFrame,
    chain_balances: pd.DataFrame,
    trial_balance: pd.DataFrame,
    book: AddressBook,
) -> list[Violation]:
    """Shares of listed pools on the chain that are in no position, and the reverse, to the base unit.

    `position_differs` per wallet and pool where the shares of `pool_positions` are not the chain's. Where there is no
    position, but no more on the chain than what the ledger calls unexplained of that share token (`trial_balance`: the
    newest row of every account), it is a doubt, `untrusted_position_missing`: anybody can send us shares, and what is
    unexplained is reported every day until somebody explains it.
    """
    unexplained = _unexplained(trial_balance)
    ours: dict[Holding, int] = {}
    names = ("chain_id", "wallet", "pool_id", "shares")
    for chain_id, wallet, pool_id, shares in zip(*(positions[name] for name in names), strict=True):
        ours[Holding(chain_id, wallet, pool_id)] = shares
    theirs: dict[Holding, int] = {}
    gifts: dict[Holding, int] = {}
    names = ("chain_id", "wallet", "token_address", "balance")
    for chain_id, wallet, token, balance in zip(*(chain_balances[name] for name in names), strict=True):
        pool_of = book.pool_of_share(chain_id, token)
        if pool_of is not None and balance:
            at = Holding(chain_id, wallet, pool_of)
            theirs[at] = theirs.get(at, 0) + balance
            gifts[at] = gifts.get(at, 0) + unexplained.get((chain_id, token), 0)
    found = []
    for at in sorted({*ours, *theirs}):
        held, told = ours.get(at, 0), theirs.get(at, 0)
        if held == told:
            continue
        name = "untrusted_position_missing" if not held and told <= gifts.get(at, 0) else "position_differs"
        subject = f"pool {at.pool_id} of wallet {at.wallet} on chain {at.chain_id}"
        detail = f"position of {held} shares, {told} on the chain"
        if not held:
            detail += "; name what they stand for under `opening` in accounts.yaml"
        found.append(Violation(name, subject, detail))
    return found


def _unexplained(trial_balance: pd.DataFrame) -> dict[tuple[int, str], int]:
    """Base units that came without an explanation, by chain and token."""
    found: dict[tuple[int, str], int] = {}
    names = ("chain_id", "account", "token_address", "balance")
    for chain_id, account, token, balance in zip(*(trial_balance[name] for name in names), strict=True):
        if account == UNEXPLAINED_ACCOUNT:
            found[chain_id, token] = found.get((chain_id, token), 0) - balance
    return found
