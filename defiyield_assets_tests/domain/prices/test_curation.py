"""Tests of domain/prices/curation.py."""

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
from defiyield_assets.domain.prices.instruments import INSTRUMENT_COLUMNS, Instrument, build_instruments
from defiyield_assets.domain.prices.intraday import CSV_DAILY_COLUMNS
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


# --- more than crypto ------------------------------------------------------------------------------------------------
ACME = Instrument("ACME", "equity", "us", "XNYS", alpha_vantage_symbol="ACME")
PENCE = Instrument("PNC", "equity", "uk", "XLON", alpha_vantage_symbol="PNC.LON", price_scale=100.0)
AV_COLUMNS = [column.name for column in schema.ohlcv_alpha_vantage.columns]
OBSERVATION_COLUMNS = [column.name for column in schema.observations.columns]


def share(instrument: Instrument = ACME, day: date = DAY, **more: Any) -> dict[str, Any]:
    row = {
        "instrument_id": instrument.instrument_id,
        "interval": "1d",
        "ts": start_of(day),
        "date": day,
        "open": 100.0,
        "high": 102.0,
        "low": 99.0,
        "close": 101.0,
        "adjusted_close": 50.5,
        "volume_units": 1e6,
        "dividend": 0.0,
        "split_coefficient": 1.0,
        "fetched_at": market_stamp(day),
    }
    return row | more


def file_day(instrument_id: str, day: date = DAY, **more: Any) -> dict[str, Any]:
    """A row of `intraday.csv_daily_rows`."""
    row = {
        "instrument_id": instrument_id,
        "date": day,
        "open": 7.0,
        "high": 8.0,
        "low": 6.0,
        "close": 7.5,
        "volume_units": 3.0,
        "volume_usd": None,
        "market_cap_usd": None,
        "is_adjusted": False,
        "quality": "full",
        "source": "csv:desk",
        "ts": start_of(day),
    }
    return row | more


def observed(metric: str, value: float, token: Token = USDC, **more: Any) -> dict[str, Any]:
    row = {
        "source": "coingecko",
        "instrument_id": token.instrument_id,
        "metric": metric,
        "observed_at": market_stamp(DAY),
        "date": DAY,
        "value": value,
        "fetched_at": market_stamp(DAY),
    }
    return row | more


def curate_all(
    instruments: pd.DataFrame,
    shares: list[dict[str, Any]] | None = None,
    files: list[dict[str, Any]] | None = None,
    seen: list[dict[str, Any]] | None = None,
    **more: Any,
) -> pd.DataFrame:
    answers = {
        "alpha_vantage": pd.DataFrame(shares or [], columns=AV_COLUMNS),
        "csv": pd.DataFrame(files or [], columns=list(CSV_DAILY_COLUMNS)),
        "observations": pd.DataFrame(seen or [], columns=OBSERVATION_COLUMNS),
    }
    frame = curate_daily_bars({**told([], []), **answers, **more.pop("answers", {})}, instruments, ONE, **more)
    require_valid(schema.daily_bars, frame)
    return frame


def test_volume_in_units_and_in_dollars_are_never_made_into_each_other() -> None:
    frame = curate_all(build_instruments([USDC], [ACME]), [share()], answers=told([cmc()], []))
    by_id = frame.set_index("instrument_id")
    stock, token = by_id.loc[ACME.instrument_id], by_id.loc[USDC.instrument_id]
    assert (stock["volume_units"], stock["volume_source"], stock["instrument_type"]) == (1e6, "alpha_vantage", "equity")
    assert np.isnan(stock["volume_usd"])
    assert token["volume_usd"] == 5e6
    assert np.isnan(token["volume_units"])
    assert (stock["close"], stock["adj_factor"]) == (101.0, 1.0), "raw, and not as the vendor adjusts it"


def test_quotes_in_pence_become_pounds_and_volume_stays() -> None:
    frame = curate_all(
        build_instruments((), [PENCE]), [share(PENCE)], [file_day(PENCE.instrument_id, volume_units=9.0)]
    )
    assert frame.loc[0, ["open", "high", "low", "close", "volume_units"]].tolist() == [1.0, 1.02, 0.99, 1.01, 1e6]


def test_the_order_of_sources_is_the_configurations_and_an_unlisted_source_is_not_heard() -> None:
    known, files = build_instruments((), [ACME]), [file_day(ACME.instrument_id)]
    assert curate_all(known, [share()], files)["source"].tolist() == ["alpha_vantage"]
    turned = curate_all(known, [share()], files, priority={"equity": ["csv", "alpha_vantage"]})
    assert turned[["source", "close", "volume_source"]].values.tolist() == [["csv:desk", 7.5, "csv:desk"]]
    assert curate_all(known, [share()], [], priority={"equity": ["csv"]}).empty


def test_a_volume_comes_from_the_next_source_that_tells_one_and_says_so() -> None:
    frame = curate_all(
        build_instruments([USDC]),
        files=[file_day(USDC.instrument_id, volume_usd=4.0, volume_units=4.0)],
        answers=told([cmc(volume_usd=None)], [close()], [cmc(volume_usd=None)]),
    )
    row = frame.iloc[0]
    assert (row["source"], row["volume_source"], row["volume_usd"], row["volume_units"]) == (
        *("coinmarketcap", "csv:desk"),
        *(4.0, 4.0),
    )


@pytest.mark.parametrize("quality", ["full", "partial", "masked_gap", "close_only"])
def test_a_files_row_brings_its_quality(quality: str) -> None:
    frame = curate_all(build_instruments((), [ACME]), files=[file_day(ACME.instrument_id, quality=quality)])
    assert frame[["quality", "source"]].values.tolist() == [[quality, "csv:desk"]]


def test_files_of_adjusted_prices_and_contradicting_ones_are_closes() -> None:
    known = build_instruments((), [ACME])
    for more in ({"is_adjusted": True}, {"low": 9.0, "quality": "partial"}):
        frame = curate_all(known, files=[file_day(ACME.instrument_id, **more)])
        assert frame["quality"].tolist() == ["close_only"]
        assert frame[["open", "high", "low"]].isna().all(axis=None)


def test_an_observation_is_a_bar_only_as_the_last_resort_and_flagged() -> None:
    seen = [observed("price_usd", 0.998), observed("volume_24h_usd", 5.0), observed("market_cap_usd", 6.0)]
    row = curate_all(build_instruments([USDC]), seen=seen).iloc[0]
    assert (row["quality"], row["close"], row["volume_usd"], row["market_cap_usd"], row["source"]) == (
        *("snapshot", 0.998, 5.0, 6.0),
        "coingecko",
    )
    assert row[["open", "high", "low"]].isna().all()
    rest = {"seen": [*seen, observed("high_24h_usd", 1.2), observed("low_24h_usd", 0.8)]}
    whole = curate_all(build_instruments([USDC]), answers=told([], [close()]), **rest)
    assert whole["quality"].tolist() == ["close_only"]
    assert whole[["volume_usd", "volume_source"]].isna().all(axis=None), "rolling 24 hours are no day's volume"


@pytest.mark.parametrize("hours", [-2, 2])
def test_an_observation_far_from_the_days_end_is_no_bar(hours: int) -> None:
    late = market_stamp(DAY) + timedelta(hours=hours)
    assert curate_all(build_instruments([USDC]), seen=[observed("price_usd", 1.0, observed_at=late)]).empty
    assert curate_all(build_instruments([USDC]), seen=[observed("market_cap_usd", 1.0)]).empty, "no price, no bar"


def test_no_bar_before_listing_nor_from_the_day_of_delisting_on() -> None:
    for listing, n_bars in (
        ({"listed_at": DAY + timedelta(days=1)}, 0),
        ({"listed_at": DAY}, 1),
        ({"delisted_at": DAY}, 0),
        ({"delisted_at": DAY + timedelta(days=1)}, 1),
    ):
        known = build_instruments((), [Instrument("ACME", "equity", "us", "XNYS", **listing)])
        assert len(curate_all(known, [share()])) == n_bars, listing
