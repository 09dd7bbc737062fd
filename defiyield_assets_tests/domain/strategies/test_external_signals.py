"""Signals beside bars: the join against a plain second implementation, what is known when, the hash of signals."""

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.strategies.bars import price_history
from defiyield_assets.domain.strategies.external import SIDES, join, signal_frame, signals_hash, types_heard

NAMES = ("crypto:A", "equity:B")
TYPE = "ai:m"


def history(random: np.random.Generator, n: int = 30) -> Any:
    """Bars of two instruments, the second with days without a session."""
    dates = np.datetime64("2024-01-01") + np.arange(n)
    close = np.full((n, 2), 10.0)
    close[random.random(n) < 0.3, 1] = np.nan
    return price_history(NAMES, dates, {"close": close})


def signals(random: np.random.Generator, m: int = 40) -> pd.DataFrame:
    """Signals at any hour, of two types, in no order."""
    start = datetime(2023, 12, 30)
    rows = [
        (
            NAMES[random.integers(2)],
            TYPE if random.random() < 0.8 else "ai:other",
            start + timedelta(hours=int(random.integers(0, 24 * 35))),
            list(SIDES)[random.integers(3)],
            None if random.random() < 0.2 else float(random.random()),
            None if random.random() < 0.3 else float(random.uniform(1, 9)),
            None if random.random() < 0.3 else float(random.uniform(11, 20)),
            None if random.random() < 0.3 else date(2024, 1, int(random.integers(1, 28))),
        )
        for _ in range(m)
    ]
    return signal_frame(rows)


def plainly(told: pd.DataFrame, bars: Any, valid_bars: int) -> dict[str, np.ndarray[Any, Any]]:
    """The same join, bar by bar and signal by signal."""
    shape = (bars.n_bars, len(bars.instruments))
    found = {name: np.full(shape, np.nan) for name in ("side", "confidence", "stop", "target")}
    found["is_in_sample"] = np.zeros(shape, dtype=bool)
    for column, name in enumerate(bars.instruments):
        rows = [int(row) for row in np.flatnonzero(bars.is_bar[:, column])]
        opens = [pd.Timestamp(bars.dates[row], tz="UTC") for row in rows]
        own = told[(told["instrument_id"] == name) & (told["signal_type"] == TYPE)]
        for one in own.sort_values("actionable_from", kind="stable").to_dict("records"):
            since = one["actionable_from"]
            later = [place for place, opened in enumerate(opens) if opened >= since]
            if not later and since > opens[-1] + pd.Timedelta(days=1):
                continue
            first = later[0] if later else len(rows)
            if first == 0:
                continue
            for row in rows[first - 1 : first - 1 + valid_bars]:
                found["side"][row, column] = SIDES[one["signal"]]
                for key, cell in (
                    ("confidence", "confidence"),
                    ("stop", "stop_loss_price"),
                    ("target", "target_price"),
                ):
                    value = one[cell]
                    found[key][row, column] = np.nan if pd.isna(value) else value
                cutoff = one["training_cutoff"]
                found["is_in_sample"][row, column] = not pd.isna(cutoff) and np.datetime64(cutoff) >= bars.dates[row]
    return found


@pytest.mark.parametrize("valid_bars", [1, 2, 7])
@pytest.mark.parametrize("seed", range(12))
def test_the_join_is_that_of_a_plain_second_implementation(seed: int, valid_bars: int) -> None:
    random = np.random.default_rng(seed)
    bars, told = history(random), signals(random)
    joined, plain = join(told, TYPE, bars, valid_bars), plainly(told, bars, valid_bars)
    for name, wanted in plain.items():
        np.testing.assert_array_equal(getattr(joined, name), wanted, err_msg=name)


@pytest.mark.parametrize("seed", range(6))
def test_later_bars_and_signals_change_no_earlier_row(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    bars, told = history(random), signals(random)
    whole = join(told, TYPE, bars, 3)
    for n in range(2, bars.n_bars):
        if not bars.is_bar[n - 1].all():
            continue
        known = told[told["actionable_from"] <= pd.Timestamp(bars.dates[n - 1], tz="UTC") + pd.Timedelta(days=1)]
        for frame in (told, known):
            cut = join(frame, TYPE, bars.until(n), 3)
            np.testing.assert_array_equal(cut.side[:, 0], whole.side[:n, 0])


def test_a_signal_of_tomorrow_belongs_to_no_bar_yet() -> None:
    bars = price_history(("crypto:A",), np.datetime64("2024-01-01") + np.arange(3), {"close": np.full((3, 1), 10.0)})
    times = (datetime(2024, 1, 4), datetime(2024, 1, 4, 1), datetime(2024, 1, 9))
    rows = [("crypto:A", TYPE, time, "BUY", 1.0, None, None, None) for time in times]
    assert join(signal_frame(rows[:1]), TYPE, bars, 1).side[2, 0] == 1.0
    assert np.isnan(join(signal_frame(rows[1:]), TYPE, bars, 1).side).all()


def test_a_model_knew_the_days_up_to_its_cutoff() -> None:
    bars = price_history(("crypto:A",), np.datetime64("2024-01-01") + np.arange(5), {"close": np.full((5, 1), 10.0)})
    rows = [("crypto:A", TYPE, datetime(2024, 1, day), "BUY", 1.0, None, None, date(2024, 1, 2)) for day in range(2, 6)]
    assert join(signal_frame(rows), TYPE, bars, 1).is_in_sample[:, 0].tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("time", "is_heard"),
    [
        (datetime(2024, 1, 1, 23), False),
        (datetime(2024, 1, 2), True),
        (datetime(2024, 1, 4, 23), True),
        (datetime(2024, 1, 5), False),
    ],
)
def test_a_type_is_heard_where_one_of_the_instruments_has_a_signal_of_it_in_the_days(
    time: datetime, is_heard: bool
) -> None:
    told = signal_frame([("crypto:A", TYPE, time, "BUY", 1.0, None, None, None)])
    first, last = date(2024, 1, 2), date(2024, 1, 4)
    assert types_heard(told, ["crypto:A", "equity:B"], first, last) == ({TYPE} if is_heard else set())
    assert types_heard(told, ["equity:B"], first, last) == set(), "signals of others are none"


def test_a_signal_that_is_none_is_an_error() -> None:
    row = ("crypto:A", TYPE, datetime(2024, 1, 2), "LONG", 1.0, None, None, None)
    bars = price_history(("crypto:A",), np.datetime64("2024-01-01") + np.arange(3), {"close": np.full((3, 1), 10.0)})
    with pytest.raises(ValueError, match="'LONG' is no signal"):
        join(signal_frame([row]), TYPE, bars, 1)


def test_the_hash_of_signals_knows_every_cell_of_its_types_and_no_order() -> None:
    told = signals(np.random.default_rng(3))
    same = signals_hash(told, {TYPE})
    assert signals_hash(told.iloc[::-1], {TYPE}) == same
    assert signals_hash(told, {TYPE, "ai:other"}) != same
    changed = told.copy()
    row = changed.index[changed["signal_type"] == TYPE][0]
    changed.loc[row, "confidence"] = 0.123456789
    assert signals_hash(changed, {TYPE}) != same
