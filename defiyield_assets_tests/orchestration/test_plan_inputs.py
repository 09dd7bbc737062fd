"""Curves of utilisation as a plan reads them from the warehouse.

Not here: fitting (domain/allocation/test_utilisation.py), plans (test_odd_days.py).
"""

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.policy import Parameters, Policy, PoolAlias
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.orchestration.plan_inputs import utilisation_curves
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import Installation

DAY = date(2025, 6, 2)
CURVE = UtilisationCurve(0.9, 0.01, 0.06, 3.0)


def points(pool_id: str, days: list[date], seen_at: datetime | None = None, factor: float = 1.0) -> pd.DataFrame:
    """A history that follows the curve, each day seen in its own hour unless told otherwise."""
    used = [0.87 + 0.06 * math.sin(0.7 * day.toordinal()) for day in days]
    rows = [
        {"pool_id": pool_id, "date": day, "total_supply_usd": 1e8, "total_borrow_usd": one * 1e8}
        | {"apy_base": CURVE.supply_rate(one) * factor, "apy_reward": None, "apy_base_borrow": None}
        | {"apy_reward_borrow": None, "seen_at": seen_at or datetime(day.year, day.month, day.day, tzinfo=UTC)}
        for day, one in zip(days, used, strict=True)
    ]
    return pd.DataFrame(rows)


def days_back(first: int, last: int) -> list[date]:
    return [DAY - timedelta(days=back) for back in range(first, last - 1, -1)]


@pytest.fixture
def warehouse(tmp_path: Path) -> WarehouseResource:
    """A warehouse that knows the policy of the day, in which one pool has a new id since a month ago."""
    found = Installation(tmp_path).warehouse
    found.migrate()
    alias = PoolAlias("old", "new", DAY - timedelta(days=30), source="test")
    policy = Policy(Parameters(), (), (), pool_aliases=(alias,))
    row = {"date": DAY, "policy_hash": content_hash(policy), "policy_json": policy_to_json(policy)}
    row |= {"n_tokens": 0, "n_protocols": 0, "n_overrides": 0}
    writes.replace_slice(found.engine, schema.policy_snapshot, pd.DataFrame([row]), DayRange.of(DAY))
    return found


def store(warehouse: WarehouseResource, rows: pd.DataFrame) -> None:
    writes.insert_missing(warehouse.engine, schema.lending_histories, rows)


def test_histories_are_read_up_to_the_day_and_under_todays_id(warehouse: WarehouseResource) -> None:
    store(warehouse, points("old", days_back(80, 31)))
    store(warehouse, points("new", days_back(30, 0)))
    curves = utilisation_curves(warehouse, DAY)
    assert set(curves) == {"new"}
    assert curves["new"].kink == CURVE.kink
    assert curves["new"].supply_rate(0.92) == pytest.approx(CURVE.supply_rate(0.92), rel=1e-3)


def test_nothing_later_than_the_day_is_looked_at(warehouse: WarehouseResource) -> None:
    store(warehouse, points("new", days_back(60, 0)))
    before = utilisation_curves(warehouse, DAY)
    tomorrow = [DAY + timedelta(days=ahead) for ahead in range(1, 60)]
    store(warehouse, points("new", tomorrow, factor=0.2))
    store(warehouse, points("new", days_back(89, 61), seen_at=cutoff(DAY) + timedelta(seconds=1), factor=0.2))
    assert utilisation_curves(warehouse, DAY) == before
    assert set(before) == {"new"}


def test_a_day_without_histories_has_no_curves(warehouse: WarehouseResource) -> None:
    assert utilisation_curves(warehouse, DAY) == {}
