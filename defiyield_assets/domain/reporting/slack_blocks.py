"""Slack's blocks: limits, escaping, cutting, and the message that is made of them.

Lives here: what any message to Slack needs. Not here: the message of the day (slack.py), alerts (alerts.py), sending
(sources/slack.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.reporting.formats import escape_slack

MAX_BLOCKS = 50
MAX_SECTION_CHARACTERS = 3_000
MAX_FIELDS = 10
MAX_FIELD_CHARACTERS = 2_000
MAX_HEADER_CHARACTERS = 150
MAX_TEXT_CHARACTERS = 40_000
"""Slack's limits for messages (Block Kit reference), in UTF-16 units: whichever way Slack counts, no more are sent."""
TEXT_CHARACTERS = 1_000
"""The words of a notification: what a phone shows of it is less."""

Block = dict[str, Any]


@dataclass(frozen=True)
class SlackMessage:
    """`text` for notifications, `blocks` for the channel; `more` are the messages that continue it, in its thread.

    `advice` is the fingerprint of what it tells people to do: where that changes, an edit is no silent one. Empty: its
    words.
    """

    text: str
    blocks: tuple[Block, ...]
    more: tuple["SlackMessage", ...] = ()
    advice: str = ""

    @property
    def parts(self) -> tuple["SlackMessage", ...]:
        """The message and what continues it."""
        return (self, *self.more)

    @property
    def sha256(self) -> str:
        """Fingerprint of everything that is said: the same words are the same message."""
        return content_hash([{"text": part.text, "blocks": list(part.blocks)} for part in self.parts])


TAKEN_BACK = SlackMessage(
    "Taken back by a correction of the message above.",
    ({"type": "context", "elements": [{"type": "plain_text", "text": "Taken back by a correction.", "emoji": False}]},),
)
"""What stands in place of a continuation that a correction no longer has."""


def as_correction(message: SlackMessage, *, has_void_lists: bool = False) -> SlackMessage:
    """The message, marked as one that replaces an earlier one of the same subject.

    `has_void_lists`: messages that continued the earlier one stay in the channel and cannot be edited.
    """
    said = ":pencil2: *Correction:* this replaces an earlier message."
    if has_void_lists:
        said += " The lists that followed that one are void."
    mark: Block = {"type": "context", "elements": [markdown(said)]}
    text = fitted(f"Correction: {message.text}", TEXT_CHARACTERS)
    return SlackMessage(text, (mark, *message.blocks[: MAX_BLOCKS - 1]), message.more, message.advice)


def correction_note(message: SlackMessage, earlier_text: str) -> SlackMessage:
    """The word in the thread of an edited message, which by itself would call nobody; texts are escaped already."""
    lines = ["*Corrected:* the message above was changed.", f"Before: {earlier_text}", f"Now: {message.text}"]
    if earlier_text == message.text:
        lines[1:] = ["Its headline is as before; amounts, steps or what they rest on are others.", message.text]
    return SlackMessage(fitted(f"Corrected: {message.text}", TEXT_CHARACTERS), (words(lines),))


def sections(lines: Sequence[str]) -> list[Block]:
    """Escaped lines as sections within Slack's limit: a line is never parted, one that is too long is cut."""
    blocks, waiting, size = [], list[str](), 0
    for line in lines:
        length = min(slack_length(line), MAX_SECTION_CHARACTERS)
        if waiting and size + 1 + length > MAX_SECTION_CHARACTERS:
            blocks.append(words(waiting))
            waiting, size = [], 0
        size += length + bool(waiting)
        waiting.append(line)
    return [*blocks, words(waiting)] if waiting else blocks


def words(lines: Sequence[str]) -> Block:
    """Escaped lines as one section, cut to Slack's limit."""
    return {"type": "section", "text": markdown(fitted("\n".join(lines), MAX_SECTION_CHARACTERS))}


def markdown(text: str) -> Block:
    """An escaped text. Verbatim: Slack makes no links and mentions out of what looks like one."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def safe(text: str) -> str:
    """Text that Slack shows as it is: no mention, no link, no formatting, no emoji.

    Slack escapes only three characters; the signs of its markup are replaced by others that look alike.
    """
    plain = text.translate(_LOOK_ALIKES)
    plain = re.sub(r":(?=[\w+'-]{1,80}:)", "∶", plain)
    # An underscore inside a word formats nothing, and names of assets are full of them.
    plain = re.sub(r"(?<!\w)_|_(?!\w)", "＿", plain)
    return escape_slack(re.sub(r"(?m)^>", "＞", plain))


_LOOK_ALIKES = {ord("*"): "∗", ord("~"): "∼", ord("`"): "ˋ"}


def slack_length(text: str) -> int:
    """Length in UTF-16 units, which no way of counting characters exceeds."""
    return len(text) + sum(1 for char in text if ord(char) > 0xFFFF)


def fitted(text: str, limit: int) -> str:
    """An escaped text of at most `limit` characters; an escaped character is never cut in two."""
    if slack_length(text) <= limit:
        return text
    head = _head(text, limit - 1)
    start = head.rfind("&")
    return (head[:start] if start > head.rfind(";") else head) + "…"


def _head(text: str, limit: int) -> str:
    """The beginning of a text, as long as the limit allows."""
    head = text[:limit]
    while slack_length(head) > limit:
        head = head[: len(head) - (slack_length(head) - limit + 1) // 2]
    return head


def cut(text: str, limit: int) -> str:
    """A plain text of at most `limit` characters."""
    return text if slack_length(text) <= limit else _head(text, limit - 1) + "…"
