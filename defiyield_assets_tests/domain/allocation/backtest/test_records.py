"""Realised yields from histories: what is carried, for how long, and what nobody recorded."""

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.allocation.backtest.records import decision_days, growth, realised_yields

FIRST = date(2025, 1, 10)


def histories(*points: tuple[str, int, float, float, float]) -> pd.DataFrame:
    columns = ["pool_id", "day", "apy_base", "apy_reward", "tvl_usd"]
    rows = pd.DataFrame(points, columns=columns)
    days = [FIRST + timedelta(days=int(day)) for day in rows["day"]]
    return rows.assign(date=days, apy=rows["apy_base"] + rows["apy_reward"], is_hindsight=False)


def test_an_unrecorded_day_pays_what_was_last_observed_for_so_many_days_and_then_nothing() -> None:
    told = realised_yields(
        histories(("a", 0, 0.1, 0.02, 5e6), ("a", 4, 0.3, 0.0, 7e6)), FIRST, FIRST + timedelta(days=5), 2
    )
    assert told.base[0].tolist() == [0.1, 0.1, 0.1, 0.0, 0.3, 0.3]
    assert told.reward[0].tolist() == [0.02, 0.02, 0.02, 0.0, 0.0, 0.0]
    assert told.size[0].tolist() == [5e6, 5e6, 5e6, 5e6, 7e6, 7e6]
    assert told.is_observed[0].tolist() == [True, False, False, False, True, False]


def test_days_before_the_range_are_carried_into_it() -> None:
    told = realised_yields(histories(("a", -1, 0.1, 0.0, 5e6)), FIRST, FIRST + timedelta(days=3), 3)
    assert told.base[0].tolist() == [0.1, 0.1, 0.1, 0.0]


def test_later_points_change_no_earlier_day() -> None:
    points = [("a", 0, 0.1, 0.0, 5e6), ("a", 3, 0.2, 0.0, 6e6)]
    noise = [("a", day, 9.0, 9.0, 1.0) for day in (4, 5)]
    before = realised_yields(histories(*points), FIRST, FIRST + timedelta(days=5), 2)
    after = realised_yields(histories(*points, *noise), FIRST, FIRST + timedelta(days=5), 2)
    assert np.array_equal(before.base[:, :4], after.base[:, :4])
    assert np.array_equal(before.size[:, :4], after.size[:, :4])


def test_a_day_outside_the_histories_is_an_error() -> None:
    told = realised_yields(histories(("a", 0, 0.1, 0.0, 5e6)), FIRST, FIRST + timedelta(days=2), 2)
    with pytest.raises(IndexError, match="2025-01-13"):
        told.column(FIRST + timedelta(days=3))


def test_growth_compounds_the_base_adds_the_reward_and_dilutes_gains_only() -> None:
    assert growth(0.0, 0.365, 0.5) == Decimal("0.0005")
    assert float(growth(0.2, 0.0, 1.0)) == pytest.approx(1.2 ** (1 / 365) - 1, rel=1e-12)
    assert growth(-0.5, 0.0, 0.5) == growth(-0.5, 0.0, 1.0)


def test_the_vector_of_growth_is_the_exact_one() -> None:
    told = realised_yields(histories(("a", 0, 0.11, 0.02, 5e6)), FIRST, FIRST, 0)
    assert told.daily[0, 0] == pytest.approx(float(growth(0.11, 0.02, 1.0)), rel=1e-12)


def test_the_first_plan_is_made_on_the_evening_before_the_first_paid_day() -> None:
    assert list(decision_days(FIRST, FIRST + timedelta(days=1))) == [FIRST - timedelta(days=1), FIRST]
