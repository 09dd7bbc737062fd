"""The command `defiyield`: arguments, errors in one line, exit codes.

Lives here: the parser and the dispatch. Not here: running days (run.py) or what is printed about a plan (show.py).
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from rich.console import Console

from defiyield_assets.cli import lab_arguments, ledger_arguments, news_arguments, paper_arguments, signals_arguments
from defiyield_assets.cli.serve import add_arguments, serve
from defiyield_assets.errors import DefiYieldError

PHASE_NAMES = {
    "ingest": (1, 2),
    "analyse": (3,),
    "forecast": (4,),
    "allocate": (5,),
    "report": (6,),
    **{f"phase{number}": (number,) for number in range(1, 7)},
}
"""What `--phases` understands, and the phases of the graph that it means."""


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as YYYY-MM-DD") from error


def _dollars(text: str) -> Decimal:
    try:
        found = Decimal(text.replace(",", ""))
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of dollars") from error
    if not (found.is_finite() and found > 0):
        raise argparse.ArgumentTypeError(f"{text!r}: the capital is above 0")
    return found


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="defiyield", description="Put a stablecoin treasury to work, day by day.")
    commands = parser.add_subparsers(dest="command", required=True)

    market = argparse.ArgumentParser(add_help=False)
    market.add_argument(
        "--market", choices=["live", "simulated", "recorded"], help="default: DEFIYIELD_MARKET or simulated"
    )
    market.add_argument("--recorded-data", type=Path, metavar="FOLDER", help="default: DEFIYIELD_RECORDED_DATA")
    market.add_argument(
        "--state-dir", type=Path, metavar="FOLDER", help="databases, logs, reports; default: .state/<market>"
    )

    run = commands.add_parser("run", parents=[market], help="run one day, or whole days in order")
    run.add_argument("--date", type=_day, metavar="D", help="the UTC day; default: the last complete one")
    run.add_argument("--from", dest="first", type=_day, metavar="D", help="first day of a range")
    run.add_argument("--to", dest="last", type=_day, metavar="D", help="last day of a range")
    run.add_argument("--phases", nargs="+", choices=list(PHASE_NAMES), metavar="PHASE", help=", ".join(PHASE_NAMES))

    show = commands.add_parser("plan", parents=[market], help="show the stored plan of a day")
    show.add_argument("--date", type=_day, metavar="D", help="default: the newest plan")

    commands.add_parser("budget", parents=[market], help="what is left of every vendor's limits, and which keys help")
    commands.add_parser("migrate", parents=[market], help="bring the warehouse's schema to its newest revision")

    files = commands.add_parser("import-csv", parents=[market], help="import CSV files of bars or events")
    files.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files, or folders of files")
    files.add_argument("--source", metavar="NAME", help="source in csv_sources.yaml; default: by the file's name")
    files.add_argument(
        "--replace", action="store_true", help="take the files' bars in place of what is stored of their instruments"
    )

    rebuild = commands.add_parser(
        "rebuild", parents=[market], help="derive past days again from the archive alone, and say what that changed"
    )
    rebuild.add_argument("--date", type=_day, metavar="D", help="the UTC day; default: the last complete one")
    rebuild.add_argument("--from", dest="first", type=_day, metavar="D", help="first day of a range")
    rebuild.add_argument("--to", dest="last", type=_day, metavar="D", help="last day of a range")

    backtest = commands.add_parser(
        "backtest-policy", parents=[market], help="replay the policy over stored days, beside simple strategies"
    )
    backtest.add_argument("--from", dest="first", type=_day, required=True, metavar="D", help="first stored day")
    backtest.add_argument("--to", dest="last", type=_day, required=True, metavar="D", help="last stored day")
    backtest.add_argument("--capital", type=_dollars, default=Decimal(1_000_000), metavar="USD")
    backtest.add_argument("--token", default="USDC", metavar="SYMBOL", help="what the capital is in; default: USDC")

    group = commands.add_parser("ledger", help="what the ledger holds, and what it makes of a transaction")
    ledger_arguments.add_arguments(group, market, _day)

    lab_arguments.add_arguments(commands, market, _day)
    news_arguments.add_arguments(commands, market, _day)
    signals_arguments.add_arguments(commands, market, _day)
    paper_arguments.add_arguments(commands, market, _day)

    simulator = commands.add_parser("simulator", help="the simulated market").add_subparsers(
        dest="action", required=True
    )
    reset = simulator.add_parser("reset", parents=[market], help="undo what was executed on the simulated chain")
    reset.add_argument("--from", dest="first", type=_day, required=True, metavar="D", help="first plan to undo")
    add_arguments(simulator.add_parser("serve", parents=[market], help="serve the market over HTTP, for live clients"))
    return parser


def apply_environment(arguments: argparse.Namespace) -> None:
    """Let options win over the environment, and give Dagster a home when it has none; before anything reads
    settings.
    """
    if arguments.market:
        os.environ["DEFIYIELD_MARKET"] = arguments.market
    if arguments.recorded_data:
        os.environ["DEFIYIELD_RECORDED_DATA"] = str(arguments.recorded_data.resolve())
    if arguments.state_dir:
        os.environ["DEFIYIELD_STATE_DIR"] = str(arguments.state_dir.resolve())
    from defiyield_assets.settings import PROJECT_ROOT, load_settings

    state = load_settings().state_path.resolve()
    state.mkdir(parents=True, exist_ok=True)
    os.environ["DEFIYIELD_STATE_DIR"] = str(state)
    os.environ.setdefault("DAGSTER_HOME", str(PROJECT_ROOT))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")


def _days(arguments: argparse.Namespace) -> list[date]:
    """The days that were asked for, in order."""
    if arguments.date and (arguments.first or arguments.last):
        raise argparse.ArgumentTypeError("give either --date or --from and --to")
    if bool(arguments.first) != bool(arguments.last):
        raise argparse.ArgumentTypeError("--from and --to belong together")
    if arguments.first:
        if arguments.first > arguments.last:
            raise argparse.ArgumentTypeError(f"--from {arguments.first} is after --to {arguments.last}")
        return [arguments.first + timedelta(days=n) for n in range((arguments.last - arguments.first).days + 1)]
    return [arguments.date or datetime.now(UTC).date() - timedelta(days=1)]


def dispatch(arguments: argparse.Namespace, console: Console) -> int:
    """Run the command; returns the exit code."""
    apply_environment(arguments)
    from defiyield_assets.cli import budget, run

    if arguments.command == "run":
        phases = sorted({number for name in arguments.phases or () for number in PHASE_NAMES[name]})
        return run.run_days(_days(arguments), phases, console)
    if arguments.command == "rebuild":
        from defiyield_assets.cli.rebuild import rebuild

        return rebuild(_days(arguments), console)
    if arguments.command == "import-csv":
        from defiyield_assets.cli import imports

        return imports.import_csv(arguments.paths, arguments.source, console, is_replacing=arguments.replace)
    if arguments.command == "backtest-policy":
        from defiyield_assets.cli import backtest

        days = backtest.paid_days(arguments.first, arguments.last)
        return backtest.backtest_policy(days, arguments.capital, arguments.token, console)
    if arguments.command == "plan":
        return run.show_stored_plan(arguments.date, console)
    if arguments.command == "migrate":
        return run.migrate(console)
    if arguments.command == "ledger":
        from defiyield_assets.cli import ledger

        return ledger.show(arguments, console)
    if arguments.command in lab_arguments.COMMANDS:
        from defiyield_assets.cli import lab

        return lab.run_command(arguments, console)
    if arguments.command == "news":
        return news_arguments.run_command(arguments, console)
    if arguments.command == "signals":
        return signals_arguments.run_command(arguments, console)
    if arguments.command in paper_arguments.COMMANDS:
        return paper_arguments.run_command(arguments, console)
    if arguments.command == "budget":
        return budget.show_budgets(console)
    if arguments.action == "serve":
        return serve(arguments, console)
    return run.reset_simulation(arguments.first, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; errors of the product are one line on standard error and exit code 2."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    console = Console(highlight=False, emoji=False)
    try:
        return dispatch(arguments, console)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    except DefiYieldError as error:
        Console(stderr=True, highlight=False, emoji=False).print(
            f"[bold red]error:[/] {type(error).__name__}: ", end=""
        )
        Console(stderr=True, highlight=False, emoji=False, markup=False, soft_wrap=True).print(str(error))
        return 2
    except KeyboardInterrupt:
        Console(stderr=True, emoji=False).print(
            "stopped; tables that were finished are whole: run the same command to go on"
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
