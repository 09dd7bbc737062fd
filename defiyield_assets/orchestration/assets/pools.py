"""Assets of pools: the day's snapshot, histories and their revisions, quality, metrics, risk groups.

Lives here: wiring of domain/pools. Not here: which pools may be used (selection.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange, cutoff, end_of
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.histories import (
    HISTORY_COLUMNS,
    POINT_COLUMNS,
    histories_from_charts,
    history_from_snapshot,
    merge_points,
    new_revisions,
    pools_to_request,
)
from defiyield_assets.domain.pools.lending import LENDING_COLUMNS, lending_from_chart, lending_from_snapshot
from defiyield_assets.domain.pools.panels import LOOKBACK_DAYS
from defiyield_assets.domain.pools.plots import plot_metrics
from defiyield_assets.domain.pools.revisions import REVISION_COLUMNS, revisions_seen
from defiyield_assets.domain.pools.snapshot import build_pools, require_whole_snapshot
from defiyield_assets.errors import TransientError
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.fan_out import Tally, Teller, store_as_they_come
from defiyield_assets.orchestration.followed_pools import held_on, tracked_on
from defiyield_assets.orchestration.freshness import DAILY_BY_0300
from defiyield_assets.orchestration.partitions import day_before, day_range, rolling
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.pool_bundles import Measured, metric_rows, quality_rows
from defiyield_assets.orchestration.pool_shards import in_shards
from defiyield_assets.orchestration.reporting import picture, report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, window_of
from defiyield_assets.sources.defillama_yields import VENDOR, DefiLlamaYields
from defiyield_assets.sources.transport import Fetched, Gateway, Window
from defiyield_assets.store import reads, schema, writes

GAP_WINDOW_DAYS = 30
"""Days before a range in which a gap makes a chart worth asking for."""
FAR_FUTURE = datetime(2199, 12, 31, tzinfo=UTC)


def told_after(days: DayRange) -> Window:
    """When a chart may have been fetched to stand for a new one: at any time after the range was over."""
    return Window(end_of(days.end), FAR_FUTURE)


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
    freshness=DAILY_BY_0300,
)
def pools(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Every pool that DeFiLlama lists at the end of the day, with supply and borrow of lending pools.

    The source only knows "now": a past day comes from the archive or fails as not recoverable. A truncated answer is
    archived with that error and changes nothing.
    """
    days, engine = day_range(context), warehouse.engine
    yesterday = reads.read_days(engine, schema.pools, DayRange.of(day_before(days.start)))
    before, n_legs = len(yesterday), int(yesterday["total_supply_usd"].notna().sum())

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        client = DefiLlamaYields(gateway)
        frames: list[pd.DataFrame] = []
        for day in days:
            n_before = len(frames[-1]) if frames else before

            def accept(rows: pd.DataFrame, day: date = day, n_before: int = n_before) -> None:
                require_whole_snapshot(len(rows), n_before or None, day)

            window = window_of(day)
            listed = await client.pools(window, reuse=window, accept=accept)
            legs = await client.lend_borrow(window, reuse=window, n_before=n_legs)
            frames.append(build_pools(listed.rows, legs.rows, day, listed.fetched_at, warehouse.aliases(day)))
        return frames

    calls = {VENDOR: sum(2 for day in days if window_of(day).holds(market.stamp(day)))}
    frame = pd.concat(market.ask(engine, days.end, question, calls), ignore_index=True)
    receipt = writes.replace_slice(engine, schema.pools, frame, days)
    return report(receipt, frame, lending_pools_with_legs=int(frame["total_supply_usd"].notna().sum()))


def _points_of_snapshots(snapshots: pd.DataFrame, tracked: pd.DataFrame) -> pd.DataFrame:
    """Points of each day's snapshot, stamped with the time of that snapshot."""
    points = []
    for day, slice_ in snapshots.groupby("snapshot_date"):
        wanted = set(tracked.loc[tracked["date"] == day, "pool_id"])
        points.append(history_from_snapshot(slice_, wanted, slice_["observed_at"].max().to_pydatetime()))
    return _joined(points, POINT_COLUMNS)


def _joined(frames: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def _calls(engine: Engine, endpoint: str, pool_ids: list[str], days: DayRange) -> dict[str, int]:
    """How many requests asking for these pools takes: those that the archive cannot answer."""
    reuse = told_after(days)
    known = reads.answered(engine, VENDOR, endpoint, reuse.not_before, reuse.not_after)
    return {VENDOR: sum(content_hash({"pool": pool_id}) not in known for pool_id in pool_ids)}


@dataclass(frozen=True)
class _HistoryRun:
    """What one run of `pool_histories` knows, and what it has written."""

    engine: Engine
    days: DayRange
    aliases: Mapping[str, str]
    points: pd.DataFrame
    new: set[str]
    receipts: list[writes.WriteReceipt] = field(default_factory=list)
    changed: list[pd.DataFrame] = field(default_factory=list)

    def store(self, charts: Mapping[str, Fetched[pd.DataFrame]]) -> None:
        """Whole charts of new pools, the last weeks of the others, and these pools' points of the snapshots."""
        first = self.days.back(GAP_WINDOW_DAYS).start
        lives = [
            (
                pool_id,
                answer.rows if pool_id in self.new else answer.rows[answer.rows["date"] >= first],
                answer.fetched_at,
            )
            for pool_id, answer in charts.items()
        ]
        points = histories_from_charts(lives, self.days.end)
        self.keep(merge_points(points, self.points[self.owners.isin(list(charts))]))

    @property
    def owners(self) -> "pd.Series[str]":
        """Today's id of the pool of each snapshot point."""
        return self.points["pool_id"].replace(dict(self.aliases))

    def keep(self, incoming: pd.DataFrame) -> None:
        """Add what is new or changed, in one transaction."""
        if incoming.empty:
            return
        span, ids = DayRange(incoming["date"].min(), self.days.end), set(incoming["pool_id"])
        renamed = ids & set(self.aliases)  # days before the alias: these rows are the old id's own
        existing = [
            reads.pool_history_revisions(self.engine, span, ids - renamed, self.aliases),
            *([reads.pool_history_revisions(self.engine, span, renamed)] if renamed else []),
        ]
        fresh = new_revisions(_joined(existing, HISTORY_COLUMNS), incoming)
        self.receipts.append(writes.upsert(self.engine, schema.pool_histories, fresh))
        self.changed.append(fresh[fresh["revision"] > 0])


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
    range; none where the archive has an answer from after the range.

    The day's own point comes from the snapshot. A changed past value becomes a new revision. A new pool whose chart
    failed gets no point at all, so that it is still new, and asked again, on the next day. A renamed pool goes on under
    its new id without another request.
    """
    days, engine = day_range(context), warehouse.engine
    aliases = warehouse.aliases(days.end)
    tracked = tracked_on(warehouse, days)
    ids = sorted({aliases.get(pool_id, pool_id) for pool_id in tracked["pool_id"]})
    snapshots = reads.read_days(engine, schema.pools, days)
    recent = reads.pool_history_revisions(engine, days.back(GAP_WINDOW_DAYS), ids, aliases)
    fresh = snapshots[~snapshots["is_stale"]]
    wanted = pools_to_request(
        ids,
        recent,
        days,
        warehouse.policy(days.end).parameters.gap_days,
        held=set(held_on(warehouse, DayRange.of(days.end))["pool_id"]),
        snapshots=fresh.assign(pool_id=fresh["pool_id"].replace(aliases)),
        known_by=cutoff(day_before(days.start)),
    )
    new = set(ids) - set(recent.loc[recent["date"] < days.end, "pool_id"])
    run = _HistoryRun(engine, days, aliases, _points_of_snapshots(snapshots, tracked), new)
    tally = Tally(0)
    if wanted:
        context.log.info("asking for %d charts of %d tracked pools", len(wanted), len(ids))
        teller = Teller(context, "pool_histories", "charts")

        async def question(gateway: Gateway) -> Tally:
            charts = DefiLlamaYields(gateway).charts(wanted, told_after(days))
            return await store_as_they_come(wanted, charts, run.store, teller)

        tally = market.ask(engine, days.end, question, _calls(engine, "/chart/{pool}", wanted, days))
    unheard = set(tally.failed) & new
    stored = (set(wanted) - set(tally.failed)) | unheard
    run.keep(merge_points(run.points.iloc[0:0], run.points[~run.owners.isin(list(stored))]))
    changed = _joined(run.changed, HISTORY_COLUMNS)
    return report(
        writes.together(schema.pool_histories, run.receipts),
        changed,
        tracked_pools=len(ids),
        chart_requests=tally.done - tally.from_archive,
        changed_values=len(changed),
        degraded=tally.degradation("charts"),
        counts=tally.metadata("charts"),
    )


@daily_asset(
    schema.history_revisions,
    group="ingestion",
    phase=3,
    spec="defi.md#ingestion",
    backfill=ONE_RUN,
    deps=["pool_histories", "policy_snapshot"],
)
def history_revisions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Past values that the vendor changed, with what they were before.

    A change belongs to the first day by whose cutoff it was seen: what a range in one run sees belongs to its last day,
    what a late run or a backfill sees belongs to the day on which it ran.
    """
    days, engine = day_range(context), warehouse.engine
    frames = []
    for span, aliases in warehouse.alias_spans(days):
        revised = reads.revised_histories(engine, cutoff(day_before(span.start)), span.cutoff, aliases)
        frames += [revisions_seen(revised, day) for day in span]
    frame = _joined(frames, REVISION_COLUMNS)
    return report(
        writes.replace_slice(engine, schema.history_revisions, frame, days),
        frame,
        changed_values=len(frame),
        pools=int(frame["pool_id"].nunique()),
    )


@daily_asset(
    schema.lending_histories,
    group="ingestion",
    phase=2,
    spec="defi.md#ingestion",
    backfill=ONE_RUN,
    deps=["prefiltered_pools", "pools", "chain_balances", "pool_contracts", "policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="defillama_yields",
)
def lending_histories(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Daily supply, borrow and rates of tracked lending pools, as first seen: one request per pool that is new or has
    gaps.

    The day's own point comes from the snapshot. A failure degrades it only: where no curve of utilisation can be
    fitted, the plan dilutes a pool pro rata. A new pool whose chart may come another time gets no point, so that it is
    still new on the next day.
    """
    days, engine = day_range(context), warehouse.engine
    aliases = warehouse.aliases(days.end)
    tracked = set(tracked_on(warehouse, days)["pool_id"])
    snapshots = reads.read_days(engine, schema.pools, days, where={"pool_id": sorted(tracked)})
    latest = snapshots if len(snapshots) else reads.read_latest(engine, schema.pools, date.max)
    told = latest[latest["total_supply_usd"].notna() & latest["pool_id"].isin(tracked)]
    ids = sorted({aliases.get(pool_id, pool_id) for pool_id in told["pool_id"]})
    own = lending_from_snapshot(snapshots, tracked)
    known = reads.read_days(engine, schema.lending_histories, days.back(GAP_WINDOW_DAYS))
    known = known.assign(pool_id=known["pool_id"].replace(aliases))
    wanted = pools_to_request(
        ids,
        known,
        days,
        warehouse.policy(days.end).parameters.gap_days,
        snapshots=own.assign(snapshot_date=own["date"], pool_id=own["pool_id"].replace(aliases)),
        known_by=cutoff(day_before(days.start)),
    )
    receipts: list[writes.WriteReceipt] = []

    def keep(points: pd.DataFrame) -> None:
        chosen = points.drop_duplicates(["pool_id", "date"], ignore_index=True)
        receipts.append(writes.insert_missing(engine, schema.lending_histories, chosen))

    def store(charts: Mapping[str, Fetched[pd.DataFrame]]) -> None:
        lives = [
            lending_from_chart(answer.rows, pool_id, days.end, answer.fetched_at) for pool_id, answer in charts.items()
        ]
        keep(_joined([own[own["pool_id"].isin(list(charts))], *lives], LENDING_COLUMNS))

    tally = Tally(0)
    if wanted:
        teller = Teller(context, "lending_histories", "lending charts")

        async def question(gateway: Gateway) -> Tally:
            charts = DefiLlamaYields(gateway).charts_lend_borrow(wanted, told_after(days))
            return await store_as_they_come(wanted, charts, store, teller, is_needed=False)

        tally = market.ask(engine, days.end, question, _calls(engine, "/chartLendBorrow/{pool}", wanted, days))
    later = {pool_id for pool_id, error in tally.failed.items() if isinstance(error, TransientError)}
    later |= tally.unasked if later else set()
    keep(own[~own["pool_id"].isin(later - set(known["pool_id"]))])
    return report(
        writes.together(schema.lending_histories, receipts),
        own,
        lending_pools=len(ids),
        degraded=tally.degradation("lending charts"),
        counts=tally.metadata("charts"),
    )


def _tell_quality(warehouse: WarehouseResource, receipt: writes.WriteReceipt, days: DayRange) -> dg.MaterializeResult:
    engine, table = warehouse.engine, schema.pool_quality
    refused = reads.read_columns(engine, table, days, where={"is_passed": False}, columns=["date"])["date"]
    return report(receipt, reads.read_days(engine, table, DayRange.of(days.end)), not_passed=len(refused))


def _tell_metrics(warehouse: WarehouseResource, receipt: writes.WriteReceipt, days: DayRange) -> dg.MaterializeResult:
    newest = reads.read_days(warehouse.engine, schema.pool_metrics, DayRange.of(days.end))
    return report(receipt, newest, pools=len(newest), plot=_drawn(warehouse, newest, days.end))


def _drawn(warehouse: WarehouseResource, metrics: pd.DataFrame, day: date) -> dg.MetadataValue[Any] | None:
    """Picture of the day's metrics, with the risk groups that follow from them."""
    named = ["pool_id", "protocol", "symbol"]
    listed = reads.read_days(warehouse.engine, schema.prefiltered_pools, DayRange.of(day), columns=named)
    titles = dict(zip(listed["pool_id"], listed["protocol"] + " " + listed["symbol"], strict=True))

    def draw() -> bytes:
        groups = assign_groups(metrics)
        of_pools = dict(zip(groups["pool_id"], groups["pool_group"].astype(int), strict=True))
        return plot_metrics(metrics, of_pools, titles)

    return picture(draw, "What the largest pools pay, and how steadily")


QUALITY = Measured(schema.pool_quality, quality_rows, _tell_quality)
METRICS = Measured(schema.pool_metrics, metric_rows, _tell_metrics)


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
    return QUALITY.make(warehouse, day_range(context))


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
    return METRICS.make(warehouse, day_range(context))


@daily_asset(
    schema.pool_groups, group="analysis", phase=3, spec="defi.md#selection", backfill=ONE_RUN, deps=["pool_metrics"]
)
def pool_groups(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Risk group of every tracked pool from absolute changes and levels: 1 low, 2 medium, 3 high, 4 unrated."""
    days = day_range(context)
    groups = assign_groups(reads.read_days(warehouse.engine, schema.pool_metrics, days))
    counts = {f"group_{group}": int(n) for group, n in groups["pool_group"].value_counts().items()}
    return report(writes.replace_slice(warehouse.engine, schema.pool_groups, groups, days), groups, counts=counts)


def with_shards(assets: Sequence[Any], shards: int) -> list[Any]:
    """The same assets; with more than one shard, those that measure pools fan out over as many steps."""
    if shards == 1:
        return list(assets)
    fanned = {
        dg.AssetKey("pool_quality"): in_shards(pool_quality, QUALITY, shards),
        dg.AssetKey("pool_metrics"): in_shards(pool_metrics, METRICS, shards),
    }
    of_others = [asset for asset in assets if not (isinstance(asset, dg.AssetsDefinition) and asset.keys & set(fanned))]
    return [*of_others, *fanned.values()]
