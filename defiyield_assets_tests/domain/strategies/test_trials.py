"""Evidence of strategies that stand side by side: what a trial is, and what too little history cannot tell.

Not here: the statistics themselves (test_evidence.py, test_walk_forward.py).
"""

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.strategies.trials import evidence_of, trials_of
from defiyield_assets.errors import SuspiciousDataError

N_BARS = 1_200


def curve(steps: np.ndarray) -> pd.DataFrame:
    """Marks of an account, and of cash whose rate changes a little every day."""
    rates = np.random.default_rng(1).uniform(0.00010, 0.00012, len(steps))
    grown = [np.concatenate([[1.0], np.cumprod(1.0 + one)]) for one in (steps, rates)]
    return pd.DataFrame({"equity": 1e5 * grown[0], "cash_benchmark": 1e5 * grown[1]})


def drawn(seed: int, mean: float = 0.0006) -> pd.DataFrame:
    return curve(np.random.default_rng(seed).normal(mean, 0.01, N_BARS))


def test_a_strategy_that_never_traded_changes_no_hurdle_and_has_no_evidence() -> None:
    curves = {f"s{number}": drawn(number) for number in range(4)}
    with_idle = evidence_of(trials_of({**curves, "idle": curve(np.zeros(N_BARS))}, 365.0), 5).set_index("strategy_id")
    assert pd.isna(with_idle.loc["idle", "full_history_sharpe"])
    assert pd.isna(with_idle.loc["idle", "deflated_sharpe"])
    hurdles = with_idle["hurdle"].dropna()
    assert hurdles.max() < 10.0, "a Sharpe ratio of minus twenty among the trials would raise it beyond all measure"


def test_more_trials_raise_the_hurdle_and_lower_the_probability() -> None:
    trials = trials_of({f"s{number}": drawn(number) for number in range(4)}, 365.0)
    few, many = (evidence_of(trials, n).set_index("strategy_id") for n in (4, 400))
    assert (many["hurdle"] > few["hurdle"]).all()
    assert (many["deflated_sharpe"] < few["deflated_sharpe"]).all()
    assert (many["n_trials"] == 400).all()


def test_choosing_the_best_so_far_earns_less_than_the_best_in_hindsight_when_nothing_lasts() -> None:
    """Worthless strategies: what was best in training is chance, and the tests say so."""
    told = evidence_of(trials_of({f"s{number}": drawn(number, mean=0.0) for number in range(12)}, 365.0), 12)
    assert len(set(told["selection_sharpe"])) == 1
    assert told["selection_sharpe"].iloc[0] < told["full_history_sharpe"].max() - 0.25
    one_good = {f"s{number}": drawn(number, mean=-0.002) for number in range(3)} | {"good": drawn(9, mean=0.003)}
    lasting = evidence_of(trials_of(one_good, 365.0), 4).set_index("strategy_id")
    assert lasting.loc["good", "selection_sharpe"] == pytest.approx(lasting.loc["good", "walk_forward_sharpe"])


def test_the_order_of_strategies_changes_nothing() -> None:
    curves = {f"s{number}": drawn(number) for number in range(4)}
    there, back = (evidence_of(trials_of(dict(order), 365.0), 4) for order in (curves.items(), [*curves.items()][::-1]))
    pd.testing.assert_frame_equal(there, back)


def test_a_history_too_short_tells_nothing_but_its_own_ratio() -> None:
    trials = trials_of({name: drawn(number).iloc[:40] for number, name in enumerate("ab")}, 365.0)
    told = evidence_of(trials, 2)
    assert told["full_history_sharpe"].notna().all()
    assert told["walk_forward_sharpe"].isna().all()


def test_curves_of_different_length_are_refused() -> None:
    with pytest.raises(SuspiciousDataError, match="different lengths"):
        trials_of({"a": drawn(1), "b": drawn(2).iloc[:-1]}, 365.0)
