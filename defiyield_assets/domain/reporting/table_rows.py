"""The rows of a table as HTML.

Lives here: cells, escaped, with what a stacked row needs to know. Not here: everything around them
(templates/parts.html.j2), which classes a column has (page.py).

Written in Python because a template takes many times as long, and pages with a year of figures are little else.
"""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from defiyield_assets.domain.reporting.layout import Table

SHARE = (
    '<svg class="share" aria-hidden="true"><rect class="track" width="100%" height="100%" rx="4"/>'
    '<rect class="part" width="{:.2f}%" height="100%" rx="4"/></svg>'
)


def rows_html(table: Table, looks: Sequence[str]) -> Markup:
    """All rows; the first cell of each is its heading. `looks` are the classes of the columns."""
    if not table.rows:
        return Markup()
    columns = []
    for place, column in enumerate(zip(*table.rows, strict=True)):
        cells = _cells(column)
        if place == table.bar_column:
            cells = [SHARE.format(bar * 100) + cell for bar, cell in zip(table.bars, cells, strict=True)]
        opening, closing = _opening(table, looks, place), "</td>" if place else "</th>"
        columns.append([f"{opening}{cell}{closing}" for cell in cells])
    told = '</tr>\n<tr role="row">'.join(map("".join, zip(*columns, strict=True)))
    return Markup(f'<tr role="row">{told}</tr>\n')  # noqa: S704 - every cell and label is escaped above


def _opening(table: Table, looks: Sequence[str], place: int) -> str:
    column = table.columns[place]
    label = f' data-label="{escape(column.name)}"'
    if place == 0:
        look = looks[0] if column.is_number else "name"
        return f'<th role="rowheader" scope="row" class="{look}"{label if column.is_number else ""}>'
    look = f"number {looks[place]}" if place == table.bar_column else looks[place]
    return f'<td role="cell" class="{look}"{label}>'


def _cells(column: Sequence[str]) -> list[str]:
    """A column's cells, escaped all at once where each is one line of mere words."""
    if all(type(cell) is str for cell in column):
        together = escape("\n".join(column)).split("\n")
        if len(together) == len(column):
            return together
    return [_cell(cell) for cell in column]


def _cell(cell: str) -> str:
    """The words, in a link where they have an address."""
    url, words = getattr(cell, "url", ""), escape(cell)
    return f'<a href="{escape(url)}" rel="noopener noreferrer">{words}</a>' if url else words
