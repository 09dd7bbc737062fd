"""One day's plan: decide, verify with a second solver, make exact, name what stands in the way.

Lives here: the outcome of a day and its `allocation_runs` row. Not here: the model (model.py), amounts (steps.py), the
independent check (replay.py), which must pass before a plan is published.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem, exact_sum
from defiyield_assets.domain.allocation.frames import build_allocations_frame, build_steps_frame, stuck_usd
from defiyield_assets.domain.allocation.gains import DAYS_PER_YEAR, pool_gain, secant_gain
from defiyield_assets.domain.allocation.hysteresis import add_cuts
from defiyield_assets.domain.allocation.limit_rows import build_limits_frame
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.model import (
    AllocationModel,
    Reference,
    build_model,
    has_eth_for,
    hold_reference,
    limit_eth,
    solved_reference,
    usable_pools,
)
from defiyield_assets.domain.allocation.prices import prices_of
from defiyield_assets.domain.allocation.solve import (
    GAP_RELATIVE,
    GAP_USD,
    TIME_LIMIT_SECONDS,
    Flows,
    Solver,
    SolverRun,
    agreement,
    decisions,
    fixed_flows,
    is_confirmed,
    solve_cbc,
    solve_cbc_plainly,
    solve_highs,
)
from defiyield_assets.domain.allocation.steps import ExactPlan, build_steps, held_plan
from defiyield_assets.domain.canonical import canonical_json

RUN_COLUMNS = [
    "run_id",
    "date",
    "status",
    "message",
    "policy_hash",
    "input_hash",
    "objective",
    "method",
    "horizon_days",
    "aum_usd",
    "eth_balance_wei",
    "gain_usd",
    "hold_gain_usd",
    "gas_usd",
    "conversion_usd",
    "projected_apy",
    "projected_apy_net",
    "hold_apy",
    "break_even_days",
    "turnover",
    "n_pools",
    "n_steps",
    "solver",
    "solver_status",
    "solver_objective",
    "solver_bound",
    "solver_gap",
    "solver_seconds",
    "second_solver",
    "second_objective",
    "second_bound",
    "verified_by",
    "lp_bound_usd",
    "assumed_prices_json",
]
CENT = 0.01
MOST_ROUNDS = 40
"""So often a model is solved with further components cut off; then the day has no plan."""
SOLVERS: tuple[Solver, Solver] = (solve_highs, solve_cbc)


@dataclass(frozen=True)
class AllocationPlan:
    """The four tables of a plan. Only status `optimal` carries transactions; what limits are worth is asked later."""

    runs: pd.DataFrame
    allocations: pd.DataFrame
    steps: pd.DataFrame
    limits: pd.DataFrame

    @property
    def status(self) -> str:
        """Outcome of the day."""
        return str(self.runs["status"].iloc[0])

    @property
    def message(self) -> str:
        """Outcome in words."""
        return str(self.runs["message"].iloc[0])


@dataclass(frozen=True)
class Outcome:
    """What was decided, before it becomes tables."""

    status: str
    message: str
    plan: ExactPlan
    first: SolverRun | None = None
    second: SolverRun | None = None
    verified_by: str | None = None
    prices: Mapping[str, float] = field(default_factory=dict)


def plan_allocation(
    problem: AllocationProblem, *, solvers: tuple[Solver, Solver] = SOLVERS, time_limit: float = TIME_LIMIT_SECONDS
) -> AllocationPlan:
    """Plan one day.

    Statuses: optimal (transactions to send); screened (the same by method lp, never to be sent); hold (doing nothing is
    best); infeasible (a limit stands in the way: the
    message names the smallest relaxation; advice: hold); no_capital; no_pools; unverified (the solvers disagree or the
    exact plan differs from the model: nothing to publish). `time_limit` is seconds per solver.
    """
    limits = Limits(problem, is_relaxed=problem.parameters.method == "lp")
    outcome = _decide(problem, limits, solvers, time_limit)
    prices = prices_of(outcome.plan, limits, outcome.prices)
    return AllocationPlan(
        runs=_runs_frame(problem, limits, outcome, time_limit),
        allocations=build_allocations_frame(outcome.plan, limits, outcome.message, prices),
        steps=build_steps_frame(outcome.plan),
        limits=build_limits_frame(outcome.plan, limits, prices),
    )


def _decide(problem: AllocationProblem, limits: Limits, solvers: tuple[Solver, Solver], time_limit: float) -> Outcome:
    """The ladder of outcomes, from the simplest."""
    idle = held_plan(problem)
    if problem.aum_usd <= 0:
        return Outcome(
            "no_capital", "The wallet holds no approved dollar token and no position: nothing to allocate.", idle
        )
    if not any(pool.tokens for pool in problem.pools):
        return Outcome("no_pools", "No pool is eligible today and none is held: keep the cash.", idle)
    reference = hold_reference(problem, limits) or _repair(problem, time_limit)
    if reference is None:
        return Outcome("unverified", "The way back within the limits could not be computed; hold.", idle)
    model = build_model(problem, reference=reference)
    first, free_gas = _settle(model, reference, solvers[0], time_limit)
    second = solvers[1](model, time_limit)
    if first.status == "infeasible":
        return _explain_infeasible(problem, idle, reference, first, second)
    verified_by = agreement(first, second)
    if verified_by is None and solvers[1] is solve_cbc:
        second = solve_cbc_plainly(model, time_limit)
        verified_by = agreement(first, second)
    if verified_by is None:
        message = (
            f"{first.solver} ({first.status}) and {second.solver} ({second.status}) do not confirm each other; hold."
        )
        return Outcome("unverified", message, idle, first, second)
    # integrality tolerances may hide a flow that the decisions do not allow: then the second solver's decisions serve
    flows = fixed_flows(model, first.values, time_limit) or fixed_flows(model, second.values, time_limit)
    if flows is None or not is_confirmed(flows, first):
        return Outcome("unverified", "The decisions of the solver have no exact flows; hold.", idle, first, second)
    plan = build_steps(problem, limits, flows)
    deviation = _deviation(plan, model, flows)
    if deviation > GAP_USD + GAP_RELATIVE * abs(flows.objective) + limits.margin:
        message = f"The exact plan is {deviation:.2f} USD away from the model's; hold."
        return Outcome("unverified", message, idle, first, second)
    found = Outcome("optimal", "", plan, first, second, verified_by, flows.prices)
    return _judge(problem, limits, reference, found, free_gas=free_gas, time_limit=time_limit)


def _settle(model: AllocationModel, reference: Reference, solver: Solver, time_limit: float) -> tuple[SolverRun, int]:
    """Solve, and again with what the solution breaks: the ETH for its gas, components that do not pay for themselves.

    Returns the last run and, when ETH was short, the gas units of the plan that it held back. The model keeps the
    constraints, so that the second solver sees the same.
    """
    free_gas = 0
    for _ in range(MOST_ROUNDS):
        run = solver(model, time_limit)
        if not run.values or model.limits.is_relaxed:
            return run, free_gas
        if add_cuts(model, reference, decisions(model, run.values)):
            continue
        if model.is_eth_limited or has_eth_for(model, run.values):
            return run, free_gas
        free_gas = _exact_gas(model.limits.problem, model, run, time_limit)
        limit_eth(model)
    return replace(run, status="stopped", values={}), free_gas


def _lp_bound(problem: AllocationProblem, time_limit: float) -> float | None:
    """What the limits alone allow to gain, in USD: no plan with fixed costs and minimum sizes gains more."""
    relaxed = replace(problem, parameters=replace(problem.parameters, method="lp"))
    run = solve_highs(build_model(relaxed), time_limit)
    return run.objective if run.status == "optimal" else None


def _repair(problem: AllocationProblem, time_limit: float) -> Reference | None:
    """The cheapest withdrawals that bring the holdings back within the limits: what hysteresis must not judge."""
    model = build_model(problem, purpose="withdraw_only")
    run = solve_highs(model, time_limit)
    if run.status != "optimal" or fixed_flows(model, run.values, time_limit) is None:
        return None
    return solved_reference(model)


def _deviation(plan: ExactPlan, model: AllocationModel, flows: Flows) -> float:
    """How far the exact plan's objective is from the model's, in USD."""
    problem, lines, limits = plan.problem, model.lines, model.limits
    gain = _leaving_gain(plan, limits)
    for pool in problem.pools:
        if pool.pool_id in lines:
            own = lines[pool.pool_id]
            gain += secant_gain(own, float(plan.position_usd(pool))) - secant_gain(own, limits.pools[pool.pool_id].held)
    gas = 0.0 if limits.is_relaxed else float(plan.gas_usd)
    saved = flows.conversion_usd - float(plan.conversion_usd)
    if any(token.slippage for token in problem.tokens):
        saved = min(saved, 0.0)  # the model counts slippage by secants: the exact plan may lose less, never more
    return max(abs(gain - gas - (flows.objective + flows.conversion_usd)), abs(saved))


def _leaving_gain(plan: ExactPlan, limits: Limits) -> float:
    """What that earns until the horizon which is on its way out of queues."""
    held = limits.problem.position_usd
    return sum(
        limits.leaving_return(pool) * (held[pool.pool_id] - float(plan.position_usd(pool)))
        for pool in limits.problem.pools
        if pool.is_queued and float(plan.position_usd(pool)) < held[pool.pool_id]
    )


def _judge(
    problem: AllocationProblem,
    limits: Limits,
    reference: Reference,
    found: Outcome,
    *,
    free_gas: int,
    time_limit: float,
) -> Outcome:
    """Optimal, hold, or held back by a limit whose relaxation is named. `free_gas`: units if ETH were no limit."""
    notes = _notes(limits)
    shortfall = found.plan.gas_units * problem.gas_price_p90_wei - problem.eth_balance_wei
    if shortfall > 0:
        return _outcome(found, "infeasible", _advice(_eth_message(problem, found.plan.gas_units)), held_plan(problem))
    if free_gas * problem.gas_price_p90_wei > problem.eth_balance_wei:
        text = _eth_message(problem, free_gas)
        if not found.plan.transactions:
            return _outcome(found, "infeasible", _advice(text), found.plan)
        notes.append(f"Limited by gas. {text}")
    relaxation = _pools_message(problem, limits, found.plan, time_limit)
    if not found.plan.transactions:
        status, message = (
            ("infeasible", _advice(relaxation)) if relaxation else ("hold", _hold_message(problem, limits))
        )
        return _outcome(found, status, " ".join([message, *notes]), found.plan)
    if relaxation:
        notes.append(relaxation)
    message = f"{len(found.plan.transactions)} transactions earn more than doing nothing, costs included."
    if not reference.is_hold:
        message = f"The limits do not allow to do nothing; {len(found.plan.transactions)} transactions keep them best."
    status = "screened" if limits.is_relaxed else "optimal"
    return _outcome(found, status, " ".join([message, *notes]), found.plan)


def _outcome(found: Outcome, status: str, message: str, plan: ExactPlan) -> Outcome:
    prices = found.prices if plan is found.plan else {}
    return Outcome(status, message, plan, found.first, found.second, found.verified_by, prices)


def _advice(reason: str) -> str:
    return f"{reason} Until then hold."


def _notes(limits: Limits) -> list[str]:
    """Facts that the reader must know whatever the outcome."""
    notes = []
    stuck = stuck_usd(limits)
    if stuck > 0:
        notes.append(f"{stuck:,.2f} USD are stuck in pools that must be left.")
    if limits.is_relaxed:
        notes.append("Screening by LP: fixed costs and minimum sizes were not weighed; this is no plan to execute.")
    return notes


def _hold_message(problem: AllocationProblem, limits: Limits) -> str:
    if float(problem.aum_usd) < problem.parameters.min_transaction_usd:
        return f"The capital of {problem.aum_usd:,.2f} USD is below min_transaction_usd: hold."
    if not any(limits.pools[pool.pool_id].can_deposit for pool in problem.pools):
        return "No pool may take more: hold."
    return f"Doing nothing is best: no plan earns back its costs within {problem.parameters.break_even_days} days."


def _exact_gas(problem: AllocationProblem, model: AllocationModel, run: SolverRun, time_limit: float) -> int:
    """Gas units of the transactions that a solver's decisions lead to."""
    flows = fixed_flows(model, run.values, time_limit)
    return 0 if flows is None else build_steps(problem, model.limits, flows).gas_units


def _eth_message(problem: AllocationProblem, units: int) -> str:
    needed = units * problem.gas_price_p90_wei
    return (
        f"The wallet's ETH does not pay for gas: {_eth(needed)} ETH are needed at the p90 gas price, "
        f"{_eth(problem.eth_balance_wei)} ETH are there. Smallest relaxation: add "
        f"{_eth(needed - problem.eth_balance_wei)} ETH."
    )


def _eth(wei: int) -> str:
    """ETH with all its digits, without trailing zeros."""
    return f"{Decimal(wei).scaleb(-18).normalize():f}"


def _explain_infeasible(
    problem: AllocationProblem, idle: ExactPlan, reference: Reference, first: SolverRun, second: SolverRun
) -> Outcome:
    """Limits are built so that only gas can forbid what they force; anything else is not to be published.

    The smallest relaxation is the ETH that the way back within the limits takes.
    """
    forced = sum(problem.withdraw_gas(pool) for pool in problem.pools if pool.pool_id in reference.pools)
    if second.status == "infeasible" and forced * problem.gas_price_p90_wei > problem.eth_balance_wei:
        return Outcome("infeasible", _advice(_eth_message(problem, forced)), idle, first, second)
    return Outcome("unverified", "The solvers find no plan, and no limit explains it; hold.", idle, first, second)


def _pools_message(problem: AllocationProblem, limits: Limits, plan: ExactPlan, time_limit: float) -> str:
    """Names the smallest relaxation when min_pools keeps idle cash from working; empty when it does not."""
    parameters = problem.parameters
    has_deposit = any(step.step_type == "DEPOSIT" for step in plan.steps)
    idle = exact_sum(token.value(plan.wallet[token.address]) for token in problem.tokens)
    floor = Decimal(repr(parameters.min_transaction_usd))
    may_grow = [pool for pool in problem.pools if pool.can_grow]
    if has_deposit or limits.is_relaxed or idle < floor or not may_grow:
        return ""
    usable = [pool for pool in may_grow if limits.pools[pool.pool_id].can_deposit]
    if not usable:
        return _size_message(limits)
    model = build_model(problem, purpose="count")
    most = usable_pools(model) if solve_highs(model, time_limit).status == "optimal" else 0
    if most >= parameters.min_pools:
        return ""
    if most == 0:
        return "No pool can be entered with the tokens that are there: no smaller limit on size or number changes that."
    return (
        f"min_pools {parameters.min_pools} cannot be reached: within all caps at most {most} pools can hold "
        f"{parameters.min_position_share:.2%} of AUM each. Smallest relaxation: min_pools {most} "
        f"({parameters.min_pools - most} fewer)."
    )


def _size_message(limits: Limits) -> str:
    """No pool has room for the smallest new position: how far the minima would have to fall, rounded down.

    Raises nothing and names no figure where a cap leaves no room at all: then no minimum stands in the way.
    """
    parameters = limits.problem.parameters
    fresh = [limits.pools[pool.pool_id] for pool in limits.problem.pools if pool.can_grow]
    fresh = [bounds for bounds in fresh if not bounds.counts_when_kept]
    if not fresh:
        return ""
    best = max(fresh, key=lambda bounds: bounds.deposit_max)
    room = best.deposit_max - limits.margin
    if room < CENT:
        return f"No pool has room for a deposit: {best.cap_name} leaves none."
    found = []
    share = math.floor((best.held + room) / limits.aum * 1e6) / 1e6
    if share < parameters.min_position_share:
        found.append(("min_position_share", f"{parameters.min_position_share:.4%}", f"{share:.4%}"))
    usd = math.floor(room * 100.0) / 100.0
    if usd < parameters.min_transaction_usd:
        found.append(("min_transaction_usd", f"{parameters.min_transaction_usd:,.2f}", f"{usd:,.2f}"))
    wanted = " and ".join(f"{name} {now}" for name, now, _ in found)
    enough = " and ".join(f"{name} {least}" for name, _, least in found)
    return f"No pool has room for {wanted}. Smallest relaxation: {enough} ({best.cap_name})."


def _usd(value: float) -> Decimal:
    """A model figure as money, rounded to a millionth of a dollar."""
    return Decimal(repr(round(value, 6)))


def _apy(gain: float, aum: float, horizon: int) -> float:
    """Annual rate that gives `gain` on `aum` over the horizon, compounded."""
    return float(max(0.0, 1.0 + gain / aum) ** (DAYS_PER_YEAR / horizon) - 1.0) if aum > 0 else 0.0


def _runs_frame(problem: AllocationProblem, limits: Limits, outcome: Outcome, time_limit: float) -> pd.DataFrame:
    """The one row of `allocation_runs`."""
    plan, parameters = outcome.plan, problem.parameters
    held = problem.position_usd
    hold = limits.hold_gain
    gain = sum(
        pool_gain(pool, float(plan.position_usd(pool)), held[pool.pool_id], parameters) for pool in problem.pools
    ) + _leaving_gain(plan, limits)
    cost = float(plan.gas_usd) + float(plan.conversion_usd)
    aum, days = float(problem.aum_usd), parameters.horizon_days
    moved = {
        kind: float(exact_sum(step.value_usd for step in plan.steps if step.step_type == kind))
        for kind in ("WITHDRAW", "DEPOSIT")
    }
    first, second = outcome.first, outcome.second
    row: dict[str, Any] = {
        "run_id": problem.run_id,
        "date": problem.day,
        "status": outcome.status,
        "message": outcome.message,
        "policy_hash": problem.policy_hash,
        "input_hash": problem.input_hash,
        "objective": parameters.objective,
        "method": parameters.method,
        "horizon_days": days,
        "aum_usd": problem.aum_usd,
        "eth_balance_wei": problem.eth_balance_wei,
        "gain_usd": _usd(gain - cost),
        "hold_gain_usd": _usd(hold),
        "gas_usd": plan.gas_usd,
        "conversion_usd": plan.conversion_usd,
        "projected_apy": _apy(gain, aum, days),
        "projected_apy_net": _apy(gain - cost, aum, days),
        "hold_apy": _apy(hold, aum, days),
        "break_even_days": cost * days / (gain - hold) if gain > hold else None,
        "turnover": max(moved.values()) / aum if aum > 0 else 0.0,
        "n_pools": sum(any(amounts) for amounts in plan.positions.values()),
        "n_steps": len(plan.transactions),
        "solver": first.solver if first else None,
        "solver_status": first.status if first else None,
        "solver_objective": first.objective if first else None,
        "solver_bound": first.bound if first else None,
        "solver_gap": first.gap if first else None,
        "solver_seconds": first.seconds if first else None,
        "second_solver": second.solver if second else None,
        "second_objective": second.objective if second else None,
        "second_bound": second.bound if second else None,
        "verified_by": outcome.verified_by,
        "lp_bound_usd": _lp_bound(problem, time_limit) if first else None,
        "assumed_prices_json": canonical_json([token.address for token in problem.tokens if token.is_price_assumed]),
    }
    return pd.DataFrame([[row[name] for name in RUN_COLUMNS]], columns=RUN_COLUMNS, dtype=object).infer_objects()
