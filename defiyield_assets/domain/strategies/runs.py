"""One backtest: a strategy over a history by the engine, its figures, benchmarks and what costs do to it.

Lives here: `run`, the key of a run, tables of trades and equity. Not here: the rules of a bar (engine.py), figures
(metrics.py), many variants at once (screen.py), scenarios and ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.strategies.bars import PriceHistory, Vector
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import ENGINE_VERSION, Terms, close_out, step
from defiyield_assets.domain.strategies.language import AllocationStrategy
from defiyield_assets.domain.strategies.metrics import (
    Figures,
    beta,
    curve_figures,
    drawdowns,
    finite,
    regime_figures,
    returns_of,
    trade_figures,
)
from defiyield_assets.domain.strategies.plans import Plan, first_row, plan
from defiyield_assets.domain.strategies.state import Bar, Fill, Refusal, State, Trade, opening_state
from defiyield_assets.domain.strategies.strategy import Strategy

COST_FACTORS = (0.0, 1.0, 2.0)
TRADE_COLUMNS = (
    *("instrument_id", "rule", "side", "quantity", "entry_date", "entry_price", "exit_date", "exit_price"),
    *("entry_fee", "exit_fee", "borrow_cost", "bars_held", "exit_reason", "pnl", "return"),
)
GRID_FIGURES = ("total_return", "annualised_return", "sharpe", "max_drawdown", "n_trades")


@dataclass(frozen=True)
class Simulation:
    """What the engine did from the first deciding bar on.

    `dates`, `equity`, `cash`, `exposure` (m,): at each mark, the first before anything was filled (the capital), the
    last after what was open had been closed.
    """

    dates: np.ndarray[tuple[int, ...], np.dtype[np.datetime64]]
    equity: Vector
    cash: Vector
    exposure: Vector
    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    refusals: tuple[Refusal, ...]
    last_state: State


@dataclass(frozen=True)
class Benchmarks:
    """Buy-and-hold of all instruments by the same engine and costs, and cash at the risk-free rate: equity (m,)."""

    buy_and_hold: Vector
    cash: Vector


@dataclass(frozen=True)
class BacktestResult:
    """A run. `metrics`: figure -> value, None unknown; `cost_grid`: one row per factor of the costs.

    `equity`: date, step (0: the capital before the first scored bar), equity, cash, exposure, drawdown, buy_and_hold,
    cash_benchmark. `refusals`: reason -> orders that were not filled. `is_in_sample`: a model whose signals it
    followed was trained on the time of a bar that it spoke of.
    """

    run_key: str
    strategy_id: str
    strategy_hash: str
    scenario_id: str
    trades: pd.DataFrame
    equity: pd.DataFrame
    metrics: Figures
    cost_grid: pd.DataFrame
    refusals: dict[str, int] = field(default_factory=dict)
    is_in_sample: bool = False


def run_key(strategy_hash: str, scenario_id: str, costs: CostModel, account: Account) -> str:
    """SHA-256 of everything that a run depends on."""
    return content_hash(
        {
            "strategy": strategy_hash,
            "scenario": scenario_id,
            "costs": asdict(costs),
            "account": asdict(account),
            "engine": ENGINE_VERSION,
        }
    )


def bars_of(history: PriceHistory) -> list[Bar]:
    """A history as the engine takes it."""
    days = history.dates.astype("datetime64[D]").astype(np.int64).tolist()
    columns = [one.tolist() for one in (history.open, history.high, history.low, history.close, history.gap_flag)]
    rates = [0.0] * len(days) if history.risk_free is None else history.risk_free.tolist()
    spreads = [1.0] * len(days) if history.spreads is None else history.spreads.tolist()
    return [Bar(*row) for row in zip(days, *columns, rates, spreads, strict=True)]


def simulate(made: Plan, history: PriceHistory, terms: Terms, bars: Sequence[Bar] | None = None) -> Simulation:
    """Step through a history by a plan; `bars`: of the history, where they are at hand."""
    steps = (bars_of(history) if bars is None else bars)[made.start :]
    state = opening_state(terms.account.capital, len(history.instruments))
    fills: list[Fill] = []
    trades: list[Trade] = []
    refusals: list[Refusal] = []
    curve = np.empty((len(steps), 3))
    for number, bar in enumerate(steps):
        done = step(state, bar, made.at(made.start + number), terms)
        state = done.state
        curve[number] = (state.equity, state.cash, state.exposure)
        fills += done.fills
        trades += done.trades
        refusals += done.refusals
    if len(steps):
        done = close_out(state, terms)
        fills += done.fills
        trades += done.trades
        curve[-1, :2] = done.state.equity
    return Simulation(
        history.dates[made.start :],
        curve[:, 0].copy(),
        curve[:, 1].copy(),
        curve[:, 2].copy(),
        tuple(fills),
        tuple(trades),
        tuple(refusals),
        state,
    )


def terms_of(made: Plan, history: PriceHistory, costs: CostModel, account: Account) -> Terms:
    """What the engine is asked for a plan."""
    places = made.max_positions if made.max_positions is not None else len(history.instruments)
    return Terms(costs, account, made.sizing, max(places, 1), made.max_positions, made.band)


def benchmarks(history: PriceHistory, costs: CostModel | None = None, account: Account | None = None) -> Benchmarks:
    """What every run over a history is measured by."""
    costs, account = costs or CostModel(), account or Account()
    spec = AllocationStrategy(
        id="buy_and_hold", version=1, universe="all", type="allocation", weights="equal", rebalance="once"
    )
    made = plan(Strategy(spec), history)
    held = simulate(made, history, terms_of(made, history, costs, account))
    growth = np.concatenate([[1.0], np.cumprod(1.0 + _risk_free(history))])
    return Benchmarks(held.equity, account.capital * growth)


def run(
    strategy: Strategy,
    history: PriceHistory,
    costs: CostModel | None = None,
    account: Account | None = None,
    *,
    scenario_id: str = "",
    signals: pd.DataFrame | None = None,
    beside: Benchmarks | None = None,
    cost_factors: Sequence[float] = COST_FACTORS,
) -> BacktestResult:
    """Backtest a strategy: once at the costs, and once at each factor of them.

    `beside`: benchmarks of the same history, costs and account, where they are at hand. ValueError for a history
    without a bar to score.
    """
    costs, account = costs or CostModel(), account or Account()
    if history.n_bars - first_row(history) < 2:
        raise ValueError("a history needs a bar to decide on and one to trade at")
    made, bars = plan(strategy, history, signals), bars_of(history)
    known = beside if beside is not None else benchmarks(history, costs, account)
    ran = {}
    for factor in dict.fromkeys((1.0, *cost_factors)):
        terms = terms_of(made, history, costs.scaled(factor), account)
        ran[factor] = simulate(made, history, terms, bars)
    main = ran[1.0]
    grid = [_grid_row(factor, ran[factor], history) for factor in cost_factors]
    return BacktestResult(
        run_key(strategy.content_hash, scenario_id, costs, account),
        strategy.strategy_id,
        strategy.content_hash,
        scenario_id,
        trade_table(main.trades, history.instruments),
        _equity_table(main, known),
        figures_of(main, known, history),
        pd.DataFrame(grid, columns=["cost_factor", *GRID_FIGURES]),
        _counted(main.refusals),
        made.is_in_sample,
    )


def figures_of(ran: Simulation, beside: Benchmarks, history: PriceHistory) -> Figures:
    """All figures of a run."""
    rates, steps = _risk_free(history), returns_of(ran.equity)
    held = curve_figures(beside.buy_and_hold, rates, history.periods_per_year)
    found = curve_figures(ran.equity, rates, history.periods_per_year) | trade_figures(ran.trades)
    total, benchmark = found["total_return"], held["total_return"]
    traded = sum(one.quantity * one.price for one in ran.fills)
    found |= {
        "beta": beta(steps, returns_of(beside.buy_and_hold)),
        "time_in_market": float(np.mean(ran.exposure[1:] > 0)) if len(steps) else None,
        "mean_exposure": float(np.mean(_exposure_share(ran)[1:])) if len(steps) else None,
        "fees": sum(one.fee for one in ran.fills),
        "borrow_cost": sum(one.borrowed for one in ran.trades),
        "turnover": traded / float(np.mean(ran.equity)) if float(np.mean(ran.equity)) > 0 else None,
        "buy_and_hold_return": benchmark,
        "buy_and_hold_sharpe": held["sharpe"],
        "cash_return": float(beside.cash[-1] / beside.cash[0] - 1.0),
        "excess_return": None if total is None or benchmark is None else total - benchmark,
    }
    if history.regimes is not None:
        known = list(history.regimes[first_row(history) : history.n_bars - 1])
        found |= regime_figures(steps, rates, known, history.periods_per_year)
    return finite(found)


def _exposure_share(ran: Simulation) -> Vector:
    """Exposure as a share of equity."""
    return np.divide(ran.exposure, ran.equity, out=np.zeros_like(ran.equity), where=ran.equity > 0)


def _risk_free(history: PriceHistory) -> Vector:
    """What cash returned on each bar after the first deciding one."""
    n = history.n_bars - first_row(history) - 1
    return np.zeros(n) if history.risk_free is None else np.nan_to_num(history.risk_free[history.n_bars - n :])


def _grid_row(factor: float, ran: Simulation, history: PriceHistory) -> tuple[float | None, ...]:
    found = finite(curve_figures(ran.equity, _risk_free(history), history.periods_per_year) | trade_figures(ran.trades))
    return (factor, *(found[name] for name in GRID_FIGURES))


def _counted(refusals: Sequence[Refusal]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in refusals:
        found[one.reason] = found.get(one.reason, 0) + 1
    return found


def trade_table(trades: Sequence[Trade], instruments: Sequence[str]) -> pd.DataFrame:
    """Round trips in the order in which they were closed."""
    rows = [
        (
            *(instruments[one.instrument], one.rule, "long" if one.side > 0 else "short", one.quantity),
            *(_date(one.entry_day), one.entry_price, _date(one.exit_day), one.exit_price),
            *(one.entry_fee, one.exit_fee, one.borrowed, one.bars_held, one.exit_reason, one.pnl, one.return_),
        )
        for one in trades
    ]
    return pd.DataFrame(rows, columns=list(TRADE_COLUMNS))


def _date(day: int) -> np.datetime64:
    return np.datetime64(day, "D")


def _equity_table(ran: Simulation, beside: Benchmarks) -> pd.DataFrame:
    columns: Mapping[str, object] = {
        "date": ran.dates,
        "step": np.arange(len(ran.dates)),
        "equity": ran.equity,
        "cash": ran.cash,
        "exposure": ran.exposure,
        "drawdown": drawdowns(ran.equity),
        "buy_and_hold": beside.buy_and_hold,
        "cash_benchmark": beside.cash,
    }
    return pd.DataFrame(columns)
