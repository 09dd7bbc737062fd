"""The page of a day's plan: what it is compared with.

Lives here: the comparison against the tables. Not here: what the report says of a plan (domain/reporting), browsers
(test_browser.py).
"""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets_tests.console.lab_states import Treasury
from defiyield_assets_tests.installations import Loop


@pytest.fixture(scope="module")
def treasury(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Treasury:
    """Read only."""
    return Treasury(closed_loop, tmp_path_factory.mktemp("plan"))


def held_before(treasury: Treasury) -> dict[object, int]:
    """Day -> pools in which anything is held before the plan, cash left out."""
    rows = treasury.rows(schema.allocations)
    rows = rows[(rows["amount_before"].map(int) > 0) & (rows["pool_id"] != "IDLE")]
    found = rows.groupby("date")["pool_id"].nunique().to_dict()
    return {day: found.get(day, 0) for day in treasury.days}


def test_doing_nothing_keeps_the_pools_that_are_held(treasury: Treasury) -> None:
    """On a day to hold as many as the plan has; nothing is sent and nothing moves."""
    held = held_before(treasury)
    runs = {run["date"]: run for run in treasury.rows(schema.allocation_runs).to_dict("records")}
    assert any(held[day] != runs[day]["n_pools"] for day in treasury.days)
    for day in treasury.days:
        if runs[day]["status"] == "hold":
            assert held[day] == runs[day]["n_pools"] > 0
        words = treasury.words(f"/plan?date={day}")
        assert f"Pools at the end {runs[day]['n_pools']} {held[day]} " in words
        assert f"Transactions {runs[day]['n_steps']} 0 " in words
        assert f"{runs[day]['turnover']:.2%} 0.00% " in words


def test_cash_and_pools_of_another_plan_are_not_counted(closed_loop: Loop, tmp_path: Path) -> None:
    """Rows of another run of the day."""
    own = Treasury(closed_loop, tmp_path)
    day, table = own.days[-1], schema.allocations
    held = held_before(own)[day]
    rows = own.rows(table).query("date == @day").to_dict("records")
    own.change(sa.insert(table), [{**row, "run_id": "0-earlier", "pool_id": f"other {row['pool_id']}"} for row in rows])
    run = own.rows(schema.allocation_runs).query("date == @day").iloc[0]
    assert f"Pools at the end {run['n_pools']} {held} " in own.words(f"/plan?date={day}")


def test_a_pool_that_is_left_leads_to_its_page(closed_loop: Loop, tmp_path: Path) -> None:
    """Though the step says beside its name that all shares are burned."""
    own = Treasury(closed_loop, tmp_path)
    day, steps = own.days[-1], schema.allocation_steps
    kept = own.rows(steps).query("date == @day and step_type == 'HOLD'").iloc[0]
    leaving = {"step_type": "WITHDRAW", "is_full_exit": True, "token_in": None, "amount_in": None}
    leaving |= {"token_out": kept["token_in"], "amount_out": kept["amount_in"]}
    own.change(sa.update(steps).where(steps.c.date == day, steps.c.pool_id == kept["pool_id"]).values(**leaving))
    page = own.page(f"/plan?date={day}")
    place = page.index(" (all shares)</a>")
    assert f'href="/pools/{kept["pool_id"]}?date={day}' in page[place - 300 : place]


def test_the_day_before_is_told_as_it_was(treasury: Treasury) -> None:
    """Beside today's plan stand the figures of yesterday's, unknown where there was none."""
    runs = {run["date"]: run for run in treasury.rows(schema.allocation_runs).to_dict("records")}
    first, second = treasury.days[:2]
    assert f"Plan of {first - timedelta(days=1)}" in treasury.words(f"/plan?date={first}")
    words = treasury.words(f"/plan?date={second}")
    assert f"Assets under management ${runs[second]['aum_usd']:,.2f} ${runs[second]['aum_usd']:,.2f} " in words
    assert f"${runs[first]['aum_usd']:,.2f}" in words


def test_a_day_before_that_has_no_plan_has_no_shares(treasury: Treasury) -> None:
    """Unknown is not nothing."""
    first, second = (treasury.words(f"/plan?date={day}") for day in treasury.days[:2])
    table = first[first.index("Shares of assets, pool by pool") :]
    assert " unknown " in table[:600]
    assert " 0.00% " not in table[:600]
    assert " unknown " not in second[second.index("Shares of assets, pool by pool") :][:600]
