"""Small pool histories for tests: one line per pool instead of a table."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.pools.histories import HISTORY_COLUMNS

DAY = date(2025, 6, 2)


def revisions(
    series: Mapping[str, Sequence[float | None]],
    *,
    last: date = DAY,
    tvl: float | Mapping[str, Sequence[float | None]] | None = None,
    seen_at: datetime | None = None,
    revision: int = 0,
) -> pd.DataFrame:
    """Histories that end on `last`, one APY a day, seen at the stamp of each point's own day; ... leaves a day out."""
    rows = []
    for pool_id, values in series.items():
        sizes = tvl[pool_id] if isinstance(tvl, Mapping) else [tvl] * len(values)
        for index, (apy, size) in enumerate(zip(values, sizes, strict=True)):
            if apy is ...:
                continue
            day = last - timedelta(days=len(values) - 1 - index)
            value = np.nan if apy is None else apy
            tvl_usd = 1e6 + index if size is None else size
            stamp = seen_at or market_stamp(day)
            rows.append((pool_id, day, revision, value, value, np.nan, tvl_usd, np.nan, False, "chart", stamp))
    return pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))


def tracked(pool_ids: Sequence[str], days: DayRange) -> pd.DataFrame:
    """Every named pool on every day."""
    return pd.DataFrame([(day, name) for day in days for name in pool_ids], columns=["date", "pool_id"], dtype=object)


def together(*tables: pd.DataFrame) -> pd.DataFrame:
    """Several histories as one table."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


NO_LEGS = pd.DataFrame(columns=["snapshot_date", "pool_id", "total_supply_usd", "total_borrow_usd"])
