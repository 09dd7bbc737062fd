"""Arguments of `defiyield paper` and `defiyield desk`, light to import and before settings are read.

Lives here: the parsers and the dispatch. Not here: what the commands do (paper.py, desk.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.lab_arguments import capital_of
from defiyield_assets.cli.parsers import Commands, Day, Parents, command, require_order
from defiyield_assets.domain.paper.limits import LEAST_CAPITAL, MOST_CAPITAL

if TYPE_CHECKING:
    from rich.console import Console

PAPER = """Trade a strategy at a simulated exchange, bar by bar, by the engine of the
backtests: what it would have decided and paid without knowing what came next."""
PAPER_RUN = """Trade stored bars on paper. A portfolio goes on where it stopped; the same
strategy, start, capital and universe mean the same portfolio."""
DESK = """Three workflows around one strategy: `setup` brings bars, news and signals of a
range and backtests it; `live` does it day by day and trades on paper; `update`
brings what is missing up to now and tells the new signal."""
TERMS = "--strategy golden_cross --from 2025-05-01"


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`paper run|show` and `desk setup|live|update`; `parents` hold the options that all share."""
    paper = command(
        commands, "paper", "trade a strategy on paper, bar by bar, and show what became of it", description=PAPER
    )
    _add_paper(paper.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions"), parents, day)
    desk = command(
        commands, "desk", "the three workflows: set up and backtest, trade bar by bar, update", description=DESK
    )
    _add_desk(desk.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions"), parents, day)


def _add_paper(actions: Commands, parents: Parents, day: Day) -> None:
    run = command(
        actions,
        "run",
        "trade stored bars; goes on where it stopped",
        parents=parents,
        description=PAPER_RUN,
        examples=[
            f"defiyield paper run {TERMS} --to 2025-06-03",
            f"defiyield paper run {TERMS} --follow",
        ],
    )
    _add_terms(run, day)
    run.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: the newest stored bar")
    _add_follow(run)
    shown = command(
        actions,
        "show",
        "all portfolios, or balances and trades of one",
        parents=parents,
        examples=["defiyield paper show", "defiyield paper show PORTFOLIO --against-backtest"],
    )
    shown.add_argument("portfolio", nargs="?", metavar="PORTFOLIO", help="its name; default: a line for each")
    shown.add_argument("--date", type=day, metavar="D", help="default: its newest day; of all: their newest up to D")
    shown.add_argument(
        "--against-backtest",
        action="store_true",
        help="compare with the backtest over the same bars; default: balances and trades",
    )


def _add_terms(parser: argparse.ArgumentParser, day: Day) -> None:
    parser.add_argument("--strategy", required=True, metavar="ID", help="see `defiyield strategies list`; required")
    parser.add_argument(
        "--from",
        dest="first",
        type=day,
        required=True,
        metavar="D",
        help="first day on which an order may be filled; required",
    )
    parser.add_argument("--capital", type=_capital, default=100_000.0, metavar="USD", help="default: 100,000")
    parser.add_argument("--universe", default="", metavar="NAME", help="default: the strategy's own")


def _add_follow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--follow", action="store_true", help="then wait for each new bar, until Ctrl-C; default: end there"
    )
    parser.add_argument(
        "--poll", type=_seconds, default=60.0, metavar="SECONDS", help="between two looks for a new bar; default: 60"
    )


def _add_desk(actions: Commands, parents: Parents, day: Day) -> None:
    told = {
        "setup": "bars, news and signals of a range, then the backtest",
        "live": "day by day: bars, news, signal, paper trading",
        "update": "what is missing up to now, and the new signal",
    }
    for name, words in told.items():
        one = command(actions, name, words, parents=parents, examples=[f"defiyield desk {name} {TERMS}"])
        _add_terms(one, day)
        one.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: yesterday")
        one.add_argument("--model", metavar="NAME", help="who is asked for signals; default: that of the strategy")
        one.add_argument(
            "--no-data", action="store_true", help="bars are there already: bring none; default: bring them"
        )
        if name == "live":
            _add_follow(one)


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


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    require_order(arguments)
    if arguments.command == "desk":
        from defiyield_assets.cli import desk

        return desk.run_workflow(arguments, console)
    from defiyield_assets.cli import paper

    if arguments.action == "show":
        chosen = paper.Chosen(arguments.portfolio, arguments.date, arguments.against_backtest)
        return paper.show_portfolios(chosen, console, is_json=arguments.json)
    return paper.run_paper(paper.wanted_of(arguments), console, is_json=arguments.json)
