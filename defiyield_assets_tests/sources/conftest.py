"""Fixtures of the sources' tests: virtual time, an archive in memory, and vendors that answer what they are told."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from defiyield_assets.domain.budgets import Budgets
from defiyield_assets.domain.provenance import ArchivedAnswer, ArchivedFailure, FetchRecord
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.sources.vendors import default_vendors, without_pacing

NOON = datetime(2025, 10, 24, 12, 0, tzinfo=UTC)
SECRET = "sk-very/secret+key=1"
# Characters that URLs and JSON spell differently.
KEYS = {
    name: f"{SECRET}-{name}"
    for name in (
        *("coinmarketcap", "alpha_vantage", "ethgastracker", "ethplorer", "etherscan", "fred"),
        "cryptopanic",
        "defillama_yields",
    )
}
Answer = httpx.Response | Exception


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting costs no time: when nothing is ready, its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> Any:
            if timeout is None:
                raise RuntimeError("everything waits and no timer is set")
            # Never quite no time: rounding may set a timer to this very instant again and again.
            self.clock += max(timeout, 1e-6)
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.clock

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Work of other threads is done at once: no virtual second passes meanwhile."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as an executor does
            done.set_exception(error)
        return done


@dataclass
class MemoryArchive:
    """An archive that keeps everything in lists; `log` tells each write in order."""

    fetches: list[FetchRecord] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def record(self, fetch: FetchRecord, body: bytes | None, fetch_id: int | None = None) -> int:
        self.log.append("record")
        if body is not None and fetch.sha256 is not None:
            self.bodies[fetch.sha256] = body
        if fetch_id is None:
            self.fetches.append(fetch)
            return len(self.fetches) - 1
        self.fetches[fetch_id] = fetch
        return fetch_id

    def settle(self, fetch_id: int, fetch: FetchRecord) -> None:
        self.log.append("settle")
        self.fetches[fetch_id] = fetch

    def _asked(
        self, vendor: str, endpoint: str, params_hash: str, first: datetime, last: datetime
    ) -> list[FetchRecord]:
        return [
            fetch
            for fetch in self.fetches
            if (fetch.vendor, fetch.endpoint, fetch.params_hash) == (vendor, endpoint, params_hash)
            and first <= fetch.fetched_at <= last
        ]

    def _answer(self, fetch: FetchRecord) -> ArchivedAnswer:
        return ArchivedAnswer(fetch.fetched_at, fetch.status or 0, self.bodies[fetch.sha256 or ""])

    def find(
        self,
        vendor: str,
        endpoint: str,
        params_hash: str,
        not_before: datetime,
        not_after: datetime,
        *,
        earliest: bool = False,
        skip: int = 0,
    ) -> ArchivedAnswer | None:
        asked = self._asked(vendor, endpoint, params_hash, not_before, not_after)
        found = [fetch for fetch in asked if fetch.error_class is None and fetch.status in range(200, 300)]
        ordered = sorted(found, key=lambda fetch: fetch.fetched_at, reverse=not earliest)
        return self._answer(ordered[skip]) if len(ordered) > skip else None

    def of_partition(
        self, vendor: str, endpoint: str, params_hash: str, day: date, *, not_before: datetime, not_after: datetime
    ) -> ArchivedAnswer | ArchivedFailure | None:
        asked = self._asked(vendor, endpoint, params_hash, not_before, not_after)
        own = [fetch for fetch in asked if fetch.partition_date == day]
        answered = [fetch for fetch in own if fetch.error_class is None]
        if answered:
            return self._answer(answered[-1])
        if not own:
            return None
        last = own[-1]
        return ArchivedFailure(last.fetched_at, last.status, last.error_class or "", last.error_message or "")

    def newest_stamp(self, day: date) -> datetime | None:
        return max((fetch.fetched_at for fetch in self.fetches if fetch.partition_date == day), default=None)

    @property
    def last(self) -> FetchRecord:
        return self.fetches[-1]


@dataclass
class Vendors:
    """A network whose answer to each request is computed by `answer`; requests are kept with their virtual time."""

    answer: Callable[[httpx.Request], Answer | Awaitable[Answer]]
    requests: list[httpx.Request] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        said = self.answer(request)
        if isinstance(said, Awaitable):
            said = await said
        if isinstance(said, Exception):
            raise said
        return said


@dataclass
class World:
    """A gateway to be, its archive, and the network below it."""

    vendors: Vendors
    archive: MemoryArchive
    paced: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = NOON
    seconds: float = 0.0
    budgets: Budgets | None = None
    archive_only: bool = False
    partition: date = date(2025, 10, 23)

    def run(self, question: Callable[[Gateway], Awaitable[Any]]) -> Any:
        """Ask one question through a fresh gateway in virtual time."""

        async def ask() -> Any:
            loop = asyncio.get_running_loop()
            vendors = default_vendors(KEYS)
            vendors = vendors if self.paced else without_pacing(vendors)
            vendors = {name: replace(settings, **self.settings) for name, settings in vendors.items()}
            gateway = Gateway(
                httpx.MockTransport(self.vendors),
                self.archive,
                vendors,
                self.partition,
                now=lambda: self.now + timedelta(seconds=loop.time()),
                budgets=self.budgets,
                archive_only=self.archive_only,
            )
            try:
                async with gateway:
                    return await question(gateway)
            finally:
                self.seconds = loop.time()

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(ask())


def answers(*said: Any, headers: Mapping[str, str] | None = None) -> Callable[[httpx.Request], Answer]:
    """The n-th request gets the n-th answer, later ones the last: documents become 200s, ints become empty statuses."""
    queue = list(said)

    def answer(_: httpx.Request) -> Answer:
        item = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(item, httpx.Response | Exception):
            return item
        if isinstance(item, int):
            return httpx.Response(item, headers=headers)
        body = item if isinstance(item, bytes) else json.dumps(item).encode()
        return httpx.Response(200, content=body, headers=headers)

    return answer


WorldMaker = Callable[..., World]


@pytest.fixture
def world() -> WorldMaker:
    """Make a world in which the vendors give these answers in turn."""

    def make(*said: Any, headers: Mapping[str, str] | None = None, **options: Any) -> World:
        reply = said[0] if len(said) == 1 and callable(said[0]) else answers(*said, headers=headers)
        return World(Vendors(reply), MemoryArchive(), **options)

    return make
