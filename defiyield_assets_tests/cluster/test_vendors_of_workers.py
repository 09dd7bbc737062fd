"""What a vendor sees of two workers with one key: pools keep them apart, budgets hold for both together.

Not here: leases of many processes on one table (store/test_budgets.py), who executed what (test_celery.py).
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.pools.histories import histories_from_charts
from defiyield_assets.sources.defillama_yields import parse_chart
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.chart_vendor import (
    ChartVendor,
    chart,
    live_installation,
    pool_ids,
    serving,
    variables,
    yesterday,
)
from defiyield_assets_tests.cluster.machines import Broker, Cluster, make_cluster
from defiyield_assets_tests.databases import DATABASES, postgres_database, url_text
from defiyield_assets_tests.installations import Installation

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
N_POOLS = 30
"""Pools of each day; no two days have one in common, so that requests tell whose they are."""
POOL = "defillama_yields"
WORKERS = ("one", "two")
PER_DAY = 50
"""Calls that the key has left for a day: less than two runs want."""
PER_MINUTE = 2_400
CONCURRENCY = 4
POINTS = 3
PATIENCE_SECONDS = 120.0
"""How long the vendor waits for the second worker."""


@dataclass(frozen=True)
class Watched:
    """Two workers at a vendor that counts."""

    cluster: Cluster
    vendor: ChartVendor
    installation: Installation
    days: DayRange

    def run_days(self) -> tuple[list[int], list[dict[str, object]]]:
        """A run of each day, at once: the days in the order in which the vendor was asked, and how the runs ended."""
        told = self.cluster.run(["pool_histories"], *(day.isoformat() for day in self.days))
        owner = {pool: number for number, _ in enumerate(self.days) for pool in pool_ids(N_POOLS, number)}
        return [owner[pool] for pool in self.vendor.asked], told

    def executed(self, told: list[dict[str, object]]) -> set[str]:
        """Workers that executed a step of these runs."""
        return {worker for run in told for worker in self.cluster.steps_by_worker(str(run["run_id"]))}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.nightly] if name == "sqlite" else []) for name in DATABASES]
)
def warehouse_url(request: pytest.FixtureRequest, tmp_path: Path, postgres_server: sa.URL) -> Iterator[str]:
    """Where the counters are kept."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'warehouse.sqlite'}"
        return
    with postgres_database(postgres_server) as url:
        yield url_text(url)


@pytest.fixture
def per_day() -> int:
    """Calls of the key in a day; tests of budgets say fewer."""
    return 100_000


@pytest.fixture
def watched(
    postgres_server: sa.URL, broker: Broker, warehouse_url: str, per_day: int, tmp_path: Path
) -> Iterator[Watched]:
    """A live installation of two days at such a vendor, the workers idle."""
    days = DayRange(yesterday() - timedelta(days=1), yesterday())
    vendor = ChartVendor(POINTS)
    with serving(vendor) as url, postgres_database(postgres_server) as dagster:
        installation = live_installation(tmp_path / "state", N_POOLS, days, warehouse_url, is_apart=True)
        told = variables(installation, url, concurrency=CONCURRENCY)
        limits = json.loads(told["DEFIYIELD_VENDORS"])
        limits[POOL] |= {"per_minute": PER_MINUTE, "per_day": per_day}
        told["DEFIYIELD_VENDORS"] = json.dumps(limits)
        for name in ("DEFIYIELD_STATE_DIR", "DEFIYIELD_DATABASE_URL"):
            told.pop(name)
        own = replace(broker, number=2)
        own.client.flushdb()
        cluster = make_cluster(
            tmp_path / "cluster", dagster, warehouse_url, own, DEFIYIELD_CELERY_REDELIVERY_SECONDS="30", **told
        )
        yield Watched(cluster, vendor, installation, days)
        installation.engine.dispose()


@pytest.mark.parametrize("warehouse_url", ["postgres"], indirect=True)
def test_a_pool_lets_one_step_ask_the_vendor_at_a_time(watched: Watched) -> None:
    """Limit 1, as deploy/dagster.postgres.yaml sets it: one run asks when the other has ended, on whichever worker."""
    with watched.cluster.working(*WORKERS):
        asked, told = watched.run_days()
    assert len(told) == 2
    assert asked
    assert len(list(groupby(asked))) == len(set(asked)), f"requests of two runs are mixed: {asked}"


@pytest.mark.parametrize("per_day", [PER_DAY])
def test_two_workers_at_once_keep_to_one_budget(watched: Watched) -> None:
    """Limit 2: both ask at the same time, and the key's budget of the day is used up to the last call, and no more.

    Who asks first is answered a few times, and then when the other has asked, too: no luck makes them meet.
    """
    meeting: set[bool] = set()
    first, patient_until = set(pool_ids(N_POOLS, 0)), time.monotonic() + PATIENCE_SECONDS

    def is_alone(pool: str) -> bool:
        meeting.add(pool in first)
        return len(watched.vendor.asked) >= CONCURRENCY and len(meeting) == 1 and time.monotonic() < patient_until

    watched.vendor.holds = is_alone
    with watched.cluster.instance() as instance:
        instance.event_log_storage.set_concurrency_slots(POOL, 2)
    with watched.cluster.working(*WORKERS):
        asked, told = watched.run_days()
        assert watched.executed(told) == set(WORKERS)
    assert len(list(groupby(asked))) > 2, "they did ask at the same time"
    usage = reads.read_all(watched.installation.engine, schema.vendor_usage)
    ours = usage[usage["vendor"] == POOL]
    by_day = ours[ours["period"] == "day"]["calls"]
    assert (by_day <= PER_DAY).all()
    assert len(asked) <= by_day.sum(), "nobody sent what was not counted"
    assert PER_DAY < 2 * N_POOLS, "what both wanted together is more"
    assert (ours[ours["period"] == "minute"]["calls"] <= PER_MINUTE).all()
    assert watched.vendor.throttles == 0


@pytest.mark.nightly
@pytest.mark.parametrize("warehouse_url", ["postgres"], indirect=True)
def test_a_worker_that_dies_in_the_middle_of_a_step_is_replaced_by_the_other(watched: Watched) -> None:
    """It is killed while it asks; the other takes the step over, asks for what is missing, and the run ends well."""
    day = watched.days.end
    killed: list[str] = []

    def kill_who_asks(count: int, _pool: str) -> None:
        if count == N_POOLS // 2:
            killed.extend(name for name in WORKERS if watched.cluster.has_begun(name))
            watched.cluster.kill(killed[0])

    watched.vendor.on_request = kill_who_asks
    with watched.cluster.working(*WORKERS):
        (told,) = watched.cluster.run(["pool_histories"], day.isoformat())
    assert told["success"], told
    assert len(killed) == 1, "one worker had a step"
    assert watched.executed([told]) == set(WORKERS), "the step was begun by one and ended by the other"
    assert len(watched.vendor.asked) <= N_POOLS + CONCURRENCY, "what the archive holds is not asked for again"
    answers = [
        (pool, parse_chart(json.loads(chart(pool, POINTS, watched.vendor.last))), datetime.now(UTC))
        for pool in pool_ids(N_POOLS, len(watched.days) - 1)
    ]
    columns = ["pool_id", "date", "apy", "apy_base", "apy_reward", "tvl_usd", "is_provisional"]
    points = reads.read_all(watched.installation.engine, schema.pool_histories)
    assert set(points["revision"]) == {0}
    assert points[columns].equals(histories_from_charts(answers, day)[columns]), "as if nothing had happened"
