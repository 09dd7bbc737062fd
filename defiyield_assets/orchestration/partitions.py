"""Daily partitions and the step from a Dagster context to plain days.

Lives here: the one `DAILY`, the partitions of the strategy lab, and how assets read their days from a context. Not
here: what a day means in time (domain/days.py).
"""

from datetime import date, timedelta

import dagster as dg

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import PermanentError
from defiyield_assets.settings import load_settings

FIRST_DAY = load_settings().first_day
DAILY = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC")
"""All daily assets share it; the newest partition is the last complete UTC day."""
SCENARIOS = dg.DynamicPartitionsDefinition(name="scenarios")
"""Scenarios of the current set, by name and the first digits of their id; `scenarios` keeps them."""


def rolling(days: int) -> dg.TimeWindowPartitionMapping:
    """Depends on the same day and the `days` before it."""
    return dg.TimeWindowPartitionMapping(start_offset=-days, end_offset=0, allow_nonexistent_upstream_partitions=True)


def before(days: int) -> dg.TimeWindowPartitionMapping:
    """Depends on the `days` before the day, not on the day itself (an asset on its own past)."""
    return dg.TimeWindowPartitionMapping(start_offset=-days, end_offset=-1, allow_nonexistent_upstream_partitions=True)


YESTERDAY = before(1)
"""Depends on the day before only (an asset on its own yesterday)."""


def day_range(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext,
) -> DayRange:
    """The days that this run materialises, one or a range."""
    keys = context.partition_key_range
    return DayRange(date.fromisoformat(keys.start), date.fromisoformat(keys.end))


def single_day(context: dg.AssetExecutionContext) -> date:
    """The one day of the run; a range is refused, because each of these days must see what the plan before it did."""
    days = day_range(context)
    if len(days) > 1:
        raise PermanentError(one_day_a_run(context.asset_key.to_user_string(), days))
    return days.start


def one_day_a_run(asset: str, days: DayRange) -> str:
    """Why a range of the asset is refused, and what runs it."""
    return (
        f"{asset} cannot run {days.start}..{days.end} in one run: from the ledger on, "
        f"every day depends on what the plan of the day before did. "
        f"Use `defiyield run --from {days.start} --to {days.end}`, which runs whole days in order."
    )


def day_before(day: date) -> date:
    """The UTC day before."""
    return day - timedelta(days=1)
