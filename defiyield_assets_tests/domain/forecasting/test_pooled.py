"""The pooled model learns what it can, looks past no origin, and is the same with and without its cache."""

import numpy as np
import pytest
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting import pooled
from defiyield_assets.domain.forecasting.cache import MemoryCache
from defiyield_assets.domain.forecasting.intervals import horizon_means
from defiyield_assets.domain.forecasting.models import combined
from defiyield_assets.domain.forecasting.pooled import Inputs, pooled_forecasts

LAST_DAY = 20_300
"""A day number that is divisible by 28."""


def spiky(n_series: int = 20, n_days: int = 160, seed: int = 3) -> NDArray[np.float64]:
    """Levels with one-day spikes on top: the day after a spike is never a spike, which smoothing cannot know."""
    random = np.random.default_rng(seed)
    levels = 1.5 + np.cumsum(random.normal(0, 0.02, (n_series, n_days)), axis=1)
    is_spike = random.random((n_series, n_days)) < 0.2
    is_spike[:, 1:] &= ~is_spike[:, :-1]
    return np.where(is_spike, levels + 1.0, levels)


def inputs_of(values: NDArray[np.float64]) -> Inputs:
    return Inputs({"apy": values}, np.zeros_like(values), np.full_like(values, 15.0))


def forecast(
    values: NDArray[np.float64], origins: list[int], cache: MemoryCache | None = None, last_day: int = LAST_DAY
) -> NDArray[np.float64]:
    asked = np.array(origins, dtype=np.int64)
    found = pooled_forecasts(inputs_of(values), asked, (1,), last_day, cache or MemoryCache())
    return found["apy"][1]


def test_it_learns_that_a_spike_is_over_tomorrow() -> None:
    values = spiky()
    origins = [130, 137, 144, 151]
    actual = horizon_means(values, 1)[:, origins]
    ours = np.nanmean(np.abs(forecast(values, origins) - actual))
    theirs = np.nanmean(np.abs(combined(values)[:, origins] - actual))
    assert ours < 0.85 * theirs


@pytest.mark.parametrize("origin", [131, 150])  # the first is an anchor
def test_no_value_after_the_origin_is_read(origin: int) -> None:
    values = spiky()
    noisy = values.copy()
    noisy[:, origin + 1 :] = np.random.default_rng(0).normal(30, 9, noisy[:, origin + 1 :].shape)
    np.testing.assert_array_equal(forecast(noisy, [origin]), forecast(values, [origin]))


def test_at_an_anchor_the_past_says_what_the_day_itself_said() -> None:
    values, behind = spiky(), 28
    origin = values.shape[1] - 1 - behind
    that_day = forecast(values[:, : origin + 1], [origin], last_day=LAST_DAY - behind)
    np.testing.assert_array_equal(forecast(values, [origin]), that_day)


def test_a_library_that_fails_leaves_no_forecast_and_nothing_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    values, cache = spiky(), MemoryCache()
    with monkeypatch.context() as broken:
        broken.setattr(pooled, "_train", lambda *_: 1 / 0)
        assert np.isnan(forecast(values, [159], cache)).all()
    assert not np.isnan(forecast(values, [159], cache)).any()


def test_another_recipe_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {pooled.version()}
    for name, value in (("ROUNDS", 10), ("PARAMETERS", {**pooled.PARAMETERS, "num_leaves": 7}), ("MAX_ROWS", 9)):
        with monkeypatch.context() as changed:
            changed.setattr(pooled, name, value)
            versions.add(pooled.version.__wrapped__())
    assert len(versions) == 4


def test_the_cache_changes_no_bit_and_saves_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    values, cache = spiky(), MemoryCache()
    cold = forecast(values, [131, 138, 159], cache)
    monkeypatch.setattr(pooled, "_train", lambda *_: pytest.fail("trained although everything was in the cache"))
    np.testing.assert_array_equal(forecast(values, [131, 138, 159], cache), cold)


def test_a_day_later_past_blocks_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    n_days = pooled.WINDOW_DAYS + 60
    values, cache = spiky(n_days=n_days), MemoryCache()
    longer = np.concatenate([values[:, 1:], values[:, -1:] + 0.01], axis=1)
    origins = [n_days - 40, n_days - 33]
    first = forecast(values, origins, cache)
    monkeypatch.setattr(pooled, "_train", lambda *_: pytest.fail("trained although everything was in the cache"))
    second = forecast(longer, [origin - 1 for origin in origins], cache, LAST_DAY + 1)
    np.testing.assert_array_equal(second, first)


def test_a_changed_past_value_is_another_content() -> None:
    values, cache = spiky(), MemoryCache()
    first = forecast(values, [150], cache)
    revised = values.copy()
    revised[:, 100] += 0.5
    assert not np.array_equal(forecast(revised, [150], cache), first)
    np.testing.assert_array_equal(forecast(revised, [150], cache), forecast(revised, [150]))


def test_past_origins_share_the_training_of_their_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    train = pooled._train

    def counted(seen: pooled._Seen, horizon: int) -> object:
        trained.append(seen.values.shape[1] - 1)
        return train(seen, horizon)

    monkeypatch.setattr(pooled, "_train", counted)
    forecast(spiky(), [131, 138, 145, 152, 159])  # 159 is both an anchor and the as-of day
    assert trained == [131, 159]


def test_too_little_history_has_no_pooled_forecast() -> None:
    assert np.isnan(forecast(spiky(n_days=25), [24])).all()
    assert np.isnan(forecast(spiky(n_series=2, n_days=60), [59])).all()


def test_a_series_that_was_never_seen_has_none_and_leaves_the_others_alone() -> None:
    values = spiky()
    padded = np.concatenate([values, np.full((1, values.shape[1]), np.nan)])
    found = forecast(padded, [150])
    assert np.isnan(found[-1]).all()
    assert not np.isnan(found[:-1]).any()


def test_two_targets_are_forecast_by_one_training() -> None:
    values = spiky()
    both = Inputs({"apy": values, "apy_base": values - 0.2}, np.zeros_like(values), np.full_like(values, 15.0))
    found = pooled_forecasts(both, np.array([159]), (1, 7), LAST_DAY, MemoryCache())
    np.testing.assert_array_equal(found["apy"][1], forecast(values, [159]))
    assert not np.array_equal(found["apy"][1], found["apy_base"][1])
    assert not np.array_equal(found["apy"][1], found["apy"][7])
