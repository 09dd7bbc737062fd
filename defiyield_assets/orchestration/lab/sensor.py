"""What follows a new set of scenarios: its assessment, in one run over all of its partitions.

Lives here: the sensor and what it requests. Not here: the job (orchestration/jobs.py), what it makes (assets/).
"""

import dagster as dg

from defiyield_assets.orchestration.jobs import assess_strategies
from defiyield_assets.orchestration.partitions import SCENARIOS

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


CHAIN, ASSESS = "defiyield/chain", "assess"
"""Tag of runs that somebody else follows up: `defiyield assess` makes all of a chain itself."""


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
    """One run for each materialisation of `scenarios`, but for those of a command that assesses them itself."""
    made_by = context.instance.get_run_by_id(event.run_id)
    if made_by is not None and made_by.tags.get(CHAIN) == ASSESS:
        return dg.SkipReason(f"`defiyield assess` follows up run {event.run_id} itself")
    tags = assessment_tags(context.instance)
    if not tags:
        return dg.SkipReason("the set has no scenario that can be run")
    return dg.RunRequest(run_key=f"assess-{event.run_id}", tags=tags)
