"""Progress of stages: what is left, blocks of partitions, words with numbers in them."""

import pytest

from defiyield_assets.cli.assess import blocks
from defiyield_assets.cli.lab_runs import Clock, counted


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("40 of 210 scenarios", (40, 210, "scenarios")),
        ("1,000 of 2,500 scenarios, 12 of 30 runs", (1000, 2500, "scenarios, 12 of 30 runs")),
        ("started", None),
        ("20 instruments", None),
    ],
)
def test_how_far_a_step_is_stands_in_its_words(words: str, found: tuple[int, int, str] | None) -> None:
    assert counted(words) == found


def test_what_is_left_is_told_at_the_pace_so_far() -> None:
    times = iter([100.0, 110.0, 130.0])
    clock = Clock(lambda: next(times, 130.0))
    assert clock.left("backtests", 10, 100) is None, "no pace yet"
    assert clock.left("backtests", 20, 100) == pytest.approx(80.0)
    assert clock.left("backtests", 40, 100) == pytest.approx(60.0)
    assert clock.left("metrics", 1, 5) is None, "another step"


def test_chosen_partitions_are_run_in_blocks_of_neighbours() -> None:
    keys = ["a", "b", "c", "d", "e"]
    assert blocks(keys, None) == [("a", "e")]
    assert blocks(keys, {"a", "b", "d"}) == [("a", "b"), ("d", "d")]
    assert blocks(keys, set()) == []
    assert blocks([], None) == []
