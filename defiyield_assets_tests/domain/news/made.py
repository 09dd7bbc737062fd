"""Posts and articles as tests of news make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from defiyield_assets.domain.news.articles import Post

NOON = datetime(2025, 6, 3, 12, tzinfo=UTC)
VOTES = (1, 2, 3, 4, 5, 6, 7, 8, 9)


def at(hours: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=hours)


def post(post_id: str = "1", **changes: Any) -> Post:
    """A post about BTC, published at noon and told an hour later."""
    told: dict[str, Any] = {
        "post_id": post_id,
        "title": f"Title {post_id}",
        "addresses": (f"https://example.com/{post_id}",),
        "kind": "news",
        "source": "Example",
        "source_domain": "example.com",
        "region": "en",
        "published_at": NOON,
        "listed_at": None,
        "codes": ("BTC",),
        "votes": VOTES,
        "told_at": at(1),
    }
    return Post(**{**told, **changes})
