"""Signals: what models and news said of an instrument, since when one could act on it, and which kinds of them exist.

Lives here: tables of signals. Not here: articles and their sentiment (news.py), how a reply becomes a signal
(domain/signals), strategies that follow them (domain/strategies/external.py).
"""

from sqlalchemy import Boolean, Column, Date, Float, ForeignKey, Index, Integer, Text

from defiyield_assets.domain.signals.rules import SIGNALS, STATUSES
from defiyield_assets.store.schema.columns import SHARE, ZERO_UP, key, may, must, table
from defiyield_assets.store.types import UtcDateTime

TYPE = "signal_types.signal_type"

signal_types = table(
    "signal_types",
    "Kinds of signals that exist: one for each configured model, one for the stub, one for news",
    key("signal_type", Text, "ai:<model>, or news:sentiment: the one spelling everywhere"),
    must("kind", Text, "Where its signals come from", isin=["ai", "news"]),
    may("model", Text, "Name of the model as Ollama spells it; null: no model"),
    may("training_cutoff", Date, "Last day that the model was trained on; null: trained on nothing"),
    must("is_stub", Boolean, "Made by the stand-in that asks no model"),
    must("description", Text, "What it is, in words"),
    must("is_configured", Boolean, "Still in models.yaml; what is not stays for the signals that name it"),
    day=None,
)
ai_signals = table(
    "ai_signals",
    "What a model replied for a bar: a row for each question about it, with prompt, raw answer and status",
    key("instrument_id", Text, "Instrument"),
    key("bar_ts", UtcDateTime, "Open of the bar that the prompt ends with"),
    key("model", Text, "Name of the model; stub: the stand-in that asks nobody"),
    key("prompt_hash", Text, "SHA-256 of messages, model, digest, options and reply schema"),
    must("date", Date, "Partition: UTC day (session) of the bar"),
    Column("signal_type", Text, ForeignKey(TYPE), nullable=False, comment="ai:<model>, a row of signal_types", info={}),
    must("model_digest", Text, "Digest of the model's weights as Ollama tells it; stub:<version>; unknown: not told"),
    must("status", Text, "What came of it", isin=list(STATUSES)),
    must("is_followed", Boolean, "The one of the bar's rows that trading_signals holds: the first answer, unless told"),
    must("signal", Text, "What to do; HOLD unless the status is ok", isin=list(SIGNALS)),
    may("confidence", Float, "As the model says; null unless the status is ok", **SHARE),
    may("reasoning", Text, "In the model's words, at most 600 characters, never read by a machine"),
    may("stop_loss_price", Float, "Raw scale of the bar's day", **ZERO_UP),
    may("target_price", Float, "Raw scale of the bar's day", **ZERO_UP),
    must("close", Float, "Raw close of the bar", **ZERO_UP),
    must("closed_at", UtcDateTime, "When the bar closed: nothing in the prompt is later"),
    must("horizon_days", Integer, "Days that the question was about", ge=1),
    must("prompt_json", Text, "The messages as canonical JSON"),
    may("raw_answer", Text, "The last answer's content word for word, capped; null: there was none"),
    must("n_asked", Integer, "Answers that it took, those from the archive included", ge=0),
    may("n_news", Integer, "Headlines in the prompt; null: nobody had read the news of that time", ge=0),
    may("problem", Text, "Why the status is not ok"),
    may("answered_at", UtcDateTime, "The transport's stamp of the last answer; null: nobody was asked"),
    Index(None, "date"),
)
trading_signals = table(
    "trading_signals",
    "What strategies and paper trading may follow: signals of models and of news as of when they could be acted on",
    key("instrument_id", Text, "Instrument"),
    key("decided_at", UtcDateTime, "When the bar closed on which it was decided"),
    Column(
        "signal_type",
        Text,
        ForeignKey(TYPE),
        primary_key=True,
        nullable=False,
        autoincrement=False,
        comment="ai:<model> or news:sentiment, a row of signal_types",
        info={},
    ),
    must("date", Date, "Partition: UTC day (session) of the bar"),
    must("bar_ts", UtcDateTime, "Open of that bar"),
    must("actionable_from", UtcDateTime, "End of the bar's UTC day: the first open that could act on it"),
    must("status", Text, "What came of it; only ok is ever BUY or SELL", isin=list(STATUSES)),
    must("signal", Text, "What to do", isin=list(SIGNALS)),
    may("confidence", Float, "0 to 1; null: not told", **SHARE),
    must("close", Float, "Raw close of the bar", **ZERO_UP),
    may("stop_loss_price", Float, "Raw scale of the bar's day; null: none named", **ZERO_UP),
    may("target_price", Float, "Raw scale of the bar's day; null: none named", **ZERO_UP),
    may("prompt_hash", Text, "The row of ai_signals that it comes from; null: no model"),
    may("training_cutoff", Date, "Last day that the model was trained on; null: trained on nothing"),
    Index(None, "date"),
    Index(None, "signal_type", "actionable_from"),
)
