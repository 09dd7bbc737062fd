"""Every connected part of a plan earns back its own costs: no good step pays for a bad one beside it."""

import pytest

from defiyield_assets.domain.allocation import plan as planning
from defiyield_assets.domain.allocation.hysteresis import Component, components
from defiyield_assets.domain.allocation.model import build_model, hold_reference
from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.solve import decisions, solve_highs
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, address, units
from defiyield_assets_tests.domain.allocation.test_plan import kinds, market, solve, value

DEAR_GWEI = 40.0


def two_islands(break_even: int = 14) -> Market:
    """USDC cash with a very good pool, and DAI cash with one that pays for its gas in 30 days but not in 14."""
    coins = [Coin("usdc", balance=units(500_000)), Coin("dai", 18, balance=units(10_000, 18))]
    pools = [Pool("good", apy=0.20), Pool("poor", ("dai",), apy=0.045)]
    return market(pools, coins, break_even_days=break_even, conversion_rate=0.5)


def dear(case: Market) -> Market:
    case.gas_gwei = case.gas_p90 = DEAR_GWEI
    return case


def test_a_step_that_does_not_pay_is_not_paid_for_by_another() -> None:
    plan = solve(dear(two_islands()))
    assert value(plan, "good") == pytest.approx(500_000, abs=0.1)
    assert value(plan, "poor") == 0
    patient = solve(dear(two_islands(break_even=30)))
    assert value(patient, "poor") == pytest.approx(10_000, abs=0.1)


def test_without_the_rule_for_components_the_plan_would_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "add_cuts", lambda *_: 0)
    plan = plan_allocation(dear(two_islands()).problem())
    assert value(plan, "poor") == pytest.approx(10_000, abs=0.1)


def test_nobody_buys_a_token_only_to_connect_what_does_not_pay() -> None:
    """A swap of 50 USD would join both parts, were it allowed to lie idle."""
    case = dear(two_islands())
    case.coins[0].balance = units(500_060)
    case.pools[1].apy, case.pools[1].size = 0.069, 1_000_000.0
    case.parameters = market([], conversion_rate=0.0004, max_pool_share=0.98, max_pool_tvl_share=0.01).parameters
    plan = solve(case)
    assert "CONVERT" not in kinds(plan)
    assert value(plan, "poor") == 0


def parts(case: Market) -> list[Component]:
    problem = case.problem()
    model = build_model(problem)
    reference = hold_reference(problem, model.limits)
    assert reference is not None
    run = solve_highs(model)
    return components(model, decisions(model, run.values))


def test_pools_of_one_token_are_one_component() -> None:
    found = parts(market([Pool("a", apy=0.1), Pool("b", apy=0.1)], max_pool_share=0.5))
    assert [part.pools for part in found] == [{"a", "b"}]
    assert not found[0].has_conversions


def test_tokens_that_are_converted_are_connected() -> None:
    coins = [Coin("usdc", balance=units(500_000)), Coin("dai", 18, balance=units(500_000, 18)), Coin("usdt")]
    pools = [Pool("a", apy=0.1), Pool("b", ("usdt",), apy=0.3), Pool("c", ("dai",), apy=0.1)]
    found = parts(market(pools, coins, max_pool_share=0.6))
    together = next(part for part in found if part.has_conversions)
    assert address("usdt") in together.tokens
    assert "b" in together.pools


def test_a_withdrawal_that_makes_room_under_a_cap_belongs_to_the_deposit_that_takes_it() -> None:
    coins = [Coin("usdc", balance=units(600_000)), Coin("dai", 18)]
    old = Pool("old", ("dai",), apy=0.02, protocol="x", held=(units(400_000, 18),))
    new = Pool("new", apy=0.3, protocol="x")
    found = parts(market([old, new], coins, max_protocol_share=0.5, conversion_rate=0.9))
    assert [part.pools for part in found] == [{"old", "new"}]
    apart = parts(market([old, new], coins, conversion_rate=0.9))
    assert sorted(sorted(part.pools) for part in apart) == [["new"]]


def test_what_leaves_a_queue_stands_alone() -> None:
    slow = Pool("slow", apy=-0.5, exit_days=5, held=(units(100_000),))
    found = parts(market([slow, Pool("fast", apy=0.1)], max_illiquid_share=1.0))
    assert sorted(sorted(part.pools) for part in found) == [["fast"], ["slow"]]


def test_what_the_limits_force_needs_no_profit() -> None:
    """Leaving costs gas and earns nothing, and is done all the same; the poor deposit beside it is not."""
    case = dear(two_islands())
    case.pools.append(Pool("full", ("usdt",), apy=0.05, held=(units(50_000),), is_must_exit=True))
    case.coins.append(Coin("usdt"))
    plan = solve(case)
    assert value(plan, "full") == 0
    assert value(plan, "poor") == 0
    assert value(plan, "good") == pytest.approx(500_000, abs=0.1)
