"""Shapes of transactions: what each is called, and where its money goes. Nothing hostile becomes income or a cost."""

import pandas as pd
import pytest

from defiyield_assets.domain.ledger.accounts import NATIVE, ZERO_ADDRESS, AddressBook
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced
from defiyield_assets.domain.ledger.classify import LARGEST_FEE_WEI, PLAIN_GAS, Holding, attribute
from defiyield_assets.domain.ledger.explanation import explain_alone
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.wrapping import COIN_AS_TOKEN, WRAPPED
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
    STRANGER,
    SUSD,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
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
WETH = WRAPPED[1]
DEBT = "0x" + "de" * 20
LP = "0x" + "1b" * 20
WARM_WALLET = f"assets:wallet:{WARM}"
Move = tuple[str, str, str, int]


def book(chain: Chain) -> pd.DataFrame:
    postings = build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)
    assert find_unbalanced(postings) == []
    assert find_negative_balances(postings) == []
    return postings


def stocked() -> Chain:
    """The golden case, with unlisted shares and debt tokens of which the warm wallet holds some, and DAI."""
    chain = golden_chain()
    for token in (LP, DEBT, CRV, WETH):
        chain.send((token, BANK, WARM, 10**20))
    chain.send((DAI, BANK, WARM, 5_000 * 10**18))
    return chain


def one(*moves: Move, gas_used: int | None = 21_000, **options: object) -> tuple[set[str], dict[tuple[str, str], int]]:
    """Classifications and non-zero sums of one transaction after the stocked chain; sent by warm unless told."""
    chain = stocked()
    tx = chain.send(*moves, **{"sender": WARM, **options})  # type: ignore[arg-type]
    if chain.rows[-1]["kind"] == "gas":
        chain.rows[-1]["gas_used"] = gas_used
        chain.rows[-1]["gas_price_wei"] = None
    postings = book(chain)
    own = postings[postings["tx_hash"] == tx]
    gas = own["account"] == "expenses:gas"
    names = set(own.loc[gas, "classification"]) if gas.any() else set(own["classification"])
    return names, totals(own)


def no_dollars(found: dict[tuple[str, str], int]) -> bool:
    """Whether nothing trusted is on income, on costs or on capital; gas aside."""
    trusted, counted = {USDC, DAI, SUSD, NATIVE}, ("income:", "expenses:conversion", "equity:external", "equity:conv")
    return not any(token in trusted and account.startswith(counted) for account, token in found)


# --- pools that nobody listed ---
@pytest.mark.parametrize(
    ("moves", "name", "left"),
    [
        (((USDC, WARM, STRANGER, usd(100)), mint(LP, WARM, 5)), "unlisted_deposit", (USDC, usd(100))),
        (((USDC, WARM, ROUTER, usd(100)), (LP, LP, WARM, 5)), "unlisted_deposit", (USDC, usd(100))),
        (
            ((USDC, WARM, ROUTER, usd(100)), (DAI, ROUTER, WARM, 10**18), mint(LP, WARM, 5)),
            "unlisted_deposit",
            (USDC, usd(100)),
        ),
        (((USDC, STRANGER, WARM, usd(100)), burn(LP, WARM, 5)), "unlisted_withdrawal", (USDC, -usd(100))),
        (((USDC, STRANGER, WARM, usd(100)), (LP, WARM, LP, 5)), "unlisted_withdrawal", (USDC, -usd(100))),
        (((USDC, DEBT, WARM, usd(100)), mint(DEBT, WARM, 3)), "unlisted_withdrawal", (USDC, -usd(100))),
        (((USDC, WARM, ROUTER, usd(100)), (CRV, STRANGER, WARM, 5)), "untrusted_swap", (USDC, usd(100))),
        (((USDC, ROUTER, WARM, usd(100)), (CRV, WARM, ROUTER, 5)), "untrusted_swap", (USDC, -usd(100))),
        (((USDC, STRANGER, WARM, usd(100)), mint(DEBT, WARM, usd(100))), "borrow", (USDC, -usd(100))),
        (((USDC, STRANGER, WARM, usd(100)), mint(DEBT, WARM, usd(200))), "borrow", (USDC, -usd(100))),
        (((USDC, WARM, STRANGER, usd(100)), burn(DEBT, WARM, usd(99))), "repay", (USDC, usd(100))),
        (((USDC, WARM, STRANGER, usd(100)), burn(DEBT, WARM, usd(50))), "repay", (USDC, usd(100))),
    ],
)
def test_money_of_pools_that_nobody_listed_is_named_and_left_unexplained(
    moves: tuple[Move, ...], name: str, left: tuple[str, int]
) -> None:
    names, found = one(*moves)
    assert names == {name}
    assert found["equity:unexplained", left[0]] == left[1]
    assert no_dollars(found)


@pytest.mark.parametrize(
    ("moves", "name"),
    [
        (((CRV, WARM, STRANGER, 7), mint(LP, WARM, 5)), "unlisted_deposit"),
        (((CRV, STRANGER, WARM, 7), burn(LP, WARM, 5)), "unlisted_withdrawal"),
        (((CRV, WARM, STRANGER, 7), (LP, STRANGER, WARM, 5)), "untrusted_swap"),
    ],
)
def test_what_costs_no_dollars_is_named_too_and_is_not_unexplained(moves: tuple[Move, ...], name: str) -> None:
    names, found = one(*moves)
    assert names == {name}
    assert not any(account == "equity:unexplained" for account, _ in found)
    assert ("equity:conversions", LP) in found


@pytest.mark.parametrize(
    "moves",
    [
        ((USDC, STRANGER, WARM, usd(100)),),
        ((USDC, STRANGER, WARM, usd(100)), mint(DEBT, WARM, usd(99))),
        ((USDC, STRANGER, WARM, usd(100)), mint(DEBT, WARM, usd(201))),
        ((SUSD, ZERO_ADDRESS, WARM, 10**18),),
    ],
)
def test_money_for_nothing_in_our_own_transaction_is_never_a_reward(moves: tuple[Move, ...]) -> None:
    names, found = one(*moves)
    assert names <= {"unexplained", "reward"}
    assert no_dollars(found)
    assert ("equity:unexplained", moves[0][0]) in found


def test_worthless_claims_are_rewards_and_loans_in_a_payment_of_somebody_else_are_none() -> None:
    assert one((FAKE_USDC, STRANGER, WARM, 5)) == (
        {"reward"},
        {
            (WARM_WALLET, FAKE_USDC): 5,
            ("income:rewards", FAKE_USDC): -5,
            (WARM_WALLET, NATIVE): -GAS_WEI,
            ("expenses:gas", NATIVE): GAS_WEI,
        },
    )
    names, found = one((USDC, STRANGER, WARM, usd(1)), mint(DEBT, WARM, usd(1)), sender=None)
    assert names == {"external_in", "UNTRUSTED_TOKEN"}
    assert found[f"equity:external:{STRANGER}", USDC] == -usd(1)


# --- swaps ---
@pytest.mark.parametrize(
    ("gained", "name"),
    [(50, "swap"), (49, "unexplained"), (200, "swap"), (201, "unexplained"), (1, "unexplained")],
)
def test_dollars_for_dollars_must_be_of_one_worth(gained: int, name: str) -> None:
    for sender in (WARM, None):
        names, found = one((USDC, WARM, ROUTER, usd(100)), (DAI, ROUTER, WARM, gained * 10**18), sender=sender)
        assert names == {name}
        account = "equity:conversions" if name == "swap" else "equity:unexplained"
        assert found[account, USDC] == usd(100)
        assert found[account, DAI] == -gained * 10**18


def test_several_legs_of_a_swap_count_together() -> None:
    names, _ = one((USDC, WARM, ROUTER, usd(60)), (DAI, WARM, ROUTER, 40 * 10**18), (NATIVE, ROUTER, WARM, 5 * 10**16))
    assert names == {"swap"}
    chain = stocked()
    chain.send((USDC, BANK, WARM, usd(50)))
    tx = chain.send((USDC, WARM, ROUTER, usd(60)), (USDC, ROUTER, WARM, usd(10)), (DAI, STRANGER, WARM, 49 * 10**18))
    postings = book(chain)
    assert set(postings.loc[postings["tx_hash"] == tx, "classification"]) == {"swap"}


@pytest.mark.parametrize(
    ("wei", "name"),
    [
        (10**18, "swap"),
        (10**15, "swap"),
        (2 * 10**18, "swap"),
        (2 * 10**18 + 1, "unexplained"),
        (10**15 - 1, "unexplained"),
        (1, "unexplained"),
    ],
)
def test_a_speck_of_eth_for_dollars_is_change_and_not_the_other_side(wei: int, name: str) -> None:
    names, found = one((USDC, WARM, ROUTER, usd(100)), internal=[(ROUTER, WARM, wei)])
    assert names == {name}
    assert no_dollars(found) is (name == "unexplained")
    chain = stocked()
    chain.send((NATIVE, BANK, WARM, 10**19))
    tx = chain.send((NATIVE, WARM, ROUTER, wei), (USDC, ROUTER, WARM, usd(100)), sender=WARM)
    postings = book(chain)
    assert set(postings.loc[postings["tx_hash"] == tx, "classification"]) == {name}


def test_change_in_eth_does_not_spoil_a_fair_swap() -> None:
    swap = ((USDC, WARM, ROUTER, usd(100)), (DAI, ROUTER, WARM, 99 * 10**18))
    assert one(*swap, internal=[(ROUTER, WARM, 1)])[0] == {"swap"}
    lopsided = ((USDC, WARM, ROUTER, usd(100)), (DAI, ROUTER, WARM, 10**18))
    assert one(*lopsided, internal=[(ROUTER, WARM, 1)])[0] == {"unexplained"}
    assert one(*lopsided, internal=[(ROUTER, WARM, 5 * 10**16)])[0] == {"swap"}


def test_what_is_not_a_dollar_is_a_swap_only_when_we_sent_it() -> None:
    moves = ((USDC, WARM, ROUTER, usd(100)), (SUSD, ROUTER, WARM, 10**18))
    assert one(*moves)[0] == {"swap"}
    names, found = one(*moves, sender=None)
    assert names == {"unexplained"}
    assert no_dollars(found)


def test_allowance_drained_for_a_speck_or_for_a_fake_is_unexplained() -> None:
    for bait in ((DAI, STRANGER, WARM, 1), mint(FAKE_USDC, WARM, usd(4_000)), (CRV, STRANGER, WARM, 10**18)):
        names, found = one((USDC, WARM, STRANGER, usd(4_000)), bait, sender=None)
        assert names == {"unexplained"}
        assert found["equity:unexplained", USDC] == usd(4_000)
        assert no_dollars(found)


def test_money_that_somebody_else_pulls_is_not_capital_that_we_paid() -> None:
    names, found = one((USDC, WARM, STRANGER, usd(4_000)), sender=None)
    assert names == {"unexplained"}
    assert found["equity:unexplained", USDC] == usd(4_000)
    assert one((CRV, WARM, STRANGER, 5), sender=None)[0] == {"external_out"}
    assert one((CRV, WARM, STRANGER, 5), sender=BANK, gas_used=PLAIN_GAS + 1)[0] == {"external_out"}
    assert one((USDC, WARM, STRANGER, 5), (CRV, WARM, STRANGER, 5), sender=None)[0] == {"unexplained"}
    assert one((USDC, WARM, STRANGER, usd(4_000)))[0] == {"external_out"}


@pytest.mark.parametrize("extra", [(FAKE_USDC, STRANGER, WARM, 5), (CRV, WARM, STRANGER, 5)])
def test_money_for_money_beside_something_worthless_is_unexplained(extra: Move) -> None:
    names, found = one((USDC, WARM, ROUTER, usd(100)), (DAI, ROUTER, WARM, 99 * 10**18), extra)
    assert names == {"unexplained"}
    assert no_dollars(found)


@pytest.mark.parametrize(("fee", "is_fee"), [(LARGEST_FEE_WEI, True), (LARGEST_FEE_WEI + 1, False)])
def test_only_a_little_eth_is_a_fee(fee: int, is_fee: bool) -> None:
    names, found = one((USDC, WARM, ROUTER, usd(100)), (NATIVE, WARM, ROUTER, fee), (DAI, ROUTER, WARM, 99 * 10**18))
    assert names == ({"swap"} if is_fee else {"unexplained"})
    assert (found.get(("equity:conversions", USDC)) == usd(100)) is is_fee
    assert (found.get(("expenses:conversion", NATIVE)) == fee) is is_fee
    names, found = one((USDC, WARM, VAULT, usd(100)), (NATIVE, WARM, ROUTER, fee), mint(VAULT_SHARE, WARM, 95 * 10**18))
    assert names == {"deposit"}
    assert (found.get(("expenses:conversion", NATIVE)) == fee) is is_fee
    assert (found.get(("equity:unexplained", NATIVE)) == fee) is not is_fee
    _, found = one(
        (USDC, VAULT, WARM, usd(4_000)), (NATIVE, WARM, ROUTER, fee), burn(VAULT_SHARE, WARM, 3_800 * 10**18)
    )
    assert (found.get(("expenses:conversion", NATIVE)) == fee) is is_fee
    assert (found.get(("equity:unexplained", NATIVE)) == fee) is not is_fee


def test_eth_fee_does_not_make_an_unfair_swap_fair_and_change_of_a_fee_is_a_cost() -> None:
    moves = ((USDC, WARM, ROUTER, usd(100)), (NATIVE, WARM, ROUTER, 9), (DAI, ROUTER, WARM, 10**18))
    assert one(*moves)[0] == {"unexplained"}
    invested = ((USDC, WARM, ROUTER, usd(100)), (NATIVE, WARM, ROUTER, 2 * 10**17), (DAI, ROUTER, WARM, 110 * 10**18))
    assert one(*invested)[0] == {"unexplained"}
    _, found = one(
        (USDC, VAULT, WARM, usd(4_000)),
        (NATIVE, WARM, ROUTER, 9),
        burn(VAULT_SHARE, WARM, 3_800 * 10**18),
        internal=[(ROUTER, WARM, 4)],
    )
    assert found["expenses:conversion", NATIVE] == 5
    assert ("income:rewards", NATIVE) not in found


def test_what_only_passes_through_is_no_capital() -> None:
    names, found = one((USDC, STRANGER, WARM, usd(500)), (USDC, WARM, BANK, usd(500)))
    assert names == {"swap"}
    assert not any(token == USDC for _, token in found)
    assert one((USDC, STRANGER, WARM, 5), (USDC, WARM, BANK, 5), gas_used=PLAIN_GAS + 1)[0] == {"swap"}


# --- gas as evidence ---
@pytest.mark.parametrize(
    ("gas_used", "name"), [(PLAIN_GAS, "external_out"), (PLAIN_GAS + 1, "unexplained"), (None, "external_out")]
)
def test_who_used_more_gas_than_a_payment_did_something_else(gas_used: int | None, name: str) -> None:
    names, found = one((USDC, WARM, STRANGER, usd(100)), gas_used=gas_used)
    assert names == {name}
    account = "equity:unexplained" if name == "unexplained" else f"equity:external:{STRANGER}"
    assert found[account, USDC] == usd(100)


@pytest.mark.parametrize(("gas_used", "name"), [(PLAIN_GAS, "approve"), (PLAIN_GAS + 1, "call"), (None, "approve")])
def test_gas_alone_is_an_approval_or_a_call(gas_used: int | None, name: str) -> None:
    assert one(gas_used=gas_used)[0] == {name}


def test_money_that_is_burnt_is_unexplained() -> None:
    names, found = one((USDC, WARM, ZERO_ADDRESS, usd(5)))
    assert names == {"unexplained"}
    assert found["equity:unexplained", USDC] == usd(5)
    assert one((USDC, WARM, STRANGER, 5), (CRV, WARM, ZERO_ADDRESS, 50))[0] == {"unexplained"}


def test_failed_transaction_is_failed_whatever_gas_it_used() -> None:
    assert one((USDC, WARM, STRANGER, usd(5)), gas_used=PLAIN_GAS + 1, success=False)[0] == {"failed"}


# --- wrapped coin ---
@pytest.mark.parametrize("told", [[], [mint(WETH, WARM, 10**17)], [burn(WETH, WARM, 10**17)]])
def test_wrapping_gives_tokens_for_coin_however_it_is_told(told: list[Move]) -> None:
    names, found = one((NATIVE, WARM, WETH, 10**17), *told)
    assert names == {"wrap"}
    assert found[WARM_WALLET, WETH] == 10**17
    assert found[WARM_WALLET, NATIVE] == -(10**17) - GAS_WEI
    assert found["equity:unexplained", NATIVE] == 10**17
    assert no_dollars(found)


@pytest.mark.parametrize("told", [[], [burn(WETH, WARM, 10**17)], [mint(WETH, WARM, 10**17)]])
def test_unwrapping_gives_coin_for_tokens_however_it_is_told(told: list[Move]) -> None:
    names, found = one(*told, internal=[(WETH, WARM, 10**17)])
    assert names == {"unwrap"}
    assert found[WARM_WALLET, WETH] == -(10**17)
    assert found["equity:unexplained", NATIVE] == -(10**17)


def test_wrapped_coin_that_is_approved_is_converted_and_other_amounts_are_kept() -> None:
    policy = make_policy()
    token = type(policy.tokens[0])("WETH", "Ethereum", WETH, 18, "Ether", peg="other")
    trusting = type(policy)(policy.parameters, (*policy.tokens, token), (), wallets=policy.wallets)
    chain = golden_chain()
    chain.send((NATIVE, WARM, WETH, 10**17), mint(WETH, WARM, 3), sender=WARM)
    prices = make_prices(trusting, WETH=[2_000.0])
    postings = build_postings(chain.frame(), policy=trusting, contracts=CONTRACTS, prices=prices)
    own = postings[postings["block_number"] == chain.block]
    assert totals(own)["equity:conversions", NATIVE] == 10**17
    assert totals(own)[WARM_WALLET, WETH] == 10**17 + 3
    assert sum(own.loc[own["account"] == "equity:conversions", "valued_usd"]) == pytest.approx(0, abs=1e-10)
    chain.send(sender=WARM, internal=[(WETH, WARM, 10**17)])
    postings = build_postings(chain.frame(), policy=trusting, contracts=CONTRACTS, prices=prices)
    back = totals(postings[postings["block_number"] == chain.block])
    assert (back["equity:conversions", NATIVE], back["equity:conversions", WETH]) == (-(10**17), 10**17)


def test_wrapped_coin_of_others_and_coin_told_as_a_token() -> None:
    names, found = one((NATIVE, STRANGER, WETH, 10**17), mint(WETH, STRANGER, 10**17))
    assert names == {"approve"}
    assert (WARM_WALLET, WETH) not in found
    chain = Chain()
    policy = make_policy()
    wallet = type(policy.wallets[0])("rollup", 10, WARM)
    policy = type(policy)(policy.parameters, policy.tokens, (), wallets=(wallet,))
    chain.send((COIN_AS_TOKEN[10], ZERO_ADDRESS, WARM, 9), chain_id=10)
    chain.send((COIN_AS_TOKEN[10], STRANGER, WARM, 5), chain_id=10)
    postings = build_postings(chain.frame(), policy=policy, contracts=CONTRACTS, prices=make_prices(policy))
    assert totals(postings)[WARM_WALLET, NATIVE] == 9
    assert totals(postings)[WARM_WALLET, COIN_AS_TOKEN[10]] == 5


# --- listed pools beside something that nobody listed ---
def test_router_money_beside_an_unlisted_share_is_not_all_in_the_listed_pool() -> None:
    _, found = one((USDC, WARM, ROUTER, usd(1_000)), mint(VAULT_SHARE, WARM, 10**18), mint(LP, WARM, 5))
    assert ("assets:pool:vault", USDC) not in found
    assert found["equity:unexplained", USDC] == usd(1_000)
    _, found = one(
        (USDC, WARM, VAULT, usd(100)),
        (USDC, WARM, ROUTER, usd(900)),
        mint(VAULT_SHARE, WARM, 10**18),
        mint(LP, WARM, 5),
    )
    assert found["assets:pool:vault", USDC] == usd(100)
    assert found["equity:unexplained", USDC] == usd(900)


def test_eth_fee_beside_an_unlisted_share_is_unexplained() -> None:
    _, found = one(
        (USDC, WARM, VAULT, usd(100)), (NATIVE, WARM, ROUTER, 9), mint(VAULT_SHARE, WARM, 10**18), mint(LP, WARM, 5)
    )
    assert found["equity:unexplained", NATIVE] == 9


def test_loan_beside_a_withdrawal_is_no_yield() -> None:
    moves = ((USDC, VAULT, WARM, usd(9_000)), burn(VAULT_SHARE, WARM, 3_800 * 10**18))
    _, found = one(*moves, mint(DEBT, WARM, usd(5_000)))
    assert found["equity:unexplained", USDC] == -usd(5_000)
    assert not any(account.startswith("income:yield") for account, _ in found)
    assert one(*moves)[1]["income:yield:vault", USDC] == -usd(5_000)


def test_pool_that_gave_something_worthless_for_money_did_not_convert_it() -> None:
    _, found = one((CRV, VAULT, WARM, 5), burn(VAULT_SHARE, WARM, 3_800 * 10**18))
    assert found["equity:unexplained", USDC] == usd(4_000)
    assert ("equity:conversions", USDC) not in found
    _, found = one((CRV, VAULT, WARM, 5), (DAI, VAULT, WARM, 10**18), burn(VAULT_SHARE, WARM, 3_800 * 10**18))
    assert found["equity:unexplained", USDC] == usd(4_000)
    assert no_dollars(found)


def test_other_money_beside_a_full_withdrawal_is_a_reward_only_from_the_pool_itself() -> None:
    moves = ((USDC, VAULT, WARM, usd(4_000)), burn(VAULT_SHARE, WARM, 3_800 * 10**18))
    assert one(*moves, (DAI, STRANGER, WARM, 7))[1]["equity:unexplained", DAI] == -7
    assert one(*moves, (DAI, VAULT, WARM, 7))[1]["income:rewards", DAI] == -7
    assert one(*moves, (DAI, VAULT_SHARE, WARM, 7))[1]["income:rewards", DAI] == -7
    assert one(*moves, (DAI, VAULT, WARM, 7), (DAI, STRANGER, WARM, 7))[1]["equity:unexplained", DAI] == -14
    assert one(*moves, (CRV, STRANGER, WARM, 7))[1]["income:rewards", CRV] == -7
    assert one(*moves, internal=[(STRANGER, WARM, 7)])[1]["equity:unexplained", NATIVE] == -7


def test_pool_that_pays_its_composition_takes_the_shortage_against_the_surplus() -> None:
    _, found = one((USDC, VAULT, WARM, usd(1_000)), (DAI, ROUTER, WARM, 7), burn(VAULT_SHARE, WARM, 3_800 * 10**18))
    assert found["income:yield:vault", USDC] == usd(3_000)
    assert found["income:rewards", DAI] == -7


def test_other_money_beside_a_deposit_is_a_reward_only_from_the_pool_itself() -> None:
    moves = ((USDC, WARM, VAULT, usd(100)), mint(VAULT_SHARE, WARM, 10**18))
    assert one(*moves, (DAI, STRANGER, WARM, 7))[1]["equity:unexplained", DAI] == -7
    assert one(*moves, (DAI, VAULT, WARM, 7))[1]["income:rewards", DAI] == -7
    assert one(*moves, (CRV, STRANGER, WARM, 7))[1]["income:rewards", CRV] == -7


def test_unknown_pool_that_pays_money_may_pay_back_a_deposit() -> None:
    assert one((DAI, PAIR, WARM, 7), sender=None)[0] == {"unexplained"}
    assert one((CRV, PAIR, WARM, 7), sender=None)[0] == {"reward"}
    assert one((DAI, VAULT, WARM, 7), sender=None)[0] == {"reward"}
    assert one((USDC, VAULT, WARM, 7), sender=None)[0] == {"unexplained"}
    assert one(mint(PAIR_SHARE, WARM, 7), (DAI, PAIR, WARM, 7))[1]["equity:unexplained", DAI] == -7


def test_rebasing_shares_that_grew_by_more_than_was_withdrawn_are_a_withdrawal() -> None:
    for source in (VAULT, VAULT_SHARE):
        names, found = one((USDC, source, WARM, usd(1_000)), mint(VAULT_SHARE, WARM, 5))
        assert names == {"withdrawal"}
        assert found["assets:pool:vault", USDC] == -usd(1_000)
        assert found["assets:pool:vault", VAULT_SHARE] == 5
        assert no_dollars(found)
    _, found = one((USDC, VAULT, WARM, usd(4_500)), mint(VAULT_SHARE, WARM, 5))
    assert found["assets:pool:vault", USDC] == -usd(4_000)
    assert found["income:yield:vault", USDC] == -usd(500)
    _, found = one((USDC, STRANGER, WARM, usd(1_000)), mint(VAULT_SHARE, WARM, 5))
    assert found["equity:unexplained", USDC] == -usd(1_000)
    assert ("assets:pool:vault", USDC) not in found


def test_several_pools_are_told_apart_by_contract_or_share_token() -> None:
    book = AddressBook.of(POLICY, CONTRACTS)
    holdings = [Holding(1, WARM, "vault"), Holding(1, WARM, "other")]
    assert attribute(VAULT, holdings, book) == holdings[0]
    assert attribute(OTHER_SHARE, holdings, book) == holdings[1]
    assert attribute(ROUTER, holdings, book) is None
    assert attribute(ROUTER, holdings[:1], book) == holdings[0]
    assert attribute(ROUTER, [], book) is None
    assert attribute(OTHER, [Holding(1, WARM, "vault"), Holding(1, COLD, "vault")], book) is None


# --- an address that gave or got ---
def test_nobody_owes_us_what_was_burnt() -> None:
    chain = stocked()
    chain.send((USDC, STRANGER, WARM, usd(1)), burn(LP, WARM, 5), sender=WARM)
    bridged = chain.send((DAI, ZERO_ADDRESS, WARM, 10**18))
    postings = book(chain)
    assert set(postings.loc[postings["tx_hash"] == bridged, "classification"]) == {"external_in"}


def test_change_beside_a_payment_is_no_claim_and_comes_back_as_what_it_was() -> None:
    chain = stocked()
    tx = chain.send((USDC, WARM, STRANGER, usd(10)), (USDC, STRANGER, WARM, usd(4)), sender=WARM)
    found = totals(book(chain)[lambda frame: frame["tx_hash"] == tx])
    assert found[f"equity:external:{STRANGER}", USDC] == usd(6)


def test_claim_in_two_tokens_with_one_that_passes_through_is_a_claim() -> None:
    names, found = one((CRV, STRANGER, WARM, 5), (LP, ROUTER, WARM, 9), (LP, WARM, LP, 9))
    assert names == {"reward"}
    assert found["income:rewards", CRV] == -5
    assert not any(token == LP for _, token in found)


def test_transaction_alone_is_explained_without_its_history() -> None:
    chain = Chain()
    first = chain.send((USDC, STRANGER, WARM, usd(100)), burn(LP, WARM, 5), sender=WARM)
    second = chain.send((CRV, WARM, STRANGER, 5), (USDC, STRANGER, WARM, 7), sender=WARM)
    explained = dict(explain_alone(chain.frame(), AddressBook.of(POLICY, CONTRACTS), PRICES.is_trusted))
    assert {leg.classification for leg in explained[first]} == {"unlisted_withdrawal"}
    assert {leg.classification for leg in explained[second]} == {"untrusted_swap"}
    assert sum(leg.amount for leg in explained[first] if leg.token == LP) == 0
    assert any(leg.token == LP and leg.amount == -5 for leg in explained[first])


# --- one name for the whole ---
def test_gas_is_named_after_what_the_transaction_was_for() -> None:
    moves = ((USDC, WARM, VAULT, usd(100)), mint(VAULT_SHARE, WARM, 10**18), (USDC, WARM, COLD, usd(1)))
    chain = stocked()
    tx = chain.send(*moves, (FAKE_USDC, STRANGER, WARM, 3), sender=WARM)
    postings = book(chain)
    gas = postings[(postings["tx_hash"] == tx) & (postings["account"] == "expenses:gas")]
    assert set(gas["classification"]) == {"deposit"}
    assert set(gas["pool_id"]) == {"vault"}


def test_wrapped_coin_for_dollars_is_no_wrapping_and_worthless_exchanges_need_no_sender() -> None:
    assert one((USDC, WARM, ROUTER, usd(100)), mint(WETH, WARM, 10**16))[0] == {"unlisted_deposit"}
    assert one((NATIVE, WARM, ROUTER, 10**16), (WETH, ROUTER, WARM, 10**16))[0] == {"untrusted_swap"}
    assert one((CRV, WARM, STRANGER, 7), mint(LP, WARM, 5), sender=None)[0] == {"unlisted_deposit"}


def test_coin_that_is_sold_is_no_fee_because_something_passed_through() -> None:
    names, _ = one(
        (NATIVE, WARM, ROUTER, 5 * 10**16),
        (DAI, WARM, ROUTER, 5),
        (DAI, ROUTER, WARM, 5),
        (USDC, ROUTER, WARM, usd(100)),
    )
    assert names == {"swap"}
