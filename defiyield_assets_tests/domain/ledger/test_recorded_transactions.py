"""Real transactions: every one classified or explicitly unexplained, no dollar of income by assumption, no debts.

What a transaction was is known from the name of its source; nothing but these tests looks at that.
"""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.domain.ledger.accounts import CLASSIFICATIONS, NATIVE, ZERO_ADDRESS
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.sources.account_rows import account_frame, account_row
from defiyield_assets_tests.domain.ledger.facts import totals
from defiyield_assets_tests.domain.ledger.recorded_chain import (
    ACCOUNT,
    NO_CONTRACTS,
    Recorded,
    held_before,
    policy_of,
    prices_of,
    recorded_account,
    recorded_transactions,
)

pytestmark = pytest.mark.recorded

ENTER, LEAVE = {"unlisted_deposit"}, {"unlisted_withdrawal"}
TRADE = {"swap", "untrusted_swap"}
THROUGH_A_ZAP = {"untrusted_swap"}
"""Shares that a zap hands on or takes: their mint and burn are between others and in no list of ours."""
CANNOT_BE_TOLD = {"unexplained"}
"""No token of the pool moved, or what came back was ETH that contracts moved, which a receipt does not tell."""
CLAIM = {"reward"}
MONEY_CLAIM = {"unexplained"}
"""Money for nothing: a loan, a claim and a stake that comes back look alike, so it is never income."""
LOOKS_LIKE_A_CLAIM = {"reward"}
"""Collateral or a stake that came back without a token being burnt: worthless to us, so it costs no dollar."""
OTHERS = {"call"}
KINDS = {
    "aave_v3_withdraw_gnosis": LEAVE,
    "claim_incentives_reward": CLAIM,
    "aave_v3_scroll_deposit_eth": ENTER,
    "aave_v3_interest_on_transfer": {"unexplained", "external_out"},
    "aave_v3_disable_collateral": LEAVE,
    "aave_v3_liquidation": TRADE,
    "aave_v3_withdraw_arbitrum_one": LEAVE,
    "arbitrum_deposit_eth_gatewayv3": ENTER,
    "aave_v3_deposit_pol": ENTER,
    "aave_v3_collateral_swap": ENTER | TRADE,
    "aave_v3_repay": {"repay"},
    "aave_v3_borrow": {"borrow"},
    "aave_v3_withdraw_with_bigger_interest": LEAVE,
    "non_aave_tx": OTHERS,
    "aave_v3_borrow_optimism": {"borrow"},
    "aave_v3_deposit_bnb": ENTER,
    "aave_v3_enable_collateral_polygon": ENTER,
    "makerdao_sai_cdp_migration": OTHERS,
    "makerdao_sai_deposit_weth": CANNOT_BE_TOLD,
    "morpho_claim_reward_ethereum": OTHERS,
    "morpho_deposit_ethereum": ENTER,
    "morpho_withdraw_ethereum": LEAVE,
    "yearn_staking_deposit_zap": ENTER,
    "withdraw_yearn_v2_many_transfers_in_tx": LEAVE,
    "deposit_yearn_full_amount": ENTER,
    "deposit_yearn_v3": ENTER,
    "deposit_yearn_v2": ENTER,
    "withdraw_yearn_v1": LEAVE,
    "withdraw_yearn_v3": LEAVE,
    "yearn_v3_curve_savings_deposit": ENTER,
    "deposit_into_crvusd_savings": ENTER,
    "peg_keeper_update_provide": CLAIM,
    "borrow_more": MONEY_CLAIM,
    "withdraw_dai_from_sdai": CANNOT_BE_TOLD,
    "withdraw_usdc_from_savings": THROUGH_A_ZAP,
    "deposit_susds": {"swap"},
    "withdraw_xdai_from_sdai": CANNOT_BE_TOLD,
    "deposit_usdc_into_savings": THROUGH_A_ZAP,
    "deposit_xdai_to_sdai": ENTER,
    "susdc_ethereum_deposit": ENTER,
    "makerdao_simple_transaction": OTHERS,
    "add_liquidity": ENTER,
    "buy_yt": ENTER,
    "instant_unstake_staked_pendle_all_events": LEAVE,
    "redeem_pt_yt": LEAVE,
    "swap_using_odos": TRADE,
    "remove_liquidity": LEAVE,
    "mint_pt_yt": ENTER,
    "redeem_due_rewards_and_interests": CLAIM,
    "sell_yt": TRADE,
    "buy_pt": TRADE,
    "exit_post_exp_to_token": CANNOT_BE_TOLD,
    "swap_using_kyber": TRADE,
    "compound_liquidate": OTHERS,
    "compound_borrow": MONEY_CLAIM,
    "compound_multiple_comp_claim": CLAIM,
    "compound_repays_eth": CANNOT_BE_TOLD,
    "compound_ether_deposit": ENTER,
    "compound_comp_claim_last_transfer": CLAIM,
    "migrate_dai": TRADE,
    "migrate_sdai_susds": CANNOT_BE_TOLD,
    "direct_psm_swap": TRADE,
    "migrate_dai_usds": TRADE,
    "spark_staking": ENTER,
    "aave_v2_borrow_polygon": {"borrow"},
    "aave_withdraw_v1": LEAVE,
    "stake_reward_and_restake": CLAIM,
    "aave_v1_liquidation": TRADE,
    "aave_unstake": LEAVE,
    "aave_stake": ENTER,
    "polygon_incentives": CLAIM,
    "aave_v2_supply_ether": ENTER,
    "aave_deposit_v1": ENTER,
    "close_loan_using_collateral": LOOKS_LIKE_A_CLAIM,
    "add_collateral": CANNOT_BE_TOLD,
    "deposit_into_lending_vault_gauge": ENTER,
    "vault_withdraw": LEAVE,
    "claim_rewards_from_lending_vault_gauge": CLAIM,
    "remove_collateral": LOOKS_LIKE_A_CLAIM,
    "create_leveraged_position_with_collateral_asset": CANNOT_BE_TOLD,
    "vesting_escrow_rug_pull": OTHERS,
    "vesting_escrow_claim": MONEY_CLAIM,
    "vesting_escrow_grant": OTHERS,
    "optimism_supply_eth_with_wrapping": ENTER,
    "compound_v3_supply": ENTER,
    "arbitrum_one_withdraw_eth_with_unwrapping": CANNOT_BE_TOLD,
    "scroll_withdraw": LEAVE,
    "compound_v3_withdraw_collateral": LOOKS_LIKE_A_CLAIM,
    "compound_v3_claim_comp": CLAIM,
    "uniswap_v3_swap_by_universal_router": CANNOT_BE_TOLD,
    "receive_position_token_on_arbitrum": THROUGH_A_ZAP,
    "swap_on_base": TRADE,
    "swap_on_optimism": TRADE,
    "swap_tokens_to_tokens_single_receipt": TRADE,
    "uniswap_v3_swap": TRADE,
    "swap_eth_to_tokens_refund": TRADE,
    "uniswap_v3_universal_router_2": TRADE,
    "swap_tokens_to_eth": CANNOT_BE_TOLD,
    "uniswap_v3_create_lp_position_with_native_refund": CANNOT_BE_TOLD,
    "liquidity_withdrawal": THROUGH_A_ZAP,
    "curve_trade_token_to_token": TRADE,
    "withdraw_eure_arb": LEAVE,
    "curve_swap_router_base": TRADE,
    "curve_router_v1_2": TRADE,
    "tricrypto_deposit": ENTER,
    "twocrypto_removal": LEAVE,
    "gauge_claim_rewards": CLAIM,
    "gauge_deposit_and_stake": ENTER,
    "curve_trade_eth_to_token": TRADE,
    "gauge_withdraw": LOOKS_LIKE_A_CLAIM,
    "deposit_wxdai_and_eure_zap_with_intermediate_provider": THROUGH_A_ZAP,
    "vote_escrow_extend": OTHERS,
    "monerium_eure_v2": THROUGH_A_ZAP,
    "3pool_remove_liquidity": THROUGH_A_ZAP,
    "curve_deposit_add_liquidity_in_deposit_and_stake_topic": ENTER,
    "curve_usdn_remove_liquidity": THROUGH_A_ZAP,
    "gauge_deposit_optimism": ENTER,
    "deposit_via_zap_arbitrum": ENTER,
    "remove_from_aave_pool": LEAVE,
    "deposit_multiple_tokens": ENTER,
    "remove_liquidity_single_token_2": LEAVE,
    "fee_distributor_crvusd": MONEY_CLAIM,
}
"""What each source may be called; the names are the recorder's, without parameters."""

FOUND = {
    "unlisted_deposit": 31,
    "unlisted_withdrawal": 19,
    "untrusted_swap": 21,
    "swap": 7,
    "reward": 15,
    "call": 8,
    "borrow": 3,
    "repay": 1,
    "unexplained": 17,
}
"""The 122 different transactions of the 123 recorded pairs by kind, each seen alone: 86 % are classified."""


def short(name: str) -> str:
    return name.split("/")[1].split("[", maxsplit=1)[0].removeprefix("test_")


def book(
    frame: pd.DataFrame,
    wallets: set[tuple[int, str]],
    contracts: pd.DataFrame = NO_CONTRACTS,
    known: Collection[str] = (),
) -> pd.DataFrame:
    """Postings of a frame whose wallets held before what they give away; balanced, never negative."""
    policy = policy_of(wallets)
    whole = held_before(frame, wallets, known)
    postings = build_postings(whole, policy=policy, contracts=contracts, prices=prices_of(policy, set(whole["date"])))
    assert find_unbalanced(postings) == []
    assert find_negative_balances(postings) == []
    assert set(postings["classification"]) <= set(CLASSIFICATIONS)
    return postings


def kind_of(postings: pd.DataFrame, tx_hash: str) -> str:
    """What the transaction was as a whole: its gas says so."""
    own = postings[(postings["tx_hash"] == tx_hash) & (postings["account"] == "expenses:gas")]
    return str(own["classification"].iloc[0])


def dollars(postings: pd.DataFrame, tx_hash: str, account: str) -> float:
    """Dollars that a transaction posted to accounts that begin so."""
    own = postings[(postings["tx_hash"] == tx_hash) & postings["account"].str.startswith(account)]
    return float(sum(own["valued_usd"]))


def is_small(cost: float, postings: pd.DataFrame, tx_hash: str) -> bool:
    """No more than a trade costs: half a percent, or a few dollars at the made-up price of ETH."""
    own = postings[(postings["tx_hash"] == tx_hash) & (postings["amount"] > 0)]
    return abs(cost) < max(5, 0.005 * float(sum(own["valued_usd"])))


def test_every_recorded_transaction_is_classified_as_its_source_says_or_unexplained(recorded_data: Path) -> None:
    recorded, found = recorded_transactions(recorded_data), Counter[str]()
    assert sum(len(one.names) for one in recorded) == 123
    for one in recorded:
        tx_hash = one.frame["tx_hash"].iloc[0]
        postings = book(one.frame, {(one.chain_id, one.wallet)})
        kind = kind_of(postings, tx_hash)
        found[kind] += 1
        for name in one.names:
            assert kind in KINDS[short(name)], name
        assert dollars(postings, tx_hash, "income:") == 0, one.names
        assert is_small(dollars(postings, tx_hash, "equity:conversions"), postings, tx_hash), one.names
        assert abs(dollars(postings, tx_hash, "expenses:conversion")) == 0, one.names
    assert found == FOUND


def test_all_recorded_transactions_in_one_ledger_never_go_negative(recorded_data: Path) -> None:
    recorded = recorded_transactions(recorded_data)
    whole = pd.concat([one.frame for one in recorded], ignore_index=True)
    postings = book(whole, {(one.chain_id, one.wallet) for one in recorded})
    assert set(whole["tx_hash"]) <= set(postings["tx_hash"])


def test_gas_of_a_rollup_includes_the_fee_for_its_data(recorded_data: Path) -> None:
    recorded = {short(one.names[0]): one for one in recorded_transactions(recorded_data)}
    rollup = recorded["swap_on_optimism"].frame
    gas = rollup[rollup["kind"] == "gas"].iloc[0]
    surcharge = gas["value"] - gas["gas_used"] * gas["gas_price_wei"]
    assert surcharge > 0
    postings = book(rollup, {(10, recorded["swap_on_optimism"].wallet)})
    assert totals(postings)["expenses:gas", NATIVE] == gas["value"]


@pytest.mark.parametrize(("chain_id", "transactions"), [(1, 22), (10, 31)])
def test_recorded_account_keeps_every_balance_above_zero_without_any_opening(
    recorded_data: Path, chain_id: int, transactions: int
) -> None:
    frame = recorded_account(recorded_data, chain_id)
    assert frame["tx_hash"].nunique() == transactions
    policy = policy_of({(chain_id, ACCOUNT)})
    prices = prices_of(policy, set(frame["date"]))
    postings = build_postings(frame, policy=policy, contracts=NO_CONTRACTS, prices=prices)
    assert find_unbalanced(postings) == []
    assert find_negative_balances(postings) == []
    assert set(postings["tx_hash"]) == set(frame["tx_hash"])
    assert not any(account.startswith("income:") for account, _ in totals(postings))


def test_wrapping_is_told_the_right_way_round_whatever_the_vendor_made_of_it(recorded_data: Path) -> None:
    postings = book(recorded_account(recorded_data, 10), {(10, ACCOUNT)})
    wrap, unwrap = (
        next(name for name in postings["tx_hash"] if name.startswith(start)) for start in ("0xa483f4a4", "0x8d0b3f89")
    )
    weth, wallet = "0x4200000000000000000000000000000000000006", f"assets:wallet:{ACCOUNT}"
    assert (kind_of(postings, wrap), kind_of(postings, unwrap)) == ("wrap", "unwrap")
    assert totals(postings[postings["tx_hash"] == wrap])[wallet, weth] == 18 * 10**15
    assert totals(postings[postings["tx_hash"] == unwrap])[wallet, weth] == -20 * 10**15
    assert totals(postings[postings["tx_hash"] == wrap])["equity:unexplained", NATIVE] == 18 * 10**15


USDC, USDT = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "0xdac17f958d2ee523a2206206994597c13d831ec7"
DAI, CRVUSD = "0x6b175474e89094c44da98b954eedeac495271d0f", "0xf939e0a03fb07f59a73314e73794be0e57ac1b4e"
USDS = "0xdc035d45d973e3ec169d2276ddab16f1e407384f"
AAVE_V3, CURVE_AAVE = "0x87870bca3f3fd6335c3f4ce8392d69350b4fa4e2", "0xdebf20617708857ebe4f679508e7b7863a8a8eee"
LISTED = {
    # pool: share token, contract that takes deposits, underlying
    "aave-usdt": ("0x23878914efe38d27c4d67ab83ed1b93a74d4086a", AAVE_V3, USDT),
    "aave-usdc": ("0x98c23e9d8f34fefb1b7bd6a91b7ff122f4e16f5c", AAVE_V3, USDC),
    "aave-v1-dai": (
        "0xfc1e690f61efd961294b3e1ce3313fbd8aa4f85d",
        "0x398ec7346dcd622edc5ae82352f02be94c62d119",
        DAI,
    ),
    "compound-usdc": (*["0xc3d688b66703497daa19211eedff47f25384cdc3"] * 2, USDC),
    "yearn-dai": (*["0xda816459f1ab5631232fe5e97a05bbbb94970c95"] * 2, DAI),
    "yearn-v3-dai": (*["0x028ec7330ff87667b6dfb0d94b954c820195336c"] * 2, DAI),
    "yearn-crvusd": (*["0xbf319ddc2edc1eb6fdf9910e39b37be221c8805f"] * 2, CRVUSD),
    "savings-crvusd": (*["0x0655977feb2f289a4ab78af67bab0d17aab84367"] * 2, CRVUSD),
    "savings-usdc": (*["0xbc65ad17c5c0a2a4d159fa5a503f4992c7b545fe"] * 2, USDC),
    "savings-usds": (*["0xa3931d71877c0e7a3148cb7eb4463524fec27fbd"] * 2, USDS),
    "morpho-usdc": (*["0xd63070114470f685b75b74d60eec7c1113d33a3d"] * 2, USDC),
    "curve-crypto": (*["0x027b40f5917fcd0eac57d7015e120096a5f92ca9"] * 2, CRVUSD),
    "curve-aave": ("0xfd2a8fa60abd58efe3eee34dd494cd491dc14900", CURVE_AAVE, DAI),
    "curve-susd": (
        "0xc25a3a3b969415c80451098fa907ec722572917f",
        "0xa5407eae9ba41422680e2e00537571bcc53efbfd",
        DAI,
    ),
}
"""Real contracts, as an analyst would list them in `pool_contracts`."""
WITH_POOLS = {
    "aave_v3_withdraw_with_bigger_interest": ("withdrawal", "aave-usdt"),
    "aave_withdraw_v1": ("withdrawal", "aave-v1-dai"),
    "aave_deposit_v1": ("deposit", "aave-v1-dai"),
    "compound_v3_supply": ("deposit", "compound-usdc"),
    "withdraw_yearn_v2_many_transfers_in_tx": ("withdrawal", "yearn-dai"),
    "withdraw_yearn_v3": ("withdrawal", "yearn-v3-dai"),
    "deposit_yearn_v3": ("deposit", "yearn-crvusd"),
    "yearn_v3_curve_savings_deposit": ("deposit", "savings-crvusd"),
    "susdc_ethereum_deposit": ("deposit", "savings-usdc"),
    "deposit_susds": ("deposit", "savings-usds"),
    "morpho_deposit_ethereum": ("deposit", "morpho-usdc"),
    "morpho_withdraw_ethereum": ("withdrawal", "morpho-usdc"),
    "twocrypto_removal": ("withdrawal", "curve-crypto"),
    "remove_from_aave_pool": ("withdrawal", "curve-aave"),
    "deposit_multiple_tokens": ("deposit", "curve-susd"),
}


def contracts() -> pd.DataFrame:
    rows = [(pool, share, 1, contract, 18, False, "test") for pool, (share, contract, _) in LISTED.items()]
    return pd.DataFrame(rows, columns=list(NO_CONTRACTS.columns))


def after_a_deposit(one: Recorded, pool: str, shares: int, paid: int) -> pd.DataFrame:
    """The transaction after one that paid `paid` into the pool for `shares`, on the day before."""
    share, contract, underlying = LISTED[pool]
    when = one.frame["block_time"].iloc[0].to_pydatetime() - pd.Timedelta(hours=13)
    moves = ((underlying, one.wallet, contract, paid), (share, ZERO_ADDRESS, one.wallet, shares))
    rows = [
        account_row(
            chain_id=1,
            tx_hash="0x" + "d0" * 32,
            kind="token",
            block_number=2,
            block_time=when,
            from_address=sender,
            to_address=receiver,
            value=value,
            source="test",
            token_address=token,
        )
        for token, sender, receiver, value in moves
    ]
    return pd.concat([account_frame(rows), one.frame], ignore_index=True)


@pytest.mark.parametrize("name", sorted(WITH_POOLS))
def test_with_its_pool_listed_the_money_is_in_the_pool_and_only_its_growth_is_income(
    recorded_data: Path, name: str
) -> None:
    one = next(one for one in recorded_transactions(recorded_data) if name in {short(name) for name in one.names})
    kind, pool = WITH_POOLS[name]
    share, _, underlying = LISTED[pool]
    moved = one.frame[one.frame["token_address"] == underlying]
    amount = sum(moved["value"])
    frame = one.frame
    if kind == "withdrawal":
        of_shares = one.frame[one.frame["token_address"] == share]
        net = sum(
            value if receiver == one.wallet else -value
            for value, receiver in zip(of_shares["value"], of_shares["to_address"], strict=True)
        )
        frame = after_a_deposit(one, pool, abs(net), amount * 9 // 10)
    postings = book(frame, {(1, one.wallet)}, contracts(), known={share} if kind == "withdrawal" else ())
    tx_hash = one.frame["tx_hash"].iloc[0]
    own = totals(postings[postings["tx_hash"] == tx_hash])
    assert kind_of(postings, tx_hash) == kind
    assert dollars(postings, tx_hash, "equity:unexplained") == 0
    assert ("equity:conversions", underlying) not in own
    if kind == "deposit":
        assert own[f"assets:pool:{pool}", underlying] == amount
        assert dollars(postings, tx_hash, "income:") == 0
    else:
        assert own[f"assets:pool:{pool}", underlying] == -(amount * 9 // 10)
        assert own[f"income:yield:{pool}", underlying] == -(amount - amount * 9 // 10)


@pytest.mark.nightly
def test_listing_pools_turns_no_recorded_transaction_into_income(recorded_data: Path) -> None:
    for one in recorded_transactions(recorded_data):
        postings = book(one.frame, {(one.chain_id, one.wallet)}, contracts())
        tx_hash = one.frame["tx_hash"].iloc[0]
        assert dollars(postings, tx_hash, "income:") == 0, one.names
        assert is_small(dollars(postings, tx_hash, "equity:conversions"), postings, tx_hash), one.names
