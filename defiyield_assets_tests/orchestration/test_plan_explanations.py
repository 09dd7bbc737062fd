"""The tables that explain the plan of a whole day, and what the UI shows of them.

Not here: whether a reason is right (domain/allocation/test_reasons.py) or the figures of the frontier.
"""

from decimal import Decimal

import dagster as dg

from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Loop


def metadata(loop: Loop, asset: str) -> dict[str, dg.MetadataValue]:  # type: ignore[type-arg]
    events = loop.results[0].asset_materializations_for_node("allocation" if asset.startswith("allocation") else asset)
    return dict(next(event for event in events if event.asset_key == dg.AssetKey(asset)).metadata)


def test_limits_that_bind_stand_with_what_relaxing_them_is_worth(first_day: Loop) -> None:
    rows = first_day.installation.rows(schema.allocation_limits, FIRST)
    assert set(rows["run_id"]) == set(first_day.installation.rows(schema.allocation_runs, FIRST)["run_id"])
    binding = rows[rows["is_binding"]]
    assert len(binding)
    assert binding["worth_usd"].notna().all()
    assert set(binding["worth_by"]) <= {"solved", "shadow_price"}
    assert {"min_pools", "break_even_days", "eth_balance"} <= set(rows["limit_name"])
    named = set(rows["limit_name"] + " " + rows["subject"])
    limits = first_day.installation.rows(schema.allocations, FIRST)["binding_limit"].dropna()
    held = limits[~limits.str.startswith(("max_pool_share ", "max_pool_tvl_share ", "exit_share "))]
    assert set(held) <= named


def test_every_pool_that_passed_has_a_reason(first_day: Loop) -> None:
    installation = first_day.installation
    rows = installation.rows(schema.allocations, FIRST)
    eligible = installation.rows(schema.eligible_pools, FIRST)
    assert set(eligible.loc[eligible["is_passed"], "pool_id"]) <= set(rows["pool_id"])
    assert rows["why"].str.len().min() > 10
    run = installation.rows(schema.allocation_runs, FIRST).iloc[0]
    gains = rows.drop_duplicates("pool_id")["gain_usd"].sum() - run["gas_usd"] - run["conversion_usd"]
    assert abs(gains - run["gain_usd"]) < Decimal("0.01")


def test_the_frontier_holds_the_plan_of_the_day(first_day: Loop) -> None:
    installation = first_day.installation
    rows = installation.rows(schema.risk_gain_frontier, FIRST)
    run = installation.rows(schema.allocation_runs, FIRST).iloc[0]
    assert 8 <= len(rows) <= 12
    (chosen,) = rows.loc[rows["is_chosen"], "gain_usd"]
    assert abs(chosen - run["gain_usd"]) <= Decimal(str(run["solver_gap"])) + 1


def test_the_ui_shows_the_pictures_and_the_limits_that_bind(first_day: Loop) -> None:
    for asset in ("allocations", "risk_gain_frontier"):
        assert "data:image/png;base64," in str(metadata(first_day, asset)["plot"].value), asset
    assert "worth_usd" in str(metadata(first_day, "allocation_limits")["binding"].value)
    assert "hold_gain_usd" in metadata(first_day, "allocation_runs")
