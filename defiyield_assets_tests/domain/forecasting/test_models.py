"""Each cheap model against an outside oracle; none looks past its origin."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.forecasting.models import (
    EWMA_02,
    EWMA_03,
    EWMA_05,
    LAST_VALUE,
    MEDIAN_7,
    MEDIAN_30,
    MODELS,
    SES,
    SES_ALPHAS,
    Model,
    carried,
    combined,
    combined_with_peers,
    common_level,
    from_scale,
    peer_level,
    relative_to_common,
    smoothed,
    to_scale,
)


def series(seed: int, n_series: int = 5, n_days: int = 60, missing: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = np.abs(np.cumsum(random.normal(0, 0.1, (n_series, n_days)), axis=1))
    values[random.random(values.shape) < missing] = np.nan
    return values


@pytest.mark.parametrize(("model", "alpha"), [(EWMA_02, 0.2), (EWMA_03, 0.3), (EWMA_05, 0.5), (LAST_VALUE, 1.0)])
def test_smoothing_equals_pandas(model: Model, alpha: float) -> None:
    values = series(1)
    ours = model.forecast(values, np.arange(values.shape[1]))
    theirs = pd.DataFrame(values.T).ewm(alpha=alpha, adjust=False, ignore_na=True).mean().to_numpy().T
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_optimised_smoothing_picks_what_scipy_would_pick_on_the_grid() -> None:
    values = series(2, missing=0.1)
    ours = SES.forecast(values, np.array([values.shape[1] - 1]))[:, 0]
    for row, forecast in zip(values, ours, strict=True):
        observed = pd.Series(row[~np.isnan(row)])
        fits = {alpha: observed.ewm(alpha=alpha, adjust=False).mean() for alpha in SES_ALPHAS}
        squared = {alpha: float(((observed - fit.shift(1)) ** 2).sum()) for alpha, fit in fits.items()}
        best = min(squared, key=squared.__getitem__)
        assert forecast == pytest.approx(fits[best].iloc[-1], rel=1e-12)


def test_optimised_smoothing_agrees_with_statsforecast() -> None:
    from statsforecast.models import SimpleExponentialSmoothingOptimized

    random = np.random.default_rng(5)
    level = np.cumsum(random.normal(0, 0.1, 200)) + 5
    values = (level + random.normal(0, 0.2, 200))[None, :]
    theirs = SimpleExponentialSmoothingOptimized().fit(values[0]).predict(1)["mean"][0]
    ours = SES.forecast(values, np.array([199]))[0, 0]
    assert ours == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@given(seed=st.integers(0, 10_000), origin=st.integers(0, 58))
@settings(max_examples=15, deadline=None)
def test_no_model_looks_past_its_origin(model: Model, seed: int, origin: int) -> None:
    values = series(seed)
    noisy = values.copy()
    noisy[:, origin + 1 :] = np.random.default_rng(seed + 1).normal(50, 20, noisy[:, origin + 1 :].shape)
    origins = np.array([origin])
    np.testing.assert_array_equal(model.forecast(values, origins), model.forecast(noisy, origins))


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_nothing_is_forecast_before_the_first_observation(model: Model) -> None:
    values = np.array([[np.nan, np.nan, 2.0, np.nan]])
    np.testing.assert_array_equal(model.forecast(values, np.arange(4)), [[np.nan, np.nan, 2.0, 2.0]])


def test_scales_are_their_inverses_and_percentage_points() -> None:
    values = np.array([[0.0, 1e-6, 0.05, 4.02, np.nan]])
    assert to_scale("apy", values)[0, 2] == pytest.approx(np.log(6.0))
    assert to_scale("tvl_usd", np.array([[np.e - 1.0]]))[0, 0] == pytest.approx(1.0)
    for target in ("apy", "tvl_usd"):
        np.testing.assert_allclose(from_scale(target, to_scale(target, values)), values, rtol=1e-12)


@pytest.mark.parametrize(("model", "n_days"), [(MEDIAN_7, 7), (MEDIAN_30, 30)])
def test_medians_equal_pandas(model: Model, n_days: int) -> None:
    values = series(4, missing=0.3)
    ours = model.forecast(values, np.arange(values.shape[1]))
    theirs = pd.DataFrame(values.T).rolling(n_days, min_periods=1).median().to_numpy().T
    is_known = ~np.isnan(theirs)
    np.testing.assert_allclose(ours[is_known], theirs[is_known], rtol=1e-12)


def test_a_median_without_a_value_in_its_window_is_the_last_one() -> None:
    values = np.full((1, 12), np.nan)
    values[0, :2] = [1.0, 3.0]
    assert MEDIAN_7.forecast(values, np.array([1, 11])).tolist() == [[2.0, 3.0]]


def test_the_last_value_is_carried_as_far_as_asked() -> None:
    values = np.array([[np.nan, 1.0, np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(carried(values), [[np.nan, 1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(carried(values, 2), [[np.nan, 1.0, 1.0, 1.0, np.nan]])


def test_the_common_level_adds_up_the_mean_change_of_whoever_was_heard_of_lately() -> None:
    values = np.array([[np.nan, 1.0, np.nan, np.nan, np.nan, np.nan], [np.nan, 3.0, 5.0, 5.0, 5.0, 8.0]])
    np.testing.assert_allclose(common_level(values), [[np.nan, 0.0, 1.0, 1.0, 1.0, 4.0]])
    assert np.isnan(common_level(np.full((2, 3), np.nan))).all()


@pytest.mark.parametrize("model", [m for m in MODELS.values() if m.name != "peer_combination"], ids=lambda m: m.name)
def test_who_comes_and_goes_does_not_move_the_others(model: Model) -> None:
    values = np.full((5, 90), 1.5)
    values[4] = np.nan
    values[4, 60:75] = 6.0
    np.testing.assert_allclose(model.forecast(values, np.arange(90))[:4], 1.5, rtol=1e-12)


def test_one_series_alone_is_relative_to_itself() -> None:
    """Without peers the factor model is the smoothing of the series itself, as fast as the common level."""
    values = series(6, n_series=1, missing=0.0)
    np.testing.assert_allclose(relative_to_common(values, 0.1), smoothed(values, 0.5), rtol=1e-9)


def test_a_move_of_all_is_believed_sooner_than_the_move_of_one() -> None:
    quiet = np.ones((10, 60))
    all_move, one_moves = quiet.copy(), quiet.copy()
    all_move[:, -1] += 1.0
    one_moves[0, -1] += 1.0
    moved = [relative_to_common(values, 0.1)[0, -1] - 1.0 for values in (all_move, one_moves)]
    assert moved[0] == pytest.approx(0.5)
    assert moved[1] == pytest.approx(0.1 * 0.9 + 0.5 * 0.1)


def test_the_level_of_the_peers_is_the_smoothed_median_and_only_for_the_seen() -> None:
    values = series(8, n_series=7, missing=0.0)
    values[6, :30] = np.nan
    level = peer_level(values)
    theirs = pd.Series(np.nanmedian(values, axis=0)).ewm(alpha=0.3, adjust=False).mean()
    np.testing.assert_allclose(level[0], theirs, rtol=1e-12)
    assert np.isnan(level[6, :30]).all()
    assert not np.isnan(level[6, 30:]).any()


def test_combinations_are_means_of_their_parts() -> None:
    values = series(9)
    parts = [smoothed(values, alpha) for alpha in (0.2, 0.3, 0.5)]
    parts += [relative_to_common(values, alpha) for alpha in (0.1, 0.2)]
    np.testing.assert_allclose(combined(values), np.mean(parts, axis=0), rtol=1e-12)
    np.testing.assert_allclose(combined_with_peers(values), np.mean([*parts, peer_level(values)], axis=0), rtol=1e-12)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_the_order_of_the_series_changes_next_to_nothing(model: Model) -> None:
    values = series(10, n_series=9)
    shuffled = np.random.default_rng(0).permutation(9)
    origins = np.arange(values.shape[1])
    np.testing.assert_allclose(
        model.forecast(values[shuffled], origins), model.forecast(values, origins)[shuffled], rtol=1e-12
    )


def test_model_names_are_their_keys() -> None:
    assert all(name == model.name for name, model in MODELS.items())
