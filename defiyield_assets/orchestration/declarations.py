"""How every daily asset of the product is declared: same partitions, tags, owners, schema, failures.

Lives here: `daily_asset`. Not here: the assets (assets/), policies by name (policies.py) or what is recorded on
failure (failures.py).
"""

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import dagster as dg
from sqlalchemy import Engine, Table

from defiyield_assets.errors import DefiYieldError
from defiyield_assets.orchestration.failures import outcomes, record_outcome
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import table_schema

OWNERS = ["team:treasury-engineering"]

Progress = Callable[[str, str, float], None]
PROGRESS: ContextVar[Progress | None] = ContextVar("PROGRESS", default=None)
"""Set by the command line to see assets start and end: (asset, started|done|degraded|failed, seconds)."""

PHASES = {
    1: "ingestion and ledger",
    2: "pre-filter, histories and positions",
    3: "metrics, groups, icebox",
    4: "forecasts",
    5: "final filter and allocation",
    6: "reporting",
}


def _tell(asset: str, what: str, seconds: float) -> None:
    listener = PROGRESS.get()
    if listener is not None:
        listener(asset, what, seconds)


def _engine(resources: dict[str, Any]) -> Engine | None:
    warehouse = resources.get("warehouse")
    try:
        return warehouse.engine if warehouse is not None else None
    except DefiYieldError:
        return None


def watched(asset: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap an asset's function: progress, outcomes, typed failures."""

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def run(context: dg.AssetExecutionContext, **resources: Any) -> Any:
            started = time.perf_counter()
            days = day_range(context)
            _tell(asset, "started", 0.0)
            try:
                with outcomes(_engine(resources), asset, days, context.log):
                    result = fn(context, **resources)
            except BaseException:
                _tell(asset, "failed", time.perf_counter() - started)
                raise
            degraded = _degradation(result)
            engine = _engine(resources)
            if engine is not None:
                status = "degraded" if degraded else None
                record_outcome(
                    engine, asset, days, status, error_class="Degraded" if degraded else "", reason=degraded or ""
                )
            if degraded:
                context.log.warning("%s is degraded: %s", asset, degraded)
            _tell(asset, "degraded" if degraded else "done", time.perf_counter() - started)
            return result

        return run

    return wrap


def _degradation(result: Any) -> str | None:
    results = [result] if isinstance(result, dg.MaterializeResult) else list(result)
    reasons = [str(item.metadata["degraded"]) for item in results if item.metadata and "degraded" in item.metadata]
    return "; ".join(reasons) or None


def daily_asset(
    table: Table,
    *,
    group: str,
    phase: int,
    spec: str,
    backfill: dg.BackfillPolicy,
    deps: Sequence[str | dg.AssetDep] = (),
    kinds: Sequence[str] = ("pandas", "sql"),
    retry: dg.RetryPolicy | None = None,
    pool: str | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the asset that is the one writer of `table`, named as the table and described by its function's
    docstring.
    """

    def declare(fn: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            watched(table.name)(fn),
            name=table.name,
            description=inspect.getdoc(fn),
            partitions_def=DAILY,
            backfill_policy=backfill,
            deps=list(deps),
            group_name=group,
            kinds=set(kinds),
            owners=OWNERS,
            tags={"daily": "", "phase": str(phase)},
            retry_policy=retry,
            pool=pool,
            metadata={"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name},
        )

    return declare
