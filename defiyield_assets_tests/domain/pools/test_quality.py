"""Tests of domain/pools/quality.py and groups.py."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools.groups import GROUP_COLUMNS, assign_groups
from defiyield_assets.domain.pools.metrics import METRIC_COLUMNS, rolling_metrics
from defiyield_assets.domain.pools.quality import BLOCKING, FINDINGS, QUALITY_COLUMNS, assess_quality
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.pools.cases import DAY, NO_LEGS, revisions, tracked

PARAMETERS = Parameters()
ONE = DayRange.of(DAY)
CALM = [0.05 + 0.001 * (index % 5) for index in range(31)]


def assess(values: list, tvl: list | None = None, **more: object) -> pd.Series:
    """The quality row of one pool on DAY."""
    table = revisions({"p": values}, tvl={"p": tvl} if tvl else None)
    frame = assess_quality(table, tracked(["p"], ONE), ONE, PARAMETERS, **more)  # type: ignore[arg-type]
    require_valid(schema.pool_quality, frame)
    return frame.iloc[0]


def test_columns_are_those_of_the_tables() -> None:
    assert list(QUALITY_COLUMNS) == [column.name for column in schema.pool_quality.columns]
    assert list(METRIC_COLUMNS) == [column.name for column in schema.pool_metrics.columns]
    assert list(GROUP_COLUMNS) == [column.name for column in schema.pool_groups.columns]


def test_calm_data_pass_without_a_word() -> None:
    row = assess(CALM)
    assert row["is_passed"]
    assert row["reason_codes"] == ""
    assert row["reasons"] == ""
    assert row["winsorised_apy"] == CALM[-1]


@pytest.mark.parametrize(("repeats", "is_stuck"), [(2, False), (3, True), (4, True)])
def test_stuck_from_three_equal_days_on(repeats: int, is_stuck: bool) -> None:
    values = CALM[: 31 - repeats] + [0.0777] * repeats
    tvl = [1e6 + index for index in range(31 - repeats)] + [2e6] * repeats
    row = assess(values, tvl)
    assert row["is_stuck"] == is_stuck
    assert row["is_passed"] != is_stuck


def test_a_moving_tvl_is_not_stuck_a_constant_zero_is() -> None:
    assert not assess(CALM[:28] + [0.07] * 3)["is_stuck"]
    assert assess([0.0] * 31, [1e6] * 31)["is_stuck"]
    assert not assess([*CALM[:28], 0.07, ..., 0.07], [2e6] * 31)["is_stuck"]


@pytest.mark.parametrize(("silent", "has_gap"), [(3, False), (4, True)])
def test_a_gap_is_more_than_three_days(silent: int, has_gap: bool) -> None:
    row = assess(CALM[:10] + [...] * silent + CALM[: 21 - silent])
    assert row["has_gap"] == has_gap
    assert row["largest_gap_days"] == silent
    assert row["is_passed"] != has_gap
    nulls = assess(CALM[:10] + [None] * silent + CALM[: 21 - silent])
    assert nulls["has_gap"] == has_gap


def test_gaps_older_than_thirty_days_and_days_before_the_birth_do_not_count() -> None:
    assert not assess(CALM[:10] + [...] * 10 + CALM[:30])["has_gap"]
    assert assess(CALM[:5])["largest_gap_days"] == 0
    assert assess([*CALM[:3], *[...] * 40, *CALM[:2]])["largest_gap_days"] == 28
    assert assess(CALM[:2], first_days={"p": DAY - timedelta(days=300)})["largest_gap_days"] == 28
    assert not assess(CALM[:2], first_days={"p": DAY - timedelta(days=1)})["has_gap"]


def test_a_silent_end_is_a_gap() -> None:
    row = assess([*CALM[:25], ..., ..., ..., ..., None])
    assert row["largest_gap_days"] == 5
    assert "NULL_APY" in row["reason_codes"]


@pytest.mark.parametrize(("apy", "is_bad"), [(-1e-9, True), (0.0, False), (10.0, False), (10.01, True), (3500.0, True)])
def test_implausible_is_below_zero_or_above_a_thousand_percent(apy: float, is_bad: bool) -> None:
    row = assess([0.0] * 20 + [apy])
    assert row["is_implausible"] == is_bad
    assert ("IMPLAUSIBLE" in row["reason_codes"]) == is_bad
    assert row["is_passed"] != is_bad


def test_a_spike_is_winsorised_and_warned_about_but_does_not_block() -> None:
    row = assess([0.05] * 30 + [0.30])
    assert row["is_spike"]
    assert row["is_passed"]
    assert row["reason_codes"] == "SPIKE"
    assert row["winsorised_apy"] == pytest.approx(0.25)
    assert not assess([0.05] * 30 + [0.25])["is_spike"]


def test_a_spike_needs_both_limits_and_the_larger_one_is_the_cut() -> None:
    wide = [0.01, 0.19] * 15  # median 0.1, MAD 0.09: five medians are 0.5, three z are 0.5003
    assert not assess([*wide, 0.5001])["is_spike"]
    row = assess([*wide, 0.51])
    assert row["is_spike"]
    assert row["winsorised_apy"] == pytest.approx(0.1 + 3 * 1.4826 * 0.09)


def test_no_history_and_a_median_of_zero_call_nothing_a_spike() -> None:
    assert not assess([0.05] * 6 + [0.9])["is_spike"]
    assert assess([0.05] * 7 + [0.9])["is_spike"]
    assert not assess([0.0] * 30 + [0.05])["is_spike"]
    assert assess([0.0] * 30 + [0.05])["winsorised_apy"] == 0.05


@pytest.mark.parametrize(
    ("before", "now", "jumps"), [(1e6, 5e6, False), (1e6, 5.1e6, True), (5.1e6, 1e6, True), (0.0, 1.0, True)]
)
def test_a_tvl_jump_is_more_than_fivefold_in_a_day(before: float, now: float, jumps: bool) -> None:
    row = assess(CALM, [1e6] * 29 + [before, now])
    assert row["has_tvl_jump"] == jumps
    assert row["is_passed"] != jumps


def test_a_jump_over_a_missing_day_is_not_in_a_day() -> None:
    assert not assess([*CALM[:29], ..., 0.05], [1e6] * 30 + [9e6])["has_tvl_jump"]


def test_null_and_missing_points_are_recorded() -> None:
    assert assess([*CALM[:30], None])["reason_codes"] == "NULL_APY"
    silent = assess_quality(revisions({"p": CALM}, last=DAY - timedelta(days=1)), tracked(["p"], ONE), ONE, PARAMETERS)
    assert silent["reason_codes"].tolist() == ["NO_POINT"]
    assert silent["is_passed"].tolist() == [True]
    unknown = assess_quality(revisions({}), tracked(["p"], ONE), ONE, PARAMETERS)
    assert unknown["reason_codes"].tolist() == ["NO_DATA,NO_POINT"]
    assert unknown["is_passed"].tolist() == [False]
    assert list(assess_quality(revisions({}), tracked([], ONE), ONE, PARAMETERS).columns) == list(QUALITY_COLUMNS)


def test_every_finding_has_its_place() -> None:
    assert set(BLOCKING) <= set(FINDINGS)


values = st.lists(
    st.one_of(st.just(...), st.none(), st.floats(min_value=-0.1, max_value=12), st.just(0.05)), min_size=1, max_size=70
)


@settings(deadline=None, max_examples=12)
@given(values, st.integers(min_value=1, max_value=10))
def test_no_look_ahead_and_range_equals_single_days(series: list, after: int) -> None:
    table = revisions(
        {"p": series}, last=DAY + timedelta(days=after), tvl={"p": [1e6 * (1 + i % 3) for i in range(len(series))]}
    )
    noise = table.assign(apy=[9.0 if day > DAY else apy for day, apy in zip(table["date"], table["apy"], strict=True)])
    days = DayRange(DAY - timedelta(days=2), DAY)
    ranged = assess_quality(table, tracked(["p"], days), days, PARAMETERS)
    require_valid(schema.pool_quality, ranged)
    pd.testing.assert_frame_equal(
        ranged, assess_quality(noise, tracked(["p"], days), days, PARAMETERS), check_exact=True
    )
    singles = [assess_quality(table, tracked(["p"], DayRange.of(day)), DayRange.of(day), PARAMETERS) for day in days]
    pd.testing.assert_frame_equal(ranged, pd.concat(singles, ignore_index=True), check_exact=True)


def metrics(change: float, std7: float, std30: float, observed: int = 30) -> pd.DataFrame:
    row = dict.fromkeys(METRIC_COLUMNS, np.nan) | {
        "date": DAY,
        "pool_id": "p",
        "apy_change_1d": change,
        "apy_std_7d": std7,
        "apy_std_30d": std30,
        "observed_days": observed,
        "is_hindsight": False,
    }
    return pd.DataFrame([row])


@pytest.mark.parametrize(
    ("change", "std7", "std30", "group"),
    [
        (0.01, 0.015, 0.02, 1),
        (0.0101, 0.015, 0.02, 2),
        (0.01, 0.0151, 0.02, 2),
        (0.01, 0.015, 0.0201, 2),
        (0.03, 0.04, 0.05, 2),
        (0.0301, 0.0, 0.0, 3),
        (0.0, 0.0401, 0.0, 3),
        (0.0, 0.0, 0.0501, 3),
        (-0.10, 0.0, 0.0, 3),
        (-0.02, 0.0, 0.0, 2),
    ],
)
def test_groups_by_absolute_changes_and_levels(change: float, std7: float, std30: float, group: int) -> None:
    frame = assign_groups(metrics(change, std7, std30))
    require_valid(schema.pool_groups, frame)
    assert frame["pool_group"].tolist() == [group]
    assert frame["reason"].iloc[0]


def test_fewer_than_thirty_observed_days_are_unrated() -> None:
    assert assign_groups(metrics(0.0, 0.0, 0.0, observed=29))["pool_group"].tolist() == [4]
    assert assign_groups(metrics(0.0, np.nan, 0.0))["pool_group"].tolist() == [4]
    assert assign_groups(metrics(0, 0, 0).iloc[0:0]).empty


def test_an_apy_falling_by_ten_points_is_not_low_risk() -> None:
    falling = revisions({"p": [0.20 - 0.0001 * (i % 3) for i in range(30)] + [0.10]}, seen_at=market_stamp(DAY))
    frame = assign_groups(rolling_metrics(falling, tracked(["p"], ONE), NO_LEGS, ONE, PARAMETERS))
    assert frame["pool_group"].tolist() == [3]
