"""Daily supply, borrow and rates of lending pools: from charts and snapshots to points.

Lives here: which points of an answer count. Not here: whose chart must be asked, and when a day's point is provisional
(histories.py).
"""

from collections.abc import Collection
from datetime import date, datetime

import pandas as pd

from defiyield_assets.domain.days import utc_day

LEGS = ("total_supply_usd", "total_borrow_usd", "apy_base", "apy_reward", "apy_base_borrow", "apy_reward_borrow")
LENDING_COLUMNS = ("pool_id", "date", *LEGS, "seen_at")


def lending_from_chart(chart: pd.DataFrame, pool_id: str, through: date, seen_at: datetime) -> pd.DataFrame:
    """The points of one pool's lending chart up to `through`, the last of each UTC day, in LENDING_COLUMNS.

    A point whose day was not over at `seen_at` is left out: what is kept here is kept for good.
    """
    if chart.empty:
        return pd.DataFrame(columns=list(LENDING_COLUMNS))
    over = chart[(chart["date"] <= through) & (chart["date"] < utc_day(seen_at))]
    points = over.sort_values("ts", kind="stable").drop_duplicates("date", keep="last")
    return points.assign(pool_id=pool_id, seen_at=seen_at)[list(LENDING_COLUMNS)].reset_index(drop=True)


def lending_from_snapshot(pools: pd.DataFrame, pool_ids: Collection[str]) -> pd.DataFrame:
    """The day's points of the named lending pools from the `pools` snapshot; it knows no rates of borrowers."""
    is_told = pools["total_supply_usd"].notna() & ~pools["is_stale"].astype(bool)
    told = pools[pools["pool_id"].isin(list(pool_ids)) & is_told]
    points = told.rename(columns={"snapshot_date": "date", "observed_at": "seen_at"})
    points = points.assign(apy_base_borrow=float("nan"), apy_reward_borrow=float("nan"))
    return points[list(LENDING_COLUMNS)].reset_index(drop=True)
