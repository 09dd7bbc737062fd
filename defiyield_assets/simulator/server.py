"""The simulated vendors as a real HTTP server: real paths below `/<vendor host>/`, or by the Host header.

Lives here: the socket, the clock of the answers, rate limits, faults of the connection, the count of requests. Not
here: what is answered (wire.py), which faults there are (faults.py), the command that serves (cli/serve.py).
"""

import asyncio
import math
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
from aiohttp import web

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.faults import (
    Answer,
    Asked,
    FaultKind,
    FaultRule,
    FaultSchedule,
    slow_parts,
    spoiled,
)
from defiyield_assets.simulator.market import Market

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_QUESTION_BYTES = 10 * 1024 * 1024
_OWN_HEADERS = ("content-length", "transfer-encoding", "connection", "server")


@dataclass(frozen=True)
class RateLimit:
    """At most `calls` requests in any `seconds` seconds; the next ones are answered 429 with `Retry-After`."""

    calls: int
    seconds: float


class _Window:
    """The requests to one host that a rate limit still remembers."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._seen: deque[float] = deque()

    def wait(self, now: float) -> float:
        """0 and the request counts, or the seconds until one would be let through."""
        while self._seen and self._seen[0] <= now - self._limit.seconds:
            self._seen.popleft()
        if len(self._seen) < self._limit.calls:
            self._seen.append(now)
            return 0.0
        return self._seen[0] + self._limit.seconds - now


class RequestCounter:
    """What was asked of the server and how it answered; read it from any thread."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, str, int]] = Counter()

    def count(self, host: str, path: str, status: int) -> None:
        """One more answer; status 0 is a connection that was broken off."""
        self._answers[(host, path, status)] += 1

    def total(self, host: str | None = None, prefix: str = "/", status: int | None = None) -> int:
        """Requests to a host (or all) whose path begins so, answered with that status (or any)."""
        return sum(
            number
            for (asked, path, answered), number in list(self._answers.items())
            if (host is None or asked == host) and path.startswith(prefix) and status in (None, answered)
        )

    def by_path(self) -> dict[tuple[str, str], int]:
        """(host, path) -> requests."""
        found: Counter[tuple[str, str]] = Counter()
        for (host, path, _), number in list(self._answers.items()):
            found[(host, path)] += number
        return dict(found)

    def by_host(self) -> dict[str, int]:
        """Host -> requests."""
        found: Counter[str] = Counter()
        for (host, _, _), number in list(self._answers.items()):
            found[host] += number
        return dict(sorted(found.items()))

    def clear(self) -> None:
        """Forget all."""
        self._answers.clear()


class VendorServer:
    """One market behind a real socket.

    With a `day` every answer is the market's as of that partition and stamped D+1 00:30 UTC, as in process; without one
    it is the last complete UTC day's by `now`, and stamped `now`. `limits` are per vendor host. `faults` and `requests`
    may be looked at and changed while it runs.
    """

    def __init__(
        self,
        market: Market,
        *,
        day: date | None = None,
        rules: Sequence[FaultRule] = (),
        limits: Mapping[str, RateLimit] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._market = market
        self.day = day
        self._now = now
        self.faults = FaultSchedule(rules)
        self.requests = RequestCounter()
        self._windows = {host: _Window(limit) for host, limit in (limits or {}).items()}
        self._runner: web.AppRunner | None = None
        market.transport(self.present_day)  # a day that the market does not know is refused before anything listens

    @property
    def present_day(self) -> date:
        """The partition that is answered for now."""
        return self.day or (self._now().astimezone(UTC) - timedelta(days=1)).date()

    @property
    def present(self) -> datetime:
        """The instant that answers are stamped with."""
        return self._now() if self.day is None else market_stamp(self.day)

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, is_public: bool = False) -> str:
        """Listen and return the address, with the port that was found when `port` is 0.

        Only loopback addresses, unless `is_public` says that others are meant; ConfigurationError otherwise and when
        the port is taken.
        """
        if host not in LOOPBACK and not is_public:
            raise ConfigurationError(
                f"{host} can be reached from other machines: say so with --public, or use 127.0.0.1"
            )
        application = web.Application(client_max_size=_MAX_QUESTION_BYTES)
        application.router.add_route("*", "/{tail:.*}", self._respond)
        # With cancellation a hanging answer ends when its client gives up.
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        bound = self._runner.addresses[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound[1]}"

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        host, target = _addressed(request)
        if target == "/" and host in ("", *LOOPBACK):
            return web.json_response(self._about())
        try:
            url = httpx.URL(f"https://{host}{target}")
        except httpx.InvalidURL:
            return web.json_response({"status": "error", "message": "Bad request"}, status=400)
        question = httpx.Request(request.method, url, headers=_passed_on(request), content=await request.read())
        wait = self._windows[host].wait(asyncio.get_running_loop().time()) if host in self._windows else 0.0
        if wait > 0:
            self.requests.count(host, url.path, 429)
            headers = {"Retry-After": str(math.ceil(wait)), "Date": format_datetime(self.present, usegmt=True)}
            return web.json_response({"message": "Too Many Requests"}, status=429, headers=headers)
        asked = Asked.of(question)
        rule = self.faults.strike(asked)
        if rule is not None and rule.kind in (FaultKind.HANG, FaultKind.RESET):
            self.requests.count(host, url.path, 0)
            return await _break_off(request, rule)
        answer = await self._answer(question)
        if rule is not None and rule.kind in (FaultKind.TRUNCATED, FaultKind.SLOW):
            self.requests.count(host, url.path, answer.status)
            return await _trickle(request, answer, rule)
        if rule is not None:
            answer = spoiled(answer, rule, asked)
        self.requests.count(host, url.path, answer.status)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _answer(self, question: httpx.Request) -> Answer:
        """The market's sound answer, stamped with the server's present."""
        response = await self._market.transport(self.present_day).handle_async_request(question)
        headers = [pair for pair in response.headers.multi_items() if pair[0].lower() not in _OWN_HEADERS]
        answer = Answer(response.status_code, tuple(headers), await response.aread())
        return answer.with_header("Date", format_datetime(self.present, usegmt=True))

    def _about(self) -> dict[str, Any]:
        """What the bare address says: the market, its clock, what was asked so far."""
        return {
            "market": self._market.name,
            "day": self.present_day.isoformat(),
            "now": self.present.isoformat(),
            "is_fixed": self.day is not None,
            "requests": self.requests.by_host(),
            "faults": [rule.model_dump(mode="json", exclude_defaults=True) for rule in self.faults.rules],
        }


def _addressed(request: web.Request) -> tuple[str, str]:
    """The vendor host that is meant and the path with its query, both as they were sent."""
    target = request.raw_path
    if not target.startswith("/"):  # the absolute form that proxies are asked in
        url = httpx.URL(target)
        return url.host, url.raw_path.decode("ascii")
    first, slash, rest = target[1:].partition("/")
    if "." in first and "?" not in first:
        return first.lower(), slash + rest or "/"
    return request.host.rsplit(":", 1)[0].strip("[]").lower(), target


def _passed_on(request: web.Request) -> list[tuple[str, str]]:
    return [pair for pair in request.headers.items() if pair[0].lower() not in ("host", *_OWN_HEADERS)]


async def _break_off(request: web.Request, rule: FaultRule) -> web.StreamResponse:
    """No answer: hang until the client gives up (or the rule's time is over), then reset the connection."""
    if rule.kind is FaultKind.HANG:
        await asyncio.sleep(math.inf if rule.wait_seconds is None else rule.wait_seconds)
    _reset(request)
    raise ConnectionResetError("the connection was reset on purpose")


def _reset(request: web.Request) -> None:
    """End the connection at once: a RST, whatever is still in the buffers."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def _trickle(request: web.Request, answer: Answer, rule: FaultRule) -> web.StreamResponse:
    """Announce the whole body, then send it slowly, or half of it and close."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    if rule.kind is FaultKind.TRUNCATED:
        await response.write(answer.body[: len(answer.body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response
    for pause, part in slow_parts(answer.body, rule.wait_seconds or 0.0):
        await asyncio.sleep(pause)
        await response.write(part)
    await response.write_eof()
    return response
