"""Assets of gas: hourly and daily fees. Forecasts of gas live in forecasting.py."""

from collections.abc import Awaitable, Callable
from datetime import date

import dagster as dg
import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.gas.fees import HOURLY_COLUMNS, daily_fees, hourly_fees, node_fees, with_eth_prices
from defiyield_assets.domain.gas.sources import (
    ETH_FEE_HISTORY,
    ETHGASTRACKER,
    PRIORITY,
    of_unknown_days,
    prevailing_fees,
    without_poorer_days,
)
from defiyield_assets.domain.outcomes import DEGRADED, NO_CROSS_CHECK, NOT_CONFIGURED
from defiyield_assets.errors import ConfigurationError, NotRecoverable, TransientError, VendorError, VendorMalformed
from defiyield_assets.orchestration.declarations import daily_asset, is_last_attempt
from defiyield_assets.orchestration.freshness import DAILY_BY_0300
from defiyield_assets.orchestration.partitions import day_range
from defiyield_assets.orchestration.policies import ONE_RUN, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, settled_window
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.sources.defillama_coins import DefiLlamaCoins
from defiyield_assets.sources.ethereum_node import CALLS_PER_DAY, EthereumNode
from defiyield_assets.sources.ethgastracker import EthGasTracker, require_last_hour
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.store import reads, schema, writes

HOURS = 24
ANSWER_DAYS = 7
"""Days that one answer of EthGasTracker reaches back."""
VENDORS = {ETHGASTRACKER: "ethgastracker", ETH_FEE_HISTORY: "ethereum_node"}
"""Source of gas -> the vendor whose key or address it needs."""
WETH = ("Ethereum", "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2")
"""Wrapped ether on Ethereum mainnet, redeemable one to one: its close is ETH's."""
Ask = Callable[[Gateway, DayRange], Awaitable[pd.DataFrame]]


async def _tracker_hours(gateway: Gateway, days: DayRange) -> pd.DataFrame:
    def accept(rows: pd.DataFrame) -> None:
        require_last_hour(rows, days.end)

    answer = await EthGasTracker(gateway).hourly(reuse=settled_window(days, ANSWER_DAYS), accept=accept)
    return hourly_fees(answer.rows, answer.fetched_at, ETHGASTRACKER)


async def _node_hours(gateway: Gateway, days: DayRange) -> pd.DataFrame:
    answer = await EthereumNode(gateway).hourly(days, reuse=settled_window(days))
    return node_fees(answer.rows, answer.fetched_at, ETH_FEE_HISTORY)


ASKS: dict[str, Ask] = {ETHGASTRACKER: _tracker_hours, ETH_FEE_HISTORY: _node_hours}


def _configured(market: MarketResource) -> list[str]:
    """The sources that may be asked, by priority; ConfigurationError naming what each variable adds when none may."""
    found = [source for source in PRIORITY if market.has_key(VENDORS[source])]
    if not found:
        wanted = [KEY_VARIABLES[VENDORS[source]] for source in PRIORITY]
        words = " or ".join(f"{variable} ({adds})" for variable, adds in wanted)
        raise ConfigurationError(
            f"no source of gas: set {words}. Without one there is no gas, no forecast of gas and no plan; "
            f"pools, histories, prices and everything that rests on them still come"
        )
    return found


def _ask_all(
    market: MarketResource, warehouse: WarehouseResource, days: DayRange
) -> tuple[dict[str, pd.DataFrame], dict[str, VendorError]]:
    """Hours by source, and the error of each source that gave none."""
    answers: dict[str, pd.DataFrame] = {}
    lost: dict[str, VendorError] = {}
    for source in _configured(market):

        async def question(gateway: Gateway, ask: Ask = ASKS[source]) -> pd.DataFrame:
            return await ask(gateway, days)

        try:
            calls = {VENDORS[source]: 1 if source == ETHGASTRACKER else CALLS_PER_DAY * len(days)}
            answers[source] = market.ask(warehouse.engine, days.end, question, calls=calls)
        except VendorError as error:
            lost[source] = error
    return answers, lost


def _ask_for_less(market: MarketResource, warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame | None:
    """Hours of EthGasTracker without the last ones, where nobody stands in for them; None when it tells none of the
    last day either, or nothing that can be read.

    Asked anew, so that the partition's own archive holds what it took and a rebuild takes the same.
    """

    async def question(gateway: Gateway) -> pd.DataFrame:
        answer = await EthGasTracker(gateway).hourly()
        return hourly_fees(answer.rows, answer.fetched_at, ETHGASTRACKER)

    try:
        hours = market.ask(warehouse.engine, days.end, question, calls={VENDORS[ETHGASTRACKER]: 1})
    except VendorError:
        return None  # the error of the whole question says as much
    return hours if days.end in set(hours["date"]) else None


def _eth_closes(market: MarketResource, warehouse: WarehouseResource, days: DayRange) -> dict[date, float]:
    """Closes of ETH in USD by day, from DeFiLlama by WETH's address."""

    async def question(gateway: Gateway) -> Fetched[pd.DataFrame]:
        return await DefiLlamaCoins(gateway).closes([WETH], days, reuse=settled_window(days))

    rows = market.ask(warehouse.engine, days.end, question).rows
    return dict(zip(rows["date"], rows["close"].astype(float), strict=True))


def _with_prices(
    fees: pd.DataFrame, market: MarketResource, warehouse: WarehouseResource, days: DayRange
) -> tuple[pd.DataFrame, VendorError | None]:
    """The hours with ETH's price: another source's, else the close of the day; and why there is none, if there is not.

    DeFiLlama is asked only about days of which no source of gas tells a price.
    """
    told = set(fees.loc[fees["eth_price_usd"].notna(), "date"])
    silent = [day for day in days if day in set(fees["date"]) and day not in told]
    if not silent:
        return with_eth_prices(fees, {}), None
    try:
        closes = _eth_closes(market, warehouse, DayRange(silent[0], silent[-1]))
    except VendorError as error:
        return with_eth_prices(fees, {}), error
    return with_eth_prices(fees, closes), None


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
    freshness=DAILY_BY_0300,
)
def gas_fees_hourly(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Gas by the hour in gwei with the ETH price, from EthGasTracker and from a node's `eth_feeHistory`; base fee and
    effective gas price are kept apart, and so are the sources.

    One answer of EthGasTracker reaches seven days back: whole days before the day are added where no source is known
    yet. Days of a source that no answer tells of stay as they are. Where one source fails the other stands in, and the
    asset is degraded; without any it fails. EthGasTracker fails too while it does not tell the last hour; where nobody
    stands in, what it tells is taken after all attempts.
    """
    days, engine = day_range(context), warehouse.engine
    answers, lost = _ask_all(market, warehouse, days)
    if lost and _may_retry(context, [*lost.values()]):
        raise next(iter(lost.values()))
    if not answers and isinstance(lost.get(ETHGASTRACKER), VendorMalformed):
        less = _ask_for_less(market, warehouse, days)
        if less is not None:
            answers[ETHGASTRACKER] = less
            del lost[ETHGASTRACKER]
    if not answers:
        raise next(iter(lost.values()))
    frames = [frame for frame in answers.values() if len(frame)]
    fees = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(HOURLY_COLUMNS))
    fees = fees[fees["date"] <= days.end].reset_index(drop=True)
    unseen = [day for day in days if day not in set(fees["date"])]
    if unseen:
        raise next(iter(lost.values()), None) or NotRecoverable("hourly gas", unseen)
    fees, priceless = _with_prices(fees, market, warehouse, days)
    if priceless is not None and _may_retry(context, [priceless]):
        raise priceless
    inside = fees["date"].isin(set(days))
    hours = fees.groupby(["date", "kind", "source"])["hour"].transform("nunique")
    _add_earlier_days(engine, schema.gas_fees_hourly, fees[~inside & (hours == HOURS)])
    own = fees[inside].reset_index(drop=True)
    reason, kind = _degradation(market, lost, priceless, _short_days(own, days))
    return report(
        _replace_told_days(engine, own, days),
        own,
        sources=sorted(set(own["source"])),
        degraded=reason,
        degraded_by=kind,
    )


def _add_earlier_days(engine: Engine, table: Table, rows: pd.DataFrame) -> None:
    """Write rows of days before the run's where the table has no row of any source for their day and kind."""
    if len(rows):
        known = reads.read_days(engine, table, DayRange(min(rows["date"]), max(rows["date"])))
        writes.insert_missing(engine, table, of_unknown_days(rows, known))


def _replace_told_days(engine: Engine, own: pd.DataFrame, days: DayRange) -> writes.WriteReceipt:
    """Replace the hours of each source on the days that it told, and leave its other days and other sources alone."""
    table = schema.gas_fees_hourly
    rows = without_poorer_days(own, reads.read_days(engine, table, days))
    receipts = []
    for source, told in rows.groupby("source"):
        where = {"source": source, "date": sorted(set(told["date"]))}
        receipts.append(writes.replace_slice(engine, table, told.reset_index(drop=True), days, where))
    return writes.together(table, receipts)


def _may_retry(context: dg.AssetExecutionContext, errors: list[VendorError]) -> bool:
    """Whether one of the errors may heal and the step has an attempt left."""
    may_heal = any(isinstance(error, TransientError) for error in errors)
    return may_heal and not is_last_attempt(context, RETRY_INGESTION)


def _short_days(own: pd.DataFrame, days: DayRange) -> list[date]:
    """Days of which even the source that counts did not tell every hour."""
    counted = prevailing_fees(daily_fees(own, days))
    hours = counted.groupby("date")["n_hours"].max()
    return [day for day in days if hours.get(day, 0) < HOURS]


def _degradation(
    market: MarketResource, lost: dict[str, VendorError], priceless: VendorError | None, short: list[date]
) -> tuple[str | None, str]:
    """The gravest reason why the hours are not whole or not confirmed, and its class."""
    if ETHGASTRACKER in lost:
        error = lost[ETHGASTRACKER]
        return f"{ETHGASTRACKER} failed, {ETH_FEE_HISTORY} stands in: {error}", type(error).__name__
    if priceless is not None:
        return f"no price of ETH, so that gas cannot be valued: {priceless}", type(priceless).__name__
    if short:
        return f"fewer than {HOURS} hours of gas on {', '.join(map(str, short))}", DEGRADED
    if ETH_FEE_HISTORY in lost:
        return f"no second source of gas, nobody confirms the first: {lost[ETH_FEE_HISTORY]}", NO_CROSS_CHECK
    for source, vendor in VENDORS.items():
        if not market.has_key(vendor):
            variable, adds = KEY_VARIABLES[vendor]
            other = next(name for name in PRIORITY if name != source)
            return f"no {variable}, which would add {adds}; gas comes from {other} alone", NOT_CONFIGURED
    return None, NOT_CONFIGURED


@daily_asset(
    schema.gas_fees_daily, group="gas", phase=1, spec="defi.md#ingestion", backfill=ONE_RUN, deps=["gas_fees_hourly"]
)
def gas_fees_daily(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Gas by the day in gwei: mean, median, p10, p90 and maximum over the hours, with the day's last ETH price.

    One row per source and kind; which source counts on a day is one rule for all readers (domain/gas/sources.py).
    """
    days, engine = day_range(context), warehouse.engine
    span = days.back(ANSWER_DAYS)
    fees = daily_fees(reads.read_days(engine, schema.gas_fees_hourly, span), span)
    inside = fees["date"].isin(set(days))
    own = fees[inside].reset_index(drop=True)
    _add_earlier_days(engine, schema.gas_fees_daily, fees[~inside])
    return report(writes.replace_slice(engine, schema.gas_fees_daily, own, DayRange(days.start, days.end)), own)
