"""Assets of forecasts: pools, gas, and what past forecasts were worth.

Lives here: wiring of domain/forecasting. Not here: models and intervals.
"""

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.forecasting.gas import forecast_gas
from defiyield_assets.domain.forecasting.pools import forecast_pools
from defiyield_assets.domain.forecasting.scores import score_forecasts, score_gas_forecasts
from defiyield_assets.domain.pools.histories import known_view
from defiyield_assets.domain.pools.quality import winsorise_history
from defiyield_assets.orchestration.assets.pools import tracked_on
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.partitions import day_range, rolling
from defiyield_assets.orchestration.policies import CHUNKS_OF_30, ONE_RUN
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes

HISTORY_DAYS = 400
"""Days of history that a forecast may use."""
HORIZONS = (1, 7, 30)


@daily_asset(
    schema.pool_forecasts,
    group="forecasting",
    phase=4,
    spec="forecasting.md",
    backfill=CHUNKS_OF_30,
    deps=[
        dg.AssetDep("pool_histories", partition_mapping=rolling(HISTORY_DAYS)),
        "pool_metrics",
        "pool_groups",
        "prefiltered_pools",
        "chain_balances",
        "policy_snapshot",
    ],
)
def pool_forecasts(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """APY (total, base, reward) and size of every tracked pool over the coming 1, 7 and 30 days, with an 80 % band.

    Vintages are never overwritten by a run of another day; a pool without a forecast is named with the reason.
    """
    days, engine = day_range(context), warehouse.engine
    tracked = tracked_on(warehouse, days)
    frames, skipped = [], []
    for span, aliases in warehouse.alias_spans(days):
        revisions = reads.pool_history_revisions(engine, span.back(HISTORY_DAYS), aliases=aliases)
        for day in span:
            view = known_view(revisions[revisions["date"] <= day], cutoff(day))
            parameters = warehouse.policy(day).parameters
            followed = set(tracked.loc[tracked["date"] == day, "pool_id"])
            view = winsorise_history(view[view["pool_id"].isin(followed)].reset_index(drop=True), parameters)
            forecasts, left_out = forecast_pools(view, day, parameters, HORIZONS)
            frames.append(forecasts)
            skipped.append(left_out)
    frame = pd.concat(frames, ignore_index=True)
    left_out = pd.concat(skipped, ignore_index=True)
    reasons = {str(code): int(n) for code, n in left_out["reason_code"].value_counts().items()}
    return report(
        writes.replace_slice(engine, schema.pool_forecasts, frame, days),
        frame[(frame["target"] == "apy") & (frame["horizon_days"] == HORIZONS[-1])],
        pools=int(frame["pool_id"].nunique()),
        without_forecast=reasons,
    )


@daily_asset(
    schema.gas_forecasts,
    group="gas",
    phase=4,
    spec="forecasting.md",
    backfill=CHUNKS_OF_30,
    deps=[dg.AssetDep("gas_fees_daily", partition_mapping=rolling(HISTORY_DAYS))],
)
def gas_forecasts(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Expected gas in gwei over the coming 1, 7 and 30 days with its 90 % quantile, by kind of series."""
    days, engine = day_range(context), warehouse.engine
    known = reads.read_days(engine, schema.gas_fees_daily, days.back(HISTORY_DAYS))
    frame = pd.concat([forecast_gas(known[known["date"] <= day], day) for day in days], ignore_index=True)
    return report(writes.replace_slice(engine, schema.gas_forecasts, frame, days), frame)


@daily_asset(
    schema.forecast_scores,
    group="forecasting",
    phase=4,
    spec="forecasting.md",
    backfill=ONE_RUN,
    deps=[
        dg.AssetDep("pool_forecasts", partition_mapping=rolling(max(HORIZONS) + 1)),
        dg.AssetDep("gas_forecasts", partition_mapping=rolling(max(HORIZONS) + 1)),
        dg.AssetDep("pool_histories", partition_mapping=rolling(max(HORIZONS))),
        dg.AssetDep("gas_fees_daily", partition_mapping=rolling(max(HORIZONS))),
    ],
)
def forecast_scores(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What the forecasts that fell due on the day were worth: error, error of the last value, coverage, pinball
    loss.
    """
    days, engine = day_range(context), warehouse.engine
    due = days.back(max(HORIZONS) + 1)
    forecasts = reads.read_days(engine, schema.pool_forecasts, due)
    gas = reads.read_days(engine, schema.gas_forecasts, due)
    gas_actuals = reads.read_days(engine, schema.gas_fees_daily, due)
    frames = []
    for span, aliases in warehouse.alias_spans(days):
        revisions = reads.pool_history_revisions(engine, span.back(max(HORIZONS) + 1), aliases=aliases)
        named = forecasts.assign(pool_id=forecasts["pool_id"].replace(aliases))
        for day in span:
            actuals = known_view(revisions[revisions["date"] <= day], cutoff(day))
            frames.append(score_forecasts(named, actuals, day))
            frames.append(score_gas_forecasts(gas, gas_actuals[gas_actuals["date"] <= day], day))
    frame = pd.concat(frames, ignore_index=True)
    return report(writes.replace_slice(engine, schema.forecast_scores, frame, DayRange(days.start, days.end)), frame)
