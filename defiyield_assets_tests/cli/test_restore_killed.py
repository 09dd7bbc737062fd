"""A restore that is killed at each of its steps: afterwards everything is old, or everything is new.

Each step is a change of a file's name, a file or folder removed, a program started, or a transaction ended; a child
process is killed right before the first, before the second, and so on until one ends by itself. Not here: restores that
fail by themselves (test_backup.py).
"""

import os
import re
import signal
import sys
import zipfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.cli.main import main
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store.backups.archive import WAREHOUSE
from defiyield_assets.store.backups.files import put_files
from defiyield_assets.store.backups.journal import Journal
from defiyield_assets.store.backups.tables import PostgresTables
from defiyield_assets_tests.cli.kept import Kept

pytestmark = pytest.mark.usefixtures("command_line")
STEPS = {"os.rename", "os.remove", "os.rmdir", "subprocess.Popen"}
"""Audit events that Python raises before it does these."""


def die_before(number: int) -> None:
    """From now on count steps, and end this process in the cruellest way before one of them."""
    left = iter(range(number, -1, -1))

    def step() -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda event, _: step() if event in STEPS else None)
    sa.event.listen(sa.Engine, "commit", lambda _: step())


def killed(words: list[str], number: int) -> bool:
    """Run a command of ours in a child that is killed before that step; whether it came so far."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        die_before(number)
        code = 1
        try:
            code = main(words)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def left_by_another(kept: Kept, *, is_decided: bool) -> None:
    """What a restore of the backup leaves that is killed after its last table, or after its decision."""
    is_postgres = kept.url.startswith("postgresql")
    name = "warehouse.dump" if is_postgres else "warehouse.sqlite"
    journal = Journal(kept.state)
    parts = journal.make_stage()
    with zipfile.ZipFile(kept.file) as archive:
        for one in (name, "chain.sqlite", "reports/2025-06-03/report.html"):
            archive.extract(one, parts)
    pairs: list[tuple[Path | None, Path]] = [(parts / one, kept.state / one) for one in ("reports", "chain.sqlite")]
    if not is_postgres:
        pairs.append((parts / name, kept.state / name))
    begun = journal.begin([WAREHOUSE] if is_postgres else [], [target for _, target in pairs])
    if is_postgres:
        programs = load_settings().pg_bin
        PostgresTables(sa.make_url(kept.url), programs).put(parts / name, begun.mark)
    put_files(pairs)
    if is_decided:
        journal.decide()


@pytest.mark.parametrize("is_decided", [False, True])
def test_a_restore_that_was_killed_is_ended_by_the_next(
    is_decided: bool, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = kept.everything()
    assert main(["backup", str(kept.file)]) == 0
    kept.change()
    old = kept.everything()
    left_by_another(kept, is_decided=is_decided)
    for words in (["migrate"], ["backup", str(tmp_path / "no.zip")], ["plan"]):
        assert main(words) == 2
        assert "was interrupted" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="was interrupted"):
        WarehouseResource(market="simulated").engine  # noqa: B018 - as a run of the code server opens it
    if kept.url.startswith("postgresql"):
        with monkeypatch.context() as patch:
            patch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "another"))
            assert main(["restore", str(kept.file), "--destroy", kept.name]) == 2
            assert "from another state folder" in capsys.readouterr().err
    assert main(["restore", str(tmp_path / "none.zip")]) == 2
    assert ("is in place" if is_decided else "is back") in capsys.readouterr().out
    assert kept.everything() == (new if is_decided else old)
    assert not list(kept.state.glob(".restore*"))


@pytest.mark.slow
def test_everything_is_old_or_everything_is_new(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    new = kept.everything()
    assert main(["backup", str(kept.file)]) == 0
    kept.change()
    old = kept.everything()
    assert old != new
    found, told = [], set()
    for number in range(1, 1000):
        if not killed(["restore", str(kept.file), "--destroy", kept.name], number):
            break
        assert main(["restore", str(kept.file.with_name("none.zip"))]) == 2
        told |= set(re.findall(r"was interrupted: (.+)", capsys.readouterr().out))
        now = kept.everything()
        assert now in (old, new), number
        assert not list(kept.state.glob(".restore*"))
        found.append(now == new)
        if found[-1]:
            kept.change()
    assert found == sorted(found)
    assert len(told) == len(set(found)) == 2
    assert kept.everything() == new


def test_a_restore_is_alone_in_its_folder(on_file: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    with Journal(on_file.state):
        assert main(["restore", str(on_file.file), "--destroy", on_file.name]) == 2
    assert "another restore is at work" in capsys.readouterr().err
