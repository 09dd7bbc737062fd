"""The loop: hand-computed yields, gas and dilution, exact books, and no look into the future."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.allocation.backtest.engine import replay
from defiyield_assets.domain.allocation.backtest.records import KnownDay
from defiyield_assets.domain.allocation.backtest.strategies import Decision, Hold, Optimiser, Simple
from defiyield_assets.domain.allocation.backtest.treasury import Prices, Treasury
from defiyield_assets.domain.allocation.facts import exact_sum
from defiyield_assets.domain.allocation.solve import solve_highs
from defiyield_assets_tests.domain.allocation.backtest.tiny_records import (
    FREE,
    USDC,
    TinyRecords,
    random_records,
)


@dataclass(frozen=True)
class AllIn:
    """Everything into pool0 on the first evening."""

    every_days: int = 100

    def decide(self, known: KnownDay, treasury: Treasury, prices: Prices) -> Decision:
        row = {"seq": 1, "leg": 0, "step_type": "DEPOSIT", "pool_id": "pool0", "token_in": USDC}
        row |= {"amount_in": treasury.wallet[USDC], "token_out": None, "amount_out": None, "gas_units": 100_000}
        return Decision(
            pd.DataFrame([row | {"value_usd": Decimal(1000), "conversion_usd": Decimal(0)}], dtype=object), 1, "optimal"
        )


def test_a_day_pays_its_own_apy_to_what_was_deposited_for_it() -> None:
    records = TinyRecords(np.array([[9.9, 0.10, 0.20]]), (USDC,))
    books = replay(AllIn(), records, records.start(), records.policy)
    after_one = int(1_000_000_000 * 1.10 ** (1 / 365))
    after_two = int(after_one * 1.20 ** (1 / 365))
    assert list(books.daily["wealth_usd"]) == [Decimal(after_one).scaleb(-6), Decimal(after_two).scaleb(-6)]


def test_rewards_are_simple_and_beside_the_compounded_base() -> None:
    records = TinyRecords(np.array([[0.0, 0.10]]), (USDC,), reward=0.365)
    books = replay(AllIn(), records, records.start(), records.policy)
    assert float(books.daily["yield_usd"].iloc[0]) == pytest.approx(1000 * (1.10 ** (1 / 365) - 1 + 0.001), abs=1e-6)


def test_our_own_deposit_dilutes_what_is_paid() -> None:
    records = TinyRecords(np.array([[0.0, 0.10]]), (USDC,), size=4_000.0)
    books = replay(AllIn(), records, records.start(), records.policy)
    assert float(books.daily["yield_usd"].iloc[0]) == pytest.approx(800 * (1.10 ** (1 / 365) - 1), abs=1e-6)


def test_gas_is_paid_at_the_price_of_the_day_it_is_sent() -> None:
    records = TinyRecords(np.array([[0.0, 0.0]]), (USDC,), gas_gwei=5.0)
    books = replay(AllIn(), records, records.start(), records.policy)
    assert books.daily["gas_usd"].iloc[0] == Decimal("1")  # 100,000 units x 5 gwei x 2,000 USD
    assert books.daily["wealth_usd"].iloc[0] == Decimal("999")


@pytest.mark.parametrize("choice", ["policy", "equal", "size", "trailing"])
def test_the_books_balance_to_the_last_digit(choice: str) -> None:
    caps = replace(FREE, max_pool_share=0.4, min_pools=2)
    records = random_records(1, n_days=6, gas_gwei=3.0, size=5_000_000.0, parameters=caps)
    strategy = Optimiser(records.setting) if choice == "policy" else Simple(records.setting, choice, 2)  # type: ignore[arg-type]
    books = replay(strategy, records, records.start("123456.789"), records.policy)
    assert books.daily["n_transactions"].sum() > 3
    before = Decimal("123456.789")
    for row in books.daily.to_dict("records"):
        assert row["wealth_before_usd"] == before
        minus = [row["gas_usd"].copy_negate(), row["conversion_usd"].copy_negate()]
        before = exact_sum([before, row["yield_usd"], row["revaluation_usd"], *minus])
        assert row["wealth_usd"] == before
    by_day = books.pools.groupby("date")["yield_usd"].sum()
    assert list(by_day) == list(books.daily["yield_usd"])


def test_holding_keeps_the_first_plan() -> None:
    records = random_records(2, n_days=5)
    books = replay(Hold(records.setting), records, records.start(), records.policy)
    assert list(books.daily["n_transactions"] > 0) == [True, False, False, False, False]


def decisions(records: TinyRecords) -> pd.DataFrame:
    strategy = Optimiser(records.setting, solvers=(solve_highs, solve_highs))
    return replay(strategy, records, records.start("100000"), records.policy).steps.drop(columns="run_id")


@pytest.fixture(scope="module")
def past() -> TinyRecords:
    return random_records(3, n_days=5, parameters=replace(FREE, max_pool_share=0.6, min_pools=2))


@pytest.fixture(scope="module")
def decided(past: TinyRecords) -> pd.DataFrame:
    return decisions(past)


@pytest.mark.parametrize("n_days", [1, 3])
def test_decisions_do_not_change_when_all_later_data_is_noise(
    past: TinyRecords, decided: pd.DataFrame, n_days: int
) -> None:
    evening = past.evening + timedelta(days=n_days)
    noise = np.random.default_rng(9).uniform(0.0, 5.0, size=past.apy.shape)
    other = decisions(past.with_future(evening, noise))
    before, after = (steps[steps["date"] <= evening].to_dict("records") for steps in (decided, other))
    assert before == after
    assert len(before) > n_days
    assert decided.to_dict("records") != other.to_dict("records")


def test_the_policy_moves_to_the_better_pool_when_it_pays() -> None:
    apy = np.array([[0.05] * 6, [0.02, 0.02, 0.30, 0.30, 0.30, 0.30]])
    records = TinyRecords(apy, (USDC, USDC))
    books = replay(Optimiser(records.setting), records, records.start(), records.policy)
    held = books.pools.assign(value=books.pools["value_usd"].astype(float)).query("value > 1")
    assert list(held["pool_id"]) == ["pool0", "pool0", "pool1", "pool1", "pool1"]
