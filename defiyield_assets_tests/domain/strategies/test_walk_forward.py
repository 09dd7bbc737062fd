"""Tests of walking forward (walk_forward.py)."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.strategies.walk_forward import DEFAULT, Split, WalkForward, splits, walk_forward
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

SMALL = WalkForward(train=40, test=10, embargo=2, least_test=5)


def test_the_default_is_two_years_half_a_year_and_a_week() -> None:
    assert (DEFAULT.train, DEFAULT.test, DEFAULT.embargo, DEFAULT.is_anchored) == (504, 126, 5, False)


def test_splits_roll_on_with_the_embargo_between() -> None:
    assert splits(66, SMALL) == (Split(0, 40, 42, 52), Split(10, 50, 52, 62))
    assert splits(67, SMALL)[-1] == Split(20, 60, 62, 67)
    anchored = splits(66, WalkForward(40, 10, 2, is_anchored=True, least_test=5))
    assert [(one.train_start, one.train_stop) for one in anchored] == [(0, 40), (0, 50)]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 20), st.integers(0, 9), st.booleans(), st.integers(0, 30), st.integers(60, 300)
)
def test_no_split_knows_its_own_test(
    train: int, test: int, embargo: int, anchored: bool, first: int, n_bars: int
) -> None:
    plan = WalkForward(train, test, embargo, anchored, least_test=1)
    if n_bars - first < train + embargo + 1:
        with pytest.raises(SuspiciousDataError, match="cannot be walked forward"):
            splits(n_bars, plan, first)
        return
    made = splits(n_bars, plan, first)
    for split in made:
        assert first <= split.train_start < split.train_stop == split.test_start - embargo
        assert split.train_stop - split.train_start >= train
        assert split.test_start < split.test_stop <= n_bars
    assert all(one.test_stop == later.test_start for one, later in pairwise(made))
    assert made[-1].test_stop == n_bars


def test_the_choice_is_the_best_of_training_and_earns_what_the_test_gave() -> None:
    random = np.random.default_rng(1)
    returns = random.normal(0.0, 0.001, (72, 3))
    returns[:50, 1] += 0.01
    returns[50:, 2] += 0.01
    told = walk_forward(returns, 365.0, SMALL)
    assert told.chosen == (1, 1, 2) or told.chosen[:2] == (1, 1)
    np.testing.assert_array_equal(told.returns[:10], returns[42:52, 1])
    np.testing.assert_array_equal(told.rows, np.arange(42, 72))
    assert told.in_sample[0] > 0.0
    assert told.sharpe == pytest.approx(told.returns.mean() / told.returns.std(ddof=1) * np.sqrt(365.0))


def test_what_comes_later_changes_no_earlier_choice() -> None:
    returns = np.random.default_rng(2).normal(0.0, 0.01, (200, 5))
    first = walk_forward(returns, 252.0, SMALL)
    disturbed = returns.copy()
    disturbed[100:] = np.random.default_rng(3).normal(0.0, 1.0, (100, 5))
    again = walk_forward(disturbed, 252.0, SMALL)
    known = sum(split.train_stop <= 100 for split in first.splits)
    assert known > 2
    assert first.chosen[:known] == again.chosen[:known]


def test_trials_that_never_move_are_not_chosen_and_nothing_is_held() -> None:
    told = walk_forward(np.zeros((80, 2)), 365.0, SMALL)
    assert set(told.chosen) == {-1}
    assert (told.returns == 0.0).all()
    assert told.sharpe is None
    assert told.efficiency is None
    unknown = np.full((80, 2), np.nan)
    unknown[:, 1] = np.random.default_rng(4).normal(0.01, 0.01, 80)
    assert set(walk_forward(unknown, 365.0, SMALL).chosen) == {1}


def test_the_best_of_noise_does_not_earn_out_of_sample() -> None:
    returns = np.random.default_rng(5).normal(0.0, 0.01, (3_000, 50))
    told = walk_forward(returns, 252.0)
    assert np.nanmean(told.in_sample) > 1.0
    assert told.efficiency is not None
    assert abs(told.efficiency) < 0.5


@pytest.mark.parametrize("wrong", [{"train": 0}, {"test": 0}, {"embargo": -1}, {"least_test": 200}])
def test_lengths_that_leave_no_split_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="lengths are positive"):
        WalkForward(**wrong)  # type: ignore[arg-type]
