"""Foresight tells the realised mean; nothing passes the hindsight bound, and without fixed costs it is reached."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from defiyield_assets.domain.allocation.backtest.engine import Strategy, replay
from defiyield_assets.domain.allocation.backtest.records import decision_days
from defiyield_assets.domain.allocation.backtest.strategies import Optimiser, Simple
from defiyield_assets.domain.allocation.backtest.yardsticks import (
    FORESIGHT_BREAK_EVEN_DAYS,
    PoolFacts,
    enterable,
    foresight,
    future_of,
    hindsight_bound,
)
from defiyield_assets.domain.allocation.solve import solve_highs
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.backtest.tiny_records import (
    FREE,
    USDC,
    USDT,
    TinyRecords,
    random_records,
)

ONE_SOLVER = (solve_highs, solve_highs)
ISSUERS = {USDC: "Circle", USDT: "Tether"}


def bound(records: TinyRecords, capital: float, window_days: int = 1, enter: frozenset[str] | None = None) -> float:
    """The bound; pools of `enter` are let in every day, the others on the first evening only."""
    start = records.start()
    evenings = decision_days(start.first_day, start.last_day)
    facts = {
        pool: PoolFacts(token, ISSUERS[token], "aave-v3", "lend")
        for pool, token in zip(records.pool_ids, records.tokens, strict=True)
    }
    future = future_of(
        records.yields,
        evenings,
        {
            day: enterable(records.known(day), records.policy, facts) if enter is None or day == evenings[0] else enter
            for day in evenings
        },
        facts,
        cash={USDC: 1.0},
        capital_usd=capital,
        gas_usd=[records.gas_gwei * 1e-9 * 2_000.0] * len(evenings),
        units=records.parameters.gas_units,
    )
    return hindsight_bound(future, records.parameters, window_days)


def best_path(records: TinyRecords, capital: float, gas_usd: float = 0.0) -> float:
    """Everything in one pool a day: the best of all sequences, by dynamic programming."""
    growth = records.yields.daily[:, 1:]
    cost = records.parameters.conversion_rate
    best = {(0, USDC): capital}
    for day in range(growth.shape[1]):
        nexts: dict[tuple[int, str], float] = {}
        for (pool, token), wealth in best.items():
            for other, wanted in enumerate(records.tokens, start=1):
                kept = wealth if token == wanted else wealth * (1.0 - cost)
                paid = 0.0 if other == pool else gas_usd
                after = kept * (1.0 + growth[other - 1, day]) - paid
                nexts[other, wanted] = max(nexts.get((other, wanted), 0.0), after)
        best = nexts
    return max(best.values())


def test_foresight_is_the_mean_of_the_next_seven_days() -> None:
    records = TinyRecords(np.arange(10, dtype=float).reshape(1, 10) / 100.0, (USDC,), reward=0.5)
    rows = foresight(records.yields)(records.known(records.evening + timedelta(days=1)))
    means = dict(zip(rows["target"], rows["mean"], strict=True))
    assert means == pytest.approx({"apy_base": 0.05, "apy_reward": 0.5, "apy": 0.55})
    late = foresight(records.yields)(records.known(records.evening + timedelta(days=8)))
    assert late.loc[late["target"] == "apy_base", "mean"].item() == pytest.approx(0.09)


@pytest.mark.parametrize("seed", range(3))
def test_without_fixed_costs_and_caps_the_bound_is_the_best_sequence_of_pools(seed: int) -> None:
    records = random_records(seed, parameters=replace(FREE, conversion_rate=0.0005))
    assert bound(records, 1000.0) == pytest.approx(best_path(records, 1000.0), rel=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_gas_lowers_the_bound_but_never_below_what_can_be_reached(seed: int) -> None:
    records = random_records(seed, gas_gwei=0.2, parameters=replace(FREE, conversion_rate=0.0005))
    reached = best_path(records, 1000.0, gas_usd=0.2e-9 * 2_000.0 * 520_000)
    free = bound(replace(records, gas_gwei=0.0), 1000.0)
    assert reached <= bound(records, 1000.0) < free


def capped() -> Parameters:
    return replace(FREE, max_pool_share=0.4, max_pool_tvl_share=0.05, max_token_share=0.7, min_pools=2)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(1, 8))])
def test_no_strategy_passes_the_bound(seed: int) -> None:
    records = random_records(seed, n_pools=5, n_days=8, size=6_000_000.0, gas_gwei=0.5, parameters=capped())
    known = foresight(records.yields)
    yardstick = replace(records.parameters, break_even_days=FORESIGHT_BREAK_EVEN_DAYS)
    seeing = replace(records.setting, policy=replace(records.policy, parameters=yardstick), forecasts=known)
    strategies: list[tuple[Strategy, int]] = [
        (Optimiser(records.setting, solvers=ONE_SOLVER), 1),
        (Optimiser(seeing, solvers=ONE_SOLVER), 1),
        (Optimiser(seeing, 7, ONE_SOLVER), 7),
        (Simple(records.setting, "trailing", 1), 1),
        (Simple(records.setting, "equal", 7), 7),
    ]
    bounds = {days: bound(records, 1_000_000.0, days) for days in (1, 7)}
    assert bounds[1] <= bounds[7] * (1.0 + 1e-9)
    for strategy, days in strategies:
        books = replay(strategy, records, records.start("1000000"), records.policy)
        assert float(books.daily["wealth_usd"].iloc[-1]) <= bounds[days]
    assert bounds[1] < 1_000_000.0 * float(np.prod(1.0 + records.yields.daily[:, 1:].max(axis=0)))


def test_each_cap_and_dilution_lowers_the_bound() -> None:
    records = random_records(7, size=30_000_000.0)
    wide = replace(FREE, max_pool_share=0.5)
    steps = [
        replace(records, size=1e12, parameters=FREE),
        replace(records, parameters=FREE),
        replace(records, parameters=wide),
        replace(records, parameters=replace(wide, max_token_share=0.6)),
        replace(records, parameters=replace(wide, max_token_share=0.6, max_protocol_share=0.8)),
        replace(
            records,
            parameters=replace(wide, max_token_share=0.6, max_protocol_share=0.8, max_pool_tvl_share=0.01),
        ),
    ]
    values = [bound(one, 1_000_000.0) for one in steps]
    assert all(left > right for left, right in pairwise(values))


def test_what_the_filters_refuse_cannot_be_entered() -> None:
    records = random_records(4)
    small = replace(records, size=400_000.0)
    assert enterable(records.known(records.evening), records.policy, records.pool_ids) == set(records.pool_ids)
    assert enterable(small.known(small.evening), small.policy, small.pool_ids) == frozenset()


def test_a_pool_that_is_not_let_in_can_be_kept_but_not_entered() -> None:
    apy = np.array([[0.10, 0.10, 0.10, 0.10], [0.02, 0.02, 0.90, 0.90]])
    records = TinyRecords(apy, (USDC, USDC), parameters=replace(FREE, conversion_rate=0.0))
    daily = 1.0 + records.yields.daily[:, 1:]
    moved, kept = daily[0, 0] * daily[1, 1] * daily[1, 2], daily[1].prod()
    assert bound(records, 1000.0) == pytest.approx(1000.0 * moved, rel=1e-7)
    assert bound(records, 1000.0, enter=frozenset({"pool0"})) == pytest.approx(1000.0 * kept, rel=1e-7)


@pytest.mark.parametrize("size", [300.0, 2_000.0, 50_000.0])
def test_the_diluted_yield_is_never_underrated_and_hardly_overrated(size: float) -> None:
    records = TinyRecords(np.array([[0.3, 0.3]]), (USDC,), size=size, parameters=replace(FREE, pool_tvl_min_usd=1.0))
    paid = 1000.0 * float(records.yields.daily[0, 1]) * size / (size + 1000.0)
    found = bound(records, 1000.0) - 1000.0
    assert paid <= found + 1e-9
    assert found <= paid * 1.1
