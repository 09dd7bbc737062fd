"""Assets of prices: what the vendors say of tokens and coins, and the curated daily bars of everything.

Lives here: wiring of domain/prices. Not here: shares (shares.py), the token lists (warehouse.py), imported files
(imports.py), how vendors are asked (orchestration/price_questions.py) or bars written (orchestration/bars.py).
"""

import math
from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.budgets import Need
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.instruments import STABLECOINS, build_instruments
from defiyield_assets.errors import NotRecoverable
from defiyield_assets.orchestration.bars import EVER, known_instruments, write_bars
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.freshness import DAILY_BY_0300
from defiyield_assets.orchestration.instrument_types import BY_TYPE, CRYPTO, InstrumentTypes
from defiyield_assets.orchestration.not_configured import without_key
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.price_questions import (
    BOOTSTRAP_DAYS,
    HISTORY_DAYS,
    Question,
    columns_of,
    joined,
    keep,
    listed_in,
    questions_of,
    require_enough,
    together,
)
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import (
    MarketResource,
    PolicyResource,
    WarehouseResource,
    settled_window,
    window_of,
)
from defiyield_assets.sources.coingecko import CALLS_PER_COIN, CoinGecko
from defiyield_assets.sources.coingecko import IDS_PER_CALL as IDS_PER_MARKETS_CALL
from defiyield_assets.sources.coinmarketcap import BARS_PER_CREDIT, IDS_PER_CALL, CoinMarketCap
from defiyield_assets.sources.defillama_coins import COINS_PER_CALL, POINTS_PER_CALL, DefiLlamaCoins
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

CHART_DAYS = 360
"""The same where the vendor's plan sees one year."""


def _days_to_ask(warehouse: WarehouseResource, table: Table, days: DayRange) -> DayRange:
    """The days of the run, and a month before them on the first day ever.

    That is when the table holds nothing older than that month, so that the first day asks the same when it runs again.
    """
    earlier = reads.newest_day(warehouse.engine, table, on_or_before=days.back(BOOTSTRAP_DAYS + 1).start)
    return days if earlier is not None else days.back(BOOTSTRAP_DAYS)


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
    """Daily bars with market capitalisation of every approved token and coin that has a CoinMarketCap id; what is asked
    for the first time comes with its history.
    """
    days, engine, table = day_range(context), warehouse.engine, schema.ohlcv_coinmarketcap
    known = listed_in(known_instruments(warehouse, days.end), days)
    listed = known[known["cmc_id"].notna()].reset_index(drop=True)
    by_id: dict[int, str] = dict(zip(listed["cmc_id"].astype(int), listed["instrument_id"], strict=True))
    if not market.has_key("coinmarketcap"):
        return without_key(warehouse, market, table, "coinmarketcap", "bars come from the other vendors")
    questions = questions_of(engine, table, listed, days, HISTORY_DAYS)

    async def ask(gateway: Gateway, question: Question) -> Fetched[pd.DataFrame]:
        ids = sorted(question.instruments["cmc_id"].astype(int))
        return await CoinMarketCap(gateway).ohlcv(ids, question.days, settled_window(question.days))

    answers = market.ask(
        engine,
        days.end,
        lambda gateway: together(questions, lambda question: ask(gateway, question)),
        calls={"coinmarketcap": _cmc_need(questions)},
    )
    rows = joined(answers)
    frame = rows.assign(instrument_id=rows["cmc_id"].map(by_id), interval="1d")[columns_of(table)]
    told = set(frame["instrument_id"])
    require_enough(engine, table, by_id.values(), told, days)
    missing = [f"{name} ({cmc_id})" for cmc_id, name in by_id.items() if name not in told]
    receipt = keep(warehouse, table, frame, days, by_id.values())
    return report(receipt, frame, asked=len(by_id), missing=missing)


def _cmc_need(questions: Sequence[Question]) -> Need:
    """Calls, and credits by the bars that they bring."""
    calls = [math.ceil(len(question.instruments) / IDS_PER_CALL) for question in questions]
    bars = [len(question.instruments) * (len(question.days) + 1) for question in questions]
    return Need(sum(calls), sum(math.ceil(n / BARS_PER_CREDIT) for n in bars) + sum(calls))


def _coingecko_ids(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    """Every listed token and coin that has a CoinGecko id; tokens of several chains may share one."""
    known = listed_in(known_instruments(warehouse, days.end), days)
    return known[known["coingecko_id"].notna()].reset_index(drop=True)


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
    """Daily bars of every approved token and coin that has a CoinGecko id: the UTC day's candles, with volume and
    market capitalisation of its end; what is asked for the first time comes with its history.
    """
    days, engine, table = day_range(context), warehouse.engine, schema.ohlcv_coingecko
    listed = _coingecko_ids(warehouse, days)
    if not market.has_key("coingecko"):
        return without_key(warehouse, market, table, "coingecko", "bars come from the other vendors")
    questions = [part for asked in questions_of(engine, table, listed, days, CHART_DAYS) for part in _cut(asked, days)]

    async def ask(gateway: Gateway, question: Question) -> Fetched[pd.DataFrame]:
        wanted = sorted(set(question.instruments["coingecko_id"]))
        return await CoinGecko(gateway).daily_bars(wanted, question.days, settled_window(question.days))

    n_coins = sum(question.instruments["coingecko_id"].nunique() for question in questions)
    answers = market.ask(
        engine,
        days.end,
        lambda gateway: together(questions, lambda question: ask(gateway, question)),
        calls={"coingecko": CALLS_PER_COIN * n_coins},
    )
    frame = joined(answers).merge(listed[["coingecko_id", "instrument_id"]], on="coingecko_id")[columns_of(table)]
    told = set(frame["instrument_id"])
    require_enough(engine, table, listed["instrument_id"], told, days)
    receipt = keep(warehouse, table, frame, days, listed["instrument_id"])
    of_days = [answer for answer, question in zip(answers, questions, strict=False) if question.days == days]
    missing = sorted({name for answer in of_days for name in answer.missing})
    return report(receipt, frame, asked=len(listed), missing=missing)


def _cut(question: Question, days: DayRange) -> list[Question]:
    """The days before the run's are a question of their own: candles do not reach them, only closes do, and the run's
    own days are to be told the same when they are asked for again.
    """
    if question.days == days:
        return [question]
    before = DayRange(question.days.start, days.start - timedelta(days=1))
    return [Question(question.instruments, days), Question(question.instruments, before)]


OBSERVED = (
    *("price_usd", "market_cap_usd", "volume_24h_usd", "high_24h_usd", "low_24h_usd"),
    *("circulating_supply", "total_supply", "max_supply", "market_cap_rank"),
)


@daily_asset(
    schema.observations,
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
def observations(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """What CoinGecko says of every approved token and coin at the end of the day: price, capitalisation, the rolling 24
    hours, supplies and rank. Rows are only ever added; they are no bars.

    The source only knows "now": a past day comes from the archive or is left as it is, and the asset is degraded.
    """
    days, engine, table = day_range(context), warehouse.engine, schema.observations
    ids = _coingecko_ids(warehouse, days)[["coingecko_id", "instrument_id"]]
    if not market.has_key("coingecko"):
        return without_key(warehouse, market, table, "coingecko", "market caps come from daily bars alone")
    wanted = sorted(set(ids["coingecko_id"]))

    async def question(gateway: Gateway) -> dict[date, Fetched[pd.DataFrame]]:
        client, found = CoinGecko(gateway), {}
        for day in days:
            try:
                found[day] = await client.markets(wanted, window_of(day), window_of(day))
            except NotRecoverable:
                context.log.warning("observations of %s cannot be recovered", day)
        return found

    answers = market.ask(
        engine, days.end, question, calls={"coingecko": len(days) * math.ceil(len(wanted) / IDS_PER_MARKETS_CALL)}
    )
    lost = [day for day in days if day not in answers]
    if not answers:
        raise NotRecoverable("observations", lost)
    frame = pd.concat([_observed(answer, day, ids) for day, answer in answers.items()], ignore_index=True)
    require_enough(engine, table, ids["instrument_id"], set(frame["instrument_id"]), days)
    frame = frame.drop_duplicates(["source", "instrument_id", "metric", "observed_at"], ignore_index=True)
    receipt = writes.insert_missing(engine, table, frame)
    missing = sorted({name for answer in answers.values() for name in answer.missing})
    degraded = f"not recoverable on {', '.join(map(str, lost))}: the source only knows now" if lost else None
    return report(receipt, frame, asked=len(ids), missing=missing, degraded=degraded)


def _observed(answer: Fetched[pd.DataFrame], day: date, ids: pd.DataFrame) -> pd.DataFrame:
    """Rows of `/coins/markets` as observations, dated by the run that was told them first."""
    rows = answer.rows.merge(ids, on="coingecko_id")
    stamps = pd.to_datetime(rows["updated_at"], utc=True).fillna(pd.Timestamp(answer.fetched_at))
    keyed = rows.assign(
        source="coingecko", observed_at=stamps, date=day, fetched_at=pd.Timestamp(answer.fetched_at)
    ).melt(
        ["source", "instrument_id", "observed_at", "date", "fetched_at"],
        [name for name in OBSERVED if name in rows],
        var_name="metric",
    )
    known = keyed[keyed["value"].notna()].astype({"value": float, "metric": object})
    return known[columns_of(schema.observations)].reset_index(drop=True)


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
    )[columns_of(schema.closes_defillama)]
    receipt = keep(warehouse, schema.closes_defillama, frame, days, known["instrument_id"])
    return report(receipt, frame, asked=len(coins), missing=list(answer.missing))


@daily_asset(
    schema.daily_bars,
    group="prices",
    phase=1,
    spec="market.md#tables",
    backfill=ONE_RUN,
    deps=[
        *("ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama", "observations", "ohlcv_alpha_vantage"),
        *("corporate_actions", "instruments", "token_registry", "ohlcv_csv", "intraday_bars"),
    ],
    tag=BY_TYPE,
    apart=("ohlcv_alpha_vantage", "corporate_actions", "ohlcv_csv", "intraday_bars"),
)
def daily_bars(
    context: dg.AssetExecutionContext, config: InstrumentTypes, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """One bar per instrument and day, from one source by priority; a bar that is only a close, a snapshot or an
    assumption says so. Prices are raw; the factors of all older bars are restated when a split or dividend arrives.

    A day of which no vendor told any price of a token or coin fails: then nothing stands in any more.
    """
    days, engine = day_range(context), warehouse.engine
    instruments = known_instruments(warehouse, days.end, config.instrument_types)
    written = write_bars(
        engine,
        instruments,
        days,
        policy.universe().source_priority,
        where=config.slices,
        starts=_first_bars(engine, instruments, days),
        needed=set(instruments.loc[instruments["universe"] == STABLECOINS, "instrument_id"]),
    )
    return report(
        written.receipt,
        written.bars,
        counts={
            f"{what}_{name}": int(n)
            for what in ("quality", "source")
            for name, n in written.bars[what].value_counts().items()
        },
        earlier_bars=len(written.history),
        restated_bars=written.n_restated,
        off_session=[" ".join(map(str, row)) for row in written.off_session.head(50).itertuples(index=False)],
    )


def _first_bars(engine: Engine, instruments: pd.DataFrame, days: DayRange) -> dict[str, date]:
    """Instruments that get bars of days before the run's, and from which day on.

    That is their history for those that had no bar before, and for all on the first day ever (a source that stood in
    then may have been healed since); for instruments of the market part what came late since their newest bar.
    """
    stored = reads.instrument_spans(engine, schema.daily_bars, days.start - timedelta(days=1))
    ran = reads.days_with_rows(engine, schema.policy_snapshot)
    is_first = ran is None or days.start <= ran.start
    starts = {}
    for name, kind, universe in zip(*(instruments[c] for c in ("instrument_id", "type", "universe")), strict=True):
        back = BOOTSTRAP_DAYS if universe == STABLECOINS else HISTORY_DAYS
        if is_first or name not in stored:
            starts[name] = days.start - timedelta(days=back) if kind in CRYPTO else EVER.start
        elif universe != STABLECOINS:
            starts[name] = stored[name].end + timedelta(days=1)
    return starts
