"""Schedules. Each asks for the last complete UTC day; failed days are asked for again by sensors.py.

Lives here: when the jobs run, and which part of the day each asks for. Not here: the jobs (jobs.py).
"""

from datetime import date, timedelta

import dagster as dg

from defiyield_assets.orchestration import jobs
from defiyield_assets.orchestration.instrument_types import CRYPTO, EQUITIES, STEPS_BY_TYPE, config_of_types
from defiyield_assets.orchestration.lab.sensor import RANGE_END, RANGE_START
from defiyield_assets.orchestration.partitions import FIRST_DAY

LATE = timedelta(days=2)
"""How late a bar may be and still get its signal in the night."""
TUESDAY_TO_SATURDAY = "2-6"
"""Days after a weekday: exchanges have no session on the others, which materialise no rows when they are asked for."""


def _yesterday(context: dg.ScheduleEvaluationContext) -> date:
    return (context.scheduled_execution_time - timedelta(days=1)).date()


def request_crypto_day(day: date, repository: dg.RepositoryDefinition) -> dg.RunRequest:
    """The whole day without what exchanges bring, which are asked a few minutes later."""
    graph = repository.asset_graph
    whole = dg.AssetSelection.tag("daily", "") - dg.AssetSelection.tag(EQUITIES, "")
    checks = (whole | dg.AssetSelection.checks_for_assets(*whole.resolve(graph))) - jobs.ALARMS
    return dg.RunRequest(
        run_key=f"plan-{day}",
        partition_key=day.isoformat(),
        asset_selection=sorted(whole.resolve(graph)),
        asset_check_keys=sorted(checks.resolve_checks(graph)),
        run_config=config_of_types(STEPS_BY_TYPE, CRYPTO),
    )


@dg.schedule(
    name="plan_the_day_at_0045_utc",
    job=jobs.plan_the_day,
    cron_schedule="45 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Runs inside the window in which sources that only know the present may be labelled with yesterday.",
)
def daily_plan_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Yesterday's plan, with the bars of tokens and coins."""
    return request_crypto_day(_yesterday(context), context.repository_def)


def _daily(job_name: str, cron: str, name: str, description: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
    def ask(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = _yesterday(context).isoformat()
        # A job of checks alone has no partitions of its own: there the tag says which day its checks look at.
        if job_name in jobs.ALARM_JOBS:
            return dg.RunRequest(run_key=f"{name}-{day}", tags={"dagster/partition": day})
        config = jobs.EQUITY_CONFIG if job_name == jobs.update_equities.name else None
        return dg.RunRequest(run_key=f"{name}-{day}", partition_key=day, run_config=config)

    return ask


@dg.schedule(
    name="latest_signals_at_0110_utc",
    job=jobs.update_signals,
    cron_schedule="10 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="What the configured model and the news say of yesterday's bars, after both, and of those of the two "
    "days before that came late; what was answered is not asked again.",
)
def latest_signals_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Yesterday's signals, and what was late of the days before."""
    day = _yesterday(context)
    first = max(day - LATE, FIRST_DAY)
    tags = {RANGE_START: first.isoformat(), RANGE_END: day.isoformat()}
    return dg.RunRequest(run_key=f"latest_signals_at_0110_utc-{day}", tags=tags)


@dg.schedule(
    name="scenarios_on_sundays_at_0400_utc",
    job=jobs.generate_scenarios,
    cron_schedule="0 4 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A new set every week, of whatever bars there are; the assessment follows its materialisation.",
)
def weekly_scenario_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """A new set; its seed is the week's, so that no two weeks share a path."""
    week = context.scheduled_execution_time.date()
    return dg.RunRequest(
        run_key=f"scenarios-{week}",
        run_config={"ops": {"scenarios": {"config": {"seed": week.toordinal()}}}},
    )


@dg.schedule(
    name="news_at_five_past",
    job=jobs.update_news,
    cron_schedule="5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour, a few minutes after it is over; an hour that was missed is read by the next run.",
)
def hourly_news_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """From the watermark to now."""
    return dg.RunRequest(run_key=f"news-{context.scheduled_execution_time:%Y-%m-%dT%H}")


SCHEDULES = (
    daily_plan_schedule,
    weekly_scenario_schedule,
    hourly_news_schedule,
    _daily(
        jobs.update_equities.name,
        f"50 0 * * {TUESDAY_TO_SATURDAY}",
        "update_equities_at_0050_utc",
        "Bars of yesterday's session; a holiday has none.",
    ),
    latest_signals_schedule,
    _daily(
        jobs.crypto_bars_are_fresh.name,
        "30 1 * * *",
        "crypto_bars_at_0130_utc",
        "Whether 95 % of tokens and coins have yesterday's bar; if not, the run fails and is told of.",
    ),
    _daily(
        jobs.equity_bars_are_fresh.name,
        f"0 2 * * {TUESDAY_TO_SATURDAY}",
        "equity_bars_at_0200_utc",
        "Whether 95 % of shares, funds and indices have the last session's bar; if not, the run fails and is told of.",
    ),
)
