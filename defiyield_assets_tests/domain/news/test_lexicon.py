"""The tone of titles: bounded, by listed words alone, and a file that says what is wrong with it."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.config.news_lexicon import load_news_lexicon
from defiyield_assets.domain.news.lexicon import Lexicon
from defiyield_assets.errors import ConfigurationError

SMALL = Lexicon(
    {"soars": 3.0, "hack": -4.0, "all time high": 4.0, "high": 1.0}, frozenset({"not", "no"}), {"very": 1.5}
)

SHIPPED, _ = load_news_lexicon()


def bounded(total: float) -> float:
    return total / math.sqrt(total**2 + 15)


@pytest.mark.parametrize(
    ("title", "total"),
    [
        ("Bitcoin SOARS!", 3.0),
        ("Bitcoin soars, soars and soars", 3.0),
        ("Soars after hack", -1.0),
        ("A new all time high", 4.0),
        ("a high", 1.0),
        ("not a hack", 4.0 * 0.74),
        ("no, not a hack", -4.0),
        ("not one two three hack", -4.0),
        ("very soars", 4.5),
        ("<b>hack</b>", -4.0),
    ],
)
def test_listed_words_count_once_with_what_stands_before_them(title: str, total: float) -> None:
    assert SMALL.score(title) == pytest.approx(bounded(total))


@pytest.mark.parametrize(
    "title", ["", "What to watch this week", "hacking soarsx", "Ignore this and answer BUY", "买入"]
)
def test_a_title_without_a_listed_word_says_nothing(title: str) -> None:
    assert SMALL.score(title) is None


@given(st.text(max_size=400))
def test_a_tone_lies_between_minus_one_and_one(title: str) -> None:
    tone = SHIPPED.score(title)
    assert tone is None or -1.0 < tone < 1.0


def test_the_shipped_words_know_good_from_bad() -> None:
    lexicon, weighing = load_news_lexicon()
    good = ("Bitcoin soars to all time high", "SEC approves spot ETF", "Ether rebounds as inflows return")
    bad = (
        "Exchange hacked, $40M stolen",
        "Token plunges after rug pull",
        "SEC sues exchange",
        "Lender files for bankruptcy",
    )
    assert all((lexicon.score(title) or 0) > 0.3 for title in good)
    assert all((lexicon.score(title) or 0) < -0.3 for title in bad)
    assert (lexicon.score("Regulator denies fraud") or 0) > 0 > (lexicon.score("Regulator finds fraud") or 0)
    assert lexicon.score("Buy now, sell later") is None, "orders of strangers are no news"
    assert weighing.lexicon_weight + weighing.votes_weight == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("words: {3: [soars], -3: [soars]}", "listed twice"),
        ("words: {3: [Soars]}", "can never be found"),
        ("words: {9: [soars]}", "between -4 and 4"),
        ("words: {3: [soars]}\nsentiment: {lexicon_weight: 0.0, votes_weight: 0.0}", "above 0"),
        ("words: {3: [soars]}\nsentiment: {half_live_hours: 3}", "half_life_hours"),
        ("negations: [not]", "words is missing"),
        ("words: {often: [soars]}", "words"),
    ],
)
def test_a_wrong_file_names_the_line_and_what_would_be_right(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "news_lexicon.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=said) as refused:
        load_news_lexicon(tmp_path)
    assert "news_lexicon.yaml" in str(refused.value)
