"""What is kept, for how long, and that nobody makes the same thing twice at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from defiyield_assets.console.remembered import Made, Remembered


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_known_is_not_made_again_until_the_warehouse_changes() -> None:
    state, made = ["a"], list[str]()
    kept = Remembered(10, clock=Clock())

    def make() -> Made[str]:
        made.append(state[0])
        return Made(f"page of {state[0]}", state[0])

    assert [kept.get("x", lambda: state[0], make) for _ in range(3)] == ["page of a"] * 3
    state[0] = "b"
    assert kept.get("x", lambda: state[0], make) == "page of b"
    assert made == ["a", "b"]


@pytest.mark.parametrize(("dear", "seconds"), [(10.0, 20.0), (0.0, 0.0)])
def test_what_took_long_is_given_as_long_as_it_is_dear_while_somebody_writes(dear: float, seconds: float) -> None:
    state, clock = [0], Clock()
    kept = Remembered(10, dear=dear, clock=clock)

    def slow() -> Made[int]:
        clock.now += 2.0
        return Made(state[0], state[0])

    assert kept.get("x", lambda: state[0], slow) == 0
    state[0] = 1
    if seconds:
        clock.now += seconds - 0.5
        assert kept.get("x", lambda: state[0], slow) == 0
        clock.now += 0.5
    assert kept.get("x", lambda: state[0], slow) == 1


def test_what_is_made_of_an_older_state_is_not_taken_for_that_of_the_present() -> None:
    state = [0]
    kept = Remembered(10, clock=Clock())

    def overtaken() -> Made[str]:
        seen = state[0]
        state[0] += 1  # somebody writes while the page is made
        return Made(f"made in {seen}", seen)

    assert kept.get("x", lambda: state[0], overtaken) == "made in 0"
    assert kept.known("x", state[0]) is None


def same(value: Any) -> Callable[[], Made[Any]]:
    """Makes it, in a warehouse that does not change."""
    return lambda: Made(value, 0)


def still() -> int:
    return 0


def test_the_oldest_goes_first_and_what_is_asked_for_stays() -> None:
    kept = Remembered(3)
    for key in "abc":
        kept.get(key, still, same(key))
    assert kept.known("a", 0) == "a"
    kept.get("d", still, same("d"))
    assert [kept.known(key, 0) for key in "abcd"] == ["a", None, "c", "d"]


def test_weights_count_and_one_that_is_too_large_stands_alone() -> None:
    kept = Remembered(10, len)
    kept.get("small", still, same("x" * 4))
    kept.get("large", still, same("x" * 11))
    assert kept.known("small", 0) is None
    assert kept.known("large", 0) == "x" * 11


def test_what_fails_is_not_kept() -> None:
    kept = Remembered(10)
    with pytest.raises(ZeroDivisionError):
        kept.get("x", still, lambda: Made(1 // 0, 0))
    assert kept.get("x", still, same("well")) == "well"


def test_many_who_ask_at_once_wait_for_one_who_makes() -> None:
    kept, begun, let_go, made = Remembered(10), threading.Event(), threading.Event(), list[int]()

    def make() -> Made[str]:
        made.append(1)
        begun.set()
        assert let_go.wait(60)
        return Made("page", 0)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(kept.get, "x", still, make) for _ in range(8)]
        assert begun.wait(60)
        let_go.set()
        assert {one.result(60) for one in asked} == {"page"}
    assert made == [1]
