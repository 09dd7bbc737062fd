"""Who may see the console and change things by it, and what browsers are told to refuse.

Lives here: response headers, the limit on bodies, names under which the console answers, sessions, tokens of forms,
login. Not here: what is written in the audit log (store/console_audit.py), the pages of login (pages/login.py).

The threat model is docs/explanation/threat-model.md.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from defiyield_assets.console.desk import Desk

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",  # figures of long charts, which the script asks for
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content security policy: nothing from outside, nothing inline, no frame around us."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without any, browsers send forms of ours from the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
LONGEST_BODY = 256 * 1024
"""Bytes of a form; what is longer is refused before it is read."""
SESSION_SECONDS = 12 * 3600
COOKIE = "defiyield_console"
NAME, CSRF, PROOF = "name", "csrf", "proof"
"""What a session holds: who is logged in, the token of its forms, and that the token of the login still counts."""
WRONG_LOGINS = 10
WRONG_LOGINS_OF_ALL = 100
LOGIN_WINDOW = timedelta(minutes=15)
"""Wrong logins within the window: of one address, which is not listened to after them, and of all together, after which
wrong ones are neither judged nor written down."""

OPEN = ("/login", "/healthz", "/static/")
"""Beginnings of addresses that need no login."""


class Guard:
    """Headers on every response, and no body that is too long."""

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        self._headers = dict(HEADERS)
        if is_https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "private, no-store")
            await send(message)

        length = Request(scope).headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LONGEST_BODY:
            await PlainTextResponse("The form is too long.", 413)(scope, receive, guarded)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return message if read <= LONGEST_BODY else {"type": "http.disconnect"}

        await self._app(scope, bounded, guarded)


def is_own_host(request: Request, hosts: tuple[str, ...]) -> bool:
    """Whether the request was meant for us: another name that leads to this machine is somebody's trick."""
    told = request.headers.get("host", "")
    try:
        name = urlsplit(f"//{told}").hostname or ""
    except ValueError:
        return False
    return name in {host.strip("[]").lower() for host in hosts}


def form_token(request: Request) -> str:
    """The token that the forms of this session carry; made when first asked for."""
    token: str | None = request.session.get(CSRF)
    if token is None:
        token = request.session[CSRF] = secrets.token_urlsafe(32)
    return token


def is_own_form(request: Request, form: Mapping[str, object]) -> bool:
    """Whether the form was one of ours, filled in within this session, on a page of ours."""
    expected, told = request.session.get(CSRF), form.get(CSRF)
    if not isinstance(expected, str) or not isinstance(told, str):
        return False
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    return hmac.compare_digest(expected.encode(), told.encode())


def person_of(request: Request, desk: Desk) -> str | None:
    """Who is logged in; None where nobody is, or the token has been changed or taken back since."""
    name, proof = request.session.get(NAME), request.session.get(PROOF)
    token = desk.people.get(name) if isinstance(name, str) else None
    if token is None or not isinstance(proof, str) or not isinstance(name, str):
        return None
    return name if hmac.compare_digest(proof, proof_of(token, desk.secret)) else None


def name_of_token(told: str, desk: Desk) -> str | None:
    """Whose token it is. All are compared, so that the time taken tells nothing."""
    found = None
    for name, token in desk.people.items():
        if hmac.compare_digest(told.encode(), token.encode()):
            found = name
    return found


def log_in(request: Request, desk: Desk, name: str) -> None:
    """A new session for somebody: nothing of the one before is taken over."""
    request.session.clear()
    request.session[NAME] = name
    request.session[PROOF] = proof_of(desk.people[name], desk.secret)


def proof_of(token: str, secret: str) -> str:
    """What a session holds instead of a token."""
    return hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def remote_of(request: Request) -> str:
    """The address that asks, as far as the server knows it."""
    return "unknown" if request.client is None else request.client.host


class Door:
    """Lets nobody in under a foreign name, and only who is logged in where there are tokens. Behind the sessions."""

    def __init__(self, app: ASGIApp, *, desk: Desk) -> None:
        self._app, self._desk = app, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or send it to the login."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if not is_own_host(request, self._desk.hosts):
            told = "This name is not one of the console's: see DEFIYIELD_CONSOLE_HOSTS."
            await PlainTextResponse(told, 421)(scope, receive, send)
            return
        is_open = not self._desk.people or scope["path"].startswith(OPEN)
        if is_open or person_of(request, self._desk) is not None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await PlainTextResponse("Log in first: nothing was done.", 401)(scope, receive, send)
            return
        path = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        await RedirectResponse(f"/login?next={quote(path, safe='')}", 303)(scope, receive, send)
