"""Opening balances: what a wallet held at a block stands for everything before it, whoever else was there.

Not here: reading accounts.yaml (config/test_loader.py), which blocks are asked for (test_finality.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import EXTERNAL_PREFIX, NATIVE, OPENING, OPENING_ACCOUNT, AddressBook
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced
from defiyield_assets.domain.ledger.opening import is_opening, join_openings, read_openings
from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.transactions import read_transactions
from defiyield_assets.domain.policy import Opening, OpeningBalance, Policy, TokenAmount
from defiyield_assets.errors import ConfigurationError
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    GAS_WEI,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    totals,
    usd,
)

CONTRACTS = make_contracts()


def with_opening(block: int, *balances: OpeningBalance, wallet: str = COLD, day: int = 0, hour: int = 12) -> Policy:
    """The policy in which one wallet's books begin after a block."""
    policy = make_policy()
    time = datetime(2025, 6, 2, hour, tzinfo=UTC) + timedelta(days=day)
    wallets = tuple(
        replace(item, opening=Opening(block, time, balances)) if item.address == wallet else item
        for item in policy.wallets
    )
    return replace(policy, wallets=wallets)


def post(chain: Chain, policy: Policy, order: Sequence[int] | None = None) -> pd.DataFrame:
    postings = build_postings(chain.frame(order), policy=policy, contracts=CONTRACTS, prices=make_prices(policy))
    assert find_unbalanced(postings) == []
    return postings


def test_an_opening_is_posted_once_to_the_unit_against_equity() -> None:
    chain = Chain()
    chain.send((USDC, BANK, COLD, usd(999)))
    chain.send((NATIVE, BANK, COLD, 10**18))
    policy = with_opening(chain.block, OpeningBalance(USDC, usd(250)), OpeningBalance(NATIVE, 2**255))
    postings = post(chain, policy)
    assert totals(postings) == {
        (f"assets:wallet:{COLD}", USDC): usd(250),
        (f"assets:wallet:{COLD}", NATIVE): 2**255,
        (OPENING_ACCOUNT, USDC): -usd(250),
        (OPENING_ACCOUNT, NATIVE): -(2**255),
    }
    assert set(postings["tx_hash"]) == {f"opening:1:{COLD}"}
    assert set(postings["kind"]) == set(postings["classification"]) == {OPENING}
    assert set(postings["date"]) == {START}
    assert set(postings["block_number"]) == {chain.block}
    assert set(postings["decimals"]) == {6, 18}
    worth = Fraction(2**255 * 2_000, 10**18)
    assert {Fraction(value) for value in postings["valued_usd"]} == {250, -250, worth, -worth}


def test_nothing_up_to_the_block_is_booked_and_everything_after_it_is() -> None:
    chain = Chain()
    chain.send((USDC, BANK, COLD, usd(100)))
    chain.send((USDC, COLD, STRANGER, usd(40)), sender=COLD, success=False)
    at = chain.block
    last = chain.send((USDC, COLD, STRANGER, usd(10)), sender=COLD, block=at)
    after = chain.send((USDC, COLD, STRANGER, usd(5)), sender=COLD, block=at + 1)
    postings = post(chain, with_opening(at, OpeningBalance(USDC, usd(50)), OpeningBalance(NATIVE, 10**18)))
    assert last not in set(postings["tx_hash"])
    held = totals(postings)
    assert held[f"assets:wallet:{COLD}", USDC] == usd(45)
    assert held[f"assets:wallet:{COLD}", NATIVE] == 10**18 - GAS_WEI
    assert set(postings["tx_hash"]) == {f"opening:1:{COLD}", after}


def test_before_its_opening_a_wallet_is_an_address_like_any_other() -> None:
    chain = Chain()
    chain.send((USDC, BANK, COLD, usd(100)))
    chain.send((USDC, COLD, WARM, usd(30)), sender=COLD)
    chain.send((NATIVE, BANK, WARM, 10**18))
    chain.send((USDC, WARM, COLD, usd(10)), sender=WARM)
    at = chain.block
    chain.send((USDC, COLD, WARM, usd(1)), sender=COLD, block=at + 1)
    postings = post(chain, with_opening(at, OpeningBalance(USDC, usd(80)), OpeningBalance(NATIVE, 10**18)))
    held = totals(postings)
    assert held[f"assets:wallet:{COLD}", USDC] == usd(79)
    assert held[f"assets:wallet:{WARM}", USDC] == usd(21)
    assert held[EXTERNAL_PREFIX + COLD, USDC] == -usd(20), "what came from it and went to it before is capital"
    assert held[OPENING_ACCOUNT, USDC] == -usd(80)
    assert find_negative_balances(postings) == []


def test_adding_an_opening_leaves_what_other_wallets_booked_as_it_was() -> None:
    chain = Chain()
    chain.send((USDC, BANK, COLD, usd(100)))
    chain.send((USDC, COLD, WARM, usd(30)), sender=COLD)
    chain.send((NATIVE, BANK, WARM, 10**18))
    chain.send((USDC, WARM, COLD, usd(10)), sender=WARM)
    alone = post(chain, make_policy((WARM,)))
    both = post(chain, with_opening(chain.block, OpeningBalance(USDC, usd(80))))
    others = both[both["kind"] != OPENING].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, alone)


def test_opened_shares_have_a_cost_a_position_and_yield_when_they_are_paid_out() -> None:
    chain = Chain()
    chain.send((USDC, WARM, VAULT, usd(500)), mint(VAULT_SHARE, WARM, 480 * 10**18), sender=WARM)
    shares = OpeningBalance(VAULT_SHARE, 400 * 10**18, None, (TokenAmount(USDC, usd(440)),))
    policy = with_opening(chain.block, shares, OpeningBalance(NATIVE, 10**18), wallet=WARM)
    chain.send((USDC, VAULT, WARM, usd(231)), burn(VAULT_SHARE, WARM, 200 * 10**18), sender=WARM, day=2)
    postings = post(chain, policy)
    held = totals(postings)
    assert held["assets:pool:vault", VAULT_SHARE] == 200 * 10**18
    assert held["assets:pool:vault", USDC] == usd(220)
    assert held["income:yield:vault", USDC] == -usd(11)
    assert held["equity:shares:vault", VAULT_SHARE] == 200 * 10**18
    assert held[OPENING_ACCOUNT, VAULT_SHARE] == -400 * 10**18
    assert set(postings.loc[postings["token_address"] == VAULT_SHARE, "valued_usd"]) == {0}
    apys = pd.DataFrame([("vault", START, 0.0)], columns=["pool_id", "date", "apy"])
    shared = {"policy": policy, "contracts": CONTRACTS, "prices": make_prices(policy)}
    first = pool_positions(postings[postings["date"] == START], apys=apys, day=START, **shared)
    assert first[["pool_id", "shares", "underlying_amount"]].to_numpy().tolist() == [["vault", 400 * 10**18, usd(440)]]


def test_shares_stand_for_something_and_only_listed_shares_do() -> None:
    nothing = with_opening(100, OpeningBalance(VAULT_SHARE, 5))
    with pytest.raises(ConfigurationError, match=r"accounts\.yaml: opening of wallet wallet0.*under underlying"):
        read_openings(nothing, CONTRACTS)
    unlisted = with_opening(100, OpeningBalance(CRV, 5, 18, (TokenAmount(USDC, 1),)))
    with pytest.raises(ConfigurationError, match="no listed pool mints this token"):
        read_openings(unlisted, CONTRACTS)


def test_a_token_that_is_on_no_list_opens_with_the_decimals_that_were_given_and_is_worth_nothing() -> None:
    chain = Chain()
    chain.send((USDC, BANK, WARM, 1))
    postings = post(chain, with_opening(100, OpeningBalance(CRV, 7, 11)))
    opened = postings[postings["kind"] == OPENING]
    assert set(opened["decimals"]) == {11}
    assert set(opened["valued_usd"]) == {0}


def test_an_opening_stands_behind_the_other_transactions_of_its_block() -> None:
    chain = Chain()
    chain.send((USDC, BANK, WARM, 1))
    at = chain.block
    chain.send((USDC, BANK, WARM, 2), block=at + 1)
    policy = with_opening(at, OpeningBalance(USDC, 1))
    joined = join_openings(
        read_transactions(chain.frame(), AddressBook.of(policy, CONTRACTS)), read_openings(policy, CONTRACTS)
    )
    assert [(one.block_number, is_opening(one)) for one in joined] == [(at, False), (at, True), (at + 1, False)]


def test_only_openings_of_the_days_are_read() -> None:
    policy = with_opening(100, OpeningBalance(USDC, 1), day=3)
    day = START + timedelta(days=3)
    assert len(read_openings(policy, CONTRACTS, DayRange.of(day))) == 1
    assert read_openings(policy, CONTRACTS, DayRange(START, START + timedelta(days=2))) == []


@settings(max_examples=30, deadline=None)
@given(data=st.data(), cut=st.integers(0, 12))
def test_an_opening_at_any_block_gives_the_balances_of_the_whole_history(data: st.DataObject, cut: int) -> None:
    """Balances after the last block do not depend on where the books begin: a second way to the same number."""
    chain = Chain()
    chain.send((USDC, BANK, COLD, usd(1_000)))
    chain.send((NATIVE, BANK, COLD, 10**18))
    for _ in range(10):
        pair = data.draw(st.sampled_from([(COLD, WARM), (BANK, COLD), (COLD, BANK), (BANK, WARM)]))
        amount = data.draw(st.integers(1, 9))
        chain.send((USDC, *pair, amount), sender=pair[0] if pair[0] == COLD else None)
    whole = post(chain, make_policy())
    at = 100 + cut
    before = totals(whole[whole["block_number"] <= at])
    balances = [
        OpeningBalance(token, before[f"assets:wallet:{COLD}", token])
        for token in (USDC, NATIVE)
        if (f"assets:wallet:{COLD}", token) in before
    ]
    opened = post(chain, with_opening(at, *balances))
    assets = {key: amount for key, amount in totals(whole).items() if key[0].startswith("assets:")}
    assert {key: amount for key, amount in totals(opened).items() if key[0].startswith("assets:")} == assets
    assert find_negative_balances(opened) == []
