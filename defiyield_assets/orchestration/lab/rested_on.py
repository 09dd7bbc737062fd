"""What a run rests on beside the bars of its scenario: rates of cash, regimes, stored features and signals, as a hash.

Lives here: `inputs_hash`, by which a stored run is known to be out of date. Not here: bars, which have a hash of their
own (domain/market/scenarios/scenario.py), which runs are due (runs.py).
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.assessment import REAL_TYPES
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.universes import MOST_REGIME_AGE

if TYPE_CHECKING:
    from defiyield_assets.orchestration.lab.runs import World


def inputs_hash(strategy: Strategy, row: Mapping[str, Any], world: "World") -> str:
    """SHA-256 of everything beside bars that a run of the strategy over a scenario (a row of `scenarios`) reads.

    Only what belongs to the scenario's days and instruments counts, so that a new day makes no old run due.
    """
    first, last = (np.datetime64(row[name], "D") for name in ("warm_up_from", "ends_on"))
    universe, beside = strategy.spec.universe, world.beside
    taking_part = set(json.loads(row["instruments_json"]))
    names = sorted(taking_part.intersection(beside.universes.get(universe, ())))
    is_real = row["type"] in REAL_TYPES
    told = sha256(json.dumps([universe, names]).encode())
    if beside.rates is not None:
        known = _within(beside.rates.days, first, last)
        told.update(beside.rates.days[known].tobytes() + beside.rates.annual[known].tobytes())
    states = beside.regimes.get(universe) if is_real else None
    if states is not None:
        known = _within(states.days, np.datetime64(row["warm_up_from"] - timedelta(MOST_REGIME_AGE), "D"), last)
        told.update(states.days[known].tobytes() + ",".join(states.states[known]).encode())
    if is_real:
        rows = slice(*np.searchsorted(world.history.dates, [first, last + np.timedelta64(1, "D")]).tolist())
        columns = [world.history.instruments.index(name) for name in names]
        for name in sorted(strategy.columns & set(world.history.features)):
            told.update(name.encode() + np.ascontiguousarray(world.history.features[name][rows, columns]).tobytes())
    if beside.signals is not None and strategy.signal_types:
        told.update(_signals(beside.signals, strategy, names, row).encode())
    return told.hexdigest()


def _within(days: "np.ndarray[Any, np.dtype[np.datetime64]]", first: np.datetime64, last: np.datetime64) -> slice:
    """The days of a range, with the last one known before it."""
    start, stop = np.searchsorted(days, [first, last + np.timedelta64(1, "D")]).tolist()
    return slice(max(start - 1, 0), stop)


def _signals(signals: pd.DataFrame, strategy: Strategy, names: list[str], row: Mapping[str, Any]) -> str:
    """The signals that can reach the scenario's bars, as text that is the same for the same ones."""
    first, end = (pd.Timestamp(row["warm_up_from"], tz="UTC"), pd.Timestamp(row["ends_on"], tz="UTC") + timedelta(1))
    is_own = signals["signal_type"].isin(strategy.signal_types) & signals["instrument_id"].isin(names)
    own = signals[is_own & (signals["actionable_from"] >= first) & (signals["actionable_from"] < end)]
    ordered = own.sort_values(["signal_type", "instrument_id", "actionable_from"])
    return str(ordered.to_json(orient="values", date_format="iso", double_precision=15))
