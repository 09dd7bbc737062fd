"""What must hold before the next step may trust the ledger: pure predicates, each a list of violations (empty: holds).

Lives here: balance of postings, agreement with the chain, no debts, the NAV identity. Not here: Dagster's asset checks
(orchestration/checks).
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

import pandas as pd

from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, CORRECTION, WALLET_PREFIX, AddressBook
from defiyield_assets.domain.ledger.nav import income_outside_pools
from defiyield_assets.domain.ledger.valuation import ZERO, Prices, exact_sum
from defiyield_assets.domain.policy import Policy

POSTING_COLUMNS = (
    "date",
    "chain_id",
    "block_number",
    "kind",
    "tx_hash",
    "account",
    "wallet",
    "token_address",
    "amount",
)
"""What of `ledger_postings` is looked at block by block."""


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
        _not_balanced(chain_id, token, total) for (chain_id, token), total in sorted(by_token.items()) if total
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


def find_unbalanced_accounts(trial_balance: pd.DataFrame) -> list[Violation]:
    """`ledger_not_balanced` per chain and token of which all accounts of a trial balance do not sum to zero."""
    totals: dict[tuple[int, str], int] = {}
    columns = (trial_balance[name] for name in ("chain_id", "token_address", "balance"))
    for chain_id, token, balance in zip(*columns, strict=True):
        totals[chain_id, token] = totals.get((chain_id, token), 0) + balance
    return [_not_balanced(chain_id, token, total) for (chain_id, token), total in sorted(totals.items()) if total]


def _not_balanced(chain_id: int, token: str, total: int) -> Violation:
    return Violation("ledger_not_balanced", f"token {token} on chain {chain_id}", f"all postings sum to {total}")


def find_negative_balances(postings: pd.DataFrame, before: pd.DataFrame | None = None) -> list[Violation]:
    """`negative_balance` for each asset account, wallet and token, at the first block after which it is below 0.

    `postings` go on from the trial balance `before` (None: they are all from the first one on). A block is judged when
    it is complete, because the order within it is unknown; the corrections of a day are judged together, before its
    blocks, because they make up for many blocks at once.
    """
    rows = zip(*(postings[name] for name in POSTING_COLUMNS), strict=True)
    found = find_broken_blocks(sorted(rows, key=_stage), before)
    return sorted((item for item in found if item.name == "negative_balance"), key=lambda item: item.subject)


def _stage(row: tuple[Any, ...]) -> tuple[Any, ...]:
    day, chain_id, block, kind, *_ = row
    return day, chain_id, -1 if kind == CORRECTION else block


def find_broken_blocks(rows: Iterable[tuple[Any, ...]], before: pd.DataFrame | None = None) -> Iterator[Violation]:
    """`transaction_not_balanced` and `negative_balance` in postings of any number, of which one block is held.

    `rows`: POSTING_COLUMNS of `ledger_postings` by day, chain and block; `before`: the trial balance that they go on
    from.
    """
    held, broken = _assets(before), set[_Asset]()
    for (_, chain_id, stage), group in groupby(rows, key=_stage):
        sums: dict[tuple[str, str], int] = {}
        touched: dict[_Asset, None] = {}
        for _, _, _, _, tx_hash, account, wallet, token, amount in group:
            sums[tx_hash, token] = sums.get((tx_hash, token), 0) + amount
            if account.startswith(ASSETS_PREFIX):
                at = (chain_id, account, wallet, token)
                held[at] = held.get(at, 0) + amount
                touched[at] = None
        for (tx_hash, token), total in sorted(sums.items()):
            if total:
                yield Violation(
                    "transaction_not_balanced", f"{tx_hash} on chain {chain_id}, token {token}", f"sums to {total}"
                )
        for at in touched:
            if held[at] < 0 and at not in broken:
                broken.add(at)
                _, account, wallet, token = at
                holder = account if account.startswith(WALLET_PREFIX) else f"{account} of {wallet}"
                when = "corrections" if stage < 0 else f"block {stage}"
                yield Violation(
                    "negative_balance", f"{holder} on chain {chain_id}, token {token}", f"{held[at]} after {when}"
                )


_Asset = tuple[int, str, str, str]
"""chain_id, account, wallet, token."""


def _assets(trial_balance: pd.DataFrame | None) -> dict[_Asset, int]:
    if trial_balance is None:
        return {}
    names = ("chain_id", "account", "wallet", "token_address", "balance")
    rows = zip(*(trial_balance[name] for name in names), strict=True)
    return {(key[0], key[1], key[2], key[3]): amount for *key, amount in rows if key[1].startswith(ASSETS_PREFIX)}


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


def find_attribution_gaps(
    rows: pd.DataFrame, *, nav: pd.DataFrame, previous_nav: pd.DataFrame, postings: pd.DataFrame
) -> list[Violation]:
    """What does not add up in the day's `yield_attribution`, exactly; `nav` and `postings` are the day's.

    `position_not_explained` when closing is not opening + flows + income + price change of a pool, `gap_not_explained`
    when the parts are not realised - forecast (each float as the decimal that it prints as), or only some are known;
    `positions_differ` when all pools' openings or closings are not what NAV says was and is in pools, `income_differs`
    when their income is not NAV's less that outside of pools. A day without NAV has nothing to compare with.
    """
    violations: list[Violation] = []
    for row in rows.to_dict("records"):
        violations += _unexplained_position(row)
        violations += _unexplained_gap(row)
    if nav.empty:
        return violations
    before: Decimal = previous_nav["pools_usd"].iloc[-1] if len(previous_nav) else ZERO
    outside = income_outside_pools(postings) if len(previous_nav) else ZERO
    expected = (
        ("positions_differ", "opening_usd", before),
        ("positions_differ", "closing_usd", nav["pools_usd"].iloc[0]),
        ("income_differs", "income_usd", exact_sum([nav["income_usd"].iloc[0], outside.copy_negate()])),
    )
    for name, column, wanted in expected:
        total = exact_sum(rows[column].dropna())
        if total != wanted:
            detail = f"{column} of all pools is {total}, nav_daily says {wanted}"
            violations.append(Violation(name, f"yield_attribution {nav['date'].iloc[0]}", detail))
    return violations


def _unexplained_position(row: Mapping[Hashable, Any]) -> Iterable[Violation]:
    parts = [row[name] for name in ("opening_usd", "flows_usd", "income_usd", "price_change_usd")]
    if any(pd.isna(part) for part in (*parts, row["closing_usd"])) or exact_sum(parts) != row["closing_usd"]:
        told = f"closing {row['closing_usd']}, opening, flows, income and price change are {', '.join(map(str, parts))}"
        yield Violation("position_not_explained", f"pool {row['pool_id']} on {row['date']}", told)


def _unexplained_gap(row: Mapping[Hashable, Any]) -> Iterable[Violation]:
    parts = [row[name] for name in ("gap_rate", "gap_dilution", "gap_price", "gap_cost")]
    ends = [row["realised_apy"], row["forecast_apy"]]
    is_due = not any(pd.isna(end) for end in ends)
    if not is_due and all(pd.isna(part) for part in parts):
        return
    subject = f"pool {row['pool_id']} on {row['date']}"
    told = f"realised {ends[0]}, forecast {ends[1]}, parts {', '.join(map(str, parts))}"
    if not is_due or any(pd.isna(part) for part in parts):
        yield Violation("gap_not_explained", subject, told)
        return
    realised, forecast = (Decimal(repr(float(end))) for end in ends)
    if exact_sum([*parts, forecast]) != realised:
        yield Violation("gap_not_explained", subject, told)


def _compare(name: str, row: Mapping[Hashable, Any], expected: Decimal) -> Iterable[Violation]:
    if row["nav_usd"] != expected:
        yield Violation(name, f"nav_daily {row['date']}", f"NAV {row['nav_usd']}, parts add up to {expected}")
