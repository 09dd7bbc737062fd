"""Slack: the webhook's address is a secret, its limits are checked before it is used, its words are errors."""

import json
import logging
import traceback

import httpx
import pytest

from defiyield_assets.errors import (
    ConfigurationError,
    VendorAuthError,
    VendorError,
    VendorNotFound,
    VendorThrottled,
    VendorUnanswered,
    VendorUnavailable,
)
from defiyield_assets.sources.slack import SlackWebhook, require_safe
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker

URL = "https://hooks.slack.com/services/T0/B0/verysecrettoken"
BLOCKS = [{"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}]


def test_a_message_is_posted_to_the_secret_address_and_nowhere_shown(
    world: WorldMaker, caplog: pytest.LogCaptureFixture
) -> None:
    here = world(b"ok")
    with caplog.at_level(logging.DEBUG):
        assert here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", BLOCKS)).rows == "ok"
    request = here.vendors.requests[0]
    assert (str(request.url), request.method, request.headers["host"]) == (URL, "POST", "hooks.slack.com")
    quiet = {"unfurl_links": False, "unfurl_media": False}
    assert json.loads(request.content) == {"text": "hi", "blocks": BLOCKS, **quiet}
    assert request.headers["content-type"] == "application/json"
    assert "verysecrettoken" not in caplog.text + repr(here.archive.fetches)
    assert here.archive.last.endpoint == "/webhook"


def test_the_secret_address_may_be_elsewhere(world: WorldMaker) -> None:
    here = world(b"ok")
    url = "https://hooks.slack-gov.com/services/T0/B0/verysecrettoken"
    here.run(lambda gateway: SlackWebhook(gateway).post(url, "hi", BLOCKS))
    assert (str(here.vendors.requests[0].url), here.vendors.requests[0].headers["host"]) == (url, "hooks.slack-gov.com")


def test_a_failing_post_does_not_show_the_address(caplog: pytest.LogCaptureFixture) -> None:
    here = World(Vendors(lambda request: httpx.ConnectError(f"no route to {request.url}")), MemoryArchive())
    with caplog.at_level(logging.DEBUG), pytest.raises(VendorError) as caught:
        here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", BLOCKS))
    seen = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(here.archive.fetches)
    assert "verysecrettoken" not in seen.replace(repr(URL), "").replace(f'"{URL}"', "")


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (400, "invalid_blocks", VendorNotFound),
        (403, "invalid_token", VendorAuthError),
        (404, "no_service", VendorAuthError),
        (410, "channel_is_archived", VendorNotFound),
        (200, "not ok", VendorUnanswered),
        (500, "rollup_error", VendorUnanswered),
        (408, "", VendorUnanswered),
    ],
)
def test_words_are_errors(world: WorldMaker, status: int, said: str, error: type[VendorError]) -> None:
    here = world(lambda _: httpx.Response(status, text=said))
    with pytest.raises(error):
        here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", BLOCKS))


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        (BLOCKS * 51, "51"),
        ([*BLOCKS, {"type": "section", "text": {"text": "x" * 3_001}}], "block 1 .* 3001"),
        ([{"type": "section", "fields": [{"text": "x"}] * 11}], "11 fields"),
        ([{"type": "section", "fields": [{"text": "x" * 2_001}]}], "2001"),
        ([{"type": "header", "text": {"text": "x" * 151}}], "151"),
        ([{"type": "section", "text": {"text": "\U0001f600" * 1_501}}], "3002"),
    ],
)
def test_limits_are_checked_before_anything_is_sent(world: WorldMaker, blocks: list[dict], named: str) -> None:  # type: ignore[type-arg]
    here = world(b"ok")
    with pytest.raises(ConfigurationError, match=named):
        here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", blocks))
    with pytest.raises(ConfigurationError, match="https"):
        here.run(lambda gateway: SlackWebhook(gateway).post("http://hooks.slack.com/x", "hi", BLOCKS))
    assert here.vendors.requests == []


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadTimeout("silence"),
        httpx.RemoteProtocolError("hung up"),
        httpx.WriteError("cut"),
        httpx.Response(502, text="bad gateway"),
    ],
)
def test_what_may_be_in_the_channel_is_not_sent_twice(world: WorldMaker, fault: httpx.Response | Exception) -> None:
    here = world(fault, b"ok")
    with pytest.raises(VendorUnanswered, match="not sent again"):
        here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", BLOCKS))
    assert len(here.vendors.requests) == 1


def test_what_cannot_be_in_the_channel_is_sent_again(world: WorldMaker) -> None:
    """Slack says no because of the pace, or nobody was reached."""
    too_fast = httpx.Response(429, text="rate_limited", headers={"Retry-After": "30"})
    here = world(too_fast, httpx.ConnectError("no route"), httpx.ConnectTimeout("slow"), b"ok")
    assert here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", BLOCKS)).rows == "ok"
    assert here.vendors.times[1] - here.vendors.times[0] >= 30
    assert len(here.vendors.requests) == 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (httpx.Response(429, text="rate_limited"), VendorThrottled),
        (httpx.ConnectError("no route"), VendorUnavailable),
    ],
)
def test_after_all_attempts_it_is_known_not_to_be_there(
    world: WorldMaker, fault: httpx.Response | Exception, error: type[VendorError]
) -> None:
    here = world(fault)
    with pytest.raises(error):
        here.run(lambda gateway: SlackWebhook(gateway).post(URL, "hi", BLOCKS))


def test_this_machine_may_be_spoken_to_in_the_clear_and_no_other() -> None:
    for url in ("https://hooks.slack.com/x", "http://127.0.0.1:8000/x", "http://localhost/x"):
        require_safe(url, "it")
    for url in ("http://127.0.0.1.example/x", "http://hooks.slack.com@evil.example/", "ftp://localhost/x", "x"):
        with pytest.raises(ConfigurationError, match="it must start with https"):
            require_safe(url, "it")
