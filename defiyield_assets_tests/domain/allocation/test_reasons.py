"""Every reason is the right one: what it names is changed, and the plan changes with it."""

from dataclasses import replace

import pandas as pd
import pytest

from defiyield_assets.domain.allocation.plan import AllocationPlan
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units, with_parameters
from defiyield_assets_tests.domain.allocation.test_plan import CASH, market, solve, value, why


def row(plan: AllocationPlan, pool: str) -> pd.Series:  # type: ignore[type-arg]
    return plan.allocations[plan.allocations["pool_id"] == pool].iloc[0]


def with_apy(case: Market, name: str, apy: float) -> Market:
    return replace(case, pools=[replace(pool, apy=apy) if pool.name == name else pool for pool in case.pools])


TWO = [Pool("a", apy=0.05), Pool("b", apy=0.08)]
KEPT = [Coin("usdc", balance=units(500_000)), Coin("dai", 18), Coin("usdt")]


def test_a_pool_at_its_cap_takes_more_when_the_cap_is_higher() -> None:
    case = market(TWO, max_pool_share=0.6)
    plan = solve(case)
    assert why(plan, "b") == "at its limit: pool cap of 60% of AUM"
    assert row(plan, "b")["binding_limit"] == "max_pool_share b"
    assert value(solve(with_parameters(case, max_pool_share=0.7)), "b") == pytest.approx(700_000, abs=1)


def test_room_that_is_worth_nothing_is_not_praised() -> None:
    """The cap is reached, but what it would let in earns no less elsewhere."""
    plan = solve(market([Pool("a", apy=0.05, size=1e12), Pool("b", apy=0.05, size=1e12)], max_pool_share=0.5))
    assert "worth" not in why(plan, "a") + why(plan, "b")
    assert "pool cap of 50%" in why(plan, "a")


def test_a_pool_at_a_part_of_its_size_takes_more_when_it_is_larger() -> None:
    case = market([Pool("a", apy=0.05), Pool("b", apy=0.2, size=4e6)], max_pool_tvl_share=0.05)
    assert row(solve(case), "b")["binding_limit"] == "max_pool_tvl_share b"
    case.pools[1].size = 8e6
    assert value(solve(case), "b") == pytest.approx(400_000, abs=1)


def test_a_pool_at_a_part_of_its_liquidity_takes_more_when_more_can_be_withdrawn() -> None:
    case = market([Pool("a", apy=0.02), Pool("b", apy=0.2, supply=1e8, borrow=99e6)])
    plan = solve(case)
    assert row(plan, "b")["binding_limit"] == "exit_share b"
    assert "10% of what can be withdrawn" in why(plan, "b")
    case.pools[1].borrow = 98e6
    assert value(solve(case), "b") == pytest.approx(2 * value(plan, "b"), rel=0.01)


def test_a_shared_cap_holds_back_what_is_in_and_keeps_out_what_is_not() -> None:
    x = [Pool("b", apy=0.08, protocol="x"), Pool("c", apy=0.07, protocol="x"), Pool("d", apy=0.06, protocol="x")]
    case = market([Pool("a", apy=0.05), *x], max_protocol_share=0.4, max_pool_share=0.7, max_pool_tvl_share=0.003)
    plan = solve(case)
    assert why(plan, "c").startswith("held back by the protocol x cap of 40% of AUM; best of those left out")
    assert why(plan, "d").startswith("the protocol x cap of 40% of AUM is used up")
    assert row(plan, "d")["binding_limit"] == row(plan, "c")["binding_limit"] == "max_protocol_share x"
    wide = solve(with_parameters(case, max_protocol_share=0.7))
    assert value(wide, "c") > value(plan, "c") + 100_000
    assert value(wide, "d") > 50_000


def test_a_pool_with_lower_gain_enters_when_it_earns_more_than_a_dollar_does() -> None:
    case = market([*TWO, Pool("e", apy=0.04)], max_pool_share=0.6)
    plan = solve(case)
    assert why(plan, "e").startswith("lower gain: 4.00% against the 4.9")
    dollar = float(row(plan, "e")["dollar_apy"])
    assert 0.049 < dollar < 0.05
    assert value(solve(with_apy(case, "e", dollar - 0.0005)), "e") == 0
    assert value(solve(with_apy(case, "e", dollar + 0.0005)), "e") > 0


def test_a_pool_that_does_not_pay_for_its_gas_enters_when_gas_is_cheap() -> None:
    case = market([Pool("a", apy=0.05, size=1e12), Pool("e", apy=0.0505, size=2e7)], max_pool_tvl_share=0.001)
    case = replace(case, gas_gwei=10.0)
    plan = solve(case)
    assert "USD more over 30 days" in why(plan, "e")
    assert "does not pay for 6.75 USD of gas" in why(plan, "e")
    assert value(solve(replace(case, gas_gwei=0.001)), "e") > 9_000


def test_room_that_is_too_small_for_a_position_is_named_with_its_cap() -> None:
    x = [Pool("b", apy=0.08, protocol="x", size=395_000 / 0.05), Pool("c", apy=0.02, protocol="x")]
    case = market([Pool("a", apy=0.0), *x], max_protocol_share=0.4, max_pool_tvl_share=0.05)
    plan = solve(case)
    assert "the protocol x cap of 40% of AUM leaves room for 5,000" in why(plan, "c")
    assert "the smallest position is 10,000.01 USD" in why(plan, "c")
    assert row(plan, "c")["binding_limit"] == "max_protocol_share x"
    assert value(solve(with_parameters(case, max_protocol_share=0.5)), "c") > 100_000


def test_gas_that_the_wallet_cannot_pay_as_well_is_named() -> None:
    case = replace(market([Pool("a", apy=0.05), Pool("b", apy=0.06)], max_pool_share=0.5), eth_wei=2 * 270_000 * 10**9)
    plan = solve(case)
    assert "the wallet's ETH does not pay for its gas as well" in why(plan, "a")
    assert row(plan, "a")["binding_limit"] == "eth_balance plan"
    assert value(solve(replace(case, eth_wei=10**18)), "a") > 400_000


def test_a_pool_of_another_token_is_told_with_its_conversion() -> None:
    case = market([Pool("a", apy=0.05), Pool("f", ("dai",), apy=0.0501)])
    plan = solve(case)
    assert why(plan, "f").startswith("lower gain: 5.01% against the 5.4")
    deposit_and_swap, smallest = 0.675 + 0.575, 10_000.01
    assert float(row(plan, "f")["cost_usd"]) == pytest.approx(deposit_and_swap + smallest * 0.0004 / 0.9996, abs=0.001)
    free = solve(with_parameters(case, conversion_rate=0.0))
    assert value(free, "f") > 400_000


def test_a_day_of_doing_nothing_names_the_days_that_an_entry_needs() -> None:
    coins = [Coin("usdc", balance=units(1_000))]
    case = market([Pool("a", apy=0.05)], coins)
    plan = solve(replace(case, gas_gwei=5.0))
    assert plan.status == "hold"
    days = float(row(plan, "a")["break_even_days"])
    assert days == pytest.approx(0.675 * 5 * 30 / (1_000 * (1.05 ** (30 / 365) - 1)), rel=0.001)
    assert f"earned back in {days:,.1f} days, 14 are allowed" in why(plan, "a")
    assert row(plan, "a")["binding_limit"] == "break_even_days plan"
    allowed = with_parameters(replace(case, gas_gwei=5.0), break_even_days=int(days) + 1)
    assert value(solve(allowed), "a") > 990


def test_cash_below_the_smallest_deposit_is_named() -> None:
    coins = [Coin("usdc", balance=units(60))]
    held = Pool("h", apy=0.06, held=(units(100_000),), is_exit_only=True)
    case = replace(market([held, Pool("a", apy=0.05)], coins), gas_gwei=0.01)
    plan = solve(case)
    assert "The cash is 60.00 USD; the smallest deposit is 1,000" in why(plan, "a")
    assert value(solve(with_parameters(case, min_position_share=0.0005)), "a") > 59


def test_the_smallest_position_leaves_when_fewer_pools_are_asked_for() -> None:
    case = market([*TWO, Pool("c", apy=0.03)], min_pools=3, min_position_share=0.1)
    assert "min_pools" in why(solve(case), "c")
    assert value(solve(with_parameters(case, min_pools=2)), "c") == 0


def test_a_pool_that_takes_the_rest_says_what_its_next_dollar_earns() -> None:
    case = market(TWO, max_pool_share=0.6)
    plan = solve(case)
    assert why(plan, "a").startswith("takes what the better pools leave: its next dollar earns 4.96%")
    case.coin("usdc").balance += units(1)
    richer = solve(with_parameters(case, max_pool_share=600_000 / 1_000_001))
    more = float(richer.runs["gain_usd"].iloc[0]) - float(plan.runs["gain_usd"].iloc[0])
    assert (1 + more) ** (365 / 30) - 1 == pytest.approx(float(row(plan, "a")["marginal_apy"]), abs=0.001)


def test_a_kept_pool_that_earns_more_than_a_dollar_elsewhere_is_left_when_it_does_not() -> None:
    held = Pool("h", apy=0.06, held=(units(500_000),))
    case = market([held, Pool("a", apy=0.05)], KEPT, max_pool_share=0.5)
    plan = solve(case)
    assert why(plan, "h").startswith("kept: 6.00% here against the 4.9")
    assert value(solve(with_apy(with_parameters(case, max_pool_share=1.0), "h", 0.01)), "h") == 0


def test_a_kept_pool_that_does_not_pay_to_move_moves_when_gas_is_cheap() -> None:
    held = Pool("h", apy=0.05, held=(units(20_000),))
    case = replace(market([held, Pool("a", apy=0.051)], [Coin("usdc")]), gas_gwei=30.0)
    plan = solve(case)
    assert why(plan, "h") == "kept: moving it would not earn back its costs"
    assert value(solve(replace(case, gas_gwei=0.01)), "h") < 20_000


def test_a_pool_that_makes_room_says_what_the_money_earns_instead() -> None:
    held = Pool("h", apy=0.03, held=(units(CASH),))
    plan = solve(market([held, Pool("a", apy=0.08)], [Coin("usdc")]))
    assert why(plan, "h").startswith("makes room: the money earns 7.")
    assert "against 3.00% here" in why(plan, "h")


def test_the_best_of_those_left_out_comes_in_when_a_chosen_pool_is_gone() -> None:
    case = market([*TWO, Pool("e", apy=0.049), Pool("f", apy=0.04)], max_pool_share=0.5)
    plan = solve(case)
    assert why(plan, "b").endswith("best of those left out: e e at 4.90%")
    without = solve(replace(case, pools=[pool for pool in case.pools if pool.name != "b"]))
    assert value(without, "e") > 0
    assert value(without, "f") == 0


def test_costs_and_break_even_of_a_pool_are_those_of_its_own_steps() -> None:
    coins = [Coin("usdc", balance=units(500_000)), Coin("dai", 18, balance=units(500_000, 18))]
    plan = solve(market([Pool("a", ("dai",), apy=0.08), Pool("b", apy=0.02)], coins, max_pool_share=0.8))
    steps = plan.steps
    dai = steps[steps["step_type"].eq("CONVERT")]
    expected = float(dai["gas_usd"].sum() + dai["conversion_usd"].sum()) + 0.675
    own = row(plan, "a")
    assert float(own["cost_usd"]) == pytest.approx(expected, abs=1e-5)
    assert own["break_even_days"] == pytest.approx(expected * 30 / float(own["gain_usd"]), rel=1e-6)
    costs = [float(row(plan, name)["cost_usd"]) for name in ("a", "b")]
    assert sum(costs) == pytest.approx(float(plan.runs["gas_usd"].iloc[0] + plan.runs["conversion_usd"].iloc[0]))


def test_gains_of_pools_less_costs_are_the_gain_of_the_plan() -> None:
    plan = solve(market([*TWO, Pool("f", ("dai",), apy=0.09)], max_pool_share=0.4))
    rows = plan.allocations.drop_duplicates("pool_id")
    run = plan.runs.iloc[0]
    assert float(rows["gain_usd"].sum() - run["gas_usd"] - run["conversion_usd"]) == pytest.approx(
        float(run["gain_usd"]), abs=1e-4
    )


def test_money_that_doing_nothing_leaves_idle_has_a_price_of_nothing() -> None:
    plan = solve(market([Pool("a", apy=0.05)], max_pool_share=0.5))
    assert row(plan, "a")["dollar_apy"] == pytest.approx(0.0, abs=1e-9)


def test_cash_too_little_to_be_moved_does_not_set_the_price_of_a_dollar() -> None:
    """40 dollars below the smallest transaction lie idle beside a million that is placed: a dollar of the million goes
    to the pool with 5 %, and costs nothing like the swap of the forty."""
    coins = [Coin("usdc", balance=units(1_000_000)), Coin("dai", 18), Coin("usdt", balance=units(40))]
    case = market([*TWO, Pool("e", ("dai",), apy=0.04)], coins, max_pool_share=0.6)
    plan = solve(case)
    assert case.parameters.min_transaction_usd > 40
    wallet = plan.allocations.query("pool_id == 'IDLE' and amount > 0")
    assert wallet["amount"].max() == units(40)
    gain = [1e6 * 0.4 + more for more in (0.0, 1.0)]
    earned = [value * ((1.05) ** (30 / 365) - 1) / (1 + value / case.pools[0].size) for value in gain]
    apy = (1 + earned[1] - earned[0]) ** (365 / 30) - 1
    for pool in ("a", "b"):
        assert row(plan, pool)["dollar_apy"] == pytest.approx(apy, abs=0.0005)
    bought = (1 + earned[1] - earned[0] + 0.0004) ** (365 / 30) - 1
    assert row(plan, "e")["dollar_apy"] == pytest.approx(bought, abs=0.0007)
    assert why(plan, "e").startswith("lower gain: 4.00% against the 5.")


def test_a_plan_without_cash_has_no_price_of_a_dollar() -> None:
    """Everything is placed and stays: nothing says what a dollar would earn, least of all the fee of a swap."""
    coins = [Coin("usdc", balance=units(10)), Coin("dai", 18), Coin("usdt")]
    plan = solve(market([Pool("a", apy=0.05, held=(units(500_000),)), Pool("b", apy=0.05)], coins))
    assert plan.status == "hold"
    assert pd.isna(row(plan, "a")["dollar_apy"])


def test_what_must_be_left_says_why() -> None:
    """In the words of the final filter; without any it says no more than that."""
    words = "protocol 'gone' is not on the approved list"
    held = Pool("b", apy=0.08, held=(units(100_000),), is_must_exit=True, reasons=words)
    plan = solve(market([Pool("a", apy=0.05), held]))
    assert why(plan, "b") == f"must be left: {words}"
    bare = market([Pool("a", apy=0.05), replace(held, reasons="")])
    assert bare.problem().input_hash == market([Pool("a", apy=0.05), held]).problem().input_hash
    assert why(solve(bare), "b") == "must be left"
