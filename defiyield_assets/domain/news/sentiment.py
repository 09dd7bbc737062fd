"""Sentiment of an instrument at the end of every hour, from what was known by then and nothing later.

Lives here: scores of votes, their weighing with those of titles, hours. Not here: words (lexicon.py), articles
(articles.py), tables.

An hour ends at T. Its row rests on the articles known in [T - window, T) and on their votes as they were told by
T + GRACE; `known_at` says when that was: T, or the time of the newest votes in it. An article weighs half as much every
`half_life`. Rows of hours that are over never change by what is told later than that.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import GRACE
from defiyield_assets.domain.news.articles import Telling
from defiyield_assets.domain.news.coverage import Span
from defiyield_assets.domain.news.lexicon import Lexicon

HOUR = timedelta(hours=1)
REFRESHED = timedelta(hours=48)
"""Rows of the last two days are made anew by every run."""
OPINIONS = {"positive": 1, "liked": 1, "negative": -1, "disliked": -1, "toxic": -1}
"""Votes that say something good or bad of the news; the others say that people cared."""


@dataclass(frozen=True)
class Weighing:
    """How titles and votes make one number; `votes_prior`: so many undecided votes are added to those told."""

    window: timedelta = timedelta(hours=24)
    half_life: timedelta = timedelta(hours=6)
    lexicon_weight: float = 0.6
    votes_weight: float = 0.4
    votes_prior: float = 5.0


def ruler_of(lexicon: Lexicon, weighing: Weighing) -> str:
    """SHA-256 of the words and the weighing: scores of two rulers are no one series."""
    words, boosters = dict(lexicon.words), dict(lexicon.boosters)
    spans = (weighing.window.total_seconds(), weighing.half_life.total_seconds())
    weights = (weighing.lexicon_weight, weighing.votes_weight, weighing.votes_prior)
    told = {"words": words, "boosters": boosters, "negations": sorted(lexicon.negations)}
    return content_hash({**told, "weighing": [*spans, *weights]})


@dataclass(frozen=True)
class Opinion:
    """Votes of opinion on a post as told at an instant: their balance (good less bad) and number."""

    told_at: datetime
    balance: int
    number: int


@dataclass(frozen=True)
class Mention:
    """An article about an instrument: since when that was known, the tone of its title (None: none), its posts."""

    article_id: str
    known_at: datetime
    tone: float | None
    post_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class HourlySentiment:
    """One row of `news_sentiment`, without the instrument."""

    hour: datetime
    n_articles: int
    n_window: int
    n_votes: int
    lexicon_score: float | None
    votes_score: float | None
    combined: float | None
    known_at: datetime


def hour_of(instant: datetime) -> datetime:
    """The hour (UTC) that an instant lies in."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def opinions(tellings: Iterable[Telling], names: Sequence[str]) -> dict[str, list[Opinion]]:
    """Opinions by post in the order in which they were told; `names`: of the votes of a telling."""
    signs = [OPINIONS.get(name, 0) for name in names]
    found: dict[str, list[Opinion]] = {}
    for one in sorted(tellings, key=lambda telling: telling.told_at):
        if one.votes is None:
            continue
        balance = sum(sign * count for sign, count in zip(signs, one.votes, strict=True))
        number = sum(count for sign, count in zip(signs, one.votes, strict=True) if sign)
        found.setdefault(one.post_id, []).append(Opinion(one.told_at, balance, number))
    return found


def told_by(told: Sequence[Opinion], instant: datetime) -> Opinion | None:
    """The newest opinion told by the instant; None where none was."""
    place = bisect_right(told, instant, key=lambda one: one.told_at)
    return told[place - 1] if place else None


def votes_score(balance: int, number: int, prior: float) -> float | None:
    """Balance over number of votes, drawn to 0 by a prior of undecided ones; None without a vote."""
    return balance / (number + prior) if number else None


def combine(tone: float | None, votes: float | None, weighing: Weighing) -> float | None:
    """Both by their weights; the one that there is where the other is unknown."""
    if tone is None or votes is None:
        return votes if tone is None else tone
    weights = weighing.lexicon_weight + weighing.votes_weight
    return (weighing.lexicon_weight * tone + weighing.votes_weight * votes) / weights


def article_sentiment(
    mention: Mention, opinions_of: Mapping[str, Sequence[Opinion]], known_by: datetime, weighing: Weighing
) -> float | None:
    """Tone of one article's title and its votes as told by an instant, combined; None where neither says anything."""
    told = [found for post in mention.post_ids if (found := told_by(opinions_of.get(post, ()), known_by)) is not None]
    votes = votes_score(sum(one.balance for one in told), sum(one.number for one in told), weighing.votes_prior)
    return combine(mention.tone, votes, weighing)


def hourly(
    mentions: Sequence[Mention],
    opinions_of: Mapping[str, Sequence[Opinion]],
    hours: Iterable[datetime],
    weighing: Weighing,
) -> list[HourlySentiment]:
    """The rows of one instrument for these hours; none for an hour whose window holds no article."""
    ordered = sorted(mentions, key=lambda one: (one.known_at, one.article_id))
    times = [one.known_at for one in ordered]
    rows = []
    for hour in sorted(set(hours)):
        end = hour + HOUR
        first, last = bisect_left(times, end - weighing.window), bisect_left(times, end)
        if first < last:
            n_articles = last - bisect_left(times, hour)
            rows.append(_row(hour, ordered[first:last], n_articles, opinions_of, weighing))
    return rows


def _row(
    hour: datetime,
    window: Sequence[Mention],
    n_articles: int,
    opinions_of: Mapping[str, Sequence[Opinion]],
    weighing: Weighing,
) -> HourlySentiment:
    end = hour + HOUR
    tones: list[tuple[float, float]] = []
    balances: list[tuple[float, float]] = []
    n_votes, known_at = 0, end
    for one in window:
        weight = 0.5 ** ((end - one.known_at) / weighing.half_life)
        if one.tone is not None:
            tones.append((weight, one.tone))
        told = [found for post in one.post_ids if (found := told_by(opinions_of.get(post, ()), end + GRACE))]
        number = sum(found.number for found in told)
        score = votes_score(sum(found.balance for found in told), number, weighing.votes_prior)
        known_at = max([known_at, *(found.told_at for found in told)])
        if score is not None:
            balances.append((weight, score))
            n_votes += number
    tone, votes = _mean(tones), _mean(balances)
    combined = combine(tone, votes, weighing)
    return HourlySentiment(hour, n_articles, len(window), n_votes, tone, votes, combined, known_at)


def _mean(weighted: Sequence[tuple[float, float]]) -> float | None:
    """Weighted mean; None of nothing."""
    total = math.fsum(weight for weight, _ in weighted)
    return math.fsum(weight * value for weight, value in weighted) / total if total else None


def hours_read(spans: Sequence[Span]) -> list[Span]:
    """Whole hours that lie in the spans, as spans from the first instant of the first to the end of the last."""
    found = []
    for span in spans:
        start = hour_of(span.start)
        start = start if start == span.start else start + HOUR
        end = hour_of(span.end)
        if start < end:
            found.append(Span(start, end))
    return found


def missing_hours(
    mentions: Sequence[Mention], stored: Mapping[datetime, int], spans: Sequence[Span], weighing: Weighing
) -> set[datetime]:
    """Hours of an instrument without a right row: read to their end, with an article in their window, but without a
    row, or over articles that no row has counted (`stored`: hour -> n_articles).
    """
    (counted, held), read = _windows(mentions, weighing), hours_read(spans)
    miscounted = {hour for hour, number in counted.items() if number != stored.get(hour, 0) and _is_read(hour, read)}
    return {
        hour
        for hour, of_window in held.items()
        if (hour not in stored or of_window & miscounted) and _is_read(hour, read)
    }


def due_hours(
    mentions: Sequence[Mention], stored: Mapping[datetime, int], spans: Sequence[Span], weighing: Weighing
) -> set[datetime]:
    """Hours of an instrument whose row is to be made: the missing ones, and those of the last REFRESHED, whose votes
    may have been told since.
    """
    read = hours_read(spans)
    if not read:
        return set()
    fresh = max(span.end for span in read) - REFRESHED
    _, held = _windows(mentions, weighing)
    recent = {hour for hour in held if hour >= fresh and _is_read(hour, read)}
    return recent | missing_hours(mentions, stored, spans, weighing)


def _windows(
    mentions: Sequence[Mention], weighing: Weighing
) -> tuple[dict[datetime, int], dict[datetime, set[datetime]]]:
    """Articles by the hour in which they became known; hour -> the hours of the articles in its window."""
    counted: dict[datetime, int] = {}
    held: dict[datetime, set[datetime]] = {}
    for one in mentions:
        hour = hour_of(one.known_at)
        counted[hour] = counted.get(hour, 0) + 1
        following = hour
        while following + HOUR - weighing.window <= one.known_at:
            held.setdefault(following, set()).add(hour)
            following += HOUR
    return counted, held


def _is_read(hour: datetime, read: Sequence[Span]) -> bool:
    return any(span.start <= hour and hour + HOUR <= span.end for span in read)
