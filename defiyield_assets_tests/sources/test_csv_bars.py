"""Tests of CSV files of bars: every layout, every bad line with its number, hostile files, and the recorded ones."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.domain.prices.csv_sources import UNNAMED, CsvSource, match_file
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.sources import csv_lines
from defiyield_assets.sources.csv_bars import MOST_PRICE, CsvBars, read_bars
from defiyield_assets.sources.csv_events import is_events, read_events
from defiyield_assets.sources.csv_lines import BadLine, ranges

UTC_CLOCK = CsvSource("utc", timezone="UTC")
NEW_YORK = CsvSource("ny", timezone="America/New_York", interval="1h")
HEADERLESS = "2024.09.24,03:55,36.22,36.331,36.22,36.289,0\r\n2024.09.24,04:00,36.289,36.341,36.285,36.319,0\r\n"


def read(text: str, source: CsvSource = UTC_CLOCK, name: str = "X.csv") -> CsvBars:
    return read_bars(name, text.encode(), source)


def stamps(found: CsvBars) -> list[str]:
    return [f"{ts:%Y-%m-%d %H:%M}" for ts in found.bars["ts"]]


def numbered(found: CsvBars) -> list[int]:
    return [line.number for line in found.bad]


def days_of(*rows: str, header: str = "date,open,high,low,close,volume") -> str:
    return "\n".join([header, *rows]) + "\n"


GOOD = [f"2024-01-{day:02d},10,12,9,11,5" for day in range(1, 8)]


def test_bars_without_header_are_read_by_the_clock_of_their_source() -> None:
    found = read(HEADERLESS, CsvSource("tehran", timezone="UTC+03:30"))
    assert (found.layout, found.interval) == ("headerless", "5m")
    assert stamps(found) == ["2024-09-24 00:25", "2024-09-24 00:30"]
    assert found.bars.loc[0, ["open", "high", "low", "close"]].tolist() == [36.22, 36.331, 36.22, 36.289]
    assert found.bars["row_number"].tolist() == [1, 2]
    assert found.bars["volume_units"].isna().all(), "zero in the whole file is unknown"


@pytest.mark.parametrize("per_second", [1, 1_000, 1_000_000])
@pytest.mark.parametrize("header", ["timestamp,open,high,low,close,volume\n", ""])
def test_epochs_of_any_unit_are_read_with_and_without_header(per_second: int, header: str) -> None:
    if not header and per_second == 1_000_000:
        return
    start = int(datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp())
    rows = "".join(f"{(start + 60 * n) * per_second},1,2,0.5,1.5,7\n" for n in range(3))
    found = read(header + rows, CsvSource("units", volume_unit="units"))
    assert stamps(found) == ["2024-03-01 12:00", "2024-03-01 12:01", "2024-03-01 12:02"]
    assert found.interval == "1m"
    assert found.bars["volume_units"].tolist() == [7.0] * 3


def test_an_unnamed_first_column_semicolons_bom_crlf_and_gzip_make_no_difference() -> None:
    plain = days_of(*GOOD, header=",Open,High,Low,Close,Volume")
    other = "\ufeff" + plain.replace(",", ";").replace("\n", "\r\n")
    first = read(plain)
    assert first.interval == "1d"
    for content in (other.encode(), gzip.compress(plain.encode())):
        pd.testing.assert_frame_equal(read_bars("X.csv.gz", content, UTC_CLOCK).bars, first.bars)


def test_an_export_of_coinmarketcap_is_newest_first_quoted_and_in_dollars() -> None:
    header = "\ufefftimeOpen;timeClose;timeHigh;timeLow;name;open;high;low;close;volume;marketCap;supply;timestamp"
    row = '"{0}T00:00:00.000Z";"{0}T23:59:59.999Z";"";"";"2781";1;1.2;0.9;1.1;500;{1};3;"{0}T23:59:59.999Z"'
    text = "\n".join([header, row.format("2023-12-31", 900), row.format("2023-12-30", 0)])
    found = read(text, UNNAMED)
    assert (found.layout, found.interval) == ("coinmarketcap", "1d")
    assert stamps(found) == ["2023-12-30 00:00", "2023-12-31 00:00"]
    assert found.bars["volume_usd"].tolist() == [500.0, 500.0]
    assert found.bars["volume_units"].isna().all()
    assert found.bars["market_cap_usd"].fillna(-1).tolist() == [-1.0, 900.0], "0 is unknown"
    assert found.bars["row_number"].tolist() == [3, 2]


def test_an_export_of_cryptodatadownload_names_units_and_dollars_of_volume() -> None:
    header = "Unix,Date,Symbol,Open,High,Low,Close,Volume ETH,Volume USDT,tradecount"
    rows = [f"{1715472000000 - n * 86_400_000},x,ETHUSDT,10,12,9,11,3,30,9" for n in range(3)]
    found = read("\n".join([header, *rows]), UNNAMED)
    assert (found.layout, found.interval, found.bars["series"].unique().tolist()) == (
        "cryptodatadownload",
        "1d",
        ["ETHUSDT"],
    )
    assert found.bars[["volume_units", "volume_usd"]].to_numpy().tolist() == [[3.0, 30.0]] * 3
    assert stamps(found) == ["2024-05-10 00:00", "2024-05-11 00:00", "2024-05-12 00:00"]


def test_closes_by_symbol_are_one_series_a_column_and_an_empty_cell_is_no_bar() -> None:
    source = CsvSource("wide", left_out=("FB",))
    found = read("date,GOOG,AAPL,FB\n2024-01-02,,5,1\n2024-01-03,7,x,1\n2024-01-04,8,6,1\n", source)
    assert (found.layout, found.interval) == ("closes", "1d")
    told = [(series, f"{ts:%d}", close) for series, ts, close in found.bars[["series", "ts", "close"]].to_numpy()]
    assert told == [("AAPL", "02", 5.0), ("AAPL", "04", 6.0), ("GOOG", "03", 7.0), ("GOOG", "04", 8.0)]
    assert found.bars["open"].isna().all()
    assert found.bad == (BadLine(3, "AAPL: 'x' is no price"),)


def test_bars_without_volume_are_bars() -> None:
    found = read("DATE,OPEN,HIGH,LOW,CLOSE\r\n1990-01-02,17,18,16,17\r\n1990-01-03,18,19,17,18\r\n", UNNAMED)
    assert (found.layout, len(found.bars), found.bad) == ("ohlcv", 2, ())


@pytest.mark.parametrize(
    ("stamp", "written", "expected"),
    [
        ("close", "2024-01-0{}T00:00:00Z", "2023-12-31 00:00"),
        ("close", "2024-01-0{}T23:59:59.999Z", "2024-01-01 00:00"),
        ("open", "2024-01-0{}T00:00:00Z", "2024-01-01 00:00"),
        ("close", "2024-01-0{}", "2024-01-01 00:00"),
        ("open", "2024.01.0{} 00:00", "2024-01-01 00:00"),
    ],
)
def test_a_daily_bar_is_of_the_day_that_it_ends(stamp: str, written: str, expected: str) -> None:
    source = CsvSource("x", timezone="UTC+03:30", stamp=stamp)  # type: ignore[arg-type]
    text = days_of(*(f"{written.format(day)},10,12,9,11,5" for day in (1, 2, 3)))
    assert stamps(read(text, source))[0] == expected


@pytest.mark.parametrize("written", ["{} 00:00:00+01:00", "{}T00:00:00+09:00", "{}T00:00-05:00", "{} 00:00Z"])
def test_a_midnight_with_an_offset_is_of_the_day_that_is_written(written: str) -> None:
    text = days_of(*(f"{written.format(f'2024-12-0{day}')},10,12,9,11,5" for day in (2, 3, 4)))
    assert stamps(read(text, UNNAMED)) == ["2024-12-02 00:00", "2024-12-03 00:00", "2024-12-04 00:00"]
    hours = [f"2024-12-02T{hour:02d}:00+09:00,10,12,9,11,5" for hour in (9, 10, 11)]
    assert stamps(read(days_of(*hours), UNNAMED))[0] == "2024-12-02 00:00", "bars below a day keep their instant"


def test_epochs_of_days_are_of_the_day_that_the_sources_clock_shows() -> None:
    start = int(datetime(2024, 12, 1, 15, tzinfo=UTC).timestamp())
    text = days_of(*(f"{start + 86_400 * n},10,12,9,11,5" for n in range(3)))
    tokyo = CsvSource("tokyo", timezone="Asia/Tokyo")
    assert stamps(read(text, tokyo)) == ["2024-12-02 00:00", "2024-12-03 00:00", "2024-12-04 00:00"]


def test_two_stamps_of_one_day_are_two_bad_lines_or_one_bar() -> None:
    start = int(datetime(2024, 12, 2, tzinfo=UTC).timestamp())
    rows = [f"{start + 86_400 * n},10,12,9,11,5" for n in range(5)]
    noon = f"{start + 43_200 + 86_400 * 2},10,12,9,{{}},5"
    found = read(days_of(*rows[:3], noon.format("10.5"), *rows[3:]))
    assert [(line.number, line.reason) for line in found.bad] == [
        (4, "contradicts line 5: both tell of 2024-12-04 00:00 UTC"),
        (5, "contradicts line 4: both tell of 2024-12-04 00:00 UTC"),
    ]
    assert len(found.bars) == 4
    found = read(days_of(*rows[:3], noon.format("11"), *rows[3:]))
    assert (found.n_repeated, found.bad, len(found.bars)) == (1, (), 5)


def test_a_volume_of_which_nobody_says_what_it_counts_is_unknown() -> None:
    found = read(days_of(*GOOD), UNNAMED)
    assert found.bars[["volume_units", "volume_usd"]].isna().all().all()
    assert found.has_unknown_volume
    found = read(days_of(*(f"{row},7" for row in GOOD), header="date,open,high,low,close,volume EUR,volume BTC"))
    assert found.bars["volume_units"].tolist() == [7.0] * 7, "euros are neither units nor dollars"
    assert found.quote == "EUR"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_file_that_is_too_large_is_refused_before_it_is_cut_into_lines(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (csv_lines.MOST_BYTES, csv_lines.MOST_LINES) == (64 * 2**20, 2_000_000)
    content = pack(days_of(*GOOD).encode())
    for name, most in (("MOST_LINES", 7), ("MOST_BYTES", 100)):
        with monkeypatch.context() as patched:
            patched.setattr(csv_lines, name, most)
            with pytest.raises(SuspiciousDataError, match=r"F\.csv: holds more than .* lines; cut it into parts"):
                read_bars("F.csv", content, UTC_CLOCK)
    assert len(read_bars("F.csv", content, UTC_CLOCK).bars) == 7


def test_a_close_stamp_below_a_day_is_moved_to_the_open() -> None:
    source = CsvSource("x", timezone="UTC", stamp="close")
    assert stamps(read(HEADERLESS, source)) == ["2024-09-24 03:50", "2024-09-24 03:55"]


BAD_ROWS = {
    "2024-01-08,=cmd|' /C calc'!A0,12,9,11,5": "open \"=cmd|' /C calc'!A0\" is no price",
    "2024-01-08,10,nan,9,11,5": "high 'nan' is no price",
    "2024-01-08,10,inf,9,11,5": "high 'inf' is no price",
    "2024-01-08,10,1e999,9,11,5": "high '1e999' is no price",
    "2024-01-08,10,1e16,9,11,5": "high '1e16' is no price",
    "2024-01-08,10,12,-9,11,5": "low '-9' is no price",
    "2024-01-08,0,12,9,11,5": "open '0' is no price",
    "2024-01-08,10,12,9,,5": "close '' is no price",
    "2024-01-08,10,12,9,1_1,5": "close '1_1' is no price",
    "2024-01-08,10,9,12,11,5": "high 9.0 below low 12.0",
    "2024-01-08,13,12,9,11,5": "high 12.0 below open 13.0 or close 11.0",
    "2024-01-08,10,12,10.5,11,5": "low 10.5 above open 10.0 or close 11.0",
    "2024-01-08,10,12,9,11,-5": "volume '-5' is no amount",
    "2024-01-08,10,12,9,11,many": "volume 'many' is no amount",
    "2024-02-30,10,12,9,11,5": "'2024-02-30' is no date or time",
    "0001-01-01,10,12,9,11,5": "'0001-01-01' is no date or time",
    "1066-10-14,10,12,9,11,5": "'1066-10-14' is no date or time",
    "8/1/2024,10,12,9,11,5": "'8/1/2024' is no date or time",
    "2024-01-08 00:00Z,10,12,9,11,5": "is spelled otherwise (instant) than most stamps of the file (day)",
    "2024-01-08,10,12,9,11": "5 cells where the first line has 6",
    '2024-01-08,"10,12,9,11,5': "its quotes do not close",
    "2024-01-08,10,12\x00,9,11,5": "holds control characters",
    "2024-01-08,10,12\u2028,9,11,5": "holds control characters",
    "2024-01-08," + "9" * 200_000 + ",12,9,11,5": "200,021 characters",
}


@pytest.mark.parametrize(("row", "words"), BAD_ROWS.items(), ids=[row[:30] for row in BAD_ROWS])
def test_a_bad_line_is_told_by_number_and_costs_no_other(row: str, words: str) -> None:
    found = read(days_of(*GOOD[:3], row, *GOOD[3:]))
    assert numbered(found) == [5]
    assert words in found.bad[0].reason
    assert len(found.bad[0].reason) < 200
    assert found.bad[0].reason.isprintable()
    pd.testing.assert_frame_equal(
        found.bars.drop(columns="row_number"), read(days_of(*GOOD)).bars.drop(columns="row_number")
    )


def test_bytes_that_are_no_text_are_a_bad_line() -> None:
    content = days_of(*GOOD).encode() + b"2024-01-08,10,12,9,11,\xff\n"
    found = read_bars("X.csv", content, UTC_CLOCK)
    assert (len(found.bars), numbered(found)) == (7, [9])


def test_equal_rows_count_once_and_contradicting_ones_not_at_all() -> None:
    found = read(days_of(*GOOD, GOOD[2], GOOD[4].replace(",11,", ",10.5,")))
    assert found.n_repeated == 0, "the repeated row stands out of order"
    found = read(days_of(*GOOD[:3], GOOD[2], *GOOD[3:5], GOOD[4].replace(",11,", ",10.5,"), *GOOD[5:]))
    assert found.n_repeated == 1
    assert [(line.number, line.reason) for line in found.bad] == [
        (7, "contradicts line 8: both tell of 2024-01-05 00:00 UTC"),
        (8, "contradicts line 7: both tell of 2024-01-05 00:00 UTC"),
    ]
    assert len(found.bars) == 6


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_one_stamp_out_of_order_costs_its_own_line_only(is_newest_first: bool) -> None:
    rows = GOOD[::-1] if is_newest_first else GOOD
    rows = [*rows[:3], "2031-01-01,10,12,9,11,5", *rows[3:]]
    found = read(days_of(*rows))
    assert numbered(found) == [5]
    assert "2031-01-01 00:00 UTC is out of order" in found.bad[0].reason
    assert len(found.bars) == 7


def test_an_hour_that_the_clock_shows_twice_or_never_is_a_bad_line() -> None:
    rows = [f"2024-11-03 {hour:02d}:30,1,2,0.5,1,1" for hour in range(6)]
    found = read(days_of(*rows), NEW_YORK)
    assert numbered(found) == [3]
    assert "shows '2024-11-03 01:30' twice" in found.bad[0].reason
    assert stamps(found) == [f"2024-11-03 {hour:02d}:30" for hour in (4, 7, 8, 9, 10)]
    rows = [f"2024-03-10 {hour:02d}:30,1,2,0.5,1,1" for hour in range(6)]
    found = read(days_of(*rows), NEW_YORK)
    assert numbered(found) == [4]
    assert "shows '2024-03-10 02:30' never" in found.bad[0].reason


def test_a_bar_beside_the_grid_of_its_interval_is_a_bad_line() -> None:
    rows = [f"2024-01-01 00:{minute},1,2,0.5,1,1" for minute in ("00", "05", "10", "13", "15", "20")]
    found = read(days_of(*rows))
    assert (numbered(found), found.interval) == ([5], "5m")
    assert "no beginning of a bar of 5m" in found.bad[0].reason


def test_local_times_without_a_clock_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"name no time zone.*csv_sources\.yaml.*--source utc_clock"):
        read(HEADERLESS, UNNAMED)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no line"),
        (b"\xef\xbb\xbf\r\n \r\n", "holds no line"),
        (b"a,b,c\n1,2,3\n", "names no column of dates"),
        (b"1,2,3\n4,5,6\n", "it has no header"),
        (b"date,open,high,close\n2024-01-01,1,2,1\n", "no low"),
        (b"date,close,close\n2024-01-01,1,2\n", "names 'close' twice"),
        (b"date,open,high,low,close\n", "a header and no bar"),
        (b"date,open,high,low,close\nx,1,2,1,1\ny,1,2,1,1\n", "no line of it is a bar; line 2: 'x' is no date"),
        (b"date,coin,cap\n2024-01-01,Tether,1\n", "column 'coin' holds no number"),
        (b"date,close\n2024-01-01,1\n", "do not tell their interval"),
        (b"date,close\n2024-01-01,1\n2024-01-05,1\n2024-01-06,1\n", "do not tell their interval"),
        (b"\x1f\x8bnot gzip", "cannot be unpacked"),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], "cannot be unpacked"),
    ],
)
def test_a_file_that_is_no_table_of_bars_is_refused_in_one_sentence(content: bytes, words: str) -> None:
    with pytest.raises(SuspiciousDataError, match=words) as caught:
        read_bars("F.csv", content, UTC_CLOCK)
    assert str(caught.value).startswith("F.csv: ")
    assert str(caught.value).isprintable()


def test_an_interval_that_contradicts_its_source_is_refused() -> None:
    with pytest.raises(SuspiciousDataError, match="5m apart, but source 'h' says 1h"):
        read(HEADERLESS, CsvSource("h", timezone="UTC", interval="1h"))


def test_ticks_are_no_volume() -> None:
    found = read(days_of(*GOOD), CsvSource("t", volume_unit="ticks"))
    assert found.bars[["volume_units", "volume_usd"]].isna().all().all()


def read_or_refusal(name: str, content: bytes, source: CsvSource) -> CsvBars | str:
    """What a file holds, or the one sentence that refuses it; any other error is a failure of the reader."""
    try:
        if is_events(name, content):
            read_events(name, content)
        return read_bars(name, content, source)
    except (SuspiciousDataError, ConfigurationError) as error:
        return str(error)


CELLS = st.one_of(
    st.sampled_from(
        ["", "1", "2.5", "-1", "nan", "inf", "1e308", "2024-01-01", "2024-01-02 03:04", "1700000000", '"', "="]
    ),
    st.text(max_size=12),
)
HEADERS = st.sampled_from(
    [
        "date,open,high,low,close,volume",
        "date,kind,instrument,title,expected,actual",
        "timestamp;open;high;low;close",
        "Date,AAPL,MSFT",
        ",Open,High,Low,Close,Volume",
        "",
    ]
)


@given(HEADERS, st.lists(st.lists(CELLS, max_size=7).map(",".join), max_size=12), st.booleans())
@example("date,open,high,low,close,volume", ["2024-01-01,1,1,1,1,1", "2024-01-02T00:00+99:99,1,1,1,1,1"], False)
@example("timestamp;open;high;low;close", ["9999999999999999;1;1;1;1", "9999999999;1;1;1;1"], True)
def test_whatever_a_file_holds_every_line_is_a_bar_or_bad_or_the_file_is_refused(
    header: str, lines: list[str], is_close: bool
) -> None:
    source = CsvSource("fuzz", timezone="Europe/Berlin", stamp="close" if is_close else "open")
    content = "\n".join([header, *lines]).encode("utf-8", errors="surrogatepass")
    found = read_or_refusal("fuzz.csv", content, source)
    if isinstance(found, str):
        assert found.isprintable()
        return
    bars = found.bars
    assert not bars.duplicated(["series", "ts"]).any()
    assert ((bars["close"] > 0) & (bars["close"] < MOST_PRICE)).all()
    assert (bars["high"].isna() | (bars["high"] >= bars["low"])).all()
    told = {*bars["row_number"], *(line.number for line in found.bad)}
    blank = {
        number for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1) if not line.strip()
    }
    assert all(line.reason.isprintable() for line in found.bad)
    if found.layout != "closes":
        n_lines = content.decode("utf-8", "replace").count("\n") + 1
        has_header = 0 if found.layout == "headerless" else 1
        assert len(told | blank) >= n_lines - has_header - found.n_repeated


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(content: bytes) -> None:
    found = read_or_refusal("b.csv", content, UTC_CLOCK)
    assert not isinstance(found, str) or found.isprintable()


def test_events_are_read_with_their_bad_lines() -> None:
    text = (
        "date,kind,instrument,title,expected,actual,announced_on\n"
        "2024-05-01,economic,,FOMC,5.5,5.5,2024-01-01\n"
        "2024-05-02,earnings,AAPL,Q2,1.5,,2024-04-01\n"
        "2024-05-02,party,AAPL,,,,\n"
        "2024-05-03,on-chain,ETH,Dencun,x,,\n"
        "2024-05-03,on-chain,ETH,Dencun,,,2024-06-01\n"
        "2024-05-01,economic,,FOMC,5.5,5.5,2024-01-01\n"
        "2024-05-01,economic,,FOMC,5.5,5.25,2024-01-01\n"
    )
    assert is_events("e.csv", text.encode())
    found = read_events("e.csv", text.encode())
    assert found.events["kind"].tolist() == ["economic", "earnings"]
    assert found.n_repeated == 1
    assert [(line.number, line.reason[:22]) for line in found.bad] == [
        (4, "kind 'party' is none o"),
        (5, "expected 'x' is no num"),
        (6, "announced_on 2024-06-0"),
        (8, "contradicts line 2: bo"),
    ]
    assert not is_events("x.csv", HEADERLESS.encode())


def test_line_numbers_are_told_in_ranges() -> None:
    assert ranges([3, 1, 2, 9, 5, 2]) == "1-3, 5, 9"


RECORDED = {
    "intraday/ADAUSD-5.csv.gz": ("headerless", "5m", 50_000, 0),
    "intraday/AVAXUSD-5.csv.gz": ("headerless", "5m", 50_000, 0),
    "intraday/DOTUSDT-5.csv.gz": ("headerless", "5m", 50_000, 0),
    "equities/backtesting_py_GOOG.csv": ("ohlcv", "1d", 2_148, 0),
    "equities/backtesting_py_BTCUSD_monthly.csv": ("ohlcv", "1mo", 156, 0),
    "equities/pypfopt_spy_prices.csv": ("closes", "1d", 6_765, 0),
    "equities/pypfopt_stock_prices_20tickers.csv": ("closes", "1d", 73_938, 0),
    "equities/skfolio_factor_etfs.csv.gz": ("closes", "1d", 11_320, 0),
    "equities/skfolio_sp500_20stocks_1990_2022.csv.gz": ("closes", "1d", 166_260, 0),
    "equities/skfolio_sp500_index_1990_2022.csv.gz": ("closes", "1d", 8_313, 0),
    "equities/spy_adjclose_vix_close_2010-01-04_2024-12-31.csv": ("closes", "1d", 7_548, 0),
    "prices/binance_1d_BTCUSDT_2017-08-17_2025-01-05.csv": ("ohlcv", "1d", 2_699, 0),
    "prices/binance_1d_ETHUSDT_2017-08-17_2024-05-12.csv": ("cryptodatadownload", "1d", 2_461, 0),
    "prices/cmc_raw_export_USDC_2023.csv": ("coinmarketcap", "1d", 400, 0),
    "macro/vix_daily_ohlc_1990-01-02_2026-07-23.csv": ("ohlcv", "1d", 9_188, 47),
}


@pytest.mark.recorded
def test_every_recorded_file_is_read_whole_by_a_shipped_source(recorded_data: Path) -> None:
    sources, told = load_csv_sources(), {}
    for name in RECORDED:
        path = recorded_data / name
        match = match_file(path.name, sources)
        assert match.source is not UNNAMED, name
        found = read_bars(path.name, path.read_bytes(), match.source)
        told[name] = (found.layout, found.interval, len(found.bars), len(found.bad))
        assert np.isfinite(found.bars["close"]).all()
    assert told == RECORDED
