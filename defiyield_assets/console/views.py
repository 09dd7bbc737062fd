"""One view of the warehouse, out of which a page reads all that it shows.

Lives here: which days there are, reading tables of the day. Not here: SQL (store/reads.py), what is shown (pages/).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.console.desk import Desk
from defiyield_assets.console.remembered import Remembered
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema
from defiyield_assets.store.warehouse import Warehouse

T = TypeVar("T")
DAYS = (schema.allocation_runs, schema.eligible_pools, schema.prefiltered_pools, schema.pools)
"""Tables whose newest day is the newest there is to show, the best one first."""


@dataclass(frozen=True)
class View:
    """The warehouse as it is at one moment, and the day that is looked at."""

    connection: sa.Connection
    desk: Desk
    day: date
    newest: date
    models: Remembered

    @property
    def warehouse(self) -> Warehouse:
        """The view as other rooms read from it."""
        return Warehouse(self.connection, self.desk.market)

    def read(
        self, table: sa.Table, where: reads.Where = None, columns: Sequence[str] | None = None, *, back: int = 0
    ) -> pd.DataFrame:
        """Rows of the day, and of `back` days before it."""
        days = DayRange(self.day - timedelta(days=back), self.day)
        return reads.read_days(self.connection, table, days, where, columns)

    def remembered(self, name: str, key: Hashable, make: Callable[[], T]) -> T:
        """What pages share and is dear to make: made once for a state of the warehouse."""
        return self.models.get((name, self.day, key), make)


def newest_day(connection: sa.Connection) -> date:
    """The newest day that there is something to show of; NotFound where there is none."""
    for table in DAYS:
        newest = reads.newest_day(connection, table)
        if newest is not None:
            return newest
    raise NotFound("the warehouse holds no day yet: `make demo` or `defiyield run` makes one")
