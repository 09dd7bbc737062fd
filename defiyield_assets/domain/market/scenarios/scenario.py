"""One scenario: what identifies it, and the bars that it consists of.

Lives here: ids, paths, their fingerprint and their rows. Not here: how paths come about (windows.py, stochastic.py,
stress.py), which scenarios there are to be had (definitions.py, catalogue.py).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.canonical import canonical_json, content_hash
from defiyield_assets.domain.market.scenarios.definitions import Family
from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, PriceHistory, Vector

GENERATOR_VERSION = 2
"""Raised with every change that gives other paths for the same type, parameters and seed."""
LEAST_WARM_UP = 253
"""Real bars that an instrument has before the first scored one: a year, and the one that it is measured from."""


@dataclass(frozen=True)
class Request:
    """A scenario that may be generated: everything that its paths follow from, apart from the bars themselves.

    `params` are values of JSON and hold the instruments that were asked for and, where a path is drawn from all that is
    known, the as-of date; a window between two days has the same id on every later day.
    """

    family: Family
    type: str
    name: str
    params: Mapping[str, Any]
    seed: int | None = None

    @property
    def scenario_id(self) -> str:
        """SHA-256 of the canonical JSON of type, parameters, seed and the version of the generator."""
        return content_hash(
            {
                "type": self.type,
                "params": dict(self.params),
                "seed": self.seed,
                "generator_version": GENERATOR_VERSION,
            }
        )

    def random(self) -> np.random.Generator:
        """The scenario's own stream of random numbers: two scenarios never share one, the same one repeats it."""
        return np.random.default_rng(int(self.scenario_id, 16))


@dataclass(frozen=True)
class Scenario:
    """A row of `scenarios`.

    `start`, `end`: dates of the first and last scored bar; `instruments`: those that take part; `unavailable`: the
    others that were asked for, each with the reason; `paths_hash`: fingerprint of all bars, warm-up included.
    """

    scenario_id: str
    family: Family
    type: str
    name: str
    params: Mapping[str, Any]
    seed: int | None
    instruments: tuple[str, ...]
    start: date
    end: date
    n_steps: int
    paths_hash: str
    unavailable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScenarioPaths:
    """A scenario and its bars, warm-up first.

    `history`: as the engine takes it, without features; its `first_scored` is the row of step 0. `spread_multiplier`
    (bars,): of the bid-ask spread that fills pay; `rate_shift` (bars,): of the risk-free rate, a fraction a year.
    """

    scenario: Scenario
    history: PriceHistory
    spread_multiplier: Vector
    rate_shift: Vector

    @property
    def step(self) -> NDArray[np.int64]:
        """Number of each bar (bars,): 0 is the first scored one, below it are real bars for warm-up."""
        return steps(self.history)


def steps(history: PriceHistory) -> NDArray[np.int64]:
    """Number of each bar (bars,), 0 at the first scored one."""
    return np.arange(history.n_bars, dtype=np.int64) - history.first_scored


def assemble(
    request: Request,
    history: PriceHistory,
    unavailable: Mapping[str, str],
    spread_multiplier: Vector | None = None,
    rate_shift: Vector | None = None,
) -> ScenarioPaths:
    """The scenario of a request and the bars that were generated for it; multipliers are 1 and shifts 0 by default."""
    scored = history.dates[history.first_scored :].tolist()
    spread = np.ones(history.n_bars) if spread_multiplier is None else spread_multiplier
    shift = np.zeros(history.n_bars) if rate_shift is None else rate_shift
    scenario = Scenario(
        request.scenario_id,
        request.family,
        request.type,
        request.name,
        dict(request.params),
        request.seed,
        history.instruments,
        scored[0],
        scored[-1],
        len(scored),
        paths_hash(history, spread, shift),
        dict(unavailable),
    )
    return ScenarioPaths(scenario, history, spread, shift)


def paths_hash(history: PriceHistory, spread: Vector, rate_shift: Vector) -> str:
    """SHA-256 of all that an engine reads of a scenario: names, dates, first step and every number to the bit."""
    head = [list(history.instruments), history.first_scored, history.periods_per_year, GENERATOR_VERSION]
    digest = hashlib.sha256(canonical_json(head).encode())
    digest.update(history.dates.astype("datetime64[D]").astype("<i8").tobytes())
    for values in (spread, rate_shift, *(history.column(name) for name in BAR_COLUMNS)):
        numbers = np.ascontiguousarray(values, dtype="<f8") + 0.0  # makes -0.0 the zero that it equals
        digest.update(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
    return digest.hexdigest()


def path_rows(paths: ScenarioPaths) -> pd.DataFrame:
    """Rows of `scenario_paths`: scenario_id, instrument_id, step, date, is_warm_up and the bar; none without a bar."""
    bars = paths.history
    row, column = np.nonzero(bars.is_bar)
    order = np.lexsort((row, column))
    row, column = row[order], column[order]
    return pd.DataFrame(
        {
            "scenario_id": paths.scenario.scenario_id,
            "instrument_id": np.array(bars.instruments, dtype=object)[column],
            "step": paths.step[row],
            "date": np.array(bars.dates.tolist(), dtype=object)[row],
            "is_warm_up": paths.step[row] < 0,
            **{name: bars.column(name)[row, column] for name in BAR_COLUMNS},
            "spread_multiplier": paths.spread_multiplier[row],
            "rate_shift": paths.rate_shift[row],
        }
    )


def scenario_rows(scenarios: list[Scenario]) -> pd.DataFrame:
    """Rows of `scenarios`; parameters and reasons as canonical JSON."""
    return pd.DataFrame(
        {
            "scenario_id": one.scenario_id,
            "family": one.family,
            "type": one.type,
            "name": one.name,
            "params_json": canonical_json(dict(one.params)),
            "seed": one.seed,
            "instruments_json": canonical_json(list(one.instruments)),
            "unavailable_json": canonical_json(dict(one.unavailable)),
            "start": one.start,
            "end": one.end,
            "n_steps": one.n_steps,
            "generator_version": GENERATOR_VERSION,
            "paths_hash": one.paths_hash,
        }
        for one in scenarios
    )
