"""Exact amounts: rounding, netting, order. The decisions are given, no solver is involved."""

from decimal import Decimal
from fractions import Fraction

import pytest

from defiyield_assets.domain.allocation.facts import EXACT, exact_sum
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets.domain.allocation.solve import Flows
from defiyield_assets.domain.allocation.steps import ExactPlan, build_steps, held_plan
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, address, units

LOOSE = Parameters(min_pools=1, max_pool_share=1.0, max_pool_tvl_share=1.0, max_token_share=1.0, conversion_rate=0.001)


def build(case: Market, *, deposits=None, parts=None, exits=(), sells=(), buys=(), sold=None, bought=None) -> ExactPlan:
    problem = case.problem()
    flows = Flows(
        deposits or {},
        parts or {},
        frozenset(exits),
        frozenset(map(address, sells)),
        frozenset(map(address, buys)),
        0.0,
        sold={address(name): usd for name, usd in (sold or {}).items()},
        bought={address(name): usd for name, usd in (bought or {}).items()},
    )
    return build_steps(problem, Limits(problem), flows)


def rows(plan: ExactPlan) -> list[tuple[str, str | None, list[int]]]:
    return [
        (step.step_type, step.pool_id, [leg.amount_in or leg.amount_out or 0 for leg in step.legs])
        for step in plan.steps
    ]


def test_a_deposit_is_rounded_down_to_base_units() -> None:
    case = Market([Coin("usdc", price=0.97, balance=units(1000))], [Pool("a")], LOOSE)
    plan = build(case, deposits={"a": 500.0})
    amount = plan.steps[0].legs[0].amount_in
    assert amount == int(Fraction(500) * 10**6 / Fraction("0.97"))
    assert plan.position_usd(case.problem().pools[0]) <= 500
    assert plan.wallet[address("usdc")] == units(1000) - amount


def test_a_full_exit_takes_everything_and_says_so() -> None:
    coins = [Coin("usdc", price=1.003), Coin("dai", 18, price=0.998)]
    held = Pool("h", ("usdc", "dai"), role="liquidity", held=(units(100) + 1, units(90, 18) + 7))
    plan = build(Market(coins, [held], LOOSE), exits=["h"])
    step = plan.steps[0]
    assert (step.step_type, step.is_full_exit, step.gas_units) == ("WITHDRAW", True, 300_000)
    assert [leg.amount_out for leg in step.legs] == [units(100) + 1, units(90, 18) + 7]
    assert plan.positions["h"] == [0, 0]
    assert plan.wallet == {address("usdc"): units(100) + 1, address("dai"): units(90, 18) + 7}


def test_a_partial_withdrawal_takes_the_same_share_of_each_token_rounded_down() -> None:
    coins = [Coin("usdc"), Coin("dai", 18)]
    held = Pool("h", ("usdc", "dai"), role="liquidity", held=(units(300), units(100, 18)))
    plan = build(Market(coins, [held], LOOSE), parts={"h": 100.0})
    assert [leg.amount_out for leg in plan.steps[0].legs] == [units(75), units(25, 18)]
    assert not plan.steps[0].is_full_exit
    odd = build(Market(coins, [held], LOOSE), parts={"h": 133.0})
    share = Fraction(133, 400)
    assert [leg.amount_out for leg in odd.steps[0].legs] == [int(units(300) * share), int(units(100, 18) * share)]
    tiny = build(Market(coins, [held], LOOSE), parts={"h": 100.0000019})
    assert tiny.steps[0].legs[0].amount_out == units(75) + 1


def test_a_conversion_gives_the_floor_after_its_cost() -> None:
    coins = [Coin("usdc", price=1.01, balance=units(1000)), Coin("dai", 18, price=0.99)]
    plan = build(Market(coins, [Pool("d", ("dai",))], LOOSE), deposits={"d": 500.0}, sells=["usdc"], buys=["dai"])
    convert = plan.steps[0].legs[0]
    value_in = Fraction(convert.amount_in, 10**6) * Fraction("1.01")
    assert convert.amount_out == int(value_in * Fraction("0.999") / Fraction("0.99") * 10**18)
    assert convert.conversion_usd == EXACT.subtract(
        Decimal(convert.amount_in).scaleb(-6) * Decimal("1.01"),
        EXACT.scaleb(EXACT.multiply(Decimal(convert.amount_out), Decimal("0.99")), -18),
    )
    # the smallest sale that pays for the deposit: one unit less would not
    less = (value_in - Fraction("1.01") / 10**6) * Fraction("0.999") / Fraction("0.99") * 10**18
    assert int(less) < plan.steps[1].legs[0].amount_in <= convert.amount_out


def test_conversions_are_netted_to_the_fewest_direct_swaps() -> None:
    coins = [Coin("a", balance=units(600)), Coin("b", balance=units(500)), Coin("c"), Coin("d"), Coin("e")]
    pools = [Pool("pc", ("c",)), Pool("pd", ("d",)), Pool("pe", ("e",))]
    plan = build(
        Market(coins, pools, LOOSE),
        deposits={"pc": 400.0, "pd": 300.0, "pe": 200.0},
        sells=["a", "b"],
        buys=["c", "d", "e"],
    )
    kinds = [step.step_type for step in plan.steps]
    assert kinds == ["CONVERT"] * kinds.count("CONVERT") + ["DEPOSIT"] * 3
    assert kinds.count("CONVERT") <= 2 + 3 - 1
    assert all(step.gas_units == 230_000 for step in plan.steps if step.step_type == "CONVERT")
    assert [plan.positions[pool][0] for pool in ("pc", "pd", "pe")] == [units(400), units(300), units(200)]


def test_one_source_is_used_when_it_is_enough() -> None:
    coins = [Coin("a", balance=units(600)), Coin("b", balance=units(500)), Coin("c")]
    plan = build(Market(coins, [Pool("pc", ("c",))], LOOSE), deposits={"pc": 550.0}, sells=["a", "b"], buys=["c"])
    assert [step.step_type for step in plan.steps] == ["CONVERT", "DEPOSIT"]
    assert plan.steps[0].legs[0].token_in == address("a")


def test_only_what_was_decided_is_sold() -> None:
    coins = [Coin("a", balance=units(100)), Coin("b", balance=units(500)), Coin("c")]
    plan = build(Market(coins, [Pool("pc", ("c",))], LOOSE), deposits={"pc": 90.0}, sells=["a"], buys=["c"])
    assert plan.steps[0].legs[0].token_in == address("a")
    assert plan.wallet[address("b")] == units(500)


def test_only_what_was_decided_is_bought() -> None:
    coins = [Coin("a", balance=units(100)), Coin("c"), Coin("e")]
    pools = [Pool("pc", ("c",)), Pool("pe", ("e",))]
    plan = build(Market(coins, pools, LOOSE), deposits={"pc": 50.0, "pe": 40.0}, sells=["a"], buys=["c"])
    assert [step.pool_id for step in plan.steps] == [None, "pc"]


def test_an_empty_token_of_a_position_is_no_leg() -> None:
    held = Pool("h", ("usdc", "dai"), role="liquidity", held=(units(100), 0))
    plan = build(Market([Coin("usdc"), Coin("dai", 18)], [held], LOOSE), exits=["h"])
    assert [leg.token_out for leg in plan.steps[0].legs] == [address("usdc")]


def test_what_is_needed_elsewhere_is_not_sold() -> None:
    coins = [Coin("a", balance=units(600)), Coin("c")]
    pools = [Pool("pa", ("a",)), Pool("pc", ("c",))]
    plan = build(Market(coins, pools, LOOSE), deposits={"pa": 400.0, "pc": 250.0}, sells=["a"], buys=["c"])
    assert plan.positions["pa"] == [units(400)]
    assert plan.positions["pc"][0] == pytest.approx(units(200 * 0.999), abs=2)
    assert plan.wallet[address("a")] == 0


def test_a_deposit_takes_what_is_there_when_rounding_leaves_too_little() -> None:
    case = Market([Coin("usdc", balance=units(100))], [Pool("a"), Pool("b")], LOOSE)
    plan = build(case, deposits={"a": 60.0, "b": 40.001})
    assert plan.positions == {"a": [units(60)], "b": [units(40)]}
    assert plan.wallet[address("usdc")] == 0


def test_a_deposit_never_exceeds_its_cap() -> None:
    tight = Parameters(**(LOOSE.__dict__ | {"max_pool_share": 0.5}))
    plan = build(Market([Coin("usdc", balance=units(100))], [Pool("a")], tight), deposits={"a": 60.0})
    assert plan.positions["a"][0] <= units(50)


def test_a_deposit_of_several_tokens_is_of_equal_value() -> None:
    coins = [Coin("usdc", price=1.02, balance=units(1000)), Coin("dai", 18, price=0.98, balance=units(1000, 18))]
    pool = Pool("p", ("usdc", "dai"), role="liquidity")
    plan = build(Market(coins, [pool], LOOSE), deposits={"p": 900.0})
    values = [leg.value_usd for leg in plan.steps[0].legs]
    assert abs(values[0] - values[1]) < Decimal("0.00000103")
    assert exact_sum(values) <= 900
    assert plan.steps[0].gas_units == 400_000


def test_a_deposit_that_rounds_to_nothing_is_not_sent() -> None:
    plan = build(Market([Coin("usdc", balance=0), Coin("dai", balance=10)], [Pool("a")], LOOSE), deposits={"a": 50.0})
    assert plan.steps == []


def test_order_is_hold_withdraw_convert_deposit_largest_first() -> None:
    coins = [Coin("usdc", balance=units(10)), Coin("dai", 18)]
    pools = [
        Pool("keep", held=(units(5),)),
        Pool("small", held=(units(100),)),
        Pool("large", held=(units(900),)),
        Pool("d", ("dai",)),
        Pool("e", ("dai",)),
    ]
    plan = build(
        Market(coins, pools, LOOSE),
        exits=["small", "large"],
        deposits={"d": 300.0, "e": 500.0},
        sells=["usdc"],
        buys=["dai"],
    )
    assert [(kind, pool) for kind, pool, _ in rows(plan)] == [
        ("HOLD", "keep"),
        ("WITHDRAW", "large"),
        ("WITHDRAW", "small"),
        ("CONVERT", None),
        ("DEPOSIT", "e"),
        ("DEPOSIT", "d"),
    ]


def test_stuck_exits_leave_the_rest_in_the_pool() -> None:
    held = Pool("h", held=(units(1000),), supply=1e6, borrow=1e6 - 400)
    plan = build(Market([Coin("usdc")], [held], LOOSE), exits=["h"])
    assert plan.wallet[address("usdc")] == pytest.approx(units(400), abs=2)
    assert plan.wallet[address("usdc")] <= units(400)
    assert not plan.steps[0].is_full_exit


def test_doing_nothing_is_a_row_per_position_and_costs_nothing() -> None:
    coins = [Coin("usdc"), Coin("dai", 18)]
    held = Pool("h", ("usdc", "dai"), role="liquidity", held=(units(1), 0))
    plan = held_plan(Market(coins, [held, Pool("a")], LOOSE).problem())
    assert rows(plan) == [("HOLD", "h", [units(1)])]
    assert (plan.gas_units, plan.gas_usd, plan.conversion_usd, plan.transactions) == (0, 0, 0, [])


def test_gas_is_exact() -> None:
    case = Market([Coin("usdc", balance=units(1000))], [Pool("a")], LOOSE, gas_gwei=1.234567891, eth_price=2512.34)
    plan = build(case, deposits={"a": 500.0})
    assert plan.gas_usd == Decimal(270_000) * Decimal("1234567891") * Decimal("2512.34") / Decimal(10) ** 18


def test_a_conversion_is_as_large_as_decided_where_less_is_missing() -> None:
    """min_transaction_usd makes the model buy 50 USD of DAI though 30 are missing: the other 20 stay idle."""
    coins = [Coin("usdc", balance=units(1000)), Coin("dai", 18, balance=units(70, 18))]
    case = Market(coins, [Pool("a", ("dai",))], LOOSE)
    decided = {"deposits": {"a": 100.0}, "sells": ["usdc"], "buys": ["dai"]}
    plan = build(case, **decided, sold={"usdc": 50.0 / 0.999}, bought={"dai": 50.0})
    swap = next(step for step in plan.steps if step.step_type == "CONVERT").legs[0]
    assert float(swap.value_usd) == pytest.approx(50.05005, abs=1e-4)
    assert plan.wallet[address("dai")] / 10**18 == pytest.approx(20.0, abs=1e-4)


def test_every_token_gives_what_was_decided_and_not_what_the_largest_could() -> None:
    """Two tokens are sold, as the model counts their gas and as hysteresis connects them, though one would do."""
    coins = [Coin("usdc", balance=units(1000)), Coin("usdt", balance=units(500)), Coin("dai", 18)]
    case = Market(coins, [Pool("a", ("dai",))], LOOSE)
    decided = {"deposits": {"a": 300.0}, "sells": ["usdc", "usdt"], "buys": ["dai"]}
    plan = build(case, **decided, sold={"usdc": 100.0, "usdt": 300.0 / 0.999 - 100.0}, bought={"dai": 300.0})
    sold = {leg.token_in: float(leg.value_usd) for step in plan.steps for leg in step.legs if leg.token_out}
    assert sold == {address("usdc"): pytest.approx(100.0), address("usdt"): pytest.approx(200.3003, abs=1e-4)}
