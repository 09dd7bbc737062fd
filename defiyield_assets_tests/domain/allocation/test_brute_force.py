"""The optimiser against an oracle that tries every decision (brute_force.py)."""

import random

import pytest

from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.brute_force import Oracle
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units


def tiny_market(seed: int) -> Market:
    """Two or three pools, up to three tokens, some of it held, stuck or to be left."""
    rng = random.Random(seed)
    n_tokens = rng.choice([1, 2, 2, 3])
    coins = [
        Coin(
            f"t{index}",
            rng.choice([6, 18]),
            price=round(rng.uniform(0.9, 1.1), 4),
            issuer=f"i{rng.randint(0, 1)}",
            is_barred=index > 0 and rng.random() < 0.15,
        )
        for index in range(n_tokens)
    ]
    for coin in coins:
        if rng.random() < 0.6:
            coin.balance = units(round(rng.uniform(0, 60_000), 2), coin.decimals)
    pools = []
    for index in range(rng.choice([2, 2, 3] if n_tokens < 3 else [2])):
        tokens = rng.sample(coins, rng.choice([1, 1, min(2, n_tokens)]))
        pool = Pool(
            f"p{index}",
            tuple(coin.name for coin in tokens),
            apy=rng.uniform(0.0, 0.4),
            size=10 ** rng.uniform(5, 7.5),
            protocol=f"x{rng.randint(0, 1)}",
            role=rng.choice(["lend", "vault", "liquidity"]),
            reward=rng.choice([0.0, 0.4]),
            exit_days=rng.choice([0, 0, 2]),
            group=rng.randint(1, 3),
        )
        if rng.random() < 0.6:
            value = rng.uniform(200, 30_000)
            pool.held = tuple(units(round(value * rng.uniform(0.8, 1.2), 2), coin.decimals) for coin in tokens)
            pool.is_must_exit = rng.random() < 0.15
            pool.is_exit_only = rng.random() < 0.2 or any(coin.is_barred for coin in tokens)
        if rng.random() < 0.3:
            assert pool.size is not None
            pool.supply, pool.borrow = pool.size, pool.size * rng.uniform(0.5, 1.0)
        pools.append(pool)
    parameters = Parameters(
        max_pool_share=rng.choice([0.4, 0.6, 1.0]),
        max_pool_tvl_share=rng.choice([0.05, 0.2]),
        max_protocol_share=rng.choice([0.5, 1.0]),
        max_token_share=rng.choice([0.6, 1.0]),
        max_chain_share=rng.choice([0.8, 1.0]),
        group_caps=rng.random() < 0.3,
        idle_buffer_share=rng.choice([0.0, 0.1]),
        min_pools=rng.choice([1, 2]),
        min_position_share=rng.choice([0.01, 0.1]),
        conversion_rate=rng.choice([0.0004, 0.003]),
        break_even_days=rng.choice([3, 14, 30]),
    )
    return Market(coins, pools, parameters, gas_gwei=rng.choice([0.5, 5.0, 30.0]), gas_p90=30.0)


def assert_same(seed: int) -> None:
    problem = tiny_market(seed).problem()
    plan = plan_allocation(problem)
    if problem.aum_usd <= 0 or plan.status == "no_pools":
        return
    best = Oracle(problem).best()
    found = plan.runs["solver_objective"].iloc[0]
    assert best is not None
    assert plan.status != "unverified"
    assert found == pytest.approx(best, abs=0.05 + 2e-4 * abs(best)), plan.message


@pytest.mark.parametrize("seed", range(30))
def test_plan_is_as_good_as_the_best_of_all_decisions(seed: int) -> None:
    assert_same(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1300))
def test_plan_is_as_good_as_the_best_of_all_decisions_slow(seed: int) -> None:
    assert_same(seed)
