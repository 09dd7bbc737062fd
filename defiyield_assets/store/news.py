"""News going into the warehouse and out of it: a reading in one transaction, what was known of articles at a time.

Lives here: SQL of the tables of store/schema/news.py that is more than a slice. Not here: what posts mean
(domain/news), reading them (sources/cryptopanic.py).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction
from defiyield_assets.store.inserts import merge
from defiyield_assets.store.rows import rows_hash, storable_text, to_frame, to_rows
from defiyield_assets.store.validation import require_valid
from defiyield_assets.store.writes import WriteReceipt

TABLES = (schema.news_articles, schema.news_votes, schema.news_instrument_links, schema.news_coverage)
ASKED_AT_ONCE = 500


def keep(engine: sa.Engine, decide: Callable[[], Mapping[sa.Table, pd.DataFrame]]) -> dict[str, WriteReceipt]:
    """Write what `decide` makes of what is stored: rows of TABLES that are new or take the place of those with the same
    key, all in one transaction or none. `decide` is called under the lock of the tables, so that two readings at once
    never lose each other's rows. SuspiciousDataError for rows that break a table's rules.
    """
    receipts = {}
    with write_transaction(engine, *(table.name for table in TABLES)) as connection:
        frames = decide()
        for table in TABLES:
            frame = storable_text(frames[table])
            require_valid(table, frame)
            rows = to_rows(table, frame)
            merge(connection, table, rows, is_replacing=True)
            receipts[table.name] = WriteReceipt(table.name, len(rows), 0, rows_hash(table, rows))
    return receipts


def votes_of_posts(engine: sa.Engine, post_ids: Collection[str]) -> pd.DataFrame:
    """Rows of `news_votes` of these posts."""
    return _in_parts(engine, schema.news_votes, schema.news_votes.c.post_id, post_ids)


def articles_with(engine: sa.Engine, article_ids: Collection[str]) -> pd.DataFrame:
    """Rows of `news_articles` of these ids."""
    return _in_parts(engine, schema.news_articles, schema.news_articles.c.article_id, article_ids)


def votes_of_articles(engine: sa.Engine, article_ids: Collection[str], through: datetime) -> pd.DataFrame:
    """Rows of `news_votes` of these articles that were told by `through`."""
    table = schema.news_votes
    return _in_parts(engine, table, table.c.article_id, article_ids, table.c.told_at <= through)


def articles_with_unknown_codes(engine: sa.Engine) -> pd.DataFrame:
    """Articles that name a code which was no instrument's when they were told."""
    return _read(engine, schema.news_articles, schema.news_articles.c.n_unknown_codes > 0)


def linked_codes(engine: sa.Engine, article_ids: Collection[str]) -> set[tuple[str, str]]:
    """(article_id, code) of the links of these articles."""
    table = schema.news_instrument_links
    rows = _in_parts(engine, table, table.c.article_id, article_ids)
    return set(zip(rows["article_id"], rows["code"], strict=True))


def articles_known(
    engine: sa.Engine, since: datetime, through: datetime, instrument_ids: Collection[str] | None = None
) -> pd.DataFrame:
    """Links (article_id, instrument_id, known_at of the link) with their articles, of those known in [since, through].

    `instrument_ids`: of these alone. Columns of `news_articles`, instrument_id and `link_known_at`.
    """
    articles, links = schema.news_articles, schema.news_instrument_links
    wanted = [*articles.columns, links.c.instrument_id, links.c.known_at.label("link_known_at")]
    query = (
        sa.select(*wanted)
        .join(links, links.c.article_id == articles.c.article_id)
        .where(links.c.known_at.between(since, through))
    )
    if instrument_ids is not None:
        query = query.where(links.c.instrument_id.in_(sorted(instrument_ids)))
    with read_transaction(engine, articles.name) as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    names = [*articles.columns.keys(), "instrument_id", "link_known_at"]
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    return frame.sort_values(["instrument_id", "link_known_at", "article_id"], ignore_index=True)


def links_known(engine: sa.Engine) -> dict[str, list[tuple[str, datetime]]]:
    """instrument_id -> (article_id, known_at) of every link."""
    table = schema.news_instrument_links
    query = sa.select(table.c.instrument_id, table.c.article_id, table.c.known_at)
    found: dict[str, list[tuple[str, datetime]]] = {}
    with read_transaction(engine, table.name) as connection:
        for name, article, known_at in map(tuple, connection.execute(query)):
            found.setdefault(str(name), []).append((str(article), known_at))
    return found


def counted_hours(engine: sa.Engine, ruler: str) -> dict[str, dict[datetime, int]]:
    """instrument_id -> hour -> n_articles of the stored rows of `news_sentiment` that were measured with a ruler."""
    table = schema.news_sentiment
    query = sa.select(table.c.instrument_id, table.c.hour, table.c.n_articles).where(table.c.ruler == ruler)
    found: dict[str, dict[datetime, int]] = {}
    with read_transaction(engine, table.name) as connection:
        for name, hour, number in map(tuple, connection.execute(query)):
            found.setdefault(str(name), {})[hour] = int(number)
    return found


def count(engine: sa.Engine, table: sa.Table, *limits: sa.ColumnElement[bool]) -> int:
    """How many rows of a table keep to the limits."""
    with read_transaction(engine, table.name) as connection:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(table).where(*limits)).scalar_one()
    return found


def first_rows(engine: sa.Engine, table: sa.Table, limit: sa.ColumnElement[bool], number: int) -> pd.DataFrame:
    """The first rows of a table that keep to a limit, in the order of its key."""
    query = sa.select(table).where(limit).order_by(*table.primary_key.columns).limit(number)
    with read_transaction(engine, table.name) as connection:
        return pd.DataFrame(list(map(tuple, connection.execute(query))), columns=table.columns.keys())


def _in_parts(
    engine: sa.Engine, table: sa.Table, column: sa.Column[Any], wanted: Collection[str], *limits: sa.ColumnElement[bool]
) -> pd.DataFrame:
    """Rows whose column is any of many values, asked part by part."""
    parts = [_read(engine, table, column.in_(part), *limits) for part in _parts(sorted(set(wanted)))]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else to_frame(list(table.columns), [])


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), ASKED_AT_ONCE):
        yield values[start : start + ASKED_AT_ONCE]


def _read(engine: sa.Engine, table: sa.Table, *limits: sa.ColumnElement[bool]) -> pd.DataFrame:
    query = sa.select(*table.columns).where(*limits).order_by(*table.primary_key.columns)
    with read_transaction(engine, table.name) as connection:
        return to_frame(list(table.columns), [tuple(row) for row in connection.execute(query)])
