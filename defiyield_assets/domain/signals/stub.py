"""The stand-in for a model: a rule on the figures of the prompt, for work without Ollama.

Lives here: its answer, as text of the same schema, so that it goes through the same parser. Not here: whom to ask
(orchestration/signal_asking.py). Its name, type and digest say everywhere that no model was asked.
"""

import json

from defiyield_assets.domain.signals.prompts import Question
from defiyield_assets.domain.signals.types import STUB

STUB_DIGEST = f"{STUB}:1"
"""In place of a model's digest; the number changes with the rule."""
STOP_ATR, TARGET_ATR = 2.0, 3.0
"""Distances of stop and target from the close, in average true ranges."""


def is_stub_digest(digest: str) -> bool:
    """Whether a digest is the stub's, of any version."""
    return digest.startswith(f"{STUB}:")


def stub_answer(question: Question) -> str:
    """BUY above the 20-bar mean with an RSI of 50 to 70, SELL below it under 45, else HOLD; the same question has the
    same answer. Without the figures (warm-up): HOLD with confidence 0.
    """
    rsi, distance, swing = (question.features.get(name) for name in ("rsi_14", "ma_distance_20", "atr_percent_14"))
    if rsi is None or distance is None or swing is None or not 0.0 < swing < 1.0 / TARGET_ATR:
        return _reply("HOLD", 0.0, None, None, "a figure is unknown")
    words = f"rsi_14 {rsi:.4g}, ma_distance_20 {distance:.4g}"
    side = 1 if distance > 0 and 50.0 <= rsi <= 70.0 else -1 if distance < 0 and rsi < 45.0 else 0
    confidence = round(0.5 + min(abs(rsi - 50.0), 25.0) / 50.0, 4)
    if side == 0:
        return _reply("HOLD", confidence, None, None, words)
    stop = question.close * (1.0 - side * STOP_ATR * swing)
    target = question.close * (1.0 + side * TARGET_ATR * swing)
    return _reply("BUY" if side > 0 else "SELL", confidence, stop, target, words)


def _reply(signal: str, confidence: float, stop: float | None, target: float | None, words: str) -> str:
    told = {
        "signal": signal,
        "confidence": confidence,
        "reasoning": f"stub, no model was asked: {words}",
        "stop_loss_price": stop,
        "target_price": target,
    }
    return json.dumps(told)
