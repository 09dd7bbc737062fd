"""Tests of windows found by regime (regime_windows.py)."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.market.scenarios.definitions import RegimeKind
from defiyield_assets.domain.market.scenarios.regime_windows import RegimeWindow, regime_windows
from defiyield_assets.errors import SuspiciousDataError

LEAST: dict[RegimeKind, int] = {"bull": 90, "bear": 60, "high_vol": 30, "ranging": 45}
FIRST = date(2022, 1, 1)


def told(drifts: list[tuple[int, float]], turbulent: tuple[tuple[int, int], ...] = ()) -> list[RegimeWindow]:
    """Windows of a market with these (days, drift a day) one after another, a small wave on top."""
    drift = np.concatenate([np.full(days, size) for days, size in drifts])
    wave = 0.01 * np.where(np.arange(len(drift)) % 2, 1.0, -1.0)
    days = [FIRST + timedelta(days=number) for number in range(len(drift))]
    closes = pd.Series(100.0 * np.exp(np.cumsum(drift) + wave), index=days)
    state = np.full(len(drift), "calm", dtype=object)
    for start, stop in turbulent:
        state[start:stop] = "turbulent"
    regimes = pd.DataFrame({"market": "m", "date": days, "state": state})
    return regime_windows("m", regimes, closes, days[-1], LEAST)


def test_a_long_rise_is_a_bull_and_a_long_fall_a_bear() -> None:
    found = told([(500, 0.004), (300, -0.004)])
    kinds = [window.kind for window in found]
    assert kinds == ["bull", "bear"]
    bull, bear = found
    assert bull.start == FIRST + timedelta(days=199 + 21)  # where the mean's slope is known
    assert bull.gain > 0.0 > bear.gain
    assert (bear.end - bear.start).days + 1 >= 60


def test_a_market_that_goes_nowhere_is_ranging() -> None:
    found = told([(400, 0.0)])
    assert [window.kind for window in found] == ["ranging"]
    assert found[0].end == FIRST + timedelta(days=399)


@pytest.mark.parametrize(("length", "n_found"), [(29, 0), (30, 1)])
def test_high_volatility_lasts_thirty_days_at_least(length: int, n_found: int) -> None:
    found = [window for window in told([(300, 0.001)], ((100, 100 + length),)) if window.kind == "high_vol"]
    assert len(found) == n_found


@pytest.mark.parametrize(("gap", "n_found"), [(10, 1), (11, 2)])
def test_ten_other_sessions_in_a_row_do_not_end_a_window(gap: int, n_found: int) -> None:
    found = [
        window for window in told([(400, 0.001)], ((100, 150), (150 + gap, 200 + gap))) if window.kind == "high_vol"
    ]
    assert len(found) == n_found


def test_days_without_a_state_are_of_no_kind_and_nothing_later_is_read() -> None:
    days = [FIRST + timedelta(days=number) for number in range(600)]
    closes = pd.Series(100.0 * np.exp(0.004 * np.arange(600)), index=days)
    regimes = pd.DataFrame({"market": "m", "date": days, "state": "calm"})
    as_of = days[449]
    found = regime_windows("m", regimes, closes, as_of, LEAST)
    assert found[0].end == as_of
    disturbed = closes.where(closes.index <= as_of, 1.0)
    assert regime_windows("m", regimes, disturbed, as_of, LEAST) == found
    later = regime_windows("m", regimes[300:], closes, as_of, LEAST)
    assert later[0].start == days[300]


def test_no_common_day_and_prices_of_nothing_are_refused() -> None:
    regimes = pd.DataFrame({"market": "m", "date": [FIRST], "state": "calm"})
    with pytest.raises(SuspiciousDataError, match="no day of market_regimes of m"):
        regime_windows("m", regimes, pd.Series([1.0], index=[FIRST + timedelta(days=1)]), date(2030, 1, 1), LEAST)
    with pytest.raises(SuspiciousDataError, match="not positive"):
        regime_windows("m", regimes, pd.Series([0.0], index=[FIRST]), date(2030, 1, 1), LEAST)
