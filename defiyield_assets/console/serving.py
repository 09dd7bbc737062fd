"""How a request becomes a page: one view of the warehouse, a page made of it, kept while it is true.

Lives here: making, keeping and sending pages and files, and what is said when something goes wrong. Not here: addresses
(app.py), what pages say (pages/).
"""

import logging
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from http import HTTPStatus
from time import monotonic
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from defiyield_assets.console import rendering
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.figures import FIGURES, figures_page
from defiyield_assets.console.freshness import Freshness
from defiyield_assets.console.layout import Inner, Page, address
from defiyield_assets.console.makers import Makers, NobodyMakes
from defiyield_assets.console.questions import Question, QuestionError
from defiyield_assets.console.remembered import Made, Remembered
from defiyield_assets.console.views import View, known_days
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.errors import ConfigurationError, DefiYieldError, NotFound, TransientError

logger = logging.getLogger(__name__)
MOST_BYTES = 64 * 2**20
"""Of pages that are kept, per process."""
MOST_MODELS = 24
"""Tables shared by pages, each of some megabytes."""
DEAR = 10.0
"""While somebody writes, a page that took a second to make is kept for ten."""
MOST_FIELDS = 64
"""Of a form."""
WAITING = 256
"""Readers who wait at the same time for what other processes make."""
FORMS_AT_ONCE = 3
"""Logins, previews and writes worked on at the same time by a process."""
T = TypeVar("T")
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
    """The console over one warehouse. `makers` make its pages and files; without them it does so itself."""

    def __init__(self, desk: Desk, makers: Makers | None = None) -> None:
        self.desk = desk
        self.makers = makers
        self._freshness = Freshness(desk.engine)
        self._pages = Remembered(MOST_BYTES, len, dear=DEAR)
        self._models = Remembered(MOST_MODELS)
        self._forms: anyio.CapacityLimiter | None = None
        self._waiting: anyio.CapacityLimiter | None = None

    @contextmanager
    def view(self, question: Question) -> Iterator[View]:
        """The warehouse on the day that is asked for, or on the newest that has a plan; NotFound for one before the
        first or yet to come."""
        with self._freshness.one_view() as (connection, version):
            days = self._models.get("days", lambda: version, lambda: Made(known_days(connection), version))
            day = question.day() or days.usual
            if day > days.newest:
                raise NotFound(f"{day} is not there yet: the newest day is {days.newest}")
            if day < days.first:
                raise NotFound(f"{day} was not made: the first day is {days.first}")
            yield View(connection, self.desk, day, days, self._models, version)

    def html(
        self,
        path: str,
        asked: Mapping[str, str],
        make: PageMaker,
        named: Mapping[str, str] | None = None,
        **more: object,
    ) -> Made[bytes]:
        """A page, made now. `path` is its address, which ends in the parameter `named`, where there is one; `more` what
        its template asks for besides."""
        began = monotonic()
        question = Question({**asked, **(named or {})})
        with self.view(question) as view:
            page = make(view, question)
        parts = _parts(path, named or {})
        own = {**asked, "date": view.day} if page.is_dated else asked
        if chart_id := question.words(FIGURES):
            page = figures_page(page, chart_id, address(*parts, **{**own, FIGURES: None}))
        days = rendering.days_of(parts, dict(asked), view.day, view.days) if page.is_dated else None

        def figures_at(chart_id: str) -> str:
            return address(*parts, **{**own, FIGURES: chart_id})

        html = rendering.render(page, self.desk, days, figures_at, **more)
        return Made(html.encode(), view.version, monotonic() - began)

    def made(
        self, path: str, asked: Mapping[str, str], make: PageMaker, named: Mapping[str, str] | None = None
    ) -> Made[bytes]:
        """As `html`, by whoever makes pages."""
        if self.makers is None:
            return self.html(path, asked, make, named)
        return self._freshness.of_elsewhere(partial(self.makers.run, Console.html, path, asked, make, named))

    def file(self, asked: Mapping[str, str], make: FileMaker) -> "Download":
        """A file to download, by whoever makes pages."""
        if self.makers is not None:
            return self.makers.run(Console.own_file, asked, make)
        return self.own_file(asked, make)

    def own_file(self, asked: Mapping[str, str], make: FileMaker) -> "Download":
        """A file to download, made now."""
        question = Question(asked)
        with self.view(question) as view:
            return make(view, question)

    def kept(self, key: Hashable, make: Callable[[], Made[bytes]]) -> bytes:
        """A page that is kept, or made now."""
        return self._pages.get(key, self._freshness.version, make)

    def at_hand(self, key: Hashable) -> bytes | None:
        """A page that is kept, where one can tell without asking the database: no reader waits for pages being made."""
        if not self._freshness.is_asked():
            return None
        found: bytes | None = self._pages.known(key, self._freshness.version())
        return found

    def warm(self, pages: Mapping[str, PageMaker]) -> None:
        """Make and keep some pages; what cannot be made now is told to whoever asks for it."""
        for path, make in pages.items():
            try:
                self.kept((path, ()), partial(self.made, path, {}, make))
            except DefiYieldError as error:
                logger.info("%s is not made before it is asked for: %s", path, error)
            except Exception:
                logger.exception("%s could not be made before it is asked for", path)

    async def in_turn(self, call: Callable[..., T], *what: Any) -> T:
        """What a reader asks for, in a thread: one of few where it is made in it, one of many where it only waits."""
        if self.makers is None:
            return await run_in_threadpool(call, *what)
        if self._waiting is None:  # belongs to the loop that is running now
            self._waiting = anyio.CapacityLimiter(WAITING)
        return await anyio.to_thread.run_sync(call, *what, limiter=self._waiting)

    async def of_a_form(self, call: Callable[..., T], *what: Any) -> T:
        """What a form asks for, in a thread of its own kind: a long preview keeps no reader waiting."""
        if self._forms is None:  # belongs to the loop that is running now
            self._forms = anyio.CapacityLimiter(FORMS_AT_ONCE)
        return await anyio.to_thread.run_sync(call, *what, limiter=self._forms)

    def close(self) -> None:
        """End the makers, give connections back."""
        if self.makers is not None:
            self.makers.close()
        self._freshness.close()
        self.desk.engine.dispose()


def _parts(path: str, named: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of an address; a parameter at its end is one of them, whatever slashes are in it."""
    last = next(iter(named.values()), "")
    return (*(part for part in path.removesuffix(last).split("/") if part), *filter(None, [last]))


def asked_of(request: Request) -> dict[str, str]:
    """What an address asks for: its last value of each name, those in the path first."""
    return {**request.query_params, **request.path_params}


def shown(console: Console, make: PageMaker) -> Endpoint:
    """The endpoint of a page that is the same for everybody."""

    async def endpoint(request: Request) -> Response:
        asked = {name: value for name, value in request.query_params.items() if value}
        path = request.scope["path"]  # as it was meant: an address would end at a ? within a name
        key = (path, tuple(sorted(asked.items())))

        def made() -> Made[bytes]:
            return console.made(path, asked, make, request.path_params)

        async def answer() -> Response:
            body = console.at_hand(key)
            if body is None:
                body = await console.in_turn(console.kept, key, made)
            return _kept(request, body)

        return await guarded(console, request, answer)

    return endpoint


def served(console: Console, make: FileMaker) -> Endpoint:
    """The endpoint of a file to download."""

    async def endpoint(request: Request) -> Response:
        async def answer() -> Response:
            file = await console.in_turn(console.file, asked_of(request), make)
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
        return wrong(console, HTTPStatus.NOT_FOUND, str(error), *_ways_on(request))
    except NobodyMakes as error:
        logger.warning("%s: %s", clean(request.url.path), error)
        return wrong(console, HTTPStatus.SERVICE_UNAVAILABLE, f"This page is not there: {error}. Try again.")
    except TransientError as error:
        logger.warning("%s: %s", clean(request.url.path), error)
        return wrong(console, HTTPStatus.SERVICE_UNAVAILABLE, "The warehouse does not answer now. Try again.")
    except ConfigurationError as error:
        return wrong(console, HTTPStatus.CONFLICT, str(error))
    except DefiYieldError as error:
        logger.warning("%s: %s", clean(request.url.path), error)
        return wrong(console, HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
    except Exception:
        logger.exception("%s could not be made", clean(request.url.path))
        told = "This page could not be made; the console's log says why."
        return wrong(console, HTTPStatus.INTERNAL_SERVER_ERROR, told)


def wrong(console: Console, status: HTTPStatus, words: str, *ways: Inner) -> Response:
    """A page that says what is wrong, and where one can go instead."""
    page = Page(status.phrase, "", clean(words, 1_000), None, tone="bad", is_dated=False, paragraphs=ways)
    return HTMLResponse(rendering.render(page, console.desk, None), status)


def _ways_on(request: Request) -> tuple[Inner, ...]:
    """From a pool that there is not to those in whose names or ids it stands."""
    typed = clean(request.path_params.get("pool_id", ""), 80)
    day = request.query_params.get("date")
    return (Inner("Look for it among all pools", "pools", q=typed, date=day),) if typed else ()


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
