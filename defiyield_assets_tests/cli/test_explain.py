"""`defiyield explain`, `forecast show`, `report` and `demo` over the demo day: the same figures as the tables.

Not here: what an explanation says (domain/selection/test_explanation.py), a report's content (domain/reporting).
"""

import json
import webbrowser
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from defiyield_assets.cli import report
from defiyield_assets.cli import run as running
from defiyield_assets.cli.main import main
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Installation, Loop

pytestmark = pytest.mark.usefixtures("command_line")


@pytest.fixture
def state(first_day: Loop) -> Installation:
    """The state of the demo day; these commands only read it."""
    return first_day.installation


def options(state: Installation) -> list[str]:
    return ["--market", "simulated", "--state-dir", str(state.folder)]


def document(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> Any:
    """The JSON that a command writes; there is nothing else on standard output."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 2) -> str:
    """The words of an error and its exit code: 2 of a configuration error, 1 of what is not stored."""
    capsys.readouterr()
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return " ".join(captured.err.split())


# --- explain --------------------------------------------------------------------------------------------------------
def test_pools_of_every_fate_are_explained_as_the_tables_tell(
    state: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = state.rows(schema.allocations, FIRST)
    planned = planned[planned["pool_id"] != "IDLE"]
    refused = state.rows(schema.prefiltered_pools, FIRST)
    refused = refused[~refused["is_passed"]].iloc[0]
    for action in ("enter", "left_out", "exit"):
        row = planned[planned["action"] == action].iloc[0]
        told = document(capsys, ["explain", row["pool_id"], *options(state)])
        assert told["stages"][-1]["verdict"] == action
        assert told["stages"][-1]["words"] == row["why"]
        assert told["history"][0]["day"] == str(FIRST)
        same = planned[planned["pool_id"] == row["pool_id"]]
        assert told["figures"]["value_usd"] in (f"{same['value_usd'].sum():f}", int(same["value_usd"].sum()))
    told = document(capsys, ["explain", refused["pool_id"], "--date", str(FIRST), *options(state)])
    assert told["stages"][0]["codes"][0] == refused["reason_codes"].split(",")[0]
    assert told["changes"]


def test_words_are_drawn_within_the_terminal(
    state: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pool_id = state.rows(schema.allocations, FIRST)["pool_id"].iloc[0]
    assert main(["explain", str(pool_id)[:8], "--days", "3", *options(state)]) == 0
    text = capsys.readouterr().out
    assert str(pool_id) in text
    assert max(map(len, text.splitlines())) <= 80
    for title in ("Verdicts", "Figures", "Days before"):
        assert title in text
    assert "forecast APY" in text
    assert "forecast_apy" not in text, "names of columns are for JSON"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "zzz-no-pool"], "no pool 'zzz-no-pool' is known"),
        (["explain", "\x1b[31m'; drop table pools"], "no pool"),
        (["explain", "x" * 5_000], "no pool"),
        (["explain", "usdc", "--date", "2020-01-01"], f"no verdicts of 2020-01-01; the newest are of {FIRST}"),
        (["forecast", "show", "zzz-no-pool"], "no pool 'zzz-no-pool'"),
        (["forecast", "show", "--date", "2020-01-01"], f"no forecasts of 2020-01-01; the newest are of {FIRST}"),
        (["report", "show", "--date", "2020-01-01"], f"no report of 2020-01-01; the newest is of {FIRST}"),
        (["demo", "--market", "live"], "the demo runs on the simulated or the recorded market"),
    ],
)
def test_rubbish_is_refused_in_one_line(
    arguments: list[str], words: str, state: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--state-dir", str(state.folder)] if "--market" in arguments else options(state)
    said = refusal(capsys, [*arguments, *rest], 2 if "demo" in arguments else 1)
    assert words in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "arguments", [["explain"], ["explain", "x", "--days", "0"], ["forecast", "show", "--most", "²"]]
)
def test_wrong_arguments_are_wrong_use(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize("arguments", [["explain", "x"], ["forecast", "show"], ["report", "open"], ["report", "show"]])
def test_an_empty_state_says_what_to_run(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--market", "simulated", "--state-dir", str(tmp_path / "s")]
    assert "defiyield migrate" in refusal(capsys, [*arguments, *rest])
    assert not (tmp_path / "s").exists(), "whoever only reads makes nothing at a mistyped place"
    assert main(["migrate", *rest]) == 0
    assert "`defiyield demo`" in refusal(capsys, [*arguments, *rest], 1)


# --- forecast show --------------------------------------------------------------------------------------------------
def test_forecasts_of_one_pool_are_those_of_the_table(state: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    rows = state.rows(schema.pool_forecasts, FIRST)
    pool_id = rows["pool_id"].iloc[0]
    told = document(capsys, ["forecast", "show", pool_id, *options(state)])
    wanted = rows[rows["pool_id"] == pool_id]
    found = {(one["target"], one["horizon_days"]): (one["p10"], one["mean"], one["p90"]) for one in told["forecasts"]}
    assert found == {
        (row["target"], row["horizon_days"]): (row["p10"], row["mean"], row["p90"]) for _, row in wanted.iterrows()
    }
    champions = {one["horizon_days"]: one["model"] for one in told["candidates"] if one["is_champion"]}
    assert champions == {row["horizon_days"]: row["model"] for _, row in wanted[wanted["target"] == "apy"].iterrows()}


def test_usable_pools_are_listed_best_first(state: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    told = document(capsys, ["forecast", "show", "--most", "5", *options(state)])
    means = [one["mean"] for one in told["forecasts"]]
    assert len(means) == 5
    assert means == sorted(means, reverse=True)
    passed = state.rows(schema.eligible_pools, FIRST)
    assert {one["pool_id"] for one in told["forecasts"]} <= set(passed.loc[passed["is_passed"], "pool_id"])
    assert main(["forecast", "show", "--target", "tvl_usd", *options(state)]) == 0
    assert "Forecasts of tvl_usd" in capsys.readouterr().out


# --- report ---------------------------------------------------------------------------------------------------------
def test_the_page_is_opened_and_written_anew_where_it_is_gone(
    first_day: Loop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = first_day.installation.copy_to(tmp_path / "state")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address) or True))  # type: ignore[func-returns-value]
    page = copied.folder / "reports" / f"{FIRST}.html"
    page.unlink()
    assert main(["report", "open", *options(copied)]) == 0
    assert opened == [page.resolve().as_uri()]
    assert page.read_text(encoding="utf-8") == copied.rows(schema.daily_report, FIRST)["html"].iloc[0]
    assert page.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert main(["report", "open", "--path", *options(copied)]) == 0
    assert capsys.readouterr().out.strip() == str(page.resolve())
    assert len(opened) == 1


def test_without_a_browser_the_path_is_told(
    state: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    assert main(["report", "open", *options(state)]) == 1
    assert f"{FIRST}.html" in capsys.readouterr().out


def test_the_reports_text_is_shown_raw_or_drawn(state: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    stored = state.rows(schema.daily_report, FIRST)["markdown"].iloc[0]
    assert main(["report", "show", "--raw", *options(state)]) == 0
    assert capsys.readouterr().out.rstrip("\n") == stored.rstrip("\n")
    assert main(["report", "show", *options(state)]) == 0
    assert str(FIRST) in capsys.readouterr().out
    assert document(capsys, ["report", "show", *options(state)])["markdown"] == stored


# --- demo -----------------------------------------------------------------------------------------------------------
def test_the_report_loses_no_column_at_80(
    state: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [f"figure-{number}" for number in range(11)]
    table = "| " + " | ".join(f"column-{number}" for number in range(11)) + " |\n" + "|---" * 11 + "|\n"
    table += "| " + " | ".join(cells) + " |\n"
    monkeypatch.setattr(report, "_stored", lambda *_: {"date": FIRST, "markdown": f"# Day\n\n{table}"})
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["report", "show", *options(state)]) == 0
    text = capsys.readouterr().out
    assert all(cell in text for cell in cells)
    assert "column-10 figure-10" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_demo_tells_what_the_day_came_to(
    state: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[date]] = []

    def run_days(days: list[date], phases: list[int], console: Console, **_: Any) -> int:
        asked.append(days)
        console.print("the day ran")
        return 0

    monkeypatch.setattr(running, "run_days", run_days)
    told = document(capsys, ["demo", *options(state)])
    assert asked == [[FIRST]]
    listed = state.rows(schema.prefiltered_pools, FIRST)
    assert (told["pools_listed"], told["pools_prefiltered"]) == (len(listed), int(listed["is_passed"].sum()))
    assert told["plan"]["status"] == state.rows(schema.allocation_runs, FIRST)["status"].iloc[0]
    assert main(["demo", *options(state)]) == 0
    text = capsys.readouterr().out
    assert f"defiyield explain {told['largest_pool'][:8]}" in text
    assert "six phases" in text


def test_a_failed_demo_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "run_days", lambda *_, **__: 1)
    day = FIRST + timedelta(days=1)
    assert main(["demo", "--date", str(day), "--market", "simulated", "--state-dir", str(tmp_path / "s")]) == 1
