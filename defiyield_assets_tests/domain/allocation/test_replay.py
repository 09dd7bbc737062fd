"""plan_replay: every check is broken on purpose and must say so."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.instances import DAY, Coin, Market, Pool, address, units

OTHER = "0x" + "bb" * 20


def market() -> Market:
    """A plan with HOLD, a full exit, a partial withdrawal, conversions and deposits of one and of two tokens."""
    coins = [
        Coin("usdc", price=1.001, balance=units(400_000)),
        Coin("dai", 18, price=0.998),
        Coin("usdt", price=1.0),
        Coin("bad", is_barred=True, balance=units(10)),
    ]
    pools = [
        Pool("a", ("usdc",), apy=0.09, protocol="x"),
        Pool("d", ("dai",), apy=0.10, protocol="y", role="vault"),
        Pool("pair", ("usdc", "dai"), apy=0.12, protocol="z", role="liquidity"),
        Pool("keep", ("usdc",), apy=0.2, protocol="v", held=(units(50_000),), is_exit_only=True),
        Pool("leave", ("usdt",), apy=0.01, protocol="w", held=(units(60_000),)),
        Pool("half", ("usdc", "usdt"), apy=0.09, protocol="u", role="liquidity", held=(units(200_000), units(100_000))),
        Pool("never", ("usdt",), apy=0.0, protocol="t"),
    ]
    parameters = Parameters(min_pools=3, max_pool_share=0.3, max_protocol_share=0.3, max_token_share=0.6)
    return Market(coins, pools, parameters)


@pytest.fixture(scope="module")
def plan() -> AllocationPlan:
    return plan_allocation(market().problem())


def changed(frame: pd.DataFrame, mask: Any, **values: Any) -> pd.DataFrame:
    """A copy with other values in the masked rows."""
    copy = frame.copy()
    for name, value in values.items():
        cells = [
            (value(old) if callable(value) else value) if is_hit else old
            for old, is_hit in zip(copy[name], mask, strict=True)
        ]
        copy[name] = pd.Series(cells, index=copy.index, dtype=object)
    return copy


def kind(plan: AllocationPlan, name: str, leg: int = 0) -> pd.Series:
    """First leg of the first step of a kind."""
    rows = (plan.steps["step_type"] == name) & (plan.steps["leg"] == leg)
    return rows & ~rows.shift(fill_value=False).cummax()


def errors(plan: AllocationPlan, case: Market | None = None, **frames: Any) -> str:
    names = {"runs": plan.runs, "allocations": plan.allocations, "steps": plan.steps}
    changes = {name: frame for name, frame in frames.items() if name not in names}
    broken = replace(plan, **{name: frame for name, frame in frames.items() if name in names})
    return "\n".join((case or market()).replay(broken, **changes).errors)


def test_the_plan_itself_is_clean_and_has_every_kind_of_step(plan: AllocationPlan) -> None:
    result = market().replay(plan)
    assert result.errors == []
    assert result.is_passed
    assert set(plan.steps["step_type"]) == {"HOLD", "WITHDRAW", "CONVERT", "DEPOSIT"}
    assert plan.steps["is_full_exit"].nunique() == 2
    assert result.aum_after == result.aum_before - result.conversion
    assert result.gas == Fraction(plan.runs["gas_usd"].iloc[0])
    assert result.conversion == Fraction(plan.runs["conversion_usd"].iloc[0])
    idle = plan.allocations[plan.allocations["pool_id"] == "IDLE"].set_index("token_address")["amount"]
    assert {token: amount for token, amount in result.final_wallet.items() if amount} == {
        token: amount for token, amount in idle.items() if amount
    }


def one_more(value: int) -> int:
    return value + 1


def one_less(value: int) -> int:
    return value - 1


STEP_BREAKS: list[tuple[str, int, dict[str, Any], str]] = [
    ("DEPOSIT", 0, {"amount_in": one_more}, "allocation"),
    ("DEPOSIT", 0, {"amount_in": lambda value: value * 10**9}, "are there"),
    ("DEPOSIT", 0, {"amount_in": 1.5}, "not a positive integer"),
    ("DEPOSIT", 0, {"amount_in": 0}, "not a positive integer"),
    ("DEPOSIT", 0, {"amount_in": lambda value: -value}, "not a positive integer"),
    ("DEPOSIT", 0, {"token_in": address("usdt")}, "takes"),
    ("DEPOSIT", 0, {"token_out": address("usdc")}, "has a token_out"),
    ("DEPOSIT", 0, {"pool_id": "nowhere"}, "DEPOSIT with pool nowhere"),
    ("DEPOSIT", 0, {"pool_id": None}, "DEPOSIT with pool None"),
    ("DEPOSIT", 0, {"wallet": OTHER}, "another wallet"),
    ("DEPOSIT", 0, {"date": None}, "another wallet or day"),
    ("DEPOSIT", 0, {"gas_units": one_less}, "gas_units"),
    ("DEPOSIT", 0, {"gas_usd": Decimal("0.1")}, "gas_usd"),
    ("DEPOSIT", 0, {"value_usd": lambda value: value + Decimal("0.01")}, "value_usd"),
    ("DEPOSIT", 0, {"conversion_usd": Decimal("0.01")}, "only conversions"),
    ("DEPOSIT", 0, {"is_full_exit": True}, "only withdrawals exit"),
    ("DEPOSIT", 0, {"run_id": "another"}, "another plan"),
    ("DEPOSIT", 0, {"leg": 1}, "legs do not count"),
    ("DEPOSIT", 0, {"seq": 99}, "seq does not count"),
    ("DEPOSIT", 0, {"step_type": "STAKE"}, "unknown step STAKE"),
    ("DEPOSIT", 1, {"amount_in": lambda value: value - value // 1000}, "in proportion to the pool"),
    ("DEPOSIT", 1, {"amount_in": lambda value: value - (10**13 if value > 10**15 else 10)}, "in proportion"),
    ("DEPOSIT", 1, {"gas_units": 5}, "gas_units"),
    ("DEPOSIT", 1, {"pool_id": "a"}, "legs of different steps"),
    ("WITHDRAW", 0, {"amount_out": lambda value: value * 10}, "are in the pool"),
    ("WITHDRAW", 0, {"amount_out": one_less}, "allocation"),
    ("WITHDRAW", 0, {"is_full_exit": lambda value: not value}, "is_full_exit"),
    ("WITHDRAW", 0, {"token_in": address("usdc")}, "has a token_in"),
    ("CONVERT", 0, {"amount_out": one_more}, "after the conversion cost"),
    ("CONVERT", 0, {"amount_out": one_less}, "after the conversion cost"),
    ("CONVERT", 0, {"token_out": address("bad")}, "may not be bought"),
    ("CONVERT", 0, {"token_out": "0xunknown"}, "cannot be read"),
    ("CONVERT", 0, {"conversion_usd": Decimal(0)}, "conversion_usd"),
    ("CONVERT", 0, {"pool_id": "a"}, "CONVERT with pool a"),
    ("CONVERT", 0, {"gas_units": 180_000}, "gas_units"),
    ("HOLD", 0, {"amount_in": one_more}, "HOLD does not state"),
    ("HOLD", 0, {"gas_units": 1}, "gas_units"),
]


@pytest.mark.parametrize(("step", "leg", "values", "message"), STEP_BREAKS)
def test_a_broken_step_is_found(
    plan: AllocationPlan, step: str, leg: int, values: dict[str, Any], message: str
) -> None:
    assert message in errors(plan, steps=changed(plan.steps, kind(plan, step, leg), **values))


def test_nothing_is_spent_before_it_is_there(plan: AllocationPlan) -> None:
    steps = plan.steps.copy()
    last = int(steps["seq"].max())
    steps["seq"] = last + 1 - steps["seq"]
    assert "are there" in errors(plan, steps=steps)


def test_a_withdrawal_out_of_proportion_is_found(plan: AllocationPlan) -> None:
    rows = (plan.steps["pool_id"] == "half") & (plan.steps["leg"] == 1)
    assert rows.any()
    found = errors(plan, steps=changed(plan.steps, rows, amount_out=lambda value: value - units(1)))
    assert "not in proportion" in found


def test_a_missing_step_is_found(plan: AllocationPlan) -> None:
    steps = plan.steps
    without_hold = steps[steps["step_type"] != "HOLD"].copy()
    without_hold["seq"] -= steps.loc[steps["step_type"] == "HOLD", "seq"].nunique()
    assert "no step names it" in errors(plan, steps=without_hold)
    last = steps[steps["seq"] < steps["seq"].max()]
    assert "allocation" in errors(plan, steps=last)


def test_a_pool_is_touched_once(plan: AllocationPlan) -> None:
    again = plan.steps[kind(plan, "DEPOSIT")].copy()
    again["seq"] = plan.steps["seq"].max() + 1
    assert "touched twice" in errors(plan, steps=pd.concat([plan.steps, again], ignore_index=True))


ALLOCATION_BREAKS: list[tuple[dict[str, Any], str]] = [
    ({"amount": one_more}, "says"),
    ({"amount_before": one_more}, "says"),
    ({"value_usd": lambda value: value + 1}, "value_usd is not amount times price"),
    ({"run_id": "another"}, "of another plan"),
    ({"date": None}, "of another plan"),
    ({"pool_id": "nowhere"}, "is missing"),
]


@pytest.mark.parametrize(("values", "message"), ALLOCATION_BREAKS)
@pytest.mark.parametrize("pool", ["a", "pair", "keep", "IDLE"])
def test_a_broken_allocation_is_found(plan: AllocationPlan, pool: str, values: dict[str, Any], message: str) -> None:
    rows = (plan.allocations["pool_id"] == pool) & (plan.allocations["amount"].astype(bool))
    assert rows.any()
    assert message in errors(plan, allocations=changed(plan.allocations, rows, **values))


def test_a_missing_or_double_allocation_is_found(plan: AllocationPlan) -> None:
    frame = plan.allocations
    assert "is missing" in errors(plan, allocations=frame[frame["pool_id"] != "leave"])
    assert "there twice" in errors(plan, allocations=pd.concat([frame, frame.iloc[[0]]], ignore_index=True))


RUN_BREAKS: list[tuple[dict[str, Any], str]] = [
    ({"aum_usd": Decimal(1)}, "aum_usd"),
    ({"gas_usd": lambda value: value + Decimal("0.01")}, "gas_usd"),
    ({"gas_usd": lambda value: value + Decimal("0.01")}, "wealth"),
    ({"conversion_usd": lambda value: value + Decimal("0.01")}, "conversion_usd"),
    ({"conversion_usd": lambda value: value + Decimal("1e-18")}, "wealth"),
    ({"conversion_usd": lambda value: value - Decimal("1e-18")}, "wealth"),
    ({"eth_balance_wei": one_more}, "eth_balance_wei"),
    ({"n_steps": one_more}, "n_steps"),
    ({"n_pools": one_more}, "n_pools"),
    ({"run_id": "another"}, "another plan"),
    ({"date": None}, "another plan"),
    ({"status": "hold"}, "must not send transactions"),
    ({"status": "unverified"}, "must not send transactions"),
]


@pytest.mark.parametrize(("values", "message"), RUN_BREAKS)
def test_a_broken_run_is_found(plan: AllocationPlan, values: dict[str, Any], message: str) -> None:
    assert message in errors(plan, runs=changed(plan.runs, [True], **values))


def test_a_run_is_exactly_one_row(plan: AllocationPlan) -> None:
    assert "one row" in errors(plan, runs=pd.concat([plan.runs, plan.runs]))
    assert "one row" in errors(plan, runs=plan.runs.iloc[:0])


def pools(**by_name: dict[str, Any]) -> Callable[[], Market]:
    """The market with facts of some pools changed after the plan was made."""

    def build() -> Market:
        case = market()
        case.pools = [Pool(**(pool.__dict__ | by_name.get(pool.name, {}))) for pool in case.pools]
        return case

    return build


def parameters(**values: Any) -> Callable[[], Market]:
    def build() -> Market:
        case = market()
        return replace(case, parameters=replace(case.parameters, **values))

    return build


LIMIT_BREAKS: list[tuple[Callable[[], Market], str]] = [
    (parameters(max_pool_share=0.2), "above the cap"),
    (parameters(max_pool_tvl_share=0.0001), "above the cap"),
    (pools(d={"size": 1e6}), "pool d: .* above the cap"),
    (parameters(max_protocol_share=0.1), "protocol [a-z]: .* above the cap"),
    (parameters(max_token_share=0.2), "issuer usdc: .* above the cap"),
    (parameters(max_chain_share=0.5), "chain Ethereum: .* above the cap"),
    (pools(a={"exit_days": 3}, pair={"exit_days": 3}), "illiquid positions: .* above the cap"),
    (parameters(group_caps=True), "group 1: .* above the cap"),
    (parameters(idle_buffer_share=0.2), "idle buffer"),
    (parameters(min_pools=6), "min_pools: . positions"),
    (parameters(min_position_share=0.29), "below the smallest position"),
    (parameters(min_transaction_usd=1e6), "below the minimum"),
    (pools(d={"is_must_exit": True}), "pool d: must be left"),
    (pools(d={"is_must_exit": True}), "pool d: grows"),
    (pools(d={"apy": None, "last_apy": 0.1}), "pool d: grows"),
    (pools(d={"apy": None}), "pool d: is touched although no APY"),
    (pools(d={"size": None}), "pool d: grows"),
    (pools(d={"chain": "Base"}), "pool d: grows"),
    (pools(keep={"is_must_exit": True}), "pool keep: must be left"),
    (pools(d={"supply": 1e8, "borrow": 9.99e7}), "pool d: .* exit_share"),
    (pools(leave={"supply": 1e8, "borrow": 1e8 - 59_999}), "pool leave: more is withdrawn"),
    (parameters(conversion_rate=0.0003), "after the conversion cost"),
    (lambda: replace(market(), gas_gwei=1.1), "gas_usd"),
    (lambda: replace(market(), eth_price=2501.0), "gas_usd"),
    (lambda: replace(market(), eth_wei=10**12), "do not pay for"),
    (lambda: replace(market(), gas_gwei=None), "no gas price or ETH price"),
    (lambda: replace(market(), eth_price=None), "no gas price or ETH price"),
]


@pytest.mark.parametrize(("build", "message"), LIMIT_BREAKS)
def test_a_broken_limit_is_found(plan: AllocationPlan, build: Callable[[], Market], message: str) -> None:
    import re

    assert re.search(message, errors(plan, build()))


def test_eth_has_to_pay_at_the_p90_price(plan: AllocationPlan) -> None:
    mean_wei = int(plan.runs["gas_usd"].iloc[0] / Decimal(2500) * 10**18)
    case = replace(market(), eth_wei=mean_wei * 3 // 2)
    assert "at the p90 price" in errors(plan, case)


def test_a_barred_token_is_neither_bought_nor_deposited(plan: AllocationPlan) -> None:
    found = errors(plan, barred={f"ethereum:{address('dai')}"})
    assert "may not be bought" in found
    assert "is barred" in found


def test_a_permissioned_token_is_bought_only_by_those_who_may(plan: AllocationPlan) -> None:
    case = market()
    case.coin("dai").access = "permissioned"
    assert "may not be bought" in errors(plan, case)


def test_tables_of_another_day_are_found(plan: AllocationPlan) -> None:
    import datetime

    case = replace(market(), balance_day=DAY - datetime.timedelta(days=1))
    assert "a row of" in errors(plan, case)
    bars = market().tables()["bars"]
    assert "no price of" in errors(plan, bars=bars.iloc[:0])


def test_a_held_pool_that_selection_does_not_know_is_found(plan: AllocationPlan) -> None:
    eligible = market().tables()["eligible"]
    assert "is not in eligible_pools" in errors(plan, eligible=eligible[eligible["pool_id"] != "keep"])


def test_the_replay_loads_nothing_of_the_optimiser() -> None:
    code = (
        "import sys, defiyield_assets.domain.allocation.replay; "
        "own = [m for m in sys.modules if m.startswith('defiyield_assets.domain.allocation.')]; "
        "print(sorted(m.rsplit('.', 1)[1] for m in own), 'pulp' in sys.modules, 'highspy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['replay', 'replay_facts', 'replay_limits'] False False"
