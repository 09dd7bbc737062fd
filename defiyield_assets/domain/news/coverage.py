"""Which time was read: spans of a feed of which every post was told, their union and the holes between them.

Lives here: arithmetic of spans, the watermark. Not here: reading (sources/cryptopanic.py), what is kept of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise


@dataclass(frozen=True, order=True)
class Span:
    """Inclusive span of instants. ValueError where it ends before it starts."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a span ends ({self.end}) before it starts ({self.start})")


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as possible, in order; spans that touch are one."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def holes(spans: Iterable[Span]) -> list[Span]:
    """What lies between the first and the last span and was not read."""
    joined = union(spans)
    return [Span(one.end, other.start) for one, other in pairwise(joined)]


def watermark(spans: Iterable[Span], at: datetime) -> datetime | None:
    """The last instant, not after `at`, that was read; None where nothing was."""
    return max((min(span.end, at) for span in spans if span.start <= at), default=None)


def is_within(instant: datetime, spans: Sequence[Span]) -> bool:
    """Whether that instant had been read."""
    return any(span.start <= instant <= span.end for span in spans)


def read_until(spans: Sequence[Span], at: datetime, first: datetime, reread: timedelta) -> datetime:
    """How far back a reading at `at` goes: `reread` before the watermark, or to `first` where nothing was read yet."""
    newest = watermark(spans, at)
    return first if newest is None else newest - reread
