"""Logging in and out where the console is open to other machines.

Lives here: the form, and what becomes of it. Not here: sessions and tokens (security.py), the audit log
(store/console_audit.py).
"""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from defiyield_assets.console import rendering, security
from defiyield_assets.console.layout import Page
from defiyield_assets.console.serving import Console, form_of, guarded, wrong
from defiyield_assets.store import console_audit

LONGEST_TOKEN = 512


def routes(console: Console) -> Sequence[Route]:
    """`/login`, `/account` and `/logout`; there is none of them without tokens."""
    if not console.desk.people:
        return []
    pages = _Login(console)
    return [
        Route("/login", pages.ask, methods=["GET"]),
        Route("/login", pages.enter, methods=["POST"]),
        Route("/account", pages.account, methods=["GET"]),
        Route("/logout", pages.leave, methods=["POST"]),
    ]


class _Login:
    def __init__(self, console: Console) -> None:
        self._console, self._desk = console, console.desk

    async def ask(self, request: Request) -> Response:
        """The form."""
        return self._form(request, following=request.query_params.get("next", "/"))

    async def enter(self, request: Request) -> Response:
        """Who brings a token gets a session; wrong ones are counted, and too many are not listened to any more."""

        async def answer() -> Response:
            form = await form_of(request)
            if not security.is_own_form(request, form):
                words = "The form was too old. Try again."
                return self._form(request, words, HTTPStatus.FORBIDDEN, form.get("next", "/"))
            told = form.get("token", "")[:LONGEST_TOKEN]
            return await self._console.of_a_form(self._judged, request, told, form.get("next", "/"))

        return await guarded(self._console, request, answer)

    def _judged(self, request: Request, told: str, following: str) -> Response:
        desk, writer, remote = self._desk, self._desk.writer(), security.remote_of(request)
        since = desk.now() - security.LOGIN_WINDOW
        own, of_all = console_audit.refused_deeds(writer, console_audit.LOGIN, since, remote)
        name = security.name_of_token(told, desk) if own < security.WRONG_LOGINS else None
        # Strangers elsewhere may use up what all together may try, and keep nobody out who has a token.
        if own >= security.WRONG_LOGINS or (name is None and of_all >= security.WRONG_LOGINS_OF_ALL):
            words = f"Too many wrong tokens. Try again in {security.LOGIN_WINDOW.seconds // 60} minutes."
            return self._form(request, words, HTTPStatus.TOO_MANY_REQUESTS, following)
        outcome: console_audit.Outcome = "refused" if name is None else "done"
        detail = "a token that nobody has" if name is None else ""
        deed = console_audit.Deed(name or "", remote, console_audit.LOGIN, "console", outcome, detail)
        console_audit.record_deed(writer, deed, desk.now())
        if name is None:
            return self._form(request, "Nobody has this token.", HTTPStatus.FORBIDDEN, following)
        security.log_in(request, desk, name)
        return RedirectResponse(_within(following), HTTPStatus.SEE_OTHER)

    async def account(self, request: Request) -> Response:
        """Who is logged in, and the way out."""
        name = security.person_of(request, self._desk) or ""
        page = Page("Account", "", f"Logged in as {name}", None, is_dated=False, template="account.html.j2")
        return HTMLResponse(rendering.render(page, self._desk, None, token=security.form_token(request)))

    async def leave(self, request: Request) -> Response:
        """Forget the session."""

        async def answer() -> Response:
            if not security.is_own_form(request, await form_of(request)):
                return wrong(self._console, HTTPStatus.FORBIDDEN, "The form was too old: nothing was done.")
            request.session.clear()
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)

        return await guarded(self._console, request, answer)

    def _form(
        self, request: Request, words: str = "", status: HTTPStatus = HTTPStatus.OK, following: str = "/"
    ) -> Response:
        page = Page("Log in", "", "Log in", None, is_dated=False, template="login.html.j2")
        more = {"words": words, "following": _within(following), "token": security.form_token(request)}
        return HTMLResponse(rendering.render(page, self._desk, None, **more), status)


def _within(following: str) -> str:
    """Where to go after the login: a page of ours, never another host."""
    is_ours = following.startswith("/") and not following.startswith(("//", "/\\")) and following.isprintable()
    return following if is_ours else "/"
