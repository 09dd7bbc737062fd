"""Backtests of many scenarios, some at a time in processes of their own, and their rows.

Lives here: which runs are due, the processes, runs as rows of tables. Not here: one scenario (domain/strategies/
assessment.py), the assets (assets/strategies.py).
"""

import json
import multiprocessing
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing import connection
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.strategies.assessment import (
    Run,
    Surroundings,
    Task,
    assess_scenario,
    key_of,
    takes_part,
)
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import ENGINE_VERSION
from defiyield_assets.domain.strategies.external import types_heard
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.orchestration.lab.inputs import FULL_HISTORY, request_of
from defiyield_assets.orchestration.lab.rested_on import inputs_hash
from defiyield_assets.store import schema
from defiyield_assets.store.schema.lab import RUN_FIGURES

AHEAD = 2
"""Scenarios a process has waiting: enough that it never idles, few enough that results do not pile up."""
MOST_WORKERS = 8


@dataclass(frozen=True)
class World:
    """What every scenario is run with; `history`: all real bars, with the features that strategies read."""

    history: PriceHistory
    beside: Surroundings
    costs: CostModel
    account: Account


_WORLD: list[World] = []
"""The world of a worker process: handed over once, because the bars of decades are larger than any task."""


def default_workers() -> int:
    """As many processes as there are processors, up to MOST_WORKERS."""
    return max(1, min(os.cpu_count() or 1, MOST_WORKERS))


def due_task(
    row: Mapping[str, Any],
    strategies: Collection[Strategy],
    universes: Mapping[str, Sequence[str]],
    there: Mapping[str, tuple[str, str]],
    world: World,
) -> Task | None:
    """What is left to run over a scenario (a row of `scenarios`); None where nothing is.

    `there`: run_key -> paths_hash and inputs_hash of stored runs; a run over other bars than the scenario has now, or
    beside other rates, regimes or signals, is due again.
    """
    due = [
        one
        for one in taking_part(row, strategies, universes, world.beside.signals)
        if there.get(key_of(one, row["scenario_id"], world.costs, world.account))
        != (row["paths_hash"], inputs_hash(one, row, world))
    ]
    return Task(request_of(row), row["paths_hash"], tuple(due)) if due else None


def taking_part(
    row: Mapping[str, Any],
    strategies: Collection[Strategy],
    universes: Mapping[str, Sequence[str]],
    signals: pd.DataFrame | None,
) -> list[Strategy]:
    """The strategies that are run over a scenario (a row of `scenarios`); a full history is its universe's own, and who
    follows signals is run where there are some: a flat line would pass as a decision to stay out.
    """
    names, instruments = str(row["name"]), set(json.loads(row["instruments_json"]))
    found = []
    for one in strategies:
        here = instruments.intersection(universes.get(one.spec.universe, ()))
        is_apart = names.startswith(FULL_HISTORY) and names != FULL_HISTORY + one.spec.universe
        if not here or is_apart or not takes_part(one, row["type"], here):
            continue
        heard = set() if signals is None else types_heard(signals, here, row["starts_on"], row["ends_on"])
        if one.signal_types <= heard:
            found.append(one)
    return found


def assessed(tasks: Sequence[Task], world: World, workers: int) -> Iterator[tuple[Task, list[Run]]]:
    """Tasks with their runs, as they are done; with one worker in this process and in order."""
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, _assess(task, world)
        return
    method = multiprocessing.get_context("spawn")  # a fork would copy Dagster's threads and locks in mid-air
    with ProcessPoolExecutor(min(workers, len(tasks)), method, _enter, (world,)) as pool:
        waiting = iter(tasks)
        under_way: dict[Future[list[Run]], Task] = {}
        try:
            while True:
                for task in waiting:
                    under_way[pool.submit(_assess_there, task)] = task
                    if len(under_way) >= AHEAD * workers:
                        break
                if not under_way:
                    return
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    yield under_way.pop(future), future.result()
        finally:
            for future in under_way:
                future.cancel()


def _enter(world: World) -> None:
    _WORLD[:] = [world]
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A worker whose parent was killed waits for tasks for ever: each worker holds the pipe open for the others."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _assess_there(task: Task) -> list[Run]:
    return _assess(task, _WORLD[0])


def _assess(task: Task, world: World) -> list[Run]:
    return assess_scenario(task, world.history, world.beside, world.costs, world.account)


# --- rows ----------------------------------------------------------------------------------------------------------
def result_rows(
    runs: Sequence[Run], row: Mapping[str, Any], inputs: Mapping[str, str], world: World, *, has_curves: bool
) -> pd.DataFrame:
    """Rows of `backtest_results` of the runs over a scenario, given as its row of `scenarios`; `inputs`: strategy_hash
    -> inputs_hash.
    """
    shared = {
        "scenario_id": row["scenario_id"],
        "family": row["family"],
        "as_of": row["as_of"],
        "paths_hash": row["paths_hash"],
        "engine_version": ENGINE_VERSION,
        "costs_json": canonical_json(asdict(world.costs)),
        "account_json": canonical_json(asdict(world.account)),
        "has_curve": has_curves,
    }
    found = [
        {
            **shared,
            "run_key": one.result.run_key,
            "strategy_id": one.result.strategy_id,
            "strategy_hash": one.result.strategy_hash,
            "inputs_hash": inputs[one.result.strategy_hash],
            "universe": one.universe,
            "periods_per_year": one.periods_per_year,
            "instruments_json": canonical_json(list(one.instruments)),
            "is_in_sample": one.result.is_in_sample,
            "refusals_json": canonical_json(one.result.refusals),
            "cost_grid_json": canonical_json(_grid(one.result.cost_grid)),
            **{name: one.result.metrics.get(name) for name in RUN_FIGURES},
        }
        for one in runs
    ]
    frame = pd.DataFrame(found, columns=schema.backtest_results.columns.keys())
    return frame.astype(dict.fromkeys(RUN_FIGURES, np.float64))


def _grid(grid: pd.DataFrame) -> list[dict[str, float | None]]:
    """A cost grid as JSON takes it: null for what is unknown."""
    return [
        {str(name): None if pd.isna(value) else float(value) for name, value in one.items()}
        for one in grid.to_dict("records")
    ]


def trade_rows(runs: Sequence[Run]) -> pd.DataFrame:
    """Rows of `backtest_trades`."""
    names = schema.backtest_trades.columns.keys()
    parts = [
        one.result.trades.assign(run_key=one.result.run_key, number=range(len(one.result.trades)))
        for one in runs
        if len(one.result.trades)
    ]
    if not parts:
        return pd.DataFrame(columns=names)
    frame = pd.concat(parts, ignore_index=True)
    for name in ("entry_date", "exit_date"):
        frame[name] = np.array(frame[name].to_numpy().astype("datetime64[D]").tolist(), dtype=object)
    return frame[names]


def curve_rows(runs: Sequence[Run]) -> pd.DataFrame:
    """Rows of `equity_curves`."""
    names = schema.equity_curves.columns.keys()
    parts = [one.equity.assign(run_key=one.result.run_key) for one in runs]
    if not parts:
        return pd.DataFrame(columns=names)
    frame = pd.concat(parts, ignore_index=True)
    frame["date"] = np.array(frame["date"].to_numpy().astype("datetime64[D]").tolist(), dtype=object)
    return frame[names]
