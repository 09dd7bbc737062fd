"""The tables of one day, gathered for the report, the Slack message and the terminal.

Lives here: reading what domain/reporting is made of. Not here: what is said (domain/reporting).
"""

from datetime import date

import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.content import PUBLISHED
from defiyield_assets.domain.reporting.inputs import ReportInputs, TokenLabel
from defiyield_assets.domain.selection.icebox import CHECKED
from defiyield_assets.orchestration.degradation import AFTER_THE_REPORT
from defiyield_assets.orchestration.partitions import day_before
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema


def read_report_inputs(warehouse: WarehouseResource, day: date) -> ReportInputs:
    """Everything that is told of the day; tables that the day does not have are empty frames."""
    only = DayRange.of(day)

    def of_day(table: Table, where: reads.Where = None) -> pd.DataFrame:
        return reads.read_days(warehouse.engine, table, only, where)

    told = of_day(schema.asset_outcomes)
    outcomes = told[~told["asset"].isin(AFTER_THE_REPORT)].reset_index(drop=True)
    policy, events = warehouse.policy(day), of_day(schema.icebox_events)
    decided = reads.read_days(warehouse.engine, schema.allocation_runs, DayRange.of(day_before(day)))
    return ReportInputs(
        day=day,
        allocation_runs=of_day(schema.allocation_runs),
        allocations=of_day(schema.allocations),
        allocation_steps=of_day(schema.allocation_steps),
        allocation_limits=of_day(schema.allocation_limits),
        eligible_pools=of_day(schema.eligible_pools),
        prefiltered_pools=of_day(schema.prefiltered_pools),
        icebox=of_day(schema.icebox),
        icebox_events=events[events["kind"] != CHECKED].reset_index(drop=True),
        nav_daily=reads.read_days(warehouse.engine, schema.nav_daily, only.back(1)),
        yield_attribution=of_day(schema.yield_attribution),
        outcomes=outcomes,
        forecast_scores=of_day(schema.forecast_scores, {"is_champion": True}),
        forecast_scoreboard=of_day(schema.forecast_scoreboard),
        unexplained_transactions=of_day(schema.unexplained_transactions),
        decided_runs=decided[decided["status"].isin(PUBLISHED)].reset_index(drop=True),
        tokens={token.address: TokenLabel(token.symbol, token.decimals) for token in policy.tokens},
        wallets={wallet.address: wallet.name for wallet in policy.wallets},
        market=warehouse.market,
    )
