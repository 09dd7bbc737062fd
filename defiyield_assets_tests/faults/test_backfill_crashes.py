"""A backfill that is killed again and again completes: nothing lost, nothing twice, only what is missing asked for.

Real processes, a real socket. Not here: crashes inside one write (store/test_writes.py), other assets (faults/).
"""

import json
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.pools.histories import histories_from_charts
from defiyield_assets.sources.defillama_yields import parse_chart
from defiyield_assets.store import schema
from defiyield_assets_tests.chart_vendor import (
    ChartVendor,
    chart,
    live_installation,
    pool_ids,
    serving,
    variables,
    yesterday,
)
from defiyield_assets_tests.dagster_processes import DagsterHome
from defiyield_assets_tests.installations import Installation

pytestmark = pytest.mark.slow

N_POOLS = 120
CONCURRENCY = 8
POINTS = 40
PATIENCE_SECONDS = 120.0


def archived(installation: Installation) -> set[str]:
    """Pools whose charts the archive holds."""
    rows = installation.rows(schema.raw_fetches)
    kept = set(rows.loc[rows["sha256"].notna() & rows["error_class"].isna(), "params_json"])
    return {pool for pool in pool_ids(N_POOLS) if canonical_json({"pool": pool}) in kept}


def run_killed(home: DagsterHome, vendor: ChartVendor, days: DayRange, after: int | None) -> list[str]:
    """Run the backfill, killed when the vendor has got so many further requests; returns what was asked."""
    began, log = len(vendor.asked), home.state / "backfill.log"
    selection = ("-m", "defiyield_assets.definitions", "--select", "pool_histories")
    span = ("--partition-range", f"{days.start}...{days.end}")
    with home.started("dagster", "asset", "materialize", *selection, *span, log=log) as process:

        def kill(count: int, _pool: str) -> None:
            if after is not None and count == began + after:
                os.killpg(process.pid, signal.SIGKILL)

        vendor.on_request = kill
        code = process.wait(timeout=PATIENCE_SECONDS)
    assert code == (0 if after is None else -signal.SIGKILL), log.read_text(encoding="utf-8")[-3000:]
    return vendor.asked[began:]


@pytest.mark.parametrize(
    "kills",
    [[70], pytest.param([1, 30, 26, 20], marks=pytest.mark.nightly)],
    ids=["killed once", "killed again and again"],
)
def test_a_killed_backfill_completes_and_asks_only_for_what_is_missing(kills: Sequence[int], tmp_path: Path) -> None:
    days = DayRange(yesterday() - timedelta(days=9), yesterday())
    vendor = ChartVendor(POINTS)
    with serving(vendor) as url:
        installation = live_installation(tmp_path / "state", N_POOLS, days)
        home = DagsterHome.make(tmp_path / "dagster", **variables(installation, url, concurrency=CONCURRENCY))
        for after in [*kills, None]:
            before, stored = archived(installation), installation.rows(schema.pool_histories)
            asked = run_killed(home, vendor, days, after)
            assert not before & set(asked), "what the archive holds is not asked for again"
            assert len(asked) == len(set(asked))
            now = installation.rows(schema.pool_histories)
            assert stored.merge(now).shape == stored.shape, "what was stored stays as it was"
            assert (now.groupby("pool_id").size() == POINTS).all(), "a pool is stored whole or not at all"
        assert archived(installation) == set(vendor.asked) == set(pool_ids(N_POOLS))
        assert len(vendor.asked) <= N_POOLS + CONCURRENCY * len(kills), "in flight when it was killed, at most"
    points = installation.rows(schema.pool_histories)
    told = [
        (pool, parse_chart(json.loads(chart(pool, POINTS, vendor.last))), datetime.now(UTC))
        for pool in pool_ids(N_POOLS)
    ]
    expected = histories_from_charts(told, days.end)
    assert set(points["revision"]) == {0}
    columns = ["pool_id", "date", "apy", "apy_base", "apy_reward", "tvl_usd", "is_provisional"]
    assert points[columns].equals(expected[columns]), "as if nothing had happened"
