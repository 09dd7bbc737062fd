"""A strategy as it is run: what its file says, its members, and the hash by which it is known.

Lives here: `Strategy`. Not here: what a file may say (language.py), reading files (config/strategy_files.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import TypeAdapter

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.strategies.checking import columns_read, warm_up_of
from defiyield_assets.domain.strategies.language import (
    AllocationStrategy,
    CompositeStrategy,
    ExternalStrategy,
    StrategyFile,
    StrategySpec,
)


@dataclass(frozen=True)
class Strategy:
    """A parsed strategy; `members`: of a composite, in the order of its file."""

    spec: StrategySpec
    members: tuple[Strategy, ...] = ()

    def __post_init__(self) -> None:
        """ValueError for members that are not those of the file."""
        named = [one.strategy for one in self.spec.members] if isinstance(self.spec, CompositeStrategy) else []
        if named != [one.strategy_id for one in self.members]:
            raise ValueError(f"{self.spec.id} names the members {named}")

    @property
    def strategy_id(self) -> str:
        """Its name in every table."""
        return self.spec.id

    @property
    def version(self) -> int:
        """As its author counts."""
        return self.spec.version

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of all that a run depends on, members included; texts that only people read are left out."""
        told = self.spec.model_dump(mode="json", exclude={"description"})
        return content_hash({"spec": told, "members": [one.content_hash for one in self.members]})

    @property
    def columns(self) -> set[str]:
        """Bar columns and features that it and its members read."""
        return columns_read(self.spec).union(*(one.columns for one in self.members))

    @property
    def named_instruments(self) -> set[str]:
        """Instruments that it or one of its members asks for by name."""
        weights = self.spec.weights if isinstance(self.spec, AllocationStrategy) else None
        own = set(weights) if isinstance(weights, dict) else set()
        return own.union(*(one.named_instruments for one in self.members))

    @property
    def signal_types(self) -> set[str]:
        """Types of external signals that it or one of its members follows."""
        own = {self.spec.signal} if isinstance(self.spec, ExternalStrategy) else set()
        return own.union(*(one.signal_types for one in self.members))

    def warm_up(self, columns: Mapping[str, int]) -> int:
        """Bars until all that it and its members read is known."""
        return max([warm_up_of(self.spec, columns), *(one.warm_up(columns) for one in self.members)])


def json_schema() -> dict[str, object]:
    """The JSON Schema of a strategy's file, for editors; columns are listed by name."""
    from defiyield_assets.domain.strategies.columns import known_columns

    schema = TypeAdapter(StrategyFile).json_schema()
    pattern = _refer_to_columns(schema)
    column = {"anyOf": [{"enum": sorted(known_columns())}, {"type": "string", "pattern": pattern}]}
    schema["$defs"] = {**schema["$defs"], "Column": column}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "defiyield strategy"}
    return {**head, **schema}


def _refer_to_columns(node: object) -> str:
    """Lets every place of a column refer to their one list; the pattern of names, for a strategy's own columns."""
    pattern = ""
    if isinstance(node, dict):
        if node.pop("x-column", None):
            pattern = str(node.pop("pattern"))
            del node["type"]
            node["$ref"] = "#/$defs/Column"
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            pattern = _refer_to_columns(inner) or pattern
    return pattern
