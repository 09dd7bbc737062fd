"""A vendor of charts on a real socket, and live installations that follow its pools: for crash tests and benchmarks.

Lives here: the server, seeding a warehouse with tracked pools. Not here: the whole market as a server
(simulator/server.py), what is asserted or measured.
`python -m defiyield_assets_tests.chart_vendor POINTS LIMIT WINDOW_SECONDS` serves until its input ends, and prints its
port first and its figures last, one line of JSON each.
"""

import asyncio
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import Installation

HELD_SECONDS = 0.05
"""How long an answer that is held back waits before it is asked about again."""


def yesterday() -> date:
    """The newest day that is over."""
    return datetime.now(UTC).date() - timedelta(days=1)


@lru_cache(maxsize=2000)
def chart(pool: str, points: int, last: date) -> bytes:
    """The life of one pool, the same whenever it is asked for, about 150 bytes a day; as the vendor writes it."""
    random = Random(pool)

    def point(day: date) -> str:
        clock = f"23:01:{random.randrange(60):02}.{random.randrange(1000):03}Z"
        rates = f'"apy":{random.uniform(0, 12):.5f},"apyBase":{random.uniform(0, 12):.5f},"apyReward":null'
        size = f'"tvlUsd":{random.randrange(10**6, 10**9)}'
        return f'{{"timestamp":"{day}T{clock}",{size},{rates},"il7d":null,"apyBase7d":null}}'

    days = (last - timedelta(days=age) for age in range(points - 1, -1, -1))
    return f'{{"status":"success","data":[{",".join(map(point, days))}]}}'.encode()


@dataclass
class ChartVendor:
    """What the server does and has seen. `limit` calls in any `window_seconds` are answered, the others get a 429.

    `holds` is asked of every pool that is asked for, again and again until it says no: as long the answer waits.
    """

    points: int
    limit: int = 0
    window_seconds: float = 1.0
    last: date = field(default_factory=yesterday)
    on_request: Callable[[int, str], None] = lambda _count, _pool: None
    holds: Callable[[str], bool] = lambda _pool: False
    asked: list[str] = field(default_factory=list)
    throttles: int = 0
    answered_at: list[float] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)

    def answer(self, path: str) -> bytes:
        """The whole response to one request."""
        pool, now = path.rsplit("/", 1)[1], time.monotonic()
        while self._recent and self._recent[0] <= now - self.window_seconds:
            self._recent.popleft()
        if self.limit and len(self._recent) >= self.limit:
            self.throttles += 1
            return self._response("429 Too Many Requests", b"{}", "retry-after: 1\r\n")
        self._recent.append(now)
        self.answered_at.append(now)
        self.asked.append(pool)
        self.on_request(len(self.asked), pool)
        return self._response("200 OK", chart(pool, self.points, self.last))

    @staticmethod
    def _response(status: str, body: bytes, more: str = "") -> bytes:
        date_ = format_datetime(datetime.now(UTC), usegmt=True)
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ndate: {date_}\r\n{more}"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    @property
    def figures(self) -> dict[str, float]:
        """Answers, refusals, and the rate between the first answer and the last."""
        seconds = self.answered_at[-1] - self.answered_at[0] if len(self.answered_at) > 1 else 0.0
        rate = (len(self.answered_at) - 1) / seconds if seconds else 0.0
        return {"answers": len(self.answered_at), "throttles": self.throttles, "seconds": seconds, "per_second": rate}


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive for GET requests without a body: nobody's throughput waits for a web framework."""

    def __init__(self, vendor: ChartVendor) -> None:
        self._vendor, self._pending = vendor, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for request in requests:
            self._answer(request.split(b" ", 2)[1].decode())

    def _answer(self, path: str) -> None:
        if self._vendor.holds(path.rsplit("/", 1)[1]):
            asyncio.get_running_loop().call_later(HELD_SECONDS, self._answer, path)
        else:
            self._transport.write(self._vendor.answer(path))


@contextmanager
def serving(vendor: ChartVendor) -> Iterator[str]:
    """The vendor on a loopback port, served by a thread; yields its address."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: _Connection(vendor), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def live_installation(
    folder: Path, n_pools: int, days: DayRange, database_url: str | None = None, *, is_apart: bool = False
) -> Installation:
    """A live installation whose pre-filter passed so many pools on each of the days; nothing else is known.

    `is_apart`: each day has pools of its own, so that no day's charts answer for another's.
    """
    installation = Installation(folder, market="live", database_url=database_url)
    folder.mkdir(parents=True, exist_ok=True)
    installation.warehouse.migrate()
    policies = []
    for day in days:
        loaded = PolicyResource().load(day, None).policy
        text = policy_to_json(loaded)
        counts = {"n_tokens": len(loaded.tokens), "n_protocols": len(loaded.protocols), "n_overrides": 0}
        policies.append({"date": day, "policy_hash": content_hash(text), "policy_json": text, **counts})
    writes.replace_slice(installation.engine, schema.policy_snapshot, pd.DataFrame(policies), days)
    writes.replace_slice(installation.engine, schema.prefiltered_pools, _passed(n_pools, days, is_apart=is_apart), days)
    return installation


def pool_ids(n_pools: int, group: int = 0) -> list[str]:
    """The ids of the pools that an installation follows, in order."""
    return [f"00000000-0000-4000-{group:04}-{number:012}" for number in range(n_pools)]


def _passed(n_pools: int, days: DayRange, *, is_apart: bool) -> pd.DataFrame:
    rows = [(day, pool) for group, day in enumerate(days) for pool in pool_ids(n_pools, group if is_apart else 0)]
    frame = pd.DataFrame(rows, columns=["date", "pool_id"], dtype=object).assign(
        is_passed=True,
        reason_codes="",
        reasons="",
        warning_codes="",
        chain="Ethereum",
        protocol="aave-v3",
        symbol="USDC",
        role="lend",
        underlying_addresses_json="[]",
        underlying_symbols="USDC",
        size_usd=1e7,
        is_size_lower_bound=False,
        exit_days=0,
        maturity=None,
    )
    return frame[[column.name for column in schema.prefiltered_pools.columns]]


def variables(
    installation: Installation, url: str, per_minute: int = 1_000_000, concurrency: int = 16
) -> dict[str, str]:
    """The environment of a process that runs this installation against the server."""
    limits = {"base_url": url, "per_minute": per_minute, "concurrency": concurrency}
    return {
        "DEFIYIELD_MARKET": "live",
        "DEFIYIELD_STATE_DIR": str(installation.folder),
        "DEFIYIELD_DATABASE_URL": installation.settings.warehouse_url,
        "DEFIYIELD_VENDORS": json.dumps({"defillama_yields": limits}),
        "NO_PROXY": "127.0.0.1",
    }


def main() -> None:
    """Serve until standard input ends."""
    points, limit, window = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    vendor = ChartVendor(points, limit, window)
    with serving(vendor) as url:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:  # one line of pools to be made in advance
            for pool in line.split():
                chart(pool, points, vendor.last)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
    sys.stdout.write(json.dumps(vendor.figures) + "\n")


if __name__ == "__main__":
    main()
