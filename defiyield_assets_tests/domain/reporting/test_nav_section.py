"""What the report says of the treasury over time: chained returns, capital put in, days that are missing."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.reporting.nav_sections import SHOWN_DAYS
from defiyield_assets_tests.domain.reporting.conftest import DAY, frame, nav

Days = Callable[..., ReportInputs]
FIRST, SECOND = date(2025, 5, 31), date(2025, 6, 1)


def nav_of(inputs: ReportInputs) -> Section:
    found = build_content(inputs).section("nav")
    assert found is not None
    return found


GOLDEN = (
    nav(FIRST, "1000", return_1d=0.5, realised_yield_1d=0.5, flows_usd=Decimal(1000)),
    nav(SECOND, "1515", return_1d=0.01, realised_yield_1d=0.02, flows_usd=Decimal(500), income_usd=Decimal(30)),
    nav(DAY, "1507.425", return_1d=-0.004, realised_yield_1d=0.0, expenses_usd=Decimal("1.5")),
)


def test_returns_are_chained_from_the_end_of_the_first_day_whose_own_belongs_to_the_time_before(day_with: Days) -> None:
    section = nav_of(day_with(nav_daily=frame("nav_daily", *GOLDEN)))
    worth, returns = section.charts
    assert (worth.unit, returns.unit) == ("usd", "percent")
    assert [(one.label, one.value) for one in worth.series[0].points] == [
        ("2025-05-31", 1000.0),
        ("2025-06-01", 1515.0),
        ("2025-06-02", 1507.425),
    ]
    assert [one.value for one in worth.series[1].points] == [1000.0, 1500.0, 1500.0], "capital, not what it earned"
    assert [one.value for one in returns.series[0].points] == pytest.approx([0.0, 0.01, 1.01 * 0.996 - 1])
    assert [one.value for one in returns.series[1].points] == pytest.approx([0.0, 0.02, 0.02])
    facts = {fact.name: (fact.value, fact.remark) for fact in section.facts}
    assert facts["Time-weighted return"] == ("+0.60%", "since the end of 2025-05-31, 2 days")
    assert facts["Realised yield"][0] == "+2.00%"


def test_every_figure_of_the_charts_stands_in_the_table_too(day_with: Days) -> None:
    section = nav_of(day_with(nav_daily=frame("nav_daily", *GOLDEN)))
    assert all(chart.is_tabled for chart in section.charts)
    (table,) = section.tables
    assert table.rows == (
        ("2025-06-02", "$1,507.42", "$1,500.00", "$0.00", "$1.50", "-0.4000%", "+0.5960%", "+2.0000%"),
        ("2025-06-01", "$1,515.00", "$1,500.00", "+$30.00", "$0.00", "+1.0000%", "+1.0000%", "+2.0000%"),
        ("2025-05-31", "$1,000.00", "$1,000.00", "$0.00", "$0.00", "", "+0.0000%", "+0.0000%"),
    )


def test_the_charts_are_told_in_words_with_days_and_units(day_with: Days) -> None:
    worth, returns = nav_of(day_with(nav_daily=frame("nav_daily", *GOLDEN))).charts
    assert worth.summary == (
        "Net asset value went from $1,000.00 on 2025-05-31 to $1,507.42 on 2025-06-02; lowest $1,000.00 on 2025-05-31, "
        "highest $1,515.00 on 2025-06-01."
    )
    assert returns.summary == (
        "From the end of 2025-05-31 to the end of 2025-06-02 the time-weighted return is +0.60%, the realised yield "
        "+2.00%."
    )


def test_a_missing_day_is_a_gap_that_is_told_and_what_was_put_in_starts_anew(day_with: Days) -> None:
    """After a gap the ledger counts everything as capital that came; it must not be counted twice."""
    after = nav(DAY, "1600", return_1d=None, realised_yield_1d=None, flows_usd=Decimal(1600))
    section = nav_of(day_with(nav_daily=frame("nav_daily", GOLDEN[0], after)))
    worth, returns = section.charts
    assert [one.value for one in worth.series[0].points] == [1000.0, None, 1600.0]
    assert [one.value for one in worth.series[1].points] == [1000.0, None, 1600.0]
    assert [one.value for one in returns.series[0].points] == [0.0, None, 0.0]
    assert section.paragraphs[1].startswith("1 day is missing:")
    assert section.tables[0].rows[1][:2] == ("2025-06-01", "missing")


def test_days_of_which_no_return_is_known_are_counted_and_not_passed_off_as_zero(day_with: Days) -> None:
    unknown = nav(SECOND, "1515", return_1d=None, realised_yield_1d=0.02)
    section = nav_of(day_with(nav_daily=frame("nav_daily", GOLDEN[0], unknown, GOLDEN[2])))
    words = "the return of 1 day is unknown"
    assert section.paragraphs[1] == "The return of 1 day is unknown: nothing was measured, which counts as none."
    assert section.facts[0].remark == f"since the end of 2025-05-31, 2 days; {words}"
    assert words in section.charts[1].summary
    assert section.tables[0].rows[1][5] == "unknown"
    known = nav_of(day_with(nav_daily=frame("nav_daily", *GOLDEN)))
    assert "unknown" not in repr(known)


def test_no_more_than_the_last_days_are_shown(day_with: Days) -> None:
    days = [nav(DAY - timedelta(days=back), "1000", return_1d=0.001) for back in range(200)]
    points = nav_of(day_with(nav_daily=frame("nav_daily", *days))).charts[1].series[0].points
    assert len(points) == SHOWN_DAYS
    assert points[-1].value == pytest.approx(1.001 ** (SHOWN_DAYS - 1) - 1)


def test_the_ledgers_first_day_has_no_return_yet(day_with: Days) -> None:
    first = nav(DAY, "1000", return_1d=None, realised_yield_1d=None)
    content = build_content(day_with(nav_daily=frame("nav_daily", first)))
    section, earned = content.section("nav"), content.section("earned")
    assert section is not None
    assert section.paragraphs == (
        "2025-06-02 is the first day that the ledger values: nothing is measured on it, all that is held counts as "
        "capital that came in, whatever was earned and paid before.",
    )
    assert section.charts == ()
    assert earned is not None
    facts = {fact.name: (fact.value, fact.remark) for fact in earned.facts}
    assert facts["Return of the day"] == ("unknown", "there is no day before it to measure from")


def test_without_a_value_of_the_day_nothing_older_is_passed_off_as_todays(day_with: Days) -> None:
    assert build_content(day_with(nav_daily=frame("nav_daily", *GOLDEN[:2]))).section("nav") is None
