"""Many variants of a strategy at once: a screen whose winners the exact engine confirms.

Lives here: one-rule strategies without stops, every instrument an account of its own, all variants stepped together.
Not here: everything else a strategy may say (engine.py): `screen` refuses what it does not hold. The rules of fills and
costs are the engine's: the tests compare both to the last bits of floating point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import PriceHistory, Vector
from defiyield_assets.domain.strategies.conditions import BarsHeld, leaves
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.language import FixedSizing, Rule, SignalStrategy
from defiyield_assets.domain.strategies.metrics import NOISE
from defiyield_assets.domain.strategies.plans import first_row
from defiyield_assets.domain.strategies.signals import Columns, holds
from defiyield_assets.domain.strategies.strategy import Strategy

VARIANTS_AT_ONCE = 1000
"""Variants that are stepped together: their numbers of ten instruments fit the second-level cache."""


@dataclass(frozen=True)
class _Orders:
    """Entries or exits of all variants in order of bars: those of row t are `account[starts[t] : starts[t + 1]]`.

    An account is numbered variant · k + instrument.
    """

    account: NDArray[np.int64]
    starts: NDArray[np.int64]

    def at(self, row: int) -> NDArray[np.int64]:
        """Accounts that the decision on a bar concerns."""
        return self.account[self.starts[row] : self.starts[row + 1]]


class _Accounts:
    """Accounts of one variant and instrument each: vectors by account."""

    def __init__(self, n: int, capital: float) -> None:
        self.cash = np.full(n, capital)
        self.units, self.paid, self.n_trades, self.n_wins = (np.zeros(n) for _ in range(4))
        """`paid`: cash that the open position cost, fees included."""

    def sell(self, at: NDArray[np.int64], price: Vector, fee: float) -> None:
        """Close the accounts' positions."""
        value = self.units[at] * price
        got = value - fee * value
        self.cash[at] += got
        self.n_trades[at] += 1.0
        self.n_wins[at] += got > self.paid[at]
        self.units[at] = 0.0

    def buy(self, at: NDArray[np.int64], price: Vector, fee: float) -> None:
        """Put all cash of the accounts into positions."""
        cash = self.cash[at]
        units = cash / (price * (1.0 + fee))
        value = units * price
        paid = value + fee * value
        self.units[at] = units
        self.paid[at] = paid
        self.cash[at] = np.maximum(cash - paid, 0.0)


def screen(
    strategies: Sequence[Strategy],
    history: PriceHistory,
    costs: CostModel | None = None,
    account: Account | None = None,
) -> pd.DataFrame:
    """Figures of every strategy on every instrument alone, as the engine gives for that instrument's history.

    Columns: strategy (its number), instrument_id, final_equity, total_return, sharpe (no risk-free rate, NaN unknown),
    max_drawdown, n_trades, win_rate. Strategies have one long rule with entry and exit, without stop, target and age,
    sized by a fixed share of 1; instruments have every bar, its open and no masked gap. ValueError for anything else.
    """
    costs, account = costs or CostModel(), account or Account()
    rules = [_rule_of(one) for one in strategies]
    _check(history, costs, account)
    shared = Columns(history, {})
    parts = []
    for first in range(0, len(strategies), VARIANTS_AT_ONCE):
        span = slice(first, first + VARIANTS_AT_ONCE)
        enter, leave = _signals(strategies[span], rules[span], shared)
        n = len(rules[span])
        figures = _stepped(enter, leave, n_variants=n, history=history, costs=costs, account=account)
        names = np.tile(np.array(history.instruments, dtype=object), n)
        number = np.repeat(np.arange(first, first + n), len(history.instruments))
        parts.append(pd.DataFrame({"strategy": number, "instrument_id": names, **figures}))
    return pd.concat(parts, ignore_index=True)


def _rule_of(strategy: Strategy) -> Rule:
    """The one rule that the screen can hold; ValueError for what it cannot."""
    spec = strategy.spec
    if not isinstance(spec, SignalStrategy) or len(spec.rules) != 1 or spec.rules[0].side != "long":
        raise ValueError(f"{spec.id}: a screen holds strategies of one long rule")
    rule = spec.rules[0]
    if rule.stop is not None or rule.target is not None or rule.exit is None:
        raise ValueError(f"{spec.id}: a screen holds rules with an exit and without stop and target")
    if any(isinstance(leaf, BarsHeld) for _, leaf in leaves(rule.exit)):
        raise ValueError(f"{spec.id}: a screen knows no age of a position")
    sizing = spec.sizing
    if not isinstance(sizing, FixedSizing) or sizing.share != 1.0 or sizing.max_position != 1.0:
        raise ValueError(f"{spec.id}: a screen sizes by all of an account (fixed, share 1)")
    return rule


def _check(history: PriceHistory, costs: CostModel, account: Account) -> None:
    if not (np.isfinite(history.close).all() and np.isfinite(history.open).all()) or (history.gap_flag == 1.0).any():
        raise ValueError("a screen needs every bar of every instrument with its open, and none that hides a gap")
    if costs.impact or costs.min_fee or costs.cash_earns or account.whole_units:
        raise ValueError("a screen knows fees and spreads in proportion, and fractions of units")
    if history.spreads is not None and (history.spreads != 1.0).any():
        raise ValueError("a screen knows one spread for all bars")


def _signals(strategies: Sequence[Strategy], rules: Sequence[Rule], shared: Columns) -> tuple[_Orders, _Orders]:
    """Entries and exits of all variants."""
    n, k = shared.history.close.shape
    found: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    for one, rule in zip(strategies, rules, strict=True):
        columns = shared.beside(one.spec.indicators)
        leave = np.zeros((n, k), dtype=bool) if rule.exit is None else holds(rule.exit, columns)
        enter = np.greater(holds(rule.enter, columns), leave)
        for flags, into in zip((enter, leave), found, strict=True):
            into.append(np.flatnonzero(flags))
    entries, exits = (_in_order(parts, n, k) for parts in found)
    return entries, exits


def _in_order(parts: Sequence[NDArray[np.int64]], n: int, k: int) -> _Orders:
    """Orders by bar from the flat places (row · k + instrument) of each variant's."""
    places = np.concatenate(parts)
    row, instrument = np.divmod(places, k)
    variant = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.argsort(row.astype(np.int16) if n < 2**15 else row, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))])
    return _Orders((variant * k + instrument)[order], starts)


def _stepped(
    enter: _Orders, leave: _Orders, *, n_variants: int, history: PriceHistory, costs: CostModel, account: Account
) -> dict[str, Vector]:
    """Every account through every bar: orders of the bar before at the open, then the mark."""
    k, start, last, fee = len(history.instruments), first_row(history), history.n_bars - 1, costs.fee
    books = _Accounts(n_variants * k, account.capital)
    buying, selling = history.open * (1.0 + costs.half_spread), history.open * (1.0 - costs.half_spread)
    equity, before, peak = (np.full(n_variants * k, account.capital) for _ in range(3))
    total, squares, change = (np.zeros(n_variants * k) for _ in range(3))
    least, close = np.ones(n_variants * k), np.empty((n_variants, k))
    flat = close.reshape(-1)
    """The bar's closes, once for every variant."""
    for row in range(start + 1, history.n_bars):
        was_held = books.units > 0.0
        out = leave.at(row - 1)
        out = out[was_held[out]]
        books.sell(out, selling[row, out % k], fee)
        into = enter.at(row - 1)
        into = into[~was_held[into]]
        books.buy(into, buying[row, into % k], fee)
        close[:] = history.close[row]
        if row == last:
            held = np.flatnonzero(books.units > 0.0)
            books.sell(held, flat[held], fee)
        equity, before = before, equity
        np.multiply(books.units, flat, out=equity)
        equity += books.cash
        np.divide(equity, before, out=change)
        change -= 1.0
        total += change
        np.multiply(change, change, out=change)
        squares += change
        np.maximum(peak, equity, out=peak)
        np.divide(equity, peak, out=change)
        np.minimum(least, change, out=least)
    mean = total / (last - start)
    spread = np.maximum(squares - (last - start) * mean * mean, 0.0) / max(last - start - 1, 1)
    return {
        "final_equity": equity,
        "total_return": equity / account.capital - 1.0,
        "sharpe": _ratio(mean, np.sqrt(spread), NOISE) * sqrt(history.periods_per_year),
        "max_drawdown": least - 1.0,
        "n_trades": books.n_trades,
        "win_rate": _ratio(books.n_wins, books.n_trades, 0.0),
    }


def _ratio(numerator: Vector, denominator: Vector, least: float) -> Vector:
    """numerator / denominator; NaN where the denominator is not above `least`."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > least)
