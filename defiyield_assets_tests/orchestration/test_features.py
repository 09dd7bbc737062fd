"""Features over a small warehouse: days and ranges give the same bits, restated history starts again, ranks follow.

Not here: metrics and the calculator (domain/market/features).
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.adjustments import adjustment_factors
from defiyield_assets.domain.prices.instruments import INSTRUMENT_TYPES, Instrument, build_instruments
from defiyield_assets.orchestration.assets.market import daily_feature_tables, make_features
from defiyield_assets.orchestration.checks.market import (
    COMPARED,
    apart_from_batch,
    chosen_of,
    features_equal_batch,
    features_within_bounds,
    out_of_bounds,
    without_features,
)
from defiyield_assets.orchestration.feature_inputs import FIRST_EVER
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import make_engine
from defiyield_assets_tests.installations import SILENT

TYPES = list(INSTRUMENT_TYPES)
DAYS = DayRange(date(2025, 1, 1), date(2025, 4, 10))
NEW = DayRange(date(2025, 4, 6), date(2025, 4, 10))
STOCKS = ("AAPL", "AMD", "CVX")


def bars_of(instrument_id: str, seed: int) -> pd.DataFrame:
    """Whole bars: a coin has every day, others working days."""
    random, is_coin = np.random.default_rng(seed), instrument_id.startswith("crypto")
    days = [day for day in DAYS if is_coin or day.weekday() < 5]
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.03, len(days))))
    opened = close * np.exp(random.normal(0.0, 0.01, len(days)))
    high = np.maximum(opened, close) * 1.01
    low = np.minimum(opened, close) * 0.99
    volume = np.floor(random.lognormal(10.0, 1.0, len(days)))
    prices = {"open": opened, "high": high, "low": low, "close": close}
    volumes = (
        {"volume_units": np.nan, "volume_usd": volume} if is_coin else {"volume_units": volume, "volume_usd": np.nan}
    )
    facts = {"instrument_type": instrument_id.partition(":")[0], "adj_factor": 1.0, "split_factor": 1.0}
    words = {"volume_source": "test", "source": "test", "quality": "full", "market_cap_usd": np.nan}
    frame = pd.DataFrame({"instrument_id": instrument_id, "date": days, **prices, **volumes, **facts, **words})
    return frame[schema.daily_bars.columns.keys()]


def instruments() -> pd.DataFrame:
    """Three coins, three shares and a fund, measured against BTC and SPY."""
    stocks = [Instrument(name, "equity", "stocks", "XNYS", benchmark="etf:SPY") for name in STOCKS]
    coins = [Instrument(name, "crypto", "coins", "24x7", benchmark="crypto:BTC") for name in ("BTC", "ETH", "SOL")]
    return build_instruments([], [*stocks, *coins, Instrument("SPY", "etf", "funds", "XNYS")])


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    """A warehouse with all bars and no features."""
    return warehouse(tmp_path / "warehouse.db")


def warehouse(path: Path, bars: pd.DataFrame | None = None) -> sa.Engine:
    """A fresh warehouse with these bars."""
    made = make_engine(f"sqlite:///{path}")
    schema.metadata.create_all(made)
    listed = instruments()
    writes.upsert(made, schema.instruments, listed)
    if bars is None:
        bars = pd.concat([bars_of(name, seed) for seed, name in enumerate(listed["instrument_id"])], ignore_index=True)
    writes.upsert(made, schema.daily_bars, bars)
    return made


def stored(engine: sa.Engine) -> pd.DataFrame:
    """All features."""
    return reads.read_all(engine, schema.daily_features)


def state(engine: sa.Engine, day: date) -> pd.DataFrame:
    """State of one day."""
    return reads.read_days(engine, schema.feature_state, DayRange.of(day))


def assert_same(one: sa.Engine, other: sa.Engine) -> None:
    """Equal bits in every column of every row."""
    pd.testing.assert_frame_equal(stored(one), stored(other), check_exact=True)


def run_days(engine: sa.Engine, days: DayRange, types: Sequence[str] = TYPES) -> list[str]:
    """Each day in a run of its own; returns who started again."""
    return [name for day in days for name in make_features(engine, DayRange.of(day), list(types)).restarted]


def restate(engine: sa.Engine, name: str, ex_date: date, dividend: float) -> None:
    """Store a dividend and the factors that follow from it, as daily_bars does."""
    action = {"instrument_id": name, "ex_date": ex_date, "kind": "dividend", "value": dividend, "source": "test"}
    stamp = pd.Timestamp("2025-04-11", tz="UTC")
    writes.upsert(engine, schema.corporate_actions, pd.DataFrame([{**action, "fetched_at": stamp}]))
    bars = reads.read_all(engine, schema.daily_bars, {"instrument_id": name})
    newest = reads.newest_day(engine, schema.daily_bars, where={"instrument_id": name})
    actions = reads.read_all(engine, schema.corporate_actions, {"instrument_id": name})
    factors = adjustment_factors(bars.assign(is_adjusted=False), actions[actions["ex_date"] <= newest])
    writes.upsert(engine, schema.daily_bars, bars.assign(**{name: factors[name] for name in factors}))


def test_days_a_range_and_types_apart_give_the_same_bits(engine: sa.Engine, tmp_path: Path) -> None:
    history = DayRange(DAYS.start, date(2025, 4, 5))
    assert make_features(engine, history, TYPES).restarted == []
    assert run_days(engine, NEW) == [], "everybody goes on from its state"
    at_once = warehouse(tmp_path / "once.db")
    made = make_features(at_once, DAYS, TYPES)
    assert made.features.rows == len(stored(at_once)) == len(reads.read_all(at_once, schema.daily_bars))
    assert_same(engine, at_once)
    apart = warehouse(tmp_path / "apart.db")
    for types in (["crypto"], ["equity", "etf", "index", "fx"]):
        make_features(apart, DAYS, types)
    assert_same(apart, at_once)
    before = stored(engine)
    assert run_days(engine, NEW) == [], "a day again changes nothing"
    pd.testing.assert_frame_equal(stored(engine), before, check_exact=True)
    assert set(state(engine, NEW.end)["instrument_id"]) == set(instruments()["instrument_id"])
    weekend = make_features(engine, DayRange.of(date(2025, 4, 5)), ["equity", "etf"])
    assert (weekend.features.rows, weekend.n_instruments) == (0, 0)


def test_a_first_run_calculates_all_bars_that_are_there(engine: sa.Engine, tmp_path: Path) -> None:
    made = make_features(engine, DayRange.of(DAYS.end), TYPES)
    assert sorted(made.restarted) == sorted(instruments()["instrument_id"])
    assert made.features.rows == 7
    at_once = warehouse(tmp_path / "once.db")
    make_features(at_once, DAYS, TYPES)
    assert_same(engine, at_once)


def test_a_restated_factor_starts_the_instrument_again_and_nobody_else(engine: sa.Engine, tmp_path: Path) -> None:
    make_features(engine, DayRange(DAYS.start, date(2025, 4, 7)), TYPES)
    restate(engine, "equity:AMD", date(2025, 4, 8), 2.5)
    assert run_days(engine, DayRange(date(2025, 4, 8), NEW.end)) == ["equity:AMD"]
    at_once = warehouse(tmp_path / "once.db", reads.read_all(engine, schema.daily_bars))
    make_features(at_once, DAYS, TYPES)
    # Ranks of days before are kept where only last bits of what is ranked moved: here they are the same bits anyway.
    assert_same(engine, at_once)


def test_an_action_that_came_late_ranks_the_days_again_for_everybody(engine: sa.Engine, tmp_path: Path) -> None:
    make_features(engine, DayRange(DAYS.start, date(2025, 4, 8)), TYPES)
    before = stored(engine).set_index(["instrument_id", "date"])["rank_return_20"]
    restate(engine, "equity:AMD", date(2025, 3, 12), 60.0)
    restate(engine, "equity:CVX", date(2025, 4, 9), 1.5)  # starts again too, and keeps what ranks it
    assert run_days(engine, DayRange(date(2025, 4, 9), NEW.end)) == ["equity:AMD", "equity:CVX"]
    at_once = warehouse(tmp_path / "once.db", reads.read_all(engine, schema.daily_bars))
    make_features(at_once, DAYS, TYPES)
    assert_same(engine, at_once)
    after = stored(engine).set_index(["instrument_id", "date"])["rank_return_20"].loc[before.index]
    moved = before.index[(before != after) & before.notna()]
    assert {"equity:AAPL", "equity:AMD"} <= set(moved.get_level_values(0))
    assert min(moved.get_level_values(1)) == date(2025, 3, 12)


def test_a_dividend_of_the_benchmark_changes_no_bit_of_others(engine: sa.Engine) -> None:
    make_features(engine, DayRange(DAYS.start, date(2025, 4, 7)), TYPES)
    before = stored(engine)
    restate(engine, "etf:SPY", date(2025, 4, 8), 1.7)
    assert run_days(engine, DayRange(date(2025, 4, 8), NEW.end)) == ["etf:SPY"]
    after = stored(engine)
    is_old = (after["date"] <= date(2025, 4, 7)) & (after["instrument_id"] != "etf:SPY")
    old = before[before["instrument_id"] != "etf:SPY"].reset_index(drop=True)
    pd.testing.assert_frame_equal(after[is_old].reset_index(drop=True), old, check_exact=True)
    own = after[after["instrument_id"] == "equity:CVX"]
    assert own["beta_60"].notna().sum() == len(own) - 60
    assert equal_batch(engine, ["equity:CVX"]).empty


@pytest.mark.parametrize("change", ["older bars", "a corrected bar", "no state"])
def test_another_history_starts_the_instrument_again(engine: sa.Engine, change: str) -> None:
    make_features(engine, DayRange(DAYS.start, date(2025, 4, 8)), TYPES)
    bars = reads.read_all(engine, schema.daily_bars, {"instrument_id": "crypto:ETH"})
    if change == "older bars":
        older = bars.iloc[:5].assign(date=[date(2024, 12, day) for day in range(20, 25)])
        writes.upsert(engine, schema.daily_bars, older)
    elif change == "a corrected bar":
        last = bars[bars["date"] == date(2025, 4, 8)]
        writes.upsert(engine, schema.daily_bars, last.assign(close=last["close"] * 1.001).reset_index(drop=True))
    else:
        writes.delete_where(engine, schema.feature_state, {"instrument_id": "crypto:ETH"})
    assert run_days(engine, DayRange.of(date(2025, 4, 9))) == ["crypto:ETH"]
    assert equal_batch(engine, ["crypto:ETH"]).empty


def test_an_instrument_with_holes_goes_on_with_all_the_bars_that_windows_reach(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("defiyield_assets.orchestration.feature_inputs.ALWAYS_OPEN_DAYS", 40)
    make_features(engine, DayRange(DAYS.start, date(2025, 4, 8)), TYPES)
    assert run_days(engine, DayRange(date(2025, 4, 9), NEW.end)) == []
    assert equal_batch(engine, ["crypto:ETH"]).empty


def equal_batch(engine: sa.Engine, names: list[str]) -> pd.DataFrame:
    """What the check of features says of some instruments."""
    days = DayRange(FIRST_EVER, DAYS.end)
    own = reads.read_days(engine, schema.daily_features, days, {"instrument_id": names})
    return apart_from_batch(engine, own, DAYS.end)


def test_checks_name_the_row_that_is_wrong(engine: sa.Engine) -> None:
    make_features(engine, DAYS, TYPES)
    rows = stored(engine)
    names = sorted(set(rows["instrument_id"]))
    assert equal_batch(engine, names).empty
    assert out_of_bounds(rows).empty
    assert without_features(engine, DAYS, rows).empty
    wrong = rows[(rows["instrument_id"] == "crypto:SOL") & (rows["date"] == DAYS.end)].reset_index(drop=True)
    nudged = wrong.assign(ema_26=np.nextafter(wrong["ema_26"], np.inf))
    writes.upsert(engine, schema.daily_features, nudged)
    told = equal_batch(engine, names)
    assert told[["instrument_id", "date", "metric"]].to_numpy().tolist() == [["crypto:SOL", DAYS.end, "ema_26"]]
    assert out_of_bounds(wrong.assign(rsi_14=100.5))["metric"].tolist() == ["rsi_14"]
    lost = without_features(engine, DAYS, rows[rows["date"] != DAYS.end])
    assert len(lost) == 7
    assert set(lost["date"]) == {DAYS.end}


def test_the_check_looks_at_other_instruments_every_day() -> None:
    names = [f"crypto:{number:03d}" for number in range(40)]
    chosen = [chosen_of(names, date(2025, 1, day)) for day in range(1, 9)]
    assert all(len(set(some)) == COMPARED for some in chosen)
    assert set().union(*chosen) == set(names)
    assert chosen_of(names[:3], date(2025, 1, 1)) == names[:3]


@pytest.mark.usefixtures("pictures")
def test_the_asset_tells_what_it_made_and_its_checks_judge_it(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WarehouseResource, "engine", property(lambda _self: engine))

    def run(day: date, types: list[str]) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [daily_feature_tables, features_equal_batch, features_within_bounds],
            resources={"warehouse": WarehouseResource(market="simulated")},
            partition_key=day.isoformat(),
            run_config={"ops": {"daily_features": {"config": {"instrument_types": types}}}, **SILENT},
            instance=instance,
        )

    with dg.DagsterInstance.ephemeral() as instance:
        run(date(2025, 4, 8), TYPES)
        result = run(date(2025, 4, 9), ["crypto"])
        told = result.asset_materializations_for_node("daily_features")
        facts = {one.asset_key.to_user_string(): one.metadata for one in told}
        assert facts["daily_features"]["dagster/row_count"].value == 3
        assert facts["daily_features"]["started_again"].value == 0
        assert facts["daily_features"]["null_share"].value["sma_200"] == 1.0
        assert facts["daily_features"]["null_share"].value["rsi_14"] == 0.0
        assert str(facts["daily_features"]["plot"].value).startswith("![Features](data:image/png;base64,")
        assert facts["feature_state"]["dagster/row_count"].value == 3
        assert set(
            reads.read_days(engine, schema.daily_features, DayRange.of(date(2025, 4, 9)))["instrument_type"]
        ) == {"crypto"}
        judged = {item.check_name: item for item in result.get_asset_check_evaluations()}
        assert {name: item.passed for name, item in judged.items()} == {
            "features_equal_batch": True,
            "features_within_bounds": True,
        }
