"""UTC days: ranges of partition dates, their cutoffs and windows.

Lives here: what "as of D" means in time. Not here: Dagster partitions (orchestration/partitions.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

GRACE = timedelta(minutes=60)
"""How long after the end of day D an answer may arrive and still be known at cutoff(D)."""
MARKET_STAMP = timedelta(minutes=30)
"""Recorded and simulated answers for day D are stamped D+1 00:00 UTC plus this."""

PLAN_DUE = timedelta(hours=3)
"""How long after the end of day D its plan may take, with all retries and the first repair."""


def start_of(day: date) -> datetime:
    """First instant of the UTC day."""
    return datetime.combine(day, time(), tzinfo=UTC)


def end_of(day: date) -> datetime:
    """D+1 00:00 UTC, the first instant that no longer belongs to the day."""
    return start_of(day + timedelta(days=1))


def cutoff(day: date, grace: timedelta = GRACE) -> datetime:
    """The latest instant at which a fact may become known and still count for day D."""
    return end_of(day) + grace


def market_stamp(day: date) -> datetime:
    """The `Date` that recorded and simulated markets put on answers for partition D (D+1 00:30 UTC)."""
    return end_of(day) + MARKET_STAMP


def newest_due_day(present: datetime) -> date:
    """The newest complete UTC day whose plan should be there by now."""
    return (present.astimezone(UTC) - PLAN_DUE - timedelta(days=1)).date()


def utc_day(instant: datetime) -> date:
    """The UTC day that an aware timestamp falls in; naive timestamps are refused."""
    if instant.tzinfo is None:
        raise ValueError(f"timestamp without time zone: {instant!r}")
    return instant.astimezone(UTC).date()


@dataclass(frozen=True)
class DayRange:
    """Inclusive range of UTC days."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError(f"day range ends ({self.end}) before it starts ({self.start})")

    @classmethod
    def of(cls, day: date) -> "DayRange":
        """The range that holds one day."""
        return cls(day, day)

    @property
    def cutoff(self) -> datetime:
        """Cutoff of the last day."""
        return cutoff(self.end)

    def back(self, days: int) -> "DayRange":
        """The range with `days` more days before it."""
        return DayRange(self.start - timedelta(days=days), self.end)

    def __iter__(self) -> Iterator[date]:
        for offset in range(len(self)):
            yield self.start + timedelta(days=offset)

    def __len__(self) -> int:
        return (self.end - self.start).days + 1

    def __contains__(self, day: date) -> bool:
        return self.start <= day <= self.end
