"""What generated scenarios are sampled from: the sessions up to the as-of date that all participants share.

Lives here: who takes part and why others do not, joint returns, betas. Not here: the sampling (stochastic.py), real
windows (windows.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.market.scenarios.histories import Rows, instruments_of, rows_of, until_day
from defiyield_assets.domain.market.scenarios.scenario import LEAST_WARM_UP
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory, Vector
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

ALWAYS_OPEN = "24x7"
MOST_MISSING = 0.05
"""Share of a source's sessions that an instrument may lack and still take part."""
LEAST_RETURNS = 126
"""Joint returns below which nothing is sampled: half a year tells little of correlations as it is."""


@dataclass(frozen=True)
class Source:
    """Joint history of the instruments that take part.

    `bars`: their bars on shared sessions, the last one being where generated paths set out. `sampled`: rows of `bars`
    on which, and on the session before which, everyone has a bar (in a market that is always open, on the day before);
    `returns` (sampled, instruments): log returns from
    the session before. `n_warm_up`: last rows of `bars` that are put before a path. `unavailable`: instrument ->
    reason.
    """

    bars: PriceHistory
    sampled: Rows
    returns: Matrix
    n_warm_up: int
    periods_per_year: float
    is_always_open: bool
    unavailable: Mapping[str, str]

    @property
    def n_instruments(self) -> int:
        """Instruments that take part."""
        return len(self.bars.instruments)


def select_source(
    history: PriceHistory,
    as_of: date,
    instruments: Sequence[str],
    *,
    source_bars: int,
    warm_up_bars: int,
    calendars: Mapping[str, str],
) -> Source:
    """The last `source_bars` sessions up to `as_of`, and who was there all the time.

    `calendars`: instrument -> name of its calendar, 24x7 where it is left out. A session is a date on which at least
    half of the listed instruments of every calendar have a bar, so that coins and stocks are sampled on the days that
    they share; then a year has 252 periods, otherwise 365. An instrument is unavailable with a reason where it has no
    bar at the start (the last session up to `as_of`), begins later than source and warm-up do, lacks more than
    MOST_MISSING of the sessions or never moves. Sessions that one of the others lacks are left out for all: nothing is
    filled. Raises SuspiciousDataError where nobody, or too little, is left.
    """
    if warm_up_bars < LEAST_WARM_UP:
        raise ConfigurationError(f"warm_up_bars is {warm_up_bars}; at least {LEAST_WARM_UP} real bars precede a path")
    if not instruments:
        raise ConfigurationError("no instruments were named; name at least one")
    bars = until_day(instruments_of(history, instruments), as_of)
    sessions = shared_sessions(bars, calendars)
    window = sessions[-(max(source_bars, LEAST_WARM_UP) + 1) :]
    if len(window) <= max(LEAST_RETURNS, LEAST_WARM_UP):
        raise SuspiciousDataError(
            f"there are {len(window)} shared sessions up to {as_of} of {', '.join(instruments[:10])}; sampling needs "
            f"more than {max(LEAST_RETURNS, LEAST_WARM_UP)}"
        )
    on_sessions = rows_of(bars, window)
    reasons = {name: _missing(on_sessions, place) for place, name in enumerate(bars.instruments)}
    taking_part = [name for name, reason in reasons.items() if reason is None]
    unavailable = {name: reason for name, reason in reasons.items() if reason is not None}
    if not taking_part:
        raise SuspiciousDataError(f"no instrument takes part: {listed(unavailable)}")
    is_open = all(calendars.get(name, ALWAYS_OPEN) == ALWAYS_OPEN for name in taking_part)
    return _joint(instruments_of(on_sessions, taking_part), warm_up_bars, is_open, unavailable)


def shared_sessions(bars: PriceHistory, calendars: Mapping[str, str]) -> Rows:
    """Rows of dates that are sessions of every calendar (`calendar_sessions`)."""
    names = np.array([calendars.get(name, ALWAYS_OPEN) for name in bars.instruments])
    shared = np.ones(bars.n_bars, dtype=bool)
    for calendar in np.unique(names):
        shared &= calendar_sessions(bars.is_bar[:, names == calendar])
    return np.flatnonzero(shared)


def calendar_sessions(is_bar: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dates (n,) with a bar of at least half of the instruments (n, k) that are between their first and last one."""
    n_dates = len(is_bar)
    row = np.arange(n_dates)[:, None]
    ever = is_bar.any(axis=0)
    first = np.where(ever, is_bar.argmax(axis=0), n_dates)
    last = np.where(ever, n_dates - 1 - is_bar[::-1].argmax(axis=0), -1)
    known = is_bar.sum(axis=1)
    alive = ((row >= first) & (row <= last)).sum(axis=1)
    sessions: NDArray[np.bool_] = (known > 0) & (2 * known >= alive)
    return sessions


def listed(reasons: Mapping[str, str]) -> str:
    """Reasons in one line, the first ten."""
    words = [f"{name}: {reason}" for name, reason in list(reasons.items())[:10]]
    return "; ".join(words) + (f"; and {len(reasons) - 10} more" if len(reasons) > 10 else "")


def _missing(bars: PriceHistory, column: int) -> str | None:
    """Why an instrument cannot take part in what is sampled from these sessions; None where it can."""
    close = bars.close[:, column]
    known = ~np.isnan(close)
    if not known.any():
        return "no bar in the source"
    if not known[-1]:
        return f"not listed at the start: last bar {bars.dates[known][-1]}, start {bars.dates[-1]}"
    first = int(known.argmax())
    if first > MOST_MISSING * len(close):
        return f"history begins {bars.dates[first]}, needed from {bars.dates[0]}"
    n_missing = int((~known).sum())
    if n_missing > MOST_MISSING * len(close):
        return f"{n_missing} of {len(close)} sessions from {bars.dates[0]} are missing"
    if int(known.sum()) < LEAST_WARM_UP:
        return f"{int(known.sum())} bars up to the start, {LEAST_WARM_UP} are needed before it"
    if np.nanmax(close) == np.nanmin(close):
        return f"the price never moves from {bars.dates[0]} to {bars.dates[-1]}"
    return None


def _joint(bars: PriceHistory, warm_up_bars: int, is_open: bool, unavailable: Mapping[str, str]) -> Source:
    logs = np.log(bars.close)
    steps = np.diff(logs, axis=0)
    is_next = np.diff(bars.dates) == np.timedelta64(1, "D") if is_open else np.ones(len(steps), dtype=bool)
    together = np.flatnonzero(~np.isnan(steps).any(axis=1) & is_next)
    if len(together) < LEAST_RETURNS:
        raise SuspiciousDataError(
            f"{', '.join(bars.instruments[:10])} share {len(together)} returns from {bars.dates[0]} to "
            f"{bars.dates[-1]}; sampling needs {LEAST_RETURNS}: leave out the one with most holes"
        )
    return Source(
        bars,
        together + 1,
        np.ascontiguousarray(steps[together]),
        max(min(warm_up_bars, bars.n_bars), int(_rows_for(bars.is_bar, LEAST_WARM_UP).max())),
        365.0 if is_open else 252.0,
        is_open,
        unavailable,
    )


def _rows_for(is_bar: NDArray[np.bool_], n_bars: int) -> Rows:
    """How many rows from the end hold `n_bars` bars of each instrument (k,)."""
    counted = is_bar[::-1].cumsum(axis=0)
    rows: Rows = np.argmax(counted >= n_bars, axis=0) + 1
    return rows


# --- the market among the instruments ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Market:
    """The market's returns (sampled,), betas (instruments,) and what betas leave unexplained (sampled, instruments)."""

    returns: Vector
    betas: Vector
    residuals: Matrix


def market_of(source: Source, benchmark: str | None) -> Market:
    """Ordinary least squares of every instrument on the market: r_i = a_i + beta_i m + e_i, residuals about zero.

    The market is the benchmark, or without one the mean of all participants. SuspiciousDataError where the benchmark
    does not take part or the market does not move.
    """
    if benchmark is not None and benchmark not in source.bars.instruments:
        reason = source.unavailable.get(benchmark, "it was not asked for")
        raise SuspiciousDataError(f"the benchmark {benchmark} does not take part: {reason}")
    returns = (
        source.returns.mean(axis=1)
        if benchmark is None
        else source.returns[:, source.bars.instruments.index(benchmark)].copy()
    )
    centred = returns - returns.mean()
    variance = float(centred @ centred)
    if variance <= 0.0:
        raise SuspiciousDataError("the market's returns are all equal: no beta can be measured against it")
    deviations = source.returns - source.returns.mean(axis=0)
    betas: Vector = centred @ deviations / variance
    return Market(returns, betas, deviations - centred[:, None] * betas)


def next_dates(last: np.datetime64, n: int, is_always_open: bool) -> NDArray[np.datetime64]:
    """Dates of the n bars after `last`: every day, or Monday to Friday (holidays of the future are not modelled)."""
    if is_always_open:
        return last + np.arange(1, n + 1)
    return np.busday_offset(last, np.arange(1, n + 1), roll="backward")
