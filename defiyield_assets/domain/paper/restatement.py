"""A state in other prices: what a split or a dividend does to what an account holds and has ordered.

Lives here: positions, marks and levels of a state multiplied into the adjusted prices of today. Not here: the factors
(domain/prices/adjustments.py), the exchange's balances (exchange.py).
"""

from collections.abc import Sequence
from dataclasses import replace

from defiyield_assets.domain.strategies.levels import Level
from defiyield_assets.domain.strategies.state import Entry, Position, State


def restated(state: State, factors: Sequence[float]) -> State:
    """Prices times their instrument's factor, units divided by it: the account is worth what it was.

    A dividend restates as a split does: adjusted bars are those of an account that buys more of the same with it.
    """
    if all(factor == 1.0 for factor in factors):
        return state
    return replace(
        state,
        marks=tuple(mark * factor for mark, factor in zip(state.marks, factors, strict=True)),
        positions=tuple(_position(one, factors[one.instrument]) for one in state.positions),
        entries=tuple(_entry(one, factors[one.instrument]) for one in state.entries),
        volumes=tuple(volume / factor for volume, factor in zip(state.volumes, factors, strict=False)),
    )


def _position(one: Position, factor: float) -> Position:
    if factor == 1.0:
        return one
    return replace(
        one,
        quantity=one.quantity / factor,
        entry_price=one.entry_price * factor,
        stop=one.stop * factor,
        target=one.target * factor,
    )


def _entry(one: Entry, factor: float) -> Entry:
    return replace(one, stop=_level(one.stop, factor), target=_level(one.target, factor))


def _level(level: Level | None, factor: float) -> Level | None:
    if level is None or level.kind not in ("price", "distance"):
        return level
    return Level(level.kind, level.value * factor)
