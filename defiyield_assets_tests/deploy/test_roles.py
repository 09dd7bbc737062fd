"""The roles of deploy/postgres on a real server: what each may do, and what the server refuses.

Not here: assets made by the writer (test_compose_day.py).
"""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from defiyield_assets.config.versions import in_force, write_version
from defiyield_assets.observability.warehouse import newest_plan_day, open_for_reading
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.console_audit import Deed, record_deed
from defiyield_assets_tests.databases import url_text
from defiyield_assets_tests.deploy.files import DEPLOY, Roles, roles_on
from defiyield_assets_tests.observability.test_warehouse_figures import all_figures
from defiyield_assets_tests.store.deeds import deeds
from defiyield_assets_tests.store.frames import DAYS, WRITABLE, example_frame

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def roles(
    postgres_server: sa.URL, postgres_programs: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Roles]:
    """Both databases, the warehouse migrated by its owner."""
    with roles_on(postgres_server, postgres_programs, tmp_path_factory.mktemp("roles")) as found:
        owner = engines.make_engine(url_text(found.url("owner")))
        engines.upgrade(owner)
        engines.claim_market(owner, "simulated")
        owner.dispose()
        yield found


def engine_of(roles: Roles, role: str, database: str | None = None) -> sa.Engine:
    return sa.create_engine(roles.url(role, database), poolclass=sa.NullPool)


def refused(engine: sa.Engine, statement: str) -> str:
    """What the server says to it."""
    with pytest.raises(DBAPIError) as told, engine.begin() as connection:
        connection.exec_driver_sql(statement)
    return str(told.value.orig)


def test_the_owner_migrates_up_and_the_script_may_run_again(roles: Roles) -> None:
    roles.first_start()
    engine = engine_of(roles, "owner")
    assert engines.current_revision(engine) == engines.head_revision()
    assert set(sa.inspect(engine).get_table_names()) >= set(schema.metadata.tables)


def test_passwords_are_kept_as_scram_only(roles: Roles) -> None:
    with sa.create_engine(roles.server, poolclass=sa.NullPool).connect() as connection:
        kept = connection.exec_driver_sql(
            "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'defiyield~_%%' ESCAPE '~'"
        ).all()
    assert len(kept) == 5
    assert all(password.startswith("SCRAM-SHA-256$") for _, password in kept)


def test_the_writer_writes_rows_of_every_table(roles: Roles) -> None:
    """Whole slices, upserts and histories, which need locks, COPY and temporary tables."""
    engine = engines.make_engine(url_text(roles.url("writer")))
    for table in [one for one in WRITABLE if not one.foreign_keys and one.name != "warehouse_identity"][::9]:
        writes.upsert(engine, table, example_frame(table))
        assert len(reads.read_all(engine, table)) == 12
    writes.replace_slice(engine, schema.nav_daily, example_frame(schema.nav_daily, 3), DAYS)
    assert writes.delete_where(engine, schema.nav_daily, {"date": DAYS.start}) == 1
    engines.claim_market(engine, "simulated")
    assert engines.upgrade(engine) == engines.head_revision()
    engine.dispose()
    with engine_of(roles, "writer").connect() as connection:
        lacking = connection.exec_driver_sql(
            "SELECT relname, wanted FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted "
            "WHERE relnamespace = 'public'::regnamespace AND relname <> 'defiyield_schema_version' "
            "AND CASE WHEN relkind IN ('r', 'p') THEN NOT has_table_privilege(oid, wanted) "
            "WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'USAGE') END"
        ).all()
    assert lacking == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "DROP TABLE nav_daily",
        "ALTER TABLE nav_daily ADD COLUMN mine integer",
        "TRUNCATE nav_daily",
        "CREATE ROLE mine",
        "UPDATE defiyield_schema_version SET version_num = 'x'",
        "DELETE FROM defiyield_schema_version",
        "INSERT INTO defiyield_schema_version VALUES ('x')",
        "GRANT SELECT ON nav_daily TO PUBLIC",
        "COPY nav_daily TO PROGRAM 'cat'",
    ],
)
def test_the_writer_changes_no_table(statement: str, roles: Roles) -> None:
    if statement.startswith("GRANT"):  # a warning, and nothing is granted
        with engine_of(roles, "writer").begin() as connection:
            connection.exec_driver_sql(statement)
        with engine_of(roles, "owner").connect() as connection:
            granted = "SELECT has_table_privilege('public', 'nav_daily', 'SELECT')"
            assert connection.exec_driver_sql(granted).scalar() is False
        return
    said = refused(engine_of(roles, "writer"), statement)
    assert "permission denied" in said or "must be owner" in said


def test_the_reader_reads_everything_and_writes_nothing(roles: Roles) -> None:
    engine = engine_of(roles, "reader")
    for table in schema.metadata.sorted_tables:
        with engine.connect() as connection:
            connection.execute(sa.select(table).limit(1)).all()
    for statement in (
        "INSERT INTO nav_daily DEFAULT VALUES",
        "DELETE FROM nav_daily",
        "UPDATE defiyield_schema_version SET version_num = 'x'",
        "CREATE TABLE mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "TRUNCATE nav_daily",
    ):
        said = refused(engine, statement)
        assert "read-only transaction" in said or "permission denied" in said
        assert "permission denied" in refused(engine, f"SET TRANSACTION READ WRITE; {statement}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "1min"


def test_the_console_reads_everything_and_adds_rows_to_its_two_tables_alone(roles: Roles, tmp_path: Path) -> None:
    engine = engines.make_engine(url_text(roles.url("console")))
    now = datetime(2025, 6, 3, tzinfo=UTC)
    for table in schema.metadata.sorted_tables:
        with engine.connect() as connection:
            connection.execute(sa.select(table).limit(1)).all()
    folder = tmp_path / "config"
    before = in_force(engine, folder)
    text = before.files["policy.yaml"].replace("min_pools: 5", "min_pools: 6")
    written = write_version(
        engine, folder, {"policy.yaml": text}, author="Ada", reason="x", what="y", seen=before.stamp, now=now
    )
    assert (written.found, written.version) == (1, 2)
    record_deed(engine, Deed("Ada", "127.0.0.1", "write_version", "min_pools", "done"), now)
    assert len(deeds(engine)) == 1
    with engine.connect() as connection:
        more = connection.exec_driver_sql(
            "SELECT relname, wanted FROM pg_class, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS wanted "
            "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND has_table_privilege(oid, wanted)"
        ).all()
    engine.dispose()
    assert {tuple(row) for row in more} == {("policy_versions", "INSERT"), ("console_audit", "INSERT")}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE policy_versions SET author = 'x'",
        "DELETE FROM policy_versions",
        "DELETE FROM console_audit",
        "UPDATE console_audit SET outcome = 'done'",
        "TRUNCATE console_audit",
        "DELETE FROM nav_daily",
        "INSERT INTO policy_snapshot DEFAULT VALUES",
        "CREATE TABLE mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "UPDATE defiyield_schema_version SET version_num = 'x'",
    ],
)
def test_the_console_changes_and_deletes_nothing(statement: str, roles: Roles) -> None:
    assert "permission denied" in refused(engine_of(roles, "console"), statement)


def test_a_role_that_comes_after_the_tables_gets_the_same(roles: Roles) -> None:
    with engine_of(roles, "owner").begin() as connection:
        connection.exec_driver_sql("REVOKE INSERT ON policy_versions, console_audit FROM defiyield_console")
    roles.first_start()
    with engine_of(roles, "owner").connect() as connection:
        for name in ("policy_versions", "console_audit"):
            granted = f"SELECT has_table_privilege('defiyield_console', '{name}', 'INSERT')"
            assert connection.exec_driver_sql(granted).scalar() is True


def test_the_reader_is_enough_for_every_figure_of_the_warehouse(roles: Roles) -> None:
    engine = open_for_reading(url_text(roles.url("reader")))
    try:
        told = all_figures(engine)
        assert newest_plan_day(engine) is None
    finally:
        engine.dispose()
    assert told["up", ("warehouse",)] == told["warehouse_is_migrated", ()] == 1.0
    assert {labels[0] for name, labels in told if name == "table_size_bytes"} == set(schema.metadata.tables)


@pytest.mark.parametrize("role", ["owner", "writer", "reader", "console"])
def test_dagsters_database_is_for_dagster_alone(role: str, roles: Roles) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        engine_of(roles, role, roles.dagster).connect()
    with pytest.raises(DBAPIError, match="permission denied"):
        engine_of(roles, "dagster").connect()
    with engine_of(roles, "dagster", roles.dagster).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS runs (id integer)")


def test_tables_of_later_revisions_are_covered(roles: Roles) -> None:
    with engine_of(roles, "owner").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE later (id bigserial PRIMARY KEY, word text)")
    try:
        with engine_of(roles, "writer").begin() as connection:
            connection.exec_driver_sql("INSERT INTO later (word) VALUES ('x')")
        with engine_of(roles, "reader").connect() as connection:
            assert connection.exec_driver_sql("SELECT word FROM later").scalars().all() == ["x"]
    finally:
        with engine_of(roles, "owner").begin() as connection:
            connection.exec_driver_sql("DROP TABLE later")


def test_secrets_are_random_and_stay(roles: Roles, tmp_path: Path) -> None:
    passwords = {path.name: path.read_text() for path in roles.secrets.glob("*_password")}
    assert len(set(passwords.values())) == len(passwords) == 6
    assert all(len(text) == 48 for text in passwords.values())
    subprocess.run([DEPLOY / "make-secrets.sh", roles.secrets], check=True)
    assert {path.name: path.read_text() for path in roles.secrets.glob("*_password")} == passwords
    assert (roles.secrets.stat().st_mode & 0o777) == 0o700
