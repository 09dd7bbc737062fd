"""The market of the soak: one that revises its past, and one that also fails, both by a seed.

Lives here: what is asked of the simulated market in a soak, and which faults strike on which day. Not here: the small
market (defiyield_assets_tests/small_market.py), kinds of faults (simulator/faults.py), the days (soak_year.py).

Its universe is a part of the shipped one, with every type of instrument and one that has ended: bars and features take
a third of a day otherwise, and thirty stocks more say nothing more.

Revisions are the market's: both runs see them. Faults strike one run only, and all of them pass: within the attempts of
one request, within those of the asset, or, of the list of all pools, within those of the repair. Only so can the tables
of both runs be the same: a source that fails all day is by design replaced by a substitute, and the day says so.
"""

import hashlib
import json
import random
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import httpx
import yaml

from defiyield_assets.config import instruments
from defiyield_assets.simulator.faults import FaultKind, FaultRule, FaultSchedule, FaultyTransport
from defiyield_assets.sources.transport import ATTEMPTS
from defiyield_assets_tests.small_market import SmallMarketResource

PASSING = (
    *(FaultKind.THROTTLED, FaultKind.SERVER_ERROR, FaultKind.HANG, FaultKind.RESET, FaultKind.TRUNCATED),
    *(FaultKind.WRONG_CONTENT_TYPE, FaultKind.EMPTY, FaultKind.CLOCK_SKEW, FaultKind.MALFORMED_JSON),
)
HARMLESS = FaultKind.DUPLICATE_ROWS
SHARE_OF_BAD_DAYS, SHARE_OF_OUTAGES, SHARE_OF_LONG_OUTAGES = 0.6, 0.1, 0.03
LISTED, BALANCES = ("yields.llama.fi", "/pools"), ("api.ethplorer.io", "*")
"""Requests without a fan-out, whose asset asks again when all attempts of one failed."""
ASSET_ATTEMPTS = 3
REVISED_SHARE = 0.02
REVISED_AFTER = timedelta(days=2)
CHARTS = ("yields.llama.fi", "/chart/")
UNIVERSE = frozenset({"BTC", "ETH", "SOL", "MATIC", "SPY", "SPX", "AAPL", "KO"})
UNIVERSE_FOLDER = "config"


def write_universe(state: Path) -> None:
    """Some of the shipped instruments as the configuration of the state folder."""
    shipped = Path(instruments.__file__).with_name(instruments.NAME)
    document = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    document["instruments"] = [row for row in document["instruments"] if row["symbol"] in UNIVERSE]
    folder = state / UNIVERSE_FOLDER
    folder.mkdir(exist_ok=True)
    (folder / instruments.NAME).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def faults_of(seed: int, day: date) -> tuple[FaultRule, ...]:
    """What goes wrong on the day."""
    drawn = random.Random(f"{seed} {day}")
    rules: list[FaultRule] = []
    chance = drawn.random()
    if chance < SHARE_OF_LONG_OUTAGES:
        rules.append(_outage(LISTED, ATTEMPTS * ASSET_ATTEMPTS))
    elif chance < SHARE_OF_OUTAGES:
        rules.append(_outage(drawn.choice((LISTED, BALANCES)), ATTEMPTS))
    elif chance < SHARE_OF_BAD_DAYS:
        for number, kind in enumerate(drawn.sample(PASSING, 2)):
            rate = drawn.uniform(0.02, 0.5)
            rules.append(FaultRule(kind=kind, rate=rate, after=number, first=1, seed=seed, seconds=_seconds(kind)))
        rules.append(FaultRule(kind=HARMLESS, rate=0.1, seed=seed))
    return tuple(rules)


def _outage(where: tuple[str, str], requests: int) -> FaultRule:
    return FaultRule(kind=FaultKind.UNAVAILABLE, host=where[0], path=where[1], first=requests)


def _seconds(kind: FaultKind) -> float | None:
    return 0.0 if kind is FaultKind.THROTTLED else None


@lru_cache(maxsize=2)
def schedule_of(seed: int, day: date, outages: Path | None) -> FaultSchedule:
    """The faults of the day in this process, which pass as requests are counted.

    A process cannot know how often another one was refused: `outages`, a file, names the days whose outage has struck
    one, and the next one finds the source up again.
    """
    rules = faults_of(seed, day)
    if outages is not None and any(rule.kind is FaultKind.UNAVAILABLE for rule in rules):
        struck = outages.read_text(encoding="utf-8").split() if outages.exists() else []
        if str(day) in struck:
            rules = tuple(rule for rule in rules if rule.kind is not FaultKind.UNAVAILABLE)
        else:
            outages.write_text("\n".join([*struck, str(day)]), encoding="utf-8")
    return FaultSchedule(rules)


class Revising(httpx.AsyncBaseTransport):
    """The market, which tells some points of its charts a little otherwise from two days after them on."""

    def __init__(self, inner: httpx.AsyncBaseTransport, seed: int, day: date) -> None:
        self._inner, self._seed, self._day = inner, seed, day

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The market's answer; of a chart with its past revised."""
        response = await self._inner.handle_async_request(request)
        is_chart = request.url.host == CHARTS[0] and request.url.path.startswith(CHARTS[1])
        if not is_chart or response.status_code != httpx.codes.OK:
            return response
        document = json.loads(await response.aread())
        for point in document["data"]:
            self._revise(request.url.path, point)
        headers = {"date": response.headers["date"], "content-type": "application/json"}
        return httpx.Response(response.status_code, headers=headers, content=json.dumps(document).encode())

    def _revise(self, path: str, point: dict[str, object]) -> None:
        told = datetime.fromisoformat(str(point["timestamp"])).astimezone(UTC).date()
        drawn = hashlib.sha256(f"{self._seed} {path} {told}".encode()).digest()
        apy = point.get("apy")
        is_revised = int.from_bytes(drawn[:4], "big") < REVISED_SHARE * 2**32 and told + REVISED_AFTER <= self._day
        if is_revised and isinstance(apy, float | int):
            point["apy"] = round(float(apy) * 1.01, 6)


class SoakMarketResource(SmallMarketResource):
    """The small market that revises its past; with `faults_seed` its vendors fail too."""

    faults_seed: int | None = None
    outages: str | None = None

    def _transport(self, day: date) -> httpx.AsyncBaseTransport:
        revising = Revising(super()._transport(day), self.seed, day)
        schedule = self.schedule(day)
        return revising if schedule is None else FaultyTransport(revising, schedule)

    def schedule(self, day: date) -> FaultSchedule | None:
        """The faults of the day in this process, and how often they struck; None where nothing fails."""
        if self.faults_seed is None:
            return None
        return schedule_of(self.faults_seed, day, None if self.outages is None else Path(self.outages))
