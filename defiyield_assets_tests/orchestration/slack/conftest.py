"""Installations that speak to a local Slack: a bot or a webhook, on both databases; time is virtual."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from defiyield_assets.domain.reporting.slack_blocks import SlackMessage, words
from defiyield_assets.orchestration.notifier import Delivery, NotifierResource
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import schema
from defiyield_assets_tests import databases
from defiyield_assets_tests.slack_server import TOKEN, SlackServer, slack_server

postgres_server, postgres_template = databases.postgres_server, databases.postgres_template
postgres_warehouse, warehouse = databases.postgres_warehouse, databases.warehouse
sqlite_template, sqlite_warehouse = databases.sqlite_template, databases.sqlite_warehouse

DAY = date(2025, 6, 3)
KEY = f"day:{DAY}"


def message(text: str, n_more: int = 0) -> SlackMessage:
    """A message with continuations."""
    more = tuple(SlackMessage(f"{text}, part {place}", (words([f"part {place}"]),)) for place in range(2, n_more + 2))
    return SlackMessage(text, (words([text]),), more)


@dataclass
class Clock:
    """Time that passes only in sleeps."""

    seconds: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime(2025, 6, 4, 1, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.sleeps.append(seconds)


@dataclass
class Channel:
    """An installation that is told to speak to the server."""

    slack: SlackServer
    clock: Clock
    engine: sa.Engine
    notifier: NotifierResource
    market: MarketResource

    def deliver(self, said: SlackMessage, **options: Any) -> Delivery:
        given = {"key": KEY, "day": DAY, "run_id": "run", **options}
        return self.notifier.deliver(said, f"{DAY}.slack", market=self.market, engine=self.engine, **given)

    def rows(self) -> list[Any]:
        table = schema.slack_messages
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(table.c.revision, table.c.part)).mappings())

    def texts(self) -> list[str]:
        return [one.text for one in self.slack.messages]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(NotifierResource, "now", lambda _self: clock.now())
    monkeypatch.setattr(NotifierResource, "sleep", lambda _self, seconds: clock.sleep(seconds))
    return clock


@pytest.fixture
def server(clock: Clock) -> Iterator[SlackServer]:
    with slack_server() as slack:
        slack.clock = lambda: clock.seconds
        yield slack


@pytest.fixture
def speak(server: SlackServer, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Channel]:
    """`speak("bot", engine)`: an installation with a bot token or a webhook."""

    def make(kind: str, engine: sa.Engine) -> Channel:
        for name in ("SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN", "SLACK_CHANNEL", "VENDOR_SERVER"):
            monkeypatch.delenv(f"DEFIYIELD_{name}", raising=False)
        if kind == "bot":
            monkeypatch.setenv("DEFIYIELD_SLACK_BOT_TOKEN", TOKEN)
            monkeypatch.setenv("DEFIYIELD_SLACK_CHANNEL", "#treasury")
            monkeypatch.setenv("DEFIYIELD_SLACK_API_URL", server.api_url)
        else:
            monkeypatch.setenv("DEFIYIELD_SLACK_WEBHOOK_URL", server.hook_url)
            # The gateway paces by the real clock, which tests do not wait for.
            monkeypatch.setenv("DEFIYIELD_VENDORS", json.dumps({"slack": {"per_minute": 60_000}}))
            server.clock = None
        market = MarketResource(market="live", chain_path=str(tmp_path / "chain.sqlite"), seed=7)
        notifier = NotifierResource(market="live", local_folder=str(tmp_path / "reports"))
        assert notifier.sink == "slack"
        return Channel(server, clock, engine, notifier, market)

    return make


@pytest.fixture(params=["bot", "webhook"])
def channel(request: pytest.FixtureRequest, speak: Callable[..., Channel], sqlite_warehouse: sa.Engine) -> Channel:
    """A bot and a webhook."""
    return speak(request.param, sqlite_warehouse)


@pytest.fixture(params=["bot", "webhook"])
def anywhere(request: pytest.FixtureRequest, speak: Callable[..., Channel], warehouse: sa.Engine) -> Channel:
    """Both on both databases: what rests on transactions."""
    return speak(request.param, warehouse)


@pytest.fixture
def bot(speak: Callable[..., Channel], sqlite_warehouse: sa.Engine) -> Channel:
    return speak("bot", sqlite_warehouse)


@pytest.fixture
def webhook(speak: Callable[..., Channel], sqlite_warehouse: sa.Engine) -> Channel:
    return speak("webhook", sqlite_warehouse)
