"""The screen of many variants gives what the exact engine gives, and refuses what it does not hold."""

import pytest

from defiyield_assets.domain.strategies.bars import price_history
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.runs import run
from defiyield_assets.domain.strategies.screen import screen
from defiyield_assets_tests.domain.strategies.histories import random_walk, strategy_of

CROSSING = """
id: crossing
version: 1
universe: all
indicators:
  fast: {{method: {method}, bars: {fast}}}
  slow: {{method: sma, bars: {slow}}}
sizing: {{method: fixed, share: 1.0}}
rules:
  - enter: {{col: fast, op: crosses_above, ref: slow, lookback: {lookback}}}
    exit: {{any: [{{col: fast, op: lt, ref: slow}}, {{col: close, op: gt, ref: slow, times: 1.1}}]}}
"""
COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.mark.parametrize("first_scored", [0, 60])
def test_every_figure_is_the_engines_for_that_instrument_alone(first_scored: int) -> None:
    walk = random_walk(9, 260, 3, ())
    bars = {name: walk.column(name) for name in COLUMNS}
    history = price_history(walk.instruments, walk.dates, bars, first_scored=first_scored)
    texts = [
        CROSSING.format(method=method, fast=fast, slow=slow, lookback=lookback)
        for method, fast, slow, lookback in (("sma", 3, 10, 1), ("ema", 5, 20, 2), ("sma", 8, 40, 3))
    ]
    strategies = [strategy_of(text) for text in texts]
    found = screen(strategies, history, CostModel(), Account(50_000.0))
    assert len(found) == 9
    assert found["n_trades"].min() >= 2
    for row in found.to_dict("records"):
        column = history.instruments.index(row["instrument_id"])
        own = {name: matrix[:, [column]] for name, matrix in bars.items()}
        alone = price_history([row["instrument_id"]], history.dates, own, first_scored=first_scored)
        exact = run(strategies[row["strategy"]], alone, CostModel(), Account(50_000.0), cost_factors=())
        assert row["final_equity"] == exact.equity["equity"].iloc[-1]
        assert row["max_drawdown"] == pytest.approx(exact.metrics["max_drawdown"], rel=1e-12)
        assert row["sharpe"] == pytest.approx(exact.metrics["sharpe"], rel=1e-9)
        assert row["n_trades"] == exact.metrics["n_trades"]
        assert row["win_rate"] == exact.metrics["win_rate"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    exit:", "    stop: {pct: 0.1}\n    exit:", "without stop"),
        ("share: 1.0", "share: 0.5", "all of an account"),
        ("  - enter:", "  - side: short\n    enter:", "one long rule"),
        ("{any: [", "{any: [{bars_held: 3}, ", "no age"),
    ],
)
def test_what_a_screen_does_not_hold_is_refused(old: str, new: str, words: str) -> None:
    text = CROSSING.format(method="sma", fast=3, slow=10, lookback=1).replace(old, new)
    walk = random_walk(9, 60, 1, ())
    history = price_history(walk.instruments, walk.dates, {name: walk.column(name) for name in COLUMNS})
    with pytest.raises(ValueError, match=words):
        screen([strategy_of(text)], history)


def test_a_history_with_a_masked_gap_is_refused() -> None:
    walk = random_walk(9, 300, 2, ())
    assert walk.gap_flag.any()
    with pytest.raises(ValueError, match="hides a gap"):
        screen([strategy_of(CROSSING.format(method="sma", fast=3, slow=10, lookback=1))], walk)
