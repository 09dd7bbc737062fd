"""Tests of domain/pools/snapshot.py."""

import json
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.pools.snapshot import (
    POOL_COLUMNS,
    aliases_in_force,
    build_pools,
    require_whole_snapshot,
    under_todays_ids,
)
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid

DAY = date(2025, 6, 2)
STAMP = market_stamp(DAY)
NO_LEGS = pd.DataFrame(columns=["pool_id", "total_supply_usd", "total_borrow_usd", "apy_base_borrow"])


def row(pool_id: str, **changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "pool_id": pool_id,
        "chain": "Ethereum",
        "project": "aave-v3",
        "symbol": "USDC",
        "pool_meta": None,
        "tvl_usd": 1_000_000.0,
        "apy": 0.05,
        "apy_base": 0.05,
        "apy_reward": np.nan,
        "exposure": "single",
        "il_risk": "no",
        "is_stablecoin": True,
        "underlying_addresses": ["0xAbC"],
        "reward_tokens": None,
    }
    return {**base, **changes}


def build(
    *rows: dict[str, object], legs: pd.DataFrame = NO_LEGS, aliases: dict[str, str] | None = None
) -> pd.DataFrame:
    frame = build_pools(pd.DataFrame(list(rows)), legs, DAY, STAMP, aliases)
    require_valid(schema.pools, frame)
    return frame.set_index("pool_id")


def test_columns_are_those_of_the_table() -> None:
    assert list(POOL_COLUMNS) == [column.name for column in schema.pools.columns]
    empty = build_pools(pd.DataFrame(), NO_LEGS, DAY, STAMP)
    assert list(empty.columns) == list(POOL_COLUMNS)
    assert empty.empty


def test_absurd_rates_are_kept_raw_and_impossible_sizes_become_unknown() -> None:
    pools = build(
        row("a", apy=3500.0, tvl_usd=-5.0), row("b", apy=-0.2, tvl_usd=np.inf), row("c", apy=np.nan, tvl_usd=0.0)
    )
    assert pools.loc["a", "apy"] == 3500.0
    assert pools.loc["b", "apy"] == -0.2
    assert np.isnan(pools.loc["c", "apy"])
    assert np.isnan(pools.loc["a", "tvl_usd"])
    assert np.isnan(pools.loc["b", "tvl_usd"])
    assert pools.loc["c", "tvl_usd"] == 0.0


def test_legs_join_by_pool_and_are_unknown_elsewhere() -> None:
    legs = pd.DataFrame({"pool_id": ["a", "a"], "total_supply_usd": [9.0, 7.0], "total_borrow_usd": [4.0, 3.0]})
    pools = build(row("a"), row("b"), legs=legs)
    assert pools.loc["a", "total_supply_usd"] == 9.0
    assert pools.loc["a", "total_borrow_usd"] == 4.0
    assert np.isnan(pools.loc["b", "total_supply_usd"])


@pytest.mark.parametrize("bad", [None, np.nan, [], ["0xA", None], ["0xA", ""], "0xA"])
def test_an_incomplete_list_of_underlyings_is_no_list(bad: object) -> None:
    assert build(row("a", underlying_addresses=bad)).loc["a", "underlying_addresses_json"] == "[]"


def test_addresses_are_lower_case() -> None:
    assert json.loads(build(row("a")).loc["a", "underlying_addresses_json"]) == ["0xabc"]


def test_stale_only_when_the_vendors_own_stamp_is_more_than_a_day_old() -> None:
    fresh, edge, old = STAMP - timedelta(hours=2), STAMP - timedelta(days=1), STAMP - timedelta(days=1, seconds=1)
    pools = build(
        row("a", observed_at=fresh), row("b", observed_at=edge), row("c", observed_at=old), row("d", observed_at=None)
    )
    assert list(pools["is_stale"]) == [False, False, True, False]
    assert not build(row("a")).loc["a", "is_stale"]


def test_aliases_rename_and_todays_own_row_wins() -> None:
    legs = pd.DataFrame({"pool_id": ["old"], "total_supply_usd": [9.0], "total_borrow_usd": [4.0]})
    renamed = build(row("old"), legs=legs, aliases={"old": "new"})
    assert list(renamed.index) == ["new"]
    assert renamed.loc["new", "total_supply_usd"] == 9.0
    both = build(row("old", tvl_usd=9e9, apy=0.01), row("new", tvl_usd=1.0, apy=0.02), aliases={"old": "new"})
    assert list(both["apy"]) == [0.02]


def test_duplicate_rows_give_one_row_whatever_their_order() -> None:
    first, second = row("a", tvl_usd=1.0), row("a", tvl_usd=2.0)
    assert build(first, second).loc["a", "tvl_usd"] == build(second, first).loc["a", "tvl_usd"] == 2.0


def test_alias_chains_are_followed_dated_and_never_circular() -> None:
    frame = pd.DataFrame(
        [("a", "b", DAY, "x"), ("b", "c", DAY, "x"), ("z", "y", DAY + timedelta(days=1), "x")],
        columns=["old_id", "new_id", "since", "source"],
    )
    assert aliases_in_force(frame, DAY) == {"a": "c", "b": "c"}
    assert aliases_in_force(frame.iloc[0:0], DAY) == {}
    circle = pd.DataFrame([("a", "b", DAY, "x"), ("b", "a", DAY, "x")], columns=["old_id", "new_id", "since", "source"])
    with pytest.raises(ConfigurationError, match="back to itself"):
        aliases_in_force(circle, DAY)


@pytest.mark.parametrize("backwards", [False, True])
def test_of_two_ids_of_one_pool_todays_own_tells_then_the_first_old_one(backwards: bool) -> None:
    stored = [
        *[("todays", 1, "a", 1.0), ("old", 1, "a", 2.0), ("old", 1, "b", 3.0), ("older", 1, "a", 4.0)],
        *[("older", 2, "a", 5.0), ("old", 2, "a", 6.0), ("old", 2, "b", 7.0)],
        *[("older", None, "a", 8.0), ("other", 1, "a", 9.0)],
    ]
    rows = pd.DataFrame(stored[:: -1 if backwards else 1], columns=["pool_id", "as_of", "model", "mean"])
    found = under_todays_ids(rows, {"older": "todays", "old": "todays"}, ["as_of"])
    assert list(found.columns) == list(rows.columns)
    assert sorted(zip(found["pool_id"], found["mean"], strict=True)) == [
        ("other", 9.0),
        *[("todays", 1.0), ("todays", 6.0), ("todays", 7.0), ("todays", 8.0)],
    ]
    by_model = under_todays_ids(rows, {"older": "todays", "old": "todays"}, ["as_of", "model"])
    assert sorted(by_model["mean"]) == [1.0, 3.0, 6.0, 7.0, 8.0, 9.0]
    assert under_todays_ids(rows, {"unknown": "todays"}, ["as_of"]) is rows
    assert under_todays_ids(rows.iloc[:0], {"old": "todays"}, ["as_of"]).empty


def test_an_empty_or_truncated_snapshot_is_refused() -> None:
    with pytest.raises(SuspiciousDataError, match="no pool"):
        require_whole_snapshot(0, None, DAY)
    with pytest.raises(SuspiciousDataError, match="truncated"):
        require_whole_snapshot(49, 100, DAY)
    require_whole_snapshot(50, 100, DAY)
    require_whole_snapshot(1, None, DAY)
