"""The allocation model in PuLP: value flows, conversions through a numeraire, fixed gas, minima, caps, hysteresis.

Lives here: variables, constraints, objective. Not here: bounds (limits.py), solvers (solve.py), amounts (steps.py).
Money inside the model is counted in `unit` USD (AUM / 1e5), so that solver tolerances mean the same for every treasury.
Every coefficient of a binary is the smallest reachable value of what it switches; there is no global big M.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption
from defiyield_assets.domain.allocation.gains import secant_gain, secants
from defiyield_assets.domain.allocation.limits import Limits, SharedLimit

UNITS = 1e5
"""Units that the AUM counts in the model: small enough for double precision, large enough for absolute tolerances."""
HYSTERESIS_TOLERANCE = 1e-4
"""In units (a billionth of AUM): keeps the reference itself feasible for solvers that work to 1e-7 of large numbers."""
Purpose = Literal["gain", "withdraw_only", "count"]
"""gain: the plan. withdraw_only: the cheapest way back within the limits. count: how many pools can be used at all."""


@dataclass
class PoolVariables:
    """Decisions on one pool; absent ones are None."""

    deposit: Any = None
    deposit_on: Any = None
    part: Any = None
    part_on: Any = None
    exit_on: Any = None
    gain: Any = None


@dataclass
class AllocationModel:
    """A PuLP model and handles on its variables, by pool id and token address."""

    lp: Any
    unit: float
    limits: Limits
    lines: dict[str, list[tuple[float, float]]]
    pools: dict[str, PoolVariables] = field(default_factory=dict)
    sold: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    bought: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    any_conversion: Any = None
    any_deposit: Any = None
    is_eth_limited: bool = False

    @property
    def binaries(self) -> list[Any]:
        """Every on/off variable."""
        found = [
            switch
            for pool in self.pools.values()
            for switch in (pool.deposit_on, pool.part_on, pool.exit_on)
            if switch is not None
        ]
        found += [switch for _, switch in (*self.sold.values(), *self.bought.values())]
        return found + [switch for switch in (self.any_conversion, self.any_deposit) if switch is not None]


@dataclass(frozen=True)
class Reference:
    """What hysteresis compares with: doing nothing (all 0) or, when the limits forbid that, the cheapest way back.

    `gain_usd` is against doing nothing, so it is zero or a loss.
    """

    gain_usd: float
    gas_usd: float


def gas_units_affordable(problem: AllocationProblem) -> int:
    """Gas units that the ETH balance pays for at the p90 price."""
    return problem.eth_balance_wei // problem.gas_price_p90_wei


def build_model(
    problem: AllocationProblem,
    *,
    purpose: Purpose = "gain",
    reference: Reference | None = None,
    has_eth_limit: bool = True,
) -> AllocationModel:
    """The model of a problem; it minimises cost minus gain (USD / unit) against doing nothing.

    `reference` switches hysteresis on. Method `lp` relaxes the binaries and leaves out fixed costs and minima.
    """
    import pulp

    limits = Limits(problem, is_relaxed=problem.parameters.method == "lp")
    lines = {
        pool.pool_id: secants(pool, limits.pools[pool.pool_id].held, _reach(limits, pool), problem.parameters)
        for pool in problem.pools
        if not limits.pools[pool.pool_id].is_idle
    }
    lp = pulp.LpProblem("allocation", pulp.LpMinimize)
    model = AllocationModel(lp, max(limits.aum, 1.0) / UNITS, limits, lines)
    for index, pool in enumerate(problem.pools):
        if pool.pool_id in lines:
            _add_pool(model, index, pool, purpose)
    if purpose != "withdraw_only":
        _add_conversions(model)
    _add_balances(model)
    _add_caps(model)
    if purpose == "gain" and not limits.is_relaxed:
        _add_minimum_pools(model)
    if has_eth_limit and purpose != "count" and not limits.is_relaxed:
        _add_eth_limit(model)
    if purpose == "count":
        lp.setObjective(-pulp.lpSum(_used(model, pool_id) for pool_id in model.pools))
        return model
    cost = _gas(model) + _conversion(model)
    gain = pulp.lpSum(pool.gain for pool in model.pools.values())
    lp.setObjective(cost - gain)
    if reference is not None:
        _add_hysteresis(model, reference, gain, cost)
    return model


def hold_reference(problem: AllocationProblem, limits: Limits) -> Reference | None:
    """Doing nothing as the reference of hysteresis, or None when the limits forbid to do nothing."""
    tiny = 1e-9 * max(1.0, limits.aum)
    bounds = limits.pools
    if any(pool.held > pool.upper + tiny for pool in bounds.values()):
        return None
    for shared in limits.shared:
        if sum(bounds[pool].held * part for pool, part in shared.held.items()) > shared.limit + tiny:
            return None
    idle = sum(float(token.value(token.balance)) for token in problem.tokens)
    return Reference(0.0, 0.0) if idle >= limits.idle_buffer - tiny else None


def solved_reference(model: AllocationModel) -> Reference:
    """The reference that a solved `withdraw_only` model stands for."""
    import pulp

    gain = sum(float(pool.gain.varValue or 0.0) for pool in model.pools.values())
    gas = _gas(model)
    return Reference(gain * model.unit, float(pulp.value(gas) or 0.0) * model.unit)


def usable_pools(model: AllocationModel) -> int:
    """Positions that count towards min_pools in a solved model."""
    import pulp

    return round(sum(float(pulp.value(_used(model, pool_id))) for pool_id in model.pools))


def _reach(limits: Limits, pool: PoolOption) -> float:
    """The largest value that a position may have in the model: its cap, or what it is today."""
    bounds = limits.pools[pool.pool_id]
    return max(bounds.held, bounds.held + bounds.deposit_max if bounds.can_deposit else 0.0)


def _switch(model: AllocationModel, name: str) -> Any:
    """A binary; continuous between 0 and 1 in the relaxed model."""
    return model.lp.add_variable(name, 0, 1, cat="Continuous" if model.limits.is_relaxed else "Integer")


def _amount(model: AllocationModel, name: str, low: float, high: float) -> tuple[Any, Any]:
    """A semi-continuous amount (low ≤ x ≤ high or 0, USD) and its switch."""
    amount = model.lp.add_variable(name, 0, high / model.unit)
    switch = _switch(model, f"{name}_on")
    model.lp.addConstraint(amount <= high / model.unit * switch, name=f"{name}_most")
    if low > 0:
        model.lp.addConstraint(amount >= low / model.unit * switch, name=f"{name}_least")
    return amount, switch


def _add_pool(model: AllocationModel, index: int, pool: PoolOption, purpose: Purpose) -> None:
    """Flows of one pool: deposit, partial withdrawal and exit exclude each other; gain below its secants."""
    bounds, lp = model.limits.pools[pool.pool_id], model.lp
    variables = model.pools[pool.pool_id] = PoolVariables()
    if bounds.can_deposit and purpose != "withdraw_only":
        variables.deposit, variables.deposit_on = _amount(model, f"d{index}", bounds.deposit_min, bounds.deposit_max)
    if bounds.can_part:
        variables.part, variables.part_on = _amount(model, f"w{index}", bounds.part_min, bounds.part_max)
    if bounds.can_exit and not (model.limits.is_relaxed and bounds.can_part):
        variables.exit_on = _switch(model, f"x{index}")
        if bounds.is_exit_forced:
            variables.exit_on.lowBound = 1
    switches = [switch for switch in (variables.deposit_on, variables.part_on, variables.exit_on) if switch is not None]
    if len(switches) > 1:
        lp.addConstraint(sum(switches) <= 1, name=f"one{index}")
    if switches:
        lp.addConstraint(_value(model, pool.pool_id) <= bounds.upper / model.unit, name=f"cap{index}")
    # gain is counted against doing nothing, so that the relative stopping gap is one of the improvement
    hold = secant_gain(model.lines[pool.pool_id], bounds.held)
    lines = [(slope, intercept - hold) for slope, intercept in model.lines[pool.pool_id]]
    ends = [secant_gain(lines, value) for value in (0.0, bounds.held, _reach(model.limits, pool))]
    # one unit of room: with a bound that an exit meets exactly, CBC called feasible plans infeasible
    variables.gain = lp.add_variable(f"g{index}", min(0.0, *ends) / model.unit - 1.0, None)
    for number, (slope, intercept) in enumerate(lines):
        lp.addConstraint(
            variables.gain <= slope * _value(model, pool.pool_id) + intercept / model.unit, name=f"g{index}_{number}"
        )


def _value(model: AllocationModel, pool_id: str) -> Any:
    """Final value of a position in units."""
    return model.limits.pools[pool_id].held / model.unit - _withdrawn(model, pool_id) + _deposited(model, pool_id)


def _withdrawn(model: AllocationModel, pool_id: str) -> Any:
    variables = model.pools[pool_id]
    part = 0.0 if variables.part is None else 1.0 * variables.part
    return (
        part if variables.exit_on is None else part + model.limits.pools[pool_id].exit / model.unit * variables.exit_on
    )


def _deposited(model: AllocationModel, pool_id: str) -> Any:
    variables = model.pools[pool_id]
    return 0.0 if variables.deposit is None else 1.0 * variables.deposit


def _used(model: AllocationModel, pool_id: str) -> Any:
    """1 when the position at the end counts towards min_pools."""
    variables, bounds = model.pools[pool_id], model.limits.pools[pool_id]
    if not bounds.counts_when_kept:
        return 0.0 if variables.deposit_on is None else 1.0 * variables.deposit_on
    return 1.0 if variables.exit_on is None else 1.0 - variables.exit_on


def _add_conversions(model: AllocationModel) -> None:
    """Per token one sold and one bought amount, never both; barred tokens have no bought amount at all."""
    problem, limits = model.limits.problem, model.limits
    rate = problem.parameters.conversion_rate
    reach = {token.address: float(token.value(token.balance)) for token in problem.tokens}
    wanted = dict.fromkeys(reach, 0.0)
    for pool in problem.pools:
        bounds = limits.pools[pool.pool_id]
        for address, share in zip(pool.tokens, problem.leg_shares(pool) if pool.tokens else (), strict=True):
            reach[address] += bounds.exit * share
            wanted[address] += bounds.deposit_max / len(pool.tokens) if bounds.can_deposit else 0.0
    for index, token in enumerate(problem.tokens):
        others = sum(value for address, value in reach.items() if address != token.address) * (1.0 - rate)
        most_bought = min(wanted[token.address], others) if token.is_buyable else 0.0
        most_sold = reach[token.address]
        if most_sold > limits.min_transaction:
            model.sold[token.address] = _amount(model, f"s{index}", limits.min_transaction, most_sold)
        if most_bought > limits.min_transaction:
            model.bought[token.address] = _amount(model, f"b{index}", limits.min_transaction, most_bought)
        if token.address in model.sold and token.address in model.bought:
            both = model.sold[token.address][1] + model.bought[token.address][1]
            model.lp.addConstraint(both <= 1, name=f"side{index}")
    sold = sum((1.0 - rate) * amount for amount, _ in model.sold.values())
    bought = sum(1.0 * amount for amount, _ in model.bought.values())
    if not (model.sold and model.bought):
        model.sold.clear()
        model.bought.clear()
        return
    model.lp.addConstraint(sold - bought == 0, name="numeraire")
    model.any_conversion = _switch(model, "any_conversion")
    model.lp.addConstraint(
        model.any_conversion <= sum(switch for _, switch in model.sold.values()), name="any_conversion_sold"
    )


def _add_balances(model: AllocationModel) -> None:
    """No token is overspent; the idle buffer stays."""
    import pulp

    problem, lp = model.limits.problem, model.lp
    flows: dict[str, list[Any]] = {token.address: [] for token in problem.tokens}
    for pool in problem.pools:
        if pool.pool_id not in model.pools:
            continue
        withdrawn, deposited = _withdrawn(model, pool.pool_id), _deposited(model, pool.pool_id)
        for address, share in zip(pool.tokens, problem.leg_shares(pool), strict=True):
            flows[address] += [share * withdrawn, -1.0 / len(pool.tokens) * deposited]
    for address, (amount, _) in model.sold.items():
        flows[address].append(-1.0 * amount)
    for address, (amount, _) in model.bought.items():
        flows[address].append(1.0 * amount)
    idle = {token.address: float(token.value(token.balance)) / model.unit for token in problem.tokens}
    for index, (address, terms) in enumerate(flows.items()):
        change = pulp.lpSum(terms)
        if len(change):
            lp.addConstraint(change >= -idle[address], name=f"idle{index}")
    total = pulp.lpSum(term for terms in flows.values() for term in terms)
    if model.limits.idle_buffer > 0 and len(total):
        lp.addConstraint(total >= model.limits.idle_buffer / model.unit - sum(idle.values()), name="idle_buffer")


def _add_caps(model: AllocationModel) -> None:
    """Shared caps that can bind at all."""
    import pulp

    bounds = model.limits.pools
    for index, shared in enumerate(model.limits.shared):
        most = sum(max(bounds[pool].held * part, _most(model, shared, pool)) for pool, part in shared.held.items())
        if most > shared.limit:
            change = pulp.lpSum(
                shared.new[pool] * _deposited(model, pool) - part * _withdrawn(model, pool)
                for pool, part in shared.held.items()
                if pool in model.pools
            )
            held = sum(bounds[pool].held * part for pool, part in shared.held.items())
            if len(change):
                model.lp.addConstraint(change <= (shared.limit - held) / model.unit, name=f"shared{index}")


def _most(model: AllocationModel, shared: SharedLimit, pool_id: str) -> float:
    """The most that one pool can put under a shared cap."""
    bounds = model.limits.pools[pool_id]
    deposit = bounds.deposit_max if bounds.can_deposit else 0.0
    return bounds.held * shared.held[pool_id] + deposit * shared.new[pool_id]


def _add_minimum_pools(model: AllocationModel) -> None:
    """Whoever deposits ends with at least min_pools positions of proper size; keeping and leaving is always allowed."""
    import pulp

    needed = model.limits.problem.parameters.min_pools
    deposits = [pool.deposit_on for pool in model.pools.values() if pool.deposit_on is not None]
    if needed <= 1 or not deposits:
        return
    model.any_deposit = _switch(model, "any_deposit")
    for index, switch in enumerate(deposits):
        model.lp.addConstraint(switch <= model.any_deposit, name=f"any_deposit_{index}")
    used = pulp.lpSum(_used(model, pool_id) for pool_id in model.pools)
    model.lp.addConstraint(used >= needed * model.any_deposit, name="min_pools")


def _gas_units(model: AllocationModel) -> Any:
    """Gas units of all transactions as they will be executed: n sold and m bought tokens are n + m - 1 direct swaps."""
    import pulp

    problem = model.limits.problem
    terms: list[Any] = []
    for pool in problem.pools:
        variables = model.pools.get(pool.pool_id, PoolVariables())
        if variables.deposit_on is not None:
            terms.append(float(problem.deposit_gas(pool)) * variables.deposit_on)
        out = (switch for switch in (variables.part_on, variables.exit_on) if switch is not None)
        terms.extend(float(problem.withdraw_gas(pool)) * switch for switch in out)
    swap = float(problem.swap_gas)
    terms.extend(swap * switch for _, switch in (*model.sold.values(), *model.bought.values()))
    if model.any_conversion is not None:
        terms.append(-swap * model.any_conversion)
    return pulp.lpSum(terms)


def _gas(model: AllocationModel) -> Any:
    """Cost of gas in units; the relaxed model has no fixed costs."""
    import pulp

    if model.limits.is_relaxed:
        return pulp.lpSum([])
    return _gas_units(model) * (float(model.limits.problem.gas_usd(1)) / model.unit)


def _conversion(model: AllocationModel) -> Any:
    import pulp

    rate = model.limits.problem.parameters.conversion_rate
    return pulp.lpSum(rate * amount for amount, _ in model.sold.values())


def _add_eth_limit(model: AllocationModel) -> None:
    """The wallet's ETH pays for all gas at the p90 price; left out when it does so whatever the plan is."""
    affordable = gas_units_affordable(model.limits.problem)
    units = _gas_units(model)
    if sum(value for value in units.values() if value > 0) <= affordable:
        return
    model.is_eth_limited = True
    model.lp.addConstraint(units * 1e-6 <= affordable * 1e-6, name="eth")


def _add_hysteresis(model: AllocationModel, reference: Reference, gain: Any, cost: Any) -> None:
    """Costs are earned back within break_even_days, beyond what the limits force."""
    parameters = model.limits.problem.parameters
    share = parameters.break_even_days / parameters.horizon_days
    forced = reference.gas_usd - reference.gain_usd * share
    model.lp.addConstraint(gain * share - cost >= -forced / model.unit - HYSTERESIS_TOLERANCE, name="hysteresis")
