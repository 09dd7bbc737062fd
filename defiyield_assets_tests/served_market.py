"""A market behind a real socket, and live installations that ask it: the whole live path without the Internet.

Lives here: starting the server beside a test and pointing settings at it. Not here: the server (simulator/server.py),
installations of a closed loop (installations.py), what is asserted.
"""

import asyncio
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.orchestration import served_clock
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.simulator.faults import FaultRule
from defiyield_assets.simulator.generated import GeneratedMarket
from defiyield_assets.simulator.market import Market
from defiyield_assets.simulator.server import RateLimit, VendorServer
from defiyield_assets.sources import transport
from defiyield_assets.sources.vendors import default_vendors
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Installation

SEED = 7
START_SECONDS = 30.0
SECRETS = {vendor: f"secret-of-{vendor}-0123456789" for vendor in KEY_VARIABLES if vendor != "ethereum_node"}
"""A key of every vendor that has one; no trace of them may be left anywhere."""
ADDITIONS = {"raw_fetches", "raw_bodies", "vendor_usage", "vendor_paces", "forecast_cache"}
"""Tables that grow with every request and every attempt: how often a vendor was asked, what it said when it failed, and
what was fitted on a day that lacked something, is no content.
"""


@dataclass
class ServedMarket:
    """A running server and its address."""

    server: VendorServer
    address: str

    def faults(self, *rules: FaultRule) -> None:
        """From now on these faults; none: all are healed."""
        self.server.faults.become(rules)

    def move_to(self, day: date) -> None:
        """From now on the present is D+1 00:30 of that day."""
        self.server.day = day
        served_clock.forget()

    def variables(self, *, keys: bool = True, concurrency: int = 16) -> dict[str, str]:
        """The environment of a live installation that asks this server, with no limit worth waiting for."""
        limits = {name: {"per_minute": 60_000_000, "concurrency": concurrency} for name in default_vendors({})}
        own = {KEY_VARIABLES[vendor][0]: secret for vendor, secret in SECRETS.items()} if keys else {}
        return {
            **dict.fromkeys((variable for variable, _ in KEY_VARIABLES.values()), ""),
            **own,
            "DEFIYIELD_MARKET": "live",
            "DEFIYIELD_ALPHA_VANTAGE_PLAN": "premium",
            "DEFIYIELD_VENDOR_SERVER": self.address,
            "DEFIYIELD_VENDORS": json.dumps(limits),
            "DEFIYIELD_SIMULATED_FAULTS": "",
            "DEFIYIELD_SLACK_WEBHOOK_URL": "",
            "DEFIYIELD_SLACK_BOT_TOKEN": "",
        }


def generated_market(folder: Path, n_pools: int | None = None) -> GeneratedMarket:
    """The simulated market, or one with so few pools, with the shipped lists and a chain of its own in the folder."""
    policy, chain = load_policy(FIRST).policy, folder / "served-chain.sqlite"
    lists, universe = (policy.wallets, policy.tokens, policy.protocols), load_instruments().instruments
    return GeneratedMarket(SEED, chain, *lists, instruments=universe, n_pools=n_pools)


@contextmanager
def serving(
    market: Market,
    day: date | None = FIRST,
    rules: Sequence[FaultRule] = (),
    limits: Mapping[str, RateLimit] | None = None,
) -> Iterator[ServedMarket]:
    """Serve the market on a free loopback port, from a thread of its own, until the block ends."""
    server = VendorServer(market, day=day, rules=rules, limits=limits)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="vendor-server", daemon=True)
    thread.start()
    address = asyncio.run_coroutine_threadsafe(server.start(), loop).result(START_SECONDS)
    served_clock.forget()
    try:
        yield ServedMarket(server, address)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The process's environment with these variables, as fixtures of a wider scope than a test need it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DEFIYIELD_")]:
            if name not in ("DEFIYIELD_RETRY_DELAY_SECONDS", "DEFIYIELD_FIRST_DAY"):
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@contextmanager
def hurried(read_seconds: float = 1.5, attempts: int | None = None) -> Iterator[None]:
    """Retries follow at once and time-outs are short, in this process; nothing else of the live path is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "BACKOFF_SECONDS", 0.001)
        patch.setattr(transport, "READ_SECONDS", read_seconds)
        patch.setattr(transport, "ATTEMPT_SECONDS", 2 * read_seconds)
        if attempts is not None:
            patch.setattr(transport, "ATTEMPTS", attempts)
        yield


def live_installation(folder: Path, database_url: str | None = None) -> Installation:
    """A live installation; which vendors it asks with which keys, the environment says."""
    folder.mkdir(parents=True, exist_ok=True)
    return Installation(folder, "live", database_url)


def contents(installation: Installation, tables: Sequence[str] | None = None) -> dict[str, str]:
    """Fingerprint of every table (or of these) whose rows are content."""
    wanted = [name for name in schema.metadata.tables if name not in ADDITIONS] if tables is None else tables
    return {name: installation.fingerprint(schema.metadata.tables[name]) for name in wanted}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of the tables that are not the same."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
