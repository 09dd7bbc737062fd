"""Tests of config/instruments.py and the shipped instruments.yaml."""

from datetime import date
from pathlib import Path

import pytest

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.prices.instruments import build_instruments, twins
from defiyield_assets.errors import ConfigurationError

PRIORITY = "source_priority: {crypto: [coinmarketcap, csv], equity: [alpha_vantage]}\n"
BTC = '  - {symbol: "BTC", type: crypto, universe: coins, calendar: 24x7, cmc_id: 1}\n'


def written(folder: Path, entries: str, head: str = PRIORITY) -> Path:
    (folder / "instruments.yaml").write_text(f"{head}instruments:\n{entries}", encoding="utf-8")
    return folder


def refusal(folder: Path, entries: str, head: str = PRIORITY) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_instruments(written(folder, entries, head))
    return str(caught.value)


def test_the_shipped_universe_has_coins_stocks_funds_and_no_token_twice() -> None:
    universe = load_instruments()
    by_type = {kind: sum(one.type == kind for one in universe.instruments) for kind in universe.source_priority}
    assert by_type["crypto"] >= 14
    assert by_type["equity"] >= 20
    assert by_type["etf"] == 1
    assert len([one for one in universe.instruments if one.alpha_vantage_symbol]) <= 25, "a free plan's day"
    assert twins(build_instruments(load_policy(date.max).policy.tokens, universe.instruments)) == []


def test_a_users_file_replaces_the_shipped_one(tmp_path: Path) -> None:
    universe = load_instruments(written(tmp_path, BTC))
    assert [one.instrument_id for one in universe.instruments] == ["crypto:BTC"]
    assert universe.source_priority == {"crypto": ("coinmarketcap", "csv"), "equity": ("alpha_vantage",)}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (BTC.replace("24x7", "XNYSS"), ["instruments.yaml:3", "'XNYSS'", "did you mean 'XNYS'?"]),
        (BTC.replace("crypto", "coin"), ["instruments.yaml:3", "type"]),
        (BTC.replace("universe", "univers"), ["did you mean 'universe'?"]),
        (BTC + BTC, ["instruments.yaml:4", "instrument_id crypto:BTC of instruments[0]", "cmc_id 1"]),
        (BTC.replace("cmc_id: 1", "benchmark: crypto:BTX"), ["'crypto:BTX'", "did you mean 'crypto:BTC'?"]),
        (BTC.replace("cmc_id: 1", "delisted_at: 2020-01-01, listed_at: 2021-01-01"), ["must be after listed_at"]),
        (BTC.replace("type: crypto", "type: index"), ["source_priority lacks 'index'"]),
        (BTC.replace('"BTC"', '"=cmd"'), ["symbol"]),
        (BTC.replace("cmc_id: 1", "price_scale: 0"), ["price_scale", "greater than 0"]),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, entries: str, words: list[str]) -> None:
    message = refusal(tmp_path, entries)
    for word in words:
        assert word in message


def test_a_vendor_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "source_priority.crypto" in refusal(tmp_path, BTC, "source_priority: {crypto: [bloomberg]}\n")


SHARE = '  - {symbol: "AAA", type: equity, universe: stocks, calendar: XNYS, benchmark: "equity:BBB"}\n'


@pytest.mark.parametrize(
    ("own", "other", "is_paired"),
    [
        *(("XNYS", "XNYS", True), ("XNAS", "XNYS", True), ("XLON", "24x7", True), ("24x7", "24x7", True)),
        *(("XLON", "XNYS", False), ("24x7", "XNYS", False)),
    ],
)
def test_a_benchmark_that_is_closed_while_the_instrument_trades_is_refused(
    tmp_path: Path, own: str, other: str, is_paired: bool
) -> None:
    beside = SHARE.replace("AAA", "BBB").replace(', benchmark: "equity:BBB"', "").replace("XNYS", other)
    entries = SHARE.replace("XNYS", own) + beside
    if is_paired:
        assert len(load_instruments(written(tmp_path, entries)).instruments) == 2
    else:
        message = refusal(tmp_path, entries)
        for words in ("instruments.yaml:3", "'equity:BBB'", f"calendar {other}", f"equity:AAA {own}"):
            assert words in message
