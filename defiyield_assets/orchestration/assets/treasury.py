"""Assets of what the treasury is worth: net asset value, attribution of its yield.

Lives here: wiring of domain/ledger from positions on. Not here: the books (ledger.py), positions (positions.py).
"""

from datetime import date

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.ledger.attribution import decided_rates
from defiyield_assets.domain.ledger.attribution import yield_attribution as attribute_yield
from defiyield_assets.domain.ledger.nav import nav_daily as build_nav
from defiyield_assets.domain.ledger.plots import plot_attribution, plot_nav
from defiyield_assets.domain.pools.snapshot import under_todays_ids
from defiyield_assets.domain.reporting.content import PUBLISHED
from defiyield_assets.orchestration.assets.ledger import prices_of
from defiyield_assets.orchestration.assets.positions import under_own_ids
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import FIRST_DAY, YESTERDAY, day_before, rolling, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY
from defiyield_assets.orchestration.reporting import picture, report
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes

DRAWN_DAYS = 365
"""How far back the picture of the net asset value goes."""


@daily_asset(
    schema.nav_daily,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        dg.AssetDep("daily_balances", partition_mapping=rolling(1)),
        dg.AssetDep("pool_positions", partition_mapping=rolling(1)),
        "ledger_postings",
        "daily_bars",
        "gas_fees_daily",
        "pool_contracts",
        "policy_snapshot",
        dg.AssetDep("nav_daily", partition_mapping=YESTERDAY),
    ],
)
def nav_daily(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Net asset value and what moved it: flows, income, expenses, prices; the parts add up exactly.

    A day of which nobody was asked what our wallets did has none.
    """
    day, engine = single_day(context), warehouse.engine
    only, before = DayRange.of(day), DayRange.of(day_before(day))
    if why_ledger_is_unknown(engine, day) is not None:
        empty = pd.DataFrame(columns=[column.name for column in schema.nav_daily.columns])
        return report(writes.replace_slice(engine, schema.nav_daily, empty, only))
    earlier = DayRange(min(FIRST_DAY, before.end), before.end)
    known = reads.read_days(engine, schema.nav_daily, earlier)
    frame = build_nav(
        day,
        balances=reads.read_days(engine, schema.daily_balances, only),
        positions=reads.read_days(engine, schema.pool_positions, only),
        previous_balances=reads.read_days(engine, schema.daily_balances, before),
        previous_positions=reads.read_days(engine, schema.pool_positions, before),
        postings=reads.read_days(engine, schema.ledger_postings, only),
        previous_nav=known,
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        prices=prices_of(warehouse, only),
    )
    row = frame.iloc[0]
    drawn = pd.concat([known.tail(DRAWN_DAYS - 1), frame], ignore_index=True) if len(known) else frame
    return report(
        writes.replace_slice(engine, schema.nav_daily, frame, only),
        frame,
        nav_usd=float(row["nav_usd"]),
        income_usd=float(row["income_usd"]),
        unexplained_usd=float(row["unexplained_usd"]),
        idle_share=row["idle_share"],
        plot=picture(lambda: plot_nav(drawn), "Net asset value and what moved it"),
    )


@daily_asset(
    schema.yield_attribution,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        dg.AssetDep("pool_positions", partition_mapping=rolling(1)),
        "ledger_postings",
        dg.AssetDep("nav_daily", partition_mapping=rolling(1)),
        dg.AssetDep("pool_histories", partition_mapping=rolling(1)),
        "daily_bars",
        "gas_fees_daily",
        "pool_contracts",
        "policy_snapshot",
    ],
)
def yield_attribution(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What each held pool promised, what was expected when we decided, and what it really earned on the day."""
    day, engine = single_day(context), warehouse.engine
    only, before = DayRange.of(day), DayRange.of(day_before(day))
    if why_ledger_is_unknown(engine, day) is not None:
        empty = pd.DataFrame(columns=[column.name for column in schema.yield_attribution.columns])
        return report(writes.replace_slice(engine, schema.yield_attribution, empty, only))
    positions = reads.read_days(engine, schema.pool_positions, only)
    previous = reads.read_days(engine, schema.pool_positions, before)
    postings = reads.read_days(engine, schema.ledger_postings, only)
    named = (*positions["pool_id"], *previous["pool_id"], *postings["pool_id"])
    pool_ids = sorted({pool_id for pool_id in named if isinstance(pool_id, str)})
    aliases = warehouse.aliases(day)
    todays = {aliases.get(pool_id, pool_id) for pool_id in pool_ids}
    told = reads.pool_histories(engine, before, cutoff(before.end), todays, aliases)[["pool_id", "apy"]]
    advertised = under_own_ids(told, pool_ids, aliases)
    forecasts, diluted = _decided_rates(warehouse, day, pool_ids)
    frame = attribute_yield(
        day,
        positions=positions,
        previous_positions=previous,
        postings=postings,
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        prices=prices_of(warehouse, only),
        advertised=dict(zip(advertised["pool_id"], advertised["apy"], strict=True)),
        forecasts=forecasts,
        diluted=diluted,
        is_first_day=reads.read_days(engine, schema.nav_daily, before).empty,
    )
    return report(
        writes.replace_slice(engine, schema.yield_attribution, frame, only),
        frame,
        plot=picture(lambda: plot_attribution(frame, _titles(warehouse, day)), "Advertised, expected and realised"),
    )


def _titles(warehouse: WarehouseResource, day: date) -> dict[str, str]:
    """Names of the day's pools for a picture, under the ids of today and those that they had."""
    listed = reads.read_days(warehouse.engine, schema.prefiltered_pools, DayRange.of(day))
    names = listed["symbol"] + " " + listed["protocol"]
    titles = dict(zip(listed["pool_id"], names, strict=True))
    return {**{old: titles[new] for old, new in warehouse.aliases(day).items() if new in titles}, **titles}


def _decided_rates(
    warehouse: WarehouseResource, day: date, pool_ids: list[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Forecasts of the day when we decided (the day before), and the same diluted by the plan of that day.

    Read without being declared: in the graph the ledger never rests on a plan, not even on yesterday's, so that a
    forecast or plan that fails today takes no ledger with it.
    """
    engine, decided, aliases = warehouse.engine, day_before(day), warehouse.aliases(day)
    on = DayRange.of(decided)
    runs = reads.read_days(engine, schema.allocation_runs, on)
    horizon = int(runs["horizon_days"].iloc[-1]) if len(runs) else warehouse.policy(day).parameters.horizon_days
    expected = reads.read_days(engine, schema.pool_forecasts, on, where={"target": "apy", "horizon_days": horizon})
    expected = under_own_ids(under_todays_ids(expected, aliases, ["as_of"])[["pool_id", "mean"]], pool_ids, aliases)
    planned = reads.read_days(engine, schema.allocations, on)
    planned = planned[planned["run_id"].isin(set(runs.loc[runs["status"].isin(PUBLISHED), "run_id"]))]
    planned = planned[["pool_id", "token_address", "amount", "forecast_apy", "diluted_apy"]]
    planned = under_own_ids(under_todays_ids(planned, aliases, ["token_address"]), pool_ids, aliases)
    return decided_rates(expected, planned)
