"""What holds of every run: cash, accounts, causality, costs, and that steps are the whole of a backtest."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import step
from defiyield_assets.domain.strategies.plans import plan
from defiyield_assets.domain.strategies.runs import bars_of, run, simulate, terms_of
from defiyield_assets.domain.strategies.state import opening_state
from defiyield_assets.domain.strategies.state_codec import state_of, state_text
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets_tests.domain.strategies.histories import random_walk, strategy_of

NAMES = ("sma_10", "sma_20", "rsi_14", "atr_14", "low_10", "high_20", "realised_vol_20", "return_20")
MIXED = """
id: mixed
version: 1
universe: all
sizing: {method: risk, risk: 0.05, max_position: 0.6}
rules:
  - side: long
    enter: {col: close, op: gt, ref: high_20}
    exit: {any: [{col: close, op: lt, ref: low_10}, {bars_held: 15}]}
    stop: {atr: 1.5}
    target: {risk_reward: 2}
  - side: short
    enter: {col: rsi_14, op: gt, value: 65, lookback: 3}
    exit: {col: rsi_14, op: lt, value: 45}
    stop: {swing: 5}
"""
MOMENTUM = """
id: moved
version: 1
universe: all
type: allocation
rank: return_20
top: 2
volatility_target: 0.4
rebalance: weekly
"""
CHANCE = """
id: chance
version: 1
universe: all
type: random
seed: 5
sizing: {method: half_kelly, min_trades: 5, cap: 0.5, start: 0.2}
stop: {pct: 0.04}
"""
SAVING = """
id: saved
version: 1
universe: all
type: accumulation
every: weekly
share: 0.05
"""
SEASON = """
id: season
version: 1
universe: all
type: time_window
window: {weekdays: [1, 2, 3]}
sizing: {method: volatility_target, target: 0.3}
target: {pct: 0.02}
"""
ALL = (MIXED, MOMENTUM, CHANCE, SAVING, SEASON)
COSTS = CostModel(borrow=0.2, min_fee=1.0, impact=0.1)
QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _history(seed: int) -> PriceHistory:
    """Every other one has an instrument that rests at weekends."""
    return random_walk(seed, 160, 3, NAMES, first_scored=40, has_weekends=seed % 2 == 1)


@QUICK
@given(seed=st.integers(0, 10_000), text=st.sampled_from(ALL))
def test_cash_is_never_negative_and_equity_is_cash_and_positions(seed: int, text: str) -> None:
    history, strategy = _history(seed), strategy_of(text)
    made = plan(strategy, history)
    terms = terms_of(made, history, COSTS, Account(50_000.0))
    state = opening_state(50_000.0, 3)
    booked = 50_000.0
    for row, bar in enumerate(bars_of(history)):
        before = state
        done = step(state, bar, made.at(row), terms)
        state = done.state
        assert state.cash >= 0.0
        held = sum(one.side * one.quantity * state.marks[one.instrument] for one in state.positions)
        assert state.equity == pytest.approx(state.cash + held)
        flow = sum((-1 if one.is_buy else 1) * one.quantity * one.price - one.fee for one in done.fills)
        borrowed = sum(one.borrowed for one in done.trades) + sum(one.borrowed for one in state.positions)
        borrowed -= sum(one.borrowed for one in before.positions)
        booked += flow - borrowed
        assert state.cash == pytest.approx(booked, abs=1e-5), "cash is what fills and borrowing made of it"


@QUICK
@given(seed=st.integers(0, 10_000), cut=st.integers(60, 150), text=st.sampled_from(ALL))
def test_nothing_after_a_bar_changes_a_fill_at_or_before_it(seed: int, cut: int, text: str) -> None:
    history, strategy = _history(seed), strategy_of(text)
    noise = np.random.default_rng(seed + 1)
    changed = {}
    for name in ("open", "high", "low", "close", "volume"):
        matrix = history.column(name).copy()
        matrix[cut:] *= np.exp(noise.normal(0.0, 0.5, matrix[cut:].shape))
        changed[name] = matrix
    changed["high"] = np.maximum.reduce([changed[name] for name in ("open", "high", "low", "close")])
    changed["low"] = np.minimum.reduce([changed[name] for name in ("open", "high", "low", "close")])
    features = {name: matrix.copy() for name, matrix in history.features.items()}
    for matrix in features.values():
        matrix[cut:] *= np.exp(noise.normal(0.0, 0.5, matrix[cut:].shape))
    other = replace(history, **changed, features=features)
    last = int(history.dates[cut - 1].astype(np.int64))
    told = []
    for one in (history, other, history.until(cut)):
        made = plan(strategy, one)
        ran = simulate(made, one, terms_of(made, one, COSTS, Account()))
        told.append([fill for fill in ran.fills if fill.day <= last and fill.reason != "end"])
    assert told[0] == told[1] == told[2]


@QUICK
@given(seed=st.integers(0, 10_000))
def test_no_trade_is_before_its_signal(seed: int) -> None:
    history, strategy = _history(seed), strategy_of(MIXED)
    made = plan(strategy, history)
    result = run(strategy, history, COSTS, cost_factors=())
    rows = {date: row for row, date in enumerate(history.dates)}
    for trade in result.trades.to_dict("records"):
        row = rows[np.datetime64(trade["entry_date"], "D")]
        column = history.instruments.index(trade["instrument_id"])
        before = np.flatnonzero(history.is_bar[:row, column])[-1]
        assert made.rules[trade["rule"]].enter[before, column], "decided on the instrument's bar before"
        assert row > 39, "no trade within the warm-up"


@QUICK
@given(seed=st.integers(0, 10_000), factors=st.tuples(st.floats(0, 5), st.floats(0, 5)))
def test_more_costs_never_leave_more_money(seed: int, factors: tuple[float, float]) -> None:
    history = random_walk(seed, 160, 1, NAMES, first_scored=40)
    text = MIXED.split("    stop: {atr", maxsplit=1)[0]
    text = text.replace("{method: risk, risk: 0.05, max_position: 0.6}", "{method: fixed, share: 0.5}")
    strategy = strategy_of(text)
    costs = CostModel(borrow=0.1)
    ends = [
        run(strategy, history, costs.scaled(factor), cost_factors=()).equity["equity"].iloc[-1]
        for factor in sorted(factors)
    ]
    assert ends[1] <= ends[0] * (1 + 1e-12)


@QUICK
@given(price=st.floats(0.01, 1e5), factors=st.tuples(st.floats(0, 10), st.floats(0, 10)))
def test_prices_and_fees_rise_with_the_factor_of_costs(price: float, factors: tuple[float, float]) -> None:
    low, high = (CostModel(min_fee=1.0).scaled(factor) for factor in sorted(factors))
    assert low.price(price, is_buy=True) <= high.price(price, is_buy=True)
    assert low.price(price, is_buy=False) >= high.price(price, is_buy=False)
    assert low.fee_of(price) <= high.fee_of(price)


def test_bars_one_by_one_from_a_stored_state_make_the_same_trades_as_the_backtest() -> None:
    history, strategy = _history(3), strategy_of(MIXED)
    made = plan(strategy, history)
    terms = terms_of(made, history, COSTS, Account())
    whole = simulate(made, history, terms)
    text, fills = state_text(opening_state(terms.account.capital, 3)), []
    for row in range(made.start, history.n_bars):
        known = history.until(row + 1)
        done = step(state_of(text), bars_of(known)[-1], plan(strategy, known).at(row), terms)
        text = state_text(done.state)
        fills += done.fills
    assert fills == [one for one in whole.fills if one.reason != "end"]
    assert len(fills) > 10
    assert state_text(state_of(text)) == text == state_text(whole.last_state)


def test_a_text_that_is_no_state_is_refused() -> None:
    with pytest.raises(SuspiciousDataError, match="no state"):
        state_of('{"cash": 1}')
    with pytest.raises(SuspiciousDataError, match="no state"):
        state_of("nothing")


def test_the_same_seed_draws_the_same_whatever_history_it_is_drawn_on() -> None:
    history, strategy = _history(4), Strategy(strategy_of(CHANCE).spec)
    whole, part = plan(strategy, history), plan(strategy, history.until(100))
    assert np.array_equal(whole.rules[0].enter[:100], part.rules[0].enter)
    assert whole.rules[0].enter.any()
