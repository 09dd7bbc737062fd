"""Whether every connected part of a plan earns back its own costs, and the cuts that make it so.

Lives here: connected components of a solved model's steps, and the constraint on one of them. Not here: the same
constraint on the plan as a whole (model.py), which each of these would hide behind what other parts gain.

Pools are connected when they move the same token; all converted tokens are connected, because they meet in the
numeraire; a withdrawal is connected with the deposits under the same cap, because it makes room for them. What leaves a
queue moves no token today. Which steps belong together is only known when they are: a component that fails is cut off
and the model solved again (allocation.md, hysteresis).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from defiyield_assets.domain.allocation.model import (
    HYSTERESIS_TOLERANCE,
    AllocationModel,
    Reference,
    conversion_cost,
    conversion_gas,
    gain_of,
    gas_of,
)

ALLOWED = 10.0 * HYSTERESIS_TOLERANCE
"""By how much a component may fail, in units: solvers meet a constraint only within their tolerances."""


@dataclass(frozen=True)
class Component:
    """Connected steps: the pools they touch, the tokens they move, and whether conversions are part of them."""

    pools: frozenset[str]
    tokens: frozenset[str]
    has_conversions: bool

    def joined(self, other: "Component") -> "Component":
        """Both in one."""
        return Component(
            self.pools | other.pools, self.tokens | other.tokens, self.has_conversions or other.has_conversions
        )


def components(model: AllocationModel, decisions: Mapping[str, bool]) -> list[Component]:
    """The connected parts of the steps that the decisions (on or off by name of the binary) lead to."""
    found: list[Component] = []
    converted = [token for side in (model.sold, model.bought) for token, (_, on) in side.items() if decisions[on.name]]
    if converted:
        found.append(Component(frozenset(), frozenset(converted), True))
    for pool_id, variables in model.pools.items():
        if any(decisions[switch.name] for switch in variables.switches):
            is_deposit = _is_on(variables.deposit_on, decisions)
            pool = model.limits.pool[pool_id]
            moved = pool.tokens if is_deposit or not pool.is_queued else ()
            own = Component(frozenset([pool_id]), frozenset(moved), False)
            found = _merged(found, own, [other for other in found if other.tokens & own.tokens])
    for members in _making_room(model):
        deposits, withdrawals = _used(model, members, decisions)
        if deposits and withdrawals:
            touched = [part for part in found if part.pools & (deposits | withdrawals)]
            found = _merged(found, touched[0], touched)
    return found


def _merged(found: list[Component], own: Component, others: list[Component]) -> list[Component]:
    """The components with `own` and all `others` in one."""
    for other in others:
        own = own.joined(other)
    return [part for part in found if part not in others] + [own]


def _making_room(model: AllocationModel) -> list[set[str]]:
    """The pools under each cap that several share."""
    return [{pool for pool in cap.held if pool in model.pools} for cap in model.limits.shared if not cap.is_all]


def _used(model: AllocationModel, members: set[str], decisions: Mapping[str, bool]) -> tuple[set[str], set[str]]:
    """Of some pools those that are deposited in, and those that are withdrawn from."""
    deposits = {pool for pool in members if _is_on(model.pools[pool].deposit_on, decisions)}
    out = {pool for pool in members if any(_is_on(on, decisions) for on in _outs(model, pool))}
    return deposits, out


def _outs(model: AllocationModel, pool_id: str) -> list[Any]:
    return [model.pools[pool_id].part_on, model.pools[pool_id].exit_on]


def _is_on(switch: Any, decisions: Mapping[str, bool]) -> bool:
    return switch is not None and decisions[switch.name]


def add_cuts(model: AllocationModel, reference: Reference, decisions: Mapping[str, bool]) -> int:
    """Forbid the components of a solved model that do not earn back their costs; how many there were.

    The variables hold the solution whose decisions are given. A cut speaks only of exactly this component: it is loose
    as soon as one of its steps is left out or another step joins it.
    """
    import pulp

    parameters = model.limits.problem.parameters
    share = parameters.break_even_days / parameters.horizon_days
    found = 0
    for part in components(model, decisions):
        surplus = _surplus(model, reference, part, share)
        if float(pulp.value(surplus)) >= -ALLOWED:
            continue
        found += 1
        model.cuts += 1
        changes = pulp.lpSum([*(1 - on for on in _steps(model, part, decisions)), *_joining(model, part, decisions)])
        worst = -_least(surplus)
        model.lp.addConstraint(
            surplus + worst * changes >= -HYSTERESIS_TOLERANCE,
            name=f"component{model.cuts}",
        )
    return found


def _surplus(model: AllocationModel, reference: Reference, part: Component, share: float) -> Any:
    """What a component gains within break_even_days beyond its costs and what the limits force, in units."""
    import pulp

    terms = [share * gain_of(model, pool_id) - gas_of(model, pool_id) for pool_id in sorted(part.pools)]
    if part.has_conversions:
        terms.append(-1 * (conversion_cost(model) + conversion_gas(model)))
    return pulp.lpSum(terms) + reference.forced_usd(share, part.pools) / model.unit


def _steps(model: AllocationModel, part: Component, decisions: Mapping[str, bool]) -> list[Any]:
    """The binaries that are on in a component."""
    switches = [switch for pool_id in sorted(part.pools) for switch in model.pools[pool_id].switches]
    if part.has_conversions:
        switches += [on for side in (model.sold, model.bought) for _, on in side.values()]
    return [switch for switch in switches if decisions[switch.name]]


def _joining(model: AllocationModel, part: Component, decisions: Mapping[str, bool]) -> list[Any]:
    """The binaries that are off and would make the component another one."""
    switches: list[Any] = []
    for pool_id, variables in model.pools.items():
        if pool_id not in part.pools and part.tokens & set(model.limits.pool[pool_id].tokens):
            is_queued = model.limits.pool[pool_id].is_queued
            switches += [variables.deposit_on] if is_queued else variables.switches
        elif pool_id in part.pools:
            switches += variables.switches
    for side in (model.sold, model.bought):
        switches += [on for token, (_, on) in side.items() if part.has_conversions or token in part.tokens]
    for members in _making_room(model):
        deposits, out = _used(model, members & part.pools, decisions)
        others = sorted(members - part.pools)
        switches += [on for pool in others if deposits for on in _outs(model, pool)]
        switches += [model.pools[pool].deposit_on for pool in others if out]
    found = {switch.name: switch for switch in switches if switch is not None and not decisions[switch.name]}
    return list(found.values())


def _least(surplus: Any) -> float:
    """The smallest value that a surplus can take, from the bounds of its variables."""
    least = float(surplus.constant)
    for variable, coefficient in surplus.items():
        bound = variable.lowBound if coefficient > 0 else variable.upBound
        least += coefficient * float(bound)
    return least
