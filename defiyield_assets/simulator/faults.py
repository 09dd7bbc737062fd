"""Faults that the simulated vendors can be told to answer with: which request is hit, and what it gets instead.

Lives here: rules, their schedule, every kind of fault, the transport that applies them in process. Not here: how they
are applied on a real socket (server.py), what a sound answer looks like (wire.py).
"""

import asyncio
import fnmatch
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.fault_answers import (
    duplicated,
    emptied,
    error_words,
    plan_limit_words,
    with_new_field,
    with_other_type,
    without_field,
)


class FaultKind(StrEnum):
    """What can go wrong with an answer."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    HANG = "hang"
    SLOW = "slow"
    RESET = "reset"
    TRUNCATED = "truncated"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    EMPTY = "empty"
    EMPTY_LIST = "empty_list"
    MALFORMED_JSON = "malformed_json"
    DUPLICATE_ROWS = "duplicate_rows"
    MISSING_FIELD = "missing_field"
    RETYPED_FIELD = "retyped_field"
    NEW_FIELD = "new_field"
    CLOCK_SKEW = "clock_skew"
    ERROR_IN_200 = "error_in_200"
    UNAUTHORISED = "unauthorised"
    NOT_FOUND = "not_found"
    PLAN_LIMIT = "plan_limit"


ON_THE_WIRE = frozenset({FaultKind.HANG, FaultKind.SLOW, FaultKind.RESET, FaultKind.TRUNCATED})
"""Faults of the connection: the answer is right, but never arrives whole and in time."""
_DEFAULT_SECONDS = {FaultKind.THROTTLED: 1.0, FaultKind.SLOW: 600.0, FaultKind.CLOCK_SKEW: 5 * 86_400.0}
_SLOW_PARTS = 20
_KEYS = frozenset({"apikey", "apiKey", "api_key", "auth_token"})


class FaultRule(BaseModel):
    """One fault, and which requests it hits.

    `host` and `path` are shell patterns. `contains` is a text that the query or the posted body must hold. Requests to
    one endpoint (method, host, path, query without keys, body) are counted from 1: the first `after` of them are
    spared, then the next `first` may be hit (null: all that follow), each with probability `rate`, decided by a hash of
    (`seed`, endpoint, number) and therefore the same whatever is asked of others. `seconds` is the `Retry-After` of
    throttled, the time that the body of slow takes, the time after which hang breaks the connection off (null: never),
    the error of the clock in clock_skew. `field` is what missing_field and retyped_field spoil (null: one that we use).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    host: str = "*"
    path: str = "*"
    contains: str = ""
    rate: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    first: Annotated[int | None, Field(ge=1)] = None
    after: Annotated[int, Field(ge=0)] = 0
    seed: int = 0
    seconds: float | None = None
    field: str | None = None

    def matches(self, asked: "Asked") -> bool:
        """Whether the rule speaks of that endpoint."""
        is_there = fnmatch.fnmatchcase(asked.host, self.host) and fnmatch.fnmatchcase(asked.path, self.path)
        return is_there and (self.contains in asked.query or self.contains in asked.body)

    def hits(self, asked: "Asked", number: int) -> bool:
        """Whether the request of that number (from 1) to the endpoint is hit."""
        last = None if self.first is None else self.after + self.first
        if number <= self.after or (last is not None and number > last):
            return False
        drawn = hashlib.sha256(f"{self.seed}:{self.kind}:{asked.key}:{number}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") < self.rate * 2**64

    @property
    def wait_seconds(self) -> float | None:
        """`seconds`, or what the kind takes when the rule does not say; None: for ever."""
        return _DEFAULT_SECONDS.get(self.kind) if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Asked:
    """One request as rules see it: real vendor host, path, query without keys, body."""

    method: str
    host: str
    path: str
    query: str
    body: str

    @classmethod
    def of(cls, request: httpx.Request) -> "Asked":
        """What the request asks for; its body must have been read."""
        pairs = sorted(pair for pair in request.url.params.multi_items() if pair[0] not in _KEYS)
        query = "&".join(f"{name}={value}" for name, value in pairs)
        body = request.content.decode("utf-8", errors="replace")
        return cls(request.method, request.url.host, request.url.path, query, body)

    @property
    def key(self) -> str:
        """The endpoint whose requests are counted together."""
        return f"{self.method} {self.host}{self.path}?{self.query} {self.body}"


@dataclass(frozen=True)
class Answer:
    """An answer before it is sent: status, headers and the whole body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The header's value, empty without it."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), "")

    def with_header(self, name: str, value: str) -> "Answer":
        """The same answer with that header in place of any of the name."""
        others = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=(*others, (name, value)))

    def saying(self, document: Any, status: int | None = None) -> "Answer":
        """The same answer with a JSON document as its body."""
        body = json.dumps(document, separators=(",", ":")).encode()
        return replace(self, body=body, status=self.status if status is None else status)


class FaultSchedule:
    """Rules with the count of requests to each endpoint. `rules` may be replaced at any time: faults come and go."""

    def __init__(self, rules: Sequence[FaultRule] = ()) -> None:
        self.rules = tuple(rules)
        self.struck: Counter[tuple[str, str, str]] = Counter()
        """(kind, host, path) -> requests that were hit."""
        self._asked: Counter[str] = Counter()

    def strike(self, asked: Asked) -> FaultRule | None:
        """Count the request, and the first rule that hits it."""
        rules = [rule for rule in self.rules if rule.matches(asked)]
        if not rules:
            return None
        self._asked[asked.key] += 1
        found = next((rule for rule in rules if rule.hits(asked, self._asked[asked.key])), None)
        if found is not None:
            self.struck[(str(found.kind), asked.host, asked.path)] += 1
        return found

    def become(self, rules: Sequence[FaultRule]) -> None:
        """From now on these rules, counting from the beginning."""
        self.rules = tuple(rules)
        self._asked.clear()
        self.struck.clear()


def spoiled(answer: Answer, rule: FaultRule, asked: Asked) -> Answer:
    """What is answered instead, for every kind but those of the connection (`ON_THE_WIRE`)."""
    kind = rule.kind
    if kind is FaultKind.THROTTLED:
        limited = answer.with_header("Retry-After", f"{int(rule.wait_seconds or 0)}")
        return limited.saying({"message": "Too Many Requests"}, 429)
    if kind is FaultKind.SERVER_ERROR:
        return answer.saying({"message": "Internal Server Error"}, 500)
    if kind is FaultKind.UNAVAILABLE:
        return answer.saying({"message": "Service Unavailable"}, 503)
    if kind is FaultKind.UNAUTHORISED:
        return answer.saying({"message": "Unauthorized"}, 401)
    if kind is FaultKind.NOT_FOUND:
        return answer.saying({"message": "Not found"}, 404)
    if kind is FaultKind.PLAN_LIMIT:
        status, words = plan_limit_words(asked.host)
        return answer.saying(words, status)
    if kind is FaultKind.ERROR_IN_200:
        return answer.saying(error_words(asked.host), 200)
    if kind is FaultKind.WRONG_CONTENT_TYPE:
        page = b"<!doctype html><html><title>Maintenance</title><h1>We will be back soon</h1></html>"
        return replace(answer, body=page).with_header("Content-Type", "text/html; charset=utf-8")
    if kind is FaultKind.EMPTY:
        return replace(answer, body=b"")
    if kind is FaultKind.MALFORMED_JSON:
        return replace(answer, body=answer.body[:-1] + b",}")
    if kind is FaultKind.CLOCK_SKEW:
        return _at_another_time(answer, rule.wait_seconds or 0.0)
    if kind in ON_THE_WIRE:
        raise ValueError(f"{kind} is a fault of the connection")
    return _with_other_content(answer, rule, asked)


def _with_other_content(answer: Answer, rule: FaultRule, asked: Asked) -> Answer:
    """Faults inside a well-formed document; an answer that is no JSON document stays as it is."""
    try:
        document = json.loads(answer.body)
    except ValueError:
        return answer
    if rule.kind is FaultKind.EMPTY_LIST:
        return answer.saying(emptied(document))
    if rule.kind is FaultKind.DUPLICATE_ROWS:
        return answer.saying(duplicated(document))
    if rule.kind is FaultKind.NEW_FIELD:
        return answer.saying(with_new_field(document))
    if rule.kind is FaultKind.MISSING_FIELD:
        return answer.saying(without_field(document, rule.field, asked.host, asked.path))
    return answer.saying(with_other_type(document, rule.field, asked.host, asked.path))


def _at_another_time(answer: Answer, seconds: float) -> Answer:
    """The answer of a vendor whose clock is wrong by so much."""
    said = answer.header("date")
    if not said:
        return answer
    moved = parsedate_to_datetime(said) + timedelta(seconds=seconds)
    return answer.with_header("Date", format_datetime(moved, usegmt=True))


def slow_parts(body: bytes, seconds: float) -> list[tuple[float, bytes]]:
    """(pause before it, part) of a body that takes so many seconds to arrive."""
    size = max(1, -(-len(body) // _SLOW_PARTS))
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    return [(seconds / len(parts), part) for part in parts]


class _SlowBody(httpx.AsyncByteStream):
    """A body that trickles in."""

    def __init__(self, body: bytes, seconds: float) -> None:
        self._parts = slow_parts(body, seconds)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for pause, part in self._parts:
            await asyncio.sleep(pause)
            yield part


class FaultyTransport(httpx.AsyncBaseTransport):
    """A market in process whose vendors fail as the rules say; no fault waits except `slow`.

    Requests are counted as long as the schedule lives: hand in a `FaultSchedule` to count on over several transports.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, rules: Sequence[FaultRule] | FaultSchedule) -> None:
        self._inner = inner
        self.schedule = rules if isinstance(rules, FaultSchedule) else FaultSchedule(rules)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The market's answer, spoilt where a rule hits. hang: ReadTimeout; reset: ReadError; truncated: half a body
        and RemoteProtocolError.
        """
        await request.aread()
        asked = Asked.of(request)
        rule = self.schedule.strike(asked)
        if rule is None:
            return await self._inner.handle_async_request(request)
        if rule.kind is FaultKind.HANG:
            raise httpx.ReadTimeout(f"simulated: {asked.host} does not answer", request=request)
        if rule.kind is FaultKind.RESET:
            raise httpx.ReadError(f"simulated: {asked.host} reset the connection", request=request)
        response = await self._inner.handle_async_request(request)
        answer = Answer(response.status_code, tuple(response.headers.multi_items()), await response.aread())
        if rule.kind is FaultKind.TRUNCATED:
            return httpx.Response(answer.status, headers=_unsized(answer), stream=_HalfBody(answer.body))
        if rule.kind is FaultKind.SLOW:
            stream = _SlowBody(answer.body, rule.wait_seconds or 0.0)
            return httpx.Response(answer.status, headers=_unsized(answer), stream=stream)
        answer = spoiled(answer, rule, asked)
        return httpx.Response(answer.status, headers=_unsized(answer), content=answer.body, request=request)

    async def aclose(self) -> None:
        """Close the market's transport."""
        await self._inner.aclose()


class _HalfBody(httpx.AsyncByteStream):
    """A body that breaks off in the middle, as httpx tells it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError("simulated: peer closed connection without sending complete message body")


def _unsized(answer: Answer) -> list[tuple[str, str]]:
    return [pair for pair in answer.headers if pair[0].lower() not in ("content-length", "content-encoding")]


# --- what people write ---------------------------------------------------------------------------------------------
def parse_fault_rules(text: str) -> tuple[FaultRule, ...]:
    """Rules from a JSON list of objects with the fields of `FaultRule`; ConfigurationError says what is wrong where."""
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f'faults: no JSON ({error}); right would be [{{"kind": "throttled"}}]') from error
    try:
        return tuple(TypeAdapter(list[FaultRule]).validate_python(listed))
    except ValidationError as error:
        raise ConfigurationError(f"faults: {'; '.join(_complaints(error))}") from error


def _complaints(error: ValidationError) -> list[str]:
    said = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the list"
        if problem["type"] == "extra_forbidden":
            said.append(f"rule {where} is unknown; a rule has {', '.join(FaultRule.model_fields)}")
        elif problem["type"] == "enum":
            said.append(f"rule {where} {problem['input']!r} is no kind; kinds are {', '.join(FaultKind)}")
        else:
            said.append(f"rule {where}: {problem['msg']}")
    return said


_WORDS = "write KIND:HOST/PATH[:RATE], such as throttled:yields.llama.fi/*:0.2"
_WRITTEN = re.compile(r"(?P<kind>[^:]+):(?P<host>[^/:]+)(?P<path>/[^:]*)?(?::(?P<rate>[^:]+))?")


def fault_from_words(text: str) -> FaultRule:
    """The rule that `KIND:HOST/PATH[:RATE]` means, as the command line takes it; ConfigurationError otherwise."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"fault {text!r}: {_WORDS}")
    given = {"kind": found["kind"], "host": found["host"], "path": found["path"] or "*"}
    try:
        return FaultRule.model_validate(given | ({"rate": found["rate"]} if found["rate"] else {}))
    except ValidationError as error:
        raise ConfigurationError(f"fault {text!r}: {'; '.join(_complaints(error))}") from error
