"""Checks of pools: what should be there is there. Doubts, not blocks: invariants are checked before each write."""

import dagster as dg
import pandas as pd

from defiyield_assets.domain.pools.crosschecks import DEAD_SHARE, LEG_TOLERANCE, dead_series, leg_gaps
from defiyield_assets.orchestration.followed_pools import tracked_on
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 20


@dg.asset_check(asset="pool_histories", partitions_def=DAILY)
def has_every_tracked_pool(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every pool that is followed on a day has a point of that day; a range is one run, and so is its check."""
    days = day_range(context)
    tracked = tracked_on(warehouse, days)[["date", "pool_id"]]
    points = reads.pool_history_revisions(warehouse.engine, days)[["date", "pool_id"]]
    seen = set(points.itertuples(index=False, name=None))
    absent = sorted(pair for pair in tracked.itertuples(index=False, name=None) if pair not in seen)
    listed = pd.DataFrame(absent, columns=["date", "pool_id"])
    return dg.AssetCheckResult(
        passed=not absent,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "tracked": len(tracked),
            "absent": len(absent),
            "listed": preview(listed, SHOWN),
        },
    )


@dg.asset_check(asset="pools", partitions_def=DAILY)
def supply_less_borrow_equals_tvl(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Supply less borrow (`/lendBorrow`) of a lending pool is its value locked (`/pools`), within 5 % of the supply."""
    apart, n_compared = leg_gaps(reads.read_days(warehouse.engine, schema.pools, day_range(context)))
    return dg.AssetCheckResult(
        passed=apart.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(apart)} of {n_compared} lending pools miss by more than {LEG_TOLERANCE:.0%} of their supply",
        metadata={
            "compared": n_compared,
            "apart": len(apart),
            "tolerance": LEG_TOLERANCE,
            "listed": preview(apart, SHOWN),
        },
    )


@dg.asset_check(asset="pool_quality", partitions_def=DAILY)
def series_are_alive(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """At most a tenth of the followed series stand still, have a gap or tell nothing: more is the vendor's trouble."""
    dead, n_followed = dead_series(reads.read_days(warehouse.engine, schema.pool_quality, day_range(context)))
    share = len(dead) / n_followed if n_followed else 0.0
    return dg.AssetCheckResult(
        passed=share <= DEAD_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(dead)} of {n_followed} followed series ({share:.1%}) stand still or are missing",
        metadata={"followed": n_followed, "dead": len(dead), "level": DEAD_SHARE, "listed": preview(dead, SHOWN)},
    )
