"""The vendor server on a real socket: addressing, clock, rate limits, counting, faults of the connection.

Not here: the answers (test_wire.py), faults in process (test_faults.py), the ingest over it (faults/).
"""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import httpx
import pytest

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.faults import FaultKind, FaultRule
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.server import RateLimit, VendorServer, _Window
from defiyield_assets_tests.served_market import ServedMarket, serving
from defiyield_assets_tests.simulator.asking import respond

GAS = "www.ethgastracker.com/api/gas/average"
STAMP = "Wed, 04 Jun 2025 00:30:00 GMT"


@pytest.fixture(scope="module")
def market(generated: GeneratedMarket) -> Iterator[ServedMarket]:
    """One server for all tests that change nothing but faults."""
    with serving(generated, DEMO_DAY) as served:
        yield served


@pytest.fixture
def served(market: ServedMarket) -> Iterator[ServedMarket]:
    """The server without faults and counts."""
    market.server.requests.clear()
    yield market
    market.faults()


def get(served: ServedMarket, path: str, **options: object) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        return client.get(f"{served.address}/{path}", **options)  # type: ignore[arg-type]


def test_real_paths_are_answered_below_the_vendors_host(served: ServedMarket, generated: GeneratedMarket) -> None:
    response = get(served, GAS)
    assert response.status_code == 200
    assert response.headers["date"] == STAMP
    assert response.content == respond(generated, DEMO_DAY, f"https://{GAS}").content, "as in process"


def test_without_the_prefix_the_host_header_says_who_is_meant(served: ServedMarket) -> None:
    response = get(served, "api/gas/average", headers={"host": "www.ethgastracker.com"})
    assert response.status_code == 200
    assert response.json()["data"]["network"] == "mainnet"


def test_queries_and_encoded_paths_arrive_as_they_were_sent(served: ServedMarket) -> None:
    answer = get(served, "api.stlouisfed.org/fred/series/observations?series_id=DGS10&file_type=json").json()
    assert answer["observations"]
    assert get(served, "coins.llama.fi/prices/current/ethereum%3A0x00").json() == {"coins": {}}


def test_what_no_vendor_has_is_not_found(served: ServedMarket) -> None:
    assert get(served, "yields.llama.fi/nothing").status_code == 404
    assert get(served, "example.org/pools").status_code == 404


def test_the_bare_address_tells_the_clock_and_what_was_asked(served: ServedMarket) -> None:
    get(served, GAS)
    about = get(served, "").json()
    assert (about["market"], about["day"], about["is_fixed"]) == ("simulated", "2025-06-03", True)
    assert about["now"] == "2025-06-04T00:30:00+00:00"
    assert about["requests"] == {"www.ethgastracker.com": 1}


def test_requests_are_counted_by_host_and_path(served: ServedMarket) -> None:
    for _ in range(3):
        get(served, GAS)
    get(served, "yields.llama.fi/chart/unknown")
    counted = served.server.requests
    assert counted.total() == 4
    assert counted.total("www.ethgastracker.com", "/api/gas", 200) == 3
    assert counted.total("yields.llama.fi", "/chart/", 404) == 1
    assert counted.by_path()[("www.ethgastracker.com", "/api/gas/average")] == 3


def test_without_a_day_the_last_complete_one_is_answered_now(generated: GeneratedMarket) -> None:
    now = datetime(2025, 6, 5, 14, 7, 9, tzinfo=UTC)
    server = VendorServer(generated, now=lambda: now)
    assert (server.present_day, server.present) == (date(2025, 6, 4), now)
    with serving(generated, None) as running:
        running.server._now = lambda: now
        assert get(running, GAS).headers["date"] == "Thu, 05 Jun 2025 14:07:09 GMT"
        assert get(running, "").json()["is_fixed"] is False


def test_a_day_that_the_market_does_not_know_is_refused_before_anything_listens(generated: GeneratedMarket) -> None:
    with pytest.raises(ConfigurationError, match="knows the days 2024-01-01 to 2028-12-31, not 1999-01-01"):
        VendorServer(generated, day=date(1999, 1, 1))


# --- limits ---------------------------------------------------------------------------------------------------------
def test_beyond_the_limit_of_a_host_the_answer_is_429_with_a_pause(generated: GeneratedMarket) -> None:
    with serving(generated, DEMO_DAY, limits={"www.ethgastracker.com": RateLimit(2, 60.0)}) as served:
        told = [get(served, GAS) for _ in range(3)]
        other = get(served, "api.stlouisfed.org/fred/series/observations?series_id=DGS10")
    assert [response.status_code for response in told] == [200, 200, 429]
    assert 1 <= int(told[2].headers["retry-after"]) <= 60
    assert other.status_code == 200, "a limit is one host's"
    assert served.server.requests.total("www.ethgastracker.com", status=429) == 1


def test_a_window_slides() -> None:
    window = _Window(RateLimit(2, 10.0))
    assert [window.wait(at) for at in (0.0, 4.0)] == [0.0, 0.0]
    assert window.wait(6.0) == 4.0, "until the first is ten seconds old"
    assert window.wait(10.0) == 0.0
    assert window.wait(10.0) == 4.0


# --- binding --------------------------------------------------------------------------------------------------------
def test_an_address_that_others_can_reach_must_be_meant(generated: GeneratedMarket) -> None:
    import asyncio

    server = VendorServer(generated, day=DEMO_DAY)
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0 can be reached from other machines.*--public"):
        asyncio.run(server.start("0.0.0.0"))


def test_a_port_that_is_taken_is_named(served: ServedMarket, generated: GeneratedMarket) -> None:
    import asyncio

    port = int(served.address.rsplit(":", 1)[1])
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
        asyncio.run(VendorServer(generated, day=DEMO_DAY).start(port=port))


# --- faults on the socket -------------------------------------------------------------------------------------------
def rule(kind: FaultKind, **options: object) -> FaultRule:
    return FaultRule.model_validate({"kind": kind, "path": "/api/gas/*", **options})


def test_a_reset_connection_is_reset(served: ServedMarket) -> None:
    served.faults(rule(FaultKind.RESET))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)) as found:
        get(served, GAS)
    assert "reset" in str(found.value).lower() or "disconnected" in str(found.value).lower()
    assert served.server.requests.total(status=0) == 1


def test_a_hanging_vendor_never_answers_and_disturbs_no_other(served: ServedMarket) -> None:
    served.faults(rule(FaultKind.HANG))
    ended: list[type[BaseException]] = []

    def wait() -> None:
        with httpx.Client(trust_env=False, timeout=0.4) as client:
            try:
                client.get(f"{served.address}/{GAS}")
            except httpx.TimeoutException as error:
                ended.append(type(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert get(served, "api.stlouisfed.org/fred/series/observations?series_id=DGS10").status_code == 200
    waiting.join()
    assert ended == [httpx.ReadTimeout]


def test_a_truncated_body_is_shorter_than_announced(served: ServedMarket) -> None:
    served.faults(rule(FaultKind.TRUNCATED))
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        get(served, GAS)


def test_a_slow_body_takes_its_time_and_is_whole(served: ServedMarket, generated: GeneratedMarket) -> None:
    served.faults(rule(FaultKind.SLOW, seconds=0.2))
    began = time.monotonic()
    response = get(served, GAS)
    assert response.content == respond(generated, DEMO_DAY, f"https://{GAS}").content
    assert time.monotonic() - began >= 0.15


def test_the_clock_of_one_vendor_goes_wrong(served: ServedMarket) -> None:
    served.faults(rule(FaultKind.CLOCK_SKEW, seconds=86_400))
    assert get(served, GAS).headers["date"] == "Thu, 05 Jun 2025 00:30:00 GMT"
    assert get(served, "yields.llama.fi/chart/x").headers["date"] == STAMP


def test_an_empty_answer_and_a_wrong_page(served: ServedMarket) -> None:
    served.faults(rule(FaultKind.EMPTY, first=1), rule(FaultKind.WRONG_CONTENT_TYPE))
    assert (get(served, GAS).content, get(served, GAS).headers["content-type"][:9]) == (b"", "text/html")
