"""Models fitted series by series: what they answer, what they cost, what happens when one of them fails."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.forecasting.backtests import N_ORIGINS, ORIGIN_EVERY_DAYS
from defiyield_assets.domain.forecasting.cache import MemoryCache
from defiyield_assets.domain.forecasting.costly import (
    CANDIDATE_COLUMNS,
    COSTLY_BUDGET_SECONDS,
    COSTLY_MODELS,
    KEEP_EVERY,
    LOOKBACK_DAYS,
    MIN_OBSERVED_DAYS,
    CostlyModel,
    choose_series,
    fit_candidates,
    fits_within,
    forecast_now,
)
from defiyield_assets.domain.forecasting.models import from_scale, to_scale
from defiyield_assets.domain.forecasting.pools import TRAINING_DAYS
from defiyield_assets.domain.pools.windows import SPIKE_WINDOW
from defiyield_assets.store import schema

AUTO_ETS, THETA, PROPHET = COSTLY_MODELS
HORIZONS = (1, 7, 30)
LAST_DAY = date(2025, 6, 1)
by_model = pytest.mark.parametrize("model", COSTLY_MODELS, ids=lambda model: model.name)


def rates(n_series: int = 4, n_days: int = 90, seed: int = 3) -> np.ndarray:
    """Fractions that wander, a tenth of the days missing."""
    random = np.random.default_rng(seed)
    values = 0.05 * np.exp(np.cumsum(random.normal(0, 0.05, (n_series, n_days)), axis=1))
    values[random.random(values.shape) < 0.1] = np.nan
    values[:, [0, -1]] = 0.05
    return values


class LastDays:
    """A cheap model that counts its fits: the mean of what it sees, plus the horizon."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def __call__(self, scaled: np.ndarray, horizons: Sequence[int]) -> np.ndarray:
        self.seen.append(scaled.copy())
        return np.nanmean(scaled) + 0.01 * np.array(horizons, dtype=np.float64)

    def as_model(self, name: str = "counted", milliseconds: float = 1.0) -> CostlyModel:
        return CostlyModel(name, "1", milliseconds, self)


def candidates(matrix: np.ndarray, models: Sequence[CostlyModel], **changes: object) -> pd.DataFrame:
    arguments: dict[str, object] = {
        "values": {"apy": matrix},
        "pool_ids": [f"pool-{row}" for row in range(len(matrix))],
        "sizes_usd": np.arange(len(matrix), dtype=np.float64),
        "last_day": LAST_DAY,
        "origins": np.array([60, 67]),
        "horizons": HORIZONS,
        "cache": MemoryCache(),
        "models": models,
    }
    return fit_candidates(**(arguments | changes))  # type: ignore[arg-type]


# --- the models ----------------------------------------------------------------------------------------------------
@by_model
@pytest.mark.parametrize("level", [0.0, 1.5])
def test_a_constant_stays_what_it_is(model: CostlyModel, level: float) -> None:
    np.testing.assert_allclose(model.fit(np.full(40, level), HORIZONS), level, atol=1e-9)


@pytest.mark.parametrize("model", [AUTO_ETS, PROPHET], ids=lambda model: model.name)
def test_a_straight_line_goes_on_and_its_mean_over_a_horizon_is_that_of_the_line(model: CostlyModel) -> None:
    days = np.arange(120.0)
    noise = np.random.default_rng(1).normal(0, 1e-4, 120)
    found = model.fit(1.0 + 0.01 * days + noise, HORIZONS)
    expected = [1.0 + 0.01 * (119 + (horizon + 1) / 2) for horizon in HORIZONS]
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("model", [AUTO_ETS, THETA], ids=lambda model: model.name)
def test_the_mean_over_a_horizon_is_that_of_the_library_s_days_with_gaps_filled_by_the_last_value(
    model: CostlyModel,
) -> None:
    from statsforecast.models import AutoETS, DynamicOptimizedTheta

    scaled = to_scale("apy", rates(1))[0]
    filled = pd.Series(scaled).ffill().to_numpy()
    library = {"auto_ets": AutoETS, "theta": DynamicOptimizedTheta}[model.name](season_length=1)
    path = library.fit(filled).predict(30)["mean"]
    np.testing.assert_allclose(model.fit(scaled, HORIZONS), [path[:1].mean(), path[:7].mean(), path.mean()], rtol=1e-9)


def test_prophet_knows_the_week_and_leaves_out_what_was_not_observed() -> None:
    days = np.arange(140)
    scaled = np.where(days % 7 == 0, 2.0, 1.0) + np.random.default_rng(2).normal(0, 1e-3, 140)
    scaled[[50, 51, 52, 99]] = np.nan
    peak_is_next, peak_is_last = (PROPHET.fit(scaled[:n], (1, 7)) for n in (140, 134))
    assert peak_is_next == pytest.approx([2.0, 8 / 7], abs=0.05)
    assert peak_is_last == pytest.approx([1.0, 8 / 7], abs=0.05)


def test_one_process_says_what_another_says_without_a_word_or_a_file_or_an_import_too_many(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from defiyield_assets_tests.domain.forecasting.test_costly import HORIZONS, COSTLY_MODELS, rates, to_scale\n"
        "heavy = {'prophet', 'cmdstanpy', 'statsforecast', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "fits = [model.fit(row, HORIZONS) for model in COSTLY_MODELS for row in to_scale('apy', rates(2))]\n"
        "sys.stdout.write(';'.join([','.join(sorted(heavy)), *(fit.tobytes().hex() for fit in fits)]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error::Warning:defiyield_assets", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "5"},
    )
    assert ran.stderr == ""
    heavy, *theirs = ran.stdout.split(";")
    assert heavy == ""
    ours = [model.fit(row, HORIZONS).tobytes().hex() for model in COSTLY_MODELS for row in to_scale("apy", rates(2))]
    assert theirs == ours
    assert list(tmp_path.iterdir()) == []


def test_stan_is_silent_and_leaves_nothing_behind(
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import cmdstanpy

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = Path(cmdstanpy._TMPDIR)
    before = set(kept.iterdir())
    PROPHET.fit(to_scale("apy", rates(1))[0], HORIZONS)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []
    assert set(kept.iterdir()) == before


def test_a_version_tells_the_version_of_the_library() -> None:
    import prophet
    import statsforecast

    versions = {model.name: model.version for model in COSTLY_MODELS}
    assert versions["prophet"].endswith(f"prophet-{prophet.__version__}")
    assert versions["auto_ets"].endswith(f"statsforecast-{statsforecast.__version__}")
    assert versions["theta"] == versions["auto_ets"]


# --- within a budget -----------------------------------------------------------------------------------------------
def test_a_budget_in_fits_is_stated_seconds_over_stated_milliseconds() -> None:
    model = LastDays().as_model(milliseconds=8.0)
    assert fits_within(model, 1.0) == 125
    assert fits_within(model) == COSTLY_BUDGET_SECONDS * 125
    assert {model.name for model in COSTLY_MODELS if fits_within(model) < 52} == set()


def test_the_largest_pools_are_chosen_and_equal_sizes_go_by_pool_id() -> None:
    model = LastDays().as_model(milliseconds=1.0)
    sizes = np.array([5.0, 9.0, np.nan, 5.0, 5.0, 0.0])
    ids = ["d", "a", "b", "c", "z", "a0"]
    assert choose_series(sizes, ids, 10, 2, model, budget_seconds=0.06).tolist() == [1, 3, 0]
    assert choose_series(sizes, ids, 10, 2, model, budget_seconds=0.079).tolist() == [1, 3, 0]
    assert choose_series(sizes, ids, 10, 2, model, budget_seconds=0.019).tolist() == []
    assert choose_series(sizes, ids, 10, 2, model).tolist() == [1, 3, 0, 4, 5, 2]
    assert choose_series(sizes, ids, 0, 2, model).tolist() == []
    assert choose_series(np.array([]), [], 10, 2, model).tolist() == []


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_choice_does_not_depend_on_the_order_of_pools(order: list[int]) -> None:
    sizes, ids = np.array([3.0, 1.0, 3.0, 2.0, 3.0, 1.0]), np.array(list("fbcdea"))
    model = LastDays().as_model()
    chosen = choose_series(sizes[order], list(ids[order]), 1, 1, model, budget_seconds=0.004)
    assert [ids[order][row] for row in chosen] == ["c", "e", "f", "d"]


def test_the_budget_counts_every_fit_whether_the_cache_knows_it_or_not() -> None:
    cache, values = MemoryCache(), rates(4)
    counted = LastDays()
    arguments = {"cache": cache, "budget_seconds": 0.004}  # four fits: two origins of two pools
    first = candidates(values, [counted.as_model()], **arguments)
    assert set(first["pool_id"]) == {"pool-3", "pool-2"}
    assert len(counted.seen) == 4
    pd.testing.assert_frame_equal(candidates(values, [counted.as_model()], **arguments), first)
    assert len(counted.seen) == 4


# --- what they say -------------------------------------------------------------------------------------------------
def test_candidates_have_the_columns_of_their_table_and_a_row_for_everything_that_was_asked() -> None:
    assert {"as_of", *CANDIDATE_COLUMNS} == {column.name for column in schema.costly_candidates.columns}
    values = rates(3)
    frame = candidates(
        values, [LastDays().as_model("one"), LastDays().as_model("two")], values={"apy": values, "apy_base": values / 2}
    )
    assert list(frame) == list(CANDIDATE_COLUMNS)
    keys = ["pool_id", "origin", "target", "horizon_days", "model"]
    assert len(frame.drop_duplicates(keys)) == len(frame) == 3 * 2 * 2 * 3 * 2
    assert frame[keys].equals(frame[keys].sort_values(keys, ignore_index=True))
    days = {LAST_DAY - timedelta(days=90 - 1 - column) for column in (60, 67)}
    assert set(frame["origin"]) == days
    assert all(type(day) is date for day in frame["origin"])
    assert frame["reason"].isna().all()


def test_a_mean_is_in_natural_units_and_never_below_zero() -> None:
    values = rates(1)
    down = CostlyModel("down", "1", 1.0, lambda scaled, horizons: np.array([1.0, 0.5, -40.0]))
    frame = candidates(values, [down], origins=np.array([60]))
    assert frame["mean"].tolist() == pytest.approx([(np.e - 1) / 100, (np.exp(0.5) - 1) / 100, 0.0])
    sizes = candidates(1e9 * values, [down], values={"tvl_usd": 1e9 * values}, origins=np.array([60]))
    assert sizes["mean"].tolist() == pytest.approx([np.e - 1, np.exp(0.5) - 1, 0.0])


def test_a_fit_reads_its_lookback_and_nothing_after_its_origin() -> None:
    values, counted = rates(1, n_days=LOOKBACK_DAYS + 60), LastDays()
    candidates(values, [counted.as_model()], origins=np.array([20, 50, LOOKBACK_DAYS + 40]))
    scaled = to_scale("apy", values)[0]
    assert len(counted.seen) == 2  # the first origin has 21 days
    np.testing.assert_array_equal(counted.seen[0], scaled[:51])
    np.testing.assert_array_equal(counted.seen[1][-41:], scaled[LOOKBACK_DAYS : LOOKBACK_DAYS + 41])
    assert LOOKBACK_DAYS - 5 < len(counted.seen[1]) <= LOOKBACK_DAYS


@by_model
def test_later_values_change_nothing_by_a_bit(model: CostlyModel) -> None:
    values = rates(1)
    noisy = values.copy()
    noisy[:, 61:] = np.random.default_rng(9).uniform(0, 4, noisy[:, 61:].shape)
    before, after = (candidates(matrix, [model], origins=np.array([60])) for matrix in (values, noisy))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert before["reason"].isna().all()


def test_what_an_origin_reads_stays_the_same_from_week_to_week() -> None:
    """Else the cache would find nothing: before the oldest origin lies its whole lookback and what cuts its spikes."""
    assert LOOKBACK_DAYS + N_ORIGINS * ORIGIN_EVERY_DAYS + SPIKE_WINDOW <= TRAINING_DAYS
    values, cache, counted = rates(2, n_days=TRAINING_DAYS + 7), MemoryCache(), LastDays()
    origins = TRAINING_DAYS - 1 - np.arange(N_ORIGINS + 1) * ORIGIN_EVERY_DAYS
    asked = {"models": [counted.as_model()], "cache": cache, "origins": origins[::-1]}
    candidates(values[:, :TRAINING_DAYS], **asked)
    assert len(counted.seen) == 2 * len(origins)
    candidates(values[:, 7:], **asked, last_day=LAST_DAY + timedelta(days=7))
    assert len(counted.seen) == 2 * (len(origins) + 1)


def test_too_little_history_gets_a_reason_and_no_fit() -> None:
    values, counted = np.full((3, 90), np.nan), LastDays()
    values[0, 60 - MIN_OBSERVED_DAYS + 2 : 61] = 0.05
    values[1, 60 - MIN_OBSERVED_DAYS + 1 : 61] = 0.05
    frame = candidates(values, [counted.as_model()], origins=np.array([60]))
    reasons = frame.drop_duplicates("pool_id").set_index("pool_id")["reason"]
    assert reasons.to_dict() == {"pool-0": "TOO_SHORT", "pool-1": None, "pool-2": "TOO_SHORT"}
    assert frame["mean"].isna().tolist() == (frame["reason"] == "TOO_SHORT").tolist()
    assert [len(days) for days in counted.seen] == [MIN_OBSERVED_DAYS]  # from the first observed day on
    for model in COSTLY_MODELS:
        assert np.isfinite(model.fit(to_scale("apy", rates(1, MIN_OBSERVED_DAYS))[0], HORIZONS)).all()


def breaks_on(row_value: float, answer: object) -> CostlyModel:
    """A model that answers that, or raises it, for the series that begins with that value."""
    good = LastDays()

    def fit(scaled: np.ndarray, horizons: Sequence[int]) -> np.ndarray:
        if scaled[0] != to_scale("apy", np.array([[row_value]]))[0, 0]:
            return good(scaled, horizons)
        if isinstance(answer, Exception):
            raise answer
        return np.array(answer, dtype=np.float64)

    return CostlyModel("broken", "1", 1.0, fit)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RuntimeError("no luck\nat all"), "MODEL_FAILED: RuntimeError: no luck"),
        (
            RuntimeError("command '/tmp/x1/model data=/tmp/x1/y.json' failed"),
            "MODEL_FAILED: RuntimeError: command … … failed",
        ),
        (ZeroDivisionError(), "MODEL_FAILED: ZeroDivisionError"),
        (ValueError("x" * 500), "MODEL_FAILED: ValueError: " + "x" * 80),
        ([1.0, np.nan, 1.0], "MODEL_FAILED: AbsurdForecastError: the forecast is not finite"),
        ([1.0, 1.0, np.inf], "MODEL_FAILED: AbsurdForecastError: the forecast is not finite"),
        (
            [1.0, 1.0, 9.0],
            "MODEL_FAILED: AbsurdForecastError: the forecast is more than 1000 times the highest value seen",
        ),
    ],
)
def test_a_model_that_fails_on_one_series_fails_there_only_and_says_why(answer: object, reason: str) -> None:
    values = np.full((3, 90), 0.05)
    values[1, 0] = 0.02
    cache = MemoryCache()
    frame = candidates(values, [breaks_on(0.02, answer), LastDays().as_model()], cache=cache)
    failed = frame["reason"].notna()
    assert set(frame.loc[failed, "reason"]) == {reason}
    assert set(frame.loc[failed, "pool_id"]) == {"pool-1"}
    assert set(frame.loc[failed, "model"]) == {"broken"}
    assert failed.sum() == 2 * len(HORIZONS)
    assert frame["mean"].isna().tolist() == failed.tolist()
    again = candidates(values, [breaks_on(0.02, answer), LastDays().as_model()], cache=cache)
    pd.testing.assert_frame_equal(again, frame)


def test_a_process_that_is_told_to_stop_stops() -> None:
    def stop(scaled: np.ndarray, horizons: Sequence[int]) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        candidates(rates(1), [CostlyModel("stops", "1", 1.0, stop)])


# --- the cache -----------------------------------------------------------------------------------------------------
def test_equal_series_are_fitted_once() -> None:
    values, counted = rates(2), LastDays()
    values[1] = values[0]
    frame = candidates(values, [counted.as_model()], values={"apy": values, "apy_base": values})
    assert len(counted.seen) == 2  # one per origin
    assert frame.groupby(["origin", "horizon_days"])["mean"].nunique().eq(1).all()


def test_the_cache_changes_no_figure_and_another_version_is_another_model() -> None:
    values, cache, counted = rates(2), MemoryCache(), LastDays()
    model = counted.as_model()
    with_empty = candidates(values, [model], cache=cache)
    assert len(counted.seen) == 4
    pd.testing.assert_frame_equal(candidates(values, [model], cache=cache), with_empty, check_exact=True)
    assert len(counted.seen) == 4
    candidates(values, [replace(model, version="2")], cache=cache)
    assert len(counted.seen) == 8
    candidates(values, [model], cache=cache, horizons=(1,))
    assert len(counted.seen) == 12


def test_the_cache_and_whoever_watches_are_told_as_it_goes() -> None:
    class Told(MemoryCache):
        kept: list[int] = []  # noqa: RUF012 - one test, one list

        def keep(self, entries) -> None:  # type: ignore[no-untyped-def]
            self.kept.append(len(entries))
            super().keep(entries)

    told: list[tuple[str, int, int]] = []
    cache = Told()
    values = rates(KEEP_EVERY // 2 + 1)
    watch = {"cache": cache, "on_progress": lambda *progress: told.append(progress)}
    candidates(values, [LastDays().as_model()], **watch)
    n_fits = KEEP_EVERY + 2
    assert told == [("counted", KEEP_EVERY, n_fits), ("counted", n_fits, n_fits)]
    assert cache.kept == [KEEP_EVERY, 2]
    candidates(values, [LastDays().as_model()], **watch)
    assert len(told) == 2


# --- the champion of the day ---------------------------------------------------------------------------------------
def test_a_champion_says_today_what_it_would_have_said_in_a_backtest() -> None:
    values, cache = rates(3), MemoryCache()
    values[1, :70] = np.nan
    means, reasons = forecast_now(values, "apy", "theta", HORIZONS, cache)
    assert reasons == [None, "TOO_SHORT", None]
    assert np.isnan(means[1]).all()
    frame = candidates(values, [THETA], origins=np.array([values.shape[1] - 1]), cache=cache)
    np.testing.assert_array_equal(frame["mean"].to_numpy().reshape(3, 3), means)
    np.testing.assert_array_equal(
        means[0], from_scale("apy", THETA.fit(to_scale("apy", values[:1])[0], HORIZONS)[None, :])[0]
    )


def test_no_series_is_no_forecast_and_an_unknown_model_is_refused() -> None:
    means, reasons = forecast_now(np.empty((0, 90)), "apy", "theta", HORIZONS, MemoryCache())
    assert means.shape == (0, 3)
    assert reasons == []
    with pytest.raises(KeyError, match="oracle"):
        forecast_now(rates(1), "apy", "oracle", HORIZONS, MemoryCache())
    assert candidates(np.empty((0, 90)), COSTLY_MODELS).columns.tolist() == list(CANDIDATE_COLUMNS)


@pytest.mark.nightly
@pytest.mark.recorded
def test_smoothing_beats_the_last_value_on_the_recorded_panel(lending_panel: pd.DataFrame) -> None:
    """Ratios of every fourth weekly origin; the specification has 0.92, 0.87-0.88, 0.91 on its sixteen origins."""
    wide = lending_panel.pivot_table(index="pool_id", columns="date", values="apy")
    values = wide.reindex(columns=[day.date() for day in pd.date_range(wide.columns.min(), wide.columns.max())])
    matrix = np.maximum(values.to_numpy(dtype=np.float64), 0.0)
    origins = np.arange(117, matrix.shape[1] - 30, 28)
    frame = candidates(
        matrix, [AUTO_ETS, THETA], pool_ids=list(values.index), origins=origins, last_day=values.columns[-1]
    )
    last = pd.DataFrame(matrix).ffill(axis=1).to_numpy()
    for (model, horizon), rows in frame.groupby(["model", "horizon_days"]):
        said = rows.pivot_table(index="pool_id", columns="origin", values="mean", dropna=False).to_numpy()
        actual = np.stack([np.nanmean(matrix[:, o + 1 : o + 1 + horizon], axis=1) for o in origins], axis=1)
        known = ~np.isnan(said) & ~np.isnan(actual)
        ratio = np.abs(said - actual)[known].sum() / np.abs(last[:, origins] - actual)[known].sum()
        assert 0.8 < ratio < 0.98, (model, horizon, ratio)
