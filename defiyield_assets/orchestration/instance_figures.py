"""What Dagster's storage tells of runs, partitions, checks and daemons, as figures to watch.

Lives here: questions to the instance, none of which writes. Not here: what a figure is called and means
(observability/families.py), figures of the warehouse (observability/warehouse.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from defiyield_assets.domain.days import start_of
from defiyield_assets.observability.families import Sample
from defiyield_assets.orchestration.instrument_types import EQUITIES

SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
COUNTED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
    SUCCESS,
    FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
IN_PROGRESS = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
SOME_ASSETS = "__ASSET_JOB"
"""Dagster's job of runs that somebody started for single assets."""
REPLAY = "plan_replay"
RECONCILING = frozenset(
    {
        *("postings_sum_to_zero", "balances_equal_the_chain", "positions_equal_the_chain"),
        *("nav_change_is_explained", "attribution_adds_up"),
    }
)
"""Checks of the ledger whose violations are counted."""
ARCHIVE_WORDS = {"_from_archive": "from_archive", "_asked": "asked"}
"""Ends of the names of a materialisation's figures (fan_out.py) -> what they count."""


@dataclass(frozen=True)
class Graph:
    """The names that figures may carry, as they are declared; `session_assets`: those of exchanges among the day's."""

    jobs: tuple[str, ...]
    daily_assets: tuple[dg.AssetKey, ...]
    session_assets: frozenset[dg.AssetKey]
    checks: tuple[dg.AssetCheckKey, ...]

    @classmethod
    def of(cls, definitions: dg.Definitions) -> "Graph":
        """Those of the definitions."""
        graph = definitions.resolve_asset_graph()
        daily = sorted(key for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags)
        sessions = frozenset(key for key in daily if EQUITIES in graph.get(key).tags)
        jobs = sorted(job.name for job in definitions.jobs or ())
        return cls((*jobs, SOME_ASSETS), tuple(daily), sessions, tuple(sorted(graph.asset_check_keys, key=str)))


def run_figures(instance: dg.DagsterInstance, jobs: Iterable[str]) -> list[Sample]:
    """Runs by job and status, and the last of each job that succeeded and failed."""
    found = []
    for job in jobs:
        for status in COUNTED:
            count = instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=[status]))
            found.append(Sample("runs", float(count), (job, status.value.lower())))
        for record in _last(instance, job, SUCCESS):
            if record.start_time is not None and record.end_time is not None:
                found.append(Sample("run_last_success_timestamp_seconds", record.end_time, (job,)))
                seconds = record.end_time - record.start_time
                found.append(Sample("run_last_success_duration_seconds", seconds, (job,)))
        for record in _last(instance, job, FAILURE):
            ended = record.end_time or record.update_timestamp.timestamp()
            found.append(Sample("run_last_failure_timestamp_seconds", ended, (job,)))
    return [*found, *_oldest_starts(instance)]


def _last(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(dg.RunsFilter(job_name=job, statuses=[status]), limit=1)


def _oldest_starts(instance: dg.DagsterInstance) -> Iterator[Sample]:
    oldest: dict[str, float] = {}
    for record in unfinished_runs(instance):
        job = record.dagster_run.job_name
        oldest[job] = min(oldest.get(job, begun(record)), begun(record))
    for job, started in sorted(oldest.items()):
        yield Sample("run_oldest_start_timestamp_seconds", started, (job,))


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """Runs that a process should be working on."""
    return instance.get_run_records(dg.RunsFilter(statuses=list(IN_PROGRESS)))


def begun(record: dg.RunRecord) -> float:
    """When the run began, or was asked for when no process has taken it yet; seconds since 1970."""
    return record.start_time or record.create_timestamp.timestamp()


def partition_figures(instance: dg.DagsterInstance, graph: Graph) -> list[Sample]:
    """The newest day of each asset of the day; of exchanges' assets, which have none at weekends, told apart."""
    found = []
    for key in graph.daily_assets:
        days = [day for name in instance.get_materialized_partitions(key) if (day := _day(name)) is not None]
        newest = start_of(max(days)).timestamp() if days else 0.0
        labels = (key.to_user_string(), "sessions" if key in graph.session_assets else "daily")
        found.append(Sample("asset_newest_partition_timestamp_seconds", newest, labels))
    return found


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name)
    except ValueError:
        return None


def archive_figures(instance: dg.DagsterInstance, assets: Sequence[dg.AssetKey]) -> list[Sample]:
    """How many answers the last materialisation of each asset found in the archive, of how many."""
    found = []
    for record in instance.get_asset_records(list(assets)):
        entry = record.asset_entry
        made = entry.last_materialization.asset_materialization if entry.last_materialization is not None else None
        told = made.metadata if made is not None else {}
        for name, value in told.items():
            outcome = next((words for end, words in ARCHIVE_WORDS.items() if name.endswith(end)), None)
            if outcome is not None and isinstance(value.value, int):
                found.append(Sample("archive_answers", float(value.value), (entry.asset_key.to_user_string(), outcome)))
    return found


def check_figures(instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]) -> list[Sample]:
    """The last verdict of every check, and what the replay and the ledger's checks counted."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    found = []
    for key, record in sorted(records.items(), key=lambda item: str(item[0])):
        event = record.event.dagster_event if record.event is not None else None
        if record.status == AssetCheckExecutionRecordStatus.PLANNED or event is None:
            continue
        verdict = event.asset_check_evaluation_data
        labels = (key.asset_key.to_user_string(), key.name, verdict.severity.value.lower())
        found.append(Sample("check_failed", float(not verdict.passed), labels))
        if key.name == REPLAY:
            found += _counted(verdict, "errors", "plan_replay_errors")
        elif key.name in RECONCILING:
            found += _counted(verdict, "violations", "reconciliation_breaks", key.name)
    return found


def _counted(verdict: dg.AssetCheckEvaluation, name: str, family: str, *labels: str) -> Iterator[Sample]:
    value = verdict.metadata[name].value if name in verdict.metadata else 0
    if isinstance(value, int):
        yield Sample(family, float(value), labels)


def daemon_figures(instance: dg.DagsterInstance) -> list[Sample]:
    """Last heartbeat of every part of the daemon that this instance needs; 0 for one that never reported."""
    beats = instance.get_daemon_heartbeats()
    found = [Sample("up", 1.0, ("dagster",))]
    for daemon in sorted(instance.get_required_daemon_types()):
        seen = beats[daemon].timestamp if daemon in beats else 0.0
        found.append(Sample("daemon_heartbeat_timestamp_seconds", seen, (daemon.lower(),)))
    return found


def event_log_figures(instance: dg.DagsterInstance, state: Path) -> list[Sample]:
    """Size of the event log: the table on PostgreSQL, the files below the state folder's `history` otherwise."""
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            if connection.dialect.name == "postgresql":
                size = connection.execute(sa.text("SELECT pg_total_relation_size('event_logs')")).scalar_one()
                return [Sample("event_log_size_bytes", float(size))]
    folder = state / "history"
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
    return [Sample("event_log_size_bytes", float(sum(sizes)))]
