"""Windows of days over matrices [pool, day]: each window is computed from its own values only.

Lives here: the arithmetic that quality and metrics share, and the loop over what was known on each day. Not here: the
rules. No running sums: the result of a day must not depend, to the last bit, on how many days were loaded before it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.pools.histories import known_view

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

LOOKBACK_DAYS = 60
"""Days of history before the first wanted day that the rules read: 30 of yesterday's window and 30 more for its
spikes."""
MAD_TO_SIGMA = 1.4826
"""Scales a median absolute deviation to the standard deviation of a normal distribution (Rousseeuw & Croux 1993)."""
MIN_SPIKE_DAYS = 7
"""With fewer observed days before it, no value is called a spike."""
SPIKE_WINDOW = 30
POOLS_AT_ONCE = 128
NEVER = np.iinfo(np.int64).min
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Panel:
    """Values as known, one row per pool and one column per day; null where there is no point.

    `wanted` columns at the right end are the days that the caller asked for; the others are their history.
    `is_hindsight` marks, per wanted day and pool, whether any point of the lookback was seen after that day's cutoff.
    """

    pool_ids: tuple[str, ...]
    days: tuple[date, ...]
    wanted: int
    apy: Floats
    apy_base: Floats
    apy_reward: Floats
    tvl_usd: Floats
    has_point: Flags
    is_hindsight: Flags


def panels(
    revisions: pd.DataFrame, tracked: pd.DataFrame, days: DayRange, hindsight_days: int = LOOKBACK_DAYS
) -> Iterator[Panel]:
    """The histories of the tracked pools as panels in which every wanted day sees what was known at its own cutoff.

    Pools without a second revision of any point have the same values at every cutoff and share one panel for the
    whole range; only pools with revisions are looked at day by day. `hindsight_days` is how far back a late point
    taints a day.
    """
    followed = tracked[tracked["date"].isin(list(days))]
    pool_ids = sorted(set(followed["pool_id"]))
    reach = DayRange(days.start - timedelta(days=LOOKBACK_DAYS), days.end)
    rows = revisions
    if len(rows):
        dates = rows["date"].to_numpy()
        rows = rows[(dates >= reach.start) & (dates <= reach.end) & rows["pool_id"].isin(pool_ids).to_numpy()]
    is_revised = rows.duplicated(["pool_id", "date"], keep=False) if len(rows) else pd.Series(dtype=bool)
    revised = set(rows.loc[is_revised, "pool_id"]) if len(rows) else set()
    plain = [pool_id for pool_id in pool_ids if pool_id not in revised]
    by_pool = {str(pool_id): found for pool_id, found in rows.groupby("pool_id")} if len(rows) else {}
    for start in range(0, len(plain), POOLS_AT_ONCE):
        chunk = plain[start : start + POOLS_AT_ONCE]
        yield _panel(_rows_of(by_pool, chunk, rows), chunk, days, hindsight_days)
    edited = sorted(revised)
    changed = _rows_of(by_pool, edited, rows)
    for day in days if edited else ():
        view = known_view(changed[changed["date"].isin(list(DayRange.of(day).back(LOOKBACK_DAYS)))], cutoff(day))
        for start in range(0, len(edited), POOLS_AT_ONCE):
            chunk = edited[start : start + POOLS_AT_ONCE]
            yield _panel(view[view["pool_id"].isin(chunk)], chunk, DayRange.of(day), hindsight_days)


def _rows_of(by_pool: Mapping[str, pd.DataFrame], pool_ids: list[str], rows: pd.DataFrame) -> pd.DataFrame:
    found = [by_pool[pool_id] for pool_id in pool_ids if pool_id in by_pool]
    return pd.concat(found, ignore_index=True) if found else rows.iloc[0:0]


def _panel(view: pd.DataFrame, pool_ids: list[str], days: DayRange, hindsight_days: int) -> Panel:
    """One value per (pool, date) laid out as matrices; hindsight from `seen_at` against each wanted day's cutoff."""
    reach = days.back(LOOKBACK_DAYS)
    shape = (len(pool_ids), len(reach))
    place = {pool_id: index for index, pool_id in enumerate(pool_ids)}
    column_of = {day: index for index, day in enumerate(reach)}
    kept = view[view["date"].isin(list(reach))] if len(view) else view
    at = (kept["pool_id"].map(place).to_numpy(dtype=int), kept["date"].map(column_of).to_numpy(dtype=int))

    def matrix(column: str) -> Floats:
        values = np.full(shape, np.nan)
        values[at] = kept[column].to_numpy(dtype=float)
        return values

    has_point = np.zeros(shape, dtype=bool)
    has_point[at] = True
    seen = np.full(shape, NEVER, dtype=np.int64)
    seen[at] = _epoch(pd.to_datetime(kept["seen_at"], utc=True)) if len(kept) else 0
    newest = trailing(seen, hindsight_days + 1, NEVER)[:, -len(days) :].max(axis=-1)
    cutoffs = _epoch(pd.Series([pd.Timestamp(cutoff(day)) for day in days]))
    return Panel(
        tuple(pool_ids),
        tuple(reach),
        len(days),
        matrix("apy"),
        matrix("apy_base"),
        matrix("apy_reward"),
        matrix("tvl_usd"),
        has_point,
        newest > cutoffs[None, :],
    )


def _epoch(stamps: pd.Series) -> Counts:
    """Microseconds since 1970."""
    naive = stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    epoch: Counts = naive.astype("datetime64[us]").astype(np.int64)
    return epoch


def trailing(values: npt.NDArray[Scalar], width: int, fill: object = np.nan) -> npt.NDArray[Scalar]:
    """For each (pool, day) the `width` values ending that day, oldest first; before the first column `fill`."""
    padding = np.full((values.shape[0], width - 1), fill, dtype=values.dtype)
    padded = np.concatenate([padding, values], axis=1)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, width, axis=1))


def mean(values: Floats, width: int) -> Floats:
    """Mean of the observed values of the last `width` days; null when none was observed."""
    windows = trailing(values, width)
    count = np.isfinite(windows).sum(axis=-1)
    return _divide(np.nansum(windows, axis=-1), count)


def deviation(values: Floats, width: int, minimum: int = 3) -> Floats:
    """Sample standard deviation (ddof 1) of the observed values of the last `width` days; null below `minimum`
    values."""
    windows = trailing(values, width)
    count = np.isfinite(windows).sum(axis=-1)
    centre = _divide(np.nansum(windows, axis=-1), count)
    squares = np.nansum((windows - centre[..., None]) ** 2, axis=-1)
    return np.where(count >= minimum, np.sqrt(_divide(squares, count - 1)), np.nan)


def decayed_mean(values: Floats, width: int, half_life: float) -> Floats:
    """Weighted mean of the observed values of the last `width` days, weight 0.5 ** (age in days / half_life)."""
    windows = trailing(values, width)
    weights = 0.5 ** (np.arange(width - 1, -1, -1) / half_life)
    total = (np.isfinite(windows) * weights).sum(axis=-1)
    return _divide(np.nansum(windows * weights, axis=-1), total)


def counted(flags: Flags, width: int) -> Counts:
    """How many of the last `width` days are flagged."""
    result: Counts = trailing(flags, width, fill=False).sum(axis=-1).astype(np.int64)
    return result


def before(values: Floats, lag: int = 1) -> Floats:
    """The values `lag` days earlier; null for the first columns."""
    shifted = np.full_like(values, np.nan)
    shifted[:, lag:] = values[:, :-lag]
    return shifted


def median(windows: Floats) -> tuple[Floats, Counts]:
    """Median of the observed values along the last axis, and how many there are; null when there are none."""
    count = np.isfinite(windows).sum(axis=-1)
    ordered = np.sort(windows, axis=-1)  # null sorts to the end
    low = np.maximum((count - 1) // 2, 0)[..., None]
    high = np.minimum(count // 2, windows.shape[-1] - 1)[..., None]
    middle = (np.take_along_axis(ordered, low, -1) + np.take_along_axis(ordered, high, -1))[..., 0] / 2.0
    return np.where(count > 0, middle, np.nan), count


def spike_threshold(apy: Floats, multiple: float, robust_z: float) -> Floats:
    """The APY above which a value is a spike, from the 30 days before it; infinite where nothing can be said.

    A spike is above `multiple` times the median AND more than `robust_z` robust z-scores above it, with z = (x -
    median) / (1.4826 * MAD) (Iglewicz & Hoaglin 1993), so the threshold is the larger of the two limits. When the MAD
    is 0 every value above the median is infinitely many z away and the multiple alone decides. When the median is not
    positive a multiple of it has no meaning (a pool that paid nothing begins to pay), and below 7 observed days there
    is no history: no spike.
    """
    earlier = trailing(before(apy), SPIKE_WINDOW)
    centre, count = median(earlier)
    spread, _ = median(np.abs(earlier - centre[..., None]))
    threshold = np.maximum(multiple * centre, centre + robust_z * MAD_TO_SIGMA * spread)
    known = (count >= MIN_SPIKE_DAYS) & (centre > 0)
    return np.where(known, threshold, np.inf)


def winsorised(apy: Floats, multiple: float, robust_z: float, plausible_max: float) -> Floats:
    """APY as statistics and forecasts use it: cut at the spike threshold and at the plausible maximum; null stays
    null."""
    limit = np.minimum(spike_threshold(apy, multiple, robust_z), plausible_max)
    return np.where(np.isnan(apy), np.nan, np.minimum(apy, limit))


def collect(found: Iterable[pd.DataFrame], tracked: pd.DataFrame) -> pd.DataFrame:
    """The rows of all panels for the tracked (date, pool) pairs, sorted by key; an empty frame when nothing is
    tracked."""
    frames = list(found)
    if not frames:
        return pd.DataFrame()
    pairs = tracked[["date", "pool_id"]].drop_duplicates()
    rows = pairs.merge(pd.concat(frames, ignore_index=True), on=["date", "pool_id"])
    return rows.sort_values(["date", "pool_id"]).reset_index(drop=True)


def flatten(panel: Panel, columns: Mapping[str, npt.NDArray[np.generic]]) -> pd.DataFrame:
    """The wanted days of some matrices as a long frame with date and pool_id; matrices may be full width or wanted
    width."""
    n_pools = len(panel.pool_ids)
    frame = pd.DataFrame(
        {
            "date": np.tile(np.array(panel.days[-panel.wanted :], dtype=object), n_pools),
            "pool_id": np.repeat(np.array(panel.pool_ids, dtype=object), panel.wanted),
        }
    )
    for name, values in columns.items():
        frame[name] = np.ascontiguousarray(values[:, -panel.wanted :]).reshape(-1)
    return frame


def _divide(numerator: Floats, denominator: npt.NDArray[np.number]) -> Floats:
    """Division with null where the denominator is not positive."""
    usable = denominator > 0
    quotient: Floats = np.where(usable, numerator / np.where(usable, denominator, 1), np.nan)
    return quotient
