"""How fast a vendor is asked: one queue for each vendor and key.

Lives here: spacing calls, pausing and slowing down after a 429, keeping to budgets shared with other processes. Not
here: what the published limits are (vendors.py), counting (store/budgets.py), sending (transport.py).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, ParamSpec, TypeVar

from aiolimiter import AsyncLimiter

from defiyield_assets.domain.budgets import Account, Budgets, Limit, key_fingerprint
from defiyield_assets.errors import DefiYieldError, VendorThrottled
from defiyield_assets.sources.redaction import VendorSettings

PACE_SHARE = 0.98
"""Share of a vendor's limit that we use, so that jitter on the way never makes two windows' calls meet in one."""
SLOWDOWN = 0.5
"""A 429 halves the rate (multiplicative decrease) …"""
RECOVERY = 0.1
RECOVERY_SECONDS = 15.0
"""… and every so many seconds without one give back a tenth of the full rate (additive increase)."""
LOWEST_RATE = 1 / 16
LONGEST_PAUSE_SECONDS = 120.0
"""A vendor that asks for a longer pause is given up by whoever waits for it; a later run asks again."""
MOST_LATE_SECONDS = 0.2
FEW = 3
"""So many reserved calls left are few: time to reserve the next ones."""
LARGEST_LEASE = 64
"""Calls that one process reserves at a time, at most."""

T = TypeVar("T")
P = ParamSpec("P")
Sleep = Callable[[float], Awaitable[None]]
logger = logging.getLogger(__name__)


def account_of(settings: VendorSettings) -> Account:
    """The vendor's key as budgets know it."""
    unit: Literal["calls", "credits"] = "credits" if settings.has_credits else "calls"
    limits = (
        Limit("minute", max(1, int(settings.max_calls * 60 / settings.per_seconds))),
        *([Limit("hour", settings.per_hour)] if settings.per_hour else []),
        *([Limit("day", settings.per_day, unit)] if settings.per_day else []),
        *([Limit("month", settings.per_month, unit)] if settings.per_month else []),
    )
    return Account(
        settings.name, key_fingerprint(settings.api_key or settings.secret_url), limits, gap_seconds(settings)
    )


def gap_seconds(settings: VendorSettings) -> float:
    """Seconds between two calls. Even spacing: with bursts of n, n + rate x window calls can meet in one window."""
    return settings.per_seconds / (settings.max_calls * PACE_SHARE)


class Adaptation:
    """The share of the published rate that a vendor bears just now: halved by a 429, recovering step by step."""

    def __init__(self) -> None:
        self._share = 1.0
        self._changed_at = 0.0

    def share(self, now: float) -> float:
        """The share at an instant of the loop's clock."""
        if self._share < 1.0:
            steps = int((now - self._changed_at) / RECOVERY_SECONDS)
            if steps > 0:
                self._share = min(1.0, self._share + RECOVERY * steps)
                self._changed_at += RECOVERY_SECONDS * steps
        return self._share

    def throttled(self, now: float, sent_at: float) -> None:
        """A 429 came; one that answers a call sent before the last slowdown tells nothing new."""
        share = self.share(now)
        if share == 1.0 or sent_at >= self._changed_at:
            self._share, self._changed_at = max(LOWEST_RATE, share * SLOWDOWN), now


class Lane:
    """The queue in front of one (vendor, key): evenly spaced turns, a semaphore, pause and slowdown after a 429."""

    def __init__(self, settings: VendorSettings, sleep: Sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._queue = asyncio.Lock()
        self._waiting = 0
        self._closed_until = 0.0
        self._adaptation = Adaptation()
        self._bucket = AsyncLimiter(1, gap_seconds(settings))
        self.places = asyncio.Semaphore(settings.concurrency)

    async def turn(self, cost: int) -> float:
        """Wait for permission to send a call of `cost` credits; returns the seconds waited.

        Raises VendorThrottled instead of waiting longer than a request's patience, and VendorPlanLimit when a budget is
        used up.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._waiting += 1
        try:
            async with self._queue:
                pause = self.pause_seconds()
                if pause > LONGEST_PAUSE_SECONDS:
                    raise VendorThrottled(f"nothing is sent: the vendor asked for a pause of {pause:.0f} s more")
                if pause > 0:
                    await self._sleep(pause)
                await self._permission(gap_seconds(self._settings) / self._adaptation.share(loop.time()), cost)
        finally:
            self._waiting -= 1
        return loop.time() - began

    async def _permission(self, gap: float, _cost: int) -> None:
        if self._bucket.time_period != gap:
            self._bucket = AsyncLimiter(1, gap)
            await self._bucket.acquire()  # what the old bucket let out last is a whole gap away from the next call
        await self._bucket.acquire()

    def pause_seconds(self) -> float:
        """How much longer the vendor wants nothing to be sent."""
        return max(0.0, self._closed_until - asyncio.get_running_loop().time())

    def close_for(self, seconds: float) -> None:
        """Nobody sends for so long: the limit is the key's, not the request's, so whoever waits here pauses too."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)

    async def throttled(self, seconds: float, sent_at: float) -> None:
        """The vendor refused a call sent at `sent_at`: nobody sends for so long, then more slowly for a while."""
        now = asyncio.get_running_loop().time()
        self.close_for(seconds)
        self._adaptation.throttled(now, sent_at)
        logger.warning(
            "%s throttles: %.0f %% of the published rate for now",
            self._settings.name,
            100 * self._adaptation.share(now),
            extra={"vendor": self._settings.name},
        )

    async def leave(self) -> None:
        """Nobody will send any more."""


class BudgetedLane(Lane):
    """A queue whose turns are reserved in the warehouse, so that all processes together keep to the vendor's limits."""

    def __init__(self, settings: VendorSettings, sleep: Sleep, budgets: Budgets, now: datetime) -> None:
        super().__init__(settings, sleep)
        self._account = account_of(settings)
        self._budgets = budgets
        # The wall clock is read once: afterwards time is the loop's, which nobody sets back.
        self._epoch = now - timedelta(seconds=asyncio.get_running_loop().time())
        self._slots: list[datetime] = []
        self._head_start = timedelta(0)
        self._unused: list[datetime] = []
        self._coming: asyncio.Future[list[datetime]] | None = None
        self._cost = 1
        self._batch = 1
        self._lateness = timedelta(seconds=min(settings.per_seconds * (1 - PACE_SHARE), MOST_LATE_SECONDS))
        # A thread of its own: reservations do not wait behind the archive's compression.
        self._teller = ThreadPoolExecutor(1, "budgets")

    def _now(self) -> datetime:
        return self._epoch + timedelta(seconds=asyncio.get_running_loop().time())

    def _beside(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._teller, lambda: work(*args, **options))

    async def _permission(self, gap: float, cost: int) -> None:
        """Sleep until an instant that is ours. Those that went by unused are not used late, when two calls might meet.

        How late is not too late: (1 - share) of the window, for which the share of the limit leaves room, but never so
        much that a vendor who counts in shorter windows than it publishes would notice.
        """
        if cost != self._cost:
            await self._give_back()
            self._cost = cost
        self._pass_by()
        while not self._slots:
            reserved = self._reserve(gap, cost) if self._coming is None else self._coming
            self._coming = None
            self._slots = await reserved
            self._pass_by()
        slot = self._slots.pop(0)
        if len(self._slots) < FEW and self._waiting > 1 and self._coming is None:
            # Others wait behind us: the next instants are reserved while these are used.
            self._coming = self._reserve(gap, cost)
        ahead = (slot - self._now()).total_seconds()
        if ahead > 0:
            await self._sleep(ahead)

    def _pass_by(self) -> None:
        """Set aside the reserved instants that are too long ago."""
        oldest = self._now() - self._lateness
        self._unused += [slot for slot in self._slots if slot < oldest]
        self._slots = [slot for slot in self._slots if slot >= oldest]

    def _reserve(self, gap: float, cost: int) -> asyncio.Future[list[datetime]]:
        """The next instants; the first is so far ahead that it has not gone by when the warehouse has answered."""
        loop = asyncio.get_running_loop()
        wanted, self._batch = self._batch, min(2 * self._batch, LARGEST_LEASE)
        account, earliest = replace(self._account, gap_seconds=gap), self._now() + self._head_start

        def lease() -> list[datetime]:
            began = loop.time()
            try:
                return self._budgets.lease(account, wanted, cost, earliest)
            finally:
                self._head_start = timedelta(seconds=2 * (loop.time() - began))

        return self._beside(lease)

    async def throttled(self, seconds: float, sent_at: float) -> None:
        """As in `Lane`, and every other process pauses as long, unless it had better ask for itself then."""
        await super().throttled(seconds, sent_at)
        await self._give_back()
        if seconds <= LONGEST_PAUSE_SECONDS:
            await self._beside(self._budgets.hold, self._account, self._now() + timedelta(seconds=seconds))

    async def _give_back(self) -> None:
        slots, coming = [*self._unused, *self._slots], self._coming
        self._unused, self._slots, self._coming, self._batch = [], [], None, 1
        if coming is not None:
            with suppress(DefiYieldError):
                slots += await coming
        if slots:
            await self._beside(self._budgets.give_back, self._account, slots, self._cost)

    async def leave(self) -> None:
        """Give back what was reserved and not used; when that fails the counters know a few calls too many."""
        try:
            await self._give_back()
        except DefiYieldError as error:
            name = self._settings.name
            logger.warning("%s: reserved calls could not be given back: %s", name, error, extra={"vendor": name})
        finally:
            self._teller.shutdown()
