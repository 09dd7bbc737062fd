"""Every endpoint that the day's ingest asks, what asks it, and what becomes of the asset when it fails for good.

Lives here: the table that the fault suites run through, and the live day that they compare with. Not here: what is
asserted (test_healing.py, test_lasting.py).
"""

import fnmatch
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dagster as dg

from defiyield_assets.simulator.faults import FaultKind, FaultRule
from defiyield_assets_tests.installations import FIRST, Installation, failed_steps, materialised
from defiyield_assets_tests.served_market import (
    ServedMarket,
    contents,
    environment,
    generated_market,
    hurried,
    live_installation,
    serving,
)
from defiyield_assets_tests.small_market import N_POOLS

INGEST_PHASES = ("1", "2")
ANY = "*"
CONCURRENCY = 64


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a vendor as the archive names it (a shell pattern), and where it is on the wire.

    `effect` is what becomes of `asset` when every request to it fails: it fails, or degrades because something stands
    in. `classes` are the error classes that are this vendor's own; the others are `CLASSES`. `told_as` is the one class
    under which the asset tells of all of them, where it has a word of its own; `is_request_told` says whether the
    request stands in the metadata (else it stands in the reason).
    """

    name: str
    vendor: str
    endpoint: str
    host: str
    path: str
    asset: str
    effect: Literal["fails", "degrades"]
    classes: Mapping[FaultKind, str | None] = field(default_factory=dict)
    told_as: str | None = None
    is_request_told: bool = True

    def error_class(self, kind: FaultKind) -> str | None:
        """The class in `asset_outcomes` when that fault stays; None when nothing happens."""
        wanted = {**CLASSES, **self.classes}[kind]
        return wanted and (self.told_as or wanted)

    def rule(self, kind: FaultKind, **options: float | str | None) -> FaultRule:
        """A fault of this endpoint alone."""
        where = {"host": self.host, "path": self.path}
        return FaultRule.model_validate({"kind": kind, **where, **options})

    def holds(self, vendor: str, endpoint: str) -> bool:
        """Whether a row of the archive is a request to it."""
        return vendor == self.vendor and fnmatch.fnmatchcase(endpoint, self.endpoint)

    def was_struck(self, struck: Mapping[tuple[str, str, str], int], kind: FaultKind) -> bool:
        """Whether the server has hit a request to it with that fault."""
        return any(
            hit == kind and host == self.host and fnmatch.fnmatchcase(path, self.path) for hit, host, path in struck
        )


CLASSES: dict[FaultKind, str | None] = {
    FaultKind.THROTTLED: "VendorThrottled",
    FaultKind.SERVER_ERROR: "VendorUnavailable",
    FaultKind.UNAVAILABLE: "VendorUnavailable",
    FaultKind.HANG: "VendorUnavailable",
    FaultKind.SLOW: "VendorUnavailable",
    FaultKind.RESET: "VendorUnavailable",
    FaultKind.TRUNCATED: "VendorMalformed",
    FaultKind.WRONG_CONTENT_TYPE: "VendorMalformed",
    FaultKind.EMPTY: "VendorMalformed",
    FaultKind.EMPTY_LIST: "VendorEmpty",
    FaultKind.MALFORMED_JSON: "VendorMalformed",
    FaultKind.DUPLICATE_ROWS: None,
    FaultKind.MISSING_FIELD: "VendorMalformed",
    FaultKind.RETYPED_FIELD: "VendorMalformed",
    FaultKind.NEW_FIELD: None,
    FaultKind.CLOCK_SKEW: "VendorMalformed",
    FaultKind.ERROR_IN_200: "VendorMalformed",
    FaultKind.UNAUTHORISED: "VendorAuthError",
    FaultKind.NOT_FOUND: "VendorNotFound",
    FaultKind.PLAN_LIMIT: "VendorPlanLimit",
}
"""Fault that stays -> the error class that reaches the asset; None: nothing happens, the answer is as good."""
STATUSES = {
    FaultKind.THROTTLED: 429,
    FaultKind.SERVER_ERROR: 500,
    FaultKind.UNAVAILABLE: 503,
    FaultKind.UNAUTHORISED: 401,
    FaultKind.NOT_FOUND: 404,
}
"""Fault -> the HTTP status that must be told with the failure."""
_LLAMA, _COINS = "yields.llama.fi", "coins.llama.fi"
_THROTTLING = {FaultKind.ERROR_IN_200: "VendorThrottled"}
_UNAVAILABLE = {FaultKind.ERROR_IN_200: "VendorUnavailable"}
_MAY_BE_EMPTY = {FaultKind.EMPTY_LIST: None}
"""A well-formed answer without a row may be true there: nobody can tell, and the next day asks again."""
_MAY_BE_UNKNOWN = {**_MAY_BE_EMPTY, FaultKind.NOT_FOUND: None}
"""One coin that the vendor does not know is missing by name, and stops no other."""
_NO_NAMES = {FaultKind.MISSING_FIELD: None, FaultKind.RETYPED_FIELD: None}
"""Rows are bare lists: there is no field that could be missing."""
UNTOLD = frozenset({FaultKind.EMPTY_LIST, FaultKind.NOT_FOUND})
"""Faults that may pass for an answer: nobody can say that the tables are whole."""

ENDPOINTS = (
    Endpoint("pools", "defillama_yields", "/pools", _LLAMA, "/pools", "pools", "fails", classes=_UNAVAILABLE),
    Endpoint(
        "lend_borrow",
        "defillama_yields",
        "/lendBorrow",
        _LLAMA,
        "/lendBorrow",
        "pools",
        "fails",
        classes={**_UNAVAILABLE, **_MAY_BE_EMPTY},
    ),
    Endpoint(
        "chart",
        "defillama_yields",
        "/chart/{pool}",
        _LLAMA,
        "/chart/*",
        "pool_histories",
        "fails",
        classes=_UNAVAILABLE,
    ),
    Endpoint(
        "chart_lend_borrow",
        "defillama_yields",
        "/chartLendBorrow/{pool}",
        _LLAMA,
        "/chartLendBorrow/*",
        "lending_histories",
        "degrades",
        told_as="Degraded",
        is_request_told=False,
    ),
    Endpoint("coins_chart", "defillama_coins", "/chart/{coins}", _COINS, "/chart/*", "closes_defillama", "degrades"),
    Endpoint(
        "cmc_ohlcv",
        "coinmarketcap",
        "/v2/cryptocurrency/ohlcv/historical",
        "pro-api.coinmarketcap.com",
        ANY,
        "ohlcv_coinmarketcap",
        "degrades",
        classes=_THROTTLING,
    ),
    Endpoint(
        "coingecko_markets",
        "coingecko",
        "/coins/markets",
        "api.coingecko.com",
        "/api/v3/coins/markets",
        "observations",
        "degrades",
        classes={**_THROTTLING, **_MAY_BE_EMPTY},
    ),
    Endpoint(
        "coingecko_chart",
        "coingecko",
        "/coins/{id}/market_chart",
        "api.coingecko.com",
        "*/market_chart",
        "ohlcv_coingecko",
        "degrades",
        classes={**_THROTTLING, **_MAY_BE_UNKNOWN},
    ),
    Endpoint(
        "coingecko_ohlc",
        "coingecko",
        "/coins/{id}/ohlc",
        "api.coingecko.com",
        "*/ohlc",
        "ohlcv_coingecko",
        "degrades",
        classes={**_THROTTLING, **_MAY_BE_UNKNOWN, **_NO_NAMES},
    ),
    Endpoint(
        "pendle",
        "pendle",
        "/v?/markets/all",
        "api-v2.pendle.finance",
        ANY,
        "pendle_markets",
        "degrades",
        classes=_MAY_BE_EMPTY,
    ),
    Endpoint(
        "gas_tracker",
        "ethgastracker",
        "/api/gas/average",
        "www.ethgastracker.com",
        ANY,
        "gas_fees_hourly",
        "degrades",
        is_request_told=False,
    ),
    Endpoint(
        "node",
        "ethereum_node",
        "/eth_*",
        "ethereum-rpc.simulated",
        ANY,
        "gas_fees_hourly",
        "degrades",
        classes=_THROTTLING,
        told_as="NoCrossCheck",
        is_request_told=False,
    ),
    Endpoint(
        "alpha_vantage",
        "alpha_vantage",
        "/query",
        "www.alphavantage.co",
        "/query",
        "ohlcv_alpha_vantage",
        "degrades",
        classes=_THROTTLING,
    ),
    Endpoint(
        "fred",
        "fred",
        "/series/observations",
        "api.stlouisfed.org",
        "/fred/series/observations",
        "macro_series",
        "fails",
        classes=_MAY_BE_EMPTY,
    ),
    Endpoint("fred_series", "fred", "/series", "api.stlouisfed.org", "/fred/series", "macro_series", "fails"),
    Endpoint(
        "etherscan",
        "etherscan",
        "/api",
        "api.etherscan.io",
        ANY,
        "account_transactions",
        "fails",
        classes={**_THROTTLING, FaultKind.EMPTY_LIST: "VendorMalformed"},
    ),
    Endpoint(
        "address_info",
        "ethplorer",
        "/getAddressInfo/{address}",
        "api.ethplorer.io",
        "/getAddressInfo/*",
        "chain_balances",
        "fails",
        classes={**_UNAVAILABLE, **_MAY_BE_EMPTY},
    ),
)


def ingest_assets(installation: Installation) -> list[str]:
    """What a day's ingest makes: everything of phases 1 and 2."""
    graph = installation.definitions.resolve_asset_graph()
    keys = [key for key in graph.materializable_asset_keys if graph.get(key).tags.get("phase") in INGEST_PHASES]
    return sorted(key.to_user_string() for key in keys)


def downstream(installation: Installation, asset: str) -> set[str]:
    """The asset and everything of the day that depends on it."""
    graph = installation.definitions.resolve_asset_graph()
    hit = dg.AssetSelection.assets(asset).downstream().resolve(graph)
    return {key.to_user_string() for key in hit if "daily" in graph.get(key).tags}


@dataclass(frozen=True)
class Undisturbed:
    """A live day of ingest without any fault, and the market that answered it."""

    market: ServedMarket
    installation: Installation
    assets: list[str]
    contents: dict[str, str]


@contextmanager
def undisturbed_day(folder: Path, *, keys: bool = True) -> Iterator[Undisturbed]:
    """Serve a small simulated market at D+1 00:30, point the environment at it, and ingest the day once."""
    with (
        serving(generated_market(folder, N_POOLS)) as market,
        environment(market.variables(keys=keys, concurrency=CONCURRENCY)),
        hurried(read_seconds=20.0),
    ):
        installation = live_installation(folder / "undisturbed")
        assets = ingest_assets(installation)
        result = installation.run(FIRST, assets)
        assert failed_steps(result) == set()
        assert materialised(result) == set(assets)
        yield Undisturbed(market, installation, assets, contents(installation))
