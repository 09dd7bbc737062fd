"""Files and folders that hold account data belong to their owner alone, whatever the umask says; folders of others
stay as they are.

Not here: files with secrets (test_secret_files.py).
"""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from defiyield_assets.simulator.chain_store import ChainStore
from defiyield_assets.state_folder import close_to_others, make_private
from defiyield_assets.store.engine import make_engine
from defiyield_assets_tests.installations import Loop


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """The usual umask, under which files are open to everybody unless their writer says otherwise."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_a_day_writes_belongs_to_its_owner_alone(first_day: Loop, tmp_path: Path) -> None:
    """Reports are looked at as the day left them; databases are copied by the test, so they are made anew here."""
    written = [path for path in first_day.installation.folder.rglob("*") if path.is_file()]
    reports = [path for path in written if path.parent.name == "reports"]
    assert reports
    assert {path.name: oct(mode(path)) for path in reports if mode(path) & 0o077} == {}
    with make_engine(f"sqlite:///{tmp_path / 'warehouse.sqlite'}").connect():
        pass
    ChainStore(tmp_path / "chain.sqlite", ())
    assert {path.name: oct(mode(path)) for path in tmp_path.iterdir() if mode(path) & 0o077} == {}


def test_a_new_state_folder_is_private(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "state")
    assert mode(tmp_path / "a" / "state") == 0o700


def test_a_state_folder_that_dagster_made_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    (folder / "history" / "runs").mkdir(parents=True)
    (folder / "0b8b2e22-0f0b-4d4a-8d4e-0123456789ab").mkdir()
    (folder / "warehouse.sqlite").touch()
    folder.chmod(0o755)
    close_to_others(folder)
    assert mode(folder) == 0o700


def test_a_folder_that_holds_other_things_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "warehouse.sqlite").touch()
    (tmp_path / "letters").mkdir()
    tmp_path.chmod(0o755)
    close_to_others(tmp_path)
    make_private(tmp_path)
    assert mode(tmp_path) == 0o755
    close_to_others(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_loading_the_definitions_closes_the_state_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    (folder / "history").mkdir(parents=True)
    folder.chmod(0o755)
    said = {**os.environ, "DEFIYIELD_STATE_DIR": str(folder), "DEFIYIELD_MARKET": "simulated"}
    subprocess.run([sys.executable, "-c", "import defiyield_assets.definitions"], env=said, check=True)
    assert mode(folder) == 0o700
