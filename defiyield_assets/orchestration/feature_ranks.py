"""Ranks within a universe for every bar that a run of features touches.

Lives here: which rows are ranked together, and which stored rows a late change reorders. Not here: the ranks
(domain/market/features/cross_section.py), the asset (assets/market.py).

An instrument that starts again at its first bar meets, on the days before the run, instruments that do not. A restated
factor moves the last bits of its returns and reorders nobody: its stored ranks stay. Where what is ranked has really
changed (an action that came late, a new instrument with a history), the day is ranked again for everybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.calculate import in_groups
from defiyield_assets.domain.market.features.panel import Vector
from defiyield_assets.domain.market.features.registry import BAR_METRICS, CROSS_METRICS
from defiyield_assets.domain.prices.instruments import INSTRUMENT_TYPES
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET, FIRST_EVER, NAMED_AT_ONCE, Batch, Columns
from defiyield_assets.store import reads, schema

READ = tuple(sorted({name for metric in CROSS_METRICS for name in metric.reads}))
RANKS = tuple(metric.name for metric in CROSS_METRICS)
SAME = 1e-9
"""Relative difference that only the last bits make: no change."""
Listing = Mapping[str, tuple[str, date | None, date | None]]
"""Instrument -> its universe, listed_at and delisted_at."""


@dataclass(frozen=True)
class Ranks:
    """`of_batches`: for each batch, name of RANKS -> (rows of its table,); `corrected`: whole rows of `daily_features`
    of other instruments whose ranks changed."""

    of_batches: list[dict[str, Vector]]
    corrected: pd.DataFrame


def ranks_of(engine: Engine, batches: Sequence[Batch], days: DayRange, types: Sequence[str]) -> Ranks:
    """Ranks of every new row of the batches, and of the stored rows that they reorder."""
    listing = _listing(engine, types)
    made = _joined([_values(batch) for batch in batches])
    start = np.datetime64(days.start, "D")
    own = _own_before(engine, batches, days, types)
    ranked, kept = _carried(made, own, start)
    restarted = [name for batch in batches if batch.is_restarted for name in batch.names]
    changed = np.union1d(made["date"][~kept & (made["date"] < start)], _days_lost(own, made, restarted))
    kept &= ~np.isin(made["date"], changed)
    beside = _others_on(engine, changed, restarted, types)
    told = {name: np.concatenate([made[name][~kept], beside[name]]) for name in ("instrument_id", "date", *READ)}
    groups = groups_of_rows(told["instrument_id"], told["date"], listing)
    n_own = int((~kept).sum())
    values = ranked_rows(told, groups)
    for name in RANKS:
        ranked[name][~kept] = values[name][:n_own]
    corrected = _corrected(engine, beside, {name: cells[n_own:] for name, cells in values.items()}, types)
    return Ranks(_by_batch(ranked, batches), corrected)


def ranks_without(engine: Engine, gone: pd.DataFrame) -> pd.DataFrame:
    """Whole rows of `daily_features` whose ranks change when the features of some bars go (instrument_id, date)."""
    types = list(INSTRUMENT_TYPES)
    days = DayRange(gone["date"].min(), gone["date"].max())
    names = sorted(set(gone["instrument_id"]))
    where = {"instrument_id": names} if len(names) <= NAMED_AT_ONCE else _of_types(types)
    stored = reads.read_days(engine, schema.daily_features, days, where, ["instrument_id", "date"])
    lost = stored.merge(gone, on=["instrument_id", "date"])
    beside = _others_on(engine, np.array(sorted(set(lost["date"])), dtype="datetime64[D]"), [], types)
    keys = pd.MultiIndex.from_arrays([beside["instrument_id"], beside["date"]])
    is_left = ~keys.isin(pd.MultiIndex.from_arrays([lost["instrument_id"], pd.to_datetime(lost["date"])]))
    left = {name: cells[is_left] for name, cells in beside.items()}
    groups = groups_of_rows(left["instrument_id"], left["date"], _listing(engine, types))
    return _corrected(engine, left, ranked_rows(left, groups), types)


def ranked_rows(told: Columns, groups: NDArray[np.intp]) -> dict[str, Vector]:
    """Name of RANKS -> (rows,) of rows with the columns READ, ranked among those of their group."""
    return {
        metric.name: metric.calculate({name: told[name] for name in metric.reads}, groups) for metric in CROSS_METRICS
    }


def stored_ranks(engine: Engine, day: date, types: Sequence[str]) -> pd.DataFrame:
    """Ranks of a day as they follow from what is stored of everybody: instrument_id, date and RANKS."""
    rows = _stored(engine, DayRange.of(day), _of_types(types))
    groups = groups_of_rows(rows["instrument_id"], rows["date"], _listing(engine, types))
    ranks = pd.DataFrame(ranked_rows(rows, groups))
    return ranks.assign(instrument_id=rows["instrument_id"], date=rows["date"].astype(object))


def _listing(engine: Engine, types: Sequence[str]) -> Listing:
    instruments = reads.read_all(engine, schema.instruments, {"type": list(types)})
    columns = ("instrument_id", "universe", "listed_at", "delisted_at")
    return {
        str(name): (str(universe), since, until)
        for name, universe, since, until in zip(*(instruments[column] for column in columns), strict=True)
    }


def _days_lost(stored: Columns, made: Columns, restarted: Sequence[str]) -> NDArray[np.datetime64]:
    """Days on which instruments that start again have stored features, but no bar any more."""
    is_own = np.isin(stored["instrument_id"].astype(str), sorted(restarted))
    before = pd.MultiIndex.from_arrays([stored["instrument_id"][is_own], stored["date"][is_own]])
    is_made = before.isin(pd.MultiIndex.from_arrays([made["instrument_id"], made["date"]]))
    return np.array(stored["date"][is_own][~is_made], dtype="datetime64[D]")


def groups_of_rows(ids: NDArray[Any], dates: NDArray[np.datetime64], listing: Listing) -> NDArray[np.intp]:
    """The number of each row's universe and day, among which ranks are taken; -1 outside an instrument's listing."""
    if not len(ids):
        return np.zeros(0, dtype=np.intp)
    names, place = np.unique(ids.astype(str), return_inverse=True)
    told = [listing[str(name)] for name in names]
    universes, universe = np.unique([name for name, _, _ in told], return_inverse=True)
    first = np.array([since or FIRST_EVER for _, since, _ in told], dtype="datetime64[D]")
    stop = np.array([until or date.max for _, _, until in told], dtype="datetime64[D]")
    group = dates.astype(np.int64) * len(universes) + universe[place]
    is_listed = (dates >= first[place]) & (dates < stop[place])
    return np.where(is_listed, np.unique(group, return_inverse=True)[1], -1).astype(np.intp)


def _values(batch: Batch) -> Columns:
    """What is ranked, of the batch's new rows in the order of its table."""
    metrics = tuple(metric for metric in BAR_METRICS if metric.name in READ)
    values: Columns = {name: np.full(len(batch.table.dates), np.nan) for name in READ}
    for group in in_groups(batch.table, batch.state, metrics):
        for name in READ:
            values[name][group.row] = group.values[name]
    names = np.repeat(np.array(batch.names, dtype=object), np.diff(batch.table.starts))
    is_new = batch.table.is_new
    return {
        "instrument_id": names[is_new],
        "date": batch.table.dates[is_new],
        **{name: cells[is_new] for name, cells in values.items()},
    }


def _joined(parts: Sequence[Columns]) -> Columns:
    if not parts:
        nothing: Columns = {name: np.zeros(0) for name in READ}
        return nothing | {"instrument_id": np.zeros(0, dtype=object), "date": np.zeros(0, dtype="datetime64[D]")}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _own_before(engine: Engine, batches: Sequence[Batch], days: DayRange, types: Sequence[str]) -> Columns:
    """What was ranked and the ranks as stored, of instruments that start again, on the days before the run."""
    names = sorted({name for batch in batches if batch.is_restarted for name in batch.names})
    last = days.start - timedelta(days=1)
    is_few = len(names) <= NAMED_AT_ONCE
    return _stored(engine, DayRange(FIRST_EVER, last), {"instrument_id": names} if is_few else _of_types(types))


def _others_on(engine: Engine, dates: NDArray[np.datetime64], names: Sequence[str], types: Sequence[str]) -> Columns:
    """The same of everybody but the names, on some days. Only these days are ranked again: a share that pays a
    dividend changes none, and all rows of all shares would be much to read.
    """
    if not len(dates):
        return _stored(engine, DayRange.of(FIRST_EVER), {"instrument_type": []})
    found = _stored(engine, DayRange(dates.min().item(), dates.max().item()), _of_types(types))
    is_other = np.isin(found["date"], dates) & ~np.isin(found["instrument_id"].astype(str), sorted(names))
    return {name: cells[is_other] for name, cells in found.items()}


def _of_types(types: Sequence[str]) -> dict[str, list[str]]:
    return {"instrument_type": list(types)}


def _stored(engine: Engine, days: DayRange, where: Mapping[str, list[str]]) -> Columns:
    columns = ["instrument_id", "date", *READ, *RANKS]
    return reads.read_columns(engine, schema.daily_features, days, {**where, "feature_set": FEATURE_SET}, columns)


def _carried(made: Columns, stored: Columns, start: np.datetime64) -> tuple[dict[str, Vector], NDArray[np.bool_]]:
    """Ranks of the made rows that keep theirs (NaN elsewhere), and which do: rows before the run whose stored values
    are the same but for their last bits."""
    ranked = {name: np.full(len(made["date"]), np.nan) for name in RANKS}
    kept = np.zeros(len(made["date"]), dtype=bool)
    before = np.flatnonzero(made["date"] < start)
    if not len(before) or not len(stored["date"]):
        return ranked, kept
    keys = pd.MultiIndex.from_arrays([stored["instrument_id"], stored["date"]])
    own = pd.MultiIndex.from_arrays([made["instrument_id"][before], made["date"][before]])
    place = keys.get_indexer(own)
    same = place >= 0
    for name in READ:
        same &= _equal(made[name][before], stored[name][place])
    kept[before[same]] = True
    for name in RANKS:
        ranked[name][before[same]] = stored[name][place[same]]
    return ranked, kept


def _equal(left: Vector, right: Vector) -> NDArray[np.bool_]:
    """Equal but for the last bits, or both unknown."""
    with np.errstate(invalid="ignore"):
        near = np.abs(left - right) <= SAME * np.maximum(np.abs(left), np.abs(right))
    return near | (np.isnan(left) & np.isnan(right))


def _corrected(
    engine: Engine,
    beside: Columns,
    fresh: dict[str, Vector],
    types: Sequence[str],
) -> pd.DataFrame:
    """The stored rows whose ranks moved, whole and with the new ranks."""
    moved = np.zeros(len(beside["date"]), dtype=bool)
    for name in RANKS:
        moved |= ~_equal(fresh[name], beside[name])
    if not moved.any():
        return pd.DataFrame()
    new = pd.DataFrame({name: values[moved] for name, values in fresh.items()})
    new["instrument_id"], new["date"] = beside["instrument_id"][moved], beside["date"][moved].astype(object)
    span = DayRange(min(new["date"]), max(new["date"]))
    where = {"instrument_type": list(types), "feature_set": FEATURE_SET}
    rows = reads.read_days(engine, schema.daily_features, span, where)
    return rows.drop(columns=list(RANKS)).merge(new, on=["instrument_id", "date"])


def _by_batch(ranked: dict[str, Vector], batches: Sequence[Batch]) -> list[dict[str, Vector]]:
    """Ranks of all made rows cut into those of each batch, NaN on the rows of its table that are not new."""
    found, start = [], 0
    for batch in batches:
        is_new = batch.table.is_new
        stop = start + int(is_new.sum())
        part = {name: np.full(len(is_new), np.nan) for name in RANKS}
        for name, values in part.items():
            values[is_new] = ranked[name][start:stop]
        found.append(part)
        start = stop
    return found
