"""Volume against TA-Lib, pandas and the definitions."""

import numpy as np
import pandas as pd
import pytest
import talib

from defiyield_assets.domain.market.features.windows import rolling_weighted_sum
from defiyield_assets_tests.domain.market.features.made_bars import (
    Reference,
    assert_equals_reference,
    flat_bars,
    made,
    random_bars,
)


def _money_flow(bars: pd.DataFrame) -> pd.Series:
    place = (2 * bars.close - bars.low - bars.high) / (bars.high - bars.low)
    return (place * bars.volume).rolling(20).sum() / bars.volume.rolling(20).sum()


def _vwap(bars: pd.DataFrame) -> pd.Series:
    price = talib.TYPPRICE(bars.high, bars.low, bars.close)
    return (price * bars.volume).rolling(20).sum() / bars.volume.rolling(20).sum()


REFERENCES: dict[str, Reference] = {
    "obv_slope_20": lambda bars, _: talib.LINEARREG_SLOPE(talib.OBV(bars.close, bars.volume), 20),
    "cmf_20": lambda bars, _: _money_flow(bars),
    "vwap_20": lambda bars, _: _vwap(bars),
    "volume_sma_20": lambda bars, _: talib.SMA(bars.volume, 20),
    "volume_sma_50": lambda bars, _: talib.SMA(bars.volume, 50),
    "relative_volume_20": lambda bars, _: bars.volume / talib.SMA(bars.volume, 20),
    "volume_z_60": lambda bars, _: (bars.volume - bars.volume.rolling(60).mean()) / bars.volume.rolling(60).std(),
    "dollar_volume": lambda bars, _: bars.dollar_volume,
    "amihud_20": lambda bars, _: 1e6 * (bars.close.pct_change().abs() / bars.dollar_volume).rolling(20).mean(),
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_volume_metrics_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric])


def test_the_oldest_row_has_the_first_weight() -> None:
    rows = np.array([[100.0], [1.0], [2.0], [3.0]])
    assert rolling_weighted_sum(rows, (0.5, 0.3, 0.2), 2).ravel().tolist() == [
        0.5 * 100.0 + 0.3 * 1.0 + 0.2 * 2.0,
        0.5 * 1.0 + 0.3 * 2.0 + 0.2 * 3.0,
    ]


def test_bars_without_trade_have_no_average_price_and_no_illiquidity() -> None:
    found = made({"still": flat_bars(80, volume=0.0)})
    for metric in ("cmf_20", "vwap_20", "relative_volume_20", "volume_z_60", "amihud_20"):
        assert np.isnan(found.of(metric, "still")).all(), metric
    assert (found.of("obv_slope_20", "still")[19:] == 0.0).all()


def test_a_bar_without_range_moves_no_money() -> None:
    bars = random_bars(20, seed=31)
    bars.loc[10, ["open", "high", "low", "close"]] = 50.0
    others = bars.drop(index=10)
    place = (2 * others.close - others.low - others.high) / (others.high - others.low)
    expected = (place * others.volume).sum() / bars.volume.sum()
    assert made({"coin": bars}).of("cmf_20", "coin")[-1] == pytest.approx(expected, rel=1e-12)


def test_money_flow_stays_within_one_when_every_close_is_the_high() -> None:
    bars = random_bars(200, seed=32)
    bars["close"] = bars["high"]
    assert made({"coin": bars}).of("cmf_20", "coin")[19:].max() <= 1.0
