"""What relaxing a limit is worth, against plans of the relaxed policy."""

import pytest

from defiyield_assets.domain.allocation.limit_rows import LIMIT_COLUMNS
from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.worth import with_worths
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units, with_parameters
from defiyield_assets_tests.domain.allocation.test_plan import CASH, market
from defiyield_assets_tests.domain.allocation.test_prices import POOLS


def limits_of(case: Market, most: int = 8) -> dict[tuple[str, str], dict[str, object]]:
    problem = case.problem()
    rows = with_worths(problem, plan_allocation(problem), most)
    assert list(rows.columns) == LIMIT_COLUMNS
    return {(row["limit_name"], row["subject"]): row for row in rows.to_dict("records")}  # type: ignore[misc]


def gain(case: Market) -> float:
    return float(plan_allocation(case.problem()).runs["gain_usd"].iloc[0])


def worth(row: dict[str, object]) -> float:
    assert row["worth_by"] == "solved"
    return float(row["worth_usd"])  # type: ignore[arg-type]


def test_columns_are_those_of_the_table() -> None:
    assert [column.name for column in schema.allocation_limits.columns] == LIMIT_COLUMNS


def test_worth_of_a_cap_is_the_gain_of_a_policy_with_that_cap_wider() -> None:
    """One protocol only has the cap, so that the policy's parameter relaxes nothing else."""
    case = market(POOLS, max_protocol_share=0.4, max_pool_share=0.3)
    rows = limits_of(case)
    row = rows["max_protocol_share", "x"]
    assert row["is_binding"]
    assert float(row["limit_usd"]) == pytest.approx(400_000, abs=0.02)  # type: ignore[arg-type]
    assert float(row["used_usd"]) == pytest.approx(400_000, abs=0.05)  # type: ignore[arg-type]
    assert worth(row) == pytest.approx(gain(with_parameters(case, max_protocol_share=0.41)) - gain(case), abs=0.05)
    assert worth(row) == pytest.approx(float(row["gain_per_usd"]) * CASH / 100, rel=0.05)  # type: ignore[arg-type]
    assert not rows["max_protocol_share", "b"]["is_binding"]
    assert rows["max_protocol_share", "b"]["worth_usd"] is None


def test_worth_is_what_the_formula_of_the_gain_says() -> None:
    """By hand: 1 % of AUM moves from the pool that takes the rest to the pool at its cap, both diluted pro rata."""
    size = 4e7
    case = market([Pool("a", apy=0.05, size=size), Pool("b", apy=0.2, size=size)], max_pool_share=0.6)
    row = limits_of(case)["max_pool_share", "b"]

    def earned(apy: float, value: float) -> float:
        return value * ((1 + apy) ** (30 / 365) - 1) * size / (size + value)

    top, more = float(row["limit_usd"]), CASH / 100  # type: ignore[arg-type]
    by_hand = earned(0.2, top + more) - earned(0.2, top) + earned(0.05, CASH - top - more) - earned(0.05, CASH - top)
    assert worth(row) == pytest.approx(by_hand, abs=0.02)
    priced = float(row["gain_per_usd"]) * more  # type: ignore[arg-type]
    assert abs(priced - by_hand) > 0.2, "the shadow price is of straight lines: it is another number"


def test_worths_of_the_pools_add_up_to_that_of_the_policys_cap() -> None:
    case = market([Pool("a", apy=0.05), Pool("b", apy=0.08), Pool("c", apy=0.07)], max_pool_share=0.35)
    rows = limits_of(case)
    each = [worth(rows["max_pool_share", name]) for name in ("b", "c")]
    together = gain(with_parameters(case, max_pool_share=0.36)) - gain(case)
    assert sum(each) == pytest.approx(together, rel=0.01)
    assert each[0] > each[1] > 1.0


def test_one_pool_fewer_is_worth_what_the_policy_with_one_fewer_gains() -> None:
    case = market([Pool("a", apy=0.05), Pool("b", apy=0.08), Pool("c", apy=0.03)], min_pools=3, min_position_share=0.1)
    row = limits_of(case)["min_pools", "plan"]
    assert row["is_binding"]
    assert worth(row) == pytest.approx(gain(with_parameters(case, min_pools=2)) - gain(case), abs=0.05)
    easy = limits_of(with_parameters(case, min_pools=2, max_pool_share=0.5))["min_pools", "plan"]
    assert not easy["is_binding"]
    assert worth(easy) == pytest.approx(0.0, abs=0.02)


def test_days_to_earn_costs_back_bind_where_a_longer_wait_would_pay() -> None:
    case = market([Pool("a", apy=0.05)], [Coin("usdc", balance=units(1_000))])
    case.gas_gwei = 4.0
    row = limits_of(case)["break_even_days", "plan"]
    assert row["is_binding"]
    assert worth(row) == pytest.approx(gain(with_parameters(case, break_even_days=30)), abs=0.001)
    case.gas_gwei = 0.1
    assert not limits_of(case)["break_even_days", "plan"]["is_binding"]


def test_gas_that_the_wallet_cannot_pay_is_worth_the_plan_that_it_forbids() -> None:
    case = market([Pool("a", apy=0.05), Pool("b", apy=0.06)], max_pool_share=0.5)
    plenty = gain(case)
    case.eth_wei = 2 * 270_000 * 10**9
    row = limits_of(case)["eth_balance", "plan"]
    assert row["is_binding"]
    assert worth(row) == pytest.approx(plenty - gain(case), abs=0.05)


def test_an_idle_buffer_is_worth_what_the_idle_money_would_earn() -> None:
    case = market([Pool("a", apy=0.05)], idle_buffer_share=0.2)
    row = limits_of(case)["idle_buffer_share", "plan"]
    assert row["is_binding"]
    assert worth(row) == pytest.approx(gain(with_parameters(case, idle_buffer_share=0.19)) - gain(case), abs=0.05)


def test_limits_beyond_the_most_valuable_ones_go_by_their_price() -> None:
    case = market(POOLS, max_pool_share=0.3, max_protocol_share=0.4)
    rows = limits_of(case, most=1)
    assert rows["max_pool_share", "b"]["worth_by"] == "solved"
    priced = rows["max_pool_share", "c"]
    assert priced["worth_by"] == "shadow_price"
    assert float(priced["worth_usd"]) == pytest.approx(  # type: ignore[arg-type]
        float(priced["gain_per_usd"]) * CASH / 100,  # type: ignore[arg-type]
        rel=1e-6,
    )


def test_a_day_without_a_plan_has_limits_without_worth() -> None:
    rows = limits_of(market([Pool("a"), Pool("b")], min_pools=5))
    assert {row["worth_by"] for row in rows.values()} == {None}
    assert limits_of(market([Pool("a")], [Coin("usdc")])) == {}
