"""What follows new bars and signals, paper trading of the configured portfolios, and what follows a desk's set-up.

Lives here: the sensors and what they request. Not here: the job (orchestration/jobs.py), the asset (assets/paper.py).
"""

from collections.abc import Collection
from datetime import date

import dagster as dg

from defiyield_assets.config.paper import load_paper
from defiyield_assets.orchestration.assets.paper import STEP
from defiyield_assets.orchestration.jobs import generate_scenarios, paper_trade, set_up_desk
from defiyield_assets.orchestration.lab.inputs import strategies_in
from defiyield_assets.orchestration.lab.sensor import RANGE_END, RANGE_START
from defiyield_assets.orchestration.paper.statements import newest_day
from defiyield_assets.orchestration.partitions import FIRST_DAY
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource

SOURCES = ("daily_features", "trading_signals")
"""Made after bars, and after news and models: a day that one of them has anew is traded again, if it is the newest."""
AT_ONCE = 1_000
"""Materialisations that are read at a time."""
GOING_ON = {"ops": {STEP: {"config": {"goes_on": True}}}}


def days_to_trade(day: date, portfolios: Collection[tuple[date | None, date | None]]) -> tuple[date, date] | None:
    """First and last day of the run that follows something new of `day`; None where nothing is to be traded.

    `portfolios`: of each the day that it starts on (None: the first that is made) and its newest traded day (None:
    before its first). The newest day is made again, because its bars or signals may have come in parts; nothing before
    it is (`goes_on`). A portfolio without a day begins on its own first one, however long ago that was.
    """
    begun = [newest for _, newest in portfolios if newest is not None]
    if not portfolios or (begun and day < max(begun)):
        return None
    since = [newest or starts_on or day for starts_on, newest in portfolios]
    return max(FIRST_DAY, min([day, *since])), day


def newly_made(instance: dg.DagsterInstance, asset: str, cursor: str | None) -> tuple[date | None, str | None]:
    """The newest day of which an asset was made behind a cursor, and the cursor behind those; the newest day, whatever
    was made last: an old day that is made again behind it hides nothing. Without a cursor: of the last AT_ONCE.
    """
    key, days, after = dg.AssetKey(asset), list[str](), cursor
    while True:
        since = None if after is None else int(after)
        told = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, after_storage_id=since), limit=AT_ONCE, ascending=cursor is not None
        )
        days += [one.partition_key for one in told.records if one.partition_key is not None]
        if told.records:
            after = str(max(one.storage_id for one in told.records))
        if cursor is None or not told.has_more:
            return (date.fromisoformat(max(days)) if days else None), after


def _follow(source: str) -> dg.SensorDefinition:
    @dg.sensor(
        job=paper_trade,
        name=f"paper_trade_after_{source}",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Trades the portfolios of paper.yaml whenever {source} of the newest day were made.",
    )
    def ask(
        context: dg.SensorEvaluationContext, warehouse: WarehouseResource, policy: PolicyResource
    ) -> dg.RunRequest | dg.SkipReason:
        """One run for the newest day that was made since the last look."""
        day, cursor = newly_made(context.instance, source, context.cursor)
        if cursor is not None:
            context.update_cursor(cursor)
        if day is None:
            return dg.SkipReason(f"no day of {source} was made since the last look")
        folder = policy.folder
        listed = load_paper(folder, strategies_in(policy)).values()
        span = days_to_trade(day, [(one.starts_on, newest_day(warehouse.engine, one.id)) for one in listed])
        if span is None:
            return dg.SkipReason(f"{day} is before the newest traded day, or no portfolio is configured")
        tags = {RANGE_START: span[0].isoformat(), RANGE_END: span[1].isoformat()}
        return dg.RunRequest(run_key=f"paper-{source}-{cursor}", tags=tags, run_config=GOING_ON)

    return ask


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    name="scenarios_after_set_up",
    monitored_jobs=[set_up_desk],
    request_job=generate_scenarios,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A set of scenarios, and with it the backtests of all strategies, once the past of a desk was brought.",
)
def scenarios_after_set_up(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """One set for each run that set a desk up."""
    return dg.RunRequest(run_key=f"scenarios-{context.dagster_run.run_id}")


PAPER_SENSORS: tuple[dg.SensorDefinition, ...] = (*(_follow(source) for source in SOURCES), scenarios_after_set_up)
