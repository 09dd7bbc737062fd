"""One simulated day by each executor: in one process, in several, and on Celery's workers with a real broker.

Everything else is the same: an empty warehouse and Dagster's storage, each a database of one PostgreSQL server, and the
dagster.yaml of deployments. Workers are ready before the run begins. `--assets A,B` runs a part of the day.
Not here: what ends up in the tables (defiyield_assets_tests/cluster).
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter

import sqlalchemy as sa

from benchmarks.targets import finish
from benchmarks.warehouse import server
from defiyield_assets.definitions import build_defs
from defiyield_assets.settings import Settings
from defiyield_assets_tests.cluster.machines import Broker, Cluster, broker_running, make_cluster
from defiyield_assets_tests.databases import postgres_database, url_text

DAY = "2025-06-03"
EXECUTORS = ("in_process", "multiprocess", "celery")


@contextmanager
def installed(folder: Path, named: sa.URL, executor: str, broker: Broker | None) -> Iterator[Cluster]:
    """An installation with databases of its own."""
    with postgres_database(named) as dagster, postgres_database(named) as warehouse:
        chosen = {} if executor == "celery" else {"DEFIYIELD_EXECUTOR": executor}
        yield make_cluster(folder, dagster, url_text(warehouse), broker, **chosen)


def measured(folder: Path, named: sa.URL, executor: str, assets: list[str], workers: int) -> float:
    """Seconds of the run, from the start of its process to its end."""
    with broker_running(folder) if executor == "celery" else nullcontext() as broker:
        names = [f"worker{number}" for number in range(workers)] if broker is not None else []
        with installed(folder / executor, named, executor, broker) as cluster, cluster.working(*names):
            began = perf_counter()
            (told,) = cluster.run(assets, DAY, timeout_seconds=3_600)
            seconds = perf_counter() - began
    if not told["success"]:
        raise RuntimeError(f"{executor}: {told}")
    return seconds


def main() -> int:
    """Print the table and the closing line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", help="comma separated; default: all of the day")
    parser.add_argument("--workers", type=int, default=2, help="Celery's workers, one step at a time each")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    asked = parser.parse_args()
    graph = build_defs(Settings(market="simulated")).resolve_asset_graph()
    daily = [key for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags]
    assets = asked.assets.split(",") if asked.assets else sorted(key.to_user_string() for key in daily)
    print(f"{len(assets)} assets of {DAY} on {os.cpu_count()} cores, {asked.workers} workers")
    print(f"{'executor':<16}{'seconds':>10}{'ratio':>8}")
    taken: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, server() as named:
        for executor in EXECUTORS:
            taken[executor] = measured(Path(folder), named, executor, assets, asked.workers)
            print(f"{executor:<16}{taken[executor]:>10.1f}{taken[executor] / taken['in_process']:>8.2f}", flush=True)
    return finish("executors", {f"{name}_seconds": seconds for name, seconds in taken.items()})


if __name__ == "__main__":
    sys.exit(main())
