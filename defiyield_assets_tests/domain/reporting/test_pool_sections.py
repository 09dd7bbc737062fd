"""The pools' rates side by side: advertised, forecast with its band, diluted, group, binding limit."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.reporting.pool_sections import BEST_LEFT_OUT
from defiyield_assets_tests.domain.reporting.conftest import (
    POOL_A,
    POOL_B,
    POOL_C,
    POOL_D,
    USDC,
    frame,
    holding,
    plan_run,
    verdict,
)

Days = Callable[..., ReportInputs]
ELIGIBLE = {"is_held": False, "is_exit_only": False, "is_must_exit": False, "pool_group": 2}


def pools(inputs: ReportInputs) -> Section:
    found = build_content(inputs).section("pools")
    assert found is not None
    return found


def test_a_pool_of_the_plan_stands_with_all_its_rates(day_with: Days) -> None:
    held = holding(POOL_A, USDC, 5, 0, binding_limit=f"max_pool_share {POOL_A}")
    section = pools(day_with(allocations=frame("allocations", held)))
    (row,) = section.tables[0].rows
    assert row == (
        "USDC · aave-v3 #aaaaaa…aaaa",
        "enter",
        "11.00%",
        "10.50%",
        "8.00% to 14.00%",
        "10.10%",
        "1 low",
        "share of AUM in one pool",
        "at least $123M",
    )
    assert "over the next 30 days" in section.paragraphs[0]


def test_pools_of_the_plan_come_first_and_those_left_out_are_not_diluted(day_with: Days) -> None:
    rows = pools(day_with()).tables[0].rows
    assert [row[1] for row in rows] == ["enter", "add", "keep", "left out"]
    assert rows[-1][2:7] == ("7.00%", "10.50%", "5.00% to 9.00%", "", "1 low")


def test_a_pool_that_a_filter_turned_away_is_not_offered(day_with: Days) -> None:
    rows = frame("allocations", holding("e" * 36, USDC, 0, 0, action="left_out"), holding(POOL_A, USDC, 5, 0))
    assert len(pools(day_with(allocations=rows)).tables[0].rows) == 1


def test_what_is_not_known_is_called_unknown(day_with: Days) -> None:
    held = holding("7" * 36, USDC, 5, 0, forecast_apy=None, diluted_apy=None, pool_group=None)
    row = pools(day_with(allocations=frame("allocations", held))).tables[0].rows[0]
    assert row[2:] == ("unknown", "unknown", "unknown", "unknown", "unknown", "", "unknown")


def test_the_band_is_that_of_the_policys_horizon(day_with: Days) -> None:
    run = frame("allocation_runs", plan_run(horizon_days=7))
    rows = {row[0][:4]: row for row in pools(day_with(allocation_runs=run)).tables[0].rows}
    assert rows["USDT"][4] == "unknown", "only 30 days were forecast"


def test_only_the_best_left_out_are_listed_and_the_rest_is_counted(day_with: Days) -> None:
    ids = [f"{number:08d}-1111-4222-8333-{number:012d}" for number in range(BEST_LEFT_OUT + 3)]
    left = [holding(one, USDC, 0, 0, action="left_out", forecast_apy=0.01 * place) for place, one in enumerate(ids)]
    known = [verdict(one, "USDC", f"protocol-{place}", last_apy=0.1, **ELIGIBLE) for place, one in enumerate(ids)]
    inputs = day_with(allocations=frame("allocations", *left), eligible_pools=frame("eligible_pools", *known))
    section = pools(inputs)
    assert [row[0] for row in section.tables[0].rows][:2] == ["USDC · protocol-10", "USDC · protocol-9"]
    assert len(section.tables[0].rows) == BEST_LEFT_OUT
    assert section.paragraphs[1] == "3 more pools passed every filter and are left out."


@pytest.mark.parametrize("status", ["unverified", "infeasible", "no_capital"])
def test_without_a_published_plan_only_what_is_held_is_shown(day_with: Days, status: str) -> None:
    section = pools(day_with(allocation_runs=frame("allocation_runs", plan_run(status=status))))
    assert section.title == "Pools that are held"
    assert {row[0].split(" #")[0] for row in section.tables[0].rows} == {"DAI · spark", "USDT · compound-v3"}
    assert {(row[1], row[5]) for row in section.tables[0].rows} == {("keep", "")}


def test_without_pools_the_section_says_so(day_with: Days) -> None:
    bare = replace(day_with(), allocations=frame("allocations"), eligible_pools=frame("eligible_pools"))
    assert pools(bare).paragraphs == ("No pool is held, and no plan proposes one.",)


def test_the_chart_shows_dollars_before_and_after(day_with: Days) -> None:
    """Prices: USDT at 400,000 dollars for 400,000 units in the plan, though a dollar says 0.5; DAI as in the plan."""
    plan = build_content(day_with()).section("plan")
    assert plan is not None
    (chart,) = plan.charts
    assert (chart.kind, chart.unit, [series.role for series in chart.series]) == ("bars", "usd", ["before", "after"])
    bars = {
        point.label.split(" #")[0]: (point.value, after.value)
        for point, after in zip(chart.series[0].points, chart.series[1].points, strict=True)
    }
    assert bars == {
        "USDT · compound-v3": (100_000.0, 400_000.0),
        "USDC · aave-v3": (0.0, 250_586.419725),
        "DAI · spark": (100_000.0, 100_000.0),
        "Cash in USDC": (502_345.678901, 251_759.259176),
    }
    assert chart.summary == (
        "Before 3 places hold something, most Cash in USDC: $502,345.68; after 4 places hold something, most USDT · "
        "compound-v3: $400,000.00."
    )


def test_a_pool_that_is_left_is_worth_what_its_token_closed_at(day_with: Days) -> None:
    left = holding(POOL_B, "0x" + "2" * 40, 0, 100_000_000, action="exit", value_usd=0)
    plan = build_content(day_with(allocations=frame("allocations", left))).section("plan")
    assert plan is not None
    assert [series.points[0].value for series in plan.charts[0].series] == [50.0, 0.0]


def test_a_value_without_a_price_is_a_gap_and_not_zero(day_with: Days) -> None:
    left = holding(POOL_C, "0x" + "5" * 40, 0, 10**6, action="exit", value_usd=0)
    plan = build_content(day_with(allocations=frame("allocations", left))).section("plan")
    assert plan is not None
    assert [series.points[0].value for series in plan.charts[0].series] == [None, 0.0]
    assert plan.charts[0].summary.startswith("Before 1 places of unknown value;")


def test_small_places_are_added_up_so_that_nothing_is_lost(day_with: Days) -> None:
    many = [holding(f"{number:08d}", USDC, 10**6 * (number + 2), 0) for number in range(30)]
    plan = build_content(day_with(allocations=frame("allocations", *many))).section("plan")
    assert plan is not None
    after = plan.charts[0].series[1].points
    assert after[-1].label == "19 smaller ones"
    assert len(after) == 12
    assert sum(point.value or 0.0 for point in after) == sum(number + 2 for number in range(30))


def test_without_a_published_plan_the_chart_has_only_what_is_held(day_with: Days) -> None:
    plan = build_content(day_with(allocation_runs=frame("allocation_runs", plan_run(status="unverified")))).section(
        "plan"
    )
    assert plan is not None
    (series,) = plan.charts[0].series
    assert series.role == "before"
    assert {point.label: point.value for point in series.points}["Cash in USDC"] == 502_345.678901
    assert POOL_D not in repr(plan)
