"""Portfolios that are traded day by day in tests, each day from the texts that the day before left.

Lives here: how a history is traded so. Not here: tests.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.paper.book_codec import book_of, book_texts
from defiyield_assets.domain.paper.equality import Comparison, compared
from defiyield_assets.domain.paper.portfolios import Portfolio, scored_from, trade_day
from defiyield_assets.domain.paper.trading import Book, Order, RoundTrip
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.external import signal_frame
from defiyield_assets.domain.strategies.runs import trade_table
from defiyield_assets.domain.strategies.strategy import Strategy

Signals = Callable[[date], pd.DataFrame]
"""What was known of signals at the end of a day."""


@dataclass
class Traded:
    """A portfolio behind its last day."""

    portfolio: Portfolio
    history: PriceHistory
    book: Book
    orders: list[Order] = field(default_factory=list)
    trades: list[RoundTrip] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    marks: list[bool] = field(default_factory=list)
    """Of each day, whether it is marked as in sample."""

    def against_backtest(self, signals: pd.DataFrame | None = None) -> Comparison:
        """Beside the backtest over the whole history."""
        told = trade_table([one.trade for one in self.trades], self.history.instruments)
        return compared(told, self.book.settled.equity, self.portfolio, self.history, signals)


def portfolio_of(
    strategy: Strategy, history: PriceHistory, costs: CostModel | None = None, account: Account | None = None
) -> Portfolio:
    """A portfolio that begins with the history's first scored bar."""
    start = history.dates[history.first_scored].astype(object)
    terms = (costs or CostModel(), account or Account())
    return Portfolio("p", strategy, strategy.spec.universe, start, history.instruments, *terms)


def traded_by_day(
    strategy: Strategy,
    history: PriceHistory,
    signals: Signals | None = None,
    costs: CostModel | None = None,
    account: Account | None = None,
    *,
    only_bar_days: bool = True,
) -> Traded:
    """Trade from the first scored bar to the last: each day from the bars up to it and the texts of the day before.

    `only_bar_days`: calendar days without any bar are left out, as nothing can happen on them.
    """
    portfolio = portfolio_of(strategy, history, costs, account)
    first, last = history.dates[history.first_scored], history.dates[-1]
    days = np.arange(first, last + np.timedelta64(1, "D"))
    if only_bar_days:
        days = days[np.isin(days, history.dates)]
    row = None
    found = None
    for day in days:
        n_bars = int(np.searchsorted(history.dates, day, side="right"))
        known = scored_from(history.until(n_bars), portfolio.starts_on)
        told = None if signals is None else signals(day.astype(object))
        book = None if row is None else book_of(row, history.instruments)
        made = trade_day(book, portfolio, known, told)
        row = {**book_texts(made.book, history.instruments), "n_trades": made.book.n_trades}
        if found is None:
            found = Traded(portfolio, history, made.book)
        found.book = made.book
        found.books.append(made.book)
        found.marks.append(made.is_in_sample)
        found.orders += made.orders
        found.trades += made.trades
    assert found is not None
    return found


def signals_by_fall(history: PriceHistory, every: int = 3, signal_type: str = "ai:stub") -> pd.DataFrame:
    """Made-up signals (no model said them), actionable when the bar's UTC day is over: BUY after a fall, SELL after a
    rise of five bars, with stop and target.
    """
    rows = []
    for column, name in enumerate(history.instruments):
        bars = np.flatnonzero(history.is_bar[:, column])
        for place in range(5, len(bars), every):
            close, before = history.close[bars[place], column], history.close[bars[place - 5], column]
            at = f"{history.dates[bars[place]] + np.timedelta64(1, 'D')}T00:00:00"
            levels = (close * 0.97, close * 1.05) if close < before else (None, None)
            rows.append((name, signal_type, at, "BUY" if close < before else "SELL", 0.7, *levels, None))
    return signal_frame(rows)


def known_on(signals: pd.DataFrame) -> Signals:
    """Of signals, those that could be acted on when the next day begins."""

    def told(day: date) -> pd.DataFrame:
        return signals[signals["actionable_from"] <= pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)]

    return told
