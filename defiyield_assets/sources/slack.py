"""Slack: incoming webhooks, and posts and edits of a bot; a message with blocks is in the channel at most once.

Lives here: the calls, Slack's limits and the meaning of its answers. Not here: what a message says
(domain/reporting/slack.py), who may send it (store/slack.py), the client of the bot (orchestration/notifier.py).
"""

import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse, WebClient

from defiyield_assets.domain.reporting.slack_blocks import (
    MAX_BLOCKS,
    MAX_FIELD_CHARACTERS,
    MAX_FIELDS,
    MAX_HEADER_CHARACTERS,
    MAX_SECTION_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    slack_length,
)
from defiyield_assets.errors import (
    ConfigurationError,
    VendorAuthError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorThrottled,
    VendorUnanswered,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.pacing import LONGEST_PAUSE_SECONDS
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.sources.wire import decode_text

VENDOR = "slack"
ENDPOINT = "/webhook"
ATTEMPTS = 5
"""How often the bot asks again after a refusal that may heal."""
BACKOFF_SECONDS = 1.0
_AUTH_WORDS = ("invalid_token", "no_service", "no_service_id", "no_team", "team_disabled", "action_prohibited")
_BOT_AUTH_WORDS = frozenset(
    {
        *("not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "no_permission"),
        *("missing_scope", "not_allowed_token_type", "org_login_required", "ekm_access_denied", "access_denied"),
        *("team_access_not_granted", "two_factor_setup_required", "not_in_channel", "restricted_action"),
    }
)
_UNSURE_WORDS = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
"""Slack's documentation: some of the operation may have succeeded before the error."""
_THROTTLED_WORDS = frozenset({"ratelimited", "rate_limited"})
GONE_WORDS = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"})
"""The message cannot be edited any more."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger(__name__)


class SlackWebhook:
    """Client of a Slack incoming webhook. Its address is a secret: it is neither archived, logged nor shown."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def post(self, url: str, text: str, blocks: Sequence[Mapping[str, Any]]) -> Fetched[str]:
        """Post one message, at most once; the answer is `ok`.

        What Slack refuses because of its pace, or what never reached it, is sent again; when nobody knows whether the
        message is in the channel, the error is `VendorUnanswered`. A message beyond Slack's limits is a
        `ConfigurationError` that names the block, before anything is sent; an address that is no https URL likewise.
        """
        require_safe(url, "the Slack webhook address")
        check_message(text, blocks)
        payload = {
            "text": text,
            "blocks": [dict(block) for block in blocks],
            "unfurl_links": False,
            "unfurl_media": False,
        }
        return await self._gateway.post_json(
            VENDOR,
            ENDPOINT,
            payload,
            parse_answer,
            secret_url=url,
            refuse=refuse_error,
            decode=decode_text,
            is_once=True,
        )


def require_safe(url: str, what: str) -> None:
    """Refuse an address that would send a secret in the clear; this machine itself may be spoken to by http."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return
    raise ConfigurationError(f"{what} must start with https://")


def check_message(text: str, blocks: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what Slack would refuse: too many blocks or fields, texts too long."""
    if slack_length(text) > MAX_TEXT_CHARACTERS:
        raise ConfigurationError(f"a Slack text holds at most {MAX_TEXT_CHARACTERS} characters, this one {len(text)}")
    if len(blocks) > MAX_BLOCKS:
        raise ConfigurationError(f"a Slack message holds at most {MAX_BLOCKS} blocks, this one {len(blocks)}")
    for place, block in enumerate(blocks):
        listed = block.get("fields") or []
        if len(listed) > MAX_FIELDS:
            raise ConfigurationError(
                f"Slack block {place} holds {len(listed)} fields, at most {MAX_FIELDS} are allowed"
            )
        limit = MAX_HEADER_CHARACTERS if block.get("type") == "header" else MAX_SECTION_CHARACTERS
        for parts, most in (((block.get("text"),), limit), (listed, MAX_FIELD_CHARACTERS)):
            texts = [part.get("text", "") for part in parts if isinstance(part, Mapping)]
            longest = max((slack_length(said) for said in texts), default=0)
            if longest > most:
                raise ConfigurationError(f"Slack block {place} holds a text of {longest} characters, limit {most}")


def refuse_error(answer: object) -> None:
    """Raise the error that one of Slack's words stands for."""
    said = str(answer).strip()[:200]
    if said in _AUTH_WORDS:
        raise VendorAuthError(f"Slack refused the webhook: {said!r}")
    if said.startswith(("invalid_", "no_text", "channel_", "too_many_attachments")):
        raise VendorNotFound(f"Slack refused the message: {said!r}")


def parse_answer(answer: object) -> str:
    """`ok`; anything else is malformed."""
    if answer != "ok":
        raise VendorMalformed(f"expected 'ok', got {fields.shown(answer)}")
    return "ok"


@dataclass(frozen=True)
class Place:
    """Where a message of the bot is."""

    channel: str
    ts: str


class SlackBot:
    """Posts and edits of a bot, paced. `turn` waits until the next call may be sent, `sleep` waits after a 429.

    The client must retry nothing by itself: a post that was not answered may be in the channel.
    """

    def __init__(
        self, client: WebClient, channel: str, turn: Callable[[], None], sleep: Callable[[float], None]
    ) -> None:
        if client.retry_handlers:
            raise ValueError("the client must not retry by itself")
        self._client = client
        self._channel = channel
        self._turn = turn
        self._sleep = sleep

    def post(
        self,
        text: str,
        blocks: Sequence[Mapping[str, Any]],
        *,
        thread: str | None = None,
        is_shown_in_channel: bool = False,
    ) -> Place:
        """Post a message, or a reply to `thread`, at most once. Errors as `SlackWebhook.post`."""
        check_message(text, blocks)
        listed = [dict(block) for block in blocks]

        def send() -> SlackResponse:
            return self._client.chat_postMessage(
                channel=self._channel,
                text=text,
                blocks=listed,
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
                thread_ts=thread,
                reply_broadcast=is_shown_in_channel if thread is not None else None,
            )

        return self._asked("chat.postMessage", send, is_once=True)

    def edit(self, place: Place, text: str, blocks: Sequence[Mapping[str, Any]]) -> Place:
        """Replace a message. `VendorNotFound` whose words hold one of GONE_WORDS: it cannot be edited any more."""
        check_message(text, blocks)
        listed = [dict(block) for block in blocks]

        def send() -> SlackResponse:
            return self._client.chat_update(channel=place.channel, ts=place.ts, text=text, blocks=listed, parse="none")

        return self._asked("chat.update", send, is_once=False)

    def _asked(self, method: str, send: Callable[[], SlackResponse], *, is_once: bool) -> Place:
        for attempt in range(1, ATTEMPTS + 1):
            self._turn()
            error, pause = self._sent(method, send)
            if isinstance(error, Place):
                return error
            if is_once and isinstance(error, VendorUnanswered):
                raise error
            is_healing = isinstance(error, VendorThrottled | VendorUnavailable | VendorUnanswered)
            if not is_healing or attempt == ATTEMPTS or pause > LONGEST_PAUSE_SECONDS:
                raise error
            seconds = max(pause, BACKOFF_SECONDS * 2 ** (attempt - 1))
            logger.warning(
                "%s: attempt %d of %d failed, next in %.1f s: %s",
                *(method, attempt, ATTEMPTS, seconds, error),
                extra={"vendor": "slack"},
            )
            self._sleep(seconds)
        raise AssertionError("the last attempt returns or raises")

    def _sent(self, method: str, send: Callable[[], SlackResponse]) -> tuple[Place | VendorError, float]:
        """Where the message is, or the error that stands for what went wrong and how long Slack asks us to wait."""
        try:
            answer = send()
            channel, ts = answer.get("channel"), answer.get("ts")
        except SlackApiError as error:
            found, pause = _refusal(error.response)
            return _named(found, method, error.response.status_code), pause
        except URLError as error:
            kind = _reached_nobody(error.reason)
            words = f"{type(error.reason).__name__}: {error.reason}"
            return _named(VendorUnavailable(words) if kind else _unanswered(words), method), 0.0
        except (OSError, ValueError, http.client.HTTPException, SlackClientError) as error:
            # A broken connection, a time-out, a body that is cut off or none.
            return _named(_unanswered(f"{type(error).__name__}: {error}"), method), 0.0
        if not isinstance(channel, str) or not isinstance(ts, str):
            return _named(_unanswered("the answer does not say where the message is"), method), 0.0
        return Place(channel, ts), 0.0


def _unanswered(words: str) -> VendorUnanswered:
    return VendorUnanswered(f"it may have been carried out: {words}")


def _named(error: VendorError, method: str, status: int | None = None) -> VendorError:
    words = " ".join(str(error).split())[:400]
    return type(error)(f"{VENDOR} {method}: {words}", vendor=VENDOR, endpoint=method, status=status)


def _reached_nobody(reason: object) -> bool:
    """Whether there was no connection at all, so that nothing can have been carried out."""
    return isinstance(reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError)


def _refusal(answer: SlackResponse) -> tuple[VendorError, float]:
    """The error of an answer that is not ok, and Slack's `Retry-After` in seconds."""
    document: Any = answer.data
    said = str(document.get("error", "")) if isinstance(document, Mapping) else ""
    headers = {str(name).lower(): str(value) for name, value in dict(answer.headers or {}).items()}
    asked = headers.get("retry-after", "").strip()
    pause = float(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0.0
    shown = f"HTTP {answer.status_code}: {said[:200]!r}"
    if answer.status_code == 429 or said in _THROTTLED_WORDS:
        return VendorThrottled(shown), pause
    if answer.status_code >= 500 or said in _UNSURE_WORDS:
        return _unanswered(shown), pause
    if said in _BOT_AUTH_WORDS or answer.status_code in (401, 403):
        return VendorAuthError(f"Slack refused the bot: {shown}"), pause
    is_word = said.replace("_", "").isalnum() and isinstance(document, Mapping)
    if 200 <= answer.status_code < 300 and not is_word:
        return _unanswered(shown), pause
    return VendorNotFound(f"Slack refused the message: {shown}"), pause
