"""`defiyield budget` and the statement before a run."""

from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from defiyield_assets.cli.budget import print_statement
from defiyield_assets.cli.main import main
from defiyield_assets.domain.budgets import key_fingerprint
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.settings import KEY_VARIABLES, Settings
from defiyield_assets.sources.pacing import account_of
from defiyield_assets.sources.vendors import default_vendors
from defiyield_assets.store.budgets import WarehouseBudgets
from defiyield_assets_tests.installations import FIRST, Loop

pytestmark = pytest.mark.usefixtures("command_line")

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
KEY = "sk-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One key, no other setting, and noon."""
    for name in Settings.model_fields:
        if name not in ("market", "state_dir", "database_url", "config_dir", "recorded_data"):
            monkeypatch.delenv(f"DEFIYIELD_{name.upper()}", raising=False)
    monkeypatch.setenv("DEFIYIELD_COINMARKETCAP_API_KEY", KEY)
    monkeypatch.setattr(MarketResource, "wall_clock", lambda _market: NOW)


def live_settings(folder: Path) -> Settings:
    return Settings(market="live", state_dir=folder, database_url=f"sqlite:///{folder / 'warehouse.sqlite'}")


@pytest.fixture
def used(tmp_path: Path) -> Settings:
    """A live warehouse on which the month's credits are nearly used up."""
    settings = live_settings(tmp_path / "state")
    warehouse = WarehouseResource(market="live", url=settings.warehouse_url)
    warehouse.migrate()
    account = account_of(default_vendors({"coinmarketcap": KEY})["coinmarketcap"])
    WarehouseBudgets(warehouse.engine).lease(account, 1, 14_990, NOW)
    return settings


def stated(settings: Settings, days: list[date]) -> str:
    """The statement in one line of words."""
    console = Console(file=StringIO(), width=400)
    print_statement(settings, days, console)
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def rows_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_budget_shows_limits_use_and_what_missing_keys_would_add(
    used: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", "--market", "live", "--state-dir", str(used.state_dir)]) == 0
    said = capsys.readouterr().out
    rows = rows_of(said)
    assert ["coinmarketcap", "yes", "2.04", "s", "30", "calls", "a", "minute", "1", "29"] in rows
    assert ["15,000", "credits", "a", "month", "14,990", "10"] in rows
    assert ["ethplorer", "public", "one", "3.06", "s", "20", "calls", "a", "minute", "0", "20"] in rows
    assert ["100", "calls", "an", "hour", "0", "100"] in rows
    assert ["defillama_yields", "none", "needed", "0.20", "s", "300", "calls", "a", "minute", "0", "300"] in rows
    for variable, adds in KEY_VARIABLES.values():
        assert (f"{variable} would add {adds}" in said) == (variable != "DEFIYIELD_COINMARKETCAP_API_KEY")
    assert KEY not in said
    assert key_fingerprint(KEY) not in said


def test_budget_works_before_there_is_a_warehouse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for market, words in (
        ("live", "The warehouse is not there yet"),
        ("simulated", "the simulated one counts nothing"),
    ):
        assert main(["budget", "--market", market, "--state-dir", str(tmp_path / market)]) == 0
        assert words in capsys.readouterr().out


def test_a_live_run_states_its_calls_and_names_the_budget_that_will_not_do(used: Settings) -> None:
    said = stated(used, [date(2026, 3, 2), date(2026, 3, 3)])
    assert "calls to come (at most, on a first run)" in said
    assert "1,604 calls to defillama_yields (about 327 s)" in said
    assert (
        "coinmarketcap: 40 credits are needed and 10 of 15,000 credits a month are left (14,990 used); "
        "there is room again at 2026-04-01 00:00 UTC; what needs it will refuse to start"
    ) in said
    assert "fred" not in said, "nobody without a key is asked"


def test_a_closed_loop_says_how_many_calls_come_and_on_what_that_rests(first_day: Loop) -> None:
    said = stated(first_day.installation.settings, [FIRST])
    assert said.endswith(f"calls to come (as on {FIRST})")
