"""Arguments of `defiyield signals`, light to import and before settings are read.

Lives here: the parsers and the dispatch. Not here: what the commands do (signals.py).
"""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from defiyield_assets.cli.lab_arguments import Day

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_arguments(commands: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    """`signals make` and `signals show`; `market` holds the options that all share, `day` reads a date."""
    group = commands.add_parser("signals", help="what a model says of stored bars, and what is stored of it")
    actions = group.add_subparsers(dest="action", required=True)
    make = actions.add_parser("make", parents=[market], help="ask one model about every bar of a range of days")
    make.add_argument(
        "--model", metavar="NAME", help="of models.yaml, or stub; default: DEFIYIELD_SIGNAL_MODEL or stub"
    )
    make.add_argument(
        "--again", action="store_true", help="follow the answer to the question as it is now, not the first one given"
    )
    shown = actions.add_parser("show", parents=[market], help="stored signals, the newest first")
    shown.add_argument("--type", dest="signal_type", metavar="TYPE", help="such as ai:llama3.1; default: all")
    for one in (make, shown):
        one.add_argument("--from", dest="first", type=day, metavar="D", help="first day; make: default is --to")
        one.add_argument("--to", dest="last", type=day, metavar="D", help="last day; make: default is yesterday")
        one.add_argument("--instrument", dest="instruments", nargs="+", default=(), metavar="ID", help="ids or symbols")
        one.add_argument("--json", action="store_true", help="as JSON on standard output")


def run_command(arguments: argparse.Namespace, console: Console) -> int:
    """Run a command; returns the exit code."""
    from defiyield_assets.cli import signals

    if arguments.first and arguments.last and arguments.first > arguments.last:
        raise argparse.ArgumentTypeError(f"--from {arguments.first} is after --to {arguments.last}")
    wanted = signals.Wanted(
        arguments.first,
        arguments.last,
        tuple(arguments.instruments),
        getattr(arguments, "model", None),
        getattr(arguments, "signal_type", None),
        is_again=getattr(arguments, "again", False),
    )
    if arguments.action == "make":
        return signals.make(wanted, console, is_json=arguments.json)
    return signals.show_signals(wanted, console, is_json=arguments.json)
