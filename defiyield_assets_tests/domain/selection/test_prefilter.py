"""Tests of domain/selection/prefilter.py, registry.py and reasons.py: every rule alone, all reasons together."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import BarredToken, PoolOverride, Wallet
from defiyield_assets.domain.selection.prefilter import PREFILTER_COLUMNS
from defiyield_assets.domain.selection.reasons import FINAL, ORDER, PREFILTER, WORDS
from defiyield_assets.domain.selection.registry import REGISTRY_COLUMNS, build_token_registry
from defiyield_assets.domain.selection.resolvers import RESOLVED_COLUMNS
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.selection.cases import (
    CRVUSD,
    DAI,
    DAY,
    EURX,
    FRAX,
    OUSG,
    SDAI,
    STKGHO,
    USDC,
    WARM,
    YESTERDAY,
    bar,
    bars,
    judged,
    policy,
    pool,
    pools,
    token,
)

STRANGER = token("STRANGER")


def codes(**changes: Any) -> str:
    """Reason codes of the good pool with some fields changed."""
    return str(judged(pool(**changes)).loc["p", "reason_codes"])


def override(**facts: Any) -> Any:
    return policy(pool_overrides=(PoolOverride("p", **facts),))


def test_columns_are_those_of_the_tables_and_rows_are_valid() -> None:
    assert list(PREFILTER_COLUMNS) == [column.name for column in schema.prefiltered_pools.columns]
    assert list(REGISTRY_COLUMNS) == [column.name for column in schema.token_registry.columns]
    frame = judged(pool("a"), pool("b", (USDC, DAI), symbol="x" * 500), pool("c", (), tvl_usd=np.nan, apy=np.nan))
    require_valid(schema.prefiltered_pools, frame.reset_index(drop=True))
    require_valid(schema.token_registry, build_token_registry(pools(pool(tokens=(USDC, STRANGER))), policy(), DAY))
    empty = judged()
    assert list(empty.columns) == list(PREFILTER_COLUMNS)


def test_a_good_pool_passes_without_a_word() -> None:
    row = judged(pool()).loc["p"]
    assert row["is_passed"]
    assert row["reason_codes"] == row["warning_codes"] == row["reasons"] == ""
    assert row["role"] == "vault"
    assert row["underlying_symbols"] == "USDC"
    assert row["exit_days"] == 0
    assert row["maturity"] is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"project": "aave-v9"}, "PROTOCOL_NOT_APPROVED"),
        ({"chain": "Base"}, "CHAIN_NOT_ALLOWED,TOKEN_NOT_APPROVED"),
        ({"underlying_addresses_json": "[]"}, "NO_UNDERLYING"),
        ({"tokens": (STRANGER,)}, "TOKEN_NOT_APPROVED"),
        ({"tokens": (USDC, STRANGER)}, "TOKEN_NOT_APPROVED"),
        ({"tokens": (FRAX,)}, "TOKEN_BLACKLISTED"),
        ({"tokens": (USDC, FRAX)}, "TOKEN_BLACKLISTED"),
        ({"tokens": (OUSG,)}, "ACCESS_RESTRICTED"),
        ({"tokens": (STKGHO,)}, "EXIT_TOO_SLOW"),
        ({"tokens": (EURX,)}, "NOT_A_DOLLAR_POOL"),
        ({"tvl_usd": np.nan}, "SIZE_UNKNOWN"),
        ({"tvl_usd": 499_999.0}, "TOO_SMALL"),
        ({"is_stale": True}, "STALE"),
    ],
)
def test_each_rule_bars_alone(changes: dict[str, Any], expected: str) -> None:
    row = judged(pool(**changes)).loc["p"]
    assert row["reason_codes"] == expected
    assert not row["is_passed"]
    assert row["reasons"]


def test_all_reasons_are_reported_in_the_fixed_order_with_words() -> None:
    rules = policy(pool_overrides=(PoolOverride("p", role="collateral", maturity=DAY),))
    row = judged(
        pool(
            tokens=(FRAX, STRANGER, STKGHO, OUSG), project="x", chain="Ethereum", tvl_usd=1.0, is_stale=True, apy=np.nan
        ),
        rules=rules,
    ).loc["p"]
    found = row["reason_codes"].split(",")
    assert found == [code for code in PREFILTER if code in found]
    assert set(found) == set(PREFILTER) - {
        "CHAIN_NOT_ALLOWED",
        "NO_UNDERLYING",
        "MARKET_CAP_TOO_SMALL",
        "NO_MATURITY",
        "RESERVES_UNBALANCED",
        "SIZE_UNKNOWN",
    }
    assert row["warning_codes"] == "NO_APY"
    assert row["reasons"].count("; ") == len(found)
    assert STRANGER.address in row["reasons"]
    assert "STRANGER" not in row["reasons"]


def test_every_code_has_words_and_a_place() -> None:
    assert set(ORDER) == set(WORDS)
    assert len(ORDER) == len(set(ORDER))
    assert not set(FINAL) & set(PREFILTER)


def test_boundaries_of_size() -> None:
    assert codes(tvl_usd=500_000.0) == ""
    assert codes(tvl_usd=1.0, total_supply_usd=500_000.0) == ""
    assert codes(tvl_usd=9e9, total_supply_usd=499_999.0) == "TOO_SMALL"


def test_size_is_the_supply_where_known_else_a_lower_bound() -> None:
    legs = judged(pool(tvl_usd=1e6, total_supply_usd=3e6, total_borrow_usd=2e6)).loc["p"]
    assert (legs["size_usd"], legs["is_size_lower_bound"], legs["role"]) == (3e6, False, "lend")
    bare = judged(pool()).loc["p"]
    assert (bare["size_usd"], bare["is_size_lower_bound"], bare["role"]) == (1e6, True, "vault")


def test_several_tokens_or_multi_exposure_are_liquidity() -> None:
    assert judged(pool(tokens=(USDC, DAI))).loc["p", "role"] == "liquidity"
    assert judged(pool(tokens=(USDC, DAI), exposure="single")).loc["p", "role"] == "liquidity"
    assert judged(pool(exposure="multi")).loc["p", "role"] == "liquidity"
    assert judged(pool(tokens=(USDC, DAI))).loc["p", "underlying_symbols"] == "USDC+DAI"


def test_protocol_aliases_resolve() -> None:
    row = judged(pool(project="morpho-blue")).loc["p"]
    assert row["is_passed"]
    assert row["protocol"] == "morpho-v1"


def test_addresses_decide_never_symbols() -> None:
    assert codes(symbol="CRVUSD", tokens=(CRVUSD,)) == ""
    assert codes(symbol="whatever", tokens=(CRVUSD,)) == ""
    assert codes(symbol="USDC", tokens=(STRANGER,)) == "TOKEN_NOT_APPROVED"
    frame = build_token_registry(pools(pool("a", (CRVUSD,), symbol="CRVUSD"), pool("b", (CRVUSD,))), policy(), DAY)
    row = frame[frame["address"] == CRVUSD.address]
    assert row["n_pools"].tolist() == [2]
    assert row["symbol"].tolist() == ["crvUSD"]
    both = build_token_registry(pools(pool("a", (DAI,)), pool("b", (SDAI,))), policy(), DAY)
    used = both[both["n_pools"] == 1]
    assert sorted(used["symbol"]) == ["DAI", "sDAI"]


def test_a_blacklisted_address_bars_whatever_case_the_policy_wrote() -> None:
    rules = policy(blacklist=(BarredToken("X", "Ethereum", USDC.address.upper().replace("0X", "0x")),))
    assert judged(pool(), rules=rules).loc["p", "reason_codes"] == "TOKEN_BLACKLISTED"
    elsewhere = policy(blacklist=(BarredToken("X", "Base", USDC.address),))
    assert judged(pool(), rules=elsewhere).loc["p", "is_passed"]


def test_a_blacklist_row_without_address_bars_by_exact_symbol() -> None:
    assert codes(symbol="USDD") == "TOKEN_BLACKLISTED"
    assert codes(symbol="USDC-USDD") == "TOKEN_BLACKLISTED"
    assert codes(symbol="USDDX") == ""
    assert codes(symbol="usdd") == ""
    own = policy(blacklist=(BarredToken("DAI", "Ethereum"),))
    assert judged(pool(tokens=(DAI,), symbol="x"), rules=own).loc["p", "reason_codes"] == "TOKEN_BLACKLISTED"
    assert judged(pool(tokens=(SDAI,)), rules=own).loc["p", "is_passed"]
    assert judged(pool(), rules=policy(blacklist=(BarredToken("USDC", "Base"),))).loc["p", "is_passed"]
    with_address = policy(blacklist=(BarredToken("USDC", "Ethereum", STRANGER.address),))
    assert judged(pool(), rules=with_address).loc["p", "is_passed"]


def test_market_caps_bar_when_small_and_warn_when_unknown() -> None:
    def verdict(caps: Any) -> tuple[str, str]:
        row = judged(pool(tokens=(USDC, DAI)), caps=caps).loc["p"]
        return str(row["reason_codes"]), str(row["warning_codes"])

    assert verdict(bars(bar(USDC), bar(DAI, market_cap_usd=34_999_999.0))) == ("MARKET_CAP_TOO_SMALL", "")
    assert verdict(bars(bar(USDC), bar(DAI, market_cap_usd=35_000_000.0))) == ("", "")
    assert verdict(bars(bar(USDC))) == ("", "NO_MARKET_CAP")
    assert verdict(bars(bar(USDC), bar(DAI, market_cap_usd=None))) == ("", "NO_MARKET_CAP")
    old = DAY - timedelta(days=8)
    assert verdict(bars(bar(USDC), bar(DAI, old))) == ("", "NO_MARKET_CAP")
    assert verdict(bars(bar(USDC), bar(DAI, DAY - timedelta(days=7), market_cap_usd=1.0))) == (
        "MARKET_CAP_TOO_SMALL",
        "",
    )
    newer = bars(bar(USDC), bar(DAI, DAY), bar(DAI, YESTERDAY, market_cap_usd=1.0))
    assert verdict(newer) == ("", "")
    future = bars(bar(USDC), bar(DAI), bar(DAI, DAY + timedelta(days=1), market_cap_usd=1.0))
    assert verdict(future) == ("", "")
    assert verdict(bars()) == ("", "NO_MARKET_CAP")


@pytest.mark.parametrize(
    ("reserves", "expected"),
    [
        ((3.0, 7.0), ""),
        ((5.0, 5.0), ""),
        ((2.9, 7.1), "RESERVES_UNBALANCED"),
        ((7.1, 2.9), "RESERVES_UNBALANCED"),
        ((1.0, 1.0, 8.0), ""),
        ((0.0, 0.0), ""),
        ((), ""),
    ],
)
def test_reserves_of_pairs(reserves: tuple[float, ...], expected: str) -> None:
    frame = judged(pool(tokens=(USDC, DAI)), reserves={"p": reserves})
    assert frame.loc["p", "reason_codes"] == expected


def test_the_largest_accepted_share_of_the_smaller_side_counts() -> None:
    rules = policy(pair_reserve_ratio_max=0.4)
    frame = judged(pool(tokens=(USDC, DAI)), rules=rules, reserves={"p": (5.0, 5.0)})
    assert frame.loc["p", "reason_codes"] == "RESERVES_UNBALANCED"


def test_access_opens_for_the_investable_wallet_that_is_listed() -> None:
    listed = replace(WARM, permitted_tokens=(OUSG.address,))
    assert judged(pool(tokens=(OUSG,)), rules=policy(wallets=(listed,))).loc["p", "is_passed"]
    reserve = Wallet("cold", 1, stable_address("wallet", "cold"), permitted_tokens=(OUSG.address,))
    assert not judged(pool(tokens=(OUSG,)), rules=policy(wallets=(reserve,))).loc["p", "is_passed"]


def test_a_pools_own_access_beats_that_of_its_tokens() -> None:
    assert judged(pool(), rules=override(access="permissioned")).loc["p", "reason_codes"] == "ACCESS_RESTRICTED"
    assert judged(pool(tokens=(OUSG,)), rules=override(access="open")).loc["p", "is_passed"]
    listed = replace(override(access="permissioned"), wallets=(replace(WARM, permitted_tokens=("p",)),))
    assert judged(pool(), rules=listed).loc["p", "is_passed"]


def test_exit_days_of_the_slowest_token_unless_the_pool_says_otherwise() -> None:
    slow = judged(pool(tokens=(USDC, STKGHO))).loc["p"]
    assert (slow["reason_codes"], slow["exit_days"]) == ("EXIT_TOO_SLOW", 20)
    assert judged(pool(), rules=override(exit_days=7)).loc["p", "is_passed"]
    assert judged(pool(), rules=override(exit_days=8)).loc["p", "reason_codes"] == "EXIT_TOO_SLOW"
    assert judged(pool(tokens=(STKGHO,)), rules=override(exit_days=0)).loc["p", "is_passed"]


@pytest.mark.parametrize(("days", "is_passed"), [(-1, False), (30, False), (31, True)])
def test_a_pool_must_not_mature_inside_the_horizon(days: int, is_passed: bool) -> None:
    row = judged(pool(), rules=override(maturity=DAY + timedelta(days=days))).loc["p"]
    assert row["is_passed"] == is_passed
    assert row["maturity"] == DAY + timedelta(days=days)


PENDLE_RULES = policy(protocols=("pendle",))


@pytest.mark.parametrize(
    ("changes", "expected", "maturity"),
    [
        ({"pool_meta": "For LP | Maturity 26JUN2025"}, "MATURES_WITHIN_HORIZON", date(2025, 6, 26)),
        ({"pool_meta": "For LP | Maturity 26MAR2026"}, "", date(2026, 3, 26)),
        ({"symbol": "PT-USDC-26JUN2025"}, "MATURES_WITHIN_HORIZON", date(2025, 6, 26)),
        ({"pool_meta": "Maturity 26JUN2025 or 26MAR2026"}, "NO_MATURITY", None),
        ({}, "NO_MATURITY", None),
    ],
)
def test_a_pendle_pool_names_its_maturity_or_is_out(
    changes: dict[str, Any], expected: str, maturity: date | None
) -> None:
    row = judged(pool(project="pendle", **changes), rules=PENDLE_RULES).loc["p"]
    assert (row["reason_codes"], row["maturity"]) == (expected, maturity)


def test_what_an_override_or_a_resolver_says_of_the_maturity_beats_the_remark() -> None:
    facts = pool(project="pendle", pool_meta="Maturity 26JUN2025")
    late = date(2026, 3, 26)
    found = (DAY, "p", USDC.address, "pendle_market_map", "a market", late)
    resolved = pd.DataFrame([found], columns=list(RESOLVED_COLUMNS), dtype=object)
    assert judged(facts, rules=PENDLE_RULES, resolved=resolved).loc["p", "maturity"] == late
    told = replace(PENDLE_RULES, pool_overrides=(PoolOverride("p", maturity=late),))
    assert judged(facts, rules=told).loc["p", "is_passed"]


@pytest.mark.parametrize("role", ["collateral", "principal_token", "unclear"])
def test_roles_that_hold_no_dollars_are_out(role: str) -> None:
    row = judged(pool(), rules=override(role=role)).loc["p"]
    assert row["reason_codes"] == "NOT_A_DOLLAR_POOL"
    assert row["role"] == role
    assert role in row["reasons"]


@pytest.mark.parametrize("role", ["lend", "vault", "staking", "liquidity"])
def test_roles_that_hold_dollars_are_in(role: str) -> None:
    assert judged(pool(), rules=override(role=role)).loc["p", "is_passed"]


def test_an_override_names_the_underlyings() -> None:
    rules = override(underlying_addresses=(DAI.address.upper().replace("0X", "0x"),))
    row = judged(pool(underlying_addresses_json="[]"), rules=rules).loc["p"]
    assert row["is_passed"]
    assert row["underlying_symbols"] == "DAI"


@pytest.mark.parametrize(
    ("since", "until", "applies"),
    [
        (None, None, True),
        (DAY, DAY, True),
        (DAY + timedelta(days=1), None, False),
        (None, DAY - timedelta(days=1), False),
    ],
)
def test_overrides_are_dated(since: date | None, until: date | None, applies: bool) -> None:
    row = judged(pool(), rules=override(role="collateral", since=since, until=until)).loc["p"]
    assert row["is_passed"] != applies


def test_the_latest_override_speaks_last_field_by_field_and_follows_aliases() -> None:
    rules = policy(
        pool_overrides=(
            PoolOverride("old", role="vault", since=DAY),
            PoolOverride("p", role="collateral", exit_days=3, since=YESTERDAY),
        )
    )
    row = judged(pool(), rules=rules, aliases={"old": "p"}).loc["p"]
    assert row["is_passed"]
    assert row["exit_days"] == 3
    assert not judged(pool(), rules=rules).loc["p", "is_passed"]


def test_a_missing_apy_is_a_doubt_not_a_bar() -> None:
    row = judged(pool(apy=np.nan)).loc["p"]
    assert row["is_passed"]
    assert row["warning_codes"] == "NO_APY"


def test_pools_of_other_days_are_not_read() -> None:
    frame = judged(pool("a"), pool("b", snapshot_date=DAY + timedelta(days=1)))
    assert list(frame.index) == ["a"]
    registry = build_token_registry(pools(pool("b", snapshot_date=YESTERDAY)), policy(), DAY)
    assert registry["n_pools"].sum() == 0


def test_the_registry_knows_every_named_token_and_our_own_lists() -> None:
    frame = build_token_registry(pools(pool(tokens=(USDC, STRANGER, USDC))), policy(), DAY).set_index("address")
    assert frame.loc[STRANGER.address, "verdict"] == "unknown"
    assert frame.loc[STRANGER.address, "symbol"] is None
    assert frame.loc[USDC.address, ["verdict", "n_pools"]].tolist() == ["approved", 1]
    assert frame.loc[DAI.address, ["verdict", "n_pools"]].tolist() == ["approved", 0]
    assert frame.loc[FRAX.address, "verdict"] == "blacklisted"
    unlisted = policy(tokens=(USDC,))
    frame = build_token_registry(pools(), unlisted, DAY).set_index("address")
    assert frame.loc[FRAX.address, "verdict"] == "blacklisted"


def test_the_order_of_pools_does_not_matter() -> None:
    rows = [pool(name, project=project) for name, project in zip("cab", ("x", "aave-v3", "y"), strict=True)]
    assert judged(*rows).equals(judged(*reversed(rows)))
    assert list(judged(*rows).index) == ["a", "b", "c"]
