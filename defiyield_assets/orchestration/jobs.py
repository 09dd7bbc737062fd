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
update_signals = dg.define_asset_job(
    "update_signals",
    selection=dg.AssetSelection.groups("signals"),
    description="What a model and the news say of the day's bars: history by a range, the latest by the newest day.",
    tags={"defiyield/job": "update_signals"},
)
update_news = dg.define_asset_job(
    "update_news",
    selection=dg.AssetSelection.groups("news"),
    description="News since the last reading, and the sentiment of the hours that are over.",
    tags={"defiyield/job": "update_news"},
)
paper_trade = dg.define_asset_job(
    "paper_trade",
    selection=dg.AssetSelection.groups("paper"),
    description="Paper portfolios over the bars of a day or a range, each day from where the one before left them.",
    tags={"defiyield/job": "paper_trade"},
)
BROUGHT = (
    *("migrations", "policy_snapshot", "instruments", "ohlcv_coinmarketcap", "ohlcv_coingecko", "ohlcv_alpha_vantage"),
    *("closes_defillama", "corporate_actions", "macro_series", "market_events", "daily_bars", "market_regimes"),
    *("daily_features", "feature_state"),
)
"""Assets of the day that trading rests on: bars, features and what they are made of."""
_KNOWN = dg.AssetSelection.assets(*BROUGHT) | dg.AssetSelection.groups("news") | dg.AssetSelection.groups("signals")
set_up_desk = dg.define_asset_job(
    "set_up_desk",
    selection=(_KNOWN | dg.AssetSelection.assets("strategies")) - ALARMS,
    description="The past of a desk: bars, features, news and signals of a range; scenarios and the backtests of all "
    "strategies follow by themselves.",
    tags={"defiyield/job": "set_up_desk"},
)
trade_day = dg.define_asset_job(
    "trade_day",
    selection=(_KNOWN | dg.AssetSelection.groups("paper")) - ALARMS,
    description="Simulated live trading of a bar: the day's bars and features, news, signals, orders and portfolio.",
    tags={"defiyield/job": "trade_day"},
)
update_desk = dg.define_asset_job(
    "update_desk",
    selection=dg.AssetSelection.groups("news")
    | dg.AssetSelection.groups("signals")
    | dg.AssetSelection.groups("paper"),
    description="News since the last reading, the signal of the newest stored bar, and what portfolios make of it.",
    tags={"defiyield/job": "update_desk"},
)
ALARM_JOBS = (CRYPTO_FRESH, EQUITY_FRESH)
JOBS = (
    plan_the_day,
    update_equities,
    crypto_bars_are_fresh,
    equity_bars_are_fresh,
    generate_scenarios,
    assess_strategies,
    update_news,
    update_signals,
    paper_trade,
    set_up_desk,
    trade_day,
    update_desk,
)
