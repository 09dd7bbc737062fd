"""Queues in front of vendors in virtual time: slowing down after a 429, turns shared between processes, give-backs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from defiyield_assets.domain.budgets import Account, Standing, Usage, amounts_of, place_calls, standing
from defiyield_assets.errors import TransientError, VendorPlanLimit
from defiyield_assets.sources.pacing import (
    LOWEST_RATE,
    RECOVERY_SECONDS,
    Adaptation,
    BudgetedLane,
    Lane,
    account_of,
)
from defiyield_assets.sources.redaction import VendorSettings
from defiyield_assets.sources.vendors import default_vendors
from defiyield_assets_tests.sources.conftest import NOON, MemoryArchive, Vendors, VirtualTimeLoop, World, answers

SETTINGS = VendorSettings("vendor", "https://vendor", None, 100, 10.0, 1_000)


@dataclass
class MemoryBudgets:
    """Counters of all processes in one dictionary."""

    usage: Usage = field(default_factory=dict)
    next_at: datetime = NOON
    leases: list[int] = field(default_factory=list)
    broken: bool = False
    latency: float = 0.0

    def lease(self, account: Account, wanted: int, cost: int, now: datetime) -> list[datetime]:
        if self.broken:
            raise TransientError("cannot write vendor_usage: database or disk is full")
        slots = place_calls(account, wanted, cost, self.usage, max(now, self.next_at))
        self._count(account, slots, cost, 1)
        self.next_at = slots[-1] + timedelta(seconds=account.gap_seconds)
        self.leases.append(len(slots))
        if self.latency:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            loop.clock += self.latency
        return slots

    def give_back(self, account: Account, slots: Sequence[datetime], cost: int) -> None:
        if self.broken:
            raise TransientError("cannot write vendor_usage: database is locked")
        self._count(account, slots, cost, -1)

    def hold(self, account: Account, until: datetime) -> None:
        self.next_at = max(self.next_at, until)

    def standings(self, account: Account, now: datetime) -> tuple[Standing, ...]:
        return tuple(standing(limit, self.usage, now) for limit in account.limits)

    def _count(self, account: Account, slots: Sequence[datetime], cost: int, sign: int) -> None:
        for key, amount in amounts_of(account, slots, cost).items():
            self.usage[key] = self.usage.get(key, 0) + sign * amount

    @property
    def counted(self) -> int:
        return sum(n for (period, _), n in self.usage.items() if period == "minute")


def virtually(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run in virtual time."""

    async def run() -> Any:
        return await work()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


async def turns(lane: Lane, n: int, cost: int = 1) -> list[float]:
    """The instants of n turns."""
    loop, times = asyncio.get_running_loop(), []
    for _ in range(n):
        await lane.turn(cost)
        times.append(loop.time())
    return times


def busiest(times: Sequence[float], seconds: float) -> int:
    return max(sum(start <= time < start + seconds for time in times) for start in times)


# --- adapting to a 429 -----------------------------------------------------------------------------------------------
def test_a_429_halves_the_rate_and_time_gives_it_back() -> None:
    adaptation = Adaptation()
    assert adaptation.share(0.0) == 1.0
    adaptation.throttled(100.0, sent_at=99.0)
    assert adaptation.share(100.0 + RECOVERY_SECONDS - 0.1) == 0.5
    assert adaptation.share(100.0 + RECOVERY_SECONDS) == pytest.approx(0.6)
    assert adaptation.share(100.0 + 5 * RECOVERY_SECONDS) == pytest.approx(1.0)
    assert adaptation.share(1e6) == 1.0


def test_answers_to_calls_sent_before_the_slowdown_slow_nothing_further() -> None:
    adaptation = Adaptation()
    for _ in range(8):
        adaptation.throttled(100.0, sent_at=99.0)
    assert adaptation.share(100.0) == 0.5
    adaptation.throttled(101.0, sent_at=100.5)
    assert adaptation.share(101.0) == 0.25


def test_the_rate_never_falls_to_nothing() -> None:
    adaptation = Adaptation()
    for second in range(100):
        adaptation.throttled(float(second), sent_at=float(second))
    assert adaptation.share(99.0) == LOWEST_RATE


def test_a_lane_slows_down_after_a_429_and_recovers() -> None:
    async def work() -> tuple[float, float, list[float]]:
        lane = Lane(SETTINGS, asyncio.sleep)
        usual = await turns(lane, 10)
        await lane.throttled(5.0, sent_at=usual[-1])
        closed = asyncio.get_running_loop().time() + 5.0
        after = await turns(lane, 2_000)
        return usual[-1] - usual[-2], closed, after

    usual, closed, after = virtually(work)
    assert after[0] >= closed
    gaps = [later - sooner for sooner, later in pairwise(after)]
    assert gaps[3] == pytest.approx(2 * usual, rel=1e-3)
    assert gaps[-1] == pytest.approx(usual, rel=1e-3)
    slow = [time for time, gap in zip(after[1:], gaps, strict=True) if gap > usual * 1.01]
    assert slow[-1] - closed == pytest.approx(5 * RECOVERY_SECONDS, rel=0.1)


def test_a_change_of_pace_lets_no_call_through_early() -> None:
    async def work() -> list[float]:
        lane = Lane(SETTINGS, asyncio.sleep)
        before = await turns(lane, 1)
        await lane.throttled(0.0, sent_at=before[0])
        return before + await turns(lane, 1)

    before, after = virtually(work)
    assert after - before >= 0.99 * 2 * SETTINGS.per_seconds / SETTINGS.max_calls


def test_a_vendor_below_its_published_rate_is_found_out_and_kept_to() -> None:
    """A server that tolerates half of what we believe: the first minutes cost some 429s, the work gets done."""
    seen: list[float] = []

    def reply(_: httpx.Request) -> httpx.Response:
        now = asyncio.get_running_loop().time()
        recent = [time for time in seen if time > now - 60]
        if len(recent) >= 150:
            return httpx.Response(429, headers={"retry-after": "5"})
        seen.append(now)
        return httpx.Response(200, json={})

    here = World(Vendors(reply), MemoryArchive(), paced=True)

    async def many(gateway: Any) -> None:
        calls = (gateway.get("defillama_yields", "/chart/{p}", {"p": str(n)}, {}, lambda x: x) for n in range(900))
        await asyncio.gather(*calls)

    here.run(many)
    refused = len(here.vendors.times) - 900
    assert 0 < refused < 90, "fewer than one call in ten is refused"
    assert here.seconds < 1.5 * 900 / 150 * 60


# --- turns that all processes share ----------------------------------------------------------------------------------
def test_two_processes_together_keep_to_the_limit_and_use_it() -> None:
    budgets = MemoryBudgets()

    async def work() -> list[float]:
        lanes = [BudgetedLane(SETTINGS, asyncio.sleep, budgets, NOON) for _ in range(2)]
        both = await asyncio.gather(*(turns(lane, 300) for lane in lanes))
        for lane in lanes:
            await lane.leave()
        return sorted(time for times in both for time in times)

    times = virtually(work)
    assert busiest(times, SETTINGS.per_seconds) <= SETTINGS.max_calls
    assert 599 / (times[-1] - times[0]) >= 0.95 * SETTINGS.max_calls / SETTINGS.per_seconds
    assert budgets.counted == 600, "what was reserved and not used was given back"
    assert max(budgets.leases) <= 10, "no more than a second's worth at a time"
    assert len(budgets.leases) < 600 / 4


@pytest.mark.parametrize(("calls", "seconds"), [(1, 1.0), (3, 1.0), (20, 60.0), (300, 60.0), (7, 2.5)])
def test_a_busy_event_loop_never_makes_late_calls_meet(calls: int, seconds: float) -> None:
    """Whoever was kept from sending in time gets a new instant instead of sending everything at once."""
    budgets = MemoryBudgets()
    settings = replace(SETTINGS, max_calls=calls, per_seconds=seconds)

    async def work() -> list[float]:
        lane = BudgetedLane(settings, asyncio.sleep, budgets, NOON)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        times: list[float] = []
        for n in range(8 * calls):
            times += await turns(lane, 1)
            if n % 4 == 1:
                loop.clock += seconds / calls * (0.4 + n % 3)  # parsing a large answer, say
        await lane.leave()
        return times

    times = virtually(work)
    assert busiest(times, seconds * 0.9999) <= calls
    assert budgets.counted == len(times)


@pytest.mark.parametrize("latency", [0.03, 0.5, 2.0])
def test_a_slow_warehouse_delays_calls_and_reserves_no_more_than_are_sent(latency: float) -> None:
    budgets = MemoryBudgets(latency=latency)
    settings = replace(SETTINGS, max_calls=3, per_seconds=1.0)

    async def work() -> list[float]:
        lane = BudgetedLane(settings, asyncio.sleep, budgets, NOON)
        times = await turns(lane, 30)
        await lane.leave()
        return times

    times = virtually(work)
    assert busiest(times, 0.9999) <= 3
    assert budgets.counted == 30
    assert len(budgets.leases) <= 30 + 2


def test_calls_that_cannot_be_given_back_cost_nobody_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    budgets = MemoryBudgets()

    async def work() -> int:
        lane = BudgetedLane(SETTINGS, asyncio.sleep, budgets, NOON)
        n = len(await turns(lane, 5))
        budgets.broken = True
        await lane.leave()
        return n

    assert virtually(work) == 5
    assert "could not be given back" in caplog.text


def test_a_throttled_process_makes_the_others_wait_too() -> None:
    budgets = MemoryBudgets()

    async def work() -> float:
        one, other = (BudgetedLane(SETTINGS, asyncio.sleep, budgets, NOON) for _ in range(2))
        await turns(one, 5)
        await one.throttled(30.0, asyncio.get_running_loop().time())
        await one.leave()
        (first,) = await turns(other, 1)
        await other.leave()
        return first

    assert virtually(work) >= 30.0
    assert budgets.counted == 6


def test_calls_of_another_price_get_a_reservation_of_their_own() -> None:
    settings = replace(SETTINGS, per_month=100, has_credits=True)
    budgets = MemoryBudgets()

    async def work() -> None:
        lane = BudgetedLane(settings, asyncio.sleep, budgets, NOON)
        await asyncio.gather(*(lane.turn(cost) for cost in (1, 1, 1, 1, 1, 7, 7, 1)))
        await lane.leave()

    virtually(work)
    assert [n for (period, _), n in budgets.usage.items() if period == "month"] == [20]
    assert budgets.counted == 8


def test_a_reservation_ahead_that_was_refused_keeps_nothing_from_being_given_back() -> None:
    budgets = MemoryBudgets()

    async def work() -> None:
        lane = BudgetedLane(replace(SETTINGS, per_day=50), asyncio.sleep, budgets, NOON)
        await asyncio.gather(*(lane.turn(1) for _ in range(49)))
        await lane.leave()

    virtually(work)
    assert budgets.counted == 49


def test_a_fan_out_reserves_ahead_and_ends_at_the_budget() -> None:
    budgets = MemoryBudgets()

    async def work() -> list[Any]:
        lane = BudgetedLane(replace(SETTINGS, per_day=50), asyncio.sleep, budgets, NOON)
        ends = await asyncio.gather(*(lane.turn(1) for _ in range(60)), return_exceptions=True)
        await lane.leave()
        return ends

    ends = virtually(work)
    assert [type(end) for end in ends] == [float] * 50 + [VendorPlanLimit] * 10
    assert budgets.counted == 50
    assert len(budgets.leases) < 15


# --- through the gateway ---------------------------------------------------------------------------------------------
def test_every_attempt_is_counted_and_so_is_its_price() -> None:
    budgets = MemoryBudgets()
    here = World(Vendors(answers(500, {"ok": 1})), MemoryArchive(), paced=True, budgets=budgets)
    here.run(lambda gateway: gateway.get("coinmarketcap", "/v2", {}, {}, lambda x: x, credits_used=4))
    account = account_of(default_vendors({"coinmarketcap": "k"})["coinmarketcap"])
    assert {stand.limit.period: stand.used for stand in budgets.standings(account, NOON)} == {"minute": 2, "month": 8}


def test_a_budget_that_is_used_up_stops_the_call_before_it_is_sent() -> None:
    budgets = MemoryBudgets()
    here = World(Vendors(answers({})), MemoryArchive(), paced=True, settings={"per_day": 3}, budgets=budgets)

    async def many(gateway: Any) -> list[Any]:
        calls = (gateway.get("fred", "/x", {}, {"n": n}, lambda x: x) for n in range(5))
        return await asyncio.gather(*calls, return_exceptions=True)

    refused = [answer for answer in here.run(many) if isinstance(answer, VendorPlanLimit)]
    assert len(refused) == 2
    assert len(here.vendors.requests) == 3
    assert "fred /x: " in str(refused[0])
    assert "0 of 3 calls a day are left (3 used)" in str(refused[0])
    assert sorted(fetch.error_class or "" for fetch in here.archive.fetches) == ["", "", "", *["VendorPlanLimit"] * 2]


def test_a_warehouse_that_cannot_count_stops_the_call_and_is_not_taken_for_the_vendor() -> None:
    here = World(Vendors(answers({})), MemoryArchive(), paced=True, budgets=MemoryBudgets(broken=True))
    with pytest.raises(TransientError, match="disk is full"):
        here.run(lambda gateway: gateway.get("fred", "/x", {}, {}, lambda x: x))
    assert here.vendors.requests == []
