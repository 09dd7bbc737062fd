"""Lines of logs: one a record whatever it says, with the run that it belongs to, and never with a secret."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability.logs import LONGEST, JsonLines, TextLines, configure_logging, one_line
from defiyield_assets.settings import load_settings

SECRET = "s3cret-Zx9-hunter"
NEAR_SECRET = 's3cret"with\\quotes'
HOSTILE = 'ok\n{"level": "error", "message": "forged"}\r\x1b[2J\u2028\x00end'
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""As commands run days: Dagster's own console says nothing beside our lines."""
NOW = datetime(2026, 3, 2, 0, 45, 1, 250_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_FRED_API_KEY", SECRET)
    monkeypatch.setenv("DEFIYIELD_SLACK_BOT_TOKEN", NEAR_SECRET)
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", "postgresql+psycopg://me:pass-of-url@host/w")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Installs our handler for a format, and takes it away again."""
    root, ours = logging.getLogger(), logging.getLogger("defiyield_assets")
    before, level = list(root.handlers), ours.level

    def install(kind: str) -> None:
        monkeypatch.setenv("DEFIYIELD_LOG_FORMAT", kind)
        configure_logging()

    yield install
    root.handlers[:] = before
    ours.setLevel(level)


def record(message: str, *values: Any, failed: BaseException | None = None, **said: Any) -> logging.LogRecord:
    trace = None if failed is None else (type(failed), failed, failed.__traceback__)
    made = logging.LogRecord("defiyield_assets.x", logging.WARNING, __file__, 1, message, values, trace)
    made.created = NOW.timestamp()
    vars(made).update(said)
    return made


def failure() -> BaseException:
    try:
        int(f"{HOSTILE} {SECRET}")
    except ValueError as error:
        return error
    raise AssertionError("that is no number")


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()], ids=["json", "text"])
def test_hostile_words_cannot_forge_a_line(lines: logging.Formatter) -> None:
    text = lines.format(record("vendor said %s", HOSTILE))
    assert text.splitlines() == [text]
    assert text.isprintable()


def test_a_traceback_in_text_is_indented_and_in_json_a_field() -> None:
    head, *trace = TextLines().format(record("it broke", failed=failure())).split("\n")
    assert head == "2026-03-02T00:45:01.250Z WARNING defiyield_assets.x: it broke"
    assert trace
    assert all(line.startswith("    ") for line in trace)
    line = json.loads(JsonLines().format(record("it broke", failed=failure())))
    assert "ValueError" in line["error"]


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()], ids=["json", "text"])
@pytest.mark.parametrize("secret", [SECRET, NEAR_SECRET, "pass-of-url"])
def test_no_line_holds_a_secret(lines: logging.Formatter, secret: str) -> None:
    said = record(f"key {secret} of %s", secret, failed=failure(), vendor=f"v-{secret}", partition=secret)
    text = lines.format(said)
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert "[redacted]" in text


def test_a_secret_at_the_cut_is_hidden_whole() -> None:
    line = json.loads(JsonLines().format(record("x" * (LONGEST - 5) + SECRET + "y" * 100)))
    assert SECRET[:4] not in line["message"]
    assert len(line["message"]) < LONGEST + 40


def test_fields_of_a_line() -> None:
    line = json.loads(JsonLines().format(record("attempt %d", 2, vendor="etherscan", endpoint="/api")))
    assert line == {
        "time": "2026-03-02T00:45:01.250Z",
        "level": "warning",
        "logger": "defiyield_assets.x",
        "message": "attempt 2",
        "vendor": "etherscan",
        "endpoint": "/api",
    }


def test_one_line_keeps_what_is_printable() -> None:
    assert one_line("Zürich – 1 % \t\n") == "Zürich – 1 % \\t\\n"


def test_what_a_module_logs_in_a_step_carries_run_step_and_partition(
    installed: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As dagster.yaml has it: our loggers are managed, so that the event log knows their words, too."""
    home = {"python_logs": {"managed_python_loggers": ["defiyield_assets"], "python_log_level": "INFO"}}
    daily = dg.DailyPartitionsDefinition("2026-03-01")

    @dg.asset(partitions_def=daily)
    def pools() -> None:
        logging.getLogger("defiyield_assets.sources.transport").warning("failed: %s", HOSTILE, extra={"vendor": "fred"})

    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=home) as instance:
        installed("json")
        done = dg.materialize([pools], partition_key="2026-03-02", instance=instance, run_config=SILENT)
        entries = [entry for entry in instance.all_logs(done.run_id) if entry.dagster_event is None]
    lines = [json.loads(text) for text in capsys.readouterr().err.splitlines() if text.startswith("{")]
    (line,) = [one for one in lines if one["logger"] == "defiyield_assets.sources.transport"]
    assert line["run_id"] == done.run_id
    assert (line["step"], line["partition"], line["vendor"]) == ("pools", "2026-03-02", "fred")
    assert line["message"] == f"failed: {HOSTILE}"
    assert [entry.user_message for entry in entries if entry.step_key == "pools"] == [line["message"]]


def test_text_is_the_default_and_tells_warnings_only(
    installed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed("")
    installed("")
    logging.getLogger("defiyield_assets.x").info("quiet")
    logging.getLogger("defiyield_assets.x").warning("loud")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" WARNING defiyield_assets.x: loud")


def test_json_tells_what_our_modules_say_and_not_what_others_do(
    installed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed("json")
    logging.getLogger("defiyield_assets.x").info("ours")
    logging.getLogger("httpx").info("theirs")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["ours"]


def test_the_setting_takes_two_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_LOG_FORMAT", "xml")
    with pytest.raises(ConfigurationError, match="DEFIYIELD_LOG_FORMAT"):
        load_settings()
