"""Answers that are already there: reused, recalled for a past day, or replayed for a rebuild.

Lives here: which archived answer stands for which question. Not here: keeping them (store/archive.py), asking vendors
(transport.py).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Generic, TypeVar

from defiyield_assets import errors
from defiyield_assets.domain.provenance import Archive, ArchivedAnswer, ArchivedFailure
from defiyield_assets.errors import DefiYieldError, NotRecoverable, SuspiciousDataError, VendorError
from defiyield_assets.sources.wire import Question, error_of_status

T = TypeVar("T")
Refusal = Callable[[object], None]
"""Looks at a decoded body of any status and raises the vendor's own error when it carries one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """The instants (both inclusive) between which an answer may have been fetched to count."""

    not_before: datetime
    not_after: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether the instant lies in the window."""
        return self.not_before <= instant <= self.not_after


ALWAYS = Window(datetime(1971, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC))


@dataclass(frozen=True)
class Fetched(Generic[T]):
    """Typed rows with the stamp under which they were fetched and the requested ids that did not come back; `may_heal`:
    some of these for a transient reason."""

    rows: T
    fetched_at: datetime
    missing: tuple[str, ...] = ()
    from_archive: bool = False
    may_heal: bool = False


@dataclass(frozen=True)
class Reader(Generic[T]):
    """How the body of one question becomes rows."""

    parse: Callable[[object], T]
    refuse: Refusal | None
    decode: Callable[[bytes], object]

    def read(self, status: int, body: bytes) -> T:
        """The parsed answer. The vendor's own words for an error win over its status, and both over a bad body."""
        refused = error_of_status(status, body)
        try:
            document = self.decode(body)
        except errors.VendorMalformed:
            if refused is not None:
                raise refused from None
            raise
        if self.refuse is not None:
            self.refuse(document)
        if refused is not None:
            raise refused
        return self.parse(document)

    def archived(self, answer: ArchivedAnswer) -> Fetched[T]:
        """The rows of an answer that the archive holds."""
        return Fetched(self.read(answer.status, answer.body), answer.fetched_at, from_archive=True)


def reusable(archive: Archive, question: Question, reader: Reader[T], window: Window) -> Fetched[T] | None:
    """The earliest answer inside the window that can be read; those that cannot are passed over. None without one."""
    skip = 0
    while True:
        try:
            found = archive.find(*question.identity, window.not_before, window.not_after, earliest=True, skip=skip)
            if found is None:
                return None
            return reader.archived(found)
        except (VendorError, SuspiciousDataError) as error:
            told = {"vendor": question.vendor, "endpoint": question.endpoint}
            logger.warning("%s %s: an archived answer is passed over: %s", *told.values(), error, extra=told)
            skip += 1


def recalled(archive: Archive, question: Question, reader: Reader[T], window: Window) -> Fetched[T]:
    """The newest answer inside the window; `NotRecoverable` when there is none."""
    found = archive.find(*question.identity, window.not_before, window.not_after)
    if found is None:
        raise _lost(question, (window.not_before - timedelta(seconds=1)).date())
    return reader.archived(found)


def replayed(
    archive: Archive, question: Question, reader: Reader[T], day: date, *, window: Window | None, reuse: Window | None
) -> Fetched[T]:
    """What partition `day` was told, from the archive alone.

    Its own last answer (inside `window`, if there is one); else, when it only has a failed request, the same error
    again; else what it would have found there: the earliest answer to `reuse`, the newest inside `window`; else
    `NotRecoverable`.
    """
    span = window or ALWAYS
    own = archive.of_partition(*question.identity, day, not_before=span.not_before, not_after=span.not_after)
    if isinstance(own, ArchivedFailure):
        raise _again(own, question)
    if own is not None:
        return reader.archived(own)
    earlier = reusable(archive, question, reader, reuse) if reuse is not None else None
    if earlier is not None:
        return earlier
    if window is not None:
        return recalled(archive, question, reader, window)
    raise _lost(question, day)


def _lost(question: Question, day: date) -> NotRecoverable:
    return NotRecoverable(f"{question.vendor} {question.endpoint}", [day])


def _again(failure: ArchivedFailure, question: Question) -> DefiYieldError:
    """The error of an archived failure, class and message as they were."""
    kind = getattr(errors, failure.error_class, None)
    if not isinstance(kind, type) or not issubclass(kind, DefiYieldError) or kind is NotRecoverable:
        return SuspiciousDataError(f"{failure.error_class}: {failure.error_message}")
    if issubclass(kind, VendorError):
        return kind(failure.error_message, vendor=question.vendor, endpoint=question.endpoint, status=failure.status)
    return kind(failure.error_message)
