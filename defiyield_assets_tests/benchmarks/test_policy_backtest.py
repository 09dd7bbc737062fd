"""The recorded panel as a backtest reads it: its universe, and nothing of the future in the tables of a day."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.policy_backtest import CHOSEN, FORESIGHT, GRID, SIMPLE, parsed
from benchmarks.policy_backtest_records import PanelRecords, Universe, read_universe
from defiyield_assets.domain.days import DayRange

pytestmark = pytest.mark.recorded
EVENING = date(2025, 2, 11)


@pytest.fixture(scope="module")
def universe(recorded_data: Path) -> Universe:
    return read_universe(recorded_data)


class ShortRecords(PanelRecords):
    """Only the days around one evening, to save time."""

    days = DayRange(EVENING, date(2025, 2, 14))  # type: ignore[assignment]


def test_the_universe_is_that_of_the_specification(universe: Universe) -> None:
    assert universe.n_series == 85
    assert set(universe.listed["role"]) == {"lend", "vault"}
    assert {universe.policy.protocol_of(name) for name in universe.listed["project"]} <= set(universe.policy.protocols)


def test_tables_of_an_evening_do_not_change_when_all_later_points_are_noise(
    universe: Universe, recorded_data: Path
) -> None:
    points, noise = universe.points.copy(), np.random.default_rng(5)
    later = points["date"] > EVENING
    assert later.sum() > 1_000
    for column in ("apy", "apy_base", "apy_reward", "tvl_usd"):
        points.loc[later, column] = noise.uniform(0.0, 1e7, size=int(later.sum()))
    told = [ShortRecords(one, {}, recorded_data).known(EVENING) for one in (universe, replace(universe, points=points))]
    for name in ("pools", "prefiltered", "quality", "metrics", "groups", "icebox", "bars", "gas_forecasts"):
        pd.testing.assert_frame_equal(getattr(told[0], name), getattr(told[1], name))
    assert told[0].prefiltered["is_passed"].sum() >= 24


def test_the_grid_holds_what_is_frozen_and_names_parameters_of_the_policy(universe: Universe) -> None:
    assert CHOSEN in GRID
    assert all(hasattr(universe.policy.parameters, name) for setting in GRID for name in setting)
    assert FORESIGHT not in SIMPLE
    assert parsed(["--check"]).processes == 2
