"""News: articles, what was voted on them and when, the instruments that they are about, sentiment by the hour.

Lives here: tables of news. Not here: what an article or a score is (domain/news), signals made of them (signals.py).
"""

from sqlalchemy import Boolean, Date, Float, Index, Integer, Text

from defiyield_assets.store.schema.columns import ZERO_UP, key, may, must, table
from defiyield_assets.store.types import UtcDateTime

VOTES = ("negative", "positive", "important", "liked", "disliked", "lol", "toxic", "saved", "comments")
"""What CryptoPanic counts for a post, in its order."""
SCORE = {"ge": -1.0, "le": 1.0}

news_articles = table(
    "news_articles",
    "Articles by their canonical address, each once however many posts name it; titles are data of strangers",
    key("article_id", Text, "SHA-256 of the canonical address"),
    must("date", Date, "UTC day of published_at"),
    must("url", Text, "Canonical address"),
    must("title", Text, "As first told, without control characters and cut; never trusted, never followed"),
    must("is_title_cut", Boolean, "The title was longer than is kept"),
    must("source", Text, "Who published it, as the vendor names it; empty: not told"),
    must("source_domain", Text, "Domain of the source; empty: not told"),
    must("region", Text, "Language or region of the source; empty: not told"),
    must("kind", Text, "news, media or what else the vendor calls it"),
    must("published_at", UtcDateTime, "When it was published"),
    may("listed_at", UtcDateTime, "When the vendor listed it"),
    must("known_at", UtcDateTime, "When one could know of it: the later of both, at most when we were told"),
    must("first_told_at", UtcDateTime, "Stamp of the answer that told it first"),
    must("last_told_at", UtcDateTime, "Stamp of the newest answer that told it"),
    must("post_ids", Text, "The vendor's posts of it, comma separated"),
    must("codes", Text, "Currency codes that the posts name, comma separated"),
    must("codes_known", Text, "Since when each of them was known, in their order, comma separated ISO 8601"),
    must("n_unknown_codes", Integer, "Codes among them that are no instrument's symbol", ge=0),
    Index(None, "known_at"),
)
news_votes = table(
    "news_votes",
    "Votes on a post as they were told, a row whenever they had changed: what was known of them at any time",
    key("post_id", Text, "The vendor's post; every post that was told is here, with votes or without"),
    key("told_at", UtcDateTime, "Stamp of the answer"),
    must("date", Date, "UTC day of told_at"),
    must("article_id", Text, "Its article"),
    *[may(name, Integer, f"Votes '{name}' so far; null: the post was told without votes", ge=0) for name in VOTES],
    Index(None, "article_id"),
)
news_instrument_links = table(
    "news_instrument_links",
    "Which instruments an article is about, by the currency codes of its posts",
    key("article_id", Text, "Article"),
    key("instrument_id", Text, "Instrument"),
    must("date", Date, "UTC day of known_at"),
    must("code", Text, "Code that named it"),
    must("known_at", UtcDateTime, "Since when the code was known: never before the article"),
    Index(None, "instrument_id", "known_at"),
)
news_sentiment = table(
    "news_sentiment",
    "Sentiment of an instrument at the end of an hour, from the articles known by then and their votes as told by then",
    key("instrument_id", Text, "Instrument"),
    key("hour", UtcDateTime, "First instant of the hour"),
    must("date", Date, "UTC day of the hour"),
    must("n_articles", Integer, "Articles that became known in the hour", ge=0),
    must("n_window", Integer, "Articles of the window that ends with the hour", ge=1),
    must("n_votes", Integer, "Votes of opinion on them, as told by known_at", ge=0),
    may("lexicon_score", Float, "Tone of the titles, weighted by age; null: no word of the lexicon in any", **SCORE),
    may("votes_score", Float, "Balance of the votes of opinion, weighted by age; null: none was told", **SCORE),
    may("combined", Float, "Both by the weights of the configuration; the other where one is null", **SCORE),
    must("window_hours", Float, "Length of the window", **ZERO_UP),
    must("ruler", Text, "SHA-256 of the lexicon and the weighing that it was measured with"),
    must("known_at", UtcDateTime, "When the row was knowable: the end of the hour, or the votes in it if later"),
)
news_coverage = table(
    "news_coverage",
    "Spans of time of which every post of a feed was read; the end of the newest is the watermark",
    key("feed", Text, "What was asked for: filters as canonical text"),
    key("read_from", UtcDateTime, "First instant"),
    must("read_through", UtcDateTime, "Last instant"),
    must("told_at", UtcDateTime, "Stamp of the newest answer of the reading that wrote it"),
    day=None,
)
