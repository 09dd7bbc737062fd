"""A day of a paper portfolio: the bars that came since its last one, traded by what a strategy decides on each.

Lives here: which bars a day trades, the history that decides, opening. Not here: one bar (trading.py), where bars and
books come from (orchestration/paper), comparison with a backtest (equality.py).

A day knows the bars up to itself and nothing later. That the decisions are those of a backtest follows from two things:
row t of a plan reads nothing after t, and a portfolio's instruments are the same at every bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.paper.exchange import EXACT, Exchange, decimal_of
from defiyield_assets.domain.paper.restatement import restated
from defiyield_assets.domain.paper.trading import (
    Book,
    Desk,
    Order,
    RoundTrip,
    decide_again,
    opening_book,
    require_reconciled,
    trade_bar,
)
from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, Matrix, PriceHistory, price_history
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import ENGINE_VERSION, Terms
from defiyield_assets.domain.strategies.language import ExternalStrategy
from defiyield_assets.domain.strategies.plans import plan
from defiyield_assets.domain.strategies.runs import bars_of, terms_of
from defiyield_assets.domain.strategies.strategy import Strategy

SHORT_HASH = 8


@dataclass(frozen=True)
class Portfolio:
    """What somebody trades on paper. `starts_on`: the first day on which an order may be filled; the completed bar
    before it is the first that is decided on. `instruments`: ordered, the same from the first day to the last.
    """

    portfolio_id: str
    strategy: Strategy
    universe: str
    starts_on: date
    instruments: tuple[str, ...]
    costs: CostModel = field(default_factory=CostModel)
    account: Account = field(default_factory=Account)

    @property
    def signal(self) -> str:
        """What its decisions follow: the type of an external signal, else the strategy."""
        spec = self.strategy.spec
        return spec.signal if isinstance(spec, ExternalStrategy) else self.strategy.strategy_id


@dataclass(frozen=True)
class DayTraded:
    """What a day made of a book; `bar_day`: the newest bar that it has traded, None: none yet. `is_in_sample`: up to
    here it followed a signal of a model that was trained on the bar's date or later.
    """

    book: Book
    orders: tuple[Order, ...]
    trades: tuple[RoundTrip, ...]
    bar_day: date | None
    is_in_sample: bool = False


def portfolio_id_of(strategy: Strategy, universe: str, starts_on: date, costs: CostModel, account: Account) -> str:
    """A name made of all that a portfolio is: the same terms and start give the same portfolio, others another. So does
    another version of the engine: a portfolio cannot go on by other rules than it was begun with.
    """
    told = {"strategy": strategy.content_hash, "universe": universe, "costs": costs, "account": account}
    digest = content_hash({**told, "starts_on": starts_on, "engine": ENGINE_VERSION})[:SHORT_HASH]
    return f"{strategy.strategy_id}-{starts_on.isoformat()}-{digest}"


def of_instruments(history: PriceHistory, names: Sequence[str]) -> PriceHistory:
    """The bars of these instruments, in this order, on the dates on which one of them has one; without features.

    An instrument that the history does not have yet has a column without a bar.
    """
    known = {name: number for number, name in enumerate(history.instruments)}
    columns = [known[name] for name in names if name in known]
    rows = np.flatnonzero(history.is_bar[:, columns].any(axis=1)) if columns else np.array([], dtype=np.intp)
    cut: dict[str, Matrix] = {}
    for column in BAR_COLUMNS:
        told = history.column(column)
        cut[column] = np.full((len(rows), len(names)), 0.0 if column == "gap_flag" else np.nan)
        for place, name in enumerate(names):
            if name in known:
                cut[column][:, place] = told[rows, known[name]]
    return price_history(names, history.dates[rows], cut, periods_per_year=history.periods_per_year)


def scored_from(history: PriceHistory, start: date) -> PriceHistory:
    """The history with its first scored bar: the first on or after `start` that has one before it."""
    row = max(int(np.searchsorted(history.dates, np.datetime64(start, "D"))), 1)
    return replace(history, first_scored=min(row, history.n_bars))


def trade_day(
    book: Book | None, portfolio: Portfolio, history: PriceHistory, signals: pd.DataFrame | None = None
) -> DayTraded:
    """Trade the bars of a history (`scored_from`, nothing after the day) that a book has not had; None: a new one.

    `signals`: as for `plan`, nothing that nobody could act on before the next day began. On a day without a bar the
    last one is decided on again, by what is known now. A bar of a day that was traded already comes too late and is
    left out.
    """
    if history.n_bars == 0:
        desk = _blank_desk(portfolio)
        return DayTraded(book or opening_book(desk), (), (), None)
    made = plan(portfolio.strategy, history, signals)
    terms = terms_of(made, history, portfolio.costs, portfolio.account)
    desk = Desk(portfolio.portfolio_id, portfolio.instruments, terms, portfolio.signal)
    bars = bars_of(history)
    first = bars[made.start].day
    current = book
    if current is None or current.settled.day is None or current.settled.day < first:
        current = opening_book(desk)
    done = current.settled.day
    orders: list[Order] = []
    trades: list[RoundTrip] = []
    rows = [row for row in range(made.start, history.n_bars) if done is None or bars[row].day > done]
    for row in rows:
        traded = trade_bar(current, bars[row], made.at(row), desk)
        current = traded.book
        orders += traded.orders
        trades += traded.trades
    if not rows and bars[-1].day == done:
        current = decide_again(current, bars[-1], made.at(history.n_bars - 1), desk)
    newest = current.settled.day
    bar_day = None if newest is None else date_of(newest)
    return DayTraded(current, tuple(orders), tuple(trades), bar_day, made.is_in_sample)


def _blank_desk(portfolio: Portfolio) -> Desk:
    return Desk(
        portfolio.portfolio_id, portfolio.instruments, Terms(portfolio.costs, portfolio.account), portfolio.signal
    )


def date_of(day: int) -> date:
    """A day of the engine as a date."""
    found: date = np.datetime64(day, "D").astype(object)
    return found


# --- splits and dividends ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scale:
    """In which prices a book holds an instrument: those of a bar whose adjustment factor was this."""

    bar: date
    factor: float


def scales_of(
    instruments: Sequence[str], dates: NDArray[np.datetime64], factors: Matrix, through: date | None
) -> dict[str, Scale]:
    """Newest bar of each instrument up to a day with its factor; `factors` (n, k): of each bar, NaN without one."""
    if through is None:
        return {}
    n_rows = int(np.searchsorted(dates, np.datetime64(through, "D"), side="right"))
    found = {}
    for column, name in enumerate(instruments):
        rows = np.flatnonzero(np.isfinite(factors[:n_rows, column]))
        if len(rows):
            found[name] = Scale(dates[rows[-1]].astype(object), float(factors[rows[-1], column]))
    return found


def changed_factors(
    instruments: Sequence[str], scales: Mapping[str, Scale], dates: NDArray[np.datetime64], factors: Matrix
) -> dict[str, float]:
    """Adjustment factors, as stored now, of the bars in whose prices instruments are held, where they were others.

    `factors` (n, k): of each bar as stored now. An instrument whose bar of that day is there no more is left out.
    """
    found = {}
    for column, name in enumerate(instruments):
        told = scales.get(name)
        row = -1 if told is None else int(np.searchsorted(dates, np.datetime64(told.bar, "D")))
        is_there = told is not None and 0 <= row < len(dates) and dates[row] == np.datetime64(told.bar, "D")
        now = float(factors[row, column]) if is_there else float("nan")
        if told is not None and np.isfinite(now) and now / told.factor != 1.0:
            found[name] = now
    return found


def in_todays_prices(book: Book, portfolio: Portfolio, ratios: Mapping[str, float]) -> Book:
    """The book in the prices of bars as they are adjusted now, at the engine and at the exchange; `ratios`: by what
    prices of an instrument have been multiplied since.
    """
    if not ratios:
        return book
    desk = _blank_desk(portfolio)
    exchange = Exchange(book.account, desk.pairs, desk.fees)
    for name, ratio in ratios.items():
        exchange.restate(name, units_times(ratio))
    by_column = [ratios.get(name, 1.0) for name in portfolio.instruments]
    settled, decided = restated(book.settled, by_column), restated(book.decided, by_column)
    found = Book(settled, decided, exchange.account(), book.known, book.n_trades)
    require_reconciled(found, desk)
    return found


def units_times(ratio: float) -> Decimal:
    """By what units are multiplied where prices are by a ratio."""
    return EXACT.divide(1, decimal_of(ratio))
