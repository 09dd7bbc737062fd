"""Scenarios that are real: a stretch of the bars as they were, between two days or at a random place.

Lives here: who takes part in a window, the warm-up before it, random places. Not here: named windows
(config/scenarios.yaml), windows found by regime (regime_windows.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from defiyield_assets.domain.market.scenarios.histories import instruments_of, rows_of, until_day
from defiyield_assets.domain.market.scenarios.scenario import LEAST_WARM_UP
from defiyield_assets.domain.market.scenarios.source import ALWAYS_OPEN, listed
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

RECENT_DAYS = 7
"""An instrument is listed at the start where its last bar before it is at most so many days old."""


def real_window(
    history: PriceHistory,
    start: date,
    end: date,
    as_of: date,
    instruments: Sequence[str],
    *,
    warm_up_bars: int,
    calendars: Mapping[str, str],
) -> tuple[PriceHistory, dict[str, str]]:
    """The bars from `start` to `end`, both included, warm-up before them, and who is unavailable for which reason.

    Nothing is filled: a day without a bar stays without. Who takes part was listed at the start and has LEAST_WARM_UP
    bars before it: who is halted or ends inside the window was there when it began, and what the window does to it is
    part of the window. `warm_up_bars` bars of every instrument precede the window where there are
    so many. SuspiciousDataError where the window is not over by `as_of` or nobody takes part.
    """
    if start > end:
        raise ConfigurationError(f"the window starts {start} and ends {end}; it has to start first")
    if end > as_of:
        raise SuspiciousDataError(f"the window {start} to {end} is not over on {as_of}")
    bars = until_day(instruments_of(history, instruments), end)
    first = int(np.searchsorted(bars.dates, np.datetime64(start, "D")))
    if first in (0, bars.n_bars):
        place = "before" if first == 0 else "in"
        raise SuspiciousDataError(f"there is no bar at all {place} the window {start} to {end}")
    reasons = {name: _unfit(bars, column, first, start) for column, name in enumerate(bars.instruments)}
    taking_part = [name for name, reason in reasons.items() if reason is None]
    unavailable = {name: reason for name, reason in reasons.items() if reason is not None}
    if not taking_part:
        raise SuspiciousDataError(f"no instrument takes part in the window {start} to {end}: {listed(unavailable)}")
    own_calendars = {calendars.get(name, ALWAYS_OPEN) for name in taking_part}
    year = 365.0 if ALWAYS_OPEN in own_calendars else 252.0
    return _with_warm_up(instruments_of(bars, taking_part), first, warm_up_bars, year), unavailable


def random_start(
    history: PriceHistory, as_of: date, instruments: Sequence[str], days: int, random: np.random.Generator
) -> date:
    """First day of a window of `days` calendar days that is over by `as_of`.

    Uniform over the dates on which one instrument at least has a bar and LEAST_WARM_UP bars before it.
    SuspiciousDataError where there is none.
    """
    bars = until_day(instruments_of(history, instruments), as_of)
    latest = np.datetime64(as_of, "D") - (days - 1)
    before = bars.is_bar.cumsum(axis=0) - bars.is_bar
    fit = ((before >= LEAST_WARM_UP) & bars.is_bar).any(axis=1) & (bars.dates <= latest)
    places = np.flatnonzero(fit)
    if not len(places):
        raise SuspiciousDataError(
            f"no window of {days} days has {LEAST_WARM_UP} bars before it up to {as_of}; import longer histories"
        )
    chosen: date = bars.dates[places[int(random.integers(0, len(places)))]].astype(object)
    return chosen


def _unfit(bars: PriceHistory, column: int, first: int, start: date) -> str | None:
    """Why an instrument does not take part in a window that begins in row `first`; None where it does."""
    known = np.flatnonzero(bars.is_bar[:, column])
    before, inside = known[known < first], known[known >= first]
    if not len(before):
        return f"history begins {bars.dates[inside[0]]}, after the start" if len(inside) else "no bar up to the end"
    if len(before) < LEAST_WARM_UP:
        return f"{len(before)} bars before {start}, {LEAST_WARM_UP} are needed"
    age = int((np.datetime64(start, "D") - bars.dates[before[-1]]).astype(np.int64))
    if age > RECENT_DAYS or not len(inside):
        return f"not listed at the start: last bar before it {bars.dates[before[-1]]}"
    return None


def _with_warm_up(bars: PriceHistory, first: int, warm_up_bars: int, periods_per_year: float) -> PriceHistory:
    """From the row where everyone has its warm-up, dates without any bar left out."""
    begin = first
    for column in range(len(bars.instruments)):
        before = np.flatnonzero(bars.is_bar[:first, column])
        begin = min(begin, int(before[-min(len(before), warm_up_bars)]))
    rows = begin + np.flatnonzero(bars.is_bar[begin:].any(axis=1))
    return replace(
        rows_of(bars, rows), first_scored=int(np.searchsorted(rows, first)), periods_per_year=periods_per_year
    )
