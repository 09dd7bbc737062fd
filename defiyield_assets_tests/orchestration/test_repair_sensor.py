"""`repair_recent_gaps` evaluated in process: what it reads from Dagster's records.

Not here: the decision (test_repair.py) or the real daemon (test_daemon.py).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.sensors import repair_recent_gaps
from defiyield_assets.settings import Settings

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, market="simulated")


@pytest.fixture
def warehouse(settings: Settings) -> WarehouseResource:
    migrated = WarehouseResource(url=settings.warehouse_url, market="simulated")
    migrated.migrate()
    return migrated


def newest_day() -> date:
    """The last complete UTC day."""
    return datetime.now(UTC).date() - timedelta(days=1)


def look(settings: Settings, instance: dg.DagsterInstance) -> dg.SensorResult:
    """One tick of the sensor."""
    defs = build_defs(settings)
    resources = {"warehouse": WarehouseResource(url=settings.warehouse_url, market="simulated")}
    repository = defs.get_repository_def()
    context = dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources)
    result = repair_recent_gaps(context)
    assert isinstance(result, dg.SensorResult)
    return result


def was_made(instance: dg.DagsterInstance, asset: str, day: date) -> None:
    """Record that the asset of the day was materialised."""
    instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=day.isoformat()))


@pytest.mark.usefixtures("warehouse")
def test_a_demo_of_an_old_day_does_not_make_last_week_a_gap(settings: Settings, instance: dg.DagsterInstance) -> None:
    was_made(instance, "pools", newest_day() - timedelta(days=365))
    tick = look(settings, instance)
    assert not tick.run_requests
    assert "nothing is missing" in str(tick.skip_reason)


@pytest.mark.usefixtures("warehouse")
def test_days_from_the_first_recent_one_on_are_asked_for(settings: Settings, instance: dg.DagsterInstance) -> None:
    was_made(instance, "pools", newest_day() - timedelta(days=1))
    requests = look(settings, instance).run_requests or []
    assert [request.partition_key for request in requests] == [
        str(newest_day() - timedelta(days=1)),
        str(newest_day()),
    ]
    first, second = ({key.to_user_string() for key in request.asset_selection or []} for request in requests)
    assert second - first == {"pools"}
    assert "plan_executions" in first


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({"dagster/partition": 0}, id="a run of the day"),
        pytest.param({RANGE_START: 29, RANGE_END: 0}, id="a backfill whose range holds the day"),
    ],
)
@pytest.mark.usefixtures("warehouse")
def test_a_day_in_flight_is_left_alone(settings: Settings, instance: dg.DagsterInstance, tags: dict[str, int]) -> None:
    was_made(instance, "pools", newest_day())
    dated = {name: str(newest_day() - timedelta(days=back)) for name, back in tags.items()}
    instance.add_run(dg.DagsterRun(job_name="plan_the_day", status=dg.DagsterRunStatus.STARTED, tags=dated))
    assert not look(settings, instance).run_requests


@pytest.mark.usefixtures("warehouse")
def test_a_backfill_of_other_days_holds_nothing_up(settings: Settings, instance: dg.DagsterInstance) -> None:
    was_made(instance, "pools", newest_day())
    dated = {RANGE_START: str(newest_day() - timedelta(days=30)), RANGE_END: str(newest_day() - timedelta(days=1))}
    instance.add_run(dg.DagsterRun(job_name="__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags=dated))
    requests = look(settings, instance).run_requests or []
    assert [request.partition_key for request in requests] == [str(newest_day())]
