"""The schema forward and back, revision by revision, with rows in the tables, on both databases.

Not here: opening and claiming warehouses, rows that one revision transforms (test_engine.py).
"""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.databases import url_text
from defiyield_assets_tests.store.frames import WRITABLE, example_frame

DOWN = engines.revisions()[-2:0:-1]
"""From the last but one to the first; `base` keeps no row."""


def fill(engine: sa.Engine) -> None:
    """A few valid rows in every table that frames are written to."""
    for table in WRITABLE:
        writes.upsert(engine, table, example_frame(table, 4))


def differences(engine: sa.Engine) -> list[Any]:
    """Between the database and the metadata."""
    with engine.connect() as connection:
        options: dict[str, Any] = {"version_table": engines.VERSION_TABLE, "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))


def test_every_revision_goes_back_and_forward_again_with_rows_in_the_tables(warehouse: sa.Engine) -> None:
    fill(warehouse)
    before = {name: reads.read_all(warehouse, schema.metadata.tables[name]) for name in ("pools", "pool_histories")}
    for revision in DOWN:
        assert engines.migrate_to(warehouse, revision, may_lose=True) == revision
        there = set(sa.inspect(warehouse).get_table_names()) - {engines.VERSION_TABLE}
        assert there <= {*schema.metadata.tables, *engines.FORMER_TABLES}, revision
    assert engines.migrate_to(warehouse, engines.head_revision()) == engines.head_revision()
    assert differences(warehouse) == []
    for name, rows in before.items():
        assert reads.read_all(warehouse, schema.metadata.tables[name]).equals(rows), f"{name} was there all the time"
    engines.migrate_to(warehouse, engines.BASE, may_lose=True)
    assert sa.inspect(warehouse).get_table_names() == [engines.VERSION_TABLE]
    engines.migrate_to(warehouse, engines.head_revision())
    assert differences(warehouse) == []


def test_going_back_over_rows_is_refused_by_name_and_changes_nothing(warehouse: sa.Engine) -> None:
    fill(warehouse)
    with pytest.raises(ConfigurationError, match="4 of 4 rows of slack_messages") as caught:
        engines.migrate_to(warehouse, "0008")
    assert "the column forecast_scoreboard.n_bands of 4 rows" in str(caught.value)
    assert "--yes-lose-data" in str(caught.value)
    assert engines.current_revision(warehouse) == engines.head_revision()
    assert len(reads.read_all(warehouse, schema.slack_messages)) == 4
    assert differences(warehouse) == []
    engines.migrate_to(warehouse, "0008", may_lose=True)
    assert not sa.inspect(warehouse).has_table("slack_messages")


def test_going_back_where_no_row_is_lost_needs_no_yes(warehouse: sa.Engine) -> None:
    writes.upsert(warehouse, schema.pools, example_frame(schema.pools, 4))
    assert engines.migrate_to(warehouse, "0008") == "0008"
    assert engines.migrate_to(warehouse, "0008") == "0008"
    assert engines.migrate_to(warehouse, engines.head_revision()) == engines.head_revision()
    assert len(reads.read_all(warehouse, schema.pools)) == 4


def test_an_unknown_revision_is_named_with_those_there_are(warehouse: sa.Engine) -> None:
    with pytest.raises(ConfigurationError, match=re.escape("no revision 77; right would be one of base, 0001")):
        engines.migrate_to(warehouse, "77")
    with warehouse.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {engines.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="revision 9999, which this version of the program does not know"):
        engines.migrate_to(warehouse, "0001")


def test_an_empty_database_may_be_brought_to_any_revision(empty_database: str) -> None:
    engine = engines.make_engine(empty_database)
    assert engines.migrate_to(engine, engines.BASE) == engines.BASE
    assert engines.migrate_to(engine, "0003") == "0003"
    assert engines.current_revision(engine) == "0003"
    engine.dispose()


@pytest.mark.postgres
def test_large_tables_are_vacuumed_before_a_fifth_of_them_is_dead(postgres_warehouse: sa.Engine) -> None:
    query = sa.text("SELECT reloptions FROM pg_class WHERE relname = 'pool_metrics'")
    with postgres_warehouse.connect() as connection:
        assert "autovacuum_vacuum_scale_factor=0.02" in connection.execute(query).scalar_one()
    engines.migrate_to(postgres_warehouse, "0009")
    with postgres_warehouse.connect() as connection:
        assert connection.execute(query).scalar_one() is None


ROLES = """
CREATE ROLE {writer} LOGIN;
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {writer};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {writer};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {writer};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {writer};
"""


@pytest.mark.postgres
def test_a_writer_that_may_not_create_writes_every_table_and_cannot_migrate(postgres_warehouse: sa.Engine) -> None:
    database = str(postgres_warehouse.url.database)
    writer = f"writer_{database[-12:]}"
    with postgres_warehouse.begin() as connection:
        connection.exec_driver_sql(ROLES.format(writer=writer, database=database))
    url = postgres_warehouse.url.set(username=writer, password=None)
    engine = engines.make_engine(url_text(url))
    try:
        assert engines.upgrade(engine) == engines.head_revision(), "nothing to do is no write"
        engines.claim_market(engine, "simulated")
        fill(engine)
        for table in WRITABLE:
            assert len(reads.read_all(engine, table)) >= 4, table.name
        with pytest.raises(ConfigurationError, match=r"must be owner|permission denied"):
            engines.migrate_to(engine, "0009", may_lose=True)
        with pytest.raises(sa.exc.ProgrammingError), engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE mine (n int)")
    finally:
        engine.dispose()
        with postgres_warehouse.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {writer}; DROP ROLE {writer}")
