"""Runs that begin at once: `python -m defiyield_assets_tests.cluster.launching ASSET,ASSET DAY [DAY …]`.

Lives here: the driver, a process that has a run of these assets for each day, each in a thread, with the executor that
the environment names. Not here: workers (machines.py) or what is asserted. Prints one JSON line for every run.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from defiyield_assets.settings import PROJECT_ROOT


def run(assets: list[str], day: str) -> dict[str, object]:
    """One run of the assets, to its end; what failed is told."""
    repository = ReconstructableRepository.for_module("defiyield_assets.definitions", "defs", str(PROJECT_ROOT))
    with (
        dg.DagsterInstance.get() as instance,
        dg.execute_job(
            repository.get_reconstructable_job("plan_the_day"),
            instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            tags={"dagster/partition": day},
        ) as result,
    ):
        failed = [event.step_key for event in result.all_events if event.is_step_failure]
        return {"day": day, "run_id": result.run_id, "success": result.success, "failed": failed}


def main() -> None:
    """All runs at once."""
    assets, days = sys.argv[1].split(","), sys.argv[2:]
    with ThreadPoolExecutor(len(days)) as threads:
        for told in threads.map(lambda day: run(assets, day), days):
            sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
