"""Steps that are no part of the treasury's day: the strategy lab, news, signals, paper trading.

Lives here: `own_step` (progress and typed failures), `own_spec` and `own_asset` (declarations). Not here: daily assets,
whose outcomes are recorded (declarations.py), partitions of scenarios (lab/steps.py).
"""

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import Table

from defiyield_assets.errors import DefiYieldError, TransientError
from defiyield_assets.orchestration.declarations import OWNERS, is_last_attempt, tell_step
from defiyield_assets.orchestration.failures import failure_metadata
from defiyield_assets.orchestration.reporting import table_schema


def own_step(step: str, retry: dg.RetryPolicy | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap a step's function: tell when it starts and ends, and end typed errors as failures.

    Transient errors are raised as they are while `retry` has attempts left; all others, and those of the last attempt,
    become `Failure(allow_retries=False)` with the request that failed beside it.
    """

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def run(context: dg.AssetExecutionContext, **resources: Any) -> Any:
            started, ending = time.perf_counter(), "failed"
            tell_step(step, "started", 0.0)
            try:
                result = fn(context, **resources)
                ending = "done"
            except DefiYieldError as error:
                if isinstance(error, TransientError) and not is_last_attempt(context, retry):
                    raise
                raise dg.Failure(str(error), metadata=failure_metadata(error), allow_retries=False) from error
            finally:
                tell_step(step, ending, time.perf_counter() - started)
            return result

        return run

    return wrap


def own_metadata(table: Table, spec: str) -> dict[str, Any]:
    """What the Dagster UI shows of a table: columns, name, and the section of the specification."""
    return {"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name}


def own_spec(
    table: Table, description: str, *, group: str, deps: Sequence[Any], kinds: Sequence[str], spec: str
) -> dg.AssetSpec:
    """A table as one of several that a step writes."""
    return dg.AssetSpec(
        table.name,
        deps=list(deps),
        description=description,
        group_name=group,
        kinds=set(kinds),
        owners=OWNERS,
        metadata=own_metadata(table, spec),
    )


def own_asset(
    table: Table, *, group: str, deps: Sequence[str], kinds: Sequence[str], spec: str
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the unpartitioned asset that is the one writer of a table, described by its function's docstring."""

    def declare(fn: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            own_step(table.name)(fn),
            name=table.name,
            description=inspect.getdoc(fn),
            deps=list(deps),
            group_name=group,
            kinds=set(kinds),
            owners=OWNERS,
            metadata=own_metadata(table, spec),
        )

    return declare
