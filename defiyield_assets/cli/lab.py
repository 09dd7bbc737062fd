"""The strategy lab's commands: which function each of them is.

Lives here: the dispatch. Not here: arguments (lab_arguments.py), what the commands do (strategies.py,
strategy_backtest.py, scenarios.py, assess.py).
"""

import argparse

from rich.console import Console

from defiyield_assets.cli.parsers import require_order


def run_command(arguments: argparse.Namespace, console: Console) -> int:
    """Run a command of `lab_arguments.COMMANDS`; returns the exit code."""
    require_order(arguments)
    if arguments.command == "strategies":
        return _strategies(arguments, console)
    if arguments.command == "backtest":
        from defiyield_assets.cli.strategy_backtest import Wish, backtest

        wish = Wish(
            arguments.strategy,
            arguments.first,
            arguments.last,
            arguments.cost_multiplier,
            arguments.capital,
            arguments.universe,
        )
        return backtest(wish, console, is_json=arguments.json)
    return _stage(arguments, console)


def _stage(arguments: argparse.Namespace, console: Console) -> int:
    from defiyield_assets.cli import assess, scenarios

    if arguments.command == "data":
        return assess.bring_data(arguments.first, arguments.last, console, is_json=arguments.json)
    if arguments.command == "metrics":
        return assess.make_metrics(arguments.first, arguments.last, console, is_json=arguments.json)
    types = tuple(getattr(arguments, "types", None) or ())
    drawing = assess.Drawing(arguments.first, arguments.last, types, arguments.count, arguments.seed)
    if arguments.command == "assess":
        return assess.assess(drawing, arguments.workers, console, is_json=arguments.json)
    if arguments.action == "list":
        return scenarios.list_scenarios(drawing, console, is_json=arguments.json)
    if arguments.action == "generate":
        return scenarios.generate(drawing, console, is_json=arguments.json)
    return assess.make_scenarios(drawing, console, is_json=arguments.json)


def _strategies(arguments: argparse.Namespace, console: Console) -> int:
    from defiyield_assets.cli import strategies

    if arguments.action == "list":
        return strategies.list_strategies(console, is_json=arguments.json)
    if arguments.action == "check":
        return strategies.check_strategy(arguments.file, console, is_json=arguments.json)
    return strategies.write_schema(arguments.write, console, is_json=arguments.json)
