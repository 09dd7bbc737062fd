"""Assets of prices: what the vendors say, and the curated daily bars.

Lives here: wiring of domain/prices. Not here: the token lists (warehouse.py) or the icebox (selection.py).
"""

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.curation import curate_daily_bars
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.sources.coinmarketcap import CoinMarketCap
from defiyield_assets.sources.defillama_coins import DefiLlamaCoins
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

BOOTSTRAP_DAYS = 31
"""Days of bars before the first day ever, so that the icebox can be bootstrapped."""


def _days_to_ask(warehouse: WarehouseResource, table: Table, days: DayRange) -> DayRange:
    """The days of the run, and a month before them when the table holds nothing before."""
    earlier = reads.newest_day(warehouse.engine, table, on_or_before=days.back(1).start)
    return days if earlier is not None else days.back(BOOTSTRAP_DAYS)


def _keep(warehouse: WarehouseResource, table: Table, frame: pd.DataFrame, days: DayRange) -> writes.WriteReceipt:
    """Replace the run's days; days before them are only added where nothing is there yet."""
    inside = frame["date"].isin(set(days))
    writes.insert_missing(warehouse.engine, table, frame[~inside].reset_index(drop=True))
    return writes.replace_slice(warehouse.engine, table, frame[inside].reset_index(drop=True), days)


@daily_asset(
    schema.ohlcv_coinmarketcap,
    group="prices",
    phase=1,
    spec="vendors.md#coinmarketcap",
    backfill=ONE_RUN,
    deps=["instruments"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="coinmarketcap",
)
def ohlcv_coinmarketcap(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Daily bars with market capitalisation of every approved token that has a CoinMarketCap id."""
    days = day_range(context)
    known = build_instruments(warehouse.policy(days.end).tokens)
    listed = known[known["cmc_id"].notna()]
    by_id: dict[int, str] = dict(zip(listed["cmc_id"].astype(int), listed["instrument_id"], strict=True))
    if not market.has_key("coinmarketcap"):
        variable, adds = KEY_VARIABLES["coinmarketcap"]
        empty = pd.DataFrame(columns=[column.name for column in schema.ohlcv_coinmarketcap.columns])
        receipt = writes.insert_missing(warehouse.engine, schema.ohlcv_coinmarketcap, empty)
        return report(receipt, degraded=f"no {variable}: without it there are no {adds}; closes come from DeFiLlama")
    asked = _days_to_ask(warehouse, schema.ohlcv_coinmarketcap, days)

    async def question(gateway: Gateway) -> Fetched[pd.DataFrame]:
        return await CoinMarketCap(gateway).ohlcv(sorted(by_id), asked)

    answer = market.ask(warehouse.engine, days.end, question)
    frame = answer.rows.assign(
        instrument_id=answer.rows["cmc_id"].map(by_id), interval="1d", fetched_at=answer.fetched_at
    )[[column.name for column in schema.ohlcv_coinmarketcap.columns]]
    missing = [f"{by_id[int(cmc_id)]} ({cmc_id})" for cmc_id in answer.missing]
    return report(_keep(warehouse, schema.ohlcv_coinmarketcap, frame, days), frame, asked=len(by_id), missing=missing)


@daily_asset(
    schema.closes_defillama,
    group="prices",
    phase=1,
    spec="vendors.md#defillama-coins",
    backfill=ONE_RUN,
    deps=["instruments"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="defillama_coins",
)
def closes_defillama(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Daily close of every approved token by address, the keyless source; confidence 0 marks an assumed price."""
    days = day_range(context)
    known = build_instruments(warehouse.policy(days.end).tokens)
    known = known[known["address"].notna()]
    coins: list[tuple[str, str]] = list(zip(known["chain"], known["address"], strict=True))
    asked = _days_to_ask(warehouse, schema.closes_defillama, days)

    async def question(gateway: Gateway) -> Fetched[pd.DataFrame]:
        return await DefiLlamaCoins(gateway).closes(coins, asked)

    answer = market.ask(warehouse.engine, days.end, question)
    rows = answer.rows
    frame = rows.assign(
        instrument_id=rows["chain"].str.lower() + ":" + rows["address"].str.lower(),
        interval="1d",
        ts=pd.to_datetime(rows["date"], utc=True),
        fetched_at=answer.fetched_at,
    )[[column.name for column in schema.closes_defillama.columns]]
    return report(
        _keep(warehouse, schema.closes_defillama, frame, days), frame, asked=len(coins), missing=list(answer.missing)
    )


@daily_asset(
    schema.daily_bars,
    group="prices",
    phase=1,
    spec="market.md#tables",
    backfill=ONE_RUN,
    deps=["ohlcv_coinmarketcap", "closes_defillama", "instruments", "token_registry"],
)
def daily_bars(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """One bar per token and day, from one vendor by priority; a bar that is only a close or an assumption says so."""
    days, engine = day_range(context), warehouse.engine
    span = _days_to_ask(warehouse, schema.daily_bars, days)
    bars = curate_daily_bars(
        reads.read_days(engine, schema.ohlcv_coinmarketcap, span),
        reads.read_days(engine, schema.closes_defillama, span),
        build_instruments(warehouse.policy(days.end).tokens),
        span,
    )
    quality = {f"quality_{name}": int(n) for name, n in bars["quality"].value_counts().items()}
    return report(_keep(warehouse, schema.daily_bars, bars, days), bars, counts=quality)
