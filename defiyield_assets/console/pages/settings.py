"""The settings: what is in force, a change from its form over its preview to a version, versions looked at.

Lives here: routes, who may write, and what is written into the audit log of every attempt. Not here: what pages say
(settings_pages.py), what a form asks for (settings_changes.py), when a version is written or refused
(config/versions.py).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from defiyield_assets.config import changed_files, changes, versions
from defiyield_assets.config.loader import load_policy
from defiyield_assets.config.parameters import parameter, shown_value, value_of
from defiyield_assets.config.versions import InForce, NotInForce, NotSaid, first_day_of_change, in_force
from defiyield_assets.console import rendering, security
from defiyield_assets.console.layout import Page, address
from defiyield_assets.console.pages import settings_pages as pages
from defiyield_assets.console.pages.settings_audit import audit_page
from defiyield_assets.console.pages.settings_changes import (
    PROOF,
    SEEN,
    NotPreviewed,
    Wanted,
    kept_fields,
    list_kind,
    preview_proof,
    require_previewed,
    version_number,
    wanted,
)
from defiyield_assets.console.questions import Question, QuestionError
from defiyield_assets.console.serving import Console, Endpoint, asked_of, form_of, guarded, wrong
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.policy_preview import PolicyPreview
from defiyield_assets.errors import ConfigurationError, DefiYieldError, NotFound
from defiyield_assets.store import console_audit
from defiyield_assets.store.console_audit import WRITE
from defiyield_assets.store.engine import one_view
from defiyield_assets.store.policy_versions import list_versions, read_version

logger = logging.getLogger(__name__)
MOST_REFUSED = 100
"""Refused writes within the window of logins that are written down: anybody's page may send such forms."""
NOT_ASKED = "nothing was written, because it would not load: "
"""What the check of changed files says first; of a preview nobody asked to write."""
NO_REASON = "(the reason that you give below)"
Form = Mapping[str, str]


def routes(console: Console) -> Sequence[Route]:
    """Everything below `/settings`."""
    own = _Settings(console)
    return [
        Route("/settings", own.shown(own.overview)),
        Route("/settings/parameters/{name}", own.shown(own.of_parameter)),
        Route("/settings/lists/{kind}", own.shown(own.of_list)),
        Route("/settings/preview", own.sent(own.preview), methods=["POST"]),
        Route("/settings/write", own.sent(own.write), methods=["POST"]),
        Route("/settings/versions", own.shown(own.versions)),
        Route("/settings/versions/{number}", own.shown(own.of_version)),
        Route("/settings/compare", own.shown(own.compared)),
        Route("/settings/audit", own.shown(own.audit)),
    ]


class _Settings:
    """Pages are made anew for each request: their forms belong to a session."""

    def __init__(self, console: Console) -> None:
        self._console, self._desk = console, console.desk

    def shown(self, make: Callable[[Request], Response]) -> Endpoint:
        """The endpoint of a page."""

        async def endpoint(request: Request) -> Response:
            async def answer() -> Response:
                return await run_in_threadpool(make, request)

            return await guarded(self._console, request, answer)

        return endpoint

    def sent(self, do: Callable[[Request, Form], Response]) -> Endpoint:
        """The endpoint of a form; one that is not ours is refused and written down."""

        async def endpoint(request: Request) -> Response:
            async def answer() -> Response:
                form = await form_of(request)
                return await self._console.of_a_form(self._judged, request, form, do)

            return await guarded(self._console, request, answer)

        return endpoint

    def _judged(self, request: Request, form: Form, do: Callable[[Request, Form], Response]) -> Response:
        if not security.is_own_form(request, form):
            self._refuse(request, form)
            return wrong(
                self._console,
                HTTPStatus.FORBIDDEN,
                "The form is too old, or none of this session: nothing was written. Load its page again.",
            )
        return do(request, form)

    def _refuse(self, request: Request, form: Form) -> None:
        """Write a form down that is not ours, unless pages elsewhere have sent many of them lately."""
        since, remote = self._desk.now() - security.LOGIN_WINDOW, security.remote_of(request)
        told = "the form was not one of this session"
        if console_audit.refused_deeds(self._desk.writer(), WRITE, since, remote)[1] < MOST_REFUSED:
            self._record(request, form, "", "refused", told)
        else:
            logger.warning("%s of nobody: refused: %s; not written down, like many before it", WRITE, told)

    # --- looking ---------------------------------------------------------------------------------------------------
    def overview(self, request: Request) -> Response:
        """What is in force."""
        before, (held, problem) = self._in_force(), self._held()
        return self._page(request, pages.overview_page(before, held, problem, self._day()), before)

    def of_parameter(self, request: Request) -> Response:
        """A parameter and its form."""
        return self._parameter(request, str(request.path_params["name"]))

    def _parameter(self, request: Request, name: str, words: str = "", typed: str | None = None) -> Response:
        try:
            one = parameter(name)
        except ConfigurationError as error:
            raise NotFound(str(error)) from error
        held, problem = self._held()
        before = self._in_force()
        value = "unknown: the files in force do not load" if held is None else shown_value(value_of(held, name))
        page = pages.parameter_page(one, value, before, words or problem, typed)
        return self._page(request, page, before, _status(words))

    def of_list(self, request: Request) -> Response:
        """A list and its forms."""
        return self._list(request, list_kind(str(request.path_params["kind"])))

    def _list(
        self,
        request: Request,
        kind: str,
        words: str = "",
        typed: Form | None = None,
        status: HTTPStatus | None = None,
    ) -> Response:
        before = self._in_force()
        page = pages.list_page(kind, before, self._day(), words, typed)
        return self._page(request, page, before, status or _status(words))

    def versions(self, request: Request) -> Response:
        """All versions."""
        with one_view(self._desk.engine) as connection:
            before, found = in_force(connection, self._desk.own_folder), list_versions(connection)
        return self._page(request, pages.versions_page(before, found), before)

    def of_version(self, request: Request) -> Response:
        """One version, and what it changed."""
        number = version_number(str(request.path_params["number"]))
        with one_view(self._desk.engine) as connection:
            one = read_version(connection, number)
            earlier = read_version(connection, number - 1) if number > 1 else None
            before = in_force(connection, self._desk.own_folder)
        told = None if earlier is None else versions.compare_versions(earlier, one)
        is_in_force = one.files_hash == before.files_hash
        return self._page(request, pages.version_page(one, told, is_newest=is_in_force), before)

    def compared(self, request: Request) -> Response:
        """Two versions beside each other."""
        numbers = [version_number(request.query_params.get(name, "")) for name in ("before", "after")]
        with one_view(self._desk.engine) as connection:
            one, other = (read_version(connection, number) for number in numbers)
        told = versions.compare_versions(one, other)
        return self._page(request, pages.compare_page(one, other, told), self._in_force())

    def audit(self, request: Request) -> Response:
        """Who did what."""
        with one_view(self._desk.engine) as connection:
            page = audit_page(connection, Question(asked_of(request)))
        return self._page(request, page, self._in_force())

    # --- changing --------------------------------------------------------------------------------------------------
    def preview(self, request: Request, form: Form) -> Response:
        """What the change of the form would do; the form again, with what is wrong, where it cannot be."""
        return self._preview(request, form)

    def _preview(self, request: Request, form: Form, words: str = "", status: HTTPStatus = HTTPStatus.OK) -> Response:
        """The preview; `words` say why the change was not written when its form was sent from there."""
        said = self._said(request, form)
        try:
            with one_view(self._desk.engine) as connection:
                before = in_force(connection, self._desk.own_folder)
                change = wanted(form, before, connection, said)
            changed_files.check(self._desk.config_folder(), change.texts, said.day)
        except ConfigurationError as error:
            return self._again(request, form, _for_preview(str(error)))
        told, problem = self._previewed(change)
        diffs = [
            changed_files.text_difference(name, before.files[name], text)
            for name, text in change.texts.items()
            if before.files[name] != text
        ]
        proof = preview_proof(form, before.stamp, said.day, self._desk.secret)
        page = pages.preview_page(change, said.day, diffs, told, problem, words=words, typed=form)
        return self._page(request, page, before, status, kept=[*kept_fields(form), (PROOF, proof)])

    def _previewed(self, change: Wanted) -> tuple[PolicyPreview | None, str]:
        """The preview, or why there is none: a change may be written without."""
        try:
            with changed_files.trial_folder(self._desk.config_folder(), change.texts) as trial:
                return self._desk.preview(trial), ""
        except DefiYieldError as error:
            return None, str(error)
        except Exception as error:
            logger.exception("the preview of %s failed", change.what)
            return None, f"the preview failed ({type(error).__name__}); the console's log says why."

    def _again(self, request: Request, form: Form, words: str) -> Response:
        """The page on which the form was filled in: what was typed is not valid, or what a button meant is no longer
        so."""
        action, kind = form.get("action"), form.get("kind", "")
        if action == "set":
            return self._parameter(request, form.get("name", ""), words, form.get("value", ""))
        if action in ("add", "end") and kind in changes.KINDS:
            if action == "add":
                return self._list(request, kind, words, form)
            return self._list(request, kind, words, status=HTTPStatus.CONFLICT)
        return wrong(self._console, HTTPStatus.CONFLICT, words)

    def write(self, request: Request, form: Form) -> Response:
        """Write the change as a version, and say in the audit log what became of it."""
        what = ""
        try:
            engine, said = self._desk.writer(), self._said(request, form)
            before = in_force(engine, self._desk.own_folder)
            change = wanted(form, before, engine, said)
            what = change.what
            require_previewed(form, said.day, self._desk.secret)
            written = versions.write_version(
                engine,
                self._desk.own_folder,
                change.texts,
                author=self._author(request, form),
                reason=form.get("reason", ""),
                what=what,
                seen=form.get(SEEN, ""),
                now=self._desk.now(),
                origin="console" if change.restored_from is None else "restore",
                restored_from=change.restored_from,
                day=said.day,
                deed=lambda number: self._deed(request, form, what, "done", console_audit.recorded(number)),
            )
        except NotInForce as error:
            self._record(request, form, what, "failed", str(error))
            raise
        except (NotPreviewed, NotSaid) as error:
            self._record(request, form, what, "refused", str(error))
            status = HTTPStatus.BAD_REQUEST if isinstance(error, NotSaid) else HTTPStatus.CONFLICT
            return self._preview(request, form, str(error), status)
        except (ConfigurationError, NotFound, QuestionError) as error:
            self._record(request, form, what, "refused", str(error))
            raise
        except Exception as error:
            self._record(request, form, what, "failed", f"{type(error).__name__}")
            raise
        logger.info("%s of %s: done", WRITE, self._author(request, form))
        return RedirectResponse(address("settings", "versions", str(written.version)), HTTPStatus.SEE_OTHER)

    # --- shared ----------------------------------------------------------------------------------------------------
    def _page(
        self,
        request: Request,
        page: Page,
        before: InForce,
        status: HTTPStatus = HTTPStatus.OK,
        kept: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """The page with what its forms carry; `kept` are the fields of a change that is only previewed yet."""
        person = security.person_of(request, self._desk)
        token = security.form_token(request)
        html = rendering.render(page, self._desk, None, token=token, seen=before.stamp, person=person, kept=list(kept))
        return HTMLResponse(html, status)

    def _in_force(self) -> InForce:
        with one_view(self._desk.engine) as connection:
            return in_force(connection, self._desk.own_folder)

    def _held(self) -> tuple[Parameters | None, str]:
        """The parameters in force; where the files do not load, None and why."""
        try:
            return load_policy(self._day(), self._desk.config_folder()).policy.parameters, ""
        except ConfigurationError as error:
            return None, str(error)

    def _author(self, request: Request, form: Form) -> str:
        """Who is logged in; without a login whoever the form names."""
        return security.person_of(request, self._desk) or ("" if self._desk.people else form.get("author", ""))

    def _said(self, request: Request, form: Form) -> changes.Said:
        author = self._author(request, form) or "console"
        return changes.Said(author, form.get("reason", "") or NO_REASON, self._day())

    def _day(self) -> date:
        """The day from which a change counts that is written now."""
        return first_day_of_change(self._desk.engine, self._desk.now().date())

    def _deed(
        self, request: Request, form: Form, what: str, outcome: console_audit.Outcome, detail: str
    ) -> console_audit.Deed:
        subject = what or " ".join(form.get(name, "") for name in ("action", "kind", "name", "version")).strip()
        return console_audit.Deed(
            self._author(request, form), security.remote_of(request), WRITE, subject, outcome, detail
        )

    def _record(self, request: Request, form: Form, what: str, outcome: console_audit.Outcome, detail: str) -> None:
        """One line in the audit log of what was not written. Where that fails, too, the reader is told of what went
        wrong first, and the console's log tells of both."""
        deed = self._deed(request, form, what, outcome, detail)
        logger.info("%s of %s: %s: %s", WRITE, deed.author or "nobody", outcome, detail)
        try:
            console_audit.record_deed(self._desk.writer(), deed, self._desk.now())
        except Exception:
            logger.exception("a write that was %s could not be written into the audit log", outcome)


def _for_preview(words: str) -> str:
    """What the check found wrong, without its words about writing."""
    return f"this is not valid: {words.removeprefix(NOT_ASKED)}" if words.startswith(NOT_ASKED) else words


def _status(words: str) -> HTTPStatus:
    return HTTPStatus.UNPROCESSABLE_ENTITY if words else HTTPStatus.OK
