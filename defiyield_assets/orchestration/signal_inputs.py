"""What signals are asked about: the last bars, features and headlines of every instrument on every day of a range.

Lives here: reading, as of the close of each bar. Not here: the words of a question (domain/signals/prompts.py), asking
(signal_asking.py), the assets (assets/signals.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.domain.market.features.inputs import MASKED_GAP
from defiyield_assets.domain.news.coverage import Span
from defiyield_assets.domain.prices.calendars import closing_time, is_session
from defiyield_assets.domain.signals.prompts import (
    BARS,
    FEATURES,
    HEADLINES,
    NEWS_HOURS,
    Headline,
    PromptBar,
    Question,
)
from defiyield_assets.domain.signals.types import SignalSettings
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET
from defiyield_assets.orchestration.lab.inputs import records
from defiyield_assets.orchestration.news_inputs import NewsBefore, read_news
from defiyield_assets.orchestration.news_reading import spans_of
from defiyield_assets.store import reads, schema

DAYS_OF_BARS = 14
"""Days that hold BARS sessions, holidays and all."""
BAR_COLUMNS = ("instrument_id", "date", "open", "high", "low", "close", "adj_factor", "volume_usd", "quality")


@dataclass(frozen=True)
class Asked:
    """An instrument that signals are made for."""

    instrument_id: str
    symbol: str
    kind: str
    calendar: str


def asked_instruments(engine: Engine, settings: SignalSettings, only: Collection[str] = ()) -> list[Asked]:
    """Instruments of the configured universes, ordered, or those of `only` among them.

    ConfigurationError for a name in `only` that is none of them, by id or symbol.
    """
    listed = reads.read_all(engine, schema.instruments)
    listed = listed[listed["universe"].isin(settings.universes)].sort_values("instrument_id")
    columns = (listed[name] for name in ("instrument_id", "symbol", "type", "calendar"))
    found = [Asked(*map(str, row)) for row in zip(*columns, strict=True)]
    if not only:
        return found
    names = {one.instrument_id for one in found} | {one.symbol for one in found}
    unknown = sorted(set(only) - names)
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!r} is no instrument of {', '.join(settings.universes)} (models.yaml); known: "
            f"{', '.join(one.instrument_id for one in found) or 'none, materialise instruments first'}"
        )
    return [one for one in found if one.instrument_id in only or one.symbol in only]


@dataclass(frozen=True)
class Questions:
    """Questions ordered by day and instrument, and the bars that cannot be asked about yet, as "instrument day": a
    session's bar that is not there though earlier ones are, a bar that has no row of features. `unread_news`: bars of
    coins that were asked about, before whose close somebody had not read all news.
    """

    asked: tuple[Question, ...] = ()
    without_bar: tuple[str, ...] = ()
    without_features: tuple[str, ...] = ()
    unread_news: tuple[str, ...] = ()

    @property
    def wanting(self) -> str | None:
        """What is missing, in words."""
        told = {"bars": self.without_bar, "features": self.without_features}
        words = [f"{len(names)} {what} are not there, such as {names[-1]}" for what, names in told.items() if names]
        return f"{'; '.join(words)}: nobody was asked about them" if words else None


def read_questions(
    engine: Engine, days: DayRange, settings: SignalSettings, asked: Sequence[Asked], config_dir: Path | None = None
) -> Questions:
    """One question for every bar with features of these instruments in the range.

    A question holds what was known when its bar closed: bars and features up to it, headlines published and listed
    before. Bars are in the scale of its own raw prices, so that a later split changes no question.
    """
    names = [one.instrument_id for one in asked]
    if not names:
        return Questions()
    bars = reads.read_days(engine, schema.daily_bars, days.back(DAYS_OF_BARS), {"instrument_id": names}, BAR_COLUMNS)
    since = start_of(days.start) - timedelta(hours=NEWS_HOURS)
    news = read_news(engine, names, since, end_of(days.end), config_dir)
    known = _Known(_features(engine, days, names), news, tuple(spans_of(engine)))
    by_name = dict(tuple(bars.sort_values("date").groupby("instrument_id", sort=False)))
    found: list[Question] = []
    for one in asked:
        if one.instrument_id in by_name:
            found += list(_questions(one, by_name[one.instrument_id], days, known, settings.horizon_days))
    found.sort(key=lambda question: (question.day, question.instrument_id))
    there = {(str(name), day) for name, day in zip(bars["instrument_id"], bars["date"], strict=True)}
    begun = {str(name): min(own["date"]) for name, own in by_name.items()}
    sessions = [
        (day, one.instrument_id)
        for day in days
        for one in asked
        if one.instrument_id in begun and day >= begun[one.instrument_id] and is_session(one.calendar, day)
    ]
    without_bar = [f"{name} {day}" for day, name in sessions if (name, day) not in there]
    bare = [f"{name} {day}" for day, name in sessions if (name, day) in there and (name, day) not in known.features]
    unread = [
        f"{question.instrument_id} {question.day}"
        for question in found
        if question.kind == "crypto" and not known.is_read(question.closed_at)
    ]
    return Questions(tuple(found), tuple(without_bar), tuple(bare), tuple(unread))


@dataclass(frozen=True)
class _Known:
    """What is known of bars beside themselves: features by (instrument, day), news, and the time of which these were
    read.
    """

    features: Mapping[tuple[str, date], Mapping[str, float | None]]
    news: NewsBefore
    spans: Sequence[Span]

    def headlines(self, instrument_id: str, closed_at: datetime) -> tuple[Headline, ...] | None:
        """Headlines before a close that are known; None where there is none and not all news of that time were read."""
        told = self.news.recent(instrument_id, closed_at, hours=NEWS_HOURS, most=HEADLINES)
        if not told and not self.is_read(closed_at):
            return None
        return tuple(Headline(line.published_at, line.source, line.title) for line in told)

    def is_read(self, closed_at: datetime) -> bool:
        """Whether all news before a close, as far back as a question tells them, were read."""
        first = closed_at - timedelta(hours=NEWS_HOURS)
        return any(span.start <= first and closed_at <= span.end for span in self.spans)


def _questions(
    one: Asked,
    bars: pd.DataFrame,
    days: DayRange,
    known: _Known,
    horizon_days: int,
) -> Iterator[Question]:
    rows = records(bars)
    for number, row in enumerate(rows):
        day = row["date"]
        features = known.features.get((one.instrument_id, day))
        if day not in days or features is None or not is_session(one.calendar, day):
            continue
        closed_at = closing_time(one.calendar, day)
        yield Question(
            one.instrument_id,
            one.symbol,
            one.kind,
            tuple(_bar(other, row["adj_factor"]) for other in rows[max(0, number + 1 - BARS) : number + 1]),
            features,
            known.headlines(one.instrument_id, closed_at) if one.kind == "crypto" else None,
            closed_at,
            horizon_days,
        )


def _bar(row: Mapping[str, Any], factor: float) -> PromptBar:
    """A bar in the scale of the raw prices of the bar with this factor."""
    scale = float(row["adj_factor"]) / float(factor)

    def price(name: str) -> float | None:
        return None if pd.isna(row[name]) else float(row[name]) * scale

    opened = None if row["quality"] == MASKED_GAP else price("open")
    volume = None if pd.isna(row["volume_usd"]) else float(row["volume_usd"])
    return PromptBar(row["date"], opened, price("high"), price("low"), float(row["close"]) * scale, volume)


def _features(engine: Engine, days: DayRange, names: Sequence[str]) -> dict[tuple[str, date], dict[str, float | None]]:
    where = {"instrument_id": list(names), "feature_set": FEATURE_SET}
    stored = reads.read_days(engine, schema.daily_features, days, where, ["instrument_id", "date", *FEATURES])
    found = {}
    for row in records(stored):
        figures = {name: None if pd.isna(row[name]) else float(row[name]) for name in FEATURES}
        found[(str(row["instrument_id"]), row["date"])] = figures
    return found


# --- news ----------------------------------------------------------------------------------------------------------
NEWEST_HOURS = 6.0
"""How old a row of sentiment may be when the bar closes; an older one says nothing of the day."""


def sentiment_at(
    engine: Engine, days: DayRange, questions: Sequence[tuple[str, datetime]]
) -> list[tuple[float | None, int] | None]:
    """Sentiment and number of articles as known when each bar closed, (instrument, close) in order; None: no news.

    The newest hour that was over and known by then, at most NEWEST_HOURS old.
    """
    names = sorted({name for name, _ in questions})
    stored = reads.read_days(engine, schema.news_sentiment, days.back(1), {"instrument_id": names}) if names else None
    if stored is None or stored.empty:
        return [None] * len(questions)
    by_name = {str(name): own.sort_values("hour") for name, own in stored.groupby("instrument_id")}
    found: list[tuple[float | None, int] | None] = []
    for name, closed_at in questions:
        own = by_name.get(name)
        row = None if own is None else _newest(own, pd.Timestamp(closed_at))
        found.append(row)
    return found


def _newest(own: pd.DataFrame, closed_at: pd.Timestamp) -> tuple[float | None, int] | None:
    ends = own["hour"] + pd.Timedelta(hours=1)
    is_there = (ends <= closed_at) & (own["known_at"] <= closed_at)
    is_there &= ends >= closed_at - pd.Timedelta(hours=NEWEST_HOURS)
    rows = np.flatnonzero(is_there.to_numpy(bool))
    if not len(rows):
        return None
    row = own.iloc[int(rows[-1])]
    return (None if pd.isna(row["combined"]) else float(row["combined"]), int(row["n_window"]))
