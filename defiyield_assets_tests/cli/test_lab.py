"""The strategy lab by its commands (docs/explanation/strategy-lab.md), on the simulated market, and its pages."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.settings import PROJECT_ROOT
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.browser import browser, visit
from defiyield_assets_tests.installations import Installation

DOCS = PROJECT_ROOT / "docs" / "explanation" / "strategy-lab.md"
Run = Callable[..., int]


def blocks(kind: str) -> list[str]:
    """Code blocks of the documentation."""
    return re.findall(rf"^```{kind}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: None) -> Run:
    """A command as somebody types it, in a folder of its own with the documentation's strategy in it."""
    (example,) = blocks("yaml")
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "my_dip.yaml").write_text(example, encoding="utf-8")
    monkeypatch.chdir(folder)

    def typed(*words: str) -> int:
        return main([*words, "--market", "simulated", "--state-dir", str(tmp_path / "state")])

    return typed


@pytest.mark.nightly
def test_every_command_of_the_documentation_runs_and_its_pages_open(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert len(lines) >= 10
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "defiyield"
        assert run(*words) == 0, line
        assert capsys.readouterr().out.strip(), line
    state = Installation(tmp_path / "state")
    before = state.fingerprint(schema.backtest_results)
    assert run("assess", "--count", "0", "--workers", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    ranks = reads.read_all(state.engine, schema.strategy_rankings)
    assert {row["strategy_id"] for row in told["ranking"]} == set(ranks["strategy_id"])
    assert {"scenarios", "metrics", "strategies", "backtests", "ranking", "report"} == set(told["seconds"])
    assert run("assess", "--count", "0", "--workers", "1") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("Ranking: all", "golden_cross", "matrix: "))
    assert state.fingerprint(schema.backtest_results) == before, "what is stored over the same bars is not run again"
    pages = {**told["pages"], **told["tear_sheets"]}
    assert {"all", "crypto_liquid", "us_equities", "sma_cross", "golden_cross"} <= set(pages)
    script = "[document.documentElement.scrollWidth, document.querySelectorAll('h2').length]"
    with browser(tmp_path / "profile") as address:
        for name, path in pages.items():
            seen = visit(address, Path(path), script, width=1280)
            assert seen.complaints == [], name
            assert seen.requests == [Path(path).resolve().as_uri()], f"{name} loads nothing but itself"
            assert seen.value[0] <= 1280, f"{name} is wider than the window"
            assert seen.value[1] >= 3, name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("scenarios", "generate", "--type", "block_bootsrap"), "did you mean 'block_bootstrap'?"),
        (("scenarios", "list", "--type", "gmb"), "did you mean 'gbm'?"),
        (("backtest", "golden_cros", "--from", "2024-01-01", "--to", "2024-02-01"), "did you mean 'golden_cross'?"),
        (("backtest", "nobody.yaml", "--from", "2024-01-01", "--to", "2024-02-01"), "there is no such file"),
        (("backtest", "sma_cross", "--from", "2024-03-01", "--to", "2024-02-01"), "is after --to"),
        (
            ("backtest", "sma_cross", "--from", "2024-01-01", "--to", "2024-02-01", "--cost-multiplier", "-1"),
            "0 to 100",
        ),
        (("assess", "--workers", "0"), "at least 1"),
        (("assess", "--workers", "65"), "at most 64"),
        (("scenarios", "generate", "--type", "gbm", "--seed", "90000000001"), "at most 90,000,000,000"),
        (("backtest", ":link:.yaml", "--from", "2024-01-01", "--to", "2024-02-01"), ":link:.yaml: there is no such"),
        (("assess", "--count", "many"), "no whole number"),
        (("data", "--from", "1999-01-01", "--to", "2024-01-01"), "days run from"),
        (("metrics", "--from", "2024-02-01", "--to", "2024-01-01"), "is after --to"),
    ],
)
def test_wrong_words_are_refused_in_words(
    words: tuple[str, ...], told: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = run(*words)
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    assert told in capsys.readouterr().err


def test_a_lab_without_bars_or_scenarios_says_what_to_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate") == 0
    assert run("metrics") == 2
    assert "run `defiyield scenarios`" in capsys.readouterr().err
    assert run("backtest", "sma_cross", "--from", "2024-01-01", "--to", "2024-02-01") == 2
    assert "crypto_liquid" in capsys.readouterr().err
    assert run("assess", "--count", "0") == 1
    assert "scenarios: failed" in capsys.readouterr().out


@pytest.mark.slow
def test_the_browser_hears_a_console_and_sees_who_is_asked(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/a.png'><script>console.error('x'); nobody()</script>", "utf-8")
    with browser(tmp_path / "profile") as address:
        seen = visit(address, bad)
    assert len(seen.complaints) >= 2
    assert "http://127.0.0.1:9/a.png" in seen.requests
