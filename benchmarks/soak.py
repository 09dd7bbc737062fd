"""The closed loop, day after day: plan, chain, ledger, plan; every day the ledger against the chain to the base unit.

All days run through the daily graph in one process. Each day every wallet balance (ETH, rebasing tokens and shares
included) and every position is compared with the chain itself, and wealth with that of the day before less gas, less
what conversions gave, plus what they took, plus growth. `--market recorded` runs on recorded data (`--recorded-data` or
DEFIYIELD_RECORDED_DATA), `--pools 0` on the whole demo market instead of a smaller one, `--state DIR` keeps the tables.

`--pure`: a year of the pure day function (day.py), twice side by side: undisturbed, and with failing vendors and
processes killed in the middle of writes (soak_year.py); at the end every row of both is compared. It takes 12 pools and
8 instruments unless told otherwise. After `--minutes`, and on SIGTERM, no day begins any more and what both runs have
is compared; `--state DIR` goes on from where a stopped one was.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.soak_compared import run_year
from benchmarks.soak_folder import YearOptions
from benchmarks.soak_runs import Patience
from benchmarks.targets import finish
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.failures import innermost_error
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.reconciliation import (
    Books,
    Difference,
    chain_of,
    differences,
    ledger_of,
    own_transactions,
    wealth_differences,
)
from defiyield_assets_tests.small_market import N_POOLS, SmallMarketResource

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT.parent / "shared" / "data"
FIRST_DAYS = {"simulated": date(2025, 6, 3), "recorded": date(2025, 5, 1)}
PURE_POOLS = 12
DAYS_A_ROW = 10
COSTLY_BUDGET = "DEFIYIELD_COSTLY_BUDGET_SECONDS"
"""What the costly forecasting models may take a week: nothing here unless the variable says so; no plan needs them."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    days: int
    market: str
    pools: int
    seed: int
    state: Path | None
    recorded: Path
    is_pure: bool = False
    minutes: float | None = None


def parsed(arguments: Sequence[str]) -> Options:
    """Options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--pure", action="store_true", help="disturbed against undisturbed, without Dagster's executor")
    parser.add_argument("--days", type=int, help="default: 90; with --pure 365")
    parser.add_argument("--market", choices=sorted(FIRST_DAYS), default="simulated")
    parser.add_argument("--minutes", type=float, help="with --pure: begin no day after so many minutes")
    default = f"default: {N_POOLS}; with --pure {PURE_POOLS}"
    parser.add_argument("--pools", type=int, help=f"pools of the simulated market; 0: the whole demo market; {default}")
    parser.add_argument("--seed", type=int, default=load_settings().market_seed, help="seed of the simulated market")
    parser.add_argument("--state", type=Path, help="folder for the tables, empty or new; default: thrown away")
    recorded = Path(os.environ.get("DEFIYIELD_RECORDED_DATA", RECORDED))
    parser.add_argument("--recorded-data", type=Path, default=recorded, help="folder of the recorded market")
    given = parser.parse_args(arguments)
    days = (365 if given.pure else 90) if given.days is None else given.days
    pools = (PURE_POOLS if given.pure else N_POOLS) if given.pools is None else given.pools
    if days < 1 or pools < 0:
        parser.error("--days is at least 1, --pools at least 0")
    if given.pure and given.market != "simulated":
        parser.error("--pure runs on the simulated market only: recorded vendors cannot revise what they said")
    if given.minutes is not None and not given.pure:
        parser.error("--minutes goes with --pure only")
    return Options(
        *(days, given.market, pools, given.seed, given.state, given.recorded_data, given.pure, given.minutes)
    )


@dataclass
class Stretch:
    """Some days of the loop, summed up."""

    first: date
    last: date
    seconds: float = 0.0
    breaks: list[str] = field(default_factory=list)
    error_base_units: int = 0
    transactions: Counter[str] = field(default_factory=Counter)
    reverted: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    n_days: int = 0
    nav_usd: float = 0.0

    def add(self, other: "Stretch") -> None:
        """Take a later stretch in."""
        self.last, self.nav_usd = other.last, other.nav_usd
        self.seconds += other.seconds
        self.breaks += other.breaks
        self.error_base_units += other.error_base_units
        self.transactions += other.transactions
        self.reverted += other.reverted
        self.steps += other.steps
        self.n_days += other.n_days


class Soak:
    """One state folder and its days."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._before: Books | None = None

    @cached_property
    def _settings(self) -> Settings:
        return Settings(
            market=self._options.market,
            state_dir=self._folder,
            database_url=f"sqlite:///{(self._folder / 'warehouse.sqlite').resolve()}",
            recorded_data=self._options.recorded if self._options.market == "recorded" else None,
            config_dir=None,
            market_seed=self._options.seed,
        )

    @cached_property
    def _warehouse(self) -> WarehouseResource:
        return WarehouseResource(url=self._settings.warehouse_url, market=self._settings.warehouse_market)

    @cached_property
    def _market(self) -> MarketResource:
        shared = {"market": self._options.market, "chain_path": str(self._settings.chain_path.resolve())}
        if self._options.market == "recorded":
            return MarketResource(**shared, seed=self._options.seed, recorded_data=str(self._options.recorded))
        return SmallMarketResource(**shared, seed=self._options.seed, pools=self._options.pools)

    @cached_property
    def _job(self) -> dg.JobDefinition:
        defs = build_defs(self._settings, warehouse=self._warehouse, market=self._market)
        return defs.resolve_job_def("plan_the_day")

    def run(self, day: date) -> Stretch:
        """One day through the graph, then the ledger against the chain."""
        started = perf_counter()
        with dg.DagsterInstance.ephemeral() as instance:
            result = self._job.execute_in_process(
                partition_key=day.isoformat(), instance=instance, raise_on_error=False, run_config=QUIET
            )
        told = Stretch(day, day, perf_counter() - started, n_days=1)
        told.breaks += [
            f"{day} {event.step_key} failed: {innermost_error(event)}"
            for event in result.all_events
            if event.is_step_failure
        ]
        told.breaks += [
            f"{day} check {item.check_name} of {item.asset_key.to_user_string()}: {item.description or 'not passed'}"
            for item in result.get_asset_check_evaluations()
            if not item.passed and item.severity == dg.AssetCheckSeverity.ERROR
        ]
        if result.success:
            self._reconcile(day, told)
        return told

    def _reconcile(self, day: date, told: Stretch) -> None:
        simulation, engine = self._market.simulation, self._warehouse.engine
        if simulation is None:
            raise RuntimeError("a soak needs a market that executes plans")
        ledger = ledger_of(engine, day)
        found: list[Difference] = differences(day, ledger, chain_of(simulation.chain, day))
        if self._before is not None:
            found += wealth_differences(simulation, engine, day, ledger, self._before)
        self._before = ledger
        told.breaks += [str(item) for item in found]
        told.error_base_units = sum(item.base_units for item in found)
        told.reverted = sum(not one.is_success for one in own_transactions(simulation.chain, day))
        booked = reads.read_days(engine, schema.ledger_postings, DayRange.of(day))
        told.transactions = Counter(_kinds(booked))
        told.steps = Counter(reads.read_days(engine, schema.allocation_steps, DayRange.of(day))["step_type"])
        told.nav_usd = float(reads.read_days(engine, schema.nav_daily, DayRange.of(day))["nav_usd"].iloc[0])


def _kinds(postings: Any) -> list[str]:
    """What each transaction of the postings was: of several classifications that of its first leg that is no gas."""
    ordered = postings.assign(is_gas=postings["kind"] == "gas").sort_values(["tx_hash", "is_gas", "ordinal", "leg"])
    first = ordered.drop_duplicates("tx_hash")
    return [str(name) for name in first["classification"]]


@contextmanager
def _folder_of(options: Options) -> Iterator[Path]:
    if options.state is not None:
        options.state.mkdir(parents=True, exist_ok=True)
        yield options.state
        return
    with tempfile.TemporaryDirectory(prefix="defiyield-soak-") as name:
        yield Path(name)


def _commit() -> str:
    """The commit that is checked out, with a mark when files differ from it."""
    asked = ("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip() or "unknown"


def _title(options: Options) -> str:
    size = f"{options.pools} pools" if options.pools else "the whole demo market"
    where = f"simulated market, seed {options.seed}, {size}" if options.market == "simulated" else "recorded market"
    return f"{options.days} closed-loop days, {where}, costly models {os.environ[COSTLY_BUDGET]} s, commit {_commit()}"


def _table(options: Options, stretches: Sequence[Stretch]) -> Table:
    table = Table(title=_title(options), title_justify="left", box=None, padding=(0, 1))
    headers = ("days", "NAV USD", "transactions", "reverted", "deposits", "withdrawals", "swaps", "accruals")
    for header in (*headers, "unexplained", "breaks", "error", "s a day"):
        table.add_column(header, justify="left" if header == "days" else "right")
    for one in stretches:
        kinds = [one.transactions[kind] for kind in ("deposit", "withdrawal", "swap", "accrual", "unexplained")]
        sent = sum(one.transactions.values()) - one.transactions["accrual"]
        table.add_row(
            *(f"{one.first} .. {one.last}", f"{one.nav_usd:,.2f}", str(sent), str(one.reverted)),
            *map(str, kinds),
            *(str(len(one.breaks)), str(one.error_base_units), f"{one.seconds / one.n_days:.1f}"),
        )
    return table


def run_days(options: Options, console: Console) -> list[Stretch]:
    """All days in order, ten to a stretch; a day that failed ends the loop."""
    first, stretches = FIRST_DAYS[options.market], list[Stretch]()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with _folder_of(options) as folder, Progress(*columns, console=console, transient=True) as progress:
        soak, task = Soak(options, folder), progress.add_task("starting", total=options.days)
        for offset in range(options.days):
            day = first + timedelta(days=offset)
            progress.update(task, description=f"{day}")
            told = soak.run(day)
            progress.advance(task)
            for line in told.breaks:
                console.print(line, markup=False, highlight=False)
            if offset % DAYS_A_ROW == 0:
                stretches.append(told)
            else:
                stretches[-1].add(told)
            if not told.nav_usd:
                break
    return stretches


def _pure(options: Options, console: Console) -> int:
    """The year twice, and what the comparison says."""
    console.print(_title(options))
    patience = Patience(options.minutes)
    patience.listen()
    with _folder_of(options) as folder:
        calm = YearOptions(folder / "undisturbed", options.days, options.pools, options.seed)
        disturbed = YearOptions(folder / "disturbed", options.days, options.pools, options.seed, options.seed)
        return finish("soak", run_year(calm, disturbed, console, patience.is_over))


def main() -> int:
    """Print the table and the closing line."""
    options, console = parsed(sys.argv[1:]), Console(width=150)
    os.environ.setdefault(COSTLY_BUDGET, "0")
    logging.disable(logging.WARNING)
    if options.is_pure:
        return _pure(options, console)
    stretches = run_days(options, console)
    console.print(_table(options, stretches))
    total = Stretch(stretches[0].first, stretches[0].last)
    for one in stretches:
        total.add(one)
    figures = {
        "days": total.n_days,
        "wealth_error_base_units": total.error_base_units,
        "reconciliation_breaks": len(total.breaks) + (options.days - total.n_days),
        "transactions": sum(total.transactions.values()) - total.transactions["accrual"],
        **{f"classified_{kind}": count for kind, count in sorted(total.transactions.items())},
        "reverted": total.reverted,
        "seconds_per_day": total.seconds / total.n_days,
        "seconds": total.seconds,
    }
    return finish("soak", figures, also=("ledger",))


if __name__ == "__main__":
    sys.exit(main())
