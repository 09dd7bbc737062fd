"""Rows of one pool as dictionaries: a page of many small tables has no time for a frame each.

Lives here: reading them. Not here: SQL (store/reads.py), frames of a day (views.py).
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads


def rows_of(
    view: View, table: sa.Table, where: dict[str, Any], *, back: int = 0, by_day: bool = False
) -> list[dict[str, Any]]:
    """Rows of the day, and of `back` days before it, by primary key; null is None.

    `by_day` is for a table of thousands of rows a day (reads.read_rows).
    """
    days = DayRange(view.day - timedelta(days=back), view.day)
    return reads.read_rows(view.connection, table, days, where, by_day=by_day)
