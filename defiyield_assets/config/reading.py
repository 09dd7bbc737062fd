"""Reading one YAML file: the user's or the shipped one, checked, with the line of every key for the error messages.

Lives here: files, schema errors in words. Not here: what files there are and their shape (files.py), cross checks of
the policy (loader.py) or of instruments (instruments.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from defiyield_assets.config.files import in_full, known_keys
from defiyield_assets.errors import ConfigurationError

SHIPPED = Path(__file__).parent
MOST_BYTES = 4 * 2**20
"""What a file may hold; the longest that is shipped has 7 kB."""
MOST_KEYS = 100_000
"""Keys and items of a file with its aliases written out; more is no configuration but a bomb."""
MOST_ERRORS = 10
"""Errors that one message names; the rest is counted."""
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """One file as read: its content, and on which line each key stands."""

    path: Path
    data: Any
    lines: Mapping[Path_, int]

    def at(self, location: Path_) -> str:
        """File and line of a key, or of the nearest key above it."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return f"{self.path}:{self.lines[location[:end]]}"
        return str(self.path)


def read_file(name: str, folder: Path | None) -> Source:
    """The user's file of that name, or the shipped one."""
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"configuration folder {folder} does not exist; create it or leave the setting out")
    path = folder / name if folder is not None and (folder / name).is_file() else SHIPPED / name
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigurationError(f"{path}: larger than {MOST_BYTES // 2**20} MiB, which no configuration is")
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OSError) as error:  # ValueError: a day that no calendar has, bytes of no text
        raise ConfigurationError(f"{path}: cannot be read as YAML: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"{path}: is nested too deeply to be a configuration") from None
    lines: dict[Path_, int] = {}
    if node is not None:
        try:
            _locate(node, (), lines, path)
        except RecursionError as error:
            raise ConfigurationError(f"{path}: an alias (*name) holds itself; write out what is meant") from error
    return Source(path, {} if data is None else data, lines)


def _locate(node: yaml.Node, location: Path_, lines: dict[Path_, int], path: Path) -> None:
    """Remember the line of every key; a key that is there twice is refused, because YAML silently keeps the last."""
    lines.setdefault(location, node.start_mark.line + 1)
    if len(lines) > MOST_KEYS:
        raise ConfigurationError(f"{path}: more than {MOST_KEYS:,} keys with its aliases (*name) written out")
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, str(key.value))
            if inner in lines:
                raise ConfigurationError(
                    f"{path}:{key.start_mark.line + 1}: {dotted(inner)} is there twice "
                    f"(first on line {lines[inner]}); keep one"
                )
            lines[inner] = key.start_mark.line + 1
            _locate(value, inner, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _locate(item, (*location, index), lines, path)


def validate(source: Source, adapter: TypeAdapter[Any]) -> Any:
    """The typed content of a file; strict, because 'yes' is no number."""
    content = in_full(source.path.name, source.data)
    try:
        text = json.dumps(content, default=_written)
    except (TypeError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ConfigurationError(
            f"{source.path}: holds a value of another kind than text, number or date: {error}"
        ) from error
    try:
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [_words(source, item) for item in found if not _is_emptied(item, found)]
        raise ConfigurationError(listed(problems)) from error


def _is_emptied(error: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Whether a list is called too short only because its items are wrong, which is said already."""
    at = error["loc"]
    is_within = (len(item["loc"]) > len(at) and item["loc"][: len(at)] == at for item in others)
    return error["type"] == "too_short" and any(is_within)


def _written(value: object) -> str:
    """Dates of YAML as JSON; nothing else has a spelling there."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} {value!r:.40}")


def _words(source: Source, error: ErrorDetails) -> str:
    """One validation error as file, line, key, what is wrong and what would be right."""
    location = error["loc"]
    where = f"{source.at(location)}: {dotted(location) or 'the file'}"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = known_keys(source.path.name, location[:-1])
        near = get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(names))}"
        return f"{where} is not a known key; {hint}"
    if error["type"] == "missing":
        return f"{where} is missing and has to be given"
    message = error["msg"].removeprefix("Value error, ")
    shown = repr(error.get("input"))
    return f"{where} is {shown if len(shown) <= 80 else shown[:77] + '…'}: {message[0].lower()}{message[1:]}"


def dotted(location: Sequence[str | int]) -> str:
    """policy.pool_overrides[2].role for ('policy', 'pool_overrides', 2, 'role')."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def listed(problems: Sequence[str]) -> str:
    more = [f"… and {len(problems) - MOST_ERRORS} more"] if len(problems) > MOST_ERRORS else []
    return "\n".join([*problems[:MOST_ERRORS], *more])
