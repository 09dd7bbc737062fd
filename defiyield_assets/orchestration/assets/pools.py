"""Assets of pools: the day's snapshot, histories, quality, metrics, risk groups.

Lives here: wiring of domain/pools. Not here: which pools may be used (selection.py).
"""

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.histories import (
    history_from_chart,
    history_from_snapshot,
    new_revisions,
    pools_to_request,
)
from defiyield_assets.domain.pools.metrics import rolling_metrics
from defiyield_assets.domain.pools.quality import assess_quality
from defiyield_assets.domain.pools.snapshot import build_pools
from defiyield_assets.errors import VendorError
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.partitions import day_range, rolling
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, window_of
from defiyield_assets.sources.defillama_yields import DefiLlamaYields
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

WINDOW_DAYS = 60
"""Days of history that quality and metrics read before the first day of a range."""


@daily_asset(
    schema.pools,
    group="ingestion",
    phase=1,
    spec="vendors.md#defillama-yields",
    backfill=ONE_RUN,
    deps=["policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="defillama_yields",
)
def pools(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Every pool that DeFiLlama lists at the end of the day, with supply and borrow of lending pools.

    The source only knows "now": a past day comes from the archive or fails as not recoverable.
    """
    days = day_range(context)

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        client = DefiLlamaYields(gateway)
        frames = []
        for day in days:
            listed = await client.pools(window_of(day))
            legs = await client.lend_borrow(window_of(day))
            frames.append(build_pools(listed.rows, legs.rows, day, listed.fetched_at))
        return frames

    frame = pd.concat(market.ask(warehouse.engine, days.end, question), ignore_index=True)
    receipt = writes.replace_slice(warehouse.engine, schema.pools, frame, days)
    return report(receipt, frame, lending_pools_with_legs=int(frame["total_supply_usd"].notna().sum()))


def _tracked(warehouse: WarehouseResource, days: DayRange) -> list[str]:
    """Pools to follow: passed the pre-filter in the range (else on the nearest day before or after), or tracked already."""
    engine = warehouse.engine
    listed = reads.read_days(engine, schema.prefiltered_pools, days, where={"is_passed": True})
    if listed.empty:
        listed = reads.read_latest(engine, schema.prefiltered_pools, days.end, where={"is_passed": True})
    if listed.empty:
        listed = reads.read_all(engine, schema.prefiltered_pools, where={"is_passed": True})
    return sorted(set(listed["pool_id"]) | set(reads.tracked_pools(engine)))


def _held(warehouse: WarehouseResource, days: DayRange) -> set[str]:
    """Pools whose share token a wallet holds on chain at the end of the range."""
    balances = reads.read_days(warehouse.engine, schema.chain_balances, DayRange.of(days.end))
    contracts = reads.read_all(warehouse.engine, schema.pool_contracts)
    shares = {row.token_address for row in balances.itertuples() if row.balance > 0}
    return set(contracts.loc[contracts["share_token"].isin(shares), "pool_id"])


@daily_asset(
    schema.pool_histories,
    group="ingestion",
    phase=2,
    spec="defi.md#ingestion",
    backfill=ONE_RUN,
    deps=["prefiltered_pools", "pools", "chain_balances", "pool_contracts"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="defillama_yields",
)
def pool_histories(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Daily points of every tracked pool: one chart request per pool that is new, has gaps or is held, whatever the range.

    The day's own point comes from the snapshot. A changed past value becomes a new revision.
    """
    days, engine = day_range(context), warehouse.engine
    parameters = warehouse.policy(days.end).parameters
    tracked = _tracked(warehouse, days)
    snapshots = reads.read_days(engine, schema.pools, days)
    existing = reads.pool_history_revisions(
        engine, DayRange(days.start.replace(year=days.start.year - 20), days.end), tracked
    )
    wanted = pools_to_request(existing, snapshots, tracked, _held(warehouse, days), days, parameters)

    async def question(gateway: Gateway) -> dict[str, Fetched[pd.DataFrame] | VendorError]:
        return await DefiLlamaYields(gateway).charts(wanted)

    context.log.info("asking for %d charts of %d tracked pools", len(wanted), len(tracked))
    answers = market.ask(engine, days.end, question) if wanted else {}
    failed = {pool: answer for pool, answer in answers.items() if isinstance(answer, VendorError)}
    incoming = [
        history_from_chart(answer.rows, pool, days.end, answer.fetched_at)
        for pool, answer in answers.items()
        if not isinstance(answer, VendorError)
    ]
    incoming.append(history_from_snapshot(snapshots[snapshots["pool_id"].isin(tracked)], tracked))
    fresh = new_revisions(existing, pd.concat(incoming, ignore_index=True))
    receipt = writes.upsert(engine, schema.pool_histories, fresh)
    if wanted and len(failed) > 0.05 * len(wanted):
        raise next(iter(failed.values()))
    return report(
        receipt,
        fresh,
        tracked_pools=len(tracked),
        chart_requests=len(wanted),
        changed_values=int((fresh["revision"] > 0).sum()),
        degraded=f"{len(failed)} of {len(wanted)} charts failed: {', '.join(sorted(failed)[:5])}" if failed else None,
    )


def _revisions(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    return reads.pool_history_revisions(warehouse.engine, days.back(WINDOW_DAYS))


@daily_asset(
    schema.pool_quality,
    group="analysis",
    phase=3,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=[dg.AssetDep("pool_histories", partition_mapping=rolling(WINDOW_DAYS)), "policy_snapshot"],
)
def pool_quality(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What is wrong with each tracked pool's data: stuck, gaps, spikes, implausible values, jumps in size."""
    days = day_range(context)
    quality = assess_quality(_revisions(warehouse, days), days, warehouse.policy(days.end).parameters)
    receipt = writes.replace_slice(warehouse.engine, schema.pool_quality, quality, days)
    return report(receipt, quality, not_passed=int((~quality["is_passed"].astype(bool)).sum()))


@daily_asset(
    schema.pool_metrics,
    group="analysis",
    phase=3,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=[dg.AssetDep("pool_histories", partition_mapping=rolling(WINDOW_DAYS)), "pool_quality", "pools"],
)
def pool_metrics(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Rolling APY statistics of every tracked pool, one row per pool per day; a window is days, not rows."""
    days, engine = day_range(context), warehouse.engine
    quality = reads.read_days(engine, schema.pool_quality, days.back(WINDOW_DAYS))
    snapshots = reads.read_days(engine, schema.pools, days)
    metrics = rolling_metrics(
        _revisions(warehouse, days), quality, snapshots, reads.first_points(engine, days.end), days
    )
    return report(writes.replace_slice(engine, schema.pool_metrics, metrics, days), metrics)


@daily_asset(
    schema.pool_groups, group="analysis", phase=3, spec="defi.md#selection", backfill=ONE_RUN, deps=["pool_metrics"]
)
def pool_groups(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Risk group of every tracked pool from absolute changes and levels: 1 low, 2 medium, 3 high, 4 unrated."""
    days = day_range(context)
    groups = assign_groups(reads.read_days(warehouse.engine, schema.pool_metrics, days))
    counts = {f"group_{group}": int(n) for group, n in groups["pool_group"].value_counts().items()}
    return report(writes.replace_slice(warehouse.engine, schema.pool_groups, groups, days), groups, **counts)
