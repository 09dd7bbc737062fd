"""What is kept, for how long, and that nobody makes the same thing twice at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from defiyield_assets.console.remembered import DEAR, Remembered


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_known_is_not_made_again_until_the_warehouse_changes() -> None:
    state, clock, made = ["a"], Clock(), list[str]()
    kept = Remembered(lambda: state[0], 10, clock=clock)

    def make() -> str:
        made.append(state[0])
        return f"page of {state[0]}"

    assert [kept.get("x", make) for _ in range(3)] == ["page of a"] * 3
    state[0] = "b"
    assert kept.get("x", make) == "page of b"
    assert made == ["a", "b"]


def test_what_took_long_is_kept_ten_times_as_long_while_somebody_writes() -> None:
    state, clock = [0], Clock()
    kept = Remembered(lambda: state[0], 10, clock=clock)

    def slow() -> int:
        clock.now += 2.0
        return state[0]

    assert kept.get("x", slow) == 0
    state[0] = 1
    clock.now += 2.0 * DEAR - 0.5
    assert kept.get("x", slow) == 0
    clock.now += 0.5
    assert kept.get("x", slow) == 1


def test_the_state_counts_from_before_the_making() -> None:
    state = [0]
    kept = Remembered(lambda: state[0], 10, clock=Clock())

    def overtaken() -> str:
        state[0] += 1  # somebody writes while the page is made
        return f"made in {state[0] - 1}"

    assert kept.get("x", overtaken) == "made in 0"
    assert kept.known("x") is None


def test_the_oldest_goes_first_and_what_is_asked_for_stays() -> None:
    kept = Remembered(lambda: 0, 3)
    for key in "abc":
        kept.get(key, lambda key=key: key)
    assert kept.known("a") == "a"
    kept.get("d", lambda: "d")
    assert [kept.known(key) for key in "abcd"] == ["a", None, "c", "d"]


def test_weights_count_and_one_that_is_too_large_stands_alone() -> None:
    kept = Remembered(lambda: 0, 10, len)
    kept.get("small", lambda: "x" * 4)
    kept.get("large", lambda: "x" * 11)
    assert kept.known("small") is None
    assert kept.known("large") == "x" * 11


def test_what_fails_is_not_kept() -> None:
    kept = Remembered(lambda: 0, 10)
    with pytest.raises(ZeroDivisionError):
        kept.get("x", lambda: 1 // 0)
    assert kept.get("x", lambda: "well") == "well"


def test_many_who_ask_at_once_wait_for_one_who_makes() -> None:
    kept, begun, let_go, made = Remembered(lambda: 0, 10), threading.Event(), threading.Event(), list[int]()

    def make() -> str:
        made.append(1)
        begun.set()
        assert let_go.wait(60)
        return "page"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(kept.get, "x", make) for _ in range(8)]
        assert begun.wait(60)
        let_go.set()
        assert {one.result(60) for one in asked} == {"page"}
    assert made == [1]
