"""The part of a history that belongs to a universe, and what surrounds it: rates of cash, regimes of its market.

Lives here: cuts by instruments, the risk-free rate and the regime of every bar. Not here: histories (bars.py), cuts in
time (domain/market/scenarios/histories.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, PriceHistory, Vector

ALWAYS_OPEN = "24x7"
EXCHANGE_YEAR = 252.0
DAYS_PER_YEAR = 365.0
MOST_REGIME_AGE = 7
"""Days for which the last known state of a market holds: weekends and holidays."""
Dates = NDArray[np.datetime64]


@dataclass(frozen=True)
class Rates:
    """The risk-free rate as known on each of some days, ascending: fractions a year, simple, NaN unknown."""

    days: Dates
    annual: Vector


@dataclass(frozen=True)
class MarketStates:
    """State of a market on each of some days, ascending."""

    days: Dates
    states: tuple[str, ...]


def of_universe(
    history: PriceHistory, names: Sequence[str], calendars: Mapping[str, str]
) -> tuple[PriceHistory, NDArray[np.intp]] | None:
    """The bars of some instruments on the dates on which one of them has one, and the rows that these are.

    Where dates fall away and every instrument keeps an exchange's calendar, a year has 252 bars. None where no
    instrument takes part or no scored bar is left.
    """
    columns = [column for column, name in enumerate(history.instruments) if name in set(names)]
    if not columns:
        return None
    rows = np.flatnonzero(history.is_bar[:, columns].any(axis=1))
    first = int(np.searchsorted(rows, history.first_scored))
    if first >= len(rows) or first < 1:
        return None
    chosen = tuple(history.instruments[column] for column in columns)
    is_exchange = all(calendars.get(name, ALWAYS_OPEN) != ALWAYS_OPEN for name in chosen)
    year = EXCHANGE_YEAR if is_exchange and len(rows) < history.n_bars else history.periods_per_year
    at = np.ix_(rows, np.array(columns, dtype=np.intp))
    cut = replace(
        history,
        instruments=chosen,
        dates=history.dates[rows],
        **{name: np.ascontiguousarray(history.column(name)[at]) for name in BAR_COLUMNS},
        features={name: np.ascontiguousarray(matrix[at]) for name, matrix in history.features.items()},
        periods_per_year=year,
        first_scored=first,
        risk_free=None if history.risk_free is None else history.risk_free[rows],
        spreads=None if history.spreads is None else history.spreads[rows],
        opens_at=None if history.opens_at is None else history.opens_at[at],
        regimes=None if history.regimes is None else [history.regimes[row] for row in rows.tolist()],
    )
    return cut, rows


def cash_returns(dates: Dates, rates: Rates | None, shift: Vector) -> Vector:
    """Simple return of cash over each bar (n,), from the bar before: the rate known there times the days between.

    `shift` (n,): added to the rate, fractions a year. An unknown rate counts as 0 (the caller says so); a rate is never
    taken below what makes a return of -100 %. The first bar has 0.
    """
    found = np.zeros(len(dates))
    if len(dates) < 2:
        return found
    days = np.diff(dates).astype("timedelta64[D]").astype(np.float64)
    level = np.zeros(len(days))
    if rates is not None and len(rates.days):
        place = np.searchsorted(rates.days, dates[:-1], side="right") - 1
        level = np.where(place >= 0, np.nan_to_num(rates.annual[np.maximum(place, 0)]), 0.0)
    found[1:] = np.maximum((level + shift[1:]) * days / DAYS_PER_YEAR, -0.99)
    return found


def states_on(dates: Dates, known: MarketStates | None, through: np.datetime64) -> list[str | None] | None:
    """State of the market on each date up to `through`, the last one known at most MOST_REGIME_AGE days before.

    None for dates without, None altogether where no date has one.
    """
    if known is None or not len(known.days):
        return None
    place = np.searchsorted(known.days, dates, side="right") - 1
    age = (dates - known.days[np.maximum(place, 0)]).astype("timedelta64[D]").astype(np.int64)
    is_known = (place >= 0) & (age <= MOST_REGIME_AGE) & (dates <= through)
    if not is_known.any():
        return None
    return [known.states[at] if is_there else None for at, is_there in zip(place, is_known, strict=True)]
