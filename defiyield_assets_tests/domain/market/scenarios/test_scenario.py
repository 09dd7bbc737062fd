"""Tests of scenarios' ids and hashes, of what is read and of what is refused (scenario.py, catalogue.py, source.py)."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.market.scenarios.catalogue import TYPES, Setting, requests
from defiyield_assets.domain.market.scenarios.definitions import HistoricalWindow
from defiyield_assets.domain.market.scenarios.generation import generate
from defiyield_assets.domain.market.scenarios.histories import history_of_rows, instruments_of
from defiyield_assets.domain.market.scenarios.plots import paths_figure, plot_paths
from defiyield_assets.domain.market.scenarios.regime_windows import RegimeWindow
from defiyield_assets.domain.market.scenarios.scenario import LEAST_WARM_UP, Request, path_rows, scenario_rows
from defiyield_assets.domain.market.scenarios.windows import real_window
from defiyield_assets.domain.strategies.bars import BAR_COLUMNS, PriceHistory
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets_tests.domain.market.scenarios.made import CRASH, LAST, SMALL, made_history, recorded_closes

HISTORY = made_history()
AS_OF = date(2024, 5, 31)
SETTING = Setting(AS_OF, HISTORY.instruments, 7)
ALL = replace(SMALL, windows=(HistoricalWindow("spring", "crisis", date(2024, 3, 1), date(2024, 4, 30)),))
WINDOWS = (RegimeWindow("crypto", "bull", date(2024, 1, 5), date(2024, 4, 9), 0.3),)
REQUESTS = requests(ALL, SETTING, WINDOWS)


def test_every_type_is_asked_for_and_can_be_generated() -> None:
    assert {request.type for request in REQUESTS} == set(TYPES)
    for request in REQUESTS:
        paths = generate(request, HISTORY)
        assert paths.scenario.instruments == HISTORY.instruments
        assert (paths.step < 0).sum() >= LEAST_WARM_UP
        assert (paths.step >= 0).sum() == paths.scenario.n_steps > 0
        assert len(paths.spread_multiplier) == len(paths.rate_shift) == paths.history.n_bars


def test_the_same_seed_gives_the_same_hash_and_another_seed_another_one() -> None:
    for request in REQUESTS:
        first, again = generate(request, HISTORY), generate(request, HISTORY)
        assert first.scenario == again.scenario
        if request.seed is not None and request.type != "random_window":
            other = generate(replace(request, seed=request.seed + 1_000), HISTORY)
            assert other.scenario.paths_hash != first.scenario.paths_hash
            assert other.scenario.scenario_id != first.scenario.scenario_id


def test_ids_differ_between_all_scenarios_and_streams_are_not_shared() -> None:
    ids = [request.scenario_id for request in REQUESTS]
    assert len(set(ids)) == len(ids)
    assert len({request.random().random() for request in REQUESTS}) == len(ids)


def test_a_window_between_two_days_is_the_same_scenario_on_every_later_day() -> None:
    later = requests(ALL, replace(SETTING, as_of=LAST), WINDOWS)
    kept = {request.scenario_id for request in later} & {request.scenario_id for request in REQUESTS}
    assert len(kept) == 2
    assert requests(ALL, replace(SETTING, as_of=date(2024, 4, 29)), types=("historical_window",)) == ()


def test_an_id_is_written_in_stone() -> None:
    bootstrap = next(request for request in REQUESTS if request.type == "block_bootstrap")
    assert bootstrap.scenario_id == replace(bootstrap, name="another name").scenario_id
    changed = replace(bootstrap, params={**bootstrap.params, "block_bars": 21})
    assert changed.scenario_id != bootstrap.scenario_id


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.type)
def test_nothing_after_the_as_of_date_is_read(request_: Request) -> None:
    later = np.datetime64(AS_OF, "D") < HISTORY.dates
    noise = np.exp(np.random.default_rng(5).standard_normal((int(later.sum()), 1)))
    disturbed = replace(
        HISTORY, **{name: _with(HISTORY, name, later, noise) for name in ("open", "high", "low", "close", "volume")}
    )
    assert generate(request_, disturbed).scenario == generate(request_, HISTORY).scenario


def _with(history: PriceHistory, name: str, rows: np.ndarray, factor: np.ndarray) -> np.ndarray:
    values = history.column(name).copy()
    values[rows] *= factor
    return values


def test_the_warm_up_is_the_real_bars_and_generated_bars_set_out_from_the_last_one() -> None:
    for request in REQUESTS:
        paths = generate(request, HISTORY)
        first = paths.history.first_scored
        place = np.searchsorted(HISTORY.dates, paths.history.dates[:first])
        for name in BAR_COLUMNS:
            np.testing.assert_array_equal(paths.history.column(name)[:first], HISTORY.column(name)[place])
        if request.family in ("stress", "stochastic"):
            assert paths.history.dates[first - 1] == np.datetime64(AS_OF, "D")
            assert paths.scenario.start == AS_OF + timedelta(days=1)


def test_generated_bars_have_the_shape_of_bars() -> None:
    for request in REQUESTS:
        bars = generate(request, HISTORY).history
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert (bars.volume > 0.0).all()


def test_counts_and_types_are_parameters() -> None:
    found = requests(SMALL, SETTING, types=("monte_carlo", "block_bootstrap"), count=5)
    assert [request.type for request in found] == ["monte_carlo"] * 5 + ["block_bootstrap"] * 5
    assert [request.seed for request in found[:5]] == [700_000, 700_001, 700_002, 700_003, 700_004]
    windows = requests(SMALL, SETTING, types=("random_window",), count=2)
    assert [(request.params["days"], request.seed) for request in windows[:3]] == [
        (14, 700_000),
        (14, 700_001),
        (30, 700_000),
    ]
    with pytest.raises(ConfigurationError, match="count is -1; from 0 to 100000"):
        requests(SMALL, SETTING, count=-1)
    with pytest.raises(ConfigurationError, match=r"'bootstrap' is not known; known types: .*block_bootstrap"):
        requests(SMALL, SETTING, types=("bootstrap",))


def test_a_picture_tells_where_a_shock_begins() -> None:
    late = replace(SMALL, shocks=(replace(CRASH, onset=10),), depegs=(replace(SMALL.depegs[0], onset=10),))
    made = [
        generate(request, HISTORY) for request in requests(late, SETTING, types=("stress_shock", "stablecoin_depeg"))
    ]
    lines = paths_figure(made, "crypto:A", "stress").axes[0].lines
    assert [line.get_xdata()[0] for line in lines[2:]] == [-0.5, 9.5], "the start, and one line for both onsets"


def test_rows_hold_every_bar_once() -> None:
    paths = generate(REQUESTS[0], HISTORY)
    rows = path_rows(paths)
    assert not rows.duplicated(["scenario_id", "instrument_id", "step"]).any()
    assert len(rows) == paths.history.close.size
    assert (rows["is_warm_up"] == (rows["step"] < 0)).all()
    assert scenario_rows([paths.scenario]).loc[0, "paths_hash"] == paths.scenario.paths_hash


def test_a_picture_draws_the_scenarios_that_have_the_instrument() -> None:
    made = [generate(request, HISTORY) for request in REQUESTS[-4:]]
    figure = paths_figure(made, "crypto:A", "$Stochastic_{x$")
    assert len(figure.axes[0].lines) == 4 + 1
    assert len(paths_figure(made, "crypto:Z", "none").axes[0].lines) == 1
    assert plot_paths(made, "crypto:A", "$\\frac{$").startswith(b"\x89PNG")


# --- who takes part ------------------------------------------------------------------------------------------------
def _without(rows: slice | np.ndarray, column: int, history: PriceHistory = HISTORY) -> PriceHistory:
    """The history without some bars of an instrument."""
    holed = {name: history.column(name).copy() for name in ("open", "high", "low", "close", "volume")}
    for values in holed.values():
        values[rows, column] = np.nan
    return replace(history, **holed)


BOOTSTRAP = next(request for request in REQUESTS if request.type == "block_bootstrap")
WINDOW = next(request for request in REQUESTS if request.type == "historical_window")


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (slice(0, 500), "history begins"),
        (slice(600, 700), "not listed at the start: last bar 2024-03-22"),
        (slice(400, 500), "100 of 401 sessions from"),
        (slice(0, 700), "no bar in the source"),
    ],
)
def test_missing_history_makes_an_instrument_unavailable_and_is_never_filled(rows: slice, reason: str) -> None:
    scenario = generate(BOOTSTRAP, _without(rows, 1)).scenario
    assert scenario.instruments == ("crypto:A", "crypto:C", "crypto:D")
    assert scenario.unavailable["crypto:B"].startswith(reason)


def test_a_price_that_never_moves_is_unavailable() -> None:
    still = HISTORY.close.copy()
    still[:, 1] = 5.0
    flat = replace(HISTORY, open=still, high=np.maximum(HISTORY.high, still), low=np.minimum(HISTORY.low, still))
    scenario = generate(BOOTSTRAP, replace(flat, close=still)).scenario
    assert scenario.unavailable["crypto:B"].startswith("the price never moves")


def test_a_hole_takes_the_day_from_everybody_and_stays_a_hole_in_the_warm_up() -> None:
    hole = np.array([620])
    paths = generate(BOOTSTRAP, _without(hole, 1))
    assert paths.scenario.instruments == HISTORY.instruments
    row = int(np.flatnonzero(paths.history.dates == HISTORY.dates[620])[0])
    assert np.isnan(paths.history.close[row, 1])
    assert not np.isnan(paths.history.close[row, 0])
    assert np.isfinite(paths.history.close[paths.history.first_scored :]).all()


def test_a_window_keeps_what_ends_inside_it_and_leaves_out_what_begins_inside_it() -> None:
    inside = int(np.searchsorted(HISTORY.dates, np.datetime64("2024-03-20")))
    ended = generate(WINDOW, _without(slice(inside, None), 1))
    assert "crypto:B" in ended.scenario.instruments
    assert np.isnan(ended.history.close[-1, 1])
    begun = generate(WINDOW, _without(slice(0, inside), 1)).scenario
    assert begun.unavailable["crypto:B"] == "history begins 2024-03-20, after the start"
    returned = generate(WINDOW, _without(slice(inside - 40, inside), 1)).scenario
    assert returned.unavailable["crypto:B"] == "not listed at the start: last bar before it 2024-02-08"
    short = generate(WINDOW, _without(slice(0, inside - 100), 1)).scenario
    assert short.unavailable["crypto:B"] == "81 bars before 2024-03-01, 253 are needed"


def test_one_instrument_alone_gives_all_types_but_a_depeg_of_another_coin() -> None:
    alone = instruments_of(HISTORY, ["crypto:A"])
    for request in requests(ALL, replace(SETTING, instruments=("crypto:A",)), WINDOWS):
        if request.type == "stablecoin_depeg":
            with pytest.raises(SuspiciousDataError, match="crypto:C cannot lose its peg, it does not take part"):
                generate(request, alone)
        else:
            assert generate(request, alone).scenario.instruments == ("crypto:A",)


def test_too_short_a_history_is_refused_in_words() -> None:
    with pytest.raises(SuspiciousDataError, match="there are 200 shared sessions up to 2024-06-30"):
        generate(requests(SMALL, replace(SETTING, as_of=LAST), types=("gbm",))[0], made_history(200))
    with pytest.raises(SuspiciousDataError, match="no window of 14 days has 253 bars before it"):
        generate(requests(SMALL, SETTING, types=("random_window",))[0], made_history(200))
    with pytest.raises(SuspiciousDataError, match="not over on 2024-05-31"):
        real_window(HISTORY, AS_OF, LAST, AS_OF, HISTORY.instruments, warm_up_bars=252, calendars={})


def test_an_unknown_instrument_is_named_with_the_nearest_one() -> None:
    wrong = replace(BOOTSTRAP, params={**BOOTSTRAP.params, "instruments": ["crypto:AA"]})
    with pytest.raises(ConfigurationError, match="'crypto:AA' has no bars; did you mean 'crypto:A'"):
        generate(wrong, HISTORY)


def test_a_bar_that_is_there_twice_or_has_no_shape_is_refused() -> None:
    rows = pd.DataFrame({"instrument_id": "x", "date": [date(2024, 1, 1)] * 2, "close": [1.0, 2.0]})
    with pytest.raises(SuspiciousDataError, match="x has two bars on 2024-01-01"):
        history_of_rows(rows)
    odd = pd.DataFrame({"instrument_id": "x", "date": [date(2024, 1, 1)], "close": [3.0], "high": [2.0], "low": [1.0]})
    with pytest.raises(SuspiciousDataError, match=r"outside low \.\. high"):
        history_of_rows(odd)


def test_closes_only_give_paths_without_open_high_and_low() -> None:
    nothing = np.full(HISTORY.close.shape, np.nan)
    closes = replace(HISTORY, open=nothing, high=nothing, low=nothing, volume=nothing)
    for request in REQUESTS:
        bars = generate(request, closes).history
        assert np.isnan(bars.open).all()
        assert np.isnan(bars.high).all()
        assert np.isfinite(bars.close[bars.first_scored :]).all()


def test_coins_and_stocks_are_sampled_on_the_days_that_they_share() -> None:
    weekend = ((HISTORY.dates.astype("datetime64[D]").astype(int) + 3) % 7) >= 5
    mixed = _without(weekend, 1)
    setting = replace(SETTING, calendars={"crypto:B": "XNYS"})
    for request in requests(replace(ALL, stochastic=replace(ALL.stochastic, source_bars=300)), setting, WINDOWS):
        paths = generate(request, mixed)
        days = (paths.history.dates.astype("datetime64[D]").astype(int) + 3) % 7
        assert {*paths.scenario.instruments, *paths.scenario.unavailable} == set(HISTORY.instruments)
        if request.family in ("stress", "stochastic"):
            assert paths.scenario.instruments == HISTORY.instruments
            assert (days < 5).all()
            assert paths.history.periods_per_year == 252.0
            assert np.isfinite(paths.history.close).all()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([request for request in REQUESTS if request.seed is not None]),
    st.integers(2, 6),
)
def test_every_seed_gives_positive_prices_and_repeats_itself(seed: int, request_: Request, n_instruments: int) -> None:
    history = made_history(450, max(n_instruments, 3), seed % 5)
    asked = replace(request_, seed=seed, params={**request_.params, "instruments": list(history.instruments)})
    paths = generate(asked, history)
    assert (paths.history.close > 0.0).all()
    assert generate(asked, history).scenario.paths_hash == paths.scenario.paths_hash


@pytest.mark.recorded
def test_recorded_closes_of_stocks_take_part_from_their_listing_on(recorded_data: Path) -> None:
    history = recorded_closes(recorded_data / "equities" / "pypfopt_stock_prices_20tickers.csv")
    calendars = dict.fromkeys(history.instruments, "XNYS")
    setting = Setting(date(2018, 4, 11), history.instruments, 1, None, calendars)
    windows = (HistoricalWindow("gfc_2008", "crisis", date(2008, 9, 15), date(2009, 3, 9)),)
    request = requests(replace(SMALL, windows=windows), setting, types=("historical_window",))[0]
    scenario = generate(request, history).scenario
    # Facebook, Alibaba, General Motors were listed in 2012, 2014 and 2010.
    assert {"equity:FB", "equity:BABA", "equity:GM"} <= set(scenario.unavailable)
    assert len(scenario.instruments) >= 14
    assert scenario.n_steps == 121  # sessions of the NYSE in that window
