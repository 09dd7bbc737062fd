"""Arguments of the treasury's days: `run`, `plan`, `rebuild`, `backtest-policy`.

Lives here: the parsers and the dispatch, light to import and before settings are read. Not here: what the commands do
(run.py, rebuild.py, backtest.py).
"""

import argparse
from decimal import Decimal
from typing import TYPE_CHECKING

from defiyield_assets.cli.parsers import Commands, Day, Parents, add_range, command, days_of, dollars

if TYPE_CHECKING:
    from rich.console import Console

PHASE_NAMES = {
    "ingest": (1, 2),
    "analyse": (3,),
    "forecast": (4,),
    "allocate": (5,),
    "report": (6,),
    **{f"phase{number}": (number,) for number in range(1, 7)},
}
"""What `--phases` understands, and the phases of the graph that it means."""
RUN = """Make every table of a day: read the vendors, analyse, forecast, decide, write
the report.

What is there already is made again from the archived answers, to the same
content. A range is run in order and ends at its first failed day, because the
next ones rest on it. Exit code 1: something of a day failed or was skipped."""
PLAN = """Show the plan of a day that was run: headline, holdings, steps with costs, the
reason for every pool, the limits that bind, and what was left out."""
REBUILD = """Derive past days again from the archived answers alone, without a vendor, and
say table by table what that changed. Exit code 1: a table changed or a day
failed."""
BACKTEST = """Replay the policy over stored days: what it would have earned after costs,
beside holding, equal weights, chasing the best APY, and perfect foresight."""


def add_arguments(commands: Commands, parents: Parents, day: Day) -> None:
    """`run`, `plan`, `rebuild` and `backtest-policy`."""
    run = command(
        commands,
        "run",
        "run one day, or whole days in order",
        parents=parents,
        description=RUN,
        examples=[
            "defiyield run  # the last complete day, simulated market",
            "defiyield run --date 2025-06-03 --market simulated",
            "defiyield run --from 2025-06-03 --to 2025-06-05",
            "defiyield run --date 2025-06-03 --phases allocate report  # again",
        ],
    )
    add_range(run, day)
    run.add_argument(
        "--phases",
        nargs="+",
        choices=list(PHASE_NAMES),
        metavar="PHASE",
        help=f"parts of the day, of {', '.join(PHASE_NAMES)}; default: the whole day",
    )
    shown = command(
        commands,
        "plan",
        "show the stored plan of a day",
        parents=parents,
        description=PLAN,
        examples=["defiyield plan", "defiyield plan --date 2025-06-03 --json"],
    )
    shown.add_argument("--date", type=day, metavar="D", help="default: the newest plan")
    rebuilt = command(
        commands,
        "rebuild",
        "derive past days again from the archive, and say what that changed",
        parents=parents,
        description=REBUILD,
        examples=["defiyield rebuild --date 2025-06-03", "defiyield rebuild --from 2025-06-03 --to 2025-06-05"],
    )
    add_range(rebuilt, day)
    _add_backtest(commands, parents, day)


def _add_backtest(commands: Commands, parents: Parents, day: Day) -> None:
    parser = command(
        commands,
        "backtest-policy",
        "replay the policy over stored days, beside simple strategies",
        parents=parents,
        description=BACKTEST,
        examples=["defiyield backtest-policy --from 2025-06-03 --to 2025-06-05 --capital 250,000"],
    )
    parser.add_argument("--from", dest="first", type=day, required=True, metavar="D", help="first stored day; required")
    parser.add_argument("--to", dest="last", type=day, required=True, metavar="D", help="last stored day; required")
    parser.add_argument("--capital", type=dollars, default=Decimal(1_000_000), metavar="USD", help="default: 1,000,000")
    parser.add_argument("--token", default="USDC", metavar="SYMBOL", help="what the capital is in; default: USDC")


def run_command(arguments: argparse.Namespace, console: "Console") -> int:
    """Run a command; returns the exit code."""
    if arguments.command == "backtest-policy":
        from defiyield_assets.cli import backtest

        days = backtest.paid_days(arguments.first, arguments.last)
        return backtest.backtest_policy(days, arguments.capital, arguments.token, console, is_json=arguments.json)
    if arguments.command == "rebuild":
        from defiyield_assets.cli.rebuild import rebuild

        return rebuild(days_of(arguments), console, is_json=arguments.json)
    from defiyield_assets.cli import run

    if arguments.command == "plan":
        return run.show_stored_plan(arguments.date, console, is_json=arguments.json)
    phases = sorted({number for name in arguments.phases or () for number in PHASE_NAMES[name]})
    return run.run_days(days_of(arguments), phases, console, is_json=arguments.json)
