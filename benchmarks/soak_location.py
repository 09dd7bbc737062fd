"""The code location of the soak through Dagster's daemon: the product's graph over the market of the soak.

Lives here: the definitions that code server and run workers load, and the clock of the repair sensor. Not here: who
starts and disturbs them (soak_daemon.py), the market (soak_market.py).

Time is compressed: a sensor asks for the day that a file in the state folder names, as the schedule does at 00:45, and
to the repair sensor that day is yesterday. Everything else, runs and delays, goes by the real clock.
"""

import os
from datetime import date, datetime, timedelta

import dagster as dg

from benchmarks.soak_market import SoakMarketResource
from defiyield_assets.definitions import build_defs
from defiyield_assets.orchestration import sensors
from defiyield_assets.settings import load_settings
from defiyield_assets.sources import transport

DAY_FILE, POOLS, FAULTS_SEED = "soak-day", "SOAK_POOLS", "SOAK_FAULTS_SEED"
OUTAGES_FILE = "soak-outages"
LOOK_SECONDS = 5


def day_under_way() -> date:
    """The day that is to be made now."""
    return date.fromisoformat((load_settings().state_dir / DAY_FILE).read_text(encoding="utf-8"))


class Clock(datetime):
    """The real clock, but today is the day after the one under way."""

    def date(self) -> date:
        """Today in the soak."""
        return day_under_way() + timedelta(days=1)


@dg.sensor(
    job_name="plan_the_day",
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for the day under way, once.",
)
def begin_the_day(_context: dg.SensorEvaluationContext) -> dg.RunRequest:
    """The day of the file; Dagster remembers the key."""
    day = day_under_way()
    return dg.RunRequest(run_key=f"soak-{day}", partition_key=day.isoformat())


def _definitions() -> dg.Definitions:
    """Assets, checks and the daily job with the repair sensor; no other schedule or sensor."""
    settings, seed = load_settings(), os.environ.get(FAULTS_SEED)
    market = SoakMarketResource(
        market="simulated",
        chain_path=str(settings.chain_path.resolve()),
        seed=settings.market_seed,
        pools=int(os.environ[POOLS]),
        faults_seed=int(seed) if seed else None,
        outages=str(settings.state_path.resolve() / OUTAGES_FILE),
        config_dir=str(settings.config_dir),
    )
    product = build_defs(settings, market=market)
    jobs = [job for job in product.jobs or () if job.name == "plan_the_day"]
    return dg.Definitions(
        assets=product.assets,
        asset_checks=product.asset_checks,
        jobs=jobs,
        sensors=[begin_the_day, sensors.repair_recent_gaps],
        resources=product.resources,
        executor=product.executor,
    )


if POOLS in os.environ:
    transport.BACKOFF_SECONDS = 0.001  # waiting is no part of what is compared
    setattr(sensors, "datetime", Clock)  # noqa: B010 - a class is no variable to mypy
    defs = _definitions()
