"""Tests of config/scenarios.py and the shipped scenarios.yaml."""

from datetime import date
from pathlib import Path

import pytest

from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.config.scenarios import load_scenarios
from defiyield_assets.errors import ConfigurationError

WINDOWS = """
trump_rally_2016 2016-11-09 2017-03-01, post_covid_recovery 2020-03-24 2021-01-31, dot_com_bubble 1999-10-01 2000-03-10
fed_pivot_2023 2023-10-27 2024-03-31, ai_boom_2023 2023-01-01 2023-07-31, qe_infinity_2012 2012-09-13 2013-05-22
gfc_2008 2008-09-15 2009-03-09, covid_crash 2020-02-20 2020-03-23, svb_collapse 2023-03-08 2023-03-31
dotcom_crash 2000-03-10 2002-10-09, q4_2018 2018-10-01 2018-12-24, rates_2022 2022-01-03 2022-10-14
yen_carry 2024-08-05 2024-08-23, tariffs 2025-04-02 2025-04-18, volmageddon 2018-02-02 2018-02-09
gme_squeeze 2021-01-11 2021-02-10, gfc 2007-10-09 2010-04-30, covid 2020-02-20 2021-12-31
fed_tightening 2022-01-03 2023-12-29, terra 2022-05-05 2022-05-20, ftx 2022-11-05 2022-11-30
usdc_depeg 2023-03-10 2023-03-15
"""
SHOCKS = {
    "flash_crash": (-0.10, 10.0),
    "rates_up_500bp": (-0.25, 3.0),
    "credit": (-0.20, 2.5),
    "geopolitical": (-0.15, 3.5),
    "tech_burst": (-0.45, 2.8),
    "liquidity_freeze": (-0.20, 4.0),
    "stagflation": (-0.15, 1.8),
    "dollar_crisis": (-0.18, 2.5),
    "derivatives": (-0.12, 5.0),
    "cyber": (-0.10, 3.0),
    "tariffs_shock": (-0.08, 2.2),
    "tariff_escalation": (-0.15, 2.8),
}


def test_the_shipped_windows_have_exactly_the_dates_of_the_spec() -> None:
    listed = [line.split() for line in WINDOWS.replace("\n", ",").split(",") if line.strip()]
    told = {name: (date.fromisoformat(start), date.fromisoformat(end)) for name, start, end in listed}
    shipped = load_scenarios().windows
    assert {window.name: (window.start, window.end) for window in shipped} == told
    sizes = {family: sum(window.family == family for window in shipped) for family in ("bull", "crisis", "full_cycle")}
    assert sizes == {"bull": 6, "crisis": 10, "full_cycle": 3}


def test_the_shipped_shocks_regimes_and_counts_are_those_of_the_spec() -> None:
    told = load_scenarios()
    assert {shock.name: (shock.shock, shock.vol_multiplier) for shock in told.shocks} == SHOCKS
    freeze = next(shock for shock in told.shocks if shock.name == "liquidity_freeze")
    assert (freeze.spread_multiplier, freeze.volume_multiplier) == (5.0, 0.30)
    depeg = told.depegs[0]
    assert (depeg.level, depeg.contagion, depeg.days) == (0.88, 0.5, 5)
    chain = {motion.name: (motion.mean, motion.volatility, motion.stay) for motion in told.stochastic.motions}
    assert chain == {"bull": (0.15, 0.12, 0.85), "bear": (-0.20, 0.25, 0.80), "neutral": (0.07, 0.15, 0.90)}
    assert (told.stochastic.n_monte_carlo, told.stochastic.n_bootstrap, told.stochastic.block_bars) == (50, 50, 20)
    assert told.least_days == {"bull": 90, "bear": 60, "high_vol": 30, "ranging": 45}
    assert told.random_days == (14, 30, 90)


def test_every_shipped_shock_and_depeg_leaves_time_to_hold_something_and_one_may_have_an_onset_of_its_own(
    tmp_path: Path,
) -> None:
    told = load_scenarios()
    assert {one.onset for one in (*told.shocks, *told.depegs)} == {10}
    text = (SHIPPED / "scenarios.yaml").read_text(encoding="utf-8")
    text = text.replace("profile: decay, half_life: 1}", "profile: decay, half_life: 1, onset: 0}")
    (tmp_path / "scenarios.yaml").write_text(text.replace("      days: 5\n", "      days: 5\n      onset: 3\n"))
    own = load_scenarios(tmp_path)
    assert {one.name: one.onset for one in own.shocks if one.onset != 10} == {"flash_crash": 0}
    assert own.depegs[0].onset == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("end: 2017-03-01", "end: 2016-03-01", r"scenarios.yaml:\d+: windows\[0\].*must be after start"),
        ("name: gfc_2008", "name: gfc", r"scenarios.yaml:\d+: the name 'gfc' is there twice"),
        ("block_bars: 20", "block_bar: 20", r"scenarios.yaml:\d+: stochastic.block_bar .*did you mean 'block_bars'"),
        ("shock: -0.45", "shock: -45", r"scenarios.yaml:\d+: stress.shocks\[4\].shock"),
        ("stay: 0.85", "stay: 1.0", r"scenarios.yaml:\d+: stochastic.motions\[0\].stay"),
        ("bull: 90, ", "", r"scenarios.yaml:\d+: regime_windows lacks 'bull'"),
        (
            "horizon: 21 ",
            "horizon: 99 ",
            r"scenarios.yaml:\d+: flash_crash has a horizon of 99 after an onset of 10, paths",
        ),
        ("onset: 10", "onset: 43", r"scenarios.yaml:\d+: flash_crash has a horizon of 21 after an onset of 43, paths"),
        ("onset: 10", "onset: -1", r"scenarios.yaml:\d+: stress.onset is -1"),
        ("warm_up_bars: 365", "warm_up_bars: 200", r"scenarios.yaml:\d+: warm_up_bars is 200"),
        ("days: 5\n", "days: 54\n", r"scenarios.yaml:\d+: stablecoin_depeg takes 54 days after an onset of 10"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (SHIPPED / "scenarios.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "scenarios.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        load_scenarios(tmp_path)
