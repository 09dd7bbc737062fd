"""Past values that a vendor changed, with what they were before, by the day that saw the change.

Lives here: which revisions a day reports. Not here: how a change becomes a revision (histories.py).
"""

from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import cutoff
from defiyield_assets.domain.pools.histories import VALUES, same_values

REVISION_COLUMNS = (
    "date",
    "pool_id",
    "point_date",
    "revision",
    "apy_before",
    "apy",
    "apy_change",
    "tvl_before_usd",
    "tvl_usd",
    "age_days",
    "source",
    "seen_at",
)


def revisions_seen(revisions: pd.DataFrame, day: date) -> pd.DataFrame:
    """The changes that belong to `day`, in REVISION_COLUMNS: seen after cutoff(day - 1) and by cutoff(day).

    So every change belongs to exactly one day, the first whose run could know it, whichever run saw it: a daily run at
    its time, a repair hours later, a range in one run (its last day), or a backfill years later. `revisions`: all
    revisions of the points in question (more does no harm). The value before is the one seen last before the change;
    a sight without an earlier one, or one that says the same, is no change.
    """
    if revisions.empty:
        return pd.DataFrame(columns=list(REVISION_COLUMNS))
    frame = revisions.assign(stamp=pd.to_datetime(revisions["seen_at"], utc=True))
    frame = frame[frame["stamp"] <= pd.Timestamp(cutoff(day))]
    frame = frame.sort_values(["pool_id", "date", "stamp", "revision"], kind="stable", ignore_index=True)
    before = frame.groupby(["pool_id", "date"], sort=False)[["revision", "il_7d", *VALUES]].shift()
    is_seen_now = frame["stamp"] > pd.Timestamp(cutoff(day) - pd.Timedelta(days=1))
    is_change = is_seen_now & (frame["revision"] > 0) & before["revision"].notna() & ~same_values(frame, before)
    changed, old = frame[is_change], before[is_change]
    return pd.DataFrame(
        {
            "date": day,
            "pool_id": changed["pool_id"],
            "point_date": changed["date"],
            "revision": changed["revision"].astype(np.int64),
            "apy_before": old["apy"],
            "apy": changed["apy"],
            "apy_change": changed["apy"] - old["apy"],
            "tvl_before_usd": old["tvl_usd"],
            "tvl_usd": changed["tvl_usd"],
            "age_days": [(day - point).days for point in changed["date"]],
            "source": changed["source"],
            "seen_at": changed["seen_at"],
        },
        columns=list(REVISION_COLUMNS),
    ).sort_values(["pool_id", "point_date", "revision"], ignore_index=True)
