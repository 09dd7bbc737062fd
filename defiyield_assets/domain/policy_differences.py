"""What differs between two policies as days stored them: parameters by name, rows of lists that came and went.

Lives here: the comparison of two `policy_json`. Not here: the text itself (policy_codec.py), changes of the files
(config/versions.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from defiyield_assets.domain.canonical import canonical_json


@dataclass(frozen=True)
class Difference:
    """An entry that differs: `part` is "parameters" or the name of a list, `name` the parameter ("" for rows of lists).

    `before` and `after` are None where it is in one of the two only.
    """

    part: str
    name: str
    before: Any
    after: Any


def policy_differences(before: str, after: str) -> tuple[Difference, ...]:
    """What differs, parameters first, then lists by name; rows that went stand before those that came."""
    old, new = json.loads(before), json.loads(after)
    was, is_now = _flat(old.pop("parameters", {})), _flat(new.pop("parameters", {}))
    found = [
        Difference("parameters", name, was.get(name), is_now.get(name))
        for name in sorted({*was, *is_now})
        if was.get(name) != is_now.get(name)
    ]
    for part in sorted({*old, *new}):
        gone, come = _rows(old.get(part)), _rows(new.get(part))
        found += [Difference(part, "", row, None) for key, row in gone.items() if key not in come]
        found += [Difference(part, "", None, row) for key, row in come.items() if key not in gone]
    return tuple(found)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by name, those of a part such as `gas_units` behind a dot."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _rows(part: Any) -> dict[str, Any]:
    """Rows of a list by their canonical text; the pairs of a mapping are its rows."""
    rows = [{"old": old, "new": new} for old, new in part.items()] if isinstance(part, Mapping) else part or []
    return {canonical_json(row): row for row in rows}
