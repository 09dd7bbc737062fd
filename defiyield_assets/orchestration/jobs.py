"""Jobs, named by their outcome. One job makes a whole day; parts of a day are selections of it.

Lives here: selections. Not here: when they run (schedules.py), what is asked for again (sensors.py).
"""

import dagster as dg

from defiyield_assets.orchestration.instrument_types import (
    BY_TYPE,
    EQUITIES,
    EXCHANGE_TYPES,
    STEPS_BY_TYPE,
    config_of_types,
)

CRYPTO_FRESH, EQUITY_FRESH = "crypto_bars_are_fresh", "equity_bars_are_fresh"
"""Checks of daily_bars whose jobs fail with them; elsewhere they only tell."""
BARS = dg.AssetKey("daily_bars")
ALARMS = dg.AssetSelection.checks(dg.AssetCheckKey(BARS, CRYPTO_FRESH), dg.AssetCheckKey(BARS, EQUITY_FRESH))

EQUITY_CONFIG = config_of_types(STEPS_BY_TYPE, EXCHANGE_TYPES)
"""What a run of `update_equities` is told; the job carries it for whoever starts it by hand."""

plan_the_day = dg.define_asset_job(
    "plan_the_day",
    selection=dg.AssetSelection.tag("daily", ""),
    description="Everything of one day: ingest, select, forecast, account, allocate, verify, report.",
    tags={"defiyield/job": "plan_the_day"},
)
update_equities = dg.define_asset_job(
    "update_equities",
    selection=(dg.AssetSelection.tag(EQUITIES, "") | dg.AssetSelection.tag(BY_TYPE, "")) - ALARMS,
    config=EQUITY_CONFIG,
    description="Bars of the session of shares, funds and indices, and all that is made of them.",
    tags={"defiyield/job": "update_equities"},
)
crypto_bars_are_fresh = dg.define_asset_job(
    CRYPTO_FRESH,
    selection=dg.AssetSelection.checks(dg.AssetCheckKey(BARS, CRYPTO_FRESH)),
    description="Fails, and so is told of, when coins and tokens lack the bar of the day that is over.",
)
equity_bars_are_fresh = dg.define_asset_job(
    EQUITY_FRESH,
    selection=dg.AssetSelection.checks(dg.AssetCheckKey(BARS, EQUITY_FRESH)),
    description="Fails, and so is told of, when shares, funds and indices lack the bar of the last session.",
)
generate_scenarios = dg.define_asset_job(
    "generate_scenarios",
    selection=dg.AssetSelection.assets("scenarios"),
    description="A new set of scenarios from the bars that there are; their assessment follows by itself.",
    tags={"defiyield/job": "generate_scenarios"},
)
assess_strategies = dg.define_asset_job(
    "assess_strategies",
    selection=dg.AssetSelection.groups("lab") - dg.AssetSelection.assets("scenarios"),
    description="Paths, features and backtests of every scenario, then rankings and the report.",
    tags={"defiyield/job": "assess_strategies"},
)
ALARM_JOBS = (CRYPTO_FRESH, EQUITY_FRESH)
JOBS = (
    plan_the_day,
    update_equities,
    crypto_bars_are_fresh,
    equity_bars_are_fresh,
    generate_scenarios,
    assess_strategies,
)
