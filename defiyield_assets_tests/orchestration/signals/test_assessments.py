"""Strategies of external signals in an assessment: over real days with stored signals, nowhere else, again when those
change.

Not here: how signals are made (test_making.py), assessments of the others (test_strategy_lab.py).
"""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.config.models import load_models
from defiyield_assets.domain.days import end_of, start_of
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.orchestration.small_lab import COINS, DAYS, LAST, N_DAYS, Lab, runs_told

FOLLOWER = "historical_ai_signal"
TYPE = "ai:llama3.1"
REAL = {"random_window", "historical_window", "regime_window"}


def store_signals(lab: Lab, confidence: float, since: date = DAYS.start) -> None:
    """A BUY of every coin every tenth day from a day on."""
    types = [
        {**{name: getattr(one, name) for name in one.__dataclass_fields__}, "is_configured": True}
        for one in load_models().types()
    ]
    frame = pd.DataFrame(types, columns=schema.signal_types.columns.keys())
    writes.upsert(lab.engine, schema.signal_types, frame)
    bars = reads.read_days(lab.engine, schema.daily_bars, DAYS, {"instrument_id": list(COINS)})
    wanted = {LAST - timedelta(days=back) for back in range(1, N_DAYS, 10)}
    rows = [
        {
            **{
                "instrument_id": bar["instrument_id"],
                "date": bar["date"],
                "bar_ts": pd.Timestamp(start_of(bar["date"])),
            },
            **{"decided_at": pd.Timestamp(end_of(bar["date"])), "actionable_from": pd.Timestamp(end_of(bar["date"]))},
            **{"signal_type": TYPE, "status": "ok", "signal": "BUY", "confidence": confidence, "close": bar["close"]},
            **{"stop_loss_price": bar["close"] * 0.9, "target_price": bar["close"] * 1.2, "prompt_hash": "h"},
            "training_cutoff": LAST,
        }
        for bar in bars.to_dict("records")
        if bar["date"] in wanted and bar["date"] >= since
    ]
    frame = pd.DataFrame(rows, columns=schema.trading_signals.columns.keys())
    writes.replace_slice(lab.engine, schema.trading_signals, frame, DAYS)


@pytest.mark.nightly
def test_a_follower_runs_over_real_days_with_signals_and_again_when_they_change(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.generate()
    first = lab.assess(strategies=[FOLLOWER, "buy_and_hold"])
    results = reads.read_all(lab.engine, schema.backtest_results)
    assert set(results["strategy_id"]) == {"buy_and_hold"}, "without a signal a run would be a flat line"
    events = first.get_asset_materialization_events()
    told = next(one.materialization.metadata for one in events if "backtest_results" in str(one.asset_key))
    assert told["left_out"].value == {FOLLOWER: f"no signal of {TYPE} is stored"}

    scenarios = reads.read_all(lab.engine, schema.scenarios).set_index("scenario_id")
    real = scenarios[scenarios["type"].isin(REAL)]
    since = min(real["ends_on"]) + timedelta(days=1)
    store_signals(lab, 0.9, since)
    lab.assess(strategies=[FOLLOWER])
    results = reads.read_all(lab.engine, schema.backtest_results, {"strategy_id": FOLLOWER})
    assert len(results)
    assert min(scenarios.loc[results["scenario_id"], "ends_on"]) > since
    assert set(real.index[real["ends_on"] < since]).isdisjoint(results["scenario_id"]), "no signal, no flat line"

    store_signals(lab, 0.9)
    lab.assess(strategies=[FOLLOWER])
    results = reads.read_all(lab.engine, schema.backtest_results, {"strategy_id": FOLLOWER})
    types = set(scenarios.loc[results["scenario_id"], "type"])
    assert types
    assert types <= REAL
    assert results["is_in_sample"].astype(bool).all()
    assert np.nansum(results["n_trades"]) > 0
    assert runs_told(lab.assess(strategies=[FOLLOWER])) == (0, len(results)), "the same signals are the same run"

    store_signals(lab, 0.1)  # too unsure for the strategy
    assert runs_told(lab.assess(strategies=[FOLLOWER])) == (len(results), 0), "other signals are another run"
    again = reads.read_all(lab.engine, schema.backtest_results, {"strategy_id": FOLLOWER})
    assert len(again) == len(results), "and take the place of the runs before"
    lab.instance.dispose()
