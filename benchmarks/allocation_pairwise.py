"""The usual formulation of the allocation: one amount and one binary per ordered pair of tokens, one global big M.

Lives here: that model in PuLP, for comparison only; its rules (bounds, caps, costs) are the test oracle's, so that its
objective means what the optimiser's means, but for cents of slippage, whose secants stand elsewhere, and for swaps that
it saves where conversions fall into parts that balance by themselves. Kinked gains are their concave hull here, and
hysteresis is that of the plan as a whole: both in its favour. Not here: the optimiser (domain/allocation), whose
conversions go through a numeraire and whose bounds are all tight.
"""

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

import highspy
import pulp

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.gains import hull, secant_gain, secant_knots, secants
from defiyield_assets_tests.domain.allocation.brute_force import Choice, Found, Oracle

GAP_USD = 0.01
GAP_RELATIVE = 1e-4
NOTHING = "none"
SLIPPAGE_KNOTS = (0.0, 1 / 64, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)


@dataclass(frozen=True)
class PairwiseRun:
    """What the solver says about the pairwise model: USD of gain against doing nothing."""

    status: str
    objective: float | None
    bound: float | None
    seconds: float

    @property
    def relative_gap(self) -> float | None:
        """Distance between objective and bound as part of the objective."""
        if self.objective is None or self.bound is None:
            return None
        return (self.bound - self.objective) / max(abs(self.objective), 1e-9)


class PairwiseModel:
    """Final value per pool, switches for depositing, withdrawing and leaving, and a matrix of conversions."""

    def __init__(self, problem: AllocationProblem, big_m: float) -> None:
        self.oracle, self.big_m = Oracle(problem), big_m
        self.lp = pulp.LpProblem("pairwise", pulp.LpMaximize)
        self.value: list[Any] = []
        self.change: list[tuple[Any, Any]] = []
        self.on: list[dict[str, Any]] = []
        self.gains: list[Any] = []
        self.hold = 0.0
        self.slippage: list[Any] = []
        self.swaps: dict[tuple[int, int], tuple[Any, Any]] = {}
        for index in range(len(problem.pools)):
            self._add_pool(index)
        self._add_swaps()
        self._add_balances()
        self._add_caps()
        self._add_minimum_pools()
        self._add_objective()

    def solve(self, time_limit: float, **options: str) -> PairwiseRun:
        """Solve with HiGHS at the optimiser's gaps; `options` are more of HiGHS's own."""
        solver = pulp.HiGHS(msg=False, threads=1, timeLimit=time_limit, gapRel=GAP_RELATIVE, gapAbs=GAP_USD, **options)
        started = time.perf_counter()
        self.lp.solve(solver)
        seconds = time.perf_counter() - started
        backend = self.lp.solverModel
        info, status = backend.getInfo(), backend.getModelStatus()
        objective = -float(info.objective_function_value) - self.hold
        is_found = (
            abs(objective) < 1e15 and info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        )
        return PairwiseRun(
            "optimal" if status == highspy.HighsModelStatus.kOptimal else "stopped" if is_found else str(status),
            objective if is_found else None,
            -float(info.mip_dual_bound) - self.hold,
            seconds,
        )

    def _binary(self, name: str) -> Any:
        return self.lp.add_variable(name, 0, 1, cat="Integer")

    def _add_pool(self, index: int) -> None:
        oracle, lp, m = self.oracle, self.lp, self.big_m
        held, stuck = oracle.held[index], oracle.stuck[index]
        pool = oracle.problem.pools[index]
        value = lp.add_variable(f"V{index}", 0)
        added, taken = lp.add_variable(f"in{index}", 0), lp.add_variable(f"out{index}", 0, max(0.0, held - stuck))
        lp.addConstraint(value == held + added - taken)
        wanted = ["deposit"] if pool.can_grow else []
        wanted += [] if held <= stuck else ["exit"] if pool.is_must_exit else ["part", "exit"]
        bounds = {option: oracle._value_bounds(index, option) for option in wanted}
        on = {option: self._binary(f"{option}{index}") for option in wanted if bounds[option] is not None}
        for option, switch in on.items():
            low, high = bounds[option] or (0.0, 0.0)
            lp.addConstraint(value >= low - m * (1 - switch))
            lp.addConstraint(value <= high + m * (1 - switch))
        moves = pulp.lpSum(on.values())
        lp.addConstraint(moves <= 1)
        may_rest = not (pool.is_must_exit and held > stuck) and oracle._value_bounds(index, NOTHING) is not None
        if not may_rest:
            lp.addConstraint(moves >= 1)
        lp.addConstraint(added <= m * on["deposit"] if "deposit" in on else added <= 0)
        out = pulp.lpSum(switch for option, switch in on.items() if option != "deposit")
        lp.addConstraint(taken <= m * out)
        gain = lp.add_variable(f"G{index}")
        most = oracle._knots(index)[-1]
        branches = secants(pool, held, most, oracle.parameters)
        if len(branches) > 1:
            branches = hull(branches, secant_knots(pool, held, most))
        for slope, intercept in branches[0]:
            lp.addConstraint(gain <= slope * value + intercept)
        self.hold += secant_gain(branches, held)
        self.value.append(value)
        self.change.append((added, taken))
        self.on.append(on)
        self.gains.append(gain + oracle._later(index, "part") * taken)

    def _add_swaps(self) -> None:
        tokens = self.oracle.problem.tokens
        for source, sink in itertools.permutations(range(len(tokens)), 2):
            if tokens[sink].is_buyable:
                amount = self.lp.add_variable(f"x{source}_{sink}", 0)
                switch = self._binary(f"y{source}_{sink}")
                self.lp.addConstraint(amount <= self.big_m * switch)
                self.lp.addConstraint(amount >= self.oracle.parameters.min_transaction_usd * switch)
                self.swaps[source, sink] = (amount, switch)

    def _lost(self, t: int, amount: Any, name: str, most: float) -> Any:
        """Slippage k·x² of what is converted of a token up to `most`, by secants; 0 for tokens without."""
        k = float(self.oracle.problem.tokens[t].slippage)
        if not k or most <= 0.0:
            return 0.0
        lost = self.lp.add_variable(name, 0)
        for left, right in itertools.pairwise(most * part for part in SLIPPAGE_KNOTS):
            self.lp.addConstraint(lost >= k * (left + right) * amount - k * left * right)
        self.slippage.append(lost)
        return 1.0 * lost

    def _legs(self, index: int) -> list[Any]:
        """Value of each token in a pool at the end."""
        oracle, (added, taken) = self.oracle, self.change[index]
        values = [float(value) for value in oracle.problem.leg_values(oracle.problem.pools[index])]
        parts = [slope for _, slope in oracle._legs(index, "deposit")]
        held = oracle.held[index]
        return [
            value + part * added - (value / held if held else 0.0) * taken
            for value, part in zip(values, parts, strict=True)
        ]

    def _add_balances(self) -> None:
        oracle, problem = self.oracle, self.oracle.problem
        keep = 1.0 - oracle.parameters.conversion_rate
        for t, token in enumerate(problem.tokens):
            terms: list[Any] = [oracle.wallet[t]]
            for index, pool in enumerate(problem.pools):
                if token.address in pool.tokens:
                    position = pool.tokens.index(token.address)
                    before = float(token.value(pool.amounts[position]))
                    terms.append(before - self._legs(index)[position])
                    if pool.exit_days and oracle.held[index]:
                        terms.append(-before / oracle.held[index] * self.change[index][1])
            bought = pulp.lpSum(keep * amount for (_, sink), (amount, _) in self.swaps.items() if sink == t)
            sold = pulp.lpSum(amount for (source, _), (amount, _) in self.swaps.items() if source == t)
            own = oracle.wallet[t] + sum(
                float(value)
                for pool in problem.pools
                for address, value in zip(pool.tokens, problem.leg_values(pool), strict=True)
                if address == token.address
            )
            most = oracle.parameters.max_pool_share * oracle.aum
            lost = self._lost(t, bought, f"lost_in{t}", most) + self._lost(t, sold, f"lost_out{t}", own)
            self.lp.addConstraint(pulp.lpSum(terms) + bought - sold - lost >= 0)

    def _add_caps(self) -> None:
        oracle, problem, p = self.oracle, self.oracle.problem, self.oracle.parameters
        for limit, members in oracle.shared_caps():
            terms = [
                leg
                for index, pool in enumerate(problem.pools)
                if members[index]
                for address, leg in zip(pool.tokens, self._legs(index), strict=True)
                if address in members[index]
            ]
            if terms:
                self.lp.addConstraint(pulp.lpSum(terms) <= limit)
        if p.idle_buffer_share:
            beyond = sum(
                held if pool.exit_days else stuck
                for pool, held, stuck in zip(problem.pools, oracle.held, oracle.stuck, strict=True)
            )
            spent: list[Any] = [p.conversion_rate * amount for amount, _ in self.swaps.values()]
            spent += self.slippage
            for index, pool in enumerate(problem.pools):
                spent.append(self.value[index] + (self.change[index][1] if pool.exit_days else 0))
            room = oracle.aum - min(p.idle_buffer_share * oracle.aum, oracle.aum - beyond)
            self.lp.addConstraint(pulp.lpSum(spent) <= room)

    def _add_minimum_pools(self) -> None:
        p, lp = self.oracle.parameters, self.lp
        deposits = [on["deposit"] for on in self.on if "deposit" in on]
        used: list[Any] = list(deposits)
        for on, held in zip(self.on, self.oracle.held, strict=True):
            if held > 0 and held >= p.min_position_share * self.oracle.aum:
                used.append(1 - on.get("exit", 0) - on.get("deposit", 0))
        for switch in deposits:
            lp.addConstraint(pulp.lpSum(used) >= p.min_pools * switch)

    def _gas(self, index: int) -> Any:
        oracle, count = self.oracle, len(self.on)
        terms = []
        for option, switch in self.on[index].items():
            pools = (NOTHING,) * index + (option,) + (NOTHING,) * (count - index - 1)
            terms.append(oracle._pool_gas(Choice(pools, ()))[index] * switch)
        return pulp.lpSum(terms)

    def _add_objective(self) -> None:
        """Gain less costs; they are earned back within break_even_days by the plan as a whole."""
        oracle, p = self.oracle, self.oracle.parameters
        swap = oracle._usd(p.gas_units.swap + p.gas_units.approve)
        costs = pulp.lpSum(
            [*(self._gas(index) for index in range(len(self.on)))]
            + [p.conversion_rate * amount + swap * switch for amount, switch in self.swaps.values()]
            + self.slippage
        )
        gains = pulp.lpSum(self.gains)
        self.lp.setObjective(gains - costs)
        reference = self._reference()
        share = p.break_even_days / p.horizon_days
        allowed = sum(reference.pool_gas) - share * (self.hold + sum(reference.pool_gains))
        self.lp.addConstraint(costs - share * gains <= allowed + 1e-6)

    def _reference(self) -> Found:
        """What the limits force: nothing, or the cheapest of all ways back; only what is held can be withdrawn."""
        problem = self.oracle.problem
        oracle = Oracle(replace(problem, pools=tuple(pool for pool in problem.pools if pool.is_held)))
        nothing = Choice((NOTHING,) * len(oracle.held), (NOTHING,) * len(oracle.wallet))
        found = oracle._search([nothing], None) or oracle._search(oracle._choices(withdraw_only=True), None)
        if found is None:
            raise ValueError("no way back within the limits")
        return found
