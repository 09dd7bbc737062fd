"""Checks of pools: what should be there is there. Doubts, not blocks: invariants are checked before each write."""

import dagster as dg

from defiyield_assets.orchestration.assets.pools import tracked_on
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads


@dg.asset_check(asset="pool_histories", partitions_def=DAILY)
def has_every_tracked_pool(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every pool that is followed on a day has a point of that day; a range is one run, and so is its check."""
    days = day_range(context)
    tracked = tracked_on(warehouse, days)[["date", "pool_id"]]
    points = reads.pool_history_revisions(warehouse.engine, days)[["date", "pool_id"]]
    seen = set(points.itertuples(index=False, name=None))
    absent = sorted(pair for pair in tracked.itertuples(index=False, name=None) if pair not in seen)
    return dg.AssetCheckResult(
        passed=not absent,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "tracked": len(tracked),
            "absent": len(absent),
            "listed": [f"{day} {pool_id}" for day, pool_id in absent[:20]],
        },
    )
