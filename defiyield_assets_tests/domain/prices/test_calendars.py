"""Tests of domain/prices/calendars.py: dates that anybody can look up."""

from datetime import date

import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.calendars import (
    expected_slots,
    is_session,
    last_session,
    session_minutes,
    sessions,
    sessions_back,
)


def test_a_market_that_never_closes_has_a_session_every_day() -> None:
    days = DayRange(date(2024, 2, 28), date(2024, 3, 2))
    assert sessions("24x7", days) == list(days)
    assert last_session("24x7", date(2024, 12, 25)) == date(2024, 12, 25)
    assert session_minutes("24x7", date(2024, 12, 25)) == 1440
    assert sessions_back("24x7", date(2024, 3, 2), 3) == date(2024, 2, 28)


def test_new_york_is_closed_on_weekends_and_holidays_and_on_days_of_mourning() -> None:
    christmas_week = DayRange(date(2024, 12, 23), date(2024, 12, 29))
    assert sessions("XNYS", christmas_week) == [date(2024, 12, 23), date(2024, 12, 24), *_days(26, 27)]
    assert not is_session("XNYS", date(2025, 1, 9)), "President Carter's funeral"
    assert last_session("XNYS", date(2024, 12, 25)) == date(2024, 12, 24)
    assert last_session("XNYS", date(2024, 12, 24)) == date(2024, 12, 24)
    assert last_session("XNYS", date(2001, 9, 16)) == date(2001, 9, 10), "the exchange was shut for four sessions"
    assert sessions_back("XNYS", date(2024, 12, 29), 3) == date(2024, 12, 23)


def _days(*numbers: int) -> list[date]:
    return [date(2024, 12, number) for number in numbers]


def test_half_sessions_and_closed_days_expect_fewer_bars() -> None:
    assert session_minutes("XNYS", date(2024, 12, 23)) == 390
    assert session_minutes("XNYS", date(2024, 12, 24)) == 210, "Christmas Eve ends at 13:00"
    assert session_minutes("XNYS", date(2024, 12, 25)) == 0
    assert expected_slots("XNYS", date(2024, 12, 24), 5) == 42
    assert expected_slots("XNYS", date(2024, 12, 24), 60) == 4, "the last hour is cut and counts"
    assert expected_slots("24x7", date(2024, 12, 24), 5) == 288


def test_a_year_of_new_york_has_252_sessions() -> None:
    assert len(sessions("XNYS", DayRange(date(2024, 1, 1), date(2024, 12, 31)))) == 252
    assert len(sessions("XNYS", DayRange(date(1990, 1, 1), date(1990, 12, 31)))) == 253


def test_an_unknown_calendar_and_days_beyond_the_library_are_refused() -> None:
    with pytest.raises(ValueError, match="'XNYC' is no calendar"):
        sessions("XNYC", DayRange.of(date(2024, 1, 2)))
    with pytest.raises(ValueError, match="known from 1960-01-01 to 2040-12-31"):
        last_session("XNYS", date(1959, 1, 2))


@pytest.mark.slow
def test_an_exchange_of_which_the_library_knows_less_is_known_as_far_as_it_goes() -> None:
    assert sessions("XBOM", DayRange(date(2024, 1, 1), date(2024, 1, 3)))
    with pytest.raises(ValueError, match="XBOM is known from 1997"):
        sessions("XBOM", DayRange.of(date(1990, 1, 2)))
