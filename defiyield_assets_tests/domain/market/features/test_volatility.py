"""Volatility against TA-Lib, scipy and calculations from the definitions; the squeeze on a made series."""

import math
from statistics import variance

import numpy as np
import pandas as pd
import pytest
import talib
from scipy.stats import percentileofscore

from defiyield_assets_tests.domain.market.features.made_bars import (
    Reference,
    assert_equals_reference,
    flat_bars,
    made,
    market,
    rolled,
)


def _width(bars: pd.DataFrame) -> pd.Series:
    upper, middle, lower = talib.BBANDS(bars.close, 20, 2, 2)
    return (upper - lower) / middle


def _percent_b(bars: pd.DataFrame) -> pd.Series:
    upper, _, lower = talib.BBANDS(bars.close, 20, 2, 2)
    return (bars.close - lower) / (upper - lower)


def _keltner(bars: pd.DataFrame, reach: float) -> pd.Series:
    return talib.EMA(bars.close, 20) + reach * talib.ATR(bars.high, bars.low, bars.close, 14)


def _squeeze(bars: pd.DataFrame) -> pd.Series:
    upper, _, lower = talib.BBANDS(bars.close, 20, 2, 2)
    is_on = (lower > _keltner(bars, -1.5)) & (upper < _keltner(bars, 1.5))
    return is_on.astype(float).where(lower.notna())


def _release(bars: pd.DataFrame) -> pd.Series:
    squeeze = _squeeze(bars)
    before = squeeze.shift(1)
    return ((before == 1) & (squeeze == 0)).astype(float).where(before.notna())


def _parkinson(high: np.ndarray, low: np.ndarray) -> float:
    return math.sqrt(sum(math.log(h / low_) ** 2 for h, low_ in zip(high, low, strict=True)) / 20 / (4 * math.log(2)))


def _garman_klass(opened: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> float:
    terms = [
        0.5 * math.log(h / low_) ** 2 - (2 * math.log(2) - 1) * math.log(c / o) ** 2
        for o, h, low_, c in zip(opened, high, low, close, strict=True)
    ]
    return math.sqrt(sum(terms) / 20)


def _yang_zhang(before: np.ndarray, opened: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray) -> float:
    overnight = [math.log(o / c) for o, c in zip(opened, before, strict=True)]
    body = [math.log(c / o) for o, c in zip(opened, close, strict=True)]
    rogers_satchell = [
        math.log(h / c) * math.log(h / o) + math.log(low_ / c) * math.log(low_ / o)
        for o, h, low_, c in zip(opened, high, low, close, strict=True)
    ]
    k = 0.34 / (1.34 + (20 + 1) / (20 - 1))
    return math.sqrt(variance(overnight) + k * variance(body) + (1 - k) * sum(rogers_satchell) / 20)


def _realised(bars: pd.DataFrame, periods: float, n: int) -> pd.Series:
    return np.log(bars.close).diff().rolling(n).std() * math.sqrt(periods)


REFERENCES: dict[str, Reference] = {
    "bollinger_lower_20": lambda bars, _: talib.BBANDS(bars.close, 20, 2, 2)[2],
    "bollinger_middle_20": lambda bars, _: talib.BBANDS(bars.close, 20, 2, 2)[1],
    "bollinger_upper_20": lambda bars, _: talib.BBANDS(bars.close, 20, 2, 2)[0],
    "bollinger_width_20": lambda bars, _: _width(bars),
    "bollinger_percent_b_20": lambda bars, _: _percent_b(bars),
    "bollinger_width_rank_252": lambda bars, _: rolled(
        lambda widths: percentileofscore(widths, widths[-1], "weak") / 100, 252, _width(bars)
    ),
    "keltner_lower_20_1_5": lambda bars, _: _keltner(bars, -1.5),
    "keltner_upper_20_1_5": lambda bars, _: _keltner(bars, 1.5),
    "keltner_lower_20_2": lambda bars, _: _keltner(bars, -2),
    "keltner_upper_20_2": lambda bars, _: _keltner(bars, 2),
    "is_squeeze_on": lambda bars, _: _squeeze(bars),
    "is_squeeze_released": lambda bars, _: _release(bars),
    **{f"realised_vol_{n}": lambda bars, periods, n=n: _realised(bars, periods, n) for n in (10, 20, 60, 252)},
    "parkinson_20": lambda bars, periods: rolled(_parkinson, 20, bars.high, bars.low) * math.sqrt(periods),
    "garman_klass_20": lambda bars, periods: (
        rolled(_garman_klass, 20, bars.open, bars.high, bars.low, bars.close) * math.sqrt(periods)
    ),
    "yang_zhang_20": lambda bars, periods: (
        rolled(_yang_zhang, 20, bars.close.shift(1), bars.open, bars.high, bars.low, bars.close) * math.sqrt(periods)
    ),
    "vol_of_vol_60": lambda bars, periods: _realised(bars, periods, 20).rolling(60).std(),
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_volatility_metrics_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric], tolerance=1e-7)


def test_the_squeeze_is_on_in_the_quiet_and_released_once_when_it_ends() -> None:
    bars = flat_bars(60, 100.0)
    bars["high"], bars["low"] = 101.0, 99.0
    bars.loc[40:, ["open", "high", "low", "close"]] += np.arange(1, 21)[:, None] * 3.0
    found = made({"coin": bars})
    on, released = found.of("is_squeeze_on", "coin"), found.of("is_squeeze_released", "coin")
    assert (on[19:40] == 1.0).all()
    ended = int(np.flatnonzero(on[40:] == 0.0)[0]) + 40
    assert np.flatnonzero(released == 1.0).tolist() == [ended]


def test_a_price_that_stands_still_has_no_volatility_and_no_place_within_its_bands() -> None:
    for metric in ("realised_vol_252", "parkinson_20", "garman_klass_20", "yang_zhang_20", "vol_of_vol_60"):
        known = market().of(metric, "flat")
        assert (known[~np.isnan(known)] == 0.0).all(), metric
        assert not np.isnan(known[-1]), metric
    assert np.isnan(market().of("bollinger_percent_b_20", "flat")).all()
    assert (market().of("bollinger_width_20", "flat")[19:] == 0.0).all()
