"""What a vendor allows one key: limits by period, what is used and left, when calls may be sent, and the words for it.

Lives here: the arithmetic of budgets. Not here: the counters (store/budgets.py), the published limits
(sources/vendors.py), waiting (sources/pacing.py). The counters are our own and no limiter library's (pyrate-limiter,
limits): those keep sliding windows in connections of their own, and we need calendar months, credits and one
transaction of the warehouse.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from defiyield_assets.errors import VendorPlanLimit

Period = Literal["minute", "hour", "day", "month"]
Usage = dict[tuple[Period, datetime], int]
"""(period, its start) -> calls (or, by day and month, credits) reserved in it; hours are the sum of their minutes."""

LEASE = timedelta(seconds=1)
"""At most this much of the future is reserved for one process at a time."""
MAX_QUEUE = timedelta(minutes=10)
"""A reservation further ahead comes from a clock that was set back; it is forgotten."""
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Limit:
    """So many calls a period, or credits where the vendor counts those. Minutes, days, months are UTC's; hours roll."""

    period: Period
    amount: int
    unit: Literal["calls", "credits"] = "calls"

    def __str__(self) -> str:
        return f"{self.amount:,} {self.unit} {'an' if self.period == 'hour' else 'a'} {self.period}"


@dataclass(frozen=True)
class Account:
    """One key at one vendor, and what it is allowed; calls are sent at least `gap_seconds` apart."""

    vendor: str
    key_id: str
    limits: tuple[Limit, ...]
    gap_seconds: float

    def counted(self, cost: int) -> tuple[tuple[Period, int], ...]:
        """The counters that one call of `cost` credits moves, and by how much."""
        amount = cost if any(limit.unit == "credits" for limit in self.limits) else 1
        return ("minute", 1), ("day", amount), ("month", amount)


@dataclass(frozen=True)
class Standing:
    """How one limit stands: `used` of it, and when it has room for more again."""

    limit: Limit
    used: int
    renews_at: datetime

    @property
    def left(self) -> int:
        """What may still be used."""
        return max(0, self.limit.amount - self.used)


@dataclass(frozen=True)
class Need:
    """Calls that will be made, and their credits where a call does not cost exactly one."""

    calls: int
    credits: int | None = None

    def of(self, limit: Limit) -> int:
        """How much of the limit that takes."""
        return self.credits if limit.unit == "credits" and self.credits is not None else self.calls


class Budgets(Protocol):
    """What the transport needs of the warehouse's counters; store/budgets.py implements it."""

    def lease(self, account: Account, wanted: int, cost: int, now: datetime) -> list[datetime]:
        """Reserve up to `wanted` calls of `cost` credits each: the instants to send them at, one at least.

        Nobody else gets these instants, and the counters know the calls. Raises VendorPlanLimit when there is no room.
        """

    def give_back(self, account: Account, slots: Sequence[datetime], cost: int) -> None:
        """Reserved calls that were not sent."""

    def hold(self, account: Account, until: datetime) -> None:
        """Nobody sends before that instant, whichever process."""

    def standings(self, account: Account, now: datetime) -> tuple[Standing, ...]:
        """How every limit of the account stands."""


def key_fingerprint(secret: str | None) -> str:
    """A name for a key that does not tell it; `none` without one."""
    return "none" if not secret else hashlib.sha256(secret.encode()).hexdigest()[:16]


def period_start(period: Period, instant: datetime) -> datetime:
    """First instant of the UTC minute, hour, day or month that the instant lies in."""
    stamp = instant.astimezone(UTC)
    minute = stamp.replace(second=0, microsecond=0)
    if period == "minute":
        return minute
    if period == "hour":
        return minute.replace(minute=0)
    return minute.replace(minute=0, hour=0, day=1 if period == "month" else stamp.day)


def period_end(period: Period, instant: datetime) -> datetime:
    """First instant after it."""
    lengths = {"minute": MINUTE, "hour": HOUR, "day": timedelta(days=1), "month": timedelta(days=31)}
    return period_start(period, period_start(period, instant) + lengths[period])


def standing(limit: Limit, usage: Usage, at: datetime) -> Standing:
    """How the limit stands at an instant. A minute counts for the rolling hour until an hour after its end."""
    if limit.period != "hour":
        used = usage.get((limit.period, period_start(limit.period, at)), 0)
        return Standing(limit, used, period_end(limit.period, at))
    minutes = sorted(start for (period, start), n in usage.items() if period == "minute" and n > 0)
    counted = [start for start in minutes if at - HOUR - MINUTE < start <= at]
    used = sum(usage["minute", start] for start in counted)
    return Standing(limit, used, (counted[0] if counted else period_start("minute", at)) + HOUR + MINUTE)


def place_calls(account: Account, wanted: int, cost: int, usage: Usage, earliest: datetime) -> list[datetime]:
    """Instants for up to `wanted` calls from `earliest` on, no more than `LEASE` of them.

    A full minute pushes a call into the next one; any other limit ends the list, and refuses it when it is empty
    (VendorPlanLimit).
    """
    gap, at = timedelta(seconds=account.gap_seconds), earliest
    slots: list[datetime] = []
    total = dict(usage)
    while len(slots) < wanted and not (slots and at - slots[0] >= LEASE):
        stands = [standing(limit, total, at) for limit in account.limits]
        full = [stand for stand in stands if stand.left < Need(1, cost).of(stand.limit)]
        if any(stand.limit.period == "minute" for stand in full):
            at = period_end("minute", at)
            continue
        if full:
            if not slots:
                raise VendorPlanLimit(_refusal(account.vendor, Need(1, cost), full[0]), vendor=account.vendor)
            break
        for key, amount in amounts_of(account, [at], cost).items():
            total[key] = total.get(key, 0) + amount
        slots.append(at)
        at += gap
    return slots


def amounts_of(account: Account, slots: Sequence[datetime], cost: int) -> Usage:
    """What calls at these instants count."""
    usage = Usage()
    for at in slots:
        for period, amount in account.counted(cost):
            key = (period, period_start(period, at))
            usage[key] = usage.get(key, 0) + amount
    return usage


def _refusal(vendor: str, need: Need, stand: Standing) -> str:
    limit = stand.limit
    return (
        f"{vendor}: {need.of(limit):,} {limit.unit} are needed and {stand.left:,} of {limit} "
        f"are left ({stand.used:,} used); there is room again at {stand.renews_at:%Y-%m-%d %H:%M} UTC"
    )


@dataclass(frozen=True)
class VendorPlan:
    """The calls that one vendor will get, and how its limits stand before them."""

    account: Account
    need: Need
    standings: tuple[Standing, ...]

    @property
    def refused_by(self) -> Standing | None:
        """The first limit that cannot carry the calls; a full minute only makes them wait."""
        short = (stand for stand in self.standings if self.need.of(stand.limit) > stand.left)
        return next((stand for stand in short if stand.limit.period != "minute"), None)

    @property
    def seconds(self) -> float:
        """How long the calls take at the vendor's pace."""
        return self.need.calls * self.account.gap_seconds

    def __str__(self) -> str:
        refusal = self.refused_by
        if refusal is not None:
            return _refusal(self.account.vendor, self.need, refusal)
        left = [f"{stand.left:,} of {stand.limit} left" for stand in self.standings if stand.limit.period != "minute"]
        cost = "" if self.need.credits in (None, self.need.calls) else f" for {self.need.credits:,} credits"
        pace = f"about {self.seconds:,.0f} s" if self.seconds >= 1 else ""
        remarks = ", ".join([*([pace] if pace else []), *left])
        calls = "1 call" if self.need.calls == 1 else f"{self.need.calls:,} calls"
        return f"{calls}{cost} to {self.account.vendor}" + (f" ({remarks})" if remarks else "")


@dataclass(frozen=True)
class Statement:
    """What will be asked of whom before anything is asked, and whether the budgets carry it."""

    plans: tuple[VendorPlan, ...]

    def __str__(self) -> str:
        return "; ".join(str(plan) for plan in self.plans) or "no calls"

    @property
    def metadata(self) -> dict[str, str]:
        """For a materialisation: what was stated."""
        return {"calls_stated": str(self)}

    def require(self) -> None:
        """VendorPlanLimit with the numbers when a budget cannot carry the calls."""
        for plan in self.plans:
            if plan.refused_by is not None:
                raise VendorPlanLimit(str(plan), vendor=plan.account.vendor)


def times(needs: Mapping[str, Need], factor: int) -> dict[str, Need]:
    """The needs of that many days like this one."""
    return {
        vendor: replace(
            need, calls=need.calls * factor, credits=None if need.credits is None else need.credits * factor
        )
        for vendor, need in needs.items()
    }
