"""Simple strategies stay within the caps; the optimiser is told sizes and APYs with our own deposits in them."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.allocation.backtest.engine import prices_of
from defiyield_assets.domain.allocation.backtest.strategies import (
    Choice,
    due,
    flows_to,
    targets_of,
    usable_pools,
    with_own_deposits,
)
from defiyield_assets.domain.allocation.backtest.treasury import Treasury, fresh_treasury
from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.limits import Limits
from defiyield_assets_tests.domain.allocation.backtest.tiny_records import FIRST, FREE, USDC, USDT, WALLET, TinyRecords

APYS = np.array([[0.10, 0.10], [0.30, 0.30], [0.20, 0.20], [0.05, 0.05]])
CAPS = replace(FREE, max_pool_share=0.4, max_token_share=0.65, min_pools=2)


def problem(size: float = 1e9, held: dict[str, dict[str, int]] | None = None) -> tuple[AllocationProblem, Treasury]:
    records = TinyRecords(APYS, (USDC, USDC, USDC, USDT), size=size, parameters=CAPS)
    known = records.known(records.evening)
    prices = prices_of(known)
    decimals = {token.address: token.decimals for token in records.policy.tokens}
    treasury = fresh_treasury(WALLET, decimals, USDC, Decimal(1000), prices)
    treasury.positions = held or {}
    return records.setting.problem(known, treasury, prices), treasury


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("trailing", {"pool1": 400.0, "pool2": 250.0, "pool3": 350.0, "pool0": 0.0}),
        ("equal", {"pool0": 216.67, "pool1": 216.67, "pool2": 216.67, "pool3": 350.0}),
    ],
)
def test_simple_targets_fill_the_caps(choice: Choice, expected: dict[str, float]) -> None:
    made, _ = problem()
    limits = Limits(made)
    found = targets_of(made, limits, choice, dict(zip(("pool0", "pool1", "pool2", "pool3"), APYS[:, 0], strict=True)))
    assert usable_pools(made) == 4
    assert {pool: found.get(pool, 0.0) for pool in expected} == pytest.approx(expected, abs=5.0)


def test_simple_targets_stay_under_the_cap_of_a_protocol() -> None:
    made, _ = problem()
    capped = replace(made, parameters=replace(CAPS, max_protocol_share=0.5))
    found = targets_of(capped, Limits(capped), "trailing", {"pool1": 0.3, "pool2": 0.2})
    assert {pool: usd for pool, usd in found.items() if usd > 0} == pytest.approx({"pool1": 400.0, "pool2": 100.0})


def test_flows_leave_what_is_not_wanted_and_ignore_small_differences() -> None:
    made, _ = problem(held={"pool0": {USDC: 300 * 10**6}, "pool1": {USDC: 200 * 10**6}, "pool2": {USDC: 100 * 10**6}})
    found = flows_to(made, Limits(made), {"pool0": 100.0, "pool1": 200.5, "pool3": 50.0})
    assert found.exits == {"pool2"}
    assert found.parts == {"pool0": pytest.approx(200.0)}
    assert found.deposits == {"pool3": 50.0}


def test_with_our_deposit_in_the_pool_the_optimiser_sees_the_gain_that_is_paid() -> None:
    frame = pd.DataFrame({"pool_id": ["a", "b"], "size_usd": [900.0, 900.0], "total_supply_usd": [np.nan, 1900.0]})
    frame = frame.assign(forecast_apy=0.10, last_apy=0.20)
    told = with_own_deposits(frame, {"a": 100.0, "b": 100.0})
    assert told["size_usd"].tolist() == [1000.0, 1000.0]
    assert told["total_supply_usd"].tolist()[1] == 2000.0
    assert told["forecast_apy"].tolist() == pytest.approx([0.09, 0.095])
    # V·r'·S'/(S' + V - V0) with r' = r·S/(S+V0), S' = S + V0 is V·r·S/(S+V)
    assert pytest.approx(300.0 * 0.10 * 900.0 / (900.0 + 300.0)) == 300.0 * 0.09 * 1000.0 / (1000.0 + 300.0 - 100.0)


def test_decisions_are_due_from_the_first_evening_on() -> None:
    assert [due(FIRST, FIRST.replace(day=day), 3) for day in (1, 2, 3, 4)] == [True, False, False, True]
