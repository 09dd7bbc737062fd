"""What comes late reaches what was made before: after every late change the next days equal a batch over all there is.

Not here: features that go on from their state (test_features.py), regimes and targets themselves (test_regimes.py).
"""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.registry import METRICS
from defiyield_assets.orchestration import bars as bars_module
from defiyield_assets.orchestration.assets.market import make_features
from defiyield_assets.orchestration.bars import write_bars
from defiyield_assets.orchestration.checks.market import apart_from_batch, earlier_day, without_features
from defiyield_assets.orchestration.csv_event_imports import import_events
from defiyield_assets.orchestration.invalidation import RESTING, resting_on_macro, resting_on_regimes
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import make_engine
from defiyield_assets_tests.orchestration.test_features import DAYS, TYPES, run_days, stored, warehouse

MADE = DayRange(DAYS.start, date(2025, 4, 8))
NEXT = DayRange(date(2025, 4, 9), DAYS.end)
EVENING = datetime(2025, 4, 9, 12, tzinfo=UTC)
"""Between the run of 04-08, made in the night to the 9th, and the next one."""
MOVED = ("crypto:ETH", date(2025, 4, 5))


class Told:
    """What sources tell of bars, and the writer that makes `daily_bars` of it."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.bars = reads.read_all(engine, schema.daily_bars)

    def of(self, name: str, day: date) -> "pd.Series[bool]":
        return (self.bars["instrument_id"] == name) & (self.bars["date"] == day)

    def change(self, name: str, day: date, **factors: float) -> None:
        """Multiply columns of one bar."""
        for column, factor in factors.items():
            self.bars.loc[self.of(name, day), column] *= factor

    def lose(self, name: str, day: date) -> pd.DataFrame:
        """Tell a bar no more; returns it."""
        lost = self.bars[self.of(name, day)]
        self.bars = self.bars[~self.of(name, day)].reset_index(drop=True)
        return lost

    def split(self, name: str, ex_date: date, coefficient: float = 2.0) -> None:
        """Raw prices fall from the ex-date on."""
        later = (self.bars["instrument_id"] == name) & (self.bars["date"] >= ex_date)
        for column in ("open", "high", "low", "close"):
            self.bars.loc[later, column] /= coefficient
        self.bars.loc[later, "volume_units"] *= coefficient

    def add(self, rows: pd.DataFrame) -> None:
        self.bars = pd.concat([self.bars, rows], ignore_index=True)

    def write(self, days: DayRange, names: Sequence[str] | None = None) -> None:
        """The bars of some days as they are told now, written as the assets do it."""
        listed = reads.read_all(self.engine, schema.instruments)
        wanted = set(names or listed["instrument_id"])
        where = {"instrument_id": sorted(wanted)} if names else {"instrument_type": TYPES}
        write_bars(self.engine, listed[listed["instrument_id"].isin(wanted)], days, {}, where=where)


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curation lets the told bars of the asked instruments and days through, but for those of unlisted days."""

    def curated(told: Any, instruments: pd.DataFrame, days: DayRange, _priority: object = None) -> pd.DataFrame:
        if not isinstance(told, pd.DataFrame):
            return pd.DataFrame(columns=schema.daily_bars.columns.keys())
        ends = dict(zip(instruments["instrument_id"], instruments["delisted_at"], strict=True))
        keys = zip(told["instrument_id"], told["date"], strict=True)
        kept = [n in ends and d in days and not (isinstance(ends[n], date) and d >= ends[n]) for n, d in keys]
        return told[np.array(kept, dtype=bool)].reset_index(drop=True)

    monkeypatch.setattr(bars_module, "told_bars", lambda engine, *_: TOLD[str(engine.url)].bars)
    monkeypatch.setattr(bars_module, "curate_daily_bars", curated)
    monkeypatch.setattr(bars_module, "off_session", lambda *_: pd.DataFrame())


TOLD: dict[str, Told] = {}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All bars up to 04-08 with their features; nobody changes it."""
    path = tmp_path_factory.mktemp("made") / "warehouse.db"
    engine = warehouse(path)
    make_features(engine, MADE, TYPES)
    engine.dispose()
    return path


def opened(path: Path) -> tuple[sa.Engine, Told]:
    engine = make_engine(f"sqlite:///{path}")
    TOLD[str(engine.url)] = Told(engine)
    return engine, TOLD[str(engine.url)]


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> tuple[sa.Engine, Told]:
    """A copy of the same."""
    return opened(Path(shutil.copy(made, tmp_path / "warehouse.db")))


def without(made: Path, folder: Path, name: str, day: date) -> tuple[sa.Engine, Told, pd.DataFrame]:
    """A warehouse whose features up to 04-08 were made without one bar, and that bar."""
    bars = reads.read_all(make_engine(f"sqlite:///{made}"), schema.daily_bars)
    is_lost = (bars["instrument_id"] == name) & (bars["date"] == day)
    engine = warehouse(folder / "without.db", bars[~is_lost].reset_index(drop=True))
    make_features(engine, MADE, TYPES)
    engine.dispose()
    return *opened(folder / "without.db"), bars[is_lost]


def copy_of(engine: sa.Engine, path: Path) -> sa.Engine:
    """What a warehouse holds now in a file of its own, though others have it open: its log is read as well."""
    with engine.connect() as connection, closing(sqlite3.connect(path)) as file:
        driver: Any = connection.connection.driver_connection
        driver.backup(file)
    return make_engine(f"sqlite:///{path}")


def apart(engine: sa.Engine, folder: Path) -> list[str]:
    """Rows and columns in which stored features differ from those of one run over the same tables."""
    other = copy_of(engine, folder / "batch.db")
    for table in (schema.daily_features, schema.feature_state):
        writes.delete_where(other, table, {"feature_set": "standard"})
    make_features(other, DAYS, TYPES)
    one, batch = (stored(each).set_index(["instrument_id", "date"]) for each in (engine, other))
    if list(one.index) != list(batch.index):
        return [str(key) for key in one.index.symmetric_difference(batch.index)]
    names = [metric.name for metric in METRICS]
    differs = (one[names] != batch[names]) & ~(one[names].isna() & batch[names].isna())
    return [name for name in names if differs[name].any()]


# --- bars ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "factors", [{"close": 1.01, "high": 1.05, "volume_usd": 10.0}, {"volume_usd": 10.0}], ids=["prices", "volume"]
)
def test_a_bar_that_is_corrected_in_the_middle_starts_its_instrument_again(
    copied: tuple[sa.Engine, Told], tmp_path: Path, factors: dict[str, float]
) -> None:
    engine, told = copied
    told.change(*MOVED, **factors)
    told.write(DayRange.of(MOVED[1]), [MOVED[0]])
    assert run_days(engine, NEXT) == [MOVED[0]]
    assert apart(engine, tmp_path) == []


def test_bars_that_are_told_as_they_were_change_nothing(copied: tuple[sa.Engine, Told]) -> None:
    engine, told = copied
    day = MADE.end - timedelta(days=1)
    run_days(engine, DayRange(day, MADE.end))
    before = [reads.read_all(engine, table) for table in RESTING]
    told.write(DayRange(day, DAYS.end))
    told.write(DayRange.of(MOVED[1]), [MOVED[0]])
    for table, rows in zip(RESTING, before, strict=True):
        pd.testing.assert_frame_equal(reads.read_all(engine, table), rows, check_exact=True)
    assert run_days(engine, NEXT) == []


def test_a_late_bar_and_one_that_is_taken_back_move_what_follows_and_the_ranks_of_their_days(
    made: Path, tmp_path: Path
) -> None:
    engine, told, late = without(made, tmp_path, "crypto:ETH", date(2025, 4, 6))
    run_days(engine, DayRange.of(NEXT.start))
    told.add(late)
    told.lose("crypto:SOL", date(2025, 4, 3))
    told.write(DayRange(date(2025, 4, 3), date(2025, 4, 6)))
    rows = stored(engine)
    assert not ((rows["instrument_id"] == "crypto:SOL") & (rows["date"] == date(2025, 4, 3))).any(), "gone at once"
    assert sorted(run_days(engine, DayRange.of(NEXT.end))) == ["crypto:ETH", "crypto:SOL"]
    assert apart(engine, tmp_path) == []


def test_a_late_bar_of_the_benchmark_reaches_those_that_are_measured_against_it(made: Path, tmp_path: Path) -> None:
    engine, told, late = without(made, tmp_path, "etf:SPY", date(2025, 4, 7))
    told.add(late)
    told.write(DayRange.of(date(2025, 4, 7)))
    assert sorted(run_days(engine, NEXT)) == ["equity:AAPL", "equity:AMD", "equity:CVX", "etf:SPY"]
    assert apart(engine, tmp_path) == []


def action(name: str, ex_date: date, kind: str, value: float) -> pd.DataFrame:
    stamp = pd.Timestamp("2025-04-11", tz="UTC")
    told = {"instrument_id": name, "ex_date": ex_date, "kind": kind, "value": value}
    return pd.DataFrame([{**told, "source": "test", "fetched_at": stamp}])


def targets(engine: sa.Engine) -> pd.DataFrame:
    """One target per bar, known on the bar's day: what is deleted of them is all that counts."""
    bars = reads.read_all(engine, schema.daily_bars)
    rows = bars[["instrument_id", "instrument_type"]].assign(
        date=[day - timedelta(days=1) for day in bars["date"]], horizon_days=1, known_on=bars["date"]
    )
    return rows.assign(forward_log_return=0.0)[schema.feature_targets.columns.keys()]


def known(engine: sa.Engine, name: str) -> date | None:
    """The newest day of which an instrument has targets."""
    return reads.newest_day(engine, schema.feature_targets, where={"instrument_id": name})


def test_a_split_that_is_told_late_restates_features_targets_and_no_more(made: Path, tmp_path: Path) -> None:
    """Its first bars come of an adjusted file, so that the first factor does not tell."""
    bars = reads.read_all(make_engine(f"sqlite:///{made}"), schema.daily_bars)
    is_first = (bars["instrument_id"] == "equity:AMD") & (bars["date"] <= date(2025, 1, 7))
    bars.loc[is_first, "source"] = "csv:adjusted"
    engine = warehouse(tmp_path / "split.db", bars)
    engine, told = opened(tmp_path / "split.db")
    told.split("equity:AMD", date(2025, 4, 8))
    writes.upsert(engine, schema.daily_bars, told.bars)
    writes.upsert(engine, schema.ohlcv_csv, csv_rows(bars[is_first]))
    make_features(engine, MADE, TYPES)
    writes.upsert(engine, schema.feature_targets, targets(engine))
    writes.upsert(engine, schema.corporate_actions, action("equity:AMD", date(2025, 4, 8), "split", 2.0))
    writes.upsert(engine, schema.corporate_actions, action("equity:CVX", DAYS.end, "dividend", 1.0))
    told.lose("equity:CVX", DAYS.end)
    writes.delete_where(engine, schema.daily_bars, {"instrument_id": "equity:CVX", "date": DAYS.end})
    told.write(DayRange.of(date(2025, 4, 9)))
    assert known(engine, "equity:AMD") == date(2025, 4, 7), "what is known from the split on is made again"
    assert known(engine, "equity:CVX") == DAYS.end
    assert run_days(engine, NEXT) == ["equity:AMD"]
    assert apart(engine, tmp_path) == []


def csv_rows(bars: pd.DataFrame) -> pd.DataFrame:
    """Rows of an adjusted file that these bars came of."""
    facts = {"interval": "1d", "csv_source": "adjusted", "price_scale": 1.0, "is_adjusted": True, "file_sha256": "0"}
    rows = bars.assign(ts=pd.to_datetime(bars["date"], utc=True), row_number=1, **facts)
    return rows[schema.ohlcv_csv.columns.keys()].reset_index(drop=True)


def test_a_dividend_of_today_deletes_the_states_of_its_payer_alone(copied: tuple[sa.Engine, Told]) -> None:
    engine, told = copied
    last = told.bars["date"] >= NEXT.start
    for day in NEXT:
        writes.delete_where(engine, schema.daily_bars, {"date": day})
    writes.upsert(engine, schema.feature_targets, targets(engine))
    writes.upsert(engine, schema.corporate_actions, action("etf:SPY", NEXT.start, "dividend", 1.5))
    assert last.any()
    told.write(DayRange.of(NEXT.start))
    states = reads.read_all(engine, schema.feature_state)
    assert set(told.bars["instrument_id"]) - set(states["instrument_id"]) == {"etf:SPY"}
    assert known(engine, "etf:SPY") == MADE.end, "a restated factor is no other return"


def test_bars_behind_a_delisting_go_with_their_features_and_ranks(
    copied: tuple[sa.Engine, Told], tmp_path: Path
) -> None:
    engine, told = copied
    listed = reads.read_all(engine, schema.instruments)
    listed.loc[listed["instrument_id"] == "equity:AMD", "delisted_at"] = date(2025, 4, 1)
    writes.upsert(engine, schema.instruments, listed)
    told.write(DayRange.of(NEXT.start))
    assert run_days(engine, NEXT) == ["equity:AMD"], "the state behind its last bar was not kept"
    assert apart(engine, tmp_path) == []
    assert reads.newest_day(engine, schema.daily_features, where={"instrument_id": "equity:AMD"}) == date(2025, 3, 31)


def test_an_instrument_without_new_bars_is_made_again_as_well(copied: tuple[sa.Engine, Told], tmp_path: Path) -> None:
    engine, told = copied
    for day in NEXT:
        told.lose("crypto:SOL", day)
    told.change("crypto:SOL", date(2025, 3, 1), close=1.001, volume_usd=3.0)
    told.write(DayRange(date(2025, 3, 1), NEXT.end), ["crypto:SOL"])
    assert run_days(engine, NEXT) == ["crypto:SOL"]
    assert run_days(engine, DayRange.of(NEXT.end)) == []
    assert apart(engine, tmp_path) == []


def test_states_of_a_bar_are_the_same_whatever_runs_left_them(copied: tuple[sa.Engine, Told], tmp_path: Path) -> None:
    engine, told = copied
    told.change(*MOVED, volume_usd=2.0)
    told.write(DayRange.of(MOVED[1]), [MOVED[0]])
    for day in (NEXT.end, NEXT.start, date(2025, 4, 6), date(2025, 4, 7), NEXT.start):
        make_features(engine, DayRange.of(day), TYPES)
    assert apart(engine, tmp_path) == []
    other = copy_of(engine, tmp_path / "days.db")
    for table in (schema.daily_features, schema.feature_state):
        writes.delete_where(other, table, {"feature_set": "standard"})
    run_days(other, DayRange(MOVED[1], DAYS.end))
    one, two = (
        reads.read_all(each, schema.feature_state).set_index(["instrument_id", "date"]) for each in (engine, other)
    )
    both = one.index.intersection(two.index)
    assert len(both) == len(one)
    pd.testing.assert_frame_equal(one.loc[both], two.loc[both], check_exact=True)


def test_a_bar_that_was_lost_and_is_told_again_deletes_nothing(copied: tuple[sa.Engine, Told]) -> None:
    """Targets that start from it say that it was there."""
    engine, told = copied
    rows = targets(engine)
    writes.upsert(engine, schema.feature_targets, rows)
    writes.delete_where(engine, schema.daily_bars, {"instrument_id": MOVED[0], "date": MOVED[1]})
    told.write(DayRange.of(MOVED[1]))
    assert len(reads.read_all(engine, schema.feature_targets)) == len(rows)
    assert run_days(engine, NEXT) == []


# --- events, macro series, regimes ------------------------------------------------------------------------------------
def test_events_of_a_file_reach_the_days_that_should_have_known_them(
    copied: tuple[sa.Engine, Told], tmp_path: Path
) -> None:
    engine, _ = copied
    content = (
        b"date,kind,instrument,title,expected,actual,announced_on,event_id\n"
        b"2025-03-28,earnings,equity:AMD,of AMD,1.0,2.0,,a\n"
        b"2025-04-03,economic,,of all,1.0,2.0,,b\n"
    )
    listed = reads.read_all(engine, schema.instruments)
    taken = import_events(engine, Path("events.csv"), content, instruments=listed, now=EVENING)
    assert taken.n_new == 2
    of_all = stored(engine).query("instrument_id == 'crypto:ETH'").set_index("date")["days_since_market_event"]
    assert of_all[MADE.end] == 5.0, "what is the same for everybody is there at once"
    assert run_days(engine, NEXT) == ["equity:AMD"]
    assert apart(engine, tmp_path) == []


def macro(day: date, vintage: date, value: float) -> pd.DataFrame:
    told = {"series_id": "DGS10", "date": day, "vintage": vintage, "value": value, "unit": "Percent", "frequency": "D"}
    return pd.DataFrame([{**told, "is_vintage_assumed": False, "fetched_at": pd.Timestamp(EVENING)}])


def regime(market: str, day: date, calm: float) -> pd.DataFrame:
    shares = {"state": "calm", "p_calm": calm, "p_normal": 1.0 - calm, "p_turbulent": 0.0}
    fit = {"fitted_through": date(2025, 3, 31), "n_returns": 300, "model_json": "{}"}
    return pd.DataFrame([{"market": market, "date": day, "instrument_id": "crypto:BTC", **shares, **fit}])


def test_vintages_and_regimes_that_come_late_reach_the_days_that_should_have_known_them(
    copied: tuple[sa.Engine, Told], tmp_path: Path
) -> None:
    engine, told = copied
    for rows in (macro(date(2025, 4, 1), date(2025, 4, 2), 4.0), macro(date(2025, 4, 4), date(2025, 4, 5), 4.5)):
        writes.insert_missing(engine, schema.macro_series, rows, beside=resting_on_macro(engine, rows))
    assert resting_on_macro(engine, rows) == [], "told again it changes nothing"
    for market, calm in (("crypto", 0.9), ("us_equities", 0.25)):
        rows, days = regime(market, date(2025, 4, 7), calm), DayRange.of(MADE.end)
        with writes.replacing(
            engine, [schema.market_regimes], days, beside=resting_on_regimes(engine, rows, days, [market])
        ) as writer:
            writer.correct(schema.market_regimes, rows)
    assert run_days(engine, NEXT) == []
    assert apart(engine, tmp_path) == []
    rows = stored(engine)
    of_day = rows[rows["date"] == date(2025, 4, 7)].set_index("instrument_id")
    assert of_day["macro_dgs10"].unique().tolist() == [0.045]
    assert of_day.loc[["crypto:ETH", "equity:CVX"], "regime_p_calm"].tolist() == [0.9, 0.25]

    told.change("crypto:BTC", date(2025, 4, 6), close=1.001)
    told.write(DayRange.of(date(2025, 4, 6)))
    assert reads.read_all(engine, schema.market_regimes)["market"].tolist() == ["us_equities"], "it knew the close"
    assert sorted(run_days(engine, DayRange.of(NEXT.end))) == ["crypto:BTC", "crypto:ETH", "crypto:SOL"]
    assert apart(engine, tmp_path) == []


# --- the check -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("column", ["rank_return_63", "days_since_market_event", "regime_p_calm", "macro_dgs10"])
def test_the_check_compares_every_kind_of_column(copied: tuple[sa.Engine, Told], column: str) -> None:
    engine, _ = copied
    rows = stored(engine).query("date == @MADE.end").reset_index(drop=True)
    assert apart_from_batch(engine, rows, MADE.end, [MADE.end]).empty
    rows.loc[rows["instrument_id"] == "crypto:SOL", column] = 0.125
    writes.upsert(engine, schema.daily_features, rows)
    found = apart_from_batch(engine, rows, MADE.end, [MADE.end])
    assert found[["instrument_id", "metric"]].to_numpy().tolist() == [["crypto:SOL", column]]


def test_the_check_looks_at_another_earlier_day_every_day_and_names_features_without_a_bar(
    copied: tuple[sa.Engine, Told],
) -> None:
    engine, _ = copied
    chosen = {day: earlier_day(engine, ["equity:AMD"], DayRange.of(day)) for day in DayRange(NEXT.start, NEXT.end)}
    assert len(set(chosen.values())) == len(chosen)
    assert all(day is not None and day <= MADE.end and day.weekday() < 5 for day in chosen.values())
    assert chosen[NEXT.start] == earlier_day(engine, ["equity:AMD"], DayRange.of(NEXT.start))
    assert earlier_day(engine, ["equity:AMD"], DayRange.of(DAYS.start)) is None
    writes.delete_where(engine, schema.daily_bars, {"instrument_id": "crypto:ETH", "date": MADE.end})
    told = without_features(engine, MADE, stored(engine))
    assert told.to_numpy().tolist() == [["crypto:ETH", MADE.end, "bar"]]
