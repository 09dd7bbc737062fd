"""What the report says of forecasts: bands that go on from what happened, and what earlier ones were worth."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.forecast_sections import HISTORY_DAYS, MOST_CHARTS
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section, Table
from defiyield_assets_tests.domain.reporting.conftest import (
    DAY,
    POOL_A,
    USDC,
    band,
    board,
    frame,
    holding,
    plan_run,
    point,
)

Days = Callable[..., ReportInputs]
BANDS, DUE, LATELY = (
    "Forecast APY of each position",
    "Forecasts that fell due on",
    "Forecasts that fell due in the last",
)


def forecasts(inputs: ReportInputs) -> Section:
    found = build_content(inputs).section("forecasts")
    assert found is not None
    return found


def table(section: Section, caption: str) -> Table:
    (found,) = (one for one in section.tables if one.caption.startswith(caption))
    return found


def test_a_band_goes_on_from_the_history_on_the_days_that_it_speaks_of(day_with: Days) -> None:
    charts = forecasts(day_with()).charts
    assert [chart.title.split(" #")[0] for chart in charts] == [
        "APY of USDT · compound-v3",
        "APY of USDC · aave-v3",
        "APY of DAI · spark",
        "Gas price, daily mean in gwei",
    ]
    chart = charts[1]
    assert (chart.kind, chart.unit) == ("bands", "percent")
    past, ahead = chart.series
    assert (past.role, ahead.role) == ("history", "forecast")
    assert (past.points[0].label, past.points[0].value) == ("2025-05-01", 0.101)
    assert [one.label for one in past.points[-2:]] == ["2025-05-31", "2025-06-02"], "a day without a value is no point"
    assert [(one.label, one.value, one.low, one.high) for one in ahead.points] == [
        ("2025-06-09", 0.11, 0.09, 0.13),
        ("2025-07-02", 0.105, 0.08, 0.14),
    ]
    assert chart.summary.endswith(
        "was between 10.10% and 13.10% from 2025-05-01 to 2025-06-02, last 11.00%. Expected over the next 30 days: "
        "10.50%, between 8.00% and 14.00% four times in five."
    )


def test_gas_is_told_in_gwei_of_the_price_that_is_paid(day_with: Days) -> None:
    gas = forecasts(day_with()).charts[-1]
    assert gas.unit == "gwei"
    past, ahead = gas.series
    assert [(one.label, one.value) for one in past.points] == [("2025-06-01", 2.5), ("2025-06-02", 4.5)]
    assert [(one.label, one.low, one.value, one.high) for one in ahead.points] == [("2025-06-09", 2.0, 3.0, 5.0)]
    assert "last 4.50 gwei. Expected over the next 7 days: 3.00 gwei" in gas.summary


def test_every_position_stands_in_the_table_with_its_bands_models_and_doubts(day_with: Days) -> None:
    bands = table(forecasts(day_with()), BANDS)
    assert [column.name for column in bands.columns][1:4] == ["Last told", "Next 7 days", "Next 30 days"]
    first, second, third = bands.rows
    assert first[1:] == (
        "9.00% on 2025-06-01",
        "unknown",
        "9.20% (7.00% to 12.00%)",
        "combination",
        "short history",
        "9",
    )
    assert second[1:4] == ("11.00% on 2025-06-02", "11.00% (9.00% to 13.00%)", "10.50% (8.00% to 14.00%)")
    assert second[4] == "pooled, combination"
    assert (third[1], third[5]) == ("unknown", "rests on values seen only after the day")


def test_the_history_is_cut_to_the_days_shown(day_with: Days) -> None:
    long = [point(POOL_A, DAY - timedelta(days=back), 0.1) for back in range(200)]
    past = forecasts(day_with(pool_histories=pd.DataFrame(long))).charts[1].series[0]
    assert len(past.points) == HISTORY_DAYS
    assert past.points[0].label == str(DAY - timedelta(days=HISTORY_DAYS - 1))


def test_a_pool_without_history_has_its_band_and_one_without_a_forecast_no_chart(day_with: Days) -> None:
    only_b = day_with(pool_histories=pd.DataFrame(), pool_forecasts=frame("pool_forecasts", band(POOL_A, 7, 0.1, 0, 1)))
    charts = forecasts(only_b).charts
    assert [chart.unit for chart in charts] == ["percent", "gwei"]
    assert [series.role for series in charts[0].series] == ["forecast"]
    assert charts[0].summary == "Expected over the next 7 days: 10.00%, between 0.00% and 100.00% four times in five."


def test_forecasts_of_other_vintages_and_targets_are_not_shown(day_with: Days) -> None:
    strange = [
        band(POOL_A, 30, 0.9, 0.9, 0.9, as_of=DAY - timedelta(days=1)),
        band(POOL_A, 30, 0.8, 0.8, 0.8, target="apy_base"),
    ]
    section = forecasts(day_with(pool_forecasts=frame("pool_forecasts", *strange)))
    assert [chart.unit for chart in section.charts] == ["gwei"]
    assert not [one for one in section.tables if one.caption.startswith(BANDS)]


def test_many_pools_are_all_in_the_table_and_the_largest_are_drawn(day_with: Days) -> None:
    pools = [f"{number:08d}-1111-4222-8333-{number:012d}" for number in range(10)]
    held = [holding(pool, USDC, 10**6 * (10 - place), 0) for place, pool in enumerate(pools)]
    bands = frame("pool_forecasts", *(band(pool, 30, 0.1, 0.05, 0.2) for pool in pools))
    section = forecasts(day_with(allocations=frame("allocations", *held), pool_forecasts=bands))
    drawn = [chart for chart in section.charts if chart.unit == "percent"]
    assert len(drawn) == MOST_CHARTS
    assert len(table(section, BANDS).rows) == 10
    assert section.paragraphs[-1] == f"Drawn are the {MOST_CHARTS} largest positions; the table has all 10."


def test_without_a_published_plan_only_what_is_held_is_forecast(day_with: Days) -> None:
    run = frame("allocation_runs", plan_run(status="unverified"))
    rows = table(forecasts(day_with(allocation_runs=run)), BANDS).rows
    assert sorted(row[0].split(" #")[0] for row in rows) == ["DAI · spark", "USDT · compound-v3"]


def test_what_fell_due_on_the_day_is_scored_for_champions_only(day_with: Days) -> None:
    rows = table(forecasts(day_with()), DUE).rows
    assert rows[0] == ("APY", "1", "1", "0.20 pp", "0.40 pp", "+50%", "100%")
    assert len(rows) == 4


def test_the_scoreboard_tells_the_champions_worth_and_who_was_best(day_with: Days) -> None:
    rows = table(forecasts(day_with()), LATELY).rows
    figures = ("1.23 pp", "+0.45 pp", "+12%", "-2%", "0.90", "81%", "blend", "+14%")
    assert rows[0] == ("APY", "7", "1,234", *figures)
    assert rows[1][:5] == ("base fee", "1", "1,234", "0.250 gwei", "+0.010 gwei")
    assert rows[2] == ("TVL", "1", "1,234", "$2,000,000", "-$300,000", *[""] * 6)
    assert len(rows) == 3


@pytest.mark.parametrize(("n_forecasts", "best"), [(899, ("blend", "+14%")), (900, ("prophet", "+50%"))])
def test_the_best_model_is_one_of_those_that_made_about_the_same_forecasts(
    day_with: Days, n_forecasts: int, best: tuple[str, str]
) -> None:
    rows = [board("apy", 7, name, skill, n_forecasts=1_000) for name, skill in (("champion", 0.12), ("blend", 0.14))]
    few = board("apy", 7, "prophet", 0.5, n_forecasts=n_forecasts)
    section = forecasts(day_with(forecast_scoreboard=frame("forecast_scoreboard", *rows, few)))
    assert table(section, LATELY).rows[0][-2:] == best


def test_without_a_scoreboard_only_what_fell_due_is_told_and_the_other_way_round(day_with: Days) -> None:
    due_only = forecasts(day_with(forecast_scoreboard=frame("forecast_scoreboard")))
    board_only = forecasts(day_with(forecast_scores=frame("forecast_scores")))
    assert [len(one.rows) for one in due_only.tables[1:]] == [4]
    assert [len(one.rows) for one in board_only.tables[1:]] == [3]
    assert board_only.paragraphs[1] == (
        "No forecast fell due on 2025-06-02. Better by compares with repeating the last value."
    )


def test_a_day_that_knows_nothing_of_forecasts_says_that_none_fell_due() -> None:
    names = ("allocation_runs", "allocations", "allocation_steps", "eligible_pools", "prefiltered_pools", "icebox")
    names += ("icebox_events", "nav_daily", "yield_attribution", "forecast_scores", "forecast_scoreboard")
    empty: dict[str, Any] = {name: frame(name) for name in names}
    section = forecasts(ReportInputs(day=date(2025, 6, 2), outcomes=frame("asset_outcomes"), **empty))
    assert (section.paragraphs, section.tables, section.charts) == (("No forecast fell due on 2025-06-02.",), (), ())
