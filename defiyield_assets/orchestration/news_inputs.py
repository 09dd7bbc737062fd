"""News as of a time, for whoever decides on them: titles of an instrument that were published and known before.

Lives here: reading articles and votes once for a range of bars, and looking them up. Not here: the hourly scores
(assets/news.py), prompts (domain/signals).
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.config.news_lexicon import load_news_lexicon
from defiyield_assets.domain.news.articles import VOTES
from defiyield_assets.domain.news.lexicon import Lexicon
from defiyield_assets.domain.news.sentiment import Mention, Opinion, Weighing, article_sentiment, opinions
from defiyield_assets.orchestration.news_reading import tellings_of
from defiyield_assets.store import news

LOOK_BACK_HOURS = 72.0


@dataclass(frozen=True)
class NewsLine:
    """One article as it may be quoted. `title` is data of strangers; `sentiment` (-1 to 1) by its words and its votes
    as told by then, None where neither says anything."""

    title: str
    source: str
    published_at: datetime
    sentiment: float | None


@dataclass(frozen=True)
class _Article:
    published_at: datetime
    title: str
    source: str
    mention: Mention


@dataclass(frozen=True)
class NewsBefore:
    """Articles by instrument in the order in which they became known, with their votes."""

    articles: Mapping[str, Sequence[_Article]] = field(default_factory=dict)
    opinions_of: Mapping[str, Sequence[Opinion]] = field(default_factory=dict)
    weighing: Weighing = field(default_factory=Weighing)

    def recent(
        self,
        instrument_id: str,
        published_before: datetime,
        known_by: datetime | None = None,
        *,
        hours: float = LOOK_BACK_HOURS,
        most: int = 10,
    ) -> list[NewsLine]:
        """Articles of an instrument published in the `hours` before `published_before` and known by `known_by`
        (by default the same time), newest first, at most `most`. Their votes are those told by `known_by`.
        """
        known = published_before if known_by is None else known_by
        own = self.articles.get(instrument_id, ())
        seen = own[: bisect_right(own, known, key=lambda one: one.mention.known_at)]
        first = published_before - timedelta(hours=hours)
        found = [one for one in seen if first <= one.published_at < published_before]
        found.sort(key=lambda one: (one.published_at, one.mention.article_id), reverse=True)
        return [
            NewsLine(
                one.title,
                one.source,
                one.published_at,
                article_sentiment(one.mention, self.opinions_of, known, self.weighing),
            )
            for one in found[:most]
        ]


def read_news(
    engine: Engine,
    instrument_ids: Collection[str],
    since: datetime,
    through: datetime,
    config_dir: Path | None = None,
) -> NewsBefore:
    """What `NewsBefore.recent` may be asked of these instruments between `since` (the earliest time that is looked back
    to) and `through` (the latest time by which something is known). One read of the warehouse.
    """
    lexicon, weighing = load_news_lexicon(config_dir)
    rows = news.articles_known(engine, since, through, instrument_ids)
    tellings = tellings_of(news.votes_of_articles(engine, set(rows["article_id"]), through))
    found: dict[str, list[_Article]] = {}
    for row in rows.to_dict("records"):
        mention = mention_of(row, lexicon)
        article = _Article(_utc(row["published_at"]), str(row["title"]), str(row["source"]), mention)
        found.setdefault(str(row["instrument_id"]), []).append(article)
    for own in found.values():
        own.sort(key=lambda one: (one.mention.known_at, one.mention.article_id))
    return NewsBefore(found, opinions(tellings, VOTES), weighing)


def mention_of(row: Mapping[Any, Any], lexicon: Lexicon) -> Mention:
    """An article about an instrument, of a row of `store.news.articles_known`."""
    posts = tuple(part for part in str(row["post_ids"]).split(",") if part)
    return Mention(str(row["article_id"]), _utc(row["link_known_at"]), lexicon.score(str(row["title"])), posts)


def _utc(value: object) -> datetime:
    found: datetime = pd.Timestamp(value).to_pydatetime()  # type: ignore[arg-type]
    return found
