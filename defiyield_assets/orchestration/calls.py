"""How many calls a run is going to make, before it makes any.

Lives here: the estimate for whole days. Not here: the exact numbers, which each asset states when it knows them
(resources.py, `MarketResource.ask`), or what the budgets leave (domain/budgets.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from defiyield_assets.domain.budgets import Need, times
from defiyield_assets.domain.days import DayRange
from defiyield_assets.settings import KEY_VARIABLES, Settings
from defiyield_assets.store.archive import fetches, newest_partition

FIRST_DAY: Mapping[str, int] = {
    "defillama_yields": 802,
    "defillama_coins": 20,
    "coinmarketcap": 20,
    "coingecko": 120,
    "alpha_vantage": 60,
    "ethgastracker": 1,
    "ethereum_node": 120,
    "ethplorer": 20,
    "etherscan": 40,
    "pendle": 10,
    "fred": 8,
}
"""Calls of a first day, generously: two snapshots, a chart and a lending chart of 400 pools, a month of prices of every
listed token and a year of every coin, the whole life and the earnings of every share, eight spans of blocks with the
times of their ends, two calls of every share token held, every wallet's history and the newest block of its chain."""
SERVES_WITHOUT_KEY = frozenset(FIRST_DAY) - set(KEY_VARIABLES) | {"ethplorer"}
"""Vendors that answer without a key of ours; Ethplorer has a public one."""


@dataclass(frozen=True)
class Estimate:
    """Calls by vendor, and in words what the figures rest on."""

    needs: dict[str, Need]
    basis: str


def expected_calls(engine: Engine | None, n_days: int, askable: frozenset[str]) -> Estimate:
    """What `n_days` days will ask of the vendors in `askable`: as much as the newest day did, retries included.

    Without a day that asked (or without a warehouse) the generous figures of a first day.
    """
    newest = newest_partition(engine) if engine is not None else None
    if engine is None or newest is None:
        known = {vendor: Need(calls) for vendor, calls in FIRST_DAY.items() if vendor in askable}
        return Estimate(times(known, n_days), "at most, on a first run")
    counted = fetches(engine, DayRange.of(newest))
    needs = {
        str(vendor): Need(int(attempts))
        for vendor, attempts in zip(counted["vendor"], counted["attempts"], strict=True)
        if vendor in askable
    }
    return Estimate(times(needs, n_days), f"as on {newest}")


def askable_vendors(settings: Settings, configured: frozenset[str]) -> frozenset[str]:
    """Vendors that a run of this installation may ask: all in a closed loop, those with a key or without need of one
    when live.
    """
    return frozenset(FIRST_DAY) if settings.market != "live" else SERVES_WITHOUT_KEY | configured
