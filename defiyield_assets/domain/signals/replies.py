"""What a model's reply may be, and what becomes of one that is something else.

Lives here: the JSON Schema, the parser of a reply's text. Not here: who asks again (orchestration/signal_asking.py),
which prices fit a side (rules.py).

A reply that is no JSON of the schema is a ReplyError: one asks again and says why. A reply of the schema whose prices
contradict its side is `invalid` and final: asking until the numbers fit would let chance pick them.
"""

import json
import unicodedata
from math import isfinite
from typing import Any, NoReturn

from defiyield_assets.domain.signals.rules import SIGNALS, Verdict, price_problem, without_signal

LONGEST_REASONING = 600
LONGEST_REPLY = 20_000
"""Characters of an answer that are looked at; a longer one is no reply."""
REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "signal": {"type": "string", "enum": list(SIGNALS)},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reasoning": {"type": "string", "maxLength": LONGEST_REASONING},
        "stop_loss_price": {"type": ["number", "null"]},
        "target_price": {"type": ["number", "null"]},
    },
    "required": ["signal", "confidence", "reasoning", "stop_loss_price", "target_price"],
    "additionalProperties": False,
}
_KEYS: tuple[str, ...] = tuple(REPLY_SCHEMA["required"])


class ReplyError(ValueError):
    """A text that is no reply; its words are shown to the model."""


def read_reply(text: str, close: float) -> Verdict:
    """The verdict that a reply's text holds about a bar with this close (same scale as the prices).

    ReplyError for what is no JSON object of the schema: other or repeated keys, NaN, numbers outside their bounds, a
    reasoning that is too long. Prices that contradict the side make the status `invalid`, and HOLD.
    """
    told = _document(text)
    signal, reasoning = told["signal"], told["reasoning"]
    if signal not in SIGNALS:
        raise ReplyError(f"signal is {_shown(signal)}, it has to be one of {', '.join(SIGNALS)}")
    if not isinstance(reasoning, str):
        raise ReplyError(f"reasoning is {_shown(reasoning)}, it has to be text")
    if len(reasoning) > LONGEST_REASONING:
        raise ReplyError(f"reasoning has {len(reasoning)} characters, at most {LONGEST_REASONING} are allowed")
    confidence = _number(told, "confidence")
    if confidence is None or not 0.0 <= confidence <= 1.0:
        raise ReplyError(f"confidence is {_shown(told['confidence'])}, it has to be a number from 0 to 1")
    stop, target, words = _number(told, "stop_loss_price"), _number(told, "target_price"), _plain(reasoning)
    problem = price_problem(signal, close, stop, target)
    if problem is not None:
        return without_signal("invalid", problem, words)
    if signal == "HOLD":
        return Verdict("HOLD", confidence, reasoning=words)
    return Verdict(signal, confidence, stop, target, words)


def _document(text: str) -> dict[str, Any]:
    """The object in a text, with exactly the keys of the schema."""
    if len(text) > LONGEST_REPLY:
        raise ReplyError(f"the answer has {len(text)} characters, at most {LONGEST_REPLY} are read")
    try:
        told = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except RecursionError:
        raise ReplyError("the answer is nested too deeply") from None
    except ReplyError:
        raise
    except ValueError as error:
        raise ReplyError(f"the answer is no JSON document: {str(error)[:200]}") from None
    if not isinstance(told, dict):
        raise ReplyError(f"the answer is {_shown(told)}, it has to be a JSON object")
    missing = [name for name in _KEYS if name not in told]
    others = sorted(str(name) for name in told if name not in _KEYS)
    if missing:
        raise ReplyError(f"the key {missing[0]!r} is missing")
    if others:
        raise ReplyError(f"the key {others[0][:40]!r} is not allowed")
    return told


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ReplyError("a key is there twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ReplyError(f"{name} is no number of JSON")


def _number(told: dict[str, Any], name: str) -> float | None:
    value = told[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ReplyError(f"{name} is {_shown(value)}, it has to be a number or null")
    try:
        found = float(value)
    except OverflowError:
        found = float("inf")
    if not isfinite(found):
        raise ReplyError(f"{name} is beyond all numbers")
    return found


def _plain(text: str) -> str:
    """One line without control, format and surrogate characters."""
    kept = (" " if unicodedata.category(one).startswith("C") else one for one in text)
    return " ".join("".join(kept).split())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
