"""Running days from the command line: through Dagster, in process, whole days in order.

Lives here: executing the job, progress, the summary and exit codes. Not here: parsing (main.py) or printing plans
(show.py).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from time import perf_counter
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from defiyield_assets.cli import show
from defiyield_assets.cli.budget import print_statement
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_defs, build_resources
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.outcomes import group_by_roots
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.orchestration.declarations import ENDINGS, PHASES, PROGRESS
from defiyield_assets.orchestration.failures import innermost_error
from defiyield_assets.orchestration.partitions import FIRST_DAY
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, undo_executions
from defiyield_assets.orchestration.verification import require_replayed
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema

OWN_TABLES = {
    "allocation": ("allocation_runs", "allocations", "allocation_steps", "allocation_limits"),
    "daily_features": ("feature_state",),
    "icebox": ("icebox_events",),
    "ledger_postings": ("trial_balance", "ledger_closings"),
    "lots": ("open_lots", "realised_gains"),
    "pool_forecasts": ("forecast_evaluations", "forecast_candidates"),
    "gas_forecasts": ("gas_candidates",),
    "forecast_scores": ("forecast_score_sums",),
}
"""Steps that make several tables, and those that do not bear the step's name."""
UNPLANNED = {"allocation", "allocation_runs", "allocation_steps_plan_replay"}
"""Steps without which a day has no plan that may be shown."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class DayOutcome:
    """How one day went, by asset."""

    day: date
    seconds: float
    failed: dict[str, str]
    skipped: list[str]
    degraded: dict[str, str]


def _warehouse() -> WarehouseResource:
    return WarehouseResource(market=load_settings().warehouse_market)


def _selection(defs: dg.Definitions, phases: Sequence[int]) -> list[dg.AssetKey]:
    graph = defs.resolve_asset_graph()
    wanted = {str(number) for number in (phases or PHASES)}
    return sorted(key for key in graph.materializable_asset_keys if graph.get(key).tags.get("phase") in wanted)


def _outcome(
    day: date, seconds: float, result: dg.ExecuteInProcessResult, selected: Sequence[dg.AssetKey]
) -> DayOutcome:
    said = {
        event.step_key: event.asset_check_evaluation_data.description or ""
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    }
    failed = {
        event.step_key or "?": said.get(event.step_key) or innermost_error(event)
        for event in result.all_events
        if event.is_step_failure
    }
    made = {
        event.asset_key
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None
    }
    known = {*failed, *(table for step in failed for table in OWN_TABLES.get(step, ()))}
    skipped = [key.to_user_string() for key in selected if key not in made and key.to_user_string() not in known]
    warehouse = _warehouse()
    try:
        rows = reads.read_days(warehouse.engine, schema.asset_outcomes, DayRange.of(day), where={"status": "degraded"})
        names = {*OWN_TABLES, *(key.to_user_string() for key in selected)} - {*failed, *skipped}
        told = zip(rows["asset"], rows["reason"], strict=True)
        degraded: dict[str, str] = {asset: reason for asset, reason in told if asset in names}
    except ConfigurationError:
        degraded = {}
    return DayOutcome(day, seconds, failed, skipped, degraded)


def run_day(
    defs: dg.Definitions, instance: dg.DagsterInstance, day: date, phases: Sequence[int], console: Console
) -> DayOutcome:
    """Materialise one day, or some phases of it, with progress in the terminal."""
    selected = _selection(defs, phases)
    started = perf_counter()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{day}", total=len(selected))

        def listen(asset: str, what: str, seconds: float) -> None:
            if what not in ENDINGS:
                words = "" if what == "started" else f": {what}"
                progress.update(task, description=f"{day} {asset}{words}")
                if words and not console.is_terminal:
                    console.print(show.plain(f"  {day} {asset}{words}"))
                return
            progress.advance(task)
            if not console.is_terminal or what == "failed":
                console.print(f"  {day} {asset:<22} {what:<9} {seconds:6.2f} s")

        token = PROGRESS.set(listen)
        try:
            result = defs.resolve_job_def("plan_the_day").execute_in_process(
                partition_key=day.isoformat(),
                instance=instance,
                asset_selection=selected,
                raise_on_error=False,
                run_config=QUIET,
            )
        finally:
            PROGRESS.reset(token)
    return _outcome(day, perf_counter() - started, result, selected)


def print_summary(outcomes: Sequence[DayOutcome], console: Console) -> None:
    """Every failed, skipped and degraded asset, with the reason; those that rest on others are told together."""
    for outcome in outcomes:
        bad = len(outcome.failed) + len(outcome.skipped)
        state = "[red]failed[/]" if outcome.failed else ("[yellow]incomplete[/]" if bad else "[green]complete[/]")
        console.print(f"{outcome.day}: {state} in {outcome.seconds:.1f} s")
        if not (outcome.failed or outcome.skipped or outcome.degraded):
            continue
        table = Table("asset", "what", "reason", box=None, padding=(0, 2))
        for asset, reason in outcome.failed.items():
            table.add_row(asset, "[red]failed[/]", show.plain(reason))
        for asset in outcome.skipped:
            table.add_row(asset, "skipped", "something that it depends on failed")
        own, resting = group_by_roots(outcome.degraded)
        for asset, reason in own.items():
            table.add_row(asset, "[yellow]degraded[/]", show.plain(reason))
        for reason, assets in resting.items():
            table.add_row(f"{len(assets)} assets", "[yellow]degraded[/]", show.plain(f"{reason}: {', '.join(assets)}"))
        print_table(table, console)


def run_days(days: Sequence[date], phases: Sequence[int], console: Console, *, is_json: bool = False) -> int:
    """Run whole days in order; 0 when nothing failed, 1 otherwise. A failed day ends the range: the next ones
    need it. Under `is_json` the console is standard error, and one document tells how the days went.
    """
    settings = load_settings()
    if settings.market == "recorded":
        settings.require_recorded_data()
    newest = datetime.now(UTC).date() - timedelta(days=1)
    if days[0] < FIRST_DAY or days[-1] > newest:
        raise ConfigurationError(f"days run from {FIRST_DAY} (DEFIYIELD_FIRST_DAY) to {newest}, the last complete one")
    what = ", ".join(PHASES[number] for number in phases) if phases else "the whole day"
    span = f"{days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]} ({len(days)} days)"
    console.print(f"[bold]defiyield[/] {span}, {settings.market} market: {what}")
    print_statement(settings, days, console)
    outcomes = []
    with dg.DagsterInstance.get() as instance:
        for day in days:
            outcomes.append(run_day(build_defs(settings), instance, day, phases, console))
            print_summary(outcomes[-1:], console)
            if outcomes[-1].failed:
                break
    failed = any(outcome.failed or outcome.skipped for outcome in outcomes)
    done, undone = outcomes[-1].day, {*outcomes[-1].failed, *outcomes[-1].skipped}
    has_plan = (not phases or 5 in phases) and not undone & UNPLANNED
    has_report = (not phases or 6 in phases) and "daily_report" not in undone
    if is_json:
        told: dict[str, Any] = {
            "market": settings.market,
            "days": [facts_of(one) for one in outcomes],
            "not_run": days[len(outcomes) :],
        }
        told["plan"] = show.plan_facts(_warehouse(), done) if has_plan else None
        write_json({**told, "report": settings.reports_path / f"{done}.html" if has_report else None})
        return 1 if failed else 0
    if has_plan:
        show.print_plan(_warehouse(), done, console)
    if has_report:
        show.print_next(settings, done, console)
    if len(outcomes) < len(days):
        console.print(f"[red]stopped at {done}[/]: {len(days) - len(outcomes)} days were not run")
    return 1 if failed else 0


def facts_of(outcome: DayOutcome) -> dict[str, Any]:
    """How a day went, as JSON takes it."""
    status = "failed" if outcome.failed else ("incomplete" if outcome.skipped else "complete")
    return {"status": status, **asdict(outcome)}


def show_stored_plan(day: date | None, console: Console, *, is_json: bool = False) -> int:
    """Print the plan that the warehouse holds for the day, or the newest one."""
    warehouse = _warehouse()
    newest = reads.newest_day(warehouse.engine, schema.allocation_runs)
    if newest is None:
        raise NotFound("the warehouse holds no plan yet: run `defiyield run --date D`")
    chosen = day or newest
    if reads.read_days(warehouse.engine, schema.allocation_runs, DayRange.of(chosen)).empty:
        raise NotFound(f"the warehouse holds no plan of {chosen}; the newest one is of {newest}")
    require_replayed(warehouse, chosen)
    if is_json:
        write_json(show.plan_facts(warehouse, chosen))
        return 0
    show.print_plan(warehouse, chosen, console)
    return 0


def reset_simulation(first: date, console: Console, *, is_json: bool = False) -> int:
    """Undo the plans executed from `first` on, on the simulated chain and in what was read from it."""
    resources = build_resources(load_settings())
    warehouse, market = resources["warehouse"], resources["market"]
    if not (isinstance(warehouse, WarehouseResource) and isinstance(market, MarketResource)):
        raise ConfigurationError("the warehouse and market resources were replaced; nothing to reset")
    undone = undo_executions(warehouse, market, first)
    if is_json:
        write_json({"first": first, "undone": undone})
        return 0
    console.print(f"{undone} executed plans undone, from {first} on")
    return 0
