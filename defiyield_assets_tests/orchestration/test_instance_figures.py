"""What Dagster's storage tells of runs, partitions, checks and daemons, from an instance whose content is known."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.types import DaemonHeartbeat

from defiyield_assets.definitions import build_defs
from defiyield_assets.observability.families import require_known
from defiyield_assets.orchestration import instance_figures as figures
from defiyield_assets.orchestration.instance_figures import Graph
from defiyield_assets.settings import Settings
from defiyield_assets_tests.observability.exposition import Values, values_of

POOLS, BARS, STEPS = dg.AssetKey("pools"), dg.AssetKey("ohlcv_alpha_vantage"), dg.AssetKey("allocation_steps")
REPLAY = dg.AssetCheckKey(STEPS, "plan_replay")
RECONCILED = dg.AssetCheckKey(dg.AssetKey("daily_balances"), "balances_equal_the_chain")
NEVER = dg.AssetCheckKey(POOLS, "never")
GRAPH = Graph(("plan_the_day", "update_news"), (BARS, POOLS), frozenset({BARS}), (REPLAY, RECONCILED, NEVER))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def told(samples: object) -> Values:
    return values_of(require_known(samples))  # type: ignore[arg-type]


def test_runs_are_counted_by_job_and_status(instance: dg.DagsterInstance) -> None:
    made = [
        create_run_for_test(instance, job_name="plan_the_day", status=status)
        for status in (figures.SUCCESS, figures.SUCCESS, figures.FAILURE, dg.DagsterRunStatus.STARTED)
    ]
    create_run_for_test(instance, job_name="somebody_elses", status=figures.FAILURE)
    values = told(figures.run_figures(instance, GRAPH.jobs))
    assert values["runs", ("plan_the_day", "success")] == 2.0
    assert values["runs", ("plan_the_day", "failure")] == values["runs", ("plan_the_day", "started")] == 1.0
    assert values["runs", ("update_news", "success")] == 0.0
    assert ("runs", ("somebody_elses", "failure")) not in values, "names of our own jobs only"
    record = instance.get_run_record_by_id(made[3].run_id)
    assert record is not None
    assert values["run_oldest_start_timestamp_seconds", ("plan_the_day",)] == figures.begun(record)
    assert ("run_last_failure_timestamp_seconds", ("plan_the_day",)) in values


def test_the_last_success_has_its_end_and_duration(instance: dg.DagsterInstance) -> None:
    @dg.op
    def nothing() -> None:
        """Nothing."""

    @dg.job(name="update_news")
    def job() -> None:
        nothing()

    done = job.execute_in_process(instance=instance)
    record = instance.get_run_record_by_id(done.run_id)
    assert record is not None
    assert record.start_time is not None
    assert record.end_time is not None
    values = told(figures.run_figures(instance, GRAPH.jobs))
    assert values["run_last_success_timestamp_seconds", ("update_news",)] == record.end_time
    assert values["run_last_success_duration_seconds", ("update_news",)] == record.end_time - record.start_time
    assert ("run_oldest_start_timestamp_seconds", ("update_news",)) not in values


def test_the_newest_day_of_an_asset_is_that_of_its_partitions_not_of_its_last_run(
    instance: dg.DagsterInstance,
) -> None:
    for day in ("2026-03-02", "2026-03-03", "2026-01-01"):
        instance.report_runless_asset_event(dg.AssetMaterialization(POOLS, partition=day))
    values = told(figures.partition_figures(instance, GRAPH))
    name = "asset_newest_partition_timestamp_seconds"
    assert values[name, ("pools", "daily")] == datetime(2026, 3, 3, tzinfo=UTC).timestamp()
    assert values[name, ("ohlcv_alpha_vantage", "sessions")] == 0.0


def test_answers_of_the_archive_are_those_of_the_last_materialisation(instance: dg.DagsterInstance) -> None:
    for asked, found in ((9, 1), (80, 77)):
        counted = {"charts_asked": asked, "charts_from_archive": found, "charts_failed": 0, "rows": 5}
        instance.report_runless_asset_event(dg.AssetMaterialization(POOLS, metadata=counted))
    assert told(figures.archive_figures(instance, [POOLS, BARS])) == {
        ("archive_answers", ("pools", "asked")): 80.0,
        ("archive_answers", ("pools", "from_archive")): 77.0,
    }


def report(instance: dg.DagsterInstance, key: dg.AssetCheckKey, *, passed: bool, **metadata: int) -> None:
    verdict = dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=passed,
        metadata=metadata,
        severity=dg.AssetCheckSeverity.ERROR,
    )
    instance.report_runless_asset_event(verdict)


def test_the_last_verdict_of_a_check_counts_and_what_it_counted(instance: dg.DagsterInstance) -> None:
    report(instance, REPLAY, passed=False, errors=4)
    report(instance, RECONCILED, passed=False, violations=2)
    assert told(figures.check_figures(instance, GRAPH.checks)) == {
        ("check_failed", ("allocation_steps", "plan_replay", "error")): 1.0,
        ("plan_replay_errors", ()): 4.0,
        ("check_failed", ("daily_balances", "balances_equal_the_chain", "error")): 1.0,
        ("reconciliation_breaks", ("balances_equal_the_chain",)): 2.0,
    }
    report(instance, REPLAY, passed=True)
    values = told(figures.check_figures(instance, GRAPH.checks))
    assert values["check_failed", ("allocation_steps", "plan_replay", "error")] == values["plan_replay_errors", ()] == 0


def test_heartbeats_of_every_part_of_the_daemon(instance: dg.DagsterInstance) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(1_700_000_000.0, "SENSOR", None, None))
    values = told(figures.daemon_figures(instance))
    assert values["up", ("dagster",)] == 1.0
    assert values["daemon_heartbeat_timestamp_seconds", ("sensor",)] == 1_700_000_000.0
    assert values["daemon_heartbeat_timestamp_seconds", ("scheduler",)] == 0.0


def test_the_event_log_is_as_large_as_its_files(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    files = [Path(folder) / name for folder, _, names in os.walk(tmp_path / "history") for name in names]
    assert files
    size = float(sum(path.stat().st_size for path in files))
    assert told(figures.event_log_figures(instance, tmp_path)) == {("event_log_size_bytes", ()): size}


def test_names_are_those_of_the_definitions(tmp_path: Path) -> None:
    defs = build_defs(Settings(state_dir=tmp_path))
    graph = Graph.of(defs)
    assert "plan_the_day" in graph.jobs
    assert figures.SOME_ASSETS in graph.jobs
    assert set(graph.checks) >= {REPLAY, RECONCILED}
    assert {check.name for check in graph.checks} >= figures.RECONCILING, "a check that was renamed is counted no more"
    assert POOLS in graph.daily_assets
    assert BARS in graph.session_assets
    assert POOLS not in graph.session_assets
