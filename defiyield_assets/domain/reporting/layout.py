"""The parts that a report is laid out in: facts, tables, charts, sections.

Lives here: their types, all plain unescaped text. Not here: what they say (content.py) or how they look (templates,
charts.py, report.py).
"""

from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from math import isfinite
from typing import Literal, NamedTuple, Self

ABOUT = "about"
"""Anchor of the section that says what the report rests on."""
Unit = Literal["usd", "price", "percent", "gwei"]
"""What a chart's values are: dollars, fractions (printed as percent), gwei."""
Role = Literal["main", "other", "before", "after", "history", "forecast"]
"""What a series is to the reader; it decides colour and stroke."""


class Link(str):
    """Words that lead somewhere: a string like every other cell, with the address in `url`.

    Media without links show the words. An address that is not http or https is dropped: only the words remain.
    """

    __slots__ = ("url",)
    url: str

    def __new__(cls, text: str, url: str) -> Self:
        """The words with an address, or with "" where the address is not safe to follow."""
        made = super().__new__(cls, text)
        made.url = url if is_address(url) else ""
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """What a copy is made of."""
        return str(self), self.url


def is_address(url: str) -> bool:
    """Whether it is a plain http(s) address: no white space, no quotes, no brackets, nothing that is not ASCII."""
    is_plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>()[]{}\\|^`")
    return is_plain and url.startswith(("https://", "http://"))


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
    """Rows of text under headings; `bars` are fractions, one per row, drawn in the column `bar_column`.

    A cell is a string or a `Link`, which is one. `fold` says where the page shows only the caption until it is asked:
    "auto" on narrow screens when the table is long, "always" for evidence that few read, "never" for what everybody
    must see.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    bar_column: int | None = None
    bars: tuple[float, ...] = ()
    fold: Literal["auto", "always", "never"] = "auto"


class Point(NamedTuple):
    """A value at a label of the horizontal axis, null where there is none, perhaps with a band around it."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def has_band(self) -> bool:
        """Whether both bounds are known."""
        return self.low is not None and self.high is not None and isfinite(self.low) and isfinite(self.high)


@dataclass(frozen=True)
class Series:
    """Points under one name, in the order of the horizontal axis."""

    name: str
    points: tuple[Point, ...]
    role: Role = "main"

    @cached_property
    def has_bands(self) -> bool:
        """Whether any point has a band; most have not one bound."""
        return any(point.has_band for point in self.points if point.low is not None)


@dataclass(frozen=True)
class Chart:
    """A picture of figures: lines over time, bars by name (before beside after), or lines with bands around them.

    `summary` is the chart in one sentence for those who cannot see it. Labels of all series make the horizontal axis
    in the order in which they first appear. `is_tabled` says that the section's tables already hold the figures;
    otherwise they are shown in a table of their own that is folded away.
    """

    kind: Literal["lines", "bars", "bands"]
    title: str
    unit: Unit
    series: tuple[Series, ...]
    summary: str
    is_tabled: bool = False


@dataclass(frozen=True)
class Section:
    """A headed part of the report: words, then facts, charts, tables and bullets."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    bullets: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()


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

    def all_sections(self) -> tuple[Section, ...]:
        """The sections, the last of which says what the report rests on."""
        if self.section(ABOUT) is not None or not self.provenance:
            return self.sections
        return (*self.sections, Section(ABOUT, "About this page", facts=self.provenance))

    def section(self, anchor: str) -> Section | None:
        """The section of that name, or None where the day has none."""
        return next((section for section in self.sections if section.anchor == anchor), None)


def text(*names: str) -> tuple[Column, ...]:
    """Columns of words."""
    return tuple(Column(name) for name in names)


def numbers(*names: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, is_number=True) for name in names)
