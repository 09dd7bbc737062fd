"""Answers that were really recorded, or printed in the vendors' own documentation, parse."""

import gzip
import json
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.sources.account_rows import account_frame
from defiyield_assets.sources.coinmarketcap import parse_ohlcv, parse_quotes, refuse_error_code
from defiyield_assets.sources.defillama_coins import parse_prices
from defiyield_assets.sources.defillama_yields import parse_chart, parse_pools
from defiyield_assets.sources.etherscan import parse_internal, parse_token_transfers, parse_transactions, refuse_error
from defiyield_assets.sources.ethplorer import parse_address_info, parse_operations
from defiyield_assets.sources.fred import parse_observations
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


def test_ethplorer_answers(recorded_data: Path) -> None:
    rows = parse_address_info(load(recorded_data, "chain/ethplorer_getAddressInfo_0x76270d9d_2022-07-03.json"))
    assert rows.set_index("symbol_claimed")["balance"].to_dict() == {"RETH": 123400000000000000, "ETH": 123 * 10**15}
    assert rows["is_exact"].all()

    old = parse_address_info(load(recorded_data, "chain/ethplorer_getAddressInfo_dai_holder_2021-02-24.json"))
    assert old.set_index("symbol_claimed").loc["DYF", ["balance", "decimals", "is_exact"]].tolist() == [10**10, 5, True]
    assert not old.set_index("symbol_claimed").loc["ETH", "is_exact"]

    page = parse_operations(load(recorded_data, "chain/ethplorer_getAddressHistory_0x7d5114d0_2018.json"))
    frame = account_frame(page.transfers)
    assert frame[["value", "decimals", "symbol_claimed", "date"]].to_numpy().tolist() == [
        [4, 0, "R", date(2018, 6, 25)]
    ]
    assert json.dumps(frame["tx_hash"].tolist()).count("0xe9bbf27e") == 1
