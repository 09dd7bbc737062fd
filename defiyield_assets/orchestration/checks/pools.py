"""Checks of pools: what should be there is there. Doubts, not blocks: invariants are checked before each write."""

from datetime import date

import dagster as dg

from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.assets.pools import tracked_on
from defiyield_assets.orchestration.partitions import DAILY
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads


@dg.asset_check(asset="pool_histories", partitions_def=DAILY)
def has_every_tracked_pool(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every pool that is followed on the day has a point of the day."""
    only = DayRange.of(date.fromisoformat(context.partition_key))
    tracked = set(tracked_on(warehouse, only)["pool_id"])
    seen = set(reads.pool_history_revisions(warehouse.engine, only)["pool_id"])
    absent = sorted(tracked - seen)
    return dg.AssetCheckResult(
        passed=not absent,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"tracked": len(tracked), "absent": len(absent), "listed": absent[:20]},
    )
