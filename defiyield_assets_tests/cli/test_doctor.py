"""`defiyield doctor`: works on what is broken, never hangs, never shows a secret, says what to do."""

import json
import shutil
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from defiyield_assets.cli import doctor, doctor_checks
from defiyield_assets.cli.doctor_checks import BROKEN, CALLS, DOUBTFUL, GOOD, NOTE, Finding, Looked, ask_vendor
from defiyield_assets.cli.main import main
from defiyield_assets.settings import KEY_VARIABLES, Settings
from defiyield_assets.sources.vendors import default_vendors
from defiyield_assets.store import engine as engines

pytestmark = pytest.mark.usefixtures("command_line")
SECRET = "s3cret-Zx9-hunter"
NOW = datetime(2025, 6, 4, 0, 30, tzinfo=UTC)


def looked(tmp_path: Path, **settings: Any) -> Looked:
    return Looked(Settings(state_dir=tmp_path, **settings), date(2025, 6, 3), 1.0, is_offline=True)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, list[dict[str, str]]], str]:
    """Exit code, findings by area, and everything that was printed."""
    capsys.readouterr()
    code = main(["doctor", "--json", *arguments])
    captured = capsys.readouterr()
    by_area: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(captured.out)["findings"]:
        by_area.setdefault(one["area"], []).append(one)
    return code, by_area, captured.out + captured.err


# --- whole runs -----------------------------------------------------------------------------------------------------
def test_a_healthy_installation_without_any_state_is_healthy_and_stays_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": 2**40})()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    state = tmp_path / "none"
    code, found, _ = run(capsys, "--market", "simulated", "--state-dir", str(state))
    assert code == 0
    assert found["database"] == [
        {
            "area": "database",
            "state": NOTE,
            "what": f"no warehouse yet at {state / 'warehouse.sqlite'}",
            "advice": "`defiyield demo`, `defiyield run` or `defiyield migrate` makes it",
        }
    ]
    assert found["vendors"][0]["what"] == "not asked: the simulated market answers for them"
    assert not state.exists(), "doctor makes nothing"
    assert main(["doctor", "--market", "simulated", "--state-dir", str(state)]) == 0
    assert "nothing is broken" in capsys.readouterr().out


def test_broken_settings_and_files_are_told_and_no_secret_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.yaml").write_text("parameters: {max_pool_shaer: 0.2}\n", encoding="utf-8")
    for name, value in {
        "CONFIG_DIR": str(tmp_path),
        "FRED_API_KEY": SECRET,
        "SLACK_WEBHOOK_URL": f"http://hooks.invalid/{SECRET}",
        "DATABASE_URL": f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/none?connect_timeout=1",
    }.items():
        monkeypatch.setenv(f"DEFIYIELD_{name}", value)
    code, found, text = run(
        capsys, "--market", "live", "--offline", "--timeout", "5", "--state-dir", str(tmp_path / "s")
    )
    assert code == 1
    assert any("max_pool_shaer" in one["what"] for one in found["configuration"])
    assert any(one["state"] == BROKEN for one in found["database"]), "nobody listens there"
    assert any("no https address" in one["what"] for one in found["slack"])
    assert SECRET not in text
    monkeypatch.setenv("DEFIYIELD_VENDORS", f'{{"fred": {{"base_url": "https://u:{SECRET}@x"')
    monkeypatch.setenv("DEFIYIELD_MARKET_SEED", "seven")
    code, found, text = run(capsys)
    assert code == 1
    assert any("DEFIYIELD_VENDORS" in one["what"] for one in found["configuration"])
    assert "settings cannot be read" in found["database"][0]["what"]
    assert SECRET not in text


def test_a_check_that_hangs_or_breaks_is_a_finding_and_hides_no_other() -> None:
    never = threading.Event()

    def breaks(_: Looked) -> list[Finding]:
        raise RuntimeError("boom")

    def hangs(_: Looked) -> list[Finding]:
        never.wait(60)
        return []

    checks = {
        "vendor slow": hangs,
        "disk": breaks,
        "clocks": lambda _: [Finding("clocks", GOOD, "fine")],
    }
    found = doctor.run_checks(checks, Looked(None, date(2025, 6, 3), -0.9, is_offline=True))
    never.set()
    assert [(one.area, one.state) for one in found] == [("vendors", BROKEN), ("disk", BROKEN), ("clocks", GOOD)]
    assert "boom" in found[1].what


@pytest.mark.parametrize("words", ["0", "-1", "nan", "inf", "soon", "601"])
def test_a_wrong_timeout_is_wrong_use(words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--timeout", words])
    assert stop.value.code == 2


# --- the database ---------------------------------------------------------------------------------------------------
def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "warehouse.sqlite").write_text("rubbish " * 500, encoding="utf-8")
    found = doctor_checks.database(looked(tmp_path))
    assert [one.state for one in found] == [BROKEN]
    assert "cannot be read" in found[0].what


def test_an_old_revision_another_market_and_open_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.sqlite"
    path.touch()
    path.chmod(0o644)
    found = doctor_checks.database(looked(tmp_path))
    assert [(one.state, one.advice) for one in found] == [
        (DOUBTFUL, f"chmod 600 {path}"),
        (BROKEN, "`defiyield migrate` brings it there"),
    ]
    path.chmod(0o600)
    engine = engines.make_engine(f"sqlite:///{path}")
    engines.upgrade(engine)
    engines.claim_market(engine, "recorded")
    engine.dispose()
    found = doctor_checks.database(looked(tmp_path))
    assert [one.state for one in found] == [GOOD, BROKEN, NOTE]
    assert found[1].what == "it holds the market recorded, not simulated"


@pytest.mark.parametrize("url", ["mysql://me:pw@host/x", "postgresql://me:pw@host/x"])
def test_an_address_of_no_database_is_told_without_its_password(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", url.replace("pw", SECRET))
    code, found, text = run(capsys, "--state-dir", str(tmp_path))
    assert code == 1
    assert found["database"][0]["state"] == BROKEN
    assert SECRET not in text


@pytest.mark.parametrize("url", ["rubbish", "postgresql+psycopg://me:pw@host:port/x"])
def test_an_address_that_cannot_be_read_is_told_with_its_variable(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_DATABASE_URL", url.replace("pw", SECRET))
    code, found, text = run(capsys, "--state-dir", str(tmp_path))
    assert code == 1
    assert "DEFIYIELD_DATABASE_URL: cannot be read" in found["configuration"][0]["what"]
    assert SECRET not in text


def test_a_bad_port_of_ollama_and_slack_names_the_variable(tmp_path: Path) -> None:
    asked = looked(tmp_path, signal_model="llama3", ollama_url="http://127.0.0.1:port")
    (found,) = doctor_checks.ollama(asked)
    assert found.state == BROKEN
    assert found.what == "DEFIYIELD_OLLAMA_URL cannot be read as an address"
    told = doctor_checks._bot("http://slack:port/auth.test", "xoxb-1", 1.0)
    assert told.what == "DEFIYIELD_SLACK_API_URL cannot be read as an address"


# --- vendors and clocks ---------------------------------------------------------------------------------------------
def answer(
    status: int = 200, *, text: str = "{}", off: timedelta = timedelta(), seen: list[httpx.Request] | None = None
) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        stamp = (NOW + off).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx.Response(status, text=text, headers={"date": stamp})

    return httpx.MockTransport(handle)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_vendor_is_asked_one_question_with_its_key(name: str) -> None:
    vendor = default_vendors(dict.fromkeys(KEY_VARIABLES, SECRET), node_url=f"https://node/{SECRET}")[name]
    seen: list[httpx.Request] = []
    found = ask_vendor(vendor, 1.0, NOW, answer(seen=seen))
    assert [(one.state, one.what) for one in found] == [(GOOD, f"{name} answers (200)")]
    assert len(seen) == 1
    has_key = name in KEY_VARIABLES
    assert (SECRET in str(seen[0].url) or SECRET in str(seen[0].headers.raw)) == has_key


@pytest.mark.parametrize(
    ("transport", "state", "words"),
    [
        (answer(401), BROKEN, "fred refuses us (401)"),
        (answer(400, text='{"error_message":"Bad Request. Invalid API key."}'), BROKEN, "fred refuses us (400)"),
        (answer(429), DOUBTFUL, "too much"),
        (answer(503), DOUBTFUL, "out of order (503)"),
        (answer(404), GOOD, "answers (404)"),
    ],
)
def test_what_a_vendor_answers_is_told(transport: httpx.MockTransport, state: str, words: str) -> None:
    found = ask_vendor(default_vendors({"fred": SECRET})["fred"], 1.0, NOW, transport)
    assert (found[0].state, len(found)) == (state, 1)
    assert words in found[0].what


def test_a_vendor_that_is_not_there_is_told_without_its_address() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route to {request.url}")

    vendor = default_vendors({}, node_url=f"https://node/{SECRET}")["ethereum_node"]
    found = ask_vendor(vendor, 1.0, NOW, httpx.MockTransport(refuse))
    assert found[0].state == BROKEN
    assert SECRET not in found[0].what + found[0].advice


@pytest.mark.parametrize(
    ("off", "state"),
    [(timedelta(seconds=20), None), (timedelta(minutes=5), DOUBTFUL), (timedelta(hours=-2), BROKEN)],
)
def test_our_clock_is_held_against_the_vendors(off: timedelta, state: str | None) -> None:
    found = ask_vendor(default_vendors({})["pendle"], 1.0, NOW, answer(off=off))
    assert [one.state for one in found[1:]] == ([] if state is None else [state])


def test_an_answer_without_a_readable_date_is_no_finding() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="ok", headers={"date": "rubbish"}))
    assert [one.state for one in ask_vendor(default_vendors({})["pendle"], 1.0, NOW, transport)] == [GOOD]


# --- the rest -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("free", "state"), [(2**40, GOOD), (3 * 2**30, DOUBTFUL), (2**20, BROKEN)])
def test_room_on_the_disk(free: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": free})()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert doctor_checks.disk(looked(tmp_path))[0].state == state


@pytest.mark.parametrize(
    ("content", "state"), [("telemetry: {enabled: false}\n", GOOD), ("a: [\n", BROKEN), (None, DOUBTFUL)]
)
def test_dagsters_home(content: str | None, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    if content is not None:
        (tmp_path / "dagster.yaml").write_text(content, encoding="utf-8")
    assert [one.state for one in doctor_checks.dagster(looked(tmp_path))] == [state]
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    assert [one.state for one in doctor_checks.dagster(looked(tmp_path))] == [BROKEN]


def test_a_live_market_misses_its_wallets_and_keys(tmp_path: Path) -> None:
    live = looked(tmp_path, market="live")
    assert any("made-up wallets" in one.what for one in doctor_checks.configuration(live))
    told = {one.what.split(":")[0]: one.state for one in doctor_checks.keys(live)}
    assert told["no DEFIYIELD_ETHERSCAN_API_KEY"] == DOUBTFUL
    assert told["no DEFIYIELD_FRED_API_KEY"] == NOTE
    assert doctor_checks.slack(live)[0].state == NOTE


def test_nobody_answers_as_ollama(tmp_path: Path) -> None:
    found = doctor_checks.ollama(looked(tmp_path, signal_model="llama3.1", ollama_url="http://me:pw@127.0.0.1:1"))
    assert found[0].state == BROKEN
    assert "me:pw" not in found[0].what


def test_markup_in_a_finding_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    item = {"area": "disk", "state": BROKEN, "what": "[red]x[/]\x1b[31m\nnext", "advice": "[b]y[/]"}
    doctor._draw([item], Console(width=200))
    text = capsys.readouterr().out
    assert "[red]x[/] [31m next" in text
    assert "[b]y[/]" in text
