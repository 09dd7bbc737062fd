"""A small strategy lab for tests: instruments, bars of random walks, the chain of jobs over them.

Lives here: making, copying and spoiling such a lab, and reading what its runs told. Not here: what is asserted
(test_strategy_lab.py, test_paper.py, signals/, faults/test_lab_crashes.py).
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.orchestration.failures import innermost_error
from defiyield_assets.orchestration.feature_inputs import FEATURE_SET
from defiyield_assets.orchestration.jobs import assess_strategies, generate_scenarios
from defiyield_assets.orchestration.lab.sensor import assessment_tags
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import reads, schema, writes
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


Told = tuple[Lab, list[dg.ExecuteInProcessResult]]
"""A lab and what the runs of its chain told."""


def copied(lab: Told, folder: Path) -> Lab:
    """The same lab somewhere else, to be spoilt."""
    other = Lab.__new__(Lab)
    other.installation = lab[0].installation.copy_to(folder / "state")
    other.engine, other.instance = other.installation.engine, dg.DagsterInstance.ephemeral()
    return other


def ready_of(made: Lab, *types: str) -> pd.DataFrame:
    """Scenarios that can be run, of some types; the shortest first."""
    rows = made.installation.rows(schema.scenarios)
    chosen = rows[(rows["status"] == "ready") & rows["type"].isin(types)]
    return chosen.sort_values(["is_ranked", "n_steps"], ascending=[False, True], ignore_index=True)


def failure(result: dg.ExecuteInProcessResult, step: str) -> str:
    """Why a step of the run failed."""
    (event,) = [one for one in result.all_events if one.is_step_failure and one.step_key == step]
    return innermost_error(event)


def verdict(check: Any, made: Lab, **more: Any) -> dg.AssetCheckResult:
    """What a check says of the lab."""
    return check(warehouse=made.installation.warehouse, **more)


def metadata_of(results: list[dg.ExecuteInProcessResult], asset: str) -> Any:
    """What the run told of an asset."""
    events = [event for result in results for event in result.get_asset_materialization_events()]
    return next(one.materialization.metadata for one in events if one.asset_key == dg.AssetKey(asset))


def spoil_after(made: Lab, day: date) -> None:
    """Other prices, regimes, rates, splits and features from the next day on."""
    later = DayRange(day + timedelta(days=1), date(2100, 1, 1))
    bars = reads.read_days(made.engine, schema.daily_bars, later)
    prices = ["open", "high", "low", "close"]
    spoilt = bars.assign(**{name: bars[name] * 3.0 for name in prices}, adj_factor=0.5, volume_usd=7.0)
    writes.replace_slice(made.engine, schema.daily_bars, spoilt, later)
    days = sorted(set(bars["date"]))
    fetched = pd.Timestamp(LAST, tz="UTC")
    words = {"instrument_id": "crypto:BTC", "fitted_through": days[0], "n_returns": 300, "model_json": "{}"}
    chances = {"p_calm": 0.0, "p_normal": 0.0, "p_turbulent": 1.0}
    regimes = pd.DataFrame({"market": "crypto", "date": days, "state": "turbulent", **words, **chances})
    regimes = pd.DataFrame(regimes, columns=schema.market_regimes.columns.keys())
    writes.upsert(made.engine, schema.market_regimes, regimes)
    told = {"unit": "percent", "frequency": "daily", "is_vintage_assumed": False, "fetched_at": fetched}
    for name, value in (("DGS10", 40.0), ("T10Y3M", 1.0)):
        rates = pd.DataFrame({"series_id": name, "date": days, "vintage": days, "value": value, **told})
        writes.upsert(made.engine, schema.macro_series, rates)
    split = {"instrument_id": "equity:AAPL", "ex_date": days[:1], "kind": "split", "value": 4.0, "source": "csv:test"}
    actions = pd.DataFrame({**split, "fetched_at": fetched})
    writes.upsert(
        made.engine, schema.corporate_actions, pd.DataFrame(actions, columns=schema.corporate_actions.columns.keys())
    )
    features = bars[["instrument_id", "date", "instrument_type"]].assign(feature_set=FEATURE_SET, rsi_14=1.0)
    writes.upsert(
        made.engine, schema.daily_features, pd.DataFrame(features, columns=schema.daily_features.columns.keys())
    )
