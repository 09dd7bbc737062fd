"""Macro series: nothing is known before its vintage, and later revisions are invisible."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.macro import CHANGE_OBSERVATIONS, known_on, levels_known

FIRST = date(2025, 1, 6)


def vintages(*told: tuple[int, int, float], series: str = "DGS10") -> pd.DataFrame:
    """Rows of macro_series: (observation, vintage) in days after FIRST, and the value."""
    return pd.DataFrame(
        {
            "series_id": series,
            "date": [FIRST + timedelta(days=observation) for observation, _, _ in told],
            "vintage": [FIRST + timedelta(days=vintage) for _, vintage, _ in told],
            "value": [value for _, _, value in told],
        }
    )


def values_on(rows: pd.DataFrame, day: int) -> list[float]:
    """What was known that many days after FIRST."""
    return known_on(rows, FIRST + timedelta(days=day))["value"].tolist()


def test_nothing_is_known_before_its_vintage() -> None:
    rows = vintages((0, 1, 4.0), (1, 2, 4.1))
    assert values_on(rows, 0) == []
    assert values_on(rows, 1) == [4.0]
    assert values_on(rows, 2) == [4.0, 4.1]


def test_a_revision_is_invisible_until_it_is_published() -> None:
    rows = vintages((0, 1, 4.0), (0, 30, 5.0), (0, 60, 6.0))
    assert [values_on(rows, day) for day in (1, 29, 30, 59, 60)] == [[4.0], [4.0], [5.0], [5.0], [6.0]]


def test_a_vintage_before_its_observation_shows_nothing_of_the_future() -> None:
    """A forecast that FRED tells early is still no observation of a day that has not been."""
    assert values_on(vintages((10, 2, 4.0)), 5) == []
    assert values_on(vintages((10, 2, 4.0)), 10) == [4.0]


def test_series_do_not_mix_and_a_withdrawn_value_is_unknown() -> None:
    rows = pd.concat([vintages((0, 1, 4.0), (0, 5, np.nan)), vintages((0, 1, 0.5), series="T10Y3M")])
    view = known_on(rows, FIRST + timedelta(days=9)).set_index("series_id")["value"]
    assert np.isnan(view["DGS10"])
    assert view["T10Y3M"] == 0.5


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20), st.floats(-5, 5)), unique_by=lambda told: told[:2]),
    st.integers(0, 20),
)
def test_no_row_of_a_later_vintage_changes_what_was_known(told: list[tuple[int, int, float]], day: int) -> None:
    rows = vintages(*told)
    moment = FIRST + timedelta(days=day)
    earlier = rows[rows["vintage"] <= moment]
    pd.testing.assert_frame_equal(known_on(rows, moment), known_on(earlier, moment))
    known = sorted(row for row in told if max(row[0], row[1]) <= day)
    by_hand = {observation: value for observation, _, value in known}
    assert values_on(rows, day) == list(by_hand.values())


def test_levels_and_changes_are_those_known_on_each_day() -> None:
    observed = [(number, number + 1, 4.0 + number / 100) for number in range(CHANGE_OBSERVATIONS + 3)]
    rows = vintages(*observed, (0, 40, 1.0))
    level, change = levels_known(rows, list(DayRange(FIRST, FIRST + timedelta(days=CHANGE_OBSERVATIONS + 2))))
    assert np.isnan(level[0]), "the first observation is published a day later"
    assert level[1] == 4.0
    assert np.isnan(change[: CHANGE_OBSERVATIONS + 1]).all()
    assert change[CHANGE_OBSERVATIONS + 1] == pytest.approx(CHANGE_OBSERVATIONS / 100)


some_values = st.one_of(st.just(float("nan")), st.integers(1, 9).map(float))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 45), some_values), max_size=60, unique_by=lambda t: t[:2]))
def test_levels_are_those_of_a_plain_look_at_what_was_known(told: list[tuple[int, int, float]]) -> None:
    rows, days = vintages(*told), [FIRST + timedelta(days=offset) for offset in (0, 7, 20, 21, 39, 45)]
    level, change = levels_known(rows, days)
    for number, day in enumerate(days):
        values = known_on(rows, day)["value"].dropna().to_list()
        assert level[number] == values[-1] if values else np.isnan(level[number])
        if len(values) > CHANGE_OBSERVATIONS:
            assert change[number] == values[-1] - values[-1 - CHANGE_OBSERVATIONS]
        else:
            assert np.isnan(change[number])
