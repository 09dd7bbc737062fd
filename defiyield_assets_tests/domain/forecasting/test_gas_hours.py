"""Cheap hours of the day: found where they are, never named without evidence, one source a day, no look-ahead."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.gas_hours import (
    HOUR_PROFILE_COLUMNS,
    cheapness_p_values,
    holm,
    hour_profile,
)
from defiyield_assets.store import schema

AS_OF = date(2025, 6, 1)
FLAT = np.ones(24)
NIGHT = np.where(np.isin(np.arange(24), [2, 3, 4]), 0.7, 1.1)


def gas_hours(
    shape: np.ndarray, n_days: int = 28, *, seed: int = 1, noise: float = 0.1, kind: str = "base_fee", source: str = "a"
) -> pd.DataFrame:
    """Hours of the last days up to AS_OF: a level that wanders from day to day times the shape of a day."""
    random = np.random.default_rng(seed)
    rows = []
    for back in range(n_days):
        day = AS_OF - timedelta(days=back)
        level = 5.0 * np.exp(random.normal(0, 0.5))
        for hour in range(24):
            start = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
            price = level * shape[hour] * np.exp(random.normal(0, noise))
            rows.append((start, kind, source, day, price))
    frame = pd.DataFrame(rows, columns=["hour", "kind", "source", "date", "mean_gwei"])
    return frame.assign(median_gwei=np.nan, fetched_at=datetime(2025, 6, 2, tzinfo=UTC))


def cheapest(profile: pd.DataFrame) -> list[int]:
    return profile.loc[profile["is_cheapest"], "hour"].tolist()


def test_columns_are_those_of_the_table() -> None:
    assert list(hour_profile(gas_hours(NIGHT), AS_OF)) == list(HOUR_PROFILE_COLUMNS)
    assert sorted(HOUR_PROFILE_COLUMNS) == sorted(column.name for column in schema.gas_hour_profiles.columns)
    empty = hour_profile(gas_hours(NIGHT).iloc[:0], AS_OF)
    assert empty.empty
    assert list(empty) == list(HOUR_PROFILE_COLUMNS)


def test_cheap_nights_are_named_with_ratio_saving_and_rank() -> None:
    profile = hour_profile(gas_hours(NIGHT), AS_OF)
    assert cheapest(profile) == [2, 3, 4]
    assert sorted(profile["rank"]) == list(range(1, 25))
    assert set(profile.loc[profile["rank"] <= 3, "hour"]) == {2, 3, 4}
    true = NIGHT / NIGHT.mean()
    np.testing.assert_allclose(profile["ratio"], true, atol=0.09)
    np.testing.assert_allclose(profile["saving"], 1.0 - profile["ratio"])
    assert (profile["p10"] <= profile["ratio"]).all()
    assert (profile["ratio"] <= profile["p90"]).all()
    assert (profile["n_days"] == 28).all()
    assert profile.loc[profile["is_cheapest"], "p_value"].max() < 0.01


def test_where_no_hour_is_cheaper_one_is_named_in_at_most_one_of_twenty_profiles() -> None:
    """Hours that resemble their neighbours, as gas does: 30 profiles, of which chance names 1.5."""
    random = np.random.default_rng(8)
    named = 0
    for _ in range(30):
        steps = random.normal(0, 0.2, (28, 24))
        steps[:, 0] = random.normal(0, 0.2 / np.sqrt(1 - 0.9**2), 28)
        logs = steps.copy()
        for hour in range(1, 24):
            logs[:, hour] += 0.9 * logs[:, hour - 1]
        prices = np.exp(logs)
        named += bool((cheapness_p_values(prices / prices.mean(axis=1, keepdims=True)) < 0.05).any())
    assert named <= 4


def test_spikes_that_lift_the_mean_make_no_hour_cheap() -> None:
    """Against the day's mean nine hours of ten would look cheap every day."""
    named = 0
    for seed in range(5):
        random = np.random.default_rng(100 + seed)
        hours = gas_hours(FLAT, seed=seed)
        spiked = hours["mean_gwei"] * np.where(random.random(len(hours)) < 0.1, 20.0, 1.0)
        profile = hour_profile(hours.assign(mean_gwei=spiked), AS_OF)
        assert (profile["ratio"] < 0.7).all()
        named += bool(cheapest(profile))
    assert named == 0


def test_days_without_a_price_or_a_difference_have_no_cheapest_hour() -> None:
    same = gas_hours(FLAT, noise=0.0)
    profile = hour_profile(same, AS_OF)
    assert (profile["ratio"] == 1.0).all()
    assert (profile["p_value"] == 1.0).all()
    assert cheapest(profile) == []
    assert hour_profile(same.assign(mean_gwei=0.0), AS_OF).empty


def test_a_few_days_are_no_evidence() -> None:
    profile = hour_profile(gas_hours(NIGHT, 6, noise=0.01), AS_OF)
    assert profile["p_value"].isna().all()
    assert cheapest(profile) == []
    assert (profile["n_days"] == 6).all()


def test_later_days_and_days_of_long_ago_are_not_read() -> None:
    hours = gas_hours(NIGHT, 60)
    as_of = AS_OF - timedelta(days=20)
    noisy = hours.copy()
    outside = (noisy["date"] > as_of) | (noisy["date"] <= as_of - timedelta(days=28))
    noisy.loc[outside, "mean_gwei"] = np.random.default_rng(9).exponential(100.0, outside.sum())
    pd.testing.assert_frame_equal(hour_profile(noisy, as_of), hour_profile(hours, as_of), check_exact=True)
    assert (hour_profile(hours, as_of)["n_days"] == 28).all()


def test_the_order_of_rows_does_not_matter() -> None:
    hours = gas_hours(NIGHT)
    shuffled = hours.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(hour_profile(shuffled, AS_OF), hour_profile(hours, AS_OF), check_exact=True)


def test_a_day_with_too_few_hours_does_not_count() -> None:
    hours = gas_hours(NIGHT)
    of_today = hours["date"] == AS_OF
    short = hours[~of_today | (hours["hour"].dt.hour < 19)]
    assert (hour_profile(short, AS_OF)["n_days"] == 27).all()
    enough = hours[~of_today | (hours["hour"].dt.hour < 20)]
    n_days = hour_profile(enough, AS_OF).set_index("hour")["n_days"]
    assert n_days[19] == 28
    assert n_days[20] == 27


def test_one_source_counts_on_a_day_and_the_newest_answer_of_it() -> None:
    other = gas_hours(NIGHT[::-1], source="b")
    both = pd.concat([gas_hours(NIGHT), other])
    pd.testing.assert_frame_equal(hour_profile(both, AS_OF), hour_profile(gas_hours(NIGHT), AS_OF))
    stale = gas_hours(NIGHT[::-1]).assign(fetched_at=datetime(2025, 6, 1, tzinfo=UTC))
    pd.testing.assert_frame_equal(
        hour_profile(pd.concat([gas_hours(NIGHT), stale]), AS_OF), hour_profile(gas_hours(NIGHT), AS_OF)
    )


def test_kinds_stay_apart_and_a_median_stands_in_for_a_mean() -> None:
    price = gas_hours(NIGHT[::-1], kind="gas_price")
    price = price.assign(median_gwei=price["mean_gwei"], mean_gwei=np.nan)
    profile = hour_profile(pd.concat([gas_hours(NIGHT), price]), AS_OF)
    by_kind = {kind: cheapest(rows) for kind, rows in profile.groupby("kind")}
    assert by_kind == {"base_fee": [2, 3, 4], "gas_price": [19, 20, 21]}


def test_p_values_are_those_of_wilcoxon_on_ranks_within_the_day() -> None:
    from scipy.stats import rankdata, wilcoxon

    quotients = np.random.default_rng(4).lognormal(size=(12, 24))
    quotients[:, 7] *= 0.3
    centred = np.array([rankdata(day) for day in quotients]) - 12.5
    raw = [wilcoxon(centred[:, hour], alternative="less", method="approx").pvalue for hour in range(24)]
    smallest = int(np.argmin(raw))
    assert smallest == 7
    assert cheapness_p_values(quotients)[7] == pytest.approx(24 * raw[7])


def test_holm_is_that_of_the_published_example() -> None:
    """p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") of R."""
    found = holm(np.array([0.05, 0.01, np.nan, 0.03, 0.02, 0.04]))
    np.testing.assert_allclose(found, [0.09, 0.05, np.nan, 0.09, 0.08, 0.09])
