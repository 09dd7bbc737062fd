"""The random paths of the generated market: each remembers what it should, and no row knows a later one."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from defiyield_assets.simulator import generated_paths as paths

Matrix = npt.NDArray[np.float64]
ROWS, COLUMNS = 60, 5
START = np.linspace(-1.0, 1.0, COLUMNS)
HALF = np.full(COLUMNS, 0.5)
OFF = np.zeros(COLUMNS, dtype=bool)
MAKERS: dict[str, Callable[[Matrix], Matrix]] = {
    "wander": lambda draws: paths.wander(draws, 0.9, START),
    "fading": lambda draws: paths.fading(draws, HALF, START),
    "switching": lambda draws: paths.switching(draws, HALF / 2, HALF, OFF).astype(float),
    "held_from": lambda draws: paths.held_from(draws > 0.7, draws, START),
    "repeated": lambda draws: paths.repeated(draws, (draws > 0.5) & (np.arange(ROWS)[:, None] > 0)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_no_row_rests_on_a_later_one(name: str) -> None:
    draws = np.random.default_rng(1).random((ROWS, COLUMNS))
    other = draws.copy()
    other[30:] = np.random.default_rng(2).random((ROWS - 30, COLUMNS))
    before, after = MAKERS[name](draws), MAKERS[name](other)
    assert np.array_equal(before[:30], after[:30])
    assert not np.array_equal(before[30:], after[30:])


def test_a_path_goes_on_where_its_block_ended() -> None:
    draws = np.random.default_rng(3).standard_normal((ROWS, COLUMNS))
    whole = paths.wander(draws, 0.9, START)
    first = paths.wander(draws[:20], 0.9, START)
    assert np.array_equal(np.vstack([first, paths.wander(draws[20:], 0.9, first[-1])]), whole)


@pytest.mark.parametrize(("power", "kurtosis"), [(1, 3.0), (2, 35 / 3), (3, 46.2)])
def test_shocks_have_unit_variance_and_the_tails_that_are_stated(power: int, kurtosis: float) -> None:
    shocks = paths.heavy_tailed(np.random.default_rng(4), (1_000_000, 1), power)
    assert shocks.var() == pytest.approx(1.0, rel=0.05)
    assert (shocks**4).mean() == pytest.approx(kurtosis, rel=0.15)
    assert abs(shocks.mean()) < 0.01


def test_a_switch_is_on_for_the_stated_share_and_length() -> None:
    draws = np.random.default_rng(5).random((20_000, 20))
    end, share = 1 / 12, 0.3
    on = paths.switching(draws, np.full(20, end * share / (1 - share)), np.full(20, end), np.zeros(20, dtype=bool))
    assert on.mean() == pytest.approx(share, rel=0.1)
    ends = (on[:-1] & ~on[1:]).sum()
    assert on.sum() / ends == pytest.approx(12, rel=0.1)


def test_a_frozen_row_repeats_the_last_one_that_was_not() -> None:
    values = np.arange(6, dtype=float)[:, None]
    frozen = np.array([False, True, True, False, True, False])[:, None]
    assert paths.repeated(values, frozen)[:, 0].tolist() == [0, 0, 0, 3, 3, 5]


def test_jumps_fade() -> None:
    jumps = np.zeros((4, 1))
    jumps[1] = 8.0
    assert paths.fading(jumps, np.array([0.5]), np.array([2.0]))[:, 0].tolist() == [1.0, 8.5, 4.25, 2.125]


def test_a_stream_depends_on_seed_and_name_only() -> None:
    first = paths.stream(7, "gas").random(3)
    assert np.array_equal(first, paths.stream(7, "gas").random(3))
    assert not np.array_equal(first, paths.stream(7, "eth").random(3))
    assert not np.array_equal(first, paths.stream(8, "gas").random(3))
