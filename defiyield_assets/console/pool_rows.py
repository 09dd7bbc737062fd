"""Rows of one pool as dictionaries: a page of many small tables has no time for a frame each.

Lives here: reading them. Not here: SQL (store/reads.py), frames of a day (views.py).
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads


def rows_of(view: View, table: sa.Table, where: dict[str, Any], *, back: int = 0) -> list[dict[str, Any]]:
    """Rows of the day, and of `back` days before it, in no order; null is None or NaN.

    A table whose key begins with `date` is looked up day by day with the rest of the key, instead of read through.
    """
    days = DayRange(view.day - timedelta(days=back), view.day)
    by_day = {**where, "date": list(days)} if back and "date" in table.c else where
    columns = reads.read_columns(view.connection, table, days, by_day)
    names = list(columns)
    return [
        dict(zip(names, row, strict=True)) for row in zip(*(cells.tolist() for cells in columns.values()), strict=True)
    ]
