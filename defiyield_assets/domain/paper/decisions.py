"""Which decision each order carries out: what waits for the next open, and since which completed bar.

Lives here: the causes of orders and the memory of when what waits was decided. Not here: deciding (domain/strategies/
plans.py), filling (domain/strategies/engine.py), the records of orders (exchange.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from defiyield_assets.domain.strategies.state import Decision, Fill, State, Trade

CAUSES = frozenset({"entry", "signal", "stop", "target", "reverse", "rebalance", "purchase", "margin"})
"""Why an order is there. `signal`: a rule's exit; stops and targets were decided with their entry."""
ENTRY, EXIT, WEIGHTS, PURCHASE = "entry", "exit", "weights", "purchase"
WaitingKey = tuple[str, int, int]
"""Kind, rule and instrument (by number) of an order that waits."""
PositionKey = tuple[int, int]
"""Rule and instrument of a position."""


@dataclass(frozen=True)
class Decided:
    """When things were decided, as days since 1970: orders that wait, and the entries of positions that are held."""

    waiting: Mapping[WaitingKey, int] = field(default_factory=dict)
    positions: Mapping[PositionKey, int] = field(default_factory=dict)


def waiting_keys(state: State) -> Iterator[WaitingKey]:
    """Every order of a state that waits for a bar of its instrument."""
    for one in state.exits:
        yield EXIT, one.rule, one.instrument
    for entry in state.entries:
        yield ENTRY, entry.rule, entry.instrument
    if state.weights is not None:
        for instrument, _ in state.weights.shares:
            yield WEIGHTS, 0, instrument
    if state.purchases is not None:
        for instrument, _ in state.purchases.amounts:
            yield PURCHASE, 0, instrument


def after_decision(known: Decided, settled: State, decided: State, decision: Decision, day: int) -> Decided:
    """What waits behind a decision on the bar of `day`: what waited keeps its day, what is new gets this one."""
    kept = set(waiting_keys(settled))
    renewed = {WEIGHTS} if decision.shares is not None else set()
    renewed |= {PURCHASE} if decision.purchases is not None else set()
    waiting = {
        key: known.waiting.get(key, day) if key in kept and key[0] not in renewed else day
        for key in waiting_keys(decided)
    }
    return Decided(waiting, known.positions)


def after_fills(known: Decided, before: State, settled: State) -> Decided:
    """The same behind a bar: positions that it opened bear the day of their entry's decision."""
    positions = {}
    for one in settled.positions:
        key = (one.rule, one.instrument)
        was_there = any(old.rule == one.rule and old.instrument == one.instrument for old in before.positions)
        is_old = was_there and one.entry_day != settled.day
        positions[key] = known.positions[key] if is_old and key in known.positions else entry_day(known, *key)
    return Decided(known.waiting, positions)


def entry_day(known: Decided, rule: int, instrument: int) -> int:
    """The day on which an entry, a share or a purchase that waits was decided. KeyError where none waits."""
    for key in ((ENTRY, rule, instrument), (WEIGHTS, 0, instrument), (PURCHASE, 0, instrument)):
        if key in known.waiting:
            return known.waiting[key]
    raise KeyError(f"instrument {instrument} was traded by rule {rule}, and no order for it had been decided")


def cause_of(fill: Fill, before: State) -> str:
    """Which of CAUSES a fill has; `before`: the state that the bar began with."""
    if fill.reason not in ("entry", "rebalance"):
        return fill.reason
    if before.entries and fill.reason == "entry":
        return ENTRY
    is_bought = before.purchases is not None and any(one == fill.instrument for one, _ in before.purchases.amounts)
    return PURCHASE if is_bought else "rebalance"


def day_of(fill: Fill, trade: Trade | None, known: Decided, before: State) -> int:
    """The completed bar on which what a fill carries out was decided; `trade`: what it closed. KeyError where nothing
    was.
    """
    if fill.reason in ("stop", "target"):
        key = (fill.rule, fill.instrument)
        is_of_today = trade is not None and trade.entry_day == fill.day
        return entry_day(known, *key) if is_of_today else known.positions[key]
    if fill.reason in ("signal", "margin"):
        return known.waiting[EXIT, fill.rule, fill.instrument]
    if fill.reason == "reverse":
        wanted = 1 if fill.is_buy else -1
        rule = next(one.rule for one in before.entries if one.instrument == fill.instrument and one.side == wanted)
        return known.waiting[ENTRY, rule, fill.instrument]
    return entry_day(known, fill.rule, fill.instrument)
