"""An installation wholly on PostgreSQL, as a user sets it up: deploy/dagster.postgres.yaml and the warehouse.

Not here: several workers (cluster/), a single table on PostgreSQL (store/), the server restarted in the middle of a
write of the warehouse (faults/test_crashes.py), or under Dagster's own storage (benchmarks/soak_daemon.py, by hand).
"""

import os
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from defiyield_assets.cli import state_checks
from defiyield_assets.settings import Settings
from defiyield_assets.store import schema
from defiyield_assets.store.engine import VERSION_TABLE
from defiyield_assets_tests.dagster_processes import DagsterHome
from defiyield_assets_tests.databases import postgres_database, url_text
from defiyield_assets_tests.installations import FIRST, Installation, Loop, materialised
from defiyield_assets_tests.postgres_home import instance_of, make_home
from defiyield_assets_tests.served_market import contents, differing

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
PATIENCE_SECONDS = 600.0
DOCTOR = ("doctor", "--offline", "--timeout", str(PATIENCE_SECONDS))
SLICE = ("migrations", "policy_snapshot", "pools", "pool_aliases")
"""Enough to see runs, events, materialisations and rows; what they are made of needs nothing else."""
FOR_ALL_TESTS = ("DEFIYIELD_COSTLY_BUDGET_SECONDS", "DEFIYIELD_PICTURES")
"""Set by conftest.py; other processes have to be told."""


def must(home: DagsterHome, program: str, *arguments: str) -> str:
    """What the program says; it ends well."""
    done = home.run(program, *arguments, timeout_seconds=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout[-4000:]
    return str(done.stdout)


def test_a_user_migrates_runs_and_finds_it_all_in_one_database(tmp_path: Path, postgres_server: sa.URL) -> None:
    with postgres_database(postgres_server) as url:
        home = make_home(tmp_path, url, url)
        assert "PostgresEventLogStorage" in must(home, "defiyield", "migrate")
        told = " ".join(must(home, "defiyield", *DOCTOR).split())
        assert "postgres storage with 0 runs, at its newest revision" in told
        assert "no setting has that name" not in told
        materialise(home, ",".join(SLICE))

        with instance_of(home) as instance:
            storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
            assert [type(storage).__name__.startswith("Postgres") for storage in storages] == [True] * 3
            (run,) = instance.get_runs()
            assert run.is_success
            assert all(instance.get_materialized_partitions(dg.AssetKey(name)) == {str(FIRST)} for name in SLICE)
            ended = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
            assert {entry.step_key for entry in ended} >= set(SLICE)
        assert list(home.state.glob("**/*.db")) == [], "nothing of Dagster is left in files"
        installation = Installation(home.state, database_url=url_text(url))
        assert len(installation.rows(schema.pools, FIRST)) >= 2_000
        installation.engine.dispose()

        dagsters = tables_of(url) - set(schema.metadata.tables) - {VERSION_TABLE}
        assert {"runs", "event_logs", "job_ticks", "alembic_version"} <= dagsters
        must(home, "defiyield", "migrate", "--to", "base", "--yes-lose-data")
        assert tables_of(url) == dagsters | {VERSION_TABLE}, "Dagster's tables stay, and nothing of ours"


def tables_of(url: sa.URL) -> set[str]:
    """Names of the tables that are there now."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    return set(sa.inspect(engine).get_table_names())


def materialise(home: DagsterHome, selection: str) -> None:
    """As the README says it, in a process of its own."""
    command = ("asset", "materialize", "-m", "defiyield_assets.definitions", "--select", selection)
    must(home, "dagster", *command, "--partition", FIRST.isoformat())


def test_doctor_says_what_is_wrong_with_dagsters_storage(
    tmp_path: Path, postgres_server: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_database(postgres_server) as url:
        for dagster, words in ((url.set(database="nowhere"), "does not answer"), (url, "is at revision 567bc23fd1ac")):
            home = make_home(tmp_path / words[:4], url, dagster)
            for name, value in home.variables.items():
                monkeypatch.setenv(name, value)
            if dagster is url:
                with instance_of(home):
                    pass
                engine = sa.create_engine(url, poolclass=sa.NullPool)
                with engine.begin() as connection:
                    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '567bc23fd1ac'")
            (found,) = state_checks.dagster(Settings(state_dir=home.state))
            assert found.state == state_checks.BROKEN
            assert words in found.what


def test_the_daily_job_on_two_databases_makes_the_day_that_files_make(
    tmp_path: Path, postgres_server: sa.URL, first_day: Loop
) -> None:
    """The whole graph through the command line on PostgreSQL; it was run in one process in files."""
    with postgres_database(postgres_server) as url, postgres_database(postgres_server) as dagster:
        home = make_home(tmp_path, url, dagster)
        home.variables.update({name: os.environ[name] for name in FOR_ALL_TESTS})
        must(home, "defiyield", "migrate")
        materialise(home, "tag:daily")
        with instance_of(home) as instance:
            (run,) = instance.get_runs()
            assert run.is_success
            keys = [dg.AssetKey(name) for name in materialised(first_day.results[0])]
            missing = [key for key in keys if str(FIRST) not in instance.get_materialized_partitions(key)]
            assert missing == []
        installation = Installation(home.state, database_url=url_text(url))
        assert differing(contents(installation), contents(first_day.installation)) == []
        installation.engine.dispose()
