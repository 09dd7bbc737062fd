"""Plans with lending pools whose rate follows a kinked curve of utilisation.

Not here: the curve and its lines by themselves (test_utilisation.py, test_gains.py).
"""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.gains import pool_gain, secants
from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.brute_force import Oracle
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units

STEEP = UtilisationCurve(0.92, 0.0, 0.06, 4.3)
LOOSE = Parameters(
    min_pools=1,
    max_token_share=1.0,
    max_pool_share=1.0,
    max_pool_tvl_share=1.0,
    max_protocol_share=1.0,
    exit_share=5.0,
    cap_headroom=0.0,
)


def market(cash: int, other_apy: float, held: int = 0, **changes) -> Market:
    """A pool of 100 million just above its kink at 17.5 %, and a huge one beside it."""
    steep = Pool("steep", apy=0.175, supply=1e8, borrow=0.947e8, held=(units(held),) if held else ())
    coins = [Coin("usdc", balance=units(cash))]
    return Market(coins, [steep, Pool("deep", apy=other_apy, size=1e12)], replace(LOOSE, **changes))


def plan_of(case: Market) -> AllocationPlan:
    plan = plan_allocation(case.problem(curves={"steep": STEEP}))
    assert case.replay(plan).errors == []
    return plan


def value(plan: AllocationPlan, pool: str) -> float:
    rows = plan.allocations[plan.allocations["pool_id"] == pool]
    return float(sum(rows["value_usd"], Decimal(0)))


def test_a_deposit_stops_where_the_next_dollar_would_earn_more_elsewhere() -> None:
    kinked, pro_rata = plan_of(market(4_000_000, 0.08)), plan_allocation(market(4_000_000, 0.08).problem())
    assert value(kinked, "steep") == pytest.approx(1_000_000, abs=0.1), "a knot of the secants, at 1 % of the supply"
    assert value(pro_rata, "steep") == pytest.approx(4_000_000, abs=0.1)
    told = kinked.allocations.set_index("pool_id").loc["steep"]
    assert "diluted by its curve of utilisation, kink at 92.0%" in told["why"]
    assert told["forecast_apy"] == 0.175
    assert told["diluted_apy"] == pytest.approx(0.175 * STEEP.supply_rate(0.947 / 1.01) / STEEP.supply_rate(0.947))


def test_beyond_the_kink_a_pool_is_filled_when_nothing_else_pays() -> None:
    plan = plan_of(market(6_000_000, 0.001))
    assert value(plan, "steep") == pytest.approx(6_000_000, abs=0.1)
    assert float(plan.runs["projected_apy"].iloc[0]) == pytest.approx(0.049, abs=0.002)


def test_a_plan_never_promises_more_than_the_curve_gives() -> None:
    plan, case = plan_of(market(6_000_000, 0.001)), market(6_000_000, 0.001)
    pool = case.problem(curves={"steep": STEEP}).pools[1]
    branches = secants(pool, 0.0, 6e6, case.parameters)
    assert len(branches) == 2
    assert plan.runs["solver_objective"].iloc[0] <= float(plan.runs["gain_usd"].iloc[0]) + 0.02


def test_what_is_held_above_the_kink_is_compared_as_it_is() -> None:
    """1,000,000 that earn 17.5 % stay; more cash goes where the next dollar earns most."""
    plan = plan_of(market(1_000_000, 0.12, held=1_000_000))
    assert value(plan, "steep") >= 1_000_000
    assert value(plan, "deep") == pytest.approx(1_000_000, abs=600_000)
    alone = plan_of(market(0, 0.12, held=1_000_000))
    assert alone.status == "hold"


def test_the_curve_is_part_of_what_identifies_a_plan() -> None:
    case = market(1_000_000, 0.05)
    hashes = {
        case.problem(curves=curves).input_hash for curves in ({}, {"steep": STEEP}, {"steep": replace(STEEP, kink=0.9)})
    }
    assert len(hashes) == 3
    assert case.problem(curves={"steep": STEEP}).input_hash == case.problem(curves={"steep": STEEP}).input_hash


def test_a_screening_by_lp_is_still_a_bound_from_above() -> None:
    for other in (0.001, 0.06, 0.12):
        exact, bound = plan_of(market(6_000_000, other)), plan_of(market(6_000_000, other, method="lp"))
        assert bound.runs["solver_objective"].iloc[0] >= exact.runs["solver_objective"].iloc[0] - 0.02


def kinked_problem(seed: int) -> AllocationProblem:
    """Two or three pools of one or two tokens, most of them with a curve and a kink within reach."""
    rng = random.Random(seed)
    coins = [Coin("usdc", balance=units(rng.randint(0, 400_000))), Coin("dai", 18, price=rng.choice([1.0, 0.99]))]
    pools, curves = [], {}
    for index in range(rng.choice([2, 3])):
        size = 10 ** rng.uniform(5.8, 7.0)
        kink = rng.choice([0.8, 0.9, 0.92])
        pool = Pool(
            f"p{index}",
            (rng.choice(["usdc", "usdc", "dai"]),),
            apy=rng.uniform(0.03, 0.25),
            supply=size,
            borrow=size * kink * rng.uniform(0.98, 1.05),
            reward=rng.choice([0.0, 0.3]),
            protocol=f"x{index % 2}",
        )
        if rng.random() < 0.5:
            held = rng.randint(10_000, 120_000)
            pool.held = (units(held, 18 if pool.tokens == ("dai",) else 6),)
        if rng.random() < 0.8:
            slope = rng.uniform(0.03, 0.1)
            curves[pool.name] = UtilisationCurve(kink, rng.choice([0.0, 0.01]), slope, slope * rng.uniform(5, 40))
        pools.append(pool)
    parameters = replace(
        LOOSE,
        max_pool_share=rng.choice([0.5, 1.0]),
        max_pool_tvl_share=rng.choice([0.1, 0.5]),
        min_pools=rng.choice([1, 2]),
        conversion_rate=rng.choice([0.0004, 0.003]),
        break_even_days=rng.choice([3, 14, 30]),
    )
    return Market(coins, pools, parameters, gas_gwei=rng.choice([0.5, 5.0])).problem(curves=curves)


def assert_optimal(seed: int) -> None:
    problem = kinked_problem(seed)
    plan, best = plan_allocation(problem), Oracle(problem).best()
    assert best is not None
    assert plan.status != "unverified", plan.message
    assert plan.runs["solver_objective"].iloc[0] == pytest.approx(best, abs=0.05 + 2e-4 * abs(best)), plan.message


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5, 6])
def test_plans_with_kinks_are_as_good_as_the_best_of_all_decisions(seed: int) -> None:
    assert_optimal(seed)


@pytest.mark.nightly
def test_more_plans_with_kinks_are_as_good_as_the_best_of_all_decisions() -> None:
    for seed in range(146, 156):
        assert_optimal(seed)


def test_no_plan_starves_a_pool_for_the_rate_that_its_rest_would_earn() -> None:
    """Found in review: half of our money out of a pool at its kink looked like six times the APY for the rest."""
    pool = Pool("steep", apy=0.045, supply=1e7, borrow=9e6, held=(units(2_000_000),))
    case = Market([Coin("usdc")], [pool], replace(LOOSE, exit_share=1.0))
    plan = plan_allocation(case.problem(curves={"steep": UtilisationCurve(0.9, 0.0, 0.05, 4.0)}))
    assert plan.status == "hold"
    assert value(plan, "steep") == pytest.approx(2_000_000)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("used", [0.5, 0.85, 0.9, 0.95])
def test_less_of_a_position_never_gains_more(share: float, used: float) -> None:
    held = share * 1e7
    pool = Pool("a", apy=0.08, supply=1e7, borrow=used * 1e7, held=(units(held),))
    curve = UtilisationCurve(0.9, 0.0, 0.05, 4.0)
    option = Market([Coin("usdc")], [pool], LOOSE).problem(curves={"a": curve}).pools[0]
    gains = [pool_gain(option, held * step / 50, held, LOOSE) for step in range(51)]
    assert gains == sorted(gains)
