"""One test per limit where it binds, and one per outcome of a day."""

from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest

from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.allocation.instances import ETH, Coin, Market, Pool, address, units, with_parameters

CASH = 1_000_000


def market(pools: list[Pool], coins: list[Coin] | None = None, **changes) -> Market:
    """1,000,000 USDC, 18-decimal DAI and USDT of other issuers, loose limits except those in `changes`."""
    coins = coins or [Coin("usdc", balance=units(CASH)), Coin("dai", 18), Coin("usdt")]
    loose = {"min_pools": 1, "max_token_share": 1.0, "max_pool_share": 1.0, "max_pool_tvl_share": 1.0}
    loose |= {"max_protocol_share": 1.0, "cap_headroom": 0.0}
    return Market(coins, pools, Parameters(**(loose | changes)))  # type: ignore[arg-type]


def solve(case: Market) -> AllocationPlan:
    """Plan and replay: no test plan may have a replay error."""
    plan = plan_allocation(case.problem())
    assert case.replay(plan).errors == []
    return plan


def value(plan: AllocationPlan, pool: str) -> float:
    rows = plan.allocations[plan.allocations["pool_id"] == pool]
    return float(sum(rows["value_usd"], Decimal(0)))


def why(plan: AllocationPlan, pool: str) -> str:
    return str(plan.allocations.set_index("pool_id").loc[[pool], "why"].iloc[0])


def kinds(plan: AllocationPlan) -> list[str]:
    return list(plan.steps.drop_duplicates("seq")["step_type"])


def test_without_limits_all_money_goes_to_the_best_pool() -> None:
    plan = solve(market([Pool("a", apy=0.05), Pool("b", apy=0.08)]))
    assert value(plan, "b") == pytest.approx(CASH, abs=0.02)
    assert plan.status == "optimal"
    assert kinds(plan) == ["DEPOSIT"]


def test_pool_cap_by_aum() -> None:
    plan = solve(market([Pool("a", apy=0.05), Pool("b", apy=0.08)], max_pool_share=0.6))
    assert value(plan, "b") == pytest.approx(600_000, abs=0.02)
    assert value(plan, "b") <= 600_000
    assert "pool cap of 60%" in why(plan, "b")
    assert value(plan, "a") == pytest.approx(400_000, abs=0.05)


def test_plans_stay_below_a_cap_so_that_what_grows_is_not_trimmed_every_day() -> None:
    pools = [Pool("a", apy=0.05), Pool("b", apy=0.08)]
    plan = solve(market(pools, max_pool_share=0.6, cap_headroom=0.01))
    assert value(plan, "b") == pytest.approx(594_000, abs=0.02)
    grown = [Pool("a", apy=0.05, held=(units(404_000),)), Pool("b", apy=0.08, held=(units(597_000),))]
    kept = market(grown, [Coin("usdc", balance=0)], max_pool_share=0.6, cap_headroom=0.01)
    assert solve(kept).status == "hold"
    over = [Pool("a", apy=0.05, held=(units(390_000),)), Pool("b", apy=0.08, held=(units(610_000),))]
    trimmed = solve(market(over, [Coin("usdc", balance=0)], max_pool_share=0.6, cap_headroom=0.01))
    assert value(trimmed, "b") == pytest.approx(594_000, abs=0.02)
    whole = solve(market(pools, cap_headroom=0.01))
    assert value(whole, "b") == pytest.approx(CASH, abs=0.02)


def test_pool_cap_by_size() -> None:
    plan = solve(market([Pool("a", apy=0.05), Pool("b", apy=0.2, size=4e6)], max_pool_tvl_share=0.05))
    assert value(plan, "b") == pytest.approx(200_000, abs=0.02)
    assert "5% of the pool's size" in why(plan, "b")


def test_protocol_cap() -> None:
    pools = [Pool("a", apy=0.05), Pool("b", apy=0.08, protocol="x"), Pool("c", apy=0.07, protocol="x")]
    plan = solve(market(pools, max_protocol_share=0.3))
    assert value(plan, "b") + value(plan, "c") == pytest.approx(300_000, abs=0.05)
    assert "protocol x cap" in why(plan, "b")
    assert "protocol x cap" in why(plan, "c")


def test_issuer_cap_counts_positions_and_not_idle_cash() -> None:
    pools = [Pool("a", apy=0.05), Pool("b", ("dai",), apy=0.05)]
    plan = solve(market(pools, max_token_share=0.6))
    assert value(plan, "a") == pytest.approx(600_000, abs=0.02)
    assert value(plan, "b") == pytest.approx(400_000 * 0.9996, abs=1.0)
    alone = solve(market(pools[:1], max_token_share=0.6))
    assert value(alone, "a") == pytest.approx(600_000, abs=0.02)
    assert value(alone, "IDLE") == pytest.approx(400_000, abs=0.05)


def test_issuer_cap_splits_a_pair_by_its_tokens() -> None:
    pools = [Pool("pair", ("usdc", "dai"), apy=0.2, role="liquidity"), Pool("a", apy=0.1)]
    plan = solve(market(pools, max_token_share=0.6, max_pool_share=0.5))
    assert value(plan, "pair") == pytest.approx(500_000, abs=0.1)
    usdc = value(plan, "pair") / 2 + value(plan, "a")
    assert usdc == pytest.approx(600_000, abs=1.0)


def test_issuer_cap_counts_what_is_held_as_it_is_and_what_is_added_in_equal_parts() -> None:
    coins = [Coin("usdc", balance=units(300_000)), Coin("dai", 18, balance=units(300_000, 18))]
    pair = Pool("pair", ("usdc", "dai"), apy=0.2, role="liquidity", held=(units(300_000), units(100_000, 18)))
    plan = solve(market([pair], coins, max_token_share=0.6))
    assert value(plan, "pair") == pytest.approx(CASH, abs=0.1)


def test_tokens_of_one_issuer_share_its_cap() -> None:
    coins = [Coin("usdc", balance=units(CASH), issuer="circle"), Coin("eurc", issuer="circle")]
    plan = solve(market([Pool("a"), Pool("b", ("eurc",), apy=0.2)], coins, max_token_share=0.6))
    assert value(plan, "a") + value(plan, "b") == pytest.approx(600_000, abs=0.05)


def test_chain_cap() -> None:
    plan = solve(market([Pool("a"), Pool("b")], max_chain_share=0.7))
    assert value(plan, "a") + value(plan, "b") == pytest.approx(700_000, abs=0.05)


def test_illiquid_cap() -> None:
    plan = solve(market([Pool("a", apy=0.02), Pool("q", apy=0.2, exit_days=5)]))
    assert value(plan, "q") == pytest.approx(250_000, abs=0.02)


def test_group_caps_only_when_switched_on() -> None:
    pools = [Pool("a", apy=0.02, group=1), Pool("u", apy=0.2, group=4), Pool("n", apy=0.2, group=None)]
    assert value(solve(market(pools)), "u") + value(solve(market(pools)), "n") == pytest.approx(CASH, abs=0.1)
    capped = solve(market(pools, group_caps=True))
    assert value(capped, "u") + value(capped, "n") == 0
    assert value(capped, "a") == pytest.approx(350_000, abs=0.02)


def test_min_pools_spreads_and_dust_does_not_count() -> None:
    pools = [Pool("a", apy=0.05), Pool("b", apy=0.08), Pool("c", apy=0.03)]
    plan = solve(market(pools, min_pools=3, min_position_share=0.1))
    assert value(plan, "c") == pytest.approx(100_000, abs=0.05)
    assert value(plan, "c") >= 100_000
    assert value(plan, "a") == pytest.approx(100_000, abs=0.05)
    assert "min_pools" in why(plan, "c")


def test_min_pools_that_cannot_be_reached_is_named_and_cash_stays() -> None:
    plan = solve(market([Pool("a"), Pool("b")], min_pools=5))
    assert plan.status == "infeasible"
    assert "min_pools 5 cannot be reached" in plan.message
    assert "Smallest relaxation: min_pools 2" in plan.message
    assert "hold" in plan.message
    assert plan.steps.empty
    assert value(plan, "IDLE") == CASH
    assert solve(market([Pool("a"), Pool("b")], min_pools=2)).status == "optimal"


def test_pools_too_small_for_the_smallest_position_are_named() -> None:
    plan = solve(market([Pool("a", size=1e5), Pool("b", size=2e4)], max_pool_tvl_share=0.05))
    assert plan.status == "infeasible"
    assert "min_position_share 1.0000%" in plan.message
    assert "Smallest relaxation: min_position_share 0.4999%" in plan.message or "0.5000%" in plan.message
    assert "too small" in why(plan, "b")


def test_what_we_hold_counts_towards_min_pools() -> None:
    pools = [Pool("a", apy=0.05), Pool("h", apy=0.05, held=(units(200_000),))]
    plan = solve(market(pools, min_pools=2, max_pool_share=0.3))
    assert value(plan, "a") == pytest.approx(360_000, abs=0.05)
    assert value(plan, "h") == pytest.approx(360_000, abs=0.05)


def test_small_transactions_are_not_made() -> None:
    coins = [Coin("usdc", balance=units(49))]
    held = Pool("h", held=(units(10_000),))
    few = solve(market([held], coins))
    assert (few.status, kinds(few)) == ("hold", ["HOLD"])
    more = solve(market([held], [Coin("usdc", balance=units(5000))]))
    assert kinds(more) == ["DEPOSIT"]


def test_idle_buffer_stays_idle() -> None:
    plan = solve(market([Pool("a"), Pool("b", ("dai",), apy=0.2)], idle_buffer_share=0.15))
    assert value(plan, "IDLE") == pytest.approx(150_000, abs=0.5)
    assert value(plan, "IDLE") >= 150_000


def test_an_idle_buffer_is_restored_by_withdrawing() -> None:
    coins = [Coin("usdc", balance=units(10_000))]
    plan = solve(market([Pool("h", held=(units(90_000),))], coins, idle_buffer_share=0.2))
    assert value(plan, "IDLE") == pytest.approx(20_000, abs=0.5)


def test_own_deposit_dilutes_so_that_money_spreads_over_equal_pools() -> None:
    plan = solve(market([Pool("a", apy=0.1, size=2e7), Pool("b", apy=0.1, size=2e7)]))
    assert value(plan, "a") == pytest.approx(500_000, abs=110_000)
    row = plan.allocations.set_index("pool_id").loc["a"]
    assert row["diluted_apy"] == pytest.approx(0.1 * 2e7 / (2e7 + float(row["value_usd"])))


def test_a_reward_is_worth_less_than_base_yield() -> None:
    plan = solve(market([Pool("base", apy=0.05), Pool("reward", apy=0.055, reward=1.0)]))
    assert value(plan, "reward") == 0
    full = solve(market([Pool("base", apy=0.05), Pool("reward", apy=0.055, reward=1.0)], reward_haircut=0.0))
    assert value(full, "base") < CASH


def test_robust_prefers_what_is_sure() -> None:
    pools = [Pool("sure", apy=0.05, p10=0.045), Pool("wild", apy=0.2, p10=0.01)]
    assert value(solve(market(pools)), "wild") == pytest.approx(CASH, abs=0.1)
    assert value(solve(market(pools, objective="robust")), "sure") == pytest.approx(CASH, abs=0.1)


def test_profit_mode_puts_all_in_one_pool() -> None:
    pools = [Pool("a", apy=0.05), Pool("b", apy=0.08)]
    plan = solve(market(pools, objective="profit", max_pool_share=0.25, min_pools=2))
    assert value(plan, "b") == pytest.approx(CASH, abs=0.1)


def test_lp_screens_without_fixed_costs_and_minima() -> None:
    case = market([Pool("a", apy=0.05), Pool("b", ("dai",), apy=0.08)], method="lp", min_pools=5, max_pool_share=0.7)
    plan = solve(case)
    assert plan.status == "screened"
    assert "no plan to execute" in plan.message
    assert value(plan, "b") == pytest.approx(700_000, abs=0.1)
    exact = solve(with_parameters(case, method="milp", min_pools=1))
    assert plan.runs["solver_objective"].iloc[0] >= exact.runs["solver_objective"].iloc[0] - 0.02
    assert exact.runs["lp_bound_usd"].iloc[0] == pytest.approx(plan.runs["lp_bound_usd"].iloc[0], abs=0.01)
    assert plan.runs["solver_objective"].iloc[0] == pytest.approx(plan.runs["lp_bound_usd"].iloc[0], abs=0.1)


def test_conversion_cost_decides_whether_another_token_is_worth_it() -> None:
    pools = [Pool("a", apy=0.05), Pool("b", ("dai",), apy=0.056)]
    assert value(solve(market(pools, conversion_rate=0.0)), "b") == pytest.approx(CASH, abs=1)
    assert value(solve(market(pools, conversion_rate=0.002)), "b") == 0


def test_gas_decides_whether_a_small_treasury_moves() -> None:
    coins = [Coin("usdc", balance=units(1000))]
    cheap = market([Pool("a", apy=0.05)], coins)
    assert solve(cheap).status == "optimal"
    assert solve(replace(cheap, gas_gwei=20.0, gas_p90=20.0)).status == "hold"


def test_hysteresis_holds_what_does_not_earn_its_cost_back_in_time() -> None:
    pools = [Pool("old", apy=0.050, held=(units(100_000),)), Pool("new", apy=0.056)]
    coins = [Coin("usdc")]
    patient = solve(market(pools, coins, break_even_days=30))
    assert value(patient, "new") > 0
    case = replace(market(pools, coins, break_even_days=14), gas_gwei=25.0, gas_p90=25.0)
    assert solve(case).status == "hold"
    assert solve(with_parameters(case, break_even_days=30)).status == "optimal"


def test_break_even_of_a_plan_is_within_the_policy() -> None:
    plan = solve(market([Pool("a", apy=0.05), Pool("b", ("dai",), apy=0.09)], break_even_days=7))
    assert 0 < plan.runs["break_even_days"].iloc[0] <= 7.001


def test_must_exit_is_left_whatever_it_costs() -> None:
    pools = [Pool("bad", apy=0.5, held=(units(5),), is_must_exit=True), Pool("a", apy=0.02)]
    plan = solve(replace(market(pools, [Coin("usdc", balance=units(100))]), gas_gwei=20.0, gas_p90=20.0))
    assert plan.status == "optimal"
    assert kinds(plan) == ["WITHDRAW"]
    assert plan.steps["is_full_exit"].iloc[0]
    assert value(plan, "bad") == 0


def test_must_exit_takes_out_what_can_be_withdrawn_and_reports_what_is_stuck() -> None:
    bad = Pool("bad", held=(units(10_000),), is_must_exit=True, supply=1e6, borrow=1e6 - 4000)
    plan = solve(market([bad], [Coin("usdc")]))
    assert value(plan, "bad") == pytest.approx(6000, abs=0.01)
    assert "6,000.00 USD are stuck" in plan.message
    assert not plan.steps["is_full_exit"].any()


def test_must_exit_without_liquidity_is_no_contradiction() -> None:
    bad = Pool("bad", held=(units(10_000),), is_must_exit=True, supply=1e6, borrow=1e6)
    plan = solve(market([bad], [Coin("usdc")]))
    assert plan.status == "hold"
    assert "10,000.00 USD are stuck" in plan.message


def test_exit_only_is_kept_or_left_but_never_increased() -> None:
    held = Pool("h", apy=0.5, held=(units(100_000),), is_exit_only=True)
    plan = solve(market([held, Pool("a", apy=0.02)]))
    assert value(plan, "h") == 100_000
    better = solve(market([replace_apy(held, 0.001), Pool("a", apy=0.1)]))
    assert value(better, "h") == 0


def replace_apy(pool: Pool, apy: float | None) -> Pool:
    return Pool(**(pool.__dict__ | {"apy": apy}))


def test_a_held_pool_without_any_apy_is_not_sold_because_a_number_is_missing() -> None:
    held = Pool("h", apy=None, held=(units(900_000),))
    plan = solve(market([held, Pool("a", apy=0.3)], max_pool_share=0.25))
    assert value(plan, "h") == 900_000
    assert "missing number" in why(plan, "h")


def test_a_position_above_its_cap_is_reduced_and_hysteresis_does_not_stop_it() -> None:
    held = Pool("h", apy=0.2, held=(units(500_000),))
    plan = solve(market([held], [Coin("usdc", balance=units(500_000))], max_pool_share=0.25))
    assert plan.status == "optimal"
    assert value(plan, "h") == pytest.approx(250_000, abs=0.05)
    assert "do not allow to do nothing" in plan.message
    assert plan.runs["solver_objective"].iloc[0] < 0


def test_a_position_that_is_stuck_above_a_shared_cap_does_not_make_the_day_infeasible() -> None:
    stuck = Pool("h", held=(units(500_000),), protocol="x", supply=1e6, borrow=1e6)
    pools = [stuck, Pool("b", apy=0.2, protocol="x"), Pool("a", apy=0.05)]
    plan = solve(market(pools, [Coin("usdc", balance=units(500_000))], max_protocol_share=0.3, max_pool_share=0.5))
    assert value(plan, "h") == 500_000
    assert value(plan, "b") == 0
    assert value(plan, "a") == pytest.approx(300_000, abs=0.1)


def test_less_liquidity_than_a_transaction_is_not_worth_taking_out() -> None:
    held = Pool("h", held=(units(500_000),), supply=1e6, borrow=1e6 - 30)
    plan = solve(market([held, Pool("a")], [Coin("usdc", balance=units(500_000))], max_pool_share=0.3))
    assert value(plan, "h") == 500_000
    assert value(plan, "a") == pytest.approx(300_000, abs=0.1)


def test_we_never_put_in_more_than_a_share_of_what_can_be_withdrawn() -> None:
    plan = solve(market([Pool("a", apy=0.3, supply=2e7, borrow=1.8e7), Pool("b", apy=0.02)]))
    assert value(plan, "a") == pytest.approx(200_000, abs=0.05)
    assert "of what can be withdrawn" in why(plan, "a")


def test_barred_tokens_are_never_bought_but_may_be_sold_or_left() -> None:
    coins = [Coin("usdc", balance=units(1000)), Coin("dai", 18, balance=units(500_000, 18), is_barred=True)]
    pools = [Pool("a", apy=0.2), Pool("d", ("dai",), apy=0.9), Pool("p", ("usdc", "dai"), apy=0.9, role="liquidity")]
    plan = solve(market(pools, coins))
    converts = plan.steps[plan.steps["step_type"] == "CONVERT"]
    assert list(converts["token_in"]) == [address("dai")]
    assert list(converts["token_out"]) == [address("usdc")]
    assert value(plan, "d") == value(plan, "p") == 0
    assert "DAI is barred" in why(plan, "d")
    left = solve(market([Pool("a", apy=0.001)], coins))
    assert not (left.steps["step_type"] == "CONVERT").any()


def test_a_permissioned_token_that_we_may_not_buy_is_not_bought() -> None:
    coins = [Coin("usdc", balance=units(CASH)), Coin("gated", 18, access="permissioned", balance=units(30_000, 18))]
    plan = solve(market([Pool("a", apy=0.02), Pool("g", ("gated",), apy=0.5)], coins))
    assert value(plan, "g") == pytest.approx(30_000, abs=0.05)
    assert value(plan, "a") == pytest.approx(CASH, abs=0.1)


def test_a_pool_of_four_tokens_gets_equal_value_of_each() -> None:
    coins = [
        Coin("usdc", balance=units(CASH)),
        Coin("dai", 18, price=0.97),
        Coin("usdt", 6, price=1.01),
        Coin("frax", 8),
    ]
    pool = Pool("four", ("usdc", "dai", "usdt", "frax"), apy=0.2, role="liquidity")
    plan = solve(market([pool], coins))
    legs = plan.steps[plan.steps["step_type"] == "DEPOSIT"]
    values = [float(leg) for leg in legs["value_usd"]]
    assert len(values) == 4
    assert max(values) - min(values) < 2e-6
    assert sum(values) == pytest.approx(CASH, rel=1e-3)
    assert kinds(plan) == ["CONVERT"] * 3 + ["DEPOSIT"]


def test_eth_that_pays_for_nothing_is_infeasible_and_names_the_shortfall() -> None:
    case = replace(market([Pool("a", apy=0.1)]), eth_wei=ETH // 10**5, gas_p90=10.0)
    plan = solve(case)
    assert plan.status == "infeasible"
    assert "0.0027 ETH are needed" in plan.message
    assert "add 0.00269 ETH" in plan.message
    assert plan.steps.empty


def test_a_forced_exit_without_eth_is_infeasible_and_names_the_shortfall() -> None:
    pools = [Pool("bad", held=(units(5000),), is_must_exit=True)]
    plan = solve(replace(market(pools, [Coin("usdc")]), eth_wei=0))
    assert plan.status == "infeasible"
    assert "add 0.0005 ETH" in plan.message


def test_eth_for_one_transaction_makes_one_and_says_so() -> None:
    case = market([Pool("a", apy=0.1), Pool("b", apy=0.1)], max_pool_share=0.5)
    plan = solve(replace(case, eth_wei=300_000 * 2 * 10**9))
    assert plan.status == "optimal"
    assert kinds(plan) == ["DEPOSIT"]
    assert "Limited by gas" in plan.message


def test_an_empty_wallet_has_no_capital() -> None:
    plan = solve(market([Pool("a")], [Coin("usdc")]))
    assert plan.status == "no_capital"
    assert plan.steps.empty
    assert plan.runs["projected_apy"].iloc[0] == 0.0


def test_no_pool_at_all_keeps_the_cash() -> None:
    assert solve(market([])).status == "no_pools"
    barred = market([Pool("d", ("dai",))], [Coin("usdc", balance=units(CASH)), Coin("dai", 18, is_barred=True)])
    assert solve(barred).status == "no_pools"


def test_dust_only_is_held() -> None:
    plan = solve(market([Pool("a", apy=0.5)], [Coin("usdc", balance=1)]))
    assert plan.status == "hold"
    assert "below min_transaction_usd" in plan.message


def test_a_dust_position_is_left_alone_unless_it_must_be_left() -> None:
    held = Pool("h", apy=0.0, held=(1,), is_exit_only=True)
    plan = solve(market([held, Pool("a")], max_pool_share=0.5))
    assert value(plan, "h") == pytest.approx(1e-6)
    forced = solve(market([Pool("h", held=(1,), is_must_exit=True), Pool("a")]))
    assert value(forced, "h") == 0


def test_one_pool_takes_what_its_caps_allow() -> None:
    plan = solve(market([Pool("a")], max_pool_share=0.25))
    assert value(plan, "a") == pytest.approx(250_000, abs=0.02)


def test_a_pool_on_another_chain_is_left_out_with_the_reason() -> None:
    plan = solve(market([Pool("a"), Pool("far", chain="Base")]))
    assert "on Base" in why(plan, "far")


def test_figures_of_a_run_reconcile() -> None:
    case = market([Pool("a", apy=0.05), Pool("b", ("dai",), apy=0.09, held=(units(50_000, 18),))], max_pool_share=0.5)
    plan = solve(case)
    run = plan.runs.iloc[0]
    assert run["aum_usd"] == Decimal(CASH + 50_000)
    total = sum(plan.allocations["value_usd"], Decimal(0))
    assert total == run["aum_usd"] - run["conversion_usd"]
    assert sum(plan.steps["gas_usd"], Decimal(0)) == run["gas_usd"]
    assert sum(plan.allocations["share_of_aum"]) == pytest.approx(float(total / run["aum_usd"]))
    gained = float(run["gain_usd"] - run["hold_gain_usd"])
    assert gained == pytest.approx(run["solver_objective"], rel=0.02)
    assert run["projected_apy"] > run["projected_apy_net"] > run["hold_apy"] > 0
    assert run["turnover"] == pytest.approx(1.0 - 0.05, abs=0.06)
    assert (run["n_pools"], run["n_steps"]) == (2, len(plan.steps))


def test_projected_apy_counts_idle_cash_as_zero() -> None:
    plan = solve(market([Pool("a", apy=0.1, size=1e12)], max_pool_share=0.5))
    assert plan.runs["projected_apy"].iloc[0] == pytest.approx(0.0487, abs=0.0005)
    whole = solve(market([Pool("a", apy=0.1, size=1e12)]))
    assert whole.runs["projected_apy"].iloc[0] == pytest.approx(0.1, abs=1e-5)


def test_an_assumed_price_is_marked() -> None:
    coins = [Coin("usdc", balance=units(CASH), quality="assumed")]
    plan = solve(market([Pool("a")], coins))
    assert plan.runs["assumed_prices_json"].iloc[0] == f'["{address("usdc")}"]'
    assert plan.allocations["is_price_assumed"].all()


@pytest.mark.parametrize("name", ["allocation_runs", "allocations", "allocation_steps"])
def test_frames_have_the_columns_of_their_tables_in_key_order(name: str) -> None:
    plan = solve(market([Pool("a"), Pool("p", ("usdc", "dai"), role="liquidity", apy=0.1)]))
    frame: pd.DataFrame = {
        "allocation_runs": plan.runs,
        "allocations": plan.allocations,
        "allocation_steps": plan.steps,
    }[name]
    table = schema.metadata.tables[name]
    assert list(frame.columns) == [column.name for column in table.columns]
    required = [column.name for column in table.columns if not column.nullable]
    assert not frame[required].isna().any().any()
    keys = [column.name for column in table.primary_key]
    assert frame[keys].equals(frame[keys].sort_values(keys, ignore_index=True))
    for column in table.columns:
        allowed = column.info.get("isin")
        assert allowed is None or set(frame[column.name]) <= set(allowed)
    empty = solve(market([], [Coin("usdc")]))
    assert list(empty.steps.columns) == [column.name for column in schema.allocation_steps.columns]


def test_an_exact_plan_that_is_not_the_models_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    from defiyield_assets.domain.allocation import plan as module

    monkeypatch.setattr(module, "build_steps", lambda problem, limits, flows: module.held_plan(problem))
    plan = plan_allocation(market([Pool("a", apy=0.1)]).problem())
    assert plan.status == "unverified"
    assert "away from the model" in plan.message


def test_the_same_day_gives_the_same_plan() -> None:
    pools = [Pool(f"p{index}", ("usdc", "dai")[: 1 + index % 2], apy=0.04 + index / 100) for index in range(6)]
    for pool in pools:
        pool.role = "liquidity" if len(pool.tokens) == 2 else "lend"
    case = market(pools, max_pool_share=0.3)
    first, second = solve(case), solve(case)
    pd.testing.assert_frame_equal(first.steps, second.steps)
    pd.testing.assert_frame_equal(first.allocations, second.allocations)
    shuffled = case.tables()
    eligible = shuffled["eligible"].iloc[::-1].reset_index(drop=True)
    third = plan_allocation(case.problem(eligible=eligible))
    pd.testing.assert_frame_equal(first.steps, third.steps)
