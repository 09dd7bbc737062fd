"""Which missing days to ask for again: a pure decision over sets.

Lives here: `plan_repairs`. Not here: reading Dagster's records or requesting runs (sensors.py).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta

MAX_ATTEMPTS = 3
FIRST_DELAY = timedelta(minutes=5)
"""Default of the setting `repair_first_delay_seconds`."""
DELAY_FACTOR = 3
SATURDAY = 5


@dataclass(frozen=True)
class Attempts:
    """How often a day has been repaired, and when a run of it last ended (UTC)."""

    count: int
    last_ended: datetime | None


@dataclass(frozen=True)
class Repair:
    """One day to ask for again: the assets that are missing, and which attempt it is."""

    day: date
    assets: tuple[str, ...]
    attempt: int


def delay_before(attempt: int, first_delay: timedelta = FIRST_DELAY) -> timedelta:
    """How long after the last run ended attempt 1, 2, 3 may start: once, 3 and 9 times the first delay."""
    return first_delay * float(DELAY_FACTOR ** (attempt - 1))


def with_degraded_sources(
    missing: Mapping[date, Sequence[str]],
    degraded: Mapping[date, Sequence[str]],
    resting: Mapping[str, AbstractSet[str]],
    plan: str,
) -> dict[date, list[str]]:
    """What is missing, and on days whose plan is missing too, the degraded sources and what rests on them.

    A degraded source has been made, so it is not missing: its substitute stood in. It is asked for again only together
    with a repair of a day that has no plan yet, within the same few attempts; a day that has a plan keeps the inputs
    that it was made from, so that what was executed stays explained. `resting`: what rests on each source.
    """
    wanted = {}
    for day, names in missing.items():
        again = set(degraded.get(day, ())) if plan in names else set()
        again |= {name for source in again for name in resting.get(source, ())}
        wanted[day] = sorted({*names, *again})
    return wanted


@dataclass(frozen=True)
class ExchangeParts:
    """What exchanges bring: assets of their own, and those that each run makes for the instrument types it is told.

    `awaited_from`: their part of a day has a schedule of its own; it is missing only when that is over (UTC, by day).
    """

    own: frozenset[str]
    by_type: frozenset[str]
    awaited_from: Mapping[date, datetime]

    def is_awaited(self, day: date, now: datetime) -> bool:
        """Whether their part of the day should be there: never of Saturdays and Sundays, of which nobody asks."""
        return day.weekday() < SATURDAY and now >= self.awaited_from[day]


def with_exchange_parts(
    missing: Mapping[date, Sequence[str]],
    lost: Mapping[date, AbstractSet[str]],
    parts: ExchangeParts,
    now: datetime,
) -> tuple[dict[date, list[str]], frozenset[date]]:
    """What is missing, with what exchanges bring where it is awaited and left out where it is not; and the days of
    which nothing but their part is asked of the assets by type.

    `lost`: by day, assets that failed, and sources of exchanges that a substitute stands in for and that may heal. An
    asset by type has been made by the run of the other types, so that Dagster does not miss it: its failure is known
    from there.
    """
    wanted, exchanges_only = {}, set()
    for day in sorted({*missing, *lost}):
        names = set(missing.get(day, ()))
        troubled = set(lost.get(day, ())) & (parts.own | parts.by_type)
        if not parts.is_awaited(day, now):
            names -= parts.own
        elif names & parts.own or troubled:
            exchanges_only |= {day} if not names & parts.by_type else set()
            names |= parts.by_type | (troubled & parts.own)
        if names:
            wanted[day] = sorted(names)
    return wanted, frozenset(exchanges_only)


def plan_repairs(
    missing: Mapping[date, Sequence[str]],
    in_flight: frozenset[date],
    attempts: Mapping[date, Attempts],
    *,
    beyond_repair: Mapping[date, frozenset[str]],
    now: datetime,
    max_requests: int,
    first_delay: timedelta = FIRST_DELAY,
) -> list[Repair]:
    """The repairs to request now, oldest day first.

    A day is left alone while a run of it is in flight, after three attempts, before its delay is over, or when all
    that is missing cannot be recovered (`beyond_repair`: not recoverable assets with everything that depends on
    them).
    """
    repairs = []
    for day in sorted(missing):
        wanted = tuple(sorted(set(missing[day]) - beyond_repair.get(day, frozenset())))
        past = attempts.get(day, Attempts(0, None))
        if not wanted or day in in_flight or past.count >= MAX_ATTEMPTS:
            continue
        attempt = past.count + 1
        if past.last_ended is not None and now < past.last_ended + delay_before(attempt, first_delay):
            continue
        repairs.append(Repair(day, wanted, attempt))
    return repairs[:max_requests]
