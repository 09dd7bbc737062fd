"""Steps in processes of their own on one machine, with Dagster's storage and the warehouse in SQLite files.

Not here: workers of a cluster (test_celery.py).
"""

from pathlib import Path

import dagster as dg
import pytest

from defiyield_assets.store import schema
from defiyield_assets_tests.cluster.machines import Cluster
from defiyield_assets_tests.dagster_processes import DagsterHome
from defiyield_assets_tests.installations import FIRST, Installation
from defiyield_assets_tests.served_market import contents, differing

ASSETS = ["migrations", "policy_snapshot", "instruments", "macro_series", "gas_fees_hourly"]
STEPS_AT_ONCE = 2


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
