"""Failures and recoveries are told once for each step and day: real runs, the real sensors, a local Slack."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from defiyield_assets.errors import VendorNotFound
from defiyield_assets.orchestration.alerts import FOLLOWED, tell_of_failed_runs, tell_of_recoveries
from defiyield_assets.orchestration.notifier import NotifierResource
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import schema
from defiyield_assets.store import slack as claims
from defiyield_assets_tests.installations import SILENT
from defiyield_assets_tests.orchestration.slack.conftest import DAY, Channel, Clock
from defiyield_assets_tests.slack_server import Fault

DAILY = dg.DailyPartitionsDefinition(start_date="2025-06-01", end_date="2025-06-10")
BROKEN: set[str] = set()
MADE: list[str] = []
"""Days that a run says it has made before it fails."""


def asset(name: str) -> dg.AssetsDefinition:
    """An asset that fails while its name is in BROKEN."""

    @dg.asset(name=name, partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    def make(context: dg.AssetExecutionContext) -> None:
        for day in MADE:
            context.log_event(dg.AssetMaterialization(name, partition=day))
        if name in BROKEN:
            raise dg.Failure(f"{name}: <!channel> *nobody* answers", allow_retries=False)

    return make


@dg.op
def look() -> None:
    if "look" in BROKEN:
        raise dg.Failure("stale", allow_retries=False)


@dg.job
def bars_are_fresh() -> None:
    look()


@dg.asset_check(asset="macro")
def macro_is_there() -> dg.AssetCheckResult:
    if "macro_is_there" in BROKEN:
        raise dg.Failure("crashed", allow_retries=False)
    return dg.AssetCheckResult(passed=True)


DEFS = dg.Definitions(assets=[asset("closes"), asset("macro")], asset_checks=[macro_is_there], jobs=[bars_are_fresh])


@functools.cache
def job_of(names: tuple[str, ...]) -> dg.JobDefinition:
    """The job of these assets and their checks; Dagster makes a job and its snapshot anew for every selection."""
    job = DEFS.resolve_implicit_global_asset_job_def()
    return job.get_subset(asset_selection={dg.AssetKey(name) for name in names})


@dataclass
class Watch:
    """The sensors beside runs of a small graph."""

    channel: Channel
    instance: dg.DagsterInstance
    notifier: NotifierResource
    failed: list[Any] = field(default_factory=list)

    @property
    def resources(self) -> dict[str, Any]:
        url = self.channel.engine.url.render_as_string(hide_password=False)
        warehouse = WarehouseResource(market="live", url=url)
        return {"warehouse": warehouse, "market": self.channel.market, "notifier": self.notifier}

    def run(
        self,
        *broken: str,
        day: str = str(DAY),
        names: tuple[str, ...] = ("closes", "macro"),
        tags: dict[str, str] | None = None,
    ) -> Any:
        """Run these assets; `broken` are those that fail."""
        BROKEN.clear()
        BROKEN.update(broken)
        result = job_of(names).execute_in_process(
            partition_key=day,
            instance=self.instance,
            raise_on_error=False,
            run_config=SILENT,
            tags=tags,
        )
        if not result.success:
            self.tell(result)
        return result

    def run_range(self, *broken: str, first: str, last: str, made: list[str]) -> None:
        """A failed run of a range, as a backfill in one run is, that had made some of its days."""
        BROKEN.clear()
        BROKEN.update(broken)
        MADE[:] = made
        try:
            result = job_of(broken).execute_in_process(
                instance=self.instance,
                raise_on_error=False,
                run_config=SILENT,
                tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            )
        finally:
            MADE.clear()
        self.tell(result)

    def tell(self, result: Any) -> None:
        """One look of the sensor of failed runs at the run."""
        context = dg.build_run_status_sensor_context(
            sensor_name="tell_of_failed_runs",
            dagster_instance=self.instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
            resources=self.resources,
        )
        tell_of_failed_runs(context.for_run_failure())

    def look(self) -> str:
        """One look of the sensor of recoveries."""
        with dg.build_sensor_context(instance=self.instance, resources=self.resources) as context:
            skipped: Any = tell_of_recoveries(context)
            return str(skipped.skip_message)

    def alerts(self) -> list[Any]:
        with self.channel.engine.connect() as connection:
            return list(connection.execute(sa.select(schema.slack_alerts).order_by("failed_at")).mappings())


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    """One for all tests: making one takes as long as a run, and what was made before a failure is no recovery."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def watch(bot: Channel, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Watch:
    # Runs are stamped by the real clock, so that of the alerts is the real one here; only sleeping is virtual.
    monkeypatch.setattr(NotifierResource, "now", REAL_NOW)
    bot.slack.clock = None
    return Watch(bot, instance, bot.notifier)


REAL_NOW: Callable[[NotifierResource], Any] = NotifierResource.now


def test_the_first_failure_is_told_and_repeats_are_not(watch: Watch) -> None:
    watch.run("closes", "macro")
    watch.run("closes", "macro")
    watch.run("closes")
    (text,) = watch.channel.texts()
    assert f"for {DAY} failed: closes, macro" in text
    assert [alert["repeats"] for alert in watch.alerts()] == [2, 1]
    shown = str(watch.channel.slack.messages[0].blocks)
    assert "&lt;!channel&gt;" in shown
    assert "<!channel>" not in shown
    assert "*nobody*" not in shown


def test_the_same_run_seen_twice_is_told_once(watch: Watch) -> None:
    result = watch.run("closes")
    watch.tell(result)
    assert len(watch.channel.texts()) == 1
    assert [alert["repeats"] for alert in watch.alerts()] == [0]


def test_only_what_is_news_of_a_second_run_is_told(watch: Watch) -> None:
    watch.run("closes")
    watch.run("closes", "macro")
    assert [text.split("failed: ")[1] for text in watch.channel.texts()] == ["closes", "macro"]


def test_another_day_is_another_failure(watch: Watch) -> None:
    watch.run("closes")
    watch.run("closes", day="2025-06-04")
    assert len(watch.channel.texts()) == 2


def test_a_run_that_dagster_will_retry_is_no_news(watch: Watch) -> None:
    watch.run("closes", tags={"dagster/will_retry": "true"})
    assert watch.channel.texts() == []


def test_recovery_is_told_once_in_the_thread_of_the_failure(watch: Watch) -> None:
    watch.run("closes", "macro")
    assert "0 steps have recovered" in watch.look()
    watch.run("macro", names=("closes",))
    assert "1 steps have recovered" in watch.look()
    watch.look()
    failure, recovery = watch.channel.slack.messages
    assert recovery.text == f"Recovered for {DAY}: closes"
    assert (recovery.thread, recovery.is_shown_in_channel) == (failure.ts, True)
    watch.run()
    watch.look()
    watch.look()
    assert watch.channel.texts()[2:] == [f"Recovered for {DAY}: macro"]


def test_another_days_success_is_no_recovery(watch: Watch) -> None:
    watch.run("closes")
    watch.run(day="2025-06-04")
    watch.look()
    assert len(watch.channel.texts()) == 1


def test_what_fails_again_after_its_recovery_is_told_again(watch: Watch) -> None:
    watch.run("closes")
    watch.run()
    watch.look()
    watch.run("closes")
    assert len(watch.channel.texts()) == 3
    assert [alert["episode"] for alert in watch.alerts()] == [0, 1]


def test_a_failure_that_slack_refused_is_told_at_a_later_look(watch: Watch) -> None:
    watch.channel.slack.faults = [Fault("channel_not_found")]
    with pytest.raises(VendorNotFound):
        watch.run("closes")
    assert watch.channel.texts() == []
    watch.look()
    watch.look()
    assert len(watch.channel.texts()) == 1
    assert watch.alerts()[0]["is_told"]


def test_a_failure_that_nobody_answered_is_not_told_again(watch: Watch) -> None:
    watch.channel.slack.faults = [Fault("drop", after=True)]
    watch.run("closes")
    watch.look()
    assert len(watch.channel.texts()) == 1
    assert len(watch.channel.slack.requests) == 1


def test_a_sensor_that_ended_between_claim_and_post_is_made_good(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(NotifierResource, "deliver", die)
        with pytest.raises(KeyboardInterrupt):
            watch.run("closes")
    assert len(watch.alerts()) == 1
    watch.look()
    assert len(watch.channel.texts()) == 1


def test_a_recovery_that_slack_refused_is_told_at_a_later_look(watch: Watch) -> None:
    watch.run("closes")
    watch.run()
    watch.channel.slack.faults = [Fault("is_archived")]
    with pytest.raises(VendorNotFound):
        watch.look()
    watch.look()
    watch.look()
    assert watch.channel.texts()[1:] == [f"Recovered for {DAY}: closes"]


def test_one_refused_alert_keeps_no_other_from_being_told(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor its own recovery, which says then that nobody was told of the failure."""
    deliver = NotifierResource.deliver
    for day in ("2025-06-03", "2025-06-04"):
        watch.channel.slack.faults = [Fault("is_archived")]
        with pytest.raises(VendorNotFound):
            watch.run("closes", day=day)
    watch.run()
    refused = sorted(str(alert["run_id"]) for alert in watch.alerts())[0]

    def refuse(self: NotifierResource, message: Any, name: str, *, key: str, **rest: Any) -> Any:
        if key == f"failure:{refused}":
            raise VendorNotFound("no", vendor="slack", endpoint="x", status=None)
        return deliver(self, message, name, key=key, **rest)

    monkeypatch.setattr(NotifierResource, "deliver", refuse)
    with pytest.raises(VendorNotFound):
        watch.look()
    texts = watch.channel.texts()
    assert [text.split(" ")[0] for text in texts] == ["Run", "Recovered"]
    untold = next(alert for alert in watch.alerts() if str(alert["run_id"]) == refused)
    shown = str(watch.channel.slack.messages[1].blocks)
    assert ("could not be told before" in shown) == (untold["date"] == DAY)


def test_a_job_without_assets_recovers_when_it_succeeds_for_the_day(watch: Watch) -> None:
    def run(*broken: str, day: str = str(DAY)) -> None:
        BROKEN.clear()
        BROKEN.update(broken)
        result = DEFS.resolve_job_def("bars_are_fresh").execute_in_process(
            instance=watch.instance, raise_on_error=False, run_config=SILENT, tags={"dagster/partition": day}
        )
        if not result.success:
            watch.tell(result)

    run("look")
    run(day="2025-06-09")
    watch.look()
    assert [f"bars_are_fresh for {DAY} failed: look" in text for text in watch.channel.texts()] == [True]
    run()
    watch.look()
    assert watch.channel.texts()[1:] == [f"Recovered for {DAY}: look"]


def test_a_check_that_crashed_recovers_by_itself_and_by_no_other_success(watch: Watch) -> None:
    watch.run("macro_is_there", names=("macro",))
    (alert,) = watch.alerts()
    assert alert["asset"] == "macro_macro_is_there"
    watch.run(names=("closes",))
    assert "0 steps have recovered" in watch.look(), "another step of the same job and day"
    watch.run(names=("macro",), day="2025-06-04")
    assert "0 steps have recovered" in watch.look(), "another day"
    watch.run("closes")
    assert "1 steps have recovered" in watch.look(), "the check ran well, although the run failed"
    assert f"Recovered for {DAY}: macro_macro_is_there" in watch.channel.texts()


def days(*numbers: int) -> list[str]:
    return [f"2025-06-0{number}" for number in numbers]


def test_a_range_recovers_when_every_day_that_it_had_not_made_is_made(watch: Watch) -> None:
    watch.run_range("closes", first=days(2)[0], last=days(5)[0], made=days(2))
    (alert,) = watch.alerts()
    assert (str(alert["date"]), str(alert["through"])) == (days(2)[0], days(5)[0])
    for day in days(5, 3):
        watch.run(day=day, names=("closes",))
    assert "0 steps have recovered" in watch.look(), "a day inside is missing still"
    watch.run(day=days(4)[0], names=("closes",))
    assert "1 steps have recovered" in watch.look(), "and the one that it had made itself is not waited for"


def test_alerts_are_written_down_on_both_databases(warehouse: sa.Engine) -> None:
    now = Clock().now()

    def failure(name: str, minutes: int) -> claims.Failure:
        return claims.Failure(name, DAY, DAY, True, "why", now + timedelta(minutes=minutes))

    assert claims.open_alerts(warehouse, [failure("a", 0), failure("b", 0)], "job", "run-1", FOLLOWED) == 2
    assert claims.open_alerts(warehouse, [failure("a", 0), failure("b", 0)], "job", "run-1", FOLLOWED) == 0
    assert claims.open_alerts(warehouse, [failure("a", 1), failure("c", 1)], "job", "run-2", FOLLOWED) == 1
    assert [row["repeats"] for row in claims.alerts_of_run(warehouse, "run-1")] == [1, 0]
    made, later = {("a", DAY, 0): now + timedelta(minutes=5)}, now + timedelta(days=2)
    assert claims.recover(warehouse, made, "recovery:1", later) == 1
    assert claims.recover(warehouse, made, "recovery:2", later) == 0, "closed once"
    assert claims.open_alerts(warehouse, [failure("a", 4)], "job", "run-3", FOLLOWED) == 0, "failed before it recovered"
    assert claims.open_alerts(warehouse, [failure("a", 6)], "job", "run-4", FOLLOWED) == 1
    assert [row["asset"] for row in claims.untold_recoveries_since(warehouse, now)] == ["a"]
    noticed = claims.untold_recoveries_since(warehouse, later - timedelta(hours=1))
    assert [row["asset"] for row in noticed] == ["a"], "the window is on when it was noticed, not on when it was made"
    claims.mark_recovery_told(warehouse, "recovery:1")
    claims.mark_told(warehouse, "run-1")
    assert claims.untold_recoveries_since(warehouse, now) == []
    assert {row["run_id"] for row in claims.untold_since(warehouse, now)} == {"run-2", "run-4"}
    assert {row["asset"] for row in claims.open_since(warehouse, now)} == {"a", "b", "c"}
    much_later = int(FOLLOWED.total_seconds() / 60)
    assert claims.open_alerts(warehouse, [failure("b", much_later)], "job", "run-5", FOLLOWED) == 0
    again = claims.open_alerts(warehouse, [failure("b", much_later + 1)], "job", "run-6", FOLLOWED)
    assert again == 1, "what nobody looks after any more is news again"
