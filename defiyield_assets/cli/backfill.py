"""`defiyield backfill`: assets of past days, in as few runs as their backfill policies allow.

Lives here: which assets are meant, which runs that makes, and refusing those that run one day at a time. Not here: one
run with its progress (lab_runs.py), the policies (orchestration/policies.py), whole days in order (run.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from rich.console import Console
from rich.text import Text

from defiyield_assets.cli.lab_runs import Ran, Stage, print_degraded, print_ran, run_stage
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.parsers import near_words
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.partitions import DAILY, FIRST_DAY, one_day_a_run
from defiyield_assets.settings import load_settings

JOBS = ("plan_the_day", "update_signals", "paper_trade")
"""Jobs that hold assets of days, the treasury's first."""
ELSEWHERE = {
    "news": "`defiyield news update --from D` reads news back",
    "lab": "`defiyield assess --from D --to D` makes the lab's tables",
}
"""Groups whose assets have no days, and what makes theirs."""


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    first: date
    last: date
    assets: tuple[str, ...] = ()
    group: str | None = None
    is_dry: bool = False


def backfill(wanted: Wanted, console: Console, *, is_json: bool) -> int:
    """Make the assets of the range; 0 when all went well, 1 when something failed: later runs rest on it."""
    settings, days = load_settings(), DayRange(wanted.first, wanted.last)
    newest = datetime.now(UTC).date() - timedelta(days=1)
    if wanted.first < FIRST_DAY or wanted.last > newest:
        raise ConfigurationError(f"days run from {FIRST_DAY} (DEFIYIELD_FIRST_DAY) to {newest}, the last complete one")
    if settings.market == "recorded":
        settings.require_recorded_data()
    defs = build_defs(settings)
    stages = planned_runs(defs, days, wanted)
    for stage in stages:
        console.print(
            Text(f"{stage.name}: {len(stage.assets)} assets ({', '.join(stage.assets)})"), soft_wrap=True, style="dim"
        )
    ran: list[Ran] = []
    if not wanted.is_dry:
        with dg.DagsterInstance.get() as instance:
            for stage in stages:
                ran.append(run_stage(defs, instance, stage, console))
                print_ran(ran[-1], console)
                print_degraded(ran[-1], console)
                if ran[-1].failed:
                    break
    failed = {step: reason for one in ran for step, reason in one.failed.items()}
    if len(ran) < len(stages) and failed:
        console.print(f"[red]stopped[/]: {len(stages) - len(ran)} runs were not made")
    if is_json:
        write_json(
            {
                "from": days.start,
                "to": days.end,
                "is_dry_run": wanted.is_dry,
                "runs": [
                    {"name": stage.name, "assets": stage.assets, "from": stage.keys[0], "to": stage.keys[1]}
                    for stage in stages
                    if stage.keys is not None
                ],
                "made": {asset: facts.get("dagster/row_count") for one in ran for asset, facts in one.metadata.items()},
                "failed": failed,
            }
        )
    return 1 if failed else 0


def planned_runs(defs: dg.Definitions, days: DayRange, wanted: Wanted) -> list[Stage]:
    """The runs that make the wanted assets over the days, in their order.

    First, in one run, what takes a whole range and rests on nothing that is cut; then, piece by piece, what is cut
    into pieces (forecasts: thirty days) together with what rests on it.
    """
    graph = defs.resolve_asset_graph()
    job, names = _chosen(defs, graph, days, wanted)
    most = {name: _most_days(graph, name) for name in names}
    refused = sorted(name for name in names if most[name] == 1)
    if refused and len(days) > 1:
        raise ConfigurationError(one_day_a_run(", ".join(refused), days))
    pieces = {name for name in names if most[name] is not None}
    behind = _with_descendants(graph, pieces)
    whole = [name for name in names if name not in behind]
    stages = []
    if whole:
        stages.append(_stage(job, whole, days))
    cut = [name for name in names if name in behind]
    size = min((limit for name in pieces if (limit := most[name]) is not None), default=len(days))
    start = days.start
    while cut and start <= days.end:
        end = min(start + timedelta(days=size - 1), days.end)
        stages.append(_stage(job, cut, DayRange(start, end)))
        start = end + timedelta(days=1)
    return stages


def _with_descendants(graph: AssetGraph, names: set[str]) -> set[str]:
    """The assets and all that rests on them."""
    found, ahead = set(names), list(names)
    while ahead:
        children = {key.to_user_string() for key in graph.get(dg.AssetKey(ahead.pop())).child_keys}
        ahead += sorted(children - found)
        found |= children
    return found


def _stage(job: str, names: Sequence[str], days: DayRange) -> Stage:
    span = f"{days.start}" if len(days) == 1 else f"{days.start} to {days.end}"
    return Stage(span, job, tuple(names), keys=(days.start.isoformat(), days.end.isoformat()))


def _most_days(graph: AssetGraph, name: str) -> int | None:
    """How many days one run of the asset may take; None: any number."""
    policy = graph.get(dg.AssetKey(name)).backfill_policy
    return None if policy is None else policy.max_partitions_per_run


def _chosen(defs: dg.Definitions, graph: AssetGraph, days: DayRange, wanted: Wanted) -> tuple[str, list[str]]:
    """The job that holds the assets, and their names in an order in which they can be made."""
    order = [key.to_user_string() for key in graph.toposorted_asset_keys if key in graph.materializable_asset_keys]
    held = {job: _assets_of(defs, job) for job in JOBS}
    groups = {name: graph.get(dg.AssetKey(name)).group_name or "" for name in order}
    if wanted.group is not None:
        named = [name for name in order if groups[name] == wanted.group]
        if not named:
            near = near_words(wanted.group, sorted(set(groups.values())))
            raise ConfigurationError(
                f"no group {wanted.group!r}{near}; there are {', '.join(sorted(set(groups.values())))}"
            )
    elif wanted.assets:
        unknown = next((name for name in wanted.assets if name not in groups), None)
        if unknown is not None:
            raise ConfigurationError(
                f"no asset {unknown!r}{near_words(unknown, order)}; the asset graph names them all"
            )
        named = [name for name in order if name in wanted.assets]
    else:
        named = [name for name in order if name in held[JOBS[0]] and (len(days) == 1 or _most_days(graph, name) != 1)]
    undated = [name for name in named if not _has_days(graph, name) and name not in held[JOBS[0]]]
    if undated:
        advice = ELSEWHERE.get(groups[undated[0]], "materialise it in Dagster's UI")
        raise ConfigurationError(f"{', '.join(undated)} has no days, so no range of them can be made: {advice}")
    job = next((job for job in JOBS if set(named) <= held[job]), None)
    if job is None:
        raise ConfigurationError("these assets are made by different jobs: backfill them one group after the other")
    return job, named


def _has_days(graph: AssetGraph, name: str) -> bool:
    return graph.get(dg.AssetKey(name)).partitions_def == DAILY


def _assets_of(defs: dg.Definitions, job: str) -> set[str]:
    return {key.to_user_string() for key in defs.resolve_job_def(job).asset_layer.executable_asset_keys}
