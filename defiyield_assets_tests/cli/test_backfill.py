"""`defiyield backfill`: which runs a range becomes, what is refused, and days that are made by it.

Not here: what an asset makes of a range (orchestration).
"""

import json
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.cli.backfill import Wanted, planned_runs
from defiyield_assets.cli.main import main
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import Settings
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import Installation

pytestmark = pytest.mark.usefixtures("command_line")
FIRST, LAST = date(2025, 4, 1), date(2025, 6, 5)


@cache
def definitions() -> dg.Definitions:
    return build_defs(Settings(market="simulated", state_dir=Path("nowhere")))


def runs(first: date = FIRST, last: date = LAST, **wanted: Any) -> list[tuple[str, str, set[str]]]:
    """First day, last day and assets of every run."""
    stages = planned_runs(definitions(), DayRange(first, last), Wanted(first, last, **wanted))
    return [(*(stage.keys or ("", "")), set(stage.assets)) for stage in stages]


def test_a_range_is_one_run_up_to_the_metrics_and_thirty_days_a_run_for_forecasts() -> None:
    found = runs()
    assert [(one[0], one[1]) for one in found] == [
        ("2025-04-01", "2025-06-05"),
        ("2025-04-01", "2025-04-30"),
        ("2025-05-01", "2025-05-30"),
        ("2025-05-31", "2025-06-05"),
    ]
    assert {"pools", "pool_metrics", "icebox", "daily_features"} <= found[0][2]
    assert {"pool_forecasts", "gas_forecasts", "forecast_scoreboard"} <= found[1][2]
    assert not found[0][2] & found[1][2]
    alone = {"ledger_postings", "eligible_pools", "allocations", "daily_report"}
    assert not any(one[2] & alone for one in found)


def test_a_group_or_some_assets_are_made_alone() -> None:
    assert runs(group="policy") == [
        ("2025-04-01", "2025-06-05", {"migrations", "policy_snapshot", "pool_aliases", "pool_contracts"})
    ]
    assert runs(assets=("daily_bars", "icebox")) == [("2025-04-01", "2025-06-05", {"daily_bars", "icebox"})]
    assert [one[2] for one in runs(assets=("pool_forecasts",), last=FIRST)] == [{"pool_forecasts"}]
    assert runs(FIRST, FIRST, group="ledger")[0][:2] == ("2025-04-01", "2025-04-01"), "one day is no range"


@pytest.mark.parametrize("asset", ["ledger_postings", "eligible_pools", "allocations", "daily_report"])
def test_assets_of_one_day_a_run_are_refused_with_what_runs_them(asset: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        runs(assets=("daily_bars", asset))
    assert f"{asset} cannot run 2025-04-01..2025-06-05 in one run: from the ledger on" in str(error.value)
    assert "`defiyield run --from 2025-04-01 --to 2025-06-05`" in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"group": "prcies"}, "did you mean 'prices'?"),
        ({"group": ""}, "no group ''"),
        ({"assets": ("daily_bar",)}, "did you mean 'daily_bars'?"),
        ({"assets": ("\x00",)}, "no asset"),
        ({"group": "news"}, "`defiyield news update --from D`"),
        ({"group": "lab"}, "`defiyield assess"),
        ({"assets": ("daily_bars", "paper_trades")}, "one group after the other"),
    ],
)
def test_what_cannot_be_backfilled_is_refused_in_words(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        runs(**wanted)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "2025-06-03"],
        ["--from", "2025-06-03", "--to", "2025-06-01"],
        ["--from", "2025-06-03", "--to", "2025-06-03", "--group", "gas", "--assets", "icebox"],
        ["--from", "soon", "--to", "2025-06-03"],
    ],
)
def test_wrong_ranges_are_wrong_use(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["backfill", *arguments, "--state-dir", str(tmp_path)])
    assert stop.value.code == 2


def test_days_that_are_not_over_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    today = datetime.now(UTC).date() + timedelta(days=1)
    code = main(["backfill", "--from", "2025-06-03", "--to", str(today), "--state-dir", str(tmp_path)])
    assert code == 2
    assert "the last complete one" in " ".join(capsys.readouterr().err.split())


def test_the_days_are_made_and_a_failure_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = Installation(tmp_path / "s")
    rest = ["--from", "2025-06-03", "--to", "2025-06-05", "--market", "simulated", "--state-dir", str(state.folder)]
    assert main(["backfill", "--group", "policy", "--dry-run", *rest]) == 0
    assert not (state.folder / "warehouse.sqlite").exists(), "a dry run makes nothing"
    capsys.readouterr()
    assert main(["backfill", "--group", "policy", *rest, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(run["from"], run["to"]) for run in told["runs"]] == [("2025-06-03", "2025-06-05")]
    days = [date(2025, 6, 3), date(2025, 6, 4), date(2025, 6, 5)]
    assert sorted(set(state.rows(schema.policy_snapshot)["date"])) == days
    assert main(["backfill", "--assets", "pool_metrics", *rest, "--json"]) == 1, "no pool is followed"
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert set(failed) == {"pool_metrics"}
    assert "prefiltered_pools first" in failed["pool_metrics"]
