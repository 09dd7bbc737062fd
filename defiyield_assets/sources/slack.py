"""Slack incoming webhooks: one message with blocks.

Lives here: the post and the meaning of its answer. Not here: what the message says (domain/reporting/slack.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from defiyield_assets.errors import ConfigurationError, VendorAuthError, VendorMalformed, VendorNotFound
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway
from defiyield_assets.sources.wire import decode_text

VENDOR = "slack"
ENDPOINT = "/webhook"
MAX_BLOCKS, MAX_SECTION, MAX_FIELDS = 50, 3_000, 10
_AUTH_WORDS = ("invalid_token", "no_service", "no_service_id", "no_team", "team_disabled", "action_prohibited")


class SlackWebhook:
    """Client of a Slack incoming webhook. Its address is a secret: it is neither archived, logged nor shown."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def post(self, url: str, text: str, blocks: Sequence[Mapping[str, Any]]) -> Fetched[str]:
        """Post one message; the answer is `ok`. Retried, so delivered at least once.

        Blocks beyond Slack's limits (50 blocks, 3,000 characters a text, 10 fields) are a `ConfigurationError` that
        names the block, before anything is sent; an address that is no https URL likewise.
        """
        if not url.startswith("https://"):
            raise ConfigurationError("the Slack webhook address must start with https://")
        check_blocks(blocks)
        payload = {"text": text, "blocks": [dict(block) for block in blocks]}
        return await self._gateway.post_json(
            VENDOR, ENDPOINT, payload, parse_answer, secret_url=url, refuse=refuse_error, decode=decode_text
        )


def check_blocks(blocks: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what Slack would refuse: too many blocks or fields, texts too long."""
    if len(blocks) > MAX_BLOCKS:
        raise ConfigurationError(f"a Slack message holds at most {MAX_BLOCKS} blocks, this one {len(blocks)}")
    for place, block in enumerate(blocks):
        listed = block.get("fields") or []
        if len(listed) > MAX_FIELDS:
            raise ConfigurationError(
                f"Slack block {place} holds {len(listed)} fields, at most {MAX_FIELDS} are allowed"
            )
        texts = [part.get("text", "") for part in (block.get("text"), *listed) if isinstance(part, Mapping)]
        longest = max((len(text) for text in texts), default=0)
        if longest > MAX_SECTION:
            raise ConfigurationError(f"Slack block {place} holds a text of {longest} characters, limit {MAX_SECTION}")


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
