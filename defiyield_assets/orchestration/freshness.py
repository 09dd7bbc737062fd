"""When an asset that a schedule makes is stale: Dagster's freshness policies, and our limits on the newest observation.

Lives here: policies and limits by name. Not here: which asset has which policy (catalogue.py; sources say it
themselves), the checks that look at partitions (checks/).

Dagster's policies look at the asset, not at the partition: a backfill of an old day turns them green. They say whether
anybody still runs; the checks `newest_day_is_fresh` say whether what a run got is of its day.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import dagster as dg
from sqlalchemy import Table

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.store import schema

DAILY_BY_0300 = dg.FreshnessPolicy.cron(deadline_cron="0 3 * * *", lower_bound_delta=timedelta(hours=3))
"""The schedule runs at 00:45 UTC; by 03:00, with all retries and the first repair, a day has been made."""

SESSIONS_BY_0300 = dg.FreshnessPolicy.cron(deadline_cron="0 3 * * 2-6", lower_bound_delta=timedelta(hours=3))
"""The same for exchanges: their sessions are asked for at 00:50 UTC from Tuesday to Saturday."""

HOURLY_BY_HALF_PAST = dg.FreshnessPolicy.cron(deadline_cron="30 * * * *", lower_bound_delta=timedelta(minutes=30))
"""News are read at five past every hour."""

WEEKLY_BY_0600 = dg.FreshnessPolicy.cron(deadline_cron="0 6 * * 0", lower_bound_delta=timedelta(hours=3))
"""Scenarios are made anew on Sundays at 04:00 UTC."""


@dataclass(frozen=True)
class Age:
    """How old a source's newest observation may be at the end of a day, in days, and why."""

    table: Table
    max_days: int
    why: str
    may_be_empty: bool = False
    """Whether a source that never told anything is no trouble: it has nothing to tell under this policy."""


AGES = {
    age.table.name: age
    for age in (
        Age(schema.pools, 0, "a snapshot of every day"),
        Age(schema.ohlcv_coinmarketcap, 0, "a bar of every day"),
        Age(schema.ohlcv_coingecko, 0, "a bar of every day"),
        Age(schema.closes_defillama, 0, "a close of every day"),
        Age(schema.observations, 0, "a snapshot of every day"),
        Age(schema.ohlcv_alpha_vantage, 4, "a bar of every session: a weekend and a holiday", may_be_empty=True),
        Age(schema.gas_fees_hourly, 0, "hours of every day"),
        Age(schema.pendle_markets, 0, "a snapshot of every day", may_be_empty=True),
        Age(schema.macro_series, 5, "released on working days: a weekend, a holiday, a day's lag", may_be_empty=True),
    )
}
"""Asset of a source -> the age of its newest observation that is still fresh."""


def newest_expected(days: DayRange, present: datetime) -> date:
    """The newest day that a source should have told of: of the run's days and of the present the later one.

    `present` is the market's clock. A backfill of last year on a source that died last week is so judged by yesterday.
    """
    complete = (present - timedelta(days=1)).date()
    return max(days.end, complete - timedelta(days=1) if present < cutoff(complete) else complete)
