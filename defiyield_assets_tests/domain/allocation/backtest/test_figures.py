"""Measures of books, against figures worked out by hand."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pandas as pd
import pytest

from defiyield_assets.domain.allocation.backtest.engine import BOOK_COLUMNS, POOL_COLUMNS, Books
from defiyield_assets.domain.allocation.backtest.figures import attribution, days_without_plan, figures, halves
from defiyield_assets.domain.allocation.backtest.plots import position_shares, wealth_figure
from defiyield_assets_tests.domain.allocation.backtest.tiny_records import FIRST, random_records


def books(wealth: list[int], statuses: list[str] | None = None) -> Books:
    rows = []
    for index, (before, after) in enumerate(pairwise(wealth)):
        row = dict.fromkeys(BOOK_COLUMNS, Decimal(0)) | {"date": FIRST + timedelta(days=index), "n_transactions": 2}
        row |= {"wealth_before_usd": Decimal(before), "wealth_usd": Decimal(after), "gas_usd": Decimal(1)}
        row |= {"turnover_usd": Decimal(50), "status": statuses[index] if statuses else "hold"}
        rows.append(row)
    pools = [(FIRST, "a", Decimal(100), Decimal(1)), (FIRST + timedelta(days=1), "b", Decimal(50), Decimal(3))]
    start = random_records(0).start("1000")
    daily = pd.DataFrame(rows, columns=list(BOOK_COLUMNS), dtype=object)
    return Books(daily, pd.DataFrame(pools, columns=list(POOL_COLUMNS)), pd.DataFrame(), start)


def test_yield_is_compounded_over_the_days_and_costs_are_shares_of_mean_wealth_a_year() -> None:
    found = figures(books([1000, 1010, 1000]))
    assert found.n_days == 2
    assert found.net_apy == 0.0
    assert found.cost_share == pytest.approx(2 / 1005 * 365 / 2)
    assert found.turnover == pytest.approx(100 / 1005 * 365 / 2)
    assert found.worst_day == pytest.approx(-10 / 1010)
    assert found.n_transactions == 4
    assert figures(books([1000, 1010, 1000]), last=FIRST).net_apy == pytest.approx(1.01**365 - 1)


def test_halves_are_apart_and_the_middle_day_belongs_to_the_first() -> None:
    first, second = halves(books([1, 1, 1, 1]))
    assert first == (FIRST, FIRST + timedelta(days=1))
    assert second == (date(2025, 3, 3), date(2025, 3, 3))


def test_pools_are_sorted_by_what_they_paid() -> None:
    found = attribution(books([1000, 1000, 1000]))
    assert list(found["pool_id"]) == ["b", "a"]
    assert list(found["share"]) == [0.75, 0.25]
    assert found["apy"].iloc[1] == pytest.approx(1.01**365 - 1)


def test_days_without_a_verified_plan_are_counted_from_the_first_plan_on() -> None:
    statuses = ["infeasible"] * 3 + ["optimal", "unverified", "rest", "hold", "unverified"]
    assert days_without_plan(books([1] * 9, statuses)) == 2


def test_the_picture_shows_shares_that_are_all_of_wealth() -> None:
    one = books([1000, 1010, 1020])
    shares = position_shares(one)
    assert list(shares.columns) == ["b", "a", "others", "idle"]
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    figure = wealth_figure({"policy": one, "other": one}, "policy", 1050.0)
    assert len(figure.axes[0].lines) == 3
