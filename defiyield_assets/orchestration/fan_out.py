"""Many answers of one kind on their way into a table: stored in batches as they come, counted, told of.

Lives here: batches, the tally, when to give up. Not here: asking (sources/fan_out.py), what a batch becomes (assets/).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import dagster as dg

from defiyield_assets.errors import VendorError
from defiyield_assets.orchestration.declarations import tell_progress
from defiyield_assets.sources.transport import Fetched

T = TypeVar("T")

BATCH = 25
"""Answers stored in one transaction: what a crash may cost in parsing, never in requests."""
MAX_FAILED_SHARE = 0.05
"""More failed answers than this fail the asset; fewer degrade it."""
HOPELESS = 20
"""So many failures, and too large a share of all: the rest is not asked for."""
SECONDS_BETWEEN_WORDS = 5.0


@dataclass
class Tally:
    """How far a fan-out is."""

    asked: int
    done: int = 0
    from_archive: int = 0
    failed: dict[str, VendorError] = field(default_factory=dict)
    unasked: frozenset[str] = frozenset()
    """Names that were given up without an answer, because it was hopeless."""

    def count(self, name: str, answer: Fetched[Any] | VendorError) -> None:
        """One more answer."""
        self.done += 1
        if isinstance(answer, VendorError):
            self.failed[name] = answer
        else:
            self.from_archive += answer.from_archive

    @property
    def has_failed(self) -> bool:
        """Whether too large a share of all answers failed."""
        return len(self.failed) > MAX_FAILED_SHARE * self.asked

    @property
    def is_hopeless(self) -> bool:
        """Whether so many failed that the rest is not worth asking for."""
        return self.has_failed and len(self.failed) > HOPELESS

    def words(self, what: str) -> str:
        """How far it is, in one line."""
        return f"{self.done} of {self.asked} {what}, {self.from_archive} from the archive, {len(self.failed)} failed"

    def metadata(self, what: str) -> dict[str, int]:
        """The same as figures of a materialisation."""
        return {
            f"{what}_asked": self.asked,
            f"{what}_from_archive": self.from_archive,
            f"{what}_failed": len(self.failed),
        }

    def degradation(self, what: str) -> str | None:
        """Which ones failed, as the reason of a degraded asset; None when all came."""
        if not self.failed:
            return None
        return f"{len(self.failed)} of {self.asked} {what} failed: {', '.join(sorted(self.failed)[:5])}"


class Teller:
    """Says how far a fan-out is: log lines in Dagster, the current line of the terminal; at most every few seconds."""

    def __init__(self, context: dg.AssetExecutionContext, asset: str, what: str) -> None:
        self._context, self._asset, self._what = context, asset, what
        self._said_at = time.monotonic()

    def say(self, tally: Tally, *, now: bool = False) -> None:
        """Say it, unless something was said a moment ago."""
        if not now and time.monotonic() - self._said_at < SECONDS_BETWEEN_WORDS:
            return
        self._said_at = time.monotonic()
        self._context.log.info("%s: %s", self._asset, tally.words(self._what))
        tell_progress(self._asset, tally.words(self._what))


@dataclass(frozen=True)
class _Batch(Generic[T]):
    """Answers that are stored together, once none of them is missing."""

    missing: set[str]
    answers: dict[str, Fetched[T]] = field(default_factory=dict)


async def store_as_they_come(
    names: Sequence[str],
    answers: AsyncIterator[tuple[str, Fetched[T] | VendorError]],
    store: Callable[[Mapping[str, Fetched[T]]], None],
    teller: Teller,
    *,
    is_needed: bool = True,
) -> Tally:
    """Hand the answers to `store` in batches, in a thread of its own so that requests go on meanwhile.

    Batches are cut from `names` in their order, so that what is written together does not depend on who answered first.
    When too many failed, what came is stored and, where it `is_needed`, the first error raised; when it is hopeless,
    the rest is not asked.
    """
    tally = Tally(len(names))
    cut = [list(names[first : first + BATCH]) for first in range(0, len(names), BATCH)]
    batches = [_Batch[T](set(batch)) for batch in cut]
    batch_of = {name: batch for part, batch in zip(cut, batches, strict=True) for name in part}
    async for name, answer in answers:
        tally.count(name, answer)
        batch = batch_of[name]
        batch.missing.discard(name)
        if not isinstance(answer, VendorError):
            batch.answers[name] = answer
        if not batch.missing:
            await asyncio.to_thread(store, dict(batch.answers))
            batch.answers.clear()
        teller.say(tally)
        if tally.is_hopeless:
            tally.unasked = frozenset(name for batch in batches for name in batch.missing)
            break
    for unfinished in batches:
        if unfinished.answers:
            await asyncio.to_thread(store, dict(unfinished.answers))
    teller.say(tally, now=True)
    if is_needed and tally.has_failed:
        raise next(iter(tally.failed.values()))
    return tally
