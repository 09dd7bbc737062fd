"""Assets of gas: hourly and daily fees. Forecasts of gas live in forecasting.py."""

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.gas.fees import daily_fees, hourly_fees
from defiyield_assets.errors import ConfigurationError, NotRecoverable
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.sources.ethgastracker import EthGasTracker
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

HOURS = 24
ANSWER_DAYS = 7
"""Days that one answer of EthGasTracker reaches back."""


@daily_asset(
    schema.gas_fees_hourly,
    group="gas",
    phase=1,
    spec="vendors.md#ethgastracker",
    backfill=ONE_RUN,
    deps=["policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="ethgastracker",
)
def gas_fees_hourly(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Gas by the hour in gwei with the ETH price; base fee and effective gas price are kept apart.

    One answer reaches seven days back: complete hours before the day are added where none is known yet.
    """
    days, engine = day_range(context), warehouse.engine
    if not market.has_key("ethgastracker"):
        variable, adds = KEY_VARIABLES["ethgastracker"]
        raise ConfigurationError(
            f"no {variable}: without it there are no {adds}, and no plan; pools and prices still come"
        )

    async def question(gateway: Gateway) -> Fetched[pd.DataFrame]:
        return await EthGasTracker(gateway).hourly()

    answer = market.ask(engine, days.end, question)
    fees = hourly_fees(answer.rows, answer.fetched_at, "ethgastracker")
    fees = fees[fees["date"] <= days.end]
    inside = fees["date"].isin(set(days))
    unseen = [day for day in days if day not in set(fees["date"])]
    if unseen:
        raise NotRecoverable("hourly gas", unseen)
    hours = fees.groupby(["date", "kind"])["hour"].transform("nunique")
    writes.insert_missing(engine, schema.gas_fees_hourly, fees[~inside & (hours == HOURS)].reset_index(drop=True))
    own = fees[inside].reset_index(drop=True)
    short = sorted({f"{day}" for day in fees.loc[inside & (hours < HOURS), "date"]})
    return report(
        writes.replace_slice(engine, schema.gas_fees_hourly, own, days),
        own,
        degraded=f"fewer than {HOURS} hours of gas on {', '.join(short)}" if short else None,
    )


@daily_asset(
    schema.gas_fees_daily, group="gas", phase=1, spec="defi.md#ingestion", backfill=ONE_RUN, deps=["gas_fees_hourly"]
)
def gas_fees_daily(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Gas by the day in gwei: mean, median, p10, p90 and maximum over the hours, with the day's last ETH price."""
    days, engine = day_range(context), warehouse.engine
    span = days.back(ANSWER_DAYS)
    fees = daily_fees(reads.read_days(engine, schema.gas_fees_hourly, span), span)
    inside = fees["date"].isin(set(days))
    own = fees[inside].reset_index(drop=True)
    writes.insert_missing(engine, schema.gas_fees_daily, fees[~inside].reset_index(drop=True))
    return report(writes.replace_slice(engine, schema.gas_fees_daily, own, DayRange(days.start, days.end)), own)
