"""Postings: the golden case, every kind of transaction, and the properties that hold for all of them."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import CLASSIFICATIONS, NATIVE, ZERO_ADDRESS
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced
from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets_tests.domain.ledger.books import trial_balance_of
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    DAI,
    FAKE_USDC,
    GAS_WEI,
    OTHER,
    OTHER_SHARE,
    PAIR,
    PAIR_SHARE,
    ROUTER,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    fund,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    totals,
    usd,
)

POLICY = make_policy()
CONTRACTS = make_contracts()
PRICES = make_prices(POLICY)
NO_APYS = pd.DataFrame(columns=["pool_id", "date", "apy"])
WALLET_COLD, WALLET_WARM = f"assets:wallet:{COLD}", f"assets:wallet:{WARM}"


def book(chain: Chain | pd.DataFrame, days: DayRange | None = None) -> pd.DataFrame:
    """Postings of a chain, checked for balance."""
    frame = chain.frame() if isinstance(chain, Chain) else chain
    postings = build_postings(frame, policy=POLICY, contracts=CONTRACTS, prices=PRICES, days=days)
    assert find_unbalanced(postings) == []
    return postings


def of(postings: pd.DataFrame, tx_hash: str) -> pd.DataFrame:
    return postings[postings["tx_hash"] == tx_hash]


def classes(postings: pd.DataFrame, tx_hash: str) -> set[str]:
    return set(of(postings, tx_hash)["classification"])


def balances_of(postings: pd.DataFrame, day: date = START) -> dict[tuple[str, str], int]:
    trial_balance = trial_balance_of(postings, day)
    frame = daily_balances(trial_balance, policy=POLICY, contracts=CONTRACTS, prices=PRICES, day=day)
    return dict(zip(zip(frame["wallet"], frame["token_address"], strict=True), frame["balance"], strict=True))


# --- golden ---
@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(len(golden_chain().rows))))
def test_golden_wealth_is_the_same_whatever_order_blocks_arrive_in(order: Sequence[int]) -> None:
    postings = book(golden_chain().frame(order))
    sums = totals(postings)
    assert sums[WALLET_COLD, USDC] == usd(1_000)
    assert sums[WALLET_WARM, USDC] == usd(4_000)
    assert sums["assets:pool:vault", USDC] == usd(4_000)
    assert sums["assets:pool:other", USDC] == usd(1_000)
    assert sums["assets:pool:vault", VAULT_SHARE] == 3_800 * 10**18
    assert sums["equity:shares:other", OTHER_SHARE] == -950 * 10**18
    assert sums[f"equity:external:{BANK}", USDC] == -usd(10_000)
    assert sums["expenses:gas", NATIVE] == 4 * GAS_WEI
    assert sums[WALLET_COLD, NATIVE] == 10**18 - GAS_WEI
    assert sums[WALLET_WARM, NATIVE] == 10**18 - 3 * GAS_WEI
    assets = postings["account"].str.startswith("assets:") & (postings["token_address"] == USDC)
    assert sum(postings.loc[assets, "valued_usd"]) == Decimal(10_000)
    positions = pool_positions(postings, policy=POLICY, contracts=CONTRACTS, apys=NO_APYS, prices=PRICES, day=START)
    assert list(zip(positions["pool_id"], positions["value_usd"], strict=True)) == [
        ("other", Decimal(1_000)),
        ("vault", Decimal(4_000)),
    ]
    assert find_negative_balances(postings) == []


def test_golden_classifications_and_rows_in_key_order() -> None:
    chain = golden_chain()
    postings = book(chain)
    assert list(dict.fromkeys(postings.sort_values("block_number")["classification"])) == [
        "external_in",
        "wallet_transfer",
        "approve",
        "deposit",
    ]
    key = ["chain_id", "tx_hash", "kind", "ordinal", "leg"]
    assert not postings.duplicated(key).any()
    assert postings.equals(postings.sort_values(key, ignore_index=True))
    assert not postings["is_pending"].any()
    deposits = postings[postings["classification"] == "deposit"]
    assert set(deposits["pool_id"]) == {"vault", "other"}
    assert deposits.loc[deposits["account"] == "expenses:gas", "pool_id"].notna().all()


# --- one kind after the other ---
def test_failed_transaction_costs_gas_and_moves_nothing() -> None:
    chain = Chain()
    fund(chain)
    failed = chain.send((NATIVE, WARM, BANK, 5 * 10**17), sender=WARM, success=False)
    postings = book(chain)
    assert classes(postings, failed) == {"failed"}
    assert totals(of(postings, failed)) == {(WALLET_WARM, NATIVE): -GAS_WEI, ("expenses:gas", NATIVE): GAS_WEI}
    gas = of(postings, failed)
    assert sum(gas.loc[gas["account"] == "expenses:gas", "valued_usd"]) == Decimal("0.042")


def test_gas_is_gas_used_times_price_and_only_of_transactions_that_we_sent() -> None:
    chain = Chain()
    chain.send((NATIVE, BANK, WARM, 10**18), sender=BANK)
    chain.send(sender=WARM)
    chain.rows[-1]["value"] = 1
    postings = book(chain)
    assert totals(postings)["expenses:gas", NATIVE] == GAS_WEI
    frame = chain.frame()
    frame["gas_used"] = None
    assert totals(book(frame))["expenses:gas", NATIVE] == 1


def test_spoofed_usdc_is_booked_at_quantity_and_worth_nothing() -> None:
    chain = golden_chain()
    spam = chain.send((FAKE_USDC, STRANGER, WARM, usd(1_000_000)))
    postings = book(chain)
    assert classes(postings, spam) == {"UNTRUSTED_TOKEN"}
    assert set(of(postings, spam)["valued_usd"]) == {Decimal(0)}
    trial_balance = trial_balance_of(postings, START)
    frame = daily_balances(trial_balance, policy=POLICY, contracts=CONTRACTS, prices=PRICES, day=START)
    fake = frame[frame["token_address"] == FAKE_USDC].iloc[0]
    assert (fake["balance"], fake["value_usd"], fake["is_trusted"], fake["symbol"]) == (usd(1e6), 0, False, None)
    assert sum(frame.loc[frame["token_address"] != NATIVE, "value_usd"]) == Decimal(5_000)


def test_fake_token_cannot_claim_that_we_sent_what_we_never_had() -> None:
    chain = Chain()
    fund(chain)
    poisoned = chain.send((FAKE_USDC, WARM, STRANGER, usd(5)))
    chain.send((FAKE_USDC, STRANGER, WARM, usd(3)))
    partly = chain.send((FAKE_USDC, WARM, STRANGER, usd(5)))
    postings = book(chain)
    assert of(postings, poisoned).empty
    assert totals(of(postings, partly))[WALLET_WARM, FAKE_USDC] == -usd(3)
    assert find_negative_balances(postings) == []
    sent = chain.send((FAKE_USDC, WARM, STRANGER, usd(5)), sender=WARM)
    assert set(of(book(chain), sent)["token_address"]) == {NATIVE}
    assert find_negative_balances(book(chain)) == []


def test_claimed_decimals_and_symbol_of_a_trusted_token_change_nothing() -> None:
    chain = Chain()
    chain.send((USDC, BANK, WARM, usd(7)), claimed_decimals=0)
    postings = book(chain)
    assert set(postings["decimals"]) == {6}
    assert set(postings["valued_usd"]) == {Decimal(7), Decimal(-7)}


def test_wallet_to_wallet_keeps_both_legs_and_self_send_moves_nothing() -> None:
    chain = Chain()
    fund(chain)
    moved = chain.send((NATIVE, COLD, WARM, 10**17), sender=COLD)
    same = chain.send((NATIVE, COLD, COLD, 10**17), sender=COLD)
    postings = book(chain)
    assert classes(postings, moved) == classes(postings, same) == {"wallet_transfer"}
    assert totals(of(postings, moved)) == {
        (WALLET_COLD, NATIVE): -(10**17) - GAS_WEI,
        (WALLET_WARM, NATIVE): 10**17,
        ("expenses:gas", NATIVE): GAS_WEI,
    }
    assert len(of(postings, same)) == 4
    assert totals(of(postings, same))[WALLET_COLD, NATIVE] == -GAS_WEI


def test_internal_transfers_are_native_money() -> None:
    chain = Chain()
    chain.send(internal=[(STRANGER, WARM, 5)])
    postings = book(chain)
    assert totals(postings) == {(WALLET_WARM, NATIVE): 5, (f"equity:external:{STRANGER}", NATIVE): -5}
    assert set(postings["kind"]) == {"internal"}


def test_router_deposit_with_change_several_legs_and_a_fee_in_eth() -> None:
    chain = golden_chain()
    tx = chain.send(
        (USDC, WARM, ROUTER, usd(600)),
        (USDC, WARM, STRANGER, usd(400)),
        (USDC, ROUTER, WARM, usd(50)),
        (NATIVE, WARM, ROUTER, 1_000),
        mint(VAULT_SHARE, WARM, 900 * 10**18),
        sender=WARM,
        internal=[(ROUTER, WARM, 400)],
    )
    found = totals(of(book(chain), tx))
    assert found["assets:pool:vault", USDC] == usd(950)
    assert found[WALLET_WARM, USDC] == -usd(950)
    assert found["expenses:conversion", NATIVE] == 600
    assert ("income:rewards", USDC) not in found


def test_deposit_into_a_pair_and_into_two_pools_at_once() -> None:
    chain = golden_chain()
    pair = chain.send(
        (USDC, WARM, PAIR, usd(100)), (DAI, WARM, PAIR, 10**20), mint(PAIR_SHARE, WARM, 10**18), sender=WARM
    )
    both = chain.send(
        (USDC, WARM, VAULT, usd(10)),
        (USDC, WARM, OTHER, usd(20)),
        mint(VAULT_SHARE, WARM, 10**18),
        mint(OTHER_SHARE, WARM, 10**18),
        sender=WARM,
    )
    blind = chain.send(
        (USDC, WARM, ROUTER, usd(30)), mint(VAULT_SHARE, WARM, 10**18), mint(OTHER_SHARE, WARM, 10**18), sender=WARM
    )
    postings = book(chain)
    assert totals(of(postings, pair))["assets:pool:pair", DAI] == 10**20
    assert totals(of(postings, both))["assets:pool:vault", USDC] == usd(10)
    assert totals(of(postings, both))["assets:pool:other", USDC] == usd(20)
    assert totals(of(postings, blind))["equity:unexplained", USDC] == usd(30)
    assert totals(of(postings, blind))["equity:unexplained", VAULT_SHARE] == -(10**18)


def test_partial_and_full_exit_book_yield_and_leave_the_pool_at_exactly_zero() -> None:
    chain = golden_chain()
    part = chain.send((USDC, VAULT, WARM, usd(1_050)), burn(VAULT_SHARE, WARM, 950 * 10**18), sender=WARM, day=1)
    full = chain.send((USDC, VAULT, WARM, usd(3_100)), burn(VAULT_SHARE, WARM, 2_850 * 10**18), sender=WARM, day=2)
    postings = book(chain)
    assert totals(of(postings, part))["assets:pool:vault", USDC] == -usd(1_000)
    assert totals(of(postings, part))["income:yield:vault", USDC] == -usd(50)
    assert totals(of(postings, full))["income:yield:vault", USDC] == -usd(100)
    assert ("assets:pool:vault", USDC) not in totals(postings)
    assert ("assets:pool:vault", VAULT_SHARE) not in totals(postings)
    assert classes(postings, part) == classes(postings, full) == {"withdrawal"}
    assert find_negative_balances(postings) == []


def test_basis_of_a_partial_exit_is_rounded_down_and_the_rest_leaves_with_the_last_share() -> None:
    chain = golden_chain()
    chain.send((DAI, BANK, WARM, 100))
    chain.send((DAI, WARM, PAIR, 10), mint(PAIR_SHARE, WARM, 3), sender=WARM)
    parts = [chain.send((DAI, PAIR, WARM, 4), burn(PAIR_SHARE, WARM, 1), sender=WARM) for _ in range(3)]
    postings = book(chain)
    assert [totals(of(postings, part))["assets:pool:pair", DAI] for part in parts] == [-3, -3, -4]


def test_loss_is_negative_yield_and_a_receipt_in_parts_is_one_withdrawal() -> None:
    chain = golden_chain()
    tx = chain.send(
        (USDC, VAULT, WARM, usd(3_000)),
        (USDC, ROUTER, WARM, usd(995)),
        (USDC, WARM, STRANGER, usd(5)),
        (NATIVE, WARM, ROUTER, 77),
        (CRV, VAULT, WARM, 5),
        burn(VAULT_SHARE, WARM, 3_800 * 10**18),
        sender=WARM,
    )
    found = totals(of(book(chain), tx))
    assert found["income:yield:vault", USDC] == usd(10)
    assert found["assets:pool:vault", USDC] == -usd(4_000)
    assert found[WALLET_WARM, USDC] == usd(3_990)
    assert found["income:rewards", CRV] == -5
    assert found["expenses:conversion", NATIVE] == 77
    assert ("assets:pool:vault", CRV) not in found


def test_change_beyond_the_deposit_is_no_negative_basis() -> None:
    chain = golden_chain()
    tx = chain.send((DAI, WARM, PAIR, 10), (DAI, PAIR, WARM, 15), mint(PAIR_SHARE, WARM, 3), sender=WARM)
    found = totals(of(book(chain), tx))
    assert ("assets:pool:pair", DAI) not in found
    assert found["equity:unexplained", DAI] == -5


@pytest.mark.parametrize(("paid", "back"), [(10**16, 10**16), (5 * 10**17, 2 * 10**17)])
def test_eth_that_comes_back_beside_a_deposit_is_not_change_of_it(paid: int, back: int) -> None:
    """What was too much for a fee, or no cost in the end, was never paid into the pool."""
    chain = golden_chain()
    tx = chain.send(
        (USDC, WARM, ROUTER, usd(100)),
        (NATIVE, WARM, ROUTER, paid),
        mint(VAULT_SHARE, WARM, 95),
        sender=WARM,
        internal=[(ROUTER, WARM, back)],
    )
    found = totals(of(book(chain), tx))
    assert found["assets:pool:vault", USDC] == usd(100)
    assert found.get(("equity:unexplained", NATIVE), 0) == paid - back
    assert not any(
        account in ("assets:pool:vault", "expenses:conversion") for account, token in found if token == NATIVE
    )


def test_what_another_pool_was_paid_is_not_change_of_a_deposit() -> None:
    chain = golden_chain()
    chain.send((DAI, BANK, WARM, 100))
    moves = [(USDC, WARM, VAULT, 100), (DAI, WARM, OTHER, 50), (DAI, VAULT, WARM, 7)]
    tx = chain.send(*moves, mint(VAULT_SHARE, WARM, 9), mint(OTHER_SHARE, WARM, 9), sender=WARM)
    found = totals(of(book(chain), tx))
    assert (found["assets:pool:other", DAI], found["assets:pool:vault", USDC]) == (50, 100)
    assert found["equity:unexplained", DAI] == -7


def test_eth_back_beside_a_token_that_nobody_listed_is_as_unexplained_as_what_was_paid() -> None:
    chain = golden_chain()
    tx = chain.send(
        (NATIVE, WARM, ROUTER, 50),
        (USDC, WARM, VAULT, 100),
        mint(VAULT_SHARE, WARM, 9),
        mint(CRV, WARM, 5),
        sender=WARM,
        internal=[(ROUTER, WARM, 10)],
    )
    found = totals(of(book(chain), tx))
    assert found["equity:unexplained", NATIVE] == 40
    assert ("expenses:conversion", NATIVE) not in found


def test_a_reward_that_comes_in_parts_with_a_withdrawal_was_never_paid_in() -> None:
    chain = golden_chain()
    parts = [(CRV, VAULT, WARM, 100), (CRV, VAULT, WARM, 50)]
    chain.send((USDC, VAULT, WARM, usd(500)), *parts, burn(VAULT_SHARE, WARM, 475 * 10**18), sender=WARM)
    later = chain.send((CRV, VAULT, WARM, 30), sender=WARM)
    postings = book(chain)
    in_pool = postings[postings["account"] == "assets:pool:vault"]
    assert CRV not in set(in_pool["token_address"])
    assert totals(of(postings, later))["income:rewards", CRV] == -30


def test_eth_that_a_withdrawal_costs_is_a_conversion_cost() -> None:
    chain = golden_chain()
    tx = chain.send(
        (USDC, VAULT, WARM, usd(4_000)), (NATIVE, WARM, VAULT, 9), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM
    )
    found = totals(of(book(chain), tx))
    assert found["expenses:conversion", NATIVE] == 9
    assert not any(account == "equity:unexplained" for account, _ in found)


def test_basis_that_does_not_come_back_was_converted() -> None:
    chain = golden_chain()
    tx = chain.send((DAI, ROUTER, WARM, 4_000 * 10**18), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM)
    found = totals(of(book(chain), tx))
    assert found["assets:pool:vault", USDC] == -usd(4_000)
    assert found["equity:conversions", USDC] == usd(4_000)
    assert found["equity:conversions", DAI] == -4_000 * 10**18
    assert not any(account.startswith("income:") for account, _ in found)


def test_withdrawal_without_known_deposit_is_not_called_yield() -> None:
    chain = Chain()
    fund(chain)
    tx = chain.send((USDC, VAULT, WARM, usd(5)), burn(VAULT_SHARE, WARM, 5), sender=WARM)
    assert totals(of(book(chain), tx))["equity:unexplained", USDC] == -usd(5)


def test_full_exit_and_new_deposit_start_a_new_basis() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(4_100)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM)
    chain.send((USDC, WARM, VAULT, usd(50)), mint(VAULT_SHARE, WARM, 40), sender=WARM)
    out = chain.send((USDC, VAULT, WARM, usd(51)), burn(VAULT_SHARE, WARM, 40), sender=WARM)
    assert totals(of(book(chain), out))["income:yield:vault", USDC] == -usd(1)


def test_burn_waits_for_the_mints_of_its_block() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(12)), burn(VAULT_SHARE, WARM, 3_810 * 10**18), sender=WARM, block=500)
    chain.send((USDC, WARM, VAULT, usd(10)), mint(VAULT_SHARE, WARM, 10 * 10**18), sender=WARM, block=500)
    for flip in (False, True):
        frame = chain.frame()
        hashes = sorted(set(frame.loc[frame["block_number"] == 500, "tx_hash"]))
        swapped = dict(zip(hashes, reversed(hashes), strict=True))
        frame = frame.assign(tx_hash=[swapped.get(name, name) if flip else name for name in frame["tx_hash"]])
        postings = book(frame)
        assert ("assets:pool:vault", USDC) not in totals(postings)
        assert totals(postings)["income:yield:vault", USDC] == usd(4_010 - 12)


def test_shares_move_between_wallets_with_their_basis() -> None:
    chain = golden_chain()
    moved = chain.send((VAULT_SHARE, WARM, COLD, 1_900 * 10**18), sender=WARM)
    out = chain.send((USDC, VAULT, COLD, usd(2_010)), burn(VAULT_SHARE, COLD, 1_900 * 10**18), sender=COLD)
    postings = book(chain)
    assert totals(of(postings, moved), by="wallet")[COLD, USDC] == usd(2_000)
    assert totals(of(postings, out))["income:yield:vault", USDC] == -usd(10)
    assert balances_of(postings)[WARM, VAULT_SHARE] == 1_900 * 10**18


def test_received_shares_are_known_when_a_part_of_them_is_burnt() -> None:
    chain = golden_chain()
    chain.send((VAULT_SHARE, WARM, COLD, 1_900 * 10**18), sender=WARM)
    out = chain.send((USDC, VAULT, COLD, usd(1_005)), burn(VAULT_SHARE, COLD, 950 * 10**18), sender=COLD)
    assert totals(of(book(chain), out))["income:yield:vault", USDC] == -usd(5)


def test_migration_takes_the_basis_along() -> None:
    chain = golden_chain()
    tx = chain.send(
        burn(VAULT_SHARE, WARM, 1_900 * 10**18), mint(PAIR_SHARE, WARM, 10), (CRV, VAULT, WARM, 3), sender=WARM
    )
    found = totals(of(book(chain), tx))
    assert found["assets:pool:vault", USDC] == -usd(2_000)
    assert found["assets:pool:pair", USDC] == usd(2_000)
    assert found["income:rewards", CRV] == -3


def test_leave_one_pool_and_enter_another_in_one_transaction() -> None:
    chain = golden_chain()
    tx = chain.send(
        burn(VAULT_SHARE, WARM, 3_800 * 10**18),
        (USDC, VAULT, WARM, usd(4_040)),
        (USDC, WARM, OTHER, usd(4_040)),
        mint(OTHER_SHARE, WARM, 7),
        sender=WARM,
    )
    found = totals(of(book(chain), tx))
    assert found["assets:pool:vault", USDC] == -usd(4_000)
    assert found["income:yield:vault", USDC] == -usd(40)
    assert found["assets:pool:other", USDC] == usd(4_040)


def test_shares_that_leave_for_nothing_or_come_for_nothing_are_unexplained() -> None:
    chain = golden_chain()
    gift = chain.send((VAULT_SHARE, STRANGER, WARM, 5))
    lost = chain.send((VAULT_SHARE, WARM, STRANGER, 3_800 * 10**18 + 5), sender=WARM)
    postings = book(chain)
    assert totals(of(postings, gift)) == {
        ("assets:pool:vault", VAULT_SHARE): 5,
        ("equity:unexplained", VAULT_SHARE): -5,
    }
    assert totals(of(postings, lost))["equity:unexplained", USDC] == usd(4_000)
    assert classes(postings, lost) == {"unexplained"}


def test_reward_claim_by_us_and_from_a_pool() -> None:
    chain = golden_chain()
    claim = chain.send((CRV, STRANGER, WARM, 11), sender=WARM)
    pushed = chain.send((CRV, VAULT, WARM, 12))
    not_reward = chain.send((USDC, VAULT, WARM, usd(1)), sender=WARM)
    postings = book(chain)
    assert classes(postings, claim) == classes(postings, pushed) == {"reward"}
    assert totals(of(postings, pushed))["income:rewards", CRV] == -12
    assert set(of(postings, pushed)["pool_id"]) == {"vault"}
    assert classes(postings, not_reward) == {"unexplained"}


def test_capital_that_comes_back_is_no_reward() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, STRANGER, usd(100)), sender=WARM)
    back = chain.send((USDC, STRANGER, WARM, usd(101)), sender=WARM)
    lost = chain.send((USDC, WARM, PAIR, usd(10)), sender=WARM)
    other = chain.send((DAI, PAIR, WARM, 10), sender=WARM)
    postings = book(chain)
    assert classes(postings, back) == {"external_in"}
    assert classes(postings, lost) == {"unexplained"}
    assert totals(of(postings, lost))["equity:unexplained", USDC] == usd(10)
    assert classes(postings, other) == {"unexplained"}
    chain.send((USDC, WARM, PAIR, usd(10)), mint(PAIR_SHARE, WARM, 10), sender=WARM)
    paid = chain.send((DAI, PAIR, WARM, 10), sender=WARM)
    assert classes(book(chain), paid) == {"reward"}


def test_eth_for_nothing_in_our_own_transaction_is_unexplained() -> None:
    chain = golden_chain()
    tx = chain.send(sender=WARM, internal=[(STRANGER, WARM, 9)])
    assert totals(of(book(chain), tx))["equity:unexplained", NATIVE] == -9


def test_swap_goes_through_conversions_and_sums_to_zero_per_token() -> None:
    chain = golden_chain()
    tx = chain.send((USDC, WARM, ROUTER, usd(500)), (DAI, ROUTER, WARM, 499 * 10**18), sender=WARM)
    eth = chain.send((USDC, WARM, ROUTER, usd(200)), sender=WARM, internal=[(ROUTER, WARM, 10**17)])
    fee = chain.send((DAI, WARM, ROUTER, 10**18), (NATIVE, WARM, ROUTER, 50), (USDC, ROUTER, WARM, usd(1)), sender=WARM)
    relayed = chain.send((USDC, WARM, ROUTER, usd(1)), (DAI, ROUTER, WARM, 9 * 10**17))
    postings = book(chain)
    assert totals(of(postings, tx)) == {
        (WALLET_WARM, USDC): -usd(500),
        ("equity:conversions", USDC): usd(500),
        ("equity:conversions", DAI): -499 * 10**18,
        (WALLET_WARM, DAI): 499 * 10**18,
        (WALLET_WARM, NATIVE): -GAS_WEI,
        ("expenses:gas", NATIVE): GAS_WEI,
    }
    assert classes(postings, tx) == classes(postings, eth) == classes(postings, relayed) == {"swap"}
    assert totals(of(postings, eth))["equity:conversions", NATIVE] == -(10**17)
    assert totals(of(postings, fee))["expenses:conversion", NATIVE] == 50


def test_trusted_money_for_an_unknown_token_is_not_absorbed_as_a_cost() -> None:
    chain = golden_chain()
    there = chain.send((USDC, WARM, STRANGER, usd(100)), mint(CRV, WARM, 5), sender=WARM)
    back = chain.send((USDC, STRANGER, WARM, usd(100)), burn(CRV, WARM, 5), sender=WARM)
    postings = book(chain)
    assert classes(postings, there) == {"unlisted_deposit"}
    assert classes(postings, back) == {"unlisted_withdrawal"}
    assert totals(of(postings, there))["equity:unexplained", USDC] == usd(100)
    assert ("equity:unexplained", USDC) not in totals(postings)


def test_what_comes_back_from_an_unexplained_place_is_unexplained() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, STRANGER, usd(100)), mint(CRV, WARM, 5), sender=WARM)
    back = chain.send((USDC, STRANGER, WARM, usd(100)), sender=BANK)
    assert classes(book(chain), back) == {"unexplained"}


def test_payment_with_change_is_a_payment() -> None:
    chain = golden_chain()
    tx = chain.send(
        (USDC, WARM, STRANGER, usd(10)), (NATIVE, WARM, STRANGER, 9), sender=WARM, internal=[(STRANGER, WARM, 4)]
    )
    found = totals(of(book(chain), tx))
    assert found[f"equity:external:{STRANGER}", USDC] == usd(10)
    assert found[f"equity:external:{STRANGER}", NATIVE] == 5


def test_approval_and_zero_value_transfers_move_nothing() -> None:
    chain = golden_chain()
    approve = chain.send((NATIVE, WARM, USDC, 0), sender=WARM)
    spam = chain.send((USDC, WARM, STRANGER, 0))
    postings = book(chain)
    assert classes(postings, approve) == {"approve"}
    assert totals(of(postings, approve)) == {(WALLET_WARM, NATIVE): -GAS_WEI, ("expenses:gas", NATIVE): GAS_WEI}
    assert of(postings, spam).empty


def test_transactions_of_others_leave_no_trace() -> None:
    chain = Chain()
    chain.send((USDC, BANK, STRANGER, usd(5)), sender=BANK)
    assert book(chain).empty


# --- numbers and slices ---
@pytest.mark.parametrize("amount", [2, 2**63, 2**64, 2**255, 2**256 - 1])
def test_amounts_up_to_256_bits_survive(amount: int) -> None:
    chain = Chain()
    chain.send((USDC, BANK, WARM, amount))
    chain.send((USDC, WARM, VAULT, amount), mint(VAULT_SHARE, WARM, amount), sender=WARM)
    chain.send((NATIVE, BANK, WARM, amount))
    postings = book(chain)
    assert totals(postings)["assets:pool:vault", USDC] == amount
    assert all(type(value) is int for value in postings["amount"])
    assert balances_of(postings)[WARM, NATIVE] == amount - GAS_WEI
    out = chain.send((USDC, VAULT, WARM, amount - 1), burn(VAULT_SHARE, WARM, amount), sender=WARM)
    postings = book(chain)
    assert totals(of(postings, out))["income:yield:vault", USDC] == 1
    positions = pool_positions(
        postings[postings["tx_hash"] != out], policy=POLICY, contracts=CONTRACTS, apys=NO_APYS, prices=PRICES, day=START
    )
    assert list(positions["underlying_amount"]) == [amount]
    assert positions["value_usd"].iloc[0] == Decimal(amount).scaleb(-6) if amount < 2**64 else True


def test_pending_until_deep_enough() -> None:
    frame = golden_chain().frame()
    last = int(frame["block_number"].max())
    frame["is_pending"] = frame["block_number"] == last
    postings = build_postings(frame, policy=POLICY, contracts=CONTRACTS, prices=PRICES)
    assert set(postings.loc[postings["is_pending"], "block_number"]) == {last}
    assert set(postings.loc[~postings["is_pending"], "block_number"]) == set(frame["block_number"]) - {last}


def test_without_a_close_units_are_booked_and_what_is_held_has_no_value() -> None:
    chain, day = golden_chain(), START + timedelta(days=70)
    sent = chain.send((USDC, BANK, WARM, usd(1)), (FAKE_USDC, BANK, WARM, usd(2)), day=70)
    postings = book(chain)
    own = of(postings, sent)
    assert own.loc[own["token_address"] == USDC, "amount"].abs().tolist() == [usd(1)] * 2
    assert own.loc[own["token_address"] == USDC, "valued_usd"].isna().all()
    assert own.loc[own["token_address"] == FAKE_USDC, "valued_usd"].tolist() == [0, 0], "its worth is known: nothing"
    assert postings.loc[postings["date"] != day, "valued_usd"].notna().all()
    with pytest.raises(SuspiciousDataError, match=r"USDC .*ethereum:0xa0a0.* on 2025-08-11"):
        balances_of(postings, day)
    eth_only = Chain()
    eth_only.send((NATIVE, BANK, WARM, 1), day=70)
    booked = book(eth_only)
    assert booked["valued_usd"].isna().all()
    with pytest.raises(SuspiciousDataError, match=r"ETH .* on 2025-08-11"):
        balances_of(booked, day)


def test_two_pools_with_one_share_token_are_a_configuration_error() -> None:
    twice = pd.concat([CONTRACTS, CONTRACTS.head(1).assign(pool_id="twin")], ignore_index=True)
    with pytest.raises(ConfigurationError, match="twin and vault both claim"):
        build_postings(golden_chain().frame(), policy=POLICY, contracts=twice, prices=PRICES)


def test_empty_history_gives_an_empty_frame_with_the_columns() -> None:
    postings = book(Chain())
    assert postings.empty
    assert "valued_usd" in postings.columns


# --- properties ---
ADDRESSES = [COLD, WARM, BANK, STRANGER, ROUTER, VAULT, OTHER, ZERO_ADDRESS]
TOKENS = [USDC, DAI, CRV, VAULT_SHARE, OTHER_SHARE, NATIVE]
MOVES = st.tuples(
    st.sampled_from(TOKENS), st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES), st.integers(0, 2**256 - 1)
)
TRANSACTIONS = st.lists(
    st.tuples(st.lists(MOVES, max_size=5), st.sampled_from([None, COLD, WARM, BANK]), st.integers(0, 5), st.booleans()),
    max_size=12,
)


def random_chain(drawn: list[tuple[list[tuple[str, str, str, int]], str | None, int, bool]]) -> Chain:
    chain = Chain()
    for moves, sender, day, success in sorted(drawn, key=lambda item: item[2]):
        chain.send(*moves, sender=sender, day=day, success=success)
    return chain


def naive_replay(chain: Chain) -> dict[tuple[str, str], int]:
    """Balances of our wallets by adding up rows, with nothing but successful transfers and gas."""
    found: dict[tuple[str, str], int] = {}
    for row in chain.rows:
        token = row["token_address"]
        if row["kind"] == "gas":
            moved = {row["from_address"]: -row["value"]}
        elif row["is_success"]:
            moved = {row["from_address"]: 0, row["to_address"]: 0}
            moved[row["from_address"]] -= row["value"]
            moved[row["to_address"]] += row["value"]
        else:
            continue
        for address, amount in moved.items():
            if address in (COLD, WARM):
                found[address, token] = found.get((address, token), 0) + amount
    return {at: amount for at, amount in found.items() if amount}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=TRANSACTIONS)
def test_any_transactions_sum_to_zero_and_match_a_naive_replay(
    drawn: list[tuple[list[tuple[str, str, str, int]], str | None, int, bool]],
) -> None:
    chain = random_chain(drawn)
    postings = book(chain)
    found = balances_of(postings, START + timedelta(days=9))
    expected = naive_replay(chain)
    trusted = {at: amount for at, amount in found.items() if at[1] != CRV}
    assert trusted == {at: amount for at, amount in expected.items() if at[1] != CRV}
    assert set(postings["classification"]) <= set(CLASSIFICATIONS)
    assert not postings.duplicated(["chain_id", "tx_hash", "kind", "ordinal", "leg"]).any()
    pool = postings["account"].str.startswith("assets:pool:") & ~postings["token_address"].isin(
        [VAULT_SHARE, OTHER_SHARE]
    )
    running: dict[tuple[str, str, str], int] = {}
    for row in postings[pool].itertuples():
        at = (row.account, row.wallet, row.token_address)
        running[at] = running.get(at, 0) + row.amount
    assert all(amount >= 0 for amount in running.values())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=TRANSACTIONS, first=st.integers(0, 5), data=st.data())
def test_slices_equal_the_whole_for_any_split_and_row_order(
    drawn: list[tuple[list[tuple[str, str, str, int]], str | None, int, bool]], first: int, data: st.DataObject
) -> None:
    chain = random_chain(drawn)
    whole = book(chain)
    order = data.draw(st.permutations(range(len(chain.rows))))
    known = [at for at in order if chain.rows[at]["date"] <= START + timedelta(days=first)]
    head = book(chain.frame(known) if known else Chain())
    split = START + timedelta(days=first + 1)
    tail = book(chain.frame(order), days=DayRange(split, START + timedelta(days=9)))
    joined = pd.concat([part for part in (head, tail) if len(part)], ignore_index=True) if len(whole) else whole
    joined = joined.sort_values(["chain_id", "tx_hash", "kind", "ordinal", "leg"], ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole)
