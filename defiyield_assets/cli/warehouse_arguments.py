"""Arguments of what is done to and told of the warehouse: `import-csv`, `budget`, `migrate`, `retention`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(imports.py, budget.py, migrate.py, retention.py).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

IMPORT = """Import bars or corporate events from CSV files. A file is recognised by its
name (csv_sources.yaml); one that is in already is told and left alone. Exit
code 1: a file was not taken, or some of its lines or series were not."""
BUDGET = """What is left of every vendor's limits on calls, what is used, and which keys
would add what. Keys themselves are never shown."""

MIGRATE = """Bring the warehouse's schema, and Dagster's storage with it, to the newest
revision; may be repeated. With --to the warehouse alone goes to an earlier
revision or back again. It is one transaction: all of it happens, or nothing."""
RETENTION = """Delete what is older than DEFIYIELD_RETENTION_ARCHIVE_DAYS, _RUNS_DAYS and
_LOGS_DAYS say: vendors' answers, runs of Dagster, logs, files of reports. The
job apply_retention does the same every day. Tables of the product are never
touched."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:  # noqa: ARG001 - one form for all modules
    """`import-csv`, `budget`, `migrate` and `retention`."""
    files = command(
        commands,
        "import-csv",
        "import CSV files of bars or events",
        parents=parents,
        description=IMPORT,
        examples=[
            "defiyield import-csv bars/  # every file of a folder",
            "defiyield import-csv AAPL_1d.csv --source NAME --replace",
        ],
    )
    files.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files, or folders of files")
    files.add_argument("--source", metavar="NAME", help="source in csv_sources.yaml; default: by the file's name")
    files.add_argument(
        "--replace",
        action="store_true",
        help="take the files' bars in place of what is stored of their instruments; default: add to it",
    )
    command(
        commands,
        "budget",
        "what is left of every vendor's limits, and which keys help",
        parents=parents,
        description=BUDGET,
        examples=["defiyield budget --market live"],
    )
    _add_migrate(commands, parents)
    cleaning = command(
        commands,
        "retention",
        "delete what is older than the settings keep it",
        parents=parents,
        description=RETENTION,
        examples=["defiyield retention --dry-run", "defiyield retention"],
    )
    cleaning.add_argument("--dry-run", action="store_true", help="only tell what would be deleted; default: delete it")


def _add_migrate(commands: Commands, parents: Parents) -> None:
    """`migrate`, forward or back."""
    parser = command(
        commands,
        "migrate",
        "bring the warehouse's schema to its newest revision, or to another",
        parents=parents,
        description=MIGRATE,
        examples=["defiyield migrate", "defiyield migrate --to 0009"],
    )
    parser.add_argument("--to", metavar="REVISION", help="a revision of migrations/versions, or base; default: newest")
    parser.add_argument(
        "--yes-lose-data",
        action="store_true",
        help="go back although tables or columns with rows go; default: refuse, and name them",
    )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    if arguments.command == "import-csv":
        from defiyield_assets.cli import imports

        return imports.import_csv(
            arguments.paths, arguments.source, console, is_replacing=arguments.replace, is_json=arguments.json
        )
    if arguments.command == "budget":
        from defiyield_assets.cli import budget

        return budget.show_budgets(console, is_json=arguments.json)
    if arguments.command == "retention":
        from defiyield_assets.cli import retention

        return retention.apply(console, is_dry_run=arguments.dry_run, is_json=arguments.json)
    from defiyield_assets.cli import migrate

    return migrate.migrate(arguments.to, console, may_lose=arguments.yes_lose_data, is_json=arguments.json)
