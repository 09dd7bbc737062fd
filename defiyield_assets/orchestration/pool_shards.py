"""A table of pools by day whose work fans out over the executor: as many steps as DEFIYIELD_POOL_SHARDS says.

Lives here: `in_shards`, the graph that stands for an asset of pools where more than one worker is to measure them. Not
here: what a shard measures (pool_bundles.py), where steps run (executors.py), the setting (settings.py).

What is guaranteed. Keys, rows, receipt, checks and outcomes are those of the plain asset, whatever the number of shards
is: bundles of pools do not depend on it, and a shard is some of them. A bundle's part of the slice is replaced in one
transaction, and only these pools' rows: a reader sees a bundle as it was or as it is now, never half of it. The slice
as a whole is whole when the asset is materialised; from the first write until then its days stand in `asset_outcomes`
as failed (SHARDS_UNDER_WAY), so that whoever reads beside the run, or after one that was killed, is told. A shard that
failed is run again alone (Dagster's re-execution from failure); it and a run of everything write the same rows.
"""

import inspect
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.declarations import is_last_attempt, tell_step, watched
from defiyield_assets.orchestration.failures import Outcome, outcomes, record_outcomes
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import RETRY_SHARD
from defiyield_assets.orchestration.pool_bundles import Measured, PoolWork
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, writes

SHARDS_UNDER_WAY = "ShardsUnderWay"
"""`error_class` of days whose slice is being replaced part by part."""


def in_shards(plain: dg.AssetsDefinition, measured: Measured, shards: int) -> dg.AssetsDefinition:
    """The asset `plain` as a graph: name the shards, measure each in a step of its own, tell of the whole."""
    table = measured.table
    spec = next(iter(plain.specs))
    parents = {dep.asset_key.to_user_string(): dep for dep in spec.deps}

    @dg.op(
        name=f"{table.name}_shards",
        ins={name: dg.In(dg.Nothing) for name in parents},
        out=dg.DynamicOut(dict),
        description="Cut the pools, remove rows of pools that are no longer followed, and say that work is under way.",
    )
    def name_shards(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.DynamicOutput]:
        tell_step(table.name, "started", 0.0)
        days = day_range(context)
        with outcomes(warehouse.engine, table.name, days, context.log, is_last_attempt=True):
            plan = _planned(measured, warehouse, days)
        for shard in range(shards):
            mine = list(range(shard, plan["bundles"], shards))
            if mine:
                yield dg.DynamicOutput({**plan, "numbers": mine}, mapping_key=str(shard))

    @dg.op(
        name=f"{table.name}_shard",
        out=dg.Out(list),
        retry_policy=RETRY_SHARD,
        description="Measure the pools of some bundles and replace their part of the slice.",
    )
    def measure_shard(
        context: dg.OpExecutionContext, warehouse: WarehouseResource, plan: dict[str, Any]
    ) -> list[dict[str, Any]]:
        days, is_last = day_range(context), is_last_attempt(context, RETRY_SHARD)
        with outcomes(warehouse.engine, table.name, days, context.log, is_last_attempt=is_last):
            return _measured(measured, warehouse, days, plan)

    @watched(table.name)
    def tell(
        context: dg.OpExecutionContext, warehouse: WarehouseResource, parts: list[list[dict[str, Any]]]
    ) -> dg.MaterializeResult:
        found = sorted((one for part in parts for one in part), key=lambda one: one["number"])
        receipts = [writes.WriteReceipt(**one["receipt"]) for one in found]
        filled = [receipt for receipt in receipts if receipt.rows] or receipts
        receipt = filled[0] if len(filled) == 1 else writes.together(table, filled)
        return measured.tell(warehouse, receipt, day_range(context))

    @dg.op(name=f"{table.name}_whole", out=dg.Out(dg.Nothing), description="Say that the slice is whole.")
    def tell_whole(
        context: dg.OpExecutionContext, warehouse: WarehouseResource, parts: list[list[dict[str, Any]]]
    ) -> dg.Output:
        result = tell(context, warehouse=warehouse, parts=parts)
        return dg.Output(None, metadata=dict(result.metadata or {}))

    def compose(**inputs: Any) -> Any:
        return tell_whole(name_shards(**inputs).map(measure_shard).collect())

    # Dagster reads a graph's inputs from the signature: one for each asset that this one rests on.
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in parents]
    compose.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    declare = dg.graph_asset(
        name=table.name,
        description=spec.description,
        ins={
            name: dg.AssetIn(dep.asset_key, partition_mapping=dep.partition_mapping, dagster_type=dg.Nothing)
            for name, dep in parents.items()
        },
        partitions_def=plain.partitions_def,
        backfill_policy=plain.backfill_policy,
        group_name=spec.group_name,
        metadata=dict(spec.metadata),
        tags=dict(spec.tags),
        owners=list(spec.owners),
        kinds=set(spec.kinds),
    )
    made: dg.AssetsDefinition = declare(compose)
    return made


def _planned(measured: Measured, warehouse: WarehouseResource, days: DayRange) -> dict[str, Any]:
    """How many bundles there are, and of what; rows of pools that nobody measures any more are gone then."""
    work = PoolWork.of(warehouse, days)
    underway = Outcome("failed", SHARDS_UNDER_WAY, "its pools are being written part by part: the slice is not whole")
    record_outcomes(warehouse.engine, measured.table.name, days, dict.fromkeys(days, underway))
    _remove_strays(measured, warehouse.engine, work)
    return {"bundles": len(work.bundles), "fingerprint": work.fingerprint}


def _remove_strays(measured: Measured, engine: sa.Engine, work: PoolWork) -> None:
    """Delete the rows of pools that no bundle replaces."""
    table, measured_pools = measured.table, {pool for bundle in work.bundles for pool in bundle.pool_ids}
    strays: set[str] = set()
    for day in work.days:
        stored = reads.read_columns(engine, table, DayRange.of(day), columns=["pool_id"])["pool_id"]
        strays |= set(stored) - measured_pools
    if strays:
        nothing = pd.DataFrame(columns=[column.name for column in table.columns])
        writes.replace_slice(engine, table, nothing, work.days, where={"pool_id": sorted(strays)})


def _measured(
    measured: Measured, warehouse: WarehouseResource, days: DayRange, plan: dict[str, Any]
) -> list[dict[str, Any]]:
    """Replace the parts of the shard's bundles; their receipts by number."""
    work = PoolWork.of(warehouse, days)
    if (len(work.bundles), work.fingerprint) != (plan["bundles"], plan["fingerprint"]):
        raise SuspiciousDataError(
            f"{measured.table.name} of {days.start}..{days.end}: other pools are followed than when the shards were "
            f"named (prefiltered_pools or chain_balances were made again meanwhile): materialise it again, as a whole"
        )
    told = []
    for bundle in (work.bundles[number] for number in plan["numbers"]):
        rows = measured.rows(work, bundle)
        receipt = writes.replace_slice(warehouse.engine, measured.table, rows, days, where={"pool_id": bundle.pool_ids})
        told.append({"number": bundle.number, "receipt": asdict(receipt)})
    return told
