"""Tables that the machinery itself writes, shown in the graph so that nobody has to guess where they come from.

Lives here: external asset specs. Not here: who writes them (store/, failures.py, ledger.py).
"""

import dagster as dg

from defiyield_assets.orchestration.declarations import OWNERS
from defiyield_assets.orchestration.reporting import table_schema
from defiyield_assets.store import schema

bookkeeping = [
    dg.AssetSpec(
        table.name,
        description=table.comment,
        group_name="archive",
        kinds={"sql"},
        owners=OWNERS,
        metadata={
            "dagster/column_schema": table_schema(table),
            "dagster/table_name": table.name,
            "spec": "vendors.md",
        },
    )
    for table in (
        *(schema.raw_fetches, schema.raw_bodies, schema.vendor_usage, schema.vendor_paces),
        *(schema.asset_outcomes, schema.account_cursors, schema.forecast_cache),
        *(schema.slack_messages, schema.slack_alerts, schema.policy_versions, schema.console_audit),
    )
]
"""Requests, their bodies, what of the vendors' budgets is used, outcomes, how far wallets were read, known fits, what
was posted to Slack and told as alarms, versions of the policy and what was done through the console."""
