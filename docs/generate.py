"""The reference pages, written from the code: tables, parameters, metrics, command line, configuration.

Lives here: walking what the package declares, and the Markdown of it. Not here: pages that somebody wrote, or Sphinx
(conf.py). The same code gives the same bytes; the pages are built, never committed. Alone: `python docs/generate.py`.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from enum import Enum
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from sqlalchemy import Table

from defiyield_assets.cli.main import build_parser
from defiyield_assets.cli.parsers import SHARED
from defiyield_assets.config import (  # the last three add their files to those of `files`
    files,
    news_lexicon,  # noqa: F401
    paper,  # noqa: F401
    scenarios,  # noqa: F401
)
from defiyield_assets.config.parameters import shipped_words
from defiyield_assets.domain.market.features.catalogue import catalogue
from defiyield_assets.observability.families import by_subject
from defiyield_assets.settings import KEY_VARIABLES, Settings
from defiyield_assets.store import schema
from defiyield_assets.store.units import unit_of
from defiyield_assets.store.validation import column_type

TYPES = {
    "base units": "integer",
    "bool": "yes or no",
    "bytes": "bytes",
    "date": "day",
    "decimal": "exact decimal",
    "float": "number",
    "int": "integer",
    "long": "integer",
    "text": "text",
    "timestamp": "time",
}
"""What a reader calls the types of store/validation.py."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "isin": "one of"}
WORDS = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "date": "day", "Path": "path"}
FIRST_LINE = "This page is generated from the code when the site is built ({where}).\n"


def pages() -> dict[str, str]:
    """The file name and text of every reference page."""
    return {
        "cli.md": command_line_page(),
        "configuration.md": configuration_page(),
        "metrics.md": catalogue(),
        "operations.md": operations_page(),
        "parameters.md": parameters_page(),
        "tables.md": tables_page(),
    }


def write_reference(folder: Path) -> None:
    """Write the pages that differ from what is there, so that a second build has nothing to do."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def rows_of(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    lines = [list(header), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def plain(text: str) -> str:
    """Words that may hold `<`, `*` or `_`, as they are; what stands between backticks is left alone."""
    return re.sub(r"`[^`]+`|[<*_\[\]]", lambda found: found[0] if found[0][0] == "`" else f"\\{found[0]}", text)


def code(text: str) -> str:
    """Words that are typed; nothing where there are none."""
    return f"`{text}`" if text else ""


# --- tables --------------------------------------------------------------------------------------------------------


def tables_page() -> str:
    """Every table of the warehouse with its columns, grouped as the modules of store/schema are."""
    parts = [
        "# Tables\n",
        FIRST_LINE.format(where="`defiyield_assets/store/schema`"),
        "Rates and shares are fractions (0.05 is 5 %), amounts of tokens are integers in base units, days and times "
        "are UTC. "
        "Empty under *null*: the column is never null; elsewhere null means unknown. *key*: part of the primary key. "
        "No unit: text, days, and numbers that only name or order something.\n",
    ]
    for subject, module, tables in _subjects():
        told = (module.__doc__ or "").strip().splitlines()[0].rstrip(".")
        parts.append(f"## {subject.capitalize()}\n\n{plain(told)}.\n")
        parts.extend(_table(table) for table in tables)
    return "\n".join(parts)


def _subjects() -> Iterator[tuple[str, Any, list[Table]]]:
    known = set(schema.metadata.tables.values())
    for found in sorted(iter_modules(schema.__path__), key=lambda item: item.name):
        module = import_module(f"{schema.__name__}.{found.name}")
        tables = [value for value in vars(module).values() if isinstance(value, Table) and value in known]
        own = list(dict.fromkeys(tables))
        known -= set(own)
        if own:
            yield found.name, module, own
    if known:
        raise LookupError(f"tables of no module of the schema: {sorted(table.name for table in known)}")


def _table(table: Table) -> str:
    day = table.info.get("day")
    dated = f" One slice a day: `{day}` is the partition." if day else ""
    rows = [
        (
            code(column.name),
            TYPES[column_type(column)],
            unit_of(column) or "",
            "key" if column.primary_key else "",
            "null" if column.nullable else "",
            plain(column.comment or ""),
            bounds_of(column.info),
        )
        for column in table.columns
    ]
    listed = rows_of(("column", "type", "unit", "key", "null", "what it holds", "limits"), rows)
    return f"### {table.name}\n\n{plain(table.comment or '')}.{dated}\n\n{listed}"


def bounds_of(info: Any) -> str:
    """Limits of a column that the schema checks."""
    told = []
    for name, sign in BOUNDS.items():
        if name in info:
            value = info[name]
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple, set, frozenset)) else f"{value:g}"
            told.append(f"{sign} {shown}")
    return plain(", ".join(told))


# --- parameters ----------------------------------------------------------------------------------------------------


def parameters_page() -> str:
    """Every parameter of the policy: default, limits and what the shipped file says of it."""
    parts = [
        "# Parameters of the policy\n",
        FIRST_LINE.format(
            where="`config/policy.yaml` for words, `config/files.py` for limits, `domain/policy.py` for defaults"
        ),
        "Shares and rates are fractions, never percent. A value outside its limits stops the load and is named with "
        "file, line and key. `defiyield config show` tells what is in force.\n",
    ]
    told = shipped_words()
    for section, names in _sections(told).items():
        rows = [(code(name), code(_shown(default)), limits, plain(words)) for name, default, limits, words in names]
        parts += [
            f"## {section[:1].upper()}{section[1:]}\n",
            rows_of(("parameter", "default", "limits", "what it means"), rows),
        ]
    return "\n".join(parts)


def _sections(told: dict[str, tuple[str, str]]) -> dict[str, list[tuple[str, Any, str, str]]]:
    found: dict[str, list[tuple[str, Any, str, str]]] = {}
    entry: type[BaseModel] = files.ParametersEntry
    for name, (section, words) in told.items():
        if name in entry.model_fields and "." not in name:
            field = entry.model_fields[name]
            default = field.get_default(call_default_factory=True)
            if isinstance(default, BaseModel):
                continue  # its own fields follow
            found.setdefault(section, []).append((name, default, _limits(field), words))
        elif "." in name:
            parent, child = name.split(".", 1)
            model = type(entry.model_fields[parent].get_default(call_default_factory=True))
            if not issubclass(model, BaseModel):
                continue
            field = model.model_fields[child]
            found.setdefault(section, []).append(
                (name, field.get_default(), _limits(field), words or "gas of one such transaction")
            )
    missing = set(entry.model_fields) - {name.split(".")[0] for name in told}
    if missing:
        raise LookupError(f"parameters that policy.yaml does not name: {sorted(missing)}")
    return found


def _limits(field: Any) -> str:
    return "; ".join(filter(None, (_type_words(field.annotation), _constraints(field.metadata))))


def _constraints(metadata: Iterable[Any]) -> str:
    told = []
    for item in metadata:
        if item is None:
            continue
        for name, sign in BOUNDS.items():
            value = getattr(item, name, None)
            if isinstance(value, (int, float, date)) and not isinstance(value, bool):
                told.append(f"{sign} {value}")
        for name, words in (("min_length", "at least {} long"), ("max_length", "at most {} long")):
            if isinstance(value := getattr(item, name, None), int):
                told.append(words.format(value))
        if isinstance(pattern := getattr(item, "pattern", None), str):
            told.append(f"like `{pattern}`")
    return ", ".join(dict.fromkeys(told))


def _type_words(annotation: Any) -> str:
    """A type as a reader of YAML would call it."""
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        inner, limits = _type_words(arguments[0]), _constraints(arguments[1:])
        return f"{inner} {limits}".strip()
    if origin is Literal:
        return " or ".join(str(item) for item in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type_words(item) for item in arguments if item is not type(None))
    if origin in (list, tuple, set, frozenset):
        kinds = list(dict.fromkeys(_type_words(item) for item in arguments if item is not Ellipsis))
        number = f"{len(arguments)} " if origin is tuple and Ellipsis not in arguments and len(arguments) > 1 else ""
        return f"list of {number}{' / '.join(kinds)}"
    if origin is dict:
        return f"mapping of {_type_words(arguments[0])} to {_type_words(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(item.value) for item in annotation)
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return "secret"
    name = getattr(annotation, "__name__", str(annotation))
    return WORDS.get(name, name)


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


# --- configuration -------------------------------------------------------------------------------------------------


def configuration_page() -> str:
    """Every setting with its environment variable, and the keys of every configuration file."""
    variables = dict(KEY_VARIABLES.values())
    rows = []
    for name, field in Settings.model_fields.items():
        variable = f"DEFIYIELD_{name.upper()}"
        default = field.get_default(call_default_factory=True)
        shown = "" if isinstance(default, dict) and not default else _shown(default)
        words = field.description or variables.get(variable, "")
        rows.append((code(variable), _limits(field), code(shown), plain(words)))
    parts = [
        "# Configuration\n",
        FIRST_LINE.format(where="`defiyield_assets/settings.py` and `config/files.py`"),
        "Options of a command win over the environment. `defiyield config show` prints what is in force and where it "
        "came from, with secrets masked; `defiyield config validate` checks files and variables.\n",
        "## Environment variables\n",
        rows_of(("variable", "type and limits", "default", "what it does"), rows),
        "A secret (and `DEFIYIELD_DATABASE_URL`, which may hold a password) can be given as a file instead: "
        "`DEFIYIELD_<NAME>_FILE` names it ([own keys](../how-to/own-keys.md)).\n",
        "Dagster reads `DAGSTER_HOME` (the folder of `dagster.yaml`; the commands set it to the checkout when it is "
        "unset).\n",
        "## Files of the configuration folder\n",
        "A file in `DEFIYIELD_CONFIG_DIR` (without one, in the folder `config` of the state folder) replaces the "
        "shipped file of that name; the others stay as shipped.\n",
    ]
    for file, model in sorted(files.MODELS.items()):
        models = list(_models(model))
        parts.append(f"### {file}\n")
        for number, part in enumerate(models):
            told = (part.__doc__ or "").strip().split("\n\n")[0]
            own = "" if told == f"{file}." else re.sub(r"\s+", " ", told)
            head = "" if number == 0 else f"An entry of the kind *{_kind(part)}*. "
            if head or own:
                parts.append(f"{head}{plain(own)}\n")
            parts.append(rows_of(("key", "type and limits", "default"), _keys(part)))
    return "\n".join(parts)


def _kind(model: type[BaseModel]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Entry")).lower()


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True)
        shown = "" if isinstance(default, BaseModel) or default in ((), [], {}) else _shown(default)
        yield code(field.alias or name), _kinds(field), "required" if required else code(shown)


def _kinds(field: Any) -> str:
    told = _limits(field)
    return re.sub(r"\b([A-Z][A-Za-z]*)Entry\b", lambda found: f"*{_words(found[1])}*", plain(told).replace("\\_", "_"))


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _models(annotation: Any, seen: set[Any] | None = None) -> Iterator[type[BaseModel]]:
    """The models of a file, each once, outermost first; parameters have a page of their own."""
    seen = set() if seen is None else seen
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen or annotation is files.ParametersEntry:
            return
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation, seen)
    for part in get_args(annotation):
        yield from _models(part, seen)


# --- figures of operation ------------------------------------------------------------------------------------------


def operations_page() -> str:
    """Every figure that the metrics endpoint has, with its labels."""
    parts = [
        "# Figures of operation\n",
        FIRST_LINE.format(where="`defiyield_assets/observability/families.py`"),
        "What `defiyield metrics serve` tells Prometheus ([how to](../how-to/observe.md)). All are gauges; instants "
        "are seconds since 1970, fractions are fractions. A figure without a value now is absent.\n",
    ]
    for subject, families in by_subject().items():
        rows = [(code(one.full_name), code(", ".join(one.labels)), f"{plain(one.help)}.") for one in families]
        parts += [f"## {subject}\n", rows_of(("figure", "labels", "what it tells"), rows)]
    return "\n".join(parts)


# --- command line --------------------------------------------------------------------------------------------------


def command_line_page() -> str:
    """Every command with its arguments, walked from the parser itself."""
    parser = build_parser()
    parts = ["# Command line\n", FIRST_LINE.format(where="the parser of `defiyield_assets/cli`")]
    shared = next(iter(_shared(command) for _, command, _ in commands(parser) if _shared(command)), [])
    for path, command, words in commands(parser):
        parts.append(_command(path, command, words))
        if command is parser:
            parts += [f"## {SHARED[:1].upper()}{SHARED[1:]}\n", _arguments(shared, parser)]
    return "\n".join(parts)


def _shared(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Options that a command has because every command has them."""
    return [action for group in parser._action_groups if group.title == SHARED for action in group._group_actions]


def commands(
    parser: argparse.ArgumentParser, path: str = "", words: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Every parser of the command line with its full name and the line that the list of commands has of it."""
    path = path or parser.prog
    yield path, parser, words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            seen = set()
            for name, below in action.choices.items():
                if id(below) not in seen:  # an alias names the same parser
                    seen.add(id(below))
                    yield from commands(below, f"{path} {name}", told.get(name, ""))


def _command(path: str, parser: argparse.ArgumentParser, words: str) -> str:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    description = parser.description or words
    parts = [f"{'#' * min(2 + (len(path.split()) > 2), 4)} {path}\n", plain(_sentence(description)) + "\n"]
    actions = [action for action in parser._actions if action not in below and action.help != argparse.SUPPRESS]
    own = {id(action) for action in _shared(parser)}
    actions = [action for action in actions if not isinstance(action, argparse._HelpAction) and id(action) not in own]
    parts.append(f"```text\n{_usage(path, actions, below)}\n```\n")
    if actions:
        parts.append(_arguments(actions, parser))
    if parser.epilog:
        parts.append(f"```text\n{parser.epilog.replace('%(prog)s', path).strip()}\n```\n")
    return "\n".join(parts)


def _arguments(actions: list[argparse.Action], parser: argparse.ArgumentParser) -> str:
    rows = [(_name(action), plain(_help(action, parser))) for action in actions]
    return rows_of(("argument", "what it does"), rows)


def _sentence(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    return text[:1].upper() + text[1:] + ("" if not text or text.endswith((".", "?", "!")) else ".")


def _usage(path: str, actions: list[argparse.Action], below: list[Any]) -> str:
    shown = [path]
    for action in sorted(actions, key=lambda item: not item.option_strings):
        word = _value(action)
        text = f"{action.option_strings[-1]} {word}".strip() if action.option_strings else word
        shown.append(text if action.required and action.nargs not in ("?", "*") else f"[{text}]")
    if below:
        shown.append("COMMAND ..." if below[0].required else "[COMMAND ...]")
    return " ".join(shown)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        word = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    elif action.choices is not None:
        word = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        word = action.dest.upper() if action.option_strings else action.dest
    return f"{word} ..." if action.nargs in ("+", "*") else word


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return code(_value(action))
    return ", ".join(code(f"{option} {_value(action)}".strip()) for option in action.option_strings)


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    facts = {**vars(action), "prog": parser.prog}
    if action.choices is not None:
        facts["choices"] = ", ".join(map(str, action.choices))
    told = (action.help or "") % facts
    if (
        action.choices is not None
        and action.metavar is not None
        and not any(str(item) in told for item in action.choices)
    ):
        told = f"{told} ({', '.join(map(str, action.choices))})"
    return told


if __name__ == "__main__":
    write_reference(Path(__file__).resolve().parent / "reference")
    sys.stdout.write("docs/reference is written\n")
