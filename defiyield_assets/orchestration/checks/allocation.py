"""The blocking check of every plan: an independent replay in integers.

Lives here: wiring of domain/allocation/replay.py, which shares no code with the optimiser.
"""

from datetime import date

import dagster as dg

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.content import NO_PLAN, PUBLISHED
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import DAILY
from defiyield_assets.orchestration.reporting import OFFENDING_WIDTH, offending, plain
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.verification import replay_stored_plan
from defiyield_assets.store import reads, schema


@dg.asset_check(
    asset="allocation_steps", additional_deps=["allocation_runs", "allocations"], blocking=True, partitions_def=DAILY
)
def plan_replay(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """The published steps replay on the day's balances with zero error in base units, and every limit holds at
    the end.
    """
    day = date.fromisoformat(context.partition_key)
    engine, only = warehouse.engine, DayRange.of(day)
    runs = reads.read_days(engine, schema.allocation_runs, only)
    if runs.empty and why_ledger_is_unknown(engine, day) is not None:
        return dg.AssetCheckResult(passed=True, metadata={"status": NO_PLAN, "replayed": False})
    if len(runs) == 1 and runs.iloc[0]["status"] not in PUBLISHED:
        return dg.AssetCheckResult(passed=True, metadata={"status": str(runs.iloc[0]["status"]), "replayed": False})
    result = replay_stored_plan(warehouse, day)
    return dg.AssetCheckResult(
        passed=result.is_passed,
        description="; ".join(plain(error, OFFENDING_WIDTH) for error in result.errors[:3]) or None,
        metadata={
            "replayed": True,
            "errors": len(result.errors),
            "listed": offending(result.errors, "error"),
            "aum_before_usd": float(result.aum_before),
            "aum_after_usd": float(result.aum_after),
            "gas_usd": float(result.gas),
            "conversion_usd": float(result.conversion),
        },
    )
