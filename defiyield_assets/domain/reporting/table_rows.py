"""The rows of a table as HTML.

Lives here: cells, escaped, with what a stacked row needs to know. Not here: everything around them
(templates/parts.html.j2), which classes a column has (page.py).

Written in Python because a template takes many times as long, and pages with a year of figures are little else.
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

from defiyield_assets.domain.reporting.layout import Table

SHARE = (
    '<svg class="share" aria-hidden="true"><rect class="track" width="100%" height="100%" rx="4"/>'
    '<rect class="part" width="{:.2f}%" height="100%" rx="4"/></svg>'
)


def rows_html(table: Table, looks: Sequence[str]) -> Markup:
    """All rows; the first cell of each is its heading. `looks` are the classes of the columns."""
    if not table.rows:
        return Markup()
    openings = [_opening(table, looks, place) for place in range(len(table.columns))]
    told = []
    for number, row in enumerate(table.rows):
        cells = [f"{opening}{_cell(cell)}</td>" for opening, cell in zip(openings, row, strict=True)]
        cells[0] = f"{openings[0]}{_cell(row[0])}</th>"
        if table.bar_column is not None:
            share = SHARE.format(table.bars[number] * 100)
            cells[table.bar_column] = f"{openings[table.bar_column]}{share}{_cell(row[table.bar_column])}</td>"
        told.append(f'<tr role="row">{"".join(cells)}</tr>\n')
    return Markup("".join(told))  # noqa: S704 - every cell and label is escaped above


def _opening(table: Table, looks: Sequence[str], place: int) -> str:
    column = table.columns[place]
    label = f' data-label="{escape(column.name)}"'
    if place == 0:
        look = looks[0] if column.is_number else "name"
        return f'<th role="rowheader" scope="row" class="{look}"{label if column.is_number else ""}>'
    look = f"number {looks[place]}" if place == table.bar_column else looks[place]
    return f'<td role="cell" class="{look}"{label}>'


def _cell(cell: str) -> str:
    """The words, in a link where they have an address."""
    url = getattr(cell, "url", "")
    words = escape(str(cell))
    return f'<a href="{escape(url)}" rel="noopener noreferrer">{words}</a>' if url else str(words)
