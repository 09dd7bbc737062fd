"""Tests of domain/pools/crosschecks.py."""

from datetime import date
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.pools.crosschecks import dead_series, leg_gaps

DAY = date(2025, 6, 2)


def pool(pool_id: str, tvl: float | None, supply: float | None, borrow: float | None) -> dict[str, Any]:
    return {
        "snapshot_date": DAY,
        "pool_id": pool_id,
        "project": "aave-v3",
        "symbol": "USDC",
        "tvl_usd": tvl,
        "total_supply_usd": supply,
        "total_borrow_usd": borrow,
    }


def test_supply_less_borrow_is_compared_with_the_value_locked() -> None:
    """DeFiLlama: tvlUsd of a lending pool is what is supplied and not lent out (vendors.md)."""
    rows = [
        pool("exact", 40.0, 100.0, 60.0),
        pool("within", 44.9, 100.0, 60.0),
        pool("beyond", 45.1, 100.0, 60.0),
        pool("is the supply", 100.0, 100.0, 60.0),
        pool("no lending pool", 40.0, None, None),
        pool("unknown borrow", 40.0, 100.0, None),
        pool("nothing supplied", 0.0, 0.0, 0.0),
    ]
    apart, n_compared = leg_gaps(pd.DataFrame(rows))
    assert n_compared == 4
    assert apart["pool_id"].tolist() == ["beyond", "is the supply"]
    assert apart["supply_less_borrow_usd"].tolist() == [40.0, 40.0]
    assert apart["difference"].tolist() == pytest.approx([-0.051, -0.6])


def test_without_a_lending_pool_nothing_is_compared() -> None:
    apart, n_compared = leg_gaps(pd.DataFrame([pool("p", 1.0, None, None)]))
    assert (len(apart), n_compared) == (0, 0)


def test_series_that_stand_still_or_are_missing_are_dead() -> None:
    rows = [
        ("fine", False, False, ""),
        ("spike", False, False, "SPIKE"),
        ("stuck", True, False, "STUCK"),
        ("gap", False, True, "GAP"),
        ("silent", False, False, "NO_POINT"),
        ("empty", False, False, "NO_DATA,NULL_APY"),
    ]
    columns = ["pool_id", "is_stuck", "has_gap", "reason_codes"]
    quality = pd.DataFrame(rows, columns=columns).assign(date=DAY, reasons="")
    dead, n_followed = dead_series(quality)
    assert n_followed == 6
    assert dead["pool_id"].tolist() == ["empty", "gap", "silent", "stuck"]
    assert dead_series(quality[:0])[1] == 0
