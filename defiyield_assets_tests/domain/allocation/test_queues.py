"""Pools that take days to leave: what comes out of them is not there today, and earns nothing on its way."""

from dataclasses import replace

import pytest

from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets_tests.domain.allocation.instances import Market, Pool, units
from defiyield_assets_tests.domain.allocation.test_plan import kinds, market, solve, value

LOOSE = {"max_illiquid_share": 1.0, "break_even_days": 30}


def queued(days: int, apy: float = 0.02, **changes: object) -> Market:
    pools = [Pool("slow", apy=apy, exit_days=days, held=(units(200_000),)), Pool("fast", apy=0.12)]
    return market(pools, **(LOOSE | changes))  # type: ignore[arg-type]


def test_what_leaves_a_queue_is_not_spent_today() -> None:
    plan = solve(queued(7, apy=-0.05))
    assert kinds(plan) == ["WITHDRAW", "DEPOSIT"]
    assert value(plan, "slow") == 0
    assert value(plan, "fast") == pytest.approx(1_000_000, abs=0.1)
    assert value(plan, "IDLE") == pytest.approx(200_000, abs=0.1)
    there = solve(queued(0, apy=-0.05))
    assert value(there, "fast") == pytest.approx(1_200_000, abs=0.1)


def test_a_better_pool_is_no_reason_to_leave_a_queue_whose_money_it_cannot_have() -> None:
    assert value(solve(queued(7)), "slow") == pytest.approx(200_000)
    assert value(solve(queued(0)), "slow") == 0


def test_what_leaves_earns_later_what_all_money_earned_before() -> None:
    held = (units(900_000),)
    pools = [Pool("good", apy=0.10, held=held), Pool("slow", apy=0.01, exit_days=10, held=(units(100_000),))]
    case = market([*pools, Pool("room", apy=0.3, size=1e12)], **(LOOSE | {"min_pools": 9}))
    case.coin("usdc").balance = 0
    limits = Limits(case.problem())
    hold = 900_000 * (1.10 ** (30 / 365) - 1) + 100_000 * (1.01 ** (30 / 365) - 1)
    expected = (1 + hold / 1_000_000) ** (20 / 30) - 1
    slow, good = (next(pool for pool in limits.problem.pools if pool.pool_id == name) for name in ("slow", "good"))
    assert limits.leaving_return(slow) == pytest.approx(expected, rel=1e-9)
    assert limits.leaving_return(good) == 0.0
    assert limits.leaving_return(replace(slow, exit_days=30)) == 0.0
    assert limits.leaving_return(replace(slow, exit_days=90)) == 0.0
    plan = solve(case)
    assert value(plan, "slow") == 0
    assert float(plan.runs["gain_usd"].iloc[0] - plan.runs["hold_gain_usd"].iloc[0]) == pytest.approx(
        100_000 * expected - 100_000 * (1.01 ** (30 / 365) - 1) - float(plan.runs["gas_usd"].iloc[0]), abs=1.0
    )


def test_the_replay_finds_a_step_that_spends_what_is_still_on_its_way() -> None:
    case = queued(0, apy=-0.05)
    plan = plan_allocation(case.problem())
    slow = queued(7, apy=-0.05)
    problems = slow.replay(plan).errors
    assert any("spends" in problem and "are there" in problem for problem in problems)


def test_the_idle_buffer_is_what_is_there_not_what_is_on_its_way() -> None:
    plan = solve(queued(7, apy=-0.05, idle_buffer_share=0.1))
    assert value(plan, "fast") == pytest.approx(1_000_000 - 120_000, abs=0.5)
    assert value(plan, "IDLE") == pytest.approx(200_000 + 120_000, abs=0.5)


def test_a_treasury_that_is_all_in_a_queue_cannot_make_its_buffer_today() -> None:
    case = market([Pool("slow", apy=0.05, exit_days=5, held=(units(200_000),))], idle_buffer_share=0.1, **LOOSE)
    case.coin("usdc").balance = 0
    plan = solve(case)
    assert plan.status == "hold"


def test_must_leave_a_queue_only_asks_for_the_way_out() -> None:
    case = queued(7, apy=0.30)
    case.pools[0].is_must_exit = True
    plan = solve(case)
    assert kinds(plan) == ["WITHDRAW", "DEPOSIT"]
    assert value(plan, "fast") == pytest.approx(1_000_000, abs=0.1)


def test_the_share_of_slow_pools_is_capped() -> None:
    case = market([Pool("slow", apy=0.2, exit_days=7), Pool("fast", apy=0.05)], max_illiquid_share=0.25)
    plan = solve(case)
    assert value(plan, "slow") == pytest.approx(250_000, abs=0.1)


def test_what_leaves_earns_no_more_than_the_best_pool_with_room() -> None:
    """Found in review: a full pool of 20 % made leaving a queue of 5 % for idle cash look like a gain."""
    full = Pool("full", apy=0.20, held=(units(900_000),), is_exit_only=True)
    slow = Pool("slow", apy=0.05, exit_days=3, held=(units(100_000),))
    nowhere = market([full, slow], **LOOSE)
    nowhere.coin("usdc").balance = 0
    assert solve(nowhere).status == "hold"
    poor = market([full, slow, Pool("poor", apy=0.04)], **LOOSE)
    poor.coin("usdc").balance = 0
    assert solve(poor).status == "hold"
