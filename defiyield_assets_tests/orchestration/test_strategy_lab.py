"""The strategy lab through Dagster over a small warehouse: scenarios, paths, backtests, rankings, report, checks.

Not here: the rules (domain/market/scenarios, domain/strategies), the command line.
"""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from defiyield_assets.cli.assess import Bench
from defiyield_assets.cli.lab_runs import Stage
from defiyield_assets.console.pages.lab_tables import read_assessment as shown_assessment
from defiyield_assets.console.questions import Question
from defiyield_assets.domain.strategies.evidence import count_trials
from defiyield_assets.domain.strategies.ranking import rank_strategies
from defiyield_assets.domain.strategies.scopes import EVERYWHERE
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.assets.strategies import Backtesting, _rank_rows, run_backtests
from defiyield_assets.orchestration.checks.scenarios import (
    hashes_apart,
    rows_apart,
    scenario_metrics_are_those_of_the_bars,
    stored_paths_are_those_of_the_seed,
)
from defiyield_assets.orchestration.checks.strategies import (
    curves_are_those_of_their_runs,
    idle_strategies,
    out_of_balance,
    ranks_are_those_of_the_runs,
    trades_are_those_of_their_runs,
)
from defiyield_assets.orchestration.declarations import PROGRESS
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET
from defiyield_assets.orchestration.jobs import assess_strategies, generate_scenarios
from defiyield_assets.orchestration.lab.assessments import (
    current_set,
    ranked_scopes,
    read_assessment,
    set_id,
)
from defiyield_assets.orchestration.lab.inputs import strategies_in
from defiyield_assets.orchestration.lab.pages import page_of
from defiyield_assets.orchestration.lab.runs import taking_part
from defiyield_assets.orchestration.lab.sensor import (
    ASSESS,
    CHAIN,
    RANGE_END,
    RANGE_START,
    assess_new_scenarios,
)
from defiyield_assets.orchestration.lab.steps import Pace
from defiyield_assets.orchestration.partitions import SCENARIOS
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.orchestration.small_lab import (
    COINS,
    DAYS,
    LAST,
    SMALL,
    Lab,
    Told,
    copied,
    failure,
    metadata_of,
    ready_of,
    runs_told,
    spoil_after,
    verdict,
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[dg.ExecuteInProcessResult]]]:
    """A lab whose chain ran once."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFIYIELD_PICTURES", "true")
        results = [made.generate(), made.assess()]
    yield made, results
    made.instance.dispose()


def test_the_chain_makes_every_table_and_its_checks_hold(lab: Told) -> None:
    made, results = lab
    assert all(result.success for result in results)
    verdicts = {one.check_name: one.passed for result in results for one in result.get_asset_check_evaluations()}
    told = {"scenario_hashes_reproduce", "stored_paths_are_those_of_the_seed", "equity_is_cash_and_positions"}
    assert {name for name, passed in verdicts.items() if passed} >= told
    scenarios = made.installation.rows(schema.scenarios)
    ready = scenarios[scenarios["status"] == "ready"]
    assert {"stochastic", "random_window", "full_cycle"} == set(ready["family"])
    (lost,) = scenarios.loc[scenarios["status"] == "unavailable", "reason"]
    assert "USDC" in lost, "a scenario that cannot be made says why"
    assert made.instance.get_dynamic_partitions(str(SCENARIOS.name)) == [
        key for key in made.instance.get_dynamic_partitions(str(SCENARIOS.name)) if key in set(ready["partition_key"])
    ]
    assert len(made.instance.get_dynamic_partitions(str(SCENARIOS.name))) == len(ready)
    paths = made.installation.rows(schema.scenario_paths)
    stochastic = set(ready.loc[ready["family"] == "stochastic", "scenario_id"])
    assert set(paths["scenario_id"]) == set(ready["scenario_id"]) - stochastic
    assert set(made.installation.rows(schema.scenario_metrics)["scenario_id"]) == set(ready["scenario_id"])
    runs = made.installation.rows(schema.backtest_results)
    assert set(runs["scenario_id"]) == set(ready["scenario_id"])
    assert (runs["n_trades"] == 0).any(), "runs without a trade are kept"
    curves = made.installation.rows(schema.equity_curves)
    assert set(curves["run_key"]) == set(runs.loc[~runs["scenario_id"].isin(stochastic), "run_key"])
    held = runs.loc[runs["strategy_id"] == "buy_and_hold", "excess_return"]
    assert held.abs().max() < 1e-9, "buy and hold is what it is measured by"


def test_ranks_are_by_scope_and_carry_the_evidence(lab: Told) -> None:
    made, _ = lab
    ranks = made.installation.rows(schema.strategy_rankings)
    listed = made.installation.rows(schema.strategies)
    assert set(ranks["scope"]) == {EVERYWHERE, "crypto_liquid", "us_equities"}
    run = set(listed["strategy_id"]) - {"historical_ai_signal"}  # no signal is stored: it would be a flat line
    assert set(ranks.loc[ranks["scope"] == EVERYWHERE, "strategy_id"]) == run
    assert set(ranks["n_trials"]) == {count_trials(listed["content_hash"])}
    coins = set(listed.loc[listed["universe"] == "crypto_liquid", "strategy_id"]) & run
    assert set(ranks.loc[ranks["scope"] == "crypto_liquid", "strategy_id"]) == coins
    traded = ranks[(ranks["scope"] == EVERYWHERE) & (ranks["strategy_id"] == "buy_and_hold")].iloc[0]
    assert np.isfinite(traded["deflated_sharpe"])
    assert np.isfinite(traded["pbo"])
    pages = made.installation.rows(schema.assessment_report)
    assert set(pages["scope"]) == set(ranks["scope"])
    assert all("buy_and_hold" in page or "sixty_forty" in page for page in pages["page_html"])


def test_the_console_shows_the_runs_that_were_ranked(lab: Told) -> None:
    """Of every scope the same ones."""
    made, _ = lab
    told = read_assessment(made.engine, strategies_in(PolicyResource()).values())
    with made.engine.connect() as connection:
        view: Any = SimpleNamespace(
            connection=connection, day=told.as_of, remembered=lambda _name, _key, make, **_more: make()
        )
        shown = shown_assessment(view, Question({}))
    assert shown is not None
    assert shown.kept is not None
    assert set(shown.scopes) == set(told.scopes())
    for scope, results in told.scopes().items():
        assert set(shown.kept.ranked[scope]["run_key"]) == set(results["run_key"])
    assert set(shown.kept.runs["run_key"]) == set(told.results["run_key"])


def test_a_second_assessment_runs_nothing_and_changes_nothing(
    lab: Told,
) -> None:
    made, results = lab
    before = made.prints()
    n_made, _ = runs_told(results[1])
    again = made.assess()
    assert again.success
    assert runs_told(again) == (0, n_made)
    assert metadata_of([again], "scenario_metrics")["scenarios_made"].value == 0
    assert made.prints() == before


def test_only_runs_that_are_missing_or_of_other_bars_are_made(lab: Told) -> None:
    made, _ = lab
    before = made.prints()
    runs = made.installation.rows(schema.backtest_results)
    lost, stale = runs["run_key"].iloc[0], runs.iloc[[1]].assign(paths_hash="other bars")
    for table in (schema.backtest_results, schema.backtest_trades, schema.equity_curves):
        writes.delete_where(made.engine, table, {"run_key": lost})
    writes.upsert(made.engine, schema.backtest_results, stale)
    assert runs_told(made.assess())[0] == 2
    assert made.prints() == before


def test_a_new_set_supersedes_the_old_one_and_keeps_real_windows_known(lab: Told, tmp_path: Path) -> None:
    made, _ = lab
    other = Lab.__new__(Lab)
    other.installation = made.installation.copy_to(tmp_path / "state")
    other.engine, other.instance = other.installation.engine, dg.DagsterInstance.ephemeral()
    before = other.installation.rows(schema.scenarios)
    assert other.generate(seed=4).success
    after = other.installation.rows(schema.scenarios).set_index("scenario_id")
    assert set(before["scenario_id"]) < set(after.index)
    whole = before.loc[before["name"].str.startswith("full_history"), "scenario_id"]
    assert after.loc[whole, "is_current"].all(), "a window between two days is the same one on every later day"
    old = after[~after["is_current"].astype(bool)]
    assert {"stochastic", "random_window"} <= set(old["family"])
    assert not set(other.installation.rows(schema.scenario_paths)["scenario_id"]) & set(old.index)
    seeds = after.loc[after["type"] == "block_bootstrap", "seed"].tolist()
    assert sorted(seeds) == [300_000, 400_000]


def test_bars_that_changed_stop_the_assessment_and_fail_the_check(lab: Told, tmp_path: Path) -> None:
    made, _ = lab
    other = made.installation.copy_to(tmp_path / "state")
    chosen = other.rows(schema.scenarios)
    chosen = chosen[chosen["status"] == "ready"].reset_index(drop=True)
    assert hashes_apart(other.engine, chosen).empty
    bars = other.rows(schema.daily_bars)
    writes.upsert(other.engine, schema.daily_bars, bars.assign(adj_factor=0.5))
    assert len(hashes_apart(other.engine, chosen)) == len(chosen)
    kept = chosen[chosen["has_rows"].astype(bool)].reset_index(drop=True)
    assert rows_apart(other.engine, kept) == kept["name"].tolist()


def test_checks_see_equity_that_does_not_add_up_and_strategies_that_never_trade() -> None:
    curve = pd.DataFrame(
        {"run_key": "a", "step": [0, 1], "date": LAST, "equity": [100.0, 101.0], "cash": 40.0, "positions_value": 60.0}
    )
    assert out_of_balance(curve)["step"].tolist() == [1]
    assert out_of_balance(curve.assign(equity=-10.0, cash=-70.0))["step"].tolist() == [0, 1]
    runs = pd.DataFrame({"strategy_hash": ["x", "y"], "n_trades": [1.0, 0.0]})
    current = pd.DataFrame({"strategy_id": ["one", "two", "three"], "content_hash": ["x", "y", "z"]})
    assert idle_strategies(runs, current) == ["three", "two"]


def test_the_assessment_follows_the_materialisation_of_scenarios(
    lab: Told,
) -> None:
    made, _ = lab
    context = dg.build_sensor_context(
        instance=made.instance, repository_def=made.installation.definitions.get_repository_def()
    )
    (request,) = assess_new_scenarios.evaluate_tick(context).run_requests or ()
    keys = made.instance.get_dynamic_partitions(str(SCENARIOS.name))
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == (keys[0], keys[-1])
    assert assess_new_scenarios.job_name == assess_strategies.name


# --- what a ranking rests on ----------------------------------------------------------------------------------------
def test_a_set_of_which_runs_are_missing_is_not_ranked(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    current = strategies_in(PolicyResource()).values()
    runs = other.installation.rows(schema.backtest_results)
    assert len(read_assessment(other.engine, current).results) == len(runs)
    lost = runs[runs["strategy_id"] == "sma_cross"].iloc[0]
    writes.delete_where(other.engine, schema.backtest_results, {"run_key": lost["run_key"]})
    with pytest.raises(
        SuspiciousDataError, match=rf"1 of {len(runs)} backtests .* missing \(the first: sma_cross over"
    ):
        read_assessment(other.engine, current)
    ranks = other.make(
        assess_strategies.name,
        "rankings",
        {},
        asset_selection=[dg.AssetKey("strategy_rankings"), dg.AssetKey("regime_performance")],
    )
    assert "1 of" in failure(ranks, "rankings")
    assert not verdict(ranks_are_those_of_the_runs, other, policy=PolicyResource()).passed
    with pytest.raises(SuspiciousDataError, match="strategy files changed"):
        read_assessment(other.engine, list(current)[1:])


def test_runs_of_an_older_engine_are_neither_ranked_nor_checked(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    runs = other.installation.rows(schema.backtest_results)
    old = runs.assign(run_key="old " + runs["run_key"], engine_version="0", total_return=9.0, n_trades=7.0)
    writes.upsert(other.engine, schema.backtest_results, pd.concat([runs, old], ignore_index=True))
    told = read_assessment(other.engine, strategies_in(PolicyResource()).values())
    assert sorted(told.results["run_key"]) == sorted(runs["run_key"])
    assert all(rank_strategies(results).table["worst_return"].lt(9.0).all() for results in told.scopes().values())
    assert verdict(trades_are_those_of_their_runs, other).passed


def test_full_histories_alone_are_not_ranked_and_columns_of_evidence_reach_the_table(lab: Told) -> None:
    told = read_assessment(lab[0].engine, strategies_in(PolicyResource()).values())
    whole = told.results[~told.results["is_ranked"].astype(bool)]
    with pytest.raises(SuspiciousDataError, match="only full histories were run"):
        ranked_scopes(replace(told, results=whole))
    evidence = told.evidence.assign(selection_sharpe=0.75)
    results = told.scopes()["crypto_liquid"]
    rows = _rank_rows(rank_strategies(results), replace(told, evidence=evidence), "crypto_liquid", results)
    assert set(rows["selection_sharpe"]) == {0.75}
    page = page_of(rank_strategies(results), replace(told, evidence=evidence), "crypto_liquid")
    assert "0.75" in page
    assert "crypto_liquid, simulated market" in page
    assert "simulated: its prices are invented" in page
    families = results.drop_duplicates("scenario_id")["family"].value_counts()
    assert f"stochastic {families['stochastic']}" in page


def test_a_run_beside_other_rates_is_made_again(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    chosen = ready_of(other, "random_window").head(1)
    config = Backtesting(workers=1, strategies=["buy_and_hold"])
    assert (run_backtests(other.engine, PolicyResource(), chosen, config).n_made) == 0
    rates = pd.DataFrame(
        {
            "series_id": ["DGS10", "T10Y3M"],
            "date": LAST - timedelta(days=400),
            "vintage": LAST - timedelta(days=399),
            "value": [24.0, 0.5],
            "unit": "percent",
            "frequency": "daily",
            "is_vintage_assumed": False,
            "fetched_at": pd.Timestamp(LAST, tz="UTC"),
        }
    )
    writes.upsert(other.engine, schema.macro_series, rates)
    assert run_backtests(other.engine, PolicyResource(), chosen, config).n_made == 1
    assert run_backtests(other.engine, PolicyResource(), chosen, config).n_made == 0
    runs = other.installation.rows(schema.backtest_results)
    (cash,) = runs.loc[
        (runs["scenario_id"] == chosen["scenario_id"].iloc[0]) & (runs["strategy_id"] == "buy_and_hold"), "cash_return"
    ]
    assert cash > 0.005


OWN = """id: strongest
version: 1
universe: crypto_liquid
sizing: {method: equal}
rules:
  - side: long
    enter: {all: [{col: rank_return_20, op: gt, value: 0.5}]}
    exit: {any: [{bars_held: 2}]}
"""
NAMED = """id: named
version: 1
universe: crypto_liquid
type: allocation
rebalance: monthly
weights: {"crypto:ADA": 1.0}
"""


def test_what_only_real_days_know_is_run_over_real_days_alone(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    (tmp_path / "own" / "strategies").mkdir(parents=True)
    (tmp_path / "own" / "strategies" / "strongest.yaml").write_text(OWN, encoding="utf-8")
    (tmp_path / "own" / "strategies" / "named.yaml").write_text(NAMED, encoding="utf-8")
    bars = other.installation.rows(schema.daily_bars)
    ranks = bars.loc[bars["instrument_id"].isin(COINS), ["instrument_id", "date", "instrument_type"]]
    ranks = ranks.assign(feature_set=FEATURE_SET, rank_return_20=1.0)
    features = pd.DataFrame(ranks, columns=schema.daily_features.columns.keys())
    writes.replace_slice(other.engine, schema.daily_features, features, DAYS)
    real, made = ready_of(other, "random_window").head(1), ready_of(other, "block_bootstrap").head(1)
    policy = PolicyResource(config_dir=str(tmp_path / "own"))
    config = Backtesting(workers=1, strategies=["strongest", "named"])
    done = run_backtests(other.engine, policy, pd.concat([real, made], ignore_index=True), config)
    assert done.n_made == 1
    runs = other.installation.rows(schema.backtest_results)
    (own,) = runs[runs["strategy_id"].isin(["strongest", "named"])].to_dict("records")
    assert (own["strategy_id"], own["scenario_id"]) == ("strongest", real["scenario_id"].iloc[0])
    assert own["n_trades"] > 0
    known = strategies_in(policy)
    universes = {"crypto_liquid": [*COINS, "crypto:ADA"]}
    with_coin = {**real.iloc[0].to_dict(), "instruments_json": '["crypto:ADA"]'}
    assert taking_part(with_coin, [known["named"]], universes, None) == [known["named"]]
    assert taking_part({**with_coin, "name": "full_history_us_equities"}, [known["named"]], universes, None) == []


# --- sets -----------------------------------------------------------------------------------------------------------
def test_windows_that_begin_before_the_first_day_are_unavailable_at_random_places_too(
    lab: Told, tmp_path: Path
) -> None:
    other = copied(lab, tmp_path)
    first = LAST - timedelta(days=60)
    result = other.generate(types=["random_window"], count=2, first=first.isoformat())
    assert result.success
    rows = other.installation.rows(schema.scenarios)
    drawn = rows[rows["is_current"].astype(bool) & (rows["type"] == "random_window")]
    assert all(start >= first for start in drawn.loc[drawn["status"] == "ready", "starts_on"])
    early = drawn[drawn["status"] == "unavailable"]
    assert len(early) >= 2, "of 90 days none fits"
    assert all("before" in reason and first.isoformat() in reason for reason in early["reason"])
    told = result.asset_materializations_for_node("scenarios")[0].metadata
    assert told["set"].value == set_id(
        rows.loc[rows["is_current"].astype(bool) & (rows["status"] == "ready"), "scenario_id"]
    )


def test_a_command_goes_on_with_its_own_set_or_not_at_all(lab: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench.__new__(Bench)
    monkeypatch.setattr(Bench, "engine", property(lambda _: lab[0].engine))
    bench._set = set_id(current_set(lab[0].engine)["scenario_id"])
    bench.require_own_set()
    bench._set = set_id(["another"])
    with pytest.raises(SuspiciousDataError, match="another run made a new set"):
        bench.run(Stage("ranking", "assess_strategies", ()))


def test_a_run_of_no_partition_says_what_to_choose(lab: Told) -> None:
    result = lab[0].make(
        assess_strategies.name,
        "scenario_tables",
        {},
        asset_selection=[dg.AssetKey("scenario_paths"), dg.AssetKey("scenario_metrics")],
    )
    assert "no scenario was chosen" in failure(result, "scenario_tables")


def test_who_makes_the_whole_chain_is_not_followed_up(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    tags = {CHAIN: ASSESS}
    assert other.make(generate_scenarios.name, "scenarios", {**SMALL, "types": ["random_window"]}, tags=tags).success
    told = dg.build_sensor_context(
        instance=other.instance, repository_def=other.installation.definitions.get_repository_def()
    )
    tick = assess_new_scenarios.evaluate_tick(told)
    assert not tick.run_requests
    assert "itself" in str(tick.skip_message)


# --- pages and pictures ---------------------------------------------------------------------------------------------
def test_the_chain_ends_with_pages_and_tells_where_they_are(lab: Told) -> None:
    made, results = lab
    told = metadata_of(results, "assessment_report")
    folder = made.installation.settings.reports_path.resolve() / "assessment" / LAST.isoformat()
    assert told["index"] == dg.MetadataValue.path(str(folder / "index.html"))
    assert (folder / "index.html").read_text(encoding="utf-8").startswith("<!")
    listed = set(made.installation.rows(schema.strategies)["strategy_id"])
    sheets = {path.stem for path in (folder / "strategies").iterdir()}
    assert set(told["tear_sheets"].value) == sheets
    assert listed - sheets == {"historical_ai_signal"}, "no signal of its model is stored: left out, never a flat line"
    assert sheets < listed
    assert set(told["pages"].value) == {EVERYWHERE, "crypto_liquid", "us_equities"}


@pytest.mark.parametrize("asset", ["scenarios", "backtest_results", "equity_curves", "strategy_rankings"])
def test_what_has_a_natural_picture_carries_it(asset: str, lab: Told) -> None:
    words = metadata_of(lab[1], asset)["plot"].value
    _, _, data = words.partition("base64,")
    assert base64.b64decode(data.rstrip(")")).startswith(b"\x89PNG")


# --- checks ---------------------------------------------------------------------------------------------------------
def test_checks_see_curves_and_trades_that_are_not_those_of_their_runs(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    assert verdict(curves_are_those_of_their_runs, other).passed
    assert verdict(trades_are_those_of_their_runs, other).passed
    assert verdict(ranks_are_those_of_the_runs, other, policy=PolicyResource()).passed
    curves = other.installation.rows(schema.equity_curves)
    scaled, lost, other_fall = curves["run_key"].unique()[:3]
    own = curves[curves["run_key"] == scaled]
    tripled = own.assign(**{name: own[name] * 3.0 for name in ("equity", "cash", "positions_value")})
    flat = curves[curves["run_key"] == other_fall].assign(drawdown=-0.5)
    writes.upsert(other.engine, schema.equity_curves, pd.concat([tripled, flat], ignore_index=True))
    writes.delete_where(other.engine, schema.equity_curves, {"run_key": lost, "step": 3})
    told = verdict(curves_are_those_of_their_runs, other)
    assert (told.passed, told.metadata["apart"].value) == (False, 3)
    trades = other.installation.rows(schema.backtest_trades)
    writes.delete_where(other.engine, schema.backtest_trades, {"run_key": trades["run_key"].iloc[0], "number": 0})
    assert verdict(trades_are_those_of_their_runs, other).metadata["apart"].value == 1
    ranks = other.installation.rows(schema.strategy_rankings)
    name = {"scope": "crypto_liquid", "strategy_id": "sma_cross"}
    writes.delete_where(other.engine, schema.strategy_rankings, name)
    told = verdict(ranks_are_those_of_the_runs, other, policy=PolicyResource())
    assert [row.data for row in told.metadata["listed"].records] == [{"scope and strategy": "crypto_liquid/sma_cross"}]
    writes.upsert(other.engine, schema.strategy_rankings, ranks.assign(n_scenarios=ranks["n_scenarios"] - 1))
    told = verdict(ranks_are_those_of_the_runs, other, policy=PolicyResource())
    assert str(told.description).startswith(f"{len(ranks)} ranks")


def test_what_was_not_made_yet_is_told_and_what_is_wrong_is_an_error(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    assert verdict(scenario_metrics_are_those_of_the_bars, other).passed
    stored = other.installation.rows(schema.scenario_metrics)
    shortest = ready_of(other, "random_window")["scenario_id"].iloc[0]
    for table in (schema.scenario_paths, schema.scenario_metrics):
        writes.delete_where(other.engine, table, {"scenario_id": shortest})
    told = verdict(stored_paths_are_those_of_the_seed, other)
    assert (told.passed, told.metadata["not_made_yet"].value) == (True, 1)
    told = verdict(scenario_metrics_are_those_of_the_bars, other)
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.WARN)
    writes.upsert(other.engine, schema.scenario_metrics, stored.assign(rsi_14=5.0))
    told = verdict(scenario_metrics_are_those_of_the_bars, other)
    assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_progress_is_told_by_the_clock_and_at_the_end() -> None:
    times, heard = iter([0.0, 0.2, 1.5, 1.6, 1.7]), []
    pace = Pace("backtests", lambda: next(times))
    token = PROGRESS.set(lambda _step, what, _seconds: heard.append(what))
    try:
        for number in range(1, 6):
            pace.tell(number, 5, "scenarios")
    finally:
        PROGRESS.reset(token)
    assert heard == ["1 of 5 scenarios", "3 of 5 scenarios", "5 of 5 scenarios"]


# --- slow -----------------------------------------------------------------------------------------------------------
@pytest.mark.nightly
def test_two_workers_make_what_one_makes(lab: Told, tmp_path: Path) -> None:
    other = copied(lab, tmp_path)
    before = other.prints()
    for table in (schema.backtest_results, schema.backtest_trades, schema.equity_curves):
        writes.delete_where(
            other.engine, table, {"run_key": other.installation.rows(table)["run_key"].unique().tolist()}
        )
    chosen = ready_of(other, "random_window", "block_bootstrap", "historical_window")
    done = run_backtests(other.engine, PolicyResource(), chosen, Backtesting(workers=2))
    assert done.n_made == len(lab[0].installation.rows(schema.backtest_results))
    assert other.prints() == before


@pytest.mark.nightly
def test_workers_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, time, multiprocessing as m\n"
        "from concurrent.futures import ProcessPoolExecutor as P\n"
        "from defiyield_assets.orchestration.lab.runs import _enter\n"
        "p = P(2, m.get_context('spawn'), _enter, (None,))\n"
        "a, b = p.submit(time.sleep, 1.0), p.submit(time.sleep, 1.0)\n"
        "a.result(); b.result(); print(*p._processes, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    until = time.monotonic() + 20.0
    while time.monotonic() < until and any(is_alive(pid) for pid in workers):
        time.sleep(0.05)
    left = [pid for pid in workers if is_alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.nightly
def test_what_happens_later_does_not_change_an_earlier_assessment(lab: Told, tmp_path: Path) -> None:
    as_of = LAST - timedelta(days=30)
    found = []
    for name in ("untouched", "spoilt"):
        other = Lab(tmp_path / name)
        if name == "spoilt":
            spoil_after(other, as_of)
        assert other.generate(types=["random_window", "gbm"], as_of=as_of.isoformat()).success
        assert other.assess().success
        found.append(other.prints())
        other.instance.dispose()
    assert found[0] == found[1]
