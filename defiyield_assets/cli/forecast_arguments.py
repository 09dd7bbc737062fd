"""Arguments of `defiyield forecast`.

Lives here: the parser and the dispatch, light to import and before settings are read. Not here: what the command does
(forecast.py).
"""

import argparse
from typing import TYPE_CHECKING

from defiyield_assets.cli.explain_arguments import whole_number
from defiyield_assets.cli.parsers import Commands, Day, Parents, command

if TYPE_CHECKING:
    from rich.console import Console

FORECAST = """What is forecast, by which model, and what such forecasts have been worth."""
SHOW = """Without a pool: the champion of every horizon with its scores, and the forecasts
of the pools that may be used, the best first. With a pool: bands by target and
horizon, the model and whose evidence chose it, the candidates beside it, and
what its forecasts that fell due were worth."""
TARGETS = ("apy", "apy_base", "apy_reward", "tvl_usd")


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`forecast show`."""
    group = command(
        commands,
        "forecast",
        "what is forecast of pools, and how good forecasts have been",
        description=FORECAST,
        examples=["defiyield forecast show", "defiyield forecast show b1566cf0"],
    )
    shown = command(
        group.add_subparsers(dest="action", required=True, metavar="ACTION"),
        "show",
        "forecasts with bands, champions and scores",
        parents=parents,
        description=SHOW,
        examples=["defiyield forecast show --target apy --most 10", 'defiyield forecast show "USDC compound-v2"'],
    )
    shown.add_argument(
        "pool", nargs="*", metavar="POOL", help="id, beginning of an id, or words of symbol and protocol; default: all"
    )
    shown.add_argument("--date", type=day, metavar="D", help="default: the newest day with forecasts")
    shown.add_argument("--target", choices=TARGETS, default="apy", help="what is forecast; default: apy")
    shown.add_argument("--most", type=whole_number(10_000), default=20, metavar="N", help="pools to list; default: 20")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run the command; returns the exit code."""
    from defiyield_assets.cli import forecast

    typed = " ".join(arguments.pool) or None
    wanted = forecast.Wanted(typed, arguments.date, arguments.target, arguments.most)
    return forecast.show_forecasts(wanted, console, is_json=arguments.json)
