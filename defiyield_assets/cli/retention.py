"""`defiyield retention`: delete, or list, what is older than the settings keep it.

Lives here: drawing with rich, JSON. Not here: what is old (orchestration/retention.py, store/retention.py).
"""

from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg
from rich.console import Console

from defiyield_assets.cli.output import write_json
from defiyield_assets.definitions import build_resources
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.orchestration.retention import Cleaning, clean
from defiyield_assets.settings import load_settings


def apply(console: Console, *, is_dry_run: bool, is_json: bool) -> int:
    """Clean, or say what cleaning would remove; 0."""
    settings = load_settings()
    warehouse = build_resources(settings)["warehouse"]
    if not isinstance(warehouse, WarehouseResource):
        raise ConfigurationError("the warehouse was replaced; nobody knows what is old in it")
    with dg.DagsterInstance.get() as instance:
        done = clean(warehouse.engine, instance, settings, datetime.now(UTC), is_dry_run=is_dry_run)
    if is_json:
        write_json(asdict(done))
    else:
        _tell(done, console)
    return 0


def _tell(done: Cleaning, console: Console) -> None:
    verb = "would be" if done.is_dry_run else "were"
    if done.is_empty:
        console.print("nothing is older than it is kept")
        return
    for found in done.tables:
        if found.rows:
            console.print(f"{found.table}: {found.rows:,} rows {verb} deleted")
    runs = (
        (done.runs.deleted, "deleted"),
        (done.runs.cut, "cut down to what they made"),
        (done.runs.without_logs, "freed of the logs of their steps"),
    )
    for number, words in runs:
        if number:
            console.print(f"runs of Dagster: {number:,} {verb} {words}")
    if done.files:
        console.print(f"files of reports and messages: {done.files:,} ({done.file_bytes / 1e6:,.1f} MB) {verb} deleted")
