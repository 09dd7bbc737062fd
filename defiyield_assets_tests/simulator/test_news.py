"""News of the simulated market: the vendor's wire, votes that grow, doubles, hostile titles, and no look ahead."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.domain.days import end_of, market_stamp
from defiyield_assets.domain.news.articles import clean_title
from defiyield_assets.domain.news.canonical_urls import canonical_url
from defiyield_assets.simulator.generated import GeneratedMarket
from defiyield_assets.sources.cryptopanic import parse_page
from defiyield_assets_tests.served_market import generated_market
from defiyield_assets_tests.simulator.asking import answer, respond

DAY = date(2025, 6, 3)
ADDRESS = "https://cryptopanic.com/api/developer/v2/posts/"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> GeneratedMarket:
    return generated_market(tmp_path_factory.mktemp("news"), n_pools=5)


def pages(market: GeneratedMarket, day: date, most: int = 20, **params: Any) -> list[dict[str, Any]]:
    """Posts of the first pages, by the parameters of `next`."""
    found: list[dict[str, Any]] = []
    for number in range(1, most + 1):
        told = answer(market, day, ADDRESS, **params, **({"page": number} if number > 1 else {}))
        found += told["results"]
        if told["next"] is None:
            break
    return found


def test_pages_hold_the_newest_first_and_name_their_neighbours(market: GeneratedMarket) -> None:
    first = answer(market, DAY, ADDRESS, public="true", auth_token="mine")
    assert first["previous"] is None
    assert first["next"] == f"{ADDRESS}?public=true&auth_token=mine&page=2", "the vendor writes the token into it"
    assert len(first["results"]) == 20
    stamps = [post["published_at"] for post in pages(market, DAY, 5)]
    assert stamps == sorted(stamps, reverse=True)
    assert len(parse_page(first, ["cryptopanic.com"]).posts) == 20
    last = -(-first["count"] // 20)
    assert answer(market, DAY, ADDRESS, page=last)["next"] is None
    for page in (last + 1, 0, "x", "9" * 30):
        assert respond(market, DAY, ADDRESS, page=page).status_code == 404


def test_nothing_is_told_that_lies_ahead_and_what_was_told_stays(market: GeneratedMarket) -> None:
    today = {post["id"]: post for post in pages(market, DAY, 4)}
    later = {post["id"]: post for post in pages(market, DAY + timedelta(days=1), 8)}
    assert all(datetime.fromisoformat(post["published_at"]) < end_of(DAY) for post in today.values())
    assert today.keys() <= later.keys()
    for name, post in today.items():
        assert {**post, "votes": None} == {**later[name], "votes": None}
        assert all(later[name]["votes"][kind] >= count for kind, count in post["votes"].items())
    assert any(later[name]["votes"] != post["votes"] for name, post in today.items())


def test_the_same_seed_tells_the_same_news(market: GeneratedMarket, tmp_path: Path) -> None:
    other = generated_market(tmp_path, n_pools=5)
    assert answer(other, DAY, ADDRESS) == answer(market, DAY, ADDRESS)


def test_news_have_doubles_unlisted_coins_and_hostile_titles(market: GeneratedMarket) -> None:
    posts = market.news(DAY)
    assert len({canonical_url(post.url) for post in posts}) < len({post.url for post in posts})
    listed = {one.symbol for one in market.instruments}
    assert {code for post in posts for code, _ in post.coins} - listed
    assert any("<script>" in post.title for post in posts)
    assert any("Ignore all previous" in post.title for post in posts)
    assert any(clean_title(post.title)[0] != post.title for post in posts)
    assert {post.region for post in posts} == {"en", "de"}


@pytest.mark.parametrize("wanted", ["rising", "hot", "bullish", "bearish", "important"])
def test_every_filter_picks_some_posts(market: GeneratedMarket, wanted: str) -> None:
    count = answer(market, DAY, ADDRESS)["count"]
    assert 0 < answer(market, DAY, ADDRESS, filter=wanted)["count"] < count


def test_currencies_regions_and_kinds_pick_theirs(market: GeneratedMarket) -> None:
    told = answer(market, DAY, ADDRESS, currencies="ETH,SOL", regions="en", kind="news")["results"]
    assert told
    for post in told:
        assert {one["code"] for one in post["currencies"]} & {"ETH", "SOL"}
        assert (post["source"]["region"], post["kind"]) == ("en", "news")
    assert answer(market, DAY, ADDRESS, filter="unheard of")["count"] == 0


def test_votes_are_told_as_of_the_stamp_of_the_day(market: GeneratedMarket) -> None:
    post = market.news(DAY)[0]
    assert post.votes_at(post.published_at - timedelta(hours=1)) == dict.fromkeys(post.final_votes, 0)
    told = answer(market, DAY, ADDRESS)["results"][0]
    assert told["votes"] == post.votes_at(market_stamp(DAY))
    assert post.votes_at(market_stamp(DAY) + timedelta(days=60)) == dict(post.final_votes)
