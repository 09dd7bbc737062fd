"""Arguments of `defiyield simulator`: serve the market over HTTP, undo what was executed on it.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(serve.py, run.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_PORT = 8320
SERVE = """Serve the simulated or recorded market over HTTP, speaking for all vendors, so
that the live clients can be tried without a vendor. Ctrl-C ends it. With --json
every line is one document: where it listens, then how it ended."""
RESET = """Undo the plans that were executed on the simulated chain from a day on, there
and in what the ledger read of them. The days before stand."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`simulator serve` and `simulator reset`."""
    group = command(commands, "simulator", "the simulated market: serve it, undo what was executed on it")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    serve = command(
        actions,
        "serve",
        "serve the market over HTTP, for live clients",
        parents=parents,
        description=SERVE,
        examples=[
            "defiyield simulator serve --day 2025-06-03",
            "defiyield simulator serve --rate-limit yields.llama.fi=300/60",
        ],
    )
    add_serving(serve, day)
    reset = command(
        actions,
        "reset",
        "undo what was executed on the simulated chain",
        parents=parents,
        description=RESET,
        examples=["defiyield simulator reset --from 2025-06-04"],
    )
    reset.add_argument(
        "--from", dest="first", type=day, required=True, metavar="D", help="first plan to undo; required"
    )


def add_serving(serve: argparse.ArgumentParser, day: Day) -> None:
    """The options of `serve`."""
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0 finds a free one")
    serve.add_argument("--day", type=day, metavar="D", help="answer as of D+1 00:30 UTC; default: the running present")
    serve.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND:HOST/PATH[:RATE]",
        help="a fault; may be repeated; default: none",
    )
    serve.add_argument(
        "--rate-limit",
        action="append",
        default=[],
        metavar="HOST=N/SECONDS",
        help="answer 429 beyond; may be repeated; default: no limits",
    )
    serve.add_argument(
        "--public", action="store_true", help="allow an address that other machines can reach; default: this one only"
    )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    if arguments.action == "serve":
        from defiyield_assets.cli.serve import serve

        return serve(arguments, console)
    from defiyield_assets.cli import run

    return run.reset_simulation(arguments.first, console, is_json=arguments.json)
