"""The scoreboard of forecasts: scores and champions as the tables have them, gas, days without any.

Lives here: the page against the tables. Not here: scores and champions (domain/forecasting).
"""

import re
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.console.desks import client_of, desk_over
from defiyield_assets_tests.console.lab_states import HOSTILE, Treasury, require_harmless, words_of
from defiyield_assets_tests.installations import FIRST, Installation, Loop

DAY = FIRST + timedelta(days=2)


@pytest.fixture(scope="module")
def page(console: TestClient) -> str:
    """The page of the third day."""
    answer = console.get(f"/forecasts?date={DAY}")
    assert answer.status_code == 200
    return answer.text


def of_day(state: Installation, table: sa.Table) -> pd.DataFrame:
    """Rows of the third day."""
    return reads.read_days(state.engine, table, DayRange.of(DAY))


def cells(html: str, caption: str) -> list[list[str]]:
    """The rows of a table by its name."""
    table = html[html.index(f'aria-label="Table: {caption}"') :]
    body = table[table.index("<tbody") : table.index("</tbody>")]
    rows = body.split("<tr")[1:]
    return [[words_of(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def test_champions_scores_are_those_of_the_scoreboard(console_state: Installation, page: str) -> None:
    """Every target and horizon with its count, error against the last value, and coverage."""
    board = of_day(console_state, schema.forecast_scoreboard)
    champions = board[board["model"] == "champion"]
    shown = cells(page, "Champions by target and horizon")
    assert len(shown) == len(champions) > 4
    apy = champions[champions["target"] == "apy"].sort_values("horizon_days").to_dict("records")
    for row, cell in zip(apy, [cell for cell in shown if cell[0] == "APY"], strict=True):
        assert cell[1:4] == [str(row["horizon_days"]), str(row["n_forecasts"]), f"{row['mae'] * 100:.2f} pp"]
        assert cell[5] == f"{row['mae'] / row['mae_last_value']:.0%}"
        assert cell[7] == f"{row['coverage']:.0%}"
    assert {cell[0] for cell in shown} >= {"APY", "TVL", "base fee", "gas price"}


def test_challengers_stand_below_the_champion_by_their_error(console_state: Installation, page: str) -> None:
    board = of_day(console_state, schema.forecast_scoreboard)
    rows = board[(board["target"] == "apy") & (board["horizon_days"] == 1)]
    others = rows[rows["model"] != "champion"].sort_values(["mae", "model"])
    assert [cell[0] for cell in cells(page, "APY, 1 day")] == ["champion", *others["model"]]


def test_who_is_champion_and_who_was_before(closed_loop: Loop, tmp_path: Path) -> None:
    """Of all pools and of every risk group; the other champion of the day before is named."""
    treasury = Treasury(closed_loop, tmp_path)
    table = schema.forecast_evaluations
    rows = treasury.rows(table)
    chosen = rows[(rows["as_of"] == DAY) & rows["is_champion"].astype(bool) & rows["scope"].isin(["panel", "group"])]
    of_apy = chosen[chosen["target"] == "apy"].sort_values(["horizon_days", "scope", "scope_id"])
    shown = cells(treasury.page(f"/forecasts?date={DAY}"), "Champions of APY")
    assert sorted((cell[0], cell[2]) for cell in shown) == sorted(
        (str(row["horizon_days"]), row["model"]) for row in of_apy.to_dict("records")
    )
    before = DAY - timedelta(days=1)
    is_cell = sa.and_(table.c.target == "apy", table.c.horizon_days == 1, table.c.scope == "panel")
    treasury.change(sa.update(table).where(is_cell, table.c.as_of == before).values(is_champion=False))
    other = sa.and_(is_cell, table.c.as_of == before, table.c.model == "median_30")
    treasury.change(sa.update(table).where(other).values(is_champion=True))
    words = words_of(client_of(desk_over(treasury.engine, tmp_path)).get(f"/forecasts?date={DAY}").text)
    assert f"median_30, until {before}" in words


def test_gas_is_forecast_with_its_unit(console_state: Installation, page: str) -> None:
    rows = of_day(console_state, schema.gas_forecasts).to_dict("records")
    shown = cells(page, "Forecasts of gas")
    assert [cell[2] for cell in shown] == [f"{row['mean']:,.3f} gwei" for row in rows]
    assert "How good earlier ones were stands above" in words_of(page)


def test_a_day_on_which_nothing_fell_due_says_so(console: TestClient) -> None:
    words = words_of(console.get(f"/forecasts?date={FIRST}").text)
    assert f"No forecast had fallen due by {FIRST}" in words
    assert "What is expected of gas" in words
    assert f"No earlier one fell due in the 90 days up to {FIRST}." in words
    assert "stands above" not in words


def test_hostile_words_of_models_are_text(closed_loop: Loop, tmp_path: Path) -> None:
    treasury = Treasury(closed_loop, tmp_path)
    for place, text in enumerate(HOSTILE):
        table = schema.forecast_evaluations
        row = treasury.rows(table).query("scope == 'panel' and is_champion == True").iloc[place]
        keys = [table.c[column.name] == row[column.name] for column in table.primary_key.columns]
        treasury.change(sa.update(table).where(*keys).values(reason=text, model=text))
    for day in treasury.days:
        require_harmless(treasury.page(f"/forecasts?date={day}"))


def test_later_days_change_nothing(closed_loop: Loop, console: TestClient, tmp_path: Path) -> None:
    treasury = Treasury(closed_loop, tmp_path)
    names = ("forecast_scoreboard", "forecast_score_sums", "forecast_evaluations", "gas_forecasts", "gas_fees_daily")
    second = FIRST + timedelta(days=1)
    for table in (schema.metadata.tables[name] for name in names):
        figures = {one.name: one * 0.5 for one in table.columns if isinstance(one.type, sa.Float)}
        treasury.change(sa.update(table).where(table.c[table.info["day"]] > second).values(**figures))
    assert treasury.page(f"/forecasts?date={second}") == console.get(f"/forecasts?date={second}").text
    assert treasury.page(f"/forecasts?date={DAY}") != console.get(f"/forecasts?date={DAY}").text
