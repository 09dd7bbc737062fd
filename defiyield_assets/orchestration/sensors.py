"""The sensor that repairs failed days.

Lives here: reading Dagster's records and requesting runs. Not here: which days to repair (repair.py), word of failed
runs (alerts.py).
"""

from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from itertools import chain

import dagster as dg
import pandas as pd

from defiyield_assets import errors
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.outcomes import DERIVED
from defiyield_assets.errors import TransientError
from defiyield_assets.orchestration.degradation import tables_of, whole_steps
from defiyield_assets.orchestration.instrument_types import (
    BY_TYPE,
    EQUITIES,
    EXCHANGE_TYPES,
    OF_EXCHANGES,
    STEPS_BY_TYPE,
    assets_with_tag,
    config_of_types,
)
from defiyield_assets.orchestration.jobs import plan_the_day
from defiyield_assets.orchestration.repair import (
    Attempts,
    ExchangeParts,
    Repair,
    plan_repairs,
    with_degraded_sources,
    with_exchange_parts,
)
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema

REPAIR_TAG = "defiyield/repair_of"
ATTEMPT_TAG = "defiyield/repair_attempt"
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PLAN = "allocation_runs"
"""The table that says whether a day has a plan."""
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def _daily_keys(repository: dg.RepositoryDefinition) -> dict[str, dg.AssetKey]:
    graph = repository.asset_graph
    return {key.to_user_string(): key for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags}


def _missing(
    instance: dg.DagsterInstance,
    keys: dict[str, dg.AssetKey],
    days: list[date],
    failed: Mapping[date, AbstractSet[str]],
) -> dict[date, list[str]]:
    """Assets without a materialisation, by day; only from the first of these days on that was materialised in part.
    `failed`: what failed by day, and what rests on it, although Dagster may have a materialisation, which the run of
    other types made. A day that has a plan keeps what it was made from, but for what is made by type.

    With an asset, all that its step writes: after an upgrade a step may lack but its new tables. Days before the first
    were never asked for: a demo of some old day does not make last week a gap.
    """
    done = {name: instance.get_materialized_partitions(key) for name, key in keys.items()}
    ever = set().union(*done.values()) if done else set()
    begun = [day for day in days if day.isoformat() in ever]
    missing: dict[date, list[str]] = {}
    for day in days:
        if not begun or day < min(begun):
            continue
        absent = {name for name, partitions in done.items() if day.isoformat() not in partitions}
        again = failed.get(day, frozenset())
        absent |= again if PLAN in absent or PLAN not in again else again & tables_of(STEPS_BY_TYPE)
        if absent:
            missing[day] = sorted(whole_steps(absent))
    return missing


def _in_flight(instance: dg.DagsterInstance, days: list[date]) -> frozenset[date]:
    """Days that an unfinished run is about to make: its own partition, or the range of a backfill in one run."""
    in_flight: set[date] = set()
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=UNFINISHED)):
        tags = record.dagster_run.tags
        first = tags.get(RANGE_START_TAG, tags.get(PARTITION_TAG))
        last = tags.get(RANGE_END_TAG, tags.get(PARTITION_TAG))
        in_flight |= {day for day in days if first is not None and last is not None and first <= str(day) <= last}
    return frozenset(in_flight)


def _attempts(instance: dg.DagsterInstance, days: list[date]) -> dict[date, Attempts]:
    """How often each day was repaired, and when a run of it last ended."""
    attempts: dict[date, Attempts] = {}
    for day in days:
        records = instance.get_run_records(filters=dg.RunsFilter(tags={PARTITION_TAG: day.isoformat()}))
        ended = [datetime.fromtimestamp(record.end_time, UTC) for record in records if record.end_time]
        repairs = sum(1 for record in records if REPAIR_TAG in record.dagster_run.tags)
        attempts[day] = Attempts(repairs, max(ended, default=None))
    return attempts


def _failed_by_type(told: pd.DataFrame, repository: dg.RepositoryDefinition) -> dict[date, AbstractSet[str]]:
    """Steps by type whose part of coins and tokens failed, with everything that depends on them, by day."""
    failed = told[(told["status"] == "failed") & told["asset"].isin(STEPS_BY_TYPE)]
    found: dict[date, set[str]] = defaultdict(set)
    for day, step in zip(failed["date"], failed["asset"], strict=True):
        found[day] |= _with_downstream(repository, step)
    return {day: frozenset(names) for day, names in found.items()}


def _with_downstream(repository: dg.RepositoryDefinition, step: str) -> frozenset[str]:
    """What the step writes and everything of its day that depends on it: the strategy lab has no days to repair."""
    graph = repository.asset_graph
    hit = dg.AssetSelection.assets(*sorted(tables_of([step]))).downstream().resolve(graph)
    return frozenset(key.to_user_string() for key in hit if "daily" in graph.get(key).tags)


def _beyond_repair(outcomes: pd.DataFrame, repository: dg.RepositoryDefinition) -> dict[date, frozenset[str]]:
    """Assets that cannot be recovered, with everything that depends on them, by day."""
    lost: dict[date, set[str]] = defaultdict(set)
    roots = outcomes[~outcomes["is_recoverable"].astype(bool) & ~outcomes["error_class"].isin(DERIVED)]
    roots = roots[~roots["asset"].str.endswith(OF_EXCHANGES).astype(bool)]
    for day, asset in zip(roots["date"], roots["asset"], strict=True):
        lost[day] |= _with_downstream(repository, asset)
    return {day: frozenset(names) for day, names in lost.items()}


def _degraded_sources(outcomes: pd.DataFrame, sources: set[str]) -> dict[date, list[str]]:
    """Sources whose answer was replaced by a substitute because of an error that may heal, by day."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, TransientError)}
    healing = outcomes[(outcomes["status"] == "degraded") & outcomes["error_class"].isin(kinds)]
    found: dict[date, list[str]] = defaultdict(list)
    for day, asset in zip(healing["date"], healing["asset"], strict=True):
        found[day] += [asset] if asset in sources else []
    return found


def _with_exchanges(
    context: dg.SensorEvaluationContext,
    repository: dg.RepositoryDefinition,
    missing: dict[date, list[str]],
    told: pd.DataFrame,
    now: datetime,
) -> tuple[dict[date, list[str]], frozenset[date]]:
    """`with_exchange_parts` of days on which exchanges' assets were ever made, or are missing with the whole day."""
    own = assets_with_tag(repository, EQUITIES)
    days = sorted({*missing, *told["date"]})
    parts = ExchangeParts(own, assets_with_tag(repository, BY_TYPE), {day: cutoff(day) for day in days})
    failed = told[(told["status"] == "failed") & ~told["asset"].isin(STEPS_BY_TYPE)]
    lost: dict[date, set[str]] = defaultdict(set)
    for day, names in _degraded_sources(told, set(own)).items():
        lost[day] |= set(names)
    made = {name: context.instance.get_materialized_partitions(dg.AssetKey(name)) for name in own}
    for day, asset in zip(failed["date"], failed["asset"], strict=True):
        if any(day.isoformat() in partitions for partitions in made.values()):
            lost[day] |= tables_of([asset.removesuffix(OF_EXCHANGES)])
    return with_exchange_parts(missing, lost, parts, now)


def _request(repair: Repair, *, is_of_exchanges: bool) -> dg.RunRequest:
    steps = [name for name in STEPS_BY_TYPE if tables_of([name]) & set(repair.assets)]
    return dg.RunRequest(
        run_key=f"repair-{repair.day}-{repair.attempt}",
        partition_key=repair.day.isoformat(),
        asset_selection=[dg.AssetKey.from_user_string(name) for name in repair.assets],
        run_config=config_of_types(steps, EXCHANGE_TYPES) if is_of_exchanges and steps else None,
        tags={REPAIR_TAG: repair.day.isoformat(), ATTEMPT_TAG: str(repair.attempt)},
    )


@dg.sensor(
    name="repair_recent_gaps",
    job=plan_the_day,
    minimum_interval_seconds=load_settings().repair_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Asks again for what is missing of recent days: none in flight, three attempts with growing delay, a "
        "few requests "
        "a tick; what cannot be recovered is never asked for."
    ),
)
def repair_recent_gaps(context: dg.SensorEvaluationContext, warehouse: WarehouseResource) -> dg.SensorResult:
    """Decide which recent days to repair and request their missing assets."""
    settings, now = load_settings(), datetime.now(UTC)
    if context.repository_def is None:
        return dg.SensorResult(skip_reason="the sensor was evaluated without its repository")
    repository, last = context.repository_def, now.date() - timedelta(days=1)
    days = [last - timedelta(days=offset) for offset in range(settings.repair_lookback_days)]
    keys = _daily_keys(repository)
    told = reads.read_days(warehouse.engine, schema.asset_outcomes, DayRange(min(days), max(days)))
    begun = _missing(context.instance, keys, days, _failed_by_type(told, repository))
    missing, exchanges_only = _with_exchanges(context, repository, begun, told, now)
    if not missing:
        return dg.SensorResult(skip_reason=f"nothing is missing from {days[-1]} to {last}")
    degraded = _degraded_sources(told, set(keys))
    resting = {name: _with_downstream(repository, name) for name in {*chain.from_iterable(degraded.values())}}
    repairs = plan_repairs(
        with_degraded_sources(missing, degraded, resting, PLAN),
        _in_flight(context.instance, days),
        _attempts(context.instance, days),
        beyond_repair=_beyond_repair(told, repository),
        now=now,
        max_requests=settings.repair_max_requests,
        first_delay=timedelta(seconds=settings.repair_first_delay_seconds),
    )
    requests = [_request(repair, is_of_exchanges=repair.day in exchanges_only) for repair in repairs]
    waiting = ", ".join(day.isoformat() for day in sorted(missing))
    return dg.SensorResult(
        run_requests=requests, skip_reason=None if requests else f"missing, but not to be asked for now: {waiting}"
    )
