"""What Dagster's own storage forgets when it is old: runs, their events and logs; never what says which day is made.

Lives here: which runs go, which are cut down to what the UI and sensors still need, on both kinds of storage. Not here:
the warehouse (store/retention.py), when it happens (retention.py), ticks (`retention` in dagster.yaml).

Dagster knows that an asset has a day from the newest materialisation in its event log, and `delete_run` deletes that,
too: the day would count as missing. So a run is deleted whole only when nothing of it is the newest of its kind. The
others are cut down: their asset events stay, without pictures, and everything else goes. There is no public call for
that; the tables are those of the pinned version of Dagster, and tests run it on both storages.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import FINISHED_STATUSES, RunRecord
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.schema import RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._serdes import deserialize_value, serialize_value

from defiyield_assets.errors import ConfigurationError

CUT_TAG = "defiyield/events_forgotten"
"""On a run whose events were cut down: it is not looked at again."""
NO_LOGS_TAG = "defiyield/logs_forgotten"
LONGEST_METADATA = 400
"""Characters; what is longer is a picture, a table or a schema. Counts, days and hashes are shorter."""
PAGE = 500
MADE = dg.DagsterEventType.ASSET_MATERIALIZATION.value
TRIED = (MADE, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value)
EVENTS, CHECKS = SqlEventLogStorageTable, AssetCheckExecutionsTable


@dataclass(frozen=True)
class ForgottenRuns:
    """How many runs were deleted whole, cut down to their asset events, and lost the logs of their steps."""

    deleted: int
    cut: int
    without_logs: int


def forget_runs(
    instance: dg.DagsterInstance,
    runs_before: datetime | None,
    logs_before: datetime | None,
    *,
    is_dry_run: bool = False,
) -> ForgottenRuns:
    """Forget runs that ended before `runs_before` and logs of runs that ended before `logs_before` (None: none).

    Unfinished runs are never touched. May be repeated: what was cut down is tagged and passed over.
    """
    latest = max(filter(None, (runs_before, logs_before)), default=None)
    if latest is None:
        return ForgottenRuns(0, 0, 0)
    storage = _sql_storage(instance)
    needed = _needed_runs(storage) if runs_before is not None else frozenset()
    deleted, cut, without_logs = 0, 0, 0
    for run in _finished(instance, latest):
        is_old = runs_before is not None and run.ended < runs_before
        if is_old and run.run_id not in needed:
            deleted += 1
            if not is_dry_run:
                _delete(instance, storage, run.run_id)
            continue
        if is_old and CUT_TAG not in run.tags:
            cut += 1
            if not is_dry_run:
                _cut_down(storage, run.run_id)
                instance.add_run_tags(run.run_id, {CUT_TAG: "true"})
        if logs_before is not None and run.ended < logs_before and NO_LOGS_TAG not in run.tags:
            without_logs += 1
            if not is_dry_run:
                _delete_logs(instance, run.run_id)
                instance.add_run_tags(run.run_id, {NO_LOGS_TAG: "true"})
    return ForgottenRuns(deleted, cut, without_logs)


def _sql_storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    # Configured storages are wrapped once more, when DagsterPostgresStorage holds all three.
    inner = getattr(storage, "event_log_storage", storage)
    if not isinstance(inner, SqlEventLogStorage):
        raise ConfigurationError(
            f"Dagster's events are kept by {type(inner).__name__}: retention knows SQLite and PostgreSQL; set "
            f"DEFIYIELD_RETENTION_RUNS_DAYS=0"
        )
    return inner


@dataclass(frozen=True)
class _Finished:
    """A run that is over, and when."""

    run_id: str
    ended: datetime
    tags: Mapping[str, str]


def _finished(instance: dg.DagsterInstance, before: datetime) -> list[_Finished]:
    """Finished runs that were created before then, oldest first. All are read before the first is deleted: a page is
    found by the last run of the one before."""
    found: list[_Finished] = []
    wanted = dg.RunsFilter(statuses=FINISHED_STATUSES, created_before=before)
    while page := instance.get_run_records(
        wanted, limit=PAGE, cursor=found[-1].run_id if found else None, ascending=True
    ):
        found += [_Finished(record.dagster_run.run_id, _ended(record), record.dagster_run.tags) for record in page]
    return found


def _ended(record: RunRecord) -> datetime:
    """When the run ended; one that never started (cancelled in the queue) has only its last change."""
    if record.end_time is not None:
        return datetime.fromtimestamp(record.end_time, UTC)
    return record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or UTC)


def _needed_runs(storage: SqlEventLogStorage) -> frozenset[str]:
    """Runs with the newest materialisation, or the newest attempt, of any asset and partition, or the newest result of
    any check."""
    is_made, is_tried = EVENTS.c.dagster_event_type == MADE, EVENTS.c.dagster_event_type.in_(TRIED)
    newest = [
        sa.select(sa.func.max(EVENTS.c.id))
        .where(EVENTS.c.asset_key.is_not(None), is_kind)
        .group_by(EVENTS.c.asset_key, EVENTS.c.partition)
        for is_kind in (is_made, is_tried)
    ]
    judged = sa.select(sa.func.max(CHECKS.c.id)).group_by(CHECKS.c.asset_key, CHECKS.c.check_name)
    with storage.index_connection() as connection:
        runs = [
            *(sa.select(EVENTS.c.run_id).where(EVENTS.c.id.in_(ids)).distinct() for ids in newest),
            sa.select(CHECKS.c.run_id).where(CHECKS.c.id.in_(judged)).distinct(),
        ]
        return frozenset(str(name) for query in runs for name in connection.execute(query).scalars())


def _delete(instance: dg.DagsterInstance, storage: SqlEventLogStorage, run_id: str) -> None:
    """The run itself last: while it is there, a retention that was cut off finds it again."""
    _delete_logs(instance, run_id)
    with storage.index_connection() as connection:
        connection.execute(sa.delete(CHECKS).where(CHECKS.c.run_id == run_id))
    storage.delete_events(run_id)
    if isinstance(instance.run_storage, SqlRunStorage):  # SQLite does not take them along with the run
        with instance.run_storage.connect() as connection:
            connection.execute(sa.delete(RunTagsTable).where(RunTagsTable.c.run_id == run_id))
    instance.delete_run(run_id)
    _remove_shard(storage, run_id)


def _delete_logs(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.compute_log_manager.delete_logs(prefix=[run_id])


def _cut_down(storage: SqlEventLogStorage, run_id: str) -> None:
    """Leave the run's asset events, without what is long, and the newest result of each check."""
    newest = sa.select(sa.func.max(CHECKS.c.id)).group_by(CHECKS.c.asset_key, CHECKS.c.check_name)
    with storage.index_connection() as connection:
        kept = connection.execute(newest).scalars().all()
        connection.execute(sa.delete(CHECKS).where(CHECKS.c.run_id == run_id, CHECKS.c.id.not_in(kept)))
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.run_id == run_id, EVENTS.c.asset_key.is_(None)))
        made = sa.select(EVENTS.c.id, EVENTS.c.event).where(
            EVENTS.c.run_id == run_id, EVENTS.c.dagster_event_type == MADE
        )
        for number, text in connection.execute(made).all():
            slim = _without_long_metadata(text)
            connection.execute(sa.update(EVENTS).where(EVENTS.c.id == number).values(event=slim))
    _empty_shard(storage, run_id)


def _without_long_metadata(text: str) -> str:
    """The event as it was stored, its pictures, tables and schemas left out."""
    entry = deserialize_value(text, dg.EventLogEntry)
    event = entry.dagster_event
    if event is None:
        return text
    told = event.step_materialization_data
    made = told.materialization
    short = {name: value for name, value in made.metadata.items() if len(str(value.value)) <= LONGEST_METADATA}
    slim = told._replace(materialization=made.with_metadata(short))
    return serialize_value(entry._replace(dagster_event=event._replace(event_specific_data=slim)))


def _empty_shard(storage: SqlEventLogStorage, run_id: str) -> None:
    """SQLite keeps a file for the events of each run; what has to stay is in the index beside them. The file stays,
    small, because a web server that has shown the run does not make its tables a second time."""
    if isinstance(storage, SqliteEventLogStorage):
        with storage.run_connection(run_id) as connection:
            connection.execute(sa.delete(EVENTS))
        with closing(sqlite3.connect(storage.path_for_shard(run_id))) as file:
            file.execute("VACUUM")


def _remove_shard(storage: SqlEventLogStorage, run_id: str) -> None:
    """The file of a run that is no more."""
    if isinstance(storage, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)
