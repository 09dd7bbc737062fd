"""Tests of domain/pools/revisions.py."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from defiyield_assets.domain.days import cutoff, market_stamp
from defiyield_assets.domain.pools.revisions import REVISION_COLUMNS, revisions_seen
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.pools.cases import DAY

POINT = DAY - timedelta(days=4)
FIRST_SEEN = market_stamp(POINT)


def told(*sights: tuple[int, datetime, float]) -> pd.DataFrame:
    """Revisions of one point: number, when seen, APY."""
    rows = [
        {
            "pool_id": "p",
            "date": POINT,
            "revision": number,
            "apy": apy,
            "tvl_usd": 1e6,
            "source": "chart",
            "seen_at": seen,
        }
        for number, seen, apy in sights
    ]
    return pd.DataFrame(rows).assign(apy_base=None, apy_reward=None, il_7d=None, is_provisional=False)


def test_columns_are_those_of_the_table() -> None:
    assert list(REVISION_COLUMNS) == [column.name for column in schema.history_revisions.columns]


def test_a_change_is_told_with_what_was_there_before() -> None:
    changes = revisions_seen(told((0, FIRST_SEEN, 0.04), (1, market_stamp(DAY), 0.05)), DAY)
    require_valid(schema.history_revisions, changes)
    change = changes.iloc[0]
    assert (change["point_date"], change["revision"], change["age_days"]) == (POINT, 1, 4)
    assert (change["apy_before"], change["apy"], change["apy_change"]) == (0.04, 0.05, pytest.approx(0.01))


@pytest.mark.parametrize(
    ("seen", "days"),
    [
        (cutoff(DAY), [DAY]),
        (cutoff(DAY) + timedelta(seconds=1), [DAY + timedelta(days=1)]),
        (cutoff(DAY) + timedelta(hours=13), [DAY + timedelta(days=1)]),
        (cutoff(DAY) - timedelta(days=1), [DAY - timedelta(days=1)]),
    ],
)
def test_every_change_belongs_to_exactly_one_day(seen: datetime, days: list[object]) -> None:
    frame = told((0, FIRST_SEEN, 0.04), (1, seen, 0.05))
    around = [DAY + timedelta(days=offset) for offset in range(-3, 4)]
    assert [day for day in around if len(revisions_seen(frame, day))] == days


def test_what_is_seen_later_changes_no_earlier_report() -> None:
    frame = told((0, FIRST_SEEN, 0.04), (1, market_stamp(DAY), 0.05))
    later = told((0, FIRST_SEEN, 0.04), (1, market_stamp(DAY), 0.05), (2, market_stamp(DAY + timedelta(days=2)), 0.06))
    assert revisions_seen(later, DAY).equals(revisions_seen(frame, DAY))
    assert revisions_seen(later, DAY + timedelta(days=2))["apy_before"].tolist() == [0.05]


def test_an_older_sight_that_comes_late_and_the_same_value_again_are_no_changes() -> None:
    older = told((0, market_stamp(DAY), 0.05), (1, FIRST_SEEN, 0.04))
    assert revisions_seen(older, POINT).empty, "nothing was known before it"
    same = told((0, FIRST_SEEN, 0.04), (1, market_stamp(DAY), 0.04))
    assert revisions_seen(same, DAY).empty
    assert list(revisions_seen(same.iloc[:0], DAY).columns) == list(REVISION_COLUMNS)
