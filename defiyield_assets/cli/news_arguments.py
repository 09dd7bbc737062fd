"""Arguments of `defiyield news`, light to import and before settings are read.

Lives here: the parsers and the dispatch. Not here: what the commands do (news.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, command, require_order

if TYPE_CHECKING:
    from rich.console import Console

NEWS = """News of coins from CryptoPanic (or simulated ones), read once and kept, with the
sentiment of each hour. A day knows only what was published before it ended."""


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 to 100,000")
    return int(text)


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`news update` and `news show`; `parents` hold the options that all share, `day` reads a date."""
    group = command(commands, "news", "read news of coins, and see them with their sentiment", description=NEWS)
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    update = command(
        actions,
        "update",
        "read on from where the last reading stopped",
        parents=parents,
        examples=["defiyield news update", "defiyield news update --from 2025-06-01"],
    )
    update.add_argument(
        "--from", dest="first", type=day, metavar="D", help="read back to this day; default: where reading stopped"
    )
    update.add_argument(
        "--to", dest="last", type=day, metavar="D", help="day of a simulated market; default: the newest with bars"
    )
    shown = command(
        actions,
        "show",
        "stored articles and sentiment, the newest first",
        parents=parents,
        examples=["defiyield news show --instrument BTC --most 5", "defiyield news show --json"],
    )
    shown.add_argument("--instrument", metavar="ID", help="id or symbol, such as BTC; default: all")
    shown.add_argument("--from", dest="first", type=day, metavar="D", help="first day; default: the first with news")
    shown.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: the newest with news")
    shown.add_argument("--most", type=_count, default=20, metavar="N", help="articles; default: 20")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    require_order(arguments)
    from defiyield_assets.cli import news

    if arguments.action == "update":
        return news.update(arguments.first, arguments.last, console, is_json=arguments.json)
    wanted = news.Wanted(arguments.instrument, arguments.first, arguments.last, arguments.most)
    return news.show_news(wanted, console, is_json=arguments.json)
