"""The page of a day's plan: what it is compared with.

Lives here: the comparison against the tables. Not here: what the report says of a plan (domain/reporting), browsers
(test_browser.py).
"""

import re
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


def test_a_limit_has_one_worth_wherever_the_page_tells_it(treasury: Treasury) -> None:
    """Of the table, once beside the limit and once beside the pool that it holds back; no other figure of it."""
    limits = treasury.rows(schema.allocation_limits).query("is_binding and limit_name == 'max_pool_share'")
    bound = treasury.rows(schema.allocations).dropna(subset=["binding_limit"])
    assert set(limits["worth_by"]) == {"solved"}
    for day in treasury.days:
        words = treasury.words(f"/plan?date={day}")
        assert "more room is worth" not in words
        held = set(bound[bound["date"] == day]["binding_limit"])
        for limit in limits[limits["date"] == day].to_dict("records"):
            worth = f"1% of AUM more{{}} ${limit['worth_usd']:,.2f}"
            assert worth.format("") in words
            if f"max_pool_share {limit['subject']}" in held:
                assert f"share of AUM in one pool; {worth.format(':')}" in words


def test_the_worth_of_a_limit_is_what_the_rates_at_the_margin_say(treasury: Treasury) -> None:
    """1 % of AUM earns the rate of the next dollar in the pool at its cap, no longer that where the rest goes."""
    allocations, runs, limits = (
        table[table["date"] == treasury.days[0]]
        for table in map(treasury.rows, (schema.allocations, schema.allocation_runs, schema.allocation_limits))
    )
    pools, run = allocations.query("action != 'left_out' and pool_id != 'IDLE'"), runs.iloc[0]
    months = {
        row["pool_id"]: (1 + row["marginal_apy"]) ** (run["horizon_days"] / 365) - 1 for row in pools.to_dict("records")
    }
    rest = pools[pools["why"].str.startswith("takes what the better pools leave")]["pool_id"].item()
    bound = limits[limits["is_binding"].astype(bool)]
    assert len(bound) > 1
    for limit in bound.to_dict("records"):
        by_hand = float(run["aum_usd"]) / 100 * (months[limit["subject"]] - months[rest])
        assert float(limit["worth_usd"]) == pytest.approx(by_hand, rel=0.03)


def test_a_dollar_of_the_plan_earns_what_the_pool_that_takes_the_rest_pays(treasury: Treasury) -> None:
    """Less the conversion at most: some dollars of a token that nobody moves say nothing of it."""
    day = treasury.days[0]
    rows = treasury.rows(schema.allocations).query("date == @day and pool_id != 'IDLE'").dropna(subset=["dollar_apy"])
    rest = rows[rows["why"].str.startswith("takes what the better pools leave")].iloc[0]["marginal_apy"]
    entered = rows[rows["action"] == "enter"]["dollar_apy"]
    assert len(entered) > 3
    assert all(rest - 0.006 < apy < rest + 0.006 for apy in entered)
    assert f" {entered.iloc[0]:.2%} " in treasury.words(f"/plan?date={day}")


def test_what_must_be_left_says_why(treasury: Treasury) -> None:
    """In the words of the final filter, in the plan and pool by pool."""
    verdicts = treasury.rows(schema.eligible_pools).query("is_must_exit")
    assert len(verdicts)
    for verdict in verdicts.to_dict("records"):
        words = treasury.words(f"/plan?date={verdict['date']}")
        assert words.count(f"must be left: {verdict['reasons']}") == 2


def test_the_day_before_is_told_as_it_was(treasury: Treasury) -> None:
    """Beside today's plan stand the figures of yesterday's, unknown where there was none."""
    runs = {run["date"]: run for run in treasury.rows(schema.allocation_runs).to_dict("records")}
    first, second = treasury.days[:2]
    alone = treasury.words(f"/plan?date={first}")
    assert f"There is no plan of {first - timedelta(days=1)} to compare with." in alone
    assert "is told as it was made then" not in alone
    assert " unknown " not in alone[alone.index("Compared with yesterday and with") :][:900]
    words = treasury.words(f"/plan?date={second}")
    assert f"Assets under management ${runs[second]['aum_usd']:,.2f} ${runs[second]['aum_usd']:,.2f} " in words
    assert f"${runs[first]['aum_usd']:,.2f}" in words


def test_a_day_before_that_has_no_plan_has_no_shares(treasury: Treasury) -> None:
    """Neither nothing nor a row of unknowns; the second day tells its changes in points."""
    first, second = (treasury.words(f"/plan?date={day}") for day in treasury.days[:2])
    table = first[first.index("Shares of assets, pool by pool") :]
    table = table[: table.index("Why, pool by pool")]
    assert "Today's plan Forecast now" in table
    assert "Yesterday's plan" not in table
    assert " unknown " not in table
    assert " 0.00% " not in table
    compared = second[second.index("Shares of assets, pool by pool") :][:600]
    assert " unknown " not in compared
    assert re.search(r"% [+-]\d+\.\d\d points ", compared)


def test_how_far_below_its_caps_the_plan_stays_is_told(treasury: Treasury) -> None:
    """A cap of 25 % that holds pools at 24.75 %, both told with two decimals everywhere."""
    day = treasury.days[0]
    words = treasury.words(f"/plan?date={day}")
    assert "in one pool at most 25.00% of AUM less 1.00% of that, which is 24.75% of AUM." in words
    rows = treasury.rows(schema.allocations).query("date == @day and action != 'left_out'")
    most = float(rows["share_of_aum"].map(float).max())
    assert f"{most:.2%}" == "24.75%"
    assert words.count("24.75% ") > 3
    assert "24.7% " not in words
