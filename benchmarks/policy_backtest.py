"""The whole policy over nine recorded months: what it would have earned, against simple strategies and two yardsticks.

Filters, the project's forecasts of each evening, the optimiser with both solvers, real gas, conversions, positions
carried. Forecasts are made first (`--cache DIR` keeps them); the parameters are chosen on the first half by a printed
grid and frozen for the second (`--frozen` skips the grid and takes CHOSEN). `--plot FILE` draws wealth,
`--no-sensitivity` leaves out the last tables. Alternatives in the same run: hold, equal weight, by size, the best APY
daily and weekly.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import policy_backtest_tables as tables
from benchmarks.policy_backtest_records import (
    FIRST_DAY,
    LAST_DAY,
    PanelRecords,
    Universe,
    backfill,
    bound_of,
    missing_days,
    read_universe,
    stored_forecasts,
)
from benchmarks.targets import finish
from defiyield_assets.domain.allocation.backtest.engine import Books, Start, Strategy, replay
from defiyield_assets.domain.allocation.backtest.figures import days_without_plan, figures, halves, yearly
from defiyield_assets.domain.allocation.backtest.plots import wealth_figure
from defiyield_assets.domain.allocation.backtest.strategies import Choice, Hold, Optimiser, Setting, Simple
from defiyield_assets.domain.allocation.backtest.yardsticks import FORESIGHT_BREAK_EVEN_DAYS, FORESIGHT_DAYS, foresight
from defiyield_assets.domain.allocation.plan import SOLVERS
from defiyield_assets.domain.allocation.solve import solve_highs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy_codec import policy_hash

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"
CAPITAL = Decimal(1_000_000)
START_TOKEN = "USDC"
POLICY, FORESIGHT = "policy", "foresight, weekly"
CHOSEN = {"horizon_days": 7, "break_even_days": 3, "reward_haircut": 0.2, "min_transaction_usd": 1000.0}
"""What the grid chose on the first half; used by --frozen."""
GRID = tuple(
    {"horizon_days": horizon, "break_even_days": days, "reward_haircut": haircut, "min_transaction_usd": least}
    for horizon, choices in ((7, (3, 7)), (30, (7,)))
    for days in choices
    for haircut in (0.0, 0.2)
    for least in (50.0, 1000.0)
)
MOST_COST = 0.005
"""A setting that costs more of AUM a year is not chosen."""
WEEK, MONTH = 7, 30
SIMPLE: Mapping[str, tuple[Choice, int]] = {
    "equal weight, monthly": ("equal", MONTH),
    "weight by size, monthly": ("size", MONTH),
    "best APY, daily": ("trailing", 1),
    "best APY, weekly": ("trailing", WEEK),
}


@dataclass(frozen=True)
class Run:
    """One replay: who decides, with which parameters, over which paid days, with how much."""

    name: str
    parameters: Mapping[str, float]
    first_day: date = FIRST_DAY
    last_day: date = LAST_DAY
    capital_usd: Decimal = CAPITAL
    has_both_solvers: bool = True


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    cache: Path | None
    is_frozen: bool
    has_sensitivity: bool
    plot: Path | None
    processes: int
    recorded: Path


def parsed(arguments: Sequence[str]) -> Options:
    """Options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.policy_backtest", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--cache", type=Path, help="folder that keeps the forecasts; default: thrown away")
    parser.add_argument("--frozen", action="store_true", help="take the parameters that the grid chose before")
    parser.add_argument("--no-sensitivity", action="store_true", help="leave out other capitals, horizons, hysteresis")
    parser.add_argument("--plot", type=Path, help="file for the picture of wealth")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    recorded = Path(os.environ.get("DEFIYIELD_RECORDED_DATA", RECORDED))
    return Options(given.cache, given.frozen, not given.no_sensitivity, given.plot, given.processes, recorded)


# --- one replay, in a process of its own ---------------------------------------------------------------------------
_OF_PROCESS: list[PanelRecords] = []


def _prepare(universe: Universe, folder: Path, store: Path) -> None:
    _OF_PROCESS[:] = [PanelRecords(universe, stored_forecasts(universe, store), folder)]


def _replayed(run: Run) -> Books:
    return run_of(run, _OF_PROCESS[0])


def run_of(run: Run, records: PanelRecords) -> Books:
    """Replay one run over the records."""
    policy = records.universe.policy
    policy = replace(policy, parameters=replace(policy.parameters, **run.parameters))
    (wallet,) = (wallet for wallet in policy.wallets if wallet.investable)
    (token,) = (token.address for token in policy.tokens if token.symbol == START_TOKEN)
    start = Start(run.first_day, run.last_day, run.capital_usd, token, wallet)
    setting = Setting(policy, policy_hash(policy))
    return replay(_strategy(run, setting, records), records, start, policy)


def _strategy(run: Run, setting: Setting, records: PanelRecords) -> Strategy:
    solvers = SOLVERS if run.has_both_solvers else (solve_highs, solve_highs)
    if run.name in SIMPLE:
        return Simple(setting, *SIMPLE[run.name])
    if run.name == FORESIGHT:
        return Optimiser(replace(setting, forecasts=foresight(records.yields)), WEEK, solvers)
    return Hold(setting) if run.name == "hold" else Optimiser(setting, 1, solvers)


def with_foresight(parameters: Mapping[str, float]) -> dict[str, float]:
    """The same limits and costs for foresight: horizon 7, hysteresis off, and no doubt of rewards that it knows."""
    own = {"horizon_days": FORESIGHT_DAYS, "break_even_days": FORESIGHT_BREAK_EVEN_DAYS, "reward_haircut": 0.0}
    return {**parameters, **own}


# --- the parts of the benchmark ------------------------------------------------------------------------------------
def progress() -> Progress:
    """Bars on standard error, so that standard output holds the tables only."""
    text, console = TextColumn("{task.description}"), Console(stderr=True)
    return Progress(SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


@contextmanager
def store_of(options: Options) -> Iterator[Path]:
    """Folder of the forecasts; without --cache one that is gone afterwards."""
    if options.cache is not None:
        yield options.cache
        return
    with tempfile.TemporaryDirectory(prefix="defiyield-backtest-") as folder:
        yield Path(folder)


def made_forecasts(universe: Universe, store: Path, options: Options) -> float:
    """Make the missing forecasts; seconds."""
    started, todo = perf_counter(), missing_days(universe, store)
    with progress() as bars:
        task = bars.add_task("forecasts of past evenings", total=len(todo))
        for _ in backfill(universe, options.recorded, store, options.processes) if todo else ():
            bars.advance(task)
    return perf_counter() - started


class Processes:
    """Processes that keep the records of the panel and replay runs."""

    def __init__(self, universe: Universe, store: Path, options: Options) -> None:
        context, given = get_context("spawn"), (universe, options.recorded, store)
        self.pool = ProcessPoolExecutor(options.processes, context, _prepare, given)

    def books(self, runs: Sequence[Run], what: str) -> list[Books]:
        """Books of all runs, in order."""
        with progress() as bars:
            task = bars.add_task(what, total=len(runs))
            found = []
            for books in self.pool.map(_replayed, runs):
                found.append(books)
                bars.advance(task)
        return found


def chosen_parameters(processes: Processes, options: Options) -> dict[str, float]:
    """The setting of the grid with the best net APY over the first half among those that are cheap enough."""
    if options.is_frozen:
        return dict(CHOSEN)
    last = FIRST_DAY + timedelta(days=((LAST_DAY - FIRST_DAY).days + 2) // 2 - 1)
    runs = [Run(POLICY, setting, last_day=last, has_both_solvers=False) for setting in GRID]
    found = [figures(books) for books in processes.books(runs, "grid on the first half")]
    cheap = [index for index, one in enumerate(found) if one.cost_share <= MOST_COST] or list(range(len(found)))
    best = max(cheap, key=lambda index: found[index].net_apy)
    tables.grid_table(last, GRID, found, best)
    return dict(GRID[best])


def main_part(
    processes: Processes, records: PanelRecords, parameters: Mapping[str, float], options: Options
) -> dict[str, float]:
    """All strategies and yardsticks with the chosen parameters; key figures."""
    started = perf_counter()
    longest_first = [
        POLICY,
        "best APY, daily",
        FORESIGHT,
        "hold",
        *(name for name in SIMPLE if name != "best APY, daily"),
    ]
    runs = [Run(name, with_foresight(parameters) if name == FORESIGHT else parameters) for name in longest_first]
    books = dict(zip(longest_first, processes.books(runs, "strategies"), strict=True))
    books = {name: books[name] for name in (POLICY, FORESIGHT, "hold", *SIMPLE)}
    window = 1 + days_without_plan(books[POLICY])
    limits = replace(records.universe.policy.parameters, **parameters)
    days = DayRange(FIRST_DAY, LAST_DAY)
    most = bound_of(records, limits, days, float(CAPITAL), window)
    bound = yearly(float(CAPITAL), most, len(days))
    seconds = perf_counter() - started
    tables.main_table(books, POLICY, FORESIGHT, bound, window)
    tables.usable_line(records.universe.n_series, books[POLICY])
    tables.pool_table(books[POLICY])
    if options.plot is not None:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        wealth_figure(books, POLICY, most).savefig(options.plot, dpi=110)
        print(f"drawn: {options.plot}")
    return key_figures(books, bound) | {"seconds_from_stored_forecasts": seconds}


def key_figures(books: Mapping[str, Books], bound: float) -> dict[str, float]:
    """What targets.yaml judges, and what one wants to see beside it."""
    policy, yardstick = figures(books[POLICY]), figures(books[FORESIGHT])
    shares = [
        figures(books[POLICY], *half).net_apy / figures(books[FORESIGHT], *half).net_apy
        for half in halves(books[POLICY])
    ]
    return {
        "net_apy": policy.net_apy,
        "foresight_apy": yardstick.net_apy,
        "hindsight_bound_apy": bound,
        "share_of_foresight": policy.net_apy / yardstick.net_apy,
        "share_of_hindsight_bound": policy.net_apy / bound,
        "first_half_share_of_foresight": shares[0],
        "second_half_share_of_foresight": shares[1],
        "worst_half_share_of_foresight": min(shares),
        "cost_share_of_aum_per_year": policy.cost_share,
    }


def sensitivity_part(processes: Processes, parameters: Mapping[str, float]) -> None:
    """Other capitals, horizons and break-even days, all else equal; HiGHS alone, to save time."""
    capitals = [Decimal(10_000), CAPITAL, Decimal(50_000_000)]
    runs = [
        Run(
            name,
            with_foresight(parameters) if name == FORESIGHT else parameters,
            capital_usd=capital,
            has_both_solvers=False,
        )
        for capital in capitals
        for name in (POLICY, FORESIGHT)
    ]
    changes = [{"horizon_days": days} for days in (1, 7, 30)] + [{"break_even_days": days} for days in (2, 7, 30)]
    runs += [Run(POLICY, {**parameters, **change}, has_both_solvers=False) for change in changes]
    found = [figures(books) for books in processes.books(runs, "sensitivity")]
    tables.capital_table(capitals, found[: 2 * len(capitals)])
    tables.change_table(changes, found[2 * len(capitals) :])


def main() -> int:
    """Print the tables and the closing line."""
    options, started = parsed(sys.argv[1:]), perf_counter()
    if not options.recorded.is_dir():
        print(f"no recorded data in {options.recorded} (DEFIYIELD_RECORDED_DATA): nothing to replay")
        return finish("policy_backtest", {})
    universe = read_universe(options.recorded)
    with store_of(options) as store:
        spent = made_forecasts(universe, store, options)
        tables.title(universe.n_series, FIRST_DAY, LAST_DAY, spent)
        processes = Processes(universe, store, options)
        records = PanelRecords(universe, stored_forecasts(universe, store), options.recorded)
        parameters = chosen_parameters(processes, options)
        found = main_part(processes, records, parameters, options)
        if options.has_sensitivity:
            sensitivity_part(processes, parameters)
        processes.pool.shutdown()
    print(f"\nrun time {perf_counter() - started:.0f} s")
    return finish("policy_backtest", found | {"seconds_of_forecasts": spent})


if __name__ == "__main__":
    sys.exit(main())
