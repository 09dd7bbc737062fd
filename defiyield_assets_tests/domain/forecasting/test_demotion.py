"""Demotion: made-up scores day by day, and a loop in which the demoted model really leaves."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.forecasting.demotion import LOOKBACK_DAYS, demoted_models

DAY = date(2025, 6, 30)
SES = ("pool", "apy", 1, "ses")
OLDEST = 48
"""Age of the first score of those that just demote: the twentieth makes the first window, thirty windows are needed."""


def scores(errors: dict[int, float], naive: float = 0.02, **changes: object) -> pd.DataFrame:
    """Scores by age in days (0 falls due on DAY) of the absolute error."""
    rows = {
        "date": [DAY - timedelta(days=age) for age in errors],
        "pool_id": "pool",
        "target": "apy",
        "horizon_days": 1,
        "model": "ses",
        "is_champion": True,
        "absolute_error": list(errors.values()),
        "naive_absolute_error": naive,
    }
    return pd.DataFrame({**rows, **changes})


def bad(first_age: int, last_age: int) -> dict[int, float]:
    return dict.fromkeys(range(last_age, first_age + 1), 0.03)


def good(first_age: int, last_age: int) -> dict[int, float]:
    return dict.fromkeys(range(last_age, first_age + 1), 0.01)


def test_thirty_days_of_negative_skill_demote_and_twenty_nine_do_not() -> None:
    assert demoted_models(scores(bad(OLDEST, 0)), DAY) == {SES}
    assert demoted_models(scores(bad(OLDEST - 1, 0)), DAY) == set()


def test_a_champion_that_beats_the_last_value_stays() -> None:
    assert demoted_models(scores(good(OLDEST, 0)), DAY) == set()


def test_one_bad_month_does_not_demote() -> None:
    assert demoted_models(scores({**good(58, 30), **bad(29, 0)}), DAY) == set()


def test_in_each_window_the_sum_of_errors_decides_not_the_number_of_bad_days() -> None:
    # What fell due at age 29 is in all of the last thirty windows, at age 28 in all but the oldest.
    assert demoted_models(scores({**good(58, 0), 29: 0.5}), DAY) == {SES}
    assert demoted_models(scores({**good(58, 0), 28: 0.5}), DAY) == set()
    mostly_bad = dict.fromkeys(range(59), 0.0201)
    assert demoted_models(scores({**mostly_bad, 29: 0.0}), DAY) == set()


@pytest.mark.parametrize(("n", "demoted"), [(19, set()), (20, {SES})])
def test_twenty_scores_are_needed_in_each_of_the_windows(n: int, demoted: set[object]) -> None:
    # Of any thirty days in a row n have a score.
    assert demoted_models(scores({age: 0.03 for age in range(59) if age % 30 < n}), DAY) == demoted


def test_a_single_day_with_too_few_scores_starts_the_count_anew() -> None:
    ages = {age for age in range(59) if age % 30 < 20}
    # A score that fell due a day earlier is missing from one window only, the one that ends at age 20.
    assert demoted_models(scores(dict.fromkeys(ages - {49} | {50}, 0.03)), DAY) == set()
    assert demoted_models(scores(dict.fromkeys(ages | {50}, 0.03)), DAY) == {SES}


def test_equal_errors_do_not_demote() -> None:
    # 0.1 + 0.2 is above 0.3 by the last bit.
    assert demoted_models(scores(dict.fromkeys(range(59), 0.1 + 0.2), naive=0.3), DAY) == set()
    assert demoted_models(scores(dict.fromkeys(range(59), 0.0), naive=0.0), DAY) == set()


def test_an_error_where_the_last_value_has_none_demotes() -> None:
    assert demoted_models(scores(bad(OLDEST, 0), naive=0.0), DAY) == {SES}


def test_the_last_value_is_never_demoted() -> None:
    assert demoted_models(scores(bad(OLDEST, 0), model="last_value"), DAY) == set()


def test_only_what_was_champion_answers() -> None:
    assert demoted_models(scores(bad(OLDEST, 0), is_champion=False), DAY) == set()
    assert demoted_models(scores(bad(OLDEST, 0)).drop(columns="is_champion"), DAY) == {SES}


def test_pools_targets_horizons_and_models_answer_for_themselves() -> None:
    other = {"pool_id": "other", "target": "tvl_usd", "horizon_days": 7, "model": "ewma_03"}
    fine = [scores(good(OLDEST, 0), **{name: value}) for name, value in other.items()]
    assert demoted_models(pd.concat([*fine, scores(bad(OLDEST, 0))]), DAY) == {SES}
    # Enough bad scores in all, every other one of each model, are too few of either.
    days = range(LOOKBACK_DAYS)
    split = [scores({age: 0.03 for age in days if age % 2 == 0}), scores({age: 0.03 for age in days if age % 2})]
    assert demoted_models(pd.concat([split[0], split[1].assign(model="ewma_03")]), DAY) == set()
    assert demoted_models(pd.concat(split), DAY) == {SES}


def test_a_demotion_lasts_thirty_days_from_the_day_that_found_it() -> None:
    # The thirtieth window falls due on DAY, and no more scores come because the model has left.
    rows = scores(bad(OLDEST, 0))
    last_day = DAY + timedelta(days=29)
    assert demoted_models(rows, DAY - timedelta(days=1)) == set()
    for day in (DAY, DAY + timedelta(days=15), last_day):
        assert demoted_models(rows, day) == {SES}
    assert demoted_models(rows, last_day + timedelta(days=1)) == set()


def test_it_lasts_longer_while_older_vintages_go_on_losing() -> None:
    # A month ahead: what was said before the demotion falls due for thirty more days.
    rows = scores(bad(OLDEST + 30, 0))
    assert demoted_models(rows, DAY) == {SES}
    assert demoted_models(rows, DAY + timedelta(days=10)) == {SES}
    assert demoted_models(rows, DAY + timedelta(days=11)) == set()


def test_scores_after_the_day_and_long_before_it_are_not_read() -> None:
    future = scores({-age: 99.0 for age in range(1, 31)})
    past = scores({LOOKBACK_DAYS + age: 99.0 for age in range(30)})
    assert demoted_models(pd.concat([scores(good(LOOKBACK_DAYS - 1, 0)), future, past]), DAY) == set()


def test_the_oldest_day_that_is_read_can_decide() -> None:
    # Of any thirty days in a row from age 88 to 29 twenty have a score. With the oldest of them the demotion begins at
    # age 30 and has just ended; without it, it begins a day later and this is its last day.
    ages = {age for age in range(29, LOOKBACK_DAYS) if (age - 29) % 30 >= 10}
    assert max(ages) == LOOKBACK_DAYS - 1
    assert demoted_models(scores(dict.fromkeys(ages, 0.03)), DAY) == set()
    assert demoted_models(scores(dict.fromkeys(ages - {LOOKBACK_DAYS - 1}, 0.03)), DAY) == {SES}


def test_the_order_of_scores_does_not_matter_and_no_scores_demote_nobody() -> None:
    rows = pd.concat([scores(bad(OLDEST, 0)), scores(bad(OLDEST - 1, 0), pool_id="other")])
    assert demoted_models(rows, DAY) == {SES}
    assert demoted_models(rows.sample(frac=1.0, random_state=1), DAY) == demoted_models(rows, DAY)
    assert demoted_models(rows.iloc[:0], DAY) == set()


def test_in_a_closed_loop_a_losing_model_goes_and_comes_back() -> None:
    known, champions = scores({}), []
    first = date(2025, 1, 1)
    for number in range(158):
        day = first + timedelta(days=number)
        is_out = SES in demoted_models(known, day)
        champions.append("last_value" if is_out else "ses")
        due = scores({0: 0.02 if is_out else 0.03}, model=champions[-1], date=[day + timedelta(days=1)])
        known = pd.concat([known, due]) if len(known) else due
    # Twenty scores are there on day 20, the thirtieth such day is day 49; away for thirty days; once more from day 79.
    assert champions == ["ses"] * 49 + ["last_value"] * 30 + ["ses"] * 49 + ["last_value"] * 30


def slow_demotion(errors: dict[int, float], naive: float) -> list[int]:
    """The rule once more, day after day with a memory: ages of the days on which the model is out."""
    n_days_in_a_row, out_until, out = 0, max(errors) + 1, []
    for age in range(max(errors), -1, -1):
        window = [errors[other] for other in range(age, age + 30) if other in errors]
        is_losing = len(window) >= 20 and sum(window) > naive * len(window)
        n_days_in_a_row = n_days_in_a_row + 1 if is_losing else 0
        if n_days_in_a_row == 30:
            out_until = age - 29
        if n_days_in_a_row >= 30 or out_until <= age <= out_until + 29:
            out.append(age)
    return out


@pytest.mark.parametrize("seed", range(2))
def test_a_second_implementation_with_a_memory_demotes_on_the_same_days(seed: int) -> None:
    random = np.random.default_rng(seed)
    level = 0.021 + 0.004 * np.sin(np.arange(300) / 30.0 + seed)
    seen = np.flatnonzero(random.random(300) < 0.8)
    errors = {int(age): float(level[age] * random.lognormal(0.0, 0.3)) for age in seen}
    rows = scores(errors)
    found = [age for age in range(299, -1, -1) if demoted_models(rows, DAY - timedelta(days=age))]
    assert found == slow_demotion(errors, 0.02)
    assert 30 < len(found) < 270
