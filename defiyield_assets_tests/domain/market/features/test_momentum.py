"""Momentum against TA-Lib, z-scores against pandas."""

import numpy as np
import pandas as pd
import pytest
import talib

from defiyield_assets_tests.domain.market.features.made_bars import (
    Reference,
    assert_equals_reference,
    flat_bars,
    made,
    random_bars,
)

ROC_PERIODS = (5, 10, 20, 63)


def _z_score(values: pd.Series) -> pd.Series:
    window = values.rolling(63)
    return (values - window.mean()) / window.std()


REFERENCES: dict[str, Reference] = {
    "stochastic_k_14": lambda bars, _: talib.STOCHF(bars.high, bars.low, bars.close, 14, 1)[0],
    "stochastic_d_14_3": lambda bars, _: talib.STOCHF(bars.high, bars.low, bars.close, 14, 3)[1],
    "williams_r_14": lambda bars, _: talib.WILLR(bars.high, bars.low, bars.close, 14),
    "cci_20": lambda bars, _: talib.CCI(bars.high, bars.low, bars.close, 20),
    **{f"roc_{n}": lambda bars, _, n=n: talib.ROCP(bars.close, n) for n in ROC_PERIODS},
    **{f"roc_{n}_change": lambda bars, _, n=n: talib.ROCP(bars.close, n).diff() for n in ROC_PERIODS},
    "mfi_14": lambda bars, _: talib.MFI(bars.high, bars.low, bars.close, bars.volume, 14),
    "return_z_63": lambda bars, _: _z_score(np.log(bars.close).diff()),
    "roc_z_63": lambda bars, _: _z_score(bars.close.pct_change(20)),
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_momentum_metrics_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric], tolerance=1e-8)


@pytest.mark.parametrize(
    "metric", ["stochastic_k_14", "stochastic_d_14_3", "williams_r_14", "cci_20", "mfi_14", "return_z_63", "roc_z_63"]
)
def test_a_price_that_stands_still_has_no_oscillators(metric: str) -> None:
    for price in (0.1, 1.0, 0.3, 123.456):
        assert np.isnan(made({"flat": flat_bars(120, price)}).of(metric, "flat")).all()


def test_growth_by_the_same_factor_has_no_z_score_made_of_rounding() -> None:
    bars = flat_bars(120)
    bars[["open", "high", "low", "close"]] = bars[["open", "high", "low", "close"]].mul(1.01 ** np.arange(120), axis=0)
    found = made({"coin": bars})
    for metric in ("return_z_63", "roc_z_63"):
        assert np.isnan(found.of(metric, "coin")).all()


def test_money_that_only_flows_in_makes_an_index_of_100() -> None:
    bars = random_bars(40, seed=21)
    for name in ("open", "high", "low", "close"):
        bars[name] = np.sort(bars[name])
    assert (made({"coin": bars}).of("mfi_14", "coin")[14:] == 100.0).all()
