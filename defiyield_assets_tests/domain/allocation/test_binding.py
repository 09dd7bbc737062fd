"""Rules of the specification in situations where they bind, next to those of test_plan.py.

Here: the three cases of exit liquidity, minima and their exemptions, exclusion of opposite flows, caps that what is
held already breaks, who may buy what. Elsewhere: queues (test_queues.py), hysteresis (test_hysteresis.py), slippage and
reserve shares (test_conversions.py), kinks (test_kinks.py).
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.instances import (
    ETH,
    WALLET,
    Coin,
    Market,
    Pool,
    address,
    units,
)

LOOSE = Parameters(
    min_pools=1,
    max_token_share=1.0,
    max_pool_share=1.0,
    max_pool_tvl_share=1.0,
    max_protocol_share=1.0,
    cap_headroom=0.0,
)


def market(pools: list[Pool], cash: float = 0, coins: list[Coin] | None = None, **changes) -> Market:
    """Some USDC, other coins, loose limits except those in `changes`."""
    usdc = Coin("usdc", balance=units(cash))
    return Market([usdc, *(coins or [])], pools, replace(LOOSE, **changes))


def solve(case: Market) -> AllocationPlan:
    plan = plan_allocation(case.problem())
    assert case.replay(plan).errors == []
    return plan


def value(plan: AllocationPlan, pool: str) -> float:
    rows = plan.allocations[plan.allocations["pool_id"] == pool]
    return float(sum(rows["value_usd"], Decimal(0)))


def kinds(plan: AllocationPlan, pool: str) -> list[str]:
    steps = plan.steps.drop_duplicates("seq")
    return list(steps.loc[steps["pool_id"] == pool, "step_type"])


def lending(name: str, held: float, liquid: float, apy: float = 0.05, **changes) -> Pool:
    """A lending pool of ten million in which we hold something and `liquid` USD are not lent out."""
    return Pool(name, apy=apy, held=(units(held),), supply=1e7, borrow=1e7 - liquid, **changes)


# --- exit liquidity: V0 our position, L what can be withdrawn now, C the pool's cap ----------------------------------
def test_no_more_is_withdrawn_than_the_pool_pays_out_however_good_the_others_are() -> None:
    plan = solve(market([lending("slow", 500_000, 120_000, apy=0.01), Pool("best", apy=0.3)]))
    assert value(plan, "slow") == pytest.approx(380_000, abs=0.02)
    assert value(plan, "slow") >= 380_000
    assert value(plan, "best") == pytest.approx(120_000, abs=0.02)


def test_below_its_cap_a_position_may_stay_above_the_exit_share_but_not_grow() -> None:
    """V0 ≤ C: V ≤ min(C, max(V0, exit_share·L)); exit_share·L is 40,000 of 400,000."""
    pools = [lending("full", 100_000, 400_000, apy=0.2), Pool("a", apy=0.05)]
    plan = solve(market(pools, cash=100_000, exit_share=0.1))
    assert (value(plan, "full"), kinds(plan, "full")) == (100_000, ["HOLD"])
    assert value(plan, "a") == pytest.approx(100_000, abs=0.02)
    roomy = solve(market(pools, cash=100_000, exit_share=0.4))
    assert value(roomy, "full") == pytest.approx(160_000, abs=0.1)


def test_above_its_cap_a_position_comes_down_as_far_as_the_pool_pays_out() -> None:
    """V0 > C: V ≤ max(C, V0 - L)."""
    pools = [lending("shrunken", 500_000, 120_000, apy=0.3), Pool("a", apy=0.05)]
    tight = solve(market(pools, cash=500_000, max_pool_share=0.3))
    assert value(tight, "shrunken") == pytest.approx(380_000, abs=0.02), "C is 300,000, but only 120,000 come out"
    pools[0] = lending("shrunken", 500_000, 320_000, apy=0.3)
    loose = solve(market(pools, cash=500_000, max_pool_share=0.3))
    assert value(loose, "shrunken") == pytest.approx(300_000, abs=200)
    assert value(loose, "shrunken") <= 300_000


def test_a_pool_that_shrank_below_our_position_is_no_reason_to_be_infeasible() -> None:
    """Half of a pool of 100,000 is ours, 5 % of it may be, and 8,000 can be withdrawn."""
    shrunken = Pool("tiny", apy=0.3, held=(units(50_000),), supply=100_000, borrow=92_000)
    plan = solve(market([shrunken, Pool("a")], cash=100_000, max_pool_tvl_share=0.05))
    assert plan.status == "optimal"
    assert value(plan, "tiny") == pytest.approx(42_000, abs=0.02)


def test_a_pool_smaller_than_what_we_hold_in_it_is_still_planned_with() -> None:
    plan = solve(market([Pool("odd", apy=0.2, held=(units(50_000),), supply=40_000, borrow=30_000), Pool("a")], 10_000))
    assert plan.status == "optimal"
    assert value(plan, "odd") == pytest.approx(40_000, abs=0.02)


# --- minima and who is exempt ----------------------------------------------------------------------------------------
def test_a_stuck_rest_may_be_smaller_than_any_minimum() -> None:
    plan = solve(market([lending("bad", 1_000, 990, is_must_exit=True)], cash=100_000, min_position_share=0.05))
    assert plan.status == "optimal"
    assert value(plan, "bad") == pytest.approx(10, abs=0.01)
    assert kinds(plan, "bad") == ["WITHDRAW"]


def test_a_reduced_position_keeps_the_smallest_size_or_is_left() -> None:
    """30 % of the pool's tokens are above the issuer's cap; what stays is at least a fifth of the capital."""
    held = Pool("h", apy=0.2, held=(units(60_000),), protocol="x")
    other = Pool("o", apy=0.3, held=(units(40_000),), protocol="x")
    plan = solve(market([held, other], max_protocol_share=0.5, min_position_share=0.2))
    assert value(plan, "h") == 0 or value(plan, "h") >= 20_000
    assert value(plan, "o") == 0 or value(plan, "o") >= 20_000
    assert value(plan, "h") + value(plan, "o") <= 50_000


def test_a_withdrawal_below_the_smallest_transaction_is_not_made() -> None:
    """The cap asks for 200 USD less: then 500 are taken out, the smallest transaction."""
    plan = solve(
        market([Pool("h", apy=0.2, held=(units(50_200),))], 49_800, max_pool_share=0.5, min_transaction_usd=500)
    )
    assert value(plan, "h") == pytest.approx(49_700, abs=0.1)
    assert value(plan, "h") <= 49_700


def test_a_conversion_below_the_smallest_transaction_is_not_made() -> None:
    dai = Coin("dai", 18, balance=units(300, 18))
    pools = [Pool("a", apy=0.2, size=1e12)]
    small = solve(market(pools, cash=10_000, coins=[dai], min_transaction_usd=500.0))
    assert not (small.steps["step_type"] == "CONVERT").any()
    assert value(small, "IDLE") == pytest.approx(300, abs=0.01)
    allowed = solve(market(pools, cash=10_000, coins=[dai], min_transaction_usd=250.0))
    assert (allowed.steps["step_type"] == "CONVERT").sum() == 1


def test_a_position_below_the_minimum_that_we_hold_does_not_count_towards_min_pools() -> None:
    pools = [Pool("dust", apy=0.05, held=(units(500),), is_exit_only=True), Pool("a", apy=0.1), Pool("b", apy=0.02)]
    plan = solve(market(pools, cash=100_000, min_pools=2, min_position_share=0.05))
    assert value(plan, "b") == pytest.approx(5_000, rel=0.02)
    counted = solve(market(pools, cash=100_000, min_pools=2, min_position_share=0.001))
    assert value(counted, "b") == 0


# --- opposite flows --------------------------------------------------------------------------------------------------
def test_a_pool_is_not_left_and_entered_at_once_to_change_its_tokens() -> None:
    """Leaving the skewed pair and entering it in equal parts would keep all of it under the issuer's cap."""
    dai = Coin("dai", 18)
    pair = Pool("pair", ("usdc", "dai"), apy=0.2, role="liquidity", held=(units(300_000), units(100_000, 18)))
    plan = solve(market([pair], coins=[dai], max_token_share=0.5))
    assert kinds(plan, "pair") == ["WITHDRAW"]
    usdc = 0.75 * value(plan, "pair")
    assert usdc == pytest.approx(200_000, abs=500)
    assert usdc <= 200_000


def test_a_token_is_not_bought_and_sold() -> None:
    coins = [Coin("dai", 18, price=0.99, balance=units(50_000, 18)), Coin("usdt", balance=units(20_000))]
    pools = [Pool("a", ("dai",), apy=0.2), Pool("b", ("usdt", "dai"), apy=0.3, role="liquidity"), Pool("c", apy=0.1)]
    plan = solve(market(pools, 30_000, coins, max_pool_share=0.4, min_pools=3))
    converts = plan.steps[plan.steps["step_type"] == "CONVERT"]
    assert len(converts)
    assert not set(converts["token_in"]) & set(converts["token_out"])


# --- shared caps that what we hold breaks ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"max_protocol_share": 0.5}, "protocol"),
        ({"max_chain_share": 0.5}, "chain"),
        ({"max_token_share": 0.5}, "issuer"),
        ({"group_caps": True, "max_group_share": (0.5, 0.5, 0.5, 0.5)}, "group"),
    ],
)
def test_positions_above_a_shared_cap_are_reduced_to_it(changes: dict[str, object], name: str) -> None:
    pools = [Pool(name + "1", apy=0.1, held=(units(400_000),), protocol="x")]
    pools.append(Pool(name + "2", apy=0.2, held=(units(400_000),), protocol="x"))
    plan = solve(market(pools, cash=200_000, **changes))
    assert plan.status == "optimal"
    left = value(plan, name + "1") + value(plan, name + "2")
    assert left == pytest.approx(500_000, abs=1)
    assert left <= 500_000
    assert value(plan, name + "2") == pytest.approx(500_000, abs=1), "the worse one makes room"


def test_slow_positions_above_their_share_are_reduced_to_it() -> None:
    pools = [Pool("q", apy=0.3, held=(units(600_000),), exit_days=4), Pool("a", apy=0.05)]
    plan = solve(market(pools, cash=400_000, max_illiquid_share=0.25))
    assert value(plan, "q") == pytest.approx(250_000, abs=300)
    assert value(plan, "a") == pytest.approx(400_000, abs=0.1), "what is on its way is not spent today"


def test_a_stuck_position_uses_up_its_shared_cap_and_nothing_is_forced_beyond_it() -> None:
    pools = [lending("stuck", 600_000, 0, protocol="x", is_must_exit=True)]
    pools += [Pool("twin", apy=0.3, protocol="x", held=(units(50_000),)), Pool("a", apy=0.02)]
    plan = solve(market(pools, cash=350_000, max_protocol_share=0.5))
    assert plan.status == "optimal"
    assert "600,000.00 USD are stuck" in plan.message
    assert value(plan, "stuck") == 600_000
    assert value(plan, "twin") == 0, "the cap is what is stuck, and the stuck position uses it all"


# --- who may buy what ------------------------------------------------------------------------------------------------
def test_a_wallet_that_is_listed_for_a_permissioned_token_may_buy_it() -> None:
    gated = Coin("gated", 18, access="permissioned")
    case = market([Pool("a", apy=0.02), Pool("g", ("gated",), apy=0.5)], 100_000, [gated])
    assert value(solve(case), "g") == 0
    listed = replace(WALLET, permitted_tokens=(gated.address,))
    plan = plan_allocation(case.problem(wallet=listed))
    assert case.replay(plan, wallet=listed).errors == []
    assert value(plan, "g") == pytest.approx(100_000 * 0.9996, abs=1)


def test_a_barred_leg_of_what_we_leave_is_sold_and_never_a_way_to_another_token() -> None:
    barred = Coin("bad", 18, price=0.93, is_barred=True)
    pools = [
        Pool(
            "pair",
            ("usdc", "bad"),
            apy=0.0,
            role="liquidity",
            is_must_exit=True,
            held=(units(50_000), units(60_000, 18)),
        ),
        Pool("d", ("dai",), apy=0.2),
        Pool("w", ("bad",), apy=2.0),
    ]
    plan = solve(market(pools, 10_000, [barred, Coin("dai", 18)]))
    converts = plan.steps[plan.steps["step_type"] == "CONVERT"]
    assert address("bad") in set(converts["token_in"])
    assert set(converts["token_out"]) == {address("dai")}
    assert value(plan, "pair") == value(plan, "w") == 0
    assert value(plan, "d") == pytest.approx((50_000 + 60_000 * 0.93 + 10_000) * 0.9996, abs=2)


def test_a_token_that_may_not_be_bought_is_no_hop_even_where_every_pool_wants_it() -> None:
    """Two tokens in, two tokens out, and between them one barred and one permissioned token that most pools take."""
    coins = [Coin("bad", is_barred=True), Coin("gated", access="permissioned"), Coin("dai", 18), Coin("usdt")]
    coins[0].balance, coins[1].balance = units(40_000), units(30_000)
    pools = [Pool("b", ("bad",), apy=0.9), Pool("g", ("gated",), apy=0.8), Pool("d", ("dai",), apy=0.2)]
    pools += [
        Pool("p", ("gated", "dai"), apy=0.5, role="liquidity"),
        Pool("u", ("usdt", "bad"), apy=0.9, role="liquidity"),
    ]
    plan = solve(market(pools, 50_000, coins, max_pool_share=0.5, min_pools=2))
    converts = plan.steps[plan.steps["step_type"] == "CONVERT"]
    assert set(converts["token_out"]) == {address("dai")}
    assert address("bad") in set(converts["token_in"])
    assert value(plan, "b") == value(plan, "u") == 0
    assert value(plan, "g") + value(plan, "p") / 2 <= 30_000


# --- gas -------------------------------------------------------------------------------------------------------------
def test_what_must_be_left_comes_before_what_would_pay_when_eth_is_short() -> None:
    pools = [Pool("bad", apy=0.9, held=(units(5_000),), is_must_exit=True), Pool("a", apy=0.2)]
    case = replace(market(pools, cash=900_000), eth_wei=250_000 * 2 * 10**9 + 1)
    plan = solve(case)
    assert plan.status == "optimal"
    assert kinds(plan, "bad") == ["WITHDRAW"]
    assert kinds(plan, "a") == []
    assert "Limited by gas" in plan.message
    assert solve(replace(case, eth_wei=ETH)).steps["step_type"].nunique() > 1


# --- modes -----------------------------------------------------------------------------------------------------------
def test_profit_mode_lifts_pool_cap_and_min_pools_but_no_other_limit() -> None:
    pools = [Pool("a", apy=0.2, protocol="x"), Pool("b", apy=0.05, protocol="y")]
    plan = solve(market(pools, 100_000, objective="profit", max_pool_share=0.25, min_pools=4, max_protocol_share=0.6))
    assert value(plan, "a") == pytest.approx(60_000, abs=100)
    assert value(plan, "b") == pytest.approx(40_000, abs=100)


def test_robust_mode_judges_staying_and_going_by_the_same_quantile() -> None:
    """Tomorrow's mean says go, the lower quantiles say stay: the plan stays; with quantiles that agree it goes."""
    held = Pool("old", apy=0.05, p10=0.04, held=(units(100_000),))
    wild = Pool("new", apy=0.2, p10=0.03)
    assert value(solve(market([held, wild])), "new") > 0
    assert solve(market([held, wild], objective="robust")).status == "hold"
    sure = Pool("new", apy=0.2, p10=0.15)
    assert value(solve(market([held, sure], objective="robust")), "new") > 0
