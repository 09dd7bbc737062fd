"""Why every bound is tight: one global M of 1e9 gives wrong optima, the model's own bounds do not.

The usual formulation (benchmarks/allocation_pairwise.py: a binary per pair of tokens, one M) is solved on the same
instances without presolve, which would repair some of its bounds; the truth is the oracle's.
"""

import pytest

from benchmarks.allocation_pairwise import PairwiseModel
from defiyield_assets.domain.allocation.model import AllocationModel
from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.solve import SolverRun, _run_highs, solve_cbc
from defiyield_assets_tests.domain.allocation.brute_force import Oracle
from defiyield_assets_tests.domain.allocation.brute_force_search import best_of_all
from defiyield_assets_tests.domain.allocation.instances import with_parameters
from defiyield_assets_tests.domain.allocation.small_markets import small_market

GLOBAL_M = 1e9
WRONG_USD = 1.0


def without_presolve(model: AllocationModel, time_limit: float) -> SolverRun:
    return _run_highs(model, time_limit, {"presolve": "off"})


def errors_usd(seed: int) -> tuple[float, float]:
    """How far "optimal" objectives are from the best of all decisions: the usual model's, and ours."""
    problem = with_parameters(small_market(seed), cap_headroom=0.0).problem()
    best = best_of_all(Oracle(problem))
    assert best is not None
    loose = PairwiseModel(problem, GLOBAL_M).solve(60.0, presolve="off")
    assert loose.status == "optimal"
    assert loose.objective is not None
    plan = plan_allocation(problem, solvers=(without_presolve, solve_cbc))
    assert plan.status != "unverified", plan.message
    return loose.objective - best.gain, plan.runs["solver_objective"].iloc[0] - best.gain


@pytest.mark.parametrize("seed", [7, 30])
def test_one_global_bound_gives_a_wrong_optimum_where_tight_bounds_do_not(seed: int) -> None:
    loose, ours = errors_usd(seed)
    assert abs(loose) > WRONG_USD
    assert abs(ours) < 0.1


@pytest.mark.nightly
def test_one_global_bound_gives_wrong_optima_in_many_of_thirty_six_instances_and_tight_bounds_in_none() -> None:
    errors = [errors_usd(seed) for seed in range(36)]
    assert sum(abs(loose) > WRONG_USD for loose, _ in errors) >= 5
    assert max(abs(ours) for _, ours in errors) < 0.5
