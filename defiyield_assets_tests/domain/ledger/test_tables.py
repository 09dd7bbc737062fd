"""Frames have the columns of their tables."""

import pytest

from defiyield_assets.domain.ledger import tables
from defiyield_assets.store import schema


@pytest.mark.parametrize(
    "name", ["ledger_postings", "daily_balances", "pool_positions", "share_rates", "nav_daily", "yield_attribution"]
)
def test_columns_are_those_of_the_schema(name: str) -> None:
    columns = getattr(tables, name.upper())
    assert list(columns) == [column.name for column in schema.metadata.tables[name].columns]
    empty = tables.make_frame(columns, [])
    assert list(empty.columns) == list(columns)
    assert empty.empty
