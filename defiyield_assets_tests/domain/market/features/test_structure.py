"""Structure: flags against pandas, and each fires on a series made for it."""

import numpy as np
import pandas as pd
import pytest
import talib

from defiyield_assets_tests.domain.market.features.made_bars import (
    Reference,
    assert_equals_reference,
    flat_bars,
    made,
    market,
)


def _flag(condition: pd.Series, *known: pd.Series) -> pd.Series:
    return condition.astype(float).where(pd.concat(known, axis=1).notna().all(axis=1))


def _cross(bars: pd.DataFrame, sign: int) -> pd.Series:
    apart = sign * (talib.SMA(bars.close, 50) - talib.SMA(bars.close, 200))
    return _flag((apart > 0) & (apart.shift(1) <= 0), apart.shift(1))


def _breakout(bars: pd.DataFrame, n: int) -> pd.Series:
    level = bars.high.rolling(n).max().shift(1)
    return _flag(bars.close > level, level)


REFERENCES: dict[str, Reference] = {
    "is_fair_value_gap_bullish": lambda bars, _: _flag(bars.low > bars.high.shift(2), bars.high.shift(2)),
    "is_fair_value_gap_bearish": lambda bars, _: _flag(bars.high < bars.low.shift(2), bars.low.shift(2)),
    "is_golden_cross": lambda bars, _: _cross(bars, 1),
    "is_death_cross": lambda bars, _: _cross(bars, -1),
    "is_breakout_20": lambda bars, _: _breakout(bars, 20),
    "is_breakout_55": lambda bars, _: _breakout(bars, 55),
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_structure_flags_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric])
    assert any(np.nansum(market().of(metric, instrument)) > 0 for instrument in ("coin", "share", "late"))


def test_a_breakout_fires_on_the_bar_that_closes_above_the_highs_before_it() -> None:
    bars = flat_bars(80, 100.0)
    bars["high"] = 101.0
    bars.loc[70, ["high", "close"]] = [105.0, 104.0]  # closes above 101, its own high is 105
    bars.loc[75, ["high", "close"]] = [104.5, 104.5]  # above bar 70's close, below its high
    bars.loc[77, ["high", "close"]] = [105.0, 105.0]  # reaches it only
    found = made({"coin": bars})
    for metric in ("is_breakout_20", "is_breakout_55"):
        assert np.flatnonzero(found.of(metric, "coin") == 1.0).tolist() == [70]


def test_averages_of_a_price_that_stands_still_are_the_same_number() -> None:
    prices = np.round(np.random.default_rng(7).uniform(0.001, 500.0, 50), 3)
    found = made({str(price): flat_bars(210, price) for price in prices})
    for price in prices:
        assert found.of("sma_50", str(price))[-1] == found.of("sma_200", str(price))[-1]


def test_averages_cross_once_each_way_and_never_on_a_price_that_stands_still() -> None:
    steps = np.concatenate([np.full(220, 100.0), 100.0 + np.arange(60), 160.0 - np.arange(120), np.full(300, 40.1)])
    bars = flat_bars(len(steps))
    bars["close"] = steps
    found = made({"coin": bars})
    golden, death = (
        np.flatnonzero(found.of(f"is_{name}_cross", "coin") == 1.0).tolist() for name in ("golden", "death")
    )
    assert golden == [221]
    assert len(death) == 1
    assert 280 < death[0] < 400


def test_a_gap_is_seen_over_three_bars() -> None:
    bars = flat_bars(6, 100.0)
    bars["high"], bars["low"] = [101, 103, 106, 106, 103, 99], [99, 100, 102, 104, 100, 97]
    found = made({"coin": bars})
    bullish, bearish = (found.of(f"is_fair_value_gap_{name}", "coin")[2:].tolist() for name in ("bullish", "bearish"))
    assert bullish == [1.0, 1.0, 0.0, 0.0]  # 102 > 101, 104 > 103, 100 > 106, 97 > 106
    assert bearish == [0.0, 0.0, 0.0, 1.0]  # 99 < 104 at the last bar; 103 < 102 is not


def test_bars_that_only_touch_leave_no_gap() -> None:
    for name in ("bullish", "bearish"):
        assert (market().of(f"is_fair_value_gap_{name}", "flat")[2:] == 0.0).all()


def test_no_gap_is_judged_by_a_bar_whose_range_holds_an_old_close() -> None:
    """Bars without an open are bars that hide a gap (inputs.adjusted_values)."""
    bars = flat_bars(6, 100.0)
    bars["high"], bars["low"] = [101, 103, 106, 106, 103, 99], [99, 100, 102, 104, 100, 97]
    bars.loc[2, "open"] = np.nan
    found = made({"coin": bars})
    for name in ("bullish", "bearish"):
        known = ~np.isnan(found.of(f"is_fair_value_gap_{name}", "coin"))
        assert known.tolist() == [False, False, False, True, False, True]
