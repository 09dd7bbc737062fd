"""`defiyield rebuild`: past days derived again from the archive, and what that changed, table by table.

Lives here: wiring and the printed table. Not here: the rebuild itself (orchestration/rebuild.py).
"""

from collections.abc import Sequence
from datetime import date

from dagster import Definitions
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from defiyield_assets.cli import show
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.rebuild import Rebuilt, Verdict, rebuild_days
from defiyield_assets.orchestration.resources import ArchivedMarket, WarehouseResource
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store import reads, schema

COLOURS = {Verdict.IDENTICAL: "green", Verdict.RESTORED: "cyan", Verdict.CHANGED: "red"}


def archived_definitions(settings: Settings, day: date) -> Definitions:
    """All definitions with the archive as their market."""
    market = ArchivedMarket(
        market=settings.market,
        chain_path=str(settings.chain_path.resolve()),
        seed=settings.market_seed,
        day=day.isoformat(),
        url=settings.warehouse_url,
        warehouse_market=settings.warehouse_market,
    )
    return build_defs(settings, market=market)


def rebuild(days: Sequence[date], console: Console, *, is_json: bool) -> int:
    """Derive the days again; 0 when nothing that was there changed, 1 when something did or a day failed."""
    settings, span = load_settings(), DayRange(days[0], days[-1])
    warehouse = WarehouseResource(market=settings.warehouse_market)
    policies = reads.read_days(warehouse.engine, schema.policy_snapshot, span)
    absent = sorted(set(span) - set(policies["date"]))
    if absent:
        raise ConfigurationError(
            f"policy_snapshot of {', '.join(map(str, absent[:5]))} is missing: a day that never ran cannot be rebuilt; "
            f"`defiyield run --date {absent[0]}` runs it"
        )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("rebuilding", total=len(days), completed=-1)

        def tell(day: date) -> None:
            progress.update(task, description=f"rebuilding {day} from the archive", advance=1)
            if not console.is_terminal:
                console.print(f"rebuilding {day} from the archive")

        rebuilt = rebuild_days(warehouse.engine, span, lambda day: archived_definitions(settings, day), tell)
    has_changed = any(change.verdict is Verdict.CHANGED for change in rebuilt.changes)
    if is_json:
        write_json({"first": span.start, "last": span.end, "tables": rebuilt.changes, "failed": rebuilt.failed})
    else:
        print_changes(rebuilt, console)
    return 1 if rebuilt.failed or has_changed else 0


def print_changes(rebuilt: Rebuilt, console: Console) -> None:
    """Every table with its verdict, and every asset that failed with the reason."""
    table = Table("table", "verdict", "rows", "came", "went", box=None, padding=(0, 2))
    for change in rebuilt.changes:
        verdict = f"[{COLOURS[change.verdict]}]{change.verdict}[/]"
        table.add_row(change.table, verdict, f"{change.rows:,}", f"{change.came:,}", f"{change.went:,}")
    print_table(table, console)
    for day, reasons in rebuilt.failed.items():
        for asset, reason in reasons.items():
            console.print(f"[red]failed[/] {day} {asset}: {show.plain(reason)}")
