"""What an HTTP answer means before any vendor's own rules: bodies, stamps, status codes, and the question asked.

Lives here: decoding, the `Date` and `Retry-After` headers, status -> error class, the archive's key of a question.
Not here: sending and retrying (transport.py), errors inside a 200 (the vendor's module).
"""

import json
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import httpx

from defiyield_assets.domain.canonical import canonical_json, content_hash
from defiyield_assets.errors import (
    VendorAuthError,
    VendorEmpty,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)

SomeRows = TypeVar("SomeRows", bound=Sized)
MAX_CLOCK_ERROR = timedelta(minutes=15)
"""How far a vendor's clock may be from ours; far more than an answer takes, far less than a partition's window."""
A_FEW = 3
_RETRIED_CLIENT_ERRORS = (408, 425)


@dataclass(frozen=True)
class Question:
    """What is asked of a vendor, without keys: the identity of a request in the archive."""

    vendor: str
    endpoint: str
    path_args: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str | int] = field(default_factory=dict)
    payload: object = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Path and query arguments in one mapping, plus `payload` when something is posted."""
        posted = {} if self.payload is None else {"payload": self.payload}
        return {**self.path_args, **self.params, **posted}

    @property
    def params_json(self) -> str:
        """The arguments as canonical JSON."""
        return canonical_json(self.arguments)

    @cached_property
    def params_hash(self) -> str:
        """SHA-256 of `params_json`."""
        return content_hash(self.arguments)

    @property
    def identity(self) -> tuple[str, str, str]:
        """Vendor, endpoint and `params_hash`: what the archive finds answers by."""
        return self.vendor, self.endpoint, self.params_hash

    @property
    def path(self) -> str:
        """The endpoint with its arguments filled in and percent-encoded; they cannot leave their place in the path."""
        for name, value in self.path_args.items():
            if value in ("", ".", ".."):
                raise VendorNotFound(f"{self.vendor} {self.endpoint}: {value!r} cannot be the {name!r} of a path")
        return self.endpoint.format(**{name: quote(value, safe=":,") for name, value in self.path_args.items()})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def decode_json(body: bytes) -> object:
    """The JSON document in a body; a truncated, undecodable, too deeply nested or NaN-bearing one is malformed."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
    raise VendorMalformed(f"the body ({len(body)} bytes) is no complete JSON document: {reason}")


def decode_text(body: bytes) -> object:
    """The body as text, for vendors that answer in words (Slack)."""
    return body.decode("utf-8", errors="replace")


def stamp_of(headers: httpx.Headers) -> datetime | None:
    """The answer's `Date` header as UTC, or None when there is none that can be read."""
    return _http_date(headers.get("date", ""))


def require_right_clock(stamp: datetime, headers: httpx.Headers, present: datetime) -> None:
    """Refuse an answer whose `Date` cannot be right: facts would be known since a time that never was.

    `Age` is how long a cache has kept the answer. Raises VendorMalformed: the next server may have a better clock.
    """
    said = headers.get("age", "").strip()
    age = timedelta(seconds=int(said) if said.isascii() and said.isdigit() and len(said) <= 9 else 0)
    if stamp > present + MAX_CLOCK_ERROR or stamp + age < present - MAX_CLOCK_ERROR:
        said_and_is = f"{stamp:%Y-%m-%d %H:%M:%S} UTC, but it is {present:%Y-%m-%d %H:%M:%S}"
        raise VendorMalformed(f"the answer is stamped {said_and_is}")


def require_some(rows: SomeRows, n_asked: int) -> SomeRows:
    """The rows; VendorEmpty when many things were asked for and not one is there, however well-formed the answer is.

    A few may all be unknown to the vendor, or have nothing in the span.
    """
    if len(rows) == 0 and n_asked > A_FEW:
        raise VendorEmpty(f"of {n_asked} that were asked for the answer holds none")
    return rows


def _http_date(said: str) -> datetime | None:
    try:
        stamp = parsedate_to_datetime(said)
        stamp = stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return stamp if 1971 <= stamp.year <= 2199 else None


def retry_after_seconds(headers: httpx.Headers, answered_at: datetime) -> float:
    """Seconds that the vendor asks us to wait (`Retry-After`, as a number or as a date), 0 when it does not say."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit() and len(said) <= 9:
        return float(said)
    named = _http_date(said)
    return max(0.0, (named - answered_at).total_seconds()) if named else 0.0


def error_of_status(status: int, body: bytes) -> VendorError | None:
    """The error that a status other than 2xx stands for, with the beginning of the body; None for 2xx."""
    if 200 <= status < 300:
        return None
    said = f"HTTP {status}: {body[:200].decode('utf-8', errors='replace')!r}"
    if status == 429:
        return VendorThrottled(said)
    if status >= 500 or status in _RETRIED_CLIENT_ERRORS:
        return VendorUnavailable(said)
    if status in (401, 403, 407):
        return VendorAuthError(said)
    if status == 402:
        return VendorPlanLimit(said)
    # What is left is our question being refused (400, 404, 410, 422 …) or moved elsewhere (3xx, never followed: keys).
    return VendorNotFound(said)
