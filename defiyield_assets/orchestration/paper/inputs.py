"""What a paper portfolio reads: its instruments, the bars up to a day with their features, factors, signals.

Lives here: reading. Not here: which portfolios (wishes.py), stored books (books.py), trading (domain/paper). Bars and
features are read as backtests read them (orchestration/lab).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.paper.book_codec import Restatement
from defiyield_assets.domain.paper.portfolios import (
    Portfolio,
    Scale,
    changed_factors,
    of_instruments,
    scored_from,
    units_times,
)
from defiyield_assets.domain.prices.instruments import periods_per_year
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory
from defiyield_assets.domain.strategies.universes import cash_returns
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.orchestration.bars import EVER
from defiyield_assets.orchestration.lab.bars import decided_days, own_columns, with_read_features
from defiyield_assets.orchestration.lab.inputs import cash_rates, read_bars
from defiyield_assets.orchestration.lab.signals import signals_for
from defiyield_assets.store import reads, schema


@dataclass(frozen=True)
class Inputs:
    """What a portfolio reads over some days: bars through the last of them, the adjustment factor of each bar (n, k),
    ex-dates of splits and dividends by instrument, signals.
    """

    history: PriceHistory
    factors: Matrix
    actions: Mapping[str, Sequence[date]]
    signals: pd.DataFrame

    def known_on(self, day: date) -> tuple[PriceHistory, pd.DataFrame]:
        """The bars up to a day and the signals that one could act on when the next one begins."""
        n_bars = int(np.searchsorted(self.history.dates, np.datetime64(day, "D"), side="right"))
        told = self.signals[self.signals["actionable_from"] <= end_of(day)]
        return self.history.until(n_bars), told.reset_index(drop=True)

    def restatements(self, scales: Mapping[str, Scale]) -> tuple[Restatement, ...]:
        """What splits and dividends did to prices since they were in those scales.

        SuspiciousDataError for a factor that changed without a split or dividend behind its bar: units are money, and
        are not multiplied on a vendor's word alone.
        """
        found = []
        changed = changed_factors(self.history.instruments, scales, self.history.dates, self.factors)
        for name, now in changed.items():
            told = scales[name]
            if not any(day > told.bar for day in self.actions.get(name, ())):
                raise SuspiciousDataError(
                    f"adj_factor of {name} on {told.bar} was {told.factor:g} and is {now:g}, and "
                    f"corporate_actions has no split or dividend behind that day: units are not restated by it. Mend "
                    f"the bars; what was restated wrongly is made again from its first day with `restate: true`"
                )
            found.append(Restatement(name, told.bar, told.factor, now, units_times(now / told.factor)))
        return tuple(found)


def instruments_at(engine: Engine, universe: str, day: date) -> tuple[str, ...]:
    """What a portfolio that is opened on a day trades: instruments of the universe with a bar up to the day, and those
    whose listing is known to come. None: there is no bar yet. ConfigurationError for a universe that nobody belongs to.
    """
    listed = reads.read_all(engine, schema.instruments)
    own = _members(listed, universe)
    names = own["instrument_id"].tolist()
    spans = reads.instrument_spans(engine, schema.daily_bars, day, {"instrument_id": names})
    if not spans:
        return ()
    coming = [
        name
        for name, first in zip(own["instrument_id"], own["listed_at"], strict=True)
        if isinstance(first, date) and first > day
    ]
    return tuple(sorted({*spans, *coming}))


def first_bar(engine: Engine, universe: str, through: date) -> date | None:
    """The day of the first bar of a universe; None: it has none up to a day. ConfigurationError for a universe that
    nobody belongs to.
    """
    names = _members(reads.read_all(engine, schema.instruments), universe)["instrument_id"].tolist()
    spans = reads.instrument_spans(engine, schema.daily_bars, through, {"instrument_id": names})
    return min((span.start for span in spans.values()), default=None)


def _members(listed: pd.DataFrame, universe: str) -> pd.DataFrame:
    own = listed[listed["universe"] == universe]
    if own.empty:
        known = ", ".join(sorted(set(listed["universe"]))) or "none, materialise instruments first"
        raise ConfigurationError(f"no instrument belongs to the universe {universe!r}; known: {known}")
    return own


def read_inputs(engine: Engine, portfolio: Portfolio, last: date) -> Inputs:
    """Everything that a portfolio reads up to a day: of the instruments that it trades, whichever universe they are in
    by now.

    ConfigurationError where signals that it follows are missing, SuspiciousDataError where `instruments` does not know
    one of its instruments any more.
    """
    listed = reads.read_all(engine, schema.instruments, {"instrument_id": list(portfolio.instruments)})
    gone = sorted(set(portfolio.instruments) - set(listed["instrument_id"]))
    if gone:
        raise SuspiciousDataError(
            f"{portfolio.portfolio_id} trades {', '.join(gone)}, which instruments does not hold any more: bring it "
            "back, or what is held of it would stay at its last price for ever"
        )
    bars = read_bars(engine, sorted(set(listed["universe"])), last)
    plain = of_instruments(bars.history, portfolio.instruments)
    rates = cash_rates(engine, bars)
    history = replace(
        scored_from(plain, portfolio.starts_on),
        periods_per_year=float(max(periods_per_year(calendar) for calendar in listed["calendar"])),
        risk_free=cash_returns(plain.dates, rates, np.zeros(plain.n_bars)),
    )
    if history.n_bars:
        read = portfolio.strategy.columns - own_columns(portfolio.strategy)
        history = with_read_features(engine, history, read)
    days = decided_days(history, last) if history.n_bars else DayRange.of(last)
    signals = signals_for(engine, portfolio.strategy, days, history.instruments)
    return Inputs(history, _factors(engine, history, last), _actions(engine, history, last), signals)


def _actions(engine: Engine, history: PriceHistory, last: date) -> dict[str, list[date]]:
    """Ex-dates of splits and dividends by instrument."""
    rows = reads.read_all(engine, schema.corporate_actions, {"instrument_id": list(history.instruments)})
    rows = rows[rows["ex_date"] <= last]
    return {str(name): sorted(own["ex_date"]) for name, own in rows.groupby("instrument_id", sort=True)}


def _factors(engine: Engine, history: PriceHistory, last: date) -> Matrix:
    """Adjustment factor of each bar as stored now, NaN without a bar."""
    where = {"instrument_id": list(history.instruments)}
    columns = ["instrument_id", "date", "adj_factor"]
    stored = reads.read_columns(engine, schema.daily_bars, DayRange(EVER.start, last), where, columns)
    found = np.full(history.close.shape, np.nan)
    is_there = np.isin(stored["date"], history.dates)
    row = np.searchsorted(history.dates, stored["date"][is_there])
    numbers = {name: number for number, name in enumerate(history.instruments)}
    column = np.array([numbers[name] for name in stored["instrument_id"][is_there]], dtype=np.intp)
    found[row, column] = stored["adj_factor"][is_there].astype(np.float64)
    return found
