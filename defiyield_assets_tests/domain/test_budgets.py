"""Budgets: periods of the UTC calendar, rolling hours, instants for calls, what fits and in what words."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.budgets import (
    LEASE,
    Account,
    Limit,
    Need,
    Period,
    Standing,
    Statement,
    Usage,
    VendorPlan,
    amounts_of,
    key_fingerprint,
    period_end,
    period_start,
    place_calls,
    standing,
    times,
)
from defiyield_assets.errors import VendorPlanLimit

NOW = datetime(2026, 2, 28, 23, 59, 58, 500_000, tzinfo=UTC)
MINUTE = datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
DAY = datetime(2026, 2, 28, tzinfo=UTC)
MONTH = datetime(2026, 2, 1, tzinfo=UTC)


def account(*limits: Limit, gap: float = 0.25) -> Account:
    return Account("vendor", "key", limits, gap)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("minute", MINUTE, datetime(2026, 3, 1, tzinfo=UTC)),
        ("hour", datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
        ("day", DAY, datetime(2026, 3, 1, tzinfo=UTC)),
        ("month", MONTH, datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_periods_are_those_of_the_utc_calendar(period: Period, start: datetime, end: datetime) -> None:
    assert (period_start(period, NOW), period_end(period, NOW)) == (start, end)
    elsewhere = NOW.astimezone(tz=datetime.fromisoformat("2026-01-01T00:00:00+05:30").tzinfo)
    assert period_start(period, elsewhere) == start


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.sampled_from(["day", "month"])
)
def test_every_instant_lies_in_its_period(instant: datetime, period: Period) -> None:
    assert period_start(period, instant) <= instant < period_end(period, instant)
    assert period_start(period, period_end(period, instant)) == period_end(period, instant)


def test_a_limit_counts_its_own_period_only() -> None:
    usage: Usage = {("day", DAY): 7, ("day", DAY - timedelta(days=1)): 50, ("month", MONTH): 80, ("minute", MINUTE): 3}
    day = standing(Limit("day", 10), usage, NOW)
    assert (day.used, day.left, day.renews_at) == (7, 3, datetime(2026, 3, 1, tzinfo=UTC))
    assert standing(Limit("month", 15), usage, NOW).left == 0
    assert standing(Limit("minute", 15), usage, NOW).used == 3


def test_an_hour_rolls_over_its_minutes() -> None:
    usage: Usage = {("minute", MINUTE - timedelta(minutes=n)): 10 for n in (0, 30, 60, 61, 90)}
    hour = standing(Limit("hour", 100), usage, NOW)
    assert hour.used == 30, "the minute that began 60 minutes and 58 s ago ended less than an hour ago"
    assert hour.renews_at == MINUTE + timedelta(minutes=1)
    assert standing(Limit("hour", 100), {}, NOW).used == 0


def test_calls_are_spaced_evenly_and_never_further_ahead_than_a_lease() -> None:
    slots = place_calls(account(gap=0.25), 100, 1, {}, NOW)
    assert [(slot - NOW).total_seconds() for slot in slots] == [0, 0.25, 0.5, 0.75]
    assert place_calls(account(gap=3.0), 100, 1, {}, NOW) == [NOW]
    assert len(place_calls(account(gap=0.25), 2, 1, {}, NOW)) == 2


def test_a_full_minute_makes_a_call_wait_for_the_next_one() -> None:
    following, step = MINUTE + timedelta(minutes=1), timedelta(seconds=0.25)
    ours = account(Limit("minute", 5))
    assert place_calls(ours, 2, 1, {("minute", MINUTE): 5}, NOW) == [following, following + step]
    late = NOW + timedelta(seconds=1)
    assert place_calls(ours, 3, 1, {("minute", MINUTE): 4}, late) == [late, following, following + step]


@pytest.mark.parametrize("period", ["hour", "day", "month"])
def test_a_longer_limit_ends_the_list_and_refuses_when_there_is_no_room(period: Period) -> None:
    start = MINUTE if period == "hour" else period_start(period, NOW)
    usage: Usage = {("minute" if period == "hour" else period, start): 8}
    assert len(place_calls(account(Limit(period, 10)), 4, 1, usage, NOW)) == 2
    with pytest.raises(VendorPlanLimit, match=r"vendor: 1 calls are needed and 0 of 8 calls an? .* \(8 used\); .* UTC"):
        place_calls(account(Limit(period, 8)), 4, 1, usage, NOW)


def test_credits_count_where_the_vendor_counts_them_and_nowhere_else() -> None:
    metered, plain = account(Limit("month", 10, "credits")), account(Limit("month", 10))
    assert len(place_calls(metered, 4, 4, {}, NOW)) == 2
    assert len(place_calls(plain, 4, 4, {}, NOW)) == 4
    assert amounts_of(metered, [NOW, NOW], 4) == {("minute", MINUTE): 2, ("day", DAY): 8, ("month", MONTH): 8}
    assert amounts_of(plain, [NOW, NOW], 4)["month", MONTH] == 2


def test_a_call_belongs_to_the_period_in_which_it_is_sent() -> None:
    slots = place_calls(account(Limit("day", 1_000), gap=0.5), 10, 1, {}, NOW + timedelta(seconds=1))
    assert amounts_of(account(), slots, 1) == {
        ("minute", MINUTE): 1,
        ("day", DAY): 1,
        ("month", MONTH): 1,
        ("minute", MINUTE + timedelta(minutes=1)): 1,
        ("day", DAY + timedelta(days=1)): 1,
        ("month", datetime(2026, 3, 1, tzinfo=UTC)): 1,
    }


@given(
    st.integers(1, 40),
    st.integers(1, 60),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 30)), min_size=1, max_size=40),
)
def test_no_limit_is_ever_exceeded(
    per_minute: int, per_day: int, per_window: int, asked: list[tuple[int, int]]
) -> None:
    """Leases one after the other, as the store makes them: each sees what the ones before counted."""
    limits = (Limit("minute", per_minute), Limit("day", per_day))
    ours = account(*limits, gap=1.0 / per_window)
    usage: Usage = {}
    now, next_at, sent = NOW, NOW, []
    for wanted, pause in asked:
        now += timedelta(seconds=pause)
        try:
            slots = place_calls(ours, wanted, 1, usage, max(now, next_at))
        except VendorPlanLimit:
            continue
        assert slots[-1] - slots[0] < LEASE + timedelta(minutes=1)
        for key, amount in amounts_of(ours, slots, 1).items():
            usage[key] = usage.get(key, 0) + amount
        next_at = slots[-1] + timedelta(seconds=ours.gap_seconds)
        sent += slots
    for limit in limits:
        counted: dict[datetime, int] = {}
        for slot in sent:
            start = period_start(limit.period, slot)
            counted[start] = counted.get(start, 0) + 1
        assert all(n <= limit.amount for n in counted.values())
    gaps = [later - sooner for sooner, later in pairwise(sent)]
    assert all(gap >= timedelta(seconds=1.0 / per_window) - timedelta(microseconds=1) for gap in gaps)


def plan(need: Need, *stands: Standing, gap: float = 0.2) -> VendorPlan:
    return VendorPlan(account(*[stand.limit for stand in stands], gap=gap), need, stands)


MONTHLY = Standing(Limit("month", 15_000, "credits"), 14_000, datetime(2026, 3, 1, tzinfo=UTC))
FULL_MINUTE = Standing(Limit("minute", 30), 30, MINUTE + timedelta(minutes=1))


def test_a_statement_says_how_many_calls_follow_how_long_they_take_and_what_is_left() -> None:
    statement = Statement((plan(Need(89, 400), MONTHLY, FULL_MINUTE), plan(Need(1), gap=0.1)))
    assert str(statement) == (
        "89 calls for 400 credits to vendor (about 18 s, 1,000 of 15,000 credits a month left); 1 call to vendor"
    )
    assert statement.metadata == {"calls_stated": str(statement)}
    statement.require()
    assert str(Statement(())) == "no calls"


def test_a_plan_that_does_not_fit_is_refused_with_the_numbers_and_the_renewal() -> None:
    statement = Statement((plan(Need(1), MONTHLY), plan(Need(89, 1_001), MONTHLY, FULL_MINUTE)))
    with pytest.raises(VendorPlanLimit) as caught:
        statement.require()
    assert str(caught.value) == (
        "vendor: 1,001 credits are needed and 1,000 of 15,000 credits a month are left (14,000 used); "
        "there is room again at 2026-03-01 00:00 UTC"
    )
    assert caught.value.vendor == "vendor"


def test_a_full_minute_refuses_nothing() -> None:
    Statement((plan(Need(500), FULL_MINUTE),)).require()


def test_needs_grow_with_the_days() -> None:
    assert times({"a": Need(3), "b": Need(2, 8)}, 5) == {"a": Need(15), "b": Need(10, 40)}


def test_a_fingerprint_tells_keys_apart_and_tells_none() -> None:
    assert key_fingerprint(None) == key_fingerprint("") == "none"
    assert key_fingerprint("one") != key_fingerprint("two")
    assert "one" not in key_fingerprint("one")
    assert len(key_fingerprint("one")) == 16
