"""Arguments of what watches an installation: `health`, and the actions of `metrics`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(health.py, metrics.py).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command, said_before

if TYPE_CHECKING:
    from rich.console import Console

PROBES = ("live", "ready", "fresh")
HEALTH = """Whether this installation is well, for probes and for people: a line for each
thing that was looked at, and what would be right. Nothing is changed.
  live   the program starts, and its state folder is there; asks no database
  ready  warehouse and Dagster's storage answer, the disk has room
  fresh  the daemon's heart beats, no run is stuck, the last day has its plan
Exit code 1: something is not as it should be."""
SERVE = """Serve the figures of operation at /metrics until Ctrl-C, as Prometheus reads
them, and /healthz, which only says that this process answers. Everything is
read from the stores when it is asked for; nothing is written."""
PORT = 9464


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:  # noqa: ARG001 - one form for all modules
    """`health`."""
    parser = command(
        commands,
        "health",
        "whether it is well, for probes: exit code 0 or 1",
        parents=parents,
        description=HEALTH,
        examples=["defiyield health", "defiyield health --probe ready --json"],
    )
    parser.add_argument("--probe", choices=PROBES, help="only this one; default: all three")
    parser.add_argument(
        "--stuck-hours",
        type=_hours,
        default=6.0,
        metavar="H",
        help="a run in progress for longer is stuck; default: 6",
    )


def add_metrics_actions(metrics: argparse.ArgumentParser, parents: Parents) -> None:
    """`metrics serve` and `metrics show`, beside what `metrics` does without an action."""
    actions = metrics.add_subparsers(dest="action", metavar="ACTION", title="actions")
    shared = [said_before(one) for one in parents]
    serve = command(
        actions,
        "serve",
        "serve the figures of operation to Prometheus",
        parents=shared,
        description=SERVE,
        examples=["defiyield metrics serve", "defiyield metrics serve --host 0.0.0.0 --backups /srv/backups"],
    )
    serve.add_argument("--host", default="127.0.0.1", metavar="HOST", help="address to listen on; default: 127.0.0.1")
    serve.add_argument("--port", type=_port, default=PORT, metavar="N", help=f"0 takes a free one; default: {PORT}")
    show = command(
        actions,
        "show",
        "print the figures of operation once",
        parents=shared,
        examples=["defiyield metrics show", "defiyield metrics show --json"],
    )
    show.add_argument(
        "--timeout", type=_seconds, default=60.0, metavar="SECONDS", help="longest wait for a group; default: 60"
    )
    for one in (serve, show):
        one.add_argument(
            "--backups",
            type=Path,
            metavar="FOLDER",
            help="its newest file is the newest backup; default: backups are not watched",
        )


def _number(text: str, least: float, most: float, what: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}") from error
    if not least <= found <= most:
        raise argparse.ArgumentTypeError(f"{text!r}: from {least:g} to {most:g} {what}")
    return found


def _hours(text: str) -> float:
    return _number(text, 0.1, 1000.0, "hours")


def _seconds(text: str) -> float:
    return _number(text, 0.1, 600.0, "seconds")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number from 0 to 65535")
    return int(text)


def run_metrics(arguments: argparse.Namespace, console: "Console") -> int:
    """Run an action of `metrics`; returns the exit code."""
    from defiyield_assets.cli import metrics

    if arguments.action == "show":
        return metrics.show(arguments.backups, arguments.timeout, is_json=arguments.json)
    return metrics.serve(console, arguments.host, arguments.port, arguments.backups, is_json=arguments.json)


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run `health`; returns the exit code."""
    from defiyield_assets.cli import health

    probes = (arguments.probe,) if arguments.probe else PROBES
    return health.examine(console, probes, arguments.stuck_hours, is_json=arguments.json)
