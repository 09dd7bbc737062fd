"""EthGasTracker: hours ascending in gwei, null base fees allowed, nothing at all refused."""

import math
from collections.abc import Awaitable
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from defiyield_assets.errors import VendorEmpty, VendorMalformed
from defiyield_assets.sources.ethgastracker import EthGasTracker, parse_hourly, require_last_hour
from defiyield_assets.sources.transport import ATTEMPTS, Fetched, Gateway, Window
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


def hours_until(*periods: str) -> dict[str, object]:
    """An answer with these hours."""
    row = sample("gas")["data"]["data"][0]
    return {"data": {"data": [row | {"period": period} for period in periods]}}


def test_an_answer_without_the_last_hour_is_asked_for_again_and_never_reused(world: WorldMaker) -> None:
    day = date(2025, 10, 23)
    early = hours_until("2025-10-23T22:00Z", "2025-10-23T21:00Z")
    whole = hours_until("2025-10-24T00:00Z", "2025-10-23T23:00Z", "2025-10-23T22:00Z")
    reuse = Window(datetime(2025, 10, 24, tzinfo=UTC), datetime(2025, 10, 30, tzinfo=UTC))

    def ask(gateway: Gateway) -> Awaitable[Fetched[pd.DataFrame]]:
        return EthGasTracker(gateway).hourly(reuse=reuse, accept=lambda rows: require_last_hour(rows, day))

    here = world(*[early] * ATTEMPTS, whole)
    with pytest.raises(VendorMalformed, match="the last hour of 2025-10-23, 23:00 UTC, is not told yet"):
        here.run(ask)
    assert here.archive.last.error_class == "VendorMalformed"
    assert len(here.run(ask).rows) == 3
    assert here.run(ask).from_archive


def test_the_last_hour_must_have_a_value_and_is_not_asked_of_an_answer_that_begins_later() -> None:
    day = date(2025, 10, 23)
    rows = parse_hourly(hours_until("2025-10-23T23:00Z", "2025-10-23T22:00Z"))
    require_last_hour(rows, day)
    require_last_hour(rows, date(2025, 10, 14))
    silent = rows.assign(**dict.fromkeys(["base_fee_gwei", "median_gwei", "max_gwei"], math.nan))
    with pytest.raises(VendorMalformed):
        require_last_hour(silent, day)
