"""Bars as arrays, newest rows of instruments, slices that are replaced while others are forgotten."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import reads, schema, writes

DAYS = DayRange(date(2025, 1, 1), date(2025, 1, 4))
EVER = DayRange(date(1990, 1, 1), date(2100, 1, 1))
COLUMNS = ("instrument_id", "date", "close", "high", "adj_factor", "quality")


def bars() -> pd.DataFrame:
    """Four days of a coin, the last three of a share, which tells no high."""
    rows = [("crypto:BTC", day, 100.0 + day.day, 101.0 + day.day, 1.0) for day in DAYS]
    rows += [("equity:AMD", day, 10.0 + day.day, np.nan, 1.0 / day.day) for day in list(DAYS)[1:]]
    frame = pd.DataFrame(rows, columns=["instrument_id", "date", "close", "high", "adj_factor"])
    words = {"split_factor": 1.0, "source": "test", "quality": "full", "volume_source": None}
    numbers = dict.fromkeys(("open", "low", "volume_usd", "volume_units", "market_cap_usd"), np.nan)
    frame = frame.assign(**words, **numbers, instrument_type=frame["instrument_id"].str.partition(":")[0])
    return frame[schema.daily_bars.columns.keys()]


@pytest.fixture
def stored(warehouse: sa.Engine) -> sa.Engine:
    """The warehouse with these bars."""
    writes.upsert(warehouse, schema.daily_bars, bars())
    return warehouse


def test_columns_are_the_rows_of_read_days_as_arrays(stored: sa.Engine) -> None:
    days = DayRange(date(2025, 1, 2), date(2025, 1, 3))
    found = reads.read_columns(stored, schema.daily_bars, days, {"instrument_type": ["crypto", "equity"]}, COLUMNS)
    kinds = {name: cells.dtype.str for name, cells in found.items()}
    assert kinds == {"close": "<f8", "high": "<f8", "adj_factor": "<f8", "date": "<M8[D]"} | dict.fromkeys(
        ("instrument_id", "quality"), "|O"
    )
    order = np.lexsort((found["date"], found["instrument_id"].astype(str)))
    expected = reads.read_days(stored, schema.daily_bars, days, columns=COLUMNS)
    for name, cells in found.items():
        np.testing.assert_array_equal(cells[order], np.array(expected[name].tolist(), dtype=cells.dtype))


def test_no_rows_are_empty_arrays_of_the_same_kinds(stored: sa.Engine) -> None:
    found = reads.read_columns(stored, schema.daily_bars, DAYS, {"instrument_type": []}, COLUMNS)
    assert {len(cells) for cells in found.values()} == {0}
    assert (found["close"].dtype, found["date"].dtype) == (np.dtype("f8"), np.dtype("M8[D]"))


def test_bars_so_far_count_each_instrument_and_tell_its_first_factor_and_last_day(stored: sa.Engine) -> None:
    assert reads.bars_so_far(stored, date(2025, 1, 3)) == {
        "crypto:BTC": (3, 1.0, date(2025, 1, 3)),
        "equity:AMD": (2, 0.5, date(2025, 1, 3)),
    }
    assert reads.bars_so_far(stored, date(2024, 12, 31)) == {}


def test_the_newest_row_of_each_instrument(stored: sa.Engine) -> None:
    lost = {"instrument_id": "equity:AMD", "date": date(2025, 1, 4)}
    writes.delete_where(stored, schema.daily_bars, lost)
    found = reads.newest_of_instruments(stored, schema.daily_bars, DAYS)
    assert found[["instrument_id", "date"]].to_numpy().tolist() == [
        ["crypto:BTC", date(2025, 1, 4)],
        ["equity:AMD", date(2025, 1, 3)],
    ]
    found = reads.newest_of_instruments(stored, schema.daily_bars, DAYS, {"instrument_type": ["equity"]})
    assert len(found) == 1


def test_a_slice_of_one_type_is_replaced_and_another_instrument_forgotten_at_once(stored: sa.Engine) -> None:
    table, days = schema.daily_bars, DayRange.of(date(2025, 1, 4))
    new = bars().iloc[[6]].assign(close=50.0).reset_index(drop=True)
    with writes.replacing(stored, [table], days, {"instrument_type": ["equity"]}) as writer:
        writer.forget(table, {"instrument_id": ["equity:AMD"]}, days.end)
        writer.add(table, new)
        writer.correct(table, bars().iloc[[5]].assign(close=49.0).reset_index(drop=True))
        writer.settle()
        assert writer.receipt(table).rows == 1
    found = reads.read_days(stored, table, EVER, columns=["instrument_id", "close"])
    assert found.loc[found["instrument_id"] == "equity:AMD", "close"].tolist() == [49.0, 50.0]
    assert (found["instrument_id"] == "crypto:BTC").sum() == 4


def test_rows_outside_the_slice_or_an_empty_condition_change_nothing(stored: sa.Engine) -> None:
    table, days = schema.daily_bars, DayRange.of(date(2025, 1, 4))
    before = reads.read_all(stored, table)
    for wrong in (bars().iloc[[3]], bars().iloc[[5]]):
        with (
            pytest.raises(SuspiciousDataError, match="daily_bars"),
            writes.replacing(stored, [table], days, {"instrument_type": ["equity"]}) as writer,
        ):
            writer.add(table, wrong.reset_index(drop=True))
    with pytest.raises(ValueError, match="without a condition"), writes.replacing(stored, [table], days) as writer:
        writer.forget(table, {}, days.end)
    pd.testing.assert_frame_equal(reads.read_all(stored, table), before)
