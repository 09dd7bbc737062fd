"""`plan_repairs`: which missing days are asked for again, and which are left alone.

Not here: reading Dagster's records, which test_daemon.py exercises with the real daemon.
"""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.orchestration.repair import (
    MAX_ATTEMPTS,
    Attempts,
    Repair,
    delay_before,
    plan_repairs,
    with_degraded_sources,
)

NOW = datetime(2025, 6, 10, 12, tzinfo=UTC)
D1, D2, D3 = date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3)
NOBODY: frozenset[date] = frozenset()


def minutes_ago(minutes: float) -> datetime:
    """An instant before NOW."""
    return NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("missing", "in_flight", "attempts", "lost", "limit", "wanted"),
    [
        pytest.param({}, NOBODY, {}, {}, 3, [], id="nothing is missing"),
        pytest.param({D1: ["pools"]}, NOBODY, {}, {}, 3, [Repair(D1, ("pools",), 1)], id="never tried"),
        pytest.param(
            {D1: ["pools", "icebox"]}, NOBODY, {}, {}, 3, [Repair(D1, ("icebox", "pools"), 1)], id="sorted assets"
        ),
        pytest.param({D1: ["pools"]}, frozenset({D1}), {}, {}, 3, [], id="in flight"),
        pytest.param(
            {D1: ["a"], D2: ["b"]}, frozenset({D1}), {}, {}, 3, [Repair(D2, ("b",), 1)], id="only the other in flight"
        ),
        pytest.param({D1: ["a"]}, NOBODY, {D1: Attempts(0, minutes_ago(4.9))}, {}, 3, [], id="too soon after a run"),
        pytest.param(
            {D1: ["a"]}, NOBODY, {D1: Attempts(0, minutes_ago(5))}, {}, 3, [Repair(D1, ("a",), 1)], id="five minutes on"
        ),
        pytest.param({D1: ["a"]}, NOBODY, {D1: Attempts(1, minutes_ago(14.9))}, {}, 3, [], id="second waits longer"),
        pytest.param(
            {D1: ["a"]}, NOBODY, {D1: Attempts(1, minutes_ago(15))}, {}, 3, [Repair(D1, ("a",), 2)], id="second attempt"
        ),
        pytest.param({D1: ["a"]}, NOBODY, {D1: Attempts(2, minutes_ago(44))}, {}, 3, [], id="third waits 45 minutes"),
        pytest.param(
            {D1: ["a"]}, NOBODY, {D1: Attempts(2, minutes_ago(45))}, {}, 3, [Repair(D1, ("a",), 3)], id="third attempt"
        ),
        pytest.param({D1: ["a"]}, NOBODY, {D1: Attempts(3, minutes_ago(9999))}, {}, 3, [], id="given up"),
        pytest.param({D1: ["a"]}, NOBODY, {}, {D1: frozenset({"a", "b"})}, 3, [], id="cannot be recovered"),
        pytest.param(
            {D1: ["a", "c"]}, NOBODY, {}, {D1: frozenset({"a"})}, 3, [Repair(D1, ("c",), 1)], id="the rest of the day"
        ),
        pytest.param(
            {D1: ["a"]}, NOBODY, {}, {D2: frozenset({"a"})}, 3, [Repair(D1, ("a",), 1)], id="lost on another day"
        ),
        pytest.param(
            {D3: ["a"], D1: ["a"], D2: ["a"]},
            NOBODY,
            {},
            {},
            2,
            [Repair(D1, ("a",), 1), Repair(D2, ("a",), 1)],
            id="oldest first, a few a tick",
        ),
        pytest.param(
            {D1: ["a"], D2: ["a"], D3: ["a"]},
            frozenset({D1}),
            {D2: Attempts(3, None)},
            {},
            1,
            [Repair(D3, ("a",), 1)],
            id="what is left alone uses up no request",
        ),
    ],
)
def test_which_days_are_repaired(
    missing: dict[date, list[str]],
    in_flight: frozenset[date],
    attempts: dict[date, Attempts],
    lost: dict[date, frozenset[str]],
    limit: int,
    wanted: list[Repair],
) -> None:
    assert plan_repairs(missing, in_flight, attempts, beyond_repair=lost, now=NOW, max_requests=limit) == wanted


RESTING = {"prices": frozenset({"prices", "bars", "plan", "report"}), "gas": frozenset({"gas", "plan", "report"})}
"""What depends on each source, itself included."""


@pytest.mark.parametrize(
    ("missing", "degraded", "wanted"),
    [
        pytest.param({}, {D1: ["prices"]}, {}, id="nothing is missing: a degraded source alone is left alone"),
        pytest.param(
            {D1: ["report"]}, {D1: ["prices"]}, {D1: ["report"]}, id="the plan is made: its inputs stay as they were"
        ),
        pytest.param(
            {D1: ["pools", "plan"]},
            {D1: ["prices"]},
            {D1: ["bars", "plan", "pools", "prices", "report"]},
            id="no plan yet: the source and what rests on it come along",
        ),
        pytest.param({D1: ["plan"]}, {D2: ["prices"]}, {D1: ["plan"]}, id="degraded on another day"),
        pytest.param(
            {D1: ["plan"], D2: ["plan"]},
            {D1: ["gas", "prices"], D2: ["gas"]},
            {D1: ["bars", "gas", "plan", "prices", "report"], D2: ["gas", "plan", "report"]},
            id="each day for itself",
        ),
    ],
)
def test_a_degraded_source_is_asked_again_only_where_it_cannot_change_a_plan(
    missing: dict[date, list[str]], degraded: dict[date, list[str]], wanted: dict[date, list[str]]
) -> None:
    assert with_degraded_sources(missing, degraded, RESTING, "plan") == wanted


def test_delays_grow_threefold() -> None:
    assert [delay_before(attempt) for attempt in (1, 2, 3)] == [timedelta(minutes=n) for n in (5, 15, 45)]
    second = timedelta(seconds=1)
    assert [delay_before(attempt, second) for attempt in (1, 2, 3)] == [timedelta(seconds=n) for n in (1, 3, 9)]


days = st.dates(date(2025, 5, 25), date(2025, 6, 9))
names = st.sampled_from(["pools", "icebox", "allocations", "daily_report"])
past_attempts = st.builds(
    Attempts,
    st.integers(0, 5),
    st.none() | st.datetimes(datetime(2025, 6, 10), datetime(2025, 6, 10, 12), timezones=st.just(UTC)),
)


@given(
    missing=st.dictionaries(days, st.lists(names, min_size=1, max_size=4)),
    in_flight=st.frozensets(days, max_size=4),
    attempts=st.dictionaries(days, past_attempts),
    lost=st.dictionaries(days, st.frozensets(names)),
    limit=st.integers(1, 5),
)
def test_repairs_keep_every_promise(
    missing: dict[date, list[str]],
    in_flight: frozenset[date],
    attempts: dict[date, Attempts],
    lost: dict[date, frozenset[str]],
    limit: int,
) -> None:
    repairs = plan_repairs(missing, in_flight, attempts, beyond_repair=lost, now=NOW, max_requests=limit)
    asked = [repair.day for repair in repairs]
    assert asked == sorted(set(asked))
    assert len(asked) <= limit
    assert not set(asked) & in_flight
    for repair in repairs:
        past = attempts.get(repair.day, Attempts(0, None))
        assert repair.assets
        assert set(repair.assets) <= set(missing[repair.day])
        assert not set(repair.assets) & lost.get(repair.day, frozenset())
        assert repair.attempt == past.count + 1 <= MAX_ATTEMPTS
        assert past.last_ended is None or NOW - past.last_ended >= delay_before(repair.attempt)
    assert repairs == plan_repairs(missing, in_flight, attempts, beyond_repair=lost, now=NOW, max_requests=99)[:limit]


@given(missing=st.dictionaries(days, st.lists(names, min_size=1, max_size=4)), hours=st.integers(1, 48))
def test_waiting_never_takes_a_repair_away(missing: dict[date, list[str]], hours: int) -> None:
    attempts = {day: Attempts(1, minutes_ago(10)) for day in missing}
    now = plan_repairs(missing, NOBODY, attempts, beyond_repair={}, now=NOW, max_requests=99)
    later = plan_repairs(missing, NOBODY, attempts, beyond_repair={}, now=NOW + timedelta(hours=hours), max_requests=99)
    assert {repair.day for repair in now} <= {repair.day for repair in later} == set(missing)
