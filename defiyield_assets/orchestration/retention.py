"""The daily cleaning: everything that is older than the settings keep it, in the warehouse, in Dagster and on disk.

Lives here: the job `apply_retention`, its schedule, what both and the command do, and the files of the state folder.
Not here: rows (store/retention.py), Dagster's records (run_retention.py), how long things are kept (settings.py).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from sqlalchemy import Engine

from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.run_retention import ForgottenRuns, forget_runs
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.store.retention import Forgotten, forget_archive, forget_claims, forget_usage

SINK_FILES = ("*.txt", "*.json", "*.html")
"""In the folder of reports, not below it: messages of the local sink, and pages, which the warehouse holds as well."""


@dataclass(frozen=True)
class Cleaning:
    """What one cleaning removed, or would remove."""

    is_dry_run: bool
    tables: tuple[Forgotten, ...]
    runs: ForgottenRuns
    files: int
    file_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing was old enough."""
        runs = (self.runs.deleted, self.runs.cut, self.runs.without_logs)
        return not (self.files or any(runs) or any(found.rows for found in self.tables))


def clean(
    engine: Engine, instance: dg.DagsterInstance, settings: Settings, now: datetime, *, is_dry_run: bool = False
) -> Cleaning:
    """Forget what the settings say is too old at `now`; with `is_dry_run` only tell. May be repeated and cut off.

    What the settings keep for ever (0 days) is not looked at.
    """
    archive, runs, logs = (
        timedelta(days=days) if days else None
        for days in (settings.retention_archive_days, settings.retention_runs_days, settings.retention_logs_days)
    )
    tables: list[Forgotten] = []
    if archive is not None:
        tables += forget_archive(engine, archive, is_dry_run=is_dry_run)
    if runs is not None:
        tables += forget_claims(engine, now, runs, is_dry_run=is_dry_run)
    if logs is not None:
        tables += forget_usage(engine, now, logs, is_dry_run=is_dry_run)
    befores = (None if age is None else now - age for age in (runs, logs))
    forgotten = forget_runs(instance, *befores, is_dry_run=is_dry_run)
    old = [] if logs is None else _old_files(settings.reports_path, now - logs)
    size = sum(path.stat().st_size for path in old)
    if not is_dry_run:
        for path in old:
            path.unlink(missing_ok=True)
    return Cleaning(is_dry_run, tuple(tables), forgotten, len(old), size)


def _old_files(folder: Path, before: datetime) -> list[Path]:
    """Files of the sink that were last written before then."""
    found = [path for pattern in SINK_FILES for path in folder.glob(pattern) if path.is_file()]
    return sorted(path for path in found if path.stat().st_mtime < before.timestamp())


@dg.op(name="forget_what_is_old", description="Deletes what is older than DEFIYIELD_RETENTION_*_DAYS; may be repeated.")
def forget_what_is_old(context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
    """One cleaning; what it removed is told in the log and as metadata of the step."""
    done = clean(warehouse.engine, context.instance, load_settings(), datetime.now(UTC))
    for found in done.tables:
        context.log.info("%s: %s rows", found.table, f"{found.rows:,}")
    context.log.info(
        "runs: %s deleted, %s cut down to what was made, logs of %s; files: %s",
        *(done.runs.deleted, done.runs.cut, done.runs.without_logs, done.files),
    )
    told = {f"rows_{found.table}": found.rows for found in done.tables}
    runs = {"runs_deleted": done.runs.deleted, "runs_cut": done.runs.cut, "runs_without_logs": done.runs.without_logs}
    context.add_output_metadata({**told, **runs, "files": done.files})


@dg.job(
    name="apply_retention",
    description="Archive, runs, logs and messages that are older than the settings keep them are deleted.",
    tags={"defiyield/job": "apply_retention"},
)
def apply_retention() -> None:
    """One step."""
    forget_what_is_old()


@dg.schedule(
    name="apply_retention_at_0500_utc",
    job=apply_retention,
    cron_schedule="0 5 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every day after the day's work; by default the archive is kept for ever, runs 180 days, logs 90.",
)
def daily_retention_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """One cleaning a day."""
    return dg.RunRequest(run_key=f"retention-{context.scheduled_execution_time:%Y-%m-%d}")
