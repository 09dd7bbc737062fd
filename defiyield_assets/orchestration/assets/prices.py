"""Assets of prices: what the vendors say, corporate actions, and the curated daily bars.

Lives here: wiring of domain/prices. Not here: the token lists (warehouse.py), imported files (imports.py), how bars are
written (orchestration/bars.py), or the icebox (selection.py).
"""

import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.budgets import Need
from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.outcomes import NOT_CONFIGURED
from defiyield_assets.domain.prices.adjustments import actions_of_bars
from defiyield_assets.domain.prices.calendars import reaches, sessions
from defiyield_assets.domain.prices.curation import SHARE_SOURCE
from defiyield_assets.domain.prices.instruments import STABLECOINS, build_instruments
from defiyield_assets.errors import NotRecoverable, SuspiciousDataError, VendorEmpty, VendorPartial
from defiyield_assets.orchestration.bars import EVER, known_instruments, write_bars
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.freshness import DAILY_BY_0300, SESSIONS_BY_0300
from defiyield_assets.orchestration.instrument_types import BY_TYPE, CRYPTO, EQUITIES, EXCHANGE_TYPES, InstrumentTypes
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import (
    MarketResource,
    PolicyResource,
    WarehouseResource,
    settled_window,
    window_of,
)
from defiyield_assets.sources.alpha_vantage import AlphaVantage
from defiyield_assets.sources.coingecko import CALLS_PER_COIN, CoinGecko
from defiyield_assets.sources.coinmarketcap import BARS_PER_CREDIT, IDS_PER_CALL, CoinMarketCap
from defiyield_assets.sources.defillama_coins import COINS_PER_CALL, POINTS_PER_CALL, DefiLlamaCoins
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

BOOTSTRAP_DAYS = 31
"""Days of bars before a token's first day, so that the icebox can be bootstrapped."""
HISTORY_DAYS = 400
"""Days of bars before the first day of an instrument of the market part: a year's window of features, and its edge."""
CHART_DAYS = 360
"""The same where the vendor's plan sees one year."""
CHECKED_DAYS = 60
"""Days before the run of which shares are told again: what was missed comes, and adjusted closes are compared."""
MAX_SILENT_SHARE = 0.05
"""More instruments than this that were told last week and are not told now fail the source (market.md); one alone does
not: that is a gap of its own, and named by the check of gaps."""


def _days_to_ask(warehouse: WarehouseResource, table: Table, days: DayRange) -> DayRange:
    """The days of the run, and a month before them on the first day ever.

    That is when the table holds nothing older than that month, so that the first day asks the same when it runs again.
    """
    earlier = reads.newest_day(warehouse.engine, table, on_or_before=days.back(BOOTSTRAP_DAYS + 1).start)
    return days if earlier is not None else days.back(BOOTSTRAP_DAYS)


@dataclass(frozen=True)
class Question:
    """Instruments that are asked for together, and of which days."""

    instruments: pd.DataFrame
    days: DayRange


def _listed_in(instruments: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """The configured instruments that are listed on some day of the range."""
    starts = instruments["listed_at"].map(lambda first: not isinstance(first, date) or first <= days.end)
    ends = instruments["delisted_at"].map(lambda end: not isinstance(end, date) or end > days.start)
    kept = instruments[starts.astype(bool) & ends.astype(bool) & instruments["is_configured"].astype(bool)]
    return kept.reset_index(drop=True)


def _questions(engine: Engine, table: Table, listed: pd.DataFrame, days: DayRange, history: int) -> list[Question]:
    """What a vendor is asked: of instruments it told before the run's days, of others their history as well.

    Seen is what an earlier run was told of (or has a row older than that history), so that a day asks the same when it
    runs again. `history`: days for instruments of the market part; tokens get a month.
    """
    is_token = listed["universe"] == STABLECOINS
    oldest = {True: days.start - timedelta(days=BOOTSTRAP_DAYS + 1), False: days.start - timedelta(days=history + 1)}
    found, unseen = [], []
    for kind, span in ((True, BOOTSTRAP_DAYS), (False, history)):
        part = listed[is_token == kind]
        seen = reads.seen_instruments(engine, table, end_of(days.start), oldest[kind]) if len(part) else set()
        found.append(part[part["instrument_id"].isin(seen)])
        new = part[~part["instrument_id"].isin(seen)]
        unseen += [Question(new.reset_index(drop=True), days.back(span))] if len(new) else []
    known = pd.concat(found, ignore_index=True)
    return ([Question(known, days)] if len(known) else []) + unseen


def _require_enough(engine: Engine, table: Table, asked: Iterable[str], told: Collection[str], days: DayRange) -> None:
    """Refuse an answer that lost more than 5 % of the instruments that the vendor told of in the week before.

    What it never told of is unknown to it, and stays named among the missing.
    """
    week = reads.instrument_spans(engine, table, days.start - timedelta(days=1))
    expected = {name for name in asked if name in week and week[name].end >= days.back(7).start}
    silent = sorted(expected - set(told))
    if len(silent) > max(1.0, MAX_SILENT_SHARE * len(expected)):
        raise SuspiciousDataError(
            f"{len(silent)} of {len(expected)} instruments that {table.name} told last week are not told now, more "
            f"than {MAX_SILENT_SHARE:.0%}: {', '.join(silent[:5])}; nothing was written"
        )


async def _together(
    questions: Sequence[Question], ask: Callable[[Question], Awaitable[Fetched[pd.DataFrame]]]
) -> list[Fetched[pd.DataFrame]]:
    """The answers to all questions; one without any row counts as told of nothing while another tells something."""
    answers: list[Fetched[pd.DataFrame]] = []
    empty: VendorEmpty | None = None
    for question in questions:
        try:
            answers.append(await ask(question))
        except VendorEmpty as error:
            empty = error
    if empty is not None and not any(len(answer.rows) for answer in answers):
        raise empty
    return answers


def _joined(answers: Sequence[Fetched[pd.DataFrame]]) -> pd.DataFrame:
    """Rows of all answers with their stamps."""
    parts = [answer.rows.assign(fetched_at=answer.fetched_at) for answer in answers if len(answer.rows)]
    return pd.concat(parts, ignore_index=True) if parts else answers[0].rows.assign(fetched_at=answers[0].fetched_at)


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _without_key(
    warehouse: WarehouseResource, market: MarketResource, table: Table, vendor: str, instead: str
) -> dg.MaterializeResult:
    """The result of a source that is not configured: nothing written, what its key would add, what stands in."""
    receipt = writes.insert_missing(warehouse.engine, table, pd.DataFrame(columns=_columns(table)))
    reason = f"{market.why_not_asked(vendor)}; {instead}"
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

    A source tells less of a day the longer ago it is: of the instruments asked for, what it told better before stays;
    of others, as of one that no file names any more, everything does.
    """
    inside, where = frame["date"].isin(set(days)), {"instrument_id": sorted(set(asked))}
    writes.insert_missing(warehouse.engine, table, frame[~inside].reset_index(drop=True))
    stored = reads.read_days(warehouse.engine, table, days, where)
    told = _richer(stored, frame[inside].reset_index(drop=True))
    return writes.replace_slice(warehouse.engine, table, told, days, where)


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
    known = _listed_in(known_instruments(warehouse, days.end), days)
    listed = known[known["cmc_id"].notna()].reset_index(drop=True)
    by_id: dict[int, str] = dict(zip(listed["cmc_id"].astype(int), listed["instrument_id"], strict=True))
    if not market.has_key("coinmarketcap"):
        return _without_key(warehouse, market, table, "coinmarketcap", "bars come from the other vendors")
    questions = _questions(engine, table, listed, days, HISTORY_DAYS)

    async def ask(gateway: Gateway, question: Question) -> Fetched[pd.DataFrame]:
        ids = sorted(question.instruments["cmc_id"].astype(int))
        return await CoinMarketCap(gateway).ohlcv(ids, question.days, settled_window(question.days))

    answers = market.ask(
        engine,
        days.end,
        lambda gateway: _together(questions, lambda question: ask(gateway, question)),
        calls={"coinmarketcap": _cmc_need(questions)},
    )
    rows = _joined(answers)
    frame = rows.assign(instrument_id=rows["cmc_id"].map(by_id), interval="1d")[_columns(table)]
    told = set(frame["instrument_id"])
    _require_enough(engine, table, by_id.values(), told, days)
    missing = [f"{name} ({cmc_id})" for cmc_id, name in by_id.items() if name not in told]
    receipt = _keep(warehouse, table, frame, days, by_id.values())
    return report(receipt, frame, asked=len(by_id), missing=missing)


def _cmc_need(questions: Sequence[Question]) -> Need:
    """Calls, and credits by the bars that they bring."""
    calls = [math.ceil(len(question.instruments) / IDS_PER_CALL) for question in questions]
    bars = [len(question.instruments) * (len(question.days) + 1) for question in questions]
    return Need(sum(calls), sum(math.ceil(n / BARS_PER_CREDIT) for n in bars) + sum(calls))


def _coingecko_ids(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    """Every listed token and coin that has a CoinGecko id; tokens of several chains may share one."""
    known = _listed_in(known_instruments(warehouse, days.end), days)
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
        return _without_key(warehouse, market, table, "coingecko", "bars come from the other vendors")
    questions = [part for asked in _questions(engine, table, listed, days, CHART_DAYS) for part in _cut(asked, days)]

    async def ask(gateway: Gateway, question: Question) -> Fetched[pd.DataFrame]:
        wanted = sorted(set(question.instruments["coingecko_id"]))
        return await CoinGecko(gateway).daily_bars(wanted, question.days, settled_window(question.days))

    n_coins = sum(question.instruments["coingecko_id"].nunique() for question in questions)
    answers = market.ask(
        engine,
        days.end,
        lambda gateway: _together(questions, lambda question: ask(gateway, question)),
        calls={"coingecko": CALLS_PER_COIN * n_coins},
    )
    frame = _joined(answers).merge(listed[["coingecko_id", "instrument_id"]], on="coingecko_id")[_columns(table)]
    told = set(frame["instrument_id"])
    _require_enough(engine, table, listed["instrument_id"], told, days)
    receipt = _keep(warehouse, table, frame, days, listed["instrument_id"])
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
        return _without_key(warehouse, market, table, "coingecko", "market caps come from daily bars alone")
    wanted = sorted(set(ids["coingecko_id"]))

    async def question(gateway: Gateway) -> dict[date, Fetched[pd.DataFrame]]:
        client, found = CoinGecko(gateway), {}
        for day in days:
            try:
                found[day] = await client.markets(wanted, window_of(day), window_of(day))
            except NotRecoverable:
                context.log.warning("observations of %s cannot be recovered", day)
        return found

    answers = market.ask(engine, days.end, question, calls={"coingecko": len(days) * math.ceil(len(wanted) / 250)})
    lost = [day for day in days if day not in answers]
    if not answers:
        raise NotRecoverable("observations", lost)
    frame = pd.concat([_observed(answer, day, ids) for day, answer in answers.items()], ignore_index=True)
    _require_enough(engine, table, ids["instrument_id"], set(frame["instrument_id"]), days)
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
    return known[_columns(schema.observations)].reset_index(drop=True)


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


@daily_asset(
    schema.ohlcv_alpha_vantage,
    group="prices",
    phase=1,
    spec="vendors.md#alpha-vantage",
    backfill=ONE_RUN,
    deps=["instruments"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="alpha_vantage",
    substitute="bars come from imported files; the next session's run asks for what is missing",
    required_by="update_equities",
    freshness=SESSIONS_BY_0300,
    tag=EQUITIES,
)
def ohlcv_alpha_vantage(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Raw daily bars of every share, fund and index that has an Alpha Vantage symbol, with dividends and splits; what
    is asked for the first time comes with its whole life. A day without a session has no rows, and nobody is asked.

    The last months are told again with every answer: what the vendor corrects or adjusts anew is written over.
    """
    days, engine, table = day_range(context), warehouse.engine, schema.ohlcv_alpha_vantage
    known = _listed_in(known_instruments(warehouse, days.end, EXCHANGE_TYPES), days)
    listed = known[known["alpha_vantage_symbol"].notna()].reset_index(drop=True)
    if not market.has_key("alpha_vantage"):
        return _without_key(warehouse, market, table, "alpha_vantage", "bars come from imported files (import-csv)")
    seen = reads.seen_instruments(engine, table, end_of(days.start), date.min)
    spans = reads.instrument_spans(engine, table, days.start - timedelta(days=1))
    near = days.back(CHECKED_DAYS)
    is_near = [name in seen and name in spans and spans[name].end >= near.start for name in listed["instrument_id"]]
    is_known = [reaches(calendar, days) for calendar in listed["calendar"]]
    unknown = sorted(listed.loc[~pd.Series(is_known, dtype=bool), "instrument_id"])
    pairs = zip(listed["calendar"], is_known, strict=True)
    has_session = [known and bool(sessions(calendar, days)) for calendar, known in pairs]
    old = listed[pd.Series(is_near) & pd.Series(has_session)] if len(listed) else listed
    new = listed[~pd.Series(is_near)] if len(listed) else listed
    asked = pd.concat([old, new])
    if asked.empty:
        receipt = writes.insert_missing(engine, table, pd.DataFrame(columns=_columns(table)))
        return report(
            receipt,
            asked=0,
            words="no session" if len(listed) else "no instrument has a symbol",
            calendar_unknown=unknown,
        )

    async def question(gateway: Gateway) -> list[Fetched[pd.DataFrame]]:
        client, whole = AlphaVantage(gateway), DayRange(EVER.start, days.end)
        told = []
        if len(old):
            symbols = list(old["alpha_vantage_symbol"])
            told.append(await client.daily_adjusted(symbols, near, reuse=settled_window(near)))
        if len(new):
            symbols = list(new["alpha_vantage_symbol"])
            told.append(await client.daily_adjusted(symbols, whole, outputsize="full", reuse=settled_window(days)))
        return told

    answers = market.ask(engine, days.end, question, calls={"alpha_vantage": len(asked)})
    missing = sorted({name for answer in answers for name in answer.missing})
    if len(missing) > MAX_SILENT_SHARE * len(asked):
        kind = VendorPartial if any(answer.may_heal for answer in answers) else SuspiciousDataError
        raise kind(
            f"{len(missing)} of {len(asked)} symbols were not answered, more than {MAX_SILENT_SHARE:.0%}: "
            f"{', '.join(missing[:5])}; nothing was written"
        )
    rows = _joined(answers).rename(columns={"symbol": "alpha_vantage_symbol"})
    frame = rows.merge(listed[["alpha_vantage_symbol", "instrument_id"]], on="alpha_vantage_symbol")[_columns(table)]
    names = sorted(asked["instrument_id"])
    told, stored = _newest_words(engine, table, frame, days, names)
    inside = told["date"].isin(set(days))
    new, kept = told[inside], stored[stored["date"].isin(set(days))]
    of_days = pd.concat([new, kept], ignore_index=True) if len(new) and len(kept) else (new if len(new) else kept)
    earlier = told[~inside].reset_index(drop=True)
    where = {"instrument_id": names}
    receipt = writes.replace_slice(engine, table, of_days.reset_index(drop=True), days, where, corrections=earlier)
    return report(
        receipt, of_days, asked=len(asked), missing=missing, earlier_rows=len(earlier), calendar_unknown=unknown
    )


def _newest_words(
    engine: Engine, table: Table, told: pd.DataFrame, days: DayRange, asked: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that are new or say something else than what is stored, and the stored ones that stay as they are.

    Of two words the one with the later stamp counts, so that an old day that runs again takes nothing back.
    """
    span = DayRange(min(told["date"].min(), days.start), days.end) if len(told) else days
    stored = reads.read_days(engine, table, span, {"instrument_id": asked})
    if told.empty:
        return told, stored
    keys = ["instrument_id", "interval", "ts"]
    facts = [name for name in told.columns if name not in (*keys, "fetched_at")]
    both = told.merge(stored, on=keys, how="left", suffixes=("", "_stored"), indicator=True)
    is_new, differs = both["_merge"].eq("left_only").to_numpy(), np.zeros(len(both), dtype=bool)
    for name in facts:
        one, other = both[name], both[f"{name}_stored"]
        differs |= (one.ne(other) & ~(one.isna() & other.isna())).to_numpy(bool)
    is_later = (both["fetched_at"] > both["fetched_at_stored"]).to_numpy(bool)
    written = told[is_new | (differs & is_later)].reset_index(drop=True)
    marked = stored.merge(written[keys].assign(is_written=True), on=keys, how="left")
    return written, stored[marked["is_written"].isna().to_numpy(bool)].reset_index(drop=True)


@daily_asset(
    schema.corporate_actions,
    group="prices",
    phase=1,
    spec="market.md#tables",
    backfill=ONE_RUN,
    deps=["ohlcv_alpha_vantage"],
    freshness=SESSIONS_BY_0300,
    tag=EQUITIES,
)
def corporate_actions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Every split and dividend up to the day, as the vendor's bars carry them; what the vendor took back goes."""
    days, engine = day_range(context), warehouse.engine
    known = reads.read_all(engine, schema.instruments)
    scales = dict(zip(known["instrument_id"], known["price_scale"].astype(float), strict=True))
    frame = actions_of_bars(reads.bars_with_actions(engine, days.end), SHARE_SOURCE, scales)
    receipt = writes.replace_slice(engine, schema.corporate_actions, frame, DayRange(EVER.start, days.end))
    of_days = frame[frame["ex_date"].isin(set(days))]
    kinds = {f"new_{kind}": int(n) for kind, n in of_days["kind"].value_counts().items()}
    return report(receipt, of_days, counts=kinds)


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
