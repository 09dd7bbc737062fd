"""Assets of regimes, targets and events over a small warehouse: history, late bars, order, types, keys, checks.

Not here: the rules (domain/market).
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from defiyield_assets.definitions import build_resources
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.market.events import due
from defiyield_assets.domain.outcomes import NOT_CONFIGURED, stands_on
from defiyield_assets.domain.prices.instruments import Instrument, build_instruments
from defiyield_assets.orchestration.assets import market as market_assets
from defiyield_assets.orchestration.assets import regimes as assets
from defiyield_assets.orchestration.assets.regimes import catch_up
from defiyield_assets.orchestration.checks import regimes as checks
from defiyield_assets.orchestration.degradation import parents_of_steps
from defiyield_assets.orchestration.instrument_types import CRYPTO, EXCHANGE_TYPES, config_of_types
from defiyield_assets.orchestration.invalidation import resting_on_events
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import FIRST, SILENT, Installation, day_after

HISTORY = 420
STOCKS = ("AAPL", "AMD", "CVX")
STEPS = ("market_regimes", "feature_targets")
FEATURES = "daily_feature_tables"
TABLES = (schema.market_regimes, schema.feature_targets)
SHARED: list[dg.DagsterInstance] = []
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def bars_of(instrument_id: str, days: Sequence[date], seed: int) -> pd.DataFrame:
    """Bars of a random walk whose volatility changes every two months."""
    random = np.random.default_rng(seed)
    sigma = np.array([0.005, 0.02, 0.06])[(np.arange(len(days)) // 60) % 3]
    closes = 100.0 * np.exp(np.cumsum(random.normal(0.0, sigma)))
    empty = dict.fromkeys(("open", "high", "low", "volume_usd", "volume_units", "market_cap_usd"), np.nan)
    facts = {"instrument_type": instrument_id.partition(":")[0], "adj_factor": 1.0, "split_factor": 1.0}
    words = {"volume_source": None, "source": "csv:test", "quality": "close_only"}
    known = {"instrument_id": instrument_id, "date": list(days), "close": closes}
    return pd.DataFrame({**known, **facts, **empty, **words})[schema.daily_bars.columns.keys()]


def all_bars() -> pd.DataFrame:
    """A coin every day and a fund on working days, until three days after FIRST."""
    days = list(DayRange(day_after(FIRST, -HISTORY), day_after(FIRST, 3)))
    weekdays = [day for day in days if day.weekday() < 5]
    return pd.concat([bars_of("crypto:BTC", days, 1), bars_of("etf:SPY", weekdays, 2)], ignore_index=True)


@pytest.fixture(scope="module", autouse=True)
def instance() -> Iterator[dg.DagsterInstance]:
    """One for all: to make it takes longer than a run."""
    with dg.DagsterInstance.ephemeral() as shared:
        SHARED.append(shared)
        yield shared
    SHARED.clear()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A migrated warehouse with instruments."""
    installation = Installation(tmp_path_factory.mktemp("empty") / "state")
    installation.folder.mkdir()
    installation.warehouse.migrate()
    stocks = [Instrument(name, "equity", "stocks", "XNYS", alpha_vantage_symbol=name) for name in STOCKS]
    others = [
        Instrument("PRIVATE", "equity", "stocks", "XNYS"),
        Instrument("SPY", "etf", "funds", "XNYS"),
        Instrument("BTC", "crypto", "coins", "24x7"),
    ]
    writes.upsert(installation.engine, schema.instruments, build_instruments([], [*stocks, *others]))
    return installation


@pytest.fixture(scope="module")
def made(empty: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The same with all bars, and FIRST materialised: nobody changes it."""
    installation = empty.copy_to(tmp_path_factory.mktemp("made") / "state")
    writes.upsert(installation.engine, schema.daily_bars, all_bars())
    assert run(installation, FIRST).success
    return installation


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than all the rest; `made` has drawn them once."""
    monkeypatch.setattr(assets, "plot_regimes", lambda *_: b"")


def run(
    installation: Installation,
    first: date,
    last: date | None = None,
    *,
    types: Sequence[str] | None = None,
    steps: Sequence[str] = STEPS,
    market: MarketResource | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialise a day, or a range in one run, with the checks."""
    resources = {**build_resources(installation.settings), "warehouse": installation.warehouse}
    config: dict[str, Any] = dict(SILENT)
    if types is not None:
        config |= config_of_types(steps, types)
    if last is None:
        days: dict[str, Any] = {"partition_key": first.isoformat()}
    else:
        days = {"tags": {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}}
    own_checks = [checks.regimes_are_probabilities, checks.targets_are_known_when_they_end]
    wanted = [getattr(market_assets if step == FEATURES else assets, step) for step in steps]
    return dg.materialize(
        [*wanted, *(own_checks if steps == STEPS else ())],
        resources={**resources, **({"market": market} if market is not None else {})},
        run_config=config,
        raise_on_error=False,
        instance=SHARED[0],
        **days,
    )


def fingerprints(installation: Installation) -> list[str]:
    """Content of both tables."""
    return [installation.fingerprint(table) for table in TABLES]


def judged(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Verdicts of the run's checks."""
    return {item.check_name: item.passed for item in result.get_asset_check_evaluations()}


# --- regimes and targets ---------------------------------------------------------------------------------------------
def test_the_first_day_brings_what_its_bars_allow_and_no_day_after_it(made: Installation) -> None:
    regimes, targets = (made.rows(table) for table in TABLES)
    assert regimes.groupby("market")["date"].min().to_dict() == {
        "crypto": date(2025, 1, 1),
        "us_equities": date(2025, 4, 1),
    }
    assert regimes.groupby("market")["date"].max().to_dict() == {"crypto": FIRST, "us_equities": FIRST}
    assert set(targets["known_on"]) == set(DayRange(day_after(FIRST, 1 - HISTORY), FIRST))
    of_day = targets[targets["known_on"] == FIRST].set_index(["instrument_id", "horizon_days"])
    assert len(of_day) == 6
    assert of_day.loc[("etf:SPY", 1), "date"] == FIRST - timedelta(days=1)
    bars = all_bars().set_index(["instrument_id", "date"])["close"]
    start = of_day.loc[("crypto:BTC", 20), "date"]
    expected = np.log(bars["crypto:BTC", FIRST] / bars["crypto:BTC", start])
    assert of_day.loc[("crypto:BTC", 20), "forward_log_return"] == pytest.approx(expected)


def test_days_in_any_order_by_type_or_as_a_range_give_the_same_rows(made: Installation, tmp_path: Path) -> None:
    first, last = day_after(FIRST), day_after(FIRST, 2)
    one, other, third = (made.copy_to(tmp_path / name) for name in ("range", "days", "types"))
    assert run(one, first, last).success
    for day in (last, first):
        assert run(other, day).success
    for types in (EXCHANGE_TYPES, CRYPTO):
        assert run(third, first, last, types=types).success
    assert fingerprints(one) == fingerprints(other) == fingerprints(third)
    assert run(one, FIRST).success
    assert fingerprints(one) == fingerprints(third), "a day again changes nothing"


def test_a_run_of_one_type_leaves_the_rows_of_the_others_alone(made: Installation, tmp_path: Path) -> None:
    installation = made.copy_to(tmp_path / "state")
    bars = installation.rows(schema.daily_bars)
    without = bars[bars["instrument_type"] != "etf"].reset_index(drop=True)
    writes.replace_slice(installation.engine, schema.daily_bars, without, DayRange(date(2000, 1, 1), date(2100, 1, 1)))
    before = fingerprints(installation)
    assert run(installation, FIRST, types=CRYPTO).success
    assert fingerprints(installation) == before
    assert run(installation, FIRST, types=EXCHANGE_TYPES).success
    assert set(installation.rows(schema.market_regimes, FIRST)["market"]) == {"crypto"}


@pytest.mark.nightly
def test_bars_that_come_late_or_are_imported_later_are_caught_up(made: Installation, tmp_path: Path) -> None:
    """A bar of yesterday that comes with today's run, and years before the first bar from a file."""
    plain, late = made.copy_to(tmp_path / "plain"), made.copy_to(tmp_path / "late")
    day, next_day = day_after(FIRST), day_after(FIRST, 2)
    assert run(plain, day, next_day).success
    bars = all_bars()
    is_lost = (bars["instrument_id"] == "crypto:BTC") & (bars["date"] == day)
    writes.replace_slice(
        late.engine, schema.daily_bars, bars[(bars["date"] == day) & ~is_lost].reset_index(drop=True), DayRange.of(day)
    )
    assert run(late, day).success
    writes.upsert(late.engine, schema.daily_bars, bars[is_lost].reset_index(drop=True))
    assert run(late, next_day).success
    assert fingerprints(late) == fingerprints(plain)
    longer = list(DayRange(day_after(FIRST, -HISTORY - 700), day_after(FIRST, -HISTORY - 1)))
    writes.upsert(late.engine, schema.daily_bars, bars_of("crypto:BTC", longer, 3))
    assert run(late, next_day).success
    regimes, targets = (late.rows(table) for table in TABLES)
    own = targets[targets["instrument_id"] == "crypto:BTC"]
    assert own["known_on"].min() == longer[1]
    assert regimes[regimes["market"] == "crypto"]["date"].min() < day_after(FIRST, -HISTORY)


@pytest.mark.nightly
def test_a_bar_that_was_missing_in_between_moves_the_targets_over_it(made: Installation, tmp_path: Path) -> None:
    """Its horizons end earlier than was thought: the rows move to another day, they do not stand twice."""
    installation = made.copy_to(tmp_path / "state")
    bars, days = all_bars(), DayRange(day_after(FIRST), day_after(FIRST, 3))
    middle = (bars["date"] == day_after(FIRST, 2)) & (bars["instrument_id"] == "crypto:BTC")
    lost = bars[(bars["date"] == day_after(FIRST, 2)) & ~middle].reset_index(drop=True)
    writes.replace_slice(installation.engine, schema.daily_bars, lost, DayRange.of(day_after(FIRST, 2)))
    assert run(installation, days.start, days.end).success
    writes.upsert(installation.engine, schema.daily_bars, bars[middle].reset_index(drop=True))
    for day in days:
        assert run(installation, day).success
    plain = made.copy_to(tmp_path / "plain")
    assert run(plain, days.start, days.end).success
    assert fingerprints(installation) == fingerprints(plain)


def test_a_day_without_bars_is_a_success_of_no_rows(empty: Installation, tmp_path: Path) -> None:
    installation = empty.copy_to(tmp_path / "state")
    result = run(installation, FIRST)
    assert result.success
    assert all(judged(result).values())
    assert [len(installation.rows(table)) for table in TABLES] == [0, 0]


def test_the_checks_fail_where_something_is_broken(
    made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = made.copy_to(tmp_path / "state")
    true_regimes, true_targets = assets.regimes_of, assets.forward_returns

    def early(bars: pd.DataFrame, days: DayRange) -> pd.DataFrame:
        rows = true_targets(bars, days)
        return rows.assign(date=[day + timedelta(days=99) for day in rows["date"]])

    monkeypatch.setattr(assets, "regimes_of", lambda *given: true_regimes(*given).assign(p_calm=0.9))
    monkeypatch.setattr(assets, "forward_returns", early)
    broken = judged(run(installation, FIRST))
    assert broken == {"regimes_are_probabilities": False, "targets_are_known_when_they_end": False}


def test_no_feature_rests_on_targets() -> None:
    parents = parents_of_steps()
    for step in parents:
        if "feature" in step and step != "feature_targets":
            assert "feature_targets" not in stands_on(parents, step)
    assert "feature_targets" not in {name for read in parents.values() for name in read}


def test_what_is_caught_up_begins_after_the_newest_row_or_with_the_first_bar() -> None:
    days = DayRange(date(2025, 6, 10), date(2025, 6, 11))

    def span(first: int, last: int) -> DayRange:
        return DayRange(date(2025, 1, 1) + timedelta(days=first), date(2025, 1, 1) + timedelta(days=last))

    bars = {"new": span(0, 161), "usual": span(0, 161), "late": span(0, 161), "older": span(0, 161), "gone": span(0, 9)}
    rows = {"usual": span(20, 159), "late": span(20, 150), "older": span(61, 159), "gone": span(1, 9)}
    assert catch_up(bars, rows, days, late_by=60) == {
        "new": date(2025, 1, 1),
        "usual": days.start,
        "late": date(2025, 6, 1),
        "older": date(2025, 1, 1),
    }


# --- events ----------------------------------------------------------------------------------------------------------
def test_companies_report_and_are_asked_once_a_week(empty: Installation, tmp_path: Path) -> None:
    installation = empty.copy_to(tmp_path / "state")
    assert run(installation, FIRST, steps=["market_events"]).success
    events = installation.rows(schema.market_events)
    assert set(events["instrument_id"]) == {f"equity:{name}" for name in STOCKS}
    assert (events["known_on"] <= FIRST).all()
    assert events["surprise"].notna().any()
    fetches = installation.rows(schema.raw_fetches)
    assert len(fetches) == len(STOCKS)
    before = installation.fingerprint(schema.market_events)
    assert run(installation, FIRST, steps=["market_events"]).success
    assert installation.fingerprint(schema.market_events) == before
    assert len(installation.rows(schema.raw_fetches).query("status == 200")) == len(STOCKS), "answered by the archive"
    asked: list[str] = []
    for day in DayRange(day_after(FIRST), day_after(FIRST, 7)):
        asked += due(events["instrument_id"], events["instrument_id"], DayRange.of(day))
    assert sorted(asked) == sorted(set(events["instrument_id"])), "once a week"
    assert run(installation, day_after(FIRST), day_after(FIRST, 7), steps=["market_events"]).success
    assert len(installation.rows(schema.raw_fetches)) == 2 * len(STOCKS)


def test_without_the_vendor_events_come_from_files_only(empty: Installation, tmp_path: Path) -> None:
    class Keyless(MarketResource):
        def has_key(self, vendor: str) -> bool:
            return vendor != "alpha_vantage"

    installation = empty.copy_to(tmp_path / "state")
    plain = build_resources(installation.settings)["market"]
    market = Keyless(market=plain.market, chain_path=plain.chain_path, seed=plain.seed)
    result = run(installation, FIRST, steps=["market_events"], market=market)
    assert result.success
    assert installation.rows(schema.market_events).empty
    outcome = installation.rows(schema.asset_outcomes, FIRST).set_index("asset").loc["market_events"]
    assert (outcome["status"], outcome["error_class"]) == ("degraded", NOT_CONFIGURED)
    assert "DEFIYIELD_ALPHA_VANTAGE_API_KEY" in outcome["reason"]


def test_an_event_that_is_told_late_reaches_the_features_of_the_days_that_should_have_known_it(
    made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fund's features go on from their state, but not where an event came late; regimes stand beside all."""
    monkeypatch.setattr(market_assets, "plot_features", lambda *_: b"")
    installation, day = made.copy_to(tmp_path / "state"), day_after(FIRST)
    assert run(installation, FIRST, steps=[FEATURES]).success
    before = installation.rows(schema.daily_features, FIRST).set_index("instrument_id")
    regimes = installation.rows(schema.market_regimes, FIRST).set_index("instrument_id")
    assert before["regime_p_calm"].to_dict() == regimes["p_calm"].to_dict()
    assert before["days_since_event"].isna().all()
    happened = day_after(FIRST, -1)
    event = {
        **dict.fromkeys(schema.market_events.columns.keys()),
        **{"source": "csv:events", "event_id": "1", "instrument_id": "etf:SPY", "kind": "economic"},
        **{"date": happened, "known_on": happened, "expected": 1.0, "actual": 3.0, "surprise": 2.0},
        **{"is_known_assumed": False, "fetched_at": market_stamp(day), "surprise_fraction": 2.0},
    }
    late = pd.DataFrame([event])
    beside = resting_on_events(installation.engine, late)
    writes.insert_missing(installation.engine, schema.market_events, late, beside=beside)
    assert run(installation, day, steps=[FEATURES]).success
    after = installation.rows(schema.daily_features)
    told = after[after["days_since_event"].notna()]
    assert dict(zip(told["date"], told["days_since_event"], strict=True)) == {happened: 0.0, FIRST: 1.0, day: 2.0}
    assert set(told["instrument_id"]) == {"etf:SPY"}
    assert set(told["event_surprise"]) == {2.0}
