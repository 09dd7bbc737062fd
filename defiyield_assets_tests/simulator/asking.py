"""How the simulator's tests put a question to a market's transport, and how they write a plan."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pandas as pd

from defiyield_assets.simulator.market import Market

ETHERSCAN = "https://api.etherscan.io/v2/api"
ETHPLORER = "https://api.ethplorer.io"
STEP_COLUMNS = (
    *(
        "run_id",
        "seq",
        "leg",
        "date",
        "step_type",
        "wallet",
        "pool_id",
        "token_in",
        "amount_in",
        "token_out",
        "amount_out",
    ),
    *("is_full_exit", "value_usd", "gas_units", "gas_usd", "conversion_usd"),
)


def respond(market: Market, day: date, url: str, **params: object) -> httpx.Response:
    """The vendor's response as of a partition."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=market.transport(day)) as client:
            return await client.get(url, params={name: str(value) for name, value in params.items()} or None)

    return asyncio.run(ask())


def answer(market: Market, day: date, url: str, **params: object) -> Any:
    """The decoded answer of a question that succeeds."""
    response = respond(market, day, url, **params)
    assert response.status_code == 200, response.text
    return response.json()


def etherscan(market: Market, day: date, action: str, address: str, **params: object) -> Any:
    """The result of an Etherscan account question."""
    return answer(market, day, ETHERSCAN, chainid=1, module="account", action=action, address=address, **params)[
        "result"
    ]


def plan(*steps: dict[str, Any], day: date, wallet: str) -> pd.DataFrame:
    """A frame of `allocation_steps`; every step names its type and what differs from null."""
    rows = []
    for seq, step in enumerate(steps, start=1):
        row: dict[str, Any] = dict.fromkeys(STEP_COLUMNS)
        zero = Decimal(0)
        row |= {"run_id": "run", "seq": seq, "leg": 0, "date": day, "wallet": wallet, "is_full_exit": False}
        row |= {"value_usd": zero, "gas_units": 0, "gas_usd": zero, "conversion_usd": zero}
        rows.append(row | step)
    return pd.DataFrame(rows, columns=list(STEP_COLUMNS), dtype=object)
