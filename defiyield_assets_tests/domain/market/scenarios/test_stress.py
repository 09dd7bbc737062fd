"""Tests of shocks, de-pegs and their profiles (stress.py)."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.config.scenarios import load_scenarios
from defiyield_assets.domain.market.scenarios.catalogue import Setting, requests
from defiyield_assets.domain.market.scenarios.definitions import Profile, Shock
from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.scenario import Request
from defiyield_assets.domain.market.scenarios.source import market_of
from defiyield_assets.domain.market.scenarios.stochastic import block_bootstrap
from defiyield_assets.domain.market.scenarios.stress import (
    depegged,
    force,
    share_of_shock,
    shocked,
    stressed_correlation,
)
from defiyield_assets.domain.strategies.costs import CostModel
from defiyield_assets.domain.strategies.runs import benchmarks
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets_tests.domain.market.scenarios.made import CRASH, LAST, SMALL, made_history
from defiyield_assets_tests.domain.market.scenarios.test_moments import made_source

SOURCE = made_source()
MARKET = market_of(SOURCE, None)
BASELINE = SOURCE.returns[block_bootstrap(SOURCE, 63, np.random.default_rng(1), 20)]
DEPEG = SMALL.depegs[0]
PROFILES: tuple[Profile, ...] = ("linear", "decay")


def test_a_linear_shock_grows_evenly_to_the_horizon_and_stays() -> None:
    np.testing.assert_allclose(share_of_shock("linear", 6, 4, 5.0), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(force("linear", 6, 4, 1.0), [1.0, 1.0, 1.0, 1.0, 0.5, 0.25])


def test_a_decaying_shock_is_whole_at_once_and_halves() -> None:
    np.testing.assert_allclose(share_of_shock("decay", 5, 4, 2.0), 0.5 ** (np.arange(5) / 2.0))
    np.testing.assert_allclose(force("decay", 3, 4, 1.0), [1.0, 0.5, 0.25])


def test_nothing_of_a_shock_is_there_before_its_onset_and_then_it_is_the_same_shock() -> None:
    for profile in PROFILES:
        for acting in (share_of_shock, force):
            late = acting(profile, 9, 3, 2.0, 4)
            np.testing.assert_array_equal(late[:4], 0.0)
            np.testing.assert_array_equal(late[4:], acting(profile, 5, 3, 2.0))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-0.9, 0.5),
    st.floats(0.5, 10.0),
    st.sampled_from(PROFILES),
    st.floats(0.0, 2.0),
    st.integers(1, 63),
    st.integers(0, 62),
)
def test_the_end_is_the_baseline_times_the_shock_to_the_beta_and_before_the_onset_is_the_baseline(
    fall: float, vol: float, profile: Profile, correlation: float, horizon: int, onset: int
) -> None:
    onset = min(onset, 63 - horizon)
    own = replace(CRASH, shock=fall, vol_multiplier=vol, profile=profile, correlation_multiplier=correlation)
    shock = replace(own, horizon=horizon, onset=onset)
    told = shocked(SOURCE, MARKET, BASELINE, shock)
    share = share_of_shock(profile, 63, horizon, shock.half_life, onset)[-1]
    moved = told.log_returns.sum(axis=0) - BASELINE.sum(axis=0)
    np.testing.assert_allclose(moved, MARKET.betas * np.log1p(fall * share), atol=1e-9)
    np.testing.assert_array_equal(told.log_returns[:onset], BASELINE[:onset])
    for multiplier in (told.volume_multiplier, told.spread_multiplier, 1.0 + told.rate_shift):
        assert (multiplier[:onset] == 1.0).all()


def test_without_any_force_a_shock_changes_nothing() -> None:
    none = replace(CRASH, shock=0.0, vol_multiplier=1.0, correlation_multiplier=1.0, spread_multiplier=1.0)
    told = shocked(SOURCE, MARKET, BASELINE, replace(none, volume_multiplier=1.0, rate_shift=0.0))
    np.testing.assert_allclose(told.log_returns, BASELINE, atol=1e-15)
    assert (told.spread_multiplier == 1.0).all()
    assert (told.volume_multiplier == 1.0).all()
    assert (told.rate_shift == 0.0).all()


def _baselines(n_seeds: int) -> np.ndarray:
    """Bootstrapped paths (seeds, steps, instruments)."""
    return np.stack(
        [SOURCE.returns[block_bootstrap(SOURCE, 63, np.random.default_rng(seed), 20)] for seed in range(n_seeds)]
    )


def test_deviations_grow_by_the_multiplier() -> None:
    rough = replace(CRASH, shock=0.0, vol_multiplier=3.0, correlation_multiplier=1.0, horizon=63)
    told = shocked(SOURCE, MARKET, BASELINE, rough).log_returns
    np.testing.assert_allclose(told.std(axis=0), 3.0 * BASELINE.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize("shock", load_scenarios().shocks, ids=lambda shock: shock.name)
def test_over_many_seeds_each_shipped_shock_begins_with_its_own_multiple_of_volatility_and_its_own_loss(
    shock: Shock,
) -> None:
    calm = _baselines(1_000)
    alone = replace(shock, correlation_multiplier=1.0)
    told = np.stack([shocked(SOURCE, MARKET, one, alone).log_returns for one in calm])
    ratio = told.std(axis=0) / calm.std(axis=0)
    asked = 1.0 + (shock.vol_multiplier - 1.0) * force(shock.profile, 63, shock.horizon, shock.half_life, shock.onset)
    np.testing.assert_allclose(ratio[: shock.onset], 1.0)
    np.testing.assert_allclose(ratio[shock.onset], shock.vol_multiplier, rtol=0.03)
    np.testing.assert_allclose(
        ratio[shock.onset : shock.onset + 5], np.tile(asked[shock.onset :][:5, None], 4), rtol=0.1
    )
    # Its mean is the share of the shock that the first step brings, times beta.
    first = 1.0 / shock.horizon if shock.profile == "linear" else 1.0
    error = told[:, shock.onset].std(axis=0) / np.sqrt(len(calm))
    expected = SOURCE.returns.mean(axis=0) + MARKET.betas * np.log1p(shock.shock * first)
    assert (np.abs(told[:, shock.onset].mean(axis=0) - expected) <= 4.0 * error).all()


def test_who_holds_everything_loses_the_shock_on_the_day_that_it_strikes_even_where_bars_are_closes_alone() -> None:
    crash = next(shock for shock in load_scenarios().shocks if shock.name == "flash_crash")
    calmer = replace(
        crash, vol_multiplier=1.0, correlation_multiplier=1.0
    )  # the shock alone: its noise is tested above
    history = made_history()
    nothing = np.full(history.close.shape, np.nan)
    closes = replace(history, open=nothing, high=nothing, low=nothing, volume=nothing)
    held, spared = [], []
    for seed in range(12):
        setting = Setting(LAST, history.instruments, seed)
        asked = requests(replace(SMALL, shocks=(calmer,), stress_steps=63), setting, types=("stress_shock",))
        curve = benchmarks(generate(asked[0], closes).history, CostModel(0.0, 0.0)).buy_and_hold
        steps = curve[1:] / curve[:-1] - 1.0
        held.append(steps[crash.onset])
        spared.append(steps[crash.onset - 1])
    # Weights are equal at the start, so the mean instrument's beta is 1; a usual day of that portfolio has 1.5 %.
    assert np.mean(held) == pytest.approx(crash.shock * MARKET.betas.mean(), abs=0.02)
    assert abs(np.mean(spared)) < 0.02


def test_correlations_rise_and_stay_correlations() -> None:
    long = SOURCE.returns[block_bootstrap(SOURCE, 4_000, np.random.default_rng(1), 20)]
    calm = np.corrcoef(long, rowvar=False)
    closer = shocked(SOURCE, MARKET, long, replace(CRASH, shock=0.0, vol_multiplier=1.0, horizon=4_000))
    raised = np.corrcoef(closer.log_returns, rowvar=False)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(raised[off], 1.25 * calm[off], atol=0.03)
    for multiplier in (0.0, 0.5, 1.0, 1.9, 50.0):
        matrix = stressed_correlation(np.corrcoef(SOURCE.returns, rowvar=False), multiplier)
        assert np.linalg.eigvalsh(matrix).min() >= -1e-9
        np.testing.assert_allclose(np.diag(matrix), 1.0)


def test_a_liquidity_freeze_widens_spreads_and_dries_up_volume() -> None:
    freeze = next(shock for shock in load_scenarios().shocks if shock.name == "liquidity_freeze")
    history = made_history()
    setting = Setting(LAST, history.instruments, 1)
    frozen = generate(requests(replace(SMALL, shocks=(freeze,)), setting, types=("stress_shock",))[0], history)
    first = frozen.history.first_scored
    assert (frozen.spread_multiplier[: first + freeze.onset] == 1.0).all()
    assert frozen.spread_multiplier[first + freeze.onset] == pytest.approx(5.0)
    thawed = replace(freeze, volume_multiplier=1.0)
    told = shocked(SOURCE, MARKET, BASELINE, freeze)
    assert told.volume_multiplier[freeze.onset] == pytest.approx(0.30)
    assert (shocked(SOURCE, MARKET, BASELINE, thawed).volume_multiplier == 1.0).all()


@dataclass(frozen=True)
class SameStream(Request):
    """A request whose numbers do not depend on its parameters, to compare two of them bar by bar."""

    def random(self) -> np.random.Generator:
        """The same for all."""
        return np.random.default_rng(7)


def test_the_volume_that_a_liquidity_freeze_takes_is_missing_from_the_bars() -> None:
    freeze = next(shock for shock in load_scenarios().shocks if shock.name == "liquidity_freeze")
    history = made_history()
    volumes = []
    for shock in (freeze, replace(freeze, volume_multiplier=1.0)):
        asked = requests(
            replace(SMALL, shocks=(shock,)), Setting(LAST, history.instruments, 1), types=("stress_shock",)
        )
        one = asked[0]
        bars = generate(SameStream(one.family, one.type, one.name, one.params, one.seed), history).history
        volumes.append(bars.volume)
    left = volumes[0] / volumes[1]
    first = bars.first_scored + freeze.onset
    np.testing.assert_array_equal(left[:first], 1.0)
    np.testing.assert_allclose(left[first], 0.30)
    np.testing.assert_allclose(left[first + 5], 1.0 - 0.70 / 2.0)
    np.testing.assert_allclose(left[first + 10], 1.0 - 0.70 / 4.0)


def test_a_stablecoin_stands_at_its_level_on_the_fifth_day_and_others_fall_half_as_far() -> None:
    names = SOURCE.bars.instruments
    told = depegged(SOURCE, BASELINE, DEPEG)
    close = SOURCE.bars.close[-1] * np.exp(told.cumsum(axis=0))
    calm = SOURCE.bars.close[-1] * np.exp(BASELINE.cumsum(axis=0))
    coin, peer = names.index("crypto:C"), names.index("crypto:D")
    assert close[4, coin] == pytest.approx(0.88)
    loss = 0.88 / calm[4, coin] - 1.0
    assert close[4, peer] / calm[4, peer] - 1.0 == pytest.approx(0.5 * loss)
    np.testing.assert_allclose(close[:, names.index("crypto:A")], calm[:, names.index("crypto:A")])
    np.testing.assert_allclose(told[5:], BASELINE[5:])
    late = depegged(SOURCE, BASELINE, replace(DEPEG, onset=7))
    np.testing.assert_array_equal(late[:7], BASELINE[:7])
    assert SOURCE.bars.close[-1, coin] * np.exp(late[:12, coin].sum()) == pytest.approx(0.88)
    np.testing.assert_allclose(late[12:], BASELINE[12:])


def test_impossible_shocks_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot lose more than everything"):
        shocked(SOURCE, MARKET, BASELINE, replace(CRASH, shock=-1.0))
    with pytest.raises(ConfigurationError, match="horizon is 64 after an onset of 0, the path has 63 steps"):
        shocked(SOURCE, MARKET, BASELINE, replace(CRASH, horizon=64))
    with pytest.raises(ConfigurationError, match="horizon is 21 after an onset of 43, the path has 63 steps"):
        shocked(SOURCE, MARKET, BASELINE, replace(CRASH, onset=43))
    with pytest.raises(ConfigurationError, match="days is 90"):
        depegged(SOURCE, BASELINE, replace(DEPEG, days=90))
    with pytest.raises(SuspiciousDataError, match="crypto:Z does not take part"):
        market_of(SOURCE, "crypto:Z")
