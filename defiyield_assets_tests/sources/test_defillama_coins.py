"""DeFiLlama coins: which day a price closes, what is missing, how broad a request may be."""

from datetime import UTC, date, datetime, timedelta

import httpx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.errors import VendorEmpty, VendorMalformed
from defiyield_assets.sources.defillama_coins import DefiLlamaCoins, close_day, parse_closes, parse_prices
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import DAI, USDC, sample

DAYS = DayRange(date(2025, 10, 22), date(2025, 10, 23))
NAMED = {f"ethereum:{USDC}": ("Ethereum", USDC)}


@given(st.integers(0, 7_000_000_000))
def test_a_price_closes_the_day_whose_end_is_nearest(seconds: int) -> None:
    stamp = datetime.fromtimestamp(seconds, UTC)
    day = close_day(stamp)
    distance = abs(end_of(day) - stamp)
    assert all(distance <= abs(end_of(day + timedelta(days=step)) - stamp) for step in (-1, 1))


def test_noon_belongs_to_the_day_before() -> None:
    assert close_day(datetime(2025, 10, 24, 12, tzinfo=UTC)) == date(2025, 10, 23)
    assert close_day(datetime(2025, 10, 24, 12, 0, 1, tzinfo=UTC)) == date(2025, 10, 24)


def test_closes_by_address_with_missing_coins_named(world: WorldMaker) -> None:
    here = world(sample("closes"))
    coins = [("Ethereum", USDC.upper().replace("0X", "0x")), ("Ethereum", DAI)]
    fetched = here.run(lambda gateway: DefiLlamaCoins(gateway).closes(coins, DAYS))
    url = here.vendors.requests[0].url
    assert url.path == f"/chart/ethereum:{USDC},ethereum:{DAI}"
    assert dict(url.params) == {"start": "1761177600", "span": "2", "period": "1d"}
    assert fetched.missing == (f"ethereum:{DAI}",)
    assert fetched.rows.to_dict("records") == [
        {
            "chain": "Ethereum",
            "address": USDC,
            "date": day,
            "ts": pd.Timestamp(day, tz="UTC"),
            "close": close,
            "confidence": 0.99,
            "decimals": 6,
            "symbol": "USDC",
        }
        for day, close in ((date(2025, 10, 22), 0.9998), (date(2025, 10, 23), 1.0001))
    ]


def test_points_outside_the_days_are_left_out_and_the_nearest_wins() -> None:
    answer = sample("closes")
    midnight = 1761264000
    answer["coins"][f"ethereum:{USDC}"]["prices"] = [
        {"timestamp": midnight + 3 * 86400, "price": 9.0},
        {"timestamp": midnight - 7200, "price": 0.5},
        {"timestamp": midnight + 60, "price": "0.75"},
        {"timestamp": midnight + 300, "price": 0.6},
    ]
    rows = parse_closes(answer, NAMED, DAYS)
    assert rows[["date", "close"]].to_numpy().tolist() == [[date(2025, 10, 23), 0.75]]


def test_assumed_prices_keep_their_confidence_of_zero() -> None:
    answer = sample("closes")
    answer["coins"][f"ethereum:{USDC}"]["confidence"] = 0
    assert set(parse_closes(answer, NAMED, DAYS)["confidence"]) == {0.0}
    del answer["coins"][f"ethereum:{USDC}"]["confidence"]
    assert parse_closes(answer, NAMED, DAYS)["confidence"].isna().all()


@pytest.mark.parametrize(
    ("field", "value"),
    [("confidence", 1.5), ("confidence", "x"), ("prices", None), ("prices", [{"price": 1}]), ("prices", [7])],
)
def test_malformed_coins_are_refused(field: str, value: object) -> None:
    answer = sample("closes")
    answer["coins"][f"ethereum:{USDC}"][field] = value
    with pytest.raises(VendorMalformed):
        parse_closes(answer, NAMED, DAYS)


@pytest.mark.parametrize("value", [-1, None, "NaN", True])
def test_a_price_is_a_number_of_at_least_zero(value: object) -> None:
    answer = sample("prices")
    answer["coins"][f"ethereum:{USDC}"]["price"] = value
    with pytest.raises(VendorMalformed, match="price"):
        parse_prices(answer, NAMED)


def test_nothing_known_is_an_empty_frame(world: WorldMaker) -> None:
    here = world({"coins": {}})
    fetched = here.run(lambda gateway: DefiLlamaCoins(gateway).closes([("Ethereum", USDC)], DAYS))
    assert (len(fetched.rows), fetched.missing) == (0, (f"ethereum:{USDC}",))
    assert list(fetched.rows.columns) == ["chain", "address", "date", "ts", "close", "confidence", "decimals", "symbol"]
    nothing = here.run(lambda gateway: DefiLlamaCoins(gateway).closes([], DAYS))
    assert (len(nothing.rows), nothing.missing) == (0, ())


def test_no_close_of_many_coins_is_empty_and_never_an_answer(world: WorldMaker) -> None:
    here = world({"coins": {}})
    coins = [("Ethereum", f"0x{n:040x}") for n in range(4)]
    with pytest.raises(VendorEmpty, match="of 4 that were asked for the answer holds none"):
        here.run(lambda gateway: DefiLlamaCoins(gateway).closes(coins, DAYS))
    assert here.archive.last.error_class == "VendorEmpty"


def test_long_questions_are_split_and_joined() -> None:
    coins = [("Ethereum", f"0x{n:040x}") for n in range(95)]
    days = DayRange(date(2025, 1, 1), date(2025, 2, 9))

    def reply(request: httpx.Request) -> httpx.Response:
        names = request.url.path.removeprefix("/chart/").split(",")
        start, span = int(request.url.params["start"]), int(request.url.params["span"])
        assert len(names) * span <= 500
        points = [{"timestamp": start + n * 86400, "price": 1} for n in range(span)]
        return httpx.Response(200, json={"coins": {name: {"symbol": "X", "prices": points} for name in names}})

    here = World(Vendors(reply), MemoryArchive())
    fetched = here.run(lambda gateway: DefiLlamaCoins(gateway).closes(coins, days))
    assert len(fetched.rows) == 95 * 40
    assert not fetched.rows.duplicated(["address", "date"]).any()
    assert fetched.missing == ()


def test_current_and_historical_prices(world: WorldMaker) -> None:
    here = world(sample("prices"))
    now = here.run(lambda gateway: DefiLlamaCoins(gateway).current([("Ethereum", USDC)]))
    then = here.run(
        lambda gateway: DefiLlamaCoins(gateway).historical([("Ethereum", USDC)], datetime(2025, 10, 24, tzinfo=UTC))
    )
    assert here.vendors.requests[1].url.path == f"/prices/historical/1761264000/ethereum:{USDC}"
    assert now.rows.equals(then.rows)
    assert now.rows.loc[0, "price_usd"] == 0.9998
    assert list(now.rows.columns) == ["chain", "address", "ts", "price_usd", "confidence", "decimals", "symbol"]
