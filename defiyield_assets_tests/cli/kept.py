"""An installation with rows of every kind, and what it holds: for tests that back it up, change it and restore it.

Not here: tests (test_backup.py, test_restore_killed.py).
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.cli.main import main
from defiyield_assets.store import engine as engines
from defiyield_assets.store import schema, writes
from defiyield_assets.store.backups.contents import TableContent, contents
from defiyield_assets_tests.databases import DATABASES, postgres_database, url_text
from defiyield_assets_tests.store.frames import WRITABLE, example_frame

FILLED = [table for table in WRITABLE if table.name != "warehouse_identity"][::9]
FILLED += [schema.nav_daily, schema.icebox, schema.feature_state, schema.ledger_postings, schema.asset_outcomes]
"""Tables that get rows: between them they have columns of every kind."""


@dataclass(frozen=True)
class Kept:
    """An installation whose warehouse holds rows in every table."""

    url: str
    state: Path
    file: Path

    @property
    def name(self) -> str:
        """What `--destroy` has to say."""
        url = sa.make_url(self.url)
        return Path(url.database or "").name if url.drivername == "sqlite" else url.database or ""

    def contents(self) -> dict[str, TableContent]:
        """What the tables hold."""
        engine = engines.make_engine(self.url)
        with engines.read_transaction(engine, "all") as connection:
            found = contents(connection)
        engine.dispose()
        return found

    def everything(self) -> tuple[dict[str, TableContent], list[str], dict[str, str]]:
        """What the tables hold, the facts of the chain, the texts of reports."""
        with closing(sqlite3.connect(self.state / "chain.sqlite")) as chain:
            facts = [fact for (fact,) in chain.execute("SELECT fact FROM facts")]
        reports = self.state / "reports"
        files = sorted(path for path in reports.rglob("*") if path.is_file())
        return self.contents(), facts, {path.relative_to(reports).as_posix(): path.read_text("utf-8") for path in files}

    def change(self) -> None:
        """A table is emptied, another one gone, a stranger there, the chain and a report others."""
        engine = engines.make_engine(self.url)
        with engines.write_transaction(engine, "all") as connection:
            connection.execute(sa.delete(schema.nav_daily))
            schema.icebox.drop(connection)
            connection.exec_driver_sql("CREATE TABLE stranger (id integer)")
        engine.dispose()
        with closing(sqlite3.connect(self.state / "chain.sqlite")) as chain:
            chain.execute("DELETE FROM facts")
            chain.commit()
        (self.state / "reports/2025-06-03/report.html").write_text("other", encoding="utf-8")
        (self.state / "reports/new.html").write_text("new", encoding="utf-8")


def fill(kept: Kept, rows: int = 12) -> None:
    """Rows in every table, a chain and a report."""
    engine = engines.make_engine(kept.url)
    engines.upgrade(engine)
    engines.claim_market(engine, "simulated")
    for table in FILLED:
        writes.upsert(engine, table, example_frame(table, rows))
    engine.dispose()
    with closing(sqlite3.connect(kept.state / "chain.sqlite")) as chain:
        chain.execute("CREATE TABLE facts (fact TEXT)")
        chain.execute("INSERT INTO facts VALUES ('mined')")
        chain.commit()
    (kept.state / "reports/2025-06-03").mkdir(parents=True)
    (kept.state / "reports/2025-06-03/report.html").write_text("report", encoding="utf-8")


@pytest.fixture(params=DATABASES)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """A filled installation that the environment names, on SQLite and on PostgreSQL."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(state))
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), state / "warehouse.sqlite")
        found = Kept(f"sqlite:///{state / 'warehouse.sqlite'}", state, tmp_path / "b.zip")
        fill(found)
        yield found
        return
    programs = request.getfixturevalue("postgres_programs")
    if programs is not None:
        monkeypatch.setenv("DEFIYIELD_PG_BIN", str(programs))
    server, template = request.getfixturevalue("postgres_server"), request.getfixturevalue("postgres_template")
    with postgres_database(server, template) as url:
        monkeypatch.setenv("DEFIYIELD_DATABASE_URL", url_text(url))
        found = Kept(url_text(url), state, tmp_path / "b.zip")
        fill(found)
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """The folder of a small installation on SQLite, and of its backup; nobody changes it."""
    folder = tmp_path_factory.mktemp("made")
    state = folder / "state"
    state.mkdir(mode=0o700)
    shutil.copyfile(sqlite_template, state / "warehouse.sqlite")
    kept = Kept(f"sqlite:///{state / 'warehouse.sqlite'}", state, folder / "b.zip")
    fill(kept, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFIYIELD_STATE_DIR", str(state))
        assert main(["backup", str(kept.file)]) == 0
    return folder


@pytest.fixture
def on_file(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A copy of it that the environment names."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    state = tmp_path / "state"
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(state))
    return Kept(f"sqlite:///{state / 'warehouse.sqlite'}", state, tmp_path / "b.zip")
