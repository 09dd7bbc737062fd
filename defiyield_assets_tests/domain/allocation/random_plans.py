"""Random markets planned and replayed: what the tests of exactness assert of each.

Lives here: one plan and its replay on the same tables. Not here: the markets (instances.py), how many (test_random.py
and test_random_second_half.py: two files, so that two workers share them).
"""

import os
from collections import Counter
from collections.abc import Iterable

from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.problem import build_problem
from defiyield_assets.domain.allocation.replay import replay_plan
from defiyield_assets_tests.domain.allocation.instances import (
    random_curves,
    random_market,
    with_slippage_and_reserves,
)

BLOCKS = int(os.environ.get("DEFIYIELD_RANDOM_PLAN_BLOCKS", "2"))
"""Blocks of 500 random plans that the nightly suite replays; 20 make the ten thousand of benchmarks/RESULTS.md."""


def block_outcomes(block: int) -> Counter[str]:
    """Outcomes of one block of 500 random plans."""
    return outcomes(range(10_000 + 500 * block, 10_500 + 500 * block))


def replayed_status(seed: int) -> str:
    """Outcome of a random plan whose replay has no error and accounts for every unit."""
    case = with_slippage_and_reserves(random_market(seed), seed)
    tables = case.tables()
    plan = plan_allocation(build_problem(**tables, forecasts=case.forecasts(), curves=random_curves(seed, case)))
    result = replay_plan(**tables, runs=plan.runs, allocations=plan.allocations, steps=plan.steps)
    assert result.errors == [], f"seed {seed}: {result.errors[:3]}"
    assert result.aum_after == result.aum_before - result.conversion, f"seed {seed}"
    return plan.status


def outcomes(seeds: Iterable[int]) -> Counter[str]:
    """How many plans ended how."""
    return Counter(replayed_status(seed) for seed in seeds)
