"""Quantiles of past errors: coverage, order, widening, and what happens with little history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_strategies

from defiyield_assets.domain.forecasting.intervals import (
    MIN_ERRORS,
    error_quantiles,
    forecast_with_quantiles,
    horizon_means,
    widened_ranks,
)
from defiyield_assets.domain.forecasting.models import LAST_VALUE


def test_horizon_mean_is_the_mean_of_the_observed_next_days() -> None:
    values = np.array([[1.0, 2.0, np.nan, 4.0, np.nan, np.nan]])
    np.testing.assert_array_equal(horizon_means(values, 2), [[2.0, 4.0, 4.0, np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(horizon_means(values, 7), np.full((1, 6), np.nan))


def test_one_day_errors_of_white_noise_cover_four_fifths() -> None:
    random = np.random.default_rng(3)
    low, middle, high = error_quantiles(random.normal(0, 1, (400, 60)), 1)
    fresh = random.normal(0, 1, (400, 200))
    covered = np.mean((low[:, None] <= fresh) & (fresh <= high[:, None]))
    assert covered == pytest.approx(0.80, abs=0.01)
    assert np.abs(middle).max() < 1.0


def test_a_series_with_few_errors_takes_those_of_all() -> None:
    errors = np.full((3, 50), np.nan)
    errors[0] = np.linspace(-1, 1, 50)
    errors[1, : MIN_ERRORS - 1] = 100.0
    errors[2, :MIN_ERRORS] = 100.0
    low, _, high = error_quantiles(errors, 1)
    assert low[1] < 1.0 < high[1], "29 errors are not enough of its own"
    assert (low[2], high[2]) == (100.0, 100.0), "30 errors are"


def test_without_any_error_the_band_is_the_forecast() -> None:
    np.testing.assert_array_equal(error_quantiles(np.full((2, 5), np.nan), 7), np.zeros((3, 2)))


def test_overlapping_windows_widen_the_band() -> None:
    counts = np.array([200])
    one_day, week, month = (widened_ranks(counts, days)[0, 0] for days in (1, 7, 30))
    assert 0.0 <= month < week < one_day <= 0.10


@given(
    errors=np_strategies.arrays(np.float64, (3, 40), elements=st.floats(-5, 5) | st.just(np.nan)),
    horizon=st.sampled_from([1, 7, 30]),
)
@settings(max_examples=80, deadline=None)
def test_quantiles_never_cross(errors: np.ndarray, horizon: int) -> None:
    low, middle, high = error_quantiles(errors, horizon)
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_bands_of_a_random_walk_cover_what_follows() -> None:
    random = np.random.default_rng(11)
    walk = np.cumsum(random.normal(0, 1, (300, 430)), axis=1)
    for horizon in (1, 7, 30):
        past, actual = walk[:, :400], horizon_means(walk, horizon)[:, 399]
        level, (low, _, high) = forecast_with_quantiles(LAST_VALUE, past, horizon_means(past, horizon), horizon)
        covered = np.mean((low <= actual) & (actual <= high))
        assert level == pytest.approx(past[:, -1])
        assert 0.74 < covered < 0.90, (horizon, covered)
