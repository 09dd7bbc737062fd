"""Assets of signals: the kinds that exist, what a model says of every bar, and what one may follow of it.

Lives here: wiring of domain/signals. Not here: questions (orchestration/signal_inputs.py), asking
(orchestration/signal_asking.py), news (news.py), strategies that follow signals (strategies.py).

History and the latest bar are the same assets: a range of partitions, or the newest one.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field
from sqlalchemy import Engine, Table

from defiyield_assets.config.models import load_models
from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.domain.prices.calendars import closing_time, is_session
from defiyield_assets.domain.signals.followed import Settled, settled
from defiyield_assets.domain.signals.rules import news_verdict, row_problems
from defiyield_assets.domain.signals.types import NEWS_TYPE, SignalSettings
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.declarations import OWNERS, tell_progress, watched
from defiyield_assets.orchestration.lab.inputs import records
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.policies import ONE_RUN
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, PolicyResource, WarehouseResource
from defiyield_assets.orchestration.signal_asking import Made, Speaker, model_signals, stub_signals
from defiyield_assets.orchestration.signal_inputs import (
    Asked,
    Questions,
    asked_instruments,
    read_questions,
    sentiment_at,
)
from defiyield_assets.orchestration.steps import own_asset, own_metadata
from defiyield_assets.settings import load_settings
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.signals import rewrite

GROUP, SPEC = "signals", "market.md#news-and-ai-signals"
TOLD_EVERY = 20
"""Questions between two words about how far it is."""
SHOWN = ["instrument_id", "date", "signal_type", "status", "signal", "confidence", "stop_loss_price", "target_price"]


def folder_of(policy: PolicyResource) -> Path | None:
    """The user's configuration folder."""
    return policy.folder


def _daily_asset(
    table: Table, deps: tuple[str, ...], *, kinds: tuple[str, ...]
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare the one writer of a table, by day; it is no part of the treasury's day, whose register (degradation.py)
    does not know it.
    """

    def declare(fn: Callable[..., Any]) -> dg.AssetsDefinition:
        return dg.asset(
            watched(table.name)(fn),
            name=table.name,
            description=" ".join((fn.__doc__ or "").split()),
            partitions_def=DAILY,
            backfill_policy=ONE_RUN,
            deps=list(deps),
            group_name=GROUP,
            kinds=set(kinds),
            owners=OWNERS,
            metadata=own_metadata(table, SPEC),
        )

    return declare


@own_asset(schema.signal_types, group=GROUP, deps=("migrations",), kinds=("yaml", "sql"), spec=SPEC)
def signal_types(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """Every kind of signal: one for each model of models.yaml, the stub, and news. One that is no longer listed stays,
    because signals name it.
    """
    engine = warehouse.engine
    current = [
        {**{name: getattr(one, name) for name in one.__dataclass_fields__}, "is_configured": True}
        for one in load_models(folder_of(policy)).types()
    ]
    frame = pd.DataFrame(current, columns=schema.signal_types.columns.keys())
    stored = reads.read_all(engine, schema.signal_types)
    old = stored[~stored["signal_type"].isin(set(frame["signal_type"]))].assign(is_configured=False)
    whole = pd.concat([frame, old], ignore_index=True) if len(old) else frame
    context.log.info("%d types of signals, %d no longer listed", len(frame), len(old))
    return report(writes.upsert(engine, schema.signal_types, whole), frame, no_longer_listed=len(old))


class Asking(dg.Config):
    """Whom to ask, and about what."""

    model: str | None = Field(default=None, description="A model of models.yaml, or stub; default: signal_model")
    instruments: list[str] = Field(default=[], description="Ids or symbols; empty: all of the configured universes")
    again: bool = Field(
        default=False, description="Follow the answer to the question as it is now, even where an earlier one was given"
    )


@_daily_asset(
    schema.ai_signals,
    ("daily_bars", "daily_features", "news_articles", "signal_types"),
    kinds=("python", "sql"),
)
def ai_signals(
    context: dg.AssetExecutionContext,
    config: Asking,
    warehouse: WarehouseResource,
    market: MarketResource,
    policy: PolicyResource,
) -> dg.MaterializeResult:
    """What one model says of every bar of the days: reply, status, prompt and raw answer. A run asks exactly one model,
    and nobody twice: the same question to the same weights has its stored answer. Bars whose host did not answer are
    `unavailable`. An answer is never taken back: one to a changed question is stored beside it, and followed only when
    the run is told to.
    """
    days, engine = day_range(context), warehouse.engine
    settings = load_models(folder_of(policy))
    kind = settings.chosen(config.model or load_settings().signal_model)
    _require_type(engine, kind.signal_type)
    asked = asked_instruments(engine, settings, config.instruments)
    questions = read_questions(engine, days, settings, asked, folder_of(policy))
    where = {"model": str(kind.model), "instrument_id": [one.instrument_id for one in asked]}

    speaker = Speaker(kind, settings)
    if kind.is_stub:
        made = stub_signals(questions.asked, speaker)
    else:
        stored = reads.read_days(engine, schema.ai_signals, days, where)

        def progress(done: int, total: int) -> None:
            if done % TOLD_EVERY == 0 or done == total:
                tell_progress("ai_signals", f"{done} of {total} bars")

        async def question(gateway: Gateway) -> Made:
            return await model_signals(gateway, questions.asked, speaker, stored, progress)

        made = market.ask(engine, days.end, question)
    frame = _checked(made.frame())
    put: list[Settled] = []

    def decide(there: pd.DataFrame) -> pd.DataFrame:
        put[:] = [settled(records(there), made.rows, is_again=config.again)]
        return pd.DataFrame(put[0].rows, columns=schema.ai_signals.columns.keys())

    receipt = rewrite(engine, schema.ai_signals, days, where, decide)
    return report(
        receipt,
        frame[SHOWN],
        counts=made.counts(),
        model=kind.model,
        n_cached=made.n_cached,
        n_kept=put[0].n_kept,
        n_beside=put[0].n_beside,
        n_without_bar=len(questions.without_bar),
        n_without_features=len(questions.without_features),
        n_unread_news=len(questions.unread_news),
        degraded="; ".join(_wanting(made, questions, str(kind.model))) or None,
    )


def _wanting(made: Made, questions: Questions, model: str) -> Iterator[str]:
    """What is not as it should be with a run, in words."""
    if made.failure is not None:
        yield f"{model} does not answer: {made.failure}"
    if questions.wanting is not None:
        yield questions.wanting


def _require_type(engine: Engine, name: str) -> None:
    if reads.read_all(engine, schema.signal_types, {"signal_type": name}).empty:
        raise SuspiciousDataError(f"signal_types has no {name!r}: materialise signal_types first")


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame; SuspiciousDataError where a row breaks a rule, and nothing is written."""
    problems = [words for broken in row_problems(frame).values() for words in broken]
    if problems:
        raise SuspiciousDataError(f"{len(problems)} signals break a rule; the first: {problems[0]}")
    return frame


@_daily_asset(
    schema.trading_signals,
    ("ai_signals", "news_sentiment", "daily_bars", "signal_types"),
    kinds=("pandas", "sql"),
)
def trading_signals(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """What strategies and paper trading follow: of every bar the followed answer of each model, and BUY, SELL or HOLD
    by the sentiment of the news where there was any, each as of the first instant at which one could act on it.
    """
    days, engine = day_range(context), warehouse.engine
    settings = load_models(folder_of(policy))
    types = reads.read_all(engine, schema.signal_types)
    cutoffs = dict(zip(types["signal_type"], types["training_cutoff"], strict=True))
    of_news = _of_news(engine, days, settings) if NEWS_TYPE in cutoffs else []
    frame = pd.DataFrame()

    def decide(told: pd.DataFrame) -> pd.DataFrame:
        nonlocal frame
        rows = [*(_of_model(row, cutoffs) for row in records(told)), *of_news]
        frame = _checked(pd.DataFrame(rows, columns=schema.trading_signals.columns.keys()))
        return frame

    receipt = rewrite(engine, schema.trading_signals, days, {"is_followed": True}, decide)
    counts = {f"n_{name}": int(n) for name, n in frame["signal_type"].value_counts().items()}
    return report(receipt, frame[SHOWN], counts=counts, n_actionable=int((frame["signal"] != "HOLD").sum()))


def _of_model(row: Mapping[str, Any], cutoffs: Mapping[str, Any]) -> dict[str, Any]:
    cutoff = cutoffs[row["signal_type"]]
    return {
        **{name: row[name] for name in ("instrument_id", "signal_type", "date", "bar_ts", "status", "signal")},
        **{name: row[name] for name in ("confidence", "close", "stop_loss_price", "target_price", "prompt_hash")},
        "decided_at": row["closed_at"],
        "actionable_from": pd.Timestamp(end_of(row["date"])),
        "training_cutoff": None if pd.isna(cutoff) else cutoff,
    }


def _of_news(engine: Engine, days: DayRange, settings: SignalSettings) -> list[dict[str, Any]]:
    """A signal for every bar of the days with news."""
    asked = {one.instrument_id: one for one in asked_instruments(engine, settings)}
    names = ["instrument_id", "date", "close"]
    bars = reads.read_days(engine, schema.daily_bars, days, {"instrument_id": list(asked)}, names) if asked else None
    if bars is None or bars.empty:
        return []
    bars = bars[_has_session(bars, asked)].sort_values(["date", "instrument_id"], ignore_index=True)
    pairs = zip(bars["instrument_id"], bars["date"], strict=True)
    closes = [(name, closing_time(asked[name].calendar, day)) for name, day in pairs]
    found = []
    for bar, (name, closed_at), told in zip(records(bars), closes, sentiment_at(engine, days, closes), strict=True):
        if told is None:
            continue
        verdict = news_verdict(*told)
        found.append(
            {
                "instrument_id": name,
                "decided_at": pd.Timestamp(closed_at),
                "signal_type": NEWS_TYPE,
                "date": bar["date"],
                "bar_ts": pd.Timestamp(start_of(bar["date"])),
                "actionable_from": pd.Timestamp(end_of(bar["date"])),
                "status": verdict.status,
                "signal": verdict.signal,
                "confidence": verdict.confidence,
                "close": float(bar["close"]),
            }
        )
    return found


def _has_session(bars: pd.DataFrame, asked: Mapping[str, Asked]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    pairs = zip(bars["instrument_id"], bars["date"], strict=True)
    return np.array([is_session(asked[name].calendar, day) for name, day in pairs], dtype=bool)
