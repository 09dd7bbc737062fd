"""Tests of domain/gas/fees.py."""

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, market_stamp, start_of
from defiyield_assets.domain.gas.fees import DAILY_COLUMNS, HOURLY_COLUMNS, daily_fees, hourly_fees
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid

DAY = date(2025, 6, 2)
ONE = DayRange.of(DAY)
STAMP = market_stamp(DAY)


def hour(index: int, base: float | None = 1.0, median: float | None = 2.0, **more: Any) -> dict[str, Any]:
    stamp = start_of(DAY) + timedelta(hours=index)
    row = {
        "hour": stamp,
        "date": stamp.date(),
        "base_fee_gwei": base,
        "min_gwei": 0.5,
        "max_gwei": 3.0,
        "median_gwei": median,
        "eth_price_usd": 2500.0 + index,
    }
    return row | more


def hourly(*rows: dict[str, Any], fetched_at: datetime = STAMP) -> pd.DataFrame:
    frame = hourly_fees(pd.DataFrame(list(rows)), fetched_at, "ethgastracker")
    require_valid(schema.gas_fees_hourly, frame)
    return frame


def daily(*rows: dict[str, Any]) -> pd.DataFrame:
    frame = daily_fees(hourly(*rows), ONE)
    require_valid(schema.gas_fees_daily, frame)
    return frame.set_index("kind")


def test_columns_are_those_of_the_tables() -> None:
    assert list(HOURLY_COLUMNS) == [column.name for column in schema.gas_fees_hourly.columns]
    assert list(DAILY_COLUMNS) == [column.name for column in schema.gas_fees_daily.columns]
    assert list(daily_fees(hourly_fees(pd.DataFrame(), STAMP, "x"), ONE).columns) == list(DAILY_COLUMNS)


def test_base_fee_and_gas_price_are_two_series() -> None:
    frame = hourly(hour(0)).set_index("kind")
    assert frame.loc["base_fee", "mean_gwei"] == 1.0
    assert frame.loc["base_fee", ["median_gwei", "max_gwei"]].isna().all()
    assert frame.loc["gas_price", ["median_gwei", "max_gwei"]].tolist() == [2.0, 3.0]
    assert np.isnan(frame.loc["gas_price", "mean_gwei"])


def test_a_market_that_knows_only_a_gas_price_has_only_that() -> None:
    only = hourly(hour(0, base=None, max_gwei=None))
    assert only["kind"].tolist() == ["gas_price"]
    assert hourly(hour(0, median=None, max_gwei=None))["kind"].tolist() == ["base_fee"]
    assert hourly(hour(0, base=-1.0, median=np.inf, max_gwei=None)).empty


def test_the_running_hour_is_left_out() -> None:
    running = start_of(DAY) + timedelta(hours=2, minutes=59)
    assert set(hourly(*map(hour, range(4)), fetched_at=running)["hour"].dt.hour) == {0, 1}
    assert set(hourly(*map(hour, range(4)), fetched_at=running + timedelta(minutes=1))["hour"].dt.hour) == {0, 1, 2}


def test_a_day_is_summed_up_over_its_observed_hours() -> None:
    frame = daily(*[hour(index, base=float(index)) for index in range(11)], hour(24, base=99.0), hour(-1, base=99.0))
    row = frame.loc["base_fee"]
    assert row[["mean_gwei", "median_gwei", "p10_gwei", "p90_gwei", "max_gwei"]].tolist() == [5.0, 5.0, 1.0, 9.0, 10.0]
    assert (row["n_hours"], row["eth_price_usd"]) == (11, 2510.0)
    assert frame.loc["gas_price", ["mean_gwei", "max_gwei"]].tolist() == [2.0, 3.0]


def test_an_hour_told_twice_counts_once_with_the_later_word() -> None:
    again = hourly(hour(0, base=5.0), fetched_at=STAMP + timedelta(days=1))
    both = pd.concat([again, hourly(hour(0, base=1.0), hour(1, base=1.0))], ignore_index=True)
    row = daily_fees(both, ONE).set_index("kind").loc["base_fee"]
    assert (row["n_hours"], row["mean_gwei"]) == (2, 3.0)


def test_sources_are_never_mixed() -> None:
    other = hourly(hour(0, base=9.0)).assign(source="node")
    frame = daily_fees(pd.concat([other, hourly(hour(0))], ignore_index=True), ONE)
    assert frame[frame["kind"] == "base_fee"]["mean_gwei"].tolist() == [1.0, 9.0]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 500), min_size=1, max_size=24), st.randoms())
def test_days_do_not_depend_on_order_or_on_other_days(fees: list[float], random: Any) -> None:
    rows = [hour(index, base=fee) for index, fee in enumerate(fees)]
    noise = [hour(24 + index, base=1e6) for index in range(3)]
    shuffled = [*rows, *noise]
    random.shuffle(shuffled)
    late = market_stamp(DAY + timedelta(days=1))
    pd.testing.assert_frame_equal(
        daily_fees(hourly(*rows, fetched_at=late), ONE), daily_fees(hourly(*shuffled, fetched_at=late), ONE)
    )
