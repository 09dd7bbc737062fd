"""Steps of the strategy lab: progress and typed failures for assets that have no day.

Lives here: `lab_step`, `lab_asset`, `lab_spec`, the partitions of scenarios in a run. Not here: daily assets
(orchestration/declarations.py), the assets (assets/scenarios.py, assets/strategies.py).
"""

import functools
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import Table

from defiyield_assets.errors import DefiYieldError, SuspiciousDataError
from defiyield_assets.orchestration.declarations import OWNERS, PROGRESS
from defiyield_assets.orchestration.failures import failure_metadata
from defiyield_assets.orchestration.reporting import table_schema

GROUP = "lab"
SECONDS_APART = 1.0
"""Between two words about how far a step is."""


def lab_step(step: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap a step's function: tell when it starts and ends, and end typed errors as failures that are not retried."""

    def wrap(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def run(context: dg.AssetExecutionContext, **resources: Any) -> Any:
            started = time.perf_counter()
            _tell(step, "started", 0.0)
            ending = "failed"
            try:
                result = fn(context, **resources)
                ending = "done"
            except DefiYieldError as error:
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


class Pace:
    """Tells how far a step is as often as somebody can read it, and always at the end."""

    def __init__(self, step: str, now: Callable[[], float] = time.perf_counter) -> None:
        self._step = step
        self._now = now
        self._told = float("-inf")

    def tell(self, number: int, total: int, words: str) -> None:
        """`number` of `total` are done."""
        now = self._now()
        if number == total or now - self._told >= SECONDS_APART:
            self._told = now
            _tell(self._step, f"{number} of {total} {words}", 0.0)


def lab_spec(table: Table, description: str, deps: Sequence[str], kinds: Sequence[str], spec: str) -> dg.AssetSpec:
    """A table of the lab as one of several that a step writes."""
    return dg.AssetSpec(
        table.name,
        deps=list(deps),
        description=description,
        group_name=GROUP,
        kinds=set(kinds),
        owners=OWNERS,
        metadata={"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name},
    )


def lab_asset(
    table: Table, *, deps: Sequence[str], spec: str, kinds: Sequence[str] = ("numpy", "sql")
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the unpartitioned asset that is the one writer of a table, described by its function's docstring."""

    def declare(fn: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            lab_step(table.name)(fn),
            name=table.name,
            description=inspect.getdoc(fn),
            deps=list(deps),
            group_name=GROUP,
            kinds=set(kinds),
            owners=OWNERS,
            metadata={"dagster/column_schema": table_schema(table), "spec": spec, "dagster/table_name": table.name},
        )

    return declare


def scenario_keys(context: dg.AssetExecutionContext) -> list[str]:
    """The partitions of this run, one or a range. SuspiciousDataError where there is none."""
    if not context.has_partition_key and not context.has_partition_key_range:
        raise SuspiciousDataError(
            "no scenario was chosen: make `scenarios` first, then choose their partitions (in the UI, or "
            "`dagster asset materialize --select … --partition …`), or run `defiyield assess`"
        )
    return list(context.partition_keys)
