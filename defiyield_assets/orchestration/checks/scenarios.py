"""Checks of scenarios: whether they can be made again, to the bit.

Lives here: reading what is compared. Not here: generation (domain/market/scenarios).
"""

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.scenario import path_rows
from defiyield_assets.orchestration.assets.scenarios import bars_of_set
from defiyield_assets.orchestration.lab.inputs import records, request_of
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

COMPARED = 40
"""Scenarios that are made again, spread over the set."""
SHOWN = 20
BARS = ("open", "high", "low", "close", "volume", "spread_multiplier", "rate_shift")


@dg.asset_check(asset="scenarios", blocking=False)
def scenario_hashes_reproduce(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Scenarios made again from their type, parameters and seed have the bars whose hash is stored."""
    engine = warehouse.engine
    chosen = _chosen(engine)
    apart = hashes_apart(engine, chosen)
    return dg.AssetCheckResult(
        passed=apart.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(apart)} of {len(chosen)} scenarios made again have other bars",
        metadata={"compared": len(chosen), "apart": len(apart), "listed": preview(apart, SHOWN)},
    )


@dg.asset_check(asset="scenario_paths", additional_deps=["scenarios"], blocking=False)
def stored_paths_are_those_of_the_seed(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Stored bars of scenarios are, to the bit, those that type, parameters and seed make."""
    engine = warehouse.engine
    chosen = _chosen(engine)
    chosen = chosen[chosen["has_rows"].astype(bool)].reset_index(drop=True)
    apart = rows_apart(engine, chosen)
    return dg.AssetCheckResult(
        passed=not apart,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(apart)} of {len(chosen)} scenarios have other bars stored",
        metadata={"compared": len(chosen), "apart": apart[:SHOWN]},
    )


def _chosen(engine: Engine) -> pd.DataFrame:
    """Scenarios of the current set, at most COMPARED, spread over it."""
    rows = reads.read_all(engine, schema.scenarios, {"is_current": True, "status": "ready"})
    ordered = rows.sort_values(["family", "name"]).reset_index(drop=True)
    if len(ordered) <= COMPARED:
        return ordered
    return ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, COMPARED).astype(int))].reset_index(drop=True)


def hashes_apart(engine: Engine, chosen: pd.DataFrame) -> pd.DataFrame:
    """name, stored, made: scenarios whose paths are no longer those that are stored by hash."""
    found = []
    if len(chosen):
        bars = bars_of_set(engine, chosen)
        for row in records(chosen):
            made = generate(request_of(row), bars.history).scenario.paths_hash
            if made != row["paths_hash"]:
                found.append((row["name"], row["paths_hash"], made))
    return pd.DataFrame(found, columns=["name", "stored", "made"])


def rows_apart(engine: Engine, chosen: pd.DataFrame) -> list[str]:
    """Names of scenarios whose stored scored bars differ from those made again in any bit."""
    found: list[str] = []
    if chosen.empty:
        return found
    bars = bars_of_set(engine, chosen)
    for row in records(chosen):
        stored = reads.read_all(engine, schema.scenario_paths, {"scenario_id": row["scenario_id"]})
        stored = stored[stored["step"] >= 0].sort_values(["instrument_id", "step"])
        made = path_rows(generate(request_of(row), bars.history))
        made = made[made["step"] >= 0].sort_values(["instrument_id", "step"])
        keys = ["instrument_id", "step", "date"]
        is_same = stored[keys].to_numpy().tolist() == made[keys].to_numpy().tolist() and all(
            np.array_equal(stored[name].to_numpy(float), made[name].to_numpy(float), equal_nan=True) for name in BARS
        )
        if not is_same:
            found.append(str(row["name"]))
    return found
