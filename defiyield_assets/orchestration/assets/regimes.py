"""Assets of markets beside features: events, regimes, and the targets that learners get.

Lives here: wiring of domain/market/{events,regimes,learning}.py. Not here: features (market.py), bars (prices.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.market.events import EARNINGS_SOURCE, due, earnings_events
from defiyield_assets.domain.market.learning import HORIZONS, LONGEST_DAYS, forward_returns
from defiyield_assets.domain.market.plots import plot_regimes
from defiyield_assets.domain.market.regimes import (
    LEAST_RETURNS,
    MARKETS,
    READ_DAYS,
    RegimeModel,
    quarter_start,
    regimes_of,
)
from defiyield_assets.domain.prices.adjustments import with_payout_growth
from defiyield_assets.domain.prices.instruments import listed_on
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.instrument_types import BY_TYPE, EQUITIES, InstrumentTypes
from defiyield_assets.orchestration.invalidation import resting_on_events, resting_on_regimes
from defiyield_assets.orchestration.not_configured import without_key
from defiyield_assets.orchestration.partitions import day_range, rolling
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import picture, report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, settled_window
from defiyield_assets.sources.alpha_vantage import AlphaVantage
from defiyield_assets.sources.transport import Fetched, Gateway, all_of
from defiyield_assets.store import reads, rows, schema, writes

PRICE_COLUMNS = ["instrument_id", "instrument_type", "date", "close", "adj_factor"]
DRAWN_DAYS = 730
LATE_REGIMES = 600
"""Days between the first bar of a market and its first regime that are no sign of bars imported later: a year of
returns and a quarter, with holidays and holes.
"""
ASKED_AT_ONCE = 300
"""Instruments that one query asks for."""


@daily_asset(
    schema.market_events,
    group="market",
    phase=1,
    spec="vendors.md#alpha-vantage",
    backfill=ONE_RUN,
    deps=["instruments"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="alpha_vantage",
    substitute="events told before stay as they are",
    tag=EQUITIES,
)
def market_events(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Earnings that companies reported, with their surprise; everybody is asked for once a week. Events of other kinds
    come from imported files. A row is never changed: what was known stays known.
    """
    days, engine = day_range(context), warehouse.engine
    if not market.has_key("alpha_vantage"):
        instead = "events come from imported files only"
        return without_key(warehouse, market, schema.market_events, "alpha_vantage", instead)
    symbols = _due_symbols(engine, days)

    async def question(gateway: Gateway) -> list[Fetched[pd.DataFrame]]:
        client = AlphaVantage(gateway)
        return await all_of(client.earnings(symbol, settled_window(days)) for symbol in symbols.values())

    answers = market.ask(engine, days.end, question, calls={"alpha_vantage": len(symbols)}) if symbols else []
    told = [
        earnings_events(answer.rows, instrument_id, days.end, answer.fetched_at)
        for instrument_id, answer in zip(symbols, answers, strict=True)
    ]
    frame = _joined(schema.market_events, told)
    missing = [name for answer in answers for name in answer.missing]
    stored = reads.read_all(engine, schema.market_events, {"source": EARNINGS_SOURCE, "instrument_id": list(symbols)})
    new = frame[~frame["event_id"].isin(stored["event_id"])]
    receipt = writes.insert_missing(engine, schema.market_events, frame, beside=resting_on_events(engine, new))
    return report(receipt, frame, asked=len(symbols), missing=missing)


def _due_symbols(engine: Engine, days: DayRange) -> dict[str, str]:
    """The vendor's symbol of every company whose earnings are asked for on these days, by instrument.

    Who is new is judged by what was there before the days, so that they ask the same when they run again.
    """
    listed = listed_on(reads.read_all(engine, schema.instruments, {"type": "equity"}), days.end)
    symbols = dict(zip(listed["instrument_id"], listed["alpha_vantage_symbol"], strict=True))
    known = {name: str(symbol) for name, symbol in symbols.items() if symbol is not None}
    stored = reads.read_all(engine, schema.market_events, {"source": EARNINGS_SOURCE})
    before = stored.loc[stored["fetched_at"] < end_of(days.start), "instrument_id"]
    return {name: known[name] for name in due(known, set(before), days)}


def catch_up(
    bars: Mapping[str, DayRange], made: Mapping[str, DayRange], days: DayRange, late_by: int
) -> dict[str, date]:
    """From which day on rows are made of each instrument that has bars to make them of.

    `bars`, `made`: first and last day of its bars up to the last day of the run, and of its rows before the run's days.
    What never had a row gets its whole history, as does what has bars more than `late_by` days before its first row
    (they were imported later); otherwise what came since its newest row, at the latest from the run's first day on.
    """
    starts = {}
    for name, span in bars.items():
        known = made.get(name)
        if known is None or (known.start - span.start).days > late_by:
            starts[name] = span.start
        else:
            starts[name] = min(days.start, known.end + timedelta(days=1))
    return {name: start for name, start in starts.items() if start <= bars[name].end}


def _made_before(engine: Engine, table: Table, days: DayRange) -> dict[str, DayRange]:
    return reads.instrument_spans(engine, table, days.start - timedelta(days=1))


def _bars_from(engine: Engine, starts: Mapping[str, date], end: date, back: int) -> pd.DataFrame:
    """Bars of instruments from their start on, and of `back` days before it, to the end."""
    found = []
    for start in sorted(set(starts.values())):
        names = [name for name, first in starts.items() if first == start]
        for first in range(0, len(names), ASKED_AT_ONCE):
            some = {"instrument_id": names[first : first + ASKED_AT_ONCE]}
            span = DayRange(start, end).back(back)
            found.append(reads.read_days(engine, schema.daily_bars, span, some, PRICE_COLUMNS))
    filled = [frame for frame in found if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=PRICE_COLUMNS)


def _write(
    engine: Engine,
    table: Table,
    frame: pd.DataFrame,
    days: DayRange,
    where: Mapping[str, Any],
    *,
    beside: Sequence[writes.Beside] = (),
) -> tuple[writes.WriteReceipt, pd.DataFrame]:
    """Make the slice exactly the frame's rows of the run's days, add or replace the earlier ones and do what is given
    `beside`; the receipt is that of the days, whose rows come with it.
    """
    inside = np.array([day in days for day in frame[table.info["day"]]], dtype=bool)
    of_days = frame[inside].reset_index(drop=True)
    with writes.replacing(engine, [table], days, where, beside=beside) as writer:
        writer.correct(table, frame)
    digest = rows.rows_hash(table, rows.to_rows(table, of_days))
    return writes.WriteReceipt(table.name, len(of_days), of_days[table.info["day"]].nunique(), digest), of_days


@daily_asset(
    schema.market_regimes,
    group="market",
    phase=3,
    spec="market.md#tables",
    backfill=ONE_RUN,
    deps=[dg.AssetDep("daily_bars", partition_mapping=rolling(READ_DAYS))],
    kinds=("statsmodels", "sql"),
    tag=BY_TYPE,
)
def market_regimes(
    context: dg.AssetExecutionContext, config: InstrumentTypes, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Whether a market is calm, normal or turbulent: probabilities filtered from the returns up to the day, by a model
    fitted on the days before its quarter. No row without a bar, nor before there are 250 returns to fit. Days before
    the run's that have bars but no regime yet are made with it.
    """
    days, engine = day_range(context), warehouse.engine
    wanted = {market: name for market, name in MARKETS.items() if name.partition(":")[0] in config.instrument_types}
    spans = reads.instrument_spans(engine, schema.daily_bars, days.end, {"instrument_id": list(wanted.values())})
    starts = catch_up(spans, _made_before(engine, schema.market_regimes, days), days, LATE_REGIMES)
    bars = _bars_from(engine, starts, days.end, READ_DAYS)
    drawn = DayRange(quarter_start(days.start), days.end).back(DRAWN_DAYS)
    stored = reads.read_days(engine, schema.market_regimes, drawn, {"market": list(wanted)})
    models = [RegimeModel.from_json(text) for text in sorted(set(stored["model_json"]))]
    made = []
    for market, name in wanted.items():
        if name in starts:
            own = bars[bars["instrument_id"] == name]
            made.append(regimes_of(market, own, DayRange(min(starts[name], days.start), days.end), models))
    frame = _joined(schema.market_regimes, made)
    beside = resting_on_regimes(engine, frame, days, list(wanted))
    receipt, of_days = _write(engine, schema.market_regimes, frame, days, {"market": list(wanted)}, beside=beside)
    shown = _joined(schema.market_regimes, [frame, stored]).drop_duplicates(["market", "date"])
    shown = shown[[drawn.start <= day for day in shown["date"]]]
    facts: dict[str, Any] = {f"rows_{market}": int((of_days["market"] == market).sum()) for market in wanted}
    facts |= {f"regimes_{market}": _picture(market, bars, shown, drawn) for market in set(of_days["market"])}
    told = of_days.drop(columns="model_json")
    return report(receipt, told, counts=facts, earlier_rows=len(frame) - len(of_days), least_returns=LEAST_RETURNS)


def _joined(table: Table, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Frames one below the other with the table's columns; without any row, none."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=[*table.columns.keys()])


def _picture(market: str, bars: pd.DataFrame, regimes: pd.DataFrame, days: DayRange) -> dg.MetadataValue[Any] | None:
    """Prices and regimes of one market over the days drawn."""
    name = MARKETS[market]
    own = bars[(bars["instrument_id"] == name) & (bars["date"] >= days.start)]
    return picture(
        lambda: plot_regimes(own, regimes[regimes["market"] == market], f"{market} ({name})"), f"regimes of {market}"
    )


@daily_asset(
    schema.feature_targets,
    group="market",
    phase=3,
    spec="market.md#features",
    backfill=ONE_RUN,
    deps=[dg.AssetDep("daily_bars", partition_mapping=rolling(LONGEST_DAYS)), "corporate_actions"],
    tag=BY_TYPE,
)
def feature_targets(
    context: dg.AssetExecutionContext, config: InstrumentTypes, warehouse: WarehouseResource
) -> dg.MaterializeResult:
    """Forward log returns over 1, 5 and 20 bars for learning, in the partition of the day on which they become known;
    days before the run's that have bars but no targets yet are made with it. No feature reads them: learners join them
    through `training_rows`, which refuses what their day does not know.
    """
    days, engine, table = day_range(context), warehouse.engine, schema.feature_targets
    spans = reads.instrument_spans(engine, schema.daily_bars, days.end, config.slices)
    starts = catch_up(spans, _made_before(engine, table, days), days, LONGEST_DAYS)
    bars = _bars_from(engine, starts, days.end, LONGEST_DAYS)
    first = min(starts.values(), default=days.start)
    actions = reads.read_all(engine, schema.corporate_actions)
    told = forward_returns(
        with_payout_growth(bars, actions[actions["ex_date"] <= days.end]), DayRange(min(first, days.start), days.end)
    )
    is_due = [known >= starts[name] for name, known in zip(told["instrument_id"], told["known_on"], strict=True)]
    frame = told[np.array(is_due, dtype=bool)].reset_index(drop=True)
    receipt, of_days = _write(engine, table, frame, days, config.slices)
    by_horizon = of_days["horizon_days"].value_counts()
    counts = {f"bars_{horizon}": int(by_horizon.get(horizon, 0)) for horizon in HORIZONS}
    return report(receipt, of_days, counts=counts, earlier_rows=len(frame) - len(of_days))
