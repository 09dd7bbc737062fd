"""Why a pool is in or out: what was typed, verdicts in their order, what would have to change.

Not here: the rules that gave the verdicts, or how the command draws them (cli/test_explain.py).
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.reporting.explanation_sections import changes_section
from defiyield_assets.domain.selection.explanation import (
    Evidence,
    Known,
    codes_without_change,
    explain_pool,
    matching_pools,
    unclear_words,
)

DAY, BEFORE = date(2025, 6, 4), date(2025, 6, 3)
POOLS = [
    Known("aa11", "USDC", "aave-v3", "Ethereum"),
    Known("aa22", "USDC", "compound-v2", "Ethereum"),
    Known("bb33", "DAI-USDC", "curve-dex", "Ethereum"),
    Known("cc44", "USDC", "aave-v3", "Arbitrum"),
]
POOL = POOLS[0]
EMPTY = Evidence()


def verdict(day: date = DAY, codes: str = "", warnings: str = "", words: str = "", **more: Any) -> dict[str, Any]:
    told = {"date": day, "is_passed": not codes, "reason_codes": codes, "warning_codes": warnings, "reasons": words}
    return {**told, "size_usd": 1e6, **more}


def final(day: date = DAY, codes: str = "", words: str = "", **more: Any) -> dict[str, Any]:
    flags = {"is_held": False, "is_exit_only": False, "is_must_exit": False, "last_apy": 0.05, "age_days": 90}
    return {**verdict(day, codes, words=words), **flags, **more}


def planned(action: str, day: date = DAY, **more: Any) -> dict[str, Any]:
    told = {"date": day, "action": action, "why": "because", "share_of_aum": 0.1, "value_usd": Decimal(100)}
    rates = {"diluted_apy": 0.05, "gain_usd": Decimal(1), "cost_usd": Decimal(0), "break_even_days": None}
    return {**told, **rates, "marginal_apy": 0.03, "dollar_apy": 0.05, "binding_limit": None, **more}


def limit(name: str, subject: str, *, is_binding: bool, by: str = "solved") -> dict[str, Any]:
    told = {"limit_name": name, "subject": subject, "limit_usd": Decimal(9), "used_usd": Decimal(9)}
    return {
        **told,
        "is_binding": is_binding,
        "relaxation": "1% more",
        "worth_usd": Decimal("7.5") if is_binding else None,
        "worth_by": by if is_binding else None,
    }


RUNS = [{"horizon_days": 30}]


# --- names ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("aa11", ["aa11"]),
        ("AA11", ["aa11"]),
        ("aa", ["aa11", "aa22"]),
        ("USDC aave-v3", ["aa11", "cc44"]),
        ("usdc aave-v3 arbitrum", ["cc44"]),
        ("USDC · compound-v2", ["aa22"]),
        ("dai curve", ["bb33"]),
        ("usdc", ["aa11", "aa22", "cc44"]),
        ("zz", []),
        ("", []),
        (" · ", []),
        ("\x00'; drop table pools; --", []),
    ],
)
def test_a_pool_is_found_by_id_prefix_or_words(typed: str, found: list[str]) -> None:
    assert [pool.pool_id for pool in matching_pools(typed, POOLS)] == found


def test_an_unclear_name_tells_what_it_may_mean() -> None:
    assert "means 2 pools: aa11 USDC · aave-v3; cc44 USDC · aave-v3 (Arbitrum)" in unclear_words(
        "USDC aave-v3", [POOLS[0], POOLS[3]], POOLS
    )
    assert "near it: curve-dex" in unclear_words("curve-dx", [], POOLS)
    assert len(unclear_words("x" * 100_000, [], POOLS)) < 400


# --- verdicts -------------------------------------------------------------------------------------------------------
def test_every_reason_has_a_remedy_that_can_be_said() -> None:
    assert codes_without_change() == set()


def test_a_pool_that_the_prefilter_refused_says_so_and_how_it_would_change() -> None:
    row = verdict(codes="PROTOCOL_NOT_APPROVED,TOO_SMALL", words="not approved; too small")
    told = explain_pool(POOL, DAY, replace(EMPTY, prefiltered=[row]))
    assert told.answer == "USDC · aave-v3 is out before any history is fetched: not approved; too small"
    assert [(stage.name, stage.verdict) for stage in told.stages] == [
        ("pre-filter", "refused"),
        ("data quality", "unknown"),
        ("risk group", "unknown"),
        ("forecast", "unknown"),
        ("final filter", "unknown"),
        ("plan", "unknown"),
    ]
    assert told.stages[0].codes == ("PROTOCOL_NOT_APPROVED", "TOO_SMALL")
    assert told.changes[0].startswith("approve the protocol: `defiyield config edit lists add protocol aave-v3 ")
    assert len(told.changes) == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "is out: why"),
        ({"is_held": True, "is_exit_only": True}, "is held and frozen: why"),
        ({"is_held": True, "is_exit_only": True, "is_must_exit": True}, "is held and has to be left: why"),
    ],
)
def test_the_final_filter_freezes_or_forces_out_what_is_held(flags: dict[str, Any], words: str) -> None:
    frames: dict[str, Any] = {
        "prefiltered": [verdict()],
        "eligible": [final(codes="IN_ICEBOX", words="why", **flags)],
    }
    told = explain_pool(POOL, DAY, replace(EMPTY, runs=RUNS, **frames))
    assert told.answer == f"USDC · aave-v3 {words}"
    assert told.stages[-1].verdict == "refused"
    assert told.changes == ("the token has to hold its peg for the days that the icebox asks for",)


def test_a_pool_left_out_says_how_much_more_it_would_have_to_earn() -> None:
    row = planned("left_out", share_of_aum=0.0, value_usd=Decimal(0), break_even_days=20.0)
    frames: dict[str, Any] = {"prefiltered": [verdict()], "eligible": [final()]}
    told = explain_pool(POOL, DAY, replace(EMPTY, runs=RUNS, allocations=[row], **frames))
    assert told.answer == "USDC · aave-v3 is allowed, but not in the plan: because"
    assert "its APY has to rise by 2.00 points" in told.changes[0]
    assert "20.0 days" in told.changes[1]


def test_what_would_have_to_change_names_the_figure_to_reach() -> None:
    small: dict[str, Any] = {"prefiltered": [verdict(codes="TOO_SMALL", size_usd=1234.0)]}
    told = explain_pool(POOL, DAY, replace(EMPTY, parameters=Parameters(), **small))
    assert told.changes[0].endswith("(pool_tvl_min_usd is 500,000 USD; now 1,234 USD)")
    why = "Doing nothing is best. The cash is 40.23 USD; the smallest deposit is 13,339.18 USD"
    rows = [planned("left_out", why=why, marginal_apy=None, dollar_apy=None)]
    told = explain_pool(POOL, DAY, replace(EMPTY, runs=RUNS, allocations=rows))
    assert told.changes == ("13,339.18 USD have to be free for it: that is the smallest deposit",)


def test_tokens_of_a_pool_are_added_up_and_its_own_limits_are_told() -> None:
    rows = [
        planned("enter", binding_limit="max_pool_share aa11"),
        planned("enter", binding_limit="max_pool_share aa11"),
    ]
    limits = [
        limit("max_pool_share", "aa11", is_binding=True),
        limit("max_protocol_share", "aave-v3", is_binding=False),
        limit("max_protocol_share", "compound-v2", is_binding=True),
    ]
    frames: dict[str, Any] = {"prefiltered": [verdict()], "eligible": [final()]}
    told = explain_pool(
        POOL,
        DAY,
        replace(EMPTY, runs=RUNS, allocations=rows, allocation_limits=limits, **frames),
    )
    assert told.figures["value_usd"] == Decimal(200)
    assert told.answer.startswith("USDC · aave-v3 is in the plan with 20.0% of all assets")
    assert [(one.name, one.subject, one.is_binding) for one in told.limits] == [
        ("max_pool_share", "aa11", True),
        ("max_protocol_share", "aave-v3", False),
    ]
    assert told.changes == ("max_pool_share of the pool binds: 1% more would be worth 7.50 USD over the horizon",)


def test_what_a_shadow_price_tells_of_a_limit_is_told_as_about_that() -> None:
    limits = [limit("max_pool_share", "aa11", is_binding=True, by="shadow_price")]
    frames: dict[str, Any] = {"prefiltered": [verdict()], "eligible": [final()]}
    evidence = replace(EMPTY, runs=RUNS, allocations=[planned("enter")], allocation_limits=limits, **frames)
    told = explain_pool(POOL, DAY, evidence)
    assert [one.worth_by for one in told.limits] == ["shadow_price"]
    assert told.changes == (
        "max_pool_share of the pool binds: 1% more would be worth about 7.50 USD over the horizon by its shadow price",
    )
    (row,) = changes_section(told).tables[0].rows  # type: ignore[union-attr]
    assert "~$7.50" in row


def test_the_history_tells_the_newest_day_first_and_gaps_as_gaps() -> None:
    frames: dict[str, Any] = {
        "prefiltered": [verdict(BEFORE, codes="STALE"), verdict()],
        "eligible": [final()],
        "allocations": [planned("enter")],
    }
    told = explain_pool(POOL, DAY, replace(EMPTY, runs=RUNS, **frames)).history
    assert [(one.day, one.is_prefiltered, one.is_eligible, one.action, one.codes) for one in told] == [
        (DAY, True, True, "enter", ()),
        (BEFORE, False, None, None, ("STALE",)),
    ]


def test_the_forecast_is_the_one_over_the_plans_horizon() -> None:
    row = {"target": "apy", "mean": 0.1, "p10": 0.0, "p90": 0.2, "model": "m", "tier": "panel"}
    forecasts = [{**row, "horizon_days": 30}, {**row, "horizon_days": 60, "mean": 0.9}]
    told = explain_pool(POOL, DAY, replace(EMPTY, runs=RUNS, forecasts=forecasts))
    assert told.figures["forecast_apy"] == 0.1
    assert "10.00% over 30 days (0.00% to 20.00%), by m" in told.stages[3].words


def test_an_unknown_pool_is_told_as_such() -> None:
    told = explain_pool(POOL, DAY, EMPTY)
    assert told.answer == "USDC · aave-v3 is not among the vendor's pools of this day."
    assert told.changes == ()
