"""A day of the soak as processes: killed with -9 and with an outage of a vendor, it ends as the undisturbed one.

Not here: the comparison itself and the faults (test_soak.py), the day function (test_day.py), many days
(`python -m benchmarks.soak --pure`).
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.soak_folder import Journal, YearOptions
from benchmarks.soak_runs import run_side_by_side
from benchmarks.soak_tables import compare, compare_chains
from defiyield_assets.orchestration.repair import MAX_ATTEMPTS
from defiyield_assets.store.engine import make_engine

pytestmark = pytest.mark.slow
DAYS, POOLS, SEED = 2, 12, 7
FAULTS_SEED, VICTIM = 3290, "market_events"
"""On the second day the process dies when it writes this table, and an outage that only a repair heals strikes."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, YearOptions]:
    """From one first day: an undisturbed second one, a disturbed one, and one that nobody heals, all at once."""
    folder = tmp_path_factory.mktemp("soak")
    first = YearOptions(folder / "undisturbed", 1, POOLS, SEED)
    run_side_by_side([first])
    undisturbed = replace(first, days=DAYS)
    disturbed = replace(undisturbed, folder=folder / "disturbed", faults_seed=FAULTS_SEED)
    options = {
        "undisturbed": undisturbed,
        "disturbed": disturbed,
        "unhealed": replace(disturbed, folder=folder / "unhealed", is_broken=True),
    }
    for name in ("disturbed", "unhealed"):
        shutil.copytree(first.folder, options[name].folder)
    run_side_by_side(list(options.values()))
    return options


def differing(one: YearOptions, other: YearOptions) -> set[str]:
    """Tables of warehouse and chain that are not the same."""
    engines = [make_engine(options.settings.warehouse_url) for options in (one, other)]
    found = compare(engines[0], engines[1]) + compare_chains(one.settings.chain_path, other.settings.chain_path)
    for engine in engines:
        engine.dispose()
    assert sum(item.rows for item in found) > 10_000
    return {item.table for item in found if item.differing}


def test_the_process_died_the_vendor_failed_and_all_of_it_was_healed(runs: dict[str, YearOptions]) -> None:
    journal = Journal(runs["disturbed"].folder)
    assert [(line["day"], line["step"]) for line in journal.lines("kill")] == [("2025-06-04", VICTIM)]
    assert 0 < len(journal.lines("repair")) <= MAX_ATTEMPTS
    assert sum(line["faults"] for kind in ("kill", "day") for line in journal.lines(kind)) > 0
    assert [line["undone"] for line in journal.lines("day")] == [[], []]


@pytest.mark.parametrize("name", ["undisturbed", "disturbed"])
def test_the_ledger_is_that_of_the_chain(runs: dict[str, YearOptions], name: str) -> None:
    assert [line["differences"] for line in Journal(runs[name].folder).lines("day")] == [[], []]


def test_every_row_is_that_of_the_undisturbed_run(runs: dict[str, YearOptions]) -> None:
    assert differing(runs["undisturbed"], runs["disturbed"]) == set()


def test_without_healing_the_comparison_says_so(runs: dict[str, YearOptions]) -> None:
    assert {"allocation_runs", "nav_daily", "pools"} <= differing(runs["undisturbed"], runs["unhealed"])


@pytest.mark.parametrize(
    ("tampering", "table"),
    [
        ("DELETE FROM nav_daily WHERE date = '2025-06-03'", "nav_daily"),
        (
            "UPDATE pool_metrics SET apy = apy + 1e-12 WHERE rowid IN ("
            "SELECT MAX(rowid) FROM pool_metrics WHERE apy > 0)",
            "pool_metrics",
        ),
    ],
)
def test_one_row_that_was_tampered_with_is_found(
    runs: dict[str, YearOptions], tmp_path: Path, tampering: str, table: str
) -> None:
    copy = replace(runs["disturbed"], folder=tmp_path / "copy")
    shutil.copytree(runs["disturbed"].folder, copy.folder)
    engine = make_engine(copy.settings.warehouse_url)
    with engine.begin() as connection:
        assert connection.execute(sa.text(tampering)).rowcount == 1
    engine.dispose()
    assert differing(runs["undisturbed"], copy) == {table}
