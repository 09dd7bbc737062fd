"""`defiyield report open` and `show`: the daily report in a browser or in the terminal.

Lives here: finding the stored report, writing its page where it is missing, starting a browser. Not here: what a report
says (domain/reporting) or when it is made (orchestration/assets/reporting.py).
"""

import webbrowser
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markdown import Markdown, MarkdownElement, TableElement
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli.explain import engine_of_market
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import row_lines, width_of
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema


class FittingTable(TableElement):
    """A table of the report; one that is too wide is told row by row, as elsewhere, instead of losing columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The table, or its rows in blocks."""
        for drawn in super().__rich_console__(console, options):
            if isinstance(drawn, Table) and width_of(drawn, console) > options.max_width:
                yield from row_lines(drawn, console, options.max_width)
            else:
                yield drawn  # type: ignore[misc]


class ReportText(Markdown):
    """The report's Markdown with tables that fit."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "table_open": FittingTable}


def open_report(day: date | None, console: Console, *, is_path: bool, is_json: bool) -> int:
    """Open the page of the day; 0, or 1 when there is no browser."""
    told = _stored(engine_of_market(), day)
    page = _page(told)
    is_opened = not is_path and _open(page)
    if is_json:
        write_json({"date": told["date"], "title": told["title"], "path": page, "is_opened": is_opened})
    elif is_path or is_opened:
        console.print(Text(str(page)), soft_wrap=True)
    else:
        console.print(Text(f"no browser could be started; the page lies at {page}"), soft_wrap=True)
    return 0 if is_path or is_opened else 1


def show_report(day: date | None, console: Console, *, is_raw: bool, is_json: bool) -> int:
    """Show the report's text; 0."""
    told = _stored(engine_of_market(), day)
    markdown = str(told["markdown"])
    if is_json:
        write_json({name: told[name] for name in ("date", "run_id", "title", "markdown")})
    elif is_raw:
        console.out(markdown, end="" if markdown.endswith("\n") else "\n", highlight=False)
    else:
        console.print(ReportText(markdown, hyperlinks=False))
    return 0


def _stored(engine: sa.Engine, day: date | None) -> dict[str, Any]:
    """The report of the day, or the newest one."""
    newest = reads.newest_day(engine, schema.daily_report)
    if newest is None:
        raise NotFound("the warehouse holds no report yet: `defiyield demo` or `defiyield run` makes one")
    rows = reads.read_days(engine, schema.daily_report, DayRange.of(day or newest))
    if rows.empty:
        raise NotFound(f"the warehouse holds no report of {day}; the newest is of {newest}")
    return {str(name): cell for name, cell in rows.iloc[0].items()}


def _page(told: dict[str, Any]) -> Path:
    """The file of the page as it is stored, readable by its owner only; written anew where it is missing or another."""
    path = load_settings().reports_path.resolve() / f"{told['date']}.html"
    try:
        if not path.is_file() or path.read_text(encoding="utf-8") != told["html"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(str(told["html"]), encoding="utf-8")
            path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _open(page: Path) -> bool:
    try:
        return webbrowser.open(page.as_uri())
    except webbrowser.Error:
        return False
