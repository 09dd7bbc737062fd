"""All strategies over one scenario: its paths, their features, the part of each universe, one backtest a strategy.

Lives here: `assess_scenario`, which a process of its own can run. Not here: a single backtest (runs.py), scenarios
(domain/market/scenarios), ranks (ranking.py), tables (store/schema/lab.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.registry import BAR_METRICS
from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.path_features import with_features
from defiyield_assets.domain.market.scenarios.scenario import Request, ScenarioPaths
from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, PriceHistory, Vector
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.runs import BacktestResult, benchmarks, run, run_key
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.universes import MarketStates, Rates, cash_returns, of_universe, states_on
from defiyield_assets.errors import SuspiciousDataError

PATH_METRICS = frozenset(metric.name for metric in BAR_METRICS if "benchmark" not in metric.needs)
"""Columns that any path has. Others (events, ranks, benchmarks, regimes, macro series) speak of the real calendar and
its whole universe: real windows have those of the real days, generated paths have none."""
REAL_TYPES = frozenset({"historical_window", "regime_window", "random_window"})
"""Types whose dates are real ones, so that the regimes of their days are known."""
SLACK = 1e-9
"""By which cash and positions may differ from equity, as a share of the greatest of them."""


@dataclass(frozen=True)
class Surroundings:
    """What holds for all scenarios.

    `calendars`: instrument -> calendar; `universes`: name -> instruments; `regimes`: universe -> states of its market;
    `rates`: of cash, None unknown; `signals`: of models and news as of when one could act, None: there are none.
    """

    calendars: Mapping[str, str]
    universes: Mapping[str, tuple[str, ...]]
    regimes: Mapping[str, MarketStates]
    rates: Rates | None = None
    signals: pd.DataFrame | None = None


@dataclass(frozen=True)
class Task:
    """A scenario, the bars that it is known by, and the strategies that are to be run over it."""

    request: Request
    paths_hash: str
    strategies: tuple[Strategy, ...]


@dataclass(frozen=True)
class Run:
    """A backtest, and what it was run with. `equity`: as BacktestResult has it, with `positions_value` added."""

    result: BacktestResult
    universe: str
    instruments: tuple[str, ...]
    periods_per_year: float
    equity: pd.DataFrame


def key_of(strategy: Strategy, scenario_id: str, costs: CostModel, account: Account) -> str:
    """The key of a run: what a scenario does to spreads is part of the scenario, not of the cost model."""
    return run_key(strategy.content_hash, scenario_id, costs, account)


def why_left_out(strategy: Strategy, signals: pd.DataFrame | None) -> str | None:
    """Why a strategy of signals is not run at all; None where it is: a run without any signal is a flat line."""
    missing = sorted(strategy.signal_types - (set() if signals is None else set(signals["signal_type"])))
    return f"no signal of {', '.join(missing)} is stored" if missing else None


def assess_scenario(
    task: Task, history: PriceHistory, beside: Surroundings, costs: CostModel, account: Account
) -> list[Run]:
    """Run every strategy of a task over its scenario, in order; those that take no part in it are left out.

    `history`: all real bars with every feature that the strategies read.
    SuspiciousDataError where the paths are no longer those that the scenario is known by: bars changed since.
    """
    paths = generate(task.request, history)
    if paths.scenario.paths_hash != task.paths_hash:
        raise SuspiciousDataError(
            f"scenario {task.request.name} has other bars than when it was made (history was imported or restated "
            f"since): make the scenarios again"
        )
    told = _with_columns(paths, history, task.strategies)
    found = []
    for universe in sorted({one.spec.universe for one in task.strategies}):
        own = _part(paths, told, universe, beside)
        if own is None:
            continue
        yardsticks = benchmarks(own, costs, account)
        for strategy in task.strategies:
            if strategy.spec.universe != universe or not takes_part(strategy, task.request.type, own.instruments):
                continue
            result = run(
                strategy,
                own,
                costs,
                account,
                scenario_id=task.request.scenario_id,
                signals=beside.signals,
                beside=yardsticks,
            )
            equity = with_positions(result, own)
            found.append(Run(result, universe, own.instruments, own.periods_per_year, equity))
    return found


def takes_part(strategy: Strategy, scenario_type: str, instruments: Collection[str]) -> bool:
    """Whether a strategy can be run over a scenario: what it names is there, and what it reads can be known there."""
    is_known = scenario_type in REAL_TYPES or not (real_columns(strategy) or strategy.signal_types)
    return is_known and strategy.named_instruments <= set(instruments)


def real_columns(strategy: Strategy) -> set[str]:
    """Columns that a strategy reads and only real days have."""
    return strategy.columns - PATH_METRICS - set(BAR_COLUMNS)


def _with_columns(paths: ScenarioPaths, history: PriceHistory, strategies: Sequence[Strategy]) -> PriceHistory:
    """The paths with every feature that the strategies read: of a generated path calculated of its bars, over a real
    window those of the real days, which know what came before the window.
    """
    wanted: set[str] = set().union(*(one.columns for one in strategies)) - set(BAR_COLUMNS)
    told = paths.history
    if paths.scenario.type not in REAL_TYPES:
        return with_features(told, wanted & PATH_METRICS)
    rows = np.searchsorted(history.dates, told.dates)
    columns = np.array([history.instruments.index(name) for name in told.instruments], dtype=np.intp)
    return replace(told, features={name: history.features[name][np.ix_(rows, columns)] for name in sorted(wanted)})


def _part(paths: ScenarioPaths, told: PriceHistory, universe: str, beside: Surroundings) -> PriceHistory | None:
    """A universe's part of a scenario with cash and regimes; None where it takes no part."""
    cut = of_universe(told, beside.universes.get(universe, ()), beside.calendars)
    if cut is None:
        return None
    own, rows = cut
    is_real = paths.scenario.type in REAL_TYPES
    through = own.dates[-1] if is_real else own.dates[own.first_scored - 1]
    return replace(
        own,
        risk_free=cash_returns(own.dates, beside.rates, paths.rate_shift[rows]),
        spreads=paths.spread_multiplier[rows],
        regimes=states_on(own.dates, beside.regimes.get(universe), through) if is_real else None,
    )


def with_positions(result: BacktestResult, history: PriceHistory) -> pd.DataFrame:
    """The equity table with `positions_value`: exposure less twice the shorts, which trades and closes tell.

    At the end everything is closed: 0. SuspiciousDataError where cash and positions do not make the equity.
    """
    table = result.equity
    exposure = table["exposure"].to_numpy(dtype=np.float64)
    value = exposure - 2.0 * _shorts(result.trades, history, table["date"].to_numpy(dtype="datetime64[D]"))
    if len(value):
        value[-1] = 0.0
    equity, cash = (table[name].to_numpy(dtype=np.float64) for name in ("equity", "cash"))
    scale = np.maximum(np.maximum(np.abs(equity), np.abs(cash)), np.maximum(np.abs(value), 1.0))
    apart = np.abs(equity - cash - value) > SLACK * scale
    if apart.any():
        row = int(apart.argmax())
        raise SuspiciousDataError(
            f"{result.strategy_id} in scenario {result.scenario_id[:10]}: equity {equity[row]} on "
            f"{table['date'].iloc[row]} is not cash {cash[row]} and positions {value[row]}"
        )
    return table.assign(positions_value=value)


def _shorts(
    trades: pd.DataFrame, history: PriceHistory, dates: "np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]"
) -> Vector:
    """Value of shorts at every mark, from round trips and last known closes."""
    value = np.zeros(len(dates))
    shorts = trades[trades["side"] == "short"]
    if shorts.empty:
        return value
    closes = pd.DataFrame(history.close).ffill().to_numpy()[history.n_bars - len(dates) :]
    for one in shorts.to_dict("records"):
        is_open = (dates >= np.datetime64(one["entry_date"], "D")) & (dates < np.datetime64(one["exit_date"], "D"))
        value[is_open] += one["quantity"] * closes[is_open, history.instruments.index(one["instrument_id"])]
    return value
