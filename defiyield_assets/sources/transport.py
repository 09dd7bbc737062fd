"""The gateway to all vendors: pacing, retries, classification, archive.

Lives here: everything between a client's question and its typed rows. Not here: what an answer looks like (a module per
vendor), base URLs and limits (vendors.py), what a status or header means (wire.py), hiding keys (redaction.py).
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sized
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from defiyield_assets.domain.provenance import Archive, FetchRecord
from defiyield_assets.errors import (
    ConfigurationError,
    NotRecoverable,
    TransientError,
    VendorError,
    VendorMalformed,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources.redaction import KeyedTransport, Redactor, VendorSettings
from defiyield_assets.sources.wire import Question, decode_json, error_of_status, retry_after_seconds, stamp_of

__all__ = ["Fetched", "Gateway", "VendorSettings", "Window", "all_of"]

T = TypeVar("T")
Refusal = Callable[[object], None]
"""Looks at a decoded body of any status and raises the vendor's own error when it carries one."""

ATTEMPTS = 5
BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 120.0
"""A vendor that asks for a longer pause is given up for this request; a later run asks again."""
ATTEMPT_SECONDS = 300.0
"""One attempt from first byte to last: a body that trickles in is a time-out too."""
MAX_BODY_BYTES = 256 * 1024 * 1024
PACE_SHARE = 0.98
"""Share of a vendor's limit that we use, so that jitter on the way never makes two windows' calls meet in one."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """The instants (both inclusive) between which an answer about "now" may be labelled with the partition."""

    not_before: datetime
    not_after: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether the instant lies in the window."""
        return self.not_before <= instant <= self.not_after


@dataclass(frozen=True)
class Fetched(Generic[T]):
    """Typed rows with the stamp under which they were fetched and the requested ids that did not come back."""

    rows: T
    fetched_at: datetime
    missing: tuple[str, ...] = ()
    from_archive: bool = False


@dataclass
class _Trace:
    """What has happened to one request so far."""

    attempts: int = 0
    waited_seconds: float = 0.0
    status: int | None = None
    fetched_at: datetime | None = None
    body: bytes | None = None
    retry_after: float = 0.0


class _Lane:
    """The queue in front of one (vendor, key): a token bucket of one, a semaphore, and a pause after a 429."""

    def __init__(self, settings: VendorSettings) -> None:
        # A bucket of one spaces requests evenly: with a burst of n, n + rate x window calls can meet in one window.
        self._bucket = AsyncLimiter(1, settings.per_seconds / (settings.max_calls * PACE_SHARE))
        self.slots = asyncio.Semaphore(settings.concurrency)
        self.closed_until = 0.0

    async def turn(self, sleep: Callable[[float], Awaitable[None]]) -> float:
        """Wait for permission to send; returns the seconds waited."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self.closed_until > began:
            await sleep(self.closed_until - began)
        await self._bucket.acquire()
        return loop.time() - began


class Gateway:
    """Asks vendors politely and remembers every answer. Use as `async with Gateway(...) as gateway`.

    `transport` is the market (live, recorded or simulated), `now` its clock: the stamp of answers without `Date`
    header and the instant that windows are probed with. `partition_date` is written beside every archived request.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        archive: Archive,
        vendors: Mapping[str, VendorSettings],
        partition_date: date | None,
        *,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seed: int = 0,
    ) -> None:
        self._vendors = dict(vendors)
        self._archive = archive
        self._partition_date = partition_date
        self._now = now
        self._sleep = sleep
        self._random = random.Random(seed)  # noqa: S311 - jitter, not secrecy
        self._lanes: dict[tuple[str, str | None], _Lane] = {}
        self._redactor = Redactor()
        for settings in self._vendors.values():
            self._redactor.learn(settings.api_key)
        self._client = httpx.AsyncClient(
            transport=KeyedTransport(transport, self._vendors),
            timeout=httpx.Timeout(60.0, connect=10.0, pool=None),
            headers={"user-agent": "defiyield-assets", "accept": "application/json"},
            trust_env=False,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def settings(self, vendor: str) -> VendorSettings:
        """The settings of a vendor; an unknown name is a `ConfigurationError`."""
        if vendor not in self._vendors:
            raise ConfigurationError(f"vendor {vendor!r} has no settings; there are {', '.join(sorted(self._vendors))}")
        return self._vendors[vendor]

    def present(self) -> datetime:
        """The market's present instant."""
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
        sent. `credits_used` is what the call costs of the vendor's budgets. Errors: `VendorError` of the right class
        after all attempts.
        """
        question = Question(vendor, endpoint, path_args, params)
        if reuse is not None:
            found = self._archive.find(
                question.vendor, question.endpoint, question.params_hash, reuse.not_before, reuse.not_after
            )
            if found is not None:
                return Fetched(parse(decode_json(found.body)), found.fetched_at, from_archive=True)
        if window is not None and not window.holds(self.present()):
            return self._recall(question, parse, window)
        request = self._client.build_request(
            "GET",
            self.settings(vendor).base_url + question.path,
            params=dict(params) or None,
            headers=dict(headers or {}),
            extensions={"vendor": vendor},
        )
        fetched = await self._ask(question, request, parse, refuse, decode_json)
        if window is not None and not window.holds(fetched.fetched_at):
            return self._recall(question, parse, window)
        return fetched

    async def post_json(
        self,
        vendor: str,
        endpoint: str,
        payload: object,
        parse: Callable[[object], T],
        *,
        secret_url: str | None = None,
        refuse: Refusal | None = None,
        decode: Callable[[bytes], object] = decode_json,
    ) -> Fetched[T]:
        """POST a JSON payload to an endpoint and parse the answer; retried like `get`, so delivered at least once.

        `secret_url` replaces the address where the address itself is the secret (webhooks): it is used below the client
        only and redacted everywhere.
        """
        question = Question(vendor, endpoint, payload=payload)
        if secret_url is not None:
            self._redactor.learn(secret_url)
            self._redactor.learn(httpx.URL(secret_url).path.strip("/"))
        request = self._client.build_request(
            "POST",
            self.settings(vendor).base_url + question.path,
            json=payload,
            extensions={"vendor": vendor, "secret_url": secret_url},
        )
        return await self._ask(question, request, parse, refuse, decode)

    def _recall(self, question: Question, parse: Callable[[object], T], window: Window) -> Fetched[T]:
        """The archive's newest answer inside the window, parsed; `NotRecoverable` when there is none."""
        found = self._archive.find(
            question.vendor, question.endpoint, question.params_hash, window.not_before, window.not_after
        )
        if found is None:
            day = (window.not_before - timedelta(seconds=1)).date()
            raise NotRecoverable(f"{question.vendor} {question.endpoint}", [day])
        try:
            return Fetched(parse(decode_json(found.body)), found.fetched_at, from_archive=True)
        except VendorError as error:
            failure = self._named(error, question, found.status)
        raise failure

    async def _ask(
        self,
        question: Question,
        request: httpx.Request,
        parse: Callable[[object], T],
        refuse: Refusal | None,
        decode: Callable[[bytes], object],
    ) -> Fetched[T]:
        """All attempts of one request; whatever becomes of it, it leaves one row in the archive."""
        lane = self._lane(self.settings(question.vendor))
        trace = _Trace()

        async def attempt() -> T:
            trace.attempts += 1
            failure = await self._exchange(request, lane, trace)
            if failure is None:
                try:
                    return self._read(trace, parse, refuse, decode)
                except VendorError as error:
                    failure = error
            # Raised outside the handler: the original, which nobody redacted, must not travel along as context.
            raise self._named(failure, question, trace.status)

        async def pause(seconds: float) -> None:
            trace.waited_seconds += seconds
            await self._sleep(seconds)

        def patience_ends(state: RetryCallState) -> bool:
            return stop_after_attempt(ATTEMPTS)(state) or trace.retry_after > MAX_RETRY_AFTER_SECONDS

        def delay(state: RetryCallState) -> float:
            ceiling = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (state.attempt_number - 1))
            return max(self._random.uniform(0.0, ceiling), trace.retry_after)

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            seconds = state.upcoming_sleep
            if isinstance(error, VendorThrottled):
                # The limit is the key's, not the request's: whoever else waits in this lane pauses too.
                lane.closed_until = asyncio.get_running_loop().time() + seconds
            logger.warning("attempt %d of %d failed, next in %.1f s: %s", trace.attempts, ATTEMPTS, seconds, error)

        retrying = AsyncRetrying(
            sleep=pause,
            stop=patience_ends,
            wait=delay,
            before_sleep=tell,
            retry=retry_if_exception_type(TransientError),
            reraise=True,
        )
        rows: object = None
        answer: T
        error: BaseException | None = None
        try:
            rows = answer = await retrying(attempt)
            return Fetched(answer, trace.fetched_at or self.present())
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._keep(question, trace, rows, error)

    async def _exchange(self, request: httpx.Request, lane: _Lane, trace: _Trace) -> VendorError | None:
        """One request and its whole body into the trace, or the error that stands for what went wrong on the way."""
        trace.status, trace.body, trace.fetched_at, trace.retry_after = None, None, None, 0.0
        try:
            async with lane.slots:
                trace.waited_seconds += await lane.turn(self._sleep)
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    response = await self._client.send(request, stream=True)
                    trace.status = response.status_code
                    trace.fetched_at = stamp_of(response.headers) or self.present()
                    trace.retry_after = retry_after_seconds(response.headers, trace.fetched_at)
                    trace.body = self._redactor.body(await _read_body(response))
        except (httpx.DecodingError, httpx.RemoteProtocolError) as error:
            if trace.status is None:
                return VendorUnavailable(f"no answer: {type(error).__name__}: {error}")
            return VendorMalformed(f"the body broke off or cannot be decompressed: {error}")
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:  # TimeoutError is an OSError
            return VendorUnavailable(f"no complete answer: {type(error).__name__}: {error}")
        except VendorMalformed as error:
            return error
        return None

    @staticmethod
    def _read(
        trace: _Trace, parse: Callable[[object], T], refuse: Refusal | None, decode: Callable[[bytes], object]
    ) -> T:
        """The parsed answer. The vendor's own words for an error win over its status, and both over a bad body."""
        status, body = trace.status or 0, trace.body or b""
        refused = error_of_status(status, body)
        try:
            document = decode(body)
        except VendorMalformed:
            if refused is not None:
                raise refused from None
            raise
        if refuse is not None:
            refuse(document)
        if refused is not None:
            raise refused
        return parse(document)

    def _lane(self, settings: VendorSettings) -> _Lane:
        key = (settings.name, settings.api_key)
        if key not in self._lanes:
            self._lanes[key] = _Lane(settings)
        return self._lanes[key]

    def _named(self, error: VendorError, question: Question, status: int | None) -> VendorError:
        """The same error with vendor, endpoint and status, and without secrets."""
        message = self._redactor.text(f"{question.vendor} {question.endpoint}: {error}")
        return type(error)(message, vendor=question.vendor, endpoint=question.endpoint, status=status)

    def _keep(self, question: Question, trace: _Trace, rows: object, error: BaseException | None) -> None:
        """Hand the request, however it ended, to the archive."""
        body = trace.body
        record = FetchRecord(
            vendor=question.vendor,
            endpoint=question.endpoint,
            params_hash=question.params_hash,
            params_json=self._redactor.text(question.params_json),
            fetched_at=trace.fetched_at or self.present(),
            partition_date=self._partition_date,
            status=trace.status,
            attempts=max(trace.attempts, 1),
            waited_seconds=trace.waited_seconds,
            bytes=len(body or b""),
            rows=len(rows) if isinstance(rows, Sized) else None,
            error_class=type(error).__name__ if error is not None else None,
            error_message=self._redactor.text(str(error)) if error is not None else None,
            sha256=hashlib.sha256(body).hexdigest() if body is not None else None,
        )
        self._archive.record(record, body)


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
    """The decompressed body, at most `MAX_BODY_BYTES` of it."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in response.aiter_bytes():
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise VendorMalformed(f"the body is larger than {MAX_BODY_BYTES} bytes")
            parts.append(part)
    finally:
        await response.aclose()
    return b"".join(parts)
