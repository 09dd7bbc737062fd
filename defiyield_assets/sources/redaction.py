"""Keeping keys out of everything that is kept or shown.

Lives here: the transport that adds a key below everything that could log the request; the redactor of texts and bodies.
Not here: which keys there are (vendors.py, settings) or asking (transport.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

import httpx

MASK = "[redacted]"
_MIN_LENGTH_IN_BODIES = 6
"""Shorter secrets could be an innocent part of an answer; bodies are only searched for longer ones."""


@dataclass(frozen=True)
class VendorSettings:
    """Where a vendor is, who we are to it, and how fast and how broad we may ask.

    At most `max_calls` requests in `per_seconds` seconds, `concurrency` of them at the same time; `per_hour` in any
    hour, `per_day` and `per_month` of the UTC calendar, these two in credits where `has_credits`. The key, if any, goes
    into the header `key_header` or the query parameter `key_param`.
    """

    name: str
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    max_calls: int = 60
    per_seconds: float = 60.0
    concurrency: int = 4
    key_header: str | None = None
    key_param: str | None = None
    per_hour: int | None = None
    per_day: int | None = None
    per_month: int | None = None
    has_credits: bool = False
    secret_url: str | None = field(default=None, repr=False)
    """The address of the vendor where that is a secret itself; used instead of `base_url`, below the client only."""
    read_seconds: float | None = None
    """How long it may be silent before and inside an answer to a post; None: as long as any vendor."""


class Redactor:
    """Replaces every spelling of the known secrets."""

    def __init__(self) -> None:
        self._spellings: list[str] = []

    def learn(self, secret: str | None) -> None:
        """Add a secret: as it is, percent-encoded both ways, and as JSON spells it."""
        if secret:
            spellings = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
            # Longest first: a spelling that contains a shorter one must not be broken up by it.
            self._spellings = sorted({*self._spellings, *spellings}, key=lambda text: (-len(text), text))

    def text(self, message: str) -> str:
        """The message without secrets."""
        for spelling in self._spellings:
            message = message.replace(spelling, MASK)
        return message

    def body(self, body: bytes) -> bytes:
        """The body without secrets (a vendor may echo the key)."""
        for spelling in self._spellings:
            if len(spelling) >= _MIN_LENGTH_IN_BODIES:
                body = body.replace(spelling.encode(), MASK.encode())
        return body


class KeyedTransport(httpx.AsyncBaseTransport):
    """Adds the vendor's key below the client, so that no request object, log line or exception above ever holds it."""

    def __init__(self, inner: httpx.AsyncBaseTransport, vendors: Mapping[str, VendorSettings]) -> None:
        self._inner = inner
        self._vendors = vendors

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a copy of the request that carries the key, or that goes to the secret address."""
        settings = self._vendors[request.extensions["vendor"]]
        url = httpx.URL(request.extensions.get("secret_url") or request.url)
        headers = request.headers.copy()
        headers.pop("host", None)
        if settings.api_key and settings.key_param:
            url = url.copy_merge_params({settings.key_param: settings.api_key})
        if settings.api_key and settings.key_header:
            headers[settings.key_header] = settings.api_key
        keyed = httpx.Request(
            request.method, url, headers=headers, content=await request.aread() or None, extensions=request.extensions
        )
        return await self._inner.handle_async_request(keyed)

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._inner.aclose()
