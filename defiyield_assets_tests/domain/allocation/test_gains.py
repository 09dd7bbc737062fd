"""Returns, dilution, curves of utilisation and secants against their formulas."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.allocation.facts import PoolOption
from defiyield_assets.domain.allocation.gains import (
    base_dilution,
    diluted_apy,
    dilution,
    hull,
    period_return,
    pool_gain,
    secant_gain,
    secant_knots,
    secants,
)
from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units

PARAMETERS = Parameters()


def option(**changes):
    pool = Market([Coin("usdc", balance=units(1))], [Pool("a", apy=0.12)]).problem().pools[0]
    return replace(pool, **changes)


def test_a_base_apy_compounds_over_the_horizon() -> None:
    assert period_return(0.12, 0.0, PARAMETERS) == pytest.approx(0.0093579, abs=1e-6)
    assert period_return(0.12, 0.0, replace(PARAMETERS, horizon_days=365)) == pytest.approx(0.12)


def test_a_reward_is_simple_and_pays_its_haircut() -> None:
    assert period_return(0.12, 1.0, PARAMETERS) == pytest.approx(0.12 * 0.8 * 30 / 365)
    half = period_return(0.12, 0.5, PARAMETERS)
    assert half == pytest.approx(1.06 ** (30 / 365) - 1 + 0.06 * 0.8 * 30 / 365)


def test_a_loss_of_more_than_everything_is_everything() -> None:
    assert period_return(-1.5, 0.0, PARAMETERS) == -1.0


def test_our_deposit_dilutes_pro_rata_and_what_we_hold_is_already_inside_the_size() -> None:
    assert dilution(10.0, 0.0, 90.0) == pytest.approx(0.9)
    assert dilution(10.0, 10.0, 90.0) == 1.0
    assert dilution(5.0, 10.0, 90.0) > 1.0
    assert dilution(50.0, 10.0, None) == 1.0
    assert dilution(50.0, 100.0, 90.0) == 1.0


def test_secants_meet_the_curve_at_the_knots_and_never_promise_more() -> None:
    pool, held, upper = option(size_usd=1000.0, apy=0.5), 15.0, 80.0
    lines = secants(pool, held, upper, PARAMETERS)
    for knot in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 15.0, 80.0):
        assert secant_gain(lines, knot) == pytest.approx(pool_gain(pool, knot, held, PARAMETERS), rel=1e-9)
    for step in range(81):
        curve = pool_gain(pool, float(step), held, PARAMETERS)
        assert secant_gain(lines, float(step)) <= curve + 1e-12
        assert secant_gain(lines, float(step)) == pytest.approx(curve, rel=2e-2, abs=1e-9)
    (only,) = lines
    slopes = [slope for slope, _ in only]
    assert slopes == sorted(slopes, reverse=True)


def test_a_negative_apy_is_linear() -> None:
    pool = option(size_usd=1000.0, apy=-0.1)
    assert pool_gain(pool, 40.0, 20.0, PARAMETERS) == pytest.approx(40.0 * period_return(-0.1, 0.0, PARAMETERS))
    assert secants(pool, 0.0, 0.0, PARAMETERS) == [[(0.0, 0.0)]]


KINKED = UtilisationCurve(0.92, 0.0, 0.06, 4.3)


def lending(curve: UtilisationCurve | None = KINKED, used: float = 0.948, **changes) -> PoolOption:
    """A lending pool of 100 million whose utilisation is above the kink."""
    facts = {"apy": 0.175, "size_usd": 1e8, "supply_usd": 1e8, "borrow_usd": used * 1e8, "curve": curve}
    return option(**(facts | changes))


def test_above_the_kink_a_deposit_of_three_percent_cuts_the_rate_to_a_third() -> None:
    assert base_dilution(lending(), 3e6, 0.0) == pytest.approx(0.3, abs=0.02)
    assert base_dilution(lending(None), 3e6, 0.0) == pytest.approx(1 / 1.03)
    assert diluted_apy(lending(), 3e6, 0.0) == pytest.approx(0.175 * base_dilution(lending(), 3e6, 0.0))


def test_the_forecast_stays_the_level_and_a_position_of_ours_is_inside_the_supply() -> None:
    for held in (0.0, 4e6):
        assert base_dilution(lending(), held, held) == 1.0
        assert diluted_apy(lending(), held, held) == pytest.approx(0.175)
    assert pool_gain(lending(), 4e6, 4e6, PARAMETERS) == pytest.approx(4e6 * period_return(0.175, 0.0, PARAMETERS))
    assert base_dilution(lending(), 5e6, 4e6) == pytest.approx(base_dilution(lending(), 1e6, 0.0))


def test_a_reward_is_diluted_pro_rata_beside_the_curve() -> None:
    pool, value = lending(reward_share=0.4, apy=0.1), 3e6
    base = 0.06 * base_dilution(pool, value, 0.0)
    expected = value * (period_return(base, 0.0, PARAMETERS) + period_return(0.04, 1.0, PARAMETERS) / 1.03)
    assert pool_gain(pool, value, 0.0, PARAMETERS) == pytest.approx(expected)
    assert diluted_apy(pool, value, 0.0) == pytest.approx(base + 0.04 / 1.03)
    assert diluted_apy(pool, value, 0.0, 0.2) == pytest.approx(base + 0.032 / 1.03)


def test_without_borrowers_or_beside_a_stale_supply_a_curve_says_nothing() -> None:
    assert base_dilution(lending(borrow_usd=0.0), 3e6, 0.0) == pytest.approx(1 / 1.03)
    assert base_dilution(lending(borrow_usd=None), 3e6, 0.0) == pytest.approx(1 / 1.03)
    assert base_dilution(lending(), 3e6, 2e8) == 1.0


def test_a_loss_is_not_diluted_by_a_curve_either() -> None:
    assert pool_gain(lending(apy=-0.1), 3e6, 0.0, PARAMETERS) == 3e6 * period_return(-0.1, 0.0, PARAMETERS)


def test_small_deposits_above_the_kink_and_large_ones_beyond_it_both_find_their_gain() -> None:
    pool = lending()
    branches = secants(pool, 0.0, 6e6, PARAMETERS)
    assert len(branches) == 2
    for value in (1e6, 2e6, 4e6, 5e6, 6e6):
        assert secant_gain(branches, value) == pytest.approx(pool_gain(pool, value, 0.0, PARAMETERS), rel=1e-6)
    crossing = pool.borrow_usd / 0.92 - 1e8
    assert any(knot == pytest.approx(crossing) for knot in secant_knots(pool, 0.0, 6e6))
    assert len(secants(pool, 0.0, 2e6, PARAMETERS)) == 1, "a kink out of reach needs no second branch"
    assert len(secants(lending(used=0.85), 0.0, 6e6, PARAMETERS)) == 1, "nor does one that lies above"


def test_the_hull_of_two_branches_is_concave_and_above_both() -> None:
    pool = lending()
    branches, knots = secants(pool, 0.0, 6e6, PARAMETERS), secant_knots(pool, 0.0, 6e6)
    bound = hull(branches, knots)
    assert len(bound) == 1
    for value in np.linspace(0.0, 6e6, 61):
        assert secant_gain(bound, value) >= secant_gain(branches, value) - 1e-6
    assert secant_gain(bound, 0.0) == pytest.approx(0.0, abs=1e-6)
    assert hull(branches[:1], knots) == branches[:1]


curves = st.builds(
    UtilisationCurve,
    st.floats(0.3, 0.98),
    st.floats(0.0, 0.05),
    st.floats(0.0, 0.2),
    st.floats(0.0, 8.0),
)


@settings(max_examples=150, deadline=None)
@given(
    curve=curves,
    used=st.floats(0.05, 1.1),
    apy=st.floats(0.0, 1.5),
    reward=st.sampled_from([0.0, 0.3]),
    held=st.sampled_from([0.0, 1e5, 2e6, 9e6, 3e7]),
    more=st.floats(0.0, 1e7),
)
def test_the_models_gain_is_never_above_the_true_one_and_exact_for_leaving_and_for_doing_nothing(
    curve: UtilisationCurve, used: float, apy: float, reward: float, held: float, more: float
) -> None:
    pool = lending(curve, used, apy=apy, reward_share=reward)
    upper = held + more
    branches = secants(pool, held, upper, PARAMETERS)
    values = [float(value) for value in np.linspace(0.0, upper, 97)]
    scale = max(1.0, *(pool_gain(pool, value, held, PARAMETERS) for value in values))
    for lines in branches:
        slopes = [slope for slope, _ in lines]
        assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(slopes)), "concave"
        assert secant_gain([lines], 0.0) == pytest.approx(0.0, abs=1e-9 * scale)
    for value in values:
        assert secant_gain(branches, value) <= pool_gain(pool, value, held, PARAMETERS) + 1e-4 * scale, "between probes"
    for value in (0.0, held):
        assert secant_gain(branches, value) == pytest.approx(pool_gain(pool, value, held, PARAMETERS), abs=1e-9 * scale)


@settings(max_examples=60, deadline=None)
@given(curve=curves, used=st.floats(0.05, 1.0), value=st.floats(0.0, 5e7), held=st.floats(0.0, 5e7))
def test_more_of_our_money_never_earns_a_higher_rate_and_never_falls_more_slowly_than_pro_rata(
    curve: UtilisationCurve, used: float, value: float, held: float
) -> None:
    pool = lending(curve, used)
    if value >= held:
        assert base_dilution(pool, value, held) <= dilution(value, held, 1e8) + 1e-6
    assert base_dilution(pool, value + 1e5, held) <= base_dilution(pool, value, held) + 1e-12
