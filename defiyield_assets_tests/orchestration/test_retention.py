"""The daily cleaning: Dagster's runs on both storages, files, and that nothing grows over simulated weeks."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from defiyield_assets.definitions import build_defs
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.retention import Cleaning, clean
from defiyield_assets.orchestration.run_retention import ForgottenRuns, forget_runs
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets_tests.databases import postgres_database
from defiyield_assets_tests.orchestration.test_repair_sensor import look, newest_day
from defiyield_assets_tests.postgres_home import instance_of, make_home
from defiyield_assets_tests.store.test_retention import archived, fetch

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
PICTURE = "data:image/png;base64," + "A" * 20_000


@dg.asset(partitions_def=DAYS)
def pools(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A day with a picture, that fails when its run is tagged so."""
    context.log.info("a line of the log")
    if context.run.tags.get("fails"):
        raise dg.Failure("as told", allow_retries=False)
    return dg.MaterializeResult(metadata={"dagster/row_count": 7, "plot": dg.MetadataValue.md(PICTURE)})


@dg.asset_check(asset=pools)
def has_rows() -> dg.AssetCheckResult:
    """It has."""
    return dg.AssetCheckResult(passed=True)


def in_files(folder: Path) -> dg.DagsterInstance:
    """Dagster with its storage in files below the folder."""
    (folder / "home").mkdir()
    return dg.DagsterInstance.local_temp(str(folder / "home"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster with its storage in files, or on PostgreSQL by the file of deploy/."""
    if request.param == "sqlite":
        with in_files(tmp_path) as made:
            yield made
        return
    with postgres_database(request.getfixturevalue("postgres_server")) as url:
        home = make_home(tmp_path, url, url)
        with instance_of(home) as made:
            yield made


def run(instance: dg.DagsterInstance, day: str, *, fails: bool = False) -> str:
    """One run of the day; its id."""
    tags = {"fails": "yes"} if fails else {}
    done = dg.materialize([pools, has_rows], instance=instance, partition_key=day, tags=tags, raise_on_error=not fails)
    assert done.success is not fails
    return done.run_id


def later() -> datetime:
    """When every run of a test is over."""
    return datetime.now(UTC) + timedelta(minutes=1)


def test_the_newest_materialisation_of_every_day_stays(instance: dg.DagsterInstance) -> None:
    superseded, newest, other = (run(instance, day) for day in ("2026-01-05", "2026-01-05", "2026-01-06"))
    failed = run(instance, "2026-01-07", fails=True)
    before = instance.get_materialized_partitions(pools.key)
    status = _status(instance)
    assert forget_runs(instance, later(), later(), is_dry_run=True) == ForgottenRuns(1, 3, 3)
    assert instance.get_runs_count() == 4, "a dry run deletes nothing"

    assert forget_runs(instance, later(), later()) == ForgottenRuns(1, 3, 3)
    assert forget_runs(instance, later(), later()) == ForgottenRuns(0, 0, 0), "it may be repeated"
    assert {kept.run_id for kept in instance.get_runs()} == {newest, other, failed}
    assert instance.get_run_by_id(superseded) is None
    assert instance.get_materialized_partitions(pools.key) == before == {"2026-01-05", "2026-01-06"}
    assert _status(instance) == status
    records = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=pools.key), limit=10).records
    assert [record.run_id for record in records] == [other, newest]
    for record in records:
        assert record.asset_materialization is not None
        assert {name: value.value for name, value in record.asset_materialization.metadata.items()} == {
            "dagster/row_count": 7
        }
    events = instance.all_logs(newest)
    assert all(entry.is_dagster_event for entry in events), "lines of the log and step events are gone"
    checks = instance.event_log_storage.get_asset_check_execution_history(has_rows.check_key, limit=10)
    assert [check.run_id for check in checks] == [failed], "its check was the last to be planned"


def _status(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """The partitions' status as the asset's page shows it."""
    from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

    found = get_and_update_asset_status_cache_value(instance, pools.key, DAYS)
    assert found is not None
    made = found.deserialize_materialized_partition_subsets(DAYS).get_partition_keys()
    failed = found.deserialize_failed_partition_subsets(DAYS).get_partition_keys()
    return {"made": sorted(made), "failed": sorted(failed)}


def test_a_run_that_is_not_over_is_never_touched(instance: dg.DagsterInstance) -> None:
    started = instance.add_run(dg.DagsterRun(job_name="plan_the_day", status=dg.DagsterRunStatus.STARTED))
    assert forget_runs(instance, later(), later()) == ForgottenRuns(0, 0, 0)
    assert instance.get_run_by_id(started.run_id) is not None


def test_runs_that_are_young_enough_stay_as_they_are(instance: dg.DagsterInstance) -> None:
    young = run(instance, "2026-01-05")
    lines = len(instance.all_logs(young))
    assert forget_runs(instance, datetime.now(UTC) - timedelta(days=1), None) == ForgottenRuns(0, 0, 0)
    assert len(instance.all_logs(young)) == lines


def test_logs_of_steps_may_go_before_their_runs(instance: dg.DagsterInstance) -> None:
    done = run(instance, "2026-01-05")
    (key,) = instance.compute_log_manager.get_log_keys_for_log_key_prefix([done, "compute_logs"], dg_stderr())
    folder = Path(instance.compute_log_manager.get_captured_local_path(key, "err")).parent
    assert list(folder.iterdir())
    lines = len(instance.all_logs(done))
    assert forget_runs(instance, None, later()) == ForgottenRuns(0, 0, 1)
    assert not folder.exists() or not list(folder.iterdir())
    assert len(instance.all_logs(done)) == lines


def dg_stderr() -> "object":
    """Which of the two streams."""
    from dagster._core.storage.compute_log_manager import ComputeIOType

    return ComputeIOType.STDERR


@pytest.mark.slow
def test_weeks_of_cleaning_keep_everything_as_large_as_it_was(
    instance: dg.DagsterInstance, sqlite_warehouse: sa.Engine, tmp_path: Path
) -> None:
    """Ten answers, a run and a message a day under a month; after twice as long there is no more than after once."""
    settings = Settings(state_dir=tmp_path, retention_archive_days=7, retention_runs_days=8, retention_logs_days=7)
    settings.reports_path.mkdir()
    sizes = []
    for week in range(4):
        for offset in range(7):
            age = 28 - 7 * week - offset
            for number in range(3):
                fetch(sqlite_warehouse, f"{week} {offset} {number}".encode(), age_days=age)
            page = settings.reports_path / f"{age}.slack.txt"
            page.write_text("told", encoding="utf-8")
            stamp = (datetime.now(UTC) - timedelta(days=age - 28 + 7 * week + 7)).timestamp()
            os.utime(page, (stamp, stamp))
        run(instance, "2026-01-05")
        clean(sqlite_warehouse, instance, settings, datetime.now(UTC) + timedelta(days=9))
        files = len(list(settings.reports_path.iterdir()))
        sizes.append((*archived(sqlite_warehouse), instance.get_runs_count(), files))
    assert sizes[1:] == [sizes[1]] * 3
    assert sizes[-1][2] == 1


def test_the_job_does_the_same_and_repair_asks_for_nothing_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(state_dir=tmp_path, market="simulated")
    warehouse = WarehouseResource(url=settings.warehouse_url, market="simulated")
    warehouse.migrate()
    with in_files(tmp_path) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("pools", partition=str(newest_day())))
        before = look(settings, instance).run_requests or []
        monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path))
        job = build_defs(settings).resolve_job_def("apply_retention")
        assert job.execute_in_process(instance=instance).success
        forget_runs(instance, later(), later())
        after = look(settings, instance).run_requests or []
    assert [request.asset_selection for request in after] == [request.asset_selection for request in before]
    assert [request.partition_key for request in after] == [str(newest_day())]


def test_what_is_kept_for_ever_is_not_looked_at(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    fetch(sqlite_warehouse, b"old", age_days=4_000)
    fetch(sqlite_warehouse, b"new")
    settings = Settings(state_dir=tmp_path, retention_runs_days=0, retention_logs_days=0)
    with dg.DagsterInstance.ephemeral() as instance:
        done = clean(sqlite_warehouse, instance, settings, datetime.now(UTC) + timedelta(days=10_000))
    assert done == Cleaning(is_dry_run=False, tables=(), runs=ForgottenRuns(0, 0, 0), files=0, file_bytes=0)
    assert archived(sqlite_warehouse) == (2, 2)


def test_runs_that_repair_looks_at_must_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_REPAIR_LOOKBACK_DAYS", "30")
    monkeypatch.setenv("DEFIYIELD_RETENTION_RUNS_DAYS", "30")
    with pytest.raises(ConfigurationError, match=r"DEFIYIELD_RETENTION_RUNS_DAYS: 30 is too few.*31 or more"):
        load_settings()
    monkeypatch.setenv("DEFIYIELD_RETENTION_RUNS_DAYS", "-1")
    with pytest.raises(ConfigurationError, match="DEFIYIELD_RETENTION_RUNS_DAYS"):
        load_settings()
