"""Every shipped strategy trades on recorded data, and none is another one in disguise."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.external import signal_frame
from defiyield_assets.domain.strategies.runs import benchmarks, run
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets_tests.domain.strategies.histories import recorded_crypto, recorded_stocks

pytestmark = pytest.mark.recorded


def _signals(history: PriceHistory) -> pd.DataFrame:
    """Stub signals (no model said them): BUY after five falling bars, SELL after five rising ones."""
    rows = []
    for column, name in enumerate(history.instruments):
        close = history.close[:, column]
        for row in range(252, history.n_bars, 5):
            change = close[row] / close[row - 5] - 1.0
            if np.isfinite(change):
                side = "BUY" if change < 0 else "SELL"
                at = f"{history.dates[row] + np.timedelta64(1, 'D')}T00:00:00"
                rows.append((name, "ai:stub", at, side, 0.7, close[row] * 0.9, close[row] * 1.2, None))
    return signal_frame(row if row[3] == "BUY" else (*row[:5], None, None, None) for row in rows)


def _of_stub() -> Strategy:
    """The shipped follower of a model, told to follow the stub: no real model's name is put to made-up signals."""
    spec = load_strategies()["historical_ai_signal"].spec
    return Strategy(spec.model_copy(update={"signal": "ai:stub"}))


def test_every_shipped_strategy_trades_and_no_two_have_the_same_curve(recorded_data: Path) -> None:
    histories = [recorded_crypto(recorded_data, 700), recorded_stocks(recorded_data, 700)]
    beside = [(one, _signals(one), benchmarks(one)) for one in histories]
    curves: dict[str, bytes] = {}
    strategies = {**load_strategies(), "historical_ai_signal": _of_stub()}
    traded = dict.fromkeys(strategies, 0)
    for name, strategy in strategies.items():
        parts = []
        for history, signals, held in beside:
            result = run(strategy, history, signals=signals, beside=held, cost_factors=())
            traded[name] += len(result.trades)
            assert result.equity["cash"].min() >= 0.0, name
            parts.append(result.equity["equity"].to_numpy().tobytes())
        curves[name] = b"".join(parts)
    assert [name for name, n in traded.items() if n == 0] == []
    assert len(set(curves.values())) == len(curves)


def test_a_run_is_complete_and_known_by_its_key(recorded_data: Path) -> None:
    history, strategies = recorded_crypto(recorded_data, 700), load_strategies()
    result = run(strategies["sma_cross"], history, scenario_id="s")
    assert result.cost_grid["cost_factor"].tolist() == [0.0, 1.0, 2.0]
    assert result.cost_grid["total_return"].is_monotonic_decreasing
    assert result.cost_grid["total_return"].iloc[1] == result.metrics["total_return"]
    assert result.metrics["total_return"] == pytest.approx(result.trades["pnl"].sum() / 100_000.0)
    assert result.equity["step"].tolist() == list(range(449))
    assert result.equity["equity"].iloc[0] == 100_000.0
    again = run(strategies["sma_cross"], history, scenario_id="s")
    assert again.run_key == result.run_key
    assert again.trades.equals(result.trades)
    assert run(strategies["sma_cross"], history, scenario_id="t", cost_factors=()).run_key != result.run_key
    held = run(strategies["buy_and_hold"], history, cost_factors=())
    assert held.metrics["excess_return"] == pytest.approx(0.0, abs=1e-12)
    assert held.metrics["beta"] == pytest.approx(1.0)
