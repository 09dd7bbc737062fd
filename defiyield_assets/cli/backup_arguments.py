"""Arguments of `defiyield backup` and `defiyield restore`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(backup.py).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

BACKUP = """Write one file with the warehouse, the simulated chain, reports, configuration
files of the state folder and, where asked for, Dagster's storage, as they are
at one moment; runs may go on. A folder that DEFIYIELD_CONFIG_DIR names is yours
to keep. The file is for its owner only (0600) and has its name when it is
whole. PostgreSQL is read with pg_dump, which has to be as new as the server."""
RESTORE = """Put a backup in the place of this installation's state. The file is checked
first; then everything is put back and compared with what the file says of
every table, or nothing is changed. What holds rows already is refused unless
--destroy names it. End webserver, daemon and code server before.
Exit code 1: the file is damaged, or what was put back was not what it says."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:  # noqa: ARG001 - one form for all modules
    """`backup` and `restore`."""
    backup = command(
        commands,
        "backup",
        "the whole state in one file",
        parents=parents,
        description=BACKUP,
        examples=["defiyield backup before-upgrade.zip", "defiyield backup --with-dagster --keep 14 backups/"],
    )
    backup.add_argument(
        "file", type=Path, metavar="FILE", help="where to; a folder gets a file named by market and time"
    )
    backup.add_argument("--with-dagster", action="store_true", help="Dagster's runs and events, too; default: without")
    backup.add_argument(
        "--keep", type=_count, metavar="N", help="backups of this market to keep in the folder; default: all"
    )
    restore = command(
        commands,
        "restore",
        "a backup in the place of what is there",
        parents=parents,
        description=RESTORE,
        examples=["defiyield restore before-upgrade.zip", "defiyield restore before-upgrade.zip --destroy warehouse"],
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="what `defiyield backup` wrote")
    restore.add_argument(
        "--destroy",
        metavar="NAME",
        help="the warehouse whose rows are given up: the name of its database, or of its file; default: none",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to 100,000")
    return int(text)


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    from defiyield_assets.cli import backup

    if arguments.command == "restore":
        return backup.restore(arguments.file, arguments.destroy, console, is_json=arguments.json)
    return backup.back_up(
        arguments.file, arguments.keep, console, is_with_dagster=arguments.with_dagster, is_json=arguments.json
    )
