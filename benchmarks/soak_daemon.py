"""Days through Dagster's own processes on PostgreSQL: daemon, code server and run workers, all of which die.

`python -m benchmarks.soak_daemon --days 30`. Dagster's storage and the warehouse are two databases of one server. By a
seed, vendors fail, and on most days a run's process is killed (-9), or the daemon is, or PostgreSQL is restarted at
once. What heals is Dagster's (retries of runs, orphaned runs) and the product's (repair sensor); this program only
starts services again, as systemd does, and waits. The same days are made undisturbed by soak_year.py; at the end all
tables are compared, and a cleaning with short limits shows what it removes.

Not here: services (soak_services.py), the code location (soak_location.py), a year (soak.py --pure).
"""

import argparse
import logging
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from rich.console import Console
from rich.table import Table

from benchmarks.soak_folder import YearOptions
from benchmarks.soak_location import DAY_FILE, FAULTS_SEED, POOLS
from benchmarks.soak_market import UNIVERSE_FOLDER, write_universe
from benchmarks.soak_runs import QUICK, run_side_by_side
from benchmarks.soak_services import DAEMON, Server, Services
from benchmarks.soak_tables import TableDifference, compare, compare_chains
from benchmarks.soak_year import FIRST
from benchmarks.targets import finish
from defiyield_assets.definitions import build_defs
from defiyield_assets.orchestration.retention import clean
from defiyield_assets.settings import Settings
from defiyield_assets.store.engine import make_engine, upgrade
from defiyield_assets_tests.dagster_processes import DagsterHome
from defiyield_assets_tests.databases import postgres_database, url_text
from defiyield_assets_tests.postgres_home import instance_of, make_home

SEED = 7
KILL_RUN, KILL_DAEMON, RESTART = "kill -9 of the run", "kill -9 of the daemon", "restart of PostgreSQL"
SHARE_OF_BLOWS = 0.75
MOST_STEPS = 40
"""A blow falls after at most so many steps of the day."""
POLL_SECONDS = 3.0
STUCK_SECONDS = 1_500.0
"""A day that is not whole by then is given up, and the days end."""
SETTLE_SECONDS = 240.0
"""Dagster frees the places of a run that died a minute after it ended (deploy/dagster.postgres.yaml)."""
PID = re.compile(r"pid: (\d+)")
MIB = 2**20
LARGEST = 16
"""Tables whose sizes are told."""
QUICK_HEALING = {
    "DEFIYIELD_REPAIR_INTERVAL_SECONDS": "5",
    "DEFIYIELD_REPAIR_FIRST_DELAY_SECONDS": "20",
    "DEFIYIELD_REPAIR_LOOKBACK_DAYS": "1",
}
SHORT_RETENTION = {"retention_archive_days": 1, "retention_runs_days": 1, "retention_logs_days": 1}


@dataclass(frozen=True)
class Blow:
    """What befalls a day, and after how many of its steps."""

    kind: str
    after_steps: int


@dataclass
class DaysTold:
    """What happened."""

    seconds: list[float] = field(default_factory=list)
    blows: Counter[str] = field(default_factory=Counter)
    stuck: list[date] = field(default_factory=list)


def blow_of(seed: int, number: int, day: date) -> Blow | None:
    """The first days are struck each in another way, the others by the seed."""
    drawn = random.Random(f"blow {seed} {day}")
    steps, chance, kind = drawn.randint(3, MOST_STEPS), drawn.random(), drawn.choice((KILL_RUN, KILL_DAEMON, RESTART))
    kinds = (KILL_RUN, RESTART, KILL_DAEMON)
    if number < len(kinds):
        return Blow(kinds[number], steps)
    return Blow(kind, steps) if chance < SHARE_OF_BLOWS else None


class DaemonDays:
    """The days of one installation, asked of the daemon one after another."""

    def __init__(self, home: DagsterHome, services: Services, server: Server, settings: Settings, seed: int) -> None:
        self._home, self._services, self._server, self._seed = home, services, server, seed
        graph = build_defs(settings).resolve_asset_graph()
        self._keys = [key for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags]
        self.told = DaysTold()

    def run(self, days: int, console: Console) -> None:
        """Day after day; the first that does not become whole ends it."""
        for number in range(days):
            day, started = FIRST + timedelta(days=number), time.monotonic()
            (self._home.state / DAY_FILE).write_text(str(day), encoding="utf-8")
            is_whole = self._make(day, blow_of(self._seed, number, day), started + STUCK_SECONDS)
            self.told.seconds.append(time.monotonic() - started)
            console.print(f"{day}: {self.told.seconds[-1]:.0f} s, {self._runs_of(day)}", markup=False)
            if not is_whole:
                self.told.stuck.append(day)
                return

    def settle(self) -> "Leftovers":
        """What is left when Dagster has had time to give back the places of runs that died."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (left := leftovers(self._home)) != Leftovers(0, 0) and time.monotonic() < deadline:
            self._services.watch()
            time.sleep(POLL_SECONDS)
        return left

    def _make(self, day: date, blow: Blow | None, deadline: float) -> bool:
        """Wait until the day is whole, the blow on the way; False when time is over."""
        while time.monotonic() < deadline:
            self._services.watch()
            try:
                with instance_of(self._home) as instance:
                    if blow is not None and self._n_steps(instance, day) >= blow.after_steps:
                        if self._strike(instance, day, blow.kind):
                            blow = None
                    elif self._is_whole(instance, day):
                        return True
            except sa.exc.OperationalError:
                logging.getLogger(__name__).info("PostgreSQL does not answer yet")
            time.sleep(POLL_SECONDS)
        return False

    def _runs(self, instance: dg.DagsterInstance, day: date) -> Sequence[dg.DagsterRun]:
        return instance.get_runs(dg.RunsFilter(tags={"dagster/partition": day.isoformat()}))

    def _n_steps(self, instance: dg.DagsterInstance, day: date) -> int:
        ended = dg.DagsterEventType.STEP_SUCCESS
        return sum(len(instance.all_logs(run.run_id, of_type=ended)) for run in self._runs(instance, day))

    def _is_whole(self, instance: dg.DagsterInstance, day: date) -> bool:
        """No run of the day is on its way, and all its assets are made."""
        runs = self._runs(instance, day)
        if not runs or any(run.status in NOT_FINISHED_STATUSES for run in runs):
            return False
        return all(day.isoformat() in instance.get_materialized_partitions(key) for key in self._keys)

    def _strike(self, instance: dg.DagsterInstance, day: date, kind: str) -> bool:
        """Whether it could be done: a run that has just ended cannot be killed."""
        if kind == KILL_DAEMON:
            self._services.kill(DAEMON)
        elif kind == RESTART:
            self._server.restart()
        elif not self._kill_run(instance, day):
            return False
        self.told.blows[kind] += 1
        return True

    def _kill_run(self, instance: dg.DagsterInstance, day: date) -> bool:
        for run in self._runs(instance, day):
            events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            found = [match for event in events if (match := PID.search(event.message or ""))]
            if run.status == dg.DagsterRunStatus.STARTED and found:
                os.kill(int(found[0].group(1)), signal.SIGKILL)
                return True
        return False

    def _runs_of(self, day: date) -> str:
        with instance_of(self._home) as instance:
            told = Counter(
                f"{'repair' if 'defiyield/repair_of' in run.tags else 'retry' if run.parent_run_id else 'run'} "
                f"{run.status.value.lower()}"
                for run in self._runs(instance, day)
            )
        return ", ".join(f"{count} {what}" for what, count in sorted(told.items()))


@dataclass(frozen=True)
class Leftovers:
    """What must not be left when all days are over."""

    unfinished: int
    held_slots: int


def leftovers(home: DagsterHome) -> Leftovers:
    """Runs that never ended, and places in pools that nobody gave back."""
    with instance_of(home) as instance:
        unfinished = instance.get_runs_count(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))
        storage = instance.event_log_storage
        held = sum(len(storage.get_concurrency_info(key).claimed_slots) for key in storage.get_concurrency_keys())
    return Leftovers(unfinished, held)


def sizes_of(engine: sa.Engine, whose: str) -> dict[str, int]:
    """Bytes of the database and of its tables with their indices."""
    asked = (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with engine.connect() as connection:
        found = {f"{whose}: {name}": int(size) for name, size in connection.exec_driver_sql(asked)}
        whole = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return {f"{whose}, the whole database": int(whole), **found}


def clean_up(home: DagsterHome, engine: sa.Engine, dagster: sa.Engine, settings: Settings) -> Table:
    """Forget all that is older than a day, as if the last run were two days ago; sizes before and after."""

    def sizes() -> dict[str, int]:
        return {**sizes_of(engine, "warehouse"), **sizes_of(dagster, "Dagster")}

    before, short = sizes(), settings.model_copy(update=SHORT_RETENTION)
    with instance_of(home) as instance:
        done = clean(engine, instance, short, datetime.now(UTC) + timedelta(days=2))
    for one in (engine, dagster):
        with one.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM FULL")
    after, runs = sizes(), done.runs
    title = f"Cleaning: {runs.deleted} runs deleted, {runs.cut} cut down, logs of {runs.without_logs}; then VACUUM FULL"
    table = Table(title=title, title_justify="left", box=None)
    for header in ("table", "MiB before", "MiB after"):
        table.add_column(header, justify="left" if header == "table" else "right")
    for name in sorted(before, key=lambda one: -before[one])[:LARGEST]:
        table.add_row(name, f"{before[name] / MIB:,.1f}", f"{after.get(name, 0) / MIB:,.1f}")
    return table


def undisturbed(folder: Path, days: int, pools: int) -> YearOptions:
    """The same days with nothing in the way, made here and now."""
    options = YearOptions(folder / "undisturbed", days, pools, SEED)
    run_side_by_side([options])
    return options


def differences_from(calm: YearOptions, settings: Settings, engine: sa.Engine) -> list[TableDifference]:
    """All tables of both warehouses, and the chains."""
    other = make_engine(calm.settings.warehouse_url)
    try:
        return compare(other, engine) + compare_chains(calm.settings.chain_path, settings.chain_path)
    finally:
        other.dispose()


def soak(folder: Path, days: int, pools: int, faults_seed: int, console: Console) -> Mapping[str, float]:
    """Both runs of the days, what is left over and what differs; figures of the closing line."""
    server = Server(folder / "postgres")
    with ExitStack() as stack:
        stack.callback(server.stop)
        warehouse, storage = (stack.enter_context(postgres_database(server.url)) for _ in range(2))
        home = make_home(folder / "dagster", warehouse, storage)
        write_universe(home.state)
        settings = Settings(
            market="simulated",
            state_dir=home.state,
            database_url=url_text(warehouse),
            config_dir=home.state / UNIVERSE_FOLDER,
            market_seed=SEED,
        )
        engine, dagster = make_engine(settings.warehouse_url), make_engine(url_text(storage))
        stack.callback(engine.dispose)
        stack.callback(dagster.dispose)
        upgrade(engine)
        variables = {**QUICK, **QUICK_HEALING, "DEFIYIELD_CONFIG_DIR": str(settings.config_dir)}
        variables |= {"DEFIYIELD_MARKET_SEED": str(SEED), POOLS: str(pools), FAULTS_SEED: str(faults_seed)}
        home.variables.update(variables)
        (home.state / DAY_FILE).write_text(str(FIRST), encoding="utf-8")
        services = Services(home, variables)
        stack.callback(services.end)
        made = DaemonDays(home, services, server, settings, faults_seed)
        made.run(days, console)
        left = made.settle()
        services.end()
        found = differences_from(undisturbed(folder, len(made.told.seconds), pools), settings, engine)
        for item in (item for item in found if item.differing):
            console.print(f"{item.table}: {item.differing} of {item.rows} rows differ, {item.example}", markup=False)
        console.print(clean_up(home, engine, dagster, settings))
    told = made.told
    return {
        "days": len(told.seconds) - len(told.stuck),
        "differing_rows_vs_undisturbed": sum(item.differing for item in found),
        "compared_rows": sum(item.rows for item in found),
        "stuck_runs": left.unfinished + len(told.stuck),
        "held_slots": left.held_slots,
        "kills_of_runs": told.blows[KILL_RUN],
        "kills_of_daemons": told.blows[KILL_DAEMON],
        "restarts_of_postgres": told.blows[RESTART],
        "services_started_again": services.deaths.total(),
        "seconds_per_day": sum(told.seconds) / max(1, len(told.seconds)),
    }


def main() -> int:
    """Print what happened and the closing line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_daemon")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--pools", type=int, default=12)
    parser.add_argument("--faults-seed", type=int, default=SEED)
    parser.add_argument("--state", type=Path, help="folder for everything, new; default: thrown away")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="defiyield-soak-") as temporary:
        folder = Path(temporary) if given.state is None else given.state
        folder.mkdir(parents=True, exist_ok=True)
        return finish("soak", soak(folder, given.days, given.pools, given.faults_seed, Console(width=150)))


if __name__ == "__main__":
    sys.exit(main())
