"""Steps of the strategy lab: how its assets are declared, how often progress is told, which scenarios a run is of.

Lives here: `lab_asset`, `lab_spec`, `Pace`, the partitions of scenarios in a run. Not here: progress and failures of
a step (orchestration/steps.py), the assets (assets/scenarios.py, assets/strategies.py).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import Table

from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.declarations import tell_progress
from defiyield_assets.orchestration.steps import own_asset, own_spec

GROUP = "lab"
SECONDS_APART = 1.0
"""Between two words about how far a step is."""


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
            tell_progress(self._step, f"{number} of {total} {words}")


def lab_spec(table: Table, description: str, deps: Sequence[str], kinds: Sequence[str], spec: str) -> dg.AssetSpec:
    """A table of the lab as one of several that a step writes."""
    return own_spec(table, description, group=GROUP, deps=deps, kinds=kinds, spec=spec)


def lab_asset(
    table: Table, *, deps: Sequence[str], spec: str, kinds: Sequence[str] = ("numpy", "sql")
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the unpartitioned asset of the lab that is the one writer of a table."""
    return own_asset(table, group=GROUP, deps=deps, kinds=kinds, spec=spec)


def scenario_keys(context: dg.AssetExecutionContext) -> list[str]:
    """The partitions of this run, one or a range. SuspiciousDataError where there is none."""
    if not context.has_partition_key and not context.has_partition_key_range:
        raise SuspiciousDataError(
            "no scenario was chosen: make `scenarios` first, then choose their partitions (in the UI, or "
            "`dagster asset materialize --select … --partition …`), or run `defiyield assess`"
        )
    return list(context.partition_keys)
