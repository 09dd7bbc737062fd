"""One day of the graph without Dagster's machinery: the same functions in the graph's order, called one after another.

Lives here: `DayFunction`, for closed loops of months. Not here: the functions (orchestration/assets, orchestration/
checks), runs through Dagster (`soak.py --market`, cli/run.py). As in a run of Dagster's, a step that failed and a
blocking check that did not pass skip all that stand on them, and a step with a retry policy is tried again. Left out:
events, metadata, and checks that only tell.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from graphlib import TopologicalSorter
from inspect import signature
from types import SimpleNamespace
from typing import Any

import dagster as dg

from defiyield_assets.orchestration.instrument_types import InstrumentTypes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DayContext:
    """What steps and checks of a day ask of Dagster's contexts."""

    day: date
    step: str
    retry_number: int = 0
    job_name: str = "plan_the_day"
    log: logging.Logger = logger

    @property
    def partition_key(self) -> str:
        """The day."""
        return self.day.isoformat()

    @property
    def partition_key_range(self) -> dg.PartitionKeyRange:
        """The day as a range of one."""
        return dg.PartitionKeyRange(self.partition_key, self.partition_key)

    @property
    def run(self) -> SimpleNamespace:
        """The run: nothing was told to its steps."""
        return SimpleNamespace(run_config={}, job_name=self.job_name)

    @property
    def asset_key(self) -> dg.AssetKey:
        """The step's name as a key."""
        return dg.AssetKey(self.step)

    @property
    def op_def(self) -> SimpleNamespace:
        """The step as the op that it is in Dagster; only its name."""
        return SimpleNamespace(name=self.step)


@dataclass(frozen=True)
class Node:
    """A step or a blocking check, and what has to be well before it runs."""

    name: str
    tables: frozenset[str]
    parents: frozenset[str]
    call: Callable[..., Any]
    retry: dg.RetryPolicy | None = None
    blocking: frozenset[str] = frozenset()
    """Of a function that checks: names of its checks that stop what follows."""

    @property
    def is_check(self) -> bool:
        """Whether it writes nothing."""
        return bool(self.blocking)


@dataclass
class DayTold:
    """How a day went, by step."""

    day: date
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def undone(self) -> set[str]:
        """Steps to be asked for again: those that failed or were skipped, with what a check that failed belongs to."""
        return {*self.failed, *self.skipped}

    @property
    def breaks(self) -> list[str]:
        """What failed and why, in lines."""
        return [f"{self.day} {name} failed: {reason}" for name, reason in self.failed.items()]


class DayFunction:
    """All daily steps with their blocking checks, over the resources of one installation."""

    def __init__(self, defs: dg.Definitions) -> None:
        self._defs = defs

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Steps and blocking checks in an order in which everything comes after what it needs."""
        steps = self._steps()
        step_of = {table: step.name for step in steps.values() for table in step.tables}
        gates: dict[str, set[str]] = {table: {step} for table, step in step_of.items()}
        nodes: dict[str, Node] = {}
        for check in self._blocking_checks():
            if not check.parents <= step_of.keys():
                continue  # of the strategy lab, news or paper trading
            parents = frozenset(step_of[table] for table in check.parents)
            nodes[check.name] = replace(check, parents=parents)
            for table in check.tables:
                gates[table].add(check.name)
        for step in steps.values():
            needed = {gate for table in step.parents - step.tables if table in gates for gate in gates[table]}
            nodes[step.name] = Node(step.name, step.tables, frozenset(needed), step.call, step.retry)
        order = TopologicalSorter({name: sorted(node.parents) for name, node in sorted(nodes.items())})
        return tuple(nodes[name] for name in order.static_order())

    def _steps(self) -> dict[str, Node]:
        """Every daily step, its parents by table."""
        graph = self._defs.resolve_asset_graph()
        daily = [graph.get(key) for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags]
        steps: dict[str, Node] = {}
        for asset in daily:
            op = asset.assets_def.op
            found = [graph.get(key) for key in asset.assets_def.keys]
            tables = frozenset(one.key.to_user_string() for one in found)
            parents = frozenset(key.to_user_string() for one in found for key in one.parent_keys)
            steps[op.name] = Node(op.name, tables, parents, op.compute_fn.decorated_fn, op.retry_policy)
        return steps

    def _blocking_checks(self) -> list[Node]:
        """The functions of checks some of which are blocking, their parents by table."""
        found = []
        for definition in self._defs.asset_checks or ():
            specs = [definition.get_spec_for_check_key(key) for key in definition.check_keys]
            blocking = frozenset(spec.name for spec in specs if spec.blocking)
            if blocking:
                tables = frozenset(spec.asset_key.to_user_string() for spec in specs if spec.blocking)
                more = {dep.asset_key.to_user_string() for spec in specs for dep in spec.additional_deps}
                op = definition.op
                found.append(Node(op.name, tables, tables | more, op.compute_fn.decorated_fn, blocking=blocking))
        return found

    def run(self, day: date, done: Collection[str] = (), tell: Callable[[str], None] = lambda _name: None) -> DayTold:
        """Run what is not `done` yet of the day; `tell` hears of every step that ended well.

        Blocking checks run whenever something may follow them, as a plan must not stand on what nobody looked at.
        """
        told, lost = DayTold(day), set[str]()
        for node in self.nodes:
            if node.name in done and not node.is_check:
                continue
            if lost & node.parents:
                lost.add(node.name)
                told.skipped += [] if node.is_check else [node.name]
                continue
            started = time.perf_counter()
            reason = self._reason_of_failure(node, day)
            told.seconds[node.name] = time.perf_counter() - started
            if reason is not None:
                lost.add(node.name)
                told.failed[node.name] = reason
            elif not node.is_check:
                tell(node.name)
        return told

    def _reason_of_failure(self, node: Node, day: date) -> str | None:
        """Call the node, again as often as its retry policy says; why it failed for good, None when it did not."""
        for attempt in range(1 + (node.retry.max_retries if node.retry is not None else 0)):
            context = DayContext(day, node.name, retry_number=attempt)
            try:
                result = node.call(context, **self._handed(node.call))
                verdicts = _verdicts(result) if node.is_check else []
            except dg.Failure as failure:
                return str(failure.description)
            except Exception as error:  # noqa: BLE001 - as Dagster's executor: the step failed, the day goes on
                reason = f"{type(error).__name__}: {error}"
                if node.retry is not None:
                    time.sleep(max(0.0, float(node.retry.calculate_delay(attempt + 1))))
                continue
            return None if not node.is_check else _broken(node, verdicts)
        return reason

    def _handed(self, call: Callable[..., Any]) -> Mapping[str, Any]:
        """What the function is handed by name: resources, and the configuration of a whole day."""
        resources: Mapping[str, Any] = self._defs.resources or {}
        wanted = [name for name in signature(call).parameters if name != "context"]
        return {name: InstrumentTypes() if name == "config" else resources[name] for name in wanted}


def _verdicts(result: dg.AssetCheckResult | Iterable[dg.AssetCheckResult]) -> list[dg.AssetCheckResult]:
    return [result] if isinstance(result, dg.AssetCheckResult) else list(result)


def _broken(node: Node, verdicts: Sequence[dg.AssetCheckResult]) -> str | None:
    """Which blocking checks did not pass, and what they say; None when all did.

    A verdict without a name is that of a function with one check.
    """
    named = [(verdict.check_name or min(node.blocking), verdict) for verdict in verdicts]
    told = [
        f"{name}: {verdict.description}"
        for name, verdict in named
        if not verdict.passed and verdict.severity == dg.AssetCheckSeverity.ERROR and name in node.blocking
    ]
    return "; ".join(told) or None
