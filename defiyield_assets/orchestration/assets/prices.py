"""Assets of prices: what the vendors say, and the curated daily bars.

Lives here: wiring of domain/prices. Not here: the token lists (warehouse.py) or the icebox (selection.py).
"""

import math
from collections.abc import Iterable
from datetime import date, timedelta

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.budgets import Need
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.outcomes import NOT_CONFIGURED
from defiyield_assets.domain.prices.curation import curate_daily_bars
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.errors import NotRecoverable, SuspiciousDataError
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.freshness import DAILY_BY_0300
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import (
    MarketResource,
    WarehouseResource,
    settled_window,
    window_of,
)
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.sources.coingecko import CALLS_PER_COIN, CoinGecko
from defiyield_assets.sources.coinmarketcap import BARS_PER_CREDIT, IDS_PER_CALL, CoinMarketCap
from defiyield_assets.sources.defillama_coins import COINS_PER_CALL, POINTS_PER_CALL, DefiLlamaCoins
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

BOOTSTRAP_DAYS = 31
"""Days of bars before the first day ever, so that the icebox can be bootstrapped."""


def _days_to_ask(warehouse: WarehouseResource, table: Table, days: DayRange) -> DayRange:
    """The days of the run, and a month before them on the first day ever.

    That is when the table holds nothing older than that month, so that the first day asks the same when it runs again.
    """
    earlier = reads.newest_day(warehouse.engine, table, on_or_before=days.back(BOOTSTRAP_DAYS + 1).start)
    return days if earlier is not None else days.back(BOOTSTRAP_DAYS)


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _without_key(warehouse: WarehouseResource, table: Table, vendor: str, instead: str) -> dg.MaterializeResult:
    """The result of a source that is not configured: nothing written, what its key would add, what stands in."""
    variable, adds = KEY_VARIABLES[vendor]
    receipt = writes.insert_missing(warehouse.engine, table, pd.DataFrame(columns=_columns(table)))
    reason = f"no {variable}, which would add {adds}; {instead}"
    return report(receipt, degraded=reason, degraded_by=NOT_CONFIGURED)


def _richer(stored: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """The rows told now; a stored row stays where none is told, or where it is a full bar and only a close is told."""
    filled = [part for part in (told, stored) if not part.empty]
    if not filled:
        return told
    rows = pd.concat(filled, ignore_index=True)
    is_full = rows[[name for name in ("open", "high", "low") if name in rows]].notna().all(axis=1)
    rows = pd.concat([part for part in (rows[is_full], rows[~is_full]) if not part.empty])
    return rows.drop_duplicates(["instrument_id", "interval", "ts"], ignore_index=True)


def _keep(
    warehouse: WarehouseResource, table: Table, frame: pd.DataFrame, days: DayRange, asked: Iterable[str]
) -> writes.WriteReceipt:
    """Replace the run's days by what is told of them; days before them are only added where nothing is there yet.

    A source tells less of a day the longer ago it is: of the instruments asked for, what it told better before stays.
    """
    inside = frame["date"].isin(set(days))
    writes.insert_missing(warehouse.engine, table, frame[~inside].reset_index(drop=True))
    stored = reads.read_days(warehouse.engine, table, days, {"instrument_id": sorted(set(asked))})
    told = _richer(stored, frame[inside].reset_index(drop=True))
    return writes.replace_slice(warehouse.engine, table, told, days)


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
    substitute="bars come from CoinGecko, closes from DeFiLlama",
    freshness=DAILY_BY_0300,
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
        return _without_key(warehouse, schema.ohlcv_coinmarketcap, "coinmarketcap", "bars come from the other vendors")
    asked = _days_to_ask(warehouse, schema.ohlcv_coinmarketcap, days)

    async def question(gateway: Gateway) -> Fetched[pd.DataFrame]:
        return await CoinMarketCap(gateway).ohlcv(sorted(by_id), asked, settled_window(asked))

    n_calls = math.ceil(len(by_id) / IDS_PER_CALL)
    credits_used = math.ceil(len(by_id) * (len(asked) + 1) / BARS_PER_CREDIT) + n_calls
    calls = {"coinmarketcap": Need(n_calls, credits_used)}
    answer = market.ask(warehouse.engine, days.end, question, calls=calls)
    frame = answer.rows.assign(
        instrument_id=answer.rows["cmc_id"].map(by_id), interval="1d", fetched_at=answer.fetched_at
    )[_columns(schema.ohlcv_coinmarketcap)]
    missing = [f"{by_id[int(cmc_id)]} ({cmc_id})" for cmc_id in answer.missing]
    receipt = _keep(warehouse, schema.ohlcv_coinmarketcap, frame, days, by_id.values())
    return report(receipt, frame, asked=len(by_id), missing=missing)


def _coingecko_ids(warehouse: WarehouseResource, day: date) -> pd.DataFrame:
    """[coingecko_id, instrument_id] of every approved token that has an id; tokens of several chains may share one."""
    known = build_instruments(warehouse.policy(day).tokens)
    return known.loc[known["coingecko_id"].notna(), ["coingecko_id", "instrument_id"]].reset_index(drop=True)


@daily_asset(
    schema.ohlcv_coingecko,
    group="prices",
    phase=1,
    spec="vendors.md#coingecko",
    backfill=ONE_RUN,
    deps=["instruments"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="coingecko",
    substitute="bars come from CoinMarketCap, closes from DeFiLlama",
    freshness=DAILY_BY_0300,
)
def ohlcv_coingecko(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Daily bars of every approved token that has a CoinGecko id: the UTC day's candles, with volume and market
    capitalisation of its end.
    """
    days = day_range(context)
    ids = _coingecko_ids(warehouse, days.end)
    if not market.has_key("coingecko"):
        return _without_key(warehouse, schema.ohlcv_coingecko, "coingecko", "bars come from the other vendors")
    asked = _days_to_ask(warehouse, schema.ohlcv_coingecko, days)
    # The days before the first ever are a question of their own: candles do not reach them, only closes do, and the
    # run's own days are to be told the same when they are asked for again.
    spans = [days] if asked == days else [days, DayRange(asked.start, days.start - timedelta(days=1))]
    wanted = sorted(set(ids["coingecko_id"]))

    async def question(gateway: Gateway) -> list[Fetched[pd.DataFrame]]:
        client = CoinGecko(gateway)
        return [await client.daily_bars(wanted, span, settled_window(span)) for span in spans]

    calls = {"coingecko": CALLS_PER_COIN * len(wanted) * len(spans)}
    answers = market.ask(warehouse.engine, days.end, question, calls=calls)
    parts = [answer.rows.assign(fetched_at=answer.fetched_at) for answer in answers if len(answer.rows)]
    rows = pd.concat(parts, ignore_index=True) if parts else answers[0].rows.assign(fetched_at=answers[0].fetched_at)
    frame = rows.merge(ids, on="coingecko_id")[_columns(schema.ohlcv_coingecko)]
    receipt = _keep(warehouse, schema.ohlcv_coingecko, frame, days, ids["instrument_id"])
    return report(receipt, frame, asked=len(ids), missing=list(answers[0].missing))


@daily_asset(
    schema.coin_markets,
    group="prices",
    phase=1,
    spec="vendors.md#coingecko",
    backfill=ONE_RUN,
    deps=["instruments"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="coingecko",
    substitute="market capitalisations come from daily bars alone",
    freshness=DAILY_BY_0300,
)
def coin_markets(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """CoinGecko's rolling 24 hours of every approved token at the end of the day: its market capitalisation stands in
    where no bar tells one.

    The source only knows "now": a past day comes from the archive or is left as it is, and the asset is degraded.
    """
    days, engine = day_range(context), warehouse.engine
    ids = _coingecko_ids(warehouse, days.end)
    if not market.has_key("coingecko"):
        return _without_key(warehouse, schema.coin_markets, "coingecko", "market caps come from daily bars alone")
    wanted = sorted(set(ids["coingecko_id"]))

    async def question(gateway: Gateway) -> dict[date, Fetched[pd.DataFrame]]:
        client, found = CoinGecko(gateway), {}
        for day in days:
            try:
                found[day] = await client.markets(wanted, window_of(day), window_of(day))
            except NotRecoverable:
                context.log.warning("coin markets of %s cannot be recovered", day)
        return found

    answers = market.ask(engine, days.end, question, calls={"coingecko": len(days)})
    lost = [day for day in days if day not in answers]
    if not answers:
        raise NotRecoverable("coin markets", lost)
    frames = [
        answer.rows.merge(ids, on="coingecko_id").assign(date=day, fetched_at=answer.fetched_at)
        for day, answer in answers.items()
    ]
    frame = pd.concat(frames, ignore_index=True)[_columns(schema.coin_markets)]
    receipts = [
        writes.replace_slice(
            engine, schema.coin_markets, frame[frame["date"] == day].reset_index(drop=True), DayRange.of(day)
        )
        for day in answers
    ]
    missing = sorted({name for answer in answers.values() for name in answer.missing})
    degraded = f"not recoverable on {', '.join(map(str, lost))}: the source only knows now" if lost else None
    return report(receipts[-1], frame, asked=len(ids), missing=missing, degraded=degraded)


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
    substitute="closes come from CoinMarketCap and CoinGecko",
    freshness=DAILY_BY_0300,
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
        return await DefiLlamaCoins(gateway).closes(coins, asked, settled_window(asked))

    spans = math.ceil(len(asked) / max(1, POINTS_PER_CALL // COINS_PER_CALL))
    calls = {"defillama_coins": math.ceil(len(coins) / COINS_PER_CALL) * spans}
    answer = market.ask(warehouse.engine, days.end, question, calls=calls)
    rows = answer.rows
    frame = rows.assign(
        instrument_id=rows["chain"].str.lower() + ":" + rows["address"].str.lower(),
        interval="1d",
        ts=pd.to_datetime(rows["date"], utc=True),
        fetched_at=answer.fetched_at,
    )[_columns(schema.closes_defillama)]
    receipt = _keep(warehouse, schema.closes_defillama, frame, days, known["instrument_id"])
    return report(receipt, frame, asked=len(coins), missing=list(answer.missing))


BAR_TABLES = {
    "coinmarketcap": schema.ohlcv_coinmarketcap,
    "coingecko": schema.ohlcv_coingecko,
    "defillama_coins": schema.closes_defillama,
}
"""Vendor of prices -> what it told."""


def told_prices(warehouse: WarehouseResource, days: DayRange) -> dict[str, pd.DataFrame]:
    """What each vendor of prices told of the days, by vendor."""
    return {vendor: reads.read_days(warehouse.engine, table, days) for vendor, table in BAR_TABLES.items()}


@daily_asset(
    schema.daily_bars,
    group="prices",
    phase=1,
    spec="market.md#tables",
    backfill=ONE_RUN,
    deps=["ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama", "instruments", "token_registry"],
)
def daily_bars(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """One bar per token and day, from one vendor by priority; a bar that is only a close or an assumption says so.

    A day of which no vendor told any price fails: then nothing stands in any more.
    """
    days = day_range(context)
    span = _days_to_ask(warehouse, schema.daily_bars, days)
    instruments = build_instruments(warehouse.policy(days.end).tokens)
    bars = curate_daily_bars(told_prices(warehouse, span), instruments, span)
    known = set(bars["date"])
    silent = [day for day in days if day not in known]
    if silent and len(instruments):
        raise SuspiciousDataError(
            f"no price of any token on {', '.join(map(str, silent))}: none of {', '.join(BAR_TABLES)} told one "
            f"(asset_outcomes says why); nothing was written"
        )
    quality = {f"quality_{name}": int(n) for name, n in bars["quality"].value_counts().items()}
    sources = {f"source_{name}": int(n) for name, n in bars["source"].value_counts().items()}
    # The month before the first day is curated again with it: a source that stood in then may have been healed since.
    return report(writes.replace_slice(warehouse.engine, schema.daily_bars, bars, span), bars, counts=quality | sources)
