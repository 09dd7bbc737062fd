"""Assets of selection: token registry, pre-filter, icebox, effective lists, final filter.

Lives here: wiring of domain/selection. Not here: the rules themselves, what of the warehouse they are asked with
(selection_inputs.py).
"""

from typing import Any

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.selection.icebox import CHECKED, mark_checked
from defiyield_assets.domain.selection.lists import build_allocation_snapshot
from defiyield_assets.domain.selection.plots import plot_icebox
from defiyield_assets.domain.selection.registry import build_token_registry
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.declarations import daily_asset, daily_tables
from defiyield_assets.orchestration.partitions import YESTERDAY, day_range, rolling, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY, ONE_RUN
from defiyield_assets.orchestration.reporting import picture, report
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.selection_inputs import (
    ICEBOX_HISTORY_DAYS,
    MARKET_CAP_DAYS,
    eligible_of,
    icebox_of,
    prefiltered_of,
    previous_icebox,
)
from defiyield_assets.store import reads, schema, writes


@daily_asset(
    schema.token_registry,
    group="selection",
    phase=1,
    spec="defi.md#ingestion",
    backfill=ONE_RUN,
    deps=["pools", "policy_snapshot"],
)
def token_registry(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Every token that a pool of the day names, by address, with our verdict: approved, blacklisted or unknown."""
    days, engine = day_range(context), warehouse.engine
    frame = pd.concat(
        [
            build_token_registry(reads.read_days(engine, schema.pools, DayRange.of(day)), warehouse.policy(day), day)
            for day in days
        ],
        ignore_index=True,
    )
    counts = {str(verdict): int(n) for verdict, n in frame["verdict"].value_counts().items()}
    return report(writes.replace_slice(engine, schema.token_registry, frame, days), frame, counts=counts)


@daily_asset(
    schema.prefiltered_pools,
    group="selection",
    phase=2,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=[
        "pools",
        "token_registry",
        dg.AssetDep("daily_bars", partition_mapping=rolling(MARKET_CAP_DAYS)),
        dg.AssetDep("observations", partition_mapping=rolling(MARKET_CAP_DAYS)),
        "resolved_underlyings",
        "policy_snapshot",
        "pool_aliases",
    ],
)
def prefiltered_pools(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Every active pool with the pre-filter's verdict and all reasons, so that costly calls are made only for
    usable pools.
    """
    days, engine = day_range(context), warehouse.engine
    frame = pd.concat([prefiltered_of(engine, warehouse.policy(day), day) for day in days], ignore_index=True)
    passed = frame[frame["is_passed"].astype(bool)]
    reasons = frame["reason_codes"].str.split(",").explode().value_counts()
    return report(
        writes.replace_slice(engine, schema.prefiltered_pools, frame, days),
        passed[["pool_id", "protocol", "symbol", "role", "size_usd", "warning_codes"]],
        passed=len(passed),
        rejected_by={str(code): int(n) for code, n in reasons.items() if code},
    )


@daily_tables(
    "icebox",
    {
        schema.icebox_events: (
            "Tokens entering and leaving the icebox on the day, and premium alerts, with the figures."
        ),
        schema.icebox: "Tokens barred at the end of the day: fallen from their peg, without a price, or by hand.",
    },
    group="selection",
    phase=3,
    spec="defi.md#selection",
    backfill=ONE_RUN,
    deps=[dg.AssetDep("daily_bars", partition_mapping=rolling(ICEBOX_HISTORY_DAYS)), "policy_snapshot"],
    own_past={schema.icebox: YESTERDAY},
)
def icebox_assets(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Advance the icebox day by day in order; the first day of an empty table is bootstrapped from 30 days of bars."""
    days, engine = day_range(context), warehouse.engine
    events_of_days, icebox_of_days = [], []
    previous = previous_icebox(engine, days.start)
    for day in days:
        policy = warehouse.policy(day)
        events, current, bars = icebox_of(engine, policy, day, previous)
        events_of_days.append(mark_checked(events, current, day))
        icebox_of_days.append(current)
        previous = current
    events = pd.concat(events_of_days, ignore_index=True)
    barred = pd.concat(icebox_of_days, ignore_index=True)
    event_receipt = writes.replace_slice(engine, schema.icebox_events, events, days)
    receipt = writes.replace_slice(engine, schema.icebox, barred, days)
    told = events[events["kind"] != CHECKED]
    current = barred[barred["date"] == days.end]
    return (
        report(event_receipt, told, asset="icebox_events", counts=_counted(told["kind"])),
        report(
            receipt,
            current,
            asset="icebox",
            barred=len(current),
            plot=picture(
                lambda: plot_icebox(bars, current, policy, days.end), "Watched tokens against their reference"
            ),
        ),
    )


def _counted(values: "pd.Series[Any]") -> dict[str, int]:
    return {str(value): int(n) for value, n in values.value_counts().items()}


@daily_asset(
    schema.allocation_snapshot,
    group="selection",
    phase=5,
    spec="defi.md#policy",
    backfill=DAY_BY_DAY,
    deps=["policy_snapshot", "icebox"],
)
def allocation_snapshot(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """The effective lists of the day once the icebox has spoken: what may be bought, what is barred and why."""
    days, engine = day_range(context), warehouse.engine
    frames = []
    for day in days:
        stored = reads.read_days(engine, schema.policy_snapshot, DayRange.of(day))
        if stored.empty:
            raise SuspiciousDataError(f"policy_snapshot of {day} is missing: materialise it first")
        barred = reads.read_days(engine, schema.icebox, DayRange.of(day))
        frames.append(build_allocation_snapshot(warehouse.policy(day), stored.iloc[0]["policy_hash"], barred, day))
    frame = pd.concat(frames, ignore_index=True)
    return report(writes.replace_slice(engine, schema.allocation_snapshot, frame, days), frame)


@daily_asset(
    schema.eligible_pools,
    group="selection",
    phase=5,
    spec="defi.md#selection",
    backfill=DAY_BY_DAY,
    deps=[
        "prefiltered_pools",
        "pool_quality",
        "pool_metrics",
        "pool_groups",
        "pool_forecasts",
        "pool_positions",
        "policy_snapshot",
        "allocation_snapshot",
        "icebox",
        "pools",
        "pool_aliases",
    ],
)
def eligible_pools(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Every pre-filtered or held pool with the final verdict and all reasons; held ones may be exit only or must
    be left.
    """
    day, engine = single_day(context), warehouse.engine
    frame = eligible_of(engine, warehouse.policy(day), day)
    eligible = frame[frame["is_passed"].astype(bool)]
    reasons = frame["reason_codes"].str.split(",").explode().value_counts()
    return report(
        writes.replace_slice(engine, schema.eligible_pools, frame, DayRange.of(day)),
        eligible[["pool_id", "protocol", "symbol", "size_usd", "forecast_apy", "pool_group"]],
        eligible=len(eligible),
        exit_only=int(frame["is_exit_only"].sum()),
        must_exit=int(frame["is_must_exit"].sum()),
        rejected_by={str(code): int(n) for code, n in reasons.items() if code},
    )
