"""What may be asked for in an address, and what is said of the rest."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.console.layout import Inner, address
from defiyield_assets.console.questions import LONGEST, Question, QuestionError

HOSTILE = (
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "javascript:alert(1)",
    'a"b',
    "a\r\nSet-Cookie: x",
    "%2e%2e",
    "?#",
)


def test_each_kind_is_read() -> None:
    asked = Question({"date": "2025-06-03", "page": "7", "sort": "apy", "q": " a\tb\n c ", "least": "4.5%"})
    assert asked.day() == date(2025, 6, 3)
    assert asked.number("page", 1) == 7
    assert asked.choice("sort", ("apy", "name")) == "apy"
    assert asked.words("q") == "a b c"
    assert asked.fraction("least") == pytest.approx(0.045)


def test_thousands_may_be_parted_and_spaces_stand_around() -> None:
    for typed in ("1000000", "1,000,000", " 1,000,000\t"):
        assert Question({"size": typed}).number("size", 0, 0, 10**9) == 1_000_000
    assert Question({"date": " 2025-06-03 "}).day() == date(2025, 6, 3)


def test_what_is_wrong_is_said_of_the_field_by_its_label() -> None:
    asked = Question({"x": "much"})
    for ask in (
        lambda: asked.number("x", 1, label="Size"),
        lambda: asked.fraction("x", "Size"),
        lambda: asked.choice("x", ("100", "25"), label="Size"),
    ):
        with pytest.raises(QuestionError, match=r"^Size: not "):
            ask()


def test_what_is_not_given_is_the_default() -> None:
    nothing = Question({})
    assert (nothing.day(), nothing.number("page", 1), nothing.choice("sort", ("a",), "a"), nothing.fraction("x")) == (
        *(None, 1, "a", None),
    )


@pytest.mark.parametrize(
    ("name", "value", "ask"),
    [
        ("date", "2025-13-01", lambda asked: asked.day()),
        ("date", "yesterday", lambda asked: asked.day()),
        ("date", "2025-06-03\x00", lambda asked: asked.day()),
        ("date", "\x00", lambda asked: asked.day()),
        ("date", "2025-06\u202e-03", lambda asked: asked.day()),
        ("page", "7\x1f", lambda asked: asked.number("page", 1)),
        ("page", "1,00", lambda asked: asked.number("page", 1)),
        ("page", "1,000,000,000", lambda asked: asked.number("page", 1)),
        ("sort", "apy\x07", lambda asked: asked.choice("sort", ("apy",))),
        ("least", "4.5\x00", lambda asked: asked.fraction("least")),
        ("page", "0", lambda asked: asked.number("page", 1)),
        ("page", "-1", lambda asked: asked.number("page", 1)),
        ("page", "1e3", lambda asked: asked.number("page", 1)),
        ("page", "٣", lambda asked: asked.number("page", 1)),
        ("page", "9" * 30, lambda asked: asked.number("page", 1)),
        ("sort", "drop table", lambda asked: asked.choice("sort", ("apy",))),
        ("least", "nan", lambda asked: asked.fraction("least")),
        ("least", "inf", lambda asked: asked.fraction("least")),
        ("least", "much", lambda asked: asked.fraction("least")),
        ("q", "x" * (LONGEST + 1), lambda asked: asked.words("q")),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str, ask: Any) -> None:
    with pytest.raises(QuestionError, match=name):
        ask(Question({name: value}))


@given(st.text(max_size=300))
def test_words_are_one_printable_line_or_refused(text: str) -> None:
    try:
        found = Question({"q": text}).words("q")
    except QuestionError:
        assert len(text) > LONGEST
    else:
        assert found.isprintable()
        assert "\n" not in found


@pytest.mark.parametrize("part", HOSTILE)
def test_an_address_is_quoted_whatever_it_is_made_of(part: str) -> None:
    for url in (address("pools", part), address("pools", q=part), Inner("words", "pools", part, date=part).url):
        assert url.startswith("/pools")
        assert not set(url) & set("<>\"'\r\n ")
        assert ".." not in url.split("?")[0].replace("..%2F", "")


def test_what_is_empty_is_left_out_of_an_address() -> None:
    assert address("pools", q="", date=None, page=2) == "/pools?page=2"
