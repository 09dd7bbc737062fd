"""Arguments of the strategy lab: `strategies`, `scenarios`, `backtest` and the stages of an assessment.

Lives here: the parsers, light to import and before settings are read. Not here: what the commands do (strategies.py,
strategy_backtest.py, scenarios.py, assess.py).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from defiyield_assets.cli import watch_arguments
from defiyield_assets.cli.parsers import Commands, Day, Parents, command, said_before
from defiyield_assets.domain.strategies.limits import DEFAULT_SEED, MOST_DRAWN, MOST_PROCESSES, MOST_SEED

if TYPE_CHECKING:
    from rich.console import Console

STRATEGIES = """Strategies are YAML files: the shipped ones, and those of DEFIYIELD_CONFIG_DIR."""
BACKTEST = """Run one strategy over the stored bars of its universe, after costs. All before
the first day is warm-up. Writes a tear sheet as an HTML page."""
DATA = """Bring bars of a range of days and make features and market regimes of them, in
one run. It is the first stage of an assessment."""
SCENARIOS = """Generate the scenarios that strategies are judged in: real windows, windows with
gaps, drawn at random, from fitted processes, and stressed ones. The action says
whether some of them are listed or generated; without one, all are generated."""
METRICS = """Make the features of generated scenarios, by the same calculators as those of
the real market. With an action: the figures of operation for Prometheus."""
ASSESS = """Judge every strategy over every scenario: scenarios, metrics, backtests, ranking
and report in one. It goes on where it was stopped."""
RANGE = "--from 2024-01-01 --to 2024-12-31"


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """The commands of the lab; `parents` hold the options that all share, `day` reads a date."""
    named = command(
        commands, "strategies", "which strategies there are, and whether a file is one", description=STRATEGIES
    )
    _add_strategies(named.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions"), parents)
    backtest = command(
        commands,
        "backtest",
        "one strategy over stored bars",
        parents=parents,
        description=BACKTEST,
        examples=[
            f"defiyield backtest golden_cross {RANGE}",
            f"defiyield backtest mine.yaml {RANGE} --capital 5000",
        ],
    )
    _add_backtest(backtest, day)
    data = command(
        commands,
        "data",
        "bars, features and regimes of a range, in one run",
        parents=parents,
        description=DATA,
        examples=[f"defiyield data {RANGE}"],
    )
    _add_days(data, day, "days to bring; default: the last one")
    _add_scenarios(commands, parents, day)
    metrics = command(
        commands,
        "metrics",
        "features of scenarios; serve, show: figures for Prometheus",
        parents=parents,
        description=METRICS,
        examples=[f"defiyield metrics {RANGE}"],
    )
    _add_days(metrics, day, "scenarios as of these days; default: all that are known")
    watch_arguments.add_metrics_actions(metrics, parents)
    _add_assess(commands, parents, day)


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
    parser.add_argument("--to", dest="last", type=day, metavar="D", help="last day; default: the newest that there is")


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    seed, count = _between(0, MOST_SEED), _between(0, MOST_DRAWN)
    words = f"of all that is drawn; default: {DEFAULT_SEED}"
    parser.add_argument("--seed", type=seed, default=DEFAULT_SEED, metavar="N", help=words)
    parser.add_argument(
        "--count", type=count, metavar="N", help="random and stochastic scenarios a type; default: scenarios.yaml"
    )


def _add_strategies(actions: Commands, parents: Parents) -> None:
    command(
        actions,
        "list",
        "the shipped ones and those of DEFIYIELD_CONFIG_DIR",
        parents=parents,
        examples=["defiyield strategies list", "defiyield strategies list --json"],
    )
    check = command(
        actions,
        "check",
        "check a file; errors name file, line and nearest name",
        parents=parents,
        examples=["defiyield strategies check my_strategy.yaml"],
    )
    check.add_argument("file", type=Path, metavar="FILE", help="a strategy in YAML")
    schema = command(
        actions,
        "schema",
        "the JSON Schema of a strategy's file, for editors",
        parents=parents,
        examples=["defiyield strategies schema --write strategy.schema.json"],
    )
    schema.add_argument("--write", type=Path, metavar="FILE", help="where it is written; default: standard output")


def _add_backtest(parser: argparse.ArgumentParser, day: Day) -> None:
    parser.add_argument("strategy", metavar="STRATEGY", help="an id, or a file that ends with .yaml")
    parser.add_argument("--from", dest="first", type=day, required=True, metavar="D", help="first scored day; required")
    parser.add_argument("--to", dest="last", type=day, required=True, metavar="D", help="last day; required")
    parser.add_argument("--cost-multiplier", type=_factor, default=1.0, metavar="X", help="of all costs; default: 1")
    parser.add_argument("--capital", type=capital_of, default=100_000.0, metavar="USD", help="default: 100,000")
    parser.add_argument("--universe", metavar="NAME", help="which instruments; default: the strategy's own")


def _add_scenarios(commands: Commands, parents: Parents, day: Day) -> None:
    scenarios = command(
        commands,
        "scenarios",
        "generate the scenarios of a range; list, generate: some of them",
        parents=parents,
        description=SCENARIOS,
        examples=[
            f"defiyield scenarios {RANGE}",
            "defiyield scenarios generate --type bootstrap --count 20",
            "defiyield scenarios list --json",
        ],
    )
    _add_days(scenarios, day, "see `defiyield assess --help`; default: the first stored bar")
    _add_drawing(scenarios)
    scenarios.set_defaults(types=None)
    actions = scenarios.add_subparsers(dest="action", metavar="ACTION", title="actions")
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_days(own, day, "real windows begin on it or later; default: the first stored bar")
    _add_drawing(own)
    both = [said_before(own), *map(said_before, parents)]
    every = command(
        actions,
        "list",
        "what may be generated, and what is stored of it",
        parents=both,
        examples=["defiyield scenarios list", "defiyield scenarios list --type bootstrap"],
    )
    every.add_argument("--type", dest="types", nargs="+", metavar="TYPE", help="default: all")
    one = command(
        actions,
        "generate",
        "generate some scenarios and store them",
        parents=both,
        examples=["defiyield scenarios generate --type bootstrap --count 20 --seed 11"],
    )
    words = "as `defiyield scenarios list` names them; required"
    one.add_argument("--type", dest="types", nargs="+", required=True, metavar="TYPE", help=words)


def _add_assess(commands: Commands, parents: Parents, day: Day) -> None:
    assess = command(
        commands,
        "assess",
        "scenarios, metrics, backtests, ranking and report in one; resumable",
        parents=parents,
        description=ASSESS,
        examples=[f"defiyield assess {RANGE}", f"defiyield assess {RANGE} --count 2 --workers 4"],
    )
    _add_days(assess, day, "real windows lie between these days, and all is known as of --to; default: all")
    _add_drawing(assess)
    assess.add_argument(
        "--workers", type=_between(1, MOST_PROCESSES), default=2, metavar="N", help="processes; default: 2"
    )


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    if arguments.command == "metrics" and arguments.action is not None:
        return watch_arguments.run_metrics(arguments, console)
    from defiyield_assets.cli import lab

    return lab.run_command(arguments, console)
