"""EthGasTracker: hours ascending in gwei, null base fees allowed, nothing at all refused."""

import math
from datetime import date

import pandas as pd
import pytest

from defiyield_assets.errors import VendorEmpty, VendorMalformed
from defiyield_assets.sources.ethgastracker import EthGasTracker, parse_hourly
from defiyield_assets_tests.sources.conftest import KEYS, WorldMaker
from defiyield_assets_tests.sources.samples import sample


def test_hours_are_ascending_and_in_gwei(world: WorldMaker) -> None:
    here = world(sample("gas"))
    rows = here.run(lambda gateway: EthGasTracker(gateway).hourly()).rows
    url = here.vendors.requests[0].url
    assert (url.path, url.params["apiKey"]) == ("/api/gas/average", KEYS["ethgastracker"])
    assert list(rows.columns) == [
        *("hour", "date", "base_fee_gwei", "min_gwei", "max_gwei", "median_gwei", "eth_price_usd"),
    ]
    earlier, later = rows.to_dict("records")
    assert (earlier["hour"], earlier["date"]) == (pd.Timestamp("2025-10-24T07:00Z"), date(2025, 10, 24))
    assert math.isnan(earlier["base_fee_gwei"])
    assert (earlier["median_gwei"], later["base_fee_gwei"], later["eth_price_usd"]) == (2.5, 0.9648, 2679.63)


@pytest.mark.parametrize("field", ["period", "baseFee", "min", "max", "median", "ethPrice"])
def test_used_fields_must_be_there_and_be_fees(field: str) -> None:
    for value in ("much", -1, [], True):
        answer = sample("gas")
        answer["data"]["data"][1][field] = value
        with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1"):
            parse_hourly(answer)
    del answer["data"]["data"][1][field]
    with pytest.raises(VendorMalformed, match=f"field '{field}' of row 1 is missing"):
        parse_hourly(answer)


def test_no_hour_is_empty_and_repeats_are_dropped() -> None:
    with pytest.raises(VendorEmpty):
        parse_hourly({"data": {"data": []}})
    answer = sample("gas")
    answer["data"]["data"].append(dict(answer["data"]["data"][0]))
    assert len(parse_hourly(answer)) == 2
    answer["data"]["data"][-1]["median"] = 99
    with pytest.raises(VendorMalformed, match="twice"):
        parse_hourly(answer)


def test_a_running_hour_is_named_by_its_start() -> None:
    answer = sample("gas")
    answer["data"]["data"][0]["period"] = "2025-10-24T10:42:17+02:00"
    assert parse_hourly(answer)["hour"].tolist()[1] == pd.Timestamp("2025-10-24T08:00Z")
