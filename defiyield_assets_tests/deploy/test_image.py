"""The steps of the Containerfile executed here, as far as that goes without an engine, and the image's commands after.

The first stage runs as written in a fresh folder. Libraries are those of our own environment, which fulfil the same
constraints: downloading all takes minutes; `DEFIYIELD_TEST_WHOLE_IMAGE=1` does it. Then another user than root, who may
not write the program, runs what containers run. Not here: the other instructions (test_files.py).
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets_tests.dagster_processes import BIN, end_group, free_port, wait_for
from defiyield_assets_tests.deploy.files import containerfile, image_environment, without_settings
from defiyield_assets_tests.programs import find_program

pytestmark = pytest.mark.slow
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
STEP_SECONDS = 900.0


@dataclass(frozen=True)
class Image:
    """What the image would hold, below a folder."""

    folder: Path

    def outside(self, text: str) -> str:
        """Words of the Containerfile with the folder in front of the image's paths."""
        if text.startswith("/tmp/"):
            return f"{self.folder}{text}"
        for place in ("/opt/venv", "/app", "/state"):
            text = text.replace(place, f"{self.folder}{place}")
        return text

    @property
    def environment(self) -> dict[str, str]:
        """ENV of the image; /tmp is one of its own."""
        told = {name: self.outside(value) for name, value in image_environment().items()}
        return {**without_settings(), **told, "HOME": str(self.folder / "state"), "TMPDIR": str(self.folder / "tmp")}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command through the entry point, as nobody."""
        command = [*NOBODY, str(self.folder / "app/entrypoint.sh"), *words]
        return subprocess.run(
            command,
            cwd=self.folder / "app",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def python_for_everybody() -> str:
    """A Python of our version that another user may execute: root's own may lie in a home that is closed."""
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, f"/usr/local/bin/{wanted}", f"/usr/bin/{wanted}"):
        place = Path(found).resolve()
        if place.exists() and all(folder.stat().st_mode & 0o001 for folder in place.parents):
            return found
    return pytest.skip(f"no {wanted} on this machine that another user than root may execute")


def lend_libraries(image: Image) -> None:
    """Our environment's libraries, without the project itself, importable in the image's."""
    lent = image.folder / "lent"
    lent.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "defiyield" not in path.name and path.suffix != ".pth":
            (lent / path.name).symlink_to(path)
    site = next((image.folder / "opt/venv/lib").glob("python*/site-packages"))
    (site / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")
    python = image.folder / "opt/venv/bin/python"
    for name in ("dagster", "dagster-daemon", "dagster-webserver"):
        _, _, body = (BIN / name).read_text(encoding="utf-8").partition("\n")
        (python.parent / name).write_text(f"#!{python}\n{body}", encoding="utf-8")
        (python.parent / name).chmod(0o755)


def build(image: Image) -> None:
    """RUN and COPY of the first stage, in their order; then what the last stage copies from the checkout."""
    app = image.folder / "app"
    app.mkdir()
    for one in containerfile():
        words = [word for word in one.rest.split(" ") if not word.startswith("--")]
        if one.word == "COPY" and "--from=" not in one.rest:
            for source in words[:-1]:
                place = image.outside(words[-1])
                target = app / place if not Path(place).is_absolute() else Path(place)
                target = target / Path(source).name if words[-1].endswith("/") else target
                target.parent.mkdir(parents=True, exist_ok=True)
                if (PROJECT_ROOT / source).is_dir():
                    shutil.copytree(PROJECT_ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(PROJECT_ROOT / source, target)
        elif one.word == "RUN" and one.stage == 0:
            program = python_for_everybody() if "-m venv" in one.rest else sys.executable
            command = image.outside(one.rest).replace("python -m", f"{program} -m", 1)
            done = subprocess.run(
                ["/bin/sh", "-ec", command], cwd=app, capture_output=True, text=True, timeout=STEP_SECONDS, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            if "-m venv" in command and os.environ.get("DEFIYIELD_TEST_WHOLE_IMAGE") != "1":
                lend_libraries(image)
    for path in (app, *app.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built, its program read-only, its state and /tmp those of nobody."""
    find_program("setpriv", "util-linux")
    if os.geteuid() != 0:
        pytest.skip("only root can run a command as another user")
    folder = Path(tempfile.mkdtemp(prefix="defiyield-image-"))
    folder.chmod(0o755)
    found = Image(folder)
    try:
        build(found)
        for name in ("state", "tmp"):
            (folder / name).mkdir(mode=0o700)
            os.chown(folder / name, 65534, 65534)
        home = folder / "app/home"
        home.chmod(0o755)
        shutil.copy(PROJECT_ROOT / "dagster.yaml", home / "embedded.yaml")
        (home / "dagster.yaml").unlink()
        (home / "embedded.yaml").rename(home / "dagster.yaml")  # without a server; test_compose_day.py has one
        home.chmod(0o555)
        yield found
    finally:
        shutil.rmtree(folder)


def test_nobody_can_run_it_and_cannot_change_it(image: Image) -> None:
    said = image.run("python", "-c", "import defiyield_assets, os; print(os.getuid(), defiyield_assets.__file__)")
    assert said.stdout.split() == ["65534", str(image.folder / "app/defiyield_assets/__init__.py")], said.stderr
    assert image.run("touch", str(image.folder / "app/defiyield_assets/x")).returncode != 0


def test_the_package_is_whole(image: Image) -> None:
    """Configuration, templates and migrations are there: a warehouse is made, settings and files are read."""
    migrated = image.run("defiyield", "migrate")
    assert migrated.returncode == 0, migrated.stderr
    for words in (
        ("config", "validate"),
        ("doctor", "--offline"),
        ("strategies", "list"),
        ("health", "--probe", "live"),
    ):
        done = image.run("defiyield", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_the_code_server_answers(image: Image) -> None:
    port = str(free_port())
    words = ["dagster", "code-server", "start", "--host", "127.0.0.1", "--port", port]
    command = [
        *NOBODY,
        str(image.folder / "app/entrypoint.sh"),
        *words,
        "--module-name",
        "defiyield_assets.definitions",
    ]
    log = image.folder / "code.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            cwd=image.folder / "app",
            env=image.environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answers() -> bool | None:
        assert server.poll() is None, log.read_text(encoding="utf-8")[-3000:]
        asked = image.run("dagster", "api", "grpc-health-check", "--host", "127.0.0.1", "--port", port)
        return True if asked.returncode == 0 else None

    try:
        assert wait_for("the code server", answers, 240.0)
    finally:
        end_group(server)
