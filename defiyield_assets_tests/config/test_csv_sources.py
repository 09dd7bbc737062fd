"""Tests of config/csv_sources.py, the shipped csv_sources.yaml, and which file and which instrument a name means."""

from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.config.csv_sources import load_csv_sources
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.prices.csv_sources import (
    UNNAMED,
    CsvSource,
    find_instrument,
    match_file,
    matched,
    symbol_of_name,
    unknown_instruments,
)
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.errors import ConfigurationError
from defiyield_assets_tests.installations import FIRST


@pytest.fixture(scope="module")
def instruments() -> pd.DataFrame:
    """Everything that the shipped files list."""
    return build_instruments(load_policy(FIRST).policy.tokens, load_instruments().instruments)


def test_every_instrument_that_a_shipped_source_names_is_listed(instruments: pd.DataFrame) -> None:
    named = {name for source in load_csv_sources() for name in source.instruments.values()}
    assert named <= set(instruments["instrument_id"])


@pytest.mark.parametrize(
    ("name", "source", "symbol"),
    [
        ("AVAXUSD-5.csv", "avaxusd_5m", None),
        ("AVAXUSD-5.csv.gz", "avaxusd_5m", None),
        ("AVAXUSD-15.csv", "unnamed", None),
        ("Binance_BTCUSDT_d.csv", "binance", "BTCUSDT"),
        ("cmc_raw_export_USDC_2023.csv", "coinmarketcap_export", "USDC"),
        ("backtesting_py_BTCUSD_monthly.csv", "backtesting_py", "BTCUSD"),
        ("backtesting_py_GOOG.csv", "backtesting_py", "GOOG"),
        ("anything.csv", "unnamed", None),
    ],
)
def test_a_file_is_of_the_source_whose_pattern_its_name_fits(name: str, source: str, symbol: str | None) -> None:
    found = match_file(name, load_csv_sources())
    assert (found.source.name, found.symbol) == (source, symbol)


def test_a_source_named_by_hand_wins_over_the_name() -> None:
    source = CsvSource("mine", files=("{symbol}_x.csv",))
    assert matched("BTC_x.csv", source).symbol == "BTC"
    assert matched("other.csv", source) == (match := matched("other.csv", source))
    assert (match.source, match.symbol) == (source, None)
    assert match_file("BTC_x.csv", ()).source is UNNAMED


def test_a_pattern_is_no_expression() -> None:
    assert match_file("aXb.csv", [CsvSource("x", files=("a.b.csv",))]).source is UNNAMED
    assert match_file("a+b.csv", [CsvSource("x", files=("a+b.csv",))]).source.name == "x"


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("BTC", "crypto:BTC"),
        ("btc", "crypto:BTC"),
        ("BTCUSDT", "crypto:BTC"),
        ("BTCUSD", "crypto:BTC"),
        ("BTCEUR", None),
        ("crypto:BTC", "crypto:BTC"),
        ("bitcoin", "crypto:BTC"),
        ("AAPL", "equity:AAPL"),
        ("tether", "ethereum:0xdac17f958d2ee523a2206206994597c13d831ec7"),
        ("USDT", "ethereum:0xdac17f958d2ee523a2206206994597c13d831ec7"),
        ("USD", None),
        ("", None),
        ("=cmd|'/C calc'!A0", None),
    ],
)
def test_a_symbol_means_an_instrument_by_id_symbol_pair_or_vendors_id(
    symbol: str, expected: str | None, instruments: pd.DataFrame
) -> None:
    assert find_instrument(symbol, instruments, {}) == expected


def test_a_mapping_wins_and_must_name_an_instrument(instruments: pd.DataFrame) -> None:
    assert find_instrument("BTC", instruments, {"BTC": "crypto:ETH"}) == "crypto:ETH"
    with pytest.raises(ConfigurationError, match="did you mean 'crypto:BTC'"):
        find_instrument("X", instruments, {"X": "crypto:BTCC"})


def test_a_symbol_of_two_instruments_is_not_guessed(instruments: pd.DataFrame) -> None:
    twice = pd.concat([instruments, instruments[instruments["symbol"] == "AAPL"].assign(instrument_id="fx:AAPL")])
    with pytest.raises(ConfigurationError, match=r"may be equity:AAPL or fx:AAPL: say which"):
        find_instrument("AAPL", twice, {})


def test_the_error_of_an_unknown_instrument_says_what_to_add_where() -> None:
    text = str(unknown_instruments(["MTUM", "x" * 100], "f.csv"))
    assert text.startswith("f.csv: no instrument is called 'MTUM', 'xxx")
    assert "instruments.yaml" in text
    assert "left_out" in text
    assert len(text) < 500


@pytest.mark.parametrize(("name", "symbol"), [("AVAXUSD-5.csv.gz", "AVAXUSD"), ("BTC.CSV", "BTC"), ("a_b.txt", "a")])
def test_the_symbol_is_what_a_files_name_begins_with(name: str, symbol: str) -> None:
    assert symbol_of_name(name) == symbol


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{name: a, timezone: Tehran}", ["csv_sources.yaml:2", "sources[0].timezone", "'Tehran' is no time zone"]),
        ("{name: a, timezone: 'UTC+25:00'}", ["is no time zone"]),
        ("{name: a, interval: 5min}", ["sources[0].interval", "'5min' is no interval"]),
        ("{name: a, price_scale: 0}", ["sources[0].price_scale"]),
        ("{name: a, stamp: middle}", ["sources[0].stamp"]),
        ("{name: a, time_zone: UTC}", ["did you mean 'timezone'?"]),
        ("{name: A B}", ["sources[0].name"]),
        ("{name: a}\n  - {name: a}", ["csv_sources.yaml:3", "that of sources[0]"]),
    ],
)
def test_a_wrong_source_is_refused_with_file_and_line(entry: str, words: list[str], tmp_path: Path) -> None:
    (tmp_path / "csv_sources.yaml").write_text(f"sources:\n  - {entry}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_csv_sources(tmp_path)
    for word in words:
        assert word in str(caught.value)
