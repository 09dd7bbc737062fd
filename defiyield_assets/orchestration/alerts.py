"""Sensors that tell of failures once, and of their recovery.

Lives here: reading Dagster's records. Not here: what is news (store/slack.py), words (domain/reporting/alerts.py),
where they go (notifier.py), repairs (sensors.py).

Both write down what they are going to tell before they tell it; what could not be posted is tried again with every look
for recoveries, for a day.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import dagster as dg
from sqlalchemy import Engine

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.reporting.alerts import FailedStep, build_failure_alert, build_recovery_alert
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.reporting.slack_blocks import SlackMessage
from defiyield_assets.errors import DefiYieldError
from defiyield_assets.orchestration.degradation import tables_of
from defiyield_assets.orchestration.failures import innermost_error
from defiyield_assets.orchestration.notifier import NotifierResource
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.orchestration.sensors import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from defiyield_assets.store import slack as claims

WILL_RETRY_TAG = "dagster/will_retry"
LOOK_SECONDS = 60
FOLLOWED = timedelta(days=14)
"""A failure that nobody mended by then is no longer looked after: somebody decided to leave it."""
RETOLD = timedelta(days=1)
"""How long what could not be posted is tried again: what is older helps nobody."""
REASON_CHARACTERS = 400
PAGE = 1_000


@dg.run_failure_sensor(
    name="tell_of_failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Says once for each step and day that it failed for good: which run, which steps, the first errors.",
)
def tell_of_failed_runs(
    context: dg.RunFailureSensorContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    notifier: NotifierResource,
) -> None:
    """Write down what failed and post what is news; a run that Dagster will retry by itself is none yet."""
    run, engine = context.dagster_run, warehouse.engine
    if run.tags.get(WILL_RETRY_TAG) == "true":
        return
    failures = _failures(context)
    n_new = claims.open_alerts(engine, failures, run.job_name, run.run_id, FOLLOWED)
    context.log.info("%d of %d failures of run %s are news", n_new, len(failures), run.run_id)
    _tell_failures(notifier, market, engine, run.run_id)


@dg.sensor(
    name="tell_of_recoveries",
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Says once that a step that people were told of is made after all, and what could not be said before.",
)
def tell_of_recoveries(
    context: dg.SensorEvaluationContext,
    warehouse: WarehouseResource,
    market: MarketResource,
    notifier: NotifierResource,
) -> dg.SkipReason:
    """Look for what was made since it failed, and post what is still to be told."""
    engine, now = warehouse.engine, notifier.now()
    closed = _close_recovered(context.instance, engine, now)
    failed = {str(alert["run_id"]) for alert in claims.untold_since(engine, now - RETOLD)}
    refused = _tell_each(lambda run_id: _tell_failures(notifier, market, engine, run_id), failed)
    untold = claims.untold_recoveries_since(engine, now - RETOLD)
    keys = {str(alert["recovery_key"]) for alert in untold}
    refused += _tell_each(lambda key: _tell_recoveries(notifier, market, engine, key), keys)
    if len(refused) > 1:
        raise ExceptionGroup(f"{len(refused)} alerts could not be told", refused)
    if refused:
        raise refused[0]
    return dg.SkipReason(f"{closed} steps have recovered; told of {len(failed)} failed runs and {len(keys)} recoveries")


def _tell_each(tell: Callable[[str], None], names: Iterable[str]) -> list[DefiYieldError]:
    """Tell all of them; what is refused, for whatever reason, keeps none of the others from being told."""
    refused = []
    for name in sorted(names):
        try:
            tell(name)
        except DefiYieldError as error:
            refused.append(error)
    return refused


def _failures(context: dg.RunFailureSensorContext) -> list[claims.Failure]:
    """The steps of the run that failed, or the run itself where it ended without one that did."""
    run, instance = context.dagster_run, context.instance
    day = _day(run.tags.get(RANGE_START_TAG, run.tags.get(PARTITION_TAG)))
    through = _day(run.tags.get(RANGE_END_TAG, run.tags.get(PARTITION_TAG)))
    found: list[claims.Failure] = []
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    told = [(entry.step_key or run.job_name, entry.timestamp, entry.dagster_event) for entry in entries]
    if not told:
        record = instance.get_run_record_by_id(run.run_id)
        ended = record.end_time if record is not None else None
        told = [(run.job_name, ended or datetime.now(UTC).timestamp(), None)]
    for step, stamp, event in sorted(told, key=lambda entry: (entry[1], entry[0])):
        failed_at = datetime.fromtimestamp(stamp, UTC)
        words = str(context.failure_event.message) if event is None else innermost_error(event)
        first = day or failed_at.date()
        reason = clean(words, REASON_CHARACTERS)
        found.append(claims.Failure(step, first, through or first, day is not None, reason, failed_at))
    return found


def _day(text: str | None) -> date | None:
    """A daily partition; keys of other partitions are none."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _close_recovered(instance: dg.DagsterInstance, engine: Engine, now: datetime) -> int:
    """Close alerts of what was made since; those of one run and one look are told in one message."""
    closed = 0
    waiting = sorted(claims.open_since(engine, now - FOLLOWED), key=lambda alert: str(alert["run_id"]))
    for run_id, alerts in groupby(waiting, key=lambda alert: str(alert["run_id"])):
        made = {key: at for key, at in ((_key(alert), _made_at(instance, alert)) for alert in alerts) if at is not None}
        if made:
            names = [[asset, day.isoformat(), episode] for asset, day, episode in sorted(made)]
            closed += claims.recover(engine, made, f"recovery:{content_hash([run_id, names])[:16]}", now)
    return closed


def _key(alert: claims.Alert) -> tuple[str, date, int]:
    return alert["asset"], alert["date"], alert["episode"]


def _made_at(instance: dg.DagsterInstance, alert: claims.Alert) -> datetime | None:
    """When everything that the step writes was made since it failed, for all its days that the failed run had not made
    itself; None while something is missing.

    What writes no asset (a check, a run that never started) has recovered when it has itself succeeded for these days.
    """
    keys = [dg.AssetKey(table) for table in sorted(tables_of([alert["asset"]]))]
    if not keys or not all(instance.has_asset_key(key) for key in keys):
        return _succeeded_at(instance, alert)
    stamps = [_materialised_at(instance, key, alert) for key in keys]
    return None if None in stamps else max(stamp for stamp in stamps if stamp is not None)


def _days_of(alert: claims.Alert) -> set[date]:
    return {date.fromordinal(n) for n in range(alert["date"].toordinal(), alert["through"].toordinal() + 1)}


def _materialised_at(instance: dg.DagsterInstance, key: dg.AssetKey, alert: claims.Alert) -> datetime | None:
    """When the last of the asset's missing partitions was made."""
    days: dict[str | None, date] = {day.isoformat(): day for day in _days_of(alert)} if alert["is_partitioned"] else {}
    failed_at, failed_run = alert["failed_at"].timestamp(), alert["run_id"]
    record = instance.get_run_record_by_id(failed_run)
    started = record.start_time if record is not None and record.start_time is not None else failed_at
    wanted = dg.AssetRecordsFilter(
        asset_key=key,
        asset_partitions=[str(name) for name in days] or None,
        after_timestamp=min(started, failed_at),
    )
    before: set[str | None] = set()
    since: dict[str | None, float] = {}
    cursor, has_more = None, True
    while has_more:
        found = instance.fetch_materializations(wanted, limit=PAGE, cursor=cursor)
        for entry in found.records:
            partition = entry.partition_key if days else None
            if entry.timestamp > failed_at:
                since[partition] = min(entry.timestamp, since.get(partition, entry.timestamp))
            elif entry.run_id == failed_run:
                before.add(partition)
        cursor, has_more = found.cursor, found.has_more
    missing = set(days) or {None}
    missing = missing - before or missing
    if missing - set(since):
        return None
    return datetime.fromtimestamp(max(since[partition] for partition in missing), UTC)


def _succeeded_at(instance: dg.DagsterInstance, alert: claims.Alert) -> datetime | None:
    """When runs in which the step itself succeeded had covered all its days; for a run that failed without a step,
    runs of its job. That other steps of the job succeeded says nothing."""
    step, left = alert["asset"], _days_of(alert) if alert["is_partitioned"] else set[date]()
    is_run = step == alert["job"]
    wanted = dg.RunsFilter(
        job_name=step if is_run else None,
        statuses=[dg.DagsterRunStatus.SUCCESS, *([] if is_run else [dg.DagsterRunStatus.FAILURE])],
        created_after=alert["failed_at"],
    )
    for record in instance.get_run_records(wanted, ascending=True):
        covered = _covered(record.dagster_run.tags, left)
        if left and not covered:
            continue
        at = record.end_time if is_run else _step_succeeded_at(instance, record.dagster_run.run_id, step)
        if at is None:
            continue
        left -= covered
        if not left:
            return datetime.fromtimestamp(at, UTC)
    return None


def _covered(tags: Mapping[str, str], days: set[date]) -> set[date]:
    """Those of the days that a run is for."""
    first = _day(tags.get(RANGE_START_TAG, tags.get(PARTITION_TAG)))
    last = _day(tags.get(RANGE_END_TAG, tags.get(PARTITION_TAG)))
    return {day for day in days if first is not None and last is not None and first <= day <= last}


def _step_succeeded_at(instance: dg.DagsterInstance, run_id: str, step: str) -> float | None:
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    return max((entry.timestamp for entry in entries if entry.step_key == step), default=None)


def _tell_failures(notifier: NotifierResource, market: MarketResource, engine: Engine, run_id: str) -> None:
    alerts = claims.alerts_of_run(engine, run_id)
    if not alerts or all(alert["is_told"] for alert in alerts):
        return
    message = build_failure_alert(alerts[0]["job"], run_id, _steps(alerts))
    if _tell(notifier, market, engine, message, alerts, key=f"failure:{run_id}", name=f"failure-{run_id[:8]}"):
        claims.mark_told(engine, run_id)


def _tell_recoveries(notifier: NotifierResource, market: MarketResource, engine: Engine, key: str) -> None:
    alerts = claims.alerts_of_recovery(engine, key)
    name = key.replace(":", "-")
    message, failure = build_recovery_alert(_steps(alerts)), f"failure:{alerts[0]['run_id']}"
    if _tell(notifier, market, engine, message, alerts, key=key, name=name, reply_to=failure):
        claims.mark_recovery_told(engine, key)


def _tell(
    notifier: NotifierResource,
    market: MarketResource,
    engine: Engine,
    message: SlackMessage,
    alerts: list[claims.Alert],
    *,
    key: str,
    name: str,
    reply_to: str | None = None,
) -> bool:
    """Deliver an alert; False when it is to be looked at again."""
    delivery = notifier.deliver(
        message,
        name,
        key=key,
        market=market,
        engine=engine,
        day=notifier.now().date(),
        run_id=alerts[0]["run_id"],
        reply_to=reply_to,
    )
    return not delivery.is_under_way


def _steps(alerts: Iterable[claims.Alert]) -> list[FailedStep]:
    return [
        FailedStep(
            alert["asset"],
            alert["date"],
            alert["through"],
            alert["is_partitioned"],
            alert["reason"],
            alert["recovered_at"],
            alert["is_told"],
        )
        for alert in alerts
    ]
