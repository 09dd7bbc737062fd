"""Spans of time that were read: their union, the watermark, holes."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.news.coverage import Span, holes, is_within, read_until, union, watermark
from defiyield_assets_tests.domain.news.made import at

SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 10)).map(lambda pair: Span(at(pair[0]), at(pair[0] + pair[1]))),
    max_size=8,
)


@given(SPANS)
def test_a_union_holds_the_same_time_in_spans_apart(spans: list[Span]) -> None:
    joined = union(spans)
    for half_hours in range(110):
        assert is_within(at(half_hours / 2), joined) == is_within(at(half_hours / 2), spans)
    assert all(hole.start < hole.end for hole in holes(spans))
    assert union(joined) == joined


def test_the_watermark_is_the_end_of_the_newest_reading_that_had_begun() -> None:
    spans = [Span(at(0), at(5)), Span(at(10), at(20))]
    assert watermark([], at(1)) is None
    assert watermark(spans, at(30)) == at(20)
    assert watermark(spans, at(12)) == at(12), "as of an earlier time nothing later was read"
    assert watermark(spans, at(7)) == at(5)
    assert holes(spans) == [Span(at(5), at(10))]


def test_a_reading_goes_a_little_behind_the_watermark_or_to_the_first_day() -> None:
    reread = timedelta(hours=2)
    assert read_until([], at(9), at(-50), reread) == at(-50)
    assert read_until([Span(at(0), at(5))], at(9), at(-50), reread) == at(3)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="before it starts"):
        Span(at(1), at(0))
