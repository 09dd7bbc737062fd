"""Assets of reporting: the page of the day and the word to Slack.

Lives here: wiring of domain/reporting. Not here: what is said there.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.days import DayRange, utc_day
from defiyield_assets.domain.reporting.content import plan_of_day
from defiyield_assets.domain.reporting.forecast_sections import HISTORY_DAYS
from defiyield_assets.domain.reporting.nav_sections import SHOWN_DAYS
from defiyield_assets.domain.reporting.report import build_report
from defiyield_assets.domain.reporting.slack import build_slack_message
from defiyield_assets.errors import TransientError, VendorUnanswered
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.notifier import NotifierResource
from defiyield_assets.orchestration.partitions import day_before, rolling, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY
from defiyield_assets.orchestration.report_inputs import read_report_inputs
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.orchestration.verification import require_replayed
from defiyield_assets.store import schema, writes


@daily_asset(
    schema.daily_report,
    group="reporting",
    phase=6,
    spec="allocation.md#output",
    backfill=DAY_BY_DAY,
    deps=[
        "allocation_runs",
        "allocations",
        "allocation_steps",
        "allocation_limits",
        "eligible_pools",
        "prefiltered_pools",
        "icebox",
        "icebox_events",
        dg.AssetDep("nav_daily", partition_mapping=rolling(SHOWN_DAYS - 1)),
        "yield_attribution",
        "unexplained_transactions",
        "forecast_scores",
        "forecast_scoreboard",
        "pool_forecasts",
        dg.AssetDep("pool_histories", partition_mapping=rolling(HISTORY_DAYS - 1)),
        "gas_forecasts",
        dg.AssetDep("gas_fees_daily", partition_mapping=rolling(HISTORY_DAYS - 1)),
        "pool_quality",
        "pools",
        "closes_defillama",
        "ohlcv_coinmarketcap",
        "ohlcv_coingecko",
        "chain_balances",
        "daily_balances",
        "pool_positions",
        "ledger_postings",
        "trial_balance",
        "daily_bars",
        "pool_contracts",
        "pool_aliases",
        "policy_snapshot",
    ],
    kinds=("html", "sql"),
)
def daily_report(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, notifier: NotifierResource
) -> dg.MaterializeResult:
    """The page that the analyst reads in the morning: plan, steps, reasons, what the last plan really earned."""
    day = single_day(context)
    require_replayed(warehouse, day)
    inputs = read_report_inputs(warehouse, day)
    built = build_report(inputs)
    plan = plan_of_day(inputs)
    run_id = str(plan["run_id"]) if plan is not None else "none"
    frame = pd.DataFrame(
        [{"date": day, "run_id": run_id, "title": built.title, "markdown": built.markdown, "html": built.html}]
    )
    receipt = writes.replace_slice(warehouse.engine, schema.daily_report, frame, DayRange.of(day))
    folder = Path(notifier.local_folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((f"{day}.html", built.html), (f"{day}.md", built.markdown)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o600)
    return report(receipt, headline=built.title, report=dg.MetadataValue.md(built.markdown))


@daily_asset(
    schema.slack_notification,
    group="reporting",
    phase=6,
    spec="vendors.md#slack",
    backfill=DAY_BY_DAY,
    deps=["daily_report", "allocation_runs", "allocations", "allocation_steps"],
    kinds=("slack",),
)
def slack_notification(
    context: dg.AssetExecutionContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    notifier: NotifierResource,
) -> dg.MaterializeResult:
    """The day in one message, to Slack when it is configured, the market is live and the day is the newest complete
    one, else to a local file."""
    day = single_day(context)
    require_replayed(warehouse, day)
    inputs = read_report_inputs(warehouse, day)
    message, plan = build_slack_message(inputs), plan_of_day(inputs)
    newest = day_before(utc_day(notifier.now()))
    delivery = notifier.deliver(
        message,
        f"{day}.slack",
        key=f"day:{day}",
        market=market,
        engine=warehouse.engine,
        day=day,
        run_id=str(plan["run_id"]) if plan is not None else "",
        kept_local=f"{newest} is the newest complete day, and older plans are no instructions" if day < newest else "",
    )
    if delivery.is_under_way:
        # Another run is posting it, or one that ended while it did: after store.slack.PATIENCE the next run knows.
        raise TransientError(f"the message of {day} is not known to be posted: {delivery.status}")
    frame = pd.DataFrame(
        [
            {
                "date": day,
                "text": message.text,
                "blocks_json": canonical_json(list(message.blocks)),
                "sink": delivery.sink,
                "status": delivery.status,
            }
        ]
    )
    receipt = writes.replace_slice(warehouse.engine, schema.slack_notification, frame, DayRange.of(day))
    told: dict[str, Any] = {"sink": delivery.sink, "status": delivery.status, "parts": len(message.parts)}
    if delivery.unknown_parts:
        told |= {"degraded": delivery.status, "degraded_by": VendorUnanswered.__name__}
    return report(receipt, text=message.text, **told)
