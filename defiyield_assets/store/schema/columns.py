"""What tables are written with: kinds of columns, bounds and the one `metadata`.

Lives here: the vocabulary of a table. Not here: the tables (the other files of this folder).
A column's comment is its description with unit; `info` may bound it (`ge`, `le`, `isin`; `is_blank` where empty text in
a key means something). A table's `info["day"]` names the column that holds its partition date. Rates and shares are
fractions, `_usd` US dollars, `_gwei` gwei, amounts base units.
"""

from typing import Any

from sqlalchemy import Column, Index, MetaData, Table
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s",
    }
)
Type = type[TypeEngine[Any]] | TypeEngine[Any]


def key(name: str, type_: Type, comment: str, **info: Any) -> Column[Any]:
    """A column of the primary key."""
    return Column(name, type_, primary_key=True, nullable=False, autoincrement=False, comment=comment, info=info)


def must(name: str, type_: Type, comment: str, **info: Any) -> Column[Any]:
    """A column that is never null."""
    return Column(name, type_, nullable=False, comment=comment, info=info)


def may(name: str, type_: Type, comment: str, **info: Any) -> Column[Any]:
    """A column where null means unknown."""
    return Column(name, type_, nullable=True, comment=comment, info=info)


def table(name: str, comment: str, *columns: Column[Any] | Index, day: str | None = "date") -> Table:
    """A table with its description and the column that holds its partition date (None: not partitioned)."""
    return Table(name, metadata, *columns, comment=comment, info={"day": day})


SHARE = {"ge": 0.0, "le": 1.0}
ZERO_UP = {"ge": 0.0}
POSITIVE = {"ge": 1e-12}
"""Factors and divisors: zero is none."""
