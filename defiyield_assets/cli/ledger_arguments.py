"""Arguments of `defiyield ledger …`.

Lives here: the parser, light to import and before settings are read. Not here: what the commands do (ledger.py).
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command
from defiyield_assets.domain.chains import CHAINS

if TYPE_CHECKING:
    from rich.console import Console

LEDGER = """A double-entry ledger of what our wallets really did, read from the chains."""
EXPLAIN = """Rows, classification and bookings of one transaction: as booked when the
warehouse has it; on the live market, with a key, also as Etherscan tells it."""

_HASH = re.compile(r"0x[0-9a-f]{64}")
_EXAMPLE_HASH = "0x" + "5c1e" * 16
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


def _told(pattern: re.Pattern[str], words: str) -> Callable[[str], str]:
    """A reader of hexadecimal arguments: lower case, or an error that says what would be right."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text.lower()):
            raise argparse.ArgumentTypeError(f"{text!r} is no {words}")
        return text.lower()

    return read


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """The commands of the group; `parents` hold the options that all share, `day` reads a date."""
    group = command(commands, "ledger", "what the ledger holds, and what it makes of a transaction", description=LEDGER)
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    _add_explain(actions, parents)
    unexplained = command(
        actions,
        "unexplained",
        "what the ledger cannot explain, and why",
        parents=parents,
        examples=["defiyield ledger unexplained", "defiyield ledger unexplained --date 2025-06-04 --json"],
    )
    balances = command(
        actions,
        "balances",
        "what wallets and pools hold",
        parents=parents,
        examples=["defiyield ledger balances", "defiyield ledger balances --date 2025-06-04"],
    )
    lots = command(
        actions,
        "lots",
        "what is held, by when and for how much it was acquired",
        parents=parents,
        examples=["defiyield ledger lots --token USDC"],
    )
    gains = command(
        actions,
        "gains",
        "what was gained when units were given away",
        parents=parents,
        examples=["defiyield ledger gains --from 2025-06-03 --to 2025-06-05"],
    )
    export = command(
        actions,
        "export",
        "write the ledger as a file for other programs",
        parents=parents,
        examples=["defiyield ledger export --format beancount --output books.beancount"],
    )
    for one in (unexplained, balances, lots):
        one.add_argument("--date", type=day, metavar="D", help="default: the newest day of the ledger")
    for one in (gains, export):
        one.add_argument("--from", dest="first", type=day, metavar="D", help="default: the first day of the ledger")
        one.add_argument("--to", dest="last", type=day, metavar="D", help="default: the newest day of the ledger")
    for one in (lots, gains):
        one.add_argument(
            "--token", metavar="SYMBOL", help="of one token only, by our symbol or its address; default: all"
        )
    export.add_argument("--format", choices=["beancount"], default="beancount", help="default: beancount")
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="default: ledger-<last day>.beancount in the state folder"
    )


def _add_explain(actions: Commands, parents: Parents) -> None:
    explain = command(
        actions,
        "explain",
        "what the ledger makes of one transaction",
        parents=parents,
        description=EXPLAIN,
        examples=[f"defiyield ledger explain --tx {_EXAMPLE_HASH}"],
    )
    explain.add_argument(
        "--chain",
        type=int,
        choices=sorted(CHAINS),
        default=1,
        metavar="ID",
        help=f"chain id of {', '.join(map(str, sorted(CHAINS)))}; default: 1, Ethereum",
    )
    explain.add_argument(
        "--tx",
        type=_told(_HASH, "transaction hash: 0x and 64 hexadecimal digits"),
        required=True,
        metavar="HASH",
        help="the transaction; required",
    )
    explain.add_argument(
        "--wallet",
        type=_told(_ADDRESS, "address: 0x and 40 hexadecimal digits"),
        metavar="ADDRESS",
        help="look at it as if this address were the only wallet; default: the wallets of accounts.yaml",
    )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    from defiyield_assets.cli import ledger

    return ledger.show(arguments, console)
