"""Where messages go: Slack when it is configured and the market is live, else a local file.

Lives here: the resource, and the order of claiming, sending and settling. Not here: words (domain/reporting), calls
(sources/slack.py), claims (store/slack.py).

A message is a key, such as the plan of a day. With a bot token new words for the same key edit what is in the channel;
with a webhook they are posted once more, marked as a correction. The same words are never sent twice: what a crash or a
silent Slack leaves open is told as unknown, and is for a human to look up in the channel.
"""

import functools
import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_slack import SlackResource
from sqlalchemy import Engine

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.reporting.slack_blocks import TAKEN_BACK, SlackMessage, as_correction, correction_note
from defiyield_assets.errors import ConfigurationError, VendorError, VendorNotFound, VendorUnanswered
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets.sources.pacing import account_of
from defiyield_assets.sources.slack import GONE_WORDS, Place, SlackBot, SlackWebhook, check_message, require_safe
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import slack as claims
from defiyield_assets.store.budgets import WarehouseBudgets

DEFAULT_API_URL = "https://slack.com/api/"
WAIT_SECONDS = 30
"""How long a run waits for another one that is posting the same message."""
ANSWER_SECONDS = 30
"""How long Slack may be silent."""
BELONG_TOGETHER = "DEFIYIELD_SLACK_BOT_TOKEN and DEFIYIELD_SLACK_CHANNEL belong together: set both or none"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """What became of a message: `status` in words for people, the parts of which nobody knows whether they are there,
    and whether another run is posting it just now."""

    status: str
    sink: str
    unknown_parts: Sequence[int] = ()
    is_under_way: bool = False


class NotifierResource(dg.ConfigurableResource[Any]):
    """Where messages go: Slack when it is configured and the market is live, else a local file.

    A webhook wins over a bot token with channel. Plans of a simulated, recorded or served market are never posted.
    """

    market: str
    local_folder: str

    @property
    def sink(self) -> str:
        """`slack` or `local`; half a bot on a live market is a ConfigurationError, and no silent file."""
        settings = load_settings()
        if self.market != "live" or settings.vendor_server is not None:
            return "local"
        if settings.slack_webhook_url is not None:
            return "slack"
        if (settings.slack_bot_token is None) != (not settings.slack_channel):
            raise ConfigurationError(BELONG_TOGETHER)
        return "slack" if settings.slack_channel else "local"

    def deliver(
        self,
        message: SlackMessage,
        name: str,
        *,
        key: str,
        market: MarketResource,
        engine: Engine,
        day: date,
        run_id: str = "",
        reply_to: str | None = None,
        kept_local: str = "",
    ) -> Delivery:
        """Bring the message to its sink, once, and say what became of it; locally it is written to
        `<local_folder>/<name>.txt` and, as Slack would get it, `<name>.json`.

        `kept_local` says why this message is for nobody's channel: then it is only written, and the status says so.
        `key` names what is told: other words under the same key correct it. `reply_to` is the key of a message whose
        thread this belongs to, where there are threads. A refusal is raised (VendorError, ConfigurationError), and the
        next call tries again; a message of which nobody knows whether it is there is no error, and is not sent again.
        """
        if self.sink == "local":
            return self._write(message, name)
        if kept_local:
            written = self._write(message, name)
            return Delivery(f"{written.status}; not posted: {kept_local}", written.sink)
        for part in message.parts:
            check_message(part.text, part.blocks)
        destination, channel = self._channel(market, engine, day)
        letter = claims.Letter(
            key,
            destination,
            day,
            run_id,
            message.sha256,
            tuple(part.text for part in message.parts),
            message.advice or content_hash(message.text),
        )
        return _Post(self, engine, channel, letter, reply_to).send(message)

    def _write(self, message: SlackMessage, name: str) -> Delivery:
        folder = Path(self.local_folder)
        folder.mkdir(parents=True, exist_ok=True)
        parts = [{"text": part.text, "blocks": list(part.blocks)} for part in message.parts]
        as_sent = json.dumps(parts, ensure_ascii=False, indent=1)
        for suffix, text in ((".txt", message.text), (".json", as_sent)):
            path = folder / f"{name}{suffix}"
            path.write_text(text + "\n", encoding="utf-8")
            path.chmod(0o600)
        return Delivery(f"written to {name}.txt", "local")

    def _channel(self, market: MarketResource, engine: Engine, day: date) -> "tuple[str, _Webhook | SlackBot]":
        """The destination's name and who speaks to it."""
        settings = load_settings()
        if settings.slack_webhook_url is not None:
            url = settings.slack_webhook_url.get_secret_value()
            require_safe(url, "the Slack webhook address")
            fingerprint = hashlib.sha256(url.encode()).hexdigest()[:12]
            return f"webhook:{fingerprint}", _Webhook(url, market, engine, day)
        return f"bot:{settings.slack_channel}", self._bot(settings, market, engine)

    def _bot(self, settings: Settings, market: MarketResource, engine: Engine) -> SlackBot:
        if settings.slack_bot_token is None or not settings.slack_channel:
            raise ConfigurationError(BELONG_TOGETHER)
        api_url = settings.slack_api_url or DEFAULT_API_URL
        require_safe(api_url, "DEFIYIELD_SLACK_API_URL")
        client = SlackResource(token=settings.slack_bot_token.get_secret_value()).get_client()
        client.base_url = api_url if api_url.endswith("/") else f"{api_url}/"
        client.timeout = ANSWER_SECONDS
        client.retry_handlers = []  # its own retries would send an unanswered post again
        client.proxy = None  # of the environment's proxies only those that its no_proxy leaves
        account, budgets = account_of(market.vendors()["slack"]), WarehouseBudgets(engine)

        def turn() -> None:
            now = self.now()
            (slot,) = budgets.lease(account, 1, 1, now)
            self.sleep(max(0.0, (slot - now).total_seconds()))

        return SlackBot(client, settings.slack_channel, turn, self.sleep)

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait; tests do not."""
        if seconds > 0:
            time.sleep(seconds)


@dataclass(frozen=True)
class _Webhook:
    """The webhook behind the gateway, which paces, archives and hides its address."""

    url: str
    market: MarketResource
    engine: Engine
    day: date

    def post(self, message: SlackMessage) -> None:
        async def question(gateway: Gateway) -> str:
            return (await SlackWebhook(gateway).post(self.url, message.text, message.blocks)).rows

        self.market.ask(self.engine, self.day, question)


class _Gone(Exception):  # noqa: N818 - no error of the product: it stays in this module
    """The message that was to be edited is no longer there, or may not be edited any more."""


class _Post:
    """One message on its way: its parts, claimed and sent one after the other."""

    def __init__(
        self,
        notifier: NotifierResource,
        engine: Engine,
        channel: _Webhook | SlackBot,
        letter: claims.Letter,
        reply_to: str | None,
    ) -> None:
        self._notifier = notifier
        self._engine = engine
        self._channel = channel
        self._letter = letter
        self._can_edit = isinstance(channel, SlackBot)
        self._thread = claims.thread_of(engine, reply_to, letter.destination) if reply_to and self._can_edit else None
        self._is_reply = self._thread is not None
        self._done: list[str] = []
        self._unknown: list[int] = []
        self._is_under_way = False

    def send(self, message: SlackMessage) -> Delivery:
        """All parts in their order. One that is not answered ends it: what follows waits for the next run."""
        parts = list(message.parts)
        if self._can_edit:
            parts += [TAKEN_BACK] * (claims.earlier_parts(self._engine, self._letter) - len(parts))
        for number, part in enumerate(parts):
            if not self._send_part(number, part):
                break
        return Delivery(self._words(len(parts)), "slack", self._unknown, self._is_under_way)

    def _send_part(self, number: int, part: SlackMessage) -> bool:
        """Claim, send and settle one part; False when nothing may follow in this run."""
        claim = self._claimed(number)
        if claim.verdict == "busy":
            self._is_under_way = True
            return False
        if claim.verdict == "unknown":
            self._unknown.append(number)
            return True
        if claim.verdict == "posted":
            self._done.append("already posted")
            self._reply_to(number, claim.ts)
            self._note(number, claim, part)  # what a crash or a refusal left unsaid
            return True
        is_marked = claim.is_correction and number == 0
        shown = as_correction(part, has_void_lists=claim.has_void_lists) if is_marked else part
        try:
            place = self._settled(claim, number, lambda: self._sent(claim, number, shown))
        except _Gone:
            claims.forget_place(self._engine, self._letter.message_key, self._letter.destination, claim.ts or "")
            return self._send_part(number, part)
        except VendorUnanswered as error:
            logger.warning("%s: %s", self._letter.message_key, error)
            self._unknown.append(number)
            return False
        if claim.verdict == "edit":
            self._done.append("edited")
        else:
            self._done.append("posted as a correction" if claim.is_correction else "posted")
        self._reply_to(number, place.ts if place else None)
        self._note(number, claim, part)
        return True

    def _reply_to(self, number: int, ts: str | None) -> None:
        """What follows the first part belongs into its thread, or into the one that it replies to itself."""
        if number == 0 and not self._is_reply:
            self._thread = ts

    def _note(self, number: int, edited: claims.Claim, part: SlackMessage) -> None:
        """The word that what is to be done was edited, which by itself would call nobody; once for each revision."""
        if number or not edited.is_edit or edited.earlier_advice == self._letter.advice:
            return
        claim = claims.claim(self._engine, self._letter, claims.NOTE, self._notifier.now(), can_edit=False)
        if claim.verdict == "unknown":
            self._unknown.append(claims.NOTE)
        self._is_under_way = self._is_under_way or claim.verdict == "busy"
        if claim.verdict != "post":
            return
        note = correction_note(part, edited.earlier_text)
        try:
            self._settled(claim, claims.NOTE, lambda: self._posted(note, is_shown_in_channel=True))
        except VendorUnanswered as error:
            logger.warning("%s: %s", self._letter.message_key, error)
            self._unknown.append(claims.NOTE)

    def _claimed(self, number: int) -> claims.Claim:
        """The part for us alone; while another run is posting it we wait for what becomes of it."""
        for _ in range(WAIT_SECONDS):
            claim = self._claim(number)
            if claim.verdict != "busy":
                return claim
            self._notifier.sleep(1.0)
        return self._claim(number)

    def _claim(self, number: int) -> claims.Claim:
        return claims.claim(self._engine, self._letter, number, self._notifier.now(), can_edit=self._can_edit)

    def _sent(self, claim: claims.Claim, number: int, part: SlackMessage) -> Place | None:
        if claim.verdict == "post" or claim.channel is None or claim.ts is None or isinstance(self._channel, _Webhook):
            return self._posted(part, is_shown_in_channel=self._is_reply and number == 0)
        try:
            return self._channel.edit(Place(claim.channel, claim.ts), part.text, part.blocks)
        except VendorNotFound as error:
            if any(word in str(error) for word in GONE_WORDS):
                raise _Gone from error
            raise

    def _posted(self, part: SlackMessage, *, is_shown_in_channel: bool) -> Place | None:
        if isinstance(self._channel, _Webhook):
            self._channel.post(part)
            return None
        is_shown = is_shown_in_channel and self._thread is not None
        return self._channel.post(part.text, part.blocks, thread=self._thread, is_shown_in_channel=is_shown)

    def _settled(self, claim: claims.Claim, number: int, send: Callable[[], Place | None]) -> Place | None:
        """Send, and write down what became of it. What is no vendor's error leaves the part claimed: nobody knows."""
        settle = functools.partial(claims.settle, self._engine, self._letter, claim.revision, number)
        try:
            place = send()
        except VendorUnanswered as error:
            settle(status="unknown", now=self._notifier.now(), answer=str(error))
            raise
        except VendorError as error:
            settle(status="refused", now=self._notifier.now(), answer=str(error))
            raise
        channel, ts = (place.channel, place.ts) if place is not None else (None, None)
        settle(status="posted", now=self._notifier.now(), channel=channel, ts=ts)
        return place

    def _words(self, n_parts: int) -> str:
        """The delivery in words."""
        said = list(dict.fromkeys(self._done))
        if self._is_under_way:
            said.append("another run is posting it")
        if self._unknown:
            numbers = ", ".join("the correction's note" if n == claims.NOTE else str(n + 1) for n in self._unknown)
            said.append(f"unknown: Slack did not say whether part {numbers} of {n_parts} arrived; it is not sent again")
        return "; ".join(said)
