"""Daily points of pools: from charts and snapshots to revisions, and what was known when.

Lives here: which points are new, which revision a reader sees, whose chart must be asked. Not here: statistics
(metrics.py).
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.days import DayRange, utc_day

VALUES = ("apy", "apy_base", "apy_reward", "tvl_usd")
"""A difference in one of these makes a revision; `il_7d` does too where both sides know it."""
POINT_COLUMNS = ("pool_id", "date", *VALUES, "il_7d", "is_provisional", "source", "seen_at")
HISTORY_COLUMNS = ("pool_id", "date", "revision", *POINT_COLUMNS[2:])
VIEW_COLUMNS = (*HISTORY_COLUMNS, "is_hindsight")


def history_from_chart(chart: pd.DataFrame, pool_id: str, through: date, seen_at: datetime) -> pd.DataFrame:
    """`histories_from_charts` of one pool."""
    return histories_from_charts([(pool_id, chart, seen_at)], through)


def histories_from_charts(charts: Sequence[tuple[str, pd.DataFrame, datetime]], through: date) -> pd.DataFrame:
    """The points of pools' charts (id, chart, when it was seen) up to and including `through`, in POINT_COLUMNS.

    One point per pool and UTC day: of several on one day the last by timestamp stays. Null, negative and absurd APYs
    are kept as they came; a negative or infinite TVL becomes unknown. A point whose day was not over when it was seen
    is provisional.
    """
    told = [(pool_id, chart, seen_at) for pool_id, chart, seen_at in charts if len(chart)]
    if not told:
        return pd.DataFrame(columns=list(POINT_COLUMNS))
    lengths = [len(chart) for _, chart, _ in told]
    rows = pd.concat([chart for _, chart, _ in told], ignore_index=True).assign(
        chart=np.repeat(np.arange(len(told)), lengths)
    )
    stamps, own = rows["ts"].to_numpy(), rows["chart"].to_numpy()
    if ((stamps[1:] < stamps[:-1]) & (own[1:] == own[:-1])).any():
        rows = rows.sort_values(["chart", "ts"], kind="stable", ignore_index=True)
    days = rows["date"].to_numpy()
    is_last = np.append((days[1:] != days[:-1]) | (own[1:] != own[:-1]), True)
    kept = rows[is_last & (days <= through)]
    which = kept["chart"].to_numpy()
    points = pd.DataFrame(
        {
            "pool_id": np.array([pool_id for pool_id, _, _ in told], dtype=object)[which],
            "date": kept["date"].to_numpy(),
            **{column: _finite(kept[column]).to_numpy() if column in kept else np.nan for column in (*VALUES, "il_7d")},
            "seen_at": pd.DatetimeIndex([seen_at for _, _, seen_at in told])[which],
        }
    )
    seen_on = np.array([utc_day(seen_at) for _, _, seen_at in told], dtype=object)[which]
    return _finish(points, "chart", seen_on)


def history_from_snapshot(pools: pd.DataFrame, pool_ids: Collection[str], seen_at: datetime) -> pd.DataFrame:
    """The day's point of the named pools from the `pools` snapshot, in POINT_COLUMNS; `il_7d` is unknown there.

    A stale row is an old observation and makes no point: it is not known what the pool did on the day.
    """
    chosen = pools[pools["pool_id"].isin(list(pool_ids)) & ~pools["is_stale"].astype(bool)]
    if chosen.empty:
        return pd.DataFrame(columns=list(POINT_COLUMNS))
    points = pd.DataFrame({"pool_id": chosen["pool_id"], "date": chosen["snapshot_date"]})
    for column in VALUES:
        points[column] = _finite(chosen[column])
    points["il_7d"] = np.nan
    points["seen_at"] = seen_at
    return _finish(points, "snapshot", utc_day(seen_at)).sort_values(["pool_id", "date"], ignore_index=True)


def merge_points(chart_points: pd.DataFrame, snapshot_points: pd.DataFrame) -> pd.DataFrame:
    """Both kinds of points as one incoming batch; where both know a (pool, date) the snapshot's point counts."""
    frames = [frame for frame in (snapshot_points, chart_points) if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(POINT_COLUMNS))
    merged = pd.concat(frames, ignore_index=True).drop_duplicates(["pool_id", "date"], keep="first")
    return merged.sort_values(["pool_id", "date"]).reset_index(drop=True)


def new_revisions(existing: pd.DataFrame, incoming: pd.DataFrame) -> pd.DataFrame:
    """The rows of `incoming` that must be upserted into `pool_histories`, with their revision numbers.

    `existing`: all stored revisions of the pools and days of `incoming` (more does no harm). `incoming`:
    POINT_COLUMNS, at most one row per (pool, date). An incoming point that equals the newest stored value, or the
    value that was newest when it was seen, is nothing new, so that repeating a day or a range writes nothing. A
    different one becomes the next revision. A provisional newest value is replaced in place (same revision) by what
    is seen later; a provisional point never follows or replaces a final one.
    """
    if incoming.empty:
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))
    if incoming.duplicated(["pool_id", "date"]).any():
        raise ValueError("incoming points: more than one row for a pool and date")
    batch = incoming.reset_index(drop=True)
    if existing.empty:
        batch["revision"] = 0
        return batch[list(HISTORY_COLUMNS)].sort_values(["pool_id", "date"], ignore_index=True)
    newest, then_newest, highest = _newest(existing, batch)
    is_new = newest["revision"].isna()
    is_repeat = same_values(batch, newest) | same_values(batch, then_newest)
    was_provisional = newest["is_provisional"].eq(True)
    incoming_provisional = batch["is_provisional"].astype(bool)
    is_later = _stamps(batch["seen_at"]) >= _stamps(newest["seen_at"])
    becomes_final = was_provisional & ~incoming_provisional
    in_place = ~is_new & was_provisional & is_later & (becomes_final | ~is_repeat)
    appended = ~is_new & ~is_repeat & ~was_provisional & ~incoming_provisional
    revision = np.where(is_new, 0, np.where(in_place, newest["revision"], highest + 1))
    batch["revision"] = np.nan_to_num(revision.astype(float)).astype(int)
    chosen = batch[is_new | in_place | appended]
    return chosen[list(HISTORY_COLUMNS)].sort_values(["pool_id", "date"]).reset_index(drop=True)


def known_view(revisions: pd.DataFrame, known_at: datetime) -> pd.DataFrame:
    """One row per (pool, date) as known at an instant, in VIEW_COLUMNS.

    That is the highest revision with `seen_at` <= known_at; where there is none, the lowest revision with
    `is_hindsight` True.
    """
    if revisions.empty:
        return pd.DataFrame(columns=list(VIEW_COLUMNS))
    frame = revisions[list(HISTORY_COLUMNS)].copy()
    frame["is_hindsight"] = (_stamps(frame["seen_at"]) > pd.Timestamp(known_at)).to_numpy()
    # Known rows first, highest revision first; behind them the unknown ones, lowest first.
    frame["_rank"] = np.where(frame["is_hindsight"], frame["revision"], -frame["revision"])
    frame = frame.sort_values(["pool_id", "date", "is_hindsight", "_rank"], kind="stable")
    return frame.drop_duplicates(["pool_id", "date"])[list(VIEW_COLUMNS)].reset_index(drop=True)


def tracked_pools(
    prefiltered: pd.DataFrame, held: pd.DataFrame, days: DayRange, followed: Collection[str] = ()
) -> pd.DataFrame:
    """Which pools are followed on which day, [date, pool_id]: those that passed the pre-filter and those that we hold.

    `held` has columns date and pool_id: pools whose shares a wallet holds on chain at the end of that day. A day
    without
    any pre-filter verdict (a backfill of days before the first run) follows all of `followed`. Only facts of the day
    decide, so that a re-run of a day follows the same pools.
    """
    key = ["date", "pool_id"]
    passed = prefiltered.loc[prefiltered["is_passed"].astype(bool), key] if len(prefiltered) else None
    judged = set(prefiltered["date"]) if len(prefiltered) else set()
    before = [(day, pool_id) for day in days if day not in judged for pool_id in followed]
    parts = [part for part in (passed, pd.DataFrame(before, columns=key, dtype=object), held) if part is not None]
    rows = pd.concat([part[key].astype(object) for part in parts if len(part)] or [pd.DataFrame(columns=key)])
    day, known_days = pd.factorize(rows["date"], sort=True)
    pool, pool_ids = pd.factorize(rows["pool_id"], sort=True)
    is_inside = np.array([known in days for known in known_days], dtype=bool)[day]
    pairs = np.unique(day[is_inside] * max(1, len(pool_ids)) + pool[is_inside])  # ascending by day, then by pool
    told = {"date": known_days, "pool_id": pool_ids}
    places = dict(zip(key, np.divmod(pairs, max(1, len(pool_ids))), strict=True))
    return pd.DataFrame({name: np.asarray(told[name], dtype=object)[places[name]] for name in key}, dtype=object)


def pools_to_request(
    tracked: Iterable[str],
    existing: pd.DataFrame,
    days: DayRange,
    gap_days: int,
    *,
    held: Iterable[str] = (),
    snapshots: pd.DataFrame | None = None,
    known_by: datetime | None = None,
) -> list[str]:
    """Ids whose chart must be asked for, once for the whole range, sorted: new pools, pools with a gap, held pools.

    `existing`: stored revisions from 30 days before `days` on; a pool without a row in it before `days.end` is new.
    `snapshots`: the `pools` slices of `days`, whose points need no chart. A gap is a run of more than `gap_days` days
    without a point between 30 days before the range (or the pool's first known point since) and the end of the range.
    A pool that lacks a day of the range is asked again if by `known_by` (the cutoff before the range) it was new or
    had a gap: so a range whose rows were lost asks what it asked before, and gets the same points.
    """
    wanted = set(tracked) | set(held)
    fresh = _days_by_pool(snapshots, "snapshot_date", wanted, days)
    stored = _days_by_pool(existing, "date", wanted, days.back(30))
    requested = set(held) | _silent(wanted, stored, fresh, days, gap_days)
    if known_by is not None and len(existing):
        earlier = existing[_stamps(existing["seen_at"]) <= pd.Timestamp(known_by)]
        lacking = {pool_id for pool_id in wanted if set(days) - stored[pool_id] - fresh[pool_id]}
        requested |= lacking & _silent(
            lacking, _days_by_pool(earlier, "date", lacking, days.back(30)), fresh, days, gap_days
        )
    return sorted(requested)


def _days_by_pool(rows: pd.DataFrame | None, column: str, pool_ids: set[str], days: DayRange) -> dict[str, set[date]]:
    """The days of the range for which there are rows, by pool."""
    seen: dict[str, set[date]] = {pool_id: set() for pool_id in pool_ids}
    if rows is not None and len(rows):
        for pool_id, day in zip(rows["pool_id"], rows[column], strict=True):
            if pool_id in seen and day in days:
                seen[pool_id].add(day)
    return seen


def _silent(
    pool_ids: set[str], stored: dict[str, set[date]], fresh: dict[str, set[date]], days: DayRange, gap_days: int
) -> set[str]:
    """Pools that are new, or silent for longer than `gap_days`."""
    window = list(days.back(30))
    new = {pool_id for pool_id in pool_ids if not stored[pool_id] - {days.end}}
    known = {pool_id: stored[pool_id] | fresh[pool_id] for pool_id in pool_ids - new}
    return new | {pool_id for pool_id, dates in known.items() if _longest_silence(dates, window) > gap_days}


def _longest_silence(dates: set[date], window: list[date]) -> int:
    """Longest run of days without a point, counted from the first known point on."""
    first, longest, current = min(dates), 0, 0
    for day in window:
        current = 0 if day in dates or day < first else current + 1
        longest = max(longest, current)
    return longest


def _finish(points: pd.DataFrame, source: str, seen_on: date | NDArray[np.object_]) -> pd.DataFrame:
    points["tvl_usd"] = points["tvl_usd"].where(points["tvl_usd"] >= 0)
    points["is_provisional"] = (points["date"] >= seen_on).astype(bool)
    points["source"] = source
    return points[list(POINT_COLUMNS)]


def _finite(values: pd.Series) -> pd.Series:
    numbers = values if values.dtype == np.float64 else pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))


def _stamps(values: pd.Series) -> pd.Series:
    return pd.to_datetime(values, utc=True)


def _newest(existing: pd.DataFrame, batch: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Beside each incoming row: the newest stored one, the newest one seen by then, and the highest revision number."""
    key = ["pool_id", "date"]
    joined = batch[key].assign(row=batch.index, then=_stamps(batch["seen_at"])).merge(existing, on=key)
    joined["stamp"] = _stamps(joined["seen_at"])
    # A later sight beats a higher number: after a range a re-run of one of its days appends an older sight.
    joined = joined.sort_values(["row", "stamp", "revision"], kind="stable")
    newest = joined.drop_duplicates("row", keep="last").set_index("row").reindex(batch.index)
    by_then = joined[joined["stamp"] <= joined["then"]]
    then_newest = by_then.drop_duplicates("row", keep="last").set_index("row").reindex(batch.index)
    highest = joined.groupby("row")["revision"].max().reindex(batch.index)
    return newest, then_newest, highest


def same_values(left: pd.DataFrame, right: pd.DataFrame) -> pd.Series:
    """Row by row: all values equal, null equal to null; False where the right side has no row."""
    same = right["revision"].notna()
    for column in VALUES:
        ours, theirs = left[column].astype(float), right[column].astype(float)
        same &= (ours == theirs) | (ours.isna() & theirs.isna())
    ours, theirs = left["il_7d"].astype(float), right["il_7d"].astype(float)
    # The snapshot never knows il_7d: unknown contradicts nothing.
    return same & ((ours == theirs) | ours.isna() | theirs.isna())
