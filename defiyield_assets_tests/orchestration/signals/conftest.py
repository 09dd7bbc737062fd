"""Desks for tests of signals."""

from collections.abc import Iterator

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.store import schema, writes
from defiyield_assets_tests.ollama_host import OllamaHost, chat, ollama_host, reply
from defiyield_assets_tests.orchestration.signals.desk import (
    EVER,
    Desk,
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def desk(filled: Desk) -> Iterator[Desk]:
    yield filled
    for table in (schema.trading_signals, schema.ai_signals, schema.news_sentiment):
        writes.replace_slice(filled.engine, table, pd.DataFrame(columns=table.columns.keys()), EVER)
    for table in (schema.news_instrument_links, schema.news_articles):
        writes.replace_slice(filled.engine, table, pd.DataFrame(columns=table.columns.keys()), EVER)
    with filled.engine.begin() as connection:
        connection.execute(sa.delete(schema.raw_fetches))


@pytest.fixture
def hosted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Desk, OllamaHost]]:
    """A desk beside a host that says HOLD."""
    with ollama_host(lambda _: chat(reply())) as host:
        monkeypatch.setenv("DEFIYIELD_OLLAMA_URL", host.url)
        yield desk, host


@pytest.fixture
def shell(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that the command line finds by the environment."""
    folder = desk.installation.folder
    for name, value in {
        "DEFIYIELD_STATE_DIR": str(folder),
        "DEFIYIELD_MARKET": "simulated",
        "DAGSTER_HOME": str(folder / "home"),
        "DEFIYIELD_DATABASE_URL": desk.installation.settings.warehouse_url,
    }.items():
        monkeypatch.setenv(name, value)
    (folder / "home").mkdir(exist_ok=True)
    return desk
