"""Alpha Vantage: what its words in an HTTP 200 mean, which answer is asked for, typed sessions, who is missing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources.alpha_vantage import (
    BAR_COLUMNS,
    COMPACT_DAYS,
    AlphaVantage,
    outputsize_for,
    parse_daily_adjusted,
    parse_earnings,
    refuse_error,
)
from defiyield_assets.sources.transport import Window
from defiyield_assets_tests.sources.conftest import KEYS, MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import sample

DAYS = DayRange(date(2025, 10, 20), date(2025, 10, 23))
PREMIUM = "You may subscribe to any of the premium plans at https://www.alphavantage.co/premium/"
MINUTE = {
    "Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls "
    "per day. Please visit https://www.alphavantage.co/premium/ if you would like to target a higher API call "
    "frequency."
}
SECOND = {
    "Information": "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more "
    f"sparingly (1 request per second). {PREMIUM} to lift the free key rate limit (25 requests per day), raise the "
    "per-second burst limit, and instantly unlock all premium endpoints"
}
DAY = {
    "Information": "We have detected your API key as ABC and our standard API rate limit is 25 requests per day. "
    "Please subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to instantly remove all "
    "daily rate limits."
}
OLD_DAY = {
    "Note": "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per day. Please visit "
    "https://www.alphavantage.co/premium/ if you would like to target a higher API call frequency."
}
BUSY = {"Information": "Please contact premium@alphavantage.co if you are targeting a higher API call volume."}
NOT_IN_PLAN = {
    "Information": "Thank you for using Alpha Vantage! This is a premium endpoint. "
    f"{PREMIUM} to instantly unlock all premium endpoints"
}
BAD_KEY = {
    "Error Message": "the parameter apikey is invalid or missing. Please claim your free API key on "
    "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
}
DEMO = {"Information": "The **demo** API key is for demo purposes only. Please claim your free API key at (…)"}
UNKNOWN = {
    "Error Message": "Invalid API call. Please retry or visit the documentation "
    "(https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY_ADJUSTED."
}
REFUSALS: list[tuple[dict[str, str], type[VendorError], str]] = [
    (MINUTE, VendorThrottled, "5 calls per minute"),
    (SECOND, VendorThrottled, "1 request per second"),
    (BUSY, VendorThrottled, "higher API call volume"),
    (DAY, VendorPlanLimit, "25 requests per day"),
    (OLD_DAY, VendorPlanLimit, "25 requests per day"),
    (NOT_IN_PLAN, VendorAuthError, "takes a premium plan"),
    (BAD_KEY, VendorAuthError, "apikey is invalid"),
    (DEMO, VendorAuthError, "demo purposes only"),
    (UNKNOWN, VendorNotFound, "Invalid API call"),
    ({"Note": "words that nobody knows"}, VendorThrottled, "nobody knows"),
    ({"Information": "words that nobody knows"}, VendorUnavailable, "nobody knows"),
    ({"Error Message": "words that nobody knows"}, VendorNotFound, "nobody knows"),
]


def shares(**named: Any) -> Callable[[httpx.Request], httpx.Response]:
    """A vendor with an answer of its own for some symbols; every other symbol has the sample's sessions."""

    def reply(request: httpx.Request) -> httpx.Response:
        symbol = request.url.params["symbol"]
        answer = sample("shares")
        answer["Meta Data"]["2. Symbol"] = symbol
        found = named.get(symbol, answer)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    return reply


def asked(*symbols: str, days: DayRange = DAYS, **options: Any) -> Callable[[Any], Any]:
    return lambda gateway: AlphaVantage(gateway).daily_adjusted(symbols, days, **options)


# --- errors in a 200 -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("answer", "error", "words"), REFUSALS)
def test_what_the_vendor_says_in_a_200_is_an_error_of_its_kind(
    answer: dict[str, str], error: type[VendorError], words: str
) -> None:
    with pytest.raises(VendorError, match=words) as caught:
        refuse_error(answer)
    assert type(caught.value) is error


def test_an_answer_without_such_words_is_none() -> None:
    for answer in (sample("shares"), sample("earnings"), {}, [], None, "Note"):
        refuse_error(answer)


@pytest.mark.parametrize(
    ("answer", "error", "attempts"),
    [(MINUTE, VendorThrottled, 5), (DAY, VendorPlanLimit, 1), (NOT_IN_PLAN, VendorAuthError, 1)],
)
def test_what_concerns_the_key_is_fatal_although_others_were_told(
    world: WorldMaker, answer: dict[str, str], error: type[VendorError], attempts: int
) -> None:
    here = world(shares(KO=answer))
    with pytest.raises(error):
        here.run(asked("MSFT", "KO", "PG"))
    sent = [request.url.params["symbol"] for request in here.vendors.requests]
    assert sent.count("KO") == attempts


@pytest.mark.parametrize("answer", [NOT_IN_PLAN, BAD_KEY, DAY])
def test_a_key_that_is_refused_costs_one_call(world: WorldMaker, answer: dict[str, str]) -> None:
    here = world(answer)
    with pytest.raises(VendorError):
        here.run(asked("MSFT", "KO", "PG"))
    assert len(here.vendors.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (UNKNOWN, "VendorNotFound"),
        ({}, "VendorNotFound"),
        ({"Meta Data": {}}, "VendorMalformed"),
        (httpx.Response(503), "VendorUnavailable"),
    ],
)
def test_one_symbol_that_fails_is_missing_by_name(world: WorldMaker, answer: Any, error_class: str) -> None:
    here = world(shares(NOPE=answer))
    fetched = here.run(asked("MSFT", "NOPE", "PG"))
    assert (fetched.missing, fetched.rows["symbol"].unique().tolist()) == (("NOPE",), ["MSFT", "PG"])
    assert error_class in [fetch.error_class for fetch in here.archive.fetches]


def test_when_nobody_is_told_the_error_itself_is_raised(world: WorldMaker) -> None:
    with pytest.raises(VendorNotFound, match="Invalid API call"):
        world(UNKNOWN).run(asked("NOPE", "NEITHER"))
    with pytest.raises(VendorUnavailable):
        world(httpx.Response(500)).run(asked("MSFT", "PG"))


def test_the_key_is_in_the_query_alone_and_redacted_where_the_vendor_repeats_it(world: WorldMaker) -> None:
    key = KEYS["alpha_vantage"]
    here = world({"Information": f"We have detected your API key as {key} and our limit is 25 requests per day."})
    with pytest.raises(VendorPlanLimit, match="redacted") as caught:
        here.run(asked("MSFT"))
    assert here.vendors.requests[0].url.params["apikey"] == key
    kept = [repr(here.archive.fetches), repr(here.archive.bodies), str(caught.value)]
    assert not any(key in text for text in kept)


# --- which answer is asked for ---------------------------------------------------------------------------------------
def test_no_more_sessions_than_a_compact_answer_has_fit_the_days_that_it_is_asked_for() -> None:
    for weekday in range(7):
        present = date(2025, 10, 20) + timedelta(days=weekday)
        first = present - timedelta(days=COMPACT_DAYS)
        assert len(pd.bdate_range(first, present)) <= 100
        assert outputsize_for(first, present) == "compact"
        assert outputsize_for(first - timedelta(days=1), present) == "full"


def test_how_far_back_is_asked_decides_and_an_own_choice_goes_before(world: WorldMaker) -> None:
    long = DayRange(date(2024, 10, 23), date(2025, 10, 23))
    for days, options, size in (
        (DAYS, {}, "compact"),
        (long, {}, "full"),
        (DAYS, {"outputsize": "full"}, "full"),
    ):
        here = world(shares())
        here.run(asked("MSFT", days=days, **options))
        params = dict(here.vendors.requests[0].url.params)
        assert {name: params[name] for name in ("function", "symbol", "outputsize")} == {
            "function": "TIME_SERIES_DAILY_ADJUSTED",
            "symbol": "MSFT",
            "outputsize": size,
        }


def test_archived_answers_stand_in_only_while_they_reach_the_range() -> None:
    here = World(Vendors(shares()), MemoryArchive())
    window = Window(datetime(2025, 10, 24, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    first = here.run(asked("MSFT", reuse=window))
    again = here.run(asked("MSFT", reuse=window))
    assert again.rows.equals(first.rows)
    assert (again.from_archive, len(here.vendors.requests)) == (True, 1)
    late = datetime(2025, 10, 20, tzinfo=UTC) + timedelta(days=COMPACT_DAYS, hours=1)
    here.now = late
    for n_sent in (2, 3):
        here.run(asked("MSFT", reuse=Window(late, window.not_after), outputsize="compact"))
        assert len(here.vendors.requests) == n_sent, "a compact answer of that day may not reach the range any more"


# --- rows ------------------------------------------------------------------------------------------------------------
def test_sessions_become_typed_rows_ascending(world: WorldMaker) -> None:
    fetched = world(shares()).run(asked("PG", "MSFT"))
    assert tuple(fetched.rows.columns) == BAR_COLUMNS
    assert fetched.rows[["symbol", "date"]].to_numpy().tolist() == [
        ["MSFT", date(2025, 10, 22)],
        ["MSFT", date(2025, 10, 23)],
        ["PG", date(2025, 10, 22)],
        ["PG", date(2025, 10, 23)],
    ]
    assert fetched.rows.iloc[1].to_dict() == {
        "symbol": "MSFT",
        "interval": "1d",
        "ts": pd.Timestamp("2025-10-23", tz="UTC"),
        "date": date(2025, 10, 23),
        "open": 50.3,
        "high": 51.0,
        "low": 49.86,
        "close": 50.5,
        "adjusted_close": 50.5,
        "volume_units": 17942632.0,
        "dividend": 0.0,
        "split_coefficient": 2.0,
    }
    assert fetched.missing == ()


def test_a_running_session_is_no_bar_and_a_range_without_one_misses_nobody(world: WorldMaker) -> None:
    here = world(shares())
    here.now = datetime(2025, 10, 23, 20, 30, tzinfo=UTC)
    assert here.run(asked("MSFT")).rows["date"].tolist() == [date(2025, 10, 22)], "New York has not closed for good"
    weekend = here.run(asked("MSFT", days=DayRange(date(2025, 10, 18), date(2025, 10, 19))))
    assert (len(weekend.rows), weekend.missing) == (0, ())
    assert tuple(weekend.rows.columns) == BAR_COLUMNS
    assert tuple(here.run(asked()).rows.columns) == BAR_COLUMNS


@pytest.mark.parametrize(
    ("name", "value"),
    [("1. open", "x"), ("4. close", None), ("6. volume", "-1"), ("8. split coefficient", "0.0000"), ("2. high", True)],
)
def test_a_session_that_cannot_be_read_is_malformed(name: str, value: object) -> None:
    answer = sample("shares")
    answer["Time Series (Daily)"]["2025-10-22"][name] = value
    with pytest.raises(VendorMalformed, match=name):
        parse_daily_adjusted(answer, "MSFT")


def test_an_answer_about_another_symbol_is_malformed() -> None:
    assert len(parse_daily_adjusted(sample("shares"), "msft")) == 2, "case aside"
    with pytest.raises(VendorMalformed, match="'MSFT', asked for was 'PG'"):
        parse_daily_adjusted(sample("shares"), "PG")
    with pytest.raises(VendorMalformed, match="symbol"):
        parse_earnings(sample("earnings"), "PG")


# --- earnings --------------------------------------------------------------------------------------------------------
def test_quarters_are_typed_and_the_word_none_is_null(world: WorldMaker) -> None:
    here = world(sample("earnings"))
    fetched = here.run(lambda gateway: AlphaVantage(gateway).earnings("MSFT"))
    assert here.vendors.requests[0].url.params["function"] == "EARNINGS"
    old, new = fetched.rows.to_dict("records")
    assert new == {
        "symbol": "MSFT",
        "fiscal_date_ending": date(2025, 6, 30),
        "reported_date": date(2025, 7, 29),
        "reported_eps": 3.65,
        "estimated_eps": 3.37,
        "surprise": 0.28,
        "surprise_fraction": 8.3086 / 100,
        "report_time": "post-market",
    }
    assert (old["fiscal_date_ending"], old["reported_eps"], old["report_time"]) == (date(1996, 3, 31), 0.05, None)
    assert pd.isna([old["estimated_eps"], old["surprise"], old["surprise_fraction"]]).all()


def test_a_fund_without_earnings_is_missing_and_a_bad_key_is_not(world: WorldMaker) -> None:
    for answer in ({}, UNKNOWN, {"symbol": "SPY", "annualEarnings": [], "quarterlyEarnings": []}):
        fetched = world(answer).run(lambda gateway: AlphaVantage(gateway).earnings("SPY"))
        assert (len(fetched.rows), fetched.missing) == (0, ("SPY",))
        assert "surprise_fraction" in fetched.rows
    with pytest.raises(VendorAuthError):
        world(BAD_KEY).run(lambda gateway: AlphaVantage(gateway).earnings("SPY"))
