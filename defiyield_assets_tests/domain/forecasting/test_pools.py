"""Pool forecasts: contract, no look-ahead, order, gaps, nulls, bounds, and the recorded panel."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.forecasting import candidates
from defiyield_assets.domain.forecasting.cache import MemoryCache
from defiyield_assets.domain.forecasting.evaluation import EVIDENCE_COLUMNS
from defiyield_assets.domain.forecasting.models import MODELS
from defiyield_assets.domain.forecasting.pools import (
    CANDIDATE_COLUMNS,
    POOL_FORECAST_COLUMNS,
    TRAINING_DAYS,
    forecast_pools,
)
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.forecasting.conftest import AS_OF, make_histories

PARAMETERS = Parameters()


def forecast(
    rows: pd.DataFrame, as_of: date = AS_OF, parameters: Parameters = PARAMETERS, **options: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecasts and skipped pools, all pools in group 1."""
    found = forecast_pools(rows, as_of, parameters, dict.fromkeys(rows["pool_id"], 1), **options)
    return found.forecasts, found.skipped


def one_pool(apys: list[float | None], last_day: date = AS_OF, **columns: object) -> pd.DataFrame:
    days = [last_day - timedelta(days=len(apys) - 1 - day) for day in range(len(apys))]
    parts = {"apy_base": np.nan, "apy_reward": np.nan, "tvl_usd": 1e6, "is_hindsight": False}
    return pd.DataFrame({"pool_id": "pool", "date": days, "apy": apys, **parts, **columns})


def test_columns_are_those_of_the_table(histories: pd.DataFrame) -> None:
    forecasts, skipped = forecast(histories)
    assert list(forecasts) == list(POOL_FORECAST_COLUMNS) == [column.name for column in schema.pool_forecasts.columns]
    assert list(skipped) == ["pool_id", "reason_code", "reason"]
    keys = ["pool_id", "as_of", "horizon_days", "target"]
    pd.testing.assert_frame_equal(forecasts, forecasts.sort_values(keys, ignore_index=True))
    assert len(forecasts) == 6 * 3 * 4
    assert not forecasts.drop(columns="fallback_reason").isna().any().any()


def test_no_value_after_as_of_is_read(histories: pd.DataFrame) -> None:
    as_of = AS_OF - timedelta(days=20)
    noisy = histories.copy()
    later = noisy["date"] > as_of
    random = np.random.default_rng(0)
    for column in ("apy", "apy_base", "apy_reward", "tvl_usd"):
        noisy.loc[later, column] = random.normal(5, 50, int(later.sum()))
    noisy.loc[later, "is_hindsight"] = True
    expected, skipped = forecast(histories, as_of)
    for other in (noisy, histories.loc[~later]):
        forecasts, also_skipped = forecast(other, as_of)
        pd.testing.assert_frame_equal(forecasts, expected, check_exact=True)
        pd.testing.assert_frame_equal(also_skipped, skipped)


@pytest.mark.nightly
@given(seed=st.integers(0, 1_000))
@settings(max_examples=10, deadline=None)
def test_order_of_rows_changes_nothing(seed: int) -> None:
    rows = make_histories()
    shuffled = rows.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(forecast(shuffled)[0], forecast(rows)[0], check_exact=True)


def test_more_history_than_the_training_window_changes_nothing() -> None:
    rows = make_histories(n_days=600)
    recent = rows.loc[rows["date"] > AS_OF - timedelta(days=TRAINING_DAYS)]
    pd.testing.assert_frame_equal(forecast(rows)[0], forecast(recent)[0], check_exact=True)


def test_means_and_bands_are_ordered_and_bounded() -> None:
    rows = make_histories()
    rows["apy"] *= 200.0
    forecasts, _ = forecast(rows)
    assert (forecasts["p10"] <= forecasts["p50"]).all()
    assert (forecasts["p50"] <= forecasts["p90"]).all()
    assert (forecasts[["mean", "p10"]] >= 0).all().all()
    apys = forecasts.loc[forecasts["target"] != "tvl_usd", ["mean", "p90"]]
    assert (apys <= PARAMETERS.apy_plausible_max).all().all()


@pytest.mark.parametrize(("silent_days", "is_skipped"), [(0, False), (3, False), (4, True)])
def test_a_pool_silent_for_more_than_gap_days_gets_no_forecast(silent_days: int, is_skipped: bool) -> None:
    rows = pd.concat([make_histories(2), one_pool([0.05] * 40, AS_OF - timedelta(days=silent_days))])
    forecasts, skipped = forecast(rows)
    assert ("pool" not in set(forecasts["pool_id"])) == is_skipped
    assert list(skipped["reason_code"]) == (["STALE"] if is_skipped else [])
    if is_skipped:
        assert skipped["reason"][0] == "last observed 2025-05-28, 4 days ago; the limit is 3"


def test_a_row_without_an_apy_is_silence() -> None:
    forecasts, skipped = forecast(one_pool([None, None]))
    assert forecasts.empty
    assert list(forecasts) == list(POOL_FORECAST_COLUMNS)
    assert list(skipped["reason_code"]) == ["NO_DATA"]


def test_one_point_is_its_own_forecast() -> None:
    forecasts, _ = forecast(one_pool([0.07]))
    apy = forecasts.loc[forecasts["target"] == "apy"]
    assert list(apy["model"]) == ["last_value"] * 3
    assert list(apy["fallback_reason"]) == ["SHORT_HISTORY"] * 3
    assert apy["mean"].tolist() == pytest.approx([0.07] * 3)
    assert (apy["trained_from"] == AS_OF).all()
    assert (apy["n_obs"] == 1).all()


def test_two_points_are_a_short_history() -> None:
    apy = forecast(one_pool([0.05, 0.30]))[0].query("target == 'apy'")
    assert apy["mean"].tolist() == pytest.approx([0.30] * 3)
    assert apy["fallback_reason"].tolist() == ["SHORT_HISTORY"] * 3
    assert apy["tier"].tolist() == ["baseline"] * 3


def test_a_young_panel_has_its_first_resort_and_says_so() -> None:
    """Nothing to train a pooled model on: neither a pool that never paid nor one without base changes that."""
    young = make_histories(n_days=20)
    silent = one_pool([0.0] * 20)
    rewarded = one_pool([0.02] * 20, apy_base=0.0, apy_reward=0.02).assign(pool_id="rewarded")
    found = forecast(pd.concat([young, silent, rewarded]))[0]
    apys = found.loc[found["target"].isin(["apy", "apy_base"])]
    assert set(apys["model"]) == {"combination"}
    reasons = apys.groupby("horizon_days")["fallback_reason"].agg(set)
    assert reasons.to_dict() == {1: {"NOT_TRAINED"}, 7: {"NOT_TRAINED"}, 30: {None}}


def test_a_target_that_is_silent_for_too_long_has_no_rows() -> None:
    rows = make_histories(2)
    rows.loc[(rows["pool_id"] == "pool-000") & (rows["date"] > AS_OF - timedelta(days=4)), "tvl_usd"] = np.nan
    found = forecast_pools(rows, AS_OF, PARAMETERS, {})
    for table in (found.forecasts, found.candidates):
        assert set(table.loc[table["target"] == "tvl_usd", "pool_id"]) == {"pool-001"}
        assert set(table.loc[table["target"] == "apy", "pool_id"]) == {"pool-000", "pool-001"}


def test_who_joins_does_not_move_a_pool_that_does_not_move() -> None:
    calm = [one_pool([0.05] * 60).assign(pool_id=f"calm-{number}") for number in range(4)]
    newcomer = one_pool([4.0] * 2).assign(pool_id="newcomer")
    found = forecast(pd.concat([*calm, newcomer]))[0]
    apys = found.loc[(found["target"] == "apy") & (found["pool_id"] != "newcomer")]
    assert apys["mean"].tolist() == pytest.approx([0.05] * 12)


def test_missing_parts_of_an_apy_are_completed() -> None:
    apys = [0.06] * 10
    neither, _ = forecast(one_pool(apys))
    only_reward, _ = forecast(one_pool(apys, apy_reward=0.02))
    only_base, _ = forecast(one_pool(apys, apy_base=0.05))
    means = [
        rows.loc[rows["horizon_days"] == 30].set_index("target")["mean"] for rows in (neither, only_reward, only_base)
    ]
    assert [pytest.approx(row["apy_base"]) for row in means] == [0.06, 0.04, 0.05]
    assert [pytest.approx(row["apy_reward"]) for row in means] == [0.0, 0.02, 0.0]


def test_a_spike_cut_from_the_total_is_cut_from_its_parts() -> None:
    base = [0.04] * 19 + [4.0]
    rows = one_pool([0.05] * 19 + [0.25], apy_base=base, apy_reward=[0.01] * 19 + [1.0])
    forecasts, _ = forecast(rows, horizons=(1,))
    means = forecasts.set_index("target")["mean"]
    assert means["apy_base"] + means["apy_reward"] <= 0.251


def test_silence_is_skipped_over_not_filled() -> None:
    past = [0.04, 0.05, 0.06, 0.05]
    full = one_pool([*past, 0.05, 0.06, 0.07, 0.08])
    gappy = one_pool([*past, 0.05, 0.06, None, None, 0.07, 0.08])
    own = ["last_value", "ewma_02", "ewma_03", "ewma_05", "ses", "median_7"]
    means = []
    for rows in (gappy, full):
        candidates = forecast_pools(rows, AS_OF, PARAMETERS, {}).candidates
        means.append(candidates.loc[candidates["model"].isin(own), "mean"].to_numpy())
    np.testing.assert_array_equal(means[0], means[1])
    with_gap = forecast(gappy)[0]
    apy = with_gap.loc[with_gap["target"] == "apy"]
    assert (apy["n_obs"] == 8).all()
    assert (apy["trained_from"] == AS_OF - timedelta(days=9)).all()
    assert (apy["trained_to"] == AS_OF).all()


def test_hindsight_marks_the_pools_that_rest_on_it(histories: pd.DataFrame) -> None:
    flagged = histories.copy()
    flagged.loc[flagged["pool_id"] == "pool-002", "is_hindsight"] = True
    forecasts, _ = forecast(flagged)
    assert set(forecasts.loc[forecasts["is_hindsight"], "pool_id"]) == {"pool-002"}


def test_wild_values_are_bounded_not_fatal() -> None:
    rows = one_pool([0.05] * 40 + [3_500.0, -2.0, float("inf"), 0.05], tvl_usd=[None] * 44)
    forecasts, _ = forecast(rows)
    assert set(forecasts["target"]) == {"apy", "apy_base", "apy_reward"}
    assert np.isfinite(forecasts[["mean", "p10", "p50", "p90"]].to_numpy(dtype=float)).all()


def test_no_history_gives_empty_tables_with_columns(histories: pd.DataFrame) -> None:
    for rows in (histories.iloc[:0], histories.loc[histories["date"] > AS_OF]):
        forecasts, skipped = forecast(rows)
        assert forecasts.empty
        assert skipped.empty
        assert list(forecasts) == list(POOL_FORECAST_COLUMNS)


def test_two_rows_of_one_day_are_refused(histories: pd.DataFrame) -> None:
    twice = pd.concat([histories, histories.loc[histories["pool_id"] == "pool-001"].head(1)])
    with pytest.raises(SuspiciousDataError, match="two rows of one day for pool pool-001"):
        forecast(twice)


def test_parameters_gap_days_and_apy_max_count() -> None:
    stale = one_pool([0.5] * 10, AS_OF - timedelta(days=5))
    forecasts, _ = forecast(stale, AS_OF, Parameters(gap_days=5, apy_plausible_max=0.1))
    assert forecasts.loc[forecasts["target"] == "apy", "mean"].tolist() == pytest.approx([0.1] * 3)


def test_object_columns_of_the_store_are_accepted() -> None:
    rows = one_pool([0.05] * 10).astype(object)
    rows["tvl_usd"] = Decimal(1_000_000)
    forecasts, _ = forecast(rows)
    assert forecasts.loc[forecasts["target"] == "tvl_usd", "mean"].tolist() == pytest.approx([1e6] * 3)


def test_candidates_hold_every_model_and_their_champions_are_the_forecasts() -> None:
    found = forecast_pools(make_histories(n_pools=12), AS_OF, PARAMETERS, {})
    assert list(found.candidates) == list(CANDIDATE_COLUMNS)
    keys = ["pool_id", "as_of", "horizon_days", "target"]
    figures = ["model", "model_version", "mean", "p10", "p50", "p90"]
    champions = found.candidates.loc[found.candidates["is_champion"], [*keys, *figures]].reset_index(drop=True)
    pd.testing.assert_frame_equal(champions, found.forecasts[[*keys, *figures]], check_exact=True)
    models = found.candidates.groupby("target")["model"].agg(set)
    cheap = set(MODELS)
    assert models["apy"] == models["apy_base"] == cheap | {"pooled", "blend"}
    assert models["apy_reward"] == models["tvl_usd"] == cheap
    for low, high in (("p10", "p50"), ("p50", "p90"), ("p10", "mean"), ("mean", "p90")):
        assert (found.candidates[low] <= found.candidates[high]).all()


def test_evidence_names_one_champion_per_scope(histories: pd.DataFrame) -> None:
    evidence = forecast_pools(histories, AS_OF, PARAMETERS, {}).evidence
    assert list(evidence) == ["as_of", *EVIDENCE_COLUMNS]
    assert set(evidence["scope"]) == {"panel", "group", "pool"}
    assert set(evidence.loc[evidence["horizon_days"] == 30, "scope"]) == {"panel", "group"}
    assert (evidence.groupby(["target", "horizon_days", "scope", "scope_id"])["is_champion"].sum() == 1).all()


def test_a_demoted_champion_makes_way(histories: pd.DataFrame) -> None:
    before = forecast_pools(histories, AS_OF, PARAMETERS, {}).forecasts
    row = before.loc[(before["target"] == "apy") & (before["horizon_days"] == 7)].iloc[0]
    key = (row["pool_id"], "apy", 7, row["model"])
    after = forecast_pools(histories, AS_OF, PARAMETERS, {}, demoted=[key]).forecasts
    same = (after["pool_id"] == key[0]) & (after["target"] == "apy") & (after["horizon_days"] == 7)
    demoted = after.loc[same].iloc[0]
    assert demoted["model"] != key[3]
    assert demoted["fallback_reason"] == "DEMOTED"
    pd.testing.assert_frame_equal(after.loc[~same], before.loc[~same], check_exact=True)


def test_a_costly_model_with_the_better_evidence_is_fitted_where_it_is_champion(
    histories: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its past forecasts are what happened: it wins the pool, and only that pool is asked for today."""
    pool = "pool-002"
    known = histories.loc[histories["pool_id"] == pool].set_index("date")["apy"]
    rows = []
    for origin in sorted(known.index):
        ahead = known.loc[origin + timedelta(days=1) : origin + timedelta(days=1)]
        if len(ahead):
            rows.append((pool, origin, "apy", 1, "theta", "1", float(ahead.mean()), None))
    columns = ["pool_id", "origin", "target", "horizon_days", "model", "model_version", "mean", "reason"]
    costly = pd.DataFrame(rows, columns=columns)
    asked = []

    def fitted(
        values: np.ndarray, target: str, name: str, horizons: tuple[int, ...], _cache: object
    ) -> tuple[np.ndarray, list[None]]:
        asked.append((len(values), target, name))
        return np.full((len(values), len(horizons)), 0.0421), [None] * len(values)

    monkeypatch.setattr(candidates, "forecast_now", fitted)
    found = forecast_pools(histories, AS_OF, PARAMETERS, {}, costly=costly)
    chosen = found.forecasts.loc[found.forecasts["model"] == "theta"]
    assert list(zip(chosen["pool_id"], chosen["target"], chosen["horizon_days"], strict=True)) == [(pool, "apy", 1)]
    assert chosen["mean"].tolist() == [0.0421]
    assert chosen["tier"].tolist() == ["pool"]
    assert asked == [(1, "apy", "theta")]
    monkeypatch.setattr(candidates, "forecast_now", lambda *_: (np.full((1, 3), np.nan), ["MODEL_FAILED: it broke"]))
    failed = forecast_pools(histories, AS_OF, PARAMETERS, {}, costly=costly).forecasts
    row = failed.loc[(failed["pool_id"] == pool) & (failed["target"] == "apy") & (failed["horizon_days"] == 1)].iloc[0]
    assert (row["model"] != "theta", row["fallback_reason"]) == (True, "MODEL_FAILED")


def test_a_cache_changes_no_bit(histories: pd.DataFrame) -> None:
    cache = MemoryCache()
    cold = forecast_pools(histories, AS_OF, PARAMETERS, {}, cache=cache)
    warm = forecast_pools(histories, AS_OF, PARAMETERS, {}, cache=cache)
    for name in ("forecasts", "candidates", "evidence"):
        pd.testing.assert_frame_equal(getattr(warm, name), getattr(cold, name), check_exact=True)


@pytest.mark.parametrize("value", [0.0, 0.05])
def test_a_constant_is_forecast_as_it_is(value: float) -> None:
    forecasts, _ = forecast(one_pool([value] * 90))
    apy = forecasts.loc[forecasts["target"] == "apy"]
    assert apy["mean"].tolist() == pytest.approx([value] * 3)
    if not value:
        assert (apy[["p10", "p50", "p90"]] == 0.0).all().all()


def test_a_pool_that_never_paid_is_not_given_the_level_of_its_peers() -> None:
    rows = pd.concat([make_histories(n_pools=12), one_pool([0.0] * 90)])
    candidates = forecast_pools(rows, AS_OF, PARAMETERS, {}).candidates
    silent = candidates.loc[(candidates["pool_id"] == "pool") & (candidates["target"] != "tvl_usd")]
    assert len(silent)
    assert (silent[["mean", "p10", "p50", "p90"]] == 0.0).all().all()


def test_402_per_cent_is_forecast_within_the_plausible() -> None:
    forecasts, _ = forecast(one_pool([0.05] * 60 + [4.02] * 20), parameters=Parameters(apy_plausible_max=2.0))
    apy = forecasts.loc[forecasts["target"] == "apy"]
    assert (apy[["mean", "p10", "p50", "p90"]] <= 2.0).all().all()
    assert (apy["mean"] > 0.05).all()


@pytest.mark.nightly
@pytest.mark.recorded
def test_recorded_panel_beats_the_last_value_and_covers(lending_panel: pd.DataFrame) -> None:
    """The specification's 16 origins: errors of the last value are 1.35, 1.52, 2.20 points there."""
    days = pd.date_range("2024-06-06", "2025-06-05").date
    actuals = lending_panel.pivot_table(index="pool_id", columns="date", values="apy").reindex(columns=days)
    assert len(actuals) == 48
    origins = [date(2024, 10, 1) + timedelta(days=14 * number) for number in range(16)]
    naive = lending_panel.set_index(["pool_id", "date"])["apy"]
    scored = []
    cache = MemoryCache()
    for as_of in origins:
        forecasts, _ = forecast(lending_panel, as_of, cache=cache)
        for row in forecasts.loc[forecasts["target"] == "apy"].itertuples():
            ahead = actuals.loc[row.pool_id, as_of + timedelta(days=1) : as_of + timedelta(days=row.horizon_days)]
            last = naive[row.pool_id].loc[:as_of].iloc[-1]
            scored.append((row.horizon_days, row.mean, row.p10, row.p90, ahead.mean(), last))
    scores = pd.DataFrame(scored, columns=["horizon", "mean", "p10", "p90", "actual", "last"])
    for horizon, last_error, ratio in ((1, 0.0135, 0.93), (7, 0.0152, 0.87), (30, 0.0220, 0.86)):
        rows = scores.loc[scores["horizon"] == horizon]
        naive_error = (rows["last"] - rows["actual"]).abs().mean()
        assert naive_error == pytest.approx(last_error, abs=5e-5)
        assert (rows["mean"] - rows["actual"]).abs().mean() / naive_error < ratio
        counted = rows.loc[(rows["actual"] > 0) & (rows["p10"] < rows["p90"])]
        covered = ((counted["p10"] <= counted["actual"]) & (counted["actual"] <= counted["p90"])).mean()
        assert 0.72 < covered < 0.88, (horizon, covered)
