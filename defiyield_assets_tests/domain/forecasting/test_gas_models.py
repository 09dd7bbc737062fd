"""Gas models: the weekly rhythm is found, spikes do not drag, levels return, and nothing reads ahead."""

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.gas_models import (
    GAS_BASELINE,
    GAS_MODELS,
    REVERSION_DAYS,
    SLOW_ALPHA,
    gas_series_of,
    rhythm_ahead,
    share_kept,
    slow_level,
    spike_robust_level,
    weekday_factors,
)
from defiyield_assets.domain.forecasting.panel import day_number

LAST_DAY = 20_240
ALL = list(GAS_MODELS.values())
BY_NAME = pytest.mark.parametrize("model", ALL, ids=[model.name for model in ALL])


def noise(n_days: int, seed: int = 1, gaps: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    logs = 3.0 + np.cumsum(random.normal(0, 0.1, n_days))
    logs[random.random(n_days) < gaps] = np.nan
    return logs


def test_candidates_are_told_apart_by_name_and_the_baseline_is_one_of_them() -> None:
    assert list(GAS_MODELS) == ["last_value", "ewma_03", "ses", "median_7", "spike_robust", "reverting"]
    assert GAS_MODELS[GAS_BASELINE.name] is GAS_BASELINE


@BY_NAME
def test_a_model_says_on_every_day_what_it_would_have_said_on_that_day(model) -> None:
    logs = noise(120, gaps=0.2)
    whole = model.forecast(gas_series_of(logs, LAST_DAY), (1, 7, 30))
    for day in (0, 3, 20, 77, 118):
        then = model.forecast(gas_series_of(logs[: day + 1], LAST_DAY - 119 + day), (1, 7, 30))
        np.testing.assert_array_equal(then, whole[:, : day + 1])


@BY_NAME
def test_a_constant_price_is_forecast_as_it_is(model) -> None:
    logs = np.full(60, 2.5)
    logs[[5, 6, 30]] = np.nan
    np.testing.assert_allclose(model.forecast(gas_series_of(logs, LAST_DAY), (1, 7, 30)), 2.5, rtol=1e-12)


@BY_NAME
def test_nothing_is_said_before_the_first_day_and_one_day_is_enough(model) -> None:
    logs = np.array([np.nan, np.nan, 1.5])
    forecast = model.forecast(gas_series_of(logs, LAST_DAY), (1, 30))
    assert np.isnan(forecast[:, :2]).all()
    assert forecast[:, 2].tolist() == pytest.approx([1.5, 1.5])


@BY_NAME
def test_a_price_in_another_unit_gives_the_same_forecast_in_that_unit(model) -> None:
    logs = noise(200)
    there = model.forecast(gas_series_of(logs + 9 * np.log(10), LAST_DAY), (7,))
    here = model.forecast(gas_series_of(logs, LAST_DAY), (7,))
    np.testing.assert_allclose(there - 9 * np.log(10), here, atol=1e-9)


def test_the_rhythm_of_the_week_is_found_and_put_on_the_days_ahead() -> None:
    true = np.array([0.1, 0.05, 0.0, 0.05, 0.0, -0.1, -0.1])
    n_days = 7 * 104
    weekdays = (LAST_DAY - n_days + 1 + np.arange(n_days)) % 7
    logs = 2.0 + true[weekdays] + np.random.default_rng(2).normal(0, 0.02, n_days)
    factors = weekday_factors(logs, weekdays)[-1]
    np.testing.assert_allclose(factors, true - true.mean(), atol=0.015)
    assert factors.sum() == pytest.approx(0.0, abs=1e-12)
    series = gas_series_of(logs, LAST_DAY)
    assert rhythm_ahead(series, 1)[-1] == pytest.approx(factors[(LAST_DAY + 1) % 7])
    assert rhythm_ahead(series, 7)[-1] == pytest.approx(0.0, abs=1e-12)
    robust = GAS_MODELS["spike_robust"].forecast(series, (1,))[0, -1]
    assert robust == pytest.approx(2.0 + true[(LAST_DAY + 1) % 7], abs=0.03)


def test_one_spike_is_not_taken_for_rhythm() -> None:
    logs = np.zeros(21)
    logs[10] = 6.0
    factors = weekday_factors(logs, np.arange(21) % 7)[-1]
    assert np.abs(factors).max() < 0.1


def test_weekdays_follow_the_calendar() -> None:
    from datetime import date, timedelta

    monday = date(2025, 6, 2)
    series = gas_series_of(np.zeros(10), day_number(monday))
    earlier = gas_series_of(np.zeros(10), day_number(monday - timedelta(days=7)))
    assert series.weekdays[-1] == earlier.weekdays[-1] == day_number(monday) % 7


def test_a_week_with_two_unknown_days_still_counts_and_one_with_three_does_not() -> None:
    logs = np.array([0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0])
    weekdays = np.arange(7)
    for missing, counts in (([0, 1], True), ([0, 1, 2], False), ([3], False)):
        known = logs.copy()
        known[missing] = np.nan
        assert weekday_factors(known, weekdays)[-1].any() == counts


def test_one_spike_moves_the_robust_level_by_no_more_than_its_limit() -> None:
    calm = np.random.default_rng(3).normal(0, 0.05, 200)
    spiked = calm.copy()
    spiked[-1] += 3.0
    jump = spike_robust_level(spiked, 1.0)[-1] - spike_robust_level(calm, 1.0)[-2]
    assert 0.0 < jump < 0.25
    lasting = np.concatenate([spiked, np.full(30, 3.0)])
    assert spike_robust_level(lasting, 1.0)[-1] == pytest.approx(3.0, abs=0.01)


def test_without_a_spike_the_robust_level_is_plain_exponential_smoothing() -> None:
    logs = 1.0 + 0.01 * np.sin(np.arange(80.0))
    reference = pd.Series(logs).ewm(alpha=0.3, adjust=False).mean().to_numpy()
    np.testing.assert_allclose(spike_robust_level(logs, 0.3), reference, rtol=1e-12)


def test_the_slow_level_is_the_mean_of_a_short_history_and_forgets_a_long_one() -> None:
    logs = noise(50)
    assert slow_level(logs)[-1] == pytest.approx(logs.mean())
    step = np.concatenate([np.zeros(2000), np.ones(69)])
    assert slow_level(step)[-1] == pytest.approx(1.0 - (1.0 - SLOW_ALPHA) ** 69)


def test_mean_reversion_is_that_of_the_ornstein_uhlenbeck_process() -> None:
    for horizon in (1, 7, 30):
        decay = np.exp(-1.0 / REVERSION_DAYS)
        geometric = decay * (1.0 - decay**horizon) / (1.0 - decay) / horizon
        assert share_kept(horizon) == pytest.approx(geometric, rel=1e-12)
    series = gas_series_of(np.concatenate([np.zeros(400), np.ones(40)]), LAST_DAY)
    one, week, month = GAS_MODELS["reverting"].forecast(series, (1, 7, 30))[:, -1]
    assert series.slow[-1] < month < week < one < 1.0
