"""Figures are exact, words are harmless."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from defiyield_assets.domain.reporting.formats import (
    about_amount,
    about_usd,
    clean,
    escape_markdown,
    float_usd,
    percent,
    short_id,
    signed_percent,
    signed_usd,
    token_amount,
    usd,
)

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
PIECES = MarkdownIt("commonmark").disable("text_join")
"""Leaves text and escapes apart, as they stand when bare addresses are looked for."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1234567.895"), "$1,234,567.90"),
        (Decimal("1234567.885"), "$1,234,567.88"),
        (Decimal("-0.5"), "-$0.50"),
        (Decimal("0.004"), "<$0.01"),
        (Decimal("-0.004"), ">-$0.01"),
        (Decimal(0), "$0.00"),
        (5, "$5.00"),
        (None, "unknown"),
        (
            Decimal("123456789012345678901234567890123456789.01"),
            "$123,456,789,012,345,678,901,234,567,890,123,456,789.01",
        ),
    ],
)
def test_dollars_are_exact(value: object, text: str) -> None:
    assert usd(value) == text


def test_money_in_floats_is_refused() -> None:
    with pytest.raises(TypeError, match="not float"):
        usd(0.1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.567, "$1,234.57"),
        (-3.0, "-$3.00"),
        (0.004, "$0.00"),
        (-0.004, "$0.00"),
        (None, "unknown"),
        (float("nan"), "unknown"),
        (float("-inf"), "unknown"),
    ],
)
def test_dollars_of_statistics_are_whole_cents(value: float | None, text: str) -> None:
    assert float_usd(value) == text


def test_signs() -> None:
    assert signed_usd(Decimal(3)) == "+$3.00"
    assert signed_usd(Decimal(-3)) == "-$3.00"
    assert signed_usd(Decimal(0)) == "$0.00"
    assert signed_percent(0.0012) == "+0.12%"
    assert percent(float("nan")) == "unknown"


@pytest.mark.parametrize(
    ("size", "text"), [(123_456_789.0, "$123M"), (1_234.0, "$1.23k"), (999.4, "$999"), (None, "unknown")]
)
def test_sizes_are_rounded(size: float | None, text: str) -> None:
    assert about_usd(size) == text


@given(amount=st.integers(-(2**256), 2**256), decimals=st.integers(0, 77))
def test_token_amounts_lose_no_digit(amount: int, decimals: int) -> None:
    whole, _, part = token_amount(amount, decimals).replace(",", "").partition(".")
    assert int(whole + part.ljust(decimals, "0")) == amount
    assert not part.endswith("0")


@given(st.text(max_size=400))
def test_cleaned_text_is_one_short_printable_line(text: str) -> None:
    line = clean(text, 50)
    assert len(line) <= 50
    assert line.isprintable()


def test_control_and_direction_characters_vanish() -> None:
    assert clean("US\x00D\x1b[31mC\u202e\n\r\tX") == "US D [31mC X"


def test_a_huge_symbol_is_cut() -> None:
    assert clean("A" * 10_000_000, 32) == "A" * 31 + "…"
    assert clean(" " * 10_000_000 + "x", 32) == "…"


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        (330_008_432_904_555_041_215_292, 18, "330,008.432905"),
        (-330_008_432_904_555_041_215_292, 18, "-330,008.432905"),
        (1_234_567_500_000, 12, "1.234568"),
        (1_234_566_500_000, 12, "1.234566"),
        (999_999_999_999_999_999, 18, "1"),
        (1, 18, "<0.000001"),
        (-1, 18, ">-0.000001"),
        (0, 18, "0"),
        (1, 6, "0.000001"),
        (None, 18, "unknown"),
    ],
)
def test_amounts_to_look_at_have_six_decimals(amount: int | None, decimals: int, text: str) -> None:
    assert about_amount(amount, decimals) == text


def test_short_ids_keep_start_and_end() -> None:
    assert short_id("0x1234567890abcdef") == "0x1234…cdef"
    assert short_id("short") == "short"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a | b || c",
        "[click](https://evil.example)",
        "![x](https://evil.example/x.png)",
        "# heading",
        "- item",
        "+ item",
        "1. item",
        "12) item",
        "===",
        "--- ",
        "`code` **bold** _it_ ~~gone~~",
        "&lt;b&gt; &amp;",
        "=cmd|' /C calc'!A0",
        "https://evil.example www.evil.example",
        "HTTP://evil.example WwW.evil.example ftp://evil.example mailto:a@evil.example xmpp:a@evil.example/b",
        "write to help@evil.example",
        "back\\slash \\| pipe",
        "> quote",
        "9.12% and -3.4 and 2025-06-02",
    ],
)
def test_markdown_shows_text_as_it_is(text: str) -> None:
    """Outside oracle: a CommonMark parser turns the escaped text into one plain text node, also inside a table."""
    paragraph, inline, _ = MARKDOWN.parse(escape_markdown(text))
    assert paragraph.type == "paragraph_open"
    assert {child.type for child in inline.children} <= {"text", "text_special"}
    assert "".join(child.content for child in inline.children) == text.strip()
    # Where GitHub or a terminal makes links of bare addresses, an escape stands within each of them.
    spans = [child.content for child in PIECES.parse(escape_markdown(text))[1].children if child.type == "text"]
    assert not [span for span in spans if re.search(r"(?i)://|www\.|\w@", span)]
    table = MARKDOWN.parse(f"| a | b |\n| --- | --- |\n| {escape_markdown(text)} | end |")
    cells = [token for token in table if token.type == "inline"]
    assert len(cells) == 4
    assert "".join(child.content for child in cells[2].children) == text.strip()


@given(st.text(max_size=60))
def test_no_text_becomes_html_in_markdown(text: str) -> None:
    line = clean(text)
    rendered = MARKDOWN.parse(f"x {escape_markdown(line)}")
    types = {child.type for token in rendered for child in token.children or []} | {token.type for token in rendered}
    assert types <= {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
