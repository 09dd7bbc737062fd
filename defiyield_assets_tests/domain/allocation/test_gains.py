"""Returns, dilution and secants against their formulas."""

from dataclasses import replace

import pytest

from defiyield_assets.domain.allocation.gains import dilution, period_return, pool_gain, secant_gain, secants
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
    slopes = [slope for slope, _ in lines]
    assert slopes == sorted(slopes, reverse=True)


def test_a_negative_apy_is_linear() -> None:
    pool = option(size_usd=1000.0, apy=-0.1)
    assert pool_gain(pool, 40.0, 20.0, PARAMETERS) == pytest.approx(40.0 * period_return(-0.1, 0.0, PARAMETERS))
    assert len(secants(pool, 0.0, 0.0, PARAMETERS)) == 1
