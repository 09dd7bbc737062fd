"""Assets of pools: the day's snapshot, histories, quality, metrics, risk groups.

Lives here: wiring of domain/pools. Not here: which pools may be used (selection.py).
"""

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.histories import (
    POINT_COLUMNS,
    history_from_chart,
    history_from_snapshot,
    merge_points,
    new_revisions,
    pools_to_request,
    tracked_pools,
)
from defiyield_assets.domain.pools.metrics import rolling_metrics
from defiyield_assets.domain.pools.quality import assess_quality
from defiyield_assets.domain.pools.snapshot import build_pools, require_whole_snapshot
from defiyield_assets.domain.pools.windows import LOOKBACK_DAYS
from defiyield_assets.errors import VendorError
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.partitions import day_before, day_range, rolling
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, window_of
from defiyield_assets.sources.defillama_yields import DefiLlamaYields
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

GAP_WINDOW_DAYS = 30
"""Days before a range in which a gap makes a chart worth asking for."""
MAX_FAILED_SHARE = 0.05
"""More failed charts than this fail the asset; fewer degrade it."""


@daily_asset(
    schema.pools,
    group="ingestion",
    phase=1,
    spec="vendors.md#defillama-yields",
    backfill=ONE_RUN,
    deps=["policy_snapshot", "pool_aliases"],
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
    days, engine = day_range(context), warehouse.engine

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        client = DefiLlamaYields(gateway)
        frames = []
        for day in days:
            listed = await client.pools(window_of(day))
            legs = await client.lend_borrow(window_of(day))
            frames.append(build_pools(listed.rows, legs.rows, day, listed.fetched_at, warehouse.aliases(day)))
        return frames

    frames = market.ask(engine, days.end, question)
    before = reads.read_days(engine, schema.pools, DayRange.of(day_before(days.start)))
    n_before: int | None = len(before) or None
    for day, frame in zip(days, frames, strict=True):
        require_whole_snapshot(len(frame), n_before, day)
        n_before = len(frame)
    frame = pd.concat(frames, ignore_index=True)
    receipt = writes.replace_slice(engine, schema.pools, frame, days)
    return report(receipt, frame, lending_pools_with_legs=int(frame["total_supply_usd"].notna().sum()))


def _held(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    """[date, pool_id] of pools whose share token a wallet holds on chain at the end of the day."""
    balances = reads.read_days(warehouse.engine, schema.chain_balances, days)
    contracts = warehouse.contracts(days.end)[["share_token", "pool_id"]]
    positive = balances[[amount > 0 for amount in balances["balance"]]]
    held = positive.merge(contracts, left_on="token_address", right_on="share_token")
    held["pool_id"] = held["pool_id"].replace(warehouse.aliases(days.end))
    return held[["date", "pool_id"]].drop_duplicates().reset_index(drop=True)


def _nearest_verdicts(warehouse: WarehouseResource, days: DayRange) -> list[str]:
    """Pools that passed the pre-filter on the nearest judged day before the range, else after it."""
    engine = warehouse.engine
    passed = {"is_passed": True}
    listed = reads.read_latest(engine, schema.prefiltered_pools, days.end, where=passed)
    if listed.empty:
        listed = reads.read_all(engine, schema.prefiltered_pools, where=passed)
        listed = listed[listed["date"] == listed["date"].min()] if len(listed) else listed
    return sorted(listed["pool_id"])


def tracked_on(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    """[date, pool_id]: what is followed on each day of the range."""
    verdicts = reads.read_days(warehouse.engine, schema.prefiltered_pools, days)
    return tracked_pools(verdicts, _held(warehouse, days), days, _nearest_verdicts(warehouse, days))


def _snapshot_points(snapshots: pd.DataFrame, tracked: pd.DataFrame) -> list[pd.DataFrame]:
    """Points of each day's snapshot, stamped with the time of that snapshot."""
    points = []
    for day, slice_ in snapshots.groupby("snapshot_date"):
        wanted = set(tracked.loc[tracked["date"] == day, "pool_id"])
        points.append(history_from_snapshot(slice_, wanted, slice_["observed_at"].max().to_pydatetime()))
    return points


def _points(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(POINT_COLUMNS))


@daily_asset(
    schema.pool_histories,
    group="ingestion",
    phase=2,
    spec="defi.md#ingestion",
    backfill=ONE_RUN,
    deps=["prefiltered_pools", "pools", "chain_balances", "pool_contracts", "policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="defillama_yields",
)
def pool_histories(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Daily points of every tracked pool: one chart request per pool that is new, has gaps or is held, whatever the
    range.

    The day's own point comes from the snapshot. A changed past value becomes a new revision. A new pool whose chart
    failed gets no point at all, so that it is still new, and asked again, on the next day.
    """
    days, engine = day_range(context), warehouse.engine
    tracked = tracked_on(warehouse, days)
    ids = sorted(set(tracked["pool_id"]))
    snapshots = reads.read_days(engine, schema.pools, days)
    gap_days = warehouse.policy(days.end).parameters.gap_days
    recent = reads.pool_history_revisions(engine, days.back(GAP_WINDOW_DAYS), ids)
    held = set(_held(warehouse, DayRange.of(days.end))["pool_id"])
    wanted = pools_to_request(ids, recent, days, gap_days, held=held, snapshots=snapshots[~snapshots["is_stale"]])

    async def question(gateway: Gateway) -> dict[str, Fetched[pd.DataFrame] | VendorError]:
        return await DefiLlamaYields(gateway).charts(wanted)

    context.log.info("asking for %d charts of %d tracked pools", len(wanted), len(ids))
    answers = market.ask(engine, days.end, question) if wanted else {}
    failed = {pool: answer for pool, answer in answers.items() if isinstance(answer, VendorError)}
    if len(failed) > MAX_FAILED_SHARE * len(wanted):
        raise next(iter(failed.values()))
    new = set(ids) - set(recent.loc[recent["date"] < days.end, "pool_id"])
    unheard = set(failed) & new
    charts = [
        history_from_chart(
            answer.rows if pool in new else answer.rows[answer.rows["date"] >= days.back(GAP_WINDOW_DAYS).start],
            pool,
            days.end,
            answer.fetched_at,
        )
        for pool, answer in answers.items()
        if not isinstance(answer, VendorError)
    ]
    incoming = merge_points(
        _points(charts), _points(_snapshot_points(snapshots, tracked[~tracked["pool_id"].isin(unheard)]))
    )
    span = DayRange(min([*incoming["date"], days.start]), days.end)
    fresh = new_revisions(reads.pool_history_revisions(engine, span, ids), incoming)
    receipt = writes.upsert(engine, schema.pool_histories, fresh)
    return report(
        receipt,
        fresh,
        tracked_pools=len(ids),
        chart_requests=len(wanted),
        changed_values=int((fresh["revision"] > 0).sum()),
        degraded=f"{len(failed)} of {len(wanted)} charts failed: {', '.join(sorted(failed)[:5])}" if failed else None,
    )


def _revisions(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    return reads.pool_history_revisions(warehouse.engine, days.back(LOOKBACK_DAYS))


@daily_asset(
    schema.pool_quality,
    group="analysis",
    phase=3,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=[
        dg.AssetDep("pool_histories", partition_mapping=rolling(LOOKBACK_DAYS)),
        "prefiltered_pools",
        "chain_balances",
        "pool_contracts",
        "policy_snapshot",
    ],
)
def pool_quality(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What is wrong with each tracked pool's data: stuck, gaps, spikes, implausible values, jumps in size."""
    days, engine = day_range(context), warehouse.engine
    quality = assess_quality(
        _revisions(warehouse, days),
        tracked_on(warehouse, days),
        days,
        warehouse.policy(days.end).parameters,
        first_days=reads.first_points(engine, days.end),
    )
    receipt = writes.replace_slice(engine, schema.pool_quality, quality, days)
    return report(receipt, quality, not_passed=int((~quality["is_passed"].astype(bool)).sum()))


@daily_asset(
    schema.pool_metrics,
    group="analysis",
    phase=3,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=[
        dg.AssetDep("pool_histories", partition_mapping=rolling(LOOKBACK_DAYS)),
        "prefiltered_pools",
        "chain_balances",
        "pool_contracts",
        "pools",
        "policy_snapshot",
    ],
)
def pool_metrics(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Rolling APY statistics of every tracked pool, one row per pool per day; a window is days, not rows."""
    days, engine = day_range(context), warehouse.engine
    metrics = rolling_metrics(
        _revisions(warehouse, days),
        tracked_on(warehouse, days),
        reads.read_days(engine, schema.pools, days),
        days,
        warehouse.policy(days.end).parameters,
        first_days=reads.first_points(engine, days.end),
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
    return report(writes.replace_slice(warehouse.engine, schema.pool_groups, groups, days), groups, counts=counts)
