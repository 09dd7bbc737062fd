"""`defiyield metrics serve` and `show`: the figures of this installation as Prometheus reads them.

Lives here: which groups of figures there are and what they ask, the life of the server. Not here: the figures
(observability/, orchestration/instance_figures.py), options (watch_arguments.py).
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from shutil import disk_usage

import dagster as dg
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from rich.console import Console

from defiyield_assets.cli.dagster_home import open_instance
from defiyield_assets.cli.output import Terminal, write_json
from defiyield_assets.definitions import build_defs
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability import archive, warehouse
from defiyield_assets.observability.budgets import budget_figures
from defiyield_assets.observability.collector import LONG_SECONDS, FigureCollector, Reading
from defiyield_assets.observability.families import Sample
from defiyield_assets.observability.server import LOOPBACK, serving
from defiyield_assets.observability.warehouse import NO_DAY
from defiyield_assets.orchestration import instance_figures
from defiyield_assets.orchestration.instance_figures import Graph
from defiyield_assets.orchestration.resources import live_vendors
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.sources.pacing import account_of
from defiyield_assets.store.engine import head_revision

PARTITION_SECONDS = 60.0
"""How long the newest days of assets are kept: a question for each asset."""


class Watched:
    """The stores of an installation, each opened when it is first asked; one that fails is opened again.

    Each has a lock of its own: whoever waits for one that is away keeps nobody from the other.
    """

    def __init__(self, settings: Settings, backups: Path | None = None) -> None:
        self._settings = settings
        self._backups = backups
        self._warehouse_lock, self._dagster_lock = threading.Lock(), threading.Lock()
        self._engine: sa.Engine | None = None
        self._instance: dg.DagsterInstance | None = None

    @property
    def engine(self) -> sa.Engine:
        """The warehouse, for reading only."""
        with self._warehouse_lock:
            self._engine = self._engine or warehouse.open_for_reading(self._settings.warehouse_url)
            return self._engine

    @property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance."""
        with self._dagster_lock:
            self._instance = self._instance or open_instance(self._settings)
            return self._instance

    @cached_property
    def graph(self) -> Graph:
        """Names of jobs, assets and checks."""
        return Graph.of(build_defs(self._settings))

    def close(self) -> None:
        """Give connections back."""
        if self._engine is not None:
            self._engine.dispose()
        if self._instance is not None:
            self._instance.dispose()

    def readings(self) -> tuple[Reading, ...]:
        """All groups of figures."""

        def of_warehouse(read: Callable[[sa.Engine], list[Sample]]) -> Callable[[], list[Sample]]:
            return lambda: read(self.engine)

        return (
            Reading("program", self._program),
            Reading("backup", self._backup),
            Reading("warehouse", of_warehouse(warehouse.is_up), store="warehouse"),
            Reading("plan", of_warehouse(warehouse.plan_figures)),
            Reading("ledger", of_warehouse(warehouse.ledger_figures)),
            Reading("outcomes", of_warehouse(warehouse.outcome_figures)),
            Reading("budgets", self._budgets),
            Reading("requests", of_warehouse(archive.request_figures), LONG_SECONDS),
            Reading("bodies", of_warehouse(archive.body_figures), LONG_SECONDS),
            Reading("sizes", of_warehouse(warehouse.size_figures), LONG_SECONDS),
            Reading("daemons", lambda: instance_figures.daemon_figures(self.instance), store="dagster"),
            Reading("runs", lambda: instance_figures.run_figures(self.instance, self.graph.jobs), PARTITION_SECONDS),
            Reading("partitions", self._partitions, PARTITION_SECONDS),
            Reading("checks", lambda: instance_figures.check_figures(self.instance, self.graph.checks)),
            Reading("event_log", self._event_log, LONG_SECONDS),
        )

    def _program(self) -> list[Sample]:
        """What runs, and on which disk."""
        settings = self._settings
        labels = (version("defiyield-assets"), head_revision(), settings.warehouse_market)
        folder = settings.state_path.resolve()
        disk = disk_usage(next(one for one in (folder, *folder.parents) if one.exists()))
        found = [Sample("build_info", 1.0, labels)]
        found += [Sample("disk_free_bytes", float(disk.free)), Sample("disk_size_bytes", float(disk.total))]
        return found

    def _backup(self) -> list[Sample]:
        """When the newest archive of the folder was finished: those that begin with a dot are still written.

        A folder that is not there is a failure: perhaps it is not mounted, and nobody would miss the backups.
        """
        if self._backups is None:
            return []
        if not self._backups.is_dir():
            raise ConfigurationError(f"there is no folder {self._backups}: name that of the backups with --backups")
        made = (path.stat().st_mtime for path in self._backups.glob("[!.]*.zip"))
        return [Sample("backup_timestamp_seconds", max(made, default=NO_DAY))]

    def _budgets(self) -> list[Sample]:
        """Only a live market has any: the others count nothing."""
        if self._settings.market != "live":
            return []
        accounts = [account_of(vendor) for vendor in live_vendors(self._settings).values()]
        return budget_figures(self.engine, accounts, datetime.now(UTC))

    def _partitions(self) -> list[Sample]:
        found = instance_figures.partition_figures(self.instance, self.graph)
        return [*found, *instance_figures.archive_figures(self.instance, self.graph.daily_assets)]

    def _event_log(self) -> list[Sample]:
        return instance_figures.event_log_figures(self.instance, self._settings.state_path.resolve())


class _Collected(CollectorRegistry):
    """Families that were collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        super().__init__()
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        """They, once more."""
        yield from self._families


def show(backups: Path | None, patience: float, *, is_json: bool) -> int:
    """The figures once, as text of Prometheus or as JSON; 1 when some could not be read."""
    watched = Watched(load_settings(), backups)
    collector = FigureCollector(watched.readings(), patience_seconds=patience)
    try:
        families = list(collector.collect())
    finally:
        collector.close()
        watched.close()
    failed = [
        sample.labels["reading"]
        for family in families
        for sample in family.samples
        if sample.name == "defiyield_reading_success" and not sample.value
    ]
    if is_json:
        write_json(
            [{"name": one.name, "labels": one.labels, "value": one.value} for f in families for one in f.samples]
        )
    else:
        sys.stdout.write(generate_latest(_Collected(families)).decode())
    if failed:
        Terminal(is_error=True).print(f"could not be read: {', '.join(failed)}", soft_wrap=True)
    return 1 if failed else 0


def serve(console: Console, host: str, port: int, backups: Path | None, *, is_json: bool) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    watched = Watched(load_settings(), backups)
    collector = FigureCollector(watched.readings())
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        with serving(registry, host, port) as address:
            _tell_start(console, address, host, is_json=is_json)
            ended.wait()
    finally:
        collector.close()
        watched.close()
    return 0


def _tell_start(console: Console, address: str, host: str, *, is_json: bool) -> None:
    if host not in LOOPBACK:
        console.print(f"[bold red]warning:[/] {host} is open to other machines, without any login")
    if is_json:
        write_json({"metrics": f"{address}/metrics", "healthz": f"{address}/healthz"}, is_line=True)
    else:
        console.print(f"metrics on {address}/metrics, liveness on {address}/healthz; Ctrl-C ends it", soft_wrap=True)
