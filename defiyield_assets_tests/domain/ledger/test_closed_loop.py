"""Plans on a small chain with routers, reverts and everything that rebases: the ledger is the chain, to the unit.

The books are kept day by day from what Etherscan would tell, without Dagster or a warehouse; positions grow by the
ledger's own rates, no node is asked. Not here: the whole product in a closed loop (test_end_to_end.py).
"""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.days import end_of
from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.accruals import accruals_of_day
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.booking import Bookkeeper
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import PostingWriter
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.transactions import read_transactions
from defiyield_assets.domain.ledger.trial_balance import TrialBalance, advance
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.domain.policy import Parameters, Policy, Wallet
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import NATIVE
from defiyield_assets.sources.account_rows import account_frame
from defiyield_assets.sources.etherscan import parse_internal, parse_token_transfers, parse_transactions
from defiyield_assets_tests.reconciliation import Books, differences
from defiyield_assets_tests.simulator.small_chain import (
    AAVE,
    APY,
    COLD,
    DAI,
    DAY,
    FOUNDED,
    USDC,
    USDM,
    VAULTS,
    WARM,
    WORLD,
    convert,
    deposit,
    execute,
    open_chain,
    told,
    withdraw,
)

POOLS = (AAVE, *VAULTS.values())
POLICY = Policy(
    Parameters(),
    tuple(WORLD.tokens.values()),
    (),
    wallets=(Wallet("cold", 1, COLD), Wallet("warm", 1, WARM, investable=True)),
)
CONTRACTS = pd.DataFrame(
    [(one.pool_id, one.share_token, 1, one.contract, one.share_decimals, one.is_rebasing, "test") for one in POOLS],
    columns=["pool_id", "share_token", "chain_id", "contract", "share_decimals", "is_rebasing", "source"],
)
APYS = pd.DataFrame([(pool.pool_id, FOUNDED.date(), APY) for pool in POOLS], columns=["pool_id", "date", "apy"])
N_DAYS = 12


def prices_of(day: date) -> Prices:
    """Every token is a dollar, ETH 2,000."""
    bars = pd.DataFrame(
        [(token.instrument_id, day, 1.0) for token in POLICY.tokens], columns=["instrument_id", "date", "close"]
    )
    return Prices.of(POLICY, bars, {day: Decimal(2_000)})


def asked(chain: SimulatedChain, day: date, action: str, wallet: str) -> object:
    return chain_answers.etherscan(chain, end_of(day), {"module": "account", "action": action, "address": wallet})


def transactions_told(chain: SimulatedChain, day: date) -> pd.DataFrame:
    """`account_transactions` of the day, as the vendor's three lists of both wallets tell them."""
    views = []
    for wallet in (COLD, WARM):
        rows = [
            *parse_transactions(asked(chain, day, "txlist", wallet), 1, wallet).rows,
            *parse_token_transfers(asked(chain, day, "tokentx", wallet), 1).rows,
            *parse_internal(asked(chain, day, "txlistinternal", wallet), 1).rows,
        ]
        views.append(account_frame(rows))
    merged = merge_views(views)
    return merged[merged["date"] == day].reset_index(drop=True)


def balances_told(chain: SimulatedChain, day: date) -> pd.DataFrame:
    """`chain_balances` of the day."""
    rows = [
        (1, wallet, token, balance, 18)
        for wallet in (COLD, WARM)
        for token, balance in {NATIVE: 0, **told(chain, day, wallet)}.items()
    ]
    return pd.DataFrame(rows, columns=["chain_id", "wallet", "token_address", "balance", "decimals"], dtype=object)


class Ledger:
    """The books of both wallets, kept from day to day by their trial balance alone."""

    def __init__(self) -> None:
        self.trial = TrialBalance()
        self.postings = make_frame(LEDGER_POSTINGS, [])

    def close(self, chain: SimulatedChain, day: date) -> Books:
        """Book the day; what the ledger says is held at its end."""
        shared: dict[str, Any] = {"policy": POLICY, "contracts": CONTRACTS, "prices": prices_of(day)}
        before, book = self.trial.frame(day - timedelta(days=1)), AddressBook.of(POLICY, CONTRACTS)
        keeper = Bookkeeper(book, shared["prices"].is_trusted, TrialBalance.of(before))
        writer = PostingWriter(book, shared["prices"], None)
        rows = [
            row
            for transaction in read_transactions(transactions_told(chain, day), book)
            for row in writer.rows(transaction, keeper.book(transaction))
        ]
        booked = make_frame(LEDGER_POSTINGS, rows)
        accrued = accruals_of_day(day, before=before, booked=booked, chain_balances=balances_told(chain, day), **shared)
        own = (
            pd.concat([frame for frame in (booked, accrued) if len(frame)], ignore_index=True)
            if len(accrued)
            else booked
        )
        assert find_unbalanced(own) == []
        assert find_negative_balances(own, before) == []
        assert "unexplained" not in set(own["classification"])
        advance(self.trial, own, day)
        self.postings = pd.concat([frame for frame in (self.postings, own) if len(frame)], ignore_index=True)
        held = daily_balances(self.trial.frame(day), day=day, **shared)
        pools = pool_positions(self.postings, apys=APYS, day=day, **shared)
        balances = zip(held["wallet"], held["token_address"], held["balance"], strict=True)
        positions = zip(
            pools["wallet"], pools["pool_id"], pools["token_address"], pools["underlying_amount"], strict=True
        )
        return Books(
            {(wallet, token): amount for wallet, token, amount in balances if amount},
            {(wallet, pool, token): amount for wallet, pool, token, amount in positions if amount},
        )


def random_steps(chain: SimulatedChain, day: date, rng: Random) -> Iterator[dict[str, Any]]:
    """Withdrawals, then a conversion, then deposits, each possible after the ones before."""
    held, positions = chain.balances(WARM, end_of(day)), chain.positions(day)
    for pool in rng.sample(POOLS, 3):
        worth = positions.get((WARM, pool.pool_id, USDC.address), 0)
        if worth and rng.random() < 0.5:
            is_full = rng.random() < 0.4
            yield withdraw(pool, worth if is_full else rng.randint(1, worth - 1), full=is_full)
    sold, bought, scale = rng.choice([(USDC, DAI, 10**12), (USDM, USDC, 1)])
    most = min(held.get(sold.address, 0) // 4, 10**10 if sold is USDC else 10**20)
    if most > 10**15 or (sold is USDC and most):
        amount = rng.randint(10**13 if sold is USDM else 1, most)
        yield convert(sold, amount, bought, amount * scale if sold is USDC else amount // 10**12)
    for pool in rng.sample(POOLS, 2):
        yield deposit(pool, rng.randint(1, held[USDC.address] // 4))


@pytest.mark.parametrize("seed", range(2))
def test_the_ledger_is_the_chain_every_day_whatever_the_plans(tmp_path: Path, seed: int) -> None:
    chain, ledger, rng = open_chain(tmp_path, reverts_one_in=3), Ledger(), Random(seed)
    first = FOUNDED.date()
    for offset in range((DAY - first).days + N_DAYS):
        day = first + timedelta(days=offset)
        stamp = end_of(day)
        balances = {(w, token): held for w in (COLD, WARM) for token, held in chain.balances(w, stamp).items()}
        assert [
            str(item) for item in differences(day, ledger.close(chain, day), Books(balances, chain.positions(day)))
        ] == []
        if day >= DAY:
            execute(chain, *random_steps(chain, day, rng), after=(day - DAY).days)
    kinds = set(ledger.postings["classification"])
    assert kinds >= {"deposit", "withdrawal", "swap", "approve", "failed", "accrual", "external_in"}
