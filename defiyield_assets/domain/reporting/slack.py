"""The message that the treasury channel gets, as Slack blocks within Slack's limits.

Lives here: choice, order and escaping of what Slack shows. Not here: sending it (sources/slack.py) or what is said
(content.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.formats import escape_slack
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Content, Fact, Section

MAX_BLOCKS = 50
MAX_SECTION_CHARACTERS = 3_000
MAX_FIELDS = 10
MAX_FIELD_CHARACTERS = 2_000
MAX_HEADER_CHARACTERS = 150
"""Slack's limits for messages (Block Kit reference)."""
ROWS = 8
"""Holdings and steps listed; the rest is counted."""
TONES = {
    "good": ":large_green_circle:",
    "calm": ":white_circle:",
    "warn": ":large_yellow_circle:",
    "bad": ":red_circle:",
}

Block = dict[str, Any]


@dataclass(frozen=True)
class SlackMessage:
    """`text` for notifications, `blocks` for the channel."""

    text: str
    blocks: tuple[Block, ...]


def build_slack_message(inputs: ReportInputs) -> SlackMessage:
    """The day in one message: verdict, figures, holdings, steps, what is degraded. No string can mention or link."""
    content = build_content(inputs)
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(content.title, MAX_HEADER_CHARACTERS)}},
        _words([f"{TONES[content.tone]} {escape_slack(content.paragraphs[0])}", *_escaped(content.paragraphs[1:])]),
    ]
    if content.facts:
        blocks.append({"type": "section", "fields": [_field(fact) for fact in content.facts[:MAX_FIELDS]]})
    blocks += _listing(content, "plan", lambda row: f"{row[1]}  {row[0]}  {row[2]}  {row[4]} {row[5]}  {row[6]}")
    blocks += _listing(content, "steps", lambda row: f"{row[0]}. {row[1]}  {row[3]} → {row[4]}")
    blocks += _listing(content, "failures", lambda row: f"{row[0]}: {row[1]}, {row[2]}")
    left_out, earned = content.section("left-out"), content.section("earned")
    remarks = [*(left_out.paragraphs if left_out else ()), *_earned_words(earned)]
    if remarks:
        blocks.append(_words(_escaped(remarks)))
    if content.run_id:
        blocks.append({"type": "context", "elements": [_markdown(_fit([f"Run {escape_slack(content.run_id)}"]))]})
    return SlackMessage(escape_slack(f"{content.title}. {content.paragraphs[0]}"), tuple(blocks[:MAX_BLOCKS]))


def _listing(content: Content, anchor: str, line: Any) -> list[Block]:
    """A section's first rows as lines under its title; nothing where it has no table."""
    section = content.section(anchor)
    if section is None or not section.tables:
        return []
    rows = section.tables[0].rows
    lines = [f"*{escape_slack(section.title)}*", *(f"• {escape_slack(line(row))}" for row in rows[:ROWS])]
    if len(rows) > ROWS:
        lines.append(f"… and {len(rows) - ROWS} more in the report")
    return [_words(lines)]


def _earned_words(earned: Section | None) -> list[str]:
    if earned is None:
        return []
    facts = {fact.name: fact for fact in earned.facts}
    if not facts:
        return list(earned.paragraphs)
    wanted = ("Net asset value", "Return of the day", "Realised yield of the day", "Income", "Expenses")
    return ["Really earned: " + ", ".join(f"{name.lower()} {facts[name].value}" for name in wanted)]


def _words(lines: Sequence[str]) -> Block:
    return {"type": "section", "text": _markdown(_fit(lines))}


def _markdown(text: str) -> Block:
    # verbatim: Slack makes no links and mentions out of what looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _field(fact: Fact) -> Block:
    remark = f"\n{escape_slack(fact.remark)}" if fact.remark else ""
    return _markdown(_fit([f"*{escape_slack(fact.name)}*\n{escape_slack(fact.value)}{remark}"], MAX_FIELD_CHARACTERS))


def _escaped(lines: Sequence[str]) -> list[str]:
    return [escape_slack(line) for line in lines]


def _fit(lines: Sequence[str], limit: int = MAX_SECTION_CHARACTERS) -> str:
    """As many lines as fit, the last one cut; an escaped character is never cut in two."""
    whole = "\n".join(lines)
    if len(whole) <= limit:
        return whole
    head = whole[: limit - 1]
    start = head.rfind("&")
    return (head[:start] if start > head.rfind(";") else head) + "…"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
