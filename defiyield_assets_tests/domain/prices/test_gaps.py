"""Tests of domain/prices/gaps.py."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.gaps import bar_freshness, implausible_bars, missing_sessions
from defiyield_assets.domain.prices.instruments import Instrument, build_instruments

FRIDAY, MONDAY = date(2024, 7, 5), date(2024, 7, 8)
WEEK = DayRange(date(2024, 7, 3), date(2024, 7, 9))
"""Independence Day is a Thursday here."""


def listed(*instruments: Instrument) -> pd.DataFrame:
    return build_instruments((), instruments)


def coin(symbol: str = "BTC", **more: Any) -> Instrument:
    return Instrument(symbol, "crypto", "coins", "24x7", **more)


def share(symbol: str = "ACME", **more: Any) -> Instrument:
    return Instrument(symbol, "equity", "us", "XNYS", **more)


def bars(*rows: tuple[str, date]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["instrument_id", "date"], dtype=object)


def gaps(instruments: pd.DataFrame, there: pd.DataFrame, firsts: dict[str, date]) -> list[tuple[str, date]]:
    found = missing_sessions(there, instruments, WEEK, firsts)
    return list(zip(found["instrument_id"], found["date"], strict=True))


def test_sessions_of_the_own_calendar_are_missed_and_no_others() -> None:
    firsts = {"crypto:BTC": date(2020, 1, 1), "equity:ACME": date(2020, 1, 1)}
    there = bars(*(("crypto:BTC", day) for day in WEEK if day != FRIDAY), ("equity:ACME", FRIDAY))
    assert gaps(listed(coin(), share()), there, firsts) == [
        ("crypto:BTC", FRIDAY),
        ("equity:ACME", date(2024, 7, 3)),
        ("equity:ACME", MONDAY),
        ("equity:ACME", date(2024, 7, 9)),
    ]


def test_nothing_is_missed_before_listing_nor_from_delisting_on() -> None:
    known = listed(share(listed_at=FRIDAY, delisted_at=date(2024, 7, 9)))
    firsts = {"equity:ACME": date(2024, 7, 1)}
    assert gaps(known, bars(), firsts) == [("equity:ACME", FRIDAY), ("equity:ACME", MONDAY)]
    assert gaps(listed(share()), bars(), {"equity:ACME": date(2024, 7, 9)}) == [("equity:ACME", date(2024, 7, 9))]
    assert gaps(known, bars(), {}) == [], "nobody ever told of it"
    assert gaps(known.assign(is_configured=False), bars(), firsts) == []


def test_a_weekend_makes_no_share_stale_and_every_coin() -> None:
    sunday = date(2024, 7, 7)
    newest = {"crypto:BTC": date(2024, 7, 6), "equity:ACME": FRIDAY}
    found = bar_freshness(newest, listed(coin(), share()), sunday)
    assert found.stale == {"crypto:BTC": date(2024, 7, 6)}
    assert bar_freshness(newest, listed(share()), MONDAY).stale == {"equity:ACME": FRIDAY}


@pytest.mark.parametrize(("n_stale", "is_enough"), [(0, True), (1, True), (2, False)])
def test_ninety_five_percent_are_enough(n_stale: int, is_enough: bool) -> None:
    coins = [coin(f"C{number}") for number in range(20)]
    newest = {one.instrument_id: MONDAY - timedelta(days=number < n_stale) for number, one in enumerate(coins)}
    found = bar_freshness(newest, listed(*coins), MONDAY)
    assert found.is_enough is is_enough
    assert len(found.stale) == n_stale


def test_what_ended_is_not_stale_and_what_nobody_told_is_told_apart() -> None:
    known = listed(coin(), coin("OLD", delisted_at=MONDAY), coin("NEW", listed_at=date(2025, 1, 1)), coin("NONE"))
    found = bar_freshness({"crypto:BTC": MONDAY, "crypto:OLD": FRIDAY}, known, MONDAY)
    assert (found.active, found.stale, found.never_told) == (("crypto:BTC",), {}, ("crypto:NONE",))
    assert found.is_enough


def test_files_that_ended_are_told_apart_and_what_others_rest_on_must_be_there() -> None:
    shares = [share(f"S{number}") for number in range(40)]
    newest = {one.instrument_id: MONDAY for one in shares}
    known = listed(*shares, share("FILE"), share("OLD"), share("NONE"))
    by_file = {"equity:FILE", "equity:OLD", "equity:NONE"}
    told = {**newest, "equity:FILE": FRIDAY, "equity:OLD": date(2022, 12, 28)}
    found = bar_freshness(told, known, MONDAY, by_file=by_file)
    assert (found.stale, found.ended, found.never_told) == (
        {"equity:FILE": FRIDAY},
        {"equity:OLD": date(2022, 12, 28)},
        (),
    )
    assert found.is_enough
    assert not bar_freshness(told, known, MONDAY, by_file=by_file, required={"equity:FILE", "etf:SPY"}).is_enough
    lone = bar_freshness({"equity:OLD": date(2022, 12, 28)}, listed(share("OLD")), MONDAY, by_file=by_file)
    assert lone.is_enough, "nobody awaits anything"


def test_an_instrument_whose_calendar_ends_is_named_and_the_others_are_judged() -> None:
    indian, after = Instrument("RELIANCE", "equity", "in", "XBOM"), date(2027, 1, 4)
    newest = {"equity:ACME": after, "equity:RELIANCE": date(2026, 12, 31)}
    found = bar_freshness(newest, listed(share(), indian), after)
    assert (found.active, found.stale, found.calendar_unknown) == (("equity:ACME",), {}, ("equity:RELIANCE",))
    days = DayRange(after, after)
    gaps_found = missing_sessions(bars(), listed(share(), indian), days, newest | {"equity:ACME": FRIDAY})
    assert list(gaps_found["instrument_id"]) == ["equity:ACME"]


def test_data_that_never_came_is_no_freshness_but_an_empty_universe_is() -> None:
    assert not bar_freshness({}, listed(coin()), MONDAY).is_enough
    assert bar_freshness({}, listed(), MONDAY).is_enough


def series(n_days: int, sigma: float, **odd: tuple[int, float]) -> pd.DataFrame:
    """Bars of a random walk; `odd` multiplies a column of one day."""
    random = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(random.normal(0, sigma, n_days)))
    frame = pd.DataFrame({"open": close, "close": close, "high": close * (1 + sigma), "low": close * (1 - sigma)})
    for column, (place, factor) in odd.items():
        frame.loc[place, column] *= factor
    dates = [date(2024, 1, 1) + timedelta(days=offset) for offset in range(n_days)]
    return frame.assign(instrument_id="crypto:X", date=dates, adj_factor=1.0)


def judged(frame: pd.DataFrame) -> list[tuple[date, str]]:
    days = DayRange(frame["date"].iloc[0], frame["date"].iloc[-1])
    found = implausible_bars(frame, days)
    return list(zip(found["date"], found["what"], strict=True))


def test_a_single_print_far_above_is_named() -> None:
    usdc = series(100, 0.0005, high=(60, 2.35))
    assert judged(usdc) == [(date(2024, 3, 1), "high")]
    assert judged(series(100, 0.0005, low=(60, 0.5))) == [(date(2024, 3, 1), "low")]


def test_a_depeg_within_a_quarter_and_a_wild_coin_are_believed() -> None:
    assert judged(series(100, 0.0005, low=(60, 0.8774))) == [], "USDC on 2023-03-11"
    assert judged(series(300, 0.05)) == []
    assert judged(series(100, 0.03, high=(60, 1.4))) == [], "within 20 times its usual wick"


def test_a_close_that_jumps_is_named_on_its_way_up_and_down_and_a_split_is_not() -> None:
    jump = series(100, 0.001, close=(60, 2.0))
    assert judged(jump.assign(open=jump["close"], high=jump["close"], low=jump["close"])) == [
        (date(2024, 3, 1), "move"),
        (date(2024, 3, 2), "move"),
    ]
    split = series(100, 0.001)
    after = np.arange(100) >= 60
    for name in ("open", "high", "low", "close"):
        split[name] = split[name] / np.where(after, 2.0, 1.0)
    assert judged(split.assign(adj_factor=np.where(after, 1.0, 0.5))) == []
    assert len(judged(split)) == 1


def test_with_few_bars_only_the_floor_counts_and_later_bars_are_never_asked() -> None:
    assert judged(series(10, 0.001, high=(5, 1.5))) == [(date(2024, 1, 6), "high")]
    assert len(judged(series(31, 0.05, high=(29, 1.5)))) == 1, "29 bars before it are too few"
    assert judged(series(31, 0.05, high=(30, 1.5))) == []
    whole, first = series(200, 0.001, high=(60, 1.5)), DayRange(date(2024, 1, 1), date(2024, 3, 1))
    noisy = whole.assign(high=np.where(np.arange(200) > 60, whole["high"] * 9, whole["high"]))
    pd.testing.assert_frame_equal(implausible_bars(whole, first), implausible_bars(noisy, first))


def test_closes_without_open_high_and_low_have_moves_only() -> None:
    frame = series(100, 0.001, close=(60, 2.0)).assign(open=np.nan, high=np.nan, low=np.nan)
    assert [what for _, what in judged(frame)] == ["move", "move"]
