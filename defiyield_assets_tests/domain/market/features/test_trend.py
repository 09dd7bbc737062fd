"""Trend against TA-Lib, and highs and lows that leave today out against pandas."""

import numpy as np
import pandas as pd
import pytest
import talib

from defiyield_assets_tests.domain.market.features.made_bars import (
    Reference,
    assert_equals_reference,
    made,
    random_bars,
)

SMA_PERIODS = (5, 10, 20, 50, 100, 200)


def _slope(bars: pd.DataFrame, n: int) -> np.ndarray:
    average = talib.SMA(bars.close, n)
    return talib.LINEARREG_SLOPE(average, 5) / average


REFERENCES: dict[str, Reference] = {
    **{f"sma_{n}": lambda bars, _, n=n: talib.SMA(bars.close, n) for n in SMA_PERIODS},
    **{f"ma_distance_{n}": lambda bars, _, n=n: bars.close / talib.SMA(bars.close, n) - 1 for n in SMA_PERIODS},
    **{f"sma_{n}_slope_5": lambda bars, _, n=n: _slope(bars, n) for n in SMA_PERIODS},
    "aroon_up_25": lambda bars, _: talib.AROON(bars.high, bars.low, 25)[1],
    "aroon_down_25": lambda bars, _: talib.AROON(bars.high, bars.low, 25)[0],
    "aroon_oscillator_25": lambda bars, _: talib.AROONOSC(bars.high, bars.low, 25),
    **{f"donchian_high_{n}": lambda bars, _, n=n: talib.MAX(bars.high, n) for n in (20, 55)},
    **{f"donchian_low_{n}": lambda bars, _, n=n: talib.MIN(bars.low, n) for n in (10, 20)},
    **{f"high_{n}": lambda bars, _, n=n: bars.high.shift(1).rolling(n).max() for n in (20, 55)},
    **{f"low_{n}": lambda bars, _, n=n: bars.low.shift(1).rolling(n).min() for n in (10, 20)},
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_trend_metrics_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric], tolerance=1e-7 if "slope" in metric else 1e-9)


def test_todays_high_is_no_part_of_the_high_before_today() -> None:
    bars = random_bars(60, seed=11)
    bars.loc[59, "high"] = 1e6
    found = made({"coin": bars})
    assert found.of("high_55", "coin")[-1] == bars.high.iloc[-56:-1].max()
    assert found.of("donchian_high_55", "coin")[-1] == 1e6


def test_aroon_takes_the_youngest_of_equal_highs() -> None:
    bars = random_bars(40, seed=12)
    bars.loc[[20, 33], "high"] = 1e6
    assert made({"coin": bars}).of("aroon_up_25", "coin")[-1] == 100.0 * (25 - 6) / 25
