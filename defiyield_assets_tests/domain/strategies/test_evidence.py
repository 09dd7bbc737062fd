"""The deflated Sharpe ratio and PBO beside published examples and a second implementation (evidence.py)."""

from itertools import combinations
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from defiyield_assets.domain.strategies.evidence import (
    SharpeMoments,
    count_trials,
    deflated_of_trials,
    deflated_sharpe,
    expected_maximum,
    overfitting,
    probabilistic_sharpe,
    sharpe_moments,
)
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

PAPER = SharpeMoments(2.5 / sqrt(250.0), -3.0, 10.0, 1_250)
"""Bailey and Lopez de Prado (2014), "A numerical example": 2.5 a year, five years of days, skewness -3, kurtosis 10."""
PAPER_VARIANCE = 0.5 / 250.0
"""Of the trials' annualised ratios 1/2, so by day."""


def test_the_papers_hurdle_and_deflated_ratio_come_out() -> None:
    told = deflated_sharpe(PAPER, 100, PAPER_VARIANCE)
    assert told.hurdle == pytest.approx(0.1132, abs=5e-5)
    assert told.probability == pytest.approx(0.9004, abs=5e-5)


def test_with_46_trials_the_papers_strategy_is_beyond_95_percent() -> None:
    assert deflated_sharpe(PAPER, 46, PAPER_VARIANCE).probability == pytest.approx(0.9505, abs=5e-5)


def test_with_normal_returns_88_trials_would_do_as_the_paper_says() -> None:
    normal = SharpeMoments(PAPER.sharpe, 0.0, 3.0, PAPER.n_returns)
    assert deflated_sharpe(normal, 88, PAPER_VARIANCE).probability == pytest.approx(0.9505, abs=5e-4)


def test_the_expected_maximum_is_that_of_simulated_trials() -> None:
    draws = np.random.default_rng(1).standard_normal((20_000, 50)).max(axis=1)
    assert expected_maximum(50, 1.0) == pytest.approx(draws.mean(), rel=0.02)
    assert expected_maximum(1, 1.0) == 0.0
    ladder = [expected_maximum(n, 1.0) for n in (1, 2, 5, 10, 100, 1_000)]
    assert ladder == sorted(ladder)


def test_the_probabilistic_ratio_covers_as_often_as_it_says() -> None:
    """Of normal returns with a true ratio equal to the hurdle, the probability is uniform."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(400):
        told = sharpe_moments(random.normal(0.05, 1.0, 500))
        assert told is not None
        found.append(probabilistic_sharpe(told, 0.05))
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_moments_are_scipys_and_unknown_for_what_does_not_move() -> None:
    returns = np.random.default_rng(2).standard_t(5, 300)
    told = sharpe_moments(np.append(returns, np.nan))
    assert told is not None
    assert told.skewness == pytest.approx(stats.skew(returns))
    assert told.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))
    assert told.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert sharpe_moments(np.full(100, 0.001)) is None
    assert sharpe_moments(returns[:19]) is None


def test_more_trials_deflate_and_every_hash_counts_once() -> None:
    returns = np.random.default_rng(4).normal(0.02, 1.0, (500, 30))
    best = int(np.argmax(returns.mean(axis=0) / returns.std(axis=0)))
    own, many = deflated_of_trials(returns, best), deflated_of_trials(returns, best, 3_000)
    assert own is not None
    assert many is not None
    assert many.probability < own.probability < own.probabilistic
    assert (own.n_trials, many.n_trials) == (30, 3_000)
    assert count_trials(["a", "b", "a"]) == 2
    assert deflated_of_trials(returns[:, :1], 0) is None
    assert deflated_of_trials(np.zeros((100, 3)), 0) is None


def second_opinion(returns: np.ndarray, n_blocks: int) -> tuple[float, list[float]]:
    """PBO as the paper tells it step by step: rows are put together and every Sharpe ratio is computed anew."""
    length = len(returns) // n_blocks
    rows = np.arange(len(returns) - length * n_blocks, len(returns)).reshape(n_blocks, length)
    logits = []
    for chosen in combinations(range(n_blocks), n_blocks // 2):
        others = [block for block in range(n_blocks) if block not in chosen]
        inside, outside = returns[rows[list(chosen)].ravel()], returns[rows[others].ravel()]
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        ranks = stats.rankdata(outside.mean(axis=0) / outside.std(axis=0, ddof=1))
        omega = ranks[best] / (returns.shape[1] + 1)
        logits.append(float(np.log(omega / (1 - omega))))
    return float(np.mean(np.array(logits) <= 0.0)), logits


@pytest.mark.parametrize(("seed", "n_bars", "n_trials", "n_blocks"), [(1, 203, 7, 6), (2, 400, 20, 8), (3, 160, 2, 10)])
def test_overfitting_agrees_with_a_second_implementation(seed: int, n_bars: int, n_trials: int, n_blocks: int) -> None:
    random = np.random.default_rng(seed)
    returns = random.normal(0.0, 0.01, (n_bars, n_trials)) + np.linspace(0.0, 0.002, n_trials)
    told = overfitting(returns, n_blocks)
    probability, logits = second_opinion(returns, n_blocks)
    assert told.probability == pytest.approx(probability)
    np.testing.assert_allclose(told.logits, logits)


def test_one_trial_of_real_worth_is_no_overfitting_and_noise_is() -> None:
    random = np.random.default_rng(5)
    noise = random.normal(0.0, 0.01, (640, 40))
    worth = noise.copy()
    worth[:, 7] += 0.004
    assert overfitting(worth).probability == 0.0
    assert overfitting(worth).n_splits == 12_870
    told = [overfitting(random.normal(0.0, 0.01, (320, 20)), 8).probability for _ in range(40)]
    assert np.mean(told) > 0.4


def test_idle_trials_have_a_ratio_of_nothing_and_hostile_tables_are_refused() -> None:
    returns = np.random.default_rng(6).normal(-0.01, 0.01, (160, 3))
    idle = np.column_stack([returns, np.zeros(160)])
    assert overfitting(idle, 8).probability == 0.0  # doing nothing was best everywhere
    assert overfitting(np.zeros((160, 4)), 8).probability == 1.0  # equals: the middle rank, a logit of 0
    with pytest.raises(SuspiciousDataError, match="1 trials"):
        overfitting(returns[:, :1], 8)
    with pytest.raises(SuspiciousDataError, match="without a return"):
        overfitting(np.where(returns > 0.02, np.nan, np.nan), 8)
    with pytest.raises(ConfigurationError, match="even number"):
        overfitting(returns, 7)
    with pytest.raises(ConfigurationError, match="even number"):
        overfitting(returns, 40)
    with pytest.raises(ConfigurationError, match="there is one at least"):
        expected_maximum(0, 1.0)
