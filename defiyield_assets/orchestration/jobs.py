"""Jobs, named by their outcome. One job makes a whole day; parts of a day are selections of it."""

import dagster as dg

plan_the_day = dg.define_asset_job(
    "plan_the_day",
    selection=dg.AssetSelection.tag("daily", ""),
    description="Everything of one day: ingest, select, forecast, account, allocate, verify, report.",
    tags={"defiyield/job": "plan_the_day"},
)
