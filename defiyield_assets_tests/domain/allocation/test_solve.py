"""Two solvers: when they agree, what is done when they do not."""

from dataclasses import replace
from pathlib import Path

import pytest
from pulp.apis.coin_api import PULP_CBC_CMD

from defiyield_assets.domain.allocation.model import AllocationModel, Reference, build_model
from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.solve import SolverRun, agreement, solve_cbc, solve_highs
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units
from defiyield_assets_tests.domain.allocation.random_plans import replayed_status


def market() -> Market:
    coins = [Coin("usdc", balance=units(100_000)), Coin("dai", 18)]
    return Market(coins, [Pool("a", apy=0.05), Pool("b", ("dai",), apy=0.09), Pool("c", apy=0.02)])


def run(objective: float | None, bound: float | None, status: str = "optimal") -> SolverRun:
    return SolverRun("S", status, objective, bound, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (run(100.0, 100.0), run(100.015, 100.015), "objective"),
        (run(100.0, 100.0), run(100.03, 100.03), None),
        (run(100.0, 100.0), run(99.985, 99.99), "objective"),
        (run(1e6, 1e6), run(1e6 + 199, 1e6 + 199), "objective"),
        (run(1e6, 1e6), run(1e6 + 201, 1e6 + 300), None),
        (run(100.0, 100.0), run(90.0, 110.0), "bound"),
        (run(100.0, 100.0), run(90.0, 110.0, "stopped"), "bound"),
        (run(100.0, 100.0), run(90.0, 99.0, "stopped"), None),
        (run(100.0, 100.0), run(101.0, 110.0, "stopped"), None),
        (run(100.0, 120.0, "stopped"), run(100.0, 100.0), None),
        (run(100.0, 100.0), run(None, None, "infeasible"), None),
        (run(100.0, 100.0), run(None, None, "failed"), None),
        (run(None, None, "infeasible"), run(100.0, 100.0), None),
    ],
)
def test_agreement(first: SolverRun, second: SolverRun, verdict: str | None) -> None:
    assert agreement(first, second) == verdict


def test_both_solvers_find_the_same_optimum_and_say_how_sure_they_are() -> None:
    runs = [solver(build_model(market().problem(), reference=Reference()), 60.0) for solver in (solve_highs, solve_cbc)]
    for found in runs:
        assert found.status == "optimal"
        assert found.objective is not None
        assert found.bound is not None
        assert found.bound >= found.objective - 1e-6
        assert found.gap is not None
        assert found.gap <= max(0.01, 1e-4 * found.objective) + 1e-6
        assert found.seconds > 0
    assert runs[0].objective == pytest.approx(runs[1].objective, abs=0.02)
    assert runs[0].solver.startswith("HiGHS 1.")
    assert runs[1].solver.startswith("CBC 2.")


def wrong_by(usd: float):
    def solver(model: AllocationModel, time_limit: float) -> SolverRun:
        found = solve_cbc(model, time_limit)
        assert found.objective is not None
        return replace(found, objective=found.objective + usd, bound=found.objective + usd)

    return solver


def failing(model: AllocationModel, time_limit: float) -> SolverRun:
    return SolverRun("broken", "failed", None, None, 0.0)


def infeasible(model: AllocationModel, time_limit: float) -> SolverRun:
    return SolverRun("broken", "infeasible", None, None, 0.0)


@pytest.mark.parametrize("second", [wrong_by(1.0), wrong_by(-1.0), failing, infeasible])
def test_disagreement_publishes_nothing(second) -> None:
    plan = plan_allocation(market().problem(), solvers=(solve_highs, second))
    assert plan.status == "unverified"
    assert plan.runs["n_steps"].iloc[0] == 0
    assert plan.runs["verified_by"].iloc[0] is None
    assert set(plan.steps["step_type"]) <= {"HOLD"}
    assert not market().replay(plan).errors


def test_a_first_solver_that_finds_nothing_is_not_trusted_alone() -> None:
    assert plan_allocation(market().problem(), solvers=(infeasible, solve_cbc)).status == "unverified"


def test_the_run_records_both_solvers() -> None:
    row = plan_allocation(market().problem()).runs.iloc[0]
    assert row["solver_status"] == "optimal"
    assert row["verified_by"] == "objective"
    assert row["solver_gap"] == pytest.approx(row["solver_bound"] - row["solver_objective"], abs=1e-9)
    assert row["second_objective"] == pytest.approx(row["solver_objective"], abs=0.02)


def test_every_switch_has_the_smallest_coefficient_that_reaches() -> None:
    """Regression: one global M of 1e9 lets 1e-6 of integrality leak thousands of dollars and gave wrong optima."""
    problem = market().problem()
    model = build_model(problem, reference=Reference())
    aum_units = float(problem.aum_usd) / model.unit
    amounts = [(pool.deposit, pool.deposit_on) for pool in model.pools.values() if pool.deposit is not None]
    for amount, switch in [*amounts, *model.sold.values(), *model.bought.values()]:
        constraint = model.lp.get_constraint_by_name(f"{amount.name}_most")
        assert -constraint[switch] == amount.upBound
        assert amount.upBound <= aum_units
    dai = next(pool for pool in problem.pools if pool.pool_id == "b")
    assert model.bought[dai.tokens[0]][0].upBound == pytest.approx(
        model.limits.pools["b"].deposit_max * (1 - 4e-4) / model.unit, rel=1e-3
    )


CRASH = "#!/bin/sh\nkill -SEGV $$\n"
STALE = "#!/bin/sh\nexit 0\n"
NONSENSE = '#!/bin/sh\nfor last; do :; done\necho "Optimal - objective value -99999999" > "$last"\n'


@pytest.mark.parametrize("script", [CRASH, STALE])
def test_a_second_solver_that_crashes_or_says_nothing_publishes_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "cbc"
    binary.write_text(script)
    binary.chmod(0o700)
    monkeypatch.setattr(PULP_CBC_CMD, "pulp_cbc_path", str(binary))
    problem = market().problem()
    assert solve_cbc(build_model(problem, reference=Reference()), 60.0).status == "failed"
    plan = plan_allocation(problem)
    assert plan.status == "unverified"
    assert plan.runs["n_steps"].iloc[0] == 0


def test_a_second_solver_that_invents_an_optimum_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "cbc"
    binary.write_text(NONSENSE)
    binary.chmod(0o700)
    monkeypatch.setattr(PULP_CBC_CMD, "pulp_cbc_path", str(binary))
    assert plan_allocation(market().problem()).status == "unverified"


def test_a_crash_of_cbc_is_asked_again_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "cbc"
    real = PULP_CBC_CMD.pulp_cbc_path
    binary.write_text(f'#!/bin/sh\ncase "$*" in *aggregate*) exec "{real}" "$@";; esac\nkill -SEGV $$\n')
    binary.chmod(0o700)
    monkeypatch.setattr(PULP_CBC_CMD, "pulp_cbc_path", str(binary))
    plan = plan_allocation(market().problem())
    assert plan.status == "optimal"
    assert plan.runs["verified_by"].iloc[0] == "objective"


def test_an_infeasible_model_on_which_cbc_crashes_is_still_explained() -> None:
    """Regression: seed 272 of the random plans; CBC 2.10.3 ends with SIGSEGV without its preprocessing."""
    assert replayed_status(272) == "infeasible"
