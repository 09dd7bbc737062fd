"""What a strategy decides on every bar of a history: entries, exits, levels, shares of equity, purchases.

Lives here: the plan of the kinds that are made of rules, and the decision of one bar. Not here: target weights
(weights.py), votes of members (votes.py), conditions (signals.py), filling (engine.py). Row t of a plan reads nothing
after bar t; an external signal joins by when it could be acted on at the next open (external.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from zlib import crc32

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory
from defiyield_assets.domain.strategies.checking import EVENT_COLUMNS
from defiyield_assets.domain.strategies.external import JoinedSignals, join
from defiyield_assets.domain.strategies.indicators import calculated
from defiyield_assets.domain.strategies.language import (
    AllocationStrategy,
    AtrLevel,
    CompositeStrategy,
    EventStrategy,
    ExternalStrategy,
    FixedLevel,
    Indicator,
    OneSided,
    PercentLevel,
    RandomStrategy,
    RewardLevel,
    Rule,
    SignalStrategy,
    Sizing,
    Stop,
    Target,
    TimeWindowStrategy,
    Trading,
    VolatilitySizing,
)
from defiyield_assets.domain.strategies.levels import Kind, Level
from defiyield_assets.domain.strategies.signals import Columns, Exits, Flags, exits, holds
from defiyield_assets.domain.strategies.state import Decision, Entry, ExitFlags
from defiyield_assets.domain.strategies.strategy import Strategy

SIGMA_BARS = 20
"""Bars of the standard deviation of returns that impact is reckoned with."""


@dataclass(frozen=True)
class Levels:
    """Stops or targets of a rule: one number for all bars, or one for each bar and instrument (NaN unknown)."""

    kind: Kind
    values: float | Matrix

    def at(self, row: int, column: int) -> Level:
        """The level of an entry decided on a bar."""
        values = self.values
        return Level(self.kind, values if isinstance(values, float) else float(values[row, column]))


@dataclass(frozen=True)
class RulePlan:
    """One rule over all bars, (n, k). `told_*`: levels that an external signal named (prices), before the rule's."""

    side: int
    enter: Flags
    exits: Exits
    stop: Levels | None = None
    target: Levels | None = None
    told_stop: Matrix | None = None
    told_target: Matrix | None = None

    def levels(self, row: int, column: int) -> tuple[Level | None, Level | None]:
        """Stop and target of an entry decided on a bar."""
        stop = None if self.stop is None else self.stop.at(row, column)
        target = None if self.target is None else self.target.at(row, column)
        if self.told_stop is not None and not isnan(self.told_stop[row, column]):
            stop = Level("price", float(self.told_stop[row, column]))
        if self.told_target is not None and not isnan(self.told_target[row, column]):
            target = Level("price", float(self.told_target[row, column]))
        return stop, target


@dataclass(frozen=True)
class Plan:
    """Decisions of a strategy over a history, from row `start` on.

    `shares`, `purchases` (n, k): target shares of equity, and shares of the first capital to buy for; a row that is
    all NaN is no day to act. `rank`, `volatility` (n, k): what entries carry; `sigma`, `volume`: for impact.
    """

    start: int
    rules: tuple[RulePlan, ...] = ()
    sizing: Sizing | None = None
    max_positions: int | None = None
    rank: Matrix | None = None
    volatility: Matrix | None = None
    sigma: Matrix | None = None
    volume: Matrix | None = None
    shares: Matrix | None = None
    purchases: Matrix | None = None
    band: float = 0.0
    is_in_sample: bool = False

    @cached_property
    def _entries(self) -> dict[int, list[tuple[int, int]]]:
        """Row -> rule and instrument of its entries."""
        found: dict[int, list[tuple[int, int]]] = {}
        for number, rule in enumerate(self.rules):
            for row, column in zip(*(one.tolist() for one in np.nonzero(rule.enter)), strict=True):
                if row >= self.start:
                    found.setdefault(row, []).append((number, column))
        return found

    @cached_property
    def _exit_rows(self) -> list[tuple[tuple[int, ...], list[list[list[bool]]]]]:
        """Of each rule: ages, and flags of each age as lists."""
        return [(rule.exits.ages, [flags.tolist() for flags in rule.exits.flags]) for rule in self.rules]

    @cached_property
    def _liquidity(self) -> tuple[list[list[float]], list[list[float]]]:
        """Volumes and volatilities of every bar as lists."""
        if self.volume is None or self.sigma is None:
            return [], []
        return self.volume.tolist(), self.sigma.tolist()

    def at(self, row: int) -> Decision:
        """The decision on a completed bar."""
        if row < self.start:
            return Decision()
        leave = tuple(ExitFlags(ages, [flags[row] for flags in rows]) for ages, rows in self._exit_rows)
        entries = tuple(self._entry(row, rule, column) for rule, column in self._entries.get(row, ()))
        shares, bought = _told(self.shares, row), _told(self.purchases, row)
        if self.volume is None or self.sigma is None:
            return Decision(entries, leave, shares, bought)
        volumes, sigmas = self._liquidity
        return Decision(entries, leave, shares, bought, volumes[row], sigmas[row])

    def _entry(self, row: int, number: int, column: int) -> Entry:
        stop, target = self.rules[number].levels(row, column)

        def of(matrix: Matrix | None) -> float:
            return nan if matrix is None else float(matrix[row, column])

        rank = 0.0 if self.rank is None else of(self.rank)
        return Entry(number, column, self.rules[number].side, stop, target, of(self.volatility), rank)


def _told(matrix: Matrix | None, row: int) -> tuple[tuple[int, float], ...] | None:
    """The known values of a row with their instruments; None where none is."""
    if matrix is None:
        return None
    known = np.flatnonzero(np.isfinite(matrix[row]))
    return tuple((int(j), float(matrix[row, j])) for j in known) if len(known) else None


def first_row(history: PriceHistory) -> int:
    """The first bar that decides: the last of the warm-up, whose orders fill at the first scored open."""
    return max(history.first_scored - 1, 0)


def plan(strategy: Strategy, history: PriceHistory, signals: pd.DataFrame | None = None) -> Plan:
    """What a strategy decides on every bar.

    `signals`: external signals (external.COLUMNS), for strategies that follow them. KeyError for a feature that the
    history does not hold; ValueError for a strategy of external signals without any given.
    """
    from defiyield_assets.domain.strategies.weights import purchases, target_shares

    spec, start = strategy.spec, first_row(history)
    columns = Columns(history, spec.indicators)
    sigma, volume = columns.unpacked_values(_sigma(columns)), history.volume
    if isinstance(spec, AllocationStrategy):
        shares = target_shares(spec, columns, start)
        return Plan(start, shares=shares, band=spec.band, sigma=sigma, volume=volume)
    if not isinstance(spec, Trading):
        return Plan(start, purchases=purchases(spec, columns, start), sigma=sigma, volume=volume)
    rules, is_in_sample = _rules(strategy, columns, start, signals)
    return Plan(
        start,
        tuple(rules),
        spec.sizing,
        spec.max_positions,
        None if spec.rank is None else columns.values(spec.rank),
        columns.values(spec.sizing.col) if isinstance(spec.sizing, VolatilitySizing) else None,
        sigma=sigma,
        volume=volume,
        is_in_sample=is_in_sample,
    )


def _rules(
    strategy: Strategy, columns: Columns, start: int, signals: pd.DataFrame | None
) -> tuple[list[RulePlan], bool]:
    """The rules of a kind that trades, and whether a model knew the time."""
    spec = strategy.spec
    if isinstance(spec, SignalStrategy):
        return [_rule(columns, rule) for rule in spec.rules], False
    if isinstance(spec, ExternalStrategy):
        if signals is None:
            raise ValueError(f"{spec.id} follows signals of the type {spec.signal}, and none are given")
        joined = join(signals, spec.signal, columns.history, spec.valid_bars)
        return _followed(spec, columns, joined), bool((joined.is_in_sample & ~np.isnan(joined.side)).any())
    if isinstance(spec, RandomStrategy):
        return [_random(spec, columns)], False
    if isinstance(spec, OneSided):
        if isinstance(spec, CompositeStrategy):
            from defiyield_assets.domain.strategies.votes import agreement

            inside, is_seen = agreement(strategy, columns.history, start, signals)
        else:
            inside, is_seen = _inside(spec, columns), False
        return [_while_inside(spec, columns, inside, start)], is_seen
    raise TypeError(f"{type(spec).__name__} is no kind that trades")


def _rule(columns: Columns, rule: Rule) -> RulePlan:
    """A rule; where both hold at a bar it is not entered."""
    out = exits(rule.exit, columns)
    side = 1 if rule.side == "long" else -1
    is_in = holds(rule.enter, columns) & ~out.flags[0]
    return RulePlan(side, is_in, out, _levels(rule.stop, columns, side), _levels(rule.target, columns, side))


def _levels(level: Stop | Target | None, columns: Columns, side: int) -> Levels | None:
    """A stop or target as numbers by bar."""
    if level is None:
        return None
    if isinstance(level, PercentLevel):
        return Levels("pct", level.pct)
    if isinstance(level, RewardLevel):
        return Levels("reward", level.risk_reward)
    if isinstance(level, FixedLevel):
        return Levels("price", level.fixed)
    if isinstance(level, AtrLevel):
        return Levels("distance", columns.values(level.col) * level.atr)
    swing = Indicator(method="lowest" if side > 0 else "highest", bars=level.swing, col="low" if side > 0 else "high")
    return Levels("price", columns.unpacked_values(calculated(swing, columns.get(swing.col))))


def _while_inside(spec: OneSided, columns: Columns, inside: Flags, start: int) -> RulePlan:
    """In when the inside begins (after a stop not again before the next one), out when it ends."""
    wanted = inside if spec.when is None else inside & holds(spec.when, columns)
    is_bar = columns.history.is_bar
    out = Exits((), (~inside & is_bar,))
    side = 1 if spec.side == "long" else -1
    levels = (_levels(spec.stop, columns, side), _levels(spec.target, columns, side))
    return RulePlan(side, begins(wanted, is_bar, start), out, *levels)


def begins(flags: Flags, is_bar: Flags, start: int) -> Flags:
    """Where flags are true and were not at the instrument's bar before; at `start` nothing was."""
    before = np.zeros(flags.shape[1], dtype=bool)
    found = np.zeros_like(flags)
    for row in range(start, len(flags)):
        found[row] = flags[row] & ~before & is_bar[row]
        before = np.where(is_bar[row], flags[row], before)
    return found


def _inside(spec: OneSided, columns: Columns) -> Flags:
    """Where an event or a time window asks to be in."""
    is_bar = columns.history.is_bar
    if isinstance(spec, EventStrategy):
        ahead, past = (columns.values(name) for name in EVENT_COLUMNS[spec.scope])
        return np.asarray(((ahead <= spec.pre_days) | (past < spec.post_days)) & is_bar, dtype=bool)
    if not isinstance(spec, TimeWindowStrategy):
        raise TypeError(f"{type(spec).__name__} has no window")
    days = pd.DatetimeIndex(columns.history.dates.astype("datetime64[ns]"))
    window, is_in = spec.window, np.ones(len(days), dtype=bool)
    for allowed, told in (
        (window.months, days.month),
        (window.days_of_month, days.day),
        (window.weekdays, days.weekday + 1),
    ):
        if allowed:
            is_in &= np.isin(told, allowed)
    return np.asarray(is_in[:, None] & is_bar, dtype=bool)


def _followed(spec: ExternalStrategy, columns: Columns, joined: JoinedSignals) -> list[RulePlan]:
    """BUY and SELL of a signal as rules of both sides."""
    is_sure = joined.confidence >= spec.min_confidence
    if spec.min_confidence == 0.0:
        is_sure |= np.isnan(joined.confidence)
    buys, sells = (joined.side == 1.0) & is_sure, (joined.side == -1.0) & is_sure
    told = (joined.stop, joined.target) if spec.use_levels else (None, None)
    rules = []
    for side, enter, leave in ((1, buys, sells), (-1, sells, buys)):
        if side < 0 and not spec.allow_short:
            continue
        held = () if spec.hold_bars is None else (spec.hold_bars,)
        flags = (leave,) if spec.hold_bars is None else (leave, columns.history.is_bar)
        levels = (_levels(spec.stop, columns, side), _levels(spec.target, columns, side))
        rules.append(RulePlan(side, enter, Exits(held, flags), *levels, *told))
    return rules


def _random(spec: RandomStrategy, columns: Columns) -> RulePlan:
    """Draws by seed, instrument and date: a longer history or another instrument beside it changes none of them."""
    history = columns.history
    days = history.dates.astype("datetime64[D]").astype(np.int64)
    draws = np.empty((*history.close.shape, 2))
    for column, name in enumerate(history.instruments):
        stream = np.random.default_rng([spec.seed, crc32(name.encode())])
        draws[:, column] = stream.random((int(days.max(initial=0)) + 1, 2))[days]
    enter = (draws[:, :, 0] < spec.enter_probability) & history.is_bar
    leave = (draws[:, :, 1] < spec.exit_probability) & history.is_bar
    levels = (_levels(spec.stop, columns, 1), _levels(spec.target, columns, 1))
    return RulePlan(1, enter & ~leave, Exits((), (leave,)), *levels)


def _sigma(columns: Columns) -> Matrix:
    """Standard deviation of the last SIGMA_BARS simple returns, per bar."""
    change = calculated(Indicator(method="change", bars=1), columns.get("close"))
    return calculated(Indicator(method="deviation", bars=SIGMA_BARS), change)
