"""Each model against an outside oracle, and the table of choices."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.forecasting.models import (
    EWMA_03,
    EWMA_05,
    LAST_VALUE,
    MODELS,
    SES,
    SES_ALPHAS,
    Model,
    choose_model,
)


def series(seed: int, n_series: int = 5, n_days: int = 60, missing: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = np.abs(np.cumsum(random.normal(0, 0.1, (n_series, n_days)), axis=1))
    values[random.random(values.shape) < missing] = np.nan
    return values


@pytest.mark.parametrize(("model", "alpha"), [(EWMA_03, 0.3), (EWMA_05, 0.5), (LAST_VALUE, 1.0)])
def test_smoothing_equals_pandas(model: Model, alpha: float) -> None:
    values = series(1)
    ours = model.forecast(values, np.arange(values.shape[1]), 1)
    theirs = pd.DataFrame(values.T).ewm(alpha=alpha, adjust=False, ignore_na=True).mean().to_numpy().T
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_optimised_smoothing_picks_what_scipy_would_pick_on_the_grid() -> None:
    values = series(2, missing=0.1)
    ours = SES.forecast(values, np.array([values.shape[1] - 1]), 1)[:, 0]
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
    ours = SES.forecast(values, np.array([199]), 1)[0, 0]
    assert ours == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
@given(seed=st.integers(0, 10_000), origin=st.integers(0, 58))
@settings(max_examples=15, deadline=None)
def test_no_model_looks_past_its_origin(model: Model, seed: int, origin: int) -> None:
    values = series(seed)
    noisy = values.copy()
    noisy[:, origin + 1 :] = np.random.default_rng(seed + 1).normal(50, 20, noisy[:, origin + 1 :].shape)
    origins = np.array([origin])
    np.testing.assert_array_equal(model.forecast(values, origins, 7), model.forecast(noisy, origins, 7))


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_nothing_is_forecast_before_the_first_observation(model: Model) -> None:
    values = np.array([[np.nan, np.nan, 2.0, np.nan]])
    np.testing.assert_array_equal(model.forecast(values, np.arange(4), 1), [[np.nan, np.nan, 2.0, 2.0]])


def test_choice_of_models() -> None:
    assert {choose_model("tvl_usd", days).name for days in (1, 7, 30)} == {"last_value"}
    chosen = {
        (target, days): choose_model(target, days).name for target in ("apy", "apy_reward") for days in (1, 7, 14, 30)
    }
    assert chosen == {
        ("apy", 1): "ses",
        ("apy", 7): "ewma_03",
        ("apy", 14): "ewma_03",
        ("apy", 30): "ewma_03",
        **{("apy_reward", days): "last_value" for days in (1, 7, 14, 30)},
    }
    with pytest.raises(ValueError, match="at least 1 day"):
        choose_model("apy", 0)
    with pytest.raises(KeyError):
        choose_model("volume", 1)


def test_model_names_are_their_keys() -> None:
    assert all(name == model.name for name, model in MODELS.items())
