"""A Dagster installation of its own for a test: home, state, and the real webserver and daemon as processes.

Lives here: starting, asking and ending them. Not here: what is asserted about them (test_daemon.py).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from defiyield_assets.settings import PROJECT_ROOT

T = TypeVar("T")
BIN = Path(sys.executable).parent
GRACE_SECONDS = 15.0
"""How long a process may take to end by itself before it is killed."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class DagsterHome:
    """A clean DAGSTER_HOME with the repository's dagster.yaml, and a clean state folder."""

    home: Path
    state: Path
    variables: dict[str, str]

    @classmethod
    def make(cls, folder: Path, **variables: str) -> "DagsterHome":
        """Lay it out below `folder`; `variables` are further environment variables of everything that runs in it."""
        home, state = folder / "home", folder / "state"
        home.mkdir(parents=True)
        state.mkdir()
        shutil.copy(PROJECT_ROOT / "dagster.yaml", home)
        return cls(
            home,
            state,
            {
                "DAGSTER_HOME": str(home),
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "DEFIYIELD_STATE_DIR": str(state),
                "DEFIYIELD_MARKET": "simulated",
                "NO_PROXY": "127.0.0.1,localhost",
                **variables,
            },
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes: ours without what configures another installation."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("DEFIYIELD_", "DAGSTER_"))}
        return {**ours, **self.variables}

    def command(self, program: str, *arguments: str) -> list[str]:
        """A program of this virtual environment with its arguments."""
        return [str(BIN / program), *arguments]

    def run(self, program: str, *arguments: str, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, output captured; it and its children are killed when it takes too long."""
        with self.started(program, *arguments, log=self.state / f"{program}.log") as process:
            process.wait(timeout=timeout_seconds)
        said = (self.state / f"{program}.log").read_text(encoding="utf-8")
        return subprocess.CompletedProcess(process.args, process.returncode, stdout=said)

    @contextmanager
    def started(self, program: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Start a program in a process group of its own, its output in `log`; end the whole group afterwards."""
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.command(program, *arguments),
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a process started in its own session to end, then kill whatever is left of its group."""
    for number, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(what: str, look: Callable[[], T | None], timeout_seconds: float) -> T:
    """Look again and again until there is something to see; AssertionError with `what` when time is up."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        seen = look()
        if seen is not None:
            return seen
        assert time.monotonic() < deadline, f"waited {timeout_seconds:.0f} s for {what}"
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Webserver:
    """A running webserver, asked over HTTP as the UI asks it."""

    url: str
    client: httpx.Client

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of one GraphQL operation; AssertionError with the errors when it has any."""
        response = self.client.post("/graphql", json={"query": query, "variables": variables})
        answer = response.json()
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])


@contextmanager
def webserver(installation: DagsterHome, workspace: Sequence[str]) -> Iterator[Webserver]:
    """Start dagster-webserver on a free loopback port and wait until it answers."""
    port, log = free_port(), installation.state / "webserver.log"
    arguments = ["--host", "127.0.0.1", "--port", str(port), *workspace]
    with (
        installation.started("dagster-webserver", *arguments, log=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False) as client,
    ):

        def answers() -> Webserver | None:
            assert process.poll() is None, f"dagster-webserver ended:\n{log.read_text(encoding='utf-8')[-4000:]}"
            try:
                client.get("/server_info").raise_for_status()
            except httpx.HTTPError:
                return None
            return Webserver(str(client.base_url), client)

        yield wait_for("dagster-webserver to answer", answers, 120.0)


@contextmanager
def daemon(installation: DagsterHome, workspace: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start dagster-daemon."""
    log = installation.state / "daemon.log"
    with installation.started("dagster-daemon", "run", *workspace, log=log) as process:
        yield process
