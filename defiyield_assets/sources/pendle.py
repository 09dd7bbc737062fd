"""Pendle: what each market's principal, yield and wrapped tokens stand for. No key.

Lives here: requests and typed rows of `https://api-v2.pendle.finance/core`. Not here: which pools a market resolves
(domain/pools).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defiyield_assets.errors import VendorMalformed, VendorNotFound
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window

VENDOR = "pendle"
PAGE_SIZE = 100
"""Markets of one page of the v2 route; it gives no more."""
MAX_PAGES = 100
_TOKENS = {"principal_token": "pt", "yield_token": "yt", "standardised_yield": "sy", "underlying": "underlyingAsset"}


@dataclass(frozen=True)
class Page:
    """One page of the v2 route: its markets on the chain, how many it held, and how many there are in all."""

    markets: pd.DataFrame
    n_markets: int
    total: int

    def __len__(self) -> int:
        return self.n_markets


class Pendle:
    """Client of Pendle's market list."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def markets(
        self, chain_id: int = 1, window: Window | None = None, reuse: Window | None = None
    ) -> Fetched[pd.DataFrame]:
        """Every market of a chain, matured ones included (columns: `parse_markets`); may be empty.

        Asks the v1 route, and the paged v2 route where v1 is gone.
        """
        try:
            return await self._gateway.get(
                VENDOR,
                "/v1/markets/all",
                {},
                {"chainId": chain_id},
                lambda answer: parse_markets(answer, chain_id),
                window=window,
                reuse=reuse,
            )
        except VendorNotFound:
            return await self._all_pages(chain_id, window, reuse)

    async def _all_pages(self, chain_id: int, window: Window | None, reuse: Window | None) -> Fetched[pd.DataFrame]:
        pages: list[pd.DataFrame] = []
        read = 0
        for _ in range(MAX_PAGES):
            fetched = await self._gateway.get(
                VENDOR,
                "/v2/markets/all",
                {},
                {"chainId": chain_id, "skip": read, "limit": PAGE_SIZE},
                lambda answer: parse_page(answer, chain_id),
                window=window,
                reuse=reuse,
            )
            pages.append(fetched.rows.markets)
            read += len(fetched.rows)
            if not len(fetched.rows) or read >= fetched.rows.total:
                rows = pd.concat(pages, ignore_index=True).drop_duplicates("market", keep="last")
                rows = rows.sort_values("market", ignore_index=True)
                return Fetched(rows, fetched.fetched_at, from_archive=fetched.from_archive)
        raise VendorMalformed(f"{VENDOR}: more than {MAX_PAGES} pages of markets", vendor=VENDOR)


def _token(value: object, chain_id: int) -> str | None:
    """The address in `1-0x…`, lower case; None where there is none or it is on another chain."""
    if value is None or value == "":
        return None
    chain, dash, address = value.rpartition("-") if type(value) is str else ("", "", value)
    if dash and not (chain.isascii() and chain.isdigit()):
        raise ValueError(f"expected `chain-address`, got {fields.shown(value)}")
    found = fields.address(address)
    return found if not dash or chain == str(chain_id) else None


def _markets(rows: list[dict[str, Any]], chain_id: int) -> pd.DataFrame:
    def is_here(row: Mapping[str, Any]) -> bool:
        return row.get("chainId") in (None, chain_id)

    here = fields.distinct([row for row in rows if is_here(row)], "address")
    columns = {
        name: fields.objects(fields.column(here, field, lambda value: _token(value, chain_id), optional=True))
        for name, field in _TOKENS.items()
    }
    frame = pd.DataFrame(
        {
            "chain_id": pd.Series([chain_id] * len(here), dtype="int64"),
            "market": fields.objects(fields.column(here, "address", fields.address)),
            "name": fields.objects(fields.column(here, "name", fields.text)),
            "expiry": fields.objects([stamp.date() for stamp in fields.column(here, "expiry", fields.instant)]),
            **columns,
        }
    )
    if frame["market"].duplicated().any():
        raise VendorMalformed("one market is there twice in two spellings")
    return frame.sort_values("market", ignore_index=True)


def parse_markets(answer: object, chain_id: int) -> pd.DataFrame:
    """Markets of `/v1/markets/all` on one chain, sorted by address.

    Columns: chain_id, market (address), name, expiry (day), principal_token, yield_token, standardised_yield,
    underlying (addresses, lower case, null where the market names none on this chain).
    """
    return _markets(fields.records(fields.record(answer, "the answer").get("markets"), "markets"), chain_id)


def parse_page(answer: object, chain_id: int) -> Page:
    """One page of `/v2/markets/all`: `results` instead of `markets`, with `total`."""
    body = fields.record(answer, "the answer")
    rows = fields.records(body.get("results"), "results")
    total = fields.single(body, "total", fields.small_integer, "the answer")
    return Page(_markets(rows, chain_id), len(rows), total)
