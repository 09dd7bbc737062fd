"""`defiyield scenarios list` and `generate`: what may be made of the bars that there are, and some of it made.

Lives here: what is printed of single scenarios. Not here: their generation (domain/market/scenarios), the stage of an
assessment (assess.py).
"""

from typing import Any

import dagster as dg
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from defiyield_assets.cli import show
from defiyield_assets.cli.assess import Bench, Drawing, print_set
from defiyield_assets.cli.lab_runs import tell_failed
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_resources
from defiyield_assets.domain.market.scenarios.catalogue import TYPES
from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.assets.scenarios import since
from defiyield_assets.orchestration.lab.inputs import (
    Wish,
    all_requests,
    definitions_in,
    found_regimes,
    read_bars,
    strategies_in,
)
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema

NOT_MADE = "not made"
SINGLE = ("historical_window", "regime_window", "stress_shock", "stablecoin_depeg")
"""Types whose scenarios are listed one by one; of the others there are many alike."""


def list_scenarios(drawing: Drawing, console: Console, *, is_json: bool) -> int:
    """Every scenario that may be made, with what is stored of it."""
    require_types(drawing)
    rows = _rows(drawing)
    if is_json:
        write_json(rows)
        return 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("family", "type", "scenario", "from", "to", "status"):
        table.add_column(name, overflow="fold")
    many: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["type"] in SINGLE:
            words = (row["family"], row["type"], row["name"], row["start"], row["end"], row["status"])
            table.add_row(*(show.plain("" if word is None else str(word)) for word in words))
        else:
            many.setdefault((row["family"], row["type"]), []).append(row)
    for (family, kind), own in many.items():
        n_made = sum(row["status"] == "ready" for row in own)
        names = f"{own[0]['name']} … {own[-1]['name']}" if len(own) > 1 else own[0]["name"]
        table.add_row(family, kind, f"{names} ({len(own)})", "", "", f"{n_made} ready")
    print_table(table, console)
    return 0


def generate(drawing: Drawing, console: Console, *, is_json: bool) -> int:
    """Make the set of the scenarios of some types, and store their bars and features."""
    require_types(drawing)
    with dg.DagsterInstance.get() as instance:
        bench = Bench(instance, console)
        if not (bench.make_scenarios(drawing) and bench.make_metrics()):
            return tell_failed(bench.ran, is_json=is_json)
        if is_json:
            columns = ["scenario_id", "name", "family", "type", "status", "reason", "seed", "n_steps", "paths_hash"]
            made = reads.read_all(bench.engine, schema.scenarios, {"is_current": True})[columns]
            write_json([_row(row) for row in made.to_dict("records")])
        else:
            print_set(bench.engine, console)
    return 0


def require_types(drawing: Drawing) -> None:
    """ConfigurationError for a type that there is not, with the nearest that there is."""
    for name in drawing.types:
        if name not in TYPES:
            raise ConfigurationError(f"scenario type {name!r} is not known; {nearest(name, TYPES)}")


def _rows(drawing: Drawing) -> list[dict[str, Any]]:
    settings = load_settings()
    policy = build_resources(settings)["policy"]
    if not isinstance(policy, PolicyResource):
        raise ConfigurationError("the policy resource was replaced; there are no definitions to read")
    engine = WarehouseResource(market=settings.warehouse_market).engine
    definitions = definitions_in(policy)
    bars = read_bars(engine, {one.spec.universe for one in strategies_in(policy).values()}, drawing.last)
    windows, _ = found_regimes(engine, bars, definitions)
    wish = Wish(drawing.types or TYPES, drawing.count, drawing.seed)
    stored = reads.read_all(engine, schema.scenarios, {"is_current": True}).set_index("scenario_id")
    found = []
    first = None if drawing.first is None else drawing.first.isoformat()
    for request in since(all_requests(definitions, bars, windows, wish), first):
        row = stored.loc[request.scenario_id] if request.scenario_id in stored.index else None
        found.append(
            {
                "scenario_id": request.scenario_id,
                "family": request.family,
                "type": request.type,
                "name": request.name,
                "seed": request.seed,
                "start": request.params.get("start"),
                "end": request.params.get("end"),
                "status": NOT_MADE if row is None else str(row["status"]),
                "reason": None if row is None or is_missing(row["reason"]) else str(row["reason"]),
            }
        )
    return found


def _row(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}
