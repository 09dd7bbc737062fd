"""`defiyield config`: what is shown, what is checked, and lists that are changed in one stroke or not at all.

Not here: how a YAML file is changed as text (config/test_editing.py), or the rules of a file (config/test_loader.py).
"""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from defiyield_assets.addresses import without_secrets
from defiyield_assets.cli.config_arguments import KINDS
from defiyield_assets.cli.main import main
from defiyield_assets.config import changed_files, changes
from defiyield_assets.config.loader import POLICY_FILES, load_policy
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import schema

pytestmark = pytest.mark.usefixtures("command_line", "state")
SECRET = "s3cret-Zx9-hunter"
EDIT = ["config", "edit", "lists"]
WHY = ["--reason", "audited", "--author", "Ada"]
TODAY = datetime.now(UTC).date()
COUNTS = {"n_tokens": 0, "n_protocols": 0, "n_overrides": 0}
TOKEN = "0x" + "ab" * 20


@pytest.fixture
def state(tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with a migrated warehouse."""
    found = tmp_path / "state"
    found.mkdir(mode=0o700)
    shutil.copyfile(sqlite_template, found / "warehouse.sqlite")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(found))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder with copies of the shipped files."""
    own = tmp_path / "config"
    own.mkdir()
    for name in POLICY_FILES:
        shutil.copyfile(SHIPPED / name, own / name)
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(own))
    return own


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON document of a command."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The words of a refusal, as wrong use or as a configuration error: both end with 2."""
    capsys.readouterr()
    try:
        code: Any = main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    return " ".join((captured.out + captured.err).split())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- show -----------------------------------------------------------------------------------------------------------
def test_every_setting_is_shown_with_its_source_and_no_secret(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "FRED_API_KEY": SECRET,
        "SLACK_BOT_TOKEN": SECRET,
        "ETHEREUM_RPC_URL": f"https://node/{SECRET}",
        "DATABASE_URL": f"postgresql+psycopg://me:{SECRET}@db:5432/house?password={SECRET}",
        "VENDORS": json.dumps({"ethereum_node": {"base_url": f"https://x/{SECRET}"}, "fred": {"per_minute": 3}}),
        "OLLAMA_URL": f"http://u:{SECRET}@host:1",
        "COLOUR": SECRET,
        "DAGSTER_PG_HOST": "db",
    }.items():
        monkeypatch.setenv(f"DEFIYIELD_{name}", value)
    found = told(capsys, "config", "show", "--market", "recorded")
    assert SECRET not in json.dumps(found)
    settings = {one["variable"]: one for one in found["settings"]}
    assert (settings["DEFIYIELD_MARKET"]["value"], settings["DEFIYIELD_MARKET"]["source"]) == ("recorded", "--market")
    assert settings["DEFIYIELD_FRED_API_KEY"]["value"] == "set, hidden"
    assert settings["DEFIYIELD_DATABASE_URL"]["value"] == "postgresql+psycopg://***@db:5432/house?***"
    assert settings["DEFIYIELD_VENDORS"]["value"]["fred"] == {"per_minute": 3}
    assert settings["DEFIYIELD_MARKET_SEED"] | {"description": ""} == {
        "variable": "DEFIYIELD_MARKET_SEED",
        "value": 7,
        "source": "default",
        "description": "",
        "error": None,
    }
    assert settings["DEFIYIELD_COLOUR"]["error"] == "unknown name"
    assert "DEFIYIELD_DAGSTER_PG_HOST" not in settings, "the dagster.yaml of deploy/ reads it"
    assert main(["config", "show"]) == 0
    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value"),
    [("MARKET", "flea"), ("MARKET_SEED", "seven"), ("VENDORS", "{bad " + SECRET), ("FIRST_DAY", "x" * 500)],
)
def test_settings_that_cannot_be_read_are_shown_with_what_is_wrong(
    name: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"DEFIYIELD_{name}", value)
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY", SECRET)
    found = told(capsys, "config", "show", code=2)
    assert [one["variable"] for one in found["settings"] if one["error"]] == [f"DEFIYIELD_{name}"]
    assert SECRET not in json.dumps(found)
    assert not told(capsys, "config", "validate", code=2)["is_right"]


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://host/path", "https://host/path"),
        (f"https://u:{SECRET}@host:8/p?k={SECRET}#{SECRET}", "https://***@host:8/p?***"),
        ("sqlite:////tmp/x.sqlite", "sqlite:////tmp/x.sqlite"),
        (f"{SECRET}", "set, hidden"),
        (f"http://[{SECRET}", "set, hidden"),
        (f"http://host:{SECRET}", "set, hidden"),
    ],
)
def test_addresses_lose_what_may_be_a_secret(address: str, wanted: str) -> None:
    assert without_secrets(address) == wanted


# --- validate -------------------------------------------------------------------------------------------------------
def test_everything_shipped_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "config", "validate")
    assert found["is_right"]
    assert {one["name"] for one in found["checked"]} >= {"settings", "instruments.yaml", "strategies", "paper.yaml"}


def test_all_that_is_wrong_is_told_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "policy.yaml").write_text("parameters: {max_pool_shaer: 0.2}\n", encoding="utf-8")
    (folder / "instruments.yaml").write_bytes(b"\xff\xfe\x00rubbish")
    (folder / "models.yaml").write_text("- just\n- a list\n", encoding="utf-8")
    found = told(capsys, "config", "validate", code=2)
    wrong = {one["name"]: one["error"] for one in found["checked"] if one["error"]}
    assert set(wrong) >= {", ".join(POLICY_FILES), "instruments.yaml", "models.yaml"}
    assert "csv_sources.yaml" not in wrong
    assert "max_pool_shaer" in wrong[", ".join(POLICY_FILES)]
    assert "did you mean 'max_pool_share'?" in wrong[", ".join(POLICY_FILES)]


# --- init -----------------------------------------------------------------------------------------------------------
def test_shipped_files_are_copied_once_and_account_data_is_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    found = told(capsys, "config", "init", str(own))
    assert found["copied"] == list(POLICY_FILES)
    assert (own / "accounts.yaml").stat().st_mode & 0o777 == 0o600
    (own / "tokens.yaml").write_text("mine", encoding="utf-8")
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(own))
    found = told(capsys, "config", "init", "--all")
    assert set(POLICY_FILES) == set(found["kept"])
    assert (own / "tokens.yaml").read_text(encoding="utf-8") == "mine"
    assert (own / "instruments.yaml").read_bytes() == (SHIPPED / "instruments.yaml").read_bytes()


def test_the_programs_own_files_are_never_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents_of_shipped()
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(SHIPPED))
    assert "defiyield config init" in refused(capsys, *EDIT, "add", "protocol", "x-y", *WHY)
    assert "belongs to the program" in refused(capsys, "config", "init", str(SHIPPED / "own"))
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", "no/such/folder")
    assert "is no folder" in refused(capsys, *EDIT, "add", "protocol", "x-y", *WHY)
    assert contents_of_shipped() == before


def test_without_a_folder_of_ones_own_a_change_goes_into_that_of_the_state(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents_of_shipped()
    assert told(capsys, "config", "show")["places"]["configuration"] == "the shipped files"
    assert told(capsys, *EDIT, "add", "protocol", "x-y", *WHY, "--dry-run")["is_written"] is False
    assert not (state / "config").exists()
    assert told(capsys, *EDIT, "add", "protocol", "x-y", *WHY)["is_written"]
    own = state / "config"
    assert [path.name for path in own.iterdir()] == ["protocols.yaml"]
    assert own.stat().st_mode & 0o777 == state.stat().st_mode & 0o777 == 0o700
    assert (own / "protocols.yaml").stat().st_mode & 0o777 == 0o644
    assert "x-y" in load_policy(TODAY, own).policy.protocols
    found = told(capsys, "config", "show")
    assert found["places"]["configuration"] == f"{own} (the state folder's own)"
    assert found["files"]["protocols.yaml"] == str(own / "protocols.yaml")
    assert found["files"]["tokens.yaml"] == "shipped"
    assert told(capsys, "config", "validate")["checked"][1]["source"] == str(own / "protocols.yaml")
    assert contents_of_shipped() == before
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.delenv("VISUAL", raising=False)
    assert not told(capsys, *EDIT, "--file", "accounts.yaml")["is_written"]
    monkeypatch.setenv("EDITOR", "sed -i s/cold/frozen/")
    assert told(capsys, *EDIT, "--file", "accounts.yaml")["is_written"]
    assert (own / "accounts.yaml").stat().st_mode & 0o777 == 0o600


def test_a_named_folder_wins_over_that_of_the_state(
    state: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "config").mkdir(parents=True)
    (state / "config" / "protocols.yaml").write_text("rubbish", encoding="utf-8")
    assert told(capsys, "config", "validate")["is_right"]
    assert told(capsys, "config", "show")["places"]["configuration"] == f"{folder} (DEFIYIELD_CONFIG_DIR)"


def contents_of_shipped() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in SHIPPED.glob("*.yaml")}


# --- edit lists -----------------------------------------------------------------------------------------------------
def test_kinds_of_rows_are_those_of_the_arguments() -> None:
    assert set(KINDS) == set(changes.KINDS)


def test_a_protocol_is_added_and_later_removed_with_its_days_and_reasons(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "protocols.yaml").read_text(encoding="utf-8")
    found = told(capsys, *EDIT, "add", "protocol", "aave-v9", *WHY, "--from", "2025-06-03")
    assert found["is_written"]
    text = (folder / "protocols.yaml").read_text(encoding="utf-8")
    assert "# added 2025-06-03 by Ada: audited\n  - {slug: aave-v9, added_on: 2025-06-03}\n" in text
    assert [line for line in before.splitlines() if line not in text.splitlines()] == []
    assert "aave-v9" in load_policy(date(2025, 6, 3), folder).policy.protocols
    assert "aave-v9" not in load_policy(date(2025, 6, 2), folder).policy.protocols
    assert main([*EDIT, "remove", "protocol", "aave-v9", *WHY, "--from", "2025-06-10"]) == 0
    assert "+  - {slug: aave-v9, added_on: 2025-06-03, removed_on: 2025-06-10}" in capsys.readouterr().out
    assert "aave-v9" in load_policy(date(2025, 6, 9), folder).policy.protocols
    assert "aave-v9" not in load_policy(date(2025, 6, 10), folder).policy.protocols
    assert main([*EDIT, "add", "protocol", "aave-v9", *WHY, "--from", "2025-07-01"]) == 0
    assert "aave-v9" in load_policy(date(2025, 7, 1), folder).policy.protocols


def test_tokens_blacklist_overrides_and_aliases(folder: Path) -> None:
    fields = [f"--set={item}" for item in ("symbol=NEW", "decimals=6", "issuer=Acme")]
    assert main([*EDIT, "add", "token", TOKEN.upper().replace("X", "x"), *fields, *WHY]) == 0
    assert main([*EDIT, "add", "blacklist", "0x" + "cd" * 20, "--set", "symbol=BAD", *WHY]) == 0
    assert main([*EDIT, "add", "override", "pool-1", "--set", "exit_days=3", *WHY]) == 0
    assert main([*EDIT, "add", "icebox", TOKEN, "--set", "barred=true", *WHY]) == 0
    assert main([*EDIT, "add", "alias", "old-1", "new-1", *WHY]) == 0
    assert main([*EDIT, "add", "protocol-alias", "older", "aave-v3", *WHY]) == 0
    policy = load_policy(TODAY, folder).policy
    assert [(token.symbol, token.decimals) for token in policy.tokens if token.address == TOKEN] == [("NEW", 6)]
    assert "BAD" in [row.symbol for row in policy.blacklist]
    assert [(one.exit_days, one.source) for one in policy.pool_overrides] == [(3, "Ada: audited")]
    assert [(one.barred, one.reason) for one in policy.icebox_overrides] == [(True, "audited (Ada)")]
    assert [(one.old_id, one.new_id) for one in policy.pool_aliases] == [("old-1", "new-1")]
    assert policy.protocol_aliases["older"] == "aave-v3"
    for kind, key in (("token", "NEW"), ("blacklist", "bad"), ("alias", "old-1"), ("protocol-alias", "older")):
        assert main([*EDIT, "remove", kind, key, *WHY]) == 0, kind
    assert main([*EDIT, "remove", "override", "pool-1", *WHY, "--from", "2999-01-01"]) == 0
    policy = load_policy(TODAY, folder).policy
    assert TOKEN not in {token.address for token in policy.tokens}
    assert "BAD" not in [row.symbol for row in policy.blacklist]
    assert policy.pool_aliases == ()
    assert "older" not in policy.protocol_aliases
    assert policy.pool_overrides[0].until == date(2998, 12, 31)
    assert "# removed" in (folder / "policy.yaml").read_text(encoding="utf-8")


def test_of_several_rows_the_one_that_is_meant_is_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    override = ["remove", "override", "p", *WHY, "--from", "2025-06-30"]
    rows = ["{pool_id: p, exit_days: 1}", *(f"{{pool_id: p, exit_days: 2, since: 2025-06-0{day}}}" for day in (3, 5))]
    path = folder / "policy.yaml"
    before = path.read_text().replace("pool_overrides: []", "\n  - ".join(["pool_overrides:", *rows]))
    path.write_text(before)
    asked = "3 rows of 'p' in force; say which by its first day, `--since 2025-06-03`: 2025-06-03, 2025-06-05, none"
    assert asked in refused(capsys, *EDIT, *override)
    assert "holds no 'p' since 2025-06-04 in force" in refused(capsys, *EDIT, *override, "--since", "2025-06-04")
    path.write_text(before.replace(rows[0], "{pool_id: q, exit_days: 1}"))
    told = refused(capsys, *EDIT, *override, "--since", "none")
    assert "holds no 'p' without a first day in force" in told
    assert "did you mean" not in told
    path.write_text(before)
    assert path.read_text() == before
    for since in ("2025-06-03", "none"):
        assert main([*EDIT, *override, "--since", since]) == 0
    untils = [(str(row.since), str(row.until)) for row in load_policy(date(2025, 6, 6), folder).policy.pool_overrides]
    assert untils == [("None", "2025-06-29"), ("2025-06-03", "2025-06-29"), ("2025-06-05", "None")]


def test_rows_that_differ_in_case_alone_are_told_apart_by_their_spelling(folder: Path) -> None:
    path = folder / "policy.yaml"
    rows = [f"{{pool_id: {name}, exit_days: 1, since: 2025-06-03}}" for name in ("P", "p")]
    path.write_text(path.read_text().replace("pool_overrides: []", "\n  - ".join(["pool_overrides:", *rows])))
    for key, ended in (("P", ["2025-06-29", "None"]), ("p", ["2025-06-29", "2025-06-29"])):
        assert main([*EDIT, "remove", "override", key, *WHY, "--from", "2025-06-30"]) == 0
        found = load_policy(date(2025, 6, 6), folder).policy.pool_overrides
        assert [str(row.until) for row in found] == ended


def test_an_address_is_the_same_whatever_its_case(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = [f"--set={item}" for item in ("symbol=NEW", "decimals=6", "issuer=Acme")]
    assert main([*EDIT, "add", "token", TOKEN, *fields, *WHY, "--from", "2025-08-01"]) == 0
    path = folder / "tokens.yaml"
    text = path.read_text()
    (line,) = [line for line in text.splitlines() if TOKEN in line]
    other = line.replace(TOKEN, TOKEN.upper().replace("X", "x")).replace(
        "added_on: 2025-08-01", "removed_on: 2025-07-10"
    )
    path.write_text(text.replace(line, f"{other}\n{line}"))
    remove = ["remove", "token", TOKEN, *WHY, "--from", "2025-06-30"]
    assert main([*EDIT, *remove, "--since", "none"]) == 0
    assert f"{other.replace('2025-07-10', '2025-06-30')}" in path.read_text().splitlines()


def test_a_symbol_of_two_tokens_is_none_to_be_removed_by(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = [f"--set={item}" for item in ("symbol=NEW", "decimals=6", "issuer=Acme")]
    tokens = [f"0x{pair * 20}" for pair in ("ab", "cd")]
    for token in tokens:
        assert main([*EDIT, "add", "token", token, *fields, *WHY]) == 0
    asked = f"'NEW' names 2 rows of approved; say which: {', '.join(tokens)}"
    assert asked in refused(capsys, *EDIT, "remove", "token", "NEW", *WHY)
    assert main([*EDIT, "remove", "token", tokens[0], *WHY]) == 0
    assert [token.address for token in load_policy(TODAY, folder).policy.tokens if token.symbol == "NEW"] == tokens[1:]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "protocol", "aave-v10", "--since", "2025-06-03", *WHY], "--since belongs to remove"),
        (["--since", "2025-06-03", *WHY], "--since belongs to remove"),
        (["remove", "protocol-alias", "morpho-blue", "--since", "none", *WHY], "rows of aliases have no first day"),
        (["remove", "protocol", "aave-v3", "--since", "junk", *WHY], "junk"),
        (["add", "protocol", "aave-v3", *WHY], "holds aave-v3 already"),
        (["remove", "protocol", "aave-v33", *WHY], "did you mean 'aave-v3'?"),
        (["add", "protocol", "x-y"], "--reason says why"),
        (["add", "protocol", "x-y", "--reason", " \x00 "], "--reason says why"),
        (["add", "protocol", " ", *WHY], "a name must not be empty"),
        (["add", "protocol", *WHY], "takes a KIND and a KEY"),
        (["add", *WHY], "takes a KIND and a KEY"),
        (["add", "alias", "old", *WHY], "takes old_id and new_id"),
        (["fly", "protocol", "x", *WHY], "invalid choice: 'fly'"),
        (["add", "protocl", "x", *WHY], "did you mean 'protocol'?"),
        (["add", "token", "0x12", *WHY], "40 hexadecimal digits"),
        (["add", "token", TOKEN, *WHY], "is missing and has to be given"),
        (["add", "token", TOKEN, "--set", "symbol", *WHY], "is not NAME=VALUE"),
        (["add", "token", TOKEN, "--set", "symbol=[", *WHY], "is no value that YAML reads"),
        (["add", "override", "p", "--set", "exit_days=-3", *WHY], "greater than or equal to 0"),
        (["add", "override", "p", "--set", "exit_dais=3", *WHY], "did you mean 'exit_days'?"),
        (["add", "protocol", "no such", *WHY], "is no slug"),
        (["add", "protocol", "x]: {", *WHY], "is no slug"),
        (["add", "protocol", "x-y", "--set", "removed_on=!!python/object:os.system x", *WHY], "YAML"),
        (["remove", "protocol", "aave-v3", "--set", "a=1", *WHY], "--set belongs to add"),
        (["add", "protocol", "x-y", "--from", "tomorrow", *WHY], "is no date"),
    ],
)
def test_rubbish_changes_no_file(
    arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    assert words in refused(capsys, *EDIT, *arguments)
    assert contents(folder) == before


def test_a_dry_run_shows_the_difference_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    found = told(capsys, *EDIT, "remove", "protocol", "goldfinch", *WHY, "--dry-run")
    assert not found["is_written"]
    assert f"+  - {{slug: goldfinch, removed_on: {TODAY}}}" in found["diff"]
    assert contents(folder) == before


def test_comments_and_hostile_words_stay_in_one_comment(folder: Path) -> None:
    reason = "a\n  - evil\x1b[31m: {x"
    assert main([*EDIT, "add", "protocol", "x-y", "--reason", reason, "--author", "E\nve"]) == 0
    text = (folder / "protocols.yaml").read_text(encoding="utf-8")
    assert "by E ve: a - evil [31m: {x\n" in text
    assert "evil" not in load_policy(TODAY, folder).policy.protocols


def test_a_file_that_somebody_else_changed_is_not_overwritten(folder: Path) -> None:
    change = changed_files.Change(folder / "protocols.yaml", "before", "after", "")
    with pytest.raises(ConfigurationError, match="by somebody else"):
        changed_files.replace_file(change)
    assert not list(folder.glob(".*"))


def test_account_data_stay_private_and_links_stay_links(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    (folder / "accounts.yaml").rename(real)
    (folder / "accounts.yaml").symlink_to(real)
    path, before, _ = changed_files.read_text(folder, "accounts.yaml")
    changed_files.replace_file(changed_files.Change(path, before, before + "# more\n", ""))
    assert (folder / "accounts.yaml").is_symlink()
    assert real.read_text(encoding="utf-8").endswith("# more\n")
    own = folder / "own.yaml"
    own.write_text("", encoding="utf-8")
    own.rename(folder / "accounts.yaml")
    (folder / "accounts.yaml").chmod(0o644)
    changed_files.replace_file(changed_files.Change(folder / "accounts.yaml", "", "x", ""))
    assert (folder / "accounts.yaml").stat().st_mode & 0o777 == 0o600


def test_a_row_is_a_version_with_author_and_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *EDIT, "remove", "protocol", "goldfinch", *WHY)
    assert (found["found"], found["version"]) == (1, 2)
    listed = told(capsys, "config", "versions")
    assert listed["drift"] is None, "the file is that of the newest version"
    newest = listed["versions"][0]
    assert (newest["version"], newest["author"], newest["reason"]) == (2, "Ada", "audited")
    assert newest["what"] == f"protocol goldfinch removed from {TODAY} on"
    assert main(["config", "versions", "restore", "1", *WHY]) == 0
    assert "goldfinch" in load_policy(TODAY, folder).policy.protocols


@pytest.mark.parametrize("is_early", [True, False])
def test_a_row_counts_from_the_day_after_the_newest_made_one_and_never_later_than_today(
    is_early: bool, state: Path, folder: Path
) -> None:
    """Days of a simulated market are long over by the clock."""
    made = date(2025, 6, 3) if is_early else TODAY
    engine = sa.create_engine(f"sqlite:///{state / 'warehouse.sqlite'}")
    with engine.begin() as connection:
        policy = {"date": made, "policy_hash": "x", "policy_json": "{}", **COUNTS}
        connection.execute(sa.insert(schema.policy_snapshot).values(policy))
    engine.dispose()
    first = date(2025, 6, 4) if is_early else TODAY
    assert main([*EDIT, "remove", "protocol", "goldfinch", *WHY]) == 0
    assert "goldfinch" in load_policy(first - timedelta(days=1), folder).policy.protocols
    assert "goldfinch" not in load_policy(first, folder).policy.protocols
    assert main([*EDIT, "add", "protocol", "x-y", *WHY, "--from", "2999-01-01"]) == 0
    assert "x-y" not in load_policy(TODAY, folder).policy.protocols
    assert "x-y" in load_policy(date(2999, 1, 1), folder).policy.protocols


def test_accounts_have_no_versions_and_need_no_reason(
    state: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (state / "warehouse.sqlite").unlink()
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/cold/frozen/")
    assert told(capsys, *EDIT, "--file", "accounts.yaml")["version"] is None
    assert "frozen" in (folder / "accounts.yaml").read_text(encoding="utf-8")
    assert "run `defiyield migrate`" in refused(capsys, *EDIT, "add", "protocol", "x-y", *WHY)


# --- the editor -----------------------------------------------------------------------------------------------------
def test_an_editor_changes_a_copy_that_takes_the_files_place_once_it_is_right(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/goldfinch/goldfinch-2/")
    assert told(capsys, *EDIT, "--file", "protocols.yaml", *WHY)["is_written"]
    slugs = yaml.safe_load((folder / "protocols.yaml").read_text(encoding="utf-8"))["approved"]
    assert "goldfinch-2" in slugs
    (newest, _) = told(capsys, "config", "versions")["versions"]
    assert (newest["what"], newest["author"], newest["reason"]) == ("edited with sed", "Ada", "audited")
    assert "--reason says why" in refused(capsys, *EDIT, "--file", "protocols.yaml")
    before = contents(folder)
    monkeypatch.setenv("EDITOR", "sed -i s/approved:/aproved:/")
    words = refused(capsys, *EDIT, "--file", "protocols.yaml", *WHY)
    assert "did you mean 'approved'?" in words
    assert "your copy:" in words
    for editor, wanted in (("false", "ended with 1"), ("no-such-editor-x", "cannot be started"), ("", "set EDITOR")):
        monkeypatch.setenv("EDITOR", editor)
        assert wanted in refused(capsys, *EDIT, "--file", "protocols.yaml", *WHY)
    assert contents(folder) == before
