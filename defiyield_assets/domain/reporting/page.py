"""The report as one self-contained HTML page.

Lives here: how each section, table and chart is shown, and the page's policy. Not here: what is said (content.py),
where things go in a chart (charts.py), looks (templates/), the Markdown form (markdown.py).
"""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from defiyield_assets.domain.reporting.chart_dots import dots_html
from defiyield_assets.domain.reporting.charts import Drawing, draw, figures_table
from defiyield_assets.domain.reporting.layout import ABOUT, Chart, Content, Fact, Section, Table
from defiyield_assets.domain.reporting.table_rows import rows_html

LONG, VERY_LONG = 20, 20
"""Cells above which a table folds where its rows are stacked, and rows above which it folds everywhere."""
MOST_FIGURES = 100
"""Points of a series up to which a chart's figures stand in the page where they can be elsewhere."""
NARROW, MIDDLE = 300, 700
"""Pixels: a table that needs less stays a table on a phone, and one that needs less on a tablet."""
LETTER, CELL_PADDING = 7, 14
"""Pixels that a character and a cell's edge take, roughly."""
WORDS, SHORT = 40, 11
"""Letters from which a cell is a text that wraps, and up to which it fills one place in a stacked row."""


@dataclass(frozen=True)
class ShownTable:
    """A table with how the page shows it: its name, its rows as HTML, its width class, the class of its fold."""

    table: Table
    label: str
    rows: Markup
    width: str
    fold: str


@dataclass(frozen=True)
class ShownChart:
    """A chart with its figures: a table, or where they are, or neither where another table of the section has them."""

    id: str
    drawing: Drawing
    dots: Markup
    figures: ShownTable | None = None
    figures_at: str = ""
    n_figures: int = 0


@dataclass(frozen=True)
class ShownSection:
    """A section with its tables and charts ready for the page."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...]
    facts: tuple[Fact, ...]
    facts_kind: str
    charts: tuple[ShownChart, ...]
    tables: tuple[ShownTable, ...]
    bullets: tuple[str, ...]


def style_sheet() -> str:
    """Looks of everything that a section is made of."""
    return _environment().get_template("style.css.j2").render()


def templates() -> PackageLoader:
    """The macros by which sections are drawn (parts.html.j2), for whoever lays out a page of its own."""
    return PackageLoader("defiyield_assets.domain.reporting", "templates")


def render_html(content: Content) -> str:
    """The content as one page. Its policy allows nothing but its own style sheet, named by its hash."""
    style = style_sheet()
    digest = b64encode(sha256(style.encode()).digest()).decode()
    sections = [shown_section(section) for section in content.all_sections()]
    page = _environment().get_template("report.html.j2")
    return page.render(content=content, sections=sections, style_hash=f"sha256-{digest}")


@cache
def _environment() -> Environment:
    return Environment(
        loader=templates(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def shown_section(section: Section, figures_at: Callable[[str], str] | None = None) -> ShownSection:
    """Tables are called by their captions, or after the section; a second one of that name has its number.

    `figures_at` tells the address at which the figures of a long chart are, by the chart's id; without it they are in
    the page as those of every other chart.
    """
    called: dict[str, int] = {}

    def shown(table: Table) -> ShownTable:
        name = table.caption or f"{section.title}: table"
        called[name] = called.get(name, 0) + 1
        return _shown_table(table, name if called[name] == 1 else f"{name} ({called[name]})")

    def shown_chart(chart: Chart, chart_id: str) -> ShownChart:
        drawing = draw(chart)
        dots = dots_html(drawing.plot.dots if drawing.plot else ())
        if chart.is_tabled:
            return ShownChart(chart_id, drawing, dots)
        n_figures = max((len(series.points) for series in chart.series), default=0)
        if figures_at is not None and n_figures > MOST_FIGURES:
            return ShownChart(chart_id, drawing, dots, figures_at=figures_at(chart_id), n_figures=n_figures)
        return ShownChart(chart_id, drawing, dots, replace(shown(figures_table(chart)), fold="always figures"))

    charts = tuple(shown_chart(chart, chart_id) for chart_id, chart in charts_of(section).items())
    return ShownSection(
        anchor=section.anchor,
        title=section.title,
        paragraphs=section.paragraphs,
        facts=section.facts,
        facts_kind="list" if section.anchor == ABOUT else "cards",
        charts=charts,
        tables=tuple(shown(table) for table in section.tables),
        bullets=section.bullets,
    )


def charts_of(section: Section) -> dict[str, Chart]:
    """The charts of a section by the ids that they have in the page."""
    return {f"{section.anchor}-chart-{number}": chart for number, chart in enumerate(section.charts, start=1)}


def _shown_table(table: Table, label: str) -> ShownTable:
    """Numbers stay on a line, ids are small, long words wrap; what is long folds where the screen is narrow."""
    lengths = [max((len(row[place]) for row in table.rows), default=0) for place in range(len(table.columns))]
    looks = tuple(_look(table, place, length) for place, length in enumerate(lengths))
    needed = sum(
        min(max(length, len(column.name)), WORDS) * LETTER + CELL_PADDING
        for length, column in zip(lengths, table.columns, strict=True)
    )
    width = "narrow" if needed <= NARROW else "middle" if needed <= MIDDLE else "wide"
    return ShownTable(table, label, rows_html(table, looks), width, _fold(table, width))


def _fold(table: Table, width: str) -> str:
    """The class of its fold: "always", "long-wide" or "long-middle" (where its rows are stacked), "" (nowhere)."""
    if table.fold == "always" or (table.fold == "auto" and len(table.rows) > VERY_LONG):
        return "always"
    is_long = table.fold == "auto" and len(table.rows) * len(table.columns) > LONG
    return f"long-{width}" if is_long and width != "narrow" else ""


def _look(table: Table, place: int, length: int) -> str:
    """The classes of a column: what its cells are, and how many places they take in a stacked row."""
    if table.columns[place].is_number and length <= WORDS:
        return "number" if length <= SHORT else "number two"
    told = [row[place] for row in table.rows if row[place]]
    if told and all(map(_is_id, told)):
        return "id"
    if length > WORDS:
        return "words"
    return "short" if length <= SHORT else "two"


def _is_id(cell: str) -> bool:
    """An address, a pool's id: one long word with digits."""
    return len(cell) > WORDS // 2 and " " not in cell and any(map(str.isdigit, cell))
