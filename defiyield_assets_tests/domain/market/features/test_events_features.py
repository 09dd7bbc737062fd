"""Features of events: against a plain walk over days with what was known on each, and by hand."""

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.market.features.events_features import DRIFT_BARS, METRICS, event_columns
from defiyield_assets.domain.market.features.panel import BarTable
from defiyield_assets_tests.domain.market.known_events import known_events

START = date(2025, 1, 1)
NAMES = ["equity:AAA", "equity:BBB"]


def day(number: int) -> date:
    """A day by its number."""
    return START + timedelta(days=number)


def table(n: int = 30, is_new: int = 0) -> BarTable:
    """Two instruments with a bar a day, the price growing by 1 %; those from `is_new` on are new."""
    days = np.tile(np.datetime64(START) + np.arange(n), 2)
    close = np.tile(100.0 * 1.01 ** np.arange(n), 2)
    fresh = np.tile(np.arange(n) >= is_new, 2)
    return BarTable(np.array([0, n, 2 * n]), days, {"close": close}, fresh, np.array([252.0, 252.0]))


def event(happens: int, **changes: Any) -> dict[str, Any]:
    """An event of AAA of that day, known and unannounced, with a surprise."""
    return {
        "event_id": f"e{happens}",
        "instrument_id": NAMES[0],
        "date": day(happens),
        "announced_on": None,
        "known_on": day(happens),
        "expected": 1.0,
        "actual": 1.5,
        "surprise": 0.5,
        "surprise_fraction": 0.5,
        **changes,
    }


def columns(*events: dict[str, Any], bars: BarTable | None = None) -> dict[str, Any]:
    """Columns of AAA by name."""
    found = event_columns(bars or table(), NAMES, pd.DataFrame(list(events), columns=list(event(0))))
    return {name: values[: len(values) // 2] for name, values in found.items()}


def test_days_count_to_what_is_announced_and_from_what_has_been() -> None:
    told = columns(event(10), event(20, announced_on=day(15)))
    ahead, behind = told["days_to_event"], told["days_since_event"]
    assert np.isnan(ahead[:15]).all(), "nobody announced the first event, and the second only on day 15"
    assert ahead[15:20].tolist() == [5, 4, 3, 2, 1]
    assert np.isnan(ahead[20:]).all()
    assert np.isnan(behind[:10]).all()
    assert behind[10:22].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_the_nearest_of_several_announced_events_counts() -> None:
    told = columns(event(20, announced_on=day(2)), event(12, announced_on=day(5)), event(25, announced_on=day(3)))
    assert told["days_to_event"][2:13].tolist() == [18, 17, 16, 7, 6, 5, 4, 3, 2, 1, 8]
    assert told["days_to_event"][20:25].tolist() == [5, 4, 3, 2, 1]


def test_surprise_and_drift_begin_when_the_outcome_is_known() -> None:
    told = columns(event(10, known_on=day(12)), event(20, surprise=-2.0, surprise_fraction=np.nan))
    assert np.isnan(told["event_surprise"][:12]).all()
    assert set(told["event_surprise"][12:20]) == {0.5}
    assert set(told["event_surprise"][20:]) == {-2.0}
    assert np.isnan(told["event_surprise_fraction"][20:]).all(), "not that of the event before"
    drift = told[f"event_drift_{DRIFT_BARS}"]
    assert np.isnan(drift[:12]).all()
    assert drift[[12, 15, 20, 22]] == pytest.approx([0.0, 3 * math.log(1.01), 0.0, 2 * math.log(1.01)])


def test_drift_ends_after_its_window_and_begins_on_the_last_bar_before_a_day_without_one() -> None:
    long = columns(event(5), bars=table(120))[f"event_drift_{DRIFT_BARS}"]
    assert np.isfinite(long).sum() == DRIFT_BARS + 1
    assert long[5 + DRIFT_BARS] == pytest.approx(DRIFT_BARS * math.log(1.01))
    holed = table()
    holed.dates[11:30] += np.timedelta64(3, "D")
    drift = columns(event(12), bars=holed)[f"event_drift_{DRIFT_BARS}"]
    assert np.isnan(drift[10]), "the 12th has no bar: the first after it is the 14th"
    assert drift[11] == pytest.approx(math.log(1.01))


def test_an_event_of_no_instrument_concerns_all_and_one_of_another_does_not() -> None:
    events = pd.DataFrame([event(10, instrument_id=None, announced_on=day(8)), event(4, instrument_id="equity:ZZZ")])
    found = event_columns(table(), NAMES, events)
    for start in (0, 30):
        assert found["days_to_market_event"][start + 8 : start + 10].tolist() == [2, 1]
        assert found["days_since_market_event"][start + 10 : start + 12].tolist() == [0, 1]
        assert np.isnan(found["days_since_event"]).all()


def test_old_bars_have_no_value_and_without_events_nothing_has() -> None:
    assert np.isnan(columns(event(3), bars=table(is_new=20))["days_since_event"][:20]).all()
    assert columns(event(3), bars=table(is_new=20))["days_since_event"][20:].tolist() == list(range(17, 27))
    empty = columns()
    assert set(empty) == {metric.name for metric in METRICS}
    assert all(np.isnan(values).all() for values in empty.values())


def walked(rows: pd.DataFrame, moment: date) -> dict[str, float]:
    """What a plain look at the events known on the day says of them."""
    own = known_events(rows, moment).sort_values(["date", "known_on", "event_id"])
    ahead = [happens for happens in own["date"] if happens > moment]
    behind = [happens for happens in own["date"] if happens <= moment]
    told = own[own["actual"].notna()]
    return {
        "days_to_event": (min(ahead) - moment).days if ahead else math.nan,
        "days_since_event": (moment - max(behind)).days if behind else math.nan,
        "event_surprise": float(told["surprise"].iloc[-1]) if len(told) else math.nan,
    }


some_events = st.lists(
    st.tuples(st.integers(0, 29), st.one_of(st.none(), st.integers(-5, 29)), st.integers(0, 9), st.booleans()),
    min_size=1,
    max_size=6,
)


@settings(max_examples=12, deadline=None)
@given(some_events)
def test_every_day_sees_what_a_plain_walk_sees(told: list[tuple[int, int | None, int, bool]]) -> None:
    rows = [
        event(
            happens,
            event_id=f"{number}",
            announced_on=None if announced is None else day(announced),
            known_on=day(happens + lag),
            actual=1.0 if has_outcome else np.nan,
            surprise=float(number) if has_outcome else np.nan,
        )
        for number, (happens, announced, lag, has_outcome) in enumerate(told)
    ]
    found = columns(*rows)
    for number in range(30):
        expected = walked(pd.DataFrame(rows), day(number))
        np.testing.assert_array_equal([found[name][number] for name in expected], list(expected.values()))
