"""What the soak of a year says: days, sizes, disturbances and how they healed, rows that differ.

Lives here: from the journals and tables of both runs to printed tables and figures. Not here: the runs (soak_runs.py),
the comparison (soak_tables.py).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.soak_folder import Journal, YearOptions
from benchmarks.soak_runs import run_side_by_side
from benchmarks.soak_tables import TableDifference, compare, compare_chains
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import make_engine

MIB = 2**20
LARGEST = 12
DAYS_A_ROW = 30
ENTERED = "enter"
"""Kind of the event of the icebox that says that a token lost its peg."""


def run_year(
    calm: YearOptions, disturbed: YearOptions, console: Console, is_over: Callable[[], bool]
) -> dict[str, float]:
    """Both runs side by side until all days are done or time is over, and their comparison; see `report_year`."""
    run_side_by_side([calm, disturbed], is_over)
    return report_year(calm, disturbed, console)


def report_year(calm: YearOptions, disturbed: YearOptions, console: Console) -> dict[str, float]:
    """Print what the journals and tables of two runs that are over say; returns the figures of the closing line."""
    journals = [Journal(one.folder) for one in (calm, disturbed)]
    engines = [make_engine(one.settings.warehouse_url) for one in (calm, disturbed)]
    found = compare(engines[0], engines[1])
    found += compare_chains(calm.settings.chain_path, disturbed.settings.chain_path)
    icebox = reads.read_all(engines[0], schema.icebox_events)
    revised = len(reads.read_all(engines[0], schema.history_revisions))
    for engine in engines:
        engine.dispose()
    days = [journal.lines("day") for journal in journals]
    for line in (line for one in days for told in one for line in told["differences"]):
        console.print(line, markup=False, highlight=False)
    n_days = min(len(one) for one in days)
    if n_days < calm.days:
        console.print(f"stopped after {n_days} of {calm.days} days; both runs have these")
    console.print(_days_table(days[0], days[1], journals[1]))
    console.print(_disturbances_table(journals[1], int((icebox["kind"] == ENTERED).sum()), revised))
    console.print(_sizes_table(journals[0].lines("size"), "undisturbed"))
    console.print(_sizes_table(journals[1].lines("size"), "disturbed"))
    console.print(_differences_table(found))
    begun = sum(len(journal.lines("begin")) for journal in journals)
    return {
        "days": n_days,
        "differing_rows_vs_undisturbed": sum(item.differing for item in found),
        "compared_rows": sum(item.rows for item in found),
        "wealth_error_base_units": sum(told["base_units"] for one in days for told in one),
        "days_not_whole": begun - sum(not told["undone"] for one in days for told in one),
        "kills": len(journals[1].lines("kill")),
        "faults": sum(line["faults"] for kind in ("day", "kill") for line in journals[1].lines(kind)),
        "repairs": len(journals[1].lines("repair")),
        "peak_mib": max((told["peak_mib"] for one in days for told in one), default=0.0),
        "seconds_per_day": sum(told["seconds"] for told in days[0]) / max(1, len(days[0])),
        "seconds": max(sum(told["seconds"] for told in one) for one in days),
    }


def _days_table(calm: Sequence[Mapping[str, Any]], disturbed: Sequence[Mapping[str, Any]], journal: Journal) -> Table:
    headers = (
        "days",
        "s a day",
        "s disturbed",
        "faulty answers",
        "kills",
        "repairs",
        "not whole",
        "differences",
        "MiB",
    )
    table = _table("Days, undisturbed and disturbed; MiB: memory of the processes at most", headers)
    deaths, repairs = journal.lines("kill"), journal.lines("repair")
    for first in range(0, len(calm), DAYS_A_ROW):
        ours, theirs = calm[first : first + DAYS_A_ROW], disturbed[first : first + DAYS_A_ROW]
        both, named = [*ours, *theirs], {one["day"] for one in theirs}
        killed = [line for line in deaths if line["day"] in named]
        table.add_row(
            f"{ours[0]['day']} .. {ours[-1]['day']}",
            *(f"{sum(one['seconds'] for one in told) / max(1, len(told)):.1f}" for told in (ours, theirs)),
            str(sum(one["faults"] for one in [*theirs, *killed])),
            str(len(killed)),
            str(sum(line["day"] in named for line in repairs)),
            *(str(sum(len(one[name]) for one in both)) for name in ("undone", "differences")),
            f"{max(one['peak_mib'] for one in both):,.0f}",
        )
    return table


def _disturbances_table(journal: Journal, n_depegs: int, n_revised: int) -> Table:
    days, kills, repairs = journal.lines("day"), journal.lines("kill"), journal.lines("repair")
    kinds = Counter(kind for _, kind in {(told["day"], kind) for told in [*days, *kills] for kind in told["kinds"]})
    table = _table("Disturbances", ("what", "times", "healed by"))
    for kind, count in sorted(kinds.items()):
        table.add_row(f"days with {kind}", str(count), "attempts of the request, of the asset, repair")
    for is_written, name in ((False, "kill -9 in the middle of a write"), (True, "kill -9 after a write, unknown yet")):
        count = sum(line["is_written"] == is_written for line in kills)
        table.add_row(name, str(count), "the next process runs what is missing")
    repaired = len({line["day"] for line in repairs})
    table.add_row(f"repairs, of {repaired} days", str(len(repairs)), "what failed is asked for again")
    table.add_row("revised points of histories", str(n_revised), "both runs: new revisions")
    table.add_row("tokens that lost their peg", str(n_depegs), "both runs: they enter the icebox")
    return table


def _sizes_table(marks: Sequence[Mapping[str, Any]], name: str) -> Table:
    """MiB below the state folder, and rows of the largest tables, after so many days; the last column per day."""
    if not marks:
        return _table(f"Sizes, {name}: no day is over", ())
    table = _table(f"Sizes, {name}", ("what", *(f"{mark['days']} days" for mark in marks), "a day at the end"))
    last = marks[-1]
    for what in sorted(last["bytes"], key=lambda one: -last["bytes"][one]):
        sizes = [mark["bytes"].get(what, 0) for mark in marks]
        table.add_row(what, *(f"{size / MIB:,.1f} MiB" for size in sizes), f"{_growth(marks, sizes) / MIB:,.2f} MiB")
    for what in sorted(last["rows"], key=lambda one: -last["rows"][one])[:LARGEST]:
        counts = [mark["rows"].get(what, 0) for mark in marks]
        table.add_row(what, *(f"{count:,}" for count in counts), f"{_growth(marks, counts):,.0f}")
    return table


def _growth(marks: Sequence[Mapping[str, Any]], sizes: Sequence[float]) -> float:
    """By how much it grew a day between the last two marks."""
    if len(marks) == 1:
        return sizes[0] / marks[0]["days"]
    return (sizes[-1] - sizes[-2]) / (marks[-1]["days"] - marks[-2]["days"])


def _differences_table(found: Sequence[TableDifference]) -> Table:
    differing = [item for item in found if item.differing]
    rows = sum(item.rows for item in found)
    table = _table(
        f"{len(differing)} of {len(found)} tables differ; {rows:,} rows compared", ("table", "rows", "first")
    )
    for item in differing:
        table.add_row(item.table, f"{item.differing:,} of {item.rows:,}", item.example)
    return table


def _table(title: str, headers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number else "left")
    return table
