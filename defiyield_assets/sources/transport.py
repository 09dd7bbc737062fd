"""The gateway to all vendors: retries, classification, archive before parse.

Lives here: everything between a client's question and its typed rows. Not here: what an answer looks like (a module per
vendor), base URLs and limits (vendors.py), keeping to them (pacing.py), what a status or header means (wire.py),
answers that are already there (recall.py), hiding keys (redaction.py).
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from defiyield_assets.domain.budgets import Budgets
from defiyield_assets.domain.days import cutoff
from defiyield_assets.domain.provenance import LARGEST_BODY_BYTES, Archive, FetchRecord
from defiyield_assets.errors import (
    ConfigurationError,
    TransientError,
    VendorError,
    VendorMalformed,
    VendorThrottled,
    VendorUnanswered,
    VendorUnavailable,
)
from defiyield_assets.sources.pacing import LONGEST_PAUSE_SECONDS, BudgetedLane, Lane
from defiyield_assets.sources.recall import Fetched, Reader, Refusal, Window, recalled, replayed, reusable
from defiyield_assets.sources.redaction import KeyedTransport, Redactor, VendorSettings
from defiyield_assets.sources.wire import Question, decode_json, require_right_clock, retry_after_seconds, stamp_of

__all__ = ["Fetched", "Gateway", "VendorSettings", "Window", "all_of"]

T = TypeVar("T")
P = ParamSpec("P")

ATTEMPTS = 5
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 60.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""How long a vendor may be silent, before and inside an answer."""
ATTEMPT_SECONDS = 300.0
"""One attempt from first byte to last: a body that trickles in is a time-out too."""
SHORTEST_KEY = 16
"""A shorter path, such as `/eth`, is no secret and an innocent part of other texts."""
MAX_BODY_BYTES = LARGEST_BODY_BYTES
PACKINGS = frozenset({"gzip", "deflate", "identity"})

logger = logging.getLogger(__name__)


@dataclass
class _Trace:
    """What has happened to one request so far."""

    attempts: int = 0
    waited_seconds: float = 0.0
    status: int | None = None
    fetched_at: datetime | None = None
    body: bytes | None = None
    sha256: str | None = None
    earlier: tuple[str, ...] = ()
    retry_after: float = 0.0
    sent_at: float = 0.0
    fetch_id: int | None = None
    is_archivable: bool = True
    is_once: bool = False
    was_sent: bool = False


class Gateway:
    """Asks vendors politely and remembers every answer. Use as `async with Gateway(...) as gateway`.

    `transport` is the market (live, recorded or simulated), `now` its clock: the stamp of answers without `Date`
    header and the instant that windows are probed with. `partition_date` is written beside every archived request.
    With `budgets` every call is reserved there first, so that all processes together keep to the vendors' limits; they
    go by `wall_clock` (by default `now`), since a market's clock may stand still.
    With `archive_only` nothing is sent and nothing recorded: every question gets what the partition was told
    (recall.py, `replayed`).
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        archive: Archive,
        vendors: Mapping[str, VendorSettings],
        partition_date: date | None,
        *,
        now: Callable[[], datetime],
        wall_clock: Callable[[], datetime] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
        archive_only: bool = False,
        budgets: Budgets | None = None,
    ) -> None:
        self._vendors = dict(vendors)
        self._archive = archive
        self._partition_date = partition_date
        self._replayed_day = partition_date if archive_only else None
        if archive_only and partition_date is None:
            raise ValueError("only a partition can be answered from the archive alone")
        self._now = now
        self._wall_clock = wall_clock or now
        self._sleep = sleep
        self._random = random.Random(seed)  # noqa: S311 - jitter, not secrecy
        self._budgets = budgets
        self._lanes: dict[tuple[str, str | None], Lane] = {}
        # Hashing, compressing and committing happen beside the event loop, in order.
        self._archivist = ThreadPoolExecutor(1, "archive")
        self._redactor = Redactor()
        for settings in self._vendors.values():
            self._redactor.learn(settings.api_key)
        self._client = httpx.AsyncClient(
            transport=KeyedTransport(transport, self._vendors),
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            headers={
                "user-agent": "defiyield-assets",
                "accept": "application/json",
                "accept-encoding": "gzip, deflate",
            },
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._client.aclose()
            for lane in self._lanes.values():
                await lane.leave()
        finally:
            self._archivist.shutdown()

    def settings(self, vendor: str) -> VendorSettings:
        """The settings of a vendor; an unknown name is a `ConfigurationError`."""
        if vendor not in self._vendors:
            raise ConfigurationError(f"vendor {vendor!r} has no settings; there are {', '.join(sorted(self._vendors))}")
        return self._vendors[vendor]

    def present(self) -> datetime:
        """The market's present instant; in a rebuild the last one that the partition saw."""
        if self._replayed_day is not None:
            return self._archive.newest_stamp(self._replayed_day) or cutoff(self._replayed_day)
        return self._now().astimezone(UTC)

    async def get(
        self,
        vendor: str,
        endpoint: str,
        path_args: Mapping[str, str],
        params: Mapping[str, str | int],
        parse: Callable[[object], T],
        *,
        window: Window | None = None,
        reuse: Window | None = None,
        credits_used: int = 1,
        headers: Mapping[str, str] | None = None,
        refuse: Refusal | None = None,
    ) -> Fetched[T]:
        """GET one endpoint and parse the JSON answer.

        `endpoint` is a path template such as `/chart/{pool}`. With a `window` the answer must carry a stamp inside it;
        outside it the archive is asked instead, and when that holds nothing the error is `NotRecoverable`. With
        `reuse` the earliest archived answer whose stamp lies inside that window is as good as a new one, and nothing is
        sent; one that cannot be read is passed over. `credits_used` is what the call costs of the vendor's budgets.
        Errors: `VendorError` of the right class after all attempts; what `parse` raises of our other errors is recorded
        and raised as it is.
        """
        question = Question(vendor, endpoint, path_args, params)

        def request() -> httpx.Request:
            return self._client.build_request(
                "GET",
                self.settings(vendor).base_url + question.path,
                params=dict(params) or None,
                headers=dict(headers or {}),
                extensions={"vendor": vendor},
            )

        return await self._answer(
            question, request, Reader(parse, refuse, decode_json), window=window, reuse=reuse, credits_used=credits_used
        )

    async def post_json(
        self,
        vendor: str,
        endpoint: str,
        payload: object,
        parse: Callable[[object], T],
        *,
        window: Window | None = None,
        reuse: Window | None = None,
        credits_used: int = 1,
        secret_url: str | None = None,
        refuse: Refusal | None = None,
        decode: Callable[[bytes], object] = decode_json,
        depends_on: Mapping[str, str] | None = None,
        is_once: bool = False,
    ) -> Fetched[T]:
        """POST a JSON payload to an endpoint and parse the answer; retried like `get`, so delivered at least once.

        `is_once`: carried out at most once instead. Only what the vendor refused, or what never reached it, is sent
        again; whatever else goes wrong is `VendorUnanswered`, because nobody knows whether it was carried out.

        `secret_url` (by default the one of the vendor's settings) replaces the address where the address itself is the
        secret (webhooks, nodes): it is used below the client only and redacted everywhere. `window`, `reuse` and
        `credits_used` are those of `get`. `depends_on`: what the answer rests on beside the payload, such as the digest
        of a model: part of the question in the archive, never sent.
        """
        question = Question(vendor, endpoint, params=depends_on or {}, payload=payload)
        address = secret_url or self.settings(vendor).secret_url
        self._learn_address(address)

        def request() -> httpx.Request:
            return self._client.build_request(
                "POST",
                self.settings(vendor).base_url + question.path,
                json=payload,
                timeout=self._timeout(vendor),
                extensions={"vendor": vendor, "secret_url": address},
            )

        return await self._answer(
            question,
            request,
            Reader(parse, refuse, decode),
            window=window,
            reuse=reuse,
            credits_used=credits_used,
            is_once=is_once,
        )

    def _timeout(self, vendor: str) -> httpx.Timeout:
        """How long the vendor may be silent."""
        silent = self.settings(vendor).read_seconds
        return httpx.Timeout(READ_SECONDS if silent is None else silent, connect=CONNECT_SECONDS, pool=None)

    def _learn_address(self, address: str | None) -> None:
        """Keep a secret address, and its parts that are long enough to be a key, out of everything."""
        if address is not None:
            url = httpx.URL(address)
            wholes = (url.path.strip("/"), url.query.decode(), url.userinfo.decode())
            values = (value for _, value in url.params.multi_items())
            parts = (*wholes, *url.path.split("/"), *values, url.password)
            for secret in (address, *(part for part in parts if len(part) >= SHORTEST_KEY)):
                self._redactor.learn(secret)

    async def _answer(
        self,
        question: Question,
        request: Callable[[], httpx.Request],
        reader: Reader[T],
        *,
        window: Window | None,
        reuse: Window | None,
        credits_used: int,
        is_once: bool = False,
    ) -> Fetched[T]:
        """From the archive where that is as good, else from the vendor."""
        try:
            if self._replayed_day is not None:
                return await self._beside(
                    replayed, self._archive, question, reader, self._replayed_day, window=window, reuse=reuse
                )
            if reuse is not None:
                found = await self._beside(reusable, self._archive, question, reader, reuse)
                if found is not None:
                    return found
            if window is not None and not window.holds(self.present()):
                return await self._beside(recalled, self._archive, question, reader, window)
        except VendorError as error:
            failure = self._named(error, question, error.status)
        else:
            fetched = await self._ask(question, request(), reader, credits_used, is_once=is_once)
            if window is None or window.holds(fetched.fetched_at):
                return fetched
            try:
                return await self._beside(recalled, self._archive, question, reader, window)
            except VendorError as error:
                failure = self._named(error, question, error.status)
        raise failure

    async def _beside(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a piece of work on the archive's thread, one after the other."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._archivist, lambda: work(*args, **options))

    async def _ask(
        self, question: Question, request: httpx.Request, reader: Reader[T], credits_used: int, *, is_once: bool
    ) -> Fetched[T]:
        """All attempts of one request; whatever becomes of it, it leaves one row in the archive."""
        lane = self._lane(self.settings(question.vendor))
        trace = _Trace(is_once=is_once)

        async def attempt() -> T:
            trace.attempts += 1
            # The place is held until the answer is committed: however slow the disk, a crash loses only what was in
            # flight, and from here on the answer is there for the next run.
            async with lane.places:
                failure = await self._exchange(request, lane, trace, credits_used)
                if trace.body is not None:
                    await self._keep(question, trace)
            if failure is None:
                try:
                    return reader.read(trace.status or 0, trace.body or b"")
                except VendorError as error:
                    failure = error
            if isinstance(failure, VendorThrottled) and trace.status is not None:
                await lane.throttled(trace.retry_after, trace.sent_at)
            if _may_be_done(failure, trace):
                failure = VendorUnanswered(f"it may have been carried out, and is not sent again: {failure}")
            # Raised outside the handler: the original, which nobody redacted, must not travel along as context.
            raise self._named(failure, question, trace.status)

        rows: object = None
        answer: T
        error: BaseException | None = None
        try:
            rows = answer = await self._retrying(question, lane, trace)(attempt)
            return Fetched(answer, trace.fetched_at or self.present())
        except BaseException as failure:
            error = failure
            raise
        finally:
            if trace.is_archivable:
                await self._keep(question, trace, rows, error, is_end=True)

    def _retrying(self, question: Question, lane: Lane, trace: _Trace) -> AsyncRetrying:
        """Exponential back-off with full jitter, never less than `Retry-After`; only what a vendor may heal."""

        async def pause(seconds: float) -> None:
            trace.waited_seconds += seconds
            await self._sleep(seconds)

        def patience_ends(state: RetryCallState) -> bool:
            return (
                stop_after_attempt(ATTEMPTS)(state)
                or max(trace.retry_after, lane.pause_seconds()) > LONGEST_PAUSE_SECONDS
            )

        def delay(state: RetryCallState) -> float:
            ceiling = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (state.attempt_number - 1))
            return max(self._random.uniform(0.0, ceiling), trace.retry_after)

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            seconds = state.upcoming_sleep
            if isinstance(error, VendorThrottled):
                lane.close_for(seconds)
            logger.warning(
                "attempt %d of %d failed, next in %.1f s: %s",
                *(trace.attempts, ATTEMPTS, seconds, error),
                extra={"vendor": question.vendor, "endpoint": question.endpoint},
            )

        return AsyncRetrying(
            sleep=pause,
            stop=patience_ends,
            wait=delay,
            before_sleep=tell,
            retry=retry_if_exception(_may_heal),
            reraise=True,
        )

    async def _exchange(
        self, request: httpx.Request, lane: Lane, trace: _Trace, credits_used: int
    ) -> VendorError | None:
        """One request and its whole body into the trace, or the error that stands for what went wrong on the way."""
        trace.earlier += (trace.sha256,) if trace.sha256 is not None else ()
        trace.status, trace.body, trace.sha256, trace.fetched_at, trace.retry_after = None, None, None, None, 0.0
        trace.was_sent = False
        try:
            trace.waited_seconds += await lane.turn(credits_used)
            trace.sent_at, trace.was_sent = asyncio.get_running_loop().time(), True
            async with asyncio.timeout(ATTEMPT_SECONDS):
                response = await self._client.send(request, stream=True)
                trace.status = response.status_code
                stamp = stamp_of(response.headers) or self.present()
                trace.retry_after = retry_after_seconds(response.headers, stamp)
                body = self._redactor.body(await _read_body(response))
                require_right_clock(stamp, response.headers, self.present())
                trace.fetched_at, trace.body = stamp, body
        except (httpx.DecodingError, httpx.RemoteProtocolError) as error:
            if trace.status is None:
                return VendorUnavailable(f"no answer: {type(error).__name__}: {error}")
            return VendorMalformed(f"the body broke off or cannot be decompressed: {error}")
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:  # TimeoutError is an OSError
            trace.was_sent = trace.was_sent and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            return VendorUnavailable(f"no complete answer: {type(error).__name__}: {error}")
        except VendorError as error:
            return error
        return None

    def _lane(self, settings: VendorSettings) -> Lane:
        key = (settings.name, settings.api_key)
        if key not in self._lanes:
            self._lanes[key] = (
                Lane(settings, self._sleep)
                if self._budgets is None
                else BudgetedLane(settings, self._sleep, self._budgets, self._wall_clock())
            )
        return self._lanes[key]

    def _named(self, error: VendorError, question: Question, status: int | None) -> VendorError:
        """The same error with vendor, endpoint and status, and without secrets."""
        message, name = self._redactor.text(str(error)), f"{question.vendor} {question.endpoint}: "
        named = message if message.startswith(name) else name + message
        return type(error)(named, vendor=question.vendor, endpoint=question.endpoint, status=status)

    async def _keep(
        self,
        question: Question,
        trace: _Trace,
        rows: object = None,
        error: BaseException | None = None,
        *,
        is_end: bool = False,
    ) -> None:
        """Hand the request as it stands to the archive: its body as soon as it is there, its end when it has ended."""
        if trace.body is not None and trace.sha256 is None:
            trace.sha256 = hashlib.sha256(trace.body).hexdigest()
        fetch = FetchRecord(
            vendor=question.vendor,
            endpoint=question.endpoint,
            params_hash=question.params_hash,
            params_json=self._redactor.text(question.params_json),
            fetched_at=trace.fetched_at or self.present(),
            partition_date=self._partition_date,
            status=trace.status,
            attempts=max(trace.attempts, 1),
            waited_seconds=trace.waited_seconds,
            bytes=len(trace.body or b""),
            rows=len(rows) if isinstance(rows, Sized) else None,
            error_class=type(error).__name__ if error is not None else None,
            error_message=self._redactor.text(str(error)) if error is not None else None,
            sha256=trace.sha256,
            earlier_sha256=" ".join(trace.earlier) or None,
        )
        try:
            if is_end and trace.fetch_id is not None:
                await self._beside(self._archive.settle, trace.fetch_id, fetch)
            else:
                trace.fetch_id = await self._beside(self._archive.record, fetch, trace.body, trace.fetch_id)
        except Exception:
            # An archive that cannot be written to is not asked a second time to keep how the request ended.
            trace.is_archivable = False
            raise


def _may_heal(error: BaseException) -> bool:
    """Whether asking the vendor again may help; our own disk that is full is no reason to."""
    return isinstance(error, VendorError) and isinstance(error, TransientError)


def _may_be_done(error: VendorError, trace: _Trace) -> bool:
    """Whether a request that must not be sent twice may have been carried out: an answer that is no refusal, or none
    after it was sent."""
    if not trace.is_once or isinstance(error, VendorThrottled):
        return False
    if trace.status is None:
        return trace.was_sent and isinstance(error, VendorUnavailable | VendorMalformed)
    return trace.status < 300 or trace.status >= 500 or trace.status == 408


async def all_of(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Results of calls made side by side, in their order; waits for all of them, then raises the first error."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


async def _read_body(response: httpx.Response) -> bytes:
    """The decompressed body, at most `MAX_BODY_BYTES` of it.

    Packed once and by an algorithm that makes at most a thousand bytes of one: packed twice or by another, the few
    kilobytes that are unpacked at a time could fill the memory before anybody counts them.
    """
    parts: list[bytes] = []
    size = 0
    try:
        packed = [one.strip().lower() for one in response.headers.get("content-encoding", "").split(",") if one.strip()]
        if len(packed) > 1 or not set(packed) <= PACKINGS:
            raise VendorMalformed(f"the body is packed as {', '.join(packed)[:80]}, asked for was gzip at most")
        async for part in response.aiter_bytes():
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise VendorMalformed(f"the body is larger than {MAX_BODY_BYTES} bytes")
            parts.append(part)
    finally:
        await response.aclose()
    return b"".join(parts)
