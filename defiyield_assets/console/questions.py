"""What a reader asks for in an address: days, words, choices, page numbers, each checked.

What is wrong is said of a parameter by its name, or by the `label` of the field in which it is typed.

Lives here: query parameters and their limits. Not here: addresses that pages lead to (layout.py).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

LONGEST = 200
"""Characters of any value; names of pools and ids are shorter."""


class QuestionError(ValueError):
    """An address that asks for what there cannot be; says what would be right."""


FIRST_DAY = date(2000, 1, 1)
GROUPED = re.compile("[0-9]{1,3}(,[0-9]{3})+")
"""A whole number whose thousands are parted: 1,000,000."""


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

    def choice(self, name: str, choices: Collection[str], default: str = "", label: str = "") -> str:
        """One of the choices, or the default where none is given."""
        text = self._exact(name, label)
        if not text:
            return default
        if text not in choices:
            raise QuestionError(f"{label or name}: not one of {', '.join(choices)}")
        return text

    def number(self, name: str, default: int, least: int = 1, most: int = 1_000_000, label: str = "") -> int:
        """A whole number within its limits, its thousands parted by commas or not."""
        text = self._exact(name, label)
        if not text:
            return default
        digits = text.replace(",", "") if GROUPED.fullmatch(text) else text
        if not (digits.isascii() and digits.isdigit()) or not least <= int(digits) <= most:
            raise QuestionError(f"{label or name}: not a whole number from {least} to {most:,}")
        return int(digits)

    def fraction(self, name: str, label: str = "") -> float | None:
        """A percentage as people type it, 4.5 or 4.5%, as a fraction; None where none is given."""
        text = self._exact(name, label).removesuffix("%").strip()
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise QuestionError(f"{label or name}: not a percentage such as 4.5") from None
        if not -1_000_000 < value < 1_000_000:
            raise QuestionError(f"{label or name}: not a percentage such as 4.5")
        return value / 100

    def day(self, name: str = "date") -> date | None:
        """A UTC day as 2025-06-03; None where none is given."""
        text = self._exact(name)
        if not text:
            return None
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise QuestionError(f"{name}: not a day such as 2025-06-03") from None
        if day < FIRST_DAY:
            raise QuestionError(f"{name} is before {FIRST_DAY}")
        return day

    def _exact(self, name: str, label: str = "") -> str:
        """A value that is no free text: control characters are not taken for spaces."""
        text = self.words(name)
        if not self.asked.get(name, "").strip(" \t\r\n").isprintable():
            raise QuestionError(f"{label or name}: has characters that cannot be printed")
        return text
