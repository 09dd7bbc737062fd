"""Arguments of `defiyield ledger …`.

Lives here: the parser, light to import and before settings are read. Not here: what the commands do (ledger.py).
"""

import argparse
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

from defiyield_assets.domain.chains import CHAINS

_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


def _told(pattern: re.Pattern[str], words: str) -> Callable[[str], str]:
    """A reader of hexadecimal arguments: lower case, or an error that says what would be right."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text.lower()):
            raise argparse.ArgumentTypeError(f"{text!r} is no {words}")
        return text.lower()

    return read


def add_arguments(group: argparse.ArgumentParser, market: argparse.ArgumentParser, day: Callable[[str], date]) -> None:
    """The commands of the group; `market` holds the options that all share, `day` reads a date."""
    commands = group.add_subparsers(dest="action", required=True)
    explain = commands.add_parser("explain", parents=[market], help="what the ledger makes of one transaction")
    explain.add_argument("--chain", type=int, choices=sorted(CHAINS), default=1, help="chain id, default 1: Ethereum")
    explain.add_argument("--tx", type=_told(_HASH, "transaction hash: 0x and 64 hexadecimal digits"), required=True)
    explain.add_argument(
        "--wallet",
        type=_told(_ADDRESS, "address: 0x and 40 hexadecimal digits"),
        metavar="ADDRESS",
        help="look at it as if this address were the only wallet; default: the wallets of accounts.yaml",
    )
    unexplained = commands.add_parser("unexplained", parents=[market], help="what the ledger cannot explain, and why")
    unexplained.add_argument("--date", type=day, metavar="D", help="default: the newest day of the ledger")
    balances = commands.add_parser("balances", parents=[market], help="what wallets and pools hold")
    balances.add_argument("--date", type=day, metavar="D", help="default: the newest day of the ledger")
    lots = commands.add_parser("lots", parents=[market], help="what is held by when and for how much it was acquired")
    lots.add_argument("--date", type=day, metavar="D", help="default: the newest day of the ledger")
    gains = commands.add_parser("gains", parents=[market], help="what was gained when units were given away")
    export = commands.add_parser("export", parents=[market], help="write the ledger as a file for other programs")
    export.add_argument("--format", choices=["beancount"], default="beancount", help="default: beancount")
    for command in (gains, export):
        command.add_argument("--from", dest="first", type=day, metavar="D", help="default: the first day of the ledger")
        command.add_argument("--to", dest="last", type=day, metavar="D", help="default: the newest day of the ledger")
    for command in (lots, gains):
        command.add_argument("--token", metavar="SYMBOL", help="of one token only, by our symbol or its address")
    export.add_argument(
        "--output", type=Path, metavar="FILE", help="default: ledger-<last day>.beancount in the state folder"
    )
