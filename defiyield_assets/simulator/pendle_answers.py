"""Answers of Pendle in its own wire format, from the Pendle markets of a market.

Lives here: the market lists of both routes. Not here: which markets there are (MarketFacts.pendle_markets) or HTTP.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from defiyield_assets.simulator.chain_records import CHAIN_ID
from defiyield_assets.simulator.pendle_records import PendleMarket
from defiyield_assets.simulator.vendor_answers import MarketFacts

MAX_LIMIT = 100


def _row(market: PendleMarket) -> dict[str, Any]:
    def named(address: str) -> str:
        return f"{CHAIN_ID}-{address.lower()}"

    return {
        "name": market.name,
        "address": market.address,
        "expiry": f"{market.expiry.isoformat()}T00:00:00.000Z",
        "pt": named(market.principal_token),
        "yt": named(market.yield_token),
        "sy": named(market.standardised_yield),
        "underlyingAsset": named(market.underlying),
    }


def _rows(market: MarketFacts, day: date, params: Mapping[str, str]) -> list[dict[str, Any]]:
    if params.get("chainId", str(CHAIN_ID)) != str(CHAIN_ID):
        return []
    return [_row(one) for one in market.pendle_markets(day)]


def all_markets(market: MarketFacts, day: date, params: Mapping[str, str]) -> dict[str, Any]:
    """`/v1/markets/all?chainId=`: every market of the chain that was open by the day, matured ones included."""
    return {"markets": _rows(market, day, params)}


def page(market: MarketFacts, day: date, params: Mapping[str, str]) -> dict[str, Any]:
    """`/v2/markets/all?chainId=&skip=&limit=`: one page of at most `MAX_LIMIT` markets."""
    rows = [{**row, "chainId": CHAIN_ID} for row in _rows(market, day, params)]
    skip, limit = int(params.get("skip", "0")), min(int(params.get("limit", "10")), MAX_LIMIT)
    return {"total": len(rows), "limit": limit, "skip": skip, "results": rows[skip : skip + limit]}
