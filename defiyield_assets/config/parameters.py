"""What the parameters of the policy are, for people: meaning, unit, default, bounds, and a value as somebody types it.

Lives here: the words of the shipped policy.yaml and the types of its entries, read once. Not here: bounds (files.py),
the values in force (loader.py), changing one (changes.py).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_origin

from defiyield_assets.config.files import BOUNDS, SHARES
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.domain.policy import GasUnits, Parameters
from defiyield_assets.errors import ConfigurationError

OF_GAS = "gas_units."
_UNITS = {
    "apy_plausible_max": "fraction a year",
    "pool_apy_min": "fraction a year",
    "confirmations": "blocks",
    "conversion_rate": "fraction",
    "max_group_share": "fractions of groups 1 to 4",
    "min_pools": "pools",
    "spike_median_multiple": "multiple of the median",
    "spike_robust_z": "robust z-scores",
}
_ENDINGS = {"_usd": "USD", "_days": "days", "_gwei": "gwei", "_depth": "fraction of the reference"}


@dataclass(frozen=True)
class Parameter:
    """One number, switch, word or list of the policy. `name` has a dot for parts of `gas_units`; `choices`: all values
    that there are, where they are few."""

    name: str
    section: str
    meaning: str
    unit: str
    default: Any
    choices: tuple[str, ...] = ()


@cache
def parameters() -> tuple[Parameter, ...]:
    """Every parameter in the order of the shipped file."""
    defaults = _flat(Parameters())
    told = shipped_words()
    missing = sorted(set(defaults) - set(told))
    if missing:
        raise LookupError(f"parameters that policy.yaml does not name: {missing}")
    return tuple(
        Parameter(name, section, words or "gas of one such transaction", _unit(name), defaults[name], _choices(name))
        for name, (section, words) in told.items()
        if name in defaults
    )


def parameter(name: str) -> Parameter:
    """The parameter of a name; ConfigurationError naming the nearest one where there is none."""
    for one in parameters():
        if one.name == name:
            return one
    near = get_close_matches(name, [one.name for one in parameters()], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "the file policy.yaml names all"
    raise ConfigurationError(f"{name!r:.80} is no parameter of the policy; {hint}")


def value_of(held: Parameters, name: str) -> Any:
    """The value of a parameter by its name, with a dot for parts of `gas_units`."""
    return _flat(held)[name]


def typed_value(name: str, text: str) -> Any:
    """The value that somebody typed for a parameter, of the type that the file holds; bounds are the loader's business.

    Lists are words or numbers between commas. ConfigurationError saying what would be right.
    """
    one, word = parameter(name), text.strip()
    try:
        if isinstance(one.default, tuple):
            parts = [part.strip().strip("'\"") for part in word.removeprefix("[").removesuffix("]").split(",")]
            return [_typed(type(one.default[0]), part) for part in parts if part]
        return _typed(type(one.default), word)
    except ValueError:
        raise ConfigurationError(f"{name}: {text!r:.80} is no {_kind(one)}") from None


def shown_value(value: Any) -> str:
    """A value as `typed_value` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)


def shipped_words() -> dict[str, tuple[str, str]]:
    """Name -> (section, remark) in the shipped policy.yaml."""
    found: dict[str, tuple[str, str]] = {}
    section, parent = "", ""
    for line in (SHIPPED / "policy.yaml").read_text(encoding="utf-8").splitlines():
        if head := re.match(r"  # --- (.*?) ---", line):
            section = re.sub(r"\s*\(.*\)$", "", head[1])
        elif entry := re.match(r"(  |    )([a-z_]+):\s*([^#]*?)\s*(?:#\s*(.*))?$", line):
            name = entry[2] if entry[1] == "  " else f"{parent}.{entry[2]}"
            parent = entry[2] if entry[1] == "  " else parent
            found[name] = (section, entry[4] or "")
    return found


def _flat(held: Parameters) -> dict[str, Any]:
    """Values by name; parts of `gas_units` by theirs."""
    found = {field.name: getattr(held, field.name) for field in fields(Parameters) if field.name != "gas_units"}
    return found | {f"{OF_GAS}{field.name}": getattr(held.gas_units, field.name) for field in fields(GasUnits)}


def _typed(kind: type[Any], word: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[word.lower()] if word.lower() in ("true", "false") else _refuse(word)
    if kind is str:
        return word or _refuse(word)
    number = kind(word)
    return number if math.isfinite(number) else _refuse(word)


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _kind(one: Parameter) -> str:
    if one.choices:
        return f"choice: right would be {', '.join(one.choices)}"
    kinds: Mapping[type[Any], str] = {
        bool: "switch: right would be true or false",
        int: "whole number",
        float: "number, such as 0.25 (shares and rates are fractions, never percent)",
        tuple: "list: right would be values between commas",
    }
    return kinds.get(type(one.default), "word")


def _choices(name: str) -> tuple[str, ...]:
    bound = BOUNDS.get(name)
    if bound is bool:
        return ("true", "false")
    return tuple(str(item) for item in get_args(bound)) if get_origin(bound) is Literal else ()


def _unit(name: str) -> str:
    if name.startswith(OF_GAS):
        return "units of gas"
    if name in _UNITS:
        return _UNITS[name]
    ending = next((unit for end, unit in _ENDINGS.items() if end in name), "")
    return ending or ("fraction" if name in SHARES else "")
