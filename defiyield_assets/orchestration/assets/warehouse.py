"""Assets that open the day: the schema, the policy as it stands, and what identifies pools and tokens.

Lives here: migrations, policy_snapshot, pool_aliases, pool_contracts, instruments. Not here: anything that a vendor
tells.
"""

import dagster as dg
import pandas as pd

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.outcomes import NOT_CONFIGURED
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.domain.prices.instruments import build_instruments, with_dropped
from defiyield_assets.orchestration.declarations import OWNERS, daily_asset, watched
from defiyield_assets.orchestration.degradation import declare_step
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.policies import ONE_RUN
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, PolicyResource, WarehouseResource
from defiyield_assets.store import reads, schema, writes

declare_step("migrations", ["migrations"], ())


@dg.asset(
    partitions_def=DAILY,
    backfill_policy=ONE_RUN,
    group_name="policy",
    kinds={"sql"},
    owners=OWNERS,
    tags={"daily": "", "phase": "1"},
    metadata={"spec": "architecture.md"},
)
def migrations(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """The warehouse's schema at its newest revision, claimed for this market; everything else stands on it."""
    return watched("migrations")(_migrate)(context, warehouse=warehouse)  # type: ignore[no-any-return]


def _migrate(_context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={"revision": warehouse.migrate(), "dagster/row_count": len(schema.metadata.tables)}
    )


@daily_asset(
    schema.policy_snapshot,
    group="policy",
    phase=1,
    spec="defi.md#policy",
    backfill=ONE_RUN,
    deps=["migrations"],
    kinds=("yaml", "sql"),
)
def policy_snapshot(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """Parameters, approved and barred tokens, protocols, aliases, overrides and wallets in force, one row a day."""
    days = day_range(context)
    rows: list[dict[str, object]] = []
    warnings: set[str] = set()
    for day in days:
        loaded = policy.load(day, market.simulation)
        warnings.update(loaded.warnings)
        text = policy_to_json(loaded.policy)
        rows.append(
            {
                "date": day,
                "policy_hash": content_hash(text),
                "policy_json": text,
                "n_tokens": len(loaded.policy.tokens),
                "n_protocols": len(loaded.policy.protocols),
                "n_overrides": len(loaded.policy.pool_overrides),
            }
        )
    for warning in sorted(warnings):
        context.log.warning("policy: %s", warning)
    frame = pd.DataFrame(rows)
    receipt = writes.replace_slice(warehouse.engine, schema.policy_snapshot, frame, days)
    return report(receipt, frame.drop(columns="policy_json"), warnings=sorted(warnings))


@daily_asset(
    schema.pool_aliases, group="policy", phase=1, spec="defi.md#ingestion", backfill=ONE_RUN, deps=["policy_snapshot"]
)
def pool_aliases(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Old pool ids and what they are called now, from the policy's configuration."""
    policy = warehouse.policy(day_range(context).end)
    frame = pd.DataFrame(
        [
            {"old_id": alias.old_id, "new_id": alias.new_id, "since": alias.since, "source": alias.source}
            for alias in policy.pool_aliases
        ],
        columns=[column.name for column in schema.pool_aliases.columns],
    )
    return report(writes.upsert(warehouse.engine, schema.pool_aliases, frame), frame)


@daily_asset(
    schema.pool_contracts, group="policy", phase=1, spec="ledger.md", backfill=ONE_RUN, deps=["policy_snapshot"]
)
def pool_contracts(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Which on-chain contract a pool is, from the configuration and, in a closed loop, from the simulated chain."""
    frame = warehouse.contracts(day_range(context).end)
    return report(
        writes.upsert(warehouse.engine, schema.pool_contracts, frame),
        frame,
        degraded="no pool contract is known: the ledger recognises no deposit (policy.yaml, pool_contracts)"
        if frame.empty
        else None,
        degraded_by=NOT_CONFIGURED,
    )


@daily_asset(
    schema.instruments, group="prices", phase=1, spec="market.md#tables", backfill=ONE_RUN, deps=["policy_snapshot"]
)
def instruments(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """Everything that has a price: the policy's tokens and the instruments of instruments.yaml, with their vendors'
    ids. What is no longer in the file stays, marked as not configured.
    """
    engine, others = warehouse.engine, policy.universe().instruments
    listed = build_instruments(warehouse.policy(day_range(context).end).tokens, others)
    frame = with_dropped(listed, reads.read_all(engine, schema.instruments))
    kinds = {f"type_{name}": int(n) for name, n in listed["type"].value_counts().items()}
    return report(writes.upsert(engine, schema.instruments, frame), frame, counts=kinds)
