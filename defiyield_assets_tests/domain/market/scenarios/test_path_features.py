"""Paths get the features that real bars get (path_features.py)."""

from dataclasses import replace

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.scenarios.catalogue import Setting, requests
from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.path_features import metric_rows, with_features
from defiyield_assets_tests.domain.market.scenarios.made import LAST, SMALL, made_history

HISTORY = made_history()
PATHS = generate(requests(SMALL, Setting(LAST, HISTORY.instruments, 1), types=("block_bootstrap",))[0], HISTORY)
NAMES = ("sma_200", "rsi_14", "return_252", "beta_60")


def test_a_mean_over_a_path_is_the_mean_of_its_closes() -> None:
    told = with_features(PATHS.history, NAMES)
    by_pandas = pd.DataFrame(PATHS.history.close).rolling(200).mean().to_numpy()
    np.testing.assert_allclose(told.features["sma_200"], by_pandas, rtol=1e-12)
    assert np.isfinite(told.features["return_252"][told.first_scored :]).all()
    assert np.isfinite(told.features["rsi_14"][told.first_scored :]).all()
    assert np.isnan(told.features["beta_60"]).all()
    beside = with_features(PATHS.history, NAMES, "crypto:A")
    np.testing.assert_allclose(beside.features["beta_60"][100:, 0], 1.0)


def test_a_hole_moves_no_feature_to_another_day() -> None:
    holed = PATHS.history.close.copy()
    holed[100, 1] = np.nan
    told = with_features(replace(PATHS.history, close=holed), ("sma_200",)).features["sma_200"]
    own = pd.Series(np.delete(holed[:, 1], 100)).rolling(200).mean()
    np.testing.assert_allclose(np.delete(told[:, 1], 100), own, rtol=1e-12)
    assert np.isnan(told[100, 1])


def test_later_bars_change_no_earlier_feature() -> None:
    first = with_features(PATHS.history)
    noise = PATHS.history.close.copy()
    noise[-5:] *= 1.5
    high = np.maximum(PATHS.history.high, noise)
    again = with_features(replace(PATHS.history, close=noise, high=high))
    for name, matrix in first.features.items():
        np.testing.assert_array_equal(again.features[name][:-5], matrix[:-5], err_msg=name)


def test_rows_hold_every_bar_and_feature() -> None:
    rows = metric_rows(PATHS, NAMES)
    assert len(rows) == PATHS.history.close.size
    assert set(NAMES) <= set(rows.columns)
    assert not rows.duplicated(["scenario_id", "instrument_id", "step"]).any()
