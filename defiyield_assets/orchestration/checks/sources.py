"""Checks of every source: what it told is of its day, and its answers keep the shape that our parsers know.

Lives here: one step per source for both, because a check step costs time. Not here: ages (freshness.py), shapes
(sources/drift.py), what two sources say of one thing (prices.py, gas.py).
"""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from defiyield_assets.domain.outcomes import NOT_CONFIGURED
from defiyield_assets.orchestration.freshness import AGES, Age, newest_expected
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import OFFENDING_ROWS, OFFENDING_WIDTH, plain, preview
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.sources.drift import SHAPES, drift_of_bodies
from defiyield_assets.store import reads, schema
from defiyield_assets.store.archive import bodies_of

FRESH, SHAPE = "newest_day_is_fresh", "answers_keep_their_shape"
MESSAGE_WIDTH = 1_000
"""Characters of drift that a description shows."""
BODIES = 20
"""Newest answers of an endpoint that are looked at."""
ENDPOINTS = {
    "pools": [("defillama_yields", "/pools"), ("defillama_yields", "/lendBorrow")],
    "pool_histories": [("defillama_yields", "/chart/{pool}")],
    "lending_histories": [("defillama_yields", "/chartLendBorrow/{pool}")],
    "ohlcv_coinmarketcap": [("coinmarketcap", "/v2/cryptocurrency/ohlcv/historical")],
    "ohlcv_coingecko": [("coingecko", "/coins/{id}/ohlc"), ("coingecko", "/coins/{id}/market_chart")],
    "closes_defillama": [("defillama_coins", "/chart/{coins}")],
    "observations": [("coingecko", "/coins/markets")],
    "ohlcv_alpha_vantage": [("alpha_vantage", "/query")],
    "gas_fees_hourly": [("ethgastracker", "/api/gas/average"), ("ethereum_node", "/eth_feeHistory")],
    "account_transactions": [("etherscan", "/api")],
    "chain_balances": [("ethplorer", "/getAddressInfo/{address}")],
    "pendle_markets": [("pendle", "/v1/markets/all")],
    "macro_series": [("fred", "/series/observations"), ("fred", "/series")],
}
"""Asset of a source -> the endpoints that it asks."""


def judge_age(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, market: MarketResource, age: Age
) -> dg.AssetCheckResult:
    """Whether the newest observation is of the run's last day, and of the newest day that there should be."""
    engine, days, asset = warehouse.engine, day_range(context), age.table.name
    expected = newest_expected(days, market.stamp(days.end))
    told = reads.read_days(engine, schema.asset_outcomes, days, where={"asset": asset, "error_class": NOT_CONFIGURED})
    own = reads.newest_day(engine, age.table, on_or_before=days.end)
    newest = reads.newest_day(engine, age.table, on_or_before=expected)
    ages = [None if day is None else (end - day).days for day, end in ((own, days.end), (newest, expected))]
    is_fresh = all(days_old is not None and days_old <= age.max_days for days_old in ages)
    is_excused = len(told) > 0 or (newest is None and age.may_be_empty)
    words = f"newest observation {newest or 'never'}, expected {expected}, at most {age.max_days} days old ({age.why})"
    if len(told) and not is_fresh:
        words = f"not configured: {told.iloc[0]['reason']}"
    return dg.AssetCheckResult(
        check_name=FRESH,
        asset_key=asset,
        passed=is_fresh or is_excused,
        severity=dg.AssetCheckSeverity.WARN,
        description=words,
        metadata={
            "newest": str(newest),
            "newest_of_the_partition": str(own),
            "expected": str(expected),
            "max_days": age.max_days,
        },
    )


def judge_shape(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, asset: str
) -> dg.AssetCheckResult:
    """Whether the answers of the run's days have the declared shape.

    What nobody reads is a warning; a used field that is gone or of another type is an error, which stops what stands on
    the source.
    """
    days, drifts, n_bodies = day_range(context), {}, 0
    for vendor, endpoint in ENDPOINTS[asset]:
        bodies = bodies_of(warehouse.engine, vendor, endpoint, days, BODIES)
        n_bodies += len(bodies)
        drifts[f"{vendor} {endpoint}"] = drift_of_bodies(SHAPES[vendor, endpoint], bodies)
    changed = {name: drift for name, drift in drifts.items() if not drift.is_none}
    is_broken = any(drift.broken for drift in changed.values())
    told = [(name, "broken" if drift.broken else "changed", str(drift)) for name, drift in changed.items()]
    listed = pd.DataFrame(told, columns=["endpoint", "what", "fields"])
    return dg.AssetCheckResult(
        check_name=SHAPE,
        asset_key=asset,
        passed=not changed,
        severity=dg.AssetCheckSeverity.ERROR if is_broken else dg.AssetCheckSeverity.WARN,
        description=plain("; ".join(f"{name}: {drift}" for name, drift in changed.items()), MESSAGE_WIDTH)
        or f"{n_bodies} answers as declared",
        metadata={
            "answers": n_bodies,
            **{name: plain(drift, OFFENDING_WIDTH) for name, drift in drifts.items()},
            "listed": preview(listed, OFFENDING_ROWS, OFFENDING_WIDTH),
        },
    )


def source_checks(asset: str) -> dg.AssetChecksDefinition:
    """The step that checks one source: its age, where it has one, and the shape of its answers."""
    age = AGES.get(asset)
    specs = [
        dg.AssetCheckSpec(
            SHAPE,
            asset=asset,
            partitions_def=DAILY,
            blocking=True,
            description="Answers have the fields that we know; a used field that is gone stops what stands on it.",
        )
    ]
    if age is not None:
        words = f"The newest observation is at most {age.max_days} days older than it should be: {age.why}."
        specs.append(dg.AssetCheckSpec(FRESH, asset=asset, partitions_def=DAILY, description=words))

    @dg.multi_asset_check(name=f"{asset}_is_sound", specs=specs)
    def is_sound(
        context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, market: MarketResource
    ) -> Iterator[dg.AssetCheckResult]:
        if age is not None:
            yield judge_age(context, warehouse, market, age)
        yield judge_shape(context, warehouse, asset)

    return is_sound


pools_is_sound = source_checks("pools")
pool_histories_is_sound = source_checks("pool_histories")
lending_histories_is_sound = source_checks("lending_histories")
ohlcv_coinmarketcap_is_sound = source_checks("ohlcv_coinmarketcap")
ohlcv_coingecko_is_sound = source_checks("ohlcv_coingecko")
closes_defillama_is_sound = source_checks("closes_defillama")
observations_is_sound = source_checks("observations")
ohlcv_alpha_vantage_is_sound = source_checks("ohlcv_alpha_vantage")
gas_fees_hourly_is_sound = source_checks("gas_fees_hourly")
account_transactions_is_sound = source_checks("account_transactions")
chain_balances_is_sound = source_checks("chain_balances")
pendle_markets_is_sound = source_checks("pendle_markets")
macro_series_is_sound = source_checks("macro_series")
