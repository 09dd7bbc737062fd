"""Paper trading day by day gives the trades of a backtest over the same bars, to the bit, from stored text alone."""

from collections.abc import Collection, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.paper.equality import PRICES, compared, first_difference
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.language import CompositeStrategy
from defiyield_assets.domain.strategies.runs import trade_table
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets_tests.domain.paper.days import known_on, signals_by_fall, traded_by_day
from defiyield_assets_tests.domain.strategies.histories import (
    FEATURE_NAMES,
    random_walk,
    recorded_crypto,
    recorded_stocks,
    strategy_of,
    with_features,
)

LEVELS = (
    "{id: levels, version: 1, universe: u, sizing: {method: risk, risk: 0.05, max_position: 0.5}, rules: ["
    "{side: long, enter: {col: close, op: gt, ref: sma_10}, exit: {any: [{col: close, op: lt, ref: sma_20}, "
    "{bars_held: 9}]}, stop: {pct: 0.02}, target: {pct: 0.03}}, "
    "{side: short, enter: {col: close, op: lt, ref: low_10}, exit: {bars_held: 4}, stop: {atr: 1}, "
    "target: {risk_reward: 1.5}}]}"
)
KINDS = {
    "levels": LEVELS,
    "kelly": "{id: kelly, version: 1, universe: u, max_positions: 2, rank: rsi_14, sizing: {method: half_kelly, "
    "min_trades: 4}, rules: [{side: long, enter: {col: close, op: crosses_above, ref: sma_10}, exit: {bars_held: 3}, "
    "stop: {swing: 5}}]}",
    "volatility": "{id: volatility, version: 1, universe: u, sizing: {method: volatility_target, target: 0.3}, rules: "
    "[{side: long, enter: {col: fast, op: gt, ref: sma_20}, exit: {col: fast, op: lt, ref: sma_20}}], indicators: "
    "{fast: {method: ema, bars: 5}}}",
    "weights": "{id: weights, version: 1, universe: u, type: allocation, weights: inverse_volatility, rebalance: "
    "weekly, band: 0.01, volatility_target: 0.4}",
    "once": "{id: once, version: 1, universe: u, type: allocation, weights: equal, rebalance: once}",
    "savings": "{id: savings, version: 1, universe: u, type: accumulation, every: weekly, share: 0.07}",
    "chance": "{id: chance, version: 1, universe: u, type: random, seed: 4, sizing: {method: equal}, "
    "enter_probability: 0.2, exit_probability: 0.2, stop: {pct: 0.03}}",
    "months": "{id: months, version: 1, universe: u, type: time_window, window: {weekdays: [1, 2, 3]}, sizing: "
    "{method: fixed, amount: 5000}}",
    "external": "{id: external, version: 1, universe: u, type: external, signal: 'ai:stub', hold_bars: 6, allow_short: "
    "true, valid_bars: 2, sizing: {method: equal}, stop: {pct: 0.1}}",
}
FRIDAY = 4


def quick_ones(names: Iterable[str], quick: Collection[str]) -> list[Any]:
    """Names as parameters of a test, those that are not quick marked as slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.nightly) for name in names]


DEAR = CostModel(fee=0.002, half_spread=0.001, min_fee=1.0, impact=0.5, borrow=0.2, cash_earns=1.0)


def votes() -> Strategy:
    """A composite of three members, one of which follows signals."""
    members = tuple(strategy_of(KINDS[name]) for name in ("levels", "chance", "external"))
    spec = CompositeStrategy.model_validate(
        {
            **{"id": "votes", "version": 1, "universe": "u", "type": "composite", "vote": "weighted"},
            **{"threshold": 0.3, "sizing": {"method": "equal"}, "stop": {"pct": 0.05}},
            "members": tuple({"strategy": one.strategy_id} for one in members),
        }
    )
    return Strategy(spec, members)


def with_late_listing_and_holes(seed: int, n_bars: int = 130, first_scored: int = 40) -> PriceHistory:
    """Made-up coins: one lists late, one ends early, one has no weekends, days are missing, gaps are masked."""
    walk = random_walk(seed, n_bars, 5, first_scored=first_scored, has_weekends=True)
    columns = {name: walk.column(name).copy() for name in ("open", "high", "low", "close", "volume", "gap_flag")}
    random = np.random.default_rng(seed)
    columns["gap_flag"] = (random.random(walk.close.shape) < 0.05).astype(float)
    columns["close"][:, 2] *= 1.0 + 0.2 * (np.arange(n_bars) % 40 == 25)
    for name, matrix in columns.items():
        nothing = 0.0 if name == "gap_flag" else np.nan
        matrix[: first_scored + 20, 1] = nothing
        matrix[n_bars - 30 :, 3] = nothing
        matrix[[50, 51, 75, 76, 77, 100], 4] = nothing
        matrix[~np.isfinite(columns["close"])] = nothing
    return with_features(walk.instruments, walk.dates, columns, 365.0, FEATURE_NAMES, first_scored)


@pytest.mark.parametrize("name", quick_ones([*KINDS, "votes"], {"levels", "external"}))
def test_every_kind_of_strategy_trades_on_paper_as_in_its_backtest(name: str) -> None:
    """Over late listings, ends, holes, weekends, masked gaps, shorts, margin, impact and interest."""
    strategy = votes() if name == "votes" else strategy_of(KINDS[name])
    n_trades = 0
    for seed, costs in ((1, None), (2, DEAR)):
        history = with_late_listing_and_holes(seed)
        signals = signals_by_fall(history)
        told = known_on(signals) if name in ("external", "votes") else None
        traded = traded_by_day(strategy, history, told, costs, Account(capital=20_000.0))
        comparison = traded.against_backtest(signals)
        assert comparison.first_difference is None
        assert comparison.equity_apart == 0.0
        n_trades += comparison.n_paper + comparison.n_open
    assert n_trades > 4


def test_a_day_without_a_bar_decides_again_by_what_was_learned_since() -> None:
    """Shares have no bars at weekends: what is said of Friday on Saturday only is acted on at Monday's open."""
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-04-01"))
    weekdays = days[pd.DatetimeIndex(days).weekday < 5]
    walk = random_walk(5, len(weekdays), 2, first_scored=10)
    columns = {name: walk.column(name) for name in ("open", "high", "low", "close")}
    history = with_features(["equity:A", "equity:B"], weekdays, columns, 252.0, ("sma_10",), 10)
    signals = signals_by_fall(history, 2)
    strategy = strategy_of(KINDS["external"])
    in_time = known_on(signals)

    def a_day_late_on_fridays(day: date) -> pd.DataFrame:
        known = in_time(day)
        return known[known["actionable_from"].dt.date <= day] if day.weekday() == FRIDAY else known

    traded = traded_by_day(strategy, history, a_day_late_on_fridays, only_bar_days=False)
    assert traded.against_backtest(signals).is_equal
    hasty = traded_by_day(strategy, history, a_day_late_on_fridays, only_bar_days=True)
    assert not hasty.against_backtest(signals).is_equal, "what is learned at weekends makes a difference here"


def test_every_order_names_a_decision_on_a_bar_before_it_and_stops_lie_where_they_belong() -> None:
    history = with_late_listing_and_holes(3)
    for name in ("levels", "chance"):
        traded = traded_by_day(strategy_of(KINDS[name]), history, None, DEAR)
        assert traded.orders
        bars = {day: number for number, day in enumerate(history.dates.tolist())}
        waited = 0
        for order in traded.orders:
            day = order.record.ts.date()
            decided = np.datetime64(order.decided_on, "D").astype(object)
            assert decided < day
            waited += order.decision == "entry" and bars[day] - bars[decided] > 1
            if order.record.status == "filled" and np.isfinite(order.stop):
                assert order.record.price is not None
                side = 1 if order.record.side == "buy" else -1
                assert (float(order.record.price) - order.stop) * side > 0
        if name == "chance":
            assert waited, "orders of instruments without a bar wait, and keep the day of their decision"


@pytest.mark.nightly
def test_the_exchange_never_owes_and_its_balances_are_the_engines() -> None:
    """Asserted at every bar by `require_reconciled`; here that it is not all by default, and that cash is exact."""
    history = with_late_listing_and_holes(4)
    traded = traded_by_day(strategy_of(KINDS["levels"]), history, costs=DEAR)
    account = traded.book.account
    filled = [one.record for one in traded.orders if one.record.status == "filled"]
    paid = sum(record.total if record.side == "buy" else -record.total for record in filled if record.total is not None)
    rounded = account.rounding.get("USD", 0)
    expected = 100_000 - paid + account.financing + rounded + account.written_off
    assert account.balances["USD"] == expected
    assert account.financing != 0
    assert abs(float(account.balances["USD"]) - traded.book.settled.cash) < 1e-6
    assert any(one.kind == "limit" for one in filled), "targets are limit orders"
    assert any(one.record.status == "rejected" for one in traded.orders) or len(filled) > 20


def test_a_change_of_one_trade_is_found() -> None:
    history = with_late_listing_and_holes(1)
    traded = traded_by_day(strategy_of(KINDS["levels"]), history)
    backtest = pd.DataFrame({"rule": [0, 1], "exit_date": history.dates[:2]})
    other = backtest.assign(rule=[0, 2])
    assert (
        first_difference(backtest, other, ("rule", "exit_date")) == "trade 2: rule is 1 on paper and 2 in the backtest"
    )
    assert first_difference(backtest, backtest[:1], ("rule",)) == "2 trades on paper, 1 in the backtest"
    traded.trades = traded.trades[:-1]
    assert not traded.against_backtest().is_equal


def test_what_a_split_restated_is_compared_in_prices_of_today_but_for_rounding() -> None:
    history = with_late_listing_and_holes(1)
    traded = traded_by_day(strategy_of(KINDS["levels"]), history)
    closed = trade_table([one.trade for one in traded.trades], history.instruments)
    ratios = [0.3] * len(closed)
    old = closed.assign(quantity=closed["quantity"] * 0.3, **{name: closed[name] / 0.3 for name in PRICES})
    portfolio, equity = traded.portfolio, traded.book.settled.equity
    assert compared(old, equity, portfolio, history, restated=ratios).is_equal
    assert not compared(old, equity, portfolio, history).is_equal
    assert not compared(old, equity * (1 + 1e-8), portfolio, history, restated=ratios).is_equal
    for name in ("quantity", "exit_price", "pnl", "return", "bars_held"):
        other = old.assign(**{name: old[name] * (1 + 1e-6) + 1e-5})
        assert str(compared(other, equity, portfolio, history, restated=ratios).first_difference).startswith("trade 1")


def test_a_portfolio_is_marked_from_the_day_on_which_it_follows_a_model_that_was_trained_on_that_day() -> None:
    history = random_walk(7, 80, 2, first_scored=20)
    signals = signals_by_fall(history)
    first, cutoff = (history.dates[row].astype(object) for row in (40, 50))
    signals = signals[signals["actionable_from"].dt.date >= first].assign(training_cutoff=cutoff)
    strategy = strategy_of(KINDS["external"])
    days = list(history.dates[20:].astype(object))
    marks = traded_by_day(strategy, history, known_on(signals)).marks
    followed = signals["actionable_from"].min().date() - pd.Timedelta(days=1)
    assert days[marks.index(True)] == followed, "the evening before it could be acted on"
    assert all(marks[marks.index(True) :]), "what it holds rests on that for good"
    honest = signals.assign(training_cutoff=first - pd.Timedelta(days=2))
    assert not any(traded_by_day(strategy, history, known_on(honest)).marks)


def shipped() -> dict[str, Strategy]:
    """The shipped strategies; the follower of a model follows the stub, so that no real model's name is used."""
    found = dict(load_strategies())
    spec = found["historical_ai_signal"].spec.model_copy(update={"signal": "ai:stub"})
    return {**found, "historical_ai_signal": Strategy(spec)}


@pytest.mark.recorded
@pytest.mark.parametrize("name", quick_ones(sorted(load_strategies()), {"turtle", "sixty_forty"}))
def test_every_shipped_strategy_trades_on_paper_as_in_its_backtest_over_recorded_bars(
    name: str, recorded_data: Path
) -> None:
    strategy = shipped()[name]
    read = recorded_stocks if strategy.spec.universe == "us_equities" else recorded_crypto
    history = read(recorded_data, 300, 270)
    signals = signals_by_fall(history)
    told = known_on(signals) if name == "historical_ai_signal" else None
    comparison = traded_by_day(strategy, history, told).against_backtest(signals)
    assert comparison.is_equal, comparison


@pytest.mark.nightly
@pytest.mark.recorded
@pytest.mark.parametrize("name", sorted(load_strategies()))
def test_the_same_holds_over_years(name: str, recorded_data: Path) -> None:
    strategy = shipped()[name]
    read = recorded_stocks if strategy.spec.universe == "us_equities" else recorded_crypto
    history = read(recorded_data, 600, 270)
    signals = signals_by_fall(history)
    told = known_on(signals) if name == "historical_ai_signal" else None
    comparison = traded_by_day(strategy, history, told).against_backtest(signals)
    assert comparison.is_equal, comparison
    assert comparison.n_paper + comparison.n_open > 0
