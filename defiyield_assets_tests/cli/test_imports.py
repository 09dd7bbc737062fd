"""`defiyield import-csv`: what is printed, exit codes, and files that cannot be taken."""

from pathlib import Path

import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.installations import Installation

pytestmark = pytest.mark.usefixtures("command_line")

HEADER = "date,open,high,low,close,volume\n"
DAYS = [f"2024-01-{day:02d},10,12,9,11,5\n" for day in range(1, 6)]
EVENTS = "date,kind,instrument,title,expected,actual,announced_on\n2024-05-01,earnings,AAPL,Q1,2,1.5,2024-04-01\n"


def run(state: Path, *arguments: object) -> int:
    return main(["import-csv", "--state-dir", str(state), *map(str, arguments)])


def test_a_folder_of_files_is_taken_file_by_file_and_again_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, folder = tmp_path / "state", tmp_path / "files"
    folder.mkdir()
    (folder / "BTCUSD.csv").write_text(HEADER + "".join(DAYS) + "2024-01-06,=1+1,2,3,4,5\n", encoding="utf-8")
    (folder / "NOBODY.csv").write_text(HEADER + "".join(DAYS), encoding="utf-8")
    (folder / "events.csv").write_text(EVENTS, encoding="utf-8")
    (folder / "notes.md").write_text("not a table", encoding="utf-8")
    assert run(state, folder) == 1, "one of them was not taken"
    shown = capsys.readouterr().out
    assert "no instrument is called 'NOBODY'. Add it to instruments.yaml" in shown
    assert "BTCUSD.csv:7: open '=1+1' is no price" in shown
    assert "5 daily bars written" in shown
    (folder / "NOBODY.csv").unlink()
    before = Installation(state).fingerprints()
    assert run(state, folder) == 0
    assert capsys.readouterr().out.count("already imported") == 2
    assert Installation(state).fingerprints() == before
    bars = reads.read_all(Installation(state).engine, schema.daily_bars)
    assert bars[["instrument_id", "close", "source", "quality"]].drop_duplicates().to_numpy().tolist() == [
        ["crypto:BTC", 11.0, "csv:unnamed", "full"]
    ]
    event = reads.read_all(Installation(state).engine, schema.market_events).iloc[0]
    assert (event["instrument_id"], event["source"], event["surprise"]) == ("equity:AAPL", "csv:events", -0.5)
    assert bool(event["is_known_assumed"])
    (folder / "events.csv").write_text(EVENTS.replace("1.5", "1.75") + "2024-08-01,earnings,AAPL,Q2,2,,\n", "utf-8")
    assert run(state, folder / "events.csv") == 1
    assert "events.csv:2: actual told otherwise than when event" in capsys.readouterr().out
    (folder / "events.csv").write_text(EVENTS + "2024-08-01,earnings,AAPL,Q2,2,2.5,\n", "utf-8")
    assert run(state, folder / "events.csv") == 0, "an open outcome is filled in"
    assert reads.read_all(Installation(state).engine, schema.market_events)["actual"].tolist() == [1.5, 2.5]


def test_a_clock_is_named_by_hand_or_the_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, state = tmp_path / "BTCUSD-5.csv", tmp_path / "state"
    path.write_text("2024.09.24,03:55,3,4,2,3,1\r\n2024.09.24,04:00,3,4,2,3,1\r\n", encoding="utf-8")
    assert run(state, path) == 1
    assert "name no time zone" in capsys.readouterr().out
    assert run(state, path, "--source", "utc_clok") == 2
    assert "did you mean 'utc_clock'?" in capsys.readouterr().err
    assert run(state, path, "--source", "utc_clock") == 0
    assert "2 bars below a day curated, 1 daily bars written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"), [("missing.csv", "there is no such file or folder"), (".", "holds no file that ends with")]
)
def test_paths_without_a_file_are_an_error(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "state", tmp_path / "empty" / name) == 2
    assert words in capsys.readouterr().err
