"""Risk window by window from the definitions."""

import math

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.market.features import windows
from defiyield_assets_tests.domain.market.features.made_bars import (
    Reference,
    assert_equals_reference,
    flat_bars,
    made,
    market,
    random_bars,
    rolled,
)


def _returns(bars: pd.DataFrame) -> pd.Series:
    return bars.close.pct_change()


def _of_year(function: object, bars: pd.DataFrame) -> np.ndarray:
    return rolled(function, 252, _returns(bars))  # type: ignore[arg-type]


def _downside(returns: np.ndarray) -> float:
    return math.sqrt(sum(min(one, 0.0) ** 2 for one in returns) / 252)


def _drawdowns(closes: np.ndarray) -> np.ndarray:
    return 1 - closes / np.maximum.accumulate(closes)


def _calmar(closes: np.ndarray, periods: float) -> float:
    return ((closes[-1] / closes[0]) ** (periods / 252) - 1) / _drawdowns(closes).max()


REFERENCES: dict[str, Reference] = {
    "var_95_252": lambda bars, _: _of_year(lambda r: -np.sort(r)[12], bars),
    "var_99_252": lambda bars, _: _of_year(lambda r: -np.sort(r)[2], bars),
    "cvar_95_252": lambda bars, _: _of_year(lambda r: -np.sort(r)[:13].mean(), bars),
    "cvar_99_252": lambda bars, _: _of_year(lambda r: -np.sort(r)[:3].mean(), bars),
    "downside_deviation_252": lambda bars, periods: _of_year(lambda r: _downside(r) * math.sqrt(periods), bars),
    "sharpe_252": lambda bars, periods: _of_year(lambda r: r.mean() / r.std(ddof=1) * math.sqrt(periods), bars),
    "sortino_252": lambda bars, periods: _of_year(lambda r: r.mean() / _downside(r) * math.sqrt(periods), bars),
    "calmar_252": lambda bars, periods: rolled(lambda c: _calmar(c, periods), 253, bars.close),
    "ulcer_index_252": lambda bars, _: rolled(lambda c: math.sqrt((_drawdowns(c) ** 2).mean()), 252, bars.close),
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_risk_metrics_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric], tolerance=1e-8)


def test_no_bit_depends_on_the_blocks_in_which_a_long_window_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    closes = np.column_stack([random_bars(400, seed=seed).close for seed in range(5)])
    whole = [windows.rolling_ulcer(closes, 100, 301), windows.rolling_quantile_low(closes, 100, 7, 301)]
    monkeypatch.setattr(windows, "ROWS_TIMES_COLUMNS", 64)
    monkeypatch.setattr(windows, "VALUES_AT_ONCE", 700)
    for one, other in zip(
        whole, [windows.rolling_ulcer(closes, 100, 301), windows.rolling_quantile_low(closes, 100, 7, 301)], strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_tail_is_the_rounded_up_share_of_252_returns() -> None:
    assert (math.ceil(0.05 * 252), math.ceil(0.01 * 252)) == (13, 3)


def test_an_expected_shortfall_is_no_less_than_its_value_at_risk() -> None:
    for confidence in (95, 99):
        at_risk, shortfall = (market().of(f"{name}_{confidence}_252", "coin")[252:] for name in ("var", "cvar"))
        assert (shortfall >= at_risk).all()


def test_no_ratio_is_made_of_a_price_that_stands_still_or_only_rises() -> None:
    rising = flat_bars(300)
    rising["close"] = 1.001 ** np.arange(300)
    found = made({"flat": flat_bars(300), "rising": rising})
    for metric in ("sharpe_252", "sortino_252", "calmar_252"):
        assert np.isnan(found.of(metric, "flat")).all(), metric
        assert np.isnan(found.of(metric, "rising")).all(), metric
    assert found.of("var_95_252", "flat")[-1] == 0.0
    assert found.of("ulcer_index_252", "rising")[-1] == 0.0


def test_a_fall_that_is_rounding_divides_nothing() -> None:
    standing = flat_bars(300)
    standing["close"] = 1.0 + (np.arange(300) % 2) * 2.0**-52
    assert np.isnan(made({"standing": standing}).of("calmar_252", "standing")).all()
