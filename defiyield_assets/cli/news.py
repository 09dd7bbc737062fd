"""`defiyield news update` and `news show`: one reading of the feed, and what is stored of it.

Lives here: what is printed. Not here: the assets (orchestration/assets/news.py), arguments (news_arguments.py).
Titles are shown as they are kept: as text, whatever they seem to say.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from defiyield_assets.cli import show
from defiyield_assets.cli.lab_runs import Stage, print_ran, run_stage
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.tables import print_table
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange, end_of, start_of
from defiyield_assets.domain.news.sentiment import HOUR
from defiyield_assets.domain.strategies.columns import nearest
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.assets.news import STEP, TABLES
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import news, reads, schema

JOB = "update_news"
ASSETS = (*(table.name for table in TABLES), "news_sentiment")
TOLD = (
    *("pages", "posts", "new_articles", "articles_with_unknown_codes", "not_yet_due", "unreadable_posts"),
    *("posts_with_odd_votes", "read_back_to", "read_at"),
)


@dataclass(frozen=True)
class Wanted:
    """What is shown: of one instrument (id or symbol; None: all), of these days, at most so many articles."""

    instrument: str | None
    first: date | None
    last: date | None
    most: int


def update(first: date | None, last: date | None, console: Console, *, is_json: bool) -> int:
    """Read the feed from the watermark, or from `first`, and score the hours. Exit code 1 where a step failed."""
    days = {"since": first, "through": last}
    config = {name: day.isoformat() for name, day in days.items() if day is not None}
    with dg.DagsterInstance.get() as instance:
        stage = Stage("news", JOB, ASSETS, config={STEP: config} if config else None)
        ran = run_stage(build_defs(load_settings()), instance, stage, console)
    print_ran(ran, console)
    facts = ran.metadata.get("news_articles", {})
    degraded = facts.get("degraded")
    if is_json:
        hours = ran.metadata.get("news_sentiment", {}).get("dagster/row_count", 0)
        counts = {name: facts.get(name) for name in TOLD}
        write_json({**counts, "hours": hours, "degraded": degraded, "failed": dict(ran.failed)})
        return 1 if ran.failed else 0
    if "pages" in facts:
        words = ", ".join(f"{name.replace('_', ' ')} {facts[name]}" for name in TOLD if name in facts)
        console.print(show.plain(f"  {words}"), soft_wrap=True)
    if degraded:
        begins = "degraded" if "pages" in facts else "nothing new is known"
        console.print(show.plain(f"  {begins}: {degraded}"), style="yellow", soft_wrap=True)
    return 1 if ran.failed else 0


def show_news(wanted: Wanted, console: Console, *, is_json: bool) -> int:
    """Stored articles of some days with the newest sentiment of the instruments that they are about."""
    settings = load_settings()
    engine = WarehouseResource(market=settings.warehouse_market).engine
    names = None if wanted.instrument is None else _instruments(engine, wanted.instrument)
    last = wanted.last or reads.newest_day(engine, schema.news_articles)
    if last is None:
        if is_json:
            write_json({"articles": [], "sentiment": []})
        else:
            console.print("no news are stored: `defiyield news update` reads them")
        return 0
    first = wanted.first or last - timedelta(days=1)
    days = DayRange(min(first, last), last)
    articles, hours = _articles(engine, days, names)[: wanted.most], _sentiment(engine, days, names)
    if is_json:
        write_json({"articles": articles, "sentiment": hours})
        return 0
    if not articles and not hours:
        console.print(f"no news of {days.start} to {days.end} are stored")
        return 0
    print_table(_drawn_hours(hours), console)
    print_table(_drawn_articles(articles), console)
    return 0


def _instruments(engine: Engine, wanted: str) -> list[str]:
    """Instruments of an id or a symbol; ConfigurationError naming the nearest for one that is none."""
    rows = reads.read_all(engine, schema.instruments)
    is_meant = (rows["instrument_id"] == wanted) | (rows["symbol"].str.upper() == wanted.upper())
    if not is_meant.any():
        known = sorted({*rows["instrument_id"], *rows["symbol"]})
        raise ConfigurationError(f"instrument {wanted!r} is not known; {nearest(wanted, known)}")
    return sorted(rows.loc[is_meant, "instrument_id"])


def _articles(engine: Engine, days: DayRange, names: list[str] | None) -> list[dict[str, Any]]:
    """Articles published on these days, the newest first, each with the instruments that it is about."""
    since, through = start_of(days.start), end_of(days.end)
    links = news.articles_known(engine, since, datetime.max.replace(tzinfo=UTC))
    about: dict[str, list[str]] = {}
    for article, instrument in zip(links["article_id"], links["instrument_id"], strict=True):
        about.setdefault(str(article), []).append(str(instrument))
    rows = reads.read_days(engine, schema.news_articles, days)
    found = [
        {
            "published_at": row["published_at"].isoformat(),
            "known_at": row["known_at"].isoformat(),
            "source": row["source"],
            "title": row["title"],
            "url": row["url"],
            "instruments": about.get(row["article_id"], []),
            "codes": [code for code in row["codes"].split(",") if code],
        }
        for row in rows.to_dict("records")
        if row["published_at"] < through
    ]
    wanted = [one for one in found if names is None or set(names) & set(one["instruments"])]
    return sorted(wanted, key=lambda one: (one["published_at"], one["url"]), reverse=True)


def _sentiment(engine: Engine, days: DayRange, names: list[str] | None) -> list[dict[str, Any]]:
    """The newest hour of every instrument on these days."""
    where = None if names is None else {"instrument_id": names}
    rows = reads.read_days(engine, schema.news_sentiment, days, where)
    newest = rows.sort_values("hour").drop_duplicates("instrument_id", keep="last").sort_values("instrument_id")
    return [
        {
            "instrument_id": row["instrument_id"],
            "at": (row["hour"] + HOUR).isoformat(),
            "known_at": row["known_at"].isoformat(),
            **{name: _number(row[name]) for name in ("combined", "lexicon_score", "votes_score")},
            **{name: int(row[name]) for name in ("n_articles", "n_window", "n_votes")},
        }
        for row in newest.to_dict("records")
    ]


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else round(float(value), 6)


def _drawn_hours(hours: list[dict[str, Any]]) -> Table:
    table = Table(title="Sentiment, -1 to 1", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("instrument", "at the end of", "combined", "titles", "votes", "articles", "opinions"):
        table.add_column(name, justify="left" if name in ("instrument", "at the end of") else "right")
    for one in hours:
        scores = (
            "" if one[name] is None else f"{one[name]:+.2f}" for name in ("combined", "lexicon_score", "votes_score")
        )
        counts = (str(one["n_window"]), str(one["n_votes"]))
        table.add_row(show.plain(one["instrument_id"]), one["at"][:16].replace("T", " "), *scores, *counts)
    return table


def _drawn_articles(articles: list[dict[str, Any]]) -> Table:
    table = Table(title="Articles", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("published (UTC)", "about", "source", "title"):
        table.add_column(name, overflow="fold")
    for one in articles:
        words = (one["published_at"][:16].replace("T", " "), " ".join(one["codes"]), one["source"], one["title"])
        table.add_row(*(show.plain(word) for word in words))
    return table
