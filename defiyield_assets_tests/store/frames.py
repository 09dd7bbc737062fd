"""Valid rows for any table, made from the table's own metadata.

Lives here: example frames for the store's tests. Not here: believable markets (simulator/).
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import schema
from defiyield_assets.store.validation import column_type

FIRST = date(2026, 3, 1)
DAYS = DayRange(FIRST, FIRST + timedelta(days=2))
WRITABLE = [table for table in schema.metadata.sorted_tables if table.name not in ("raw_fetches", "raw_bodies")]
"""Tables that frames are written to; the other two belong to the archive."""


def _cell(column: sa.Column[Any], row: int) -> Any:
    if "isin" in column.info:
        return column.info["isin"][row % len(column.info["isin"])]
    if column.nullable and row % 3 == 0:
        return None
    values: dict[str, Any] = {
        "text": f"{column.name} {row}",
        "int": max(int(column.info.get("ge", 0)), row % 20),
        "long": 2**62 + row,
        "float": min(float(column.info.get("le", 1.0)), max(float(column.info.get("ge", 0.0)), row / 64)),
        "bool": row % 2 == 0,
        "date": FIRST + timedelta(days=row),
        "timestamp": datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC) + timedelta(hours=row),
        "decimal": Decimal(row) + Decimal("0.125000000000000001"),
        "base units": 2**256 - 1 - row,
        "bytes": f"{column.name} {row}".encode(),
    }
    return values[column_type(column)]


def example_frame(table: sa.Table, rows: int = 12) -> pd.DataFrame:
    """`rows` valid rows, one a day from FIRST on, nulls included, every cell an object as domain code may make them."""
    cells = {column.name: [_cell(column, row) for row in range(rows)] for column in table.columns}
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in cells.items()})


def pools_frame(days: DayRange = DAYS, pools: int = 4, apy: float = 0.05) -> pd.DataFrame:
    """Rows of the table pools with the dtypes that pandas infers: `pools` pools on each day."""
    return pd.DataFrame(
        [
            {
                "snapshot_date": day,
                "pool_id": f"pool-{number}",
                "chain": "Ethereum" if number % 2 else "Base",
                "project": "aave-v3",
                "symbol": "USDC",
                "pool_meta": None,
                "tvl_usd": 1_000_000.0 + number,
                "total_supply_usd": None,
                "total_borrow_usd": None,
                "apy": apy,
                "apy_base": apy,
                "apy_reward": None,
                "exposure": "single",
                "il_risk": "no",
                "is_stablecoin": True,
                "underlying_addresses_json": "[]",
                "reward_tokens_json": "[]",
                "observed_at": datetime(2026, 3, 4, 0, 30, tzinfo=UTC),
                "is_stale": False,
            }
            for day in days
            for number in range(pools)
        ],
        columns=[column.name for column in schema.pools.columns],
    )


def history_frame(points: list[tuple[str, date, int, datetime, float]]) -> pd.DataFrame:
    """Rows of pool_histories from (pool, date, revision, seen_at, apy)."""
    return pd.DataFrame(
        [
            {
                "pool_id": pool,
                "date": day,
                "revision": revision,
                "apy": apy,
                "apy_base": apy,
                "apy_reward": None,
                "tvl_usd": 1e6,
                "il_7d": None,
                "is_provisional": False,
                "source": "chart",
                "seen_at": seen_at,
            }
            for pool, day, revision, seen_at, apy in points
        ],
        columns=[column.name for column in schema.pool_histories.columns],
    )
