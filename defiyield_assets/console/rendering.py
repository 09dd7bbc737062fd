"""A page as HTML.

Lives here: the templates' environment, what they are handed of a page, the style sheet. Not here: what is said
(pages/), how a section is drawn (domain/reporting/page.py and its templates).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from defiyield_assets.console.desk import Desk
from defiyield_assets.console.layout import Page, address
from defiyield_assets.console.views import KnownDays
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.reporting.page import ShownSection, shown_section, style_sheet, templates

PLACES = (
    ("overview", "Overview", "/"),
    ("plan", "Plan", "/plan"),
    ("pools", "Pools", "/pools"),
    ("forecasts", "Forecasts", "/forecasts"),
    ("runs", "Runs", "/runs"),
    ("ledger", "Ledger", "/ledger"),
    ("icebox", "Icebox", "/icebox"),
    ("lab", "Lab", "/lab"),
    ("settings", "Settings", "/settings"),
)
"""The navigation: name, words, address."""


@dataclass(frozen=True)
class AssetLink:
    """An asset and where Dagster shows it."""

    name: str
    url: str


@dataclass(frozen=True)
class ShownPanel:
    """A panel ready to be drawn."""

    section: ShownSection
    assets: tuple[AssetLink, ...]
    day: date | None


@dataclass(frozen=True)
class Days:
    """The day that is shown and those that one can go to; addresses, "" where there is none.

    `unplanned` leads from the newest plan to a newer day, of which there are data and no plan.
    """

    day: date
    first: date
    newest: date
    before: str
    after: str
    of_newest: str
    unplanned: str
    path: str
    kept: tuple[tuple[str, str], ...]


def days_of(parts: Sequence[str], asked: dict[str, str], day: date, known: KnownDays) -> Days:
    """Links to the day before and after with everything else that was asked for, page numbers excepted."""
    kept = {clean(name): clean(value) for name, value in asked.items() if name not in ("date", "page")}

    def to(other: date | None) -> str:
        return address(*parts, **{**kept, "date": None if other is None else other.isoformat()})

    return Days(
        day=day,
        first=known.first,
        newest=known.newest,
        before=to(day - timedelta(days=1)) if day > known.first else "",
        after=to(day + timedelta(days=1)) if day < known.newest else "",
        of_newest=to(None) if day != known.usual else "",
        unplanned=to(known.newest) if day == known.planned and known.newest > day else "",
        path=address(*parts),
        kept=tuple(sorted(kept.items())),
    )


def asset_link(desk: Desk, name: str, day: date | None) -> AssetLink:
    """Where Dagster shows an asset, at the partition of a day."""
    partition = "" if day is None else f"?partition={day.isoformat()}"
    return AssetLink(name, f"{desk.dagster_url.rstrip('/')}/assets/{quote(name, safe='')}{partition}")


def render(
    page: Page, desk: Desk, days: Days | None, figures_at: Callable[[str], str] | None = None, /, **more: object
) -> str:
    """The page; `more` are values that its template asks for besides. `figures_at` tells the address of the figures of
    a long chart by its id; without it they are in the page."""
    panels = [
        ShownPanel(
            shown_section(panel.section, figures_at),
            tuple(asset_link(desk, name, panel.day) for name in panel.assets),
            panel.day,
        )
        for panel in page.panels
    ]
    return (
        environment()
        .get_template(page.template)
        .render(
            page=page,
            panels=panels,
            facts_assets=[asset_link(desk, name, page.day) for name in page.facts_assets],
            places=PLACES,
            days=days,
            market=desk.market,
            has_login=bool(desk.people),
            style=f"/static/console.{style_digest()}.css",
            script=f"/static/console.{script_digest()}.js",
            **{**page.extra, **more},
        )
    )


@cache
def environment() -> Environment:
    """Templates of the console and, behind them, of the report; everything shown is escaped."""
    own = PackageLoader("defiyield_assets.console", "templates")
    made = Environment(
        loader=ChoiceLoader([own, templates()]),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["address"] = address
    return made


@cache
def style() -> str:
    """The report's looks and, on top, the console's."""
    return style_sheet() + _static("console.css")


@cache
def script() -> str:
    """What makes charts answer to pointer and keyboard; every page can be read without it."""
    return _static("console.js")


@cache
def icon() -> str:
    """The page's sign."""
    return _static("icon.svg")


@cache
def style_digest() -> str:
    """Part of the sheet's address, so that browsers keep it until it changes."""
    return sha256(style().encode()).hexdigest()[:16]


@cache
def script_digest() -> str:
    """The same for the script."""
    return sha256(script().encode()).hexdigest()[:16]


def _static(name: str) -> str:
    return (files("defiyield_assets.console") / "static" / name).read_text(encoding="utf-8")
