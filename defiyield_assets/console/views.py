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
from defiyield_assets.console.remembered import Made, Remembered
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema
from defiyield_assets.store.warehouse import Warehouse

T = TypeVar("T")
DAYS = (schema.eligible_pools, schema.prefiltered_pools, schema.pools, schema.nav_daily)
"""Tables, besides the plan's, whose newest day is one that there is something to show of."""


@dataclass(frozen=True)
class KnownDays:
    """The first day that was made, the newest one that has a plan (None where none has), and the newest one at all."""

    first: date
    planned: date | None
    newest: date

    @property
    def usual(self) -> date:
        """The day that is shown where none is asked for."""
        return self.planned or self.newest


@dataclass(frozen=True)
class View:
    """The warehouse as it is at one moment, and the day that is looked at. `version` names that state of it."""

    connection: sa.Connection
    desk: Desk
    day: date
    days: KnownDays
    models: Remembered
    version: Hashable

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

    def remembered(
        self, name: str, key: Hashable, make: Callable[[], T], *, tables: Sequence[sa.Table] | None = None
    ) -> T:
        """What pages share and is dear to make: made once for a state of the warehouse.

        `tables`: it is made of nothing but their rows of the day, and stays true while these are as they were, whatever
        else is committed.
        """
        version = self.version
        if tables is not None:
            version = self.remembered(f"{name}: state", key, lambda: self._state_of(tables))
        return self.models.get((name, self.day, key), lambda: version, lambda: Made(make(), version))

    def _state_of(self, tables: Sequence[sa.Table]) -> Hashable:
        """The state of the day's rows of some tables, where the database can tell it; else that of all."""
        told = reads.slices_state(self.connection, tables, self.day)
        return self.version if told is None else told

    def require_policy(self) -> None:
        """NotFound unless the day has a policy, on which its pages rest."""
        if reads.newest_day(self.connection, schema.policy_snapshot, self.day) != self.day:
            raise NotFound(f"{self.day} was not made, it has no policy_snapshot: `defiyield run {self.day}` makes it")


def known_days(connection: sa.Connection) -> KnownDays:
    """Which days there are; NotFound where there is none."""
    planned = reads.newest_day(connection, schema.allocation_runs)
    newest = [day for day in (planned, *(reads.newest_day(connection, table) for table in DAYS)) if day is not None]
    if not newest:
        raise NotFound("the warehouse holds no day yet: `make demo` or `defiyield run` makes one")
    made = reads.days_with_rows(connection, schema.policy_snapshot)
    return KnownDays(first=min(newest) if made is None else made.start, planned=planned, newest=max(newest))
