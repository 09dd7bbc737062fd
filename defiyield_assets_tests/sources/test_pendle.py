"""Pendle: addresses without their chain, days of maturity, both routes."""

from datetime import date
from typing import Any

import httpx
import pytest

from defiyield_assets.errors import VendorMalformed, VendorUnavailable
from defiyield_assets.sources.pendle import PAGE_SIZE, Pendle, parse_markets, parse_page
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import DAI, OTHER, USDC, VAULT, WALLET, sample

ROW = {
    "chain_id": 1,
    "market": VAULT,
    "name": "USDe",
    "expiry": date(2026, 3, 26),
    "principal_token": OTHER,
    "yield_token": WALLET,
    "standardised_yield": DAI,
    "underlying": USDC,
}


def test_markets_have_plain_addresses_and_days() -> None:
    assert parse_markets(sample("pendle"), 1).to_dict("records") == [ROW]
    assert parse_page(sample("pendle_page"), 1).markets.to_dict("records") == [ROW]


@pytest.mark.parametrize("value", [None, "", f"10-{USDC}"])
def test_a_token_that_is_not_on_this_chain_is_null(value: object) -> None:
    answer = sample("pendle")
    answer["markets"][0]["underlyingAsset"] = value
    assert parse_markets(answer, 1)["underlying"].tolist() == [None]


def test_markets_of_other_chains_are_left_out() -> None:
    answer = sample("pendle_page")
    answer["results"][0]["chainId"] = 42161
    page = parse_page(answer, 1)
    assert (len(page.markets), len(page)) == (0, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", "0x1"),
        ("expiry", 1767139200),
        ("expiry", None),
        ("name", None),
        ("pt", "1-0xabc"),
        ("pt", f"x-{DAI}"),
    ],
)
def test_malformed_markets_are_refused(field: str, value: object) -> None:
    answer = sample("pendle")
    answer["markets"][0][field] = value
    with pytest.raises(VendorMalformed, match=field):
        parse_markets(answer, 1)


def test_two_versions_of_a_market_are_refused() -> None:
    answer = sample("pendle")
    answer["markets"].append({**answer["markets"][0], "address": VAULT.upper().replace("X", "x")})
    with pytest.raises(VendorMalformed, match="twice"):
        parse_markets(answer, 1)


def test_the_first_route_answers_whole(world: WorldMaker) -> None:
    here = world(sample("pendle"))
    assert len(here.run(lambda gateway: Pendle(gateway).markets(1)).rows) == 1
    (request,) = here.vendors.requests
    assert (request.url.path, dict(request.url.params)) == ("/core/v1/markets/all", {"chainId": "1"})


def paged(total: int) -> World:
    """Only the second route is there, with that many markets."""

    def reply(request: httpx.Request) -> httpx.Response:
        if "/v1/" in request.url.path:
            return httpx.Response(404, json={"message": "Cannot GET"})
        first, size = int(request.url.params["skip"]), int(request.url.params["limit"])
        row = sample("pendle_page")["results"][0]
        rows: list[dict[str, Any]] = [{**row, "address": f"0x{n:040x}"} for n in range(total)]
        return httpx.Response(200, json={"total": total, "results": rows[first : first + size]})

    return World(Vendors(reply), MemoryArchive())


@pytest.mark.parametrize(("total", "pages"), [(0, 1), (99, 1), (PAGE_SIZE, 1), (PAGE_SIZE + 1, 2), (250, 3)])
def test_the_second_route_is_paged_where_the_first_is_gone(total: int, pages: int) -> None:
    here = paged(total)
    rows = here.run(lambda gateway: Pendle(gateway).markets(1)).rows
    assert rows["market"].tolist() == [f"0x{n:040x}" for n in range(total)]
    assert len(here.vendors.requests) == 1 + pages


def test_a_failure_is_no_reason_to_ask_the_other_route(world: WorldMaker) -> None:
    here = world(500)
    with pytest.raises(VendorUnavailable):
        here.run(lambda gateway: Pendle(gateway).markets(1))
    assert {request.url.path for request in here.vendors.requests} == {"/core/v1/markets/all"}
