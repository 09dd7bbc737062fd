"""What the engine carries from bar to bar: cash, positions, orders that wait, and what has become of closed trades.

Lives here: the records. Not here: what happens to them in a bar (engine.py), how much is bought (amounts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Literal, get_args

from defiyield_assets.domain.strategies.levels import Level

ExitReason = Literal["signal", "stop", "target", "reverse", "rebalance", "margin", "end"]
EXIT_REASONS: tuple[ExitReason, ...] = get_args(ExitReason)
MAX_ROUNDING = 1e-9
"""A quantity not above this is nothing (the simulated exchange refuses it too)."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of all instruments: prices by instrument, NaN unknown; `close` NaN: no bar. `day`: days since 1970.

    `cash_return`: simple return of cash over the bar; `spread`: of the bar, as a multiple of the cost model's.
    """

    day: int
    open: Sequence[float]
    high: Sequence[float]
    low: Sequence[float]
    close: Sequence[float]
    gap: Sequence[float]
    cash_return: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class Position:
    """Units of an instrument (by number) that a rule holds. `side`: 1 long, -1 short.

    `entry_price`: mean price paid or got, costs of the spread in it. `entry_fee`, `borrowed`: currency, of the
    quantity that is still held. `bars_before`: bars that the instrument had before the entry's. `is_blind`: the range
    of the entry's bar says nothing of what came after the entry (a masked gap, a bar of a close alone).
    """

    rule: int
    instrument: int
    side: int
    quantity: float
    entry_price: float
    entry_day: int
    entry_fee: float
    stop: float = nan
    target: float = nan
    bars_before: int = 0
    borrowed: float = 0.0
    is_blind: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """An order to open a position at the instrument's next open.

    `volatility`: annual, for sizing by it. `rank`: greater ones are filled first.
    """

    rule: int
    instrument: int
    side: int
    stop: Level | None = None
    target: Level | None = None
    volatility: float = nan
    rank: float = 0.0


@dataclass(frozen=True, slots=True)
class Exit:
    """An order to close a position at the instrument's next open."""

    rule: int
    instrument: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Weights:
    """An order to hold shares of equity: (instrument, share); a change below `band` of equity is left alone."""

    shares: tuple[tuple[int, float], ...]
    band: float = 0.0


@dataclass(frozen=True, slots=True)
class Purchases:
    """An order to buy for amounts of currency: (instrument, amount)."""

    amounts: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a strategy says of one completed bar.

    `exits`: of each rule, whether to leave by instrument and age (`leaves`). `shares`, `purchases`: None where the
    bar is none to rebalance or to buy at; purchases are shares of the first capital. `volumes` (units) and `sigmas`
    (of returns a bar) by instrument, NaN unknown: what impact is reckoned with.
    """

    entries: Sequence[Entry] = ()
    exits: Sequence[ExitFlags] = ()
    shares: Sequence[tuple[int, float]] | None = None
    purchases: Sequence[tuple[int, float]] | None = None
    volumes: Sequence[float] = ()
    sigmas: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class ExitFlags:
    """A rule's exits at one bar: rows of flags by instrument, the i-th for positions of at least `ages[i - 1]` bars."""

    ages: Sequence[int]
    rows: Sequence[Sequence[bool]]

    def leaves(self, instrument: int, bars_held: int) -> bool:
        """Whether a position of that age is to be left."""
        level = sum(1 for age in self.ages if bars_held >= age)
        return bool(self.rows[level][instrument])


@dataclass(frozen=True, slots=True)
class Fill:
    """An order filled: `price` with the spread in it, `fee` in currency, `rule` whose position it opened or closed."""

    day: int
    instrument: int
    is_buy: bool
    quantity: float
    price: float
    fee: float
    reason: str
    rule: int = 0


@dataclass(frozen=True, slots=True)
class Trade:
    """A round trip. `pnl`: currency, net of fees and borrowing; `return_`: of the entry's value.

    The loss of a short is told whole, whether or not the account could pay it.
    """

    rule: int
    instrument: int
    side: int
    quantity: float
    entry_day: int
    entry_price: float
    exit_day: int
    exit_price: float
    entry_fee: float
    exit_fee: float
    borrowed: float
    bars_held: int
    exit_reason: ExitReason
    pnl: float

    @property
    def return_(self) -> float:
        """Net profit as a fraction of the entry's value."""
        return self.pnl / (self.quantity * self.entry_price)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that was not filled, and why."""

    day: int
    instrument: int
    reason: str
    rule: int = 0
    side: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """Closed trades so far, as sizing by Kelly needs them: returns of entries' values."""

    trades: int = 0
    wins: int = 0
    won: float = 0.0
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Everything that a bar leaves to the next. `marks`: last close by instrument, NaN before the first; `n_bars`: bars
    that each had; `day` of the last bar, None before it; `volumes`, `sigmas`: the last that were known, kept where
    impact is asked for; `equity` = cash + positions at their marks.
    """

    cash: float
    marks: tuple[float, ...]
    n_bars: tuple[int, ...]
    positions: tuple[Position, ...] = ()
    exits: tuple[Exit, ...] = ()
    entries: tuple[Entry, ...] = ()
    weights: Weights | None = None
    purchases: Purchases | None = None
    record: Record = field(default_factory=Record)
    day: int | None = None
    volumes: tuple[float, ...] = ()
    sigmas: tuple[float, ...] = ()

    @property
    def equity(self) -> float:
        """Cash and positions at their marks."""
        return self.cash + sum(one.side * one.quantity * self.marks[one.instrument] for one in self.positions)

    @property
    def is_ruined(self) -> bool:
        """Nothing is left: no cash, and nothing that could become any."""
        return self.cash <= 0.0 and not self.positions

    @property
    def exposure(self) -> float:
        """Value of longs and shorts, added."""
        return sum(one.quantity * self.marks[one.instrument] for one in self.positions)


@dataclass(frozen=True, slots=True)
class Step:
    """What one bar did. `unpaid`: currency that shorts cost and the account did not have; above 0 it is ruined.

    Cash after = cash before and what it earned + sold - bought - fees - borrowing + unpaid.
    """

    state: State
    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    refusals: tuple[Refusal, ...]
    unpaid: float = 0.0


def opening_state(capital: float, n_instruments: int) -> State:
    """An account before its first bar."""
    return State(capital, (nan,) * n_instruments, (0,) * n_instruments)
