"""From a request to its scenario: which generator answers it, and how its parameters reach it.

Lives here: `generate`. Not here: the requests (catalogue.py), the generators (windows.py, stochastic.py, stress.py),
where the bars come from (store).
"""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from defiyield_assets.domain.market.scenarios.catalogue import TYPES
from defiyield_assets.domain.market.scenarios.definitions import Depeg, RegimeMotion, Shock
from defiyield_assets.domain.market.scenarios.scenario import Request, ScenarioPaths, assemble
from defiyield_assets.domain.market.scenarios.source import Source, market_of, select_source
from defiyield_assets.domain.market.scenarios.stochastic import (
    block_bootstrap,
    brownian_motion,
    markov_regimes,
    monte_carlo,
)
from defiyield_assets.domain.market.scenarios.stress import depegged, shocked
from defiyield_assets.domain.market.scenarios.synthesis import bars_of_returns, nearest_donors
from defiyield_assets.domain.market.scenarios.windows import random_start, real_window
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory
from defiyield_assets.errors import ConfigurationError


def generate(request: Request, history: PriceHistory) -> ScenarioPaths:
    """The scenario of a request, from bars that may reach beyond its as-of date: nothing later is read.

    Raises SuspiciousDataError where the bars do not suffice, and ConfigurationError for parameters that cannot be; the
    message names the instrument and the reason.
    """
    if request.type in ("historical_window", "regime_window", "random_window"):
        return _real(request, history)
    if request.type not in TYPES:
        raise ConfigurationError(f"scenario type {request.type!r} is not known; known types: {', '.join(TYPES)}")
    return _generated(request, history)


def _real(request: Request, history: PriceHistory) -> ScenarioPaths:
    params = request.params
    if request.type == "random_window":
        as_of = date.fromisoformat(params["as_of"])
        start = random_start(history, as_of, params["instruments"], params["days"], request.random())
        end = start + timedelta(days=params["days"] - 1)
    else:
        start, end = date.fromisoformat(params["start"]), date.fromisoformat(params["end"])
        as_of = end  # a window between two days is the same one on every later day
    bars, unavailable = real_window(
        history,
        start,
        end,
        as_of,
        params["instruments"],
        warm_up_bars=params["warm_up_bars"],
        calendars=params["calendars"],
    )
    return assemble(request, bars, unavailable)


def _generated(request: Request, history: PriceHistory) -> ScenarioPaths:
    params = request.params
    if params["n_steps"] < 1:
        raise ConfigurationError(f"n_steps is {params['n_steps']}; a path has one scored bar at least")
    source = select_source(
        history,
        date.fromisoformat(params["as_of"]),
        params["instruments"],
        source_bars=params["source_bars"],
        warm_up_bars=params["warm_up_bars"],
        calendars=params["calendars"],
    )
    random = request.random()
    if request.type == "stress_shock":
        return _stressed(request, source, random)
    if request.type == "block_bootstrap":
        rows = block_bootstrap(source, params["n_steps"], random, params["block_bars"])
        donors = np.repeat(source.sampled[rows][:, None], source.n_instruments, axis=1)
        bars = bars_of_returns(source, source.returns[rows], donors)
        return assemble(request, bars, source.unavailable)
    log_returns = _log_returns(request, source, random)
    bars = bars_of_returns(source, log_returns, nearest_donors(source, log_returns, random))
    return assemble(request, bars, source.unavailable)


def _log_returns(request: Request, source: Source, random: np.random.Generator) -> Matrix:
    """Of the types that draw returns which no bar had."""
    params = request.params
    n_steps = params["n_steps"]
    if request.type == "monte_carlo":
        freedom = params.get("degrees_of_freedom", np.inf)
        return monte_carlo(source, n_steps, random, params["distribution"], freedom)
    if request.type == "gbm":
        return brownian_motion(source, n_steps, random, params["drift"], params["volatility"])
    if request.type == "stablecoin_depeg":
        told = {**params["depeg"], "stablecoins": tuple(params["depeg"]["stablecoins"])}
        return depegged(source, _baseline(request, source, random), Depeg(**told))
    motions = [RegimeMotion(**motion) for motion in params["motions"]]
    return markov_regimes(source, market_of(source, params["benchmark"]), n_steps, random, motions)[0]


def _baseline(request: Request, source: Source, random: np.random.Generator) -> Matrix:
    """The path that a shock disturbs: a block bootstrap of the source."""
    baseline: Matrix = source.returns[
        block_bootstrap(source, request.params["n_steps"], random, request.params["block_bars"])
    ]
    return baseline


def _stressed(request: Request, source: Source, random: np.random.Generator) -> ScenarioPaths:
    market = market_of(source, request.params["benchmark"])
    told = shocked(source, market, _baseline(request, source, random), Shock(**request.params["shock"]))
    bars = bars_of_returns(source, told.log_returns, nearest_donors(source, told.log_returns, random))
    volume = bars.volume.copy()
    volume[bars.first_scored :] *= told.volume_multiplier[:, None]
    warm_up = np.zeros(bars.first_scored)
    return assemble(
        request,
        replace(bars, volume=volume),
        source.unavailable,
        np.concatenate([warm_up + 1.0, told.spread_multiplier]),
        np.concatenate([warm_up, told.rate_shift]),
    )
