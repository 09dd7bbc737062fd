"""Bands of gas: each day's from that day's past, never crossing, and right in the long run whatever prices do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.forecasting.gas_bands import (
    ADJUSTMENT_RANGE,
    GAIN,
    MIN_ERRORS,
    PROVISIONAL_WEIGHT,
    USUAL_LOG_ERRORS,
    bounds_of_every_day,
    has_own_errors,
    log_gwei,
    past_errors,
)
from defiyield_assets.domain.forecasting.intervals import horizon_means


def walk(n_days: int, seed: int = 1, step: float = 0.2) -> np.ndarray:
    return np.exp(np.cumsum(np.random.default_rng(seed).normal(0, step, (1, n_days)), axis=1))


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_the_bounds_of_a_day_are_those_that_were_said_on_that_day(horizon: int) -> None:
    values = walk(260)
    values[0, [20, 21, 130]] = np.nan
    forecasts = log_gwei(np.where(np.isnan(values), 1.0, values))
    whole = bounds_of_every_day(forecasts, values, horizon)
    for day in (0, 40, 150, 258):
        then = bounds_of_every_day(forecasts[:, : day + 1], values[:, : day + 1], horizon)
        np.testing.assert_array_equal(then, whole[:, :, : day + 1])


def test_models_do_not_touch_each_other() -> None:
    values = walk(220)
    forecasts = np.concatenate([log_gwei(values), log_gwei(values) + 0.4, np.zeros((1, 220))])
    together = bounds_of_every_day(forecasts, values, 7)
    for model in range(3):
        alone = bounds_of_every_day(forecasts[[model]], values, 7)
        np.testing.assert_array_equal(together[:, [model]], alone)


@pytest.mark.parametrize(("horizon", "off"), [(1, 0.02), (7, 0.03), (30, 0.06)])
def test_a_market_whose_moves_triple_is_covered_within_the_year(horizon: int, off: float) -> None:
    random = np.random.default_rng(5)
    steps = np.concatenate([random.normal(0, 0.05, 500), random.normal(0, 0.15, 365)])
    values = np.exp(np.cumsum(steps))[None, :]
    forecasts = log_gwei(values)
    bounds = bounds_of_every_day(forecasts, values, horizon)
    actual = log_gwei(horizon_means(values, horizon))[0, 500:-horizon]
    below = (actual <= bounds[1, 0, 500:-horizon]).mean()
    above = (actual >= bounds[0, 0, 500:-horizon]).mean()
    assert below == pytest.approx(0.9, abs=off)
    assert above == pytest.approx(0.9, abs=off)


def test_coverage_of_one_day_ahead_is_off_by_no_more_than_feedback_over_gain() -> None:
    """The bound of Angelopoulos, Candès & Tibshirani (2023), with quantiles of errors that change by little."""
    random = np.random.default_rng(6)
    values = np.exp(np.cumsum(random.standard_t(2, 800) * 0.1))[None, :]
    forecasts = log_gwei(values)
    bounds = bounds_of_every_day(forecasts, values, 1)
    misses = (log_gwei(values)[0, 1:] > bounds[1, 0, :-1] + 1e-9)[14:].mean()
    assert abs(misses - 0.10) < (ADJUSTMENT_RANGE[1] - ADJUSTMENT_RANGE[0]) / (GAIN * 785)
    assert abs(misses - 0.10) < 0.02


def test_a_month_that_is_heading_above_its_bound_widens_before_it_is_over() -> None:
    values = np.full((1, 200), 10.0) * np.exp(np.random.default_rng(7).normal(0, 0.05, (1, 200)))
    values[0, -5:] *= 6.0
    forecasts = np.full((1, 200), np.log(10.0))
    forecasts[0, -5:] = np.log(60.0)
    width = bounds_of_every_day(forecasts, values, 30)[1, 0] - forecasts[0]
    # No window that holds a day of the rise is over, but those begun before it are heading above.
    assert width[-1] > width[-6] + 10 * GAIN * PROVISIONAL_WEIGHT


def test_short_history_takes_the_usual_errors() -> None:
    values = walk(5)
    forecasts = log_gwei(values)
    bounds = bounds_of_every_day(forecasts, values, 7)
    np.testing.assert_allclose(bounds[:, 0] - forecasts, np.array(USUAL_LOG_ERRORS[7])[:, None] * np.ones(5))
    between = bounds_of_every_day(forecasts, values, 14)
    np.testing.assert_allclose(between[:, 0, -1] - forecasts[0, -1], USUAL_LOG_ERRORS[7])
    long = walk(14 + 7 + MIN_ERRORS - 1)
    assert has_own_errors(past_errors(log_gwei(long), long, 7)).tolist() == [True]
    assert has_own_errors(past_errors(log_gwei(long[:, :-1]), long[:, :-1], 7)).tolist() == [False]


def test_a_constant_price_gets_a_band_without_width_in_time() -> None:
    values = np.full((1, 300), 3.0)
    bounds = bounds_of_every_day(log_gwei(values), values, 7)
    np.testing.assert_allclose(bounds[:, 0, -1], np.log(3.0), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    logs=st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=1, max_size=60),
    horizon=st.sampled_from([1, 3, 30]),
    offset=st.floats(-2, 2),
)
def test_bounds_never_cross_and_are_never_unknown(logs: list[float | None], horizon: int, offset: float) -> None:
    values = np.exp(np.array([[np.nan if log is None else log for log in logs]]))
    forecasts = np.nan_to_num(np.log(values)) + offset
    bounds = bounds_of_every_day(forecasts, values, horizon)
    assert np.isfinite(bounds).all()
    assert (bounds[0] <= forecasts).all()
    assert (forecasts <= bounds[1]).all()
