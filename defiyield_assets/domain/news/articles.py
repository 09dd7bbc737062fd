"""Articles: posts of the vendor put together by the address of what they point at, and since when one could know them.

Lives here: titles made fit to be kept, merging of posts into articles, votes as they were told, instruments by code.
Not here: the vendor's wire (sources/cryptopanic.py), scores (lexicon.py, sentiment.py), tables (store/schema/news.py).

A title is a stranger's text. It is kept, shown and quoted as data; nothing here or behind it obeys one.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from defiyield_assets.domain.news.canonical_urls import article_id, canonical_url
from defiyield_assets.domain.news.coverage import Span, is_within

TITLE_LENGTH = 300
"""Characters of a title that are kept."""
MAX_LEAD = timedelta(minutes=15)
"""How far ahead of the answer an article may be dated: clocks differ. One dated later is left out until it is due."""
JOINERS = "\u200c\u200d"
"""Invisible characters that words of some languages, and emoji, are not right without."""
VOTES = ("negative", "positive", "important", "liked", "disliked", "lol", "toxic", "saved", "comments")


@dataclass(frozen=True)
class Post:
    """One post as the vendor told it at `told_at`. `votes` in the order of VOTES; None: it told none."""

    post_id: str
    title: str
    addresses: tuple[str, ...]
    kind: str
    source: str
    source_domain: str
    region: str
    published_at: datetime
    listed_at: datetime | None
    codes: tuple[str, ...]
    votes: tuple[int, ...] | None
    told_at: datetime


@dataclass(frozen=True)
class Article:
    """One article; `codes` in the order in which they were told, `codes_known`: since when each of them was known."""

    article_id: str
    url: str
    title: str
    is_title_cut: bool
    source: str
    source_domain: str
    region: str
    kind: str
    published_at: datetime
    listed_at: datetime | None
    known_at: datetime
    first_told_at: datetime
    last_told_at: datetime
    post_ids: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    codes_known: tuple[datetime, ...] = ()


@dataclass(frozen=True)
class Telling:
    """Votes on a post as told at an instant; None: it was told, but no votes on it."""

    post_id: str
    told_at: datetime
    article_id: str
    votes: tuple[int, ...] | None


@dataclass(frozen=True)
class CodeLink:
    """A code that an article was told with, and since when that was known."""

    article_id: str
    code: str
    known_at: datetime


@dataclass(frozen=True)
class Stored:
    """What is stored already of the posts that were read: articles by id, the article of each post, its newest votes,
    and the spans of time that were read before.
    """

    articles: Mapping[str, Article] = field(default_factory=dict)
    article_of_post: Mapping[str, str] = field(default_factory=dict)
    tellings: Mapping[str, Sequence[Telling]] = field(default_factory=dict)
    spans: Sequence[Span] = ()


@dataclass(frozen=True)
class Merged:
    """What the posts make of it: articles that are new or changed, votes that changed, links that are new."""

    articles: tuple[Article, ...]
    tellings: tuple[Telling, ...]
    links: tuple[CodeLink, ...]
    n_new: int
    n_undue: int
    """Posts dated after the answer that told them."""


def clean_title(text: str) -> tuple[str, bool]:
    """The title without control and invisible characters (marks that turn its direction among them), blanks made one,
    cut at TITLE_LENGTH; and whether it was cut. Everything else stays as it was told.
    """
    head = text[: 8 * TITLE_LENGTH]
    shown = "".join(_kept(character) for character in head)
    words = " ".join(shown.split())
    is_cut = len(words) > TITLE_LENGTH or len(text) > len(head)
    return (words[: TITLE_LENGTH - 1].rstrip() + "…" if is_cut else words), is_cut


def _kept(character: str) -> str:
    """The character, a blank for one that stands for a break, nothing for one that nobody sees."""
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    is_hidden = kind in ("Cf", "Cs", "Co", "Cn") or is_selector(character)
    return "" if is_hidden and character not in JOINERS else character


def is_selector(character: str) -> bool:
    """Whether a character is a variation selector: nobody sees one, and a row of them can spell any text."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def address_of(post: Post) -> str:
    """The canonical address of what a post points at: the first of its addresses that is one, else its own page."""
    for told in post.addresses:
        try:
            return canonical_url(told)
        except ValueError:
            continue
    return canonical_url(f"https://cryptopanic.com/news/{post.post_id}")


def merge(posts: Iterable[Post], stored: Stored) -> Merged:
    """Put posts into articles by canonical address, or by the article that the post belonged to before.

    `posts` are those of one reading, in any order and more than once: the one that was published first opens the
    article, on whatever page it came. What an earlier reading told stays: title, times and source of a stored article
    never change, because that is what was known. Votes are kept whenever they differ from those told before.
    """
    known, article_of = dict(stored.articles), dict(stored.article_of_post)
    tellings = {name: list(told) for name, told in stored.tellings.items()}
    new_tellings: list[Telling] = []
    links: dict[tuple[str, str], CodeLink] = {}
    changed: set[str] = set()
    n_undue = 0
    for post in sorted(posts, key=_place):
        if post.published_at > post.told_at + MAX_LEAD:
            n_undue += 1
            continue
        url = address_of(post)
        name = article_of.setdefault(post.post_id, article_id(url))
        before = known.get(name)
        after = _opened(post, name, url, stored.spans) if before is None else _told_again(before, post, stored.spans)
        if after != before:
            known[name] = after
            changed.add(name)
        had = () if before is None else before.codes
        for link in code_links(after):
            if link.code not in had:
                links.setdefault((name, link.code), link)
        told = _changed_votes(post, name, tellings.setdefault(post.post_id, []))
        if told is not None:
            tellings[post.post_id].append(told)
            new_tellings.append(told)
    n_new = len(changed - set(stored.articles))
    return Merged(
        tuple(known[name] for name in sorted(changed)), tuple(new_tellings), tuple(links.values()), n_new, n_undue
    )


def _place(post: Post) -> tuple[datetime, datetime, str, datetime]:
    """The order of posts: as they were published, and not as the pages came that told them."""
    return (post.published_at, post.listed_at or post.published_at, post.post_id, post.told_at)


def code_links(article: Article) -> list[CodeLink]:
    """The codes of an article with the time since when each was known."""
    pairs = zip(article.codes, article.codes_known, strict=True)
    return [CodeLink(article.article_id, code, known_at) for code, known_at in pairs]


def _opened(post: Post, name: str, url: str, spans: Sequence[Span]) -> Article:
    title, is_cut = clean_title(post.title)
    known_at, codes = known_since(post, spans), tuple(dict.fromkeys(post.codes))
    return Article(
        name,
        url,
        title,
        is_cut,
        clean_title(post.source)[0],
        clean_title(post.source_domain)[0],
        clean_title(post.region)[0],
        clean_title(post.kind)[0],
        post.published_at,
        post.listed_at,
        known_at,
        post.told_at,
        post.told_at,
        (post.post_id,),
        codes,
        (known_at,) * len(codes),
    )


def _told_again(article: Article, post: Post, spans: Sequence[Span]) -> Article:
    """The same article with the post and its codes added; times of an old answer move nothing back.

    A code that a known post gets later is known since it was told; one of another post, since that post was known.
    """
    new = [code for code in dict.fromkeys(post.codes) if code not in article.codes]
    since = max(article.known_at, post.told_at if post.post_id in article.post_ids else known_since(post, spans))
    return replace(
        article,
        last_told_at=max(article.last_told_at, post.told_at),
        post_ids=tuple(dict.fromkeys([*article.post_ids, post.post_id])),
        codes=(*article.codes, *new),
        codes_known=(*article.codes_known, *(since for _ in new)),
    )


def known_since(post: Post, spans: Sequence[Span]) -> datetime:
    """When one could know of a post: published and listed. Where that time had been read before and the post was not
    told then, it was not there yet: it is known since it was told.
    """
    claimed = max(post.published_at, post.listed_at or post.published_at)
    return max(post.told_at, post.published_at) if is_within(claimed, spans) or claimed > post.told_at else claimed


def _changed_votes(post: Post, name: str, before: Sequence[Telling]) -> Telling | None:
    """The votes of a post where they differ from the last ones told by then; no votes, where nothing was told ever."""
    if any(told.told_at == post.told_at for told in before) or (post.votes is None and before):
        return None
    last = max((told for told in before if told.told_at <= post.told_at), key=lambda told: told.told_at, default=None)
    is_same = last is not None and last.votes == post.votes
    return None if is_same else Telling(post.post_id, post.told_at, name, post.votes)


def instruments_by_code(instruments: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    """Code -> the instruments of that symbol, from (instrument_id, type, symbol): coins and tokens only.

    A token that exists on several chains is one coin to the news: all of them are meant.
    """
    found: dict[str, list[str]] = {}
    for instrument_id, kind, symbol in instruments:
        if kind == "crypto":
            found.setdefault(symbol.upper(), []).append(instrument_id)
    return {code: tuple(sorted(names)) for code, names in found.items()}


def unknown_codes(codes: Iterable[str], known: Collection[str]) -> list[str]:
    """Codes that are no instrument's, each once."""
    return [code for code in dict.fromkeys(codes) if code not in known]
