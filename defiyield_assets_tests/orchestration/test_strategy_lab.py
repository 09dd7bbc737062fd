"""The strategy lab through Dagster over a small warehouse: scenarios, paths, backtests, rankings, report, checks.

Not here: the rules (domain/market/scenarios, domain/strategies), the command line.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.domain.strategies.evidence import count_trials
from defiyield_assets.orchestration.assets.strategies import EVERYWHERE
from defiyield_assets.orchestration.checks.scenarios import hashes_apart, rows_apart
from defiyield_assets.orchestration.checks.strategies import idle_strategies, out_of_balance
from defiyield_assets.orchestration.jobs import assess_strategies, generate_scenarios
from defiyield_assets.orchestration.lab.sensor import RANGE_END, RANGE_START, assess_new_scenarios, assessment_tags
from defiyield_assets.orchestration.partitions import SCENARIOS
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import SILENT, Installation

LAST = date(2025, 6, 3)
N_DAYS = 460
COINS, STOCKS = ("crypto:BTC", "crypto:ETH", "crypto:SOL"), ("etf:SPY", "equity:AAPL", "equity:MSFT")
SMALL = {"types": ["block_bootstrap", "random_window", "stablecoin_depeg"], "count": 1, "seed": 3}
LAB = (
    *(schema.scenarios, schema.scenario_paths, schema.scenario_metrics, schema.strategies, schema.backtest_results),
    *(schema.backtest_trades, schema.equity_curves, schema.strategy_rankings, schema.regime_performance),
    schema.assessment_report,
)
DAYS = DayRange(date(2000, 1, 1), date(2100, 1, 1))


def bars_of(name: str, days: list[date], seed: int) -> pd.DataFrame:
    """Bars of a random walk, with open, high and low for coins and closes alone for shares."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0005, 0.03, len(days))))
    opened = close * np.exp(random.normal(0.0, 0.01, len(days)))
    has_shape = name.startswith("crypto")
    reach = 1.0 + np.abs(random.normal(0.0, 0.01, len(days)))
    unknown = np.full(len(days), np.nan)
    shape = {
        "open": opened if has_shape else unknown,
        "high": np.maximum(opened, close) * reach if has_shape else unknown,
        "low": np.minimum(opened, close) / reach if has_shape else unknown,
    }
    facts = {"instrument_type": name.partition(":")[0], "adj_factor": 1.0, "split_factor": 1.0}
    others = {"volume_usd": 1e9, "volume_units": np.nan, "volume_source": "csv:test", "market_cap_usd": np.nan}
    words = {"source": "csv:test", "quality": "full" if has_shape else "close_only"}
    known = {"instrument_id": name, "date": days, "close": close}
    return pd.DataFrame({**known, **shape, **facts, **others, **words})[schema.daily_bars.columns.keys()]


def fill(engine: sa.Engine) -> None:
    """Instruments and bars: coins every day, shares on working days."""
    days = [LAST - timedelta(days=back) for back in range(N_DAYS - 1, -1, -1)]
    weekdays = [day for day in days if day.weekday() < 5]
    bars = [bars_of(name, days, number) for number, name in enumerate(COINS)]
    bars += [bars_of(name, weekdays, 10 + number) for number, name in enumerate(STOCKS)]
    writes.upsert(engine, schema.instruments, build_instruments((), PolicyResource().universe().instruments))
    writes.replace_slice(engine, schema.daily_bars, pd.concat(bars, ignore_index=True), DAYS)


class Lab:
    """A small installation with an instance of Dagster that remembers its partitions."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.installation.warehouse.migrate()
        self.engine = self.installation.engine
        self.instance = dg.DagsterInstance.ephemeral()
        fill(self.engine)

    def make(self, job: str, step: str, config: dict[str, Any], **more: Any) -> dg.ExecuteInProcessResult:
        """Run a job of the lab."""
        return self.installation.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            run_config={**SILENT, "ops": {step: {"config": config}}},
            raise_on_error=False,
            **more,
        )

    def generate(self, **config: Any) -> dg.ExecuteInProcessResult:
        """A set of scenarios."""
        return self.make(generate_scenarios.name, "scenarios", {**SMALL, **config})

    def assess(self, **config: Any) -> dg.ExecuteInProcessResult:
        """Everything that follows a set."""
        told = {"workers": 1, **config}
        return self.make(assess_strategies.name, "backtests", told, tags=assessment_tags(self.instance))

    def prints(self) -> dict[str, str]:
        """Content of the lab's tables."""
        return {table.name: self.installation.fingerprint(table) for table in LAB}


def runs_told(result: dg.ExecuteInProcessResult) -> tuple[int, int]:
    """Runs that were made, and runs that were there."""
    events = result.get_asset_materialization_events()
    told = next(one.materialization.metadata for one in events if "backtest_results" in str(one.asset_key))
    return int(told["runs_made"].value), int(told["runs_there"].value)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[dg.ExecuteInProcessResult]]]:
    """A lab whose chain ran once."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    results = [made.generate(), made.assess()]
    yield made, results
    made.instance.dispose()


def test_the_chain_makes_every_table_and_its_checks_hold(lab: tuple[Lab, list[dg.ExecuteInProcessResult]]) -> None:
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


def test_ranks_are_by_scope_and_carry_the_evidence(lab: tuple[Lab, list[dg.ExecuteInProcessResult]]) -> None:
    made, _ = lab
    ranks = made.installation.rows(schema.strategy_rankings)
    listed = made.installation.rows(schema.strategies)
    assert set(ranks["scope"]) == {EVERYWHERE, "crypto_liquid", "us_equities"}
    assert set(ranks.loc[ranks["scope"] == EVERYWHERE, "strategy_id"]) == set(listed["strategy_id"])
    assert set(ranks["n_trials"]) == {count_trials(listed["content_hash"])}
    coins = set(listed.loc[listed["universe"] == "crypto_liquid", "strategy_id"])
    assert set(ranks.loc[ranks["scope"] == "crypto_liquid", "strategy_id"]) == coins
    traded = ranks[(ranks["scope"] == EVERYWHERE) & (ranks["strategy_id"] == "buy_and_hold")].iloc[0]
    assert np.isfinite(traded["deflated_sharpe"])
    assert np.isfinite(traded["pbo"])
    pages = made.installation.rows(schema.assessment_report)
    assert set(pages["scope"]) == set(ranks["scope"])
    assert all("buy_and_hold" in page or "sixty_forty" in page for page in pages["page_html"])


def test_a_second_assessment_runs_nothing_and_changes_nothing(
    lab: tuple[Lab, list[dg.ExecuteInProcessResult]],
) -> None:
    made, results = lab
    before = made.prints()
    n_made, _ = runs_told(results[1])
    again = made.assess()
    assert again.success
    assert runs_told(again) == (0, n_made)
    assert made.prints() == before


def test_only_runs_that_are_missing_or_of_other_bars_are_made(lab: tuple[Lab, list[dg.ExecuteInProcessResult]]) -> None:
    made, _ = lab
    before = made.prints()
    runs = made.installation.rows(schema.backtest_results)
    lost, stale = runs["run_key"].iloc[0], runs.iloc[[1]].assign(paths_hash="other bars")
    for table in (schema.backtest_results, schema.backtest_trades, schema.equity_curves):
        writes.delete_where(made.engine, table, {"run_key": lost})
    writes.upsert(made.engine, schema.backtest_results, stale)
    assert runs_told(made.assess())[0] == 2
    assert made.prints() == before


def test_a_new_set_supersedes_the_old_one_and_keeps_real_windows_known(
    lab: tuple[Lab, list[dg.ExecuteInProcessResult]], tmp_path: Path
) -> None:
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


def test_bars_that_changed_stop_the_assessment_and_fail_the_check(
    lab: tuple[Lab, list[dg.ExecuteInProcessResult]], tmp_path: Path
) -> None:
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
    lab: tuple[Lab, list[dg.ExecuteInProcessResult]],
) -> None:
    made, _ = lab
    context = dg.build_sensor_context(
        instance=made.instance, repository_def=made.installation.definitions.get_repository_def()
    )
    (request,) = assess_new_scenarios.evaluate_tick(context).run_requests or ()
    keys = made.instance.get_dynamic_partitions(str(SCENARIOS.name))
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == (keys[0], keys[-1])
    assert assess_new_scenarios.job_name == assess_strategies.name
