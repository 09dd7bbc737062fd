"""What a page of the console is made of: panels with their day and the assets behind them.

Lives here: types, all plain unescaped text. Not here: what pages say (pages/), how they look (templates/), the parts of
a panel (domain/reporting/layout.py: sections, tables, charts, facts).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self
from urllib.parse import quote, urlencode

from defiyield_assets.domain.reporting.layout import Fact, Section


class Inner(str):
    """Words that lead to another page of the console: a string like every other cell, with the address in `url`."""

    __slots__ = ("url",)
    url: str

    def __new__(cls, words: str, *parts: str, anchor: str = "", **asked: object) -> Self:
        """The words leading to `/part/part?name=value#anchor`; every part is quoted, what is None is left out."""
        return cls.at(words, address(*parts, **asked) + (f"#{quote(anchor)}" if anchor else ""))

    @classmethod
    def at(cls, words: str, url: str) -> Self:
        """The words leading to an address, as `address` makes one."""
        made = super().__new__(cls, words)
        made.url = url
        return made

    def __getnewargs__(self) -> tuple[str]:
        """What a copy is made of."""
        return (str(self),)


def address(*parts: str, **asked: object) -> str:
    """`/part/part?name=value`, quoted; what is None or "" is left out."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    told = urlencode([(name, str(value)) for name, value in asked.items() if value not in (None, "")])
    return f"{path}?{told}" if told else path


@dataclass(frozen=True)
class Panel:
    """A section with the assets whose tables it shows, and the day of its figures (None: of no single day)."""

    section: Section
    assets: tuple[str, ...]
    day: date | None


@dataclass(frozen=True)
class Page:
    """One page: title, headline with its tone (good, calm, warn, bad), figures, panels.

    `here` is the name of its place in the navigation. `template` and `extra` are for pages with forms of their own.
    `is_dated`: whether it is of a day that can be chosen. `downloads` are (words, address).
    """

    title: str
    here: str
    headline: str
    day: date | None
    panels: tuple[Panel, ...] = ()
    tone: str = "calm"
    paragraphs: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    facts_assets: tuple[str, ...] = ()
    is_dated: bool = True
    downloads: tuple[tuple[str, str], ...] = ()
    template: str = "page.html.j2"
    extra: Mapping[str, Any] = field(default_factory=dict)
