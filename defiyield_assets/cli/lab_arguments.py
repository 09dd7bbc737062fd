"""Arguments of the strategy lab: `strategies`, `scenarios`, `backtest` and the stages of an assessment.

Lives here: the parsers, light to import and before settings are read. Not here: what the commands do (strategies.py,
strategy_backtest.py, scenarios.py, assess.py).
"""

import argparse
from collections.abc import Callable
from copy import copy
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.domain.strategies.limits import DEFAULT_SEED, MOST_DRAWN, MOST_PROCESSES, MOST_SEED

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Day = Callable[[str], date]
COMMANDS = ("strategies", "scenarios", "backtest", "data", "metrics", "assess")
"""The commands that are told of here."""


def add_arguments(commands: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    """The commands of the lab; `market` holds the options that all share, `day` reads a date."""
    named = commands.add_parser("strategies", help="which strategies there are, and whether a file is one")
    _add_strategies(named.add_subparsers(dest="action", required=True), market)
    _add_backtest(commands.add_parser("backtest", parents=[market], help="one strategy over stored bars"), day)

    data = commands.add_parser("data", parents=[market], help="bars, features and regimes of a range, in one run")
    _add_days(data, day, "days to bring")
    scenarios = commands.add_parser(
        "scenarios", parents=[market], help="generate the scenarios of a range; `list`, `generate`: some of them"
    )
    _add_days(scenarios, day, "see `defiyield assess --help`")
    _add_drawing(scenarios)
    scenarios.set_defaults(json=False, types=None)
    _add_scenarios(scenarios.add_subparsers(dest="action"), _said_before(market), day)
    metrics = commands.add_parser("metrics", parents=[market], help="features of scenarios, by the same calculators")
    _add_days(metrics, day, "scenarios as of these days")
    assess = commands.add_parser(
        "assess", parents=[market], help="scenarios, metrics, backtests, ranking and report in one; resumable"
    )
    _add_days(assess, day, "real windows lie between these days; --to is the day as of which all is known")
    _add_drawing(assess)
    assess.add_argument(
        "--workers", type=_between(1, MOST_PROCESSES), default=2, metavar="N", help="processes; default: 2"
    )
    assess.add_argument("--json", action="store_true", help="the ranking as JSON on standard output")


def _between(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number inside bounds."""

    def read(text: str) -> int:
        try:
            found = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: at least {least}, at most {most:,}")
        return found

    return read


def _factor(text: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not 0.0 <= found <= 100.0:
        raise argparse.ArgumentTypeError(f"{text!r}: costs are multiplied by 0 to 100")
    return found


def capital_of(text: str) -> float:
    """An amount of capital that was typed."""
    try:
        found = float(text.replace(",", ""))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount") from error
    if not 0.0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: the capital is above 0")
    return found


def _add_days(parser: argparse.ArgumentParser, day: Day, words: str) -> None:
    parser.add_argument("--from", dest="first", type=day, metavar="D", help=f"first day: {words}")
    parser.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: the newest stored bar")


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    seed, count = _between(0, MOST_SEED), _between(0, MOST_DRAWN)
    words = f"of all that is drawn; default: {DEFAULT_SEED}"
    parser.add_argument("--seed", type=seed, default=DEFAULT_SEED, metavar="N", help=words)
    parser.add_argument(
        "--count", type=count, metavar="N", help="random and stochastic scenarios a type; default: scenarios.yaml"
    )


def _add_strategies(actions: "Commands", market: argparse.ArgumentParser) -> None:
    every = actions.add_parser("list", parents=[market], help="the shipped ones and those of DEFIYIELD_CONFIG_DIR")
    check = actions.add_parser("check", parents=[market], help="check a file; errors name file, line and nearest name")
    check.add_argument("file", type=Path, metavar="FILE")
    for one in (every, check):
        one.add_argument("--json", action="store_true", help="as JSON on standard output")
    schema = actions.add_parser("schema", parents=[market], help="the JSON Schema of a strategy's file, for editors")
    schema.add_argument("--write", type=Path, metavar="FILE", help="default: standard output")


def _add_backtest(parser: argparse.ArgumentParser, day: Day) -> None:
    parser.add_argument("strategy", metavar="STRATEGY", help="an id, or a file that ends with .yaml")
    parser.add_argument("--from", dest="first", type=day, required=True, metavar="D", help="first scored day")
    parser.add_argument("--to", dest="last", type=day, required=True, metavar="D", help="last day")
    parser.add_argument("--cost-multiplier", type=_factor, default=1.0, metavar="X", help="of all costs; default: 1")
    parser.add_argument("--capital", type=capital_of, default=100_000.0, metavar="USD", help="default: 100,000")
    parser.add_argument("--universe", metavar="NAME", help="default: the strategy's own")
    parser.add_argument("--json", action="store_true", help="all figures as JSON on standard output")


def _said_before(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same options without defaults: one that is left out after an action keeps what was said before it."""
    told = argparse.ArgumentParser(add_help=False)
    for option in parser._actions:
        same = copy(option)
        same.default = argparse.SUPPRESS
        told._add_action(same)
    return told


def _add_scenarios(actions: "Commands", market: argparse.ArgumentParser, day: Day) -> None:
    own = argparse.ArgumentParser(add_help=False)
    _add_days(own, day, "real windows begin on it or later")
    _add_drawing(own)
    own.add_argument("--json", action="store_true", help="as JSON on standard output")
    both = [market, _said_before(own)]
    every = actions.add_parser("list", parents=both, help="what may be generated, and what is stored of it")
    one = actions.add_parser("generate", parents=both, help="generate some scenarios and store them")
    one.add_argument("--type", dest="types", nargs="+", required=True, metavar="TYPE", help="see docs/strategy-lab.md")
    every.add_argument("--type", dest="types", nargs="+", metavar="TYPE", help="default: all")
