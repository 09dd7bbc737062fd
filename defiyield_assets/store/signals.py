"""Signals going into the warehouse: what is written rests on what is stored, and both are one transaction.

Lives here: the transactions of `ai_signals` and `trading_signals`. Not here: which rows those are
(domain/signals/followed.py, orchestration/assets/signals.py).
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import write_transaction
from defiyield_assets.store.writes import WriteReceipt, replace_slice


def rewrite(
    engine: sa.Engine,
    table: sa.Table,
    days: DayRange,
    read_where: Mapping[str, Any],
    decide: Callable[[pd.DataFrame], pd.DataFrame],
) -> WriteReceipt:
    """Make the rows of `days` in one of the two tables what `decide` makes of the rows of `ai_signals` of those days.

    `decide` is called under the lock of both tables, so that of two runs at once neither decides on what the other has
    changed since. `read_where`: of these rows alone; of `ai_signals` the same rows are replaced, of `trading_signals`
    all of the days. SuspiciousDataError for rows that break the table's rules.
    """
    with write_transaction(engine, schema.ai_signals.name, schema.trading_signals.name) as connection:
        frame = decide(reads.read_days(engine, schema.ai_signals, days, read_where))
        where = read_where if table is schema.ai_signals else None
        return replace_slice(engine, table, frame, days, where, within=connection)
