"""What forecasts are worth and what they cost: accuracy, coverage of bands, gas, speed.

The forecasts are those of production (`forecast_pools`), made as of past weeks from what those weeks knew, on recorded
panels that are read in place. Alternatives in the same run: every candidate model and the last value. Speed is
measured on simulated pools. `--only` runs parts, `--no-costly` leaves out AutoETS, Theta and Prophet, `--plots DIR`
draws five pools with their bands.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import forecasting_speed as speed
from benchmarks.forecasting_gas import gas_tables
from benchmarks.forecasting_panels import Panel, aave_panel, dex_panel, lending_panel, simulated_panel, weekly
from benchmarks.forecasting_plots import HORIZON_DAYS, draw
from benchmarks.forecasting_replay import replay
from benchmarks.forecasting_tables import accuracy_tables, coverage_tables, day_row, model_row, row
from benchmarks.targets import finish
from defiyield_assets.domain.forecasting.backtests import N_ORIGINS
from defiyield_assets.domain.forecasting.pools import TRAINING_DAYS

PARTS = ("accuracy", "coverage", "gas", "speed")
RECORDED_PARTS = frozenset(PARTS) - {"speed"}
PANELS = (lending_panel, dex_panel, aave_panel)
RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"
PICTURE_POOLS = 60
SHORT = ("mae_ratio", "coverage_80")
"""How the figures begin that the closing line tells of the panels beside the lending one."""
PICTURE_ORIGINS = (date(2024, 12, 5), date(2025, 5, 29))


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    only: tuple[str, ...]
    has_costly: bool
    plots: Path | None
    processes: int
    recorded: Path


def parsed(arguments: Sequence[str]) -> Options:
    """Options of a command line; an unknown part is refused."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasting", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, by comma: {', '.join(PARTS)}")
    parser.add_argument("--no-costly", action="store_true", help="leave out AutoETS, Theta and Prophet")
    parser.add_argument("--plots", type=Path, help="folder for pictures of five pools with their bands")
    parser.add_argument("--processes", type=int, default=2, help="processes that make past forecasts")
    found = parser.parse_args(arguments)
    only = tuple(found.only.split(","))
    if unknown := [part for part in only if part not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; known are {', '.join(PARTS)}")
    recorded = Path(os.environ.get("DEFIYIELD_RECORDED_DATA", RECORDED))
    return Options(only, not found.no_costly, found.plots, found.processes, recorded)


# --- making forecasts ----------------------------------------------------------------------------------------------
def progress() -> Progress:
    """Bars on standard error, so that standard output holds the tables only."""
    text, console = TextColumn("{task.description}"), Console(stderr=True)
    return Progress(SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


def replayed(panel: Panel, options: Options) -> pd.DataFrame:
    """Scored cells of all origins of a panel; says where the time went."""
    parts, seconds, started = [], Counter[str](), perf_counter()
    with progress() as bars:
        task = bars.add_task(f"{panel.name}: forecasts of past weeks", total=len(panel.origins))
        for cells, spent in replay(panel, options.processes, has_costly=options.has_costly):
            parts.append(cells)
            seconds += spent
            bars.advance(task)
    days = f"{panel.origins[0]} to {panel.origins[-1]}"
    print(f"\n{panel.name}: {panel.n_series} series ({panel.rule}), {len(panel.origins)} weekly origins {days}")
    told = ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items())
    print(f"made in {perf_counter() - started:.0f} s by {options.processes} processes, of which {told}")
    return pd.concat(parts, ignore_index=True)


# --- parts ---------------------------------------------------------------------------------------------------------
def recorded_parts(options: Options) -> Iterator[tuple[str, float]]:
    """Accuracy and coverage on the recorded panels; key figures of the first one, the lending panel."""
    for number, load in enumerate(PANELS):
        panel = load(options.recorded)
        cells = replayed(panel, options)
        figures = {}
        if "accuracy" in options.only:
            figures |= accuracy_tables(panel, cells)
        if "coverage" in options.only:
            figures |= coverage_tables(panel, cells)
        if options.plots is not None and number == 0:
            draw(panel, cells, options.plots / "recorded_pools.png")
        prefix = "" if number == 0 else f"{panel.name.replace(' ', '_').lower()}_"
        told = figures if number == 0 else {name: figures[name] for name in figures if name.startswith(SHORT)}
        yield from ((f"{prefix}{name}", value) for name, value in told.items())


def picture(options: Options) -> Path:
    """Draw five pools of the simulated market, as the documentation shows them: nothing in it is recorded."""
    assert options.plots is not None
    first, last = PICTURE_ORIGINS
    shown = last + timedelta(days=HORIZON_DAYS)
    panel = simulated_panel(PICTURE_POOLS, shown, TRAINING_DAYS, weekly(first, last), is_stable=True)
    path = options.plots / "simulated_pools.png"
    draw(panel, replayed(panel, replace(options, has_costly=False)), path)
    return path


def speed_part() -> Iterator[tuple[str, float]]:
    """Whole days of 400 pools, then each model for itself."""
    panel = speed.speed_panel()
    print(f"\nspeed: {panel.rule}; {N_ORIGINS} origins, 4 targets, 3 horizons, bands; machine load {load()}")
    row("whole days, SQLite warehouse", "seconds", "cpu seconds", "rows")
    timings = []
    for timing in speed.whole_days(panel):
        day_row(timing)
        timings.append(timing)
    print()
    row("one model on one core, all horizons", "fits", "cpu seconds", "fits/s")
    for found in speed.models(panel):
        model_row(found)
    seconds = {timing.name: timing.seconds for timing in timings}
    yield "first_day_seconds_400_pools", seconds[speed.FIRST]
    yield "next_day_seconds_400_pools", seconds[speed.NEXT]


def load() -> str:
    """Processes that wanted a core in the last minute, on average."""
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> int:
    """Print the tables of the chosen parts and the closing line."""
    options, started = parsed(sys.argv[1:]), perf_counter()
    figures: dict[str, float] = {}
    print(f"forecasting benchmark: {', '.join(options.only)}; machine load {load()}")
    has_recorded = options.recorded.is_dir()
    if not has_recorded and RECORDED_PARTS & set(options.only):
        print(f"no recorded data in {options.recorded} (DEFIYIELD_RECORDED_DATA): only speed can be measured")
    if has_recorded and {"accuracy", "coverage"} & set(options.only):
        figures |= dict(recorded_parts(options))
    if has_recorded and "gas" in options.only:
        with progress() as bars:
            bars.add_task("gas: forecasts of every day since 2019", total=None)
            figures |= gas_tables(options.recorded)
    if "speed" in options.only:
        figures |= dict(speed_part())
    if options.plots is not None:
        print(f"drawn: {picture(options)}")
    print(f"\nrun time {perf_counter() - started:.0f} s")
    return finish("forecasting", figures)


if __name__ == "__main__":
    sys.exit(main())
