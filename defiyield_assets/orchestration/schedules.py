"""Schedules. The daily one asks for the last complete UTC day; failed days are asked for again by sensors.py."""

import dagster as dg

from defiyield_assets.orchestration.jobs import plan_the_day

daily_plan_schedule = dg.build_schedule_from_partitioned_job(
    plan_the_day,
    name="plan_the_day_at_0045_utc",
    hour_of_day=0,
    minute_of_hour=45,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Runs inside the window in which sources that only know the present may be labelled with yesterday.",
)
