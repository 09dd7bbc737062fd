"""Arguments of `defiyield doctor`.

Lives here: the parser and the dispatch, light to import and before settings are read. Not here: what the command does
(doctor.py) or looks at (doctor_checks.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

DOCTOR = """Look at everything that an installation rests on, and say what to do about what
is wrong: settings, configuration files, keys, the database and its revision,
vendors (one cheap call each where the market is live), Ollama, Slack, clocks,
free disk, Dagster and the browser. Nothing is changed, nothing is posted, no
secret is shown, and nobody who is asked is waited for longer than --timeout.
Exit code 1: something is broken."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:  # noqa: ARG001 - one form for all modules
    """`doctor`."""
    parser = command(
        commands,
        "doctor",
        "what is wrong with this installation, and what to do about it",
        parents=parents,
        description=DOCTOR,
        examples=["defiyield doctor", "defiyield doctor --market live --json"],
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="longest wait for who is asked; default: 10"
    )
    parser.add_argument(
        "--offline", action="store_true", help="ask nobody over the network; default: ask where the market is live"
    )


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from error
    if not 0.1 <= found <= 600.0:
        raise argparse.ArgumentTypeError(f"{text!r}: from 0.1 to 600 seconds")
    return found


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run the command; returns the exit code."""
    from defiyield_assets.cli import doctor

    return doctor.examine(console, arguments.timeout, is_offline=arguments.offline, is_json=arguments.json)
