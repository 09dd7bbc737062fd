"""All features of 5,000 instruments over 1,000 days, and of the day after.

Three tables. (1) The batch: every metric of the registry from the first bar, group of instruments by group, ranks and
events included, in a process of its own whose peak of memory is measured. (2) The next day: a SQLite warehouse with
1,000 days of bars and yesterday's state; bars read, features calculated and stored by the asset's own function. One
share in a hundred pays a dividend on that day, as on any weekday, and is made again from its first bar. (3) The
obvious alternative, benchmarks/features_loop.py, over a sample of instruments in the same run, scaled to 5,000; it
calculates fewer metrics and ours are all counted against it.
"""

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import sqlalchemy as sa

from benchmarks.features_loop import SEEDED, features_of
from benchmarks.targets import finish
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.calculate import in_groups
from defiyield_assets.domain.market.features.events_features import event_columns
from defiyield_assets.domain.market.features.inputs import adjusted_values
from defiyield_assets.domain.market.features.panel import BarTable
from defiyield_assets.domain.market.features.recursions import blank_state
from defiyield_assets.domain.market.features.registry import BAR_METRICS, CROSS_METRICS, METRICS
from defiyield_assets.orchestration.assets.market import feature_rows, make_features, state_rows
from defiyield_assets.orchestration.feature_inputs import Batch, read_batches, recomputed
from defiyield_assets.orchestration.feature_ranks import READ, ranks_of
from defiyield_assets.store import engine as engines
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.inserts import insert
from defiyield_assets.store.rows import to_rows

N_INSTRUMENTS, N_DAYS, SAMPLE, SEED = 5_000, 1_000, 12, 20260101
ROOT = Path(__file__).resolve().parents[1]
LAST = np.datetime64("2026-06-05", "D")
PERIODS = 252.0
PAYERS = slice(50, None, 100)
"""Which instruments pay on the next day: 1 %."""
KEPT = 0.995
"""What a payment of half a percent leaves of the factors of older bars."""
AGREEMENT = 1e-6
"""Relative difference of the two implementations that is rounding."""
QUIET = "from benchmarks.features import batch; batch()"


def sessions(n: int) -> "np.ndarray[tuple[int], np.dtype[np.datetime64]]":
    """The last n weekdays up to LAST."""
    return np.busday_offset(LAST, np.arange(-n + 1, 1))


@dataclass
class Walks:
    """Random bars, (days, instruments) each: raw prices, volume in units."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    @classmethod
    def made(cls, n_days: int, n_instruments: int) -> "Walks":
        """Log-normal walks around a common market, so that betas are not noise alone."""
        random = np.random.default_rng(SEED)
        market = random.normal(0.0003, 0.01, (n_days, 1))
        moves = market + random.normal(0.0, 0.02, (n_days, n_instruments))
        close = 50.0 * np.exp(np.cumsum(moves, axis=0))
        opened = close * np.exp(random.normal(0.0, 0.005, close.shape))
        top, bottom = np.maximum(opened, close), np.minimum(opened, close)
        high = top * (1.0 + np.abs(random.normal(0.0, 0.006, close.shape)))
        low = bottom * (1.0 - np.abs(random.normal(0.0, 0.006, close.shape)))
        return cls(opened, high, low, close, np.floor(random.lognormal(12.0, 1.0, close.shape)))


def names(n: int) -> list[str]:
    """Ids of instruments; the first is everybody's benchmark."""
    return [f"equity:S{number:05d}" for number in range(n)]


def bar_table(walks: Walks) -> BarTable:
    """The walks as a long table, every bar new."""
    n_days, n = walks.close.shape
    raw = {name: np.ascontiguousarray(getattr(walks, name).T).ravel() for name in ("open", "high", "low", "close")}
    units = np.ascontiguousarray(walks.volume.T).ravel()
    ones = np.ones(n_days * n)
    unknown = np.full(n_days * n, np.nan)
    texts = {"quality": "full", "volume_source": "alpha_vantage"}
    words = {name: np.full(n_days * n, text, dtype=object) for name, text in texts.items()}
    words["instrument_id"] = np.repeat(np.array(names(n), dtype=object), n_days)
    beside = {"adj_factor": ones, "split_factor": ones, "volume_units": units, "volume_usd": unknown}
    values = adjusted_values({**raw, **beside, **words})
    values["benchmark_close"] = np.tile(walks.close[:, 0], n)
    starts = np.arange(0, n_days * n + 1, n_days)
    return BarTable(starts, np.tile(sessions(n_days), n), values, np.ones(n_days * n, dtype=bool), np.full(n, PERIODS))


def earnings(n: int, days: np.ndarray) -> pd.DataFrame:
    """Quarterly earnings of every instrument, rows of `market_events`."""
    random = np.random.default_rng(SEED + 1)
    rows = []
    for name in names(n):
        for day in days[int(random.integers(0, 60)) :: 63]:
            told: date = day.item()
            surprise = float(random.normal(0, 0.1))
            rows.append(("made", f"{name}:{told}", name, told, surprise))
    frame = pd.DataFrame(rows, columns=["source", "event_id", "instrument_id", "date", "surprise"])
    return frame.assign(
        kind="earnings",
        title=None,
        announced_on=None,
        known_on=frame["date"],
        expected=1.0,
        actual=1.0 + frame["surprise"],
        surprise_fraction=frame["surprise"],
        unit="USD per share",
        is_known_assumed=False,
        fetched_at=pd.to_datetime(frame["date"], utc=True) + pd.Timedelta(hours=22),
    )


def batch() -> None:
    """Calculate everything in this process; prints seconds, values and the peak of memory."""
    walks = Walks.made(N_DAYS, N_INSTRUMENTS)
    table = bar_table(walks)
    del walks
    events = earnings(N_INSTRUMENTS, sessions(N_DAYS))
    began = perf_counter()
    ranked = {name: np.empty(len(table.dates)) for name in READ}
    n_values, seconds = 0, {}
    for group in in_groups(table, blank_state(N_INSTRUMENTS)):
        n_values += sum(values.size for values in group.values.values())
        for name in READ:
            ranked[name][group.row] = group.values[name]
    seconds["bars"] = perf_counter() - began
    day = np.unique(table.dates, return_inverse=True)[1]
    for metric in CROSS_METRICS:
        n_values += metric.calculate({name: ranked[name] for name in metric.reads}, day).size
    seconds["ranks"] = perf_counter() - began - seconds["bars"]
    n_values += sum(values.size for values in event_columns(table, names(N_INSTRUMENTS), events).values())
    seconds["events"] = perf_counter() - began - seconds["bars"] - seconds["ranks"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"total": perf_counter() - began, **seconds, "values": n_values, "peak_gib": peak}))


def warehouse(folder: Path) -> tuple[sa.Engine, date]:
    """A SQLite warehouse with all bars of 1,000 days and one more, the state behind the 1,000th, and all features of
    those that pay on the day after; returns it and the day that is to be calculated.
    """
    engine = engines.make_engine(f"sqlite:///{folder / 'warehouse.db'}")
    engines.upgrade(engine)
    walks, days = Walks.made(N_DAYS + 1, N_INSTRUMENTS), sessions(N_DAYS + 1)
    with engine.begin() as connection:
        connection.execute(sa.insert(schema.instruments), _instruments())
        insert(connection, schema.market_events, to_rows(schema.market_events, _columns(schema.market_events, days)))
    statement = f"INSERT INTO daily_bars ({', '.join(schema.daily_bars.columns.keys())}) VALUES ("
    statement += ", ".join("?" * len(schema.daily_bars.columns)) + ")"
    for number, day in enumerate(days):
        # A transaction a day, as in life: SQLite's log stays short.
        with engine.begin() as connection:
            connection.exec_driver_sql(statement, _bars_of(walks, number, str(day)))
    yesterday, today = days[-2].item(), days[-1].item()
    batches = read_batches(engine, DayRange.of(yesterday), ["equity"])
    with engine.begin() as connection:
        _store_yesterday(connection, batches[0])
    pay(engine, yesterday)
    return engine, today


def pay(engine: sa.Engine, yesterday: date) -> None:
    """Store the features of those that pay today up to yesterday, then restate them as the writer of bars does."""
    payers = names(N_INSTRUMENTS)[PAYERS]
    batch = recomputed(engine, payers, ["equity"], yesterday)
    if batch is None:
        raise RuntimeError("there are no bars of those that pay")
    before = DayRange(sessions(N_DAYS + 1)[0].item(), yesterday)
    bars, own = schema.daily_bars, {"instrument_id": payers}
    is_older = (bars.c.instrument_id.in_(payers), bars.c.date <= yesterday)
    with engine.begin() as connection:
        for group in in_groups(batch.table, batch.state):
            unknown = np.full(len(group.row), np.nan)
            beside = {metric.name: unknown for metric in METRICS if metric.name not in group.values}
            insert(
                connection, schema.daily_features, to_rows(schema.daily_features, feature_rows(batch, group, beside))
            )
        connection.execute(sa.update(bars).where(*is_older).values(adj_factor=KEPT))
        writes.Deletion(schema.feature_state, own, before).apply(connection)


def _columns(table: sa.Table, days: np.ndarray) -> pd.DataFrame:
    return earnings(N_INSTRUMENTS, days)[[column.name for column in table.columns]]


def _instruments() -> list[dict[str, object]]:
    told = {"type": "equity", "universe": "us_equities", "calendar": "XNYS", "price_scale": 1.0, "is_configured": True}
    return [
        {"instrument_id": name, "symbol": name[7:], "benchmark": names(1)[0], **told} for name in names(N_INSTRUMENTS)
    ]


def _bars_of(walks: Walks, number: int, day: str) -> list[tuple[object, ...]]:
    told: dict[str, list[object]] = {
        name: getattr(walks, name)[number].tolist() for name in ("open", "high", "low", "close")
    }
    told |= {"instrument_id": names(N_INSTRUMENTS), "volume_units": walks.volume[number].tolist()}
    same = {"date": day, "instrument_type": "equity", "adj_factor": 1.0, "split_factor": 1.0}
    same |= {"source": "alpha_vantage", "volume_source": "alpha_vantage", "quality": "full"}
    columns = [
        told.get(name, [same.get(name)] * N_INSTRUMENTS)
        for name in schema.daily_bars.columns.keys()  # noqa: SIM118
    ]
    return list(zip(*columns, strict=True))


def _store_yesterday(connection: sa.Connection, batch: Batch) -> None:
    """The state behind yesterday, as the asset stores it."""
    for group in in_groups(batch.table, batch.state, ()):
        insert(connection, schema.feature_state, to_rows(schema.feature_state, state_rows(batch, group)))


def next_day(engine: sa.Engine, day: date) -> dict[str, float]:
    """Seconds of the parts, each alone, and of the whole as the asset does it."""
    days, types = DayRange.of(day), ["equity"]
    began = perf_counter()
    batches = read_batches(engine, days, types)
    events = reads.read_all(engine, schema.market_events)
    read = perf_counter() - began
    restarted = {name for one in batches if one.is_restarted for name in one.names}
    if restarted != set(names(N_INSTRUMENTS)[PAYERS]):
        raise RuntimeError(f"{len(restarted)} instruments did not go on from their state, not those that pay")
    began = perf_counter()
    ranks_of(engine, batches, days, types)
    for one in batches:
        event_columns(one.table, one.names, events)
        for _ in in_groups(one.table, one.state):
            pass
    compute = perf_counter() - began
    began = perf_counter()
    made = make_features(engine, days, types)
    total = perf_counter() - began
    if made.features.rows != N_INSTRUMENTS:
        raise RuntimeError(f"{made.features.rows} rows were stored")
    again = made.n_earlier / len(restarted)
    if again != N_DAYS:
        raise RuntimeError(f"{again} earlier rows of each that pays were made again")
    return {"read": read, "compute": compute, "store": max(0.0, total - read - compute), "total": total}


def loop() -> tuple[float, int, float]:
    """Seconds of the pandas loop per instrument, its metrics, and the greatest relative difference from ours."""
    walks = Walks.made(N_DAYS, N_INSTRUMENTS)
    table = bar_table(walks)
    few = BarTable(
        table.starts[: SAMPLE + 1],
        table.dates[: SAMPLE * N_DAYS],
        {name: values[: SAMPLE * N_DAYS] for name, values in table.values.items()},
        table.is_new[: SAMPLE * N_DAYS],
        table.periods_per_year[:SAMPLE],
    )
    ours = next(iter(in_groups(few, blank_state(SAMPLE)))).values
    frames = [
        pd.DataFrame({name: values[row * N_DAYS : (row + 1) * N_DAYS] for name, values in few.values.items()})
        for row in range(SAMPLE)
    ]
    features_of(frames[0], PERIODS)
    began = perf_counter()
    theirs = [features_of(frame, PERIODS) for frame in frames]
    seconds = (perf_counter() - began) / SAMPLE
    worst = 0.0
    for row, frame in enumerate(theirs):
        for name in frame.columns:
            if name in ours and not name.startswith(SEEDED):
                left, right = ours[name][row * N_DAYS : (row + 1) * N_DAYS], frame[name].to_numpy()
                both = ~np.isnan(left) & ~np.isnan(right)
                apart = np.abs(left - right)[both] / np.maximum(1e-6, np.abs(right[both]))
                worst = max(worst, float(apart.max(initial=0.0)))
    if worst > AGREEMENT:
        raise RuntimeError(f"the loop calculates something else: {worst} apart")
    return seconds, len(theirs[0].columns), worst


def row(name: str, *cells: object) -> None:
    """One line of a table."""
    print(f"{name:<58}" + "".join(f"{cell:>14}" for cell in cells))


def main() -> int:
    """Print the three tables and the closing line."""
    command = [sys.executable, "-c", QUIET]
    said = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(said.strip().splitlines()[-1])
    row(f"batch of {N_INSTRUMENTS:,} instruments x {N_DAYS:,} days", "metrics", "seconds")
    row("metrics of bars", len(BAR_METRICS), f"{found['bars']:.1f}")
    row("ranks in the universe", len(CROSS_METRICS), f"{found['ranks']:.1f}")
    row("events", len(METRICS) - len(BAR_METRICS) - len(CROSS_METRICS), f"{found['events']:.1f}")
    row("all", len(METRICS), f"{found['total']:.1f}")
    row(f"values: {found['values'] / 1e6:,.0f} million; peak of memory, GiB", "", f"{found['peak_gib']:.2f}")
    print()
    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as name:
        day = next_day(*warehouse(Path(name)))
    row(f"the next day of {N_INSTRUMENTS:,} instruments, 1 % pay, SQLite", "", "seconds")
    for part in ("read", "compute", "store", "total"):
        row(part, "", f"{day[part]:.2f}")
    print()
    each, n_metrics, worst = loop()
    row(f"pandas, instrument by instrument ({SAMPLE} measured, scaled)", "metrics", "seconds")
    row(f"{N_INSTRUMENTS:,} instruments x {N_DAYS:,} days", n_metrics, f"{each * N_INSTRUMENTS:,.0f}")
    row("ratio to ours (all metrics)", "", f"{each * N_INSTRUMENTS / found['total']:.1f}")
    row("greatest relative difference of metrics without a seed", "", f"{worst:.1e}")
    figures = {
        "seconds_5000x1000": found["total"],
        "peak_gib": found["peak_gib"],
        "next_day_seconds": day["total"],
        "next_day_read_seconds": day["read"],
        "next_day_compute_seconds": day["compute"],
        "next_day_store_seconds": day["store"],
        "speedup_vs_per_instrument_loop": each * N_INSTRUMENTS / found["total"],
    }
    return finish("features", figures)


if __name__ == "__main__":
    sys.exit(main())
