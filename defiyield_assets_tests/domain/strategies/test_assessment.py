"""One scenario with all strategies: the parts of universes, spreads of single bars, and paths that are no longer those.

Not here: a single backtest (test_fills.py), scenarios (tests of domain/market/scenarios), the tables.
"""

from dataclasses import replace

import numpy as np
import pytest

from defiyield_assets.domain.strategies.assessment import real_columns, takes_part
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.metrics import returns_of
from defiyield_assets.domain.strategies.runs import run
from defiyield_assets.domain.strategies.universes import MarketStates, Rates, cash_returns, of_universe, states_on
from defiyield_assets_tests.domain.strategies.histories import hand_written, random_walk, strategy_of

TWICE = """
id: twice
version: 1
universe: x
sizing: {method: fixed, share: 1.0}
rules:
  - side: long
    enter: {all: [{col: sma_10, op: gt, value: 0}]}
    exit: {any: [{bars_held: 1}]}
"""
ABOVE = """
id: above
version: 1
universe: all
sizing: {method: equal}
rules: [{enter: {col: close, op: gt, ref: sma_10}, exit: {col: close, op: lt, ref: sma_10}}]
"""
RANKED = ABOVE.replace("{col: close, op: gt, ref: sma_10}", "{col: rank_return_20, op: gt, value: 0.5}")
NAMED = """
id: named
version: 1
universe: all
type: allocation
weights: {"crypto:A": 0.6, "crypto:B": 0.4}
"""
FLAT = [(100.0, 101.0, 99.0, 100.0)] * 6


def test_a_wider_spread_costs_only_on_its_own_bars() -> None:
    told = hand_written(FLAT, sma_10=[1.0, -1.0, -1.0, 1.0, -1.0, -1.0])
    costs = CostModel(fee=0.0, half_spread=0.001)
    wide = replace(told, spreads=np.array([1.0, 1.0, 1.0, 1.0, 5.0, 1.0]))
    usual, widened = (run(strategy_of(TWICE), one, costs, Account()).trades for one in (told, wide))
    assert len(usual) == len(widened) == 2
    assert widened["entry_price"].tolist() == pytest.approx([100.1, 100.5]), "the second entry is on the frozen bar"
    assert widened["exit_price"].tolist() == usual["exit_price"].tolist() == pytest.approx([99.9, 99.9])


@pytest.mark.parametrize("spreads", [[1.0] * 5, [1.0] * 5 + [np.nan], [1.0] * 5 + [-1.0]])
def test_spreads_that_do_not_fit_are_refused(spreads: list[float]) -> None:
    with pytest.raises(ValueError, match="spreads"):
        replace(hand_written(FLAT), spreads=np.array(spreads))


def test_a_universe_keeps_its_own_days_and_all_that_stands_beside_them() -> None:
    history = random_walk(3, 60, first_scored=20, has_weekends=True)
    beside = np.arange(60.0)
    told = replace(history, risk_free=beside, spreads=beside, regimes=[f"r{row}" for row in range(60)])
    cut = of_universe(told, ["crypto:C0"], {"crypto:C0": "XNYS"})
    assert cut is not None
    own, rows = cut
    assert own.instruments == ("crypto:C0",)
    assert own.is_bar.all()
    assert rows.tolist() == np.flatnonzero(told.is_bar[:, 0]).tolist()
    assert own.periods_per_year == 252.0
    assert own.dates[own.first_scored] >= told.dates[20] > own.dates[own.first_scored - 1]
    for beside_it in (own.risk_free, own.spreads):
        np.testing.assert_array_equal(beside_it, rows)
    assert own.regimes == [f"r{row}" for row in rows]
    np.testing.assert_array_equal(own.features["sma_20"][:, 0], told.features["sma_20"][rows, 0])
    assert of_universe(told, ["crypto:none"], {}) is None


def test_cash_earns_the_rate_known_before_the_bar_for_the_days_between() -> None:
    dates = np.array(["2024-01-05", "2024-01-08", "2024-01-09"], dtype="datetime64[D]")
    rates = Rates(np.array(["2024-01-05", "2024-01-08"], dtype="datetime64[D]"), np.array([0.0365, 0.0730]))
    assert cash_returns(dates, rates, np.zeros(3)).tolist() == pytest.approx([0.0, 0.0003, 0.0002])
    shifted = cash_returns(dates, rates, np.array([0.0, 0.0, 0.05]))
    assert shifted.tolist() == pytest.approx([0.0, 0.0003, 0.0002 + 0.05 / 365.0])
    unknown = Rates(rates.days, np.array([np.nan, np.nan]))
    assert cash_returns(dates, unknown, np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_a_run_is_measured_against_the_rate_of_each_bar_and_the_regime_known_before_it() -> None:
    rates, regimes = np.linspace(1e-4, 2e-4, 120), ["calm"] * 60 + ["rough"] * 60
    told = run(strategy_of(ABOVE), replace(random_walk(1, 120), risk_free=rates, regimes=regimes), cost_factors=())
    steps = returns_of(told.equity["equity"].to_numpy())
    excess = steps - rates[1:]
    assert told.metrics["sharpe"] == pytest.approx(excess.mean() / excess.std(ddof=1) * np.sqrt(365))
    assert told.metrics["regime_return_calm"] == pytest.approx(np.prod(1.0 + steps[:60]) - 1.0)


def test_a_real_window_has_the_features_of_its_days_and_a_generated_path_only_its_own() -> None:
    ranked, named = strategy_of(RANKED), strategy_of(NAMED)
    assert real_columns(ranked) == {"rank_return_20"}
    assert takes_part(ranked, "historical_window", ["crypto:A"])
    assert not takes_part(ranked, "block_bootstrap", ["crypto:A"])
    assert takes_part(named, "block_bootstrap", ["crypto:A", "crypto:B"])
    assert not takes_part(named, "historical_window", ["crypto:A"])
    assert real_columns(strategy_of(ABOVE)) == set()
    assert real_columns(strategy_of(RANKED.replace("rank_return_20", "beta_60"))) == {"beta_60"}


def test_a_state_of_the_market_holds_for_a_week_and_never_comes_early() -> None:
    dates = np.datetime64("2024-01-01") + np.arange(15)
    known = MarketStates(np.array(["2024-01-03"], dtype="datetime64[D]"), ("calm",))
    told = states_on(dates, known, dates[-1])
    assert told == [None, None, *["calm"] * 8, *[None] * 5]
    assert states_on(dates, known, np.datetime64("2024-01-02")) is None
    assert states_on(dates, None, dates[-1]) is None
