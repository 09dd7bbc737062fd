"""Assets of macro series. Nothing in the daily plan depends on them; they are features for later models."""

import dagster as dg
import pandas as pd

from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.freshness import DAILY_BY_0300
from defiyield_assets.orchestration.invalidation import resting_on_macro
from defiyield_assets.orchestration.not_configured import without_key
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, settled_window
from defiyield_assets.settings import load_settings
from defiyield_assets.sources.fred import Fred
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import schema, writes

LOOKBACK_DAYS = 400
"""How far back every day asks: the year that features look at, and late vintages of monthly series."""


@daily_asset(
    schema.macro_series,
    group="ingestion",
    phase=1,
    spec="vendors.md#fred",
    backfill=ONE_RUN,
    deps=["policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="fred",
    freshness=DAILY_BY_0300,
)
def macro_series(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Observations of the followed FRED series by vintage; nothing is known before its vintage."""
    days, engine = day_range(context), warehouse.engine
    empty = pd.DataFrame(columns=[column.name for column in schema.macro_series.columns])
    if not market.has_key("fred"):
        return without_key(warehouse, market, schema.macro_series, "fred", "without it there are none")
    series = [name.strip() for name in load_settings().fred_series.split(",") if name.strip()]
    span = days.back(LOOKBACK_DAYS)

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        client = Fred(gateway)
        answers = [await client.observations(name, span.start, span.end, reuse=settled_window(days)) for name in series]
        return [answer.rows.assign(fetched_at=answer.fetched_at) for answer in answers]

    answers = [answer for answer in market.ask(engine, days.end, question) if len(answer)]
    frame = pd.concat(answers, ignore_index=True)[list(empty.columns)] if answers else empty
    frame = frame[frame["vintage"] <= days.end].reset_index(drop=True)
    return report(
        writes.insert_missing(engine, schema.macro_series, frame, beside=resting_on_macro(engine, frame)),
        frame,
        series=series,
    )
