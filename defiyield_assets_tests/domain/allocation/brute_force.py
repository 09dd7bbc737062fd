"""An oracle for tiny instances: every combination of decisions, each solved as a linear program by scipy.

Lives here: the limits and the objective written a third time, from the specification. Not here: the optimiser's model.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption

INFINITY = float("inf")


@dataclass
class Choice:
    """none, deposit, part or exit per pool; sold, bought or none per token."""

    pools: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass
class Found:
    gain: float
    pool_gain: float
    gas: float


class Oracle:
    """Best gain against doing nothing over all decisions, or None when nothing is feasible."""

    def __init__(self, problem: AllocationProblem) -> None:
        self.problem = problem
        self.parameters = problem.parameters
        self.aum = float(problem.aum_usd)
        self.held = [problem.position_usd[pool.pool_id] for pool in problem.pools]
        self.wallet = [float(token.value(token.balance)) for token in problem.tokens]
        self.stuck = [self._stuck(pool, held) for pool, held in zip(problem.pools, self.held, strict=True)]

    def best(self) -> float | None:
        reference = self._search(self._choices(withdraw_only=True), None)
        if reference is None:
            return None
        found = self._search(self._choices(withdraw_only=False), reference)
        return None if found is None else found.gain

    def _search(self, choices: list[Choice], reference: Found | None) -> Found | None:
        found = [self._solve(choice, reference) for choice in choices]
        feasible = [one for one in found if one is not None]
        return max(feasible, key=lambda one: one.gain, default=None)

    def _choices(self, *, withdraw_only: bool) -> list[Choice]:
        per_pool = []
        for pool, held, stuck in zip(self.problem.pools, self.held, self.stuck, strict=True):
            options = [] if pool.is_must_exit and held > stuck else ["none"]
            if pool.can_grow and not withdraw_only:
                options.append("deposit")
            if held > stuck:
                options += ["exit"] if pool.is_must_exit else ["part", "exit"]
            per_pool.append(options)
        sides = ["none"] if withdraw_only else ["none", "sold", "bought"]
        per_token = [sides if token.is_buyable else sides[:2] for token in self.problem.tokens]
        tokens = [
            combination
            for combination in itertools.product(*per_token)
            if ("sold" in combination) == ("bought" in combination)
        ]
        return [Choice(pools, some) for pools in itertools.product(*per_pool) for some in tokens]

    def _stuck(self, pool: PoolOption, held: float) -> float:
        if pool.is_frozen:
            return held
        liquid = INFINITY if pool.withdrawable_usd is None else pool.withdrawable_usd
        if liquid >= held:
            return 0.0
        return held if liquid < self.parameters.min_transaction_usd else held - liquid

    def _cap(self, pool: PoolOption) -> float:
        size = INFINITY if pool.size_usd is None else pool.size_usd
        return min(self.parameters.max_pool_share * self.aum, self.parameters.max_pool_tvl_share * size)

    def _curve(self, pool: PoolOption, held: float, value: float) -> float:
        years = self.parameters.horizon_days / 365
        base, reward = pool.apy * (1 - pool.reward_share), pool.apy * pool.reward_share
        rate = (1 + base) ** years - 1 + reward * (1 - self.parameters.reward_haircut) * years
        size = pool.size_usd
        return value * rate * (1.0 if size is None or size <= held or pool.apy < 0 else size / (size + value - held))

    def _value_bounds(self, index: int, decision: str) -> tuple[float, float] | None:
        """Smallest and largest final value under a decision; None when the decision is not allowed."""
        pool, held, stuck, p = self.problem.pools[index], self.held[index], self.stuck[index], self.parameters
        cap = self._cap(pool)
        upper = stuck if pool.is_must_exit else max(cap, stuck) if held > cap else cap
        smallest = p.min_position_share * self.aum
        if decision == "none":
            return (held, held) if held <= upper else None
        if decision == "exit":
            return (stuck, stuck) if stuck <= upper else None
        if decision == "part":
            low, high = max(stuck, smallest), min(upper, held - p.min_transaction_usd)
            return (low, high) if low <= high else None
        if pool.withdrawable_usd is not None:
            upper = min(upper, max(held, p.exit_share * pool.withdrawable_usd))
        low = max(smallest, held + p.min_transaction_usd)
        return (low, upper) if low <= upper else None

    def _knots(self, index: int) -> list[float]:
        """Where the concave curve is met: 0, 1 … 5 % of size, V0 and the largest reachable value."""
        pool, held = self.problem.pools[index], self.held[index]
        top = held
        bounds = self._value_bounds(index, "deposit") if pool.can_grow else None
        if bounds:
            top = min(bounds[1], self.aum * (1 - self.parameters.idle_buffer_share))
        knots = {0.0, held, top}
        if pool.size_usd is not None and pool.size_usd > held:
            knots |= {share * pool.size_usd for share in (0.01, 0.02, 0.03, 0.04, 0.05) if share * pool.size_usd < top}
        return sorted(knots)

    def _secant(self, index: int, value: float) -> float:
        knots = self._knots(index)
        gains = [self._curve(self.problem.pools[index], self.held[index], knot) for knot in knots]
        return float(np.interp(value, knots, gains))

    def _gas(self, choice: Choice) -> float:
        problem, units = self.problem, 0
        for pool, decision in zip(problem.pools, choice.pools, strict=True):
            gas = problem.parameters.gas_units
            deposit = {"lend": gas.lend_in, "liquidity": gas.lp_in}.get(pool.role, gas.vault_in)
            withdraw = {"lend": gas.lend_out, "liquidity": gas.lp_out}.get(pool.role, gas.vault_out)
            units += {"none": 0, "deposit": deposit + gas.approve * len(pool.tokens)}.get(decision, withdraw)
        swaps = sum(side != "none" for side in choice.tokens)
        units += max(0, swaps - 1) * (problem.parameters.gas_units.swap + problem.parameters.gas_units.approve)
        return units * problem.gas_price_wei * float(problem.eth_price_usd) / 1e18

    def _solve(self, choice: Choice, reference: Found | None) -> Found | None:
        problem, p = self.problem, self.parameters
        n, m = len(problem.pools), len(problem.tokens)
        bounds: list[tuple[float, float | None]] = []
        for index, decision in enumerate(choice.pools):
            allowed = self._value_bounds(index, decision)
            if allowed is None:
                return None
            bounds.append(allowed)
        bounds += [(-INFINITY, INFINITY)] * n  # type: ignore[list-item]
        for side in choice.tokens:
            bounds.append((p.min_transaction_usd, None) if side == "sold" else (0.0, 0.0))
        for side in choice.tokens:
            bounds.append((p.min_transaction_usd, None) if side == "bought" else (0.0, 0.0))
        if not self._has_enough_pools(choice):
            return None
        rows: list[np.ndarray] = []
        limits: list[float] = []

        def add(coefficients: dict[int, float], limit: float) -> None:
            row = np.zeros(2 * n + 2 * m)
            for column, coefficient in coefficients.items():
                row[column] += coefficient
            rows.append(row)
            limits.append(limit)

        for index in range(n):
            knots = self._knots(index)
            for left, right in itertools.pairwise(knots):
                low, high = self._secant(index, left), self._secant(index, right)
                slope = (high - low) / (right - left)
                add({n + index: 1.0, index: -slope}, low - slope * left)
            if len(knots) == 1:
                add({n + index: 1.0}, 0.0)
        # value of token t in pool i is a line a + b·V: all there is moves in proportion, deposits split equally
        legs = [self._legs(index, decision) for index, decision in enumerate(choice.pools)]
        for t, token in enumerate(problem.tokens):
            flow = {2 * n + t: 1.0, 2 * n + m + t: -1.0}
            constant = self.wallet[t]
            for index, pool in enumerate(problem.pools):
                for address, (fixed, slope) in zip(pool.tokens, legs[index], strict=True):
                    if address == token.address:
                        before = float(token.value(pool.amounts[pool.tokens.index(address)]))
                        flow[index] = flow.get(index, 0.0) + slope
                        constant += before - fixed
            add(flow, constant)
        self._add_shared(add, legs)
        keep = 1 - p.conversion_rate
        add({2 * n + m + t: 1.0 for t in range(m)} | {2 * n + t: -keep for t in range(m)}, 0.0)
        idle = p.idle_buffer_share * self.aum
        if idle:
            spend = dict.fromkeys(range(n), 1.0) | {2 * n + t: p.conversion_rate for t in range(m)}
            add(spend, self.aum - min(idle, self.aum - sum(self.stuck)))
        hold = sum(self._secant(index, self.held[index]) for index in range(n))
        gas = self._gas(choice)
        if reference is not None:
            share = p.break_even_days / p.horizon_days
            costs = {2 * n + t: p.conversion_rate for t in range(m)}
            add({n + index: -share for index in range(n)} | costs, -share * reference.pool_gain - gas + reference.gas)
        objective = np.zeros(2 * n + 2 * m)
        objective[n : 2 * n] = -1.0
        objective[2 * n : 2 * n + m] = p.conversion_rate
        found = linprog(objective, A_ub=np.array(rows), b_ub=np.array(limits) + 1e-7, bounds=bounds, method="highs")
        if found.status != 0:
            return None
        return Found(-found.fun - gas - hold, float(sum(found.x[n : 2 * n])), gas)

    def _legs(self, index: int, decision: str) -> list[tuple[float, float]]:
        pool, held = self.problem.pools[index], self.held[index]
        values = [float(value) for value in self.problem.leg_values(pool)]
        if decision == "deposit":
            return [(value - held / len(values), 1 / len(values)) for value in values]
        return [(0.0, value / held) if held else (0.0, 0.0) for value in values]

    def _add_shared(self, add, legs) -> None:  # type: ignore[no-untyped-def]
        problem, p = self.problem, self.parameters
        issuer = {token.address: token.issuer for token in problem.tokens}
        groups: list[tuple[float, list[set[str]]]] = []

        def whole(share: float, members: list[bool]) -> None:
            groups.append(
                (
                    share,
                    [set(pool.tokens) if is_in else set() for pool, is_in in zip(problem.pools, members, strict=True)],
                )
            )

        for protocol in {pool.protocol for pool in problem.pools}:
            whole(p.max_protocol_share, [pool.protocol == protocol for pool in problem.pools])
        whole(p.max_chain_share, [True for _ in problem.pools])
        whole(p.max_illiquid_share, [pool.exit_days > 0 for pool in problem.pools])
        for group, share in enumerate(p.max_group_share if p.group_caps else (), start=1):
            whole(share, [pool.pool_group == group for pool in problem.pools])
        groups += [
            (p.max_token_share, [{t for t in pool.tokens if issuer[t] == name} for pool in problem.pools])
            for name in set(issuer.values())
        ]
        for share, members in groups:
            flow: dict[int, float] = {}
            constant = stuck = 0.0
            for index, pool in enumerate(problem.pools):
                values = problem.leg_values(pool)
                for position, address in enumerate(pool.tokens):
                    if address in members[index]:
                        fixed, slope = legs[index][position]
                        flow[index] = flow.get(index, 0.0) + slope
                        constant += fixed
                        part = float(values[position]) / self.held[index] if self.held[index] else 0.0
                        stuck += self.stuck[index] * part
            add(flow, max(share * self.aum, stuck) - constant)

    def _has_enough_pools(self, choice: Choice) -> bool:
        if "deposit" not in choice.pools:
            return True
        smallest = self.parameters.min_position_share * self.aum
        used = 0
        for decision, held in zip(choice.pools, self.held, strict=True):
            used += decision == "deposit" or (decision in ("none", "part") and held >= smallest and held > 0)
        return used >= self.parameters.min_pools
