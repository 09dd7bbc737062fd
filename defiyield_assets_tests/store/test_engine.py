"""Opening, migrating and claiming warehouses."""

import multiprocessing
import stat
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from defiyield_assets.errors import ConfigurationError, TransientError
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.databases import postgres_database, url_text
from defiyield_assets_tests.store.frames import FIRST
from defiyield_assets_tests.store.migrating import upgrade_and_close


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@host/db", "postgresql+psycopg2://me:hunter2@host/db"])
def test_a_postgres_url_must_state_our_driver(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"postgresql\+psycopg://") as caught:
        engines.make_engine(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://me:hunter2@host/db", "no url, hunter2", "sqlite+aiosqlite:///hunter2.db"])
def test_other_databases_are_refused_without_repeating_the_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="right would be") as caught:
        engines.make_engine(url)
    assert "hunter2" not in str(caught.value)


def test_sqlite_runs_in_wal_mode_with_foreign_keys_and_patience(sqlite_warehouse: sa.Engine) -> None:
    with sqlite_warehouse.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": engines.BUSY_SECONDS * 1000}


def test_a_new_sqlite_file_is_private_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "state" / "warehouse.db"
    engines.make_engine(f"sqlite:///{path}").dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/warehouse\.db cannot be created"):
        engines.make_engine(f"sqlite:///{tmp_path}/file/warehouse.db")


def test_upgrade_brings_an_empty_database_to_head_and_is_idempotent(empty_database: str) -> None:
    engine = engines.make_engine(empty_database)
    assert engines.current_revision(engine) is None
    assert engines.upgrade(engine) == engines.head_revision()
    assert engines.current_revision(engine) == engines.head_revision()
    assert engines.upgrade(engine) == engines.head_revision()
    engine.dispose()


def test_the_migrated_schema_equals_the_metadata(warehouse: sa.Engine) -> None:
    with warehouse.connect() as connection:
        options: dict[str, Any] = {"version_table": engines.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, schema.metadata) == []


def test_the_comparison_would_notice_a_missing_column(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE pools DROP COLUMN il_risk")
        context = MigrationContext.configure(connection, opts={"version_table": engines.VERSION_TABLE})
        (difference,) = compare_metadata(context, schema.metadata)
    assert difference[0] == "add_column"
    assert difference[3].name == "il_risk"


def test_downgrade_leaves_nothing_behind(warehouse: sa.Engine) -> None:
    with engines.write_transaction(warehouse, engines.VERSION_TABLE) as connection:
        command.downgrade(engines.alembic_config(connection), "base")
    assert sa.inspect(warehouse).get_table_names() == [engines.VERSION_TABLE]


def test_forecasts_and_scores_made_before_revision_0003_live_on(empty_database: str) -> None:
    engine = engines.make_engine(empty_database)
    with engines.write_transaction(engine, engines.VERSION_TABLE) as connection:
        command.upgrade(engines.alembic_config(connection), "0002")
    vintage = {"pool_id": "p", "as_of": FIRST, "horizon_days": 1, "target": "apy", "model": "ses", "mean": 0.1}
    figures = {"p10": 0.05, "p50": 0.1, "p90": 0.2, "model_version": "1"}
    fitted = {"trained_from": FIRST, "trained_to": FIRST, "n_obs": 3, "is_hindsight": False}
    score = {"date": FIRST, "pool_id": "p", "horizon_days": 1, "target": "apy", "as_of": FIRST, "model": "ses"}
    errors = dict.fromkeys(["forecast", "actual", "naive", "absolute_error", "naive_absolute_error", "error"], 0.5)
    with engine.begin() as connection:
        connection.execute(_insert_known(schema.pool_forecasts, {**vintage, **figures, **fitted}))
        worth = {**score, **errors, "is_covered": True, "pinball_loss": 0.1}
        connection.execute(_insert_known(schema.forecast_scores, worth))
    engines.upgrade(engine)
    for table, added in (
        (schema.pool_forecasts, {**fitted, "tier": "baseline"}),
        (schema.forecast_candidates, {"is_champion": True}),
    ):
        (row,) = reads.read_all(engine, table).to_dict("records")
        assert {**vintage, **figures, **added}.items() <= row.items()
    (kept,) = reads.read_all(engine, schema.forecast_scores).to_dict("records")
    assert {**worth, "is_champion": True, "has_band": True}.items() <= kept.items()
    with engines.write_transaction(engine, engines.VERSION_TABLE) as connection:
        command.downgrade(engines.alembic_config(connection), "0002")
        assert connection.exec_driver_sql("SELECT count(*) FROM forecast_scores").scalar_one() == 1
    engine.dispose()


def test_chain_facts_read_before_revision_0004_are_final_and_the_cursors_say_so(empty_database: str) -> None:
    engine = engines.make_engine(empty_database)
    with engines.write_transaction(engine, engines.VERSION_TABLE) as connection:
        command.upgrade(engines.alembic_config(connection), "0003")
    moved = {"chain_id": 1, "tx_hash": "0x1", "kind": "token", "ordinal": 0, "date": FIRST, "block_number": 7}
    sides = {"from_address": "0xa", "to_address": "0xb", "token_address": "0xc", "value": 2**256 - 1, "decimals": 6}
    rest = {"block_time": datetime(2026, 3, 1, tzinfo=UTC), "is_success": True, "source": "etherscan"}
    cursor = {"chain_id": 1, "wallet": "0xa", "kind": "all", "read_through": FIRST, "last_block": 7}
    with engine.begin() as connection:
        connection.execute(_insert_known(schema.account_transactions, {**moved, **sides, **rest}))
        connection.execute(_insert_known(schema.account_cursors, cursor))
    engines.upgrade(engine)
    (row,) = reads.read_all(engine, schema.account_transactions).to_dict("records")
    assert {**moved, **sides, "is_pending": False}.items() <= row.items()
    (known,) = reads.read_all(engine, schema.account_cursors).to_dict("records")
    assert known == {**cursor, "final_block": 7}
    with engines.write_transaction(engine, engines.VERSION_TABLE) as connection:
        command.downgrade(engines.alembic_config(connection), "0003")
        assert connection.exec_driver_sql("SELECT last_block FROM account_cursors").scalar_one() == 7
    engine.dispose()


def _insert_known(table: sa.Table, row: dict[str, Any]) -> sa.Insert:
    """An INSERT of these columns only, whatever else the table has by now."""
    return sa.insert(sa.table(table.name, *[sa.column(name, table.c[name].type) for name in row])).values(row)


def test_snapshots_of_coins_made_before_revision_0006_are_observations(empty_database: str) -> None:
    """Each figure is one row at the vendor's stamp; a repeated stamp counts once; the way back tells the same."""
    engine = engines.make_engine(empty_database)
    with engine.begin() as connection:
        command.upgrade(engines.alembic_config(connection), "0005")
        connection.exec_driver_sql(
            "INSERT INTO instruments (instrument_id, type, symbol, calendar, price_scale, coingecko_id) "
            "VALUES ('ethereum:0xa', 'crypto', 'USDC', '24x7', 1.0, 'usd-coin')"
        )
        connection.exec_driver_sql(
            "INSERT INTO daily_bars (instrument_id, date, close, adj_factor, source, quality) "
            "VALUES ('ethereum:0xa', '2025-06-01', 1.0, 1.0, 'coingecko', 'close_only')"
        )
        for day, stamp, cap in (("01", "01 23:00:00", 5.0), ("02", "01 23:00:00", 5.0), ("03", "03 22:00:00", None)):
            connection.execute(
                sa.text(
                    "INSERT INTO coin_markets (date, instrument_id, coingecko_id, price_usd, market_cap_usd, "
                    "updated_at, fetched_at) VALUES (:day, 'ethereum:0xa', 'usd-coin', 1.0, :cap, :stamp, :fetched)"
                ),
                {
                    "day": f"2025-06-{day}",
                    "cap": cap,
                    "stamp": f"2025-06-{stamp}.000000",
                    "fetched": f"2025-06-{int(day) + 1:02} 00:30:00.000000",
                },
            )
    assert engines.upgrade(engine) == engines.head_revision()
    with engine.connect() as connection:
        told = connection.execute(
            sa.select(schema.observations).order_by(schema.observations.c.metric, schema.observations.c.observed_at)
        ).all()
        bar = connection.execute(sa.select(schema.daily_bars)).one()
    assert [(row.metric, row.observed_at.day, row.date.day, row.value) for row in told] == [
        ("market_cap_usd", 1, 1, 5.0),
        ("price_usd", 1, 1, 1.0),
        ("price_usd", 3, 3, 1.0),
    ]
    assert (bar.instrument_type, bar.split_factor) == ("crypto", 1.0)
    with engine.begin() as connection:
        command.downgrade(engines.alembic_config(connection), "0005")
        back = connection.exec_driver_sql("SELECT market_cap_usd FROM coin_markets ORDER BY date").scalars().all()
    assert back == [5.0, None]
    engine.dispose()


def test_a_migration_that_fails_leaves_the_database_empty(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines.make_engine(empty_database)
    migrate = command.upgrade

    def migrate_and_break(*arguments: Any) -> None:
        migrate(*arguments)
        raise RuntimeError("power cut")

    monkeypatch.setattr(engines.command, "upgrade", migrate_and_break)
    with pytest.raises(RuntimeError, match="power cut"):
        engines.upgrade(engine)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_several_processes_may_upgrade_an_empty_database_at_once(empty_database: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=3, mp_context=context) as processes:
        revisions = list(processes.map(upgrade_and_close, [empty_database] * 6))
    assert revisions == [engines.head_revision()] * 6
    engine = engines.make_engine(empty_database)
    assert set(sa.inspect(engine).get_table_names()) == {*schema.metadata.tables, engines.VERSION_TABLE}
    engine.dispose()


def test_a_database_newer_than_the_program_is_refused(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {engines.VERSION_TABLE} SET version_num = '9999'")
    for ask in (engines.upgrade, engines.require_newest):
        with pytest.raises(ConfigurationError, match=r"revision 9999, .* a newer version made it; install that one"):
            ask(warehouse)


@pytest.mark.postgres
def test_who_may_only_write_is_told_who_migrates(postgres_server: sa.URL) -> None:
    with postgres_database(postgres_server) as url:
        owner = engines.make_engine(url_text(url))
        role = f"only_writes_{url.database}"
        with owner.begin() as connection:
            connection.exec_driver_sql(f'CREATE ROLE "{role}" LOGIN')
        writer = engines.make_engine(url_text(url.set(username=role)))
        try:
            with pytest.raises(ConfigurationError, match="with the owner of its tables in DEFIYIELD_DATABASE_URL"):
                engines.upgrade(writer)
        finally:
            writer.dispose()
            with owner.begin() as connection:
                connection.exec_driver_sql(f'DROP ROLE "{role}"')
            owner.dispose()


def test_a_missing_migrations_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MIGRATIONS", tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="gone"):
        engines.head_revision()


def test_two_markets_never_share_a_warehouse(warehouse: sa.Engine) -> None:
    engines.claim_market(warehouse, "simulated")
    engines.claim_market(warehouse, "simulated")
    with pytest.raises(ConfigurationError, match="holds the market simulated, not recorded"):
        engines.claim_market(warehouse, "recorded")
    assert reads.read_all(warehouse, schema.warehouse_identity)["market"].tolist() == ["simulated"]


def test_of_two_markets_that_claim_at_once_one_wins(warehouse: sa.Engine) -> None:
    def claim(market: str) -> str | None:
        try:
            engines.claim_market(warehouse, market)
        except ConfigurationError:
            return None
        return market

    with ThreadPoolExecutor(8) as threads:
        winners = {market for market in threads.map(claim, ["simulated", "recorded"] * 8) if market}
    assert len(winners) == 1
    assert set(reads.read_all(warehouse, schema.warehouse_identity)["market"]) == winners


def test_reading_a_database_that_was_never_migrated_is_an_error_not_an_empty_frame(empty_database: str) -> None:
    engine = engines.make_engine(empty_database)
    with pytest.raises(ConfigurationError, match="has not been migrated"):
        reads.read_all(engine, schema.pools)
    engine.dispose()


def test_a_locked_database_is_a_transient_error(sqlite_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0)
    impatient = engines.make_engine(url=str(sqlite_warehouse.url))
    with (
        engines.write_transaction(sqlite_warehouse, "pools"),
        pytest.raises(TransientError, match="locked"),
        engines.write_transaction(impatient, "pools"),
    ):
        pass
    impatient.dispose()


def test_a_server_that_is_away_is_a_transient_error(tmp_path: Path) -> None:
    engine = engines.make_engine(f"postgresql+psycopg://me@/db?host={tmp_path}")
    with pytest.raises(TransientError, match="cannot read pools"):
        reads.read_all(engine, schema.pools)


def test_a_file_that_is_no_database_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is not a database, it is a letter to a friend" * 40)
    engine = engines.make_engine(f"sqlite:///{tmp_path / 'text.db'}")
    with pytest.raises(ConfigurationError, match="not a database"):
        reads.read_all(engine, schema.pools)


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_a_configuration_error(postgres_server: sa.URL) -> None:
    engine = engines.make_engine(postgres_server.set(database="nowhere").render_as_string(hide_password=False))
    with pytest.raises(ConfigurationError, match="nowhere"):
        reads.read_all(engine, schema.pools)


@pytest.mark.postgres
def test_a_server_that_drops_its_connections_is_found_again(postgres_warehouse: sa.Engine) -> None:
    assert reads.read_all(postgres_warehouse, schema.pools).empty
    with postgres_warehouse.connect() as connection:
        admin = sa.create_engine(postgres_warehouse.url, poolclass=sa.NullPool)
        with admin.connect() as other:
            other.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("SELECT 1")
    assert reads.read_all(postgres_warehouse, schema.pools).empty
