"""Fixtures that every room's tests share. Room-specific fixtures live in the conftest of that room."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from defiyield_assets_tests.installations import Loop

pytest_plugins = ["defiyield_assets_tests.databases"]

os.environ["DEFIYIELD_RETRY_DELAY_SECONDS"] = "0"
"""Read when assets are declared: retries of ingestion assets start at once, so that no test waits."""
os.environ["DEFIYIELD_COSTLY_BUDGET_SECONDS"] = "1"
"""The weekly evaluation of costly models falls into the loops of tests: a handful of pools stands for all."""
os.environ["DEFIYIELD_PICTURES"] = "false"
"""Pictures are a fifth of a day: tests that look at them ask for them (fixture `pictures`, installations.py)."""
settings.register_profile("defiyield", deadline=None)
settings.load_profile("defiyield")
"""What takes long on a busy machine is no fault: benchmarks say what is slow."""


LONGEST_FIRST = (
    "test_end_to_end.py",
    "faults/test_lasting.py",
    "test_daemon.py",
    "faults/test_crashes.py",
    "cli/test_lab.py",
    "faults/test_healing.py",
    "orchestration/test_forecasting.py",
    "orchestration/test_idempotency.py",
    "orchestration/test_rebuild.py",
    "faults/test_vendors.py",
    "cluster/test_vendors_of_workers.py",
    "cluster/test_celery.py",
    "lookahead/test_lookahead.py",
)
"""Files that take minutes begin before the others, so that no worker is left alone with one of them at the end
(pyproject.toml keeps pytest-xdist from putting files with few tests last).
"""


def pytest_configure(config: pytest.Config) -> None:
    """Tests and the processes that they start remember fits in pytest's cache (remembered_fits.py)."""
    cache = getattr(config, "cache", None)  # absent under `-p no:cacheprovider`: then nothing is remembered
    os.environ["REMEMBERED_FITS"] = "" if cache is None else str(cache.mkdir("fits"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A suite of one mark reads only the files in which the word stands: importing the others takes half a minute."""
    word = config.option.markexpr.split(" ")[0]
    if word in ("slow", "nightly") and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return word not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; the order within a file stays."""
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    here = Path(__file__).parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(here).as_posix(), len(rank)))


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data; required in CI, otherwise its tests say that they were skipped."""
    named = os.environ.get("DEFIYIELD_RECORDED_DATA", "")
    if named and Path(named).is_dir():
        return Path(named)
    if os.environ.get("DEFIYIELD_REQUIRE_RECORDED_DATA") == "1":
        pytest.fail(f"DEFIYIELD_REQUIRE_RECORDED_DATA=1, but DEFIYIELD_RECORDED_DATA={named!r} is no folder")
    return pytest.skip("set DEFIYIELD_RECORDED_DATA to the folder of recorded data to run this test")


@pytest.fixture(scope="session")
def kept_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where states are kept that workers share: pytest's cache, or the session's folder where there is no cache."""
    cache = getattr(request.config, "cache", None)
    if cache is not None:
        return Path(cache.mkdir("states"))
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "states"


@pytest.fixture(scope="session")
def first_day(kept_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> "Loop":
    """The demo day through Dagster on a fresh state; tests read it or copy it, nobody changes it."""
    from defiyield_assets_tests.installations import run_first_day
    from defiyield_assets_tests.kept_states import kept

    return kept(kept_folder, "first_day", tmp_path_factory.mktemp("first_day") / "state", run_first_day)


@pytest.fixture(scope="session")
def closed_loop(first_day: "Loop", kept_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> "Loop":
    """Five days in order through Dagster, the first of them `first_day`; nobody changes it."""
    from defiyield_assets_tests.installations import run_closed_loop
    from defiyield_assets_tests.kept_states import kept

    def five_days(folder: Path) -> "Loop":
        return run_closed_loop(first_day, folder)

    return kept(kept_folder, "closed_loop", tmp_path_factory.mktemp("closed_loop") / "state", five_days)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assets draw."""
    monkeypatch.setenv("DEFIYIELD_PICTURES", "true")


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which `main([...])` may be called in process: a Dagster home of its own, wide output."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    for name in ("MARKET", "STATE_DIR", "DATABASE_URL", "CONFIG_DIR"):
        monkeypatch.setenv(f"DEFIYIELD_{name}", "")
    monkeypatch.setenv("DEFIYIELD_RECORDED_DATA", os.environ.get("DEFIYIELD_RECORDED_DATA", ""))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("COLUMNS", "400")
