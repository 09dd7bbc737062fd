"""What a reader asks for in an address: days, words, choices, page numbers, each checked.

Lives here: query parameters and their limits. Not here: addresses that pages lead to (layout.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

LONGEST = 200
"""Characters of any value; names of pools and ids are shorter."""


class QuestionError(ValueError):
    """An address that asks for what there cannot be; says what would be right."""


FIRST_DAY = date(2000, 1, 1)


@dataclass(frozen=True)
class Question:
    """The parameters of an address, by name: those in the path and those behind the question mark."""

    asked: Mapping[str, str]

    def words(self, name: str) -> str:
        """A text on one line, "" where none is given; control characters become spaces."""
        text = self.asked.get(name, "")
        if len(text) > LONGEST:
            raise QuestionError(f"{name} is longer than {LONGEST} characters")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())

    def choice(self, name: str, choices: Collection[str], default: str = "") -> str:
        """One of the choices, or the default where none is given."""
        text = self.words(name)
        if not text:
            return default
        if text not in choices:
            raise QuestionError(f"{name} is none of: {', '.join(sorted(choices))}")
        return text

    def number(self, name: str, default: int, least: int = 1, most: int = 1_000_000) -> int:
        """A whole number within its limits."""
        text = self.words(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise QuestionError(f"{name} is not a whole number from {least} to {most:,}")
        return int(text)

    def fraction(self, name: str) -> float | None:
        """A percentage as people type it, 4.5 or 4.5%, as a fraction; None where none is given."""
        text = self.words(name).removesuffix("%").strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise QuestionError(f"{name} is not a percentage such as 4.5") from None
        if not -1_000_000 < value < 1_000_000:
            raise QuestionError(f"{name} is not a percentage such as 4.5")
        return value / 100

    def day(self, name: str = "date") -> date | None:
        """A UTC day as 2025-06-03; None where none is given."""
        text = self.words(name)
        if not text:
            return None
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise QuestionError(f"{name} is not a day such as 2025-06-03") from None
        if day < FIRST_DAY:
            raise QuestionError(f"{name} is before {FIRST_DAY}")
        return day
