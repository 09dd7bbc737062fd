"""The tables of one day, gathered for the report, the Slack message and the terminal.

Lives here: reading what domain/reporting is made of. Not here: what is said (domain/reporting), the rules that are
judged (verification.py).
"""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.gas.sources import prevailing_fees
from defiyield_assets.domain.ledger.checks import Violation
from defiyield_assets.domain.reporting.content import PUBLISHED
from defiyield_assets.domain.reporting.forecast_sections import HISTORY_DAYS
from defiyield_assets.domain.reporting.inputs import JudgedCheck, ReportInputs, TokenLabel
from defiyield_assets.domain.reporting.nav_sections import SHOWN_DAYS
from defiyield_assets.domain.selection.icebox import CHECKED
from defiyield_assets.orchestration.degradation import AFTER_THE_REPORT
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import day_before
from defiyield_assets.orchestration.verification import (
    attribution_violations,
    balance_violations,
    nav_violations,
    position_violations,
    posting_violations,
)
from defiyield_assets.store import reads, schema
from defiyield_assets.store.warehouse import ReadableWarehouse

IDLE = "IDLE"
"""Pool id under which allocations list cash."""
SOURCES: Mapping[str, Table] = {
    "Pools of the day (DeFiLlama)": schema.pools,
    "Closes (DeFiLlama)": schema.closes_defillama,
    "Bars (CoinMarketCap)": schema.ohlcv_coinmarketcap,
    "Bars (CoinGecko)": schema.ohlcv_coingecko,
    "Gas": schema.gas_fees_daily,
    "Balances on the chain": schema.chain_balances,
    "Net asset value of the ledger": schema.nav_daily,
}
"""What the plan rests on by its name in print. Sources with days of their own, such as macro series, are not here."""
OLDEST_HISTORY = "APY of the plan's pools (the oldest of them)"


def read_report_inputs(warehouse: ReadableWarehouse, day: date) -> ReportInputs:
    """Everything that is told of the day; tables that the day does not have are empty frames."""
    only = DayRange.of(day)

    def of_day(table: Table, where: reads.Where = None) -> pd.DataFrame:
        return reads.read_days(warehouse.engine, table, only, where)

    told = of_day(schema.asset_outcomes)
    outcomes = told[~told["asset"].isin(AFTER_THE_REPORT)].reset_index(drop=True)
    policy, events = warehouse.policy(day), of_day(schema.icebox_events)
    decided = reads.read_days(warehouse.engine, schema.allocation_runs, DayRange.of(day_before(day)))
    allocations = of_day(schema.allocations)
    histories = _histories(warehouse, day, allocations)
    gas = reads.read_days(warehouse.engine, schema.gas_fees_daily, only.back(HISTORY_DAYS - 1))
    return ReportInputs(
        day=day,
        allocation_runs=of_day(schema.allocation_runs),
        allocations=allocations,
        allocation_steps=of_day(schema.allocation_steps),
        allocation_limits=of_day(schema.allocation_limits),
        eligible_pools=of_day(schema.eligible_pools),
        prefiltered_pools=of_day(schema.prefiltered_pools),
        icebox=of_day(schema.icebox),
        icebox_events=events[events["kind"] != CHECKED].reset_index(drop=True),
        nav_daily=reads.read_days(warehouse.engine, schema.nav_daily, only.back(SHOWN_DAYS - 1)),
        yield_attribution=of_day(schema.yield_attribution),
        outcomes=outcomes,
        forecast_scores=of_day(schema.forecast_scores, {"is_champion": True}),
        forecast_scoreboard=of_day(schema.forecast_scoreboard),
        unexplained_transactions=of_day(schema.unexplained_transactions),
        decided_runs=decided[decided["status"].isin(PUBLISHED)].reset_index(drop=True),
        pool_forecasts=of_day(schema.pool_forecasts, {"target": "apy"}),
        pool_histories=histories,
        gas_forecasts=of_day(schema.gas_forecasts),
        gas_fees_daily=prevailing_fees(gas),
        pool_quality=of_day(schema.pool_quality),
        prices=_prices(warehouse, day),
        newest_days=_newest_days(warehouse, day, histories, allocations),
        checks=_judged(warehouse, day),
        tokens={token.address: TokenLabel(token.symbol, token.decimals) for token in policy.tokens},
        wallets={wallet.address: wallet.name for wallet in policy.wallets},
        market=warehouse.market,
    )


def _planned(allocations: pd.DataFrame) -> list[str]:
    """Pools that the plan holds or that are held before it."""
    if allocations.empty:
        return []
    touched = [
        int(after) > 0 or int(before) > 0
        for after, before in zip(allocations["amount"], allocations["amount_before"], strict=True)
    ]
    return sorted(set(allocations.loc[touched, "pool_id"]) - {IDLE})


def _histories(warehouse: ReadableWarehouse, day: date, allocations: pd.DataFrame) -> pd.DataFrame:
    """APY of the plan's pools over the last days, as it was known at the day's cutoff."""
    days = DayRange.of(day).back(HISTORY_DAYS - 1)
    pools, aliases = _planned(allocations), warehouse.aliases(day)
    told = reads.pool_histories(warehouse.engine, days, cutoff(day), pools, aliases)
    return told[["pool_id", "date", "apy"]].reset_index(drop=True)


def _prices(warehouse: ReadableWarehouse, day: date) -> dict[str, Decimal]:
    """Closes of the day by token, as the ledger valued what is held."""
    found: dict[str, Decimal] = {}
    for table in (schema.pool_positions, schema.daily_balances):
        rows = reads.read_days(warehouse.engine, table, DayRange.of(day), columns=["token_address", "price_usd"])
        known = rows[rows["price_usd"].notna()]
        found |= {str(token): price for token, price in zip(known["token_address"], known["price_usd"], strict=True)}
    return found


def _newest_days(
    warehouse: ReadableWarehouse, day: date, histories: pd.DataFrame, allocations: pd.DataFrame
) -> dict[str, date | None]:
    """Up to which day each source is known, not after the day."""
    ages: dict[str, date | None] = {
        name: reads.newest_day(warehouse.engine, table, day) for name, table in SOURCES.items()
    }
    pools = _planned(allocations)
    if pools:
        newest = histories[histories["apy"].notna()].groupby("pool_id")["date"].max().to_dict()
        ages[OLDEST_HISTORY] = min(newest.values()) if set(newest) >= set(pools) else None
    return ages


def _judged(warehouse: ReadableWarehouse, day: date) -> tuple[JudgedCheck, ...]:
    """The rules of the ledger that can be judged from the day's tables; none where nobody told what wallets did."""
    engine = warehouse.engine
    if reads.newest_day(engine, schema.nav_daily, day) != day or why_ledger_is_unknown(engine, day) is not None:
        return ()
    rules: dict[str, Callable[[], list[Violation]]] = {
        "postings sum to zero": lambda: posting_violations(warehouse, day),
        "balances agree with the chain": lambda: balance_violations(warehouse, day)[0],
        "positions agree with the chain": lambda: position_violations(warehouse, day)[0],
        "net asset value is explained": lambda: nav_violations(warehouse, day),
        "earnings add up by pool": lambda: attribution_violations(warehouse, day),
    }
    return tuple(JudgedCheck(name, tuple(map(str, judge()))) for name, judge in rules.items())
