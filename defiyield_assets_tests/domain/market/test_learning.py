"""Learning targets: their values, when they become known, and that no feature can ever hold one."""

import math
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.registry import METRICS
from defiyield_assets.domain.market.learning import HORIZONS, LONGEST_DAYS, forward_returns, mistimed, training_rows
from defiyield_assets.domain.prices.adjustments import adjustment_factors, with_payout_growth
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import schema

START = date(2025, 3, 3)
KEY = ["instrument_id", "date", "horizon_days"]


def bars(instrument_id: str = "equity:AAA", n: int = 40, skipped: tuple[int, ...] = ()) -> pd.DataFrame:
    """Bars of the working days from START on, but those numbered in `skipped`; the price grows by a known rate."""
    days = [day for day in DayRange(START, START + timedelta(days=2 * n)) if day.weekday() < 5][:n]
    rows = pd.DataFrame({"date": days, "close": [100.0 * 1.01**number for number in range(n)], "payout_growth": 1.0})
    return (
        rows.drop(index=list(skipped))
        .assign(instrument_id=instrument_id, instrument_type="equity")
        .reset_index(drop=True)
    )


def test_a_target_is_written_on_the_day_of_the_bar_that_ends_it() -> None:
    known = bars()
    day = known["date"].iloc[30]
    made = forward_returns(known, DayRange.of(day))
    assert made["horizon_days"].tolist() == [20, 5, 1]
    assert set(made["known_on"]) == {day}
    for row in made.itertuples():
        assert row.date == known["date"].iloc[30 - row.horizon_days]
        assert row.forward_log_return == pytest.approx(row.horizon_days * math.log(1.01))
    assert list(made.columns) == schema.feature_targets.columns.keys()


def test_a_split_is_no_loss_and_a_missing_bar_is_not_counted() -> None:
    known = bars(skipped=(20, 21))
    known.loc[known.index < 25, "close"] *= 2.0
    known.loc[known.index == 25, "payout_growth"] = 2.0
    made = forward_returns(known, DayRange(START, known["date"].iloc[-1])).set_index(KEY)
    one = made.xs(1, level="horizon_days")["forward_log_return"]
    assert one[("equity:AAA", known["date"].iloc[19])] == pytest.approx(3 * math.log(1.01)), "over the two lost bars"
    assert one[("equity:AAA", known["date"].iloc[24])] == pytest.approx(math.log(1.01)), "over the split"


def test_a_dividend_counts_from_its_day_on_and_a_later_one_changes_no_bit() -> None:
    known = bars().drop(columns="payout_growth")
    paid, later = known["date"].iloc[25], known["date"].iloc[38]
    columns = ["instrument_id", "ex_date", "kind", "value"]
    one = pd.DataFrame([("equity:AAA", paid, "dividend", 1.25)], columns=columns)
    two = pd.concat([one, pd.DataFrame([("equity:AAA", later, "dividend", 0.777)], columns=columns)])
    made = []
    for actions in (one, two):
        factors = adjustment_factors(known.assign(is_adjusted=False), actions)["adj_factor"]
        told = with_payout_growth(known.assign(adj_factor=factors), actions)
        made.append(forward_returns(told, DayRange(START, known["date"].iloc[37])))
    pd.testing.assert_frame_equal(made[0], made[1], check_exact=True)
    over = made[0].set_index(KEY).xs(1, level="horizon_days")["forward_log_return"]
    before = 100.0 * 1.01**24
    assert over[("equity:AAA", known["date"].iloc[24])] == pytest.approx(math.log(1.01) - math.log(1 - 1.25 / before))


def test_days_one_by_one_give_what_the_range_gives() -> None:
    known = pd.concat([bars(), bars("crypto:BBB", 38, (3, 9)), bars("crypto:NEW", 2)], ignore_index=True)
    days = DayRange(START, known["date"].max())
    whole = forward_returns(known.sample(frac=1.0, random_state=1), days)
    parts = [
        forward_returns(known[known["date"].between(day - timedelta(days=LONGEST_DAYS), day)], DayRange.of(day))
        for day in days
    ]
    together = pd.concat([part for part in parts if len(part)]).sort_values(KEY, ignore_index=True)
    pd.testing.assert_frame_equal(together, whole)
    assert not whole.duplicated(KEY).any()


def test_there_is_no_target_over_a_long_hole_or_a_price_of_zero() -> None:
    days = [START, START + timedelta(days=LONGEST_DAYS), START + timedelta(days=2 * LONGEST_DAYS + 1)]
    holed = pd.DataFrame({"instrument_id": "crypto:A", "date": days, "close": [1.0, 2.0, 4.0]})
    holed = holed.assign(payout_growth=1.0, instrument_type="crypto")
    made = forward_returns(holed, DayRange(days[0], days[-1]))
    assert made["known_on"].tolist() == [days[1]]
    assert forward_returns(holed.assign(close=[1.0, 0.0, 4.0]), DayRange(days[0], days[-1])).empty
    assert forward_returns(holed.iloc[:0], DayRange.of(START)).empty


def test_no_later_bar_changes_a_target() -> None:
    known = bars()
    day = known["date"].iloc[30]
    noisy = known.assign(close=known["close"].where(known["date"] <= day, 7.0))
    pd.testing.assert_frame_equal(
        forward_returns(noisy, DayRange(START, day)), forward_returns(known, DayRange(START, day))
    )


def features_of(known: pd.DataFrame) -> pd.DataFrame:
    """A feature a bar."""
    return known[["instrument_id", "date"]].assign(rsi_14=np.linspace(20.0, 80.0, len(known)))


def test_a_learner_gets_features_beside_what_came_after_them() -> None:
    known = bars()
    day = known["date"].iloc[-1]
    targets = forward_returns(known, DayRange(START, day))
    rows = training_rows(features_of(known), targets, day, 5)
    assert list(rows.columns) == ["instrument_id", "date", "rsi_14", "forward_log_return"]
    assert len(rows) == len(known) - 5
    assert rows["forward_log_return"].to_numpy() == pytest.approx(5 * math.log(1.01))


def test_a_learner_is_refused_what_his_day_does_not_know() -> None:
    known = bars()
    day = known["date"].iloc[-2]
    targets = forward_returns(known, DayRange(START, known["date"].iloc[-1]))
    with pytest.raises(SuspiciousDataError, match=f"known only after {day}: equity:AAA of"):
        training_rows(features_of(known[known["date"] <= day]), targets, day, 5)
    fitting = targets[targets["known_on"] <= day]
    with pytest.raises(SuspiciousDataError, match=f"features are only after {day}"):
        training_rows(features_of(known), fitting, day, 5)
    assert len(training_rows(features_of(known[known["date"] <= day]), fitting, day, 5)) == len(known) - 6


def test_targets_are_refused_as_features() -> None:
    known = bars()
    targets = forward_returns(known, DayRange(START, known["date"].iloc[-1]))
    joined = features_of(known).merge(targets[targets["horizon_days"] == 1], on=["instrument_id", "date"])
    with pytest.raises(SuspiciousDataError, match="can never be a feature"):
        training_rows(joined, targets, known["date"].iloc[-1], 1)


def test_no_feature_set_has_a_column_of_targets() -> None:
    targets = set(schema.feature_targets.columns.keys()) - {"instrument_id", "date", "instrument_type"}
    assert targets == {"horizon_days", "known_on", "forward_log_return"}
    for table in (schema.daily_features, schema.intraday_features, schema.feature_state):
        assert not targets & set(table.columns.keys())
    assert not [metric.name for metric in METRICS if "forward" in metric.name or "target" in metric.name]


def test_targets_that_claim_to_be_known_too_early_are_named() -> None:
    known = bars()
    targets = forward_returns(known, DayRange(START, known["date"].iloc[-1]))
    assert mistimed(targets).empty
    assert set(targets["horizon_days"]) == set(HORIZONS)
    early = targets.assign(known_on=targets["date"])
    assert len(mistimed(early)) == len(targets)
    late = targets.head(1).assign(known_on=targets["date"].iloc[0] + timedelta(days=LONGEST_DAYS + 1))
    assert len(mistimed(late)) == 1
    assert mistimed(targets.iloc[:0]).empty
