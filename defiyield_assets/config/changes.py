"""Changing the policy: a row of a list added or ended, a parameter set.

Lives here: which list a kind of row stands in, and what a change makes of a file's text. Not here: how YAML is changed
as text (editing.py), the check of the whole and replacing files (changed_files.py), versions of the policy
(versions.py), what parameters mean (parameters.py), commands (cli/).
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import yaml

from defiyield_assets.config import editing
from defiyield_assets.config.files import NATIVE_TOKEN, in_full
from defiyield_assets.errors import ConfigurationError

SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""A protocol as DeFiLlama names it in addresses."""


@dataclass(frozen=True)
class Listed:
    """Where rows of a kind stand, what names one, and which field is its first and its last day.

    `last_counts`: whether the field of the end names the last day in force, or the first one no longer in force.
    """

    file: str
    path: str
    keys: tuple[str, ...]
    first: str | None = None
    end: str | None = None
    last_counts: bool = False
    has_chain: bool = False


KINDS: Mapping[str, Listed] = {
    "token": Listed("tokens.yaml", "approved", ("address",), "added_on", "removed_on", has_chain=True),
    "blacklist": Listed("tokens.yaml", "blacklist", ("address",), "added_on", "removed_on", has_chain=True),
    "protocol": Listed("protocols.yaml", "approved", ("slug",), "added_on", "removed_on"),
    "protocol-alias": Listed("protocols.yaml", "aliases", ("old", "new")),
    "override": Listed("policy.yaml", "pool_overrides", ("pool_id",), "since", "until", last_counts=True),
    "icebox": Listed(
        "policy.yaml", "icebox_overrides", ("address",), "since", "expires", last_counts=True, has_chain=True
    ),
    "alias": Listed("policy.yaml", "pool_aliases", ("old_id", "new_id"), "since"),
}


@dataclass(frozen=True)
class Said:
    """Who wants a change, why, and from which day on."""

    author: str
    reason: str
    day: date

    def __str__(self) -> str:
        return f"{self.day} by {editing.one_line(self.author)}: {editing.one_line(self.reason)}"


# --- where files are -----------------------------------------------------------------------------------------------


# --- rows ----------------------------------------------------------------------------------------------------------
def add_listed(
    text: str,
    kind: str,
    keys: Sequence[str],
    said: Said,
    *,
    chain: str = "Ethereum",
    fields: Mapping[str, Any] | None = None,
) -> str:
    """The text of the kind's file with one row more. `keys` name it (an address, a slug, old and new id), `fields` are
    further fields as YAML values. ConfigurationError where the list holds it already."""
    place = KINDS[kind]
    if len(keys) != len(place.keys):
        raise ConfigurationError(f"{kind} takes {' and '.join(place.keys)}, not {len(keys)} words")
    if kind == "protocol" and keys[0].strip() and not SLUG.fullmatch(keys[0].strip()):
        raise ConfigurationError(
            f"{keys[0]!r:.80} is no slug: small letters, digits, '-', '.' and '_', as DeFiLlama spells it"
        )
    key, comment = normal_key(place, keys[0]), f"added {said}"
    if place.first is None:
        _require_new(key in _rows(text, place), key, place)
        if fields:
            raise ConfigurationError("a protocol's alias has no further fields")
        return editing.add_entry(text, place.path, key, keys[1], comment=comment, file=place.file)
    _require_new(any(_is_row(row, place, key, chain) for _, row in rows_in_force(text, kind, said.day)), key, place)
    row: dict[str, Any] = {"chain": chain} if place.has_chain else {}
    row |= dict(zip(place.keys, [key, *keys[1:]], strict=True))
    row[place.first] = said.day
    author, reason = editing.one_line(said.author), editing.one_line(said.reason)
    if place.path == "icebox_overrides":
        row["reason"] = f"{reason} ({author})"
    elif place.file == "policy.yaml":
        row["source"] = f"{author}: {reason}"
    return editing.add_row(text, place.path, {**row, **(fields or {})}, comment, place.file)


def end_listed(text: str, kind: str, key: str, said: Said, *, chain: str = "Ethereum", first: str | None = None) -> str:
    """The text of the kind's file in which a row ends on the day: it stays with that day, or as a comment where rows of
    the kind have no end. `first`: the row's first day, "" for one without, None for any; a row that is spelled as `key`
    is goes before others that differ in case, and of rows that are alike the last one ends. ConfigurationError naming
    the nearest row where none is in force, and those meant where the key names more than one."""
    place, spelled = KINDS[kind], key.strip()
    key, comment = normal_key(place, key), f"removed {said}"
    if place.first is None:
        if first is not None:
            raise ConfigurationError(f"{place.file}: rows of {place.path} have no first day")
        if key not in _rows(text, place):
            raise ConfigurationError(_absent(place, key, sorted(_rows(text, place))))
        return editing.comment_out_entry(text, place.path, key, comment, place.file)
    in_force = rows_in_force(text, kind, said.day)
    meant = [(index, row) for index, row in in_force if _is_row(row, place, key, chain)]
    found = [pair for pair in meant if first is None or first_day_of(pair[1], place) == first]
    if not found:
        since = "" if not meant or first is None else f" since {first}" if first else " without a first day"
        raise ConfigurationError(_absent(place, key, [name_of(row, place) for _, row in in_force], since))
    found = [pair for pair in found if pair[1].get(place.keys[0]) is None] or found  # rows that are a symbol alone
    found = [pair for pair in found if name_of(pair[1], place) == spelled] or found
    _require_one(key, [row for _, row in found], place)
    index, row = found[-1]
    if place.end is None:
        return editing.comment_out_row(text, place.path, index, comment, place.file)
    end = said.day - timedelta(days=1) if place.last_counts else said.day
    begun = row.get(place.first)
    if isinstance(begun, date) and (end < begun or (not place.last_counts and end == begun)):
        return editing.comment_out_row(text, place.path, index, f"{comment}; it was never in force", place.file)
    return editing.end_row(text, place.path, index, field=place.end, day=end, comment=comment, file=place.file)


def set_parameter(text: str, name: str, value: Any, said: Said) -> str:
    """The text of policy.yaml in which a parameter (`gas_units.swap` for one of its parts) has the value."""
    path = ("parameters", *name.split("."))
    return editing.set_value(text, path, value, f"{editing.SET_MARK}{said}", "policy.yaml")


def told_change(kind: str, key: str, day: date, *, is_new: bool) -> str:
    """A row that was added or ended, in words."""
    return f"{kind} {normal_key(KINDS[kind], key)} {'added' if is_new else 'removed'} from {day} on"


def name_of(row: Mapping[str, Any], place: Listed) -> str:
    """What names a row: its address or name; of a token without an address its symbol."""
    name = row.get(place.keys[0])
    return str(row.get("symbol") or "" if name is None else name)


def first_day_of(row: Mapping[str, Any], place: Listed) -> str:
    """The first day of a row as text, "" where it has none."""
    day = row.get(place.first) if place.first else None
    return "" if day is None else str(day)


def normal_key(place: Listed, key: str) -> str:
    """Addresses are kept in lower case; other names as they are."""
    return key.strip().lower() if place.has_chain and key.strip().lower().startswith("0x") else key.strip()


def rows_in_force(text: str, kind: str, day: date) -> list[tuple[int, dict[str, Any]]]:
    """Rows of a kind that are in force on the day or will be, written out, with their places in the list.

    Of a mapping (aliases of protocols) rows are {old, new}, in its order.
    """
    place = KINDS[kind]
    rows = _rows(text, place)
    if place.first is None:
        return list(enumerate(dict(zip(place.keys, pair, strict=True)) for pair in rows.items()))
    found = []
    for index, row in enumerate(rows):
        if isinstance(row, dict):
            end = row.get(place.end) if place.end else None
            is_over = isinstance(end, date) and (end < day if place.last_counts else end <= day)
            if not is_over:
                found.append((index, row))
    return found


def _require_new(is_known: bool, key: str, place: Listed) -> None:
    if is_known:
        raise ConfigurationError(f"{place.file}: {place.path} holds {key} already; remove it first, or edit the file")


def _require_one(key: str, found: Sequence[Mapping[str, Any]], place: Listed) -> None:
    """ConfigurationError where rows differ in what names them, whatever its case, or in their first days."""
    names = sorted({name_of(row, place) for row in found})
    if len({name.lower() for name in names}) > 1:
        raise ConfigurationError(
            f"{place.file}: {key!r:.80} names {len(names)} rows of {place.path}; say which: {', '.join(names)}"
        )
    firsts = sorted({first_day_of(row, place) or "none" for row in found})
    if len(firsts) > 1:
        raise ConfigurationError(
            f"{place.file}: {place.path} holds {len(firsts)} rows of {key!r:.80} in force; say which by its first day, "
            f"`--since {firsts[0]}`: {', '.join(firsts)}"
        )


def _absent(place: Listed, key: str, names: list[str], since: str = "") -> str:
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near and not since else ""
    return f"{place.file}: {place.path} holds no {key!r:.80}{since} in force{hint}"


def _rows(text: str, place: Listed) -> Any:
    """What the list holds now, as YAML reads it."""
    try:
        data = in_full(place.file, yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{place.file}: cannot be read as YAML: {error}") from error
    rows = data.get(place.path) if isinstance(data, dict) else None
    kind: type[Any] = dict if place.first is None else list
    return rows if isinstance(rows, kind) else kind()


def _is_row(row: Mapping[str, Any], place: Listed, key: str, chain: str) -> bool:
    """Whether the row is that of the key; tokens may also be named by their symbol."""
    if place.has_chain and row.get("chain") != chain:
        return False
    names = [row.get(place.keys[0])]
    if place.has_chain and (names == [None] or not (key.startswith("0x") or key == NATIVE_TOKEN)):
        names.append(row.get("symbol"))
    return key.lower() in [str(name).lower() for name in names if name is not None]


# --- the whole -----------------------------------------------------------------------------------------------------
