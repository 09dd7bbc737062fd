"""Simulated shares: sound raw sessions, dividends and splits that explain adjusted closes, earnings, Alpha Vantage.

Not here: that nothing rests on a later day (test_lookahead.py), the vendor's shape (sources/test_shapes_of_answers.py).
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.prices.calendars import sessions
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.generated_shares import DESIGNED_SPLIT
from defiyield_assets.simulator.market import Market
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets.simulator.share_records import ShareHistory
from defiyield_assets.sources.alpha_vantage import AlphaVantage
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.sources.vendors import default_vendors, without_pacing
from defiyield_assets_tests.simulator.asking import answer
from defiyield_assets_tests.simulator.conftest import SEED
from defiyield_assets_tests.sources.conftest import MemoryArchive

QUERY = "https://www.alphavantage.co/query"
DAILY = "TIME_SERIES_DAILY_ADJUSTED"
FIRST, SECOND, THIRD = "AAPL", "AMD", "BAC"
LAST = date(2028, 12, 29)


def told(market: Market, day: date, question: Callable[[Gateway], Awaitable[Any]]) -> Any:
    """What the product's own client makes of the market's answer."""

    async def ask() -> Any:
        vendors, now = without_pacing(default_vendors({})), market_stamp(day)
        async with Gateway(market.transport(day), MemoryArchive(), vendors, day, now=lambda: now) as gateway:
            return await question(gateway)

    return asyncio.run(ask())


def bars(market: Market, day: date, *symbols: str, days: int = 3_000) -> Fetched[pd.DataFrame]:
    span = DayRange(day - timedelta(days=days), day)
    fetched: Fetched[pd.DataFrame] = told(
        market, day, lambda gateway: AlphaVantage(gateway).daily_adjusted(symbols, span)
    )
    return fetched


def share(market: GeneratedMarket, symbol: str, day: date = LAST) -> ShareHistory:
    found = market.share(symbol, day)
    assert found is not None
    return found


def symbols_of(market: GeneratedMarket) -> list[str]:
    return [one.alpha_vantage_symbol for one in market.instruments if one.alpha_vantage_symbol]


def test_every_share_has_sound_sessions_in_cents(generated: GeneratedMarket) -> None:
    days = sessions("XNYS", DayRange(date(2023, 10, 1), LAST))
    assert len(symbols_of(generated)) >= 20
    for symbol in symbols_of(generated):
        one = share(generated, symbol)
        lost = set(days) - set(one.sessions)
        assert list(one.sessions) == [day for day in days if day not in lost]
        assert len(lost) == (symbol == THIRD), "one was halted for a day"
        assert all(day < DEMO_DAY < day + timedelta(days=20) for day in lost)
        assert (one.high >= np.maximum(one.open, one.close)).all()
        assert (one.low <= np.minimum(one.open, one.close)).all()
        assert (one.low > 0).all()
        assert (one.volume >= 1).all()
        assert np.array_equal(np.round(one.close, 2), one.close)
        assert (one.dividend >= 0).all()
        assert one.dividend.max() < 0.02 * one.close.max()
        assert set(one.split) <= {1.0, 2.0, 3.0, 4.0, 10.0, 0.1}


def test_adjusted_closes_are_raw_ones_less_what_came_later(generated: GeneratedMarket) -> None:
    """The vendor's adjusted closes, digit by digit as the definition spells them, and their returns as the owner's."""
    day = DEMO_DAY + timedelta(days=10)
    rows = bars(generated, day, FIRST, SECOND).rows
    for symbol, own in rows.groupby("symbol"):
        raw, adjusted = own["close"].tolist(), own["adjusted_close"].tolist()
        factor = 1.0
        for i in range(len(own) - 1, -1, -1):
            assert adjusted[i] == pytest.approx(raw[i] * factor, rel=1e-10), (symbol, i)
            if i:
                ex = own.iloc[i]
                factor *= (1 - ex["dividend"] / raw[i - 1]) / ex["split_coefficient"]
        assert np.abs(np.diff(np.log(adjusted))).max() < 0.25, "no jump where the raw close halves"
    split = rows[rows["split_coefficient"] != 1.0]
    assert split[["symbol", "date", "split_coefficient"]].to_numpy().tolist() == [
        [FIRST, date(2025, 6, 6), DESIGNED_SPLIT]
    ]
    before, after = rows[rows["symbol"] == FIRST].set_index("date")["close"].loc[[date(2025, 6, 5), date(2025, 6, 6)]]
    assert before / after == pytest.approx(DESIGNED_SPLIT, rel=0.15)
    paid = rows[(rows["symbol"] == SECOND) & (rows["dividend"] > 0)]["date"].tolist()
    assert paid[-1] == date(2025, 6, 5)
    assert {(b - a).days // 7 for a, b in itertools.pairwise(paid)} <= {12, 13}, "once a quarter"


def test_the_day_before_a_split_nothing_is_adjusted_for_it(generated: GeneratedMarket) -> None:
    before, after = (bars(generated, date(2025, 6, day), FIRST).rows.set_index("date") for day in (5, 6))
    raw = ["open", "high", "low", "close", "volume_units", "dividend", "split_coefficient"]
    assert before[raw].equals(after.loc[before.index, raw]), "raw sessions stay as they were told"
    shares = after.loc[before.index, "adjusted_close"] / before["adjusted_close"]
    assert shares.to_numpy() == pytest.approx(1 / DESIGNED_SPLIT, rel=1e-9)


def test_compact_is_the_newest_hundred_sessions_and_unknown_symbols_are_missing(generated: GeneratedMarket) -> None:
    body = answer(generated, DEMO_DAY, QUERY, function=DAILY, symbol="SPY")
    days = list(body["Time Series (Daily)"])
    assert (len(days), days[0], body["Meta Data"]["3. Last Refreshed"]) == (100, "2025-06-03", "2025-06-03")
    assert days == sorted(days, reverse=True)
    whole = answer(generated, DEMO_DAY, QUERY, function=DAILY, symbol="SPY", outputsize="full")["Time Series (Daily)"]
    assert {day: whole[day] for day in days} == body["Time Series (Daily)"]
    assert len(whole) > 400
    weekend = answer(generated, date(2025, 6, 8), QUERY, function=DAILY, symbol="SPY")
    assert next(iter(weekend["Time Series (Daily)"])) == "2025-06-06"
    fetched = bars(generated, DEMO_DAY, "SPY", "NOPE", days=5)
    assert (fetched.missing, fetched.rows["date"].tolist()[-1]) == (("NOPE",), DEMO_DAY)
    assert list(answer(generated, DEMO_DAY, QUERY, function="SMA", symbol="SPY")) == ["Error Message"]


def test_a_share_is_told_while_it_is_listed(generated: GeneratedMarket, policy: Policy, tmp_path: Path) -> None:
    listed, delisted = date(2024, 3, 4), date(2025, 6, 3)
    own = [
        replace(one, listed_at=listed, delisted_at=delisted) if one.symbol == "KO" else one
        for one in generated.instruments
    ]
    lists = (policy.wallets, policy.tokens, policy.protocols)
    market = GeneratedMarket(SEED, tmp_path / "chain.sqlite", *lists, instruments=own)
    ko, always = share(market, "KO"), share(generated, "KO")
    assert (ko.sessions[0], ko.sessions[-1]) == (listed, date(2025, 6, 2))
    place = always.sessions.index(listed)
    assert ko.close[:50].tolist() == always.close[place : place + 50].tolist(), "its numbers are its own"
    assert bars(market, listed - timedelta(days=4), "KO", "SPY").missing == ("KO",), "not listed yet: unknown"
    after = bars(market, DEMO_DAY + timedelta(days=30), "KO")
    assert (after.rows["date"].max(), after.missing) == (date(2025, 6, 2), ())


def test_earnings_are_told_once_they_are_out_and_move_the_price(generated: GeneratedMarket) -> None:
    rows = told(generated, DEMO_DAY, lambda gateway: AlphaVantage(gateway).earnings(FIRST)).rows
    assert rows["reported_date"].max() <= DEMO_DAY
    assert (rows["reported_date"] > rows["fiscal_date_ending"]).all()
    assert rows["estimated_eps"].isna().tolist() == [True] + [False] * (len(rows) - 1)
    exact = (rows["reported_eps"] - rows["estimated_eps"]).iloc[1:]
    assert rows["surprise"].iloc[1:].to_numpy() == pytest.approx(exact.to_numpy(), abs=0.006)
    quarter = rows.iloc[-1]
    day_before = quarter["reported_date"] - timedelta(days=1)
    earlier = told(generated, day_before, lambda gateway: AlphaVantage(gateway).earnings(FIRST)).rows
    assert quarter["fiscal_date_ending"] not in earlier["fiscal_date_ending"].tolist()
    assert told(generated, DEMO_DAY, lambda gateway: AlphaVantage(gateway).earnings("SPY")).missing == ("SPY",)
    reactions = []
    for symbol in symbols_of(generated):
        one, quarters = share(generated, symbol), generated.quarters(symbol, LAST) or []
        moves = dict(zip(one.sessions[1:], np.diff(np.log(one.adjusted_close())), strict=True))
        for told_quarter in quarters:
            near = [day for day in one.sessions if told_quarter.reported <= day][
                : 1 if told_quarter.is_before_open else 2
            ]
            if told_quarter.estimate and near and near[-1] in moves:
                reactions.append((told_quarter.eps / told_quarter.estimate - 1, moves[near[-1]]))
    assert len(reactions) > 300
    assert np.corrcoef(np.array(reactions).T)[0, 1] > 0.3, "a good report is a good day"


def returns_of(market: GeneratedMarket) -> pd.DataFrame:
    """Daily logarithmic returns of every company over the market's life."""
    closes = {
        symbol: pd.Series(share(market, symbol).adjusted_close(), index=share(market, symbol).sessions)
        for symbol in symbols_of(market)
        if symbol != "SPY"
    }
    return np.log(pd.DataFrame(closes)).diff().dropna()


@pytest.mark.recorded
def test_shares_move_like_recorded_ones(generated: GeneratedMarket, recorded_data: Path) -> None:
    """Volatility, tails and correlation of the last five recorded years of 20 companies, and of ours, in bands."""
    recorded = pd.read_csv(recorded_data / "equities/skfolio_sp500_20stocks_1990_2022.csv.gz", index_col=0)
    theirs, ours = np.log(recorded).diff().dropna().iloc[-1_300:], returns_of(generated)
    moments = {
        "volatility": lambda r: (r.std() * 252**0.5).median(),
        "kurtosis": lambda r: r.kurt().median(),
        "correlation": lambda r: np.median(r.corr().to_numpy()[np.triu_indices(r.shape[1], 1)]),
    }
    found = {name: measure(ours) / measure(theirs) for name, measure in moments.items()}
    bands = {"volatility": 1.3, "kurtosis": 2.0, "correlation": 1.4}
    assert all(1 / bands[name] < ratio < bands[name] for name, ratio in found.items()), found


def test_the_volatility_index_is_the_one_of_these_shares(generated: GeneratedMarket) -> None:
    told_index = {one.day: float(one.value or "nan") for one in generated.observations("VIXCLS", LAST) or []}
    assert 10 < np.median(list(told_index.values())) < 25
    market = returns_of(generated).mean(axis=1)
    calm, storm = (
        market[[d for d in market.index if d in told_index and (told_index[d] > 20) is is_high]]
        for is_high in (False, True)
    )
    assert storm.std() > 1.4 * calm.std()


@pytest.mark.recorded
def test_the_recorded_market_has_no_shares_and_is_not_asked_for_them(recorded: RecordedMarket) -> None:
    refused = answer(recorded, DEMO_DAY, QUERY, function=DAILY, symbol="SPY")
    assert "Invalid API call" in refused["Error Message"]
    resource = MarketResource(market="recorded", chain_path="unused", seed=7)
    assert not resource.has_key("alpha_vantage")
    assert resource.has_key("coinmarketcap")
    assert MarketResource(market="simulated", chain_path="unused", seed=7).has_key("alpha_vantage")
