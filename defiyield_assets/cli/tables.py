"""Tables in the width that there is: columns where they fit, a few lines a row where they do not.

Lives here: how a table is laid out. Not here: what is in it (the commands' modules).
"""

import os
from collections.abc import Iterator

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDEST = 1_000
"""Characters that a line may take where nobody's window limits it: in a file, or read by another program."""
INDENT, GAP = 2, 3


def print_table(table: Table, console: Console) -> None:
    """Print the table whole: no word is broken and no figure cut.

    In a terminal (or where COLUMNS says how wide one is) a table that is too wide is shown row by row; elsewhere its
    lines are as long as they need to be, one a row, so that other programs can read them.
    """
    needed = width_of(table, console)
    if needed <= console.width:
        console.print(table)
    elif console.is_terminal or "COLUMNS" in os.environ:
        for line in row_lines(table, console, console.width):
            console.print(line)
    else:
        table.width = needed
        console.print(table, crop=False, soft_wrap=True)


def width_of(table: Table, console: Console) -> int:
    """Columns of the terminal that the table takes with no cell broken."""
    return Measurement.get(console, console.options.update(width=WIDEST), table).maximum


def row_lines(table: Table, console: Console, width: int) -> Iterator[Text]:
    """Each row as its first cell, and below it what the other columns say; a figure in front is named as well."""
    if table.title:
        yield _text(table.title, console, "bold")
    if not table.row_count:
        yield Text("  nothing")
    names = [_text(column.header, console, "dim") for column in table.columns]
    for row in zip(*(list(column.cells) for column in table.columns), strict=True):
        first, *others = (_text(cell, console) for cell in row)
        if table.columns[0].justify == "right" and first.plain:
            first = Text.assemble(names[0].plain, " ", first)
        first.stylize("bold")
        first.overflow = "fold"
        yield first
        pairs = [Text.assemble(name, " ", cell) for name, cell in zip(names[1:], others, strict=True) if cell.plain]
        for line in _filled(pairs, width - INDENT):
            for part in line.wrap(console, width - INDENT, overflow="fold"):
                part.rstrip()
                yield Text(" " * INDENT).append_text(part)
    if table.caption:
        yield _text(table.caption, console, "italic")
    yield Text()


def _text(cell: object, console: Console, style: str = "") -> Text:
    """A cell in one line, whether it was given as text or as markup."""
    told = cell.copy() if isinstance(cell, Text) else console.render_str(str(cell), highlight=False, emoji=False)
    if "\n" in told.plain:
        told = Text(" ").join(told.split("\n"))
    if style:
        told.stylize(style)
    return told


def _filled(pairs: list[Text], width: int) -> list[Text]:
    """Pairs in as few lines as hold them without breaking one."""
    lines: list[Text] = []
    for pair in pairs:
        if lines and lines[-1].cell_len + GAP + pair.cell_len <= width:
            lines[-1].append(" " * GAP).append_text(pair)
        else:
            lines.append(pair)
    return lines
