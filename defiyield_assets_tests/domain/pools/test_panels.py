"""What a range knows on each day, against each day by itself with nothing in its hands but what was known then."""

from datetime import date, datetime, timedelta
from functools import cache

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange, cutoff, market_stamp
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools import panels
from defiyield_assets.domain.pools.histories import HISTORY_COLUMNS, known_view, tracked_pools
from defiyield_assets.domain.pools.metrics import rolling_metrics
from defiyield_assets.domain.pools.panels import LOOKBACK_DAYS
from defiyield_assets.domain.pools.quality import assess_quality
from defiyield_assets_tests.domain.pools.cases import DAY, NO_LEGS

DAYS = DayRange(DAY - timedelta(days=70), DAY)
"""More than two blocks of days."""
HOSTILE = ("'; DROP TABLE pools; --", "=cmd|' /C calc'!A0", "\u202eevil", "0", "nan ", "p" * 3_000, "a\nb", "ü")


@cache
def histories(seed: int = 5) -> pd.DataFrame:
    """Eight pools over 130 days with gaps, late sights and up to four revisions of a point, in no order."""
    random, rows = np.random.default_rng(seed), []
    for number, pool_id in enumerate(HOSTILE):
        for day in DAYS.back(LOOKBACK_DAYS):
            if random.random() < 0.05:
                continue
            n_revisions = int(random.integers(2, 5)) if random.random() < 0.02 * number else 1
            seen = market_stamp(day) + timedelta(days=int(random.integers(0, 3) if number % 2 else 0))
            for revision in range(n_revisions):
                apy = random.uniform(-0.01, 0.2) * (30 if random.random() < 0.02 else 1)
                values = (apy, apy * 0.7, apy * 0.3, random.uniform(1e6, 9e6), np.nan)
                rows.append((pool_id, day, revision, *values, False, "chart", seen))
                # Mostly later, sometimes earlier: a re-run of a day may append an older sight.
                seen += timedelta(days=int(random.integers(-2, 20)), hours=1)
    frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
    return frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)


@cache
def followed(seed: int = 6) -> pd.DataFrame:
    """Every pool on nine days of ten."""
    random = np.random.default_rng(seed)
    pairs = [(day, pool_id) for day in DAYS for pool_id in HOSTILE if random.random() < 0.9]
    return pd.DataFrame(pairs, columns=["date", "pool_id"], dtype=object)


def day_by_day(name: str) -> pd.DataFrame:
    """Each day alone, of the one value per point that `known_view` says was known by its cutoff."""
    frames, told = [], histories()
    for day in DAYS:
        view = known_view(told[told["date"] <= day], cutoff(day))[list(HISTORY_COLUMNS)]
        frames.append(calculated(name, view, DayRange.of(day)))
    return pd.concat(frames, ignore_index=True)


def calculated(name: str, revisions: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    if name == "quality":
        return assess_quality(revisions, followed(), days, Parameters())
    return rolling_metrics(revisions, followed(), NO_LEGS, days, Parameters())


def same_bits(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal to the last bit, in dtypes and order too."""
    pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.mark.parametrize("name", ["quality", "metrics"])
def test_a_range_knows_on_each_day_what_the_day_alone_knew(name: str) -> None:
    same_bits(calculated(name, histories(), DAYS), day_by_day(name))


@pytest.mark.parametrize("name", ["quality", "metrics"])
def test_nothing_depends_on_who_is_laid_out_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calculated(name, histories(), DAYS)
    monkeypatch.setattr(panels, "POOLS_AT_ONCE", 1)
    monkeypatch.setattr(panels, "BLOCK_DAYS", 7)
    same_bits(calculated(name, histories(), DAYS), whole)


def test_dates_and_stamps_may_be_those_of_numpy_or_of_python() -> None:
    told = histories()
    as_read = told.assign(
        date=told["date"].to_numpy().astype("datetime64[D]"),
        seen_at=np.array([stamp.to_pydatetime() for stamp in told["seen_at"]], dtype=object),
    )
    assert isinstance(as_read["seen_at"].iloc[0], datetime)
    same_bits(calculated("metrics", as_read, DAYS), calculated("metrics", told, DAYS))


def test_what_nobody_follows_has_no_row() -> None:
    nobody = pd.DataFrame({"date": [], "pool_id": []}, dtype=object)
    assert assess_quality(histories(), nobody, DAYS, Parameters()).empty


def test_the_followed_are_in_order_of_day_and_id_and_each_once() -> None:
    day, later = date(2025, 6, 1), date(2025, 6, 3)
    verdicts = pd.DataFrame(
        [(later, "b", True), (later, "a", True), (day, "c", False)], columns=["date", "pool_id", "is_passed"]
    )
    held = pd.DataFrame([(later, "b"), (day, "z"), (date(2025, 7, 1), "y")], columns=["date", "pool_id"])
    found = tracked_pools(verdicts, held, DayRange(day, later), ["n", "m"])
    between = date(2025, 6, 2)
    pairs = [(day, "z"), (between, "m"), (between, "n"), (later, "a"), (later, "b")]
    assert list(found.itertuples(index=False, name=None)) == pairs
