"""Checks of gas: what the vendor and the node say of the same hours. Doubts, not blocks: a plan uses one source."""

import dagster as dg

from defiyield_assets.domain.gas.sources import AGREEMENT, MIN_DIFFERENCE_GWEI, fee_disagreements
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 24


@dg.asset_check(asset="gas_fees_hourly", partitions_def=DAILY)
def gas_sources_agree(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """EthGasTracker's and the node's mean base fee of an hour differ by at most 10 % or 0.02 gwei."""
    hourly = reads.read_days(warehouse.engine, schema.gas_fees_hourly, day_range(context))
    apart, n_hours = fee_disagreements(hourly)
    return dg.AssetCheckResult(
        passed=apart.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(apart)} of {n_hours} hours differ" if n_hours else "one source: nothing was compared",
        metadata={
            "hours": n_hours,
            "apart": len(apart),
            "tolerance": AGREEMENT,
            "least_gwei": MIN_DIFFERENCE_GWEI,
            "listed": preview(apart, SHOWN),
        },
    )
