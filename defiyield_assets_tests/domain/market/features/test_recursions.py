"""Metrics with memory against TA-Lib, and what makes them start again.

TA-Lib is a second implementation, not the calculator: it keeps no state, and its running sums depend on where it began.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import talib

from defiyield_assets.domain.market.features.panel import FIELDS, Bars, pack
from defiyield_assets.domain.market.features.recursions import (
    EMA_PERIODS,
    EWMA_SEED,
    METRICS,
    STATE_FIELDS,
    advance,
    blank_state,
)
from defiyield_assets_tests.domain.market.features.made_bars import WHOLE, flat_bars, market, panel_of, random_bars

Oracle = Callable[[dict[str, np.ndarray]], np.ndarray]
ORACLES: dict[str, Oracle] = {
    **{f"ema_{n}": lambda bars, n=n: talib.EMA(bars["close"], n) for n in EMA_PERIODS},  # type: ignore[misc]
    "macd": lambda bars: talib.MACD(bars["close"])[0],
    "macd_signal": lambda bars: talib.MACD(bars["close"])[1],
    "macd_histogram": lambda bars: talib.MACD(bars["close"])[2],
    "rsi_14": lambda bars: talib.RSI(bars["close"], 14),
    "rsi_21": lambda bars: talib.RSI(bars["close"], 21),
    "adx_14": lambda bars: talib.ADX(bars["high"], bars["low"], bars["close"], 14),
    "plus_di_14": lambda bars: talib.PLUS_DI(bars["high"], bars["low"], bars["close"], 14),
    "minus_di_14": lambda bars: talib.MINUS_DI(bars["high"], bars["low"], bars["close"], 14),
    "psar": lambda bars: talib.SAR(bars["high"], bars["low"], 0.02, 0.2),
    "atr_14": lambda bars: talib.ATR(bars["high"], bars["low"], bars["close"], 14),
    "atr_percent_14": lambda bars: talib.NATR(bars["high"], bars["low"], bars["close"], 14) / 100.0,
    "obv": lambda bars: talib.OBV(bars["close"], bars["volume"]),
    "accumulation_distribution": lambda bars: talib.AD(bars["high"], bars["low"], bars["close"], bars["volume"]),
}
NOT_IN_TALIB = {"ewma_vol_94"}


def columns(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Contiguous vectors, as TA-Lib wants them."""
    return {name: frame[name].to_numpy(float).copy() for name in frame}


def advanced(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every recursive metric of one instrument from its first bar."""
    with np.errstate(all="ignore"):
        told = advance(panel_of({"one": frame}, {"one": 365.0}), blank_state(1))[0]
    return {name: values[:, 0] for name, values in told.items()}


def test_every_recursive_metric_has_an_oracle() -> None:
    assert {metric.name for metric in METRICS} == set(ORACLES) | NOT_IN_TALIB


@pytest.mark.parametrize("name", ORACLES)
def test_recursive_metrics_are_those_of_ta_lib(name: str) -> None:
    warm_up = {metric.name: metric.warm_up for metric in METRICS}[name]
    for instrument in WHOLE:
        ours, oracle = market().of(name, instrument), ORACLES[name](columns(market().frames[instrument]))
        known = ~np.isnan(oracle)
        # TA-Lib shows MACD together with its signal only.
        assert known.argmax() == (34 if name == "macd" else warm_up) - 1
        np.testing.assert_allclose(ours[known], oracle[known], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["psar", "adx_14", "obv", "rsi_14"])
@pytest.mark.parametrize("seed", range(5))
def test_recursive_metrics_are_those_of_ta_lib_on_coarse_prices(name: str, seed: int) -> None:
    frame = random_bars(300, seed=1000 + seed, volatility=0.05)
    prices = ["open", "high", "low", "close"]
    frame[prices] = frame[prices].round(0) + 1.0
    frame["high"], frame["low"] = frame[prices].max(axis=1), frame[prices].min(axis=1)
    oracle, ours = ORACLES[name](columns(frame)), advanced(frame)[name]
    known = ~np.isnan(oracle)
    np.testing.assert_allclose(ours[known], oracle[known], rtol=1e-9, atol=1e-9)


def test_ewma_volatility_starts_as_the_mean_of_its_first_squares() -> None:
    close = market().frames["coin"]["close"]
    squares = np.log(close / close.shift()).to_numpy()[1:] ** 2
    variance = [squares[:EWMA_SEED].mean()]
    for square in squares[EWMA_SEED:]:
        variance.append(0.94 * variance[-1] + 0.06 * square)
    found = market().of("ewma_vol_94", "coin")
    assert np.isnan(found[:EWMA_SEED]).all()
    np.testing.assert_allclose(found[EWMA_SEED:], np.sqrt(365.0 * np.array(variance)), rtol=1e-12)


def test_a_null_starts_a_recursion_again() -> None:
    frame = random_bars(200, seed=7)
    holed = frame.copy()
    holed.loc[79, "high"] = np.nan
    after, alone = advanced(holed), advanced(frame.iloc[80:].reset_index(drop=True))
    for name in ("atr_14", "adx_14", "psar", "accumulation_distribution"):
        assert np.isnan(after[name][79])
        np.testing.assert_array_equal(after[name][80:], alone[name])
    # What reads no high goes on.
    for name in ("ema_12", "rsi_14", "obv", "ewma_vol_94"):
        np.testing.assert_array_equal(after[name], advanced(frame)[name])


def test_without_movement_an_index_of_movement_is_unknown() -> None:
    told = advanced(flat_bars(60))
    assert np.isnan(told["rsi_14"]).all()
    assert np.isnan(told["plus_di_14"]).all()
    assert told["atr_14"][-1] == 0.0


def test_rows_that_are_not_new_leave_the_state_as_it_is() -> None:
    bars = panel_of(
        {"long": random_bars(60, seed=1), "short": random_bars(20, seed=2)}, {"long": 365.0, "short": 365.0}
    )
    start = {name: np.arange(2.0) + number for number, name in enumerate(STATE_FIELDS)}
    still = Bars(**{**bars.__dict__, "is_new": np.stack([np.ones(60, bool), np.zeros(60, bool)], axis=1)})
    told, before, behind = advance(still, start)
    assert all(behind[name][1] == start[name][1] for name in STATE_FIELDS)
    assert all(np.isnan(values[:, 1]).all() for values in (*told.values(), *before.values()))


def test_the_value_at_the_bar_before_is_known_from_the_state() -> None:
    frame = random_bars(120, seed=3)
    whole = panel_of({"one": frame}, {"one": 365.0})
    told, _, _ = advance(whole, blank_state(1))
    _, _, behind = advance(panel_of({"one": frame.iloc[:100]}, {"one": 365.0}), blank_state(1))
    rows = {name: frame[name].to_numpy(float) for name in FIELDS if name in frame}
    is_new = np.arange(120) >= 100
    later = pack(np.zeros(120, np.intp), np.arange(120).astype("datetime64[D]"), rows, is_new, np.array([365.0]))
    _, before, _ = advance(later, behind)
    for name in ("ema_20", "atr_14"):
        np.testing.assert_array_equal(before[name][:, 0], told[name][99:119, 0])
