"""Runs that begin at once: `python -m defiyield_assets_tests.cluster.launching ASSET,ASSET DAY [DAY …]`.

Lives here: the driver, a run of these assets for each day, each in a process of its own, with the executor that the
environment names. Not here: workers (machines.py) or what is asserted. Prints one JSON line for every run.
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from defiyield_assets.settings import PROJECT_ROOT


def repository() -> ReconstructableRepository:
    """The code location, as workers find it again."""
    return ReconstructableRepository.for_module("defiyield_assets.definitions", "defs", str(PROJECT_ROOT))


def run(assets: list[str], day: str) -> str:
    """One run of the assets, to its end; what failed is told."""
    with (
        dg.DagsterInstance.get() as instance,
        dg.execute_job(
            repository().get_reconstructable_job("plan_the_day"),
            instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            tags={"dagster/partition": day},
        ) as result,
    ):
        failed = [event.step_key for event in result.all_events if event.is_step_failure]
        return json.dumps({"day": day, "run_id": result.run_id, "success": result.success, "failed": failed})


def main() -> None:
    """All runs at once; code and storage are made ready before, by one process alone."""
    assets, days = sys.argv[1].split(","), sys.argv[2:]
    repository().get_definition()
    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()
    with ProcessPoolExecutor(len(days), multiprocessing.get_context("fork")) as processes:
        for told in processes.map(run, [assets] * len(days), days):
            sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main()
