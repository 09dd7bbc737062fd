"""Messages reach Slack once: against a local server with Slack's limits, through crashes, silence and two runs at once.

Both kinds of Slack (bot token, webhook) and both databases; time is virtual.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from defiyield_assets.domain.reporting.slack_blocks import TAKEN_BACK
from defiyield_assets.errors import (
    ConfigurationError,
    VendorAuthError,
    VendorError,
    VendorNotFound,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.orchestration import notifier as notifiers
from defiyield_assets.orchestration.notifier import Delivery, NotifierResource
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import schema
from defiyield_assets.store import slack as claims
from defiyield_assets_tests.orchestration.slack.conftest import DAY, KEY, Channel, Clock, message
from defiyield_assets_tests.slack_server import CHANNEL, TOKEN, Fault, slack_server


def test_the_same_words_are_posted_once_however_often_the_day_is_run(anywhere: Channel) -> None:
    assert anywhere.deliver(message("a plan", 1)).status == "posted"
    n_requests = len(anywhere.slack.requests)
    for _ in range(3):
        assert anywhere.deliver(message("a plan", 1)).status == "already posted"
    assert anywhere.texts() == ["a plan", "a plan, part 2"]
    assert len(anywhere.slack.requests) == n_requests
    assert {row["status"] for row in anywhere.rows()} == {"posted"}


def test_a_bot_continues_in_the_thread_and_edits_what_changed(bot: Channel) -> None:
    bot.deliver(message("a plan", 2))
    first = bot.slack.messages[0]
    assert [one.thread for one in bot.slack.messages] == [None, first.ts, first.ts]
    assert bot.deliver(message("another plan", 2)).status == "edited"
    root, *replies, note = bot.slack.messages
    assert (root.ts, root.edits, root.text) == (first.ts, 1, "Correction: another plan")
    assert [one.text for one in replies] == ["another plan, part 2", "another plan, part 3"]
    assert (note.thread, note.is_shown_in_channel) == (first.ts, True)
    assert "Before: a plan" in str(note.blocks)
    assert bot.deliver(message("another plan", 2)).status == "already posted"
    assert len(bot.slack.messages) == 4


def test_other_steps_under_the_same_headline_are_no_silent_edit(bot: Channel) -> None:
    bot.deliver(replace(message("a plan", 1), advice="steps"))
    bot.deliver(replace(message("a plan", 2), advice="steps"))
    assert len(bot.slack.messages) == 3, "other words about the same advice call nobody"
    bot.deliver(replace(message("a plan", 1), advice="other steps"))
    note = bot.slack.messages[-1]
    assert (note.text, note.thread) == ("Corrected: a plan", bot.slack.messages[0].ts)
    assert "Its headline is as before" in str(note.blocks)
    assert "Before: a plan" not in str(note.blocks)
    assert len(bot.slack.messages) == 4


def test_a_note_that_slack_refused_is_tried_again_and_told_once(bot: Channel) -> None:
    bot.deliver(message("a plan"))
    bot.slack.during = lambda: bot.slack.faults.extend([Fault("is_archived")] * (len(bot.slack.requests) == 3))
    with pytest.raises(VendorNotFound):
        bot.deliver(message("another plan"))
    assert bot.texts() == ["Correction: another plan"]
    for _ in range(2):
        assert bot.deliver(message("another plan")).status == "already posted"
    assert bot.texts() == ["Correction: another plan", "Corrected: another plan"]


def test_a_bot_takes_back_what_a_shorter_correction_no_longer_says(bot: Channel) -> None:
    bot.deliver(message("long", 2))
    bot.deliver(message("short"))
    assert bot.texts()[:3] == ["Correction: short", TAKEN_BACK.text, TAKEN_BACK.text]
    assert bot.deliver(message("short")).status == "already posted"


def test_a_correction_by_webhook_says_that_lists_which_it_cannot_take_back_are_void(webhook: Channel) -> None:
    webhook.deliver(message("long", 2))
    webhook.deliver(message("short"))
    assert webhook.texts()[3:] == ["Correction: short"]
    assert "The lists that followed that one are void." in str(webhook.slack.messages[3].blocks)


def test_a_correction_of_a_message_without_lists_speaks_of_none(webhook: Channel) -> None:
    webhook.deliver(message("a plan"))
    webhook.deliver(message("another plan", 1))
    assert "void" not in str(webhook.slack.messages[1].blocks)


def test_a_webhook_posts_a_correction_once_and_says_that_it_is_one(webhook: Channel) -> None:
    webhook.deliver(message("a plan"))
    assert webhook.deliver(message("another plan")).status == "posted as a correction"
    assert webhook.deliver(message("another plan")).status == "already posted"
    assert webhook.texts() == ["a plan", "Correction: another plan"]
    assert webhook.deliver(message("a plan")).status == "posted as a correction", "back again is news again"


@pytest.mark.parametrize("kind", ["drop", "500", "garbage", "truncated", "no http"])
@pytest.mark.parametrize("after", [True, False])
def test_a_post_that_nobody_answered_is_unknown_and_never_sent_again(channel: Channel, kind: str, after: bool) -> None:
    """Whether it is in the channel or not: we cannot know."""
    channel.slack.faults = [Fault(kind, after)]
    delivery = channel.deliver(message("a plan", 1))
    assert "unknown: Slack did not say whether part 1 of 2 arrived" in delivery.status
    assert len(channel.slack.requests) == 1, "what follows waits for the next run"
    again = channel.deliver(message("a plan", 1))
    assert list(again.unknown_parts) == [0]
    assert channel.texts() == [*(["a plan"] if after else []), "a plan, part 2"]
    channel.deliver(message("a plan", 1))
    assert len(channel.slack.requests) == 2


def test_silence_is_no_answer(bot: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "ANSWER_SECONDS", 0.05)
    bot.slack.faults = [Fault("hang", after=True)]
    assert bot.deliver(message("a plan")).status.startswith("unknown")
    assert bot.deliver(message("a plan")).status.startswith("unknown")
    assert bot.texts() == ["a plan"]


def test_other_words_after_an_unknown_post_are_a_correction(channel: Channel) -> None:
    channel.slack.faults = [Fault("drop", after=True)]
    channel.deliver(message("a plan"))
    assert channel.deliver(message("another plan")).status == "posted as a correction"
    assert channel.texts() == ["a plan", "Correction: another plan"]


def test_a_crash_between_post_and_store_is_not_followed_by_a_second_post(
    anywhere: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(claims, "settle", die)
        with pytest.raises(KeyboardInterrupt):
            anywhere.deliver(message("a plan"))
    assert [row["status"] for row in anywhere.rows()] == ["posting"]
    soon = anywhere.deliver(message("a plan"))
    assert (soon.status, soon.is_under_way) == ("another run is posting it", True)
    anywhere.clock.seconds += claims.PATIENCE.total_seconds()
    later = anywhere.deliver(message("a plan"))
    assert later.status.startswith("unknown")
    assert [row["status"] for row in anywhere.rows()] == ["unknown"]
    assert anywhere.texts() == ["a plan"]


def test_a_run_beside_another_that_is_posting_waits_and_posts_nothing(anywhere: Channel) -> None:
    beside: list[Delivery] = []

    def second_run() -> None:
        anywhere.slack.during = None
        beside.append(anywhere.deliver(message("a plan")))

    anywhere.slack.during = second_run
    assert anywhere.deliver(message("a plan")).status == "posted"
    assert [one.status for one in beside] == ["another run is posting it"]
    assert anywhere.texts() == ["a plan"]


def test_of_many_claims_at_once_one_wins(warehouse: sa.Engine) -> None:
    letter = claims.Letter(KEY, "bot:#treasury", DAY, "run", "a" * 64, ("text",))
    now = Clock().now()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(claims.claim, warehouse, letter, 0, now, can_edit=True) for _ in range(16)]
        verdicts = [future.result().verdict for future in futures]
    assert sorted(verdicts) == [*["busy"] * 15, "post"]


@pytest.mark.parametrize(("word", "error"), [("invalid_blocks", VendorNotFound), ("channel_not_found", VendorNotFound)])
def test_what_slack_refuses_is_raised_and_tried_again_by_the_next_run(
    channel: Channel, word: str, error: type[VendorError]
) -> None:
    channel.slack.faults = [Fault(word)]
    with pytest.raises(error, match=word):
        channel.deliver(message("a plan"))
    (row,) = channel.rows()
    assert (row["status"], word in row["answer"]) == ("refused", True)
    assert channel.deliver(message("a plan")).status == "posted"
    assert channel.texts() == ["a plan"]


def test_a_wrong_token_is_said_without_being_shown(
    bot: Channel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DEFIYIELD_SLACK_BOT_TOKEN", "a-token-that-was-revoked")
    with pytest.raises(VendorAuthError, match="invalid_auth") as caught:
        bot.deliver(message("a plan"))
    assert "a-token-that-was-revoked" not in str(caught.value) + caplog.text + str(bot.rows())


def test_the_webhooks_address_is_nowhere_kept(webhook: Channel, caplog: pytest.LogCaptureFixture) -> None:
    webhook.slack.faults = [Fault("drop")]
    webhook.deliver(message("a plan"))
    with webhook.engine.connect() as connection:
        fetches = str(connection.execute(sa.select(schema.raw_fetches)).all())
    assert "a-secret-of-the-team" not in fetches + str(webhook.rows()) + caplog.text


def test_the_bot_keeps_to_a_message_a_second_and_to_retry_after(bot: Channel) -> None:
    bot.slack.faults = [Fault("throttle", retry_after="7")]
    assert bot.deliver(message("a plan", 3)).status == "posted"
    assert len(bot.slack.messages) == 4
    assert bot.slack.refusals == ["429 ratelimited"], "the server would have refused a second one within a second"
    assert 7.0 in bot.clock.sleeps
    assert bot.clock.seconds >= 7 + 3


def test_a_bot_that_is_to_pause_for_long_gives_up_and_the_next_run_posts(bot: Channel) -> None:
    bot.slack.faults = [Fault("throttle", retry_after="3600")]
    with pytest.raises(VendorThrottled):
        bot.deliver(message("a plan"))
    assert bot.clock.seconds < 60
    assert bot.deliver(message("a plan")).status == "posted"


def test_an_edit_may_be_sent_again_until_it_is_answered(bot: Channel) -> None:
    bot.deliver(message("a plan"))
    bot.slack.faults = [Fault("500"), Fault("drop"), Fault("internal_error")]
    assert bot.deliver(message("another plan")).status == "edited"
    assert bot.texts()[0] == "Correction: another plan"
    assert len(bot.slack.messages) == 2


def test_a_message_that_somebody_deleted_is_posted_anew(bot: Channel) -> None:
    bot.deliver(message("a plan"))
    bot.slack.messages.clear()
    assert bot.deliver(message("another plan")).status == "posted as a correction"
    assert bot.texts() == ["Correction: another plan"]


def test_where_nobody_listens_nothing_was_posted(bot: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    with slack_server() as gone:
        nowhere = gone.api_url
    monkeypatch.setenv("DEFIYIELD_SLACK_API_URL", nowhere)
    with pytest.raises(VendorUnavailable):
        bot.deliver(message("a plan"))
    assert [row["status"] for row in bot.rows()] == ["refused"]


def test_secrets_are_not_sent_in_the_clear(bot: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_SLACK_API_URL", "http://slack.example/api/")
    with pytest.raises(ConfigurationError, match="https"):
        bot.deliver(message("a plan"))
    monkeypatch.setenv("DEFIYIELD_SLACK_WEBHOOK_URL", "http://hooks.example/x")
    with pytest.raises(ConfigurationError, match="https"):
        bot.deliver(message("a plan"))
    assert bot.rows() == []


@pytest.mark.parametrize("missing", ["TOKEN", "CHANNEL"])
def test_half_a_bot_on_a_live_market_is_an_error_and_no_silent_file(
    bot: Channel, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    name = {"TOKEN": "DEFIYIELD_SLACK_BOT_TOKEN", "CHANNEL": "DEFIYIELD_SLACK_CHANNEL"}[missing]
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match="belong together"):
        bot.deliver(message("a plan"))
    assert not Path(bot.notifier.local_folder).exists()
    assert NotifierResource(market="simulated", local_folder="x").sink == "local"
    monkeypatch.setenv("DEFIYIELD_SLACK_WEBHOOK_URL", bot.slack.hook_url)
    assert bot.notifier.sink == "slack", "a webhook needs neither"


def test_another_channel_is_told_for_itself(bot: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    bot.deliver(message("a plan"))
    monkeypatch.setenv("DEFIYIELD_SLACK_CHANNEL", CHANNEL)
    assert bot.deliver(message("a plan")).status == "posted"
    assert bot.texts() == ["a plan", "a plan"]


def test_a_reply_goes_into_the_thread_of_what_it_belongs_to(bot: Channel) -> None:
    bot.deliver(message("it failed"), key="failure:1")
    bot.deliver(message("it is well"), key="recovery:1", reply_to="failure:1")
    failure, recovery = bot.slack.messages
    assert (recovery.thread, recovery.is_shown_in_channel) == (failure.ts, True)


def test_what_stays_local_is_written_as_slack_would_get_it(
    tmp_path: Path, sqlite_warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_SLACK_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("DEFIYIELD_SLACK_CHANNEL", CHANNEL)
    notifier = NotifierResource(market="simulated", local_folder=str(tmp_path / "reports"))
    market = MarketResource(market="simulated", chain_path=str(tmp_path / "chain.sqlite"), seed=7)
    for _ in range(2):
        told = notifier.deliver(message("a", 1), "x", key=KEY, market=market, engine=sqlite_warehouse, day=DAY)
    assert (told.status, told.sink) == ("written to x.txt", "local")
    written = json.loads((tmp_path / "reports" / "x.json").read_text())
    assert [part["text"] for part in written] == ["a", "a, part 2"]
    assert (tmp_path / "reports" / "x.json").stat().st_mode & 0o777 == 0o600
    with sqlite_warehouse.connect() as connection:
        assert connection.execute(sa.select(schema.slack_messages)).all() == []
