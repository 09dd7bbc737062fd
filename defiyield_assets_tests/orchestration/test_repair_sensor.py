"""`repair_recent_gaps` evaluated in process: what it reads from Dagster's records.

Not here: the decision (test_repair.py) or the real daemon (test_daemon.py).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.degradation import tables_of
from defiyield_assets.orchestration.failures import Outcome, record_outcomes
from defiyield_assets.orchestration.instrument_types import EQUITIES, assets_with_tag
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
    of_exchanges = assets_with_tag(build_defs(settings).get_repository_def(), EQUITIES)
    assert second - first - of_exchanges == {"pools"}, "what exchanges bring is missing of weekdays only"
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


def was_said(warehouse: WarehouseResource, asset: str, error_class: str, *, is_recoverable: bool = True) -> None:
    """Record an outcome of the newest day."""
    outcome = Outcome("degraded", error_class, "because", is_recoverable)
    record_outcomes(warehouse.engine, asset, DayRange.of(newest_day()), {newest_day(): outcome})


def all_made(settings: Settings, instance: dg.DagsterInstance, *, but: set[str]) -> None:
    """Record that everything of the newest day was materialised, except these."""
    graph = build_defs(settings).resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        if "daily" in graph.get(key).tags and key.to_user_string() not in but:
            was_made(instance, key.to_user_string(), newest_day())


def asked_for(settings: Settings, instance: dg.DagsterInstance) -> set[str]:
    """What one tick asks for of the newest day."""
    requests = look(settings, instance).run_requests or []
    return {key.to_user_string() for request in requests for key in request.asset_selection or []}


def test_a_degraded_source_of_a_finished_day_is_never_asked_for(
    settings: Settings, instance: dg.DagsterInstance, warehouse: WarehouseResource
) -> None:
    all_made(settings, instance, but=set())
    was_said(warehouse, "ohlcv_coinmarketcap", "VendorUnavailable")
    tick = look(settings, instance)
    assert not tick.run_requests
    assert "nothing is missing" in str(tick.skip_reason)


@pytest.mark.parametrize(
    ("error_class", "comes_along"),
    [("VendorUnavailable", True), ("VendorThrottled", True), ("VendorAuthError", False), ("NotConfigured", False)],
)
def test_a_source_that_may_heal_comes_along_while_the_day_has_no_plan(
    settings: Settings,
    instance: dg.DagsterInstance,
    warehouse: WarehouseResource,
    error_class: str,
    comes_along: bool,
) -> None:
    lost = {"gas_candidates", "gas_forecasts"}
    lost |= {"allocation_runs", "allocations", "allocation_steps", "allocation_limits"}
    all_made(settings, instance, but=lost)
    was_said(warehouse, "ohlcv_coinmarketcap", error_class)
    was_said(warehouse, "daily_bars", "DegradedUpstream")
    asked = asked_for(settings, instance)
    assert asked >= lost
    assert ({"ohlcv_coinmarketcap", "daily_bars", "icebox"} <= asked) is comes_along
    assert "pools" not in asked


FORECAST_STEP = {"forecast_evaluations", "forecast_candidates", "pool_forecasts"}
GAS_STEP = {"gas_candidates", "gas_forecasts"}
SCORE_STEP = {"forecast_scores", "forecast_score_sums"}


@pytest.mark.parametrize(
    ("new", "steps"),
    [
        ({"forecast_evaluations", "forecast_candidates"}, FORECAST_STEP),
        ({"gas_candidates"}, GAS_STEP),
        ({"forecast_candidates", "gas_candidates", "forecast_score_sums"}, FORECAST_STEP | GAS_STEP | SCORE_STEP),
        ({"macro_series"}, {"macro_series"}),
    ],
)
@pytest.mark.usefixtures("warehouse")
def test_after_an_upgrade_with_new_tables_their_steps_are_asked_for_whole(
    settings: Settings, instance: dg.DagsterInstance, new: set[str], steps: set[str]
) -> None:
    all_made(settings, instance, but=new)
    asked = asked_for(settings, instance)
    assert asked == steps
    job = build_defs(settings).resolve_job_def("plan_the_day")
    subset = job.get_subset(asset_selection={dg.AssetKey(name) for name in asked})
    assert {key.to_user_string() for key in subset.asset_layer.selected_asset_keys} == steps


@pytest.mark.parametrize("lost", ["pool_forecasts", "allocation"])
def test_no_table_of_a_step_that_is_lost_is_asked_for(
    settings: Settings, instance: dg.DagsterInstance, warehouse: WarehouseResource, lost: str
) -> None:
    all_made(settings, instance, but={*tables_of([lost]), "macro_series"})
    was_said(warehouse, lost, "NotRecoverable", is_recoverable=False)
    assert asked_for(settings, instance) == {"macro_series"}


def test_what_only_rests_on_a_lost_day_is_not_lost_by_itself(
    settings: Settings, instance: dg.DagsterInstance, warehouse: WarehouseResource
) -> None:
    """Once the source has come after all, what was marked behind it is asked for again."""
    all_made(settings, instance, but={"token_registry"})
    was_said(warehouse, "token_registry", "UpstreamNotRecoverable", is_recoverable=False)
    was_said(warehouse, "allocation", "UpstreamNotRecoverable", is_recoverable=False)
    assert asked_for(settings, instance) == {"token_registry"}
