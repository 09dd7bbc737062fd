"""Assets that name the underlying tokens of pools whose vendor does not: Pendle's market map, and who resolved what.

Lives here: wiring of domain/selection/resolvers.py. Not here: the pre-filter that reads it (selection.py).
"""

from datetime import date

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.outcomes import DEGRADED
from defiyield_assets.domain.selection.resolvers import (
    CHAIN_IDS,
    PENDLE,
    RESOLVED_COLUMNS,
    addresses_to_ask,
    pools_to_resolve,
    resolve_by_frequency,
    resolve_by_pendle,
)
from defiyield_assets.errors import NotRecoverable, VendorError
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.freshness import DAILY_BY_0300
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, window_of
from defiyield_assets.sources.ethplorer import Ethplorer
from defiyield_assets.sources.pendle import Pendle
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import reads, schema, writes

STAY_OUT = "pools whose underlying tokens only it names stay out (NO_UNDERLYING)"
MAX_ASKED = 50
"""Pools of a day that Ethplorer is asked about; its public key allows 100 calls an hour. What is left out is told."""


def _concat(frames: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True)[columns] if filled else pd.DataFrame(columns=columns)


@daily_asset(
    schema.pendle_markets,
    group="ingestion",
    phase=1,
    spec="vendors.md#pendle",
    backfill=ONE_RUN,
    deps=["policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="pendle",
    substitute=STAY_OUT,
    freshness=DAILY_BY_0300,
)
def pendle_markets(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Pendle's markets at the end of the day: the underlying asset and the maturity of each. Nobody is asked on days
    on which Pendle is no approved protocol.

    The source only knows "now": a past day comes from the archive or is left out, and the asset is degraded.
    """
    days, engine = day_range(context), warehouse.engine
    wanted = [day for day in days if PENDLE in warehouse.policy(day).protocols]
    frames: list[pd.DataFrame] = []
    lost: list[date] = []

    async def question(gateway: Gateway) -> None:
        client = Pendle(gateway)
        for day in wanted:
            try:
                for chain_id in sorted(CHAIN_IDS.values()):
                    answer = await client.markets(chain_id, window_of(day), window_of(day))
                    frames.append(answer.rows.assign(date=day))
            except NotRecoverable:
                lost.append(day)

    if wanted:
        market.ask(engine, days.end, question, calls={"pendle": len(wanted) * len(CHAIN_IDS)})
    if wanted and lost == wanted:
        raise NotRecoverable("Pendle's markets", lost)
    frame = _concat(frames, [column.name for column in schema.pendle_markets.columns])
    degraded = f"not recoverable on {', '.join(map(str, lost))}: the source only knows now" if lost else None
    return report(writes.replace_slice(engine, schema.pendle_markets, frame, days), frame, degraded=degraded)


@daily_asset(
    schema.resolved_underlyings,
    group="selection",
    phase=2,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=["pools", "pendle_markets", "pool_contracts", "pool_aliases", "policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="ethplorer",
    substitute=STAY_OUT,
)
def resolved_underlyings(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Underlying tokens of pools whose vendor names none: Pendle's by its market map, others by the most frequent
    token of their address; each with its evidence, whole or not at all.

    Only pools are asked about that could pass the pre-filter otherwise.
    """
    days, engine = day_range(context), warehouse.engine
    frames: list[pd.DataFrame] = []
    asked: list[tuple[date, str, str]] = []
    failed: dict[str, VendorError | NotRecoverable] = {}
    n_wanted = 0
    for day in days:
        only, policy = DayRange.of(day), warehouse.policy(day)
        wanted = pools_to_resolve(reads.read_days(engine, schema.pools, only), policy, day, warehouse.aliases(day))
        frames.append(resolve_by_pendle(wanted, reads.read_days(engine, schema.pendle_markets, only), day))
        asked += [(day, pool_id, address) for pool_id, address in sorted(addresses_to_ask(wanted).items())[:MAX_ASKED]]
        n_wanted += len(wanted)

    async def question(gateway: Gateway) -> None:
        client = Ethplorer(gateway)
        for day, pool_id, address in asked:
            try:
                answer = await client.frequent_tokens(address, window=window_of(day), reuse=window_of(day))
            except (VendorError, NotRecoverable) as error:
                failed[f"{pool_id} on {day}"] = error
            else:
                frames.append(resolve_by_frequency(pool_id, answer.rows, day))

    if asked:
        market.ask(engine, days.end, question, calls={"ethplorer": len(asked)})
    if failed and len(failed) == len(asked) and not any(len(frame) for frame in frames):
        raise next(iter(failed.values()))
    frame = _concat(frames, list(RESOLVED_COLUMNS))
    reasons = [f"{pool_id}: {error}" for pool_id, error in failed.items()]
    return report(
        writes.replace_slice(engine, schema.resolved_underlyings, frame, days),
        frame,
        candidates=n_wanted,
        asked=len(asked),
        degraded=f"{len(failed)} of {len(asked)} addresses gave no answer: {'; '.join(reasons[:3])}"
        if failed
        else None,
        degraded_by=type(next(iter(failed.values()))).__name__ if failed else DEGRADED,
    )
