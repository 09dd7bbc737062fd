"""Tests of domain/prices."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange, market_stamp, start_of
from defiyield_assets.domain.policy import Token
from defiyield_assets.domain.prices.curation import (
    BAR_COLUMNS,
    curate_daily_bars,
    latest_market_caps,
    price_disagreements,
)
from defiyield_assets.domain.prices.instruments import INSTRUMENT_COLUMNS, build_instruments
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid

DAY = date(2025, 6, 2)
ONE = DayRange.of(DAY)
USDC = Token("USDC", "Ethereum", "0xa", 6, "Circle", cmc_id=3408, coingecko_id="usd-coin")
DAI = Token("DAI", "Ethereum", "0xb", 18, "Sky")
INSTRUMENTS = build_instruments([USDC, DAI])
CMC_COLUMNS = [column.name for column in schema.ohlcv_coinmarketcap.columns]
CLOSE_COLUMNS = [column.name for column in schema.closes_defillama.columns]


def cmc(token: Token = USDC, day: date = DAY, **more: Any) -> dict[str, Any]:
    row = {
        "instrument_id": token.instrument_id,
        "interval": "1d",
        "ts": start_of(day),
        "date": day,
        "open": 1.0,
        "high": 1.01,
        "low": 0.99,
        "close": 1.001,
        "volume_usd": 5e6,
        "market_cap_usd": 1e9,
        "fetched_at": market_stamp(day),
    }
    return row | more


def close(token: Token = USDC, day: date = DAY, **more: Any) -> dict[str, Any]:
    row = {
        "instrument_id": token.instrument_id,
        "interval": "1d",
        "ts": start_of(day),
        "date": day,
        "close": 0.999,
        "confidence": 0.99,
        "symbol": token.symbol,
        "decimals": 6,
        "fetched_at": market_stamp(day),
    }
    return row | more


def told(
    bars: list[dict[str, Any]], closes: list[dict[str, Any]], gecko: list[dict[str, Any]] | None = None
) -> dict[str, pd.DataFrame]:
    """The vendors' tables, as one hands them to the curation; the order of the vendors does not matter."""
    return {
        "defillama_coins": pd.DataFrame(closes, columns=CLOSE_COLUMNS),
        "coingecko": pd.DataFrame(gecko or [], columns=CMC_COLUMNS),
        "coinmarketcap": pd.DataFrame(bars, columns=CMC_COLUMNS),
    }


def curate(
    bars: list[dict[str, Any]],
    closes: list[dict[str, Any]],
    days: DayRange = ONE,
    gecko: list[dict[str, Any]] | None = None,
) -> pd.DataFrame:
    frame = curate_daily_bars(told(bars, closes, gecko), INSTRUMENTS, days)
    require_valid(schema.daily_bars, frame)
    return frame


def test_columns_are_those_of_the_tables() -> None:
    assert list(BAR_COLUMNS) == [column.name for column in schema.daily_bars.columns]
    assert list(INSTRUMENT_COLUMNS) == [column.name for column in schema.instruments.columns]
    assert curate([], []).empty


def test_instruments_of_tokens() -> None:
    require_valid(schema.instruments, INSTRUMENTS)
    row = INSTRUMENTS.set_index("symbol").loc["USDC"]
    assert (row["instrument_id"], row["cmc_id"], row["calendar"]) == ("ethereum:0xa", 3408, "24x7")
    assert INSTRUMENTS.set_index("symbol").loc["DAI", "cmc_id"] is None
    require_valid(schema.instruments, build_instruments([]))


def test_a_full_bar_beats_a_close_and_closes_fill_the_rest() -> None:
    frame = curate([cmc()], [close(), close(DAI)])
    assert frame[["source", "quality", "close"]].to_numpy().tolist() == [
        ["coinmarketcap", "full", 1.001],
        ["defillama_coins", "close_only", 0.999],
    ]
    assert frame.loc[0, ["open", "high", "low", "volume_usd", "market_cap_usd", "adj_factor"]].tolist() == [
        1.0,
        1.01,
        0.99,
        5e6,
        1e9,
        1.0,
    ]
    assert frame.loc[0, "volume_source"] == "coinmarketcap"
    assert frame.loc[1, ["open", "high", "low", "volume_usd", "market_cap_usd"]].isna().all()


def test_confidence_zero_is_an_assumed_price() -> None:
    assert curate([], [close(confidence=0.0)])["quality"].tolist() == ["assumed"]
    assert curate([], [close(confidence=None)])["quality"].tolist() == ["close_only"]


@pytest.mark.parametrize(
    "bad", [{"low": 1.0005}, {"high": 1.0}, {"low": 0.0}, {"open": None}, {"low": 1.02, "high": 1.03}]
)
def test_a_bar_that_contradicts_itself_keeps_only_its_close(bad: dict[str, Any]) -> None:
    frame = curate([cmc(**bad)], [close()])
    assert frame.loc[0, ["source", "quality"]].tolist() == ["coinmarketcap", "close_only"]
    assert frame.loc[0, ["open", "high", "low"]].isna().all()
    assert frame.loc[0, "close"] == 1.001


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_close_that_is_not_positive_is_no_price(bad: float) -> None:
    assert curate([cmc(close=bad)], [close()])["source"].tolist() == ["defillama_coins"]
    assert curate([], [close(close=bad)]).empty


def test_market_cap_zero_is_unknown_and_early_prints_are_kept() -> None:
    frame = curate([cmc(market_cap_usd=0.0, volume_usd=None, high=2.35)], [])
    assert np.isnan(frame.loc[0, "market_cap_usd"])
    assert frame.loc[0, "high"] == 2.35
    assert frame.loc[0, "volume_source"] is None


def test_only_listed_instruments_and_wanted_days_and_nothing_is_carried() -> None:
    unlisted = Token("X", "Ethereum", "0xc", 6, "X")
    yesterday = DAY - timedelta(days=1)
    assert curate([cmc(unlisted), cmc(day=yesterday)], [close(DAI, yesterday)]).empty
    frame = curate([cmc(day=yesterday)], [], DayRange(yesterday, DAY))
    assert frame["date"].tolist() == [yesterday]


def test_the_latest_of_two_answers_for_a_day_counts_whatever_the_order() -> None:
    early, late = close(close=0.5), close(close=0.7, fetched_at=market_stamp(DAY + timedelta(days=1)))
    assert curate([], [early, late]).equals(curate([], [late, early]))
    assert curate([], [early, late])["close"].tolist() == [0.7]


def test_coinmarketcap_comes_before_coingecko_and_coingecko_before_defillama() -> None:
    assert curate([cmc(close=1.0)], [close()], gecko=[cmc(close=0.995)])["source"].tolist() == ["coinmarketcap"]
    frame = curate([], [close()], gecko=[cmc(close=0.995, market_cap_usd=3e9)])
    assert frame[["source", "quality", "close", "low", "market_cap_usd", "volume_source"]].values.tolist() == [
        ["coingecko", "full", 0.995, 0.99, 3e9, "coingecko"]
    ]
    assert curate([cmc(close=0.0)], [close()], gecko=[cmc(close=0.0)])["source"].tolist() == ["defillama_coins"]


def test_a_coingecko_day_without_candles_is_a_close_with_its_market_cap() -> None:
    frame = curate([], [], gecko=[cmc(open=None, high=None, low=None, close=0.998, market_cap_usd=2e9)])
    row = frame.iloc[0]
    assert (row["source"], row["quality"], row["close"], row["market_cap_usd"]) == (
        "coingecko",
        "close_only",
        0.998,
        2e9,
    )
    assert frame[["open", "high", "low"]].isna().all(axis=None)


def test_any_two_of_three_sources_that_disagree_are_named() -> None:
    answers = told([cmc(), cmc(DAI, close=1.0)], [close(), close(DAI, close=0.95)], [cmc(DAI, close=0.9999)])
    found, n_pairs = price_disagreements(answers, ONE)
    assert n_pairs == 4, "USDC in two, DAI in three"
    assert found["instrument_id"].tolist() == [DAI.instrument_id] * 2
    assert found[["first_source", "second_source"]].values.tolist() == [
        ["coingecko", "defillama_coins"],
        ["coinmarketcap", "defillama_coins"],
    ]
    assert found["difference"].tolist() == pytest.approx([0.95 / 0.9999 - 1, -0.05])
    nothing, none = price_disagreements(told([], [close()]), ONE)
    assert (len(nothing), none) == (0, 0)


@pytest.mark.parametrize(("second", "is_apart"), [(0.99, False), (0.98999, True), (1.01, False), (1.0101, True)])
def test_a_difference_of_one_percent_is_still_agreement(second: float, is_apart: bool) -> None:
    found, _ = price_disagreements(told([cmc(close=1.0)], [close(close=second)]), ONE)
    assert (len(found) == 1) is is_apart


def test_an_assumed_close_is_no_second_opinion() -> None:
    found, n_pairs = price_disagreements(told([cmc(close=1.0)], [close(close=0.5, confidence=0.0)]), ONE)
    assert (len(found), n_pairs) == (0, 0)


def test_a_snapshot_of_the_market_stands_in_where_no_bar_tells_a_capitalisation() -> None:
    frame = curate([cmc(market_cap_usd=7.0), cmc(DAI, market_cap_usd=0.0)], [])
    markets = pd.DataFrame(
        [(DAY - timedelta(days=1), USDC.instrument_id, 1.0), (DAY - timedelta(days=1), DAI.instrument_id, 2.0)],
        columns=["date", "instrument_id", "market_cap_usd"],
    )
    assert latest_market_caps(frame, DAY, markets=markets) == {USDC.instrument_id: 7.0, DAI.instrument_id: 2.0}
    assert latest_market_caps(frame, DAY + timedelta(days=7), markets=markets) == {USDC.instrument_id: 7.0}
    assert latest_market_caps(frame, DAY - timedelta(days=2), markets=markets) == {}, "nothing later is read"


def test_the_newest_market_cap_of_the_last_week() -> None:
    frame = curate(
        [cmc(market_cap_usd=7.0), cmc(day=DAY - timedelta(days=1), market_cap_usd=8.0)],
        [],
        DayRange(DAY - timedelta(days=1), DAY),
    )
    assert latest_market_caps(frame, DAY) == {USDC.instrument_id: 7.0}
    assert latest_market_caps(frame, DAY - timedelta(days=1)) == {USDC.instrument_id: 8.0}
    assert latest_market_caps(frame, DAY + timedelta(days=7)) == {USDC.instrument_id: 7.0}
    assert latest_market_caps(frame, DAY + timedelta(days=8)) == {}
