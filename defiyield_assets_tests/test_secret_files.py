"""Secrets as files: which setting may be one, what counts of the file, what is refused, and that nobody is told it.

Not here: keeping secrets out of logs, tables and answers (security/test_secrets.py).
"""

import os
from pathlib import Path

import pytest

from defiyield_assets import secret_files
from defiyield_assets.cli.main import main
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability.secrets import redactor
from defiyield_assets.settings import Settings, load_settings, secret_fields

CONTENT = "file-secret-0123456789"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file with a secret that belongs to its owner alone."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(CONTENT + "\n", encoding="utf-8")
    return path


def text_of(settings: Settings, field: str) -> str:
    value = getattr(settings, field)
    return value if isinstance(value, str) else value.get_secret_value()


@pytest.mark.parametrize("field", secret_fields())
def test_every_secret_setting_may_be_a_file(field: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = f"postgresql+psycopg://me:{CONTENT}@db/house" if field == "database_url" else CONTENT
    place.write_text(secret + "\n", encoding="utf-8")
    monkeypatch.setenv(f"DEFIYIELD_{field.upper()}", "")
    monkeypatch.setenv(f"DEFIYIELD_{field.upper()}_FILE", str(place))
    assert text_of(load_settings(), field) == secret


def test_every_setting_that_is_a_secret_may_be_a_file() -> None:
    hidden = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert {*hidden, "database_url"} == set(secret_fields())
    assert {"etherscan_api_key", "slack_webhook_url", "ethereum_rpc_url"} <= hidden


@pytest.mark.parametrize(
    ("body", "secret"),
    [(b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b" a ", " a "), ("ä\n".encode(), "ä")],
)
def test_one_newline_at_the_end_is_no_part_of_it(body: bytes, secret: str, place: Path) -> None:
    place.write_bytes(body)
    found = secret_files.secrets_of_files({"DEFIYIELD_FRED_API_KEY_FILE": str(place)}, ["fred_api_key"])
    assert found == {"fred_api_key": secret}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"  \n", "is empty"),
        (CONTENT.encode() + b"\nsecond\n", "more than one line"),
        (CONTENT.encode() + b"\x00", "control characters"),
        (b"\xff" + CONTENT.encode(), "no text in UTF-8"),
        (CONTENT.encode() * 4_000, "longer than"),
    ],
)
def test_what_is_no_secret_is_refused_and_never_repeated(
    body: bytes, words: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_bytes(body)
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY_FILE", str(place))
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_settings()
    assert "DEFIYIELD_FRED_API_KEY_FILE" in str(caught.value)
    assert str(place) in str(caught.value)
    assert CONTENT not in str(caught.value)
    assert CONTENT not in repr(caught.value.__cause__)


def test_a_file_that_is_not_there_a_folder_and_a_pipe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, words in (("absent", "cannot be read: No such file"), (".", "no regular file"), ("pipe", "no regular")):
        monkeypatch.setenv("DEFIYIELD_FRED_API_KEY_FILE", str(tmp_path / name))
        with pytest.raises(ConfigurationError, match=words):
            load_settings()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_may_read_is_refused_but_below_the_mounts_of_secrets(
    mode: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.chmod(mode)
    said = {"DEFIYIELD_FRED_API_KEY_FILE": str(place)}
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600"):
        secret_files.secrets_of_files(said, ["fred_api_key"])
    monkeypatch.setattr(secret_files, "MOUNTS", (place.parent,))
    assert secret_files.secrets_of_files(said, ["fred_api_key"]) == {"fred_api_key": CONTENT}
    around = {"DEFIYIELD_FRED_API_KEY_FILE": f"{place.parent}/../{place.parent.name}/{place.name}"}
    with pytest.raises(ConfigurationError, match="open to others"):
        secret_files.secrets_of_files(around, ["fred_api_key"])


def test_a_setting_given_both_ways_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY", "another-secret")
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY_FILE", str(place))
    with pytest.raises(ConfigurationError, match="DEFIYIELD_FRED_API_KEY is set as well") as caught:
        load_settings()
    assert "another-secret" not in str(caught.value)


def test_the_user_of_a_database_is_no_secret_and_what_stands_alone_in_another_address_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", "postgresql+psycopg://defiyield@db/house")
    monkeypatch.setenv("DEFIYIELD_ETHEREUM_RPC_URL", "https://lone-token@node")
    assert redactor().text("defiyield says lone-token") == "defiyield says [redacted]"


@pytest.mark.usefixtures("command_line")
def test_settings_tell_the_file_and_never_what_it_holds(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY_FILE", str(place))
    assert main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "set, hidden" in shown
    assert f"file {place}" in shown
    assert CONTENT not in shown
    assert "unknown name" not in shown
    assert redactor().text(f"key={CONTENT}") == "key=[redacted]"
    open_to_all = place.with_name("open")
    open_to_all.write_text(CONTENT, encoding="utf-8")
    open_to_all.chmod(0o644)
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY_FILE", str(open_to_all))
    assert main(["config", "show"]) == 2
    shown = capsys.readouterr().out
    assert "chmod 600" in shown
    assert CONTENT not in shown
