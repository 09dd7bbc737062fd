"""What the models of the language cannot see: names of columns, warm-ups, members, signal types.

Lives here: the problems of one parsed strategy, each with its place in the file and the nearest known name. Not here:
the models (language.py), files and lines (config/strategy_files.py).
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from defiyield_assets.domain.strategies.columns import SCENARIO_WARM_UP, nearest, with_indicators
from defiyield_assets.domain.strategies.conditions import AnyCondition, BarsHeld, Comparison, Location, leaves
from defiyield_assets.domain.strategies.language import (
    AccumulationStrategy,
    AllocationStrategy,
    AtrLevel,
    CompositeStrategy,
    EventStrategy,
    ExternalStrategy,
    HalfKellySizing,
    OneSided,
    PercentLevel,
    RandomStrategy,
    RiskSizing,
    SignalStrategy,
    Stop,
    StrategySpec,
    Target,
    Trading,
    VolatilitySizing,
)

EVENT_COLUMNS = {
    "instrument": ("days_to_event", "days_since_event"),
    "market": ("days_to_market_event", "days_since_market_event"),
}
"""Columns that tell an event strategy where the next and the last event are."""
Read = tuple[Location, str, int]
"""Place in the file, column, bars that are read before today's."""


@dataclass(frozen=True)
class Known:
    """What names may stand for: columns with their warm-ups, other strategies, types of external signals."""

    columns: Mapping[str, int]
    strategies: AbstractSet[str] = frozenset()
    signal_types: AbstractSet[str] = frozenset()
    warm_up: int = SCENARIO_WARM_UP


@dataclass(frozen=True)
class Problem:
    """What is wrong, where (keys and indices from the top of the file), and what would be right."""

    location: Location
    message: str


def problems(spec: StrategySpec, known: Known) -> list[Problem]:
    """Everything that is wrong with a strategy; nothing: it can be run."""
    own = with_indicators(known.columns, spec.indicators)
    found = [*_indicator_problems(spec, known)]
    for location, name, extra in _reads(spec):
        if name not in own:
            if name not in spec.indicators:
                found.append(Problem(location, f"{name!r} is no column; {nearest(name, own)}"))
        elif own[name] + extra > known.warm_up:
            found.append(
                Problem(
                    location,
                    f"{name} has its first value after {own[name] + extra} bars, a scenario's first decision comes "
                    f"after {known.warm_up}; take a shorter one",
                )
            )
    found += _age_problems(spec)
    found += _stop_problems(spec)
    found += _risk_problems(spec)
    if isinstance(spec, CompositeStrategy):
        found += _member_problems(spec, known)
    if isinstance(spec, ExternalStrategy) and spec.signal not in known.signal_types:
        message = f"{spec.signal!r} is no type of signal; {nearest(spec.signal, known.signal_types)}"
        found.append(Problem(("signal",), message))
    return found


def columns_read(spec: StrategySpec) -> set[str]:
    """Names of bar columns and features that a strategy reads, its own indicators resolved."""
    names = {name for _, name, _ in _reads(spec)} | {one.col for one in spec.indicators.values()}
    return names - set(spec.indicators)


def warm_up_of(spec: StrategySpec, columns: Mapping[str, int]) -> int:
    """Bars until all that a strategy reads is known."""
    own = with_indicators(columns, spec.indicators)
    return max((own[name] + extra for _, name, extra in _reads(spec)), default=1)


def _reads(spec: StrategySpec) -> Iterator[Read]:
    """Every column that is named, with its place."""
    for at, condition in _conditions(spec):
        for place, leaf in leaves(condition, at):
            if isinstance(leaf, Comparison):
                yield (*place, "col"), leaf.col, leaf.extra_bars
                if leaf.ref is not None:
                    yield (*place, "ref"), leaf.ref, leaf.extra_bars
    for at, level in _levels(spec):
        if isinstance(level, AtrLevel):
            yield (*at, "col"), level.col, 0
    if isinstance(spec, Trading):
        if isinstance(spec.sizing, VolatilitySizing):
            yield ("sizing", "col"), spec.sizing.col, 0
        if spec.rank is not None:
            yield ("rank",), spec.rank, 0
    if isinstance(spec, EventStrategy):
        yield from ((("scope",), name, 0) for name in EVENT_COLUMNS[spec.scope])
    if isinstance(spec, AllocationStrategy):
        if spec.rank is not None:
            yield ("rank",), spec.rank, 0
        if spec.volatility_target is not None or spec.weights == "inverse_volatility":
            yield ("volatility_col",), spec.volatility_col, 0


def _conditions(spec: StrategySpec) -> Iterator[tuple[Location, AnyCondition]]:
    """Every condition with its place."""
    if isinstance(spec, SignalStrategy):
        for index, rule in enumerate(spec.rules):
            yield ("rules", index, "enter"), rule.enter
            if rule.exit is not None:
                yield ("rules", index, "exit"), rule.exit
    elif isinstance(spec, OneSided | AllocationStrategy | AccumulationStrategy) and spec.when is not None:
        yield ("when",), spec.when


def _levels(spec: StrategySpec) -> Iterator[tuple[Location, Stop | Target | None]]:
    """Every stop and target with its place."""
    if isinstance(spec, SignalStrategy):
        for index, rule in enumerate(spec.rules):
            yield ("rules", index, "stop"), rule.stop
            yield ("rules", index, "target"), rule.target
    elif isinstance(spec, OneSided | ExternalStrategy | RandomStrategy):
        yield ("stop",), spec.stop
        yield ("target",), spec.target


def _indicator_problems(spec: StrategySpec, known: Known) -> Iterator[Problem]:
    before = dict(known.columns)
    for name, one in spec.indicators.items():
        if name in known.columns:
            yield Problem(("indicators", name), f"{name} is a column already; give the indicator another name")
        if one.col not in before:
            yield Problem(("indicators", name, "col"), f"{one.col!r} is no column; {nearest(one.col, before)}")
        else:
            before = with_indicators(before, {name: one})


def _age_problems(spec: StrategySpec) -> Iterator[Problem]:
    """bars_held asks for the age of a position: only an exit has one."""
    for at, condition in _conditions(spec):
        if at[-1] == "exit":
            continue
        for place, leaf in leaves(condition, at):
            if isinstance(leaf, BarsHeld):
                yield Problem((*place, "bars_held"), "bars_held asks for a position's age, which only an exit knows")


def _stop_problems(spec: StrategySpec) -> Iterator[Problem]:
    """A stop at the whole price away is below nothing: a percent was written where a fraction is meant."""
    for at, level in _levels(spec):
        if at[-1] == "stop" and isinstance(level, PercentLevel) and level.pct >= 1.0:
            yield Problem(
                (*at, "pct"), f"{level.pct:g} is a fraction of the price: {level.pct:g} % is {level.pct / 100:g}"
            )


def _risk_problems(spec: StrategySpec) -> Iterator[Problem]:
    """Sizing by risk measures the way to the stop."""
    if not isinstance(spec, Trading):
        return
    if isinstance(spec.sizing, HalfKellySizing) and spec.sizing.start > spec.sizing.cap:
        yield Problem(("sizing", "start"), f"start {spec.sizing.start:g} is beyond the cap {spec.sizing.cap:g}")
    if not isinstance(spec.sizing, RiskSizing):
        return
    for at, level in _levels(spec):
        may_be_told = isinstance(spec, ExternalStrategy) and spec.use_levels
        if at[-1] == "stop" and level is None and not may_be_told:
            yield Problem(at, "is missing: sizing by risk measures the way from the entry to the stop")


def _member_problems(spec: CompositeStrategy, known: Known) -> Iterator[Problem]:
    names = [member.strategy for member in spec.members]
    for index, name in enumerate(names):
        at: Location = ("members", index, "strategy")
        if name == spec.id:
            yield Problem(at, "a strategy is no member of itself")
        elif name not in known.strategies:
            yield Problem(at, f"{name!r} is no strategy; {nearest(name, known.strategies)}")
        elif name in names[:index]:
            yield Problem(at, f"{name!r} is a member already")
