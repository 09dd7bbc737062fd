"""Tests of domain/selection/icebox.py."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.policy import IceboxOverride, Policy, Token
from defiyield_assets.domain.selection.icebox import EVENT_COLUMNS, ICEBOX_COLUMNS, advance_icebox, bootstrap_icebox
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.selection.cases import DAI, DAY, EURX, SDAI, USDC, YESTERDAY, bar, bars, policy

Closes = Sequence[float | None]


def closes_only(item: Token, closes: Closes, first: date = DAY) -> list[dict]:
    return [bar(item, first + timedelta(days=i), close) for i, close in enumerate(closes) if close is not None]


def walk(rows: pd.DataFrame, rules: Policy, first: date, n_days: int) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Events and icebox of each day, one after the other, starting with an empty icebox."""
    icebox, found = None, []
    for offset in range(n_days):
        events, icebox = advance_icebox(icebox, rows, rules, first + timedelta(days=offset))
        require_valid(schema.icebox_events, events)
        require_valid(schema.icebox, icebox)
        found.append((events, icebox))
    return found


def barred_days(item: Token, bars_: pd.DataFrame, n_days: int, rules: Policy | None = None) -> list[bool]:
    """Whether a token is barred at the end of each day from DAY on."""
    steps = walk(bars_, rules or policy(tokens=(item,)), DAY, n_days)
    return [bool((icebox["address"] == item.address).any()) for _, icebox in steps]


def test_columns_are_those_of_the_tables() -> None:
    assert list(EVENT_COLUMNS) == [column.name for column in schema.icebox_events.columns]
    assert list(ICEBOX_COLUMNS) == [column.name for column in schema.icebox.columns]


def test_a_fall_to_080_enters_that_day_and_being_flat_is_no_recovery() -> None:
    rows = bars(*closes_only(USDC, [1.0, 0.8, *[0.8] * 34]))
    assert barred_days(USDC, rows, 36) == [False] + [True] * 35


def test_an_accruing_token_that_stays_down_never_recovers_either() -> None:
    rows = bars(*closes_only(SDAI, [1.10, 0.88, *[0.88] * 34]))
    assert barred_days(SDAI, rows, 36) == [False] + [True] * 35


def full(item: Token, lows: Closes, closes: Closes, first: date = DAY) -> pd.DataFrame:
    pairs = list(zip(lows, closes, strict=True))
    rows = [
        bar(item, first + timedelta(days=i), close, low=low, high=max(1.0, close or 1.0), open=1.0, quality="full")
        for i, (low, close) in enumerate(pairs)
        if close is not None
    ]
    return bars(*rows)


@pytest.mark.parametrize(
    ("low", "close", "codes"),
    [
        (0.98, 1.0, "LOW"),
        (0.9801, 1.0, None),
        (0.99, 0.99, "CLOSE"),
        (0.99, 0.9901, None),
        (0.97, 0.98, "LOW,CLOSE"),
    ],
)
def test_the_bands_of_entering(low: float, close: float, codes: str | None) -> None:
    _, icebox = advance_icebox(None, full(USDC, [low], [close]), policy(tokens=(USDC,)), DAY)
    assert icebox["reason_codes"].tolist() == ([codes] if codes else [])


def test_a_low_of_yesterday_still_enters_but_not_one_of_the_day_before() -> None:
    rules = policy(tokens=(USDC,))
    rows = full(USDC, [0.9, 1.0, 1.0], [1.0, 1.0, 1.0])
    assert len(advance_icebox(None, rows, rules, DAY + timedelta(days=1))[1]) == 1
    assert len(advance_icebox(None, rows, rules, DAY + timedelta(days=2))[1]) == 0


def test_a_close_counts_for_the_last_close_only() -> None:
    rows = full(USDC, [0.985, 1.0], [0.985, 1.0])
    assert len(advance_icebox(None, rows, policy(tokens=(USDC,)), DAY + timedelta(days=1))[1]) == 0
    two = policy(tokens=(USDC,), icebox_close_days=2)
    assert len(advance_icebox(None, rows, two, DAY + timedelta(days=1))[1]) == 1
    missing = full(USDC, [0.985, None], [0.985, None])
    assert len(advance_icebox(None, missing, policy(tokens=(USDC,)), DAY + timedelta(days=1))[1]) == 1


def test_leaving_takes_two_good_lows_and_three_good_closes_in_a_row() -> None:
    lows = [0.90, 1, 1, 1, 1]
    assert barred_days(USDC, full(USDC, lows, [0.95, 1, 1, 1, 1]), 5) == [True, True, True, False, False]
    setback = full(USDC, [0.9, 1, 1, 1, 1, 1, 1], [0.95, 1, 1, 0.99, 1, 1, 1])
    assert barred_days(USDC, setback, 7) == [True] * 6 + [False]
    low_again = full(USDC, [0.9, 1, 1, 0.98, 1, 1, 1], [0.95, 1, 1, 1, 1, 1, 1])
    assert barred_days(USDC, low_again, 7) == [True] * 5 + [False] * 2
    hole = full(USDC, [0.9, 1, 1, None, 1, 1, 1], [0.95, 1, 1, None, 1, 1, 1])
    assert barred_days(USDC, hole, 7) == [True] * 6 + [False]


@pytest.mark.parametrize(("low_days", "close_days", "n_barred"), [(1, 1, 2), (1, 4, 4), (5, 1, 5)])
def test_the_days_of_recovery_are_parameters(low_days: int, close_days: int, n_barred: int) -> None:
    rules = policy(tokens=(USDC,), icebox_recovery_low_days=low_days, icebox_recovery_close_days=close_days)
    rows = full(USDC, [0.9] + [1.0] * 9, [0.95] + [1.0] * 9)
    assert barred_days(USDC, rows, 10, rules) == [True] * n_barred + [False] * (10 - n_barred)


def test_a_low_or_close_on_the_band_is_not_good() -> None:
    rules = policy(tokens=(USDC,), icebox_recovery_low_days=3)
    on_the_band = full(USDC, [0.9, 1, 0.98, 1, 1, 1], [0.95, 1, 1, 1, 1, 1])
    assert barred_days(USDC, on_the_band, 6, rules) == [True] * 5 + [False]
    closes = full(USDC, [0.9, 1, 0.99, 1, 1, 1], [0.95, 1, 0.99, 1, 1, 1])
    assert barred_days(USDC, closes, 6) == [True] * 5 + [False]


def test_depths_and_windows_are_parameters() -> None:
    rows = full(USDC, [0.97, 1.0, 1.0], [1.0, 0.985, 1.0])
    deep = policy(tokens=(USDC,), icebox_low_depth=0.04, icebox_close_depth=0.02)
    assert barred_days(USDC, rows, 3, deep) == [False] * 3
    long = policy(tokens=(USDC,), icebox_low_days=3)
    assert len(advance_icebox(None, full(USDC, [0.9, 1, 1], [1, 1, 1]), long, DAY + timedelta(days=2))[1]) == 1


def test_good_days_and_the_day_of_entry_are_kept() -> None:
    steps = walk(full(USDC, [0.9, 1, 0.985], [0.95, 1, 1.0]), policy(tokens=(USDC,)), DAY, 3)
    row = steps[-1][1].iloc[0]
    assert (row["since"], row["good_lows"], row["good_closes"]) == (DAY, 2, 2)
    assert (row["last_low"], row["last_close"], row["reference_price"]) == (0.985, 1.0, 1.0)
    assert row["reason_codes"] == "LOW,CLOSE"
    assert not row["is_manual"]


def test_events_tell_entering_and_leaving_once() -> None:
    steps = walk(full(USDC, [0.9, 1, 1, 1, 1], [0.95, 1, 1, 1, 1]), policy(tokens=(USDC,)), DAY, 5)
    assert [events["kind"].tolist() for events, _ in steps] == [["enter"], [], [], ["leave"], []]
    assert "0.9" in steps[0][0]["reason"].iloc[0]


def test_no_price_for_two_days_bars_until_three_good_closes() -> None:
    rows = bars(*closes_only(USDC, [1.0, None, None, 1.0, 1.0, 1.0]))
    steps = walk(rows, policy(tokens=(USDC,)), DAY, 6)
    assert [len(icebox) for _, icebox in steps] == [0, 0, 1, 1, 1, 0]
    row = steps[2][1].iloc[0]
    assert row["reason_codes"] == "NO_PRICE"
    assert np.isnan(row["last_close"])


def test_a_token_that_never_had_a_price_is_barred() -> None:
    _, icebox = advance_icebox(None, bars(), policy(tokens=(USDC, SDAI)), DAY)
    assert icebox["reason_codes"].tolist() == ["NO_PRICE", "NO_PRICE"]
    assert advance_icebox(None, bars(), policy(tokens=(USDC, SDAI)), DAY, bootstrap=True)[1].empty


def test_only_approved_dollar_tokens_are_watched() -> None:
    rows = bars(bar(EURX, YESTERDAY, 1.1), bar(EURX, DAY, 0.5), bar(USDC))
    _, icebox = advance_icebox(None, rows, policy(tokens=(USDC, EURX)), DAY)
    assert icebox.empty
    _, yesterday = advance_icebox(None, bars(bar(USDC, DAY, 0.5)), policy(tokens=(USDC,)), DAY)
    events, icebox = advance_icebox(
        yesterday, bars(bar(DAI, DAY + timedelta(days=1))), policy(tokens=(DAI,)), DAY + timedelta(days=1)
    )
    assert icebox.empty
    assert events["kind"].tolist() == ["leave"]


def test_an_accruing_token_is_measured_against_its_own_thirty_day_high() -> None:
    rising = bars(*closes_only(SDAI, [1.10 + 0.0003 * i for i in range(30)]))
    assert not any(barred_days(SDAI, rising, 30))
    high = 1.2
    for close, expected in ((high * 0.9901, False), (high * 0.99, True)):
        assert barred_days(SDAI, bars(*closes_only(SDAI, [high, close])), 2) == [False, expected]
    low = bars(bar(SDAI, DAY, high), bar(SDAI, DAY + timedelta(days=1), high, low=high * 0.98, high=high))
    assert barred_days(SDAI, low, 2) == [False, True]
    forgotten = bars(*closes_only(SDAI, [1.2] + [1.19] * 29 + [1.18]))
    assert barred_days(SDAI, forgotten, 31)[-2:] == [False, False]
    still_known = bars(*closes_only(SDAI, [1.2] + [1.19] * 28 + [1.18]))
    assert barred_days(SDAI, still_known, 30)[-1]


def test_a_premium_is_an_alert_with_a_grade_and_no_bar() -> None:
    def alert(close: float, high: float | None = None) -> list[int]:
        rows = bars(bar(USDC, DAY, close, high=high, low=1.0))
        events, icebox = advance_icebox(None, rows, policy(tokens=(USDC,)), DAY)
        assert icebox.empty
        assert set(events["kind"]) <= {"premium_alert"}
        return [int(grade) for grade in events["grade"]]

    assert alert(1.0099) == []
    assert alert(1.01) == [1]
    assert alert(1.03) == [3]
    assert alert(1.0, high=1.0199) == []
    assert alert(1.0, high=1.02) == [1]
    assert alert(1.0, high=1.06) == [3]
    assert alert(1.02, high=1.02) == [2]
    jump = bars(bar(SDAI, DAY, 1.1), bar(SDAI, DAY + timedelta(days=1), 1.133))
    events, _ = advance_icebox(None, jump, policy(tokens=(SDAI,)), DAY + timedelta(days=1))
    assert events["grade"].tolist() == [3]
    assert advance_icebox(None, bars(bar(SDAI, DAY, 1.1)), policy(tokens=(SDAI,)), DAY)[0].empty


def test_a_premium_of_yesterday_is_not_told_again() -> None:
    rows = bars(bar(USDC, DAY, 1.05), bar(USDC, DAY + timedelta(days=1), 1.0))
    assert advance_icebox(None, rows, policy(tokens=(USDC,)), DAY + timedelta(days=1))[0].empty


def manual(barred: bool, since: date = DAY, expires: date | None = None, item: Token = USDC) -> IceboxOverride:
    return IceboxOverride(item.chain, item.address, barred, "audit", since, expires)


def test_a_manual_bar_wins_until_it_expires_and_is_shown() -> None:
    rules = policy(tokens=(USDC,), icebox_overrides=(manual(True, DAY + timedelta(days=3), DAY + timedelta(days=4)),))
    steps = walk(bars(*closes_only(USDC, [1.0] * 6)), rules, DAY, 6)
    assert [len(icebox) for _, icebox in steps] == [0, 0, 0, 1, 1, 0]
    assert [events["kind"].tolist() for events, _ in steps] == [[], [], [], ["override_in"], [], ["leave"]]
    row = steps[3][1].iloc[0]
    assert row["is_manual"]
    assert row["reason_codes"] == "MANUAL"
    assert "audit" in row["reason"]


def test_a_manual_release_wins_until_it_expires_and_is_shown() -> None:
    rules = policy(tokens=(USDC,), icebox_overrides=(manual(False, DAY + timedelta(days=1), DAY + timedelta(days=2)),))
    steps = walk(bars(*closes_only(USDC, [0.9] * 4)), rules, DAY, 4)
    assert [len(icebox) for _, icebox in steps] == [1, 0, 0, 1]
    kinds = [events["kind"].tolist() for events, _ in steps]
    assert kinds == [["enter"], ["leave", "override_out"], ["override_out"], ["enter"]]


def test_a_manual_release_without_cause_says_nothing() -> None:
    events, icebox = advance_icebox(
        None, bars(bar(USDC)), policy(tokens=(USDC,), icebox_overrides=(manual(False),)), DAY
    )
    assert events.empty
    assert icebox.empty


def test_the_latest_manual_word_counts_and_only_for_its_token() -> None:
    words = (manual(True, DAY - timedelta(days=1)), manual(False, DAY), manual(True, item=DAI))
    rows = bars(bar(USDC), bar(DAI))
    _, icebox = advance_icebox(None, rows, policy(tokens=(USDC, DAI), icebox_overrides=words), DAY)
    assert icebox["symbol"].tolist() == ["DAI"]
    later_entry = (manual(True), manual(False))
    _, icebox = advance_icebox(None, rows, policy(tokens=(USDC, DAI), icebox_overrides=later_entry), DAY)
    assert icebox.empty
    future = (manual(True, DAY + timedelta(days=1)),)
    assert advance_icebox(None, rows, policy(tokens=(USDC, DAI), icebox_overrides=future), DAY)[1].empty


def test_a_manual_bar_does_not_hide_the_rules() -> None:
    rules = policy(tokens=(USDC,), icebox_overrides=(manual(True, DAY, DAY),))
    steps = walk(bars(*closes_only(USDC, [0.9, 0.9])), rules, DAY, 2)
    assert steps[0][1]["reason_codes"].tolist() == ["LOW,CLOSE,MANUAL"]
    assert sorted(steps[0][0]["kind"]) == ["enter", "override_in"]
    assert steps[1][1][["reason_codes", "is_manual"]].to_numpy().tolist() == [["LOW,CLOSE", False]]


def test_an_assumed_price_counts_and_is_named() -> None:
    _, icebox = advance_icebox(None, bars(bar(USDC, DAY, 0.9, quality="assumed")), policy(tokens=(USDC,)), DAY)
    assert "assumed" in icebox["reason"].iloc[0]
    _, known = advance_icebox(None, bars(bar(USDC, DAY, 0.9)), policy(tokens=(USDC,)), DAY)
    assert "assumed" not in known["reason"].iloc[0]


def test_only_the_icebox_of_the_day_before_is_continued() -> None:
    _, old = advance_icebox(None, bars(bar(USDC, DAY, 0.5)), policy(tokens=(USDC,)), DAY)
    later = DAY + timedelta(days=5)
    rows = bars(bar(USDC, later), bar(USDC, later - timedelta(days=1)))
    assert advance_icebox(old, rows, policy(tokens=(USDC,)), later)[1].empty


def test_bootstrap_replays_the_month_before() -> None:
    rows = bars(*closes_only(USDC, [1.0] * 10 + [0.9] + [0.995] * 30, DAY - timedelta(days=20)))
    low_only = rows[rows["date"] <= DAY - timedelta(days=9)]
    events, icebox = bootstrap_icebox(low_only, policy(tokens=(USDC,)), DAY - timedelta(days=9))
    assert icebox["since"].tolist() == [DAY - timedelta(days=10)]
    assert events[["kind", "date"]].to_numpy().tolist() == [["enter", DAY - timedelta(days=9)]]
    require_valid(schema.icebox_events, events)
    require_valid(schema.icebox, icebox)
    assert bootstrap_icebox(rows, policy(tokens=(USDC,)), DAY)[1].empty


def test_bootstrap_on_the_first_day_of_a_market_bars_nothing_that_has_a_price() -> None:
    events, icebox = bootstrap_icebox(bars(bar(USDC)), policy(tokens=(USDC, DAI)), DAY)
    assert icebox[["symbol", "reason_codes"]].to_numpy().tolist() == [["DAI", "NO_PRICE"]]
    assert events["kind"].tolist() == ["enter"]


def test_bootstrap_equals_having_run_since_the_first_bar() -> None:
    first = DAY - timedelta(days=30)
    rows = bars(*closes_only(USDC, [1.0] * 25 + [0.9] + [1.0] * 2 + [0.999] * 3, first))
    ran = walk(rows, policy(tokens=(USDC,)), first, 31)[-1][1]
    pd.testing.assert_frame_equal(bootstrap_icebox(rows, policy(tokens=(USDC,)), DAY)[1], ran)


@settings(deadline=None, max_examples=6)
@given(st.lists(st.floats(min_value=0.5, max_value=1.5), min_size=5, max_size=12), st.floats(0.1, 3.0), st.randoms())
def test_no_look_ahead_and_order_does_not_matter(closes: list[float], noise: float, random: object) -> None:
    rows = bars(*closes_only(USDC, closes), *closes_only(SDAI, closes))
    rules = policy(tokens=(USDC, SDAI))
    day = DAY + timedelta(days=2)
    changed = rows.assign(
        close=[noise if known > day else close for known, close in zip(rows["date"], rows["close"], strict=True)]
    )
    expected = bootstrap_icebox(rows, rules, day)
    shuffled = changed.sample(frac=1, random_state=3)
    backwards = policy(tokens=(SDAI, USDC))
    for ours, theirs in zip(expected, bootstrap_icebox(shuffled, backwards, day), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.recorded
def test_usdc_in_march_2023_enters_in_time_and_leaves_after_three_good_closes(recorded_data: Path) -> None:
    recorded = pd.read_parquet(recorded_data / "prices" / "cmc_daily_ohlcv_usdt_usdc_dai_2017-11_2025-12.parquet")
    mine = recorded[recorded["coin"] == "USDC"]
    days = [date.fromisoformat(str(day)[:10]) for day in mine["date"]]
    rows = [
        bar(USDC, day, row["close"], low=row["low"], high=row["high"], open=row["open"], quality="full")
        for day, row in zip(days, mine.to_dict("records"), strict=True)
        if date(2023, 2, 1) <= day <= date(2023, 4, 1)
    ]
    rules = policy(tokens=(USDC,))
    known: Mapping[date, float] = {row["date"]: row["close"] for row in rows}
    lows: Mapping[date, float] = {row["date"]: row["low"] for row in rows}
    first = date(2023, 3, 6)
    icebox = bootstrap_icebox(bars(*rows), rules, first - timedelta(days=1))[1]
    barred = []
    for offset in range(20):
        _, icebox = advance_icebox(icebox, bars(*rows), rules, first + timedelta(days=offset))
        barred += [first + timedelta(days=offset)] if len(icebox) else []
    assert barred[0] <= date(2023, 3, 11)
    free = barred[-1] + timedelta(days=1)
    assert barred == [barred[0] + timedelta(days=i) for i in range(len(barred))]
    assert all(known[free - timedelta(days=i)] > 0.99 for i in range(3))
    assert all(lows[free - timedelta(days=i)] > 0.98 for i in range(2))
    assert free == date(2023, 3, 14)
