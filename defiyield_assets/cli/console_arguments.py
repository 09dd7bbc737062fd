"""`defiyield console serve`: its options.

Lives here: the parser, light to import. Not here: the server (console.py).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents

if TYPE_CHECKING:
    from rich.console import Console

PORT = 3002


def add_arguments(commands: Commands, parents: Parents, _day: Day) -> None:
    """Add the command."""
    console = commands.add_parser(
        "console",
        parents=parents,
        help="serve the treasury's own web page",
        description="""Serve the console: overview, plan, pools, forecasts, runs, ledger, icebox,
lab, settings.""",
        epilog="""examples:
  defiyield console  # on http://127.0.0.1:3002/
  defiyield console --port 8080 --workers 2  # two processes, for many readers
  defiyield console --host 192.0.2.7 --certificate cert.pem --key key.pem
      # for other machines; needs DEFIYIELD_CONSOLE_TOKENS_FILE: a login""",
    )
    console.add_argument(
        "--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1); beyond loopback it takes tokens"
    )
    console.add_argument("--port", type=int, default=PORT, help=f"port (default: {PORT})")
    console.add_argument("--workers", type=int, default=1, help="processes that make pages (default: 1)")
    console.add_argument("--certificate", type=Path, help="PEM file: serve HTTPS with it (default: HTTP)")
    console.add_argument("--key", type=Path, help="PEM file with the certificate's key (default: none)")
    console.add_argument(
        "--behind-proxy", metavar="ADDRESS", help="a proxy whose X-Forwarded-For is believed (default: none)"
    )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Serve until Ctrl-C."""
    from defiyield_assets.cli.console import serve

    return serve(arguments, console)
