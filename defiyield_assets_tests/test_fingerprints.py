"""The fingerprint of tables with which tests say that nothing changed would say so if something had."""

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.store.rows import to_frame, to_rows
from defiyield_assets_tests.installations import column_bytes
from defiyield_assets_tests.store.frames import WRITABLE, example_frame


@pytest.mark.parametrize("table", WRITABLE, ids=lambda table: table.name)
def test_cells_in_another_order_are_another_column(table: sa.Table) -> None:
    frame = to_frame(list(table.columns), to_rows(table, example_frame(table)))
    told = 0
    for column in table.columns:
        cells = frame[column.name]
        turned = cells.iloc[::-1].reset_index(drop=True)
        if not cells.equals(turned):
            told += 1
            assert column_bytes(column, cells) != column_bytes(column, turned), column.name
        assert column_bytes(column, cells) == column_bytes(column, cells.copy()), column.name
    assert told or len(frame) < 2


def test_null_is_no_number_and_zero_has_no_sign() -> None:
    column = sa.Column("share", sa.Float)
    assert column_bytes(column, pd.Series([0.0, None])) != column_bytes(column, pd.Series([0.0, 0.0]))
    assert column_bytes(column, pd.Series([-0.0])) == column_bytes(column, pd.Series([0.0]))
