"""The asset that tells of the day: which days reach the channel, and what a message of unknown fate does to it.

Not here: how a message is brought to Slack (test_notifier.py), what it says (domain/reporting/test_slack.py).
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from defiyield_assets.errors import TransientError
from defiyield_assets.orchestration.assets import reporting
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import schema
from defiyield_assets.store import slack as claims
from defiyield_assets_tests.installations import SILENT
from defiyield_assets_tests.orchestration.slack.conftest import DAY, Channel, message


@pytest.fixture
def told(bot: Channel, monkeypatch: pytest.MonkeyPatch) -> Channel:
    """A bot for days of which nothing but a message is known; by its clock DAY is the newest complete day."""
    for name in ("require_replayed", "read_report_inputs", "plan_of_day"):
        monkeypatch.setattr(reporting, name, lambda *_: None)
    monkeypatch.setattr(reporting, "build_slack_message", lambda _: message("a plan"))
    assert bot.clock.now().date() == DAY + timedelta(days=1)
    return bot


def materialise(channel: Channel, day: date = DAY) -> dg.ExecuteInProcessResult:
    url = channel.engine.url.render_as_string(hide_password=False)
    resources: dict[str, Any] = {
        "warehouse": WarehouseResource(market="live", url=url),
        "market": channel.market,
        "notifier": channel.notifier,
    }
    return dg.materialize(
        [reporting.slack_notification],
        partition_key=str(day),
        resources=resources,
        raise_on_error=False,
        run_config=SILENT,
    )


def rows(channel: Channel) -> list[Any]:
    with channel.engine.connect() as connection:
        return list(connection.execute(sa.select(schema.slack_notification)).mappings())


def test_only_the_newest_complete_day_reaches_the_channel(told: Channel) -> None:
    assert materialise(told, DAY - timedelta(days=1)).success
    assert told.texts() == []
    (old,) = rows(told)
    assert old["sink"] == "local"
    assert f"not posted: {DAY} is the newest complete day" in old["status"]
    assert (Path(told.notifier.local_folder) / f"{DAY - timedelta(days=1)}.slack.txt").exists()
    assert materialise(told).success
    assert told.texts() == ["a plan"]
    assert [(row["sink"], row["status"]) for row in rows(told)][1:] == [("slack", "posted")]


def test_a_message_that_a_crash_left_under_way_fails_the_day_until_it_is_known_to_be_unknown(
    told: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A success would be the end of it: nobody would learn that the message may be missing."""

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(claims, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            told.deliver(message("a plan"))
    soon = materialise(told)
    assert not soon.success
    assert rows(told) == []
    with told.engine.connect() as connection:
        outcomes = list(connection.execute(sa.select(schema.asset_outcomes)).mappings())
    assert [(row["status"], row["error_class"], row["is_recoverable"]) for row in outcomes] == [
        ("failed", TransientError.__name__, True)
    ]
    told.clock.seconds += claims.PATIENCE.total_seconds()
    assert materialise(told).success
    assert [row["status"].split(":")[0] for row in rows(told)] == ["unknown"]
    assert told.texts() == ["a plan"]
