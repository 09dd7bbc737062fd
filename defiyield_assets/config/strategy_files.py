"""Reading strategies: one YAML file each, the user's and the shipped, every error with file, line and nearest name.

Lives here: `load_strategies`. Not here: the language (domain/strategies/language.py), its checks
(domain/strategies/checking.py), the reading of YAML with lines (reading.py).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.models import load_models
from defiyield_assets.config.reading import SHIPPED, Source, dotted, listed, read_file
from defiyield_assets.domain.prices.instruments import STABLECOINS
from defiyield_assets.domain.strategies.checking import Known, Problem, problems
from defiyield_assets.domain.strategies.columns import SCENARIO_WARM_UP, known_columns, nearest
from defiyield_assets.domain.strategies.conditions import Operator
from defiyield_assets.domain.strategies.language import KINDS, SIZINGS, CompositeStrategy, StrategyFile, StrategySpec
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.errors import ConfigurationError

FOLDER = "strategies"
_ADAPTER: TypeAdapter[StrategySpec] = TypeAdapter(StrategyFile)


def load_strategies(
    folder: Path | None = None,
    *,
    signal_types: Collection[str] | None = None,
    warm_up: int = SCENARIO_WARM_UP,
) -> dict[str, Strategy]:
    """Every strategy by its id: the shipped ones, and those of `folder`/strategies, which win over a shipped id.

    `signal_types`: external signals that there are, None: those of models.yaml. `warm_up`: bars before a scenario's
    first scored one. Raises ConfigurationError naming file, line, what is wrong and the nearest known name, of all
    files together.
    """
    files: dict[str, Path | None] = dict.fromkeys(_names_in(SHIPPED))
    if folder is not None:
        files |= dict.fromkeys(_names_in(folder), folder)
    read, found = {}, []
    for name, place in files.items():
        try:
            source = read_file(f"{FOLDER}/{name}", place)
            read[name] = (source, parsed(source))
        except ConfigurationError as error:
            found.append(str(error))
    found += _repeated(list(read.values()))
    there = load_models(folder).names() if signal_types is None else frozenset(signal_types)
    ids = frozenset(spec.id for _, spec in read.values())
    known = Known(known_columns(), ids, there, warm_up)
    universes = known_universes(folder) if read else frozenset()
    for source, spec in read.values():
        found += told_problems(source, spec, known, universes)
    if found:
        raise ConfigurationError(listed(found))
    return _assembled({spec.id: (source, spec) for source, spec in read.values()})


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / FOLDER).glob("*.yaml"))


def known_universes(folder: Path | None) -> frozenset[str]:
    """Universes that a strategy may name: those of instruments.yaml, and the tokens' own."""
    return frozenset({*(one.universe for one in load_instruments(folder).instruments), STABLECOINS})


def told_problems(source: Source, spec: StrategySpec, known: Known, universes: Collection[str]) -> list[str]:
    """Everything that is wrong with a parsed strategy, each with file, line and what would be right."""
    found = problems(spec, known)
    if spec.universe not in universes:
        told = f"no instrument belongs to {spec.universe!r}; {nearest(spec.universe, universes)}"
        found = [Problem(("universe",), told), *found]
    return [f"{source.at(one.location)}: {dotted(one.location)}: {one.message}" for one in found]


def parsed(source: Source) -> StrategySpec:
    """The typed content of a strategy's file; strict, because 'yes' is no number."""
    _require_plain(source)
    try:
        text = json.dumps(source.data)
    except (TypeError, ValueError) as error:
        message = f"{source.path}: holds a value of another kind than text or number: {error}"
        raise ConfigurationError(message) from error
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        shown = [one for one in found if one["type"] != "too_short" or len(found) == 1]
        raise ConfigurationError(listed([_words(source, one) for one in shown])) from error


def _require_plain(source: Source) -> None:
    """ConfigurationError for what JSON does not have: dates and the like, and aliases, which can be a whole bomb."""
    seen: set[int] = set()
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), source.data)]
    for place, value in waiting:  # grows on the way, so that what stands first is seen first
        if isinstance(value, dict | list):
            if id(value) in seen:
                told = f"{source.at(place)}: {dotted(place) or 'the file'} is an alias (*name); write it out"
                raise ConfigurationError(told)
            seen.add(id(value))
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*place, key if isinstance(key, int) else str(key)), one) for key, one in inner]
        elif not isinstance(value, str | int | float | None):
            kind = type(value).__name__
            raise ConfigurationError(
                f"{source.at(place)}: {dotted(place)} is a {kind}, {value!s:.40}, which no key takes; write a number, "
                f"or text in quotes"
            )


def _assembled(read: Mapping[str, tuple[Source, StrategySpec]]) -> dict[str, Strategy]:
    """Strategies with their members; a composite of composites that comes back to itself is refused."""
    done: dict[str, Strategy] = {}

    def build(name: str, above: tuple[str, ...]) -> Strategy:
        if name in above:
            source = read[above[-1]][0]
            raise ConfigurationError(f"{source.at(('members',))}: members form a ring: {' -> '.join([*above, name])}")
        if name not in done:
            spec = read[name][1]
            members = spec.members if isinstance(spec, CompositeStrategy) else ()
            done[name] = Strategy(spec, tuple(build(one.strategy, (*above, name)) for one in members))
        return done[name]

    return {name: build(name, ()) for name in sorted(read)}


def _repeated(read: Sequence[tuple[Source, StrategySpec]]) -> list[str]:
    first: dict[str, Source] = {}
    found = []
    for source, spec in read:
        before = first.setdefault(spec.id, source)
        if before is not source:
            found.append(f"{source.at(('id',))}: id {spec.id!r} is that of {before.path}; an id belongs to one file")
    return found


# --- words ---------------------------------------------------------------------------------------------------------
def _words(source: Source, error: ErrorDetails) -> str:
    """One validation error as file, line, key, what is wrong and what would be right."""
    tagged = error["loc"]
    location = _plain(tagged)
    where = f"{source.at(location)}: {dotted(location) or 'the file'}"
    if error["type"] == "extra_forbidden":
        names = _keys(tagged[:-1])
        return f"{where} is not a known key; {nearest(str(location[-1]), names)}"
    if error["type"] == "missing":
        return f"{where} is missing and has to be given"
    given = error.get("input")
    if error["type"] == "unknown_kind" and isinstance(given, dict):
        return _kind_hint(source, location, given, error["msg"])
    message = error["msg"].removeprefix("Value error, ")
    hint = ""
    if error["type"] == "literal_error" and isinstance(given, str):
        choices = [str(one) for one in get_args(Operator)] if location[-1] == "op" else _choices(error)
        near = get_close_matches(given, choices, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = json.dumps(given, default=str)
    shown = shown if len(shown) <= 80 else shown[:77] + "…"
    return f"{where} is {shown}: {message[0].lower()}{message[1:]}{hint}"


def _kind_hint(source: Source, location: tuple[str | int, ...], given: Mapping[str, Any], message: str) -> str:
    """What an unknown type, sizing, stop or target may have meant."""
    for key, names in (("type", tuple(KINDS)), ("method", SIZINGS)):
        if key in given and f"needs {key}:" in message:
            at = (*location, key)
            told = f"{dotted(at)} is {given[key]!r}, which there is not; {nearest(str(given[key]), names)}"
            return f"{source.at(at)}: {told}"
    keys = ", ".join(map(str, given)) or "none"
    return f"{source.at(location)}: {dotted(location) or 'the file'} has the keys {keys}: {message}"


def _choices(error: ErrorDetails) -> list[str]:
    text = str(error.get("ctx", {}).get("expected", ""))
    return [part.strip(" '") for part in text.replace(" or ", ",").split(",")]


def _plain(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """A place without the tags of unions, as it is in the file."""
    return tuple(part for part in location if not (isinstance(part, str) and part.startswith("<")))


def _keys(location: Sequence[str | int]) -> list[str]:
    """The keys that may stand at a place given with the tags of unions."""
    node: Any = StrategyFile
    for part in location:
        node = _inside(node, part)
    models = [one for one in _members(node) if isinstance(one, type) and issubclass(one, BaseModel)]
    return sorted({key for model in models for key in model.model_fields})


def _inside(node: Any, part: str | int) -> Any:
    """What stands below a place: the member of a union by its tag, a field by its name, an item by its number."""
    if isinstance(part, str) and part.startswith("<"):
        return next((one for one in _members(node, part) if one is not None), Any)
    for one in _members(node):
        if isinstance(part, str) and isinstance(one, type) and issubclass(one, BaseModel):
            field = one.model_fields.get(part)
            if field is not None:
                return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        if get_origin(one) is tuple and isinstance(part, int):
            return get_args(one)[0]
        if get_origin(one) is dict and isinstance(part, str):
            return get_args(one)[1]
    return Any


def _members(node: Any, tag: str | None = None) -> list[Any]:
    """The types that a union holds, those of a tag only where one is given."""
    if get_origin(node) is Annotated:
        inner, *marks = get_args(node)
        tags = [mark.tag for mark in marks if isinstance(mark, Tag)]
        if tags:
            return [inner] if tag in (None, tags[0]) else []
        return _members(inner, tag)
    if get_origin(node) in (Union, UnionType):
        return [one for part in get_args(node) for one in _members(part, tag)]
    return [] if tag is not None else [node]
