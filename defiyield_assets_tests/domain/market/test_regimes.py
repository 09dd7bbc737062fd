"""Regimes: what the model finds, that it never knows what comes later, and what it says of real crashes."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.plots import plot_regimes
from defiyield_assets.domain.market.regimes import (
    LEAST_RETURNS,
    LEAST_STAY,
    MARKETS,
    MOST_RETURNS,
    STATES,
    RegimeModel,
    _library_parameters,
    _staying,
    filtered_probabilities,
    fingerprint,
    fit_regimes,
    market_returns,
    mislabelled,
    quarter_start,
    regimes_of,
)
from defiyield_assets.errors import SuspiciousDataError

START = date(2022, 1, 1)
SIGMAS = (0.005, 0.02, 0.06)
STAY = 0.98


def simulated_returns(n: int, seed: int = 6) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns of a chain of three states that stay long, and the states."""
    random = np.random.default_rng(seed)
    states = np.empty(n, dtype=int)
    states[0] = 1
    for day in range(1, n):
        moves = random.random() >= STAY
        states[day] = random.choice([s for s in range(3) if s != states[day - 1]]) if moves else states[day - 1]
    return random.normal(0.0, np.array(SIGMAS)[states]), states


def bars_of(returns: np.ndarray[Any, Any], start: date = START) -> pd.DataFrame:
    """Bars of successive days whose log returns these are, with one day before the first."""
    closes = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    days = [start + timedelta(days=offset) for offset in range(len(closes))]
    return pd.DataFrame({"date": days, "close": closes, "adj_factor": 1.0})


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """Two years of a simulated coin: 700 returns."""
    return bars_of(simulated_returns(700)[0])


@pytest.fixture(scope="module")
def rows(bars: pd.DataFrame) -> pd.DataFrame:
    """Its regimes on all days that have one."""
    return regimes_of("crypto", bars, DayRange(START, bars["date"].iloc[-1]))


@pytest.fixture(scope="module")
def model(bars: pd.DataFrame) -> RegimeModel:
    """The model of all 700 returns."""
    fitted = fit_regimes(market_returns(bars).to_numpy())
    assert fitted is not None
    return fitted


def library_model(returns: np.ndarray[Any, Any], model: RegimeModel) -> Any:
    """statsmodels' results at our parameters."""
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    markov = MarkovRegression(returns, k_regimes=3, trend="c", switching_variance=True)
    parameters = (np.array(model.means), np.array(model.variances), np.array(model.transition))
    return markov.smooth(_library_parameters(parameters), cov_type="none")


# --- the model -----------------------------------------------------------------------------------------------------
def test_a_simulated_chain_is_found_again(model: RegimeModel) -> None:
    assert np.sqrt(model.variances) == pytest.approx(SIGMAS, rel=0.15)
    assert np.diag(model.transition) == pytest.approx([STAY] * 3, abs=0.02)
    assert np.sum(model.transition, axis=1) == pytest.approx([1.0] * 3)
    returns, states = simulated_returns(700)
    guessed = filtered_probabilities(model, returns).argmax(axis=1)
    assert np.mean(guessed[50:] == states[50:]) > 0.85


def test_the_filter_is_that_of_the_library(model: RegimeModel, bars: pd.DataFrame) -> None:
    returns = market_returns(bars).to_numpy()
    theirs = library_model(returns, model)
    assert filtered_probabilities(model, returns) == pytest.approx(theirs.filtered_marginal_probabilities, abs=1e-9)
    assert model.log_likelihood == pytest.approx(theirs.llf, abs=1e-6)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.ConvergenceWarning")
def test_the_fit_is_as_likely_as_the_librarys_own(model: RegimeModel, bars: pd.DataFrame) -> None:
    """The chain stays longer than the bound, so that both look for the same maximum; they begin where ours came to rest
    and may gain what the state of the very first day is worth, which expectation-maximisation takes as given.
    """
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    returns = market_returns(bars).to_numpy()
    assert min(np.diag(model.transition)) > LEAST_STAY
    scaled = returns / returns.std()
    markov = MarkovRegression(scaled, k_regimes=3, trend="c", switching_variance=True)
    ours = (np.array(model.means) / returns.std(), np.array(model.variances) / returns.var())
    start = _library_parameters((*ours, np.array(model.transition)))
    theirs = markov.fit(start_params=start, cov_type="none", disp=False, maxiter=30)
    assert model.log_likelihood + len(returns) * np.log(returns.std()) >= theirs.llf - 0.2


def test_no_state_lasts_less_than_twenty_days_and_the_bound_is_met_in_the_most_likely_way() -> None:
    random = np.random.default_rng(3)
    moves = np.array([[50.0, 30.0, 20.0], [1.0, 98.0, 1.0], [0.0, 40.0, 60.0]])
    found = _staying(moves)
    assert np.diag(found) == pytest.approx([LEAST_STAY, 0.98, LEAST_STAY])
    worth = np.sum(np.where(moves > 0, moves * np.log(np.where(found > 0, found, 1.0)), 0.0))
    for _ in range(300):
        other = random.dirichlet([1.0, 1.0, 1.0], size=3)
        stay = random.uniform(LEAST_STAY, 1.0, 3)
        other[np.arange(3), np.arange(3)] = 0.0
        other *= ((1.0 - stay) / other.sum(axis=1))[:, None]
        other[np.arange(3), np.arange(3)] = stay
        assert np.sum(moves * np.log(other)) <= worth + 1e-9


def test_where_there_is_nothing_to_tell_apart_there_is_no_model() -> None:
    assert fit_regimes(np.zeros(400)) is None
    assert fit_regimes(simulated_returns(LEAST_RETURNS - 1)[0]) is None
    assert fit_regimes(simulated_returns(LEAST_RETURNS)[0]) is not None


def test_the_model_comes_back_from_its_text_to_the_bit(model: RegimeModel) -> None:
    assert RegimeModel.from_json(model.to_json()) == model
    for text in ("[]", "{}", "no json", '{"means":"x"}'):
        with pytest.raises(SuspiciousDataError, match="model_json"):
            RegimeModel.from_json(text)


# --- rows ----------------------------------------------------------------------------------------------------------
def test_rows_begin_with_the_first_quarter_that_knows_enough_and_say_what_they_rest_on(rows: pd.DataFrame) -> None:
    assert rows["date"].iloc[0] == date(2022, 10, 1)
    assert len(rows) == 700 - (date(2022, 10, 1) - START).days + 1
    assert mislabelled(rows).empty
    assert set(rows["state"]) == set(STATES)
    first, last = rows.iloc[0], rows.iloc[-1]
    assert (first["fitted_through"], first["n_returns"]) == (date(2022, 9, 30), 272)
    assert last["fitted_through"] == quarter_start(last["date"]) - timedelta(days=1)
    assert rows["model_json"].nunique() == len({quarter_start(day) for day in rows["date"]})


def test_a_model_knows_at_most_the_newest_1500_returns() -> None:
    bars = bars_of(simulated_returns(1_640)[0])
    day = bars["date"].iloc[-1]
    whole = regimes_of("crypto", bars, DayRange.of(day)).iloc[0]
    assert whole["n_returns"] == MOST_RETURNS
    known = bars[bars["date"] < quarter_start(day)].tail(MOST_RETURNS + 1)
    same = regimes_of("crypto", pd.concat([known, bars[bars["date"] >= quarter_start(day)]]), DayRange.of(day)).iloc[0]
    pd.testing.assert_series_equal(whole, same)


def test_no_later_bar_changes_a_row(bars: pd.DataFrame, rows: pd.DataFrame) -> None:
    """At the end of a quarter and inside one; noise of the day itself does change it."""
    random = np.random.default_rng(1)
    for day in (date(2022, 12, 31), date(2023, 5, 9)):
        noisy = bars.copy()
        is_later = (noisy["date"] > day).to_numpy()
        noisy.loc[is_later, "close"] *= random.uniform(0.2, 5.0, is_later.sum())
        before = rows[rows["date"] <= day].reset_index(drop=True)
        after = regimes_of("crypto", noisy, DayRange(START, noisy["date"].iloc[-1]))
        pd.testing.assert_frame_equal(after[after["date"] <= day].reset_index(drop=True), before)
        assert not after[after["date"] > day].reset_index(drop=True).equals(rows[rows["date"] > day])


def test_smoothed_probabilities_would_change_with_what_comes_later(bars: pd.DataFrame, model: RegimeModel) -> None:
    """So the test above can fail: the library's smoother knows of a crash that is still to come."""
    returns = market_returns(bars).to_numpy()
    crash = returns.copy()
    crash[401:] = np.where(np.arange(len(crash) - 401) % 2, 0.2, -0.2)
    calm, shocked = (library_model(told, model).smoothed_marginal_probabilities[400] for told in (returns, crash))
    assert np.abs(calm - shocked).max() > 0.01
    ours = [filtered_probabilities(model, told)[400] for told in (returns, crash)]
    assert (ours[0] == ours[1]).all()


def test_days_may_run_in_any_order_one_by_one_or_at_once(bars: pd.DataFrame, rows: pd.DataFrame) -> None:
    """With and without the models that other days left behind."""
    wanted = DayRange(date(2022, 12, 28), date(2023, 1, 4))
    left: list[RegimeModel] = []
    frames = []
    for day in reversed(list(wanted)):
        made = regimes_of("crypto", bars, DayRange.of(day), left)
        left += [RegimeModel.from_json(text) for text in made["model_json"]]
        frames.append(made)
    together = pd.concat(frames).sort_values("date", ignore_index=True)
    pd.testing.assert_frame_equal(together, rows[[day in wanted for day in rows["date"]]].reset_index(drop=True))


def test_a_model_of_other_returns_is_not_used(bars: pd.DataFrame, rows: pd.DataFrame, model: RegimeModel) -> None:
    day = DayRange.of(date(2023, 2, 1))
    made = regimes_of("crypto", bars, day, [model])
    assert made["model_json"].iloc[0] == rows.loc[rows["date"] == day.start, "model_json"].iloc[0]
    wrong = RegimeModel(model.means, model.variances, model.transition, 0.0, made_for(bars, day.start))
    used = regimes_of("crypto", bars, day, [wrong])
    assert used["model_json"].iloc[0] == wrong.to_json(), "the fingerprint is what decides"


def made_for(bars: pd.DataFrame, day: date) -> str:
    """The fingerprint of the returns that the day's model knows."""
    returns = market_returns(bars[bars["date"] < quarter_start(day)])
    return fingerprint(returns.to_numpy())


def test_a_restated_factor_changes_no_row(bars: pd.DataFrame, rows: pd.DataFrame) -> None:
    """A dividend scales all earlier prices: what was fitted on them must come out to the bit."""
    restated = bars.assign(adj_factor=0.987654321)
    made = regimes_of("crypto", restated, DayRange(START, bars["date"].iloc[-1]))
    pd.testing.assert_frame_equal(made, rows)


def test_a_day_without_a_bar_has_no_row(bars: pd.DataFrame) -> None:
    day = date(2023, 2, 1)
    assert regimes_of("crypto", bars[bars["date"] != day], DayRange.of(day)).empty
    assert regimes_of("crypto", bars.iloc[:0], DayRange.of(day)).empty
    assert regimes_of("crypto", bars.assign(close=1.0), DayRange.of(day)).empty


def test_broken_rows_are_named(rows: pd.DataFrame) -> None:
    sums = rows.head(1).assign(p_calm=rows["p_calm"].head(1) / 2 + 0.1)
    top = rows.head(1)
    state = next(name for name in STATES if name != top["state"].iloc[0])
    early = rows.head(1).assign(fitted_through=rows["date"].iloc[0])
    for broken in (sums, top.assign(state=state), early):
        assert len(mislabelled(broken)) == 1
    assert len(mislabelled(rows.iloc[:0])) == 0


def test_the_picture_depends_on_the_rows_only(bars: pd.DataFrame, rows: pd.DataFrame) -> None:
    drawn = plot_regimes(bars, rows, "crypto $x$")
    assert drawn.startswith(b"\x89PNG")
    assert drawn == plot_regimes(
        bars.sample(frac=1.0, random_state=1), rows.sample(frac=1.0, random_state=2), "crypto $x$"
    )
    assert plot_regimes(bars, rows.iloc[:0], "crypto").startswith(b"\x89PNG")


# --- real markets --------------------------------------------------------------------------------------------------
@pytest.mark.recorded
def test_october_2008_was_turbulent_and_2017_was_not(recorded_data: Path) -> None:
    prices = pd.read_csv(recorded_data / "equities/pypfopt_spy_prices.csv")
    bars = pd.DataFrame({"date": pd.to_datetime(prices["date"]).dt.date, "close": prices["SPY"], "adj_factor": 1.0})
    crash = regimes_of("us_equities", bars, DayRange(date(2008, 10, 1), date(2008, 10, 31)))
    quiet = regimes_of("us_equities", bars, DayRange(date(2017, 10, 1), date(2017, 12, 31)))
    assert (crash["instrument_id"] == MARKETS["us_equities"]).all()
    assert len(crash) == 23
    assert (crash["state"] == "turbulent").all()
    assert (quiet["state"] == "turbulent").sum() == 0


@pytest.mark.recorded
def test_bitcoin_was_turbulent_after_12_march_2020_and_calm_in_the_summer_of_2023(recorded_data: Path) -> None:
    prices = pd.read_parquet(recorded_data / "prices/yfinance_daily_crypto_2018-01_2025-08.parquet")
    coin = prices[prices["ticker"] == "BTC-USD"]
    bars = pd.DataFrame({"date": pd.to_datetime(coin["date"]).dt.date, "close": coin["close_adj"], "adj_factor": 1.0})
    crash = regimes_of("crypto", bars, DayRange(date(2020, 3, 12), date(2020, 3, 31)))
    quiet = regimes_of("crypto", bars, DayRange(date(2023, 7, 1), date(2023, 9, 30)))
    assert (crash["state"] == "turbulent").all()
    assert (quiet["state"] == "calm").mean() > 0.5
    assert (quiet["state"] == "turbulent").sum() == 0
