"""How a request becomes a page: one view of the warehouse, a page made of it, kept while it is true.

Lives here: making, keeping and sending pages and files, and what is said when something goes wrong. Not here: addresses
(app.py), what pages say (pages/).
"""

import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from defiyield_assets.console import rendering
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.freshness import Freshness
from defiyield_assets.console.layout import Page
from defiyield_assets.console.questions import Question, QuestionError
from defiyield_assets.console.remembered import Remembered
from defiyield_assets.console.views import View, newest_day
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.errors import ConfigurationError, DefiYieldError, NotFound, TransientError
from defiyield_assets.store.engine import one_view

logger = logging.getLogger(__name__)
MOST_BYTES = 64 * 2**20
"""Of pages that are kept, per process."""
MOST_MODELS = 24
"""Tables shared by pages, each of some megabytes."""
MOST_FIELDS = 64
"""Of a form."""
PageMaker = Callable[[View, Question], Page]
FileMaker = Callable[[View, Question], "Download"]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Download:
    """A file that a page offers."""

    name: str
    kind: str
    content: str


class Console:
    """The console over one warehouse."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._freshness = Freshness(desk.engine)
        self.pages = Remembered(self._freshness.version, MOST_BYTES, len)
        self.models = Remembered(self._freshness.version, MOST_MODELS)

    def view(self, connection: sa.Connection, question: Question) -> View:
        """The day that is asked for, or the newest; NotFound for one that is yet to come."""
        newest = newest_day(connection)
        day = question.day() or newest
        if day > newest:
            raise NotFound(f"{day} is not there yet: the newest day is {newest}")
        return View(connection, self.desk, day, newest, self.models)

    def html(
        self,
        path: str,
        asked: Mapping[str, str],
        make: PageMaker,
        named: Mapping[str, str] | None = None,
        **more: object,
    ) -> bytes:
        """A page, made now. `path` is its address, with the parameters `named` in it; `more` what its template asks for
        besides."""
        question = Question({**asked, **(named or {})})
        with one_view(self.desk.engine) as connection:
            view = self.view(connection, question)
            page = make(view, question)
        days = rendering.days_of(path, dict(asked), view.day, view.newest) if page.is_dated else None
        return rendering.render(page, self.desk, days, **more).encode()

    def at_hand(self, key: Hashable) -> bytes | None:
        """A page that is kept, where one can tell without asking the database: no reader waits for pages being made."""
        found: bytes | None = self.pages.known(key) if self._freshness.is_asked() else None
        return found

    def close(self) -> None:
        """Give connections back."""
        self._freshness.close()
        self.desk.engine.dispose()


def asked_of(request: Request) -> dict[str, str]:
    """What an address asks for: its last value of each name, those in the path first."""
    return {**request.query_params, **request.path_params}


def shown(console: Console, make: PageMaker) -> Endpoint:
    """The endpoint of a page that is the same for everybody."""

    async def endpoint(request: Request) -> Response:
        asked = {name: value for name, value in request.query_params.items() if value}
        path = request.scope["path"]  # as it was meant: an address would end at a ? within a name
        key = (path, tuple(sorted(asked.items())))

        def made() -> bytes:
            return console.html(path, asked, make, request.path_params)

        async def answer() -> Response:
            body = console.at_hand(key)
            if body is None:
                body = await run_in_threadpool(console.pages.get, key, made)
            return _kept(request, body)

        return await guarded(console, request, answer)

    return endpoint


def served(console: Console, make: FileMaker) -> Endpoint:
    """The endpoint of a file to download."""

    def made(asked: dict[str, str]) -> Download:
        question = Question(asked)
        with one_view(console.desk.engine) as connection:
            return make(console.view(connection, question), question)

    async def endpoint(request: Request) -> Response:
        async def answer() -> Response:
            file = await run_in_threadpool(made, asked_of(request))
            name = "".join(char if char.isalnum() or char in "-._" else "-" for char in file.name)
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(file.content, media_type=file.kind, headers=headers)

        return await guarded(console, request, answer)

    return endpoint


async def form_of(request: Request) -> dict[str, str]:
    """What a form was filled in with; QuestionError where it cannot be read."""
    try:
        form = await request.form(max_files=0, max_fields=MOST_FIELDS)
    except HTTPException as error:
        raise QuestionError(f"the form cannot be read: {error.detail}") from error
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def guarded(console: Console, request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
    """The answer, or a page that says what went wrong and, where it is the reader's affair, what would be right."""
    try:
        return await answer()
    except QuestionError as error:
        return wrong(console, HTTPStatus.BAD_REQUEST, str(error))
    except ClientDisconnect:
        return wrong(console, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too long, or did not arrive whole.")
    except NotFound as error:
        return wrong(console, HTTPStatus.NOT_FOUND, str(error))
    except TransientError as error:
        logger.warning("%s: %s", request.url.path, error)
        return wrong(console, HTTPStatus.SERVICE_UNAVAILABLE, "The warehouse does not answer now. Try again.")
    except ConfigurationError as error:
        return wrong(console, HTTPStatus.CONFLICT, str(error))
    except DefiYieldError as error:
        logger.warning("%s: %s", request.url.path, error)
        return wrong(console, HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
    except Exception:
        logger.exception("%s could not be made", request.url.path)
        told = "This page could not be made; the console's log says why."
        return wrong(console, HTTPStatus.INTERNAL_SERVER_ERROR, told)


def wrong(console: Console, status: HTTPStatus, words: str) -> Response:
    """A page that says what is wrong."""
    page = Page(status.phrase, "", clean(words, 1_000), None, tone="bad", is_dated=False)
    return HTMLResponse(rendering.render(page, console.desk, None), status)


def not_found(console: Console) -> Callable[[Request, Exception], Response]:
    """What is said of an address that nothing is at."""

    def handler(_request: Request, _error: Exception) -> Response:
        return wrong(console, HTTPStatus.NOT_FOUND, "There is no such page.")

    return handler


def _kept(request: Request, body: bytes) -> Response:
    """The page, or word that the browser's own copy is still right."""
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return HTMLResponse(body, headers=headers)
