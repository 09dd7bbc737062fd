"""Alerts: what Slack is told when steps fail, and when they are made after all.

Lives here: the words of both messages. Not here: which failures are news and who was told (store/slack.py), when to
look (orchestration/alerts.py), the message of the day (slack.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.domain.reporting.slack_blocks import (
    TEXT_CHARACTERS,
    SlackMessage,
    fitted,
    markdown,
    safe,
    words,
)

REMARK_CHARACTERS = 2_000
LISTED = 10
"""Steps that an alert names; the rest is counted."""


@dataclass(frozen=True)
class FailedStep:
    """A step of a day, or of the days up to `through`, that failed; `recovered_at` when it was made after all.

    `is_told`: people were told of the failure, as far as anybody knows.
    """

    asset: str
    day: date
    through: date
    is_partitioned: bool
    reason: str
    recovered_at: datetime | None = None
    is_told: bool = True


def build_failure_alert(job: str, run_id: str, steps: Sequence[FailedStep]) -> SlackMessage:
    """The steps of one run that began to fail, with the errors in words."""
    text = f"Run {clean(run_id[:8], 8)} of {clean(job, 80)} for {_days(steps)} failed: {_names(steps)}"
    lines = [f"• {safe(clean(step.asset, 80))}: {safe(clean(step.reason, 300))}" for step in steps[:LISTED]]
    return _alert(f":red_circle: *{safe(text)}*", lines, len(steps), text, "Told once: repeats stay silent.")


def build_recovery_alert(steps: Sequence[FailedStep]) -> SlackMessage:
    """The steps that failed and are made now."""
    text = f"Recovered for {_days(steps)}: {_names(steps)}"
    lines = [
        f"• {safe(clean(step.asset, 80))}"
        + (f" at {step.recovered_at:%Y-%m-%d %H:%M} UTC" if step.recovered_at is not None else "")
        for step in steps[:LISTED]
    ]
    untold = [step for step in steps if not step.is_told]
    remark = "The failure was told before."
    if untold:
        names = "" if len(untold) == len(steps) else f" of {safe(_names(untold))}"
        remark = f"The failure{names} could not be told before."
    return _alert(f":large_green_circle: *{safe(text)}*", lines, len(steps), text, fitted(remark, REMARK_CHARACTERS))


def _alert(head: str, lines: list[str], n_steps: int, text: str, remark: str) -> SlackMessage:
    more = [f"… and {n_steps - LISTED} more"] if n_steps > LISTED else []
    context = {"type": "context", "elements": [markdown(remark)]}
    return SlackMessage(fitted(safe(text), TEXT_CHARACTERS), (words([head, *lines, *more]), context))


def _names(steps: Sequence[FailedStep]) -> str:
    named = ", ".join(clean(step.asset, 80) for step in steps[:LISTED])
    return f"{named} and {len(steps) - LISTED} more" if len(steps) > LISTED else named


def _days(steps: Sequence[FailedStep]) -> str:
    """The partitions of the run, or that it had none."""
    if not any(step.is_partitioned for step in steps):
        return "no partition"
    first, last = min(step.day for step in steps), max(step.through for step in steps)
    return f"{first}" if first == last else f"{first} to {last}"
