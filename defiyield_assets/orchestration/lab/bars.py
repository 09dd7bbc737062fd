"""Stored bars of one universe as a backtest takes them: features, cash and regimes beside them.

Lives here: `scored_bars`. Not here: reading bars and what surrounds them (inputs.py), scenarios
(domain/market/scenarios), the engine (domain/strategies).
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import date

import numpy as np
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.scenarios.path_features import with_features
from defiyield_assets.domain.prices.instruments import periods_per_year
from defiyield_assets.domain.strategies.assessment import PATH_METRICS
from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, Matrix, PriceHistory
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.universes import cash_returns, of_universe, states_on
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET
from defiyield_assets.orchestration.lab.inputs import read_bars, surroundings
from defiyield_assets.store import reads, schema

LEAST_BARS = 2


def scored_bars(engine: Engine, strategy: Strategy, days: DayRange, universe: str | None = None) -> PriceHistory:
    """All adjusted bars of a universe up to the last day, scored from the first one on, with what a strategy reads.

    ConfigurationError where there is too little to score.
    """
    name = universe or strategy.spec.universe
    bars = read_bars(engine, [name], days.end)
    beside = surroundings(engine, bars)
    row = max(int(np.searchsorted(bars.history.dates, np.datetime64(days.start, "D"))), 1)
    cut = None
    if row < bars.history.n_bars:
        cut = of_universe(replace(bars.history, first_scored=row), bars.universes[name], bars.calendars)
    n_scored = 0 if cut is None else cut[0].n_bars - cut[0].first_scored
    if cut is None or n_scored < LEAST_BARS:
        newest = bars.history.dates[bars.history.is_bar.any(axis=1)][-1]
        raise ConfigurationError(
            f"{name} has {n_scored} bars from {days.start} to {days.end} with one before them, the last bar is of "
            f"{newest}; a backtest takes {LEAST_BARS} at least"
        )
    own = replace(
        cut[0],
        periods_per_year=float(max(periods_per_year(bars.calendars[one]) for one in cut[0].instruments)),
        risk_free=cash_returns(cut[0].dates, beside.rates, np.zeros(cut[0].n_bars)),
        regimes=states_on(cut[0].dates, beside.regimes.get(name), np.datetime64(days.end, "D")),
    )
    return with_read_features(engine, own, strategy.columns - own_columns(strategy))


def decided_days(history: PriceHistory, last: date) -> DayRange:
    """The days whose signals a run can follow: from the bar before the first scored one, which decides its orders."""
    first: date = history.dates[max(history.first_scored - 1, 0)].astype(object)
    return DayRange(min(first, last), last)


def own_columns(strategy: Strategy) -> set[str]:
    """Bar columns, and the columns that a strategy and its members make themselves."""
    return {*BAR_COLUMNS, *strategy.spec.indicators}.union(*(own_columns(one) for one in strategy.members))


def with_read_features(engine: Engine, history: PriceHistory, names: Collection[str]) -> PriceHistory:
    """The history with features by name: those that single bars have are calculated over all of them, the others
    (ranks, events, regimes, macro) are the stored ones of `daily_features`.
    """
    own = PATH_METRICS & set(names)
    told = with_features(history, own)
    return replace(told, features={**told.features, **_stored_features(engine, history, set(names) - own)})


def _stored_features(engine: Engine, history: PriceHistory, names: Collection[str]) -> dict[str, Matrix]:
    """Columns of `daily_features` beside the bars of a history, (n, k), NaN where none is stored."""
    if not names:
        return {}
    others = sorted(names)
    first: date = history.dates[0].astype(object)
    last: date = history.dates[-1].astype(object)
    where = {"instrument_id": list(history.instruments), "feature_set": FEATURE_SET}
    columns = ["instrument_id", "date", *others]
    stored = reads.read_columns(engine, schema.daily_features, DayRange(first, last), where, columns)
    is_there = np.isin(stored["date"], history.dates)
    row = np.searchsorted(history.dates, stored["date"][is_there])
    column = np.array([history.instruments.index(one) for one in stored["instrument_id"][is_there]], dtype=np.intp)
    matrices = {}
    for name in others:
        matrices[name] = np.full(history.close.shape, np.nan)
        matrices[name][row, column] = stored[name][is_there]
    return matrices
