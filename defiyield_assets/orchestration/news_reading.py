"""One reading of news: which feed, how far back, what the warehouse knows of it already, and the rows that it makes.

Lives here: between the client's posts and the tables. Not here: the asset (assets/news.py), the rules (domain/news),
SQL (store/news.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import start_of, utc_day
from defiyield_assets.domain.news.articles import (
    VOTES,
    Article,
    CodeLink,
    Merged,
    Stored,
    Telling,
    address_of,
    code_links,
    instruments_by_code,
    merge,
    unknown_codes,
)
from defiyield_assets.domain.news.canonical_urls import article_id
from defiyield_assets.domain.news.coverage import Span, holes, read_until, union
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.settings import Settings
from defiyield_assets.sources.cryptopanic import CryptoPanic, Feed, Reading
from defiyield_assets.sources.transport import Gateway, Window
from defiyield_assets.store import news, reads, schema

VENDOR = "cryptopanic"
REUSED = timedelta(minutes=15)
"""Answers so young are as good as new ones: a reading that broke off goes on with the pages that it has paid for."""
Rows = dict[Table, pd.DataFrame]


@dataclass(frozen=True)
class Question:
    """What is read: a feed as of `day` (`stamp` of the market), back to `until`; `spans` were read before."""

    feed: Feed
    day: date
    stamp: datetime
    until: datetime
    spans: tuple[Span, ...]


def feed_of(settings: Settings) -> Feed:
    """The feed that the settings ask for."""
    return Feed(_listed(settings.news_currencies.upper()), _listed(settings.news_regions))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))


def present_day(engine: Engine, market: MarketResource, through: date | None) -> date | None:
    """The day as of which a market is asked: the running one when live; in a closed loop the day asked for, or the
    newest that has bars. None where no day has run yet.
    """
    if market.market == "live":
        today = utc_day(market.stamp(date.max))
        if through is not None and through < today - timedelta(days=1):
            raise ConfigurationError(
                f"news of a live market are read from now backwards: leave the last day {through} out, and give the "
                f"first one to read further back"
            )
        return today
    return through or reads.newest_day(engine, schema.daily_bars, on_or_before=date(9998, 12, 31))


def question_of(
    engine: Engine, market: MarketResource, settings: Settings, since: date | None, through: date | None
) -> Question | None:
    """What is to be read now; None in a closed loop of which no day has run yet."""
    day = present_day(engine, market, through)
    if day is None:
        return None
    stamp, feed = market.stamp(day), feed_of(settings)
    spans = spans_of(engine, feed.name)
    first = stamp - timedelta(days=settings.news_first_days)
    until = read_until(spans, stamp, first, timedelta(hours=settings.news_reread_hours))
    if since is not None:
        if start_of(since) > stamp:
            raise ConfigurationError(
                f"news since {since} are not there yet: the market stands at {stamp:%Y-%m-%d %H:%M}"
            )
        until = start_of(since)
    return Question(feed, day, stamp, until, tuple(spans))


def spans_of(engine: Engine, feed: str | None = None) -> list[Span]:
    """The time of which a feed, by its name, was read; None: any feed."""
    rows = reads.read_all(engine, schema.news_coverage, None if feed is None else {"feed": feed})
    pairs = zip(rows["read_from"], rows["read_through"], strict=True)
    return union(Span(start.to_pydatetime(), end.to_pydatetime()) for start, end in pairs)


def read_news_feed(
    engine: Engine, market: MarketResource, asked: Question, max_pages: int, told: Callable[[int, int], None]
) -> Reading:
    """Ask the vendor. VendorError of the right class when it does not tell; nothing was written then, and what was told
    until then is archived.
    """

    async def question(gateway: Gateway) -> Reading:
        present = gateway.present()
        reuse = Window(present - REUSED, present)
        return await CryptoPanic(gateway).posts(asked.feed, asked.until, max_pages=max_pages, reuse=reuse, told=told)

    return market.ask(engine, asked.day, question)


def span_of(reading: Reading, asked: Question) -> Span:
    """The time of which a reading has read every post: down to what was asked for, or to its oldest post. A feed that
    has no post at all was read whole.
    """
    end = reading.first_told_at
    is_empty = reading.is_exhausted and reading.oldest is None and asked.feed.filter is None
    start = asked.until if reading.is_complete or is_empty else (reading.oldest or end)
    return Span(min(start, end), end)


def hole_behind(reading: Reading, asked: Question) -> Span | None:
    """What was neither read now nor before, between the new reading and the one before it."""
    new = span_of(reading, asked)
    return next((hole for hole in holes([*asked.spans, new]) if hole.end == new.start), None)


def stored_of(engine: Engine, reading: Reading, asked: Question) -> Stored:
    """What the warehouse holds of the posts of a reading."""
    votes = news.votes_of_posts(engine, {post.post_id for post in reading.posts})
    tellings = tellings_of(votes)
    article_of = {one.post_id: one.article_id for one in tellings}
    wanted = {article_id(address_of(post)) for post in reading.posts} | set(article_of.values())
    by_post: dict[str, list[Telling]] = {}
    for one in tellings:
        by_post.setdefault(one.post_id, []).append(one)
    found = {one.article_id: one for one in articles_of(news.articles_with(engine, wanted))}
    return Stored(found, article_of, by_post, asked.spans)


def made_of(engine: Engine, reading: Reading, asked: Question) -> tuple[Merged, Rows]:
    """What a reading makes of what is stored, and the rows to write. To be called under the tables' lock."""
    merged = merge(reading.posts, stored_of(engine, reading, asked))
    listed = reads.read_all(engine, schema.instruments)
    instruments = instruments_by_code(zip(listed["instrument_id"], listed["type"], listed["symbol"], strict=True))
    articles = {one.article_id: one for one in merged.articles}
    links = list(merged.links)
    unlinked = articles_of(news.articles_with_unknown_codes(engine))
    linked = news.linked_codes(engine, {one.article_id for one in unlinked})
    for one in unlinked:
        # A code that has become an instrument's since.
        told = [link for link in code_links(one) if link.code in instruments]
        late = [link for link in told if (link.article_id, link.code) not in linked]
        links += late
        if late:
            articles.setdefault(one.article_id, one)
    span = span_of(reading, asked)
    joined = [one for one in union([*asked.spans, span]) if one.start <= span.start <= one.end]
    return merged, {
        schema.news_articles: article_rows(articles.values(), instruments),
        schema.news_votes: vote_rows(merged.tellings),
        schema.news_instrument_links: link_rows(links, instruments),
        schema.news_coverage: pd.DataFrame(
            {
                "feed": [asked.feed.name for _ in joined],
                "read_from": pd.to_datetime([one.start for one in joined], utc=True),
                "read_through": pd.to_datetime([one.end for one in joined], utc=True),
                "told_at": pd.to_datetime([max(reading.last_told_at, one.end) for one in joined], utc=True),
            }
        ),
    }


def articles_of(rows: pd.DataFrame) -> list[Article]:
    """Articles of rows of `news_articles`."""
    return [
        Article(
            **{name: row[name] for name in ("article_id", "url", "title", "source", "source_domain", "region", "kind")},
            is_title_cut=bool(row["is_title_cut"]),
            published_at=row["published_at"].to_pydatetime(),
            listed_at=None if pd.isna(row["listed_at"]) else row["listed_at"].to_pydatetime(),
            known_at=row["known_at"].to_pydatetime(),
            first_told_at=row["first_told_at"].to_pydatetime(),
            last_told_at=row["last_told_at"].to_pydatetime(),
            post_ids=_parts(row["post_ids"]),
            codes=_parts(row["codes"]),
            codes_known=tuple(datetime.fromisoformat(part) for part in _parts(row["codes_known"])),
        )
        for row in rows.to_dict("records")
    ]


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def tellings_of(rows: pd.DataFrame) -> list[Telling]:
    """Votes as told, of rows of `news_votes`."""
    return [
        Telling(
            row["post_id"], row["told_at"].to_pydatetime(), row["article_id"], _counts([row[name] for name in VOTES])
        )
        for row in rows.to_dict("records")
    ]


def _counts(cells: Sequence[Any]) -> tuple[int, ...] | None:
    """The nine counts of a row; None where the post was told without."""
    return None if any(pd.isna(cell) for cell in cells) else tuple(int(cell) for cell in cells)


def article_rows(articles: Iterable[Article], instruments: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Rows of `news_articles`."""
    table = schema.news_articles
    rows = [
        {
            **{name: getattr(one, name) for name in table.columns.keys() if hasattr(one, name)},  # noqa: SIM118
            "date": utc_day(one.published_at),
            "post_ids": ",".join(one.post_ids),
            "codes": ",".join(one.codes),
            "codes_known": ",".join(known_at.isoformat() for known_at in one.codes_known),
            "n_unknown_codes": len(unknown_codes(one.codes, instruments)),
        }
        for one in articles
    ]
    return _frame(table, rows)


def vote_rows(tellings: Iterable[Telling]) -> pd.DataFrame:
    """Rows of `news_votes`."""
    rows = [
        {
            "post_id": one.post_id,
            "told_at": one.told_at,
            "date": utc_day(one.told_at),
            "article_id": one.article_id,
            **dict(zip(VOTES, one.votes or [None] * len(VOTES), strict=True)),
        }
        for one in tellings
    ]
    return _frame(schema.news_votes, rows).astype(dict.fromkeys(VOTES, object))


def link_rows(links: Iterable[CodeLink], instruments: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Rows of `news_instrument_links`: of every instrument of every code that is one."""
    rows = [
        {
            "article_id": one.article_id,
            "instrument_id": instrument,
            "date": utc_day(one.known_at),
            "code": one.code,
            "known_at": one.known_at,
        }
        for one in links
        for instrument in instruments.get(one.code, ())
    ]
    return _frame(schema.news_instrument_links, rows)


def _frame(table: Table, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Rows as a frame of a table, stamps as such."""
    frame = pd.DataFrame(rows, columns=[column.name for column in table.columns])
    stamps = [name for name in frame.columns if name.endswith("_at")]
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in stamps})
