"""Machines of a cluster as processes: a Redis broker, Celery's workers, an installation on PostgreSQL.

Lives here: starting, watching and killing them. Not here: the driver of runs (launching.py), what is asserted.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import redis
import sqlalchemy as sa
import yaml

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.dagster_processes import DagsterHome, end_group, free_port, wait_for
from defiyield_assets_tests.programs import find_program

PATIENCE_SECONDS = 600.0
"""Far more than anything here takes, on a machine that has much else to do."""
WORKER = "defiyield_assets.orchestration.celery_worker"


@dataclass(frozen=True)
class Broker:
    """A running Redis server that asks for a password."""

    port: int
    password: str
    number: int = 0

    @property
    def url(self) -> str:
        """Its address, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{self.number}"

    @property
    def client(self) -> Any:
        """A connection of our own."""
        return redis.Redis.from_url(self.url)


@contextmanager
def broker_running(folder: Path) -> Iterator[Broker]:
    """A Redis server on a free loopback port."""
    program = find_program("redis-server", "redis-server")
    broker = Broker(free_port(), secrets.token_hex(16))
    settings = folder / "redis.conf"
    settings.touch(mode=0o600)
    settings.write_text(
        f'bind 127.0.0.1\nport {broker.port}\nrequirepass {broker.password}\nsave ""\nappendonly no\ndir {folder}\n',
        encoding="utf-8",
    )
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([program, str(settings)], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for("redis-server to answer", lambda: _answers(broker), PATIENCE_SECONDS)
        yield broker
    finally:
        end_group(process)


def _answers(broker: Broker) -> bool | None:
    try:
        return bool(broker.client.ping())
    except redis.ConnectionError:
        return None


@dataclass(frozen=True)
class Cluster:
    """An installation whose steps run on Celery's workers, and what its processes see of the world."""

    installation: DagsterHome
    broker: Broker | None
    warehouse_url: str
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def worker_log(self, name: str) -> str:
        """What the worker has said."""
        return (self.installation.state / f"{name}.log").read_text(encoding="utf-8")

    @contextmanager
    def working(self, *names: str) -> Iterator[None]:
        """Workers of these names, each a process that does one step at a time, ready when the block begins."""
        with ExitStack() as stack:
            for name in names:
                options = ("--pool", "solo", "--without-gossip", "--without-mingle", "-l", "INFO", "-n", f"{name}@%h")
                log = self.installation.state / f"{name}.log"
                process = self.installation.started("celery", "-A", WORKER, "worker", *options, log=log)
                self.workers[name] = stack.enter_context(process)
            for name in names:
                wait_for(f"worker {name}", lambda name=name: self._is_ready(name), PATIENCE_SECONDS)
            yield

    def _is_ready(self, name: str) -> bool | None:
        said = self.worker_log(name)
        assert self.workers[name].poll() is None, said[-4000:]
        return True if " ready." in said else None

    def has_begun(self, name: str) -> bool:
        """Whether the worker has been given a step."""
        return "] received" in self.worker_log(name)

    def kill(self, name: str) -> None:
        """A power cut of the worker's machine."""
        os.killpg(self.workers[name].pid, signal.SIGKILL)
        self.workers[name].wait()

    def launch(self, assets: Sequence[str], *days: str) -> subprocess.Popen[str]:
        """Begin a run of the assets for each day, all at once."""
        command = [sys.executable, "-m", "defiyield_assets_tests.cluster.launching", ",".join(assets), *days]
        return subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=self.installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, assets: Sequence[str], *days: str, timeout_seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """The same, to their end."""
        return finish(self.launch(assets, *days), timeout_seconds)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's storage of the cluster."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.installation.variables.items():
                patch.setenv(name, value)
            with dg.DagsterInstance.from_config(str(self.installation.home)) as instance:
                yield instance

    def steps_by_worker(self, run_id: str) -> dict[str, list[str]]:
        """Worker -> the steps that it executed, in their order, as Dagster's event log tells it."""
        steps: dict[str, list[str]] = {}
        with self.instance() as instance:
            for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
                event = entry.dagster_event
                if event is None or "in celery worker" not in (event.message or ""):
                    continue
                host = str(event.engine_event_data.metadata["Celery worker"].value).split("@")[0]
                steps.setdefault(host, []).append(str(event.step_key))
        return steps


def finish(process: subprocess.Popen[str], timeout_seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
    """What became of the runs of a driver; it and its processes are ended when they take too long."""
    try:
        out, errors = process.communicate(timeout=timeout_seconds)
    finally:
        end_group(process)
    assert process.returncode == 0, errors[-6000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def make_cluster(folder: Path, dagster: sa.URL, warehouse: str, broker: Broker | None, **variables: str) -> Cluster:
    """Lay out a home with the dagster.yaml of deployments; its storage is the database at the URL `dagster`."""
    celery = {} if broker is None else {"DEFIYIELD_EXECUTOR": "celery", "DEFIYIELD_CELERY_BROKER_URL": broker.url}
    installation = DagsterHome.make(
        folder,
        DEFIYIELD_DATABASE_URL=warehouse,
        DEFIYIELD_RETRY_DELAY_SECONDS="0",
        DEFIYIELD_DAGSTER_PG_HOST=dagster.host or "",
        DEFIYIELD_DAGSTER_PG_USER=dagster.username or "",
        DEFIYIELD_DAGSTER_PG_PASSWORD=dagster.password or "",
        DEFIYIELD_DAGSTER_PG_DB=dagster.database or "",
        PGHOST=str(dagster.query.get("host", "")),
        **celery,
        **variables,
    )
    told = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.postgres.yaml").read_text(encoding="utf-8"))
    told["storage"]["postgres"]["postgres_db"]["port"] = dagster.port or 5432
    (installation.home / "dagster.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    return Cluster(installation, broker, warehouse)
