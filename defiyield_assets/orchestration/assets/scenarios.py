"""Assets of scenarios: which there are, their bars, and the features of these bars.

Lives here: wiring of domain/market/scenarios. Not here: what they start from (lab/inputs.py), strategies over them
(strategies.py).

What is stored: the list with every seed and the hash of every path; of real windows and of stress their scored bars.
Stochastic paths are four fifths of all bars and follow to the bit from type, parameters, seed and the real bars: they
are made again when they are needed and their hash is compared. `every_path` stores these too, with their warm-up.
"""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field
from sqlalchemy import Engine

from defiyield_assets.domain.market.scenarios.catalogue import TYPES
from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.path_features import metric_rows
from defiyield_assets.domain.market.scenarios.plots import plot_paths
from defiyield_assets.domain.market.scenarios.scenario import (
    GENERATOR_VERSION,
    Request,
    ScenarioPaths,
    path_rows,
    scenario_rows,
)
from defiyield_assets.domain.strategies.limits import DEFAULT_SEED, MOST_DRAWN, MOST_SEED
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.orchestration.lab.assessments import set_id
from defiyield_assets.orchestration.lab.inputs import (
    FULL_HISTORY,
    LabBars,
    Wish,
    all_requests,
    definitions_in,
    found_regimes,
    read_bars,
    records,
    request_of,
    strategies_in,
)
from defiyield_assets.orchestration.lab.steps import Pace, lab_asset, lab_spec, scenario_keys
from defiyield_assets.orchestration.partitions import SCENARIOS
from defiyield_assets.orchestration.policies import ONE_RUN
from defiyield_assets.orchestration.reporting import picture, report
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.orchestration.steps import own_step
from defiyield_assets.store import reads, schema, writes

REGENERATED = "stochastic"
"""The family whose paths are not stored unless they are asked for."""
KEY_DIGITS = 10
DRAWN_TYPES, MOST_SHOWN = ("block_bootstrap", "monte_carlo", "gbm", "markov_regimes", "random_window"), 50
"""Types of which there are many alike: the first that is in the set is drawn, so many of its paths."""
SHOWN = ["name", "family", "status", "starts_on", "ends_on", "n_steps", "seed"]
STEP = "scenario_tables"


class ScenariosToMake(dg.Config):
    """Which scenarios a set has."""

    types: list[str] = Field(default=list(TYPES), description="Types of generators; empty: all")
    count: int | None = Field(
        default=None, ge=0, le=MOST_DRAWN, description="Random windows of each length and stochastic paths of each type"
    )
    seed: int = Field(default=DEFAULT_SEED, ge=0, le=MOST_SEED, description="Seed of the set")
    as_of: str | None = Field(default=None, description="Newest day of bars that is known; empty: the newest there is")
    first: str | None = Field(default=None, description="Real windows that begin before this day are left out")

    @property
    def day(self) -> date | None:
        """The as-of date; ConfigurationError for text that is none."""
        if not self.as_of:
            return None
        try:
            return date.fromisoformat(self.as_of)
        except ValueError as error:
            raise ConfigurationError(f"as_of is {self.as_of!r}; a date is written 2025-06-05") from error


@lab_asset(
    schema.scenarios,
    deps=["daily_bars", "market_regimes", "macro_series", "instruments"],
    spec="market.md#scenarios",
)
def scenarios(
    context: dg.AssetExecutionContext, config: ScenariosToMake, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """The set of scenarios on which strategies are tried, each with its parameters, seed and the hash of its bars.

    Every scenario is generated once to know who takes part and what its bars are; one that cannot be made says why. The
    set before stays listed but is no longer current, and its stored paths are dropped: they follow from their rows.
    Scenarios are dynamic partitions of what is made of them.
    """
    engine, definitions = warehouse.engine, definitions_in(policy)
    universes = {one.spec.universe for one in strategies_in(policy).values()}
    bars = read_bars(engine, universes, config.day)
    regimes, without = found_regimes(engine, bars, definitions)
    wish = Wish(tuple(config.types) or TYPES, config.count, config.seed)
    wanted = since(all_requests(definitions, bars, regimes, wish), config.first)
    frame, drawn = _made(wanted, bars, config.first)
    if not (frame["status"] == "ready").any():
        reasons = "; ".join(sorted(set(frame["reason"].astype(str)))[:3])
        raise SuspiciousDataError(f"none of {len(frame)} scenarios can be made: {reasons}")
    stored = reads.read_all(engine, schema.scenarios, {"is_current": True})
    superseded = stored[~stored["scenario_id"].isin(set(frame["scenario_id"]))].assign(is_current=False, has_rows=False)
    whole = pd.concat([frame, superseded], ignore_index=True) if len(superseded) else frame
    receipt = writes.upsert(engine, schema.scenarios, whole)
    _drop_paths(engine, superseded["scenario_id"].tolist())
    _partition(context.instance, frame.loc[frame["status"] == "ready", "partition_key"].tolist())
    for reason in without:
        context.log.warning("regime windows: %s", reason)
    if bars.n_misshapen:
        context.log.warning("%d bars have an open or close outside low .. high: only closes are used", bars.n_misshapen)
    ready = frame[frame["status"] == "ready"]
    return report(
        receipt,
        frame[SHOWN],
        counts={f"family_{name}": int(n) for name, n in ready["family"].value_counts().items()},
        as_of=bars.as_of.isoformat(),
        ready=len(ready),
        set=set_id(ready["scenario_id"]),
        unavailable={
            row["name"]: str(row["reason"])[:200] for row in frame[frame["reason"].notna()].to_dict("records")
        },
        instruments=len(bars.traded),
        misshapen_bars=bars.n_misshapen,
        plot=_drawn(drawn, bars),
    )


def since(wanted: Sequence[Request], first: str | None) -> list[Request]:
    """The requests without the windows between two days that begin before a day (written as ISO); None: all. Full
    histories stay: they are evidence, not scenarios. Where a random window begins is known when it is drawn.
    """
    return [
        one
        for one in wanted
        if first is None or one.name.startswith(FULL_HISTORY) or one.params.get("start", first) >= first
    ]


def _made(wanted: Sequence[Request], bars: LabBars, first: str | None) -> tuple[pd.DataFrame, list[ScenarioPaths]]:
    """Rows of `scenarios`, and the paths that are drawn; a random window that begins before `first` is unavailable."""
    rows: list[dict[str, Any]] = []
    drawn: list[ScenarioPaths] = []
    pace, kinds = Pace("scenarios"), {one.type for one in wanted}
    shown = next((name for name in DRAWN_TYPES if name in kinds), None)
    seen: set[str] = set()
    bars_hash = bars.bars_hash
    for number, request in enumerate(wanted):
        if request.scenario_id in seen:
            continue
        seen.add(request.scenario_id)
        pace.tell(number, len(wanted), "scenarios")
        try:
            paths = generate(request, bars.history)
            _require_since(request, paths, first)
        except (SuspiciousDataError, ConfigurationError) as error:
            rows.append({**_of_request(request), **_unavailable(request, str(error))})
        else:
            rows.append({**_of_request(request), **_ready(paths)})
            if request.type == shown and len(drawn) < MOST_SHOWN:
                drawn.append(paths)
    frame = pd.DataFrame(rows).assign(as_of=bars.as_of, bars_hash=bars_hash, is_current=True)
    frame["seed"] = pd.Series([row["seed"] for row in rows], dtype=object)
    return frame[schema.scenarios.columns.keys()], drawn


def _require_since(request: Request, paths: ScenarioPaths, first: str | None) -> None:
    """SuspiciousDataError for a window of real days at a random place that begins before a day."""
    start = paths.scenario.start
    if request.type == "random_window" and first is not None and str(start) < first:
        raise SuspiciousDataError(f"its window begins on {start}, before {first}, from which on windows were asked for")


def _of_request(request: Request) -> dict[str, Any]:
    scenario_id = request.scenario_id
    return {
        "scenario_id": scenario_id,
        "partition_key": f"{request.name}_{scenario_id[:KEY_DIGITS]}",
        "generator_version": GENERATOR_VERSION,
        "is_ranked": not request.name.startswith(FULL_HISTORY),
    }


def _ready(paths: ScenarioPaths) -> dict[str, Any]:
    (told,) = records(scenario_rows([paths.scenario]))
    told["starts_on"], told["ends_on"] = told.pop("start"), told.pop("end")
    return {
        **told,
        "status": "ready",
        "reason": None,
        "warm_up_from": paths.history.dates[0].astype(object),
        "n_warm_up": paths.history.first_scored,
        "has_rows": paths.scenario.family != REGENERATED,
    }


def _unavailable(request: Request, reason: str) -> dict[str, Any]:
    return {
        "family": request.family,
        "type": request.type,
        "name": request.name,
        "params_json": json.dumps(dict(request.params), sort_keys=True, separators=(",", ":")),
        "seed": request.seed,
        "instruments_json": "[]",
        "unavailable_json": "{}",
        "n_steps": 0,
        "n_warm_up": 0,
        "paths_hash": None,
        "status": "unavailable",
        "reason": reason[:2000],
        "starts_on": None,
        "ends_on": None,
        "warm_up_from": None,
        "has_rows": False,
    }


def _drop_paths(engine: Engine, scenario_ids: Sequence[str]) -> None:
    if scenario_ids:
        for table in (schema.scenario_paths, schema.scenario_metrics):
            writes.delete_where(engine, table, {"scenario_id": list(scenario_ids)})


def _partition(instance: dg.DagsterInstance, keys: Sequence[str]) -> None:
    """Make the dynamic partitions exactly those of the current set, in its order."""
    there = instance.get_dynamic_partitions(SCENARIOS_NAME)
    for key in there:
        if key not in set(keys):
            instance.delete_dynamic_partition(SCENARIOS_NAME, key)
    instance.add_dynamic_partitions(SCENARIOS_NAME, [key for key in keys if key not in set(there)])


SCENARIOS_NAME = str(SCENARIOS.name)


def _drawn(paths: Sequence[ScenarioPaths], bars: LabBars) -> Any:
    """Picture of paths that are alike, of the first market that takes part in them."""
    known = [name for name in ("crypto:BTC", "etf:SPY", *bars.traded) if paths and name in paths[0].history.instruments]
    title = paths[0].scenario.type.replace("_", " ") if paths else ""
    return picture(lambda: plot_paths(paths, known[0], title), "Scenarios") if known else None


class StoredPaths(dg.Config):
    """What of the chosen scenarios is stored."""

    every_path: bool = Field(
        default=False, description="Also stochastic paths, warm-up bars, and the features of every bar"
    )
    again: bool = Field(default=False, description="Make also what is stored of the same bars")


TABLES = {
    schema.scenario_paths: (
        "Bars of every scenario of which they are stored: real windows and stress; stochastic paths are made again "
        "from their seed (or stored with `every_path`)."
    ),
    schema.scenario_metrics: (
        "Features of every instrument at the end of every scenario, by the calculators of daily_features; of every bar "
        "with `every_path`."
    ),
}


@dg.multi_asset(
    name=STEP,
    specs=[
        lab_spec(table, words, ("scenarios",), ("numpy", "sql"), "market.md#scenarios")
        for table, words in TABLES.items()
    ],
    partitions_def=SCENARIOS,
    backfill_policy=ONE_RUN,
)
@own_step(STEP)
def scenario_tables(
    context: dg.AssetExecutionContext, config: StoredPaths, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Both tables, scenario by scenario in one transaction each; one that is stored of the same bars is left as it is.

    What a scenario is is compared with its hash first.
    """
    engine, keys = warehouse.engine, scenario_keys(context)
    chosen = rows_of_partitions(engine, keys)
    bars = bars_of_set(engine, chosen)
    there = reads.distinct_values(engine, schema.scenario_metrics, ["scenario_id", "paths_hash"])
    is_whole = config.every_path or config.again
    due = [row for row in records(chosen) if is_whole or (row["scenario_id"], row["paths_hash"]) not in there]
    receipts: dict[str, list[writes.WriteReceipt]] = {table.name: [] for table in TABLES}
    pace = Pace(STEP)
    for number, row in enumerate(due):
        pace.tell(number, len(due), "scenarios")
        paths = regenerated(row, bars)
        is_stored = config.every_path or row["family"] != REGENERATED
        frames = {
            schema.scenario_paths: _stored_bars(paths, is_stored=is_stored, with_warm_up=config.every_path),
            schema.scenario_metrics: _metrics(paths, every_bar=config.every_path),
        }
        made = writes.replace_where(engine, frames, {"scenario_id": row["scenario_id"]})
        for name, receipt in made.items():
            receipts[name].append(receipt)
    paths_told, metrics_told = (
        report(
            writes.together(table, receipts[table.name]),
            asset=table.name,
            scenarios=len(chosen),
            scenarios_made=len(due),
            scenarios_there=len(chosen) - len(due),
        )
        for table in TABLES
    )
    return paths_told, metrics_told


def rows_of_partitions(engine: Engine, keys: Sequence[str]) -> pd.DataFrame:
    """Rows of `scenarios` of some partitions, those of the current set; SuspiciousDataError for one that is not."""
    stored = reads.read_all(engine, schema.scenarios, {"is_current": True, "status": "ready"})
    rows = stored.set_index("partition_key", drop=False)
    missing = [key for key in keys if key not in rows.index]
    if missing:
        raise SuspiciousDataError(f"{missing[0]} is no scenario of the current set; make `scenarios` again")
    return rows.loc[list(keys)].reset_index(drop=True)


def bars_of_set(engine: Engine, chosen: pd.DataFrame) -> LabBars:
    """The bars that the current set was made of."""
    asked: set[str] = set()
    for row in records(chosen):
        asked |= set(json.loads(row["params_json"])["instruments"])
    listed = reads.read_all(engine, schema.instruments, {"instrument_id": sorted(asked)})
    return read_bars(engine, set(listed["universe"]), max(chosen["as_of"]))


def regenerated(row: dict[str, Any], bars: LabBars) -> ScenarioPaths:
    """The paths of a row of `scenarios`; SuspiciousDataError where they are no longer those that it names."""
    paths = generate(request_of(row), bars.history)
    if paths.scenario.paths_hash != row["paths_hash"]:
        raise SuspiciousDataError(
            f"scenario {row['name']} has other bars than when it was made (history was imported or restated since): "
            f"make `scenarios` again"
        )
    return paths


def _stored_bars(paths: ScenarioPaths, *, is_stored: bool, with_warm_up: bool) -> pd.DataFrame:
    """Rows of `scenario_paths`."""
    names = schema.scenario_paths.columns.keys()
    if not is_stored:
        return pd.DataFrame(columns=names)
    rows = path_rows(paths)
    rows = rows if with_warm_up else rows[rows["step"] >= 0]
    return rows.assign(is_gap=rows["gap_flag"] == 1.0)[names].reset_index(drop=True)


def _metrics(paths: ScenarioPaths, *, every_bar: bool) -> pd.DataFrame:
    """Rows of `scenario_metrics`: every bar, or the last one of each instrument."""
    rows = metric_rows(paths).assign(paths_hash=paths.scenario.paths_hash)
    if not every_bar:
        rows = rows[rows["step"] >= 0].drop_duplicates("instrument_id", keep="last")
    return rows[schema.scenario_metrics.columns.keys()].reset_index(drop=True)
