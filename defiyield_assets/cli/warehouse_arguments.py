"""Arguments of what is done to and told of the warehouse: `import-csv`, `budget`, `migrate`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(imports.py, budget.py, run.py).
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


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:  # noqa: ARG001 - one form for all modules
    """`import-csv`, `budget` and `migrate`."""
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
    command(
        commands,
        "migrate",
        "bring the warehouse's schema to its newest revision",
        parents=parents,
        examples=["defiyield migrate"],
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
    from defiyield_assets.cli import run

    return run.migrate(console, is_json=arguments.json)
