"""Front door: one `Definitions` for production, tests and the command line.

Lives here: assembling assets, checks, jobs, schedules, sensors and resources. Not here: any of them, what all assets
have in common in the UI (orchestration/catalogue.py).
"""

from typing import Any

import dagster as dg

from defiyield_assets.addresses import is_without_secrets
from defiyield_assets.orchestration import assets as asset_modules
from defiyield_assets.orchestration import checks as check_modules
from defiyield_assets.orchestration.alerts import tell_of_failed_runs, tell_of_recoveries
from defiyield_assets.orchestration.assets.pools import with_shards
from defiyield_assets.orchestration.catalogue import documented
from defiyield_assets.orchestration.drop_folder import import_dropped_files, import_files
from defiyield_assets.orchestration.executors import executor_of
from defiyield_assets.orchestration.jobs import JOBS
from defiyield_assets.orchestration.lab.sensor import assess_new_scenarios
from defiyield_assets.orchestration.notifier import NotifierResource
from defiyield_assets.orchestration.paper.sensor import PAPER_SENSORS
from defiyield_assets.orchestration.resources import WarehouseResource, market_of, policy_of
from defiyield_assets.orchestration.retention import apply_retention, daily_retention_schedule
from defiyield_assets.orchestration.schedules import SCHEDULES
from defiyield_assets.orchestration.sensors import repair_recent_gaps
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.state_folder import close_to_others


def _shown_url(settings: Settings) -> str | None:
    """The warehouse's URL when the UI may show it; None when something in it may be a secret: that stays outside."""
    return settings.warehouse_url if is_without_secrets(settings.warehouse_url) else None


def build_resources(settings: Settings) -> dict[str, Any]:
    """The resources of one installation; secrets stay in the environment."""
    return {
        "warehouse": WarehouseResource(market=settings.warehouse_market, url=_shown_url(settings)),
        "market": market_of(settings),
        "policy": policy_of(settings),
        "notifier": NotifierResource(market=settings.market, local_folder=str(settings.reports_path.resolve())),
    }


def build_defs(settings: Settings | None = None, **overrides: Any) -> dg.Definitions:
    """All definitions; `overrides` replace resources by name (tests hand in fakes)."""
    settings = settings or load_settings()
    resources = build_resources(settings) | overrides
    declared = dg.Definitions(
        assets=with_shards(dg.load_assets_from_package_module(asset_modules, include_specs=True), settings.pool_shards),
        asset_checks=dg.load_asset_checks_from_package_module(check_modules),
        jobs=[*JOBS, import_files, apply_retention],
        schedules=[*SCHEDULES, daily_retention_schedule],
        sensors=[
            repair_recent_gaps,
            tell_of_failed_runs,
            tell_of_recoveries,
            import_dropped_files,
            assess_new_scenarios,
            *PAPER_SENSORS,
        ],
        resources=resources,
        executor=executor_of(settings),
    )
    return documented(declared, settings.docs_url)


close_to_others(load_settings().state_path)  # Dagster makes it before it loads us, open to everybody
defs = build_defs()
