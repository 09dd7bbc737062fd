"""`defiyield news`: a reading from the command line, what it shows, and titles that are only text."""

import json
from pathlib import Path

import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import FIRST, Installation

pytestmark = pytest.mark.usefixtures("command_line")


def run(folder: Path, *arguments: str) -> int:
    return main(["news", *arguments, "--market", "simulated", "--state-dir", str(folder)])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("news-state")
    made = Installation(folder)
    made.warehouse.migrate()
    listed = build_instruments(load_policy(FIRST).policy.tokens, load_instruments().instruments)
    writes.upsert(made.engine, schema.instruments, listed)
    return folder


@pytest.mark.slow
def test_a_range_is_read_and_shown(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(state, "show") == 0
    assert "no news are stored" in capsys.readouterr().out
    assert run(state, "update", "--from", "2025-05-30", "--to", "2025-06-03", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new_articles"] > 50
    assert told["hours"] > 100
    assert (told["failed"], told["degraded"]) == ({}, None)
    assert run(state, "show", "--instrument", "BTC", "--from", "2025-05-30", "--json", "--most", "5") == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["articles"]) == 5
    assert all("crypto:BTC" in one["instruments"] for one in shown["articles"])
    assert [one["published_at"] for one in shown["articles"]] == sorted(
        (one["published_at"] for one in shown["articles"]), reverse=True
    )
    assert [one["instrument_id"] for one in shown["sentiment"]] == ["crypto:BTC"]
    assert run(state, "show", "--from", "2024-01-01", "--to", "2024-01-02") == 0
    assert "no news of 2024-01-01 to 2024-01-02 are stored" in capsys.readouterr().out
    assert run(state, "show", "--most", "100") == 0
    assert "Sentiment" in capsys.readouterr().out


@pytest.mark.slow
def test_titles_are_shown_as_text_whatever_they_seem_to_say(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Installation(state)
    rows = made.rows(schema.news_articles)
    hostile = rows.tail(1).assign(title="[bold]x[/bold] <script> =cmd|x [link=https://evil.example]y[/link]")
    writes.upsert(made.engine, schema.news_articles, hostile)
    day = hostile["date"].iloc[0].isoformat()
    assert run(state, "show", "--from", day, "--to", day, "--most", "100") == 0
    shown = "".join(capsys.readouterr().out.split())
    assert "[bold]x[/bold]<script>" in shown
    assert "[link=https://evil.example]" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "--instrument", "BCT"), "did you mean"),
        (("update", "--from", "2026-01-01", "--to", "2025-06-03"), "is after"),
        (("show", "--most", "0"), "whole number"),
    ],
)
def test_a_mistake_is_one_clear_message(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    try:
        code = run(state, *arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code != 0
    assert words in " ".join(capsys.readouterr().err.split())
