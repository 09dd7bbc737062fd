"""The risk-gain frontier: its points, their risks, and points without a plan."""

from dataclasses import replace

import pandas as pd
import pytest

from defiyield_assets.domain.allocation import frontier
from defiyield_assets.domain.allocation.frontier import FRONTIER_COLUMNS, build_frontier, cap_pairs, low_apys
from defiyield_assets.domain.allocation.gains import period_return
from defiyield_assets.domain.allocation.plan import plan_allocation
from defiyield_assets.domain.allocation.plots import plot_allocations, plot_frontier
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.allocation.instances import DAY, Coin, Market, Pool, units
from defiyield_assets_tests.domain.allocation.test_plan import CASH, market

POOLS = [
    Pool("a", apy=0.05, p10=0.04),
    Pool("b", apy=0.09, p10=0.01, protocol="x"),
    Pool("c", apy=0.08, p10=0.01, protocol="x"),
    Pool("d", apy=0.04, p10=0.03),
]
LOOSE = {"max_pool_share": 0.30, "max_protocol_share": 0.45}


def points(case: Market) -> pd.DataFrame:
    return build_frontier(case.problem(), low_apys(case.forecasts(), DAY, 30))


def test_columns_are_those_of_the_table() -> None:
    assert [column.name for column in schema.risk_gain_frontier.columns] == FRONTIER_COLUMNS
    assert list(points(market(POOLS, **LOOSE)).columns) == FRONTIER_COLUMNS


def test_the_policys_caps_are_one_of_the_points_and_marked() -> None:
    rows = points(market(POOLS, **LOOSE))
    chosen = rows[rows["is_chosen"]]
    assert [(row.max_pool_share, row.max_protocol_share) for row in chosen.itertuples()] == [(0.30, 0.45)]
    plan = plan_allocation(market(POOLS, **LOOSE).problem())
    assert float(chosen["gain_usd"].iloc[0]) == pytest.approx(float(plan.runs["gain_usd"].iloc[0]), abs=0.02)
    assert 8 <= len(rows) <= 12
    assert list(rows["point"]) == list(range(1, len(rows) + 1))


def test_a_policy_on_the_grid_adds_no_point() -> None:
    case = market(POOLS, max_pool_share=0.25, max_protocol_share=0.5)
    pairs = cap_pairs(case.problem())
    assert len(pairs) == len(set(pairs)) == 9
    assert int(points(case)["is_chosen"].sum()) == 1


def test_no_point_says_that_two_solvers_confirmed_it() -> None:
    rows = points(market(POOLS, **LOOSE))
    assert set(rows["verified_by"]) == {"first_solver"}
    assert rows["solver"].str.startswith("HiGHS").all()


def test_looser_caps_never_gain_less() -> None:
    rows = points(market(POOLS, **LOOSE))
    for one in rows.itertuples():
        for other in rows.itertuples():
            if one.max_pool_share <= other.max_pool_share and one.max_protocol_share <= other.max_protocol_share:
                assert float(one.gain_usd) <= float(other.gain_usd) + 0.05


def test_the_largest_loss_is_the_largest_protocol_and_stays_under_its_cap() -> None:
    rows = points(market(POOLS, **LOOSE))
    assert (rows["worst_loss_usd"].astype(float) <= rows["max_protocol_share"] * CASH).all()
    half = rows[(rows["max_pool_share"] == 0.25) & (rows["max_protocol_share"] == 0.5)].iloc[0]
    assert half["worst_protocol"] == "x"
    assert float(half["worst_loss_usd"]) == pytest.approx(500_000, abs=0.1)


def test_the_low_gain_has_every_pool_at_its_p10() -> None:
    rows = points(market(POOLS, **LOOSE))
    alone = rows[rows["max_pool_share"] == 1.0].iloc[0]
    problem = market(POOLS, **LOOSE).problem()
    diluted = CASH * period_return(0.01, 0.0, problem.parameters) * 1e8 / (1e8 + CASH)
    assert float(alone["low_gain_usd"]) == pytest.approx(diluted - 0.675, abs=0.01)
    assert float(alone["gain_usd"]) > float(alone["low_gain_usd"])


def test_a_held_pool_without_a_p10_makes_the_low_gain_unknown() -> None:
    held = Pool("h", apy=None, last_apy=0.04, held=(units(200_000),))
    rows = points(market([*POOLS, held], [Coin("usdc", balance=units(800_000))], **LOOSE))
    assert rows.loc[rows["is_chosen"], "low_gain_usd"].isna().all()
    assert rows["gain_usd"].notna().all()
    left = rows[rows["max_pool_share"] == 1.0]
    assert left["low_gain_usd"].notna().all(), "where it is left for better pools nothing is unknown"


def test_a_point_without_a_plan_keeps_its_row_with_the_reason() -> None:
    rows = points(market(POOLS, **LOOSE, min_position_share=0.2))
    narrow = rows[rows["max_pool_share"] == 0.10]
    assert len(narrow) == 3
    assert narrow["gain_usd"].isna().all()
    assert set(narrow["status"]) == {"infeasible"}
    assert narrow["message"].str.contains("min_position_share").all()
    assert rows[rows["max_pool_share"] > 0.2]["gain_usd"].notna().all()


def test_a_point_that_the_solver_does_not_finish_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = frontier.solve_what_if

    def unfinished(problem, *_arguments):  # type: ignore[no-untyped-def]
        plan = asked(problem)
        is_slow = problem.parameters.max_pool_share == 0.5
        return replace(plan, runs=plan.runs.assign(solver_status="stopped", status="unverified")) if is_slow else plan

    monkeypatch.setattr(frontier, "solve_what_if", unfinished)
    rows = points(market(POOLS, **LOOSE))
    assert list(rows.loc[rows["gain_usd"].isna(), "max_pool_share"]) == [0.5, 0.5]
    assert set(rows.loc[rows["gain_usd"].isna(), "status"]) == {"unverified"}


def test_a_treasury_without_capital_has_points_that_say_so() -> None:
    rows = points(market(POOLS, [Coin("usdc")], **LOOSE))
    assert set(rows["status"]) == {"no_capital"}
    assert rows["gain_usd"].isna().all()
    assert set(rows["verified_by"]) == {None}


def test_same_rows_same_picture_in_any_order() -> None:
    rows = points(market(POOLS, **LOOSE))
    assert plot_frontier(rows) == plot_frontier(rows.sample(frac=1, random_state=1))
    assert plot_frontier(rows.assign(gain_usd=None)).startswith(b"\x89PNG")
    problem = market(POOLS, **LOOSE).problem()
    prices = {token.address: float(token.value(1)) for token in problem.tokens}
    held = plan_allocation(problem).allocations
    assert plot_allocations(held, prices) == plot_allocations(held.sample(frac=1, random_state=1), prices)
    assert plot_allocations(held.iloc[:0], prices).startswith(b"\x89PNG")
