"""Assets of allocation: the plan of the day, its steps and limits, the frontier, what became of it in a closed loop.

Lives here: wiring of domain/allocation. Not here: the model, the replay, or its blocking check
(checks/allocation.py).
"""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.frontier import build_frontier, low_apys
from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.allocation.plots import plot_allocations, plot_frontier
from defiyield_assets.domain.allocation.problem import build_problem
from defiyield_assets.domain.allocation.utilisation import FIT_DAYS
from defiyield_assets.domain.allocation.worth import with_worths
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.content import NO_PLAN, PUBLISHED
from defiyield_assets.orchestration.declarations import daily_asset, daily_tables
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import rolling, single_day
from defiyield_assets.orchestration.plan_inputs import plan_inputs, utilisation_curves
from defiyield_assets.orchestration.policies import DAY_BY_DAY
from defiyield_assets.orchestration.reporting import picture, report, whole_table
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.orchestration.verification import require_replayed, require_sound_ledger
from defiyield_assets.store import reads, schema, writes

FourResults = tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]
PLAN_TABLES = (
    (schema.allocation_runs, "What the plan promises, what it costs, and how sure the two solvers are."),
    (schema.allocations, "What the plan holds in each pool and why; pools left out carry their reason."),
    (schema.allocation_steps, "Transactions in executable order; nothing is spent before it is there."),
    (schema.allocation_limits, "How much of each limit the plan uses, which bind, and what relaxing them is worth."),
)
PLAN_DEPS = (
    "eligible_pools",
    "pool_forecasts",
    "gas_forecasts",
    "gas_fees_daily",
    "daily_bars",
    "daily_balances",
    "pool_positions",
    dg.AssetDep("lending_histories", partition_mapping=rolling(FIT_DAYS - 1)),
    "ledger_postings",
    "chain_balances",
    "nav_daily",
    "policy_snapshot",
    "allocation_snapshot",
)


@daily_tables(
    "allocation",
    dict(PLAN_TABLES),
    group="allocation",
    phase=5,
    spec="allocation.md",
    backfill=DAY_BY_DAY,
    deps=PLAN_DEPS,
    kinds=("pulp", "sql"),
)
def allocation_assets(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> FourResults:
    """Solve the day with two solvers, turn the solution into exact integers, keep plan, holdings, steps and limits."""
    day, engine = single_day(context), warehouse.engine
    only = DayRange.of(day)
    for table, _ in PLAN_TABLES:  # a plan of an earlier attempt must not outlive this one
        writes.replace_slice(engine, table, _empty(table), only)
    unknown = why_ledger_is_unknown(engine, day)
    if unknown is not None:
        return _no_plan(warehouse, day, unknown)
    require_sound_ledger(warehouse, day)
    problem, _ = _problem_of(warehouse, day)
    plan = plan_allocation(problem)
    plan = replace(plan, limits=with_worths(problem, plan))
    frames = (plan.runs, plan.allocations, plan.steps, plan.limits)
    receipts = [
        writes.replace_slice(engine, table, frame, only) for (table, _), frame in zip(PLAN_TABLES, frames, strict=True)
    ]
    context.log.info("plan of %s: %s", day, plan.message)
    held = plan.allocations[plan.allocations["action"] != "left_out"]
    assumed = json.loads(plan.runs.iloc[0]["assumed_prices_json"])
    binding = plan.limits[plan.limits["is_binding"]]
    told = None if binding.empty else whole_table(binding.drop(columns=["run_id", "date", "is_binding"]))
    return (
        report(receipts[0], plan.runs, asset="allocation_runs", counts=_facts(plan), assumed_prices=assumed or None),
        report(receipts[1], held, asset="allocations", plot=_drawn(warehouse, problem, plan)),
        report(receipts[2], plan.steps, asset="allocation_steps"),
        report(receipts[3], plan.limits, asset="allocation_limits", binding=told),
    )


def _problem_of(warehouse: WarehouseResource, day: date) -> tuple[AllocationProblem, pd.DataFrame]:
    """What the plan of the day is made from, and the day's forecasts."""
    stored = reads.read_days(warehouse.engine, schema.allocation_snapshot, DayRange.of(day))
    inputs = plan_inputs(warehouse, day)
    forecasts = reads.read_days(warehouse.engine, schema.pool_forecasts, DayRange.of(day))
    curves, policy_hash = utilisation_curves(warehouse, day), str(stored.iloc[0]["policy_hash"])
    return build_problem(**inputs, forecasts=forecasts, policy_hash=policy_hash, curves=curves), forecasts


def _empty(table: Table) -> pd.DataFrame:
    return pd.DataFrame(columns=[column.name for column in table.columns])


def _facts(plan: AllocationPlan) -> dict[str, Any]:
    """Figures of a plan that the UI shows over time."""
    run = plan.runs.iloc[0]
    money = ("aum_usd", "gain_usd", "hold_gain_usd", "gas_usd", "conversion_usd", "projected_apy", "hold_apy")
    days = run["break_even_days"]
    return {
        "status": str(run["status"]),
        **{name: float(run[name]) for name in money},
        "break_even_days": None if pd.isna(days) else float(days),
    }


def _drawn(warehouse: WarehouseResource, problem: AllocationProblem, plan: AllocationPlan) -> Any:
    """The picture of the holdings before and after."""
    pools = reads.read_days(warehouse.engine, schema.eligible_pools, DayRange.of(problem.day))
    titles = dict(zip(pools["pool_id"], pools["symbol"] + " " + pools["protocol"], strict=True))
    prices = {token.address: float(token.value(1)) for token in problem.tokens}
    return picture(lambda: plot_allocations(plan.allocations, prices, titles), "Holdings before and after the plan")


def _no_plan(warehouse: WarehouseResource, day: date, why: str) -> FourResults:
    """The tables of a day without a plan: nothing is planned on balances that nobody knows."""
    runs, allocations, steps, limits = (
        report(
            writes.replace_slice(warehouse.engine, table, _empty(table), DayRange.of(day)),
            asset=table.name,
            status=NO_PLAN,
            why=why,
        )
        for table, _ in PLAN_TABLES
    )
    return runs, allocations, steps, limits


@daily_asset(
    schema.risk_gain_frontier,
    group="allocation",
    phase=5,
    spec="allocation.md",
    backfill=DAY_BY_DAY,
    deps=PLAN_DEPS,
    kinds=("pulp", "sql"),
)
def risk_gain_frontier(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Gain against lower-quantile gain and against the largest loss if one protocol goes to zero, over a sweep of caps
    on pools and protocols; the policy's own caps are marked. By the plan's optimiser, with HiGHS alone.
    """
    day, engine = single_day(context), warehouse.engine
    only = DayRange.of(day)
    # points of an earlier attempt must not outlive this one
    receipt = writes.replace_slice(engine, schema.risk_gain_frontier, _empty(schema.risk_gain_frontier), only)
    unknown = why_ledger_is_unknown(engine, day)
    if unknown is not None:
        return report(receipt, status=NO_PLAN, why=unknown)
    require_sound_ledger(warehouse, day)
    problem, forecasts = _problem_of(warehouse, day)
    frame = build_frontier(problem, low_apys(forecasts, day, problem.parameters.horizon_days))
    failed = frame[frame["gain_usd"].isna()]
    points = zip(failed["max_pool_share"], failed["max_protocol_share"], failed["message"], strict=True)
    named = [f"caps {pool:.0%} / {protocol:.0%}: {message}" for pool, protocol, message in points]
    return report(
        writes.replace_slice(engine, schema.risk_gain_frontier, frame, only),
        frame,
        points_without_plan=named or None,
        plot=picture(lambda: plot_frontier(frame), "Gain against risk under other caps"),
    )


@daily_asset(
    schema.plan_executions,
    group="allocation",
    phase=5,
    spec="architecture.md",
    backfill=DAY_BY_DAY,
    deps=["allocation_runs", "allocation_steps"],
    kinds=("python",),
)
def plan_executions(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Hand the verified plan to the simulated chain, which executes it on the next day; a live market gets advice
    only.

    The replay is done again: a run that asks for this asset alone (a repair, the UI) does not run the check before it.
    """
    day, engine = single_day(context), warehouse.engine
    only = DayRange.of(day)
    require_replayed(warehouse, day)
    runs = reads.read_days(engine, schema.allocation_runs, only)
    run: dict[Any, Any] = {"run_id": "none", "status": NO_PLAN} if runs.empty else runs.iloc[0].to_dict()
    steps = reads.read_days(engine, schema.allocation_steps, only)
    moving = steps[steps["step_type"] != "HOLD"]
    if runs.empty:
        status, sent, message = "not_published", 0, "no plan was made: nothing was sent"
    elif market.simulation is None:
        status, sent, message = "advice_only", 0, "a live market is only advised: nothing was sent"
    elif run["status"] == "screened":
        status, sent, message = "not_published", 0, "method lp only screens: its plan is not for execution"
    elif run["status"] not in PUBLISHED:
        status, sent, message = "not_published", 0, f"the plan is {run['status']}: nothing was sent"
    else:
        receipt = market.simulation.execute_plan(day, run["run_id"], steps)
        status = "executed" if len(moving) else "nothing_to_do"
        sent, message = receipt.n_transactions, f"{receipt.n_transactions} transactions sent on the day after"
    frame = pd.DataFrame(
        [{"date": day, "run_id": run["run_id"], "status": status, "n_transactions": sent, "message": message}]
    )
    return report(writes.replace_slice(engine, schema.plan_executions, frame, only), frame, status=status)
