"""Histories of pools as matrices in which every wanted day sees what was known at its own cutoff.

Lives here: from rows to matrices, and which revision of a point a day sees. Not here: arithmetic over windows of days
(windows.py), the rules (quality.py, metrics.py). What a day sees does not depend on which other days or pools are
wanted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.pools import windows
from defiyield_assets.domain.pools.windows import Counts, Flags, Floats

LOOKBACK_DAYS = 60
"""Days of history before the first wanted day that the rules read: 30 of yesterday's window and 30 more for its
spikes."""
POOLS_AT_ONCE = 256
"""Pools whose windows are in memory together."""
BLOCK_DAYS = 30
"""Days for which the versions of a revised pool are laid out together."""
NEVER = np.iinfo(np.int64).min
EPOCH = date(1970, 1, 1)
MATRICES = ("apy", "apy_base", "apy_reward", "tvl_usd")


@dataclass(frozen=True)
class Panel:
    """Values as known, one column per day; null where there is no point.

    `wanted` columns at the right end are the days that the caller asked for; the others are their history. A row is a
    pool, or what was known of it for some days: `is_wanted` [row, wanted day] says for which days the row stands.
    `is_hindsight` marks, per row and wanted day, whether any point of the lookback was seen after that day's cutoff.
    """

    pool_ids: tuple[str, ...]
    days: tuple[date, ...]
    wanted: int
    is_wanted: Flags
    apy: Floats
    apy_base: Floats
    apy_reward: Floats
    tvl_usd: Floats
    has_point: Flags
    is_hindsight: Flags

    @property
    def wanted_ordinals(self) -> Counts:
        """The wanted days as numbers that `date.toordinal` gives."""
        return np.array([day.toordinal() for day in self.days[-self.wanted :]], dtype=np.int64)

    def first_ordinals(self, first_days: Mapping[str, date]) -> Counts:
        """The first known day of each row's pool as such a number; that of `date.max` where none is known."""
        return np.array([first_days.get(pool_id, date.max).toordinal() for pool_id in self.pool_ids], dtype=np.int64)


def panels(
    revisions: pd.DataFrame, tracked: pd.DataFrame, days: DayRange, hindsight_days: int = LOOKBACK_DAYS
) -> Iterator[Panel]:
    """The histories of the tracked pools as panels in which every wanted day sees what was known at its own cutoff.

    `revisions`: columns of `pool_histories` (il_7d, is_provisional and source are not read; of MATRICES those that are
    missing are null everywhere), `date` and `seen_at` as Python or numpy values. Pools without a second revision of any
    point have the same values at every cutoff and share panels for the whole range; the others are laid out once for
    every change of what was known. `hindsight_days` is how far back a late point taints a day.
    """
    pool_ids, is_tracked = _followed(tracked, days)
    histories = _Histories.of(revisions, pool_ids, days.back(LOOKBACK_DAYS))
    for pools in _in_chunks(np.flatnonzero(~histories.is_revised)):
        yield _panel(histories, pools, days, is_tracked[pools], hindsight_days=hindsight_days)
    for first in range(0, len(days), BLOCK_DAYS):
        block = DayRange(
            days.start + timedelta(days=first), min(days.end, days.start + timedelta(days=first + BLOCK_DAYS - 1))
        )
        is_followed = is_tracked[:, first : first + len(block)]
        for pools in _in_chunks(np.flatnonzero(histories.is_revised & is_followed.any(axis=1))):
            row, known_at, is_current = _versions(histories, pools, block)
            wanted = is_current & is_followed[pools[row]]
            yield _panel(histories, pools[row], block, wanted, hindsight_days=hindsight_days, known_at=known_at)


@dataclass(frozen=True)
class _Histories:
    """Points as arrays, ordered by pool, day and revision; a day is a column of `reach`, a pool its place in
    `pool_ids`."""

    pool_ids: npt.NDArray[np.object_]
    reach: DayRange
    first: Counts
    """Where the points of each pool begin, and behind the last one where they end."""
    is_revised: Flags
    column: Counts
    revision: Counts
    seen: Counts
    values: Mapping[str, Floats]

    @classmethod
    def of(cls, revisions: pd.DataFrame, pool_ids: npt.NDArray[np.object_], reach: DayRange) -> "_Histories":
        """The rows of some pools and days."""
        row = pd.Index(pool_ids, dtype=object).get_indexer(pd.Index(revisions["pool_id"], dtype=object))
        column = day_numbers(revisions["date"]) - _number(reach.start)
        chosen = np.flatnonzero((row >= 0) & (column >= 0) & (column < len(reach)))
        cell = row[chosen] * np.int64(len(reach)) + column[chosen]
        revision = revisions["revision"].to_numpy(dtype=np.int64)[chosen]
        order = np.lexsort((revision, cell))
        chosen, cell = chosen[order], cell[order]
        is_repeated = np.zeros(len(pool_ids), dtype=bool)
        is_repeated[row[chosen[1:][cell[1:] == cell[:-1]]]] = True
        known = {name: revisions[name].to_numpy(dtype=np.float64)[chosen] for name in MATRICES if name in revisions}
        return cls(
            pool_ids,
            reach,
            np.searchsorted(row[chosen], np.arange(len(pool_ids) + 1)),
            is_repeated,
            column[chosen],
            revision[order],
            _epoch(revisions["seen_at"])[chosen],
            known,
        )

    def points_of(self, pools: Counts, days: DayRange) -> tuple[Counts, Counts, Counts]:
        """The points of some pools, which may be named more than once, within `days`: their places here, and the row
        (a place in `pools`) and column (of `days`) of each."""
        counts = self.first[pools + 1] - self.first[pools]
        row = np.repeat(np.arange(len(pools)), counts)
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts - self.first[pools], counts)
        column = self.column[place] - (days.start - self.reach.start).days
        inside = (column >= 0) & (column < len(days))
        return place[inside], row[inside], column[inside]


def _followed(tracked: pd.DataFrame, days: DayRange) -> tuple[npt.NDArray[np.object_], Flags]:
    """The tracked pools in order, and a matrix [pool, day]: whether it is tracked on the day."""
    column = day_numbers(tracked["date"]) - _number(days.start)
    inside = (column >= 0) & (column < len(days))
    row, pool_ids = pd.factorize(tracked["pool_id"].to_numpy(dtype=object)[inside], sort=True)
    is_tracked = np.zeros((len(pool_ids), len(days)), dtype=bool)
    is_tracked[row, column[inside]] = True
    return pool_ids, is_tracked


def _in_chunks(pools: npt.NDArray[np.intp]) -> Iterator[Counts]:
    for start in range(0, len(pools), POOLS_AT_ONCE):
        yield pools[start : start + POOLS_AT_ONCE].astype(np.int64)


def _versions(histories: _Histories, pools: Counts, block: DayRange) -> tuple[Counts, Counts, Flags]:
    """What was known of some pools over a block of days, one version for every change of it.

    Per version: the place of its pool in `pools`, the cutoff of its first day, and for which days of the block it
    stands. What is known of a pool changes with a cutoff that lets in one of several revisions of a point.
    """
    place, row, column = histories.points_of(pools, block.back(LOOKBACK_DAYS))
    is_same = (row[1:] == row[:-1]) & (column[1:] == column[:-1])
    is_repeated = np.append(False, is_same) | np.append(is_same, False)
    cutoffs = _cutoffs(block)
    day = np.searchsorted(cutoffs, histories.seen[place[is_repeated]], side="left")
    is_inside = day < len(block)
    begins = np.zeros((len(pools), len(block)), dtype=bool)
    begins[:, 0] = True
    begins[row[is_repeated][is_inside], day[is_inside]] = True
    number = np.cumsum(begins, axis=1)
    owner, first = np.nonzero(begins)
    return owner.astype(np.int64), cutoffs[first], number[owner] == number[owner, first][:, None]


def _panel(
    histories: _Histories,
    pools: Counts,
    days: DayRange,
    is_wanted: Flags,
    *,
    hindsight_days: int,
    known_at: Counts | None = None,
) -> Panel:
    """One value per row and day laid out as matrices; hindsight from when it was seen against each day's cutoff.

    `known_at`, per row, chooses among revisions; without it there is one revision of each point.
    """
    reach = days.back(LOOKBACK_DAYS)
    shape = (len(pools), len(reach))
    place, row, column = histories.points_of(pools, reach)
    if known_at is not None:
        is_known = histories.seen[place] <= known_at[row]
        chosen = _as_known(row * np.int64(shape[1]) + column, histories.revision[place], is_known)
        place, row, column = place[chosen], row[chosen], column[chosen]

    def matrix(name: str) -> Floats:
        values = np.full(shape, np.nan)
        if name in histories.values:
            values[row, column] = histories.values[name][place]
        return values

    has_point = np.zeros(shape, dtype=bool)
    has_point[row, column] = True
    seen = np.full(shape, NEVER, dtype=np.int64)
    seen[row, column] = histories.seen[place]
    newest = windows.trailing(seen, hindsight_days + 1, NEVER, last=len(days)).max(axis=-1)
    return Panel(
        pool_ids=tuple(histories.pool_ids[pools]),
        days=tuple(reach),
        wanted=len(days),
        is_wanted=is_wanted,
        apy=matrix("apy"),
        apy_base=matrix("apy_base"),
        apy_reward=matrix("apy_reward"),
        tvl_usd=matrix("tvl_usd"),
        has_point=has_point,
        is_hindsight=newest > _cutoffs(days)[None, :],
    )


def _as_known(cell: Counts, revision: Counts, is_known: Flags) -> npt.NDArray[np.intp]:
    """One point per cell, as `known_view` chooses: the highest revision that is known, else the lowest one."""
    order = np.lexsort((np.where(is_known, revision, -revision), is_known, cell))
    ordered = cell[order]
    chosen: npt.NDArray[np.intp] = order[np.append(ordered[1:] != ordered[:-1], True)[: len(order)]]
    return chosen


def _cutoffs(days: DayRange) -> Counts:
    return _epoch(pd.Series([pd.Timestamp(cutoff(day)) for day in days]))


def _number(day: date) -> int:
    return (day - EPOCH).days


def day_numbers(days: "pd.Series[date]") -> Counts:
    """Days since 1970 of dates, whether they are Python's or numpy's."""
    if days.dtype.kind == "M":
        return days.to_numpy().astype("datetime64[D]").astype(np.int64)
    codes, known = pd.factorize(days.to_numpy(dtype=object))
    return np.array([_number(day) for day in known], dtype=np.int64)[codes]


def _epoch(stamps: "pd.Series[pd.Timestamp]") -> Counts:
    """Microseconds since 1970. A column of Python's holds few different ones."""
    if stamps.dtype == object:
        codes, known = pd.factorize(stamps.to_numpy())
        return _epoch(pd.Series(pd.to_datetime(known, utc=True)))[codes]
    naive = pd.to_datetime(stamps, utc=True).dt.tz_localize(None).to_numpy()
    return naive.astype("datetime64[us]").astype(np.int64)


def flatten(panel: Panel, columns: Mapping[str, npt.NDArray[np.generic]]) -> pd.DataFrame:
    """What the panel's rows stand for as a long frame with date and pool_id; matrices are of the wanted days, or end
    with them."""
    row, column = np.nonzero(panel.is_wanted)
    days = np.array(panel.days[-panel.wanted :], dtype=object)
    laid_out = {"date": days[column], "pool_id": np.array(panel.pool_ids, dtype=object)[row]}
    laid_out |= {name: values[:, -panel.wanted :][row, column] for name, values in columns.items()}
    return pd.DataFrame(laid_out)


def collect(found: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all panels, sorted by key; an empty frame when nothing is tracked."""
    frames = [frame for frame in found if len(frame)]
    if not frames:
        return pd.DataFrame()
    rows = pd.concat(frames, ignore_index=True)
    day, _ = pd.factorize(rows["date"], sort=True)
    pool, _ = pd.factorize(rows["pool_id"], sort=True)
    return rows.take(np.lexsort((pool, day))).reset_index(drop=True)
