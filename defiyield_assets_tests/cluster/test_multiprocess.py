"""Steps in processes of their own on one machine, with Dagster's storage and the warehouse in SQLite files.

Not here: workers of a cluster (test_celery.py).
"""

from pathlib import Path

import dagster as dg
import pytest

from benchmarks.scale_histories import LAST
from defiyield_assets.orchestration import pool_bundles
from defiyield_assets.store import schema
from defiyield_assets_tests.cluster.machines import Cluster
from defiyield_assets_tests.dagster_processes import DagsterHome
from defiyield_assets_tests.installations import FIRST, Installation
from defiyield_assets_tests.orchestration.test_pool_shards import MADE, N_POOLS, SMALL_BUNDLE, filled, fingerprints
from defiyield_assets_tests.served_market import contents, differing

__all__ = ["filled"]

ASSETS = ["migrations", "policy_snapshot", "instruments", "macro_series", "gas_fees_hourly"]
STEPS_AT_ONCE = 2
SHARDS = 3
WITH_SMALL_BUNDLES = f"""
from defiyield_assets.orchestration import pool_bundles
pool_bundles.BUNDLE_POINTS = {SMALL_BUNDLE}
"""
"""Every Python process of the installation begins with it: so few pools would be one bundle, and no work to share."""


@pytest.mark.slow
def test_each_step_has_a_process_and_tables_are_the_same(tmp_path: Path) -> None:
    home = DagsterHome.make(
        tmp_path / "several", DEFIYIELD_EXECUTOR="multiprocess", DEFIYIELD_EXECUTOR_STEPS=str(STEPS_AT_ONCE)
    )
    cluster = Cluster(home, None, Installation(home.state).settings.warehouse_url)
    (told,) = cluster.run(ASSETS, FIRST.isoformat())
    assert told["success"], told
    with cluster.instance() as instance:
        begun = instance.all_logs(str(told["run_id"]), of_type=dg.DagsterEventType.STEP_WORKER_STARTED)
        pids = [entry.dagster_event.pid for entry in begun if entry.dagster_event is not None]
    assert len(set(pids)) == len(pids) >= len(ASSETS)

    alone = Installation(tmp_path / "alone")
    alone.folder.mkdir()
    assert alone.run(FIRST, ASSETS).success
    tables = sorted(set(ASSETS) & set(schema.metadata.tables))
    several = Installation(home.state)
    assert differing(contents(several, tables), contents(alone, tables)) == []
    several.engine.dispose()


@pytest.mark.slow
def test_shards_of_pools_in_processes_of_their_own_make_the_same_rows(
    filled: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
    shared, alone = filled.copy_to(tmp_path / "shared"), filled.copy_to(tmp_path / "alone")
    (tmp_path / "begin").mkdir()
    (tmp_path / "begin" / "sitecustomize.py").write_text(WITH_SMALL_BUNDLES, encoding="utf-8")
    home = DagsterHome.make(
        tmp_path / "several",
        DEFIYIELD_EXECUTOR="multiprocess",
        DEFIYIELD_EXECUTOR_STEPS=str(STEPS_AT_ONCE),
        DEFIYIELD_POOL_SHARDS=str(SHARDS),
        DEFIYIELD_DATABASE_URL=shared.settings.warehouse_url,
        PYTHONPATH=str(tmp_path / "begin"),
    )
    cluster = Cluster(home, None, shared.settings.warehouse_url)
    (told,) = cluster.run(MADE, LAST.isoformat())
    assert told["success"], told
    with cluster.instance() as instance:
        begun = instance.all_logs(str(told["run_id"]), of_type=dg.DagsterEventType.STEP_START)
    steps = {str(entry.step_key) for entry in begun}
    assert {f"pool_metrics.pool_metrics_shard[{number}]" for number in range(SHARDS)} <= steps
    assert alone.run(LAST, MADE).success
    assert len(alone.rows(schema.pool_metrics)) == N_POOLS
    assert fingerprints(shared) == fingerprints(alone)
