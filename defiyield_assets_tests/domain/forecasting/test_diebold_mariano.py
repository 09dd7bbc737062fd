"""The paired test against a second implementation by hand, its size under the null and its power."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from defiyield_assets.domain.forecasting.diebold_mariano import p_values

DRAWS = 2_000


def by_hand(gains: list[float], k: int) -> float:
    """Harvey, Leybourne & Newbold (1997), equation 9, with Newey and West's weights, loop by loop."""
    n = len(gains)
    mean = sum(gains) / n
    gamma = [sum((gains[t] - mean) * (gains[t - j] - mean) for t in range(j, n)) / n for j in range(k)]
    variance = (gamma[0] + 2 * sum((1 - j / k) * gamma[j] for j in range(1, k))) / n
    statistic = mean / math.sqrt(variance) * math.sqrt((n + 1 - 2 * k + k * (k - 1) / n) / n)
    return float(stats.t.sf(statistic, max(n / k - 1, 1)))


def overlapping_gains(n_origins: int, horizon: int, mean: float = 0.0, draws: int = DRAWS) -> NDArray[np.float64]:
    """Means of independent days over windows of `horizon` days that start every 7 days."""
    days = np.random.default_rng(11).normal(mean, 1.0, (draws, 7 * n_origins + horizon))
    sums = np.cumsum(np.pad(days, ((0, 0), (1, 0))), axis=1)
    starts = 7 * np.arange(n_origins)
    return (sums[:, starts + horizon] - sums[:, starts]) / horizon


@pytest.mark.parametrize(("n_origins", "window"), [(8, 1), (26, 1), (12, 5), (26, 5)])
def test_the_p_value_is_that_of_a_calculation_by_hand(n_origins: int, window: int) -> None:
    gains = overlapping_gains(n_origins, 7 * window, mean=0.1, draws=20)
    expected = [by_hand(row.tolist(), window) for row in gains]
    np.testing.assert_allclose(p_values(gains, window), expected, rtol=1e-12)


def test_without_overlap_it_is_the_plain_t_test() -> None:
    gains = overlapping_gains(20, 7, mean=0.2, draws=50)
    expected = stats.ttest_1samp(gains, 0.0, axis=1, alternative="greater").pvalue
    np.testing.assert_allclose(p_values(gains, 1), expected, rtol=1e-12)


@pytest.mark.parametrize(("n_origins", "horizon", "window"), [(8, 7, 1), (25, 7, 1), (12, 30, 5), (22, 30, 5)])
def test_equal_forecasts_are_told_apart_in_one_of_twenty_cases_at_most(
    n_origins: int, horizon: int, window: int
) -> None:
    share = np.mean(p_values(overlapping_gains(n_origins, horizon), window) < 0.05)
    standard_error = math.sqrt(0.05 * 0.95 / DRAWS)
    assert share < 0.05 + 4 * standard_error
    if window == 1:
        assert share > 0.05 - 4 * standard_error


def test_ignoring_the_overlap_would_find_differences_that_are_not_there() -> None:
    gains = overlapping_gains(22, 30)
    assert np.mean(p_values(gains, 1) < 0.05) > 0.15


def test_a_better_forecast_is_found() -> None:
    assert np.mean(p_values(overlapping_gains(25, 7, mean=0.4), 1) < 0.05) > 0.95
    assert np.mean(p_values(overlapping_gains(22, 30, mean=0.4), 5) < 0.05) > 0.85
    assert np.mean(p_values(-overlapping_gains(25, 7, mean=0.4), 1) < 0.05) == 0.0


def test_origins_without_a_pair_are_left_out() -> None:
    gains = overlapping_gains(12, 7, mean=0.3, draws=5)
    holes = np.full((5, 20), np.nan)
    holes[:, 4:16] = gains
    np.testing.assert_allclose(p_values(holes, 1), p_values(gains, 1), rtol=1e-12)


def test_degenerate_differences_have_defined_answers() -> None:
    nan = np.nan
    gains = np.array([[0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [-0.1, -0.1, -0.1], [0.3, nan, nan], [nan, nan, nan]])
    for window in (1, 5):
        np.testing.assert_array_equal(p_values(gains, window), [1.0, 0.0, 1.0, nan, nan])
