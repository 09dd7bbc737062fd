"""Doubts about pools that two figures of one vendor, or many series at once, raise; nothing here blocks.

Lives here: supply less borrow against the value locked, and how many followed series are alive. Not here: what is wrong
with one pool's series (quality.py), prices (prices/curation.py) and gas (gas/sources.py) of two vendors.
"""

import pandas as pd

LEG_TOLERANCE = 0.05
"""Share of the supply by which supply less borrow may miss the value locked: the two answers are built minutes apart
from hourly adapters, and both are prices times amounts."""
DEAD_SHARE = 0.10
"""More followed series than this standing still or missing at once is the vendor's trouble, not a pool's."""


def leg_gaps(pools: pd.DataFrame, tolerance: float = LEG_TOLERANCE) -> tuple[pd.DataFrame, int]:
    """Lending pools whose supply less borrow is not the value locked, and how many there are to compare.

    Columns: snapshot_date, pool_id, project, symbol, tvl_usd, supply_less_borrow_usd, difference (fraction of the
    supply, signed). Pools without one of the three figures, or without supply, are not compared.
    """
    columns = ["snapshot_date", "pool_id", "project", "symbol", "tvl_usd", "supply_less_borrow_usd", "difference"]
    figures = pools[["total_supply_usd", "total_borrow_usd", "tvl_usd"]].astype(float)
    known = pools[figures.notna().all(axis=1) & (figures["total_supply_usd"] > 0)].copy()
    supply = known["total_supply_usd"].astype(float)
    known["supply_less_borrow_usd"] = supply - known["total_borrow_usd"].astype(float)
    known["difference"] = (known["supply_less_borrow_usd"] - known["tvl_usd"].astype(float)) / supply
    apart = known[known["difference"].abs() > tolerance]
    return apart[columns].sort_values(["snapshot_date", "pool_id"]).reset_index(drop=True), len(known)


def dead_series(quality: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Followed pools whose series stands still, has a gap or no data, and how many are followed.

    `quality`: rows of `pool_quality`. Columns: date, pool_id, reason_codes, reasons.
    """
    columns = ["date", "pool_id", "reason_codes", "reasons"]
    silent = quality["reason_codes"].str.split(",").map(lambda codes: bool({"NO_DATA", "NO_POINT"} & set(codes)))
    dead = quality[quality["is_stuck"].astype(bool) | quality["has_gap"].astype(bool) | silent.astype(bool)]
    return dead[columns].sort_values(["date", "pool_id"]).reset_index(drop=True), len(quality)
