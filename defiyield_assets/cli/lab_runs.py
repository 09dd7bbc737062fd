"""Assets of the market part and of the lab, run by a command: in process, with progress and the time that is left.

Lives here: one run, what it told, what failed. Not here: which assets a command means (assess.py), days of the
treasury (run.py).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from defiyield_assets.cli import show
from defiyield_assets.cli.output import write_json
from defiyield_assets.orchestration.declarations import ENDINGS, PROGRESS
from defiyield_assets.orchestration.failures import innermost_error

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TOLD_EVERY = 5.0
"""Seconds between two lines about the same step where nobody sees a bar."""
_COUNTED = re.compile(r"^(?P<done>[\d,]+) of (?P<total>[\d,]+)\b(?P<what>.*)")


@dataclass(frozen=True)
class Stage:
    """Assets that are made in one run.

    `name`: what people call it; `job`: the job that holds the assets; `keys`: first and last partition of a range, None
    for assets without; `config`: by step.
    """

    name: str
    job: str
    assets: tuple[str, ...]
    keys: tuple[str, str] | None = None
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Ran:
    """How a stage went: seconds, and the error of each step that failed."""

    stage: Stage
    seconds: float
    failed: Mapping[str, str]
    metadata: Mapping[str, Mapping[str, Any]]


class Clock:
    """How far a step is, and when it will be done at the pace it has had."""

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self._now = now
        self._first: dict[str, tuple[float, int]] = {}

    def left(self, step: str, done: int, total: int) -> float | None:
        """Seconds that are left; None before there is a pace."""
        now = self._now()
        at, first = self._first.setdefault(step, (now, done))
        return (now - at) / (done - first) * max(total - done, 0) if done > first else None


def counted(words: str) -> tuple[int, int, str] | None:
    """`40 of 210 scenarios` as numbers and the rest; None for other words."""
    found = _COUNTED.match(words)
    if found is None:
        return None
    return int(found["done"].replace(",", "")), int(found["total"].replace(",", "")), found["what"].strip()


def run_stage(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    stage: Stage,
    console: Console,
    more_tags: Mapping[str, str] | None = None,
) -> Ran:
    """Make the assets of a stage in one run of this process. KeyboardInterrupt where somebody stopped it."""
    started = perf_counter()
    tags = {} if stage.keys is None else {RANGE_START: stage.keys[0], RANGE_END: stage.keys[1]}
    config: dict[str, Any] = dict(QUIET)
    if stage.config:
        config["ops"] = {step: {"config": dict(told)} for step, told in stage.config.items()}
    with _listening(stage, console):
        result = defs.resolve_job_def(stage.job).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in stage.assets],
            raise_on_error=False,
            run_config=config,
            tags={**tags, **(more_tags or {})},
        )
    failures = [event for event in result.all_events if event.is_step_failure]
    if any(is_interruption(event) for event in failures):
        raise KeyboardInterrupt  # Dagster tells a Ctrl-C as a failed step
    failed = {event.step_key or "?": innermost_error(event) for event in failures}
    metadata = {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None
    }
    return Ran(stage, perf_counter() - started, failed, metadata)


def is_interruption(event: dg.DagsterEvent) -> bool:
    """Whether a step failed because the process was told to stop."""
    error = event.step_failure_data.error
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause
    return False


def print_ran(ran: Ran, console: Console) -> None:
    """One line about a stage, and what failed."""
    state = "[red]failed[/]" if ran.failed else "[green]done[/]"
    console.print(f"{ran.stage.name}: {state} in {ran.seconds:.1f} s")
    for step, reason in ran.failed.items():
        console.print(show.plain(f"  {step}: {reason}"), style="red", soft_wrap=True)


def print_degraded(ran: Ran, console: Console) -> None:
    """Why assets of a stage are degraded, each reason once."""
    degraded = {str(facts["degraded"]): asset for asset, facts in ran.metadata.items() if facts.get("degraded")}
    for reason, asset in degraded.items():
        console.print(show.plain(f"  {asset}: {reason}"), style="yellow", soft_wrap=True)


@contextmanager
def _listening(stage: Stage, console: Console) -> Iterator[None]:
    """Show what steps tell: a bar in a terminal, a line from time to time elsewhere."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    clock, told = Clock(), {"at": perf_counter()}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(stage.name, total=None, left="")

        def listen(step: str, what: str, seconds: float) -> None:
            if what in ENDINGS:
                if not console.is_terminal or what == "failed":
                    console.print(show.plain(f"  {step:<24} {what:<9} {seconds:7.2f} s"))
                return
            found = counted(what)
            left = "" if found is None else _words(clock.left(step, found[0], found[1]))
            if found is not None:
                progress.update(task, completed=found[0], total=found[1])
            progress.update(task, description=f"{stage.name}: {step}", left=left)
            is_time = perf_counter() - told["at"] >= TOLD_EVERY
            if not console.is_terminal and what != "started" and is_time:
                told["at"] = perf_counter()
                console.print(show.plain(f"  {step}: {what}{f', {left}' if left else ''}"), soft_wrap=True)

        token = PROGRESS.set(listen)
        try:
            yield
        finally:
            PROGRESS.reset(token)


def _words(seconds: float | None) -> str:
    return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left"


def all_failed(ran: Sequence[Ran]) -> dict[str, str]:
    """Every step that failed, with its error."""
    return {step: reason for one in ran for step, reason in one.failed.items()}


def tell_failed(ran: Sequence[Ran], *, is_json: bool, is_line: bool = False) -> int:
    """The exit code of a command whose run failed; under `--json` also which steps, and why."""
    if is_json:
        write_json({"failed": all_failed(ran)}, is_line=is_line)
    return 1
