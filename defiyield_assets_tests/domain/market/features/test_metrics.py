"""Rules that hold for every metric of one instrument's bars: warm-up, inputs, units, bounds, nothing from later bars.

Lives here: what the registry says of a metric, checked on the panel. Not here: its values (one file per group,
test_recursions.py), batch and increments (test_calculate.py).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.market.features import momentum, returns, risk, structure, trend, volatility, volume
from defiyield_assets.domain.market.features.inputs import adjusted_values
from defiyield_assets.domain.market.features.metric import Metric
from defiyield_assets.domain.market.features.registry import BAR_METRICS
from defiyield_assets_tests.domain.market.features import (
    made_bars,
    test_momentum,
    test_returns,
    test_risk,
    test_structure,
    test_trend,
    test_volatility,
    test_volume,
)

WINDOWED = {
    metric.name for group in (trend, momentum, volatility, volume, returns, risk, structure) for metric in group.METRICS
}
BY_NAME = {metric.name: metric for metric in BAR_METRICS}
PRICES = ("open", "high", "low", "close")
every_metric = pytest.mark.parametrize("metric", BAR_METRICS, ids=lambda metric: metric.name)


def test_every_windowed_metric_has_a_reference_of_its_own() -> None:
    references: set[str] = set()
    for tests in (test_trend, test_momentum, test_volatility, test_volume, test_returns, test_risk, test_structure):
        references |= set(tests.REFERENCES)
    assert references == WINDOWED


@every_metric
def test_the_first_value_comes_with_the_last_bar_of_the_warm_up(metric: Metric) -> None:
    for instrument, n in (("coin", made_bars.N_BARS), ("late", made_bars.LATE_BARS)):
        known = ~np.isnan(made_bars.market().of(metric.name, instrument))
        assert len(known) == n
        assert not known[: metric.warm_up - 1].any()
        assert known[metric.warm_up - 1 :].all()


@every_metric
def test_no_metric_leaves_its_bounds(metric: Metric) -> None:
    least, greatest = metric.bounds
    for values in (made_bars.market().values[metric.name], _extremes().values[metric.name]):
        known = values[~np.isnan(values)]
        assert np.isfinite(known).all()
        assert least is None or (known >= least).all()
        assert greatest is None or (known <= greatest).all()


@pytest.mark.parametrize("metric", ["bollinger_percent_b_20", "cci_20", "return_z_63", "roc_z_63", "volume_z_60"])
def test_rounding_of_a_price_that_stands_still_makes_no_value(metric: str) -> None:
    assert np.isnan(_extremes().of(metric, "rounded")).all()


@every_metric
def test_a_metric_is_null_exactly_without_what_it_needs(metric: Metric) -> None:
    whole = made_bars.market().of(metric.name, "coin")
    for need, columns in NEEDED.items():
        found = _without(columns).of(metric.name, "coin")
        if need in metric.needs:
            assert np.isnan(found).all(), need
        elif need != "close" or "ohlc" not in metric.needs:
            np.testing.assert_array_equal(found, whole, err_msg=need)


@every_metric
def test_a_source_of_closes_only_has_the_metrics_of_closes_only(metric: Metric) -> None:
    found = made_bars.market()
    assert np.isnan(found.of(metric.name, "closes")[-1]) == bool(metric.needs & {"ohlc", "volume"})
    assert np.isnan(found.of(metric.name, "no_volume")[-1]) == ("volume" in metric.needs)


@every_metric
def test_prices_scale_with_the_currency_and_fractions_do_not(metric: Metric) -> None:
    whole = made_bars.market().of(metric.name, "coin")
    scale = 3.7 if metric.unit == "price" else 1.0
    found = _scaled().of(metric.name, "coin")
    np.testing.assert_allclose(found, scale * whole, rtol=1e-7, atol=1e-7 if metric.unit == "index" else 1e-10)


@every_metric
def test_no_later_bar_changes_a_value(metric: Metric) -> None:
    np.testing.assert_array_equal(
        _with_another_future().of(metric.name, "coin")[:LATER], made_bars.market().of(metric.name, "coin")[:LATER]
    )


def test_a_two_for_one_split_leaves_the_adjusted_series_flat() -> None:
    """Raw prices halve and volume doubles; nothing of it is seen in any metric but in the raw turnover's units."""
    n, split = 300, 200
    is_after = np.arange(n) >= split
    factor = np.where(is_after, 1.0, 0.5)
    flat = made_bars.flat_bars(n, price=50.0, volume=2000.0)
    raw: dict[str, Any] = {name: np.where(is_after, 50.0, 100.0) for name in PRICES}
    raw |= {"volume_units": np.where(is_after, 2000.0, 1000.0), "volume_usd": np.full(n, np.nan)}
    raw |= {"adj_factor": factor, "split_factor": factor, "quality": np.full(n, "full", dtype=object)}
    raw |= {name: np.full(n, "one", dtype=object) for name in ("instrument_id", "volume_source")}
    adjusted = pd.DataFrame(adjusted_values(raw))
    found = made_bars.made({"split": adjusted, "flat": flat})
    for name in BY_NAME:
        np.testing.assert_array_equal(found.of(name, "split"), found.of(name, "flat"), err_msg=name)
    assert found.of("sma_200", "split")[-1] == 50.0
    assert found.of("realised_vol_252", "split")[-1] == 0.0


def _adjusted(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """A frame of bars as the store would tell it, as values of a panel."""
    n = len(frame)
    raw: dict[str, Any] = {name: frame[name].to_numpy(float) for name in PRICES}
    raw |= {"volume_units": frame["volume"].to_numpy(float), "volume_usd": np.full(n, np.nan)}
    raw |= {"adj_factor": np.ones(n), "split_factor": np.ones(n), "quality": np.full(n, "full", dtype=object)}
    raw |= {name: np.full(n, "one", dtype=object) for name in ("instrument_id", "volume_source")}
    return pd.DataFrame(adjusted_values(raw | columns))


def test_no_window_of_volumes_holds_two_sources() -> None:
    """A file's exchange volume until bar 199, a vendor's world volume of a million times as much from then on: every
    metric of volume is null until it has warmed up on the new source alone, and then as if that had been all.
    """
    frame, splice = made_bars.random_bars(300, seed=41), 200
    spliced = frame.assign(volume=frame["volume"].where(frame.index < splice, 1e6 * frame["volume"]))
    source = np.where(frame.index < splice, "csv:x", "coinmarketcap").astype(object)
    found = made_bars.made({"spliced": _adjusted(spliced, volume_source=source)})
    alone = made_bars.made({"alone": _adjusted(spliced).iloc[splice + 1 :]})
    for name in [metric.name for metric in BY_NAME.values() if "volume" in metric.needs]:
        values, warm_up = found.of(name, "spliced"), BY_NAME[name].warm_up
        first = splice + warm_up + (0 if name in ("mfi_14", "amihud_20", "obv_slope_20") else 1)
        assert np.isnan(values[splice]), name
        if warm_up > 1:
            assert np.isnan(values[splice : splice + warm_up - 1]).all(), name
            assert not np.isnan(values[splice - 1]), name
            assert not np.isnan(values[first]), name
            np.testing.assert_array_equal(values[first + 1 :], alone.of(name, "alone")[first - splice :], err_msg=name)


def test_a_bar_that_hides_a_gap_has_none_and_no_part_in_what_reads_opens() -> None:
    """It opens at the old close and closes half as high again: the return is known, the gap is not 0 but unknown."""
    frame = made_bars.random_bars(100, seed=42)
    frame.loc[50:, list(PRICES)] *= 1.5
    frame.loc[50, ["open", "low"]] = frame.loc[49, "close"]
    quality = np.where(frame.index == 50, "masked_gap", "full").astype(object)
    found = made_bars.made({"coin": _adjusted(frame, quality=quality)})
    assert found.of("return_1", "coin")[50] == frame["close"][50] / frame["close"][49] - 1.0
    for name, windows in {"gap": 1, "yang_zhang_20": 20, "garman_klass_20": 20}.items():
        is_null = np.isnan(found.of(name, "coin")[30:80])
        assert np.flatnonzero(is_null).tolist() == list(range(20, 20 + windows)), name


def test_a_bar_without_a_close_is_felt_by_the_windows_that_hold_it_and_by_no_other() -> None:
    frame = made_bars.market().frames["coin"].copy()
    frame.loc[300, [*PRICES, "volume", "dollar_volume"]] = np.nan
    found = made_bars.made({"coin": frame}, {"coin": 365.0})
    for name in WINDOWED - {name for name in WINDOWED if "keltner" in name or "squeeze" in name}:
        metric, values = BY_NAME[name], found.of(name, "coin")
        whole = made_bars.market().of(name, "coin")
        after = slice(300 + metric.warm_up, None)
        np.testing.assert_array_equal(values[:300], whole[:300], err_msg=name)
        np.testing.assert_array_equal(values[after], whole[after], err_msg=name)
        assert np.isnan(values[300 + (name in BEFORE_TODAY)]), name


# --- panels ---------------------------------------------------------------------------------------------------------
NEEDED = {
    "close": ("close",),
    "ohlc": ("open", "high", "low"),
    "volume": ("volume", "dollar_volume"),
    "benchmark": ("benchmark_close",),
}
BEFORE_TODAY = ("high_20", "high_55", "low_10", "low_20")
LATER = 400


@cache
def _without(columns: tuple[str, ...]) -> made_bars.Made:
    return _changed(dict.fromkeys(columns, np.nan))


@cache
def _scaled() -> made_bars.Made:
    coin = made_bars.market().frames["coin"]
    return _changed({name: 3.7 * coin[name] for name in PRICES})


@cache
def _with_another_future() -> made_bars.Made:
    coin, other = made_bars.market().frames["coin"], made_bars.random_bars(made_bars.N_BARS, seed=77)
    return _changed({name: coin[name].where(coin.index < LATER, 9.0 * other[name]) for name in coin})


def _changed(columns: Mapping[str, Any]) -> made_bars.Made:
    return made_bars.made({"coin": made_bars.market().frames["coin"].assign(**columns)}, {"coin": 365.0})


@cache
def _extremes() -> made_bars.Made:
    """A walk that jumps and crashes, one that only rises, two that stand still but for a bar or for rounding, one that
    is hardly traded.
    """
    wild = made_bars.random_bars(made_bars.N_BARS, seed=88, volatility=0.8)
    rising = made_bars.flat_bars(made_bars.N_BARS).mul(1.05 ** np.arange(made_bars.N_BARS), axis=0)
    once = made_bars.flat_bars(made_bars.N_BARS)
    once.loc[400, ["high", "close", "volume"]] = [0.13, 0.13, 1e9]
    lonely = made_bars.flat_bars(made_bars.N_BARS, price=0.3, volume=0.0)
    lonely.loc[[380, 440], "volume"] = 1234.567
    rounded = made_bars.flat_bars(made_bars.N_BARS, price=1.0)
    rounded.loc[400] = rounded.loc[400] * (1.0 + 2.0**-52)
    rounded.loc[430:] = rounded.loc[430:] * (1.0 - 2.0**-53)
    return made_bars.made({"wild": wild, "rising": rising, "once": once, "rounded": rounded, "lonely": lonely})
