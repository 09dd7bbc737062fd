"""Tests of domain/selection/resolvers.py, and of what the pre-filter makes of a resolution.

The Pendle market is the recorded one of `fixtures/pendle_merkl` (wstETH, 2027-12-30), renamed where a case needs it.
"""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.canonical import canonical_json, stable_address
from defiyield_assets.domain.policy import PoolContract, PoolOverride
from defiyield_assets.domain.selection.resolvers import (
    FREQUENCY,
    MIN_TRANSFERS,
    PENDLE_MAP,
    RESOLVED_COLUMNS,
    addresses_to_ask,
    maturity_in,
    pools_to_resolve,
    resolve_by_frequency,
    resolve_by_pendle,
)
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.selection.cases import DAI, DAY, USDC, judged, policy, pool, pools

MARKET = "0x34280882267ffa6383b363e278b027be083bbe3b"
WSTETH = "0x7f39c581f595b53c5cb19bd0b3f8da6c935e2ca0"
EXPIRY = date(2027, 12, 30)
UNNAMED = {"underlying_addresses_json": "[]"}
PENDLE_POOL = {"project": "pendle", "symbol": "WSTETH", "pool_meta": "For LP | Maturity 30DEC2027", **UNNAMED}
RULES = policy(protocols=("aave-v3", "curve-dex", "morpho-v1", "pendle"))


def market(**more: Any) -> dict[str, Any]:
    """A row of pendle_markets."""
    row = {
        "date": DAY,
        "chain_id": 1,
        "market": MARKET,
        "name": "wstETH",
        "expiry": EXPIRY,
        "principal_token": "0xb253eff1104802b97ac7e3ac9fdd73aece295a2c",
        "yield_token": "0x04b7fa1e727d7290d6e24fa9b426d0c940283a95",
        "standardised_yield": "0xcbc72d92b2dc8187414f6734718563898740c0bc",
        "underlying": WSTETH,
    }
    return row | more


def resolved(row: dict[str, Any], *markets: dict[str, Any], rules: Any = RULES) -> pd.DataFrame:
    """What Pendle's map says of one pool of the day."""
    columns = [column.name for column in schema.pendle_markets.columns]
    frame = resolve_by_pendle(
        pools_to_resolve(pools(row), rules, DAY), pd.DataFrame(list(markets), columns=columns), DAY
    )
    require_valid(schema.resolved_underlyings, frame)
    return frame


def contract_of(pool_id: str, address: str) -> PoolContract:
    return PoolContract(pool_id, 1, address, stable_address("share", pool_id))


def test_columns_are_those_of_the_table() -> None:
    assert list(RESOLVED_COLUMNS) == [column.name for column in schema.resolved_underlyings.columns]


def test_a_pendle_pool_is_the_only_market_of_its_name_and_maturity() -> None:
    found = resolved(pool("p", **PENDLE_POOL), market(), market(market="0xb", name="USDe"))
    assert found[["pool_id", "address", "resolver", "maturity"]].values.tolist() == [["p", WSTETH, PENDLE_MAP, EXPIRY]]
    assert MARKET in found["evidence"].iloc[0]


def test_the_address_of_the_contract_beats_names() -> None:
    rules = replace(RULES, pool_contracts=(contract_of("p", MARKET),))
    named = market(market="0xother", underlying="0xwrong")
    found = resolved(pool("p", **PENDLE_POOL | {"symbol": "x", "pool_meta": None}), market(), named, rules=rules)
    assert found["address"].tolist() == [WSTETH]
    assert "contract" in found["evidence"].iloc[0]


@pytest.mark.parametrize(
    ("changes", "markets"),
    [
        pytest.param({}, [], id="no market at all"),
        pytest.param({}, [market(expiry=date(2026, 3, 26))], id="another maturity"),
        pytest.param({}, [market(name="USDe")], id="another name"),
        pytest.param({}, [market(), market(market="0xb")], id="two such markets"),
        pytest.param({}, [market(underlying=None)], id="no underlying on this chain"),
        pytest.param({"pool_meta": None}, [market()], id="no maturity in the remark"),
        pytest.param({"project": "aave-v3"}, [market()], id="not Pendle's"),
        pytest.param({"chain": "Base"}, [market()], id="chain not allowed"),
        pytest.param({"tvl_usd": 499_999.0}, [market()], id="too small to pass anyway"),
        pytest.param({"is_stale": True}, [market()], id="stale"),
    ],
)
def test_what_is_not_certain_is_not_resolved(changes: dict[str, Any], markets: list[dict[str, Any]]) -> None:
    assert resolved(pool("p", **PENDLE_POOL | changes), *markets).empty


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("For LP | Maturity 26MAR2026", date(2026, 3, 26)),
        ("For buying PT-sUSDE-25SEP2025", date(2025, 9, 25)),
        ("maturity 5jun2025", date(2025, 6, 5)),
        ("31FEB2026", None),
        ("26MAR2026 or 27MAR2026", None),
        ("126MAR2026", None),
        ("26MAR20261", None),
        ("Epoch 5", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_a_maturity_is_one_day_or_none(text: Any, expected: date | None) -> None:
    assert maturity_in(text) == expected


def test_only_pools_that_could_pass_otherwise_are_asked_about() -> None:
    rows = [
        pool("single", **UNNAMED),
        pool("named"),
        pool("multi", exposure="multi", **UNNAMED),
        pool("pair", symbol="USDC-DAI", **UNNAMED),
        pool("unknown contract", **UNNAMED),
        pool("told", **UNNAMED),
        pool("small", tvl_usd=10.0, **UNNAMED),
        pool("small but supplied", tvl_usd=10.0, total_supply_usd=1e6, **UNNAMED),
        pool("unapproved", project="nobody", **UNNAMED),
        pool("pendle", **PENDLE_POOL),
    ]
    known = [str(row["pool_id"]) for row in rows if row["pool_id"] != "unknown contract"]
    contracts = tuple(contract_of(pool_id, f"0x{pool_id}") for pool_id in known)
    told = (PoolOverride("told", underlying_addresses=(DAI.address,)),)
    rules = replace(RULES, pool_contracts=contracts, pool_overrides=told)
    wanted = pools_to_resolve(pools(*rows), rules, DAY)
    assert addresses_to_ask(wanted) == {"single": "0xsingle", "small but supplied": "0xsmall but supplied"}
    assert pools_to_resolve(pools(*rows), rules, DAY + timedelta(days=1)).empty, "another day's snapshot"


def shares(*counts: int) -> pd.DataFrame:
    """What the client counted, most frequent first."""
    tokens = [USDC.address, DAI.address, "0xc"][: len(counts)]
    return pd.DataFrame(
        {"token_address": tokens, "n_transfers": counts, "share": [count / sum(counts) for count in counts]}
    )


@pytest.mark.parametrize(
    ("counts", "is_resolved"),
    [
        ((20,), True),
        ((19,), False),
        ((60, 40), True),
        ((59, 41), False),
        ((12, 8), True),
        ((11, 8), False),
        ((), False),
    ],
)
def test_the_most_frequent_token_needs_a_share_and_a_number(counts: tuple[int, ...], is_resolved: bool) -> None:
    found = resolve_by_frequency("p", shares(*counts), DAY)
    require_valid(schema.resolved_underlyings, found)
    assert found["address"].tolist() == ([USDC.address] if is_resolved else [])
    if is_resolved:
        assert found["resolver"].tolist() == [FREQUENCY]
        assert f"{counts[0]} of the newest {sum(counts)}" in found["evidence"].iloc[0]
        assert sum(counts) >= MIN_TRANSFERS


# --- what the pre-filter makes of it --------------------------------------------------------------------------------
def resolution(address: str, maturity: date | None = None, day: date = DAY) -> pd.DataFrame:
    row = (day, "p", address, PENDLE_MAP, "says so", maturity)
    return pd.DataFrame([row], columns=list(RESOLVED_COLUMNS), dtype=object)


def test_a_resolved_pool_passes_and_without_the_resolver_it_stays_out() -> None:
    assert judged(pool(**UNNAMED)).loc["p", "reason_codes"] == "NO_UNDERLYING"
    assert judged(pool(**UNNAMED), resolved=resolution(DAI.address)[:0]).loc["p", "reason_codes"] == "NO_UNDERLYING"
    row = judged(pool(**UNNAMED), resolved=resolution(DAI.address)).loc["p"]
    assert row["is_passed"]
    assert row["underlying_addresses_json"] == canonical_json([DAI.address])
    assert judged(pool(**UNNAMED), resolved=resolution("0xe")).loc["p", "reason_codes"] == "TOKEN_NOT_APPROVED"


def test_another_days_resolution_is_not_read() -> None:
    later = resolution(DAI.address, day=DAY + timedelta(days=1))
    assert judged(pool(**UNNAMED), resolved=later).loc["p", "reason_codes"] == "NO_UNDERLYING"


@pytest.mark.parametrize(("days", "is_passed"), [(30, False), (31, True)])
def test_a_resolved_maturity_counts_where_no_override_states_one(days: int, is_passed: bool) -> None:
    maturing = resolution("0xwhatever", DAY + timedelta(days=days))
    row = judged(pool(), resolved=maturing).loc["p"]
    assert row["is_passed"] == is_passed
    assert row["underlying_symbols"] == "USDC", "the vendor's own list stands"
    stated = policy(pool_overrides=(PoolOverride("p", maturity=DAY + timedelta(days=90)),))
    assert judged(pool(), resolved=maturing, rules=stated).loc["p", "is_passed"]
