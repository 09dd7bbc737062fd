"""The day without Dagster's machinery is Dagster's day: what runs, what is skipped, what the tables hold.

The oracle is Dagster itself: toy graphs in which things fail, and four days of the closed loop.
"""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.day import DayFunction
from defiyield_assets_tests.installations import Loop, failed_steps, materialised
from defiyield_assets_tests.served_market import contents, differing

DAY = date(2025, 6, 3)
DAILY = dg.DailyPartitionsDefinition("2025-06-01")
TWICE = dg.RetryPolicy(max_retries=2, delay=0.0)


def step(
    name: str, deps: tuple[str, ...] = (), fails: int = 0, retry: dg.RetryPolicy | None = None
) -> dg.AssetsDefinition:
    """An asset whose first so many calls fail."""
    calls = []

    @dg.asset(name=name, deps=list(deps), partitions_def=DAILY, tags={"daily": ""}, retry_policy=retry)
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        calls.append(context.partition_key_range.start)
        if len(calls) <= fails:
            raise RuntimeError(f"{name} fails")
        return dg.MaterializeResult()

    return asset


def check(asset: str, *, passed: bool, blocking: bool, more: tuple[str, ...] = ()) -> dg.AssetChecksDefinition:
    """A check of the asset with that verdict."""

    @dg.asset_check(
        asset=asset, name=f"check_of_{asset}", blocking=blocking, partitions_def=DAILY, additional_deps=list(more)
    )
    def judged(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passed, description=context.partition_key)

    return judged


def graph(case: str) -> dg.Definitions:
    """a -> b -> c and d -> e; what goes wrong depends on the case."""
    fails = {"a step fails": 1, "a step is tried again": 2, "a step fails too often": 3}.get(case, 0)
    retry = TWICE if "again" in case or "often" in case else None
    checks = {
        "a blocking check fails": [check("b", passed=False, blocking=True)],
        "a check that only tells fails": [check("b", passed=False, blocking=False)],
        "a blocking check passes": [check("b", passed=True, blocking=True, more=("d",))],
        "what a check needs fails": [check("b", passed=True, blocking=True, more=("e",))],
    }.get(case, [])
    last = 1 if case == "what a check needs fails" else 0
    assets = [step("a"), step("b", ("a",), fails, retry), step("c", ("b",)), step("d"), step("e", ("d",), last)]
    defs = dg.Definitions(assets=assets, asset_checks=checks, jobs=[dg.define_asset_job("plan_the_day")])
    return dg.Definitions.merge(defs, dg.Definitions(executor=dg.in_process_executor))


@pytest.mark.parametrize(
    ("case", "done"),
    [
        ("all is well", "abcde"),
        ("a step fails", "ade"),
        ("a step is tried again", "abcde"),
        ("a step fails too often", "ade"),
        ("a blocking check fails", "abde"),
        ("a check that only tells fails", "abcde"),
        ("a blocking check passes", "abcde"),
        ("what a check needs fails", "abd"),
    ],
)
def test_what_runs_and_what_is_skipped_is_what_dagster_runs_and_skips(case: str, done: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        theirs = (
            graph(case)
            .resolve_job_def("plan_the_day")
            .execute_in_process(partition_key=str(DAY), instance=instance, raise_on_error=False)
        )
    heard: list[str] = []
    told = DayFunction(graph(case)).run(DAY, tell=heard.append)
    assert set(heard) == materialised(theirs) == set(done)
    assert set(told.failed) == failed_steps(theirs)
    assert set(told.skipped) == set("abcde") - set(done) - set(told.failed)


def test_what_is_done_is_not_run_again() -> None:
    heard: list[str] = []
    DayFunction(graph("all is well")).run(DAY, done={"a", "b", "d"}, tell=heard.append)
    assert sorted(heard) == ["c", "e"]


@pytest.mark.nightly
def test_the_days_of_the_closed_loop_leave_the_tables_that_dagster_leaves(
    first_day: Loop, closed_loop: Loop, tmp_path: Path
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    function = DayFunction(installation.definitions)
    for day in closed_loop.days[1:]:
        told = function.run(day)
        assert not told.undone, told.breaks
    theirs = contents(closed_loop.installation)
    ours = contents(installation)
    assert differing(ours, theirs) == []
