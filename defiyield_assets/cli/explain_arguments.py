"""Arguments of `defiyield explain`.

Lives here: the parser and the dispatch, light to import and before settings are read. Not here: what the command does
(explain.py).
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

EXPLAIN = """Say why a pool is in the plan or out of it: every verdict of the day with its
reasons, from the pre-filter to the plan, the limits that bind, what would have
to change, and what became of the pool on the days before."""


def whole_number(most: int) -> Callable[[str], int]:
    """Reads a whole number from 1 to `most`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
            raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to {most}")
        return int(text)

    return read


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`explain`."""
    parser = command(
        commands,
        "explain",
        "why a pool is in the plan or out of it",
        parents=parents,
        description=EXPLAIN,
        examples=[
            "defiyield explain b1566cf0  # the beginning of an id",
            'defiyield explain "USDC compound-v2" --date 2025-06-03  # symbol and protocol',
        ],
    )
    parser.add_argument(
        "pool", nargs="+", metavar="POOL", help="id, beginning of an id, or words of its symbol and protocol; required"
    )
    parser.add_argument("--date", type=day, metavar="D", help="default: the newest day with verdicts")
    parser.add_argument(
        "--days", type=whole_number(366), default=30, metavar="N", help="days of history to tell; default: 30"
    )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run the command; returns the exit code."""
    from defiyield_assets.cli import explain

    typed = " ".join(arguments.pool)
    return explain.explain(typed, arguments.date, arguments.days, console, is_json=arguments.json)
