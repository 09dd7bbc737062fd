"""A part of a table's rows at a time, for readers who turn pages.

Lives here: SQL with a limit, in an order that never changes. Not here: whole days and tables (reads.py), what is shown
of a page (console/pages).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store.engine import Readable, read_transaction
from defiyield_assets.store.reads import Where, conditions
from defiyield_assets.store.rows import to_frame
from defiyield_assets.store.validation import day_column


@dataclass(frozen=True)
class Wanted:
    """Rows of a table that match `where`: those of `days`, or all up to and including `through`.

    `newest_by` are columns whose greatest values come first; after them the primary key orders, so that every row has
    one place. Text is ordered as the database likes.
    """

    table: sa.Table
    days: DayRange | None = None
    through: date | None = None
    where: Where = None
    newest_by: Sequence[str] = field(default=())

    def limits(self) -> list[sa.ColumnElement[bool]]:
        """The conditions as SQL."""
        found = conditions(self.table, self.where)
        if self.days is not None:
            found.append(day_column(self.table).between(self.days.start, self.days.end))
        if self.through is not None:
            found.append(day_column(self.table) <= self.through)
        return found


def read_page(engine: Readable, wanted: Wanted, first: int, most: int) -> pd.DataFrame:
    """At most `most` of the rows, from number `first` (the first is 0) on."""
    table = wanted.table
    order: list[Any] = [table.c[name].desc() for name in wanted.newest_by]
    order += [column for column in table.primary_key.columns if column.name not in wanted.newest_by]
    query = sa.select(table).where(*wanted.limits()).order_by(*order).limit(most).offset(first)
    with read_transaction(engine, table.name) as connection:
        return to_frame(list(table.columns), [tuple(row) for row in connection.execute(query)])


def count_rows(engine: Readable, wanted: Wanted) -> int:
    """How many rows there are on all pages."""
    query = sa.select(sa.func.count()).select_from(wanted.table).where(*wanted.limits())
    with read_transaction(engine, wanted.table.name) as connection:
        return int(connection.execute(query).scalar_one())
