"""The allocation's benchmark on its smallest instance: every rule is in force, and both formulations agree on gains."""

import pytest

from benchmarks.allocation import Case, figures, measured, parsed
from benchmarks.allocation_instances import N_HELD, SIZES, reference_market, reference_problem
from defiyield_assets.domain.allocation.facts import AllocationProblem


@pytest.fixture(scope="module")
def case() -> Case:
    return measured(20, 8, 0, pairwise_seconds=20.0)


@pytest.fixture(scope="module")
def problem() -> AllocationProblem:
    return reference_problem(reference_market(50, 20, 0), 0)


def test_a_reference_instance_is_what_the_specification_asks(problem: AllocationProblem) -> None:
    widths = [len(pool.tokens) for pool in problem.pools]
    assert (len(problem.pools), len(problem.tokens)) == (50, 20)
    assert (widths.count(2), widths.count(3)) == (10, 10)
    assert sum(pool.is_held for pool in problem.pools) == N_HELD
    assert float(problem.aum_usd) == pytest.approx(1_000_000, abs=1.0)
    assert problem.parameters.min_pools == 4
    assert SIZES == ((20, 8), (50, 20), (200, 30), (1000, 40))


def test_a_reference_instance_has_every_rule_in_force(problem: AllocationProblem) -> None:
    assert any(pool.curve for pool in problem.pools)
    assert any(pool.reserve_shares for pool in problem.pools)
    assert any(pool.withdrawable_usd is not None for pool in problem.pools)
    assert any(pool.is_must_exit for pool in problem.pools)
    assert any(token.slippage for token in problem.tokens)
    assert any(not token.is_buyable for token in problem.tokens)
    assert problem.parameters.group_caps
    assert problem.parameters.idle_buffer_share > 0


def test_instances_depend_on_their_seed_alone() -> None:
    one, two, other = (reference_problem(reference_market(20, 8, seed), seed) for seed in (1, 1, 2))
    assert one.input_hash == two.input_hash
    assert one.input_hash != other.input_hash


def test_the_plan_is_verified_replayed_and_within_its_gap(case: Case) -> None:
    assert case.plan.status == "optimal"
    assert case.replay_errors == 0
    assert case.relative_gap <= 1e-4


def test_the_usual_formulation_finds_the_same_gain_but_for_swaps_and_slippage(case: Case) -> None:
    assert case.first.last is not None
    assert case.pairwise.objective == pytest.approx(case.first.last.objective, rel=2e-3)


def test_figures_have_the_names_of_the_targets(case: Case) -> None:
    found = figures([[case]])
    assert {"seconds_20x8", "relative_gap", "replay_error_base_units", "speedup_vs_pairwise_big_m_20x8"} <= set(found)


def test_a_quick_run_has_fewer_seeds_and_a_shorter_limit() -> None:
    options = parsed(["--quick", "--sizes", "20x8,50x20"])
    assert (options.seeds, options.pairwise_seconds, options.sizes) == (2, 5.0, ((20, 8), (50, 20)))
