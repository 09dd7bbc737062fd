"""Answers that were really recorded, or printed in the vendors' own documentation, parse."""

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from defiyield_assets.sources.account_rows import account_frame
from defiyield_assets.sources.alpha_vantage import parse_daily_adjusted
from defiyield_assets.sources.alpha_vantage import refuse_error as refuse_share_error
from defiyield_assets.sources.coingecko import (
    FOUR_HOURS,
    days_of_candles,
    parse_candles,
    parse_daily_chart,
    parse_markets,
)
from defiyield_assets.sources.coingecko import (
    refuse_error as refuse_coingecko_error,
)
from defiyield_assets.sources.coinmarketcap import parse_ohlcv, parse_quotes, refuse_error_code
from defiyield_assets.sources.defillama_coins import parse_prices
from defiyield_assets.sources.defillama_yields import parse_chart, parse_pools
from defiyield_assets.sources.etherscan import parse_internal, parse_token_transfers, parse_transactions, refuse_error
from defiyield_assets.sources.ethplorer import parse_address_info, parse_operations
from defiyield_assets.sources.fred import parse_observations
from defiyield_assets.sources.pendle import parse_markets as parse_pendle_markets
from defiyield_assets.sources.pendle import parse_page
from defiyield_assets.sources.wire import decode_json

pytestmark = pytest.mark.recorded


def load(folder: Path, name: str) -> Any:
    """One recorded document, decoded as the gateway decodes it."""
    body = (folder / name).read_bytes()
    return decode_json(gzip.decompress(body) if name.endswith(".gz") else body)


def test_pools_of_2026_and_of_all_fields(recorded_data: Path) -> None:
    answer = load(recorded_data, "yields/defillama_pools_api_shape_stables151_2026-03-02.json")
    rows = parse_pools(answer)
    assert len(rows) == 151
    vendor = {row["pool"]: row for row in answer["data"]}
    assert all(row.apy == vendor[row.pool_id]["apy"] / 100 for row in rows.itertuples())
    assert all(address == address.lower() for addresses in rows["underlying_addresses"] for address in addresses)

    rows = parse_pools(load(recorded_data, "yields/defillama_pools_allfields_dex1134_2025-08-31.json.gz"))
    assert len(rows) == 1134
    assert rows["observed_at"].notna().all()


def test_chart_of_a_whole_life(recorded_data: Path) -> None:
    points = load(recorded_data, "yields/defillama_chart_raw_response_5fd328af.json")
    rows = parse_chart({"status": "success", "data": points})
    assert (len(rows), rows["date"].iloc[0], rows["date"].iloc[-1]) == (188, date(2024, 11, 14), date(2025, 5, 20))
    assert rows["apy"].iloc[0] == 22.97383 / 100


def test_coin_prices(recorded_data: Path) -> None:
    answers = load(recorded_data, "fixtures/defillama/rotki_coins_prices.json")
    assert len(answers) == 42
    for answer in answers:
        coins = answer["response"]["coins"]
        named = {name.lower(): (name.split(":")[0], name.split(":")[1]) for name in coins}
        rows = parse_prices(answer["response"], named)
        assert sorted(rows["price_usd"]) == sorted(float(coin["price"]) for coin in coins.values())


def test_coinmarketcap_documents(recorded_data: Path) -> None:
    bars = parse_ohlcv(load(recorded_data, "fixtures/coinmarketcap/ohlcv_historical_docs_example_BTC_2019-01.json"))
    assert bars[["date", "close"]].to_numpy().tolist() == [
        [date(2019, 1, 2), 3943.40933686],
        [date(2019, 1, 3), 3836.74131867],
    ]
    for name, cmc_id, price in (
        ("quotes_latest_BTC_2021-11-07.json", 1, 62284.59175999739),
        ("quotes_latest_by_id_2275_2020-01-02.json", 2275, 0.0709146544966),
    ):
        answer = load(recorded_data, f"fixtures/coinmarketcap/{name}")
        refuse_error_code(answer)
        assert parse_quotes(answer)[["cmc_id", "price_usd"]].to_numpy().tolist() == [[cmc_id, price]]


def test_daily_shares_of_2018(recorded_data: Path) -> None:
    answer = load(recorded_data, "fixtures/alpha_vantage/time_series_daily_adjusted_MSFT_3d_2018-05.json")
    refuse_share_error(answer)
    rows = parse_daily_adjusted(answer, "MSFT")
    assert rows["date"].tolist() == [date(2018, 5, 23), date(2018, 5, 24), date(2018, 5, 25)]
    assert rows.iloc[-1][["open", "high", "low", "close", "adjusted_close", "volume_units"]].tolist() == [
        *(98.3, 98.98, 97.86, 98.36, 98.36),
        17942632,
    ]
    assert rows[["dividend", "split_coefficient"]].to_numpy().tolist() == [[0.0, 1.0]] * 3


def test_fred_observations_without_vintages(recorded_data: Path) -> None:
    page = parse_observations(load(recorded_data, "fixtures/fred/series_observations_HQMCB10YR.json"))
    assert (len(page), page.total) == (6, 6)
    assert page.observations["value"].tolist() == [4.98, 5.13, 5.18, 4.92, 5.09, 5.22]
    assert page.observations["is_vintage_assumed"].all()


WALLET = "0xb8553d9ee35dd23bb96fbd679e651b929821969b"


def test_etherscan_of_a_real_address_on_two_chains(recorded_data: Path) -> None:
    answers = load(recorded_data, "chain/etherscan_account_0xb8553d9e_txlist_tokentx_internal.json")
    assert len(answers) == 12
    for answer in answers:
        chain_id = 10 if "/10/" in answer["url"] else 1
        body, raw = answer["response"], answer["response"]["result"]
        refuse_error(body)
        if "action=txlist&" in answer["url"]:
            page = parse_transactions(body, chain_id, WALLET)
            sent = [row for row in raw if row["from"] == WALLET]
            gas = [row for row in page.rows if row["kind"] == "gas"]
            paid = sum(int(row["gasUsed"]) * int(row["gasPrice"]) for row in sent)
            assert sum(row["value"] for row in gas) == paid
            moved = sum(int(row["value"]) for row in raw if row["isError"] == "0")
            assert sum(row["value"] for row in page.rows if row["kind"] == "native") == moved
        elif "action=txlistinternal" in answer["url"]:
            page = parse_internal(body, chain_id)
            assert sum(row["value"] for row in page.rows) == sum(int(row["value"]) for row in raw)
        else:
            page = parse_token_transfers(body, chain_id)
            assert [row["value"] for row in page.rows] == [int(row["value"]) for row in raw]
        assert len(page) == len(raw)
        frame = account_frame(page.rows)
        assert not frame.duplicated(["chain_id", "tx_hash", "kind", "ordinal"]).any()
        assert frame["block_time"].dt.tz == UTC


KEY = ["chain_id", "tx_hash", "kind", "ordinal", "date", "token_address", "from_address", "to_address", "value"]


def as_operation(row: dict[str, Any]) -> dict[str, Any]:
    """One row of Etherscan's tokentx as Ethplorer tells the same transfer."""
    info = {"address": row["contractAddress"], "decimals": row["tokenDecimal"], "symbol": row["tokenSymbol"]}
    return {
        "timestamp": int(row["timeStamp"]),
        "transactionHash": row["hash"],
        "tokenInfo": info,
        "type": "transfer",
        "value": row["value"],
        "from": row["from"],
        "to": row["to"],
    }


def as_row(operation: dict[str, Any], block: int) -> dict[str, Any]:
    """One of Ethplorer's operations as a row of Etherscan's tokentx, addresses spelled in mixed case."""
    info = operation["tokenInfo"]
    return {
        "blockNumber": str(block),
        "timeStamp": str(operation["timestamp"]),
        "hash": operation["transactionHash"],
        "from": operation["from"].upper().replace("0X", "0x"),
        "to": operation["to"],
        "contractAddress": info["address"].upper().replace("0X", "0x"),
        "value": operation["value"],
        "tokenDecimal": info["decimals"],
        "tokenSymbol": info["symbol"],
        "gasUsed": "1",
        "gasPrice": "1",
    }


def test_both_account_vendors_give_recorded_transfers_the_same_keys(recorded_data: Path) -> None:
    answers = load(recorded_data, "chain/etherscan_account_0xb8553d9e_txlist_tokentx_internal.json")
    tokens = [answer["response"] for answer in answers if "action=tokentx" in answer["url"]]
    assert len(tokens) == 4
    for answer in tokens:
        ours = account_frame(parse_token_transfers(answer, 1).rows)
        newest_first = [as_operation(row) for row in reversed(answer["result"])]
        theirs = account_frame(parse_operations({"operations": newest_first}))
        assert theirs[KEY].to_numpy().tolist() == ours[KEY].to_numpy().tolist()
        assert len(ours) == len(answer["result"])
    history = load(recorded_data, "chain/ethplorer_getAddressHistory_0x7d5114d0_2018.json")
    theirs = account_frame(parse_operations(history))
    rows = [as_row(operation, 5_850_000) for operation in history["operations"]]
    ours = account_frame(parse_token_transfers({"status": "1", "message": "OK", "result": rows}, 1).rows)
    assert theirs[KEY].to_numpy().tolist() == ours[KEY].to_numpy().tolist()
    assert len(theirs) == len(history["operations"]) == 1


def test_ethplorer_answers(recorded_data: Path) -> None:
    rows = parse_address_info(load(recorded_data, "chain/ethplorer_getAddressInfo_0x76270d9d_2022-07-03.json"))
    assert rows.set_index("symbol_claimed")["balance"].to_dict() == {"RETH": 123400000000000000, "ETH": 123 * 10**15}
    assert rows["is_exact"].all()

    old = parse_address_info(load(recorded_data, "chain/ethplorer_getAddressInfo_dai_holder_2021-02-24.json"))
    assert old.set_index("symbol_claimed").loc["DYF", ["balance", "decimals", "is_exact"]].tolist() == [10**10, 5, True]
    assert not old.set_index("symbol_claimed").loc["ETH", "is_exact"]

    history = load(recorded_data, "chain/ethplorer_getAddressHistory_0x7d5114d0_2018.json")
    frame = account_frame(parse_operations(history))
    assert frame[["value", "decimals", "symbol_claimed", "date"]].to_numpy().tolist() == [
        [4, 0, "R", date(2018, 6, 25)]
    ]
    assert json.dumps(frame["tx_hash"].tolist()).count("0xe9bbf27e") == 1


# --- round trips: what the client read, said again as the vendor said it -------------------------------------------
def percent(value: float) -> float | None:
    """A fraction as the vendor's percent, null for an unknown one."""
    return None if value != value else value * 100


def same_number(ours: float | None, theirs: object) -> bool:
    """Whether a number survived the way to a fraction and back."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours == pytest.approx(float(str(theirs)), rel=1e-14, abs=1e-300)


@pytest.mark.parametrize(
    "name",
    [
        "yields/defillama_pools_api_shape_stables151_2026-03-02.json",
        "yields/defillama_pools_allfields_dex1134_2025-08-31.json.gz",
    ],
)
def test_pools_round_trip(recorded_data: Path, name: str) -> None:
    vendor = {row["pool"]: row for row in load(recorded_data, name)["data"]}
    rows = parse_pools(load(recorded_data, name))
    assert set(rows["pool_id"]) == set(vendor)
    for row in rows.itertuples():
        told = vendor[row.pool_id]
        texts = {"chain": row.chain, "project": row.project, "symbol": row.symbol, "poolMeta": row.pool_meta}
        labels = {"exposure": row.exposure, "ilRisk": row.il_risk, "stablecoin": row.is_stablecoin}
        assert {field: told[field] for field in (*texts, *labels)} == texts | labels
        assert same_number(None if row.tvl_usd != row.tvl_usd else row.tvl_usd, told["tvlUsd"])
        for field, value in {"apy": row.apy, "apyBase": row.apy_base, "apyReward": row.apy_reward}.items():
            assert same_number(percent(value), told[field]), field
        assert row.underlying_addresses == [one.lower() for one in told["underlyingTokens"] or []]
        assert row.reward_tokens == [one.lower() for one in told["rewardTokens"] or [] if one]


def test_a_chart_round_trips(recorded_data: Path) -> None:
    points = load(recorded_data, "yields/defillama_chart_raw_response_5fd328af.json")
    rows = parse_chart({"status": "success", "data": points})
    for point, row in zip(points, rows.itertuples(), strict=True):
        assert row.ts.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" == point["timestamp"]
        assert row.tvl_usd == point["tvlUsd"]
        rates = {"apy": row.apy, "apyBase": row.apy_base, "apyReward": row.apy_reward, "il7d": row.il_7d}
        assert all(same_number(percent(value), point[field]) for field, value in rates.items())


def test_coin_prices_round_trip(recorded_data: Path) -> None:
    for answer in load(recorded_data, "fixtures/defillama/rotki_coins_prices.json"):
        coins = answer["response"]["coins"]
        named = {name.lower(): (name.split(":")[0], name.split(":")[1].lower()) for name in coins}
        rows = parse_prices(answer["response"], named).to_dict("records")
        said = {
            f"{row['chain']}:{row['address']}".lower(): (row["price_usd"], int(row["ts"].timestamp())) for row in rows
        }
        assert said == {name.lower(): (coin["price"], int(coin["timestamp"])) for name, coin in coins.items()}


# --- CoinGecko and Pendle ------------------------------------------------------------------------------------------
def coingecko_answers(recorded_data: Path, words: str) -> list[dict[str, Any]]:
    """Recorded pairs of one endpoint."""
    pairs = load(recorded_data, "fixtures/coingecko/coingecko_ruby_vcr_2021.json.gz")
    return [pair for pair in pairs if words in pair["url"]]


def test_coingecko_markets(recorded_data: Path) -> None:
    pairs = coingecko_answers(recorded_data, "/coins/markets")
    assert len(pairs) == 3
    for pair in pairs:
        refuse_coingecko_error(pair["response"])
        rows = parse_markets(pair["response"]).set_index("coingecko_id")
        for coin in pair["response"]:
            told = rows.loc[coin["id"]]
            assert (told["price_usd"], told["volume_24h_usd"]) == (coin["current_price"], coin["total_volume"])
            assert (told["market_cap_usd"], told["high_24h_usd"]) == (coin["market_cap"], coin["high_24h"])


def test_coingecko_candles_of_7_and_30_days_make_whole_days(recorded_data: Path) -> None:
    pairs = coingecko_answers(recorded_data, "/ohlc")
    assert sorted(len(pair["response"]) for pair in pairs) == [42, 180]
    for pair in pairs:
        recorded_at = datetime.strptime(pair["recorded"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        candles = parse_candles(pair["response"])
        assert len(candles) == len(pair["response"])
        assert candles["ts"].iloc[-1] > recorded_at, "the running candle already carries the time of its close"
        days = days_of_candles(candles, FOUR_HOURS, recorded_at)
        # The first day is cut and the last one runs.
        assert len(days) == len(pair["response"]) // 6 - 1
        assert days["date"].iloc[-1] == date(2021, 5, 14)
        assert ((days["low"] <= days[["open", "close"]].min(axis=1)) & (days["high"] >= days["close"])).all()


def test_coingecko_charts(recorded_data: Path) -> None:
    pairs = coingecko_answers(recorded_data, "/market_chart")
    assert len(pairs) == 4
    daily = next(pair["response"] for pair in pairs if "interval=daily" in pair["url"])
    rows = parse_daily_chart(daily)
    assert (len(rows), rows["date"].iloc[0], rows["date"].iloc[-1]) == (90, date(2021, 2, 14), date(2021, 5, 14))
    assert rows["price_usd"].tolist() == [value for _, value in daily["prices"][:-1]]
    assert rows["volume_usd"].tolist() == [value for _, value in daily["total_volumes"][:-1]]
    for pair in pairs:
        assert len(parse_daily_chart(pair["response"])) <= 90, "finer points are no days"


def test_a_recorded_candle_carries_the_time_of_its_close(recorded_data: Path) -> None:
    """The hourly chart recorded in the same hour says where candles open: four hours before their time, not at it."""
    ohlc = next(p for p in coingecko_answers(recorded_data, "/ohlc") if "vs_currency=usd" in p["url"])
    chart = next(p for p in coingecko_answers(recorded_data, "/market_chart") if "days=30" in p["url"])
    times, prices = np.array(chart["response"]["prices"]).T
    candles = parse_candles(ohlc["response"])
    ends = np.array([stamp.timestamp() * 1000 for stamp in candles["ts"]])

    def distance(hours: int) -> float:
        """Median relative difference between opens and the chart so long before the candles' times."""
        return float(np.median(np.abs(candles["open"] / np.interp(ends - hours * 3_600_000, times, prices) - 1)))

    assert distance(4) < 0.0005
    assert min(distance(hours) for hours in (0, 1, 2, 3, 5, 6)) > 5 * distance(4)


def test_pendle_markets_of_2026(recorded_data: Path) -> None:
    answer = load(recorded_data, "fixtures/pendle_merkl/pendle_v2_markets_all_active_2026-07-27_trimmed.json")
    page = parse_page(answer, 1)
    assert (len(page), page.total) == (2, 61)
    assert parse_pendle_markets({"markets": answer["results"]}, 1).equals(page.markets)
    rows = page.markets.set_index("name")
    assert rows.loc["wstETH", "underlying"] == "0x7f39c581f595b53c5cb19bd0b3f8da6c935e2ca0"
    assert (rows.loc["wstETH", "expiry"], rows.loc["ynRWAx", "expiry"]) == (date(2027, 12, 30), date(2026, 10, 15))
    for told in answer["results"]:
        row = rows.loc[told["name"]]
        again = {name: f"1-{row[column]}" for name, column in (("pt", "principal_token"), ("sy", "standardised_yield"))}
        assert again == {"pt": told["pt"], "sy": told["sy"]}
