"""Rebasing tokens and shares accrue once a day up to the chain's balance, and nothing else hides in an accrual."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accruals import accruals_of_day
from defiyield_assets.domain.ledger.checks import find_unbalanced
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets_tests.domain.ledger.facts import (
    COLD,
    PAIR_SHARE,
    START,
    SUSD,
    USDC,
    VAULT_SHARE,
    WARM,
    make_contracts,
    make_policy,
    make_prices,
)

DAY = START + timedelta(days=3)
YESTERDAY = DAY - timedelta(days=1)
PLAIN = make_policy()
POLICY = replace(PLAIN, tokens=tuple(replace(token, rebasing=token.address == SUSD) for token in PLAIN.tokens))
CONTRACTS = make_contracts().assign(is_rebasing=lambda frame: frame["pool_id"] == "vault")
PRICES = make_prices(POLICY, SUSD=[1.0, 2.0])
WALLET_OF, POOL_OF = "assets:wallet:{}", "assets:pool:{}"


def trial_balance(*rows: tuple[str, str, str, int, date]) -> pd.DataFrame:
    """Newest rows of (account, wallet, token, balance, date)."""
    columns = ["chain_id", "account", "wallet", "token_address", "balance", "decimals", "date"]
    listed = [(1, account, wallet, token, balance, 18, moved) for account, wallet, token, balance, moved in rows]
    return pd.DataFrame(listed, columns=columns, dtype=object)


def postings(*rows: tuple[str, str, str, int, int]) -> pd.DataFrame:
    """The day's postings of (account, wallet, token, amount, block)."""
    when = datetime(DAY.year, DAY.month, DAY.day, 9, tzinfo=UTC)
    head = (1, "0xabc", "token")
    tail = ("deposit", None, False, None)
    return make_frame(
        LEDGER_POSTINGS,
        [
            (*head, at, 0, DAY, block, when, account, wallet, None, token, amount, 18, None, *tail)
            for at, (account, wallet, token, amount, block) in enumerate(rows)
        ],
    )


def told(*rows: tuple[str, str, int]) -> pd.DataFrame:
    """The day's `chain_balances` of (wallet, token, balance); WARM and COLD are asked about and hold ETH."""
    columns = ["chain_id", "wallet", "token_address", "balance", "decimals"]
    listed = [(WARM, "native", 5), (COLD, "native", 5), *rows]
    return pd.DataFrame([(1, *row, 18) for row in listed], columns=columns, dtype=object)


def accrue(before: pd.DataFrame, booked: pd.DataFrame, seen: pd.DataFrame, **other: Any) -> pd.DataFrame:
    shared = {"policy": POLICY, "contracts": CONTRACTS, "prices": PRICES}
    return accruals_of_day(DAY, before=before, booked=booked, chain_balances=seen, **shared, **other)


def legs(frame: pd.DataFrame) -> list[tuple[str, str, int]]:
    return list(zip(frame["account"], frame["token_address"], frame["amount"], strict=True))


def test_a_token_in_a_wallet_accrues_what_the_chain_says_beyond_the_ledger() -> None:
    before = trial_balance((WALLET_OF.format(WARM), WARM, SUSD, 1_000, START), ("income:rewards", "", SUSD, -7, START))
    booked = postings((WALLET_OF.format(WARM), WARM, SUSD, -290, 12), ("equity:external:0x1", "", SUSD, 290, 12))
    found = accrue(before, booked, told((WARM, SUSD, 714), (WARM, USDC, 99)))
    assert legs(found) == [(WALLET_OF.format(WARM), SUSD, 4), (f"income:yield:{SUSD}", SUSD, -4)]
    first = found.iloc[0]
    assert (first["tx_hash"], first["kind"], first["classification"]) == (f"accrual:{DAY}:{WARM}", "accrual", "accrual")
    assert first["valued_usd"] == Decimal(4) / 10**18 * 2
    assert list(found["wallet"]) == [WARM, WARM], "income belongs to the wallet"
    assert find_unbalanced(found) == []
    assert list(found.columns) == list(LEDGER_POSTINGS)


def test_rebasing_shares_accrue_on_their_pool_and_are_worth_nothing_beside_their_underlying() -> None:
    before = trial_balance(
        (POOL_OF.format("vault"), WARM, VAULT_SHARE, 10**9, YESTERDAY),
        (POOL_OF.format("vault"), WARM, USDC, 10**9, START),
        (POOL_OF.format("pair"), WARM, PAIR_SHARE, 10**9, YESTERDAY),
    )
    found = accrue(before, postings(), told((WARM, VAULT_SHARE, 10**9 + 137), (WARM, PAIR_SHARE, 10**9 + 5)))
    assert legs(found) == [
        (POOL_OF.format("vault"), VAULT_SHARE, 137),
        ("income:yield:vault", VAULT_SHARE, -137),
    ], "shares that stand still do not accrue, whatever the chain says of them"
    assert list(found["pool_id"]) == ["vault", "vault"]
    assert list(found["valued_usd"]) == [0, 0]


def test_a_rebase_downwards_is_negative_income() -> None:
    before = trial_balance((WALLET_OF.format(COLD), COLD, SUSD, 1_000_000, YESTERDAY))
    found = accrue(before, postings(), told((COLD, SUSD, 999_990)))
    assert legs(found) == [(WALLET_OF.format(COLD), SUSD, -10), (f"income:yield:{SUSD}", SUSD, 10)]


def test_equal_balances_and_wallets_that_nobody_asked_about_accrue_nothing() -> None:
    before = trial_balance((WALLET_OF.format(COLD), COLD, SUSD, 1_000, YESTERDAY))
    assert accrue(before, postings(), told((COLD, SUSD, 1_000))).empty
    assert accrue(before, postings(), told()[lambda frame: frame["wallet"] != COLD]).empty


@pytest.mark.parametrize("days", [1, 10])
def test_more_than_any_plausible_rate_yields_is_unexplained_and_not_income(days: int) -> None:
    accrued_on = DAY - timedelta(days=days)
    before = trial_balance(
        (WALLET_OF.format(COLD), COLD, SUSD, 10**9, accrued_on),
        (f"income:yield:{SUSD}", COLD, SUSD, -50, accrued_on),
    )
    most = int(10**9 * (11 ** (days / 365) - 1))
    for delta in (most - 1, -most + 1):
        fine = accrue(before, postings(), told((COLD, SUSD, 10**9 + delta)))
        assert set(fine["classification"]) == {"accrual"}
    for delta in (most + 3, -most - 3):
        found = accrue(before, postings(), told((COLD, SUSD, 10**9 + delta)))
        assert legs(found) == [(WALLET_OF.format(COLD), SUSD, delta), ("equity:unexplained", SUSD, -delta)]
        assert set(found["classification"]) == {"unexplained"}


@pytest.mark.parametrize("left", [0, 1_000])
def test_what_grew_before_it_was_sent_away_is_yield(left: int) -> None:
    """A day's growth is judged by what was there to grow, not by what the transfers of the day left."""
    before = trial_balance(
        (WALLET_OF.format(WARM), WARM, SUSD, 10**9, YESTERDAY),
        (f"income:yield:{SUSD}", WARM, SUSD, -50, YESTERDAY),
    )
    sent = 10**9 + 137_000 - left
    booked = postings((WALLET_OF.format(WARM), WARM, SUSD, -sent, 9), ("equity:external:0x1", "", SUSD, sent, 9))
    found = accrue(before, booked, told((WARM, SUSD, left)))
    assert legs(found) == [(WALLET_OF.format(WARM), SUSD, 137_000), (f"income:yield:{SUSD}", SUSD, -137_000)]


def test_what_appears_on_an_empty_balance_is_no_yield() -> None:
    found = accrue(trial_balance(), postings(), told((COLD, SUSD, 5), (WARM, VAULT_SHARE, 7)))
    assert set(legs(found)) == {
        (POOL_OF.format("vault"), VAULT_SHARE, 7),
        (WALLET_OF.format(COLD), SUSD, 5),
        ("equity:unexplained", SUSD, -5),
        ("equity:unexplained", VAULT_SHARE, -7),
    }


def test_a_balance_that_vanished_without_a_transfer_is_unexplained() -> None:
    before = trial_balance(
        (POOL_OF.format("vault"), WARM, VAULT_SHARE, 10**9, YESTERDAY),
        ("income:yield:vault", WARM, VAULT_SHARE, -50, YESTERDAY),
    )
    found = accrue(before, postings(), told())
    assert legs(found) == [(POOL_OF.format("vault"), VAULT_SHARE, -(10**9)), ("equity:unexplained", VAULT_SHARE, 10**9)]


def test_growth_hangs_on_the_first_block_of_the_day_that_moved_the_balance() -> None:
    """A burn takes along what has grown since midnight: no balance is below zero after its block."""
    before = trial_balance((POOL_OF.format("vault"), WARM, VAULT_SHARE, 10**9, YESTERDAY))
    booked = postings(
        (WALLET_OF.format(WARM), WARM, USDC, 5, 30),
        (POOL_OF.format("vault"), WARM, VAULT_SHARE, 3, 20),
        (POOL_OF.format("vault"), WARM, VAULT_SHARE, -(10**9) - 9, 21),
    )
    assert set(accrue(before, booked, told())["block_number"]) == {20}
    assert set(accrue(before, booked, told((WARM, VAULT_SHARE, 1)), last_blocks={1: 99})["block_number"]) == {20}
    quiet = told((WARM, VAULT_SHARE, 10**9 + 2))
    assert set(accrue(before, postings(), quiet, last_blocks={1: 99})["block_number"]) == {99}
    shrunk = postings(
        (POOL_OF.format("vault"), WARM, VAULT_SHARE, 3, 20), (POOL_OF.format("vault"), WARM, VAULT_SHARE, 4, 25)
    )
    assert set(accrue(before, shrunk, told((WARM, VAULT_SHARE, 10**9 + 1)))["block_number"]) == {25}


def test_several_balances_of_a_wallet_have_ordinals_of_their_own() -> None:
    before = trial_balance(
        (POOL_OF.format("vault"), WARM, VAULT_SHARE, 10**9, YESTERDAY),
        (WALLET_OF.format(WARM), WARM, SUSD, 10**9, YESTERDAY),
        (WALLET_OF.format(COLD), COLD, SUSD, 10**9, YESTERDAY),
    )
    seen = told((WARM, VAULT_SHARE, 10**9 + 2), (WARM, SUSD, 10**9 + 2), (COLD, SUSD, 10**9 + 2))
    found = accrue(before, postings(), seen)
    assert not found.duplicated(["chain_id", "tx_hash", "kind", "ordinal", "leg"]).any()
    assert len(found) == 6


@settings(max_examples=30, deadline=None)
@given(
    grown=st.lists(st.integers(min_value=-3, max_value=400), min_size=1, max_size=8),
    start=st.integers(min_value=10**6, max_value=2**255),
)
def test_with_accruals_the_ledger_is_the_chain_every_day(grown: list[int], start: int) -> None:
    """Day after day from the trial balance of the day before, whatever the size of the integers."""
    account, balance = WALLET_OF.format(COLD), start
    before = trial_balance((account, COLD, SUSD, start, START))
    for delta in grown:
        balance += delta
        found = accrue(before, postings(), told((COLD, SUSD, balance)))
        booked = sum(amount for where, _, amount in legs(found) if where == account)
        assert booked == delta
        before = trial_balance(
            (account, COLD, SUSD, balance, YESTERDAY), (f"income:yield:{SUSD}", COLD, SUSD, -1, YESTERDAY)
        )
