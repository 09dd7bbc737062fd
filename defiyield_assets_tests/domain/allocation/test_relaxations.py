"""What a day that cannot be planned names as the smallest relaxation is enough, and no more than needed."""

import re
from dataclasses import replace

import pytest

from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets_tests.domain.allocation.instances import (
    ETH,
    Coin,
    Market,
    Pool,
    random_market,
    units,
    with_parameters,
)
from defiyield_assets_tests.domain.allocation.test_plan import market

NAMED = re.compile(r"(min_position_share|min_transaction_usd|min_pools) ([\d.,]*\d)(%?)")


def applied(case: Market, plan: AllocationPlan) -> Market:
    """The market under the relaxation that the plan's message names."""
    changes: dict[str, float | int] = {}
    for name, number, percent in NAMED.findall(plan.message.split("Smallest relaxation: ")[1]):
        value = float(number.replace(",", "")) / (100 if percent else 1)
        changes[name] = int(value) if name == "min_pools" else value
    return with_parameters(case, **changes)


@pytest.mark.parametrize(
    ("pools", "changes"),
    [
        ([Pool("a", size=100_000.0)], {"min_position_share": 0.01, "max_pool_tvl_share": 0.05}),
        ([Pool("a", size=980.0)], {"max_pool_tvl_share": 0.05, "min_position_share": 0.0}),
        ([Pool("a", size=980.0)], {"max_pool_tvl_share": 0.05, "min_position_share": 0.01}),
        ([Pool("a"), Pool("b", size=1_000_000.0)], {"max_pool_tvl_share": 0.005, "min_pools": 3}),
    ],
)
def test_the_named_relaxation_is_enough(pools: list[Pool], changes: dict[str, float]) -> None:
    case = market(pools, **changes)
    plan = plan_allocation(case.problem())
    assert plan.status == "infeasible"
    relaxed = plan_allocation(applied(case, plan).problem())
    assert relaxed.status in ("optimal", "hold")
    assert "Smallest relaxation" not in relaxed.message


def test_where_no_minimum_stands_in_the_way_none_is_named() -> None:
    plan = plan_allocation(market([Pool("a", supply=1e7, borrow=1e7, size=1e7)], cap_headroom=0.0).problem())
    assert plan.status == "infeasible"
    assert "Smallest relaxation" not in plan.message
    assert "10% of what can be withdrawn leaves none" in plan.message
    coins = [Coin("usdc", balance=units(500_000), slippage=1.0), Coin("dai", 18)]
    stranded = market([Pool("a", ("dai",), size=1e9)], coins, min_position_share=0.9)
    assert "no smaller limit on size or number" in plan_allocation(stranded.problem()).message


@pytest.mark.parametrize("seed", range(60))
def test_as_much_eth_as_is_named_is_enough_for_what_must_be_done(seed: int) -> None:
    case = replace(random_market(seed, aum=1e6), eth_wei=ETH // 100_000)
    plan = plan_allocation(case.problem())
    if plan.status != "infeasible" or "ETH are needed" not in plan.message:
        return
    added = float(re.search(r"add ([\d.]+) ETH", plan.message)[1])  # type: ignore[index]
    again = plan_allocation(replace(case, eth_wei=ETH // 100_000 + round(added * 1e18) + 1).problem())
    assert again.status != "infeasible" or "ETH are needed" not in again.message


@pytest.mark.parametrize("seed", range(40))
def test_no_plan_gains_more_than_the_lp_bound(seed: int) -> None:
    case = with_parameters(random_market(seed, aum=1e5), objective="expected")
    run = plan_allocation(replace(case, eth_wei=2 * ETH).problem()).runs.iloc[0]
    if run["solver_objective"] is not None and run["status"] != "unverified":
        assert run["solver_objective"] <= run["lp_bound_usd"] + 0.02 + 1e-4 * abs(run["lp_bound_usd"])


def test_the_lp_bound_does_not_force_what_the_plan_may_leave_as_stuck() -> None:
    """Found in review: 3,000 USD can be withdrawn, less than the smallest transaction."""
    stuck = Pool("a", apy=0.10, held=(units(8_000),), supply=1e8, borrow=1e8 - 3_000, is_must_exit=True)
    case = market([stuck], [Coin("usdc", balance=units(2_000))], min_transaction_usd=5_000.0)
    run = plan_allocation(case.problem()).runs.iloc[0]
    assert run["lp_bound_usd"] >= run["solver_objective"] - 1e-6
