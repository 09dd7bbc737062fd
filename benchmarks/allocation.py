"""Allocation on reference instances: seconds, gap, bound and objective of both solvers, beside the usual formulation.

Per size (20x8, 50x20, 200x30, 1000x40 pools x tokens) and seed the whole plan of a day is made with every rule in force
(`allocation_instances.py`) and replayed; the pairwise big-M model of the same instance (`allocation_pairwise.py`) gets
60 s. Reported per size are the median and the worst of the seeds; the targets are held against the worst.
`--quick`: two seeds, 5 s for the pairwise model. Not here: whether plans are right (defiyield_assets_tests).
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.allocation_instances import SIZES, reference_market, reference_problem
from benchmarks.allocation_pairwise import PairwiseModel, PairwiseRun
from benchmarks.targets import finish
from defiyield_assets.domain.allocation.model import Reference, build_model
from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.allocation.solve import GAP_USD, Solver, SolverRun, solve_cbc, solve_highs

PAIRWISE_SECONDS = 60.0
QUICK_PAIRWISE_SECONDS = 5.0
SEEDS = 5
QUICK_SEEDS = 2


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    seeds: int
    pairwise_seconds: float
    sizes: tuple[tuple[int, int], ...]


@dataclass
class Recorder:
    """A solver that remembers what it said and how long it took, all rounds of a plan together."""

    solver: Solver
    seconds: float = 0.0
    rounds: int = 0
    last: SolverRun | None = None

    def __call__(self, model: object, time_limit: float) -> SolverRun:
        """Solve; a plan may ask again with what its first solution broke."""
        started = time.perf_counter()
        self.last = self.solver(model, time_limit)  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - started
        self.rounds += 1
        return self.last


@dataclass(frozen=True)
class Case:
    """One instance: our plan, both solvers' words on it, the usual model's, and what the replay found."""

    n_pools: int
    n_tokens: int
    seed: int
    seconds: float
    build_seconds: float
    first: Recorder
    second: Recorder
    plan: AllocationPlan
    replay_errors: int
    pairwise: PairwiseRun

    @property
    def exact_gain_usd(self) -> float:
        """What the exact plan gains: curves instead of their secants, which the model stays below."""
        row = self.plan.runs.iloc[0]
        return float(row["gain_usd"]) - float(row["hold_gain_usd"])

    @property
    def gap_usd(self) -> float:
        """The larger gap of both solvers."""
        gaps = [run.gap for run in (self.first.last, self.second.last) if run is not None]
        return max((float("inf") if gap is None else gap for gap in gaps), default=float("inf"))

    @property
    def relative_gap(self) -> float:
        """Gap as part of the objective; a gap of at most 0.01 USD counts as none, as the stopping rule says."""
        objective = self.first.last.objective if self.first.last else None
        if self.gap_usd <= GAP_USD + 1e-9 or not objective:
            return 0.0 if self.gap_usd <= GAP_USD + 1e-9 else float("inf")
        return self.gap_usd / abs(objective)


def parsed(arguments: Sequence[str]) -> Options:
    """Options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocation", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--quick", action="store_true", help="two seeds, 5 s for the pairwise model")
    parser.add_argument("--seeds", type=int, help=f"instances per size, default {SEEDS}")
    parser.add_argument("--pairwise-seconds", type=float, help=f"limit of the pairwise model, {PAIRWISE_SECONDS:.0f}")
    parser.add_argument("--sizes", help="for example 20x8,50x20; default: all four")
    given = parser.parse_args(arguments)
    sizes = SIZES
    if given.sizes:
        sizes = tuple((int(pools), int(tokens)) for pools, tokens in (one.split("x") for one in given.sizes.split(",")))
    seconds = QUICK_PAIRWISE_SECONDS if given.quick else PAIRWISE_SECONDS
    return Options(
        given.seeds or (QUICK_SEEDS if given.quick else SEEDS),
        seconds if given.pairwise_seconds is None else given.pairwise_seconds,
        sizes,
    )


def measured(n_pools: int, n_tokens: int, seed: int, pairwise_seconds: float) -> Case:
    """Plan, replay and the pairwise model of one instance. Seconds of ours are those of the whole plan."""
    market = reference_market(n_pools, n_tokens, seed)
    problem = reference_problem(market, seed)
    first, second = Recorder(solve_highs), Recorder(solve_cbc)
    started = time.perf_counter()
    plan = plan_allocation(problem, solvers=(first, second))
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    build_model(problem, reference=Reference())
    build_seconds = time.perf_counter() - started
    errors = market.replay(plan).errors
    usual = PairwiseModel(problem, float(problem.aum_usd)).solve(pairwise_seconds)
    return Case(n_pools, n_tokens, seed, seconds, build_seconds, first, second, plan, len(errors), usual)


def _worst(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.2f} / {max(values):,.2f}"


def _usd(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.mean(known):,.2f}" if len(known) == len(values) else f"{len(values) - len(known)} none"


def _row(cases: Sequence[Case]) -> list[str]:
    """One line of the table of seconds."""
    first = cases[0]
    return [
        f"{first.n_pools}x{first.n_tokens}",
        _worst([case.build_seconds for case in cases]),
        _worst([case.first.seconds for case in cases]),
        _worst([case.second.seconds for case in cases]),
        _worst([case.seconds for case in cases]),
        _worst([case.pairwise.seconds for case in cases]),
        f"{statistics.median([case.pairwise.seconds / case.seconds for case in cases]):,.0f}",
        str(sum(case.pairwise.status == "optimal" for case in cases)),
    ]


def _quality(cases: Sequence[Case]) -> list[str]:
    """One line of the table of objectives."""
    runs = [(case.first.last, case.second.last) for case in cases]
    first, second = ([one for one in column if one is not None] for column in zip(*runs, strict=True))
    gaps = [case.pairwise.relative_gap for case in cases]
    known = [gap for gap in gaps if gap is not None]
    return [
        f"{cases[0].n_pools}x{cases[0].n_tokens}",
        _usd([run.objective for run in first]),
        _usd([run.bound for run in first]),
        _usd([run.objective for run in second]),
        _usd([run.bound for run in second]),
        _usd([case.exact_gain_usd for case in cases]),
        f"{max(case.gap_usd for case in cases):.2f}",
        f"{max(case.relative_gap for case in cases):.1e}",
        _usd([case.pairwise.objective for case in cases]),
        _usd([case.pairwise.bound for case in cases]),
        f"{max(known):.1%}" if known else "none",
        ", ".join(sorted({str(case.plan.runs["verified_by"].iloc[0]) for case in cases})),
        str(sum(case.replay_errors for case in cases)),
    ]


def tables(by_size: Sequence[Sequence[Case]]) -> list[Table]:
    """Seconds, then objectives."""
    seconds = Table(title="seconds, median / worst of the seeds")
    for name in (
        "pools x tokens",
        "one model",
        "HiGHS",
        "CBC",
        "whole plan",
        "pairwise big-M",
        "median ratio",
        "pairwise finished",
    ):
        seconds.add_column(name, justify="right")
    quality = Table(title="gain over the horizon in USD against doing nothing, mean of the seeds; worst gaps")
    for name in (
        "pools x tokens",
        "HiGHS",
        "bound",
        "CBC",
        "bound",
        "exact plan",
        "gap USD",
        "gap",
        "pairwise",
        "bound",
        "gap",
        "verified",
        "replay errors",
    ):
        quality.add_column(name, justify="right")
    for cases in by_size:
        seconds.add_row(*_row(cases))
        quality.add_row(*_quality(cases))
    return [seconds, quality]


def figures(by_size: Sequence[Sequence[Case]]) -> dict[str, float]:
    """Key figures: the worst of the seeds; the ratio is that of the median instance."""
    cases = [case for some in by_size for case in some]
    found: dict[str, float] = {
        "relative_gap": max(case.relative_gap for case in cases),
        "gap_usd": max(case.gap_usd for case in cases),
        "replay_error_base_units": float(sum(case.replay_errors for case in cases)),
        "plans": float(len(cases)),
        "plans_verified": float(sum(case.plan.status == "optimal" for case in cases)),
    }
    for some in by_size:
        size = f"{some[0].n_pools}x{some[0].n_tokens}"
        found[f"seconds_{size}"] = max(case.seconds for case in some)
        found[f"speedup_vs_pairwise_big_m_{size}"] = statistics.median(
            [case.pairwise.seconds / case.seconds for case in some]
        )
    return found


def main() -> int:
    """Run, print, judge."""
    options, console = parsed(sys.argv[1:]), Console(width=180)
    measured(*SIZES[0], seed=-1, pairwise_seconds=1.0)  # loads the solvers
    by_size: list[list[Case]] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("plans", total=len(options.sizes) * options.seeds)
        for n_pools, n_tokens in options.sizes:
            by_size.append([])
            for seed in range(options.seeds):
                progress.update(task, description=f"{n_pools}x{n_tokens}, seed {seed}")
                by_size[-1].append(measured(n_pools, n_tokens, seed, options.pairwise_seconds))
                progress.advance(task)
    for table in tables(by_size):
        console.print(table)
    load = os.getloadavg()[0]
    console.print(
        f"{options.seeds} seeds, pairwise limit {options.pairwise_seconds:.0f} s, load {load:.1f} on {os.cpu_count()} "
        f"cores, Python {platform.python_version()}"
    )
    return finish("allocation", figures(by_size))


if __name__ == "__main__":
    sys.exit(main())
