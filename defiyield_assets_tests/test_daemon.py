"""The real webserver and the real daemon: a backfill as the UI launches it, schedules and sensors that tick.

Not here: `dagster asset materialize` of a whole day in a clean home, which .ci/run does.

One installation is broken first (the vendor refuses every chart of yesterday), then backfilled through GraphQL, then
healed by `repair_recent_gaps`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from sqlalchemy import Engine

from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.assets.pools import tracked_on
from defiyield_assets.orchestration.instrument_types import EQUITIES
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.settings import Settings
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.dagster_processes import DagsterHome, Webserver, daemon, wait_for, webserver

pytestmark = pytest.mark.slow

WORKSPACE = ["--workspace", "workspace.yaml"]
LOCATION = {"repositoryLocationName": "defiyield_assets.definitions", "repositoryName": "__repository__"}
SCHEDULE = {**LOCATION, "scheduleName": "plan_the_day_at_0045_utc"}
REPAIR = {**LOCATION, "sensorName": "repair_recent_gaps"}
CHARTS = "/chart/{pool}"
BACKFILL_DAYS = 30
PATIENCE_SECONDS = 600.0
"""Far more than anything here takes, on a machine that has much else to do."""

SCHEDULE_QUERY = """query Schedule($selector: ScheduleSelector!) { scheduleOrError(scheduleSelector: $selector) {
    ... on Schedule { cronSchedule executionTimezone pipelineName scheduleState { status } } } }"""
SENSOR_QUERY = """query Sensor($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { minIntervalSeconds sensorState { id status ticks { status skipReason error { message } } } } } }"""
STOP_SENSOR = """mutation Stop($id: String!) { stopSensor(id: $id) { __typename
    ... on StopSensorMutationResult { instigationState { status } } } }"""
START_SENSOR = """mutation Start($selector: SensorSelector!) { startSensor(sensorSelector: $selector) { __typename
    ... on Sensor { sensorState { status } } } }"""
DAEMONS_QUERY = """query Daemons { instance { daemonHealth { allDaemonStatuses {
    daemonType required healthy lastHeartbeatTime lastHeartbeatErrors { message } } } } }"""
LAUNCH_BACKFILL = """mutation Launch($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL_QUERY = """query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {
    __typename ... on PartitionBackfill { status error { message } } ... on PythonError { message } } }"""
RUNS_QUERY = """query Runs($filter: RunsFilter!) { runsOrError(filter: $filter) {
    ... on Runs { results { runId status tags { key value } } } } }"""


class ChartsRefused(httpx.AsyncBaseTransport):
    """The simulated market, whose yields vendor answers 403 to every chart."""

    def __init__(self, market: httpx.AsyncBaseTransport) -> None:
        self._market = market

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "yields.llama.fi" and request.url.path.startswith("/chart/"):
            return httpx.Response(403, text="Forbidden", request=request)
        return await self._market.handle_async_request(request)


class MarketWithoutCharts(MarketResource):
    """A market that is up except for the charts."""

    def _transport(self, day: date) -> httpx.AsyncBaseTransport:
        return ChartsRefused(super()._transport(day))


@dataclass(frozen=True)
class BrokenDay:
    """An installation in which yesterday failed in part, and what runs on it."""

    day: date
    installation: DagsterHome
    instance: dg.DagsterInstance
    ui: Webserver

    @property
    def engine(self) -> Engine:
        return self.warehouse.engine

    @property
    def warehouse(self) -> WarehouseResource:
        return WarehouseResource(url=Settings(state_dir=self.installation.state).warehouse_url, market="simulated")

    @property
    def days(self) -> DayRange:
        return DayRange(self.day - timedelta(days=BACKFILL_DAYS - 1), self.day)

    def missing(self) -> set[str]:
        """Assets of the daily job that have no materialisation of the day."""
        graph = build_defs(Settings(state_dir=self.installation.state)).resolve_asset_graph()
        daily = {key for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags}
        absent = {key for key in daily if str(self.day) not in self.instance.get_materialized_partitions(key)}
        return {key.to_user_string() for key in absent}

    def last_fetch(self) -> int:
        return int(reads.read_all(self.engine, schema.raw_fetches)["fetch_id"].max())

    def sensor(self) -> dict[str, Any]:
        return dict(self.ui.ask(SENSOR_QUERY, selector=REPAIR)["sensorOrError"])

    def failures(self, run_id: str) -> list[str]:
        """What failed in a run, and why."""
        logs = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        return [str(entry.dagster_event.event_specific_data)[:300] for entry in logs if entry.dagster_event is not None]

    def runs(self, tag: str, value: str) -> list[dict[str, Any]]:
        wanted = {"tags": [{"key": tag, "value": value}]}
        return list(self.ui.ask(RUNS_QUERY, filter=wanted)["runsOrError"]["results"])


def run_yesterday_without_charts(installation: DagsterHome, instance: dg.DagsterInstance, day: date) -> None:
    """Ingest the day up to the charts, which the vendor refuses; what does not need them is made.

    So is what exchanges bring: whether that is awaited depends on the weekday and the hour (test_repair_sensor.py).
    """
    settings = Settings(state_dir=installation.state, market="simulated")
    market = MarketWithoutCharts(market="simulated", chain_path=str(settings.chain_path), seed=settings.market_seed)
    defs = build_defs(settings, market=market)
    selected = dg.AssetSelection.assets("pool_histories").upstream() | dg.AssetSelection.assets("pool_metrics")
    selected |= dg.AssetSelection.tag(EQUITIES, "").upstream()
    result = defs.resolve_job_def("plan_the_day").execute_in_process(
        partition_key=day.isoformat(),
        instance=instance,
        asset_selection=sorted(selected.resolve(defs.resolve_asset_graph())),
        raise_on_error=False,
    )
    assert not result.success
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["pool_histories"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokenDay]:
    """Yesterday failed in part; webserver and daemon run, with the repair sensor stopped as one stops it in the UI."""
    day = datetime.now(UTC).date() - timedelta(days=1)
    installation = DagsterHome.make(
        tmp_path_factory.mktemp("daemon"),
        DEFIYIELD_REPAIR_INTERVAL_SECONDS="5",
        DEFIYIELD_REPAIR_FIRST_DELAY_SECONDS="0",
        DEFIYIELD_REPAIR_LOOKBACK_DAYS="1",
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in installation.variables.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.from_config(str(installation.home)) as instance:
            run_yesterday_without_charts(installation, instance, day)
            with webserver(installation, WORKSPACE) as ui:
                broken_day = BrokenDay(day, installation, instance, ui)
                sensor = broken_day.sensor()
                assert sensor["sensorState"]["status"] == "RUNNING"
                assert sensor["minIntervalSeconds"] == 5
                ui.ask(STOP_SENSOR, id=sensor["sensorState"]["id"])
                assert broken_day.sensor()["sensorState"]["status"] == "STOPPED"
                with daemon(installation, WORKSPACE):
                    yield broken_day


@dataclass(frozen=True)
class Backfilled:
    """The backfill's run and the requests that were archived before it."""

    broken: BrokenDay
    backfill_id: str
    last_fetch_before: int


@pytest.fixture(scope="module")
def backfilled(broken: BrokenDay) -> Backfilled:
    """Thirty days of pool_histories, launched through GraphQL as the UI does and waited for."""
    before = broken.last_fetch()
    launched = broken.ui.ask(
        LAUNCH_BACKFILL,
        params={
            "assetSelection": [{"path": ["pool_histories"]}],
            "partitionNames": [day.isoformat() for day in broken.days],
            "title": "thirty days of charts",
        },
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def is_over() -> str | None:
        backfill = broken.ui.ask(BACKFILL_QUERY, id=launched["backfillId"])["partitionBackfillOrError"]
        assert backfill["__typename"] == "PartitionBackfill", backfill
        status = backfill["status"]
        return status if status.startswith(("COMPLETED", "FAILED", "CANCELED")) else None

    assert wait_for("the backfill to end", is_over, PATIENCE_SECONDS) == "COMPLETED_SUCCESS"
    return Backfilled(broken, launched["backfillId"], before)


def test_a_backfill_of_thirty_days_is_one_run_with_one_chart_request_per_pool(backfilled: Backfilled) -> None:
    broken = backfilled.broken
    runs = broken.runs("dagster/backfill", backfilled.backfill_id)
    assert [run["status"] for run in runs] == ["SUCCESS"]

    fetches = reads.read_all(broken.engine, schema.raw_fetches)
    own = fetches[fetches["fetch_id"] > backfilled.last_fetch_before]
    assert set(own["endpoint"]) == {CHARTS}
    assert set(own["status"]) == {200}
    assert set(own["attempts"]) == {1}
    assert own["params_json"].is_unique
    tracked = set(tracked_on(broken.warehouse, broken.days)["pool_id"])
    judged = reads.read_days(broken.engine, schema.prefiltered_pools, broken.days, where={"is_passed": True})
    assert len(tracked) >= 60
    assert tracked >= set(judged["pool_id"])
    assert len(own) == len(tracked)
    assert all(any(pool in asked for asked in own["params_json"]) for pool in tracked)


def test_the_backfill_stored_thirty_days_of_points(backfilled: Backfilled) -> None:
    broken = backfilled.broken
    points = reads.pool_history_revisions(broken.engine, broken.days)
    assert set(points["date"]) == set(broken.days)
    tracked = set(tracked_on(broken.warehouse, broken.days)["pool_id"])
    days_of = points.groupby("pool_id")["date"].nunique()
    assert set(days_of.index) == tracked
    assert (days_of == BACKFILL_DAYS).mean() > 0.8, "all but young pools and pools with gaps have a point of every day"
    stored = broken.instance.get_materialized_partitions(dg.AssetKey("pool_histories"))
    assert stored == {day.isoformat() for day in broken.days}


def test_the_sensor_heals_the_partition_that_failed(backfilled: Backfilled) -> None:
    broken = backfilled.broken
    missing = broken.missing()
    assert {"pool_metrics", "pool_forecasts", "allocation_runs", "plan_executions", "daily_report"} <= missing
    assert not {"pools", "prefiltered_pools", "pool_histories"} & missing
    started = broken.ui.ask(START_SENSOR, selector=REPAIR)["startSensor"]
    assert started["sensorState"]["status"] == "RUNNING", started

    def repaired() -> dict[str, Any] | None:
        runs = broken.runs("defiyield/repair_of", broken.day.isoformat())
        return next((run for run in runs if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}), None)

    run = wait_for("the sensor's run to end", repaired, PATIENCE_SECONDS)
    assert run["status"] == "SUCCESS", broken.failures(run["runId"])
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["dagster/sensor_name"] == "repair_recent_gaps"
    assert tags["dagster/partition"] == broken.day.isoformat()
    assert tags["defiyield/repair_attempt"] == "1"

    assert broken.missing() == set()
    assert len(reads.read_days(broken.engine, schema.allocation_runs, DayRange.of(broken.day))) == 1
    made = broken.instance.all_logs(run["runId"], of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.dagster_event for entry in made if entry.dagster_event is not None]
    again = {event.asset_key.to_user_string() for event in events if event.asset_key is not None}
    assert again == missing, "what was there is not made again"
    checks = broken.instance.all_logs(run["runId"], of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    verdicts = [entry.dagster_event.asset_check_evaluation_data for entry in checks if entry.dagster_event is not None]
    assert "plan_replay" in {verdict.check_name for verdict in verdicts}
    assert all(verdict.passed for verdict in verdicts)

    def nothing_left() -> bool | None:
        ticks = broken.sensor()["sensorState"]["ticks"]
        assert not [tick for tick in ticks if tick["status"] == "FAILURE"], ticks
        return True if any("nothing is missing" in (tick["skipReason"] or "") for tick in ticks) else None

    wait_for("the sensor to see that the day is whole", nothing_left, PATIENCE_SECONDS)
    assert len(broken.runs("defiyield/repair_of", broken.day.isoformat())) == 1


def test_the_daily_schedule_is_on_and_its_daemon_is_alive(broken: BrokenDay) -> None:
    schedule = broken.ui.ask(SCHEDULE_QUERY, selector=SCHEDULE)["scheduleOrError"]
    assert schedule["cronSchedule"] == "45 0 * * *"
    assert schedule["executionTimezone"] == "UTC"
    assert schedule["pipelineName"] == "plan_the_day"
    assert schedule["scheduleState"]["status"] == "RUNNING"

    def beating() -> dict[str, Any] | None:
        told = broken.ui.ask(DAEMONS_QUERY)["instance"]["daemonHealth"]["allDaemonStatuses"]
        by_type = {status["daemonType"]: status for status in told}
        both = [by_type["SCHEDULER"], by_type["SENSOR"]]
        return by_type if all(status["healthy"] and status["lastHeartbeatTime"] for status in both) else None

    health = wait_for("heartbeats of scheduler and sensor daemon", beating, PATIENCE_SECONDS)
    assert health["SCHEDULER"]["lastHeartbeatErrors"] == []
    assert health["SENSOR"]["lastHeartbeatErrors"] == []


def test_a_tick_of_the_schedule_asks_for_the_day_before(tmp_path: Path) -> None:
    defs = build_defs(Settings(state_dir=tmp_path))
    schedule = defs.resolve_schedule_def(SCHEDULE["scheduleName"])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2025, 6, 4, 0, 45, tzinfo=UTC),
            repository_def=defs.get_repository_def(),
        )
        tick = schedule.evaluate_tick(context)
    assert tick.run_requests is not None
    assert [request.partition_key for request in tick.run_requests] == ["2025-06-03"]
    assert schedule.job_name == "plan_the_day"


def test_definitions_validate_is_clean(tmp_path: Path) -> None:
    installation = DagsterHome.make(tmp_path, PYTHONWARNINGS="default")
    done = installation.run("dagster", "definitions", "validate", *WORKSPACE, timeout_seconds=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout
    told = [line for line in done.stdout.splitlines() if "Warning:" in line or " WARNING " in line]
    assert [line for line in told if "defiyield_assets/" in line or "defiyield_assets." in line] == []
