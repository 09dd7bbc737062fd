"""Arguments of `defiyield signals`, light to import and before settings are read.

Lives here: the parsers and the dispatch. Not here: what the commands do (signals.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command, require_order

if TYPE_CHECKING:
    from rich.console import Console

SIGNALS = """What a model says of stored bars: buy, hold or sell, with its confidence. A
question is asked once and its answer kept. Without a model the stub answers,
which is nobody: see models.yaml and DEFIYIELD_SIGNAL_MODEL."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`signals make` and `signals show`; `parents` hold the options that all share, `day` reads a date."""
    group = command(
        commands, "signals", "what a model says of stored bars, and what is stored of it", description=SIGNALS
    )
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    make = command(
        actions,
        "make",
        "ask one model about every bar of a range of days",
        parents=parents,
        examples=["defiyield signals make --model stub --from 2025-06-01 --to 2025-06-03"],
    )
    make.add_argument(
        "--model", metavar="NAME", help="of models.yaml, or stub; default: DEFIYIELD_SIGNAL_MODEL or stub"
    )
    make.add_argument(
        "--again",
        action="store_true",
        help="follow the answer to the question as it is now; default: the first one given",
    )
    shown = command(
        actions,
        "show",
        "stored signals, the newest first",
        parents=parents,
        examples=["defiyield signals show --type ai:llama3.1 --instrument BTC", "defiyield signals show --json"],
    )
    shown.add_argument("--type", dest="signal_type", metavar="TYPE", help="such as ai:llama3.1; default: all")
    for one, first, last in ((make, "--to", "yesterday"), (shown, "the first stored", "the newest stored")):
        one.add_argument("--from", dest="first", type=day, metavar="D", help=f"first day; default: {first}")
        one.add_argument("--to", dest="last", type=day, metavar="D", help=f"last day; default: {last}")
        one.add_argument(
            "--instrument", dest="instruments", nargs="+", default=(), metavar="ID", help="ids or symbols; default: all"
        )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    require_order(arguments)
    from defiyield_assets.cli import signals

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
