"""Tests of one file of bars: whose it is, in which currency, how adjusted, and what is over."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.orchestration.csv_imports import FileImport, import_bars
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.installations import FIRST, Installation

NOW = datetime(2025, 7, 1, 12, tzinfo=UTC)
OHLC = "date,open,high,low,close"
YAHOO = "Date,Open,High,Low,Close,Adj Close,Volume"


@pytest.fixture(scope="module")
def instruments() -> pd.DataFrame:
    """Everything that the shipped files list."""
    return build_instruments(load_policy(FIRST).policy.tokens, load_instruments().instruments)


@pytest.fixture
def warehouse(tmp_path: Path) -> sa.Engine:
    """A migrated warehouse without anything in it."""
    found = Installation(tmp_path / "state")
    found.folder.mkdir()
    found.warehouse.migrate()
    return found.engine


def days(*tails: str, first: str = "2025-06-02", header: str = OHLC) -> str:
    stamps = pd.date_range(first, periods=len(tails))
    return "\n".join([header, *(f"{day:%Y-%m-%d},{tail}" for day, tail in zip(stamps, tails, strict=True))]) + "\n"


def put(
    engine: sa.Engine, instruments: pd.DataFrame, name: str, text: str, source: str | CsvSource | None = None
) -> FileImport:
    sources = load_csv_sources()
    if isinstance(source, str):
        source = next(one for one in sources if one.name == source)
    content = text.encode()
    return import_bars(engine, Path(name), content, sources=sources, instruments=instruments, now=NOW, source=source)


def stored(engine: sa.Engine) -> pd.DataFrame:
    return reads.read_all(engine, schema.ohlcv_csv)


BARS = ["10,12,9,11"] * 3


FOREIGN = ["BTC-EUR.csv", "BTC_EUR_1.csv.gz", "BTCEUR.csv", "BTC-ETH.csv", "binance_1d_BTC_EUR_1.csv", "BTCUSD_GBP.csv"]


def test_quotes_that_the_name_says_are_no_dollars_are_refused(warehouse: sa.Engine, instruments: pd.DataFrame) -> None:
    for name in FOREIGN:
        with pytest.raises(ConfigurationError, match=r"tells prices in (EUR|ETH|GBP), and bars are in dollars"):
            put(warehouse, instruments, name, days(*BARS))
    for name, header in (("BTC_EUR.csv", "date,BTC,ETH"), ("x.csv", "date,BTC,ETHBTC"), ("x.csv", "date,BTC-EUR")):
        with pytest.raises(ConfigurationError, match=r"tells prices in (EUR|BTC), and bars are in dollars"):
            put(warehouse, instruments, name, days(*["5,6"[: 2 * header.count(",") - 1]] * 3, header=header))
    assert stored(warehouse).empty
    table = days("5,6", "6,7", "7,8", header="date,ADA,ETH")
    assert put(warehouse, instruments, "ADA_ETH.csv", table).instruments == ("crypto:ADA", "crypto:ETH")
    for n, name in enumerate(("BTC.csv", "BTC-USD.csv", "BTC_USDT_1d.csv", "BTCUSD-2025.csv", "BTC_all.csv")):
        text = days(*BARS, first=f"2025-0{n + 1}-01")
        assert put(warehouse, instruments, name, text).instruments == ("crypto:BTC",)


def test_a_mapping_says_that_quotes_are_dollars(warehouse: sa.Engine, instruments: pd.DataFrame) -> None:
    source = CsvSource("mine", instruments={"BTC": "crypto:BTC"})
    assert put(warehouse, instruments, "BTC-EUR.csv", days(*BARS), source).n_new == 3


def test_the_files_own_symbol_decides_and_contradicts_no_name(warehouse: sa.Engine, instruments: pd.DataFrame) -> None:
    def of(symbol: str) -> str:
        return days(*(f"{symbol},{bar}" for bar in BARS), header="date,symbol,open,high,low,close")

    with pytest.raises(ConfigurationError, match=r"tells prices in EUR"):
        put(warehouse, instruments, "BTC_2024.csv", of("ETH/EUR"))
    with pytest.raises(
        ConfigurationError, match=r"lines are of ETH/USD \(crypto:ETH\), its name says BTC \(crypto:BTC\)"
    ):
        put(warehouse, instruments, "BTC_2024.csv", of("ETH/USD"))
    with pytest.raises(ConfigurationError, match=r"no instrument is called 'NOBODY'"):
        put(warehouse, instruments, "BTC_2024.csv", of("NOBODY"))
    text = days(*(f"{bar},5,6" for bar in BARS), header=f"{OHLC},volume EUR,volume BTC")
    with pytest.raises(ConfigurationError, match=r"tells prices in EUR"):
        put(warehouse, instruments, "BTC.csv", text)
    assert stored(warehouse).empty
    assert put(warehouse, instruments, "export.csv", of("ETH/USD")).instruments == ("crypto:ETH",)


def test_shares_need_a_word_on_adjustment_and_coins_do_not(warehouse: sa.Engine, instruments: pd.DataFrame) -> None:
    for name, text in (("AAPL.csv", days(*BARS)), ("x.csv", days("5", "6", "7", header="date,AAPL"))):
        with pytest.raises(ConfigurationError, match=r"adjusted for splits and dividends: say `--source shares_raw`"):
            put(warehouse, instruments, name, text)
    assert put(warehouse, instruments, "BTC.csv", days(*BARS)).n_new == 3
    assert put(warehouse, instruments, "AAPL.csv", days(*BARS, "10,12,9,10"), "shares_raw").n_new == 4
    assert put(warehouse, instruments, "MSFT.csv", days(*BARS, "10,12,9,12"), "shares_adjusted").n_new == 4
    told = stored(warehouse).groupby("instrument_id")["is_adjusted"].first()
    assert told.to_dict() == {"crypto:BTC": False, "equity:AAPL": False, "equity:MSFT": True}


def test_adjusted_closes_beside_others_are_taken_alone_for_shares(
    warehouse: sa.Engine, instruments: pd.DataFrame
) -> None:
    text = days("10,12,9,11,5.5,7", "10,12,9,11,null,7", "10,12,9,11,6.5,7", header=YAHOO)
    taken = put(warehouse, instruments, "AAPL.csv", text)
    assert [(line.number, line.reason) for line in taken.bad] == [(3, "its adjusted close is no price")]
    assert any("only the adjusted closes" in note for note in taken.notes)
    rows = stored(warehouse)
    assert rows["close"].tolist() == [5.5, 6.5]
    assert rows["is_adjusted"].all()
    assert rows[["open", "high", "low", "volume_units", "volume_usd"]].isna().all().all()
    put(warehouse, instruments, "MSFT.csv", text + "\n", "shares_raw")
    put(warehouse, instruments, "BTC-USD.csv", text + "\n\n")
    rows = stored(warehouse).query("instrument_id != 'equity:AAPL'")
    assert rows["close"].tolist() == [11.0] * 6, "a source that says raw wins, and coins are never split"
    assert not rows["is_adjusted"].any()


def test_bars_that_run_or_have_not_begun_are_bad_lines(warehouse: sa.Engine, instruments: pd.DataFrame) -> None:
    taken = put(warehouse, instruments, "BTC.csv", days(*BARS, *BARS, first="2025-06-28"))
    assert [(line.number, line.reason) for line in taken.bad] == [
        (5, "the bar of 2025-07-01 00:00 UTC is not over"),
        (6, "the bar of 2025-07-02 00:00 UTC is not over"),
        (7, "the bar of 2025-07-03 00:00 UTC is not over"),
    ]
    assert str(stored(warehouse)["date"].max()) == "2025-06-30"
    start = int(NOW.timestamp())
    hours = "".join(f"{start + 3600 * n},1,2,0.5,1\n" for n in (-3, -2, -1, 0, 1))
    taken = put(warehouse, instruments, "ETH.csv", f"timestamp,open,high,low,close\n{hours}")
    assert (taken.n_new, [line.number for line in taken.bad]) == (3, [5, 6])
    with pytest.raises(SuspiciousDataError, match=r"line 2: the bar of 2030-01-01 00:00 UTC is not over"):
        put(warehouse, instruments, "SOL.csv", days(*BARS, first="2030-01-01"))


def test_an_older_export_adds_what_it_has_and_overwrites_nothing(
    warehouse: sa.Engine, instruments: pd.DataFrame
) -> None:
    new = days("10,20,5,10", "10,20,5,11", "10,20,5,12", first="2025-06-09")
    old = days("10,20,5,9", "10,20,5,10", "10,20,5,10.2", first="2025-06-08")
    put(warehouse, instruments, "BTC.csv", new)
    taken = put(warehouse, instruments, "BTC_old.csv", old)
    assert (taken.n_new, taken.n_changed, taken.n_known) == (1, 0, 1)
    assert [line.number for line in taken.bad] == [4]
    assert "told otherwise by a file that reaches further" in taken.bad[0].reason
    record = reads.read_all(warehouse, schema.csv_imports).set_index("file_name").loc["BTC_old.csv"]
    assert (record["rows_bad"], "told otherwise" in record["bad_lines_json"]) == (1, True)
    assert stored(warehouse)["close"].tolist() == [9.0, 10.0, 11.0, 12.0]
    assert put(warehouse, instruments, "BTC.csv", new).is_known
    assert put(warehouse, instruments, "BTC_old.csv", old).is_known
    newer = days("10,20,5,10", "10,20,5,11", "10,20,5,13", "10,20,5,14", first="2025-06-09")
    assert put(warehouse, instruments, "BTC.csv", newer).n_changed == 1
    again = put(warehouse, instruments, "BTC.csv", new)
    assert (again.is_known, again.n_changed, [line.number for line in again.bad]) == (False, 0, [4])
    assert put(warehouse, instruments, "BTC.csv", new).is_known, "once compared is enough"
    assert stored(warehouse)["close"].tolist() == [9.0, 10.0, 11.0, 13.0, 14.0]
