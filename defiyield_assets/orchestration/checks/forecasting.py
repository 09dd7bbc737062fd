"""Checks of forecasts: two that stop the plan, because it rests on every row, and two doubts about what they are worth.

Lives here: reading what domain/forecasting/crosschecks.py judges. Not here: the rules.
"""

from collections.abc import Callable

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.forecasting.crosschecks import (
    COVERAGE_LIMITS,
    LEAST_SCORES,
    crossing_quantiles,
    doubtful_coverage,
    losing_champions,
    missing_forecasts,
)
from defiyield_assets.domain.forecasting.pools import TRAINING_DAYS
from defiyield_assets.orchestration.followed_pools import tracked_on
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import offending, preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 20


@dg.asset_check(asset="pool_forecasts", blocking=True, partitions_def=DAILY)
def quantiles_do_not_cross(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """In every forecast p10 <= p50 <= p90, and all figures are finite and not below zero."""
    forecasts = reads.read_days(warehouse.engine, schema.pool_forecasts, day_range(context))
    broken = crossing_quantiles(forecasts)
    return dg.AssetCheckResult(
        passed=broken.empty,
        description=f"{len(broken)} of {len(forecasts)} forecasts have quantiles out of order",
        metadata={"forecasts": len(forecasts), "broken": len(broken), "listed": preview(broken, SHOWN)},
    )


@dg.asset_check(asset="pool_forecasts", blocking=True, partitions_def=DAILY)
def every_tracked_pool_has_a_forecast_or_a_reason(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Every pool that is followed on a day has a forecast, or a reason why it has none: no data, or silent for long."""
    days, engine = day_range(context), warehouse.engine
    tracked, missing, reasons = tracked_on(warehouse, days), [], []
    made = reads.read_days(engine, schema.pool_forecasts, days, columns=["as_of", "pool_id"])
    for day in days:
        there = set(made.loc[made["as_of"] == day, "pool_id"])
        absent = set(tracked.loc[tracked["date"] == day, "pool_id"]) - there
        if absent:
            span, aliases = DayRange.of(day).back(TRAINING_DAYS), warehouse.aliases(day)
            known = reads.pool_histories(engine, span, cutoff(day), absent, aliases)
            lacking, why = missing_forecasts(absent, known, day, warehouse.policy(day).parameters)
            missing += [f"{day} {pool_id}" for pool_id in lacking]
            reasons.append(why.assign(date=day))
    told = pd.concat(reasons) if reasons else pd.DataFrame()
    return dg.AssetCheckResult(
        passed=not missing,
        description=f"{len(missing)} followed pools have neither a forecast nor a reason",
        metadata={
            "followed": len(tracked),
            "with_reason": len(told),
            "missing": len(missing),
            "listed": offending(missing, "day and pool"),
            "reasons": preview(told, SHOWN),
        },
    )


def _doubts(
    context: dg.AssetCheckExecutionContext,
    warehouse: WarehouseResource,
    judge: Callable[[pd.DataFrame], tuple[pd.DataFrame, int]],
    what: str,
) -> dg.AssetCheckResult:
    """What a rule doubts on the day's scoreboard, as a warning; `what` is wrong with the rows that it returns."""
    board = reads.read_days(warehouse.engine, schema.forecast_scoreboard, DayRange.of(day_range(context).end))
    doubtful, n_judged = judge(board)
    return dg.AssetCheckResult(
        passed=doubtful.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(doubtful)} of {n_judged} targets and horizons {what}",
        metadata={"judged": n_judged, "least_scores": LEAST_SCORES, "listed": preview(doubtful, SHOWN)},
    )


@dg.asset_check(asset="forecast_scoreboard", partitions_def=DAILY)
def bands_cover_what_they_say(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """The 80 % bands of champions held 70 to 90 % of what happened in the last 90 days, per target and horizon."""
    low, high = COVERAGE_LIMITS
    return _doubts(context, warehouse, doubtful_coverage, f"lie outside {low:.0%} to {high:.0%}")


@dg.asset_check(asset="forecast_scoreboard", partitions_def=DAILY)
def champions_beat_last_value(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Champions were not worse than the last value in the last 90 days, per target and horizon."""
    return _doubts(context, warehouse, losing_champions, "are worse than the last value")
