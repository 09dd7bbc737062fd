"""The services of compose.yaml started together without containers: their commands, variables, secrets and roles.

A run is launched through the web server as the UI does; it is at work in the code server as `defiyield_writer`. What
containers would give is translated: hosts, ports, mounted paths, and the graph's module, which here has a small market.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.dagster_processes import BIN, Webserver, end_group, free_port, wait_for
from defiyield_assets_tests.databases import url_text
from defiyield_assets_tests.deploy.files import (
    DEPLOY,
    Roles,
    compose,
    image_environment,
    roles_on,
    without_settings,
)
from defiyield_assets_tests.installations import FIRST

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
PATIENCE_SECONDS = 600.0
"""Far more than anything here takes, on a machine that has much else to do."""
MATERIALISED = ("policy_snapshot", "gas_fees_hourly", "gas_fees_daily")
"""Of the day: files read, a vendor asked and its answers archived, rows made from rows; test_end_to_end.py has all."""
LOCATION = {"repositoryLocationName": "defiyield_assets.definitions", "repositoryName": "__repository__"}
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } } }"""
STATUS = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOCATIONS = """query Locations { workspaceOrError { ... on Workspace { locationEntries { name
    locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


@dataclass(frozen=True)
class Deployment:
    """The services as this machine can run them."""

    folder: Path
    roles: Roles
    ports: dict[str, int]

    def translated(self, text: str) -> str:
        """A word of a command, or a variable's value, with what stands outside of containers."""
        if text.startswith("/run/secrets/"):
            return str(self.roles.secrets / text.removeprefix("/run/secrets/"))
        plain = {
            "0.0.0.0": "127.0.0.1",
            "code": "127.0.0.1",
            "postgres": "",  # PGHOST names the folder of the server's socket
            "dagster": self.roles.dagster,
            "/app/home/workspace.yaml": str(self.folder / "home/workspace.yaml"),
            "/app/home": str(self.folder / "home"),
            "/state": str(self.folder / "state"),
            "/backups": str(self.folder / "backups"),
            "defiyield_assets.definitions": "defiyield_assets_tests.deploy.small_definitions",
            **{number: str(port) for number, port in self.ports.items()},
        }
        text = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", text)
        return plain.get(text, text)

    def environment(self, service: str) -> dict[str, str]:
        """Variables of the image and of the service."""
        told = {**image_environment(), **compose()["services"][service].get("environment", {})}
        told.pop("PATH")
        return {
            **without_settings(),
            **{name: self.translated(value) for name, value in told.items()},
            "PATH": self.roles.environment["PATH"],
            "PGHOST": self.roles.environment["PGHOST"],
            "MPLCONFIGDIR": str(self.folder / "tmp"),
            "DEFIYIELD_COSTLY_BUDGET_SECONDS": "1",
            "DEFIYIELD_REPAIR_FIRST_DELAY_SECONDS": "86400",
            "COLUMNS": "200",
        }

    def words(self, command: list[str]) -> list[str]:
        """A command as the entry point is given it."""
        program = {"python": sys.executable}.get(command[0], str(BIN / command[0]))
        rest = [re.sub(r"127\.0\.0\.1:(\d+)", self._address, self.translated(word)) for word in command[1:]]
        return [str(DEPLOY / "entrypoint.sh"), program, *rest]

    def _address(self, found: re.Match[str]) -> str:
        return f"127.0.0.1:{self.ports[found[1]]}"

    def run(self, service: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a service's command, or another one in its environment, to its end."""
        words = self.words(command or compose()["services"][service]["command"])
        return subprocess.run(
            words,
            cwd=PROJECT_ROOT,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """Start a service in a process group of its own; its output is a file."""
        with (self.folder / f"{service}.log").open("wb") as out:
            return subprocess.Popen(
                self.words(compose()["services"][service]["command"]),
                cwd=PROJECT_ROOT,
                env=self.environment(service),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_healthy(self, service: str) -> bool | None:
        """Whether the service's own health check says so; None when not yet."""
        test: list[str] = compose()["services"][service]["healthcheck"]["test"]
        assert test[0] == "CMD"
        plain = test[2:] if test[1] == "/app/entrypoint.sh" else test[1:]
        return True if self.run(service, plain).returncode == 0 else None

    def log(self, service: str) -> str:
        """The end of what a service said."""
        return (self.folder / f"{service}.log").read_text(encoding="utf-8", errors="replace")[-3000:]


def lay_out(folder: Path, roles: Roles) -> Deployment:
    """Folders for the volumes, the image's home, secrets that name the test's server."""
    for name in ("home", "state", "backups", "tmp"):
        (folder / name).mkdir(mode=0o700)
    found = Deployment(folder, roles, {number: free_port() for number in ("3000", "4000", "9464")})
    shutil.copy(DEPLOY / "dagster.postgres.yaml", folder / "home/dagster.yaml")
    workspace = yaml.safe_load((DEPLOY / "workspace.yaml").read_text(encoding="utf-8"))
    workspace["load_from"][0]["grpc_server"]["port"] = found.ports["4000"]
    (folder / "home/workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    (folder / "home").chmod(0o500)
    for role in ("owner", "writer", "reader"):
        file = roles.secrets / f"{role}_url"
        file.chmod(0o600)
        file.write_text(url_text(roles.url(role)), encoding="utf-8")
        file.chmod(0o400)  # outside of /run/secrets a secret has to be its owner's alone
    return found


@pytest.fixture(scope="module")
def deployment(
    postgres_server: sa.URL, postgres_programs: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Migrated, and all services up in the order in which compose starts them."""
    folder = tmp_path_factory.mktemp("compose")
    with roles_on(postgres_server, postgres_programs, folder) as roles, ExitStack() as running:
        found = lay_out(folder, roles)
        migrated = found.run("migrate")
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        for service in ("code", "webserver", "daemon", "metrics"):
            process = found.start(service)
            running.callback(end_group, process)
            if service == "code":
                wait_for("the code server", lambda: found.is_healthy("code"), PATIENCE_SECONDS)
        yield found


@pytest.fixture(scope="module")
def ui(deployment: Deployment) -> Iterator[Webserver]:
    """The web server, once it has loaded the graph from the code server."""
    url = f"http://127.0.0.1:{deployment.ports['3000']}"
    with httpx.Client(base_url=url, timeout=60.0, trust_env=False) as client:
        found = Webserver(url, client)

        def loaded() -> dict[str, Any] | None:
            try:
                client.get("/server_info").raise_for_status()
            except httpx.HTTPError:
                return None
            entries = found.ask(LOCATIONS)["workspaceOrError"]["locationEntries"]
            told = entries[0]["locationOrLoadError"]
            assert told is None or told["__typename"] != "PythonError", told
            return None if told is None else dict(entries[0])

        assert wait_for("the graph", loaded, PATIENCE_SECONDS)["name"] == "defiyield_assets.definitions"
        yield found


def test_a_run_of_the_ui_succeeds(deployment: Deployment, ui: Webserver) -> None:
    launched = ui.ask(
        LAUNCH,
        params={
            "selector": {
                **LOCATION,
                "pipelineName": "plan_the_day",
                "assetSelection": [{"path": [name]} for name in MATERIALISED],
            },
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": FIRST.isoformat()}]},
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    def ended() -> str | None:
        status = ui.ask(STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
        return str(status) if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    assert wait_for("the run", ended, PATIENCE_SECONDS) == "SUCCESS", deployment.log("code")


def test_every_service_is_healthy(deployment: Deployment, ui: Webserver) -> None:
    for service in ("code", "webserver", "daemon", "metrics"):
        assert wait_for(f"{service} to be healthy", lambda: deployment.is_healthy(service), 120.0), service  # noqa: B023


def test_the_reader_finds_nothing_broken(deployment: Deployment, ui: Webserver) -> None:
    """`doctor` as `defiyield_reader`."""
    told = deployment.run("metrics", ["defiyield", "doctor", "--offline", "--timeout", "120"])
    assert told.returncode == 0, told.stdout + told.stderr
    assert (deployment.roles.secrets / "reader_password").read_text(encoding="ascii") not in told.stdout


def test_the_backup_service_leaves_a_whole_backup(deployment: Deployment, ui: Webserver) -> None:
    """Dagster's storage is in it."""
    done = deployment.run("backup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Dagster's storage" in done.stdout
    assert len(list((deployment.folder / "backups").glob("defiyield-simulated-*.zip"))) == 1
