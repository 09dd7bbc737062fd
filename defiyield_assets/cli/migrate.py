"""`defiyield migrate`: the schema of the warehouse, forward or back, and Dagster's storage beside it.

Lives here: the order of both and what is told. Not here: migrating (store/engine.py, migrations/).
"""

import dagster as dg
from rich.console import Console

from defiyield_assets.cli.output import write_json
from defiyield_assets.definitions import build_resources
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import engine as engines


def migrate(to: str | None, console: Console, *, may_lose: bool, is_json: bool = False) -> int:
    """Bring everything to the newest schema, or the warehouse alone to the revision `to`; 0."""
    settings = load_settings()
    if to is None:
        warehouse = build_resources(settings)["warehouse"]
        if not isinstance(warehouse, WarehouseResource):
            raise ConfigurationError("the warehouse was replaced; nobody knows its schema")
        revision, storage = warehouse.migrate(), migrate_dagster()
    else:
        engine = engines.make_engine(settings.warehouse_url)
        try:
            revision, storage = engines.migrate_to(engine, to, may_lose=may_lose), None
        finally:
            engine.dispose()
    if is_json:
        write_json({"revision": revision, "dagster_storage": storage})
        return 0
    console.print(f"warehouse at revision {revision}")
    if storage is not None:
        console.print(f"Dagster's storage migrated: {storage}")
    return 0


def migrate_dagster() -> str:
    """Make or upgrade the storage that dagster.yaml names; returns its kind.

    Once, before anything runs in parallel: several first runs on an empty storage break it. A server's tables are
    upgraded as by `dagster instance migrate`; opening SQLite is enough to make it, and each run has a file of its own.
    """
    with dg.DagsterInstance.get() as instance:
        events = instance.event_log_storage
        current, newest = events.alembic_version() or (None, None)
        if current != newest:
            instance.upgrade()
        return type(events).__name__
