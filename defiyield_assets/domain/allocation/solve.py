"""Two solvers on one model: HiGHS first, CBC second, and the rule by which they agree.

Lives here: running them, their facts, agreement, the flows with the binaries fixed. Not here: the model (model.py),
exact amounts (steps.py). Both run on one thread with a fixed seed: equal input gives equal plans.
"""

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from defiyield_assets.domain.allocation.model import AllocationModel, conversion_cost

GAP_USD = 0.01
GAP_RELATIVE = 1e-4
TIME_LIMIT_SECONDS = 60.0
INTEGRALITY = 1e-7
"""Tolerance of HiGHS on integers; 1e-8 and less made it call feasible models infeasible."""
SEED = 20_250_602

Status = Literal["optimal", "stopped", "infeasible", "failed"]


@dataclass(frozen=True)
class SolverRun:
    """What one solver says. Objective and bound are USD of gain against doing nothing; bound ≥ best reachable gain."""

    solver: str
    status: Status
    objective: float | None
    bound: float | None
    seconds: float
    values: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def gap(self) -> float | None:
        """Absolute distance between objective and bound in USD."""
        return None if self.objective is None or self.bound is None else max(0.0, self.bound - self.objective)


Solver = Callable[[AllocationModel, float], SolverRun]


@dataclass(frozen=True)
class Flows:
    """Decisions, amounts in USD: what to deposit, to withdraw in part, to leave; which tokens to sell and buy.

    `objective` is the gain against doing nothing, `conversion_usd` what of it conversions cost at most.
    """

    deposits: dict[str, float]
    parts: dict[str, float]
    exits: frozenset[str]
    sells: frozenset[str]
    buys: frozenset[str]
    objective: float
    conversion_usd: float = 0.0
    sold: dict[str, float] = field(default_factory=dict)
    bought: dict[str, float] = field(default_factory=dict)
    """USD that leave as `sells` and arrive as `buys`; not given: what is left over and what is missing."""
    prices: dict[str, float] = field(default_factory=dict, repr=False)
    """Shadow prices at these decisions, by constraint and by variable for its upper bound: gain in USD over the horizon
    per USD of room."""


def solve_highs(model: AllocationModel, time_limit: float = TIME_LIMIT_SECONDS) -> SolverRun:
    """Solve with HiGHS (highspy) through PuLP; "infeasible" counts only when it says so without presolve too."""
    run = _run_highs(model, time_limit, {})
    return run if run.status != "infeasible" else _run_highs(model, time_limit, {"presolve": "off"})


def _run_highs(model: AllocationModel, time_limit: float, options: dict[str, str]) -> SolverRun:
    import highspy
    import pulp

    solver = pulp.HiGHS(
        msg=False,
        gapAbs=GAP_USD / model.unit,
        gapRel=GAP_RELATIVE,
        threads=1,
        timeLimit=time_limit,
        random_seed=SEED,
        mip_feasibility_tolerance=INTEGRALITY,
        # these find nothing here that other heuristics do not; they took most of a small model's time, half of others'
        mip_heuristic_run_feasibility_jump=False,
        mip_heuristic_run_root_reduced_cost=False,
        **options,
    )
    started = time.perf_counter()
    model.lp.solve(solver)
    seconds = time.perf_counter() - started
    backend = model.lp.solverModel
    name, reached = f"HiGHS {backend.version()}", backend.getModelStatus()
    statuses = highspy.HighsModelStatus
    if reached in (statuses.kInfeasible, statuses.kUnboundedOrInfeasible):
        return SolverRun(name, "infeasible", None, None, seconds)
    info = backend.getInfo()
    objective = -info.objective_function_value * model.unit
    if not abs(objective) < float("inf"):
        return SolverRun(name, "failed", None, None, seconds)
    is_integer = any(variable.cat == pulp.LpInteger for variable in model.lp.variables())
    bound = -info.mip_dual_bound * model.unit if is_integer else objective
    status: Status = "optimal" if reached == statuses.kOptimal else "stopped"
    return SolverRun(name, status, objective, bound, seconds, _values(model))


def solve_cbc(model: AllocationModel, time_limit: float = TIME_LIMIT_SECONDS) -> SolverRun:
    """Solve with CBC, the second opinion; its bound is read from its log.

    CBC 2.10.3 calls some feasible models infeasible when it presolves them: it is asked again without. Without, it
    crashes (SIGSEGV) on some that are infeasible: then once more, in another way. A crash is never an answer.
    """
    run = _run_cbc(model, time_limit, [])
    if run.status in ("infeasible", "failed"):
        run = _run_cbc(model, time_limit, ["preprocess off", "presolve off"])
    return run if run.status != "failed" else _run_cbc(model, time_limit, ["preprocess aggregate", "presolve off"])


def solve_cbc_plainly(model: AllocationModel, time_limit: float = TIME_LIMIT_SECONDS) -> SolverRun:
    """CBC without its preprocessing, which on a few models leaves it short of the optimum that it claims."""
    return _run_cbc(model, time_limit, ["preprocess off"])


def _run_cbc(model: AllocationModel, time_limit: float, options: list[str]) -> SolverRun:
    import pulp
    from pulp.apis.coin_api import PULP_CBC_CMD

    with tempfile.TemporaryDirectory(prefix="defiyield-cbc-") as folder:
        log = Path(folder) / "cbc.log"
        solver = pulp.COIN_CMD(
            path=PULP_CBC_CMD.pulp_cbc_path,
            msg=False,
            gapAbs=GAP_USD / model.unit,
            gapRel=GAP_RELATIVE,
            timeLimit=time_limit,
            options=[f"randomSeed {SEED}", f"randomCbcSeed {SEED}", *options],
            logPath=str(log),
        )
        solver.tmpDir = folder
        started = time.perf_counter()
        try:
            model.lp.solve(solver)
        except pulp.PulpSolverError:
            return SolverRun("CBC", "failed", None, None, time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return _read_cbc(model, log.read_text(encoding="utf-8", errors="replace"), seconds)


def _read_cbc(model: AllocationModel, log: str, seconds: float) -> SolverRun:
    """Facts from CBC's log. Its solution file holds 8 digits; the objective in the log holds more."""
    import pulp

    version = re.search(r"^Version:\s*(\S+)", log, re.MULTILINE)
    name = f"CBC {version.group(1)}" if version else "CBC"
    if model.lp.status == pulp.LpStatusInfeasible:
        return SolverRun(name, "infeasible", None, None, seconds)
    if model.lp.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return SolverRun(name, "failed", None, None, seconds)
    found = re.findall(r"^(?:Objective value:|Optimal objective)\s+(-?[\d.]+(?:e[+-]?\d+)?)", log, re.MULTILINE)
    objective = -float(found[-1] if found else pulp.value(model.lp.objective)) * model.unit
    lower = re.findall(r"^Lower bound:\s+(-?[\d.]+(?:e[+-]?\d+)?)", log, re.MULTILINE)
    bound = -float(lower[-1]) * model.unit if lower else objective
    is_stopped = "Result - Stopped" in log or model.lp.sol_status == pulp.LpSolutionIntegerFeasible
    return SolverRun(name, "stopped" if is_stopped else "optimal", objective, bound, seconds, _values(model))


def agreement(first: SolverRun, second: SolverRun) -> str | None:
    """How the second solver confirms the first: 'objective', 'bound', or None when the plan must not be published.

    objective: both are optimal and |Δ objective| ≤ the sum of both gaps. bound: the first is optimal and its objective
    lies inside the second's [incumbent, bound].
    """
    if first.status != "optimal" or first.objective is None or second.objective is None or second.bound is None:
        return None
    difference = abs(first.objective - second.objective)
    if second.status == "optimal" and difference <= _claimed_gap(first) + _claimed_gap(second):
        return "objective"
    slack = 1e-6 * max(1.0, abs(first.objective))
    inside = second.objective - slack <= first.objective <= second.bound + slack
    return "bound" if inside and second.status in ("optimal", "stopped") else None


def is_confirmed(flows: Flows, run: SolverRun) -> bool:
    """The flows with fixed binaries are worth what the solver said, within the gaps."""
    return run.objective is not None and abs(flows.objective - run.objective) <= 2.0 * _claimed_gap(run)


def _claimed_gap(run: SolverRun) -> float:
    """A solver stops inside max(0.01 USD, 1e-4): it claims no more than that, however small its reported gap is."""
    objective = 0.0 if run.objective is None else abs(run.objective)
    return max(GAP_USD, GAP_RELATIVE * objective)


def fixed_flows(
    model: AllocationModel, values: dict[str, float], time_limit: float = TIME_LIMIT_SECONDS
) -> Flows | None:
    """Fix the binaries at a solver's decisions and solve the rest again; None when that has no solution.

    Removes what integrality tolerances leak through switches that are off. The model is left as it was.
    """
    import pulp

    if not values:
        return None
    wanted = decisions(model, values)
    bounds = [(switch, switch.lowBound, switch.upBound) for switch in model.binaries]
    for switch in model.binaries:
        switch.lowBound = switch.upBound = float(wanted[switch.name])
    # what is fixed need not be integer, and only a linear program has prices
    model.lp.solve(pulp.HiGHS(mip=False, msg=False, threads=1, timeLimit=time_limit, random_seed=SEED))
    for switch, low, high in bounds:
        switch.lowBound, switch.upBound = low, high
    if model.lp.status != pulp.LpStatusOptimal:
        return None
    found = _values(model)

    def flow(variable: Any) -> float:
        return max(0.0, found[variable.name]) * model.unit

    pools, chosen = model.pools.items(), decisions(model, found)
    return Flows(
        deposits={key: flow(pool.deposit) for key, pool in pools if _is_on(chosen, pool.deposit_on)},
        parts={key: flow(pool.part) for key, pool in pools if _is_on(chosen, pool.part_on)},
        exits=frozenset(key for key, pool in pools if _is_on(chosen, pool.exit_on)),
        sells=frozenset(token for token, (_, switch) in model.sold.items() if chosen[switch.name]),
        buys=frozenset(token for token, (_, switch) in model.bought.items() if chosen[switch.name]),
        objective=-pulp.value(model.lp.objective) * model.unit,
        conversion_usd=float(pulp.value(conversion_cost(model)) or 0.0) * model.unit,
        sold={token: flow(amount) for token, (amount, switch) in model.sold.items() if chosen[switch.name]},
        bought={
            token: max(0.0, flow(amount) - float(pulp.value(model.lost(amount)) or 0.0) * model.unit)
            for token, (amount, switch) in model.bought.items()
            if chosen[switch.name]
        },
        prices=_prices(model),
    )


def _prices(model: AllocationModel) -> dict[str, float]:
    """What room is worth in a solved linear program: how the gain rises when a row or an upper bound gives way.

    Caps keep a cent for rounding, and where they take all cash but these cents a dollar would seem to be worth nothing.
    So the program is solved once more with these cents less: a dollar is worth what the plan would lose without it.
    """
    import highspy

    backend, solution = model.lp.solverModel, model.lp.solverModel.getSolution()
    for index, low in _cents_left(model):
        backend.changeRowBounds(index, low, highspy.kHighsInf)
    off = [amount for amount, switch in model.amounts if switch.varValue < 0.5]
    for amount in off:  # within its tolerance a solver would use what is switched off
        backend.changeColBounds(amount.index, 0.0, 0.0)
    backend.run()
    if backend.getModelStatus() == highspy.HighsModelStatus.kOptimal:
        solution = backend.getSolution()
    rows, columns = solution.row_dual, solution.col_dual
    found = {row.name: rows[row.index] * (1.0 if row.sense > 0 else -1.0) for row in model.lp.constraints()}
    found |= {variable.name: max(0.0, -columns[variable.index]) for variable in model.lp.variables()}
    closed = {name for amount in off for name in (amount.name, f"{amount.name}_most", f"{amount.name}_least")}
    return {name: 0.0 if name in closed else price for name, price in found.items()}


def _cents_left(model: AllocationModel) -> list[tuple[int, float]]:
    """Balances of tokens of which a plan that uses them leaves no more than cents: row, and the bound without them."""
    margin = model.limits.margin / model.unit
    most, found = margin * (2 + len(model.pools) + len(model.limits.shared)), []
    for row in model.lp.constraints():
        if not row.name.startswith("idle") or row.name == "idle_buffer":
            continue
        there = row.constant + sum(part * float(variable.varValue or 0.0) for variable, part in row.items() if part > 0)
        left = row.constant + sum(part * float(variable.varValue or 0.0) for variable, part in row.items())
        if left <= most < there:
            found.append((row.index, max(0.0, left) + margin - row.constant))
    return found


def _is_on(chosen: dict[str, bool], switch: Any) -> bool:
    return switch is not None and chosen[switch.name]


def decisions(model: AllocationModel, values: dict[str, float]) -> dict[str, bool]:
    """On or off per binary. In the relaxed model what flows is on, and of two opposite flows the larger one."""
    if not model.limits.is_relaxed:
        return {switch.name: values[switch.name] > 0.5 for switch in model.binaries}
    tiny = model.limits.margin / model.unit

    def size(amount: Any) -> float:
        return 0.0 if amount is None else values[amount.name]

    chosen: dict[str, bool] = {}
    for pool in model.pools.values():
        if pool.deposit is not None:
            chosen[pool.deposit_on.name] = size(pool.deposit) > max(tiny, size(pool.part))
        if pool.part is not None:
            chosen[pool.part_on.name] = size(pool.part) > tiny and size(pool.part) >= size(pool.deposit)
        if pool.exit_on is not None:
            chosen[pool.exit_on.name] = values[pool.exit_on.name] > 0.5
    sold = {token: size(amount) for token, (amount, _) in model.sold.items()}
    bought = {token: size(amount) for token, (amount, _) in model.bought.items()}
    for token, (_, switch) in model.sold.items():
        chosen[switch.name] = sold[token] > max(tiny, bought.get(token, 0.0))
    for token, (_, switch) in model.bought.items():
        chosen[switch.name] = bought[token] > tiny and bought[token] >= sold.get(token, 0.0)
    for switch in (model.any_conversion, model.any_deposit):
        if switch is not None:
            chosen[switch.name] = values[switch.name] > 0.5
    if model.any_conversion is not None:
        chosen[model.any_conversion.name] = any(chosen[switch.name] for _, switch in model.sold.values())
    return chosen


def _values(model: AllocationModel) -> dict[str, float]:
    return {variable.name: float(variable.varValue or 0.0) for variable in model.lp.variables()}
