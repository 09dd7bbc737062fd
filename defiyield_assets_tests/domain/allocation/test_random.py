"""Random instances without a replay error: prices 0.5 … 1.5, decimals 2 … 18, 1 … 4 tokens a pool, any AUM, and with
slippage, queues, reserve shares and curves of utilisation (instances.py); the first half of ten thousand."""

import pytest

from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets_tests.domain.allocation.instances import random_market
from defiyield_assets_tests.domain.allocation.random_plans import BLOCKS, block_outcomes, outcomes


def test_two_hundred_random_plans_replay_without_error() -> None:
    found = outcomes(range(200))
    assert found["optimal"] > 80
    assert found["unverified"] == 0


@pytest.mark.nightly
@pytest.mark.parametrize("block", range(0, BLOCKS, 2))
def test_thousands_of_random_plans_replay_without_error(block: int) -> None:
    found = block_outcomes(block)
    assert found["optimal"] > 200
    assert found["unverified"] <= 2


def test_a_treasury_of_sixty_pools_and_thirty_two_tokens() -> None:
    case = random_market(7, n_pools=60, n_tokens=32, aum=1e6)
    case.eth_wei = 2 * 10**18
    plan = plan_allocation(case.problem())
    assert plan.status == "optimal"
    assert case.replay(plan).errors == []
