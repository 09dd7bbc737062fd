"""Arguments of `defiyield report`.

Lives here: the parser and the dispatch, light to import and before settings are read. Not here: what the command does
(report.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

REPORT = """The daily report: the page in a browser, or its text in the terminal."""
OPEN = """Open the day's page in the browser. It is one file without anything from
outside. Exit code 1: no browser could be started; the path is told all the
same."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`report open` and `report show`."""
    group = command(
        commands,
        "report",
        "the daily report, in a browser or the terminal",
        description=REPORT,
        examples=["defiyield report open", "defiyield report show --date 2025-06-03"],
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    opened = command(
        actions,
        "open",
        "open the page in the browser",
        parents=parents,
        description=OPEN,
        examples=["defiyield report open", "defiyield report open --path  # where it lies, for other programs"],
    )
    opened.add_argument("--path", action="store_true", help="only print where the page lies; default: open it")
    shown = command(
        actions,
        "show",
        "show the report's text",
        parents=parents,
        examples=["defiyield report show", "defiyield report show --raw > report.md"],
    )
    shown.add_argument("--raw", action="store_true", help="Markdown as it is; default: drawn for the terminal")
    for one in (opened, shown):
        one.add_argument("--date", type=day, metavar="D", help="default: the newest report")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    from defiyield_assets.cli import report

    if arguments.action == "open":
        return report.open_report(arguments.date, console, is_path=arguments.path, is_json=arguments.json)
    return report.show_report(arguments.date, console, is_raw=arguments.raw, is_json=arguments.json)
