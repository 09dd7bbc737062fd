"""Questions to the optimiser whose plans are never sent: what would be if one thing were different.

Lives here: asking HiGHS alone. Not here: the plan that is published, which two solvers confirm (plan.py), or what is
asked (worth.py, frontier.py).
"""

from dataclasses import replace
from decimal import Decimal

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.model import AllocationModel
from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.allocation.solve import Solver, SolverRun, solve_highs

TIME_LIMIT_SECONDS = 10.0
"""Of one question: an answer that takes longer is not worth waiting for, and is reported as missing."""


def solve_what_if(problem: AllocationProblem, time_limit: float = TIME_LIMIT_SECONDS) -> AllocationPlan:
    """The plan of a problem by HiGHS alone; `verified_by` says so (`first_solver`). Never to be executed."""
    plan = plan_allocation(problem, solvers=_unconfirmed(), time_limit=time_limit)
    runs = plan.runs.assign(second_solver=None, second_objective=None, second_bound=None, verified_by="first_solver")
    return replace(plan, runs=runs)


def objective_of(plan: AllocationPlan) -> float | None:
    """What the solver says the plan gains against doing nothing (USD over the horizon); None where nothing was solved
    to its end."""
    run = plan.runs.iloc[0]
    is_solved = run["status"] in ("optimal", "hold", "screened") and run["solver_status"] == "optimal"
    return float(run["solver_objective"]) if is_solved else None


def gain_of(plan: AllocationPlan) -> Decimal:
    """What a plan gains over the horizon after costs, in USD."""
    gain: Decimal = plan.runs["gain_usd"].iloc[0]
    return gain


def _unconfirmed() -> tuple[Solver, Solver]:
    """HiGHS, and its own answer given again."""
    answers: list[SolverRun] = []

    def ask(model: AllocationModel, time_limit: float) -> SolverRun:
        answers.append(solve_highs(model, time_limit))
        return answers[-1]

    def repeat(_model: AllocationModel, _time_limit: float) -> SolverRun:
        return answers[-1]

    return ask, repeat
