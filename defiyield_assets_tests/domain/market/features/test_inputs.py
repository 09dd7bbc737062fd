"""Rows of daily_bars as values of a panel: adjustment, units, order, benchmarks."""

from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.inputs import adjusted_values, levels_beside, order_of_bars
from defiyield_assets.domain.prices.adjustments import adjustment_factors, total_return_levels

NAN = np.nan


def days(*texts: str) -> np.ndarray:
    """Days as the store reads them."""
    return np.array(texts, dtype="datetime64[D]")


def test_prices_and_volumes_are_adjusted_and_each_in_its_unit() -> None:
    told = {
        **{name: np.array([10.0, 20.0, 20.0]) for name in ("open", "high", "low", "close")},
        "adj_factor": np.array([0.5, 1.0, 1.0]),
        "split_factor": np.array([0.5, 1.0, 1.0]),
        "volume_units": np.array([100.0, NAN, NAN]),
        "volume_usd": np.array([NAN, 4000.0, NAN]),
        **described("full", "full", "full"),
    }
    values = adjusted_values(told)
    np.testing.assert_array_equal(values["close"], [5.0, 20.0, 20.0])
    np.testing.assert_array_equal(values["volume"], [200.0, 200.0, NAN])
    np.testing.assert_array_equal(values["dollar_volume"], [1000.0, 4000.0, NAN])


def described(*quality: str, source: str | None = "one") -> dict[str, np.ndarray]:
    """What bars of one instrument are beside their figures."""
    texts = {"instrument_id": "a", "volume_source": source}
    same = {name: np.array([text] * len(quality), dtype=object) for name, text in texts.items()}
    return {**same, "quality": np.array(quality, dtype=object)}


def plain(n: int) -> dict[str, np.ndarray]:
    """Figures of n bars at 10 with a volume of 100 units."""
    prices = {name: np.full(n, 10.0) for name in ("open", "high", "low", "close")}
    factors = {"adj_factor": np.ones(n), "split_factor": np.ones(n)}
    return {**prices, **factors, "volume_units": np.full(n, 100.0), "volume_usd": np.full(n, NAN)}


def test_the_open_of_a_bar_that_hides_a_gap_is_unknown() -> None:
    values = adjusted_values({**plain(3), **described("full", "masked_gap", "full")})
    np.testing.assert_array_equal(values["open"], [10.0, NAN, 10.0])
    np.testing.assert_array_equal(values["high"], [10.0, 10.0, 10.0])


def test_the_volume_of_the_first_bar_of_another_source_is_unknown() -> None:
    """A bar without a volume has no source; another instrument's bar before is none."""
    told = {**plain(8), **described(*["full"] * 8)}
    told["volume_source"] = np.array(["csv:x", "csv:x", "av", "av", None, "csv:x", "av", "av"], dtype=object)
    told["volume_units"][4] = NAN
    told["instrument_id"] = np.array(["a"] * 6 + ["b"] * 2, dtype=object)
    values = adjusted_values(told)
    expected = [True, True, False, True, False, True, True, True]
    np.testing.assert_array_equal(~np.isnan(values["volume"]), expected)
    np.testing.assert_array_equal(~np.isnan(values["dollar_volume"]), expected)


def test_rows_are_ordered_by_instrument_and_day_also_before_1970() -> None:
    ids = np.array(["b", "a", "b", "a", "b"], dtype=object)
    names, order = order_of_bars(ids, days("1962-01-03", "2025-01-01", "1962-01-02", "1969-12-31", "2025-06-01"))
    assert (names, order.tolist()) == (["a", "b"], [3, 1, 2, 0, 4])
    assert order_of_bars(ids[:0], days())[0] == []


def test_the_benchmark_stands_beside_each_bar_of_its_day_only() -> None:
    ids = np.array(["a", "a", "b", "c"], dtype=object)
    told = {"spy": (days("2025-01-02", "2025-01-03"), np.array([7.0, 8.0]))}
    beside = levels_beside(
        ids, days("2025-01-02", "2025-01-04", "2025-01-03", "2025-01-03"), told, {"a": "spy", "b": "spy"}
    )
    np.testing.assert_array_equal(beside, [7.0, NAN, 8.0, NAN])


def actions(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Rows of corporate_actions of one instrument."""
    told = [("etf:SPY", date.fromisoformat(day), kind, value) for day, kind, value in rows]
    return pd.DataFrame(told, columns=["instrument_id", "ex_date", "kind", "value"])


def fund() -> pd.DataFrame:
    """Twenty raw closes of a fund."""
    closes = 100.0 * np.exp(np.cumsum(np.random.default_rng(8).normal(0, 0.02, 20)))
    first = np.datetime64("2025-01-01")
    told = {"instrument_id": "etf:SPY", "date": (first + np.arange(20)).astype(object), "close": closes}
    return pd.DataFrame(told).assign(is_adjusted=False)


def test_levels_have_the_returns_of_adjusted_closes_and_no_later_action_changes_them() -> None:
    bars = fund()
    known = actions(("2025-01-05", "dividend", 1.3), ("2025-01-09", "split", 2.0), ("2025-01-09", "dividend", 0.4))
    later = pd.concat([known, actions(("2025-01-15", "dividend", 0.7))], ignore_index=True)
    found = {}
    for name, told in (("known", known), ("later", later)):
        factors = adjustment_factors(bars, told)["adj_factor"]
        levels = total_return_levels(bars.assign(adj_factor=factors), told)
        adjusted = bars["close"].to_numpy() * factors.to_numpy()
        np.testing.assert_allclose(levels[1:] / levels[:-1], adjusted[1:] / adjusted[:-1], rtol=1e-13)
        found[name] = levels
    np.testing.assert_array_equal(found["known"][:14], found["later"][:14])
    assert (found["known"][14:] != found["later"][14:]).all()


def test_closes_that_are_adjusted_already_are_their_own_level() -> None:
    bars = fund().assign(adj_factor=1.0)
    levels = total_return_levels(bars, actions(("2025-01-05", "dividend", 1.3)))
    np.testing.assert_array_equal(levels, bars["close"])


def test_levels_go_on_where_adjusted_closes_meet_raw_ones() -> None:
    """A file adjusted up to the 12th has the bars up to the 8th, a vendor's raw ones stand behind them."""
    bars, told = fund(), actions(("2025-01-05", "dividend", 1.3), ("2025-01-11", "split", 2.0))
    later = pd.concat([told, actions(("2025-01-15", "dividend", 0.7))], ignore_index=True)
    true_factors = adjustment_factors(bars, told)["adj_factor"].to_numpy()
    is_early = np.arange(20) < 8
    closes = np.where(is_early, bars["close"] * true_factors, bars["close"])
    through = np.where(is_early, date(2025, 1, 12), None)
    spliced = bars.assign(close=closes, is_adjusted=is_early, adjusted_through=through)
    found = {}
    for name, known in (("told", told), ("later", later)):
        factors = adjustment_factors(spliced, known)["adj_factor"]
        levels = total_return_levels(spliced.assign(adj_factor=factors), known)
        adjusted = closes * factors.to_numpy()
        np.testing.assert_allclose(levels[1:] / levels[:-1], adjusted[1:] / adjusted[:-1], rtol=1e-11)
        found[name] = levels
    np.testing.assert_allclose(found["told"] / found["told"][0], bars["close"] * true_factors / closes[0], rtol=1e-11)
    np.testing.assert_array_equal(found["told"][:14], found["later"][:14])
