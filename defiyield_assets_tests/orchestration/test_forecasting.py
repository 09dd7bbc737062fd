"""Forecasts day after day: scores that fill themselves, the scoreboard, demotion, caches, ranges, checks.

Not here: models, evidence, bands (domain/forecasting/), what later data could do (lookahead/).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.forecasting.demotion import MIN_SCORES, RUN_DAYS, SKILL_DAYS
from defiyield_assets.domain.forecasting.pools import HORIZONS, PoolForecasts, forecast_pools
from defiyield_assets.domain.policy import PoolAlias
from defiyield_assets.domain.policy_codec import policy_from_json, policy_to_json
from defiyield_assets.orchestration.assets import forecasting as assets
from defiyield_assets.orchestration.report_inputs import read_report_inputs
from defiyield_assets.store import schema, writes
from defiyield_assets.store.engine import write_transaction
from defiyield_assets_tests.installations import (
    FIRST,
    SILENT,
    Installation,
    Loop,
    day_after,
    failed_steps,
    materialised,
)
from defiyield_assets_tests.remembered_fits import FOLDER_VARIABLE

pytestmark = pytest.mark.slow

NEXT = day_after(FIRST)
EVALUATED = day_after(FIRST, 2)
"""The day of the loop on which costly candidates are evaluated: its number since 1970-01-01 divides by 7."""
TABLES = (schema.forecast_evaluations, schema.forecast_candidates, schema.pool_forecasts)
STEP = [table.name for table in TABLES]
BLOCKING = ("quantiles_do_not_cross", "every_tracked_pool_has_a_forecast_or_a_reason")
DOUBTS = ("bands_cover_what_they_say", "champions_beat_last_value")
N_POOLS = 5
KEYS = ["pool_id", "target", "horizon_days"]


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """What the asset's materialisation tells the UI."""
    made = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key == dg.AssetKey(asset)
    ]
    return {name: entry.value for name, entry in made[-1].metadata.items()}


def put(installation: Installation, table: sa.Table, rows: pd.DataFrame, day: date) -> None:
    """Replace the table's slice of the day."""
    writes.replace_slice(installation.engine, table, rows.reset_index(drop=True), DayRange.of(day))


@pytest.fixture(scope="module")
def few(first_day: Loop, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The first day's state followed by three days on which N_POOLS pools of long history pay what they paid."""
    installation = first_day.installation.copy_to(tmp_path_factory.mktemp("few") / "state")
    histories = installation.rows(schema.pool_histories)
    longest = histories.groupby("pool_id")["date"].count().sort_values(ascending=False, kind="stable")
    verdicts = installation.rows(schema.prefiltered_pools, FIRST)
    passed = set(verdicts.loc[verdicts["is_passed"], "pool_id"])
    chosen = [pool_id for pool_id in longest.index if pool_id in passed][:N_POOLS]
    points = histories[(histories["date"] == FIRST) & histories["pool_id"].isin(chosen) & (histories["revision"] == 0)]
    for offset in (1, 2, 3):
        day = day_after(FIRST, offset)
        for table in (schema.policy_snapshot, schema.prefiltered_pools, schema.pool_groups):
            rows = installation.rows(table, FIRST)
            kept = rows[rows["pool_id"].isin(chosen)] if "pool_id" in rows else rows
            put(installation, table, kept.assign(date=day), day)
        put(installation, schema.pool_histories, points.assign(date=day, seen_at=market_stamp(day)), day)
    return installation


@pytest.fixture
def fresh(few: Installation, tmp_path: Path) -> Installation:
    """A copy of `few` that a test may change."""
    return few.copy_to(tmp_path / "state")


def run_range(installation: Installation, assets: Sequence[str], days: DayRange) -> dg.ExecuteInProcessResult:
    """Materialise a range in one run, as `--partition-range` and a backfill's chunk do."""
    tags = {
        "dagster/asset_partition_range_start": days.start.isoformat(),
        "dagster/asset_partition_range_end": days.end.isoformat(),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        return installation.definitions.resolve_job_def("plan_the_day").execute_in_process(
            tags=tags,
            asset_selection=[dg.AssetKey(name) for name in assets],
            instance=instance,
            run_config=SILENT,
            raise_on_error=False,
        )


# --- scores and the scoreboard --------------------------------------------------------------------------------------
def test_scores_of_candidates_and_champions_fill_themselves_day_after_day(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    assert installation.rows(schema.forecast_scores, FIRST).empty, "nothing was forecast before"
    for day in closed_loop.days[1:]:
        scores = installation.rows(schema.forecast_scores, day)
        before = day_after(day, -1)
        candidates = installation.rows(schema.forecast_candidates, before)
        assert set(scores["as_of"]) == {before}
        assert set(scores["horizon_days"]) == {1}
        pools = scores[scores["pool_id"] != "GAS"]
        assert set(pools["model"]) == set(candidates.loc[candidates["horizon_days"] == 1, "model"])
        assert (scores[scores["is_champion"]].groupby(KEYS).size() == 1).all()
        assert set(scores.loc[scores["pool_id"] == "GAS", "target"]) == {"base_fee_gwei", "gas_price_gwei"}
        n_champions = len(scores[scores["is_champion"]])
        assert n_champions > 0.9 * len(candidates[candidates["is_champion"] & (candidates["horizon_days"] == 1)])


def test_every_forecast_is_a_candidate_marked_as_champion(closed_loop: Loop) -> None:
    candidates = closed_loop.installation.rows(schema.forecast_candidates)
    champions = candidates[candidates["is_champion"]].drop(columns="is_champion")
    forecasts = closed_loop.installation.rows(schema.pool_forecasts)[list(champions)]
    keys = ["as_of", *KEYS]
    pd.testing.assert_frame_equal(
        champions.sort_values(keys, ignore_index=True), forecasts.sort_values(keys, ignore_index=True)
    )


def test_the_scoreboard_has_every_model_as_a_table_and_a_plot(closed_loop: Loop) -> None:
    assert closed_loop.installation.rows(schema.forecast_scoreboard, FIRST).empty
    for number, (day, result) in enumerate(zip(closed_loop.days, closed_loop.results, strict=True)):
        told = metadata_of(result, "forecast_scoreboard")
        board = closed_loop.installation.rows(schema.forecast_scoreboard, day)
        assert told["dagster/row_count"] == len(board)
        if number == 0:
            continue
        assert {"champion", "last_value", "combination", "pooled"} <= set(board["model"])
        last_values = board[(board["model"] == "last_value") & (board["target"] == "tvl_usd")]
        assert last_values["skill"].abs().max() < 1e-9, "but for the way to the model's scale and back"
        assert {record.data["model"] for record in told["scoreboard"].records} >= {"champion", "last_value"}
    assert told["plot"].startswith("![")
    assert "](data:image/png;base64,iVBOR" in told["plot"]


def test_the_sums_are_those_of_the_scores(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    scores, sums = installation.rows(schema.forecast_scores), installation.rows(schema.forecast_score_sums)
    found = scores.groupby(["date", "target", "horizon_days", "model"])["absolute_error"].sum()
    kept = sums[sums["model"] != "champion"].set_index(["date", "target", "horizon_days", "model"])["absolute_error"]
    pd.testing.assert_series_equal(found.sort_index(), kept.sort_index(), rtol=1e-12)


def test_the_report_reads_the_scores_of_champions_only(closed_loop: Loop) -> None:
    day = closed_loop.days[-1]
    scores = closed_loop.installation.rows(schema.forecast_scores, day)
    champions = scores[scores["is_champion"]].reset_index(drop=True)
    assert 0 < len(champions) < len(scores)
    told = read_report_inputs(closed_loop.installation.warehouse, day)
    pd.testing.assert_frame_equal(told.forecast_scores, champions)


# --- what costs much ------------------------------------------------------------------------------------------------
def test_costly_candidates_are_evaluated_once_a_week_and_the_next_day_is_named(closed_loop: Loop) -> None:
    rows = closed_loop.installation.rows(schema.costly_candidates)
    assert set(rows["as_of"]) == {EVALUATED}
    assert rows["origin"].max() == EVALUATED, "its own forecasts are the newest origin of the week that follows"
    assert len(set(rows["origin"])) == 27
    for day, result in zip(closed_loop.days, closed_loop.results, strict=True):
        told = metadata_of(result, "costly_candidates")
        due = EVALUATED if day < EVALUATED else day_after(EVALUATED, 7)
        assert told["next_evaluation"] == due.isoformat()
    evidence = closed_loop.installation.rows(schema.forecast_evaluations)
    judged = evidence.groupby("as_of")["model"].agg(lambda models: "theta" in set(models))
    assert judged.to_dict() == {day: day >= EVALUATED for day in closed_loop.days}


def test_a_warm_cache_makes_the_same_rows_as_a_cold_one(fresh: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    names = ["costly_candidates", *STEP]
    with write_transaction(fresh.engine, "forecast_cache") as connection:
        connection.execute(schema.forecast_cache.delete())
    assert fresh.run(EVALUATED, names).success
    cold = {name: fresh.fingerprint(schema.metadata.tables[name]) for name in names}
    known = fresh.rows(schema.forecast_cache)
    assert {"auto_ets", "theta", "pooled"} <= set(known["model"])
    assert fresh.run(EVALUATED, names).success
    assert {name: fresh.fingerprint(schema.metadata.tables[name]) for name in names} == cold
    assert len(fresh.rows(schema.forecast_cache)) == len(known), "everything was found"


# --- demotion -------------------------------------------------------------------------------------------------------
def plant_losers(installation: Installation, champion: "pd.Series[Any]", ages: Iterable[int]) -> None:
    """The champion of a pool, target and horizon was far off so many days before NEXT (0: on it), as vintages say."""
    for age in ages:
        day = day_after(NEXT, -age - int(champion["horizon_days"]))
        bad = {**champion, "as_of": day, "mean": 9.0, "p10": 8.0, "p50": 9.0, "p90": 10.0}
        rows = pd.DataFrame([bad, *installation.rows(schema.pool_forecasts, day).to_dict("records")])
        put(installation, schema.pool_forecasts, rows.drop_duplicates(KEYS), day)


def standing(installation: Installation, day: date = NEXT, pool_ids: Collection[str] | None = None) -> "pd.Series[Any]":
    """A champion of the day that may be demoted, over one day, of any pool or of one of these."""
    rows = installation.rows(schema.pool_forecasts, day)
    able = rows[(rows["target"] == "apy") & (rows["horizon_days"] == 1) & (rows["model"] != "last_value")]
    return able[able["pool_id"].isin(able["pool_id"] if pool_ids is None else pool_ids)].iloc[0]


def test_a_champion_whose_skill_was_negative_for_a_month_is_demoted_and_only_there(fresh: Installation) -> None:
    assert fresh.run(NEXT, STEP).success
    before = fresh.rows(schema.pool_forecasts, NEXT)
    champion = standing(fresh)
    plant_losers(fresh, champion, range(MIN_SCORES + RUN_DAYS - 1))
    result = fresh.run(NEXT, STEP)
    assert result.success
    after = fresh.rows(schema.pool_forecasts, NEXT)
    changed = after.set_index(KEYS).compare(before.set_index(KEYS), keep_equal=True)
    assert list(changed.index) == [(champion["pool_id"], "apy", 1)]
    (row,) = after.set_index(KEYS).loc[list(changed.index)].to_dict("records")
    assert row["fallback_reason"] == "DEMOTED"
    assert row["model"] != champion["model"]
    assert metadata_of(result, "pool_forecasts")["fallbacks"] == {"DEMOTED": 1}
    candidates = fresh.rows(schema.forecast_candidates, NEXT).set_index(KEYS).loc[[(champion["pool_id"], "apy", 1)]]
    assert champion["model"] in set(candidates["model"]), "it is still scored"
    assert candidates.loc[candidates["is_champion"], "model"].tolist() == [row["model"]]


@pytest.mark.nightly
def test_a_range_in_one_run_demotes_as_its_days_one_by_one(fresh: Installation) -> None:
    assert fresh.run(NEXT, STEP).success
    # MIN_SCORES in each of the RUN_DAYS - 1 windows up to NEXT; in that of the day after only with NEXT's own forecast.
    ages = range(SKILL_DAYS + RUN_DAYS - 2)
    plant_losers(fresh, standing(fresh), [age for age in ages if (age + 2) % SKILL_DAYS < MIN_SCORES])
    days = DayRange(NEXT, day_after(FIRST, 3))
    for day in days:
        assert fresh.run(day, STEP).success
    one_by_one = {table.name: fresh.fingerprint(table) for table in TABLES}
    demoted = ["DEMOTED" in set(fresh.rows(schema.pool_forecasts, day)["fallback_reason"]) for day in days]
    assert demoted == [False, True, True], "the forecast of the first day of the range decides"
    for table in TABLES:
        with write_transaction(fresh.engine, table.name) as connection:
            connection.execute(table.delete().where(table.c.as_of >= days.start))
    result = run_range(fresh, STEP, days)
    assert failed_steps(result) == set()
    assert {table.name: fresh.fingerprint(table) for table in TABLES} == one_by_one
    assert metadata_of(result, "pool_forecasts")["days"] == len(days)


def test_forecasts_depend_on_their_own_past_only_as_far_as_demotion_looks(closed_loop: Loop) -> None:
    graph = closed_loop.installation.definitions.resolve_asset_graph()
    mapping = graph.get(dg.AssetKey("pool_forecasts")).partition_mappings[dg.AssetKey("pool_forecasts")]
    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    assert (mapping.start_offset, mapping.end_offset) == (-assets.SELF_DAYS, -1)
    assert 89 + max(HORIZONS) == assets.SELF_DAYS


# --- pools that change their id -------------------------------------------------------------------------------------
def say_alias(installation: Installation, alias: PoolAlias, day: date) -> None:
    """From now on the policy of the day knows of the alias."""
    rows = installation.rows(schema.policy_snapshot, day)
    policy = policy_from_json(rows["policy_json"].iloc[0])
    text = policy_to_json(replace(policy, pool_aliases=(alias,)))
    put(installation, schema.policy_snapshot, rows.assign(policy_json=text, policy_hash=content_hash(text)), day)


def list_twice(installation: Installation, table: sa.Table, alias: PoolAlias, day: date) -> None:
    """The slice of the day also has the pool under its old id, far off, with a champion that today's id lacks."""
    rows = installation.rows(table, day)
    own = rows[rows["pool_id"] == alias.new_id]
    assert len(own)
    off = own.assign(pool_id=alias.old_id, **dict.fromkeys({"mean", "p10", "p50", "p90"} & set(rows), 9.0))
    if "is_champion" in off:
        off["model"] = off["model"].where(~off["is_champion"], "gone")
    put(installation, table, pd.concat([rows, off]), day)


@pytest.mark.nightly
def test_a_pool_listed_under_two_ids_before_its_alias_came_counts_once_as_today_s_own(fresh: Installation) -> None:
    assert fresh.run(NEXT, STEP).success
    assert fresh.run(EVALUATED, ["costly_candidates", *STEP]).success
    champion = standing(fresh, EVALUATED, set(fresh.rows(schema.costly_candidates, EVALUATED)["pool_id"]))
    alias = PoolAlias("22222222-2222-4333-8444-555555555555", champion["pool_id"], EVALUATED, "test")
    say_alias(fresh, alias, EVALUATED)
    histories = fresh.rows(schema.pool_histories)
    paid = histories[histories["pool_id"] == alias.new_id].drop_duplicates("date", keep="last").set_index("date")["apy"]
    vintages = [day_after(NEXT, -offset) for offset in range(1, SKILL_DAYS + RUN_DAYS)]
    for day in vintages:
        right = pd.DataFrame([{**champion, "as_of": day, "mean": paid[day_after(day)]}])
        kept = fresh.rows(schema.pool_forecasts, day)
        rows = pd.concat([right, kept]) if len(kept) else right
        put(fresh, schema.pool_forecasts, rows.drop_duplicates(KEYS), day)
    names = [*STEP, "forecast_scores", "forecast_score_sums"]
    assert fresh.run(EVALUATED, names).success
    once = {name: fresh.fingerprint(schema.metadata.tables[name], EVALUATED) for name in names}
    for day in (NEXT, *vintages):
        list_twice(fresh, schema.pool_forecasts, alias, day)
    list_twice(fresh, schema.forecast_candidates, alias, NEXT)
    list_twice(fresh, schema.costly_candidates, alias, EVALUATED)
    assert fresh.run(EVALUATED, names).success
    assert {name: fresh.fingerprint(schema.metadata.tables[name], EVALUATED) for name in names} == once


# --- checks ---------------------------------------------------------------------------------------------------------
def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The checks of a run, by name."""
    found = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return {item.check_name: item for item in found}


def meddle_with_forecasts(monkeypatch: pytest.MonkeyPatch, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """From now on the rows of pool_forecasts are changed before they are kept."""

    def broken(*args: Any, **options: Any) -> PoolForecasts:
        made = forecast_pools(*args, **options)
        return replace(made, forecasts=change(made.forecasts))

    monkeypatch.setattr(assets, "forecast_pools", broken)


def test_on_good_days_every_check_of_forecasts_passes(closed_loop: Loop) -> None:
    for result in closed_loop.results:
        found = evaluations(result)
        for name in (*BLOCKING, *DOUBTS):
            assert found[name].passed, name
    reasons = evaluations(closed_loop.results[0])["every_tracked_pool_has_a_forecast_or_a_reason"].metadata
    assert reasons["followed"].value > 50


def test_a_quantile_out_of_order_stops_what_rests_on_it(fresh: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def crossed(forecasts: pd.DataFrame) -> pd.DataFrame:
        row = forecasts.index[forecasts["p10"] < forecasts["p90"]][0]
        changed = forecasts.copy()
        changed.loc[row, ["p10", "p90"]] = forecasts.loc[row, ["p90", "p10"]].to_numpy()
        return changed

    meddle_with_forecasts(monkeypatch, crossed)
    result = fresh.run(NEXT, [*STEP, "eligible_pools"], raise_on_error=False)
    found = evaluations(result)["quantiles_do_not_cross"]
    assert (found.passed, found.blocking) == (False, True)
    assert found.metadata["broken"].value == 1
    assert "eligible_pools" not in materialised(result)


def test_a_pool_without_forecast_and_reason_stops_what_rests_on_it(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    def without_one(forecasts: pd.DataFrame) -> pd.DataFrame:
        lost.append(forecasts["pool_id"].iloc[0])
        return forecasts[forecasts["pool_id"] != lost[0]]

    meddle_with_forecasts(monkeypatch, without_one)
    result = fresh.run(NEXT, [*STEP, "eligible_pools"], raise_on_error=False)
    found = evaluations(result)["every_tracked_pool_has_a_forecast_or_a_reason"]
    assert (found.passed, found.blocking) == (False, True)
    assert [row.data for row in found.metadata["listed"].records] == [{"day and pool": f"{NEXT} {lost[0]}"}]
    assert "eligible_pools" not in materialised(result)


def test_a_silent_pool_has_a_reason_and_stops_nothing(fresh: Installation) -> None:
    late = day_after(FIRST, 3)
    followed = fresh.rows(schema.prefiltered_pools, late)["pool_id"]
    silent, unknown = followed.iloc[0], followed.iloc[1]
    table = schema.pool_histories
    with write_transaction(fresh.engine, table.name) as connection:
        connection.execute(table.delete().where(table.c.pool_id == silent, table.c.date > day_after(late, -10)))
        connection.execute(table.delete().where(table.c.pool_id == unknown))
    result = fresh.run(late, STEP)
    assert result.success
    found = evaluations(result)["every_tracked_pool_has_a_forecast_or_a_reason"]
    assert found.passed
    assert found.metadata["with_reason"].value == 2
    assert all(word in str(found.metadata["reasons"].records) for word in (silent, "STALE", unknown, "NO_DATA"))
    assert not {silent, unknown} & set(fresh.rows(schema.pool_forecasts, late)["pool_id"])
    assert metadata_of(result, "pool_forecasts")["without_forecast"]["STALE"] == 1


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        ("bands_cover_what_they_say", {"n_covered": 150}),
        ("bands_cover_what_they_say", {"n_covered": 290}),
        ("champions_beat_last_value", {"absolute_error": 31.0}),
    ],
)
def test_what_champions_are_worth_is_a_doubt_and_stops_nothing(
    fresh: Installation, check: str, wrong: dict[str, float]
) -> None:
    keys = {"date": FIRST, "target": "apy", "horizon_days": 1, "model": "champion", "n_forecasts": 300}
    errors = {"absolute_error": 27.0, "naive_absolute_error": 30.0, "error": 1.0, "pinball_loss": 9.0}
    bands = {"n_bands": 300, "n_covered": 240, "scaled_error": 27.0, "mase_scale": 30.0}
    for figures, is_fine in (({}, True), (wrong, False), (dict.fromkeys(wrong, 0) | {"n_forecasts": 199}, True)):
        row = pd.DataFrame([{**keys, **errors, **bands, **figures}])
        put(fresh, schema.forecast_score_sums, row.assign(mase_scale=30.0), FIRST)
        result = fresh.run(FIRST, ["forecast_scoreboard"])
        assert result.success
        found = evaluations(result)[check]
        assert (found.passed, found.severity, found.blocking) == (is_fine, dg.AssetCheckSeverity.WARN, False)
