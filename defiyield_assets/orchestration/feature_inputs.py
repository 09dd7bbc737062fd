"""What a run of features starts from: bars, the state behind the bars before them, benchmarks and events.

Lives here: which instruments go on from their state and which start again at their first bar. Not here: what is
calculated (domain/market/features), the asset (assets/market.py).
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.inputs import (
    BAR_COLUMNS,
    adjusted_values,
    levels_beside,
    order_of_bars,
)
from defiyield_assets.domain.market.features.panel import HISTORY, SESSION_HISTORY, BarTable, Vector
from defiyield_assets.domain.market.features.recursions import State, blank_state
from defiyield_assets.domain.prices.adjustments import total_return_levels
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN, periods_per_year
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema

FEATURE_SET = "standard"
ALWAYS_OPEN_DAYS, SESSION_DAYS = HISTORY + 36, 465
"""Days in which the bars lie that windows reach; of who has fewer in them all bars are read."""
FIRST_EVER = date(1900, 1, 1)
NEVER = (0, 0.0, date.min)
"""What `bars_so_far` would say of an instrument without a bar."""
NAMED_AT_ONCE = 500
"""Instruments that one query names; of more of them all bars of their types are read."""
Columns = dict[str, NDArray[Any]]
Levels = dict[str, tuple[NDArray[np.datetime64], Vector]]


@dataclass(frozen=True)
class Batch:
    """Instruments that are calculated in one go.

    `names`, `types`, `calendars`: of the instruments in the order of the table; `factors` (rows of the table,): stored
    adjustment factors; `n_before` (instruments,): bars before the first new one; `is_restarted`: all bars are new,
    since there is no state to go on from, or it tells of another history.
    """

    names: list[str]
    types: list[str]
    calendars: list[str]
    table: BarTable
    factors: Vector
    state: State
    n_before: NDArray[np.int64]
    is_restarted: bool


@dataclass(frozen=True)
class _Sorted:
    """Bars in the order of their instruments and dates."""

    names: list[str]
    starts: NDArray[np.intp]
    columns: Columns


@dataclass(frozen=True)
class _Past:
    """Bars of each instrument before the range: how many were read, how many there are, the first one's factor."""

    n_old: NDArray[np.intp]
    n_before: NDArray[np.int64]
    first_factors: Vector


@dataclass(frozen=True)
class _Known:
    """The instruments by id, and the levels of the benchmarks among them."""

    instruments: pd.DataFrame
    levels: Levels

    def beside(self, ids: NDArray[Any], dates: NDArray[np.datetime64]) -> Vector:
        """The level of each row's benchmark on its day; NaN without one."""
        told = self.instruments["benchmark"].dropna()
        return levels_beside(ids, dates, self.levels, dict(zip(map(str, told.index), map(str, told), strict=True)))


def read_batches(engine: Engine, days: DayRange, types: Sequence[str]) -> list[Batch]:
    """The instruments of some types that have bars in `days`: those that go on, then those that start again. Of others
    those start again whose last bar before `days` has no state behind it: it or what it rests on was changed since.
    """
    instruments = reads.read_all(engine, schema.instruments, {"type": list(types)}).set_index("instrument_id")
    with ThreadPoolExecutor(1, "counting") as thread:
        # All bars are counted inside the database while those of the last year come out of it.
        counting = thread.submit(reads.bars_so_far, engine, days.start - timedelta(days=1))
        bars = _sorted(_recent_bars(engine, days, instruments))
        told = counting.result()
    _require_known(bars.names, instruments)
    day = np.datetime64(days.start, "D")
    bars = _reaching_back(engine, bars, told, instruments, days)
    n_old = _n_old(bars, day)
    has_new = n_old < np.diff(bars.starts)
    known = _Known(instruments, _levels(engine, instruments, bars.names, days.end))
    n_before = np.array([told.get(name, NEVER)[0] for name in bars.names], dtype=np.int64)
    first_factors = np.array([told.get(name, NEVER)[1] for name in bars.names])
    states = _states(engine, days, types, bars.names)
    is_same = _agrees(states, bars, _Past(n_old, n_before, first_factors), known)
    goes_on = (n_before == 0) | is_same
    batches = []
    if (has_new & goes_on).any():
        chosen = np.flatnonzero(has_new & goes_on)
        part = _chosen(bars, chosen)
        state = {
            name: np.where(n_before[chosen] > 0, states[name].to_numpy(float)[chosen], blank)
            for name, blank in blank_state(len(chosen)).items()
        }
        is_new = part.columns["date"] >= day
        batches.append(_batch(part, known, is_new, state, n_before[chosen], is_restarted=False))
    restarted = [name for name, wanted in zip(bars.names, has_new & ~goes_on, strict=True) if wanted]
    newly = {name for name, wanted in zip(bars.names, has_new, strict=True) if wanted}
    lasts = {name: last for name, (_, _, last) in told.items() if name in instruments.index and name not in newly}
    restarted += _outdated(engine, lasts, types)
    if restarted:
        whole = read_whole(engine, restarted, types, days.end)
        batches.append(_restarted(whole, known))
    return batches


def _outdated(engine: Engine, lasts: Mapping[str, date], types: Sequence[str]) -> list[str]:
    """Of instruments with the day of their last bar those that no state tells of on or after that day."""
    if not lasts:
        return []
    few = {"instrument_id": sorted(lasts)} if len(lasts) <= NAMED_AT_ONCE else {"instrument_type": list(types)}
    where = {**few, "feature_set": FEATURE_SET}
    states = reads.instrument_spans(engine, schema.feature_state, date.max, where)
    return sorted(name for name, last in lasts.items() if name not in states or states[name].end < last)


def recomputed(engine: Engine, names: Sequence[str], types: Sequence[str], through: date) -> Batch | None:
    """Some instruments from their first bar up to the day, whatever is stored of them; None without a bar."""
    instruments = reads.read_all(engine, schema.instruments, {"type": list(types)}).set_index("instrument_id")
    bars = read_whole(engine, names, types, through)
    _require_known(bars.names, instruments)
    known = _Known(instruments, _levels(engine, instruments, bars.names, through))
    return _restarted(bars, known) if bars.names else None


def read_whole(engine: Engine, names: Collection[str], types: Sequence[str], through: date) -> _Sorted:
    """All bars of some instruments up to the day, those with few bars first: they are calculated side by side."""
    is_few = len(names) <= NAMED_AT_ONCE
    where = {"instrument_id": sorted(names)} if is_few else {"instrument_type": list(types)}
    found = reads.read_columns(engine, schema.daily_bars, DayRange(FIRST_EVER, through), where, BAR_COLUMNS)
    bars = _sorted(found)
    wanted = np.flatnonzero(np.isin(np.array(bars.names, dtype=object), sorted(names)))
    return _chosen(bars, wanted[np.argsort(np.diff(bars.starts)[wanted], kind="stable")])


def _recent_bars(engine: Engine, days: DayRange, instruments: pd.DataFrame) -> Columns:
    """Bars of `days` and of the time before in which windows lie."""
    sessions = set(instruments.loc[instruments["calendar"] != ALWAYS_OPEN, "type"])
    parts = []
    for kinds, back in ((set(instruments["type"]) - sessions, ALWAYS_OPEN_DAYS), (sessions, SESSION_DAYS)):
        where = {"instrument_type": sorted(kinds)}
        if kinds:
            parts.append(reads.read_columns(engine, schema.daily_bars, days.back(back), where, BAR_COLUMNS))
    if not parts:
        return reads.read_columns(engine, schema.daily_bars, days, {"instrument_type": []}, BAR_COLUMNS)
    return {name: np.concatenate([part[name] for part in parts]) for name in BAR_COLUMNS}


def _n_old(bars: _Sorted, day: np.datetime64) -> NDArray[np.intp]:
    """How many of each instrument's bars are older than the day."""
    numbers = np.repeat(np.arange(len(bars.names)), np.diff(bars.starts))
    return np.bincount(numbers[bars.columns["date"] < day], minlength=len(bars.names))


def _reach(instruments: pd.DataFrame, names: Sequence[str]) -> NDArray[np.int64]:
    """Bars before the first new one that windows of each instrument reach."""
    is_always_open = (instruments.loc[list(names), "calendar"] == ALWAYS_OPEN).to_numpy(bool)
    return np.where(is_always_open, HISTORY, SESSION_HISTORY)


def _reaching_back(
    engine: Engine,
    bars: _Sorted,
    told: Mapping[str, tuple[int, float, date]],
    instruments: pd.DataFrame,
    days: DayRange,
) -> _Sorted:
    """The bars, with all there are of instruments that have new ones and too many holes in what was read."""
    n_old = _n_old(bars, np.datetime64(days.start, "D"))
    n_before = np.array([told.get(name, NEVER)[0] for name in bars.names], dtype=np.int64)
    is_short = (n_old < np.diff(bars.starts)) & (n_old < np.minimum(_reach(instruments, bars.names), n_before))
    if not is_short.any():
        return bars
    names = [name for name, short in zip(bars.names, is_short, strict=True) if short]
    whole = read_whole(engine, names, sorted(set(instruments["type"])), days.end).columns
    rest = _chosen(bars, np.flatnonzero(~is_short)).columns
    return _sorted({name: np.concatenate([rest[name], whole[name]]) for name in BAR_COLUMNS})


def _sorted(columns: Columns) -> _Sorted:
    names, order = order_of_bars(columns["instrument_id"], columns["date"])
    ordered = {name: cells[order] for name, cells in columns.items()}
    ids = ordered["instrument_id"]
    starts = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1, [len(ids)]]) if names else np.zeros(1)
    return _Sorted(names, starts.astype(np.intp), ordered)


def _chosen(bars: _Sorted, chosen: NDArray[np.intp]) -> _Sorted:
    """Some instruments in the order given."""
    if np.array_equal(chosen, np.arange(len(bars.names))):
        return bars
    lengths = np.diff(bars.starts)[chosen]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
    place = np.repeat(bars.starts[chosen] - starts[:-1], lengths) + np.arange(starts[-1])
    return _Sorted(
        [bars.names[index] for index in chosen], starts, {name: cells[place] for name, cells in bars.columns.items()}
    )


def _require_known(names: Collection[str], instruments: pd.DataFrame) -> None:
    strangers = sorted(set(names) - set(instruments.index))
    if strangers:
        raise SuspiciousDataError(
            f"daily_bars has bars of {len(strangers)} instruments that `instruments` does not list, such as "
            f"{', '.join(strangers[:5])}: materialise `instruments` first"
        )


def _levels(engine: Engine, instruments: pd.DataFrame, names: Collection[str], through: date) -> Levels:
    """Total return levels of the instruments' benchmarks up to the day."""
    wanted = sorted(set(instruments.loc[list(names), "benchmark"].dropna()))
    if not wanted:
        return {}
    days, columns = DayRange(FIRST_EVER, through), ["instrument_id", "date", "close", "adj_factor"]
    bars = reads.read_days(engine, schema.daily_bars, days, {"instrument_id": wanted}, columns)
    actions = reads.read_days(engine, schema.corporate_actions, days, {"instrument_id": wanted})
    return {
        str(name): (
            np.array(own["date"].to_numpy(), dtype="datetime64[D]"),
            total_return_levels(own, actions[actions["instrument_id"] == name]),
        )
        for name, own in bars.groupby("instrument_id", sort=True)
    }


def _states(engine: Engine, days: DayRange, types: Sequence[str], names: list[str]) -> pd.DataFrame:
    """The newest state before the range of each instrument, in order; a row of nulls where there is none."""
    before = DayRange(days.start - timedelta(days=SESSION_DAYS), days.start - timedelta(days=1))
    where = {"instrument_type": list(types), "feature_set": FEATURE_SET}
    stored = reads.newest_of_instruments(engine, schema.feature_state, before, where)
    return stored.set_index("instrument_id").reindex(names)


def _agrees(
    states: pd.DataFrame,
    bars: _Sorted,
    past: _Past,
    known: _Known,
) -> NDArray[np.bool_]:
    """Which states are those behind the last bar before the range.

    A state that saw another number of bars, another factor of the first or the last of them, another close or level of
    the benchmark tells of another history. (An action with an ex-date before the last bar leaves that one's factor.)
    """
    place = np.maximum(bars.starts[:-1] + past.n_old - 1, 0)
    last = {name: cells[place] for name, cells in bars.columns.items()} if len(place) else bars.columns
    level = known.beside(np.array(bars.names, dtype=object), last["date"])
    state_day = np.array(pd.to_datetime(states["date"]).to_numpy(), dtype="datetime64[D]")
    close = last["close"] * last["adj_factor"]
    found: NDArray[np.bool_] = (
        (past.n_old > 0)
        & (state_day == last["date"])
        & (states["n_bars"].to_numpy(float) == past.n_before)
        & (states["first_factor"].to_numpy(float) == past.first_factors)
        & (states["adj_factor"].to_numpy(float) == last["adj_factor"])
        & ((states["n_close"].to_numpy(float) == 0) | (states["close_before"].to_numpy(float) == close))
        & (np.nan_to_num(states["benchmark_close"].to_numpy(float)) == np.nan_to_num(level))
    )
    return found


def _batch(
    bars: _Sorted,
    known: _Known,
    is_new: NDArray[np.bool_],
    state: State,
    n_before: NDArray[np.int64],
    *,
    is_restarted: bool,
) -> Batch:
    ids, dates = bars.columns["instrument_id"], bars.columns["date"]
    values = adjusted_values(bars.columns)
    values["benchmark_close"] = known.beside(ids, dates)
    listed = known.instruments.loc[bars.names]
    calendars = [str(calendar) for calendar in listed["calendar"]]
    yearly = np.array([float(periods_per_year(calendar)) for calendar in calendars])
    table = BarTable(bars.starts, dates, values, is_new, yearly)
    types = [str(kind) for kind in listed["type"]]
    first = np.where(n_before > 0, state["first_factor"], bars.columns["adj_factor"][bars.starts[:-1]])
    state = {**state, "first_factor": first}
    return Batch(bars.names, types, calendars, table, bars.columns["adj_factor"], state, n_before, is_restarted)


def _restarted(bars: _Sorted, known: _Known) -> Batch:
    n = len(bars.names)
    is_new, none = np.ones(len(bars.columns["date"]), dtype=bool), np.zeros(n, dtype=np.int64)
    return _batch(bars, known, is_new, blank_state(n), none, is_restarted=True)
