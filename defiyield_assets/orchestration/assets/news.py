"""Assets of news: articles with their votes and instruments, and the sentiment that they make by the hour.

Lives here: wiring of sources/cryptopanic.py and domain/news. Not here: how far back is read and which rows come of it
(news_reading.py), news as of a time (news_inputs.py), signals made of them (signals.py).

Neither has a day: every run goes on where the last one stopped (`news_coverage` holds the watermark), or further back
when it is told to.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field
from sqlalchemy import Engine, Table

from defiyield_assets.config.news_lexicon import load_news_lexicon
from defiyield_assets.domain.days import GRACE, utc_day
from defiyield_assets.domain.news.articles import VOTES
from defiyield_assets.domain.news.lexicon import Lexicon
from defiyield_assets.domain.news.sentiment import HOUR, Mention, Weighing, due_hours, hourly, opinions, ruler_of
from defiyield_assets.domain.outcomes import DEGRADED, NOT_CONFIGURED
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.declarations import tell_progress
from defiyield_assets.orchestration.degradation import declare_step
from defiyield_assets.orchestration.news_inputs import mention_of
from defiyield_assets.orchestration.news_reading import (
    VENDOR,
    Question,
    hole_behind,
    made_of,
    question_of,
    read_news_feed,
    spans_of,
    tellings_of,
)
from defiyield_assets.orchestration.policies import RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, PolicyResource, WarehouseResource
from defiyield_assets.orchestration.steps import own_asset, own_spec, own_step
from defiyield_assets.settings import load_settings
from defiyield_assets.sources.cryptopanic import Reading
from defiyield_assets.store import news, schema, writes

GROUP = "news"
STEP = "news_tables"
SPEC = "market.md#news-and-ai-signals"
TOLD_EVERY = 10
WITHOUT = "what was read before stays, signals and prompts go without newer news"
TABLES = {
    schema.news_articles: "Articles by canonical address, read from the vendor's feed back to the watermark.",
    schema.news_votes: "Votes on posts whenever they had changed, so that it is known what was told when.",
    schema.news_instrument_links: "Instruments that articles are about, by the codes that posts name.",
    schema.news_coverage: "Which time was read of a feed: its watermark, and holes that nobody has read.",
}
Results = tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]
declare_step(STEP, [table.name for table in TABLES], ["instruments"])
declare_step(schema.news_sentiment.name, [schema.news_sentiment.name], [table.name for table in TABLES])


class NewsToRead(dg.Config):
    """How far back a reading goes; without anything it goes on where the last one stopped."""

    since: str | None = Field(default=None, description="First day to read, such as 2025-05-01")
    through: str | None = Field(
        default=None, description="Day as of which a simulated market is asked; default: the newest with bars"
    )

    def day(self, name: str) -> date | None:
        """One of both dates; ConfigurationError for text that is none."""
        text = getattr(self, name)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError as error:
            raise ConfigurationError(f"{name} is {text!r}; a date is written 2025-06-05") from error


@dg.multi_asset(
    name=STEP,
    specs=[
        own_spec(table, words, group=GROUP, deps=["instruments"], kinds=("python", "sql"), spec=SPEC)
        for table, words in TABLES.items()
    ],
    retry_policy=RETRY_INGESTION,
    pool=VENDOR,
)
@own_step(STEP, RETRY_INGESTION)
def news_tables(
    context: dg.AssetExecutionContext, config: NewsToRead, warehouse: WarehouseResource, market: MarketResource
) -> Results:
    """Read the feed down to the watermark and a little further (votes grow), and write it all in one transaction."""
    engine, settings = warehouse.engine, load_settings()
    if not market.has_key(VENDOR):
        reason = f"{market.why_not_asked(VENDOR)}; {WITHOUT}"
        context.log.warning("news are degraded: %s", reason)
        return _untouched(warehouse, reason, NOT_CONFIGURED)
    asked = question_of(engine, market, settings, config.day("since"), config.day("through"))
    if asked is None:
        reason = f"no day of the {market.market} market has run yet, so there is no present to ask for"
        context.log.warning("news are degraded: %s", reason)
        return _untouched(warehouse, reason, DEGRADED)

    def told(pages: int, posts: int) -> None:
        if pages % TOLD_EVERY == 0:
            context.log.info("%d pages, %d posts so far, back to %s wanted", pages, posts, asked.until)
            tell_progress(STEP, f"{pages} pages, {posts} posts")

    reading = read_news_feed(engine, market, asked, settings.news_max_pages, told)
    made: list[Any] = []

    def decide() -> Mapping[Table, pd.DataFrame]:
        merged, rows = made_of(engine, reading, asked)
        made[:] = [merged, rows]
        return rows

    receipts = news.keep(engine, decide)
    merged, rows = made
    frame = rows[schema.news_articles]
    unknown = frame.loc[frame["n_unknown_codes"] > 0, "codes"]
    degraded = "; ".join(_wanting(reading, asked)) or None
    if degraded is not None:
        context.log.warning("news are degraded: %s", degraded)
    counts = {
        "pages": reading.n_pages,
        "posts": len(reading),
        "new_articles": merged.n_new,
        "articles_with_unknown_codes": len(unknown),
        "not_yet_due": merged.n_undue,
        "unreadable_posts": len(reading.unreadable),
        "posts_with_odd_votes": reading.n_odd_votes,
        "read_back_to": asked.until.isoformat(),
        "read_at": reading.first_told_at.isoformat(),
        "feed": asked.feed.name,
    }
    shown = frame[["published_at", "source", "title", "codes"]]
    first, *others = TABLES
    articles = report(receipts[first.name], shown, asset=first.name, degraded=degraded, counts=counts)
    votes, links, coverage = (report(receipts[table.name], rows[table], asset=table.name) for table in others)
    return articles, votes, links, coverage


def _wanting(reading: Reading, asked: Question) -> Iterator[str]:
    """What is not as it should be with a reading, in words."""
    hole = hole_behind(reading, asked)
    if hole is not None:
        reach = f"{reading.n_pages} pages reach back to {hole.end:%Y-%m-%d %H:%M} only"
        remedy = f"run `defiyield news update --from {hole.start:%Y-%m-%d}` with a larger DEFIYIELD_NEWS_MAX_PAGES"
        why = "the vendor tells nothing older" if reading.is_exhausted else remedy
        yield f"{reach}; nothing was read since {hole.start:%Y-%m-%d %H:%M}: {why}"
    if reading.unreadable:
        yield f"{len(reading.unreadable)} posts cannot be read and are left out; the first: {reading.unreadable[0]}"
    if reading.n_odd_votes:
        yield f"votes on {reading.n_odd_votes} posts cannot be read and are unknown"


def _untouched(warehouse: WarehouseResource, reason: str, kind: str) -> Results:
    """Nothing written, one reason why."""
    results = []
    for table in TABLES:
        empty = pd.DataFrame(columns=[column.name for column in table.columns])
        receipt = writes.insert_missing(warehouse.engine, table, empty)
        is_first = table is schema.news_articles
        results.append(report(receipt, asset=table.name, degraded=reason if is_first else None, degraded_by=kind))
    articles, votes, links, coverage = results
    return articles, votes, links, coverage


@own_asset(
    schema.news_sentiment,
    group=GROUP,
    deps=[table.name for table in TABLES],
    kinds=("python", "sql"),
    spec=SPEC,
)
def news_sentiment(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.MaterializeResult:
    """Sentiment of every instrument in the news at the end of every hour, from titles and votes known by then.

    Made are the hours that were read to their end and have no row yet, or articles that none has counted (a reading
    further back brings them), and those of the last two days, whose votes may still have been told.
    """
    engine = warehouse.engine
    lexicon, weighing = load_news_lexicon(policy.folder)
    due = _due(engine, weighing, ruler_of(lexicon, weighing))
    frame = _scored(engine, due, lexicon, weighing)
    receipt = writes.upsert(engine, schema.news_sentiment, frame)
    context.log.info("%d hours of %d instruments", len(frame), len(due))
    newest = frame.sort_values(["hour", "instrument_id"], ascending=[False, True])
    return report(receipt, newest, instruments=len(due))


def _due(engine: Engine, weighing: Weighing, ruler: str) -> dict[str, set[datetime]]:
    """Hours to make by instrument; those that were measured with another ruler are made anew."""
    spans, stored = spans_of(engine), news.counted_hours(engine, ruler)
    due = {}
    for name, links in news.links_known(engine).items():
        mentions = [Mention(article, known_at, None) for article, known_at in links]
        hours = due_hours(mentions, stored.get(name, {}), spans, weighing)
        if hours:
            due[name] = hours
    return due


def _scored(
    engine: Engine, due: Mapping[str, Collection[datetime]], lexicon: Lexicon, weighing: Weighing
) -> pd.DataFrame:
    """Rows of `news_sentiment` of these hours."""
    columns = schema.news_sentiment.columns.keys()
    if not due:
        return pd.DataFrame(columns=columns)
    hours = {hour for of_one in due.values() for hour in of_one}
    rows = news.articles_known(engine, min(hours) + HOUR - weighing.window, max(hours) + HOUR, due)
    votes = news.votes_of_articles(engine, set(rows["article_id"]), max(hours) + HOUR + GRACE)
    told = opinions(tellings_of(votes), VOTES)
    made: list[dict[str, Any]] = []
    beside = {"window_hours": weighing.window / HOUR, "ruler": ruler_of(lexicon, weighing)}
    for name, own in rows.groupby("instrument_id", sort=True):
        mentions = [mention_of(row, lexicon) for row in own.to_dict("records")]
        made += [
            {"instrument_id": name, **vars(one), "date": utc_day(one.hour), **beside}
            for one in hourly(mentions, told, due[str(name)], weighing)
        ]
    frame = pd.DataFrame(made, columns=columns)
    frame = frame.astype(dict.fromkeys(("lexicon_score", "votes_score", "combined", "window_hours"), float))
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in ("hour", "known_at")})
