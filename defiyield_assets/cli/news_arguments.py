"""Arguments of `defiyield news`, light to import and before settings are read.

Lives here: the parsers and the dispatch. Not here: what the commands do (news.py).
"""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from defiyield_assets.cli.lab_arguments import Day

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to 100,000")
    return int(text)


def add_arguments(commands: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    """`news update` and `news show`; `market` holds the options that all share, `day` reads a date."""
    group = commands.add_parser("news", help="read news of coins, and see them with their sentiment")
    actions = group.add_subparsers(dest="action", required=True)
    update = actions.add_parser("update", parents=[market], help="read on from where the last reading stopped")
    update.add_argument("--from", dest="first", type=day, metavar="D", help="read back to this day")
    update.add_argument(
        "--to", dest="last", type=day, metavar="D", help="day of a simulated market; default: the newest with bars"
    )
    shown = actions.add_parser("show", parents=[market], help="stored articles and sentiment, the newest first")
    shown.add_argument("--instrument", metavar="ID", help="id or symbol, such as BTC; default: all")
    shown.add_argument("--from", dest="first", type=day, metavar="D", help="first day")
    shown.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: the newest with news")
    shown.add_argument("--most", type=_count, default=20, metavar="N", help="articles; default: 20")
    for one in (update, shown):
        one.add_argument("--json", action="store_true", help="as JSON on standard output")


def run_command(arguments: argparse.Namespace, console: Console) -> int:
    """Run a command; returns the exit code."""
    from defiyield_assets.cli import news

    if arguments.first and arguments.last and arguments.first > arguments.last:
        raise argparse.ArgumentTypeError(f"--from {arguments.first} is after --to {arguments.last}")
    if arguments.action == "update":
        return news.update(arguments.first, arguments.last, console, is_json=arguments.json)
    wanted = news.Wanted(arguments.instrument, arguments.first, arguments.last, arguments.most)
    return news.show_news(wanted, console, is_json=arguments.json)
