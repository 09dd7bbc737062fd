"""Pacing, retries, classification, windows and the archive of the gateway. Time is virtual: no test waits."""

import asyncio
import gzip
import json
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.provenance import FetchRecord
from defiyield_assets.errors import (
    ConfigurationError,
    DefiYieldError,
    NotRecoverable,
    SuspiciousDataError,
    TransientError,
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources.redaction import MASK, Redactor
from defiyield_assets.sources.transport import Fetched, Gateway, Window
from defiyield_assets.sources.vendors import default_vendors, without_pacing
from defiyield_assets_tests.sources.conftest import (
    KEYS,
    NOON,
    SECRET,
    MemoryArchive,
    Vendors,
    World,
    WorldMaker,
    answers,
)


def identity(answer: object) -> object:
    return answer


async def ask(gateway: Gateway) -> Fetched[Any]:
    return await gateway.get("etherscan", "/api", {}, {"action": "x"}, identity)


@pytest.mark.parametrize(
    ("status", "error", "attempts"),
    [
        (400, VendorNotFound, 1),
        (401, VendorAuthError, 1),
        (402, VendorPlanLimit, 1),
        (403, VendorAuthError, 1),
        (404, VendorNotFound, 1),
        (408, VendorUnavailable, 5),
        (410, VendorNotFound, 1),
        (425, VendorUnavailable, 5),
        (429, VendorThrottled, 5),
        (500, VendorUnavailable, 5),
        (502, VendorUnavailable, 5),
        (503, VendorUnavailable, 5),
        (599, VendorUnavailable, 5),
        (302, VendorNotFound, 1),
        (405, VendorNotFound, 1),
    ],
)
def test_status_decides_the_error(world: WorldMaker, status: int, error: type[VendorError], attempts: int) -> None:
    here = world(status)
    with pytest.raises(error) as caught:
        here.run(ask)
    assert type(caught.value) is error
    assert (caught.value.vendor, caught.value.endpoint, caught.value.status) == ("etherscan", "/api", status)
    assert len(here.vendors.requests) == attempts
    last = here.archive.last
    assert (last.status, last.attempts, last.error_class) == (status, attempts, error.__name__)
    assert len(here.archive.fetches) == 1


BROKEN = [
    (httpx.ConnectError("refused"), VendorUnavailable),
    (httpx.ConnectTimeout("slow"), VendorUnavailable),
    (httpx.ReadTimeout("slow"), VendorUnavailable),
    (httpx.ReadError("reset"), VendorUnavailable),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), VendorUnavailable),
    (ConnectionResetError("reset by peer"), VendorUnavailable),
    (b'{"data": [1, 2', VendorMalformed),
    (b"", VendorMalformed),
    (b"<html>maintenance</html>", VendorMalformed),
    (b'{"x": NaN}', VendorMalformed),
    (b'{"x": Infinity}', VendorMalformed),
    (b"\xff\xfe\x00", VendorMalformed),
    (b"[" * 100_000, VendorMalformed),
    (b"9" * 10_000, VendorMalformed),
]


@pytest.mark.parametrize(("said", "error"), BROKEN, ids=lambda value: repr(value)[:40])
def test_broken_answers_are_retried_then_typed(said: Any, error: type[VendorError]) -> None:
    here = World(Vendors(answers(said)), MemoryArchive())
    with pytest.raises(error):
        here.run(ask)
    assert len(here.vendors.requests) == 5
    assert here.archive.last.attempts == 5
    assert here.archive.last.error_class == error.__name__


def test_body_that_breaks_off_is_malformed_and_heals() -> None:
    class Torn(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b'{"a": '
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    replies = [httpx.Response(200, stream=Torn()), httpx.Response(200, json={"a": 1})]
    here = World(Vendors(lambda _: replies.pop(0)), MemoryArchive())
    assert here.run(ask).rows == {"a": 1}
    assert here.archive.last.attempts == 2

    here = World(Vendors(lambda _: httpx.Response(200, stream=Torn())), MemoryArchive())
    with pytest.raises(VendorMalformed, match="broke off"):
        here.run(ask)


def test_body_that_cannot_be_decompressed_is_malformed() -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b"no gzip"), headers={"content-encoding": "gzip"})

    here = World(Vendors(reply), MemoryArchive())
    with pytest.raises(VendorMalformed, match="decompressed"):
        here.run(ask)
    assert len(here.vendors.requests) == 5


def test_answer_that_never_ends_is_unavailable() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(10**9)
        raise AssertionError("unreachable")

    here = World(Vendors(hang), MemoryArchive())
    with pytest.raises(VendorUnavailable):
        here.run(ask)
    assert len(here.vendors.requests) == 5
    assert here.seconds < 5 * 300 + 120


def test_compressed_answer_is_archived_readable(world: WorldMaker) -> None:
    here = world(httpx.Response(200, content=gzip.compress(b'{"a": 1}'), headers={"content-encoding": "gzip"}))
    assert here.run(ask).rows == {"a": 1}
    assert here.archive.bodies[here.archive.last.sha256 or ""] == b'{"a": 1}'


def test_heals_after_transient_errors_and_counts_them(world: WorldMaker) -> None:
    here = world(500, 429, b"<html>", {"ok": True})
    assert here.run(ask).rows == {"ok": True}
    last = here.archive.last
    assert (last.attempts, last.status, last.error_class, last.rows) == (4, 200, None, 1)
    assert last.waited_seconds > 0


def test_backoff_is_exponential_with_full_jitter_and_reproducible(world: WorldMaker) -> None:
    waits = []
    for _ in range(2):
        here = world(500)
        with pytest.raises(VendorUnavailable):
            here.run(ask)
        waits.append([later - sooner for sooner, later in pairwise(here.vendors.times)])
    assert waits[0] == waits[1]
    assert all(0 <= wait <= 2**n + 1e-3 for n, wait in enumerate(waits[0]))
    assert len({round(wait / 2**n, 3) for n, wait in enumerate(waits[0])}) == 4


@pytest.mark.parametrize("said", ["7", "Fri, 24 Oct 2025 12:00:07 GMT"])
def test_retry_after_is_honoured(world: WorldMaker, said: str) -> None:
    headers = {"retry-after": said, "date": "Fri, 24 Oct 2025 12:00:00 GMT"}
    here = world(httpx.Response(429, headers=headers), {"ok": 1})
    here.run(ask)
    assert here.vendors.times[1] - here.vendors.times[0] >= 7
    assert here.archive.last.waited_seconds >= 7


def test_retry_after_beyond_patience_gives_up(world: WorldMaker) -> None:
    here = world(429, headers={"retry-after": "86400"})
    with pytest.raises(VendorThrottled):
        here.run(ask)
    assert len(here.vendors.requests) == 1
    assert here.seconds < 1


def test_a_vendor_that_asks_for_a_long_pause_is_left_alone_by_everybody() -> None:
    """One answer is enough: 400 charts are not refused one by one."""

    async def reply(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1)
        return httpx.Response(429, headers={"retry-after": "3600"})

    here = World(Vendors(reply), MemoryArchive(), settings={"concurrency": 3})

    async def many(gateway: Gateway) -> list[Any]:
        return await asyncio.gather(*(ask(gateway) for _ in range(400)), return_exceptions=True)

    assert {type(answer) for answer in here.run(many)} == {VendorThrottled}
    assert len(here.vendors.requests) == 3, "those that were on their way"
    assert here.seconds < 10


@pytest.mark.parametrize("said", ["-5", "soon", "", "9" * 50, "²"])
def test_nonsense_in_retry_after_is_ignored(world: WorldMaker, said: str) -> None:
    here = world(httpx.Response(503, headers={"retry-after": said.encode("latin-1")}), {"ok": 1})
    assert here.run(ask).rows == {"ok": 1}


def test_throttling_pauses_the_whole_lane() -> None:
    first = iter([httpx.Response(429, headers={"retry-after": "30"})])
    here = World(Vendors(lambda _: next(first, httpx.Response(200, json={}))), MemoryArchive(), paced=True)

    async def many(gateway: Gateway) -> None:
        await asyncio.gather(*(ask(gateway) for _ in range(6)))

    here.run(many)
    # Three requests may be on their way when the 429 comes; none of the others is sent before the pause is over.
    assert sum(time < 30 for time in here.vendors.times) <= 3
    assert len(here.vendors.times) == 7


@pytest.mark.parametrize(("calls", "seconds"), [(3, 1.0), (20, 60.0), (300, 60.0), (7, 2.5)])
def test_pacing_never_exceeds_the_limit_and_uses_it(world: WorldMaker, calls: int, seconds: float) -> None:
    here = world({}, settings={"max_calls": calls, "per_seconds": seconds, "concurrency": 1_000})

    async def many(gateway: Gateway) -> None:
        await asyncio.gather(*(ask(gateway) for _ in range(calls * 4)))

    here.run(many)
    times = here.vendors.times
    busiest = max(sum(start <= time < start + seconds for time in times) for start in times)
    assert busiest <= calls
    rate = (len(times) - 1) / (times[-1] - times[0])
    assert rate >= 0.95 * calls / seconds


def test_lanes_are_per_vendor(world: WorldMaker) -> None:
    here = world({}, settings={"max_calls": 1, "per_seconds": 100.0})

    async def two(gateway: Gateway) -> None:
        await asyncio.gather(ask(gateway), gateway.get("fred", "/x", {}, {}, identity))

    here.run(two)
    assert here.seconds < 1


def test_concurrency_is_bounded() -> None:
    running, most = 0, 0

    async def slow(_: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(1)
        running -= 1
        return httpx.Response(200, json={})

    here = World(Vendors(slow), MemoryArchive(), settings={"concurrency": 3})

    async def many(gateway: Gateway) -> None:
        await asyncio.gather(*(ask(gateway) for _ in range(12)))

    here.run(many)
    assert most == 3


def test_a_slow_archive_never_owes_more_answers_than_were_in_flight() -> None:
    """A crash loses what the archive does not hold yet: never more than the vendor's concurrency."""
    arrived: list[str] = []
    owed: list[int] = []

    class SlowArchive(MemoryArchive):
        def record(self, fetch: FetchRecord, body: bytes | None, fetch_id: int | None = None) -> int:
            time.sleep(0.01)
            owed.append(len(arrived) - len(self.fetches))
            return super().record(fetch, body, fetch_id)

    def reply(request: httpx.Request) -> httpx.Response:
        arrived.append(str(request.url))
        return httpx.Response(200, json={"n": len(arrived)})

    async def many() -> None:
        paced = without_pacing(default_vendors(KEYS))
        vendors = {name: replace(settings, concurrency=3) for name, settings in paced.items()}
        day = date(2025, 10, 23)
        async with Gateway(httpx.MockTransport(reply), SlowArchive(), vendors, day, now=lambda: NOON) as gateway:
            await asyncio.gather(*(ask(gateway) for _ in range(24)))

    asyncio.run(many())  # in real time: the archive's thread is what this is about
    assert len(arrived) == 24
    assert max(owed) <= 3


def test_stamp_is_the_date_header_else_the_market_clock(world: WorldMaker) -> None:
    stamped = world({}, headers={"date": "Fri, 24 Oct 2025 12:05:00 GMT"}).run(ask)
    assert stamped.fetched_at == datetime(2025, 10, 24, 12, 5, tzinfo=UTC)
    for nonsense in ({}, {"date": "yesterday"}, {"date": "Fri, 24 Oct 9999 99:99:99 GMT"}, {"date": ""}):
        assert world({}, headers=nonsense).run(ask).fetched_at - NOON < timedelta(seconds=1)


@pytest.mark.parametrize("said", ["Fri, 24 Oct 2025 12:16:00 GMT", "Fri, 24 Oct 2025 11:44:00 GMT"])
def test_a_stamp_that_cannot_be_right_is_asked_again_and_never_kept(world: WorldMaker, said: str) -> None:
    here = world({"a": 1}, headers={"date": said})
    with pytest.raises(VendorMalformed, match="but it is 2025-10-24 12:00"):
        here.run(ask)
    assert here.archive.last.attempts == 5
    assert here.archive.last.fetched_at - NOON < timedelta(minutes=1), "by our clock"
    assert here.archive.bodies == {}, "an answer of a wrong clock is never the answer of a day"


def test_an_answer_from_a_cache_may_be_as_old_as_it_says(world: WorldMaker) -> None:
    cached = world({}, headers={"date": "Fri, 24 Oct 2025 11:10:00 GMT", "age": "3000"}).run(ask)
    assert cached.fetched_at == datetime(2025, 10, 24, 11, 10, tzinfo=UTC)


# --- windows -------------------------------------------------------------------------------------------------------
INSIDE = Window(NOON - timedelta(minutes=30), NOON + timedelta(minutes=30))
BEFORE = Window(NOON - timedelta(days=3), NOON - timedelta(days=2))


def reusing(
    window: Window, parse: Callable[[Any], Any] = identity, refuse: Callable[[object], None] | None = None
) -> Callable[[Gateway], Any]:
    return lambda gateway: gateway.get("etherscan", "/api", {}, {"action": "x"}, parse, reuse=window, refuse=refuse)


def windowed(window: Window) -> Callable[[Gateway], Any]:
    return lambda gateway: gateway.get("etherscan", "/api", {}, {"action": "x"}, identity, window=window)


def test_inside_the_window_the_vendor_is_asked(world: WorldMaker) -> None:
    fetched = world({"a": 1}).run(windowed(INSIDE))
    assert (fetched.rows, fetched.from_archive) == ({"a": 1}, False)


def test_outside_the_window_the_archive_answers_without_a_request(world: WorldMaker) -> None:
    here = world({"a": 1})
    here.now = NOON - timedelta(days=2, hours=12)
    first = here.run(ask)
    here.now = NOON
    fetched = here.run(windowed(BEFORE))
    assert fetched == Fetched({"a": 1}, first.fetched_at, from_archive=True)
    assert len(here.vendors.requests) == 1


def test_outside_the_window_with_nothing_archived_is_not_recoverable(world: WorldMaker) -> None:
    here = world({"a": 1})
    with pytest.raises(NotRecoverable) as caught:
        here.run(windowed(BEFORE))
    assert caught.value.days == (date(2025, 10, 21),), "the day whose window was missed, not the partition that asked"
    assert here.vendors.requests == []


def test_an_answer_stamped_outside_the_window_is_not_labelled_with_the_day(world: WorldMaker) -> None:
    until_now = Window(NOON - timedelta(minutes=30), NOON)
    with pytest.raises(NotRecoverable):
        world({"a": 1}, headers={"date": "Fri, 24 Oct 2025 12:01:00 GMT"}).run(windowed(until_now))


def test_an_archived_answer_that_cannot_be_parsed_is_a_typed_error(world: WorldMaker) -> None:
    def refuse(_: object) -> object:
        raise VendorMalformed("field 'apy' of row 3 is missing")

    here = world({"a": 1})
    here.now = NOON - timedelta(days=2, hours=12)
    here.run(ask)
    here.now = NOON
    with pytest.raises(VendorMalformed, match="etherscan /api: field 'apy'"):
        here.run(lambda gateway: gateway.get("etherscan", "/api", {}, {"action": "x"}, refuse, window=BEFORE))


# --- reuse -----------------------------------------------------------------------------------------------------------
def test_an_archived_answer_stands_for_a_new_one_and_the_earliest_does(world: WorldMaker) -> None:
    here = world({"n": 1}, {"n": 2}, {"n": 3})
    stamps = [here.run(ask).fetched_at for here.now in (NOON, NOON + timedelta(minutes=1))]
    here.now = NOON + timedelta(days=9)
    fetched = here.run(reusing(INSIDE))
    assert fetched == Fetched({"n": 1}, stamps[0], from_archive=True)
    assert len(here.archive.fetches) == len(here.vendors.requests) == 2, "nothing is sent, no row is written"
    assert here.run(reusing(BEFORE)).rows == {"n": 3}, "what was fetched outside the window stands for nothing"


def test_an_archived_answer_that_cannot_be_read_is_passed_over(world: WorldMaker) -> None:
    def parse(answer: Any) -> Any:
        if answer["n"] < 2:
            raise SuspiciousDataError("a third of the pools is missing")
        return answer

    here = world({"n": 1}, {"n": 2}, {"n": 3})
    here.run(ask)
    question = reusing(Window(NOON, NOON + timedelta(days=9)), parse)
    assert here.run(question).rows == {"n": 2}, "asked anew"
    again = here.run(question)
    assert (again.rows, again.from_archive) == ({"n": 2}, True), "and never again: the next answer stands"
    assert len(here.vendors.requests) == 2


def test_an_archived_refusal_in_the_vendors_own_words_is_no_answer(world: WorldMaker) -> None:
    def refuse(answer: Any) -> None:
        if "error" in answer:
            raise VendorPlanLimit("credits used up")

    here = world({"error": 1010}, {"n": 1})
    here.run(ask)  # by a process that was killed before it looked
    question = reusing(INSIDE, refuse=refuse)
    assert here.run(question).rows == {"n": 1}


def test_a_posted_question_is_reused_and_kept_to_its_window_like_any_other(world: WorldMaker) -> None:
    def post(gateway: Gateway, payload: object = "0x1", **options: Any) -> Any:
        return gateway.post_json("fred", "/", {"method": payload}, identity, **options)

    here = world({"n": 1}, {"n": 2})
    here.run(post)
    assert here.run(lambda gateway: post(gateway, reuse=INSIDE)).from_archive
    assert not here.run(lambda gateway: post(gateway, "0x2", reuse=INSIDE)).from_archive
    here.now = NOON + timedelta(days=9)
    assert here.run(lambda gateway: post(gateway, window=INSIDE)).rows == {"n": 1}
    with pytest.raises(NotRecoverable):
        here.run(lambda gateway: post(gateway, window=BEFORE))
    assert len(here.vendors.requests) == 2


# --- the archive alone -----------------------------------------------------------------------------------------------
def rebuilt(here: World, question: Callable[[Gateway], Any] = ask) -> Any:
    """Ask again from the archive alone, much later; nothing may be sent or written."""
    before = len(here.vendors.requests), list(here.archive.log)
    here.archive_only, here.now = True, NOON + timedelta(days=300)
    try:
        return here.run(question)
    finally:
        here.archive_only, here.now = False, NOON
        assert before == (len(here.vendors.requests), here.archive.log)


def test_a_rebuild_is_told_what_the_partition_was_told_last(world: WorldMaker) -> None:
    here = world({"n": 1}, {"n": 2}, 500)
    here.run(ask)
    second = here.run(ask)
    with pytest.raises(VendorUnavailable):
        here.run(ask)
    assert rebuilt(here) == Fetched({"n": 2}, second.fetched_at, from_archive=True)
    here.partition = date(2025, 10, 24)
    with pytest.raises(NotRecoverable):
        rebuilt(here)


def test_a_rebuild_of_a_failed_request_fails_again_in_the_same_words(world: WorldMaker) -> None:
    here = world(429)
    with pytest.raises(VendorThrottled) as first:
        here.run(ask)
    with pytest.raises(VendorThrottled) as again:
        rebuilt(here)
    assert (str(again.value), again.value.vendor, again.value.status) == (str(first.value), "etherscan", 429)

    def suspicious(_: object) -> object:
        raise SuspiciousDataError("a third of the pools is missing")

    def question(gateway: Gateway) -> Any:
        return gateway.get("fred", "/x", {}, {}, suspicious)

    here = world({})
    for run in (here.run, lambda asked: rebuilt(here, asked)):
        with pytest.raises(SuspiciousDataError, match=r"^a third of the pools is missing$"):
            run(question)


def test_a_rebuild_finds_what_the_partition_reused(world: WorldMaker) -> None:
    here = world({"n": 1}, {"n": 2})
    for here.partition, here.now in ((date(2025, 10, 21), NOON), (date(2025, 10, 22), NOON + timedelta(minutes=1))):
        here.run(ask)
    here.partition = date(2025, 10, 23)
    assert here.run(reusing(INSIDE)).rows == rebuilt(here, reusing(INSIDE)).rows == {"n": 1}
    assert rebuilt(here, windowed(INSIDE)).rows == {"n": 2}, "what is recalled for a window is its newest answer"


def test_a_rebuild_labels_no_day_with_another_days_answer(world: WorldMaker) -> None:
    """A range asks the same question for several days in one partition."""
    here = world({"n": 1}, {"n": 2})
    here.now = NOON - timedelta(days=2, hours=12)
    here.run(ask)
    here.now = NOON
    here.run(ask)
    assert rebuilt(here, windowed(BEFORE)).rows == {"n": 1}
    assert rebuilt(here, windowed(INSIDE)).rows == {"n": 2}


def test_the_present_of_a_rebuild_is_what_the_partition_saw_last(world: WorldMaker) -> None:
    async def present(gateway: Gateway) -> datetime:
        return gateway.present()

    here = world({})
    assert rebuilt(here, present) == datetime(2025, 10, 24, 1, 0, tzinfo=UTC), "the day's cutoff, when it never asked"
    here.run(ask)
    last = here.run(ask)
    assert rebuilt(here, present) == last.fetched_at


# --- the archive ---------------------------------------------------------------------------------------------------
def test_an_answer_is_archived_before_anybody_reads_it(world: WorldMaker) -> None:
    here = world({"a": 1})

    def parse(answer: object) -> object:
        assert here.archive.log == ["record"]
        (fetch,) = here.archive.fetches
        assert (fetch.error_class, fetch.rows, fetch.status) == (None, None, 200)
        assert here.archive.bodies == {fetch.sha256: b'{"a": 1}'}
        return answer

    here.run(lambda gateway: gateway.get("fred", "/x", {}, {}, parse))
    assert here.archive.log == ["record", "settle"]
    assert here.archive.last.rows == 1


def test_a_request_without_any_answer_is_written_down_once(world: WorldMaker) -> None:
    here = world(httpx.ConnectError("refused"))
    with pytest.raises(VendorUnavailable):
        here.run(ask)
    assert here.archive.log == ["record"]


def test_the_body_of_every_attempt_is_kept_under_one_request(world: WorldMaker) -> None:
    here = world(httpx.Response(503, text="busy"), b'{"torn": ', httpx.ConnectError("refused"), {"a": 1})
    assert here.run(ask).rows == {"a": 1}
    (fetch,) = here.archive.fetches
    assert here.archive.bodies[fetch.sha256 or ""] == b'{"a": 1}'
    earlier = (fetch.earlier_sha256 or "").split()
    assert [here.archive.bodies[digest] for digest in earlier] == [b"busy", b'{"torn": ']
    assert len(here.archive.bodies) == 3


class ArchiveFull(MemoryArchive):
    def record(self, fetch: Any, body: bytes | None, fetch_id: int | None = None) -> int:
        self.log.append("record")
        raise TransientError("cannot write raw_fetches: database or disk is full")


def test_an_archive_that_is_full_is_not_taken_for_the_vendor(world: WorldMaker) -> None:
    here = World(Vendors(answers({"a": 1})), ArchiveFull())
    with pytest.raises(TransientError, match="disk is full"):
        here.run(ask)
    assert len(here.vendors.requests) == 1, "asking again would not empty the disk"
    assert here.archive.log == ["record"], "nor would writing again"


@pytest.mark.parametrize("error", [SuspiciousDataError("half of it"), ConfigurationError("no such token")])
def test_our_own_errors_in_the_parser_are_recorded_and_raised_as_they_are(
    world: WorldMaker, error: DefiYieldError
) -> None:
    def fail(_: object) -> object:
        raise error

    here = world({"a": 1})
    with pytest.raises(type(error)) as caught:
        here.run(lambda gateway: gateway.get("fred", "/x", {}, {}, fail))
    assert caught.value is error
    last = here.archive.last
    assert (last.error_class, last.error_message, last.attempts) == (type(error).__name__, str(error), 1)
    assert here.run(lambda gateway: gateway.get("fred", "/x", {}, {}, identity, reuse=INSIDE)).from_archive is False


def test_every_request_leaves_one_row_with_what_was_asked(world: WorldMaker) -> None:
    here = world([{"a": 1}, {"a": 2}])
    here.run(lambda gateway: gateway.get("fred", "/x/{id}", {"id": "A b"}, {"n": 3}, identity))
    fetch = here.archive.last
    assert (fetch.vendor, fetch.endpoint, fetch.params_json) == ("fred", "/x/{id}", '{"id":"A b","n":3}')
    assert (fetch.rows, fetch.bytes, fetch.status, fetch.attempts) == (2, len(b'[{"a": 1}, {"a": 2}]'), 200, 1)
    assert fetch.partition_date == date(2025, 10, 23)
    assert here.archive.bodies == {fetch.sha256: b'[{"a": 1}, {"a": 2}]'}


@pytest.mark.parametrize("error", [VendorMalformed("bad"), ValueError("a bug"), asyncio.CancelledError()])
def test_the_answer_is_archived_whatever_the_parser_does(world: WorldMaker, error: BaseException) -> None:
    def fail(_: object) -> object:
        raise error

    here = world({"a": 1})
    with pytest.raises(type(error)):
        here.run(lambda gateway: gateway.get("fred", "/x", {}, {}, fail))
    assert here.archive.last.error_class == type(error).__name__
    assert here.archive.bodies[here.archive.last.sha256 or ""] == b'{"a": 1}'


def test_path_arguments_cannot_leave_their_place(world: WorldMaker) -> None:
    here = world({})
    here.run(lambda gateway: gateway.get("fred", "/chart/{pool}", {"pool": "../a?b#c/{d}"}, {}, identity))
    assert (
        here.vendors.requests[0].url.raw_path
        == b"/fred/chart/..%2Fa%3Fb%23c%2F%7Bd%7D?api_key=" + (here.vendors.requests[0].url.query.split(b"=", 1)[1])
    )
    for escape in ("..", ".", ""):
        with pytest.raises(VendorNotFound):
            here.run(lambda gateway, escape=escape: gateway.get("fred", "/chart/{p}", {"p": escape}, {}, identity))


def test_unknown_vendor_is_a_configuration_error(world: WorldMaker) -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        world({}).run(lambda gateway: gateway.get("nobody", "/", {}, {}, identity))


def test_too_large_a_body_is_refused(world: WorldMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defiyield_assets.sources.transport.MAX_BODY_BYTES", 10)
    with pytest.raises(VendorMalformed, match="larger than 10 bytes"):
        world({"a": "0123456789"}).run(ask)


# --- secrets -------------------------------------------------------------------------------------------------------
LEAKS: list[Callable[[httpx.Request], Any]] = [
    lambda request: httpx.ConnectError(f"cannot reach {request.url} with {dict(request.headers)}"),
    lambda request: httpx.ReadTimeout(f"{request.url}"),
    lambda request: ConnectionResetError(f"{request.url}"),
    lambda request: httpx.Response(400, json={"error": f"bad request {request.url} {KEYS}"}),
    lambda request: httpx.Response(500, text=f"trace: {request.url} {list(request.headers.items())} {KEYS}"),
    lambda request: httpx.Response(200, text=f"not json {request.url} {KEYS}"),
    lambda request: httpx.Response(301, headers={"location": f"{request.url}"}),
    lambda request: httpx.Response(200, json={"echo": [str(request.url), KEYS, json.dumps(KEYS)]}),
]


@pytest.mark.parametrize("vendor", sorted(KEYS))
@pytest.mark.parametrize("leak", LEAKS, ids=range(len(LEAKS)))
def test_no_key_leaks(vendor: str, leak: Callable[[httpx.Request], Any], caplog: pytest.LogCaptureFixture) -> None:
    def fail(answer: object) -> object:
        raise VendorMalformed(f"cannot read {answer!r} of {KEYS[vendor]}")

    here = World(Vendors(leak), MemoryArchive())
    with caplog.at_level(logging.DEBUG), pytest.raises(VendorError) as caught:
        here.run(lambda gateway: gateway.get(vendor, "/x/{id}", {"id": "1"}, {"q": 1}, fail))
    error: BaseException | None = caught.value
    seen = ["".join(traceback.format_exception(caught.value)), caplog.text, repr(here.archive.fetches)]
    while error is not None:
        seen += [repr(error), str(error), repr(error.args)]
        error = error.__context__ or error.__cause__
    seen += [body.decode() for body in here.archive.bodies.values()]
    everything = "\n".join(seen)
    assert here.archive.last.error_class is not None
    for spelling in (SECRET, "sk-very%2Fsecret", "secret%2Bkey", "secret+key"):
        assert spelling not in everything


def test_an_echoed_key_is_masked_in_the_archived_body(world: WorldMaker) -> None:
    here = world({"asked_with": KEYS["fred"]})
    here.run(ask)
    assert here.archive.bodies[here.archive.last.sha256 or ""].decode() == f'{{"asked_with": "{MASK}"}}'


def test_the_key_travels_where_the_vendor_wants_it(world: WorldMaker) -> None:
    here = world({})

    async def two(gateway: Gateway) -> None:
        await gateway.get("etherscan", "/api", {}, {"a": "1,2"}, identity)
        await gateway.get("coinmarketcap", "/v1", {}, {}, identity)

    here.run(two)
    first, second = here.vendors.requests
    assert dict(first.url.params) == {"a": "1,2", "apikey": KEYS["etherscan"]}
    assert second.headers["X-CMC_PRO_API_KEY"] == KEYS["coinmarketcap"]
    assert first.headers["host"] == "api.etherscan.io"


@pytest.mark.parametrize(
    ("address", "kept", "masked"),
    [
        ("https://node.example/v3/0123456789abcdef", "node.example", "0123456789abcdef"),
        ("https://node.example/?key=0123456789abcdef", "node.example", "0123456789abcdef"),
        ("https://somebody:secret-word@node.example/eth", "ethereum", "secret-word"),
        ("https://node.example/eth", "ethereum", "https://node.example/eth"),
    ],
)
def test_a_secret_address_is_masked_and_innocent_words_are_not(
    world: WorldMaker, address: str, kept: str, masked: str
) -> None:
    here = world(lambda request: httpx.Response(403, text=f"{request.url} refuses on node.example, ethereum"))
    with pytest.raises(VendorAuthError) as caught:
        here.run(lambda gateway: gateway.post_json("fred", "/", {}, identity, secret_url=address))
    assert here.vendors.requests[0].url.host == "node.example"
    assert masked not in str(caught.value)
    assert MASK in str(caught.value)
    assert kept in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://node.example/v3/0123456789abcdef/eth",
        "https://node.example/eth?chain=1&key=0123456789abcdef",
        "https://somebody:0123456789abcdef@node.example/eth",
    ],
)
def test_the_key_inside_a_secret_address_is_masked_on_its_own(world: WorldMaker, address: str) -> None:
    here = world(lambda _: httpx.Response(403, text="no project 0123456789abcdef on eth, chain 1"))
    with pytest.raises(VendorAuthError) as caught:
        here.run(lambda gateway: gateway.post_json("fred", "/", {}, identity, secret_url=address))
    assert "0123456789abcdef" not in str(caught.value)
    assert "on eth, chain 1" in str(caught.value)
    assert not any(b"0123456789abcdef" in body for body in here.archive.bodies.values())


def test_every_spelling_of_a_secret_is_masked() -> None:
    redactor = Redactor()
    redactor.learn('a b/"c+d')
    redactor.learn(None)
    for spelled in ('a b/"c+d', "a%20b/%22c%2Bd", "a%20b%2F%22c%2Bd", "a+b%2F%22c%2Bd", 'a b/\\"c+d'):
        assert redactor.text(f"<{spelled}>") == f"<{MASK}>"
        assert redactor.body(f"<{spelled}>".encode()) == f"<{MASK}>".encode()


def test_settings_do_not_show_their_key() -> None:
    from defiyield_assets.sources.vendors import default_vendors

    assert SECRET not in repr(default_vendors(KEYS))


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200),
    st.integers(200, 599),
    st.dictionaries(st.sampled_from(["date", "retry-after"]), st.text(st.characters(codec="latin-1"), max_size=20)),
)
def test_any_answer_is_rows_or_a_typed_error(body: bytes, status: int, headers: dict[str, str]) -> None:
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    here = World(Vendors(lambda _: httpx.Response(status, content=body, headers=list(raw.items()))), MemoryArchive())
    try:
        here.run(ask)
    except VendorError as error:
        assert here.archive.last.error_class == type(error).__name__  # noqa: PT017 - it may also go well
    assert len(here.archive.fetches) == 1
    assert len(here.vendors.requests) == here.archive.last.attempts
