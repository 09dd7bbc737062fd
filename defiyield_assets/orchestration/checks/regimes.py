"""Checks of regimes and learning targets: what learners and strategies must be able to rely on.

Lives here: reading what domain/market judges. Not here: the rules.
"""

import dagster as dg

from defiyield_assets.domain.market.learning import HORIZONS, LONGEST_DAYS, mistimed
from defiyield_assets.domain.market.regimes import mislabelled
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 20


@dg.asset_check(asset="market_regimes", partitions_def=DAILY)
def regimes_are_probabilities(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Probabilities of a market sum to one, its state is the most probable, and its model is older than its quarter."""
    regimes = reads.read_days(warehouse.engine, schema.market_regimes, day_range(context))
    broken = mislabelled(regimes).drop(columns="model_json")
    return dg.AssetCheckResult(
        passed=broken.empty,
        description=f"{len(broken)} of {len(regimes)} regimes are no probabilities",
        metadata={"regimes": len(regimes), "broken": len(broken), "listed": preview(broken, SHOWN)},
    )


@dg.asset_check(asset="feature_targets", partitions_def=DAILY)
def targets_are_known_when_they_end(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """No target is known before the last of its bars can be over, and all have the horizons there are."""
    targets = reads.read_days(warehouse.engine, schema.feature_targets, day_range(context))
    broken = mistimed(targets)
    return dg.AssetCheckResult(
        passed=broken.empty,
        description=f"{len(broken)} of {len(targets)} targets are known before they end, or span {LONGEST_DAYS}+ days",
        metadata={
            "targets": len(targets),
            "horizons": list(HORIZONS),
            "broken": len(broken),
            "listed": preview(broken, SHOWN),
        },
    )
