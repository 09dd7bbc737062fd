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
