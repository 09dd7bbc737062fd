"""What a signal may be: sides, statuses, which prices fit a side, and the rule by which sentiment becomes a signal.

Lives here: the words of signals and their invariants. Not here: asking a model (sources/ollama.py), reading its reply
(replies.py), kinds of signals (types.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import pandas as pd

Side = Literal["BUY", "SELL", "HOLD"]
Status = Literal["ok", "parse_failed", "invalid", "unavailable"]
SIGNALS: tuple[str, ...] = get_args(Side)
STATUSES: tuple[str, ...] = get_args(Status)
"""ok: a reply that fits; parse_failed: no reply of the schema after all questions; invalid: of the schema, but its
prices contradict its side; unavailable: the model's host did not answer. All but ok are HOLD."""
SENTIMENT_TRIGGER = 0.25
"""From which size of the day's mean sentiment (-1..1) news is a BUY or a SELL."""
LEAST_ARTICLES = 3
"""Articles of a day under which sentiment is HOLD: one headline is no opinion of the market."""


@dataclass(frozen=True)
class Verdict:
    """A signal that may be stored. `confidence` 0..1, prices in the scale of the bar; None: not told."""

    signal: Side
    confidence: float | None = None
    stop_loss_price: float | None = None
    target_price: float | None = None
    reasoning: str | None = None
    status: Status = "ok"
    problem: str | None = None


def price_problem(signal: str, close: float, stop: float | None, target: float | None) -> str | None:
    """Why stop and target do not fit a side at a close; None where they do.

    BUY needs stop < close < target, SELL target < close < stop, each positive and finite. A HOLD opens nothing: its
    prices, if any, are dropped by who stores it and contradict nothing.
    """
    if signal == "HOLD":
        return None
    if stop is None or target is None:
        return f"{signal} needs stop_loss_price and target_price"
    if not (isfinite(stop) and isfinite(target) and stop > 0.0 and target > 0.0):
        return f"{signal} needs prices above 0"
    if signal == "BUY" and not stop < close < target:
        return f"BUY needs stop < close < target, told were {stop:g}, {close:g}, {target:g}"
    if signal == "SELL" and not target < close < stop:
        return f"SELL needs target < close < stop, told were {target:g}, {close:g}, {stop:g}"
    return None


def without_signal(status: Status, problem: str, reasoning: str | None = None) -> Verdict:
    """HOLD with the reason why there is no signal."""
    return Verdict("HOLD", reasoning=reasoning, status=status, problem=problem)


def news_verdict(score: float | None, n_articles: int) -> Verdict:
    """The signal of a day's news: `score` the mean sentiment of its articles (-1..1, None unknown).

    BUY or SELL from SENTIMENT_TRIGGER on with LEAST_ARTICLES at least, else HOLD; confidence is the size of the score.
    """
    if score is None or not isfinite(score) or n_articles < LEAST_ARTICLES:
        return Verdict("HOLD")
    size = min(abs(score), 1.0)
    if size < SENTIMENT_TRIGGER:
        return Verdict("HOLD", size)
    return Verdict("BUY" if score > 0 else "SELL", size)


def row_problems(rows: pd.DataFrame) -> dict[str, list[str]]:
    """What is wrong with rows of `ai_signals` or `trading_signals`: rule -> the rows that break it, in words.

    `levels`: BUY needs stop < close < target where they are named (SELL the inverse), HOLD names none; `status`: only
    ok is BUY or SELL; `time`: one can act from the close on, never before.
    """
    found: dict[str, list[str]] = {"levels": [], "status": [], "time": []}
    for row in rows.to_dict("records"):
        name = f"{row['instrument_id']} on {row['date']} ({row['signal_type']})"
        signal, status = str(row["signal"]), str(row["status"])
        stop, target = (_known(row[column]) for column in ("stop_loss_price", "target_price"))
        if signal not in SIGNALS or status not in STATUSES or (status != "ok" and signal != "HOLD"):
            found["status"].append(f"{name}: {signal} with status {status}")
        if signal == "HOLD" or (stop is None and target is None and not str(row["signal_type"]).startswith("ai:")):
            problem = None if signal != "HOLD" or stop is target is None else "HOLD names prices"
        else:
            problem = price_problem(signal, float(row["close"]), stop, target)
        if problem is not None:
            found["levels"].append(f"{name}: {problem}")
        if "actionable_from" in row and not row["bar_ts"] < row["decided_at"] <= row["actionable_from"]:
            times = (row[column] for column in ("bar_ts", "decided_at", "actionable_from"))
            found["time"].append(f"{name}: {', '.join(map(str, times))} are not in order")
    return found


def _known(value: Any) -> float | None:
    return None if value is None or isnan(value) else float(value)
