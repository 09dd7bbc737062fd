"""Steps that have no day but a watermark: news every hour, and what else goes on where it stopped.

Lives here: `watermarked_step` and `watermarked_spec`, their progress and typed failures. Not here: daily assets
(declarations.py), steps of the strategy lab (lab/steps.py).
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import Table

from defiyield_assets.errors import DefiYieldError, TransientError
from defiyield_assets.orchestration.declarations import OWNERS, PROGRESS, is_last_attempt
from defiyield_assets.orchestration.failures import failure_metadata
from defiyield_assets.orchestration.reporting import table_schema


def watermarked_step(
    step: str, retry: dg.RetryPolicy | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap a step's function: tell when it starts and ends, and end typed errors as failures.

    Transient errors are raised as they are while `retry` has attempts left; all others, and those of the last attempt,
    become `Failure(allow_retries=False)` with the request that failed beside it.
    """

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def run(context: dg.AssetExecutionContext, **resources: Any) -> Any:
            started, ending = time.perf_counter(), "failed"
            _tell(step, "started", 0.0)
            try:
                result = fn(context, **resources)
                ending = "done"
            except DefiYieldError as error:
                if isinstance(error, TransientError) and not is_last_attempt(context, retry):
                    raise
                raise dg.Failure(str(error), metadata=failure_metadata(error), allow_retries=False) from error
            finally:
                _tell(step, ending, time.perf_counter() - started)
            return result

        return run

    return wrap


def _tell(step: str, what: str, seconds: float) -> None:
    listener = PROGRESS.get()
    if listener is not None:
        listener(step, what, seconds)


def watermarked_spec(
    table: Table, description: str, *, group: str, deps: Sequence[str], kinds: Sequence[str], spec: str
) -> dg.AssetSpec:
    """A table of such a step as an asset."""
    return dg.AssetSpec(
        table.name,
        deps=list(deps),
        description=description,
        group_name=group,
        kinds=set(kinds),
        owners=OWNERS,
        metadata={"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name},
    )
