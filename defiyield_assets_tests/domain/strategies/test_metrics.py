"""Every figure against an independent calculation: by definition in plain Python, or an exact case."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.strategies import metrics
from defiyield_assets.domain.strategies.state import Trade


def _curve(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    equity = 1000.0 * np.concatenate([[1.0], np.cumprod(1.0 + rng.normal(0.0005, 0.01, n))])
    return equity, rng.uniform(0.0, 0.0002, n)


def _trade(pnl: float, bars_held: int = 3) -> Trade:
    return Trade(0, 0, 1, 10.0, 0, 100.0, bars_held, 100.0 + pnl / 10.0, 0.0, 0.0, 0.0, bars_held, "signal", pnl)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_figures_of_a_curve_are_their_definitions(seed: int) -> None:
    equity, rates = _curve(seed)
    told = metrics.curve_figures(equity, rates, 252.0)
    values = equity.tolist()
    steps = [b / a - 1.0 for a, b in pairwise(values)]
    excess = [a - b for a, b in zip(steps, rates.tolist(), strict=True)]
    n, mean = len(steps), math.fsum(excess) / len(steps)
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in excess) / (n - 1))
    downside = math.sqrt(math.fsum(min(x, 0.0) ** 2 for x in excess) / n)
    falls, peak = [], 0.0
    for value in values:
        peak = max(peak, value)
        falls.append(value / peak - 1.0)
    total = values[-1] / values[0] - 1.0
    ordered = sorted(steps)
    place = 0.05 * (n - 1)
    low = ordered[int(place)] + (place % 1) * (ordered[int(place) + 1] - ordered[int(place)])
    annual = (1.0 + total) ** (252.0 / n) - 1.0
    raw_mean = math.fsum(steps) / n
    expected = {
        "total_return": total,
        "annualised_return": annual,
        "volatility": math.sqrt(math.fsum((x - raw_mean) ** 2 for x in steps) / (n - 1)) * math.sqrt(252.0),
        "sharpe": mean / deviation * math.sqrt(252.0),
        "sortino": mean / downside * math.sqrt(252.0),
        "max_drawdown": min(falls),
        "calmar": annual / abs(min(falls)),
        "recovery_factor": total / abs(min(falls)),
        "ulcer_index": math.sqrt(math.fsum(x * x for x in falls) / (n + 1)),
        "omega": math.fsum(max(x, 0.0) for x in excess) / math.fsum(max(-x, 0.0) for x in excess),
        "var_95": -low,
        "cvar_95": -math.fsum(x for x in steps if x <= low) / sum(x <= low for x in steps),
    }
    for name, value in expected.items():
        assert told[name] == pytest.approx(value, rel=1e-9), name


def test_a_year_is_made_of_63_returns_and_more() -> None:
    equity, rates = _curve(1, 62)
    assert metrics.curve_figures(equity, rates, 252.0)["annualised_return"] is None
    assert metrics.curve_figures(equity, rates, 252.0)["calmar"] is None
    equity, rates = _curve(1, 63)
    assert metrics.curve_figures(equity, rates, 252.0)["annualised_return"] is not None


def test_a_curve_that_stands_still_has_no_ratio() -> None:
    told = metrics.curve_figures(np.full(100, 7.0), np.zeros(99), 365.0)
    assert told["total_return"] == told["max_drawdown"] == 0.0
    for name in ("sharpe", "sortino", "calmar", "recovery_factor", "omega", "tail_ratio", "recovery_bars"):
        assert told[name] is None, name


def test_money_that_never_moved_has_no_ratio_whatever_cash_returned() -> None:
    rates = np.random.default_rng(5).uniform(0.00010, 0.00012, 99)
    told = metrics.curve_figures(np.full(100, 7.0), rates, 365.0)
    assert told["sharpe"] is told["sortino"] is told["omega"] is None
    of_calm = metrics.regime_figures(np.zeros(99), rates, ["calm"] * 99, 365.0)
    assert of_calm == {"regime_return_calm": 0.0, "regime_sharpe_calm": None}


def test_few_returns_have_no_tail() -> None:
    equity, rates = _curve(2, 19)
    assert metrics.curve_figures(equity, rates, 252.0)["var_95"] is None


def test_falls_are_counted_from_high_to_high() -> None:
    equity = np.array([100.0, 90.0, 100.0, 110.0, 88.0, 99.0, 110.0, 120.0, 114.0])
    falls = metrics.drawdowns(equity)
    assert metrics.average_drawdown(falls) == pytest.approx(-(0.10 + 0.20 + 0.05) / 3)
    assert metrics.recovery_bars(equity) == 2.0
    assert metrics.curve_figures(equity, np.zeros(8), 252.0)["longest_drawdown_bars"] == 2.0
    assert metrics.recovery_bars(equity[:6]) is None, "it never came back"


def test_figures_of_trades_are_those_worked_out_by_hand() -> None:
    pnl = [100.0, -50.0, 30.0, 20.0, -40.0, -10.0, 60.0, -20.0, 10.0, 50.0]
    told = metrics.trade_figures([_trade(one) for one in pnl])
    assert told["n_trades"] == 10
    assert told["win_rate"] == 0.6
    assert told["profit_factor"] == pytest.approx(270.0 / 120.0)
    assert told["payoff"] == pytest.approx((270.0 / 6) / (120.0 / 4))
    assert told["expectancy"] == pytest.approx(15.0 / 1000.0)
    assert told["kelly"] == pytest.approx(0.6 - 0.4 / 1.5)
    deviation = math.sqrt(math.fsum((one - 15.0) ** 2 for one in pnl) / 9)
    assert told["sqn"] == pytest.approx(math.sqrt(10) * 15.0 / deviation)
    assert told["longest_winning_streak"] == 2
    assert told["longest_losing_streak"] == 2
    assert (told["best_trade"], told["worst_trade"]) == pytest.approx((0.1, -0.05))


def test_sqn_needs_ten_trades_and_ratios_need_losses() -> None:
    told = metrics.trade_figures([_trade(10.0 + one) for one in range(9)])
    assert told["sqn"] is None
    assert told["profit_factor"] is told["payoff"] is told["kelly"] is None
    assert metrics.trade_figures([_trade(10.0 + one) for one in range(10)])["sqn"] is not None
    nothing = metrics.trade_figures([])
    assert nothing["n_trades"] == 0
    assert nothing["win_rate"] is None


def test_beta_of_twice_the_benchmark_is_two() -> None:
    steps = np.random.default_rng(0).normal(0, 0.01, 100)
    assert metrics.beta(2.0 * steps + 0.001, steps) == pytest.approx(2.0)
    assert metrics.beta(steps, np.zeros(100)) is None


def test_regimes_divide_the_returns_and_few_bars_tell_nothing() -> None:
    steps = np.random.default_rng(0).normal(0, 0.01, 60)
    names = ["calm"] * 30 + ["turbulent"] * 19 + [None] * 11
    told = metrics.regime_figures(steps, np.zeros(60), names, 252.0)
    assert told["regime_return_calm"] == pytest.approx(math.prod(1.0 + x for x in steps[:30]) - 1.0)
    own = steps[:30]
    assert told["regime_sharpe_calm"] == pytest.approx(own.mean() / own.std(ddof=1) * math.sqrt(252.0))
    assert told["regime_return_turbulent"] is None
    assert set(told) == {f"regime_{one}_{two}" for one in ("return", "sharpe") for two in ("calm", "turbulent")}


def test_nothing_infinite_is_told() -> None:
    assert metrics.finite({"a": float("inf"), "b": float("nan"), "c": 1.0, "d": None}) == {
        "a": None,
        "b": None,
        "c": 1.0,
        "d": None,
    }
