"""The fields of a list's row, for people who fill in a form: what may be said of a row, and a value as it is typed.

Lives here: fields by kind of row, read from the schema, and their values from text. Not here: the schema (files.py),
which kinds there are and what a change does (changes.py), parameters (parameters.py).
"""

import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from defiyield_assets.config.changes import KINDS
from defiyield_assets.config.files import (
    BarredEntry,
    IceboxOverrideEntry,
    PoolAliasEntry,
    PoolOverrideEntry,
    ProtocolEntry,
    TokenEntry,
)
from defiyield_assets.errors import ConfigurationError

MODELS: Mapping[str, type[BaseModel]] = {
    "token": TokenEntry,
    "blacklist": BarredEntry,
    "protocol": ProtocolEntry,
    "override": PoolOverrideEntry,
    "icebox": IceboxOverrideEntry,
    "alias": PoolAliasEntry,
}
"""Kind of row -> its schema; an alias of a protocol is a name and another one."""
OF_THE_CHANGE = frozenset({"chain", "source", "reason"})
"""Fields that a change fills in by itself, or asks for in its own place."""
LABELS = {
    "address": "address",
    "slug": "protocol, as DeFiLlama spells it in addresses",
    "old": "older slug",
    "new": "slug of today",
    "pool_id": "pool id",
    "old_id": "old pool id",
    "new_id": "new pool id",
}
"""What names a row -> how it is asked for."""
LAST_DAY = "last day that counts; empty: no end"
"""Said of the field that ends a row, where a row may be written with its end."""
Sort = Literal["text", "whole", "number", "switch", "texts", "numbers", "day", "choice"]


@dataclass(frozen=True)
class RowField:
    """One field of a row: its sort, whether it has to be said, what counts where it is not, its choices, and `words`
    on what it means where the name does not tell."""

    name: str
    sort: Sort
    is_required: bool
    default: str
    choices: tuple[str, ...] = ()
    words: str = ""


@cache
def fields_of(kind: str) -> tuple[RowField, ...]:
    """The fields of a kind of row besides those that name it, and besides its days; of a row that may say up front how
    long it counts, its last one is among them."""
    place, model = KINDS[kind], MODELS.get(kind)
    if model is None:
        return ()
    left_out = {*place.keys, place.first, *OF_THE_CHANGE} | (set() if place.last_counts else {place.end})
    found = [_field(name, info) for name, info in model.model_fields.items() if name not in left_out]
    return tuple(replace(one, words=LAST_DAY) if one.name == place.end else one for one in found)


def typed_fields(kind: str, told: Mapping[str, str]) -> dict[str, Any]:
    """The values that somebody typed, of the types that the file holds; what is empty is left out.

    ConfigurationError saying what would be right.
    """
    found = {}
    for one in fields_of(kind):
        text = told.get(one.name, "").strip()
        if text:
            found[one.name] = _typed(one, text)
        elif one.is_required:
            raise ConfigurationError(f"{one.name} is missing and has to be given")
    return found


def _field(name: str, info: Any) -> RowField:
    sort, choices = _sort(info.annotation)
    default = "" if info.default in (None, PydanticUndefined, "", ()) else str(info.default)
    return RowField(name, sort, info.is_required(), default.lower() if sort == "switch" else default, choices)


def _sort(annotation: Any) -> tuple[Sort, tuple[str, ...]]:
    """What a value of the type is to whoever types it; of a choice also the choices."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _sort(arguments[0])
    if origin in (Union, types.UnionType):
        return _sort(next(item for item in arguments if item is not type(None)))
    if origin is Literal:
        return "choice", tuple(str(item) for item in arguments)
    if origin is tuple:
        return ("numbers" if _sort(arguments[0])[0] == "number" else "texts"), ()
    sorts: Mapping[Any, Sort] = {bool: "switch", int: "whole", float: "number", date: "day"}
    sort = sorts.get(annotation, "text")
    return sort, ("true", "false") if sort == "switch" else ()


def _typed(one: RowField, text: str) -> Any:
    try:
        if one.sort == "day":
            return date.fromisoformat(text)
        if one.sort in ("choice", "switch"):
            return _chosen(one, text)
        if one.sort in ("texts", "numbers"):
            parts = [part for part in re.split(r"[\s,]+", text) if part]
            return [_number(part) for part in parts] if one.sort == "numbers" else parts
        if one.sort == "number":
            return _number(text)
        return int(text) if one.sort == "whole" else text
    except ValueError:
        right = {"whole": "a whole number", "number": "a number", "numbers": "numbers between commas"}
        would_be = right.get(one.sort, "a day such as 2025-06-03" if one.sort == "day" else " or ".join(one.choices))
        raise ConfigurationError(f"{one.name}: {text!r:.80} is not {would_be}") from None


def _number(text: str) -> float:
    """ValueError for `nan` and `inf`, too: no row counts with these."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _chosen(one: RowField, text: str) -> Any:
    if text not in one.choices:
        raise ValueError(text)
    return text == "true" if one.sort == "switch" else text
