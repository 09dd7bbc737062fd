"""Of several answers about a bar the first is followed, none is taken back, and no answer gives way to none."""

from typing import Any

import pytest

from defiyield_assets.domain.signals.followed import settled


def row(prompt: str, status: str = "ok", *, is_followed: bool = False, bar: int = 1) -> dict[str, Any]:
    return {
        "instrument_id": "a",
        "bar_ts": bar,
        "prompt_hash": prompt,
        "status": status,
        "signal": prompt,
        "is_followed": is_followed,
    }


def told(rows: Any) -> list[tuple[str, str, bool]]:
    return [(one["prompt_hash"], one["status"], one["is_followed"]) for one in rows]


def test_a_first_answer_is_followed_whatever_became_of_it() -> None:
    for status in ("ok", "parse_failed", "invalid", "unavailable"):
        assert told(settled([], [row("p", status)]).rows) == [("p", status, True)]


@pytest.mark.parametrize(("is_again", "followed"), [(False, [True, False]), (True, [False, True])])
def test_a_later_answer_stands_beside_and_is_followed_when_that_is_asked_for(
    is_again: bool, followed: list[bool]
) -> None:
    found = settled([row("old", is_followed=True)], [row("new")], is_again=is_again)
    assert [one["is_followed"] for one in found.rows] == followed
    assert found.n_beside == (0 if is_again else 1)


def test_the_same_answer_again_changes_nothing() -> None:
    stored = [row("old", is_followed=True), row("new")]
    assert list(settled(stored, [stored[0]]).rows) == stored
    assert list(settled(stored, [stored[1]]).rows) == stored
    assert list(settled(stored, []).rows) == stored


def test_a_host_that_is_away_takes_no_answer_back_and_any_answer_takes_its_place() -> None:
    kept = settled([row("old", is_followed=True)], [row("new", "unavailable")])
    assert (told(kept.rows), kept.n_kept) == ([("old", "ok", True)], 1)
    away = [row("x", "unavailable", is_followed=True)]
    assert told(settled(away, [row("y", "unavailable")]).rows) == [("y", "unavailable", True)]
    assert told(settled(away, [row("z", "parse_failed")]).rows) == [("z", "parse_failed", True)]


def test_bars_have_nothing_to_do_with_each_other() -> None:
    found = settled([row("p", is_followed=True, bar=1)], [row("p", bar=2), row("q", bar=1)])
    assert {(one["bar_ts"], one["prompt_hash"], one["is_followed"]) for one in found.rows} == {
        (1, "p", True),
        (1, "q", False),
        (2, "p", True),
    }
