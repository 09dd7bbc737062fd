"""What a ranking rests on: the runs of the current strategies over the current set, all of them or none.

Lives here: reading an assessment, and the comparison with what is due. Not here: what is ranked together
(domain/strategies/scopes.py), ranks (domain/strategies/ranking.py), which runs are made (runs.py), pages (pages.py),
the assets (assets/strategies.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.signals.types import STUB_TYPE
from defiyield_assets.domain.strategies.assessment import why_left_out
from defiyield_assets.domain.strategies.evidence import count_trials
from defiyield_assets.domain.strategies.scopes import ranked_together, runs_of_set
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.terms import of_one_account
from defiyield_assets.domain.strategies.trials import EVIDENCE_COLUMNS, evidence_of, trials_of
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.bars import EVER
from defiyield_assets.orchestration.lab.inputs import records
from defiyield_assets.orchestration.lab.runs import taking_part
from defiyield_assets.orchestration.lab.signals import stored_signals
from defiyield_assets.store import reads, schema

Due = dict[tuple[str, str], tuple[str, str]]
"""Scenario and strategy_hash of a run -> names of the strategy and of the scenario."""


@dataclass(frozen=True)
class Assessment:
    """What an assessment rests on: `results` of the current set and current strategies, joined with the names of their
    scenarios; `trials`: distinct strategies ever tried; `evidence` by strategy (trials.EVIDENCE_COLUMNS); `market`:
    live, simulated or recorded.
    """

    as_of: date
    results: pd.DataFrame
    names: dict[str, str]
    n_trials: int
    evidence: pd.DataFrame
    market: str

    def scopes(self) -> dict[str, pd.DataFrame]:
        """Scope -> the results that are ranked together."""
        return ranked_together(self.results)


def read_assessment(engine: Engine, strategies: Collection[Strategy]) -> Assessment:
    """What is ranked: runs of the strategies, those of the files now, over the current scenarios and their bars.

    Of runs with several cost models or accounts the ones with the default costs count. SuspiciousDataError where a run
    of the set is missing: a ranking over what happens to be there would pass as one over the set.
    """
    told = current_set(engine)
    listed = reads.read_all(engine, schema.strategies)
    found = current_runs(engine, told, listed)
    found = found.merge(told[["scenario_id", "name", "is_ranked"]], on="scenario_id")
    found = of_one_account(found)
    due = _due_runs(engine, told, listed, strategies)
    _require_whole(found, due)
    is_due = [key in due for key in zip(found["scenario_id"], found["strategy_hash"], strict=True)]
    found = found[np.array(is_due, dtype=bool)].reset_index(drop=True)
    of_stub = {one.content_hash for one in strategies if STUB_TYPE in one.signal_types}
    found = found.assign(is_stub=found["strategy_hash"].isin(of_stub))
    n_trials = count_trials(listed["content_hash"])
    names = dict(zip(told["scenario_id"], told["name"], strict=True))
    evidence = _evidence(engine, found, n_trials)
    markets = reads.distinct_values(engine, schema.warehouse_identity, ["market"])
    market = ", ".join(sorted(name for (name,) in markets))
    return Assessment(max(told["as_of"]), found, names, n_trials, evidence, market)


def current_set(engine: Engine) -> pd.DataFrame:
    """Rows of `scenarios` of the current set that can be run."""
    return reads.read_all(engine, schema.scenarios, {"is_current": True, "status": "ready"})


def set_id(scenario_ids: Collection[str]) -> str:
    """By which a set is known: SHA-256 of the ids of its scenarios that can be run."""
    return sha256("\n".join(sorted(scenario_ids)).encode()).hexdigest()


def current_runs(engine: Engine, told: pd.DataFrame, listed: pd.DataFrame) -> pd.DataFrame:
    """Stored runs by this engine of current strategies (`listed`: rows of `strategies`) over the bars of a set."""
    current = listed[listed["is_current"].astype(bool)]
    found = reads.read_all(engine, schema.backtest_results, {"scenario_id": told["scenario_id"].tolist()})
    return runs_of_set(found, told, set(current["content_hash"]))


def ranked_scopes(told: Assessment) -> dict[str, pd.DataFrame]:
    """Scopes with their results; SuspiciousDataError where only full histories were run, which are never ranked."""
    found = told.scopes()
    if not found:
        raise SuspiciousDataError(
            "only full histories were run, and they are evidence, no scenarios: make a set with other types too"
        )
    return found


def _due_runs(engine: Engine, told: pd.DataFrame, listed: pd.DataFrame, strategies: Collection[Strategy]) -> Due:
    """Every run that the set and the strategies ask for."""
    current = listed[listed["is_current"].astype(bool)]
    known = set(zip(current["strategy_id"], current["content_hash"], strict=True))
    if known != {(one.strategy_id, one.content_hash) for one in strategies}:
        raise SuspiciousDataError("strategy files changed since `strategies` was made: make it and the backtests again")
    followed = {name for one in strategies for name in one.signal_types}
    stored = stored_signals(engine, DayRange(EVER.start, max(told["as_of"])), followed) if followed else None
    strategies = [one for one in strategies if why_left_out(one, stored) is None]
    members = reads.read_all(engine, schema.instruments)
    universes = {str(name): own["instrument_id"].tolist() for name, own in members.groupby("universe")}
    return {
        (row["scenario_id"], one.content_hash): (one.strategy_id, str(row["name"]))
        for row in records(told)
        for one in taking_part(row, strategies, universes, stored)
    }


def _require_whole(found: pd.DataFrame, due: Due) -> None:
    """SuspiciousDataError that names what is missing."""
    there = set(zip(found["scenario_id"], found["strategy_hash"], strict=True))
    missing = sorted(names for key, names in due.items() if key not in there)
    if missing:
        strategy, scenario = missing[0]
        raise SuspiciousDataError(
            f"{len(missing):,} of {len(due):,} backtests of the current set are missing (the first: {strategy} over "
            f"{scenario}), and a part of a set is not ranked: run the backtests of all its partitions first"
        )
    if not due:
        raise SuspiciousDataError("no current strategy takes part in a scenario of the current set: make one first")


def _evidence(engine: Engine, found: pd.DataFrame, n_trials: int) -> pd.DataFrame:
    """Evidence of every strategy by the full history of its universe."""
    parts = []
    whole = found[~found["is_ranked"].astype(bool) & found["has_curve"].astype(bool)]
    for _, own in whole.groupby("universe", sort=True):
        columns = {}
        for run in own.to_dict("records"):
            columns[run["strategy_id"]] = reads.read_all(engine, schema.equity_curves, {"run_key": run["run_key"]})
        parts.append(evidence_of(trials_of(columns, float(own["periods_per_year"].iloc[0])), n_trials))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(EVIDENCE_COLUMNS))
