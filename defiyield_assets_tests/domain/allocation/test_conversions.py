"""What conversions cost beyond their rate, and pools that take their tokens in other than equal parts."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.errors import ConfigurationError
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, address, units
from defiyield_assets_tests.domain.allocation.test_plan import CASH, market, solve, value


def coins(slippage: float = 0.0) -> list[Coin]:
    return [Coin("usdc", balance=units(CASH)), Coin("dai", 18, slippage=slippage), Coin("usdt", slippage=slippage)]


def converted(slippage: float, apy: float = 0.08) -> Market:
    return market([Pool("a", apy=0.05), Pool("b", ("dai",), apy=apy)], coins(slippage), break_even_days=30)


def test_slippage_costs_the_square_of_what_is_converted() -> None:
    case = market([Pool("b", ("dai",), apy=0.5)], coins(0.002))
    plan = solve(case)
    rate, k = Fraction("0.0004"), Fraction("0.002") / 10**6
    left = CASH * (1 - rate)
    assert float(plan.runs["conversion_usd"].iloc[0]) == pytest.approx(float(CASH - left + k * left**2), abs=1e-6)


def test_slippage_keeps_money_where_it_is() -> None:
    """Gain of moving x: x·(r_b - r_a) - 0.0004·x - k·x², best at x = (r_b - r_a - 0.0004)/(2k)."""
    better = 1.08 ** (30 / 365) - 1.05 ** (30 / 365)
    for slippage in (0.004, 0.02):
        plan = solve(converted(slippage))
        best = (better - 0.0004) / (2 * slippage / 1e6)
        assert best < CASH
        gain = float(plan.runs["gain_usd"].iloc[0]) + float(plan.runs["gas_usd"].iloc[0])
        at_best = CASH * (1.05 ** (30 / 365) - 1) + best * (better - 0.0004) - slippage / 1e6 * best**2
        assert value(plan, "b") < 0.9 * CASH
        assert gain == pytest.approx(at_best, rel=0.01)
    assert value(solve(converted(0.0)), "b") > 0.99 * CASH


def test_slippage_counts_on_both_sides_and_over_all_swaps_of_a_token() -> None:
    """Two sources for one token: the second swap starts where the first ended."""
    case = market([Pool("b", ("dai",), apy=0.9)], [Coin("usdc", balance=units(600_000)), *coins(0.001)[1:]])
    case.coin("usdt").balance = units(400_000)
    plan = solve(case)
    steps = plan.steps[plan.steps["step_type"] == "CONVERT"]
    assert len(steps) == 2
    k, keep = Fraction("0.001") / 10**6, 1 - Fraction("0.0004")
    first, second = (Fraction(value) for value in steps["value_usd"])
    left_first = first * keep - (0 if steps["token_in"].iloc[0] == address("usdc") else k * first**2)
    left_second = second * keep - (0 if steps["token_in"].iloc[1] == address("usdc") else k * second**2)
    out = left_first + left_second - k * (left_first + left_second) ** 2
    assert sum(Fraction(int(units), 10**18) for units in steps["amount_out"]) == pytest.approx(float(out), abs=1e-6)


def test_the_replay_finds_a_swap_that_forgets_its_slippage() -> None:
    plan = plan_allocation(converted(0.0).problem())
    problems = converted(0.002).replay(plan).errors
    assert any("after the conversion cost" in problem for problem in problems)


def test_more_than_slippage_eats_is_never_converted() -> None:
    case = market([Pool("b", ("dai",), apy=9.0)], coins(1.0), break_even_days=30)
    plan = solve(case)
    assert 0 < value(plan, "b") < 250_000
    assert float(plan.runs["gain_usd"].iloc[0]) > 0


def test_a_deposit_follows_the_reserves_that_the_policy_tells() -> None:
    pool = Pool("lp", ("usdc", "dai"), apy=0.3, role="liquidity", reserve_shares=(0.3, 0.7))
    plan = solve(market([pool], coins()))
    by_token = plan.allocations[plan.allocations["pool_id"] == "lp"].set_index("token_address")["value_usd"]
    total = sum(by_token, Decimal(0))
    assert float(by_token[address("usdc")] / total) == pytest.approx(0.3, abs=1e-9)
    assert float(total) == pytest.approx(CASH, rel=1e-3)
    equal = market([replace(pool, reserve_shares=())], coins())
    assert any("in proportion" in problem for problem in equal.replay(plan).errors)


def test_reserves_decide_what_counts_under_an_issuer_cap() -> None:
    pool = Pool("lp", ("usdc", "dai"), apy=0.3, role="liquidity", reserve_shares=(0.2, 0.8))
    plan = solve(market([pool], coins(), max_token_share=0.4))
    assert value(plan, "lp") == pytest.approx(0.4 * CASH / 0.8, abs=1.0)


def test_reserves_of_another_number_of_tokens_are_refused_by_name() -> None:
    case = market([Pool("lp", ("usdc", "dai"), role="liquidity", reserve_shares=(0.2, 0.3, 0.5))], coins())
    with pytest.raises(ConfigurationError, match="lp: reserve_shares names 3 shares, the pool has 2 tokens"):
        case.problem()
