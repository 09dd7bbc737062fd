"""Assets of shares, funds and indices: what Alpha Vantage says of their sessions, and the actions that its bars carry.

Lives here: wiring of sources/alpha_vantage.py and domain/prices/adjustments.py. Not here: bars of coins and the curated
ones (prices.py), earnings (regimes.py).
"""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.prices.adjustments import actions_of_bars
from defiyield_assets.domain.prices.calendars import reaches, sessions
from defiyield_assets.domain.prices.curation import SHARE_SOURCE
from defiyield_assets.errors import SuspiciousDataError, VendorPartial
from defiyield_assets.orchestration.bars import EVER, known_instruments
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.freshness import SESSIONS_BY_0300
from defiyield_assets.orchestration.instrument_types import EQUITIES, EXCHANGE_TYPES
from defiyield_assets.orchestration.not_configured import without_key
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.price_questions import MAX_SILENT_SHARE, columns_of, joined, listed_in
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, settled_window
from defiyield_assets.sources.alpha_vantage import AlphaVantage
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

CHECKED_DAYS = 60
"""Days before the run of which shares are told again: what was missed comes, and adjusted closes are compared."""


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
    known = listed_in(known_instruments(warehouse, days.end, EXCHANGE_TYPES), days)
    listed = known[known["alpha_vantage_symbol"].notna()].reset_index(drop=True)
    if not market.has_key("alpha_vantage"):
        return without_key(warehouse, market, table, "alpha_vantage", "bars come from imported files (import-csv)")
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
        receipt = writes.insert_missing(engine, table, pd.DataFrame(columns=columns_of(table)))
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
    rows = joined(answers).rename(columns={"symbol": "alpha_vantage_symbol"})
    frame = rows.merge(listed[["alpha_vantage_symbol", "instrument_id"]], on="alpha_vantage_symbol")[columns_of(table)]
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
