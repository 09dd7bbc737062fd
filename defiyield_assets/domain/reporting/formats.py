"""Figures and vendors' words as text: exact money, percentages, cleaned and escaped strings.

Lives here: how a value looks in print. Not here: which values are shown (content.py and its sections).
"""

import math
import re
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pandas as pd

UNKNOWN = "unknown"
"""Printed where a value should be known and is not; a cell to which the question does not apply stays empty."""
TEXT_LIMIT = 240
"""Longest text taken over from outside; whatever follows is cut."""
CENT = Decimal("0.01")
SHOWN_DECIMALS = 6
"""Decimals of amounts that are looked at and not acted on."""


def is_missing(value: Any) -> bool:
    """True for None, NaN and NaT."""
    if value is None or isinstance(value, str):  # pandas takes ten times as long, and pages ask for every cell
        return value is None
    return value != value if isinstance(value, float) else bool(pd.isna(value))  # noqa: PLR0124 - so NaN is known


def clean(text: Any, limit: int = TEXT_LIMIT) -> str:
    """One line of printable text of at most `limit` characters.

    Control and formatting characters (also those that reverse the reading direction) become spaces, runs of white
    space one space; what is too long ends in "…". Cost does not grow with the length of the input.
    """
    if is_missing(text):
        return UNKNOWN
    raw = str(text)
    head = raw[: 4 * limit]
    printable = head if head.isprintable() else "".join(char if char.isprintable() else " " for char in head)
    line = " ".join(printable.split())
    if len(line) > limit or len(raw) > len(head):
        return line[: limit - 1].rstrip() + "…"
    return line


def short_id(value: Any) -> str:
    """An id or address that fits into a table: its start and its end."""
    text = clean(value, 80)
    return text if len(text) <= 14 else f"{text[:6]}…{text[-4:]}"


def usd(value: Any) -> str:
    """Exact dollars and cents of a Decimal or int, half-even: $1,234.50, -$3.00; under a cent <$0.01; null unknown."""
    if is_missing(value):
        return UNKNOWN
    exact = _exact(value)
    if 0 < abs(exact) < CENT:
        return "<$0.01" if exact > 0 else ">-$0.01"
    with localcontext() as context:
        context.prec = 120
        cents = exact.quantize(CENT, rounding=ROUND_HALF_EVEN)
        sign = "-" if cents < 0 else ""
        return f"{sign}${cents.copy_abs():,.2f}"


def signed_usd(value: Any) -> str:
    """As `usd`, with a plus sign for gains."""
    text = usd(value)
    return f"+{text}" if not is_missing(value) and _exact(value) >= CENT else text


def float_usd(value: float | None) -> str:
    """As `usd`, for dollars that statistics count in floats, rounded to whole cents; null and infinite unknown."""
    return UNKNOWN if value is None or not math.isfinite(value) else usd(Decimal(f"{value:.2f}"))


def about_usd(value: Any) -> str:
    """A size in dollars that is only an estimate, to three digits: $12.3M."""
    if is_missing(value):
        return UNKNOWN
    size = float(value)
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(size) >= unit:
            return f"${size / unit:,.3g}{name}" if abs(size) < 1000 * unit else f"${size / unit:,.0f}{name}"
    return f"${size:,.0f}"


def worth_words(worth: Any, by: Any) -> str:
    """What relaxing a limit gains, the same wherever it is told: ~ where it is the shadow price (`worth_by`)."""
    return ("~" if by == "shadow_price" else "") + usd(worth)


def percent(fraction: Any, digits: int = 2) -> str:
    """A fraction as percent: 0.0725 -> 7.25%; null unknown."""
    return UNKNOWN if is_missing(fraction) else f"{float(fraction) * 100:,.{digits}f}%"


def signed_percent(fraction: Any, digits: int = 2) -> str:
    """As `percent`, with a plus sign for gains."""
    return UNKNOWN if is_missing(fraction) else f"{float(fraction) * 100:+,.{digits}f}%"


def points(difference: Any) -> str:
    """What lies between two rates or shares, told with its sign: 0.0725 -> +7.25 points; null unknown."""
    return UNKNOWN if is_missing(difference) else f"{round(float(difference) * 100, 2) + 0.0:+,.2f} points"


def number(value: Any, digits: int = 0) -> str:
    """A plain number with thousands separators; null unknown."""
    return UNKNOWN if is_missing(value) else f"{value:,.{digits}f}"


def token_amount(base_units: Any, decimals: int) -> str:
    """The exact amount of base units as a decimal number: (1234500000, 6) -> 1,234.5. No digit is rounded away."""
    if is_missing(base_units):
        return UNKNOWN
    sign, digits = ("-", -int(base_units)) if int(base_units) < 0 else ("", int(base_units))
    whole, part = divmod(digits, 10**decimals)
    tail = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{sign}{whole:,}" + (f".{tail}" if tail else "")


def about_amount(base_units: Any, decimals: int) -> str:
    """As `token_amount`, rounded half-even to SHOWN_DECIMALS; what is less than the last of them is called so."""
    if is_missing(base_units) or decimals <= SHOWN_DECIMALS:
        return token_amount(base_units, decimals)
    unit = 10 ** (decimals - SHOWN_DECIMALS)
    size, rest = divmod(abs(int(base_units)), unit)
    is_negative = int(base_units) < 0
    if size == 0 and rest:
        return f"{'>-' if is_negative else '<'}{token_amount(1, SHOWN_DECIMALS)}"
    size += 2 * rest > unit or (2 * rest == unit and size % 2)
    return token_amount(-size if is_negative else size, SHOWN_DECIMALS)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no table cell, no HTML, no link, no bare address made one."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_{}\[\]|~#!@])", r"\\\1", escaped)
    escaped = escaped.replace("://", ":\\//")
    escaped = re.sub(r"(?i)www\.", lambda found: f"{found[0][:3]}\\.", escaped)
    # Only at the start of a line do these make a list, a heading or a rule.
    return re.sub(r"^(\d*)([-+=]|[.)](?=\s|$))", r"\1\\\2", escaped)


def escape_slack(text: str) -> str:
    """Text that Slack shows as it is (its three control characters)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _exact(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise TypeError(f"money in print is Decimal or int, not {type(value).__name__}: {value!r}")
