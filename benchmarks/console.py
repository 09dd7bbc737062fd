"""Fifty readers of the console at once, on 20,000 pools with a year of histories.

A warehouse is filled as for benchmarks/scale.py, its last day is made by the real assets, and what is not made there
(plan, ledger, icebox, …) is the demo day, which is the same day. Then `defiyield console` serves it with two processes,
and readers in another process ask for one page after another: searches, filters and sorted pages of the pool list,
pages of single pools, and the pages of the treasury, drawn by a seed. A reader looks at a page for two seconds on
average before he asks for the next (the first of `--pauses`), and then for none, which shows how much both cores can
do. What is promised is promised for both.

`MOST_P95_SECONDS` are what the console promises; targets.yaml does not know it.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any
from urllib.parse import urlencode

import aiohttp
import httpx
import numpy as np
from yarl import URL

from benchmarks.ingestion import row
from benchmarks.scale import DAY_ASSETS, fill, in_a_process, warehouses
from benchmarks.scale_histories import LAST, pool_ids, prepare
from benchmarks.targets import finish
from defiyield_assets.domain.days import DayRange
from defiyield_assets_tests.databases import fill_empty_tables
from defiyield_assets_tests.installations import FIRST, Installation, run_first_day

MOST_P95_SECONDS = {"postgres": 0.5, "sqlite": 0.8}
PATIENCE = 180.0
MIX = (
    *(("pool list", 40), ("pool", 30), ("overview", 8), ("plan", 7)),
    *(("forecasts", 3), ("runs", 3), ("ledger", 3), ("icebox", 3), ("lab", 3)),
)
"""Page -> how many of a hundred requests ask for it."""
WORDS = ("usdc", "usdt", "dai", "lend", "aave", "compound", "vault", "morpho", "curve", "ethereum", "000", "1", "zz")
SORTS = ("name", "apy", "size_usd", "forecast_apy", "pool_group", "apy_std_30d", "share_of_aum")


def asked(drawn: random.Random, ids: Sequence[str]) -> tuple[str, str]:
    """What a reader asks for next: the kind of page and its address."""
    kind = drawn.choices([name for name, _ in MIX], [weight for _, weight in MIX])[0]
    if kind == "pool":
        return kind, f"/pools/{drawn.choice(ids)}"
    if kind == "pool list":
        told = {"page": str(drawn.randint(1, 4))}
        if drawn.random() < 0.6:
            told["q"] = drawn.choice(WORDS)
        if drawn.random() < 0.5:
            told |= {"sort": drawn.choice(SORTS), "order": drawn.choice(("asc", "desc"))}
        if drawn.random() < 0.3:
            told["least_apy"] = f"{drawn.uniform(0, 12):.2f}"
        return kind, f"/pools?{urlencode(told)}"
    return kind, {"overview": "/"}.get(kind, f"/{kind}")


@dataclass(frozen=True)
class Load:
    """How many readers ask for how long, with what pause on average, of a warehouse of how many pools."""

    readers: int
    seconds: float
    pause: float
    seed: int
    pools: int


async def _reader(client: aiohttp.ClientSession, number: int, load: Load, ids: Sequence[str], told: "Told") -> None:
    drawn, until = random.Random(f"{load.seed} {number}"), perf_counter() + load.seconds
    while perf_counter() < until:
        kind, address = asked(drawn, ids)
        began = perf_counter()
        async with client.get(URL(address, encoded=True)) as answer:
            body = await answer.read()
        told.add(kind, perf_counter() - began, answer, body)
        if load.pause:
            await asyncio.sleep(drawn.expovariate(1 / load.pause))


class Told:
    """Seconds by kind of page, and answers that were no pages."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.wrong: dict[str, int] = defaultdict(int)

    def add(self, kind: str, seconds: float, answer: aiohttp.ClientResponse, body: bytes) -> None:
        """One answer."""
        self.seconds[kind].append(seconds)
        if answer.status != httpx.codes.OK or b"</html>" not in body[-20:]:
            self.wrong[f"{answer.status} {answer.url.path[:40]}"] += 1


async def _read(address: str, load: Load) -> Told:
    told, ids = Told(), [str(name) for name in pool_ids(load.pools)]
    # readers share the cores with what is measured: this client takes the least of them
    connector, patience = aiohttp.TCPConnector(limit=load.readers), aiohttp.ClientTimeout(PATIENCE)
    async with aiohttp.ClientSession(address, connector=connector, timeout=patience) as client:
        await asyncio.gather(*(_reader(client, number, load, ids, told) for number in range(load.readers)))
    return told


@contextmanager
def served(installation: Installation, workers: int) -> Iterator[str]:
    """The console over the installation, until the block ends; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "DEFIYIELD_STATE_DIR": str(installation.folder),
        "DEFIYIELD_DATABASE_URL": installation.settings.warehouse_url,
    }
    command = [sys.executable, "-m", "defiyield_assets.cli.main", "console", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--workers", str(workers)], env={**os.environ, **own}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            address, deadline = f"http://127.0.0.1:{port}", perf_counter() + PATIENCE
            while not _answers(address):
                if perf_counter() > deadline or process.poll() is not None:
                    raise RuntimeError("the console did not start")
                sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def complete(installation: Installation, folder: Path) -> None:
    """Copy the demo day into every table that is empty yet."""
    if FIRST != LAST:
        raise RuntimeError(f"the demo day is {FIRST}, and the large day {LAST}")
    fill_empty_tables(run_first_day(folder).installation.engine, installation.engine)
    with installation.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as target:
        # What the database does by itself after such a load, so that it does not do it while readers are measured.
        is_postgres = installation.engine.dialect.name == "postgresql"
        target.exec_driver_sql("VACUUM (ANALYZE)" if is_postgres else "ANALYZE")


def measure(kind: str, options: argparse.Namespace, installation: Installation) -> dict[str, float]:
    """Serve, read with each pause, print a table for each; figures for the closing line."""
    figures: dict[str, float] = {}
    with served(installation, options.workers) as address:
        began = perf_counter()
        first = httpx.get(f"{address}/pools", timeout=PATIENCE, trust_env=False)
        figures[f"first_list_seconds_{kind}"] = perf_counter() - began
        if first.status_code != httpx.codes.OK:
            raise RuntimeError(f"/pools answered {first.status_code}")
        warm = asked_by(address, Load(options.readers, options.warm, options.pauses[0], options.seed, options.pools))
        for number, pause in enumerate(options.pauses):
            load = Load(options.readers, options.seconds, pause, options.seed + 1 + number, options.pools)
            told = asked_by(address, load)
            every = seconds_of(told)
            size = f"{options.pools:,} pools, {options.days} days"
            print(f"\n{kind}: {options.readers} readers who pause {pause:g} s, {options.workers} processes, {size}")
            row("page", "requests", "p50 ms", "p95 ms", "p99 ms", "longest")
            for name, seconds in sorted(told["seconds"].items()):
                row(name, f"{len(seconds):,}", *_milliseconds(np.array(seconds)))
            row("all", f"{len(every):,}", *_milliseconds(every))
            p95, rate = float(np.percentile(every, 95)), len(every) / options.seconds
            print(f"{rate:.0f} pages a second; answers that were no page: {told['wrong'] or 'none'}")
            suffix = kind if number == 0 else f"{kind}_pause_{pause:g}"
            figures |= {f"p95_seconds_{suffix}": p95, f"pages_per_second_{suffix}": rate}
            figures[f"wrong_{suffix}"] = float(sum(told["wrong"].values()))
    print(
        f"first list of pools after the start: {figures[f'first_list_seconds_{kind}'] * 1000:.0f} ms; longest wait of "
        f"{options.readers} readers who all come at once then: {seconds_of(warm).max():.1f} s"
    )
    return figures


def asked_by(address: str, load: Load) -> dict[str, Any]:
    """What readers were told, in a process of their own: seconds by kind of page, and answers that were no page."""
    command = [sys.executable, "-c", READ, address, json.dumps(asdict(load))]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def seconds_of(told: Mapping[str, Any]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Seconds of all answers."""
    return np.array([one for seconds in told["seconds"].values() for one in seconds])


READ = "import sys; from benchmarks.console import read; read(*sys.argv[1:])"


def read(address: str, load: str) -> None:
    """The readers, in a process of their own; prints what they were told."""
    told = asyncio.run(_read(address, Load(**json.loads(load))))
    print(json.dumps({"seconds": told.seconds, "wrong": told.wrong}))


def _milliseconds(seconds: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[str]:
    return [f"{one * 1000:,.0f}" for one in (*np.percentile(seconds, (50, 95, 99)), seconds.max())]


def main() -> int:
    """Print a table for each database and the closing line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--pools", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pauses", type=float, nargs="+", default=[2.0, 0.0], help="mean seconds that a reader reads")
    parser.add_argument("--warm", type=float, default=15.0, help="seconds of reading before any is measured")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    kinds = ("postgres", "sqlite") if options.database == "both" else (options.database,)
    figures: dict[str, float] = {}
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="defiyield-console-") as place, warehouses(kind) as make, make() as url:
            installation = prepare(Path(place) / "state", url, options.pools)
            n_rows, seconds = fill(installation, options.pools, options.days)
            print(f"{kind}: {n_rows:,} points written in {seconds:.0f} s")
            in_a_process(installation, DayRange.of(LAST), DAY_ASSETS)
            complete(installation, Path(place) / "demo")
            figures |= measure(kind, options, installation)
            installation.engine.dispose()
    measured = [(kind, name) for kind in kinds for name in figures if name.startswith(f"p95_seconds_{kind}")]
    is_met = all(figures[name] <= MOST_P95_SECONDS[kind] for kind, name in measured)
    code = finish("console", {**figures, "promise_kept": float(is_met)})
    return 1 if "--check" in sys.argv and not is_met else code


if __name__ == "__main__":
    sys.exit(main())
