"""Day by day and in one batch: the same bits, for any cut of the days, and nothing from later bars."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.market.features.calculate import features, in_groups
from defiyield_assets.domain.market.features.panel import HISTORY, SESSION_HISTORY, BarTable, Vector
from defiyield_assets.domain.market.features.recursions import STATE_FIELDS, State, blank_state
from defiyield_assets.domain.market.features.registry import BAR_METRICS

N_DAYS, FIRST = 480, np.datetime64("2024-01-01", "D")
Calculated = tuple[dict[str, Vector], State]


@cache
def market(seed: int) -> BarTable:
    """Coins and shares side by side: listed at different times, with missing days, highs, volumes and benchmarks, one
    that stands still, one that ends early, one of closes only."""
    random = np.random.default_rng(seed)
    parts: list[dict[str, np.ndarray]] = []
    for number in range(9):
        days = np.arange(int(random.integers(0, N_DAYS - 20)) if number > 3 else 0, N_DAYS)
        if number == 2:
            days = days[:-35]
        is_share = number % 3 == 1
        days = days[days % 7 < 5] if is_share else days[random.random(len(days)) > 0.02]
        n = len(days)
        close = np.exp(random.normal(2, 2) + np.cumsum(random.normal(0, 0.03 * (number != 5), n)))
        opened = close * np.exp(random.normal(0, 0.01, n))
        high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.01, n)))
        low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.01, n)))
        volume = np.floor(random.lognormal(8, 1, n))
        beside = 100 * np.exp(np.cumsum(random.normal(0, 0.01, n)))
        values = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
        values |= {"dollar_volume": volume * close, "benchmark_close": beside}
        for name in ("high", "volume", "benchmark_close", "open", "dollar_volume"):
            values[name] = np.where(random.random(n) < 0.004 * (number % 2), np.nan, values[name])
        if number == 6:
            values |= dict.fromkeys(("open", "high", "low", "volume"), np.full(n, np.nan))
        parts.append({**values, "day": days, "periods": np.array([252.0 if is_share else 365.0])})
    starts = np.concatenate([[0], np.cumsum([len(part["day"]) for part in parts])])
    values = {
        name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name not in ("day", "periods")
    }
    days = np.concatenate([part["day"] for part in parts])
    periods = np.concatenate([part["periods"] for part in parts])
    return BarTable(starts, FIRST + days, values, np.ones(len(days), dtype=bool), periods)


def between(table: BarTable, start: int, stop: int) -> tuple[BarTable, np.ndarray]:
    """What a run of the days start .. stop - 1 reads: its bars, and as many before them as windows reach. With the
    rows of the table that are new."""
    day = (table.dates - FIRST).astype(int)
    column = np.repeat(np.arange(table.n_instruments), np.diff(table.starts))
    reach = np.where(table.periods_per_year == 365.0, HISTORY, SESSION_HISTORY)[column]
    n_old = np.bincount(column[day < start], minlength=table.n_instruments)[column]
    place = np.arange(len(day)) - table.starts[column]
    is_new = (day >= start) & (day < stop)
    kept = is_new | ((day < start) & (place >= n_old - reach))
    starts = np.concatenate([[0], np.cumsum(np.bincount(column[kept], minlength=table.n_instruments))])
    values = {name: vector[kept] for name, vector in table.values.items()}
    part = BarTable(starts, table.dates[kept], values, is_new[kept], table.periods_per_year)
    return part, np.flatnonzero(is_new)


def calculated(table: BarTable, state: State, n_threads: int = 1) -> Calculated:
    """Every metric by row of the table, and the state behind."""
    values = {metric.name: np.full(len(table.dates), np.nan) for metric in BAR_METRICS}
    states = []
    for group in in_groups(table, state, n_threads=n_threads):
        for name, vector in group.values.items():
            values[name][group.row] = vector
        states.append(group.state)
    return values, {name: np.concatenate([state[name] for state in states]) for name in STATE_FIELDS}


@cache
def batch(seed: int) -> Calculated:
    """The whole market in one go."""
    return calculated(market(seed), blank_state(market(seed).n_instruments))


def assert_same(left: Calculated, right: Calculated) -> None:
    """Equal bits in every metric and every field of the state."""
    for ours, theirs in zip(left, right, strict=True):
        assert [name for name in ours if not np.array_equal(ours[name], theirs[name], equal_nan=True)] == []


def in_steps(table: BarTable, cuts: list[int]) -> Calculated:
    """The market in several runs, each from the state of the one before."""
    state = blank_state(table.n_instruments)
    values = {metric.name: np.full(len(table.dates), np.nan) for metric in BAR_METRICS}
    for start, stop in zip([0, *cuts], [*cuts, N_DAYS], strict=True):
        part, rows = between(table, start, stop)
        told, state = calculated(part, state)
        for name, vector in values.items():
            vector[rows] = told[name][part.is_new]
    return values, state


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2),
    cuts=st.lists(st.integers(1, N_DAYS - 1), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_runs_of_any_days_make_the_bits_of_one_batch(seed: int, cuts: list[int]) -> None:
    assert_same(in_steps(market(seed), cuts), batch(seed))


def test_single_days_make_the_bits_of_one_batch() -> None:
    assert_same(in_steps(market(0), [1, 2, 3, 20, 21, *range(N_DAYS - 12, N_DAYS)]), batch(0))


@pytest.mark.slow
def test_every_single_day_makes_the_bits_of_one_batch() -> None:
    assert_same(in_steps(market(1), list(range(1, N_DAYS))), batch(1))


def test_groups_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = batch(0)
    monkeypatch.setattr("defiyield_assets.domain.market.features.calculate.GROUP_VALUES", 2_500)
    monkeypatch.setattr("defiyield_assets.domain.market.features.calculate.PART_VALUES", 5)
    table = market(0)
    assert len(list(in_groups(table, blank_state(table.n_instruments)))) == 4
    assert_same(calculated(table, blank_state(table.n_instruments), n_threads=2), whole)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2), day=st.integers(5, N_DAYS - 2), noise=st.integers(0, 1000))
def test_later_bars_change_nothing(seed: int, day: int, noise: int) -> None:
    table, random = market(seed), np.random.default_rng(noise)
    later = (table.dates - FIRST).astype(int) > day
    values = {
        name: np.where(later, vector * random.lognormal(0, 1, len(later)), vector)
        for name, vector in table.values.items()
    }
    values["volume"] = np.where(later & (random.random(len(later)) < 0.3), np.nan, values["volume"])
    disturbed, _ = calculated(replace(table, values=values), blank_state(table.n_instruments))
    whole, _ = batch(seed)
    for name in whole:
        np.testing.assert_array_equal(disturbed[name][~later], whole[name][~later], err_msg=name)
    assert any(not np.array_equal(disturbed[name][later], whole[name][later], equal_nan=True) for name in whole)


def test_without_a_new_row_the_state_stays() -> None:
    table = market(0)
    still = replace(table, is_new=np.zeros(len(table.dates), dtype=bool))
    state = {name: np.arange(float(table.n_instruments)) for name in STATE_FIELDS}
    values, behind = features(still.panel(0, table.n_instruments), state)
    assert {matrix.shape for matrix in values.values()} == {(0, table.n_instruments)}
    assert all(np.array_equal(behind[name], state[name]) for name in STATE_FIELDS)


def test_an_infinite_result_is_unknown() -> None:
    for vector in batch(0)[0].values():
        assert not np.isinf(vector).any()
