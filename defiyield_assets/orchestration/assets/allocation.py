"""Assets of allocation: the plan of the day, its steps, and what became of it in a closed loop.

Lives here: wiring of domain/allocation. Not here: the model, the replay, or its blocking check
(checks/allocation.py).
"""

import json
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.problem import build_problem
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.content import NO_PLAN, PUBLISHED
from defiyield_assets.orchestration.declarations import daily_asset, daily_tables
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import single_day
from defiyield_assets.orchestration.plan_inputs import plan_inputs
from defiyield_assets.orchestration.policies import DAY_BY_DAY
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.orchestration.verification import require_replayed, require_sound_ledger
from defiyield_assets.store import reads, schema, writes

PLAN_TABLES = (
    (schema.allocation_runs, "What the plan promises, what it costs, and how sure the two solvers are."),
    (schema.allocations, "What the plan holds in each pool and why; pools left out carry their reason."),
    (schema.allocation_steps, "Transactions in executable order; nothing is spent before it is there."),
)
PLAN_DEPS = (
    "eligible_pools",
    "pool_forecasts",
    "gas_forecasts",
    "gas_fees_daily",
    "daily_bars",
    "daily_balances",
    "pool_positions",
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
def allocation_assets(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]:
    """Solve the day with two solvers, turn the solution into exact integers, keep plan, holdings and steps."""
    day, engine = single_day(context), warehouse.engine
    only = DayRange.of(day)
    for table, _ in PLAN_TABLES:  # a plan of an earlier attempt must not outlive this one
        writes.replace_slice(engine, table, pd.DataFrame(columns=[column.name for column in table.columns]), only)
    unknown = why_ledger_is_unknown(engine, day)
    if unknown is not None:
        return _no_plan(warehouse, day, unknown)
    require_sound_ledger(warehouse, day)
    stored = reads.read_days(engine, schema.allocation_snapshot, only)
    inputs = plan_inputs(warehouse, day)
    forecasts = reads.read_days(engine, schema.pool_forecasts, only)
    plan = plan_allocation(build_problem(**inputs, forecasts=forecasts, policy_hash=stored.iloc[0]["policy_hash"]))
    receipts = [
        writes.replace_slice(engine, table, frame, only)
        for (table, _), frame in zip(PLAN_TABLES, (plan.runs, plan.allocations, plan.steps), strict=True)
    ]
    run = plan.runs.iloc[0]
    facts = {
        "status": str(run["status"]),
        "aum_usd": float(run["aum_usd"]),
        "projected_apy": float(run["projected_apy"]),
        "gain_usd": float(run["gain_usd"]),
        "gas_usd": float(run["gas_usd"]),
        "conversion_usd": float(run["conversion_usd"]),
    }
    assumed = json.loads(run["assumed_prices_json"])
    context.log.info("plan of %s: %s", day, run["message"])
    held = plan.allocations[plan.allocations["action"] != "left_out"]
    return (
        report(receipts[0], plan.runs, asset="allocation_runs", counts=facts, assumed_prices=assumed or None),
        report(receipts[1], held, asset="allocations"),
        report(receipts[2], plan.steps, asset="allocation_steps"),
    )


def _no_plan(
    warehouse: WarehouseResource, day: date, why: str
) -> tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]:
    """The tables of a day without a plan: nothing is planned on balances that nobody knows."""
    runs, allocations, steps = (
        report(
            writes.replace_slice(
                warehouse.engine,
                table,
                pd.DataFrame(columns=[column.name for column in table.columns]),
                DayRange.of(day),
            ),
            asset=table.name,
            status=NO_PLAN,
            why=why,
        )
        for table, _ in PLAN_TABLES
    )
    return runs, allocations, steps


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
    elif run["method"] == "lp":
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
