"""`defiyield strategies`: the list, the check of a file, the schema."""

import json
from pathlib import Path

import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.strategies.strategy import json_schema

pytestmark = pytest.mark.usefixtures("command_line")

GOOD = """\
id: my_dip
version: 1
universe: crypto_liquid
sizing: {method: risk, risk: 0.01, max_position: 0.2}
rules:
  - enter: {all: [{col: rsi_14, op: lt, value: 30}, {col: close, op: gt, ref: sma_200}]}
    exit: {any: [{col: rsi_14, op: gt, value: 50}, {bars_held: 20}]}
    stop: {pct: 0.05}
"""


def run(tmp_path: Path, *arguments: object) -> int:
    return main(["strategies", *map(str, arguments), "--state-dir", str(tmp_path / "state")])


def test_every_shipped_strategy_is_listed_with_what_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "list", "--json") == 0
    told = {one["strategy_id"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(told) == set(load_strategies())
    assert told["golden_cross"]["columns"] == ["sma_200", "sma_50"]
    assert told["golden_cross"]["warm_up_bars"] == 200
    assert run(tmp_path, "list") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in told)


def test_a_good_file_is_a_strategy_and_keeps_its_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my_dip.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert run(tmp_path, "check", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["strategy_id"], told["type"], told["warm_up_bars"]) == ("my_dip", "signal", 200)
    path.write_text(GOOD + "description: words that only people read\n", encoding="utf-8")
    assert run(tmp_path, "check", path) == 0
    assert told["content_hash"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("rsi_14, op: lt", "rsi_41, op: lt", 6, "did you mean 'rsi_21'?"),
        ("op: lt", "op: less", 6, "did you mean"),
        ("ref: sma_200", "ref: sma_200, value: 3", 6, "value"),
        ("universe:", "univers:", 3, "did you mean 'universe'?"),
        ("pct: 0.05", "pct: -1", 8, "greater than 0"),
        ("method: risk", "method: risque", 4, "did you mean 'risk'?"),
    ],
)
def test_a_wrong_file_is_told_with_file_and_line(
    old: str, new: str, line: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    assert run(tmp_path, "check", path) == 2
    told = capsys.readouterr().err
    assert f"wrong.yaml:{line}:" in told
    assert words in told


def test_a_file_that_is_not_there_never_stands_for_the_shipped_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "check", tmp_path / "golden_cross.yaml") == 2
    assert "there is no such file" in capsys.readouterr().err


def test_a_composite_has_the_strategies_that_there_are_as_members(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "both.yaml"
    text = "id: both\nversion: 1\nuniverse: us_equities\ntype: composite\nvote: unanimous\nsizing: {method: equal}\n"
    path.write_text(text + "members: [{strategy: golden_cross}, {strategy: macd_cross}]\n", encoding="utf-8")
    assert run(tmp_path, "check", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["columns"] == ["atr_14", "macd", "macd_signal", "sma_200", "sma_50"]
    path.write_text(text + "members: [{strategy: golden_cros}, {strategy: both}]\n", encoding="utf-8")
    assert run(tmp_path, "check", path) == 2
    told = capsys.readouterr().err
    assert "did you mean 'golden_cross'?" in told
    assert "a strategy is no member of itself" in told


def test_the_schema_is_printed_or_written_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "schema") == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    assert run(tmp_path, "schema", "--write", tmp_path / "schema.json") == 0
    assert json.loads((tmp_path / "schema.json").read_text(encoding="utf-8")) == json_schema()
    assert run(tmp_path, "schema", "--write", tmp_path / "nowhere" / "schema.json") == 2
    assert "is no folder" in capsys.readouterr().err
