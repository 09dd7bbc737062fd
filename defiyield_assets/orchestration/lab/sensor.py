"""What follows a new set of scenarios: its assessment, in one run over all of its partitions.

Lives here: the sensor and what it requests. Not here: the job (orchestration/jobs.py), what it makes (assets/).
"""

import dagster as dg

from defiyield_assets.orchestration.jobs import assess_strategies
from defiyield_assets.orchestration.partitions import SCENARIOS

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def assessment_tags(instance: dg.DagsterInstance) -> dict[str, str]:
    """Tags of a run over every scenario of the current set; none where there is no scenario."""
    keys = instance.get_dynamic_partitions(str(SCENARIOS.name))
    return {RANGE_START: keys[0], RANGE_END: keys[-1]} if keys else {}


@dg.asset_sensor(
    asset_key=dg.AssetKey("scenarios"),
    job=assess_strategies,
    name="assess_new_scenarios",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Assesses all strategies whenever scenarios were materialised, however long that took.",
)
def assess_new_scenarios(context: dg.SensorEvaluationContext, event: dg.EventLogEntry) -> dg.RunRequest | dg.SkipReason:
    """One run for each materialisation of `scenarios`."""
    tags = assessment_tags(context.instance)
    if not tags:
        return dg.SkipReason("the set has no scenario that can be run")
    return dg.RunRequest(run_key=f"assess-{event.run_id}", tags=tags)
