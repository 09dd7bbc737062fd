"""Operators, lookback, nesting, ages; instruments' own bars; indicators of a strategy's own."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from defiyield_assets.domain.strategies.bars import PriceHistory, price_history
from defiyield_assets.domain.strategies.conditions import AnyCondition, Condition
from defiyield_assets.domain.strategies.indicators import calculated
from defiyield_assets.domain.strategies.language import Indicator
from defiyield_assets.domain.strategies.signals import Columns, exits, holds
from defiyield_assets_tests.domain.strategies.histories import random_walk

NAN = float("nan")
_ADAPTER: TypeAdapter[AnyCondition] = TypeAdapter(Condition)


def _history(**columns: list[float]) -> PriceHistory:
    n = len(next(iter(columns.values())))
    close = np.array(columns.pop("close", [1.0] * n))[:, None]
    features = {name: np.array(values)[:, None] for name, values in columns.items()}
    return price_history(["x"], np.datetime64("2024-01-01") + np.arange(n), {"close": close}, features)


def _where(condition: dict[str, object], history: PriceHistory, bars_held: int = 0) -> list[int]:
    flags = holds(_ADAPTER.validate_python(condition), Columns(history, {}), bars_held)
    return np.flatnonzero(flags[:, 0]).tolist()


A = [1.0, 2.0, 3.0, 2.0, 1.0, NAN, 4.0]


@pytest.mark.parametrize(
    ("op", "value", "rows"),
    [
        ("lt", 2.0, [0, 4]),
        ("le", 2.0, [0, 1, 3, 4]),
        ("gt", 2.0, [2, 6]),
        ("ge", 2.0, [1, 2, 3, 6]),
        ("eq", 2.0, [1, 3]),
        ("ne", 2.0, [0, 2, 4, 6]),
        ("between", (2.0, 3.0), [1, 2, 3]),
        ("outside", (2.0, 3.0), [0, 4, 6]),
        ("crosses_above", 1.5, [1]),
        ("crosses_below", 1.5, [4]),
        ("crosses_above", 2.0, [2]),
    ],
)
def test_operators_are_what_they_are_called_and_unknown_is_never_true(op: str, value: object, rows: list[int]) -> None:
    assert _where({"col": "a", "op": op, "value": value}, _history(a=A)) == rows


def test_a_ref_is_compared_bar_by_bar_and_times_multiplies_it() -> None:
    history = _history(a=[1.0, 2.0, 3.0], b=[2.0, 2.0, 2.0])
    assert _where({"col": "a", "op": "crosses_above", "ref": "b"}, history) == [2]
    assert _where({"col": "a", "op": "ge", "ref": "b", "times": 0.5}, history) == [0, 1, 2]


def test_lookback_is_true_where_one_of_the_last_bars_was() -> None:
    assert _where({"col": "a", "op": "eq", "value": 3, "lookback": 3}, _history(a=A)) == [2, 3, 4]


def test_all_and_any_nest() -> None:
    inner = {"any": [{"col": "a", "op": "eq", "value": 1}, {"col": "a", "op": "eq", "value": 3}]}
    assert _where({"all": [inner, {"col": "a", "op": "gt", "value": 1}]}, _history(a=A)) == [2]


def test_the_age_of_a_position_makes_an_exit_true() -> None:
    old = {"all": [{"bars_held": 5}, {"col": "a", "op": "lt", "value": 2}]}
    condition = _ADAPTER.validate_python({"any": [{"col": "a", "op": "eq", "value": 3}, old]})
    told = exits(condition, Columns(_history(a=A), {}))
    assert told.ages == (5,)
    assert [np.flatnonzero(flags[:, 0]).tolist() for flags in told.flags] == [[2], [0, 2, 4]], "younger than 5, older"


def test_the_bar_before_is_the_instruments_own_bar_and_no_day_without_a_session() -> None:
    history = _history(close=[1.0, NAN, NAN, 1.0, 1.0], a=[1.0, NAN, NAN, 3.0, 3.0])
    assert _where({"col": "a", "op": "crosses_above", "value": 2}, history) == [3]
    assert _where({"col": "a", "op": "eq", "value": 1, "lookback": 2}, history) == [0, 3]


@pytest.mark.parametrize("bars", [10, 20, 50])
def test_an_own_mean_has_the_bits_of_the_registrys(bars: int) -> None:
    history = random_walk(1, 120, 2, (f"sma_{bars}",))
    own = calculated(Indicator(method="sma", bars=bars), history.close)
    assert np.array_equal(own, history.features[f"sma_{bars}"], equal_nan=True)


def test_own_indicators_are_what_pandas_says() -> None:
    import pandas as pd

    x = random_walk(2, 80, 2, ()).close
    frame = pd.DataFrame(x)
    expected = {
        "highest": frame.rolling(7).max(),
        "lowest": frame.rolling(7).min(),
        "deviation": frame.rolling(7).std(),
        "change": frame.pct_change(7),
    }
    for method, told in expected.items():
        own = calculated(Indicator(method=method, bars=7), x)  # type: ignore[arg-type]
        np.testing.assert_allclose(own, told.to_numpy(), rtol=1e-12)
        before = calculated(Indicator(method=method, bars=7, before_today=True), x)  # type: ignore[arg-type]
        assert np.array_equal(before[1:], own[:-1], equal_nan=True)
    seeded = frame.copy()
    seeded.iloc[6] = frame.iloc[:7].mean()
    seeded.iloc[:6] = NAN
    expected_ema = seeded.iloc[6:].ewm(span=7, adjust=False).mean()
    np.testing.assert_allclose(calculated(Indicator(method="ema", bars=7), x)[6:], expected_ema, rtol=1e-12)
