"""How every daily asset of the product is declared: same partitions, tags, owners, schema, failures.

Lives here: `daily_asset`, `daily_tables` for a step with several tables, and `watched`. Not here: the assets (assets/),
policies by name (policies.py), what is recorded on failure (failures.py), what rests on what (degradation.py).
"""

import functools
import inspect
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from datetime import date
from typing import Any

import dagster as dg
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.outcomes import DEGRADED, DEGRADED_UPSTREAM, rests_on
from defiyield_assets.errors import (
    DefiYieldError,
    NotRecoverable,
    SuspiciousDataError,
    TransientError,
    VendorAuthError,
    VendorError,
)
from defiyield_assets.orchestration.degradation import declare_step
from defiyield_assets.orchestration.failures import (
    Outcome,
    degraded_sources_of,
    failure_metadata,
    outcomes,
    record_outcomes,
)
from defiyield_assets.orchestration.instrument_types import parts_of_run
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import table_schema

OWNERS = ["team:treasury-engineering"]

Progress = Callable[[str, str, float], None]
PROGRESS: ContextVar[Progress | None] = ContextVar("PROGRESS", default=None)
"""Set by the command line to see assets start, go on and end: (asset, what, seconds).

`what` is started, one of ENDINGS, or how far the asset is, in words.
"""
ENDINGS = frozenset({"done", "degraded", "failed"})

LOST_BEFORE: ContextVar[frozenset[str] | None] = ContextVar("LOST_BEFORE", default=None)
"""Set by a rebuild: the steps for which an answer was lost when the day ran. A lost answer of any other step has no
substitute then: what stood on it must not be made again without it.
"""

PHASES = {
    1: "ingestion and ledger",
    2: "pre-filter, histories and positions",
    3: "metrics, groups, icebox",
    4: "forecasts",
    5: "final filter and allocation",
    6: "reporting",
}


def tell_step(asset: str, what: str, seconds: float) -> None:
    """That a step started or ended (ENDINGS), or how far it is, for whoever listens to PROGRESS."""
    listener = PROGRESS.get()
    if listener is not None:
        listener(asset, what, seconds)


def tell_progress(asset: str, words: str) -> None:
    """How far an asset is, for whoever listens."""
    tell_step(asset, words, 0.0)


def _engine(resources: dict[str, Any]) -> Engine | None:
    warehouse = resources.get("warehouse")
    try:
        return warehouse.engine if warehouse is not None else None
    except DefiYieldError:
        return None


def is_last_attempt(context: dg.AssetExecutionContext | dg.OpExecutionContext, retry: dg.RetryPolicy | None) -> bool:
    """Whether a transient error ends the step: its retry policy has no attempt left."""
    return retry is None or context.retry_number >= retry.max_retries


def watched(
    asset: str, *, retry: dg.RetryPolicy | None = None, substitute: str | None = None, required_by: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap a step's function: progress, outcomes, typed failures, degradation.

    `substitute` says what stands in for a source when it fails for good: then the step ends degraded, with nothing
    written, and what stands on it goes on. In the job `required_by`, which is there for this source, nothing stands in
    for it: the step fails, so that somebody is told.
    """

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def run(context: dg.AssetExecutionContext, **resources: Any) -> Any:
            started = time.perf_counter()
            days, is_last = day_range(context), is_last_attempt(context, retry)
            parts = parts_of_run(asset, resources.get("config"))
            tell_step(asset, "started", 0.0)
            try:
                with outcomes(_engine(resources), asset, days, context.log, parts=parts, is_last_attempt=is_last):
                    is_required = required_by is not None and context.job_name == required_by
                    result = _ask(fn, context, resources, substitute, is_last=is_last, is_required=is_required)
            except BaseException:
                tell_step(asset, "failed", time.perf_counter() - started)
                raise
            engine = _engine(resources)
            resting = degraded_sources_of(engine, parts[0], days) if engine is not None else {}
            own = _degradation(result)
            if engine is not None:
                record_outcomes(engine, parts[0], days, _outcomes(days, own, resting))
                for other in parts[1:]:  # made by the same run: what it rests on is told once
                    record_outcomes(engine, other, days, {})
            if own is not None:
                context.log.warning("%s is degraded: %s", asset, own[1])
            tell_step(asset, "degraded" if own or resting else "done", time.perf_counter() - started)
            return _with_sources(result, resting)

        return run

    return wrap


def _ask(
    fn: Callable[..., Any],
    context: dg.AssetExecutionContext,
    resources: dict[str, Any],
    substitute: str | None,
    *,
    is_last: bool,
    is_required: bool,
) -> Any:
    """The function's result; for a source with a substitute, its failure for good as a degraded result.

    Where the source is required, only a plan that has no such answers is degraded: it is as it was yesterday.
    """
    try:
        return fn(context, **resources)
    except (VendorError, NotRecoverable, SuspiciousDataError) as error:
        if substitute is None or (isinstance(error, TransientError) and not is_last):
            raise
        if is_required and not isinstance(error, VendorAuthError):
            raise
        lost = LOST_BEFORE.get()
        if isinstance(error, NotRecoverable) and lost is not None and context.op_def.name not in lost:
            raise
        reason = f"{error}; {substitute}"
        facts = {"degraded": reason, "degraded_by": type(error).__name__, **failure_metadata(error)}
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, **facts})


def _outcomes(
    days: DayRange, own: tuple[str, str] | None, resting: Mapping[date, Sequence[str]]
) -> dict[date, Outcome]:
    """How the step of each day ended: for a reason of its own, because of what it rests on, or cleanly (left out)."""
    told = {}
    for day in days:
        reasons = [own[1]] if own is not None else []
        reasons += [rests_on(resting[day])] if day in resting else []
        if reasons:
            told[day] = Outcome("degraded", own[0] if own is not None else DEGRADED_UPSTREAM, "; ".join(reasons))
    return told


def _results(result: Any) -> list[dg.MaterializeResult]:
    return [result] if isinstance(result, dg.MaterializeResult) else list(result)


def _degradation(result: Any) -> tuple[str, str] | None:
    """Class and reason of what the step itself says is missing."""
    told = [dict(item.metadata) for item in _results(result) if item.metadata and "degraded" in item.metadata]
    if not told:
        return None
    return str(told[0].get("degraded_by", DEGRADED)), "; ".join(str(facts["degraded"]) for facts in told)


def _with_sources(result: Any, resting: Mapping[date, Sequence[str]]) -> Any:
    """The result with the degraded assets that it rests on in its metadata, where the UI shows them."""
    names = sorted({name for found in resting.values() for name in found})
    if not names:
        return result
    marked = [
        item._replace(metadata={**(item.metadata or {}), "rests_on_degraded": names}) for item in _results(result)
    ]
    return marked[0] if isinstance(result, dg.MaterializeResult) else tuple(marked)


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
    substitute: str | None = None,
    required_by: str | None = None,
    freshness: dg.FreshnessPolicy | None = None,
    tag: str | None = None,
    apart: Collection[str] = (),
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the asset that is the one writer of `table`, named as the table and described by its function's
    docstring; `substitute` and `required_by` as for `watched`, `tag` as in instrument_types.py. `apart`: names among
    `deps` that rows of their own rest on: their trouble is theirs, and degrades nothing behind this asset.
    """
    declare_step(table.name, [table.name], [dep for dep in deps if dep not in apart])

    def declare(fn: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            watched(table.name, retry=retry, substitute=substitute, required_by=required_by)(fn),
            name=table.name,
            description=inspect.getdoc(fn),
            partitions_def=DAILY,
            backfill_policy=backfill,
            deps=list(deps),
            group_name=group,
            kinds=set(kinds),
            owners=OWNERS,
            tags={"daily": "", "phase": str(phase)} | ({} if tag is None else {tag: ""}),
            retry_policy=retry,
            pool=pool,
            freshness_policy=freshness,
            metadata={"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name},
        )

    return declare


def daily_tables(
    step: str,
    tables: Mapping[Table, str],
    *,
    group: str,
    phase: int,
    spec: str,
    backfill: dg.BackfillPolicy,
    deps: Sequence[str | dg.AssetDep],
    own_past: Mapping[Table, dg.PartitionMapping] | None = None,
    made_of: Mapping[Table, Table] | None = None,
    kinds: Sequence[str] = ("pandas", "sql"),
    tag: str | None = None,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the step that is the one writer of several tables, given with their descriptions; all or none are made.

    `own_past`: which earlier partitions of themselves tables rest on; `made_of`: tables of the step that are made of
    another of its tables and of nothing else; `tag` as in instrument_types.py.
    """
    declare_step(step, [table.name for table in tables], deps)

    def specify(table: Table, description: str) -> dg.AssetSpec:
        past = [dg.AssetDep(own.name, partition_mapping=days) for own, days in (own_past or {}).items() if own is table]
        return dg.AssetSpec(
            table.name,
            deps=[made_of[table].name] if made_of is not None and table in made_of else [*deps, *past],
            description=description,
            group_name=group,
            kinds=set(kinds),
            owners=OWNERS,
            tags={"daily": "", "phase": str(phase)} | ({} if tag is None else {tag: ""}),
            metadata={"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name},
        )

    def declare(fn: Callable[..., Any]) -> dg.AssetsDefinition:
        specs = [specify(table, description) for table, description in tables.items()]
        make = dg.multi_asset(name=step, partitions_def=DAILY, backfill_policy=backfill, specs=specs)
        return make(watched(step)(fn))

    return declare
