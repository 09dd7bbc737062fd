"""`defiyield config set`, `versions` and `preview` as they are typed: what is written, told and refused.

Not here: when a version is written (config/test_versions.py), days under another policy
(orchestration/test_policy_previews.py).
"""

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.cli.config_arguments import VERBS
from defiyield_assets.cli.config_versions import NUMBERS
from defiyield_assets.cli.console import build_desk
from defiyield_assets.cli.main import main
from defiyield_assets.config.loader import load_policy
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import load_settings
from defiyield_assets_tests.installations import FIRST, Loop

pytestmark = pytest.mark.usefixtures("command_line")
WHY = ["--author", "Ada", "--reason", "small pools are thin"]
SET = ["config", "set"]


@pytest.fixture
def state(tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a migrated warehouse."""
    found = tmp_path / "state"
    found.mkdir(mode=0o700)
    shutil.copyfile(sqlite_template, found / "warehouse.sqlite")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(found))
    return found


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON document of a command."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints, in words between single spaces."""
    capsys.readouterr()
    try:
        ended: Any = main(list(arguments))
    except SystemExit as stop:
        ended = stop.code
    captured = capsys.readouterr()
    assert ended == code
    return " ".join((captured.out + captured.err).split())


def test_verbs_are_those_of_the_arguments() -> None:
    assert tuple(NUMBERS) == VERBS


def test_a_parameter_is_set_compared_and_restored(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no version was written yet" in said(capsys, "config", "versions")
    assert told(capsys, *SET, "pool_tvl_min_usd", "1000000", *WHY, "--dry-run")["version"] is None
    assert not (state / "config").exists()
    found = told(capsys, *SET, "pool_tvl_min_usd", "1000000", *WHY)
    assert (found["found"], found["version"]) == (1, 2)
    assert "by Ada: small pools are thin" in found["diff"]
    words = said(capsys, *SET, "max_group_share", "0.4, 0.3,0.2,0", *WHY)
    assert "version 3: max_group_share set to 0.4, 0.3, 0.2, 0.0 it counts from the next day" in words
    policy = load_policy(date(2025, 6, 3), state / "config").policy.parameters
    assert (policy.pool_tvl_min_usd, policy.max_group_share) == (1_000_000.0, (0.4, 0.3, 0.2, 0.0))
    listed = told(capsys, "config", "versions")
    assert [one["version"] for one in listed["versions"]] == [3, 2, 1]
    assert listed["drift"] is None
    assert "small pools are thin" in said(capsys, "config", "versions", "list")
    shown = told(capsys, "config", "versions", "show", "2")
    assert shown["author"] == "Ada"
    assert "pool_tvl_min_usd: 1000000.0" in shown["files"]["policy.yaml"]
    assert "version 2 of" in said(capsys, "config", "versions", "show", "2")
    compared = told(capsys, "config", "versions", "compare", "1", "3")
    assert [one["name"] for one in compared["parameters"]] == ["max_group_share", "pool_tvl_min_usd"]
    assert "pool_tvl_min_usd: 500000.0 → 1000000.0" in said(capsys, "config", "versions", "compare", "1", "2")
    assert "there is no difference" in said(capsys, "config", "versions", "compare", "2", "2")
    restored = told(capsys, "config", "versions", "restore", "1", *WHY)
    assert restored["version"] == 4
    assert load_policy(date(2025, 6, 3), state / "config") == load_policy(date(2025, 6, 3))
    (state / "config" / "policy.yaml").write_text("parameters: {min_pools: 9}\n", encoding="utf-8")
    assert "not those of version 4" in told(capsys, "config", "versions")["drift"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*SET, "pool_tvl_min", "1", *WHY], "did you mean 'pool_tvl_min_usd'?"),
        ([*SET, "pool_tvl_min_usd", "much", *WHY], "is no number"),
        ([*SET, "max_pool_share", "7", *WHY], "less than or equal to 1"),
        ([*SET, "min_pools", "7", "--author", "Ada"], "a version needs a reason"),
        ([*SET, "min_pools", "7", "--author", " ", "--reason", "x"], "a version needs an author"),
        (["config", "versions", "show"], "show takes the number of a version"),
        (["config", "versions", "compare", "1"], "compare takes the numbers of two versions"),
        (["config", "versions", "list", "1"], "list takes no number"),
        (["config", "versions", "shwo", "1"], "did you mean 'show'?"),
        (["config", "versions", "show", "one"], "invalid int value"),
        (["config", "preview"], "say what to preview"),
        (["config", "preview", "--set", "min_pools"], "is not NAME=VALUE"),
        (["config", "preview", "--set", "min_pols=3"], "did you mean 'min_pools'?"),
        (["config", "preview", "--folder", "no/such"], "is no folder"),
    ],
)
def test_wrong_use_is_told_and_writes_nothing(
    arguments: list[str], words: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in said(capsys, *arguments, code=2)
    assert not (state / "config").exists()
    assert told(capsys, "config", "versions")["versions"] == []


def test_a_named_folder_that_is_not_there_is_told_and_never_made(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    above = tmp_path / "etc"
    above.mkdir(mode=0o755)
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(above / "typo"))
    for arguments in (["preview", "--set", "min_pools=7"], ["preview", "--folder", str(tmp_path)]):
        assert "typo is no folder" in said(capsys, "config", *arguments, code=2)
    assert "typo is no folder" in said(capsys, *SET, "min_pools", "7", *WHY, code=2)
    assert "typo is no folder" in said(capsys, "console", "--port", "39999", code=2)
    with pytest.raises(ConfigurationError, match="typo is no folder"):
        build_desk(load_settings(), "secret of a test")
    assert not (above / "typo").exists()
    assert above.stat().st_mode & 0o777 == 0o755
    assert state.is_dir()


def test_versions_and_days_that_there_are_not(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no version was written yet" in said(capsys, "config", "versions", "show", "1", code=1)
    assert "holds no plan yet" in said(capsys, "config", "preview", "--set", "min_pools=7", code=1)


def test_nothing_to_change_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing changed: min_pools is 5 already" in said(capsys, *SET, "min_pools", "5", *WHY)
    assert not (state / "config").exists()


def test_a_preview_tells_the_sentence_pools_and_figures(
    first_day: Loop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "planned")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(installation.folder))
    before = installation.fingerprints()
    change = ["config", "preview", "--set", "pool_tvl_min_usd=20000000"]
    found = told(capsys, *change)
    assert found["words"].startswith(f"This change would drop {len(found['dropped'])} pools")
    assert found["eligible_before"] - found["eligible_after"] == len(found["dropped"])
    words = said(capsys, *change, "--date", FIRST.isoformat())
    assert found["words"] in words
    assert "would drop out" in words
    assert found["basis"] in words
    assert "is below 20,000,000 USD" in words
    words = said(capsys, "config", "preview", "--set", "pool_tvl_min_usd=100000000")
    assert "Of the pools that would drop out 1 is held: with the change the plan leaves 1, as it does now." in words
    assert "held (now: leave; changed: leave): size of" in words
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "policy.yaml").write_text("parameters: {pool_tvl_min_usd: 20000000.0}\n", encoding="utf-8")
    assert told(capsys, "config", "preview", "--folder", str(folder))["words"] == found["words"]
    assert installation.fingerprints() == before
    assert not (installation.folder / "config").exists()
