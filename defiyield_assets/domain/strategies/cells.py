"""Figures and cells of the pages about strategies: how a value is written, and what colour stands behind it.

Lives here: one value at a time. Not here: pages (tear_sheet.py, assessment_page.py), general texts
(domain/reporting/formats.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.reporting.formats import UNKNOWN, is_missing, number, percent, signed_percent


@dataclass(frozen=True)
class Cell:
    """A table cell: text, and a shade from -1 (red) to 1 (green), None without one; words stand to the left."""

    text: str
    shade: float | None = None
    title: str = ""
    is_words: bool = False

    @property
    def style(self) -> str:
        """The colour behind the text; half transparent, so that text stays readable on light and on dark."""
        if self.shade is None or self.shade == 0.0:
            return ""
        colour = "29,140,90" if self.shade > 0 else "200,50,45"
        return f"background:rgba({colour},{min(abs(self.shade), 1.0) * 0.55:.2f})"


def written(value: object, kind: str) -> str:
    """A figure as text: signed, percent, count or ratio; a dash where it is unknown."""
    if is_missing(value) or not np.isfinite(float(value)):  # type: ignore[arg-type]
        return UNKNOWN
    if kind == "signed":
        return signed_percent(value)
    if kind == "percent":
        return percent(value)
    return number(float(value), 0 if kind == "count" else 2)  # type: ignore[arg-type]


def figures_of(values: Mapping[str, float | None], named: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Label and text of each named figure."""
    return [(label, written(values.get(name), kind)) for label, name, kind in named]


def signed(fraction: float, digits: int) -> str:
    """Percent without the sign for it, for narrow cells; what rounds to zero has no minus."""
    return f"{round(100.0 * fraction, digits) + 0.0:+.{digits}f}"


def day(value: Any) -> str:
    """A date or stamp as YYYY-MM-DD."""
    return UNKNOWN if is_missing(value) else str(pd.Timestamp(value).date())


def price(value: object) -> str:
    """A price to six significant digits."""
    return UNKNOWN if is_missing(value) else f"{float(value):,.6g}"  # type: ignore[arg-type]
