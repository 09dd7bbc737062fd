"""Tests of domain/prices/adjustments.py: identities by hand, and a vendor's published adjusted closes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.prices.adjustments import (
    ACTION_COLUMNS,
    actions_of_bars,
    adjustment_factors,
    compare_with_vendor,
    dividends_on_old_closes,
    impossible_actions,
)

MONDAY = date(2024, 6, 3)
NAME = "equity:ACME"


def day(offset: int) -> date:
    return MONDAY + timedelta(days=offset)


def bars(closes: dict[int, float], name: str = NAME, *, is_adjusted: bool = False) -> pd.DataFrame:
    """Bars by day offset."""
    return pd.DataFrame(
        {
            "instrument_id": name,
            "date": [day(offset) for offset in closes],
            "close": list(closes.values()),
            "is_adjusted": is_adjusted,
        }
    )


def actions(*rows: tuple[int, str, float], name: str = NAME) -> pd.DataFrame:
    return pd.DataFrame(
        [(name, day(offset), kind, value) for offset, kind, value in rows],
        columns=["instrument_id", "ex_date", "kind", "value"],
    )


def factors(told: pd.DataFrame, what: pd.DataFrame) -> list[float]:
    return list(adjustment_factors(told, what)["adj_factor"])


def test_a_two_for_one_split_leaves_the_adjusted_series_flat() -> None:
    told = bars({0: 100.0, 1: 100.0, 2: 50.0, 3: 50.0})
    found = adjustment_factors(told, actions((2, "split", 2.0)))
    assert list(told["close"] * found["adj_factor"]) == [50.0] * 4
    assert list(found["split_factor"]) == [0.5, 0.5, 1.0, 1.0]
    assert list(1_000.0 / found["split_factor"]) == [2_000.0, 2_000.0, 1_000.0, 1_000.0], "volume goes the other way"


def test_the_return_over_an_ex_date_is_the_total_return() -> None:
    told = bars({0: 100.0, 1: 98.0})
    found = factors(told, actions((1, "dividend", 2.0)))
    assert found == [0.98, 1.0]
    assert 98.0 / (100.0 * found[0]) == 1.0, "what fell by its dividend has not fallen"


def test_a_dividend_is_no_split_of_volume() -> None:
    found = adjustment_factors(bars({0: 100.0, 1: 98.0}), actions((1, "dividend", 2.0)))
    assert list(found["split_factor"]) == [1.0, 1.0]


def test_a_dividend_on_the_day_of_a_split_is_one_of_the_new_shares() -> None:
    told = bars({0: 100.0, 1: 49.0})
    found = factors(told, actions((1, "split", 2.0), (1, "dividend", 1.0)))
    assert found == [0.5 * (1 - 1 / 50), 1.0]
    assert 49.0 / (100.0 * found[0]) == pytest.approx(1.0, abs=1e-15)


def test_several_actions_multiply() -> None:
    told = bars({0: 100.0, 1: 99.0, 2: 33.0, 3: 30.0})
    found = factors(told, actions((1, "dividend", 1.0), (2, "split", 3.0), (3, "dividend", 3.3)))
    assert found[2:] == [1 - 3.3 / 33.0, 1.0]
    assert found[1] == found[2] / 3
    assert found[0] == pytest.approx(found[1] * 0.99, abs=1e-16)


def test_an_action_on_a_day_without_a_bar_counts_from_the_next_bar() -> None:
    assert factors(bars({0: 100.0, 4: 50.0}), actions((2, "split", 2.0))) == [0.5, 1.0]
    assert factors(bars({0: 100.0, 1: 100.0}), actions((2, "split", 2.0))) == [1.0, 1.0], "no bar knows it yet"


def test_an_action_on_or_before_the_first_bar_changes_nothing() -> None:
    assert factors(bars({3: 50.0, 4: 51.0}), actions((1, "dividend", 70.0), (3, "split", 2.0))) == [1.0, 1.0]


def test_what_was_delisted_is_adjusted_by_what_it_knew_only() -> None:
    told = bars({0: 10.0, 1: 5.0})
    assert factors(told, actions((1, "split", 2.0), (9, "split", 4.0))) == [0.5, 1.0]


def from_file(closes: dict[int, float], through: int) -> pd.DataFrame:
    """Bars of a file whose prices are adjusted already up to a day."""
    return bars(closes, is_adjusted=True).assign(adjusted_through=day(through))


def test_closes_that_are_adjusted_already_know_the_actions_up_to_the_last_day_of_their_file() -> None:
    told = from_file({0: 25.0, 1: 25.0, 2: 25.0, 3: 25.0}, through=3)
    assert factors(told, actions((1, "split", 2.0), (3, "split", 2.0))) == [1.0] * 4
    assert factors(told.iloc[:2], actions((1, "split", 2.0), (3, "split", 2.0))) == [1.0] * 2


def test_a_split_behind_the_last_day_of_an_adjusted_file_restates_its_closes_too() -> None:
    """Adjusted through day 2, raw from day 3 on, 2:1 on day 5: the price never moved."""
    told = pd.concat([from_file({0: 100.0, 1: 100.0, 2: 100.0}, through=2), bars({3: 100.0, 4: 100.0, 5: 50.0})])
    found = adjustment_factors(told.reset_index(drop=True), actions((1, "split", 4.0), (5, "split", 2.0)))
    assert list(told["close"] * found["adj_factor"].to_numpy()) == [50.0] * 6
    assert list(found["split_factor"]) == [0.5] * 5 + [1.0]


def test_a_dividend_on_the_first_raw_day_is_measured_by_the_last_close_of_the_file() -> None:
    told = pd.concat([from_file({0: 98.0, 1: 100.0}, through=1), bars({2: 98.0})], ignore_index=True)
    assert factors(told, actions((1, "dividend", 2.0), (2, "dividend", 2.0))) == [0.98, 0.98, 1.0]


def test_where_a_file_covers_raw_bars_each_knows_what_it_knows() -> None:
    """A file adjusted up to day 4 fills day 0; the vendor is raw from day 1 on, through a split on day 3."""
    told = pd.concat([from_file({0: 50.0}, through=4), bars({1: 100.0, 2: 100.0, 3: 50.0, 4: 50.0})], ignore_index=True)
    found = factors(told, actions((3, "split", 2.0)))
    assert list(told["close"] * found) == [50.0] * 5


def test_before_a_dividend_larger_than_the_price_nothing_has_a_factor_and_others_have_theirs() -> None:
    told = pd.concat([bars({0: 100.0, 1: 98.0}), bars({0: 100.0, 1: 98.0}, "equity:OTHER")], ignore_index=True)
    what = pd.concat([actions((1, "dividend", 100.0)), actions((1, "dividend", 2.0), name="equity:OTHER")])
    found = adjustment_factors(told, what)
    np.testing.assert_array_equal(found["adj_factor"], [np.nan, 1.0, 0.98, 1.0])
    np.testing.assert_array_equal(found["split_factor"], [np.nan, 1.0, 1.0, 1.0])
    assert impossible_actions(told, what).values.tolist() == [[NAME, day(1), 100.0, 100.0]]


def test_a_dividend_is_possible_by_the_shares_of_its_own_day() -> None:
    told = bars({0: 100.0, 1: 8.0})
    assert impossible_actions(told, actions((1, "split", 0.1), (1, "dividend", 150.0))).empty
    assert len(impossible_actions(told, actions((1, "split", 10.0), (1, "dividend", 11.0)))) == 1
    assert len(impossible_actions(told, actions((9, "dividend", 8.0)))) == 1, "also before its day has a bar"
    assert impossible_actions(told, actions((0, "dividend", 150.0))).empty, "nothing was before"


def test_a_dividend_on_an_old_close_is_named_once_it_counts() -> None:
    """Vendors divide by the close of the day before; over a hole of years we cannot."""
    told = bars({0: 20.0, 900: 100.0})
    named = dividends_on_old_closes(told, actions((899, "dividend", 1.0)))
    assert named.values.tolist() == [[NAME, day(899), 1.0, day(0), 20.0]]
    for offset in (0, 16, 901):
        assert dividends_on_old_closes(told, actions((offset, "dividend", 1.0))).empty, offset
    assert dividends_on_old_closes(told, actions((899, "split", 2.0))).empty


def test_every_row_gets_its_own_factor_whatever_the_order_and_the_neighbours() -> None:
    told = pd.concat([bars({0: 100.0, 1: 50.0}), bars({0: 7.0, 1: 7.0}, "equity:OTHER")], ignore_index=True)
    split = actions((1, "split", 2.0))
    shuffled = told.iloc[[3, 1, 0, 2]]
    assert factors(shuffled, split) == [1.0, 1.0, 0.5, 1.0]
    assert factors(told.iloc[:0], split) == []
    assert factors(told, split.iloc[:0]) == [1.0] * 4


@given(
    returns=st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=30),
    events=st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from([0.5, 1.0, 2.0, 3.0, 10.0]), st.floats(0.0, 0.5)), max_size=6
    ),
)
def test_adjusted_returns_are_those_of_a_holder_who_reinvests(
    returns: list[float], events: list[tuple[int, float, float]]
) -> None:
    """The holder's wealth is followed by hand: shares times price, dividends bought back in at the ex-day's cum-price
    less dividend, splits multiply shares.
    """
    by_day = {offset: (split, share) for offset, split, share in events if 0 < offset <= len(returns)}
    price, shares, wealth, raw, rows = 100.0, 1.0, [100.0], [100.0], []
    for offset, change in enumerate(returns, start=1):
        split, paid = by_day.get(offset, (1.0, 0.0))
        before = price / split
        dividend = paid * before
        shares *= split * before / (before - dividend)
        price = (before - dividend) * (1.0 + change)
        raw.append(price)
        wealth.append(shares * price)
        rows += [(offset, "split", split)] if split != 1.0 else []
        rows += [(offset, "dividend", dividend)] if dividend > 0 else []
    told = bars(dict(enumerate(raw)))
    adjusted = told["close"].to_numpy() * adjustment_factors(told, actions(*rows))["adj_factor"].to_numpy()
    np.testing.assert_allclose(adjusted[1:] / adjusted[:-1], np.array(wealth[1:]) / np.array(wealth[:-1]), rtol=1e-9)


def vendor_row(offset: int, **more: Any) -> dict[str, Any]:
    row = {
        "instrument_id": NAME,
        "date": day(offset),
        "dividend": 0.0,
        "split_coefficient": 1.0,
        "fetched_at": datetime(2024, 7, 1, tzinfo=UTC),
    }
    return row | more


def test_actions_are_read_from_a_vendors_bars() -> None:
    rows = pd.DataFrame(
        [vendor_row(2, split_coefficient=0.1, dividend=0.5), vendor_row(0), vendor_row(1, dividend=0.25)]
    )
    found = actions_of_bars(rows, "alpha_vantage")
    assert list(found.columns) == list(ACTION_COLUMNS)
    assert found[["ex_date", "kind", "value"]].values.tolist() == [
        [day(1), "dividend", 0.25],
        [day(2), "dividend", 0.5],
        [day(2), "split", 0.1],
    ]
    assert actions_of_bars(rows.iloc[1:2], "alpha_vantage").empty


def test_dividends_are_scaled_as_closes_are_and_splits_have_no_unit() -> None:
    """Quotes in pence: 2p on a close of 501p is 0.4 % of it, not two pounds on five."""
    rows = pd.DataFrame([vendor_row(1, dividend=2.0), vendor_row(2, split_coefficient=4.0)])
    found = actions_of_bars(rows, "alpha_vantage", {NAME: 100.0})
    assert found[["kind", "value"]].values.tolist() == [["dividend", 0.02], ["split", 4.0]]
    assert factors(bars({0: 5.01, 1: 4.98}), found.iloc[:1])[0] == pytest.approx(1 - 2 / 501)
    assert actions_of_bars(rows, "alpha_vantage", {"equity:OTHER": 100.0})["value"].tolist() == [2.0, 4.0]


def test_a_vendor_that_adjusts_otherwise_is_named_and_the_scale_does_not_matter() -> None:
    told = pd.DataFrame(
        {
            "instrument_id": NAME,
            "date": [day(0), day(1), day(2)],
            "close": [100.0, 50.0, 50.0],
            "adjusted_close": [10.0, 10.0, 10.0],
        }
    )
    ours = {(NAME, day(0)): 0.5, (NAME, day(1)): 1.0, (NAME, day(2)): 1.0}
    apart, n_compared = compare_with_vendor(told, ours, 1e-3)
    assert (len(apart), n_compared) == (0, 3)
    later = {key: factor * 0.9 for key, factor in ours.items()}
    assert compare_with_vendor(told, later, 1e-3)[0].empty, "one of both knows an action more"
    missed = {**ours, (NAME, day(0)): 1.0}
    apart, _ = compare_with_vendor(told, missed, 1e-3)
    assert apart[["date", "difference"]].values.tolist() == [[day(0), 1.0]]
    assert compare_with_vendor(told, {}, 1e-3)[1] == 0
