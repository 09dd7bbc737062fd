"""Random instances without a replay error: prices 0.5 … 1.5, decimals 2 … 18, 1 … 4 tokens a pool, any AUM."""

import pytest

from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets_tests.domain.allocation.instances import random_market


def assert_replays(seed: int) -> str:
    case = random_market(seed)
    plan = plan_allocation(case.problem())
    result = case.replay(plan)
    assert result.errors == [], f"seed {seed}: {result.errors[:3]}"
    if plan.status == "optimal":
        assert result.aum_after == result.aum_before - result.conversion
    return plan.status


def test_two_hundred_random_plans_replay_without_error() -> None:
    outcomes = [assert_replays(seed) for seed in range(200)]
    assert outcomes.count("optimal") > 80
    assert outcomes.count("unverified") == 0


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_ten_thousand_random_plans_replay_without_error(block: int) -> None:
    outcomes = [assert_replays(seed) for seed in range(10_000 + 500 * block, 10_500 + 500 * block)]
    assert outcomes.count("unverified") <= 2


def test_a_treasury_of_sixty_pools_and_thirty_two_tokens() -> None:
    case = random_market(7, n_pools=60, n_tokens=32, aum=1e6)
    case.eth_wei = 2 * 10**18
    plan = plan_allocation(case.problem())
    assert plan.status == "optimal"
    assert case.replay(plan).errors == []
