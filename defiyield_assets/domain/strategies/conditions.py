"""The language's conditions: comparisons of columns, joined by all and any, and the age of a position.

Lives here: their models (what may be written) and how they are told apart. Not here: rules and kinds of strategies
(language.py), which columns there are (columns.py), evaluation over bars (signals.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Operator = Literal["lt", "le", "gt", "ge", "eq", "ne", "crosses_above", "crosses_below", "between", "outside"]
RANGES: frozenset[str] = frozenset({"between", "outside"})
"""Operators that compare with two values."""
CROSSINGS: frozenset[str] = frozenset({"crosses_above", "crosses_below"})
"""Operators that read the bar before."""
MOST_BARS = 1000
Bars = Annotated[int, Field(ge=1, le=MOST_BARS)]
ColumnName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", json_schema_extra={"x-column": True})]


class Strict(BaseModel):
    """Refuses keys that it does not know and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Comparison(Strict):
    """`col` against a number (`value`), a range of two (between, outside) or another column (`ref`, × `times`).

    crosses_above: greater now and not at the bar before. `lookback` n: true at one of the last n bars, today's among
    them. Unknown on either side is never true.
    """

    col: ColumnName
    op: Operator
    value: float | tuple[float, float] | None = None
    ref: ColumnName | None = None
    times: float = 1.0
    lookback: Bars = 1

    @model_validator(mode="after")
    def _has_one_right_side(self) -> Comparison:
        if self.value is not None and self.ref is not None:
            raise ValueError("value and ref exclude each other; keep one")
        if self.value is None and self.ref is None:
            raise ValueError("needs a value (a number) or a ref (a column) to compare with")
        if self.op in RANGES and not isinstance(self.value, tuple):
            raise ValueError(f"{self.op} needs value: [low, high]")
        if self.op not in RANGES and isinstance(self.value, tuple):
            raise ValueError(f"{self.op} compares with one number; a pair is for between and outside")
        if isinstance(self.value, tuple) and self.value[0] > self.value[1]:
            raise ValueError(f"value: [low, high] has to ascend, not {list(self.value)}")
        if self.times != 1.0 and self.ref is None:
            raise ValueError("times multiplies ref, which is not given")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read."""
        return (self.col,) if self.ref is None else (self.col, self.ref)

    @property
    def extra_bars(self) -> int:
        """Bars that are read before today's."""
        return self.lookback - 1 + (1 if self.op in CROSSINGS else 0)


class BarsHeld(Strict):
    """True once the position has been held for so many bars, the bar of its entry counted. For exits only."""

    bars_held: Bars


class AllOf(Strict):
    """True when every one of the conditions is."""

    all: Annotated[tuple[Condition, ...], Field(min_length=1)]


class AnyOf(Strict):
    """True when one of the conditions is."""

    any: Annotated[tuple[Condition, ...], Field(min_length=1)]


def _kind(value: Any) -> str:
    """Which condition is meant, by the key that only it has."""
    for key in ("all", "any", "bars_held"):
        if (isinstance(value, dict) and key in value) or (isinstance(value, BaseModel) and hasattr(value, key)):
            return f"<{key}>"
    return "<comparison>"


Condition = Annotated[
    Annotated[Comparison, Tag("<comparison>")]
    | Annotated[AllOf, Tag("<all>")]
    | Annotated[AnyOf, Tag("<any>")]
    | Annotated[BarsHeld, Tag("<bars_held>")],
    Discriminator(_kind),
]
AllOf.model_rebuild()
AnyOf.model_rebuild()
AnyCondition = Comparison | AllOf | AnyOf | BarsHeld
Location = tuple[str | int, ...]


def leaves(condition: AnyCondition, at: Location = ()) -> Iterator[tuple[Location, Comparison | BarsHeld]]:
    """The comparisons and ages of a condition, each with its place in the file below `at`."""
    if isinstance(condition, AllOf | AnyOf):
        key = "all" if isinstance(condition, AllOf) else "any"
        for index, inner in enumerate(condition.all if isinstance(condition, AllOf) else condition.any):
            yield from leaves(inner, (*at, key, index))
        return
    yield at, condition
