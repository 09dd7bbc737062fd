"""The files of deploy/ as text: what a container may do, what it is told, what it is made from; the systemd units.

Not here: the services running (test_compose_day.py), the image's steps executed (test_image.py), Kubernetes (cluster/).
"""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.cli.main import build_parser
from defiyield_assets.settings import PROJECT_ROOT, Settings, secret_fields
from defiyield_assets_tests.deploy.files import DEPLOY, compose, containerfile, image_environment
from defiyield_assets_tests.programs import find_program

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = sorted(set(SERVICES) - {"postgres"})
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MOST_EXPOSED = 2.0
"""Of systemd's ten: what a unit that serves the loopback and writes one folder needs."""
DAGSTER_VARIABLES = set(re.findall(r"DEFIYIELD_\w+", (DEPLOY / "dagster.postgres.yaml").read_text(encoding="utf-8")))
DAGSTER_VARIABLES |= {"DEFIYIELD_DAGSTER_PG_PASSWORD_FILE", "DEFIYIELD_CODE_HOST"}


def assert_variables_are_known(names: set[str]) -> None:
    """Settings, secrets as files, or what Dagster's own files read."""
    settings = {f"DEFIYIELD_{name.upper()}" for name in Settings.model_fields}
    files = {f"DEFIYIELD_{name.upper()}_FILE" for name in secret_fields()}
    assert {name for name in names if name.startswith("DEFIYIELD_")} <= settings | files | DAGSTER_VARIABLES


def assert_command_is_known(words: list[str]) -> None:
    """Our own command lines are read by our own parser; other programs are Dagster's."""
    if words[0] == "defiyield":
        build_parser().read(words[1:])
    else:
        assert words[0] in ("dagster", "dagster-webserver", "dagster-daemon")


# --- compose -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode"} & service.keys()
    assert service["restart"] in ("unless-stopped", "no")
    assert ("test" in service["healthcheck"]) != bool(service["healthcheck"].get("disable"))
    assert service["healthcheck"].get("disable", False) == (service["restart"] == "no")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    tag = service["image"].rpartition(":")[2]
    assert re.match(r"\d+\.\d+", tag), "an image without a version may be another one tomorrow"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_names_is_there(name: str) -> None:
    service, whole = SERVICES[name], compose()
    assert set(service["secrets"]) <= whole["secrets"].keys()
    assert set(service["networks"]) <= whole["networks"].keys()
    for volume in service["volumes"]:
        source = volume.split(":")[0]
        assert (DEPLOY / source).is_file() if source.startswith("./") else source in whole["volumes"]
    for other, wanted in service.get("depends_on", {}).items():
        assert wanted["condition"] == ("service_completed_successfully" if other == "migrate" else "service_healthy")
    given = {f"/run/secrets/{secret}" for secret in service["secrets"]}
    used = {value for value in service["environment"].values() if value.startswith("/run/secrets/")}
    assert used <= given


@pytest.mark.parametrize("name", OURS)
def test_commands_and_variables_of_a_service_are_known(name: str) -> None:
    assert_variables_are_known(set(SERVICES[name]["environment"]))
    assert_command_is_known(SERVICES[name]["command"])


def test_nobody_holds_more_than_he_needs() -> None:
    """Who may change tables, who may write rows, who may read; and no secret outside of a file."""
    holders = {
        role: {name for name in OURS if f"{role}_url" in SERVICES[name]["secrets"]} for role in ("owner", "writer")
    }
    assert holders == {"owner": {"migrate", "backup"}, "writer": {"code"}}
    assert {name for name in OURS if "reader_url" in SERVICES[name]["secrets"]} == {"metrics"}
    for service in SERVICES.values():
        for variable, value in service["environment"].items():
            assert "PASSWORD" not in variable or variable.endswith("_FILE")
            assert "://" not in value
    assert all(one["file"].startswith("secrets/") for one in compose()["secrets"].values())
    assert "deploy/secrets" not in (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8")


def test_the_database_cannot_reach_out() -> None:
    assert SERVICES["postgres"]["networks"] == ["data"]
    assert compose()["networks"]["data"] == {"internal": True}


def test_the_client_programs_are_as_new_as_the_server() -> None:
    server = int(re.findall(r"postgres:(\d+)", SERVICES["postgres"]["image"])[0])
    installed = next(one.rest for one in containerfile() if "postgresql-client" in one.rest)
    assert int(re.findall(r"postgresql-client-(\d+)", installed)[0]) >= server


# --- image ---------------------------------------------------------------------------------------------------------
def test_the_image_runs_as_nobody_important() -> None:
    last = containerfile()[-1].stage
    users = [one.rest for one in containerfile() if one.word == "USER" and one.stage == last]
    assert [re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user) is not None for user in users] == [True]
    words = [one.word for one in containerfile() if one.stage == last]
    assert words.index("USER") > max(number for number, word in enumerate(words) if word in ("RUN", "COPY"))
    assert {"HEALTHCHECK", "LABEL", "ENTRYPOINT", "VOLUME"} <= set(words)


def test_the_base_is_pinned() -> None:
    bases = {one.rest.split(" ")[0] for one in containerfile() if one.word == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", bases.pop())


def test_no_secret_is_baked_in() -> None:
    text = " ".join(one.rest for one in containerfile() if one.word in ("ENV", "ARG", "LABEL"))
    assert not re.search(r"(?i)password|secret|token|api_?key|://[^ ]*@", text)
    assert not [one for one in containerfile() if one.word in ("ADD", "ARG")]
    assert_variables_are_known(set(image_environment()))


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored = (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert (PROJECT_ROOT / ".containerignore").read_text(encoding="utf-8").splitlines() == ignored
    assert "*" in ignored
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for one in containerfile():
        words = [word for word in one.rest.split(" ") if not word.startswith("--")]
        if one.word == "COPY" and "--from=" not in one.rest:
            copied |= set(words[:-1])
    assert copied == let_through
    assert all((PROJECT_ROOT / source).exists() for source in copied)


def test_libraries_are_pinned_and_tools_stay_behind() -> None:
    installs = [one for one in containerfile() if "pip" in one.rest and " install " in one.rest and one.stage == 0]
    assert installs
    assert all("--constraint constraints.txt" in one.rest for one in installs)
    last = " ".join(one.rest for one in containerfile() if one.stage == 1 and one.word == "RUN")
    assert "pip uninstall" in last
    assert not re.search(r"gcc|build-essential|git |make ", last)


# --- systemd -------------------------------------------------------------------------------------------------------
def unit(path: Path) -> dict[str, list[str]]:
    """Settings of a unit, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_a_known_command_with_known_variables(path: Path) -> None:
    told = unit(path)
    words = shlex.split(told["ExecStart"][0])
    assert words[0] == "/opt/defiyield/deploy/entrypoint.sh"
    assert_command_is_known([words[1].removeprefix("/opt/defiyield/.venv/bin/"), *words[2:]])
    variables = {one.split("=")[0]: one.split("=", 1)[1] for one in told["Environment"]}
    assert_variables_are_known(set(variables))
    given = {one.split(":")[0] for one in told["LoadCredential"]}
    assert {value.removeprefix("%d/") for value in variables.values()} == given
    assert all(value.startswith("%d/") for value in variables.values())
    assert "0.0.0.0" not in told["ExecStart"][0]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_a_unit_confined(path: Path) -> None:
    command = [find_program("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    exposed = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert float(exposed[0]) <= MOST_EXPOSED, said


def test_systemd_understands_every_unit(tmp_path: Path) -> None:
    """As installed, except that what they start lies here."""
    analyze = find_program("systemd-analyze", "systemd")
    units = []
    for path in sorted((DEPLOY / "systemd").glob("defiyield-*")):
        text = path.read_text(encoding="utf-8").replace("/opt/defiyield/deploy", str(DEPLOY))
        units.append(tmp_path / path.name)
        units[-1].write_text(text.replace("file:/opt/defiyield", f"file:{PROJECT_ROOT}"), encoding="utf-8")
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, units)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (said.returncode, said.stderr) == (0, ""), said.stderr


def test_the_environment_file_has_no_secret() -> None:
    told = unit(DEPLOY / "systemd/defiyield.env")
    assert_variables_are_known(set(told))
    assert not [name for name in told if re.search("PASSWORD|TOKEN|KEY|URL", name)]


def test_pages_and_documents_that_units_name_exist() -> None:
    for path in (DEPLOY / "systemd").glob("defiyield-*"):
        page = unit(path)["Documentation"][0].removeprefix("file:/opt/defiyield/")
        assert (PROJECT_ROOT / page).is_file()
