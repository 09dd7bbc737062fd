"""From a solver's decisions to exact transactions: integer base units in executable order.

Lives here: rounding, netting of conversions, the order of steps, their exact values and costs. Not here: decisions
(solve.py) or the independent check (replay.py). Everything is rounded down: nothing is spent before it is there, and
what rounding leaves stays idle. A netted swap may be below min_transaction_usd as part of a conversion that is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from defiyield_assets.domain.allocation.facts import EXACT, AllocationProblem, PoolOption, exact_sum
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.solve import Flows

DUST_SHARE = Fraction(1, 32)
"""Part of the rounding margin below which a remainder is not worth a swap."""


@dataclass(frozen=True)
class Leg:
    """One token of a step; `token_in` leaves the wallet (or is held), `token_out` arrives."""

    token_in: str | None
    amount_in: int | None
    token_out: str | None
    amount_out: int | None
    value_usd: Decimal
    conversion_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class Step:
    """One transaction with all its legs, or one position that is held."""

    step_type: str
    pool_id: str | None
    legs: tuple[Leg, ...]
    gas_units: int
    gas_usd: Decimal
    is_full_exit: bool = False

    @property
    def value_usd(self) -> Decimal:
        """Value moved."""
        return exact_sum(leg.value_usd for leg in self.legs)


@dataclass
class ExactPlan:
    """The steps and what they lead to, in base units.

    `leaving`: what of the wallet's end is on its way out of queues. `sold` and `bought`: USD converted so far by token,
    at the close and after the costs of what was sold for it.
    """

    problem: AllocationProblem
    wallet: dict[str, int]
    positions: dict[str, list[int]]
    steps: list[Step] = field(default_factory=list)
    leaving: dict[str, int] = field(default_factory=dict)
    sold: dict[str, Fraction] = field(default_factory=dict)
    bought: dict[str, Fraction] = field(default_factory=dict)

    def at_hand(self, token: str) -> int:
        """What can be spent of a token now."""
        return self.wallet[token] - self.leaving.get(token, 0)

    @property
    def transactions(self) -> list[Step]:
        """Steps that are sent; approvals are part of their gas, not steps of their own."""
        return [step for step in self.steps if step.step_type != "HOLD"]

    @property
    def gas_units(self) -> int:
        """Gas units of all transactions."""
        return sum(step.gas_units for step in self.steps)

    @property
    def gas_usd(self) -> Decimal:
        """Exact cost of gas at the expected price."""
        return exact_sum(step.gas_usd for step in self.steps)

    @property
    def conversion_usd(self) -> Decimal:
        """Exact value lost in conversions, rounding of their proceeds included."""
        return exact_sum(leg.conversion_usd for step in self.steps for leg in step.legs)

    def position_usd(self, pool: PoolOption) -> Decimal:
        """Exact final value of a position."""
        amounts = self.positions[pool.pool_id]
        return exact_sum(
            self.problem.token[token].value(amount) for token, amount in zip(pool.tokens, amounts, strict=True)
        )


def held_plan(problem: AllocationProblem) -> ExactPlan:
    """The plan that does nothing: every position is a HOLD row."""
    return build_steps(problem, Limits(problem), Flows({}, {}, frozenset(), frozenset(), frozenset(), 0.0))


def build_steps(problem: AllocationProblem, limits: Limits, flows: Flows) -> ExactPlan:
    """Exact steps for the decisions: HOLD, WITHDRAW, CONVERT, DEPOSIT; floors, a full exit takes all."""
    plan = ExactPlan(
        problem,
        {token.address: token.balance for token in problem.tokens},
        {pool.pool_id: list(pool.amounts) for pool in problem.pools},
    )
    moved = flows.exits | set(flows.parts) | set(flows.deposits)
    for pool in problem.pools:
        if pool.is_held and pool.pool_id not in moved:
            legs = [
                Leg(token, amount, None, None, problem.token[token].value(amount))
                for token, amount in zip(pool.tokens, pool.amounts, strict=True)
                if amount
            ]
            plan.steps.append(Step("HOLD", pool.pool_id, tuple(legs), 0, Decimal(0)))
    for pool in _by_size(problem, {key: problem.position_usd[key] for key in flows.exits} | flows.parts):
        _withdraw(plan, limits, flows, pool)
    targets = {pool.pool_id: _target(limits, flows, pool) for pool in _by_size(problem, flows.deposits)}
    _convert(plan, limits, flows, targets)
    for pool in _by_size(problem, flows.deposits):
        _deposit(plan, pool, targets[pool.pool_id])
    return plan


def _by_size(problem: AllocationProblem, amounts: dict[str, float]) -> list[PoolOption]:
    """The pools with an amount, largest first."""
    pools = [pool for pool in problem.pools if pool.pool_id in amounts]
    return sorted(pools, key=lambda pool: (-amounts[pool.pool_id], pool.pool_id))


def _units(problem: AllocationProblem, token: str, value: Fraction) -> int:
    """Base units that a value buys at the close, rounded down."""
    holding = problem.token[token]
    return int(value * 10**holding.decimals / Fraction(holding.price))


def _value(problem: AllocationProblem, token: str, amount: int) -> Fraction:
    return Fraction(problem.token[token].value(amount))


def _withdraw(plan: ExactPlan, limits: Limits, flows: Flows, pool: PoolOption) -> None:
    """A pool returns all its tokens in proportion; leaving returns everything that can be withdrawn."""
    problem, bounds = plan.problem, limits.pools[pool.pool_id]
    wanted = bounds.exit if pool.pool_id in flows.exits else min(flows.parts[pool.pool_id], bounds.exit)
    is_full = wanted >= bounds.held or (limits.is_relaxed and wanted >= bounds.held - limits.margin)
    held_usd = Fraction(exact_sum(problem.leg_values(pool)))
    share = Fraction(1) if is_full else Fraction(wanted) / held_usd
    legs = []
    for index, (token, held) in enumerate(zip(pool.tokens, pool.amounts, strict=True)):
        amount = int(held * share)
        if amount:
            plan.positions[pool.pool_id][index] -= amount
            plan.wallet[token] += amount
            if pool.is_queued:
                plan.leaving[token] = plan.leaving.get(token, 0) + amount
            legs.append(Leg(None, None, token, amount, problem.token[token].value(amount)))
    if legs:
        gas = problem.withdraw_gas(pool)
        plan.steps.append(Step("WITHDRAW", pool.pool_id, tuple(legs), gas, problem.gas_usd(gas), is_full))


def _target(limits: Limits, flows: Flows, pool: PoolOption) -> Fraction:
    """Value that a pool should receive."""
    return Fraction(min(flows.deposits[pool.pool_id], limits.pools[pool.pool_id].deposit_max))


def _shares(pool: PoolOption) -> list[Fraction]:
    """Value share of each token in a deposit, exact: as the policy writes it, or equal."""
    if pool.reserve_shares:
        return [Fraction(Decimal(repr(share))) for share in pool.reserve_shares]
    return [Fraction(1, len(pool.tokens))] * len(pool.tokens)


def _convert(plan: ExactPlan, limits: Limits, flows: Flows, targets: dict[str, Fraction]) -> None:
    """Direct swaps from what is left over to what is missing: for n sources and m sinks at most n + m - 1."""
    problem = plan.problem
    need = dict.fromkeys(plan.wallet, 0)
    for pool in problem.pools:
        if pool.pool_id in targets:
            for token, share in zip(pool.tokens, _shares(pool), strict=True):
                need[token] += _units(problem, token, targets[pool.pool_id] * share)
    spare = {token: plan.at_hand(token) - need[token] for token in flows.sells if plan.at_hand(token) > need[token]}
    missing = {token: need[token] - plan.at_hand(token) for token in flows.buys if need[token] > plan.at_hand(token)}
    # what was decided counts: a minimum size may convert more than is missing, and then the rest of it stays idle
    for token, usd in flows.sold.items():
        if token in spare:
            spare[token] = min(spare[token], _units(problem, token, Fraction(usd)) + 1)
    for token, usd in flows.bought.items():
        missing[token] = max(missing.get(token, 0), _units(problem, token, Fraction(usd)))
    dust = Fraction(limits.margin) * DUST_SHARE
    sources = _largest_first(problem, spare.items())
    for sink in _largest_first(problem, missing.items()):
        while sources and _value(problem, sink, missing[sink]) > dust:
            source = sources[0]
            if _value(problem, source, spare[source]) <= dust:
                sources.pop(0)
                continue
            amount_in, amount_out = _swap(plan, source, spare[source], sink, missing[sink])
            spare[source] -= amount_in
            missing[sink] -= amount_out
            _add_swap(plan, source, amount_in, sink, amount_out)


def _largest_first(problem: AllocationProblem, amounts: Iterable[tuple[str, int]]) -> list[str]:
    return [token for token, _ in sorted(amounts, key=lambda item: (-_value(problem, *item), item[0]))]


def _keep(problem: AllocationProblem) -> Fraction:
    """What the conversion rate leaves of a dollar."""
    return 1 - Fraction(Decimal(repr(problem.parameters.conversion_rate)))


def _proceeds(plan: ExactPlan, source: str, amount_in: int, sink: str) -> tuple[Fraction, Fraction]:
    """USD that a sale leaves after its costs, and what of them arrives after the costs of buying."""
    problem = plan.problem
    given = _value(problem, source, amount_in)
    left = given * _keep(problem) - _slippage(problem, source, plan.sold.get(source, Fraction(0)), given)
    return left, left - _slippage(problem, sink, plan.bought.get(sink, Fraction(0)), left)


def _slippage(problem: AllocationProblem, token: str, before: Fraction, value: Fraction) -> Fraction:
    """k·((u+v)² - u²) for v USD after u USD."""
    return Fraction(problem.token[token].slippage) * ((before + value) ** 2 - before**2)


def _swap(plan: ExactPlan, source: str, spare: int, sink: str, missing: int) -> tuple[int, int]:
    """Units in and out: as much of `source` as `sink` needs; out = floor(what arrives / price of sink)."""
    problem = plan.problem
    wanted, one = _value(problem, sink, missing), _value(problem, source, 1)
    amount_in = min(spare, int(-(-wanted / _keep(problem) / one // 1)))
    if problem.token[source].slippage or problem.token[sink].slippage:
        amount_in = _enough(plan, source, (amount_in, spare), sink, wanted)
    return amount_in, _units(problem, sink, _proceeds(plan, source, amount_in, sink)[1])


def _enough(plan: ExactPlan, source: str, units: tuple[int, int], sink: str, wanted: Fraction) -> int:
    """The smallest amount between two that brings `wanted` USD in spite of slippage, or the larger of the two."""
    low, high = units
    while low < high:
        middle = (low + high) // 2
        if _proceeds(plan, source, middle, sink)[1] >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _add_swap(plan: ExactPlan, source: str, amount_in: int, sink: str, amount_out: int) -> None:
    problem = plan.problem
    value_in, value_out = problem.token[source].value(amount_in), problem.token[sink].value(amount_out)
    left, _ = _proceeds(plan, source, amount_in, sink)
    plan.sold[source] = plan.sold.get(source, Fraction(0)) + Fraction(value_in)
    plan.bought[sink] = plan.bought.get(sink, Fraction(0)) + left
    plan.wallet[source] -= amount_in
    plan.wallet[sink] += amount_out
    leg = Leg(source, amount_in, sink, amount_out, value_in, EXACT.subtract(value_in, value_out))
    plan.steps.append(Step("CONVERT", None, (leg,), problem.swap_gas, problem.gas_usd(problem.swap_gas)))


def _deposit(plan: ExactPlan, pool: PoolOption, target: Fraction) -> None:
    """Every token by its share of the value, as much as is at hand."""
    problem, shares = plan.problem, _shares(pool)
    there = [
        _value(problem, token, plan.at_hand(token)) / share for token, share in zip(pool.tokens, shares, strict=True)
    ]
    value = min(target, *there)
    amounts = [_units(problem, token, value * share) for token, share in zip(pool.tokens, shares, strict=True)]
    if not all(amounts):
        return
    legs = []
    for index, (token, amount) in enumerate(zip(pool.tokens, amounts, strict=True)):
        plan.wallet[token] -= amount
        plan.positions[pool.pool_id][index] += amount
        legs.append(Leg(token, amount, None, None, problem.token[token].value(amount)))
    gas = problem.deposit_gas(pool)
    plan.steps.append(Step("DEPOSIT", pool.pool_id, tuple(legs), gas, problem.gas_usd(gas)))
