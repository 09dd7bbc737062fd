"""Curves of utilisation: what is found in histories that follow one, and what is refused."""

import gzip
import json
import math
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.allocation.utilisation import (
    FIT_DAYS,
    MIN_POINTS,
    UtilisationCurve,
    fit_curve,
    fit_curves,
)

AAVE = "aave/aave_v3_ethereum_hourly_supply_borrow_2026-04-21_2026-04-23.json.gz"
DAY = date(2025, 6, 2)
KNOWN = datetime(2025, 6, 3, 1, tzinfo=UTC)
STEEP = UtilisationCurve(0.92, 0.0, 0.06, 4.3)
"""Above its kink 3 % more supply cut 17.5 % to about 5.5 %: the example of the specification."""
Points = list[tuple[float, float]]


def points(curve: UtilisationCurve, used: list[float], noise: float = 0.0) -> Points:
    rng = random.Random(1)
    return [(one, math.expm1(math.log1p(curve.supply_rate(one)) * (1 + noise * rng.uniform(-1, 1)))) for one in used]


def spread(low: float, high: float, n: int = 60) -> list[float]:
    """Utilisations that wander between the two."""
    return [low + (high - low) * (0.5 + 0.5 * math.sin(step * 0.7)) for step in range(n)]


def test_the_supply_rate_is_the_borrow_rate_on_what_is_lent_out_compounded() -> None:
    curve = UtilisationCurve(0.8, 0.01, 0.05, 1.0)
    assert curve.supply_rate(0.5) == pytest.approx(math.exp((0.01 + 0.05 * 0.5) * 0.5) - 1)
    assert curve.supply_rate(0.9) == pytest.approx(math.exp((0.01 + 0.05 * 0.8 + 1.0 * 0.1) * 0.9) - 1)
    assert curve.supply_rate(0.0) == 0.0
    assert curve.supply_rate(1.2) == curve.supply_rate(1.0)


def test_above_the_kink_a_little_more_supply_cuts_the_rate_to_a_third() -> None:
    used = 0.947
    assert STEEP.supply_rate(used) == pytest.approx(0.175, abs=0.005)
    assert STEEP.supply_rate(used / 1.03) == pytest.approx(0.055, abs=0.005)


@settings(max_examples=25, deadline=None)
@given(
    kink=st.sampled_from([0.7, 0.8, 0.9, 0.92]),
    start=st.sampled_from([0.0, 0.01]),
    slope=st.floats(0.02, 0.12),
    steeper=st.floats(3.0, 60.0),
    below=st.floats(0.05, 0.3),
)
def test_the_curve_that_made_a_history_is_found(
    kink: float, start: float, slope: float, steeper: float, below: float
) -> None:
    curve = UtilisationCurve(kink, start, slope, slope * steeper)
    found = fit_curve(points(curve, spread(kink - below, min(1.0, kink + 0.05)), noise=0.005))
    assert found is not None
    assert found.kink == pytest.approx(kink, abs=0.006)
    for used in (kink - below / 2, kink, kink + 0.02):
        assert found.supply_rate(used) == pytest.approx(curve.supply_rate(used), rel=0.03)


def test_a_history_below_its_kink_gives_a_straight_line() -> None:
    found = fit_curve(points(STEEP, spread(0.6, 0.9)))
    assert found is not None
    assert found.supply_rate(0.75) == pytest.approx(STEEP.supply_rate(0.75), rel=1e-3)
    assert found.slope_above == pytest.approx(found.slope, rel=0.05) or found.kink == 1.0


def test_a_few_absurd_points_do_not_move_the_curve() -> None:
    told = points(STEEP, spread(0.8, 0.96))
    told[10], told[31] = (told[10][0], 4.0), (told[31][0], 1e-5)
    found = fit_curve(told)
    assert found is not None
    assert found.supply_rate(0.95) == pytest.approx(STEEP.supply_rate(0.95), rel=0.02)


def shuffled(told: Points) -> Points:
    rates = [rate for _, rate in told]
    random.Random(3).shuffle(rates)
    return list(zip([used for used, _ in told], rates, strict=True))


def changed_model(told: Points) -> Points:
    """Governance halves the rates a month before the end."""
    return [(used, rate if at < 40 else rate / 2) for at, (used, rate) in enumerate(told)]


def three_above(told: Points) -> Points:
    """Below the kink but for three points: without any one of them there would be no kink."""
    above = dict(zip((3, 10, 17), points(STEEP, [0.94, 0.95, 0.96]), strict=True))
    return [above.get(at, pair) for at, pair in enumerate(told)]


REFUSED = {
    "too few points": points(STEEP, spread(0.8, 0.96, MIN_POINTS - 1)),
    "utilisation never moved": points(STEEP, spread(0.85, 0.86)),
    "rates have nothing to do with utilisation": shuffled(points(STEEP, spread(0.8, 0.96))),
    "the rate model was changed": changed_model(points(STEEP, spread(0.8, 0.96))),
    "the newest point is of another model": [*points(STEEP, spread(0.8, 0.96)), (0.85, 0.09)],
    "the kink rests on three points alone": three_above(points(STEEP, spread(0.8, 0.9, 20))),
    "nothing is earned": [(used, 0.0) for used in spread(0.8, 0.96)],
    "rates are noisy": points(STEEP, spread(0.8, 0.96), noise=0.3),
    "there is nothing": [],
}


@pytest.mark.parametrize("why", REFUSED)
def test_no_curve_is_found_where(why: str) -> None:
    assert fit_curve(REFUSED[why]) is None


def histories(told: Points, **changes: Any) -> pd.DataFrame:
    """Rows of lending_histories, the last one of DAY."""
    days = [DAY - timedelta(days=back) for back in reversed(range(len(told)))]
    rows = pd.DataFrame(
        {
            "pool_id": "a",
            "date": pd.Series(days, dtype=object),
            "total_supply_usd": 2.0**27,
            "total_borrow_usd": [used * 2.0**27 for used, _ in told],
            "apy_base": [rate for _, rate in told],
            "apy_reward": None,
            "apy_base_borrow": None,
            "apy_reward_borrow": None,
            "seen_at": KNOWN - timedelta(minutes=30),
        }
    )
    return rows.assign(**changes)


def test_curves_are_fitted_per_pool_and_only_where_there_is_one() -> None:
    told = points(STEEP, spread(0.8, 0.96))
    rows = pd.concat([histories(told), histories(shuffled(told), pool_id="b")], ignore_index=True)
    assert fit_curves(rows, DAY, KNOWN) == {"a": fit_curve(told)}
    assert fit_curves(rows.iloc[:0], DAY, KNOWN) == {}


def test_rows_without_supply_or_rate_say_nothing() -> None:
    told = points(STEEP, spread(0.8, 0.96))
    rows = histories(told)
    rows.loc[:2, "total_supply_usd"] = None
    rows.loc[3:5, "apy_base"] = None
    rows.loc[6:8, "total_supply_usd"] = 0.0
    assert fit_curves(rows, DAY, KNOWN) == {"a": fit_curve(told[9:])}


@pytest.mark.parametrize("changes", [{"date": DAY + timedelta(days=1)}, {"seen_at": KNOWN + timedelta(seconds=1)}])
def test_what_is_of_a_later_day_or_was_seen_later_changes_nothing(changes: dict[str, Any]) -> None:
    told = points(STEEP, spread(0.8, 0.96))
    noise = histories([(0.5, 9.0)] * 40, **changes)
    later = noise if "date" in changes else noise.assign(date=[DAY - timedelta(days=60 + back) for back in range(40)])
    assert fit_curves(pd.concat([histories(told), later]), DAY, KNOWN) == fit_curves(histories(told), DAY, KNOWN)


def test_only_the_last_ninety_days_count() -> None:
    told = points(STEEP, spread(0.8, 0.96, 200))
    assert fit_curves(histories(told), DAY, KNOWN) == {"a": fit_curve(told[-FIT_DAYS:])}
    old = [(0.5, 9.0)] * 110 + told[-FIT_DAYS:]
    assert fit_curves(histories(old), DAY, KNOWN) == {"a": fit_curve(told[-FIT_DAYS:])}


def recorded_reserves(folder: Path) -> dict[str, Points]:
    """(utilisation, base APY) in the order of time of Aave v3 reserves, as read from the chain."""
    market = json.loads(gzip.decompress((folder / AAVE).read_bytes()))
    found: dict[str, Points] = {}
    for snapshot in sorted(market["snapshots"], key=lambda one: one["ts"]):
        for reserve in snapshot["reserves"]:
            if reserve.get("reserveFactor") is not None:
                pair = (reserve["util"] / 100, reserve["apyBase"] / 100)
                found.setdefault(reserve["symbol"], []).append(pair)
    return found


@pytest.mark.recorded
def test_recorded_reserves_of_aave_show_their_kinks(recorded_data: Path) -> None:
    reserves = recorded_reserves(recorded_data)
    curves = {symbol: curve for symbol, told in reserves.items() if (curve := fit_curve(told)) is not None}
    assert set(curves) == {"DAI", "PYUSD", "RLUSD", "USDG", "USDS", "USDe", "USDtb", "cbBTC", "mUSD"}
    assert curves["RLUSD"].kink == pytest.approx(0.80)
    assert curves["RLUSD"].slope_above == pytest.approx(2.0, rel=0.01), "250 % borrow slope less 20 % reserve factor"
    for symbol, curve in curves.items():
        told = [(used, rate) for used, rate in reserves[symbol] if used <= 1.01 and rate > 0]
        errors = sorted(abs(curve.supply_rate(used) / rate - 1) for used, rate in told)
        assert errors[len(errors) // 2] < 0.005
    assert fit_curve(reserves["EURC"]) is None, "its rates lag behind its utilisation"
