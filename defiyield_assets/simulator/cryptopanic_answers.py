"""Answers of CryptoPanic in its own wire format, from the posts that a market knows.

Lives here: `/posts/` with its filters and pages. Not here: the posts (generated_news.py), routing and HTTP (wire.py).
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from defiyield_assets.domain.days import market_stamp
from defiyield_assets.simulator.news_records import NewsPost
from defiyield_assets.simulator.vendor_answers import MarketFacts

ADDRESS = "https://cryptopanic.com/api/developer/v2/posts/"
PAGE_SIZE = 20
HOT_VOTES, RISING_HOURS = 40, 6.0
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


def posts(market: MarketFacts, day: date, params: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """`/posts/`: status and one page, newest first. `next` and `previous` are whole addresses with all parameters, the
    token too, as the vendor writes them.
    """
    stamp, asked = market_stamp(day), params.get("page", "1")
    page = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 0
    found = [post for post in market.news(day) if _is_wanted(post, stamp, params)]
    first = (page - 1) * PAGE_SIZE
    if page < 1 or (first >= len(found) and page > 1):
        return 404, {"status": "api_error", "info": "Invalid page"}
    return 200, {
        "count": len(found),
        "next": _address(params, page + 1) if first + PAGE_SIZE < len(found) else None,
        "previous": _address(params, page - 1) if page > 1 else None,
        "results": [_told(post, stamp) for post in found[first : first + PAGE_SIZE]],
    }


def _address(params: Mapping[str, str], page: int) -> str:
    return f"{ADDRESS}?{urlencode({**params, 'page': page})}"


def _told(post: NewsPost, stamp: datetime) -> dict[str, Any]:
    return {
        "id": post.post_id,
        "kind": post.kind,
        "domain": post.domain,
        "title": post.title,
        "slug": post.slug,
        "url": post.url,
        "published_at": post.published_at.strftime(_STAMP),
        "created_at": post.listed_at.strftime(_STAMP),
        "source": {"title": post.source, "region": post.region, "domain": post.domain, "path": None},
        "currencies": [
            {
                "code": code,
                "title": name,
                "slug": name.lower().replace(" ", "-"),
                "url": f"https://{post.domain}/{code}",
            }
            for code, name in post.coins
        ]
        or None,
        "votes": post.votes_at(stamp),
    }


def _is_wanted(post: NewsPost, stamp: datetime, params: Mapping[str, str]) -> bool:
    """Whether the post passes what was asked for."""
    codes = {code for code in params.get("currencies", "").upper().split(",") if code}
    regions = {region for region in params.get("regions", "").split(",") if region}
    kind = params.get("kind", "all")
    return (
        (not codes or bool(codes & {code for code, _ in post.coins}))
        and (not regions or post.region in regions)
        and kind in ("all", post.kind)
        and _passes(post, stamp, params.get("filter"))
    )


def _passes(post: NewsPost, stamp: datetime, wanted: str | None) -> bool:
    if wanted is None:
        return True
    votes = post.votes_at(stamp)
    number = sum(votes.values())
    return {
        "bullish": votes["positive"] > votes["negative"],
        "bearish": votes["negative"] > votes["positive"],
        "important": votes["important"] > 0,
        "hot": number >= HOT_VOTES,
        "rising": number > 0 and (stamp - post.published_at).total_seconds() <= 3_600 * RISING_HOURS,
    }.get(wanted, False)
