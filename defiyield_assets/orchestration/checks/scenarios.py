"""Checks of scenarios: whether they and their features can be made again, to the bit.

Lives here: reading what is compared. Not here: generation (domain/market/scenarios).
"""

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.path_features import metric_rows
from defiyield_assets.domain.market.scenarios.scenario import path_rows
from defiyield_assets.orchestration.assets.scenarios import bars_of_set
from defiyield_assets.orchestration.lab.assessments import current_set
from defiyield_assets.orchestration.lab.inputs import records, request_of
from defiyield_assets.orchestration.reporting import offending, preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

COMPARED = 40
"""Scenarios that are made again, spread over the set."""
SHOWN = 20
MADE_AGAIN = 2
"""Scenarios whose features are made again: that takes seconds each."""
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
    there = {name for (name,) in reads.distinct_values(engine, schema.scenario_paths, ["scenario_id"])}
    is_there = chosen["scenario_id"].isin(there)
    apart = rows_apart(engine, chosen[is_there].reset_index(drop=True))
    return dg.AssetCheckResult(
        passed=not apart,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(apart)} of {int(is_there.sum())} scenarios have other bars stored",
        metadata={
            "compared": int(is_there.sum()),
            "not_made_yet": int((~is_there).sum()),
            "apart": len(apart),
            "listed": offending(apart, "scenario"),
        },
    )


@dg.asset_check(asset="scenario_metrics", additional_deps=["scenarios"], blocking=False)
def scenario_metrics_are_those_of_the_bars(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every scenario has its features, of the bars that it has now; those of some, made again, are the same to the bit.

    A warning where the features of scenarios were not made yet, an error where they are others.
    """
    engine = warehouse.engine
    ready = current_set(engine)
    there = dict(reads.distinct_values(engine, schema.scenario_metrics, ["scenario_id", "paths_hash"]))
    stored = ready["scenario_id"].map(there)
    missing = ready.loc[stored.isna(), "name"].tolist()
    is_stale = stored.notna() & (stored != ready["paths_hash"])
    made = ready[stored.notna() & ~is_stale].sort_values(["n_steps", "scenario_id"]).reset_index(drop=True)
    apart = [*ready.loc[is_stale, "name"].tolist(), *metrics_apart(engine, _spread(made, MADE_AGAIN))]
    return dg.AssetCheckResult(
        passed=not apart and not missing,
        severity=dg.AssetCheckSeverity.ERROR if apart else dg.AssetCheckSeverity.WARN,
        description=f"{len(apart)} of {len(ready)} scenarios have other features stored, {len(missing)} have none",
        metadata={
            "scenarios": len(ready),
            "apart": len(apart),
            "listed": offending(apart, "scenario"),
            "not_made_yet": offending(missing, "scenario"),
        },
    )


def _chosen(engine: Engine) -> pd.DataFrame:
    """Scenarios of the current set, at most COMPARED, spread over it."""
    return _spread(current_set(engine).sort_values(["family", "name"]).reset_index(drop=True), COMPARED)


def _spread(ordered: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, from the first to the last."""
    if len(ordered) <= most:
        return ordered
    return ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, most).astype(int))].reset_index(drop=True)


def metrics_apart(engine: Engine, chosen: pd.DataFrame) -> list[str]:
    """Names of scenarios whose stored features differ from those made again in any bit."""
    found: list[str] = []
    if chosen.empty:
        return found
    bars = bars_of_set(engine, chosen)
    for row in records(chosen):
        stored = reads.read_all(engine, schema.scenario_metrics, {"scenario_id": row["scenario_id"]})
        made = metric_rows(generate(request_of(row), bars.history)).assign(paths_hash=row["paths_hash"])
        made = made.merge(stored[["instrument_id", "step"]], on=["instrument_id", "step"])[stored.columns.tolist()]
        keys = ["instrument_id", "step"]
        one, other = (frame.sort_values(keys).set_index(keys) for frame in (stored, made))
        figures = [name for name in one.columns if name not in ("scenario_id", "date", "paths_hash")]
        is_same = one.index.equals(other.index) and np.array_equal(
            one[figures].to_numpy(float), other[figures].to_numpy(float), equal_nan=True
        )
        if not is_same:
            found.append(str(row["name"]))
    return found


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
