"""Tests of domain/pools/lending.py."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.pools.lending import LEGS, LENDING_COLUMNS, lending_from_chart, lending_from_snapshot
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.pools.cases import DAY

NEXT = DAY + timedelta(days=1)


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def chart(*points: tuple[datetime, float]) -> pd.DataFrame:
    return pd.DataFrame({"ts": [ts for ts, _ in points], "date": [ts.date() for ts, _ in points]}).assign(
        **{leg: [value for _, value in points] for leg in LEGS}
    )


def test_columns_are_those_of_the_table() -> None:
    assert list(LENDING_COLUMNS) == [column.name for column in schema.lending_histories.columns]


def test_the_last_point_of_each_day_that_is_over_is_kept() -> None:
    points = chart((at(DAY, 20), 3.0), (at(DAY, 5), 2.0), (at(DAY - timedelta(days=1), 23), 1.0), (at(NEXT, 0), 9.0))
    kept = lending_from_chart(points, "p", DAY, market_stamp(DAY))
    require_valid(schema.lending_histories, kept)
    assert kept.sort_values("date")["total_supply_usd"].tolist() == [1.0, 3.0]
    running = lending_from_chart(points, "p", DAY, at(DAY, 21))
    assert running["total_supply_usd"].tolist() == [1.0], "what is kept for good must be final"
    assert lending_from_chart(points.iloc[:0], "p", DAY, market_stamp(DAY)).empty


def test_the_snapshot_tells_of_followed_lending_pools_that_are_fresh() -> None:
    pools = pd.DataFrame(
        [("lent", 5.0, False), ("stale", 5.0, True), ("vault", None, False), ("other", 5.0, False)],
        columns=["pool_id", "total_supply_usd", "is_stale"],
    ).assign(snapshot_date=DAY, total_borrow_usd=2.0, apy_base=0.04, apy_reward=None, observed_at=market_stamp(DAY))
    told = lending_from_snapshot(pools, {"lent", "stale", "vault"})
    assert told[["pool_id", "date", "total_supply_usd"]].to_numpy().tolist() == [["lent", DAY, 5.0]]
    assert told["apy_base_borrow"].isna().all()
    assert list(told.columns) == list(LENDING_COLUMNS)
