"""Sampled paths have the moments of what they were sampled from (stochastic.py, synthesis.py)."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from defiyield_assets.domain.market.scenarios.catalogue import Setting, requests
from defiyield_assets.domain.market.scenarios.definitions import Stochastic
from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.histories import instruments_of, rows_of
from defiyield_assets.domain.market.scenarios.source import Source, market_of, select_source
from defiyield_assets.domain.market.scenarios.stochastic import (
    block_bootstrap,
    brownian_motion,
    markov_regimes,
    monte_carlo,
    symmetric_root,
    transition_matrix,
)
from defiyield_assets.domain.market.scenarios.synthesis import bars_of_returns, nearest_donors, significant
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets_tests.domain.market.scenarios.made import (
    LAST,
    MOTIONS,
    SMALL,
    made_history,
    recorded_closes,
    recorded_coins,
)

SAMPLED = ("monte_carlo", "block_bootstrap", "gbm")


def made_source(history: PriceHistory | None = None) -> Source:
    bars = made_history() if history is None else history
    return select_source(bars, LAST, bars.instruments, source_bars=600, warm_up_bars=300, calendars={})


def joint_returns(history: PriceHistory) -> np.ndarray:
    """Log returns of the scored bars."""
    return np.diff(np.log(history.close[history.first_scored - 1 :]), axis=0)


def assert_moments(sample: np.ndarray, source: np.ndarray) -> None:
    """Mean within 4 standard errors, volatility within 10 % or 4 of its own, pairwise correlations within .1."""
    error = source.std(axis=0) / np.sqrt(len(sample))
    assert (np.abs(sample.mean(axis=0) - source.mean(axis=0)) <= 4.0 * error).all()
    # A single day makes most of a stablecoin's variance: how often it is drawn decides.
    tails = np.sqrt((stats.kurtosis(source, axis=0, fisher=False) - 1.0) / (4.0 * len(sample)))
    off = np.abs(sample.std(axis=0) / source.std(axis=0) - 1.0)
    assert (off <= np.maximum(0.1, 4.0 * tails)).all()
    gap = np.corrcoef(sample, rowvar=False) - np.corrcoef(source, rowvar=False)
    assert np.abs(gap).max() <= 0.1


@pytest.mark.parametrize("kind", SAMPLED)
def test_moments_of_paths_are_those_of_the_source(kind: str) -> None:
    history = made_history()
    told = replace(SMALL, stochastic=Stochastic(n_steps=252, source_bars=600, motions=MOTIONS))
    asked = requests(told, Setting(LAST, history.instruments, 3), types=(kind,), count=16)
    sample = np.vstack([joint_returns(generate(request, history).history) for request in asked])
    assert_moments(sample, made_source(history).returns)


@pytest.mark.recorded
@pytest.mark.parametrize("kind", SAMPLED)
def test_moments_of_recorded_coins_survive(kind: str, recorded_data: Path) -> None:
    history = recorded_coins(recorded_data)
    as_of = date(2025, 8, 13)
    told = replace(SMALL, stochastic=Stochastic(motions=MOTIONS))
    asked = requests(told, Setting(as_of, history.instruments, 11), types=(kind,), count=50)
    paths = [generate(request, history) for request in asked]
    assert set(paths[0].scenario.unavailable) == {"crypto:MATIC"}
    source = select_source(history, as_of, history.instruments, source_bars=1_000, warm_up_bars=365, calendars={})
    assert_moments(np.vstack([joint_returns(path.history) for path in paths]), source.returns)


@pytest.mark.recorded
def test_moments_of_recorded_stocks_survive_the_bootstrap(recorded_data: Path) -> None:
    history = recorded_closes(recorded_data / "equities" / "skfolio_sp500_20stocks_1990_2022.csv.gz")
    setting = Setting(date(2022, 12, 28), history.instruments, 2, None, dict.fromkeys(history.instruments, "XNYS"))
    told = replace(SMALL, stochastic=Stochastic(motions=MOTIONS))
    paths = [generate(request, history) for request in requests(told, setting, types=("block_bootstrap",), count=80)]
    assert paths[0].history.periods_per_year == 252.0
    assert np.isnan(paths[0].history.open).all()
    source = np.diff(np.log(history.close[-1_001:]), axis=0)
    assert_moments(np.vstack([joint_returns(path.history) for path in paths]), source)


def test_student_t_has_fatter_tails_than_the_normal_and_the_same_variance() -> None:
    source = made_source()
    normal = monte_carlo(source, 40_000, np.random.default_rng(1), "normal", 5.0)
    fat = monte_carlo(source, 40_000, np.random.default_rng(1), "student_t", 5.0)
    np.testing.assert_allclose(fat.std(axis=0), normal.std(axis=0), rtol=0.05)
    assert (np.abs(stats.kurtosis(normal, axis=0)) < 0.2).all()
    assert (stats.kurtosis(fat, axis=0) > 2.0).all()
    scaled = (fat[:, 0] - fat[:, 0].mean()) / (fat[:, 0].std() * np.sqrt(3.0 / 5.0))
    assert stats.kstest(scaled, stats.t(5).cdf).pvalue > 0.01
    with pytest.raises(ConfigurationError, match="above 2"):
        monte_carlo(source, 5, np.random.default_rng(1), "student_t", 2.0)


def test_a_bootstrap_takes_blocks_of_twenty_days_and_the_same_dates_for_all() -> None:
    source = made_source()
    rows = block_bootstrap(source, 100, np.random.default_rng(4), 20)
    blocks = rows.reshape(5, 20)
    assert ((np.diff(blocks, axis=1) % len(source.returns)) == 1).all()
    request = requests(SMALL, Setting(LAST, source.bars.instruments, 1), types=("block_bootstrap",))[0]
    sampled = joint_returns(generate(request, made_history()).history)
    taken = [int(np.argmin(np.abs(source.returns - step).sum(axis=1))) for step in sampled]
    np.testing.assert_allclose(sampled, source.returns[taken], atol=1e-9)


def test_a_bootstrapped_bar_is_the_days_own_bar_scaled_to_the_new_close() -> None:
    history = made_history()
    request = requests(SMALL, Setting(LAST, history.instruments, 1), types=("block_bootstrap",))[0]
    bars = generate(request, history).history
    returns = np.diff(np.log(history.close), axis=0)
    for step in range(bars.first_scored, bars.n_bars, 7):
        own = np.log(bars.close[step] / bars.close[step - 1])
        day = 1 + int(np.argmin(np.abs(returns - own).sum(axis=1)))
        for name in ("open", "high", "low"):
            expected = history.column(name)[day] / history.close[day]
            np.testing.assert_allclose(bars.column(name)[step] / bars.close[step], expected, rtol=1e-8)


def test_every_day_is_as_likely_as_any_other() -> None:
    source = made_source()
    rows = block_bootstrap(source, 600_000, np.random.default_rng(2), 20)
    counts = np.bincount(rows, minlength=len(source.returns))
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


def test_brownian_motion_has_the_drift_and_volatility_that_it_is_given() -> None:
    source = made_source()
    returns = brownian_motion(source, 200_000, np.random.default_rng(6), drift=0.10, volatility=0.40)
    np.testing.assert_allclose(returns.std(axis=0) * np.sqrt(365.0), 0.40, rtol=0.01)
    # E[S_T / S_0] = exp(mu T): over one step, mean of exp(log return) = exp(mu / 365).
    np.testing.assert_allclose(np.exp(returns).mean(axis=0), np.exp(0.10 / 365.0), atol=4 * 0.021 / np.sqrt(200_000))


def test_regimes_have_the_means_volatilities_and_stays_that_were_given() -> None:
    source = made_source()
    market = market_of(source, "crypto:A")
    returns, states = markov_regimes(source, market, 200_000, np.random.default_rng(8), MOTIONS)
    own = returns[:, 0]  # the benchmark is the market
    for number, motion in enumerate(MOTIONS):
        inside = own[states == number]
        assert inside.std() * np.sqrt(365.0) == pytest.approx(motion.volatility, rel=0.02)
        error = motion.volatility / np.sqrt(365.0 * len(inside))
        assert inside.mean() * 365.0 == pytest.approx(motion.mean, abs=4.0 * 365.0 * error)
        stays = states[1:][states[:-1] == number] == number
        assert stays.mean() == pytest.approx(motion.stay, abs=0.01)
    np.testing.assert_allclose(transition_matrix(MOTIONS).sum(axis=1), 1.0)
    gap = np.corrcoef(returns, rowvar=False) - np.corrcoef(source.returns, rowvar=False)
    assert np.abs(gap).max() <= 0.1


def test_without_a_benchmark_the_mean_of_all_is_the_market() -> None:
    source = made_source()
    market = market_of(source, None)
    np.testing.assert_allclose(market.betas.mean(), 1.0)
    np.testing.assert_allclose(market.residuals.mean(axis=1), 0.0, atol=1e-12)
    slope = stats.linregress(market.returns, source.returns[:, 1]).slope
    assert market.betas[1] == pytest.approx(slope)


def test_a_donor_is_a_bar_whose_return_is_near() -> None:
    source = made_source()
    drawn = monte_carlo(source, 500, np.random.default_rng(9), "normal", 5.0)
    donors = nearest_donors(source, drawn, np.random.default_rng(9))
    place = donors - 1  # the first sampled return ends in row 1
    gap = np.abs(source.returns[place, np.arange(source.n_instruments)] - drawn)
    assert np.median(gap / source.returns.std(axis=0)) < 0.05


def test_a_price_that_leaves_the_numbers_is_refused() -> None:
    source = made_source()
    with pytest.raises(SuspiciousDataError, match="no positive finite number"):
        bars_of_returns(source, np.full((3, 4), 400.0), np.full((3, 4), 5))


def test_a_day_that_nobody_has_makes_no_return_of_two_days() -> None:
    history = instruments_of(made_history(), ["crypto:A"])
    kept = np.delete(np.arange(history.n_bars), 500)
    holed = rows_of(history, kept)
    returns = np.diff(np.log(history.close[:, 0]))
    sampled = made_source(holed).returns[:, 0]
    double = returns[499] + returns[500]
    assert not np.isclose(sampled, double).any()
    assert len(sampled) == 599


def test_a_symmetric_root_squares_to_the_covariance_even_of_twins() -> None:
    returns = made_source().returns
    twins = np.column_stack([returns, returns[:, 0]])
    covariance = np.cov(twins, rowvar=False)
    root = symmetric_root(covariance)
    np.testing.assert_allclose(root @ root, covariance, atol=1e-15)
    np.testing.assert_allclose(root, root.T)


def test_ten_significant_digits_are_kept() -> None:
    given = np.array([123456.7890123, 1.23456789012345e-7, 0.0, np.nan, -2.5])
    np.testing.assert_array_equal(significant(given), [123456.789, 1.23456789e-7, 0.0, np.nan, -2.5])
