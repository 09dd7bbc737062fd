"""The allocation model in PuLP: value flows, conversions through a numeraire, fixed gas, minima, caps, hysteresis.

Lives here: variables, constraints, objective. Not here: bounds (limits.py), solvers (solve.py), amounts (steps.py).
Money inside the model is counted in `unit` USD (AUM / 1e5), so that solver tolerances mean the same for every treasury.
Every coefficient of a binary is the smallest reachable value of what it switches; there is no global big M.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption, TokenHolding
from defiyield_assets.domain.allocation.gains import Branch, hull, secant_gain, secant_knots, secants
from defiyield_assets.domain.allocation.limits import Limits, SharedLimit

UNITS = 1e5
"""Units that the AUM counts in the model: small enough for double precision, large enough for absolute tolerances."""
HYSTERESIS_TOLERANCE = 1e-4
"""In units (a billionth of AUM): keeps the reference itself feasible for solvers that work to 1e-7 of large numbers."""
SLIPPAGE_KNOTS = (0.0, 1 / 64, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1.0)
"""Parts of the largest conversion at which its slippage is met exactly."""
Purpose = Literal["gain", "withdraw_only", "count"]
"""gain: the plan. withdraw_only: the cheapest way back within the limits. count: how many pools can be used at all."""


@dataclass
class PoolVariables:
    """Decisions on one pool; absent ones are None. `gain` is against doing nothing, without what leaves earns later."""

    deposit: Any = None
    deposit_on: Any = None
    part: Any = None
    part_on: Any = None
    exit_on: Any = None
    gain: Any = None
    beyond: Any = None
    """On: the gain is that of the second branch, beyond the kink of the pool's utilisation. No transaction."""

    @property
    def switches(self) -> list[Any]:
        """Its binaries."""
        return [switch for switch in (self.deposit_on, self.part_on, self.exit_on) if switch is not None]


@dataclass
class AllocationModel:
    """A PuLP model and handles on its variables, by pool id and token address."""

    lp: Any
    unit: float
    limits: Limits
    lines: dict[str, list[Branch]]
    pools: dict[str, PoolVariables] = field(default_factory=dict)
    sold: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    bought: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    slippage: dict[str, Any] = field(default_factory=dict)
    reach: dict[str, float] = field(default_factory=dict)
    any_conversion: Any = None
    any_deposit: Any = None
    is_eth_limited: bool = False
    cuts: int = 0

    def lost(self, amount: Any) -> Any:
        """Slippage of a converted amount; 0 for tokens without."""
        return 1.0 * self.slippage[amount.name] if amount.name in self.slippage else 0.0

    @property
    def amounts(self) -> list[tuple[Any, Any]]:
        """Every semi-continuous amount with its switch."""
        pairs = [
            pair
            for pool in self.pools.values()
            for pair in ((pool.deposit, pool.deposit_on), (pool.part, pool.part_on))
        ]
        return [pair for pair in (*pairs, *self.sold.values(), *self.bought.values()) if pair[0] is not None]

    @property
    def binaries(self) -> list[Any]:
        """Every on/off variable."""
        found = [switch for pool in self.pools.values() for switch in pool.switches]
        found += [pool.beyond for pool in self.pools.values() if pool.beyond is not None]
        found += [switch for _, switch in (*self.sold.values(), *self.bought.values())]
        return found + [switch for switch in (self.any_conversion, self.any_deposit) if switch is not None]


@dataclass(frozen=True)
class Reference:
    """What hysteresis compares with: doing nothing (empty) or, when the limits forbid that, the cheapest way back.

    Per pool that has to be touched: gain against doing nothing and gas, in USD.
    """

    pools: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_hold(self) -> bool:
        """Nothing has to be done."""
        return not self.pools

    def forced_usd(self, share: float, pools: Iterable[str] | None = None) -> float:
        """What hysteresis lets pass of some pools, or of all: gas that must be spent, less `share` of its gain."""
        named = self.pools if pools is None else [pool for pool in pools if pool in self.pools]
        return sum(self.pools[pool][1] - share * self.pools[pool][0] for pool in named)


def gas_units_affordable(problem: AllocationProblem) -> int:
    """Gas units that the ETH balance pays for at the p90 price."""
    return problem.eth_balance_wei // problem.gas_price_p90_wei


def build_model(
    problem: AllocationProblem,
    *,
    purpose: Purpose = "gain",
    reference: Reference | None = None,
) -> AllocationModel:
    """The model of a problem; it minimises cost minus gain (USD / unit) against doing nothing.

    `reference` switches hysteresis on. Method `lp` relaxes the binaries and leaves out fixed costs and minima.
    The wallet's ETH is no limit yet: see `limit_eth`.
    """
    import pulp

    limits = Limits(problem, is_relaxed=problem.parameters.method == "lp")
    lines = {
        pool.pool_id: _branches(limits, pool)
        for pool in problem.pools
        if not (limits.pools[pool.pool_id].is_idle or (purpose == "withdraw_only" and not pool.is_held))
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
    if purpose == "count":
        lp.setObjective(-pulp.lpSum(_used(model, pool_id) for pool_id in model.pools))
        return model
    cost = _gas(model) + conversion_cost(model)
    gain = pulp.lpSum(gain_of(model, pool) for pool in model.pools)
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
    return Reference() if idle >= limits.idle_buffer - tiny else None


def solved_reference(model: AllocationModel) -> Reference:
    """The reference that a solved `withdraw_only` model stands for."""
    import pulp

    found = {}
    for pool_id, variables in model.pools.items():
        if any(switch.varValue > 1e-6 for switch in variables.switches):
            worth = (float(pulp.value(line) or 0.0) for line in (gain_of(model, pool_id), gas_of(model, pool_id)))
            found[pool_id] = (next(worth) * model.unit, next(worth) * model.unit)
    return Reference(found)


def usable_pools(model: AllocationModel) -> int:
    """Positions that count towards min_pools in a solved model."""
    import pulp

    return round(sum(float(pulp.value(_used(model, pool_id))) for pool_id in model.pools))


def _reach(limits: Limits, pool: PoolOption) -> float:
    """The largest value that a position may have in the model: its cap, or what it is today."""
    bounds = limits.pools[pool.pool_id]
    return max(bounds.held, bounds.held + bounds.deposit_max if bounds.can_deposit else 0.0)


def _branches(limits: Limits, pool: PoolOption) -> list[Branch]:
    """The lines that the model's gain of a pool lies below; the relaxed model, which is a bound, joins branches."""
    held, reach = limits.pools[pool.pool_id].held, _reach(limits, pool)
    branches = secants(pool, held, reach, limits.problem.parameters)
    return hull(branches, secant_knots(pool, held, reach)) if limits.is_relaxed else branches


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
    switches = variables.switches
    if len(switches) > 1:
        lp.addConstraint(sum(switches) <= 1, name=f"one{index}")
        for switch in switches if len(pool.tokens) > 1 else ():
            switch.cat = "Integer"  # in the relaxed model too: half in and half out would convert tokens for nothing
    if switches:
        lp.addConstraint(_value(model, pool.pool_id) <= bounds.upper / model.unit, name=f"cap{index}")
    # gain is counted against doing nothing, so that the relative stopping gap is one of the improvement
    hold = secant_gain(model.lines[pool.pool_id], bounds.held)
    branches = [[(slope, intercept - hold) for slope, intercept in lines] for lines in model.lines[pool.pool_id]]
    ends = [secant_gain(branches, value) for value in (0.0, bounds.held, _reach(model.limits, pool))]
    # one unit of room: with a bound that an exit meets exactly, CBC called feasible plans infeasible
    variables.gain = lp.add_variable(f"g{index}", min(0.0, *ends) / model.unit - 1.0, None)
    if len(branches) > 1:
        variables.beyond = _switch(model, f"k{index}")
    knots = secant_knots(pool, bounds.held, _reach(model.limits, pool))
    for branch, lines in enumerate(branches):
        for number, (slope, intercept) in enumerate(lines):
            line = slope * _value(model, pool.pool_id) + intercept / model.unit
            if variables.beyond is not None:
                # as much as the other branch is ever above this line
                excess = max(0.0, *(secant_gain(branches, knot) - slope * knot - intercept for knot in knots))
                line += excess / model.unit * (1.0 - variables.beyond if branch else variables.beyond)
            lp.addConstraint(variables.gain <= line, name=f"g{index}_{branch}_{number}")


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
        held = problem.leg_shares(pool) if pool.tokens else ()
        for address, share, part in zip(pool.tokens, held, pool.deposit_shares, strict=True):
            reach[address] += 0.0 if pool.is_queued else bounds.exit * share
            wanted[address] += bounds.deposit_max * part if bounds.can_deposit else 0.0
    model.reach.update({address: max(value, limits.min_transaction) for address, value in reach.items()})
    for index, token in enumerate(problem.tokens):
        others = sum(value for address, value in reach.items() if address != token.address) * (1.0 - rate)
        most_bought = min(_before_slippage(token, wanted[token.address]), others) if token.is_buyable else 0.0
        most_sold = min(reach[token.address], _most_converted(token) * (1.0 - rate))
        for name, converted, most in (("s", model.sold, most_sold), ("b", model.bought, most_bought)):
            if most > limits.min_transaction:
                converted[token.address] = _amount(model, f"{name}{index}", limits.min_transaction, most)
                _add_slippage(model, f"{name}{index}", token, converted[token.address][0], most)
        if token.address in model.sold and token.address in model.bought:
            both = model.sold[token.address][1] + model.bought[token.address][1]
            model.lp.addConstraint(both <= 1, name=f"side{index}")
    sold = sum((1.0 - rate) * amount - model.lost(amount) for amount, _ in model.sold.values())
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


def _most_converted(token: TokenHolding) -> float:
    """Value from which on more does not bring more: slippage eats it."""
    return 0.5 / float(token.slippage) if token.slippage else float("inf")


def _before_slippage(token: TokenHolding, wanted: float) -> float:
    """What has to be spent on a token so that `wanted` of it arrives: x - k·x² = wanted."""
    k = float(token.slippage)
    if not k:
        return wanted
    return _most_converted(token) if 4.0 * k * wanted >= 1.0 else (1.0 - (1.0 - 4.0 * k * wanted) ** 0.5) / (2.0 * k)


def _add_slippage(model: AllocationModel, name: str, token: TokenHolding, amount: Any, most: float) -> None:
    """What a conversion loses beyond its rate: k·x² by secants, never less than the curve. k: USD per USD²."""
    if not token.slippage:
        return
    k, unit = float(token.slippage), model.unit
    lost = model.slippage[amount.name] = model.lp.add_variable(f"{name}_lost", 0, k * most * most / unit)
    points = [most * share for share in SLIPPAGE_KNOTS]
    for number, (left, right) in enumerate(itertools.pairwise(points)):
        slope = k * (left + right)
        model.lp.addConstraint(lost >= slope * amount - k * left * right / unit, name=f"{name}_lost{number}")


def _add_balances(model: AllocationModel) -> None:
    """No token is overspent; the idle buffer stays. What leaves a queue is on its way and not there to be spent.

    What is bought is used, but for what the smallest conversion brings too much: nobody buys only to connect steps that
    do not pay for themselves with others that do.
    """
    import pulp

    problem, lp = model.limits.problem, model.lp
    flows: dict[str, list[Any]] = {token.address: [] for token in problem.tokens}
    for pool in problem.pools:
        if pool.pool_id not in model.pools:
            continue
        withdrawn, deposited = _withdrawn(model, pool.pool_id), _deposited(model, pool.pool_id)
        for address, share, part in zip(pool.tokens, problem.leg_shares(pool), pool.deposit_shares, strict=True):
            flows[address] += [-part * deposited] if pool.is_queued else [share * withdrawn, -part * deposited]
    for address, (amount, _) in model.sold.items():
        flows[address].append(-1.0 * amount)
    for address, (amount, _) in model.bought.items():
        flows[address].append(1.0 * amount - model.lost(amount))
    idle = {token.address: float(token.value(token.balance)) / model.unit for token in problem.tokens}
    for index, (address, terms) in enumerate(flows.items()):
        change = pulp.lpSum(terms)
        if len(change):
            lp.addConstraint(change >= -idle[address], name=f"idle{index}")
        if address in model.bought and not model.limits.is_relaxed:
            _, is_bought = model.bought[address]
            most, least = model.reach[address] / model.unit, model.limits.min_transaction / model.unit
            lp.addConstraint(change <= most - idle[address] - (most - least) * is_bought, name=f"used{index}")
    total = pulp.lpSum(term for terms in flows.values() for term in terms)
    if model.limits.idle_buffer > 0 and len(total):
        lp.addConstraint(total >= model.limits.idle_buffer / model.unit - sum(idle.values()), name="idle_buffer")


def _add_caps(model: AllocationModel) -> None:
    """Shared caps that can bind at all."""
    import pulp

    bounds = model.limits.pools
    for index, shared in enumerate(model.limits.shared):
        if shared.is_all:
            continue  # all money is never more than all money; as a row it would take the price of the last dollar
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

    return pulp.lpSum([*(_pool_gas_units(model, pool_id) for pool_id in model.pools), _conversion_gas_units(model)])


def _pool_gas_units(model: AllocationModel, pool_id: str) -> Any:
    import pulp

    problem, variables, pool = model.limits.problem, model.pools[pool_id], model.limits.pool[pool_id]
    terms = [] if variables.deposit_on is None else [float(problem.deposit_gas(pool)) * variables.deposit_on]
    out = (switch for switch in (variables.part_on, variables.exit_on) if switch is not None)
    return pulp.lpSum([*terms, *(float(problem.withdraw_gas(pool)) * switch for switch in out)])


def _conversion_gas_units(model: AllocationModel) -> Any:
    import pulp

    swap = float(model.limits.problem.swap_gas)
    terms = [swap * switch for _, switch in (*model.sold.values(), *model.bought.values())]
    return pulp.lpSum(terms if model.any_conversion is None else [*terms, -swap * model.any_conversion])


def _gas_price(model: AllocationModel) -> float:
    """Cost of one unit of gas in units of the model; the relaxed model has no fixed costs."""
    return 0.0 if model.limits.is_relaxed else float(model.limits.problem.gas_usd(1)) / model.unit


def gas_of(model: AllocationModel, pool_id: str) -> Any:
    """Cost of the gas that touching one pool takes, in units."""
    return _pool_gas_units(model, pool_id) * _gas_price(model)


def gain_of(model: AllocationModel, pool_id: str) -> Any:
    """Gain of one pool against doing nothing in units, with what leaves it and earns later."""
    later = model.limits.leaving_return(model.limits.pool[pool_id])
    return 1.0 * model.pools[pool_id].gain + (later * _withdrawn(model, pool_id) if later else 0.0)


def _gas(model: AllocationModel) -> Any:
    """Cost of all gas in units."""
    return _gas_units(model) * _gas_price(model)


def conversion_gas(model: AllocationModel) -> Any:
    """Cost of the gas of all swaps in units."""
    return _conversion_gas_units(model) * _gas_price(model)


def conversion_cost(model: AllocationModel) -> Any:
    """What conversions lose in units: their rate and slippage."""
    import pulp

    rate = model.limits.problem.parameters.conversion_rate
    return pulp.lpSum([*(rate * amount for amount, _ in model.sold.values()), *model.slippage.values()])


def has_eth_for(model: AllocationModel, values: dict[str, float]) -> bool:
    """The wallet's ETH pays at the p90 price for the decisions that a solver took (`values` by variable name)."""
    units = sum(units for switch, units in _gas_units(model).items() if values.get(switch.name, 0.0) > 0.5)
    return model.limits.is_relaxed or units <= gas_units_affordable(model.limits.problem)


def limit_eth(model: AllocationModel) -> None:
    """From now on the wallet's ETH must pay for all gas at the p90 price.

    A best plan without this limit that keeps it is best with it too: only plans that break it need the constraint.
    """
    model.is_eth_limited = True
    model.lp.addConstraint(_gas_units(model) * 1e-6 <= gas_units_affordable(model.limits.problem) * 1e-6, name="eth")


def _add_hysteresis(model: AllocationModel, reference: Reference, gain: Any, cost: Any) -> None:
    """Costs are earned back within break_even_days, beyond what the limits force."""
    parameters = model.limits.problem.parameters
    share = parameters.break_even_days / parameters.horizon_days
    forced = reference.forced_usd(share)
    scale = 1.0 / max(1.0, share)
    limit = -forced * scale / model.unit - HYSTERESIS_TOLERANCE
    model.lp.addConstraint(gain * (share * scale) - cost * scale >= limit, name="hysteresis")
