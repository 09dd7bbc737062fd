"""Every secret setting set to a marker: no definition, answer of the UI, command, log or traceback shows it.

Not here: tables, reports and the archive of a day with keys (test_end_to_end.py), requests and errors of vendors
(sources/test_transport.py), secrets as files (test_secret_files.py).
"""

import asyncio
import json
import logging
import traceback
from pathlib import Path

import dagster as dg
import httpx
import pytest
from dagster_webserver.webserver import DagsterWebserver

from defiyield_assets.cli.main import main
from defiyield_assets.definitions import build_defs
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import load_settings, secret_fields

MARK = "marker-of-a-secret-0123456789"
ADDRESSES = {
    "database_url": f"postgresql+psycopg://me:{MARK}@127.0.0.1:1/house",
    "ethereum_rpc_url": f"http://127.0.0.1:1/{MARK}",
    "slack_webhook_url": f"https://127.0.0.1:1/services/{MARK}",
    "celery_broker_url": f"redis://:{MARK}@127.0.0.1:1/0",
}


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch, command_line: None) -> None:
    """Every secret of the environment holds the marker."""
    for field in secret_fields():
        monkeypatch.setenv(f"DEFIYIELD_{field.upper()}", ADDRESSES.get(field, MARK))


@pytest.mark.usefixtures("marked")
def test_settings_show_no_secret_but_where_they_are_asked_for_it() -> None:
    settings = load_settings()
    shown = repr(settings).replace(settings.database_url or "", "")  # a plain setting; `config show` hides its password
    assert MARK not in shown
    assert MARK not in str(settings.slack_webhook_url)


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("words", [["config", "show"], ["config", "show", "--json"], ["config", "validate"]])
def test_no_command_shows_a_secret(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    told = capsys.readouterr()
    assert MARK not in told.out + told.err
    assert told.out


@pytest.mark.usefixtures("marked")
def test_doctor_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--offline", "--json"])
    assert MARK not in capsys.readouterr().out


@pytest.mark.usefixtures("marked")
def test_a_wrong_setting_is_told_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": f"postgresql+psycopg://me:{MARK}@host:port/x",
        "VENDORS": f'{{"fred": {{"base_url": "{MARK}"',
        "MARKET": MARK,
        "FIRST_DAY": MARK,
    }.items():
        with monkeypatch.context() as changed:
            changed.setenv(f"DEFIYIELD_{name}", value)
            with pytest.raises(ConfigurationError) as caught:
                load_settings()
            whole = "".join(traceback.format_exception(caught.value))
            assert MARK not in whole, name


QUERIES = (
    "{repositoriesOrError{... on RepositoryConnection{nodes{allTopLevelResourceDetails{name configFields{name "
    "defaultValueAsJson description} configuredValues{key value type}}}}}}",
    "{runsOrError{... on Runs{results{runConfigYaml tags{key value}}}}}",
    "{instance{info}}",
)


@pytest.mark.usefixtures("marked")
def test_the_ui_is_told_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget

    target = ModuleTarget("defiyield_assets.definitions", None, str(tmp_path), "here")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(tmp_path / "state"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, WorkspaceProcessContext(instance, target) as context:
        page = httpx.ASGITransport(DagsterWebserver(context).create_asgi_app())
        for query in QUERIES:
            told = asyncio.run(answer(page, query))
            assert MARK not in told, query
            assert json.loads(told).get("data"), told[:500]
        assert "warehouse" in asyncio.run(answer(page, QUERIES[0]))


async def answer(page: httpx.ASGITransport, query: str) -> str:
    """What the UI's server tells."""
    async with httpx.AsyncClient(transport=page, base_url="http://127.0.0.1") as client:
        return (await client.post("/graphql", json={"query": query})).text


@pytest.mark.usefixtures("marked")
def test_definitions_log_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        declared = build_defs()
    assert MARK not in caplog.text
    assert MARK not in json.dumps({name: repr(value) for name, value in (declared.resources or {}).items()})
