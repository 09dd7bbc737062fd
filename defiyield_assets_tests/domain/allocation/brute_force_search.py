"""The oracle on instances too large to solve every combination: depth first over all decisions, each leaf an LP.

Lives here: which branches cannot hold a better leaf, by scipy's LP over the decisions still open (their convex hull,
written from the oracle's rules). Not here: the rules and the leaves (brute_force.py), anything of the optimiser.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linprog

from defiyield_assets_tests.domain.allocation.brute_force import Choice, Found, Oracle

INTEGRAL = 1e-6
NOTHING = "none"
SIDES = ("none", "sold", "bought")
BETTER_USD = 0.002
"""A branch whose bound is not better than the best leaf by this much is not entered."""


@dataclass(frozen=True)
class Branch:
    """What is decided so far: the options left per pool and per token."""

    pools: tuple[tuple[str, ...], ...]
    tokens: tuple[tuple[str, ...], ...]

    def with_pool(self, index: int, options: tuple[str, ...]) -> "Branch":
        return replace(self, pools=(*self.pools[:index], options, *self.pools[index + 1 :]))

    def with_token(self, index: int, options: tuple[str, ...]) -> "Branch":
        return replace(self, tokens=(*self.tokens[:index], options, *self.tokens[index + 1 :]))


class Relaxation:
    """Upper bound of all leaves below a branch: one LP in which every open decision is a mixture of its options.

    Columns: per pool and option its weight z and, where the option leaves a choice, value v and gain g; per token the
    weights and amounts of selling and buying; one for "something is converted", one for "something is deposited".
    """

    def __init__(self, oracle: Oracle, reference: Found | None, root: Branch) -> None:
        self.oracle, self.root = oracle, root
        self.names: dict[tuple[object, ...], int] = {}
        self.low: list[float] = []
        self.high: list[float] = []
        self.rows: list[dict[int, float]] = []
        self.limits: list[float] = []
        self.gain: dict[int, float] = {}
        self.shift = 0.0
        for index, options in enumerate(root.pools):
            self._add_pool(index, options)
        self._add_tokens()
        self._add_caps()
        self._add_minimum_pools()
        if reference is not None:
            self._add_hysteresis(reference)
        self.matrix = np.zeros((len(self.rows), len(self.low)))
        for number, row in enumerate(self.rows):
            for column, value in row.items():
                self.matrix[number, column] = value
        self.objective = np.zeros(len(self.low))
        for column, value in self.gain.items():
            self.objective[column] = -value

    def solve(self, branch: Branch) -> tuple[float, np.ndarray] | None:
        """Bound and solution of a branch, or None when nothing below it is feasible."""
        high = np.array(self.high)
        for kind, opened, left in (("z", self.root.pools, branch.pools), ("t", self.root.tokens, branch.tokens)):
            for index, options in enumerate(opened):
                for option in options:
                    if option not in left[index] and (kind, index, option) in self.names:
                        high[self.names[kind, index, option]] = 0.0
        found = linprog(
            self.objective,
            A_ub=self.matrix,
            b_ub=np.array(self.limits) + 1e-6,
            bounds=np.column_stack([self.low, high]),
            method="highs",
        )
        return (self.shift - found.fun, found.x) if found.status == 0 else None

    def weight(self, solution: np.ndarray, kind: str, index: int, option: str) -> float:
        """How much of a decision is this option."""
        if kind == "t" and option == NOTHING:
            return 1.0 - sum(self.weight(solution, "t", index, side) for side in SIDES[1:])
        column = self.names.get((kind, index, option))
        return 0.0 if column is None else float(solution[column])

    def _new(self, name: tuple[object, ...], low: float, high: float) -> int:
        self.names[name] = len(self.low)
        self.low.append(low)
        self.high.append(high)
        return self.names[name]

    def _row(self, coefficients: dict[int, float], limit: float) -> None:
        self.rows.append(coefficients)
        self.limits.append(limit)

    def _add_pool(self, index: int, options: tuple[str, ...]) -> None:
        oracle, weights = self.oracle, []
        knots = oracle._knots(index)
        for option in options:
            bounds = oracle._value_bounds(index, option)
            if bounds is None:
                continue
            z = self._new(("z", index, option), 0.0, 1.0)
            weights.append(z)
            if bounds[0] == bounds[1]:
                continue
            v = self._new(("v", index, option), 0.0, bounds[1])
            g = self._new(("g", index, option), -np.inf, np.inf)
            self._row({v: 1.0, z: -bounds[1]}, 0.0)
            self._row({v: -1.0, z: bounds[0]}, 0.0)
            for left, right in itertools.pairwise(knots):
                start, end = oracle._secant(index, left), oracle._secant(index, right)
                slope = (end - start) / (right - left)
                self._row({g: 1.0, v: -slope, z: slope * left - start}, 0.0)
            if len(knots) == 1:
                self._row({g: 1.0}, 0.0)
        self._row(dict.fromkeys(weights, 1.0), 1.0)
        self._row(dict.fromkeys(weights, -1.0), -1.0)

    def _options(self, index: int) -> list[tuple[str, int]]:
        return [
            (option, self.names["z", index, option])
            for option in self.root.pools[index]
            if ("z", index, option) in self.names
        ]

    def _value(self, index: int, option: str) -> dict[int, float]:
        """Final value under an option as columns and coefficients."""
        if ("v", index, option) in self.names:
            return {self.names["v", index, option]: 1.0}
        bounds = self.oracle._value_bounds(index, option)
        assert bounds is not None
        return {self.names["z", index, option]: bounds[0]}

    def _gains(self, index: int) -> dict[int, float]:
        """Gain of a pool, with what leaves it and earns later."""
        oracle, held = self.oracle, self.oracle.held[index]
        terms: dict[int, float] = {}
        for option, z in self._options(index):
            later = oracle._later(index, option)
            terms[z] = terms.get(z, 0.0) + later * held
            for column, value in self._value(index, option).items():
                terms[column] = terms.get(column, 0.0) - later * value
            if ("g", index, option) in self.names:
                terms[self.names["g", index, option]] = 1.0
            else:
                bounds = oracle._value_bounds(index, option)
                assert bounds is not None
                terms[z] += oracle._secant(index, bounds[0])
        return terms

    def _gas(self, index: int) -> dict[int, float]:
        oracle, count = self.oracle, len(self.root.pools)
        gas = {}
        for option, z in self._options(index):
            pools = (NOTHING,) * index + (option,) + (NOTHING,) * (count - index - 1)
            gas[z] = oracle._pool_gas(Choice(pools, (NOTHING,) * len(self.root.tokens)))[index]
        return gas

    def _add_tokens(self) -> None:
        oracle, problem = self.oracle, self.oracle.problem
        smallest = oracle.parameters.min_transaction_usd
        sold, bought = [], []
        for t, token in enumerate(problem.tokens):
            there = oracle.wallet[t] + sum(
                float(value)
                for pool in problem.pools
                for address, value in zip(pool.tokens, problem.leg_values(pool), strict=True)
                if address == token.address
            )
            for side, most, sides in (("sold", there, sold), ("bought", oracle.aum, bought)):
                if side in self.root.tokens[t]:
                    z = self._new(("t", t, side), 0.0, 1.0)
                    amount = self._new(("a", t, side), 0.0, most)
                    sides.append(t)
                    self._row({amount: 1.0, z: -most}, 0.0)
                    self._row({amount: -1.0, z: smallest}, 0.0)
            if ("t", t, "bought") in self.names:
                self._row({self.names["t", t, "sold"]: 1.0, self.names["t", t, "bought"]: 1.0}, 1.0)
        self._new(("any",), 0.0, 1.0)
        for side, sides, others in (("sold", sold, bought), ("bought", bought, sold)):
            own = {self.names["t", t, side]: -1.0 for t in sides}
            self._row({self.names["any",]: 1.0} | own, 0.0)
            other = "bought" if side == "sold" else "sold"
            for t in others:
                self._row({self.names["t", t, other]: 1.0} | own, 0.0)
        keep = 1.0 - oracle.parameters.conversion_rate
        self._row(
            {self.names["a", t, "bought"]: 1.0 for t in bought} | {self.names["a", t, "sold"]: -keep for t in sold},
            0.0,
        )
        self._add_flows()

    def _add_flows(self) -> None:
        """No token is overspent: what is deposited and sold was in the wallet, withdrawn or bought."""
        oracle, problem = self.oracle, self.oracle.problem
        for t, token in enumerate(problem.tokens):
            row = {
                self.names["a", t, side]: sign
                for side, sign in (("sold", 1.0), ("bought", -1.0))
                if ("a", t, side) in self.names
            }
            for index, pool in enumerate(problem.pools):
                for option, z in self._options(index):
                    if token.address not in pool.tokens or (pool.exit_days and option != "deposit"):
                        continue
                    position = pool.tokens.index(token.address)
                    fixed, slope = oracle._legs(index, option)[position]
                    before = float(token.value(pool.amounts[position]))
                    row[z] = row.get(z, 0.0) + fixed - before
                    for column, value in self._value(index, option).items():
                        row[column] = row.get(column, 0.0) + slope * value
            self._row(row, oracle.wallet[t])

    def _add_caps(self) -> None:
        oracle, problem, p = self.oracle, self.oracle.problem, self.oracle.parameters
        for limit, members in oracle.shared_caps():
            row: dict[int, float] = {}
            for index, pool in enumerate(problem.pools):
                for option, z in self._options(index):
                    for address, (fixed, slope) in zip(pool.tokens, oracle._legs(index, option), strict=True):
                        if address in members[index]:
                            row[z] = row.get(z, 0.0) + fixed
                            for column, value in self._value(index, option).items():
                                row[column] = row.get(column, 0.0) + slope * value
            self._row(row, limit)
        if p.idle_buffer_share:
            beyond = sum(
                held if pool.exit_days else stuck
                for pool, held, stuck in zip(problem.pools, oracle.held, oracle.stuck, strict=True)
            )
            row = dict.fromkeys(self._amounts("sold"), p.conversion_rate)
            for index, pool in enumerate(problem.pools):
                for option, z in self._options(index):
                    is_queued = bool(pool.exit_days) and option != "deposit"
                    row |= {z: oracle.held[index]} if is_queued else self._value(index, option)
            self._row(row, oracle.aum - min(p.idle_buffer_share * oracle.aum, oracle.aum - beyond))

    def _amounts(self, side: str) -> list[int]:
        return [column for name, column in self.names.items() if name[0] == "a" and name[2] == side]

    def _add_minimum_pools(self) -> None:
        oracle, p = self.oracle, self.oracle.parameters
        any_deposit = self._new(("any deposit",), 0.0, 1.0)
        row = {any_deposit: float(p.min_pools)}
        for index, held in enumerate(oracle.held):
            for option, z in self._options(index):
                if option == "deposit":
                    self._row({z: 1.0, any_deposit: -1.0}, 0.0)
                if option == "deposit" or (option != "exit" and held >= p.min_position_share * oracle.aum and held > 0):
                    row[z] = -1.0
        self._row(row, 0.0)

    def _add_hysteresis(self, reference: Found) -> None:
        """Objective, and the rule for the plan as a whole; what single components must earn is left to the leaves."""
        oracle, p = self.oracle, self.oracle.parameters
        share = p.break_even_days / p.horizon_days
        gains: dict[int, float] = {}
        costs = dict.fromkeys(self._amounts("sold"), p.conversion_rate)
        for index in range(len(oracle.held)):
            gains |= self._gains(index)
            costs |= self._gas(index)
        swap = oracle._usd(p.gas_units.swap + p.gas_units.approve)
        costs |= {column: swap for name, column in self.names.items() if name[0] == "t"}
        costs[self.names["any",]] = -swap
        hold = sum(oracle._secant(index, held) for index, held in enumerate(oracle.held))
        terms = {column: gains.get(column, 0.0) - costs.get(column, 0.0) for column in {*gains, *costs}}
        self.gain, self.shift = terms, -hold
        row = {column: costs.get(column, 0.0) - share * gains.get(column, 0.0) for column in terms}
        self._row(row, sum(reference.pool_gas) - share * (hold + sum(reference.pool_gains)))


@dataclass(frozen=True)
class Best:
    """The best gain over all decisions, and how many linear programs it took to know."""

    gain: float
    solved: int


def best_of_all(oracle: Oracle) -> Best | None:
    """The best leaf, or None when nothing is feasible."""
    nothing = Choice((NOTHING,) * len(oracle.held), (NOTHING,) * len(oracle.wallet))
    reference = oracle._search([nothing], None) or oracle._search(oracle._choices(withdraw_only=True), None)
    if reference is None:
        return None
    search = _Search(oracle, reference)
    search.run()
    return None if search.best is None else Best(search.best, search.count)


class _Search:
    def __init__(self, oracle: Oracle, reference: Found) -> None:
        choices = oracle._choices(withdraw_only=False)
        pools = tuple(
            tuple(dict.fromkeys(column)) for column in zip(*(choice.pools for choice in choices), strict=True)
        )
        tokens = tuple(tuple(SIDES if token.is_buyable else SIDES[:2]) for token in oracle.problem.tokens)
        self.oracle, self.reference = oracle, reference
        self.root = Branch(pools, tokens)
        self.relaxation = Relaxation(oracle, reference, self.root)
        self.leaves: dict[Choice, float] = {}
        self.best: float | None = None
        self.count = 0

    def run(self) -> None:
        """Depth first; a branch is left when its own bound is not above the best leaf, or nothing in it is feasible."""
        stack = [self.root]
        while stack:
            branch = stack.pop()
            self.count += 1
            solved = self.relaxation.solve(branch)
            if solved is None or not self._is_better(solved[0]):
                continue
            bound, solution = solved
            self._leaf(self._nearest(branch, solution))
            if self._is_better(bound):
                stack += self._split(branch, solution)

    def _is_better(self, bound: float) -> bool:
        return self.best is None or bound > self.best + BETTER_USD

    def _nearest(self, branch: Branch, solution: np.ndarray) -> Choice:
        """The leaf of a branch that the bound's solution is closest to."""
        weight = self.relaxation.weight
        picked = [
            tuple(
                max(options, key=lambda option: weight(solution, kind, index, option))
                for index, options in enumerate(left)
            )
            for kind, left in (("z", branch.pools), ("t", branch.tokens))
        ]
        return Choice(picked[0], picked[1])

    def _leaf(self, choice: Choice) -> None:
        if choice in self.leaves or ("sold" in choice.tokens) != ("bought" in choice.tokens):
            return
        self.count += 1
        found = self.oracle._solve(choice, self.reference)
        self.leaves[choice] = -np.inf if found is None else found.gain
        if found is not None and (self.best is None or found.gain > self.best):
            self.best = found.gain

    def _split(self, branch: Branch, solution: np.ndarray) -> list[Branch]:
        """The open decision that is most of a mixture, one branch per option, the heaviest on top of the stack."""
        weight = self.relaxation.weight
        open_ = [
            (max(weight(solution, kind, index, option) for option in options), kind, index, options)
            for kind, left in (("z", branch.pools), ("t", branch.tokens))
            for index, options in enumerate(left)
            if len(options) > 1
        ]
        if not open_:
            return []
        _, kind, index, options = min(open_)
        ordered = sorted(options, key=lambda option: weight(solution, kind, index, option))
        change = branch.with_pool if kind == "z" else branch.with_token
        return [change(index, (option,)) for option in ordered]
