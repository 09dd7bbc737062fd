"""A year unattended: the days of one state folder through the pure day function, in a process that may die on the way.

Lives here: the process (`python -m benchmarks.soak_year FOLDER`). Not here: starting it again, two of them side by side
(soak_runs.py), what goes wrong (soak_market.py), comparing (soak_tables.py), the day (day.py), printing (soak.py).

The journal in the folder says which steps of the running day are done, as Dagster's storage does: whoever comes after a
kill asks for what is missing. A kill strikes in the middle of a write, or when a step has written but nobody knows yet.
"""

import argparse
import logging
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from benchmarks.day import DayFunction, DayTold
from benchmarks.soak_folder import Journal, YearOptions, pace_of
from benchmarks.soak_market import SoakMarketResource
from benchmarks.soak_tables import folder_bytes, row_counts
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.repair import MAX_ATTEMPTS
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.sources import transport
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.reconciliation import Difference, chain_of, differences, ledger_of, wealth_differences

FIRST = date(2025, 6, 3)
SHARE_OF_KILLS = 0.12
"""Days in the middle of which the process is killed."""
MARKS = (1, 30, 90, 180, 365)
"""Days after which sizes are told."""
PLAN = "allocation"
POLL_SECONDS = 0.5
KIB_PER_MIB = 1024


class Death(NamedTuple):
    """When the process is killed: during which step, and whether that has written then."""

    step: str
    is_written: bool


class Year:
    """The days of one state folder."""

    def __init__(self, options: YearOptions) -> None:
        self._options = options
        self._journal = Journal(options.folder)
        self._death: Death | None = None

    @cached_property
    def warehouse(self) -> WarehouseResource:
        """The warehouse of the folder."""
        settings = self._options.settings
        return WarehouseResource(url=settings.warehouse_url, market=settings.warehouse_market)

    @cached_property
    def market(self) -> SoakMarketResource:
        """The market of the folder with its faults."""
        options = self._options
        return SoakMarketResource(
            market="simulated",
            chain_path=str(options.settings.chain_path.resolve()),
            seed=options.seed,
            pools=options.pools,
            faults_seed=options.faults_seed,
        )

    @cached_property
    def function(self) -> DayFunction:
        """The day over the resources of the folder."""
        return DayFunction(build_defs(self._options.settings, warehouse=self.warehouse, market=self.market))

    def run(self) -> None:
        """All days that are not over yet, in order, as far as the pace allows."""
        for offset in range(self._journal.n_days, self._options.days):
            if not self._is_allowed(offset):
                break
            is_whole = self._run_day(FIRST + timedelta(days=offset))
            if offset + 1 in MARKS:
                self._note_size()
            if not is_whole and not self._options.is_broken:
                break
        self._note_size()

    def _is_allowed(self, offset: int) -> bool:
        """Wait until the day may begin; False when it never may."""
        pace = pace_of(self._options.folder.parent)
        while (allowed := pace.lines("allowed")) and offset >= allowed[-1]["days"]:
            if pace.lines("stop"):
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _run_day(self, day: date) -> bool:
        """What is missing of the day, then what fails of it again; whether it is whole in the end."""
        if not self._journal.lines("begin", day):
            self._journal.note("begin", day=str(day), at=time.time())
        self._death = self._drawn_death(day)
        repairs = len(self._journal.lines("repair", day))
        told = self._pass(day, self._whole(day) if repairs else self._journal.done(day))
        while told.undone and repairs < MAX_ATTEMPTS and not self._options.is_broken:
            repairs += 1
            self._journal.note("repair", day=str(day), number=repairs)
            told = self._pass(day, self._whole(day))
        found = self._differences(day) if not told.undone else []
        self._journal.note(
            "day",
            day=str(day),
            seconds=time.time() - self._journal.lines("begin", day)[0]["at"],
            **self._struck(day),
            differences=[str(item) for item in found],
            base_units=sum(item.base_units for item in found),
            undone=sorted(told.undone),
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB,
        )
        return not told.undone

    def _pass(self, day: date, done: set[str]) -> DayTold:
        """The day once; what broke is noted."""
        if self._options.is_broken and self._journal.lines("kill", day):
            return DayTold(day, skipped=[PLAN])
        told = self.function.run(day, done, partial(self._note_step, day))
        for line in told.breaks:
            self._journal.note("break", day=str(day), line=line)
        return told

    def _note_step(self, day: date, step: str) -> None:
        if self._death == Death(step, is_written=True):
            self._die(day)
        self._journal.note("step", day=str(day), step=step)

    def _struck(self, day: date) -> dict[str, Any]:
        """The faults of the day in this process."""
        schedule = self.market.schedule(day)
        struck = {} if schedule is None else schedule.struck
        return {"faults": sum(struck.values()), "kinds": sorted({kind for kind, _, _ in struck})}

    def _note_size(self) -> None:
        n_days = self._journal.n_days
        if n_days and [line["days"] for line in self._journal.lines("size")][-1:] != [n_days]:
            sizes = folder_bytes(self._options.folder)
            self._journal.note("size", days=n_days, rows=row_counts(self.warehouse.engine), bytes=sizes)

    def _drawn_death(self, day: date) -> Death | None:
        """How this process dies on the day; None on most days, and when another has died on it."""
        if self._options.faults_seed is None or self._journal.lines("kill", day):
            return None
        drawn = random.Random(f"kill {self._options.faults_seed} {day}")
        if drawn.random() >= SHARE_OF_KILLS:
            return None
        steps = sorted(node.name for node in self.function.nodes if not node.is_check)
        death = Death(drawn.choice(steps), drawn.random() < 0.5)
        if not death.is_written:
            self._die_at_the_first_row(day, death)
        return death

    def _die_at_the_first_row(self, day: date, death: Death) -> None:
        """A row for a table of the step will be this process's last act; a step that writes none is survived."""
        tables = next(node.tables for node in self.function.nodes if node.name == death.step)
        beginnings = tuple(f"INSERT INTO {table} " for table in tables)

        def before(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
            if self._death is death and statement.startswith(beginnings):
                self._die(day)

        sa.event.listen(sa.Engine, "before_cursor_execute", before)

    def _die(self, day: date) -> None:
        step, is_written = self._death or Death("", is_written=False)
        self._journal.note("kill", day=str(day), step=step, is_written=is_written, **self._struck(day))
        os.kill(os.getpid(), signal.SIGKILL)

    def _whole(self, day: date) -> set[str]:
        """Steps that a repair leaves alone; where there is no plan yet, a degraded one is asked again, as by the
        repair sensor.
        """
        done = self._journal.done(day)
        if PLAN in done:
            return done
        told = reads.read_days(self.warehouse.engine, schema.asset_outcomes, DayRange.of(day))
        return done - set(told["asset"].str.removesuffix(":exchanges"))

    def _differences(self, day: date) -> list[Difference]:
        """The ledger of the day against the chain, and wealth against the day before."""
        engine, simulation = self.warehouse.engine, self.market.simulation
        ledger = ledger_of(engine, day)
        found = differences(day, ledger, chain_of(simulation.chain, day))
        if day > FIRST:
            before = ledger_of(engine, day - timedelta(days=1))
            found += wealth_differences(simulation, engine, day, ledger, before)
        return found


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
