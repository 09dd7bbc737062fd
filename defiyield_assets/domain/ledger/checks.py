"""What must hold before the next step may trust the ledger: pure predicates, each a list of violations (empty: holds).

Lives here: balance of postings, agreement with the chain, no debts, the NAV identity. Not here: Dagster's asset checks
(orchestration/checks).
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, WALLET_PREFIX, AddressBook
from defiyield_assets.domain.ledger.valuation import ZERO, Prices, exact_sum
from defiyield_assets.domain.policy import Policy


@dataclass(frozen=True)
class Violation:
    """A rule that does not hold, for whom, and by how much."""

    name: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.subject}: {self.detail}"


def find_unbalanced(postings: pd.DataFrame) -> list[Violation]:
    """`transaction_not_balanced` per transaction and token, and `ledger_not_balanced` per token overall.

    The sum of the signed base units of `ledger_postings` is 0 per token, in each transaction and in total.
    """
    by_transaction: dict[tuple[int, str, str], int] = {}
    by_token: dict[tuple[int, str], int] = {}
    columns = (postings[name] for name in ("chain_id", "tx_hash", "token_address", "amount"))
    for chain_id, tx_hash, token, amount in zip(*columns, strict=True):
        by_transaction[chain_id, tx_hash, token] = by_transaction.get((chain_id, tx_hash, token), 0) + amount
        by_token[chain_id, token] = by_token.get((chain_id, token), 0) + amount
    violations = [
        Violation("transaction_not_balanced", f"{tx_hash} on chain {chain_id}, token {token}", f"sums to {total}")
        for (chain_id, tx_hash, token), total in sorted(by_transaction.items())
        if total
    ]
    return violations + [
        Violation("ledger_not_balanced", f"token {token} on chain {chain_id}", f"all postings sum to {total}")
        for (chain_id, token), total in sorted(by_token.items())
        if total
    ]


def find_differences_with_chain(
    balances: pd.DataFrame, chain_balances: pd.DataFrame, *, policy: Policy, contracts: pd.DataFrame, prices: Prices
) -> list[Violation]:
    """Differences between `daily_balances` and `chain_balances` of one day, to the unit; absent means 0.

    `balance_differs` when both know the token, `balance_only_on_chain` or `balance_only_in_ledger` otherwise. Tokens
    that are neither trusted nor shares of a known pool are compared by quantity too, under the same names with the
    prefix `untrusted_`: they change no balance in dollars, so whether they block is the caller's choice.
    """
    book = AddressBook.of(policy, contracts)
    ledger, chain = _by_key(balances), _by_key(chain_balances)
    violations = []
    for at in sorted({*ledger, *chain}):
        ours, theirs = ledger.get(at, 0), chain.get(at, 0)
        if ours == theirs:
            continue
        chain_id, wallet, token = at
        is_known = prices.is_trusted(chain_id, token) or book.pool_of_share(chain_id, token) is not None
        name = "balance_differs" if ours and theirs else ("balance_only_in_ledger" if ours else "balance_only_on_chain")
        subject = f"wallet {wallet} on chain {chain_id}, token {token}"
        detail = f"ledger {ours}, chain {theirs}, difference {ours - theirs}"
        violations.append(Violation(name if is_known else f"untrusted_{name}", subject, detail))
    return violations


def _by_key(balances: pd.DataFrame) -> dict[tuple[int, str, str], int]:
    columns = (balances[name] for name in ("chain_id", "wallet", "token_address", "balance"))
    return {(chain_id, wallet, token): balance for chain_id, wallet, token, balance in zip(*columns, strict=True)}


def find_negative_balances(postings: pd.DataFrame) -> list[Violation]:
    """`negative_balance` for each asset account, wallet and token, at the first block after which it is below 0.

    All postings from the first one on; a block is judged when it is complete, because the order within it is unknown.
    """
    assets = postings[postings["account"].str.startswith(ASSETS_PREFIX)] if len(postings) else postings
    changes: dict[tuple[int, str, str, str], dict[int, int]] = {}
    columns = (assets[name] for name in ("chain_id", "account", "wallet", "token_address", "block_number", "amount"))
    for chain_id, account, wallet, token, block, amount in zip(*columns, strict=True):
        blocks = changes.setdefault((chain_id, account, wallet, token), {})
        blocks[block] = blocks.get(block, 0) + amount
    violations = []
    for (chain_id, account, wallet, token), blocks in sorted(changes.items()):
        balance = 0
        for block in sorted(blocks):
            balance += blocks[block]
            if balance < 0:
                holder = account if account.startswith(WALLET_PREFIX) else f"{account} of {wallet}"
                subject = f"{holder} on chain {chain_id}, token {token}"
                violations.append(Violation("negative_balance", subject, f"{balance} after block {block}"))
                break
    return violations


def find_nav_gap(nav: pd.DataFrame, previous_nav: pd.DataFrame) -> list[Violation]:
    """`nav_not_explained` when NAV_D - NAV_{D-1} is not exactly flows + income - expenses + price change + unexplained.

    `nav` is the day's `nav_daily` row, `previous_nav` yesterday's (empty on the first day, whose NAV is a flow). Also
    `nav_parts_differ` when NAV is not exactly wallets + pools + ETH.
    """
    violations: list[Violation] = []
    opening: Decimal = previous_nav["nav_usd"].iloc[-1] if len(previous_nav) else ZERO
    for row in nav.to_dict("records"):
        explained = exact_sum(
            [
                opening,
                row["flows_usd"],
                row["income_usd"],
                row["expenses_usd"].copy_negate(),
                row["price_change_usd"],
                row["unexplained_usd"],
            ]
        )
        violations += _compare("nav_not_explained", row, explained)
        violations += _compare(
            "nav_parts_differ", row, exact_sum([row["wallets_usd"], row["pools_usd"], row["eth_usd"]])
        )
    return violations


def _compare(name: str, row: Mapping[Hashable, Any], expected: Decimal) -> Iterable[Violation]:
    if row["nav_usd"] != expected:
        yield Violation(name, f"nav_daily {row['date']}", f"NAV {row['nav_usd']}, parts add up to {expected}")
