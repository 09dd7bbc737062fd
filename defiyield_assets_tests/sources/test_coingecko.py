"""CoinGecko: days made of candles, charts at midnight, what is missing, plans, and the vendor's own error codes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.errors import (
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources.coingecko import (
    BAR_COLUMNS,
    DAY,
    FOUR_DAYS,
    FOUR_HOURS,
    HALF_HOUR,
    CoinGecko,
    candle_length,
    days_of_candles,
    parse_candles,
    parse_daily_chart,
    parse_markets,
    refuse_error,
)
from defiyield_assets.sources.transport import Window
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import sample

DAY_23 = date(2025, 10, 23)
SETTLED = datetime(2025, 10, 24, 0, 35, tzinfo=UTC)
ONE_DAY = DayRange.of(DAY_23)


def test_a_day_is_its_six_candles_by_the_time_of_their_close() -> None:
    days = days_of_candles(parse_candles(sample("candles")), FOUR_HOURS, SETTLED)
    assert days.to_dict("records") == [{"date": DAY_23, "open": 1.0, "high": 1.01, "low": 0.98, "close": 0.9996}]


def test_the_candle_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    shifted = [[at + 14_400_000, *prices] for at, *prices in sample("candles")]
    assert days_of_candles(parse_candles(shifted), FOUR_HOURS, SETTLED).empty


@pytest.mark.parametrize("lost", range(6))
def test_a_day_without_one_of_its_candles_is_no_day(lost: int) -> None:
    candles = sample("candles")
    del candles[lost]
    assert days_of_candles(parse_candles(candles), FOUR_HOURS, SETTLED).empty


def test_a_day_with_a_candle_too_many_is_no_day() -> None:
    candles = [*sample("candles"), [1761199200000, 1, 9, 1, 1]]
    assert days_of_candles(parse_candles(candles), FOUR_HOURS, SETTLED).empty


@pytest.mark.parametrize(("minutes", "n_days"), [(-60, 0), (0, 0), (29, 0), (30, 1), (35, 1)])
def test_a_day_counts_once_it_is_settled(minutes: int, n_days: int) -> None:
    fetched_at = end_of(DAY_23) + timedelta(minutes=minutes)
    assert len(days_of_candles(parse_candles(sample("candles")), FOUR_HOURS, fetched_at)) == n_days


def test_a_candle_of_four_days_is_never_a_day() -> None:
    candles = parse_candles([[1761264000000, 1, 1, 1, 1], [1761609600000, 1, 1, 1, 1]])
    assert days_of_candles(candles, FOUR_DAYS, SETTLED + timedelta(days=9)).empty


def test_candle_lengths_follow_the_span() -> None:
    spans = {1: HALF_HOUR, 2: HALF_HOUR, 3: FOUR_HOURS, 30: FOUR_HOURS, 31: FOUR_DAYS, 365: FOUR_DAYS}
    assert {span: candle_length(span) for span in spans} == spans


@given(
    st.sampled_from([HALF_HOUR, FOUR_HOURS, DAY]),
    st.lists(st.integers(0, 47), max_size=30, unique=True),
    st.integers(0, 96),
    st.data(),
)
def test_days_agree_with_reading_candle_by_candle(
    step: timedelta, lost: list[int], late: int, data: st.DataObject
) -> None:
    first, count = date(2025, 3, 1), 2 * (DAY // step)
    candles: list[list[Any]] = []
    for k in range(count):
        low, high = sorted(data.draw(st.tuples(st.integers(1, 50), st.integers(50, 99))))
        if k not in lost:
            close = start_of(first) + (k + 1) * step
            candles.append([int(close.timestamp() * 1000), low, high, low, high])
    fetched_at = start_of(first) + timedelta(hours=late)
    expected = {}
    for day in (first, first + DAY):
        own = [c for c in candles if start_of(day).timestamp() * 1000 < c[0] <= end_of(day).timestamp() * 1000]
        if len(own) == DAY // step and fetched_at >= end_of(day) + timedelta(minutes=30):
            expected[day] = (own[0][1], max(c[2] for c in own), min(c[3] for c in own), own[-1][4])
    rows = days_of_candles(parse_candles(candles), step, fetched_at)
    assert {row.date: (row.open, row.high, row.low, row.close) for row in rows.itertuples()} == expected


def test_chart_points_are_midnights_of_the_day_that_ends_there() -> None:
    rows = parse_daily_chart(sample("daily_chart"))
    assert rows["date"].tolist() == [date(2025, 10, 22), DAY_23]
    assert rows["price_usd"].tolist() == [1.0, 0.9996]
    assert rows["volume_usd"].tolist() == [1.1e6, 1.2e6]
    assert rows["market_cap_usd"].isna().tolist() == [True, False]


def test_a_point_in_the_middle_of_a_day_ends_no_day() -> None:
    noon = 1761264000000 - 12 * 3_600_000
    chart = {name: [[noon, 1.0], [noon + 7 * 3_600_000, 2.0]] for name in sample("daily_chart")}
    assert parse_daily_chart(chart).empty


def test_markets_are_a_snapshot_with_unknown_caps_as_null() -> None:
    rows = parse_markets(sample("coin_markets"))
    assert rows["coingecko_id"].tolist() == ["gho", "usd-coin"]
    assert rows["market_cap_usd"].isna().tolist() == [True, False]
    assert rows["volume_24h_usd"].tolist() == [0.0, 5_000_000_000.5]
    assert rows["max_supply"].fillna(-1).tolist() == [100_000_000.0, -1.0]
    told = rows[["circulating_supply", "total_supply", "market_cap_rank"]]
    assert told.fillna(-1).to_numpy().tolist() == [[-1.0] * 3, [60_012_000_000.5, 60_020_000_000.0, 7.0]]
    assert rows["updated_at"].tolist()[1] == pd.Timestamp("2025-10-24T00:30:01.123Z")


@pytest.mark.parametrize(("n_ids", "n_calls"), [(250, 1), (251, 2), (1_000, 4)])
def test_markets_ask_250_ids_a_call_and_name_the_silent_ones(n_ids: int, n_calls: int) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        ids = request.url.params["ids"].split(",")
        assert len(ids) <= 250
        rows = [{**sample("coin_markets")[0], "id": name} for name in ids if name != "coin-7"]
        return httpx.Response(200, json=rows)

    here = World(Vendors(reply), MemoryArchive())
    wanted = [f"coin-{n}" for n in range(n_ids)]
    fetched = here.run(lambda gateway: CoinGecko(gateway).markets(wanted))
    assert (len(fetched.rows), fetched.missing, len(here.vendors.requests)) == (n_ids - 1, ("coin-7",), n_calls)
    params = [dict(request.url.params) for request in here.vendors.requests]
    assert params[0].keys() == {"vs_currency", "ids", "per_page", "page"}
    assert {(told["per_page"], told["page"]) for told in params} == {("250", "1")}
    assert sorted(name for told in params for name in told["ids"].split(",")) == sorted(wanted), "each id once"


def test_a_coin_without_rank_or_with_a_strange_one() -> None:
    answer = sample("coin_markets")
    answer[0]["market_cap_rank"] = "x"
    with pytest.raises(VendorMalformed, match="market_cap_rank"):
        parse_markets(answer)
    for row in answer:
        del row["market_cap_rank"]
    assert parse_markets(answer)["market_cap_rank"].isna().all()


def coin_vendor(request: httpx.Request) -> httpx.Response:
    """GHO has candles and a chart, USDe a chart only; nobody else is known."""
    _, name, what = request.url.path.removeprefix("/api/v3").rsplit("/", 2)
    if name == "gho":
        return httpx.Response(200, json=sample("candles" if what == "ohlc" else "daily_chart"))
    if name == "usde":
        return httpx.Response(200, json=[] if what == "ohlc" else sample("daily_chart"))
    return httpx.Response(404, json={"error": "coin not found"})


def bars_world() -> World:
    return World(Vendors(coin_vendor), MemoryArchive(), now=SETTLED)


def test_daily_bars_join_candles_and_chart() -> None:
    here = bars_world()
    fetched = here.run(lambda gateway: CoinGecko(gateway).daily_bars(["usde", "gho", "nobody", "gho"], ONE_DAY))
    assert tuple(fetched.rows.columns) == BAR_COLUMNS
    assert fetched.missing == ("nobody",)
    gho, usde = fetched.rows.to_dict("records")
    assert (gho["coingecko_id"], gho["interval"], gho["ts"]) == ("gho", "1d", pd.Timestamp("2025-10-23", tz="UTC"))
    assert [gho[name] for name in BAR_COLUMNS[4:]] == [1.0, 1.01, 0.98, 0.9996, 1.2e6, 3.1e8]
    assert (usde["close"], usde["volume_usd"]) == (0.9996, 1.2e6)
    assert pd.isna([usde["open"], usde["high"], usde["low"]]).all()
    assert {request.url.params["days"] for request in here.vendors.requests} == {"30"}


def test_an_unsettled_day_has_no_bar_and_its_coin_is_missing() -> None:
    here = bars_world()
    here.now = end_of(DAY_23) + timedelta(minutes=10)
    fetched = here.run(lambda gateway: CoinGecko(gateway).daily_bars(["gho"], ONE_DAY))
    assert (len(fetched.rows), fetched.missing) == (0, ("gho",))
    assert tuple(fetched.rows.columns) == BAR_COLUMNS


def test_further_back_than_candles_reach_only_the_chart_is_asked() -> None:
    here = bars_world()
    here.now = SETTLED + timedelta(days=60)
    rows = here.run(lambda gateway: CoinGecko(gateway).daily_bars(["gho"], ONE_DAY)).rows
    assert [(request.url.path[-12:], request.url.params["days"]) for request in here.vendors.requests] == [
        ("market_chart", "90")
    ]
    assert rows[["close"]].to_numpy().tolist() == [[0.9996]]


def test_archived_answers_stand_in_while_they_reach_the_day() -> None:
    here = bars_world()
    window = Window(end_of(DAY_23), end_of(DAY_23) + timedelta(days=400))
    question = lambda gateway: CoinGecko(gateway).daily_bars(["gho"], ONE_DAY, window)  # noqa: E731
    first = here.run(question)
    here.now = SETTLED + timedelta(days=5)
    again = here.run(question)
    assert again.rows.equals(first.rows)
    assert (again.from_archive, len(here.vendors.requests)) == (True, 2)

    early = bars_world()
    early.now = end_of(DAY_23) + timedelta(minutes=1)
    early.run(question)
    early.now = SETTLED
    assert len(early.run(question).rows) == 1, "an answer from before the day was settled does not stand in"
    assert len(early.vendors.requests) == 4


def test_a_paid_plan_asks_for_daily_candles() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("market_chart"):
            return httpx.Response(200, json=sample("daily_chart"))
        assert request.url.params["interval"] == "daily"
        return httpx.Response(200, json=[[1761264000000, 1.0, 1.2, 0.9, 1.1]])

    here = World(Vendors(reply), MemoryArchive(), settings={"key_header": "x-cg-pro-api-key"}, now=SETTLED)
    rows = here.run(lambda gateway: CoinGecko(gateway).daily_bars(["gho"], ONE_DAY)).rows
    assert rows[["open", "high", "low", "close"]].to_numpy().tolist() == [[1.0, 1.2, 0.9, 1.1]]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": {"error_code": 429, "error_message": "You've exceeded the Rate Limit."}}, VendorThrottled),
        ({"status": {"error_code": 429, "error_message": "Your monthly limit is used up."}}, VendorPlanLimit),
        ({"status": {"error_code": 10002, "error_message": "API Key Missing"}}, VendorAuthError),
        ({"status": {"error_code": 10005, "error_message": "for PRO API users"}}, VendorAuthError),
        ({"error": {"status": {"error_code": 10012, "error_message": "past 365 days"}}}, VendorPlanLimit),
        ({"status": {"error_code": "?", "error_message": None}}, VendorUnavailable),
        ({"error": "coin not found"}, VendorNotFound),
        ({"error": "Could not find coin with the given id"}, VendorNotFound),
        ({"error": "something broke"}, VendorUnavailable),
    ],
)
def test_the_vendors_own_words_are_typed_errors(answer: dict[str, Any], error: type[VendorError]) -> None:
    with pytest.raises(error):
        refuse_error(answer)


def test_a_refusal_that_is_not_about_the_coin_is_no_missing_coin(world: WorldMaker) -> None:
    status = {"error_code": 10002, "error_message": "API Key Missing"}
    for refusal, error in (
        (httpx.Response(401, json={"status": status}), VendorAuthError),
        (httpx.Response(400, json={"error": "Invalid days parameter"}), VendorNotFound),
    ):
        with pytest.raises(error):
            world(refusal).run(lambda gateway: CoinGecko(gateway).daily_bars(["gho"], ONE_DAY))


@pytest.mark.parametrize(
    "answer",
    [None, {}, [1], [[1]], [[1761264000000, 1, 1, 1]], [[1761264000000, 1, "x", 1, 1]], [[-1, 1, 1, 1, 1]]],
)
def test_malformed_candles_are_refused(answer: object) -> None:
    with pytest.raises(VendorMalformed):
        parse_candles(answer)


def test_a_candle_must_hold_its_open_and_close() -> None:
    with pytest.raises(VendorMalformed, match="high and low"):
        parse_candles([[1761264000000, 1.0, 1.1, 1.05, 1.08]])
