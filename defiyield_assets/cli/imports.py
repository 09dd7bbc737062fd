"""`defiyield import-csv`: files of bars and events into the warehouse, and what became of each.

Lives here: progress, the table, exit codes. Not here: importing (orchestration/file_intake.py), parsing arguments
(main.py).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from defiyield_assets.cli import show
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_resources
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.csv_imports import FileImport
from defiyield_assets.orchestration.file_intake import Failure, Intake, listed_files, take_in
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.settings import load_settings

BAD_LINES_SHOWN = 20
"""Bad lines of a file that are printed; all of them are in csv_imports."""
INSTRUMENTS_SHOWN = 3


def import_csv(
    paths: Sequence[Path], source: str | None, console: Console, *, is_replacing: bool, is_json: bool
) -> int:
    """Import files, and the files of folders; returns 0, or 1 when a file, or something of one, was not taken."""
    resources = build_resources(load_settings())
    warehouse, policy = resources["warehouse"], resources["policy"]
    if not (isinstance(warehouse, WarehouseResource) and isinstance(policy, PolicyResource)):
        raise ConfigurationError("the warehouse and policy resources were replaced; nothing to import into")
    files = listed_files(paths)
    if not files:
        raise ConfigurationError(f"{', '.join(map(str, paths))}: holds no file that ends with .csv, .csv.gz or .txt")
    warehouse.migrate()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(files), completed=-1)
        intake = take_in(
            warehouse,
            policy,
            files,
            now=datetime.now(UTC),
            source_name=source,
            is_replacing=is_replacing,
            on_file=lambda path: progress.update(task, description=path.name, advance=1),
        )
    if is_json:
        write_json(facts_of(intake))
    else:
        print_intake(intake, console)
    return exit_code(intake)


def exit_code(intake: Intake) -> int:
    """0: every row of every file is in the warehouse; 1: a file is not, or some lines or series are not."""
    is_partial = any(item.bad or item.left_out for item in intake.imports)
    return 1 if intake.failures or is_partial else 0


def facts_of(intake: Intake) -> dict[str, Any]:
    """What became of each file, as JSON takes it; bad lines are all told."""
    taken = [
        {
            "file": item.file_name,
            "is_known": item.is_known,
            "known_as": item.known_as,
            "source": item.source,
            "interval": item.interval,
            "instruments": list(item.instruments),
            "rows": item.n_read,
            "new": item.n_new,
            "changed": item.n_changed,
            "known": item.n_known,
            "repeated": item.n_repeated,
            "left_out": dict(item.left_out),
            "notes": list(item.notes),
            "bad_lines": [{"line": line.number, "reason": line.reason} for line in item.bad],
        }
        for item in intake.imports
    ]
    failed = [{"file": item.file_name, "reason": item.told} for item in intake.failures]
    return {"files": taken, "failed": failed, "intraday_bars": intake.n_intraday, "daily_bars": intake.n_daily}


def print_intake(intake: Intake, console: Console) -> None:
    """One line per file; then failures, bad lines by number and reason, and what followed."""
    table = Table(box=None, padding=(0, 1))
    table.add_column("file", overflow="fold")
    for name in ("rows", "new", "changed", "known", "repeated", "bad lines"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in intake.files:
        table.add_row(*(_failed(item) if isinstance(item, Failure) else _taken(item)))
    print_table(table, console)
    for item in intake.failures:
        console.print(show.plain(f"nothing was taken of {item.told}"), style="red", soft_wrap=True)
    for taken in intake.imports:
        _print_left(taken, console)
    if intake.n_intraday or intake.n_daily:
        console.print(f"{intake.n_intraday:,} bars below a day curated, {intake.n_daily:,} daily bars written")


def _failed(item: Failure) -> list[str]:
    return [f"{show.plain(item.file_name)}\n  [red]failed[/]", *[""] * 6]


def _taken(item: FileImport) -> list[str]:
    if item.is_known:
        told = "" if item.known_as == item.file_name else f" as {item.known_as}"
        return [f"{show.plain(item.file_name)}\n  already imported{show.plain(told)}", *[""] * 6]
    counts = (item.n_read, item.n_new, item.n_changed, item.n_known, item.n_repeated, item.n_bad)
    more = len(item.instruments) - INSTRUMENTS_SHOWN
    names = ", ".join(item.instruments[:INSTRUMENTS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    told = " ".join(filter(None, (item.source, item.interval, names)))
    return [f"{show.plain(item.file_name)}\n  {show.plain(told)}", *(f"{count:,}" for count in counts)]


def _print_left(item: FileImport, console: Console) -> None:
    """What of a file was not taken."""
    for source in sorted(set(item.left_out.values())):
        names = ", ".join(name for name, other in item.left_out.items() if other == source)
        why = f"left out, because source {source} tells them already or adjusted otherwise (see --replace)"
        console.print(show.plain(f"{item.file_name}: {why}: {names}"), soft_wrap=True)
    for note in item.notes:
        console.print(show.plain(f"{item.file_name}: {note}"), soft_wrap=True)
    for line in item.bad[:BAD_LINES_SHOWN]:
        console.print(show.plain(f"{item.file_name}:{line.number}: {line.reason}"), soft_wrap=True)
    if len(item.bad) > BAD_LINES_SHOWN:
        console.print(f"… and {len(item.bad) - BAD_LINES_SHOWN:,} more bad lines (table csv_imports lists them)")
