"""Tests of bars below a day: masked gaps by definition and on recorded files, days of bars, and the clock of files."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.domain.prices.csv_sources import match_file
from defiyield_assets.domain.prices.intraday import (
    CSV_DAILY_COLUMNS,
    csv_daily_rows,
    curate_intraday,
    days_of_intraday,
    masked_gaps,
    minutes_of,
)
from defiyield_assets.sources.csv_bars import read_bars

ADA = "crypto:ADA"
INSTRUMENTS = pd.DataFrame(
    {"instrument_id": [ADA, "crypto:AVAX", "crypto:DOT", "equity:X"], "calendar": ["24x7", "24x7", "24x7", "XNYS"]}
)
Bar = tuple[str, float, float, float, float]


def told(
    *bars: Bar, interval: str = "5m", name: str = ADA, scale: float = 1.0, volume: float = 1.0, source: str = "s"
) -> pd.DataFrame:
    """Rows of ohlcv_csv: (stamp, open, high, low, close)."""
    frame = pd.DataFrame(bars, columns=["ts", "open", "high", "low", "close"])
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True)
    return frame.assign(
        instrument_id=name,
        interval=interval,
        date=frame["ts"].dt.date,
        volume_units=volume,
        volume_usd=np.nan,
        market_cap_usd=np.nan,
        csv_source=source,
        price_scale=scale,
        is_adjusted=False,
    )


def masked(*bars: Bar) -> list[bool]:
    return masked_gaps(told(*bars)).tolist()


FRIDAY: Bar = ("2025-04-04 20:55", 100.0, 101.0, 99.0, 100.0)


@pytest.mark.parametrize(
    ("reopening", "expected"),
    [
        (("2025-04-06 21:00", 100.0, 100.0, 87.0, 87.0), True),
        (("2025-04-06 21:00", 100.0, 100.0, 99.9, 99.9), True),
        (("2025-04-06 21:00", 100.04, 104.0, 100.0, 103.0), True),
        (("2025-04-06 21:00", 100.04, 100.9, 100.0, 100.9), False),
        (("2025-04-06 21:00", 100.06, 104.0, 100.0, 103.0), False),
        (("2025-04-06 21:00", 90.0, 91.0, 87.0, 88.0), False),
        (("2025-04-04 21:00", 100.0, 100.0, 87.0, 87.0), False),
        (("2025-04-04 21:05", 100.0, 100.0, 87.0, 87.0), True),
    ],
    ids=[
        "opens at the old close",
        "however small the jump",
        "a hair off and a jump of 3 %",
        "a hair off and no jump",
        "more than a hair off",
        "opens elsewhere",
        "no hole",
        "a hole of one bar",
    ],
)
def test_a_masked_gap_opens_at_the_price_from_before_the_hole(reopening: Bar, expected: bool) -> None:
    assert masked(FRIDAY, reopening) == [False, expected]


def test_a_bar_that_stands_still_behind_a_hole_hands_its_gap_to_the_next() -> None:
    still: Bar = ("2025-04-06 21:00", 100.0, 100.0, 100.0, 100.0)
    falls: Bar = ("2025-04-06 21:05", 100.0, 100.0, 87.0, 87.0)
    later: Bar = ("2025-04-06 21:10", 87.0, 88.0, 86.0, 87.0)
    assert masked(FRIDAY, still, falls, later) == [False, True, True, False]
    opens: Bar = ("2025-04-06 21:05", 90.0, 91.0, 87.0, 87.0)
    assert masked(FRIDAY, still, opens, later) == [False, True, False, False]


def test_the_first_bar_of_a_series_is_never_masked() -> None:
    both = pd.concat([told(FRIDAY), told(("2025-04-06 21:00", 100.0, 100.0, 87.0, 87.0), name="crypto:DOT")])
    assert not masked_gaps(both).any()
    other = pd.concat([told(FRIDAY, interval="1h"), told(("2025-04-06 21:00", 100.0, 100.0, 87.0, 87.0))])
    assert not masked_gaps(other.sort_values(["interval", "ts"])).any()


def test_what_comes_later_never_marks_an_earlier_bar() -> None:
    bars = [FRIDAY, ("2025-04-06 21:00", 100.0, 100.0, 87.0, 87.0), ("2025-04-06 21:05", 87.0, 88.0, 86.0, 87.0)]
    whole = masked_gaps(told(*bars))
    assert [masked_gaps(told(*bars[: n + 1]))[-1] for n in range(3)] == whole.tolist()


def test_curated_bars_are_in_dollars_and_name_their_source() -> None:
    bars = curate_intraday(told(FRIDAY, scale=100.0, source="cents"))
    row = bars.iloc[0]
    assert [row[name] for name in ("open", "high", "low", "close")] == [1.0, 1.01, 0.99, 1.0]
    assert (row["source"], row["quality"], row["volume_units"]) == ("csv:cents", "full", 1.0)
    assert curate_intraday(told(FRIDAY, interval="1d")).empty
    assert curate_intraday(told(FRIDAY).assign(low=np.nan)).empty, "a close alone is no bar below a day"


def slots(day: str, n: int, *, interval: str = "1h", name: str = ADA, volume: float = 1.0) -> pd.DataFrame:
    start = pd.Timestamp(day)
    minutes = minutes_of(interval) or 0
    rows = [(str(start + pd.Timedelta(minutes=minutes * k)), 10.0 + k, 12.0 + k, 9.0 + k, 11.0 + k) for k in range(n)]
    return curate_intraday(told(*rows, interval=interval, name=name, volume=volume))


def test_a_day_takes_its_ends_extremes_and_volume_from_its_bars() -> None:
    day = days_of_intraday(slots("2025-01-01", 24), INSTRUMENTS).iloc[0]
    assert [day[name] for name in ("open", "high", "low", "close", "volume_units")] == [10.0, 35.0, 9.0, 34.0, 24.0]
    assert (day["quality"], day["date"], str(day["ts"])) == ("full", date(2025, 1, 1), "2025-01-01 00:00:00+00:00")
    unknown = slots("2025-01-01", 24)
    unknown.loc[3, "volume_units"] = np.nan
    assert np.isnan(days_of_intraday(unknown, INSTRUMENTS).iloc[0]["volume_units"])


@pytest.mark.parametrize(
    ("name", "day", "interval", "n", "quality"),
    [
        (ADA, "2025-01-01", "1h", 20, "full"),
        (ADA, "2025-01-01", "1h", 19, "partial"),
        ("equity:X", "2025-01-06 14:30", "30m", 11, "full"),
        ("equity:X", "2025-01-06 14:30", "30m", 10, "partial"),
        ("equity:X", "2024-11-29 14:30", "30m", 6, "full"),
        ("equity:X", "2025-01-04 14:30", "30m", 1, "full"),
    ],
    ids=["20 of 24", "19 of 24", "11 of 13", "10 of 13", "half a session is whole", "no session expects nothing"],
)
def test_a_day_is_partial_below_80_percent_of_what_its_calendar_expects(
    name: str, day: str, interval: str, n: int, quality: str
) -> None:
    found = days_of_intraday(slots(day, n, interval=interval, name=name), INSTRUMENTS)
    assert found["quality"].tolist() == [quality]


def test_a_day_that_holds_a_masked_gap_says_so_even_when_it_is_short() -> None:
    bars = curate_intraday(told(FRIDAY, ("2025-04-06 21:00", 100.0, 100.0, 87.0, 87.0)))
    assert days_of_intraday(bars, INSTRUMENTS)["quality"].tolist() == ["partial", "masked_gap"]


def test_of_two_intervals_the_one_that_covers_more_of_the_day_makes_it() -> None:
    hours, minutes = slots("2025-01-01", 24), slots("2025-01-01", 100, interval="5m")
    day = days_of_intraday(pd.concat([minutes, hours]), INSTRUMENTS)
    assert day[["close", "quality"]].to_numpy().tolist() == [[34.0, "full"]]
    all_minutes = slots("2025-01-01", 288, interval="5m")
    assert days_of_intraday(pd.concat([hours, all_minutes]), INSTRUMENTS)["close"].tolist() == [298.0]


def test_what_files_tell_of_days_is_one_row_a_day_in_dollars() -> None:
    daily = pd.concat(
        [
            told(("2025-01-01", 100.0, 120.0, 90.0, 110.0), interval="1d", scale=100.0, source="cents"),
            told(("2025-01-02", np.nan, np.nan, np.nan, 111.0), interval="1d", scale=100.0),
            told(("2025-01-31", 1.0, 1.0, 1.0, 1.0), interval="1mo"),
        ]
    )
    intraday = pd.concat([slots("2025-01-02", 24), slots("2025-01-03", 24)])
    rows = csv_daily_rows(daily, intraday, INSTRUMENTS)
    assert tuple(rows.columns) == CSV_DAILY_COLUMNS
    assert rows[["date", "close", "quality", "source"]].to_numpy().tolist() == [
        [date(2025, 1, 1), 1.1, "full", "csv:cents"],
        [date(2025, 1, 2), 1.11, "close_only", "csv:s"],
        [date(2025, 1, 3), 34.0, "full", "csv:s"],
    ]
    nothing = csv_daily_rows(daily.iloc[:0], intraday.iloc[:0], INSTRUMENTS)
    assert (len(nothing), tuple(nothing.columns)) == (0, CSV_DAILY_COLUMNS)


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "5s", "1D", "2d", "-5m"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no interval"):
        minutes_of(text)


def recorded_bars(folder: Path, name: str, instrument_id: str, timezone: str | None = None) -> pd.DataFrame:
    """Curated bars of a recorded file, by its shipped source."""
    path = folder / "intraday" / name
    source = match_file(path.name, load_csv_sources()).source
    assert timezone is None or source.timezone == timezone
    bars = read_bars(path.name, path.read_bytes(), source).bars
    rows = bars.assign(
        instrument_id=instrument_id,
        interval="5m",
        date=bars["ts"].dt.date,
        csv_source=source.name,
        price_scale=source.price_scale,
    )
    return curate_intraday(rows)


@pytest.mark.recorded
def test_recorded_holes_hide_their_jumps_where_and_as_often_as_counted_by_hand(recorded_data: Path) -> None:
    avax = recorded_bars(recorded_data, "AVAXUSD-5.csv.gz", "crypto:AVAX")
    ada = recorded_bars(recorded_data, "ADAUSD-5.csv.gz", ADA)
    dot = recorded_bars(recorded_data, "DOTUSDT-5.csv.gz", "crypto:DOT")
    holes = [int((bars["ts"].diff() > pd.Timedelta(minutes=5)).sum()) for bars in (avax, ada, dot)]
    assert holes == [43, 37, 0]
    hidden = [bars[bars["quality"] == "masked_gap"] for bars in (avax, ada, dot)]
    assert [len(found) for found in hidden] == [8, 37, 0]
    # ADA: 33 at the old close exactly and 3 a hair off; one stands still, and its jump is in the next bar.
    assert [f"{ts:%m-%d %H:%M}" for ts in hidden[1]["ts"] if ts.date() == date(2025, 4, 6)] == [
        "04-06 21:00",
        "04-06 21:05",
    ]
    widest = ada.loc[(ada["high"] / ada["low"]).idxmax()]
    assert (widest["quality"], round(widest["open"], 5), round(widest["high"], 5)) == ("masked_gap", 0.63159, 1.05005)
    days = days_of_intraday(pd.concat([avax, ada, dot]), INSTRUMENTS)
    counts = days.groupby(["instrument_id", "quality"]).size().to_dict()
    assert counts == {
        ("crypto:ADA", "full"): 173,
        ("crypto:ADA", "masked_gap"): 36,
        ("crypto:ADA", "partial"): 2,
        ("crypto:AVAX", "full"): 168,
        ("crypto:AVAX", "masked_gap"): 8,
        ("crypto:AVAX", "partial"): 36,
        ("crypto:DOT", "full"): 173,
        ("crypto:DOT", "partial"): 1,
    }


@pytest.mark.slow
@pytest.mark.recorded
def test_the_clock_of_the_recorded_files_is_the_one_that_the_shipped_sources_name(recorded_data: Path) -> None:
    """Three independent witnesses: daily bars of another vendor, the dealer's week, and the coins among each other."""
    ada = recorded_bars(recorded_data, "ADAUSD-5.csv.gz", ADA, "UTC+03:30")
    avax = recorded_bars(recorded_data, "AVAXUSD-5.csv.gz", "crypto:AVAX", "UTC+03:30")
    dot = recorded_bars(recorded_data, "DOTUSDT-5.csv.gz", "crypto:DOT", "UTC+03:30")
    daily = pd.read_parquet(recorded_data / "prices/yfinance_daily_crypto_2018-01_2025-08.parquet")
    for bars, ticker, agreement in ((ada, "ADA-USD", 0.002), (avax, "AVAX-USD", 0.01)):
        theirs = daily[daily["ticker"] == ticker].assign(date=lambda rows: pd.to_datetime(rows["date"]).dt.date)
        wrong = {}
        for half_hours in (-2, -1, 0, 1, 2):
            moved = bars.assign(ts=bars["ts"] + pd.Timedelta(minutes=30 * half_hours))
            days = days_of_intraday(moved.assign(date=moved["ts"].dt.date), INSTRUMENTS)
            both = days[days["quality"] == "full"].merge(theirs, on="date")
            wrong[half_hours] = float((both["close"] / both["close_adj"] - 1).abs().median())
        assert min(wrong, key=lambda shift: wrong[shift]) == 0, ticker
        assert wrong[0] < agreement
    reopened = avax["ts"][avax["ts"].diff() > pd.Timedelta(hours=40)].dt.tz_convert("America/New_York")
    assert reopened.dt.strftime("%a %H:%M").value_counts().index[0] == "Sun 17:00", "also across summer time"
    assert (reopened.dt.strftime("%a %H:%M") == "Sun 17:00").sum() >= 32
    returns = [np.log(bars.set_index("ts")["close"]).diff().clip(-0.01, 0.01) for bars in (ada, dot)]
    by_shift = {
        slots: float(returns[0].corr(returns[1].shift(freq=pd.Timedelta(minutes=5 * slots))))
        for slots in (-42, -1, 0, 1, 42)
    }
    assert by_shift[0] > 0.8
    assert max(by_shift[slots] for slots in (-42, -1, 1, 42)) < 0.05
