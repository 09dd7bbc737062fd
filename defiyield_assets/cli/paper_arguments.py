"""Arguments of `defiyield paper` and `defiyield desk`, light to import and before settings are read.

Lives here: the parsers and the dispatch. Not here: what the commands do (paper.py, desk.py).
"""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from defiyield_assets.cli.lab_arguments import Day, capital_of
from defiyield_assets.config.paper import LEAST_CAPITAL, MOST_CAPITAL

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COMMANDS = ("paper", "desk")


def add_arguments(commands: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    """`paper run|show` and `desk setup|live|update`; `market` holds the options that all share."""
    paper = commands.add_parser("paper", help="trade a strategy on paper, bar by bar, and show what became of it")
    _add_paper(paper.add_subparsers(dest="action", required=True), market, day)
    desk = commands.add_parser("desk", help="the three workflows: set up and backtest, trade bar by bar, update")
    _add_desk(desk.add_subparsers(dest="action", required=True), market, day)


def _add_paper(actions: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    run = actions.add_parser("run", parents=[market], help="trade stored bars; goes on where it stopped")
    _add_terms(run, day)
    run.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: the newest stored bar")
    _add_follow(run)
    shown = actions.add_parser("show", parents=[market], help="all portfolios, or balances and trades of one")
    shown.add_argument("portfolio", nargs="?", metavar="PORTFOLIO", help="default: a line for each")
    shown.add_argument("--date", type=day, metavar="D", help="default: its newest day; of all: their newest up to D")
    shown.add_argument("--against-backtest", action="store_true", help="compare with the backtest over the same bars")
    for one in (run, shown):
        one.add_argument(
            "--json", action="store_true", help="as JSON on standard output; with --follow one document in each line"
        )


def _add_terms(parser: argparse.ArgumentParser, day: Day) -> None:
    parser.add_argument("--strategy", required=True, metavar="ID", help="see `defiyield strategies list`")
    parser.add_argument(
        "--from", dest="first", type=day, required=True, metavar="D", help="first day on which an order may be filled"
    )
    parser.add_argument("--capital", type=_capital, default=100_000.0, metavar="USD", help="default: 100,000")
    parser.add_argument("--universe", default="", metavar="NAME", help="default: the strategy's own")


def _add_follow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="then wait for each new bar, until Ctrl-C")
    parser.add_argument(
        "--poll", type=_seconds, default=60.0, metavar="SECONDS", help="between two looks for a new bar; default: 60"
    )


def _add_desk(actions: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    setup = actions.add_parser("setup", parents=[market], help="bars, news and signals of a range, then the backtest")
    live = actions.add_parser("live", parents=[market], help="day by day: bars, news, signal, paper trading")
    update = actions.add_parser("update", parents=[market], help="what is missing up to now, and the new signal")
    for one in (setup, live, update):
        _add_terms(one, day)
        one.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: yesterday")
        one.add_argument("--model", metavar="NAME", help="who is asked for signals; default: that of the strategy")
        one.add_argument("--no-data", action="store_true", help="bars are there already: bring none")
        one.add_argument("--json", action="store_true", help="as JSON on standard output")
    _add_follow(live)


def _capital(text: str) -> float:
    found = capital_of(text)
    if not LEAST_CAPITAL <= found <= MOST_CAPITAL:
        raise argparse.ArgumentTypeError(f"{text!r}: the capital is from {LEAST_CAPITAL:g} to {MOST_CAPITAL:,.0f}")
    return found


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from error
    if not 1.0 <= found <= 86_400.0:
        raise argparse.ArgumentTypeError(f"{text!r}: from 1 to 86,400 seconds")
    return found


def run_command(arguments: argparse.Namespace, console: Console) -> int:
    """Run a command; returns the exit code."""
    if getattr(arguments, "first", None) and arguments.last and arguments.first > arguments.last:
        raise argparse.ArgumentTypeError(f"--from {arguments.first} is after --to {arguments.last}")
    if arguments.command == "desk":
        from defiyield_assets.cli import desk

        return desk.run_workflow(arguments, console)
    from defiyield_assets.cli import paper

    if arguments.action == "show":
        chosen = paper.Chosen(arguments.portfolio, arguments.date, arguments.against_backtest)
        return paper.show_portfolios(chosen, console, is_json=arguments.json)
    return paper.run_paper(paper.wanted_of(arguments), console, is_json=arguments.json)
