"""A year unattended: the pure day function, once disturbed and once not; at the end both must have the same tables.

Lives here: the process that runs the days of one state folder (`python -m benchmarks.soak_year FOLDER`), which dies and
is started again, and the two of them side by side. Not here: what goes wrong (soak_market.py), comparing
(soak_tables.py), the day (day.py), printing (soak.py).

The journal in the folder says which steps of the running day are done, as Dagster's storage does: whoever comes after a
kill asks for what is missing.
"""

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import sqlalchemy as sa

from benchmarks.day import DayFunction, DayTold
from benchmarks.soak_market import SoakMarketResource, schedule_of
from benchmarks.soak_tables import folder_bytes, row_counts
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.repair import MAX_ATTEMPTS
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import Settings
from defiyield_assets.sources import transport
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.reconciliation import chain_of, differences, ledger_of, wealth_differences

FIRST = date(2025, 6, 3)
SHARE_OF_KILLS = 0.15
"""Days in the middle of which the process is killed."""
MARKS = (30, 90, 180, 365)
"""Days after which sizes are told."""
PLAN = "allocation"
QUICK = {
    "DEFIYIELD_PICTURES": "0",
    "DEFIYIELD_RETRY_DELAY_SECONDS": "0",
    "DEFIYIELD_COSTLY_BUDGET_SECONDS": "0",
    "DEFIYIELD_MARKET": "simulated",
}
"""Environment of the runs: nothing is drawn, retries follow at once, costly models have no time."""


@dataclass(frozen=True)
class YearOptions:
    """One run of the year."""

    folder: Path
    days: int
    pools: int
    seed: int
    faults_seed: int | None = None
    is_broken: bool = False
    """Nothing is healed: a test sees that the comparison finds it."""

    @property
    def command(self) -> list[str]:
        """The process that runs these days."""
        told = ["--days", str(self.days), "--pools", str(self.pools), "--seed", str(self.seed)]
        told += [] if self.faults_seed is None else ["--faults-seed", str(self.faults_seed)]
        told += ["--broken"] if self.is_broken else []
        return [sys.executable, "-m", "benchmarks.soak_year", str(self.folder), *told]

    @property
    def settings(self) -> Settings:
        """Settings of the installation in the folder."""
        url = f"sqlite:///{(self.folder / 'warehouse.sqlite').resolve()}"
        return Settings(
            market="simulated", state_dir=self.folder, database_url=url, config_dir=None, market_seed=self.seed
        )


class Journal:
    """Lines of JSON of what has happened in a state folder; one that a kill has torn does not count."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.jsonl"

    def note(self, **facts: Any) -> None:
        """Add a line; it is on the disk afterwards."""
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(facts) + "\n")
            log.flush()
            os.fsync(log.fileno())

    def lines(self, what: str) -> list[dict[str, Any]]:
        """All lines of a kind."""
        if not self._path.exists():
            return []
        read = [line for line in self._path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        return [facts for facts in map(json.loads, read) if facts["what"] == what]

    @property
    def n_days(self) -> int:
        """How many days are over."""
        return len(self.lines("day"))

    def done(self, day: date) -> set[str]:
        """Steps of the day that ended well."""
        return {line["step"] for line in self.lines("step") if line["day"] == str(day)}


class Year:
    """The days of one state folder."""

    def __init__(self, options: YearOptions) -> None:
        self._options = options
        self._journal = Journal(options.folder)

    @cached_property
    def _warehouse(self) -> WarehouseResource:
        settings = self._options.settings
        return WarehouseResource(url=settings.warehouse_url, market=settings.warehouse_market)

    @cached_property
    def _market(self) -> SoakMarketResource:
        options = self._options
        chain = str(options.settings.chain_path.resolve())
        return SoakMarketResource(
            market="simulated",
            chain_path=chain,
            seed=options.seed,
            pools=options.pools,
            faults_seed=options.faults_seed,
        )

    @cached_property
    def _function(self) -> DayFunction:
        return DayFunction(build_defs(self._options.settings, warehouse=self._warehouse, market=self._market))

    def run(self) -> None:
        """All days that are not over yet, in order."""
        for offset in range(self._journal.n_days, self._options.days):
            started = perf_counter()
            day = FIRST + timedelta(days=offset)
            told, repairs = self._run_day(day), 0
            while told.undone and repairs < MAX_ATTEMPTS and not self._options.is_broken:
                repairs += 1
                told = self._function.run(day, self._whole(day), partial(self._note_step, day))
            for line in told.breaks:
                self._journal.note(what="break", day=str(day), line=line)
            errors = [str(item) for item in self._differences(day)] if not told.undone else []
            struck = schedule_of(self._options.faults_seed, day).struck if self._options.faults_seed is not None else {}
            kinds = sorted({kind for kind, _, _ in struck})
            self._journal.note(
                **{"what": "day", "day": str(day), "seconds": perf_counter() - started, "repairs": repairs},
                **{
                    "faults": sum(struck.values()),
                    "kinds": kinds,
                    "differences": errors,
                    "undone": sorted(told.undone),
                },
            )
            if offset + 1 in MARKS or offset + 1 == self._options.days:
                sizes = folder_bytes(self._options.folder)
                self._journal.note(what="size", days=offset + 1, rows=row_counts(self._warehouse.engine), bytes=sizes)
            if told.undone and not self._options.is_broken:
                return

    def _note_step(self, day: date, step: str) -> None:
        self._journal.note(what="step", day=str(day), step=step)

    def _run_day(self, day: date) -> DayTold:
        """What is missing of the day, the disturbed run with its death on the way."""
        done, victim = self._journal.done(day), self._victim(day)
        if victim is not None and not [line for line in self._journal.lines("kill") if line["day"] == str(day)]:
            self._die_in(day, victim)
        if self._options.is_broken and self._journal.lines("kill"):
            return DayTold(day, skipped=["allocation"])
        return self._function.run(day, done, partial(self._note_step, day))

    def _victim(self, day: date) -> str | None:
        """The step during which the process dies; None on most days."""
        if self._options.faults_seed is None:
            return None
        drawn = random.Random(f"kill {self._options.faults_seed} {day}")
        steps = sorted(node.name for node in self._function.nodes if not node.is_check)
        return drawn.choice(steps) if drawn.random() < SHARE_OF_KILLS else None

    def _die_in(self, day: date, step: str) -> None:
        """From now on the first row that goes into a table of the step is this process's last act; a step that writes
        none is survived.
        """
        tables = next(node.tables for node in self._function.nodes if node.name == step)
        beginnings = tuple(f"INSERT INTO {table} " for table in tables)

        def before(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.startswith(beginnings):
                self._journal.note(what="kill", day=str(day), step=step)
                os.kill(os.getpid(), signal.SIGKILL)

        sa.event.listen(sa.Engine, "before_cursor_execute", before)

    def _whole(self, day: date) -> set[str]:
        """Steps that a repair leaves alone; where there is no plan yet, a degraded one is asked again, as by the
        repair sensor.
        """
        done = self._journal.done(day)
        if PLAN in done:
            return done
        told = reads.read_days(self._warehouse.engine, schema.asset_outcomes, DayRange.of(day))
        return done - set(told["asset"].str.removesuffix(":exchanges"))

    def _differences(self, day: date) -> list[Any]:
        """The ledger of the day against the chain, and wealth against the day before."""
        engine, simulation = self._warehouse.engine, self._market.simulation
        ledger = ledger_of(engine, day)
        found = differences(day, ledger, chain_of(simulation.chain, day))
        if day > FIRST:
            before = ledger_of(engine, day - timedelta(days=1))
            found += wealth_differences(simulation, engine, day, ledger, before)
        return found


def start(options: YearOptions) -> subprocess.Popen[bytes]:
    """The process of a run, its words in a file in the folder."""
    options.folder.mkdir(parents=True, exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DEFIYIELD_")}
    with (options.folder / "process.log").open("ab") as log:
        return subprocess.Popen(
            options.command, env={**ours, **QUICK}, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )


def run_side_by_side(runs: Sequence[YearOptions]) -> None:
    """All runs at once; one that was killed is started again until its days are over."""
    processes = {options.folder: (options, start(options)) for options in runs}
    try:
        while processes:
            for folder, (options, process) in list(processes.items()):
                try:
                    code = process.wait(timeout=1.0)
                except subprocess.TimeoutExpired:
                    continue
                if code == -signal.SIGKILL:
                    processes[folder] = (options, start(options))
                    continue
                del processes[folder]
                if code:
                    raise RuntimeError(f"a run ended with {code}: {folder / 'process.log'} says why")
    finally:
        for _, process in processes.values():
            process.kill()


def parsed(arguments: Sequence[str]) -> YearOptions:
    """Options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_year")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, required=True)
    parser.add_argument("--pools", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--faults-seed", type=int)
    parser.add_argument("--broken", action="store_true", dest="is_broken")
    return YearOptions(**vars(parser.parse_args(arguments)))


def main() -> None:
    """Run the days of the folder that are not over."""
    transport.BACKOFF_SECONDS = 0.001  # waiting is no part of what is compared
    logging.disable(logging.WARNING)
    Year(parsed(sys.argv[1:])).run()


if __name__ == "__main__":
    main()
