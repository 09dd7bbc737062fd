"""Building the problem: missing facts are errors that name them; modes mean what they say."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from defiyield_assets.domain.allocation.problem import effective_parameters
from defiyield_assets.domain.chains import chain_name
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets_tests.domain.allocation.instances import DAY, WALLET, Coin, Market, Pool, address, units


def market(**changes) -> Market:
    coins = [Coin("usdc", balance=units(1000)), Coin("dai", 18, price=0.999)]
    pools = [Pool("a", ("usdc",)), Pool("b", ("dai",)), Pool("h", ("usdc",), held=(units(500),))]
    return replace(Market(coins, pools), **changes)


def test_capital_is_dollar_tokens_and_positions_without_eth() -> None:
    assert market().problem().aum_usd == Decimal(1500)


@pytest.mark.parametrize("name", ["usdc", "dai"])
def test_a_missing_price_is_an_error_that_names_the_token(name: str) -> None:
    broken = market()
    broken.coin(name).price = None
    with pytest.raises(SuspiciousDataError, match=f"no price on 2025-06-02 for ethereum:{address(name)}"):
        broken.problem()


def test_a_price_of_zero_is_no_price() -> None:
    broken = market()
    broken.coin("usdc").price = 0.0
    with pytest.raises(SuspiciousDataError, match="no price"):
        broken.problem()


def test_a_bar_of_yesterday_is_no_price() -> None:
    tables = market().tables()
    tables["bars"]["date"] = DAY - timedelta(days=1)
    with pytest.raises(SuspiciousDataError, match="no price"):
        market().problem(bars=tables["bars"])


def test_the_price_of_a_token_that_nobody_needs_may_be_missing() -> None:
    quiet = market()
    quiet.coins.append(Coin("other", price=None))
    assert len(quiet.problem().tokens) == 2


def test_a_stale_balance_is_an_error() -> None:
    with pytest.raises(SuspiciousDataError, match=f"balance of .* is of {DAY - timedelta(days=1)}"):
        market(balance_day=DAY - timedelta(days=1)).problem()


def test_a_stale_position_is_an_error() -> None:
    positions = market().tables()["positions"]
    positions["date"] = DAY - timedelta(days=2)
    with pytest.raises(SuspiciousDataError, match="position of"):
        market().problem(positions=positions)


def test_positions_without_any_balance_are_an_error() -> None:
    broken = market(eth_wei=None)
    broken.coin("usdc").balance = 0
    with pytest.raises(SuspiciousDataError, match="no balances"):
        broken.problem()


@pytest.mark.parametrize("gwei", [None, 0.0])
def test_a_missing_gas_price_is_an_error(gwei: float | None) -> None:
    with pytest.raises(SuspiciousDataError, match="gas forecast"):
        market(gas_gwei=gwei).problem()


def test_a_missing_eth_price_is_an_error() -> None:
    with pytest.raises(SuspiciousDataError, match="ETH price"):
        market(eth_price=None).problem()


def test_a_held_pool_that_selection_does_not_know_is_an_error() -> None:
    known = market()
    eligible = known.tables()["eligible"]
    with pytest.raises(SuspiciousDataError, match=r"held pools without a row.*: h"):
        known.problem(eligible=eligible[eligible["pool_id"] != "h"])


def test_eligible_pools_of_another_day_are_an_error() -> None:
    eligible = market().tables()["eligible"]
    eligible["date"] = DAY - timedelta(days=1)
    with pytest.raises(SuspiciousDataError, match="eligible pool"):
        market().problem(eligible=eligible)


def test_gas_price_is_the_effective_price_and_base_fee_plus_priority_without_it() -> None:
    effective = market(gas_gwei=1.5, gas_p90=3.0).problem()
    assert (effective.gas_price_wei, effective.gas_price_p90_wei) == (1_500_000_000, 3_000_000_000)
    base = market(gas_gwei=1.5, gas_p90=3.0, gas_kind="base_fee").problem()
    assert (base.gas_price_wei, base.gas_price_p90_wei) == (1_600_000_000, 3_100_000_000)


def test_gas_of_each_role_counts_its_approvals() -> None:
    pools = [
        Pool(role, ("usdc", "dai") if role == "liquidity" else ("usdc",), role=role)
        for role in ("lend", "vault", "staking", "liquidity")
    ]
    problem = market(pools=pools).problem()
    by_role = {pool.role: (problem.deposit_gas(pool), problem.withdraw_gas(pool)) for pool in problem.pools}
    assert by_role == {
        "lend": (270_000, 250_000),
        "vault": (230_000, 200_000),
        "staking": (230_000, 200_000),
        "liquidity": (400_000, 300_000),
    }
    assert problem.swap_gas == 230_000
    assert problem.gas_usd(1_000_000) == Decimal("2.5")
    lost = market(pools=[Pool("h", held=(1,), role=None)]).problem()
    assert lost.withdraw_gas(lost.pools[0]) == 300_000


def test_the_forecast_is_split_as_its_components_are() -> None:
    pool = market(pools=[Pool("a", apy=0.1, reward=0.25)]).problem().pools[0]
    assert (pool.apy, pool.reward_share) == (0.1, pytest.approx(0.25))


def test_robust_uses_the_lower_quantile_and_says_when_there_is_none() -> None:
    robust = market(parameters=Parameters(objective="robust"), pools=[Pool("a", apy=0.1, p10=0.02)])
    assert robust.problem().pools[0].apy == 0.02
    empty = robust.forecasts().iloc[:0]
    with pytest.raises(SuspiciousDataError, match="p10 forecast"):
        robust.problem(forecasts=empty)


def test_a_held_pool_without_forecast_earns_its_last_apy_and_without_both_is_frozen() -> None:
    last = market(pools=[Pool("h", apy=None, last_apy=0.04, held=(units(1),))]).problem().pools[0]
    assert (last.apy, last.is_frozen, last.can_grow) == (0.04, False, False)
    unknown = market(pools=[Pool("h", apy=None, held=(units(1),))]).problem().pools[0]
    assert (unknown.apy, unknown.is_frozen, unknown.can_grow) == (0.0, True, False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"objective": "greedy"}, "objective"),
        ({"method": "annealing"}, "method"),
        ({"objective": "robust", "robust_quantile": 0.05}, "robust_quantile"),
    ],
)
def test_what_is_not_implemented_is_refused(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        effective_parameters(replace(Parameters(), **changes))  # type: ignore[arg-type]


def test_profit_mode_lifts_the_pool_cap_and_the_number_of_pools_only() -> None:
    profit = effective_parameters(Parameters(objective="profit"))
    assert profit == Parameters(objective="profit", max_pool_share=1.0, min_pools=1)


def test_an_unknown_chain_is_a_configuration_error() -> None:
    assert chain_name(1) == "Ethereum"
    with pytest.raises(ConfigurationError, match="4242"):
        market().problem(wallet=replace(WALLET, chain_id=4242))


def test_tokens_that_are_not_dollars_are_no_capital_and_never_bought() -> None:
    mixed = market()
    mixed.coins.append(Coin("gold", peg="other", balance=units(5), price=100.0))
    mixed.coins.append(Coin("gated", access="permissioned", balance=units(5)))
    mixed.pools.append(Pool("g", ("gold",)))
    problem = mixed.problem()
    assert address("gold") not in problem.token
    assert problem.aum_usd == Decimal(1505)
    assert not problem.token[address("gated")].is_buyable
    assert "no approved dollar token" in next(pool for pool in problem.pools if pool.pool_id == "g").blocked
    permitted = mixed.problem(wallet=replace(WALLET, permitted_tokens=("GATED",)))
    assert permitted.token[address("gated")].is_buyable


def test_a_held_token_that_left_the_list_is_priced_by_the_ledger() -> None:
    gone = market(pools=[Pool("h", ("old",), held=(units(10),), is_must_exit=True)])
    gone.coins.append(Coin("old", price=None, is_approved=False))
    positions = gone.tables()["positions"]
    positions["price_usd"] = Decimal("0.9")
    problem = gone.problem(positions=positions)
    token = problem.token[address("old")]
    assert (token.price, token.is_buyable, token.decimals) == (Decimal("0.9"), False, 6)
    assert problem.aum_usd == Decimal(1009)


def test_equal_inputs_give_equal_ids_and_any_change_another() -> None:
    base = market().problem()
    assert base.run_id == market().problem().run_id
    assert base.run_id.startswith("2025-06-02-")
    assert base.run_id != market(eth_price=2501.0).problem().run_id
    assert base.policy_hash != market(parameters=Parameters(min_pools=2)).problem().policy_hash
    assert base.input_hash == market(parameters=Parameters(min_pools=2)).problem().input_hash
    assert market().problem(policy_hash="f" * 64).run_id[11:19] == "f" * 8
