"""The page of one pool: its explanation, history, forecasts, our position, and pools that there are not.

Lives here: the page against the tables and against what the command line explains. Not here: the explanation itself
(domain/selection), the page of all pools (test_pools.py).
"""

import json
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.cli.main import main
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.forecasting.scoreboard import CHAMPION, build_scoreboard
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.console.lab_states import HOSTILE, Treasury, insert, require_harmless, words_of
from defiyield_assets_tests.installations import FIRST, Installation, Loop

DAY = FIRST + timedelta(days=2)


def of(state: Installation, table: sa.Table, pool_id: str, back: int = 0) -> pd.DataFrame:
    """Rows of a pool on the day and before."""
    return reads.read_days(state.engine, table, DayRange.of(DAY).back(back), {"pool_id": pool_id})


@pytest.fixture(scope="module")
def held(console_state: Installation) -> str:
    """A pool that is held on the day."""
    rows = reads.read_days(console_state.engine, schema.pool_positions, DayRange.of(DAY))
    return str(rows["pool_id"].iloc[0])


@pytest.fixture(scope="module")
def page(console: TestClient, held: str) -> str:
    """Its page."""
    answer = console.get(f"/pools/{held}?date={DAY}")
    assert answer.status_code == 200
    return answer.text


def cells(html: str, caption: str) -> list[list[str]]:
    """The rows of a table by its name."""
    table = html[html.index(f'aria-label="Table: {caption}') :]
    body = table[table.index("<tbody") : table.index("</tbody>")]
    rows = body.split("<tr")[1:]
    return [[words_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


@pytest.mark.usefixtures("command_line")
def test_it_says_what_the_command_line_says(
    console_state: Installation, held: str, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answer, stages, reasons and changes as `defiyield explain --json`, whose names are words here."""
    place = ["--market", "simulated", "--state-dir", str(console_state.folder)]
    assert main(["explain", held, "--date", str(DAY), "--json", *place]) == 0
    told = json.loads(capsys.readouterr().out)
    words = words_of(page)
    assert told["answer"] in words
    stages = cells(page, "Every verdict")
    assert [row[0] for row in stages] == [stage["name"] for stage in told["stages"]]
    plain = {stage["name"]: stage["words"] for stage in told["stages"]}
    rated = plain.pop("risk group")
    assert {row[0]: row[2] for row in stages if row[0] in plain} == plain
    (shown,) = (row[2] for row in stages if row[0] == "risk group")
    assert shown[:2] == rated[:2], "the group"
    assert [change for change in told["changes"] if " binds: " not in change and change not in words] == []
    assert all(change.split(" binds: ")[-1] in words for change in told["changes"])
    assert [row[0] for row in cells(page, "Verdicts by day")] == [past["day"] for past in told["history"]]


def test_limits_and_metrics_are_told_by_what_they_mean(closed_loop: Loop, tmp_path: Path) -> None:
    """In its figures, in the reason for its risk group and in what would have to change."""
    treasury = Treasury(closed_loop, tmp_path)
    day, limits, plan = treasury.days[-1], schema.allocation_limits, schema.allocations
    bound = treasury.rows(limits).query("date == @day and limit_name == 'max_pool_share'").iloc[0]
    pool_id = bound["subject"]
    of_pool = sa.and_(plan.c.pool_id == pool_id, plan.c.date == day)
    treasury.change(sa.update(plan).where(of_pool).values(binding_limit=f"max_pool_share {pool_id}"))
    of_limit = sa.and_(limits.c.limit_name == "max_pool_share", limits.c.subject == pool_id, limits.c.date == day)
    treasury.change(sa.update(limits).where(of_limit).values(is_binding=True))
    groups = schema.pool_groups
    reason = "apy_change_1d 0.0535, apy_std_7d 0.0640, apy_std_30d 0.1170 above the limit of group 2"
    treasury.change(sa.update(groups).where(groups.c.pool_id == pool_id, groups.c.date == day).values(reason=reason))
    words = treasury.words(f"/pools/{pool_id}?date={day}")
    assert "Limit that binds share of AUM in one pool " in words
    told = "change of APY in a day of 5.35 percentage points, deviation of 7 days of 6.40%, deviation of 30 days of "
    assert f"{told}11.70% above the limit of group 2" in words
    assert f"the limit on “share of AUM in one pool” binds: {bound['relaxation']} would be worth" in words
    assert "max_pool_share of" not in words
    assert "apy_std" not in words


def test_the_history_is_what_was_known_at_the_cutoff(
    console: TestClient, console_state: Installation, held: str, page: str
) -> None:
    days = DayRange.of(DAY).back(364)
    known = reads.pool_histories(console_state.engine, days, cutoff(DAY), [held])
    (url,) = re.findall(r'<a href="([^"]+)">Figures: APY by day', page)
    shown = {row[0]: row[1] for row in cells(console.get(unescape(url)).text, "Figures: APY by day")}
    assert shown == {str(day): f"{apy:.2%}" for day, apy in zip(known["date"], known["apy"], strict=True)}


def test_forecasts_of_the_day_are_those_of_the_table(console_state: Installation, held: str, page: str) -> None:
    rows = of(console_state, schema.pool_forecasts, held)
    apys = rows[rows["target"] == "apy"].sort_values("horizon_days")
    wanted = [[f"{row[name]:.2%}" for name in ("mean", "p10", "p50", "p90")] for row in apys.to_dict("records")]
    shown = [row[2:6] for row in cells(page, "Forecasts of the day") if row[0] == "APY"]
    assert shown == wanted


def test_the_worth_of_forecasts_is_that_of_the_scoreboards_own_arithmetic(
    console_state: Installation, held: str, page: str
) -> None:
    """The page adds up by itself; the oracle is domain/forecasting over the same scores."""
    scores = of(console_state, schema.forecast_scores, held, back=89)
    board = build_scoreboard(scores, DAY)
    board = board[(board["model"] == CHAMPION) & (board["target"] == "apy")].sort_values("horizon_days")
    shown = [row for row in cells(page, "Worth by target and horizon") if row[0] == "APY"]
    assert len(shown) == len(board) > 0
    for row, cell in zip(board.to_dict("records"), shown, strict=True):
        assert cell[2] == str(row["n_forecasts"])
        assert cell[3] == f"{row['mae'] * 100:.2f} pp"
        assert cell[4] == f"{row['mae_last_value'] * 100:.2f} pp"
        assert cell[6] == f"{row['bias'] * 100:+.2f} pp"
        assert cell[7] == ("" if pd.isna(row["coverage"]) else f"{row['coverage']:.0%}")


def test_position_and_income_add_up(console_state: Installation, held: str, page: str) -> None:
    words = words_of(page)
    worth = sum(of(console_state, schema.pool_positions, held)["value_usd"], Decimal(0))
    assert f"Our position on {DAY} ${worth:,.2f}" in words
    earned = of(console_state, schema.yield_attribution, held, back=364)
    income = sum(earned["income_usd"], Decimal(0))
    assert f"Earned {'+' if income > 0 else '-'}${abs(income):,.2f}" in words
    assert [row[0] for row in cells(page, "Day by day")] == sorted(map(str, earned["date"]), reverse=True)


def test_a_change_of_a_rate_is_in_percentage_points(console_state: Installation, held: str, page: str) -> None:
    (row,) = of(console_state, schema.pool_metrics, held).to_dict("records")
    assert f"Change of APY in a day {row['apy_change_1d'] * 100:+.2f} pp" in words_of(page)


def test_a_pool_that_is_out_is_explained_too(console: TestClient, console_state: Installation) -> None:
    """Nothing is followed of it, and every part says so."""
    rows = reads.read_days(console_state.engine, schema.prefiltered_pools, DayRange.of(DAY), {"is_passed": False})
    row = rows.iloc[0]
    words = words_of(console.get(f"/pools/{row['pool_id']}?date={DAY}").text)
    assert row["reasons"] in words
    assert "No forecast of it was made" in words
    assert "Our position" not in words


@pytest.mark.parametrize("cut", [1, 5])
def test_an_unknown_pool_names_near_ones(console: TestClient, held: str, cut: int) -> None:
    answer = console.get(f"/pools/{held[:-cut]}?date={DAY}")
    assert answer.status_code == 404
    assert held in answer.text


def test_the_beginning_of_an_id_names_the_pools_that_begin_so(
    console: TestClient, console_state: Installation, held: str
) -> None:
    """As the command line prints and takes it; of many only the largest are named."""
    answer = console.get(f"/pools/{held[:8].upper()}?date={DAY}")
    assert answer.status_code == 404
    assert "ids that begin so: " + held in words_of(answer.text)
    assert "more" not in words_of(answer.text)
    rows = reads.read_days(console_state.engine, schema.prefiltered_pools, DayRange.of(DAY))
    begin = rows[rows["pool_id"].str.startswith(held[:1])].sort_values(["size_usd", "pool_id"], ascending=[False, True])
    words = words_of(console.get(f"/pools/{held[:1]}?date={DAY}").text)
    named = [pool_id for pool_id in begin["pool_id"] if pool_id in words]
    assert named == list(begin["pool_id"][:5])
    assert f"; and {len(begin) - 5:,} more" in words
    found = re.search(r'<a href="(/pools\?[^"]+)"[^>]*>Look for it among all pools</a>', answer.text)
    assert found is not None
    assert f'href="/pools/{held}?' in console.get(unescape(found[1]), params=None).text


@pytest.mark.parametrize("pool_id", ["x" * 501, "a\x00b", "no such pool", "<script>"])
def test_what_is_no_pool_is_not_found(console: TestClient, pool_id: str) -> None:
    answer = console.get(f"/pools/{quote(pool_id, safe='')}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text.lower()


def test_hostile_names_and_ids_are_text(closed_loop: Loop, tmp_path: Path, held: str) -> None:
    treasury = Treasury(closed_loop, tmp_path)
    table, newest = schema.prefiltered_pools, treasury.days[-1]
    some = treasury.rows(table)
    some = list(some[(some["date"] == newest) & (some["pool_id"] != held)]["pool_id"][: len(HOSTILE)])
    for pool_id, text in zip(some, HOSTILE, strict=True):
        spoilt = {"symbol": text, "protocol": text, "chain": text, "reasons": text, "pool_id": text[:300]}
        treasury.change(sa.update(table).where(table.c.date == newest, table.c.pool_id == pool_id).values(**spoilt))
    for text in HOSTILE:
        html = treasury.page(f"/pools/{quote(text[:300], safe='')}")
        require_harmless(html)
        assert 'name="pool_id"' not in html
        earlier = re.search(r'<a href="([^"]+)" rel="prev">Day before', html)
        assert earlier is not None
        assert treasury.browser.get(unescape(earlier[1])).status_code in (200, 404)


def test_ids_that_look_like_addresses_are_pools_of_their_own(closed_loop: Loop, tmp_path: Path) -> None:
    """No page is kept under the name of another: `a?b`, `a#b` and `a` are three pools."""
    treasury = Treasury(closed_loop, tmp_path)
    table, newest = schema.prefiltered_pools, treasury.days[-1]
    some = treasury.rows(table)
    for pool_id, name in zip(some[some["date"] == newest]["pool_id"], ("a?b", "a#b", "a", "a/b"), strict=False):
        spoilt = {"pool_id": name, "symbol": f"symbol {name}"}
        treasury.change(sa.update(table).where(table.c.date == newest, table.c.pool_id == pool_id).values(**spoilt))
    for name in ("a?b", "a#b", "a", "a/b"):
        assert f"<h1>symbol {name} · " in treasury.page(f"/pools/{quote(name, safe='')}")


def test_what_the_vendor_changed_is_listed(closed_loop: Loop, tmp_path: Path, held: str) -> None:
    """Of the days up to the day; a change that was seen later is not."""
    treasury = Treasury(closed_loop, tmp_path)
    row = {
        **{"pool_id": held, "point_date": FIRST - timedelta(days=9), "revision": 1, "age_days": 9, "source": "chart"},
        **{"apy_before": 0.01, "apy": 0.0234, "apy_change": 0.0134, "seen_at": cutoff(FIRST)},
    }
    insert(treasury, schema.history_revisions, [{**row, "date": DAY}])
    assert "2.3400%" in treasury.words(f"/pools/{held}?date={DAY}")
    assert "2.3400%" not in treasury.words(f"/pools/{held}?date={DAY - timedelta(days=1)}")


def test_later_days_change_nothing(closed_loop: Loop, console: TestClient, tmp_path: Path, held: str) -> None:
    """Noise after the day, and a history that is rewritten after its cutoff, leave its page alone."""
    treasury = Treasury(closed_loop, tmp_path)
    names = ("prefiltered_pools", "eligible_pools", "pool_metrics", "pool_forecasts", "forecast_scores", "allocations")
    for table in (schema.metadata.tables[name] for name in (*names, "forecast_evaluations", "yield_attribution")):
        later = table.c[table.info["day"]] > FIRST
        figures = {one.name: one * 0.5 for one in table.columns if isinstance(one.type, sa.Float)}
        treasury.change(sa.update(table).where(later).values(**figures))
    table = schema.pool_histories
    of_pool = treasury.rows(table)
    of_pool = of_pool[(of_pool["pool_id"] == held) & (of_pool["date"] <= FIRST)]
    newest = of_pool.sort_values("revision").drop_duplicates("date", keep="last").to_dict("records")
    seen = cutoff(FIRST) + timedelta(minutes=1)
    insert(treasury, table, [{**row, "revision": row["revision"] + 1, "apy": 0.77, "seen_at": seen} for row in newest])
    assert treasury.page(f"/pools/{held}?date={FIRST}") == console.get(f"/pools/{held}?date={FIRST}").text
    assert treasury.page(f"/pools/{held}?date={DAY}") != console.get(f"/pools/{held}?date={DAY}").text


@pytest.fixture
def own(closed_loop: Loop, tmp_path: Path) -> Treasury:
    """To be changed."""
    return Treasury(closed_loop, tmp_path)


def forget(treasury: Treasury, *tables: sa.Table) -> None:
    """Take the newest day out of some tables."""
    for table in tables:
        treasury.change(sa.delete(table).where(table.c[table.info["day"]] == treasury.days[-1]))


def test_without_a_plan_the_share_is_unknown_and_held_is_what_the_ledger_says(own: Treasury, held: str) -> None:
    """Unknown is neither nothing nor no."""
    url, day = f"/pools/{held}", own.days[-1]
    planned = own.rows(schema.allocations).query("date == @day and pool_id == @held")["share_of_aum"].sum()
    assert f"Share in the plan {planned:.2%} we hold a position" in own.words(url)
    plan = (schema.allocations, schema.allocation_runs, schema.allocation_limits, schema.allocation_steps)
    forget(own, *plan, schema.eligible_pools)
    own.change(sa.delete(schema.forecast_scores))
    assert "Share in the plan unknown we hold a position" in own.words(f"{url}?date={day}")
    forget(own, schema.pool_positions, schema.nav_daily)
    words = own.words(f"{url}?date={day}")
    assert "Share in the plan unknown whether we hold it is not known yet" in words
    assert f"What is held at the end of {day} is not known yet" in words
    assert f"Our position on {day} unknown" in words
    assert "Nothing is held" not in words


def test_a_plan_that_does_not_hold_the_pool_says_zero(own: Treasury) -> None:
    """And so does the ledger, where it has the day; a day without a plan to follow says nothing."""
    day = own.days[-1]
    planned = set(own.rows(schema.allocations).query("date == @day")["pool_id"])
    listed = own.rows(schema.prefiltered_pools).query("date == @day")["pool_id"]
    url = f"/pools/{next(one for one in listed if one not in planned)}?date={day}"
    assert "Share in the plan 0.00% we hold nothing" in own.words(url)
    own.change(sa.delete(schema.pool_positions).where(schema.pool_positions.c.date == day))
    assert "Share in the plan 0.00% we hold nothing" in own.words(url), "the ledger has the day, and no position"
    own.change(sa.update(schema.allocation_runs).values(status="infeasible"))
    assert "Share in the plan unknown we hold nothing" in own.words(url)


def test_costs_are_told_as_costs(console_state: Installation, console: TestClient, held: str) -> None:
    """The exact sum without the sign of a gain."""
    rows = of(console_state, schema.yield_attribution, held, back=364)
    costs = sum(rows["cost_usd"], Decimal(0))
    assert costs > 0
    words = words_of(console.get(f"/pools/{held}?date={DAY}").text)
    assert f"Costs ${costs:,.2f} gas and conversions" in words


def test_a_rate_that_the_policy_does_not_believe_is_told_as_implausible(closed_loop: Loop, tmp_path: Path) -> None:
    treasury = Treasury(closed_loop, tmp_path)
    table, day = schema.eligible_pools, treasury.days[-1]
    rows = treasury.rows(table)
    pool_id = str(rows.loc[rows["date"] == day, "pool_id"].iloc[0])
    limit = load_policy(day).policy.parameters.apy_plausible_max
    for apy, is_told in ((limit, False), (limit + 0.01, True), (-0.01, True)):
        treasury.change(sa.update(table).where(table.c.pool_id == pool_id, table.c.date == day).values(last_apy=apy))
        assert ("implausible: not from 0% to" in treasury.page(f"/pools/{pool_id}")) is is_told
