"""Arguments of `defiyield backfill`.

Lives here: the parser and the dispatch, light to import and before settings are read. Not here: what the command does
(backfill.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command, require_order

if TYPE_CHECKING:
    from rich.console import Console

BACKFILL = """Make assets for a range of past days: one run for the whole range up to the
metrics, thirty days a run for forecasts. From the ledger on every day depends
on what the plan of the day before did: such assets are refused for a range,
`defiyield run --from --to` runs them in order. A source that only knows "now"
cannot tell a past day: its asset fails, and says so. Exit code 1: something
failed."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`backfill`."""
    parser = command(
        commands,
        "backfill",
        "make assets for a range of past days, in as few runs as may be",
        parents=parents,
        description=BACKFILL,
        examples=[
            "defiyield backfill --from 2025-05-01 --to 2025-05-31 --group prices",
            "defiyield backfill --from 2025-06-01 --to 2025-06-03 --assets daily_bars icebox",
        ],
    )
    parser.add_argument("--from", dest="first", type=day, required=True, metavar="D", help="first day; required")
    parser.add_argument("--to", dest="last", type=day, required=True, metavar="D", help="last day; required")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--assets", nargs="+", default=(), metavar="ASSET", help="names; default: every asset that takes a range"
    )
    chosen.add_argument(
        "--group", metavar="NAME", help="all assets of a group, such as prices; default: every asset that takes a range"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say which runs there would be; default: make them")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run the command; returns the exit code."""
    require_order(arguments)
    from defiyield_assets.cli import backfill

    wanted = backfill.Wanted(
        arguments.first, arguments.last, tuple(arguments.assets), arguments.group, is_dry=arguments.dry_run
    )
    return backfill.backfill(wanted, console, is_json=arguments.json)
