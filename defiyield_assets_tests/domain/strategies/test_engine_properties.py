"""What holds of every run: cash, accounts, causality, costs, and that steps are the whole of a backtest."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.strategies.bars import PriceHistory, price_history
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import close_out, step
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
        booked += flow - borrowed + done.unpaid
        assert state.cash == pytest.approx(booked, abs=1e-5), "cash is what fills and borrowing made of it"


LEVERED = """
id: levered
version: 1
universe: all
sizing: {{method: fixed, share: {share}}}
rules:
  - {{side: short, enter: {{col: is_short, op: eq, value: 1}}, exit: {{bars_held: 8}}{stop}}}
  - {{side: long, enter: {{col: is_long, op: eq, value: 1}}, exit: {{bars_held: 12}}}}
"""
DEAR = CostModel(fee=0.002, half_spread=0.002, min_fee=2.0, borrow=3.0)


def _leaping(seed: int, n_bars: int = 80) -> PriceHistory:
    """Three instruments of which one or another doubles or more every few days, bought and shorted by chance.

    The first rests at weekends; some bars are masked gaps, some have a close alone.
    """
    rng = np.random.default_rng(seed)
    shape = (n_bars, 3)
    leaps = np.where(rng.random(shape) < 0.03, rng.uniform(0.5, 2.5, shape), 0.0)
    close = 100.0 * np.exp(np.cumsum(rng.normal(-0.01, 0.05, shape) + leaps, axis=0))
    opened = close * np.exp(rng.normal(0.0, 0.03, shape))
    high, low = np.maximum(opened, close) * 1.05, np.minimum(opened, close) * 0.95
    is_alone = rng.random(shape) < 0.1
    columns = {name: np.where(is_alone, np.nan, one) for name, one in (("open", opened), ("high", high), ("low", low))}
    columns |= {"close": close, "gap_flag": (rng.random(shape) < 0.05).astype(float)}
    dates = np.datetime64("2024-01-01") + np.arange(n_bars)
    rests = (dates.astype(int) + 3) % 7 >= 5
    for name in ("open", "high", "low", "close"):
        columns[name] = columns[name].copy()
        columns[name][rests, 0] = np.nan
    columns["gap_flag"][rests, 0] = 0.0
    flags = {name: (rng.random(shape) < 0.15).astype(float) for name in ("is_short", "is_long")}
    return price_history(["a", "b", "c"], dates, columns, flags)


def _audited(seed: int, share: float, stop: str, costs: CostModel, *, whole_units: bool) -> tuple[float, int]:
    """Compare a run with a ledger that knows its fills alone; what stayed unpaid, and longs sold to pay for shorts.

    The ledger: units held and units short, and cash, which may go below 0; borrowing by what was short over each night.
    Every bar the state goes through its text, as paper trading carries it.
    """
    history, capital = _leaping(seed), 10_000.0
    made = plan(strategy_of(LEVERED.format(share=share, stop=stop)), history)
    terms = terms_of(made, history, costs, Account(capital, whole_units=whole_units))
    state, cash, marks = opening_state(capital, 3), capital, np.full(3, np.nan)
    held, short = np.zeros(3), np.zeros(3)
    unpaid, earned, is_over, n_longs, last = 0.0, 0.0, False, 0, None
    for row, bar in enumerate(bars_of(history)):
        done = step(state_of(state_text(state)), bar, made.at(row), terms)
        state = done.state
        nights = 0 if last is None else bar.day - last
        cash -= float(np.nansum(short * marks)) * costs.borrow * nights / 365.0
        for fill in done.fills:
            is_opening = fill.reason == "entry"
            own = held if fill.is_buy == is_opening else short
            own[fill.instrument] += fill.quantity if is_opening else -fill.quantity
            cash -= fill.quantity * fill.price * (1 if fill.is_buy else -1) + fill.fee
        marks, last = np.where(np.isnan(bar.close), marks, bar.close), bar.day
        unpaid += done.unpaid
        earned += sum(one.pnl for one in done.trades)
        n_longs += sum(one.side > 0 and one.exit_reason == "margin" for one in done.trades)
        worth = cash + float(np.nansum((held - short) * marks))
        assert not (is_over and done.fills), "nothing is traded after ruin"
        assert state.cash >= 0.0
        assert done.unpaid == 0.0 or state.equity == 0.0, "lenders lose only where the account has nothing left"
        assert state.equity == pytest.approx(max(worth, 0.0), abs=1e-5)
        assert state.equity > 0.0 or state.is_ruined
        is_over = state.is_ruined
    done = close_out(state, terms)
    unpaid += done.unpaid
    cash += sum(one.quantity * one.price * (-1 if one.is_buy else 1) - one.fee for one in done.fills)
    earned += sum(one.pnl for one in done.trades)
    assert done.state.equity == pytest.approx(max(cash, 0.0), abs=1e-5)
    assert unpaid == pytest.approx(max(-cash, 0.0), abs=1e-5), "what the ledger owes is what was told as unpaid"
    assert earned == pytest.approx(cash - capital, abs=1e-4), "trades tell every loss, also what was not paid"
    return unpaid, n_longs


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.05, 1.0),
    stop=st.sampled_from(["", ", stop: {pct: 0.1}", ", stop: {pct: 1.5}, target: {pct: 0.1}"]),
    costs=st.sampled_from([CostModel(0.0, 0.0, borrow=0.0), CostModel(), DEAR]),
    whole_units=st.booleans(),
)
def test_no_run_has_money_that_a_ledger_of_its_fills_has_not(
    seed: int, share: float, stop: str, costs: CostModel, whole_units: bool
) -> None:
    _audited(seed, share, stop, costs, whole_units=whole_units)


def test_the_ledger_has_seen_ruin_and_longs_that_paid_for_shorts_without_ruin() -> None:
    told = [_audited(seed, 0.4, "", DEAR, whole_units=False) for seed in range(40)]
    assert sum(unpaid > 0.0 for unpaid, _ in told) >= 5
    assert sum(unpaid == 0.0 and n_longs > 0 for unpaid, n_longs in told) >= 2


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
