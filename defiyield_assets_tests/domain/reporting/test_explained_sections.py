"""What the report says of why the plan is what it is, which limits bind, and what other caps would bring."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.explained_sections import LIMITS, frontier_table
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.reporting.plan_text import build_plan_summary
from defiyield_assets_tests.domain.reporting.conftest import (
    DAY,
    POOL_A,
    POOL_B,
    POOL_D,
    RUN,
    USDC,
    USDT,
    frame,
    holding,
    plan_run,
    verdict,
)

Days = Callable[..., ReportInputs]
FIGURES = {"gain_usd": Decimal("1607.918"), "marginal_apy": 0.0903, "dollar_apy": 0.0561, "cost_usd": Decimal("3.02")}
EXPLAINED = frame(
    "allocations",
    holding(POOL_D, USDC, 0, 0, action="left_out", gain_usd=Decimal(0), marginal_apy=0.04, why="lower gain: 4.00%"),
    holding(POOL_B, USDT, 5, 0, gain_usd=Decimal(7), marginal_apy=0.08, why="at its limit"),
    holding(
        POOL_A, USDC, 250_586_419_725, 0, **FIGURES, break_even_days=0.0563, binding_limit="max_protocol_share aave-v3"
    ),
)


def limit(name: str, subject: str, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "limit_name": name,
        "subject": subject,
        "date": DAY,
        "limit_usd": Decimal(500_000),
        "used_usd": Decimal(500_000),
        "is_binding": True,
        "gain_per_usd": 0.0012,
        "relaxation": "1% of AUM more",
        "worth_usd": Decimal("12.62"),
        "worth_by": "solved",
        **changes,
    }


def section(inputs: ReportInputs, anchor: str) -> Section | None:
    return build_content(inputs).section(anchor)


def test_every_pool_is_explained_in_numbers_the_best_first_and_those_left_out_last(day_with: Days) -> None:
    found = section(day_with(allocations=EXPLAINED), "why")
    assert found is not None
    rows = found.tables[0].rows
    assert [row[1] for row in rows] == ["enter", "enter", "out"]
    assert rows[0][0].startswith("USDC · aave-v3")
    assert rows[0][2:8] == ("$1,607.92", "9.03%", "5.61%", "$3.02", "0.1", "share of AUM in one protocol: aave-v3")
    assert rows[2][8] == "lower gain: 4.00%"


def test_what_the_two_rates_mean_is_told_for_pools_outside_at_a_limit_and_inside(day_with: Days) -> None:
    found = section(day_with(allocations=EXPLAINED), "why")
    assert found is not None
    told = " ".join(found.paragraphs)
    for words in (
        "A pool that is out can pay only where the first is higher",
        "that of the size that suits it best, in which its own deposit dilutes it",
        "filled to a limit has the higher first figure",
        "filled until both are about the same",
    ):
        assert words in told
    assert "worth entering where the first is higher" not in told


def test_a_held_pool_that_the_final_filter_refuses_says_so_beside_the_plans_reason(day_with: Days) -> None:
    """What must be left names its refusal itself; what is not held is no business of the plan."""
    refused = {"is_held": True, "is_must_exit": False, "forecast_apy": 0.004}
    verdicts = (
        verdict(POOL_A, "USDC", "aave-v3", "FORECAST_TOO_LOW", **refused),
        verdict(POOL_B, "USDT", "compound-v3", "PROTOCOL_NOT_APPROVED", **{**refused, "is_must_exit": True}),
        verdict(POOL_D, "USDC", "aave-v3", "FORECAST_TOO_LOW", **{**refused, "is_held": False}),
    )
    inputs = day_with(allocations=EXPLAINED, eligible_pools=frame("eligible_pools", *verdicts))
    why, plan = section(inputs, "why"), section(inputs, "plan")
    assert why is not None
    assert plan is not None
    words = "; the final filter lets no more in: FORECAST_TOO_LOW: FORECAST_TOO_LOW in words"
    told = {row[-1]: row[-2] for table in (*why.tables, *plan.tables) for row in table.rows}
    assert told[POOL_A].endswith(words)
    assert [pool_id for pool_id, reason in told.items() if "final filter" in reason] == [POOL_A]
    assert sum(words in row[-2] for row in plan.tables[0].rows) == 1


def test_limits_that_bind_stand_with_their_worth_the_dearest_first(day_with: Days) -> None:
    limits = frame(
        "allocation_limits",
        limit("max_protocol_share", "aave-v3"),
        limit("max_pool_share", POOL_B, worth_usd=Decimal("13.5"), worth_by="shadow_price"),
        limit("max_token_share", "Circle", is_binding=False),
        limit("min_pools", "plan", limit_usd=None, used_usd=None, relaxation="one pool fewer", worth_usd=Decimal(99)),
    )
    found = section(day_with(allocation_limits=limits), "limits")
    assert found is not None
    assert [row[0] for row in found.tables[0].rows] == [
        LIMITS["min_pools"],
        LIMITS["max_pool_share"],
        LIMITS["max_protocol_share"],
    ]
    pools, pool, protocol = found.tables[0].rows
    assert pools[1:] == ("", "", "", "one pool fewer", "$99.00")
    assert pool[1] == "USDT · compound-v3"
    assert pool[5] == "~$13.50"
    assert protocol[1:] == ("aave-v3", "$500,000.00", "$500,000.00", "1% of AUM more", "$12.62")


def test_a_plan_without_judged_limits_says_so_and_repeats_no_figure_of_the_headline(day_with: Days) -> None:
    found = section(day_with(allocation_limits=frame("allocation_limits")), "limits")
    assert found is not None
    assert found.paragraphs == ("No limit was judged for this plan.",)


def test_a_plan_that_is_not_published_is_not_explained(day_with: Days) -> None:
    runs = frame("allocation_runs", plan_run(status="unverified"))
    hidden = day_with(
        allocation_runs=runs, allocations=EXPLAINED, allocation_limits=frame("allocation_limits", limit("x", "y"))
    )
    assert section(hidden, "why") is None
    limits = section(hidden, "limits")
    assert limits is not None
    assert limits.tables == ()
    summary = build_plan_summary(hidden)
    assert (summary.why, summary.limits) == (None, None)


def test_names_that_others_chose_are_cleaned(day_with: Days) -> None:
    hostile = frame("allocation_limits", limit("max_protocol_share", "x\x1b[2J\n" * 50))
    found = section(day_with(allocation_limits=hostile), "limits")
    assert found is not None
    name = found.tables[0].rows[0][1]
    assert name.isprintable()
    assert len(name) <= 40


def test_points_of_the_frontier_stand_by_number_with_the_policys_own_and_those_without_a_plan() -> None:
    point = {"date": DAY, "max_pool_share": 0.25, "status": "optimal", "message": "ok", "is_chosen": False}
    known = {"gain_usd": Decimal(5611), "worst_protocol": "morpho-v1", "worst_loss_usd": Decimal(499_855)}
    rows = frame(
        "risk_gain_frontier",
        {**point, "point": 2, "max_protocol_share": 0.5, "is_chosen": True, **known},
        {**point, "point": 1, "max_protocol_share": 0.25, "status": "infeasible", "message": "No pool has room."},
    )
    table = frontier_table(rows)
    assert table is not None
    assert table.rows == (
        ("25%", "25%", "", "", "", "", "no plan: No pool has room."),
        ("25%", "50%", "$5,611.00", "unknown", "$499,855.00", "morpho-v1", "the policy"),
    )
    assert frontier_table(rows.iloc[:0]) is None
