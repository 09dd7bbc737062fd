"""The console as a web application: which page is at which address, and what a request passes through.

Lives here: routes and middleware. Not here: pages (pages/), how one is made and what goes wrong (serving.py), safety
(security.py), the server (cli/console.py).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from defiyield_assets.console import rendering, security
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.makers import Makers
from defiyield_assets.console.pages import (
    forecasts,
    icebox,
    lab,
    lab_scenarios,
    lab_sheet,
    lab_strategy,
    ledger,
    ledger_postings,
    login,
    overview,
    plan,
    pool,
    pools,
    runs,
    runs_detail,
    runs_files,
    settings,
)
from defiyield_assets.console.serving import Console, FileMaker, PageMaker, not_found, served, shown

AT_ONCE = 2
"""Pages made at the same time by the server itself: more only wait for each other."""
STATIC_AGE = "public, max-age=31536000, immutable"
PAGES: Mapping[str, PageMaker] = {
    "/": overview.overview,
    "/plan": plan.plan,
    "/pools": pools.pools,
    "/pools/{pool_id:path}": pool.pool,
    "/forecasts": forecasts.forecasts,
    "/runs": runs.runs,
    "/runs/{run_id}": runs_detail.run,
    "/ledger": ledger.ledger,
    "/ledger/postings": ledger_postings.postings,
    "/icebox": icebox.icebox,
    "/lab": lab.lab,
    "/lab/scenarios": lab_scenarios.scenarios,
    "/lab/strategies/{strategy_id}": lab_strategy.strategy,
}
"""Address -> what makes the page; a name in braces becomes a parameter of the question."""
WARMED: Mapping[str, PageMaker] = {path: PAGES[path] for path in ("/", "/pools")}
"""Pages that rest on all that others share and that takes long to make."""
FILES: Mapping[str, FileMaker] = {
    "/runs/{run_id}/plan.csv": runs_files.plan_csv,
    "/runs/{run_id}/plan.json": runs_files.plan_json,
    "/ledger/postings.csv": ledger_postings.postings_csv,
    "/lab/assessment.html": lab.assessment_file,
    "/lab/strategies/{strategy_id}/sheet.html": lab_sheet.strategy_sheet,
}
"""Address -> what makes the file that is offered there."""


def build_app(desk: Desk, makers: Makers | None = None) -> Starlette:
    """The application over one warehouse; pages are made by `makers`, or by itself."""
    console = Console(desk, makers)

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = AT_ONCE
        if makers is not None:
            await anyio.to_thread.run_sync(makers.start)
        if desk.is_warmed:
            await anyio.to_thread.run_sync(console.warm, WARMED)
        yield
        console.close()

    routes = [
        Route("/healthz", _healthz),
        Route("/static/{name}", _static),
        *(Route(path, shown(console, make)) for path, make in PAGES.items()),
        *(Route(path, served(console, make)) for path, make in FILES.items()),
        *login.routes(console),
        *settings.routes(console),
    ]
    middleware = [
        Middleware(security.Guard, is_https=desk.is_https),
        Middleware(
            SessionMiddleware,
            secret_key=desk.secret,
            session_cookie=security.COOKIE,
            max_age=security.SESSION_SECONDS,
            same_site="strict",
            https_only=desk.is_https,
        ),
        Middleware(security.Door, desk=desk),
    ]
    return Starlette(routes=routes, middleware=middleware, lifespan=life, exception_handlers={404: not_found(console)})


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def _static(request: Request) -> Response:
    """The style sheet and the script, under names that change with their content, and the sign."""
    name = request.path_params["name"]
    kinds = {
        f"console.{rendering.style_digest()}.css": (rendering.style, "text/css"),
        f"console.{rendering.script_digest()}.js": (rendering.script, "text/javascript"),
        "icon.svg": (rendering.icon, "image/svg+xml"),
    }
    if name not in kinds:
        return PlainTextResponse("There is no such file.", 404)
    content, kind = kinds[name]
    return Response(content(), media_type=kind, headers={"Cache-Control": STATIC_AGE})
