"""Checks of news: links and hours are whole, and nothing is known before it could be.

Lives here: reading what is compared. Not here: the rules (domain/news), the assets (assets/news.py).
"""

from datetime import date, timedelta

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.config.news_lexicon import load_news_lexicon
from defiyield_assets.domain.days import GRACE, DayRange
from defiyield_assets.domain.news.articles import MAX_LEAD
from defiyield_assets.domain.news.canonical_urls import article_id
from defiyield_assets.domain.news.coverage import holes
from defiyield_assets.domain.news.sentiment import HOUR, Mention, missing_hours, ruler_of
from defiyield_assets.orchestration.news_reading import spans_of
from defiyield_assets.orchestration.reporting import offending, preview
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.store import news, reads, schema

SHOWN = 10
RECENT = timedelta(days=30)
"""How far back articles are looked at, before the newest."""


@dg.asset_check(asset="news_articles", blocking=True)
def published_before_told(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No article is dated after the answer that told it (but for a few minutes of clocks), none is known before it was
    published, and each has the id of its address."""
    rows = _recent_articles(warehouse.engine)
    is_dated_ahead = rows["published_at"] > rows["first_told_at"] + MAX_LEAD
    is_known_early = rows["known_at"] < rows["published_at"]
    is_misnamed = rows["url"].map(article_id) != rows["article_id"]
    columns = ["article_id", "published_at", "known_at", "first_told_at", "url"]
    wrong = rows.loc[is_dated_ahead | is_known_early | is_misnamed, columns]
    return dg.AssetCheckResult(
        passed=wrong.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(wrong)} of {len(rows)} articles are dated or named wrongly",
        metadata={"articles": len(rows), "wrong": len(wrong), "listed": preview(wrong, SHOWN)},
    )


@dg.asset_check(asset="news_votes", blocking=True)
def votes_are_not_negative(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every count of votes is 0 or more, and belongs to an article that is there."""
    votes, articles = schema.news_votes, schema.news_articles
    counts = [votes.c[name] for name in schema.VOTES]
    is_negative = sa.or_(*(column < 0 for column in counts))
    is_orphan = votes.c.article_id.not_in(sa.select(articles.c.article_id))
    n_negative = news.count(warehouse.engine, votes, is_negative)
    n_orphans = news.count(warehouse.engine, votes, is_orphan)
    listed = news.first_rows(warehouse.engine, votes, sa.or_(is_negative, is_orphan), SHOWN)
    return dg.AssetCheckResult(
        passed=not n_negative and not n_orphans,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{n_negative} rows with a negative count, {n_orphans} of articles that are not there",
        metadata={"negative": n_negative, "orphans": n_orphans, "listed": preview(listed, SHOWN)},
    )


@dg.asset_check(asset="news_instrument_links", additional_deps=["news_articles", "instruments"], blocking=True)
def links_are_known(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Every link leads from an article to an instrument that are both there, and is known no earlier than both."""
    engine, links = warehouse.engine, schema.news_instrument_links
    articles, instruments = schema.news_articles, schema.instruments
    has_no_article = links.c.article_id.not_in(sa.select(articles.c.article_id))
    has_no_instrument = links.c.instrument_id.not_in(sa.select(instruments.c.instrument_id))
    n_articles = news.count(engine, links, has_no_article)
    n_instruments = news.count(engine, links, has_no_instrument)
    known = sa.select(articles.c.known_at).where(articles.c.article_id == links.c.article_id).scalar_subquery()
    is_early = links.c.known_at < known
    n_early = news.count(engine, links, is_early)
    listed = news.first_rows(engine, links, sa.or_(has_no_article, has_no_instrument, is_early), SHOWN)
    return dg.AssetCheckResult(
        passed=not n_articles and not n_instruments and not n_early,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"{n_articles} links of unknown articles, {n_instruments} to unknown instruments, {n_early} known too early"
        ),
        metadata={
            "unknown_articles": n_articles,
            "unknown_instruments": n_instruments,
            "early": n_early,
            "listed": preview(listed, SHOWN),
        },
    )


@dg.asset_check(asset="news_coverage", blocking=False)
def feed_has_no_hole(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Between the first and the newest reading of every feed there is no time that nobody has read."""
    engine = warehouse.engine
    rows = reads.read_all(engine, schema.news_coverage)
    found = [
        f"{hole.start:%Y-%m-%d %H:%M} to {hole.end:%Y-%m-%d %H:%M}"
        for name in sorted(set(rows["feed"]))
        for hole in holes(spans_of(engine, name))
    ]
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(found)} holes; `defiyield news update --from` the day of the first one fills them",
        metadata={"holes": len(found), "listed": offending(found, "hole")},
    )


@dg.asset_check(
    asset="news_sentiment", additional_deps=["news_instrument_links", "news_articles", "news_coverage"], blocking=False
)
def every_hour_with_news_has_its_row(warehouse: WarehouseResource, policy: PolicyResource) -> dg.AssetCheckResult:
    """Every hour that was read and has an article in its window has a row by the lexicon of now, and every article is
    counted in one."""
    engine = warehouse.engine
    lexicon, weighing = load_news_lexicon(policy.folder)
    spans, stored = spans_of(engine), news.counted_hours(engine, ruler_of(lexicon, weighing))
    missing = {
        name: len(missing_hours([Mention(one, at, None) for one, at in links], stored.get(name, {}), spans, weighing))
        for name, links in news.links_known(engine).items()
    }
    wanting = {name: number for name, number in sorted(missing.items()) if number}
    listed = pd.DataFrame(wanting.items(), columns=["instrument_id", "hours"])
    return dg.AssetCheckResult(
        passed=not wanting,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{sum(wanting.values())} hours of {len(wanting)} instruments lack a row or miscount",
        metadata={"instruments": len(wanting), "listed": preview(listed, SHOWN)},
    )


@dg.asset_check(asset="news_sentiment", blocking=True)
def hours_rest_on_the_past(warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """No row was known before its hour had ended, and none rests on votes told later than the grace after it."""
    table = schema.news_sentiment
    rows = reads.read_latest(warehouse.engine, table, date.max)
    ends = rows["hour"] + HOUR
    is_wrong = (rows["known_at"] < ends) | (rows["known_at"] > ends + GRACE)
    return dg.AssetCheckResult(
        passed=not is_wrong.any(),
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{int(is_wrong.sum())} of {len(rows)} rows of the newest day are known at a time that cannot be",
        metadata={
            "rows": len(rows),
            "wrong": int(is_wrong.sum()),
            "listed": preview(rows.loc[is_wrong, ["instrument_id", "hour", "known_at"]], SHOWN),
        },
    )


def _recent_articles(engine: sa.Engine) -> pd.DataFrame:
    """The articles of the RECENT before the newest."""
    newest = reads.newest_day(engine, schema.news_articles)
    if newest is None:
        return reads.read_all(engine, schema.news_articles)
    return reads.read_days(engine, schema.news_articles, DayRange(newest - RECENT, newest))
