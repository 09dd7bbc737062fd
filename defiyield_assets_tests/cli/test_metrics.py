"""`defiyield metrics show` and `serve`: the whole exposition of an installation, as text and JSON, without a secret."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from defiyield_assets.cli import metrics
from defiyield_assets.cli.main import main
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability.families import FAMILIES, Sample
from defiyield_assets.settings import PROJECT_ROOT, Settings, load_settings
from defiyield_assets.store.engine import head_revision, make_engine, upgrade
from defiyield_assets_tests.observability.exposition import promtool, read_text

pytestmark = pytest.mark.usefixtures("command_line")
SECRET = "s3cret-Zx9-hunter"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with a migrated warehouse and Dagster's storage, in which nothing was run yet."""
    import dagster as dg

    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    shutil.copy(PROJECT_ROOT / "dagster.yaml", tmp_path / "dagster_home")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(folder))
    monkeypatch.setenv("DEFIYIELD_ETHERSCAN_API_KEY", SECRET)
    engine = make_engine(f"sqlite:///{folder / 'warehouse.sqlite'}")
    upgrade(engine)
    engine.dispose()
    dg.DagsterInstance.get().dispose()
    return folder


def test_show_tells_every_group_as_prometheus_reads_it(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    for name, stamp in (("a.zip", 1_000), ("b.zip", 2_000), (".torn.zip", 3_000), ("notes.txt", 4_000)):
        (backups / name).touch()
        os.utime(backups / name, (stamp, stamp))
    capsys.readouterr()
    assert main(["metrics", "show", "--backups", str(backups)]) == 0
    captured = capsys.readouterr()
    told = read_text(captured.out)
    assert promtool("check", "metrics", stdin=captured.out) == ""
    assert set(told) <= {family.full_name for family in FAMILIES.values()}
    assert set(told["defiyield_up"].values()) == set(told["defiyield_reading_success"].values()) == {1.0}
    (build,) = told["defiyield_build_info"]
    assert dict(build)["market"] == "simulated"
    assert dict(build)["revision"] == head_revision()
    assert told["defiyield_backup_timestamp_seconds"] == {(): 2_000.0}
    assert SECRET not in captured.out + captured.err


def test_backups_that_are_not_there_are_missed(tmp_path: Path) -> None:
    """A folder that is not mounted, and one without a backup: neither is as if nobody watched."""
    folder = tmp_path / "backups"

    def told(watched: Path | None) -> Sequence[Sample]:
        (reading,) = [one for one in metrics.Watched(load_settings(), watched).readings() if one.name == "backup"]
        return reading.read()

    assert told(None) == []
    with pytest.raises(ConfigurationError, match=f"there is no folder {folder}"):
        told(folder)
    folder.mkdir()
    assert told(folder) == [Sample("backup_timestamp_seconds", 0.0)]


def test_a_store_that_lets_us_wait_keeps_nobody_from_the_other(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, go_on = threading.Event(), threading.Event()

    def hang(_settings: Settings) -> None:
        waits.set()
        go_on.wait(60)
        raise ConnectionError

    monkeypatch.setattr(metrics, "open_instance", hang)
    watched = metrics.Watched(load_settings())
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(lambda: watched.instance)
        assert waits.wait(60)
        try:
            assert pool.submit(lambda: watched.engine).result(timeout=60).dialect.name == "sqlite"
        finally:
            go_on.set()
        assert isinstance(hanging.exception(), ConnectionError)
    watched.close()


def test_a_live_market_has_budgets_and_no_key(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_MARKET", "live")
    capsys.readouterr()
    assert main(["metrics", "show", "--json"]) == 0
    captured = capsys.readouterr()
    samples = json.loads(captured.out)
    left = [one for one in samples if one["name"] == "defiyield_vendor_budget_left"]
    assert {"etherscan", "alpha_vantage"} <= {one["labels"]["vendor"] for one in left}
    assert SECRET not in captured.out + captured.err


def test_show_of_nothing_says_what_cannot_be_read_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "nowhere"
    capsys.readouterr()
    assert main(["metrics", "show", "--state-dir", str(nowhere)]) == 1
    captured = capsys.readouterr()
    assert set(read_text(captured.out)["defiyield_up"].values()) == {0.0}
    assert "could not be read: warehouse, plan" in captured.err
    assert not nowhere.exists()


def test_serve_answers_until_it_is_told_to_end(state: Path) -> None:
    words = [sys.executable, "-m", "defiyield_assets.cli.main", "metrics", "serve", "--port", "0", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())
            assert address["metrics"].startswith("http://127.0.0.1:")
            assert httpx.get(address["healthz"], timeout=60, trust_env=False).text == "ok\n"
            told = read_text(httpx.get(address["metrics"], timeout=60, trust_env=False).text)
            assert told["defiyield_up"][(("store", "warehouse"),)] == 1.0
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("words", [["serve", "--port", "65536"], ["serve", "--port", "-1"], ["show", "--timeout", "0"]])
def test_wrong_use(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["metrics", *words])
    assert stop.value.code == 2
