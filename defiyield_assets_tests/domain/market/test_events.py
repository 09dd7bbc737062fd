"""Events: rows of reported earnings, who is asked for when, and what was known of an event on a day."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.events import COLUMNS, NEWCOMERS, due, earnings_events
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.market.known_events import known_events

DAY = date(2025, 10, 24)
STAMP = datetime(2025, 10, 25, 0, 50, tzinfo=UTC)


def quarters() -> pd.DataFrame:
    """What the vendor tells of a company: three quarters that are out, one without a figure, one still to come."""
    reported = [date(2025, 1, 30), date(2025, 4, 30), DAY, DAY, DAY + timedelta(days=1)]
    return pd.DataFrame(
        {
            "symbol": "AAA",
            "fiscal_date_ending": [date(2024, 12, 31), date(2025, 3, 31), date(2025, 6, 30), date(2025, 7, 1), DAY],
            "reported_date": reported,
            "reported_eps": [1.10, -0.30, 0.20, np.nan, 9.0],
            "estimated_eps": [1.00, -0.20, 0.0, 1.0, 1.0],
            "surprise": 0.0,
            "surprise_fraction": 0.0,
            "report_time": "post-market",
        }
    )


def test_reported_quarters_become_events_with_their_surprise() -> None:
    rows = earnings_events(quarters(), "equity:AAA", DAY, STAMP)
    assert list(rows.columns) == list(COLUMNS) == schema.market_events.columns.keys()
    assert rows["date"].tolist() == rows["known_on"].tolist() == [date(2025, 1, 30), date(2025, 4, 30), DAY]
    assert rows["surprise"].tolist() == [0.10, -0.10, 0.20]
    assert rows["surprise_fraction"].iloc[:2].tolist() == pytest.approx([0.10, -0.50])
    assert np.isnan(rows["surprise_fraction"].iloc[2]), "nothing was expected: no fraction of it"
    assert rows["event_id"].is_unique
    require_valid(schema.market_events, rows)


def test_a_report_of_tomorrow_is_not_told_today() -> None:
    assert earnings_events(quarters(), "equity:AAA", date(2025, 1, 29), STAMP).empty
    require_valid(schema.market_events, earnings_events(quarters().iloc[:0], "equity:AAA", DAY, STAMP))


def test_every_company_is_asked_for_once_a_week_and_new_ones_at_once() -> None:
    names = [f"equity:{number}" for number in range(200)]
    week = DayRange(DAY, DAY + timedelta(days=6))
    asked = Counter(name for day in week for name in due(names, names, DayRange.of(day)))
    assert set(asked.values()) == {1}
    assert set(asked) == set(names)
    assert due(names, names, week) == sorted(names), "a range that is a week asks for each once"
    assert due(names[:20], [], DayRange.of(DAY)) == sorted(names[:20])
    weekend = DayRange(date(2025, 10, 25), date(2025, 10, 26))
    assert due(names, names, weekend) == [], "the job of exchanges does not run for weekends"
    some_new = due(names, names[60:], DayRange.of(DAY))
    regular = due(names, names, DayRange.of(DAY))
    assert set(regular) <= set(some_new)
    assert len(some_new) == max(NEWCOMERS, len(regular))
    assert due([], [], week) == []


def event(**changes: Any) -> dict[str, Any]:
    """An event of the 10th, announced on the 1st, with an outcome on the 12th."""
    return {
        "event_id": "e",
        "instrument_id": "equity:AAA",
        "date": date(2025, 10, 10),
        "announced_on": date(2025, 10, 1),
        "known_on": date(2025, 10, 12),
        "expected": 1.0,
        "actual": 1.5,
        "surprise": 0.5,
        "surprise_fraction": 0.5,
        **changes,
    }


@pytest.mark.parametrize(
    ("day", "is_seen", "expected", "actual"),
    [
        (30, False, None, None),
        (1, True, None, None),
        (9, True, None, None),
        (10, True, 1.0, None),
        (12, True, 1.0, 1.5),
    ],
)
def test_an_event_is_seen_when_announced_and_its_outcome_when_known(
    day: int, is_seen: bool, expected: float | None, actual: float | None
) -> None:
    moment = date(2025, 9 if day == 30 else 10, day)
    view = known_events(pd.DataFrame([event()]), moment)
    assert len(view) == int(is_seen)
    if is_seen:
        told = view.iloc[0]
        assert [None if np.isnan(told[name]) else told[name] for name in ("expected", "actual")] == [expected, actual]


def test_an_event_that_nobody_announced_is_seen_on_its_day() -> None:
    rows = pd.DataFrame([event(announced_on=None), event(event_id="f")])
    assert known_events(rows, date(2025, 10, 9))["event_id"].tolist() == ["f"]
    assert known_events(rows, date(2025, 10, 10))["event_id"].tolist() == ["e", "f"]
