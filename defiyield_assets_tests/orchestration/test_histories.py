"""Histories through their assets: who is asked how often, revisions, the running day, pools that change their id.

Not here: what a point or a revision is (domain/pools), crashes (faults/test_backfill_crashes.py).
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.domain.policy import PoolAlias
from defiyield_assets.domain.policy_codec import policy_from_json, policy_to_json
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.declarations import PROGRESS
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import write_transaction
from defiyield_assets_tests.installations import FIRST, SILENT, Installation, Loop, day_after, failed_steps, meddle

pytestmark = pytest.mark.slow

NEXT = day_after(FIRST)
CHARTS, LENDING = "/chart/{pool}", "/chartLendBorrow/{pool}"
INGESTED = ["policy_snapshot", "pool_aliases", "pools", "token_registry", "prefiltered_pools", "chain_balances"]
INGESTED += ["pool_contracts", "pool_histories"]
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


def run_range(installation: Installation, assets: list[str], days: DayRange) -> dg.ExecuteInProcessResult:
    """Materialise a range in one run, as a backfill of a single-run asset does."""
    with dg.DagsterInstance.ephemeral() as instance:
        return installation.definitions.resolve_job_def("plan_the_day").execute_in_process(
            tags={RANGE_START: days.start.isoformat(), RANGE_END: days.end.isoformat()},
            asset_selection=[dg.AssetKey(name) for name in assets],
            instance=instance,
            run_config=SILENT,
        )


def asked(installation: Installation) -> Counter[str]:
    """Requests so far, by endpoint."""
    return Counter(installation.rows(schema.raw_fetches)["endpoint"])


def forget(installation: Installation, *tables: sa.Table) -> None:
    """Empty these tables."""
    for table in tables:
        with write_transaction(installation.engine, table.name) as connection:
            connection.execute(sa.delete(table))


# --- who is asked ---------------------------------------------------------------------------------------------------
@pytest.mark.nightly
def test_a_second_run_of_the_day_asks_defillama_nothing(after_first: Installation) -> None:
    before, tables = asked(after_first), after_first.fingerprints()
    forget(after_first, schema.pool_histories)
    assert after_first.run(FIRST, INGESTED).success
    news = asked(after_first) - before
    assert {name: n for name, n in news.items() if name in (CHARTS, "/pools", "/lendBorrow")} == {}
    assert after_first.fingerprints() == tables


def test_a_backfill_asks_once_for_each_pool_and_a_second_one_nobody(after_first: Installation) -> None:
    forget(after_first, schema.pool_histories, schema.raw_fetches)
    days, said = DayRange(FIRST - timedelta(days=29), FIRST), []
    token = PROGRESS.set(lambda asset, what, _seconds: said.append(what) if asset == "pool_histories" else None)
    try:
        result = run_range(after_first, ["pool_histories"], days)
    finally:
        PROGRESS.reset(token)
    tracked = set(reads.pool_history_revisions(after_first.engine, DayRange.of(FIRST))["pool_id"])
    first = after_first.rows(schema.raw_fetches)
    charts = first[first["endpoint"] == CHARTS]
    assert len(charts) == charts["params_json"].nunique() >= len(tracked) >= 60
    assert f"{len(charts)} of {len(charts)} charts, 0 from the archive, 0 failed" in said
    materialised = result.asset_materializations_for_node("pool_histories")[0].metadata
    figures = {name: materialised[name].value for name in ("charts_asked", "charts_from_archive", "charts_failed")}
    assert figures == {"charts_asked": len(charts), "charts_from_archive": 0, "charts_failed": 0}
    stored = after_first.fingerprints()
    run_range(after_first, ["pool_histories"], days)
    assert len(after_first.rows(schema.raw_fetches)) == len(first)
    assert after_first.fingerprints() == stored
    forget(after_first, schema.pool_histories)
    run_range(after_first, ["pool_histories"], days)
    assert len(after_first.rows(schema.raw_fetches)) == len(first), "the archive has them all"
    assert after_first.fingerprints() == stored


def test_a_truncated_snapshot_is_archived_with_its_error_and_never_reused(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truncate(_day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if not request.url.path.endswith("/pools"):
            return response
        answer = json.loads(response.content)
        return httpx.Response(
            200, headers={"date": response.headers["date"]}, json={**answer, "data": answer["data"][:9]}
        )

    with monkeypatch.context() as torn:
        meddle(torn, truncate)
        result = after_first.run(NEXT, ["policy_snapshot", "pool_aliases", "pools"], raise_on_error=False)
    assert failed_steps(result) == {"pools"}
    kept = after_first.rows(schema.raw_fetches)
    mine = kept[(kept["endpoint"] == "/pools") & (kept["partition_date"] == NEXT)]
    assert mine["error_class"].tolist() == [SuspiciousDataError.__name__]
    assert after_first.rows(schema.pools, NEXT).empty
    assert after_first.run(NEXT, ["pools"]).success
    assert len(after_first.rows(schema.pools, NEXT)) > 1000


def test_the_point_of_the_running_day_is_asked_for_again_when_the_day_is_over(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(after_first, schema.pool_histories, schema.raw_fetches, schema.pools)
    noon = start_of(FIRST) + timedelta(hours=12)

    def running(_day: date, _request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return httpx.Response(
            200, headers={"date": noon.strftime("%a, %d %b %Y %H:%M:%S GMT")}, content=response.content
        )

    with monkeypatch.context() as today:
        today.setattr(MarketResource, "stamp", lambda _market, _day: noon)
        meddle(today, running)
        assert after_first.run(FIRST, ["pool_histories"]).success
    points = after_first.rows(schema.pool_histories, FIRST)
    assert points["is_provisional"].all()
    assert set(points["seen_at"]) == {noon}
    n_asked = len(after_first.rows(schema.raw_fetches))
    assert after_first.run(FIRST, ["pool_histories"]).success
    assert len(after_first.rows(schema.raw_fetches)) >= n_asked + 1, "what was told at noon is not the day's last word"
    held = after_first.rows(schema.pool_histories, FIRST)
    final = held[~held["is_provisional"]]
    assert len(final) > 0
    assert (final["revision"] == 0).all(), "a provisional point is replaced, not revised"
    assert (final["seen_at"] >= end_of(FIRST)).all()


# --- revisions ------------------------------------------------------------------------------------------------------
def edited_past(edited: date) -> Callable[[date, httpx.Request, httpx.Response], httpx.Response]:
    """From the next day on the vendor tells of another APY on one past day."""

    def meddler(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "/chart/" not in request.url.path or day < NEXT or request.url.host != "yields.llama.fi":
            return response
        answer = json.loads(response.content)
        for point in answer["data"]:
            if point["timestamp"].startswith(edited.isoformat()):
                point["apy"] = 77.0
        return httpx.Response(200, headers={"date": response.headers["date"]}, json=answer)

    return meddler


def test_a_changed_past_value_is_reported_by_the_day_that_saw_it_and_by_no_other(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = FIRST - timedelta(days=5)
    meddle(monkeypatch, edited_past(edited))
    assert after_first.run(NEXT, [*INGESTED, "history_revisions"]).success
    told = after_first.rows(schema.history_revisions, NEXT)
    assert len(told) > 0, "held pools are asked every day"
    assert set(told["point_date"]) == {edited}
    assert set(told["revision"]) == {1}
    assert set(told["age_days"]) == {6}
    assert told["apy"].tolist() == pytest.approx([0.77] * len(told))
    before = reads.pool_histories(after_first.engine, DayRange.of(edited), end_of(FIRST) + timedelta(hours=1))
    known = dict(zip(before["pool_id"], before["apy"], strict=True))
    assert told["apy_before"].tolist() == [known[pool] for pool in told["pool_id"]]
    assert after_first.run(FIRST, ["history_revisions"]).success
    assert after_first.rows(schema.history_revisions, FIRST).empty
    once = after_first.fingerprints()
    run_range(after_first, ["history_revisions"], DayRange(FIRST, NEXT))
    assert after_first.fingerprints() == once, "days one by one or in one run"


# --- lending pools --------------------------------------------------------------------------------------------------
def lending_charts(status: int = 200) -> Callable[[date, httpx.Request, httpx.Response], httpx.Response]:
    """The vendor tells forty days of every lending pool up to the partition, or answers with that status."""

    def meddler(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "/chartLendBorrow/" not in request.url.path:
            return response
        rates = {"apyBase": 4.0, "apyReward": None, "apyBaseBorrow": 6.0, "apyRewardBorrow": None}
        sizes = {"totalSupplyUsd": 2e6, "totalBorrowUsd": 1e6}
        stamps = [f"{day - timedelta(days=age)}T23:00:00.000Z" for age in range(40)]
        answer = {"status": "success", "data": [{"timestamp": stamp, **sizes, **rates} for stamp in reversed(stamps)]}
        return httpx.Response(status, headers={"date": response.headers["date"]}, json=answer)

    return meddler


def test_lending_pools_are_asked_for_once_and_then_told_by_the_snapshot(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(after_first, schema.lending_histories, schema.raw_fetches)
    meddle(monkeypatch, lending_charts())
    before = asked(after_first)[LENDING]
    assert after_first.run(FIRST, ["lending_histories"]).success
    points = after_first.rows(schema.lending_histories)
    n_pools = points["pool_id"].nunique()
    assert n_pools > 20
    assert asked(after_first)[LENDING] - before == n_pools
    assert set(points.groupby("pool_id").size()) == {40}
    earlier, today = points[points["date"] < FIRST], points[points["date"] == FIRST]
    assert set(earlier["apy_base_borrow"]) == {0.06}
    assert today["apy_base_borrow"].isna().all(), "the snapshot knows no rates of borrowers"
    stored = after_first.fingerprints()
    assert after_first.run(FIRST, ["lending_histories"]).success
    assert after_first.fingerprints() == stored
    forget(after_first, schema.lending_histories)
    assert after_first.run(FIRST, ["lending_histories"]).success
    assert after_first.fingerprints() == stored
    assert asked(after_first)[LENDING] - before == n_pools, "the archive answers again"


@pytest.mark.parametrize(("status", "kept"), [(500, False), (402, True)])
def test_lending_charts_that_fail_degrade_and_nothing_else(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch, status: int, kept: bool
) -> None:
    """What may come another time leaves its pool new; what a plan does not hold leaves the snapshot's points."""
    forget(after_first, schema.lending_histories, schema.raw_fetches)
    meddle(monkeypatch, lending_charts(status))
    assert after_first.run(FIRST, ["lending_histories"]).success
    outcome = after_first.rows(schema.asset_outcomes, FIRST).set_index("asset").loc["lending_histories"]
    assert outcome["status"] == "degraded"
    assert "lending charts failed" in outcome["reason"]
    points = after_first.rows(schema.lending_histories)
    asked_for = set(points["pool_id"])
    assert (len(asked_for) > 20) is kept
    assert set(points["date"]) <= {FIRST}


# --- pools that change their id -------------------------------------------------------------------------------------
def rename(old: str, new: str) -> Callable[[date, httpx.Request, httpx.Response], httpx.Response]:
    """From the next day on the vendor lists the pool under another id, and knows the old one no more."""

    def meddler(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if day < NEXT or request.url.host != "yields.llama.fi":
            return response
        assert f"/chart/{new}" not in request.url.path, "a renamed pool needs no chart"
        body = response.content.replace(old.encode(), new.encode())
        return httpx.Response(response.status_code, headers={"date": response.headers["date"]}, content=body)

    return meddler


@pytest.mark.nightly
def test_a_renamed_pool_goes_on_with_its_history_and_no_earlier_day_knows_of_it(
    first_day: Loop, after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = first_day.installation.rows(schema.pool_metrics, FIRST)
    positions = first_day.installation.rows(schema.pool_positions)
    old = sorted(set(metrics.loc[metrics["observed_days"] == 30, "pool_id"]) - set(positions["pool_id"]))[0]
    new, alias_day = "11111111-2222-4333-8444-555555555555", NEXT
    meddle(monkeypatch, rename(old, new))
    assert after_first.run(NEXT, ["policy_snapshot"]).success
    with write_transaction(after_first.engine, "policy_snapshot") as connection:
        table = schema.policy_snapshot
        for day in (FIRST, NEXT):
            policy = policy_from_json(
                connection.execute(sa.select(table.c.policy_json).where(table.c.date == day)).scalar_one()
            )
            text = policy_to_json(replace(policy, pool_aliases=(PoolAlias(old, new, alias_day, "test"),)))
            named = {"policy_json": text, "policy_hash": content_hash(text)}
            connection.execute(sa.update(table).where(table.c.date == day).values(named))
    rest = [name for name in INGESTED if name != "policy_snapshot"]
    forecasts = ["forecast_evaluations", "forecast_candidates", "pool_forecasts"]
    judged = ["pool_quality", "pool_metrics", *forecasts]
    assert after_first.run(NEXT, [*rest, "pool_groups", *judged]).success
    then = metrics.set_index("pool_id").loc[old]
    now = after_first.rows(schema.pool_metrics, NEXT).set_index("pool_id")
    assert old not in now.index
    assert now.loc[new, "age_days"] == then["age_days"] + 1
    assert now.loc[new, "observed_days"] == 30
    assert after_first.rows(schema.pool_quality, NEXT).set_index("pool_id").loc[new, "is_passed"]
    assert new in set(after_first.rows(schema.pool_forecasts, NEXT)["pool_id"])
    assert set(after_first.rows(schema.pool_histories).query("pool_id == @new")["date"]) == {NEXT}, (
        "nothing is rewritten"
    )
    assert after_first.run(FIRST, judged).success
    for table in (schema.pool_quality, schema.pool_metrics, schema.pool_forecasts):
        mine, theirs = after_first.rows(table, FIRST), first_day.installation.rows(table, FIRST)
        assert mine.equals(theirs), f"{table.name}: the alias is in force from {alias_day} on"
    before = after_first.fingerprints()
    assert run_range(after_first, judged, DayRange(FIRST, NEXT)).success
    assert after_first.fingerprints() == before, "a range over the day of the change is the days one by one"
