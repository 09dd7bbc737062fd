"""Asking one model about many bars: what is stored is not asked again, what is no reply is asked again twice.

Lives here: the order of questions, statuses, rows of `ai_signals`. Not here: the wire (sources/ollama.py), reading
replies (domain/signals/replies.py), bars and news of a question (signal_inputs.py), which of several answers is
followed (domain/signals/followed.py).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.days import start_of
from defiyield_assets.domain.signals.followed import UNAVAILABLE
from defiyield_assets.domain.signals.prompts import Message, Question, asked_again, messages_of, prompt_hash
from defiyield_assets.domain.signals.replies import REPLY_SCHEMA, ReplyError, read_reply
from defiyield_assets.domain.signals.rules import Verdict, without_signal
from defiyield_assets.domain.signals.stub import STUB_DIGEST, stub_answer
from defiyield_assets.domain.signals.types import SignalSettings, SignalType
from defiyield_assets.errors import (
    SuspiciousDataError,
    VendorError,
    VendorMalformed,
    VendorNotFound,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.orchestration.lab.inputs import records
from defiyield_assets.sources.ollama import Ollama
from defiyield_assets.sources.recall import ALWAYS
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import schema

ASKED_AGAIN = 2
"""Questions after the first, each with what was wrong with the answer before."""
LONGEST_RAW = 20_000
"""Characters of a raw answer that are stored; all of it is in the archive."""
UNKNOWN_DIGEST = "unknown"
"""In place of the digest where the host did not tell it."""
UNREACHABLE = (VendorUnavailable, VendorThrottled, VendorMalformed)
"""Errors after which a signal is `unavailable`: the host may heal. A model that is not there is an error of the run."""
FAILED_IN_A_ROW = 3
"""Bars in a row without an answer after which a host that is there is asked no more in this run."""
NOT_ASKED = "not asked: "
"""How the reason begins where the host was given up before the bar's turn."""


@dataclass(frozen=True)
class Speaker:
    """Who is asked, and how: one model with the digest of its weights, or the stub."""

    kind: SignalType
    settings: SignalSettings
    digest: str = UNKNOWN_DIGEST

    @property
    def model(self) -> str:
        """Name of the model."""
        return str(self.kind.model)


Say = Callable[[Sequence[Message]], Awaitable[tuple[str, datetime | None]]]
"""Messages -> the model's words, and the stamp under which they came."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Answered:
    """What became of a question. `raw`: the last answer; `n_asked`: answers that it took."""

    verdict: Verdict
    raw: str | None
    n_asked: int
    answered_at: datetime | None


@dataclass
class Made:
    """Rows of `ai_signals` of a run, `is_followed` not yet settled; how many of them were there, why the host did not
    answer the others, and why it was given up where it was.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    n_cached: int = 0
    failure: str | None = None
    given_up: str | None = None
    n_failed_in_a_row: int = 0

    def frame(self) -> pd.DataFrame:
        """The rows as the table takes them."""
        return pd.DataFrame(self.rows, columns=schema.ai_signals.columns.keys())

    def counts(self) -> dict[str, int]:
        """Rows by status."""
        told = pd.Series([row["status"] for row in self.rows], dtype=object).value_counts()
        return {f"n_{name}": int(n) for name, n in told.items()}


async def converse(say: Say, messages: Sequence[Message], close: float) -> Answered:
    """Ask until there is a reply of the schema, ASKED_AGAIN times more at most; then HOLD, `parse_failed`."""
    asked = list(messages)
    for number in range(1, ASKED_AGAIN + 2):
        raw, stamp = await say(asked)
        try:
            return Answered(read_reply(raw, close), raw, number, stamp)
        except ReplyError as error:
            problem = str(error)
        asked = asked_again(asked, raw, problem)
    return Answered(without_signal("parse_failed", problem), raw, number, stamp)


def stored_answers(
    questions: Sequence[Question], stored: pd.DataFrame, model: str, options: Mapping[str, int]
) -> dict[tuple[str, datetime], dict[str, Any]]:
    """Stored rows of the model that answer these very questions, by instrument and open of the bar.

    A row counts when its prompt hash is that of the question with the digest that answered it, the one that is followed
    before others; one that says `unavailable` answers nothing.
    """
    by_bar: dict[tuple[str, datetime], list[dict[str, Any]]] = {}
    for row in sorted(records(stored), key=lambda one: not one["is_followed"]):
        if row["status"] != UNAVAILABLE:
            by_bar.setdefault((row["instrument_id"], row["bar_ts"].to_pydatetime()), []).append(row)
    found: dict[tuple[str, datetime], dict[str, Any]] = {}
    for question in questions:
        for row in by_bar.get(key_of(question), ()):
            told = prompt_hash(messages_of(question), model, row["model_digest"], options)
            if told == row["prompt_hash"]:
                found.setdefault(key_of(question), row)
    return found


def key_of(question: Question) -> tuple[str, datetime]:
    """Instrument and open of the bar."""
    return question.instrument_id, start_of(question.day)


def stub_signals(questions: Sequence[Question], speaker: Speaker) -> Made:
    """What the stand-in says of every question; nobody is asked, and nothing needs to be remembered."""
    made, stub = Made(), replace(speaker, digest=STUB_DIGEST)
    for question in questions:
        messages, raw = messages_of(question), stub_answer(question)
        told = Answered(read_reply(raw, question.close), raw, 0, None)
        made.rows.append(row_of(question, messages, stub, told))
    return made


async def model_signals(
    gateway: Gateway,
    questions: Sequence[Question],
    speaker: Speaker,
    stored: pd.DataFrame,
    progress: Progress,
) -> Made:
    """What one model says of every question; what is stored of the same question is taken, and nobody is asked.

    `stored`: rows of `ai_signals` of this model. A bar that a host does not answer though it is there is `unavailable`
    alone; when the host is away, or fails FAILED_IN_A_ROW bars, the rest is. Bars that failed in an earlier run come
    last, so that they keep no other from its turn. VendorNotFound for a host without the model.
    """
    model, options = speaker.model, speaker.settings.options
    there = stored_answers(questions, stored, model, options)
    made, client = Made(), Ollama(gateway)
    if len(there) < len(questions):
        try:
            speaker = replace(speaker, digest=await client.digest_of(model))
        except UNREACHABLE as error:
            made.failure = made.given_up = str(error)

    async def say(messages: Sequence[Message]) -> tuple[str, datetime | None]:
        told = await client.chat(model, speaker.digest, messages, REPLY_SCHEMA, options, reuse=ALWAYS)
        return told.rows.content, told.fetched_at

    failed = _failed_before(stored)
    ordered = sorted(questions, key=lambda one: key_of(one) in failed)
    for number, question in enumerate(ordered, start=1):
        known = there.get(key_of(question))
        if known is not None:
            made.rows.append(known)
            made.n_cached += 1
            continue
        messages = messages_of(question)
        told = await _told(client, say, messages, question.close, made)
        made.rows.append(row_of(question, messages, speaker, told))
        progress(number, len(questions))
    if len(there) < len(questions) and made.given_up is None:
        await _require_same(client, model, speaker.digest)
    return made


async def _require_same(client: Ollama, model: str, digest: str) -> None:
    """SuspiciousDataError where the weights were changed while they were asked; a host that went away says nothing."""
    try:
        now = await client.digest_of(model)
    except VendorError:
        return
    if now != digest:
        raise SuspiciousDataError(f"the weights of {model!r} were changed while it was asked: run again")


def _failed_before(stored: pd.DataFrame) -> set[tuple[str, datetime]]:
    """Bars that were asked about and not answered, by instrument and open."""
    return {
        (row["instrument_id"], row["bar_ts"].to_pydatetime())
        for row in records(stored)
        if row["status"] == UNAVAILABLE and not str(row["problem"]).startswith(NOT_ASKED)
    }


async def _told(client: Ollama, say: Say, messages: Sequence[Message], close: float, made: Made) -> Answered:
    """The answer; once the host was given up, nobody waits for it again in this run."""
    if made.given_up is not None:
        return Answered(without_signal(UNAVAILABLE, NOT_ASKED + made.given_up), None, 0, None)
    try:
        told = await converse(say, messages, close)
    except (*UNREACHABLE, VendorNotFound) as error:
        if isinstance(error, VendorNotFound) and (error.status is None or not _is_refusal(error.status)):
            raise
        made.failure = str(error)
        made.n_failed_in_a_row += 1
        if made.n_failed_in_a_row >= FAILED_IN_A_ROW or not await _is_there(client):
            made.given_up = made.failure
        return Answered(without_signal(UNAVAILABLE, made.failure), None, 0, None)
    made.n_failed_in_a_row = 0
    return told


def _is_refusal(status: int) -> bool:
    """Whether a status says that this question is refused (400 too long, 413, 422 …), not that there is no model."""
    return 400 <= status < 500 and status != 404


async def _is_there(client: Ollama) -> bool:
    """Whether the host says anything at all."""
    try:
        await client.digests()
    except VendorError:
        return False
    return True


def row_of(question: Question, messages: Sequence[Message], speaker: Speaker, told: Answered) -> dict[str, Any]:
    """A row of `ai_signals`."""
    verdict = told.verdict
    return {
        "instrument_id": question.instrument_id,
        "bar_ts": pd.Timestamp(start_of(question.day)),
        "model": speaker.model,
        "prompt_hash": prompt_hash(messages, speaker.model, speaker.digest, speaker.settings.options),
        "date": question.day,
        "signal_type": speaker.kind.signal_type,
        "model_digest": speaker.digest,
        "status": verdict.status,
        "is_followed": False,
        "signal": verdict.signal,
        "confidence": verdict.confidence,
        "reasoning": verdict.reasoning,
        "stop_loss_price": verdict.stop_loss_price,
        "target_price": verdict.target_price,
        "close": question.close,
        "closed_at": pd.Timestamp(question.closed_at),
        "horizon_days": question.horizon_days,
        "prompt_json": canonical_json(list(messages)),
        "raw_answer": None if told.raw is None else told.raw[:LONGEST_RAW],
        "n_asked": told.n_asked,
        "n_news": None if question.headlines is None else len(question.headlines),
        "problem": None if verdict.problem is None else verdict.problem[:1000],
        "answered_at": None if told.answered_at is None else pd.Timestamp(told.answered_at),
    }
