"""Arguments of `defiyield demo`.

Lives here: the parser and the dispatch, light to import and before settings are read. Not here: what the command does
(demo.py).
"""

import argparse
from datetime import date
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

DEMO_DAY = date(2025, 6, 3)
DEMO = """Run one whole day of the simulated market, with words about what happens: from
the vendors' answers to a plan, a report and what to look at next. It needs no
key and no network. Exit code 1: something of the day failed or was skipped."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`demo`."""
    parser = command(
        commands,
        "demo",
        "run the demo day, and say what happens",
        parents=parents,
        description=DEMO,
        examples=["defiyield demo", "defiyield demo --date 2025-06-04  # the day after, on the same state"],
    )
    parser.add_argument("--date", type=day, default=DEMO_DAY, metavar="D", help=f"the UTC day; default: {DEMO_DAY}")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run the command; returns the exit code."""
    from defiyield_assets.cli import demo

    return demo.run_demo(arguments.date, console, is_json=arguments.json)
