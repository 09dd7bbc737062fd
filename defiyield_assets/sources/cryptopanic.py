"""CryptoPanic: posts of news with their votes, newest first, page by page.

Lives here: requests, following `next`, typed posts and the errors that come as words of
`https://cryptopanic.com/api/developer/v2`. Not here: which article a post is (domain/news/articles.py), how far back is
read and what of it is stored (orchestration/news_reading.py).

Every answer names the next page by its whole address, with the token in it. That address is never opened: it is a
stranger's. Its parameters are read, and put to the address that we were given.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

from defiyield_assets.domain.news.articles import VOTES, Post
from defiyield_assets.errors import (
    VendorAuthError,
    VendorMalformed,
    VendorNotFound,
    VendorPlanLimit,
    VendorThrottled,
    VendorUnavailable,
)
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window

VENDOR = "cryptopanic"
HOST = "cryptopanic.com"
ENDPOINT = "/posts/"
TOKEN = "auth_token"  # noqa: S105 - the name of the parameter
Filter = Literal["rising", "hot", "bullish", "bearish", "important"]
Kind = Literal["news", "media", "all"]
MAX_PAGES = 200
MAX_PARAMETERS = 20
MAX_PARAMETER = 500
MAX_CODES = 50
"""Currencies of one post that are kept."""
MOST_UNREADABLE = 0.5
"""Share of a page's rows above which the answer is none: odd posts happen, a page of them is another format."""
MOST_VOTES = 2**31 - 1
_UNSTAMPED = datetime(1971, 1, 1, tzinfo=UTC)
"""Of posts whose answer nobody has stamped yet."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NOT_OF_CODES = re.compile(r"[^A-Z0-9.$_+-]")


@dataclass(frozen=True)
class Feed:
    """What is asked for. `filter` picks posts by votes, not by time: with one, no time is ever read completely."""

    currencies: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    kind: Kind | None = None
    filter: Filter | None = None

    @property
    def params(self) -> dict[str, str]:
        """Its parameters on the wire."""
        told = {
            "public": "true",
            "currencies": ",".join(self.currencies),
            "regions": ",".join(self.regions),
            "kind": self.kind or "",
            "filter": self.filter or "",
        }
        return {name: value for name, value in told.items() if value}

    @property
    def name(self) -> str:
        """The feed in words: equal questions, equal names."""
        return "&".join(f"{name}={value}" for name, value in sorted(self.params.items()))


@dataclass(frozen=True)
class Page:
    """One answer: its posts (stamped later) and the parameters of the next page; None: there is none.

    `unreadable`: why rows were left out, in words; `n_odd_votes`: posts whose votes are no nine counts.
    """

    posts: tuple[Post, ...]
    following: Mapping[str, str] | None
    unreadable: tuple[str, ...] = ()
    n_odd_votes: int = 0

    def __len__(self) -> int:
        return len(self.posts)


@dataclass(frozen=True)
class Reading:
    """The posts of a feed down to an instant, newest first, each stamped with its page.

    `is_complete`: every post since then was read. `is_exhausted`: the vendor has no page behind the last one.
    `first_told_at`, `last_told_at`: stamps of the first and the last page. `unreadable`, `n_odd_votes`: of all pages.
    """

    posts: tuple[Post, ...]
    n_pages: int
    is_complete: bool
    is_exhausted: bool
    first_told_at: datetime
    last_told_at: datetime
    unreadable: tuple[str, ...] = ()
    n_odd_votes: int = 0

    def __len__(self) -> int:
        return len(self.posts)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest post was published."""
        return min((post.published_at for post in self.posts), default=None)


class CryptoPanic:
    """Client of CryptoPanic's posts."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def page(
        self, feed: Feed, following: Mapping[str, str] | None = None, *, reuse: Window | None = None
    ) -> Fetched[Page]:
        """One page of a feed: the newest one, or the one that `following` of the page before it names."""
        hosts = (HOST, httpx.URL(self._gateway.settings(VENDOR).base_url).host)
        fetched = await self._gateway.get(
            VENDOR,
            ENDPOINT,
            {},
            dict(feed.params if following is None else following),
            lambda answer: parse_page(answer, hosts),
            reuse=reuse,
            refuse=refuse_error,
        )
        stamped = tuple(replace(post, told_at=fetched.fetched_at) for post in fetched.rows.posts)
        return replace(fetched, rows=replace(fetched.rows, posts=stamped))

    async def posts(
        self,
        feed: Feed,
        until: datetime,
        *,
        max_pages: int = MAX_PAGES,
        reuse: Window | None = None,
        told: Callable[[int, int], None] = lambda _pages, _posts: None,
    ) -> Reading:
        """Posts of a feed, page by page, until a page holds only older ones than `until`, there is none left, or
        `max_pages` were read. `told` hears of the pages and posts so far.

        VendorMalformed where `next` leads in a circle: the same page would come for ever.
        """
        posts: list[Post] = []
        unreadable: list[str] = []
        n_odd_votes = 0
        following: Mapping[str, str] | None = None
        asked: list[Mapping[str, str]] = [feed.params]
        stamps: list[datetime] = []
        while True:
            fetched = await self.page(feed, following, reuse=reuse)
            # Pages are numbers that move with every new post: behind a page of now, one of the archive would leave out
            # what moved from the one to the other.
            reuse = reuse if fetched.from_archive else None
            stamps.append(fetched.fetched_at)
            posts += fetched.rows.posts
            unreadable += fetched.rows.unreadable
            n_odd_votes += fetched.rows.n_odd_votes
            told(len(stamps), len(posts))
            following = fetched.rows.following
            is_past = len(fetched.rows) > 0 and all(post.published_at < until for post in fetched.rows.posts)
            if following is None or is_past or len(stamps) >= max_pages:
                break
            if following in asked:
                raise VendorMalformed(
                    f"next of page {len(stamps)} leads back to one that was read",
                    vendor=VENDOR,
                    endpoint=ENDPOINT,
                )
            asked.append(following)
        is_complete = is_past and feed.filter is None
        return Reading(
            posts=tuple(posts),
            n_pages=len(stamps),
            is_complete=is_complete,
            is_exhausted=following is None,
            first_told_at=stamps[0],
            last_told_at=stamps[-1],
            unreadable=tuple(unreadable),
            n_odd_votes=n_odd_votes,
        )


def refuse_error(answer: object) -> None:
    """Raise what the vendor says in words: `{"status": "api_error", "info": …}` (in any status), or `{"detail": …}`."""
    if not isinstance(answer, dict) or "results" in answer:
        return
    said = next((answer[name] for name in ("info", "detail", "message", "error") if name in answer), None)
    if said is None and "status" not in answer:
        return
    words, lowered = f"{str(said)[:300]!r}", str(said).lower()
    if "token" in lowered or "auth" in lowered or "permission" in lowered:
        raise VendorAuthError(words)
    if "rate" in lowered or "throttl" in lowered or "too many" in lowered:
        raise VendorThrottled(words)
    if "quota" in lowered or "limit" in lowered or "plan" in lowered or "upgrade" in lowered:
        raise VendorPlanLimit(words)
    if "not found" in lowered or "invalid page" in lowered:
        raise VendorNotFound(words)
    raise VendorUnavailable(words)


def parse_page(answer: object, hosts: Sequence[str]) -> Page:
    """One page of `/posts/`, its posts not yet stamped; `hosts`: where `next` may lead.

    A row without id, title or time is left out and named; VendorMalformed where that are more than MOST_UNREADABLE.
    """
    body = fields.record(answer, "the answer")
    rows = body.get("results")
    if type(rows) is not list:
        raise VendorMalformed(f"results is {fields.shown(rows)}, expected a list")
    posts, unreadable, n_odd_votes = [], [], 0
    for number, row in enumerate(rows):
        try:
            post = _post(fields.record(row, f"row {number}"), f"row {number}")
        except VendorMalformed as error:
            unreadable.append(str(error))
            continue
        posts.append(post)
        n_odd_votes += post.votes is None and bool(row.get("votes"))
    if len(unreadable) > MOST_UNREADABLE * len(rows):
        raise VendorMalformed(f"{len(unreadable)} of {len(rows)} posts cannot be read; the first: {unreadable[0]}")
    return Page(tuple(posts), _following(body.get("next"), hosts), tuple(unreadable), n_odd_votes)


def _post(row: Mapping[str, Any], where: str) -> Post:
    """A row as a post; VendorMalformed naming the field that cannot be read."""
    source = _maybe_record(row.get("source"))
    created = {"created_at": row.get("created_at")}
    return Post(
        post_id=fields.single(row, "id", _post_id, where),
        title=fields.single(row, "title", fields.text, where),
        addresses=_addresses(row),
        kind=_text(row, "kind"),
        source=_text(source, "title"),
        source_domain=_text(source, "domain") or _text(row, "domain"),
        region=_text(source, "region"),
        published_at=fields.single(row, "published_at", fields.instant, where),
        listed_at=fields.single(created, "created_at", fields.maybe_instant, where),
        codes=_codes(row),
        votes=_votes(row),
        told_at=_UNSTAMPED,
    )


def _post_id(value: object) -> str:
    """The number of a post, as text; a comma would be two posts where several are listed."""
    told = str(fields.small_integer(value)) if type(value) is int else fields.identifier(value)
    if "," in told:
        raise ValueError(f"expected an id without commas, got {fields.shown(value)}")
    return told


def _maybe_record(value: object) -> dict[str, Any]:
    """An object that may be absent: null and anything else count as an empty one."""
    return value if type(value) is dict else {}


def _text(row: Mapping[str, Any], name: str) -> str:
    """A text that is only shown: anything else is unknown."""
    return fields.claimed_text(row.get(name)) or ""


def _addresses(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a post says that the article is, best first. `original_url` is told by some plans: the article itself."""
    told = (row.get("original_url"), row.get("url"))
    return tuple(address for address in told if type(address) is str and address)


def _codes(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Codes of a post's currencies in capitals (newer plans call them instruments); what is no code is left out."""
    listed = row.get("currencies") or row.get("instruments")
    cells = listed[:MAX_CODES] if type(listed) is list else []
    told = [cell.get("code") for cell in cells if type(cell) is dict]
    codes = (_NOT_OF_CODES.sub("", code[:100].upper())[:20] for code in told if type(code) is str)
    return tuple(dict.fromkeys(code for code in codes if code))


def _votes(row: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The nine counts; None where the post has none, or something else in their place: nothing else rests on them."""
    told = _maybe_record(row.get("votes"))
    try:
        counts = tuple(fields.small_integer(told.get(name)) for name in VOTES)
    except ValueError:
        return None
    return counts if max(counts) <= MOST_VOTES else None


def _following(value: object, hosts: Sequence[str]) -> Mapping[str, str] | None:
    """The parameters of the next page, without the token. VendorMalformed for an address of anybody else."""
    if value is None or value == "":
        return None
    if type(value) is not str or len(value) > MAX_PARAMETERS * MAX_PARAMETER:
        raise VendorMalformed(f"next is {fields.shown(value)}, expected an address or null")
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, ValueError):
        raise VendorMalformed(f"next is {fields.shown(value)}, which is no address") from None
    if url.scheme not in ("http", "https") or url.host not in hosts or not url.path.rstrip("/").endswith("/posts"):
        raise VendorMalformed("next leads away from the vendor's posts")
    told = [(name, text) for name, text in url.params.multi_items() if name.lower() != TOKEN]
    if len(told) > MAX_PARAMETERS or any(not _NAME.fullmatch(name) or len(text) > MAX_PARAMETER for name, text in told):
        raise VendorMalformed("next holds parameters that no page has")
    return dict(told)
