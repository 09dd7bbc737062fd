"""An oracle for tiny instances: every combination of decisions, each solved as a linear program by scipy.

Lives here: the limits and the objective written a third time, from the specification. Not here: the optimiser's model.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption

INFINITY = float("inf")
ROUNDING = 1e-4
"""USD by which the reference, itself a solver's answer, may fall short of itself."""


@dataclass(frozen=True)
class Choice:
    """none, deposit, part or exit per pool; sold, bought or none per token."""

    pools: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass
class Found:
    """Gain of a decision against doing nothing; per pool its own gain and gas, by which hysteresis judges."""

    gain: float
    pool_gains: list[float]
    pool_gas: list[float]


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
        nothing = Choice(("none",) * len(self.held), ("none",) * len(self.wallet))
        reference = self._search([nothing], None) or self._search(self._choices(withdraw_only=True), None)
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
        extra = reward * (1 - self.parameters.reward_haircut) * years
        size = pool.size_usd
        shrink = 1.0 if size is None or size <= held or pool.apy < 0 else size / (size + value - held)
        if pool.curve is None or not pool.borrow_usd or size is None or size <= held:
            return value * ((1 + base) ** years - 1 + extra) * shrink

        def rate(used: float) -> float:
            c, u = pool.curve, min(used, 1.0)
            assert c is not None
            kinks, rates = [0.0, c.kink, 1.0], [c.start, c.start + c.slope * c.kink]
            rates.append(rates[1] + c.slope_above * (1 - c.kink))
            return math.exp(u * float(np.interp(u, kinks, rates))) - 1

        fall = rate(pool.borrow_usd / (size + value - held)) / rate(pool.borrow_usd / size)
        base *= fall if value >= held else min(fall, size / (size + value - held))
        return value * ((1 + base) ** years - 1 + extra * shrink)

    def _sides(self, choice: Choice) -> list[tuple[bool, ...]]:
        """Per pool that is touched and whose utilisation has a kink: which of its two functions is its gain."""
        return list(
            itertools.product(
                *(
                    [False, True] if decision != "none" and self._crossing(index) else [False]
                    for index, decision in enumerate(choice.pools)
                )
            )
        )

    def _crossing(self, index: int) -> list[float]:
        """The position of ours at which the utilisation stands at its kink, where there is one above zero."""
        pool, held = self.problem.pools[index], self.held[index]
        if pool.curve is None or not pool.borrow_usd or pool.size_usd is None:
            return []
        at = pool.borrow_usd / pool.curve.kink - pool.size_usd + held
        return [at] if at > 0 else []

    def _value_bounds(self, index: int, decision: str) -> tuple[float, float] | None:
        """Smallest and largest final value under a decision; None when the decision is not allowed."""
        pool, held, stuck, p = self.problem.pools[index], self.held[index], self.stuck[index], self.parameters
        cap = self._cap(pool)
        near = cap * (1 - (p.cap_headroom if cap < self.aum else 0.0))
        upper = stuck if pool.is_must_exit else max(near, stuck) if held > cap else max(near, held)
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
        return sorted(knots | {at for at in self._crossing(index) if at < top})

    def _secant(self, index: int, value: float, is_beyond: bool = False) -> float:
        knots = self._knots(index)
        gains = [self._curve(self.problem.pools[index], self.held[index], knot) for knot in knots]
        if self._crossing(index):
            gains = self._concave(knots, gains, self.held[index], is_beyond)
        return float(np.interp(value, knots, gains))

    def _concave(self, knots: list[float], gains: list[float], held: float, is_beyond: bool) -> list[float]:
        """A concave function below the gain: one that follows it from V0 on, or the highest that skips knots."""

        def follow(first: int, skipped: int, steepest: float) -> list[float]:
            told = [gains[first]]
            for step in range(first + 1, len(knots)):
                ahead = range(step, max(step, first + skipped) + 1)
                chords = [(gains[one] - told[-1]) / (knots[one] - knots[step - 1]) for one in ahead]
                steepest = min(steepest, *chords)
                told.append(told[-1] + steepest * (knots[step] - knots[step - 1]))
            return told

        if is_beyond:
            told = [follow(0, skipped, INFINITY) for skipped in range(1, len(knots))]
            return max((one for one in told if max(one) > max(map(max, told)) - 1e-6), key=sum)
        at = knots.index(held)
        slopes = [(gains[i + 1] - gains[i]) / (knots[i + 1] - knots[i]) for i in range(at)]
        if slopes != sorted(slopes, reverse=True):
            slopes = [gains[at] / held] * at
        low = list(np.cumsum([0.0, *(slope * (knots[i + 1] - knots[i]) for i, slope in enumerate(slopes))]))
        return low[:at] + follow(at, 1, slopes[-1] if slopes else INFINITY)

    def _usd(self, units: int) -> float:
        return units * self.problem.gas_price_wei * float(self.problem.eth_price_usd) / 1e18

    def _pool_gas(self, choice: Choice) -> list[float]:
        gas, found = self.parameters.gas_units, []
        for pool, decision in zip(self.problem.pools, choice.pools, strict=True):
            deposit = {"lend": gas.lend_in, "liquidity": gas.lp_in}.get(pool.role, gas.vault_in)
            withdraw = {"lend": gas.lend_out, "liquidity": gas.lp_out}.get(pool.role, gas.vault_out)
            units = {"none": 0, "deposit": deposit + gas.approve * len(pool.tokens)}.get(decision, withdraw)
            found.append(self._usd(units))
        return found

    def _swap_gas(self, choice: Choice) -> float:
        swaps = sum(side != "none" for side in choice.tokens)
        return self._usd(max(0, swaps - 1) * (self.parameters.gas_units.swap + self.parameters.gas_units.approve))

    def _parts(self, choice: Choice) -> list[tuple[set[int], bool]]:
        """Pools that belong together, and whether the conversions are with them."""
        converted = {
            token.address for token, side in zip(self.problem.tokens, choice.tokens, strict=True) if side != "none"
        }
        groups: list[tuple[set[int], set[str], bool]] = [(set(), converted, True)] if converted else []
        for index, decision in enumerate(choice.pools):
            if decision != "none":
                pool = self.problem.pools[index]
                own = ({index}, set() if pool.exit_days and decision != "deposit" else set(pool.tokens), False)
                for group in [group for group in groups if group[1] & own[1]]:
                    groups.remove(group)
                    own = (own[0] | group[0], own[1] | group[1], own[2] or group[2])
                groups.append(own)
        for members in [members for share, members in self._groups() if share < 1.0]:
            under = {index for index, counted in enumerate(members) if counted}
            grown = {index for index in under if choice.pools[index] == "deposit"}
            shrunk = {index for index in under if choice.pools[index] in ("part", "exit")}
            if grown and shrunk:  # what leaves one pool makes room for the other
                linked = [group for group in groups if group[0] & (grown | shrunk)]
                groups = [group for group in groups if group not in linked]
                groups.append((set().union(*(g[0] for g in linked)), set(), any(g[2] for g in linked)))
        return [(pools, has_swaps) for pools, _, has_swaps in groups]

    def _later(self, index: int, decision: str) -> float:
        """What a dollar earns that leaves a queue: nothing on its way, then what all money earned before."""
        pool, horizon = self.problem.pools[index], self.parameters.horizon_days
        if not pool.exit_days or decision not in ("part", "exit"):
            return 0.0
        hold = sum(self._curve(pool, held, held) for pool, held in zip(self.problem.pools, self.held, strict=True))
        rate = max(0.0, min(hold / self.aum, max((self._when_full(i) for i in self._others(index)), default=0.0)))
        return float((1 + rate) ** (max(0, horizon - pool.exit_days) / horizon) - 1)

    def _others(self, index: int) -> list[int]:
        """Other pools with room for a deposit."""
        pools = self.problem.pools
        return [i for i in range(len(pools)) if i != index and pools[i].can_grow and self._value_bounds(i, "deposit")]

    def _when_full(self, index: int) -> float:
        """What a dollar earns in a pool that is filled up."""
        pool, held, bounds = self.problem.pools[index], self.held[index], self._value_bounds(index, "deposit")
        assert bounds is not None
        top = min(bounds[1], self.aum * (1 - self.parameters.idle_buffer_share))
        return (self._curve(pool, held, top) - self._curve(pool, held, held)) / (top - held) if top > held else 0.0

    def _solve(self, choice: Choice, reference: Found | None) -> Found | None:
        found = [self._solve_sides(choice, reference, sides) for sides in self._sides(choice)]
        return max((one for one in found if one is not None), key=lambda one: one.gain, default=None)

    def _solve_sides(self, choice: Choice, reference: Found | None, sides: tuple[bool, ...]) -> Found | None:
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
                low, high = self._secant(index, left, sides[index]), self._secant(index, right, sides[index])
                slope = (high - low) / (right - left)
                add({n + index: 1.0, index: -slope}, low - slope * left)
            if len(knots) == 1:
                add({n + index: 1.0}, 0.0)
        # value of token t in pool i is a line a + b·V: all there is moves in proportion, deposits by the pool's shares
        legs = [self._legs(index, decision) for index, decision in enumerate(choice.pools)]
        for t, token in enumerate(problem.tokens):
            flow = {2 * n + t: 1.0, 2 * n + m + t: -1.0}
            constant = self.wallet[t]
            for index, pool in enumerate(problem.pools):
                is_leaving = bool(pool.exit_days) and choice.pools[index] != "deposit"
                for address, (fixed, slope) in zip(pool.tokens, legs[index], strict=True):
                    if address == token.address and not is_leaving:
                        before = float(token.value(pool.amounts[pool.tokens.index(address)]))
                        flow[index] = flow.get(index, 0.0) + slope
                        constant += before - fixed
            add(flow, constant)
            if (
                choice.tokens[t] == "bought"
            ):  # what is bought is used, but for what the smallest purchase brings too much
                add({column: -value for column, value in flow.items()}, p.min_transaction_usd - constant)
        self._add_shared(add, legs)
        keep = 1 - p.conversion_rate
        add({2 * n + m + t: 1.0 for t in range(m)} | {2 * n + t: -keep for t in range(m)}, 0.0)
        idle = p.idle_buffer_share * self.aum
        if idle:
            queued = [i for i, pool in enumerate(problem.pools) if pool.exit_days and choice.pools[i] != "deposit"]
            spend = {i: 1.0 for i in range(n) if i not in queued} | {2 * n + t: p.conversion_rate for t in range(m)}
            beyond = sum(
                held if pool.exit_days else stuck
                for pool, held, stuck in zip(problem.pools, self.held, self.stuck, strict=True)
            )
            add(spend, self.aum - min(idle, self.aum - beyond) - sum(self.held[index] for index in queued))
        hold = [self._secant(index, self.held[index]) for index in range(n)]
        later = [self._later(index, decision) for index, decision in enumerate(choice.pools)]
        pool_gas, swap_gas = self._pool_gas(choice), self._swap_gas(choice)
        if reference is not None:
            # share·Σ(gain + later·(held - V) - hold) - gas - conversion ≥ share·Σ reference's gain - reference's gas
            share = p.break_even_days / p.horizon_days
            costs = {2 * n + t: p.conversion_rate for t in range(m)}
            for pools, has_swaps in [(set(range(n)), True), *self._parts(choice)]:
                row = {n + index: -share for index in pools} | {index: share * later[index] for index in pools}
                limit = (-swap_gas if has_swaps else 0.0) + ROUNDING
                for index in pools:
                    limit -= share * (hold[index] - later[index] * self.held[index] + reference.pool_gains[index])
                    limit += reference.pool_gas[index] - pool_gas[index]
                add(row | (costs if has_swaps else {}), limit)
        objective = np.zeros(2 * n + 2 * m)
        objective[:n] = later
        objective[n : 2 * n] = -1.0
        objective[2 * n : 2 * n + m] = p.conversion_rate
        found = linprog(objective, A_ub=np.array(rows), b_ub=np.array(limits) + 1e-7, bounds=bounds, method="highs")
        if found.status != 0:
            return None
        gains = [
            float(found.x[n + index]) + later[index] * (self.held[index] - float(found.x[index])) - hold[index]
            for index in range(n)
        ]
        conversion = p.conversion_rate * float(sum(found.x[2 * n : 2 * n + m]))
        return Found(sum(gains) - conversion - sum(pool_gas) - swap_gas, gains, pool_gas)

    def _legs(self, index: int, decision: str) -> list[tuple[float, float]]:
        pool, held = self.problem.pools[index], self.held[index]
        values = [float(value) for value in self.problem.leg_values(pool)]
        if decision == "deposit":
            parts = pool.reserve_shares or [1 / len(values)] * len(values)
            return [(value - held * part, part) for value, part in zip(values, parts, strict=True)]
        return [(0.0, value / held) if held else (0.0, 0.0) for value in values]

    def shared_caps(self) -> list[tuple[float, list[set[str]]]]:
        """Per cap its USD and, per pool, the tokens that count towards it; a cap is never below what is stuck in it."""
        caps = []
        for share, members in self._groups():
            held, cap = self._in(members, self.held), share * self.aum
            near = cap * (1 - (self.parameters.cap_headroom if share < 1.0 else 0.0))
            caps.append((max(near if held > cap else max(near, held), self._in(members, self.stuck)), members))
        return caps

    def _groups(self) -> list[tuple[float, list[set[str]]]]:
        """Per cap its share of all money and, per pool, the tokens that count towards it."""
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
        return groups

    def _in(self, members: list[set[str]], values: list[float]) -> float:
        """What of the pools' values counts under a cap."""
        return sum(
            values[index] * float(value) / self.held[index]
            for index, pool in enumerate(self.problem.pools)
            for address, value in zip(pool.tokens, self.problem.leg_values(pool), strict=True)
            if address in members[index] and self.held[index]
        )

    def _add_shared(self, add, legs) -> None:  # type: ignore[no-untyped-def]
        for limit, members in self.shared_caps():
            flow: dict[int, float] = {}
            constant = 0.0
            for index, pool in enumerate(self.problem.pools):
                for position, address in enumerate(pool.tokens):
                    if address in members[index]:
                        fixed, slope = legs[index][position]
                        flow[index] = flow.get(index, 0.0) + slope
                        constant += fixed
            add(flow, limit - constant)

    def _has_enough_pools(self, choice: Choice) -> bool:
        if "deposit" not in choice.pools:
            return True
        smallest = self.parameters.min_position_share * self.aum
        used = 0
        for decision, held in zip(choice.pools, self.held, strict=True):
            used += decision == "deposit" or (decision in ("none", "part") and held >= smallest and held > 0)
        return used >= self.parameters.min_pools
