"""The vendors' front doors: an httpx transport that answers every vendor's endpoint from one market and partition.

Lives here: routing by host and path, the `Date` stamp (D+1 00:30 UTC), JSON bodies, 404 for what is not there. Not
here: the answers (pool_panel.py and the modules named …_answers.py) or the markets (recorded.py, generated.py).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from email.utils import format_datetime
from typing import Any

import httpx

from defiyield_assets.domain.days import end_of, market_stamp
from defiyield_assets.simulator import (
    alpha_vantage_answers,
    chain_answers,
    coingecko_answers,
    cryptopanic_answers,
    fred_answers,
    node_answers,
    pendle_answers,
    vendor_answers,
)
from defiyield_assets.simulator.vendor_answers import MarketFacts


@dataclass(frozen=True)
class _Question:
    """One request: the market and day that it is put to, the parts of its path and its query."""

    market: MarketFacts
    day: date
    path_parts: tuple[str, ...]
    params: Mapping[str, str]
    posted: object = None

    @property
    def coins(self) -> list[str]:
        """The last part of the path as a list."""
        return [coin for coin in self.path_parts[-1].split(",") if coin]


_Answer = tuple[int, Any]
NOT_FOUND: _Answer = (404, {"status": "error", "message": "Not found"})


def _pools(ask: _Question) -> _Answer:
    return 200, {"status": "success", "data": ask.market.pool_rows(ask.day)}


def _chart(ask: _Question) -> _Answer:
    points = ask.market.chart_points(ask.path_parts[0], ask.day)
    return NOT_FOUND if points is None else (200, {"status": "success", "data": points})


def _lend_borrow(ask: _Question) -> _Answer:
    return 200, ask.market.lend_borrow_rows(ask.day)


def _chart_lend_borrow(ask: _Question) -> _Answer:
    points = ask.market.lend_borrow_points(ask.path_parts[0], ask.day)
    return NOT_FOUND if points is None else (200, {"status": "success", "data": points})


def _prices_current(ask: _Question) -> _Answer:
    return 200, vendor_answers.coin_prices(ask.market, ask.day, ask.coins, None)


def _prices_historical(ask: _Question) -> _Answer:
    return 200, vendor_answers.coin_prices(ask.market, ask.day, ask.coins, float(ask.path_parts[0]))


def _coin_chart(ask: _Question) -> _Answer:
    return 200, vendor_answers.coin_chart(ask.market, ask.day, ask.coins, ask.params)


def _ohlcv(ask: _Question) -> _Answer:
    return 200, vendor_answers.ohlcv_historical(ask.market, ask.day, ask.params)


def _gecko_markets(ask: _Question) -> _Answer:
    return 200, coingecko_answers.markets(ask.market, ask.day, ask.params)


def _gecko_ohlc(ask: _Question) -> _Answer:
    return coingecko_answers.ohlc(ask.market, ask.day, ask.path_parts[0], ask.params)


def _gecko_chart(ask: _Question) -> _Answer:
    return coingecko_answers.market_chart(ask.market, ask.day, ask.path_parts[0], ask.params)


def _pendle(ask: _Question) -> _Answer:
    return 200, pendle_answers.all_markets(ask.market, ask.day, ask.params)


def _pendle_page(ask: _Question) -> _Answer:
    return 200, pendle_answers.page(ask.market, ask.day, ask.params)


def _node(ask: _Question) -> _Answer:
    return 200, node_answers.json_rpc(ask.market, ask.day, ask.posted)


def _gas_average(ask: _Question) -> _Answer:
    return 200, vendor_answers.gas_average(ask.market, ask.day)


def _fred(ask: _Question) -> _Answer:
    return fred_answers.series_observations(ask.market, ask.day, ask.params)


def _fred_series(ask: _Question) -> _Answer:
    return fred_answers.series(ask.market, ask.day, ask.params)


def _alpha_vantage(ask: _Question) -> _Answer:
    return 200, alpha_vantage_answers.query(ask.market, ask.day, ask.params)


def _news(ask: _Question) -> _Answer:
    return cryptopanic_answers.posts(ask.market, ask.day, ask.params)


def _etherscan(ask: _Question) -> _Answer:
    return 200, chain_answers.etherscan(ask.market.chain, market_stamp(ask.day), ask.params)


def _token_prices(ask: _Question) -> dict[str, float]:
    series = {token: ask.market.close_series(token, ask.day) for token in ask.market.chain.world.tokens}
    return {token: float(s.close[-1]) for token, s in series.items() if s is not None and len(s.close)}


def _address_info(ask: _Question) -> _Answer:
    (hour,) = ask.market.gas_hours([end_of(ask.day)], ask.day)
    return 200, chain_answers.address_info(
        ask.market.chain, market_stamp(ask.day), ask.path_parts[0], _token_prices(ask), hour.eth_price
    )


def _address_history(ask: _Question) -> _Answer:
    return 200, chain_answers.address_history(
        ask.market.chain, market_stamp(ask.day), ask.path_parts[0], ask.params, _token_prices(ask)
    )


def _token_history(ask: _Question) -> _Answer:
    return 200, chain_answers.token_history(
        ask.market.chain, market_stamp(ask.day), ask.path_parts[0], ask.params, _token_prices(ask)
    )


def _tx_info(ask: _Question) -> _Answer:
    answer = chain_answers.tx_info(ask.market.chain, market_stamp(ask.day), ask.path_parts[0], _token_prices(ask))
    return (404, {"error": {"code": 404, "message": "Transaction not found"}}) if answer is None else (200, answer)


_COINGECKO: list[tuple[str, Callable[[_Question], _Answer]]] = [
    (r"/api/v3/coins/markets", _gecko_markets),
    (r"/api/v3/coins/([^/]+)/ohlc", _gecko_ohlc),
    (r"/api/v3/coins/([^/]+)/market_chart", _gecko_chart),
]
_ROUTES: dict[str, list[tuple[str, Callable[[_Question], _Answer]]]] = {
    "yields.llama.fi": [
        (r"/pools", _pools),
        (r"/chart/([^/]+)", _chart),
        (r"/lendBorrow", _lend_borrow),
        (r"/chartLendBorrow/([^/]+)", _chart_lend_borrow),
    ],
    "coins.llama.fi": [
        (r"/prices/current/([^/]+)", _prices_current),
        (r"/prices/historical/(\d+)/([^/]+)", _prices_historical),
        (r"/chart/([^/]+)", _coin_chart),
    ],
    "pro-api.coinmarketcap.com": [(r"/v2/cryptocurrency/ohlcv/historical", _ohlcv)],
    "api.coingecko.com": _COINGECKO,
    "pro-api.coingecko.com": _COINGECKO,
    "api-v2.pendle.finance": [
        (r"/core/v1/markets/all", _pendle),
        (r"/core/v2/markets/all", _pendle_page),
    ],
    "www.ethgastracker.com": [(r"/api/gas/average", _gas_average)],
    "www.alphavantage.co": [(r"/query", _alpha_vantage)],
    "api.stlouisfed.org": [(r"/fred/series/observations", _fred), (r"/fred/series", _fred_series)],
    "cryptopanic.com": [(r"/api/developer/v2/posts", _news)],
    "api.etherscan.io": [(r"/v2/api", _etherscan)],
    "api.ethplorer.io": [
        (r"/getAddressInfo/([^/]+)", _address_info),
        (r"/getAddressHistory/([^/]+)", _address_history),
        (r"/getTxInfo/([^/]+)", _tx_info),
        (r"/getTokenHistory/([^/]+)", _token_history),
    ],
}


_POSTED: dict[str, Callable[[_Question], _Answer]] = {"ethereum-rpc.simulated": _node}
"""Hosts that are asked by POST, whatever the path."""


def vendor_hosts() -> list[str]:
    """The hosts that are answered for."""
    return sorted({*_ROUTES, *_POSTED})


class MarketTransport(httpx.AsyncBaseTransport):
    """Answers like the vendors, for one market and one partition; keys are neither needed nor looked at."""

    def __init__(self, market: MarketFacts, day: date) -> None:
        self._market = market
        self._day = day

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The vendor's answer: JSON, stamped D+1 00:30:00 GMT; 404 for hosts and paths that no vendor has."""
        status, answer = self._answer(request, await request.aread())
        return httpx.Response(
            status,
            headers={
                "Date": format_datetime(market_stamp(self._day), usegmt=True),
                "Content-Type": "application/json; charset=utf-8",
            },
            content=json.dumps(answer, separators=(",", ":"), allow_nan=False).encode(),
            request=request,
        )

    def _answer(self, request: httpx.Request, body: bytes) -> _Answer:
        params = dict(request.url.params)
        if request.method == "POST" and request.url.host in _POSTED:
            try:
                posted = json.loads(body)
            except ValueError:
                posted = None
            return _POSTED[request.url.host](_Question(self._market, self._day, (), params, posted))
        path = request.url.path.rstrip("/")
        for pattern, answer in _ROUTES.get(request.url.host, []):
            match = re.fullmatch(pattern, path)
            if match and request.method == "GET":
                return answer(_Question(self._market, self._day, match.groups(), params))
        return NOT_FOUND
