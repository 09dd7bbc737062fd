"""Two days of the soak as processes: killed, with failing vendors and an outage, they end as undisturbed ones.

Not here: the comparison itself and the faults (test_soak.py), the day function (test_day.py).
"""

import pytest

from benchmarks.soak_tables import TableDifference, compare, compare_chains
from benchmarks.soak_year import Journal, YearOptions, run_side_by_side
from defiyield_assets.store.engine import make_engine

pytestmark = pytest.mark.slow
DAYS, POOLS, SEED = 2, 12, 7
FAULTS_SEED = 405
"""Faults that pass on the first day; a kill and an outage that only a repair heals on the second."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, YearOptions]:
    """An undisturbed run, a disturbed one, and one that nobody heals, all at once."""
    folder = tmp_path_factory.mktemp("soak")
    options = {
        "undisturbed": YearOptions(folder / "undisturbed", DAYS, POOLS, SEED),
        "disturbed": YearOptions(folder / "disturbed", DAYS, POOLS, SEED, FAULTS_SEED),
        "unhealed": YearOptions(folder / "unhealed", DAYS, POOLS, SEED, FAULTS_SEED, is_broken=True),
    }
    run_side_by_side(list(options.values()))
    return options


def differing(one: YearOptions, other: YearOptions) -> dict[str, TableDifference]:
    """Tables of warehouse and chain that are not the same."""
    engines = [make_engine(options.settings.warehouse_url) for options in (one, other)]
    found = compare(engines[0], engines[1]) + compare_chains(one.settings.chain_path, other.settings.chain_path)
    for engine in engines:
        engine.dispose()
    return {item.table: item for item in found if item.differing}


def test_the_disturbed_run_was_disturbed_and_healed(runs: dict[str, YearOptions]) -> None:
    journal = Journal(runs["disturbed"].folder)
    days = journal.lines("day")
    assert [line["undone"] for line in days] == [[], []]
    assert [line["differences"] for line in days] == [[], []]
    assert len(journal.lines("kill")) == 1
    assert days[0]["faults"] > 0
    assert days[1]["repairs"] > 0


def test_every_row_is_that_of_the_undisturbed_run(runs: dict[str, YearOptions]) -> None:
    assert differing(runs["undisturbed"], runs["disturbed"]) == {}


def test_without_healing_the_comparison_says_so(runs: dict[str, YearOptions]) -> None:
    found = differing(runs["undisturbed"], runs["unhealed"])
    assert {"allocation_runs", "nav_daily", "pools"} <= found.keys()
