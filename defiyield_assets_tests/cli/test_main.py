"""The command `defiyield`: arguments, phases, summaries, exit codes, errors in one line.

Not here: a day whose vendors fail (faults/test_vendors.py) or what a plan says (domain/reporting).
"""

import json
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from rich.console import Console

from defiyield_assets.cli import main as entry
from defiyield_assets.cli import run as running
from defiyield_assets.cli.day_arguments import PHASE_NAMES
from defiyield_assets.cli.main import main
from defiyield_assets.cli.run import DayOutcome, print_summary
from defiyield_assets.definitions import build_defs, build_resources
from defiyield_assets.orchestration.declarations import PHASES
from defiyield_assets.settings import Settings
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Installation, Loop, day_after

pytestmark = pytest.mark.usefixtures("command_line")
FORECASTS = {
    *("costly_candidates", "forecast_evaluations", "forecast_candidates", "pool_forecasts"),
    *("gas_candidates", "gas_forecasts", "gas_hour_profiles"),
    *("forecast_scores", "forecast_score_sums", "forecast_scoreboard"),
}


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[date], list[int]]]:
    """What `run` would have run: days and phases."""
    calls: list[tuple[list[date], list[int]]] = []

    def run_days(days: list[date], phases: list[int], console: Console, *, is_json: bool) -> int:
        calls.append((days, phases))
        return 0

    monkeypatch.setattr(running, "run_days", run_days)
    return calls


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Everything printed, in one line of words."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


# --- arguments ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["plann"], "did you mean 'plan'?"),
        (["run", "--datee", "2025-06-03"], "did you mean '--date'?"),
        (["run", "--date", "03.06.2025"], "'03.06.2025' is no date; write it as YYYY-MM-DD"),
        (["run", "--date", "20250603"], "'20250603' is no date; write it as YYYY-MM-DD"),
        (["run", "--date", "2025-W23-2"], "'2025-W23-2' is no date; write it as YYYY-MM-DD"),
        (["run", "--date", "2025-02-30"], "'2025-02-30' is no date; write it as YYYY-MM-DD"),
        (["run", "--date", "2025-06-03", "--from", "2025-06-01"], "give either --date or --from and --to"),
        (["run", "--from", "2025-06-01"], "--from and --to belong together"),
        (["run", "--to", "2025-06-01"], "--from and --to belong together"),
        (["run", "--from", "2025-06-03", "--to", "2025-06-01"], "--from 2025-06-03 is after --to 2025-06-01"),
        (["run", "--phases", "dream"], "invalid choice: 'dream'"),
        (["run", "--phases"], "expected at least one argument"),
        (["run", "--market", "flea"], "invalid choice: 'flea'"),
        (["run", "--date", "2025-06-03", "--colour"], "unrecognized arguments: --colour"),
        (["plan", "--phases", "report"], "unrecognized arguments: --phases"),
        (["simulator"], "required: ACTION"),
        (["simulator", "reset"], "required: --from"),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    arguments: list[str], wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--state-dir", str(tmp_path / "state")] if arguments[:1] == ["run"] else []
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *options])
    assert stop.value.code == 2
    assert wanted in said(capsys)
    assert not (tmp_path / "state" / "warehouse.sqlite").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("arguments", "days"),
    [
        (["--date", "2025-06-03"], [FIRST]),
        (["--from", "2025-06-03", "--to", "2025-06-03"], [FIRST]),
        (["--from", "2025-06-03", "--to", "2025-06-05"], [FIRST, day_after(FIRST), day_after(FIRST, 2)]),
        (["--from", "2024-02-28", "--to", "2024-03-01"], [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]),
    ],
)
def test_days_are_run_whole_and_in_order(
    arguments: list[str], days: list[date], asked: list[tuple[list[date], list[int]]], tmp_path: Path
) -> None:
    assert main(["run", *arguments, "--state-dir", str(tmp_path)]) == 0
    assert asked == [(days, [])]


def test_without_a_date_the_last_complete_day_is_run(asked: list[tuple[list[date], list[int]]], tmp_path: Path) -> None:
    before = datetime.now(UTC).date()
    main(["run", "--state-dir", str(tmp_path)])
    assert asked[0][0][0] in (before - timedelta(days=1), datetime.now(UTC).date() - timedelta(days=1))


@pytest.mark.parametrize(
    ("names", "phases"),
    [
        (["ingest"], [1, 2]),
        (["analyse"], [3]),
        (["forecast"], [4]),
        (["allocate"], [5]),
        (["report"], [6]),
        (["ingest", "analyse", "forecast", "allocate", "report"], [1, 2, 3, 4, 5, 6]),
        (["report", "ingest", "phase1"], [1, 2, 6]),
        *(([f"phase{number}"], [number]) for number in range(1, 7)),
    ],
)
def test_phases_mean_parts_of_the_graph(
    names: list[str], phases: list[int], asked: list[tuple[list[date], list[int]]], tmp_path: Path
) -> None:
    assert main(["run", "--date", "2025-06-03", "--state-dir", str(tmp_path), "--phases", *names]) == 0
    assert asked == [([FIRST], phases)]


def test_every_asset_belongs_to_exactly_one_phase() -> None:
    definitions = build_defs(Settings(market="simulated", state_dir=Path("nowhere")))
    by_phase = {
        number: {key.to_user_string() for key in running._selection(definitions, [number])} for number in PHASES
    }
    graph = definitions.resolve_asset_graph()
    everything = {key.to_user_string() for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags}
    assert set().union(*by_phase.values()) == everything
    assert sum(map(len, by_phase.values())) == len(everything)
    assert {key.to_user_string() for key in running._selection(definitions, [])} == everything
    assert {"prefiltered_pools", "pool_histories"} <= by_phase[2]
    analysis = {"pool_metrics", "pool_quality", "pool_groups", "history_revisions", "icebox", "icebox_events"}
    market = {"daily_features", "feature_state", "feature_targets", "market_regimes"}
    assert analysis | market == by_phase[3]
    assert by_phase[4] == FORECASTS
    assert {"eligible_pools", "allocations", "plan_executions"} <= by_phase[5]
    assert {"daily_report", "slack_notification"} == by_phase[6]
    assert {number for numbers in PHASE_NAMES.values() for number in numbers} == set(PHASES)


# --- settings -------------------------------------------------------------------------------------------------------
def test_options_win_over_the_environment(
    asked: list[tuple[list[date], list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_MARKET", "live")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "elsewhere"))
    main(["run", "--market", "simulated", "--state-dir", str(tmp_path / "here")])
    assert os.environ["DEFIYIELD_MARKET"] == "simulated"
    assert Path(os.environ["DEFIYIELD_STATE_DIR"]) == tmp_path / "here"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], "set DEFIYIELD_RECORDED_DATA or --recorded-data"),
        (["--recorded-data", "no/such/folder"], "no/such/folder is not a folder"),
    ],
)
def test_a_recorded_market_without_its_folder_says_which(
    options: list[str], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_RECORDED_DATA", "")
    code = main(["run", "--date", "2025-06-03", "--market", "recorded", "--state-dir", str(tmp_path / "s"), *options])
    assert code == 2
    words = said(capsys)
    assert "error: ConfigurationError:" in words
    assert wanted in words
    assert not (tmp_path / "s" / "warehouse.sqlite").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DEFIYIELD_FIRST_DAY", "yesterday"),
        ("DEFIYIELD_MARKET", "flea"),
        ("DEFIYIELD_MARKET_SEED", "seven"),
        ("DEFIYIELD_REPAIR_LOOKBACK_DAYS", "0"),
    ],
)
def test_a_wrong_variable_is_named(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["run", "--date", "2025-06-03", "--state-dir", str(tmp_path)]) == 2
    assert f"environment: {variable}:" in said(capsys)


def test_a_wrong_policy_file_is_named_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "policy.yaml").write_text("parameters:\n  max_pool_shaer: 0.2\n", encoding="utf-8")
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(config))
    options = ["--market", "simulated", "--state-dir", str(tmp_path / "s"), "--phases", "phase1"]
    assert main(["run", "--date", "2025-06-03", *options]) == 1
    words = said(capsys)
    assert re.search(r"policy_snapshot failed .*policy\.yaml.*max_pool_shaer", words)


# --- commands -------------------------------------------------------------------------------------------------------
@pytest.mark.nightly
def test_phases_of_a_day_make_their_tables_only_and_exit_with_0(
    after_first: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    before = after_first.fingerprints()
    folder = str(after_first.folder)
    code = main(["run", "--date", str(FIRST), "--market", "simulated", "--state-dir", folder, "--phases", "forecast"])
    words = said(capsys)
    assert code == 0
    assert "simulated market: forecasts" in words
    assert f"{FIRST}: complete" in words
    ran = set(re.findall(rf"{FIRST} (\w+) done", words))
    assert ran == FORECASTS - {"forecast_evaluations", "forecast_candidates", "gas_candidates", "forecast_score_sums"}
    assert after_first.fingerprints() == before


def test_a_range_stops_at_its_first_failed_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Analysis without ingestion cannot work; the day says why, later days are not tried."""
    options = ["--market", "simulated", "--state-dir", str(tmp_path / "s"), "--phases", "report"]
    code = main(["run", "--from", "2025-06-03", "--to", "2025-06-05", *options])
    words = said(capsys)
    assert code == 1
    assert re.search(r"daily_report failed .*defiyield migrate", words)
    assert "slack_notification skipped something that it depends on failed" in words
    assert "stopped at 2025-06-03: 2 days were not run" in words


def test_the_stored_plan_is_shown(after_first: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--market", "simulated", "--state-dir", str(after_first.folder)]
    assert main(["plan", *folder]) == 0
    newest = said(capsys)
    assert main(["plan", "--date", str(FIRST), *folder]) == 0
    assert said(capsys) == newest
    for words in ("Projected APY", "Holdings after the plan", "Steps, in order", "Gain against doing nothing", "Costs"):
        assert words in newest
    for words in (
        "Why, pool by pool",
        "Doing nothing",
        "Limits that bind",
        "Gain and risk under other caps",
    ):
        assert words in newest


def test_a_plan_that_is_not_there_is_an_error_in_words(
    after_first: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--market", "simulated", "--state-dir", str(tmp_path / "empty")]) == 2
    assert "run `defiyield migrate`" in said(capsys)
    assert main(["migrate", "--market", "simulated", "--state-dir", str(tmp_path / "empty")]) == 0
    assert "warehouse at revision" in said(capsys)
    assert main(["plan", "--market", "simulated", "--state-dir", str(tmp_path / "empty")]) == 1
    assert "holds no plan yet: run `defiyield run --date D`" in said(capsys)


@pytest.mark.parametrize("place", ["file", "file/sub"])
def test_a_state_folder_that_cannot_be_is_told(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["migrate", "--json", "--state-dir", str(tmp_path / place)]) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["type"] == "ConfigurationError"
    assert "DEFIYIELD_STATE_DIR or --state-dir" in told["message"]


@pytest.mark.parametrize("url", ["garbage", " ", "postgresql+psycopg://me:s3cret@host:port/db"])
def test_an_unreadable_database_is_told_without_its_value(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", url)
    assert main(["plan", "--state-dir", str(tmp_path)]) == 2
    words = said(capsys)
    assert "DEFIYIELD_DATABASE_URL: cannot be read as an address of a database" in words
    assert "s3cret" not in words
    assert "garbage" not in words


def test_a_mistyped_warehouse_is_not_made_by_who_only_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", f"sqlite:///{tmp_path}/mistyped/house.db")
    assert main(["ledger", "balances", "--state-dir", str(tmp_path / "state")]) == 2
    assert "there is no warehouse at" in said(capsys)
    assert list(tmp_path.iterdir()) == [tmp_path / "dagster_home"]


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    """`--js` would be --json to the parser, and words to what tells errors."""
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--js"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --js" in said(capsys)


def test_an_unknown_command_names_near_ones_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["frobnicate", "--json"])
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "`defiyield --help` lists all" in message
    assert "backtest-policy" not in message


@pytest.mark.parametrize(
    ("url", "is_shown"),
    [
        ("sqlite:////somewhere/house.db", True),
        ("postgresql+psycopg://host/db", True),
        ("postgresql+psycopg://me:pw@host/db", False),
        ("postgresql+psycopg://host/db?password=pw", False),
        ("postgresql+psycopg://host/db?sslpassword=pw", False),
    ],
)
def test_the_ui_shows_no_address_with_a_secret(url: str, is_shown: bool) -> None:
    resources = build_resources(Settings(market="simulated", database_url=url))
    assert resources["warehouse"].url == (url if is_shown else None)


def test_a_warehouse_of_another_market_is_refused(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["migrate", "--market", "live", "--state-dir", str(after_first.folder)]) == 2
    assert "holds the market simulated, not live" in said(capsys)


def test_the_simulator_is_reset_from_a_day_on(after_first: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--market", "simulated", "--state-dir", str(after_first.folder)]
    assert main(["simulator", "reset", "--from", str(day_after(FIRST)), *folder]) == 0
    assert "0 executed plans undone" in said(capsys)
    assert main(["simulator", "reset", "--from", str(FIRST), *folder]) == 0
    assert f"1 executed plans undone, from {FIRST} on" in said(capsys)
    cursors = after_first.rows(schema.account_cursors)
    assert set(cursors["read_through"]) == {FIRST}, "what was read before the plan was executed stays read"
    assert len(after_first.rows(schema.nav_daily, FIRST)) == 1, "the day itself stands"


def test_a_live_market_has_nothing_to_reset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--market", "live", "--state-dir", str(tmp_path)]
    assert main(["simulator", "reset", "--from", "2025-06-03", *folder]) == 2
    assert "a live market cannot be reset" in said(capsys)


def test_every_table_of_a_step_that_makes_several_is_known_to_the_summary() -> None:
    """Else the tables of a step that failed are told as skipped, as if something before them had failed."""
    definitions = build_defs(Settings(market="simulated", state_dir=Path("nowhere")))
    steps = [
        step
        for step in definitions.assets or ()
        if isinstance(step, dg.AssetsDefinition)
        and len(step.keys) > 1
        and any("daily" in tags for tags in step.tags_by_key.values())
    ]
    made = {step.op.name: {key.to_user_string() for key in step.keys} - {step.op.name} for step in steps}
    assert {step: set(tables) for step, tables in running.OWN_TABLES.items()} == made


# --- the summary ----------------------------------------------------------------------------------------------------
def printed(*outcomes: DayOutcome) -> str:
    """The summary as a wide terminal shows it."""
    console = Console(width=200, record=True, highlight=False)
    print_summary(outcomes, console)
    return " ".join(console.export_text().split())


def test_the_summary_names_failed_skipped_and_degraded_assets() -> None:
    outcome = DayOutcome(FIRST, 3.25, {"pools": "down [red]500[/]"}, ["icebox"], {"macro_series": "no KEY"})
    text = printed(outcome)
    assert f"{FIRST}: failed in 3.2 s" in text
    assert "pools failed down [red]500[/]" in text, "reasons are shown as they are, markup included"
    assert "icebox skipped something that it depends on failed" in text
    assert "macro_series degraded no KEY" in text


def test_the_summary_tells_what_rests_on_a_degraded_source_in_one_line() -> None:
    degraded = {"daily_bars": "rests on closes", "closes": "down", "icebox": "rests on closes"}
    text = printed(DayOutcome(FIRST, 1.0, {}, [], degraded))
    assert "closes degraded down" in text
    assert "2 assets degraded rests on closes: daily_bars, icebox" in text
    assert "complete" in text


def test_a_clean_day_is_one_line() -> None:
    assert printed(DayOutcome(FIRST, 1.0, {}, [], {})) == f"{FIRST}: complete in 1.0 s"


def test_a_storage_of_dagster_that_does_not_answer_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import psycopg2
    from dagster_postgres.utils import DagsterPostgresException

    def refused(*_arguments: object) -> int:
        cause = sa.exc.OperationalError("SELECT 1", {}, psycopg2.OperationalError("password authentication failed\n"))
        raise DagsterPostgresException("too many retries for DB connection") from cause

    monkeypatch.setattr("defiyield_assets.cli.main.dispatch", refused)
    assert main(["doctor"]) == 2
    told = capsys.readouterr().err
    assert "Dagster's storage does not answer: password authentication failed; look at" in told
    assert "DEFIYIELD_DAGSTER_PG_HOST" in told
    assert "Traceback" not in told


def test_a_stop_by_hand_exits_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "dispatch", stopped)
    assert main(["run", "--state-dir", str(tmp_path)]) == 130
    assert "stopped" in said(capsys)
