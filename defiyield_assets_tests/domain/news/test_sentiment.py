"""Sentiment by the hour: golden figures by hand, and nothing of it rests on what was told later."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.days import GRACE
from defiyield_assets.domain.news.articles import VOTES, Telling
from defiyield_assets.domain.news.coverage import Span
from defiyield_assets.domain.news.lexicon import Lexicon
from defiyield_assets.domain.news.sentiment import (
    HOUR,
    Mention,
    Opinion,
    Weighing,
    article_sentiment,
    combine,
    due_hours,
    hourly,
    missing_hours,
    opinions,
    ruler_of,
    votes_score,
)
from defiyield_assets_tests.domain.news.made import NOON, at

WEIGHING = Weighing(timedelta(hours=24), timedelta(hours=6), 0.6, 0.4, 5.0)
CHANGES: dict[str, Any] = {
    **{"window": timedelta(hours=12), "half_life": timedelta(hours=3)},
    **{"lexicon_weight": 0.5, "votes_weight": 0.5, "votes_prior": 4.0},
}
DAY = [NOON + number * HOUR for number in range(-12, 40)]


def test_a_post_that_was_told_without_votes_has_no_opinion() -> None:
    assert opinions([Telling("1", NOON, "a", None)], VOTES) == {}


def test_another_word_or_weight_is_another_ruler() -> None:
    lexicon, weighing = Lexicon({"hack": -2.0}, frozenset({"no"}), {"very": 1.5}), Weighing()
    rulers = {
        ruler_of(*pair)
        for pair in (
            (lexicon, weighing),
            (replace(lexicon, words={"hack": 2.0}), weighing),
            (replace(lexicon, negations=frozenset()), weighing),
            (replace(lexicon, boosters={}), weighing),
            *((lexicon, replace(weighing, **{name: change})) for name, change in CHANGES.items()),
        )
    }
    assert len(rulers) == 4 + len(CHANGES)
    assert ruler_of(Lexicon({"hack": -2.0}, frozenset({"no"}), {"very": 1.5}), Weighing()) in rulers


def test_votes_of_opinion_are_good_less_bad_over_all_and_a_prior() -> None:
    told = dict(zip(VOTES, (2, 10, 99, 3, 1, 99, 2, 99, 99), strict=True))
    (found,) = opinions([Telling("1", NOON, "a", tuple(told.values()))], VOTES)["1"]
    assert (found.balance, found.number) == (10 + 3 - 2 - 1 - 2, 18)
    assert votes_score(found.balance, found.number, 5.0) == pytest.approx(8 / 23)
    assert votes_score(0, 0, 5.0) is None


def test_one_is_the_other_where_one_is_unknown() -> None:
    assert combine(None, None, WEIGHING) is None
    assert combine(0.5, None, WEIGHING) == 0.5
    assert combine(None, -0.5, WEIGHING) == -0.5
    assert combine(0.5, -0.5, WEIGHING) == pytest.approx(0.6 * 0.5 - 0.4 * 0.5)


def test_golden_hour_by_hand() -> None:
    mentions = [Mention("a", at(0.5), 0.8, ("1",)), Mention("b", at(-5), -0.4, ("2",)), Mention("c", at(0.2), None)]
    told = {"1": [Opinion(at(0.9), 4, 5), Opinion(at(1.5), 10, 15), Opinion(at(2.5), 99, 99)]}
    (row,) = hourly(mentions, told, [NOON], WEIGHING)
    new, old = 0.5 ** (0.5 / 6), 0.5 ** (6 / 6)
    tone = (new * 0.8 + old * -0.4) / (new + old)
    assert (row.n_articles, row.n_window, row.n_votes) == (2, 3, 15)
    assert row.lexicon_score == pytest.approx(tone)
    assert row.votes_score == pytest.approx(10 / 20)
    assert row.combined == pytest.approx(0.6 * tone + 0.4 * 0.5)
    assert row.known_at == at(1.5), "the newest votes in it, told within the grace after its end"


def test_an_article_of_the_very_end_of_an_hour_belongs_to_the_next() -> None:
    rows = hourly([Mention("a", at(1), 0.5)], {}, DAY, WEIGHING)
    assert rows[0].hour == at(1)
    assert len(rows) == 24
    assert [row.n_articles for row in rows] == [1] + [0] * 23


def test_hours_without_an_article_in_their_window_have_no_row() -> None:
    assert hourly([], {}, DAY, WEIGHING) == []
    assert hourly([Mention("a", at(-40), 0.5)], {}, [NOON], WEIGHING) == []


INSTANTS = st.integers(-24 * 60, 36 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes))
MENTIONS = st.lists(st.tuples(INSTANTS, st.none() | st.floats(-1, 1), st.integers(0, 4)), min_size=1, max_size=12).map(
    lambda rows: [Mention(str(n), known, tone, (str(p),)) for n, (known, tone, p) in enumerate(rows)]
)
TOLD = st.lists(st.tuples(st.integers(0, 4), INSTANTS, st.integers(-9, 9)), max_size=15)


def by_post(told: list[tuple[int, datetime, int]]) -> dict[str, list[Opinion]]:
    found: dict[str, list[Opinion]] = {}
    for name, instant, balance in sorted(told, key=lambda one: one[1]):
        found.setdefault(str(name), []).append(Opinion(instant, balance, abs(balance)))
    return found


@given(MENTIONS, TOLD, MENTIONS, TOLD, st.integers(-10, 30))
def test_noise_told_later_changes_no_earlier_row(
    mentions: list[Mention],
    told: list[tuple[int, datetime, int]],
    other: list[Mention],
    noise: list[tuple[int, datetime, int]],
    number: int,
) -> None:
    hour = NOON + number * HOUR
    end = hour + HOUR
    before = hourly(mentions, by_post(told), [hour], WEIGHING)
    past = [one for one in mentions if one.known_at < end]
    future = [
        Mention(f"x{one.article_id}", one.known_at, one.tone, one.post_ids) for one in other if one.known_at >= end
    ]
    told_past = [one for one in told if one[1] <= end + GRACE]
    told_future = [one for one in noise if one[1] > end + GRACE]
    assert hourly([*past, *future], by_post([*told_past, *told_future]), [hour], WEIGHING) == before
    assert all(end <= row.known_at <= end + GRACE for row in before)


def test_votes_of_one_article_are_those_told_by_then() -> None:
    told = {"1": [Opinion(at(1), -5, 5), Opinion(at(3), 20, 20)]}
    mention = Mention("a", NOON, None, ("1", "2"))
    scores = [article_sentiment(mention, told, at(hours), WEIGHING) for hours in (0.5, 2, 4)]
    assert scores == [None, pytest.approx(-0.5), pytest.approx(0.8)]


def test_due_are_hours_read_to_their_end_that_lack_a_row_or_an_article() -> None:
    mentions = [Mention("a", at(-60), 0.1), Mention("b", at(-100), 0.1)]
    read = [Span(at(-100.5), at(0.9))]
    held = {at(-60 + number) for number in range(24)} | {at(-100 + number) for number in range(24)}
    assert missing_hours(mentions, {}, read, WEIGHING) == held
    rows = {row.hour: row.n_articles for row in hourly(mentions, {}, held, WEIGHING)}
    assert missing_hours(mentions, rows, read, WEIGHING) == set()
    late = [*mentions, Mention("c", at(-70.5), 0.1)]
    again = missing_hours(late, rows, read, WEIGHING)
    assert again == {at(-71 + number) for number in range(24)}, "every hour with the new article in its window"
    half_read = [Mention("e", at(-100.2), 0.1)]
    rows = {at(-100 + number): 0 for number in range(24)}
    assert missing_hours(half_read, rows, read, WEIGHING) == set(), "its own hour was read in part and has no row"
    assert missing_hours([Mention("d", at(0.5), 0.1)], {}, read, WEIGHING) == set(), "the hour is not over"


def test_the_last_two_days_are_made_again_for_their_votes() -> None:
    mentions = [Mention("a", at(-30), 0.1), Mention("b", at(-80), 0.1)]
    read = [Span(at(-100), at(0))]
    rows = {
        row.hour: row.n_articles for row in hourly(mentions, {}, DAY + [at(-100 + n) for n in range(100)], WEIGHING)
    }
    assert due_hours(mentions, rows, read, WEIGHING) == {at(-30 + number) for number in range(24)}
    assert due_hours(mentions, {}, [], WEIGHING) == set()
