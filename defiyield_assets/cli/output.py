"""What every command writes to: one JSON document under `--json`, a terminal otherwise, one line for an error.

Lives here: values as JSON, the console and what becomes of a reader that went away. Not here: what a command tells (its
own module), options (parsers.py) or exit codes of usage errors (main.py).
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

BASE_UNITS = frozenset(
    {
        *("amount", "amount_before", "amount_in", "amount_out", "balance", "eth_balance_wei"),
        *("gas_price_wei", "gas_used", "shares", "underlying_amount"),
    }
)
"""Fields that hold amounts in base units: always strings, so that a field has one type whatever its size."""
MOST_EXACT = 2**53
"""Integers beyond it lose digits in programs whose numbers are all floats, such as JavaScript and jq."""
CLOSED_PIPE = 141
"""Exit code when whoever read our output stopped reading: what a shell tells of a process that SIGPIPE ended."""


_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys instead of showing: names of tokens and titles of news may hold any of them."""


class Terminal(Console):
    """A console of plain words: nothing is highlighted by itself, what strangers wrote commands no terminal, and it
    leaves quietly when its reader went away."""

    def __init__(self, *, is_error: bool = False) -> None:
        super().__init__(stderr=is_error, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is drawn, with U+FFFD for each character that would be a command; colours are no characters."""
        for segment in super().render(renderable, options):
            if segment.control is None and _COMMANDS.search(segment.text):
                yield Segment(_COMMANDS.sub("\ufffd", segment.text), segment.style)
            else:
                yield segment

    def on_broken_pipe(self) -> NoReturn:
        """Rich would exit with 1, which means that something failed."""
        leave_closed_pipe()


def leave_closed_pipe() -> NoReturn:
    """End the process as one whose reader went away; nothing more is written, not even at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            with suppress(OSError, ValueError):  # a stream that is no file has nothing that could be written at exit
                os.dup2(nowhere, stream.fileno())
    raise SystemExit(CLOSED_PIPE)


def json_ready(value: Any) -> Any:
    """A value as JSON knows it.

    Decimals, amounts in base units and integers above 2**53 are strings, days and times are ISO 8601,
    what is unknown is null; frames are lists of rows. TypeError for what has no agreed form, such as a secret.
    """
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return json_ready(value.value)
    if isinstance(value, int):
        return str(value) if abs(value) > MOST_EXACT else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else None
    if isinstance(value, datetime | date | time):
        return None if _is_missing(value) else value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(json_ready(key)): _field(key, one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((json_ready(one) for one in value), key=str)
    if isinstance(value, list | tuple):
        return [json_ready(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _field(one.name, getattr(value, one.name)) for one in fields(value)}
    return _foreign(value)


def _field(name: Any, value: Any) -> Any:
    """The value of a named field."""
    is_amount = name in BASE_UNITS and isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_amount else json_ready(value)


def _is_missing(value: Any) -> bool:
    """Whether it is pandas' NaT, which passes for a time; it alone of all times is not equal to itself."""
    return bool(value != value)  # noqa: PLR0124


def _foreign(value: Any) -> Any:
    """Values of pandas and numpy, told by what they can do: importing these two takes longer than most commands."""
    home = type(value).__module__.split(".", 1)[0]
    if home == "pandas" and hasattr(value, "columns"):
        return [json_ready(row) for row in value.astype(object).to_dict("records")]
    if home == "pandas" and hasattr(value, "to_list"):
        return json_ready(value.to_list())
    if home == "pandas" and _is_unknown(value):
        return None
    if home == "numpy" and hasattr(value, "tolist"):
        return json_ready(value.tolist())
    raise TypeError(f"{type(value).__name__} has no agreed form in JSON")


def _is_unknown(value: Any) -> bool:
    return type(value).__name__ in ("NaTType", "NAType")


def write_json(document: Any, *, is_line: bool = False) -> None:
    """The document on standard output; `is_line` writes it into one line, for streams of several."""
    text = json.dumps(json_ready(document), indent=None if is_line else 1, sort_keys=False, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_error(error: BaseException, *, is_json: bool, name: str = "") -> None:
    """One line on standard error; under `--json` also one object on standard output."""
    told = name or type(error).__name__
    words = " ".join(str(error).split())
    if is_json:
        write_json({"error": {"type": told, "message": words}})
    errors = Terminal(is_error=True)
    errors.print("[bold red]error:[/]", f"{told}: ", end="", markup=True)
    errors.print(words, markup=False, soft_wrap=True)
