"""The parts that a report is laid out in: facts, tables, sections.

Lives here: their types, all plain unescaped text. Not here: what they say (content.py) or how they look (templates,
report.py).
"""

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True)
class Fact:
    """One figure with its name and a remark."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True)
class Column:
    """Heading of a table's column; numbers are set flush right."""

    name: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; `bars` are fractions, one per row, drawn in the column `bar_column`."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    bar_column: int | None = None
    bars: tuple[float, ...] = ()


@dataclass(frozen=True)
class Section:
    """A headed part of the report: words, then facts, tables and bullets."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    bullets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """A whole report."""

    day: date
    run_id: str
    title: str
    headline: str
    tone: str
    status: str
    paragraphs: tuple[str, ...]
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    provenance: tuple[Fact, ...] = field(default=())

    def section(self, anchor: str) -> Section | None:
        """The section of that name, or None where the day has none."""
        return next((section for section in self.sections if section.anchor == anchor), None)


def text(*names: str) -> tuple[Column, ...]:
    """Columns of words."""
    return tuple(Column(name) for name in names)


def numbers(*names: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, is_number=True) for name in names)
