# PYTHON_ARGCOMPLETE_OK
"""The command `defiyield`: which commands there are, errors in one line, exit codes.

Lives here: the table of commands and the dispatch. Not here: a command's options (NAME_arguments.py, which parse and
dispatch and import the rest late), how they are read (parsers.py), what is written (output.py).
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from defiyield_assets.cli import (
    backfill_arguments,
    backup_arguments,
    completion_arguments,
    config_arguments,
    console_arguments,
    day_arguments,
    demo_arguments,
    doctor_arguments,
    explain_arguments,
    forecast_arguments,
    lab_arguments,
    ledger_arguments,
    news_arguments,
    paper_arguments,
    report_arguments,
    signals_arguments,
    simulator_arguments,
    warehouse_arguments,
    watch_arguments,
)
from defiyield_assets.cli.parsers import Commands, Day, Parents, Parser, WrongUse, day, shared_options
from defiyield_assets.errors import ConfigurationError, DefiYieldError
from defiyield_assets.observability.logs import configure_logging

if TYPE_CHECKING:
    from rich.console import Console

    from defiyield_assets.settings import Settings


class CommandModule(Protocol):
    """What every NAME_arguments.py offers: parsers that are light to import, and a function that imports the rest."""

    def add_arguments(self, commands: Commands, parents: Parents, day: Day) -> None:
        """Add the module's commands."""

    def run_command(self, arguments: argparse.Namespace, console: "Console") -> int:
        """Run the one that was typed; the exit code."""


# A new command: import its NAME_arguments above and name it here, in the group of what it is for.
COMMANDS: Mapping[str, Mapping[str, CommandModule]] = {
    "the treasury's day": {
        "demo": demo_arguments,
        "run": day_arguments,
        "plan": day_arguments,
        "explain": explain_arguments,
        "forecast": forecast_arguments,
        "report": report_arguments,
        "ledger": ledger_arguments,
        "console": console_arguments,
    },
    "looking back": {
        "backfill": backfill_arguments,
        "rebuild": day_arguments,
        "backtest-policy": day_arguments,
    },
    "strategies of the lab": {
        "strategies": lab_arguments,
        "backtest": lab_arguments,
        "data": lab_arguments,
        "scenarios": lab_arguments,
        "metrics": lab_arguments,
        "assess": lab_arguments,
        "paper": paper_arguments,
        "desk": paper_arguments,
    },
    "news and signals": {
        "news": news_arguments,
        "signals": signals_arguments,
    },
    "the installation": {
        "doctor": doctor_arguments,
        "health": watch_arguments,
        "config": config_arguments,
        "import-csv": warehouse_arguments,
        "budget": warehouse_arguments,
        "migrate": warehouse_arguments,
        "retention": warehouse_arguments,
        "backup": backup_arguments,
        "restore": backup_arguments,
        "simulator": simulator_arguments,
        "completion": completion_arguments,
    },
}
"""What a group of commands is for -> its commands -> the module that adds and runs them."""
READS_BROKEN_SETTINGS = ("doctor", "config")
"""Commands that tell what is wrong with settings: they read them themselves, and make no state folder."""
WATCHERS = (("metrics", "serve"), ("metrics", "show"), ("health", None))
"""Commands and actions that only look, so that they may do so in a state folder that they may not write."""
READERS = ("console", "plan", "explain", "forecast", "report", "ledger", "signals")
"""Commands without anything to do where there is no warehouse: a mistyped place is told, and nothing is made there."""
MODULES: Mapping[str, CommandModule] = {name: module for group in COMMANDS.values() for name, module in group.items()}
DESCRIPTION = """Put a stablecoin treasury to work, day by day: read the market, forecast, decide
under the limits of policy.yaml, say what to do and what became of it."""
EPILOG = """examples:
  defiyield run --date 2025-06-03  # a day of the simulated market
  defiyield plan  # what it advises
  defiyield COMMAND --help  # options and examples of a command

exit codes:
  0    done
  1    something failed: an error that is named, a part of a day, or a pool or
       day that is not stored (NotFound)
  2    wrong use, or a setting, key or file that is missing or wrong
  130  interrupted by Ctrl-C; what was finished is whole
  141  whoever read the output stopped reading

Options win over DEFIYIELD_* variables. With --json every command writes one
document to standard output; an error is {"error": {"type", "message"}}."""


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="defiyield", description=DESCRIPTION, epilog=EPILOG, usage="defiyield COMMAND [options]")
    parser.groups = tuple((title, tuple(group)) for title, group in COMMANDS.items())
    plain: argparse.ArgumentParser = parser
    commands = plain.add_subparsers(dest="command", required=True, metavar="COMMAND", prog="defiyield")
    parents = (shared_options(),)
    for module in dict.fromkeys(MODULES.values()):
        module.add_arguments(commands, parents, day)
    return parser


def apply_options(arguments: argparse.Namespace) -> None:
    """Let options win over the environment."""
    if arguments.market:
        os.environ["DEFIYIELD_MARKET"] = arguments.market
    if arguments.recorded_data:
        os.environ["DEFIYIELD_RECORDED_DATA"] = str(arguments.recorded_data.resolve())
    if arguments.state_dir:
        os.environ["DEFIYIELD_STATE_DIR"] = str(arguments.state_dir.resolve())


def require_warehouse(settings: "Settings") -> None:
    """ConfigurationError where settings name a file of SQLite that is not there."""
    from sqlalchemy import make_url

    url = make_url(settings.warehouse_url)
    path = url.database or ""
    is_file = url.drivername.startswith("sqlite") and path not in ("", ":memory:") and not path.startswith("file:")
    if is_file and not Path(path).exists():
        raise ConfigurationError(
            f"there is no warehouse at {path}: run `defiyield migrate` or `defiyield demo` to make one, or name "
            f"another place with --state-dir, DEFIYIELD_STATE_DIR or DEFIYIELD_DATABASE_URL"
        )


def apply_environment(arguments: argparse.Namespace) -> None:
    """Apply options, and give Dagster a home when it has none; before anything reads settings."""
    apply_options(arguments)
    from defiyield_assets.settings import PROJECT_ROOT, load_settings
    from defiyield_assets.state_folder import make_private
    from defiyield_assets.store.backups.journal import require_no_interrupted_restore

    settings = load_settings()
    if arguments.command in READERS:
        require_warehouse(settings)
    state = settings.state_path.resolve()
    try:
        make_private(state)
    except OSError as error:
        raise ConfigurationError(
            f"the state folder {state} cannot be made: {error.strerror}; name a folder that may be written with "
            f"DEFIYIELD_STATE_DIR or --state-dir"
        ) from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"the state folder {state} may not be written; name another with DEFIYIELD_STATE_DIR or --state-dir"
        )
    if arguments.command != "restore":
        require_no_interrupted_restore(state)
    os.environ["DEFIYIELD_STATE_DIR"] = str(state)
    os.environ.setdefault("DAGSTER_HOME", str(PROJECT_ROOT))
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")


def dispatch(arguments: argparse.Namespace, console: "Console") -> int:
    """Run the command; returns the exit code."""
    configure_logging()
    is_watching = (arguments.command, getattr(arguments, "action", None)) in WATCHERS
    if is_watching or arguments.command in READS_BROKEN_SETTINGS:
        apply_options(arguments)
    elif arguments.command != "completion":
        apply_environment(arguments)
    return MODULES[arguments.command].run_command(arguments, console)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script: exit codes as `--help` tells them, errors of the product in one line."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:
        from argcomplete.finders import CompletionFinder

        CompletionFinder()(parser)
    words = list(sys.argv[1:] if argv is None else argv)
    from defiyield_assets.cli.output import Terminal, leave_closed_pipe, write_error, write_json

    is_json = "--json" in words
    try:
        arguments = parser.read(words)
        try:
            code = dispatch(arguments, Terminal(is_error=arguments.json))
        except argparse.ArgumentTypeError as error:
            arguments.parser.error(str(error))
        sys.stdout.flush()
        return code
    except WrongUse as error:
        if is_json:
            write_json({"error": {"type": "UsageError", "message": error.message}})
        raise
    except DefiYieldError as error:
        write_error(error, is_json=is_json)
        return 2 if isinstance(error, ConfigurationError) else 1
    except BrokenPipeError:
        leave_closed_pipe()
    except Exception as error:
        from defiyield_assets.cli.dagster_home import storage_failure

        told = storage_failure(error)
        if told is None:
            raise
        write_error(told, is_json=is_json)
        return 2
    except KeyboardInterrupt:
        if is_json:
            write_json({"error": {"type": "Interrupted", "message": "stopped by Ctrl-C"}})
        Terminal(is_error=True).print("stopped; tables that were finished are whole: run the same command to go on")
        return 130


if __name__ == "__main__":
    sys.exit(main())
